"""Hive folders as one sequence of parts, in which their values are columns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadSetting, Different, EvensplitError, NotPlainFolder, SchemaMismatch
from engine.partition_values import NULL
from engine.storage import open_storage
from tests.engine.running import part_paths, run
from tests.engine.storage.conftest import no_identity, s3, s3_server
from tests.stores import S3

__all__ = ["no_identity", "s3", "s3_server"]

ROWS = {
    "year=2023/month=01": 900,
    "year=2023/month=11": 1,
    f"year=2024/month={NULL}": 2_500,
    "year=2024/month=a%2Fb": 300,
}
WAYS: list[dict[str, Any]] = [
    {"parts": 1},
    {"parts": 3},
    {"parts": 2, "codec": "zstd"},
    {"parts": 2, "row_group_size": "2500rows"},
    {"parts": 2, "data_page_version": 2},
    {"parts": 2, "dictionary": False},
    {"cut": "row-group"},
]


def write(root: Path, rows: dict[str, int], **options: Any) -> Path:
    for number, (folder, num_rows) in enumerate(rows.items()):
        place = root / folder
        place.mkdir(parents=True)
        table = pa.table(
            {"a": range(num_rows), "b": [f"{number} {n % 40}" for n in range(num_rows)]}
        )
        pq.write_table(
            table, place / "x.parquet", row_group_size=800, data_page_size=999, **options
        )
    return root


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("indexed", [True, False])
def test_other_readers_find_the_columns_and_prune_by_them(
    way: dict[str, Any], indexed: bool, tmp_path: Path
):
    lake, out = write(tmp_path / "lake", ROWS, write_page_index=indexed), tmp_path / "out"
    engine.split(lake, out, flatten=True, fsync=False, **way)
    assert engine.verify(out).num_rows == sum(ROWS.values())
    found = ds.dataset(part_paths(out)).to_table()
    # pyarrow and Polars read the folders themselves; Polars takes a month of 01 for the number 1.
    ours = pa.concat_tables(
        pq.read_table(lake / folder / "x.parquet", partitioning=None)
        .append_column("year", pa.array([int(folder[5:9])] * num_rows, pa.int32()))
        .append_column("month", pa.array([month_of(folder)] * num_rows, pa.string()))
        for folder, num_rows in ROWS.items()
    )
    assert found.equals(ours)
    assert pl.read_parquet(part_paths(out)).equals(pl.DataFrame(ours))
    assert duckdb.sql(f"SELECT * FROM read_parquet({part_paths(out)})").fetchall() == [
        tuple(row.values()) for row in ours.to_pylist()
    ]
    # With a column of the files beside it, bounds of pages are looked at, too.
    conditions = ("year = 2024", "month = '01'", "month IS NULL", "month > '01' AND year < 2024")
    for where in (*conditions, "year = 2024 AND a > 250", "month = '01' AND a > 5"):
        (wanted,) = duckdb.sql(f"SELECT count(*) FROM ours WHERE {where}").fetchall()
        assert (counted(out, where),) == wanted, where


def month_of(folder: str) -> str | None:
    text = folder.partition("month=")[2].replace("%2F", "/")
    return None if text == NULL else text


def counted(out: Path, where: str) -> int:
    context = datafusion.SessionContext()
    context.register_parquet("t", f"{out}/")
    (row,) = context.sql(f"SELECT count(*) c FROM t WHERE {where}").to_pylist()
    return int(row["c"])


@settings(max_examples=20)
@given(
    values=st.lists(
        st.one_of(
            st.integers(-3, 10**12).map(str), st.sampled_from(["01", NULL, "x", "2024-01-02"])
        ),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_any_values_come_back_as_texts(values: list[str], tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("lake")
    lake = write(root / "in", {f"k={value}": 3 for value in values})
    engine.split(lake, root / "out", flatten=True, parts=1, fsync=False)
    engine.verify(root / "out")
    found = ds.dataset(part_paths(root / "out")).to_table()["k"]
    # In the order of paths; a type that is no text gives the folder's text back.
    wanted = [None if value == NULL else value for value in sorted(values) for _ in range(3)]
    assert [None if it is None else str(it) for it in found.to_pylist()] == wanted


def test_parts_are_equal_over_all_partitions(tmp_path: Path):
    lake = write(tmp_path / "lake", {f"day={n}": 500 * n for n in range(1, 7)})
    plan = engine.plan(lake, flatten=True, parts=4)
    sizes = [part.predicted_bytes for part in plan.parts]
    assert max(sizes) <= 1.03 * min(sizes)
    assert plan.parts[0].name == "part-00000.parquet"
    assert plan.source_notes[-1] == (
        "columns behind all others, from the names of folders: day integer"
    )


def test_columns_of_folders_are_taken_by_name(tmp_path: Path):
    lake, out = write(tmp_path / "lake", ROWS), tmp_path / "out"
    engine.split(lake, out, flatten=True, columns="b,year", parts=1, fsync=False)
    engine.verify(out)
    assert ds.dataset(part_paths(out)).to_table().schema.names == ["b", "year"]
    with pytest.raises(BadSetting, match="folders alone"):
        engine.plan(lake, flatten=True, columns="year")


def test_files_of_partitions_may_differ(tmp_path: Path):
    lake, out = tmp_path / "lake", tmp_path / "out"
    for year, columns in ((2023, {"a": [1, 2]}), (2024, {"b": ["x"], "a": [3]})):
        (lake / f"year={year}").mkdir(parents=True)
        pq.write_table(pa.table(columns), lake / f"year={year}" / "x.parquet")
    with pytest.raises(SchemaMismatch, match="or --schema relaxed"):
        engine.plan(lake, flatten=True, parts=1)
    engine.split(lake, out, flatten=True, schema="relaxed", parts=1, fsync=False)
    engine.verify(out)
    found = duckdb.sql(f"SELECT * FROM read_parquet({part_paths(out)})").fetchall()
    assert found == [(1, None, 2023), (2, None, 2023), (3, "x", 2024)]
    # Also partition by partition: all have the schema that holds all.
    engine.split(lake, tmp_path / "each", schema="relaxed", parts=1, fsync=False)
    engine.verify(tmp_path / "each")
    schemas = {
        tuple(pq.read_schema(path).names) for path in (tmp_path / "each").rglob("part-*.parquet")
    }
    assert schemas == {("a", "b")}


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("with_it", [2023, 2024])
def test_a_column_of_folders_that_some_files_have_is_no_null(
    flatten: bool, with_it: int, tmp_path: Path
):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        columns = {"a": [1]} | ({"year": [year]} if year == with_it else {})
        pq.write_table(pa.table(columns), tmp_path / f"year={year}" / "x.parquet")
    with pytest.raises(NotPlainFolder, match=rf"year={with_it}/.* has the column year, which"):
        engine.plan(tmp_path, schema="relaxed", flatten=flatten, parts=1)


def test_what_cannot_be_a_column_is_refused(tmp_path: Path):
    lake = write(tmp_path / "lake", {"a=1": 3, "a=2": 3, "other=1": 3})
    with pytest.raises(NotPlainFolder):
        engine.plan(lake, flatten=True)
    lake = write(tmp_path / "own", {"a=1/c=1": 3, "a=2/c=1": 3})
    with pytest.raises(NotPlainFolder, match=r"a=1, and its column a has other values"):
        engine.plan(lake, flatten=True)
    lake = write(tmp_path / "twice", {"k=1/K=1": 3, "k=2/K=1": 3})
    with pytest.raises(NotPlainFolder, match=r"k=1/K=1 name a column twice"):
        engine.plan(lake, flatten=True)
    lake = write(tmp_path / "case", {"A=1": 3, "A=2": 3})
    with pytest.raises(SchemaMismatch, match=r"column A.*column a"):
        engine.plan(lake, flatten=True)
    with pytest.raises(BadSetting, match="no source lies in such"):
        engine.plan(lake / "A=1" / "x.parquet", flatten=True)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadSetting, match="no source lies in such"):
        engine.plan(tmp_path / "x.csv", flatten=True)
    (tmp_path / "csv" / "a=1").mkdir(parents=True)
    (tmp_path / "csv" / "a=1" / "x.csv").write_text("b\n2\n")
    with pytest.raises(BadSetting, match=r"--flatten is for Parquet.*add --to parquet"):
        engine.plan(tmp_path / "csv", flatten=True)


def test_types_of_folders_columns_are_given(tmp_path: Path):
    lake = write(tmp_path / "lake", {"m=01/d=2024-01-02": 30, "m=11/d=2024-01-03": 4, "m=2/d=x": 1})
    with pytest.raises(BadSetting, match=r"d is date, which the folder m=2/d=x is not: .*'x'"):
        engine.plan(lake, flatten=True, partition_types="m int, d date")
    shutil.rmtree(lake / "m=2")
    out = tmp_path / "out"
    how: dict[str, Any] = {"flatten": True, "parts": 2, "fsync": False}
    plan = engine.split(lake, out, partition_types="m bigint", **how).manifest
    assert plan.source_notes[-1].endswith("m bigint, d date")
    engine.verify(out)
    query = "SELECT a, b, m, d FROM read_parquet({}) ORDER BY ALL"
    hive = f"['{lake}/**/*.parquet'], hive_partitioning=true, hive_types={{m: BIGINT, d: DATE}}"
    ours = duckdb.sql(query.format(part_paths(out)))
    theirs = duckdb.sql(query.format(hive))
    assert ours.types == theirs.types
    assert ours.fetchall() == theirs.fetchall()
    # Texts where numbers would be found, and a name that wants quotes.
    lake = write(tmp_path / "named", {"my%20key=1": 3, "my%20key=2": 3})
    engine.split(lake, tmp_path / "texts", partition_types='"my key" varchar(3)', **how)
    engine.verify(tmp_path / "texts")
    found = ds.dataset(part_paths(tmp_path / "texts")).to_table()["my key"]
    assert found.to_pylist() == ["1"] * 3 + ["2"] * 3


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ("month double", r"month has the type double, and columns of folders have one of integer"),
        ("mnth int", r"names mnth, which no folder does; did you mean month\?"),
        ("month", r"--partition-types is not understood at month"),
        ("month int, month int", r"--partition-types names month twice"),
        ("", r"--partition-types is empty"),
        ("month integr", r"--partition-types: month has the type integr; did you mean integer\?"),
    ],
)
def test_types_that_are_none(types: str, said: str, tmp_path: Path):
    lake = write(tmp_path / "lake", ROWS)
    with pytest.raises(BadSetting, match=said):
        engine.plan(lake, flatten=True, partition_types=types)
    with pytest.raises(BadSetting, match="is for --flatten"):
        engine.plan(lake, partition_types=types)


def test_verify_reads_values_by_the_record_alone(tmp_path: Path):
    lake, out = write(tmp_path / "lake", {"k=1": 30, "k=2": 30}), tmp_path / "out"
    engine.split(lake, out, flatten=True, parts=1, row_group_size="100rows", fsync=False)
    record = out / "_evensplit" / "manifest.json"
    told = json.loads(record.read_text())
    told["sources"][1]["constants"][0]["value"] = "3"
    record.write_text(json.dumps(told))
    with pytest.raises(Different, match=r"column k.*row 30"):
        engine.verify(out)


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_sources_and_parts_in_stores(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    root = f"memory://{tmp_path.name}"
    if kind == "s3":
        bucket: S3 = request.getfixturevalue("s3")
        root = f"s3://{bucket.new_bucket()}"
    lake = write(tmp_path / "lake", ROWS)
    required = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    path = lake / "year=2023" / "month=01" / "y.parquet"
    pq.write_table(pa.table([range(5000)], schema=required), path, data_page_size=999)
    for path in sorted(lake.rglob("*.parquet")):
        store, place = open_storage(f"{root}/lake/{path.relative_to(lake)}")
        store.put(place, path.read_bytes())
    how: dict[str, Any] = {"flatten": True, "schema": "relaxed", "parts": 3}
    engine.split(f"{root}/lake", f"{root}/out", **how)
    assert engine.verify(f"{root}/out").num_rows == sum(ROWS.values()) + 5000
    engine.split(lake, tmp_path / "out", fsync=False, **how)
    for part in part_paths(tmp_path / "out"):
        store, place = open_storage(f"{root}/out/{Path(part).name}")
        there, here = store.get(place), Path(part).read_bytes()
        assert there is not None
        assert len(there) == len(here)


def test_schemas_in_metadata_are_put_right_or_told(tmp_path: Path):
    fields = [{"name": name, "type": "long", "nullable": True, "metadata": {}} for name in "ab"]
    spark = {"type": "struct", "fields": fields}
    metadata = {
        "org.apache.spark.sql.parquet.row.metadata": json.dumps(spark),
        "avro.schema": json.dumps({"type": "record", "name": "r", "fields": []}),
        "mine": "kept",
    }
    for year in (2023, 2024):
        (tmp_path / "in" / f"y={year}").mkdir(parents=True)
        table = pa.table({"a": [1], "b": [2]}).replace_schema_metadata(metadata)
        pq.write_table(table, tmp_path / "in" / f"y={year}" / "x.parquet")
    done = engine.split(tmp_path / "in", tmp_path / "out", flatten=True, parts=1, fsync=False)
    engine.verify(tmp_path / "out")
    kept = pq.read_metadata(part_paths(tmp_path / "out")[0]).metadata
    told = json.loads(kept[b"org.apache.spark.sql.parquet.row.metadata"])
    assert [(it["name"], it["type"]) for it in told["fields"]] == [
        ("a", "long"),
        ("b", "long"),
        ("y", "integer"),
    ]
    assert kept[b"mine"] == b"kept"
    assert b"avro.schema" not in kept
    assert "'avro.schema'" in " ".join(done.manifest.lost)


def test_on_the_command_line(tmp_path: Path):
    lake = write(tmp_path / "lake", ROWS)
    done = run("split", lake, tmp_path / "out", "--flatten", "--parts", "2", "--verify")
    assert done.code == 0, done.err
    assert "year integer, month varchar" in done.out


@pytest.mark.parametrize("value", ["x", "", "9" * 30, "2024-13-01"])
@pytest.mark.parametrize("kind", ["int32", "int64", "date"])
def test_a_forged_value_of_a_folder_is_damage(tmp_path: Path, kind: str, value: str):
    (tmp_path / "in/year=2024").mkdir(parents=True)
    pq.write_table(pa.table({"id": [1]}), tmp_path / "in/year=2024/a.parquet")
    engine.split(tmp_path / "in", tmp_path / "out", parts=1, flatten=True)
    manifest = tmp_path / "out/_evensplit/manifest.json"
    data = json.loads(manifest.read_text())
    data["sources"][0]["constants"][0] |= {"kind": kind, "value": value}
    manifest.write_text(json.dumps(data))
    with pytest.raises(EvensplitError) as found:
        engine.verify(tmp_path / "out")
    assert found.value.exit_code in (2, 3)


@pytest.mark.parametrize("schema", ["x", "AAAA", "*", "eNoDAAAAAAE="])
def test_a_forged_schema_is_damage(tmp_path: Path, schema: str):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    engine.split(tmp_path / "a.parquet", tmp_path / "out", parts=1)
    manifest = tmp_path / "out/_evensplit/manifest.json"
    data = json.loads(manifest.read_text())
    data["sources"][0]["schema"] = schema
    manifest.write_text(json.dumps(data))
    with pytest.raises(EvensplitError, match=r"is damaged|structure"):
        engine.verify(tmp_path / "out")


def test_columns_that_files_hold_as_well_are_theirs_where_values_agree(tmp_path: Path) -> None:
    for month in (2, 3):
        path = tmp_path / f"in/year=2024/month={month:02d}/a.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"month": [month] * 9, "id": range(9)}), path)
    done = engine.split(tmp_path / "in", tmp_path / "out", parts=2, flatten=True, verify=True)
    assert any("from the files" in note and "month" in note for note in done.manifest.source_notes)
    parts = [tmp_path / "out" / part.name for part in done.manifest.parts]
    table = pa.concat_tables(map(pq.read_table, parts))
    assert table.column_names == ["month", "id", "year"]
    assert table["month"].to_pylist() == [2] * 9 + [3] * 9
    assert set(table["year"].to_pylist()) == {2024}
    engine.split(tmp_path / "in/year=2024", tmp_path / "all", parts=2, flatten=True, verify=True)


def test_columns_of_which_footers_do_not_tell_the_value_are_refused(tmp_path: Path) -> None:
    for value in (1.5, 2.5):
        path = tmp_path / f"in/k={value}/a.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"k": [value] * 9}), path)
    with pytest.raises(NotPlainFolder, match="does not tell"):
        engine.plan(tmp_path / "in", parts=1, flatten=True)
    engine.plan(tmp_path / "in", parts=1)
    pq.write_table(pa.table({"k": ["1.5"] * 9}), tmp_path / "in/k=1.5/a.parquet")
    pq.write_table(pa.table({"id": range(9)}), tmp_path / "in/k=2.5/a.parquet")
    with pytest.raises(NotPlainFolder, match=r"k=1.5/a.parquet has the column k, which .*k=2.5"):
        engine.plan(tmp_path / "in", parts=1, flatten=True)
