import subprocess
import sys
import zlib
from array import array
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadPage, BadStructure, Encrypted
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import Encoding
from engine.formats.parquet.bytes.levels import count_row_starts
from engine.formats.parquet.bytes.page_index import OffsetIndex, PageLocation
from engine.formats.parquet.bytes.page_map import (
    PageMap,
    RowStarts,
    map_from_index,
    run_walk,
    walk_pages,
    with_row_starts,
)
from engine.formats.parquet.bytes.pages import (
    PageType,
    SkimmedHeader,
    V2Counts,
    check_crc,
    page_statistics,
    read_page_header,
    resized_header,
    resized_skimmed,
    rewritten_header,
    skim_header,
)
from engine.formats.parquet.bytes.thrift import BINARY, FALSE, I32, STRUCT, TRUE
from engine.model import Range
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.engine.running import REPOSITORY
from tests.shared import each_shared_file
from tests.sources.write_tpch import CASES

NUM_ROWS = 30_000


def lineitem_like(num_rows=NUM_ROWS):
    return pa.table(
        {
            "key": pa.array(range(num_rows), pa.int64()),
            "flag": pa.array([("A", "N", "R")[row % 3] for row in range(num_rows)]),
            "price": pa.array([row * 1.5 if row % 7 else None for row in range(num_rows)]),
            "comment": pa.array([f"row {row} of many" for row in range(num_rows)]),
        }
    )


def nested(num_rows=5_000):
    lists = [None if row % 11 == 0 else list(range(row % 6)) for row in range(num_rows)]
    return pa.table({"list": pa.array(lists, pa.list_(pa.int64())), "row": range(num_rows)})


def written(table, **options):
    defaults = {"write_page_index": True, "data_page_size": 4096, "row_group_size": 20_000}
    return ParquetFile.written(table, **(defaults | options))


def v1_header(num_values=10, size=100, **extra):
    detail = {1: (I32, num_values), 2: (I32, 0), 3: (I32, 3), 4: (I32, 3)}
    return {1: (I32, 0), 2: (I32, size), 3: (I32, size), 5: (STRUCT, detail)} | extra


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("request_bytes", [1, 3_000, 16 << 10, 1 << 20])
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_a_walk_finds_what_the_offset_index_says(version, request_bytes, compression):
    file = written(lineitem_like(), data_page_version=version, compression=compression)
    num_pages = 0
    for chunk in file.chunks():
        found = file.walked(*chunk, request_bytes=request_bytes)
        assert found == file.indexed(*chunk)
        num_pages += found.num_pages
    assert num_pages > 30


def test_a_walk_of_real_looking_data_finds_what_its_index_says(tmp_path):
    case = next(case for case in CASES if case.name == "tpch-lineitem-snappy")
    file = ParquetFile.of(case.write(tmp_path).read_bytes())
    assert file.footer.num_row_groups > 1
    for chunk in file.chunks():
        assert file.walked(*chunk) == file.indexed(*chunk)


def test_a_walk_of_repeated_v2_pages_knows_rows():
    file = written(nested(), data_page_version="2.0")
    for leaf, chunk, num_rows in file.chunks():
        found, listed = file.walked(leaf, chunk, num_rows), file.indexed(leaf, chunk, num_rows)
        assert not found.needs_levels
        assert found.first_rows == listed.first_rows
        assert found.offsets == listed.offsets


def test_repeated_v1_pages_need_their_levels_for_rows():
    file = written(nested())
    leaf, chunk, num_rows = next(file.chunks())
    found, listed = file.walked(leaf, chunk, num_rows), file.indexed(leaf, chunk, num_rows)
    assert found.needs_levels
    starts = []
    for number in range(found.num_pages):
        header, body = file.plain_page(chunk, found, number)
        starts.append(count_row_starts(header, body, max_repetition=leaf.max_repetition))
    complete = with_row_starts(found, starts)
    assert not complete.needs_levels
    assert complete.first_rows == listed.first_rows


