"""Any fsspec file system: object stores, SFTP, HTTP, memory, ...; a range is one request.

Reads ask for exact ranges (no read-ahead cache, which fetches up to ten times the bytes), of the
version that was described where the driver can say so: S3 by ETag, Google by generation, HTTP by a
strong ETag. Elsewhere size and time are compared when a source is opened and before a part is
published. How parts are written is in :mod:`engine.storage.remote_sinks`, what drivers raise in
:mod:`engine.storage.remote_errors`.

``simplecache::`` may stand before a URL, to read from servers that give whole files only. Other
chains are refused: caches that outlive a process do not always see that a file changed.
"""

from __future__ import annotations

import difflib
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
from fsspec.core import url_to_fs

from engine.errors import (
    BadSetting,
    BadStructure,
    NoPermission,
    NoSource,
    SourceChanged,
    StorageFailed,
)
from engine.model import SourceFile
from engine.storage.access import current, told_by
from engine.storage.base import (
    GAP_BYTES,
    NEAR_BYTES,
    PASSING_GAP_BYTES,
    Entry,
    PartSink,
    RangeFile,
    Room,
    check_inside,
    glob_root,
    read_coalesced,
    read_in_steps,
    redacted,
)
from engine.storage.folders import Listed, Listing, hidden_folder
from engine.storage.nearby import Nearby
from engine.storage.remote_errors import store_errors
from engine.storage.remote_sinks import (
    BLOCK_BYTES,
    MAX_BLOCKS,
    RenameSink,
    UploadSink,
    moved,
    renamed_if_absent,
    temporary_name,
    upload_of_generation,
)
from engine.store_options import resolved

if TYPE_CHECKING:
    from engine.model import Range

_VERSION_KEYS = (
    *("generation", "etag", "ETag", "content_md5", "Content-MD5"),
    *("last_modified", "LastModified", "Last-Modified", "mtime", "created"),
)
PROCESS_BYTES = 128 << 20  # clients: 40; and three threads with a block each to read, keep and send
_CACHE = "simplecache"
# What others call Azure's storage. Source: learn.microsoft.com, "Azure Data Lake Storage Gen1 was
# retired", and "The Azure Blob Filesystem driver (ABFS)", which replaces the driver WASB.
_OF_OTHER_NAMES = {
    "adl": "; Data Lake Storage Gen1 has ended; Gen2 is abfss://CONTAINER@ACCOUNT.dfs.core.windows.net",
    "wasb": "; write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
    "wasbs": "; write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
}
_CREATING = threading.Lock()
_OPENING = threading.Lock()
_file_systems: dict[str, tuple[Any, threading.RLock]] = {}
# Where drivers look for an endpoint, an account or its keys that no option names.
_TOLD_BY = ("AWS_", "BOTO_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST")

Read = Callable[[int, int], bytes]


class Driver(NamedTuple):
    """What differs between file systems, besides what their drivers hide.

    Attributes:
        extra: of ours, that installs the driver.
        uploads: an object store: parts are uploads, and there are no folders to make.
        pinned: how a range is read of one version only, by name; None where that cannot be.
        is_lost: whether the connection that a file system keeps has ended, for whatever reason.
    """

    extra: str = ""
    uploads: bool = False
    pinned: str | None = None
    is_lost: Callable[[Any], bool] = lambda _: False


_S3 = Driver("s3", uploads=True, pinned="etag")
_GOOGLE = Driver("gcs", uploads=True, pinned="generation")
_HTTP = Driver(pinned="header")
_SFTP = Driver("sftp", is_lost=lambda fs: fs.ftp.get_channel().closed)
_DRIVERS = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GOOGLE,
    "gcs": _GOOGLE,
    "http": _HTTP,
    "https": _HTTP,
    "sftp": _SFTP,
    "ssh": _SFTP,
}


