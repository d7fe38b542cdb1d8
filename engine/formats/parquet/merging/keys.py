"""Key-value metadata of several sources: what must agree, what is made true, what is merely told.

A rule stands for each key that is known to change how values are read. It says what a value means;
sources whose values mean the same go together, whatever the texts are, and an absent value has a
meaning too. Where meanings differ the split is refused: rows of one source would be read by the
other's rule. All other keys are told: they are kept as far as all sources of a part agree.

Not covered: what is true of a part's rows only, such as the bounds of pandas' range index
(:mod:`.writers.key_values`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import MAGIC, Footer, Leaf, Type, key_value_struct, seal
from engine.wording import shown

KeyValues = list[tuple[bytes, bytes | None]]

ARROW_KEY = b"ARROW:schema"
PANDAS_KEY = b"pandas"
OWN_PREFIX = b"evensplit."
_DATE, _TIMESTAMPS = 6, (9, 10)  # of ``ConvertedType``
_LETTERS_SHOWN, _TYPE_LETTERS_SHOWN = 60, 200  # of a value, and of a column's type
# Metadata of a field in Arrow's schema that changes its values: extension types that Arrow itself
# does not know, and the values of Polars' enums, of which all others are read as nulls.
_MEANT = (b"ARROW:extension:", b"_PL_ENUM_VALUES")
_LEGACY_BEFORE = 3  # Spark 3 began with the calendar of today


class Named(NamedTuple):
    """A source's footer, and what to call it."""

    name: str
    footer: Footer


class KeyConflict(Exception):
    """Two sources differ in a key that changes values; the text is for people."""


class Rule(NamedTuple):
    """What a key means.

    Attributes:
        meaning: of a source's footer and its value (None where it has none), as something that
            compares; sources whose meanings are equal go together.
        why: what reads it, for a refusal.
        source: where that is told.
        merge: the value of a part, of the values of its sources; the first's if None.
        may_lack: whether a source without the key goes with all others: readers then look at the
            schema, which is the same.
        spreads: whether what the key says is true of sources without it, too.
    """

    meaning: Callable[[Footer, bytes | None], Any]
    why: str
    source: str
    merge: Callable[[list[bytes]], bytes] | None = None
    may_lack: bool = False
    spreads: bool = False


def merged_keys(sources: Sequence[Named]) -> tuple[KeyValues, list[str]]:
    """Return the entries that a part of these sources carries, and what it does not.

    Raises:
        KeyConflict: a key that changes values has other meanings in two of them.
    """
    first = sources[0].footer.key_values
    if all(source.footer.key_values == first for source in sources):
        return first, []
    values = [dict(source.footer.key_values) for source in sources]
    every = list(dict.fromkeys(key for found in values for key in found))
    kept: KeyValues = []
    lost = []
    for key in every:
        rule = RULES.get(key)
        if rule is not None:
            _check(key, rule, sources, values)
        if key.startswith(OWN_PREFIX):
            continue
        its = [found.get(key) for found in values]
        if all(key in found for found in values) and len(set(its)) == 1:
            kept.append((key, its[0]))
            continue
        merged = None if rule is None else _merged(rule, its)
        if merged is not None:
            kept.append((key, merged))
        if merged is None or len(set(its)) > 1:
            lost.append(_told(key, sources, values, is_merged=merged is not None))
    return kept, lost


def _check(
    key: bytes, rule: Rule, sources: Sequence[Named], values: Sequence[dict[bytes, bytes | None]]
) -> None:
    known: list[tuple[Any, Named]] = []
    for source, found in zip(sources, values, strict=True):
        if rule.may_lack and key not in found:
            continue
        meaning = rule.meaning(source.footer, found.get(key))
        for other, its in known[:1]:
            if meaning != other:
                raise KeyConflict(
                    f"key-value metadata {_text(key)} differs between {its.name} "
                    f"({_shown(other, meaning)}) and {source.name} ({_shown(meaning, other)}): "
                    f"{rule.why}; split these files apart, or write them anew with one writer"
                )
        known.append((meaning, source))


def _merged(rule: Rule, values: Sequence[bytes | None]) -> bytes | None:
    """Return the value of a part; None if it would not be true of all."""
    present = [value for value in values if value is not None]
    if not present or (len(present) < len(values) and not rule.spreads):
        return None
    return present[0] if rule.merge is None else rule.merge(present)


def _told(
    key: bytes,
    sources: Sequence[Named],
    values: Sequence[dict[bytes, bytes | None]],
    *,
    is_merged: bool,
) -> str:
    has = [source.name for source, found in zip(sources, values, strict=True) if key in found]
    where = ", ".join(has[:3]) + (", ..." if len(has) > 3 else "")
    what = (
        "merged in parts with rows of several" if is_merged else "not in parts with rows of several"
    )
    return f"key-value metadata {_text(key)} of {where} is not the same in all files: {what}"


def _text(key: bytes) -> str:
    return repr(key.decode("utf-8", "replace"))


