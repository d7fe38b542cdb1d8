"""A column chunk in the making: the seam between whatever makes chunks and the splice writer.

A maker sends the chunk's bytes, in order, to a :class:`ChunkOut` (ranges of the source to copy, or
new bytes) and returns the metadata that becomes true for it. Positions in these count from the
chunk's own first byte, so that it can be placed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine.formats.parquet.bytes.page_index import PageLocation
from engine.formats.parquet.bytes.thrift import Raw, Struct
from engine.formats.parquet.opened import OpenFile, OpenRowGroup
from engine.model import Buffer, Range

# Of some entries, where rows and lists begin and whether there is an element, two bytes each: the
# same in all columns of one list.
ListEnds = tuple[bytes, bytes]
NO_LIST_ENDS: ListEnds = (b"", b"")


class Piece(NamedTuple):
    """Rows ``[start_row, stop_row)`` of a row group of an opened source.

    ``is_whole``: whether these are all its rows. ``trimmed``: columns whose dictionaries are
    trimmed to what these rows use.
    """

    group: OpenRowGroup
    start_row: int
    stop_row: int
    is_whole: bool
    trimmed: frozenset[int] = frozenset()

    @property
    def file(self) -> OpenFile:
        """The opened source."""
        return self.group.file

    @property
    def num_rows(self) -> int:
        """Rows of the piece."""
        return self.stop_row - self.start_row


class ChunkOut(Protocol):
    """Takes the bytes of a chunk in order. ``num_bytes`` counts them."""

    num_bytes: int

    def write(self, *data: Buffer) -> None:
        """Append new bytes."""

    def copy(self, file: OpenFile, where: Range) -> None:
        """Append bytes of a source as they are."""


@dataclass
class NewChunk:
    """What is true of a column chunk that was made.

    Attributes:
        codec: of its pages.
        num_values: level entries.
        uncompressed_bytes: page headers and pages before compression.
        first_data_page: position of the first data page.
        has_dictionary: whether a dictionary page stands before it.
        encodings: all encodings in use.
        encoding_stats: ``PageEncodingStats``: (page type, encoding, number of pages).
        statistics: exact ones, or None.
        pages: the data pages, for the offset index, at offsets from the chunk's first byte; None
            if the part must not have one.
        column_index: the column index's thrift bytes, or None.
        page_value_bytes: ``unencoded_byte_array_data_bytes`` of each page, where known.
        size_statistics: exact ones, or None.
        list_ends: entries at the left and at the right cut, where those were decoded.
    """

    codec: int
    num_values: int
    uncompressed_bytes: int
    first_data_page: int
    has_dictionary: bool
    encodings: list[int]
    encoding_stats: list[tuple[int, int, int]]
    statistics: Struct | Raw | None = None
    pages: list[PageLocation] | None = None
    column_index: bytes | None = None
    page_value_bytes: list[int] | None = None
    size_statistics: Struct | Raw | None = None
    list_ends: ListEnds = NO_LIST_ENDS


class ChunkMaker(Protocol):
    """The seam itself."""

    def __call__(
        self, pieces: Sequence[Piece], column: int, out: ChunkOut, *, most_decoded_bytes: int
    ) -> NewChunk:
        """Make one column's chunk of the rows of all pieces, which become one row group.

        Args:
            pieces: in order, at least one.
            column: position of the leaf in the schema.
            out: takes the bytes.
            most_decoded_bytes: pages up to this size (compressed) together may be decoded for exact
                bounds, if nothing else gives them.
        """
