import math
import struct
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import Leaf, Type
from engine.formats.parquet.bytes.page_index import (
    ASCENDING,
    DESCENDING,
    UNORDERED,
    ColumnIndex,
    PageEntry,
)
from engine.formats.parquet.bytes.statistics import (
    EMPTY,
    MAX_BOUND_BYTES,
    UNKNOWN,
    Bounds,
    Evidence,
    Order,
    boundary_order,
    bounds_of,
    bounds_of_page,
    bounds_of_pages,
    chunk_statistics,
    evidence_of,
    is_provably_exact,
    may_be_index_of,
    merge,
    order_of,
    signed_zero,
)
from engine.formats.parquet.bytes.thrift import (
    BINARY,
    BYTE,
    FALSE,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    Raw,
    Sequence,
)
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

TYPE_ORDER = Raw(thrift.encode({1: (STRUCT, {})}))
TOTAL_ORDER = Raw(thrift.encode({2: (STRUCT, {})}))
PLAIN = Evidence(0)


def leaf_of(physical, *, logical=None, converted=None, length=0):
    element = {1: (I32, int(physical)), 4: (BINARY, b"x")}
    if converted is not None:
        element[6] = (I32, converted)
    if logical is not None:
        element[10] = (STRUCT, logical)
    return Leaf(0, ("x",), (element,), physical, length, 0, 0)


def integer(signed):
    flag = (TRUE, True) if signed else (FALSE, False)
    return {10: (STRUCT, {1: (BYTE, 32), 2: flag})}


def kind(number):
    return {number: (STRUCT, {})}


FLBA = Type.FIXED_LEN_BYTE_ARRAY
ORDERS = [
    (leaf_of(Type.BOOLEAN), Order.SIGNED),
    (leaf_of(Type.INT32), Order.SIGNED),
    (leaf_of(Type.INT64, converted=10), Order.SIGNED),
    (leaf_of(Type.INT32, logical=integer(True)), Order.SIGNED),
    (leaf_of(Type.INT32, logical=integer(False)), Order.UNSIGNED),
    (leaf_of(Type.INT64, converted=14), Order.UNSIGNED),
    (leaf_of(Type.INT32, logical=kind(5)), Order.SIGNED),
    (leaf_of(Type.INT32, logical=kind(6)), Order.SIGNED),
    (leaf_of(Type.INT64, logical=kind(8)), Order.SIGNED),
    (leaf_of(Type.INT32, logical=kind(11)), Order.UNDEFINED),
    (leaf_of(Type.INT96), Order.UNDEFINED),
    (leaf_of(Type.FLOAT), Order.FLOAT),
    (leaf_of(Type.DOUBLE), Order.FLOAT),
    (leaf_of(FLBA, logical=kind(15), length=2), Order.FLOAT),
    (leaf_of(Type.BYTE_ARRAY), Order.BYTES),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(1)), Order.BYTES),
    (leaf_of(Type.BYTE_ARRAY, converted=0), Order.BYTES),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(12)), Order.BYTES),
    (leaf_of(FLBA, logical=kind(14), length=16), Order.BYTES),
    (leaf_of(FLBA, logical=kind(5), length=9), Order.SIGNED_BYTES),
    (leaf_of(Type.BYTE_ARRAY, converted=5), Order.SIGNED_BYTES),
    (leaf_of(FLBA, converted=21, length=12), Order.UNDEFINED),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(16)), Order.UNDEFINED),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(17)), Order.UNDEFINED),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(18)), Order.UNDEFINED),
    (leaf_of(Type.BYTE_ARRAY, logical=kind(99)), Order.UNDEFINED),
]


@pytest.mark.parametrize(("leaf", "order"), ORDERS)
def test_the_order_of_a_column(leaf, order):
    assert order_of(leaf, Sequence(STRUCT, [TYPE_ORDER])) is order
    assert order_of(leaf, Sequence(STRUCT, [thrift.decode(TYPE_ORDER)[0]])) is order
    assert order_of(leaf, Sequence(STRUCT, [TOTAL_ORDER])) is Order.UNDEFINED
    assert order_of(leaf, Sequence(STRUCT, [])) is Order.UNDEFINED
    signed = order in (Order.SIGNED, Order.FLOAT)
    assert order_of(leaf, None) is (order if signed else Order.UNDEFINED)


