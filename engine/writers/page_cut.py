"""Cut a column chunk at two rows: copy whole pages, rewrite the one page at each cut.

    chunk of a part = [dictionary page, if a page kept uses it]
                      + [rows behind the cut of the page at the left cut]
                      + [whole pages, copied]
                      + [rows before the cut of the page at the right cut]

A rewritten page keeps its version, encoding, codec and (if dictionary-encoded) dictionary: its
levels are sliced, its values sliced or its dictionary indices sliced, and it is compressed again.
Page encodings therefore never change order within a chunk, which some readers do not survive. Where
pages continue each other (:func:`engine.page_maps.chains_pages`), all pages before a cut are read
for the one value that the page at the cut continues, and that page is made to stand alone.

Statistics of the new chunk are exact or absent: they are put together from the column index or the
page headers (whole pages) and from the values of rewritten pages. Source: parquet.thrift and
PageIndex.md of apache/parquet-format; :mod:`engine.format.statistics` says when a bound is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import BadStructure
from engine.format import levels as lv
from engine.format import statistics as st
from engine.format import thrift
from engine.format.chained import decode_chained
from engine.format.codecs import compress, decompress
from engine.format.footer import ColumnChunk, Encoding, Leaf, Range, Type, value
from engine.format.one_page import as_ordered, decode_values, encode_values
from engine.format.page_index import ColumnIndex, OffsetIndex, PageEntry, PageLocation
from engine.format.page_map import PageMap
from engine.format.pages import PageHeader, PageType, check_crc, page_statistics, rewritten_header
from engine.format.thrift import I64, LIST, Struct
from engine.layout import OpenFile
from engine.page_maps import (
    Headers,
    at_page,
    chains_pages,
    page_maps,
    read_header,
    read_headers,
    read_page,
)
from engine.writers.chunk import NewChunk

_MOST_DECODED_PAGES = 8  # of a chunk, for its exact bounds; mostly two are enough
_DICTIONARY_ENCODINGS = (Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY)


def cut_by_pages(
    file: OpenFile,
    row_group: int,
    leaf: Leaf,
    start_row: int,
    stop_row: int,
    *,
    most_decoded_bytes: int = 0,
) -> NewChunk:
    """Make the column chunk that holds rows ``[start_row, stop_row)`` of a row group's chunk.

    ``most_decoded_bytes``: whole pages up to this size together may be decoded to have exact
    bounds, where the column index does not give them.

    Raises:
        BadPage: a page at a cut is damaged; the message names column, row group and page.
        Unsupported: a page at a cut uses a codec or encoding that cannot be rewritten.
    """
    with at_page(file, row_group, leaf):
        source = _source_chunk(file, row_group, leaf)
        return _Cut(source, start_row, stop_row, most_decoded_bytes).make()


class _SourceChunk:
    """A chunk that is cut, with what is read of it at most once a process."""

    def __init__(self, file: OpenFile, row_group: int, leaf: Leaf) -> None:
        self.file = file
        self.row_group = row_group
        self.leaf = leaf
        self.chunk: ColumnChunk = file.row_group(row_group).columns[leaf.index]
        self.pages: PageMap = page_maps(file, row_group)[leaf.index]
        self.order = st.order_of(leaf, value(file.footer.struct, 7))
        raw = value(self.chunk.meta, 12)
        self.statistics: Struct | None = thrift.decode(raw)[0] if raw is not None else None
        self.column_index = self._column_index()
        self.value_bytes = self._value_bytes()
        self.is_indexed = self.chunk.offset_index is not None and not self.pages.begins_inside_row
        self._dictionary: tuple[PageHeader, Any] | None = None
        self.is_chained = chains_pages(file.footer.created_by, self.chunk)
        self._last_values: dict[int, bytes] = {}  # by page, where pages continue each other
        self._evidence: dict[bool, st.Evidence] = {}

    def _column_index(self) -> ColumnIndex | None:
        where = self.chunk.column_index
        if where is None:
            return None
        try:
            index = ColumnIndex.decode(self.file.source.read(where.offset, where.length))
        except BadStructure:
            return None  # a damaged index proves nothing; the part goes without
        return index if index.num_pages == self.pages.num_pages else None

    def _value_bytes(self) -> tuple[int, ...] | None:
        where = self.chunk.offset_index
        if where is None or self.leaf.physical is not Type.BYTE_ARRAY:
            return None
        try:
            index = OffsetIndex.decode(self.file.source.read(where.offset, where.length))
        except BadStructure:
            return None
        return index.unencoded_bytes if len(index.locations) == self.pages.num_pages else None

    def dictionary(self) -> tuple[PageHeader, Any]:
        """Return the dictionary page's header and its values as an Arrow array."""
        if self._dictionary is None:
            where = self.pages.dictionary
            if where is None:
                raise BadStructure("a page uses a dictionary, and there is none")
            header, body = read_page(self.file, where)
            if header.type is not PageType.DICTIONARY:
                raise BadStructure("the first page is not the dictionary page it should be")
            check_crc(header, body)
            plain = decompress(self.chunk.codec, body, header.uncompressed_bytes)
            values = decode_values(self.leaf, Encoding.PLAIN, plain, header.num_values)
            self._dictionary = header, values
        return self._dictionary

    def values(self, number: int, header: PageHeader, section: bytes, num_values: int) -> Any:
        """Return all values of a page that uses no dictionary, as an Arrow array."""
        if not self.is_chained or header.encoding != Encoding.DELTA_BYTE_ARRAY:
            return decode_values(self.leaf, header.encoding, section, num_values)
        previous = self._last_value_before(number)
        array = decode_chained(self.leaf, section, num_values, previous)
        self._last_values[number] = array[-1].as_py() if num_values else previous
        return array

    def _last_value_before(self, number: int) -> bytes:
        """Return the value that a page continues: all pages before it are read for that, once."""
        known = max((page for page in list(self._last_values) if page < number), default=-1)
        for page in range(known + 1, number):
            header, body = read_page(self.file, self.pages.page(page))
            levels, section = open_page(header, body, self.chunk.codec, self.leaf)
            previous = self._last_values.get(page - 1, b"")
            if header.encoding == Encoding.DELTA_BYTE_ARRAY and levels.num_values:
                array = decode_chained(self.leaf, section, levels.num_values, previous)
                previous = array[-1].as_py()
            self._last_values[page] = previous
        return self._last_values.get(number - 1, b"")

    def evidence(self, *, all_dictionary: bool) -> st.Evidence:
        """Return what is known about shortened bounds of pages, dictionary-encoded or not."""
        found = self._evidence.get(all_dictionary)
        if found is None:
            longest = None
            if all_dictionary and self.leaf.physical is Type.BYTE_ARRAY:
                longest = pc.max(pc.binary_length(self.dictionary()[1])).as_py()
            created_by = self.file.footer.created_by
            found = st.evidence_of(self.column_index, created_by, longest)
            self._evidence[all_dictionary] = found
        return found


