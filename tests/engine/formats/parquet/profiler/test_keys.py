"""Key skew against DuckDB's counts: exact where values are few, within its bounds where not."""

from __future__ import annotations

import datetime
import decimal
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import SchemaMismatch, SourceError
from engine.formats.parquet.bytes.footer import Footer, RowGroup
from engine.formats.parquet.profiler import keys
from tests.engine.running import run, write_source


def duckdb_counts(path: Path, column: str) -> Counter[Any]:
    sql = f'select "{column}"::varchar, count(*) from read_parquet($1) group by all'
    return Counter(dict(duckdb.execute(sql, [str(path)]).fetchall()))


VALUES: dict[str, list[Any]] = {
    "number": [n * n % 40 if n % 11 else None for n in range(3000)],
    "text": [f"v{n % 13}" if n % 7 else None for n in range(3000)],
    "binary": [bytes([n % 5]) for n in range(3000)],
    "flag": [n % 3 == 0 for n in range(3000)],
    "real": [float(n % 9) / 4 for n in range(3000)],
    "day": [datetime.date(2024, 1, 1 + n % 28) for n in range(3000)],
    "moment": [datetime.datetime(2024, 1, 1, n % 24, tzinfo=datetime.UTC) for n in range(3000)],
    "price": [decimal.Decimal(n % 17) / 8 for n in range(3000)],
    "nothing": [None] * 3000,
}


@pytest.mark.parametrize("name", VALUES)
def test_few_values_are_counted_exactly(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({name: VALUES[name]}), path, row_group_size=700)
    found = engine.profile_key(str(path), name, partitions=4, workers=2)
    expected = duckdb_counts(path, name)
    assert (found.is_exact, found.missed_rows) == (True, 0)
    assert (found.num_rows, found.num_distinct) == (3000, len(expected))
    counts = [item.num_rows for item in found.heaviest]
    assert counts == sorted(expected.values(), reverse=True)[:20]
    assert sum(found.partitions) == 3000
    assert all(item.share == item.num_rows / 3000 for item in found.heaviest)
    # Equal values go to one partition: no pieces of a value are spread.
    sums = {0}
    for size in expected.values():
        sums |= {size + other for other in sums}
    assert set(found.partitions) <= sums


def test_values_inside_structures_and_dictionaries(tmp_path: Path) -> None:
    words = pa.array(["a", "b", "a", None] * 50).dictionary_encode()
    table = pa.table(
        {"s": [{"in": {"k": n % 3}} for n in range(200)], "d": words, "l": [[1]] * 200}
    )
    pq.write_table(table, tmp_path / "s.parquet")
    found = engine.profile_key(str(tmp_path / "s.parquet"), "s.in.k")
    assert sorted((item.value, item.num_rows) for item in found.heaviest) == [
        *(("0", 67), ("1", 67), ("2", 66))
    ]
    found = engine.profile_key(str(tmp_path / "s.parquet"), "d")
    assert {item.value: item.num_rows for item in found.heaviest} == {"a": 100, "b": 50, "null": 50}
    with pytest.raises(engine.BadSetting, match="holds lists"):
        engine.profile_key(str(tmp_path / "s.parquet"), "l.list.element")
    with pytest.raises(engine.BadSetting, match=r"no column 'k'; there are s, d, l"):
        engine.profile_key(str(tmp_path / "s.parquet"), "k")
    for group, inside in (("s", "s.in.k"), ("s.in", "s.in.k"), ("l", "l.list.element")):
        with pytest.raises(engine.BadSetting, match=f"is a group; .* in it: {inside}$"):
            engine.profile_key(str(tmp_path / "s.parquet"), group)
    with pytest.raises(engine.BadSetting, match="at least 1"):
        engine.profile_key(str(tmp_path / "s.parquet"), "d", partitions=0)


def test_several_files_and_none_with_rows(tmp_path: Path) -> None:
    for number in range(3):
        write_source(tmp_path / f"in/{number}.parquet", 2000 * number, seed=number)
    pq.write_table(pa.table({"few": pa.array([], pa.string())}), tmp_path / "in/0.parquet")
    found = engine.profile_key(str(tmp_path / "in"), "few")
    assert found.num_rows == 6000
    assert found.num_distinct == 3
    empty = engine.profile_key(str(tmp_path / "in/0.parquet"), "few", partitions=2)
    assert (empty.num_rows, empty.heaviest, empty.partitions) == (0, (), (0, 0))
    pq.write_table(pa.table({"few": [1]}), tmp_path / "in/z.parquet")
    with pytest.raises(SchemaMismatch, match="another type"):
        engine.profile_key(str(tmp_path / "in"), "few")


def test_many_values_are_counted_within_bounds(tmp_path: Path) -> None:
    """Half of the rows have one of ten values; the others hardly ever meet again."""
    rng = np.random.default_rng(4)
    num_rows = 400_000
    heavy = rng.integers(0, 10, num_rows)
    rare = rng.integers(10, 1 << 50, num_rows)
    values = np.where(rng.random(num_rows) < 0.5, heavy, rare)
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"k": values}), path, row_group_size=100_000)
    found = engine.profile_key(str(path), "k", partitions=8, workers=2)
    expected = duckdb_counts(path, "k")
    assert not found.is_exact
    assert found.num_distinct == pytest.approx(len(expected), rel=0.06)
    assert found.missed_rows <= num_rows / keys.MAX_VALUES
    assert [item.value for item in found.heaviest[:10]] == [
        value for value, _ in expected.most_common(10)
    ]
    for item in found.heaviest[:10]:
        true = expected[item.value]
        assert true - found.missed_rows <= item.num_rows <= true
    assert sum(found.partitions) == num_rows


