"""Numbers of JSON are doubles only if nothing of them is lost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import BadRow
from engine.formats.converted.digits import _LONG, _long_numbers, columns_with, lost_digits
from engine.formats.converted.records import Reader
from engine.formats.converted.sifting import sifted
from engine.model import Conversion, Dialect

doubles = st.floats(allow_nan=False, allow_infinity=False)
spelled = st.one_of(doubles.map(repr), doubles.map(lambda number: f"{number:.17g}"))
digits = st.integers(10**17, 10**25).flatmap(
    lambda number: st.integers(1, 20).map(lambda point: str(Decimal(number).scaleb(-point)))
)


runs = st.text("0123456789.", max_size=40).map(str.encode)
others = st.sampled_from([b"\n", b"-", b"e", b"E+", b"/", b"x", b'"', b" "])


@given(st.lists(runs | others).map(b"".join))
def test_long_numbers_are_those_of_the_expression(text: bytes):
    assert _long_numbers(text) == _LONG.findall(text)


def is_lost(text: bytes, words: dict[str, object]) -> bool:
    schema = pa.schema([pa.field("x", pa.float64())])
    options = pa_json.ParseOptions(explicit_schema=schema)
    table = pa_json.read_json(pa.BufferReader(text), parse_options=options)
    return lost_digits(text, table, columns_with("double", words))


@given(spelled)
def test_what_a_writer_of_doubles_spells_is_not_lost(number: str):
    assert not is_lost(b'{"x": %s}\n' % number.encode(), {"x": "double"})


@given(digits)
def test_a_number_of_more_digits_is_lost_unless_it_is_a_double(number: str):
    made = float(number)
    is_same = Decimal(number) in (Decimal(repr(made)), Decimal(f"{made:.17g}"))
    text = b'{"x": 1.5}\n{"x": %s}\n' % number.encode()
    assert is_lost(text, {"x": "double"}) == (not is_same)
    assert not is_lost(text, {})


@pytest.mark.parametrize(
    ("number", "is_none"),
    [
        ("1e-400", True),
        ("1.23456E-320", True),
        ("5e-324", False),
        ("0.0", False),
        ("0e-400", False),
    ],
)
def test_a_number_that_is_too_small_is_lost(number: str, *, is_none: bool):
    text = b'{"x": 1.5}\n{"x": %s}\n' % number.encode()
    assert is_lost(text, {"x": "double"}) == is_none


@pytest.mark.parametrize("inner", ['"1234567890.1234567890123"', "9007199254740993"])
def test_what_lies_in_other_columns_is_not_looked_at(inner: str):
    text = f'{{"x": 0.1234567890123456, "id": {inner}}}\n'.encode()
    assert not is_lost(text, {"x": "double", "id": "bigint"})


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ('{"x": NUMBER}', '{"x": "double"}'),
        ('{"x": [1.5, NUMBER]}', '{"x": ["double"]}'),
        ('{"x": {"a": NUMBER}}', '{"x": {"a": "double"}}'),
    ],
)
@pytest.mark.parametrize("number", ["0.12345678901234567891", "9007199254740993"])
def test_lost_digits_are_refused_with_their_line(tmp_path: Path, form, schema, number):
    lines = [form.replace("NUMBER", each) + "\n" for each in ("2.5", "2.5", number)]
    (tmp_path / "in.ndjson").write_text("".join(lines))
    how = {"to": "parquet", "parts": 1, "fsync": False, "verify": True}
    with pytest.raises(BadRow, match="line 3, column x"):
        engine.split(tmp_path / "in.ndjson", tmp_path / "out", **how)
    engine.split(tmp_path / "in.ndjson", tmp_path / "out", schema=schema, **how)
    assert pq.read_table(tmp_path / "out/part-00000.parquet").num_rows == 3  # taken at its word


@given(
    st.floats(3.4e38, 3.5e38) | st.integers(0, 10**39) | st.just("Infinity"),
    st.sampled_from(["", "-"]),
)
def test_a_number_is_a_real_unless_it_would_be_infinite(number: object, sign: str):
    text = f'{{"a": [{{"x": 1}}, {{"x": {sign}{number}}}], "y": 1e39}}\n'.encode()
    words = {"a": [{"x": "real"}], "y": "double"}
    reader = Reader(Dialect("ndjson"), Conversion(json.dumps(words)))
    with np.errstate(over="ignore"):
        made = np.float32(float(f"{sign}{number}"))
    found = sifted(reader, text, 1)
    if np.isfinite(made) or number == "Infinity":
        (row,) = found.table.to_pylist()
        assert row["a"][1]["x"] == made
    else:
        assert [bad.column for bad in found.bad] == ["a"]


def test_a_first_record_that_is_large_is_looked_at(tmp_path: Path):
    records = [{f"c{number}": number for number in range(9_000)}] * 3
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    how = {"to": "parquet", "parts": 1, "fsync": False}
    engine.split(tmp_path / "in.ndjson", tmp_path / "out", **how)
    assert pq.read_table(tmp_path / "out/part-00000.parquet").to_pylist() == records
