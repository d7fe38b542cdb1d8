"""Records of a block that are no rows: found all at once, and told why.

Records that pyarrow does not read as one row each are found first; then, column by column, the
fields that are no values. Reasons are made as they are asked for: of a file that nearly all fails,
nobody wants to hold them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.formats.converted.digits import beyond_reals, lost_digits
from engine.formats.converted.records import Reader, one_array
from engine.formats.converted.types import TEXT, arrow_type
from engine.formats.converted.values import Spelling, Unfit, fitting, passing
from engine.formats.lines.dialect import fields_of
from engine.formats.lines.encodings import encoding_of, is_utf8
from engine.formats.lines.scan import FRESH, marks_of, plain, record_ends
from engine.wording import counted, is_name, shown

_SHOWN_LETTERS = 60
_FITS, _IS_NO_ROW = -2, -1  # beside the number of the first column whose field is no value
_LONE_RETURN = re.compile(rb"\r(?!\n|\Z)")
# By word: what JSON has for it, of what Python makes of JSON; whole numbers for all others.
_TEXTS, _NUMBERS = frozenset([str]), frozenset([int, float])
_JSON_KINDS = {
    TEXT: _TEXTS,
    "date": _TEXTS,
    "timestamp": _TEXTS,
    "timestamptz": _TEXTS,
    "boolean": frozenset([bool]),
    "real": _NUMBERS,
    "double": _NUMBERS,
    "decimal": _NUMBERS | _TEXTS,
}


class Bad(NamedTuple):
    """A record that is no row: where it lies in its block, and why."""

    offset: int
    length: int
    column: str
    reason: str


class Sifted(NamedTuple):
    """The rows of a block, how many records are none, and these, in order."""

    table: Any
    num_bad: int
    bad: Iterator[Bad]


def sifted(reader: Reader, text: bytes, num_rows: int) -> Sifted:
    """Return the rows of a block, which has so many if all its records are rows."""
    try:
        return Sifted(reader.table(text, num_rows), 0, iter(()))
    except Unfit:
        return _told_apart(reader, text)


def _told_apart(reader: Reader, text: bytes) -> Sifted:
    bounds = reader.bounds(text)
    records = [text[start:stop] for start, stop in pairwise(bounds)]
    look = _json_rows if reader.is_json else _csv_rows
    table, faults, reason = look(reader, records)

    def bad() -> Iterator[Bad]:
        for at in np.flatnonzero(faults != _FITS).tolist():
            column, why = reason(at)
            yield Bad(bounds[at], len(records[at]), column, why)

    return Sifted(table, len(records) - table.num_rows, bad())


_Reason = Callable[[int], tuple[str, str]]
_Rows = tuple[Any, Any, _Reason]  # the rows, the faults of all records, and why one has some


def _read(
    records: Sequence[bytes], read: Callable[[bytes, list[int]], Any]
) -> tuple[list[Any], list[bool]]:
    """Return records as tables, and which are a row.

    Halves are looked at where nobody can tell that.

    Args:
        records: of a block.
        read: makes a table of a text, and adds the numbers, from 1 on, of rows that it left out.
    """
    left_out: list[int] = []
    try:
        table = read(b"".join(records), left_out)
    except MemoryError:
        raise
    except (pa.ArrowException, Unfit):
        table = None
    if table is not None and table.num_rows + len(left_out) == len(records):
        are_rows = np.ones(len(records), dtype=np.bool_)
        are_rows[np.array(left_out, dtype=np.int64) - 1] = False
        return [table], are_rows.tolist()
    if len(records) <= 1:
        return [], [False] * len(records)
    middle = len(records) // 2
    (one, are_one), (two, are_two) = (
        _read(some, read) for some in (records[:middle], records[middle:])
    )
    return one + two, are_one + are_two


# -- delimited text ----------------------------------------------------------------------------


def _csv_rows(reader: Reader, records: Sequence[bytes]) -> _Rows:
    def read(text: bytes, left_out: list[int]) -> Any:
        def take_ragged(row: Any) -> str:
            left_out.append(row.number)
            return "skip"

        # pyarrow shows ragged rows as text; what is no text without its escapes goes by halves.
        shows = not reader.dialect.escape or is_utf8(text)
        return reader.texts(text, take_ragged if shows else None)

    faults = np.full(len(records), _FITS, dtype=np.int32)
    readable = [at for at, record in enumerate(records) if _is_one_line(reader, record)]
    tables, are_rows = _read([records[at] for at in readable], read)
    rows = np.array(readable, dtype=np.int64)[np.array(are_rows, dtype=np.bool_)]
    faults[:] = _IS_NO_ROW
    fields = (
        pa.concat_tables(tables)
        if tables
        else pa.schema((name, pa.string()) for name in reader.words).empty_table()
    )
    texts = [one_array(fields.column(at)) for at in range(len(reader.words))]
    columns, of_rows = _values(reader, texts, len(rows))
    faults[rows] = of_rows
    fits = pa.array(of_rows == _FITS)
    made = [
        reader.typed(at, texts[at].filter(fits)) if values is None else values.filter(fits)
        for at, values in enumerate(columns)
    ]

    def reason(at: int) -> tuple[str, str]:
        column = int(faults[at])
        if column == _IS_NO_ROW:
            return "", _why_no_row(reader, records[at])
        name = reader.schema.names[column]
        field = texts[column][int(np.searchsorted(rows, at))].as_py()
        return name, f"{_cut(repr(field))} is no {reader.words[name]}"

    return pa.table(made, schema=reader.schema), faults, reason


def _values(reader: Reader, texts: Sequence[Any], num_rows: int) -> tuple[list[Any], Any]:
    """Return the values of columns, None where some field is none, and the faults of the rows."""
    faults = np.full(num_rows, _FITS, dtype=np.int32)
    columns: list[Any] = []
    for at, field in enumerate(reader.schema):
        try:
            columns.append(reader.typed(at, texts[at]))
        except Unfit:
            columns.append(None)
            fits = fitting(
                texts[at],
                partial(reader.typed, at),
                field.type,
                reader.words[field.name],
                reader.spelling,
                is_found=field.name in reader.found,
            )
            faults[(faults == _FITS) & ~fits.to_numpy(zero_copy_only=False)] = at
    return columns, faults


def _is_one_line(reader: Reader, record: bytes) -> bool:
    """Whether a record is UTF-8, one row for pyarrow, whatever it holds, and clear."""
    if reader.is_blank(record) or _has_lone_return(reader, record) or reader.unclear(record):
        return False
    escape = re.escape(reader.dialect.escape.encode())
    plainly = re.sub(rb"(?s)%b(.)" % escape, rb"\1", record) if escape else record
    return is_utf8(plainly)


def _has_lone_return(reader: Reader, record: bytes) -> bool:
    """Whether a carriage return in a record, outside of quotes, ends a line for pyarrow."""
    if not _LONE_RETURN.search(record):
        return False
    marks = marks_of(reader.dialect)
    as_feeds = _LONE_RETURN.sub(b"\n", plain(record, b"", marks))
    ends = record_ends(as_feeds, FRESH, b"", marks).ends
    return bool(len(ends)) and int(ends[0]) < len(record)


def _why_no_row(reader: Reader, record: bytes) -> str:
    """Return why a record of delimited text is no row, whatever its fields are."""
    line = record.rstrip(b"\r\n")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return encoding_of(reader.dialect).reason(line, error.start)
    if not text.strip():
        return "the line is empty"
    if b"\r" in line:
        return "a carriage return in it is no line end, and not in quotes"
    if found := reader.unclear(record):
        return (
            f"readers differ in what {found} is: say --nulls '{found}' if it is null, or write the "
            "file without such escapes"
        )
    fields = next(fields_of(record, reader.dialect), [])
    return f"it has {counted(len(fields), 'field')}, and {len(reader.words):,} are wanted"


# -- JSON --------------------------------------------------------------------------------------


def _json_rows(reader: Reader, records: Sequence[bytes]) -> _Rows:
    faults = np.full(len(records), _IS_NO_ROW, dtype=np.int32)
    likely = [at for at, record in enumerate(records) if not _json_fault(reader, record)]
    tables, are_rows = _read([records[at] for at in likely], lambda text, _: reader.raw(text))
    rows = np.array(likely, dtype=np.int64)[np.array(are_rows, dtype=np.bool_)]
    of_rows = np.full(len(rows), _FITS, dtype=np.int32)
    raw = pa.concat_tables(tables) if tables else reader.schema.empty_table()
    for at, field in enumerate(reader.schema):
        values = one_array(raw.column(at))
        of_rows[(of_rows == _FITS) & ~_are_castable(values, field, reader)] = at
    table = raw.filter(pa.array(of_rows == _FITS)).cast(reader.schema)
    fitting_rows = np.flatnonzero(of_rows == _FITS)
    of_lost = _lost(reader, [records[at] for at in rows[fitting_rows].tolist()], table)
    table = table.filter(pa.array(of_lost == _FITS))
    of_rows[fitting_rows] = of_lost
    lost = set(rows[fitting_rows[of_lost != _FITS]].tolist())
    faults[rows] = of_rows

    def reason(at: int) -> tuple[str, str]:
        column, why = reader.schema.names[int(faults[at])], ""
        is_lost = at in lost and column in reader.doubles
        if is_lost and type(json.loads(records[at])[column]) is not int:
            return column, "its digits are more than a double holds"
        if faults[at] == _IS_NO_ROW:
            column, why = _json_fault(reader, records[at]) or _json_reason(reader, records[at])
        return column, why or _is_none(reader, records[at], column)

    return table, faults, reason


def _lost(reader: Reader, records: Sequence[bytes], table: Any) -> Any:
    """Return the column of each record in which a number is none of its type's; see `digits`."""
    faults = np.full(len(records), _FITS, dtype=np.int32)
    for is_other, columns in ((lost_digits, reader.doubles), (beyond_reals, reader.reals)):
        for name, word in columns.items():
            if is_other(b"".join(records), table, {name: word}):
                for at in np.flatnonzero(faults == _FITS).tolist():
                    if is_other(records[at], table.slice(at, 1), {name: word}):
                        faults[at] = reader.schema.get_field_index(name)
    return faults


