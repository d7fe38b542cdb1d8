"""The records of a block as rows of a table; and of records that are no rows, which and why.

A block is read at once by pyarrow's readers. Only if that fails, or gives another number of rows
than there are records, it is read by halves, down to the records that are to blame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from engine.errors import BadStructure, Unsupported
from engine.formats.converted.digits import doubles_of, lost_digits
from engine.formats.converted.types import TEXT, arrow_schema, arrow_type
from engine.formats.converted.values import Spelling, Unfit, typed
from engine.formats.lines.dialect import fields_of
from engine.formats.lines.encodings import encoding_of
from engine.formats.lines.scan import FRESH, TextBehindQuote, marks_of, plain, record_ends
from engine.model import Conversion, Dialect
from engine.wording import amount, counted, shown

_MARK = b"\xef\xbb\xbf"
_NO_DELIMITER = "\x1f"
_BLANK = (b"\n", b"\r\n")
_MOST_BYTES = (1 << 31) - 64
_SHOWN_LETTERS = 60
_TAKEN_AS_TEXT = ("date", "timestamp", "timestamptz")  # JSON has no such values


class Bad(NamedTuple):
    """A record that is no row: where it lies in its block, and why."""

    offset: int
    length: int
    column: str
    reason: str


class Reader:
    """Reads blocks of files that have one dialect and one schema.

    Args:
        dialect: of the files.
        conversion: how records become rows.
    """

    def __init__(self, dialect: Dialect, conversion: Conversion) -> None:
        self.words: Mapping[str, Any] = json.loads(conversion.schema)
        self.schema = arrow_schema(self.words)
        self._found = set(conversion.found)
        self._dialect = dialect
        self._spelling = Spelling(conversion.nulls, conversion.decimal, conversion.timestamp_format)
        self._doubles = doubles_of({name: self.words[name] for name in conversion.found})
        self._is_json = dialect.kind == "ndjson"
        self._raw = {name: _as_json_has(word) for name, word in self.words.items()}
        self._skips = conversion.bad_rows != "fail"

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
        if self._has_blank_lines(text):
            raise Unfit
        try:
            table = self._from_json(text) if self._is_json else self._from_csv(text)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise Unfit from error
        if table.num_rows != num_rows:
            raise Unfit
        return table

    def sifted(self, text: bytes) -> tuple[Any, list[Bad]]:
        """Return the rows of a block without the records that are none, and these."""
        ends = [0, *self._ends(text)]
        tables: list[Any] = []
        bad: list[Bad] = []
        todo = [(0, len(ends) - 1)]
        while todo:
            first, stop = todo.pop()
            if first == stop:
                continue
            piece = text[ends[first] : ends[stop]]
            try:
                tables.append(self.table(piece, stop - first))
            except Unfit:
                if stop == first + 1:
                    column, reason = self._reason(piece)
                    bad.append(Bad(ends[first], len(piece), column, reason))
                else:
                    middle = (first + stop) // 2
                    todo += [(middle, stop), (first, middle)]
        return pa.concat_tables(tables) if tables else self.schema.empty_table(), bad

    def _ends(self, text: bytes) -> list[int]:
        """Return where the records of a block end, of which the last may lack its line end."""
        marks = marks_of(self._dialect)
        try:
            ends: list[int] = record_ends(plain(text, b"", marks), FRESH, b"", marks).ends.tolist()
        except TextBehindQuote as error:
            raise BadStructure("a quoted field goes on behind its quote") from error
        return ends if ends[-1:] == [len(text)] or not text else [*ends, len(text)]

    def _has_blank_lines(self, text: bytes) -> bool:
        """Whether some record is an empty line, which readers pass over, or read as nulls."""
        if len(self.words) == 1 and not self._is_json:
            return False  # an empty field
        if not text.startswith(_BLANK) and b"\n\n" not in text and b"\n\r\n" not in text:
            return False
        ends = np.array([0, *self._ends(text)])
        lengths = np.diff(ends)
        starts = ends[:-1][lengths <= max(map(len, _BLANK))].tolist()
        return any(text.startswith(_BLANK, start) for start in starts)

    # -- delimited text ----------------------------------------------------------------------

    def _from_csv(self, text: bytes) -> Any:
        texts = self.texts(text)
        columns = [
            typed(
                one_array(texts.column(at)),
                word,
                self.schema.field(at).type,
                self._spelling,
                is_found=name in self._found,
            )
            for at, (name, word) in enumerate(self.words.items())
        ]
        return pa.table(columns, schema=self.schema)

    def texts(self, text: bytes) -> Any:
        """Return the fields of a block of delimited text as they are, null where they say so."""
        names = list(self.words)
        if text.startswith(_MARK):  # of one, pyarrow takes it for the mark of a file
            text = _MARK + text
        dialect = self._dialect
        return pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter or _NO_DELIMITER,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
                ignore_empty_lines=False,
            ),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(self._spelling.nulls),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    # -- JSON --------------------------------------------------------------------------------

    def _from_json(self, text: bytes, names: Sequence[str] | None = None) -> Any:
        text.decode()  # pyarrow does not look
        chosen = list(self.words) if names is None else names
        raw = pa.schema([pa.field(name, self._raw[name]) for name in chosen])
        table = pa_json.read_json(
            pa.BufferReader(text),
            pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pa_json.ParseOptions(explicit_schema=raw, unexpected_field_behavior="error"),
        )
        target = pa.schema([self.schema.field(name) for name in chosen])
        if raw != target:
            table = table.cast(target)
        doubles = {name: word for name, word in self._doubles.items() if name in chosen}
        if lost_digits(text, table, doubles):
            raise Unfit
        return table

    # -- why ---------------------------------------------------------------------------------

    def _reason(self, record: bytes) -> tuple[str, str]:
        """Return the column, empty if none is, for which a record is no row, and why."""
        line = record.rstrip(b"\r\n")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            return "", encoding_of(self._dialect).reason(line, error.start)
        if not text.strip():
            return "", "the line is empty"
        return self._json_reason(text) if self._is_json else self._csv_reason(record, line)

    def _csv_reason(self, record: bytes, line: bytes) -> tuple[str, str]:
        try:
            texts = self.texts(record)
        except pa.ArrowException:
            texts = None
        if texts is None or texts.num_rows != 1:
            if b"\r" in line:
                return "", "a carriage return in it is no line end, and not in quotes"
            fields = next(fields_of(record, self._dialect), [])
            return "", f"it has {counted(len(fields), 'field')}, and {len(self.words):,} are wanted"
        for at, (name, word) in enumerate(self.words.items()):
            kind, is_found = self.schema.field(at).type, name in self._found
            field = one_array(texts.column(at))
            try:
                typed(field, word, kind, self._spelling, is_found=is_found)
            except Unfit:
                return name, f"{_cut(repr(field[0].as_py()))} is no {word}"
        return "", "no row can be made of it"

    def _json_reason(self, text: str) -> tuple[str, str]:
        try:
            item = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            return "", f"it is no JSON ({error})"
        if not isinstance(item, _Pairs):
            return "", "it is no JSON object"
        names = [name for name, _ in item]
        for name in names:
            if name not in self.words:
                return name, "the schema lacks this key"
            if names.count(name) > 1:
                return "", f"it has the key {shown(name)} twice"
        raw = json.loads(text)
        for name in names:
            one = json.dumps({name: raw[name]}).encode()
            try:
                table = self._from_json(one, [name])
            except (pa.ArrowException, Unfit):
                word = json.dumps(self.words[name]).strip('"')
                return name, f"{_cut(json.dumps(raw[name]))} is no {word}"
            doubles = {name: self._doubles[name]} if name in self._doubles else {}
            if lost_digits(text.encode(), table, doubles):
                return name, "its digits are more than a double holds"
        return "", "no row can be made of it"


class _Pairs(list[tuple[str, object]]):
    """A JSON object with all its keys, also those that are there twice."""


def _cut(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 3] + "..."


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
