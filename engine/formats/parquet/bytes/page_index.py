"""The page index of one column chunk: ``OffsetIndex`` and ``ColumnIndex`` of ``parquet.thrift``.

Both keep the structure they were read from, so that fields unknown today travel on, and encode to
the very bytes they were read from while nothing is changed. Rules: ``PageIndex.md`` of
apache/parquet-format. What the bounds mean, and whether they are exact, is
:mod:`.bytes.statistics`' business.

Plans that only move whole row groups shift these structures, so neither numpy nor pyarrow is
imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Leaf, value, with_fields
from engine.formats.parquet.bytes.thrift import (
    BINARY,
    FALSE,
    I64,
    LIST,
    STRUCT,
    TRUE,
    Struct,
)
from engine.wording import counted

UNORDERED, ASCENDING, DESCENDING = range(3)

# Bytes of the three field headers and the stop byte of a PageLocation in canonical form.
_OFFSET, _SIZE, _ROW, _STOP = 0x16, 0x15, 0x16, 0x00
_MOST_OFFSET_BYTES, _MOST_OTHER_BYTES = 8, 12  # longer ones are odd, and left to the generic reader


class PageLocation(NamedTuple):
    """Where one data page lies: file offset, bytes with header, first row in the row group."""

    offset: int
    compressed_bytes: int
    first_row: int


@dataclass(frozen=True, slots=True)
class OffsetIndex:
    """Where the data pages of a chunk lie, in order.

    Attributes:
        locations: one entry a data page.
        unencoded_bytes: plain bytes of each page's byte arrays, where the writer counted them.
        rest: all other fields, as read.
    """

    locations: tuple[PageLocation, ...]
    unencoded_bytes: tuple[int, ...] | None = None
    rest: tuple[tuple[int, tuple[int, Any]], ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> OffsetIndex:
        """Read the structure.

        Raises:
            BadStructure: it is damaged, or its lists have different lengths.
        """
        locations, struct = _canonical_offset_index(data) or _any_offset_index(data)
        unencoded = _ints(struct, spec.OffsetIndex.UNENCODED_BYTE_ARRAY_DATA_BYTES)
        if unencoded is not None and len(unencoded) != len(locations):
            raise BadStructure("the offset index's lists have different lengths")
        known = spec.OffsetIndex.fields
        rest = tuple((field, entry) for field, entry in struct.items() if field not in known)
        return cls(tuple(locations), unencoded, rest)

    def encode(self) -> bytes:
        """Return the structure's bytes."""
        out = bytearray(b"\x19")  # field 1, a list
        thrift.put_list_header(out, STRUCT, len(self.locations))
        for offset, compressed_bytes, first_row in self.locations:
            out.append(_OFFSET)
            thrift.put_zigzag(out, offset)
            out.append(_SIZE)
            thrift.put_zigzag(out, compressed_bytes)
            out.append(_ROW)
            thrift.put_zigzag(out, first_row)
            out.append(_STOP)
        struct: Struct = {}
        if self.unencoded_bytes is not None:
            sizes = spec.OffsetIndex.UNENCODED_BYTE_ARRAY_DATA_BYTES
            struct[sizes] = spec.entry(sizes, self.unencoded_bytes)
        struct.update(self.rest)
        out += _rebased(struct)
        return bytes(out)

    def shifted(self, offset: int) -> OffsetIndex:
        """Return the index of the same pages ``offset`` bytes further on."""
        moved = tuple(PageLocation(at + offset, size, row) for at, size, row in self.locations)
        return OffsetIndex(moved, self.unencoded_bytes, self.rest)


_VARINT = rb"[\x80-\xff]*[\x00-\x7f]"
_PLACE = re.compile(rb"\x16(" + _VARINT + rb")(\x15" + _VARINT + rb"\x16" + _VARINT + rb"\x00)")


