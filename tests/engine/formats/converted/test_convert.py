"""Lines become Parquet: all values, in order, by the types of the columns, or nothing does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine import splitter
from engine.errors import BadRow, BadSetting, Different, EvensplitError, SchemaMismatch
from engine.formats.converted import inferred, measures
from engine.formats.converted.proof import compare
from engine.formats.lines import index
from engine.ledger.manifest import Ledger
from engine.storage import open_storage
from tests.engine.running import parts_of, three_parts

any_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=20,
    deadline=None,
    report_multiple_bugs=False,
)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some KB have many blocks."""
    monkeypatch.setattr(index, "_BLOCK_BYTES", 100)


def rows_of(dest: Path) -> list[dict[str, Any]]:
    return [row for path in parts_of(dest) for row in pq.read_table(path).to_pylist()]


def convert(tmp_path: Path, name: str, data: bytes, **options: Any) -> list[dict[str, Any]]:
    """The rows of the parts; no part may be there where a file is refused."""
    (tmp_path / name).write_bytes(data)
    how = {"parts": 1, "to": "parquet", "fsync": False, "verify": True, **options}
    try:
        engine.split(tmp_path / name, tmp_path / "out", **how)
    except EvensplitError:
        assert not parts_of(tmp_path / "out")
        raise
    return rows_of(tmp_path / "out")


# -- values ----------------------------------------------------------------------------------------

texts = st.text(alphabet='ab,;"\n\r\té€ 0', max_size=6)
records = st.fixed_dictionaries(
    {
        "id": st.integers(-(1 << 63), (1 << 63) - 1),
        "share": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "day": st.none() | st.dates(),
        "at": st.none() | st.datetimes(),
        "flag": st.booleans(),
        "code": st.sampled_from(["007", "8", "+1"]),
        "note": st.none() | texts,
    }
).map(lambda row: dict(sorted(row.items())))


def csv_of(rows: list[dict[str, Any]], line_end: str) -> bytes:
    """Unquoted and empty is null; texts are quoted."""

    def field(value: Any) -> str:
        if isinstance(value, str):
            return '"' + value.replace('"', '""') + '"'
        return "" if value is None else str(value)

    lines = [",".join(rows[0]), *(",".join(map(field, row.values())) for row in rows)]
    return "".join(line + line_end for line in lines).encode()


@pytest.mark.usefixtures("_small_blocks")
@any_folder
@given(st.lists(records, min_size=1, max_size=40), st.sampled_from(["\n", "\r\n"]), st.data())
def test_any_table_has_all_its_values(tmp_path_factory, rows, line_end: str, data):
    folder = tmp_path_factory.mktemp("csv")
    text = csv_of(rows, line_end)
    is_gzip = data.draw(st.booleans())
    found = convert(
        folder,
        "in.csv.gz" if is_gzip else "in.csv",
        gzip.compress(text) if is_gzip else text,
        header="yes",
        delimiter=",",
        parts=data.draw(st.integers(1, min(5, len(rows)))),
        row_group_size=f"{data.draw(st.integers(1, 9))}rows",
        schema="share double, day date, at timestamp, code varchar, note varchar",
    )
    assert found == rows


json_values = st.fixed_dictionaries(
    {"id": st.integers(-(1 << 63), (1 << 63) - 1)},
    optional={
        "text": st.none() | st.text(max_size=5),
        "share": st.none() | st.floats(-1e15, 1e15),
        "tags": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
        "in": st.none() | st.fixed_dictionaries({}, optional={"a": st.booleans(), "b": st.none()}),
    },
)
JSON_SCHEMA = (
    '{"text":"varchar","share":"double","tags":["varchar"],"in":{"a":"boolean","b":"text"}}'
)


@pytest.mark.usefixtures("_small_blocks")
@any_folder
@given(st.lists(json_values, min_size=1, max_size=40), st.booleans(), st.data())
def test_any_json_has_all_its_values(tmp_path_factory, rows, is_ascii: bool, data):
    folder = tmp_path_factory.mktemp("json")
    lines = (json.dumps(row, ensure_ascii=is_ascii) for row in rows)
    found = convert(
        folder,
        "in.ndjson",
        "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass"),
        parts=data.draw(st.integers(1, min(5, len(rows)))),
        schema=JSON_SCHEMA,
    )

    def whole(row: dict[str, Any]) -> dict[str, Any]:
        inner = row.get("in")
        return {
            **{key: row.get(key) for key in ("text", "share", "tags")},
            "in": None if inner is None else {key: inner.get(key) for key in "ab"},
            "id": row["id"],
        }

    assert found == list(map(whole, rows))


