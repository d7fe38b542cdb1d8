"""SQL text that three readers share: quoted names, and Arrow scalars as literals."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def scalar_text(value: pa.Scalar) -> str:
    """The value as text that a CAST in any of the engines reads back exactly."""
    if pt.is_floating(value.type):
        return repr(value.as_py())
    return str(value.cast(pa.string()).as_py())


def is_bytes(kind: pa.DataType) -> bool:
    sized = pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind)
    return bool(sized or pt.is_fixed_size_binary(kind))
