"""Which pages are copied as they are out of row groups that are cut, merged or re-encoded.

Writers decide page by page; what they go by is here, so that a plan can count the bytes before any
page is opened. No pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import page_version
from engine.formats.parquet.opened import OpenChunk, OpenFile, OpenRowGroup
from engine.formats.parquet.small_chunks import are_small
from engine.model import Recoding, RowGroupSlice
from engine.storage.base import naming

# Pages are merged up to such sizes; what is large against them is not worth it.
PAGE_ENTRIES = 20_000
PAGE_BYTES = 1 << 20


def is_large(num_entries: int, num_bytes: float) -> bool:
    """Whether a page of so many entries, or bytes of values, is taken over rather than merged."""
    return 4 * num_entries >= PAGE_ENTRIES or 4 * num_bytes >= PAGE_BYTES


class _Source(NamedTuple):
    """A chunk that a row group is made of, and the rows wanted of it."""

    chunk: OpenChunk
    piece: RowGroupSlice

    @property
    def pages(self) -> PageMap:
        """Where its pages lie."""
        return self.chunk.pages

    @property
    def all_pages(self) -> range:
        """Pages of which rows are wanted."""
        first = self.pages.page_of_row(self.piece.start_row)
        return range(first, self.pages.page_of_row(self.piece.stop_row - 1) + 1)

    @property
    def whole_pages(self) -> range:
        """Pages of which all rows are wanted; none behind a cut continues the one before it."""
        pages, piece = self.pages, self.piece
        first, stop = self.all_pages.start, self.all_pages.stop
        is_cut = pages.first_rows[first] < piece.start_row or pages.continues(first)
        first += is_cut or (self.chunk.is_chained and first > 0)
        is_cut = piece.stop_row < pages.rows(stop - 1)[1]
        is_cut |= stop < pages.num_pages and pages.continues(stop)
        return range(first, stop - is_cut)


def copied_bytes(
    pieces: Sequence[RowGroupSlice], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    """Return the bytes of pages that are copied into a row group that is made of slices.

    Where to find pages takes a request each, none are looked for: all counts as made anew.
    """
    with naming(*(files[piece.file].file.path for piece in pieces)):
        return _copied_bytes(pieces, files, recoding)


def _copied_bytes(
    pieces: Sequence[RowGroupSlice], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    groups = [files[piece.file].row_group(piece.row_group) for piece in pieces]
    is_asked = recoding.codec is not None and len(pieces) == 1  # then all are compressed anew
    if recoding.dictionary or is_asked or are_small(groups, recoding):
        return 0
    if not all(map(_are_pages_cheap, groups, pieces)):
        return 0
    every = [
        [_Source(chunk, piece) for chunk in group.chunks()]
        for group, piece in zip(groups, pieces, strict=True)
    ]
    found = sum(_copied(sources, recoding) for sources in zip(*every, strict=True))
    for group, piece in zip(groups, pieces, strict=True):
        if piece.is_whole:  # no cut asks for its pages
            group.forget()
    return found


def _are_pages_cheap(group: OpenRowGroup, piece: RowGroupSlice) -> bool:
    """Whether pages are known, as those of cut row groups are, or found by few requests."""
    if not (piece.is_whole and group.file.source.is_remote):
        return True
    return all(chunk.offset_index for chunk in group.entry.columns)


def _copied(sources: Sequence[_Source], recoding: Recoding) -> int:
    """Return the bytes of a column's pages that are copied."""
    first = sources[0]
    if any(source.pages.is_miscounted or not source.pages.num_pages for source in sources):
        return 0
    gives_up = recoding.dictionary is False and first.pages.dictionary is not None
    if len(sources) > 1 or gives_up or first.chunk.column in first.piece.trimmed:
        return _carried(sources, recoding)
    if recoding.page_version is not None:
        return 0
    pages, whole = first.pages, first.whole_pages
    found = sum(pages.sizes[whole.start : whole.stop])
    if pages.dictionary is not None and first.all_pages.start < first.chunk.dictionary_pages:
        found += pages.dictionary.length
    return found


def _carried(sources: Sequence[_Source], recoding: Recoding) -> int:
    """Return the bytes of pages that are taken over into a chunk whose other pages are merged."""
    found = 0
    is_pending = False  # pages that wait for others
    codec = sources[0].chunk.entry.codec if recoding.codec is None else recoding.codec
    for source in sources:
        chunk, pages = source.chunk, source.pages
        keeps = chunk.entry.codec == codec and recoding.level is None
        if keeps and recoding.page_version is not None:
            keeps = page_version(chunk.header(0)) == recoding.page_version
        num_indices, whole = chunk.dictionary_pages, source.whole_pages
        entries_per_row = chunk.entry.num_values / max(1, pages.num_rows)
        ratio = chunk.entry.uncompressed_bytes / max(1, chunk.entry.compressed_bytes)
        for page in source.all_pages:
            start, stop = pages.rows(page)
            is_taken = page >= num_indices and page in whole and not chunk.is_chained
            if is_taken and page + 1 < pages.num_pages:
                is_taken = not pages.continues(page + 1)
            large = is_large(round((stop - start) * entries_per_row), ratio * pages.sizes[page])
            is_pending = not (is_taken and (large or not is_pending))
            if not is_pending and keeps:
                found += pages.sizes[page]
    return found
