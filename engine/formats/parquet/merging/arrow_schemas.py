"""Arrow's schema of a file: what it says of values, and the one of several files together.

Where it says how Arrow holds values, files go together: texts with long offsets or short ones, or
by dictionaries. What their parts say must hold what all have: indices into a dictionary are of 32
bits or more where rows of several come together, since readers make one dictionary of all, and
what a column's metadata says stays as far as all say it.

Source: ``ARROW:schema``, SchemaManifest of Arrow's C++ reader.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.described import ARROW_KEY
from engine.formats.parquet.bytes.footer import MAGIC, Footer, key_value_struct, seal

if TYPE_CHECKING:
    import pyarrow as pa

# Metadata of a field in Arrow's schema that changes its values: extension types that Arrow itself
# does not know, and the values of Polars' enums, of which all others are read as nulls.
_MEANT = (b"ARROW:extension:", b"_PL_ENUM_VALUES")
_INDEX_BITS = 32  # at least, of a dictionary that is put together


def arrow_types(footer: Footer, content: bytes | None) -> Any:
    """Return the type of each column as pyarrow reads it by the schema kept in the footer."""
    import pyarrow as pa

    try:
        found = plain_schema(footer, content)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError):
        return None if content is None else content  # what Arrow cannot read, it reads alike
    kinds: dict[str, str] = {}
    for at, field in enumerate(found):
        name = f"{field.name} at place {at + 1}" if field.name in kinds else field.name
        kinds[name] = _plain_field(field)
    return kinds


def plain_schema(footer: Footer, content: bytes | None = None) -> Any:
    """Return Arrow's schema of a footer, by the one that it keeps in an entry, if any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = spec.FileMetaData
    pairs = [] if content is None else [key_value_struct(ARROW_KEY, content)]
    schema = {
        names.VERSION: 2,
        names.SCHEMA: footer.schema,
        names.NUM_ROWS: 0,
        names.ROW_GROUPS: [],
        names.KEY_VALUE_METADATA: pairs,
    }
    return pq.read_schema(pa.BufferReader(MAGIC + seal(thrift.encode(spec.struct_of(schema)))))


def meant_metadata(field: Any) -> dict[bytes, bytes]:
    """Return what a field's metadata says of its values; comments and the like are left out."""
    return {key: text for key, text in (field.metadata or {}).items() if key.startswith(_MEANT)}


def _plain_field(field: Any) -> str:
    """Return a field's type, and what its metadata says of values."""
    told = {
        key.decode("utf-8", "replace"): text.decode("utf-8", "replace")
        for key, text in sorted(meant_metadata(field).items())
    }
    return f"{_plain_type(field.type)} {told}" if told else _plain_type(field.type)


def _plain_type(kind: Any) -> str:
    """Return a type without what only says how Arrow holds values: these go together."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        # Arrow's text of a type has its parameters.
        return f"{kind.extension_name} of {_plain_type(kind.storage_type)}, {kind}"
    if pa.types.is_nested(kind):
        inner = ", ".join(
            f"{kind.field(number).name}: {_plain_field(kind.field(number))}"
            for number in range(kind.num_fields)
        )
        name = re.sub(r"^large_|_view$", "", str(kind).partition("<")[0])
        size = f"[{kind.list_size}]" if pa.types.is_fixed_size_list(kind) else ""
        return f"{name}<{inner}>{size}"
    return re.sub(r"^large_|_view$", "", str(kind))


def merged_schema(values: Sequence[bytes], merged: Callable[..., bytes | None]) -> bytes:
    """Return the entry of files whose types go together.

    Args:
        values: of each of them.
        merged: the value of an entry of the schema's own metadata, by its key and its values; None
            to leave it out.
    """
    import pyarrow as pa

    try:
        schemas = [pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value))) for value in values]
        fields = [common_field(every) for every in zip(*_distinct(schemas), strict=True)]
    except MemoryError:
        raise
    except (ValueError, pa.ArrowException, OSError):
        return values[0]
    every = [dict(schema.metadata or {}) for schema in schemas]
    metadata: dict[bytes, bytes] = {}
    for key in every[0]:
        if all(key in other for other in every):
            found = [other[key] for other in every]
            content = found[0] if len(set(found)) == 1 else merged(key, found)
            metadata.update({} if content is None else {key: content})
    schema = pa.schema(fields, metadata or None)
    return base64.b64encode(schema.serialize().to_pybytes())


def _distinct(schemas: Sequence[pa.Schema]) -> list[pa.Schema]:
    """Return schemas without those whose fields are all those of the one before."""
    found: list[pa.Schema] = []
    for schema in schemas:
        plain = schema.remove_metadata()
        if not found or not plain.equals(found[-1], check_metadata=True):
            found.append(plain)
    return found


def with_wide_indices(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a file as it is where several of its dictionaries are put together."""
    import pyarrow as pa

    return pa.schema([common_field([field]) for field in schema], schema.metadata)


def common_field(fields: Sequence[pa.Field]) -> pa.Field:
    """Return the first of some fields that go together, with what holds of all; all inside too."""
    first = fields[0]
    told = [dict(field.metadata or {}) for field in fields]
    common = {key: text for key, text in told[0].items() if all(it.get(key) == text for it in told)}
    kind = _common_type([field.type for field in fields])
    return first.with_type(kind).with_metadata(common or None)


def _common_type(kinds: Sequence[pa.DataType]) -> pa.DataType:
    """Return the first of some types, with dictionaries that hold what those of all do."""
    import pyarrow as pa

    first = kinds[0]
    if pa.types.is_dictionary(first):
        bits = first.index_type.bit_width
        index = first.index_type if bits >= _INDEX_BITS else pa.int32()
        return pa.dictionary(index, first.value_type, first.ordered)
    make = _makers().get(first.id)
    if make is None or any(kind.num_fields != first.num_fields for kind in kinds):
        return first
    inside = [
        common_field([kind.field(number) for kind in kinds]) for number in range(first.num_fields)
    ]
    its = [first.field(number) for number in range(first.num_fields)]
    if all(a.equals(b, check_metadata=True) for a, b in zip(inside, its, strict=True)):
        return first
    return make(first, inside)


def _makers() -> dict[int, Callable[[Any, list[pa.Field]], pa.DataType]]:
    """Return what makes a nested type as another is, of other fields."""
    import pyarrow as pa

    return {
        pa.struct([]).id: lambda _, inside: pa.struct(inside),
        pa.list_(pa.null()).id: lambda _, inside: pa.list_(*inside),
        pa.large_list(pa.null()).id: lambda _, inside: pa.large_list(*inside),
        pa.list_view(pa.null()).id: lambda _, inside: pa.list_view(*inside),
        pa.large_list_view(pa.null()).id: lambda _, inside: pa.large_list_view(*inside),
        pa.list_(pa.null(), 1).id: lambda kind, inside: pa.list_(*inside, kind.list_size),
        pa.map_(pa.int8(), pa.null()).id: lambda kind, inside: pa.map_(*inside, kind.keys_sorted),
    }
