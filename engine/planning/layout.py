"""The sources as the planner sees them: a sequence of row groups, and the bytes of each. Pure.

A row group is the stretch of rows that a format can copy as it lies. What its inside is like is
:mod:`.curves`' business; who reads it from a file is the format's (:mod:`engine.formats`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from engine.model import FileRange, SourceFile


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """One row group that has rows.

    Attributes:
        file, index: which row group of which source.
        num_rows: rows.
        data_bytes: all column chunks.
        dictionary_bytes: dictionary pages among these, as far as the footer tells.
        index_bytes: both page indexes.
        extra_bytes: what it adds to a part besides: Bloom filters and its footer entry.
    """

    file: int
    index: int
    num_rows: int
    data_bytes: int
    dictionary_bytes: int
    index_bytes: int
    extra_bytes: int

    @property
    def num_bytes(self) -> int:
        """Bytes that the whole row group takes in a part."""
        return self.data_bytes + self.index_bytes + self.extra_bytes


class FoundPart(NamedTuple):
    """A part that a format has found by itself; its bytes beside those that every part has."""

    ranges: tuple[FileRange, ...]
    num_bytes: int


@dataclass(frozen=True)
class Layout:
    """All sources as one sequence of row groups.

    Attributes:
        files: the sources.
        groups: row groups that have rows, in order.
        first_rows: the first row of each group, and behind the last the number of all rows.
        offsets: bytes of all groups before each, and behind the last the sum.
        part_bytes: what every part spends on magic, schema and metadata.
        num_columns: leaves of the schema.
        source_bytes: what the sources would take as one part, as they are; 0 if nobody asks.
        held_bytes: memory that the opened sources take while they are planned and split.
        repeats: what parts repeat, in words.
        lost: metadata that parts of several sources cannot keep, with the reason.
        uncertain_share: by which anything may turn out larger, where bytes are estimates.
        found: the parts, where the format has found them without counting rows. Then there are no
            groups, and the last of ``offsets`` alone.
    """

    files: tuple[SourceFile, ...]
    groups: tuple[GroupLayout, ...]
    first_rows: tuple[int, ...]
    offsets: tuple[int, ...]
    part_bytes: int
    num_columns: int
    lost: tuple[str, ...] = ()
    uncertain_share: float = 0.0
    held_bytes: int = 0
    source_bytes: int = 0
    repeats: str = "schema and dictionaries"
    found: tuple[FoundPart, ...] = ()

    @cached_property
    def _positions(self) -> dict[tuple[int, int], int]:
        return {(group.file, group.index): at for at, group in enumerate(self.groups)}

    def position(self, file: int, row_group: int) -> int:
        """Return where in ``groups`` a row group of a source is."""
        return self._positions[file, row_group]

    @property
    def num_rows(self) -> int:
        """Rows of all sources."""
        return self.first_rows[-1]

    @property
    def num_bytes(self) -> int:
        """Bytes of all row groups."""
        return self.offsets[-1]


def make_layout(
    files: tuple[SourceFile, ...],
    groups: tuple[GroupLayout, ...],
    part_bytes: int,
    num_columns: int,
    lost: tuple[str, ...] = (),
) -> Layout:
    """Build a layout and its running sums."""
    first_rows = tuple(accumulate((group.num_rows for group in groups), initial=0))
    return Layout(files, groups, first_rows, _offsets(groups), part_bytes, num_columns, lost)


def with_groups(layout: Layout, groups: tuple[GroupLayout, ...], uncertain_share: float) -> Layout:
    """Return a layout of the same rows in other bytes."""
    offsets = _offsets(groups)
    return replace(layout, groups=groups, offsets=offsets, uncertain_share=uncertain_share)


def _offsets(groups: Sequence[GroupLayout]) -> tuple[int, ...]:
    return tuple(accumulate((group.num_bytes for group in groups), initial=0))