def shifted_offset_index(data: bytes, shift: int) -> tuple[int, bytes]:
    """Return the number of pages of an ``OffsetIndex``, and its bytes once they moved.

    The same as decoding, :meth:`OffsetIndex.shifted` and encoding, for a fraction of the time where
    an index has the form that every known writer gives it: only offsets are looked at.

    Raises:
        BadStructure: as :meth:`OffsetIndex.decode`.
    """
    try:
        found = _quickly_shifted(data, shift)
    except IndexError:  # whoever decodes it tells what is wrong
        found = None
    if found is None:
        index = OffsetIndex.decode(data)
        return len(index.locations), index.shifted(shift).encode()
    return found


def _quickly_shifted(data: bytes, shift: int) -> tuple[int, bytes] | None:
    if data[:1] != b"\x19":
        return None
    kind, count, pos = thrift.read_list_header(data, 1)
    places = _PLACE.findall(data, pos)[:count]
    end = pos + sum(1 + len(offset) + len(other) for offset, other in places)
    if kind != STRUCT or len(places) != count or not _ends_usually(data, end, count):
        return None
    out = bytearray(data[:pos])
    for offset, other in places:
        if len(offset) > _MOST_OFFSET_BYTES or len(other) > _MOST_OTHER_BYTES:
            return None
        if data[pos] != _OFFSET:  # something stands between two places
            return None
        pos += 1 + len(offset) + len(other)
        number = place = 0
        for byte in offset:
            number |= (byte & 127) << place
            place += 7
        out.append(_OFFSET)
        thrift.put_zigzag(out, ((number >> 1) ^ -(number & 1)) + shift)
        out += other
    return count, bytes(out + data[end:])


def _ends_usually(data: bytes, pos: int, count: int) -> bool:
    """Whether the structure ends at ``pos``, or behind plain sizes of byte arrays."""
    if data[pos] == 0x19:
        kind, sizes, pos = thrift.read_list_header(data, pos + 1)
        if kind != I64 or sizes != count:
            return False
        pos = _behind_numbers(data, pos, sizes)
    return pos == len(data) - 1 and data[pos] == _STOP


def _behind_numbers(data: bytes, pos: int, count: int) -> int:
    for _ in range(count):
        while data[pos] > 127:
            pos += 1
        pos += 1
    return pos


def _rebased(struct: Struct) -> bytes:
    # Field ids are coded as steps from the field before; here field 1 stands in front already.
    if not struct:
        return b"\x00"
    probe: Struct = {1: (TRUE, True), **struct}
    return thrift.encode(probe)[1:]


def _canonical_offset_index(data: bytes) -> tuple[list[PageLocation], Struct] | None:
    # Three times faster than the generic reader, for what every known writer emits: a file of one
    # row group has tens of thousands of pages. Anything else: None, and the generic reader judges.
    try:
        if data[0] != 0x19:
            return None
        kind, count, pos = thrift.read_list_header(data, 1)
        if kind != STRUCT:
            return None
        locations = []
        for _ in range(count):
            numbers = []
            for head in (_OFFSET, _SIZE, _ROW):
                if data[pos] != head:
                    return None
                byte = data[pos + 1]
                pos += 2
                number = byte & 127
                shift = 7
                while byte > 127:
                    byte = data[pos]
                    pos += 1
                    number |= (byte & 127) << shift
                    shift += 7
                if number >> 64:
                    return None
                numbers.append((number >> 1) ^ -(number & 1))
            if data[pos] != _STOP:
                return None
            pos += 1
            locations.append(PageLocation(*numbers))
        if data[pos] == _STOP:
            return locations, {}
        # A boolean field 1 in front makes the rest a structure of its own.
        rest = thrift.decode(b"\x11" + data[pos:])[0]
        places = spec.OffsetIndex.PAGE_LOCATIONS
        return locations, spec.check(spec.OffsetIndex, {**rest, places: spec.entry(places, [])})
    except IndexError:
        return None


