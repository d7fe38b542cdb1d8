"""Cut a column chunk at two rows: copy whole pages, rewrite the one page at each cut.

    chunk of a part = [dictionary page, if a page kept uses it]
                      + [rows behind the cut of the page at the left cut]
                      + [whole pages, copied]
                      + [rows before the cut of the page at the right cut]

A rewritten page keeps its version, encoding, codec and (if dictionary-encoded) dictionary: its
levels are sliced, its values sliced or its dictionary indices sliced, and it is compressed again.
Page encodings therefore never change order within a chunk, which some readers do not survive. Where
pages continue each other (:func:`.created_by.chains_pages`), all pages before a cut are read
for the one value that the page at the cut continues, and that page is made to stand alone.

Where another codec or page version is wanted, whole pages are not copied but compressed anew one by
one; their values stay encoded as they are.

Statistics of the new chunk are exact or absent: they are merged from the column index or the
page headers (whole pages) and from the values of rewritten pages. Where the index shows that a
rewritten page reaches beyond no other, its dictionary is not even read. Source: parquet.thrift and
PageIndex.md of apache/parquet-format; :mod:`.bytes.statistics` says when a bound is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from engine.errors import BadStructure
from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes import statistics as st
from engine.formats.parquet.bytes.footer import DICTIONARY_ENCODINGS, Encoding, value
from engine.formats.parquet.bytes.one_page import cut_values
from engine.formats.parquet.bytes.page_index import ColumnIndex, PageEntry, PageLocation
from engine.formats.parquet.bytes.pages import (
    PageHeader,
    PageType,
    check_crc,
    page_statistics,
    split_page,
)
from engine.formats.parquet.bytes.thrift import Raw, Struct
from engine.formats.parquet.opened import WholePages, read_pages
from engine.formats.parquet.writers.chunk import ChunkOut, ListEnds, NewChunk, Piece
from engine.formats.parquet.writers.new_page import (
    NewPage,
    PageForm,
    build_page,
    recoded_page,
    recompressed_page,
)
from engine.formats.parquet.writers.source_chunk import (
    OpenPage,
    SourceChunk,
    facts_of,
    open_page,
    source_chunk,
)
from engine.model import Buffer, Recoding

_MAX_DECODED_PAGES = 8  # of a chunk, for its exact bounds; mostly two are enough


def cut_by_pages(
    piece: Piece,
    column: int,
    out: ChunkOut,
    *,
    recoding: Recoding,
    most_decoded_bytes: int = 0,
) -> NewChunk:
    """Make one column's chunk of the rows of a piece; see :class:`.writers.chunk.ChunkMaker`.

    ``recoding``: codec and page version, if others than the source's; of dictionaries it must ask
    nothing.

    Raises:
        BadPage: a page at a cut is damaged; the message names column, row group and page.
        Unsupported: a page at a cut uses a codec or encoding that cannot be rewritten.
    """
    chunk = piece.group.chunk(column)
    begun = out.num_bytes

    def cut() -> NewChunk:
        return _Cut(source_chunk(chunk), piece, out, recoding, most_decoded_bytes).make()

    with chunk.at_page():
        try:
            return cut()
        except BadStructure:
            if not chunk.pages.by_index or out.num_bytes > begun:
                raise  # it was the pages that told where they are
        chunk.drop(SourceChunk)
        chunk.distrust_index()
        return cut()


@dataclass
class _Rewritten:
    """A rewritten page, the source's that it was, and what is true of the rows that it keeps.

    While ``unread`` is set, nobody has looked the values up in the dictionary: ``bounds`` are those
    of the whole page by the index, and ``value_bytes`` is not known.
    """

    page: int
    new: NewPage
    num_values: int
    num_nulls: int
    bounds: st.Bounds
    value_bytes: int
    repetition_histogram: tuple[int, ...]
    definition_histogram: tuple[int, ...]
    unread: OpenPage | None
    list_ends: ListEnds

    @property
    def has_values(self) -> bool:
        """Whether any entry is not null."""
        return self.num_values != self.num_nulls


class _Cut:
    """One cut chunk: rows ``[start_row, stop_row)``, pages ``[first, last)`` taken whole."""

    def __init__(
        self,
        source: SourceChunk,
        piece: Piece,
        out: ChunkOut,
        recoding: Recoding,
        most_decoded_bytes: int,
    ) -> None:
        self.source = source
        self.start_row = piece.start_row
        self.stop_row = piece.stop_row
        self.out = out
        self.codec = source.entry.codec if recoding.codec is None else recoding.codec
        self.page_codec = source.page_codec if recoding.codec is None else recoding.codec
        self.level = recoding.level
        self.page_version = recoding.page_version
        self.most_decoded_bytes = most_decoded_bytes
        is_asked = recoding.codec is not None or recoding.page_version is not None
        self.keeps_pages = not is_asked and not source.pages.is_miscounted

    def make(self) -> NewChunk:
        left, first = self._left_page()
        right, last = self._right_page()
        left_pages = [] if left is None else [self._rewrite(left)]
        if left is not None and left == right:
            right, first = None, last
        if left is not None and self.source.is_chained:
            while first < last and not any(page.has_values for page in left_pages):
                left_pages.append(self._rewrite(first))  # what it continues is not kept
                first += 1
        right_pages = [] if right is None else [self._rewrite(right)]
        left_pages = [page for page in left_pages if page.num_values]
        right_pages = [page for page in right_pages if page.num_values]
        headers = self.source.chunk.whole_pages(first, last)
        return self._assemble(left_pages, (first, last), headers, right_pages)

    def _left_page(self) -> tuple[int | None, int]:
        """Return the page that the left cut passes through, and the first whole one."""
        pages = self.source.pages
        page = pages.page_of_row(self.start_row)
        is_boundary = pages.first_rows[page] == self.start_row and not pages.continues(page)
        if is_boundary and not (self.source.is_chained and page):
            return None, page
        return page, page + 1

    def _right_page(self) -> tuple[int | None, int]:
        """Return the page that the right cut passes through, and the end of the whole ones."""
        pages = self.source.pages
        if self.stop_row >= pages.num_rows:
            return None, pages.num_pages
        page = pages.page_of_row(self.stop_row)
        if pages.first_rows[page] == self.stop_row and not pages.continues(page):
            return None, page
        return page, page

    # -- one page --------------------------------------------------------------------------------

    def _rewrite(self, number: int) -> _Rewritten:
        source, leaf = self.source, self.source.leaf
        page = source.open_page(number, self.start_row, self.stop_row)
        levels, kept = page.levels, page.kept
        array = None if page.header.is_dictionary_encoded else page.values()
        with source.chunk.at_page(number):
            encoding, section = _encoded(page, array)
            new = build_page(
                page.header,
                levels,
                kept,
                section,
                leaf=leaf,
                encoding=encoding,
                form=PageForm(self.page_codec, self.level, self.page_version),
            )
        bounds, value_bytes = st.UNKNOWN, 0
        if array is not None:
            bounds, value_bytes = facts_of(source, array, kept.num_nulls)
        elif source.column_index is not None:
            whole = source.bounds_by_index(number, number + 1)
            bounds = st.Bounds(whole.min, whole.max, is_empty=whole.is_empty)
        return _Rewritten(
            page=number,
            new=new,
            num_values=kept.num_entries,
            num_nulls=kept.num_nulls,
            bounds=replace(bounds, null_count=kept.num_nulls),
            value_bytes=value_bytes,
            repetition_histogram=_histogram(levels.repetition, kept, leaf.max_repetition),
            definition_histogram=_histogram(levels.definition, kept, leaf.max_definition),
            unread=page if array is None else None,
            list_ends=page.list_entries(),
        )

    def _known(self, page: _Rewritten) -> _Rewritten:
        """Return a rewritten page of which all is known."""
        if page.unread is not None:
            page.bounds, page.value_bytes = page.unread.facts()
            page.unread = None
        return page

    # -- the chunk -------------------------------------------------------------------------------

    def _assemble(
        self,
        left: Sequence[_Rewritten],
        whole: tuple[int, int],
        headers: WholePages,
        right: Sequence[_Rewritten],
    ) -> NewChunk:
        source = self.source
        before = Counter(headers.kinds)
        before.update((page.new.type, page.new.encoding) for page in (*left, *right))
        uses_dictionary = any(encoding in DICTIONARY_ENCODINGS for _, encoding in before)
        self._locations: list[PageLocation] = []
        self._used: Counter[tuple[int, int]] = Counter()
        self._uncompressed_bytes = 0
        dictionary_encoding = self._put_dictionary() if uses_dictionary else None
        first_data_page = self.out.num_bytes
        for page in left:
            self._put(page.page, page.new)
        if self.keeps_pages:
            self._copy_whole(whole, headers)
        else:
            self._recode_whole(whole)
        for page in right:
            self._put(page.page, page.new)
        stats = [(kind, encoding, count) for (kind, encoding), count in self._used.items()]
        if dictionary_encoding is not None:
            stats.insert(0, (int(PageType.DICTIONARY), dictionary_encoding, 1))
        return NewChunk(
            codec=self.codec,
            num_values=headers.num_values + sum(page.num_values for page in (*left, *right)),
            uncompressed_bytes=self._uncompressed_bytes,
            first_data_page=first_data_page,
            has_dictionary=uses_dictionary,
            encodings=self._encodings(uses_dictionary=uses_dictionary),
            encoding_stats=stats,
            statistics=self._statistics(left, whole, right, before),
            pages=self._locations if source.is_indexed else None,
            column_index=self._column_index(left, whole, right) if source.is_indexed else None,
            page_value_bytes=self._page_value_bytes(left, whole, right),
            size_statistics=self._size_statistics(left, whole, right),
            list_ends=(
                left[0].list_ends[0] if left else b"",
                right[-1].list_ends[1] if right else b"",
            ),
        )

    def _put_dictionary(self) -> int:
        """Write the dictionary page, copied where it can be; return its encoding."""
        source = self.source
        if self.keeps_pages:
            header = source.dictionary_header()
            self.out.copy(source.file, source.chunk.place(None))
            self._uncompressed_bytes += header.uncompressed_bytes + header.header_bytes
            return header.encoding
        data = source.chunk.read(None)
        page = recompressed_page(data, source.entry.codec, self.page_codec, self.level)
        if page.type != PageType.DICTIONARY:
            raise BadStructure("the first page is not the dictionary page it should be")
        self.out.write(page.head, page.body)
        self._uncompressed_bytes += page.uncompressed_bytes
        return page.encoding

    def _put(self, number: int, page: NewPage) -> None:
        """Write a page made of page ``number``."""
        first_row = max(0, self.source.pages.first_rows[number] - self.start_row)
        self._locations.append(PageLocation(self.out.num_bytes, page.num_bytes, first_row))
        self._used[page.type, page.encoding] += 1
        self._uncompressed_bytes += page.uncompressed_bytes
        self.out.write(page.head, page.body)

    def _recode_whole(self, whole: tuple[int, int]) -> None:
        """Write whole pages with another codec or version, their values encoded as they are."""
        source = self.source
        places = [source.pages.page(number) for number in range(*whole)]
        for number, data in enumerate(read_pages(source.file.source, places), whole[0]):
            with source.chunk.at_page(number):
                start, stop = source.pages.rows(number)
                page = self._recoded(data, stop - start)
            self._put(number, page)

    def _recoded(self, data: memoryview, num_rows: int) -> NewPage:
        codec = self.source.entry.codec
        if self.page_version is None and not self.source.pages.is_miscounted:
            return recompressed_page(data, codec, self.page_codec, self.level)
        header, body = split_page(data)
        check_crc(header, body)
        if self.source.pages.is_miscounted:
            return self._counted_anew(header, bytes(body))
        return recoded_page(
            header,
            body,
            leaf=self.source.leaf,
            source_codec=codec,
            form=PageForm(self.page_codec, self.level, self.page_version),
            num_rows=num_rows,
        )

    def _counted_anew(self, header: PageHeader, body: bytes) -> NewPage:
        """Return a whole page whose header counts the rows that are in it."""
        leaf = self.source.leaf
        levels, values = open_page(header, body, self.source.entry.codec, leaf)
        every = lv.PageSlice(0, levels.num_entries, 0, levels.num_values)
        return build_page(
            header,
            levels,
            every,
            values,
            leaf=leaf,
            encoding=header.encoding,
            form=PageForm(self.page_codec, self.level, self.page_version),
            statistics=page_statistics(header),
        )

    def _copy_whole(self, whole: tuple[int, int], headers: WholePages) -> None:
        pages, at = self.source.pages, self.out.num_bytes
        for number in range(*whole):
            first_row = pages.first_rows[number] - self.start_row
            self._locations.append(PageLocation(at, pages.sizes[number], first_row))
            at += pages.sizes[number]
        self._used.update(headers.kinds)
        self._uncompressed_bytes += headers.uncompressed_bytes
        for run in pages.runs(*whole):
            self.out.copy(self.source.file, run)

    def _encodings(self, *, uses_dictionary: bool) -> list[int]:
        """Return the source's list, without dictionaries if there is none, with what is new."""
        kept = [
            encoding
            for encoding in self.source.entry.encodings
            if uses_dictionary or encoding not in DICTIONARY_ENCODINGS
        ]
        return list(dict.fromkeys([*kept, *(encoding for _, encoding in self._used)]))

    def _statistics(
        self,
        left: Sequence[_Rewritten],
        whole: tuple[int, int],
        right: Sequence[_Rewritten],
        encodings: Counter[tuple[int, int]],
    ) -> Struct | None:
        source = self.source
        if source.statistics is None:
            return None
        if whole == (0, source.pages.num_pages):
            return source.statistics
        bounds = [self._whole_bounds(whole, encodings)] if whole[0] < whole[1] else []
        cut = [*left, *right]
        merged = st.merge([*bounds, *(page.bounds for page in cut)], source.order)
        if not merged.is_known or spec.Statistics.NAN_COUNT in source.statistics:
            bounds += [self._known(page).bounds for page in cut]
            merged = st.merge(bounds, source.order)
        return st.chunk_statistics(source.statistics, merged, source.order)

    def _whole_bounds(
        self, whole: tuple[int, int], encodings: Counter[tuple[int, int]]
    ) -> st.Bounds:
        source = self.source
        all_dictionary = all(encoding in DICTIONARY_ENCODINGS for _, encoding in encodings)
        if source.column_index is not None:
            found = source.bounds_by_index(*whole)
            if all_dictionary and not found.is_known:
                found = source.bounds_by_index(*whole, all_dictionary=True)
        else:
            found = self._bounds_by_headers(whole)
        if not found.is_known and source.order is not st.Order.UNDEFINED:
            if source.column_index is not None:
                found = self._sharpened(whole, all_dictionary=all_dictionary)
            num_bytes = sum(source.pages.sizes[slice(*whole)])
            if not found.is_known and num_bytes <= self.most_decoded_bytes:
                found = st.merge(
                    (self._decoded_bounds(page) for page in range(*whole)), source.order
                )
        return found

    def _sharpened(self, whole: tuple[int, int], *, all_dictionary: bool) -> st.Bounds:
        """Return the bounds of whole pages by the index, a few decoded where they reach furthest.

        If the least value of the page with the least bound is below the bounds of all others, it is
        the least of all.
        """
        source = self.source
        decoded: dict[int, st.Bounds] = {}
        while True:
            ends = [whole[0] - 1, *sorted(decoded), whole[1]]
            others = [
                source.bounds_by_index(before + 1, page, all_dictionary=all_dictionary)
                for before, page in pairwise(ends)
            ]
            found = st.merge([*others, *decoded.values()], source.order)
            is_lost = found.min is None or found.max is None
            if found.is_known or is_lost or len(decoded) == _MAX_DECODED_PAGES:
                return found
            page = self._furthest(found, set(range(*whole)) - set(decoded))
            decoded[page] = self._decoded_bounds(page)

    def _furthest(self, found: st.Bounds, pages: Iterable[int]) -> int:
        """Return the first page whose bound in the index makes one that is not known."""
        index = self.source.column_index
        assert index is not None
        return min(
            page
            for page in pages
            if not index.null_pages[page]
            and (
                (index.min_values[page] == found.min and not found.is_min_exact)
                or (index.max_values[page] == found.max and not found.is_max_exact)
            )
        )

    def _bounds_by_headers(self, whole: tuple[int, int]) -> st.Bounds:
        """Return the bounds of whole pages by their own statistics, as far as all have them."""
        source = self.source
        every = []
        for number in range(*whole):
            header = source.chunk.header(number)
            bounds = source.bounds_by_header(header)
            if bounds == st.UNKNOWN:
                return st.Bounds(null_count=None if source.leaf.max_definition else 0)
            every.append(bounds)
        return st.merge(every, source.order)

    def _decoded_bounds(self, number: int) -> st.Bounds:
        """Return the bounds of a whole page by its values."""
        return self.source.open_whole_page(number).facts()[0]

    def _column_index(
        self, left: Sequence[_Rewritten], whole: tuple[int, int], right: Sequence[_Rewritten]
    ) -> bytes | None:
        index = self.source.column_index
        if index is None:
            return None
        if index.nan_counts is not None:
            for page in (*left, *right):
                self._known(page)
        # Bounds of a cut page stay those of the whole page, so the order of pages stays too.
        before = [_cut_entry(index, page) for page in left]
        after = [_cut_entry(index, page) for page in right]
        return index.cut(before, *whole, after).encode()

    def _page_value_bytes(
        self, left: Sequence[_Rewritten], whole: tuple[int, int], right: Sequence[_Rewritten]
    ) -> list[int] | None:
        sizes = self.source.value_bytes
        if sizes is None:
            return None
        return [
            *(self._known(page).value_bytes for page in left),
            *sizes[whole[0] : whole[1]],
            *(self._known(page).value_bytes for page in right),
        ]

    def _size_statistics(
        self, left: Sequence[_Rewritten], whole: tuple[int, int], right: Sequence[_Rewritten]
    ) -> Struct | Raw | None:
        facts = spec.SizeStatistics
        raw: Raw | None = value(self.source.entry.meta, spec.ColumnMetaData.SIZE_STATISTICS)
        if raw is None or whole == (0, self.source.pages.num_pages):
            return raw
        fields = spec.read(facts, raw)
        found: dict[spec.Field, Any] = {}
        sizes = self._page_value_bytes(left, whole, right)
        if facts.UNENCODED_BYTE_ARRAY_DATA_BYTES in fields and sizes is not None:
            found[facts.UNENCODED_BYTE_ARRAY_DATA_BYTES] = sum(sizes)
        index = self.source.column_index
        known = index is not None or whole[0] == whole[1]
        for field, name in (
            (facts.REPETITION_LEVEL_HISTOGRAM, "repetition_histogram"),
            (facts.DEFINITION_LEVEL_HISTOGRAM, "definition_histogram"),
        ):
            if field not in fields or not known or not value(fields, field).items:
                continue
            entries = index.entries(*whole) if index is not None else []
            items = [getattr(entry, name) for entry in (*left, *entries, *right)]
            if all(items):
                found[field] = [sum(column) for column in zip(*items, strict=True)]
        return spec.struct_of(found) or None


