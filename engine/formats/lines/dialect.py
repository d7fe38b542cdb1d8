"""What the begin of a file says: CSV, NDJSON or neither; its delimiter; whether it has a header.

Content decides, not the file's name. What it leaves open is asked for, never guessed: a header that
is none would be repeated in every part. Not covered: delimiters of several bytes, comments, lines
to skip before the header.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

from engine.errors import BadSetting, NotLines, Unsupported
from engine.formats.lines.codecs import codec_at, is_compressed
from engine.formats.lines.encodings import (
    MARK_BYTES,
    UTF_8_MARK,
    Encoding,
    encoding_at,
    encoding_named,
    is_utf8,
    verbatim,
)
from engine.formats.lines.scan import FRESH, TextBehindQuote, marks_of, plain, record_ends
from engine.model import Dialect
from engine.part_names import JSON_SUFFIXES
from engine.settings import Settings
from engine.storage import Source
from engine.wording import amount, shown

HEAD_BYTES = 1 << 20
_JSON_HEAD_BYTES = 64 << 10
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# What files begin with that are no lines: what it is, and what to do.
_OTHERS = {
    b"PK\x03\x04": ("a zip archive or a workbook", "unpack it, or save its sheets as CSV"),
    b"ORC": ("an ORC file", "write it as Parquet or CSV"),
    b"Obj\x01": ("an Avro file", "write it as Parquet or NDJSON"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
}
_TAR_AT, _TAR = 257, b"ustar"
_NUL_SHARE, _CONTROL_SHARE = 0.2, 0.02  # of the begin: text has less
_CONTROLS = bytes({*range(32)} - {*b"\t\n\f\r\x1c\x1d\x1e\x1f\x01\x02"})
DELIMITERS = (",", "\t", ";", "|", "\x01")
NO_DELIMITER = "\x1f"  # for readers that want one, where there is none
_GUESSED_BYTES, _GUESSED_RECORDS, MOSTLY = 256 << 10, 200, 0.9
# Kinds of values that names of columns are not.
_KINDS = {
    "whole number": re.compile(r"\s*[-+]?\d+\s*"),
    "number": re.compile(r"\s*[-+]?(\d[\d_., ]*|[.,]\d+)([eE][-+]?\d+)?\s*%?"),
    "date": re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d.*)?"),
    "truth": re.compile(r"true|false", re.IGNORECASE),
}
_FEWEST_QUOTED = 3
_IN_SINGLE_QUOTES = re.compile("(?s)'.*'")
_EXCEL = re.compile(rb"sep=(.)?\r?\n", re.IGNORECASE)  # the line by which it is told the delimiter
# What stands for no value, compared without case and blanks around.
_NOTHING = frozenset(
    [
        "",
        "null",
        "(null)",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "none",
        "nil",
        "\\n",
        "-",
        "--",
        ".",
        "?",
        "inf",
    ]
)
_YEARS = range(1900, 2101)
_DIGITS = 20  # of numbers that name columns: fewer
_limit_lock = Lock()
_NAMES_SHOWN, _LETTERS_SHOWN = 4, 30


class Begin(NamedTuple):
    """A file's dialect, the fields of its first record, and of the records behind the header."""

    dialect: Dialect
    first: Sequence[str]
    rows: Sequence[Sequence[str]]


def is_text(head: bytes) -> bool:
    """Whether bytes look like the begin of a file of lines, or of one that says what it is."""
    if head.startswith((UTF_8_MARK, *_UTF_16, *_OTHERS)) or is_compressed(head) or _is_tar(head):
        return True
    odd = len(head) - len(head.translate(None, _CONTROLS))
    return odd <= _CONTROL_SHARE * len(head)


def _is_tar(head: bytes) -> bool:
    return head.startswith(_TAR, _TAR_AT) and b"\0" in head[:_TAR_AT]


