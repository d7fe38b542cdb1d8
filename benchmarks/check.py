"""What the check of each part before it is published costs: the same splits with and without it.

Without it is not offered by the product: the child process here replaces the function. Seconds of
the processor stand beside the wall's, because others may use the disk.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.data import lineitem

_MAIN = "from engine.cli.main import main; main()"
_PROGRAMS = {
    "without": (
        "from engine.formats.parquet.writers import splice\n"
        f"splice.check_part = lambda _: []\n{_MAIN}"
    ),
    "with": _MAIN,
}


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print wall and processor seconds of both cuts, with and without the check, in turn."""
    source = lineitem(folder, "many", scale)
    print("| lineitem, row groups | cut | check | wall | processor | ratio: wall, processor |")
    print("|---|---|---|---|---|---|")
    for cut in ("row-group", "row"):
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in _PROGRAMS}
        for number in range(repeats + 1):
            # Which comes first changes, so that neither always finds the caches of the other.
            for name in sorted(_PROGRAMS, reverse=number % 2 == 0):
                seconds = _split(name, source, folder / "out", cut)
                print(f"  {cut} {name}: {seconds[0]:.2f} s, {seconds[1]:.2f} s", file=sys.stderr)
                if number:  # the first round warms caches up
                    runs[name].append(seconds)
        medians = {
            name: [statistics.median(found) for found in zip(*every, strict=True)]
            for name, every in runs.items()
        }
        ratios = [  # of each pair
            statistics.median(a[what] / b[what] for a, b in zip(*runs.values(), strict=True))
            for what in (0, 1)
        ]
        for name, (wall, cpu) in medians.items():
            ratio = f"{1 / ratios[0]:.3f}, {1 / ratios[1]:.3f}" if name == "with" else ""
            print(f"| many | {cut} | {name} | {wall:.2f} s | {cpu:.2f} s | {ratio} |", flush=True)


def _split(name: str, source: Path, out: Path, cut: str) -> tuple[float, float]:
    """Return the seconds of wall and of the processor that a split takes."""
    shutil.rmtree(out, ignore_errors=True)
    words = ["split", source, out / "parts", "--target-size", "100MB", "--cut", cut, "--no-fsync"]
    command = [sys.executable, "-c", _PROGRAMS[name], *map(str, words)]
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system