def write_sales(path: Path, num_rows: int) -> bytes:
    chance = random.Random(num_rows)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "price", "day", "seen", "code", "note"])
    for number in range(num_rows):
        words = [chance.choice(["abc ", "x,", "\n", '"', "é"]) for _ in range(chance.randint(1, 9))]
        writer.writerow(
            [
                number,
                round(chance.random() * 1000, 2) if number % 7 else "",
                f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
                f"2024-01-01 10:{number % 60:02}:00",
                f"{number % 1000:05}",
                "".join(words),
            ]
        )
    path.write_text(out.getvalue(), newline="")
    return out.getvalue().encode()


def test_others_read_the_same_of_the_file_and_of_the_parts(tmp_path: Path):
    write_sales(tmp_path / "in.csv", 20_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=4, verify=True)
    parts, source = str(tmp_path / "out/*.parquet"), str(tmp_path / "in.csv")
    ours = duckdb.sql(f"select * from read_parquet('{parts}')")
    others = duckdb.sql(
        f"select * from read_csv('{source}', header=true, types={{'code': 'varchar'}})"
    )
    assert list(map(str, ours.types)) == list(map(str, others.types))
    assert ours.fetchall() == others.fetchall()
    frames = [pd.read_parquet(path) for path in parts_of(tmp_path / "out")]
    dates = {"seen": "datetime64[us]"}
    wanted = pd.read_csv(source, dtype={"code": str}, parse_dates=["seen"]).astype(dates)
    found = pd.concat(frames, ignore_index=True)
    found["day"] = found["day"].astype(str)
    for frame in (found, wanted):
        for name in ("day", "code", "note"):
            frame[name] = frame[name].astype(object)
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)


