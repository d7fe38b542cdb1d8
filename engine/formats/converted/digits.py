"""Numbers of JSON that their type does not hold, told apart from those that it spells otherwise.

Readers of JSON make doubles of them without a word. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EXACT = float(1 << 53)  # whole numbers from here on may be others as doubles
_SURE_LETTERS = 15  # a number of so many digits is a double and comes back from it
_POINT, _NINE = b".9"
_STRETCH = 8
_ALL = 0x0101010101010101  # in each of eight bytes
_LONG = re.compile(rb"-?[0-9.]{%d,}(?:[eE][-+]?[0-9]+)?" % (_SURE_LETTERS + 1))
# What may be so small that a double has few digits of it, or none.
_TINY = re.compile(rb"[eE]-[0-9]{3,}(?=[],} \t\r\n])")
_LEAST = float(np.finfo(np.float64).smallest_normal)
_BEYOND_REAL = 2.0**128 - 2.0**103  # from here on no real is nearer than infinity


class _Lost(float):
    """A double in the place of a number that it is not."""


def columns_with(kind: str, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return those columns of a schema that have a type somewhere."""
    return {name: word for name, word in words.items() if _has(kind, word)}


def _has(kind: str, word: Any) -> bool:
    if isinstance(word, Mapping):
        return any(_has(kind, inner) for inner in word.values())
    return _has(kind, word[0]) if isinstance(word, list) else word == kind


def lost_digits(text: bytes, table: Any, doubles: Mapping[str, Any]) -> bool:
    """Whether a number of some records is none of a double's.

    Args:
        text: the records, a line each.
        table: what was made of them.
        doubles: names and types of the columns that are looked at, by :func:`columns_with`.
    """
    if not doubles:
        return False
    found = _long_numbers(text)
    if not any(_has_from(_EXACT, table.column(name)) for name in doubles):
        found = [number for number in found if b"." in number]
    if not _TINY.search(text) and (not found or _come_back(found)):
        return False
    try:
        lines = filter(bytes.strip, text.split(b"\n"))
        items = (json.loads(line, parse_int=_whole, parse_float=_fraction) for line in lines)
        return any(_holds("double", doubles, item, _is_lost) for item in items)
    except (ValueError, RecursionError):
        return True


def beyond_reals(text: bytes, table: Any, reals: Mapping[str, Any]) -> bool:
    """Whether a number of some records is so large that it is infinite as a real.

    Args:
        text, table: as for :func:`lost_digits`.
        reals: columns of a schema that have reals.
    """
    if not any(_has_from(np.inf, table.column(name)) for name in reals):
        return False
    try:
        items = map(json.loads, filter(bytes.strip, text.split(b"\n")))
        return any(_holds("real", reals, item, _is_beyond) for item in items)
    except (ValueError, RecursionError):
        return True


def _long_numbers(text: bytes) -> list[bytes]:
    """Return all that looks like a number of more digits than a double surely has.

    A regular expression takes long, and looks only at lines with such a run of digits and points:
    it fills a stretch of eight bytes from a multiple of eight on.
    """
    every = np.zeros(len(text) + 3 * _STRETCH, dtype=np.uint8)
    every = every[: len(every) // _STRETCH * _STRETCH]
    every[_STRETCH : _STRETCH + len(text)] = np.frombuffer(text, dtype=np.uint8)
    # Of other bytes a slash alone lies there, which the expression sorts out.
    is_digit = every - _POINT <= _NINE - _POINT
    filled = _STRETCH * np.flatnonzero(is_digit.view(np.uint64) == _ALL)
    before, behind = np.zeros((2, len(filled)), dtype=np.int64)
    is_before, is_behind = np.ones((2, len(filled)), dtype=np.bool_)
    for step in range(_STRETCH):
        is_before &= is_digit[filled - 1 - step]
        is_behind &= is_digit[filled + _STRETCH + step]
        before += is_before
        behind += is_behind
    places = filled[before + behind >= _SURE_LETTERS + 1 - _STRETCH] - _STRETCH
    found, stop = [], -1
    for place in places.tolist():
        if place > stop:
            start, stop = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
            stop = stop if stop >= 0 else len(text)
            found += _LONG.findall(text, start, stop)
    return found


def _come_back(numbers: Sequence[bytes]) -> bool:
    texts = pa.array(numbers, pa.binary()).cast(pa.string())
    try:
        back = pc.cast(pc.cast(texts, pa.float64()), pa.string())
    except pa.ArrowInvalid:  # digits and points of a text
        return False
    return bool(back.equals(texts))


def _has_from(least: float, values: Any) -> bool:
    """Whether floating point numbers are at least so large, whatever their sign."""
    if pa.types.is_struct(values.type):
        return any(_has_from(least, inner) for inner in values.flatten())
    if pa.types.is_list(values.type):
        return _has_from(least, pc.list_flatten(values))
    if not pa.types.is_floating(values.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(values), least)).as_py())


def _whole(text: str) -> int | float:
    number = int(text)
    try:
        is_same = abs(number) <= _EXACT or int(float(number)) == number
    except OverflowError:
        is_same = False
    return number if is_same else _Lost()


def _fraction(text: str) -> float:
    number = float(text)
    if (len(text) <= _SURE_LETTERS and abs(number) >= _LEAST) or repr(number) == text:
        return number
    # The shortest text, and the one of 17 digits: both are how writers spell a double.
    spelled = (Decimal(repr(number)), Decimal(f"{number:.17g}"))
    return number if Decimal(text) in spelled else _Lost(number)


def _is_lost(value: Any) -> bool:
    return isinstance(value, _Lost)


def _is_beyond(value: Any) -> bool:
    is_finite = isinstance(value, int | float) and abs(value) != np.inf
    return bool(is_finite and abs(value) >= _BEYOND_REAL)


def _holds(kind: str, word: Any, value: Any, check: Callable[[Any], bool]) -> bool:
    """Whether a check holds of some value of a type within a value of another one."""
    if isinstance(word, Mapping):
        inner = value if isinstance(value, dict) else {}
        return any(_holds(kind, each, inner.get(name), check) for name, each in word.items())
    if isinstance(word, list):
        return isinstance(value, list) and any(_holds(kind, word[0], each, check) for each in value)
    return bool(word == kind and check(value))
