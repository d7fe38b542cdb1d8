"""All column chunks of a footer as a table of numbers, without an object for each.

A footer of 100,000 column chunks takes the generic codec several seconds and hundreds of MB. Here
row groups are scanned (:mod:`.bytes.group_bytes`), and numbers are decoded by numpy; a row group of
another form is read by :class:`.bytes.footer.RowGroup`.

Not covered: pages (:mod:`.bytes.page_table`), statistics (their bytes are kept as they are).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine import memory
from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import ColumnChunk, Footer, RowGroup, value
from engine.formats.parquet.bytes.group_bytes import (
    Odd,
    Scanned,
    Scanner,
    listed_pages,
)
from engine.formats.parquet.bytes.thrift import Raw, Struct
from engine.model import Range

Numbers = npt.NDArray[np.int64]

_STATISTICS = spec.ColumnMetaData.STATISTICS
_TYPE_FIELD = spec.ColumnMetaData.TYPE
_PAGE_ENCODINGS = spec.ColumnMetaData.ENCODING_STATS
_NUMBERS = 10
_GROUPS_AT_ONCE = 1 << 10


class TableChunk(NamedTuple):
    """One chunk of a table, as far as :class:`.bytes.footer.ColumnChunk` says the same."""

    num_values: int
    uncompressed_bytes: int
    compressed_bytes: int
    data_page_offset: int
    dictionary_page_offset: int | None
    unencoded_bytes: int
    codec: int
    encodings: tuple[int, ...]
    statistics: bytes

    @property
    def range(self) -> Range:
        """Where the chunk lies, see :attr:`.bytes.footer.ColumnChunk.range`."""
        start, dictionary = self.data_page_offset, self.dictionary_page_offset
        if dictionary is not None and dictionary < start:
            start = dictionary
        return Range(start, self.compressed_bytes)


@dataclass(frozen=True)
class ChunkTable:
    """Numbers of column chunks, as arrays of row groups × columns.

    Attributes:
        num_rows: of each row group (one dimension).
        is_plain: of each row group, whether it says nothing else that matters: that chunks lie in
            other files, or encrypted, or have Bloom filters.
        ordinals: position that each row group says it has; -1 where it says none.
        num_values: level entries.
        uncompressed_bytes, compressed_bytes: page headers included.
        data_page_offsets: where the first data page lies, as the footer says.
        dictionary_offsets: where the dictionary page lies; 0 where there is none.
        offset_index_offsets, offset_index_bytes: 0 where there is none.
        column_index_offsets, column_index_bytes: 0 where there is none.
        unencoded_bytes: of texts, see :attr:`.bytes.footer.ColumnChunk.unencoded_bytes`.
        codecs: numbers of :class:`~.bytes.footer.Codec`.
        types: numbers of :class:`~.bytes.footer.Type`.
        encodings: positions in ``encoding_sets``.
        encoding_sets: each a tuple of numbers of :class:`~.bytes.footer.Encoding`.
        num_pages: data pages as far as the footer counts them, else -1.
        num_dictionary_pages: data pages among these that are encoded by the dictionary, else -1.
        statistics: bytes of each chunk's ``Statistics``, a list a row group; empty where absent.
        sorting_columns: what each row group says it is sorted by: column, whether descending.
    """

    num_rows: Numbers
    is_plain: npt.NDArray[np.bool_]
    ordinals: Numbers
    num_values: Numbers
    uncompressed_bytes: Numbers
    compressed_bytes: Numbers
    data_page_offsets: Numbers
    dictionary_offsets: Numbers
    offset_index_offsets: Numbers
    offset_index_bytes: Numbers
    column_index_offsets: Numbers
    column_index_bytes: Numbers
    unencoded_bytes: Numbers
    codecs: Numbers
    types: Numbers
    encodings: Numbers
    encoding_sets: tuple[tuple[int, ...], ...]
    num_pages: Numbers
    num_dictionary_pages: Numbers
    statistics: tuple[Sequence[bytes], ...]
    sorting_columns: tuple[tuple[tuple[int, bool], ...], ...]

    @property
    def starts(self) -> Numbers:
        """Where each chunk lies, see :attr:`.bytes.footer.ColumnChunk.range`."""
        dictionaries, data = self.dictionary_offsets, self.data_page_offsets
        return np.where((dictionaries > 0) & (dictionaries < data), dictionaries, data)

    def column(self, index: int) -> list[TableChunk]:
        """Return the chunks of a column, of all row groups."""

        def listed(numbers: Numbers) -> list[int]:
            return numbers[:, index].tolist()  # type: ignore[no-any-return]

        return [
            *map(
                TableChunk,
                listed(self.num_values),
                listed(self.uncompressed_bytes),
                listed(self.compressed_bytes),
                listed(self.data_page_offsets),
                [offset or None for offset in listed(self.dictionary_offsets)],
                listed(self.unencoded_bytes),
                listed(self.codecs),
                map(self.encoding_sets.__getitem__, listed(self.encodings)),
                (told[index] for told in self.statistics),
            )
        ]


def read_chunk_table(footer: Footer, scanner: Scanner | None = None) -> ChunkTable:
    """Read every row group of a footer; ``scanner`` spares it a look at the schema.

    Raises:
        BadStructure, Encrypted: as :meth:`.bytes.footer.Footer.row_group`.
    """
    return read_chunk_tables((footer,), scanner)


def read_chunk_tables(footers: Sequence[Footer], scanner: Scanner | None = None) -> ChunkTable:
    """Read every row group of footers of one schema as one table, those of the first in front.

    Raises:
        BadStructure, Encrypted: as :meth:`.bytes.footer.Footer.row_group`.
    """
    scanner = scanner or Scanner(footers[0].path_forms)
    num_chunks = sum(footer.num_row_groups for footer in footers) * scanner.num_columns
    memory.ask(memory.TABLED_BYTES * num_chunks, f"to read of {num_chunks:,} column chunks")
    reader = _Reader(scanner)
    for footer in footers:
        for index in range(footer.num_row_groups):
            reader.read(footer, index)
    return reader.table()


@dataclass(slots=True)
class _Group:
    """What was read of one row group: numbers (columns × :data:`_NUMBERS`) and the rest.

    Numbers that are still to be decoded are ``None``: ``coded`` has the bytes of all, one behind
    another, and ``lengths`` how many each takes.
    """

    num_rows: int
    numbers: Numbers | None
    coded: bytes
    lengths: bytes
    heads: list[tuple[int, int, int]]  # codec, position of the encodings, type
    pages: list[tuple[int, int]]
    statistics: list[bytes]
    sorting: tuple[tuple[int, bool], ...]
    ordinal: int
    is_plain: bool


def _found(scanned: Scanned) -> _Group:
    rest, numbers = scanned.rest, [*chain.from_iterable(scanned.numbers)]
    return _Group(
        rest[spec.RowGroup.NUM_ROWS][1],
        None,
        b"".join(numbers),
        bytes(map(len, numbers)),
        scanned.heads,
        scanned.pages,
        scanned.statistics,
        _sorting(rest),
        value(rest, spec.RowGroup.ORDINAL, -1),
        scanned.is_plain,
    )


def _bounded(listed: list[list[tuple[int, int]]]) -> Numbers:
    """Return sums of what chunks list of their pages; a lie beyond 64 bits is cut short."""
    try:
        return np.array(listed, np.int64)
    except OverflowError:
        most = int(np.iinfo(np.int64).max)
        return np.array([[[min(n, most) for n in two] for two in row] for row in listed], np.int64)


class _Reader:
    def __init__(self, scanner: Scanner) -> None:
        self._num_columns = scanner.num_columns
        self._scanner = scanner
        self._groups: list[_Group] = []

    def read(self, footer: Footer, index: int) -> None:
        try:
            group = _found(self._scanner.scan(footer.row_group_data(index)))
        except Odd:
            group = self._carefully(footer.row_group(index))
        self._groups.append(group)

    def _carefully(self, group: RowGroup) -> _Group:
        numbers = []
        for chunk in group.columns:
            offset_index = chunk.offset_index or (0, 0)
            column_index = chunk.column_index or (0, 0)
            numbers.append(
                (
                    chunk.num_values,
                    chunk.uncompressed_bytes,
                    chunk.compressed_bytes,
                    chunk.data_page_offset,
                    chunk.dictionary_page_offset or 0,
                    *offset_index,
                    *column_index,
                    _unencoded_bytes(chunk),
                )
            )
        return _Group(
            group.num_rows,
            np.array(numbers, np.int64).reshape(-1, _NUMBERS),
            b"",
            b"",
            [
                (
                    chunk.codec,
                    self._scanner.set_of(chunk.encodings),
                    value(chunk.meta, _TYPE_FIELD, -1),
                )
                for chunk in group.columns
            ],
            [listed_pages(value(chunk.meta, _PAGE_ENCODINGS)) for chunk in group.columns],
            [_encoded(value(chunk.meta, _STATISTICS)) for chunk in group.columns],
            _sorting(group.struct),
            value(group.struct, spec.RowGroup.ORDINAL, -1),
            all(map(_is_plain, group.columns)),
        )

    def _numbers(self) -> Numbers:
        """Return the numbers of all chunks; what was only found is decoded, some groups at once."""
        found = np.zeros((len(self._groups), self._num_columns, _NUMBERS), np.int64)
        for first in range(0, len(self._groups), _GROUPS_AT_ONCE):
            some = range(first, min(first + _GROUPS_AT_ONCE, len(self._groups)))
            quick = [index for index in some if self._groups[index].numbers is None]
            coded = np.frombuffer(b"".join(self._groups[index].coded for index in quick), np.uint8)
            told = b"".join(self._groups[index].lengths for index in quick)
            lengths = np.frombuffer(told, np.uint8).astype(np.int64)
            decoded = decode_varints(coded, np.cumsum(lengths) - lengths, lengths)
            found[quick] = decoded.reshape(len(quick), *found.shape[1:])
            for index in set(some).difference(quick):
                numbers = self._groups[index].numbers
                assert numbers is not None
                found[index] = numbers
        return found

    def table(self) -> ChunkTable:
        groups, columns = self._groups, self._num_columns
        shape = (len(groups), columns)
        numbers = self._numbers().reshape(*shape, _NUMBERS)
        heads = np.array([group.heads for group in groups], np.int64).reshape(*shape, 3)
        pages = _bounded([group.pages for group in groups]).reshape(*shape, 2)
        lengths = numbers[:, :, (6, 8)]
        offsets = np.where(lengths > 0, numbers[:, :, (5, 7)], 0)
        return ChunkTable(
            num_rows=np.array([group.num_rows for group in groups], np.int64),
            is_plain=np.array([group.is_plain for group in groups], np.bool_),
            ordinals=np.array([group.ordinal for group in groups], np.int64),
            num_values=numbers[:, :, 0],
            uncompressed_bytes=numbers[:, :, 1],
            compressed_bytes=numbers[:, :, 2],
            data_page_offsets=numbers[:, :, 3],
            dictionary_offsets=numbers[:, :, 4],
            offset_index_offsets=offsets[:, :, 0],
            offset_index_bytes=lengths[:, :, 0],
            column_index_offsets=offsets[:, :, 1],
            column_index_bytes=lengths[:, :, 1],
            unencoded_bytes=numbers[:, :, 9],
            codecs=heads[:, :, 0],
            types=heads[:, :, 2],
            encodings=heads[:, :, 1],
            encoding_sets=tuple(self._scanner.encoding_sets),
            num_pages=pages[:, :, 0],
            num_dictionary_pages=pages[:, :, 1],
            statistics=tuple(group.statistics for group in groups),
            sorting_columns=tuple(group.sorting for group in groups),
        )


def decode_varints(data: npt.NDArray[np.uint8], starts: Numbers, lengths: Numbers) -> Numbers:
    """Return zigzag-coded numbers that lie in ``data``; 0 where the length is 0."""
    found = np.zeros(starts.shape, np.int64)
    for place in range(min(int(lengths.max(initial=0)), 10)):
        here = lengths > place
        found[here] |= (data[starts[here] + place] & 127).astype(np.int64) << (7 * place)
    # The topmost bit is the sign of a shift that must not carry it.
    return ((found >> 1) & np.int64(2**63 - 1)) ^ -(found & 1)


def _unencoded_bytes(chunk: ColumnChunk) -> int:
    """Return what is told; what cannot be read is not, as only estimates use it."""
    with suppress(BadStructure):
        return chunk.unencoded_bytes
    return 0


def _is_plain(chunk: ColumnChunk) -> bool:
    """Whether a chunk lies in the file, not encrypted, and has no Bloom filter."""
    is_here = not value(chunk.struct, spec.ColumnChunk.FILE_PATH) and not chunk.is_encrypted
    return is_here and chunk.bloom_filter_offset is None


def _encoded(struct: Struct | Raw | None) -> bytes:
    return b"" if struct is None else thrift.encode(struct)


def _sorting(group: Struct) -> tuple[tuple[int, bool], ...]:
    """Return the columns that a row group says it is sorted by: index, whether descending."""
    entries = value(group, spec.RowGroup.SORTING_COLUMNS)
    if entries is None:
        return ()
    column = spec.SortingColumn
    decoded = [spec.decoded(column, item) for item in entries.items]
    return tuple(
        (value(entry, column.COLUMN_IDX, 0), bool(value(entry, column.DESCENDING, False)))
        for entry in decoded
    )
