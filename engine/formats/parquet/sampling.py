"""How large pages will be once they are re-encoded, from a few that are.

A plan must know the sizes of parts before any work. Pages of every column, spread over the sources,
are made as the parts' will be, and their bytes compared. Two things decide how much smaller a page
becomes, and both change within a file: whether it holds values or indices into a dictionary, and
where it lies, for what is written changes with time. So pages of both kinds are looked at, and
between places that were looked at the ratio is taken to change evenly.

What comes out are estimates: plans leave ``uncertain_share`` for them. A plan that had a part over
its target all the same is made again, from more samples and with more room (``revision``). Where
sources are small, all their pages are made: that takes little, and parts of few large rows need it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from engine import memory
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Type
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import counted_pages, split_page
from engine.formats.parquet.layout import dictionary_bytes
from engine.formats.parquet.opened import (
    OpenChunk,
    OpenFile,
    OpenRowGroup,
    delta_bytes,
    is_array,
    open_file,
)
from engine.formats.parquet.sizes import PagesBytes, Sizes, by_revision
from engine.formats.parquet.writers.chunk import Piece
from engine.model import Range, Recoding
from engine.planning.layout import GroupLayout, Layout

# By revision. Where values are re-encoded, a few pages tell less.
_UNCERTAIN_SHARES = (0.01, 0.04, 0.2)
_UNCERTAIN_VALUES_SHARES = (0.15, 0.3, 0.6)
_UNCERTAIN_HEADERS_SHARE = 0.003  # of pages that are not compressed, where footers tell the rest
_MIN_POINTS, _MAX_POINTS = 7, 32
_BYTES_PER_POINT = 256 << 20
_MORE_POINTS = 4  # times as many, with each revision
_MAX_MORE_POINTS = 2  # revisions that this is so
_MAX_MADE_BYTES, _MAX_MADE_PAGES = 16 << 20, 1024  # of sources whose pages are all made
_LARGE_SHARE = 0.01  # of all bytes: row groups that are cut anyway, so that their pages are read
_MAX_HEADERS = 256  # of a chunk; to read those of one that has many takes long
_LARGE_PAGE_BYTES = 128 << 10
_PAGES_PER_POINT = 3  # of each kind; pages of one chunk differ, mostly from its first to its last


def new_sizes(layout: Layout, recoding: Recoding, revision: int) -> Sizes:
    """Return the bytes that pages of the sources will have, from a look at some of them.

    Args:
        layout: the sources, in their own bytes.
        recoding: what is done to pages.
        revision: how many plans before this had parts that came out over the target.

    Raises:
        BadPage: a page that was looked at is damaged.
        Unsupported: a codec or encoding of the sources cannot be read.
    """
    # Footers that were not true do not become so.
    exact = recoding == Recoding(codec=Codec.UNCOMPRESSED) and not revision
    if exact:
        return _Plain(layout, recoding, revision)
    return (_Made if _is_small(layout, recoding) else _Sampled)(layout, recoding, revision)


def _is_small(layout: Layout, recoding: Recoding) -> bool:
    """Whether all pages can be made; each by itself tells little where they get a dictionary."""
    if recoding.dictionary or layout.num_bytes > _MAX_MADE_BYTES:
        return False
    num_pages = 0
    for group in layout.groups:
        num_pages += sum(pages.num_pages for pages in _opened(layout, group).page_maps)
        if num_pages > _MAX_MADE_PAGES:
            return False
    return True


class _Sample(NamedTuple):
    """Pages of a kind near a row, counted over all sources: bytes as they are and will be."""

    row: int
    old_bytes: int
    new_bytes: int


class _RatioByRow:
    """A ratio by row, known at some and taken to change evenly between them."""

    def __init__(self, samples: Sequence[_Sample], most: float) -> None:
        self._rows = [sample.row for sample in samples]
        self._ratios = [min(most, sample.new_bytes / sample.old_bytes) for sample in samples]

    def at(self, row: float) -> float:
        i = bisect_right(self._rows, row)
        if i in (0, len(self._rows)):
            return self._ratios[max(0, i - 1)]
        low, high = self._rows[i - 1], self._rows[i]
        share = (row - low) / (high - low)
        return self._ratios[i - 1] + share * (self._ratios[i] - self._ratios[i - 1])


class _Column:
    """What samples tell of a column: of pages of indices (kind 0) and pages of values (kind 1)."""

    def __init__(self) -> None:
        self.samples: tuple[list[_Sample], list[_Sample]] = ([], [])
        self.dictionaries: list[_Sample] = []
        self.num_pages = [0, 0]

    def end(self, recoding: Recoding) -> None:
        """Take what there is as all there will be."""
        # A few pages repeat little of the dictionary that they begin: together they repeat more.
        most = 1.0 if recoding.dictionary else float("inf")
        both = sorted(self.samples[0] + self.samples[1]) or [_Sample(0, 1, 1)]
        self._lines = [_RatioByRow(sorted(samples) or both, most) for samples in self.samples]
        self._page_bytes = [
            sum(sample.old_bytes for sample in samples) / max(1, number)
            for samples, number in zip(self.samples, self.num_pages, strict=True)
        ]
        old = sum(sample.old_bytes for sample in self.dictionaries)
        new = sum(sample.new_bytes for sample in self.dictionaries)
        self.dictionary_ratio = new / old if old else 1.0
        if recoding.dictionary is not None:
            self.dictionary_ratio = float(recoding.dictionary)

    def ratio(self, row: float, *, is_values: bool) -> float:
        """Return the bytes of a page in the parts for one in the source."""
        return self._lines[is_values].at(row)

    def indices_share(self, chunk: ColumnChunk) -> float:
        """Return which share of the bytes of a chunk's data pages are indices."""
        indices, values = self._page_bytes
        if indices and values:
            counted = counted_pages(chunk)
            num_indices = sum(n for (_, encoding), n in counted.items() if encoding in (2, 8))
            indices *= num_indices if counted else self.num_pages[0]
            values *= counted.total() - num_indices if counted else self.num_pages[1]
        return indices / (indices + values) if indices + values else 0.0


