"""What some rows of a row group cost in a part: bytes by row, from the positions of its pages.

Pages of different columns do not end at the same rows, so the bytes of the row group are summed
over all columns as a function of the row, linear inside a page unless somebody has looked into it
(:class:`Inside`). A slice costs besides: the dictionary of every column that still has pages which
use it, or of what its rows use of that (:mod:`.entries`), Bloom filters, a footer entry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple, Protocol

from engine.planning.entries import Entries, Repeats, between, between_each, row_at, with_repeats
from engine.planning.layout import GroupLayout
from engine.wording import counted

# A rewritten page compresses a little better or worse than its share of the whole page. Parts of
# pages that compress by repetition were seen 11% over it.
_UNCERTAIN_SHARE = 0.15
_UNCERTAIN_BYTES_PER_PAGE = 128
# Pieces of about the expected size use about as many entries of a dictionary as those counted.
_UNCERTAIN_TRIMMED_SHARE = 0.02
_LARGE_PAGE_SHARE = 0.5
_NAMES_SHOWN = 3
_MAX_ROUGH_KNOTS = 16
EVEN_SHARE = 0.02  # of a page: by so much its bytes may be elsewhere than its rows
_SAMPLED_PAGES = 64  # of those that a cut passes through: to look into one takes milliseconds


class Inside(NamedTuple):
    """How the bytes of a page lie over its rows.

    Attributes:
        rows: some rows of the row group, ascending, from the page's first to the one behind it.
        sums: bytes of the page before each of ``rows``.
        uncertain_share: by which some of its rows may be larger as a page of their own.
        bounds_bytes: between each two of ``rows``: what bounds of the chunk may take in a footer,
            where the longest value is one; empty if that is little.
        repeats: what pieces of the page take besides their share of it; None if that is little.
    """

    rows: Sequence[int]
    sums: Sequence[float]
    uncertain_share: float
    bounds_bytes: Sequence[int] = ()
    repeats: Entries | None = None

    def uncertain(self, start: int, stop: int) -> float:
        """Return the bytes by which rows, those of the page, may make a part larger."""
        start, stop = max(start, self.rows[0]), min(stop, self.rows[-1])
        first, last = bisect_right(self.rows, start) - 1, bisect_left(self.rows, stop)
        own_bytes = self.before(stop) - self.before(start)
        if self.repeats is not None:
            own_bytes += self.repeats.num_bytes(start, stop)
        share = self.uncertain_share * own_bytes
        return share + max(self.bounds_bytes[first:last], default=0)

    def before(self, row: int) -> float:
        """Return the bytes of the page before a row."""
        return between(self.rows, self.sums, row)

    def of_page(self, first: int, stop: int, num_bytes: float) -> Inside:
        """Return what another page, of rows ``[first, stop)``, is like if it is as even as this.

        What its pieces repeat is left out where it is as little as what is uncertain anyway.
        """
        share = num_bytes / (self.sums[-1] or 1)
        repeats = self.repeats
        if repeats is not None and max(repeats.sizes) <= EVEN_SHARE * self.sums[-1]:
            repeats = None
        return Inside(
            (first, stop),
            (0.0, num_bytes),
            self.uncertain_share + EVEN_SHARE,
            (max(self.bounds_bytes),) if self.bounds_bytes else (),
            repeats and repeats.of_page(first, stop, share),
        )

    @property
    def unevenness(self) -> float:
        """The most by which bytes are elsewhere than rows are, as a share of the page's."""
        first, num_rows = self.rows[0], self.rows[-1] - self.rows[0]
        pairs = zip(self.rows, self.sums, strict=True)
        return max(
            abs(size / (self.sums[-1] or 1) - (row - first) / num_rows) for row, size in pairs
        )


class Pages(Protocol):
    """The pages of a column in a row group, in order: what a format knows of their places."""

    @property
    def num_pages(self) -> int:
        """Pages that hold rows."""

    @property
    def num_rows(self) -> int:
        """Rows of the row group."""

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each page in the source."""

    @property
    def first_rows(self) -> Sequence[int]:
        """The first row that begins in each page, from the row group's first on."""

    def rows(self, index: int, /) -> tuple[int, int]:
        """Return the rows ``[start, stop)`` that begin in a page."""

    def page_of_row(self, row: int, /) -> int:
        """Return the page in which a row begins; the last page for the row behind the last."""

    def continues(self, index: int, /) -> bool:
        """Whether a page begins inside a row."""