@pytest.mark.parametrize("path", each_shared_file())
def test_third_party_files_are_walked_as_their_index_says(path):
    file = ParquetFile.of(path.read_bytes())
    try:
        chunks = list(file.chunks())
    except Encrypted:
        pytest.skip("encrypted")
    for leaf, chunk, num_rows in chunks:
        found = file.walked(leaf, chunk, num_rows)
        assert len(found.offsets) == len(found.sizes)
        if chunk.offset_index and not found.needs_levels:
            listed = file.indexed(leaf, chunk, num_rows)
            assert (found.offsets, found.first_rows) == (listed.offsets, listed.first_rows)


def test_the_first_page_header_decides_about_the_dictionary():
    file = written(lineitem_like())
    leaf, chunk, num_rows = next(file.chunks())
    start = chunk.range.offset
    chunk.meta[9] = (6, start)  # as some writers: the data page offset is the dictionary's
    chunk.meta.pop(11)
    found = file.walked(leaf, chunk, num_rows)
    assert found.dictionary is not None
    assert found.dictionary.offset == start
    assert found.offsets[0] == found.dictionary.end


def test_large_pages_are_jumped_over():
    large = 400 * (1 << 10)
    pages, data = 20, bytearray()
    for _ in range(pages):
        data += thrift.encode(v1_header(num_values=5, size=large)) + bytes(large)
    asked = []

    def read(offset, length):
        asked.append(length)
        return bytes(data[offset : offset + length])

    walk = walk_pages(Range(0, len(data)), 5 * pages, 5 * pages, is_flat=True)
    assert run_walk(walk, read).num_pages == pages
    assert sum(asked) < len(data) / 50


def test_a_header_larger_than_its_window_is_read_whole():
    detail = {1: (I32, 5), 2: (I32, 0), 3: (I32, 3), 4: (I32, 3)}
    detail[5] = (STRUCT, {5: (BINARY, b"x" * 200_000)})
    one = thrift.encode(v1_header(size=1) | {5: (STRUCT, detail)}) + b"\x00"
    walk = walk_pages(Range(7, 3 * len(one)), 15, 15, is_flat=True, request_bytes=1)
    data = bytes(7) + one * 3
    found = run_walk(walk, lambda offset, length: data[offset : offset + length])
    assert list(found.offsets) == [7, 7 + len(one), 7 + 2 * len(one)]


def test_index_pages_are_passed_over():
    index_page = thrift.encode({1: (I32, 1), 2: (I32, 4), 3: (I32, 4), 6: (STRUCT, {})}) + bytes(4)
    data = index_page + thrift.encode(v1_header(num_values=3, size=2)) + bytes(2)
    walk = walk_pages(Range(0, len(data)), 3, 3, is_flat=True)
    found = run_walk(walk, lambda offset, length: data[offset : offset + length])
    assert list(found.offsets) == [len(index_page)]


@pytest.mark.parametrize("num_values", [9, 11, 25])
def test_pages_that_do_not_add_up_are_refused(num_values):
    data = thrift.encode(v1_header(num_values=10, size=2)) + bytes(2)
    walk = walk_pages(Range(0, len(data)), num_values, num_values, is_flat=True)
    with pytest.raises(BadPage, match="values"):
        run_walk(walk, lambda offset, length: data[offset : offset + length])


def test_a_page_behind_the_last_value_is_refused_and_padding_is_not():
    one = thrift.encode(v1_header(num_values=5, size=2)) + bytes(2)
    none = thrift.encode(v1_header(num_values=0, size=2)) + bytes(2)
    for rest in (b"", bytes(9), b"\xff" * 40, none):
        data = one + one + rest
        walk = walk_pages(Range(0, len(data)), 10, 10, is_flat=True)
        assert run_walk(walk, lambda at, length, of=data: of[at : at + length]).num_pages == 2
    walk = walk_pages(Range(0, 3 * len(one)), 10, 10, is_flat=True)
    with pytest.raises(BadPage, match=r"a page of 5 values more than its 10 at byte"):
        run_walk(walk, lambda offset, length: (one * 3)[offset : offset + length])


@given(st.binary(max_size=200))
def test_a_walk_over_rubbish_ends_in_an_error(data):
    walk = walk_pages(Range(0, len(data)), 1 << 40, 1 << 40, is_flat=True)
    with pytest.raises(BadPage):
        run_walk(walk, lambda offset, length: data[offset : offset + length])


