"""Parts of equal size, cut at any row: the search behind ``--cut row``. Pure.

A cut inside a row group repeats its dictionaries, a cut between two does not, so sizes jump and
filling parts one after another leaves an uneven rest. The search asks instead: is there a way from
the first row to the last in N parts whose sizes all lie between two bounds? :func:`walk` answers
by following *all* rows at which the k-th part may end, as a few ranges of rows, one part after
another, and then goes back from the end along one way. Bounds close together make even parts;
:func:`even_cuts` tries some, :func:`fewest_even_cuts` some N.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from engine.model import spread
from engine.planning.even_runs import even_runs
from engine.planning.ruler import Ruler

PROMISED_SPREAD = 0.02
_BANDS = (0.019, 0.04, 0.08, 0.16, 0.32)  # the first keeps the promise, a little left to errors
_EVEN_SPREAD = 0.005  # nothing to gain beyond it
_FREE_SPREAD = 0.01  # whole row groups that even are taken: they are only copied
_NARROWER = 0.7
_MAX_BANDS = 10
_MORE_PARTS = 0.12  # than the fewest that fit, to have them even
_MAX_RANGES = 24  # followed at once
_MAX_GROUPS = 12  # of these in one range of bytes
_LIMIT_PRECISION = 1e-5
# Ranges followed, some 30 µs each, until the evenest found must do.
_MAX_STEPS = 100_000
_MAX_STEPS_FOR_FEWEST = 40_000  # a number of parts more is tried instead


# -- filling ---------------------------------------------------------------------------------


def fill(ruler: Ruler, limit: float, most_parts: int | None = None) -> tuple[list[int], bool]:
    """Make the fewest parts of at most ``limit`` bytes.

    Returns:
        The cuts, and whether they reach the last row. They do not where a row alone is over the
        limit (it is the last cut), or beyond ``most_parts`` parts.
    """
    cuts = [0]
    while cuts[-1] < ruler.num_rows:
        if most_parts is not None and len(cuts) > most_parts:
            return cuts, False
        start, stop = cuts[-1], ruler.fit(cuts[-1], limit)
        if stop == start:
            return cuts, False
        # Ending earlier, between two row groups, gets further where dictionaries are large.
        boundary = stop - ruler.locate(stop)[1]
        if start < boundary < stop and ruler.bytes_left_out(boundary) >= ruler.bytes_left_out(stop):
            stop = boundary
        cuts.append(stop)
    return cuts, True


def smallest_limit(ruler: Ruler, num_parts: int, most: float | None = None) -> float:
    """Return the least limit, nearly, with which filling makes at most ``num_parts`` parts.

    ``most`` must be such a limit; without it there is none but the size of everything.
    """
    layout = ruler.layout
    high = layout.num_bytes + layout.part_bytes + 1.0 if most is None else most
    low = layout.num_bytes / num_parts
    while high - low > max(1.0, _LIMIT_PRECISION * high):
        middle = (low + high) / 2
        _, done = fill(ruler, middle, num_parts)
        low, high = (low, middle) if done else (middle, high)
    return high


def exactly(ruler: Ruler, cuts: Sequence[int], num_parts: int) -> list[int]:
    """Halve the largest parts until there are enough: rows are few, or very wide."""
    found = set(cuts)
    heap = [(-ruler.size(a, b), a, b) for a, b in pairwise(cuts) if b - a > 1]
    heapq.heapify(heap)
    while len(found) - 1 < num_parts:
        _, start, stop = heapq.heappop(heap)
        middle = (start + stop) // 2
        found.add(middle)
        for a, b in ((start, middle), (middle, stop)):
            if b - a > 1:
                heapq.heappush(heap, (-ruler.size(a, b), a, b))
    return sorted(found)


# -- evening ---------------------------------------------------------------------------------


@dataclass
class SearchSteps:
    """Ranges of rows that may still be followed: counted, not timed, to keep plans functions."""

    left: int = _MAX_STEPS


def fewest_even_cuts(ruler: Ruler, cap: float) -> list[int]:
    """Return the fewest parts of at most ``cap`` bytes that are even.

    Where no number of parts near the fewest gives even ones (few rows, or very wide ones), the
    evenest found, a part more being worth as much as the evenness it brings.

    Args:
        ruler: measures.
        cap: must be such that filling to it reaches the last row.
    """
    search = SearchSteps(_MAX_STEPS_FOR_FEWEST)
    first = len(fill(ruler, cap)[0]) - 1
    best: list[int] = []
    best_score = float("inf")
    more, step = 0, 1
    while not best or (more <= _MORE_PARTS * first + 2 and search.left > 0):
        num_parts = first + more
        if num_parts > ruler.num_rows:
            break
        cuts = even_cuts(ruler, num_parts, cap, search)
        sizes = ruler.sizes(cuts)
        if max(sizes) <= cap or not best:
            score = spread(sizes) + more / first
            if score < best_score:
                best, best_score = cuts, score
            if spread(sizes) <= PROMISED_SPREAD:
                return cuts
        more += step
        step = max(1, more // 2)
    return best


def even_cuts(
    ruler: Ruler, num_parts: int, cap: float | None = None, search: SearchSteps | None = None
) -> list[int]:
    """Return ``num_parts`` parts as even as can be found, under a cap that they can keep."""
    search = search or SearchSteps()
    whole = _whole_group_cuts(ruler, num_parts, cap)
    if whole is not None:
        return whole
    limit = smallest_limit(ruler, num_parts, cap)
    best = exactly(ruler, fill(ruler, limit)[0], num_parts)
    best_spread = spread(ruler.sizes(best))
    if best_spread <= _EVEN_SPREAD:
        return best
    for width in _BANDS:
        for high in _bands(ruler, num_parts, limit, cap, width):
            if best_spread <= width or search.left <= 0:
                return best
            found = walk(ruler, num_parts, high / (1 + width), high, search)
            if found is not None:
                found = _narrowed(ruler, found, cap, search)
                return min(best, found, key=lambda cuts: spread(ruler.sizes(cuts)))
    return best


def _whole_group_cuts(ruler: Ruler, num_parts: int, cap: float | None) -> list[int] | None:
    """Return parts of whole row groups if these are even anyway."""
    layout = ruler.layout
    if num_parts * 2 > len(layout.groups):
        return None
    sizes = [group.num_bytes for group in layout.groups]
    cuts = [layout.first_rows[i] for i in even_runs(sizes, num_parts)]
    found = ruler.sizes(cuts)
    if spread(found) > _FREE_SPREAD or (cap is not None and max(found) > cap):
        return None
    return cuts


def _bands(
    ruler: Ruler, num_parts: int, limit: float, cap: float | None, width: float
) -> Iterator[float]:
    """Yield upper bounds to try, from the smallest possible up to where parts must be too large."""
    mean = ruler.layout.num_bytes / num_parts + ruler.layout.part_bytes + ruler.most_repeated
    top = max(limit, mean * (1 + width))
    if cap is not None:
        top = min(top, cap)
    # The top first: parts that large are cut between row groups least often.
    step = max(width / 3, (top / limit - 1) / _MAX_BANDS)
    high = top
    while high > limit:
        yield high
        high /= 1 + step
    yield limit


def _narrowed(ruler: Ruler, cuts: list[int], cap: float | None, search: SearchSteps) -> list[int]:
    """Return more even parts of sizes near those found, as long as there are some."""
    while (width := _NARROWER * spread(sizes := ruler.sizes(cuts))) > _NARROWER * _EVEN_SPREAD:
        centers = ((min(sizes) + max(sizes)) / 2, sum(sizes) / len(sizes))
        highs = (min(center * (1 + width / 2), cap or float("inf")) for center in centers)
        tries = (walk(ruler, len(sizes), high / (1 + width), high, search) for high in highs)
        found = next((found for found in tries if found is not None), None)
        if found is None or spread(ruler.sizes(found)) >= spread(sizes):
            break
        cuts = found
    return cuts


# -- walking ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ends:
    """Rows [first, last] at which a part may end, all in one row group or one boundary.

    ``least`` and ``most`` are :meth:`Ruler.since` of both; ``num_inside`` counts the cuts inside
    row groups on the best way there.
    """

    first: int
    last: int
    least: float
    most: float
    num_inside: int


def walk(
    ruler: Ruler, num_parts: int, low: float, high: float, search: SearchSteps
) -> list[int] | None:
    """Return cuts of ``num_parts`` parts with sizes in [low, high], few of them inside row groups.

    None if no way was found: there is none, or it led along ranges that were left out because
    there were too many, or over rows too wide for such bounds.
    """
    low, high = low - ruler.layout.part_bytes, high - ruler.layout.part_bytes
    ruler.expect((low + high) / 2)
    layers = [[_Ends(0, 0, 0.0, 0.0, 0)]]
    for others in range(num_parts - 1, 0, -1):
        search.left -= len(layers[-1])
        window = _window(ruler, others, low, high)
        layers.append(_following(ruler, layers[-1], low, high, window))
        if not layers[-1]:
            return None
    cuts = [ruler.num_rows]
    for ends in reversed(layers):
        row = _before(ruler, ends, ruler.bytes_before(cuts[-1]), low, high)
        if row is None:
            return None
        cuts.append(row)
    return cuts[::-1]


def _window(ruler: Ruler, others: int, low: float, high: float) -> tuple[int, int]:
    """Return the rows from which ``others`` parts can still end with the last row."""
    layout = ruler.layout
    first = ruler.first_row(layout.num_bytes - others * high)
    last = ruler.last_row(layout.num_bytes - others * (low - ruler.most_repeated))
    return max(1, first), min(ruler.num_rows - others, last)


def _following(
    ruler: Ruler, ends: Iterable[_Ends], low: float, high: float, window: tuple[int, int]
) -> list[_Ends]:
    """Return where the next part may end, given where the one before may; at most some."""
    found = []
    for here in ends:
        first = max(ruler.first_row(here.least + low), here.first + 1, window[0])
        last = min(ruler.last_row(here.most + high), window[1])
        for start, stop, inside in _ranges(ruler, first, last, high - low):
            found.append((start, stop, here.num_inside + inside))
    merged: list[tuple[int, int, int]] = []
    for start, stop, num_inside in sorted(found):
        if merged and start <= merged[-1][1]:
            begin, end, fewest = merged[-1]
            merged[-1] = (begin, max(end, stop), min(fewest, num_inside))
        else:
            merged.append((start, stop, num_inside))
    return [
        _Ends(start, stop, ruler.bytes_left_out(start), ruler.bytes_left_out(stop), num_inside)
        for start, stop, num_inside in _thinned(merged)
    ]


def _ranges(ruler: Ruler, first: int, last: int, width: float) -> Iterator[tuple[int, int, bool]]:
    """Take rows [first, last] apart into boundaries and insides of row groups.

    An inside is divided where :meth:`Ruler.since` jumps by more than ``width``: the rows at which
    a large dictionary is no longer needed. Then sums over a range have no gaps.
    """
    if first > last:
        return
    rows = ruler.layout.first_rows
    begin, end = bisect_right(rows, first) - 1, bisect_right(rows, last) - 1
    positions: Iterable[int] = range(begin, end + 1)
    if end - begin >= _MAX_GROUPS:
        positions = range(begin + 1, end + 1, (end - begin) // _MAX_GROUPS)
    for position in positions:
        base = rows[position]
        if first <= base:
            yield base, base, False
        if end - begin >= _MAX_GROUPS or position >= len(ruler.layout.groups):
            continue
        start, stop = max(first, base + 1), min(last, rows[position + 1] - 1)
        for row, size in sorted(ruler.curve(position).dictionaries):
            if size > width and start < base + row <= stop:
                yield start, base + row - 1, True
                start = base + row
        if start <= stop:
            yield start, stop, True


def _thinned(ends: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Keep some of (first row, last row, cuts inside); of neighbours that with fewest cuts."""
    if len(ends) <= _MAX_RANGES:
        return ends
    step = len(ends) / _MAX_RANGES
    bounds = [round(number * step) for number in range(_MAX_RANGES + 1)]
    return [min(ends[a:b], key=itemgetter(2)) for a, b in pairwise(bounds)]


def _before(
    ruler: Ruler, ends: Iterable[_Ends], until: float, low: float, high: float
) -> int | None:
    """Return the row at which a part may begin to have [low, high] bytes at its end."""
    least, most = until - high, until - low
    near = [end for end in ends if end.least <= most and end.most >= least]
    for end in sorted(near, key=lambda end: end.num_inside):
        first, last = ruler.rows_leaving_out(end.first, end.last, least, most)
        if first <= last:
            middle, _ = ruler.rows_leaving_out(first, last, (least + most) / 2, most)
            return min(middle, last)
    return None
