"""Storage accounts as linked services of Data Factory have them: where they lie, what opens them.

============================================  ====================================================
``typeProperties``                            opened by
============================================  ====================================================
``url`` or ``serviceEndpoint``                the nodes' identity, or ``accountKey``, ``sasToken``
``connectionString``                          its key or SAS, or ``accountKey``; else the identity
``sasUri``                                    its SAS, or ``sasToken``
============================================  ====================================================

Each may be text, a SecureString, or a reference to a Key Vault whose own linked service is among
the ``referenceObjects``; that is never read here, but handed on as a reference, which each node
reads with its identity. A plain secret stays in the environment of this process. The properties are
Microsoft's: learn.microsoft.com/azure/data-factory/connector-azure-blob-storage,
.../connector-azure-data-lake-storage, .../store-credentials-in-key-vault

Not covered: service principals and users' credentials of linked services, whose place the nodes'
identity takes; what a self-hosted integration runtime has encrypted, which no activity can read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from engine import BadSetting

CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
Services = Mapping[str, Mapping[str, Any]]

_TYPES = ("AzureBlobFS", "AzureBlobStorage", "AzureStorage")
_ADDRESSES = ("url", "serviceEndpoint", "sasUri", "connectionString")
_SECRETS = {"accountKey": "AccountKey", "sasToken": "SharedAccessSignature"}
_SUFFIX = "core.windows.net"


@dataclass(frozen=True)
class Account:
    """A storage account.

    Attributes:
        host: of its URLs; empty where only the Key Vault's secret says which account it is.
        connection_string: opens it, without a secret if ``credential`` has that; empty for an
            identity.
        credential: reference to a Key Vault's secret, as ``--credential`` takes it; or empty.
    """

    host: str
    connection_string: str = field(default="", repr=False)
    credential: str = ""

    def url(self, place: str) -> str:
        """Return the URL of ``container/path``, in which a pipeline may have doubled slashes."""
        container, _, path = re.sub("/+", "/", place).strip("/").partition("/")
        return f"abfss://{container}{'@' if self.host else ''}{self.host}/{path}"


def named_in(url: str) -> Account | None:
    """Return the account that a URL names itself, if it does."""
    container, at, host = urlsplit(url).netloc.rpartition("@")
    return Account(_host(host)) if at and container else None


def is_storage(service: Mapping[str, Any]) -> bool:
    """Whether a linked service is a storage account's."""
    known = service.get("type") in _TYPES
    return known and any(name in _properties(service) for name in _ADDRESSES)


def account_of(name: str, services: Services) -> Account:
    """Return the account of a linked service.

    Raises:
        BadSetting: what it has is not plain text, or refers to what is not there; no value is told.
    """
    given = _properties(services[name])
    key = next((item for item in _ADDRESSES if item in given), "")
    text, credential = _read(name, key, given.get(key), services)
    host, pairs = _address(name, key, text) if text else ("", {})
    for item, pair in _SECRETS.items():
        if item in given:
            secret, reference = _read(name, item, given[item], services)
            credential = credential or reference
            if secret.strip("*"):  # Data Factory may mask what it does not hand over
                pairs[pair] = secret.removeprefix("?")
    is_needed = pairs.keys() & {*_SECRETS.values(), "BlobEndpoint"}
    connection_string = ";".join("=".join(pair) for pair in pairs.items()) if is_needed else ""
    return Account(host, connection_string, credential)


def vault_reference(name: str, value: Mapping[str, Any], services: Services) -> str:
    """Return what ``--credential`` takes for an AzureKeyVaultSecret.

    Raises:
        BadSetting: its vault's linked service is not among the references, or it is computed.
    """
    vault = str(inner(value, "store").get("referenceName", ""))
    base = _properties(services.get(vault, {})).get("baseUrl")
    words = [value.get("secretName"), value.get("secretVersion") or ""]
    if (
        not isinstance(base, str)
        or not all(isinstance(word, str) for word in words)
        or not words[0]
    ):
        raise BadSetting(
            f"{name}: its secret lies in a Key Vault whose linked service {vault!r} is not among "
            "the activity's referenceObjects, or whose URL or secretName is computed; add it, in "
            "plain text"
        )
    return "keyvault:" + "/".join([str(base).rstrip("/"), "secrets", *filter(None, words)])


def opened(accounts: Iterable[Account]) -> tuple[dict[str, str], str]:
    """Return what opens all accounts at once: the environment to set, and the credential.

    Raises:
        BadSetting: two need secrets, and a process takes those of one account.
    """
    distinct = list(dict.fromkeys(accounts))
    needy = [item for item in distinct if item.connection_string or item.credential]
    hosts = {item.host for item in distinct}
    # A Key Vault's secret is taken for all accounts, one of the environment for its own alone.
    if len(needy) > 1 or (len(hosts) > 1 and any(item.credential for item in needy)):
        raise BadSetting(
            "the places of this activity lie in several storage accounts, and their linked "
            "services have secrets, of which a task takes one; give the nodes' identity a role on "
            "the accounts, and refer to linked services without a secret"
        )
    if not needy:
        return {}, ""
    (one,) = needy
    text = one.connection_string
    return ({CONNECTION_STRING: text} if text else {}), one.credential


def inner(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object inside another; an empty one where there is none."""
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _properties(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return inner(service, "typeProperties")


def _read(name: str, key: str, value: Any, services: Services) -> tuple[str, str]:
    """Return a value as text, or as a reference to where it lies."""
    if isinstance(value, Mapping):
        if value.get("type") == "AzureKeyVaultSecret":
            return "", vault_reference(f"linked service {name}", value, services)
        value = value.get("value") if value.get("type") == "SecureString" else None
    if not isinstance(value, str) or "@{" in value or value.startswith("@"):
        raise BadSetting(
            f"linked service {name}: {key} is no plain text, SecureString or Key Vault's secret; "
            "an activity gets nothing that is computed: give the place as a URL"
        )
    return value.strip(), ""


def _address(name: str, key: str, text: str) -> tuple[str, dict[str, str]]:
    """Return an account's host, and its address as pairs of a connection string."""
    if key != "connectionString":
        parts = _split(name, key, text if "://" in text else f"https://{text}")
        host = parts.hostname or ""
        account, _, rest = host.partition(".")
        if not rest:
            raise BadSetting(f"linked service {name}: {key} is no URL of a storage account")
        sas = {"SharedAccessSignature": parts.query} if parts.query else {}
        return _host(host), {"AccountName": account} | sas
    found = (item.partition("=")[::2] for item in text.split(";") if item.strip())
    pairs = {pair.strip(): word for pair, word in found if word.strip("*")}
    endpoint = _split(name, "BlobEndpoint", pairs.get("BlobEndpoint", "")).hostname or ""
    account = pairs.get("AccountName") or endpoint.partition(".")[0]
    if not account:
        raise BadSetting(f"linked service {name}: its connectionString names no account")
    return f"{account}.dfs.{pairs.get('EndpointSuffix', _SUFFIX)}", pairs


def _split(name: str, key: str, url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that hold no address
        raise BadSetting(f"linked service {name}: {key} is no URL of a storage account") from None


def _host(text: str) -> str:
    """Return a host as all URLs of an account have it, so that accounts can be compared."""
    host = text.lower().replace(".blob.", ".dfs.", 1)
    return host if "." in host else f"{host}.dfs.{_SUFFIX}"
