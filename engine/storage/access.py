"""How stores are reached: which credential, and who moves the bytes.

These are references and choices, never secrets, so they may travel to a worker inside a task. A
call of the façade and each part's work enter :func:`using`; whoever opens a store meanwhile asks
:func:`current`. The value belongs to one thread, so splits side by side do not mix theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from engine.errors import BadSetting

CREDENTIALS = ("auto", "identity", "environment")
TRANSFERS = ("auto", "server", "client")
KEY_VAULT = "keyvault:"
# A bearer token is sent there, so the host must be a vault of a known cloud.
_VAULT = re.compile(
    r"https://[0-9a-zA-Z-]+\.vault\.(azure\.net|azure\.cn|usgovcloudapi\.net)"
    r"/secrets/[0-9a-zA-Z-]+(/[0-9a-f]+)?"
)


@dataclass(frozen=True)
class Access:
    """How to reach stores that ask for credentials.

    Attributes:
        credential: ``auto`` takes a secret that the environment sets for the account, else the
            machine's or user's identity; ``identity`` and ``environment`` take only the one or the
            other; ``keyvault:https://VAULT/secrets/NAME`` reads the secret from a Key Vault.
        transfer: ``server`` has the store copy source ranges itself, ``client`` passes them
            through this machine, ``auto`` does the first wherever the store lets it.
    """

    credential: str = "auto"
    transfer: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be, without repeating it: it may be a secret, given by mistake."""
        if self.credential not in CREDENTIALS and not self.vault_url:
            raise BadSetting(
                "the credential is none of auto, identity, environment and "
                f"{KEY_VAULT}https://NAME.vault.azure.net/secrets/NAME; secrets themselves go "
                "into the environment (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN "
                "or AZURE_STORAGE_ACCOUNT_KEY)"
            )
        if self.transfer not in TRANSFERS:
            raise BadSetting(f"transfer is {self.transfer!r}; choose {', '.join(TRANSFERS)}")

    @property
    def vault_url(self) -> str:
        """The address of the Key Vault's secret, empty if none is named."""
        url = self.credential.removeprefix(KEY_VAULT)
        return url if url != self.credential and _VAULT.fullmatch(url) else ""


_DEFAULT = Access()
_current: ContextVar[Access] = ContextVar("access", default=_DEFAULT)


def current() -> Access:
    """Return what holds in this thread."""
    return _current.get()


@contextmanager
def using(access: Access) -> Iterator[None]:
    """Let ``access`` hold in this thread."""
    token = _current.set(access)
    try:
        yield
    finally:
        _current.reset(token)