def test_keys_compare_as_values_do():
    def ordered(order, *plain):
        keys = [order.key(value) for value in plain]
        return keys == sorted(keys) and keys[0] < keys[-1]

    assert ordered(Order.SIGNED, b"\xff\xff\xff\xff", bytes(4), b"\1\0\0\0")
    assert ordered(Order.SIGNED, b"\0", b"\1")
    assert ordered(Order.UNSIGNED, bytes(4), b"\1\0\0\0", b"\xff\xff\xff\xff")
    assert ordered(Order.BYTES, b"", b"a", b"a\0", b"b", b"\xff")
    assert ordered(Order.SIGNED_BYTES, b"\x80\0", b"\xff", b"\0", b"\0\x80")
    for code in "efd":
        packed = [struct.pack(f"<{code}", number) for number in (-math.inf, -1.5, 0, 2)]
        assert ordered(Order.FLOAT, *packed)
    assert Order.FLOAT.is_nan(struct.pack("<f", math.nan))
    for order, plain in ((Order.UNDEFINED, b"1"), (Order.FLOAT, b"123")):
        with pytest.raises(BadStructure):
            order.key(plain)


def long(number):
    return struct.pack("<q", number)


@given(
    st.lists(st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.none(), max_size=6), max_size=6)
)
def test_merged_bounds_are_those_of_all_values(lists):
    parts = [bounds_of(pa.array(values, pa.int64()), Order.SIGNED) for values in lists]
    together = [value for values in lists for value in values]
    assert merge(parts, Order.SIGNED) == bounds_of(pa.array(together, pa.int64()), Order.SIGNED)


def test_one_unknown_part_makes_the_whole_unknown_but_an_empty_one_does_not():
    known = bounds_of(pa.array([1, 2, None]), Order.SIGNED)
    assert merge([known, UNKNOWN], Order.SIGNED) == Bounds()
    assert merge([known, EMPTY], Order.SIGNED) == known
    assert merge([], Order.SIGNED) == EMPTY
    assert merge([known], Order.UNDEFINED).min is None
    assert merge([known], Order.UNDEFINED).null_count == 1


def test_a_merged_bound_is_exact_if_one_part_proves_it():
    loose = Bounds(b"a", b"z", False, False, False, 0, 0)
    exact = Bounds(b"a", b"c", True, True, False, 0, 0)
    merged = merge([loose, exact], Order.BYTES)
    assert (merged.min, merged.is_min_exact) == (b"a", True)
    assert (merged.max, merged.is_max_exact) == (b"z", False)
    assert merge([exact, loose], Order.BYTES) == merged


def test_nan_is_no_bound():
    nan = struct.pack("<d", math.nan)
    one = struct.pack("<d", 1)
    merged = merge([Bounds(nan, one, True, True, False, 0, 0)], Order.FLOAT)
    assert (merged.min, merged.is_min_exact) == (None, False)
    assert merged.max == one


@given(st.data(), st.integers(1, 20), st.integers(0, 3))
def test_bounds_of_numbers_of_one_width(data, width, start):
    """Big-endian numbers, as decimals are: by sign, then by bytes."""
    edges = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
    number = st.lists(edges, min_size=width, max_size=width).map(bytes)
    values = data.draw(st.lists(st.none() | number, min_size=1))
    array = pa.array([b"\xff" * width] * start + values, pa.binary(width)).slice(start)
    numbers = [int.from_bytes(value, "big", signed=True) for value in values if value is not None]
    found = bounds_of(array, Order.SIGNED_BYTES)
    assert found.null_count == values.count(None)
    assert found.is_empty == (not numbers)
    if numbers:
        wanted = [each.to_bytes(width, "big", signed=True) for each in (min(numbers), max(numbers))]
        assert [found.min, found.max] == wanted


@given(st.lists(st.floats(width=32) | st.none(), max_size=20))
def test_bounds_of_floats_leave_nan_out(values):
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    nans = sum(value is not None and math.isnan(value) for value in values)
    array = pa.array(values, pa.float32())
    found = bounds_of(array, Order.FLOAT)
    assert (found.null_count, found.nan_count) == (values.count(None), nans)
    assert found.is_empty == (not numbers)
    if numbers:
        assert Order.FLOAT.key(found.min) == min(numbers)
        assert Order.FLOAT.key(found.max) == max(numbers)
    assert bounds_of(array.view(pa.int32()), Order.FLOAT) == found


