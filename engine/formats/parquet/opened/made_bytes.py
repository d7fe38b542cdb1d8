"""A source with bytes behind its own that lie in memory: some made, some the source's again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from engine.model import Range, SourceFile
from engine.storage import Source
from engine.storage.base import RangeFile, check_inside

_SEGMENT_BYTES = 200  # of lists, numbers and objects


class MadeBytes:
    """Bytes behind a source's own: some made, some that stand for bytes of the source.

    ``end``: where the next will lie.
    """

    def __init__(self, begin: int) -> None:
        self.end = begin
        self._starts: list[int] = []
        self._segments: list[bytes | Range] = []

    @property
    def held_bytes(self) -> int:
        """What they take in memory."""
        made = sum(len(segment) for segment in self._segments if isinstance(segment, bytes))
        return made + _SEGMENT_BYTES * len(self._segments)

    def put(self, segment: bytes | Range) -> Range:
        """Append bytes; return where they lie."""
        length = segment.length if isinstance(segment, Range) else len(segment)
        place = Range(self.end, length)
        if length:
            self._starts.append(self.end)
            self._segments.append(segment)
            self.end += length
        return place

    def pieces(self, offset: int, length: int) -> Iterator[bytes | Range]:
        """Yield what bytes behind the source's own are."""
        at = bisect_right(self._starts, offset) - 1
        while length:
            segment, begin = self._segments[at], offset - self._starts[at]
            if isinstance(segment, Range):
                size = min(length, segment.length - begin)
                yield Range(segment.offset + begin, size)
            else:
                size = min(length, len(segment) - begin)
                yield segment[begin : begin + size]
            offset, length, at = offset + size, length - size, at + 1


class AdaptedSource:
    """A source with bytes behind it; see :class:`engine.storage.base.Source`."""

    def __init__(self, source: Source, made: MadeBytes, begin: int) -> None:
        self.source = source
        self.is_remote = source.is_remote
        self.file: SourceFile = replace(source.file, size_bytes=made.end)
        self._made = made
        self._begin = begin

    @property
    def held_bytes(self) -> int:
        """What the bytes behind the source's own take in memory."""
        return self._made.held_bytes

    def pieces(self, where: Range) -> Iterable[bytes | Range]:
        """Return what bytes are: made, or of the source itself."""
        check_inside(where.offset, where.length, self.file.size_bytes)
        own = max(0, min(where.end, self._begin) - where.offset)
        if own:
            yield Range(where.offset, own)
        if own < where.length:
            yield from self._made.pieces(where.offset + own, where.length - own)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly so many bytes."""
        return self.read_many([Range(offset, length)])[0]

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges, those of the source fetched together."""
        every = [list(self.pieces(where)) for where in ranges]
        wanted = [piece for pieces in every for piece in pieces if isinstance(piece, Range)]
        found = iter(self.source.read_many(wanted, sparse=sparse))
        return [
            b"".join(next(found) if isinstance(piece, Range) else piece for piece in pieces)
            for pieces in every
        ]

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces."""
        for piece in self.pieces(Range(offset, length)):
            if isinstance(piece, Range):
                yield from self.source.chunks(piece.offset, piece.length)
            else:
                yield piece

    def arrow_file(self) -> Any:
        """Return a file for pyarrow's readers."""
        import pyarrow

        return pyarrow.PythonFile(RangeFile(self), mode="r")

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file is no longer the one that was described."""
        self.source.check_unchanged()

    def close(self) -> None:
        """Release the handle."""
        self.source.close()
