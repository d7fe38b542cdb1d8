"""Values of folders as columns: of which type, and that no text is lost by it."""

from __future__ import annotations

import datetime
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadSetting, NotPlainFolder
from engine.partition_values import NULL, Kind, constants_of

TEXTS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-9, 9).map(str),
    st.sampled_from(["01", "-0", "+1", "", " 1", "1_0", "٣", "1e3", "true", NULL, "2024-1-2"]),
    st.dates().map(str),
    st.text(max_size=5).filter(lambda text: text != NULL),
)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_type_gives_every_text_back(texts: list[str]):
    folders = [f"k={text if text == NULL else quote(text, safe='')}" for text in texts]
    found = [constants[0] for constants in constants_of(folders)]
    assert [NULL if it.value is None else it.value for it in found] == texts
    (kind,) = {it.kind for it in found}
    for value in (it.value for it in found if it.value is not None):
        if kind in ("int32", "int64"):
            assert str(int(value)) == value
            assert -(2 ** (int(kind[3:]) - 1)) <= int(value) < 2 ** (int(kind[3:]) - 1)
        if kind == "date":
            assert datetime.date.fromisoformat(value).isoformat() == value


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2"], "int32"),
        (["1", "01"], "string"),
        (["01", "02"], "string"),
        (["1", NULL], "int32"),
        ([NULL], "string"),
        (["1", str(2**31)], "int64"),
        (["1", str(2**63)], "string"),
        (["-2147483648"], "int32"),
        (["2024-01-31", "2024-02-01"], "date"),
        (["2024-01-31", "20240201"], "string"),
        (["2024-02-30"], "string"),
        (["a", "1"], "string"),
    ],
)
def test_types(texts: list[str], kind: str):
    assert {constants[0].kind for constants in constants_of([f"k={it}" for it in texts])} == {kind}


def test_names_and_values_are_decoded():
    (constants,) = constants_of(["my%20col=a%2Fb%3D+c/year=2024"])
    assert [(it.name, it.value) for it in constants] == [("my col", "a/b=+c"), ("year", "2024")]


@pytest.mark.parametrize("folder", ["k=%FF", "%C3=1"])
def test_what_is_no_text_is_refused(folder: str):
    with pytest.raises(NotPlainFolder, match="UTF-8"):
        constants_of([folder])


def test_a_column_twice_is_refused():
    with pytest.raises(NotPlainFolder, match="twice"):
        constants_of(["a%20=1/a =2"])


def meant(text: str, kind: Kind) -> object:
    """Return what a text means as a type, by Python's own reading of plain spellings; else None."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if kind == "string":
        return text
    if kind == "date":
        parts = text.split("-")
        is_date = [len(it) for it in parts] == [4, 2, 2] and all(it.isdigit() for it in parts)
        try:
            return datetime.date(*map(int, parts)) if is_date and text.isascii() else None
        except ValueError:
            return None
    if not digits or set(digits) - set("0123456789") or len(digits) > 40:
        return None
    limit = 2 ** (int(kind[3:]) - 1)
    return int(text) if -limit <= int(text) < limit else None


SPELLINGS = st.one_of(TEXTS, st.integers(-99, 99).map(lambda it: f"{it:+05}"))


@given(st.lists(SPELLINGS, min_size=1, max_size=4), st.sampled_from(list(get_args(Kind))))
def test_a_given_type_has_each_value_or_refuses_it(texts: list[str], kind: Kind):
    folders = [f"k={text if text == NULL else quote(text, safe='')}" for text in texts]
    values = [meant(text, kind) for text in texts if text != NULL]
    if None in values:
        odd = next(it for it in texts if it != NULL and meant(it, kind) is None)
        with pytest.raises(BadSetting) as found:
            constants_of(folders, given={"k": kind})
        assert repr(odd) in str(found.value)
        assert "--partition-types says that k is" in str(found.value)
        return
    constants = [each[0] for each in constants_of(folders, given={"k": kind})]
    assert {it.kind for it in constants} == {kind}
    told = [it.value for it in constants if it.value is not None]
    assert [meant(it, kind) for it in told] == values
    assert told == [str(it) for it in values]
    assert [it.value is None for it in constants] == [text == NULL for text in texts]


def test_types_are_given_to_columns_that_have_none_yet():
    with pytest.raises(BadSetting, match=r"names mont, .*did you mean month\?"):
        constants_of(["year=2024/month=1"], given={"mont": "int32"})
    with pytest.raises(BadSetting, match=r"log that it is varchar: leave it out"):
        constants_of(["year=2024"], {"year": "string"}, {"year": "int32"})
    (constants,) = constants_of(["year=2024"], {"year": "int64"}, {"year": "int64"})
    assert constants[0].kind == "int64"