ARRAYS = [
    (pa.array([True, None, True]), Order.SIGNED, b"\1", b"\1"),
    (pa.array([-1, 5, None], pa.int32()), Order.SIGNED, b"\xff" * 4, b"\5\0\0\0"),
    (pa.array([-1, 5, None], pa.int32()), Order.UNSIGNED, b"\5\0\0\0", b"\xff" * 4),
    (pa.array([1 << 63, 5], pa.uint64()), Order.UNSIGNED, long(5), long(-(1 << 63))),
    (pa.array(["b", "é", "a"], pa.binary()), Order.BYTES, b"a", "é".encode()),
    (pa.array([b"b", b"\xff", b""], pa.large_binary()), Order.BYTES, b"", b"\xff"),
    (pa.array([b"ab", b"\xff\0", b"aa"], pa.binary(2)), Order.BYTES, b"aa", b"\xff\0"),
    (pa.array([b"\0\1", b"\xff\0", None], pa.binary(2)), Order.SIGNED_BYTES, b"\xff\0", b"\0\1"),
    (pa.array([b"\1", b"\0\0\x80", b"\xff"]), Order.SIGNED_BYTES, b"\xff", b"\0\0\x80"),
]


@pytest.mark.parametrize(("array", "order", "low", "high"), ARRAYS)
def test_bounds_of_an_array(array, order, low, high):
    for values in (array, pa.concat_arrays([array, array]).slice(0, len(array))):
        found = bounds_of(values, order)
        assert (found.min, found.max) == (low, high)
        assert found.is_min_exact
        assert found.is_max_exact
        assert found.null_count == values.null_count


def test_bounds_of_half_floats_and_of_a_slice():
    packed = [struct.pack("<e", number) for number in (9, 1.5, math.nan, -2)]
    array = pa.array([*packed, None], pa.binary(2)).slice(1)
    found = bounds_of(array, Order.FLOAT)
    assert (found.min, found.max) == (packed[3], packed[1])
    assert (found.null_count, found.nan_count) == (1, 1)


def test_bounds_of_nothing():
    assert bounds_of(pa.array([None, None], pa.int32()), Order.SIGNED).is_empty
    assert bounds_of(pa.array([], pa.float64()), Order.FLOAT).is_empty
    undefined = bounds_of(pa.array([b"x", None]), Order.UNDEFINED)
    assert (undefined.min, undefined.null_count, undefined.is_empty) == (None, 1, False)


TEXT = leaf_of(Type.BYTE_ARRAY, logical=kind(1))


@pytest.mark.parametrize(
    ("leaf", "plain", "evidence", "low", "high"),
    [
        (leaf_of(Type.INT64), bytes(8), PLAIN, True, True),
        (leaf_of(FLBA, length=4), bytes(4), PLAIN, True, True),
        (leaf_of(FLBA, length=4), bytes(3), PLAIN, False, False),
        (TEXT, b"abc", PLAIN, False, False),
        (TEXT, b"abc", Evidence(6, 6), False, False),
        (TEXT, b"abc", Evidence(7, 7), True, False),
        (TEXT, b"abc", Evidence(70, 3), False, False),
        (TEXT, b"abcd", Evidence(70, 0), True, False),
        (TEXT, b"abc", Evidence(7, 7, keeps_length=True), True, True),
        (TEXT, b"abc", Evidence(3, never_shortens=True), True, True),
        (TEXT, b"abc", Evidence(3, 3, longest_value_bytes=3), True, True),
        (TEXT, b"abc", Evidence(3, 3, longest_value_bytes=4), False, False),
    ],
)
def test_what_proves_that_a_bound_is_exact(leaf, plain, evidence, low, high):
    assert is_provably_exact(plain, leaf, evidence, is_upper=False) is low
    assert is_provably_exact(plain, leaf, evidence, is_upper=True) is high


def index_of(*pages):
    """A column index of (min, max) pages, None for a page of nulls."""
    return ColumnIndex.of(
        {
            1: (LIST, Sequence(TRUE, [2 if page else 1 for page in pages])),
            2: (LIST, Sequence(BINARY, [page[0] if page else b"" for page in pages])),
            3: (LIST, Sequence(BINARY, [page[1] if page else b"" for page in pages])),
            4: (I32, UNORDERED),
            5: (LIST, Sequence(I64, [0 if page else 9 for page in pages])),
        }
    )


def exact_statistics(low, high):
    return {5: (BINARY, high), 6: (BINARY, low), 7: (TRUE, True), 8: (TRUE, True)}


