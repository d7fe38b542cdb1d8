"""The same job by other tools, each as a program of its own: 2.4 GB into parts of 100 MB."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import run

TARGET_BYTES = 100_000_000
DUCKDB = """
import duckdb
duckdb.sql("SET preserve_insertion_order = true")
duckdb.sql("COPY (FROM '{source}') TO '{out}' (FORMAT parquet, FILE_SIZE_BYTES {target})")
"""
POLARS = """
import polars as pl
pl.scan_parquet("{source}").sink_parquet(
    pl.PartitionBy("{out}", approximate_bytes_per_file={target}), mkdir=True
)
"""
PYARROW = """
import pyarrow.dataset as ds
import pyarrow.parquet as pq
rows = pq.read_metadata("{source}").num_rows // {num_parts} + 1
ds.write_dataset(
    ds.dataset("{source}"), "{out}", format="parquet", preserve_order=True,
    max_rows_per_file=rows, max_rows_per_group=min(rows, 1 << 20),
)
"""
SCRIPTS = {"DuckDB": DUCKDB, "Polars": POLARS, "pyarrow": PYARROW}


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print one line a tool, one run each: they take long, and their differences are large."""
    source = lineitem(folder, "many", scale)
    out = folder / "out" / "peer"
    num_parts = -(-source.stat().st_size // TARGET_BYTES)
    tool = str(Path(sys.executable).with_name("evensplit"))
    split = [tool, "split", str(source), str(out), "--target-size", str(TARGET_BYTES), "--no-fsync"]
    commands = {"evensplit": split}
    for name, script in SCRIPTS.items():
        text = script.format(source=source, out=out, target=TARGET_BYTES, num_parts=num_parts)
        commands[name] = [sys.executable, "-c", text]
    print("| tool | wall | peak memory | files, MB min to max |\n|---|---|---|---|")
    for name, command in commands.items():
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        done = run(command)
        sizes = [path.stat().st_size / 1e6 for path in out.rglob("*.parquet")]
        result = f"{len(sizes)}: {min(sizes):.1f} to {max(sizes):.1f}" if sizes else "none"
        if done.returncode:
            result += f" (failed, {done.returncode})"
        print(
            f"| {name} | {done.wall_seconds:.1f} s | {done.peak_bytes / 1e6:.0f} MB | {result} |",
            flush=True,
        )
