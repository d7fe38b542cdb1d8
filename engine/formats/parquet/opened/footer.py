"""Footers of sources, read where they lie, and repaired where a writer is known for a mistake."""

from __future__ import annotations

import weakref

from engine import memory
from engine.errors import BadStructure, NotParquet
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, has
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    TAIL_BYTES,
    ColumnChunk,
    Footer,
    RowGroup,
    footer_range,
    value,
)
from engine.formats.parquet.bytes.page_map import run_walk, walk_pages
from engine.formats.parquet.bytes.projection import project
from engine.model import Range, SourceFile
from engine.storage import Source

FIRST_READ_BYTES = 256 << 10  # of a file that is not here: a request costs more than bytes
_FIRST_READ_HERE_BYTES = 16 << 10
_last: weakref.ref[Footer] | None = None  # that was read: files of one table have one schema


def read_footer(source: Source) -> tuple[Footer, int]:
    """Read a file's footer, in one read where it is small; return it and where it begins.

    Raises:
        NotParquet, BadStructure, Encrypted: see :func:`.bytes.footer.footer_range`.
    """
    data, offset = read_footer_bytes(source)
    global _last  # noqa: PLW0603 - whichever thread was last
    footer = Footer(data)
    known = None if _last is None else _last()
    if known is not None:
        footer.share_schema(known)
    # What is read on demand is read now, where errors are told with the file's name.
    _ = footer.leaves, footer.key_values, footer.num_rows
    _last = weakref.ref(footer)
    return footer, offset


def read_footer_bytes(source: Source) -> tuple[bytes, int]:
    """Return the thrift bytes of a footer, and where they begin; raises as :func:`read_footer`."""
    size = source.file.size_bytes
    length = min(size, FIRST_READ_BYTES if source.is_remote else _FIRST_READ_HERE_BYTES)
    tail = source.read(size - length, length)
    place = footer_range(tail, size)
    if (tail[:4] if length == size else source.read(0, 4)) != MAGIC:
        raise NotParquet(f"not a Parquet file: it begins without {MAGIC.decode()}")
    if place.length + TAIL_BYTES <= length:
        data = tail[length - TAIL_BYTES - place.length : length - TAIL_BYTES]
    else:
        if place.length > FIRST_READ_BYTES:
            num_bytes = memory.footer_bytes(place.length)
            memory.ask(num_bytes, f"to read a footer of {place.length:,} bytes")
        data = source.read(place.offset, place.length)
    return data, place.offset


def chosen_columns(footer: Footer, file: SourceFile) -> Footer:
    """Return the footer of the columns that are taken of a file, before it is adapted.

    A schema by which it is read has only the columns that are taken.

    Raises:
        BadSetting: a column that was named is not there.
    """
    return footer if file.columns is None or file.schema else project(footer, file.columns)


_INDEX_PLACES = (
    (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH),
    (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH),
)


def true_row_group(footer: Footer, number: int, source: Source, data_end: int) -> RowGroup:
    """Decode a row group without indexes that lie nowhere.

    Chunks that their writer counted too short get their true length.
    """
    group = footer.row_group(number)
    _drop_lost_indexes(group, data_end)
    if not has(footer.created_by, SHORT_CHUNKS):
        return group
    for leaf, chunk in zip(footer.leaves, group.columns, strict=True):
        place = Range(chunk.range.offset, data_end - chunk.range.offset)
        is_flat = leaf.max_repetition == 0
        walk = walk_pages(place, chunk.num_values, group.num_rows, is_flat=is_flat, knows_end=False)
        try:
            pages = run_walk(walk, source.read)
        except BadStructure:
            continue  # whoever needs the pages tells what is wrong with them
        end = pages.page(pages.num_pages - 1).end if pages.num_pages else chunk.range.end
        if end > chunk.range.end:
            size = spec.ColumnMetaData.TOTAL_COMPRESSED_SIZE
            chunk.meta[size] = spec.entry(size, end - chunk.range.offset)
    return group


def _drop_lost_indexes(group: RowGroup, data_end: int) -> None:
    """Take from chunks the page indexes that lie outside the data: the file is read without."""
    for chunk in group.columns:
        places = (chunk.offset_index, chunk.column_index)
        for place, fields in zip(places, _INDEX_PLACES, strict=True):
            if place is not None and not lies_inside(place, data_end):
                for field in fields:
                    del chunk.struct[field]


def bloom_filter_range(chunk: ColumnChunk, source: Source, data_end: int) -> Range | None:
    """Return where a chunk's Bloom filter lies; its length is read if the footer has none.

    Source: BloomFilter.md, ``BloomFilterHeader`` (field 1 is the number of bytes behind it).
    """
    offset = chunk.bloom_filter_offset
    if offset is None:
        return None
    length = chunk.bloom_filter_length
    if length is None:
        head = source.read(offset, min(64, max(0, data_end - offset)))
        header, header_bytes = thrift.decode(head)
        spec.check(spec.BloomFilterHeader, header)
        length = header_bytes + value(header, spec.BloomFilterHeader.NUM_BYTES)
    place = Range(offset, length)
    if not lies_inside(place, data_end):
        raise BadStructure(
            f"a Bloom filter lies at bytes {offset} to {place.end}, outside the file"
        )
    return place


def lies_inside(place: Range, data_end: int) -> bool:
    """Whether bytes lie between the magic and where a file's data ends."""
    return place.offset >= len(MAGIC) and place.length >= 0 and place.end <= data_end
