"""The schema of files of lines: what was given, and of all else the types that samples have.

Samples are blocks at places spread over all files. What they do not show is found when the records
are read, and is an error then: no value is changed to fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from engine import memory
from engine.errors import BadRow, BadSetting, SchemaMismatch
from engine.formats.converted.blocks import (
    ENCODING_CURE,
    Block,
    in_threads,
    indexed,
    most_utf8_bytes,
)
from engine.formats.converted.records import Reader, one_array
from engine.formats.converted.sifting import sifted
from engine.formats.converted.types import TEXT, Schema, arrow_type, quoted_name
from engine.formats.converted.values import Spelling, found_type
from engine.formats.lines.dialect import DELIMITERS, MOSTLY, fields_of
from engine.formats.lines.encodings import is_utf8, text_of
from engine.formats.lines.index import record_offset
from engine.formats.lines.pieces import dialect_of
from engine.formats.lines.reading import opened
from engine.formats.lines.scan import marks_of
from engine.formats.parquet.bytes.column_names import resolve_all
from engine.formats.parquet.bytes.schema_tree import Node
from engine.model import Conversion, SourceFile
from engine.storage import Source
from engine.storage.base import naming, redacted
from engine.wording import counted, is_name, shown

_NUM_PLACES, _SAMPLED_BYTES = 64, 64 << 20
_ROWS_AT_ONCE = 2048  # below that, calls take longer than values; a value that fails takes long
_COPIES = 6  # of a sample: text, fields, values
_JSON_BYTES = 64 << 10  # of a block, as Python reads it
_MOST_WHOLE = 1 << 63
_MOST_LEVELS = 60  # below a column: Arrow reads 98, and hands 63 on
_TOO_DEEP = "is nested more deeply than readers of Parquet go: flatten it (jq)"
_NOTHING = "null"
_KINDS = {str: TEXT, bool: "boolean", float: "double", type(None): _NOTHING}


def inferred(files: Sequence[SourceFile], given: Schema, conversion: Conversion) -> Conversion:
    """Return a conversion with the schema of files.

    Args:
        files: alike, their dialects known.
        given: types that need not be looked for.
        conversion: all but the schema.

    Raises:
        BadSetting: a name that was given is none of a column.
        SchemaMismatch: names of columns are missing or not unique, or samples have no common type.
        BadRow: a sample is no row.
    """
    samples = _places(files)
    with naming(files[0].path):
        if dialect_of(files[0]).kind == "ndjson":
            schema = _of_json(samples, given)
        else:
            schema = _of_text(files[0], samples, given, conversion)
    columns = _taken(list(schema), conversion.columns)
    found = tuple(name for name in columns or schema if name not in given)
    text = json.dumps(schema, ensure_ascii=False)
    return replace(conversion, schema=text, found=found, columns=columns)


def _taken(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are wanted, in the file's order; none for all.

    Raises:
        BadSetting: a name is none of a column.
    """
    if not wanted:
        return ()
    root = Node(0, -1, len(names) + 1, "", is_leaf=False)
    leaves = [Node(at, 0, at + 1, name, is_leaf=True) for at, name in enumerate(names, 1)]
    chosen = {node.position for node in resolve_all([root, *leaves], wanted)}
    return tuple(name for at, name in enumerate(names, 1) if at in chosen)


