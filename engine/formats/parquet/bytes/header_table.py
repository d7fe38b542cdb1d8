"""Many page headers at once, as arrays of numbers.

Headers in the form that every known writer emits are read together by numpy; any other one by
:func:`.bytes.pages.read_page_header`, whose judgement counts: for the same bytes both say
the same, and tests compare them.

Not covered: where headers begin (:mod:`.bytes.page_table`, :mod:`.bytes.page_map`),
what stands in page bodies, and the statistics inside headers, which are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.chunk_table import Numbers
from engine.formats.parquet.bytes.page_map import MAX_HEADER_BYTES
from engine.formats.parquet.bytes.pages import (
    MAX_ENCODING,
    PageHeader,
    PageType,
    SkimmedHeader,
    read_page_header,
    skim_header,
)

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
ReadHeads = Callable[[list[int], int], Sequence[bytes]]

NO_HEADER = -1  # the type of a page whose header is none
UNKNOWN = -1  # rows of a page that does not say

_WINDOW_BYTES = 96  # headers are shorter, also with bounds of 64 bits
_WALK_BYTES = 16 << 10  # read at once of pages that follow each other
_HEADERS_AT_ONCE = 1 << 13  # so that their bytes take little memory
_MAX_FIELDS = 16  # of Statistics, with room
_I32 = 0x15  # the head of a field of 32 bits behind the field with the number before
_STRUCT = 0x0C
_STEPS = {  # from the sizes to the structure that tells more, in fields; one less with a checksum
    PageType.DATA: 2,
    PageType.DICTIONARY: 4,
    PageType.DATA_V2: 5,
}
_COLUMNS = 7  # of the arrays of a table


@dataclass(frozen=True)
class HeaderTable:
    """What page headers say, an entry a header.

    Attributes:
        types: numbers of :class:`~.bytes.pages.PageType`; :data:`NO_HEADER` where there is
            no header, or one that contradicts itself; then all other numbers are 0.
        uncompressed_bytes, compressed_bytes: size of the body.
        num_values: level entries of a data page, entries of a dictionary.
        encodings: numbers of :class:`~.bytes.footer.Encoding`.
        num_rows: of a V2 data page, else :data:`UNKNOWN`.
        header_bytes: size of the header itself.
        errors: why there is no header, by position in the arrays.
    """

    types: Numbers
    uncompressed_bytes: Numbers
    compressed_bytes: Numbers
    num_values: Numbers
    encodings: Numbers
    num_rows: Numbers
    header_bytes: Numbers
    errors: dict[int, BadStructure]

    @property
    def total_bytes(self) -> Numbers:
        """Header and body of each page."""
        return self.header_bytes + self.compressed_bytes

    @property
    def is_data(self) -> Flags:
        """Which pages hold values of rows."""
        found: Flags = (self.types == PageType.DATA) | (self.types == PageType.DATA_V2)
        return found

    def chosen(self, which: Flags | Numbers | slice) -> HeaderTable:
        """Return some of the entries, which must be headers."""
        return HeaderTable(**{name: getattr(self, name)[which] for name in _ARRAYS}, errors={})

    @staticmethod
    def joined(tables: Sequence[HeaderTable]) -> HeaderTable:
        """Return all entries of several tables; at least one table."""
        starts = accumulate((len(table.types) for table in tables), initial=0)
        errors = {
            start + at: error
            for start, table in zip(starts, tables, strict=False)
            for at, error in table.errors.items()
        }
        arrays = {name: [getattr(table, name) for table in tables] for name in _ARRAYS}
        every: dict[str, Any] = {name: np.concatenate(found) for name, found in arrays.items()}
        return HeaderTable(**every, errors=errors)


_ARRAYS = tuple(field.name for field in fields(HeaderTable) if field.name != "errors")


def read_header_table(read: ReadHeads, offsets: Numbers) -> HeaderTable:
    """Read the page headers that begin at ``offsets``, in any order.

    Args:
        read: ``read(offsets, length)`` returns the bytes from each offset on, all of one length but
            where the data ends; it is called for many headers at once, and again for unusual ones.
        offsets: positions; one outside the data has no header.
    """
    numbers = np.zeros((len(offsets), _COLUMNS), np.int64)
    errors: dict[int, BadStructure] = {}
    for first in range(0, len(offsets), _HEADERS_AT_ONCE):
        some = offsets[first : first + _HEADERS_AT_ONCE].tolist()
        heads = read(some, _WINDOW_BYTES)
        found, good = _together(heads)
        for at in np.flatnonzero(~good).tolist():
            try:
                found[at] = _numbers_of(_read_one(read, some[at], heads[at]))
            except BadStructure as error:
                found[at] = (NO_HEADER, *[0] * (_COLUMNS - 1))
                errors[first + at] = error
        numbers[first : first + len(some)] = found
    return HeaderTable(**dict(zip(_ARRAYS, numbers.T, strict=True)), errors=errors)


def walk_headers(
    read: ReadHeads, start: int, end: int, num_values: int
) -> tuple[Numbers, HeaderTable]:
    """Read the headers of pages that follow each other, one by one.

    Args:
        read: see :func:`read_header_table`.
        start: where the first page begins.
        end: behind the last byte that a page may have.
        num_values: level entries of these pages together.

    Returns:
        Where pages begin, and their headers: up to the one with the last of the values, or that is
        none, or that passes the end.
    """
    offsets: list[int] = []
    numbers: list[tuple[int, ...]] = []
    errors: dict[int, BadStructure] = {}
    window, at, size = b"", start, _WALK_BYTES
    while num_values > 0 and start < end:
        if start - at + _WINDOW_BYTES > len(window):
            window, at = read([start], size)[0], start
        offsets.append(start)
        head = window[start - at : start - at + _WINDOW_BYTES]
        try:
            header = _read_one(read, start, head)
        except BadStructure as error:
            errors[len(numbers)] = error
            numbers.append((NO_HEADER, *[0] * (_COLUMNS - 1)))
            break
        numbers.append(_numbers_of(header))
        num_values -= header.num_values if header.is_data else 0
        start += header.total_bytes
        # Of large pages no more than the header is read.
        size = _WALK_BYTES if header.total_bytes < _WALK_BYTES else _WINDOW_BYTES
    arrays = np.array(numbers, np.int64).reshape(-1, _COLUMNS).T
    table = HeaderTable(**dict(zip(_ARRAYS, arrays, strict=True)), errors=errors)
    return np.array(offsets, np.int64), table


def _read_one(read: ReadHeads, offset: int, head: bytes) -> PageHeader | SkimmedHeader:
    skimmed = skim_header(head)
    if skimmed is not None:
        return skimmed
    length = _WINDOW_BYTES
    while True:
        try:
            return read_page_header(head)
        except BadPage:
            raise
        except BadStructure:  # cut short, maybe
            if len(head) < length or length >= MAX_HEADER_BYTES:
                raise
            length *= 8
            head = read([offset], length)[0]


def _numbers_of(header: PageHeader | SkimmedHeader) -> tuple[int, ...]:
    return (
        header.type,
        header.uncompressed_bytes,
        header.compressed_bytes,
        header.num_values,
        header.encoding,
        UNKNOWN if header.num_rows is None else header.num_rows,
        header.header_bytes,
    )


def _together(heads: Sequence[bytes]) -> tuple[Numbers, Flags]:
    """Read headers in the usual form; return their numbers, and which are in that form."""
    numbers = np.zeros((len(heads), _COLUMNS), np.int64)
    good = np.zeros(len(heads), bool)
    near = np.array([at for at, head in enumerate(heads) if len(head) == _WINDOW_BYTES], np.int64)
    if not len(near):
        return numbers, good
    whole = heads if len(near) == len(heads) else [heads[at] for at in near]
    scan = _Scan(np.frombuffer(b"".join(whole), np.uint8).reshape(-1, _WINDOW_BYTES))
    kind, plain, packed = (scan.field() for _ in range(3))
    numbers[near, 0], numbers[near, 1], numbers[near, 2] = kind, plain, packed
    has_crc = scan.head() == _I32
    scan.pass_field(has_crc)
    for page_type, step in _STEPS.items():
        own = np.flatnonzero(scan.good & (kind == page_type))
        if not len(own):
            continue
        rest = scan.only(own)
        rest.expect(((step - has_crc[own]) << 4) | _STRUCT)
        rows = near[own]
        details = _DETAILS[page_type](rest)
        for column, found in enumerate(details, 3):
            numbers[rows, column] = found
        if page_type is PageType.DATA_V2:
            rest.good &= rest.level_bytes <= np.minimum(plain[own], packed[own])
        rest.expect(0)
        rest.expect(0)
        numbers[rows, 6] = rest.pos
        good[rows] = rest.good
    return numbers, good


class _Scan:
    """A position in each of many windows; ``good`` while all was as it should be."""

    def __init__(self, windows: Bytes) -> None:
        self.windows = windows
        self.flat = windows.reshape(-1)
        self.begins = np.arange(len(windows)) * _WINDOW_BYTES
        self.pos = np.zeros(len(windows), np.int64)
        self.good = np.ones(len(windows), bool)
        self.level_bytes: Numbers = self.pos

    def only(self, which: Numbers) -> _Scan:
        """Return a scan of some of the windows that goes on where this one stands."""
        scan = _Scan(self.windows[which])
        scan.pos = self.pos[which]
        return scan

    def head(self) -> Bytes:
        """Return the byte at each position, and say which windows have one."""
        self.good &= self.pos < _WINDOW_BYTES
        return self.flat[self.begins + np.minimum(self.pos, _WINDOW_BYTES - 1)]

    def expect(self, byte: int | Numbers) -> None:
        """Pass over a byte that must stand here."""
        self.good &= self.head() == byte
        self.pos += 1

    def field(self) -> Numbers:
        """Read a field of 32 bits that must follow; what is negative is left to the other way."""
        self.expect(_I32)
        number, length, is_whole = self._varint()
        self.pos += length
        self.good &= is_whole & (number & 1 == 0)
        return number >> 1

    def encoding(self) -> Numbers:
        """Read the field of an encoding that must follow."""
        number = self.field()
        self.good &= number <= MAX_ENCODING
        return number

    def pass_field(self, where: Flags) -> None:
        """Pass over the head and the number of a field, where there is one."""
        self.pos += where
        _, length, is_whole = self._varint()
        self.pos += np.where(where, length, 0)
        self.good &= is_whole | ~where

    def _varint(self) -> tuple[Numbers, Numbers, Flags]:
        """Return the unsigned number at each position, its bytes, and whether it has 32 bits."""
        begins, last = self.begins + self.pos, len(self.flat) - 1
        byte = self.flat[np.minimum(begins, last)]
        number, length = (byte & 127).astype(np.int64), np.ones(len(byte), np.int64)
        more = np.flatnonzero(byte > 127)
        for place in range(1, 5):
            if not len(more):
                break
            byte = self.flat[np.minimum(begins[more] + place, last)]
            number[more] |= (byte & 127).astype(np.int64) << (7 * place)
            length[more] += 1
            more = more[byte > 127]
        is_whole = (number < 1 << 32) & (self.pos + length <= _WINDOW_BYTES)
        is_whole[more] = False
        return number, length, is_whole

    def pass_flag(self, step: int) -> Flags:
        """Pass over a boolean field ``step`` fields on, where there is one; return where."""
        byte = self.head()
        found: Flags = (byte == (step << 4 | thrift.TRUE)) | (byte == (step << 4 | thrift.FALSE))
        self.pos += found
        return found

    def pass_statistics(self, step: Numbers | int) -> None:
        """Pass over a structure of numbers, bytes and booleans, where there is one."""
        here = np.flatnonzero((self.head() == (step << 4 | _STRUCT)) & self.good)
        if not len(here):
            return
        inner = self.only(here)
        inner.pos += 1
        inner.pass_fields()
        self.pos[here] = inner.pos
        self.good[here] &= inner.good

    def pass_fields(self) -> None:
        """Pass over fields, up to the stop byte."""
        left = np.ones(len(self.pos), bool)
        for _ in range(_MAX_FIELDS):
            byte = self.head()
            kind = byte & 15
            self.pos += left
            left &= self.good & (byte != 0)
            if not left.any():
                return
            number, length, is_whole = self._varint()
            is_number = (kind == thrift.I32) | (kind == thrift.I64)
            is_binary = kind == thrift.BINARY
            is_flag = (kind == thrift.TRUE) | (kind == thrift.FALSE)
            is_known = is_flag | (is_whole & (is_number | is_binary))
            self.good &= ~left | ((byte > 15) & is_known)
            passed = np.where(is_flag, 0, length + np.where(is_binary, number, 0))
            self.pos += np.where(left, passed, 0)
        self.good &= ~left


_Details = Iterator[Numbers]


def _v1(scan: _Scan) -> _Details:
    yield scan.field()
    yield scan.encoding()
    scan.encoding()  # of definition levels
    scan.encoding()  # and of repetition levels
    scan.pass_statistics(1)
    yield np.full(len(scan.pos), UNKNOWN)


def _v2(scan: _Scan) -> _Details:
    num_values, num_nulls, num_rows = (scan.field() for _ in range(3))
    scan.good &= np.maximum(num_nulls, num_rows) <= num_values
    yield num_values
    yield scan.encoding()
    scan.level_bytes = scan.field() + scan.field()
    scan.pass_statistics(np.where(scan.pass_flag(1), 1, 2))
    yield num_rows


def _dictionary(scan: _Scan) -> _Details:
    yield scan.field()
    yield scan.encoding()
    scan.pass_flag(1)
    yield np.full(len(scan.pos), UNKNOWN)


_DETAILS = {PageType.DATA: _v1, PageType.DICTIONARY: _dictionary, PageType.DATA_V2: _v2}