def test_a_short_read_is_refused():
    walk = walk_pages(Range(0, 100), 5, 5, is_flat=True)
    with pytest.raises(BadPage, match="bytes at 0"):
        run_walk(walk, lambda offset, length: b"")


def test_rows_and_pages_of_a_map():
    pages = PageMap(
        array("q", [10, 20, 30, 40]),
        array("q", [10, 10, 10, 10]),
        array("q", [0, 4, 4, 9]),
        array("q"),
        None,
        12,
    )
    assert [pages.page_of_row(row) for row in (0, 3, 4, 8, 9, 11, 12)] == [0, 0, 2, 2, 3, 3, 3]
    assert [pages.rows(page) for page in range(4)] == [(0, 4), (4, 4), (4, 9), (9, 12)]
    assert list(pages.runs(1, 3)) == [Range(20, 20)]
    assert list(pages.runs(1, 1)) == []
    apart = replace(pages, offsets=array("q", [10, 20, 35, 45]))
    assert list(apart.runs(0, 4)) == [Range(10, 20), Range(35, 20)]
    assert not pages.continues(1)


def test_row_starts_must_add_up():
    pages = PageMap(array("q", [0, 5]), array("q", [5, 5]), array("q"), array("q"), None, 3)
    filled = with_row_starts(pages, [RowStarts(2, False), RowStarts(1, True)])
    assert list(filled.first_rows) == [0, 2]
    assert filled.continues(1)
    with pytest.raises(BadPage, match="rows"):
        with_row_starts(pages, [RowStarts(2, False), RowStarts(2, False)])
    with pytest.raises(BadPage, match="inside a row"):
        with_row_starts(pages, [RowStarts(2, True), RowStarts(1, False)])


@pytest.mark.parametrize(
    ("locations", "why"),
    [
        ([], "no page"),
        ([(3, 97, 0)], "before the chunk"),
        ([(10, 5, 0), (12, 88, 1)], "expected"),
        ([(10, 5, 0), (16, 84, 1)], "expected"),  # a gap
        ([(10, 5, 0), (15, 86, 1)], "ends at"),
        ([(10, 5, 0), (15, 80, 1)], "ends at"),
        ([(10, 90, 1)], "from 0"),
        ([(10, 5, 0), (15, 85, 101)], "ascend"),
        ([(10, 5, 0), (15, 85, 100)], "ascend"),
        ([(10, 5, 0), (15, 5, 7), (20, 80, 6)], "ascend"),
        ([(10, 5, 0), (15, 5, 7), (20, 80, 7)], "ascend"),
        ([(10, 0, 0)], "expected"),
        ([(1 << 63, 5, 0)], "64 bits"),
    ],
)
def test_a_stale_offset_index_is_refused(locations, why):
    index = OffsetIndex(tuple(PageLocation(*place) for place in locations))
    with pytest.raises(BadStructure, match=why):
        map_from_index(index, Range(10, 90), 100, is_flat=True)


@pytest.mark.parametrize(
    "changes",
    [
        {2: (I32, -1)},
        {3: (I32, -1)},
        {1: (I32, 9)},
        {5: (STRUCT, {1: (I32, -1), 2: (I32, 0), 3: (I32, 3), 4: (I32, 3)})},
        {5: (STRUCT, {1: (I32, 1), 2: (I32, 0)})},
        {5: (TRUE, True)},
        {1: (I32, 3)},
        {3: (BINARY, b"x")},
        {3: (thrift.I64, 1 << 40)},
    ],
)
def test_impossible_headers_are_refused(changes):
    with pytest.raises(BadPage):
        read_page_header(thrift.encode(v1_header() | changes))


def v2_header(**changes):
    detail = {1: 10, 2: 3, 3: 10, 4: 8, 5: 4, 6: 2} | {
        int(key[1:]): number for key, number in changes.items()
    }
    fields = {field: (I32, number) for field, number in detail.items()}
    return {1: (I32, 3), 2: (I32, 50), 3: (I32, 40), 8: (STRUCT, fields)}


