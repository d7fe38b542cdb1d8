"""The sample of `evensplit demo`: skewed, varied, sized as asked, and always the same."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine import demo

TARGET_BYTES = 6_000_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "sample.parquet"
    demo.make_sample(str(path), target_bytes=TARGET_BYTES)
    return path


@pytest.fixture(scope="module")
def table(sample: Path) -> pa.Table:
    return pq.read_table(sample)


def row_group_bytes(metadata: pq.FileMetaData) -> list[int]:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return [
        sum(group.column(number).total_compressed_size for number in range(group.num_columns))
        for group in groups
    ]


def row_group_rows(metadata: pq.FileMetaData) -> list[int]:
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_size_is_near_the_target(sample: Path) -> None:
    assert sample.stat().st_size == pytest.approx(TARGET_BYTES, rel=0.1)


def test_one_row_group_outweighs_the_rest(sample: Path) -> None:
    assert max(row_group_bytes(pq.read_metadata(sample))) > sample.stat().st_size / 2


def test_some_row_groups_are_tiny(sample: Path) -> None:
    num_rows = row_group_rows(pq.read_metadata(sample))
    assert min(num_rows) == 1
    assert sum(rows < 100 for rows in num_rows) >= 4


def test_rows_widen_towards_the_end(sample: Path) -> None:
    metadata = pq.read_metadata(sample)
    sizes = zip(row_group_bytes(metadata), row_group_rows(metadata), strict=True)
    widths = [num_bytes / num_rows for num_bytes, num_rows in sizes if num_rows >= 100]
    assert widths[-1] > 5 * widths[0]


def test_every_type_is_there(table: pa.Table) -> None:
    types = {field.type for field in table.schema}
    assert types >= {
        pa.int8(),
        pa.int32(),
        pa.int64(),
        pa.float32(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.binary(),
        pa.binary(16),
        pa.date32(),
        pa.timestamp("ms"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns", "Europe/Amsterdam"),
        pa.decimal128(4, 2),
        pa.decimal128(15, 2),
        pa.list_(pa.field("element", pa.string())),
        pa.struct({"lat": pa.float64(), "lon": pa.float64()}),
        table.schema.field("attributes").type,
    }
    assert pa.types.is_map(table.schema.field("attributes").type)
    assert table.num_columns >= 25


def test_values_are_valid_arrow(table: pa.Table) -> None:
    table.validate(full=True)


def test_nulls_of_every_depth(table: pa.Table) -> None:
    with_nulls = {field.name for field in table.schema if table[field.name].null_count}
    assert with_nulls >= {"price", "comment", "request_id", "tags", "location", "attributes"}
    assert pc.list_flatten(table["tags"]).null_count > 0
    assert pc.any(pc.equal(pc.list_value_length(table["tags"]), 0)).as_py()
    assert pc.struct_field(table["location"], "lon").null_count > table["location"].null_count


def test_not_a_number_is_not_null(table: pa.Table) -> None:
    weights = table["weight_kg"]
    assert weights.null_count > 0
    assert any(math.isnan(weight) for weight in weights.drop_null().to_pylist())


def test_a_map_has_no_key_twice(table: pa.Table) -> None:
    rows = table["attributes"].drop_null().to_pylist()
    assert all(len(row) == len(dict(row)) for row in rows)
    assert max(map(len, rows)) > 2


def test_declared_order_is_kept(sample: Path, table: pa.Table) -> None:
    group = pq.read_metadata(sample).row_group(0)
    assert [column.column_index for column in group.sorting_columns] == [0]
    ids = table["order_id"].to_pylist()
    assert all(before < after for before, after in pairwise(ids))


def test_metadata_worth_losing(sample: Path) -> None:
    schema = pq.read_schema(sample)
    assert schema.metadata[b"origin"] == b"evensplit demo"
    assert schema.field("order_id").metadata[b"PARQUET:field_id"] == b"1"
    assert not schema.field("order_id").nullable
    column = pq.read_metadata(sample).row_group(3).column(0)
    assert column.has_column_index
    assert column.has_offset_index


def test_text_compresses_like_text(sample: Path) -> None:
    metadata = pq.read_metadata(sample)
    group = metadata.row_group(metadata.num_row_groups - 2)
    comment = group.column(group.num_columns - 1)
    assert comment.path_in_schema == "comment"
    assert 1.2 < comment.total_uncompressed_size / comment.total_compressed_size < 3


def test_same_seed_same_bytes(sample: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.parquet", tmp_path / "other.parquet"
    demo.make_sample(str(again), target_bytes=TARGET_BYTES)
    demo.make_sample(str(other), target_bytes=TARGET_BYTES, seed=8)
    assert again.read_bytes() == sample.read_bytes()
    assert other.read_bytes() != sample.read_bytes()


def test_progress_rises_to_the_target(tmp_path: Path) -> None:
    seen: list[int] = []
    demo.make_sample(str(tmp_path / "s.parquet"), target_bytes=TARGET_BYTES, progress=seen.append)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1] == TARGET_BYTES


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def give_up(_num_bytes: int) -> None:
        raise RuntimeError("given up")

    with pytest.raises(RuntimeError, match="given up"):
        demo.make_sample(str(tmp_path / "s.parquet"), target_bytes=TARGET_BYTES, progress=give_up)
    assert os.listdir(tmp_path) == []
