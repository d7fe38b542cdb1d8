"""Whether JSON is what the models of azure-mgmt-* describe: nothing unknown, nothing missing.

These models keep what they do not know, and stop at the first general class of a hierarchy, so
both are looked into here: whatever has a discriminator is read as the class that it names.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any


def misfits(model_class: type, data: Any, path: str = "") -> list[str]:
    """Return the places in JSON data that a model's class does not know, or misses."""
    if hasattr(model_class, "_attribute_map"):
        return _old_misfits(model_class, data)
    return list(_misfits(model_class(data), path))


def _old_misfits(model_class: Any, data: dict[str, Any]) -> list[str]:
    """The same of an SDK of before, whose models list names as ``properties.name``."""
    known = {entry["key"] for entry in model_class._attribute_map.values()}
    flat = [f"properties.{key}" for key in data.get("properties", {})]
    return [f".{key}: unknown" for key in [*flat, *data] if key not in {*known, "properties"}]


def _misfits(model: Any, path: str) -> Iterator[str]:
    specific = _specific(model)
    if specific is None:
        yield f"{path}: of no known type"
        return
    fields = specific._attr_to_rest_field
    known = {field._rest_name: name for name, field in fields.items()}
    yield from (f"{path}.{key}: unknown" for key in specific if key not in known)
    yield from (f"{path}.{name}: missing" for name in sorted(_required(specific) - set(specific)))
    for key in specific:
        if key in known:
            yield from _inside(getattr(specific, known[key]), f"{path}.{key}")


def _specific(model: Any) -> Any:
    """Return the model as the class that its discriminator names, None if there is none."""
    cls = type(model)
    if "__mapping__" not in vars(cls):
        return model
    field = next(field for field in model._attr_to_rest_field.values() if field._is_discriminator)
    found = dict(_below(cls)).get(model.get(field._rest_name))
    return found(dict(model)) if found else None


def _below(cls: type) -> Iterator[tuple[str, type]]:
    for name, sub in vars(cls).get("__mapping__", {}).items():
        yield name, sub
        yield from _below(sub)


def _inside(value: Any, path: str) -> Iterator[str]:
    if hasattr(value, "_attr_to_rest_field"):
        yield from _misfits(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _inside(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, f"{path}.{key}")


def _required(model: Any) -> set[str]:
    """Return the names that an instance needs: not optional, and not set by the service."""
    needed = set()
    for cls in type(model).__mro__:
        for name, annotation in inspect.get_annotations(cls).items():
            field = model._attr_to_rest_field.get(name)
            if field is None or field._visibility == ["read"] or annotation is typing.Any:
                continue
            if type(None) not in typing.get_args(annotation):
                needed.add(field._rest_name)
    return needed
