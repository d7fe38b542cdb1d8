"""A part on its way into an fsspec file system; see :class:`engine.storage.base.PartSink`.

:class:`UploadSink` is for object stores: the bytes go up once, as the pieces of an upload that
shows nothing before it is completed, and is cancelled otherwise. :class:`RenameSink` is for file
systems that rename: a hidden temporary name becomes the final one.

What a killed process had uploaded stays with the store, invisible; a rule of the bucket drops it.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

from fsspec import AbstractFileSystem

from engine import endings
from engine.errors import Conflict, EvensplitError, NoSource, SourceChanged, StorageFailed
from engine.model import Buffer, SourceFile
from engine.storage.base import Source, redacted
from engine.storage.local import taken

BLOCK_BYTES = 8 << 20  # of an upload; S3 takes 10,000 of them
MAX_BLOCKS = 10_000
_CONDITION = re.compile(r"&ifGenerationMatch=\d+")  # what begins an upload, and not what ends it


class Store(Protocol):
    """What a sink asks of its store: :class:`engine.storage.remote.FsspecStorage`."""

    fs: Any

    def calling(self, path: str) -> AbstractContextManager[None]:
        """Around whatever asks the driver."""

    def inside(self, path: str) -> str:
        """Return a path as the driver writes it."""

    def make_folder(self, path: str) -> None:
        """Make the folder of a file."""

    def stat(self, path: str) -> SourceFile:
        """Describe a file."""

    def remove(self, path: str, version: str | None = None) -> None:
        """Remove a file, of a version."""


class _Sink:
    """What both share: bytes come in order, and go on under a lock that :meth:`abort` takes too."""

    def __init__(self, store: Store, path: str) -> None:
        self.size_bytes = 0
        self.notes: tuple[str, ...] = ()
        self._store = store
        self._path = path
        self._lock = threading.Lock()
        self._is_open = True
        self._file: Any = None
        self._was = self._standing()

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with self._lock, self._asking():
            self._check_open()
            self._send(memoryview(data).cast("B"))
        self.size_bytes += len(data)

    def copy(self, source: Source, offset: int, length: int) -> None:
        """Append bytes of a source, a few MiB at a time."""
        for data in source.chunks(offset, length):
            self.write(data)

    def read_back(self, offsets: Sequence[int], length: int) -> None:
        """Return None: what was written is on its way."""

    def abort(self) -> None:
        """Throw everything away."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            # If this fails as well, the first failure is the one to tell.
            with suppress(EvensplitError), self._store.calling(self._path):
                self._discard()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Around what sends: a condition that does not hold says that another wrote the part."""
        try:
            with self._store.calling(self._path):
                yield
        except SourceChanged as error:
            raise taken(redacted(self._path)) from error

    def _standing(self) -> str | None:
        """Return the version of what stands there."""
        try:
            return self._store.stat(self._path).version
        except NoSource:
            return None

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageFailed(f"{redacted(self._path)}: the upload was given up")

    def _check_size(self, found: int) -> None:
        if found != self.size_bytes:
            raise StorageFailed(
                f"{redacted(self._path)}: {self.size_bytes} bytes were written, {found} stored; "
                "run the same command again"
            )

    def _send(self, data: memoryview) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        raise NotImplementedError


class UploadSink(_Sink):
    """A part as an upload in pieces (S3: multipart, Google: resumable)."""

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(store, path)
        _begin(self)
        try:
            with store.calling(path):
                # x: only if nothing stands there.
                self._file = store.fs.open(
                    store.inside(path), "xb", autocommit=False, block_size=BLOCK_BYTES
                )
                if self._was is not None and not _is_s3(self._file):
                    self._file._initiate_upload = partial(_begin_upload, self._file, self._was)
        except BaseException:
            _open.discard(self)
            raise

    def seal(self) -> None:
        """Send what is left: from here on the store has an upload, which it can be told to drop."""
        with self._lock, self._asking():
            self._check_open()
            if not self._file.forced:  # once
                self._file.flush(force=True)
                self._check_size(self._file.tell())

    def commit(self) -> str:
        """Complete the upload; a part of another size is not left there."""
        self.seal()
        with self._lock:
            try:
                with self._asking():
                    version = _completed(self._file, self._was)
            except NoSource as error:  # the upload, cancelled or committed; or what it replaces
                raise Conflict(
                    f"{redacted(self._path)}: the store knows the upload no more; run the same "
                    "command again"
                ) from error
            self._is_open = False
            self._file.closed = True
            _open.discard(self)
        try:
            self._check_size(self._store.stat(self._path).size_bytes)
        except StorageFailed:
            self._store.remove(self._path, version)
            raise
        return version

    def abort(self) -> None:
        """Cancel the upload."""
        try:
            super().abort()
        finally:
            _open.discard(self)

    def _send(self, data: memoryview) -> None:
        """Hand over at most what fills a block, so that no buffer is larger than one."""
        while data:
            room = BLOCK_BYTES - self._file.buffer.tell()
            self._file.write(data[:room])
            data = data[room:]

    def _discard(self) -> None:
        try:
            if self._file is not None:
                if getattr(self._file, "location", None):
                    self._file.location = _CONDITION.sub("", self._file.location)
                self._file.discard()
        finally:
            if self._file is not None:
                self._file.closed = True  # or it would send the rest when it is forgotten


class RenameSink(_Sink):
    """A part under a temporary name."""

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(store, path)
        self._temporary = temporary_name(store.inside(path))
        with store.calling(path):
            store.make_folder(path)
            self._file = store.fs.open(self._temporary, "wb")
            if hasattr(self._file, "set_pipelined"):
                self._file.set_pipelined(True)  # SFTP: else each 32 KiB are a round trip

    def seal(self) -> None:
        """Close the temporary file, and compare its size."""
        with self._lock, self._store.calling(self._path):
            self._check_open()
            self._file.close()
            self._check_size(self._store.fs.info(self._temporary)["size"])

    def commit(self) -> str:
        """Move the temporary file, where the final name is free."""
        self.seal()
        if self._was is not None:  # what is in the way goes first: a rename replaces nothing
            self._store.remove(self._path, self._was)
        inside = self._store.inside(self._path)
        with self._lock, self._store.calling(self._path):
            # Asked for later it might be another's. SFTP keeps it; the others are locked here.
            version = self._store.stat(self._temporary).version
            if not renamed_if_absent(self._store.fs, self._temporary, inside):
                raise taken(redacted(self._path))
            self._is_open = False
            is_kept = hasattr(self._store.fs, "ftp")
            return version if is_kept else self._store.stat(self._path).version

    def _send(self, data: memoryview) -> None:
        self._file.write(bytes(data))

    def _discard(self) -> None:
        try:
            self._file.close()
        finally:
            self._store.fs.rm_file(self._temporary)


def _is_s3(file: Any) -> bool:
    return hasattr(file, "mpu")


def _begin_upload(file: Any, version: str) -> None:
    """Begin an upload to Google that replaces a generation; the driver's own replaces none."""
    headers, _ = file.gcsfs.call(
        "POST",
        f"{file.gcsfs._location}/upload/storage/v1/b/{quote(file.bucket)}/o?name={quote(file.key)}",
        uploadType="resumable",
        json={"name": file.key},
        headers={"X-Upload-Content-Type": file.content_type},
        ifGenerationMatch=version.partition(":")[2],
    )
    where = headers["Location"]
    file.location = where[0] if isinstance(where, list) else where


