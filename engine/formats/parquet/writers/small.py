"""Row groups made of small chunks: Arrow reads the rows of all columns at once, and writes them.

To cut or merged a chunk page by page takes a millisecond of Python, however small it is. In a
file of thousands of columns, or of row groups of a few rows, chunks are smaller than what Arrow
encodes in that time. So where chunks are small on the average, their rows are decoded and encoded
by Arrow, as many columns in one call each as memory allows; the chunks are then taken out of the
file that it wrote.

As everywhere, values are read by physical type (:mod:`.bytes.one_column`), so bits survive;
codec, page version, use of dictionaries, encodings and checksums are the source's, or those asked
for; bounds are those of the values. Not kept: level histograms.

Not covered: columns below groups, whose levels Arrow would arrange anew, and whatever Arrow does
not write: :func:`.small_chunks.are_small` says no. Where Arrow cannot read the rows,
:func:`small_chunk` has none to give, and they are made page by page, which names the damage.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.errors import BadStructure, InternalError
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes import statistics as st
from engine.formats.parquet.bytes.chunk_table import (
    ChunkTable,
    read_chunk_table,
)
from engine.formats.parquet.bytes.footer import (
    DICTIONARY_ENCODINGS,
    MAGIC,
    TAIL_BYTES,
    Codec,
    ColumnChunk,
    Encoding,
    Footer,
    Type,
    footer_range,
    value,
)
from engine.formats.parquet.bytes.group_bytes import Scanner
from engine.formats.parquet.bytes.header_table import read_header_table
from engine.formats.parquet.bytes.one_column import flat_columns_footer, flat_path_forms
from engine.formats.parquet.bytes.one_page import ENCODING_NAMES, as_ordered
from engine.formats.parquet.bytes.page_index import ASCENDING, PageLocation
from engine.formats.parquet.bytes.page_table import read_page_table
from engine.formats.parquet.bytes.pages import (
    PageHeader,
    PageType,
    counted_pages,
    page_version,
    read_page_header,
)
from engine.formats.parquet.bytes.thrift import Raw, Struct
from engine.formats.parquet.opened import OpenRowGroup
from engine.formats.parquet.small_chunks import (
    ARROW_CODECS,
    MAX_PLAIN_BYTES,
    are_small,
    has_repeated_texts,
    small_runs,
)
from engine.formats.parquet.writers.chunk import ChunkOut, NewChunk, Piece
from engine.formats.parquet.writers.source_chunk import column_orders
from engine.model import Recoding

_FAILED = (pa.ArrowException, OSError, BadStructure)
_ARROW_ORDERS = {st.Order.SIGNED, st.Order.BYTES}  # Arrow's own, by physical type


def small_chunk(
    pieces: Sequence[Piece], column: int, out: ChunkOut, *, recoding: Recoding
) -> NewChunk | None:
    """Make one column's chunk of all pieces; see :class:`.writers.chunk.ChunkMaker`.

    None if chunks are not small, or Arrow cannot read the rows; nothing is written then. The first
    column of a run that is asked for makes all; they are kept with the first row group until the
    last is.
    """
    group, key = pieces[0].group, tuple(pieces)
    making = group.kept(_Making, lambda: _Making(pieces, recoding), key)
    if column == len(group.file.footer.leaves) - 1:
        group.drop(_Making, key)
    rows = making.rows(column)
    return None if rows is None else rows.put(column - rows.first, out)


class _Making:
    """The runs of columns that are made of some pieces, one after another; none if not small."""

    def __init__(self, pieces: Sequence[Piece], recoding: Recoding) -> None:
        groups = [piece.group for piece in pieces]
        self._pieces, self._recoding = pieces, recoding
        self._runs: list[range] = []
        if are_small(groups, recoding):
            self._runs = [run.columns for run in small_runs(groups)]
        self._starts = [run.start for run in self._runs]
        self._run = range(0)
        self._rows: _Rows | None = None

    def rows(self, column: int) -> _Rows | None:
        """Return the rows of the run that a column is of; None if Arrow does not make them."""
        if column not in self._run and self._runs:
            self._rows = None  # before others take their room
            self._run = self._runs[bisect_right(self._starts, column) - 1]
            self._rows = _made(self._pieces, self._run, self._recoding)
        return self._rows


def _made(pieces: Sequence[Piece], columns: range, recoding: Recoding) -> _Rows | None:
    """Return what Arrow makes of pieces, None if it cannot read them."""
    try:
        return _Rows(pieces, columns, recoding)
    except _FAILED:
        return None


class _Form:
    """What all parts write alike that are made of some row groups; columns are those of a run.

    Attributes:
        leaves, models, orders: of the columns, the chunks those of the first row group.
        is_indexed: whether each gets an offset index.
        has_dictionary: whether each is to have one.
        codecs: by Arrow's names.
        encodings: by Arrow's names, of values where there is to be no dictionary.
        has_old_names: whether indices are to be called as before Parquet 2.
    """

    def __init__(self, groups: Sequence[OpenRowGroup], columns: range, recoding: Recoding) -> None:
        file, among = groups[0].file, slice(columns.start, columns.stop)
        self.leaves, self.models = file.footer.leaves[among], groups[0].entry.columns[among]
        self.orders = column_orders(file)[among]
        indexes = [[c.offset_index is not None for c in g.entry.columns[among]] for g in groups]
        self.is_indexed = [all(each) for each in zip(*indexes, strict=True)]
        wanted = recoding.dictionary
        self.has_dictionary = [
            leaf.physical is not Type.BOOLEAN
            and (_uses_dictionary(model) if wanted is None else wanted)
            for leaf, model in zip(self.leaves, self.models, strict=True)
        ]
        codec = recoding.codec
        self.codecs = [
            ARROW_CODECS[Codec(m.codec if codec is None else codec)] for m in self.models
        ]
        self.encodings = [
            None if by_indices else _plain_encoding(model)
            for by_indices, model in zip(self.has_dictionary, self.models, strict=True)
        ]
        self.has_old_names = [Encoding.PLAIN_DICTIONARY in model.encodings for model in self.models]


def _form(pieces: Sequence[Piece], columns: range, recoding: Recoding) -> _Form:
    groups = [piece.group for piece in pieces]
    if len(groups) > 1:
        return _Form(groups, columns, recoding)
    return groups[0].kept(
        _Form, lambda: _Form(groups, columns, recoding), (columns.start, recoding)
    )


class _Rows:
    """Rows of some neighbouring columns, and the files that Arrow wrote of them.

    Columns are counted from ``first``.
    """

    def __init__(self, pieces: Sequence[Piece], columns: range, recoding: Recoding) -> None:
        self.first = columns.start
        self.form = form = _form(pieces, columns, recoding)
        self.rows = pa.concat_tables([_read(run, columns) for run in _by_file(pieces)])
        has_levels = [bool(leaf.max_definition) for leaf in form.leaves]
        if [field.nullable for field in self.rows.schema] != has_levels:
            raise InternalError("Arrow was given rows that have nulls in other columns")
        self.recoding = recoding
        header = _first_page(pieces[0])
        self.has_crc = header.crc is not None
        self.page_type = _PAGE_TYPES[recoding.page_version or page_version(header)]
        every = range(len(form.leaves))
        written = self._written(every, form.has_dictionary)
        self.places = [(written, column) for column in every]
        # Readers are known that cannot read indices of no bits, as Arrow writes them then.
        constant = [column for column in every if written.num_entries(column) in (0, 1)]
        if constant:
            plain = self._written(constant, [False] * len(every))
            for place, column in enumerate(constant):
                self.places[column] = plain, place

    def _written(self, columns: Sequence[int], has_dictionary: Sequence[bool]) -> _Written:
        """Return some columns in a file."""
        form, names = self.form, self.rows.column_names
        by_dictionary = [names[column] for column in columns if has_dictionary[column]]
        others = {
            names[column]: form.encodings[column] or _plain_encoding(form.models[column])
            for column in columns
            if not has_dictionary[column]
        }
        # By its version Arrow chooses how it names the encoding of indices.
        has_old_names = any(form.has_old_names[column] for column in columns)
        sink = pa.BufferOutputStream()
        pq.write_table(
            self.rows.select(list(columns)),
            sink,
            version="1.0" if has_old_names else "2.6",
            compression={names[column]: form.codecs[column] for column in columns},
            compression_level=self.recoding.level,
            use_dictionary=by_dictionary or False,
            column_encoding=others or None,
            data_page_version="2.0" if self.page_type is PageType.DATA_V2 else "1.0",
            write_page_index=any(form.is_indexed[column] for column in columns),
            write_page_checksum=self.has_crc,
            store_schema=False,
            dictionary_pagesize_limit=MAX_PLAIN_BYTES,  # else pages change their encoding
            row_group_size=max(1, self.rows.num_rows),
        )
        return _Written(sink.getvalue(), len(columns), self.rows.num_rows)

    def put(self, column: int, out: ChunkOut) -> NewChunk:
        """Send a column's chunk out, and tell what is true of it."""
        written, place = self.places[column]
        chunk = written.chunks[place]
        out.write(written.data[chunk.start : chunk.start + chunk.compressed_bytes])
        is_indexed, has_dictionary = self.form.is_indexed[column], chunk.dictionary_offset > 0
        if self.recoding.codec is None and chunk.codec != self.form.models[column].codec:
            raise InternalError("Arrow wrote another codec than it was asked for")
        return NewChunk(
            codec=chunk.codec,
            num_values=self.rows.num_rows,
            uncompressed_bytes=chunk.uncompressed_bytes,
            first_data_page=chunk.data_page_offset - chunk.start,
            has_dictionary=has_dictionary,
            encodings=list(chunk.encodings),
            encoding_stats=list(
                _encoding_stats(
                    chunk.encodings,
                    chunk.num_pages,
                    chunk.num_dictionary_pages,
                    self.page_type,
                    has_dictionary=has_dictionary,
                )
            ),
            statistics=self._statistics(column),
            pages=written.locations(place) if is_indexed else None,
            column_index=self._column_index(column) if is_indexed else None,
        )

    def _statistics(self, column: int) -> Struct | Raw | None:
        """Return the statistics of the rows, if the source has any."""
        raw = value(self.form.models[column].meta, spec.ColumnMetaData.STATISTICS)
        if raw is None:
            return None
        if self.form.orders[column] in _ARROW_ORDERS:
            written, place = self.places[column]
            return Raw(written.made.statistics[0][place]) or None
        facts = spec.read(spec.Statistics, raw)
        return st.chunk_statistics(facts, self._bounds(column), self.form.orders[column])

    def _bounds(self, column: int) -> st.Bounds:
        """Return the bounds of the rows of a column that Arrow compares otherwise."""
        rows = self.rows.column(column).combine_chunks()
        if rows.null_count == len(rows):
            return st.Bounds(is_empty=True, null_count=len(rows), nan_count=0)
        return st.bounds_of(as_ordered(self.form.leaves[column], rows), self.form.orders[column])

    def _column_index(self, column: int) -> bytes | None:
        """Return the column index; for other orders than Arrow's, if there is only one page.

        None where there is NaN: bounds leave it out, and readers take it for the largest.
        """
        if self.form.models[column].column_index is None:
            return None
        written, place = self.places[column]
        if self.form.orders[column] in _ARROW_ORDERS:
            return written.column_index(place)
        bounds = self._bounds(column)
        is_known = bounds.is_empty or (bounds.min is not None and bounds.max is not None)
        if written.num_pages(place) != 1 or not is_known or bounds.nan_count:
            return None
        return thrift.encode(_one_page_index(bounds, self.form.orders[column]))