def pages_bounds(index, start, stop, chunk=None, leaf=TEXT, order=Order.BYTES, evidence=PLAIN):
    return bounds_of_pages(
        index, start, stop, leaf=leaf, order=order, evidence=evidence, chunk=chunk
    )


def test_the_chunks_exact_bound_proves_its_only_page():
    index = index_of((b"a", b"c"), (b"b", b"z"), None)
    chunk = exact_statistics(b"a", b"z")
    first, second = pages_bounds(index, 0, 1, chunk), pages_bounds(index, 1, 3, chunk)
    assert (first.is_min_exact, first.is_max_exact) == (True, False)
    assert (second.is_min_exact, second.is_max_exact) == (False, True)
    assert second.null_count == 9
    assert not pages_bounds(index, 0, 1).is_min_exact
    unmarked = {field: entry for field, entry in chunk.items() if field < 7}
    assert not pages_bounds(index, 0, 1, unmarked).is_min_exact
    twice = index_of((b"a", b"c"), (b"a", b"z"))
    assert not pages_bounds(twice, 0, 1, chunk).is_min_exact
    assert pages_bounds(twice, 0, 2, chunk).is_min_exact


def test_shortened_bounds_are_not_called_exact():
    # Both pages begin with the same 8 bytes; a writer that keeps 8 says so of both.
    index = index_of((b"prefix-1", b"prefix-2"), (b"prefix-1", b"prefix-2"))
    chunk = exact_statistics(b"prefix-1", b"prefix-1zzz")
    assert not pages_bounds(index, 1, 2, chunk).is_min_exact
    assert not pages_bounds(index, 1, 2, chunk).is_max_exact


def test_bounds_that_cannot_be_values_are_unknown():
    wrong_width = index_of((bytes(3), bytes(4)))
    bounds = pages_bounds(wrong_width, 0, 1, leaf=leaf_of(Type.INT32), order=Order.SIGNED)
    assert (bounds.min, bounds.max, bounds.is_empty) == (None, None, False)
    short_decimal = index_of((b"\1", b"\2"))
    decimal = leaf_of(FLBA, logical=kind(5), length=4)
    bounds = pages_bounds(short_decimal, 0, 1, leaf=decimal, order=Order.SIGNED_BYTES)
    assert bounds.min is None
    nan = struct.pack("<f", math.nan)
    with_nan = index_of((nan, nan))
    bounds = pages_bounds(with_nan, 0, 1, leaf=leaf_of(Type.FLOAT), order=Order.FLOAT)
    assert bounds.min is None
    nothing = pages_bounds(index_of((b"a", b"b")), 0, 1, order=Order.UNDEFINED)
    assert (nothing.min, nothing.null_count) == (None, 0)


def test_pages_of_nulls_are_empty():
    bounds = pages_bounds(index_of(None, None), 0, 2)
    assert bounds.is_empty
    assert bounds.null_count == 18


def test_evidence_is_found_in_the_index_and_the_writers_name():
    index = index_of((b"abc", b"x" * 100))
    assert evidence_of(index, "parquet-cpp-arrow version 26.0.1") == Evidence(3, 3, True, False)
    assert evidence_of(index, "parquet-mr version 1.17.0", 5) == Evidence(3, 3, False, True, 5)
    assert evidence_of(index, "parquet-rs version 60.0.0") == Evidence(3, 3)


def entry(low, high):
    return PageEntry(False, struct.pack("<i", low), struct.pack("<i", high))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], ASCENDING),
        ([entry(1, 2)], ASCENDING),
        ([entry(-1, 2), PageEntry(True, b"", b""), entry(-1, 5)], ASCENDING),
        ([entry(3, 4), entry(1, 4)], DESCENDING),
        ([entry(1, 4), entry(2, 3)], UNORDERED),
    ],
)
def test_the_order_of_pages(entries, expected):
    assert boundary_order(entries, Order.SIGNED) == expected
    assert boundary_order(entries, Order.UNDEFINED) == UNORDERED


SOURCE = {
    1: (BINARY, b""),
    2: (BINARY, b""),
    3: (I64, 5),
    4: (I64, 5),
    5: (BINARY, b""),
    6: (BINARY, b""),
    7: (FALSE, False),
    8: (FALSE, False),
    9: (I64, 0),
    99: (I64, 1),
}
EXACT = Bounds(b"a", b"b", True, True, False, 1, 0)