def _encoded(page: OpenPage, array: Any | None) -> tuple[int, Buffer]:
    """Return the encoding and the values section of what is kept of a page.

    ``array`` has the values, unless a dictionary has them.
    """
    encoding = page.header.encoding
    if array is None:
        width = page.section[0] if page.section else 0
        return encoding, lv.encode_dictionary_indices(width, page.indices())
    if not len(array):
        return int(Encoding.PLAIN), b""  # delta encodings have a header even without values
    return encoding, cut_values(page.source.leaf, encoding, page.section, array)


def _cut_entry(index: ColumnIndex, page: _Rewritten) -> PageEntry:
    """Return the column index entry of a rewritten page: bounds as before, counts as now."""
    (entry,) = index.entries(page.page, page.page + 1)
    is_null = entry.is_null or not page.has_values
    return PageEntry(
        is_null=is_null,
        min=b"" if is_null else entry.min,
        max=b"" if is_null else entry.max,
        null_count=page.num_nulls,
        repetition_histogram=page.repetition_histogram or None,
        definition_histogram=page.definition_histogram or None,
        nan_count=page.bounds.nan_count,
    )


def _histogram(levels: Any | None, piece: lv.PageSlice, highest: int) -> tuple[int, ...]:
    if levels is None:
        return ()
    kept = levels[piece.first_entry : piece.last_entry]
    return tuple(int(np.count_nonzero(kept == level)) for level in range(highest + 1))
