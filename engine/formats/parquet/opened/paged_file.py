"""A file that hands out column chunks page by page, so that Arrow's read buffer stays small.

Before each page Arrow peeks at 16 KiB. Where pages are smaller than that, its buffered stream never
runs empty, and instead of moving on it grows, until it holds the whole chunk: all of a column, in a
file of one giant row group. Here a read ends where the page ends, and the attempt to top it up to
16 KiB gets nothing, once; so the buffer is empty after each page and starts anew. Short reads are
legal, so nothing else changes; in a chunk's last 16 KiB, where nothing could mean its end, every
read gets something.

Source: ``BufferedInputStream::Peek`` in ``cpp/src/arrow/io/buffered.cc`` of apache/arrow.
``test_small_pages_of_a_giant_chunk`` fails if Arrow's reads become others.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.footer import ColumnChunk, value
from engine.model import Range
from engine.storage import Source

_BLOCK_BYTES = 1 << 20
_MAX_BUFFERED_BYTES = 4 << 20  # a chunk that Arrow may hold whole
_PEEK_BYTES = 16 << 10
_HEADER_BYTES = 64 << 10  # a header holds two bounds, which most writers keep short


def arrow_file(source: Source, chunks: Sequence[ColumnChunk | TableChunk]) -> Any:
    """Return a file for Arrow: its own, unless a chunk is too large to be buffered whole."""
    import pyarrow

    if all(chunk.compressed_bytes <= _MAX_BUFFERED_BYTES for chunk in chunks):
        return source.arrow_file()
    return pyarrow.PythonFile(PagedFile(source, [chunk.range for chunk in chunks]), mode="r")


class PagedFile(io.RawIOBase):
    """A source file for ``pyarrow.PythonFile``; reads inside ``chunks`` end where pages do."""

    def __init__(self, source: Source, chunks: Sequence[Range]) -> None:
        self._source = source
        self._chunks = sorted(chunks)
        self._starts = [chunk.offset for chunk in self._chunks]
        self._position = 0
        self._page = Range(0, 0)
        self._ended_at = -1  # where the last read stopped because a page ends there
        self._block_start = 0
        self._block = b""

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be positioned: yes."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, and return it."""
        size_bytes = self._source.file.size_bytes
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size_bytes}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes: fewer where the file or the page ends."""
        left = max(0, self._source.file.size_bytes - self._position)
        end = self._position + (left if size < 0 else min(size, left))
        chunk = self._chunk()
        if chunk is not None:
            if self._is_top_up(end, chunk):
                self._ended_at = -1
                return b""
            page_end = self._page_end(chunk)
            if page_end is not None and page_end <= end:
                self._ended_at = end = page_end
        data = self._bytes(self._position, end - self._position)
        self._position += len(data)
        return data

    def _chunk(self) -> Range | None:
        """Return the chunk that the position is in."""
        number = bisect_right(self._starts, self._position) - 1
        if number < 0 or self._position >= self._chunks[number].end:
            return None
        return self._chunks[number]

    def _is_top_up(self, end: int, chunk: Range) -> bool:
        """Whether a read only adds to what a peek has just got of the page before."""
        return (
            self._position == self._ended_at
            and end - self._position < _PEEK_BYTES
            and chunk.end - self._position > _PEEK_BYTES
        )

    def _page_end(self, chunk: Range) -> int | None:
        """Return where the page at the position ends, None where that is not known."""
        if not self._page.offset <= self._position < self._page.end:
            if self._position not in (self._page.end, chunk.offset):
                return None
            self._page = self._page_at(self._position, chunk)
        return self._page.end if self._page.length else None

    def _page_at(self, offset: int, chunk: Range) -> Range:
        """Return the page that begins at ``offset``; of no length if no header is there."""
        try:
            header, length = thrift.decode(
                self._bytes(offset, min(_HEADER_BYTES, chunk.end - offset))
            )
        except BadStructure:  # Arrow will say what is wrong with it
            return Range(offset, 0)
        body = value(header, spec.PageHeader.COMPRESSED_PAGE_SIZE)
        if not isinstance(body, int) or body < 0:
            return Range(offset, 0)
        return Range(offset, min(length + body, chunk.end - offset))

    def _bytes(self, offset: int, length: int) -> bytes:
        start = offset - self._block_start
        if start < 0 or start + length > len(self._block):
            size_bytes = self._source.file.size_bytes
            block = min(max(length, _BLOCK_BYTES), size_bytes - offset)
            self._block = self._source.read(offset, max(block, length))
            self._block_start, start = offset, 0
        return self._block[start : start + length]