@given(st.lists(st.integers(0, 60), min_size=1, max_size=400), st.integers(2, 8))
def test_merging_loses_no_more_than_it_says(values: list[int], most: int) -> None:
    before = keys.MAX_VALUES
    keys.MAX_VALUES = most
    try:
        pieces = [pa.array(values[at : at + 10]) for at in range(0, len(values), 10)]
        sketches = [keys._of_values(piece, 3) for piece in pieces]
        while len(sketches) > 1:
            sketches.append(keys.merged(sketches.pop(0), sketches.pop(0)))
    finally:
        keys.MAX_VALUES = before
    (found,) = sketches
    true = Counter(values)
    kept = dict(zip(found.values.to_pylist(), found.counts.tolist(), strict=True))
    assert all(kept.get(value, 0) <= true[value] for value in kept)
    assert all(true[value] - kept.get(value, 0) <= found.missed_rows for value in true)
    assert found.missed_rows <= max(0, len(values) // most)
    assert found.partitions.sum() == len(values)


def test_a_damaged_page_is_the_source_s_fault(tmp_path: Path) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000)
    chunk = pq.read_metadata(path).row_group(1).column(3)
    with open(path, "r+b") as file:
        file.seek(chunk.data_page_offset + 60)
        file.write(b"\xff" * 2000)
    ended = run("profile", path, "--key", "text")
    assert ended.code == 3
    assert f"source.damaged-page: {path}: column text, row group 1" in ended.err


def test_a_running_cluster_counts(tmp_path: Path) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000, row_group_size=500)
    place: dict[str, Any] = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": None}
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **place) as cluster:
        there = engine.profile_key(str(path), "text", scheduler=cluster.scheduler_address)
    here = engine.profile_key(str(path), "text", workers=2)
    assert (there.num_distinct, there.partitions) == (here.num_distinct, here.partitions)


def test_the_command(tmp_path: Path) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000)
    told = json.loads(run("profile", path, "--key", "few", "--partitions", "5", "--json").out)
    assert told["key"]["num_distinct"] == 3
    assert len(told["key"]["partitions"]) == 5
    shown = run("profile", path, "--key", "few").out
    assert "key few: 20,000 rows, 3 distinct values" in shown
    assert "hashed into 16 partitions" in shown
    assert run("profile", path, "--key", "none").code == 2


def test_of_large_values_fewer_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    texts = [f"{number:08}" * 2000 for number in range(3000)]  # 48 MB
    pq.write_table(pa.table({"a": texts + texts[:1] * 50}), path, row_group_size=1000)
    (task, *_) = keys.key_tasks(engine.find_sources(path), "a", 4)
    found = keys.sketch(task)
    assert found is not None
    assert found.values.nbytes <= 17 << 20
    whole = engine.profile_key(str(path), "a", workers=1)
    assert not whole.is_exact
    assert whole.num_rows == 3050
    assert whole.heaviest[0].value.startswith("00000000")
    assert 51 - whole.missed_rows <= whole.heaviest[0].num_rows <= 51


def test_each_row_group_s_footer_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of many: its footer is not read whole for each of them."""
    path = tmp_path / "s.parquet"
    table = pa.table({"a": [number % 7 for number in range(3000)], "b": [None] * 3000})
    pq.write_table(table, path, row_group_size=10)
    asked: Counter[int] = Counter()
    row_group = Footer.row_group

    def counted(footer: Footer, index: int) -> RowGroup:
        found = row_group(footer, index)
        asked[found.columns[0].range.offset] += 1
        return found

    monkeypatch.setattr(Footer, "row_group", counted)
    found = engine.profile_key(str(path), "a", workers=1)
    assert (found.num_rows, found.num_distinct) == (3000, 7)
    assert len(asked) == 300
    assert max(asked.values()) <= 2  # by itself, and as the only column
    assert len(keys.key_tasks(engine.find_sources(path), "a", 4)) <= 64


def test_damage_is_told_with_its_row_group(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    table = pa.table({"a": list(range(3000))})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    place = pq.read_metadata(path).row_group(217).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"column a, row group 217\b"):
        engine.profile_key(str(path), "a", workers=1)


def test_merging_starts_no_thread_of_arrow() -> None:
    """One that outlives the call can abort the process as the interpreter ends."""
    code = """
import os, numpy as np, pyarrow as pa
from engine.formats.parquet.profiler.keys import Sketch, merged
def sketch(values):
    registers, partitions = np.zeros(4, np.uint8), np.ones(2, np.int64)
    return Sketch(pa.array(values), np.ones(len(values), np.int64), registers, partitions)
one, other = sketch(np.arange(90_000)), sketch(np.arange(50_000, 140_000))
print(len(os.listdir("/proc/self/task")))
found = merged(one, other)
print(len(os.listdir("/proc/self/task")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after == before