class _Sampled(Sizes):
    """Sizes by the ratios that samples have."""

    def __init__(self, layout: Layout, recoding: Recoding, revision: int) -> None:
        values = recoding.dictionary is not None
        shares = _UNCERTAIN_VALUES_SHARES if values else _UNCERTAIN_SHARES
        self.uncertain_share = by_revision(shares, revision)
        self._first_rows = {
            _key(_opened(layout, group)): row
            for group, row in zip(layout.groups, layout.first_rows, strict=False)
        }
        self._large = {
            _key(_opened(layout, group))
            for group in layout.groups
            if group.num_bytes > _LARGE_SHARE * layout.num_bytes
        }
        self._columns = [_Column() for _ in range(layout.num_columns)]
        last: OpenRowGroup | None = None
        for position, window in _points(layout, revision):
            group = _opened(layout, layout.groups[position])
            if last is not None and last != group:
                last.forget()  # dictionaries of many columns would add up
            for column, chunk in zip(self._columns, group.chunks(), strict=True):
                look = _Trial(chunk, layout.first_rows[position], recoding)
                look.take(column, window, dictionary=last != group)
            last = group
        for column in self._columns:
            column.end(recoding)

    def group(self, layout: Layout, group: GroupLayout) -> GroupLayout:
        """Return what a row group takes: a large one by its pages, which say more than footers.

        The others are not cut, or not often; where sums do not quite agree there, it is little.
        """
        opened = _opened(layout, group)
        is_large = _key(opened) in self._large
        data = dictionaries = 0.0
        for chunk in opened.chunks():
            if is_large:
                pages = self.pages(chunk)
                data += sum(pages.data)
                dictionaries += pages.dictionary
            else:
                chunk_data, dictionary = self._chunk(chunk)
                data += chunk_data
                dictionaries += dictionary
        return replace(
            group, data_bytes=round(data + dictionaries), dictionary_bytes=round(dictionaries)
        )

    def _chunk(self, chunk: OpenChunk) -> tuple[float, float]:
        """Return the bytes of a whole chunk's data pages and dictionary, from its footer."""
        column, entry = self._columns[chunk.column], chunk.entry
        size = dictionary_bytes(entry)
        middle = self._first_rows[_key(chunk.group)] + chunk.group.entry.num_rows / 2
        share = column.indices_share(entry)
        ratio = share * column.ratio(middle, is_values=False)
        ratio += (1 - share) * column.ratio(middle, is_values=True)
        return ratio * (entry.compressed_bytes - size), column.dictionary_ratio * size

    def pages(self, chunk: OpenChunk) -> PagesBytes:
        """Return the bytes of each page of a chunk."""
        column, pages = self._columns[chunk.column], chunk.pages
        num_indices = chunk.dictionary_pages
        base = self._first_rows[_key(chunk.group)]
        data = array(
            "d",
            (
                size * column.ratio(base + row, is_values=number >= num_indices)
                for number, (size, row) in enumerate(
                    zip(pages.sizes, pages.first_rows, strict=True)
                )
            ),
        )
        size = pages.dictionary.length if pages.dictionary else 0
        return PagesBytes(data, column.dictionary_ratio * size)


