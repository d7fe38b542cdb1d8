"""One schema that holds those of several files, and how each file's columns stand in it.

What may differ between files, and what comes of it:

=======================================  =======================================================
columns of a group in another order      the first file's order
columns that only some files have        behind those known before; null where they lack
required here, optional there            optional
names inside lists and maps              the first file's; they say nothing
ConvertedType or LogicalType             the first file's, where both mean the same values
field ids                                the first file's
=======================================  =======================================================

All else must be equal: types, their lengths, units, scales and signs, what is a list and what is
not. Types are never widened. Not covered: how a file's pages are made to fit (:mod:`.opened`), and
key-value metadata (:mod:`.merging`). Pure.

Source: LogicalTypes.md of apache/parquet-format (lists, maps, converted types).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.column_names import spelled
from engine.formats.parquet.bytes.footer import Footer, Repetition, Type, value, with_fields
from engine.formats.parquet.bytes.spec import LogicalType, SchemaElement
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.same_schema import words_of_logical, words_of_type

Form = Literal["", "list", "map"]
_REQUIRED, _OPTIONAL = Repetition.REQUIRED, Repetition.OPTIONAL


class Differs(Exception):
    """Two schemas that no third one holds; the message has column, property and both values."""


@dataclass(frozen=True)
class Element:
    """An element of a schema with all below it.

    Attributes:
        struct: its own fields.
        children: of a group, in order.
        leaf: of a column, its position among the columns of the file; else None.
        lacking: a file that has the group around, and not this; empty if all have it.
    """

    struct: Struct
    children: tuple[Element, ...] = ()
    leaf: int | None = None
    lacking: str = ""

    @property
    def name(self) -> str:
        """Its own name, not its path."""
        return bytes(value(self.struct, SchemaElement.NAME, b"")).decode("utf-8", "replace")

    @property
    def repetition(self) -> int:
        """Whether it may be null, or is repeated."""
        return int(value(self.struct, SchemaElement.REPETITION_TYPE, _REQUIRED))

    def elements(self) -> Iterator[Struct]:
        """Yield the elements as a footer lists them."""
        children = {SchemaElement.NUM_CHILDREN: len(self.children)} if self.children else {}
        yield with_fields(self.struct, spec.struct_of(children))
        for child in self.children:
            yield from child.elements()


def schema_of(footer: Footer) -> Element:
    """Return the schema of a footer as a tree."""
    below: dict[int, list[Element]] = {}
    made = Element({})
    leaf = sum(node.is_leaf for node in footer.nodes)
    for node in reversed(footer.nodes):
        leaf -= node.is_leaf
        children = tuple(reversed(below.pop(node.position, [])))
        struct = footer.schema[node.position]
        made = Element(struct, children, leaf if node.is_leaf else None)
        below.setdefault(node.parent, []).append(made)
    return made


# -- one schema for several files ----------------------------------------------------------------


def united(schemas: Sequence[Element], names: Sequence[str]) -> Element:
    """Return the schema that holds all of these.

    Args:
        schemas: of the files, in order.
        names: what to call the files.

    Raises:
        SchemaMismatch: there is none; the message names column, files, and what to do.
    """
    found = schemas[0]
    for schema, name in zip(schemas[1:], names[1:], strict=True):
        try:
            found = _united(found, schema, (), (names[0], name), is_root=True)
        except Differs as error:
            raise SchemaMismatch(
                f"{name} and the files before it, from {names[0]} on, are not of one schema, also "
                f"by --schema relaxed: {error}; types are not converted: write the files with one "
                "type, or split them apart"
            ) from error
    return found


def _united(
    one: Element,
    other: Element,
    path: tuple[str, ...],
    names: tuple[str, str],
    *,
    form: Form = "",
    is_root: bool = False,
) -> Element:
    struct = one.struct if is_root else _with_repetition(one, other, path)
    if (one.leaf is None) != (other.leaf is None):
        raise Differs(f"{_column(path)} is a column in one and a group in the other")
    if not is_root and (one.leaf is not None or not form):
        _check_meaning(one, other, path)
    if one.leaf is not None:
        return replace(one, struct=struct)
    inner = _inside(one, form)
    if inner != _inside(other, form):
        raise Differs(f"{_column(path)} is a list of another form")
    unite = _united_by_place if inner.by_place else _united_by_name
    return replace(one, struct=struct, children=unite(one, other, path, names, inner.form))


def _united_by_place(
    one: Element, other: Element, path: tuple[str, ...], names: tuple[str, str], form: Form
) -> tuple[Element, ...]:
    num_ours, num_theirs = len(one.children), len(other.children)
    if num_ours != num_theirs:
        raise Differs(f"{_column(path)} has {num_theirs} columns inside, not {num_ours}")
    return tuple(
        _united(mine, its, (*path, mine.name), names, form=form)
        for mine, its in zip(one.children, other.children, strict=True)
    )


def _united_by_name(
    one: Element, other: Element, path: tuple[str, ...], names: tuple[str, str], _: Form
) -> tuple[Element, ...]:
    ours, theirs = ({child.name: child for child in side.children} for side in (one, other))
    if len(ours) < len(one.children) or len(theirs) < len(other.children):
        raise Differs(f"{_column(path)} has two columns of one name")
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        if name in ours and name in theirs:
            found.append(_united(ours[name], theirs[name], (*path, name), names))
        else:
            child, lacks = (ours[name], names[1]) if name in ours else (theirs[name], names[0])
            found.append(replace(child, lacking=child.lacking or lacks))
    known = {name.casefold(): name for name in ours}
    for name in theirs:
        alike = known.get(name.casefold(), name)
        if alike not in theirs and alike != name:
            raise Differs(
                f"{_column((*path, alike))} and {_column((*path, name))} differ in case alone, "
                "which many readers do not tell apart"
            )
    return tuple(found)


class _Inside(NamedTuple):
    """How the elements in a group are told apart: by place, or by name; and what they form."""

    by_place: bool
    form: Form


def _inside(group: Element, form: Form) -> _Inside:
    """Return how elements in a group are told apart; ``form``: of what it is the repeated group.

    See "Backward-compatibility rules" in LogicalTypes.md: a list's repeated group may be its
    element, by its name.
    """
    if form:
        name = group.name
        is_element = len(group.children) != 1 or name == "array" or name.endswith("_tuple")
        return _Inside(form == "map" or not is_element, "")
    kind = meaning(group.struct) or ()
    for field, its in ((LogicalType.LIST, "list"), (LogicalType.MAP, "map")):
        if field in kind:
            return _Inside(True, its)  # type: ignore[arg-type]
    return _Inside(False, "")


def _with_repetition(one: Element, other: Element, path: tuple[str, ...]) -> Struct:
    kinds = {one.repetition, other.repetition}
    if len(kinds) == 1:
        return one.struct
    if kinds != {_REQUIRED, _OPTIONAL}:
        raise Differs(f"{_column(path)} is repeated in one and not in the other")
    field = SchemaElement.REPETITION_TYPE
    return with_fields(one.struct, {field: spec.entry(field, int(_OPTIONAL))})


def _check_meaning(one: Element, other: Element, path: tuple[str, ...]) -> None:
    kinds = [value(side.struct, SchemaElement.TYPE) for side in (one, other)]
    if kinds[0] != kinds[1]:
        ours, theirs = (words_of_type(kind) for kind in kinds)
        raise Differs(f"column {_column(path)} is {theirs}, not {ours}")
    lengths = [value(side.struct, SchemaElement.TYPE_LENGTH) for side in (one, other)]
    if kinds[0] == Type.FIXED_LEN_BYTE_ARRAY and lengths[0] != lengths[1]:
        raise Differs(f"column {_column(path)} has values of {lengths[1]} bytes, not {lengths[0]}")
    meanings = [meaning(side.struct) for side in (one, other)]
    if _encoded(meanings[0]) != _encoded(meanings[1]):
        told = ["plain" if it is None else words_of_logical(it) for it in meanings]
        raise Differs(f"column {_column(path)} means {told[1]}, not {told[0]}")


def _encoded(union: Struct | None) -> bytes:
    return b"" if union is None else thrift.encode(union)


def check_lacking(schema: Element, taken: Footer | None = None) -> None:
    """Refuse columns that some files lack, and that cannot be null there.

    Args:
        schema: as :func:`united` returns it.
        taken: a footer of the columns of it that are taken; None for all.

    Raises:
        SchemaMismatch: the message names column and file.
    """
    leaves = () if taken is None else taken.leaves
    paths = {leaf.path[:depth] for leaf in leaves for depth in range(1, len(leaf.path) + 1)}
    todo: list[tuple[Element, tuple[str, ...]]]
    todo = [(child, (child.name,)) for child in schema.children]
    for child, path in todo:
        if taken is not None and path not in paths:
            continue
        if child.lacking and child.repetition != _OPTIONAL:
            what = "repeated" if child.repetition == Repetition.REPEATED else "required"
            raise SchemaMismatch(
                f"column {_column(path)} is missing in {child.lacking}, and it is {what}, so that "
                "it cannot be null there: write it as optional in the other files, or leave it out "
                "by --columns"
            )
        todo += [(inner, (*path, inner.name)) for inner in child.children]


def _column(path: Sequence[str]) -> str:
    return spelled(path) if path else "the schema"


# -- what annotations mean -----------------------------------------------------------------------


def _time(unit: spec.Field) -> Struct:
    return spec.struct_of(
        {spec.TimeType.IS_ADJUSTED_TO_UTC: True, spec.TimeType.UNIT: {unit: (thrift.STRUCT, {})}}
    )


def _integer(bits: int, *, signed: bool) -> Struct:
    return spec.struct_of({spec.IntType.BIT_WIDTH: bits, spec.IntType.IS_SIGNED: signed})


# ConvertedType by number, and the LogicalType that it stands for.
_CONVERTED: dict[int, tuple[spec.Field, Struct]] = {
    0: (LogicalType.STRING, {}),
    1: (LogicalType.MAP, {}),
    2: (LogicalType.MAP, {}),  # MAP_KEY_VALUE, which old writers confused with it
    3: (LogicalType.LIST, {}),
    4: (LogicalType.ENUM, {}),
    6: (LogicalType.DATE, {}),
    7: (LogicalType.TIME, _time(spec.TimeUnit.MILLIS)),
    8: (LogicalType.TIME, _time(spec.TimeUnit.MICROS)),
    9: (LogicalType.TIMESTAMP, _time(spec.TimeUnit.MILLIS)),
    10: (LogicalType.TIMESTAMP, _time(spec.TimeUnit.MICROS)),
    **{
        number: (LogicalType.INTEGER, _integer(8 << at % 4, signed=at >= 4))
        for at, number in enumerate(range(11, 19))
    },
    19: (LogicalType.JSON, {}),
    20: (LogicalType.BSON, {}),
}
_DECIMAL = 5
_PLAIN_INTEGERS = {Type.INT32: 32, Type.INT64: 64}


def meaning(struct: Struct) -> Struct | None:
    """Return what values of an element mean, as a ``LogicalType``; None for what its type says."""
    union: Struct | None = value(struct, SchemaElement.LOGICAL_TYPE)
    converted = value(struct, SchemaElement.CONVERTED_TYPE)
    if not union and converted == _DECIMAL:
        names, element = spec.DecimalType, SchemaElement
        numbers = {
            names.SCALE: value(struct, element.SCALE, 0),
            names.PRECISION: value(struct, element.PRECISION, 0),
        }
        union = {LogicalType.DECIMAL: (thrift.STRUCT, spec.struct_of(numbers))}
    elif not union and converted is not None:
        # What no LogicalType stands for is told by a number that none of these has.
        field, inner = _CONVERTED.get(converted, (1000 + converted, {}))
        union = {int(field): (thrift.STRUCT, inner)}
    if union and LogicalType.INTEGER in union:
        inner = union[LogicalType.INTEGER][1]
        bits = value(inner, spec.IntType.BIT_WIDTH)
        plain = _PLAIN_INTEGERS.get(value(struct, SchemaElement.TYPE))
        if value(inner, spec.IntType.IS_SIGNED) and bits == plain:
            return None
    return {int(field): entry for field, entry in union.items()} if union else None


# -- how a file stands in it ---------------------------------------------------------------------


class Placed(NamedTuple):
    """A column of a united schema, as one file has it.

    Attributes:
        leaf: position among the file's columns; None where it lacks the column.
        level: where it lacks the column, or has no levels though others do, the definition level
            of every row; else None, and its pages are right as they are.
        max_definition, max_repetition: highest levels of the column in the united schema.
    """

    leaf: int | None
    level: int | None
    max_definition: int
    max_repetition: int


class _Levels(NamedTuple):
    """Levels of an element: in the united schema, and in the file."""

    definition: int = 0
    repetition: int = 0
    own_definition: int = 0
    own_repetition: int = 0

    def of(self, element: Element, own: Element | None) -> _Levels:
        """Return the levels of an element inside; ``own``: as the file has it."""
        kinds = element.repetition, _REQUIRED if own is None else own.repetition
        return _Levels(
            self.definition + (kinds[0] != _REQUIRED),
            self.repetition + (kinds[0] == Repetition.REPEATED),
            self.own_definition + (kinds[1] != _REQUIRED),
            self.own_repetition + (kinds[1] == Repetition.REPEATED),
        )


def placed(schema: Element, own: Element) -> list[Placed]:
    """Return how each column of a united schema stands in a file that it was made of.

    Raises:
        Differs: a column's levels would have to be decoded; the message names it.
    """
    return list(_placed(schema, own, _Levels(), None, ()))


def _placed(
    schema: Element,
    own: Element | None,
    at: _Levels,
    level: int | None,
    path: tuple[str, ...],
    form: Form = "",
) -> Iterator[Placed]:
    if schema.leaf is not None:
        yield _placed_leaf(own, at, level, path)
    inner = _inside(schema, form)
    by_name = {} if own is None else {child.name: child for child in own.children}
    for number, child in enumerate(schema.children):
        its = own.children[number] if own and inner.by_place else by_name.get(child.name)
        inside, here = level, (*path, child.name)
        if own is not None and its is None:
            if at.own_definition or at.own_repetition:
                raise Differs(
                    f"column {_column(here)} is missing in a group that may itself be null or "
                    "repeated, which takes decoding"
                )
            inside = at.definition
        yield from _placed(child, its, at.of(child, its), inside, here, inner.form)


def _placed_leaf(
    own: Element | None, at: _Levels, level: int | None, path: tuple[str, ...]
) -> Placed:
    highest = (at.definition, at.repetition)
    if own is None:
        return Placed(None, level, *highest)
    if at.own_definition == at.definition:
        return Placed(own.leaf, None, *highest)
    if at.own_definition:
        raise Differs(
            f"column {_column(path)} is nested, and may be null here at other levels than there, "
            "which takes decoding"
        )
    return Placed(own.leaf, at.definition, *highest)
