"""The records of a block as rows of a table, by pyarrow's readers, or told not to fit.

Which records are no rows, and why, is found by :mod:`.sifting`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from engine.errors import BadStructure, Unsupported
from engine.formats.converted.accounted import FALSE, TRUE, accounts_for, is_sure
from engine.formats.converted.digits import beyond_reals, columns_with, lost_digits
from engine.formats.converted.escapes import unclear, with_nulls
from engine.formats.converted.types import TEXT, arrow_schema, arrow_type
from engine.formats.converted.values import Spelling, Unfit, typed
from engine.formats.lines.dialect import NO_DELIMITER
from engine.formats.lines.encodings import UTF_8_MARK
from engine.formats.lines.scan import FRESH, TextBehindQuote, marks_of, plain, record_ends
from engine.model import Conversion, Dialect
from engine.wording import amount

_BLANK = (b"\n", b"\r\n")
# Null behind the end of an object, or where a block begins: most often none is found.
_NULL_RECORD = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|\})[ \t\r\n]*null")
_MOST_BYTES = (1 << 31) - 64
_MOST_VAIN = 2  # blocks in a row, behind which the longer way is taken without trying the shorter
_TAKEN_AS_TEXT = ("date", "timestamp", "timestamptz")  # JSON has no such values


class Reader:
    """Reads blocks of files that have one dialect and one schema.

    Args:
        dialect: of the files.
        conversion: how records become rows.
    """

    def __init__(self, dialect: Dialect, conversion: Conversion) -> None:
        self.words, self.schema = _schema_of(conversion.schema)
        self.found = set(conversion.found)
        self.dialect = dialect
        self._marks = marks_of(dialect)
        self.spelling = Spelling(conversion.nulls, conversion.decimal, conversion.timestamp_format)
        self.is_json = dialect.kind == "ndjson"
        found = {name: self.words[name] for name in conversion.found}
        self.doubles = columns_with("double", found)  # of those given digits may be lost
        self.reals = columns_with("real", self.words)
        texts = dict.fromkeys(self.words, pa.string())
        self._sure = {} if self.is_json else self._sure_types()
        self._as_texts = self._converting(texts)
        self._as_values = self._converting(texts | self._sure)
        self._as_values_of_ascii = self._converting(texts | self._sure, is_ascii=True)
        self._num_vain = 0
        self._raw = pa.schema([(name, _as_json_has(word)) for name, word in self.words.items()])

    def table(self, text: bytes, num_rows: int) -> Any:
        """Return the rows of a block.

        Raises:
            Unfit: some record is none, or there are more or fewer.
            Unsupported: the block is too large for any reader.
        """
        if len(text) > _MOST_BYTES:
            raise Unsupported(
                f"records that take {amount(len(text))} together are too large to be converted: "
                "split the file as lines, without --to"
            )
        if not num_rows and not text:
            return self.schema.empty_table()
        try:
            table = self._from_json(text) if self.is_json else self._from_csv(text)
        except MemoryError:
            raise
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise Unfit from error
        if table.num_rows != num_rows or self._has_blank_lines(text, table):
            raise Unfit
        return table

    def bounds(self, text: bytes) -> list[int]:
        """Return where records of a block begin, and its end; the last may lack its line end."""
        marks = marks_of(self.dialect)
        try:
            ends: list[int] = record_ends(plain(text, b"", marks), FRESH, b"", marks).ends.tolist()
        except TextBehindQuote as error:
            raise BadStructure("a quoted field goes on behind its quote") from error
        return [0, *ends] if ends[-1:] == [len(text)] or not text else [0, *ends, len(text)]

    def is_blank(self, record: bytes) -> bool:
        """Whether a record is an empty line, which readers pass over, or read as nulls."""
        is_field = len(self.words) == 1 and not self.is_json
        return record in _BLANK and not is_field

    def _has_blank_lines(self, text: bytes, table: Any) -> bool:
        if not self.is_json and any(
            not column.null_count
            for column in table.columns
            if "" in self.spelling.nulls or not pa.types.is_string(column.type)
        ):
            return False  # where a blank line is null in each column
        feeds = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        if (np.diff(feeds, prepend=-1) > max(map(len, _BLANK))).all():
            return False
        if not text.startswith(_BLANK) and b"\n\n" not in text and b"\n\r\n" not in text:
            return False
        bounds = np.array(self.bounds(text))
        short = np.flatnonzero(np.diff(bounds) <= max(map(len, _BLANK)))
        return any(self.is_blank(text[bounds[at] : bounds[at + 1]]) for at in short.tolist())

    # -- delimited text ----------------------------------------------------------------------

    def _from_csv(self, text: bytes) -> Any:
        columns = self._values_at_once(text) or self._values_of_texts(text)
        return pa.table(columns, schema=self.schema)

    def _values_of_texts(self, text: bytes) -> list[Any]:
        texts = self.texts(text)
        return [self.typed(at, one_array(texts.column(at))) for at in range(len(self.words))]

    def _values_at_once(self, text: bytes) -> list[Any] | None:
        """Return the columns of a block, of which most need not be texts first.

        None where it is not sure that their texts are what the values say.
        """
        if not self._sure or self._num_vain >= _MOST_VAIN:
            return None
        self._num_vain += 1
        try:
            is_ascii = text.isascii()  # by all bytes at once, a twentieth of the time by field
            converting = self._as_values_of_ascii if is_ascii else self._as_values
            table = self._read_csv(text, converting)
        except pa.ArrowInvalid:
            return None
        every = [one_array(column) for column in table.columns]
        sure, others = (
            [
                column
                for name, column in zip(self.words, every, strict=True)
                if (name in self._sure) == is_wanted
            ]
            for is_wanted in (True, False)
        )
        if not accounts_for(text, sure, others, self.dialect.quote.encode()):
            return None
        self._num_vain = 0
        return [
            column if name in self._sure else self.typed(at, column)
            for at, (name, column) in enumerate(zip(self.words, every, strict=True))
        ]

    def _sure_types(self) -> dict[str, Any]:
        """Return the types of the columns whose values pyarrow may read at once.

        Not where a value stands for null: in quotes, pyarrow takes it for the value.
        """
        if self.dialect.escape:
            return {}
        return {
            field.name: field.type
            for field in self.schema
            if is_sure(field.type)
            and self.words[field.name] != self.spelling.formatted
            and not any(_may_be(null, field.type) for null in self.spelling.nulls)
        }

    def typed(self, column: int, texts: Any) -> Any:
        """Return the fields of a column as its values; see :func:`.values.typed`."""
        field = self.schema.field(column)
        word, is_found = self.words[field.name], field.name in self.found
        return typed(texts, word, field.type, self.spelling, is_found=is_found)

    def texts(self, text: bytes, take_ragged: Callable[[Any], str] | None = None) -> Any:
        """Return the fields of a block of delimited text as they are, null where they say so.

        ``take_ragged`` is told of rows with other numbers of fields, and says ``skip``.

        Raises:
            Unfit: nobody can tell what some field is.
        """
        if not self.dialect.escape:
            return self._read_csv(text, self._as_texts, take_ragged)
        if self.unclear(text):
            raise Unfit
        text, nulls = with_nulls(text, self._marks, self.spelling.nulls)
        converting = self._converting(dict.fromkeys(self.words, pa.string()), nulls)
        return self._read_csv(text, converting, take_ragged)

    def unclear(self, text: bytes) -> str:
        """Return what nobody can tell the meaning of in delimited text; empty for nothing."""
        if not self.dialect.escape:
            return ""
        text, _ = with_nulls(text, self._marks, self.spelling.nulls)
        return unclear(text, self._marks.escape).decode()

    def _read_csv(
        self, text: bytes, converting: Any, take_ragged: Callable[[Any], str] | None = None
    ) -> Any:
        if text.startswith(UTF_8_MARK):  # of one, pyarrow takes it for the mark of a file
            text = UTF_8_MARK + text
        dialect = self.dialect
        names = list(self.words)
        return pa_csv.read_csv(
            _readable(text),
            pa_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter or NO_DELIMITER,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=take_ragged,
            ),
            converting,
        )

    def _converting(
        self,
        types: Mapping[str, Any],
        nulls: Sequence[str] | None = None,
        *,
        is_ascii: bool = False,
    ) -> Any:
        return pa_csv.ConvertOptions(
            check_utf8=not is_ascii,
            column_types=types,
            null_values=list(self.spelling.nulls if nulls is None else nulls),
            true_values=list(TRUE),
            false_values=list(FALSE),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    # -- JSON --------------------------------------------------------------------------------

    def _from_json(self, text: bytes) -> Any:
        table = self.raw(text)
        if table.schema != self.schema:
            table = table.cast(self.schema)
        if lost_digits(text, table, self.doubles) or beyond_reals(text, table, self.reals):
            raise Unfit
        return table

    def raw(self, text: bytes) -> Any:
        """Return the rows of a block of JSON as it has them, where some types are text still."""
        text.decode()  # pyarrow does not look
        if _has_null_records(text):
            raise Unfit
        return pa_json.read_json(
            _readable(text),
            pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pa_json.ParseOptions(explicit_schema=self._raw, unexpected_field_behavior="error"),
        )


def _may_be(text: str, kind: Any) -> bool:
    """Whether a text is a value of a type for Arrow."""
    try:
        pa.scalar(text).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


@lru_cache(maxsize=4)
def _schema_of(text: str) -> tuple[Mapping[str, Any], Any]:
    """Return a schema by its JSON: the words, and Arrow's."""
    words = json.loads(text)
    return words, arrow_schema(words)


