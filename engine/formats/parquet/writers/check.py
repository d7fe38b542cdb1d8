"""Check a part before it is published, as a reader would: by its own footer, indexes and pages.

The footer's bytes are read again, and so is the header of every page where the part lies, also of
pages that were copied. What must hold:

* Row groups have the rows of their pieces. Ordinals are given by all or none, bounds of a column by
  all row groups that have values, or by none; bounds are as wide as values that have a width.
* Chunks lie between the magic and the indexes, and not in each other.
* From a chunk's beginning page follows page, by offset index and by headers. The first, and no
  other, may be a dictionary, and is one where a page uses one.
* Values of pages are the chunk's; rows of pages are the row group's, where headers tell them: of
  flat columns, and of V2 pages. Other columns have an entry a row at least, and columns of one list
  as many as each other where the row group was made.
* An offset index lists these pages and their rows, a column index as many.

Of a chunk that was made here all numbers must be true besides: sizes before compression, page
offsets, encodings, pages counted by encoding. One that was copied may say there what its source
said: readers do not depend on it. An index that was copied and is not true is left out, for readers
do depend on it, and do well without.

Where the source breaks the same rule it is to blame, else this program. In stores, where to read a
header takes a request, pages are not looked at; what footer and indexes prove is checked there too.

Not covered: page bodies (:mod:`.verifier` reads them), levels of V1 pages, Bloom filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from engine.errors import BadPage, BadStructure, InternalError
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import ChunkTable, Numbers
from engine.formats.parquet.bytes.footer import (
    DICTIONARY_ENCODINGS,
    MAGIC,
    Footer,
    Leaf,
    Type,
    value,
)
from engine.formats.parquet.bytes.header_table import HeaderTable, read_header_table, walk_headers
from engine.formats.parquet.bytes.page_index import OffsetIndex
from engine.formats.parquet.bytes.page_map import map_from_index
from engine.formats.parquet.bytes.page_table import PageTable, read_page_table
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.statistics import bound_width
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.opened import OpenChunk
from engine.formats.parquet.writers.chunk import Piece
from engine.formats.parquet.writers.lists import columns_of_lists
from engine.storage import PartSink
from engine.wording import counted

Flags = npt.NDArray[np.bool_]

_V = rb"[\x80-\xff]*[\x00-\x7f]"
# Statistics that begin with a maximum of either kind, or have one behind what they count.
_BOUNDED = re.compile(rb"[\x18\x58]|\x36" + _V + rb"(?:\x28|\x16" + _V + rb"\x18)")
_BOUNDS = (
    spec.Statistics.MAX,
    spec.Statistics.MIN,
    spec.Statistics.MAX_VALUE,
    spec.Statistics.MIN_VALUE,
)

_FEW_CHUNKS = 16  # fewer headers than this are read one by one sooner than together
_MAX_SHORT = 127  # a length of one byte
_FLOAT16 = spec.LogicalType.FLOAT16


@dataclass(frozen=True)
class Written:
    """A part that is whole but for its footer.

    Attributes:
        sink: where it was written.
        footer: as it will be written.
        table: its numbers; or why they, or what row groups say of themselves, cannot be read.
        data_end: where the last column chunk ends.
        pieces: what each row group holds.
        is_copied: whether the chunks of each row group are a source's as they are.
        indexes: page indexes, by where they lie.
    """

    sink: PartSink
    footer: Footer
    table: ChunkTable | BadStructure
    data_end: int
    pieces: Sequence[Sequence[Piece]]
    is_copied: Sequence[bool]
    indexes: Mapping[int, bytes]


def check_part(written: Written) -> list[int]:
    """Check a part.

    Returns:
        Chunks whose page indexes, copied, contradict the pages and are to be left out; counted
        through row groups and columns.

    Raises:
        BadPage: a source is damaged; the message names file, column, row group, and page.
        InternalError: this program has made a mistake.
    """
    try:
        if isinstance(written.table, BadStructure):
            raise written.table
        part = _Part(written, written.table)
    except BadStructure as error:
        _blame_footers(written, error)
    part.check_groups()
    part.check_places()
    lying = part.check_indexes()
    if part.is_readable and part.num_chunks:
        lying |= part.check_pages()
    return np.flatnonzero(lying).tolist()


@cache
def _bounds_of(width: int) -> re.Pattern[bytes]:
    """Return what usual statistics match whose bounds have a width; others are to be decoded."""
    if width > _MAX_SHORT:
        return re.compile(rb"(?!)")
    bound = rb"[\x18\x28\x38\x48\x58\x68]%b.{%d}" % (re.escape(bytes([width])), width)
    count, flag = rb"[\x16\x26\x36\x46\x66]" + _V, rb"[\x11\x12\x21\x22]"
    return re.compile(rb"(?:%b|%b|%b)*\x00" % (bound, count, flag), re.DOTALL)


def _has_width(statistics: bytes | Struct, width: int) -> bool:
    found = statistics if isinstance(statistics, dict) else spec.read(spec.Statistics, statistics)
    for pair in (_BOUNDS[:2], _BOUNDS[2:]):
        # Of a chunk of nulls some writers give empty bounds; one alone readers cannot decode.
        lengths = {len(value(found, field)) for field in pair if field in found}
        if lengths not in (set(), {0}, {width}):
            return False
    return True


def _blame_footers(written: Written, error: BadStructure) -> NoReturn:
    """Blame a source whose footer says what was copied of it, else ourselves."""
    for piece in chain.from_iterable(written.pieces):
        for chunk in piece.group.chunks():
            with chunk.at_page():
                spec.read(spec.ColumnChunk, thrift.encode(chunk.entry.struct))
    raise InternalError(f"a part's footer cannot be read: {error}") from error


class _Pages(NamedTuple):
    """Pages of some chunks, in order: the chunk of each, its position, and its header."""

    chunks: Numbers
    offsets: Numbers
    headers: HeaderTable


class _Sums(NamedTuple):
    """What the pages of each chunk come to; ``rows`` only where ``knows_rows``.

    ``ends``: behind the last page; ``first_data``: where the first data page lies.
    """

    num_pages: Numbers
    num_values: Numbers
    num_rows: Numbers
    uncompressed_bytes: Numbers
    ends: Numbers
    first_data: Numbers
    num_dictionary_pages: Numbers
    has_dictionary: Flags
    knows_rows: Flags


class _Part:
    """The arrays of a part's chunks, row group after row group."""

    def __init__(self, written: Written, table: ChunkTable) -> None:
        self.written = written
        self.footer = written.footer
        self.leaves: Sequence[Leaf] = self.footer.leaves
        self.table = table
        self.num_columns = len(self.leaves)
        self.num_chunks = table.num_values.size
        self.starts = table.starts.ravel()
        self.lengths = table.compressed_bytes.ravel()
        self.ends = self.starts + self.lengths
        self.num_values = table.num_values.ravel()
        self.num_rows = np.repeat(table.num_rows, self.num_columns)
        self.is_made = np.repeat(~np.array(written.is_copied, bool), self.num_columns)
        is_flat = np.array([leaf.max_repetition == 0 for leaf in self.leaves], bool)
        self.is_flat = np.tile(is_flat, len(table.num_rows))
        self.offset_indexes = self._indexes(table.offset_index_offsets, table.offset_index_bytes)
        self.column_indexes = self._indexes(table.column_index_offsets, table.column_index_bytes)
        self.places = read_page_table(self.offset_indexes, self.starts, self.lengths, self.num_rows)
        self.is_readable = written.sink.read_back([], 1) is not None

    def _indexes(self, offsets: Numbers, lengths: Numbers) -> list[bytes]:
        """Return the bytes of each chunk's index, as they were written where the footer says."""
        found = []
        for at, length in zip(offsets.ravel().tolist(), lengths.ravel().tolist(), strict=True):
            data = self.written.indexes.get(at, b"") if length else b""
            if len(data) != length:
                raise BadStructure(f"no page index of {length} bytes was written at byte {at}")
            found.append(data)
        return found

    # -- the footer ------------------------------------------------------------------------------

    def check_groups(self) -> None:
        """Check rows, ordinals and bounds of all row groups."""
        table = self.table
        wanted = [sum(piece.num_rows for piece in pieces) for pieces in self.written.pieces]
        if table.num_rows.tolist() != wanted or self.footer.num_rows != sum(wanted):
            raise InternalError("a part's footer claims other rows than were written")
        given = table.ordinals >= 0
        if given.any() and (table.ordinals != np.arange(len(given))).any():
            raise InternalError("row groups of a part do not all have their ordinals, or others")
        without = [
            [not (data and _BOUNDED.match(data)) for data in group] for group in table.statistics
        ]
        half_known = np.array(without, bool).reshape(-1, self.num_columns)
        for column in np.flatnonzero(half_known.any(axis=0) & ~half_known.all(axis=0)):
            self._check_bounds(int(column))
        self._check_widths()
        self._check_lists()

    def _check_lists(self) -> None:
        """Check that columns of one list, a map's keys and values say, have as many entries.

        A page that was cut at other entries than its neighbour shows that their levels differ.
        """
        for leaves in columns_of_lists(self.leaves):
            columns = [leaf.index for leaf in leaves]
            entries = self.table.num_values[:, columns]
            for group, place in np.argwhere(entries != entries[:, :1]).tolist():
                if not self.written.is_copied[group]:
                    told = f"{entries[group, place]} entries in rows that are cut"
                    first = f"{self.leaves[columns[0]].name}, of the same list, {entries[group, 0]}"
                    with self.written.pieces[group][0].group.chunk(columns[place]).at_page():
                        raise BadPage(f"the chunk has {told}, and {first}")

    def _check_widths(self) -> None:
        """Check that bounds are as wide as values: readers fail on others."""
        for column, leaf in enumerate(self.leaves):
            width = bound_width(leaf)
            if width is None:
                continue
            usual = _bounds_of(width)
            for group, told in enumerate(self.table.statistics):
                if told[column] and not usual.fullmatch(told[column]):
                    self._check_width(group, column, width)

    def _check_width(self, group: int, column: int, width: int) -> None:
        """Check the bounds of a chunk whose statistics have an unusual form."""
        if _has_width(self.table.statistics[group][column], width):
            return
        leaf = self.leaves[column]
        for piece in self.written.pieces[group]:
            chunk = piece.group.chunk(column)
            told = value(chunk.entry.meta, spec.ColumnMetaData.STATISTICS)
            if told is not None and not _has_width(told, width):
                with chunk.at_page():
                    raise BadPage(f"the chunk has bounds of another width than {width} bytes")
        raise InternalError(f"column {leaf.name}, row group {group} of a part: bounds of no width")

    def _check_bounds(self, column: int) -> None:
        """Check the bounds of a column that some row groups seem not to have."""
        leaf = self.leaves[column]
        if leaf.physical in (Type.FLOAT, Type.DOUBLE) or leaf.logical_type == _FLOAT16:
            return  # where all values are NaN there is nothing to bound, and seldom is it told
        known = set()
        for group, told in enumerate(self.table.statistics):
            found = spec.read(spec.Statistics, told[column]) if told[column] else {}
            nulls = value(found, spec.Statistics.NULL_COUNT)
            if nulls != self.table.num_values[group, column]:  # else there is nothing to bound
                known.add(any(field in found for field in _BOUNDS))
        if len(known) > 1:
            raise InternalError(f"column {leaf.name} has bounds in some row groups of a part only")

    def check_places(self) -> None:
        """Check that chunks lie where data lies, each for itself."""
        outside = (self.starts < len(MAGIC)) | (self.ends > self.written.data_end)
        self._fail(outside & (self.lengths > 0), "lies outside the part's data")
        order = np.argsort(self.starts, kind="stable")
        inside = np.zeros(self.num_chunks, bool)
        inside[order[1:]] = self.starts[order[1:]] < np.maximum.accumulate(self.ends[order])[:-1]
        self._fail(inside & (self.lengths > 0), "lies in another chunk")

    def check_indexes(self) -> Flags:
        """Check that offset indexes tile their chunks, and column indexes have as many pages.

        Returns which do not.
        """
        has_index = np.array([len(data) > 0 for data in self.offset_indexes], bool)
        lying: Flags = has_index & (self.places.counts == 0) & (self.num_values > 0)
        if not self.is_readable:  # else the pages themselves tell more
            self._fail(lying & self.is_made, "has an offset index of other pages than there are")
        for at, data in enumerate(self.column_indexes):
            places = self.offset_indexes[at]
            if data and places and _num_listed(data) != _num_listed(places):
                lying[at] = True
        others = lying & self.is_made & (self.places.counts > 0)
        self._fail(others, "has a column index of other pages than its offset index")
        return lying

    # -- pages -----------------------------------------------------------------------------------

    def check_pages(self) -> Flags:
        """Check the pages of all chunks; return whose offset index does not list them."""
        has_index = np.array([len(data) > 0 for data in self.offset_indexes], bool)
        indexed, is_proved = self._indexed_pages()
        walked = np.flatnonzero(~is_proved & (self.num_values > 0))
        every = [indexed, *self._walked_pages(walked)]
        pages = _Pages(
            np.concatenate([pages.chunks for pages in every]),
            np.concatenate([pages.offsets for pages in every]),
            HeaderTable.joined([pages.headers for pages in every]),
        )
        sums = self._sums(pages)
        self._check_all(sums)
        self._check_made(sums, pages)
        lying: Flags = has_index & ~is_proved & (self.num_values > 0)
        self._fail(lying & self.is_made, "has an offset index of other pages than there are")
        return lying

    def _indexed_pages(self) -> tuple[_Pages, Flags]:
        """Return the pages that offset indexes list, of chunks where headers prove them."""
        places = self.places
        chunks, offsets, sizes, rows = _with_dictionaries(places, self.starts)
        headers = self._headers(offsets)
        is_first = rows < 0  # the page in front of the first one listed
        bad = (headers.total_bytes != sizes) | (headers.is_data == is_first)
        bad |= is_first & (headers.types != PageType.DICTIONARY)
        counts, is_known = self._row_counts(chunks, headers)
        # Behind a page of version 1 whose rows nobody counted the next one's place is not known.
        is_counted = np.bincount(chunks, headers.is_data & ~is_known, self.num_chunks) == 0
        is_known &= is_counted[chunks]
        before = np.cumsum(counts) - counts
        begins = np.searchsorted(chunks, chunks)
        bad |= is_known & ~is_first & (before - before[begins] != rows)
        ends = np.bincount(chunks, sizes, self.num_chunks).astype(np.int64) + self.starts
        is_proved = (places.counts > 0) & (ends == self.ends)
        is_proved[chunks[bad]] = False
        told = np.bincount(chunks, counts, self.num_chunks).astype(np.int64)
        is_proved[chunks[is_known & ~is_first & (told != self.num_rows)[chunks]]] = False
        kept = is_proved[chunks]
        return _Pages(chunks[kept], offsets[kept], headers.chosen(kept)), is_proved

    def _walked_pages(self, chunks: Numbers) -> Iterator[_Pages]:
        """Yield the pages of chunks by their headers.

        One page of each at a time while chunks are many; those of the last few one after another.
        """
        positions, left = self.starts[chunks], self.num_values[chunks]
        number = 0
        while len(chunks) > _FEW_CHUNKS:
            pages = _Pages(chunks, positions, self._headers(positions))
            left = self._check_walked(pages, np.full(len(chunks), number), left)
            yield pages
            goes_on = left > 0
            positions = (positions + pages.headers.total_bytes)[goes_on]
            chunks, left = chunks[goes_on], left[goes_on]
            number += 1
        if len(chunks):
            yield self._walked_one_by_one(chunks, positions, left, number)

    def _walked_one_by_one(
        self, chunks: Numbers, positions: Numbers, left: Numbers, number: int
    ) -> _Pages:
        """Return the pages of some chunks from positions on, the first of each with a number."""
        every = [
            walk_headers(self._read_back, start, end, num_values)
            for start, end, num_values in zip(
                positions.tolist(), self.ends[chunks].tolist(), left.tolist(), strict=True
            )
        ]
        num_pages = np.array([len(offsets) for offsets, _ in every], np.int64)
        headers = HeaderTable.joined([found for _, found in every])
        pages = _Pages(
            np.repeat(chunks, num_pages),
            np.concatenate([offsets for offsets, _ in every]),
            headers,
        )
        begins = np.repeat(np.cumsum(num_pages) - num_pages, num_pages)
        counts = np.where(headers.is_data, headers.num_values, 0)
        before = np.cumsum(counts) - counts
        before -= before[begins]
        numbers = number + np.arange(len(begins), dtype=np.int64) - begins
        self._check_walked(pages, numbers, np.repeat(left, num_pages) - before)
        return pages

    def _check_walked(self, pages: _Pages, numbers: Numbers, left: Numbers) -> Numbers:
        """Check pages, each with its number in the chunk and the values that are left before it.

        Returns the values that are left behind each.
        """
        chunks, offsets, headers = pages
        for at, error in headers.errors.items():
            self._blame(int(chunks[at]), str(error), int(numbers[at]))
        fail = partial(self._fail, pages=numbers, chunks=chunks)
        ends = offsets + headers.total_bytes
        fail(ends > self.ends[chunks], "ends inside a page")
        is_late = (headers.types == PageType.DICTIONARY) & (numbers > 0)
        fail(is_late, "has a dictionary behind its first page")
        left = left - np.where(headers.is_data, headers.num_values, 0)
        fail(left < 0, "has more values in its pages than it claims")
        missing = (left > 0) & (ends >= self.ends[chunks])
        fail(missing, "has fewer values in its pages than it claims")
        return left

    def _read_back(self, places: Sequence[int], length: int) -> Sequence[bytes]:
        heads = self.written.sink.read_back(places, length)
        assert heads is not None
        return heads

    def _headers(self, offsets: Numbers) -> HeaderTable:
        return read_header_table(self._read_back, offsets)

    def _row_counts(self, chunks: Numbers, headers: HeaderTable) -> tuple[Numbers, Flags]:
        """Return the rows of each page, and whether they are known."""
        is_flat = self.is_flat[chunks]
        counts = np.where(is_flat, headers.num_values, np.maximum(headers.num_rows, 0))
        is_known: Flags = is_flat | (headers.types == PageType.DATA_V2)
        return np.where(headers.is_data, counts, 0), is_known

    def _sums(self, pages: _Pages) -> _Sums:
        chunks, headers = pages.chunks, pages.headers
        is_data = headers.is_data

        def total(numbers: Numbers | Flags) -> Numbers:
            found: Numbers = np.bincount(chunks, numbers, self.num_chunks).astype(np.int64)
            return found

        counts, is_known = self._row_counts(chunks, headers)
        ends = np.zeros(self.num_chunks, np.int64)
        np.maximum.at(ends, chunks, pages.offsets + headers.total_bytes)
        first_data = np.full(self.num_chunks, np.iinfo(np.int64).max)
        np.minimum.at(first_data, chunks[is_data], pages.offsets[is_data])
        by_dictionary = is_data & np.isin(headers.encodings, DICTIONARY_ENCODINGS)
        return _Sums(
            num_pages=total(is_data),
            num_values=total(np.where(is_data, headers.num_values, 0)),
            num_rows=total(counts),
            uncompressed_bytes=total(headers.header_bytes + headers.uncompressed_bytes),
            ends=ends,
            first_data=first_data,
            num_dictionary_pages=total(by_dictionary),
            has_dictionary=total(headers.types == PageType.DICTIONARY) > 0,
            knows_rows=total(is_data & ~is_known) == 0,
        )

    def _check_all(self, sums: _Sums) -> None:
        """Check what readers depend on."""
        fail = self._fail
        fail(sums.num_values != self.num_values, "has other values in its pages than it claims")
        fail(self.is_flat & (self.num_values != self.num_rows), "has other values than rows")
        fail(self.num_values < self.num_rows, "has fewer entries than rows")
        others = sums.knows_rows & (sums.num_rows != self.num_rows)
        for at in np.flatnonzero(others & ~self.is_flat & ~self.is_made):
            others[at] = not self._is_counted_otherwise(int(at))
        fail(others, "has other rows in its pages")
        lacks = (sums.num_dictionary_pages > 0) & ~sums.has_dictionary
        fail(lacks, "has pages that use a dictionary, and none")

    def _check_made(self, sums: _Sums, pages: _Pages) -> None:
        """Check what chunks that were made here say besides."""
        table, has_pages = self.table, self.is_made & (sums.num_pages > 0)
        fail = self._fail
        fail(has_pages & (sums.ends != self.ends), "does not end with its last page")
        plain = table.uncompressed_bytes.ravel()
        fail(has_pages & (sums.uncompressed_bytes != plain), "has another size before compression")
        offsets = table.data_page_offsets.ravel()
        fail(has_pages & (sums.first_data != offsets), "begins its data pages elsewhere")
        dictionaries = np.where(sums.has_dictionary, self.starts, 0)
        wrong = table.dictionary_offsets.ravel() != dictionaries
        fail(has_pages & wrong, "has its dictionary elsewhere")
        counted = table.num_pages.ravel()
        wrong = (counted != sums.num_pages) & (counted >= 0)
        by_dictionary = table.num_dictionary_pages.ravel()
        wrong |= (by_dictionary != sums.num_dictionary_pages) & (by_dictionary >= 0)
        fail(has_pages & wrong, "counts other pages by encoding")
        own = pages.headers.is_data & self.is_made[pages.chunks]
        used = set(
            zip(pages.chunks[own].tolist(), pages.headers.encodings[own].tolist(), strict=True)
        )
        for at, encoding in used:
            if encoding not in table.encoding_sets[int(table.encodings.ravel()[at])]:
                self._blame(at, f"does not list encoding {encoding}, which it uses")

    def _is_counted_otherwise(self, at: int) -> bool:
        """Whether V2 headers of a chunk that was copied are known not to count rows."""
        group, column = divmod(at, self.num_columns)
        (piece,) = self.written.pieces[group]
        return piece.group.chunk(column).by_headers().is_miscounted

    # -- whose fault it is -----------------------------------------------------------------------

    def _fail(
        self,
        wrong: Flags,
        text: str,
        pages: Numbers | None = None,
        chunks: Numbers | None = None,
    ) -> None:
        """Blame somebody if anything is wrong.

        ``chunks``: which these are, if not all; ``pages``: of which page of each this is said.
        """
        found = np.flatnonzero(wrong)
        if len(found):
            first = found[0]
            at = first if chunks is None else chunks[first]
            self._blame(int(at), text, None if pages is None else int(pages[first]))

    def _blame(self, at: int, text: str, page: int | None = None) -> NoReturn:
        group, column = divmod(at, self.num_columns)
        leaf = self.leaves[column]
        for piece in self.written.pieces[group]:
            chunk = piece.group.chunk(column)
            try:
                check_source_chunk(chunk)
            except BadStructure as error:
                if self.is_made[at]:
                    with chunk.at_page():
                        raise
                with chunk.at_page(page):
                    raise BadPage(f"the chunk {text}") from error
        where = f"row group {group}{'' if page is None else f', page {page}'} of a part"
        raise InternalError(f"column {leaf.name}, {where}: the chunk {text}; nothing was published")


