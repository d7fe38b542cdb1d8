"""One row group of a footer, as its bytes: where its numbers lie, and the bytes once it moved.

A row group in the form that every known writer emits is scanned by a few regular expressions, for a
tenth of what it takes to decode it. Whatever else it is, is :class:`Odd`, and left to
:class:`.bytes.footer.RowGroup`, whose judgement counts. Tests compare the two on files of every
writer.

Not covered: what the numbers are (:mod:`.bytes.chunk_table` reads those of all row groups).
Source: parquet.thrift of apache/parquet-format, ``RowGroup``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import DICTIONARY_ENCODINGS, set_ordinal, value
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import BINARY, LIST, STRUCT, Raw, Struct
from engine.model import Range

_DATA_PAGES = (PageType.DATA, PageType.DATA_V2)

_V = rb"[\x80-\xff]*[\x00-\x7f]"  # a varint
_N = rb"(" + _V + rb")"
# ColumnChunk: file_offset, then the head of meta_data with its type; Field numbers are steps from
# the field before, so that a header is one byte.
_BEGIN = re.compile(rb"\x26" + _N + rb"\x1c")
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
_BLOOM_FILTER = spec.ColumnMetaData.BLOOM_FILTER_OFFSET
_PAGE_ENCODINGS = spec.ColumnMetaData.ENCODING_STATS
_PLACES_OF_PAGES = (
    spec.ColumnMetaData.INDEX_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
)
# A boolean as the first field, from which the next one counts: stands for the columns.
_COLUMNS_READ = b"\x11"
_FILE_OFFSET, _ORDINAL = spec.RowGroup.FILE_OFFSET, spec.RowGroup.ORDINAL


# Heads of the fields of a page index: an offset or a length behind the field before, and the offset
# of a column index behind the metadata.
_NEXT_OFFSET, _NEXT_LENGTH, _COLUMN_INDEX_ALONE = 0x16, 0x15, 0x36
_STOP = 0


class Odd(Exception):
    """A row group is not in the form that is scanned."""


class Scanned(NamedTuple):
    """What was found in a row group's bytes.

    Attributes:
        data: the bytes.
        spans: of each chunk, where these begin and end, -1 where there is none: its values,
            uncompressed and compressed bytes, offset of the first data page and of the dictionary
            page; offset and length of the offset index and of the column index.
        frames: of each chunk, where its ``file_offset`` begins and ends, where its metadata's stop
            byte stands, and where it ends.
        heads: of each chunk: codec, which set of encodings (:attr:`Scanner.encoding_sets`), type.
        pages: of each chunk: data pages as far as they are counted, and those by dictionary; or -1.
        statistics: bytes of each chunk's ``Statistics``; empty where absent.
        rest: fields behind the columns.
        rest_begin: where these begin.
        is_plain: whether no chunk has a Bloom filter.
    """

    data: bytes
    spans: list[tuple[tuple[int, int], ...]]
    frames: list[tuple[int, int, int, int]]
    heads: list[tuple[int, int, int]]
    pages: list[tuple[int, int]]
    statistics: list[bytes]
    rest: Struct
    rest_begin: int
    is_plain: bool

    def chunk_range(self, column: int) -> Range:
        """Return where a chunk lies, see :attr:`.bytes.footer.ColumnChunk.range`."""
        length, start, dictionary = (self._number(column, which) for which in (2, 3, 4))
        return Range(dictionary if 0 < dictionary < start else start, length)

    def offset_index(self, column: int) -> Range | None:
        """Return where a chunk's offset index lies, None if it has none."""
        length = self._number(column, 6)
        return Range(self._number(column, 5), length) if length else None

    def column_index(self, column: int) -> Range | None:
        """Return where a chunk's column index lies, None if it has none."""
        length = self._number(column, 8)
        return Range(self._number(column, 7), length) if length else None

    def _number(self, column: int, which: int) -> int:
        begin, _ = self.spans[column][which]
        return thrift.read_zigzag(self.data, begin)[0] if begin >= 0 else 0


