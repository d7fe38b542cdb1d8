"""A part on its way into an fsspec file system; see :class:`engine.storage.base.PartSink`.

:class:`UploadSink` is for object stores: the bytes go up once, as the pieces of an upload that
shows nothing before it is completed, and is cancelled otherwise. :class:`RenameSink` is for file
systems that rename: a hidden temporary name becomes the final one.

What a killed process had uploaded stays with the store, invisible; a rule of the bucket drops it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from engine import endings
from engine.errors import EvensplitError, NoSource, StorageFailed
from engine.model import Buffer, SourceFile
from engine.storage.base import Source, redacted

BLOCK_BYTES = 8 << 20  # of an upload; S3 takes 10,000 of them
MAX_BLOCKS = 10_000


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

    def remove(self, path: str) -> None:
        """Remove a file."""


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

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with self._lock, self._store.calling(self._path):
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
                self._file = store.fs.open(
                    store.inside(path), "wb", autocommit=False, block_size=BLOCK_BYTES
                )
        except BaseException:
            _open.discard(self)
            raise

    def commit(self) -> None:
        """Send what is left, and complete the upload; a part of another size is not left there."""
        with self._lock:
            with self._store.calling(self._path):
                self._check_open()
                self._file.flush(force=True)
                self._check_size(self._file.tell())
            try:
                with self._store.calling(self._path):
                    self._file.commit()
            except NoSource as error:  # the upload, cancelled by another or committed before
                raise StorageFailed(
                    f"{redacted(self._path)}: the store knows the upload no more; run the same "
                    "command again"
                ) from error
            self._is_open = False
            self._file.closed = True
            _open.discard(self)
        try:
            self._check_size(self._store.stat(self._path).size_bytes)
        except StorageFailed:
            self._store.remove(self._path)
            raise

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

    def commit(self) -> None:
        """Close the temporary file, compare its size, and move it."""
        with self._lock, self._store.calling(self._path):
            self._check_open()
            self._file.close()
            self._check_size(self._store.fs.info(self._temporary)["size"])
            self._store.fs.mv(self._temporary, self._store.inside(self._path))
            self._is_open = False

    def _send(self, data: memoryview) -> None:
        self._file.write(bytes(data))

    def _discard(self) -> None:
        try:
            self._file.close()
        finally:
            self._store.fs.rm_file(self._temporary)


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
