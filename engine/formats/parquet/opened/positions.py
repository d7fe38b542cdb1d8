"""Where the pages of a row group lie: all columns at once, as many columns are read in few calls.

The decisions are made by sans-IO code (:mod:`.bytes.page_map`, :mod:`.bytes.pages`);
this module feeds it bytes. A page map comes from the offset index where there is a good one, else
from a walk over the page headers, and for repeated columns in V1 pages from their levels.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from engine.errors import BadPage, BadStructure, Unsupported
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Encoding, Leaf, RowGroup
from engine.formats.parquet.bytes.page_index import ColumnIndex
from engine.formats.parquet.bytes.page_map import (
    PageMap,
    RowStarts,
    WalkedHeaders,
    listed_pages,
    run_walk,
    walk_pages,
    with_row_starts,
)
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.opened.headers import headers_at, read_page
from engine.model import Range
from engine.storage import Source

if TYPE_CHECKING:
    from engine.formats.parquet.bytes.chunk_table import Numbers
    from engine.formats.parquet.bytes.header_table import HeaderTable

_MANY_COLUMNS = 16  # with fewer nobody waits for Python
_HEADERS_AT_ONCE = 1 << 13
_CODECS = set(Codec) - {Codec.LZO}
_ENCODINGS = set(Encoding)


@contextmanager
def at_page(path: str, row_group: int, leaf: Leaf, page: int | None = None) -> Iterator[None]:
    """Name file, column, row group and page in errors about what is in them."""
    try:
        yield
    except BadStructure as error:
        where = f"{path}: column {leaf.name}, row group {row_group}"
        if str(error).startswith(where):
            raise
        raise BadPage(f"{where}{'' if page is None else f', page {page}'}: {error}") from error


@dataclass(frozen=True, slots=True)
class PageFinder:
    """Finds the pages of a row group.

    Attributes:
        path, number: of the file and of the row group, for messages.
        source: the opened file.
        data_end: where its footer begins.
        leaves, group: the columns, and what the footer says of their chunks.
    """

    path: str
    number: int
    source: Source
    data_end: int
    leaves: Sequence[Leaf]
    group: RowGroup

    def page_maps(self) -> list[PageMap]:
        """Return page maps by offset indexes that are true, else by the pages themselves.

        Raises:
            BadPage: a page header is damaged; the message names column and row group.
            Unsupported: a column cannot be cut inside this row group.
        """
        for leaf, chunk in zip(self.leaves, self.group.columns, strict=True):
            self._check_can_be_cut(leaf, chunk)
        found = self._by_indexes()
        lacking = [number for number, pages in enumerate(found) if pages is None]
        if len(lacking) >= _MANY_COLUMNS:
            for number, pages in self._of_lone_pages(lacking):
                found[number] = pages
        return [
            pages or self.by_pages(leaf) for leaf, pages in zip(self.leaves, found, strict=True)
        ]

    def by_pages(self, leaf: Leaf) -> PageMap:
        """Return the pages of a chunk by themselves, whatever its index says.

        Raises:
            BadPage: a header is damaged, or the pages do not add up.
        """
        with at_page(self.path, self.number, leaf):
            pages = self.by_headers(leaf)
            if pages.needs_levels:
                pages = with_row_starts(pages, list(self._row_starts(leaf, pages)))
        return pages

    def by_headers(self, leaf: Leaf) -> PageMap:
        """Return the pages of a chunk as far as headers alone tell them."""
        chunk, is_flat = self.group.columns[leaf.index], leaf.max_repetition == 0
        walk = walk_pages(chunk.range, chunk.num_values, self.group.num_rows, is_flat=is_flat)
        return run_walk(walk, self.source.read)

    def _check_can_be_cut(self, leaf: Leaf, chunk: ColumnChunk) -> None:
        """Raise Unsupported for a chunk whose pages cannot be rewritten one by one.

        These are: codecs that nobody here has, and encodings newer than this program.
        """
        reason = ""
        if chunk.codec not in _CODECS:
            reason = f"is compressed with codec {chunk.codec}, which cannot be written"
        elif set(chunk.encodings) - _ENCODINGS:
            reason = f"uses encoding {max(set(chunk.encodings) - _ENCODINGS)}, which is not known"
        if reason:
            raise Unsupported(
                f"{self.path}: column {leaf.name} of row group {self.number} {reason}; it cannot "
                "be cut inside the row group: use --cut row-group"
            )

    def _by_indexes(self) -> list[PageMap | None]:
        """Return what each column's offset index says; None if there is none, or it is not true.

        Stores answer a request for each header, so there an index is believed that fits its chunk.
        """
        places = [chunk.offset_index or Range(0, 0) for chunk in self.group.columns]
        indexes = self.source.read_many(places)
        found: list[PageMap | None] = [None] * len(indexes)
        if any(indexes):
            found = self._as_indexed(indexes)
        if self.source.is_remote:
            return found
        for leaf, pages, headers in self._with_headers(found):
            with at_page(self.path, self.number, leaf):
                proved = self._is_proved(leaf, pages, headers)
                found[leaf.index] = _with_kept(pages, headers) if proved else None
        return found

    def _as_indexed(self, indexes: Sequence[bytes]) -> list[PageMap | None]:
        """Return what indexes say that fit their chunks: of others the pages themselves decide."""
        import numpy as np

        from engine.formats.parquet.bytes.page_table import read_page_table

        num_rows = self.group.num_rows
        places = [chunk.range for chunk in self.group.columns]
        starts, lengths = np.array(places, np.int64).T
        table = read_page_table(indexes, starts, lengths, np.full(len(places), num_rows))
        found: list[PageMap | None] = []
        for leaf, place, (first, stop) in zip(
            self.leaves, places, pairwise(table.begins.tolist()), strict=True
        ):
            if first == stop:
                found.append(None)
                continue
            offsets, sizes, rows = (
                array("q", numbers[first:stop].tobytes())
                for numbers in (table.offsets, table.sizes, table.first_rows)
            )
            is_flat = leaf.max_repetition == 0
            found.append(listed_pages(offsets, sizes, rows, place, num_rows, is_flat=is_flat))
        return found

    def _of_lone_pages(self, columns: Sequence[int]) -> Iterator[tuple[int, PageMap]]:
        """Yield maps of flat columns that have one data page; their headers are read together."""
        import numpy as np

        num_rows = self.group.num_rows
        flat = [number for number in columns if self.leaves[number].max_repetition == 0]
        chunks = [self.group.columns[number] for number in flat]
        starts = np.array([chunk.range.offset for chunk in chunks], np.int64)
        firsts = headers_at(self.source, self.data_end, starts)
        is_dictionary = firsts.types == PageType.DICTIONARY
        starts = np.where(is_dictionary, starts + firsts.total_bytes, starts)
        headers = headers_at(self.source, self.data_end, starts)
        ends = (starts + headers.total_bytes).tolist()
        kinds, encodings = headers.types.tolist(), headers.encodings.tolist()
        plain_bytes = (headers.header_bytes + headers.uncompressed_bytes).tolist()
        is_lone = headers.is_data & (headers.num_values == num_rows)
        for at in np.flatnonzero(is_lone).tolist():
            place = chunks[at].range
            if chunks[at].num_values != num_rows or ends[at] > place.end:
                continue
            start = int(starts[at])
            yield (
                flat[at],
                PageMap(
                    array("q", [start]),
                    array("q", [ends[at] - start]),
                    array("q", [0]),
                    array("q", [num_rows]),
                    Range(place.offset, start - place.offset) if is_dictionary[at] else None,
                    num_rows,
                    headers=WalkedHeaders(
                        array("b", [kinds[at]]),
                        array("b", [encodings[at]]),
                        array("q", [plain_bytes[at]]),
                    ),
                ),
            )

    def _with_headers(
        self, maps: Sequence[PageMap | None]
    ) -> Iterator[tuple[Leaf, PageMap, HeaderTable]]:
        """Yield every map that there is with the headers of its pages, the dictionary's first.

        Those of some columns are read together, so that many columns take few calls.
        """
        import numpy as np

        some: list[tuple[Leaf, PageMap, list[int]]] = []
        num_pages = 0
        for leaf in self.leaves:
            pages = maps[leaf.index]
            if pages is not None:
                first = [] if pages.dictionary is None else [pages.dictionary.offset]
                some.append((leaf, pages, [*first, *pages.offsets]))
                num_pages += len(some[-1][2])
            if some and (num_pages >= _HEADERS_AT_ONCE or leaf is self.leaves[-1]):
                places = [place for _, _, offsets in some for place in offsets]
                headers = headers_at(self.source, self.data_end, np.array(places, np.int64))
                stop = 0
                for one, its_pages, offsets in some:
                    start, stop = stop, stop + len(offsets)
                    yield one, its_pages, headers.chosen(slice(start, stop))
                some, num_pages = [], 0

    def _is_proved(self, leaf: Leaf, pages: PageMap, headers: HeaderTable) -> bool:
        """Whether the headers of all pages, and what else counts rows, agree with the index."""
        import numpy as np

        sizes = [pages.dictionary.length] if pages.dictionary is not None else []
        if headers.total_bytes.tolist() != [*sizes, *pages.sizes]:
            return False
        first = len(sizes)
        if (first and headers.types[0] != PageType.DICTIONARY) or not headers.is_data[first:].all():
            return False
        rows = np.diff([*pages.first_rows, pages.num_rows])
        values, told = headers.num_values[first:], headers.num_rows[first:]
        chunk = self.group.columns[leaf.index]
        if values.sum() != chunk.num_values or ((told >= 0) & (told != rows)).any():
            return False
        if leaf.max_repetition == 0:
            return bool((values == rows).all())
        return bool((told >= 0).all()) or self._levels_say(leaf, pages, rows.tolist())

    def _levels_say(self, leaf: Leaf, pages: PageMap, rows: Sequence[int]) -> bool:
        """Whether so many rows begin in each page, by the index' histograms, else by levels."""
        where = self.group.columns[leaf.index].column_index
        if where is not None:
            with suppress(BadStructure):
                index = ColumnIndex.decode(self.source.read(where.offset, where.length))
                if index.num_pages == pages.num_pages and index.repetition_histograms:
                    each = len(index.repetition_histograms) // index.num_pages
                    if list(index.repetition_histograms[::each]) == list(rows):
                        return True
        return [page.num_rows for page in self._row_starts(leaf, pages)] == list(rows)

    def _row_starts(self, leaf: Leaf, pages: PageMap) -> Iterator[RowStarts]:
        from engine.formats.parquet.bytes.codecs import decompress
        from engine.formats.parquet.bytes.levels import count_row_starts

        codec = self.group.columns[leaf.index].codec
        for number in range(pages.num_pages):
            header, body = read_page(self.source, pages.page(number))
            if header.type is PageType.DATA:
                body = decompress(codec, body, header.uncompressed_bytes)
            yield count_row_starts(header, body, max_repetition=leaf.max_repetition)


def _with_kept(pages: PageMap, headers: HeaderTable) -> PageMap:
    """Return a map that keeps what the headers of its pages say, which need not be read again."""
    first = 0 if pages.dictionary is None else 1

    def kept(code: str, numbers: Numbers) -> array[int]:
        return array(code, numbers[first:].astype(code).tobytes())

    whole_bytes = headers.header_bytes + headers.uncompressed_bytes
    found = WalkedHeaders(
        kept("b", headers.types), kept("b", headers.encodings), kept("q", whole_bytes)
    )
    return replace(pages, num_values=kept("q", headers.num_values), headers=found)
