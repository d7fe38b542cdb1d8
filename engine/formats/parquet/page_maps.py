"""Pages of opened sources: where they lie, what their headers say. Read once, kept with the file.

The decisions are made by sans-IO code (:mod:`.bytes.page_map`, :mod:`.bytes.pages`);
this module feeds it bytes. A page map comes from the offset index where there is a good one, else
from a walk over the page headers, and for repeated columns in V1 pages from their levels.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BadPage, BadStructure, Unsupported
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.created_by import CHAINED_PAGES, has
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Encoding, Leaf, value
from engine.formats.parquet.bytes.page_index import ColumnIndex, OffsetIndex
from engine.formats.parquet.bytes.page_map import (
    PageMap,
    RowStarts,
    WalkedHeaders,
    map_from_index,
    run_walk,
    walk_pages,
    with_row_starts,
)
from engine.formats.parquet.bytes.pages import PageHeader, PageType, read_page_header, skim_header
from engine.formats.parquet.layout import OpenFile
from engine.model import Range
from engine.storage.base import COPY_STEP_BYTES

if TYPE_CHECKING:
    from engine.formats.parquet.bytes.chunk_table import Numbers
    from engine.formats.parquet.bytes.header_table import HeaderTable

HEADER_BYTES = 96  # most data page headers without statistics are shorter
_MAX_HEADER_BYTES = 1 << 20
_MAX_KEPT_PAGE_BYTES = 1 << 20
_MANY_COLUMNS = 16  # with fewer nobody waits for Python
_HEADERS_AT_ONCE = 1 << 13
_CODECS = set(Codec) - {Codec.LZO}
_ENCODINGS = set(Encoding)


def page_maps(file: OpenFile, row_group: int) -> list[PageMap]:
    """Return the page map of every column of a row group; kept with the file.

    Raises:
        BadPage: a page header is damaged; the message names column and row group.
        Unsupported: a column cannot be cut inside this row group.
    """
    found: list[PageMap] | None = file.notes(row_group).get("page maps")
    if found is None:
        group = file.row_group(row_group)
        for leaf, chunk in zip(file.footer.leaves, group.columns, strict=True):
            check_can_be_cut(file, row_group, leaf, chunk)
        found = _page_maps(file, row_group)
        file.notes(row_group)["page maps"] = found
    return found


def check_can_be_cut(file: OpenFile, row_group: int, leaf: Leaf, chunk: ColumnChunk) -> None:
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
            f"{file.file.path}: column {leaf.name} of row group {row_group} {reason}; it cannot be "
            "cut inside the row group: use --cut row-group"
        )


def chains_pages(created_by: str, chunk: ColumnChunk) -> bool:
    """Whether pages of a chunk continue the page before: DELTA_BYTE_ARRAY of parquet-mr before 1.8.

    Such a page can be read only after all before it (PARQUET-246).
    """
    return Encoding.DELTA_BYTE_ARRAY in chunk.encodings and has(created_by, CHAINED_PAGES)


def _page_maps(file: OpenFile, row_group: int) -> list[PageMap]:
    """Return page maps by offset indexes that are true, else by the pages themselves."""
    found = _by_indexes(file, row_group)
    lacking = [number for number, pages in enumerate(found) if pages is None]
    if len(lacking) >= _MANY_COLUMNS:
        for number, pages in _of_lone_pages(file, row_group, lacking):
            found[number] = pages
    return [
        pages or walked(file, row_group, leaf)
        for leaf, pages in zip(file.footer.leaves, found, strict=True)
    ]


def _by_indexes(file: OpenFile, row_group: int) -> list[PageMap | None]:
    """Return what the offset index of each column says; None if there is none, or it is not true.

    Stores answer a request for each header, so there an index is believed that fits its chunk.
    """
    group = file.row_group(row_group)
    indexes = file.source.read_many([chunk.offset_index or Range(0, 0) for chunk in group.columns])
    found: list[PageMap | None] = [None] * len(indexes)
    for leaf, chunk, data in zip(file.footer.leaves, group.columns, indexes, strict=True):
        if data:
            with suppress(BadStructure):  # stale or damaged: the pages themselves decide
                found[leaf.index] = map_from_index(
                    OffsetIndex.decode(data),
                    chunk.range,
                    group.num_rows,
                    is_flat=leaf.max_repetition == 0,
                )
    if file.source.is_remote:
        return found
    for leaf, pages, headers in _with_headers(file, found):
        with at_page(file, row_group, leaf):
            if not _is_proved(file, leaf, group.columns[leaf.index], pages, headers):
                found[leaf.index] = None
    return found


def walked(file: OpenFile, row_group: int, leaf: Leaf) -> PageMap:
    """Return the pages of a chunk by their own headers, whatever its index says.

    Raises:
        BadPage: a header is damaged, or the pages do not add up.
    """
    group = file.row_group(row_group)
    chunk = group.columns[leaf.index]
    is_flat = leaf.max_repetition == 0
    with at_page(file, row_group, leaf):
        walk = walk_pages(chunk.range, chunk.num_values, group.num_rows, is_flat=is_flat)
        pages = run_walk(walk, file.source.read)
        if pages.needs_levels:
            pages = with_row_starts(pages, list(_row_starts(file, leaf, chunk.codec, pages)))
    return pages


def _of_lone_pages(
    file: OpenFile, row_group: int, columns: Sequence[int]
) -> Iterator[tuple[int, PageMap]]:
    """Yield the maps of flat columns that have one data page, whose headers are read together."""
    import numpy as np

    group = file.row_group(row_group)
    flat = [number for number in columns if file.footer.leaves[number].max_repetition == 0]
    chunks = [group.columns[number] for number in flat]
    starts = np.array([chunk.range.offset for chunk in chunks], np.int64)
    firsts = headers_at(file, starts)
    is_dictionary = firsts.types == PageType.DICTIONARY
    starts = np.where(is_dictionary, starts + firsts.total_bytes, starts)
    headers = headers_at(file, starts)
    ends = (starts + headers.total_bytes).tolist()
    kinds, encodings = headers.types.tolist(), headers.encodings.tolist()
    plain_bytes = (headers.header_bytes + headers.uncompressed_bytes).tolist()
    is_lone = headers.is_data & (headers.num_values == group.num_rows)
    for at in np.flatnonzero(is_lone).tolist():
        place = chunks[at].range
        if chunks[at].num_values != group.num_rows or ends[at] > place.end:
            continue
        start = int(starts[at])
        yield (
            flat[at],
            PageMap(
                array("q", [start]),
                array("q", [ends[at] - start]),
                array("q", [0]),
                array("q", [group.num_rows]),
                Range(place.offset, start - place.offset) if is_dictionary[at] else None,
                group.num_rows,
                headers=WalkedHeaders(
                    array("b", [kinds[at]]),
                    array("b", [encodings[at]]),
                    array("q", [plain_bytes[at]]),
                ),
            ),
        )


def headers_at(file: OpenFile, offsets: Numbers) -> HeaderTable:
    """Read the headers of pages that begin at some places of a file, all at once."""
    from engine.formats.parquet.bytes.header_table import read_header_table

    def read(offsets: list[int], length: int) -> Sequence[bytes]:
        end = file.footer_offset
        places = [Range(offset, max(0, min(length, end - offset))) for offset in offsets]
        return file.source.read_many(places, sparse=True)

    return read_header_table(read, offsets)


def _with_headers(
    file: OpenFile, maps: Sequence[PageMap | None]
) -> Iterator[tuple[Leaf, PageMap, HeaderTable]]:
    """Yield every map that there is with the headers of its pages, the dictionary's first.

    Those of some columns are read together, so that many columns take few calls.
    """
    import numpy as np

    some: list[tuple[Leaf, PageMap, list[int]]] = []
    num_pages = 0
    for leaf in file.footer.leaves:
        pages = maps[leaf.index]
        if pages is not None:
            first = [] if pages.dictionary is None else [pages.dictionary.offset]
            some.append((leaf, pages, [*first, *pages.offsets]))
            num_pages += len(some[-1][2])
        if some and (num_pages >= _HEADERS_AT_ONCE or leaf is file.footer.leaves[-1]):
            places = [place for _, _, offsets in some for place in offsets]
            headers = headers_at(file, np.array(places, np.int64))
            stop = 0
            for one, its_pages, offsets in some:
                start, stop = stop, stop + len(offsets)
                yield one, its_pages, headers.chosen(slice(start, stop))
            some, num_pages = [], 0


def _is_proved(
    file: OpenFile, leaf: Leaf, chunk: ColumnChunk, pages: PageMap, headers: HeaderTable
) -> bool:
    """Whether the headers of all pages, and what else counts rows, say the same as the index."""
    import numpy as np

    sizes = [pages.dictionary.length] if pages.dictionary is not None else []
    if headers.total_bytes.tolist() != [*sizes, *pages.sizes]:
        return False
    first = len(sizes)
    if (first and headers.types[0] != PageType.DICTIONARY) or not headers.is_data[first:].all():
        return False
    rows = np.diff([*pages.first_rows, pages.num_rows])
    values, told = headers.num_values[first:], headers.num_rows[first:]
    if values.sum() != chunk.num_values or ((told >= 0) & (told != rows)).any():
        return False
    if leaf.max_repetition == 0:
        return bool((values == rows).all())
    return bool((told >= 0).all()) or _levels_say(file, leaf, chunk, pages, rows.tolist())


def _levels_say(
    file: OpenFile, leaf: Leaf, chunk: ColumnChunk, pages: PageMap, rows: Sequence[int]
) -> bool:
    """Whether so many rows begin in each page: by the column index' histograms, else by levels."""
    where = chunk.column_index
    if where is not None:
        with suppress(BadStructure):
            index = ColumnIndex.decode(file.source.read(where.offset, where.length))
            if index.num_pages == pages.num_pages and index.repetition_histograms:
                each = len(index.repetition_histograms) // index.num_pages
                if list(index.repetition_histograms[::each]) == list(rows):
                    return True
    counted = [page.num_rows for page in _row_starts(file, leaf, chunk.codec, pages)]
    return counted == list(rows)