def check_source_chunk(opened: OpenChunk) -> None:
    """Check the chunk of a source by the rules of :func:`check_part`, from page to page.

    Raises:
        BadStructure: it breaks one.
    """
    chunk, is_flat = opened.entry, opened.leaf.max_repetition == 0
    num_values, num_rows = chunk.num_values, opened.group.entry.num_rows
    if num_values < num_rows or (is_flat and num_values != num_rows):
        raise BadPage(
            f"the chunk claims {counted(num_values, 'value')} in {counted(num_rows, 'row')}"
        )
    pages = opened.by_headers()
    headers = pages.headers
    assert headers is not None
    if pages.dictionary is None and set(headers.encodings) & set(DICTIONARY_ENCODINGS):
        raise BadPage("the chunk has pages that use a dictionary, and none")
    unlisted = set(headers.encodings) - set(chunk.encodings)
    if unlisted:
        raise BadPage(f"the chunk does not list encoding {min(unlisted)}, which its pages use")
    if chunk.offset_index is None:
        return
    index = OffsetIndex.decode(opened.file.source.read(*chunk.offset_index))
    listed = map_from_index(index, chunk.range, num_rows, is_flat=is_flat)
    rows = listed.first_rows if pages.needs_levels else pages.first_rows
    if (listed.offsets, listed.sizes, listed.first_rows) != (pages.offsets, pages.sizes, rows):
        raise BadPage("the offset index does not list the pages that there are")


def _num_listed(index: bytes) -> int:
    """Return the pages of an offset or column index: the length of its first list."""
    try:
        return thrift.read_list_header(index, 1)[1]
    except (BadStructure, IndexError):
        return -1


def _with_dictionaries(
    places: PageTable, starts: Numbers
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return chunk, offset, size and first row of pages, with what stands before the first.

    That is a dictionary, if anything; its first row is -1.
    """
    chunks = np.repeat(np.arange(len(starts)), places.counts)
    indexed = np.flatnonzero(places.counts)
    gaps = places.offsets[places.begins[:-1][indexed]] - starts[indexed]
    added, gaps = indexed[gaps > 0], gaps[gaps > 0]
    chunks = np.concatenate([added, chunks])
    order = np.argsort(chunks, kind="stable")
    return (
        chunks[order],
        np.concatenate([starts[added], places.offsets])[order],
        np.concatenate([gaps, places.sizes])[order],
        np.concatenate([np.full(len(added), -1), places.first_rows])[order],
    )