class _Plain(_Sampled):
    """Sizes of pages without compression: footers and page headers tell them, samples the rest."""

    def __init__(self, layout: Layout, recoding: Recoding, revision: int) -> None:
        super().__init__(layout, recoding, revision)
        self.uncertain_share = _UNCERTAIN_HEADERS_SHARE

    def _chunk(self, chunk: OpenChunk) -> tuple[float, float]:
        entry = chunk.entry
        dictionary = self._columns[chunk.column].dictionary_ratio * dictionary_bytes(entry)
        return max(0, entry.uncompressed_bytes - dictionary), dictionary

    def pages(self, chunk: OpenChunk) -> PagesBytes:
        """Return the bytes of each page of a chunk, by headers or so as to add up to its footer."""
        pages = chunk.pages
        # Whether it lies near or far: the same parts of the same bytes.
        if pages.num_pages <= _MAX_HEADERS and _key(chunk.group) in self._large:
            headers = chunk.headers(range(pages.num_pages))
            size = 0
            if pages.dictionary is not None:
                header = chunk.header(None)
                size = header.header_bytes + header.uncompressed_bytes
            return PagesBytes(headers.uncompressed_bytes, size)
        data, dictionary = super().pages(chunk)
        scale = max(0, chunk.entry.uncompressed_bytes - dictionary) / (sum(data) or 1)
        return PagesBytes(array("d", (scale * size for size in data)), dictionary)


class _Made(Sizes):
    """Sizes of pages all of which were made, and measured."""

    def __init__(self, layout: Layout, recoding: Recoding, revision: int) -> None:
        self.uncertain_share = by_revision(_UNCERTAIN_SHARES, revision)
        self._sizes: dict[tuple[str, int, int], PagesBytes] = {}
        for group, first_row in zip(layout.groups, layout.first_rows, strict=False):
            opened = _opened(layout, group)
            for chunk in opened.chunks():
                sizes = _Trial(chunk, first_row, recoding).take_all()
                self._sizes[*_key(opened), chunk.column] = sizes
            opened.forget()

    def group(self, layout: Layout, group: GroupLayout) -> GroupLayout:
        """Return what a row group takes in the parts."""
        sizes = [self.pages(chunk) for chunk in _opened(layout, group).chunks()]
        dictionaries = sum(found.dictionary for found in sizes)
        data = sum(sum(found.data) for found in sizes)
        return replace(
            group, data_bytes=round(data + dictionaries), dictionary_bytes=round(dictionaries)
        )

    def pages(self, chunk: OpenChunk) -> PagesBytes:
        """Return the bytes of each page of a chunk."""
        return self._sizes[*_key(chunk.group), chunk.column]


def _opened(layout: Layout, group: GroupLayout) -> OpenRowGroup:
    return open_file(layout.files[group.file]).row_group(group.index)


def _key(group: OpenRowGroup) -> tuple[str, int]:
    return group.file.file.path, group.number


