"""The factory as it lies in ``conf/adf``: every file, and every expression in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2] / "conf" / "adf"
KINDS = ("factory", "linkedService", "dataset", "pipeline", "trigger")


def load(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Return the content of all files, by kind and name."""
    return {
        kind: {path.stem: json.loads(path.read_text()) for path in (root / kind).glob("*.json")}
        for kind in KINDS
    }


def walk(value: Any) -> Iterator[Any]:
    """Yield a value and all that is inside it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from walk(item)


def expressions(value: Any) -> list[str]:
    """Return the expressions in a part of the factory."""
    found = [item for item in walk(value) if isinstance(item, dict)]
    plain = [item["value"] for item in found if set(item) == {"value", "type"}]
    returned = [item["content"] for item in found if set(item) == {"content", "type"}]
    return [text for text in plain + returned if isinstance(text, str) and "@" in text]


def activities(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all activities of a pipeline, inner ones too."""
    return [item for item in walk(pipeline) if isinstance(item, dict) and "dependsOn" in item]


def references(value: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield kind, name and parameters of everything that is referred to."""
    kinds = {
        "LinkedServiceReference": "linkedService",
        "DatasetReference": "dataset",
        "PipelineReference": "pipeline",
    }
    for item in walk(value):
        if isinstance(item, dict) and item.get("type") in kinds:
            yield kinds[item["type"]], item["referenceName"], item.get("parameters", {})
