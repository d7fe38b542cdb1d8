"""All column chunks of a footer as a table of numbers, without an object for each.

A footer of 100,000 column chunks takes the generic codec several seconds and hundreds of MB. Here
a row group in the form that every known writer emits is read by a few regular expressions, and
numbers are decoded by numpy; anything else is read by :class:`.bytes.footer.RowGroup`, whose
judgement counts. Tests compare the two on files of every writer.

Not covered: pages (:mod:`.bytes.page_table`), statistics (their bytes are kept as they are).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import ColumnChunk, Encoding, Footer, RowGroup, value
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import BINARY, LIST, STRUCT, Raw, Struct

Numbers = npt.NDArray[np.int64]

DICTIONARY_ENCODINGS = (Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY)
_DATA_PAGES = (PageType.DATA, PageType.DATA_V2)

_V = rb"[\x80-\xff]*[\x00-\x7f]"  # a varint
_N = rb"(" + _V + rb")"
# ColumnChunk: file_offset, then the head of meta_data with its type; Field numbers are steps from
# the field before, so that a header is one byte.
_BEGIN = re.compile(rb"\x26" + _V + rb"\x1c")
# Type, encodings, path, codec: the same bytes in every row group, as a rule.
_TYPE = re.compile(rb"\x15" + _V + rb"\x19")
# num_values, uncompressed and compressed bytes, data page offset, dictionary page offset.
_SIZES = re.compile(
    rb"\x16" + _N + rb"\x16" + _N + rb"\x16" + _N + rb"\x26" + _N + rb"(?:\x26" + _N + rb")?",
)
_ENCODING_STATS = re.compile(rb"(?:\x15" + _V + rb"\x15" + _V + rb"\x15" + _V + rb"\x00)*")
# Offset and length of the offset index, then of the column index; the chunk's end.
_INDEXES = re.compile(
    rb"\x00(?:\x16" + _N + rb"\x15" + _N + rb")?(?:[\x16\x36]" + _N + rb"\x15" + _N + rb")?\x00",
)
_STATISTICS = spec.ColumnMetaData.STATISTICS
_TYPE_FIELD = spec.ColumnMetaData.TYPE
_BLOOM_FILTER = spec.ColumnMetaData.BLOOM_FILTER_OFFSET
_PAGE_ENCODINGS = spec.ColumnMetaData.ENCODING_STATS
_NUMBERS = 9
_GROUPS_AT_ONCE = 1 << 10


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


def read_chunk_table(footer: Footer, num_columns: int | None = None) -> ChunkTable:
    """Read every row group of a footer; ``num_columns`` spares it a look at the schema.

    Raises:
        BadStructure, Encrypted: as :meth:`.bytes.footer.Footer.row_group`.
    """
    reader = _Reader(footer, num_columns or len(footer.leaves))
    for index in range(footer.num_row_groups):
        reader.read(index)
    return reader.table()


@dataclass(slots=True)
class _Group:
    """What was read of one row group: numbers (columns × :data:`_NUMBERS`) and the rest.

    Numbers that are still to be decoded are ``None``: ``spans`` says where each begins and ends.
    """

    num_rows: int
    numbers: Numbers | None
    spans: array[int]
    heads: list[tuple[int, int, int]]  # codec, position of the encodings, type
    pages: list[tuple[int, int]]
    statistics: list[bytes]
    sorting: tuple[tuple[int, bool], ...]
    ordinal: int
    is_plain: bool


class _Odd(Exception):
    """A row group is not in the form that is read quickly."""


class _Reader:
    def __init__(self, footer: Footer, num_columns: int) -> None:
        self._footer = footer
        self._num_columns = num_columns
        self._prefixes = [b"\xff"] * num_columns  # what no chunk begins with
        self._heads = [(0, 0, 0)] * num_columns
        self._sets: dict[tuple[int, ...], int] = {}
        self._groups: list[_Group] = []

    def read(self, index: int) -> None:
        try:
            group = self._quickly(self._footer.row_group_data(index))
        except (_Odd, IndexError, BadStructure):
            group = self._carefully(self._footer.row_group(index))
        self._groups.append(group)

    def _quickly(self, data: bytes) -> _Group:
        if data[0] != 0x10 + LIST:
            raise _Odd
        kind, count, pos = thrift.read_list_header(data, 1)
        if kind != STRUCT or count != self._num_columns:
            raise _Odd
        spans, heads, pages, statistics = [], [], [], []
        is_plain = True
        for column, prefix in enumerate(self._prefixes):
            begin = _BEGIN.match(data, pos)
            if begin is None:
                raise _Odd
            pos = begin.end()
            if data.startswith(prefix, pos):
                pos += len(prefix)
            else:
                pos = self._read_head(data, pos, column)
            heads.append(self._heads[column])
            sizes = _SIZES.match(data, pos)
            if sizes is None:
                raise _Odd
            pos = sizes.end()
            field = (
                spec.ColumnMetaData.DATA_PAGE_OFFSET
                if sizes.end(5) < 0
                else spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET
            ).real
            bounds, counted = b"", (-1, -1)
            while data[pos]:
                step, kind = data[pos] >> 4, data[pos] & 15
                field += step
                start = pos + 1
                if not step or field == spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET:
                    raise _Odd  # the latter: behind an offset of index pages
                if field == _STATISTICS and kind == STRUCT:
                    pos = thrift.skip(data, start)
                    bounds = data[start:pos]
                elif field == _PAGE_ENCODINGS and kind == LIST:
                    found = _ENCODING_STATS.match(data, start + 1)
                    assert found is not None  # it matches nothing as well
                    pos = found.end()
                    counted = _counted_pages(data[start:pos])
                else:
                    is_plain &= field != _BLOOM_FILTER
                    pos = thrift.skip_value(data, start, kind)
            indexes = _INDEXES.match(data, pos)
            if indexes is None:
                raise _Odd
            pos = indexes.end()
            spans.append(sizes.regs[1:] + indexes.regs[1:])
            pages.append(counted)
            statistics.append(bounds)
        # A boolean as the first field, from which the next one counts.
        rest = thrift.decode(b"\x11" + data[pos:], max_depth=2)[0]
        columns = spec.RowGroup.COLUMNS
        spec.check(spec.RowGroup, {**rest, columns: spec.entry(columns, [])})
        num_rows = rest[spec.RowGroup.NUM_ROWS][1]
        places = array("q", chain.from_iterable(chain.from_iterable(spans)))
        sorting, ordinal = _sorting(rest), value(rest, spec.RowGroup.ORDINAL, -1)
        return _Group(num_rows, None, places, heads, pages, statistics, sorting, ordinal, is_plain)

    def _read_head(self, data: bytes, start: int, column: int) -> int:
        """Read type, encodings, path and codec; remember the bytes for the next row group."""
        found = _TYPE.match(data, start)
        if found is None:
            raise _Odd
        physical, _ = thrift.read_varint(data, start + 1)
        kind, count, pos = thrift.read_list_header(data, found.end())
        encodings = []
        for _ in range(count):
            number, pos = thrift.read_varint(data, pos)
            encodings.append(number >> 1)
        if kind != thrift.I32 or data[pos] != 0x10 + LIST:
            raise _Odd
        kind, count, pos = thrift.read_list_header(data, pos + 1)
        if kind != BINARY:
            raise _Odd
        for _ in range(count):
            length, pos = thrift.read_varint(data, pos)
            pos += length
        if data[pos] != 0x15:
            raise _Odd
        codec, pos = thrift.read_varint(data, pos + 1)
        self._prefixes[column] = data[start:pos]
        self._heads[column] = (codec >> 1, self._set_of(tuple(encodings)), physical >> 1)
        return pos

    def _set_of(self, encodings: tuple[int, ...]) -> int:
        return self._sets.setdefault(encodings, len(self._sets))

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
                )
            )
        return _Group(
            group.num_rows,
            np.array(numbers, np.int64).reshape(-1, _NUMBERS),
            array("q"),
            [
                (chunk.codec, self._set_of(chunk.encodings), value(chunk.meta, _TYPE_FIELD, -1))
                for chunk in group.columns
            ],
            [_listed_pages(value(chunk.meta, _PAGE_ENCODINGS)) for chunk in group.columns],
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
            data = [self._footer.row_group_data(index) for index in quick]
            begins = np.cumsum([0, *map(len, data)])[:-1]
            joined = np.frombuffer(b"".join(data), np.uint8)
            places = b"".join(self._groups[index].spans for index in quick)
            spans = np.frombuffer(places, np.int64).reshape(len(quick), *found.shape[1:], 2)
            starts = spans[..., 0] + begins[:, np.newaxis, np.newaxis]
            found[quick] = decode_varints(joined, starts, spans[..., 1] - spans[..., 0])
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
        pages = np.array([group.pages for group in groups], np.int64).reshape(*shape, 2)
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
            codecs=heads[:, :, 0],
            types=heads[:, :, 2],
            encodings=heads[:, :, 1],
            encoding_sets=tuple(self._sets),
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


def _is_plain(chunk: ColumnChunk) -> bool:
    """Whether a chunk lies in the file, not encrypted, and has no Bloom filter."""
    is_here = not value(chunk.struct, spec.ColumnChunk.FILE_PATH) and not chunk.is_encrypted
    return is_here and chunk.bloom_filter_offset is None


@lru_cache(4096)
def _counted_pages(data: bytes) -> tuple[int, int]:
    """Return data pages, and those by dictionary, of a list of ``PageEncodingStats``."""
    kind, count, pos = thrift.read_list_header(data, 0)
    if kind != STRUCT:
        raise _Odd
    entries = []
    for _ in range(count):
        entry, pos = thrift.decode(data, pos)
        entries.append(entry)
    if pos != len(data):
        raise _Odd
    return _listed_pages(thrift.Sequence(STRUCT, entries))


def _listed_pages(entries: thrift.Sequence | None) -> tuple[int, int]:
    if entries is None:
        return -1, -1
    data, dictionary = 0, 0
    stats = spec.PageEncodingStats
    for item in entries.items:
        entry = _struct(item, stats)
        if value(entry, stats.PAGE_TYPE) in _DATA_PAGES:
            data += value(entry, stats.COUNT, 0)
            if value(entry, stats.ENCODING) in DICTIONARY_ENCODINGS:
                dictionary += value(entry, stats.COUNT, 0)
    return data, dictionary


def _struct(item: Struct | Raw, structure: type[spec.Structure]) -> Struct:
    return spec.read(structure, item) if isinstance(item, bytes) else item


def _encoded(struct: Struct | Raw | None) -> bytes:
    return b"" if struct is None else thrift.encode(struct)


def _sorting(group: Struct) -> tuple[tuple[int, bool], ...]:
    """Return the columns that a row group says it is sorted by: index, whether descending."""
    entries = value(group, spec.RowGroup.SORTING_COLUMNS)
    if entries is None:
        return ()
    column = spec.SortingColumn
    decoded = [_struct(item, column) for item in entries.items]
    return tuple(
        (value(entry, column.COLUMN_IDX, 0), bool(value(entry, column.DESCENDING, False)))
        for entry in decoded
    )