def test_statistics_have_the_fields_of_the_source_as_far_as_exact():
    assert list(chunk_statistics(SOURCE, EXACT, Order.BYTES)) == [3, 5, 6, 7, 8, 9]
    assert list(chunk_statistics({3: (I64, 9)}, EXACT, Order.BYTES)) == [3]
    assert chunk_statistics(None, EXACT, Order.BYTES) is None
    assert chunk_statistics({4: (I64, 9)}, EXACT, Order.BYTES) is None
    loose = Bounds(b"a", b"b", True, False, False, None, None)
    found = chunk_statistics(SOURCE, loose, Order.BYTES)
    assert found == {6: (BINARY, b"a"), 8: (TRUE, True)}
    assert list(chunk_statistics(SOURCE, EXACT, Order.UNDEFINED)) == [3, 9]
    numbers = Bounds(long(1), long(2), True, True, False, 0, 0)
    signed = chunk_statistics(SOURCE, numbers, Order.SIGNED)
    assert list(signed) == [1, 2, 3, 5, 6, 7, 8, 9]
    assert (signed[1], signed[2]) == (signed[5], signed[6])
    assert list(chunk_statistics(SOURCE, numbers, Order.UNSIGNED)) == [3, 5, 6, 7, 8, 9]


def test_huge_bounds_are_left_out():
    huge = Bounds(b"a", b"b" * (MAX_BOUND_BYTES + 1), True, True, False, 0, 0)
    assert list(chunk_statistics(SOURCE, huge, Order.BYTES)) == [3, 6, 8, 9]


def test_a_zero_bound_has_the_sign_that_stands_for_both_zeros():
    plus, minus = struct.pack("<d", 0.0), struct.pack("<d", -0.0)
    found = chunk_statistics(SOURCE, Bounds(plus, minus, True, True, False, 0, 0), Order.FLOAT)
    assert found[6] == (BINARY, minus)
    assert found[5] == (BINARY, plus)
    assert signed_zero(struct.pack("<e", 0), is_upper=False) == struct.pack("<e", -0.0)
    assert signed_zero(None, is_upper=True) is None
    assert signed_zero(struct.pack("<f", 1.5), is_upper=True) == struct.pack("<f", 1.5)


def test_all_pages_together_have_the_statistics_that_the_writer_computed():
    num_rows = 20_000
    table = pa.table(
        {
            "int": pa.array([(row * 7919) % 10_007 - 5_000 for row in range(num_rows)], pa.int32()),
            "uint": pa.array([row << 17 for row in range(num_rows)], pa.uint32()),
            "double": [None if row % 9 == 0 else row / 3 - 100 for row in range(num_rows)],
            "text": [f"text {row * 7919 % num_rows}" for row in range(num_rows)],
            "flag": [row % 3 == 0 for row in range(num_rows)],
            "fixed": pa.array([row.to_bytes(4, "big") for row in range(num_rows)], pa.binary(4)),
        }
    )
    file = ParquetFile.written(table, write_page_index=True, data_page_size=4096)
    orders = file.footer.struct[7][1]
    for leaf, chunk, _ in file.chunks():
        source = thrift.decode(chunk.meta[12][1])[0]
        index = ColumnIndex.decode(file.read(*chunk.column_index))
        order = order_of(leaf, orders)
        evidence = evidence_of(index, file.footer.created_by)
        bounds = pages_bounds(index, 0, index.num_pages, source, leaf, order, evidence)
        if order is Order.FLOAT:  # nobody counted NaN, which may hide in the pages
            assert chunk_statistics(source, bounds, order) == {3: source[3]}
            bounds = replace(bounds, nan_count=0)
        assert chunk_statistics(source, bounds, order) == source
        entries = index.entries(0, index.num_pages)
        assert boundary_order(entries, order) == index.boundary_order
        column = table.column(leaf.index).combine_chunks()
        column = column.cast(pa.binary()) if pa.types.is_string(column.type) else column
        assert chunk_statistics(source, bounds_of(column, order), order) == source


def test_readers_see_the_statistics_we_write():
    file = ParquetFile.written(pa.table({"x": [3, None, 1]}))
    leaf, chunk, _ = next(file.chunks())
    source = thrift.decode(chunk.meta[12][1])[0]
    order = order_of(leaf, file.footer.struct[7][1])
    ours = chunk_statistics(source, bounds_of(pa.array([3, None, 1]), order), order)
    raw = file.data.replace(chunk.meta[12][1], thrift.encode(ours))
    found = pq.read_metadata(pa.BufferReader(raw)).row_group(0).column(0).statistics
    assert (found.min, found.max, found.null_count) == (1, 3, 1)


