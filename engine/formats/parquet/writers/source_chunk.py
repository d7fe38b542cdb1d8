"""A column chunk of a source, opened page by page: dictionary, indexes, decoded values.

What several parts need of it (its dictionary, its indexes) is read once a process and kept with
the file. Pages themselves are not kept. How chunks are made of them is the business of
:mod:`.writers.page_cut` and :mod:`.writers.build`.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import BadStructure
from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes import statistics as st
from engine.formats.parquet.bytes.chained import decode_chained
from engine.formats.parquet.bytes.codecs import decompress, is_lz4_block, lend_plain
from engine.formats.parquet.bytes.footer import Codec, Encoding, Leaf, Type, value
from engine.formats.parquet.bytes.one_page import as_ordered, decode_values
from engine.formats.parquet.bytes.page_index import ColumnIndex
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import (
    PageHeader,
    PageType,
    check_crc,
    is_packed,
    page_statistics,
)
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.opened import OpenChunk, OpenFile
from engine.formats.parquet.writers.chunk import NO_LIST_ENDS, ListEnds
from engine.model import Buffer
from engine.wording import counted

# Cut pages of a row group that are kept, of all columns: made row groups of a few thousand rows cut
# a page again and again.
_CUT_PAGES_BYTES = 6 << 20
_LIST_ENTRIES = 1 << 10  # that are compared at a cut


class SourceChunk:
    """A chunk of a source, with what is read of it at most once a process.

    Attributes:
        chunk: which one; ``file``, ``leaf``, ``entry`` and ``pages`` are its own.
        statistics: by the footer, None if it has none.
        column_index: None if there is none that may be true.
        value_bytes: see :meth:`.opened.OpenChunk.value_bytes`.
    """

    def __init__(self, chunk: OpenChunk) -> None:
        self.chunk = chunk
        self.file, self.leaf, self.entry = chunk.file, chunk.leaf, chunk.entry
        self.pages: PageMap = chunk.pages
        self.order = column_orders(chunk.file)[chunk.column]
        raw = value(self.entry.meta, spec.ColumnMetaData.STATISTICS)
        self.statistics: Struct | None = None if raw is None else spec.read(spec.Statistics, raw)
        self.column_index = chunk.column_index()
        if self.column_index is not None and not self._has_its_bounds(self.column_index):
            self.column_index = None
        self.value_bytes = chunk.value_bytes()
        self.is_indexed = self.entry.offset_index is not None and not self.pages.begins_inside_row
        self._dictionary: tuple[PageHeader, Any] | None = None
        self._reading_dictionary = threading.Lock()
        self._shared: dict[int, tuple[PageHeader, bytes]] = {}
        self._reading_shared = threading.Lock()
        self._cut: dict[int, _Opened] = {}
        self.is_chained = chunk.is_chained
        self._last_values: dict[int, bytes] = {}  # by page, where pages continue each other
        self._evidence: dict[bool, st.Evidence] = {}

    @cached_property
    def page_codec(self) -> int:
        """The codec of new pages: of LZ4, a name for several forms, the one that pages here have.

        There are readers of one form only, so that a chunk must not have two.
        """
        if self.entry.codec != Codec.LZ4 or not self.pages.num_pages:
            return self.entry.codec
        with self.chunk.at_page(0):
            header, body = self.chunk.page(None if self.pages.dictionary else 0)
        plain_bytes = header.uncompressed_bytes - header.level_bytes
        is_block = is_lz4_block(memoryview(body)[header.level_bytes :], plain_bytes)
        return Codec.LZ4_RAW if is_block else Codec.LZ4

    def _has_its_bounds(self, index: ColumnIndex) -> bool:
        """Whether the bounds in a column index agree with those of the chunk, if it has any."""
        return st.may_be_index_of(index, self.statistics, leaf=self.leaf, order=self.order)

    def dictionary(self) -> tuple[PageHeader, Any]:
        """Return the dictionary page's header and its values as an Arrow array."""
        # Parts on both sides of a cut may ask at once.
        with self._reading_dictionary, self.chunk.at_page():
            if self._dictionary is None:
                header, body = self.chunk.page(None)
                check_crc(_checked_dictionary(header), body)
                plain = decompress(self.entry.codec, body, header.uncompressed_bytes)
                values = decode_values(self.leaf, Encoding.PLAIN, plain, header.num_values)
                self._dictionary = header, values
            return self._dictionary

    def dictionary_header(self) -> PageHeader:
        """Return the dictionary page's header, without reading the values."""
        if self._dictionary is not None:
            return self._dictionary[0]
        with self.chunk.at_page():
            return _checked_dictionary(self.chunk.header(None))

    def open_page(self, number: int, start_row: int, stop_row: int) -> OpenPage:
        """Return what rows ``[start_row, stop_row)`` of the row group have of a page.

        Raises:
            BadPage: the page is damaged; the message names column, row group and page.
        """
        with self.chunk.at_page(number):
            base, end = self.pages.rows(number)
            opened = self._opened(number, is_cut=base < start_row or end > stop_row)
            kept = lv.slice_rows(
                opened.levels,
                # Entries that continue a row from the page before belong to an earlier row.
                -1 if base > start_row else start_row - base,
                max(0, min(stop_row, end) - base),
            )
        return OpenPage(self, number, opened, kept)

    def _opened(self, number: int, *, is_cut: bool) -> _Opened:
        """Return a page; one that is cut, and small, is kept for the rows beside these."""
        found = self._cut.get(number)
        if found is not None:
            self._shared.pop(number, None)  # whoever has this needs that no more
            return found
        header, body = self._read(number, is_cut=is_cut)
        if not header.is_data:
            raise BadStructure("not a data page")
        check_crc(header, body)
        levels, section = open_page(header, body, self.entry.codec, self.leaf)
        base, end = self.pages.rows(number)
        levels.check_rows(end - base)
        most_bytes = _CUT_PAGES_BYTES // (2 * len(self.file.footer.leaves))
        opened = _Opened(header, body, levels, section)
        if is_cut and opened.num_bytes <= most_bytes:
            opened.keeps_indices = True
            # Those at both ends of the rows asked for last.
            self._cut = dict([*self._cut.items(), (number, opened)][-2:])
        return opened

    def _read(self, number: int, *, is_cut: bool) -> tuple[PageHeader, bytes]:
        """Read a page; one that is cut is read once for both parts, from a store."""
        if not is_cut or not self.file.keeps_cut_page(self.pages.sizes[number]):
            return self.chunk.page(number)
        with self._reading_shared:
            found = self._shared.pop(number, None)
            if found is None:
                found = self._shared[number] = self.chunk.page(number)
            return found

    def open_whole_page(self, number: int) -> OpenPage:
        """Return all of a page; raises as :meth:`open_page`."""
        return self.open_page(number, -1, self.pages.num_rows)

    def bounds_of(self, values: Any) -> st.Bounds:
        """Return the exact bounds of an Arrow array of the column's values."""
        if not len(values):
            return st.EMPTY
        return st.bounds_of(as_ordered(self.leaf, values), self.order)

    def values(self, number: int, header: PageHeader, section: Buffer, num_values: int) -> Any:
        """Return all values of a page that uses no dictionary, as an Arrow array."""
        if not self.is_chained or header.encoding != Encoding.DELTA_BYTE_ARRAY:
            return decode_values(self.leaf, header.encoding, section, num_values)
        previous = self._last_value_before(number)
        array = decode_chained(self.leaf, bytes(section), num_values, previous)
        self._last_values[number] = array[-1].as_py() if num_values else previous
        return array

    def _last_value_before(self, number: int) -> bytes:
        """Return the value that a page continues: all pages before it are read for that, once."""
        known = max((page for page in list(self._last_values) if page < number), default=-1)
        for page in range(known + 1, number):
            header, body = self.chunk.page(page)
            levels, section = open_page(header, body, self.entry.codec, self.leaf)
            previous = self._last_values.get(page - 1, b"")
            if header.encoding == Encoding.DELTA_BYTE_ARRAY and levels.num_values:
                array = decode_chained(self.leaf, bytes(section), levels.num_values, previous)
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

    def bounds_by_index(self, start: int, stop: int, *, all_dictionary: bool = False) -> st.Bounds:
        """Return the bounds of pages by the column index, which must be there."""
        assert self.column_index is not None
        return st.bounds_of_pages(
            self.column_index,
            start,
            stop,
            leaf=self.leaf,
            order=self.order,
            evidence=self.evidence(all_dictionary=all_dictionary),
            chunk=self.statistics,
        )

    def bounds_by_header(self, header: PageHeader) -> st.Bounds:
        """Return the bounds of a page by the statistics in its header."""
        return st.bounds_of_page(
            page_statistics(header),
            header.num_values,
            leaf=self.leaf,
            order=self.order,
            evidence=self.evidence(all_dictionary=False),
        )

    def bounds_by_writer(self, number: int, header: PageHeader) -> st.Bounds:
        """Return the bounds of a page by whatever its writer left."""
        if self.column_index is not None:
            return self.bounds_by_index(number, number + 1)
        return self.bounds_by_header(header)


