import datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.page_index import (
    ASCENDING,
    UNORDERED,
    ColumnIndex,
    OffsetIndex,
    PageLocation,
    check_column_index,
    shifted_offset_index,
)
from engine.formats.parquet.bytes.thrift import BINARY, I32, I64, LIST, STRUCT, TRUE, Sequence
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.shared import shared_files

LOCATIONS = st.builds(
    PageLocation,
    st.integers(0, (1 << 63) - 1),
    st.integers(0, (1 << 31) - 1),
    st.integers(0, (1 << 63) - 1),
)


def sample(num_rows=20_000):
    start = datetime.date(1992, 1, 1)
    days = [start + datetime.timedelta(days=row // 10) for row in range(num_rows)]
    return pa.table(
        {
            "day": days,
            "name": [None if row < 9_000 else f"name {row}" for row in range(num_rows)],
            "list": [[row] * (row % 3) for row in range(num_rows)],
        }
    )


def indexed_files():
    for version in ("1.0", "2.0"):
        yield ParquetFile.written(
            sample(), write_page_index=True, data_page_size=4096, data_page_version=version
        )


def foreign_files():
    for path in shared_files():
        yield ParquetFile.of(path.read_bytes())


@pytest.mark.parametrize(("files", "least"), [(indexed_files, 6), (foreign_files, 6)])
def test_both_indexes_encode_to_the_bytes_they_were_read_from(files, least):
    seen = 0
    for file in files():
        for _, chunk, _ in file.chunks():
            if chunk.offset_index:
                raw = file.read(*chunk.offset_index)
                assert OffsetIndex.decode(raw).encode() == raw
                seen += 1
            if chunk.column_index:
                raw = file.read(*chunk.column_index)
                assert ColumnIndex.decode(raw).encode() == raw
    assert seen >= least


@given(
    st.lists(LOCATIONS, max_size=40),
    st.booleans(),
    st.dictionaries(st.integers(3, 100), st.just((I64, 7)), max_size=2),
)
def test_an_offset_index_survives_the_round_trip(locations, counted, rest):
    unencoded = tuple(range(len(locations))) if counted else None
    index = OffsetIndex(tuple(locations), unencoded, tuple(sorted(rest.items())))
    raw = index.encode()
    assert OffsetIndex.decode(raw) == index
    generic = thrift.decode(raw)[0]
    assert len(generic[1][1].items) == len(locations)
    assert thrift.encode(generic) == raw


def test_an_offset_index_of_another_form_is_read_too():
    page = {1: (I64, 4), 3: (I64, 0), 2: (I32, 10)}  # in an order of fields that no writer has
    raw = thrift.encode({1: (LIST, Sequence(STRUCT, [page]))})
    assert OffsetIndex.decode(raw).locations == (PageLocation(4, 10, 0),)


def test_shifting_moves_offsets_only():
    index = OffsetIndex((PageLocation(4, 10, 0), PageLocation(14, 10, 5)), (1, 2))
    shifted = index.shifted(-4)
    assert [place.offset for place in shifted.locations] == [0, 10]
    assert [place.first_row for place in shifted.locations] == [0, 5]
    assert shifted.unencoded_bytes == (1, 2)


@given(st.binary(max_size=100))
def test_rubbish_is_refused_or_read_but_never_crashes(data):
    for kind in (OffsetIndex, ColumnIndex):
        try:
            kind.decode(data)
        except BadStructure:
            continue


def column_index(**changes):
    fields = {
        1: (LIST, Sequence(TRUE, [2, 1, 2])),
        2: (LIST, Sequence(BINARY, [b"a", b"", b"c"])),
        3: (LIST, Sequence(BINARY, [b"b", b"", b"dddd"])),
        4: (I32, ASCENDING),
        5: (LIST, Sequence(I64, [0, 9, 1])),
        7: (LIST, Sequence(I64, [0, 9, 9, 0, 1, 8])),
    }
    return fields | {int(key[1:]): entry for key, entry in changes.items()}


def test_a_column_index_is_read():
    index = ColumnIndex.of(column_index())
    assert index.num_pages == 3
    assert index.null_pages == (False, True, False)
    assert index.longest_min_bytes == 1
    entries = index.entries(0, 3)
    assert [entry.null_count for entry in entries] == [0, 9, 1]
    assert entries[1].definition_histogram == (9, 0)
    assert entries[0].repetition_histogram is None
    assert entries[0].nan_count is None


@pytest.mark.parametrize(
    "changes",
    [
        {"f2": (LIST, Sequence(BINARY, [b"a"]))},
        {"f2": (LIST, Sequence(I64, [1, 2, 3]))},
        {"f5": (LIST, Sequence(I64, [1]))},
        {"f7": (LIST, Sequence(I64, [1, 2, 3, 4]))},
        {"f5": (LIST, Sequence(BINARY, [b"", b"", b""]))},
    ],
)
def test_a_column_index_whose_lists_do_not_fit_is_refused(changes):
    with pytest.raises(BadStructure):
        ColumnIndex.of(column_index(**changes))
    with pytest.raises(BadStructure):
        ColumnIndex.of({})


def test_replacing_all_entries_by_themselves_changes_nothing():
    for file in indexed_files():
        for _, chunk, _ in file.chunks():
            if chunk.column_index:
                raw = file.read(*chunk.column_index)
                index = ColumnIndex.decode(raw)
                entries = index.entries(0, index.num_pages)
                same = index.replaced(entries, index.boundary_order)
                assert [same.struct[field] for field in same.struct if field != 1] == [
                    index.struct[field] for field in index.struct if field != 1
                ]
                assert same.null_pages == index.null_pages


def test_a_list_that_not_every_entry_fills_is_left_out():
    index = ColumnIndex.of(column_index())
    entries = index.entries(0, 2)
    entries[0] = entries[0]._replace(null_count=None)
    cut = index.replaced(entries, UNORDERED)
    assert cut.null_counts is None
    assert cut.definition_histograms == (0, 9, 9, 0)
    assert cut.boundary_order == UNORDERED
    assert ColumnIndex.decode(cut.encode()) == cut


@given(
    st.lists(LOCATIONS, max_size=40),
    st.integers(-(1 << 40), 1 << 40),
    st.one_of(st.none(), st.integers(0, 1 << 40)),
)
def test_moving_an_index_is_decoding_shifting_and_encoding_it(locations, shift, plain_bytes):
    sizes = None if plain_bytes is None else (plain_bytes,) * len(locations)
    index = OffsetIndex(tuple(locations), sizes)
    moved = len(locations), index.shifted(shift).encode()
    assert shifted_offset_index(index.encode(), shift) == moved


NEAR = st.builds(PageLocation, *[st.integers(0, 1 << 40)] * 3)


@given(st.lists(NEAR, min_size=1, max_size=5), st.booleans(), st.data())
def test_what_is_no_index_is_refused_however_it_is_read(locations, has_sizes, data):
    sizes = (7,) * len(locations) if has_sizes else None
    encoded = bytearray(OffsetIndex(tuple(locations), sizes).encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        index = OffsetIndex.decode(bytes(encoded))
    except BadStructure:
        with pytest.raises(BadStructure):
            shifted_offset_index(bytes(encoded), 7)
        return
    found, moved = shifted_offset_index(bytes(encoded), 7)
    if all(abs(place.offset) < 1 << 62 for place in index.locations):
        assert (found, OffsetIndex.decode(moved)) == (len(index.locations), index.shifted(7))


BOUNDS = st.lists(st.binary(max_size=200), min_size=3, max_size=3)
INDEXED = st.fixed_dictionaries(
    {"f2": BOUNDS, "f3": BOUNDS},
    optional={
        "f5": st.lists(st.integers(-1, 1 << 40), min_size=2, max_size=3),
        "f6": st.lists(st.integers(0, 300), min_size=3, max_size=6),
        "f8": st.lists(st.integers(0, 300), min_size=3, max_size=3),
    },
)


@given(INDEXED, st.sampled_from([None, 0, 10]), st.sampled_from([2, 3]), st.data())
def test_a_column_index_fits_however_it_is_checked(lists, nulls, num_pages, data):
    kinds = {"f2": BINARY, "f3": BINARY}
    changes = {key: (LIST, Sequence(kinds.get(key, I64), items)) for key, items in lists.items()}
    encoded = bytearray(thrift.encode(dict(sorted(column_index(**changes).items()))))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    leaf = SimpleNamespace(max_repetition=0, max_definition=1)
    found = []
    for check in (
        lambda data: ColumnIndex.decode(data).check_fits(leaf, num_pages, nulls),
        lambda data: check_column_index(data, leaf, num_pages, nulls),
    ):
        try:
            check(bytes(encoded))
            found.append("fits")
        except BadStructure:
            found.append("does not")
    assert found[0] == found[1]
