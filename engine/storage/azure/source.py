"""One version of a blob: every read carries the ETag that was described.

A blob that is written anew while it is read is an error at the next read, never a mixture.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import BadStructure, Conflict, SourceChanged
from engine.model import SourceFile
from engine.storage.azure.credentials import Login
from engine.storage.azure.identities import identity
from engine.storage.azure.request_pool import BLOCK_BYTES, request_pool
from engine.storage.azure.requests import with_retries
from engine.storage.base import (
    GAP_BYTES,
    NEAR_BYTES,
    PASSING_GAP_BYTES,
    SPARSE_GAP_BYTES,
    RangeFile,
    check_inside,
    read_coalesced,
    redacted,
    steps,
)
from engine.storage.nearby import Nearby

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

    from engine.model import Range

_SAS_SECONDS = 3600
_SAS_RENEWED_SECONDS = 900  # before it ends, so that no copy outlives it
_CLOCK_SKEW_SECONDS = 300
_STORAGE_SCOPE = "https://storage.azure.com/.default"


class AzureSource:
    """A described blob; see :class:`engine.storage.base.Source`."""

    is_remote = True

    def __init__(
        self,
        login: Login,
        blob: BlobClient,
        file: SourceFile,
        found: SourceFile,
        *,
        passes: bool = False,
    ) -> None:
        """``passes``: the bytes of the parts pass through this machine."""
        self.file = file
        self._sparse_gap_bytes = PASSING_GAP_BYTES if passes else SPARSE_GAP_BYTES
        self._nearby = Nearby(self._range, file.size_bytes, NEAR_BYTES if passes else 0)
        self.etag = file.version.partition(":")[2]
        self.endpoint = login.endpoint
        self._login = login
        self._blob = blob
        self._compare(found)
        self._signed_lock = threading.Lock()
        self._signed_until = 0.0
        self._signed = ""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes, by one request up to the SDK client's limit."""
        check_inside(offset, length, self.file.size_bytes)
        return self._nearby.read(offset, length) if length else b""

    def _range(self, offset: int, length: int) -> bytes:
        data = self._asked(partial(self._download, offset, length))
        if len(data) != length:
            raise BadStructure(f"{length} bytes wanted at {offset}, {len(data)} came")
        return data

    def _download(self, offset: int, length: int) -> bytes:
        from azure.core import MatchConditions

        stream = self._blob.download_blob(
            offset, length, etag=self.etag, match_condition=MatchConditions.IfNotModified
        )
        return stream.readall()

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges, near ones in one request."""
        gap_bytes = self._sparse_gap_bytes if sparse else GAP_BYTES
        return read_coalesced(
            self.read, ranges, gap_bytes=gap_bytes, in_order=request_pool.in_order
        )

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces, the next ones fetched ahead."""
        check_inside(offset, length, self.file.size_bytes)
        wanted = steps(offset, length, BLOCK_BYTES)
        return request_pool.in_order(partial(self.read, *step) for step in wanted)

    def arrow_file(self) -> Any:
        """Return a file for pyarrow that reads through this source."""
        import pyarrow

        return pyarrow.PythonFile(RangeFile(self), mode="r")

    def check_unchanged(self) -> None:
        """Ask the store for the blob's size and ETag again."""
        found = with_retries(self.file.path, self._blob.get_blob_properties)
        self._compare(described(self.file.path, found))

    def close(self) -> None:
        """Nothing is held but what was read last."""
        self._nearby.forget()

    def authorization(self) -> dict[str, Any]:
        """Return what lets the service itself read this blob for a while.

        ``source_url`` with a SAS in it, or ``source_url`` and ``source_authorization``.
        """
        url = f"{self._login.endpoint}{_url_path(self._blob)}"
        secret = self._login.secret
        if secret is None:
            token = identity().get_token(_STORAGE_SCOPE).token
            return {"source_url": url, "source_authorization": f"Bearer {token}"}
        if secret.kind == "SAS":
            return {"source_url": f"{url}?{secret.reveal()}"}
        with self._signed_lock:
            if time.time() > self._signed_until - _SAS_RENEWED_SECONDS:
                self._signed_until = time.time() + _SAS_SECONDS
                self._signed = self._sas(secret.reveal(), self._signed_until)
            return {"source_url": f"{url}?{self._signed}"}

    def _sas(self, account_key: str, until: float) -> str:
        """Sign a SAS that reads this one blob."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        begin = datetime.now(UTC) - timedelta(seconds=_CLOCK_SKEW_SECONDS)
        return generate_blob_sas(
            self._login.account,
            self._blob.container_name,
            self._blob.blob_name,
            account_key=account_key,
            permission=BlobSasPermissions(read=True),
            start=begin,
            expiry=datetime.fromtimestamp(until, UTC),
            protocol="https" if self._login.endpoint.startswith("https") else None,
        )

    def _asked(self, action: Any) -> bytes:
        try:
            return bytes(with_retries(self.file.path, action))
        except Conflict:
            failure = self._changed()
        raise failure

    def _compare(self, found: SourceFile) -> None:
        if found != self.file:
            raise self._changed()

    def _changed(self) -> SourceChanged:
        return SourceChanged(
            f"{redacted(self.file.path)} changed since it was planned; split again, with "
            "--overwrite for the same destination"
        )


def described(path: str, properties: Any) -> SourceFile:
    """Return what the service says of a blob."""
    return SourceFile(path, int(properties.size), version_of(properties.etag))


def version_of(etag: str) -> str:
    """Return the version that an ETag says; listings leave out the quotes, which belong to it."""
    bare = etag.strip('"')
    return f'etag:"{bare}"'


def _url_path(blob: BlobClient) -> str:
    """Return container and name as they stand in the blob's address."""
    from urllib.parse import quote

    return f"/{blob.container_name}/{quote(blob.blob_name, safe='~/')}"
