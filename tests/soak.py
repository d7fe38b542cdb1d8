"""Split in one process again and again: ``make soak``, or ``python -m tests.soak --seconds 3600``.

Turns by threads and by local processes, sources of Parquet and of lines, each split proved. After
the first turns, which load what is loaded once, memory, descriptors, threads and children must stay
where they are: the median of the last quarter against that of the first. A table shows them.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

import engine
from engine.executors import choosing
from tests.engine.running import write_source

WARM_TURNS = 5
ROWS_SHOWN = 12
# What the median may rise from the first quarter to the last; of memory what an allocator keeps.
MOST_MORE = {"memory_bytes": 16 << 20, "descriptors": 0, "threads": 1, "children": 0}


class Figures(NamedTuple):
    """Of this process, between two turns."""

    memory_bytes: float
    descriptors: float
    threads: float
    children: float


def now() -> Figures:
    gc.collect()
    process = psutil.Process()
    return Figures(
        process.memory_info().rss,
        process.num_fds(),
        process.num_threads(),
        len(process.children(recursive=True)),
    )


def turn(folder: Path, number: int) -> None:
    """Split and prove, by threads or by processes."""
    parts = folder / "parts"
    by_processes = number % 3 == 2  # they take ten times as long
    choosing._is_worth_processes = lambda _: by_processes  # type: ignore[assignment]
    if number % 3 == 1:
        engine.split(folder / "source.csv", parts, parts=3, fsync=False)
    else:
        engine.split(
            folder / "source.parquet", parts, parts=3, codec="zstd", workers=2, fsync=False
        )
    engine.verify(parts)
    shutil.rmtree(parts)


def risen(seen: list[Figures]) -> dict[str, tuple[float, float]]:
    """Return what rose more than it may, with the medians of the first and the last quarter."""
    quarter = max(1, len(seen) // 4)
    found = {}
    for name, most in MOST_MORE.items():
        values = [getattr(figures, name) for figures in seen]
        first, last = median(values[:quarter]), median(values[-quarter:])
        if last - first > most:
            found[name] = first, last
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds", type=float, default=300)
    words.add_argument("--turns", type=int, help="instead of seconds")
    given = words.parse_args()
    seen: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="evensplit-soak-") as name:
        folder = Path(name)
        write_source(folder / "source.parquet")
        lines = "".join(f"{row},text {row}\n" for row in range(20_000))
        (folder / "source.csv").write_text(f"id,text\n{lines}")
        started, number = time.monotonic(), 0
        while (
            number < given.turns + WARM_TURNS
            if given.turns
            else time.monotonic() - started < given.seconds
        ):
            turn(folder, number)
            number += 1
            if number > WARM_TURNS:
                seen.append(now())
        took = time.monotonic() - started
    print(" turn   memory  descriptors  threads  children")
    for at in range(0, len(seen), max(1, len(seen) // ROWS_SHOWN)):
        memory_bytes, *others = seen[at]
        print(f"{at + WARM_TURNS + 1:5} {memory_bytes / 2**20:4.0f} MiB", *others, sep="    ")
    found = risen(seen)
    for what, (first, last) in found.items():
        print(f"{what} rose from {first:,.0f} to {last:,.0f}")
    print(f"{number} splits, each proved, in {took:.0f} s: {'NOT flat' if found else 'flat'}")
    return 1 if found or len(seen) < 4 else 0


if __name__ == "__main__":
    sys.exit(main())