def read_begin(source: Source, settings: Settings) -> Begin:
    """Look at the begin of a file.

    Raises:
        NotLines: it is no text.
        Unsupported: it is text that cannot be cut as bytes.
        BadSetting: a setting is needed to understand it, or contradicts it.
    """
    begin = verbatim(source, 0, min(MARK_BYTES, source.file.size_bytes))
    encoding = encoding_at(begin, encoding_named(settings.encoding))
    head, is_whole = _head(source, encoding)
    _check_is_text(head, encoding)
    found = _begin_of(head, source.file.path, settings, is_whole=is_whole)
    dialect = replace(
        found.dialect,
        encoding=encoding.name,
        mark_bytes=encoding.num_units(head[: found.dialect.mark_bytes]),
        header_bytes=encoding.num_units(head[: found.dialect.header_bytes]),
    )
    return found._replace(dialect=dialect)


def _begin_of(head: bytes, path: str, settings: Settings, *, is_whole: bool) -> Begin:
    """Return what the begin of a text in UTF-8 tells, with its positions there."""
    mark_bytes = len(UTF_8_MARK) if head.startswith(UTF_8_MARK) else 0
    head = head[mark_bytes:]
    feed = head.find(b"\n")
    line_end = "\r\n" if feed > 0 and head[feed - 1 : feed] == b"\r" else "\n"
    if _is_json(head, path, is_whole=is_whole):
        _check_json_settings(settings)
        made = Dialect("ndjson", mark_bytes=mark_bytes, header_bytes=mark_bytes, line_end=line_end)
        return Begin(made, (), ())
    if _EXCEL.match(head):
        raise Unsupported(
            "its first line tells Excel the delimiter (sep=), and is no record: cut it off "
            "(tail -n +2)"
        )
    if b"\r" in head and feed < 0:
        raise Unsupported("its lines end in lone carriage returns: write it with line feeds")
    quote = '"' if settings.quote is None else settings.quote
    dialect = Dialect("csv", "", quote, settings.escape or "", mark_bytes, mark_bytes, line_end)
    delimiter = settings.delimiter
    if delimiter is None:
        delimiter = _delimiter(head, dialect, is_whole=is_whole)
    dialect = replace(dialect, delimiter=delimiter)
    found = _with_header(head, dialect, settings.header, is_whole=is_whole)
    if settings.quote is None:
        _check_quotes(found)
    return found


def _head(source: Source, encoding: Encoding) -> tuple[bytes, bool]:
    """Return a text's begin as UTF-8, and whether it is all.

    It is no more than tells of JSON lines that this is what they are.
    """
    most = _JSON_HEAD_BYTES
    num_units = min(source.file.size_bytes, most)
    raw = verbatim(source, 0, num_units)
    head = encoding.utf8(raw)
    line, end, _ = head.removeprefix(UTF_8_MARK).lstrip(b"\r\n").partition(b"\n")
    if not end or not line.startswith(b"{"):
        most = HEAD_BYTES
        rest_units = min(source.file.size_bytes, most) - num_units
        head = encoding.utf8(raw + verbatim(source, num_units, rest_units))
    return head, source.file.size_bytes <= most  # whose size may be known by now


def _check_is_text(head: bytes, encoding: Encoding) -> None:
    if codec := codec_at(head):  # inside another one
        raise Unsupported(
            f"it is compressed by {codec.program}, whatever its name says: decompress it once "
            f"({codec.program} -d)"
        )
    if _is_tar(head):
        raise Unsupported("it is a tar archive, whatever its name says: unpack it (tar -xf)")
    for begin, (what, cure) in _OTHERS.items():
        if head.startswith(begin):
            raise Unsupported(f"it is {what}, whatever its name says: {cure}")
    if not encoding.name:
        if head.startswith(_UTF_16) or head.count(b"\0") > _NUL_SHARE * len(head):
            raise Unsupported(
                "it is UTF-16 or UTF-32, or no text: make Parquet of it by --to parquet --encoding "
                "utf-16, or write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
            )
    elif head.count(b"\0") > _NUL_SHARE * len(head) or encoding.is_swapped(head):
        raise Unsupported(f"it is no text as {encoding.name}: say another --encoding")
    if not is_text(head):
        raise NotLines("it is neither Parquet nor text: it begins with control characters")


