"""Are a file's chunk statistics true? The values of each row group against its own footer.

Covers min, max, null and value counts of every leaf, nested ones too. A bound must be a value. Only
one of strings or bytes of any length may be a shortened one that encloses the values, as writers
shorten no others, and only where it does not say that it is exact (DuckDB tells that). Does not
cover page-level statistics and page indexes: ``judge.probe_pages`` does. INT96, which has no order,
is only checked for its null count.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from tests.witness.canonical import one_array

_UNORDERED = ("INT96",)


class _Exact(NamedTuple):
    """Whether each bound says of itself that it is exact."""

    low: bool
    high: bool


def wrong_statistics(path: str) -> list[str]:
    """Every statistic that the values deny; empty means all exact or absent."""
    out = []
    marks = _marks(path)
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            footer = file.metadata.row_group(group)
            leaves = [leaf for c in file.read_row_group(group).columns for leaf in _leaves(c)]
            for index, leaf in enumerate(leaves):
                chunk = footer.column(index)
                where = f"row group {group}, {chunk.path_in_schema}"
                out += [
                    f"{where}: {w}"
                    for w in _denied(chunk, leaf, footer.num_rows, marks.get((group, index)))
                ]
    return out


def _marks(path: str) -> dict[tuple[int, int], _Exact]:
    """What the bounds of each row group and column say of themselves.

    Nothing, of a file whose schema DuckDB refuses: its bounds need only enclose the values.
    """
    question = "SELECT row_group_id, column_id, min_is_exact, max_is_exact FROM parquet_metadata(?)"
    try:
        found = _database().execute(question, [path]).fetchall()
    except duckdb.IOException:
        return {}
    return {
        (group, column): _Exact(low is True, high is True) for group, column, low, high in found
    }


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One a process: to open another takes longer than to ask it."""
    return duckdb.connect()


def _leaves(values: pa.ChunkedArray | pa.Array) -> Iterator[pa.Array]:
    array = one_array(values)
    if pt.is_struct(array.type):
        for child in array.flatten():
            yield from _leaves(child)
    elif pt.is_map(array.type):
        fields = pa.struct([array.type.key_field, array.type.item_field])
        yield from _leaves(array.cast(pa.list_(fields)))
    elif pt.is_list(array.type) or pt.is_large_list(array.type):
        yield from _leaves(array.flatten())
    else:
        yield array


def _denied(chunk: Any, leaf: pa.Array, num_rows: int, exact: _Exact | None) -> Iterator[str]:
    statistics = chunk.statistics
    if statistics is None:
        return
    flat = "." not in chunk.path_in_schema
    if flat and len(leaf) != num_rows:
        yield f"{len(leaf)} values, {num_rows} rows"
    num_nulls = chunk.num_values - (len(leaf) - leaf.null_count)
    if statistics.has_null_count and statistics.null_count != num_nulls:
        yield f"null count {statistics.null_count}, really {num_nulls}"
    if statistics.has_min_max and chunk.physical_type not in _UNORDERED:
        yield from _denied_bounds(statistics, leaf, exact or _Exact(False, False))


def _denied_bounds(statistics: Any, leaf: pa.Array, exact: _Exact) -> Iterator[str]:
    low, high = statistics.min, statistics.max
    if pt.is_float16(leaf.type):
        low, high = (struct.unpack("<e", bound)[0] for bound in (low, high))
        leaf = leaf.cast(pa.float32())
    if _is_nan(low, high):
        return  # by the format, readers ignore a NaN bound: parquet-mr writes such
    is_fixed = not (pt.is_large_string(leaf.type) or pt.is_large_binary(leaf.type))
    if pt.is_fixed_size_binary(leaf.type):
        leaf = leaf.cast(pa.binary())
    if pt.is_floating(leaf.type):
        leaf = leaf.filter(pc.invert(pc.is_nan(leaf)))
    if pt.is_duration(leaf.type):
        leaf = leaf.cast(pa.int64())
    real = pc.min_max(leaf)
    least, most = real["min"].as_py(), real["max"].as_py()
    if least is None:
        yield f"bounds {low!r}..{high!r} of no values"
    elif not is_fixed:
        if not (low <= least and high >= most):
            yield f"bounds {low!r}..{high!r} do not enclose {least!r}..{most!r}"
        elif (exact.low and low != least) or (exact.high and high != most):
            yield f"bounds {low!r}..{high!r} called exact, really {least!r}..{most!r}"
    elif low != least or high != most:
        yield f"bounds {low!r}..{high!r}, really {least!r}..{most!r}"


def _is_nan(*bounds: Any) -> bool:
    return any(isinstance(bound, float) and math.isnan(bound) for bound in bounds)
