"""Types of columns in words: what users write, and what plans keep. Pure but for reading files.

A schema is a JSON object of names and types; a type is a word (``bigint``), a list of one type, or
an object of its own. ``id bigint, price decimal(12,2)`` says the same of columns without types
within. Not covered: maps, unions, times without a date, binary values, columns without nulls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import BadSetting, EvensplitError
from engine.part_names import PARQUET_SUFFIXES
from engine.storage import open_storage
from engine.storage.base import redacted
from engine.wording import choice_hint, is_name, shown

Word = Any  # a word, a list of one, or a mapping of names
Schema = Mapping[str, Word]

TEXT = "varchar"
_FLAG, _OTHERS = "--schema", ", or name a .json, .sql or .parquet file"
_TYPES: dict[str, Any] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "utinyint": pa.uint8(),
    "usmallint": pa.uint16(),
    "uinteger": pa.uint32(),
    "ubigint": pa.uint64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp(3)": pa.timestamp("ms"),
    "timestamp(9)": pa.timestamp("ns"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamptz(3)": pa.timestamp("ms", "UTC"),
    "timestamptz(9)": pa.timestamp("ns", "UTC"),
    TEXT: pa.string(),
}
_WORDS = {str(kind): word for word, kind in _TYPES.items()}
# Other words for the same; lengths of texts are no part of a Parquet type.
_ALIASES = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int": "integer",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float32": "real",
    "float64": "double",
    "double precision": "double",
    "date32": "date",
    "datetime": "timestamp",
    "timestamp(6)": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "timestamptz(6)": "timestamptz",
    "string": TEXT,
    "text": TEXT,
    "nvarchar": TEXT,
    "char": TEXT,
}
_TEXT_LENGTH = re.compile(r"(varchar|nvarchar|char)\(\d+\)")
_DECIMAL = re.compile(r"(?:decimal|numeric)\((\d{1,2})(?:,(\d{1,2}))?\)")
_MOST_DIGITS = 38
_COLUMN = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^\s",{}\[\]]+))'
    r"\s+(?P<type>[a-zA-Z][\w ]*(?:\([\d\s,]*\))?[\w ]*)\s*(?:,|$)"
)


def arrow_type(word: Word) -> Any:
    """Return the Arrow type that a word, as :func:`checked` returns it, means."""
    if isinstance(word, Mapping):
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in word.items()])
    if isinstance(word, list):
        return pa.list_(arrow_type(word[0]))
    found = _DECIMAL.fullmatch(word)
    return pa.decimal128(int(found[1]), int(found[2] or 0)) if found else _TYPES[word]


def arrow_schema(schema: Schema) -> Any:
    """Return the Arrow schema of names and words."""
    return pa.schema([pa.field(name, arrow_type(word)) for name, word in schema.items()])


def checked(word: object, name: str, flag: str = _FLAG) -> Word:
    """Return the one spelling of a type; ``flag``: the option that has it.

    Raises:
        BadSetting: there is no such type.
    """
    if isinstance(word, Mapping):
        if not word:
            raise BadSetting(f"{flag}: {shown(name)} is an object without keys, which no type is")
        return {key: checked(inner, f"{name}.{key}", flag) for key, inner in word.items()}
    if isinstance(word, list) and len(word) == 1:
        return [checked(word[0], name, flag)]
    text = re.sub(r"\s*([(),])\s*", r"\1", " ".join(str(word).lower().split()))
    if (found := _DECIMAL.fullmatch(text)) is not None:
        digits, scale = int(found[1]), int(found[2] or 0)
        if 1 <= digits <= _MOST_DIGITS and scale <= digits:
            return f"decimal({digits},{scale})"
    text = TEXT if _TEXT_LENGTH.fullmatch(text) else _ALIASES.get(text, text)
    if text in _TYPES:
        return text
    hint = choice_hint(text, [*_TYPES, "decimal(12,2)"])
    if text == "float":
        hint = "systems differ in how large it is: write real (32 bits) or double (64)"
    raise BadSetting(f"{flag}: {shown(name)} has the type {shown(str(word))}; {hint}")


def word_of(kind: Any, name: str) -> Word:
    """Return the word for an Arrow type.

    Raises:
        BadSetting: there is none.
    """
    if pa.types.is_struct(kind):
        return {kind[at].name: word_of(kind[at].type, name) for at in range(kind.num_fields)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [word_of(kind.value_type, name)]
    if pa.types.is_decimal(kind) and kind.precision <= _MOST_DIGITS and kind.scale >= 0:
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        kind = pa.timestamp(kind.unit, "UTC")  # the same instants
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if str(kind) in _WORDS:
        return _WORDS[str(kind)]
    raise BadSetting(
        f"--schema: {shown(name)} is {kind} there, which lines are not converted to; choose "
        f"another type: {', '.join(_TYPES)}, decimal(12,2)"
    )


def quoted_name(name: str) -> str:
    """Return a name as a schema in words has it."""
    if re.fullmatch(r"[^\s\",{}\[\]]+", name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def read_schema(text: str) -> Schema:
    """Return names and types from a Parquet file, a JSON file, a text file, or a text itself.

    Raises:
        BadSetting: it is none of these.
    """
    name = text.strip()
    if name.lower().endswith(PARQUET_SUFFIXES):
        return _of_parquet(name)
    if name.lower().endswith((".json", ".sql", ".txt")):
        name = _content(name).decode("utf-8-sig", "replace").strip()
    if not name.startswith("{"):
        return named_types(name)
    try:
        found = json.loads(name, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadSetting(f"--schema is no JSON: {error}") from None
    return {key: checked(word, key) for key, word in found.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    if not all(map(is_name, found)):
        raise ValueError("a name has NUL or half a character in it")
    return found


def named_types(text: str, flag: str = _FLAG, others: str = _OTHERS) -> Schema:
    """Return names and types from a text like ``id bigint, "a b" date``.

    Args:
        text: has at least one.
        flag: the option whose value it is.
        others: what else that takes, behind an example.

    Raises:
        BadSetting: it is no such text.
    """
    found: dict[str, Word] = {}
    position = 0
    while position < len(text):
        column = _COLUMN.match(text, position)
        if column is None:
            rest = shown(text[position : position + 40])
            raise BadSetting(
                f"{flag} is not understood at {rest}: write names and types as 'id bigint, "
                f"day date'{others}"
            )
        name = column["plain"] or column["quoted"].replace('""', '"')
        if name in found:
            raise BadSetting(f"{flag} names {shown(name)} twice")
        found[name] = checked(column["type"], name, flag)
        position = column.end()
    if not found:
        raise BadSetting(f"{flag} is empty: write names and types as 'id bigint, day date'")
    return found


def _content(path: str) -> bytes:
    store, where = open_storage(path)
    found = store.get(where)
    if found is None:
        raise BadSetting(f"--schema {redacted(path)} is not there")
    return found


def _of_parquet(path: str) -> Schema:
    store, where = open_storage(path)
    try:
        source = store.open(store.stat(where))
    except EvensplitError as error:
        raise BadSetting(f"--schema: {error}") from None
    try:
        fields = list(pq.read_schema(source.arrow_file()))
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadSetting(f"--schema {redacted(path)} is no Parquet file: {reason}") from None
    finally:
        source.close()
    return {field.name: word_of(field.type, field.name) for field in fields}
