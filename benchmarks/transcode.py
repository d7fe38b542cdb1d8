"""Another codec, other row groups: evensplit against DuckDB's COPY, in turn, on the same file.

DuckDB gets the same codec and level, two threads and its default row groups, and keeps the order.
Where nothing is decoded, :mod:`benchmarks.floor` says what can be had at all.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import medians

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


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print wall time and peak memory of each case, and the ratio to DuckDB."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    tool = str(Path(sys.executable).with_name("evensplit"))
    print("| lineitem | | wall | of DuckDB's | peak memory |")
    print("|---|---|---|---|---|")
    for what, layout, codec, level, options, duckdb_options in CASES:
        source = str(lineitem(folder, layout, scale))
        copied, parts = str(out / "copy.parquet"), str(out / "parts")

        def clean() -> None:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()

        wanted = f"compression {_OF_DUCKDB.get(codec, codec)}{duckdb_options}"
        split = [tool, "split", source, parts, "--workers", "2", "--no-fsync", "--codec", codec]
        if level:
            wanted += f", compression_level {level}"
            split += ["--codec-level", level]
        copy = _COPY.format(source=source, copied=copied, options=wanted)
        commands = {
            "DuckDB COPY": [sys.executable, "-c", copy],
            "evensplit": [*split, *options],
        }
        if not options and layout == "many":  # it gives whole row groups to two processes
            again = [sys.executable, "-m", "benchmarks.floor", source, codec, level]
            commands["pages read and compressed again"] = again
        found = medians(commands, repeats=repeats, before_each=clean)
        base = found["DuckDB COPY"].wall_seconds
        for name, median in found.items():
            print(
                f"| {what} | {name} | {median.wall_seconds:.1f} s "
                f"| {median.wall_seconds / base:.2f} | {median.peak_bytes / 1e6:.0f} MB |",
                flush=True,
            )