class CutColumn(NamedTuple):
    """A column of a row group that may be cut.

    Attributes:
        name: of the column.
        pages: where they are.
        new_sizes: bytes of each page in a part.
        is_chained: whether its pages continue each other.
        insides: of pages that were looked into; None for those that did not show anything.
        trimmed_rows: pages that begin before this row are re-encoded in every slice, as it keeps of
            the dictionary what it uses; 0 if the dictionary is repeated.
    """

    name: str
    pages: Pages
    new_sizes: Sequence[float]
    is_chained: bool = False
    insides: Mapping[int, Inside | None] = {}
    trimmed_rows: int = 0

    def is_remade(self, page: int) -> bool:
        """Whether a page is re-encoded wherever the row group is cut."""
        return self.pages.first_rows[page] < self.trimmed_rows

    def cut_page(self, row: int) -> int | None:
        """Return the page that a cut at a row passes through, if any."""
        if not self.pages.num_pages or row >= self.pages.num_rows:
            return None
        page = self.pages.page_of_row(row)
        begins = self.pages.first_rows[page] == row and not self.pages.continues(page)
        return None if begins and not (self.is_chained and page) else page

    def kept_bytes(self, page: int, start: int, stop: int) -> float:
        """Return the bytes that rows ``[start, stop)`` of a page are expected to take."""
        inside = self.insides.get(page)
        if inside is not None:
            own_bytes = inside.before(stop) - inside.before(start)
            return own_bytes + (inside.repeats.num_bytes(start, stop) if inside.repeats else 0.0)
        low, high = self.pages.rows(page)
        return self.new_sizes[page] * (stop - start) / (high - low)


