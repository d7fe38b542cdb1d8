"""Tables of the chunks of footers, read once a comparison, and what sizes these come to."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from engine.formats.parquet.bytes.chunk_table import ChunkTable, Numbers, read_chunk_table
from engine.formats.parquet.bytes.footer import Footer


class Sizes(NamedTuple):
    """Sizes of the chunks of a file.

    Attributes:
        compressed_bytes: of each column, all row groups together.
        largest_bytes: of each column's largest chunk, before compression; 0 without row groups.
        largest_groups: the row group of that one.
        index_places, index_bytes: where page indexes lie, and how long they are.
    """

    compressed_bytes: Numbers
    largest_bytes: Numbers
    largest_groups: Numbers
    index_places: Numbers
    index_bytes: Numbers


_tables: WeakKeyDictionary[Footer, ChunkTable] = WeakKeyDictionary()


def table_of(footer: Footer) -> ChunkTable:
    """Return the table of a footer's chunks; raises as :func:`read_chunk_table`."""
    found = _tables.get(footer)
    if found is None:
        found = _tables[footer] = read_chunk_table(footer)
    return found


def sizes_of(footer: Footer) -> Sizes:
    """Return the sizes of a footer's chunks; raises as :func:`table_of`."""
    table = table_of(footer)
    plain = table.uncompressed_bytes
    offsets = np.stack([table.offset_index_offsets, table.column_index_offsets])
    lengths = np.stack([table.offset_index_bytes, table.column_index_bytes])
    return Sizes(
        table.compressed_bytes.sum(axis=0),
        plain.max(axis=0, initial=0),
        plain.argmax(axis=0) if len(plain) else np.zeros(plain.shape[1], np.int64),
        offsets[lengths > 0],
        lengths[lengths > 0],
    )