def _places(files: Sequence[SourceFile]) -> list[tuple[SourceFile, Block]]:
    """Return some blocks, spread evenly over those of all files, with the first and the last."""
    every = [(file, block) for file in files for block in indexed(file).blocks]
    largest = max((block.num_bytes for _, block in every), default=1)
    needed_bytes = _COPIES * round(most_utf8_bytes(files[0], largest))
    memory.ask(needed_bytes, "to look at a sample of records", arrow=True)
    number = max(2, min(_NUM_PLACES, _SAMPLED_BYTES // largest))
    if len(every) <= number:
        return every
    return [every[(len(every) - 1) * at // (number - 1)] for at in range(number)]


def type_of_texts(texts: Sequence[str]) -> str:
    """Return the type that a column of delimited text with some fields gets, as a word."""
    return found_type([pa.array(texts, pa.string())], Spelling(), arrow_type) or TEXT


def type_of_json(values: Iterable[object]) -> str:
    """Return the type that a key with some values gets, as a word or JSON; ``mixed`` if none."""
    found: Any = _NOTHING
    try:
        for value in values:
            found = _merged(found, _word(value, ""), "")
        word = _settled(found, "")
    except (_Conflict, SchemaMismatch, RecursionError):
        return "mixed"
    return word if isinstance(word, str) else json.dumps(word, ensure_ascii=False)


# -- delimited text ------------------------------------------------------------------------------


def _of_text(
    file: SourceFile,
    samples: Sequence[tuple[SourceFile, Block]],
    given: Schema,
    conversion: Conversion,
) -> dict[str, Any]:
    names = _names(file, samples, given)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise BadSetting(
            f"--schema names {shown(unknown[0])}, which is no column; columns are "
            f"{', '.join(map(shown, names))}"
        )
    nested = [name for name in given if not isinstance(given[name], str)]
    if nested:
        raise BadSetting(
            f"--schema: {shown(nested[0])} has types within, which delimited text cannot hold"
        )
    columns = frozenset(_taken(names, conversion.columns) or names)
    texts = _texts(names, samples, conversion)
    _check_delimiter(file, names, texts)
    spelling = Spelling(conversion.nulls, conversion.decimal, conversion.timestamp_format)
    texts = _fewer(texts)

    def found(name: str) -> str:
        return found_type([one_array(table.column(name)) for table in texts], spelling, arrow_type)

    unknown = [name for name in names if name in columns and name not in given]
    types = {**given, **dict(zip(unknown, in_threads(found, unknown), strict=True))}
    return {name: types[name] or TEXT if name in columns else TEXT for name in names}


def _fewer(tables: Sequence[Any]) -> list[Any]:
    """Return tables with some put together, where they have few rows."""
    found: list[list[Any]] = []
    num_rows = num_bytes = 0
    for table in tables:
        num_rows += table.num_rows
        num_bytes += table.nbytes
        if not found or num_rows > _ROWS_AT_ONCE or num_bytes > _SAMPLED_BYTES:
            found.append([])
            num_rows, num_bytes = table.num_rows, table.nbytes
        found[-1].append(table)
    return [pa.concat_tables(some) for some in found]


def _names(
    file: SourceFile, samples: Sequence[tuple[SourceFile, Block]], given: Schema
) -> list[str]:
    """Return the names of the columns: the header's; without one those given, or numbers.

    Raises:
        SchemaMismatch: a name is empty or not unique, or nothing has names.
    """
    dialect = dialect_of(file)
    with opened(file) as source:
        length = dialect.header_bytes - dialect.mark_bytes
        header = text_of(source, dialect, dialect.mark_bytes, length)
        if not header:
            start = dialect.header_bytes
            stop = record_offset(source, start, 1, marks_of(dialect)) if samples else start
            fields = next(fields_of(text_of(source, dialect, start, stop - start), dialect), [""])
    if not header:
        if not samples and not given:
            raise SchemaMismatch(
                "it has no header and no records, so that nothing tells its columns: leave it out, "
                "or say --schema"
            )
        if samples and given and len(given) != len(fields):
            raise BadSetting(
                f"--schema names {counted(len(given), 'column')}, and without a header it has to "
                f"name all {len(fields):,} that the first record has"
            )
        return list(given) or [f"column{number}" for number in range(len(fields))]
    if not is_utf8(header):
        raise SchemaMismatch(f"its header is no {dialect.encoding or 'UTF-8'}: {ENCODING_CURE}")
    if b"\0" in header:
        raise SchemaMismatch("its header has NUL in it, at which readers end a name: mend the file")
    names = next(fields_of(header, dialect), [""])
    seen = set()
    for number, name in enumerate(names):
        if not name.strip():
            raise SchemaMismatch(
                f"column {number + 1} of its header has no name, which a column of Parquet needs: "
                "name it in the file"
            )
        if name in seen:
            raise SchemaMismatch(
                f"its header has the name {shown(name)} twice, so that nobody can tell the columns "
                "apart: rename one in the file"
            )
        seen.add(name)
    return names


def _check_delimiter(file: SourceFile, names: Sequence[str], texts: Sequence[Any]) -> None:
    """See to it that records with delimiters are not taken for one column without being asked.

    Raises:
        BadSetting: nearly all have one, and they do not have as many fields as the first.
    """
    if dialect_of(file).delimiter:
        return
    values = [value or "" for table in texts for value in table.column(0).to_pylist()] or names
    for delimiter in DELIMITERS:
        number = sum(delimiter in value for value in values)
        if number >= MOSTLY * len(values):
            raise BadSetting(
                f"no delimiter was found, as its records have not as many fields as the first, but "
                f"{number:,} of {len(values):,} have {delimiter!r}: give --delimiter; if it is "
                "one column, one that it lacks (--delimiter tab)"
            )


def _texts(
    names: Sequence[str], samples: Sequence[tuple[SourceFile, Block]], conversion: Conversion
) -> list[Any]:
    """Return the fields of samples as tables of texts; records that are no rows are left out."""
    if not samples:
        return []
    schema = json.dumps(dict.fromkeys(names, TEXT), ensure_ascii=False)
    reader = Reader(
        dialect_of(samples[0][0]), Conversion(schema, nulls=conversion.nulls, bad_rows="skip")
    )
    tables = []
    for file, block in samples:
        with opened(file) as source:
            text = text_of(source, dialect_of(file), block.offset, block.num_bytes)
        # What is no row is told with its line when it is to be written.
        tables.append(sifted(reader, text, block.num_rows).table)
    return tables


# -- JSON ----------------------------------------------------------------------------------------


class _Conflict(Exception):
    """Values of one key have no common type."""


def _of_json(samples: Sequence[tuple[SourceFile, Block]], given: Schema) -> dict[str, Any]:
    found: Any = {}
    for file, block in samples:
        with opened(file) as source:
            text = _some_json(source, file, block)
        for line in text.split(b"\n")[: block.num_rows]:
            try:
                item = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the last one may be cut; others are told when they are to be written
            if not isinstance(item, dict):
                continue
            try:
                if (b"\\u" in line or b"\xed" in line) and not _has_names(item):
                    continue
                item = {key: value for key, value in item.items() if key not in given}
                found = _merged(found, _word(item, ""), "")
            except _Conflict as error:
                raise BadRow(f"{redacted(file.path)}: {error}") from None
            except RecursionError:
                raise SchemaMismatch(f"a record of it {_TOO_DEEP}") from None
    schema = {**given, **{key: _settled(word, key) for key, word in found.items()}}
    if any(not name.strip() for name in schema):
        raise SchemaMismatch(
            "a key of its records is empty, and a column needs a name: mend it (jq)"
        )
    if not schema:
        raise SchemaMismatch(
            "its records are no JSON objects, or have no keys, and so there are no columns: make "
            "objects of them (of arrays by jq -c '.[]'), or say --schema"
        )
    for name, word in schema.items():
        if _levels(word) > _MOST_LEVELS:
            raise SchemaMismatch(f"key {shown(name)} {_TOO_DEEP}")
    return schema


def _levels(word: Any) -> int:
    """Return how many levels of Parquet's schema lie below a column."""
    if isinstance(word, list):
        return 2 + _levels(word[0])
    inner = word.values() if isinstance(word, dict) else ()
    return max((1 + _levels(each) for each in inner), default=0)


def _has_names(value: object) -> bool:
    """Whether all keys may be names of columns."""
    inner: Iterable[object] = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        inner = value.values()
        if not all(map(is_name, value)):
            return False
    return all(map(_has_names, inner))


def _some_json(source: Source, file: SourceFile, block: Block) -> bytes:
    """Return some bytes of a block, with one record at least."""
    dialect = dialect_of(file)
    text = text_of(source, dialect, block.offset, min(block.num_bytes, _JSON_BYTES))
    if b"\n" not in text:
        text = text_of(source, dialect, block.offset, block.num_bytes)
    return text


def _word(value: object, key: str) -> Any:
    """Return the type of a JSON value."""
    if isinstance(value, dict):
        return {name: _word(inner, f"{key}.{name}".strip(".")) for name, inner in value.items()}
    if isinstance(value, list):
        found: Any = _NOTHING
        for inner in value:
            found = _merged(found, _word(inner, key), key)
        return [found]
    if type(value) is int:
        if not -_MOST_WHOLE <= value < _MOST_WHOLE:
            raise _Conflict(
                f"key {shown(key)} has whole numbers beyond bigint: say --schema "
                f"'{quoted_name(shown(key))} decimal(38,0)', or double if they need not be exact"
            )
        return "bigint"
    return _KINDS[type(value)]


def _merged(one: Any, other: Any, key: str) -> Any:
    """Return the type that two types fit.

    Raises:
        _Conflict: there is none.
    """
    if one == other or other == _NOTHING:
        return one
    if one == _NOTHING:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {
            name: _merged(one.get(name, _NOTHING), word, f"{key}.{name}".strip("."))
            for name, word in other.items()
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0], key)]
    if {"bigint", "double"} == {str(one), str(other)}:
        return "double"
    raise _Conflict(
        f"the values of key {shown(key)} are {_kind(one)} in some records and {_kind(other)} in "
        "others, and a column has one type: mend the file (jq), or split it as lines, without --to"
    )


def _kind(word: Any) -> str:
    names = {"bigint": "numbers", "double": "numbers", "boolean": "truths", TEXT: "texts"}
    if isinstance(word, Mapping):
        return "objects"
    return "lists" if isinstance(word, list) else names[word]


def _settled(word: Any, key: str) -> Any:
    """Return a type in which nothing is left open: what had no value is text."""
    if isinstance(word, Mapping):
        if not word:
            raise SchemaMismatch(
                f"key {shown(key)} has objects without keys, which no column can be: say a type "
                f'for it (--schema \'{{"{shown(key)}": {{"name": "varchar"}}}}\')'
            )
        return {name: _settled(inner, f"{key}.{name}") for name, inner in word.items()}
    if isinstance(word, list):
        return [_settled(word[0], key)]
    return TEXT if word == _NOTHING else word
