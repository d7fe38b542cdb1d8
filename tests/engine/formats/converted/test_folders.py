"""Lines in hive folders as Parquet in which the folders' values are columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadRow, BadSetting, EvensplitError, SchemaMismatch
from tests.engine.running import part_paths

MONTHS = ["01", "11", "a%2Fb", "__HIVE_DEFAULT_PARTITION__", "x%20y"]
FOLDERS = [f"year={year}/month={month}" for year in (2023, 2024) for month in MONTHS]


def write(root: Path, rows: dict[str, int], ending: str) -> Path:
    """Write files of numbered rows, in the order of folders."""
    first = 0
    for folder, num_rows in rows.items():
        every = [(n, f"v{n % 7}") for n in range(first, first + num_rows)]
        first += num_rows
        if ending == ".ndjson":
            text = "".join(json.dumps({"id": id, "n": n}) + "\n" for id, n in every)
        else:
            text = "id,n\n" + "".join(f"{id},{n}\n" for id, n in every)
        (root / folder).mkdir(parents=True)
        data = gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode()
        (root / folder / f"x{ending}").write_bytes(data)
    return root


@settings(max_examples=25)
@given(
    rows=st.dictionaries(st.sampled_from(FOLDERS), st.integers(1, 400), min_size=1),
    ending=st.sampled_from([".csv", ".ndjson", ".csv.gz"]),
    types=st.sampled_from([{}, {"year": "bigint"}, {"year": "varchar"}]),
    num_parts=st.integers(1, 3),
)
def test_duckdb_reads_the_same_of_the_folders(
    rows: dict[str, int],
    ending: str,
    types: dict[str, str],
    num_parts: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("lake")
    lake = write(root / "in", dict(sorted(rows.items())), ending)
    how: dict[str, Any] = {"flatten": True, "to": "parquet", "fsync": False, "header": "yes"}
    if ending == ".ndjson":
        del how["header"]
    if types:
        how["partition_types"] = ", ".join(map(" ".join, types.items()))
    engine.split(lake, root / "out", parts=min(num_parts, sum(rows.values())), **how)
    assert engine.verify(root / "out").num_rows == sum(rows.values())
    months = {folder.partition("month=")[2] for folder in rows}
    is_int = months <= {"11", "__HIVE_DEFAULT_PARTITION__"} and "11" in months
    wanted_types = {"year": "int", "month": "int" if is_int else "varchar"} | types
    hive = f"hive_partitioning=true, hive_types={json.dumps(wanted_types).replace(chr(34), '')}"
    reader = f"read_json('{lake}/**/*.ndjson', {hive})"
    if ending != ".ndjson":
        reader = f"read_csv('{lake}/**/*{ending}', {hive}, header=true, delim=',')"
    query = "SELECT id, n, year, month FROM {} ORDER BY id"
    ours = duckdb.sql(query.format(f"read_parquet({part_paths(root / 'out')})"))
    theirs = duckdb.sql(query.format(reader))
    assert ours.types == theirs.types
    assert ours.fetchall() == theirs.fetchall()
    # The rows stand in the order of the folders, also from part to part.
    found = ds.dataset(part_paths(root / "out")).to_table()
    assert found["id"].to_pylist() == list(range(sum(rows.values())))


def test_some_columns(tmp_path: Path) -> None:
    lake = write(tmp_path / "in", dict.fromkeys(FOLDERS, 20), ".csv")
    how: dict[str, Any] = {"flatten": True, "to": "parquet", "parts": 2, "fsync": False}
    engine.split(lake, tmp_path / "out", columns="month,n", **how)
    engine.verify(tmp_path / "out")
    assert {tuple(pq.read_schema(it).names) for it in part_paths(tmp_path / "out")} == {
        ("n", "month")
    }
    with pytest.raises(BadSetting, match="folders alone"):
        engine.plan(lake, columns="month", **how)
    with pytest.raises(BadSetting, match=r"--schema names year, a column of folders.*-types"):
        engine.plan(lake, schema="year int", **how)


def test_what_makes_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    lake = write(tmp_path / "in", {"N=1": 2, "N=2": 2}, ".csv")
    how: dict[str, Any] = {"flatten": True, "to": "parquet", "parts": 1, "fsync": False}
    with pytest.raises(SchemaMismatch, match=r"column N, and the files have a column n as well"):
        engine.plan(lake, **how)
    engine.split(lake, tmp_path / "out", columns="id,N", **how)
    engine.verify(tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "part-00000.parquet")["N"].to_pylist() == [1, 1, 2, 2]


def test_bad_rows_are_left_out_of_their_folder(tmp_path: Path) -> None:
    lake = write(tmp_path / "in", {"k=1": 50, "k=2": 50}, ".csv")
    file = lake / "k=2" / "x.csv"
    file.write_text(file.read_text() + "x,y,z\n7,last\n")
    how: dict[str, Any] = {"flatten": True, "to": "parquet", "parts": 2, "fsync": False}
    with pytest.raises(BadRow, match=r"k=2/x.csv: line 52"):
        engine.split(lake, tmp_path / "none", schema="id bigint", **how)
    engine.split(lake, tmp_path / "out", schema="id bigint", bad_rows="file", **how)
    assert engine.verify(tmp_path / "out").num_rows == 101
    found = ds.dataset(part_paths(tmp_path / "out")).to_table()
    assert found["k"].to_pylist() == [1] * 50 + [2] * 51
    assert found["id"].to_pylist()[-1] == 7


@pytest.mark.parametrize("change", [{"value": "x"}, {"value": "3"}, {"kind": "date"}])
def test_a_forged_value_of_a_folder_is_found(tmp_path: Path, change: dict[str, str]) -> None:
    lake = write(tmp_path / "in", {"k=1": 5, "k=2": 5}, ".csv")
    engine.split(lake, tmp_path / "out", flatten=True, to="parquet", parts=1, fsync=False)
    manifest = tmp_path / "out/_evensplit/manifest.json"
    data = json.loads(manifest.read_text())
    data["sources"][1]["constants"][0] |= change
    manifest.write_text(json.dumps(data))
    with pytest.raises(EvensplitError) as found:
        engine.verify(tmp_path / "out")
    assert found.value.exit_code in (2, 3, 6)


def test_long_values_of_folders_are_in_the_projection(tmp_path: Path) -> None:
    long = {f"k={'x' * 240}{n}": 50 for n in range(2)}
    how: dict[str, Any] = {"flatten": True, "to": "parquet", "parts": 1}
    plans = [
        engine.plan(write(tmp_path / name, rows, ".csv"), **how)
        for name, rows in (("long", long), ("short", {"k=x0": 50, "k=x1": 50}))
    ]
    more = plans[0].parts[0].memory_bytes - plans[1].parts[0].memory_bytes
    assert more >= 239 * 100