# -- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target_size", [60_000, 300_000])
def test_parts_keep_the_target_and_are_equal(tmp_path: Path, target_size: int):
    write_sales(tmp_path / "in.csv", 60_000)
    how: dict[str, Any] = {"to": "parquet", "target_size": target_size, "fsync": False}
    engine.split(tmp_path / "in.csv", tmp_path / "out", **how, verify=True)
    sizes = [path.stat().st_size for path in parts_of(tmp_path / "out")]
    assert max(sizes) <= target_size
    assert max(sizes) <= 1.05 * min(sizes)
    assert len(sizes) <= 1.1 * sum(sizes) / target_size + 1
    engine.split(tmp_path / "in.csv", tmp_path / "again", **how)
    for one, other in zip(parts_of(tmp_path / "out"), parts_of(tmp_path / "again"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_parts_are_equal_where_other_records_begin(tmp_path: Path):
    chance = random.Random(1)
    words = [chance.randbytes(4).hex() for _ in range(300)]
    rows = [
        f"{number},{' '.join(chance.choices(words, k=2 if number < 84_000 else 12))}\n"
        for number in range(120_000)
    ]
    (tmp_path / "in.csv").write_text("id,note\n" + "".join(rows))
    engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=5, fsync=False)
    sizes = [path.stat().st_size for path in parts_of(tmp_path / "out")]
    assert max(sizes) <= 1.05 * min(sizes)


def test_a_part_that_came_out_too_large_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_sales(tmp_path / "in.csv", 20_000)
    sizes = measures._sizes

    def too_small(*given: Any) -> tuple[list[int], int]:
        found, tried_bytes = sizes(*given)
        return [size // 2 for size in found], tried_bytes

    monkeypatch.setattr(measures, "_sizes", too_small)
    result = engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", target_size=60_000)
    plan = Ledger(*open_storage(str(tmp_path / "out"))).plan()
    assert plan.revision > 0
    assert max(part.size_bytes for part in result.manifest.parts) <= 60_000


def tried_rows(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """The rows of what a plan makes on trial."""
    tried: list[int] = []
    made = measures.file_bytes

    def counted(table: Any, *others: Any) -> int:
        tried.append(table.num_rows)
        return made(table, *others)

    monkeypatch.setattr(measures, "file_bytes", counted)
    engine.plan(path, to="parquet", **options)
    return tried


def test_no_row_group_is_made_twice_on_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_sales(tmp_path / "in.csv", 60_000)
    monkeypatch.setattr(measures, "_TRIED_BYTES", 0)
    monkeypatch.setattr(measures, "_DIFFER_SHARE", -1)
    how: dict[str, Any] = {"parts": 2, "row_group_size": "15000rows"}
    tried = tried_rows(tmp_path / "in.csv", monkeypatch, **how)
    assert len([rows for rows in tried if rows > 10_000]) == measures._NUM_RUNS


def test_two_row_groups_are_made_where_these_tell_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All of a file of any size was made, or the same 200 MB of text."""
    write_sales(tmp_path / "in.csv", 60_000)
    how: dict[str, Any] = {"parts": 2, "row_group_size": "15000rows"}
    tried = tried_rows(tmp_path / "in.csv", monkeypatch, **how)
    assert len([rows for rows in tried if rows > 10_000]) == 2
    with (tmp_path / "in.csv").open("a") as file:
        file.writelines(
            f"{number},0.5,2024-01-01,2024-01-01 10:00:00,,{number % 900 * 7919**7}\n"
            for number in range(60_000)
        )
    del tried[:]
    tried = tried_rows(tmp_path / "in.csv", monkeypatch, **how)
    assert len([rows for rows in tried if rows > 10_000]) > 2


def test_many_columns_have_fewer_blocks_on_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each of their chunks takes time, whatever it holds."""
    write_sales(tmp_path / "in.csv", 10_000)
    monkeypatch.setattr(index, "_BLOCK_BYTES", 4_000)
    many = len(tried_rows(tmp_path / "in.csv", monkeypatch, parts=2))
    monkeypatch.setattr(measures, "_TRIED_CHUNKS", 60)  # of six columns
    few = len(tried_rows(tmp_path / "in.csv", monkeypatch, parts=2))
    assert few < 20 < measures._NUM_BLOCKS <= many


def test_settings_of_parquet_hold(tmp_path: Path):
    write_sales(tmp_path / "in.csv", 10_000)
    engine.split(
        tmp_path / "in.csv",
        tmp_path / "out",
        to="parquet",
        rows_per_part=4_000,
        row_group_size="1500rows",
        codec="snappy",
        dictionary=False,
        name="x-{index}.parquet",
    )
    found = [pq.ParquetFile(path).metadata for path in parts_of(tmp_path / "out")]
    assert [each.num_rows for each in found] == [4_000, 4_000, 2_000]
    first = [found[0].row_group(at) for at in range(found[0].num_row_groups)]
    assert [group.num_rows for group in first] == [1_500, 1_500, 1_000]
    assert first[0].column(5).compression == "SNAPPY"
    assert not first[0].column(5).has_dictionary_page
    assert found[0].metadata[b"evensplit.part"] == b"1/3"


@pytest.mark.parametrize("ending", ["\n", ""])
@pytest.mark.usefixtures("_small_blocks")
def test_several_files_are_one(tmp_path: Path, ending: str):
    for name, numbers in {"a.tsv": range(500), "b.tsv": range(500, 900)}.items():
        rows = "\n".join(f"{number}\t{number * 7}" for number in numbers)
        (tmp_path / name).write_text(f"id\tvalue\n{rows}{ending}")
    files = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    engine.split(files, tmp_path / "out", to="parquet", parts=4, verify=True)
    assert len(parts_of(tmp_path / "out")) == 4
    wanted = [{"id": number, "value": number * 7} for number in range(900)]
    assert rows_of(tmp_path / "out") == wanted


def test_a_split_that_was_stopped_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_sales(tmp_path / "in.csv", 5_000)

    with monkeypatch.context() as patch:
        patch.setattr(splitter, "run_parts", three_parts)
        with pytest.raises(KeyboardInterrupt):
            engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=7)
    stamps = [path.stat().st_mtime_ns for path in parts_of(tmp_path / "out")]
    result = engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=7)
    assert result.num_resumed == len(stamps) == 3
    assert [path.stat().st_mtime_ns for path in parts_of(tmp_path / "out")][:3] == stamps
    assert [row["id"] for row in rows_of(tmp_path / "out")] == list(range(5_000))
    parts_of(tmp_path / "out")[2].unlink()
    proof = engine.verify(tmp_path / "out", repair=True)
    assert proof.repaired == ("part-00002.parquet",)
    assert proof.num_values == 30_000


@pytest.mark.slow
def test_workers_of_a_cluster_write_the_same_parts(tmp_path: Path):
    write_sales(tmp_path / "in.csv", 5_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=5)
    how: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(2, threads_per_worker=1, **how) as cluster, Client(cluster) as client:
        dest = tmp_path / "there"
        engine.split(tmp_path / "in.csv", dest, to="parquet", parts=5, client=client)
    for one, other in zip(parts_of(tmp_path / "out"), parts_of(tmp_path / "there"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_proof_finds_a_value_that_is_another(tmp_path: Path):
    write_sales(tmp_path / "in.csv", 3_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", to="parquet", parts=3)
    ledger = Ledger(*open_storage(str(tmp_path / "out")))
    part = parts_of(tmp_path / "out")[1]
    table = pq.read_table(part)
    values = table.column("price").to_pylist()
    values[17] = 12.345
    pq.write_table(table.set_column(1, "price", pa.array(values)), part)
    store, _ = open_storage(str(part))
    files = [store.stat(str(path)) for path in parts_of(tmp_path / "out")]
    rows = [each.num_rows for each in ledger.manifest().parts]
    with pytest.raises(Different, match=r"part-00001.parquet has 12.345 in row 17 of column price"):
        compare(ledger.plan().sources, files, rows, 2, None)
    pq.write_table(table.rename_columns([*table.column_names[:5], "other"]), part)
    files[1] = store.stat(str(part))
    with pytest.raises(Different, match="another schema"):
        compare(ledger.plan().sources, files, rows, 2, None)


# -- types -----------------------------------------------------------------------------------------


def test_types_are_found_and_fixed_for_all_parts(tmp_path: Path):
    found = convert(
        tmp_path,
        "in.csv",
        b'id,zip,big,none,text\n1,01234,9223372036854775808,,a\n2,5,1,,\n3,6,2,,""\n',
        parts=3,
    )
    schemas = {str(pq.read_schema(path).remove_metadata()) for path in parts_of(tmp_path / "out")}
    assert schemas == {"id: int64\nzip: string\nbig: string\nnone: string\ntext: string"}
    assert [row["text"] for row in found] == ["a", None, ""]
    assert found[0]["zip"] == "01234"


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("value", ["x", "007", "1.5", "+5", "9223372036854775808"])
def test_a_value_that_no_sample_showed_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
):
    monkeypatch.setattr(inferred, "_NUM_PLACES", 2)
    lines = [f"{number},{number}" for number in range(1, 1_000)]
    lines[499] = f'"a",{value}'.replace('"a"', "500")
    data = ("id,value\n" + "\n".join(lines)).encode()
    with pytest.raises(BadRow) as raised:
        convert(tmp_path, "in.csv", data)
    told = str(raised.value)
    assert f"in.csv: line 501, column value: '{value}' is no bigint" in told
    assert "--schema 'value varchar'" in told
    assert "\n" not in told
    rows = convert(tmp_path, "in.csv", data, schema="value varchar", overwrite=True)
    assert rows[499] == {"id": 500, "value": value}


@pytest.mark.usefixtures("_small_blocks")
def test_a_key_that_comes_late_is_never_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inferred, "_NUM_PLACES", 2)
    lines = [json.dumps({"a": number}) for number in range(200)]
    lines[100] = '{"late": "x", "a": 100}'
    data = "\n".join(lines).encode()
    with pytest.raises(BadRow, match="line 101, column late: the schema lacks this key"):
        convert(tmp_path, "in.ndjson", data)
    rows = convert(tmp_path, "in.ndjson", data, schema="late varchar", overwrite=True)
    assert rows[99:101] == [{"late": None, "a": 99}, {"late": "x", "a": 100}]


def test_nulls_marks_and_formats_are_said(tmp_path: Path):
    found = convert(
        tmp_path,
        "in.csv",
        b'a;b;c;d\n1,5;NULL;31.12.2024;-\n"";"NULL";;"-"\n',
        decimal=",",
        nulls="NULL,-",
        timestamp_format="%d.%m.%Y",
        header="yes",
        schema="b varchar, d bigint",
    )
    day = found[0].pop("c")
    assert str(day) == "2024-12-31"
    assert found == [
        {"a": 1.5, "b": None, "d": None},
        {"a": None, "b": "NULL", "c": None, "d": None},
    ]


def test_a_file_without_header_takes_names_from_the_schema(tmp_path: Path):
    data = b"1,x\n2,y\n"
    assert convert(tmp_path, "in.csv", data, header="no")[0] == {"column0": 1, "column1": "x"}
    named = {"header": "no", "schema": "id integer, name varchar", "overwrite": True}
    assert convert(tmp_path, "in.csv", data, **named)[0] == {"id": 1, "name": "x"}
    with pytest.raises(BadSetting, match="name all 2"):
        engine.plan(tmp_path / "in.csv", to="parquet", header="no", schema="id integer")


def test_a_file_without_anything_has_the_columns_of_the_schema(tmp_path: Path):
    assert convert(tmp_path, "in.csv", b"", header="no", schema="id integer, name varchar") == []
    (part,) = parts_of(tmp_path / "out")
    assert pq.read_schema(part).names == ["id", "name"]


def test_a_header_alone_is_a_part_of_texts(tmp_path: Path):
    assert convert(tmp_path, "in.csv", b"id,name\n", header="yes") == []
    (part,) = parts_of(tmp_path / "out")
    assert pq.read_schema(part).types == [pa.string(), pa.string()]


# -- what does not fit -----------------------------------------------------------------------------

BAD_LINES = {
    b"1,2,3": "it has 3 fields, and 2 are wanted",
    b"1": "it has 1 field, and 2 are wanted",
    b"": "the line is empty",
    b"x\xff,1": "its byte 2 is no UTF-8",
    b"1,a\rb": "a carriage return in it",
}


@pytest.mark.parametrize(("line", "told"), BAD_LINES.items())
def test_records_that_are_no_rows_are_told_with_their_line(tmp_path: Path, line: bytes, told: str):
    data = b'id,name\n0,"a\nb"\n' + line + b"\n2,c\n"
    with pytest.raises(BadRow, match=f"in.csv: line 4: {told}"):
        convert(tmp_path, "in.csv", data, header="yes", delimiter=",")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"[1]", "no JSON object"),
        (b"{", "no JSON"),
        (b"", "empty"),
        (b'{"a": 1, "a": 2}', "the key a twice"),
        (b'{"a": 1} {"a": 2}', "no JSON"),
        (b'{"a": 1.5}', "column a: 1.5 is no bigint"),
        (b'{"a": "\\ud800"}', "column a: .* is no bigint"),
        (b'{"a": "\xff"}', "no UTF-8"),
    ],
)
def test_json_that_is_no_row_is_told_with_its_line(tmp_path: Path, line: bytes, told: str):
    data = b'{"a": 1}\n' + line + b'\n{"a": 2}\n'
    with pytest.raises(BadRow, match=f"in.ndjson: line 2.*{told}"):
        convert(tmp_path, "in.ndjson", data, schema="a bigint")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"a": 1e400}', "Number too big"),
        (b'{"b": {"c": 1, "c": 2}}', r"Column\(/b/c\) was specified twice"),
    ],
)
def test_json_that_python_takes_alone_is_told_why(tmp_path: Path, line: bytes, told: str):
    data = b'{"a": 1.5, "b": {"c": 1}}\n' + line + b"\n"
    with pytest.raises(BadRow, match=f"in.ndjson: line 2: no row can be made of it .{told}"):
        convert(tmp_path, "in.ndjson", data, schema='{"a": "double", "b": {"c": "double"}}')


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (b"id,id\n1,2\n", SchemaMismatch, "the name id twice"),
        (b"id,\n1,2\n", SchemaMismatch, "column 2 of its header has no name"),
        (b"\xff\xfa,b\n1,2\n", SchemaMismatch, "header is no UTF-8"),
        (b"", SchemaMismatch, "no header and no records"),
        (b"\xef\xbb\xbf", SchemaMismatch, "no header and no records"),
    ],
)
def test_headers_that_name_no_columns_are_refused(tmp_path: Path, data: bytes, error, told: str):
    with pytest.raises(error, match=told):
        convert(tmp_path, "in.csv", data, header="yes", delimiter=",")


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (b'{"a": 1}\n{"a": "x"}\n', BadRow, "numbers in some records and texts in others"),
        (b'{"a": {"b": [1]}}\n{"a": {"b": 1}}\n', BadRow, "key a.b are lists"),
        (b'{"a": 123456789012345678901}\n', BadRow, r"decimal\(38,0\)"),
        (b'{"a": 9007199254740993}\n{"a": 1.5}\n', BadRow, "9007199254740993 is no double"),
        (b'{"a": {}}\n', SchemaMismatch, "objects without keys"),
        (b"{}\n{}\n", SchemaMismatch, "no keys"),
    ],
)
def test_json_without_a_schema_is_refused(tmp_path: Path, data: bytes, error, told: str):
    with pytest.raises(error, match=told):
        convert(tmp_path, "in.ndjson", data)


