"""Calls of one process in several threads, as notebooks and services have them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import engine

NUM_ROWS = 4_000
CALLS = [{"parts": 3}, {"parts": 5, "codec": "zstd"}, {"rows_per_part": 900}, {"to": "parquet"}]


def test_no_call_takes_the_files_of_another(tmp_path: Path) -> None:
    """All files are of one size: bytes of one would pass as another's."""
    sources = [_written(tmp_path, number) for number in range(4)]
    expected = [[(row + number) % NUM_ROWS for row in range(NUM_ROWS)] for number in range(4)]
    num_open = len(os.listdir("/proc/self/fd"))

    def splits(turn: int) -> None:
        number, wish = turn % len(sources), dict(CALLS[turn // len(sources) % len(CALLS)])
        source = sources[number].with_suffix(".csv" if "to" in wish else ".parquet")
        dest = tmp_path / "parts" / str(turn)
        engine.plan(str(source), **wish)
        engine.split(str(source), str(dest), fsync=False, **wish)
        engine.verify(str(dest))
        assert pq.read_table(dest)["id"].to_pylist() == expected[number]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(splits, range(2 * len(sources) * len(CALLS))))
    assert len(os.listdir("/proc/self/fd")) == num_open


def _written(folder: Path, number: int) -> Path:
    path = folder / f"{number}.parquet"
    rows = [(row + number) % NUM_ROWS for row in range(NUM_ROWS)]
    options: dict[str, Any] = {"row_group_size": 700, "compression": "none"}
    pq.write_table(pa.table({"id": rows}), path, use_dictionary=False, **options)
    path.with_suffix(".csv").write_text("id\n" + "".join(f"{row}\n" for row in rows))
    return path
