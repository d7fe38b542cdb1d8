"""Whether a request holds what the official description allows: names, types, values, needs.

The SDK's models are generated from that description (Azure.Batch, 2025-06-01); they themselves
check nothing that is sent. For the data plane and for Azure Resource Manager alike.
"""

from __future__ import annotations

import datetime
import enum
import re
import sys
import types
import typing

DURATION = re.compile(r"P(?!$)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")


def problems(model, data, where="body"):
    """Return what is wrong with plain data that should be a model, a line each."""
    if not isinstance(data, dict):
        return [f"{where} is no object"]
    fields, hints = described(model)
    found = [f"{where}.{name} is unknown" for name in data if name not in fields]
    for name, (attribute, is_read_only) in fields.items():
        hint = hints[attribute]
        if name not in data:
            if not is_read_only and type(None) not in typing.get_args(hint):
                found.append(f"{where}.{name} is missing")
        elif is_read_only:
            found.append(f"{where}.{name} is the service's to say")
        else:
            found += wrong(hint, data[name], f"{where}.{name}")
    return found


def described(model):
    """Return a model's fields by their names in JSON, and the types of its attributes."""
    model({})  # completes the class
    package = sys.modules[model.__module__.rpartition("._models")[0]]
    hints = typing.get_type_hints(model, localns={"_models": package})
    fields = {
        field._rest_name: (attribute, field._visibility == ["read"])
        for attribute, field in model._attr_to_rest_field.items()
    }
    return fields, hints


def wrong(hint, value, where):
    choices = [item for item in typing.get_args(hint) if item is not type(None)]
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        enums = [item for item in choices if isinstance(item, type) and issubclass(item, enum.Enum)]
        if enums:
            names = {str(member.value) for member in enums[0]}
            return [] if value in names else [f"{where} is {value!r}, none of {sorted(names)}"]
        tried = [wrong(item, value, where) for item in choices]
        return min(tried, key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [p for i, item in enumerate(value) for p in wrong(choices[0], item, f"{where}[{i}]")]
    if origin is dict:
        return [p for key, item in value.items() for p in wrong(choices[1], item, f"{where}.{key}")]
    if hasattr(hint, "as_dict"):
        return problems(hint, value, where)
    if hint is datetime.timedelta:
        fits = isinstance(value, str) and DURATION.fullmatch(value)
    elif hint in (str, datetime.datetime):
        fits = isinstance(value, str)
    elif hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, hint)
    return [] if fits else [f"{where} is {value!r}, not {hint.__name__}"]
