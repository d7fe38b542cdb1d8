"""The identity of this machine or user, and its tokens: kept, renewed once, asked for again.

Microsoft's chain (``DefaultAzureCredential``) asks a metadata service once, for a second, and goes
on to the next kind of identity; a broken connection there ends as "no identity". Credentials of
command lines keep no token at all. So tokens are kept here, for all requests of the process, and
what may pass is asked for again: learn.microsoft.com/azure/developer/python/sdk/authentication/
credential-chains, and .../managed-identities-azure-resources/how-to-use-vm-token for retries.

Not covered: credentials of Azure Batch and Resource Manager (:mod:`batchjobs.client.credentials`).
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from engine.errors import BadSetting, EvensplitError, NoPermission, StorageFailed
from engine.storage.access import told_by

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

RENEWED_SECONDS = 900.0  # before a token ends, so that no copy outlives it
ASKED_AGAIN_SECONDS = 60.0  # a metadata service may give the same token until its last minutes
USABLE_SECONDS = 30.0  # that a token has to last
MAX_TRIES = 3
FIRST_WAIT_SECONDS = 1.0

_NARROWED = "AZURE_TOKEN_CREDENTIALS"
# Any of these says that there is an identity here, whatever asking for it comes to.
_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")
_SERVICES = ("AZ_BATCH_NODE_ID", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")
_SERVED = ("managedidentitycredential", "workloadidentitycredential", "prod")
_REFUSED = re.compile("AADSTS[0-9]+|No identity has been assigned")
# learn.microsoft.com/entra/identity-platform/reference-error-codes: "transient", "retry".
_PASSING = {"AADSTS90006", "AADSTS90012", "AADSTS90024", "AADSTS90025", "AADSTS90033"}


def identity() -> Tokens:
    """Return the machine's or user's identity; ``AZURE_TOKEN_CREDENTIALS`` narrows it down.

    There is one in a process for all that these variables say. A node of Azure Batch has a managed
    identity and nobody's login, so it is asked at once, with the retries that Microsoft gives it
    outside of the chain.
    """
    return _identity(told())


def told() -> tuple[tuple[str, str], ...]:
    """Return all that the environment says of who this machine or user is."""
    return told_by("AZURE_", *_SERVICES)


@cache
def _identity(_of: tuple[tuple[str, str], ...]) -> Tokens:
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if os.environ.get("AZ_BATCH_NODE_ID") and not _any_set((_NARROWED, *_SECRETS)):
        client_id = os.environ.get("AZURE_CLIENT_ID")
        return Tokens(ManagedIdentityCredential(client_id=client_id))
    try:
        return Tokens(DefaultAzureCredential())
    except ValueError as error:
        raise BadSetting(
            "an AZURE_* variable holds what it cannot: AZURE_TOKEN_CREDENTIALS names an identity "
            "(ManagedIdentityCredential, AzureCliCredential, prod, dev), AZURE_TENANT_ID a "
            "tenant, AZURE_AUTHORITY_HOST a host"
        ) from error


class Tokens:
    """A credential for the SDK's clients that keeps what another one gave, for all threads."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential
        self._lock = threading.Lock()
        self._kept: dict[Any, tuple[AccessToken, float]] = {}  # with when it was asked for

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: Any,
    ) -> AccessToken:
        """Return a token, a new one where the last has little time left.

        Raises:
            NoPermission: there is no identity, or it is refused.
            StorageFailed: whoever gives tokens did not answer.
        """
        options: dict[str, Any] = {"tenant_id": tenant_id} if tenant_id else {}
        if claims:  # what is kept is not good enough for the service
            return self._asked(scopes, options | {"claims": claims, "enable_cae": enable_cae})
        key = (scopes, tenant_id)
        kept = self._usable(key)
        if kept is not None and not self._is_due(key):
            return kept
        # While one thread renews a token, the others go on with what it has left.
        if not self._lock.acquire(blocking=kept is None):
            assert kept is not None
            return kept
        try:
            kept = self._usable(key)
            if kept is not None and not self._is_due(key):
                return kept
            return self._renewed(key, kept, options)
        finally:
            self._lock.release()

    def _renewed(self, key: Any, kept: AccessToken | None, options: dict[str, Any]) -> AccessToken:
        try:
            token = self._asked(key[0], options)
        except EvensplitError:
            if kept is None:
                raise
            token = kept
        self._kept[key] = token, time.time()
        return token

    def _usable(self, key: Any) -> AccessToken | None:
        token, _ = self._kept.get(key, (None, 0.0))
        return token if token and token.expires_on - time.time() > USABLE_SECONDS else None

    def _is_due(self, key: Any) -> bool:
        token, asked = self._kept[key]
        now = time.time()
        return token.expires_on - now <= RENEWED_SECONDS and now - asked >= ASKED_AGAIN_SECONDS

    def _asked(self, scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessToken:
        """Ask for a token, a few times if no answer comes."""
        from azure.core.exceptions import AzureError

        is_expected = bool(self._kept) or _is_expected()
        tries = 0
        while True:
            try:
                return self._credential.get_token(*scopes, **options)
            except (AzureError, OSError, ValueError) as error:  # outside of the chain any of them
                refusal = _refusal_in(str(error))
            tries += 1
            may_pass = refusal is None and (is_expected or not os.environ.get(_NARROWED))
            if not may_pass or tries == MAX_TRIES:
                break
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (tries - 1) * random.uniform(0.5, 1))
        raise _failure(refusal, is_expected=is_expected)


def _is_expected() -> bool:
    """Whether there is an identity here, so that no answer is a fault that may pass."""
    narrowed = os.environ.get(_NARROWED, "").strip().lower()
    return narrowed in _SERVED or _any_set((*_SERVICES, *_SECRETS))


def _refusal_in(said: str) -> str | None:
    """Return the sign of an answer that will stay the same, None for no such answer."""
    found = _REFUSED.search(said)
    return found[0] if found and found[0] not in _PASSING else None


def _failure(refusal: str | None, *, is_expected: bool) -> EvensplitError:
    """Say why there is no token; the SDK's own words may hold what was sent."""
    if refusal is None and is_expected:
        return StorageFailed(
            f"no token came from the identity service, {MAX_TRIES} times in a row; run the same "
            f"command again ({_NARROWED} names the one identity to ask)"
        )
    if refusal is None:
        return NoPermission(
            "no identity was found: log in (az login), run where a managed or workload identity "
            "is, or set a secret (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN or "
            "AZURE_STORAGE_ACCOUNT_KEY)"
        )
    if refusal.startswith("AADSTS"):
        return NoPermission(
            f"the identity got no token ({refusal}); see learn.microsoft.com/entra/identity-"
            f"platform/reference-error-codes, or name another one by {_NARROWED}"
        )
    return NoPermission(
        "this machine has no managed identity, or not the one that AZURE_CLIENT_ID names; assign it"
    )


def _any_set(names: tuple[str, ...]) -> bool:
    return any(os.environ.get(name) for name in names)