class _Opened:
    """A data page, decompressed.

    Attributes:
        keeps_indices: whether its dictionary indices are kept, once they are decoded.
    """

    __slots__ = ("_indices", "body", "header", "keeps_indices", "levels", "section")

    def __init__(
        self, header: PageHeader, body: bytes, levels: lv.PageLevels, section: Buffer
    ) -> None:
        self.header, self.body, self.levels, self.section = header, body, levels, section
        self.keeps_indices = False
        self._indices: lv.Indices | None = None

    @property
    def num_bytes(self) -> int:
        """What it takes, with its indices."""
        levels = self.levels
        arrays = [self.header.is_dictionary_encoded, levels.repetition, levels.definition]
        num_arrays = sum(each is not None and each is not False for each in arrays)
        return len(self.body) + len(self.section) + 4 * num_arrays * levels.num_entries

    def indices(self) -> lv.Indices:
        """Return all its dictionary indices."""
        found = self._indices
        if found is None:
            found = lv.decode_dictionary_indices(self.section, self.levels.num_values)[1]
            if self.keeps_indices:
                self._indices = found
        return found


class OpenPage(NamedTuple):
    """What is kept of a data page; ``kept`` says which entries are meant."""

    source: SourceChunk
    number: int
    opened: _Opened
    kept: lv.PageSlice

    @property
    def header(self) -> PageHeader:
        """Its header."""
        return self.opened.header

    @property
    def body(self) -> bytes:
        """The whole page's, as it lies in the file."""
        return self.opened.body

    @property
    def levels(self) -> lv.PageLevels:
        """Of the whole page."""
        return self.opened.levels

    @property
    def section(self) -> Buffer:
        """Values of the whole page, encoded; ``bytes`` if these are indices."""
        return self.opened.section

    @property
    def is_whole(self) -> bool:
        """Whether every entry is kept, and the page begins with a row."""
        starts = self.levels.repetition is None or not self.levels.repetition[0]
        return self.kept.num_entries == self.levels.num_entries and bool(starts)

    @property
    def continues_row(self) -> bool:
        """Whether its first entry kept belongs to a row that began before."""
        repetition = self.levels.repetition
        return repetition is not None and bool(repetition[self.kept.first_entry])

    def list_entries(self) -> ListEnds:
        """Return the first and the last entries kept, as all columns of the list have them."""
        leaf, levels = self.source.leaf, self.levels
        repetition, definition = levels.repetition, levels.definition
        if repetition is None or definition is None:
            return NO_LIST_ENDS
        first, last = self.kept.first_entry, self.kept.last_entry

        def told(start: int, stop: int) -> bytes:
            depths = np.minimum(definition[start:stop], leaf.list_definition).astype(np.uint16)
            return (depths * (leaf.max_repetition + 1) + repetition[start:stop]).tobytes()

        return told(first, min(last, first + _LIST_ENTRIES)), told(
            max(first, last - _LIST_ENTRIES), last
        )

    def indices(self) -> lv.Indices:
        """Return the dictionary indices that are kept."""
        return self.opened.indices()[self.kept.first_value : self.kept.last_value]

    def facts(self) -> tuple[st.Bounds, int]:
        """Return exact bounds of the values that are kept, and their bytes without lengths.

        Of a page of indices each value is looked at once: all may be more than memory holds.
        """
        source, num_nulls = self.source, self.kept.num_nulls
        if not self.header.is_dictionary_encoded or not self.kept.num_values:
            return facts_of(source, self.values(), num_nulls)
        with source.chunk.at_page(self.number):
            dictionary = source.dictionary()[1]
            counts = np.bincount(checked(self.indices(), len(dictionary)))
        used = np.flatnonzero(counts)
        entries = take(dictionary, used)
        bounds, num_bytes = facts_of(source, entries, num_nulls)
        if bounds.nan_count:  # which is to count all, and these are small
            return facts_of(source, self.values(), num_nulls)
        if source.leaf.physical is Type.BYTE_ARRAY:
            lengths = pc.binary_length(entries).to_numpy(zero_copy_only=False)
            num_bytes = int(np.dot(lengths.astype(np.int64), counts[used]))
        return bounds, num_bytes

    def values(self) -> Any:
        """Return the values that are kept, as an Arrow array."""
        source, header = self.source, self.header
        with source.chunk.at_page(self.number):
            if not self.kept.num_values:
                return decode_values(source.leaf, Encoding.PLAIN, b"", 0)
            if header.is_dictionary_encoded:
                return take(source.dictionary()[1], self.indices())
            every = source.values(self.number, header, self.section, self.levels.num_values)
            return every[self.kept.first_value : self.kept.last_value]


