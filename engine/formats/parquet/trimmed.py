"""Dictionaries that are trimmed: where a cut would repeat entries that a piece does not use.

A row group that is cut has its dictionaries copied into every piece. Where entries that no row of
the pieces uses would take more than a small share of a part, the largest dictionaries are trimmed:
each piece gets one of the entries in use, and its pages are re-encoded with indices into that.

Which, is decided once, for the pieces that are expected, and stands in the plan. What pieces use is
counted by :mod:`.used`; how they are written is the business of :mod:`.writers.new_dictionary`. No
pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import NamedTuple

from engine import memory
from engine.formats.parquet.bytes.footer import Type
from engine.formats.parquet.opened import OpenChunk, OpenRowGroup
from engine.formats.parquet.small_chunks import are_small
from engine.model import Recoding
from engine.planning.layout import Layout
from engine.settings import Settings

_ALLOWED_SHARE = 0.02  # of a part, that entries without use may take
_ENOUGH_USES, _ENOUGH_ENTRIES = 1 << 17, 1 << 13
_BYTES_PER_USE = 80  # rows, indices and gaps, and their order
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

    def unused_bytes(self, num_rows: float) -> float:
        """Return the bytes of entries that so many rows do not use, if values lie at random."""
        return self.num_bytes * exp(-num_rows * self.values_per_row / max(1, self.num_entries))


class _Large(tuple[Dictionary, ...]):
    """The dictionaries of a row group that are worth a thought."""

    __slots__ = ()


class PieceSize(NamedTuple):
    """What a plan expects of the pieces of row groups that are cut.

    Attributes:
        num_rows: of a piece that no row group's end makes smaller.
        allowed_bytes: of a piece, that entries without use may take.
    """

    num_rows: int
    allowed_bytes: float

    def mean_rows(self, num_rows_in_group: int) -> float:
        """Return the mean rows of pieces: where pieces end and where row groups do is unrelated."""
        return num_rows_in_group * self.num_rows / (num_rows_in_group + self.num_rows)

    @property
    def trimmed_always(self) -> PieceSize:
        """The same where every large dictionary is trimmed."""
        return self._replace(allowed_bytes=0.0)


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
    part_bytes, num_pieces = num_bytes / max(1.0, num_parts), part_rows / max(1.0, rows)
    return PieceSize(max(1, round(rows)), _ALLOWED_SHARE * part_bytes / max(1.0, num_pieces))


def used_bytes(chunk: OpenChunk) -> int:
    """Return the memory that counting the entries in use takes."""
    dictionary, entry, sizes = chunk.header(None), chunk.entry, chunk.pages.sizes
    share = max(sizes) / max(1, sum(sizes))  # of the largest page
    page = memory.look_bytes(
        page_bytes=round(share * entry.uncompressed_bytes),
        num_values=round(share * entry.num_values),
    )
    entries = memory.merged_bytes(
        dictionary_bytes=dictionary.uncompressed_bytes, num_entries=dictionary.num_values
    )
    num_uses = entry.num_values // sampled_entries(entry.num_values, dictionary.num_values)
    return page + entries + _BYTES_PER_USE * num_uses


def sampled_entries(num_values: int, num_entries: int) -> int:
    """Return of how many entries one is counted: where values are many, some tell enough."""
    return max(1, min(num_values // _ENOUGH_USES, num_entries // _ENOUGH_ENTRIES))


def trimmed_columns(group: OpenRowGroup, recoding: Recoding, expected: PieceSize) -> frozenset[int]:
    """Return the columns whose dictionaries are trimmed in pieces of a row group.

    Args:
        group: the row group that is cut.
        recoding: what is wanted of its pages; dictionaries that are made or left out are none.
        expected: of the pieces.
    """
    if recoding.dictionary is not None or are_small([group], recoding):
        return frozenset()
    num_rows = expected.mean_rows(group.entry.num_rows)
    unused = sorted(
        ((each.unused_bytes(num_rows), each.column) for each in _large(group)), reverse=True
    )
    left = sum(size for size, _ in unused)
    chosen = set()
    for size, column in unused:
        if left <= expected.allowed_bytes:
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
        if not chunk.begins_with_indices:
            continue
        yield Dictionary(
            chunk.column,
            pages.dictionary.length,
            chunk.header(None).num_values,
            chunk.entry.num_values / group.entry.num_rows,
        )
