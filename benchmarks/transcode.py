"""Another codec, other row groups: evensplit against DuckDB's COPY, in turn, on the same file.

DuckDB gets the same codec and level, two threads and its default row groups, and keeps the order.
Where nothing is decoded, :mod:`benchmarks.floor` says what can be had at all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import evensplit

_COPY = (
    "import duckdb; c = duckdb.connect(); c.execute('set threads = 2'); "
    "c.execute(\"copy (from '{source}') to '{copied}' (format parquet, {options})\")"
)
CASES = (  # what, layout, codec, level, other options of split, and of COPY
    ("codec none, nothing decoded", "many", "none", "", [], ""),
    ("codec lz4, nothing decoded", "many", "lz4", "", [], ""),
    ("codec zstd 1, nothing decoded", "many", "zstd", "1", [], ""),
    ("codec zstd 3, nothing decoded", "many", "zstd", "3", [], ""),
    ("one row group, codec none, nothing decoded", "one", "none", "", [], ""),
    ("one row group, codec lz4, nothing decoded", "one", "lz4", "", [], ""),
    ("one row group, codec zstd 3, nothing decoded", "one", "zstd", "3", [], ""),
    (
        "one row group to many, codec zstd 3",
        "one",
        "zstd",
        "3",
        ["--row-group-size", "1000000rows"],
        ", row_group_size 1000000",
    ),
    (
        "row groups merged",
        "many",
        "snappy",
        "",
        ["--row-group-size", "1000000rows"],
        ", row_group_size 1000000",
    ),
)
_OF_DUCKDB = {"none": "uncompressed", "lz4": "lz4_raw"}  # other names are the same


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield each case by every tool, and the ratios to DuckDB."""
    out = folder / "out"
    for what, layout, codec, level, options, duckdb_options in CASES:
        source = lineitem(folder, layout, scale)
        wanted = f"compression {_OF_DUCKDB.get(codec, codec)}{duckdb_options}"
        split = evensplit(source, out, "--workers", "2", "--no-fsync", "--codec", codec)
        if level:
            wanted += f", compression_level {level}"
            split += ["--codec-level", level]
        copy = _COPY.format(source=source, copied=out / "copy.parquet", options=wanted)
        commands = {
            "DuckDB": [sys.executable, "-c", copy],
            "evensplit": [*split, *options],
        }
        if not options and layout == "many":  # it gives whole row groups to two processes
            again = [sys.executable, "-m", "benchmarks.floor", str(source), codec, level]
            commands["pages read and compressed again"] = again
        found = in_turn(commands, out, repeats=repeats)
        for name, measured in found.items():
            ratio = measured.ratio_cells(found["DuckDB"])
            yield {"lineitem": what, "": name, **measured.cells(), **ratio}