def _row_starts(file: OpenFile, leaf: Leaf, codec: int, pages: PageMap) -> Iterator[RowStarts]:
    from engine.formats.parquet.bytes.codecs import decompress
    from engine.formats.parquet.bytes.levels import count_row_starts

    for number in range(pages.num_pages):
        header, body = read_page(file, pages.page(number))
        if header.type is PageType.DATA:
            body = decompress(codec, body, header.uncompressed_bytes)
        yield count_row_starts(header, body, max_repetition=leaf.max_repetition)


@contextmanager
def at_page(file: OpenFile, row_group: int, leaf: Leaf, page: int | None = None) -> Iterator[None]:
    """Name file, column, row group and page in errors about what is in them."""
    try:
        yield
    except BadStructure as error:
        where = f"{file.file.path}: column {leaf.name}, row group {row_group}"
        if str(error).startswith(where):
            raise
        raise BadPage(f"{where}{'' if page is None else f', page {page}'}: {error}") from error


def read_page(file: OpenFile, where: Range) -> tuple[PageHeader, bytes]:
    """Read a page: its header, and its body as it lies in the file."""
    header, body = split_page(memoryview(file.source.read(where.offset, where.length)))
    return header, bytes(body)


def keeps_cut_page(file: OpenFile, num_bytes: int) -> bool:
    """Whether a page that a cut passes through is kept for the other part, once read."""
    return file.source.is_remote and num_bytes <= _MAX_KEPT_PAGE_BYTES


