"""Every rule of the check is broken once, by the writer or by a source, and found each time."""

from __future__ import annotations

import re
import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import engine
import engine.formats.parquet.writers.splice as splice
from engine.errors import SourceError
from engine.formats.parquet.bytes import footer as ft
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import read_chunk_table
from engine.formats.parquet.bytes.footer import Footer, seal, value
from engine.formats.parquet.bytes.page_index import OffsetIndex, PageLocation
from engine.formats.parquet.opened import OpenFile
from engine.formats.parquet.writers import check
from engine.storage import open_storage
from tests.engine.running import make_table, parts_of, read_parts, run, write_source

META = spec.ColumnMetaData
CHUNK = spec.ColumnChunk
STATS = spec.Statistics
STATS_BOUNDS = (STATS.MAX, STATS.MIN, STATS.MAX_VALUE, STATS.MIN_VALUE)
WHOLE, CUT = ("--cut", "row-group", "--parts", "1"), ("--cut", "row", "--parts", "4")


def meta_of(group, column=0):
    chunk = value(group, spec.RowGroup.COLUMNS).items[column]
    return value(chunk, CHUNK.META_DATA)


def put(struct, field, content):
    struct[field] = spec.entry(field, content)


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source.parquet")


def refused(ended, dest, kind, code, *words):
    assert ended.code == code, ended.err
    line = ended.err.splitlines()[-1]
    assert line.startswith(f"evensplit: {kind}: "), line
    for word in words:
        assert re.search(word, line), line
    assert not parts_of(dest)


# -- mistakes of the writer ----------------------------------------------------------------------


def add_to(field, number, column=0):
    def spoil(group):
        meta = meta_of(group, column)
        put(meta, field, value(meta, field) + number)

    return spoil


def no_dictionary(group):
    meta = meta_of(group, 4)
    begin = value(meta, META.DATA_PAGE_OFFSET)
    num_bytes = begin - value(meta, META.DICTIONARY_PAGE_OFFSET)
    meta.pop(META.DICTIONARY_PAGE_OFFSET)
    put(meta, META.TOTAL_COMPRESSED_SIZE, value(meta, META.TOTAL_COMPRESSED_SIZE) - num_bytes)


def no_bounds(group):
    meta_of(group).pop(META.STATISTICS)


def ordinal(group):
    put(group, spec.RowGroup.ORDINAL, 0)


def fewer_encodings(group):
    put(meta_of(group), META.ENCODINGS, [int(ft.Encoding.RLE)])


def more_rows(group):
    put(group, spec.RowGroup.NUM_ROWS, value(group, spec.RowGroup.NUM_ROWS) + 1)