def _source_chunk(file: OpenFile, row_group: int, leaf: Leaf) -> _SourceChunk:
    chunks: dict[int, _SourceChunk] = file.notes.setdefault(("cut chunks", row_group), {})
    found = chunks.get(leaf.index)
    if found is None:
        found = chunks[leaf.index] = _SourceChunk(file, row_group, leaf)
    return found


@dataclass
class _Rewritten:
    """A rewritten page: its bytes, and what is true of the rows that it keeps."""

    page: int
    data: bytes
    uncompressed_bytes: int
    encoding: int
    type: PageType
    num_values: int
    bounds: st.Bounds
    value_bytes: int | None
    repetition_histogram: tuple[int, ...]
    definition_histogram: tuple[int, ...]

    @property
    def has_values(self) -> bool:
        """Whether any entry is not null."""
        return self.num_values != self.bounds.null_count


def _is_known(bounds: st.Bounds) -> bool:
    return bounds.is_empty or (bounds.is_min_exact and bounds.is_max_exact)


class _Cut:
    """One cut chunk: rows ``[start_row, stop_row)``, pages ``[first, last)`` copied whole."""

    def __init__(
        self, source: _SourceChunk, start_row: int, stop_row: int, most_decoded_bytes: int
    ) -> None:
        self.source = source
        self.most_decoded_bytes = most_decoded_bytes
        self.start_row = start_row
        self.stop_row = stop_row

    def make(self) -> NewChunk:
        pages = self.source.pages
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
        headers = read_headers(self.source.file, pages, first, last)
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
        source = self.source
        with at_page(source.file, source.row_group, source.leaf, number):
            header, body = read_page(source.file, source.pages.page(number))
            if not header.is_data:
                raise BadStructure("not a data page")
            check_crc(header, body)
            levels, values = open_page(header, body, source.chunk.codec, source.leaf)
            base = source.pages.first_rows[number]
            end = source.pages.rows(number)[1]
            piece = lv.slice_rows(
                levels,
                # Entries that continue a row from the page before belong to an earlier row.
                -1 if base > self.start_row else self.start_row - base,
                min(self.stop_row, end) - base,
            )
            return self._rewritten(number, header, levels, values, piece)

    def _rewritten(
        self,
        number: int,
        header: PageHeader,
        levels: lv.PageLevels,
        values: bytes,
        piece: lv.PageSlice,
    ) -> _Rewritten:
        source, leaf = self.source, self.source.leaf
        section, array = self._cut_values(number, header, levels, values, piece)
        encoding = header.encoding
        if array is None and not header.is_dictionary_encoded:
            encoding = int(Encoding.PLAIN)  # delta encodings have a header even without values
        data, uncompressed_bytes = build_page(
            header, levels, piece, section, source.chunk.codec, leaf, encoding
        )
        bounds = st.EMPTY if array is None else st.bounds_of(as_ordered(leaf, array), source.order)
        value_bytes = None
        if leaf.physical is Type.BYTE_ARRAY and array is not None:
            value_bytes = pc.sum(pc.binary_length(array)).as_py() or 0
        return _Rewritten(
            page=number,
            data=data,
            uncompressed_bytes=uncompressed_bytes,
            encoding=encoding,
            type=header.type,
            num_values=piece.num_entries,
            bounds=replace(bounds, null_count=piece.num_nulls),
            value_bytes=value_bytes if array is not None else 0,
            repetition_histogram=_histogram(levels.repetition, piece, leaf.max_repetition),
            definition_histogram=_histogram(levels.definition, piece, leaf.max_definition),
        )

    def _cut_values(
        self,
        number: int,
        header: PageHeader,
        levels: lv.PageLevels,
        values: bytes,
        piece: lv.PageSlice,
    ) -> tuple[bytes, Any | None]:
        """Return the values section of what is kept, and the values (None if there are none)."""
        array = self._values(number, header, levels, values, piece)
        if header.is_dictionary_encoded:
            first, last = piece.first_value, piece.last_value
            return lv.slice_dictionary_indices(values, levels.num_values, first, last), array
        section = b"" if array is None else encode_values(self.source.leaf, header.encoding, array)
        return section, array

    def _values(
        self,
        number: int,
        header: PageHeader,
        levels: lv.PageLevels,
        values: bytes,
        piece: lv.PageSlice,
    ) -> Any | None:
        """Return the values of some entries of a page, None if they have none."""
        first, last = piece.first_value, piece.last_value
        if first == last:
            return None
        if not header.is_dictionary_encoded:
            return self.source.values(number, header, values, levels.num_values)[first:last]
        kept = lv.decode_dictionary_indices(values, levels.num_values)[1][first:last]
        dictionary = self.source.dictionary()[1]
        if int(kept.max()) >= len(dictionary):
            raise BadStructure(
                f"index {int(kept.max())} into a dictionary of {len(dictionary)} values"
            )
        return dictionary.take(_arrow_indices(kept))

    # -- the chunk -------------------------------------------------------------------------------

    def _assemble(
        self,
        left: Sequence[_Rewritten],
        whole: tuple[int, int],
        headers: Headers,
        right: Sequence[_Rewritten],
    ) -> NewChunk:
        source = self.source
        rewritten = [*left, *right]
        encodings = Counter(zip(headers.page_types, headers.encodings, strict=True))
        encodings.update((page.type, page.encoding) for page in rewritten)
        uses_dictionary = any(encoding in _DICTIONARY_ENCODINGS for _, encoding in encodings)
        extents: list[Range | bytes] = []
        uncompressed_bytes = headers.uncompressed_bytes
        uncompressed_bytes += sum(page.uncompressed_bytes for page in rewritten)
        stats = [(int(kind), encoding, count) for (kind, encoding), count in encodings.items()]
        if uses_dictionary:
            header, _ = source.dictionary()
            assert source.pages.dictionary is not None
            extents.append(source.pages.dictionary)
            uncompressed_bytes += header.uncompressed_bytes + header.header_bytes
            stats.insert(0, (int(PageType.DICTIONARY), header.encoding, 1))
        position = source.pages.dictionary.length if uses_dictionary else 0  # type: ignore[union-attr]
        first_data_page = position
        locations = self._locations(position, left, whole, right)
        extents += [page.data for page in left]
        if whole[0] < whole[1]:
            extents.append(source.pages.pages(*whole))
        extents += [page.data for page in right]
        reencoded_bytes = sum(len(page.data) for page in rewritten)
        return NewChunk(
            extents=extents,
            num_values=sum(headers.num_values) + sum(page.num_values for page in rewritten),
            uncompressed_bytes=uncompressed_bytes,
            first_data_page=first_data_page,
            has_dictionary=uses_dictionary,
            encodings=self._encodings(encodings, uses_dictionary=uses_dictionary),
            encoding_stats=stats,
            statistics=self._statistics(left, whole, right, encodings),
            pages=locations if source.is_indexed else None,
            column_index=self._column_index(left, whole, right) if source.is_indexed else None,
            page_value_bytes=self._page_value_bytes(left, whole, right),
            size_statistics=self._size_statistics(left, whole, right),
            reencoded_bytes=reencoded_bytes,
        )

    def _encodings(self, used: Counter[tuple[int, int]], *, uses_dictionary: bool) -> list[int]:
        """Return the source's list, without dictionaries if there is none, with what is new."""
        kept = [
            encoding
            for encoding in self.source.chunk.encodings
            if uses_dictionary or encoding not in _DICTIONARY_ENCODINGS
        ]
        return list(dict.fromkeys([*kept, *(encoding for _, encoding in used)]))

    def _locations(
        self,
        position: int,
        left: Sequence[_Rewritten],
        whole: tuple[int, int],
        right: Sequence[_Rewritten],
    ) -> list[PageLocation]:
        pages = self.source.pages
        found = []
        for page in left:
            found.append(PageLocation(position, len(page.data), 0))
            position += len(page.data)
        if whole[0] < whole[1]:
            shift = position - pages.offsets[whole[0]]
            found += [
                PageLocation(
                    pages.offsets[number] + shift,
                    pages.sizes[number],
                    pages.first_rows[number] - self.start_row,
                )
                for number in range(*whole)
            ]
            position += pages.pages(*whole).length
        for page in right:
            first_row = max(0, pages.first_rows[page.page] - self.start_row)
            found.append(PageLocation(position, len(page.data), first_row))
            position += len(page.data)
        return found

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
        bounds = [page.bounds for page in (*left, *right)]
        if whole[0] < whole[1]:
            bounds.append(self._whole_bounds(whole, encodings))
        return st.chunk_statistics(source.statistics, st.merge(bounds, source.order), source.order)

    def _whole_bounds(
        self, whole: tuple[int, int], encodings: Counter[tuple[int, int]]
    ) -> st.Bounds:
        source = self.source
        all_dictionary = all(encoding in _DICTIONARY_ENCODINGS for _, encoding in encodings)
        if source.column_index is not None:
            found = self._bounds_by_index(*whole, all_dictionary=all_dictionary)
        else:
            found = self._bounds_by_headers(whole)
        if not _is_known(found) and source.order is not st.Order.UNDEFINED:
            if source.column_index is not None:
                found = self._sharpened(whole, all_dictionary=all_dictionary)
            num_bytes = source.pages.pages(*whole).length
            if not _is_known(found) and num_bytes <= self.most_decoded_bytes:
                found = st.merge(
                    (self._decoded_bounds(page) for page in range(*whole)), source.order
                )
        return found

    def _bounds_by_index(self, start: int, stop: int, *, all_dictionary: bool) -> st.Bounds:
        source = self.source
        assert source.column_index is not None
        return st.bounds_of_pages(
            source.column_index,
            start,
            stop,
            leaf=source.leaf,
            order=source.order,
            evidence=source.evidence(all_dictionary=all_dictionary),
            chunk=source.statistics,
        )

    def _sharpened(self, whole: tuple[int, int], *, all_dictionary: bool) -> st.Bounds:
        """Return the bounds of whole pages by the index, a few decoded where they reach furthest.

        If the least value of the page with the least bound is below the bounds of all others, it is
        the least of all.
        """
        pages = {
            page: self._bounds_by_index(page, page + 1, all_dictionary=all_dictionary)
            for page in range(*whole)
        }
        found = st.merge(pages.values(), self.source.order)
        for _ in range(_MOST_DECODED_PAGES):
            if _is_known(found) or found.min is None or found.max is None:
                break
            at_edge = (
                page
                for page, bounds in pages.items()
                if (bounds.min == found.min and not found.is_min_exact)
                or (bounds.max == found.max and not found.is_max_exact)
            )
            page = next(at_edge)
            pages[page] = self._decoded_bounds(page)
            found = st.merge(pages.values(), self.source.order)
        return found

    def _bounds_by_headers(self, whole: tuple[int, int]) -> st.Bounds:
        """Return the bounds of whole pages by their own statistics, as far as all have them."""
        source = self.source
        every = []
        for number in range(*whole):
            header = read_header(source.file, source.pages.page(number))
            bounds = st.bounds_of_page(
                page_statistics(header),
                header.num_values,
                leaf=source.leaf,
                order=source.order,
                evidence=source.evidence(all_dictionary=False),
            )
            if bounds == st.UNKNOWN:
                return st.Bounds(null_count=None if source.leaf.max_definition else 0)
            every.append(bounds)
        return st.merge(every, source.order)

    def _decoded_bounds(self, number: int) -> st.Bounds:
        """Return the bounds of a whole page by its values."""
        source, leaf = self.source, self.source.leaf
        with at_page(source.file, source.row_group, leaf, number):
            header, body = read_page(source.file, source.pages.page(number))
            levels, values = open_page(header, body, source.chunk.codec, leaf)
            everything = lv.PageSlice(0, levels.num_entries, 0, levels.num_values)
            array = self._values(number, header, levels, values, everything)
            bounds = st.EMPTY
            if array is not None:
                bounds = st.bounds_of(as_ordered(leaf, array), source.order)
            return replace(bounds, null_count=everything.num_nulls)

    def _column_index(
        self, left: Sequence[_Rewritten], whole: tuple[int, int], right: Sequence[_Rewritten]
    ) -> bytes | None:
        index = self.source.column_index
        if index is None:
            return None
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
            *(page.value_bytes or 0 for page in left),
            *sizes[whole[0] : whole[1]],
            *(page.value_bytes or 0 for page in right),
        ]

    def _size_statistics(
        self, left: Sequence[_Rewritten], whole: tuple[int, int], right: Sequence[_Rewritten]
    ) -> Struct | None:
        raw = value(self.source.chunk.meta, 16)
        if raw is None:
            return None
        fields = thrift.decode(raw)[0]
        struct: Struct = {}
        sizes = self._page_value_bytes(left, whole, right)
        if 1 in fields and sizes is not None:
            struct[1] = (I64, sum(sizes))
        index = self.source.column_index
        known = index is not None or whole[0] == whole[1]
        for field, name in ((2, "repetition_histogram"), (3, "definition_histogram")):
            if field not in fields or not known or not value(fields, field).items:
                continue
            entries = index.entries(*whole) if index is not None else []
            items = [getattr(entry, name) for entry in (*left, *entries, *right)]
            if all(items):
                totals = [sum(column) for column in zip(*items, strict=True)]
                struct[field] = (LIST, thrift.Sequence(I64, totals))
        return struct or None


