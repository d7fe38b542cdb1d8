"""A file larger than memory, split inside a 1 GiB control group; the same copied by ``cp`` there.

The file is lineitem, spliced onto itself until it has the size wanted (``EVENSPLIT_LARGE_GB``, 30
by default), as one file of many row groups. Also one giant row group, given another codec and new
row groups there. Needs root, cgroup v1, and twice the size on disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import engine
from benchmarks.data import lineitem
from benchmarks.memory import inside
from benchmarks.table import Row
from benchmarks.tools import evensplit


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield one run of each command."""
    out = folder / "out"
    size_bytes = float(os.environ.get("EVENSPLIT_LARGE_GB", "30")) * 1e9
    source, one = large_file(folder, scale, size_bytes), lineitem(folder, "one", scale)
    new = ("--codec", "zstd", "--row-group-size", "128MB")
    commands = {
        "cp": ["cp", str(source), str(out / "copy.parquet")],
        "--cut row-group": evensplit(source, out, "--no-fsync", "--cut", "row-group"),
        "--cut row": evensplit(source, out, "--no-fsync", "--cut", "row"),
        "one row group to zstd, new row groups": evensplit(one, out, "--no-fsync", *new),
    }
    yield from inside(1 << 30, commands, out)


def large_file(folder: Path, scale: float, size_bytes: float) -> Path:
    """Return one file of at least so many bytes, making it if it is not there."""
    small = lineitem(folder, "many", scale)
    place = folder / f"large-{size_bytes / 1e9:g}"
    if not (place / "_evensplit" / "manifest.json").exists():
        times = -(-int(size_bytes) // small.stat().st_size)
        print(f"making {place}", file=sys.stderr)
        engine.split([str(small)] * times, str(place), parts=1, cut="row-group", fsync=False)
    return next(place.glob("*.parquet"))
