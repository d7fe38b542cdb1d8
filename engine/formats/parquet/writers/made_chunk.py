"""The footer entry of a column chunk that was made, and its offset index.

Kept from the source are type, path, key-value metadata, and fields that nobody here knows. There
are as many entries as a wide file has columns, in every part; so the metadata is put together from
bytes, which takes a third of the time of structures.

Not covered: where page indexes and Bloom filters come to lie (:mod:`.writers.splice`).
Source: parquet.thrift of apache/parquet-format, ``ColumnChunk``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import ColumnChunk, value
from engine.formats.parquet.bytes.page_index import OffsetIndex
from engine.formats.parquet.bytes.thrift import I32, LIST, STRUCT, Raw, Struct
from engine.formats.parquet.writers.chunk import NewChunk

INDEXES = frozenset(
    (
        spec.ColumnChunk.OFFSET_INDEX_OFFSET,
        spec.ColumnChunk.OFFSET_INDEX_LENGTH,
        spec.ColumnChunk.COLUMN_INDEX_OFFSET,
        spec.ColumnChunk.COLUMN_INDEX_LENGTH,
    )
)
_META = spec.ColumnMetaData
_BLOOM_FILTER = frozenset((_META.BLOOM_FILTER_OFFSET, _META.BLOOM_FILTER_LENGTH))
_NOT_KEPT = frozenset(  # unless made anew
    (
        _META.INDEX_PAGE_OFFSET,
        _META.DICTIONARY_PAGE_OFFSET,
        _META.STATISTICS,
        _META.SIZE_STATISTICS,
        _META.GEOSPATIAL_STATISTICS,
    )
)


def made_chunk(
    chunk: ColumnChunk, new: NewChunk, position: int, num_bytes: int, *, keeps_bloom_filter: bool
) -> Struct:
    """Return the ``ColumnChunk`` of a made chunk of ``num_bytes`` that lies at ``position``.

    Kept from the source besides: the Bloom filter, where it is one of all the values. Statistics
    are those of the rows kept, or absent; geospatial statistics are absent. Metadata is
    :class:`Raw`, unless the new place of the Bloom filter is still to go into it.
    """
    struct = without_indexes(chunk.struct)
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):  # some writers name the chunk's beginning, some its end
        at_end = value(struct, place) >= chunk.range.end
        struct[place] = spec.entry(place, position + (num_bytes if at_end else 0))
    meta = _made_meta(chunk.meta, new, position, num_bytes, keeps_bloom_filter=keeps_bloom_filter)
    is_open = keeps_bloom_filter and _META.BLOOM_FILTER_OFFSET in chunk.meta
    struct[spec.ColumnChunk.META_DATA] = (
        STRUCT,
        thrift.decode(meta, max_depth=0)[0] if is_open else meta,
    )
    return struct


def without_indexes(chunk: Struct) -> Struct:
    """Return a chunk's fields without its indexes, which are placed once they are written."""
    return {field: entry for field, entry in chunk.items() if field not in INDEXES}


def _made_meta(
    meta: Struct, new: NewChunk, position: int, num_bytes: int, *, keeps_bloom_filter: bool
) -> Raw:
    made: dict[int, bytes] = {
        _META.ENCODINGS: _numbers(tuple(new.encodings)),
        _META.CODEC: _usual(new.codec),
        _META.NUM_VALUES: _usual(new.num_values),
        _META.TOTAL_UNCOMPRESSED_SIZE: _usual(new.uncompressed_bytes),
        _META.TOTAL_COMPRESSED_SIZE: _usual(num_bytes),
        _META.DATA_PAGE_OFFSET: _number(position + new.first_data_page),
    }
    if new.has_dictionary:
        made[_META.DICTIONARY_PAGE_OFFSET] = _number(position)
    if new.statistics is not None:
        made[_META.STATISTICS] = _encoded(new.statistics)
    if _META.ENCODING_STATS in meta:
        made[_META.ENCODING_STATS] = _encoding_stats(tuple(new.encoding_stats))
    if new.size_statistics is not None and _META.SIZE_STATISTICS in meta:
        made[_META.SIZE_STATISTICS] = _encoded(new.size_statistics)
    out = bytearray()
    for field, head in _heads(
        tuple([(field, kind) for field, (kind, _) in meta.items()]), tuple(made), keeps_bloom_filter
    ):
        out += head
        if field in made:
            out += made[field]
        elif meta[field][0] > thrift.FALSE:
            thrift.put_value(out, *meta[field])
    out.append(0)
    return Raw(out)


@lru_cache(256)
def _heads(
    shape: tuple[tuple[int, int], ...], made: tuple[int, ...], keeps_bloom_filter: bool
) -> tuple[tuple[int, bytes], ...]:
    """Return the fields of metadata that is made, in order, each with its head on the wire.

    Args:
        shape: fields of the source's metadata, with their wire types.
        made: fields that are made anew.
        keeps_bloom_filter: whether fields that say where one lies stay.
    """
    kinds = {field: kind for field, kind in shape if field not in _NOT_KEPT}
    num_kept = len(kinds)
    kinds |= {field: _META.fields[field].kind for field in made}
    order = list(kinds) if len(kinds) == num_kept else sorted(kinds)
    if not keeps_bloom_filter:
        order = [field for field in order if field not in _BLOOM_FILTER]
    return tuple(
        (field, thrift.field_head(field, kinds[field], last))
        for last, field in pairwise([0, *order])
    )


def _number(number: int) -> bytes:
    """Return a number on the wire."""
    out = bytearray()
    thrift.put_zigzag(out, number)
    return bytes(out)


# Sizes are much alike from column to column.
_usual = lru_cache(1 << 14)(_number)


@lru_cache(1024)
def _numbers(numbers: tuple[int, ...]) -> bytes:
    """Return a list of numbers on the wire."""
    out = bytearray()
    thrift.put_value(out, LIST, thrift.Sequence(I32, list(numbers)))
    return bytes(out)


@lru_cache(1024)
def _encoding_stats(counted: tuple[tuple[int, int, int], ...]) -> bytes:
    """Return a list of ``PageEncodingStats`` on the wire."""
    fields = spec.PageEncodingStats.fields.values()
    structs = [spec.struct_of(dict(zip(fields, each, strict=True))) for each in counted]
    out = bytearray()
    thrift.put_value(out, LIST, thrift.Sequence(STRUCT, structs))
    return bytes(out)


def _encoded(struct: Struct | Raw) -> bytes:
    return struct if isinstance(struct, Raw) else thrift.encode(struct)


def offset_index(new: NewChunk, position: int) -> bytes | None:
    """Return the ``OffsetIndex`` of a made chunk that lies at ``position``."""
    if new.pages is None:
        return None
    sizes = None if new.page_value_bytes is None else tuple(new.page_value_bytes)
    return OffsetIndex(tuple(new.pages), sizes).shifted(position).encode()