@pytest.mark.usefixtures("_small_blocks")
@any_folder
@given(
    st.lists(st.one_of(st.integers(0, 99), st.sampled_from([*BAD_LINES, b"1,x"])), min_size=1),
    st.integers(1, 4),
)
def test_records_that_do_not_fit_are_left_out_and_kept(tmp_path_factory, lines, parts: int):
    folder = tmp_path_factory.mktemp("bad")
    good = [line for line in lines if isinstance(line, int)]
    texts = [line if isinstance(line, bytes) else b"%d,%d" % (line, line) for line in lines]
    data = b"id,n\n" + b"".join(text + b"\n" for text in texts)
    how = {"header": "yes", "delimiter": ",", "schema": "id bigint, n bigint", "bad_rows": "file"}
    rows = convert(folder, "in.csv", data, parts=max(1, min(parts, len(good))), **how)
    assert rows == [{"id": number, "n": number} for number in good]
    kept = (folder / "out/_evensplit/bad-rows.csv").read_bytes().decode("latin-1")
    header, *found = csv.reader(io.StringIO(kept, newline=""))
    assert header == ["file", "line", "column", "reason", "record"]
    bad = [(at + 2, text) for at, text in enumerate(texts) if isinstance(lines[at], bytes)]
    assert [(int(row[1]), row[4].encode("latin-1")) for row in found] == bad
    manifest = Ledger(*open_storage(str(folder / "out"))).manifest()
    assert manifest.num_rows == len(good)
    assert bool(manifest.lost) == bool(bad)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"schema": "a bigint", "to": None}, "types of columns with --to parquet"),
        ({"bad_rows": "skip", "to": None}, "--bad-rows is for --to parquet"),
        ({"cut": "row-group"}, "--cut row-group is for Parquet"),
        ({"row_group_size": "auto"}, "--row-group-size auto is for Parquet"),
        ({"codec": "bz2"}, "--codec bz2 is for files of lines"),
        ({"codec": "xz"}, "--codec xz is for files of lines"),
        ({"schema": "relaxed"}, "it is strict or relaxed for Parquet sources"),
        ({"name": "x-{index}.csv"}, "end it in .parquet"),
        ({"schema": "c bigint"}, "names c, which is no column; columns are a, b"),
        ({"schema": '{"a": ["bigint"]}'}, "cannot hold"),
        ({"timestamp_format": "%H:%M%z"}, "has %z"),
        ({"timestamp_format": "%d.%m. %H:%M"}, "has no year"),
        ({"decimal": "5"}, "--decimal"),
    ],
)
def test_settings_without_a_meaning_are_refused(tmp_path: Path, options, told: str):
    (tmp_path / "in.csv").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(BadSetting, match=told):
        engine.plan(tmp_path / "in.csv", **{"to": "parquet", **options})


