"""Where to cut: layout and settings in, a frozen plan out. Pure.

No file, clock, environment or Dask is touched here. What a row group costs inside, between two of
its rows, comes as a :class:`~engine.curves.Curve` from a function that the caller gives; everything else is in
the :class:`~engine.layout.Layout`.

Cutting by rows: a part of at most T bytes is filled as far as it goes, then the next. The smallest
T that needs no more than N parts makes all of them as large as the first, so T is found by
bisection; N is the fewest for which every part, its uncertainty included, stays under the target.
A cut inside a row group repeats dictionaries, a cut between two does not, so some sizes cannot be
had and the parts may come out uneven. Then ends are looked for that keep all parts within a narrow
band of sizes: for each part some rows at which it may end, given those of the part before.

Cutting by row groups: the fewest contiguous runs under the target, then the smallest largest run,
then the largest smallest run. Both bounds are found by bisection; whether runs with sums inside two
bounds exist is a reachability over row-group boundaries, one pass a part.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from itertools import accumulate, pairwise

from engine.curves import Curve, rough_curve
from engine.errors import BadSetting, TargetTooSmall
from engine.layout import Layout
from engine.model import PartPlan, RowGroupSlice, SplitPlan, spread
from engine.settings import Settings

_SMALL_SHARE = 0.1  # a row group of less than this share of a part is small
_EVEN_SPREAD = 0.002  # nothing to gain beyond it
_PROMISED_SPREAD = 0.02
_TOLERANCE = 0.006  # by which parts may be off the size that is tried
_REACH_BELOW, _REACH_ABOVE = 0.05, 0.3
_MOST_TRIES = 12
_MOST_ENDS = 12  # kept for each part
_MORE_PARTS = 0.12  # than the fewest that fit, to have them even

CurveOf = Callable[[int], Curve]


def make_plan(
    layout: Layout,
    settings: Settings,
    *,
    version: str,
    curve_of: CurveOf,
    memory_of: Callable[[PartPlan], int] = lambda part: 0,
) -> SplitPlan:
    """Decide all parts.

    Args:
        layout: the sources.
        settings: what is wanted.
        version: evensplit's own, part of the plan's identity.
        curve_of: the inside of a row group, by its position in ``layout.groups``.
        memory_of: projected peak memory of writing a part.

    Raises:
        TargetTooSmall: a row, or with ``cut="row-group"`` a row group, is over the target.
        BadSetting: more parts are wanted than there are rows or row groups.
    """
    cutter = _Cutter(layout, settings, curve_of)
    cuts = cutter.cuts()
    parts = [cutter.part(index, a, b) for index, (a, b) in enumerate(pairwise(cuts))]
    parts = [replace(part, memory_bytes=memory_of(part)) for part in parts]
    return SplitPlan(
        plan_id=plan_id(layout, settings, version),
        sources=layout.files,
        settings=settings.shaping(),
        num_rows=layout.num_rows,
        parts=tuple(parts),
        lost=layout.lost,
    )


def plan_id(layout: Layout, settings: Settings, version: str) -> str:
    """Return the hash of the sources' identity and of every setting that shapes the parts."""
    identity = {
        "sources": [asdict(file) for file in layout.files],
        "settings": settings.shaping(),
        "version": version,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Cutter:
    """One layout and one wish; every method is a pure question about them."""

    def __init__(self, layout: Layout, settings: Settings, curve_of: CurveOf) -> None:
        self.layout = layout
        self.settings = settings
        self._curve_of = curve_of
        self._curves: dict[int, Curve] = {}
        self._rough: dict[int, Curve] = {}

    def curve(self, position: int) -> Curve:
        """Return the curve of a row group by its pages, which must be read for it."""
        if position not in self._curves:
            self._curves[position] = self._curve_of(position)
        return self._curves[position]

    def search_curve(self, position: int, part_bytes: int) -> Curve:
        """Return a curve good enough to look for cuts: small row groups need no pages read."""
        group = self.layout.groups[position]
        if position in self._curves or group.num_bytes > _SMALL_SHARE * part_bytes:
            return self.curve(position)
        if position not in self._rough:
            self._rough[position] = rough_curve(group)
        return self._rough[position]

    def cuts(self) -> list[int]:
        """Return the first row of each part, and behind the last the number of rows."""
        settings, layout = self.settings, self.layout
        if not layout.num_rows:
            if (settings.num_parts or 1) > 1:
                raise BadSetting(f"{settings.num_parts} parts of a source without rows")
            return [0, 0]
        if settings.cut == "row-group":
            return [layout.first_rows[i] for i in self._group_cuts()]
        if settings.rows_per_part is not None:
            cuts = [*range(0, layout.num_rows, settings.rows_per_part), layout.num_rows]
        elif settings.num_parts is not None:
            cuts = self._row_cuts(settings.num_parts)
        else:
            return self._fewest_row_cuts()
        self._check_target(cuts)
        return cuts

    def _check_target(self, cuts: Sequence[int]) -> None:
        """Refuse a number of parts or rows that does not keep an explicit target."""
        target = self.settings.target_bytes
        if target is None:
            return
        for index, (a, b) in enumerate(pairwise(cuts)):
            size = self.part_bytes(a, b)
            if size > target:
                raise TargetTooSmall(
                    f"part {index} would have {size} bytes, over the target of {target}; ask for "
                    "more parts or fewer rows a part, or leave one of the settings out"
                )

    # -- by rows ---------------------------------------------------------------------------

    def _fewest_row_cuts(self) -> list[int]:
        """Return the fewest parts that fit the target and are even.

        Where no number of parts near the fewest gives even ones (few rows, or very wide ones), the
        evenest of those that were tried.
        """
        target = self.settings.target_bytes
        assert target is not None
        first = num_parts = len(self._fill(target)) - 1
        best: list[int] = []
        best_spread = float("inf")
        while not best or num_parts <= first * (1 + _MORE_PARTS) + 2:
            cuts = self._fitting_row_cuts(num_parts, target)
            num_parts = max(num_parts, len(cuts) - 1)
            found = spread([self.part_bytes(a, b) for a, b in pairwise(cuts)])
            if found < best_spread:
                best, best_spread = cuts, found
            if found <= _PROMISED_SPREAD:
                break
            num_parts += 1
            if num_parts > self.layout.num_rows:
                break
        return best

    def _fitting_row_cuts(self, num_parts: int, target: int) -> list[int]:
        """Return parts that stay under the target even where they are uncertain."""
        limit = target
        while True:
            cuts = self._row_cuts(max(num_parts, len(self._fill(limit)) - 1), most_bytes=limit)
            most = max(self.part_bytes(a, b) + self._uncertain(a, b) for a, b in pairwise(cuts))
            if most <= target or limit < target / 2:
                return cuts
            limit -= most - target

    def _row_cuts(self, num_parts: int, most_bytes: int | None = None) -> list[int]:
        """Return equal parts: ``num_parts``, or more if ``most_bytes`` forces it."""
        rows = self.layout.num_rows
        if num_parts > rows:
            raise BadSetting(f"{num_parts} parts of {rows} rows; a part has at least one row")
        high = self.layout.num_bytes + self.layout.part_bytes
        high += max(group.num_bytes for group in self.layout.groups)  # dictionaries repeated
        if most_bytes is not None:
            cuts = self._fill(most_bytes)
            num_parts = max(num_parts, len(cuts) - 1)
            high = most_bytes
        low = self.layout.num_bytes // num_parts
        while low + 1 < high:
            middle = (low + high) // 2
            if len(self._fill(middle, num_parts)) - 1 <= num_parts:
                high = middle
            else:
                low = middle
        cuts = self._exactly(self._fill(high), num_parts)
        return self._evened(cuts, most_bytes)

    def _evened(self, cuts: list[int], most_bytes: int | None) -> list[int]:
        """Return cuts of as many parts that are more even, if there are some."""
        sizes = self._search_sizes(cuts)
        num_parts = len(sizes)
        if num_parts < 2 or spread(sizes) <= _EVEN_SPREAD:
            return cuts
        mean = sum(sizes) / num_parts
        low = mean * (1 - _REACH_BELOW)
        high = mean * (1 + _REACH_ABOVE)
        if most_bytes is not None:
            high = min(high, most_bytes / (1 + _TOLERANCE))
        tried = high
        for _ in range(_MOST_TRIES):
            found = self._between(
                num_parts, round(tried * (1 - _TOLERANCE)), round(tried * (1 + _TOLERANCE))
            )
            if isinstance(found, list):
                return found
            if found is _Miss.TOO_SMALL and tried == high:
                break
            low, high = (tried, high) if found is _Miss.TOO_SMALL else (low, tried)
            tried = (low + high) / 2
        return cuts

    def _between(self, num_parts: int, low: int, high: int) -> list[int] | _Miss:
        """Return cuts of parts whose sizes all lie in [low, high], with few cuts inside groups.

        Part after part, a few ends are kept that its predecessors' ends can reach. Where the last
        part cannot have such a size, return whether the sizes are too small or too large.
        """
        boundaries = set(self.layout.first_rows)
        reached: dict[int, _Reached] = {0: _Reached(0, 0, None)}
        for _ in range(num_parts - 1):
            following: dict[int, _Reached] = {}
            for state in reached.values():
                for row in self._ends(state.row, low, high):
                    inside = state.num_inside + (row not in boundaries)
                    if row not in following or inside < following[row].num_inside:
                        following[row] = _Reached(row, inside, state)
            reached = _thinned(following)
        rests = {row: self._search_size(row, self.layout.num_rows, low) for row in reached}
        finals = [state for row, state in reached.items() if low <= rests[row] <= high]
        if not finals:
            is_rest_large = bool(rests) and min(rests.values()) > high
            return _Miss.TOO_SMALL if is_rest_large else _Miss.TOO_LARGE
        state: _Reached | None = min(finals, key=lambda state: state.num_inside)
        cuts = [self.layout.num_rows]
        while state is not None:
            cuts.append(state.row)
            state = state.before
        return cuts[::-1]

    def _ends(self, start: int, low: int, high: int) -> set[int]:
        """Return some rows at which a part from ``start`` may end to have [low, high] bytes."""
        first, last = self._fit(start, low) + 1, self._fit(start, high)
        if not start < first <= last < self.layout.num_rows:
            return set()
        rows = self.layout.first_rows
        between = rows[bisect_left(rows, first) : bisect_right(rows, last)]
        return {first, (first + last) // 2, last, *between}

    def _search_sizes(self, cuts: Sequence[int]) -> list[int]:
        each = self.layout.num_bytes // (len(cuts) - 1)
        return [self._search_size(a, b, each) for a, b in pairwise(cuts)]

    def _search_size(self, start: int, stop: int, part_bytes: int) -> int:
        return self.part_bytes(start, stop, lambda i: self.search_curve(i, part_bytes))

    def _exactly(self, cuts: list[int], num_parts: int) -> list[int]:
        """Cut the parts with most rows further until there are enough (few rows, or wide ones)."""
        while len(cuts) - 1 < num_parts:
            rows, at = max((b - a, i) for i, (a, b) in enumerate(pairwise(cuts)))
            cuts.insert(at + 1, cuts[at] + (rows + 1) // 2)
        return cuts

    def _fill(self, most_bytes: int, most_parts: int | None = None) -> list[int]:
        """Fill parts of at most ``most_bytes`` one after another; stop beyond ``most_parts``."""
        cuts = [0]
        while cuts[-1] < self.layout.num_rows:
            stop = self._fit(cuts[-1], most_bytes)
            if stop == cuts[-1]:
                if most_parts is None:
                    raise self._too_small(stop, most_bytes)
                stop += 1
            cuts.append(stop)
            if most_parts is not None and len(cuts) - 1 > most_parts:
                break
        return cuts

    def _fit(self, start: int, most_bytes: int) -> int:
        """Return the last row at which a part that begins at ``start`` still fits."""
        layout = self.layout
        left = most_bytes - layout.part_bytes
        position, inside = self._locate(start)
        group = layout.groups[position]
        if inside:
            curve = self.search_curve(position, most_bytes)
            rest = curve.num_bytes(inside, group.num_rows)
            if rest > left:
                return start - inside + curve.last_row(inside, left)
            left -= rest
            position += 1
        end = bisect_right(layout.offsets, layout.offsets[position] + left) - 1
        left -= layout.offsets[end] - layout.offsets[position]
        if end == len(layout.groups):
            return layout.num_rows
        row = layout.first_rows[end] + self.search_curve(end, most_bytes).last_row(0, left)
        return max(start, min(row, layout.first_rows[end + 1] - 1))

    def _locate(self, row: int) -> tuple[int, int]:
        """Return the group that holds a row, and the row's position in it."""
        position = bisect_right(self.layout.first_rows, row) - 1
        return position, row - self.layout.first_rows[position]

    def _too_small(self, row: int, most_bytes: int) -> TargetTooSmall:
        need = self.part_bytes(row, row + 1)
        return TargetTooSmall(
            f"a part that holds only row {row} takes about {need} bytes (schema and dictionaries "
            f"included), the target is {most_bytes}; raise --target-size"
        )

    # -- by row groups -----------------------------------------------------------------------

    def _group_cuts(self) -> list[int]:
        settings, layout = self.settings, self.layout
        if settings.rows_per_part is not None:
            weights = [group.num_rows for group in layout.groups]
            cuts = _greedy(weights, settings.rows_per_part)
            if cuts is None:
                raise TargetTooSmall(
                    f"a row group has {max(weights)} rows, more than {settings.rows_per_part}; "
                    "use --cut row"
                )
            return cuts
        sizes = [group.num_bytes for group in layout.groups]
        if settings.num_parts is not None:
            num_parts = settings.num_parts
            if num_parts > len(sizes):
                raise BadSetting(
                    f"{num_parts} parts of {len(sizes)} row groups; use --cut row to cut inside"
                )
        else:
            num_parts = 0
        target = settings.target_bytes
        if target is not None:
            fewest = _greedy(sizes, target - layout.part_bytes)
            if fewest is None:
                position = max(range(len(sizes)), key=sizes.__getitem__)
                raise TargetTooSmall(
                    f"row group {layout.groups[position].index} of "
                    f"{layout.files[layout.groups[position].file].path} takes "
                    f"{sizes[position] + layout.part_bytes} bytes, over the target of {target}; "
                    "use --cut row or raise --target-size"
                )
            if num_parts and num_parts < len(fewest) - 1:
                raise TargetTooSmall(
                    f"{num_parts} parts of at most {target} bytes cannot hold "
                    f"{layout.num_bytes} bytes in whole row groups; {len(fewest) - 1} can"
                )
            num_parts = num_parts or len(fewest) - 1
        return even_runs(sizes, num_parts)

    # -- parts -------------------------------------------------------------------------------

    def slices(self, start: int, stop: int) -> list[tuple[int, RowGroupSlice]]:
        """Return the slices of rows ``[start, stop)`` with their groups' positions."""
        found = []
        while start < stop:
            position, inside = self._locate(start)
            group = self.layout.groups[position]
            end = min(stop - start + inside, group.num_rows)
            found.append(
                (position, RowGroupSlice(group.file, group.index, inside, end, group.num_rows))
            )
            start += end - inside
        return found

    def part_bytes(self, start: int, stop: int, curve_of: CurveOf | None = None) -> int:
        """Return the expected file size of rows ``[start, stop)``."""
        curve_of = curve_of or self.curve
        edges = sum(
            self.layout.groups[position].num_bytes
            if piece.is_whole
            else curve_of(position).num_bytes(piece.start_row, piece.stop_row)
            for position, piece in self._edges(start, stop)
        )
        return self.layout.part_bytes + edges + self._middle_bytes(start, stop)

    def _edges(self, start: int, stop: int) -> list[tuple[int, RowGroupSlice]]:
        """Return only the slices at both ends, so that sums need not visit every group."""
        first, _ = self._locate(start)
        last = bisect_left(self.layout.first_rows, stop) - 1
        if last <= first + 1:
            return self.slices(start, stop)
        head = self.slices(start, self.layout.first_rows[first + 1])
        return head + self.slices(self.layout.first_rows[last], stop)

    def _middle_bytes(self, start: int, stop: int) -> int:
        first, _ = self._locate(start)
        last = bisect_left(self.layout.first_rows, stop) - 1
        return self.layout.offsets[last] - self.layout.offsets[first + 1] if last > first + 1 else 0

    def _uncertain(self, start: int, stop: int) -> int:
        return sum(
            self.curve(position).uncertain(piece.start_row, piece.stop_row)
            for position, piece in self._edges(start, stop)
            if not piece.is_whole
        )

    def part(self, index: int, start: int, stop: int) -> PartPlan:
        """Describe the part of rows ``[start, stop)``."""
        reencoded_bytes = 0
        reasons: dict[str, None] = {}
        pieces = self.slices(start, stop)
        for position, piece in pieces:
            if not piece.is_whole:
                curve = self.curve(position)
                reencoded_bytes += curve.reencoded(piece.start_row, piece.stop_row)
                reasons |= dict.fromkeys(curve.reasons(piece.start_row, piece.stop_row))
        size = self.part_bytes(start, stop)
        return PartPlan(
            index=index,
            name=self.settings.part_name(index),
            first_row=start,
            num_rows=stop - start,
            predicted_bytes=size,
            spliced_bytes=max(0, size - reencoded_bytes - self.layout.part_bytes),
            reencoded_bytes=reencoded_bytes,
            memory_bytes=0,
            slices=tuple(piece for _, piece in pieces),
            reasons=tuple(reasons),
        )


class _Miss(Enum):
    """Why parts of some size do not end with the last row."""

    TOO_SMALL = "rows are left"
    TOO_LARGE = "rows are wanting"


@dataclass(frozen=True)
class _Reached:
    """An end of a part that can be reached, over how many cuts inside groups, and from where."""

    row: int
    num_inside: int
    before: _Reached | None


def _thinned(states: dict[int, _Reached]) -> dict[int, _Reached]:
    """Keep a few states, spread over the rows; of neighbours the one with fewer cuts inside."""
    if len(states) <= _MOST_ENDS:
        return states
    rows = sorted(states)
    step = len(rows) / _MOST_ENDS
    kept = {}
    for number in range(_MOST_ENDS):
        near = rows[round(number * step) : round((number + 1) * step)]
        row = min(near, key=lambda row: states[row].num_inside)
        kept[row] = states[row]
    return kept


def _greedy(sizes: Sequence[int], most: int) -> list[int] | None:
    """Return the boundaries of the fewest runs with sums of at most ``most``; None if one is over."""
    cuts = [0]
    total = 0
    for i, size in enumerate(sizes):
        if size > most:
            return None
        if total + size > most:
            cuts.append(i)
            total = 0
        total += size
    return [*cuts, len(sizes)]


def even_runs(sizes: Sequence[int], num_runs: int) -> list[int]:
    """Cut a sequence into contiguous runs as equal as they can be.

    Of all ways to make exactly ``num_runs`` non-empty runs, the smallest largest sum wins, then the
    largest smallest sum.

    Returns:
        Boundaries: ``num_runs + 1`` ascending positions from 0 to ``len(sizes)``.
    """
    sums = list(accumulate(sizes, initial=0))
    low, high = max(max(sizes), -(-sums[-1] // num_runs)), sums[-1]
    while low < high:
        middle = (low + high) // 2
        cuts = _greedy(sizes, middle)
        if cuts is not None and len(cuts) - 1 <= num_runs:
            high = middle
        else:
            low = middle + 1
    most = high
    low, high = 0, sums[-1] // num_runs
    while low < high:
        middle = (low + high + 1) // 2
        if _runs_between(sums, num_runs, middle, most) is not None:
            low = middle
        else:
            high = middle - 1
    found = _runs_between(sums, num_runs, low, most)
    assert found is not None, "runs within the proved bounds exist"
    return found


def _runs_between(sums: Sequence[int], num_runs: int, least: int, most: int) -> list[int] | None:
    """Return boundaries of ``num_runs`` runs with every sum in [least, most], or None.

    One step a run: which boundaries can a k-th run end at, and from which boundary before? Only
    those whose sum leaves the other runs possible are looked at, which is a narrow window.
    """
    total = sums[-1]
    steps: list[dict[int, int]] = []  # for each run: the boundary it begins at, by where it ends
    reachable = [0]
    for run in range(1, num_runs + 1):
        others = num_runs - run
        low = bisect_left(sums, max(run * least, total - others * most))
        high = bisect_right(sums, min(run * most, total - others * least))
        begins: dict[int, int] = {}
        for end in range(max(low, run), min(high, len(sums) - others)):
            latest = min(bisect_right(sums, sums[end] - least), end)
            i = bisect_left(reachable, latest) - 1
            if i >= 0 and sums[end] - sums[reachable[i]] <= most:
                begins[end] = reachable[i]
        if not begins:
            return None
        steps.append(begins)
        reachable = list(begins)
    cuts = [len(sums) - 1]
    if cuts[0] not in steps[-1]:
        return None
    for begins in reversed(steps):
        cuts.append(begins[cuts[-1]])
    return cuts[::-1]