class Scanner:
    """Scans row groups of one footer, one after another."""

    def __init__(self, num_columns: int) -> None:
        self._num_columns = num_columns
        # Bytes of the head that each column had last, and what they say; no chunk begins with this.
        self._known = [(b"\xff", (0, 0, 0))] * num_columns
        self.encoding_sets: dict[tuple[int, ...], int] = {}

    def scan(self, data: bytes) -> Scanned:
        """Scan a row group; raises Odd."""
        try:
            return self._scan(data)
        except (IndexError, BadStructure) as error:
            raise Odd from error

    def _scan(self, data: bytes) -> Scanned:
        if data[0] != 0x10 + LIST:
            raise Odd
        kind, count, pos = thrift.read_list_header(data, 1)
        if kind != STRUCT or count != self._num_columns:
            raise Odd
        spans, frames, heads, pages, statistics = [], [], [], [], []
        is_plain = True
        for column, (prefix, head) in enumerate(self._known):
            begin = _BEGIN.match(data, pos)
            if begin is None:
                raise Odd
            pos = begin.end()
            if data.startswith(prefix, pos):
                pos += len(prefix)
            else:
                pos, head = self._read_head(data, pos, column)
            heads.append(head)
            sizes = _SIZES.match(data, pos)
            if sizes is None:
                raise Odd
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
                if not step or field in _PLACES_OF_PAGES:
                    raise Odd  # the latter: of index pages, and of a dictionary behind it
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
                raise Odd
            frames.append((*begin.span(1), *indexes.span()))
            pos = indexes.end()
            spans.append(sizes.regs[1:] + indexes.regs[1:])
            pages.append(counted)
            statistics.append(bounds)
        rest = thrift.decode(_COLUMNS_READ + data[pos:], max_depth=2)[0]
        columns = spec.RowGroup.COLUMNS
        spec.check(spec.RowGroup, {**rest, columns: spec.entry(columns, [])})
        return Scanned(data, spans, frames, heads, pages, statistics, rest, pos, is_plain)

    def _read_head(self, data: bytes, start: int, column: int) -> tuple[int, tuple[int, int, int]]:
        """Read type, encodings, path and codec; remember the bytes for the next row group."""
        found = _TYPE.match(data, start)
        if found is None:
            raise Odd
        physical, _ = thrift.read_zigzag(data, start + 1)
        kind, count, pos = thrift.read_list_header(data, found.end())
        encodings = []
        for _ in range(count):
            number, pos = thrift.read_zigzag(data, pos)
            encodings.append(number)
        if kind != thrift.I32 or data[pos] != 0x10 + LIST:
            raise Odd
        kind, count, pos = thrift.read_list_header(data, pos + 1)
        if kind != BINARY:
            raise Odd
        for _ in range(count):
            length, pos = thrift.read_varint(data, pos)
            pos += length
        if data[pos] != 0x15:
            raise Odd
        codec, pos = thrift.read_zigzag(data, pos + 1)
        head = (codec, self.set_of(tuple(encodings)), physical)
        self._known[column] = data[start:pos], head
        return pos, head

    def set_of(self, encodings: tuple[int, ...]) -> int:
        """Return the number of a set of encodings."""
        return self.encoding_sets.setdefault(encodings, len(self.encoding_sets))


@lru_cache(4096)
def _counted_pages(data: bytes) -> tuple[int, int]:
    """Return data pages, and those by dictionary, of a list of ``PageEncodingStats``."""
    kind, count, pos = thrift.read_list_header(data, 0)
    if kind != STRUCT:
        raise Odd
    entries = []
    for _ in range(count):
        entry, pos = thrift.decode(data, pos)
        entries.append(entry)
    if pos != len(data):
        raise Odd
    return listed_pages(thrift.Sequence(STRUCT, entries))


def listed_pages(entries: thrift.Sequence | None) -> tuple[int, int]:
    """Return data pages, and those by dictionary, of ``PageEncodingStats``; -1 without any."""
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


class MovedChunk(NamedTuple):
    """How far a chunk moved, in bytes, and where its page indexes lie now; None if it has none."""

    shift: int
    offset_index: Range | None
    column_index: Range | None


def moved(scanned: Scanned, chunks: Sequence[MovedChunk], ordinal: int, first_offset: int) -> bytes:
    """Return the bytes of a row group whose chunks moved.

    The same as decoding, changing every field that names a place, and encoding.

    Args:
        scanned: the row group as it was; without Bloom filters.
        chunks: what became of each.
        ordinal, first_offset: its own place, see :func:`.bytes.footer.set_ordinal`.
    """
    data, out, pos = scanned.data, bytearray(), 0
    for spans, frame, chunk in zip(scanned.spans, scanned.frames, chunks, strict=True):
        for begin, end in (frame[:2], spans[3], spans[4]):
            if begin >= 0:
                out += data[pos:begin]
                offset = thrift.read_zigzag(data, begin)[0]
                thrift.put_zigzag(out, offset + chunk.shift if offset else 0)
                pos = end
        _, _, meta_end, pos_behind = frame
        out += data[pos : meta_end + 1]
        head = _COLUMN_INDEX_ALONE
        if chunk.offset_index is not None:
            _put_place(out, _NEXT_OFFSET, chunk.offset_index)
            head = _NEXT_OFFSET
        if chunk.column_index is not None:
            _put_place(out, head, chunk.column_index)
        out.append(_STOP)
        pos = pos_behind
    rest = scanned.rest
    if not {_FILE_OFFSET, _ORDINAL}.isdisjoint(rest):
        rest = dict(rest)
        set_ordinal(rest, ordinal, first_offset)
        return bytes(out) + thrift.encode(rest)[len(_COLUMNS_READ) :]
    return bytes(out + data[pos:])


def _put_place(out: bytearray, head: int, place: Range) -> None:
    out.append(head)
    thrift.put_zigzag(out, place.offset)
    out.append(_NEXT_LENGTH)
    thrift.put_zigzag(out, place.length)