def _completed(file: Any, was: str | None) -> str:
    """Complete an upload if ``was`` stands there; return the version that the store gave it."""
    if not _is_s3(file):
        file.commit()
        return f"generation:{file.generation}"
    done = file.fs.call_s3(
        "complete_multipart_upload",
        Bucket=file.bucket,
        Key=file.key,
        UploadId=file.mpu["UploadId"],
        MultipartUpload={"Parts": file.parts},
        **({"IfNoneMatch": "*"} if was is None else {"IfMatch": was.partition(":")[2]}),
    )
    return f"ETag:{done['ETag']}"


def upload_of_generation(fs: Any, inside: str, data: bytes, generation: str) -> None:
    """Replace a small object of Google's; the driver's own way knows no generation but none."""
    bucket, key, _ = fs.split_path(inside)
    path = f"{fs._location}/upload/storage/v1/b/{quote(bucket)}/o"
    fs.call("POST", path, uploadType="media", name=key, ifGenerationMatch=generation, data=data)


def renamed_if_absent(fs: Any, temporary: str, inside: str) -> bool:
    """Give a file its name if that is free; else remove it.

    SFTP's own rename replaces nothing; other drivers' are asked before.
    """
    if not hasattr(fs, "ftp"):
        if fs.exists(inside):
            fs.rm_file(temporary)
            return False
        moved(fs, temporary, inside)
        return True
    try:
        fs.ftp.rename(temporary, inside)
    except OSError:
        fs.rm_file(temporary)
        if not fs.exists(inside):
            raise
        return False
    return True


def moved(fs: Any, temporary: str, inside: str) -> None:
    """Give a file another name; not by fsspec's own way, which takes ``k=*/x`` for a glob."""
    if type(fs).mv is AbstractFileSystem.mv:
        fs.cp_file(temporary, inside)
        fs.rm_file(temporary)
    else:
        fs.mv(temporary, inside)


def temporary_name(inside: str) -> str:
    """Return a hidden name beside a file."""
    folder, _, name = inside.rpartition("/")
    return f"{folder}/.{name}.{secrets.token_hex(4)}.tmp"


# -- uploads of a process that is about to end -------------------------------------------------

_open: set[UploadSink] = set()
_beginning = threading.Lock()
_is_ending = False


def _begin(sink: UploadSink) -> None:
    with _beginning:
        if _is_ending:
            raise StorageFailed("interrupted")
        _open.add(sink)


def cancel_uploads(cancel: Callable[[UploadSink], None] = UploadSink.abort) -> None:
    """Cancel all uploads that are under way in this process, and let none begin."""
    global _is_ending  # noqa: PLW0603 - of the process, like the uploads
    with _beginning:
        _is_ending = True
    for sink in list(_open):
        cancel(sink)


with endings.remembered(cancel_uploads):
    pass  # for good: as long as this process may be ended in the middle of a part
