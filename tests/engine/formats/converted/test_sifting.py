"""Records that are no rows are those, and all those, that are none by themselves."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.converted.records import Reader
from engine.formats.converted.sifting import sifted
from engine.formats.converted.types import arrow_type
from engine.formats.converted.values import PATTERNS, Spelling, Unfit, fitting, typed
from engine.formats.lines.scan import FRESH, marks_of, plain, record_ends
from engine.model import Conversion, Dialect

WORDS = (
    *PATTERNS,
    *("tinyint", "integer", "utinyint", "ubigint", "real", "timestamp(3)", "timestamp(9)"),
    *("timestamptz(3)", "decimal(4,2)", "decimal(38,0)", "varchar"),
)
NUMBERS = (
    *("0", "-0", "7", "007", "+5", "1.5", "1,5", "1.500,5", "1E5", "1e-05", "1e400", "inf", "NaN"),
    *("0x10", "300", "-129", "3000000000", "9223372036854775808", "18446744073709551616"),
    *("0" * 30 + "1", "1.234", "123.45", "0.8444218515250481", "0.123456789012345678", ".5", "5."),
    *("9007199254740993", " 5", "5 ", "1_0", "-", "nan(1)", "-Infinity", "true", "tRue", "False"),
)
TIMES = (
    *("2024-01-01", "2024-02-30", "2024-1-1", "20240101", "2024-01-01T10", "31.12.2024"),
    *("31.02.2024", "31.12.2024 10:11", "2024-01-01 10:11:12.1234567", "2024-01-01T10:00Z"),
    *("2024-01-01 10:00+02:00", "2024-01-01 25:00", "0001-01-01 00:00"),
)
ODD = ("", "x", '""', "NULL", '"NULL"', '"1"', '"a\nb"', '"a\rb"', '"a,b"', '"a""b"', "é", "\xa0")
fields = st.one_of(*map(st.sampled_from, (NUMBERS, TIMES, ODD))) | st.text("\\\r0.,;x", max_size=4)
INSIDE = (b"", b"", b"", b"\xff", b"\xc3\\\xa9", b"\r", b"\0", b"\xef\xbb\xbf")
LINE_ENDS = (b"\n", b"\n", b"\r\n", b"\r\r\n")


@st.composite
def delimited(draw: Any) -> tuple[Dialect, Conversion, bytes]:
    """A dialect, a schema, and records of which few are different."""
    words = {f"c{at}": draw(st.sampled_from(WORDS)) for at in range(draw(st.integers(1, 3)))}
    found = tuple(name for name in words if words[name] in PATTERNS and draw(st.booleans()))
    conversion = Conversion(
        json.dumps(words),
        found,
        draw(st.sampled_from([("",), ("", "NULL"), ()])),
        draw(st.sampled_from([".", ","])),
        draw(st.sampled_from(["", "", "%d.%m.%Y", "%d.%m.%Y %H:%M"])),
        "skip",
    )
    dialect = Dialect("csv", ";", draw(st.sampled_from('""') | st.just("")), draw(ESCAPES))

    def record() -> bytes:
        width = draw(st.just(len(words)) | st.integers(0, 4))
        text = ";".join(draw(fields) for _ in range(width)).encode()
        return (
            text[:1] + draw(st.sampled_from(INSIDE)) + text[1:] + draw(st.sampled_from(LINE_ENDS))
        )

    kinds = [record() for _ in range(draw(st.integers(1, 4)))]
    text = b"".join(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=12)))
    return dialect, conversion, text[: len(text) - draw(st.integers(0, 1))]


ESCAPES = st.sampled_from(["", "", "\\"])
JSON_WORDS = st.sampled_from(WORDS) | st.sampled_from(
    [["varchar"], ["bigint"], ["date"], ["double"], {"a": "bigint"}, {"a": "double"}, {"a": "date"}]
)
JSON_VALUES = (
    *("1", "-0", "1.5", "1e5", "01", ".5", "300", "-1", "9223372036854775808", "1e400", "NaN"),
    *("Infinity", "Inf", "9007199254740993", "1e300", "1" * 50, "1" * 5000, "1.234", '"1.5"'),
    *('"x"', '""', '"a\tb"', r'"\ud800"', r'"\u0000"', r'"\x"', '"}null"', '"} null"', '"é"'),
    *("null", "true", "{}", "[]", "[1]", '["a", null]', '["2024-01-01"]', '["x"]', '{"a": 1}'),
    *('{"a": null}', '{"a": 1, "a": 2}', '{"z": 1}', '{"a": 9007199254740993}'),
    *('"2024-01-01"', '"2024-02-30"', '"2024-01-01T10:00Z"', '"2024-01-01 10:00"'),
)
JSON_RECORDS = (
    *(b"", b"  ", b"null", b"[1]", b"1", b'{"a": 1} {"a": 2}', b'{"a": 1}null', b"{", b"{}", b"}"),
    *(b'{"": 1}', b'{"a": "\xff"}', b"{}\0", b"\0", b"\x0c{}", b"\xef\xbb\xbf{}", b"\xc2\xa0"),
    *(b"\xef\xbb\xbfnull", b" null ", b'{"a": null} null'),
)


@st.composite
def json_lines(draw: Any) -> tuple[Dialect, Conversion, bytes]:
    """A schema, and records of which few are different."""
    words = {name: draw(JSON_WORDS) for name in "abc"[: draw(st.integers(1, 3))]}

    def record() -> bytes:
        if not draw(st.integers(0, 7)):
            return draw(st.sampled_from(JSON_RECORDS))
        names = draw(st.lists(st.sampled_from("aabbccz"), max_size=3))
        pairs = [f'"{name}": {draw(st.sampled_from(JSON_VALUES))}' for name in names]
        return ("{" + ", ".join(pairs) + "}").encode()

    kinds = [record() for _ in range(draw(st.integers(1, 4)))]
    records = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=12))
    ends = [draw(st.sampled_from([b"\n", b"\r\n"])) for _ in records]
    text = b"".join(record + end for record, end in zip(records, ends, strict=True))
    return Dialect("ndjson"), Conversion(json.dumps(words), bad_rows="skip"), text


def is_closed(dialect: Dialect, text: bytes) -> bool:
    """Whether the index takes a text."""
    marks = marks_of(dialect)
    return not marks.is_open(record_ends(plain(text, b"", marks), FRESH, b"", marks).state)


@settings(max_examples=600, deadline=None)
@given(delimited() | json_lines())
def test_records_that_are_no_rows_are_those_that_are_none_alone(case):
    dialect, conversion, text = case
    reader = Reader(dialect, conversion)
    try:
        bounds = list(pairwise(reader.bounds(text)))
    except BadStructure:
        assume(False)
    assume(is_closed(dialect, text))
    rows, bad = [reader.schema.empty_table()], []
    for start, stop in bounds:
        try:
            rows.append(reader.table(text[start:stop], 1))
        except Unfit:
            bad.append((start, stop - start))
    found = sifted(reader, text, -1)  # so that it is not taken whole
    told = list(found.bad)
    assert [(one.offset, one.length) for one in told] == bad
    assert found.num_bad == len(bad)
    assert all(one.reason for one in told)
    wanted = pa.concat_tables(rows)
    assert found.table.schema == wanted.schema
    assert repr(found.table.to_pylist()) == repr(wanted.to_pylist())  # NaN is none


@pytest.mark.parametrize("word", WORDS[:-1])  # of text no field is none
@pytest.mark.parametrize("form", ["", "%d.%m.%Y", "%d.%m.%Y %H:%M"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_each_field_fits_as_it_does_alone(word: str, form: str, decimal: str):
    texts = pa.array(["007" if text == '""' else text for text in (*NUMBERS, *TIMES, *ODD)])
    spelling = Spelling(("NULL",), decimal, form)
    for is_found in {False, word in PATTERNS}:
        kind = arrow_type(word)
        check = partial(typed, word=word, kind=kind, spelling=spelling, is_found=is_found)
        found = fitting(texts, check, kind, word, spelling, is_found=is_found)
        alone = []
        for at in range(len(texts)):
            try:
                alone.append(bool(len(check(texts.slice(at, 1)))))
            except Unfit:
                alone.append(False)
        assert found.to_pylist() == alone


@pytest.mark.parametrize("line", [b"null", b" null", b"\xef\xbb\xbfnull", b'{"a": 1} null'])
def test_null_is_no_record(line: bytes):
    """Of pyarrow, by which the process would end where a block begins so."""
    reader = Reader(Dialect("ndjson"), Conversion('{"a": "bigint"}'))
    for text in (line + b"\n", line + b'\n{"a": 1}\n', b'{"a": 1}\n' + line + b"\n"):
        found = sifted(reader, text, text.count(b"\n"))
        (bad,) = found.bad
        assert text[bad.offset : bad.offset + bad.length] == line + b"\n"
        assert "JSON" in bad.reason
        assert found.table.num_rows == text.count(b"\n") - 1
    text = b'{"a": null, "b": "}null"}\n'
    reader = Reader(Dialect("ndjson"), Conversion('{"a": "bigint", "b": "varchar"}'))
    assert reader.table(text, 1).to_pylist() == [{"a": None, "b": "}null"}]


NUM_RECORDS = 4_000
MANY = {
    "csv, no numbers": ("csv", "a bigint", "x{0},1"),
    "csv, fields": ("csv", "a bigint", "{0}"),
    "csv, the same": ("csv", "a bigint", "2024-02-30,1"),
    "ndjson, no numbers": ("ndjson", "a bigint", '{{"a": "x{0}"}}'),
    "ndjson, no JSON": ("ndjson", "a bigint", "{{{0}"),
}


@pytest.mark.parametrize(("kind", "schema", "line"), MANY.values(), ids=MANY)
def test_what_is_read_does_not_grow_with_the_records_that_are_none(
    monkeypatch: pytest.MonkeyPatch, kind: str, schema: str, line: str
):
    words = {"a": schema.split()[1]} | ({"b": "bigint"} if kind == "csv" else {})
    reader = Reader(Dialect(kind, ",", '"'), Conversion(json.dumps(words), ("a",)))
    calls = 0

    def counted(method: Any) -> Any:
        def call(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            return method(*given)

        return call

    for name in ("texts", "typed", "raw"):
        monkeypatch.setattr(reader, name, counted(getattr(reader, name)))
    text = "".join(line.format(number) + "\n" for number in range(NUM_RECORDS)).encode()
    found = sifted(reader, text, NUM_RECORDS)
    assert found.num_bad == NUM_RECORDS == len(list(found.bad))
    assert calls < 20
