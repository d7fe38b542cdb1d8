"""Who opens an account: an identity, or a secret from the environment or a Key Vault.

A secret that is set for an account is somebody's explicit choice, so it is taken; without one the
identity is (managed identity, workload identity, Azure CLI: everything in
``DefaultAzureCredential``). ``--credential`` overrules both. They are not tried one after another:
that would wait for identities where there are none, and hide a missing permission.

Secrets are read where they are used, on each worker, and never leave the process: :class:`Secret`
has no readable form, cannot be pickled, and only who signs a request opens it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from engine.errors import BadSetting
from engine.settings import Access
from engine.storage.azure.identities import identity, told
from engine.storage.azure.requests import with_retries
from engine.storage.azure.urls import DEFAULT_SUFFIX, BlobUrl, blob_endpoint
from engine.storage.base import redacted

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_ACCOUNT_NAMES = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
_ACCOUNT_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY")
_VAULT_API = "7.4"
KEPT_SECONDS = 300.0  # of a vault's secret


class Secret:
    """An account key or a SAS, which shows itself to nobody by accident."""

    __slots__ = ("_text", "kind")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._text

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.kind, self._text) == (other.kind, other._text)

    def __hash__(self) -> int:
        return hash((self.kind, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not leave its process")


@dataclass(frozen=True)
class Login:
    """How to open one account.

    Attributes:
        account: its name.
        host: as URLs of plans have it.
        endpoint: address of the blob service.
        secret: None for an identity.
    """

    account: str
    host: str
    endpoint: str
    secret: Secret | None


@dataclass(frozen=True)
class _Given:
    """What a connection string or single variables say."""

    account: str | None = None
    suffix: str = DEFAULT_SUFFIX
    endpoint: str | None = None
    secret: Secret | None = field(default=None, repr=False)


def login(url: BlobUrl, access: Access) -> Login:
    """Return how to open the account of a URL.

    Raises:
        BadSetting: no account is named, or the credential asked for is not there.
    """
    here = _from_environment()
    if url.account and here.account not in (None, url.account):
        here = _Given()  # what is meant for another account is not sent to this one
    given = _from_vault(access.vault_url, here) if access.vault_url else here
    account = url.account or given.account
    if account is None:
        raise BadSetting(
            f"no storage account for container {url.container}: write container@account."
            f"dfs.{DEFAULT_SUFFIX} in the URL, or set AZURE_STORAGE_ACCOUNT_NAME"
        )
    if given.account not in (None, account):
        raise BadSetting(f"the Key Vault's secret is not of account {account}, but of another")
    host = url.host or f"{account}.dfs.{given.suffix}"
    endpoint = given.endpoint or blob_endpoint(host)
    return Login(account, host, endpoint, _secret(access, given, account))


def _from_vault(url: str, here: _Given) -> _Given:
    """Return what a vault's secret says; where the account is may be told by the environment."""
    text = kept_secret(url, int(time.monotonic() / KEPT_SECONDS), told())
    found = _read(text, "the Key Vault's secret")
    if found.secret is None:
        raise BadSetting("the Key Vault's secret holds no key, SAS or connection string with one")
    if found.account in (None, here.account):
        return replace(here, secret=found.secret, endpoint=found.endpoint or here.endpoint)
    return found


def _secret(access: Access, given: _Given, account: str) -> Secret | None:
    if access.credential == "identity":
        return None
    if access.credential == "environment" and given.secret is None:
        raise BadSetting(
            f"the environment holds no secret for account {account}; set "
            "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN or "
            "AZURE_STORAGE_ACCOUNT_KEY, or use --credential identity"
        )
    return given.secret


def _from_environment() -> _Given:
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").strip()
    if text:
        return _from_connection_string(text, "AZURE_STORAGE_CONNECTION_STRING")
    account = _first(_ACCOUNT_NAMES)
    sas, key = os.environ.get("AZURE_STORAGE_SAS_TOKEN"), _first(_ACCOUNT_KEYS)
    if sas:
        return _Given(account, secret=_sas(sas))
    return _Given(account, secret=Secret("account key", key) if key else None)


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _read(text: str, where: str) -> _Given:
    """Tell a SAS URI, a connection string, a SAS and an account key apart."""
    text = text.strip()
    if text.startswith("https://") and "?" in text:  # as Data Factory's linked services have it
        endpoint, _, sas = text.partition("?")
        suffix = endpoint.split("/")[2].partition(".")[2].partition(".")[2]
        return _Given(_account_of(endpoint), suffix, secret=_sas(sas))
    if ";" in text:
        return _from_connection_string(text, where)
    if "sig=" in text:
        return _Given(secret=_sas(text))
    return _Given(secret=Secret("account key", text) if text else None)


def _from_connection_string(text: str, where: str) -> _Given:
    pairs = dict(item.partition("=")[::2] for item in text.split(";") if item)
    if not pairs.keys() & {"AccountName", "BlobEndpoint"}:
        raise BadSetting(f"{where} is no connection string: it names no account")
    endpoint = pairs.get("BlobEndpoint", "").rstrip("/") or None
    if endpoint and (redacted(endpoint) != endpoint):
        raise BadSetting(
            f"{where}: its BlobEndpoint has a query, a user or a password, which may be secret; "
            "give a SAS as SharedAccessSignature"
        )
    account = pairs.get("AccountName") or _account_of(endpoint or "")
    key, sas = pairs.get("AccountKey"), pairs.get("SharedAccessSignature")
    secret = Secret("account key", key) if key else _sas(sas) if sas else None
    return _Given(account, pairs.get("EndpointSuffix", DEFAULT_SUFFIX), endpoint, secret)


def _account_of(endpoint: str) -> str:
    return endpoint.partition("://")[2].partition(".")[0]


def _sas(text: str) -> Secret:
    return Secret("SAS", text.strip().removeprefix("?"))


@lru_cache(maxsize=8)
def kept_secret(url: str, period: int, _of: tuple[tuple[str, str], ...]) -> str:
    """Return a vault's secret, read once a period: each part of a split opens its stores anew.

    A secret that was changed meanwhile is read in the next ``period``; at once where the
    environment tells of another identity.
    """
    return vault_secret(url, identity())


def vault_secret(url: str, credential: TokenCredential, **transport: Any) -> str:
    """Return a secret of a Key Vault.

    Raises:
        EvensplitError: as requests to a store do.
    """
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy
    from azure.core.rest import HttpRequest

    host = url.split("/")[2]
    scope = f"https://{host.partition('.')[2]}/.default"
    policies = [BearerTokenCredentialPolicy(credential, scope)]
    client: PipelineClient[Any, Any] = PipelineClient(url, policies=policies, **transport)

    def fetch() -> Any:
        answer = client.send_request(HttpRequest("GET", url, params={"api-version": _VAULT_API}))
        answer.raise_for_status()
        return answer.json()["value"]

    with client:
        return str(with_retries(f"secret {url.rpartition('/secrets/')[2]} of {host}", fetch))
