"""Files by which other systems load parts: run by DuckDB and Spark, parsed as the others' SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import expressions as exp

import engine
from engine.errors import BadSetting
from engine.loaders import LOADERS, check_loader, load_files
from engine.model import Receipt
from engine.storage import open_storage
from tests.engine.running import run, write_source
from tests.engine.storage.conftest import s3, s3_server
from tests.stores import S3

__all__ = ["s3", "s3_server"]

AZURE = "abfss://lake@acc.dfs.core.windows.net/"
HTTPS = "https://acc.dfs.core.windows.net/lake/"
# Of each system whose SQL is parsed: its dialect, a folder, and how it writes that.
DIALECTS = {
    "snowflake": [
        ("snowflake", "s3://b/", "s3://b/"),
        ("snowflake", "gs://b/", "gcs://b/"),
        ("snowflake", AZURE, "azure://acc.blob.core.windows.net/lake/"),
    ],
    "synapse": [("tsql", AZURE, HTTPS)],
    "fabric": [("fabric", AZURE, HTTPS)],
    "bigquery": [("bigquery", "gs://b/", "gs://b/")],
    "duckdb": [("duckdb", "s3a://b/", "s3://b/"), ("duckdb", "/b/", "/b/")],
}
CASES = [(name, *case) for name, cases in DIALECTS.items() for case in cases]


def receipts(*names: str) -> list[Receipt]:
    return [Receipt(i, name, 5, 5 * i, 100 + i, 0, 0, "") for i, name in enumerate(names)]


def texts_of(sql: str, dialect: str) -> list[str]:
    """All literal texts of some statements, as the dialect reads them."""
    parsed = sqlglot.parse(sql, dialect=dialect)
    assert not any(isinstance(statement, exp.Command) for statement in parsed)
    return [
        literal.this
        for statement in parsed
        if statement is not None
        for literal in statement.find_all(exp.Literal, bfs=False)
        if literal.is_string
    ]


letters = st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="/\\*?[]{}`")
folders = st.text(letters | st.just("\\"), min_size=1, max_size=12)
words = st.text(letters, min_size=1, max_size=12)


@pytest.mark.parametrize(("name", "dialect", "given_root", "root"), CASES)
@given(folder=folders, names=st.lists(words, min_size=1, max_size=5, unique=True))
def test_a_statement_names_exactly_the_parts(
    name: str, dialect: str, given_root: str, root: str, folder: str, names: list[str]
):
    parts, table = receipts(*names), "data.my table"
    check_loader(name, given_root + folder, names, table)
    (text,) = load_files(name, given_root + folder, table, parts).values()
    found = texts_of(text, dialect)
    if name == "snowflake":
        assert found[0] == f"{root}{folder}/"
        assert [item for item in found if item in names] == names
    else:
        wanted = [f"{root}{folder}/{part}" for part in names]
        assert [item for item in found if item.startswith(root)] == wanted
    (statement,) = sqlglot.parse(text, dialect=dialect)
    table_found = statement.find(exp.Table) if statement else None
    assert table_found is not None
    assert (table_found.db, table_found.name) == ("data", "my table")


def test_snowflake_takes_a_thousand_names_a_statement():
    names = [f"part-{index:05d}.parquet" for index in range(2_500)]
    text = load_files("snowflake", "s3://b/p", "t", receipts(*names))["snowflake.sql"]
    statements = sqlglot.parse(text, dialect="snowflake")
    counts = [text.count(".parquet'") for text in text.split(";")[:-1]]
    assert len(statements) == 3
    assert counts == [1_000, 1_000, 500]


def test_duckdb_reads_the_rows_of_the_source(tmp_path: Path):
    source = write_source(tmp_path / "s.parquet", 9_000)
    dest = tmp_path / "it's" / "year=2024"  # a quote; and no column of the table
    done = engine.split(source, dest, parts=3, manifest="duckdb", table="main.my table")
    assert done.loads == (f"{dest}/_evensplit/load/duckdb.sql",)
    with duckdb.connect() as database:
        database.execute(Path(done.loads[0]).read_text())
        assert database.table('main."my table"').to_arrow_table() == pq.read_table(source)
    assert engine.verify(dest).num_rows == 9_000


@pytest.mark.slow
def test_spark_reads_the_rows_of_the_source(tmp_path: Path):
    from tests.witness.spark_session import spark_session

    source = write_source(tmp_path / "s.parquet", 9_000)
    done = engine.split(source, tmp_path / "a b", parts=3, manifest="spark")
    spark = spark_session().newSession()
    exec(Path(done.loads[0]).read_text(), {"spark": spark})
    rows = spark.sql("select * from `a b` order by id").toArrow()
    assert rows.to_pylist() == pq.read_table(source).to_pylist()


def test_redshift_s_manifest_tells_the_sizes_of_objects(s3: S3, tmp_path: Path):
    bucket = s3.new_bucket()
    source = write_source(tmp_path / "s.parquet", 9_000)
    done = engine.split(source, f"s3://{bucket}/out/t", parts=3, manifest="redshift")
    store, _ = open_storage(f"s3://{bucket}")
    manifest, copy = (store.get(path) for path in done.loads)
    assert manifest is not None
    assert copy is not None
    entries = json.loads(manifest)["entries"]
    assert [set(entry) for entry in entries] == [{"url", "mandatory", "meta"}] * 3
    sizes = {entry["url"]: entry["meta"]["content_length"] for entry in entries}
    assert sizes == {url: store.stat(url).size_bytes for url in sizes}
    assert list(sizes) == [f"s3://{bucket}/out/t/part-0000{index}.parquet" for index in range(3)]
    (statement,) = sqlglot.parse(copy.decode(), dialect="redshift")
    assert isinstance(statement, exp.Copy)
    assert done.loads[0] in texts_of(copy.decode(), "redshift")
    assert statement.this.name == "t"


REFUSED: list[tuple[str, str, list[str], str | None, str]] = [
    ("redshift", "/local", ["a"], None, "--manifest redshift is for s3://"),
    ("bigquery", "s3://b/x", ["a"], "d.t", "is for gs://"),
    ("synapse", "memory://b/x", ["a"], None, "is for abfss://"),
    ("bigquery", "gs://b/x", ["a"], "t", "DATASET.NAME"),
    ("bigquery", "gs://b/x", ["a"], None, "DATASET.NAME"),
    ("duckdb", "/a[b]", ["a"], None, "wildcard"),
    ("spark", "/a", ["a", "{b}"], None, "wildcard"),
    ("synapse", AZURE + "x", ["a*"], None, "wildcard"),
    ("duckdb", "/a", ["a"], "x..y", "give a name"),
    ("duckdb", "/a", ["a"], "", "give a name"),
]


@pytest.mark.parametrize(("name", "folder", "names", "table", "words"), REFUSED)
def test_what_a_system_cannot_load_is_refused(
    name: str, folder: str, names: list[str], table: str | None, words: str
):
    with pytest.raises(BadSetting, match=words):
        check_loader(name, folder, names, table)


def test_it_is_refused_before_any_work_and_gone_with_the_parts(tmp_path: Path):
    source = write_source(tmp_path / "s.parquet", 2_000)
    dest = tmp_path / "out"
    ended = run("split", source, dest, "--manifest", "redshift")
    assert ended.code == 2
    assert not dest.exists()
    assert run("split", source, dest, "--table", "t").code == 2
    ended = run("split", source, dest, "--parts", "2")
    ended = run("split", source, dest, "--parts", "2", "--manifest", "duckdb", "--json")
    load: Any = json.loads(ended.out)["loads"][0]
    assert "part-00001" in Path(load).read_text()
    run("split", source, dest, "--parts", "3", "--overwrite")
    assert not Path(load).exists()


def test_every_system_has_a_check_here():
    assert set(LOADERS) == {*DIALECTS, "redshift", "spark"}
