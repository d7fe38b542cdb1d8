"""Values that are read at once are those of their texts, or are not taken."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats.converted import records
from engine.formats.converted.accounted import accounts_for
from engine.formats.converted.records import Reader
from engine.formats.converted.values import Unfit
from engine.model import Conversion, Dialect

wholes = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1).map(str),
    st.integers(-20, 2_000_000).map(str),
    st.integers(0, (1 << 64) - 1).map(hex),
    st.sampled_from([8, 16, 32, 64]).map(lambda bits: hex(1 << (bits - 1))),
    st.sampled_from(
        ["0", "007", "-0", "+5", "0x10", "0xF4240", "0XFFFFFFFFFF", " 7", "7\t", "1.0"]
    ),
)
others = st.one_of(
    st.dates().map(str),
    st.sampled_from(["true", "FALSE", "tRue", "1", " 2024-12-31", "2024-12-31", "20241231"]),
    st.sampled_from(["x", "X", "0x10", "a,b", 'say "x"', "two\nlines", "\r", "é", "NULL", "\x00"]),
)
fields = st.one_of(st.none(), st.just(""), wholes, others)
words = st.sampled_from(
    ["bigint", "integer", "smallint", "tinyint", "ubigint", "date", "boolean", "varchar", "double"]
)


def record(row: list[str | None], quoted: list[bool], line_end: str) -> str:
    def field(value: str | None, *, is_quoted: bool) -> str:
        if value is None:
            return ""
        if not is_quoted and not set(value) & set(',"\r\n'):
            return value
        return '"' + value.replace('"', '""') + '"'

    found = [field(value, is_quoted=one) for value, one in zip(row, quoted, strict=True)]
    return ",".join(found) + line_end


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, list[str], int]:
    """A block of some columns, most of whose fields are of one kind; some lines are blank."""
    width = draw(st.integers(1, 4))
    kinds = [draw(st.sampled_from([wholes, others, fields])) for _ in range(width)]
    rows = draw(st.lists(st.tuples(*kinds), min_size=1, max_size=5))
    ends = st.sampled_from(["\n", "\n", "\r\n", "\n\n"])
    text = "".join(
        record(list(row), draw(st.lists(st.booleans(), min_size=width, max_size=width)), draw(ends))
        for row in rows
    )
    return text.encode(), [draw(words) for _ in range(width)], len(rows)


def read(text: bytes, conversion: Conversion, num_rows: int) -> pa.Table | None:
    try:
        return Reader(Dialect("csv", ",", '"', ""), conversion).table(text, num_rows)
    except Unfit:
        return None


nulls_said = st.sampled_from(
    [("",), ("NULL",), ("", "NULL"), ("", "0", "2024-12-31"), ("-0", "FALSE")]
)


@settings(max_examples=1500, deadline=None)
@given(blocks(), st.booleans(), nulls_said)
def test_what_is_read_at_once_is_what_its_texts_are(block, is_found: bool, nulls):
    text, types, num_rows = block
    num_rows += text.count(b"\n\n")  # the index counts blank lines
    schema = {f"c{number}": word for number, word in enumerate(types)}
    conversion = Conversion(json.dumps(schema), tuple(schema) if is_found else (), nulls)
    found = read(text, conversion, num_rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "is_sure", lambda kind: False)
        wanted = read(text, conversion, num_rows)
    assert (found is None) == (wanted is None)
    assert found is None or found.equals(wanted)


def test_a_shorter_spelling_makes_up_for_no_longer_one():
    schema = {"flag": "boolean", "id": "bigint"}
    conversion = Conversion(json.dumps(schema), tuple(schema))
    assert read(b"1,0007\n", conversion, 1) is None
    assert read(b"\n07,1\n", conversion, 2) is None


@pytest.mark.parametrize("nulls", [("",), ("NULL",), ("", "NULL")])
@pytest.mark.parametrize("types", [("bigint", "varchar"), ("varchar",) * 2, ("double",) * 2])
def test_a_blank_line_is_no_row(types: tuple[str, ...], nulls: tuple[str, ...]):
    conversion = Conversion(json.dumps({"a": types[0], "b": types[1]}), (), nulls)
    assert read(b"1,2\n\n3,4\n", conversion, 3) is None
    assert read(b"1,2\r\n\r\n", conversion, 2) is None
    assert read(b"1,2\n,\n", conversion, 2) is not None


@pytest.mark.parametrize(
    ("text", "is_sure"),
    [
        (b"1000000,x\n-25,y\n", True),
        (b'"1000000","x"\r\n"-25","y"\r\n', True),
        (b"0xF4240,x\n-25,y\n", False),  # as long as its number
        (b"01000000,x\n-25,y\n", False),
        (b"1000000,x\n -25,y\n", False),
    ],
)
def test_bytes_tell_another_spelling(text: bytes, is_sure: bool):
    numbers, texts = pa.array([1_000_000, -25]), pa.array(["x", "y"])
    assert accounts_for(text, [numbers], [texts], b'"') == is_sure


def test_most_blocks_are_read_at_once(monkeypatch: pytest.MonkeyPatch):
    """And where these cannot be, after two of them nobody tries any longer."""
    reads: list[bool] = []
    seen = Reader._read_csv

    def counted(self: Reader, text: bytes, converting: object, take: object = None) -> object:
        reads.append(converting is self._as_texts)
        return seen(self, text, converting, take)

    monkeypatch.setattr(Reader, "_read_csv", counted)
    schema = {"id": "bigint", "day": "date", "note": "varchar", "share": "double"}
    reader = Reader(Dialect("csv", ",", '"', ""), Conversion(json.dumps(schema)))
    for _ in range(5):
        reader.table(b'1,2024-12-31,"a ""x"" b",0.50\n,,,\n2,2024-12-31,,1\n', 3)
    assert reads == [False] * 5
    del reads[:]
    for _ in range(5):
        reader.table(b"007,2024-12-31,,\n", 1)
    assert reads == [False, True, False, True, True, True, True]
