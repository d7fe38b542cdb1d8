"""Columns as other writers describe them in key-value metadata, as JSON: some of them alone.

What a text says of columns that a file lacks is not true of the file: readers would ask for them,
fill them with nulls, or refuse. So a description loses these columns, or is left out as a whole
where it cannot be without them.

Source: each writer's own; see :mod:`.merging.keys` for what reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

ARROW_KEY = b"ARROW:schema"
PANDAS_KEY = b"pandas"
SPARK_KEY = b"org.apache.spark.sql.parquet.row.metadata"
AVRO_KEYS = (b"parquet.avro.schema", b"avro.schema")
GEO_KEY = b"geo"

# What is raised by a text that has not the shape its writer gives it, Arrow's errors included.
ODD = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    OSError,
    NotImplementedError,
)


def parsed(content: bytes | None) -> Any:
    """Return what a text says; None if it is no JSON."""
    try:
        return json.loads(content or b"")
    except (ValueError, RecursionError):
        return None


def described_alone(key: bytes, content: bytes, names: set[str]) -> bytes | None:
    """Return a description of some columns alone; None if it is left out.

    Args:
        key: one of :data:`DESCRIPTIONS`.
        content: its text.
        names: top columns that the file has.

    Raises: one of :data:`ODD` for a text that is none of its writer's.
    """
    found = DESCRIPTIONS[key](json.loads(content), names)
    return None if found is None else json.dumps(found).encode()


def pandas_of(described: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return pandas' description of a table with the columns named alone."""
    described["columns"] = [
        column
        for column in described["columns"]
        if (column.get("field_name") or column.get("name")) in names
    ]
    described["index_columns"] = [
        index for index in described["index_columns"] if isinstance(index, dict) or index in names
    ]
    return described


def _fields_of(described: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return a record of Spark or Avro."""
    described["fields"] = [field for field in described["fields"] if field["name"] in names]
    return described


def _geo_of(described: dict[str, Any], names: set[str]) -> dict[str, Any] | None:
    """Return GeoParquet's description; without its primary column there is none."""
    if described["primary_column"] not in names:
        return None
    columns = {name: of for name, of in described["columns"].items() if name in names}
    for column in columns.values():
        boxes = column.get("covering", {}).get("bbox", {})
        if any(path[0] not in names for path in boxes.values()):
            del column["covering"]
    return {**described, "columns": columns}


DESCRIPTIONS: dict[bytes, Callable[[Any, set[str]], dict[str, Any] | None]] = {
    PANDAS_KEY: pandas_of,
    SPARK_KEY: _fields_of,
    **dict.fromkeys(AVRO_KEYS, _fields_of),
    GEO_KEY: _geo_of,
}
# In these types stand, which those of part of a nested column are not.
WITH_TYPES = frozenset((SPARK_KEY, *AVRO_KEYS))
