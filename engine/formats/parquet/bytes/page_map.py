"""Where the data pages of a column chunk lie and which rows they hold.

A :class:`PageMap` comes from the offset index (:func:`map_from_index`) or, where there is none or
it is stale, from a walk over the page headers (:func:`walk_pages`). The walk is sans-IO: a
generator that yields the ranges it needs and is sent their bytes; :func:`run_walk` drives it
with a read function.

Rows are counted from zero inside the row group. A page may begin inside a row only if it is a V1
page of a repeated column without offset index (``DataPageHeader.num_values`` in parquet.thrift);
then the walk cannot know rows, and :func:`with_row_starts` adds what decoded repetition levels
tell.

Plans need this module: neither numpy nor pyarrow is imported. The arrays are ``array('q')``,
which ``numpy.frombuffer`` reads without a copy.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes.page_index import OffsetIndex
from engine.formats.parquet.bytes.pages import (
    PageHeader,
    PageType,
    SkimmedHeader,
    read_page_header,
    skim_header,
)
from engine.model import Range
from engine.wording import counted

# As other readers: a header that large (page statistics of huge values) is taken as damage.
MAX_HEADER_BYTES = 16 << 20

_FIRST_WINDOW_BYTES = 64 << 10
_MAX_WINDOW_BYTES = 1 << 20
_HEADER_WINDOW_BYTES = 1 << 10

Walk = Generator[Range, bytes, "PageMap"]


class RowStarts(NamedTuple):
    """What the repetition levels of a page tell: rows that begin in it, and how it begins."""

    num_rows: int
    begins_inside_row: bool


class WalkedHeaders(NamedTuple):
    """Of each page: its type, the encoding of its values, header and body before compression."""

    types: array[int]
    encodings: array[int]
    uncompressed_bytes: array[int]


@dataclass(frozen=True, slots=True)
class PageMap:
    """The data pages of one chunk, in order.

    Attributes:
        offsets: position in the file of each page's header.
        sizes: bytes of each page, header included.
        first_rows: the first row that begins in each page; empty while :attr:`needs_levels`.
        num_values: level entries of each page; empty if unknown (offset index of a repeated column,
            no headers).
        begins_inside_row: per page, whether its first entries continue a row of the page before;
            empty if none does.
        dictionary: where the dictionary page lies (header included), None if there is none.
        num_rows: rows of the row group.
        needs_levels: whether :func:`with_row_starts` must supply the rows.
        headers: what was read of each page's header; None if none was.
        by_index: whether an offset index tells where they are, not the pages themselves.
        is_miscounted: whether headers of V2 pages count other rows than there are.
    """

    offsets: array[int]
    sizes: array[int]
    first_rows: array[int]
    num_values: array[int]
    dictionary: Range | None
    num_rows: int
    begins_inside_row: tuple[bool, ...] = ()
    needs_levels: bool = False
    headers: WalkedHeaders | None = field(default=None, compare=False)
    by_index: bool = field(default=False, compare=False)
    is_miscounted: bool = False

    @property
    def num_pages(self) -> int:
        """Data pages."""
        return len(self.offsets)

    def page(self, index: int) -> Range:
        """Return where a page lies."""
        return Range(self.offsets[index], self.sizes[index])

    def runs(self, start: int, stop: int) -> Iterator[Range]:
        """Yield ranges of pages ``[start, stop)``: more than one where others lie in between."""
        while start < stop:
            first = self.offsets[start]
            end = first
            while start < stop and self.offsets[start] == end:
                end += self.sizes[start]
                start += 1
            yield Range(first, end - first)

    def rows(self, index: int) -> tuple[int, int]:
        """Return the rows ``[start, stop)`` that begin in a page."""
        following = index + 1
        stop = self.first_rows[following] if following < self.num_pages else self.num_rows
        return self.first_rows[index], stop

    def page_of_row(self, row: int) -> int:
        """Return the page in which a row begins; the last page for the row behind the last."""
        return bisect_right(self.first_rows, min(row, self.num_rows - 1)) - 1

    def continues(self, index: int) -> bool:
        """Whether a page begins inside a row."""
        return bool(self.begins_inside_row) and self.begins_inside_row[index]


def map_from_index(index: OffsetIndex, chunk: Range, num_rows: int, *, is_flat: bool) -> PageMap:
    """Return the pages that an offset index lists, if they tile the chunk and their rows ascend.

    What lies between the chunk's start and its first data page is taken as the dictionary page.
    That headers say the same is for others to prove (:mod:`.opened.positions`).

    Args:
        index: the chunk's offset index.
        chunk: where the chunk lies.
        num_rows: rows of the row group.
        is_flat: whether the column has no repetition; then entries are rows.

    Raises:
        BadStructure: the index does not fit the chunk: stale or damaged. Walk the pages instead.
    """
    try:
        offsets = array("q", [page.offset for page in index.locations])
        sizes = array("q", [page.compressed_bytes for page in index.locations])
        rows = array("q", [page.first_row for page in index.locations])
    except OverflowError as error:
        raise BadStructure("the offset index has a number of more than 64 bits") from error
    if not offsets or offsets[0] < chunk.offset:
        raise BadStructure("the offset index has no page, or one before the chunk")
    end = offsets[0]
    for offset, size in zip(offsets, sizes, strict=True):
        if offset != end or size <= 0:
            raise BadStructure(f"the offset index has a page at {offset}, expected at {end}")
        end = offset + size
    if end != chunk.end:
        raise BadStructure(f"the offset index ends at {end}, the column chunk at {chunk.end}")
    bounds = [*rows, num_rows]
    if bounds[0] != 0 or any(here >= there for here, there in pairwise(bounds)):
        raise BadStructure(
            "the offset index's rows do not ascend from 0, or are more than the row group's"
        )
    return listed_pages(offsets, sizes, rows, chunk, num_rows, is_flat=is_flat)


def listed_pages(
    offsets: array[int],
    sizes: array[int],
    rows: array[int],
    chunk: Range,
    num_rows: int,
    *,
    is_flat: bool,
) -> PageMap:
    """Return pages that an offset index lists, which tile the chunk and whose rows ascend.

    Args:
        offsets: where each lies.
        sizes: bytes of each, with its header.
        rows: the first row of each.
        chunk, num_rows, is_flat: see :func:`map_from_index`.
    """
    bounds = [*rows, num_rows]
    counts = array("q", [there - here for here, there in pairwise(bounds)] if is_flat else ())
    before = Range(chunk.offset, offsets[0] - chunk.offset)
    dictionary = before if before.length else None
    return PageMap(offsets, sizes, rows, counts, dictionary, num_rows, by_index=True)


def walk_pages(
    chunk: Range,
    num_values: int,
    num_rows: int,
    *,
    is_flat: bool,
    request_bytes: int = 16 << 10,
    knows_end: bool = True,
) -> Walk:
    """Find the pages of a chunk by their headers; yields ranges, is sent their bytes.

    The chunk's first page header decides whether there is a dictionary: offsets in footers are
    known to be wrong. Index pages, and data pages without entries, are passed over.

    Args:
        chunk: where the chunk lies.
        num_values: level entries of the chunk, as the footer says.
        num_rows: rows of the row group.
        is_flat: whether the column has no repetition; then every page's entries are rows.
        request_bytes: the price of a read call in bytes. Pages larger than this are jumped over,
            smaller ones read through in windows of up to 1 MiB. About 16 KiB for a local disk,
            1 MiB or more for a blob store.
        knows_end: whether the chunk ends where the range does; else pages of others may follow.

    Returns:
        The page map, by ``StopIteration.value``.

    Raises:
        BadPage: a header is damaged, or the pages do not add up to the chunk.
    """
    walk = _Walk(chunk, num_rows if is_flat else num_values, request_bytes)
    yield from walk.run()
    if knows_end and walk.position < chunk.end:
        yield from walk.check_rest()
    return walk.page_map(num_rows, is_flat=is_flat)


class _Walk:
    """The state of one walk: a window of bytes, a position, and the pages found so far."""

    def __init__(self, chunk: Range, expected_values: int, request_bytes: int) -> None:
        self.chunk = chunk
        self.expected_values = expected_values
        self.request_bytes = request_bytes
        self.position = chunk.offset
        self.window = b""
        self.window_offset = chunk.offset
        self.values_seen = 0
        self.num_pages = 0
        self.dictionary: Range | None = None
        self.offsets = array("q")
        self.sizes = array("q")
        self.counts = array("q")
        self.rows: list[int | None] = []
        self.headers = WalkedHeaders(array("b"), array("b"), array("q"))

    def run(self) -> Generator[Range, bytes, None]:
        while self.values_seen < self.expected_values:
            if self.position >= self.chunk.end:
                raise BadPage(
                    f"a column chunk's pages hold {counted(self.values_seen, 'value')},"
                    f" not {self.expected_values:,}"
                )
            header = yield from self._next_header()
            self._take(header)
        if self.values_seen != self.expected_values:
            raise BadPage(
                f"a column chunk's pages hold {counted(self.values_seen, 'value')}, not "
                f"{self.expected_values:,}"
            )

    def check_rest(self) -> Generator[Range, bytes, None]:
        """Check that what lies behind the last page, padding say, is no page with values.

        Else a header in front of it counts too many, and readers that count levels read on.
        """
        try:
            header = yield from self._next_header()
        except BadPage:
            return
        if header.is_data and header.num_values:
            raise BadPage(
                f"a column chunk has a page of {counted(header.num_values, 'value')} more than its"
                f" {self.expected_values:,} at byte {self.position}"
            )

    def _next_header(self) -> Generator[Range, bytes, PageHeader | SkimmedHeader]:
        left = self.chunk.end - self.position
        wanted = self._window_bytes()
        while True:
            pos = self.position - self.window_offset
            if 0 <= pos < len(self.window):
                skimmed = skim_header(self.window, pos)
                if skimmed is not None and skimmed.total_bytes <= left:
                    return skimmed
                try:
                    return read_page_header(self.window, pos, limit_bytes=left)
                except BadPage:
                    raise
                except BadStructure as error:
                    seen = len(self.window) - pos
                    if seen >= min(left, MAX_HEADER_BYTES):
                        place = f"byte {self.position}"
                        raise BadPage(f"no page header at {place}: {error}") from error
                    wanted = max(wanted, 4 * seen)
            need = Range(self.position, min(wanted, left))
            self.window = yield need
            self.window_offset = need.offset
            if len(self.window) != need.length:
                raise BadPage(f"{len(self.window)} bytes at {need.offset}, not {need.length}")

    def _window_bytes(self) -> int:
        if not self.num_pages:
            return _FIRST_WINDOW_BYTES
        walked = self.position - self.chunk.offset
        if walked > self.num_pages * self.request_bytes:
            return _HEADER_WINDOW_BYTES
        return min(_MAX_WINDOW_BYTES, max(_FIRST_WINDOW_BYTES, walked))

    def _take(self, header: PageHeader | SkimmedHeader) -> None:
        if header.type is PageType.DICTIONARY:
            if self.num_pages:
                raise BadPage("a dictionary page behind the first page of its column chunk")
            self.dictionary = Range(self.position, header.total_bytes)
        elif header.is_data and header.num_values:  # Arrow writes some without any
            self.offsets.append(self.position)
            self.sizes.append(header.total_bytes)
            self.counts.append(header.num_values)
            self.rows.append(header.num_rows)
            self.headers.types.append(header.type)
            self.headers.encodings.append(header.encoding)
            self.headers.uncompressed_bytes.append(header.header_bytes + header.uncompressed_bytes)
            self.values_seen += header.num_values
        self.position += header.total_bytes
        self.num_pages += 1

    def page_map(self, num_rows: int, *, is_flat: bool) -> PageMap:
        rows: Sequence[int | None] = self.counts if is_flat else self.rows
        known = [count for count in rows if count is not None]
        # V1 pages do not count rows; a writer of V2 pages is known that counts values instead.
        is_miscounted = not is_flat and len(known) == len(rows) and sum(known) != num_rows
        needs_levels = len(known) < len(rows) or is_miscounted
        first_rows = array("q") if needs_levels else _starts(known, num_rows)
        return PageMap(
            self.offsets,
            self.sizes,
            first_rows,
            self.counts,
            self.dictionary,
            num_rows,
            needs_levels=needs_levels,
            headers=self.headers,
            is_miscounted=is_miscounted,
        )


def _starts(counts: Sequence[int], num_rows: int) -> array[int]:
    totals = list(accumulate(counts, initial=0))
    if totals.pop() != num_rows:
        raise BadPage(
            f"a column chunk's pages hold {counted(sum(counts), 'row')}, not {num_rows:,}"
        )
    return array("q", totals)


def with_row_starts(pages: PageMap, starts: Sequence[RowStarts]) -> PageMap:
    """Return the map with its rows, from what the levels of every page tell.

    Raises:
        BadPage: the rows do not add up to the row group's, or the chunk begins inside a row.
    """
    if starts and starts[0].begins_inside_row:
        raise BadPage("a column chunk begins inside a row")
    first_rows = _starts([page.num_rows for page in starts], pages.num_rows)
    inside = tuple(page.begins_inside_row for page in starts)
    return replace(
        pages,
        first_rows=first_rows,
        begins_inside_row=inside if any(inside) else (),
        needs_levels=False,
    )


def run_walk(walk: Walk, read: Callable[[int, int], bytes]) -> PageMap:
    """Drive a walk with ``read(offset, length)`` and return its map."""
    try:
        need = next(walk)
        while True:
            need = walk.send(read(need.offset, need.length))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
