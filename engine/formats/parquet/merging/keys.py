"""Key-value metadata of several sources: what must agree, what is made true, what is merely told.

A rule stands for each key that is known to change how values are read. It says what a value means;
sources whose values mean the same go together, whatever the texts are, and an absent value has a
meaning too. Where meanings differ the split is refused: rows of one source would be read by the
other's rule. All other keys are told: they are kept as far as all sources of a part agree.

Not covered: what is true of a part's rows only, such as the bounds of pandas' range index
(:mod:`.writers.key_values`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.described import (
    ARROW_KEY,
    AVRO_KEYS,
    GEO_KEY,
    ODD,
    PANDAS_KEY,
    SPARK_KEY,
    parsed,
)
from engine.formats.parquet.bytes.footer import Footer, Leaf, Type
from engine.formats.parquet.merging.arrow_schemas import arrow_types, merged_schema
from engine.wording import shown

KeyValues = list[tuple[bytes, bytes | None]]

OWN_PREFIX = b"evensplit."
_DATE, _TIMESTAMPS = 6, (9, 10)  # of ``ConvertedType``
_LETTERS_SHOWN, _TYPE_LETTERS_SHOWN = 60, 200  # of a value, and of a column's type
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
        says_more: of a meaning, what that schema does not tell: with it none may lack the key.
        spreads: whether what the key says is true of sources without it, too.
    """

    meaning: Callable[[Footer, bytes | None], Any]
    why: str
    source: str
    merge: Callable[[list[bytes]], bytes] | None = None
    may_lack: bool = False
    says_more: Callable[[Any], Any] | None = None
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
    known: tuple[Any, Named] | None = None
    lacking: Named | None = None
    for source, found in zip(sources, values, strict=True):
        if rule.may_lack and key not in found:
            lacking = lacking or source
            continue
        meaning = _meaning(rule, source.footer, found.get(key))
        known = known or (meaning, source)
        if meaning != known[0]:
            raise _conflict(key, rule, known, (meaning, source))
    if known and lacking and rule.says_more is not None and rule.says_more(known[0]):
        raise _conflict(key, rule, (rule.says_more(known[0]), known[1]), (None, lacking))


def _conflict(
    key: bytes, rule: Rule, one: tuple[Any, Named], other: tuple[Any, Named]
) -> KeyConflict:
    return KeyConflict(
        f"key-value metadata {_text(key)} differs between {one[1].name} "
        f"({_shown(one[0], other[0])}) and {other[1].name} ({_shown(other[0], one[0])}): "
        f"{rule.why}; split these files apart, or write them anew with one writer"
    )


def _meaning(rule: Rule, footer: Footer, content: bytes | None) -> Any:
    try:
        return rule.meaning(footer, content)
    except ODD:
        return content  # what no reader makes sense of must be the same


def _merged(rule: Rule, values: Sequence[bytes | None]) -> bytes | None:
    """Return the value of a part; None if it would not be true of all."""
    present = [value for value in values if value is not None]
    if not present or (len(present) < len(values) and not rule.spreads):
        return None
    try:
        return present[0] if rule.merge is None else rule.merge(present)
    except ODD:
        return None


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


# -- pandas --------------------------------------------------------------------------------------


def _pandas_index(_: Footer, content: bytes | None) -> Any:
    """Return what pandas makes an index of; nothing and a plain count of rows are the same."""
    described = parsed(content)
    columns = described.get("index_columns") if isinstance(described, dict) else None
    found = []
    for column in columns if isinstance(columns, list) else []:
        if not isinstance(column, dict):
            found.append(str(column))
        elif column.get("name") is not None or (column.get("step") or 1) != 1:
            found.append(f"range {column.get('name')} step {column.get('step')}")
    return ", ".join(found) or None


def _merged_pandas(values: list[bytes]) -> bytes:
    """Return pandas' description of the first source, with the attributes that all have."""
    every = [json.loads(value) for value in values]
    told = [described.get("attributes") for described in every]
    if any(attributes != told[0] for attributes in told):
        every[0]["attributes"] = _common(told) if all(isinstance(it, dict) for it in told) else {}
    return json.dumps(every[0]).encode()


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
    described = parsed(content)
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


_UNTOLD = re.compile(r"\b(interval|variant|udt)\b")  # plain numbers and groups in Parquet


def _untold_by_parquet(kinds: Any) -> Any:
    """Return the columns whose type of Spark is not seen in the file's schema."""
    every = kinds.items() if isinstance(kinds, dict) else ()
    return {name: kind for name, kind in every if _UNTOLD.search(kind)}


def _merged_spark(values: list[bytes]) -> bytes:
    """Return Spark's schema of the first source, with what holds of the values of all."""
    return json.dumps(_common_spark([json.loads(value) for value in values])).encode()


def _common_spark(every: list[Any]) -> Any:
    """Return what several schemas, fields, types or values of one place have together.

    What a field's metadata says stays as far as all say it (ML: which number is which text).
    """
    first = every[0]
    if isinstance(first, bool):
        return any(every)  # nullability
    if isinstance(first, list):
        return [_common_spark(list(items)) for items in zip(*every, strict=True)]
    if not isinstance(first, dict):
        return first
    return {
        key: (_common if key == "metadata" else _common_spark)([it[key] for it in every])
        for key in first
        if all(key in it for it in every)
    }


