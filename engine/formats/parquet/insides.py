"""How the bytes of one page lie over its rows: measured, by making pages of stretches of them.

Between the ends of a page nothing is written down, and rows may be heavy at one end. Where a page
is large against a part, a plan that takes them to be alike is wrong by as much. So the page is
read, and stretches of its rows are made into pages as a cut would make them; those that come out
large are divided again, and inside a stretch the lengths of values tell. That counts whatever makes
rows heavy or light: long values, nulls, lists, values that compress well or badly.

Texts that come again all over a page compress well in it, and each piece of it has them anew; and
writers have other levels of compression than we. So pieces of some lengths are made as well, and
what they take besides their share of the page is expected of all pieces. Between these lengths it
is taken to change evenly, which codecs that have other settings for short texts do not quite keep.

One page is in memory at a time, whole: formats allow nothing less. What that takes is
:func:`seen_bytes`; whoever asks sees first that there is room.

Not covered, and taken to be even: pages that continue each other (all before them would be read).
Values that get a new dictionary are taken to lie as without one: a stretch tells little of what all
pages share.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from engine import memory
from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import Encoding, Type
from engine.formats.parquet.bytes.one_page import cut_values, encode_values
from engine.formats.parquet.bytes.pages import PageHeader, page_statistics
from engine.formats.parquet.opened import OpenChunk, delta_bytes, is_array
from engine.formats.parquet.writers.new_page import PageForm, build_page
from engine.formats.parquet.writers.source_chunk import OpenPage, SourceChunk
from engine.model import Buffer, Recoding
from engine.planning.curves import EVEN_SHARE, Inside
from engine.planning.entries import Entries

_LARGE_STEPS = 200  # a page of more is larger than a part
_FIRST_OF_LARGE, _FIRST_STRETCHES = 4, 13  # what repeats evenly in a page hardly does 13 times
_EVEN_SHARE = 0.03
_MIN_STEP_BYTES = 1 << 10  # less is mostly what any page takes
_MAX_AT_ONCE = 16  # stretches that one is divided into
_MAX_STRETCHES = 512
_MIN_OWN_SHARE = 0.2
_REFINED_STEPS = 64
_LENGTH_BYTES = 4  # in front of every value
_REPEATED_SHARE = 0.005  # of a page, by which its stretches together take more than it, or less
_SMALL_PAGE_BYTES = 1 << 20
_FEW_ROWS = 16
_SOME_PIECES, _LENGTHS = 4, 6  # of each length, that tell what pieces of it repeat
_BOUNDS = (
    spec.Statistics.MIN,
    spec.Statistics.MAX,
    spec.Statistics.MIN_VALUE,
    spec.Statistics.MAX_VALUE,
)
# Stretches of a page that is even, made one by one and together, differ by about this.
_UNCERTAIN_SHARE = 0.005


def look_inside(
    chunk: OpenChunk,
    number: int,
    *,
    recoding: Recoding,
    num_bytes: float,
    step_bytes: float,
) -> Inside | None:
    """Return how the bytes of a page lie over its rows; None if that is not to be had.

    Args:
        chunk, number: which page.
        recoding: how pages are encoded in the parts.
        num_bytes: what the whole page takes in a part; stretches add up to it.
        step_bytes: a stretch with fewer is not divided.

    Raises:
        BadPage: the page is damaged; the message names column, row group and page.
        Unsupported: its encoding cannot be read or written.
    """
    source = SourceChunk(chunk)
    first, stop = source.pages.rows(number)
    if source.is_chained or stop - first < 2 or num_bytes <= 0:
        return None
    page = source.open_whole_page(number)
    with chunk.at_page(number):
        stretches = _Stretches(page, stop - first, recoding)
        coarse_bytes = stretches.divide(
            max(step_bytes, num_bytes / _MAX_STRETCHES, _MIN_STEP_BYTES),
            is_large=num_bytes > _LARGE_STEPS * step_bytes,
        )
    rows, sizes = stretches.found()
    # A stretch takes about as much as any other besides its share of the page.
    besides = (sum(sizes) - num_bytes) / len(sizes)
    own = np.array([max(size - max(0.0, besides), _MIN_OWN_SHARE * size) for size in sizes])
    total = own.sum()
    if not total:
        return None
    sums = np.cumsum([0.0, *own]) * (num_bytes / total)
    rows, sums = stretches.refined(rows, sums)
    found = Inside([first + row for row in rows], sums.tolist(), _UNCERTAIN_SHARE)
    found = found._replace(bounds_bytes=stretches.bounds_bytes(rows))
    repeated_share = coarse_bytes / num_bytes - 1
    if abs(repeated_share) <= _REPEATED_SHARE or stop - first < _FEW_ROWS:
        return found._replace(uncertain_share=_UNCERTAIN_SHARE + max(0.0, repeated_share))
    # Halves of a large page would take memory beside it.
    least = 2 if page.header.uncompressed_bytes <= _SMALL_PAGE_BYTES else _FIRST_OF_LARGE
    num_pieces = min(
        max(least, round(num_bytes / (_LARGE_STEPS * step_bytes))), (stop - first) // 2
    )
    return _with_repeats(found, stretches, num_pieces, len(sizes), besides)


def _with_repeats(
    inside: Inside, stretches: _Stretches, num_pieces: int, num_stretches: int, besides: float
) -> Inside:
    """Return the same with what pieces of a page repeat: values that compress as they come again.

    Args:
        inside: bytes of the page before its rows.
        stretches: of the page.
        num_pieces: into so many it is likely cut at least.
        num_stretches: that it was divided into.
        besides: what a stretch takes besides its share of the page.
    """
    first, stop = inside.rows[0], inside.rows[-1]
    num_rows = stop - first
    known = {0.0: 0.0, num_rows / num_stretches: besides}
    most = 0.0
    for number in (num_pieces << step for step in range(_LENGTHS)):
        if number > max(2 * num_pieces, num_stretches / 2):
            break  # stretches tell as much
        bounds = [num_rows * at // number for at in range(number + 1)]
        found = [
            (
                stretches.num_bytes(start, end),
                inside.before(first + end) - inside.before(first + start),
            )
            for start, end in list(pairwise(bounds))[:: -(-number // _SOME_PIECES)]
            if start < end
        ]
        more = sum(size - share for size, share in found) / len(found)
        known[num_rows / number] = more
        if number <= 2 * num_pieces:
            mean = sum(size for size, _ in found) / len(found)
            most = max(most, *((size - share - more) / max(size, mean) for size, share in found))
    # A page that is copied repeats nothing; one that loses a row goes on as its longest pieces do.
    (short, less), (long, more) = sorted(known.items())[-2:]
    known[num_rows - 1] = more + (more - less) * (num_rows - 1 - long) / (long - short)
    known[num_rows] = 0.0
    lengths, sizes = zip(*sorted(known.items()), strict=True)
    repeats = Entries((0, first, stop), (0, 0, num_rows), lengths, sizes)
    return inside._replace(uncertain_share=_UNCERTAIN_SHARE + most, repeats=repeats)


def seen_bytes(chunk: OpenChunk, number: int, recoding: Recoding) -> int:
    """Return the memory that looking into a page takes, by its header and the dictionary's.

    Values in a dictionary stay there, unless ``recoding`` gives it up.
    """
    pages = chunk.pages
    with chunk.at_page(number):
        header = chunk.header(number)
        value_bytes = 0.0
        gives_up = header.is_dictionary_encoded and recoding.dictionary is False
        if gives_up and pages.dictionary is not None:
            dictionary = chunk.header(None)
            value_bytes = dictionary.uncompressed_bytes / max(1, dictionary.num_values)
    return memory.look_bytes(
        page_bytes=header.uncompressed_bytes + header.header_bytes,
        num_values=header.num_values,
        value_bytes=value_bytes,
        delta_bytes=delta_bytes(chunk, header),
        is_array=is_array(chunk.leaf, header),
    )


class _Stretches:
    """Stretches of the rows of a page, and the bytes of a page made of each."""

    def __init__(self, page: OpenPage, num_rows: int, recoding: Recoding) -> None:
        self._leaf = page.source.leaf
        self._header: PageHeader = page.header
        self._levels = page.levels
        self._recoding = recoding
        chunk_codec = page.source.entry.codec
        self._codec = chunk_codec if recoding.codec is None else recoding.codec
        self._statistics = page.source.statistics
        self._num_rows = num_rows
        self._entries = _entries(page.levels, num_rows)
        self._values_before = _values_before(page.levels)
        self._section = page.section
        self._width: int | None = None  # of indices
        if page.header.is_dictionary_encoded and recoding.dictionary is not False:
            self._width, self._values = lv.decode_dictionary_indices(
                page.section, page.levels.num_values
            )
        else:
            self._values = page.values()
        self._largest: list[tuple[float, int, int]] = []  # a heap: bytes, negative; first row; end
        self._small: list[tuple[float, int, int]] = []

    def divide(self, step_bytes: float, *, is_large: bool) -> float:
        """Divide what is larger than a step; return the bytes of the first few stretches.

        A page that is not larger than a part, and that looks even, is left at these.
        """
        self._add(0, self._num_rows, _FIRST_OF_LARGE if is_large else _FIRST_STRETCHES)
        first = [*self._largest, *self._small]
        coarse_bytes = -sum(size for size, _, _ in first)
        densities = [-size / (stop - start) for size, start, stop in first]
        if not is_large and max(densities) <= (1 + _EVEN_SHARE) * min(densities):
            return coarse_bytes
        while self._largest and len(self._largest) + len(self._small) < _MAX_STRETCHES:
            size, start, stop = heapq.heappop(self._largest)
            if -size <= step_bytes:
                self._small.append((size, start, stop))
                break
            self._add(start, stop, int(min(_MAX_AT_ONCE, 2 + -size // step_bytes)))
        return coarse_bytes

    def bounds_bytes(self, rows: Sequence[int]) -> list[int]:
        """Return what bounds may take in a footer that are the longest value between two rows.

        Of values in a dictionary nothing is said: they are not read.
        """
        number = sum(field in (self._statistics or ()) for field in _BOUNDS)
        number += 2 * (page_statistics(self._header) is not None)
        if not number or self._width is not None or self._leaf.physical is not Type.BYTE_ARRAY:
            return []
        lengths = np.diff(self._ends())
        places = (self._places(start, stop)[2:] for start, stop in pairwise(rows))
        return [number * int(lengths[first:last].max(initial=0)) for first, last in places]

    def refined(self, rows: list[int], sums: Any) -> tuple[list[int], Any]:
        """Return more rows, and the bytes before each: in a stretch by the lengths of values."""
        if self._width is not None or self._leaf.physical is not Type.BYTE_ARRAY:
            return rows, sums
        plain = self._plain_before()
        num_rows, total = self._num_rows, int(plain[-1])
        some = np.linspace(0, num_rows, _REFINED_STEPS + 1).astype(np.int64)
        if np.abs(plain[some] - some * (total / num_rows)).max() <= EVEN_SHARE * total:
            return rows, sums
        steps = np.searchsorted(plain, np.linspace(0, total, _REFINED_STEPS + 1))
        every = np.union1d(rows, steps)
        at = np.minimum(np.searchsorted(rows, every, "right"), len(rows) - 1) - 1
        low, high = plain[rows][at], plain[rows][at + 1]
        share = (plain[every] - low) / np.maximum(high - low, 1)
        return every.tolist(), sums[at] + share * (sums[at + 1] - sums[at])

    def _plain_before(self) -> Any:
        """Return the bytes before each row, plain-encoded, and one a row for levels."""
        before = self._ends().astype(np.int64)
        before += np.arange(0, _LENGTH_BYTES * len(before), _LENGTH_BYTES)
        if self._values_before is not None:
            before = before[self._values_before[np.asarray(self._entries)]]
        elif not isinstance(self._entries, range):
            before = before[self._entries]
        before += np.arange(self._num_rows + 1)
        return before

    def _ends(self) -> Any:
        """Return the bytes of values before each of them, and of all; none is null."""
        values: Any = self._values
        if not len(values):
            return np.zeros(1, np.int32)
        # Arrow imports pandas for other ways to NumPy, which takes longer than small splits.
        ends = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, 4 * values.offset)
        return ends - ends[0]

    def _places(self, start: int, stop: int) -> lv.PageSlice:
        """Return which entries and values rows have."""
        first, last = int(self._entries[start]), int(self._entries[stop])
        if self._values_before is None:
            return lv.PageSlice(first, last, first, last)
        values = self._values_before[[first, last]].tolist()
        return lv.PageSlice(first, last, *values)

    def found(self) -> tuple[list[int], list[float]]:
        """Return the rows between stretches, both ends among them, and the bytes of each."""
        ordered = sorted((start, size) for size, start, _ in (*self._largest, *self._small))
        return [*(start for start, _ in ordered), self._num_rows], [-size for _, size in ordered]

    def _add(self, start: int, stop: int, number: int) -> None:
        """Divide rows into so many stretches, or into single rows."""
        number = min(number, stop - start)
        bounds = [start + i * (stop - start) // number for i in range(number + 1)]
        for low, high in pairwise(bounds):
            stretch = (-float(self.num_bytes(low, high)), low, high)
            if high - low > 1:
                heapq.heappush(self._largest, stretch)
            else:
                self._small.append(stretch)

    def num_bytes(self, start: int, stop: int) -> int:
        """Return the bytes of a page of some rows, its header not counted."""
        piece = self._places(start, stop)
        encoding, section = self._encoded(piece.first_value, piece.last_value)
        new = build_page(
            self._header,
            self._levels,
            piece,
            section,
            leaf=self._leaf,
            encoding=encoding,
            form=PageForm(self._codec, self._recoding.level, self._recoding.page_version),
        )
        return len(new.body)

    def _encoded(self, first: int, last: int) -> tuple[int, Buffer]:
        """Return values as a page holds them: their encoding, and the section."""
        values: Any = self._values[first:last]
        if self._width is not None:
            return self._header.encoding, lv.encode_dictionary_indices(self._width, values)
        if not len(values):
            return int(Encoding.PLAIN), b""
        if self._header.is_dictionary_encoded:
            return int(Encoding.PLAIN), encode_values(self._leaf, Encoding.PLAIN, values)
        encoding = self._header.encoding
        return encoding, cut_values(self._leaf, encoding, self._section, values)


def _entries(levels: lv.PageLevels, num_rows: int) -> Any:
    """Return the first level entry of each row, and the end; the first has what continues one."""
    if levels.repetition is None:
        return range(num_rows + 1)
    starts = np.flatnonzero(levels.repetition == 0)
    starts[:1] = 0
    return np.append(starts, levels.num_entries)


def _values_before(levels: lv.PageLevels) -> Any:
    """Return how many values are before each level entry; None if every entry has one."""
    if levels.definition is None:
        return None
    counts = np.cumsum(levels.definition == levels.max_definition, dtype=np.int64)
    return np.concatenate((np.zeros(1, np.int64), counts))