class _Chunk(NamedTuple):
    """What a footer says of a column chunk; see :class:`.bytes.chunk_table.ChunkTable`."""

    start: int
    compressed_bytes: int
    uncompressed_bytes: int
    data_page_offset: int
    dictionary_offset: int
    codec: int
    num_pages: int
    num_dictionary_pages: int
    encodings: tuple[int, ...]


def _chunks_of(made: ChunkTable) -> list[_Chunk]:
    """Return what is said of every column of the only row group."""
    numbers = (
        made.starts,
        made.compressed_bytes,
        made.uncompressed_bytes,
        made.data_page_offsets,
        made.dictionary_offsets,
        made.codecs,
        made.num_pages,
        made.num_dictionary_pages,
    )
    encodings = [made.encoding_sets[number] for number in made.encodings[0].tolist()]
    columns = (each[0].tolist() for each in numbers)
    return [_Chunk(*chunk) for chunk in zip(*columns, encodings, strict=True)]


class _Written:
    """A file of one row group that Arrow wrote, and what its footer says of the columns."""

    def __init__(self, data: Any, num_columns: int, num_rows: int) -> None:
        self.data = data
        footer_place = footer_range(data[-TAIL_BYTES:].to_pybytes(), len(data))
        footer = Footer(self._bytes(*footer_place))
        self.made = made = read_chunk_table(footer, Scanner(flat_path_forms(num_columns)))
        self.chunks = _chunks_of(made)
        indexes = [
            self._bytes(offset, length) if length else b""
            for offset, length in zip(
                made.offset_index_offsets[0].tolist(),
                made.offset_index_bytes[0].tolist(),
                strict=True,
            )
        ]
        rows = np.full(num_columns, num_rows)
        self._pages = read_page_table(indexes, made.starts[0], made.compressed_bytes[0], rows)
        self._first_pages: list[int] = self._pages.begins.tolist()
        firsts = read_header_table(self._heads, made.starts[0])
        self._num_entries: list[int] = firsts.num_values.tolist()

    def _heads(self, offsets: Sequence[int], length: int) -> list[bytes]:
        return [self._bytes(offset, length) for offset in offsets]

    def _bytes(self, offset: int, length: int) -> bytes:
        return self.data[int(offset) : int(offset) + int(length)].to_pybytes()  # type: ignore[no-any-return]

    def num_entries(self, column: int) -> int | None:
        """Return the entries of a column's dictionary, None if it has none."""
        return self._num_entries[column] if self.chunks[column].dictionary_offset else None

    def num_pages(self, column: int) -> int:
        """Return the data pages of a column that has an offset index."""
        return self._first_pages[column + 1] - self._first_pages[column]

    def locations(self, column: int) -> list[PageLocation]:
        """Return where the data pages of a column lie in its chunk."""
        first, last = self._first_pages[column : column + 2]
        pages, start = self._pages, self.chunks[column].start
        numbers = (pages.offsets[first:last] - start, pages.sizes[first:last])
        every = (*numbers, pages.first_rows[first:last])
        return [
            PageLocation(*place)
            for place in zip(*(column.tolist() for column in every), strict=True)
        ]

    def column_index(self, column: int) -> bytes | None:
        """Return a column's index as Arrow wrote it."""
        place = self.made.column_index_offsets[0, column]
        return self._bytes(place, self.made.column_index_bytes[0, column]) or None


