"""Files by which other systems load parts: run by DuckDB and Spark, parsed as the others' SQL."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import expressions as exp

import engine
from engine.errors import BadSetting
from engine.loader_forms import READERS, Form
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
PARQUET = Form()
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
    loader = LOADERS[name]
    if (set(folder) | set("".join(names))) & set(loader.wildcards) or (
        set("".join(names)) & set(loader.not_in_names)
    ):
        with pytest.raises(BadSetting, match="something else than a name"):
            check_loader(name, given_root + folder, names, table, PARQUET)
        return
    check_loader(name, given_root + folder, names, table, PARQUET)
    (text,) = load_files(name, given_root + folder, table, parts, PARQUET).values()
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
    text = load_files("snowflake", "s3://b/p", "t", receipts(*names), PARQUET)["snowflake.sql"]
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
    ("fabric", AZURE + "50%25", ["a"], None, "something else"),
    ("redshift", "s3://b/a\\b", ["a"], None, "something else"),
    ("duckdb", "/a", ["a"], "x..y", "give a name"),
    ("duckdb", "/a", ["a"], "", "give a name"),
    ("duckdb", "/a", ["k=1/a", "k=x=y/a"], None, "does not read the folder k=x=y"),
    ("duckdb", "/a", ["y=1/%6B=1/a"], None, "does not read the folder %6B=1"),
    ("spark", "/a", ["k=1/a", "k=/a"], None, "does not read the folder k= as"),
]


@pytest.mark.parametrize(("name", "folder", "names", "table", "words"), REFUSED)
def test_what_a_system_cannot_load_is_refused(
    name: str, folder: str, names: list[str], table: str | None, words: str
):
    with pytest.raises(BadSetting, match=words):
        check_loader(name, folder, names, table, PARQUET)


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


# -- parts of lines --------------------------------------------------------------------------------

CSV = Form("CSV", ",", '"', has_header=True, line_ends=frozenset(["\n"]))
PLACES = {name: root for name, root, *_ in ((it, *cases[0][1:]) for it, cases in DIALECTS.items())}
PLACES |= {"redshift": "s3://b/", "spark": "/b/"}
# Of each system the words by which it is told what it would take otherwise.
TOLD: list[tuple[str, Form, list[str]]] = [
    ("redshift", CSV, ["DELIMITER AS ','", "CSV QUOTE AS '\"'", "IGNOREHEADER AS 1"]),
    ("redshift", CSV._replace(quote="", delimiter="\x01", codec="zstd"), [r"'\001'", "ZSTD"]),
    ("redshift", Form("NDJSON", codec="gzip"), ["JSON 'auto ignorecase'", "GZIP"]),
    ("snowflake", CSV, ["ESCAPE_UNENCLOSED_FIELD = NONE", "PARSE_HEADER = TRUE", "NULL_IF = ()"]),
    ("snowflake", CSV._replace(delimiter="\t", escape="\\"), [r"= '\x09'", r"ESCAPE = '\\'"]),
    ("snowflake", Form("NDJSON", codec="zstd"), ["TYPE = JSON COMPRESSION = ZSTD"]),
    ("bigquery", CSV, ["'CSV'", "quote = '\"'", "skip_leading_rows = 1", "newlines = true"]),
    ("bigquery", CSV._replace(has_header=False, quote=""), ["quote = ''", "rows = 0"]),
    ("bigquery", Form("NDJSON"), ["NEWLINE_DELIMITED_JSON"]),
    ("synapse", CSV, ["ROWTERMINATOR = '0x0A'", "FIRSTROW = 2", "FIELDQUOTE = '\"'"]),
    ("fabric", CSV._replace(delimiter="\x01", codec="gzip"), ["= '0x01'", "= 'Gzip'"]),
]


@pytest.mark.parametrize(("name", "form", "words"), TOLD)
def test_systems_are_told_what_parts_are(name: str, form: Form, words: list[str]):
    place, part = PLACES[name] + "x", "a.csv.gz" if form.codec else "a.csv"
    check_loader(name, place, [part], "d.t", form)
    text = list(load_files(name, place, "d.t", receipts(part), form).values())[-1]
    assert "PARQUET" not in text
    assert all(word in text for word in words), text
    dialect = {"synapse": "tsql"}.get(name, name)
    assert not any(isinstance(it, exp.Command) for it in sqlglot.parse(text, dialect=dialect))


def test_crlf_is_what_transact_sql_takes_by_itself():
    form = CSV._replace(line_ends=frozenset(["\r\n"]))
    (text,) = load_files("fabric", AZURE + "x", "t", receipts("a.csv"), form).values()
    assert "ROWTERMINATOR" not in text


NOT_READ: list[tuple[str, Form, str]] = [
    ("synapse", Form("NDJSON"), "loads no NDJSON"),
    ("fabric", CSV._replace(quote=""), "for a quote"),
    ("fabric", CSV._replace(escape="\\"), "no escape"),
    ("redshift", CSV._replace(escape="\\"), "no escape"),
    ("snowflake", CSV._replace(quote="|"), "takes no | for a quote"),
    ("bigquery", CSV._replace(escape="\\"), "no escape"),
    ("synapse", CSV._replace(line_ends=frozenset(["\n", "\r\n"])), "one line end"),
    ("redshift", CSV._replace(has_mark=True, has_header=False), "byte order mark"),
    ("redshift", Form("NDJSON", codec="lz4"), "--codec gzip or bz2 or zstd or none"),
    ("spark", Form("NDJSON", codec="gzip"), "by the end of its name"),
    *((name, CSV._replace(codec="xz"), "reads no xz") for name in READERS if name != "spark"),
]


@pytest.mark.parametrize(("name", "form", "words"), NOT_READ)
def test_what_a_system_would_read_otherwise_is_refused(name: str, form: Form, words: str):
    ending = ".xz" if form.codec == "xz" else ""
    with pytest.raises(BadSetting, match=words):
        check_loader(name, PLACES[name] + "x", [f"a.csv{ending}"], "d.t", form)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
fields = texts | st.sampled_from(["", "007", "\\N", 'a"b', "NULL", "\r\n", " x ", "#", "1e5", "\\"])


def csv_of(names: list[str], rows: list[list[str | None]], quote: str, delimiter: str) -> str:
    """Return CSV in which null is nothing at all, and all else is quoted."""

    def written(text: str | None) -> str:
        return "" if text is None else f"{quote}{text.replace(quote, quote * 2)}{quote}"

    records = [names, *rows] if names else rows
    return "".join(f"{delimiter.join(map(written, record))}\n" for record in records)


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(fields, fields | st.none()), min_size=2, max_size=8),
    quote=st.sampled_from("\"'"),
    delimiter=st.sampled_from(",\t;\x01"),
    is_gzip=st.booleans(),
    header=st.booleans(),
)
def test_duckdb_reads_the_fields_of_any_csv(
    rows: list[tuple[str, str | None]],
    quote: str,
    delimiter: str,
    is_gzip: bool,
    header: bool,
    tmp_path_factory: pytest.TempPathFactory,
):
    root = tmp_path_factory.mktemp("csv")
    codec, ends = "gzip" if is_gzip else "", frozenset(["\n"])
    form = Form("CSV", delimiter, quote, has_header=header, codec=codec, line_ends=ends)
    for name, part in (("a", rows[:1]), ("b", rows[1:])):
        names = ["one", "two"] if header else []
        text = csv_of(names, [list(row) for row in part], quote, delimiter).encode()
        (root / name).write_bytes(gzip.compress(text) if is_gzip else text)
    (sql,) = load_files("duckdb", str(root), "t", receipts("a", "b"), form).values()
    with duckdb.connect() as database:
        database.execute(sql)
        found = database.table("t")
        assert found.columns == (["one", "two"] if header else ["column0", "column1"])
        assert found.fetchall() == rows


def test_duckdb_reads_unquoted_fields_as_they_lie(tmp_path: Path):
    (tmp_path / "s.csv").write_bytes(b'a\tb\n"x\t\'y"\n#1\t\\N\n')
    how: dict[str, Any] = {"quote": "none", "delimiter": "\t", "header": "yes", "parts": 2}
    done = engine.split(tmp_path / "s.csv", tmp_path / "out", manifest="duckdb", table="t", **how)
    with duckdb.connect() as database:
        database.execute(Path(done.loads[0]).read_text())
        assert database.table("t").fetchall() == [('"x', "'y\""), ("#1", "\\N")]


def test_duckdb_sees_keys_that_come_late(tmp_path: Path):
    lines = ['{"a": 1}\n'] * 30_000 + ['{"a": 2, "b": "x"}\n']
    (tmp_path / "s.ndjson").write_text("".join(lines))
    done = engine.split(
        tmp_path / "s.ndjson", tmp_path / "out", parts=2, manifest="duckdb", table="t", codec="gzip"
    )
    with duckdb.connect() as database:
        database.execute(Path(done.loads[0]).read_text())
        assert database.sql("SELECT count(*), count(b), sum(a) FROM t").fetchall() == [
            (30_001, 1, 30_002)
        ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_duckdb_reads_values_of_folders_by_types_that_lose_none(ending: str, tmp_path: Path):
    for number, folder in enumerate(("day=2024-01-02/k=01", "day=2024-01-03/k=a%2Fb")):
        place = tmp_path / "in" / folder
        place.mkdir(parents=True)
        table = pa.table({"x": [str(number)]})
        if ending == "csv":
            (place / "s.csv").write_text(f"x\n{number}\n")
        else:
            pq.write_table(table, place / "s.parquet")
    how: dict[str, Any] = {"header": "yes"} if ending == "csv" else {}
    done = engine.split(
        tmp_path / "in", tmp_path / "out", parts=1, manifest="duckdb", table="t", **how
    )
    with duckdb.connect() as database:
        database.execute(Path(done.loads[0]).read_text())
        assert database.sql("SELECT x, day, k FROM t ORDER BY x").fetchall() == [
            ("0", datetime.date(2024, 1, 2), "01"),
            ("1", datetime.date(2024, 1, 3), "a/b"),
        ]


OWN = {
    "csv": 'x,"K"\n1,7\n',
    "ndjson": '{"x":1}\n{"x":2,"k":7}\n',
    "gz": "x,k\n1,7\n",
    "parquet": "",
}


@pytest.mark.parametrize("to", [None, "parquet"])
@pytest.mark.parametrize("name", ["duckdb", "spark"])
@pytest.mark.parametrize("ending", OWN)
def test_columns_that_files_and_folders_have_are_refused(
    ending: str, name: str, to: str | None, tmp_path: Path
):
    how: dict[str, Any] = {"to": to} if to and ending != "parquet" else {}
    for folder in ("k=1", "k=2"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        file = tmp_path / "in" / folder / f"a.{'csv.gz' if ending == 'gz' else ending}"
        if ending == "parquet":
            pq.write_table(pa.table({"x": [1], "K": [7]}), file)
        else:
            text = OWN[ending].encode()
            file.write_bytes(gzip.compress(text) if ending == "gz" else text)
    with pytest.raises(BadSetting, match="the column k from the names of folders"):
        engine.split(tmp_path / "in", tmp_path / "out", parts=1, manifest=name, **how)
    assert not (tmp_path / "out").exists()
    engine.split(tmp_path / "in", tmp_path / "out", parts=1, **how)


def test_spark_takes_no_colon_in_the_name_of_a_file():
    for names in (["a:b.parquet"], ["k=1/a:b.parquet", "k=2/c.parquet"]):
        with pytest.raises(BadSetting, match="holds :"):
            check_loader("spark", "/d", names, None, PARQUET)
    check_loader("spark", "/d:e", ["t=10:00/a.parquet"], None, PARQUET)


@pytest.mark.slow
def test_spark_reads_the_fields_of_csv_and_ndjson(tmp_path: Path):
    from tests.witness.spark_session import spark_session

    spark = spark_session().newSession()
    rows: list[list[str | None]] = [
        ["007", 'a"b'],
        ["", None],
        ["x\r\ny", "\\N"],
        [" p ", "\\"],
        ['"', "#"],
        ["NULL", "é,;"],
    ]
    odd = ["it's", "50%25 #1", "é b", "p=1,2"]
    for number, delimiter in enumerate(",\t;\x01"):
        source = tmp_path / f"{number}.csv"
        source.write_bytes(
            csv_of(
                ["id", "one", "two"],
                [[str(at), *row] for at, row in enumerate(rows)],
                '"',
                delimiter,
            ).encode()
        )
        done = engine.split(
            source,
            tmp_path / odd[number],
            parts=3,
            manifest="spark",
            table=f"t{number}",
            delimiter=delimiter,
            header="yes",
            codec=("gzip", "none")[number % 2],
        )
        exec(Path(done.loads[0]).read_text(), {"spark": spark})
        found = spark.sql(f"select * from t{number} order by id").toArrow().to_pylist()
        assert [[it["one"], it["two"]] for it in found] == rows
    (tmp_path / "s.ndjson").write_text('{"a": 1}\n{"a": 2, "b": "x"}\n')
    done = engine.split(tmp_path / "s.ndjson", tmp_path / "n", parts=2, manifest="spark", table="n")
    exec(Path(done.loads[0]).read_text(), {"spark": spark})
    found = spark.sql("select * from n order by a").toArrow().to_pylist()
    assert found == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_every_system_has_a_check_here():
    assert set(LOADERS) == {*DIALECTS, "redshift", "spark"} == set(READERS)
