"""How the entries of a dictionary that is trimmed lie over the rows of its row group.

A trimmed dictionary costs a piece the entries that its rows use, and the pages their indices, which
need fewer bits. Both are counted from the indices themselves, for pieces of the expected size one
behind another. Pieces that begin elsewhere use about as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow.compute as pc

from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import Encoding, Type
from engine.formats.parquet.bytes.one_page import encode_values
from engine.formats.parquet.opened import OpenChunk
from engine.formats.parquet.sizes import Used
from engine.formats.parquet.writers.source_chunk import SourceChunk, checked
from engine.planning.curves import Knots

_STRETCHES = 8  # of a piece, between which its first uses of entries are told apart
_STRETCHES_OF_DICTIONARY = 64  # that are compressed each by itself
_MIN_STRETCH_BYTES = 4 << 10


def used_entries(chunk: OpenChunk, piece_rows: int) -> Used:
    """Return what pieces of so many rows, one behind another, use of a dictionary.

    Raises:
        BadPage: a page is damaged; the message names column, row group and page.
    """
    source = SourceChunk(chunk)
    lengths = _entry_bytes(source)
    total = float(lengths.sum()) or 1.0
    rows, shares = [0], [0.0]
    widest = old_width = num_pieces = 0
    for start, places, indices, width in _pieces(source, piece_rows, len(lengths)):
        num_pieces += 1
        old_width = max(old_width, width)
        entries, firsts = np.unique(indices, return_index=True)
        widest = max(widest, 1, int(len(entries) - 1).bit_length())
        stop = min(start + piece_rows, chunk.group.entry.num_rows)
        knots = np.unique(np.linspace(start, stop, _STRETCHES + 1, dtype=np.int64))[1:]
        found, _ = np.histogram(
            places[firsts], bins=[start, *knots.tolist()], weights=lengths[entries]
        )
        rows += knots.tolist()
        shares += (shares[-1] + np.cumsum(found) / total).tolist()
    index_share = widest / old_width if old_width else 1.0
    return Used(Knots(rows, shares), index_share, max(1, num_pieces))


def _entry_bytes(source: SourceChunk) -> Any:
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
        packed = compress(source.entry.codec, plain)
        found[start:stop] *= len(packed) / max(1, len(plain))
    return found


def _pieces(
    source: SourceChunk, piece_rows: int, num_entries: int
) -> Iterator[tuple[int, Any, Any, int]]:
    """Yield pieces: first row, the row and the index of each value, bits of an index."""
    start, width = 0, 0
    held: list[tuple[Any, Any]] = []
    for places, indices, page_width in _pages(source, num_entries):
        width = max(width, page_width)
        while len(places):
            end = int(np.searchsorted(places, start + piece_rows))
            held.append((places[:end], indices[:end]))
            places, indices = places[end:], indices[end:]
            if len(places):
                yield start, *_joined(held), width
                start, held = start + piece_rows, []
    if held:
        yield start, *_joined(held), width


def _joined(held: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    return np.concatenate([rows for rows, _ in held]), np.concatenate([each for _, each in held])


def _pages(source: SourceChunk, num_entries: int) -> Iterator[tuple[Any, Any, int]]:
    """Yield of each page that uses the dictionary: row and index of each value, bits of an index.

    Inside a page rows are taken to have as many values each.
    """
    for number in range(source.chunk.dictionary_pages):
        page = source.open_whole_page(number)
        first, stop = source.pages.rows(number)
        with source.chunk.at_page(number):
            width, indices = lv.decode_dictionary_indices(page.section, page.levels.num_values)
            checked(indices, num_entries)
        places = first + np.arange(len(indices)) * (stop - first) // max(1, len(indices))
        yield places, indices, width