def _arrow_indices(indices: lv.Indices) -> pa.Array:
    """Return indices as an Arrow array over the same memory.

    Arrow's own conversion of numpy arrays imports pandas, which takes longer than a whole cut.
    """
    contiguous = np.ascontiguousarray(indices, np.uint32)
    return pa.Array.from_buffers(pa.uint32(), len(indices), [None, pa.py_buffer(contiguous)])


def _cut_entry(index: ColumnIndex, page: _Rewritten) -> PageEntry:
    """Return the column index entry of a rewritten page: bounds as before, counts as now."""
    (entry,) = index.entries(page.page, page.page + 1)
    is_null = entry.is_null or page.bounds.null_count == page.num_values
    return PageEntry(
        is_null=is_null,
        min=b"" if is_null else entry.min,
        max=b"" if is_null else entry.max,
        null_count=page.bounds.null_count,
        repetition_histogram=page.repetition_histogram or None,
        definition_histogram=page.definition_histogram or None,
        nan_count=page.bounds.nan_count,
    )


def _histogram(levels: Any | None, piece: lv.PageSlice, highest: int) -> tuple[int, ...]:
    if levels is None:
        return ()
    counts = np.bincount(levels[piece.first_entry : piece.last_entry], minlength=highest + 1)
    return tuple(counts.tolist())