def read_pages(file: OpenFile, places: Sequence[Range]) -> Iterator[memoryview]:
    """Yield the bytes of pages, in the order given; those that lie in a row are read at once."""
    first = 0
    while first < len(places):
        start, end = places[first].offset, places[first].end
        last = first + 1
        while last < len(places) and places[last].offset == end:
            if places[last].end - start > COPY_STEP_BYTES:
                break
            end = places[last].end
            last += 1
        data = memoryview(file.source.read(start, end - start))
        for place in places[first:last]:
            yield data[place.offset - start : place.end - start]
        first = last


def split_page(data: memoryview) -> tuple[PageHeader, memoryview]:
    """Return header and body of a page as it lies in the file.

    Raises:
        BadStructure: it is no page.
    """
    try:
        header = read_page_header(bytes(data[:HEADER_BYTES]), limit_bytes=len(data))
    except BadPage:
        raise
    except BadStructure:  # a longer header
        header = read_page_header(bytes(data), limit_bytes=len(data))
    return header, data[header.header_bytes : header.total_bytes]


@dataclass(frozen=True)
class Headers:
    """What the headers of some data pages say; one entry a page.

    ``uncompressed_bytes``: header, and body before compression.
    """

    encodings: array[int]
    num_values: array[int]
    uncompressed_bytes: array[int]
    page_types: array[int]


