"""Dictionaries that are trimmed: where a cut would repeat entries that a piece does not use.

A row group that is cut has its dictionaries copied into every piece. Where entries that no row of
the pieces uses would take more than a small share of a part, the largest dictionaries are trimmed:
each piece gets one of the entries in use, and its pages are re-encoded with indices into that.

Plan and writer decide by the same rule. How the entries lie over the rows is seen by :mod:`.used`;
how they are written is the business of :mod:`.writers.new_dictionary`. No pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine import memory
from engine.formats.parquet.bytes.footer import Type
from engine.formats.parquet.opened import OpenChunk, OpenRowGroup
from engine.formats.parquet.small_chunks import are_small
from engine.model import PartPlan, Recoding
from engine.planning.layout import Layout
from engine.settings import Settings

_ALLOWED_SHARE = 0.01  # of a part, that entries without use may take
_MIN_SHARE = 0.001  # of a row group's bytes: what is smaller nobody notices


class Dictionary(NamedTuple):
    """The dictionary of a column chunk that is cut.

    Attributes:
        column: position of the leaf in the schema.
        num_bytes: of its page.
        num_entries: values in it.
        values_per_row: values that may use it, by the chunk's mean.
    """

    column: int
    num_bytes: int
    num_entries: int
    values_per_row: float

    def unused_bytes(self, num_rows: int) -> float:
        """Return the least bytes of entries that so many rows do not use."""
        used = min(1.0, num_rows * self.values_per_row / max(1, self.num_entries))
        return self.num_bytes * (1 - used)


class _Large(tuple[Dictionary, ...]):
    """The dictionaries of a row group that are worth a thought."""

    __slots__ = ()


class PieceSize(NamedTuple):
    """What a plan expects of the pieces of row groups that are cut.

    Attributes:
        num_rows: of a piece.
        allowed_bytes: of a piece, that entries without use may take.
    """

    num_rows: int
    allowed_bytes: float


def expected_piece(settings: Settings, layout: Layout) -> PieceSize:
    """Return what pieces will be like, before anything is cut."""
    num_bytes, num_rows = layout.num_bytes, layout.num_rows
    if settings.rows_per_part is not None:
        num_parts = num_rows / settings.rows_per_part
    elif settings.num_parts is not None:
        num_parts = settings.num_parts
    else:
        num_parts = num_bytes / (settings.target_bytes or 1)
    part_rows = num_rows / max(1.0, num_parts)
    rows = part_rows
    if settings.row_group_rows is not None:
        rows = min(part_rows, settings.row_group_rows)
    elif settings.row_group_bytes is not None:
        rows = min(part_rows, settings.row_group_bytes * num_rows / max(1, num_bytes))
    allowed = _allowed_bytes(num_bytes / max(1.0, num_parts), part_rows / max(1.0, rows))
    return PieceSize(max(1, round(rows)), allowed)


def allowed_in(part: PartPlan) -> float:
    """Return what entries without use may take in each piece of a part that is planned."""
    num_pieces = sum(not piece.is_whole for piece in part.slices)
    return _allowed_bytes(part.predicted_bytes, num_pieces)


def _allowed_bytes(part_bytes: float, num_pieces: float) -> float:
    return _ALLOWED_SHARE * part_bytes / max(1.0, num_pieces)


def used_bytes(chunk: OpenChunk) -> int:
    """Return the memory that counting the entries in use takes: all indices, and the dictionary."""
    dictionary = chunk.header(None)
    page = memory.page_bytes(
        page_bytes=chunk.entry.uncompressed_bytes, num_values=0, value_bytes=0.0, is_built=False
    )
    entries = memory.merged_bytes(
        dictionary_bytes=dictionary.uncompressed_bytes, num_entries=dictionary.num_values
    )
    return page + entries


def trimmed_columns(
    group: OpenRowGroup, recoding: Recoding, num_rows: int, allowed: float
) -> frozenset[int]:
    """Return the columns whose dictionaries are trimmed in a piece of a row group.

    Args:
        group: the row group that is cut.
        recoding: what is wanted of its pages; dictionaries that are made or left out are none.
        num_rows: rows of the piece.
        allowed: bytes of entries without use that it may have.
    """
    if recoding.dictionary is not None or are_small([group], recoding):
        return frozenset()
    unused = sorted(
        ((each.unused_bytes(num_rows), each.column) for each in _large(group)), reverse=True
    )
    left = sum(size for size, _ in unused)
    chosen = set()
    for size, column in unused:
        if left <= allowed:
            break
        chosen.add(column)
        left -= size
    return frozenset(chosen)


def _large(group: OpenRowGroup) -> _Large:
    return group.kept(_Large, lambda: _Large(_dictionaries(group)))


def _dictionaries(group: OpenRowGroup) -> Iterator[Dictionary]:
    least = _MIN_SHARE * group.entry.compressed_bytes
    for chunk in group.chunks():
        pages = chunk.pages
        if pages.dictionary is None or pages.dictionary.length < least or not pages.num_pages:
            continue
        if chunk.is_chained or chunk.leaf.physical is Type.BOOLEAN:
            continue
        yield Dictionary(
            chunk.column,
            pages.dictionary.length,
            chunk.header(None).num_values,
            chunk.entry.num_values / group.entry.num_rows,
        )