def test_parquet_is_parquet_already(tmp_path: Path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "in.parquet")
    with pytest.raises(BadSetting, match="--to is for files of lines"):
        engine.plan(tmp_path / "in.parquet", to="parquet")
    (tmp_path / "in.ndjson").write_bytes(b'{"a": 1}\n')
    with pytest.raises(BadSetting, match="--decimal is for delimited text"):
        engine.plan(tmp_path / "in.ndjson", to="parquet", decimal=",")


def test_columns_of_folders_are_not_lost(tmp_path: Path):
    for year in (2023, 2024):
        (tmp_path / f"in/year={year}").mkdir(parents=True)
        (tmp_path / f"in/year={year}/a.csv").write_text("id,n\n1,2\n")
    engine.split(tmp_path / "in", tmp_path / "out", parts=1, to="parquet")
    assert pq.read_table(tmp_path / "out")["year"].to_pylist() == [2023, 2024]


# -- some of the columns ---------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_blocks")
@any_folder
@given(st.lists(records, min_size=2, max_size=30), st.booleans(), st.data())
def test_some_columns_have_their_values_in_the_order_of_the_file(
    tmp_path_factory, rows, is_json: bool, data
):
    folder = tmp_path_factory.mktemp("columns")
    names = data.draw(st.lists(st.sampled_from(list(rows[0])), min_size=1, unique=True))
    how: dict[str, Any] = {"columns": ",".join(names), "parts": data.draw(st.integers(1, 2))}
    if is_json:
        lines = (json.dumps(row, default=str) + "\n" for row in rows)
        schema = {"id": "bigint", "share": "double", "day": "date", "at": "timestamp"}
        how["schema"] = json.dumps({**schema, "flag": "boolean", "code": "text", "note": "text"})
        found = convert(folder, "in.ndjson", "".join(lines).encode(), **how)
    else:
        how |= {"header": "yes", "delimiter": ","}
        schema_text = "share double, day date, at timestamp, code varchar, note varchar"
        found = convert(folder, "in.csv", csv_of(rows, "\n"), schema=schema_text, **how)
        assert list(found[0]) == [name for name in rows[0] if name in names]
    assert found == [{name: row[name] for name in row if name in names} for row in rows]


