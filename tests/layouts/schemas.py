"""Random columns: schema elements, values as readers see them, and their levels.

A shape is a node of the schema together with what it means: it knows its elements, makes values,
and takes them apart into levels as the format says (Dremel). Nothing here is the project's own way
of doing this; only the names of fields are.
"""

from __future__ import annotations

import datetime
import decimal
import math
import struct
from dataclasses import dataclass, field
from random import Random
from typing import Any

from engine.formats.parquet.bytes.footer import Repetition, Type
from engine.formats.parquet.bytes.spec import (
    DecimalType,
    IntType,
    LogicalType,
    SchemaElement,
    TimeType,
    TimeUnit,
    struct_of,
)
from engine.formats.parquet.bytes.thrift import Struct

UTF8, MAP, LIST, DECIMAL, DATE = 0, 1, 3, 5, 6
UINT_32, INT_8 = 13, 15
_EPOCH = datetime.date(1970, 1, 1)


@dataclass
class Column:
    """A leaf: its place in the schema, and an entry (repetition, definition, value) a level."""

    path: tuple[str, ...]
    kind: Kind
    max_repetition: int
    max_definition: int
    entries: list[tuple[int, int, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """A type of leaves: how it is declared, which values it has, and how bounds order them.

    ``order`` is unsigned, signed, float or none; values are as the physical type has them.
    """

    name: str
    physical: Type
    order: str
    length: int = 0
    converted: int | None = None
    logical: Struct | None = None
    more: tuple[tuple[int, int], ...] = ()

    def element(self) -> dict[Any, Any]:
        out: dict[Any, Any] = {SchemaElement.TYPE: int(self.physical)}
        if self.length:
            out[SchemaElement.TYPE_LENGTH] = self.length
        if self.converted is not None:
            out[SchemaElement.CONVERTED_TYPE] = self.converted
        out |= {SchemaElement.fields[number]: value for number, value in self.more}
        if self.logical is not None:
            out[SchemaElement.LOGICAL_TYPE] = self.logical
        return out

    def make(self, chance: Random, few: bool) -> tuple[Any, Any]:
        """Return a value as it is stored, and as Arrow shows it."""
        return getattr(self, f"_{self.name}")(chance, few)

    def _i8(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(0, 2) if few else chance.randint(-128, 127)
        return value, value

    def _i32(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.choice((-5, 0, 7)) if few else chance.randint(-(1 << 31), (1 << 31) - 1)
        return value, value

    def _u32(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.choice((0, 1, (1 << 32) - 1)) if few else chance.randint(0, (1 << 32) - 1)
        return value - (1 << 32) if value >> 31 else value, value

    def _date(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(0, 3) if few else chance.randint(-99999, 99999)
        return value, _EPOCH + datetime.timedelta(value)

    def _i64(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(-1, 2) if few else chance.randint(-(1 << 62), 1 << 62)
        return value, value

    def _micros(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(0, 3) if few else chance.randint(-(1 << 50), 1 << 50)
        return value, datetime.datetime.combine(_EPOCH, datetime.time()) + datetime.timedelta(
            microseconds=value
        )

    def _dec18(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(-2, 2) if few else chance.randint(-(10**17), 10**17)
        return value, _decimal(value, 3)

    def _dec20(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.randint(-2, 2) if few else chance.randint(-(10**19), 10**19)
        return value.to_bytes(self.length, "big", signed=True), _decimal(value, 2)

    def _f32(self, chance: Random, few: bool) -> tuple[Any, Any]:
        return self._float(chance, few, "<f")

    def _f64(self, chance: Random, few: bool) -> tuple[Any, Any]:
        return self._float(chance, few, "<d")

    def _float(self, chance: Random, few: bool, form: str) -> tuple[Any, Any]:
        odd = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.5)
        value = chance.choice(odd) if few or chance.random() < 0.1 else chance.gauss(0, 1e3)
        [value] = struct.unpack(form, struct.pack(form, value))
        return value, value

    def _flag(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.random() < (0.05 if few else 0.5)
        return value, value

    def _text(self, chance: Random, few: bool) -> tuple[Any, Any]:
        if few:
            value = chance.choice(("", "a", "ab", "ä€𐍈"))
        else:
            letters = chance.choice(("ab", "abcdefgh ", "aä€𐍈\U0010ffff"))
            value = "".join(chance.choices(letters, k=chance.choice((0, 1, 5, 30))))
        return value.encode(), value

    def _bytes(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = (
            chance.choice((b"", b"\0", b"\xff\xff"))
            if few
            else chance.randbytes(chance.choice((0, 1, 4, 20)))
        )
        return value, value

    def _fixed(self, chance: Random, few: bool) -> tuple[Any, Any]:
        value = chance.choice((bytes(5), b"\xff" * 5)) if few else chance.randbytes(5)
        return value, value


def _decimal(value: int, scale: int) -> decimal.Decimal:
    return decimal.Decimal(value).scaleb(-scale, decimal.Context(prec=40))


_SCALE, _PRECISION = int(SchemaElement.SCALE), int(SchemaElement.PRECISION)


def _logical(field: Any, inner: Struct | None = None) -> Struct:
    return struct_of({field: inner or {}})


def _decimal_kind(name: str, physical: Type, length: int, scale: int, precision: int) -> Kind:
    digits = struct_of({DecimalType.SCALE: scale, DecimalType.PRECISION: precision})
    return Kind(
        name,
        physical,
        "signed",
        length,
        DECIMAL,
        _logical(LogicalType.DECIMAL, digits),
        ((_SCALE, scale), (_PRECISION, precision)),
    )


_MICROS = struct_of(
    {
        TimeType.IS_ADJUSTED_TO_UTC: False,
        TimeType.UNIT: struct_of({TimeUnit.MICROS: {}}),
    }
)
_U32 = struct_of({IntType.BIT_WIDTH: 32, IntType.IS_SIGNED: False})
KINDS = (
    Kind("i8", Type.INT32, "signed", converted=INT_8),
    Kind("i32", Type.INT32, "signed"),
    Kind("u32", Type.INT32, "unsigned", 0, UINT_32, _logical(LogicalType.INTEGER, _U32)),
    Kind("date", Type.INT32, "signed", converted=DATE),
    Kind("i64", Type.INT64, "signed"),
    Kind("micros", Type.INT64, "signed", logical=_logical(LogicalType.TIMESTAMP, _MICROS)),
    _decimal_kind("dec18", Type.INT64, 0, 3, 18),
    _decimal_kind("dec20", Type.FIXED_LEN_BYTE_ARRAY, 9, 2, 20),
    Kind("f32", Type.FLOAT, "float"),
    Kind("f64", Type.DOUBLE, "float"),
    Kind("flag", Type.BOOLEAN, "unsigned"),
    Kind("text", Type.BYTE_ARRAY, "unsigned", converted=UTF8, logical=_logical(LogicalType.STRING)),
    Kind("bytes", Type.BYTE_ARRAY, "unsigned"),
    Kind("fixed", Type.FIXED_LEN_BYTE_ARRAY, "unsigned", 5),
)
INTEGERS = KINDS[:7]


class Shape:
    """A node below the root; ``repetition`` is its own."""

    name: str
    repetition: Repetition

    def head(self, **more: Any) -> dict[Any, Any]:
        return {
            SchemaElement.REPETITION_TYPE: int(self.repetition),
            SchemaElement.NAME: self.name.encode(),
        }

    def elements(self) -> list[Struct]:
        raise NotImplementedError

    def columns(self, path: tuple[str, ...], rep: int, dep: int) -> list[Column]:
        raise NotImplementedError

    def make(self, chance: Random) -> tuple[Any, Any]:
        """Return an instance, as it is taken apart and as it is shown."""
        if self.repetition == Repetition.REPEATED:
            many = [self.one(chance) for _ in range(chance.choice((0, 1, 2, 5)))]
            return [stored for stored, _ in many], [shown for _, shown in many]
        if self.repetition == Repetition.OPTIONAL and chance.random() < self.null_share:
            return None, None
        return self.one(chance)

    null_share = 0.3

    def one(self, chance: Random) -> tuple[Any, Any]:
        raise NotImplementedError

    def take(self, value: Any, rep: int, dep: int, depth: int, out: list[Column]) -> None:
        """Put an instance's entries into columns; ``depth``: highest repetition above."""
        if self.repetition == Repetition.REQUIRED:
            self.take_one(value, rep, dep, depth, out)
        elif self.repetition == Repetition.OPTIONAL:
            if value is None:
                self.take_none(rep, dep, out)
            else:
                self.take_one(value, rep, dep + 1, depth, out)
        elif not value:
            self.take_none(rep, dep, out)
        else:
            for number, item in enumerate(value):
                self.take_one(item, rep if number == 0 else depth + 1, dep + 1, depth + 1, out)

    def take_one(self, value: Any, rep: int, dep: int, depth: int, out: list[Column]) -> None:
        raise NotImplementedError

    @staticmethod
    def take_none(rep: int, dep: int, out: list[Column]) -> None:
        for column in out:
            column.entries.append((rep, dep, None))

    def levels(self, rep: int, dep: int) -> tuple[int, int]:
        is_repeated = self.repetition == Repetition.REPEATED
        return rep + is_repeated, dep + (self.repetition != Repetition.REQUIRED)


class LeafShape(Shape):
    def __init__(self, name: str, repetition: Repetition, kind: Kind, chance: Random) -> None:
        self.name, self.repetition, self.kind = name, repetition, kind
        self.few = chance.random() < 0.4
        self.null_share = chance.choice((0.0, 0.1, 0.3, 0.9, 1.0))

    def elements(self) -> list[Struct]:
        declared = self.kind.element()
        kind = {f: v for f, v in declared.items() if f < SchemaElement.REPETITION_TYPE}
        rest = {f: v for f, v in declared.items() if f > SchemaElement.NAME}
        return [struct_of({**kind, **self.head(), **rest})]

    def columns(self, path: tuple[str, ...], rep: int, dep: int) -> list[Column]:
        return [Column((*path, self.name), self.kind, *self.levels(rep, dep))]

    def one(self, chance: Random) -> tuple[Any, Any]:
        return self.kind.make(chance, self.few)

    def take_one(self, value: Any, rep: int, dep: int, depth: int, out: list[Column]) -> None:
        [column] = out
        column.entries.append((rep, dep, value))


class GroupShape(Shape):
    """A struct; with ``is_inside`` shown as its only child, as the middle level of a list is."""

    def __init__(
        self,
        name: str,
        repetition: Repetition,
        children: list[Shape],
        *,
        converted: int | None = None,
        logical: Struct | None = None,
        shown: str = "struct",
    ) -> None:
        self.name, self.repetition, self.children = name, repetition, children
        self.converted, self.logical, self.shown = converted, logical, shown

    def elements(self) -> list[Struct]:
        own = self.head() | {SchemaElement.NUM_CHILDREN: len(self.children)}
        if self.converted is not None:
            own[SchemaElement.CONVERTED_TYPE] = self.converted
        if self.logical is not None:
            own[SchemaElement.LOGICAL_TYPE] = self.logical
        return [struct_of(own), *(e for child in self.children for e in child.elements())]

    def columns(self, path: tuple[str, ...], rep: int, dep: int) -> list[Column]:
        levels = self.levels(rep, dep)
        return [c for child in self.children for c in child.columns((*path, self.name), *levels)]

    def one(self, chance: Random) -> tuple[Any, Any]:
        made = [child.make(chance) for child in self.children]
        stored = [value for value, _ in made]
        shown = [value for _, value in made]
        if self.shown == "only":
            return stored, shown[0]
        if self.shown == "pair":
            return stored, tuple(shown)
        return stored, {c.name: value for c, value in zip(self.children, shown, strict=True)}

    def take_one(self, value: Any, rep: int, dep: int, depth: int, out: list[Column]) -> None:
        done = 0
        for child, item in zip(self.children, value, strict=True):
            width = len(child.columns((), 0, 0))
            child.take(item, rep, dep, depth, out[done : done + width])
            done += width


def random_shape(chance: Random, name: str, depth: int = 3) -> Shape:
    """Return a column, nested up to so deep."""
    repetition = chance.choice((Repetition.REQUIRED, Repetition.OPTIONAL, Repetition.OPTIONAL))
    if depth == 0 or chance.random() < 0.6:
        return LeafShape(name, repetition, chance.choice(KINDS), chance)
    inner = depth - 1
    what = chance.choice(("list", "list", "map", "struct", "legacy", "bare"))
    if what == "struct":
        names = "xyz"[: chance.randint(1, 3)]
        return GroupShape(name, repetition, [random_shape(chance, n, inner) for n in names])
    logical = _logical(LogicalType.LIST) if chance.random() < 0.5 else None
    if what == "list":
        item = _single_shape(chance, chance.choice(("element", "item")), inner)
        middle = GroupShape("list", Repetition.REPEATED, [item], shown="only")
        return GroupShape(name, repetition, [middle], converted=LIST, logical=logical, shown="only")
    if what == "legacy":  # two levels: the repeated leaf is the element
        item = LeafShape("array", Repetition.REPEATED, chance.choice(KINDS), chance)
        return GroupShape(name, repetition, [item], converted=LIST, shown="only")
    if what == "bare":  # repeated, and no list around it
        return LeafShape(name, Repetition.REPEATED, chance.choice(KINDS), chance)
    key = LeafShape("key", Repetition.REQUIRED, chance.choice(KINDS), chance)
    pair = GroupShape(
        "key_value",
        Repetition.REPEATED,
        [key, _single_shape(chance, "value", inner)],
        shown="pair",
    )
    return GroupShape(name, repetition, [pair], converted=MAP, shown="only")


def _single_shape(chance: Random, name: str, depth: int) -> Shape:
    """Return what is not repeated itself: a list of that means another thing."""
    while True:
        shape = random_shape(chance, name, depth)
        if shape.repetition != Repetition.REPEATED:
            return shape


def root_element(num_children: int) -> Struct:
    return struct_of({SchemaElement.NAME: b"schema", SchemaElement.NUM_CHILDREN: num_children})
