"""Clients of accounts: one an account and credential, for the whole process.

The SDK's own retries are off: :mod:`engine.storage.azure.requests` has them.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from engine.errors import BadSetting
from engine.storage.azure.credentials import Login
from engine.storage.azure.identities import identity

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

CONNECT_SECONDS = 10
READ_SECONDS = 60  # without a byte
LARGEST_READ_BYTES = 32 << 20  # in one request
_SIGNATURE = re.compile(r"(?i)\b(sig|se|st|skoid)=[^&\s'\"]+")
_clients: dict[tuple[Login, Any], BlobServiceClient] = {}
_clients_lock = threading.Lock()


def service(login: Login) -> BlobServiceClient:
    """Return the client of an account, shared by everything in this process."""
    credential = _credential(login)
    key = login, credential if login.secret is None else None
    with _clients_lock:
        found = _clients.get(key)
        if found is None:
            found = _clients[key] = _make(login, credential)
        return found


def _credential(login: Login) -> Any:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    secret = login.secret
    if secret is None:
        if not login.endpoint.startswith("https://"):
            raise BadSetting(f"an identity needs https, and the endpoint is {login.endpoint}")
        return identity()
    if secret.kind == "SAS":
        return AzureSasCredential(secret.reveal())
    return AzureNamedKeyCredential(login.account, secret.reveal())


def _make(login: Login, credential: Any) -> BlobServiceClient:
    from azure.storage.blob import BlobServiceClient

    logging.getLogger("urllib3.connectionpool").addFilter(_without_signatures)
    return BlobServiceClient(
        login.endpoint,
        credential,
        retry_total=0,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_single_get_size=LARGEST_READ_BYTES,
        max_single_put_size=LARGEST_READ_BYTES,
    )


def _without_signatures(record: logging.LogRecord) -> bool:
    """Take signatures out of urllib3's lines, which show each request's URL on level DEBUG."""
    message = record.getMessage()
    if "=" in message:
        record.msg, record.args = _SIGNATURE.sub(r"\1=...", message), None
    return True