class RemoteSource:
    """A file of an fsspec file system; see :class:`engine.storage.base.Source`."""

    is_remote = True

    def __init__(self, store: FsspecStorage, file: SourceFile) -> None:
        self.file = file
        self._store = store
        if not store.compares_when_opened:
            self.check_unchanged()
        with store.calling(file.path):
            self._fetch = store.reader(file)
        self._nearby = Nearby(self._asked, file.size_bytes, NEAR_BYTES)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes by one request at most.

        Raises:
            BadStructure: the file has fewer.
        """
        check_inside(offset, length, self.file.size_bytes)
        return self._nearby.read(offset, length) if length else b""

    def _asked(self, offset: int, length: int) -> bytes:
        try:
            with self._store.calling(self.file.path):
                data = self._fetch(offset, offset + length)
        except (SourceChanged, NoSource):
            self.check_unchanged()
            raise
        if len(data) != length:
            self.check_unchanged()
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
            raise _changed(self.file)

    def close(self) -> None:
        """Nothing is held but what was read last."""
        self._nearby.forget()


class FsspecStorage:
    """One fsspec file system; see :class:`engine.storage.base.Storage`."""

    has_locks = False

    def __init__(self, fs: Any, turn: threading.RLock, protocol: str) -> None:
        """``turn`` is one for all stores that share a file system."""
        self._cache = fs if getattr(fs, "fs", None) is not None else None
        self.fs = fs if self._cache is None else fs.fs
        self._driver = _DRIVERS.get(protocol, Driver())
        # A driver that is not made for many threads is asked one thing at a time.
        is_shared = self._cache is None and getattr(fs, "async_impl", False)
        self._turn: Any = nullcontext() if is_shared else turn
        self.compares_when_opened = self._driver.pinned == "etag" and self._cache is None
        self.largest_part_bytes = MAX_BLOCKS * BLOCK_BYTES if self._driver.uploads else None

    @classmethod
    def from_url(cls, url: str) -> tuple[FsspecStorage, str]:
        """Return the store of a URL and the path in it, as a URL too.

        Raises:
            BadSetting: unknown scheme, missing driver, or storage options that it does not take.
            NoPermission: a server does not let in who asks, where it is asked at once (SFTP).
        """
        caches, _, last = url.rpartition("::")
        protocol = last.partition("://")[0]
        _check_protocols(url, [*filter(None, caches.split("::")), protocol])
        given = resolved(current().storage_options, os.environ)
        kwargs = _kwargs(protocol, caches, given)
        # In a process that was forked, loops and connections are not to be used.
        asked = [os.getpid(), _place(url), kwargs, told_by(*_TOLD_BY)]
        key = json.dumps(asked, sort_keys=True, default=str)
        with _OPENING, store_errors(url):
            if key in _file_systems and cls(*_file_systems[key], protocol).is_lost():
                del _file_systems[key]
            if key not in _file_systems:
                _file_systems[key] = (_opened(url, protocol, kwargs), threading.RLock())
            return cls(*_file_systems[key], protocol), url.rstrip("/")

    def is_lost(self) -> bool:
        """Whether its connection has ended, and will not be made again."""
        return self._driver.is_lost(self.fs)

    @contextmanager
    def calling(self, path: str) -> Iterator[None]:
        """Around whatever asks the driver: errors become ours."""
        with self._turn, store_errors(path):
            yield

    def inside(self, path: str) -> str:
        """Return a path as the driver writes it.

        Raises:
            BadSetting: it would be another one, as the driver takes ``?`` for the begin of a query.
        """
        last = path.rpartition("::")[2]
        inside = str(self.fs._strip_protocol(last))
        if "?" in last and not last.rstrip("/").endswith(inside.strip("/")):
            if self._driver is not _SFTP:
                raise BadSetting(f"{redacted(path)} is cut off at ? by its driver: rename it")
            inside = "/" + last.partition("://")[2].partition("/")[2]
        return inside

    def make_folder(self, path: str) -> None:
        """Make the folder of a file, where there are folders: a bucket is none."""
        if not self._driver.uploads:
            self.fs.makedirs(self.inside(path).rpartition("/")[0], exist_ok=True)

    def reader(self, file: SourceFile) -> Read:
        """Return what reads a file from one byte up to another, of its version where that can be.

        Drivers' files know how to ask for one version; none of their caches is used.
        """
        path, version = self.inside(file.path), file.version.partition(":")[2]
        if self._cache is not None:
            return partial(_from_cache, self._cache, path)
        if self._driver.pinned == "etag":
            opened = self.fs.open(path, "rb", cache_type="none")
            if opened.details.get("ETag") != version:
                raise _changed(file)
            read: Read = opened._fetch_range
            return read
        if self._driver.pinned == "header":
            return _http_reader(self.fs, path, file)
        pinned = {"generation": version} if self._driver.pinned == "generation" else {}
        return lambda start, end: bytes(self.fs.cat_file(path, start=start, end=end, **pinned))

    def join(self, folder: str, *names: str) -> str:
        """Join path components."""
        return "/".join((folder.rstrip("/"), *names))

    def stat(self, path: str) -> SourceFile:
        """Describe a file."""
        info = self._info(path)
        if info.get("type") != "file":
            raise NoSource(f"{redacted(path)} is not a file")
        if info.get("size") is None:
            raise BadSetting(
                f"{redacted(path)}: the server does not say how large it is; download it first, "
                "and split the copy"
            )
        return SourceFile(path, info["size"], version_of(info))

    def _info(self, path: str) -> dict[str, Any]:
        with self.calling(path):
            return dict(self.fs.info(self.inside(path)))

    def expand(self, pattern: str) -> Listing:
        """List a file, folder (with subfolders) or glob."""
        try:
            kind = self._info(pattern)["type"]
        except NoSource:
            if not any(letter in pattern for letter in "*?["):
                return Listing(pattern, "glob", ())
            kind = "glob"
        if kind == "file":
            return Listing(pattern, "file", (Listed(pattern, "", 0, pattern),))
        is_glob = kind == "glob"
        root = glob_root(pattern) if is_glob else pattern
        with self.calling(pattern):
            list_all = self.fs.glob if is_glob else self.fs.find
            found = list_all(self.inside(pattern), detail=True)
        # The URL's own beginning is kept: a driver's would leave out the account.
        root = root.rstrip("/")
        if "://" in root:
            length = len(self.inside(root).rstrip("/"))
            tails = {path: path[length:] for path in found}
        else:  # a glob that begins where others have a bucket: memory: is left of it
            root += "/"
            tails = {path: "/" + path.lstrip("/") for path in found}
        every = ((_listed(root, tails[path], it), it["type"]) for path, it in found.items())
        entries = tuple(
            item
            for item, type_name in every
            if item.name.strip("/") and _is_wanted(item, is_glob or type_name == "link")
        )
        return Listing(root, "glob" if is_glob else "folder", entries)

    def open(self, file: SourceFile) -> RemoteSource:
        """Open a described file."""
        return RemoteSource(self, file)

    def create(self, path: str, *, durable: bool) -> PartSink:
        """Begin a part; what a store has acknowledged is taken as durable."""
        return UploadSink(self, path) if self._driver.uploads else RenameSink(self, path)

    def get(self, path: str) -> bytes | None:
        """Return a small file's content."""
        try:
            with self.calling(path):
                # For S3 in one request, without asking for the size before.
                whole = {"max_concurrency": 1} if self._driver is _S3 else {}
                return bytes(self.fs.cat_file(self.inside(path), **whole))
        except NoSource:
            return None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a small file: by the store's own condition, else a rename that replaces nothing.

        One at a time in this process: ``memory://`` looks first and creates then.
        """
        inside = self.inside(path)
        with _CREATING, self.calling(path):
            self.make_folder(path)
            if self._driver is _SFTP:
                temporary = temporary_name(inside)
                self.fs.pipe_file(temporary, data)
                return renamed_if_absent(self.fs, temporary, inside)
            try:
                self.fs.pipe_file(inside, data, mode="create")
            except FileExistsError:
                return False
        return True

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small file."""
        inside = self.inside(path)
        with self.calling(path):
            self.make_folder(path)
            if self._driver.uploads:
                self.fs.pipe_file(inside, data)
                return
            temporary = temporary_name(inside)
            self.fs.pipe_file(temporary, data)
            moved(self.fs, temporary, inside)

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Replace a small file: by the store's own condition, else compared the moment before."""
        inside, token = self.inside(path), version.partition(":")[2]
        try:
            with _CREATING, self.calling(path):
                if self._driver.pinned == "etag":
                    bucket, key, _ = self.fs.split_path(inside)
                    self.fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfMatch=token)
                    return True
                if self._driver.pinned == "generation":
                    upload_of_generation(self.fs, inside, data, token)
                    return True
                if self.stat(path).version == version:
                    self.put(path, data)
                    return True
        except (NoSource, SourceChanged):
            pass
        return False

    def files(self, folder: str) -> list[Entry]:
        """Return the files directly inside a folder."""
        return sorted(
            Entry(_last(item), item["size"], version_of(item))
            for item in self._items(folder)
            if item["type"] == "file" and not item["name"].endswith("/")
        )

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly inside a folder."""
        return sorted(_last(item) for item in self._items(folder) if item["type"] == "directory")

    def _items(self, folder: str) -> list[dict[str, Any]]:
        inside = self.inside(folder)
        try:
            with self.calling(folder):
                found = self.fs.ls(inside, detail=True)
        except NoSource:
            return []
        return [item for item in found if item["name"].strip("/") != inside.strip("/")]

    def remove(self, path: str, version: str | None = None) -> None:
        """Remove a file."""
        with suppress(NoSource, *([SourceChanged] if version else [])), self.calling(path):
            if version is None:
                self.fs.rm_file(self.inside(path))
            else:
                self._remove_version(path, version)

    def _remove_version(self, path: str, version: str) -> None:
        inside, token = self.inside(path), version.partition(":")[2]
        if self._driver.pinned == "generation":
            bucket, key, _ = self.fs.split_path(inside)
            self.fs.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=token)
            return
        if self._driver.pinned == "etag":
            bucket, key, _ = self.fs.split_path(inside)
            with suppress(StorageFailed), store_errors(path):  # of stores that do not know it
                self.fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=token)
                return
        if self.stat(path).version == version:
            self.fs.rm_file(inside)

    def check_removable(self, paths: Iterable[str]) -> None:
        """Nobody can tell."""

    def fence(self, folder: str, names: Collection[str]) -> None:
        """Cancel uploads that others have begun of some files: they cannot be completed then."""
        if self._driver is not _S3:
            return
        bucket, key, _ = self.fs.split_path(self.inside(folder))
        prefix = f"{key}/" if key else ""
        where, last = {"Bucket": bucket, "Prefix": prefix}, dict[str, str]()
        # Who may not list uploads is without this guard, and has the others.
        with suppress(NoPermission), self.calling(folder):
            while True:
                found = self.fs.call_s3("list_multipart_uploads", **where, **last)
                for upload in found.get("Uploads") or ():
                    if upload["Key"].removeprefix(prefix) in names:
                        which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                        with suppress(NoSource), store_errors(folder):
                            self.fs.call_s3("abort_multipart_upload", Bucket=bucket, **which)
                if not found.get("IsTruncated"):
                    return
                last = {mark: found[f"Next{mark}"] for mark in ("KeyMarker", "UploadIdMarker")}

    def remove_leftovers(self, folder: str) -> None:
        """Leave them: without a lock, a temporary file may be another run's work in progress."""

    def room(self, folder: str) -> Room | None:
        """Return that nobody can tell."""
        return None

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """No lock: two runs of one plan write the same bytes, and commit each part atomically."""
        return nullcontext()


