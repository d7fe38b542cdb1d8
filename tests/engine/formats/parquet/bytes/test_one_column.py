"""Arrow reads, through a one-column footer, exactly the levels and bits of that column."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import BadStructure
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import Type, footer_range
from engine.formats.parquet.bytes.one_column import (
    group_rows,
    holds_bits,
    one_column_footer,
    read_chunk,
)
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def read_one(data: bytes, column: int, groups: list[int] | None = None, **options: Any) -> pa.Array:
    footer = ParquetFile.of(data).footer
    leaf = footer.leaves[column]
    wanted = list(range(footer.num_row_groups)) if groups is None else groups
    chunks = [read_chunk(footer, group, column) for group in wanted]
    tiny = one_column_footer(footer, leaf, chunks, **options)
    metadata = pq.read_metadata(pa.BufferReader(tiny))
    file = pq.ParquetFile(pa.BufferReader(data), metadata=metadata, buffer_size=1 << 16)
    assert file.schema.column(0).max_definition_level == leaf.max_definition
    assert file.schema.column(0).max_repetition_level == leaf.max_repetition
    return file.read().column(0).combine_chunks()


def schema_element(name: str, repetition: int, **fields: Any) -> dict[int, Any]:
    out: dict[int, Any] = {3: (thrift.I32, repetition), 4: (thrift.BINARY, name.encode())}
    numbers = {"type": 1, "children": 5, "converted": 6}
    out |= {numbers[key]: (thrift.I32, number) for key, number in fields.items()}
    return dict(sorted(out.items()))


def with_schema(data: bytes, elements: list[dict[int, Any]], path: list[bytes]) -> bytes:
    """A file with another schema of the same levels: what pyarrow itself cannot write."""
    footer = ParquetFile.of(data).footer
    root = footer.schema[0]
    group = footer.row_group(0)
    for chunk in group.columns:
        chunk.meta[3] = (thrift.LIST, thrift.Sequence(thrift.BINARY, path))
    changed = dict(footer.struct)
    changed[2] = (thrift.LIST, thrift.Sequence(thrift.STRUCT, [root, *elements]))
    changed[4] = (thrift.LIST, thrift.Sequence(thrift.STRUCT, [group.struct]))
    changed.pop(5, None)
    end = thrift.encode(changed)
    start = data[: footer_range(data, len(data)).offset]
    return start + end + struct.pack("<i", len(end)) + b"PAR1"


def test_optional_and_required_primitives() -> None:
    table = pa.table(
        {"a": [1, None, 3], "b": ["x", "y", "z"]},
        schema=pa.schema([pa.field("a", pa.int32()), pa.field("b", pa.string(), nullable=False)]),
    )
    data = written(table)
    assert read_one(data, 0).to_pylist() == [1, None, 3]
    assert read_one(data, 1).to_pylist() == [b"x", b"y", b"z"]


LISTS = [[1, 2], [], None, [None], [3, None, 4]]


def test_lists_of_three_levels() -> None:
    data = written(pa.table({"a": pa.array(LISTS, pa.list_(pa.int64()))}))
    found = read_one(data, 0).to_pylist()
    assert found == [
        None if row is None else {"list": [{"element": item} for item in row]} for row in LISTS
    ]


def test_legacy_lists_of_two_levels() -> None:
    data = written(
        pa.table(
            {"a": pa.array([[1, 2], [], None, [3]], pa.list_(pa.field("x", pa.int64(), False)))}
        )
    )
    elements = [
        schema_element("a", 1, children=1, converted=3),
        schema_element("array", 2, type=Type.INT64),
    ]
    legacy = with_schema(data, elements, [b"a", b"array"])
    assert pq.read_table(pa.BufferReader(legacy)).column(0).to_pylist() == [[1, 2], [], None, [3]]
    found = read_one(legacy, 0).to_pylist()
    assert found == [{"array": [1, 2]}, {"array": []}, None, {"array": [3]}]


def test_a_repeated_primitive_at_the_top() -> None:
    data = written(
        pa.table(
            {"a": pa.array([[1, 2], [], [3]], pa.list_(pa.field("x", pa.int64(), False)))},
            schema=pa.schema(
                [pa.field("a", pa.list_(pa.field("x", pa.int64(), False)), nullable=False)]
            ),
        )
    )
    bare = with_schema(data, [schema_element("a", 2, type=Type.INT64)], [b"a"])
    assert read_one(bare, 0).to_pylist() == [[1, 2], [], [3]]


def test_maps_with_structs_with_lists() -> None:
    kind = pa.list_(
        pa.map_(pa.string(), pa.struct([("x", pa.int32()), ("y", pa.list_(pa.float64()))]))
    )
    rows = [
        [[("k", {"x": 1, "y": [1.5, None]}), ("l", None)], None, []],
        None,
        [],
        [[("m", {"x": None, "y": None})], [("n", {"x": 2, "y": []})]],
    ]
    data = written(pa.table({"a": pa.array(rows, kind)}))
    assert [leaf.path[-1] for leaf in ParquetFile.of(data).footer.leaves] == ["key", "x", "element"]
    keys = read_one(data, 0).to_pylist()
    assert keys[1] is None
    assert keys[2] == {"list": []}
    assert keys[0]["list"][1] == {"element": None}
    assert keys[0]["list"][2] == {"element": {"key_value": []}}
    entries = read_one(data, 2).to_pylist()[0]["list"][0]["element"]["key_value"]
    bits = struct.unpack("<q", struct.pack("<d", 1.5))[0]
    assert entries[0]["value"]["y"] == {"list": [{"element": bits}, {"element": None}]}
    assert entries[1] == {"value": None}


NAN_BITS = [0x7FC00001, -0x400000, 0x7F800001]  # quiet, negative and signalling, with payloads


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": True},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": "BYTE_STREAM_SPLIT"},
        {
            "use_dictionary": False,
            "column_encoding": "BYTE_STREAM_SPLIT",
            "data_page_version": "2.0",
        },
        {"use_dictionary": True, "data_page_version": "2.0", "compression": "zstd"},
    ],
)
def test_floats_keep_their_bits(options: dict[str, Any]) -> None:
    bits = np.array([*NAN_BITS, 0, -0x80000000, 0x3F800000], dtype="<i4")
    doubles = np.array([0x7FF8000000000001, -0x8000000000000000, 0x7FF0000000000002], dtype="<i8")
    table = pa.table(
        {"f": pa.array(bits.view("<f4")), "d": pa.array(np.tile(doubles, 2).view("<f8"))}
    )
    data = written(table, **options)
    assert read_one(data, 0).type == pa.int32()
    assert read_one(data, 0).to_pylist() == bits.tolist()
    assert read_one(data, 1).to_pylist() == [*doubles.tolist(), *doubles.tolist()]
    assert read_one(data, 0, as_bits=False).type == pa.float32()


def test_integers_in_encodings_of_their_own_are_read_as_they_are() -> None:
    data = written(
        pa.table({"a": pa.array(range(1000), pa.int64())}),
        use_dictionary=False,
        column_encoding="DELTA_BINARY_PACKED",
    )
    chunk = read_chunk(ParquetFile.of(data).footer, 0, 0)[1]
    assert not holds_bits([chunk])
    assert read_one(data, 0).to_pylist() == list(range(1000))


def test_int96_is_twelve_bytes() -> None:
    stamps = pa.array([0, 10**18, None], pa.timestamp("ns"))
    data = written(pa.table({"t": stamps}), use_deprecated_int96_timestamps=True)
    found = read_one(data, 0)
    assert found.type == pa.binary(12)
    assert found.to_pylist()[0] == struct.pack("<qi", 0, 2_440_588)  # the Julian day of 1970


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None], pa.uint8()), pa.int32()),
        (pa.array([1, None], pa.decimal128(30, 2)), pa.binary(13)),
        (pa.array([1, None], pa.timestamp("us", "UTC")), pa.int64()),
        (pa.array([np.float16(1.5), None], pa.float16()), pa.binary(2)),
        (pa.array([True, None]), pa.bool_()),
        (pa.array([None, None], pa.null()), pa.int32()),
    ],
)
def test_logical_types_are_stripped(array: pa.Array, expected: pa.DataType) -> None:
    found = read_one(written(pa.table({"a": array})), 0)
    assert found.type == expected
    assert found.null_count == array.null_count


def test_row_groups_are_read_in_the_order_asked_for() -> None:
    data = written(pa.table({"a": range(10), "b": range(10, 20)}), row_group_size=4)
    footer = ParquetFile.of(data).footer
    assert group_rows(footer) == [4, 4, 2]
    assert read_one(data, 1, [2]).to_pylist() == [18, 19]
    assert read_one(data, 1, [2, 0]).to_pylist() == [18, 19, 10, 11, 12, 13]
    assert read_one(data, 1, []).to_pylist() == []


def test_a_missing_column_is_a_damaged_footer() -> None:
    footer = ParquetFile.of(written(pa.table({"a": [1]}))).footer
    with pytest.raises(BadStructure, match="lacks column 1"):
        read_chunk(footer, 0, 1)


def test_chunks_are_those_of_the_whole_footer() -> None:
    table = pa.table({"a": range(100), "b": [str(i) for i in range(100)]})
    data = written(table, row_group_size=30, write_page_index=True)
    footer = ParquetFile.of(data).footer
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        for column, chunk in enumerate(group.columns):
            num_rows, found = read_chunk(footer, index, column)
            assert (num_rows, found.struct) == (group.num_rows, chunk.struct)