def read_headers(file: OpenFile, pages: PageMap, numbers: Sequence[int]) -> Headers:
    """Read the headers of some data pages, nothing else of them."""
    found = Headers(array("b"), array("q"), array("q"), array("b"))
    walked = pages.headers
    if walked is not None:
        for number in numbers:
            found.encodings.append(walked.encodings[number])
            found.num_values.append(pages.num_values[number])
            found.uncompressed_bytes.append(walked.uncompressed_bytes[number])
            found.page_types.append(walked.types[number])
        return found
    places = [pages.page(number) for number in numbers]
    heads = [Range(where.offset, min(HEADER_BYTES, where.length)) for where in places]
    # All at once: a store answers few large requests sooner than many small ones.
    contents = file.source.read_many(heads, sparse=True)
    for number, where, data in zip(numbers, places, contents, strict=True):
        header = skim_header(data) or read_header(file, where)
        kind, compressed = header.type, header.compressed_bytes
        if kind not in (PageType.DATA, PageType.DATA_V2) or not where.length - compressed > 0:
            raise BadPage(f"page {number} at byte {where.offset} is not the data page it should be")
        if len(pages.num_values) and header.num_values != pages.num_values[number]:
            raise BadPage(
                f"page {number} has {header.num_values} values, by the index "
                f"{pages.num_values[number]}"
            )
        found.encodings.append(header.encoding)
        found.num_values.append(header.num_values)
        found.uncompressed_bytes.append(header.uncompressed_bytes + where.length - compressed)
        found.page_types.append(kind)
    return found


def read_header(file: OpenFile, where: Range) -> PageHeader:
    """Read the whole header of a page, nothing of its body."""
    length = HEADER_BYTES
    while True:
        data = file.source.read(where.offset, min(length, where.length))
        try:
            return read_page_header(data)
        except BadPage:
            raise
        except BadStructure:
            if len(data) == where.length or length > _MAX_HEADER_BYTES:
                raise
            length *= 8


def read_each_header(file: OpenFile, places: Sequence[Range]) -> list[PageHeader]:
    """Read the headers of pages anywhere, all at once."""
    heads = [Range(where.offset, min(HEADER_BYTES, where.length)) for where in places]
    found = []
    for where, data in zip(places, file.source.read_many(heads, sparse=True), strict=True):
        try:
            found.append(read_page_header(data))
        except BadPage:
            raise
        except BadStructure:  # a longer header
            found.append(read_header(file, where))
    return found


def dictionary_pages(file: OpenFile, row_group: int, leaf: Leaf) -> int:
    """Return how many data pages at the chunk's beginning may use its dictionary.

    Writers begin with the dictionary and give it up for good once it grows too large. Where the
    footer counts pages by encoding that settles it; else the headers are read.
    """
    pages = page_maps(file, row_group)[leaf.index]
    if pages.dictionary is None or not pages.num_pages:
        return 0
    chunk = file.row_group(row_group).columns[leaf.index]
    counted = counted_pages(chunk)
    if sum(counted.values()) == pages.num_pages:
        return sum(count for (_, encoding), count in counted.items() if encoding in (2, 8))
    encodings = read_headers(file, pages, range(pages.num_pages)).encodings
    return max((i + 1 for i, encoding in enumerate(encodings) if encoding in (2, 8)), default=0)


def counted_pages(chunk: ColumnChunk) -> Counter[tuple[int, int]]:
    """Return how many data pages the footer says there are, by type and encoding; empty if none."""
    counted: Counter[tuple[int, int]] = Counter()
    stats = spec.PageEncodingStats
    listed = value(chunk.meta, spec.ColumnMetaData.ENCODING_STATS)
    for item in () if listed is None else listed.items:
        entry = item if isinstance(item, dict) else spec.read(stats, item)
        kind = value(entry, stats.PAGE_TYPE)
        if kind in (PageType.DATA, PageType.DATA_V2):
            counted[kind, value(entry, stats.ENCODING)] += value(entry, stats.COUNT, 0)
    return counted
