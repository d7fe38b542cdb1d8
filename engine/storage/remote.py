"""Any fsspec file system: object stores, memory, FTP, ... one request a range, parts streamed.

Reads ask for exact ranges (no read-ahead cache, which fetches up to ten times the bytes). A part
is streamed to a hidden temporary name and moved to its final one at commit, because a file that
fsspec is still writing may be published, truncated, by any error. Reads are checked against the
file's size and version before and after; pinning each request to an ETag needs the store's own
client, as :mod:`engine.storage.azure` has it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Literal

import fsspec
from fsspec.core import url_to_fs

from engine.errors import (
    BadSetting,
    BadStructure,
    EvensplitError,
    NoPermission,
    NoSource,
    SourceChanged,
    StorageFailed,
)
from engine.model import Buffer, SourceFile
from engine.storage.base import (
    GAP_BYTES,
    PASSING_GAP_BYTES,
    Entry,
    RangeFile,
    Room,
    Source,
    check_inside,
    glob_root,
    read_coalesced,
    read_in_steps,
    redacted,
)
from engine.storage.folders import Listed, Listing
from engine.storage.local import translated

if TYPE_CHECKING:
    from engine.model import Range

_VERSION_KEYS = ("etag", "ETag", "content_md5", "last_modified", "LastModified", "mtime", "created")
_CREATING = threading.Lock()


@contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Turn errors of drivers into errors of the tree; their messages may hold secrets."""
    try:
        yield
    except FileNotFoundError as error:
        raise NoSource(f"{redacted(path)}: no such file") from error
    except PermissionError as error:
        raise NoPermission(f"no permission for {redacted(path)}") from error
    except OSError as error:
        if error.errno:
            raise translated(error, redacted(path)) from error
        raise StorageFailed(f"{redacted(path)}: {type(error).__name__}; try again") from error


class RemoteSource:
    """A file of an fsspec file system; see :class:`engine.storage.base.Source`."""

    is_remote = True

    def __init__(self, store: FsspecStorage, file: SourceFile) -> None:
        self.file = file
        self._store = store
        self.check_unchanged()

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes in one request; BadStructure if the file has fewer."""
        check_inside(offset, length, self.file.size_bytes)
        if length == 0:
            return b""
        with store_errors(self.file.path):
            data = self._store.fs.cat_file(self.file.path, start=offset, end=offset + length)
        if len(data) != length:
            raise BadStructure(f"{length} bytes wanted at {offset}, {len(data)} came")
        return bytes(data)

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges, near ones in one request."""
        gap_bytes = PASSING_GAP_BYTES if sparse else GAP_BYTES
        return read_coalesced(self.read, ranges, gap_bytes=gap_bytes)

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces."""
        return read_in_steps(self, offset, length)

    def arrow_file(self) -> Any:
        """Return a file for pyarrow that reads through this source."""
        import pyarrow

        return pyarrow.PythonFile(RangeFile(self), mode="r")

    def check_unchanged(self) -> None:
        """Ask the store for the file's size and version again."""
        found = self._store.stat(self.file.path)
        if found != self.file:
            raise SourceChanged(
                f"{redacted(self.file.path)} changed since it was planned; split again, with "
                "--overwrite for the same destination"
            )

    def close(self) -> None:
        """Nothing is held."""


class RemoteSink:
    """A growing part; see :class:`engine.storage.base.PartSink`."""

    def __init__(self, store: FsspecStorage, path: str) -> None:
        self.size_bytes = 0
        self.notes: tuple[str, ...] = ()
        self._store = store
        self._path = path
        folder, _, name = path.rpartition("/")
        self._temporary = f"{folder}/.{name}.{secrets.token_hex(4)}.tmp"
        with store_errors(path):
            store.fs.makedirs(folder, exist_ok=True)
            self._file = store.fs.open(self._temporary, "wb")
        self._is_open = True

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with store_errors(self._path):
            self._file.write(bytes(data))
        self.size_bytes += len(data)

    def copy(self, source: Source, offset: int, length: int) -> None:
        """Append bytes of a source, a few MiB at a time."""
        for data in source.chunks(offset, length):
            self.write(data)

    def read_back(self, offsets: Sequence[int], length: int) -> None:
        """Return None: what was written is on its way."""

    def commit(self) -> None:
        """Close the temporary file, compare its size, and move it."""
        with store_errors(self._path):
            self._file.close()
            stored = self._store.fs.info(self._temporary)["size"]
            if stored != self.size_bytes:
                raise StorageFailed(
                    f"{redacted(self._path)}: {self.size_bytes} bytes written, {stored} stored"
                )
            self._store.fs.mv(self._temporary, self._path)
        self._is_open = False

    def abort(self) -> None:
        """Remove the temporary file."""
        if not self._is_open:
            return
        self._is_open = False
        # Closing uploads what is buffered; if that fails too, the first failure is the one to tell.
        with suppress(EvensplitError), store_errors(self._path):
            self._file.close()
        self._store.remove(self._temporary)


