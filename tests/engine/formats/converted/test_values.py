"""Types that samples show: whatever is given one is spelled as the type writes it."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats.converted.types import arrow_type
from engine.formats.converted.values import PATTERNS, Spelling, Unfit, found_type, typed

BACK = {
    "boolean": lambda text: text.lower() in ("true", "false"),
    "bigint": lambda text: str(int(text)) == text,
    "double": lambda text: Decimal(text) == Decimal(repr(float(text))),
    "date": lambda text: date.fromisoformat(text).isoformat() == text,
    "timestamp": lambda text: bool(datetime.fromisoformat(text)),
    "timestamptz": lambda text: not datetime.fromisoformat(text).utcoffset(),
}
numbers = st.one_of(
    st.integers(-(1 << 65), 1 << 65).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.text("-+.0123456789eE ", max_size=6),
    st.sampled_from(
        ["007", "+5", "1E5", "-0", "0x10", "1e400", "1.5e400", ".5", "5.", "inf", "NaN"]
    ),
    st.sampled_from(["1.0e-400", "1.23456e-320", "5e-324", "0.0"]),
)
times = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda when: when.isoformat() + "Z"),
    st.datetimes().map(lambda when: when.isoformat() + "+02:00"),
    st.sampled_from(["2024-02-30", "2024-1-1", "20240101", "24:00", "2024-01-01 24:00"]),
)
fields = st.one_of(numbers, times, st.sampled_from(["", "true", "FALSE", "tRue", "x"]))
columns = st.one_of(*(st.lists(kind, max_size=6) for kind in (numbers, times, fields)))


def found(texts: list[str | None], **how) -> str:
    return found_type([pa.array(texts, pa.string())], Spelling(**how), arrow_type)


@settings(max_examples=600)
@given(columns)
def test_what_gets_a_type_comes_back_from_it_as_it_was(texts: list[str]):
    word = found(texts)
    values = [text for text in texts if text]
    assert not word or (values and all(map(BACK[word], values)))


@settings(max_examples=600)
@given(st.lists(numbers, min_size=1, max_size=4), st.sampled_from(["bigint", "double"]))
def test_a_value_is_taken_later_if_a_sample_of_it_would_have_been(texts: list[str], word: str):
    """The quick ways to look at numbers say what the patterns say."""
    array = pa.array(texts, pa.string())
    try:
        typed(array, word, arrow_type(word), Spelling(), is_found=True)
        is_taken = True
    except Unfit:
        is_taken = False
    fits = all(
        not text or (re.fullmatch(PATTERNS[word], text) and BACK[word](text)) for text in texts
    )
    in_range = word != "bigint" or all(
        not text or -(1 << 63) <= int(text) < 1 << 63 for text in texts if fits
    )
    assert is_taken == (fits and in_range)


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["1", "2.5"], "double"),
        (["1", "-9223372036854775808"], "bigint"),
        (["1", "9223372036854775808"], ""),
        (["0.8444218515250481"], "double"),
        (["0.123456789012345678"], ""),
        (["9007199254740993", "0.5"], ""),
        (["007", "8"], ""),
        (["1e5", "2"], ""),
        (["1e-05", "1.5E10"], "double"),
        (["2024-01-01", "2024-01-01 10:00"], "timestamp"),
        (["2024-01-01T10:00:00.5Z"], "timestamptz"),
        (["2024-01-01T10:00:00+02:00"], ""),
        ([None, ""], ""),
    ],
)
def test_the_narrowest_type_is_found(texts: list[str | None], word: str):
    assert found(texts) == word


def test_other_spellings_are_read_where_they_are_said():
    assert found(["1,5", "2"], decimal=",") == "double"
    assert found(["1.5"], decimal=",") == ""
    assert found(["1.500,5"], decimal=",") == ""
    assert found(["31.12.2024"], timestamp_format="%d.%m.%Y") == "date"
    assert found(["31.12.2024 10:11"], timestamp_format="%d.%m.%Y %H:%M") == "timestamp"
    assert found(["32.12.2024 10:11"], timestamp_format="%d.%m.%Y %H:%M") == ""
    how = Spelling(timestamp_format="%d.%m.%Y")
    days = typed(pa.array(["01.02.2024"]), "date", pa.date32(), how, is_found=True)
    assert days.to_pylist() == [date(2024, 2, 1)]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("integer", "2147483648"),
        ("integer", "0x10"),
        ("integer", "1.0"),
        ("double", "1e400"),
        ("decimal(4,2)", "1.234"),
        ("decimal(4,2)", "123.45"),
        ("timestamp", "2024-01-01 00:00:00.1234567"),
        ("timestamp", "2024-01-01 00:00:00Z"),
        ("date", "2024-01-01 00:00"),
    ],
)
def test_a_type_that_was_given_loses_nothing_either(word: str, text: str):
    with pytest.raises(Unfit):
        typed(pa.array([text]), word, arrow_type(word), Spelling(), is_found=False)


def test_a_type_that_was_given_takes_leading_zeros():
    array = typed(pa.array(["007", None, ""]), "bigint", pa.int64(), Spelling(), is_found=False)
    assert array.to_pylist() == [7, None, None]