CPP = evidence_of(None, "parquet-cpp-arrow version 1")


def page_bounds(fields, leaf, order, evidence=CPP):
    struct = {number: (BINARY, plain) for number, plain in fields.items() if number != 3}
    if 3 in fields:
        struct[3] = (I64, fields[3])
    return bounds_of_page(struct, 9, leaf=leaf, order=order, evidence=evidence)


def test_a_page_header_gives_bounds_and_counts():
    leaf = leaf_of(Type.BYTE_ARRAY)
    found = page_bounds({3: 0, 5: b"z", 6: b"a"}, leaf, Order.BYTES)
    assert found == Bounds(b"a", b"z", True, True, False, 0)
    assert page_bounds({3: 9}, leaf, Order.BYTES).is_empty
    assert page_bounds({5: b"z"}, leaf, Order.BYTES) == Bounds(null_count=0)
    assert bounds_of_page(None, 9, leaf=leaf, order=Order.BYTES, evidence=CPP) == UNKNOWN


def test_a_page_headers_bounds_are_taken_only_if_exact():
    leaf = leaf_of(Type.BYTE_ARRAY)
    rust = evidence_of(None, "parquet-rs version 57")
    found = page_bounds({5: b"z", 6: b"a"}, leaf, Order.BYTES, rust)
    assert (found.min, found.is_min_exact, found.is_max_exact) == (b"a", False, False)
    struct = {5: (BINARY, b"z"), 6: (BINARY, b"a"), 7: (TRUE, True), 8: (FALSE, False)}
    found = bounds_of_page(struct, 9, leaf=leaf, order=Order.BYTES, evidence=rust)
    assert (found.is_min_exact, found.is_max_exact) == (False, True)


def test_the_deprecated_bounds_of_a_page_header_are_signed():
    old = {1: b"\x02\0\0\0", 2: b"\xff\xff\xff\xff"}
    leaf = leaf_of(Type.INT32)
    assert page_bounds(old, leaf, Order.SIGNED).is_max_exact
    assert page_bounds(old, leaf, Order.UNSIGNED).min is None
    assert page_bounds({5: b"12345", 6: b"1234"}, leaf, Order.SIGNED).max is None  # damaged
    nan = struct.pack("<d", math.nan)
    assert page_bounds({5: nan, 6: nan}, leaf_of(Type.DOUBLE), Order.FLOAT).min is None


def test_page_bounds_of_decimals_must_be_whole():
    leaf = leaf_of(Type.BYTE_ARRAY, converted=5)
    rust = evidence_of(None, "parquet-rs version 57")
    assert page_bounds({5: b"z", 6: b"a"}, leaf, Order.SIGNED_BYTES, rust).min is None
    assert page_bounds({5: b"z", 6: b"a"}, leaf, Order.SIGNED_BYTES).is_min_exact


NUMBERS = {
    "signed": (leaf_of(Type.INT64), Order.SIGNED, [n.to_bytes(8, "little") for n in (1, 5, 9)]),
    "unsigned": (leaf_of(Type.INT32), Order.UNSIGNED, [n.to_bytes(4, "little") for n in (1, 5, 9)]),
    "float": (leaf_of(Type.DOUBLE), Order.FLOAT, [struct.pack("<d", n) for n in (-1, 0, 1)]),
    "float16": (
        leaf_of(Type.FIXED_LEN_BYTE_ARRAY, length=2),
        Order.FLOAT,
        [struct.pack("<e", n) for n in (-1, 0, 1)],
    ),
    "decimal": (
        leaf_of(Type.FIXED_LEN_BYTE_ARRAY, length=8),
        Order.SIGNED_BYTES,
        [n.to_bytes(8, "big", signed=True) for n in (-1, 5, 9)],
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_of_numbers_the_pages_bounds_are_the_chunk_s(name):
    leaf, order, (low, middle, high) = NUMBERS[name]
    index = index_of((low, middle), (middle, high))
    for chunk, is_its in (((low, high), True), ((low, middle), False), ((middle, high), False)):
        found = may_be_index_of(index, exact_statistics(*chunk), leaf=leaf, order=order)
        assert found is is_its
