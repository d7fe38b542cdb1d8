"""What a part is made of: the header, byte ranges of the sources, and line ends that these lack.

A source that does not end in a line feed gets one where another follows it: its last record and the
next source's first would be one otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from itertools import accumulate, groupby
from typing import NamedTuple

from engine.errors import InternalError
from engine.formats.lines.compressed import CompressedSource
from engine.formats.lines.encodings import encoding_of
from engine.formats.lines.index import record_offset
from engine.formats.lines.reading import opened
from engine.formats.lines.scan import marks_of
from engine.model import Dialect, PartPlan, SourceFile
from engine.storage import Source
from engine.storage.base import steps

Opened = Callable[[int], Source]
_STEP_BYTES = 256 << 10


class Piece(NamedTuple):
    """Bytes of a source, by its number; or a text, where that is given."""

    file: int
    offset: int
    length: int
    text: bytes = b""


@contextmanager
def opened_all(files: Sequence[SourceFile]) -> Iterator[Opened]:
    """Open files for a while, each when it is first asked for."""
    with ExitStack() as stack:
        found: dict[int, Source] = {}
        last: Source | None = None

        def get(number: int) -> Source:
            nonlocal last
            if number not in found:
                found[number] = stack.enter_context(opened(files[number]))
            if isinstance(last, CompressedSource) and last is not found[number]:
                last.rest()  # so that one at a time takes memory
            last = found[number]
            return last

        yield get


def dialect_of(file: SourceFile) -> Dialect:
    """Return the dialect that a plan found."""
    assert file.dialect is not None
    return file.dialect


def text_bytes(file: SourceFile) -> int:
    """Return the bytes of a file's text, decompressed; of UTF-16 its code units."""
    dialect = dialect_of(file)
    if dialect.codec:
        return dialect.num_bytes
    return file.size_bytes // encoding_of(dialect).unit_bytes


def is_ended(file: SourceFile, source: Source) -> bool:
    """Whether a file that has records ends in a line feed."""
    dialect = dialect_of(file)
    return dialect.is_ended if dialect.codec else source.read(text_bytes(file) - 1, 1) == b"\n"


def head_of(file: SourceFile, *, is_first: bool) -> Piece:
    """Return what a part begins with: the header; in the first part the byte order mark as well."""
    dialect = dialect_of(file)
    start = 0 if is_first else dialect.mark_bytes
    return Piece(0, start, dialect.header_bytes - start)


def part_pieces(part: PartPlan, files: Sequence[SourceFile], get: Opened) -> list[Piece]:
    """Return what a part is made of, in order; blocks at its ends are read, to count in them."""
    found = [head_of(files[0], is_first=part.index == 0)]
    for number, offset, length in map(astuple, part.ranges):
        found.append(Piece(number, offset, length))
        if offset + length == text_bytes(files[number]):
            found += _line_end(number, files, get)
    for number, group in groupby(part.slices, key=lambda piece: piece.file):
        slices = list(group)
        source, marks = get(number), marks_of(dialect_of(files[number]))
        first, last = slices[0], slices[-1]
        start = record_offset(source, first.row_group, first.start_row, marks)
        stop = record_offset(source, last.row_group, last.stop_row, marks)
        found.append(Piece(number, start, stop - start))
        if stop == text_bytes(files[number]):
            found += _line_end(number, files, get)
    return [piece for piece in found if piece.length]


def part_texts(part: PartPlan, files: Sequence[SourceFile], get: Opened) -> Iterator[bytes]:
    """Yield what a part is made of as text, of which each byte of a source is read once, in order.

    So where its last block ends is looked for when that is reached.
    """
    head = head_of(files[0], is_first=part.index == 0)
    yield from _whole(get(0), head.offset, head.length)
    for number, group in groupby(part.slices, key=lambda piece: piece.file):
        slices = list(group)
        source, marks = get(number), marks_of(dialect_of(files[number]))
        first, last = slices[0], slices[-1]
        start = record_offset(source, first.row_group, first.start_row, marks)
        middle = max(start, last.row_group)
        yield from _whole(source, start, middle - start)
        stop = record_offset(source, last.row_group, last.stop_row, marks)
        yield from _whole(source, middle, stop - middle)
        if stop == text_bytes(files[number]):
            yield from (piece.text for piece in _line_end(number, files, get))


def _whole(source: Source, offset: int, length: int) -> Iterator[bytes]:
    for step in steps(offset, length, _STEP_BYTES):
        data = source.read(*step)
        if len(data) < step[1]:
            raise InternalError(f"the text ends before byte {sum(step):,}, where its plan has more")
        yield data


def all_records(files: Sequence[SourceFile], get: Opened) -> list[Piece]:
    """Return what the parts hold together beside their headers."""
    found = []
    for number, file in enumerate(files):
        start = dialect_of(file).header_bytes
        if text_bytes(file) > start:
            found.append(Piece(number, start, text_bytes(file) - start))
            found += _line_end(number, files, get)
    return found


def _line_end(number: int, files: Sequence[SourceFile], get: Opened) -> list[Piece]:
    text = dialect_of(files[number]).line_end.encode()
    if number == len(files) - 1 or is_ended(files[number], get(number)):
        return []
    return [Piece(number, 0, len(text), text)]


class Joined:
    """Pieces as one file that is read."""

    def __init__(self, pieces: Sequence[Piece], get: Opened) -> None:
        self._pieces = pieces
        self._get = get
        self._starts = list(accumulate((piece.length for piece in pieces), initial=0))

    @property
    def size_bytes(self) -> int:
        """Bytes of all pieces."""
        return self._starts[-1]

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from a position, fewer at the end."""
        stop = min(offset + length, self.size_bytes)
        found = []
        at = bisect_right(self._starts, offset) - 1
        while offset < stop:
            piece, start = self._pieces[at], self._starts[at]
            end = min(stop, self._starts[at + 1])
            if piece.text:
                found.append(piece.text[offset - start : end - start])
            else:
                source = self._get(piece.file)
                found.append(source.read(piece.offset + offset - start, end - offset))
            offset, at = end, at + 1
        return b"".join(found)
