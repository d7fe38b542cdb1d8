"""Bytes of row groups and pages in the parts. Here: as in the sources, for what is copied.

Where pages will be re-encoded, :mod:`.sampling` has another :class:`Sizes`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.formats.parquet.opened import OpenChunk
from engine.planning.layout import GroupLayout, Layout, with_groups

_UNCERTAIN_SHARES = (0.0, 0.01, 0.04)  # by revision
_MAX_DOUBLINGS = 20


def by_revision(shares: Sequence[float], revision: int) -> float:
    """Return the share of a revision; behind the last each doubles, so that revisions end."""
    further = max(0, revision - len(shares) + 1)
    return shares[min(revision, len(shares) - 1)] * 2.0 ** min(further, _MAX_DOUBLINGS)


class PagesBytes(NamedTuple):
    """What pages of a chunk take in a part: each data page, the dictionary."""

    data: Sequence[float]
    dictionary: float


class Used(NamedTuple):
    """What a piece of a chunk uses of its dictionary, by the number of rows.

    Attributes:
        rows, places: how many rows of the mean are before some rows; see
            :class:`engine.planning.entries.Entries`.
        lengths: numbers of such rows, ascending, from 0 to all that use the dictionary.
        entry_shares: of the dictionary's bytes, that so many use.
        index_shares: of the bytes that all pages of indices have at the most bits of a page.
        widenings: bytes of a page at the most bits of any, for one of it as it is, at ``rows``:
            writers that do not know how many entries will come begin with narrow indices.
        ends: rows between which is counted what is used.
        entry_table, index_table: as the shares above, from each of ``ends`` to each behind it.
    """

    rows: Sequence[int]
    places: Sequence[float]
    lengths: Sequence[float]
    entry_shares: Sequence[float]
    index_shares: Sequence[float]
    widenings: Sequence[float]
    ends: Sequence[int]
    entry_table: Any
    index_table: Any

    def stretched(self, num_rows: int) -> Used:
        """Return the same for another number of rows that use a dictionary."""
        stretch = num_rows / self.rows[-1]
        at = {round(row * stretch): number for number, row in enumerate(self.rows)}
        lengths = [length * stretch for length in self.lengths]
        return self._replace(
            rows=[*at],
            places=[self.places[number] * stretch for number in at.values()],
            lengths=lengths,
            widenings=[self.widenings[number] for number in at.values()],
            ends=[round(row * stretch) for row in self.ends],
        )

    def widened(self, sizes: Sequence[float], first_rows: Sequence[int]) -> list[float]:
        """Return the bytes of pages of indices, those with the most bits of any."""
        last = len(self.rows) - 1
        places = (min(last, bisect_left(self.rows, row)) for row in first_rows)
        return [size * self.widenings[at] for size, at in zip(sizes, places, strict=True)]


class Sizes:
    """Sizes in the parts, as they are in the sources.

    Args:
        revision: how many plans before this had parts that came out over the target.

    Attributes:
        uncertain_share: by which a part may turn out larger than these let expect.
    """

    uncertain_share: float

    def __init__(self, revision: int = 0) -> None:
        self.uncertain_share = by_revision(_UNCERTAIN_SHARES, revision)

    def resized(self, layout: Layout) -> Layout:
        """Return a layout of the sources with the bytes that its row groups have in the parts."""
        groups = tuple(self.group(layout, group) for group in layout.groups)
        return with_groups(layout, groups, self.uncertain_share)

    def group(self, layout: Layout, group: GroupLayout) -> GroupLayout:
        """Return what a row group of the sources takes in the parts."""
        return group

    def pages(self, chunk: OpenChunk) -> PagesBytes:
        """Return the bytes of each page of a chunk."""
        pages = chunk.pages
        return PagesBytes(pages.sizes, pages.dictionary.length if pages.dictionary else 0)
