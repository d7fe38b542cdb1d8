"""Check that a part's offsets and indexes point where they claim.

Readers that prune pages trust the page index blindly, and crash or return wrong rows when it is
stale. Pages themselves are not decompressed here: their values are :mod:`.verifier.values`'s.
Source: PageIndex.md and parquet.thrift of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.errors import BadStructure, Different
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import (
    ChunkTable,
    Numbers,
)
from engine.formats.parquet.bytes.footer import (
    DICTIONARY_ENCODINGS,
    MAGIC,
    TAIL_BYTES,
    ColumnChunk,
    Footer,
    Leaf,
    value,
)
from engine.formats.parquet.bytes.one_column import read_chunk
from engine.formats.parquet.bytes.page_index import OffsetIndex, PageLocation
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.opened import read_footer
from engine.formats.parquet.verifier.opened import name_of
from engine.formats.parquet.verifier.sizes import table_of
from engine.formats.parquet.verifier.statistics import facts_in
from engine.model import Range
from engine.storage import Source
from engine.wording import counted

_HEADER_BYTES = 512  # most page headers; longer ones, with long statistics, are read again
_PAGE = spec.PageHeader
_V1, _V2 = spec.DataPageHeader, spec.DataPageHeaderV2
# By type of page: the header of its own, and there the encoding and the number of values.
_DATA_HEADERS = {
    PageType.DATA: (_PAGE.DATA_PAGE_HEADER, _V1.ENCODING, _V1.NUM_VALUES),
    PageType.DATA_V2: (_PAGE.DATA_PAGE_HEADER_V2, _V2.ENCODING, _V2.NUM_VALUES),
}
SAMPLED_CHUNKS = 512
_INDEX_LISTS = {
    spec.ColumnIndex.NULL_PAGES: "null pages",
    spec.ColumnIndex.MIN_VALUES: "minima",
    spec.ColumnIndex.MAX_VALUES: "maxima",
    spec.ColumnIndex.NULL_COUNTS: "null counts",
}


def check_part_structure(source: Source, footer: Footer | None = None) -> int:
    """Check one part's chunks, page index and (for a sample of chunks) page headers.

    ``footer``: the part's own, if it was read.

    Every chunk's place is checked; offset and column indexes and the page headers they point at are
    read for :data:`SAMPLED_CHUNKS` chunks at most, spread evenly. Returns how many were read.

    Raises:
        Different: names the part, the column and what is wrong.
        NotParquet, BadStructure: the footer itself cannot be read.
    """
    if footer is None:
        footer, _ = read_footer(source)
    footer_offset = source.file.size_bytes - TAIL_BYTES - footer.size_bytes
    num_chunks = footer.num_row_groups * len(footer.leaves)
    step = max(1, -(-num_chunks // SAMPLED_CHUNKS))
    table = table_of(footer)
    looked_at = ~_are_in_place(table, footer.leaves, footer_offset)
    looked_at.ravel()[::step] = True
    num_read = 0
    for group, column in np.argwhere(looked_at).tolist():
        num_rows, chunk = read_chunk(footer, group, column)
        leaf = footer.leaves[column]
        where = f"{name_of(source.file)}: column {leaf.name}, row group {group}"
        _check_place(chunk, num_rows, footer_offset, leaf, where)
        if num_rows and (group * len(footer.leaves) + column) % step == 0:
            _check_pages(source, chunk, leaf, num_rows, where)
            num_read += 1
    _check_group_sums(footer, table, name_of(source.file))
    return num_read


def _are_in_place(table: ChunkTable, leaves: Sequence[Leaf], end: int) -> npt.NDArray[np.bool_]:
    """Return of each chunk whether :func:`_check_place` surely finds nothing wrong."""
    lengths = table.compressed_bytes
    is_flat = np.array([leaf.max_repetition == 0 for leaf in leaves])
    has_type = table.types == np.array([leaf.physical for leaf in leaves])
    has_values = (table.num_values == table.num_rows[:, np.newaxis]) | ~is_flat
    indexes = (
        (table.offset_index_offsets, table.offset_index_bytes),
        (table.column_index_offsets, table.column_index_bytes),
    )
    found: npt.NDArray[np.bool_] = has_type & has_values & _lie_inside(table.starts, lengths, end)
    for offsets, sizes in indexes:
        found &= ((offsets == 0) & (sizes == 0)) | _lie_inside(offsets, sizes, end)
    found &= table.data_page_offsets < table.starts + lengths
    found &= (table.column_index_bytes == 0) | (table.offset_index_bytes > 0)
    return found & table.is_plain[:, np.newaxis]


def _lie_inside(starts: Numbers, lengths: Numbers, end: int) -> npt.NDArray[np.bool_]:
    is_possible = (starts >= len(MAGIC)) & (lengths > 0) & (starts <= end) & (lengths <= end)
    return is_possible & (starts + lengths <= end)


def _check_place(
    chunk: ColumnChunk, num_rows: int, footer_offset: int, leaf: Leaf, where: str
) -> None:
    if value(chunk.meta, spec.ColumnMetaData.TYPE) != leaf.physical:
        raise Different(f"{where}: the chunk has another type than the schema")
    if not num_rows:
        return
    place = chunk.range
    if place.length <= 0 or not _inside(place, footer_offset):
        raise Different(f"{where}: bytes {place.offset} to {place.end} lie outside the data")
    if chunk.data_page_offset >= place.end:
        raise Different(f"{where}: the first data page lies behind the chunk")
    if not leaf.max_repetition and chunk.num_values != num_rows:
        raise Different(
            f"{where}: {counted(chunk.num_values, 'value')} in {counted(num_rows, 'row')}"
        )
    for index in (chunk.offset_index, chunk.column_index):
        if index is not None and not _inside(index, footer_offset):
            raise Different(f"{where}: a page index lies outside the file")
    if chunk.column_index is not None and chunk.offset_index is None:
        raise Different(f"{where}: a column index without an offset index")
    bloom_filter = chunk.bloom_filter_offset
    if bloom_filter is not None and not len(MAGIC) <= bloom_filter < footer_offset:
        raise Different(f"{where}: the Bloom filter lies outside the file")


def _inside(place: Range, end: int) -> bool:
    return place.offset >= len(MAGIC) and place.length > 0 and place.end <= end


def _check_group_sums(footer: Footer, table: ChunkTable, name: str) -> None:
    held = sum(table.num_rows.tolist())
    if held != footer.num_rows:
        raise Different(
            f"{name} claims {counted(footer.num_rows, 'row')}, its row groups hold {held:,}"
        )


def _check_pages(source: Source, chunk: ColumnChunk, leaf: Leaf, num_rows: int, where: str) -> None:
    place = chunk.range
    first = page_header(source, place.offset, place.end, where)
    kind = value(first[0], _PAGE.TYPE)
    if kind not in (*_DATA_HEADERS, PageType.DICTIONARY):
        raise Different(f"{where}: the chunk begins with no page that we know")
    has_dictionary = kind == PageType.DICTIONARY
    if not has_dictionary:
        _check_encoding(first[0], place.offset, has_dictionary, where)
    if chunk.offset_index is None:
        return
    begin = place.offset + (_page_bytes(first) if has_dictionary else 0)
    locations = _locations(source, chunk.offset_index, where)
    _check_locations(locations, Range(begin, place.end - begin), num_rows, where)
    ends = [location.first_row for location in locations[1:]] + [num_rows]
    for index in sorted({0, len(locations) // 2, len(locations) - 1}):
        location = locations[index]
        header = _check_location(source, location, place, where)
        _check_encoding(header, location.offset, has_dictionary, where)
        _check_rows(header, location, ends[index] - location.first_row, leaf, where)
    if chunk.column_index is not None:
        _check_column_index(source, chunk, len(locations), where)


def page_header(source: Source, offset: int, end: int, where: str) -> tuple[Struct, int]:
    """Return the page header at ``offset`` and its length."""
    for length in (min(_HEADER_BYTES, end - offset), end - offset):
        try:
            header, header_bytes = thrift.decode(source.read(offset, length))
            return spec.check(_PAGE, header), header_bytes
        except BadStructure:
            continue
    raise Different(f"{where}: no page header at byte {offset}")


def _page_bytes(page: tuple[Struct, int]) -> int:
    return page[1] + int(value(page[0], _PAGE.COMPRESSED_PAGE_SIZE))


def _locations(source: Source, place: Range, where: str) -> Sequence[PageLocation]:
    try:
        return OffsetIndex.decode(source.read(place.offset, place.length)).locations
    except BadStructure as error:
        raise Different(f"{where}: the offset index cannot be read ({error})") from error


def _check_locations(
    locations: Sequence[PageLocation], data: Range, num_rows: int, where: str
) -> None:
    """Check that pages fill the place of data pages, and that each begins with a row of its own."""
    if not locations or locations[0].first_row != 0:
        raise Different(f"{where}: the offset index does not begin at row 0")
    end, last_row = data.offset, -1
    for offset, length, row in locations:
        if length <= 0 or offset + length > data.end:
            raise Different(f"{where}: the offset index points outside the chunk, at byte {offset}")
        if offset != end:
            raise Different(
                f"{where}: a data page stands at byte {end}, the offset index says {offset}"
            )
        if not last_row < row < num_rows:
            raise Different(f"{where}: the offset index's rows do not ascend, at row {row}")
        end, last_row = offset + length, row
    if end != data.end:
        raise Different(f"{where}: the offset index ends at byte {end}, not {data.end}")


def _check_location(source: Source, location: PageLocation, place: Range, where: str) -> Struct:
    """Check that a data page stands where the index says, and return its header."""
    offset = location.offset
    page = page_header(source, offset, place.end, where)
    if value(page[0], _PAGE.TYPE) not in _DATA_HEADERS:
        raise Different(f"{where}: the offset index points at no data page, at byte {offset}")
    if _page_bytes(page) != location.compressed_bytes:
        raise Different(
            f"{where}: the page at byte {offset} takes {_page_bytes(page)} bytes, "
            f"the offset index says {location.compressed_bytes}"
        )
    return page[0]


def _data_header(header: Struct, offset: int, where: str) -> Struct:
    field = _DATA_HEADERS[value(header, _PAGE.TYPE)][0]
    if field not in header:
        raise Different(f"{where}: the page at byte {offset} has no {field.name}")
    return header[field][1]  # type: ignore[no-any-return]


def _check_encoding(header: Struct, offset: int, has_dictionary: bool, where: str) -> None:
    field = _DATA_HEADERS[value(header, _PAGE.TYPE)][1]
    encoding = value(_data_header(header, offset, where), field)
    if encoding in DICTIONARY_ENCODINGS and not has_dictionary:
        raise Different(f"{where}: the page at byte {offset} uses a dictionary, there is none")


def _check_rows(
    header: Struct, location: PageLocation, num_rows: int, leaf: Leaf, where: str
) -> None:
    """Compare the rows of a page, where its header tells them, with those of the index."""
    kind = value(header, _PAGE.TYPE)
    data = _data_header(header, location.offset, where)
    counts = [] if leaf.max_repetition else [value(data, _DATA_HEADERS[kind][2])]
    if kind == PageType.DATA_V2:
        counts.append(value(data, _V2.NUM_ROWS))
    for count in counts:
        if count != num_rows:
            raise Different(
                f"{where}: the page at byte {location.offset} holds {counted(count, 'row')}, the "
                f"offset index says {num_rows:,}"
            )


def _check_column_index(source: Source, chunk: ColumnChunk, num_pages: int, where: str) -> None:
    place = chunk.column_index
    assert place is not None
    try:
        index = spec.read(spec.ColumnIndex, source.read(place.offset, place.length))
    except BadStructure as error:
        raise Different(f"{where}: the column index cannot be read ({error})") from error
    for field, what in _INDEX_LISTS.items():
        if field in index and len(value(index, field).items) != num_pages:
            raise Different(
                f"{where}: the column index lacks {what} of its {counted(num_pages, 'page')}"
            )
    counts = value(index, spec.ColumnIndex.NULL_COUNTS)
    total = value(facts_in(chunk.statistics), spec.Statistics.NULL_COUNT)
    if counts is not None and total is not None and total != sum(counts.items):
        raise Different(f"{where}: {sum(counts.items)} nulls by page, {total} in the chunk")
