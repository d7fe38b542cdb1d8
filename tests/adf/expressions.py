"""Data Factory's expression language, as far as ``conf/adf`` uses it.

Written from the language's documentation. What Microsoft's own assemblies make of the same
expressions in the same states is compared by :mod:`tests.adf.crosscheck` (``make adf``): for that,
every evaluation is written to the file that ``EVENSPLIT_ADF_RECORD`` names.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_CHARACTERS = 8_192
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>[(),.?\[\]]))"
)
MAX_NOTED = 40
_recording, _noted = threading.Lock(), Counter[str]()


class ExpressionError(Exception):
    pass


@dataclass
class Scope:
    """What an expression may refer to."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    globals: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    activities: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    dataset: Mapping[str, Any] = field(default_factory=dict)
    trigger: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "parameters": {
                "Pipeline": dict(self.parameters),
                "Global": dict(self.globals),
                "System": dict(self.system),
                "Dataset": dict(self.dataset),
            },
            "variables": dict(self.variables),
            "activities": dict(self.activities),
            "item": self.item,
        }


def resolve(value: Any, scope: Scope) -> Any:
    """Evaluate what is an expression; a plain text is none, whatever stands in it."""
    if isinstance(value, dict):
        if set(value) == {"value", "type"} and value["type"] == "Expression":
            return evaluate(value["value"], scope)
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def evaluate(text: str, scope: Scope) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"{len(text)} characters")
    value = _evaluate(text, scope)
    record = os.environ.get("EVENSPLIT_ADF_RECORD")
    if record and not scope.trigger:
        _note(Path(record), text, scope, value)
    return value


def _note(record: Path, text: str, scope: Scope, value: Any) -> None:
    with _recording:
        _noted[text] += 1
        if _noted[text] <= MAX_NOTED:
            data = {"expression": text, "state": scope.as_dict(), "value": value}
            with record.open("a") as file:
                file.write(json.dumps(data) + "\n")


def _evaluate(text: str, scope: Scope) -> Any:
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@") and not text.startswith("@{"):
        parser = Parser(text, 1, scope)
        value = parser.value()
        parser.end()
        return value
    return _interpolated(text, scope)


def _interpolated(text: str, scope: Scope) -> str:
    out, position = [], 0
    while (start := text.find("@{", position)) >= 0:
        if text[start - 1 : start] == "@":
            out.append(text[position : start - 1] + "@{")
            position = start + 2
            continue
        parser = Parser(text, start + 2, scope)
        out += [text[position:start], as_text(parser.value())]
        position = text.index("}", parser.position) + 1
    return "".join([*out, text[position:]])


class Parser:
    """Reads and evaluates at once; arguments are all evaluated, as the service does."""

    def __init__(self, text: str, position: int, scope: Scope):
        self.text, self.position, self.scope = text, position, scope

    def peek(self) -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.position)
        return (found.lastgroup or "", found[found.lastgroup or 0]) if found else ("", "")

    def take(self, wanted: str = "") -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.position)
        if not found or (wanted and found[found.lastgroup or 0] != wanted):
            near = self.text[self.position :][:30]
            raise ExpressionError(f"{wanted or 'a value'} expected at {near!r}")
        self.position = found.end()
        return found.lastgroup or "", found[found.lastgroup or 0]

    def end(self) -> None:
        if self.text[self.position :].strip():
            raise ExpressionError(f"not understood: {self.text[self.position :][:30]!r}")

    def value(self) -> Any:
        kind, text = self.take()
        if kind == "string":
            value: Any = text[1:-1].replace("''", "'")
        elif kind == "number":
            value = float(text) if "." in text else int(text)
        elif kind == "name" and text in ("true", "false", "null"):
            value = {"true": True, "false": False, "null": None}[text]
        elif kind == "name":
            value = self._called(text)
        else:
            raise ExpressionError(f"a value expected, not {text!r}")
        return self._inside(value)

    def _called(self, name: str) -> Any:
        self.take("(")
        arguments = []
        while self.peek()[1] != ")":
            arguments.append(self.value())
            if self.peek()[1] != ")":
                self.take(",")
        self.take(")")
        function = FUNCTIONS.get(name.lower())
        return function(*arguments) if function else self._reference(name, *arguments)

    def _reference(self, name: str, *arguments: Any) -> Any:
        scope = self.scope
        if name in ("activity", "variables"):
            return _member(scope.activities if name == "activity" else scope.variables, *arguments)
        plain = {"item": scope.item, "dataset": scope.dataset, "triggerBody": scope.trigger}
        around = {"parameters": scope.parameters, "globalParameters": scope.globals}
        return _member(plain | {"pipeline": {**around, **scope.system}}, name)

    def _inside(self, value: Any) -> Any:
        """Follow ``.name``, ``?.name`` and ``[index]``."""
        while True:
            is_careful = self.peek()[1] == "?"
            if is_careful:
                self.take("?")
            sign = self.peek()[1]
            if sign == ".":
                self.take(".")
                value = _member(value, self.take()[1], is_careful=is_careful)
            elif sign == "[":
                self.take("[")
                value = _member(value, self.value(), is_careful=is_careful)
                self.take("]")
            else:
                return value


def _member(value: Any, key: Any, *, is_careful: bool = False) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        if is_careful:
            return None
        raise ExpressionError(f"no {key!r} in {str(value)[:60]}") from None


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _contains(where: Any, what: Any) -> bool:
    return what in where


def _substring(text: str, start: int, length: int) -> str:
    if start + length > len(text):
        raise ExpressionError("substring: beyond the end")
    return text[start : start + length]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda a, b: a and b,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": lambda *values: "".join(as_text(value) for value in values),
    "contains": _contains,
    "empty": lambda value: value is None or len(value) == 0,
    "endswith": lambda text, end: text.lower().endswith(end.lower()),
    "equals": lambda a, b: a == b,
    "first": lambda items: items[0],
    "if": lambda test, yes, no: yes if test else no,
    "int": int,
    "join": lambda items, between: between.join(as_text(item) for item in items),
    "json": json.loads,
    "last": lambda items: items[-1],
    "length": len,
    "less": lambda a, b: a < b,
    "min": min,
    "not": lambda value: not value,
    "replace": lambda text, old, new: text.replace(old, new),
    "skip": lambda items, count: items[count:],
    "split": lambda text, between: text.split(between),
    "startswith": lambda text, begin: text.lower().startswith(begin.lower()),
    "string": as_text,
    "substring": _substring,
}
