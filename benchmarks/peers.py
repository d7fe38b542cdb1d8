"""The same job by other tools, each as a program of its own: into parts of at most 100 MB.

Four kinds of file: lineitem in many row groups, in one, in row groups whose column chunks are one
page each, and documents of 20 kB. All write the source's codec, Snappy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import documents, lineitem, one_page
from benchmarks.measure import Limits, in_turn
from benchmarks.table import Row
from benchmarks.tools import TARGET_BYTES, evensplit, others

SHARE = 0.4  # of the scale: pandas and a single row group want many times a file's bytes in memory
MAX_REPEATS = 3
LIMITS = Limits(memory_bytes=12e9, seconds=600)


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a tool and file."""
    out = folder / "out"
    for kind, source in files(folder, scale * SHARE).items():
        size = ("--target-size", str(TARGET_BYTES), "--no-fsync")
        commands = {
            "cp": ["cp", str(source), str(out / "copy")],
            "evensplit": evensplit(source, out, *size),
            **others(source, out),
        }
        source.read_bytes()  # all find it in memory
        found = in_turn(commands, out, repeats=min(repeats, MAX_REPEATS), limits=LIMITS)
        what = f"{kind}, {source.stat().st_size / 1e6:,.0f} MB"
        for tool, measured in found.items():
            parts = measured.part_cells(TARGET_BYTES)
            if tool == "cp":
                parts = dict.fromkeys(parts)
            yield {"file": what, "tool": tool, **measured.cells(), **parts}


def files(folder: Path, scale: float) -> dict[str, Path]:
    """Return the four kinds of file."""
    return {
        "many row groups": lineitem(folder, "many", scale),
        "one row group": lineitem(folder, "one", scale),
        "one page a chunk": one_page(folder, scale),
        "documents": documents(folder, round(20_000 * scale)),
    }
