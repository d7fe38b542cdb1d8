"""Schemas that writers keep in key-value metadata, made to fit a file that is read by another one.

Arrow's gets the columns in their new order, with those that the file lacks; pandas' loses columns
that are left out; Spark's is put in order, with values of folders, and left out where the file
lacks a column, which Spark would not see. Those of Avro, protobuf, thrift and Pig are left out:
readers would look for the columns that these name. All other entries stay.

Source: each writer's own; see :mod:`.merging.keys` for what reads them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from engine.formats.parquet.bytes.described import (
    ARROW_KEY,
    AVRO_KEYS,
    ODD,
    PANDAS_KEY,
    SPARK_KEY,
    described_alone,
    pandas_of,
)
from engine.formats.parquet.bytes.footer import Footer
from engine.model import Constant

LEFT_OUT = frozenset(
    (
        *AVRO_KEYS,
        b"parquet.proto.descriptor",
        b"thrift.descriptor",
        b"pig.schema",
    )
)

Pairs = list[tuple[bytes, bytes | None]]


def fitted_key_values(
    own: Footer, schema: Footer, columns: Sequence[str], constants: Sequence[Constant]
) -> Pairs:
    """Return the key-value metadata of a file that is read by another schema.

    Args:
        own: the file's footer.
        schema: the other schema, with Arrow's of it if any file has one.
        columns: names of its top columns.
        constants: columns behind these.
    """
    found: Pairs = []
    for key, content in own.key_values:
        if key in LEFT_OUT:
            continue
        try:
            if content is not None and key == ARROW_KEY:
                content = _fitted_arrow(content, schema, columns, constants)
            elif content is not None and key == PANDAS_KEY:
                content = described_alone(key, content, set(columns))
            elif content is not None and key == SPARK_KEY:
                content = _fitted_spark(content, columns, constants)
        except ODD:
            continue  # what cannot be read cannot be made true
        found.append((key, content))
    return found


def arrow_schema(content: bytes) -> Any:
    """Return Arrow's schema out of its entry; raises ValueError or OSError if it is none."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content, validate=True)))


def arrow_content(schema: Any) -> bytes:
    """Return the entry of a schema."""
    return base64.b64encode(schema.serialize().to_pybytes())


def arrow_field(constant: Constant) -> Any:
    """Return Arrow's field of a column that a folder names."""
    import pyarrow as pa

    kinds = {"int32": pa.int32(), "int64": pa.int64(), "date": pa.date32(), "string": pa.string()}
    return pa.field(constant.name, kinds[constant.kind])


def _fitted_arrow(
    content: bytes, schema: Footer, columns: Sequence[str], constants: Sequence[Constant]
) -> bytes:
    import pyarrow as pa

    own = arrow_schema(content)
    wanted = next((text for key, text in schema.key_values if key == ARROW_KEY), None)
    others = arrow_schema(wanted) if wanted else own
    fields = []
    for name in columns:
        other = others.field(name)
        its = own.field(name) if name in own.names else other
        # What is in groups may have been put together from several files.
        fields.append(
            (other if pa.types.is_nested(its.type) else its).with_nullable(other.nullable)
        )
    fields += map(arrow_field, constants)
    metadata = dict(own.metadata or {})
    if PANDAS_KEY in metadata:
        described = pandas_of(json.loads(metadata[PANDAS_KEY]), set(columns))
        metadata[PANDAS_KEY] = json.dumps(described).encode()
    return arrow_content(pa.schema(fields, metadata or None))


_SPARK_TYPES = {"int32": "integer", "int64": "long", "date": "date", "string": "string"}


def _fitted_spark(content: bytes, columns: Sequence[str], constants: Sequence[Constant]) -> bytes:
    described = json.loads(content)
    by_name = {field["name"]: field for field in described["fields"]}
    described["fields"] = [by_name[name] for name in columns] + [
        {"name": it.name, "type": _SPARK_TYPES[it.kind], "nullable": True, "metadata": {}}
        for it in constants
    ]
    return json.dumps(described).encode()