def _shown(meaning: Any, other: Any) -> str:
    """Return a meaning in words: of a table of columns only what differs."""
    if isinstance(meaning, dict):
        its = other if isinstance(other, dict) else {}
        mine = [
            f"{name}: {_shortened(str(kind), _TYPE_LETTERS_SHOWN)}"
            for name, kind in meaning.items()
            if its.get(name) != kind
        ]
        return ", ".join(mine[:3]) or "nothing"
    if isinstance(meaning, bytes):
        return _shortened(shown(meaning.decode("utf-8", "replace")), _LETTERS_SHOWN)
    return "none" if meaning is None else str(meaning)


def _shortened(text: str, num_letters: int) -> str:
    return text if len(text) <= num_letters else f"{text[:num_letters]}..."


# -- Arrow --------------------------------------------------------------------------------------


def arrow_types(footer: Footer, content: bytes | None) -> Any:
    """Return the type of each column as pyarrow reads it by the schema kept in the footer."""
    import pyarrow as pa

    try:
        found = plain_schema(footer, content)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError):
        return None if content is None else content  # what Arrow cannot read, it reads alike
    return {field.name: _plain_field(field) for field in found}


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
        return f"{name}<{inner}>"
    return re.sub(r"^large_|_view$", "", str(kind))


def _merged_arrow(values: list[bytes]) -> bytes:
    """Return Arrow's schema of the first source, its metadata as far as all have it."""
    import pyarrow as pa

    try:
        schemas = [pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value))) for value in values]
    except MemoryError:
        raise
    except (ValueError, pa.ArrowException, OSError):
        return values[0]
    metadata = [dict(schema.metadata or {}) for schema in schemas]
    common = {
        key: value
        for key, value in metadata[0].items()
        if all(key in other for other in metadata)
        and (key == PANDAS_KEY or all(other[key] == value for other in metadata))
    }
    merged = schemas[0].with_metadata(common or None)
    return base64.b64encode(merged.serialize().to_pybytes())


# -- pandas --------------------------------------------------------------------------------------


def _pandas_index(_: Footer, content: bytes | None) -> Any:
    """Return what pandas makes an index of; nothing and a plain count of rows are the same."""
    described = _json(content)
    columns = described.get("index_columns") if isinstance(described, dict) else None
    found = []
    for column in columns if isinstance(columns, list) else []:
        if not isinstance(column, dict):
            found.append(str(column))
        elif column.get("name") is not None or (column.get("step") or 1) != 1:
            found.append(f"range {column.get('name')} step {column.get('step')}")
    return ", ".join(found) or None


# -- Spark ---------------------------------------------------------------------------------------


def _has_times(footer: Footer) -> bool:
    return any(map(_is_time, footer.leaves))


def _is_time(leaf: Leaf) -> bool:
    logical = spec.LogicalType
    return (
        leaf.physical is Type.INT96
        or leaf.logical_type in (logical.DATE, logical.TIMESTAMP)
        or leaf.converted_type in (_DATE, *_TIMESTAMPS)
    )


def _legacy_dates(footer: Footer, content: bytes | None) -> Any:
    return None if content is None or not _has_times(footer) else "hybrid calendar"


def _legacy_int96(footer: Footer, content: bytes | None) -> Any:
    has_int96 = any(leaf.physical is Type.INT96 for leaf in footer.leaves)
    return None if content is None or not has_int96 else "hybrid calendar"


def _legacy_version(footer: Footer, content: bytes | None) -> Any:
    """Return whether Spark takes a file's dates for those of its old calendar."""
    found = re.match(rb"\d+", content or b"")
    is_old = found is not None and int(found[0]) < _LEGACY_BEFORE
    return "hybrid calendar" if is_old and _has_times(footer) else None


def _legacy_zone(footer: Footer, content: bytes | None) -> Any:
    keys = {key for key, _ in footer.key_values}
    return content if keys & {_LEGACY_DATES, _LEGACY_INT96} and _has_times(footer) else None


# -- Hive ----------------------------------------------------------------------------------------


def _hive_dates(footer: Footer, content: bytes | None) -> Any:
    return content if _has_times(footer) else None


def _hive_zone(footer: Footer, content: bytes | None) -> Any:
    stamps = [leaf for leaf in footer.leaves if _is_time(leaf) and leaf.physical is not Type.INT32]
    return content if stamps else None


# -- schemas of others ---------------------------------------------------------------------------


def _spark_fields(_: Footer, content: bytes | None) -> Any:
    """Return the types of Spark's own schema; where there is none, the file's schema tells."""
    described = _json(content)
    fields = described.get("fields") if isinstance(described, dict) else None
    if not isinstance(fields, list):
        return None
    return {str(f.get("name")): _spark_type(f.get("type")) for f in fields if isinstance(f, dict)}


def _spark_type(kind: Any) -> str:
    """Return a type of Spark's schema without nullability and comments."""
    if not isinstance(kind, dict):
        return str(kind)
    if kind.get("type") == "struct":
        inner = [f"{f.get('name')}: {_spark_type(f.get('type'))}" for f in kind.get("fields", [])]
        return f"struct<{', '.join(inner)}>"
    inner = [
        _spark_type(kind[key]) for key in ("elementType", "keyType", "valueType") if key in kind
    ]
    return f"{kind.get('type')}<{', '.join(inner)}>" + (
        f" {kind['class']}" if "class" in kind else ""
    )


