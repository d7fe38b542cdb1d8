"""A Parquet file in memory, opened by our own readers; shared by the tests beside it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.formats.parquet.bytes import footer
from engine.formats.parquet.bytes.codecs import decompress
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, has
from engine.formats.parquet.bytes.footer import ColumnChunk, Footer, Leaf
from engine.formats.parquet.bytes.page_index import OffsetIndex
from engine.formats.parquet.bytes.page_map import PageMap, map_from_index, run_walk, walk_pages
from engine.formats.parquet.bytes.pages import PageHeader, PageType, read_page_header
from engine.model import Range


@dataclass
class ParquetFile:
    """The bytes of a file and its footer."""

    data: bytes
    footer: Footer

    @classmethod
    def of(cls, data: bytes) -> ParquetFile:
        where = footer.footer_range(data[-8:], len(data))
        return cls(data, Footer(data[where.offset : where.end]))

    @classmethod
    def written(cls, table: pa.Table, **options: Any) -> ParquetFile:
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        return cls.of(sink.getvalue())

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def chunks(self) -> Iterator[tuple[Leaf, ColumnChunk, int]]:
        """Yield every chunk with its column and the rows of its row group."""
        for number in range(self.footer.num_row_groups):
            group = self.footer.row_group(number)
            for leaf, chunk in zip(self.footer.leaves, group.columns, strict=True):
                yield leaf, chunk, group.num_rows

    def walked(self, leaf: Leaf, chunk: ColumnChunk, num_rows: int, **options: Any) -> PageMap:
        flat = leaf.max_repetition == 0
        place = chunk.range
        if has(self.footer.created_by, SHORT_CHUNKS):
            place = Range(place.offset, len(self.data) - place.offset)
            options["knows_end"] = False
        walk = walk_pages(place, chunk.num_values, num_rows, is_flat=flat, **options)
        return run_walk(walk, self.read)

    def indexed(self, leaf: Leaf, chunk: ColumnChunk, num_rows: int) -> PageMap:
        index = OffsetIndex.decode(self.read(*chunk.offset_index))
        return map_from_index(index, chunk.range, num_rows, is_flat=leaf.max_repetition == 0)

    def page(self, pages: PageMap, number: int) -> tuple[PageHeader, bytes]:
        raw = self.read(*pages.page(number))
        header = read_page_header(raw, limit_bytes=len(raw))
        return header, raw[header.header_bytes :]

    def plain_page(
        self, chunk: ColumnChunk, pages: PageMap, number: int
    ) -> tuple[PageHeader, bytes]:
        """Return a page's header and its body uncompressed, levels included."""
        header, body = self.page(pages, number)
        levels = header.level_bytes if header.type is PageType.DATA_V2 else 0
        values = body[levels:]
        if header.is_compressed:
            values = decompress(chunk.codec, values, header.uncompressed_bytes - levels)
        return header, body[:levels] + values
