"""Pages of a source, and their headers, read where they lie: no row group is known here."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes.page_map import (
    PageMap,
)
from engine.formats.parquet.bytes.pages import (
    HEADER_BYTES,
    PageHeader,
    PageType,
    read_page_header,
    skim_header,
    split_page,
)
from engine.model import Range
from engine.storage import Source
from engine.storage.base import COPY_STEP_BYTES
from engine.wording import counted

if TYPE_CHECKING:
    from engine.formats.parquet.bytes.chunk_table import Numbers
    from engine.formats.parquet.bytes.header_table import HeaderTable


_MAX_HEADER_BYTES = 1 << 20


def headers_at(source: Source, data_end: int, offsets: Numbers) -> HeaderTable:
    """Read the headers of pages that begin at some places of a file, all at once."""
    from engine.formats.parquet.bytes.header_table import read_header_table

    def read(offsets: list[int], length: int) -> Sequence[bytes]:
        places = [Range(offset, max(0, min(length, data_end - offset))) for offset in offsets]
        return source.read_many(places, sparse=True)

    return read_header_table(read, offsets)


def read_page(source: Source, where: Range) -> tuple[PageHeader, bytes]:
    """Read a page: its header, and its body as it lies in the file."""
    header, body = split_page(memoryview(source.read(where.offset, where.length)))
    return header, bytes(body)


def read_pages(source: Source, places: Sequence[Range]) -> Iterator[memoryview]:
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
        data = memoryview(source.read(start, end - start))
        for place in places[first:last]:
            yield data[place.offset - start : place.end - start]
        first = last


@dataclass(frozen=True)
class Headers:
    """What the headers of some data pages say; one entry a page.

    ``uncompressed_bytes``: header, and body before compression.
    """

    encodings: array[int]
    num_values: array[int]
    uncompressed_bytes: array[int]
    page_types: array[int]


def read_headers(source: Source, pages: PageMap, numbers: Sequence[int]) -> Headers:
    """Return what the headers of some data pages say: what was read before, else read now."""
    known = pages.headers
    if known is not None:
        told = known.encodings, pages.num_values, known.uncompressed_bytes, known.types
        return Headers(*(_chosen(each, numbers) for each in told))
    found = Headers(array("b"), array("q"), array("q"), array("b"))
    places = [pages.page(number) for number in numbers]
    heads = [Range(where.offset, min(HEADER_BYTES, where.length)) for where in places]
    # All at once: a store answers few large requests sooner than many small ones.
    contents = source.read_many(heads, sparse=True)
    for number, where, data in zip(numbers, places, contents, strict=True):
        header = skim_header(data) or read_header(source, where)
        kind, compressed = header.type, header.compressed_bytes
        if kind not in (PageType.DATA, PageType.DATA_V2) or not where.length - compressed > 0:
            raise BadPage(f"page {number} at byte {where.offset} is not the data page it should be")
        if len(pages.num_values) and header.num_values != pages.num_values[number]:
            raise BadPage(
                f"page {number} has {counted(header.num_values, 'value')}, by the index "
                f"{pages.num_values[number]:,}"
            )
        found.encodings.append(header.encoding)
        found.num_values.append(header.num_values)
        found.uncompressed_bytes.append(header.uncompressed_bytes + where.length - compressed)
        found.page_types.append(kind)
    return found


def _chosen(values: array[int], numbers: Sequence[int]) -> array[int]:
    if isinstance(numbers, range):
        return values[numbers.start : numbers.stop]
    return array(values.typecode, [values[number] for number in numbers])


def read_header(source: Source, where: Range) -> PageHeader:
    """Read the whole header of a page, nothing of its body."""
    length = HEADER_BYTES
    while True:
        data = source.read(where.offset, min(length, where.length))
        try:
            return read_page_header(data)
        except BadPage:
            raise
        except BadStructure:
            if len(data) == where.length or length > _MAX_HEADER_BYTES:
                raise
            length *= 8


def read_each_header(source: Source, places: Sequence[Range]) -> list[PageHeader]:
    """Read the headers of pages anywhere, all at once."""
    heads = [Range(where.offset, min(HEADER_BYTES, where.length)) for where in places]
    found = []
    for where, data in zip(places, source.read_many(heads, sparse=True), strict=True):
        try:
            found.append(read_page_header(data))
        except BadPage:
            raise
        except BadStructure:  # a longer header
            found.append(read_header(source, where))
    return found