@lru_cache(1024)
def _encoding_stats(
    encodings: tuple[int, ...],
    num_pages: int,
    num_dictionary_pages: int,
    page_type: PageType,
    *,
    has_dictionary: bool,
) -> tuple[tuple[int, int, int], ...]:
    """Return how many pages there are of each kind, as :class:`NewChunk` has it."""
    indices = [encoding for encoding in encodings if encoding in DICTIONARY_ENCODINGS]
    # The list names levels and the dictionary as well; what is left of it are values.
    others = [e for e in encodings if e not in DICTIONARY_ENCODINGS and e != Encoding.RLE]
    if has_dictionary and len(others) > 1:
        others.remove(Encoding.PLAIN)
    found = []
    if has_dictionary:
        found.append((int(PageType.DICTIONARY), int(Encoding.PLAIN), 1))
    num_others = num_pages - num_dictionary_pages
    for known, number in ((indices, num_dictionary_pages), (others, num_others)):
        if number:
            found.append((int(page_type), int(known[0] if known else Encoding.RLE), number))
    return tuple(found)


def _one_page_index(bounds: st.Bounds, order: st.Order) -> Struct:
    low, high = bounds.min or b"", bounds.max or b""
    if order is st.Order.FLOAT and not bounds.is_empty:
        low = st.signed_zero(low, is_upper=False) or b""
        high = st.signed_zero(high, is_upper=True) or b""
    names = spec.ColumnIndex
    return spec.struct_of(
        {
            names.NULL_PAGES: [thrift.TRUE if bounds.is_empty else thrift.FALSE],
            names.MIN_VALUES: [low],
            names.MAX_VALUES: [high],
            names.BOUNDARY_ORDER: ASCENDING,
            names.NULL_COUNTS: [bounds.null_count],
        }
    )