class FsspecStorage:
    """One fsspec file system; see :class:`engine.storage.base.Storage`."""

    largest_part_bytes: int | None = None
    has_locks = False

    def __init__(self, fs: Any, protocol: str) -> None:
        self.fs = fs
        self._protocol = protocol

    @classmethod
    def from_url(cls, url: str) -> tuple[FsspecStorage, str]:
        """Return the store of a URL and the path in it, as a URL too.

        Raises:
            BadSetting: unknown scheme or missing driver.
        """
        protocol = url.partition("://")[0]
        if protocol not in fsspec.available_protocols():
            raise BadSetting(
                f"there is no storage {protocol}://; name a path, or a URL that fsspec knows"
            )
        try:
            fs, _ = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise BadSetting(
                f"{protocol}:// needs a package that is not installed: {error}"
            ) from error
        except ValueError as error:
            raise BadSetting(
                f"{redacted(url)} cannot be opened: check the URL and account"
            ) from error
        return cls(fs, protocol), url.rstrip("/")

    def join(self, folder: str, *names: str) -> str:
        """Join path components."""
        return "/".join((folder.rstrip("/"), *names))

    def stat(self, path: str) -> SourceFile:
        """Describe a file."""
        with store_errors(path):
            info = self.fs.info(path)
        if info.get("type") != "file":
            raise NoSource(f"{redacted(path)} is not a file")
        key = next((key for key in _VERSION_KEYS if info.get(key) is not None), None)
        return SourceFile(path, info["size"], f"{key}:{info[key]}" if key else "unknown")

    def expand(self, pattern: str) -> Listing:
        """List a file, folder (with subfolders) or glob."""
        with store_errors(pattern):
            if self.fs.isfile(pattern):
                return Listing(pattern, "file", (Listed(pattern, "", 0, pattern),))
            kind: Literal["folder", "glob"] = "folder" if self.fs.isdir(pattern) else "glob"
            root = pattern if kind == "folder" else glob_root(pattern)
            list_all = self.fs.find if kind == "folder" else self.fs.glob
            found = list_all(pattern, detail=True)
        # The URL's own beginning is kept: a driver's would leave out the account.
        length = len(self.fs._strip_protocol(root).rstrip("/"))
        root = root.rstrip("/")
        files = ((path[length:], info) for path, info in found.items() if info["type"] == "file")
        entries = tuple(
            Listed(root + tail, tail.lstrip("/"), info["size"] or 0, root + tail)
            for tail, info in files
        )
        return Listing(root, kind, entries)

    def open(self, file: SourceFile) -> RemoteSource:
        """Open a described file."""
        return RemoteSource(self, file)

    def create(self, path: str, *, durable: bool) -> RemoteSink:
        """Begin a part; what a store has acknowledged is taken as durable."""
        return RemoteSink(self, path)

    def get(self, path: str) -> bytes | None:
        """Return a small file's content."""
        try:
            with store_errors(path):
                return bytes(self.fs.cat_file(path))
        except NoSource:
            return None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a small file, by the driver's own exclusive mode.

        One at a time in this process: ``memory://`` looks first and creates then.
        """
        with _CREATING, store_errors(path):
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                self.fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
        return True

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small file."""
        with store_errors(path):
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.pipe_file(path, data)

    def files(self, folder: str) -> list[Entry]:
        """Return the files directly inside a folder."""
        return sorted(
            Entry(item["name"].rstrip("/").rpartition("/")[2], item["size"])
            for item in self._items(folder)
            if item["type"] == "file"
        )

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly inside a folder."""
        return sorted(
            item["name"].rstrip("/").rpartition("/")[2]
            for item in self._items(folder)
            if item["type"] == "directory"
        )

    def _items(self, folder: str) -> list[dict[str, Any]]:
        try:
            with store_errors(folder):
                return list(self.fs.ls(folder, detail=True))
        except NoSource:
            return []

    def remove(self, path: str) -> None:
        """Remove a file."""
        try:
            with store_errors(path):
                self.fs.rm_file(path)
        except NoSource:
            return

    def remove_leftovers(self, folder: str) -> None:
        """Leave them: without a lock, a temporary file may be another run's work in progress."""

    def room(self, folder: str) -> Room | None:
        """Return that nobody can tell."""
        return None

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """No lock: two runs of one plan write the same bytes, and commit each part atomically."""
        return nullcontext()
