"""Whether the schemas of two files are one, and if not, where they differ, in words.

Compared are the elements below the root, with every field that they have, and the orders of
statistics. A difference names the column's path, the property, and what either file has. Names of
types are those of ``parquet.thrift`` and LogicalTypes.md of apache/parquet-format.

Not covered: metadata besides the schema, which several sources may differ in
(:mod:`.layout`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from engine import events
from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.column_names import spelled
from engine.formats.parquet.bytes.footer import Footer, Repetition, Type, value
from engine.formats.parquet.bytes.schema_tree import Node, path_of
from engine.formats.parquet.bytes.spec import LogicalType, SchemaElement
from engine.formats.parquet.bytes.thrift import Struct

_ABSENT = "none"
_MISSING = "missing"
_MAX_TOLD = 3
_REPETITIONS: dict[int, str] = {
    Repetition.REQUIRED: "required (never null)",
    Repetition.OPTIONAL: "optional (may be null)",
    Repetition.REPEATED: "repeated (a list)",
}
_CONVERTED = dict(
    enumerate(
        "UTF8 MAP MAP_KEY_VALUE LIST ENUM DECIMAL DATE TIME_MILLIS TIME_MICROS TIMESTAMP_MILLIS "
        "TIMESTAMP_MICROS UINT_8 UINT_16 UINT_32 UINT_64 INT_8 INT_16 INT_32 INT_64 JSON BSON "
        "INTERVAL".split()
    )
)
_UNITS = {spec.TimeUnit.MILLIS: "ms", spec.TimeUnit.MICROS: "us", spec.TimeUnit.NANOS: "ns"}
_ORDERS = {1: "by type", 2: "IEEE 754 total order"}


class Difference(NamedTuple):
    """One difference; ``column`` is its spelled path, ``ours`` and ``theirs`` are words."""

    column: str
    what: str
    ours: str
    theirs: str


def check_same_schema(one: Footer, other: Footer, names: tuple[str, str]) -> None:
    """Refuse two files whose schemas differ.

    Args:
        one, other: their footers.
        names: what to call them.

    Raises:
        SchemaMismatch: the message has the first differences, with column, property and values,
            and the number of the others. The event has all.
    """
    found = list(differences(one, other))
    if not found:
        return
    words = list(map(_in_words, found))
    begin = f"{names[1]} has another schema than {names[0]}: "
    events.say(
        "source.differences",
        begin + "; ".join(words),
        first=names[0],
        other=names[1],
        differences=[difference._asdict() for difference in found],
    )
    more = f"; and {len(found) - _MAX_TOLD:,} more, which --verbose names"
    raise SchemaMismatch(
        f"{begin}{'; '.join(words[:_MAX_TOLD])}{more if len(found) > _MAX_TOLD else ''}; sources "
        "of one split need one schema"
    )


def _in_words(found: Difference) -> str:
    if _MISSING in (found.ours, found.theirs):
        return f"column {found.column} is {'missing' if found.theirs == _MISSING else 'added'}"
    return f"column {found.column}: {found.what} {found.theirs}, not {found.ours}"


def differences(one: Footer, other: Footer) -> Iterator[Difference]:
    """Yield what differs, group by group from the top, columns in the order of the first file."""
    todo = [(one.nodes[0], other.nodes[0])] if one.schema is not other.schema else []
    children = (_children(one), _children(other))
    while todo:
        pair = todo.pop()
        ours, theirs = (children[side].get(pair[side].position, []) for side in (0, 1))
        names = tuple([_name(*item) for item in ((one, ours), (other, theirs))])
        if names[0] == names[1]:
            pairs = list(zip(ours, theirs, strict=True))
        else:
            yield from _other_children(one, other, ours, theirs)
            by_name = dict(zip(names[1], theirs, strict=True))
            pairs = [
                (node, by_name[name])
                for name, node in dict(zip(names[0], ours, strict=True)).items()
                if name in by_name
            ]
        for mine, its in pairs:
            yield from _properties(one, other, mine, its)
        todo += reversed(pairs)
    yield from _orders(one, other)


def _children(footer: Footer) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = {}
    for node in footer.nodes[1:]:
        found.setdefault(node.parent, []).append(node)
    return found


def _name(footer: Footer, nodes: list[Node]) -> list[bytes]:
    return [bytes(footer.schema[node.position][SchemaElement.NAME][1]) for node in nodes]


def _other_children(
    one: Footer, other: Footer, ours: list[Node], theirs: list[Node]
) -> Iterator[Difference]:
    """Yield the columns of a group that only one file has, else the first at another place."""
    names = _name(one, ours), _name(other, theirs)
    lacks = [
        (node, name, at)
        for at, (node, name) in enumerate(zip(ours, names[0], strict=True))
        if name not in set(names[1])
    ]
    added = [
        (node, name, at)
        for at, (node, name) in enumerate(zip(theirs, names[1], strict=True))
        if name not in set(names[0])
    ]
    if len(lacks) == len(added) == 1 and lacks[0][2] == added[0][2]:
        (mine, name, _), (_, its, _) = lacks[0], added[0]
        yield Difference(_path(one, mine), "its name is", _words_of_name(name), _words_of_name(its))
        return
    for node, _, _ in lacks:
        yield Difference(_path(one, node), "it is", "there", _MISSING)
    for node, _, _ in added:
        yield Difference(_path(other, node), "it is", _MISSING, "there")
    if not lacks and not added:
        at = next(
            (at for at, (a, b) in enumerate(zip(*names, strict=False)) if a != b),
            min(map(len, names)),
        )
        node, footer = (ours[at], one) if at < len(ours) else (theirs[at], other)
        listed = [
            ", ".join(map(_words_of_name, found[at : at + 3])) or "nothing" for found in names
        ]
        yield Difference(_path(footer, node), f"from place {at + 1} on columns are", *listed)


def _path(footer: Footer, node: Node) -> str:
    return spelled(path_of(footer.nodes, node))


def _words_of_name(name: bytes) -> str:
    try:
        return spelled([name.decode()])
    except UnicodeDecodeError:
        return repr(name)


def _properties(one: Footer, other: Footer, mine: Node, its: Node) -> Iterator[Difference]:
    ours, theirs = one.schema[mine.position], other.schema[its.position]
    if ours == theirs:
        return
    has_columns = all(node.stop > node.position + 1 for node in (mine, its))
    for field in dict.fromkeys((*_PROPERTIES, *ours, *theirs)):
        if field == SchemaElement.NUM_CHILDREN and has_columns:
            continue  # it is these that differ
        if ours.get(field) != theirs.get(field):
            what, words = _PROPERTIES.get(field, (f"field {field}", str))
            told = [_told(words, struct, field) for struct in (ours, theirs)]
            if told[0] == told[1]:
                told = [
                    f"{word} {_raw(struct, field)}"
                    for word, struct in zip(told, (ours, theirs), strict=True)
                ]
            yield Difference(_path(one, mine), what, *told)


def _told(words: Callable[[Any], str], struct: Struct, field: int) -> str:
    found = value(struct, field)
    return _ABSENT if found is None else words(found)


def _raw(struct: Struct, field: int) -> str:
    alone = {field: struct[field]} if field in struct else {}
    return f"(bytes {thrift.encode(alone).hex()})"


def _orders(one: Footer, other: Footer) -> Iterator[Difference]:
    field = spec.FileMetaData.COLUMN_ORDERS
    ours, theirs = value(one.struct, field), value(other.struct, field)
    if ours == theirs:
        return
    lists = [[] if orders is None else orders.items for orders in (ours, theirs)]
    if len(one.leaves) != len(other.leaves):
        return  # it is not the orders that differ
    for leaf in one.leaves:
        told = [
            _words_of_order(items[leaf.index]) if leaf.index < len(items) else _ABSENT
            for items in lists
        ]
        pair = [items[leaf.index : leaf.index + 1] for items in lists]
        if pair[0] != pair[1]:
            yield Difference(leaf.name, "the order of its bounds is", *told)


def _words_of_order(item: bytes | Struct) -> str:
    struct = item if isinstance(item, dict) else thrift.decode(item)[0]
    return " and ".join(_ORDERS.get(field, f"number {field}") for field in struct) or _ABSENT


def words_of_type(number: int) -> str:
    """Return a physical type as people write it."""
    return Type(number).name.lower() if number in set(Type) else f"number {number}"


def _words_of_repetition(number: int) -> str:
    return _REPETITIONS.get(number, f"number {number}")


def _words_of_converted(number: int) -> str:
    return _CONVERTED.get(number, f"number {number}")


def words_of_logical(union: Struct) -> str:
    """Return a logical type as people write it: ``timestamp(us, UTC)``, ``decimal(9, 2)``."""
    words = []
    for field, (_, struct) in union.items():
        known = LogicalType.fields.get(field)
        name = f"number {field}" if known is None else known.name
        inner = _DETAILS[field](struct) if field in _DETAILS else ""
        words.append(f"{name}({inner})" if inner else name)
    return " and ".join(words) or _ABSENT


def _time(struct: Struct) -> str:
    unit = value(struct, spec.TimeType.UNIT) or {}
    units = " and ".join(_UNITS.get(field, f"unit {field}") for field in unit)
    is_utc = value(struct, spec.TimeType.IS_ADJUSTED_TO_UTC)
    return f"{units or 'no unit'}, {'UTC' if is_utc else 'local'}"


def _decimal(struct: Struct) -> str:
    names = spec.DecimalType
    return f"{value(struct, names.PRECISION)}, {value(struct, names.SCALE)}"


def _integer(struct: Struct) -> str:
    signed = "signed" if value(struct, spec.IntType.IS_SIGNED) else "unsigned"
    return f"{value(struct, spec.IntType.BIT_WIDTH)}, {signed}"


_DETAILS: dict[int, Callable[[Struct], str]] = {
    LogicalType.DECIMAL: _decimal,
    LogicalType.TIME: _time,
    LogicalType.TIMESTAMP: _time,
    LogicalType.INTEGER: _integer,
}
_PROPERTIES: dict[int, tuple[str, Callable[[Any], str]]] = {
    SchemaElement.TYPE: ("physical type", words_of_type),
    SchemaElement.REPETITION_TYPE: ("nullability", _words_of_repetition),
    SchemaElement.LOGICAL_TYPE: ("logical type", words_of_logical),
    SchemaElement.CONVERTED_TYPE: ("converted type", _words_of_converted),
    SchemaElement.TYPE_LENGTH: ("length in bytes", str),
    SchemaElement.PRECISION: ("decimal precision", str),
    SchemaElement.SCALE: ("decimal scale", str),
    SchemaElement.FIELD_ID: ("field id", str),
    SchemaElement.NUM_CHILDREN: ("number of columns inside", str),
}
