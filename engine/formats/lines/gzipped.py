"""Files of lines that are compressed by gzip, read as the text inside: any range of it.

The text is inflated in order, in bounded memory. On the way zlib's state is kept every few MiB, so
that a range is reached from a state before it, and a file need not be inflated from its begin for
each part. States are kept for the process, of the files used last. Members one behind the other are
one text; zeros behind the last are padding. Not covered: other codecs.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

from engine.errors import BadStructure
from engine.model import Range, SourceFile
from engine.storage import Source
from engine.storage.base import RangeFile, steps

MAGIC = b"\x1f\x8b"
UNKNOWN_BYTES = 1 << 62  # of a text whose end was not seen
_GZIP = 31  # zlib's window bits for a gzip member with its checks
_INFLATED_BYTES, _FED_BYTES, _READ_BYTES = 256 << 10, 16 << 10, 1 << 20
_WINDOW_BYTES = 8 << 20  # of text behind the position, for several threads that read near it
_FIRST_SPACING_BYTES, _MAX_STATES, _MAX_FILES = 4 << 20, 128, 4
_STATE_BYTES = 64 << 10
_LIKELY_RATIO = 8
OPEN_BYTES = _WINDOW_BYTES + 2 * _READ_BYTES + 2 * _INFLATED_BYTES
FILE_BYTES = 2 * _STATE_BYTES  # of one that is open, and is not being read
KEPT_BYTES = _MAX_FILES * _MAX_STATES * _STATE_BYTES


class _State(NamedTuple):
    """Where inflating can go on: position in the text, in the file, and zlib's own state."""

    position: int
    at: int
    inflater: Any


class Known:
    """What is known of a file: states, and how far the file was read at some positions."""

    def __init__(self) -> None:
        self.states = [_State(0, 0, zlib.decompressobj(_GZIP))]
        self.positions, self.ats = array("q", [0]), array("q", [0])
        self._spacing_bytes = _FIRST_SPACING_BYTES
        self._lock = Lock()

    def before(self, position: int) -> _State:
        """Return the last state that is not behind a position, to go on from."""
        with self._lock:
            found = self.states[bisect_right(self.states, position, key=lambda it: it.position) - 1]
            return found._replace(inflater=found.inflater.copy())

    def add(self, position: int, at: int, inflater: Any) -> None:
        """Note how far the file was read, and the state if the last one lies far enough before."""
        with self._lock:
            if position > self.positions[-1]:
                self.positions.append(position)
                self.ats.append(at)
            if position - self.states[-1].position < self._spacing_bytes:
                return
            self.states.append(_State(position, at, inflater.copy()))
            if len(self.states) > _MAX_STATES:
                self.states = self.states[::2]
                self._spacing_bytes *= 2

    def at(self, position: int) -> float:
        """Return about how many bytes of the file a position of the text lies behind."""
        number = bisect_right(self.positions, position) - 1
        if number + 1 == len(self.positions):
            return self.ats[-1]
        first, stop = self.positions[number : number + 2]
        low, high = self.ats[number : number + 2]
        return low + (high - low) * (position - first) / (stop - first)


_known: OrderedDict[tuple[str, int, str], Known] = OrderedDict()
_lock = Lock()


def compressor(level: int | None) -> Any:
    """Return what makes one gzip member, the same bytes whenever it is made."""
    return zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION if level is None else level, wbits=_GZIP)


def is_compressed(file: SourceFile) -> bool:
    """Whether a file, whose begin was looked at, is compressed."""
    return file.dialect is not None and bool(file.dialect.codec)


def forget_all() -> None:
    """Drop what is kept of files."""
    with _lock:
        _known.clear()


def _known_of(file: SourceFile) -> Known:
    key = (file.path, file.size_bytes, file.version)
    with _lock:
        found = _known.setdefault(key, Known())
        _known.move_to_end(key)
        if len(_known) > _MAX_FILES:
            _known.popitem(last=False)
    return found