def test_a_v2_header_is_read():
    header = read_page_header(thrift.encode(v2_header()))
    assert header.type is PageType.DATA_V2
    assert (header.num_values, header.num_nulls, header.num_rows) == (10, 3, 10)
    assert (header.def_level_bytes, header.rep_level_bytes, header.level_bytes) == (4, 2, 6)
    assert header.is_compressed
    assert header.is_dictionary_encoded


@pytest.mark.parametrize("changes", [{"f2": 11}, {"f3": 11}, {"f5": 39}, {"f6": -1}])
def test_impossible_v2_headers_are_refused(changes):
    with pytest.raises(BadPage):
        read_page_header(thrift.encode(v2_header(**changes)))


def test_a_page_must_fit_its_chunk():
    data = thrift.encode(v1_header(size=100))
    assert read_page_header(data, limit_bytes=len(data) + 100).total_bytes == len(data) + 100
    with pytest.raises(BadPage, match="are left"):
        read_page_header(data, limit_bytes=len(data) + 99)


def test_a_header_cut_short_is_no_bad_page_yet():
    data = thrift.encode(v1_header())
    with pytest.raises(BadStructure) as caught:
        read_page_header(data[:-1])
    assert not isinstance(caught.value, BadPage)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_checksums_of_a_writer_hold(version):
    file = written(lineitem_like(), write_page_checksum=True, data_page_version=version)
    for chunk in file.chunks():
        pages = file.walked(*chunk)
        for number in range(pages.num_pages):
            header, body = file.page(pages, number)
            assert header.crc is not None
            check_crc(header, body)
            with pytest.raises(BadPage, match="checksum"):
                check_crc(header, bytes((body[0] ^ 1,)) + body[1:])
            with pytest.raises(BadPage, match="body of"):
                check_crc(header, body[:-1])


def says_the_same(skimmed, header):
    told = (*SkimmedHeader._fields[:-1], "crc", "total_bytes", "is_data")
    return all(getattr(skimmed, name) == getattr(header, name) for name in told)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("statistics", [True, False])
def test_a_skimmed_header_says_the_same_and_changes_the_same(version, crc, statistics):
    file = written(
        lineitem_like(),
        write_page_checksum=crc,
        data_page_version=version,
        write_page_index=not statistics,  # statistics are in the page headers without an index
    )
    for chunk in file.chunks():
        pages = file.walked(*chunk)
        for where in (pages.dictionary, *map(pages.page, range(pages.num_pages))):
            if where is None:
                continue
            data = file.data[where.offset : where.end]
            header, skimmed = read_page_header(data), skim_header(data)
            assert skimmed is not None
            assert says_the_same(skimmed, header)
            assert (skimmed.crc is not None) == crc
            for body in (b"", b"body" * 50_000):
                again = resized_header(header, body, is_compressed=header.is_compressed)
                assert resized_skimmed(data[: header.header_bytes], skimmed, body) == again


SMALL = st.integers(0, 300)
ENCODINGS = st.sampled_from([0, 2, 3, 4, 5, 6, 7, 8, 9])


@st.composite
def headers(draw):
    """A page header as writers make them, and bytes of one that are a little off."""
    level_bytes = draw(SMALL), draw(SMALL)
    size = sum(level_bytes) + draw(SMALL)
    number, encoding = draw(SMALL), draw(ENCODINGS)
    kind = draw(st.sampled_from([PageType.DATA, PageType.DICTIONARY, PageType.DATA_V2]))
    numbers = {
        PageType.DATA: (number, encoding, 3, 3),
        PageType.DICTIONARY: (number, encoding),
        PageType.DATA_V2: (number, 0, number, encoding, *level_bytes),
    }[kind]
    detail = {field: (I32, value) for field, value in enumerate(numbers, 1)}
    field = {PageType.DATA: 5, PageType.DICTIONARY: 7, PageType.DATA_V2: 8}[kind]
    if kind is not PageType.DATA and draw(st.booleans()):
        detail[len(detail) + 1] = draw(st.sampled_from([(TRUE, True), (FALSE, False)]))
    if kind is not PageType.DICTIONARY and draw(st.booleans()):
        bounds = {5: (BINARY, draw(st.binary(max_size=40))), 6: (BINARY, b"")}
        detail[{PageType.DATA: 5, PageType.DATA_V2: 8}[kind]] = (STRUCT, bounds)
    header = {1: (I32, kind), 2: (I32, size), 3: (I32, size)}
    if draw(st.booleans()):
        header[4] = (I32, draw(st.integers(-(2**31), 2**31 - 1)))
    data = bytearray(thrift.encode(header | {field: (STRUCT, detail)}))
    if draw(st.integers(0, 3)) == 0:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def test_what_is_skimmed_is_what_the_whole_header_says():
    tried, same = [], []

    @settings(max_examples=400)
    @given(headers(), st.integers(0, 3))
    def each(data, pos):
        tried.append(data)
        skimmed = skim_header(bytes(pos) + data, pos)
        if skimmed is not None:
            assert says_the_same(skimmed, read_page_header(data))
            same.append(skimmed.type)

    each()
    assert len(same) > len(tried) / 2
    assert set(same) == {PageType.DATA, PageType.DICTIONARY, PageType.DATA_V2}


