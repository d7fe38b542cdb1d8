"""What the row groups of a part say side by side: readers take what some say for what all say.

* Ordinals, offset indexes, and the bounds of a column are there in all row groups or in none; row
  groups of nulls alone need no bounds.
* Row groups that claim to be sorted claim the same, and where one follows another, by the first
  column that they are sorted by, so do the values (:class:`Seams`).

Not covered: order inside row groups, and by further columns: what a source claims of them, it
claims. Source: parquet.thrift (``RowGroup``); what readers do was seen with DataFusion and
arrow-rs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from engine.errors import Different
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import ChunkTable
from engine.formats.parquet.bytes.footer import Footer, Leaf, value
from engine.formats.parquet.bytes.statistics import Order, bounds_of
from engine.formats.parquet.verifier.sizes import table_of
from engine.formats.parquet.verifier.statistics import bound_order

_BOUNDS = (
    spec.Statistics.MIN,
    spec.Statistics.MAX,
    spec.Statistics.MIN_VALUE,
    spec.Statistics.MAX_VALUE,
)


class Sorting(NamedTuple):
    """A column by which rows are sorted."""

    column: int
    descending: bool
    nulls_first: bool


_claims: WeakKeyDictionary[Footer, list[list[Sorting]]] = WeakKeyDictionary()


def sorting_of(footer: Footer) -> list[list[Sorting]]:
    """Return the sorting columns of each row group."""
    found = _claims.get(footer)
    if found is None:
        claimed = enumerate(table_of(footer).sorting_columns)
        found = [_sorting(footer.row_group_data(i)) if columns else [] for i, columns in claimed]
        _claims[footer] = found
    return found


def _sorting(data: bytes) -> list[Sorting]:
    group = spec.read(spec.RowGroup, data, max_depth=0)
    names = spec.SortingColumn
    claimed = value(group, spec.RowGroup.SORTING_COLUMNS)
    entries = [spec.read(names, raw) for raw in claimed.items] if claimed else []
    return [
        Sorting(
            value(entry, names.COLUMN_IDX, -1),
            bool(value(entry, names.DESCENDING, False)),
            bool(value(entry, names.NULLS_FIRST, False)),
        )
        for entry in entries
    ]


def check_side_by_side(part: Footer, table: ChunkTable, name: str) -> None:
    """Check what the row groups of a part, as its footer and a table of its chunks, say together.

    Raises:
        Different: names the part, and the column and row group that say less than others, or other
            things.
        BadStructure: the footer is damaged.
    """
    filled = np.flatnonzero(table.num_rows > 0)
    is_given = table.ordinals >= 0
    wrong = np.flatnonzero(table.ordinals != np.arange(len(is_given)))
    if is_given.any() and len(wrong):
        raise Different(
            f"{name}: row group {wrong[0]} does not have its ordinal, which others have"
        )
    if not len(filled):
        return
    lacks = table.offset_index_bytes[filled] <= 0
    if lacks.any() and not lacks.all():
        group, column = np.argwhere(lacks)[0]
        raise Different(
            f"{name}: column {part.leaves[column].name}, row group {filled[group]}: no offset "
            "index, which other chunks have"
        )
    for leaf in part.leaves if len(filled) > 1 else ():
        _check_bounds(table, filled.tolist(), leaf, name)
    claims = [sorting_of(part)[group] for group in filled]
    for group, claim in zip(filled, claims, strict=True):
        if claim != claims[0]:
            raise Different(f"{name}: row group {group} claims other sorting columns than others")


def _check_bounds(table: ChunkTable, filled: Sequence[int], leaf: Leaf, name: str) -> None:
    """Check that bounds of a column are there in all row groups that have values, or in none."""
    seen: dict[spec.Field, bool] = {}
    for group in filled:
        raw = table.statistics[group][leaf.index]
        facts = spec.read(spec.Statistics, raw) if raw else {}
        if value(facts, spec.Statistics.NULL_COUNT) == table.num_values[group, leaf.index]:
            continue
        for field in _BOUNDS:
            if seen.setdefault(field, field in facts) != (field in facts):
                raise Different(
                    f"{name}: column {leaf.name}, row group {group}: bounds ({field.name}) in some "
                    "row groups only"
                )


class Seams:
    """Where rows of one row group follow those of another: whether they do so in order.

    Args:
        rows: of the part, each the first of a row group of the part or of a source, ascending.
        sorting: the first column by which the rows claim to be sorted.
        order: how its values compare.
        where: what to call the column.
    """

    def __init__(self, rows: Sequence[int], sorting: Sorting, order: Order, where: str) -> None:
        self._rows = rows
        self._sorting = sorting
        self._order = order
        self._where = where
        self._row = 0
        self._last: Any = None

    @classmethod
    def of(cls, part: Footer, leaf: Leaf, rows: Sequence[int], where: str) -> Seams | None:
        """Return the seams of a part; None where it claims nothing of the column."""
        claim = next(iter(sorting_of(part)), [])
        order = bound_order(part, leaf)
        if not claim or claim[0].column != leaf.index or leaf.max_repetition:
            return None
        return None if order is Order.UNDEFINED else cls(rows, claim[0], order, where)

    def add(self, array: Any) -> None:
        """Take in the rows that come next.

        Raises:
            Different: a row does not follow the one before it.
        """
        if not len(array):
            return
        end = self._row + len(array)
        for at in range(bisect_left(self._rows, self._row), bisect_left(self._rows, end)):
            here = self._rows[at] - self._row
            before = array.slice(here - 1, 1) if here else self._last
            if before is not None and not self._follows(before, array.slice(here, 1)):
                raise Different(
                    f"{self._where}: the row groups claim to be sorted by it, and at row "
                    f"{self._rows[at]} of the part they are not"
                )
        self._last = array.slice(len(array) - 1, 1)
        self._row = end

    def _follows(self, one: Any, two: Any) -> bool:
        here, there = (bounds_of(_leaf_values(array), self._order) for array in (one, two))
        if here.null_count or there.null_count:
            first = here if self._sorting.nulls_first else there
            return bool(first.null_count)
        if here.min is None or there.min is None:  # where NaN stands in an order nobody says
            return True
        low, high = self._order.key(here.min), self._order.key(there.min)
        return bool(low >= high if self._sorting.descending else low <= high)


def _leaf_values(array: Any) -> Any:
    import pyarrow

    while pyarrow.types.is_struct(array.type):
        array = array.flatten()[0]
    return array
