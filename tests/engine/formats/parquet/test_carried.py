"""A plan tells the share of re-encoded bytes that the parts have, whatever is cut or merged."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.model import copied_share

_LAYOUTS = 24
_MOST_APART = 0.04  # of all bytes: merged dictionaries are smaller than their sum
WISHES: list[dict[str, Any]] = [
    {"parts": 3},
    {"parts": 1, "row_group_size": "400kB"},
    {"parts": 2, "row_group_size": "1500kB"},
    {"parts": 1, "row_group_size": "30000rows"},
    {"parts": 2, "dictionary": False},
    {"parts": 1, "row_group_size": "128MB", "data_page_version": 1},
]


def _column(chance: random.Random, num_rows: int) -> pa.Array:
    rng = np.random.default_rng(chance.randrange(1 << 32))
    kind = chance.choice(["numbers", "few", "many", "lists", "nulls"])
    if kind == "few":
        return pa.array([f"text {i}" for i in rng.integers(0, 50, num_rows)])
    if kind == "many":  # their dictionary is given up
        return pa.array([f"text {i}" for i in rng.integers(0, 1 << 40, num_rows)])
    numbers = rng.integers(0, 1 << 40, num_rows)
    if kind == "lists":
        lengths = rng.integers(0, 3, num_rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, rng.random(int(offsets[-1])))
    return pa.array(numbers, mask=rng.random(num_rows) < 0.4 if kind == "nulls" else None)


def write(path: Path, chance: random.Random) -> None:
    """Write a file of random columns, row groups of random sizes, and pages of any kind."""
    columns = chance.randint(2, 5)
    sizes = [chance.choice([3_000, 20_000, 50_000]) for _ in range(chance.randint(2, 7))]
    tables = [
        pa.table({f"c{n}": _column(random.Random(seed + n), size) for n in range(columns)})
        for seed in [chance.randrange(1 << 20)]
        for size in sizes
    ]
    options: dict[str, Any] = {
        "compression": chance.choice(["none", "snappy", "zstd"]),
        "use_dictionary": chance.choice([True, False, ["c0"]]),
        "dictionary_pagesize_limit": chance.choice([20_000, 1 << 20]),
        "data_page_size": chance.choice([10_000, 100_000, 1 << 20]),
        "data_page_version": chance.choice(["1.0", "2.0"]),
        "write_page_index": chance.random() < 0.5,
    }
    with pq.ParquetWriter(path, tables[0].schema, **options) as writer:
        for table in tables:
            writer.write_table(table)


@pytest.mark.ways(8)
@pytest.mark.parametrize("seed", range(_LAYOUTS))
def test_the_plan_and_the_parts_agree_on_what_is_re_encoded(tmp_path: Path, seed: int):
    source = tmp_path / "source.parquet"
    write(source, random.Random(seed))
    wish = WISHES[seed % len(WISHES)]
    plan = engine.plan(source, **wish)
    parts = engine.split(source, tmp_path / "parts", fsync=False, **wish).manifest.parts
    planned = sum(part.reencoded_bytes for part in plan.parts) / plan.predicted_bytes
    taken = sum(part.reencoded_bytes for part in parts) / sum(part.size_bytes for part in parts)
    assert planned == pytest.approx(taken, abs=_MOST_APART)
    assert copied_share(plan.parts) == pytest.approx(copied_share(parts), abs=_MOST_APART)
    engine.verify(tmp_path / "parts")


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz"])
def test_where_all_is_made_anew_nothing_counts_as_copied(tmp_path: Path, suffix: str):
    source = tmp_path / f"source.{suffix}"
    names = [f"column {n}" for n in range(100)]
    if suffix == "parquet":
        pq.write_table(pa.table(dict.fromkeys(names, range(3_000))), source, row_group_size=500)
    else:
        lines = [",".join(f"{row * n * 7919 % 1000}" for n in range(100)) for row in range(300)]
        source.write_bytes(gzip.compress("\n".join([",".join(names), *lines, ""]).encode()))
    plan = engine.plan(source, parts=6, codec="gzip")
    parts = engine.split(source, tmp_path / "parts", parts=6, codec="gzip").manifest.parts
    assert copied_share(plan.parts) == copied_share(parts) == 0
    assert sum(part.spliced_bytes for part in plan.parts) == 0
