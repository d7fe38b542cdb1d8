"""How long parallel loaders take over some files, if each loads at the same rate: pure.

Files are handed out largest first, each to the loader that is free soonest, as warehouses do. Time
is counted in bytes: divide it by what one loader loads a second.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One file on one loader: which, and from when to when (bytes that the loader has loaded)."""

    item: int
    slot: int
    start_bytes: int
    stop_bytes: int


def schedule(sizes: Sequence[int], num_slots: int) -> list[Turn]:
    """Return what each of ``num_slots`` loaders does."""
    free = [(0, slot) for slot in range(num_slots)]
    turns = []
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        start, slot = heapq.heappop(free)
        stop = start + sizes[item]
        turns.append(Turn(item, slot, start, stop))
        heapq.heappush(free, (stop, slot))
    return turns


def makespan(turns: Sequence[Turn]) -> int:
    """Return when the last loader is done, in bytes."""
    return max((turn.stop_bytes for turn in turns), default=0)