# -- JSON ------------------------------------------------------------------------------------------


def _is_json(head: bytes, path: str, *, is_whole: bool) -> bool:
    """Whether the first line is a JSON object; or any JSON value, where the name promises that.

    Raises:
        NotLines: the name promises it, and it is not.
    """
    line, end, _ = head.lstrip(b"\r\n").partition(b"\n")
    is_named = path.lower().endswith(JSON_SUFFIXES)
    if not line.startswith(b"{") and not (is_named and line):
        return is_named
    if not end and not is_whole:
        return True  # the end of the first record is not in sight
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        if not is_named:
            return False
        if not is_utf8(line):
            raise NotLines(
                "its first line is no UTF-8: make Parquet of it by --to parquet --encoding "
                "latin-1, or write it as UTF-8 (iconv)"
            ) from None
        raise NotLines(
            "its first line is no JSON value by itself: records must be one a line, as "
            "jq -c . or jq -c '.[]' writes them"
        ) from None
    return True


def _check_json_settings(settings: Settings) -> None:
    given = {
        "--delimiter": settings.delimiter,
        "--quote": settings.quote,
        "--escape": settings.escape,
        "--header yes": settings.header == "yes" or None,
    }
    found = [flag for flag, value in given.items() if value is not None]
    if found:
        raise BadSetting(f"{found[0]} is for delimited text, and this is JSON: leave it out")


# -- delimiter -------------------------------------------------------------------------------------


def _delimiter(head: bytes, dialect: Dialect, *, is_whole: bool) -> str:
    """Return the delimiter that gives nearly all records of the begin as many fields, or none.

    Raises:
        BadSetting: several do, as where numbers have decimal commas.
    """
    able: dict[str, int] = {}
    for delimiter in DELIMITERS:
        if delimiter in (dialect.quote, dialect.escape):
            continue
        seen = replace(dialect, delimiter=delimiter)
        is_all = is_whole and len(head) <= _GUESSED_BYTES
        records = _records(head[:_GUESSED_BYTES], seen, is_whole=is_all)
        widths = Counter(len(fields) for fields, _ in records[:_GUESSED_RECORDS])
        for width, times in widths.most_common(1):
            is_first = len(records[0][0]) == width
            if width > 1 and is_first and times >= MOSTLY * widths.total():
                able[delimiter] = width
    if len(able) > 1:
        found = ", ".join(
            f"{delimiter!r} gives {width} fields" for delimiter, width in able.items()
        )
        raise BadSetting(f"several delimiters fit its first records ({found}): give --delimiter")
    return next(iter(able), "")


def _records(
    head: bytes, dialect: Dialect, *, is_whole: bool = False
) -> list[tuple[list[str], int]]:
    """Return the fields of the first records, blank lines left out, and where each ends.

    The last is left out if nobody knows its end, and what follows a quote that is not understood:
    that is told, with its line, when the whole file is read.
    """
    marks = marks_of(dialect)
    if not head:
        return []
    seen = plain(head, b"", marks)
    try:
        ends = record_ends(seen, FRESH, b"", marks).ends[:_GUESSED_RECORDS].tolist()
    except TextBehindQuote as error:
        return _records(head[: error.opened], dialect) if error.opened > 0 else []
    if is_whole and len(ends) < _GUESSED_RECORDS and ends[-1:] != [len(head)]:
        ends.append(len(head))
    found, start = [], 0
    for stop in ends:
        found += [(fields, stop) for fields in fields_of(head[start:stop], dialect)]
        start = stop
    return found


def fields_of(record: bytes, dialect: Dialect) -> Iterator[list[str]]:
    """Yield a record's fields, however long; nothing for a blank line."""
    text = record.decode("utf-8", "replace").replace("\0", "").rstrip("\r\n")
    if not text:
        return
    try:
        yield _read_fields(text, dialect)
    except csv.Error:  # a field over the module's limit, which is one for the whole process
        with _limit_lock:
            limit = csv.field_size_limit(len(text))
            try:
                found = _read_fields(text, dialect)
            finally:
                csv.field_size_limit(limit)
        yield found


