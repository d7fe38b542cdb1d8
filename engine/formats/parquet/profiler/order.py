"""Whether a column is sorted, as far as statistics of row groups and pages can tell.

Bounds of a footer are compared first, which tells most columns apart at the second row group;
column indexes are read only of those that are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import ChunkTable
from engine.formats.parquet.bytes.footer import Leaf, value
from engine.formats.parquet.bytes.page_index import ASCENDING, DESCENDING, ColumnIndex
from engine.formats.parquet.bytes.statistics import Order, order_of
from engine.formats.parquet.opened import OpenFile
from engine.model import Range

_NAMES = {ASCENDING: "ascending", DESCENDING: "descending"}


def column_order(file: OpenFile, table: ChunkTable, leaf: Leaf) -> str | None:
    """Return the order of a column, as :attr:`.profiler.model.ColumnProfile.order` has it."""
    compared = order_of(leaf, value(file.footer.struct, spec.FileMetaData.COLUMN_ORDERS))
    if compared is Order.UNDEFINED or leaf.max_repetition:
        return None
    groups = [index for index, rows in enumerate(table.num_rows) if rows]
    try:
        directions = _of_row_groups(table, leaf.index, groups, compared)
        if not directions:
            return None if directions is None else "unordered"
        inside = _of_pages(file, table, leaf.index, groups)
    except BadStructure:
        return None
    if inside is not None and inside & directions:
        return _NAMES[min(inside & directions)]
    if len(groups) > 1:
        return f"{_NAMES[min(directions)]} row groups"
    return None if inside is None else "unordered"


def _of_row_groups(
    table: ChunkTable, column: int, groups: Iterable[int], compared: Order
) -> set[int] | None:
    """Return the directions in which bounds of row groups go; None if they are not all known."""
    directions = {ASCENDING, DESCENDING}
    last: tuple[Any, Any] | None = None
    for group in groups:
        data = table.statistics[group][column]
        facts = spec.Statistics
        struct = spec.read(facts, data) if data else {}
        low = value(struct, facts.MIN_VALUE, value(struct, facts.MIN))
        high = value(struct, facts.MAX_VALUE, value(struct, facts.MAX))
        if low is None or high is None:
            if value(struct, facts.NULL_COUNT) == table.num_values[group, column]:
                continue  # nulls only
            return None
        bounds = (compared.key(bytes(low)), compared.key(bytes(high)))
        if last is not None:
            if bounds[0] < last[1]:
                directions.discard(ASCENDING)
            if bounds[1] > last[0]:
                directions.discard(DESCENDING)
            if not directions:
                return directions
        last = bounds
    return directions


def _of_pages(file: OpenFile, table: ChunkTable, column: int, groups: list[int]) -> set[int] | None:
    """Return the directions in which pages go in all row groups; None if not all are indexed."""
    offsets, lengths = table.column_index_offsets, table.column_index_bytes
    if not groups or not (lengths[groups, column] > 0).all():
        return None
    places = [Range(int(offsets[group, column]), int(lengths[group, column])) for group in groups]
    directions = {ASCENDING, DESCENDING}
    for data in file.source.read_many(places):
        index = ColumnIndex.decode(data)
        if index.num_pages > 1 and not _is_constant(index):
            directions &= {index.boundary_order}
        if not directions:
            break
    return directions


def _is_constant(index: ColumnIndex) -> bool:
    bounds = [
        pair
        for pair, is_null in zip(
            zip(index.min_values, index.max_values, strict=True), index.null_pages, strict=True
        )
        if not is_null
    ]
    return all(one == other and one[0] == one[1] for one, other in pairwise(bounds))