class GzipSource:
    """The text of a gzip file as a source of its own; several threads may read it.

    Args:
        raw: the file.
        is_kept: whether its states are kept for who opens it next.
        num_bytes: of its text, where known; else its size is :data:`UNKNOWN_BYTES` until its end
            was read.
    """

    def __init__(self, raw: Source, num_bytes: int | None, *, is_kept: bool) -> None:
        self._raw = raw
        self.is_remote = raw.is_remote
        self.known = _known_of(raw.file) if is_kept else Known()
        self.file = replace(raw.file, size_bytes=UNKNOWN_BYTES if num_bytes is None else num_bytes)
        self._read_at, self._buffer = 0, b""
        self._window, self._start = bytearray(), 0
        self._lock = Lock()
        self._go_on(self.known.before(0))

    def _go_on(self, state: _State) -> None:
        self._position, self._at, self._inflater = state
        self._window.clear()
        self._start = self._position

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the text, fewer only at its end."""
        with self._lock:
            stop = offset + length
            state = self.known.before(offset)
            if offset < self._start or state.position > self._position:
                self._go_on(state)
            while self._position <= stop and self._grow():
                spare = min(offset - self._start, len(self._window) - _WINDOW_BYTES)
                if spare > 0:
                    del self._window[:spare]
                    self._start += spare
            return bytes(self._window[offset - self._start : stop - self._start])

    def rest(self) -> None:
        """Drop what was read; it is read again where it is wanted."""
        with self._lock:
            self._window.clear()
            self._start = self._position
            self._buffer = b""

    def _grow(self) -> bool:
        """Inflate some more; False at the end."""
        while True:
            data = self._input()
            if self._inflater.eof:
                if not self._begin_member(data):
                    return False
                continue
            try:
                out = self._inflater.decompress(data, _INFLATED_BYTES)
            except zlib.error as error:
                raise BadStructure(
                    f"its gzip data is damaged near byte {self._at:,} ({error}): get the file again"
                ) from None
            left = self._inflater.unused_data or self._inflater.unconsumed_tail
            self._at += len(data) - len(left)
            if out:
                self._window += out
                self._position += len(out)
                self.known.add(self._position, self._at, self._inflater)
                return True
            if not data and not self._inflater.eof:
                raise BadStructure(
                    f"its gzip data ends early, at byte {self._at:,}, in the middle of a member: "
                    "get the file again, whole"
                )

    def _begin_member(self, data: bytes) -> bool:
        """Look behind a member: another one, padding, or the end of the text."""
        if not data:
            self.file = replace(self.file, size_bytes=self._position)
            return False
        padding = len(data) - len(data.lstrip(b"\0"))
        self._at += padding
        data = data[padding:]
        if data and not MAGIC.startswith(data[:2]):
            raise BadStructure(
                f"what follows a gzip member at byte {self._at:,} is no gzip: cut it off, or get "
                "the file again"
            )
        if data:
            self._inflater = zlib.decompressobj(_GZIP)
        return True

    def _input(self) -> bytes:
        """Return some bytes of the file from where it was read to; none at its end."""
        begin = self._at - self._read_at
        if not 0 <= begin < len(self._buffer):
            length = min(_READ_BYTES, self._raw.file.size_bytes - self._at)
            self._buffer = self._raw.read(self._at, length) if length else b""
            self._read_at, begin = self._at, 0
        return self._buffer[begin : begin + _FED_BYTES]

    def steps(self, start: int, step: int) -> Iterator[tuple[int, int]]:
        """Yield offset and length of consecutive pieces up to the end, found on the way."""
        offset = start
        while length := len(self.read(offset, step)):
            yield offset, length
            offset += length

    @property
    def likely_bytes(self) -> int:
        """A guess at the bytes of the text, from the file's."""
        return self._raw.file.size_bytes * _LIKELY_RATIO

    def measure(self) -> int:
        """Return how many bytes the text has, whose end is looked for if need be."""
        if self.file.size_bytes == UNKNOWN_BYTES:
            for _ in self.steps(0, _READ_BYTES):
                pass
        return self.file.size_bytes

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges."""
        return [self.read(wanted.offset, wanted.length) for wanted in ranges]

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a long range in pieces, in order."""
        return (self.read(*step) for step in steps(offset, length, _READ_BYTES))

    def arrow_file(self) -> Any:
        """Return the text as a file that is read."""
        return RangeFile(self)

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file is no longer the one that was described."""
        self._raw.check_unchanged()

    def close(self) -> None:
        """Release the file."""
        self._raw.close()
