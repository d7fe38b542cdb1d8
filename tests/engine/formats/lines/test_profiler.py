"""Profiles of lines: counts that are true, or near and called so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.cli.tables import lines
from engine.errors import BadStructure


def write(path: Path, num_rows: int, width: int = 5) -> Path:
    rows = (
        f'{n},{n / 7},2024-01-{n % 28 + 1:02},"a\n{"x" * (n % width)}"' for n in range(num_rows)
    )
    path.write_text("id,price,day,note\n" + "\n".join(rows) + "\n")
    return path


def test_columns_and_dialect_are_found(tmp_path: Path):
    (found,) = engine.profile_lines(write(tmp_path / "in.csv", 5_000))
    assert [(column.name, column.type) for column in found.columns] == [
        ("id", "bigint"),
        ("price", "double"),
        ("day", "date"),
        ("note", "varchar"),
    ]
    assert (found.dialect.delimiter, found.dialect.quote, found.has_header) == (",", '"', True)
    assert not found.is_exact
    assert found.num_records == pytest.approx(5_000, rel=0.05)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.integers(1, 3_000), st.integers(1, 2_000), st.booleans())
def test_exact_counts_are_those_of_a_split(tmp_path_factory, num_rows, width, ends):
    path = write(tmp_path_factory.mktemp("lines") / "in.csv", num_rows, width)
    text = path.read_bytes() if ends else path.read_bytes()[:-1]
    path.write_bytes(text)
    (found,) = engine.profile_lines(path, exact=True)
    assert found.is_exact
    assert found.num_records == num_rows == engine.plan(path).num_rows
    records = text.split(b"\n", 1)[1].replace(b'"a\n', b'"a ').splitlines(keepends=True)
    assert found.longest_record_bytes == max(map(len, records))


def test_records_that_grow_and_ragged_ones_stand_out(tmp_path: Path):
    rows = [f"{n},{'x' * (n // 400)}" + ",more" * (n % 1000 == 7) for n in range(60_000)]
    (tmp_path / "in.csv").write_text("\n".join(["id,text", *rows]))
    (found,) = engine.profile_lines(tmp_path / "in.csv")
    assert found.num_ragged > 0
    assert any("times as large" in sentence for sentence in found.findings)
    sizes = [stretch.bytes_per_record for stretch in found.stretches]
    assert sizes == sorted(sizes)


def test_keys_of_json_are_columns(tmp_path: Path):
    rows = [{"id": n, "a": None if n % 2 else "x", "b": [n]} for n in range(100)]
    (tmp_path / "in.ndjson").write_text("\n".join(map(json.dumps, rows)))
    (found,) = engine.profile_lines(tmp_path / "in.ndjson")
    assert [(c.name, c.type, c.null_share) for c in found.columns] == [
        ("id", "bigint", 0),
        ("a", "varchar", 0.5),
        ("b", '["bigint"]', 0),
    ]
    assert found.num_records == 100


FIELDS = ["1", "007", "1.5", "1e5", "", "NULL", "true", "2024-12-31", "x y", "9" * 20]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(st.lists(st.sampled_from(FIELDS), min_size=3, max_size=3), min_size=1, max_size=9))
def test_types_are_those_that_parquet_gets(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("types")
    (folder / "in.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    how = {"header": "no", "delimiter": ","}
    (found,) = engine.profile_lines(folder / "in.csv", **how)
    columns = ", ".join(f"{column.name} {column.type}" for column in found.columns)
    made = engine.plan(folder / "in.csv", to="parquet", **how)
    assert made.sources[0].conversion.sentence.startswith(f"as Parquet: {columns};")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2.5], "double"),
        ([1, "a"], "mixed"),
        ([{"a": 1}, {"b": None}], '{"a": "bigint", "b": "varchar"}'),
        ([{}], "mixed"),
        ([1 << 80], "mixed"),
    ],
)
def test_a_key_has_the_type_of_all_its_values(tmp_path: Path, values, kind):
    rows = [json.dumps({"id": 1, "x": value}) + "\n" for value in values]
    (tmp_path / "in.ndjson").write_text("".join(rows))
    (found,) = engine.profile_lines(tmp_path / "in.ndjson")
    assert [column.type for column in found.columns] == ["bigint", kind]


@pytest.mark.parametrize("data", [b"", b"id\n", b"id,n\n1,2"])
def test_small_files_have_a_profile(tmp_path: Path, data: bytes, capsys):
    (tmp_path / "in.csv").write_bytes(data)
    for exact in (False, True):
        (found,) = engine.profile_lines(tmp_path / "in.csv", exact=exact)
        assert found.num_records == (data == b"id,n\n1,2")
        lines([found])
        assert "in.csv" in capsys.readouterr().out
        assert "in.csv" in found._repr_html_()
        json.dumps(found.as_dict())


def test_an_open_quote_is_told_with_its_line(tmp_path: Path):
    path = write(tmp_path / "in.csv", 100)
    path.write_text(path.read_text() + '1,2,3,"\n')
    with pytest.raises(BadStructure, match="line 202: a quote is opened and never closed"):
        engine.profile_lines(path, exact=True)


def test_a_report_tells_of_lines(tmp_path: Path):
    path = write(tmp_path / "in.csv", 2_000)
    engine.split(path, tmp_path / "out", parts=3)
    for place in (path, tmp_path / "out"):
        engine.report(place, tmp_path / "page.html", verify=place != path)
        page = (tmp_path / "page.html").read_text()
        assert "delimited text" in page
        assert ("all bytes were compared" in page) == (place != path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("exact", [False, True])
def test_other_encodings_have_the_columns_of_their_text(tmp_path: Path, encoding: str, exact: bool):
    """And of a split into Parquet; sizes are those of the file."""
    text = "größe,preis,ort\n" + "".join(f"{n},{n}.5,Zürich {n % 7}\n" for n in range(9_000))
    (tmp_path / "plain.csv").write_text(text, encoding="utf-8")
    (tmp_path / "in.csv").write_text(text, encoding=encoding)
    (found,) = engine.profile_lines(tmp_path / "in.csv", exact=exact, encoding=encoding)
    (plain,) = engine.profile_lines(tmp_path / "plain.csv", exact=exact)
    assert [(each.name, each.type) for each in found.columns] == [
        ("größe", "bigint"),
        ("preis", "double"),
        ("ort", "varchar"),
    ]
    assert [each.null_share for each in found.columns] == [0, 0, 0]
    assert found.num_records == pytest.approx(plain.num_records, rel=0 if exact else 0.02)
    width = 1 if encoding == "latin-1" else 2
    longest = width * max(map(len, text.splitlines(keepends=True)[1:]))
    assert found.longest_record_bytes == longest or not exact
    plan = engine.plan(tmp_path / "in.csv", to="parquet", encoding=encoding)
    assert plan.num_rows == 9_000
