"""The tree of schema elements: deep, empty, and lists that lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadSetting, BadStructure, Unsupported
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.bytes.schema_tree import MAX_DEPTH, schema_tree
from engine.formats.parquet.bytes.spec import SchemaElement
from tests.engine.formats.parquet.bytes.schemas import Tree, column, elements, footer_of, trees

NAMES = st.sampled_from("abcd")


def as_trees(nodes: list, parent: int = 0) -> list[Tree]:
    return [
        (node.name, None if node.is_leaf else as_trees(nodes, node.position))
        for node in nodes
        if node.parent == parent
    ]


@settings(deadline=None)
@given(trees(NAMES))
def test_the_tree_is_what_was_written(trees: list[Tree]) -> None:
    footer = footer_of(elements(trees))
    assert as_trees(footer.nodes) == trees
    for node in footer.nodes:
        below = [other for other in footer.nodes if node.position < other.position < node.stop]
        assert all(other.parent >= node.position for other in below)
        assert node.stop == len(footer.nodes) or footer.nodes[node.stop].parent < node.position
    assert [leaf.element for leaf in footer.leaves] == [
        footer.schema[node.position] for node in footer.nodes if node.is_leaf
    ]


def without(trees: list[Tree], path: tuple[str, ...]) -> list[Tree]:
    """What is left of trees where one path alone is chosen."""
    return [
        (name, below if len(path) == 1 else without(below or [], path[1:]))
        for name, below in trees
        if name == path[0]
    ]


@settings(deadline=None)
@given(trees(NAMES), st.data())
def test_choosing_one_keeps_it_whole_and_nothing_else(trees: list[Tree], data: st.DataObject):
    footer = footer_of(elements(trees))
    if len(footer.nodes) == 1:
        return
    path: tuple[str, ...] = ()
    todo = trees
    while todo and (not path or data.draw(st.booleans())):
        name, below = data.draw(st.sampled_from(todo))
        path, todo = (*path, name), below or []
    left = without(trees, path)
    if not footer_of(elements(left)).leaves:
        with pytest.raises(BadSetting, match="without columns"):
            project(footer, [".".join(path)])
        return
    assert as_trees(project(footer, [".".join(path)]).nodes) == left


@pytest.mark.parametrize("number", [-1, -(2**31), 3, 1000, 2**31 - 1])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_numbers_of_children_that_lie(number: int, position: int) -> None:
    schema = elements([("g", [("x", None)])])
    schema[position] = schema[position] | spec.struct_of({SchemaElement.NUM_CHILDREN: number})
    with pytest.raises(BadStructure, match="children"):
        _ = footer_of(schema).leaves


def test_a_group_that_promises_one_more() -> None:
    schema = elements([("g", [("x", None)]), ("h", [])])
    schema[1] = schema[1] | spec.struct_of({SchemaElement.NUM_CHILDREN: 2})
    with pytest.raises(BadStructure, match="1 more children"):
        schema_tree(schema)


def test_no_root_and_no_names() -> None:
    with pytest.raises(BadStructure, match="no root"):
        schema_tree([])
    with pytest.raises(BadStructure, match="root claims none of the 1 elements"):
        schema_tree([{}, column("x")])
    nameless = column("x")
    del nameless[SchemaElement.NAME]
    with pytest.raises(BadStructure, match="element 1 has no name"):
        schema_tree([*elements([])[:0], elements([("x", None)])[0], nameless])
    with pytest.raises(BadStructure, match="column x has an unknown repetition: 7"):
        _ = footer_of([elements([("x", None)])[0], column("x", repetition_type=7)]).leaves


def nested(depth: int) -> list:
    root = elements([("g", None)])[0]
    groups = [
        spec.struct_of({SchemaElement.NAME: b"g%d" % n, SchemaElement.NUM_CHILDREN: 1})
        for n in range(depth)
    ]
    return [root, *groups, column("x")]


def test_what_is_nested_too_deeply_is_refused() -> None:
    footer = footer_of(nested(MAX_DEPTH))
    assert len(footer.leaves[0].path) == MAX_DEPTH + 1
    assert len(project(footer, [footer.leaves[0].name]).leaves) == 1
    for depth in (MAX_DEPTH + 1, 5000, 100_000):
        with pytest.raises(Unsupported, match="'g0' has more than 200 levels"):
            _ = footer_of(nested(depth)).leaves