_PAGE_TYPES = {1: PageType.DATA, 2: PageType.DATA_V2}


def _plain_encoding(chunk: ColumnChunk) -> str:
    """Return the name of the encoding that a chunk's values have where they are no indices."""
    used = [encoding for _, encoding in counted_pages(chunk)]
    if not used:  # the list names levels as well
        used = [encoding for encoding in chunk.encodings if encoding != Encoding.RLE]
    known = [e for e in used if e in ENCODING_NAMES and e != Encoding.PLAIN]
    return ENCODING_NAMES[Encoding(known[-1])] if known else "PLAIN"


def _uses_dictionary(chunk: ColumnChunk) -> bool:
    """Whether any page of a chunk is encoded by a dictionary, as far as the footer tells."""
    return any(encoding in DICTIONARY_ENCODINGS for encoding in chunk.encodings)


def _by_file(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return pieces of one file each, in order."""
    return [list(run) for _, run in groupby(pieces, key=lambda piece: id(piece.file))]


def _first_page(piece: Piece) -> PageHeader:
    """Return the header of the row group's first data page, which stands for all."""
    where = piece.group.entry.columns[0].range
    data = piece.file.source.read(where.offset, where.length)
    header = read_page_header(data)
    return header if header.is_data else read_page_header(data, header.total_bytes)


def _read(pieces: Sequence[Piece], columns: range) -> Any:
    """Return the rows of consecutive pieces of one file, by physical type.

    What is read of a single row group that is cut is kept for the other parts, if it is all.
    """
    first, groups = pieces[0], [piece.group for piece in pieces]
    is_all = len(columns) == len(first.file.footer.leaves)
    if len(pieces) == 1 and not first.is_whole and is_all:
        every = first.group.kept(_Table, _Table).read(groups)
    else:
        every = _read_groups(groups, columns)
    return every.slice(first.start_row, sum(piece.num_rows for piece in pieces))


class _Description(bytes):
    """What Arrow is told of some columns of row groups: a file's beginning and end."""


class _Table:
    """The rows of a row group, read by one thread for all."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._rows: Any = None

    def read(self, groups: Sequence[OpenRowGroup]) -> Any:
        with self._reading:
            if self._rows is None:
                self._rows = _read_groups(groups, range(len(groups[0].file.footer.leaves)))
            return self._rows


def _read_groups(opened: Sequence[OpenRowGroup], columns: range) -> Any:
    file, among = opened[0].file, slice(columns.start, columns.stop)
    leaves = file.footer.leaves[among]
    groups = [(group.entry.num_rows, group.entry.columns[among]) for group in opened]
    places = [chunk.range for _, chunks in groups for chunk in chunks]
    # A dictionary at byte 0 would count as none; before the first chunk is the magic at least.
    start = min(place.offset for place in places) - len(MAGIC)
    end = max(place.end for place in places)

    def described() -> _Description:
        return _Description(flat_columns_footer(leaves, groups, start))

    # Of a row group that is cut, every part asks for the same.
    one = opened[0] if len(opened) == 1 else None
    tiny = described() if one is None else one.kept(_Description, described, columns)
    handle = pa.BufferReader(file.source.read(start, end - start))
    metadata = pq.read_metadata(pa.BufferReader(tiny))
    repeated = [
        column
        for column, leaf in enumerate(leaves)
        if any(has_repeated_texts(leaf, chunks[column]) for _, chunks in groups)
    ]
    reader = pq.ParquetFile(
        handle,
        metadata=metadata,
        pre_buffer=False,
        page_checksum_verification=True,
        read_dictionary=[f"c{column}" for column in repeated],
    )
    table = reader.read(use_threads=False)
    if table.num_rows != sum(num_rows for num_rows, _ in groups):
        raise BadStructure("Arrow read another number of rows than the footer claims")
    return _decoded(table, repeated)


def _decoded(table: Any, repeated: Sequence[int]) -> Any:
    """Return a table in which values of some columns stand in no dictionary.

    Raises:
        BadStructure: they would take more room than small rows may.
    """
    if not repeated:
        return table
    columns, fields = table.columns, list(table.schema)  # which say what has no nulls
    num_bytes = 0
    for number in repeated:
        for chunk in columns[number].chunks:
            lengths = pc.binary_length(chunk.dictionary)
            num_bytes += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
        if num_bytes > MAX_PLAIN_BYTES:
            raise BadStructure("rows that were taken to be small are not")
        fields[number] = fields[number].with_type(pa.binary())
        columns[number] = pa.chunked_array(
            [chunk.dictionary_decode() for chunk in columns[number].chunks], pa.binary()
        )
    return pa.table(columns, schema=pa.schema(fields))
