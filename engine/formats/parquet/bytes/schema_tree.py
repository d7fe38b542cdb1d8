"""The tree that a footer's flat list of schema elements stands for.

Covers: which element is in which group, names, groups without children, and lists that lie. A walk
without recursion, as files may nest as deep as they like. Not covered: types and levels
(:mod:`.bytes.footer`). Source: parquet.thrift of apache/parquet-format, ``SchemaElement``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import BadStructure, Unsupported
from engine.formats.parquet.bytes.spec import SchemaElement
from engine.formats.parquet.bytes.thrift import BINARY, I32, Struct

MAX_DEPTH = 200  # groups around a column: people nest ten deep, and every reader gives up somewhere


class Node(NamedTuple):
    """One element of the schema in its tree.

    Attributes:
        position: in the list of elements; the root is 0.
        parent: position of the group that it is in; the root's is -1.
        stop: position behind the last element below it.
        name: its own, not its path.
        is_leaf: whether it is a column; a group without children is none.
    """

    position: int
    parent: int
    stop: int
    name: str
    is_leaf: bool


def schema_tree(schema: Sequence[Struct]) -> list[Node]:
    """Return the tree of schema elements, depth first; those that no group claims are left out.

    Raises:
        BadStructure: there is no root, an element has no name, or numbers of children lie.
        Unsupported: columns are nested deeper than :data:`MAX_DEPTH`.
    """
    if not schema:
        raise BadStructure("the schema is empty: it has no root")
    found: list[Node] = []
    stops: list[int] = []
    around: list[int] = []  # the groups that are still open, from the root down
    left: list[int] = []  # children that each of them still awaits
    for position, element in enumerate(schema):
        name = _element_name(position, element)
        children = element.get(SchemaElement.NUM_CHILDREN, (I32, 0))[1]
        if not 0 <= children < len(schema) - position:
            raise BadStructure(
                f"schema element {position} ({name!r}) claims {children} children; "
                f"{len(schema) - position - 1} elements follow it"
            )
        if not position and not children and len(schema) > 1:
            raise BadStructure(f"the schema's root claims none of the {len(schema) - 1} elements")
        if len(around) > MAX_DEPTH + 1:
            raise Unsupported(
                f"column {found[around[1]].name!r} has more than {MAX_DEPTH} levels of "
                "groups; columns nested so deeply cannot be split"
            )
        parent = around[-1] if around else -1
        is_leaf = bool(position and not children and SchemaElement.TYPE in element)
        found.append(Node(position, parent, 0, name, is_leaf))
        stops.append(position + 1)
        if around:
            left[-1] -= 1
        around.append(position)
        left.append(children)
        while around and not left[-1]:
            stops[around.pop()] = position + 1
            left.pop()
        if not around:
            break
    if around:
        group = found[around[-1]]
        raise BadStructure(
            f"schema element {group.position} ({group.name!r}) claims {left[-1]} more children "
            "than there are elements"
        )
    return [node._replace(stop=stop) for node, stop in zip(found, stops, strict=True)]


def path_of(nodes: Sequence[Node], node: Node) -> tuple[str, ...]:
    """Return the names from below the root down to a node."""
    path = []
    while node.position:
        path.append(node.name)
        node = nodes[node.parent]
    return tuple(reversed(path))


def _element_name(position: int, element: Struct) -> str:
    if SchemaElement.NAME not in element and position:
        raise BadStructure(f"schema element {position} has no name")
    name = element.get(SchemaElement.NAME, (BINARY, b""))[1]
    return bytes(name).decode("utf-8", "replace")
