"""Bytes of any rows: what a part from one row to another takes as a file. Pure.

Two running sums over all sources make the size of a part a difference. ``bytes_before(row)`` counts
what has to be written to end at a row, ``bytes_left_out(row)`` what is left out by beginning there;
they differ by what a cut inside a row group repeats: dictionaries, Bloom filters, a footer entry.

    size(start, stop) = part_bytes + bytes_before(stop) - bytes_left_out(start)

Both ascend with the row. ``bytes_before`` jumps where a row group is first touched, so not every
size can be had from a given start.

The inside of a row group is taken to be like that of the largest until its pages are read, which is
done on demand: a plan looks at thousands of places and cuts at few. So is looking inside the pages
at a cut, where they are large against a part.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Protocol

from engine.model import RowGroupSlice
from engine.planning.curves import EVEN_SHARE, Curve, Inside, rough_curve
from engine.planning.layout import Layout

CurveOf = Callable[[int], Curve]

_UNSEEN_SHARE = 0.04  # of a part: pages at a cut that are taken to be even
_STEP_SHARE = 0.005  # of a part: what is taken to be even inside a page that was looked into
# As many pages that are even, and have as many bytes a row, stand for others of their column.
_ENOUGH_ALIKE, _ALIKE_SHARE = 2, 0.1


class InsideOf(Protocol):
    """Looks into a page of a row group, by its position in the layout."""

    def __call__(
        self, position: int, column: int, page: int, *, num_bytes: float, step_bytes: float
    ) -> Inside | None:
        """Return what :func:`engine.formats.parquet.insides.look_inside` does."""


def no_insides(
    position: int, column: int, page: int, *, num_bytes: float, step_bytes: float
) -> Inside | None:
    """Say of no page how its bytes lie over its rows."""
    return None


class Ruler:
    """Measures rows of a layout; rows count over all sources.

    Args:
        layout: the sources, in bytes of the parts.
        curve_of: the inside of a row group, by its position.
        inside_of: the inside of a page.
        sees_all: whether pages at a cut are looked into however small they are, or like others.
    """

    def __init__(
        self,
        layout: Layout,
        curve_of: CurveOf,
        inside_of: InsideOf = no_insides,
        *,
        sees_all: bool = False,
    ) -> None:
        self.layout = layout
        self.num_rows = layout.num_rows
        self.most_repeated = max(  # by one cut, as far as the footers tell
            (group.dictionary_bytes + group.extra_bytes for group in layout.groups), default=0
        )
        self._curve_of = curve_of
        self._inside_of = inside_of
        self.sees_all = sees_all
        self._even: dict[int, list[tuple[float, Inside]]] = {}  # by column: bytes a row, page
        self._unseen_share = 0.0 if sees_all else _UNSEEN_SHARE
        self._curves: dict[int, Curve] = {}
        self._rough: dict[int, Curve] = {}
        self._part_bytes = float("inf")
        self._summed: dict[int, tuple[Curve, Curve]] = {}

    # -- row groups ------------------------------------------------------------------------

    def read(self, position: int) -> Curve:
        """Return the curve of a row group by its pages, reading them if need be."""
        if position not in self._curves:
            self._curves[position] = self._curve_of(position)
        return self._curves[position]

    def look(self, rows: Sequence[int], part_bytes: float) -> bool:
        """Look into pages that cuts pass through, and that are large against a part.

        Row groups that are cut are read if need be. Returns whether anything was not known before.
        """
        is_new = False
        for position in self.groups_cut(rows):
            is_new |= not self.is_read(position)
            curve = self.read(position)
            first, end = self.layout.first_rows[position : position + 2]
            unseen = {
                (column, page): None
                for row in rows
                if first < row < end
                for column, page in curve.unseen(row - first, self._unseen_share * part_bytes)
            }
            if unseen:
                step_bytes = _STEP_SHARE * part_bytes
                insides = {place: self._inside(position, *place, step_bytes) for place in unseen}
                self._curves[position] = curve.seen(insides)
                is_new = True
        return is_new

    def _inside(self, position: int, column: int, page: int, step_bytes: float) -> Inside | None:
        """Look into a page, unless it is like others of its column that were found to be even."""
        cut = self._curves[position].columns[column]
        first, stop = cut.pages.rows(page)
        num_bytes = cut.new_sizes[page]
        density = num_bytes / max(1, stop - first)
        even = self._even.setdefault(column, [])
        alike = [each for each in even if abs(each[0] - density) <= _ALIKE_SHARE * density]
        if len(alike) >= _ENOUGH_ALIKE and not self.sees_all:
            _, nearest = min(alike, key=lambda each: abs(each[0] - density))
            return nearest.of_page(first, stop, num_bytes)
        inside = self._inside_of(position, column, page, num_bytes=num_bytes, step_bytes=step_bytes)
        if inside is not None and inside.unevenness <= EVEN_SHARE:
            even.append((density, inside))
        return inside

    def is_read(self, position: int) -> bool:
        """Whether the pages of a row group are known."""
        return position in self._curves

    def curve(self, position: int) -> Curve:
        """Return what is known of a row group: its own curve if it was read, else a likely one."""
        model = self._model  # reads the largest, which may be this one
        found = self._curves.get(position) or self._rough.get(position)
        if found is None:
            found = self._rough[position] = rough_curve(self.layout.groups[position], model)
        return found

    def expect(self, part_bytes: float) -> None:
        """Let running sums be those of parts of about so many bytes."""
        self._part_bytes = part_bytes
        self._summed.clear()

    def _sums(self, position: int) -> Curve:
        """Return the curve of a row group for running sums."""
        curve = self.curve(position)
        known, found = self._summed.get(position, (None, curve))
        if known is not curve:
            found = curve.for_slices_of(self._part_bytes)
            self._summed[position] = curve, found
        return found

    @cached_property
    def _model(self) -> Curve:
        """The largest row group, which stands for all that are not read."""
        groups = self.layout.groups
        return self.read(max(range(len(groups)), key=lambda i: groups[i].num_bytes))

    def locate(self, row: int) -> tuple[int, int]:
        """Return the group that holds a row, and the row's position in it.

        The row behind the last is row 0 of a group behind the last.
        """
        position = bisect_right(self.layout.first_rows, row) - 1
        return position, row - self.layout.first_rows[position]

    def groups_cut(self, cuts: Sequence[int]) -> list[int]:
        """Return the positions of row groups that some of the cuts pass through."""
        places = (self.locate(row) for row in cuts)
        return sorted({position for position, inside in places if inside})

    # -- bytes -----------------------------------------------------------------------------

    def bytes_before(self, row: int) -> float:
        """Return the bytes of all groups up to a row, the cut one begun at its first row."""
        position, inside = self.locate(row)
        offset = self.layout.offsets[position]
        if not inside:
            return offset
        return offset + _head(self._sums(position), inside)

    def bytes_left_out(self, row: int) -> float:
        """Return the bytes of all groups that a part beginning at a row does not need."""
        position, inside = self.locate(row)
        if not inside:
            return self.layout.offsets[position]
        return self.layout.offsets[position + 1] - _tail(self._sums(position), inside)

    def size(self, start: int, stop: int) -> int:
        """Return the expected file size of rows ``[start, stop)``."""
        (position, inside), (end, rest) = self.locate(start), self.locate(stop)
        if position == end and rest:
            return self.layout.part_bytes + self.curve(position).num_bytes(inside, rest)
        num_bytes = self.layout.offsets[end] - self.layout.offsets[position + bool(inside)]
        head = _head(self.curve(end), rest) if rest else 0.0
        tail = _tail(self.curve(position), inside) if inside else 0.0
        return self.layout.part_bytes + round(num_bytes + head + tail)

    def piece_bytes(self, position: int, start: int, stop: int) -> int:
        """Return what rows ``[start, stop)`` of a row group take in a part."""
        group = self.layout.groups[position]
        if stop - start == group.num_rows:
            return group.num_bytes
        return self.curve(position).num_bytes(start, stop)

    def pages_bytes(self, piece: RowGroupSlice) -> int:
        """Return what the pages of a slice take in a part: no indexes, filters, footer entry."""
        position = self.layout.position(piece.file, piece.row_group)
        group = self.layout.groups[position]
        others = group.extra_bytes + group.index_bytes * piece.num_rows // group.num_rows
        return self.piece_bytes(position, piece.start_row, piece.stop_row) - others

    def sizes(self, cuts: Sequence[int]) -> list[int]:
        """Return the expected file size of every part."""
        return [self.size(start, stop) for start, stop in pairwise(cuts)]

    def uncertain(self, start: int, stop: int) -> int:
        """Return the bytes by which cuts may make a part larger than expected; reads pages."""
        return sum(
            self.read(position).uncertain(first, last)
            for position, first, last in self.edges(start, stop)
        )

    def edges(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the row groups that a part takes only some rows of: position, start and stop."""
        if start == stop:
            return
        (position, inside), (end, rest) = self.locate(start), self.locate(stop)
        if position == end:
            yield position, inside, rest
            return
        if inside:
            yield position, inside, self.layout.groups[position].num_rows
        if rest:
            yield end, 0, rest

    # -- rows ------------------------------------------------------------------------------

    def last_row(self, num_bytes: float) -> int:
        """Return the last row for which :meth:`bytes_before` is at most ``num_bytes``."""
        offsets, rows = self.layout.offsets, self.layout.first_rows
        position = bisect_right(offsets, num_bytes) - 1
        if position < 0:
            return 0
        if position >= len(self.layout.groups):
            return self.num_rows
        curve = self._sums(position)
        left = num_bytes - offsets[position] - curve.repeated(0)
        last = int(curve.row_from_start(left))
        return min(rows[position] + last, rows[position + 1] - 1)

    def first_row(self, num_bytes: float) -> int:
        """Return the first row for which :meth:`bytes_before` is at least ``num_bytes``."""
        offsets, rows = self.layout.offsets, self.layout.first_rows
        position = bisect_left(offsets, num_bytes)
        if position == 0:
            return 0
        if position > len(self.layout.groups):
            return self.num_rows
        curve = self._sums(position - 1)
        left = num_bytes - offsets[position - 1] - curve.repeated(0)
        first = ceil(curve.row_from_start(left))
        return min(rows[position - 1] + max(1, first), rows[position])

    def rows_leaving_out(self, first: int, last: int, low: float, high: float) -> tuple[int, int]:
        """Return the first and the last row in [first, last] that leave out [low, high] bytes.

        Where there is none, the first is behind the last.
        """
        rows = range(first, last + 1)
        least = bisect_left(rows, low, key=self.bytes_left_out)
        most = bisect_right(rows, high, key=self.bytes_left_out)
        return first + least, first + most - 1

    def fit(self, start: int, limit: float) -> int:
        """Return the last row at which a part from ``start`` is at most ``limit`` bytes.

        ``start`` itself if not one row fits.
        """
        room = limit - self.layout.part_bytes
        position, inside = self.locate(start)
        curve = self.curve(position)
        if curve.entries and curve.num_bytes(inside, curve.rows[-1]) > room:
            return start + curve.last_row(inside, room) - inside  # sums are only near
        return max(start, self.last_row(self.bytes_left_out(start) + room))


def _head(curve: Curve, row: int) -> float:
    """Return what a part has of a row group that it ends in, before a row."""
    return curve.repeated(0) + curve.from_start(row)


def _tail(curve: Curve, row: int) -> float:
    """Return what a part has of a row group that it begins in, from a row on."""
    rows_bytes = curve.sums[-1] - curve.before(row)
    return curve.repeated(row) + rows_bytes + curve.used(row, curve.rows[-1])
