"""Dataclasses out of decoded JSON, with the types that their fields say.

Keys that nobody knows are passed over; a value of another type is an error, however deep it lies.
Not covered: what values mean, and types that records do not use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_MOST_AS_FLOAT = 1 << 1023  # some more are floats, none that a record holds


def made(kind: type[T], data: object) -> T:
    """Return a dataclass of what a JSON object says.

    Raises:
        ValueError: it is no object, lacks a field, or has one of another type; the message names
            the field, and not its value.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__} is no object")
    given: dict[str, Any] = {}
    for name, convert, is_needed in _fields(kind):  # type: ignore[arg-type] # types are hashable
        if name in data:
            try:
                given[name] = convert(data[name])
            except _OtherType as error:
                raise ValueError(f"{kind.__name__}.{name} is not {error}") from None
        elif is_needed:
            raise ValueError(f"{kind.__name__} has no {name}")
    return kind(**given)


class _OtherType(Exception):
    """A value is not of the type that this names."""


@cache
def _fields(kind: type) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Return name, converter, and whether there is no default, of each field."""
    hints = get_type_hints(kind)
    return tuple(
        (
            field.name,
            _converter(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    )


def _converter(hint: Any) -> Callable[[Any], Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin in (Union, UnionType):
        (one,) = (_converter(item) for item in inner if item is not NoneType)
        return lambda value: None if value is None else one(value)
    if origin is Literal:
        return partial(_one_of, inner)
    if origin is tuple:
        return partial(_items, _converter(inner[0]))
    if is_dataclass(hint):
        return partial(made, hint)  # type: ignore[arg-type]
    return partial(_exactly, dict if origin is Mapping else hint)


def _one_of(words: tuple[object, ...], value: object) -> object:
    if type(value) not in map(type, words) or value not in words:
        raise _OtherType(f"one of {', '.join(map(str, words))}")
    return value


def _items(convert: Callable[[Any], Any], value: object) -> tuple[Any, ...]:
    return tuple(map(convert, _exactly(list, value)))


def _exactly(kind: type[T], value: object) -> T:
    if kind is float and type(value) is int and abs(value) < _MOST_AS_FLOAT:
        value = float(value)
    if type(value) is not kind:  # truth is no number
        raise _OtherType(kind.__name__)
    return value
