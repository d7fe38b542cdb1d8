"""What decoding a column chunk takes, told by its page headers before anything is decoded.

Of many pages the one that takes most bytes in the file stands for all: to read all headers takes
long then. Not covered: the formulas (:mod:`engine.memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine import memory
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.footer import (
    TYPE_WIDTHS,
    ColumnChunk,
    Encoding,
    Leaf,
    Type,
    value,
)
from engine.formats.parquet.bytes.pages import PageHeader
from engine.formats.parquet.opened.file import OpenChunk

_MAX_HEADERS = 256
_FEW_VALUES = 1024  # of so few one may be most of a page
_LENGTHS_IN_FRONT = (Encoding.DELTA_BYTE_ARRAY, Encoding.DELTA_LENGTH_BYTE_ARRAY)


class Decoding(NamedTuple):
    """What decoding a chunk takes, but for how much of it is decoded at once.

    Attributes:
        page_bytes, stored_bytes: largest page, before compression and as it lies in the file.
        dictionary_bytes: the dictionary page, before compression.
        num_lengths: lengths of values that a reader holds, all of a page at once.
        largest_value_bytes: what one value may take, where pages have few.
        value_bytes: mean of a decoded value.
    """

    page_bytes: int = 0
    stored_bytes: int = 0
    dictionary_bytes: int = 0
    num_lengths: int = 0
    largest_value_bytes: int = 0
    value_bytes: float = 0.0

    def num_bytes(self, batch_bytes: int) -> int:
        """Return what it takes with so much decoded at once."""
        return memory.decode_bytes(
            page_bytes=self.page_bytes,
            dictionary_bytes=self.dictionary_bytes,
            batch_bytes=batch_bytes,
            stored_bytes=self.stored_bytes,
            value_bytes=self.largest_value_bytes,
            num_lengths=self.num_lengths,
        )


def decoding_of(chunk: OpenChunk) -> Decoding:
    """Return what decoding a chunk takes.

    Raises:
        BadPage: a page header is damaged.
        Unsupported: its pages cannot be told apart.
    """
    dictionary_bytes, entry_bytes = 0, 0.0
    if chunk.pages.dictionary is not None:
        header = chunk.header(None)
        dictionary_bytes = header.uncompressed_bytes
        entry_bytes = dictionary_bytes / max(1, header.num_values)
    pages = chunk.pages
    numbers: Sequence[int] = range(pages.num_pages)
    if pages.num_pages > _MAX_HEADERS or (chunk.file.source.is_remote and numbers):
        numbers = [max(numbers, key=lambda number: pages.sizes[number])]
    headers = chunk.headers(numbers)
    every = list(
        zip(headers.uncompressed_bytes, headers.num_values, headers.encodings, strict=True)
    )
    return Decoding(
        page_bytes=max((size for size, _, _ in every), default=0),
        stored_bytes=max(pages.sizes, default=0),
        dictionary_bytes=dictionary_bytes,
        num_lengths=max((n for _, n, kind in every if kind in _LENGTHS_IN_FRONT), default=0),
        largest_value_bytes=max((size for size, n, _ in every if n <= _FEW_VALUES), default=0),
        value_bytes=value_bytes(chunk.leaf, chunk.entry, entry_bytes),
    )


def delta_bytes(chunk: OpenChunk, header: PageHeader) -> int:
    """Return the bytes of all values of a page that holds differences, 0 for any other.

    Numbers are copied half as often as texts, so half of them is counted.
    """
    if header.encoding not in (Encoding.DELTA_BINARY_PACKED, *_LENGTHS_IN_FRONT):
        return 0
    found = header.num_values * value_bytes(chunk.leaf, chunk.entry)
    return round(found / (2 if header.encoding == Encoding.DELTA_BINARY_PACKED else 1))


def is_array(leaf: Leaf, header: PageHeader) -> bool:
    """Whether the values of a page lie one after another, of one width, and without lists."""
    is_wide = leaf.physical not in (Type.BYTE_ARRAY, Type.BOOLEAN)
    return header.encoding == Encoding.PLAIN and is_wide and not leaf.max_repetition


def value_bytes(leaf: Leaf, entry: ColumnChunk | TableChunk, entry_bytes: float = 0.0) -> float:
    """Return the mean bytes of a decoded value.

    Args:
        leaf, entry: the column, and what the footer says of the chunk.
        entry_bytes: of an entry of the dictionary: a long value that repeats takes bits in the file
            and its full length in memory.
    """
    if leaf.physical is not Type.BYTE_ARRAY:
        return float(TYPE_WIDTHS.get(leaf.physical) or leaf.type_length)
    plain_bytes = max(entry.uncompressed_bytes, entry.unencoded_bytes) / max(1, entry.num_values)
    return 4 + max(entry_bytes, plain_bytes, _bound_bytes(entry))


def _bound_bytes(chunk: ColumnChunk | TableChunk) -> int:
    """Return the length of the longer bound where nothing else tells: prefixes take no bytes."""
    if Encoding.DELTA_BYTE_ARRAY not in chunk.encodings:
        return 0
    if not chunk.statistics or chunk.unencoded_bytes:
        return 0
    names = spec.Statistics
    read = spec.read(names, chunk.statistics)
    return max(len(value(read, field, b"")) for field in (names.MIN_VALUE, names.MAX_VALUE))
