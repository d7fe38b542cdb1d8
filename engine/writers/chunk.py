"""A column chunk in the making: the seam between whatever cuts chunks and the splice writer.

A cut chunk is a sequence of extents (bytes of the source to copy, or new bytes) and the metadata
that becomes true for it. Positions in it count from the chunk's own first byte, so that it can be
placed anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from engine.format.footer import Leaf, Range
from engine.format.page_index import PageLocation
from engine.format.thrift import Struct
from engine.layout import OpenFile


@dataclass
class NewChunk:
    """A column chunk that holds some rows of a source chunk.

    Attributes:
        extents: what it consists of, in order: ranges of the source file, or new bytes.
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
        reencoded_bytes: how many of its bytes were encoded anew.
        note: why anything was, for the receipt.
    """

    extents: list[Range | bytes]
    num_values: int
    uncompressed_bytes: int
    first_data_page: int
    has_dictionary: bool
    encodings: list[int]
    encoding_stats: list[tuple[int, int, int]]
    statistics: Struct | None = None
    pages: list[PageLocation] | None = None
    column_index: bytes | None = None
    page_value_bytes: list[int] | None = None
    size_statistics: Struct | None = None
    reencoded_bytes: int = 0
    note: str = ""
    num_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the bytes."""
        self.num_bytes = sum(
            extent.length if isinstance(extent, Range) else len(extent) for extent in self.extents
        )


class ChunkCutter(Protocol):
    """The seam itself."""

    def __call__(
        self,
        file: OpenFile,
        row_group: int,
        leaf: Leaf,
        start_row: int,
        stop_row: int,
        *,
        most_decoded_bytes: int,
    ) -> NewChunk:
        """Make the chunk of rows ``[start_row, stop_row)`` of a row group's column.

        ``most_decoded_bytes``: a chunk up to this size (compressed) may be decoded for its bounds,
        if nothing else gives them.
        """
