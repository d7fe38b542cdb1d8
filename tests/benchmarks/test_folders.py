"""The benchmark of folders: its check sees rows that are lost, turned, or in another partition."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import engine
from benchmarks.data import files
from benchmarks.folders import are_equal


@pytest.mark.parametrize("change", ["none", "swapped", "lost", "turned"])
def test_rows_are_compared_by_partition_and_in_order(tmp_path: Path, change: str) -> None:
    sizes = {f"year={year}/{it}.parquet": 2e4 for year in (2023, 2024) for it in range(3)}
    source, out = files(tmp_path / "in", sizes), tmp_path / "parts"
    done = engine.split(source, out, target_size="40kB")
    first, *_, last = [out / part.name for part in done.manifest.parts]
    if change == "swapped":
        shutil.move(first, tmp_path / "x")
        shutil.move(last, first)
        shutil.move(tmp_path / "x", last)
    elif change != "none":
        table = pq.ParquetFile(first).read()
        pq.write_table(table[:-1] if change == "lost" else table[::-1], first)
    assert are_equal(source, out, ("year",)) == (change == "none")
