"""Equal runs of whole row groups, exactly: the search behind ``--cut row-group``. Pure.

Works on any sequence of sizes and knows nothing of Parquet. Both bounds of the sums are found by
bisection; whether runs with sums inside two bounds exist is a reachability over boundaries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

_FIRST_GAP_BITS = 10
_MAX_STEPS = 5_000_000  # boundaries looked at, a few million a second


def fewest_runs(sizes: Sequence[int], most: int) -> list[int] | None:
    """Return the boundaries of the fewest runs with sums of at most ``most``.

    None if one of the sizes is over it.
    """
    sums = list(accumulate(sizes, initial=0))
    cuts = [0]
    while cuts[-1] < len(sizes):
        end = bisect_right(sums, sums[cuts[-1]] + most) - 1
        if end <= cuts[-1]:
            return None
        cuts.append(end)
    return cuts


def even_runs(sizes: Sequence[int], num_runs: int) -> list[int]:
    """Cut a sequence of positive sizes into contiguous runs as equal as they can be.

    Of all ways to make exactly ``num_runs`` non-empty runs, the smallest largest sum wins, then the
    largest smallest sum. The latter is given up, for the best found until then, where proving it
    takes too long: thousands of runs of very unequal sizes.

    Returns:
        Boundaries: ``num_runs + 1`` ascending positions from 0 to ``len(sizes)``.
    """
    sums = list(accumulate(sizes, initial=0))
    most = _smallest_largest(sizes, sums, num_runs)
    found = _any_runs(sums, num_runs, most)
    low, high = _smallest(sums, found), sums[-1] // num_runs
    steps = 0
    gap = max(1, high >> _FIRST_GAP_BITS)
    while low < high:
        # Narrow bounds are quick to refute, so the first tries are close below the mean.
        least = max((low + high + 1) // 2, high - gap)
        gap *= 4
        steps += sum(high - low for low, high in _windows(sums, num_runs, least, most))
        if steps > _MAX_STEPS:
            break
        better = _runs_between(sums, num_runs, least, most)
        if better is None:
            high = least - 1
        else:
            found, low = better, _smallest(sums, better)
    return found


def _any_runs(sums: Sequence[int], num_runs: int, most: int) -> list[int]:
    """Return runs with sums of at most ``most``: filled ones, the first of them taken apart."""
    cuts = [0]
    while cuts[-1] < len(sums) - 1:
        cuts.append(bisect_right(sums, sums[cuts[-1]] + most) - 1)
    more = num_runs + 1 - len(cuts)
    spare = set(range(len(sums))).difference(cuts) if more else set()
    return sorted([*cuts, *sorted(spare)[:more]])


def _smallest(sums: Sequence[int], cuts: Sequence[int]) -> int:
    return min(sums[b] - sums[a] for a, b in pairwise(cuts))


def _smallest_largest(sizes: Sequence[int], sums: Sequence[int], num_runs: int) -> int:
    low, high = max(*sizes, -(-sums[-1] // num_runs)), sums[-1]
    while low < high:
        middle = (low + high) // 2
        if _num_filled(sums, middle, num_runs) <= num_runs:
            high = middle
        else:
            low = middle + 1
    return high


def _num_filled(sums: Sequence[int], most: int, enough: int) -> int:
    """Return how many runs filled to ``most`` there are; stop counting beyond ``enough``."""
    position = count = 0
    while position < len(sums) - 1 and count <= enough:
        position = bisect_right(sums, sums[position] + most, position) - 1
        count += 1
    return count


def _runs_between(sums: Sequence[int], num_runs: int, least: int, most: int) -> list[int] | None:
    """Return boundaries of ``num_runs`` runs with every sum in [least, most], or None.

    One step a run: at which boundaries can it end, given where the one before can? Only ends that
    leave the other runs possible are looked at, which is a narrow window. An end needs a beginning
    in a window that moves along with it, so both are walked once.
    """
    reached: list[array[int]] = [array("q", [0])]
    for low, high in _windows(sums, num_runs, least, most):
        before = reached[-1]
        ends = array("q")
        i, num_before = 0, len(before)
        for end in range(low, high):
            goal = sums[end]
            while i < num_before and goal - sums[before[i]] > most:
                i += 1
            if i == num_before:
                break
            if before[i] < end and goal - sums[before[i]] >= least:
                ends.append(end)
        if not ends:
            return None
        reached.append(ends)
    return _walked_back(sums, reached, most) if reached[-1][-1] == len(sums) - 1 else None


def _windows(
    sums: Sequence[int], num_runs: int, least: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yield for each run the boundaries [low, high) at which it may end."""
    total, last = sums[-1], len(sums) - 1
    for run in range(1, num_runs + 1):
        others = num_runs - run
        low = bisect_left(sums, max(run * least, total - others * most))
        high = bisect_right(sums, min(run * most, total - others * least))
        yield max(low, run), max(low, run, min(high, last + 1 - others))


def _walked_back(sums: Sequence[int], reached: Sequence[Sequence[int]], most: int) -> list[int]:
    cuts = [len(sums) - 1]
    for begins in reversed(reached[:-1]):
        # The earliest beginning is the one that each end was proved with.
        at = bisect_left(begins, sums[cuts[-1]] - most, key=sums.__getitem__)
        cuts.append(begins[at])
    return cuts[::-1]
