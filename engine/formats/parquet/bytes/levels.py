"""Levels and dictionary indices: the RLE/bit-packed hybrid, and cutting a page by rows.

Covers the hybrid (encoding RLE) and the older BIT_PACKED of ``Encodings.md``, level sections of V1
and V2 data pages, and the section of dictionary indices. Work is vectorised: Python loops run over
runs, never over values. Not covered: compression (:mod:`.bytes.codecs`) and values of other
encodings, which pyarrow decodes.

Imports numpy, so whoever only splices must not import this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes.footer import Encoding
from engine.formats.parquet.bytes.page_map import RowStarts
from engine.formats.parquet.bytes.pages import PageHeader, PageType
from engine.formats.parquet.bytes.thrift import put_varint
from engine.wording import counted

Levels = NDArray[np.int32]
Indices = NDArray[np.uint32]

# Groups of eight values in one bit-packed run: what a one-byte run header can say, and what all
# usual writers stop at.
_MAX_GROUPS = 63
_MAX_WIDTH = 32
_GROUPS_AT_ONCE = 1 << 12  # unpacked: what lies between stays in the processor's cache


def bit_width(max_level: int) -> int:
    """Return the bits that a level up to ``max_level`` takes."""
    return max_level.bit_length()


def decode_hybrid(data: bytes, width: int, num_values: int, pos: int = 0) -> Indices:
    """Decode ``num_values`` numbers of ``width`` bits from the hybrid that begins at ``pos``.

    Raises:
        BadPage: the bytes end early, or the width is over 32 bits.
    """
    if not 0 <= width <= _MAX_WIDTH:
        raise BadPage(f"a bit width of {width}")
    if num_values == 0 or width == 0:
        return np.zeros(num_values, np.uint32)
    try:
        runs = _scan(data, pos, width, num_values)
    except IndexError as error:
        raise BadPage(f"levels or indices end before {counted(num_values, 'value')}") from error
    return runs.values()


class _Runs(NamedTuple):
    """The runs of one hybrid, at least one.

    Attributes:
        data, width: of the hybrid.
        places: where each run begins behind its header.
        long: headers of more than one byte, by number of the run.
        num_last: values of the last run that count.
    """

    data: bytes
    width: int
    places: list[int]
    long: dict[int, int]
    num_last: int

    def values(self) -> Indices:
        """Return all values; for a run Python does no more than take its packed bytes."""
        places = np.array(self.places, np.int64)
        raw = np.frombuffer(self.data, np.uint8)
        heads = raw[places - 1].astype(np.int64)
        for number, head in self.long.items():
            heads[number] = head
        is_packed = heads & 1 == 1
        counts = heads >> 1
        counts[is_packed] <<= 3
        counts[-1] = self.num_last
        if is_packed.all():
            return self._unpacked(places, counts)
        of_runs = np.zeros(len(heads), np.uint32)
        of_runs[~is_packed] = self._repeated(raw, places[~is_packed])
        out = np.repeat(of_runs, counts)
        if is_packed.any():
            unpacked = self._unpacked(places[is_packed], counts[is_packed])
            out[np.repeat(is_packed, counts)] = unpacked
        return out

    def _unpacked(self, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Indices:
        """Return the values of bit-packed runs, one run behind the other."""
        data, num_bytes = self.data, (counts + 7) // 8 * self.width
        stops = starts + num_bytes
        pieces = [data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        # Some writers leave out the padding of the last group.
        packed = b"".join(pieces).ljust(int(num_bytes.sum()), b"\x00")
        return _unpack(packed, self.width)[: int(counts.sum())]

    def _repeated(self, raw: NDArray[np.uint8], places: NDArray[np.int64]) -> Indices:
        """Return the values at some places, which repeated runs have."""
        found = raw[places].astype(np.uint32)
        for byte in range(1, (self.width + 7) // 8):
            found |= raw[places + byte].astype(np.uint32) << np.uint32(8 * byte)
        return found


def _scan(data: bytes, pos: int, width: int, num_values: int) -> _Runs:
    """Find the runs of a hybrid; raise IndexError if it ends early.

    There are pages of a hundred thousand runs, so what can be worked out for all at once is not
    done here.
    """
    value_bytes = (width + 7) // 8
    places: list[int] = []
    long: dict[int, int] = {}
    add = places.append
    left = count = num_values
    head = 0
    while left > 0:
        head = data[pos]
        pos += 1
        if head > 127:
            head, pos = _varint(data, pos, head & 127)
            long[len(places)] = head
        add(pos)
        count = head >> 1
        if head & 1:
            pos += count * width
            count <<= 3
        else:
            pos += value_bytes
        left -= count
    num_last = count + left
    # Needed are only the bits in use; of any run before, the next one's header is behind it.
    last_bytes = (num_last * width + 7) // 8 if head & 1 else value_bytes
    if places[-1] + last_bytes > len(data):
        raise IndexError
    return _Runs(data, width, places, long, num_last)


def _varint(data: bytes, pos: int, number: int) -> tuple[int, int]:
    shift = 7
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, pos
        shift += 7
        if shift > 35:
            raise BadPage("a run of impossible length")


def _window(buffer: Any, groups: int, offset: int, stride: int) -> NDArray[np.uint64]:
    # One 64-bit word a group, at the same place in every group; words may overlap.
    return np.ndarray((groups,), np.dtype("<u8"), buffer, offset, (stride,))


def _unpack(data: bytes, width: int) -> Indices:
    groups = len(data) // width
    padded = data + bytes(8 + width)  # numpy wants room for windows also where there are none
    out = np.empty((groups, 8), np.uint32)
    mask = np.uint64((1 << width) - 1)
    if width <= 8:  # a window has all of a group
        shifts = np.arange(8, dtype=np.uint64) * np.uint64(width)
        for first in range(0, groups, _GROUPS_AT_ONCE):
            some = out[first : first + _GROUPS_AT_ONCE]
            shifted = _window(padded, len(some), first * width, width)[:, None] >> shifts
            np.bitwise_and(shifted, mask, out=some, casting="unsafe")
        return out.reshape(-1)
    for lane in range(8):
        offset, shift = divmod(lane * width, 8)
        out[:, lane] = (_window(padded, groups, offset, width) >> np.uint64(shift)) & mask
    return out.reshape(-1)


def _pack(values: NDArray[Any], width: int) -> bytes:
    """Return values as bit-packed groups, the last filled up with zeros."""
    groups = -(-len(values) // 8)
    words = np.zeros(8 * groups, np.dtype("<u8"))
    words[: len(values)] = values
    lanes, bits = 8, width
    # Neighbours go into one word as long as it has room for them, wherever in a byte they begin.
    while lanes > 1 and (width <= 8 or 2 * bits <= 64 - 7):
        words = words[0::2] | words[1::2] << np.uint64(bits)
        lanes, bits = lanes // 2, 2 * bits
    if lanes == 1:
        return words.view(np.uint8).reshape(groups, 8)[:, :width].tobytes()
    out = bytearray(groups * width + 8)
    for lane in range(lanes):
        offset, shift = divmod(lane * bits, 8)
        window = _window(out, groups, offset, width)
        window |= words[lane::lanes] << np.uint64(shift)
    return bytes(out[: groups * width])


def encode_hybrid(values: NDArray[Any], width: int) -> bytes:
    """Encode numbers of ``width`` bits: repeated runs where they save bytes, else bit-packed.

    The bytes end with the last run; a bit-packed last run is filled up to eight values, as the
    format demands.
    """
    out = bytearray()
    if len(values) == 0:
        return b""
    if width == 0:
        put_varint(out, len(values) << 1)
        return bytes(out)
    sections = _sections(values, width)
    packed = _packed_bytes(values, sections, width)
    taken = 0
    value_bytes = (width + 7) // 8
    for start, stop, is_repeated in sections:
        if is_repeated:
            put_varint(out, (stop - start) << 1)
            out += int(values[start]).to_bytes(value_bytes, "little")
            continue
        groups = -(-(stop - start) // 8)
        while groups > 0:
            now = min(groups, _MAX_GROUPS)
            out.append(now << 1 | 1)
            out += packed[taken : taken + now * width]
            taken += now * width
            groups -= now
    return bytes(out)


_Section = tuple[int, int, bool]


def _packed_bytes(values: NDArray[Any], sections: list[_Section], width: int) -> bytes:
    # Every bit-packed section but the last is a multiple of eight long: one packing serves all.
    pieces = [values[start:stop] for start, stop, is_repeated in sections if not is_repeated]
    if not pieces:
        return b""
    return _pack(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), width)


def _worthwhile_run(width: int) -> int:
    # A repeated run costs its header and value, and a second header for the bit-packed run that
    # it interrupts; it must save more than that. Multiples of eight values.
    cost_bytes = 3 + (width + 7) // 8
    return 8 * (cost_bytes // width + 1)


def _sections(values: NDArray[Any], width: int) -> list[_Section]:
    """Cut the values into repeated runs and bit-packed sections between them."""
    size = len(values)
    if values[0] == values[-1] and bool((values == values[0]).all()):
        return [(0, size, True)]  # as levels mostly are
    least = _worthwhile_run(width)
    if not _may_repeat(values, least):
        return [(0, size, False)]
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = np.concatenate(([0], edges))
    stops = np.concatenate((edges, [size]))
    long = (stops - starts) >= min(least, size)
    sections: list[_Section] = []
    done = 0
    for start, stop in zip(starts[long].tolist(), stops[long].tolist(), strict=True):
        # The section before takes from the run what fills its last group.
        begin = start + (done - start) % 8
        if stop - begin < least and not (begin == done and stop == size):
            continue
        if begin > done:
            sections.append((done, begin, False))
        sections.append((begin, stop, True))
        done = stop
    if done < size:
        sections.append((done, size, False))
    return sections


def _may_repeat(values: NDArray[Any], least: int) -> bool:
    """Whether some value may come ``least`` times in a row; in most pages none does."""
    if len(values) < least:
        return True
    starts = np.flatnonzero(values[least - 1 :] == values[: len(values) - least + 1])
    for step in (1, least // 2):
        starts = starts[values[starts + step] == values[starts]]
    return len(starts) > 0


def decode_bit_packed(
    data: bytes, width: int, num_values: int, pos: int = 0, *, low_first: bool = False
) -> Indices:
    """Decode the deprecated BIT_PACKED levels: values one after the other, high bits first.

    ``low_first``: low bits first, as Arrow and parquet-rs read them against the specification.

    Raises:
        BadPage: the bytes end early, or the width is over 32 bits.
    """
    if not 0 <= width <= _MAX_WIDTH:
        raise BadPage(f"a bit width of {width}")
    size = (num_values * width + 7) // 8
    if pos + size > len(data):
        raise BadPage(f"bit-packed levels end before {counted(num_values, 'value')}")
    if not width:
        return np.zeros(num_values, np.uint32)
    bits = np.unpackbits(
        np.frombuffer(data, np.uint8, size, pos),
        count=num_values * width,
        bitorder="little" if low_first else "big",
    )
    places = np.arange(width, dtype=np.int64)
    weights = (1 << (places if low_first else places[::-1])).astype(np.uint32)
    return bits.reshape(num_values, width).astype(np.uint32) @ weights


class PageLevels(NamedTuple):
    """The levels of one data page.

    Attributes:
        num_entries: level entries: values, nulls and empty lists.
        repetition, definition: the levels; None where the column has only level 0.
        max_definition: highest definition level: entries with it have a value.
        values_offset: where the values begin: in the uncompressed body of a V1 page, in the body
            as it lies in the file of a V2 page (whose levels are not compressed).
    """

    num_entries: int
    repetition: Levels | None
    definition: Levels | None
    max_definition: int
    values_offset: int

    @property
    def num_values(self) -> int:
        """Entries that have a value."""
        return _count_values(self, 0, self.num_entries)

    @property
    def num_rows(self) -> int:
        """Rows that begin in the page."""
        if self.repetition is None:
            return self.num_entries
        return self.num_entries - int(np.count_nonzero(self.repetition))

    def check_rows(self, num_rows: int) -> None:
        """See that so many rows begin in the page; raises BadStructure if not."""
        if self.num_rows != num_rows:
            raise BadStructure(
                f"{counted(self.num_rows, 'row')} in it, {num_rows:,} by the offset index"
            )


def read_levels(
    header: PageHeader, body: bytes, *, max_repetition: int, max_definition: int
) -> PageLevels:
    """Decode the levels of a data page.

    Args:
        header: the page's header.
        body: V1: the body after decompression; V2: as it lies in the file.
        max_repetition, max_definition: highest levels of the column.

    Raises:
        BadPage: the levels are damaged, or in an encoding that the format does not know.
    """
    entries = header.num_values
    pos = 0
    found: list[Levels | None] = []
    sections = (
        (max_repetition, header.rep_level_encoding, header.rep_level_bytes),
        (max_definition, header.def_level_encoding, header.def_level_bytes),
    )
    for highest, encoding, size in sections:
        if header.type is PageType.DATA_V2:
            levels = _v2_levels(body, pos, size, highest, entries)
            pos += size
        else:
            levels, pos = _v1_levels(body, pos, encoding, highest, entries)
        found.append(levels)
    return PageLevels(entries, found[0], found[1], max_definition, pos)


def _v2_levels(body: bytes, pos: int, size: int, highest: int, entries: int) -> Levels | None:
    if not highest:
        return None
    section = body[pos : pos + size]
    return _checked(decode_hybrid(section, bit_width(highest), entries), highest)


def _v1_levels(
    body: bytes, pos: int, encoding: int, highest: int, entries: int
) -> tuple[Levels | None, int]:
    if not highest:
        return None, pos
    width = bit_width(highest)
    if encoding == Encoding.BIT_PACKED:
        if _looks_like_rle(body, pos, width, highest, entries):
            raise BadPage(
                "levels that are said to be bit-packed are RLE: readers differ about them"
            )
        levels = decode_bit_packed(body, width, entries, pos)
        if not np.array_equal(levels, decode_bit_packed(body, width, entries, pos, low_first=True)):
            raise BadPage(
                "levels are bit-packed, and mean one thing to readers that take high bits first, "
                "another to those that take low bits first"
            )
        return _checked(levels, highest), pos + (entries * width + 7) // 8
    if encoding != Encoding.RLE:
        raise BadPage(f"levels in encoding {encoding}")
    start = pos + 4
    end = start + int.from_bytes(body[pos:start], "little")
    if end > len(body):
        raise BadPage(f"levels of {end - start} bytes in a page of {len(body)}")
    return _checked(decode_hybrid(body[start:end], width, entries), highest), end


def _looks_like_rle(body: bytes, pos: int, width: int, highest: int, entries: int) -> bool:
    """Whether so many levels can be read here as RLE, which is unlikely of others.

    There are readers that take all levels for RLE, whatever the header says.
    """
    start = pos + 4
    end = start + int.from_bytes(body[pos:start], "little")
    try:
        return start < end <= len(body) and bool(
            (decode_hybrid(body[start:end], width, entries) <= highest).all()
        )
    except BadPage:
        return False


def _checked(levels: Indices, highest: int) -> Levels:
    if len(levels) and int(levels.max()) > highest:
        raise BadPage(f"a level of {int(levels.max())} where {highest} is the highest")
    return levels.astype(np.int32)


class LevelSections(NamedTuple):
    """Encoded levels without length prefixes; None where the column has only level 0."""

    repetition: bytes | None
    definition: bytes | None

    @property
    def rep_level_bytes(self) -> int:
        """Size of the repetition levels, for a V2 header."""
        return len(self.repetition or b"")

    @property
    def def_level_bytes(self) -> int:
        """Size of the definition levels, for a V2 header."""
        return len(self.definition or b"")

    def v1(self) -> bytes:
        """Return what a V1 body begins with: each section behind its length."""
        present = [section for section in self if section is not None]
        return b"".join(len(section).to_bytes(4, "little") + section for section in present)

    def v2(self) -> bytes:
        """Return what a V2 body begins with; its header holds the lengths."""
        return (self.repetition or b"") + (self.definition or b"")


def write_levels(
    levels: PageLevels, start: int, stop: int, *, max_repetition: int
) -> LevelSections:
    """Encode the levels of entries ``[start, stop)``."""
    repetition = definition = None
    if levels.repetition is not None:
        repetition = encode_hybrid(levels.repetition[start:stop], bit_width(max_repetition))
    if levels.definition is not None:
        definition = encode_hybrid(levels.definition[start:stop], bit_width(levels.max_definition))
    return LevelSections(repetition, definition)


def row_starts(levels: PageLevels) -> RowStarts:
    """Return how many rows begin in a page, and whether it begins inside one."""
    if levels.repetition is None:
        return RowStarts(levels.num_entries, False)
    begins_inside = levels.num_entries > 0 and bool(levels.repetition[0])
    return RowStarts(levels.num_entries - int(np.count_nonzero(levels.repetition)), begins_inside)


def count_row_starts(header: PageHeader, body: bytes, *, max_repetition: int) -> RowStarts:
    """Return :func:`row_starts` of a page without decoding its definition levels.

    Args:
        header: the page's header.
        body: V1: the body after decompression; V2: as it lies in the file.
        max_repetition: highest repetition level of the column.

    Raises:
        BadPage: the levels are damaged.
    """
    return row_starts(read_levels(header, body, max_repetition=max_repetition, max_definition=0))


class PageSlice(NamedTuple):
    """Part of a page: level entries ``[first_entry, last_entry)`` and their values alike."""

    first_entry: int
    last_entry: int
    first_value: int
    last_value: int

    @property
    def num_entries(self) -> int:
        """Level entries."""
        return self.last_entry - self.first_entry

    @property
    def num_values(self) -> int:
        """Entries that have a value."""
        return self.last_value - self.first_value

    @property
    def num_nulls(self) -> int:
        """Entries that have none: nulls and empty lists, as statistics count them."""
        return self.num_entries - self.num_values


def slice_rows(levels: PageLevels, start_row: int, stop_row: int) -> PageSlice:
    """Return which entries and values belong to rows ``[start_row, stop_row)`` of a page.

    Rows are counted from the first that *begins* in the page. Entries before it continue a row of
    the page before: a ``start_row`` of -1 takes them, 0 leaves them out; a ``stop_row`` of 0 ends
    behind them.

    Raises:
        BadPage: the page has fewer rows.
    """
    first, last = _entry_range(levels, start_row, stop_row)
    first_value = _count_values(levels, 0, first)
    return PageSlice(first, last, first_value, first_value + _count_values(levels, first, last))


def _entry_range(levels: PageLevels, start_row: int, stop_row: int) -> tuple[int, int]:
    if levels.repetition is None:
        num_rows = levels.num_entries
        bounds = max(start_row, 0), stop_row
    else:
        starts = np.flatnonzero(levels.repetition == 0)
        num_rows = len(starts)
        edges = np.append(starts, levels.num_entries)
        if stop_row > num_rows:
            raise BadPage(f"row {stop_row} of a page of {counted(num_rows, 'row')}")
        bounds = (0 if start_row < 0 else int(edges[start_row])), int(edges[stop_row])
    if not 0 <= max(start_row, 0) <= stop_row <= num_rows:
        raise BadPage(f"rows {start_row} to {stop_row} of a page of {counted(num_rows, 'row')}")
    return bounds


def _count_values(levels: PageLevels, start: int, stop: int) -> int:
    if levels.definition is None:
        return stop - start
    return int(np.count_nonzero(levels.definition[start:stop] == levels.max_definition))


def decode_dictionary_indices(section: bytes, num_values: int) -> tuple[int, Indices]:
    """Decode the values of a dictionary-encoded page: bit width and one index a value.

    Args:
        section: the page's values after decompression: a byte of bit width, then the hybrid.
        num_values: entries that have a value.

    Raises:
        BadPage: the indices end early, or the width is over 32 bits.
    """
    if not num_values:
        return (section[0] if section else 0), np.zeros(0, np.uint32)
    if not section:
        raise BadPage(f"no dictionary indices where {num_values} are due")
    return section[0], decode_hybrid(section, section[0], num_values, 1)


def encode_dictionary_indices(width: int, indices: NDArray[Any]) -> bytes:
    """Encode the values of a dictionary-encoded page, reverse of the decoding function."""
    return bytes((width,)) + encode_hybrid(indices, width)