# -- others --------------------------------------------------------------------------------------


def _geo_columns(_: Footer, content: bytes | None) -> Any:
    """Return how GeoParquet's columns are encoded and placed; boxes and kinds may differ."""
    described = _json(content)
    if not isinstance(described, dict):
        return content
    columns = described.get("columns")
    if not isinstance(columns, dict):
        return content
    return {
        name: _told_as_json({k: v for k, v in of.items() if k not in ("bbox", "geometry_types")})
        for name, of in columns.items()
        if isinstance(of, dict)
    }


def _merged_geo(values: list[bytes]) -> bytes:
    """Return GeoParquet's metadata with boxes and kinds of geometries that hold all sources'."""
    every = [json.loads(value) for value in values]
    merged = every[0]
    for name, column in merged["columns"].items():
        others = [described["columns"][name] for described in every]
        kinds = [set(other.get("geometry_types", [])) for other in others]
        column["geometry_types"] = sorted(set().union(*kinds)) if all(kinds) else []
        boxes = [other.get("bbox") for other in others]
        column.pop("bbox", None)
        if all(isinstance(box, list) and len(box) == len(boxes[0]) for box in boxes):
            half = len(boxes[0]) // 2
            column["bbox"] = [
                (min if place < half else max)(box[place] for box in boxes)
                for place in range(2 * half)
            ]
    return json.dumps(merged).encode()


def _as_json(_: Footer, content: bytes | None) -> Any:
    """Return a value that must be the same; white space and the order of names do not count."""
    described = _json(content)
    return content if described is None else _told_as_json(described)


def _avro_fields(_: Footer, content: bytes | None) -> Any:
    """Return the fields of Avro's schema; names of the record and comments do not count."""
    described = _json(content)
    fields = described.get("fields") if isinstance(described, dict) else None
    if not isinstance(fields, list):
        return content
    return {
        str(f.get("name")): _told_as_json({k: v for k, v in f.items() if k not in ("doc", "name")})
        for f in fields
        if isinstance(f, dict)
    }


def _json(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"")
    except ValueError:
        return None


def _told_as_json(described: Any) -> str:
    return json.dumps(described, sort_keys=True)


_LEGACY_DATES = b"org.apache.spark.legacyDateTime"
_LEGACY_INT96 = b"org.apache.spark.legacyINT96"
_REBASE = "DataSourceUtils of Spark (datetimeRebaseSpec, int96RebaseSpec)"
_OF_HIVE = "DataWritableReadSupport of Hive; Impala's conversion of Hive's timestamps"
_ZONED = "Hive and Impala read timestamps by it, hours off otherwise"
_REBASED = "Spark reads dates and timestamps by it, days off otherwise"

RULES: dict[bytes, Rule] = {
    ARROW_KEY: Rule(
        arrow_types,
        "Arrow reads columns as these types",
        "ARROW:schema, SchemaManifest of Arrow's C++ reader",
        _merged_arrow,
    ),
    PANDAS_KEY: Rule(
        _pandas_index, "pandas makes its index of these columns", "pandas developer guide, metadata"
    ),
    _LEGACY_DATES: Rule(_legacy_dates, _REBASED, _REBASE),
    _LEGACY_INT96: Rule(_legacy_int96, _REBASED, _REBASE),
    b"org.apache.spark.version": Rule(_legacy_version, _REBASED, _REBASE, spreads=True),
    b"org.apache.spark.timeZone": Rule(_legacy_zone, _REBASED, _REBASE),
    b"org.apache.spark.sql.parquet.row.metadata": Rule(
        _spark_fields,
        "Spark reads columns as these types",
        "ParquetReadSupport of Spark",
        may_lack=True,
    ),
    b"writer.time.zone": Rule(_hive_zone, _ZONED, _OF_HIVE),
    b"writer.zone.conversion.legacy": Rule(_hive_zone, _ZONED, _OF_HIVE),
    b"writer.date.proleptic": Rule(
        _hive_dates, "Hive reads dates and timestamps by it, days off otherwise", _OF_HIVE
    ),
    b"geo": Rule(
        _geo_columns, "geometries are read by it", "GeoParquet, column metadata", _merged_geo
    ),
    b"parquet.avro.schema": Rule(
        _avro_fields,
        "parquet-avro reads records by it",
        "AvroReadSupport of parquet-java",
        may_lack=True,
    ),
    b"avro.schema": Rule(
        _avro_fields,
        "parquet-avro reads records by it",
        "AvroReadSupport of parquet-java",
        may_lack=True,
    ),
    b"parquet.proto.descriptor": Rule(
        _as_json, "parquet-protobuf reads messages by it", "ProtoReadSupport of parquet-java"
    ),
    b"thrift.descriptor": Rule(
        _as_json, "parquet-thrift reads records by it", "ThriftReadSupport of parquet-java"
    ),
    b"pig.schema": Rule(_as_json, "Pig reads columns by it", "TupleReadSupport of parquet-pig"),
}