def _common(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries that several tables of texts have alike."""
    return {
        key: content
        for key, content in every[0].items()
        if all(key in it and it[key] == content for it in every)
    }


# -- others --------------------------------------------------------------------------------------


def _geo_columns(_: Footer, content: bytes | None) -> Any:
    """Return how GeoParquet's columns are encoded and placed; boxes and kinds may differ."""
    described = parsed(content)
    if not isinstance(described, dict):
        return content
    columns = {
        name: _told_as_json({k: v for k, v in of.items() if k not in ("bbox", "geometry_types")})
        for name, of in described["columns"].items()
    }
    return {"the primary column": described.get("primary_column"), **columns}


def _merged_geo(values: list[bytes]) -> bytes:
    """Return GeoParquet's metadata with boxes and kinds of geometries that hold all sources'."""
    every = [json.loads(value) for value in values]
    merged = every[0]
    for name, column in merged["columns"].items():
        others = [described["columns"][name] for described in every]
        kinds = [set(other.get("geometry_types", [])) for other in others]
        column["geometry_types"] = sorted(set().union(*kinds)) if all(kinds) else []
        box = _box_of_all([other.get("bbox") for other in others])
        column.pop("bbox", None)
        if box is not None:
            column["bbox"] = box
    return json.dumps(merged).encode()


def _box_of_all(boxes: Sequence[Any]) -> list[float] | None:
    """Return the box around several; None if it is not known.

    A box whose west lies behind its east crosses the antimeridian: of it with others none is made.
    """
    half = len(boxes[0]) // 2 if isinstance(boxes[0], list) else 0
    for box in boxes:
        if not isinstance(box, list) or len(box) != 2 * half or not half:
            return None
        if not all(isinstance(place, int | float) for place in box):
            return None
        if not all(low <= high for low, high in zip(box[:half], box[half:], strict=True)):
            return None
    lows = zip(*(box[:half] for box in boxes), strict=True)
    highs = zip(*(box[half:] for box in boxes), strict=True)
    return [*map(min, lows), *map(max, highs)]


def _labels(_: Footer, content: bytes | None) -> Any:
    """Return what Hugging Face's columns hold: labels by number, images; how texts are held not."""
    described = parsed(content)
    features = described["info"]["features"] if isinstance(described, dict) else {}
    return {name: _told_as_json(of).replace('"large_', '"') for name, of in features.items()}


def _as_json(_: Footer, content: bytes | None) -> Any:
    """Return a value that must be the same; white space and the order of names do not count."""
    described = parsed(content)
    return content if described is None else _told_as_json(described)


def _avro_fields(_: Footer, content: bytes | None) -> Any:
    """Return the fields of Avro's schema; names of the record and comments do not count."""
    described = parsed(content)
    fields = described.get("fields") if isinstance(described, dict) else None
    if not isinstance(fields, list):
        return content
    return {
        str(f.get("name")): _told_as_json({k: v for k, v in f.items() if k not in ("doc", "name")})
        for f in fields
        if isinstance(f, dict)
    }


def _told_as_json(described: Any) -> str:
    return json.dumps(described, sort_keys=True)


def _merged_inside(key: bytes, values: list[bytes]) -> bytes | None:
    """Return an entry of the metadata of Arrow's schema, where others' keys stand once more."""
    rule = RULES.get(key)
    return None if rule is None else _merged(rule, values)


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
        lambda values: merged_schema(values, _merged_inside),
    ),
    PANDAS_KEY: Rule(
        _pandas_index,
        "pandas makes its index of these columns",
        "pandas developer guide, metadata",
        _merged_pandas,
    ),
    _LEGACY_DATES: Rule(_legacy_dates, _REBASED, _REBASE),
    _LEGACY_INT96: Rule(_legacy_int96, _REBASED, _REBASE),
    b"org.apache.spark.version": Rule(_legacy_version, _REBASED, _REBASE, spreads=True),
    b"org.apache.spark.timeZone": Rule(_legacy_zone, _REBASED, _REBASE),
    SPARK_KEY: Rule(
        _spark_fields,
        "Spark reads columns as these types",
        "ParquetReadSupport of Spark",
        _merged_spark,
        may_lack=True,
        says_more=_untold_by_parquet,
    ),
    b"writer.time.zone": Rule(_hive_zone, _ZONED, _OF_HIVE),
    b"writer.zone.conversion.legacy": Rule(_hive_zone, _ZONED, _OF_HIVE),
    b"writer.date.proleptic": Rule(
        _hive_dates, "Hive reads dates and timestamps by it, days off otherwise", _OF_HIVE
    ),
    GEO_KEY: Rule(
        _geo_columns, "geometries are read by it", "GeoParquet, column metadata", _merged_geo
    ),
    b"huggingface": Rule(
        _labels,
        "datasets names numbers and opens bytes by it",
        "Features of datasets",
        may_lack=True,
    ),
    **dict.fromkeys(
        AVRO_KEYS,
        Rule(
            _avro_fields,
            "parquet-avro reads records by it",
            "AvroReadSupport of parquet-java",
            may_lack=True,
        ),
    ),
    b"parquet.proto.descriptor": Rule(
        _as_json, "parquet-protobuf reads messages by it", "ProtoReadSupport of parquet-java"
    ),
    b"thrift.descriptor": Rule(
        _as_json, "parquet-thrift reads records by it", "ThriftReadSupport of parquet-java"
    ),
    b"pig.schema": Rule(_as_json, "Pig reads columns by it", "TupleReadSupport of parquet-pig"),
}