def _readable(text: bytes) -> Any:
    """Return text for Arrow, in its own memory.

    A thread of Arrow reads ahead. One that lets go of Python's memory as the interpreter ends
    aborts the process (https://github.com/apache/arrow/issues/34314).
    """
    buffer = pa.allocate_buffer(len(text))
    memoryview(buffer).cast("B")[:] = text
    return pa.BufferReader(buffer)


def one_array(column: Any) -> Any:
    """Return a column of a table as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _as_json_has(word: Any) -> Any:
    """Return the Arrow type that a reader of JSON is asked for, to be cast to a word's."""
    if isinstance(word, Mapping):
        return pa.struct([pa.field(name, _as_json_has(inner)) for name, inner in word.items()])
    if isinstance(word, list):
        return pa.list_(_as_json_has(word[0]))
    return arrow_type(TEXT if word.split("(")[0] in _TAKEN_AS_TEXT else word)


def _has_null_records(text: bytes) -> bool:
    """Whether null may be a record, which pyarrow takes for a row, or does not survive."""
    if b"null" not in text or not _NULL_RECORD.search(text):
        return False
    lines = [line for line in text.split(b"\n") if b"null" in line]
    try:
        return not all(isinstance(json.loads(line, strict=False), dict) for line in lines)
    except (ValueError, RecursionError):
        return True
