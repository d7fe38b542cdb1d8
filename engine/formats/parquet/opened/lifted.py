"""Definition levels for a column that is never null in a file, and may be null as it is read.

All its values are there, so the levels of a page are one run. They go in front of the values; what
is compressed stays as it is (:mod:`.bytes.prepended`), and is copied.
"""

from __future__ import annotations

from typing import Any

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Encoding, value, with_fields
from engine.formats.parquet.bytes.one_value import Levels
from engine.formats.parquet.bytes.page_index import ColumnIndex, OffsetIndex, PageLocation
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import (
    HEADER_BYTES,
    PageHeader,
    PageType,
    read_page_header,
    signed_crc,
)
from engine.formats.parquet.bytes.prepended import (
    TAIL_BYTES,
    Prepended,
    crc_behind,
    crc_of_both,
    head_bytes,
    prepended,
)
from engine.formats.parquet.bytes.thrift import STRUCT, Struct
from engine.formats.parquet.opened.headers import read_header
from engine.formats.parquet.opened.made_bytes import MadeBytes
from engine.model import Range
from engine.storage import Source

_CHUNK, _META = spec.ColumnChunk, spec.ColumnMetaData


def lifted_chunk(
    source: Source, chunk: ColumnChunk, pages: PageMap, levels: Levels, made: MadeBytes
) -> Struct:
    """Return the footer's entry of a chunk with levels; its bytes are put behind the source's.

    Args:
        source: the file.
        chunk: as the file has it, of a flat column that is never null.
        pages: where its pages lie.
        levels: of all its values.
        made: takes the bytes.

    Raises:
        BadStructure: a page is damaged.
        Unsupported: nothing can be put in front of what is compressed; the message says why.
    """
    meta = dict(chunk.meta)
    for field in (_META.DICTIONARY_PAGE_OFFSET, _META.INDEX_PAGE_OFFSET):
        meta.pop(field, None)
    begin = made.end
    if pages.dictionary is not None:
        meta[_META.DICTIONARY_PAGE_OFFSET] = spec.entry(_META.DICTIONARY_PAGE_OFFSET, begin)
        made.put(pages.dictionary)
    first, more_bytes = made.end, 0
    locations = []
    places = [pages.page(number) for number in range(pages.num_pages)]
    lengths = [min(place.length, HEADER_BYTES + head_bytes(place.length)) for place in places]
    heads = source.read_many(
        [Range(place.offset, length) for place, length in zip(places, lengths, strict=True)],
        sparse=True,
    )
    for place, row, head in zip(places, pages.first_rows, heads, strict=True):
        at = made.end
        more_bytes += _put_page(source, place, head, chunk.codec, levels, made)
        locations.append(PageLocation(at, made.end - at, row))
    plain_bytes = chunk.uncompressed_bytes + more_bytes
    fields: dict[spec.Field, Any] = {
        _META.DATA_PAGE_OFFSET: first,
        _META.TOTAL_UNCOMPRESSED_SIZE: plain_bytes,
        _META.TOTAL_COMPRESSED_SIZE: made.end - begin,
        _META.ENCODINGS: list(dict.fromkeys([*chunk.encodings, int(Encoding.RLE)])),
    }
    meta = _without_histogram(with_fields(meta, spec.struct_of(fields)))
    struct = dict(chunk.struct)
    if value(struct, _CHUNK.FILE_OFFSET):
        struct[_CHUNK.FILE_OFFSET] = spec.entry(_CHUNK.FILE_OFFSET, begin)
    struct[_CHUNK.META_DATA] = (STRUCT, meta)
    return struct | _indexes(source, chunk, locations, made)


def _put_page(
    source: Source, place: Range, head: bytes, codec: int, levels: Levels, made: MadeBytes
) -> int:
    """Put a page with levels behind the source's bytes; return by how much it grows when plain."""
    try:
        header = read_page_header(head)
    except BadPage:
        raise
    except BadStructure:  # a longer header
        header = read_header(source, place)
    if not header.is_data or header.total_bytes != place.length:
        raise BadPage(f"the page at byte {place.offset} is not the data page it should be")
    body = Range(place.offset + header.header_bytes, header.compressed_bytes)
    wanted = head_bytes(body.length)
    begin = head[header.header_bytes : header.header_bytes + wanted]
    if len(begin) < wanted:
        begin = source.read(body.offset, wanted)
    (section,) = levels.encoded(header.num_values)
    new = _with_levels(source, header, body, begin, codec, section)
    extra_bytes = len(section) + (4 if header.type is PageType.DATA else 0)
    encoded = _header(header, body, begin, new, len(section), extra_bytes)
    made.put(encoded + new.front)
    back_bytes = len(new.back)
    made.put(Range(body.offset + new.skipped, body.length - new.skipped - back_bytes))
    made.put(new.back)
    return len(encoded) - header.header_bytes + extra_bytes


