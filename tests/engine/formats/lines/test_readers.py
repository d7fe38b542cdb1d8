"""Files of five writers, cut anywhere: five readers find in the parts what is in the source."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json

import engine

Rows = list[tuple[str | None, ...]]
MARK = b"\xef\xbb\xbf"
_DUCKDB = "header=true, all_varchar=true, delim=',', quote='\"', escape='\"', auto_detect=true"


def by_csv(path: Path, rows: list[tuple[str, str]], line_end: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator=line_end).writerows([("a", "b"), *rows])


def by_pandas(path: Path, rows: list[tuple[str, str]], line_end: str) -> None:
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, index=False, lineterminator=line_end)


def by_polars(path: Path, rows: list[tuple[str, str]], line_end: str) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    frame.write_csv(path, line_terminator=line_end)


def by_duckdb(path: Path, rows: list[tuple[str, str]], line_end: str) -> None:
    table = pa.table({"a": [one for one, _ in rows], "b": [two for _, two in rows]})
    duckdb.from_arrow(table).write_csv(str(path), header=True)


def by_arrow(path: Path, rows: list[tuple[str, str]], line_end: str) -> None:
    table = pa.table({"a": [one for one, _ in rows], "b": [two for _, two in rows]})
    arrow_csv.write_csv(table, path)


def in_csv(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def in_pandas(path: Path) -> Rows:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return list(frame.itertuples(index=False, name=None))


def in_polars(path: Path) -> Rows:
    return pl.read_csv(path, infer_schema=False).rows()


def in_duckdb(path: Path) -> Rows:
    return duckdb.sql(f"from read_csv('{path}', {_DUCKDB})").fetchall()


def in_arrow(path: Path) -> Rows:
    how = arrow_csv.ParseOptions(newlines_in_values=True)
    types = arrow_csv.ConvertOptions(column_types={"a": pa.string(), "b": pa.string()})
    table = arrow_csv.read_csv(path, parse_options=how, convert_options=types)
    return list(zip(*table.to_pydict().values(), strict=True))


READERS = [in_csv, in_pandas, in_polars, in_duckdb, in_arrow]
# Letters first, so that no reader takes a record for a blank line or a field for a null.
texts = st.lists(st.sampled_from(["a", ",", '"', "\n", "\r\n", "é€", " ", ";"]), max_size=6)
cells = texts.map(lambda some: "x" + "".join(some))
tables = st.lists(st.tuples(cells, cells), min_size=6, max_size=60)


@pytest.mark.parametrize("write", [by_csv, by_pandas, by_polars, by_duckdb, by_arrow])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(
    rows=tables,
    line_end=st.sampled_from(["\n", "\r\n"]),
    has_mark=st.booleans(),
    parts=st.integers(2, 6),
)
def test_parts_are_read_as_the_source_is(
    tmp_path_factory, write: Callable[..., None], rows, line_end, has_mark, parts
):
    folder = tmp_path_factory.mktemp("lines")
    source = folder / "in.csv"
    write(source, rows, line_end)
    data = MARK * has_mark + source.read_bytes()
    source.write_bytes(data)
    engine.split(source, folder / "out", parts=parts, header="yes", delimiter=",", fsync=False)
    files = sorted((folder / "out").glob("part-*.csv"))
    for read in READERS:
        found = [row for file in files for row in read(file)]
        assert found == read(source) == rows, read.__name__
    header = data.removeprefix(MARK).splitlines(keepends=True)[0]
    first, *others = (file.read_bytes() for file in files)
    assert first + b"".join(part.removeprefix(header) for part in others) == data


objects = st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=8), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(rows=st.lists(objects, min_size=6, max_size=60), parts=st.integers(2, 6))
def test_json_is_read_as_the_source_is(tmp_path_factory, rows, parts):
    folder = tmp_path_factory.mktemp("lines")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "in.ndjson").write_text(text)
    engine.split(folder / "in.ndjson", folder / "out", parts=parts, fsync=False)
    files = sorted((folder / "out").glob("part-*.ndjson"))
    assert "".join(file.read_text() for file in files) == text
    columns = "columns={'a': 'VARCHAR', 'b': 'VARCHAR'}, format='newline_delimited'"
    schema = pa.schema({"a": pa.string(), "b": pa.string()})
    how = arrow_json.ParseOptions(explicit_schema=schema)
    expected = [{"a": row.get("a"), "b": row.get("b")} for row in rows]
    by_reader = {
        "duckdb": lambda file: [
            {"a": a, "b": b}
            for a, b in duckdb.sql(f"from read_json('{file}', {columns})").fetchall()
        ],
        "polars": lambda file: pl.read_ndjson(
            file, schema={"a": pl.String, "b": pl.String}
        ).to_dicts(),
        "arrow": lambda file: arrow_json.read_json(file, parse_options=how).to_pylist(),
    }
    for name, read in by_reader.items():
        assert [row for file in files for row in read(file)] == expected, name
