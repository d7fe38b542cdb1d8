"""Blocks of a file of lines: where they lie, their text, their rows; and blame for what is none.

The index is that of :mod:`engine.formats.lines`, kept from the look at a file until it is planned.
Where records that do not fit are left out, all blocks are read beforehand, so that a plan counts
rows that there will be. Columns that the names of folders say (``--flatten``) are put behind here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import pyarrow as pa

from engine import system
from engine.errors import BadRow, SourceChanged
from engine.formats.converted.records import Reader
from engine.formats.converted.sifting import Bad, sifted
from engine.formats.converted.types import quoted_name
from engine.formats.converted.values import Unfit
from engine.formats.lines.encodings import Encoding, encoding_of, is_utf8, text_of
from engine.formats.lines.index import block_end
from engine.formats.lines.measures import measured
from engine.formats.lines.pieces import dialect_of, text_bytes
from engine.formats.lines.reading import line_of, opened
from engine.formats.parquet.bytes.schema_keys import arrow_field
from engine.formats.parquet.opened.adapted import constant_value
from engine.model import Constant, Conversion, RowGroupSlice, SourceFile
from engine.planning.curves import Curve
from engine.settings import Settings
from engine.storage import Source
from engine.storage.base import naming, redacted
from engine.wording import shown

AT_ONCE_BYTES = 2 << 20  # of blocks: below that, calls of pyarrow take longer than values


class Block(NamedTuple):
    """A block: where it lies in its file's text, its rows, and its records that are none.

    Of these there are so many, and this is the first.
    """

    offset: int
    stop: int
    num_rows: int
    num_bad: int = 0
    first_bad: Bad | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of its text."""
        return self.stop - self.offset


class Indexed(NamedTuple):
    """The blocks of a file, and the bytes by record inside of each, by its position."""

    blocks: Sequence[Block]
    curve_of: Callable[[int], Curve]


_kept: dict[SourceFile, Indexed] = {}


def forget_all() -> None:
    """Drop what is kept of files."""
    _kept.clear()


def conversion_of(file: SourceFile) -> Conversion:
    """Return how records become rows, as it was settled."""
    assert file.conversion is not None
    return file.conversion


def parquet_schema(file: SourceFile) -> Any:
    """Return the Arrow schema of the parts."""
    conversion = conversion_of(file)
    schema = Reader(dialect_of(file), conversion).schema
    own = [schema.field(name) for name in conversion.columns or schema.names]
    return pa.schema([*own, *map(arrow_field, file.constants)])


def as_text(file: SourceFile) -> SourceFile:
    """Return a file as one of lines, whatever its parts are to be."""
    return replace(file, conversion=None)


# By which files of lines are measured as text that is not compressed again.
TEXT_SETTINGS = Settings(codec="none", count_records=True)


def indexed(file: SourceFile) -> Indexed:
    """Return the blocks of a file, read once as long as it is kept.

    Raises:
        BadStructure: its records cannot be told apart.
    """
    kept = _kept.get(file)
    if kept is not None:
        return kept
    plain = as_text(file)
    found = _kept.get(plain)
    if found is None:
        measures = measured((plain,), TEXT_SETTINGS)
        groups = measures.layout.groups
        starts = [*(group.index for group in groups), text_bytes(plain)]
        blocks = [
            Block(start, stop, group.num_rows)
            for (start, stop), group in zip(pairwise(starts), groups, strict=True)
        ]
        found = _kept[plain] = Indexed(blocks, measures.curve_of)
    if file.conversion is not None and file.conversion.bad_rows != "fail":
        found = found._replace(blocks=_sifted(file, found.blocks))
    _kept[file] = found
    return found


def folder_row_bytes(files: Sequence[SourceFile]) -> float:
    """Return what a row's values from names of folders take as Arrow has them, at most."""
    return max(sum(map(_held_bytes, file.constants)) for file in files)


def _held_bytes(constant: Constant) -> float:
    text_bytes = len((constant.value or "").encode()) if constant.kind == "string" else 4
    return text_bytes + 4.2  # offsets, or wider numbers; and validity


def _folder_value(constant: Constant) -> Any:
    """Return a value from the name of a folder, as Arrow's scalar."""
    bound, kind = constant_value(constant), arrow_field(constant).type
    if bound is None:
        return pa.scalar(None, kind)
    if constant.kind == "string":
        return pa.scalar(bound.decode(), kind)
    number = int.from_bytes(bound, "little", signed=True)
    return pa.scalar(number, pa.int64() if constant.kind == "int64" else pa.int32()).cast(kind)


ENCODING_CURE = "say the encoding of the file, as --encoding latin-1 or cp1252"


def most_utf8_bytes(file: SourceFile, num_bytes: float) -> float:
    """Return how much some of a file's text takes as UTF-8, at most."""
    return num_bytes * encoding_of(dialect_of(file)).grows


