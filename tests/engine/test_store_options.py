"""Storage options: every way to write them, no secret among them, references read where needed."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadSetting
from engine.store_options import PLAIN_TEXT, REFERENCE, parse, resolved

CANARY = "c4n4ry-value"
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([CANARY, "env:NAME", f"http://x/?sig={CANARY}", f"http://me:{CANARY}@host"])
)
names = st.sampled_from(["anon", "secret", "client_kwargs", "whatever", *sorted(PLAIN_TEXT)])
options = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner) | st.lists(inner))
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, {}),
        ("", {}),
        ({}, {}),
        ("anon=true", {"anon": True}),
        ("anon=True", {"anon": True}),
        ("endpoint_url=http://host:9000", {"endpoint_url": "http://host:9000"}),
        ("profile=123", {"profile": "123"}),
        ("port=22", {"port": 22}),
        ('client_kwargs={"region_name": "eu"}', {"client_kwargs": {"region_name": "eu"}}),
        (["anon=true", "profile=a=b"], {"anon": True, "profile": "a=b"}),
        (["profile=a", "profile=b"], {"profile": "b"}),
        ('{"anon": true}', {"anon": True}),
        ({"anon": True, "secret": "env:S"}, {"anon": True, "secret": "env:S"}),
        ("secret=env:S", {"secret": "env:S"}),
    ],
)
def test_options_are_taken_as_users_write_them(written: Any, meant: dict[str, Any]):
    parsed = parse(written)
    assert (json.loads(parsed) if parsed else {}) == meant
    assert parse(parsed) == parsed


@pytest.mark.parametrize(
    "written",
    ["anon", "=x", "{", "{]", 3, [3], b"x", {1: 2}, {"a": object()}, '{"a":' * 5000, [b"x"]],
)
def test_what_is_no_option_is_refused(written: Any):
    with pytest.raises(BadSetting):
        parse(written)


@given(options)
def test_a_text_is_plain_under_few_names_and_never_repeated(given_options: dict[str, Any]):
    kept, told = "", ""
    try:
        kept = parse(given_options)
    except BadSetting as error:
        told = str(error)
    assert CANARY not in told

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key, item)
        elif isinstance(value, list):
            for item in value:
                walk(name, item)
        elif isinstance(value, str) and not value.startswith(REFERENCE):
            assert name in PLAIN_TEXT
            assert "http" not in value

    walk("", json.loads(kept or "{}"))


@pytest.mark.parametrize("name", ["password", "secret", "token", "key", "sas_token", "pin"])
def test_a_number_may_be_a_secret(name: str):
    with pytest.raises(BadSetting) as caught:
        parse(f"{name}=123456")
    assert "123456" not in str(caught.value)
    assert f"{name}=env:" in str(caught.value)


def test_references_are_read_where_a_store_is_opened():
    kept = parse({"secret": "env:S", "client_kwargs": {"x": ["env:T"]}, "token": "env:JSON"})
    found = resolved(kept, {"S": CANARY, "T": "t", "JSON": '{"type": "a"}'})
    assert found == {"secret": CANARY, "client_kwargs": {"x": ["t"]}, "token": {"type": "a"}}
    assert resolved("", {}) == {}
    with pytest.raises(BadSetting, match="variable T"):
        resolved(kept, {"S": CANARY, "JSON": "{"})


@given(st.text())
def test_any_text_is_taken_or_refused(text: str):
    with suppress(BadSetting):
        resolved(parse(text), {})
