"""Files of lines that are compressed, read as the text inside: any range of it.

The text is decoded in order, in bounded memory, by a *reader*. A range is reached from the nearest
place before it: a reader that came to rest there, the begin of a frame, or, of gzip, a copy of
zlib's state, one every few MiB. So a file is not decoded from its begin for each part; whoever goes
on in order begins nothing anew. No more readers rest in a process than were at work in it at once.
The text's begin is kept as well, as every part has the header. Not covered: what codecs make of
bytes (:mod:`.codecs`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

from engine import memory
from engine.errors import BadStructure, Unsupported
from engine.formats.lines.codecs import (
    HEAD_BYTES,
    Codec,
    Decoder,
    codec_at,
    skipped_bytes,
)
from engine.model import Range, SourceFile
from engine.storage import Source
from engine.storage.base import RangeFile, steps

UNKNOWN_BYTES = 1 << 62  # of a text whose end was not seen
# Fed are few bytes, so that it is known what text they hold.
_DECODED_BYTES, _FED_BYTES, _READ_BYTES = 256 << 10, 4 << 10, 1 << 20
_WINDOW_BYTES = 8 << 20  # of text behind the position, for several threads that read near it
_BEGIN_BYTES = (1 << 20) + 1  # kept: as much as a header may take
_FIRST_SPACING_BYTES, _MAX_STATES, _MAX_FILES = 4 << 20, 128, 4
_STATE_BYTES = 64 << 10
_LIKELY_RATIO, _FEWEST_BLOCKS = 8, 4096
_MOST_SKIPPED = 1000  # frames of other data before the first of text
FILE_BYTES = 2 * _STATE_BYTES  # of one that is open, and is not being read
KEPT_BYTES = _MAX_FILES * (_MAX_STATES * _STATE_BYTES + _BEGIN_BYTES)


class _State(NamedTuple):
    """Where decoding can go on: position in the text, in the file, and a decoder.

    Without a decoder a frame begins there.
    """

    position: int
    at: int
    decoder: Decoder | None


class Known:
    """What is known of a file: states, how far it was read at some positions, its begin."""

    def __init__(self) -> None:
        self.states = [_State(0, 0, None)]
        self.positions, self.ats = array("q", [0]), array("q", [0])
        self.begin = bytearray()
        self.decoder_bytes = 0
        self._spacing_bytes = _FIRST_SPACING_BYTES
        self._lock = Lock()

    def before(self, position: int) -> _State:
        """Return the last state that is not behind a position, to go on from."""
        with self._lock:
            found = self.states[bisect_right(self.states, position, key=lambda it: it.position) - 1]
            return found if found.decoder is None else found._replace(decoder=found.decoder.copy())

    def keep_begin(self, position: int, text: bytes) -> None:
        """Keep text of a position if it continues what is kept of the begin."""
        with self._lock:
            if position == len(self.begin):
                self.begin += text[: max(0, _BEGIN_BYTES - position)]

    def note(self, position: int, at: int) -> None:
        """Note how far the file was read: the last position of all that come from there."""
        with self._lock:
            if position < self.positions[-1] or at < self.ats[-1]:
                return
            if len(self.ats) > 1 and (at == self.ats[-1] or position == self.positions[-1]):
                self.positions[-1], self.ats[-1] = position, at
            elif position:
                self.positions.append(position)
                self.ats.append(at)

    def add(self, position: int, at: int, copied: Callable[[], Decoder | None] | None) -> None:
        """Keep a place to go on from, if the last one lies far enough before."""
        with self._lock:
            if position - self.states[-1].position < self._spacing_bytes:
                return
            decoder = copied() if copied else None
            if copied and decoder is None:
                return
            self.states.append(_State(position, at, decoder))
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


class _Reader:
    """A place in a file where decoding goes on, and some text before it."""

    def __init__(self, known: Known, state: _State, window_bytes: int) -> None:
        self.known = known
        self.position, self._at, self._decoder = state
        self.window, self.start = bytearray(), state.position
        self._window_bytes = window_bytes
        self._read_at, self._buffer = 0, b""

    def read(self, raw: Source, codec: Codec, offset: int, stop: int) -> bytes:
        """Return a range of the text, fewer bytes at its end."""
        while self.position <= stop and self._grow(raw, codec):
            spare = min(offset - self.start, len(self.window) - self._window_bytes)
            if spare > 0:
                del self.window[:spare]
                self.start += spare
        return bytes(self.window[offset - self.start : stop - self.start])

    def _grow(self, raw: Source, codec: Codec) -> bool:
        """Decode some more; False at the end."""
        while True:
            if self._decoder is None or self._decoder.is_done:
                if not self._begin_frame(raw, codec):
                    return False
                continue
            wants = self._decoder.wants
            data = self._input(raw) if wants else b""
            try:
                out = self._decoder.decode(data, _DECODED_BYTES)
            except codec.errors as error:
                raise BadStructure(
                    f"its {codec.name} data is damaged near byte {self._at:,} ({error}): get the "
                    "file again"
                ) from None
            self._at += len(data) - self._decoder.num_left
            if out:
                self._take(out)
                return True
            if wants and not data and not self._decoder.is_done:
                raise BadStructure(
                    f"its {codec.name} data ends early, at byte {self._at:,}, in the middle: get "
                    "the file again, whole"
                )

    def _take(self, out: bytes) -> None:
        assert self._decoder is not None
        self.known.keep_begin(self.position, out)
        self.window += out
        self.position += len(out)
        self.known.note(self.position, self._at)
        self.known.add(self.position, self._at, self._decoder.copy)

    def _begin_frame(self, raw: Source, codec: Codec) -> bool:
        """Look at what follows a frame: another one, padding, or the end of the text."""
        head = self._input(raw, HEAD_BYTES)
        self.known.note(self.position, self._at)
        if not head or not head.strip(b"\0"):
            return self._pass_over(len(head), raw, codec, is_padding=True)
        padding = len(head) - len(head.lstrip(b"\0"))
        if padding or (codec.skips and skipped_bytes(head)):
            return self._pass_over(
                padding or skipped_bytes(head), raw, codec, is_padding=bool(padding)
            )
        unaligned = codec.padding_bytes and self._at % codec.padding_bytes
        if unaligned or not codec.magic.match(head):
            raise self._rubbish(codec)
        needed_bytes = codec.decoder_bytes(head)
        try:
            self._decoder = codec.decoder(head)
        except (BadStructure, Unsupported) as error:
            raise type(error)(f"from byte {self._at:,} on it is {error}") from None
        if needed_bytes > self.known.decoder_bytes:
            memory.ask(
                needed_bytes,
                f"decompressing it by {codec.name}",
                cure="compress it again with a smaller window or dictionary",
            )
            self.known.decoder_bytes = needed_bytes
        self.known.add(self.position, self._at, None)
        return True

    def _pass_over(self, num_bytes: int, raw: Source, codec: Codec, *, is_padding: bool) -> bool:
        """Pass over what is no text; False at the end of the file."""
        if is_padding and num_bytes and not (self._at and codec.padding_bytes):
            raise self._rubbish(codec)
        self._at += num_bytes
        if self._at > raw.file.size_bytes:
            raise BadStructure(
                f"its {codec.name} data ends early, in a frame that is passed over: get the file "
                "again, whole"
            )
        is_end = self._at == raw.file.size_bytes
        if is_padding and codec.padding_bytes and self._at % codec.padding_bytes and is_end:
            raise self._rubbish(codec)
        self._decoder = None
        return not is_end

    def _rubbish(self, codec: Codec) -> BadStructure:
        return BadStructure(
            f"what lies at byte {self._at:,}, behind its {codec.name} data, is no {codec.name}: "
            "cut it off, or get the file again"
        )

    def _input(self, raw: Source, least_bytes: int = 1) -> bytes:
        """Return some bytes of the file from where it was read to; none at its end."""
        left = raw.file.size_bytes - self._at
        begin = self._at - self._read_at
        if not 0 <= begin <= len(self._buffer) - min(least_bytes, left):
            self._buffer = raw.read(self._at, min(_READ_BYTES, left)) if left else b""
            self._read_at, begin = self._at, 0
        return self._buffer[begin : begin + max(_FED_BYTES, least_bytes)]


_known: OrderedDict[tuple[str, int, str], Known] = OrderedDict()
_resting: deque[_Reader] = deque()  # the first rests longest
_lock = Lock()


def is_compressed(file: SourceFile) -> bool:
    """Whether a file, whose begin was looked at, is compressed."""
    return file.dialect is not None and bool(file.dialect.codec)


def open_bytes(file: SourceFile) -> int:
    """Return the memory that reading the text of a file takes; 0 if it is not compressed."""
    if file.dialect is None or not file.dialect.codec:
        return 0
    return _reading_bytes(file, file.dialect.decoder_bytes)


def _reading_bytes(file: SourceFile, decoder_bytes: int) -> int:
    return _window_bytes(file) + 2 * _READ_BYTES + 2 * _DECODED_BYTES + decoder_bytes


def forget_all() -> None:
    """Drop what is kept of files."""
    with _lock:
        _known.clear()
        _resting.clear()


def codec_of(source: Source) -> Codec | None:
    """Return the codec by which a file is compressed, if any."""
    at = 0
    for _ in range(_MOST_SKIPPED):
        head = source.read(at, min(source.file.size_bytes - at, HEAD_BYTES if not at else 16))
        found, skipped = codec_at(head), skipped_bytes(head)
        if found or not skipped or at + skipped >= source.file.size_bytes:
            return found or codec_at(b"\x28\xb5\x2f\xfd" if at or skipped else b"")
        at += skipped
    raise Unsupported(
        f"it begins with more than {_MOST_SKIPPED:,} frames that are passed over: decompress it "
        "first (zstd -d, lz4 -d)"
    )


def _window_bytes(file: SourceFile) -> int:
    """Return how much text a reader keeps: two blocks of a plan, as parts begin in that before."""
    return max(_WINDOW_BYTES, file.size_bytes * _LIKELY_RATIO // _FEWEST_BLOCKS)


def _known_of(file: SourceFile) -> Known:
    key = (file.path, file.size_bytes, file.version)
    with _lock:
        found = _known.setdefault(key, Known())
        _known.move_to_end(key)
        if len(_known) > _MAX_FILES:
            _known.popitem(last=False)
    return found


class CompressedSource:
    """The text of a compressed file as a source of its own; several threads may read it.

    Args:
        raw: the file.
        codec: by which it is compressed.
        num_bytes: of its text, where known; else its size is :data:`UNKNOWN_BYTES` until its end
            was read.
        is_kept: whether what is known of it, and its reader, are kept for who opens it next.
    """

    def __init__(self, raw: Source, codec: Codec, num_bytes: int | None, *, is_kept: bool) -> None:
        self._raw = raw
        self.codec = codec
        self.is_remote = raw.is_remote
        self.known = _known_of(raw.file) if is_kept else Known()
        self.file = replace(raw.file, size_bytes=UNKNOWN_BYTES if num_bytes is None else num_bytes)
        self.on_step: Callable[[int, bytes], None] | None = None
        self._is_kept = is_kept
        self._reader: _Reader | None = None
        self._lock = Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the text, fewer only at its end."""
        stop = offset + length
        with self._lock:
            if stop <= len(self.known.begin):
                return bytes(self.known.begin[offset:stop])
            reader = self._reader_for(offset)
            self._reader = None  # one that fails does not go on
            found = reader.read(self._raw, self.codec, offset, stop)
            self._reader = reader
            if len(found) < length and self.file.size_bytes == UNKNOWN_BYTES:
                self.file = replace(self.file, size_bytes=reader.position)
            return found

    def _reader_for(self, offset: int) -> _Reader:
        """Return the reader that has the least to decode up to a position."""
        state = self.known.before(offset)
        left_bytes = offset - state.position
        with _lock:
            own = [self._reader] if self._reader else []
            able = [
                reader
                for reader in (*own, *_resting)
                if reader.known is self.known and reader.start <= offset
            ]
            best = min(able, key=lambda it: max(0, offset - it.position), default=None)
            if best is not None and offset - best.position <= left_bytes:
                if best not in own:
                    _resting.remove(best)
                    _resting.extend(own)
                return best
            if self._is_kept:
                _resting.extend(own)
                if _resting:
                    _resting.popleft()  # so that there are no more than were at work at once
        return _Reader(self.known, state, _window_bytes(self._raw.file))

    def needed_bytes(self) -> int:
        """Return the memory that reading the file takes, as far as its begin tells."""
        self.read(0, 1)
        return _reading_bytes(self._raw.file, self.known.decoder_bytes)

    def rest(self) -> None:
        """Let the reader rest for who comes next."""
        with self._lock, _lock:
            if self._reader and self._is_kept:
                _resting.append(self._reader)
            self._reader = None

    def steps(self, start: int, step: int) -> Iterator[tuple[int, int]]:
        """Yield offset and length of consecutive pieces up to the end, found on the way."""
        offset = start
        while data := self.read(offset, step):
            if self.on_step:
                self.on_step(offset, data)
            yield offset, len(data)
            offset += len(data)

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
        self.rest()
        self._raw.close()