def _sifted(file: SourceFile, blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with the records that are no rows told apart; reads all of the file."""
    dialect = dialect_of(file)
    reader = Reader(dialect, conversion_of(file))

    def look(block: Block) -> Block:
        text = text_of(source, dialect, block.offset, block.num_bytes)
        table, num_bad, bad = sifted(reader, text, block.num_rows)
        first = next(_placed(bad, text, encoding_of(dialect)), None)
        return block._replace(num_rows=table.num_rows, num_bad=num_bad, first_bad=first)

    with opened(file) as source:
        return list(in_threads(look, blocks))


def _placed(every: Iterable[Bad], text: bytes, encoding: Encoding) -> Iterator[Bad]:
    """Yield records that are no rows with their places in the file, as its text is encoded."""
    start, begin = 0, 0  # of what was passed: in UTF-8, and in the file
    for bad in every:
        begin += encoding.num_units(text[start : bad.offset])
        start = bad.offset + bad.length
        length = encoding.num_units(text[bad.offset : start])
        yield bad._replace(offset=begin, length=length)
        begin += length


def _some_at_once(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    some: list[Block] = []
    for block in blocks:
        if some and block.stop - some[0].offset > AT_ONCE_BYTES:
            yield some
            some = []
        some.append(block)
    if some:
        yield some


def in_threads(
    look: Callable[[Any], Any], items: Sequence[Any], num_threads: int = 0
) -> Iterator[Any]:
    """Yield what a function returns of items, in order; a few threads run ahead."""
    num_threads = num_threads or system.num_cores()
    with ThreadPoolExecutor(num_threads) as pool:
        for first in range(0, len(items), 2 * num_threads):
            some = items[first : first + 2 * num_threads]
            begun = [pool.submit(copy_context().run, look, item) for item in some]
            yield from (each.result() for each in begun)


class BlockReader:
    """Reads slices of a file's blocks as tables; errors name file, line and column.

    Args:
        file: settled for a conversion.
        source: its text.
    """

    def __init__(self, file: SourceFile, source: Source) -> None:
        self._file = file
        self._source = source
        self._reader = Reader(dialect_of(file), conversion_of(file))
        self._last: tuple[int, Any] = (-1, None)
        with naming(file.path):
            self._folder_values = [(it.name, _folder_value(it)) for it in file.constants]

    def tables(self, slices: Sequence[RowGroupSlice]) -> Iterator[Any]:
        """Yield the rows of slices that follow each other in the file."""
        offsets = sorted({piece.row_group for piece in slices})
        stops = dict(pairwise(offsets))  # where the next begins, one ends

        def is_whole(piece: RowGroupSlice) -> bool:
            return piece.num_rows == piece.num_rows_in_group and piece.row_group in stops

        for are_whole, some in groupby(slices, key=is_whole):
            if are_whole:
                starts = [(piece.row_group, piece.num_rows) for piece in some]
                yield from self.tables_of([Block(at, stops[at], rows) for at, rows in starts])
                continue
            for piece in some:
                table = self._table(piece, stops.get(piece.row_group))
                yield table.slice(piece.start_row, piece.num_rows)

    def tables_of(self, blocks: Sequence[Block]) -> Iterator[Any]:
        """Yield all rows of blocks that follow each other, of some at once."""
        for some in _some_at_once(blocks):
            whole = Block(some[0].offset, some[-1].stop, sum(block.num_rows for block in some))
            with naming(self._file.path):
                dialect = dialect_of(self._file)
                text = text_of(self._source, dialect, whole.offset, whole.num_bytes)
            try:
                yield self._with_folders(self._reader.table(text, whole.num_rows))
            except Unfit:  # one has records that are none
                yield from map(self.table, some)

    def _table(self, piece: RowGroupSlice, stop: int | None) -> Any:
        """Return all rows of the block that a slice lies in; the last one is kept."""
        if self._last[0] == piece.row_group:
            return self._last[1]
        if stop is None:
            stop = block_end(self._source, dialect_of(self._file), piece.row_group)
        table = self.table(Block(piece.row_group, stop, piece.num_rows_in_group))
        self._last = piece.row_group, table
        return table

    def table(self, block: Block) -> Any:
        """Return all rows of a block.

        Raises:
            BadRow: a record is no row.
            SourceChanged: the block has not as many rows as were planned.
        """
        with naming(self._file.path):
            dialect = dialect_of(self._file)
            text = text_of(self._source, dialect, block.offset, block.num_bytes)
            table, num_bad, bad = sifted(self._reader, text, block.num_rows)
            if num_bad and conversion_of(self._file).bad_rows == "fail":
                first = next(_placed(bad, text, encoding_of(dialect)))
                raise self._blamed(block.offset + first.offset, first)
            if table.num_rows != block.num_rows:
                self._source.check_unchanged()
                raise SourceChanged(
                    f"{redacted(self._file.path)} has {table.num_rows:,} rows from byte "
                    f"{block.offset:,} on, and {block.num_rows:,} were planned"
                )
        return self._with_folders(table)

    def _with_folders(self, table: Any) -> Any:
        for name, value in self._folder_values:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
        return table

    def _blamed(self, position: int, bad: Bad) -> BadRow:
        where = f"line {line_of(self._source, position):,}"
        cure = "mend it"
        if not is_utf8(text_of(self._source, dialect_of(self._file), position, bad.length)):
            cure = ENCODING_CURE
        if bad.column:
            name = shown(bad.column)
            where += f", column {name}"
            word = "TYPE" if dialect_of(self._file).kind == "ndjson" else "varchar"
            cure = f"say another type, --schema '{quoted_name(name)} {word}'"
        if bad.column in conversion_of(self._file).found:
            cure = f"its type is that of samples of the file; {cure}"
        return BadRow(f"{where}: {bad.reason}; {cure}, or leave such records out, --bad-rows skip")
