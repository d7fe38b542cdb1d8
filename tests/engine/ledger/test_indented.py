"""The ledger's JSON is the standard library's, indented; a plan of many row groups is quick."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.indented import indented

# With what could be taken for structure if it were not escaped or quoted.
texts = st.text() | st.sampled_from(["},\n  {", "{}", '"a": {', "],\n [", "\\"])
atoms = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = texts | st.integers() | st.booleans() | st.none()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    objects = st.dictionaries(keys, inner, max_size=4)
    return lists | lists.map(tuple) | objects | st.lists(objects, max_size=4)


@given(st.recursive(atoms, containers, max_leaves=40))
def test_it_is_what_the_standard_library_writes(item: Any) -> None:
    assert indented(item) == json.dumps(item, indent=1)


@pytest.mark.parametrize("trimmed", [(), (1, 2)])
def test_lists_of_objects_with_empty_and_filled_lists(trimmed: tuple[int, ...]) -> None:
    slices = [{"file": 0, "row_group": number, "trimmed": trimmed} for number in range(3)]
    item = {"parts": [{"name": "a", "slices": slices, "ranges": ()}], "settings": {}}
    assert indented(item) == json.dumps(item, indent=1)