def test_a_rewritten_v1_header_says_what_changed_and_keeps_the_rest():
    statistics = {5: (BINARY, b"z"), 6: (BINARY, b"a")}
    detail = {1: (I32, 9), 2: (I32, 8), 3: (I32, 4), 4: (I32, 4), 5: (STRUCT, statistics)}
    detail[77] = (I32, 5)
    source = read_page_header(thrift.encode(v1_header() | {4: (I32, -5), 5: (STRUCT, detail)}))
    assert page_statistics(source) == statistics
    assert source.def_level_encoding == Encoding.BIT_PACKED
    raw = rewritten_header(source, b"body!", uncompressed_bytes=77, num_values=4)
    cut = read_page_header(raw)
    assert (cut.num_values, cut.uncompressed_bytes, cut.compressed_bytes) == (4, 77, 5)
    assert (cut.encoding, cut.def_level_encoding, cut.rep_level_encoding) == (8, 3, 3)
    assert cut.crc == zlib.crc32(b"body!")
    assert page_statistics(cut) is None
    assert cut.struct[5][1][77] == (I32, 5)
    with_new = rewritten_header(
        source, b"", uncompressed_bytes=0, num_values=0, encoding=0, statistics={3: (6, 1)}
    )
    assert page_statistics(read_page_header(with_new)) == {3: (6, 1)}
    assert read_page_header(with_new).encoding == Encoding.PLAIN


def test_a_rewritten_v2_header_says_what_changed():
    source = read_page_header(thrift.encode(v2_header()))
    raw = rewritten_header(
        source,
        bytes(20),
        uncompressed_bytes=25,
        num_values=6,
        v2=V2Counts(5, 1, rep_level_bytes=1, def_level_bytes=2, is_compressed=False),
    )
    cut = read_page_header(raw)
    assert (cut.num_values, cut.num_rows, cut.num_nulls) == (6, 5, 1)
    assert (cut.rep_level_bytes, cut.def_level_bytes, cut.is_compressed) == (1, 2, False)
    assert cut.crc is None
    with pytest.raises(BadPage, match="counted"):
        rewritten_header(source, b"", uncompressed_bytes=0, num_values=0)


def test_plans_need_neither_numpy_nor_pyarrow():
    modules = ("pages", "page_index", "page_map", "statistics")
    code = "; ".join(f"import engine.formats.parquet.bytes.{name}" for name in modules)
    code += "; import sys; assert not {'numpy', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_only_data_pages_are_rewritten():
    data = {1: (I32, 2), 2: (I32, 4), 3: (I32, 4), 7: (STRUCT, {1: (I32, 1), 2: (I32, 0)})}
    dictionary = read_page_header(thrift.encode(data))
    assert dictionary.type is PageType.DICTIONARY
    assert page_statistics(dictionary) is None
    with pytest.raises(BadPage, match="data pages"):
        rewritten_header(dictionary, b"", uncompressed_bytes=0, num_values=0)
    with pytest.raises(BadPage, match="2 GiB"):
        rewritten_header(
            replace(dictionary, type=PageType.DATA), b"", uncompressed_bytes=1 << 31, num_values=0
        )