def _points(layout: Layout, revision: int) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield places evenly over all bytes: a row group's position, and from where to where in it."""
    number = min(_MAX_POINTS, max(_MIN_POINTS, layout.num_bytes // _BYTES_PER_POINT))
    number *= _MORE_POINTS ** min(revision, _MAX_MORE_POINTS)
    step = layout.num_bytes / number
    for i in range(number):
        position = bisect_right(layout.offsets, (i + 0.5) * step) - 1
        first, num_bytes = layout.offsets[position], layout.groups[position].num_bytes
        low, high = (i * step - first) / num_bytes, ((i + 1) * step - first) / num_bytes
        yield position, (max(0.0, low), min(1.0, high))


class _Trial:
    """A look at some pages of a chunk."""

    def __init__(self, chunk: OpenChunk, first_row: int, recoding: Recoding) -> None:
        self._chunk = chunk
        self._first_row = first_row
        self._recoding = recoding
        self._pages = chunk.pages
        self._num_indices = chunk.dictionary_pages

    def take(self, column: _Column, window: tuple[float, float], *, dictionary: bool) -> None:
        """Add some pages of both kinds, in a window of each, to what is known of a column."""
        pages = self._pages
        kinds = (range(self._num_indices), range(self._num_indices, pages.num_pages))
        for kind, (every, samples) in enumerate(zip(kinds, column.samples, strict=True)):
            near = every[int(window[0] * len(every)) : ceil(window[1] * len(every))]
            numbers = _spread(pages, [number for number in near if _has_rows(pages, number)])
            if not numbers:
                continue
            row = self._first_row + pages.first_rows[numbers[len(numbers) // 2]]
            if samples and samples[-1].row >= row:
                continue  # few pages: these are known
            old_bytes = sum(pages.sizes[number] for number in numbers)
            samples.append(_Sample(row, old_bytes, sum(map(self._made, numbers))))
            column.num_pages[kind] += len(numbers)
        if dictionary and pages.dictionary is not None and self._keeps_dictionary():
            new_bytes = self._recompressed(None)
            column.dictionaries.append(_Sample(self._first_row, pages.dictionary.length, new_bytes))

    def take_all(self) -> PagesBytes:
        """Return what all pages become."""
        pages = self._pages
        dictionary = 0
        if pages.dictionary is not None and self._keeps_dictionary():
            dictionary = self._recompressed(None)
        return PagesBytes(array("d", map(self._made, range(pages.num_pages))), dictionary)

    def _keeps_dictionary(self) -> bool:
        return self._recoding.dictionary is None and self._num_indices > 0

    def _made(self, number: int) -> int:
        """Return the bytes that a page becomes."""
        if self._recoding.page_version is None and self._recoding.dictionary is None:
            return self._recompressed(number)
        from engine.formats.parquet.writers.make import make_chunk  # imports pyarrow

        self._ask_to_make(number)
        is_whole = self._pages.num_pages == 1
        piece = Piece(self._chunk.group, *self._pages.rows(number), is_whole)
        counter = _Counter()
        made = make_chunk([piece], self._chunk.column, counter, recoding=self._recoding)
        is_begun = self._recoding.dictionary and number >= self._num_indices
        return counter.num_bytes - (0 if is_begun else made.first_data_page)

    def _recompressed(self, number: int | None) -> int:
        source_codec = self._chunk.entry.codec
        codec = source_codec if self._recoding.codec is None else self._recoding.codec
        with self._chunk.at_page(number):
            if codec == Codec.UNCOMPRESSED:
                header = self._chunk.header(number)
                return header.header_bytes + header.uncompressed_bytes
            from engine.formats.parquet.writers.new_page import recompressed_page  # imports pyarrow

            data = self._read(number)
            return recompressed_page(data, source_codec, codec, self._recoding.level).num_bytes

    def _ask(self, num_bytes: int) -> None:
        purpose = f"to try what pages of column {self._chunk.leaf.name} become"
        memory.ask(num_bytes, purpose, arrow=True)

    def _ask_to_make(self, number: int) -> None:
        header, value_bytes = self._chunk.header(number), 0.0
        decoded: memory.Decoded = "coded" if self._recoding.dictionary else "texts"
        if self._chunk.leaf.physical is not Type.BYTE_ARRAY:
            decoded = "wide"
        if header.is_dictionary_encoded and self._recoding.dictionary is not None:
            dictionary = self._chunk.header(None)
            value_bytes = dictionary.uncompressed_bytes / max(1, dictionary.num_values)
        num_bytes = memory.page_bytes(
            page_bytes=header.uncompressed_bytes + header.header_bytes,
            num_values=header.num_values,
            value_bytes=value_bytes,
            delta_bytes=delta_bytes(self._chunk, header),
            is_array=is_array(self._chunk.leaf, header),
            decoded=decoded,
            hashes=self._recoding.dictionary is True,
        )
        self._ask(num_bytes)

    def _read(self, number: int | None) -> memoryview:
        """Return a page that there is room to compress anew; its header needs no request."""
        self._ask(self._chunk.place(number).length)
        data = self._chunk.read(number)
        header, body = split_page(data)
        page_bytes = header.header_bytes + header.uncompressed_bytes
        self._ask(memory.recompressed_bytes(page_bytes=page_bytes, stored_bytes=len(body)))
        return data


def _has_rows(pages: PageMap, number: int) -> bool:
    first, stop = pages.rows(number)
    return first < stop


def _spread(pages: PageMap, numbers: Sequence[int]) -> list[int]:
    """Return some of the pages, evenly from the first to the last; few where they are large."""
    middle = pages.sizes[numbers[len(numbers) // 2]] if numbers else 0
    count = min(len(numbers), 1 if middle > _LARGE_PAGE_BYTES else _PAGES_PER_POINT)
    return [numbers[(2 * i + 1) * len(numbers) // (2 * count)] for i in range(count)]


class _Counter:
    """Takes a chunk and keeps nothing but its size."""

    def __init__(self) -> None:
        self.num_bytes = 0

    def write(self, *data: bytes) -> None:
        self.num_bytes += sum(map(len, data))

    def copy(self, file: OpenFile, where: Range) -> None:
        self.num_bytes += where.length