SPOILED = {  # what is done to the first row group of a part, how parts are cut, what is found
    "rows": (more_rows, WHOLE, "other rows than were written"),
    "values": (add_to(META.NUM_VALUES, 1), WHOLE, "column id, row group 0.*values"),
    "begin": (add_to(META.DATA_PAGE_OFFSET, 1, 4), CUT, "begins its data pages elsewhere"),
    "far end": (add_to(META.TOTAL_COMPRESSED_SIZE, 1 << 40, 1), CUT, "outside the part's data"),
    "length": (add_to(META.TOTAL_COMPRESSED_SIZE, 8), WHOLE, "lies in another chunk"),
    "short": (add_to(META.TOTAL_COMPRESSED_SIZE, -8), WHOLE, "ends inside a page"),
    "made short": (add_to(META.TOTAL_COMPRESSED_SIZE, -8), CUT, "ends inside a page"),
    "plain size": (add_to(META.TOTAL_UNCOMPRESSED_SIZE, 1), CUT, "size before compression"),
    "bounds": (no_bounds, WHOLE, "column id has bounds in some row groups"),
    "ordinals": (ordinal, WHOLE, "ordinals"),
    "encodings": (fewer_encodings, CUT, "does not list encoding"),
    "dictionary": (no_dictionary, WHOLE, "column few.*use a dictionary, and none"),
    "index place": (
        lambda group: put(
            value(group, spec.RowGroup.COLUMNS).items[0], CHUNK.OFFSET_INDEX_OFFSET, 99
        ),
        WHOLE,
        "no page index",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_mistake_of_the_writer_is_found(source, tmp_path, monkeypatch, name):
    spoil, words, message = SPOILED[name]
    check_part = splice.check_part

    def check(written):
        first, *others = written.footer.groups
        group = thrift.decode(first)[0]
        spoil(group)
        footer = written.footer.holding([thrift.Raw(thrift.encode(group)), *others])
        table = read_chunk_table(footer)
        return check_part(replace(written, footer=footer, table=table))

    monkeypatch.setattr(splice, "check_part", check)
    ended = run("split", source, tmp_path / "parts", *words)
    refused(ended, tmp_path / "parts", "internal", 70, message)


def test_pages_written_otherwise_than_told_are_found(source, tmp_path, monkeypatch):
    write = splice._Out.write

    def doubled(self, *data):
        write(self, *data, *data)

    monkeypatch.setattr(splice._Out, "write", doubled)
    # Parts are written side by side: which of them is the first to fail is not known.
    ended = run("split", source, tmp_path / "parts", *CUT)
    refused(ended, tmp_path / "parts", "internal", 70, "column id", "row group")


# -- lies of a source ----------------------------------------------------------------------------


def footer_of(path):
    data = path.read_bytes()
    where = ft.footer_range(data[-8:], len(data))
    return data[where.offset : where.end], data[: where.offset]


def with_first_group(path, change):
    """Write a file anew whose first row group's entry is changed."""
    raw, data = footer_of(path)
    footer = Footer(raw)
    groups = [footer.row_group(number).struct for number in range(footer.num_row_groups)]
    change(groups[0])
    new = ft.part_footer(footer.struct, groups, footer.num_rows, list(footer.key_values))
    path.write_bytes(data + seal(new))


def overwrite(path, at, new):
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(bytes(data))


def first_chunk(path, column=0):
    return Footer(footer_of(path)[0]).row_group(0).columns[column]


def locations(path, column=0):
    where = first_chunk(path, column).offset_index
    return where, OffsetIndex.decode(path.read_bytes()[where.offset : where.end])


def odd_count(group):
    stats = spec.PageEncodingStats
    listed = value(meta_of(group), META.ENCODING_STATS)
    entry = spec.read(stats, listed.items[0]) if isinstance(listed.items[0], bytes) else None
    entry = dict(entry or listed.items[0])
    entry[stats.COUNT] = (thrift.LIST, thrift.Sequence(thrift.I32, []))
    listed.items[0] = entry


def endless_pages(group):
    stats = spec.PageEncodingStats
    listed = value(meta_of(group), META.ENCODING_STATS)
    for number, entry in enumerate(listed.items):
        entry = dict(spec.read(stats, entry) if isinstance(entry, bytes) else entry)
        listed.items[number] = entry | {stats.COUNT: (thrift.I32, (1 << 63) - 1)}
    listed.items.extend(listed.items)


def narrow_bound(group):
    told = spec.read(spec.Statistics, value(meta_of(group), META.STATISTICS))
    told[spec.Statistics.MAX_VALUE] = (thrift.BINARY, b"abc")
    put(meta_of(group), META.STATISTICS, told)


def count_of_another_type(group):
    """Seen only where row groups are made to agree: here the first alone has an ordinal."""
    told = spec.read(spec.Statistics, value(meta_of(group), META.STATISTICS))
    told[STATS.NULL_COUNT] = (thrift.TRUE, True)
    put(meta_of(group), META.STATISTICS, told)
    ordinal(group)


def bound_of_another_type(group):
    told = spec.read(spec.Statistics, value(meta_of(group), META.STATISTICS))
    told[STATS.MAX_VALUE] = (thrift.STRUCT, {1: (thrift.I16, 1)})
    put(meta_of(group), META.STATISTICS, told)


def strange_bounds(draw):
    """Statistics as thrift, and whether each pair of bounds has 8 bytes each, or none."""
    lengths = {field: draw(st.sampled_from([0, 3, 7, 8, 9])) for field in STATS_BOUNDS}
    given = draw(st.sets(st.sampled_from(STATS_BOUNDS)))
    found = {
        field: (thrift.BINARY, draw(st.binary(min_size=n, max_size=n)))
        for field, n in lengths.items()
        if field in given
    }
    if draw(st.booleans()):
        found[STATS.NULL_COUNT] = (thrift.I64, draw(st.integers(0, 1 << 40)))
    if draw(st.booleans()):
        found[STATS.IS_MAX_VALUE_EXACT] = (thrift.TRUE, True)
    if draw(st.booleans()):
        found[STATS.NAN_COUNT] = (thrift.I64, draw(st.integers(0, 300)))
    found = dict(sorted(found.items()))
    pairs = [{STATS.MIN, STATS.MAX}, {STATS.MIN_VALUE, STATS.MAX_VALUE}]
    told = [{lengths[field] for field in pair & given} for pair in pairs]
    return thrift.encode(found), all(widths in (set(), {0}, {8}) for widths in told)


@given(st.data())
def test_usual_statistics_are_told_from_those_with_other_bounds(data):
    raw, is_right = strange_bounds(data.draw)
    assert check._has_width(raw, 8) == is_right
    if check._bounds_of(8).fullmatch(raw):
        assert is_right
    assert check._bounds_of(300).fullmatch(raw) is None


def test_what_arrow_writes_is_usual(source):
    raw = value(first_chunk(source).meta, META.STATISTICS)
    assert check._bounds_of(8).fullmatch(bytes(raw))
    assert not check._bounds_of(4).fullmatch(bytes(raw))


LIES = {
    "narrow bound": (narrow_bound, "column id, row group 0.*another width than 8"),
    "count of another type": (
        count_of_another_type,
        "column id, row group 0.*Statistics.null_count is a boolean",
    ),
    "bound of another type": (
        bound_of_another_type,
        "column id, row group 0.*Statistics.max_value is a struct",
    ),
    "odd count": (odd_count, "column id, row group 0.*PageEncodingStats.count"),
    "values": (add_to(META.NUM_VALUES, 3), "column id, row group 0"),
    "short": (add_to(META.TOTAL_COMPRESSED_SIZE, -9, 4), "column few, row group 0, page"),
    "begin": (add_to(META.DATA_PAGE_OFFSET, 5, 1), "column random, row group 0"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("index", [True, False])
def test_a_source_that_lies_in_its_footer_is_refused(tmp_path, name, index):
    change, message = LIES[name]
    options = {"write_page_index": index, "use_dictionary": ["few"]}
    source = write_source(tmp_path / "lying.parquet", **options)
    with_first_group(source, change)
    ended = run("split", source, tmp_path / "parts", *WHOLE)
    kind = "source.damaged-page"
    refused(ended, tmp_path / "parts", kind, 3, "lying.parquet", message)


@pytest.mark.parametrize("index", [True, False])
def test_a_source_with_a_damaged_header_is_refused(tmp_path, index):
    source = write_source(tmp_path / "lying.parquet", write_page_index=True)
    _, listed = locations(source, 1)
    overwrite(source, listed.locations[2].offset, b"\xff" * 9)
    if not index:
        with_first_group(
            source,
            lambda group: [
                chunk.pop(CHUNK.OFFSET_INDEX_OFFSET)
                for chunk in value(group, spec.RowGroup.COLUMNS).items
            ],
        )
    ended = run("split", source, tmp_path / "parts", *WHOLE)
    words = ("lying.parquet: column random, row group 0, page 3",)
    refused(ended, tmp_path / "parts", "source.damaged-page", 3, *words)


def off_rows(listed):
    return [PageLocation(at, size, 0) for at, size, row in listed]


def other_sizes(listed):
    return [PageLocation(at, size - 20, row) for at, size, row in listed]


def one_missing(listed):
    return listed[:1] + listed[2:]


@pytest.mark.parametrize("change", [off_rows, other_sizes, one_missing])
def test_a_copied_index_that_lies_is_left_out(tmp_path, change):
    source = write_source(tmp_path / "lying.parquet", write_page_index=True)
    where, listed = locations(source)
    new = OffsetIndex(tuple(change(list(listed.locations)))).encode()
    assert len(new) <= where.length
    overwrite(source, where.offset, new + bytes(where.length - len(new)))
    dest = tmp_path / "parts"
    ended = run("split", source, dest, *WHOLE)
    assert ended.code == 0, ended.err
    chunk = first_chunk(parts_of(dest)[0])
    assert chunk.offset_index is None
    assert chunk.column_index is None
    # Nor has any other column one: a reader breaks where only some have.
    assert first_chunk(parts_of(dest)[0], 1).offset_index is None
    assert read_parts(dest).equals(make_table(20_000))


def test_a_source_that_lists_pages_without_end_is_split(tmp_path):
    source = write_source(tmp_path / "lying.parquet")
    with_first_group(source, endless_pages)
    ended = run("split", source, tmp_path / "parts", *WHOLE)
    assert ended.code == 0, ended.err
    assert read_parts(tmp_path / "parts").equals(make_table(20_000))


def test_a_dictionary_that_is_missing_is_found(tmp_path):
    source = write_source(tmp_path / "lying.parquet", write_page_index=False)
    with_first_group(source, no_dictionary)
    ended = run("split", source, tmp_path / "parts", *WHOLE)
    words = ("lying.parquet: column few, row group 0", "dictionary")
    refused(ended, tmp_path / "parts", "source.damaged-page", 3, *words)


def lists_of(lengths):
    pair = {"x": 7, "y": 9}
    kind = pa.list_(pa.struct({"x": pa.int64(), "y": pa.int64()}))
    return pa.table({"list": pa.array([[pair] * length for length in lengths], kind)})


def test_columns_of_a_list_that_have_other_entries_are_refused(tmp_path):
    options = {"use_dictionary": False, "compression": "none", "data_page_version": "1.0"}
    odd, even = [1, 2] * 500, [1] * 4000  # alike where they are cut
    for name, lengths in (("source", odd + even), ("other", even + odd)):
        pq.write_table(lists_of(lengths), tmp_path / f"{name}.parquet", **options)
    source, other = tmp_path / "source.parquet", tmp_path / "other.parquet"
    where = first_chunk(source, 1).range
    assert first_chunk(other, 1).range == where
    overwrite(source, where.offset, other.read_bytes()[where.offset : where.end])
    # One worker: both parts are wrong, and the first that ends is told.
    options = ("--rows-per-part", "2501", "--workers", "1")
    ended = run("split", source, tmp_path / "parts", *options)
    words = (
        "column list.list.element.y, row group 0",
        r"2501 entries.*list.list.element.x, of the same list, 3001",
    )
    refused(ended, tmp_path / "parts", "source.damaged-page", 3, "source.parquet", *words)


@pytest.mark.parametrize("how", [(), ("--codec", "zstd"), ("--dictionary",)])
@given(
    lengths=st.lists(st.integers(0, 2), min_size=40, max_size=60),
    page=st.integers(0, 3),
    num_rows=st.integers(9, 30),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_of_a_list_whose_rows_differ_are_refused_or_read_as_before(
    tmp_path, how, lengths, page, num_rows
):
    """Two pages of one are swapped: the whole has as many lists and elements, each part may not.

    That shows where a cut passes through one of them.
    """
    cuts = range(num_rows, len(lengths), num_rows)
    assume(8 * page + 8 not in cuts and any(8 * page < cut < 8 * page + 16 for cut in cuts))
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    source = folder / "source.parquet"
    options = {"max_rows_per_page": 8, "write_batch_size": 8, "compression": "none"}
    pq.write_table(lists_of(lengths), source, use_dictionary=False, **options)
    data = source.read_bytes()
    store, path = open_storage(str(source))
    with closing(OpenFile(store.stat(path))) as opened:
        pages = opened.row_group(0).chunk(1).by_headers()
    bodies = [data[at : at + size] for at, size in zip(pages.offsets, pages.sizes, strict=True)]
    bodies[page], bodies[page + 1] = bodies[page + 1], bodies[page]
    overwrite(source, pages.offsets[0], b"".join(bodies))
    expected = pq.read_table(source)
    ended = run("split", source, folder / "parts", "--rows-per-part", str(num_rows), *how)
    if ended.code:
        assert (ended.code, "source.damaged-page" in ended.err) == (3, True), ended.err
        assert "of the same list" in ended.err
    else:
        parts = sorted((folder / "parts").glob("*.parquet"))
        assert pa.concat_tables(map(pq.read_table, parts)).equals(expected)


@pytest.mark.parametrize("versions", ["12", "21", "121", "212", "1221"])
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("index", [False, True])
def test_pages_of_both_versions_go_into_one_chunk(tmp_path, versions, dictionary, index):
    """Headers of version 1 do not tell rows of lists, so not which row the next page begins at."""
    lists = [[[i] * (i % 3)] * (i % 4) if i % 6 else None for i in range(300)]
    table = pa.table({"l": lists, "m": [i % 50 for i in range(300)]})
    paths = []
    for number, version in enumerate(versions):
        paths.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(
            table,
            paths[-1],
            data_page_version=f"{version}.0",
            use_dictionary=dictionary and number != 1,
            write_page_index=index,
            max_rows_per_page=70,
            write_batch_size=35,
        )
    for number, way in enumerate(({"parts": 1}, {"parts": 2}, {"parts": 1, "codec": "zstd"})):
        dest = tmp_path / f"{number}"
        engine.split(paths, str(dest), row_group_size="1GB", fsync=False, **way)
        read = pa.concat_tables(map(pq.read_table, sorted(dest.glob("*.parquet"))))
        assert read.equals(pa.concat_tables([table] * len(versions)))
        engine.verify(str(dest))


@pytest.mark.parametrize("wish", [{"data_page_version": 2}, {"codec": "zstd"}])
def test_levels_that_were_changed_are_the_sources_fault(tmp_path, wish):
    """Whichever byte before the values it is: rows are then others than the index says."""
    source = tmp_path / "source.parquet"
    table = pa.table({"x": [[1] * (row % 3) for row in range(24)]})
    options = {"compression": "none", "use_dictionary": False, "data_page_version": "1.0"}
    pq.write_table(table, source, write_page_index=True, **options)
    where = first_chunk(source, 0).range
    data = source.read_bytes()
    for at in range(where.offset, where.offset + 60):
        overwrite(source, at, bytes([data[at] ^ 4]))
        with suppress(SourceError):
            engine.split(str(source), str(tmp_path / str(at)), parts=1, fsync=False, **wish)
        overwrite(source, at, data[at : at + 1])
