"""The entry of a chunk that was made: its own fields, the source's others, in canonical bytes."""

from hypothesis import given
from hypothesis import strategies as st

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import ColumnChunk, with_fields
from engine.formats.parquet.writers.chunk import NewChunk
from engine.formats.parquet.writers.made_chunk import made_chunk

META = spec.ColumnMetaData
STATISTICS = thrift.Raw(thrift.encode(spec.struct_of({spec.Statistics.NULL_COUNT: 3})))
NEEDED = {
    META.TYPE: 2,
    META.ENCODINGS: [0, 3],
    META.PATH_IN_SCHEMA: [b"a", b"b"],
    META.CODEC: 1,
    META.NUM_VALUES: 7,
    META.TOTAL_UNCOMPRESSED_SIZE: 99,
    META.TOTAL_COMPRESSED_SIZE: 80,
    META.DATA_PAGE_OFFSET: 4,
}
OPTIONAL = {
    META.KEY_VALUE_METADATA: [spec.struct_of({spec.KeyValue.KEY: b"k"})],
    META.INDEX_PAGE_OFFSET: 5,
    META.DICTIONARY_PAGE_OFFSET: 6,
    META.STATISTICS: STATISTICS,
    META.ENCODING_STATS: [],
    META.BLOOM_FILTER_OFFSET: 1_000,
    META.BLOOM_FILTER_LENGTH: 50,
    META.SIZE_STATISTICS: {},
    META.GEOSPATIAL_STATISTICS: {},
}
UNKNOWN = {18: (thrift.TRUE, True), 40: (thrift.BINARY, b"later"), 99: (thrift.STRUCT, {})}
NUMBERS = st.integers(0, 1 << 40)


@st.composite
def chunks(draw):
    known = draw(st.sets(st.sampled_from(list(OPTIONAL))))
    if META.BLOOM_FILTER_OFFSET not in known:
        known -= {META.BLOOM_FILTER_LENGTH}
    fields = spec.struct_of(NEEDED | {field: OPTIONAL[field] for field in known})
    fields |= {field: UNKNOWN[field] for field in draw(st.sets(st.sampled_from(list(UNKNOWN))))}
    order = sorted(fields) if draw(st.booleans()) else draw(st.permutations(list(fields)))
    place = {spec.ColumnChunk.FILE_OFFSET: draw(st.sampled_from([0, 4, 84]))}
    meta = {spec.ColumnChunk.META_DATA: {field: fields[field] for field in order}}
    return ColumnChunk(spec.struct_of(place | meta | {spec.ColumnChunk.OFFSET_INDEX_OFFSET: 9}))


@st.composite
def made(draw):
    return NewChunk(
        codec=draw(st.integers(0, 7)),
        num_values=draw(NUMBERS),
        uncompressed_bytes=draw(NUMBERS),
        first_data_page=draw(NUMBERS),
        has_dictionary=draw(st.booleans()),
        encodings=draw(st.lists(st.integers(0, 9))),
        encoding_stats=draw(st.lists(st.tuples(*[st.integers(0, 300)] * 3), max_size=20)),
        statistics=draw(st.sampled_from([None, STATISTICS, {}])),
        size_statistics=draw(st.sampled_from([None, {}])),
    )


def by_structures(chunk, new, position, num_bytes, *, keeps_bloom_filter):
    """Return the metadata as it is put together of structures."""
    stats = spec.PageEncodingStats.fields.values()
    counted = [spec.struct_of(dict(zip(stats, each, strict=True))) for each in new.encoding_stats]
    changes = {
        META.ENCODINGS: new.encodings,
        META.CODEC: new.codec,
        META.NUM_VALUES: new.num_values,
        META.TOTAL_UNCOMPRESSED_SIZE: new.uncompressed_bytes,
        META.TOTAL_COMPRESSED_SIZE: num_bytes,
        META.DATA_PAGE_OFFSET: position + new.first_data_page,
    }
    if new.has_dictionary:
        changes[META.DICTIONARY_PAGE_OFFSET] = position
    if new.statistics is not None:
        changes[META.STATISTICS] = new.statistics
    if META.ENCODING_STATS in chunk.meta:
        changes[META.ENCODING_STATS] = counted
    if new.size_statistics is not None and META.SIZE_STATISTICS in chunk.meta:
        changes[META.SIZE_STATISTICS] = new.size_statistics
    gone = {META.INDEX_PAGE_OFFSET, META.DICTIONARY_PAGE_OFFSET, META.STATISTICS}
    gone |= {META.SIZE_STATISTICS, META.GEOSPATIAL_STATISTICS}
    kept = {field: entry for field, entry in chunk.meta.items() if field not in gone}
    merged = with_fields(kept, spec.struct_of(changes))
    if not keeps_bloom_filter:
        merged.pop(META.BLOOM_FILTER_OFFSET, None)
        merged.pop(META.BLOOM_FILTER_LENGTH, None)
    return merged


@given(chunks(), made(), NUMBERS, NUMBERS, st.booleans())
def test_an_entry_is_that_of_structures_byte_for_byte(chunk, new, position, num_bytes, keeps):
    keeps_bloom_filter = keeps and META.BLOOM_FILTER_OFFSET in chunk.meta
    told = {"keeps_bloom_filter": keeps_bloom_filter}
    struct = made_chunk(chunk, new, position, num_bytes, **told)
    meta = struct[spec.ColumnChunk.META_DATA][1]
    wanted = by_structures(chunk, new, position, num_bytes, **told)
    assert thrift.encode(meta) == thrift.encode(wanted)
    assert isinstance(meta, dict) == keeps_bloom_filter
    assert spec.ColumnChunk.OFFSET_INDEX_OFFSET not in struct
    place = struct[spec.ColumnChunk.FILE_OFFSET][1]
    assert (
        place
        == {0: 0, 4: position, 84: position + num_bytes}[
            chunk.struct[spec.ColumnChunk.FILE_OFFSET][1]
        ]
    )
