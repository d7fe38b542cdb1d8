"""What pieces of a row group use of a dictionary that is trimmed, by their number of rows.

A trimmed dictionary costs a piece the entries that its rows use, and the pages their indices, which
need fewer bits. Both are the mean over all places where such a piece may begin, and exact: a piece
does not use an entry if it lies between two rows that do. So the gaps between the uses of each
entry tell all (the "working set" of paging: P. J. Denning, 1968).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import Encoding, Type
from engine.formats.parquet.bytes.one_page import encode_values
from engine.formats.parquet.opened import OpenChunk
from engine.formats.parquet.sizes import Used
from engine.formats.parquet.trimmed import sampled_entries
from engine.formats.parquet.writers.new_page import recompressed_page
from engine.formats.parquet.writers.source_chunk import SourceChunk, checked

_MORE_ENTRIES = 1.02  # than in the mean a piece may well use
_KNOTS = 64  # numbers of rows for which it is counted
_PLACES = 256  # rows whose place is told
_CELLS_A_PIECE, _MIN_CELLS, _MAX_CELLS = 8, 16, 256  # between rows where pieces begin and end
_HALVINGS = 6  # of the first and the last of these
_STRETCHES_OF_DICTIONARY = 64  # that are compressed each by itself
_MIN_STRETCH_BYTES = 4 << 10
_REMADE_PAGES = 3


def used_entries(chunk: OpenChunk, codec: int | None = None, piece_rows: int = 1) -> Used:
    """Return what pieces use of a dictionary.

    Args:
        chunk: whose dictionary.
        codec: of the parts; None for the chunk's own.
        piece_rows: rows of the pieces that are expected.

    Raises:
        BadPage: a page is damaged; the message names column, row group and page.
    """
    source = SourceChunk(chunk)
    weights = _entry_bytes(source, chunk.entry.codec if codec is None else codec)
    step = sampled_entries(chunk.entry.num_values, len(weights))
    uses = _uses(source, len(weights), step)
    weights = weights[::step]
    # Rows are stretched so that all bring as many bytes of entries into a piece: then pieces
    # anywhere are alike.
    sums = np.append(0.0, np.cumsum(weights[uses.indices] * _newness(uses, piece_rows)))
    sums *= uses.stop_row / (sums[-1] or 1.0)
    lengths = np.unique(np.geomspace(1, uses.stop_row, _KNOTS).astype(np.int64))
    middles = (sums[1:] + sums[:-1]) / 2
    counts, sizes = _used_by(middles, uses, weights, lengths)
    dictionary_share, pages_share = (1.0, 1.0) if codec is not None else _remade_shares(chunk)
    entry_share = dictionary_share / (weights.sum() or 1.0)
    shares = [0.0, *(entry_share * sizes).tolist()]
    shares[-1] = 1.0
    bits = _bits(step * counts)
    bits[-1] = most_bits = max(page.bits for page in uses.pages)
    other_bytes = sum(page.other_bytes for page in uses.pages)
    pages_bytes = other_bytes + sum(page.bytes_a_bit for page in uses.pages) * np.arange(
        most_bits + 1
    )
    index_shares = pages_bytes / pages_bytes[most_bits]
    rows = np.unique(np.linspace(0, uses.stop_row, _PLACES, dtype=np.int64))
    page_of = np.searchsorted([page.first_row for page in uses.pages], rows, side="right") - 1
    ends = _ends(uses.stop_row, piece_rows)
    num_used, bytes_used = _used_between(uses, weights, ends)
    widenings = [
        pages_share * page.bytes_at(most_bits) / page.bytes_at(page.bits) for page in uses.pages
    ]
    return Used(
        rows=rows.tolist(),
        places=sums[np.searchsorted(uses.rows, rows)].tolist(),
        lengths=[0, *lengths.tolist()],
        entry_shares=shares,
        index_shares=[0.0, *index_shares[np.minimum(bits, most_bits)].tolist()],
        widenings=[widenings[at] for at in page_of.tolist()],
        ends=ends.tolist(),
        entry_table=entry_share * bytes_used,
        index_table=index_shares[np.minimum(_bits(step * num_used), most_bits)],
    )


def _remade_shares(chunk: OpenChunk) -> tuple[float, float]:
    """Return the bytes of a dictionary, and of pages, that we compress, for one of the source's.

    Writers have other levels.
    """
    codec, number = chunk.entry.codec, chunk.dictionary_pages
    some = range(0, number, -(-number // _REMADE_PAGES))
    found = []
    for pages in ((None,), some):
        old = [chunk.read(page) for page in pages]
        new = sum(recompressed_page(page, codec, codec, None).num_bytes for page in old)
        found.append(new / sum(map(len, old)))
    return found[0], found[1]


def _bits(counts: Any) -> Any:
    """Return the bits of an index into so many entries, a few more than in the mean."""
    return np.ceil(np.log2(np.maximum(_MORE_ENTRIES * counts, 2))).astype(np.int64)


class _Page(NamedTuple):
    """A page of indices: bits of each, bytes of all, and of levels and header besides."""

    first_row: int
    bits: int
    indices_bytes: int
    other_bytes: int

    @property
    def bytes_a_bit(self) -> float:
        """Bytes of all indices for each of their bits."""
        return self.indices_bytes / self.bits

    def bytes_at(self, bits: float) -> float:
        """Return the bytes of the page, uncompressed, with so many bits an index."""
        return self.other_bytes + self.bytes_a_bit * bits


class _Uses(NamedTuple):
    """Rows and indices of all values, those of a row together, and the pages that they are of."""

    rows: Any
    indices: Any
    stop_row: int
    pages: list[_Page]


def _used_by(places: Any, uses: _Uses, weights: Any, lengths: Any) -> tuple[Any, Any]:
    """Return how many entries pieces of each length use in the mean, and their weights.

    Args:
        places: of the uses.
        uses: rows and indices of values.
        weights: of the entries.
        lengths: of pieces, ascending.
    """
    gaps, entries = _gaps(places, uses, len(weights))
    order = np.argsort(gaps)
    gaps, weighted = gaps[order], weights[entries[order]]
    firsts = np.searchsorted(gaps, lengths)  # of the gaps in which a piece has room
    begins = np.maximum(uses.stop_row - lengths, 1)
    found = []
    for each, total in ((np.ones(len(gaps)), len(weights)), (weighted, weights.sum())):
        sums = np.cumsum((each * gaps)[::-1])[::-1], np.cumsum(each[::-1])[::-1]
        with_room, number = (np.append(those, 0.0)[firsts] for those in sums)
        found.append(total - (with_room - lengths * number) / begins)
    return found[0], found[1]


def _ends(num_rows: int, piece_rows: int) -> Any:
    """Return rows between which is counted what pieces use; close where these may be short."""
    num_cells = int(np.clip(_CELLS_A_PIECE * num_rows // piece_rows, _MIN_CELLS, _MAX_CELLS))
    found = np.linspace(0, num_rows, num_cells + 1, dtype=np.int64)
    short = found[1] // 2 ** np.arange(1, _HALVINGS)
    return np.unique([*found, *short, *(num_rows - short)])


def _used_between(uses: _Uses, weights: Any, ends: Any) -> tuple[Any, Any]:
    """Return entries, and their weights, that are used from each of some rows to each behind it.

    A use counts in a piece that begins behind the use of its entry before.
    """
    order = np.argsort(uses.indices, kind="stable")
    entries = uses.indices[order]
    num_cells = len(ends) - 1
    cells = np.minimum(np.searchsorted(ends, uses.rows[order], side="right") - 1, num_cells - 1)
    before = np.append(-1, cells[:-1])[: len(cells)]
    before[np.append(True, entries[1:] != entries[:-1])[: len(cells)]] = -1
    counts = before < cells
    places = ((before + 1) * num_cells + cells)[counts]
    found = []
    for each in (np.ones(len(places)), weights[entries[counts]]):
        new = np.bincount(places, each, num_cells**2).reshape(num_cells, num_cells)
        sums = np.zeros((num_cells + 1, num_cells + 1))
        sums[:-1, 1:] = np.triu(new.cumsum(axis=0)).cumsum(axis=1)
        found.append(sums)
    return found[0], found[1]


def _newness(uses: _Uses, piece_rows: int) -> Any:
    """Return of each use how likely it is the first of its entry in a piece that has its row.

    That is so if the piece begins behind the use before, which lies some rows back. Of the first of
    all uses that is not seen: as if the rows went on before them as they do behind.
    """
    order = np.argsort(uses.indices, kind="stable")
    rows, entries = uses.rows[order].astype(np.int64), uses.indices[order]
    is_same = entries[1:] == entries[:-1]
    between = np.diff(rows)[is_same]
    gaps = np.full(len(rows), piece_rows)
    gaps[:-1][is_same] = rows[:-1][is_same] + between
    gaps[1:][is_same] = between
    newness = np.empty(len(rows))
    newness[order] = np.clip(gaps, 1, piece_rows) / piece_rows
    return newness


def _gaps(places: Any, uses: _Uses, num_entries: int) -> tuple[Any, Any]:
    """Return what is between two uses of an entry, before its first and behind its last."""
    order = np.argsort(uses.indices, kind="stable")
    places, entries = places[order], uses.indices[order]
    is_first = np.append(True, entries[1:] != entries[:-1])[: len(entries)]
    is_last = np.append(is_first[1:], True)[: len(entries)]
    before = np.append(0.0, places[:-1])[: len(entries)]
    before[is_first] = 0.0
    is_used = np.zeros(num_entries, np.bool_)
    is_used[entries] = True
    unused = np.flatnonzero(~is_used)
    behind = uses.stop_row - places[is_last]
    gaps = np.concatenate([places - before, behind, np.full(len(unused), float(uses.stop_row))])
    return gaps, np.concatenate([entries, entries[is_last], unused])


def _entry_bytes(source: SourceChunk, codec: int) -> Any:
    """Return the bytes of each entry of the dictionary, compressed with those beside it."""
    values = source.dictionary()[1]
    if source.leaf.physical is Type.BYTE_ARRAY:
        plain_bytes = pc.binary_length(values).to_numpy(zero_copy_only=False) + 4
    else:
        plain_bytes = np.ones(len(values), np.int64) * max(1, values.nbytes // max(1, len(values)))
    ends = np.cumsum(plain_bytes)
    total = int(ends[-1]) if len(ends) else 0
    step = max(_MIN_STRETCH_BYTES, total // _STRETCHES_OF_DICTIONARY)
    bounds = np.unique([0, *np.searchsorted(ends, range(step, total, step)), len(values)])
    found = plain_bytes.astype(np.float64)
    for start, stop in pairwise(bounds.tolist()):
        plain = encode_values(source.leaf, Encoding.PLAIN, values[start:stop])
        packed = compress(codec, plain)
        found[start:stop] *= len(packed) / max(1, len(plain))
    return found


def _uses(source: SourceChunk, num_entries: int, step: int) -> _Uses:
    """Read the indices of all pages, of every so many entries.

    Inside a page rows are taken to have as many values each.
    """
    places: list[Any] = []
    found: list[lv.Indices] = []
    pages: list[_Page] = []
    stop = 0
    for number in range(source.chunk.dictionary_pages):
        page = source.open_whole_page(number)
        first, stop = source.pages.rows(number)
        with source.chunk.at_page(number):
            bits, indices = lv.decode_dictionary_indices(page.section, page.levels.num_values)
            checked(indices, num_entries)
        num_bytes = page.header.header_bytes + page.header.uncompressed_bytes
        other_bytes = num_bytes - len(page.section)
        pages.append(_Page(first, max(1, bits), len(page.section), other_bytes))
        kept = np.flatnonzero(indices % step == 0)
        rows = first + kept * (stop - first) // max(1, len(indices))
        places.append(rows.astype(np.int32))
        found.append(indices[kept] // step)
    return _Uses(np.concatenate(places), np.concatenate(found), max(1, stop), pages)