def _with_levels(
    source: Source, header: PageHeader, body: Range, begin: bytes, codec: int, section: bytes
) -> Prepended:
    if header.type is PageType.DATA_V2:
        if header.level_bytes:
            raise BadPage("its page has levels, and the schema says that it needs none")
        return Prepended(section, 0)  # V2 levels are not compressed
    block = len(section).to_bytes(4, "little") + section
    if not body.length:
        from engine.formats.parquet.bytes.codecs import compress  # imports Arrow

        return Prepended(bytes(compress(codec, block)), 0)
    tail_at = max(body.offset, body.end - TAIL_BYTES)
    tail = source.read(tail_at, body.end - tail_at) if codec == Codec.GZIP else b""
    return prepended(codec, block, begin, tail, header.uncompressed_bytes)


def _header(
    header: PageHeader, body: Range, begin: bytes, new: Prepended, section: int, extra_bytes: int
) -> bytes:
    """Return the header of a page with levels in front; its checksum is kept where it is known."""
    names, v1, v2 = spec.PageHeader, spec.DataPageHeader, spec.DataPageHeaderV2
    if header.type is PageType.DATA:
        field: spec.Field = names.DATA_PAGE_HEADER
        changes: dict[spec.Field, Any] = {v1.DEFINITION_LEVEL_ENCODING: int(Encoding.RLE)}
    else:
        field = names.DATA_PAGE_HEADER_V2
        changes = {v2.DEFINITION_LEVELS_BYTE_LENGTH: section}
    detail = with_fields(header.struct[field][1], spec.struct_of(changes))
    outer = {
        names.UNCOMPRESSED_PAGE_SIZE: header.uncompressed_bytes + extra_bytes,
        names.COMPRESSED_PAGE_SIZE: body.length + len(new.front) - new.skipped,
        field: detail,
    }
    struct = {number: entry for number, entry in header.struct.items() if number != names.CRC}
    if header.crc is not None and not new.back:
        left = body.length - new.skipped
        rest = crc_behind(begin[: new.skipped], header.crc, left)
        outer[names.CRC] = signed_crc(crc_of_both(new.front, rest, left))
    return thrift.encode(with_fields(struct, spec.struct_of(outer)))


def _without_histogram(meta: Struct) -> Struct:
    """Return what is said of a chunk without a histogram of levels that it did not have."""
    sizes, histogram = _META.SIZE_STATISTICS, spec.SizeStatistics.DEFINITION_LEVEL_HISTOGRAM
    raw = value(meta, sizes)
    if raw is None:
        return meta
    told = raw if isinstance(raw, dict) else spec.read(spec.SizeStatistics, raw)
    return meta | {sizes: (STRUCT, {f: it for f, it in told.items() if f != histogram})}


def _indexes(
    source: Source, chunk: ColumnChunk, locations: list[PageLocation], made: MadeBytes
) -> Struct:
    """Return where the page indexes of a chunk with levels lie."""
    found: dict[spec.Field, Any] = {}
    if chunk.offset_index is not None:
        own = OffsetIndex.decode(source.read(*chunk.offset_index))
        sizes = own.unencoded_bytes
        if len(own.locations) != len(locations):
            sizes = None
        place = made.put(OffsetIndex(tuple(locations), sizes, own.rest).encode())
        found |= {_CHUNK.OFFSET_INDEX_OFFSET: place[0], _CHUNK.OFFSET_INDEX_LENGTH: place[1]}
    if chunk.column_index is not None:
        index = ColumnIndex.decode(source.read(*chunk.column_index))
        if index.definition_histograms is not None:
            names = spec.ColumnIndex.DEFINITION_LEVEL_HISTOGRAMS
            kept = {field: entry for field, entry in index.struct.items() if field != names}
            place = made.put(thrift.encode(kept))
            found |= {_CHUNK.COLUMN_INDEX_OFFSET: place[0], _CHUNK.COLUMN_INDEX_LENGTH: place[1]}
    return spec.struct_of(found)