def version_of(info: Mapping[str, Any]) -> str:
    """Return the version that a driver tells of a file."""
    key = next((key for key in _VERSION_KEYS if info.get(key) is not None), None)
    if key is None:
        return "unknown"
    value = info[key]
    if isinstance(value, datetime):  # memory:// says a number in listings, and a time elsewhere
        value = value.timestamp()
    return f"{key}:{value}"


def _listed(root: str, tail: str, info: Mapping[str, Any]) -> Listed:
    """Describe what a driver lists; objects whose names end with a slash stand for folders.

    Links, which SFTP tells of, are not followed: as folders that are not entered.
    """
    if info["type"] == "file" and not tail.endswith("/"):
        return Listed(root + tail, tail.lstrip("/"), info["size"] or 0, root + tail)
    path = root + tail.rstrip("/")
    return Listed(path, f"{tail.strip('/')}/", 0, path)


def _is_wanted(item: Listed, also_folders: bool) -> bool:
    """Whether a listing tells of an entry: of files, and of folders that are not entered."""
    is_folder = item.name.endswith("/")
    return not is_folder or (also_folders and hidden_folder(item.name) is None)


def _changed(file: SourceFile) -> SourceChanged:
    return SourceChanged(
        f"{redacted(file.path)} changed since it was planned; plan again, with --overwrite for the "
        "same destination"
    )


