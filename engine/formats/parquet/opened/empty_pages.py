"""A source whose data pages without entries Arrow passes over, as other readers do.

Arrow takes such a page for the end of its chunk, or reads what was in memory before. Here the first
byte that tells its type says instead that it is an index page, which every reader passes over.
Where headers do not begin with their type, as all writers have it, they stay as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes.pages import PageType, read_page_header
from engine.formats.parquet.bytes.thrift import I32
from engine.model import Range
from engine.storage import Source
from engine.storage.base import RangeFile

_HEADERS_BYTES = 64 << 10
_TYPE_HEAD = bytes([1 << 4 | I32])
_INDEX_TYPE = bytes([PageType.INDEX << 1])


def without_empty_pages(source: Source, chunks: Iterable[Range]) -> Source:
    """Return the source, whose chunks are walked through, as it is best given to Arrow."""
    places = {place for chunk in chunks for place in _type_bytes(source, chunk)}
    return _WithoutEmptyPages(source, places) if places else source


def _type_bytes(source: Source, chunk: Range) -> Iterator[int]:
    """Yield where the types of a chunk's empty pages stand."""
    begin, data, position = chunk.offset, b"", chunk.offset
    while position < chunk.end:
        if position + min(_HEADERS_BYTES, chunk.end - position) > begin + len(data):
            begin = position
            data = source.read(begin, min(2 * _HEADERS_BYTES, chunk.end - begin))
        try:
            header = read_page_header(data, position - begin)
        except (BadPage, BadStructure):  # Arrow will say what is wrong with it
            return
        is_usual = data[position - begin : position - begin + 1] == _TYPE_HEAD
        if header.is_data and not header.num_values and is_usual:
            yield position + 1
        position += header.total_bytes


class _WithoutEmptyPages:
    """See :class:`engine.storage.base.Source`."""

    def __init__(self, source: Source, places: set[int]) -> None:
        self.source, self.file, self.is_remote = source, source.file, source.is_remote
        self._places = sorted(places)

    def read(self, offset: int, length: int) -> bytes:
        return self._shown(offset, self.source.read(offset, length))

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        every = list(ranges)
        found = self.source.read_many(every, sparse=sparse)
        return [self._shown(place.offset, data) for place, data in zip(every, found, strict=True)]

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        for data in self.source.chunks(offset, length):
            yield self._shown(offset, data)
            offset += len(data)

    def arrow_file(self) -> Any:
        import pyarrow

        return pyarrow.PythonFile(RangeFile(self), mode="r")

    def check_unchanged(self) -> None:
        self.source.check_unchanged()

    def close(self) -> None:
        self.source.close()

    def _shown(self, offset: int, data: bytes) -> bytes:
        first = bisect_left(self._places, offset)
        stop = bisect_left(self._places, offset + len(data))
        for place in self._places[first:stop]:
            at = place - offset
            data = data[:at] + _INDEX_TYPE + data[at + 1 :]
        return data
