"""Check that a part's offsets and indexes point where they claim.

Readers that prune pages trust the page index blindly, and crash or return wrong rows when it is
stale. Pages themselves are not decompressed here: their values are :mod:`engine.verifier.values`'s.
Source: PageIndex.md and parquet.thrift of apache/parquet-format.
"""

from __future__ import annotations

from typing import Any

from engine.errors import BadStructure, Different
from engine.format import thrift
from engine.format.footer import MAGIC, ColumnChunk, Footer, Leaf, Range, value
from engine.format.one_column import group_rows, read_chunk
from engine.format.thrift import Struct
from engine.layout import read_footer
from engine.storage import Source
from engine.verifier.opened import name_of

_HEADER_BYTES = 512  # most page headers; longer ones, with long statistics, are read again
_DATA_PAGES = (0, 3)
_DICTIONARY_PAGE = 2
_SAMPLED_CHUNKS = 512
_INDEX_LISTS = {1: "null pages", 2: "minima", 3: "maxima"}


def check_part_structure(source: Source, *, sampled_chunks: int = _SAMPLED_CHUNKS) -> int:
    """Check one part's chunks, page index and (for a sample of chunks) page headers.

    Every chunk's place is checked; offset and column indexes and the page headers they point at are
    read for ``sampled_chunks`` chunks at most, spread evenly. Returns how many were read.

    Raises:
        Different: names the part, the column and what is wrong.
        NotParquet, BadStructure: the footer itself cannot be read.
    """
    footer, footer_offset = read_footer(source)
    num_chunks = footer.num_row_groups * len(footer.leaves)
    step = max(1, -(-num_chunks // max(1, sampled_chunks)))
    num_read = 0
    for group in range(footer.num_row_groups):
        for leaf in footer.leaves:
            num_rows, chunk = read_chunk(footer, group, leaf.index)
            where = f"{name_of(source.file)}: column {leaf.name}, row group {group}"
            _check_place(chunk, num_rows, footer_offset, leaf, where)
            if num_rows and (group * len(footer.leaves) + leaf.index) % step == 0:
                _check_pages(source, chunk, num_rows, where)
                num_read += 1
    _check_group_sums(footer, name_of(source.file))
    return num_read


def _check_place(
    chunk: ColumnChunk, num_rows: int, footer_offset: int, leaf: Leaf, where: str
) -> None:
    if chunk.meta[1][1] != leaf.physical:
        raise Different(f"{where}: the chunk has another type than the schema")
    if not num_rows:
        return
    place = chunk.range
    if place.length <= 0 or not _inside(place, footer_offset):
        raise Different(f"{where}: bytes {place.offset} to {place.end} lie outside the data")
    if chunk.data_page_offset >= place.end:
        raise Different(f"{where}: the first data page lies behind the chunk")
    if not leaf.max_repetition and chunk.num_values != num_rows:
        raise Different(f"{where}: {chunk.num_values} values in {num_rows} rows")
    for index in (chunk.offset_index, chunk.column_index):
        if index is not None and not _inside(index, footer_offset):
            raise Different(f"{where}: a page index lies outside the file")
    if chunk.column_index is not None and chunk.offset_index is None:
        raise Different(f"{where}: a column index without an offset index")
    bloom_filter = chunk.bloom_filter_offset
    if bloom_filter is not None and not len(MAGIC) <= bloom_filter < footer_offset:
        raise Different(f"{where}: the Bloom filter lies outside the file")


def _inside(place: Range, end: int) -> bool:
    return place.offset >= len(MAGIC) and place.end <= end


def _check_group_sums(footer: Footer, name: str) -> None:
    held = sum(group_rows(footer))
    if held != footer.num_rows:
        raise Different(f"{name} claims {footer.num_rows} rows, its row groups hold {held}")


def _check_pages(source: Source, chunk: ColumnChunk, num_rows: int, where: str) -> None:
    place = chunk.range
    first = _page_header(source, place.offset, place.end, where)
    if value(first[0], 1) not in (*_DATA_PAGES, _DICTIONARY_PAGE):
        raise Different(f"{where}: the chunk begins with no page that we know")
    if chunk.offset_index is None:
        return
    locations = _locations(source, chunk.offset_index, where)
    _check_locations(locations, place, num_rows, where)
    for index in sorted({0, len(locations) // 2, len(locations) - 1}):
        _check_location(source, locations[index], place, where)
    _check_nothing_before(first, locations[0], place, where)
    if chunk.column_index is not None:
        _check_column_index(source, chunk, len(locations), where)


def _page_header(source: Source, offset: int, end: int, where: str) -> tuple[Struct, int]:
    """Return the page header at ``offset`` and its length."""
    for length in (min(_HEADER_BYTES, end - offset), end - offset):
        try:
            header, header_bytes = thrift.decode(source.read(offset, length))
        except BadStructure:
            continue
        if all(field in header for field in (1, 2, 3)):
            return header, header_bytes
    raise Different(f"{where}: no page header at byte {offset}")


def _locations(source: Source, place: Range, where: str) -> list[tuple[int, int, int]]:
    """Return (offset, length, first row) of each page."""
    try:
        struct, _ = thrift.decode(source.read(place.offset, place.length))
        return [(page[1][1], page[2][1], page[3][1]) for page in _items(struct, 1)]
    except (BadStructure, KeyError, TypeError) as error:
        raise Different(f"{where}: the offset index cannot be read") from error


def _items(struct: Struct, field: int) -> list[Any]:
    """Return a list's elements; none if there is no list."""
    found = value(struct, field)
    return found.items if isinstance(found, thrift.Sequence) else []


def _check_locations(
    locations: list[tuple[int, int, int]], place: Range, num_rows: int, where: str
) -> None:
    if not locations or locations[0][2] != 0:
        raise Different(f"{where}: the offset index does not begin at row 0")
    last_end, last_row = place.offset, 0
    for offset, length, row in locations:
        if offset < last_end or length <= 0 or offset + length > place.end:
            raise Different(f"{where}: the offset index points outside the chunk, at byte {offset}")
        if not last_row <= row <= num_rows:
            raise Different(f"{where}: the offset index's rows do not ascend, at row {row}")
        last_end, last_row = offset + length, row
    if last_end != place.end:
        raise Different(f"{where}: the offset index ends at byte {last_end}, not {place.end}")


def _check_location(
    source: Source, location: tuple[int, int, int], place: Range, where: str
) -> None:
    offset, length, _ = location
    header, header_bytes = _page_header(source, offset, place.end, where)
    if value(header, 1) not in _DATA_PAGES:
        raise Different(f"{where}: the offset index points at no data page, at byte {offset}")
    if header_bytes + value(header, 3) != length:
        raise Different(
            f"{where}: the page at byte {offset} takes {header_bytes + value(header, 3)} bytes, "
            f"the offset index says {length}"
        )


def _check_nothing_before(
    first: tuple[Struct, int], location: tuple[int, int, int], place: Range, where: str
) -> None:
    """Before the first data page stands the dictionary page, or nothing."""
    header, header_bytes = first
    has_dictionary = value(header, 1) == _DICTIONARY_PAGE
    skipped = header_bytes + value(header, 3) if has_dictionary else 0
    if location[0] != place.offset + skipped:
        raise Different(
            f"{where}: the first data page stands at byte {place.offset + skipped}, the offset "
            f"index says {location[0]}"
        )


def _check_column_index(source: Source, chunk: ColumnChunk, num_pages: int, where: str) -> None:
    place = chunk.column_index
    assert place is not None
    try:
        index, _ = thrift.decode(source.read(place.offset, place.length))
    except BadStructure as error:
        raise Different(f"{where}: the column index cannot be read") from error
    for field, what in _INDEX_LISTS.items():
        if len(_items(index, field)) != num_pages:
            raise Different(f"{where}: the column index lacks {what} of its {num_pages} pages")
    if 5 not in index:
        return
    counts = _items(index, 5)
    if len(counts) != num_pages:
        raise Different(f"{where}: the column index lacks null counts of its {num_pages} pages")
    statistics = value(chunk.meta, 12)
    total = value(thrift.decode(statistics)[0], 3) if statistics else None
    if total is not None and total != sum(counts):
        raise Different(f"{where}: {sum(counts)} nulls by page, {total} in the chunk")