def facts_of(source: SourceChunk, array: Any, num_nulls: int) -> tuple[st.Bounds, int]:
    """Return exact bounds of decoded values, and their bytes without lengths."""
    num_bytes = 0
    if source.leaf.physical is Type.BYTE_ARRAY:
        num_bytes = pc.sum(pc.binary_length(array)).as_py() or 0
    return replace(source.bounds_of(array), null_count=num_nulls), num_bytes


def take(dictionary: Any, indices: Any) -> Any:
    """Return the entries of a dictionary at some indices, as an Arrow array.

    The indices are lent to Arrow: its own conversion of numpy arrays imports pandas, which takes
    longer than a whole cut.

    Raises:
        BadStructure: an index is behind the dictionary's end.
    """
    wanted = np.ascontiguousarray(checked(indices, len(dictionary)), np.uint32)
    array = pa.Array.from_buffers(pa.uint32(), len(wanted), [None, pa.py_buffer(wanted)])
    return dictionary.take(array)


def checked(indices: lv.Indices, num_entries: int) -> lv.Indices:
    """Return indices into a dictionary; raise BadStructure if one is behind its end."""
    if len(indices) and int(indices.max()) >= num_entries:
        raise BadStructure(
            f"index {int(indices.max())} into a dictionary of {counted(num_entries, 'value')}"
        )
    return indices


