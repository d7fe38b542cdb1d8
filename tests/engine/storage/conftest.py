from __future__ import annotations

import pytest

from tests.azurite import Azurite
from tests.azurite.fixtures import azurite, no_identity
from tests.stores.fixtures import (
    google,
    google_server,
    http,
    plain_http,
    s3,
    s3_server,
    sftp,
    sftp_server,
)

__all__ = [
    "azurite",
    "blobs",
    "google",
    "google_server",
    "http",
    "no_identity",
    "plain_http",
    "s3",
    "s3_server",
    "sftp",
    "sftp_server",
]


@pytest.fixture
def blobs(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new container, with the credential for it in the environment."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    return f"abfs://{azurite.new_container()}"