def _any_offset_index(data: bytes) -> tuple[list[PageLocation], Struct]:
    struct = spec.read(spec.OffsetIndex, data)
    place = spec.PageLocation
    entries = struct[spec.OffsetIndex.PAGE_LOCATIONS][1].items
    fields = (place.OFFSET, place.COMPRESSED_PAGE_SIZE, place.FIRST_ROW_INDEX)
    locations = [PageLocation(*(entry[field][1] for field in fields)) for entry in entries]
    if any(not -1 << 63 <= number < 1 << 63 for place in locations for number in place):
        raise BadStructure("the offset index has a number of more than 64 bits")
    return locations, struct


class PageEntry(NamedTuple):
    """What a column index says of one page.

    Attributes:
        is_null: whether the page holds nulls only; then both bounds are empty bytes.
        min, max: lower and upper bound, plain-encoded; not necessarily values of the page.
        null_count: nulls.
        repetition_histogram, definition_histogram: entries at each level.
        nan_count: NaN values of a floating point column.
    """

    is_null: bool
    min: bytes
    max: bytes
    null_count: int | None = None
    repetition_histogram: tuple[int, ...] | None = None
    definition_histogram: tuple[int, ...] | None = None
    nan_count: int | None = None


def check_column_index(data: bytes, leaf: Leaf, num_pages: int, null_count: int | None) -> None:
    """Check that bytes are the ``ColumnIndex`` of a chunk, as :meth:`ColumnIndex.check_fits`.

    In the form that every known writer gives it, this takes a fraction of decoding.

    Raises:
        BadStructure: they are not.
    """
    try:
        if _surely_fits(data, leaf, num_pages, null_count):
            return
    except IndexError:
        pass  # whoever decodes it tells what is wrong
    ColumnIndex.decode(data).check_fits(leaf, num_pages, null_count)


def _surely_fits(data: bytes, leaf: Leaf, num_pages: int, null_count: int | None) -> bool:
    pos = 0
    for kinds in ((TRUE, FALSE), (BINARY,), (BINARY,)):  # null pages, bounds
        if data[pos] != 0x19:
            return False
        kind, count, pos = thrift.read_list_header(data, pos + 1)
        if kind not in kinds or count != num_pages:
            return False
        for _ in range(count if kind == BINARY else 0):
            if data[pos] > 127:
                return False
            pos += 1 + data[pos]
        pos += count if kind != BINARY else 0
    if data[pos] != 0x15 or data[pos + 1] > 127:
        return False
    pos, field = pos + 2, int(spec.ColumnIndex.BOUNDARY_ORDER)
    while data[pos]:
        field += data[pos] >> 4
        if field not in _LISTS_OF_NUMBERS or data[pos] & 15 != LIST:
            return False
        kind, count, pos = thrift.read_list_header(data, pos + 1)
        levels = _LISTS_OF_NUMBERS[field]
        if kind != I64 or count != num_pages * (getattr(leaf, levels) + 1 if levels else 1):
            return False
        begin, pos = pos, _behind_numbers(data, pos, count)
        if not levels and not _counts_nulls(data, begin, count, null_count):
            return False
    return pos == len(data) - 1


_LISTS_OF_NUMBERS = {  # how many there are of each a page: one, or one a level
    int(spec.ColumnIndex.NULL_COUNTS): "",
    int(spec.ColumnIndex.REPETITION_LEVEL_HISTOGRAMS): "max_repetition",
    int(spec.ColumnIndex.DEFINITION_LEVEL_HISTOGRAMS): "max_definition",
}


def _counts_nulls(data: bytes, pos: int, count: int, null_count: int | None) -> bool:
    total = 0
    for _ in range(count):
        number, pos = thrift.read_zigzag(data, pos)
        if number < 0 or number >> 63:
            return False
        total += number
    return null_count is None or total == null_count


