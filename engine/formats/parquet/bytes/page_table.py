"""Many offset indexes at once, as arrays of numbers: where data pages lie, how large they are.

Offset indexes in the form that every known writer emits are read together by numpy; any other one
by :class:`.bytes.page_index.OffsetIndex`. An index that is damaged, or does not fit its
chunk, is as good as none: its chunk has no pages here.

Not covered: chunks without an offset index, whose pages only a walk over their headers would find
(:mod:`.bytes.page_map`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import BadStructure
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.chunk_table import Numbers, decode_varints
from engine.formats.parquet.bytes.page_index import OffsetIndex
from engine.formats.parquet.bytes.thrift import STRUCT

_TOKENS = 7  # of one PageLocation: three fields of header and number, and the stop byte
_HEADS = ((0, 0x16), (2, 0x15), (4, 0x16), (6, 0x00))


@dataclass(frozen=True)
class PageTable:
    """Data pages of some chunks, one chunk after another.

    Attributes:
        counts: pages of each chunk; 0 where there is no usable index.
        offsets, sizes, first_rows: of each page.
    """

    counts: Numbers
    offsets: Numbers
    sizes: Numbers
    first_rows: Numbers

    @property
    def begins(self) -> Numbers:
        """Return where the pages of each chunk begin, and behind the last the number of all."""
        return np.concatenate(([0], np.cumsum(self.counts)))


def read_page_table(
    indexes: Sequence[bytes], starts: Numbers, lengths: Numbers, num_rows: Numbers
) -> PageTable:
    """Read offset indexes.

    Args:
        indexes: bytes of each chunk's offset index; empty where it has none.
        starts, lengths: where each chunk lies.
        num_rows: rows of its row group.
    """
    found = _together(indexes)
    counts, pages = found if found is not None else _one_by_one(indexes)
    good = _fitting(counts, pages, starts, lengths, num_rows)
    kept = pages[np.repeat(good, counts)]
    return PageTable(np.where(good, counts, 0), kept[:, 0], kept[:, 1], kept[:, 2])


def _together(indexes: Sequence[bytes]) -> tuple[Numbers, Numbers] | None:
    """Read canonical indexes; None if any is not."""
    counts = np.zeros(len(indexes), np.int64)
    begins = np.zeros(len(indexes), np.int64)
    bodies = []
    length = 0
    for at, data in enumerate(indexes):
        begins[at] = length
        if not data:
            continue
        if data[0] != 0x19 or data[-1]:
            return None
        try:
            kind, count, pos = thrift.read_list_header(data, 1)
        except (BadStructure, IndexError):
            return None
        if kind != STRUCT or _TOKENS * count >= len(data):
            return None
        counts[at] = count
        bodies.append(data[pos:])
        length += len(data) - pos
    joined = np.frombuffer(b"".join(bodies), np.uint8)
    # A number ends at the first byte below 128, and so do the single bytes between numbers; one
    # more end stands before them all.
    ends = np.concatenate(([-1], np.flatnonzero(joined < 128)))
    first = np.searchsorted(ends, begins)
    own = np.repeat(np.cumsum(counts) - counts, counts)
    tokens = np.repeat(first, counts) + _TOKENS * (np.arange(len(own)) - own)
    if len(tokens) and tokens[-1] + _TOKENS > len(ends):
        return None
    for step, byte in _HEADS:
        where = ends[tokens + step]
        if (joined[where] != byte).any() or (ends[tokens + step - 1] + 1 != where).any():
            return None
    numbers = []
    for step in (1, 3, 5):
        start = ends[tokens + step - 1] + 1
        numbers.append(decode_varints(joined, start, ends[tokens + step] + 1 - start))
    return counts, np.stack(numbers, axis=1)


def _one_by_one(indexes: Sequence[bytes]) -> tuple[Numbers, Numbers]:
    counts = np.zeros(len(indexes), np.int64)
    pages: list[tuple[int, int, int]] = []
    for at, data in enumerate(indexes):
        try:
            locations = OffsetIndex.decode(data).locations if data else ()
        except BadStructure:
            continue
        counts[at] = len(locations)
        pages += locations
    return counts, np.array(pages, np.int64).reshape(-1, 3)


def _fitting(
    counts: Numbers, pages: Numbers, starts: Numbers, lengths: Numbers, num_rows: Numbers
) -> npt.NDArray[np.bool_]:
    """Return which chunks' pages tile the chunk, rows ascending from 0: as ``map_from_index``."""
    offsets, sizes, rows = pages.T
    chunk = np.repeat(np.arange(len(counts)), counts)
    ends = offsets + sizes
    is_first = np.ones(len(chunk), bool)
    is_first[1:] = chunk[1:] != chunk[:-1]
    is_last = np.ones(len(chunk), bool)
    is_last[:-1] = chunk[1:] != chunk[:-1]
    follows = np.where(is_first, offsets >= starts[chunk], offsets == np.roll(ends, 1))
    ascends = np.where(is_first, rows == 0, rows > np.roll(rows, 1))
    bad = (sizes <= 0) | ~follows | ~ascends | (rows >= num_rows[chunk])
    bad |= is_last & (ends != (starts + lengths)[chunk])
    good = counts > 0
    good[chunk[bad]] = False
    return good
