"""Bytes that a slice takes besides its rows' share: of dictionaries that it trims, of cut pages.

Not covered: what any slice takes, and dictionaries that are repeated whole (:mod:`.curves`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil, floor
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_FEW_PAGES = 8


class Entries(NamedTuple):
    """What a slice takes of a dictionary of which it keeps what its rows use.

    Or of what all rows of a page share in the source, and each piece of it has anew
    (:attr:`Inside.repeats`).

    In the mean by the number of its rows, where rows that bring more entries count as several; and
    exactly between some rows. The mean tells where cuts may lie, the other how large slices are.

    Attributes:
        rows: some rows, ascending, from 0 to the first that does not use the dictionary any more.
        places: how many rows are before each of ``rows``, if all brought as much as the mean.
        lengths: such numbers, ascending, from 0 to the last of ``places``.
        sizes: bytes that so many rows take in the mean; the more rows, the fewer each takes.
        ends: some rows, from 0 to the last of ``rows``.
        table: bytes that are taken from each of ``ends`` to each behind it, with the sign changed
            from there to it; None where only the mean is known.
    """

    rows: Sequence[int]
    places: Sequence[float]
    lengths: Sequence[float]
    sizes: Sequence[float]
    ends: Sequence[int] = ()
    table: Any = None

    def num_bytes(self, start_row: int, stop_row: int) -> float:
        """Return the bytes of a slice."""
        if start_row >= self.rows[-1]:
            return 0.0
        if self.table is not None:
            return self._between_ends(start_row, stop_row)
        length = between(self.rows, self.places, stop_row)
        if start_row:
            length -= between(self.rows, self.places, start_row)
        return between(self.lengths, self.sizes, length)

    def from_start(self, rows: np.ndarray) -> np.ndarray:
        """Return :meth:`num_bytes` of the slices from the first row to each of ``rows``."""
        if self.table is not None:
            return between_each(self.ends, self.table[0], rows)
        return between_each(self.lengths, self.sizes, between_each(self.rows, self.places, rows))

    def since(self, start_row: int) -> Callable[[int], float]:
        """Return :meth:`num_bytes` of slices from a row, for many of them."""
        if self.table is None or start_row >= self.rows[-1]:
            return partial(self.num_bytes, start_row)
        number, share = self._cell(start_row)
        sizes = (1 - share) * self.table[number] + share * self.table[number + 1]
        return partial(between, self.ends, sizes.tolist())

    def _between_ends(self, start_row: int, stop_row: int) -> float:
        """Return what the table has at the ends around both rows, as near as these are."""
        (i, x), (j, y) = self._cell(start_row), self._cell(stop_row)
        size = self.table.item
        from_i = (1 - y) * size(i, j) + y * size(i, j + 1)
        from_next = (1 - y) * size(i + 1, j) + y * size(i + 1, j + 1)
        found: float = (1 - x) * from_i + x * from_next
        return found

    def _cell(self, row: int) -> tuple[int, float]:
        """Return between which two of the ends a row is, and how far from the first."""
        number = min(bisect_right(self.ends, row), len(self.ends) - 1) - 1
        first, last = self.ends[number : number + 2]
        return number, min(1.0, (row - first) / max(1, last - first))

    def knots(self) -> Iterator[int]:
        """Yield the rows between which a slice from the first row grows evenly."""
        if self.table is not None:
            yield from self.ends
            return
        yield from self.rows
        for length in self.lengths:
            place = row_at(self.rows, self.places, length)
            yield from (floor(place), ceil(place))

    @property
    def all_bytes(self) -> float:
        """The bytes of a slice of all rows."""
        return self.sizes[-1]

    def straight_from(self, num_rows: int) -> Entries:
        """Return the same for up to so many rows, and from there to the end in proportion."""
        begin = self.rows[bisect_right(self.places, 0.0) - 1]  # rows before it bring nothing
        if begin + num_rows >= self.rows[-1]:
            return self
        knot = between(self.rows, self.places, begin + num_rows)
        last = bisect_left(self.lengths, knot)
        size = between(self.lengths, self.sizes, knot)
        lengths = (*self.lengths[:last], knot, self.lengths[-1])
        sizes = (*self.sizes[:last], size, self.sizes[-1])
        return Entries(self.rows, self.places, lengths, sizes)

    def plus(self, other: Entries) -> Entries:
        """Return those of two dictionaries that the same rows use, counted for the same lengths."""
        mine, its = self.sizes[-1], other.sizes[-1]
        share = mine / (mine + its or 1)
        places = zip(self.places, other.places, strict=True)
        return self._replace(
            places=[share * one + (1 - share) * two for one, two in places],
            sizes=[sum(pair) for pair in zip(self.sizes, other.sizes, strict=True)],
            table=None if self.table is None else self.table + other.table,
        )

    def resized(self, stretch: float, share: float) -> Entries:
        """Return the same for a row group of other rows and bytes."""
        places = {round(row * stretch): x * stretch for row, x in zip(*self[:2], strict=True)}
        return Entries(
            tuple(places),
            tuple(places.values()),
            [length * stretch for length in self.lengths],
            [size * share for size in self.sizes],
            [round(row * stretch) for row in self.ends],
            None if self.table is None else self.table * share,
        )

    def of_page(self, first: int, stop: int, share: float) -> Entries:
        """Return what pieces of another page repeat: of rows ``[first, stop)``, of other bytes."""
        stretch = (stop - first) / self.lengths[-1]
        return Entries(
            (0, first, stop),
            (0, 0, stop - first),
            [length * stretch for length in self.lengths],
            [size * share for size in self.sizes],
        )


class Repeats:
    """What pieces of many pages repeat, of each page as :class:`Entries` have it: all at once.

    Of two columns or three, one after another takes less time.
    """

    def __init__(self, each: Sequence[Entries]) -> None:
        import numpy as np

        self.each = tuple(each)
        self._firsts, self._stops = np.array([entries.rows[-2:] for entries in each]).T
        self._scales = np.array([entries.places[-1] for entries in each], np.float64)
        self._scales /= self._stops - self._firsts
        most = max(len(entries.lengths) for entries in each)
        # Behind its last length each stays as it is.
        self._lengths = np.array(
            [
                [*entries.lengths, *(entries.lengths[-1] + n for n in range(1, 1 + most - number))]
                for entries in each
                for number in [len(entries.lengths)]
            ]
        )
        self._sizes = np.array(
            [
                [*entries.sizes, *[entries.sizes[-1]] * (most - len(entries.sizes))]
                for entries in each
            ]
        )

    def num_bytes(self, start_row: int, stop_row: int) -> float:
        """Return the bytes of a slice."""
        return self.since(start_row)(stop_row)

    def since(self, start_row: int) -> Callable[[int], float]:
        """Return :meth:`num_bytes` of slices from a row, for many of them."""
        import numpy as np

        chosen = np.flatnonzero(self._stops > start_row)
        starts = np.maximum(self._firsts[chosen], start_row)
        stops, scales = self._stops[chosen], self._scales[chosen]
        lengths, sizes = self._lengths[chosen], self._sizes[chosen]
        begins = np.arange(len(chosen)) * lengths.shape[1]  # of each page, in all lengths

        def num_bytes(stop_row: int) -> float:
            wanted = np.maximum(np.minimum(stops, stop_row) - starts, 0) * scales
            at = (lengths <= wanted[:, np.newaxis]).sum(axis=1) - 1
            at = begins + np.minimum(at, lengths.shape[1] - 2)
            low, high = lengths.take(at), lengths.take(at + 1)
            shares = (wanted - low) / (high - low)
            less, more = sizes.take(at), sizes.take(at + 1)
            return float((less + shares * (more - less)).sum())

        return num_bytes

    def from_start(self, rows: np.ndarray) -> np.ndarray:
        """Return :meth:`num_bytes` of the slices from the first row to each of ``rows``."""
        import numpy as np

        return sum((entries.from_start(rows) for entries in self.each), np.zeros(len(rows)))

    @property
    def all_bytes(self) -> float:
        """The bytes of a slice of all rows."""
        return sum(entries.all_bytes for entries in self.each)

    def knots(self) -> Iterator[int]:
        """Yield the rows between which a slice from the first row grows evenly."""
        yield from {row for entries in self.each for row in entries.knots()}

    def straight_from(self, num_rows: int) -> Repeats:
        """Return the same for up to so many rows, and from there to the end in proportion."""
        return Repeats([entries.straight_from(num_rows) for entries in self.each])

    def resized(self, stretch: float, share: float) -> Repeats:
        """Return the same for a row group of other rows and bytes."""
        return Repeats([entries.resized(stretch, share) for entries in self.each])


def with_repeats(
    entries: Sequence[Entries | Repeats], more: Sequence[Entries]
) -> tuple[Entries | Repeats, ...]:
    """Return what a slice takes with what pieces of more pages repeat."""
    known = [one for each in entries if isinstance(each, Repeats) for one in each.each]
    others = [each for each in entries if isinstance(each, Entries)]
    if not known and len(more) < _FEW_PAGES:
        return (*others, *more)
    return (*others, Repeats([*known, *more]))


def row_at(rows: Sequence[float], sums: Sequence[float], num_bytes: float) -> float:
    """Return the place, in rows, that has ``num_bytes`` before it: the inverse of between."""
    i = bisect_right(sums, num_bytes) - 1
    if i >= len(rows) - 1:
        return rows[-1]
    if i < 0:
        return 0.0
    share = (num_bytes - sums[i]) / (sums[i + 1] - sums[i])
    return rows[i] + share * (rows[i + 1] - rows[i])


def between(rows: Sequence[float], sums: Sequence[float], row: float) -> float:
    """Return what is before a row, taken to grow evenly between rows where it is known."""
    i = bisect_right(rows, row) - 1
    if i >= len(rows) - 1:
        return sums[-1]
    share = (row - rows[i]) / (rows[i + 1] - rows[i])
    return sums[i] + share * (sums[i + 1] - sums[i])


def between_each(rows: Sequence[float], sums: Sequence[float], each: np.ndarray) -> np.ndarray:
    """Return :func:`between` of each row, to the last bit; plans ask it of very many."""
    import numpy as np  # the command's help does without

    known, before = np.array([*rows, np.inf]), np.array([*sums, sums[-1]], np.float64)
    at = known.searchsorted(each, "right") - 1
    shares = (each - known[at]) / (known[at + 1] - known[at])
    found: np.ndarray = before[at] + shares * (before[at + 1] - before[at])
    return found