def _read_fields(text: str, dialect: Dialect) -> list[str]:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter or NO_DELIMITER,
        quotechar=dialect.quote or None,
        escapechar=dialect.escape or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
    )
    return [field for fields in reader for field in fields]


def _check_quotes(found: Begin) -> None:
    """See to it that single quotes are not taken for text without being asked.

    Raises:
        BadSetting: they are around all that a column has, of which one value or two say nothing,
            or around all names.
    """
    has_header = found.dialect.header_bytes > found.dialect.mark_bytes
    wanted = [(found.first, 1)] if has_header else []
    alike = (row for row in found.rows if len(row) == len(found.first))
    wanted += [(column, _FEWEST_QUOTED) for column in zip(*alike, strict=True)]
    for fields, least in wanted:
        texts = [text for text in fields if text]
        if len(texts) >= least and all(map(_IN_SINGLE_QUOTES.fullmatch, texts)):
            some = shown(texts[0][:_LETTERS_SHOWN])
            raise BadSetting(
                f"nothing tells whether the single quotes around {some} are text: give --quote "
                "\"'\", or --quote '\"' if they are"
            )


# -- header ----------------------------------------------------------------------------------------


def _with_header(head: bytes, dialect: Dialect, wanted: str, *, is_whole: bool) -> Begin:
    records = _records(head, dialect, is_whole=is_whole)
    rows = [fields for fields, _ in records]
    if not rows:
        if head and (wanted == "yes" or (wanted == "auto" and not is_whole)):
            begin = "it" if is_whole else f"its first {amount(HEAD_BYTES)}"
            raise BadSetting(
                f"{begin} has no record that is a header: give --header no, if it has none"
            )
        return Begin(dialect, (), ())
    if not _has_header(rows, wanted, is_whole=is_whole):
        return Begin(dialect, rows[0], rows)
    header_bytes = dialect.mark_bytes + records[0][1]
    return Begin(replace(dialect, header_bytes=header_bytes), rows[0], rows[1:])


def _has_header(rows: Sequence[Sequence[str]], wanted: str, *, is_whole: bool) -> bool:
    """Whether the first record names the columns: where a column has numbers or dates, it tells.

    Raises:
        BadSetting: nothing tells.
    """
    if wanted != "auto":
        return wanted == "yes"
    first, *others = rows
    if not others and is_whole:
        return not any(map(is_typed, first))
    names, values = 0, 0
    for column, name in enumerate(first):
        below = {row[column] for row in others if len(row) == len(first)}
        below = {text for text in below if not _is_nothing(text)}
        if below and all(map(is_typed, below)) and not _is_nothing(name):
            values += is_typed(name)
            names += not is_typed(name)
    if bool(names) == bool(values) or (values and _may_name([*filter(is_typed, first)])):
        some = [shown(name[:_LETTERS_SHOWN]) for name in first[:_NAMES_SHOWN]]
        names_shown = ", ".join(some) + (", ..." if len(first) > _NAMES_SHOWN else "")
        raise BadSetting(
            f"nothing tells whether its first record is a header or data ({names_shown}), as "
            + ("its numbers may be names" if values else "all columns are text")
            + ": give --header yes or --header no"
        )
    return bool(names)


def _is_nothing(text: str) -> bool:
    return text.strip().lower() in _NOTHING


def _may_name(texts: Sequence[str]) -> bool:
    """Whether numbers in a first record may be names of columns: years, or 0, 1, 2."""
    if not all(text.isdecimal() and text.isascii() and len(text) < _DIGITS for text in texts):
        return False
    numbers = [int(text) for text in texts]
    is_counted = len(numbers) > 1 and all(b == a + 1 for a, b in pairwise(numbers))
    return is_counted or all(number in _YEARS for number in numbers)


def is_typed(text: str) -> bool:
    """Whether a field is a number, a date or a truth, as names of columns are not."""
    return kind_of(text) != "text"


def kind_of(text: str) -> str:
    """Return what kind of value a field is."""
    return next((kind for kind, form in _KINDS.items() if form.fullmatch(text)), "text")
