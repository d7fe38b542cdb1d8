"""A file of 10 MB, into one part and into parts of 2 MB: most of it is the program's start.

The goal for evensplit is 0.5 s of wall.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import EVENSPLIT, evensplit, pyarrow_whole

SCALE = 0.052
TARGET_BYTES = 2_000_000


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a command, whatever the scale."""
    out = folder / "out"
    source = lineitem(folder, "many", SCALE)
    split = evensplit(source, out, "--target-size", str(TARGET_BYTES))
    num_parts = -(-source.stat().st_size // TARGET_BYTES)
    commands = {
        ("one part", "evensplit"): evensplit(source, out),
        ("one part", "pyarrow"): pyarrow_whole(source, out),
        ("parts of 2 MB", "evensplit"): split,
        ("parts of 2 MB", "evensplit --no-fsync"): [*split, "--no-fsync"],
        ("parts of 2 MB", "pyarrow"): pyarrow_whole(source, out, num_parts=num_parts),
        ("nothing", "evensplit --version"): [EVENSPLIT, "--version"],
    }
    found = in_turn(commands, out, repeats=repeats)
    for (job, tool), measured in found.items():
        parts = measured.part_cells(TARGET_BYTES if job == "parts of 2 MB" else float("inf"))
        yield {"job": job, "tool": tool, **measured.cells(), **parts}