def test_what_other_columns_hold_does_not_matter(tmp_path: Path):
    rows = ["id,mess,n", *(f"{n},{n if n < 30_000 else 'x'},{n}" for n in range(30_001))]
    data = "\n".join(rows).encode()
    with pytest.raises(BadRow, match="column mess"):
        convert(tmp_path, "in.csv", data, schema="mess bigint")
    found = convert(tmp_path, "in.csv", data, schema="mess bigint", columns="n,id")
    assert found == [{"id": n, "n": n} for n in range(30_001)]
    made = engine.plan(tmp_path / "in.csv", to="parquet", columns="n,id").sources[0].conversion
    assert made.sentence.startswith("as Parquet: id bigint, n bigint; types of 2 columns")


def test_names_of_columns_are_written_as_everywhere(tmp_path: Path):
    data = b'"a,b",user.id,c\n1,2,3\n'
    assert convert(tmp_path, "in.csv", data, header="yes", columns='"a,b",user.id') == [
        {"a,b": 1, "user.id": 2}
    ]
    for name, columns in (("in.csv", "d"), ("in.ndjson", "a.b")):
        text = data if name == "in.csv" else b'{"a": {"b": 1}, "c": 2}\n'
        (tmp_path / name).write_bytes(text)
        with pytest.raises(BadSetting, match="no column"):
            engine.plan(tmp_path / name, to="parquet", columns=columns)


