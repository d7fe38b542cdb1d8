"""Pages of opened sources: where they lie, what their headers say. Read once, kept with the file.

The decisions are made by sans-IO code (:mod:`.bytes.page_map`, :mod:`.bytes.pages`);
this module feeds it bytes. A page map comes from the offset index where there is a good one, else
from a walk over the page headers, and for repeated columns in V1 pages from their levels.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from engine.errors import BadPage, BadStructure, Unsupported
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Encoding, Leaf
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
from engine.formats.parquet.bytes.pages import (
    PageType,
    counted_pages,
)
from engine.formats.parquet.opened.file import OpenFile
from engine.formats.parquet.opened.headers import headers_at, read_headers, read_page
from engine.model import Range

if TYPE_CHECKING:
    from engine.formats.parquet.bytes.header_table import HeaderTable

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
