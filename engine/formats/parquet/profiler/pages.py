"""Pages of a file summed up, from its offset indexes: counts, sizes, and bytes by row.

Indexes are read for some row groups at a time: of each page, only its size is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.formats.parquet.bytes.chunk_table import ChunkTable, Numbers
from engine.formats.parquet.bytes.page_table import PageTable, read_page_table
from engine.formats.parquet.opened import OpenFile
from engine.formats.parquet.profiler.model import PageSizes, Stretch
from engine.model import Range

MAX_STRETCHES = 240
_BATCH_BYTES = 1 << 20
_BATCH_CHUNKS = 20_000


@dataclass(frozen=True)
class Pages:
    """What the offset indexes of a file say, added up.

    Attributes:
        counts, largest_bytes: of each chunk (row groups × columns); 0 where it has no index.
        leading_bytes: before each chunk's first data page: its dictionary; 0 where it has no index.
        sizes: of all pages.
        stretches: bytes by row.
    """

    counts: Numbers
    largest_bytes: Numbers
    leading_bytes: Numbers
    sizes: Numbers
    stretches: tuple[Stretch, ...]


def read_pages(file: OpenFile, table: ChunkTable) -> Pages:
    """Read all offset indexes of a file."""
    shape = table.compressed_bytes.shape
    counts, largest, leading = (np.zeros(shape, np.int64) for _ in range(3))
    starts = table.starts
    sizes = []
    along = _Along(table)
    for start, stop in _batches(table):
        pages = _read(file, table, starts, slice(start, stop))
        here = pages.counts.reshape(-1, shape[1])
        counts[start:stop] = here
        has = pages.counts > 0
        firsts = pages.begins[:-1][has]
        if len(firsts):
            np.place(largest[start:stop], here > 0, np.maximum.reduceat(pages.sizes, firsts))
            np.place(
                leading[start:stop],
                here > 0,
                pages.offsets[firsts] - starts[start:stop].ravel()[has],
            )
        sizes.append(pages.sizes)
        along.add(start, stop, pages)
    every = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
    return Pages(counts, largest, leading, every, along.stretches())


def page_sizes(sizes: Numbers) -> tuple[PageSizes, ...]:
    """Return a histogram of sizes, by powers of two, without gaps."""
    if not len(sizes):
        return ()
    powers = np.frexp(sizes.astype(float))[1] - 1
    counts, sums = np.bincount(powers), np.bincount(powers, weights=sizes)
    return tuple(
        PageSizes(1 << power, int(counts[power]), int(sums[power]))
        for power in range(int(powers.min()), len(counts))
    )


def _batches(table: ChunkTable) -> Iterator[tuple[int, int]]:
    """Yield row groups, so many at a time as have not too large indexes together."""
    most_groups = max(1, _BATCH_CHUNKS // max(1, table.compressed_bytes.shape[1]))
    start = num_bytes = 0
    for group, length in enumerate(table.offset_index_bytes.sum(axis=1).tolist()):
        if group > start and (num_bytes + length > _BATCH_BYTES or group - start >= most_groups):
            yield start, group
            start, num_bytes = group, 0
        num_bytes += length
    if len(table.num_rows):
        yield start, len(table.num_rows)


def _read(file: OpenFile, table: ChunkTable, starts: Numbers, groups: slice) -> PageTable:
    offsets = table.offset_index_offsets[groups].ravel().tolist()
    lengths = table.offset_index_bytes[groups].ravel().tolist()
    end = file.footer_offset
    places = [
        # One that cannot be there is as good as none.
        Range(offset, length) if offset > 0 < length and offset + length <= end else Range(0, 0)
        for offset, length in zip(offsets, lengths, strict=True)
    ]
    return read_page_table(
        file.source.read_many(places),
        starts[groups].ravel(),
        table.compressed_bytes[groups].ravel(),
        np.repeat(table.num_rows[groups], table.compressed_bytes.shape[1]),
    )


class _Along:
    """Bytes before each of some rows at equal distances, over all columns."""

    def __init__(self, table: ChunkTable) -> None:
        self._table = table
        self._first_rows = np.concatenate(([0], np.cumsum(table.num_rows)))
        num_rows = int(self._first_rows[-1])
        self._edges = np.unique(np.linspace(0, num_rows, MAX_STRETCHES + 1).astype(np.int64))
        group_bytes = table.compressed_bytes.sum(axis=1)
        sums = np.concatenate(([0], np.cumsum(group_bytes))).astype(float)
        # The last row group that begins at or before the row: bytes of all before it.
        self._groups = np.searchsorted(self._first_rows, self._edges, side="right") - 1
        self._before = sums[self._groups]

    def add(self, start: int, stop: int, pages: PageTable) -> None:
        """Add what lies between the beginning of a row group and an edge inside it."""
        table = self._table
        inside = self._edges > self._first_rows[self._groups]
        which = np.flatnonzero(inside & (self._groups >= start) & (self._groups < stop))
        if not len(which):
            return
        columns = table.compressed_bytes.shape[1]
        groups = self._groups[which]
        rows = np.repeat(self._edges[which] - self._first_rows[groups], columns)
        chunks = ((groups - start)[:, None] * columns + np.arange(columns)).ravel()
        num_rows = np.repeat(table.num_rows[groups], columns)
        total = table.compressed_bytes[groups].ravel().astype(float)
        found = total * rows / num_rows  # bytes without a page index: in proportion to rows
        has = pages.counts[chunks] > 0
        found[has] = _before_row(pages, chunks[has], rows[has], num_rows[has], total[has])
        self._before[which] += found.reshape(-1, columns).sum(axis=1)

    def stretches(self) -> tuple[Stretch, ...]:
        sums = np.rint(self._before).astype(np.int64)
        return tuple(
            Stretch(row, num_rows, num_bytes)
            for row, num_rows, num_bytes in zip(
                self._edges[:-1].tolist(),
                np.diff(self._edges).tolist(),
                np.diff(sums).tolist(),
                strict=True,
            )
        )


def _before_row(
    pages: PageTable, chunks: Numbers, rows: Numbers, num_rows: Numbers, total: Numbers
) -> Numbers:
    """Return the bytes of chunks before rows inside them; dictionaries are spread over all rows."""
    span = int(num_rows.max(initial=0)) + 1
    keys = np.repeat(np.arange(len(pages.counts)), pages.counts) * span + pages.first_rows
    page = np.searchsorted(keys, chunks * span + rows, side="right") - 1
    begins = pages.begins
    first, end = begins[chunks], begins[chunks + 1]
    following = np.minimum(page + 1, max(0, len(keys) - 1))
    stop = np.where(page + 1 < end, pages.first_rows[following], num_rows)
    start = pages.first_rows[page]
    share = (rows - start) / np.maximum(stop - start, 1)
    sums = np.concatenate(([0], np.cumsum(pages.sizes)))
    own = sums[page] - sums[first] + share * pages.sizes[page]
    dictionary = total - (sums[end] - sums[first])
    return own + dictionary * rows / num_rows  # type: ignore[no-any-return]