def test_what_is_no_number_is_proved_wherever_it_lies(tmp_path: Path):
    """``NaN`` as Python and pandas write it into JSON."""
    doubles = [float("nan"), float("inf"), -0.0, 1.5, None]
    rows = [{"a": one, "b": [one, 2.5], "c": {"d": [one], "e": one}} for one in doubles]
    rows.append({"a": None, "b": None, "c": None})
    schema = json.dumps({"a": "double", "b": ["double"], "c": {"d": ["double"], "e": "double"}})
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert repr(convert(tmp_path, "in.ndjson", data, schema=schema)) == repr(rows)


# -- no delimiter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_header_alone_has_its_columns(tmp_path: Path, end: str):
    convert(tmp_path, "in.csv", f"id;name{end}".encode())
    table = pq.read_table(parts_of(tmp_path / "out")[0])
    assert (table.column_names, table.num_rows) == (["id", "name"], 0)


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("header", ["id,name\n", "# made by x\n"])
def test_records_with_delimiters_are_one_column_only_if_asked(tmp_path: Path, header, delimiter):
    data = (header + "1,a,b\n" * 50).replace(",", delimiter).encode()
    with pytest.raises(BadSetting, match=r"no delimiter was found.*give --delimiter"):
        convert(tmp_path, "in.csv", data, header="yes")
    rows = convert(tmp_path, "in.csv", data, header="yes", delimiter="\x01")
    assert rows[0].popitem()[1] == "1,a,b".replace(",", delimiter)


