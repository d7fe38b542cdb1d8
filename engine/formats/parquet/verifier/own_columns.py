"""The columns of a source that is read by another schema, found in the file itself.

Which column of the file stands for one of the parts is looked up anew here, by names, and by places
inside lists and maps; what the file lacks is made of Arrow's own nulls and repeated values. Nothing
of this goes the way that parts are written (:mod:`.opened`, :mod:`.relaxed`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from engine.errors import Different
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import Footer, Leaf, Repetition, value, with_fields
from engine.formats.parquet.bytes.schema_tree import Node
from engine.model import Constant

_LIST_OR_MAP = {1, 2, 3}  # ConvertedType
_GROUPS = {spec.LogicalType.LIST, spec.LogicalType.MAP}


class OwnColumn(NamedTuple):
    """A column of the parts, as a source has it.

    Attributes:
        leaf: the source's, by the names of the parts; None where it lacks the column.
        num_groups: how many groups around a column that is lacking it has.
        constant: the value of the column in all rows, where it is one of a folder's.
    """

    leaf: Leaf | None
    num_groups: int = 0
    constant: Constant | None = None


def own_column(own: Footer, schema: Footer, leaf: Leaf, constants: Sequence[Constant]) -> OwnColumn:
    """Return a column as the file has it.

    Args:
        own: the file's footer.
        schema: as which it is read.
        leaf: the column there.
        constants: columns of the file's folders.

    Raises:
        Different: the file's column has another type.
    """
    place = leaf.index - (len(schema.leaves) - len(constants))
    if place >= 0:
        return OwnColumn(None, constant=constants[place])
    chain = [_tree(schema).leaves[leaf.index]]
    while chain[0].parent:
        chain.insert(0, schema.nodes[chain[0].parent])
    at, by_place = own.nodes[0], False
    for depth, node in enumerate(chain):
        found = _child(own, at, schema, node, by_place=by_place)
        if found is None:
            return OwnColumn(None, depth)
        by_place = _names_say_nothing(schema, node, by_place=by_place)
        at = found
    its = own.leaves[_tree(own).numbers[at.position]]
    if (its.physical, its.type_length) != (leaf.physical, leaf.type_length):
        raise Different(f"column {leaf.name} is {its.physical.name} in a source")
    name = spec.SchemaElement.NAME
    nodes = tuple(
        with_fields(mine, {name: theirs[name]})
        for mine, theirs in zip(its.nodes, leaf.nodes, strict=True)
    )
    return OwnColumn(replace(its, path=leaf.path, nodes=nodes))


class _Tree(NamedTuple):
    """The nodes of a schema: inside each group by place and by name, and the columns' positions."""

    inside: dict[int, list[Node]]
    by_name: dict[tuple[int, str], Node]
    leaves: list[Node]
    numbers: dict[int, int]


_trees: WeakKeyDictionary[Footer, _Tree] = WeakKeyDictionary()


def _tree(footer: Footer) -> _Tree:
    found = _trees.get(footer)
    if found is not None:
        return found
    made = _Tree({}, {}, [], {})
    for node in footer.nodes:
        made.inside.setdefault(node.parent, []).append(node)
        made.by_name[node.parent, node.name] = node
        if node.is_leaf:
            made.numbers[node.position] = len(made.leaves)
            made.leaves.append(node)
    return _trees.setdefault(footer, made)  # whole, as other threads look for it meanwhile


def _children(footer: Footer, group: Node) -> list[Node]:
    return _tree(footer).inside.get(group.position, [])


def _child(own: Footer, at: Node, schema: Footer, wanted: Node, *, by_place: bool) -> Node | None:
    if by_place:
        siblings = _tree(schema).inside[wanted.parent]
        return _children(own, at)[siblings.index(wanted)]
    return _tree(own).by_name.get((at.position, wanted.name))


def _names_say_nothing(schema: Footer, group: Node, *, by_place: bool) -> bool:
    """Whether what is in a group is found by its place: in lists and maps, and groups these need.

    ``by_place``: whether the group itself was.
    """
    struct = schema.schema[group.position]
    is_repeated = value(struct, spec.SchemaElement.REPETITION_TYPE) == Repetition.REPEATED
    if by_place and is_repeated:
        inside = _children(schema, group)
        above = schema.schema[group.parent]
        is_map = value(above, spec.SchemaElement.CONVERTED_TYPE) in (1, 2) or (
            spec.LogicalType.MAP in (value(above, spec.SchemaElement.LOGICAL_TYPE) or ())
        )
        is_element = group.name == "array" or group.name.endswith("_tuple") or len(inside) != 1
        return is_map or not is_element
    logical = value(struct, spec.SchemaElement.LOGICAL_TYPE) or ()
    converted = value(struct, spec.SchemaElement.CONVERTED_TYPE)
    return not group.is_leaf and (converted in _LIST_OR_MAP or bool(_GROUPS & set(logical)))


def made_arrays(column: OwnColumn, kind: Any, num_rows: int, batch_rows: int) -> Iterator[Any]:
    """Yield the rows of a column that the file lacks, as Arrow's arrays of a type."""
    for start in range(0, num_rows, batch_rows):
        length = min(batch_rows, num_rows - start)
        if column.constant is not None and column.constant.value is not None:
            yield _repeated(column.constant, kind, length)
        else:
            yield _nulls(kind, column.num_groups, length)


def _repeated(constant: Constant, kind: Any, length: int) -> Any:
    import pyarrow as pa

    text = constant.value or ""
    held: Any = text.encode()
    if constant.kind == "date":
        held = (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days
    elif constant.kind != "string":
        held = int(text)
    return pa.repeat(pa.scalar(held, kind), length)


def _nulls(kind: Any, num_groups: int, length: int) -> Any:
    """Return nulls, inside so many groups that are there."""
    import pyarrow as pa

    if not num_groups:
        return pa.nulls(length, kind)
    inner = _nulls(kind.field(0).type, num_groups - 1, length)
    return pa.StructArray.from_arrays([inner], fields=[kind.field(0)])
