"""Files that other tools wrote, into parts of at most 100 MB: against DuckDB's COPY.

lineitem written by DuckDB, by fastparquet and by Polars, as they write when asked for nothing else.
COPY gets the file's codec, two threads and FILE_SIZE_BYTES, which is no cap. The plan's projection
of memory stands beside what was measured.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.data import written
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import EVENSPLIT, TARGET_BYTES, evensplit, others

SHARE = 0.4  # of the scale


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield two rows a file."""
    out = folder / "out"
    for writer in ("DuckDB", "fastparquet", "Polars"):
        source = written(folder, writer, scale * SHARE)
        codec = pq.read_metadata(source).row_group(0).column(0).compression.lower()
        size = ("--target-size", str(TARGET_BYTES))
        commands = {
            "DuckDB": others(source, out, codec=codec)["DuckDB"],
            "evensplit": evensplit(source, out, *size, "--no-fsync"),
        }
        found = in_turn(commands, out, repeats=repeats)
        projected_bytes = _projected_bytes(source, *size)
        for tool, measured in found.items():
            ours = tool == "evensplit"
            yield {
                "written by": f"{writer}, {source.stat().st_size / 1e6:,.0f} MB, {codec}",
                "tool": tool,
                **measured.cells(),
                **measured.ratio_cells(found["DuckDB"]),
                **measured.part_cells(TARGET_BYTES),
                "projected / measured": projected_bytes / measured.peak_bytes if ours else None,
            }


def _projected_bytes(source: Path, *options: str) -> int:
    command = [EVENSPLIT, "plan", str(source), *options, "--json"]
    done = subprocess.run(command, check=True, capture_output=True)
    projected_bytes: int = json.loads(done.stdout)["memory_run_bytes"]
    return projected_bytes
