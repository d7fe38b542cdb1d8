"""Footers of sources, read where they lie."""

from __future__ import annotations

from engine.errors import NotParquet
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    TAIL_BYTES,
    Footer,
    RowGroup,
    footer_range,
)
from engine.formats.parquet.bytes.projection import project
from engine.model import Range, SourceFile
from engine.storage import Source

FIRST_READ_BYTES = 256 << 10


def read_footer(source: Source) -> tuple[Footer, int]:
    """Read a file's footer, in one read where it is small; return it and where it begins.

    Raises:
        NotParquet, BadStructure, Encrypted: see :func:`.bytes.footer.footer_range`.
    """
    data, offset = read_footer_bytes(source)
    footer = Footer(data)
    # What is read on demand is read now, where errors are told with the file's name.
    _ = footer.leaves, footer.key_values, footer.num_rows
    return footer, offset


def read_footer_bytes(source: Source) -> tuple[bytes, int]:
    """Return the thrift bytes of a footer, and where they begin; raises as :func:`read_footer`."""
    size = source.file.size_bytes
    length = min(size, FIRST_READ_BYTES)
    tail = source.read(size - length, length)
    place = footer_range(tail, size)
    if source.read(0, 4) != MAGIC:
        raise NotParquet(f"not a Parquet file: it begins without {MAGIC!r}")
    if place.length + TAIL_BYTES <= length:
        data = tail[length - TAIL_BYTES - place.length : length - TAIL_BYTES]
    else:
        data = source.read(place.offset, place.length)
    return data, place.offset


def chosen_columns(footer: Footer, file: SourceFile) -> Footer:
    """Return the footer of the columns that are taken of a file.

    Raises:
        BadSetting: a column that was named is not there.
    """
    return footer if file.columns is None else project(footer, file.columns)


_INDEX_PLACES = (
    (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH),
    (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH),
)


def drop_lost_indexes(group: RowGroup, end: int) -> None:
    """Take from chunks the page indexes that lie outside the data: the file is read without."""
    for chunk in group.columns:
        places = (chunk.offset_index, chunk.column_index)
        for place, fields in zip(places, _INDEX_PLACES, strict=True):
            if place is not None and not lies_inside(place, end):
                for field in fields:
                    del chunk.struct[field]


def lies_inside(place: Range, end: int) -> bool:
    """Whether bytes lie between the magic and where a file's data ends."""
    return place.offset >= len(MAGIC) and place.length >= 0 and place.end <= end
