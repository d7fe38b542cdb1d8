"""One row group of a footer, as its bytes: where its numbers lie, and the bytes once it moved.

A row group in the form that every known writer emits is scanned by a regular expression, which
matches a chunk at once, for a tenth of what it takes to decode it. Whatever else it is, is
:class:`Odd`, and left to :class:`.bytes.footer.RowGroup`, whose judgement counts. Tests compare the
two on files of every writer.

Not covered: what the numbers are (:mod:`.bytes.chunk_table` reads those of all row groups).
Source: parquet.thrift of apache/parquet-format, ``RowGroup``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import DICTIONARY_ENCODINGS, PathForms, set_ordinal, value
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import (
    BINARY,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    Struct,
)
from engine.model import Range

_DATA_PAGES = (PageType.DATA, PageType.DATA_V2)

_MAX_ITEMS = 14  # of a list with a header of one byte
_MAX_NAME_BYTES = 127  # of a length of one byte
_V = rb"[\x80-\xff]{0,9}[\x00-\x7f]"  # a varint
_N = rb"(" + _V + rb")"
_USUAL_BYTES = 48  # of a bound; of longer ones there are few
_MOST_BEHIND_BOUNDS = 4096  # bytes of a chunk
_NOTHING = b"\x00"  # a structure without fields
_Spans = tuple[tuple[int, int], ...]
# A boolean as the first field, from which the next one counts: stands for the columns.
_COLUMNS_READ = b"\x11"
_FILE_OFFSET, _ORDINAL = spec.RowGroup.FILE_OFFSET, spec.RowGroup.ORDINAL


# Heads of the fields of a page index: an offset or a length behind the field before, and the offset
# of a column index behind the metadata.
_NEXT_OFFSET, _NEXT_LENGTH, _COLUMN_INDEX_ALONE = 0x16, 0x15, 0x36
_STOP = 0


class Odd(Exception):
    """A row group is not in the form that is scanned."""


class _Cut(NamedTuple):
    """How a chunk was matched without its statistics.

    Attributes:
        begin: where the chunk begins.
        at: where the statistics were, counted from there.
        moved_by: bytes that what is behind was moved to the front.
    """

    begin: int
    at: int
    moved_by: int


class Scanned(NamedTuple):
    """What was found in a row group's bytes.

    Attributes:
        data: the bytes.
        numbers: of each chunk, as they are coded, empty where there is none: its values,
            uncompressed and compressed bytes, offset of the first data page and of the dictionary
            page; offset and length of the offset index and of the column index; bytes of its texts
            before they were encoded.
        matches: of each chunk, what says where all lies, see :func:`_places`.
        heads: of each chunk: codec, which set of encodings (:attr:`Scanner.encoding_sets`), type.
        pages: of each chunk: data pages as far as they are counted, and those by dictionary; or -1.
        statistics: bytes of each chunk's ``Statistics``; empty where absent.
        rest: fields behind the columns.
        is_plain: whether no chunk has a Bloom filter.
    """

    data: bytes
    numbers: list[tuple[bytes, ...]]
    matches: list[tuple[re.Match[bytes], _Cut | None]]
    heads: list[tuple[int, int, int]]
    pages: list[tuple[int, int]]
    statistics: list[bytes]
    rest: Struct
    is_plain: bool

    def chunk_range(self, column: int) -> Range:
        """Return where a chunk lies, see :attr:`.bytes.footer.ColumnChunk.range`."""
        length, start = self._number(column, 2), self._number(column, 3)
        dictionary = self._number(column, 4)
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
        number = self.numbers[column][which]
        return thrift.read_zigzag(number, 0)[0] if number else 0


def _heads(kinds: Sequence[int]) -> bytes:
    """Return what matches the head of a field, some steps behind the one before."""
    return b"[%b]" % re.escape(bytes(step << 4 | kind for step in range(1, 16) for kind in kinds))


def _binary(lengths: Iterable[int]) -> bytes:
    return b"(?:%b)" % b"|".join(re.escape(bytes([n])) + b".{%d}" % n for n in sorted(lengths))


def _listed(item: bytes, kind: int, sizes: Iterable[int] = range(_MAX_ITEMS + 1)) -> bytes:
    """Return what matches a short list."""
    each = (re.escape(bytes([n << 4 | kind])) + b"(?:%b){%d}" % (item, n) for n in sorted(sizes))
    return b"(?:%b)" % b"|".join(each)


def _first_fields(forms: PathForms) -> bytes:
    """Return what matches a chunk up to its page offsets: the first eight groups."""
    name = _binary(length for length in forms.lengths if length <= _MAX_NAME_BYTES)
    path = _listed(name, BINARY, (depth for depth in forms.depths if depth <= _MAX_ITEMS))
    head = rb"\x26%b\x1c(\x15%b\x19%b)\x19%b\x15%b" % (_N, _V, _listed(_V, I32), path, _N)
    return head + (rb"\x16" + _N) * 3 + rb"\x26%b(?:\x26%b)?" % (_N, _N)


def _last_fields() -> bytes:
    """Return what matches the rest of a chunk; which head a field has the one before decides."""
    numbers = _heads((I32, I64)) + _V
    flags, texts = _heads((TRUE, FALSE)), _heads((BINARY,)) + _binary(range(_USUAL_BYTES + 1))
    bounds = rb"(?:%b|%b|%b)*\x00" % (numbers, flags, texts)
    pages = _listed((rb"\x15" + _V) * 3 + rb"\x00", STRUCT)
    lists = _heads((LIST,)) + _listed(_V, I64)
    sizes = rb"(?:\x16%b)?(?:%b|%b)*\x00" % (_N, numbers, lists)
    return (
        rb"(?:(?(8)\x1c|\x3c)(%b))?" % bounds
        + rb"(?:(?(9)\x19|(?(8)\x29|\x49))(%b))?" % pages
        + rb"(?:(?(10)\x16|(?(9)\x26|(?!)))(%b)(\x15%b)?)?" % (_V, _V)
        + rb"(?:(?(12)\x1c|(?(11)\x2c|(?(10)\x3c|(?(9)\x4c|(?!)))))%b)?" % sizes
        + rb"(\x00)(?:\x16%b\x15%b)?(?:[\x16\x36]%b\x15%b)?\x00" % (_N, _N, _N, _N)
    )


@lru_cache(64)
def _chunk(forms: PathForms) -> re.Pattern[bytes]:
    """Return what matches a chunk with short bounds, or none.

    Groups: file_offset; type and encodings; codec; num_values, uncompressed and compressed bytes,
    data page offset, dictionary page offset; statistics; encodings of pages; offset of the Bloom
    filter, and its length; bytes of texts; the metadata's stop byte; offset and length of the
    offset index, and of the column index.
    """
    return re.compile(_first_fields(forms) + _last_fields(), re.DOTALL)


@lru_cache(64)
def _begin(forms: PathForms) -> re.Pattern[bytes]:
    """Return what matches a chunk up to statistics, and their head."""
    return re.compile(_first_fields(forms) + rb"(?(8)\x1c|\x3c)", re.DOTALL)


class Scanner:
    """Scans row groups of one footer, one after another.

    ``forms``: of the paths of its columns; a chunk with another path is odd.
    """

    def __init__(self, forms: PathForms) -> None:
        self.num_columns = forms.num_columns
        self._forms = forms
        self._match = _chunk(forms).match
        self._heads: dict[tuple[bytes, bytes], tuple[int, int, int]] = {}
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
        if kind != STRUCT or count != self.num_columns:
            raise Odd
        numbers, coded, counted, statistics, matches = [], [], [], [], []
        match, is_plain, cut = self._match, True, None
        for _ in range(count):
            found = match(data, pos)
            if found is None:
                found, cut, pos = self._with_long_bounds(data, pos)
            else:
                cut, pos = None, found.end()
            every = found.groups(b"")
            numbers.append(every[3:8] + every[14:] + every[12:13])
            coded.append((every[1], every[2]))
            counted.append(every[9])
            statistics.append(every[8] if cut is None else _bounds(data, cut))
            matches.append((found, cut))
            is_plain &= not every[10]
        known = self._heads
        heads = [known.get(head) or self._read_head(*head) for head in coded]
        pages = [_counted_pages(listed) if listed else (-1, -1) for listed in counted]
        rest = _rest(data, pos)
        return Scanned(data, numbers, matches, heads, pages, statistics, rest, is_plain)

    def _with_long_bounds(self, data: bytes, pos: int) -> tuple[re.Match[bytes], _Cut, int]:
        """Scan a chunk with its statistics cut out; return that too, and where the chunk ends."""
        begin = _begin(self._forms).match(data, pos)
        if begin is None:
            raise Odd
        start = begin.end()
        end = thrift.skip(data, start)
        found = self._match(data[pos:start] + _NOTHING + data[end : end + _MOST_BEHIND_BOUNDS])
        if found is None:
            raise Odd
        cut = _Cut(pos, start - pos, end - start - len(_NOTHING))
        return found, cut, pos + found.end() + cut.moved_by

    def _read_head(self, coded: bytes, codec: bytes) -> tuple[int, int, int]:
        """Read type, encodings and codec."""
        physical, pos = thrift.read_zigzag(coded, 1)
        _, count, pos = thrift.read_list_header(coded, pos + 1)
        encodings = []
        for _ in range(count):
            number, pos = thrift.read_zigzag(coded, pos)
            encodings.append(number)
        head = thrift.read_zigzag(codec, 0)[0], self.set_of(tuple(encodings)), physical
        self._heads[coded, codec] = head
        return head

    def set_of(self, encodings: tuple[int, ...]) -> int:
        """Return the number of a set of encodings."""
        return self.encoding_sets.setdefault(encodings, len(self.encoding_sets))


_REST = (
    (spec.RowGroup.TOTAL_BYTE_SIZE, I64),
    (spec.RowGroup.NUM_ROWS, I64),
    (_FILE_OFFSET, I64),
    (spec.RowGroup.TOTAL_COMPRESSED_SIZE, I64),
    (_ORDINAL, I16),
)
_match_rest = re.compile(rb"\x16%b\x16%b(?:\x26%b\x16%b(?:\x14%b)?)?\x00" % ((_N,) * 5)).match


def _rest(data: bytes, pos: int) -> Struct:
    """Read the fields behind the columns; raises BadStructure."""
    columns, usual = spec.RowGroup.COLUMNS, _match_rest(data, pos)
    if usual is None:
        rest = thrift.decode(_COLUMNS_READ + data[pos:], max_depth=2)[0]
        spec.check(spec.RowGroup, {**rest, columns: spec.entry(columns, [])})
        return rest
    rest = {columns: (TRUE, True)}
    for (field, kind), number in zip(_REST, usual.groups(), strict=True):
        if number is not None:
            rest[field] = kind, thrift.read_zigzag(number, 0)[0]
    return rest


def _bounds(data: bytes, cut: _Cut) -> bytes:
    """Return the statistics that were cut out."""
    start = cut.begin + cut.at
    return data[start : start + cut.moved_by + len(_NOTHING)]


def _places(match: re.Match[bytes], cut: _Cut | None) -> _Spans:
    """Return where each group of :func:`_chunk` begins and ends in a row group's bytes.

    Below 0 where it matched nothing.
    """
    if cut is None:
        return match.regs

    def place(at: int) -> int:
        return at if at < 0 else at + cut.begin + (cut.moved_by if at > cut.at else 0)

    return tuple((place(first), place(last)) for first, last in match.regs)


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
        entry = spec.decoded(stats, item)
        if value(entry, stats.PAGE_TYPE) in _DATA_PAGES:
            data += value(entry, stats.COUNT, 0)
            if value(entry, stats.ENCODING) in DICTIONARY_ENCODINGS:
                dictionary += value(entry, stats.COUNT, 0)
    return data, dictionary


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
    for found, chunk in zip(scanned.matches, chunks, strict=True):
        places = _places(*found)
        for begin, end in (places[1], places[7], places[8]):
            if begin >= 0:
                out += data[pos:begin]
                offset = thrift.read_zigzag(data, begin)[0]
                thrift.put_zigzag(out, offset + chunk.shift if offset else 0)
                pos = end
        out += data[pos : places[14][1]]  # the metadata's stop byte is the last
        head = _COLUMN_INDEX_ALONE
        if chunk.offset_index is not None:
            _put_place(out, _NEXT_OFFSET, chunk.offset_index)
            head = _NEXT_OFFSET
        if chunk.column_index is not None:
            _put_place(out, head, chunk.column_index)
        out.append(_STOP)
        pos = places[0][1]
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