def _are_castable(values: Any, field: Any, reader: Reader) -> Any:
    """Return which values of JSON become values of a column."""

    def check(some: Any) -> Any:
        return some.cast(field.type)

    every = np.ones(len(values), dtype=np.bool_)
    if values.type == field.type:
        return every
    try:
        check(values)
    except MemoryError:
        raise
    except pa.ArrowException:
        if pa.types.is_nested(field.type):
            return passing(values, check, np.arange(len(values)))
        word = reader.words[field.name]
        fits = fitting(values, check, field.type, word, Spelling(), is_found=False)
        return fits.to_numpy(zero_copy_only=False)
    return every


class _Pairs(list[tuple[str, object]]):
    """A JSON object with all its keys, also those that are there twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


def _json_fault(reader: Reader, record: bytes) -> tuple[str, str] | None:
    """Return the column, empty if none is, for which a record can be no row, and why.

    The reason is empty where the value is none of its type; None where pyarrow has to say.
    """
    line = record.rstrip(b"\r\n")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return "", encoding_of(reader.dialect).reason(line, error.start)
    if not text.strip():
        return "", "the line is empty"
    try:
        item = _DECODER.decode(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        # Some of what Python does not take for JSON pyarrow does.
        if any(mark in text for mark in ("Inf", "NaN", "\0")):
            return None
        return "", f"it is no JSON ({error})"
    except (ValueError, RecursionError):
        return None
    if not isinstance(item, _Pairs):
        return "", "it is no JSON object"
    seen = set()
    for name, _ in item:
        if not is_name(name):
            return "", f"its key {shown(name)} names no column"
        if name not in reader.words:
            return name, "the schema lacks this key"
        if name in seen:
            return "", f"it has the key {shown(name)} twice"
        seen.add(name)
    for name, value in item:
        if _cannot_be(value, reader.words[name]):
            return name, ""
    return None


def _cannot_be(value: object, word: Any) -> bool:
    """Whether a JSON value is surely none of a type."""
    if value is None:
        return False
    if isinstance(word, str):
        kinds = _JSON_KINDS.get(word.partition("(")[0])
        if kinds is not None:
            return type(value) not in kinds
        return type(value) is not int or value not in _range_of(word)
    if isinstance(word, list):
        return type(value) is not list or any(_cannot_be(inner, word[0]) for inner in value)
    return not isinstance(value, _Pairs) or any(
        name not in word or _cannot_be(inner, word[name]) for name, inner in value
    )


@cache
def _range_of(word: str) -> range:
    """Return all whole numbers of a type."""
    kind = arrow_type(word)
    if pa.types.is_unsigned_integer(kind):
        return range(1 << kind.bit_width)
    most = 1 << (kind.bit_width - 1)
    return range(-most, most)


def _is_none(reader: Reader, record: bytes, name: str) -> str:
    word = json.dumps(reader.words[name]).strip('"')
    try:
        value = json.loads(record.decode("utf-8-sig"))[name]
    except (ValueError, RecursionError):
        return f"its value is no {word}"
    return f"{_cut(json.dumps(value))} is no {word}"


def _json_reason(reader: Reader, record: bytes) -> tuple[str, str]:
    """Return why pyarrow does not read a record in which Python sees no fault."""
    try:
        item = json.loads(record.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return "", f"it is no JSON ({error})"
    for name, value in item.items():
        try:
            reader.table(json.dumps({name: value}).encode(), 1)
        except Unfit:
            return name, ""
    try:
        reader.raw(record)
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("JSON parse error: ").removesuffix(" in row 0")
        return "", f"no row can be made of it ({shown(why)})"
    return "", "no row can be made of it"


def _cut(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 3] + "..."
