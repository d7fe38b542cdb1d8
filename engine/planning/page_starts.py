"""Cuts moved to rows near them where pages begin, so that fewer pages are cut. Pure.

Many writers begin a page of every column at the same rows (parquet-mr, Arrow for Rust and others
end a page after 20,000 rows). A cut at such a row passes through no page: everything is copied.
Parts stay as even as is promised: a cut moves only where both parts beside it keep to a band of
sizes, and under the cap.

Where sizes are estimates, the band is narrower by as much as these are uncertain.

Not covered: cuts that must be at certain rows, and new row groups, which have cuts of their own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from engine.planning.curves import Curve
from engine.planning.even_cuts import PROMISED_SPREAD
from engine.planning.ruler import Ruler

_MAX_SPREAD = 0.9 * PROMISED_SPREAD  # a little of the promise is left to errors
_MAX_SHIFT = 0.5 * PROMISED_SPREAD  # of a part's size
_MAX_BEGUN = 8  # rows that are looked at, for each cut
_MAX_CANDIDATES = 4
_WORTH = 0.75  # of the bytes cut before: less is not worth a less even part


class _CutRow(NamedTuple):
    """A row where a cut may be, and the bytes of pages that it passes through there."""

    row: int
    cut_bytes: float


class _Chosen(NamedTuple):
    """Places of the first cuts: what is cut there, how far off the mean parts are, and the last."""

    cut_bytes: float
    uneven_bytes: float
    row: int
    before: _Chosen | None


def at_page_starts(ruler: Ruler, cuts: Sequence[int], cap: int | None) -> list[int]:
    """Return the cuts, some of them moved, so that the fewest bytes of pages are cut.

    Args:
        ruler: measures; the row groups that are cut must have been read.
        cuts: the first row of each part, and behind the last the number of rows.
        cap: bytes that no part may exceed, even where its size is uncertain.
    """
    band = _Band(ruler, cuts, cap)
    ways = [_Chosen(0, 0, cuts[0], None)]
    for number, cut in enumerate(cuts[1:], 1):
        places = [_CutRow(cut, 0)]
        if number < len(cuts) - 1:
            places = _places(ruler, cut, band.mean)
        further = [_further(band, ways, place) for place in places]
        ways = [way for way in further if way is not None]
        if not ways:  # a part is in no band wherever it ends; so it was before
            return list(cuts)
    return _rows(min(ways, key=lambda way: way[:3]))


def _further(band: _Band, ways: Sequence[_Chosen], place: _CutRow) -> _Chosen | None:
    """Return the best way that goes on to a place; None if no part may end there."""
    found = []
    for way in ways:
        if way.row < place.row and band.keeps(way.row, place.row):
            uneven_bytes = way.uneven_bytes + abs(band.ruler.size(way.row, place.row) - band.mean)
            found.append(_Chosen(way.cut_bytes + place.cut_bytes, uneven_bytes, place.row, way))
    return min(found, default=None, key=lambda way: way[:3])


def _rows(way: _Chosen | None) -> list[int]:
    rows = []
    while way is not None:
        rows.append(way.row)
        way = way.before
    return rows[::-1]


class _Band:
    """Which sizes parts may have."""

    def __init__(self, ruler: Ruler, cuts: Sequence[int], cap: int | None) -> None:
        sizes = ruler.sizes(cuts)
        self.ruler = ruler
        self.mean = sum(sizes) / len(sizes)
        most_spread = _MAX_SPREAD - ruler.layout.uncertain_share
        room = max(0.0, most_spread * self.mean - (max(sizes) - min(sizes)))
        self._low, self._high = min(sizes) - room / 2, max(sizes) + room / 2
        self._cap = cap
        self._given = set(pairwise(cuts))

    def keeps(self, start: int, stop: int) -> bool:
        """Whether a part is in the band, and surely under the cap, or was there before."""
        size = self.ruler.size(start, stop)
        if (start, stop) in self._given:
            return True
        if not self._low <= size <= self._high:
            return False
        return self._cap is None or size + self.ruler.uncertain(start, stop) <= self._cap


def _places(ruler: Ruler, cut: int, mean_bytes: float) -> list[_CutRow]:
    """Return where a cut may be: where it is, or near it with fewer bytes of pages cut."""
    position, inside = ruler.locate(cut)
    if not inside or not ruler.is_read(position):
        return [_CutRow(cut, 0)]
    curve = ruler.read(position)
    here, most_shift = curve.before(inside), _MAX_SHIFT * mean_bytes
    low = max(0, int(curve.row_at(here - most_shift)))
    high = min(curve.rows[-1], int(curve.row_at(here + most_shift)) + 1)
    limit = _WORTH * _cut_bytes(curve, inside)
    ranked = sorted(
        (num_bytes, abs(row - inside), row)
        for row in _begun(curve, low, high)
        if (num_bytes := _cut_bytes(curve, row)) < limit
    )
    first = ruler.layout.first_rows[position]
    return [
        _CutRow(cut, limit),
        *(_CutRow(first + row, num_bytes) for num_bytes, _, row in ranked[:_MAX_CANDIDATES]),
    ]


def _begun(curve: Curve, low: int, high: int) -> list[int]:
    """Return the rows in ``[low, high]`` at which the most bytes of pages begin."""
    begun: Counter[int] = Counter()
    for column in curve.columns:
        rows, sizes = column.pages.first_rows, column.pages.sizes
        for page in range(bisect_left(rows, low), bisect_right(rows, high)):
            begun[rows[page]] += sizes[page]
    if high == curve.rows[-1]:
        begun[high] = sum(begun.values()) + 1  # the row group's end cuts nothing
    return [row for row, _ in begun.most_common(_MAX_BEGUN)]


def _cut_bytes(curve: Curve, row: int) -> int:
    """Return the bytes of pages that a cut at a row passes through."""
    if row == curve.rows[-1]:
        return 0
    cut = ((column, column.cut_page(row)) for column in curve.columns)
    return sum(column.pages.sizes[page] for column, page in cut if page is not None)