@settings(any_folder, max_examples=6)
@given(
    st.text('ab "\n', min_size=1, max_size=6).filter(str.strip),
    st.lists(st.text('ab "\n', max_size=6), min_size=1, max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_one_column_has_its_name_and_its_values(tmp_path_factory, name: str, values, quoting: int):
    file = io.StringIO()
    csv.writer(file, quoting=quoting, lineterminator="\n").writerows(
        [[name], *([v] for v in values)]
    )
    folder = tmp_path_factory.mktemp("column")
    schema = json.dumps({name: "varchar"})
    found = convert(folder, "in.csv", file.getvalue().encode(), header="yes", schema=schema)
    assert found == [{name: value} for value in values]


def test_one_column_of_text_may_have_delimiters_in_some_records(tmp_path: Path):
    data = b"note\n" + b"one\n" * 40 + b"one, two\n" * 20
    rows = convert(tmp_path, "in.csv", data, header="yes")
    assert rows[-1] == {"note": "one, two"}


@pytest.mark.ways(9)
@pytest.mark.parametrize("key", [r"\ud83d", r"\u0000", r"x\u0000y"])
@pytest.mark.parametrize("record", ['{"%s": 1}', '{"a": {"%s": 1}}', '{"a": [{"%s": 1}]}'])
@pytest.mark.parametrize("before", [0, 3000])
def test_what_names_no_column_is_a_bad_row(tmp_path: Path, key: str, record: str, before: int):
    good = record.replace("%s", "a")
    data = "\n".join([*[good] * before, record % key, *[good] * 3000]).encode() + b"\n"
    with pytest.raises(BadRow, match=f"line {before + 1:,}"):
        convert(tmp_path, "a.ndjson", data)
    found = convert(tmp_path, "a.ndjson", data, bad_rows="file")
    assert found == [json.loads(good)] * (before + 3000)
    kept = (tmp_path / "out/_evensplit/bad-rows.csv").read_text()
    assert (record % key).replace('"', '""') in kept


@pytest.mark.parametrize(
    "value", ['{"a":' * 61 + "1" + "}" * 61, "[" * 50 + "]" * 50, '{"a":' * 800 + "1" + "}" * 800]
)
def test_what_is_nested_more_deeply_than_readers_go_is_refused(tmp_path: Path, value: str):
    with pytest.raises(SchemaMismatch, match="nested more deeply"):
        convert(tmp_path, "a.ndjson", b'{"x": %s}\n' % value.encode())


@pytest.mark.parametrize("text", ['{"a":' * 60 + "1" + "}" * 60, "[" * 30 + "1" + "]" * 30])
def test_what_is_nested_as_deeply_as_readers_go(tmp_path: Path, text: str):
    row = {"x": json.loads(text)}
    assert convert(tmp_path, "a.ndjson", json.dumps(row).encode() + b"\n") == [row]


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("delimiter", [",", None])
def test_fields_are_as_long_as_they_like(tmp_path: Path, delimiter, *, has_header: bool):
    limit = csv.field_size_limit()
    text = "x" * (limit + 1)
    data = f'{text},"n,"\nb,2\nc,3\n'.encode()
    header = "yes" if has_header else "no"
    found = convert(tmp_path, "in.csv", data, header=header, delimiter=delimiter)
    if has_header:
        assert found == [{text: "b", "n,": 2}, {text: "c", "n,": 3}]
    else:
        assert found[0] == {"column0": text, "column1": "n,"}
    assert csv.field_size_limit() == limit


def test_names_with_nul_are_refused(tmp_path: Path):
    with pytest.raises(SchemaMismatch, match="NUL"):
        convert(tmp_path, "a.csv", b"i\0d,n\n" + b"1,2\n" * 99)
