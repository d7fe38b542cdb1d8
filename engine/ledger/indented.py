"""JSON in the form that the ledger keeps: an item a line, indented by its depth.

The encoder of Python's ``json`` that is written in C does not indent, and the other one takes
seconds for a plan of 33,000 row groups. So what holds no further containers goes through the one
in C, with line breaks for separators; no text has any, as those in strings are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import cache
from itertools import chain
from typing import Any

_CONTAINERS = (dict, list, tuple)


def indented(item: Any, depth: int = 0) -> str:
    """Return the same as ``json.dumps(item, indent=1)``; ``depth``: of what stands around it."""
    if not (isinstance(item, _CONTAINERS) and item):
        return _encoder("")(item)
    line = "\n" + " " * (depth + 1)
    if _are_flat(item.values() if isinstance(item, dict) else item):
        inside = _encoder(line)(item)[1:-1]
    elif isinstance(item, dict):
        named = (f"{_name(key)}{indented(value, depth + 1)}" for key, value in item.items())
        inside = f",{line}".join(named)
    elif _are_flat_objects(item):
        deeper = line + " "
        between = f"{line}}},{line}{{{deeper}"
        objects = _encoder(deeper)(item)[2:-2].replace(f"}},{deeper}{{", between)
        inside = f"{{{deeper}{objects}{line}}}"
    else:
        inside = f",{line}".join(indented(value, depth + 1) for value in item)
    begin, end = "{}" if isinstance(item, dict) else "[]"
    return f"{begin}{line}{inside}{line[:-1]}{end}"


@cache
def _encoder(line: str) -> Callable[[Any], str]:
    return json.JSONEncoder(separators=(f",{line}", ": ")).encode


def _are_flat(values: Collection[Any]) -> bool:
    """Whether none has a line break inside; there may be very many."""
    kinds = {kind for kind in set(map(type, values)) if issubclass(kind, _CONTAINERS)}
    return not kinds or not any(value for value in values if type(value) in kinds)


def _are_flat_objects(items: Collection[Any]) -> bool:
    if not all(type(item) is dict and item for item in items):
        return False
    return _are_flat([*chain.from_iterable(map(dict.values, items))])


def _name(key: Any) -> str:
    """Return a key with what is between it and its value."""
    return _encoder("")({key: None})[1 : -len("null}")]