def _check_protocols(url: str, protocols: list[str]) -> None:
    known = [name for name in fsspec.available_protocols() if name not in _OF_OTHER_NAMES]
    for protocol in (link.partition("://")[0] for link in protocols):
        if protocol not in known:
            near = difflib.get_close_matches(protocol.lower(), known, 1)
            guess = f"; did you mean {near[0]}://?" if near else ""
            hint = _OF_OTHER_NAMES.get(protocol.lower(), guess)
            raise BadSetting(f"unknown kind of URL: {protocol}://{hint}")
    if protocols[:-1] not in ([], [_CACHE]) or protocols[-1] == _CACHE:
        raise BadSetting(
            f"{redacted(url)} is a chain of other file systems than evensplit takes: in front of a "
            f"URL goes only {_CACHE}::"
        )


def _kwargs(protocol: str, caches: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return what a driver and the caches before it are made with.

    An option that is named as a protocol holds those for it alone.
    """
    known = set(fsspec.available_protocols())
    apart = {name: value for name, value in given.items() if name in known}
    if not all(isinstance(value, dict) for value in apart.values()):
        raise BadSetting("a storage option that is named as a protocol holds an object of options")
    common = {name: value for name, value in given.items() if name not in known}
    own = common | apart.get(protocol, {})
    if _DRIVERS.get(protocol) is not _SFTP:  # which hands everything on to paramiko
        own["use_listings_cache"] = False
    kwargs = {protocol: own}
    if caches:
        kwargs[_CACHE] = apart.get(_CACHE, {})
        if "cache_storage" in kwargs[_CACHE]:
            raise BadSetting(
                f"{_CACHE}:: never looks whether a file changed, so it keeps none from run to run: "
                "leave cache_storage out"
            )
    return kwargs


def _place(url: str) -> str:
    """Return what of a URL a driver keeps: chain, scheme and host; a bucket is in the path."""
    head, _, rest = url.rpartition("://")
    is_store = _DRIVERS.get(head.rpartition("::")[2], Driver()).uploads
    return head if is_store or head == "memory" else f"{head}://{rest.partition('/')[0]}"


def _opened(url: str, protocol: str, kwargs: dict[str, Any]) -> Any:
    extra = _DRIVERS.get(protocol, Driver()).extra
    try:
        kwargs = {name: dict(options) for name, options in kwargs.items()}
        if _DRIVERS.get(protocol) is _GOOGLE and len(kwargs) == 1:
            # Not its experimental side, which shows objects of zonal buckets while they grow.
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            from gcsfs.core import GCSFileSystem

            return GCSFileSystem(skip_instance_cache=True, **kwargs[protocol])
        return url_to_fs(url, skip_instance_cache=True, **kwargs)[0]
    except FileNotFoundError as error:  # its name may be a token that was taken for one
        raise BadSetting(
            f"{redacted(url)} cannot be opened: a file that a storage option names is not there"
        ) from error
    except ImportError as error:
        needed = f"pip install 'evensplit[{extra}]'" if extra else f"it is {error.name or error}"
        raise BadSetting(
            f"{protocol}:// needs a package that is not installed: {needed}"
        ) from error
    except ValueError as error:
        raise BadSetting(
            f"{redacted(url)} cannot be opened: check the URL and the storage options"
        ) from error


def _http_reader(fs: Any, path: str, file: SourceFile) -> Read:
    """Return a reader of ranges that a server is to refuse where the file is another now."""
    kind, _, etag = file.version.partition(":")
    headers = {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    if kind == "ETag" and not etag.startswith("W/"):
        headers["If-Match"] = etag
    fetch = fs.open(path, "rb", cache_type="none", size=file.size_bytes, headers=headers)

    def read(start: int, end: int) -> bytes:
        try:
            return bytes(fetch._fetch_range(start, end))
        except ValueError as error:
            raise BadSetting(
                f"{redacted(path)}: the server gives whole files only, and no ranges of them; "
                "write simplecache:: in front of the URL, which downloads it first"
            ) from error

    return read


def _from_cache(fs: Any, path: str, start: int, end: int) -> bytes:
    with fs.open(path, "rb") as file:
        file.seek(start)
        return bytes(file.read(end - start))


def _last(item: dict[str, Any]) -> str:
    return str(item["name"]).rstrip("/").rpartition("/")[2]
