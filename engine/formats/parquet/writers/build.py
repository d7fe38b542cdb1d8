"""Build a column chunk from pages of several row groups, or with another use of dictionaries.

Row groups that are merged have one dictionary each; theirs are merged, and indices are
mapped, so that values stay encoded. Pages without dictionary are copied, or compressed anew, as
they are; only what no page can be carried over for is decoded and encoded: pages whose dictionary
is given up or that are to get one, cut pages, and pages that begin inside a row where the version
wanted forbids it. Small pages are merged.

Once a page without dictionary is written, all that follow have none: readers expect that order.
Dictionaries have their limit; what comes behind it is written PLAIN, as every writer does.

Bounds of pages, and so of the chunk, are computed from values where no index proves them. Not
covered: chunks of one row group whose pages keep their encoding (:mod:`.writers.page_cut`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes import statistics as st
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import DICTIONARY_ENCODINGS, Encoding
from engine.formats.parquet.bytes.one_page import encode_values
from engine.formats.parquet.bytes.page_index import PageEntry, PageLocation
from engine.formats.parquet.bytes.pages import (
    PageHeader,
    PageType,
    new_dictionary_header,
    page_version,
)
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.carried import PAGE_BYTES, PAGE_ENTRIES, is_large
from engine.formats.parquet.writers.chunk import NO_LIST_ENDS, ChunkOut, NewChunk, Piece
from engine.formats.parquet.writers.new_dictionary import NewDictionary
from engine.formats.parquet.writers.new_page import NewPage, PageForm, build_page, recoded_page
from engine.formats.parquet.writers.open_piece import OpenPiece
from engine.formats.parquet.writers.source_chunk import OpenPage, take
from engine.model import Recoding


def must_build(pieces: Sequence[Piece], column: int, recoding: Recoding) -> bool:
    """Whether a chunk cannot be made page by page from one source chunk."""
    if len(pieces) > 1 or recoding.dictionary or column in pieces[0].trimmed:
        return True
    pages = pieces[0].group.page_maps[column]
    if recoding.dictionary is False and pages.dictionary is not None:
        return True
    return recoding.page_version == 2 and bool(pages.begins_inside_row)


def build_chunk(
    pieces: Sequence[Piece], column: int, out: ChunkOut, *, recoding: Recoding
) -> NewChunk:
    """Make one column's chunk of all pieces; see :class:`.writers.chunk.ChunkMaker`.

    Raises:
        BadPage: a page is damaged; the message names column, row group and page.
        Unsupported: a page uses a codec or encoding that Arrow does not have.
    """
    return _Build([OpenPiece(piece, column) for piece in pieces], out, recoding).make()


@dataclass
class _Pending:
    """Entries for the next page; either all indices into the new dictionary or all values."""

    header: PageHeader
    encoding: int
    is_dictionary: bool
    repetition: list[Any]
    definition: list[Any]
    values: list[Any]
    num_entries: int = 0
    num_bytes: int = 0
    bounds: st.Bounds = st.EMPTY  # as far as its writer left them


class _Build:
    def __init__(self, pieces: Sequence[OpenPiece], out: ChunkOut, recoding: Recoding) -> None:
        self.pieces = pieces
        self.leaf = pieces[0].leaf
        self.out = out
        self.recoding = recoding
        model = pieces[0].source
        self.order = model.order
        self.codec = model.entry.codec if recoding.codec is None else recoding.codec
        self.page_codec = model.page_codec if recoding.codec is None else recoding.codec
        self.model = model
        self.dictionary = NewDictionary(pieces, recoding)
        self.pending: _Pending | None = None
        self.used: Counter[tuple[int, int]] = Counter()
        self.locations: list[PageLocation] = []
        self.entries: list[PageEntry | None] = []
        self.bounds: list[st.Bounds] = []
        self.num_values = self.num_rows = self.uncompressed_bytes = 0
        self.has_nan = False
        self.is_plain = False  # a page without dictionary was written
        self.list_ends = NO_LIST_ENDS

    def make(self) -> NewChunk:
        has_dictionary = len(self.dictionary.values) > 0
        if has_dictionary:
            self._put_dictionary()
        first_data_page = self.out.num_bytes
        for number, piece in enumerate(self.pieces):
            for pages in piece.pages_at_once():
                found = self.dictionary.indices(number, pages)
                for page, indices in zip(pages, found, strict=True):
                    self._add(page, None if self.is_plain else indices)
        self._flush()
        encodings = [encoding for _, encoding in self.used]
        if has_dictionary:
            encodings.append(int(Encoding.PLAIN))
        if self.leaf.max_definition or self.leaf.max_repetition:
            encodings.append(int(Encoding.RLE))
        stats = [(kind, encoding, count) for (kind, encoding), count in self.used.items()]
        if has_dictionary:
            stats.insert(0, (int(PageType.DICTIONARY), int(Encoding.PLAIN), 1))
        is_indexed = all(piece.source.entry.offset_index is not None for piece in self.pieces)
        return NewChunk(
            codec=self.codec,
            num_values=self.num_values,
            uncompressed_bytes=self.uncompressed_bytes,
            first_data_page=first_data_page,
            has_dictionary=has_dictionary,
            encodings=list(dict.fromkeys(encodings)),
            encoding_stats=stats,
            statistics=self._statistics(),
            pages=self.locations if is_indexed else None,
            column_index=self._column_index() if is_indexed else None,
            list_ends=self.list_ends,
        )

    def _statistics(self) -> Struct | None:
        if len(self.pieces) == 1 and self.pieces[0].piece.is_whole:
            return self.model.statistics
        merged = st.merge(self.bounds, self.order)
        sources = [piece.source for piece in self.pieces]
        every = [(source.statistics, source.entry.num_values) for source in sources]
        return st.chunk_statistics(st.shared_statistics(every, self.order), merged, self.order)

    def _put_dictionary(self) -> None:
        plain = encode_values(self.leaf, Encoding.PLAIN, self.dictionary.values)
        packed = compress(self.page_codec, plain, self.recoding.level)
        has_crc = self.model.chunk.header(0).crc is not None
        head = new_dictionary_header(
            packed,
            uncompressed_bytes=len(plain),
            num_values=len(self.dictionary.values),
            has_crc=has_crc,
        )
        self.out.write(head + packed)
        self.uncompressed_bytes += len(head) + len(plain)

    # -- pages -----------------------------------------------------------------------------------

    def _add(self, page: OpenPage, indices: Any | None) -> None:
        """Take in a page; ``indices`` are its values in the new dictionary, if it has them."""
        begin, end = page.list_entries()
        self.list_ends = (self.list_ends[0] or begin, end or self.list_ends[1])
        if self._carries(page, indices):
            self._flush()
            self._carry(page)
            return
        pending = self._pending_for(page, is_dictionary=indices is not None)
        first, last = page.kept.first_entry, page.kept.last_entry
        if page.levels.repetition is not None:
            pending.repetition.append(page.levels.repetition[first:last])
        if page.levels.definition is not None:
            pending.definition.append(page.levels.definition[first:last])
        pending.values.append(indices if pending.is_dictionary else page.values())
        by_writer = page.source.bounds_by_writer(page.number, page.header)
        bounds = by_writer if page.is_whole else st.UNKNOWN
        pending.bounds = st.merge([pending.bounds, bounds], self.order)
        pending.num_entries += page.kept.num_entries
        pending.num_bytes += len(page.section)
        self.is_plain |= not pending.is_dictionary

    def _pending_for(self, page: OpenPage, *, is_dictionary: bool) -> _Pending:
        """Return the entries that a page's are to follow; none if it begins a page of its own."""
        encoding = self._encoding(page, is_dictionary=is_dictionary)
        pending = self.pending
        if pending is not None and not page.continues_row:
            other = (pending.encoding, pending.is_dictionary) != (encoding, is_dictionary)
            full = pending.num_entries + page.kept.num_entries > PAGE_ENTRIES
            if other or full or pending.num_bytes + len(page.section) > PAGE_BYTES:
                self._flush()
                pending = None
        if pending is None:
            self.pending = _Pending(page.header, encoding, is_dictionary, [], [], [])
            return self.pending
        if pending.is_dictionary and not is_dictionary:  # a row that goes on without the dictionary
            pending.values = [take(self.dictionary.values, np.concatenate(pending.values))]
            pending.is_dictionary, pending.encoding = False, int(Encoding.PLAIN)
        return pending

    def _encoding(self, page: OpenPage, *, is_dictionary: bool) -> int:
        """Return how the values of a page are to be encoded."""
        encoding = page.header.encoding
        if is_dictionary:
            is_v1 = (self.recoding.page_version or page_version(page.header)) == 1
            keeps_name = is_v1 and encoding == Encoding.PLAIN_DICTIONARY  # not for V2 pages
            return encoding if keeps_name else int(Encoding.RLE_DICTIONARY)
        return int(Encoding.PLAIN) if encoding in DICTIONARY_ENCODINGS else encoding

    def _carries(self, page: OpenPage, indices: Any | None) -> bool:
        """Whether a page can be taken over with its values as they are encoded."""
        return (
            page.is_whole
            and indices is None
            and not page.header.is_dictionary_encoded
            and not page.source.is_chained
            and not page.source.pages.is_miscounted
            and not self.recoding.dictionary
            and (self.pending is None or is_large(page.kept.num_entries, len(page.section)))
            and not self._next_continues(page)
        )

    def _next_continues(self, page: OpenPage) -> bool:
        pages = page.source.pages
        return page.number + 1 < pages.num_pages and pages.continues(page.number + 1)

    def _carry(self, page: OpenPage) -> None:
        source, header = page.source, page.header
        bounds = source.bounds_by_writer(page.number, header)
        if not bounds.is_known:
            bounds = self.model.bounds_of(page.values())
        is_same_version = self.recoding.page_version in (None, page_version(header))
        # Other pieces may be of other files, and a chunk has one codec.
        is_same_codec = source.page_codec == self.page_codec and self.recoding.level is None
        if is_same_version and is_same_codec:
            where = source.pages.page(page.number)
            size = header.header_bytes + header.uncompressed_bytes
            copied = NewPage(b"", b"", size, header.encoding, header.type)
            self._note(where.length, copied, page.levels, page.kept, bounds)
            self.out.copy(source.file, where)
        else:
            new = recoded_page(
                header,
                page.body,
                leaf=self.leaf,
                source_codec=source.entry.codec,
                form=PageForm(self.page_codec, self.recoding.level, self.recoding.page_version),
            )
            self._note(new.num_bytes, new, page.levels, page.kept, bounds)
            self.out.write(new.head, new.body)
        self.is_plain = True

    def _flush(self) -> None:
        pending, self.pending = self.pending, None
        if pending is None:
            return
        bounds = pending.bounds
        if pending.is_dictionary:
            indices = np.concatenate(pending.values)
            section = lv.encode_dictionary_indices(self.dictionary.bit_width, indices)
            if not bounds.is_known:
                bounds = self.model.bounds_of(self.dictionary.distinct(indices))
        else:
            array = pa.concat_arrays(pending.values)
            section = b""
            if len(array):
                section = encode_values(self.leaf, pending.encoding, array)
            else:
                pending.encoding = int(Encoding.PLAIN)  # delta encodings have a header even so
            if not bounds.is_known:
                bounds = self.model.bounds_of(array)
        levels = lv.PageLevels(
            pending.num_entries,
            np.concatenate(pending.repetition) if pending.repetition else None,
            np.concatenate(pending.definition) if pending.definition else None,
            self.leaf.max_definition,
            0,
        )
        kept = lv.PageSlice(0, levels.num_entries, 0, levels.num_values)
        new = build_page(
            pending.header,
            levels,
            kept,
            section,
            leaf=self.leaf,
            encoding=pending.encoding,
            form=PageForm(self.page_codec, self.recoding.level, self.recoding.page_version),
        )
        self._note(new.num_bytes, new, levels, kept, bounds)
        self.out.write(new.head, new.body)

    def _note(
        self,
        num_bytes: int,
        page: NewPage,
        levels: lv.PageLevels,
        kept: lv.PageSlice,
        bounds: st.Bounds,
    ) -> None:
        """Write down what is true of the page that comes next."""
        bounds = replace(bounds, null_count=kept.num_nulls)
        self.has_nan |= bool(bounds.nan_count)
        if page.encoding in DICTIONARY_ENCODINGS and bounds.nan_count:
            # NaNs of a page count by entry; here each distinct value was looked at once.
            bounds = replace(bounds, nan_count=None)
        self.locations.append(PageLocation(self.out.num_bytes, num_bytes, self.num_rows))
        self.used[int(page.type), page.encoding] += 1
        self.bounds.append(bounds)
        self.entries.append(_entry(bounds, kept.num_entries, self.order))
        self.num_values += kept.num_entries
        self.uncompressed_bytes += page.uncompressed_bytes
        num_rows = kept.num_entries
        if levels.repetition is not None:
            num_rows -= int(np.count_nonzero(levels.repetition[kept.first_entry : kept.last_entry]))
        self.num_rows += num_rows

    def _column_index(self) -> bytes | None:
        """Return the column index, None if the source has none or a page's bounds are unknown.

        Nor where a new page holds NaN, unless they are counted: bounds leave it out, and readers
        that take it for the largest pass over the page.
        """
        model = self.model.column_index
        if model is not None and model.nan_counts is None and self.has_nan:
            return None
        entries = [entry for entry in self.entries if entry is not None]
        if model is None or len(entries) < len(self.entries):
            return None
        return model.replaced(entries, st.boundary_order(entries, self.order)).encode()


def _entry(bounds: st.Bounds, num_entries: int, order: st.Order) -> PageEntry | None:
    if order is st.Order.FLOAT:
        low = st.signed_zero(bounds.min, is_upper=False)
        bounds = replace(bounds, min=low, max=st.signed_zero(bounds.max, is_upper=True))
    is_null = bounds.null_count == num_entries
    if not is_null and (bounds.min is None or bounds.max is None):
        return None
    if max(len(bounds.min or b""), len(bounds.max or b"")) > st.MAX_BOUND_BYTES:
        return None
    return PageEntry(
        is_null=is_null,
        min=bounds.min or b"",
        max=bounds.max or b"",
        null_count=bounds.null_count,
        nan_count=bounds.nan_count,
    )