def _checked_dictionary(header: PageHeader) -> PageHeader:
    if header.type is not PageType.DICTIONARY:
        raise BadStructure("the first page is not the dictionary page it should be")
    return header


def source_chunk(chunk: OpenChunk) -> SourceChunk:
    """Return an opened chunk, kept with its row group until it is dropped."""
    return chunk.kept(SourceChunk, lambda: SourceChunk(chunk))


class ColumnOrders(tuple[st.Order, ...]):
    """How values of each column are compared."""


def column_orders(file: OpenFile) -> ColumnOrders:
    """Return how values of each column of a source are compared; kept with it."""

    def orders() -> ColumnOrders:
        told = value(file.footer.struct, spec.FileMetaData.COLUMN_ORDERS)
        return ColumnOrders(st.order_of(leaf, told) for leaf in file.footer.leaves)

    return file.kept(ColumnOrders, orders)


def open_page(
    header: PageHeader, body: bytes, codec: int, leaf: Leaf
) -> tuple[lv.PageLevels, Buffer]:
    """Return the levels of a data page and its values section, decompressed.

    Of a page of indices it is ``bytes``, which Python goes through; others are not copied.

    Raises:
        BadPage: the page is damaged.
    """
    is_v2 = header.type is PageType.DATA_V2
    plain = body if is_v2 else lend_plain(codec, body, header.uncompressed_bytes)
    levels = lv.read_levels(
        header, plain, max_repetition=leaf.max_repetition, max_definition=leaf.max_definition
    )
    values: Buffer = memoryview(plain)[levels.values_offset :]
    if is_v2 and is_packed(header, len(values), codec):
        values = lend_plain(codec, values, header.uncompressed_bytes - header.level_bytes)
    return levels, bytes(values) if header.is_dictionary_encoded else memoryview(values)