def open_page(
    header: PageHeader, body: bytes, codec: int, leaf: Leaf
) -> tuple[lv.PageLevels, bytes]:
    """Return the levels of a data page and its values section, decompressed.

    Raises:
        BadPage: the page is damaged.
    """
    is_v2 = header.type is PageType.DATA_V2
    plain = body if is_v2 else decompress(codec, body, header.uncompressed_bytes)
    levels = lv.read_levels(
        header, plain, max_repetition=leaf.max_repetition, max_definition=leaf.max_definition
    )
    values = plain[levels.values_offset :]
    if is_v2 and header.is_compressed:
        values = decompress(codec, values, header.uncompressed_bytes - header.level_bytes)
    return levels, values


def build_page(
    header: PageHeader,
    levels: lv.PageLevels,
    piece: lv.PageSlice,
    values: bytes,
    codec: int,
    leaf: Leaf,
    encoding: int,
) -> tuple[bytes, int]:
    """Return a page of some entries of another: header and body, and its uncompressed bytes.

    Args:
        header: of the source page: version and checksum habit are kept.
        levels: of the source page.
        piece: which entries are kept.
        values: the values section of these, before compression.
        codec: of the chunk.
        leaf: the column.
        encoding: of the values.
    """
    sections = lv.write_levels(
        levels, piece.first_entry, piece.last_entry, max_repetition=leaf.max_repetition
    )
    if header.type is PageType.DATA:
        plain = sections.v1() + values
        body = compress(codec, plain)
        head = rewritten_header(
            header,
            body,
            uncompressed_bytes=len(plain),
            num_values=piece.num_entries,
            encoding=encoding,
        )
        return head + body, len(head) + len(plain)
    is_compressed = header.is_compressed and len(values) > 0
    packed = compress(codec, values) if is_compressed else values
    body = sections.v2() + packed
    uncompressed_bytes = len(sections.v2()) + len(values)
    num_rows = piece.num_entries
    if levels.repetition is not None:
        kept = levels.repetition[piece.first_entry : piece.last_entry]
        num_rows -= int(np.count_nonzero(kept))
    head = rewritten_header(
        header,
        body,
        uncompressed_bytes=uncompressed_bytes,
        num_values=piece.num_entries,
        num_rows=num_rows,
        num_nulls=piece.num_nulls,
        rep_level_bytes=sections.rep_level_bytes,
        def_level_bytes=sections.def_level_bytes,
        encoding=encoding,
        is_compressed=is_compressed,
    )
    return head + body, len(head) + uncompressed_bytes
