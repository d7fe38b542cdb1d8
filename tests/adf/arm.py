"""The language of Azure Resource Manager's templates, as far as ``conf/azure`` uses it.

The grammar is Data Factory's. What only Azure knows (keys, ids of identities) stays a name in
angle brackets, so a test sees where it goes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.adf.expressions import ExpressionError, Parser, Scope, _member

SUBSCRIPTION, GROUP, TENANT = "/subscriptions/S", "G", "T"


class ArmParser(Parser):
    def __init__(self, text: str, position: int, template: Mapping[str, Any], given: Mapping):
        super().__init__(text, position, Scope())
        self.template, self.given = template, given

    def _reference(self, name: str, *arguments: Any) -> Any:
        known = {
            "parameters": self._parameter,
            "variables": lambda name: evaluate(
                _member(self.template["variables"], name), self.template, self.given
            ),
            "resourceId": lambda type_, *names: (
                f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{_joined(type_, names)}"
            ),
            "subscriptionResourceId": lambda type_, *names: (
                f"{SUBSCRIPTION}/providers/{_joined(type_, names)}"
            ),
            "resourceGroup": lambda: {"id": f"{SUBSCRIPTION}/{GROUP}", "location": "westeurope"},
            "subscription": lambda: {"tenantId": TENANT},
            "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
            "guid": lambda *words: hashlib.md5("-".join(words).encode()).hexdigest(),
            "uniqueString": lambda *words: hashlib.md5("-".join(words).encode()).hexdigest()[:13],
            "createObject": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
            "length": len,
            "copyIndex": lambda: self.given["copyIndex()"],
            "reference": _Known,
            "listKeys": lambda id_, api: {
                "keys": [{"value": f"<key of {id_}>"}],
                "primary": f"<key of {id_}>",
            },
        }
        if name not in known:
            raise ExpressionError(f"no function {name}")
        return known[name](*arguments)

    def _parameter(self, name: str) -> Any:
        declared = _member(self.template["parameters"], name)
        if name in self.given:
            return self.given[name]
        return evaluate(_member(declared, "defaultValue"), self.template, self.given)


class _Known(dict):
    """A resource as Azure describes it: every property is a text that names it."""

    def __init__(self, id_: str, api: str, full: str = ""):
        self.id, self.api, self.full = id_, api, full

    def __missing__(self, name: str) -> Any:
        if self.full and name == "identity":
            return {"principalId": f"<principal of {self.id}>"}
        if self.full:
            raise KeyError(name)
        words = {"principalId": "principal", "clientId": "client", "accountEndpoint": "endpoint"}
        return f"<{words[name]} of {self.id}>"


def _joined(type_: str, names: tuple[str, ...]) -> str:
    provider, *kinds = type_.split("/")
    assert len(kinds) == len(names), f"{type_} has other names than {names}"
    return "/".join([provider, *(word for pair in zip(kinds, names, strict=True) for word in pair)])


def evaluate(value: Any, template: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {
            evaluate(key, template, given): evaluate(item, template, given)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [evaluate(item, template, given) for item in value]
    if not isinstance(value, str) or not value.startswith("["):
        return value
    if value.startswith("[["):
        return value[1:]
    parser = ArmParser(value[:-1], 1, template, given)
    found = parser.value()
    parser.end()
    return found


def resources(template: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every resource that is deployed, evaluated, by its id."""
    found = {}
    for raw, known in _copied(template, given):
        item = evaluate(raw, template, known)
        if item.get("condition", True):
            type_, scope = item["type"], item.get("scope")
            place = f"{SUBSCRIPTION}/resourceGroups/{GROUP}"
            id_ = f"{scope or place}/providers/{_joined(type_, tuple(item['name'].split('/')))}"
            assert id_ not in found, f"{id_} is there twice"
            found[id_] = item
    return json.loads(json.dumps(found))


def _copied(template, given):
    for raw in template["resources"]:
        times = evaluate(raw["copy"]["count"], template, given) if "copy" in raw else 1
        plain = {key: value for key, value in raw.items() if key != "copy"}
        for index in range(times):
            yield plain, {**given, "copyIndex()": index}