def _some(names: Sequence[str]) -> str:
    """Return some names of columns, and how many there are besides."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class Curve:
    """Bytes of a row group by row.

    Attributes:
        row_group: its index in the file.
        rows: knots, ascending, from 0 to the group's number of rows.
        sums: data and index bytes before each of ``rows``, dictionaries not counted.
        fixed_bytes: what any slice needs besides.
        dictionaries: (row, bytes): a slice that begins before the row repeats the dictionary.
        columns: their pages.
        entries: of dictionaries that are not repeated.
    """

    row_group: int
    rows: Sequence[int]
    sums: Sequence[float]
    fixed_bytes: int
    dictionaries: tuple[tuple[int, int], ...]
    columns: tuple[CutColumn, ...]
    entries: tuple[Entries | Repeats, ...] = ()

    def before(self, row: int) -> float:
        """Return the bytes before a row, dictionaries not counted."""
        return between(self.rows, self.sums, row)

    def repeated(self, start_row: int) -> int:
        """Return the bytes that a slice from ``start_row`` has beyond its rows' own."""
        return self.fixed_bytes + sum(size for row, size in self.dictionaries if row > start_row)

    def used(self, start_row: int, stop_row: int) -> float:
        """Return the bytes that a slice keeps of dictionaries that are not repeated."""
        return sum(entries.num_bytes(start_row, stop_row) for entries in self.entries)

    def num_bytes(self, start_row: int, stop_row: int) -> int:
        """Return the expected bytes of a slice in a part."""
        rows_bytes = self.before(stop_row) - self.before(start_row)
        return self.repeated(start_row) + round(rows_bytes + self.used(start_row, stop_row))

    def last_row(self, start_row: int, num_bytes: float) -> int:
        """Return the last row at which a slice from ``start_row`` still fits ``num_bytes``."""
        used = [each.since(start_row) for each in self.entries]
        room = num_bytes - self.repeated(start_row) + self.before(start_row)

        def size(stop_row: int) -> float:
            return self.before(stop_row) + sum(each(stop_row) for each in used)

        end = self.rows[-1]
        first, step = start_row, 1  # slices are mostly short
        while first < end and size(last := min(start_row + step, end)) <= room:
            first, step = last, 2 * step
        rows = range(first + 1, min(start_row + step, end) + 1)
        return first + bisect_right(rows, room, key=size)

    def for_slices_of(self, num_bytes: float) -> Curve:
        """Return a curve of which the difference of two places is the bytes of a slice.

        Of slices of about ``num_bytes``, and of those from the first row or to the last.
        """
        if not self.entries:
            return self
        num_rows = max(1, self.last_row(0, num_bytes))
        return replace(self, entries=tuple(each.straight_from(num_rows) for each in self.entries))

    def row_at(self, num_bytes: float) -> float:
        """Return the place, in rows, that has ``num_bytes`` before it: the inverse of before."""
        return row_at(self.rows, self.sums, num_bytes)

    def from_start(self, row: int) -> float:
        """Return the bytes of a slice from row 0 up to a row, without what it repeats."""
        return self.before(row) + self.used(0, row)

    def row_from_start(self, num_bytes: float) -> float:
        """Return the place, in rows, up to which :meth:`from_start` is ``num_bytes``."""
        return row_at(*self._from_start, num_bytes)

    @cached_property
    def _from_start(self) -> tuple[Sequence[int], Sequence[float]]:
        """Rows, and :meth:`from_start` of each."""
        if not self.entries:
            return self.rows, self.sums
        import numpy as np

        rows = sorted({*self.rows, *chain.from_iterable(each.knots() for each in self.entries)})
        places = np.array(rows, np.float64)
        used = sum(each.from_start(places) for each in self.entries)
        sums = between_each(self.rows, self.sums, places) + used
        return rows, np.maximum.accumulate(sums).tolist()

    def uncertain(self, start_row: int, stop_row: int) -> int:
        """Return the bytes by which a slice may turn out larger than expected."""
        total = 0.0
        for column, page, size in self._rewritten(start_row, stop_row):
            inside = column.insides.get(page)
            if column.is_remade(page):
                total += _UNCERTAIN_TRIMMED_SHARE * size
            elif inside is None:
                total += _UNCERTAIN_SHARE * size
            else:
                total += inside.uncertain(start_row, stop_row)
            total += _UNCERTAIN_BYTES_PER_PAGE
        return round(total + _UNCERTAIN_TRIMMED_SHARE * self.used(start_row, stop_row))

    def trimmed(self, start_row: int) -> tuple[int, ...]:
        """Return the columns of whose dictionaries a slice from a row keeps what its rows use."""
        return tuple(n for n, column in enumerate(self.columns) if start_row < column.trimmed_rows)

    def unseen(self, row: int, most_bytes: float) -> list[tuple[int, int]]:
        """Return pages that a cut at a row passes through and that nobody has looked into.

        The largest first: (column, page). Those left out have ``most_bytes`` together at most. Of
        very many a sample is asked for; where all of it is even, the others are taken to be.
        """
        cut = [(number, column, column.cut_page(row)) for number, column in enumerate(self.columns)]
        pages = sorted(
            (-column.new_sizes[page], number, page)
            for number, column, page in cut
            if page is not None and page not in column.insides and not column.is_remade(page)
        )
        left = -sum(size for size, _, _ in pages)
        found: list[tuple[int, int]] = []
        for size, number, page in pages:
            if left <= most_bytes:
                break
            found.append((number, page))
            left += size
        seen = [
            column.insides[page]
            for _, column, page in cut
            if page is not None and page in column.insides
        ]
        if any(inside is not None and inside.unevenness > EVEN_SHARE for inside in seen):
            return found
        if len(seen) >= _SAMPLED_PAGES // 2:
            return []
        return found[:: 1 + len(found) // _SAMPLED_PAGES]

    def seen(self, insides: Mapping[tuple[int, int], Inside | None]) -> Curve:
        """Return the curve with what was found inside some pages, by (column, page)."""
        columns = list(self.columns)
        changes: dict[int, float] = {}  # of the bytes a row has
        add_densities(changes, self.rows, self.sums)
        for (number, page), inside in insides.items():
            column = columns[number]
            columns[number] = column._replace(insides={**column.insides, page: inside})
            if inside is not None:
                add_densities(changes, column.pages.rows(page), (0.0, -column.new_sizes[page]))
                add_densities(changes, inside.rows, inside.sums)
        rows, sums = summed_up(changes)
        repeats = [it.repeats for it in insides.values() if it is not None and it.repeats]
        entries = with_repeats(self.entries, repeats)
        return replace(self, rows=rows, sums=sums, columns=tuple(columns), entries=entries)

    def reasons(self, start_row: int, stop_row: int) -> list[str]:
        """Return why a slice must rewrite pages, in sentences; none if it needs not."""
        pages = self._rewritten(start_row, stop_row)
        remade = [column.name for column, page, _ in pages if column.is_remade(page)]
        trimmed = list(dict.fromkeys(remade))
        pages = [each for each in pages if not each[0].is_remade(each[1])]
        large = {
            column.name: column.pages.sizes[page]
            for column, page, _ in pages
            if column.pages.num_pages
            and column.pages.sizes[page] >= _LARGE_PAGE_SHARE * sum(column.pages.sizes)
            and column.pages.sizes[page] > 1 << 20
        }
        sentences = [
            f"row group {self.row_group}: column {name} has a page of {size:,} bytes, most of its "
            "chunk, and is re-encoded"
            for name, size in large.items()
        ]
        sentences += [
            f"row group {self.row_group}: column {name} has pages that continue those before; all "
            f"up to row {stop_row:,} are read"
            for name in {column.name: None for column, _, _ in pages if column.is_chained}
        ]
        if trimmed:
            sentences.append(
                f"row group {self.row_group}: a cut leaves out what its rows do not use of the "
                f"dictionaries of {_some(trimmed)}"
            )
        others = len({column.name for column, _, _ in pages}) - len(large)
        if others:
            sentences.append(
                f"row group {self.row_group}: pages of {counted(others, 'column')} are cut at rows "
                f"{start_row:,} to {stop_row:,}"
            )
        return sentences

    def _rewritten(self, start_row: int, stop_row: int) -> list[tuple[CutColumn, int, float]]:
        """Return the pages that are cut, each with the expected bytes of what is kept."""
        found = []
        for column in self.columns:
            pages = column.pages
            if not pages.num_pages:
                continue
            some: Sequence[int] = (0,)
            if pages.num_pages > 1:
                first, last = pages.page_of_row(start_row), pages.page_of_row(stop_row)
                stop = bisect_left(pages.first_rows, column.trimmed_rows, first, last)
                some = sorted({*range(first, stop), first, last})
            for page in some:
                low, high = pages.rows(page)
                kept = min(high, stop_row) - max(low, start_row)
                is_cut = (
                    kept < high - low
                    or column.is_remade(page)
                    or (column.is_chained and page and page == some[0])
                )
                if low < high and kept > 0 and is_cut:
                    size = column.kept_bytes(page, max(low, start_row), min(high, stop_row))
                    found.append((column, page, size))
        return found


def rough_curve(group: GroupLayout, model: Curve | None = None) -> Curve:
    """Return the curve of a row group whose pages are not read.

    Args:
        group: its bytes, as the footer tells.
        model: a row group that was read. Writers fill row groups alike, so its shape is taken:
            rows behind a dictionary fallback are larger. Without it, or if it has no
            dictionaries, bytes are in proportion to rows.
    """
    own_bytes = group.data_bytes + group.index_bytes - group.dictionary_bytes
    entries: tuple[Entries | Repeats, ...] = ()
    if model is None or not model.sums[-1] or not _dictionary_bytes(model):
        knots = {0: 0.0, group.num_rows: float(own_bytes)}
        dictionaries: tuple[tuple[int, int], ...] = ((group.num_rows, group.dictionary_bytes),)
    else:
        stretch = group.num_rows / model.rows[-1]
        scale = own_bytes / model.sums[-1]
        knots = {round(row * stretch): size * scale for row, size in _knots(model)} | {0: 0.0}
        share = group.dictionary_bytes / _dictionary_bytes(model)
        entries = tuple(each.resized(stretch, share) for each in model.entries)
        trimmed_bytes = sum(each.all_bytes for each in entries)
        repeated_bytes = max(0, group.dictionary_bytes - round(trimmed_bytes))
        dictionaries = _stretched(model.dictionaries, stretch, repeated_bytes)
    return Curve(
        group.index,
        tuple(knots),
        tuple(knots.values()),
        group.extra_bytes,
        dictionaries,
        (),
        entries,
    )


def _dictionary_bytes(curve: Curve) -> float:
    """Return the bytes of all dictionaries of a row group."""
    return sum(size for _, size in curve.dictionaries) + curve.used(0, curve.rows[-1])


def _knots(model: Curve) -> list[tuple[int, float]]:
    """Return some knots of a curve, first and last among them."""
    step = max(1, len(model.rows) // _MAX_ROUGH_KNOTS)
    places = [*range(0, len(model.rows) - 1, step), len(model.rows) - 1]
    return [(model.rows[i], model.sums[i]) for i in places]


def _stretched(
    dictionaries: Sequence[tuple[int, int]], stretch: float, num_bytes: int
) -> tuple[tuple[int, int], ...]:
    """Return dictionaries of ``num_bytes`` together, with fallbacks where others have them."""
    total = sum(size for _, size in dictionaries) or 1
    found = []
    seen = 0
    for row, size in dictionaries:
        before, seen = seen, seen + size
        mine = num_bytes * seen // total - num_bytes * before // total
        found.append((max(1, round(row * stretch)), mine))
    return tuple(found)


def add_densities(changes: dict[int, float], rows: Sequence[int], sums: Sequence[float]) -> None:
    """Add what rows have to the changes of it from row to row."""
    for (start, stop), (low, high) in zip(pairwise(rows), pairwise(sums), strict=True):
        density = (high - low) / (stop - start)
        changes[start] = changes.get(start, 0.0) + density
        changes[stop] = changes.get(stop, 0.0) - density


def summed_up(changes: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Return the rows where something changes, ascending, and the bytes before each."""
    rows = sorted(changes)
    sums = [0.0]
    density = 0.0
    for start, stop in pairwise(rows):
        density += changes[start]
        sums.append(sums[-1] + max(0.0, density) * (stop - start))
    return rows, sums
