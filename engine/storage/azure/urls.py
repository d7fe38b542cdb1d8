"""URLs of blobs: several forms in, one form out.

``abfs://container/path``, ``az://container/path``, ``abfss://container@account.dfs.SUFFIX/path``
and ``https://account.blob.SUFFIX/container/path`` name the same blob; plans and manifests keep the
third, so that equal places compare equal and a worker needs no account name of its own. A bearer
token or a SAS is sent to the host, so only hosts of Azure's clouds are taken from a URL; any other
(an emulator, a private name) comes from a connection string in the environment.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from engine.errors import BadSetting
from engine.storage.base import redacted

SCHEMES = ("abfs", "abfss", "az")
DEFAULT_SUFFIX = "core.windows.net"
_HOST = re.compile(
    r"(?P<account>[a-z0-9]+(?:-[a-z0-9]+)*)(?:\.z\d+)?\.(?:blob|dfs)\.(?P<suffix>"
    r"core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|"
    r"storage\.azure\.net|fabric\.microsoft\.com)"
)


@dataclass(frozen=True)
class BlobUrl:
    """A place as a URL names it.

    Attributes:
        host: the account's host, ``account.dfs.SUFFIX``; None if the URL names no account.
        container: the container (file system).
        path: the blob's name, or a folder's, without slashes at its ends.
    """

    host: str | None
    container: str
    path: str

    @property
    def account(self) -> str | None:
        """The account's name."""
        return self.host.partition(".")[0] if self.host else None


def is_azure(url: str) -> bool:
    """Whether a URL names a place in Azure storage."""
    scheme, _, rest = url.partition("://")
    return scheme in SCHEMES or (scheme == "https" and _is_host(rest.partition("/")[0]))


def parse(url: str) -> BlobUrl:
    """Return the parts of a URL for which :func:`is_azure` holds.

    Raises:
        BadSetting: no container, a host that is no storage account's, or a backslash.
    """
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host: str | None = None
    if scheme == "https":
        host, (container, _, path) = authority, urllib.parse.unquote(path).partition("/")
    else:
        container, _, host = authority.partition("@")
    if host and "." not in host:
        host = f"{host}.dfs.{DEFAULT_SUFFIX}"
    if host and not _is_host(host):
        raise BadSetting(
            f"{host} is no host of Azure storage; write container@account.dfs.{DEFAULT_SUFFIX}, "
            "or give another endpoint as BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING"
        )
    if not container:
        raise BadSetting(f"{scheme}://{authority}/ names no container")
    if "\\" in path:
        # The service takes it for a slash in an address, and for itself in a listing, so that what
        # is written would not be found: github.com/Azure/azure-sdk-for-python/issues/48690
        raise BadSetting(f"{redacted(url)} has a backslash, which Azure takes for a slash: write /")
    return BlobUrl(_with_service(host, "dfs") if host else None, container, path.strip("/"))


def canonical(host: str, container: str, path: str) -> str:
    """Return the form that plans keep."""
    return f"abfss://{container}@{host}/{path}".rstrip("/")


def blob_endpoint(host: str) -> str:
    """Return the address of an account's blob service."""
    return f"https://{_with_service(host, 'blob')}"


def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host.lower()) is not None


def _with_service(host: str, service: str) -> str:
    return re.sub(r"\.(blob|dfs)\.", f".{service}.", host.lower(), count=1)