@dataclass(frozen=True, slots=True)
class ColumnIndex:
    """Bounds and counts of the data pages of a chunk; entry ``i`` belongs to location ``i``.

    Attributes:
        struct: the fields themselves, all of them.
        null_pages: whether a page holds nulls only.
        min_values, max_values: bounds, empty bytes for null pages.
        boundary_order: :data:`UNORDERED`, :data:`ASCENDING` or :data:`DESCENDING`.
        null_counts, nan_counts: one number a page, where given.
        repetition_histograms, definition_histograms: levels + 1 numbers a page, where given.
    """

    struct: Struct
    null_pages: tuple[bool, ...]
    min_values: tuple[bytes, ...]
    max_values: tuple[bytes, ...]
    boundary_order: int
    null_counts: tuple[int, ...] | None
    repetition_histograms: tuple[int, ...] | None
    definition_histograms: tuple[int, ...] | None
    nan_counts: tuple[int, ...] | None

    @classmethod
    def decode(cls, data: bytes) -> ColumnIndex:
        """Read the structure.

        Raises:
            BadStructure: it is damaged, or its lists do not fit together.
        """
        return cls.of(thrift.decode(data)[0])

    @classmethod
    def of(cls, struct: Struct) -> ColumnIndex:
        """Return the view of a decoded structure. Raises BadStructure as :meth:`decode`."""
        names = spec.ColumnIndex
        spec.check(names, struct)
        index = cls(
            struct,
            tuple(byte == TRUE for byte in struct[names.NULL_PAGES][1].items),
            tuple(struct[names.MIN_VALUES][1].items),
            tuple(struct[names.MAX_VALUES][1].items),
            struct[names.BOUNDARY_ORDER][1],
            _ints(struct, names.NULL_COUNTS),
            _ints(struct, names.REPETITION_LEVEL_HISTOGRAMS),
            _ints(struct, names.DEFINITION_LEVEL_HISTOGRAMS),
            _ints(struct, names.NAN_COUNTS),
        )
        index._check()
        return index

    def _check(self) -> None:
        pages = len(self.null_pages)
        single = (self.min_values, self.max_values, self.null_counts, self.nan_counts)
        if any(column is not None and len(column) != pages for column in single):
            raise BadStructure("the column index's lists have different lengths")
        for histograms in (self.repetition_histograms, self.definition_histograms):
            if histograms and (pages == 0 or len(histograms) % pages):
                raise BadStructure("the column index's histograms do not fit its pages")

    def check_fits(self, leaf: Leaf, num_pages: int, null_count: int | None) -> None:
        """Check that this is the index of a chunk, as far as can be told without its pages.

        Args:
            leaf: the column.
            num_pages: data pages of the chunk.
            null_count: nulls of the chunk, None if that is not known.

        Raises:
            BadStructure: it has other pages, other levels or other nulls.
        """
        if self.num_pages != num_pages:
            raise BadStructure(
                f"a column index of {counted(self.num_pages, 'page')}, where {num_pages:,} are"
            )
        for histograms, highest in (
            (self.repetition_histograms, leaf.max_repetition),
            (self.definition_histograms, leaf.max_definition),
        ):
            if histograms and len(histograms) != num_pages * (highest + 1):
                raise BadStructure("the column index's histograms are of other levels")
        counts = self.null_counts
        if counts is not None and (min(counts, default=0) < 0 or max(counts, default=0) >> 63):
            raise BadStructure("the column index has a count below 0, or of more than 64 bits")
        if None not in (counts, null_count) and sum(counts or ()) != null_count:
            raise BadStructure(f"{sum(counts or ())} nulls by the column index, not {null_count}")

    def encode(self) -> bytes:
        """Return the structure's bytes."""
        return thrift.encode(self.struct)

    @property
    def num_pages(self) -> int:
        """Pages described."""
        return len(self.null_pages)

    @property
    def longest_min_bytes(self) -> int:
        """Bytes of the longest lower bound, 0 if there are none."""
        return max(map(len, self.min_values), default=0)

    @property
    def longest_ascii_min_bytes(self) -> int:
        """Bytes of the longest lower bound that begins with a character of one byte, or 0."""
        return max((len(low) for low in self.min_values if low[:1] < b"\x80"), default=0)

    def entries(self, start: int, stop: int) -> list[PageEntry]:
        """Return what is said of pages ``[start, stop)``."""
        return [self._entry(page) for page in range(start, stop)]

    def _entry(self, page: int) -> PageEntry:
        return PageEntry(
            self.null_pages[page],
            self.min_values[page],
            self.max_values[page],
            self.null_counts[page] if self.null_counts is not None else None,
            self._histogram(self.repetition_histograms, page),
            self._histogram(self.definition_histograms, page),
            self.nan_counts[page] if self.nan_counts is not None else None,
        )

    def _histogram(self, numbers: tuple[int, ...] | None, page: int) -> tuple[int, ...] | None:
        if not numbers:
            return None
        levels = len(numbers) // self.num_pages
        return numbers[page * levels : (page + 1) * levels]

    def cut(
        self, before: Sequence[PageEntry], start: int, stop: int, after: Sequence[PageEntry]
    ) -> ColumnIndex:
        """Return the index of ``before``, pages ``[start, stop)`` of this one, and ``after``.

        As :meth:`replaced`, for many pages that stay as they are; the order of bounds is kept.
        """
        edges = self.replaced([*before, *after], self.boundary_order)
        struct = dict(edges.struct)
        for field, own in self.struct.items():
            if own[0] != LIST or field not in struct:
                continue
            each = len(own[1].items) // (self.num_pages or 1)
            pages = own[1].items[start * each : stop * each]
            kept = struct[field][1]
            at = len(before) * each
            items = [*kept.items[:at], *pages, *kept.items[at:]]
            struct[field] = (LIST, thrift.Sequence(own[1].type, items))
        return ColumnIndex.of(struct)

    def replaced(self, entries: Sequence[PageEntry], boundary_order: int) -> ColumnIndex:
        """Return an index of other pages that has the lists which this one has.

        A list that not every entry can fill is left out, as the format allows; so are fields
        unknown to this module, which may be per page as well.
        """
        names = spec.ColumnIndex
        kind = self.struct[names.NULL_PAGES][1].type
        flags = [TRUE if entry.is_null else FALSE for entry in entries]
        struct = spec.struct_of(
            {
                names.NULL_PAGES: flags,
                names.MIN_VALUES: [entry.min for entry in entries],
                names.MAX_VALUES: [entry.max for entry in entries],
                names.BOUNDARY_ORDER: boundary_order,
            }
        )
        struct[names.NULL_PAGES] = (LIST, thrift.Sequence(kind, flags))  # both kinds are in use
        lists = {
            names.NULL_COUNTS: _flat([_one(entry.null_count) for entry in entries]),
            names.REPETITION_LEVEL_HISTOGRAMS: _flat([e.repetition_histogram for e in entries]),
            names.DEFINITION_LEVEL_HISTOGRAMS: _flat([e.definition_histogram for e in entries]),
            names.NAN_COUNTS: _flat([_one(entry.nan_count) for entry in entries]),
        }
        present = {
            field: numbers
            for field, numbers in lists.items()
            if field in self.struct and numbers is not None
        }
        return ColumnIndex.of(with_fields(struct, spec.struct_of(present)))


def _one(number: int | None) -> tuple[int, ...] | None:
    return None if number is None else (number,)


def _flat(groups: Iterable[tuple[int, ...] | None]) -> list[int] | None:
    numbers: list[int] = []
    for group in groups:
        if group is None:
            return None
        numbers += group
    return numbers


def _ints(struct: Struct, field: int) -> tuple[int, ...] | None:
    entries = value(struct, field)
    return None if entries is None else tuple(entries.items)
