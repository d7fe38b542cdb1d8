"""Recompute the statistics of row groups that say more than their source does, and compare.

Engines answer ``min``, ``max`` and ``count`` from statistics and skip row groups by them, so a
wrong one is a wrong result without any error. A bound must be a value of the row group, unless it
says that it is not exact: no mark is no excuse, as engines answer from such bounds too.

A row group of the source that stands in a part whole, with statistics that repeat the source's,
cannot answer otherwise than the source does, true or false, unless readers trust the part's writer
more (:func:`is_repeated`). Only the others are recomputed, so that ordinary parts cost nothing.

Not covered: bounds without an order (INT96, INTERVAL, geospatial types), distinct counts, and
bounds that readers are known to ignore by ``created_by``. Source: parquet.thrift, ``Statistics``
and ``ColumnOrder``; :mod:`.bytes.created_by` for readers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine.errors import Different
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.created_by import FALSE_BOUNDS, SIGNED_BOUNDS, has
from engine.formats.parquet.bytes.footer import Footer, Leaf, Type, value
from engine.formats.parquet.bytes.statistics import EMPTY, Bounds, Order, bounds_of, merge, order_of
from engine.formats.parquet.bytes.thrift import Struct

_FACTS = spec.Statistics
_SIGNED = (Order.SIGNED, Order.FLOAT)
_OF_ANY_LENGTH = (Order.BYTES, Order.SIGNED_BYTES)
# Each bound, with the field that says whether it is exact; the deprecated pair has none.
_MARKS = {
    _FACTS.MIN_VALUE: _FACTS.IS_MIN_VALUE_EXACT,
    _FACTS.MAX_VALUE: _FACTS.IS_MAX_VALUE_EXACT,
    _FACTS.MIN: None,
    _FACTS.MAX: None,
}
_MINIMA = (_FACTS.MIN_VALUE, _FACTS.MIN)
# Where a footer has no column orders, many engines compare by the type all the same.
_TYPE_ORDERS = spec.entry(
    spec.FileMetaData.COLUMN_ORDERS, [spec.struct_of({spec.ColumnOrder.TYPE_ORDER: {}})]
)[1]
_SHORT = 60  # characters of a bound in a message


def facts_in(raw: bytes) -> Struct:
    """Return what a chunk's ``Statistics`` say, from their bytes; empty if it has none.

    Raises:
        BadStructure: a field has another type than the specification's.
    """
    return spec.read(_FACTS, raw) if raw else {}


def bound_order(footer: Footer, leaf: Leaf) -> Order:
    """Return how engines compare a column's bounds: by the footer, or else by the type."""
    column_orders = value(footer.struct, spec.FileMetaData.COLUMN_ORDERS)
    if column_orders is None:
        return order_of(replace(leaf, index=0), _TYPE_ORDERS)
    return order_of(leaf, column_orders)


def _trusting(footer: Footer, leaf: Leaf, order: Order) -> set[str]:
    """Return which readers, of those that ask who wrote a file, believe a column's bounds."""
    if leaf.physical in (Type.BYTE_ARRAY, Type.FIXED_LEN_BYTE_ARRAY):
        if has(footer.created_by, FALSE_BOUNDS):
            return set()
        readers = {"Arrow", "parquet-java"} if footer.created_by.strip() else {"Arrow"}
    else:
        readers = {"Arrow", "parquet-java"}
    if order not in _SIGNED and has(footer.created_by, *SIGNED_BOUNDS):
        readers.discard("Arrow")
    return readers


def are_read_alike(part: Footer, source: Footer, leaf: Leaf) -> bool:
    """Whether every reader that believes a part's bounds of a column believes its source's too."""
    order = bound_order(part, leaf)
    return order is bound_order(source, source.leaves[leaf.index]) and not (
        _trusting(part, leaf, order) - _trusting(source, leaf, order)
    )


def is_repeated(chunk: TableChunk, kept: TableChunk) -> bool:
    """Whether a chunk's statistics tell readers nothing that its source's do not tell them.

    Of files that :func:`are_read_alike`.

    Args:
        chunk: of the part.
        kept: of the source, of the same rows.
    """
    if chunk.statistics == kept.statistics:
        return True
    mine, its = facts_in(chunk.statistics), facts_in(kept.statistics)
    marks = {mark for bound, mark in _MARKS.items() if mark is not None and bound in mine}
    claims = mine.keys() & {*_MARKS, _FACTS.NULL_COUNT, _FACTS.NAN_COUNT}
    return all(mine.get(field) == its.get(field) for field in claims | marks)


@dataclass
class ChunkStatistics:
    """The statistics of one chunk, as claimed and as found so far."""

    claimed: Struct
    order: Order
    is_trusted: bool
    num_values: int
    num_present: int = 0
    found: Bounds = EMPTY

    @classmethod
    def of(cls, footer: Footer, leaf: Leaf, chunk: TableChunk) -> ChunkStatistics | None:
        """Return the statistics of a chunk, None if it has none."""
        claimed = facts_in(chunk.statistics)
        if not claimed:
            return None
        order = bound_order(footer, leaf)
        is_trusted = any(bound in claimed for bound in _MARKS) and bool(
            _trusting(footer, leaf, order)
        )
        return cls(claimed, order, is_trusted, chunk.num_values)

    def add(self, array: Any) -> None:
        """Take in some rows."""
        leaves = _flattened(array)
        self.num_present += len(leaves) - leaves.null_count
        if self.is_trusted:
            self.found = merge([self.found, bounds_of(leaves, self.order)], self.order)

    def finish(self, where: str) -> None:
        """Compare what was claimed with what was found.

        Raises:
            Different: a count or a bound is wrong.
        """
        nulls, claimed = self.num_values - self.num_present, value(self.claimed, _FACTS.NULL_COUNT)
        if claimed is not None and claimed != nulls:
            raise Different(f"{where}: the statistics claim {claimed} nulls, there are {nulls}")
        if not self.is_trusted or self.order is Order.UNDEFINED:
            return
        nans, claimed = self.found.nan_count, value(self.claimed, _FACTS.NAN_COUNT)
        if claimed is not None and self.order is Order.FLOAT and claimed != nans:
            raise Different(f"{where}: the statistics claim {claimed} NaNs, there are {nans}")
        for bound, mark in _MARKS.items():
            if bound in self.claimed and (mark is not None or self.order in _SIGNED):
                self._compare(bound, mark, where)

    def _compare(self, bound: spec.Field, mark: spec.Field | None, where: str) -> None:
        is_low = bound in _MINIMA
        claimed = value(self.claimed, bound)
        found = self.found.min if is_low else self.found.max
        what = "minimum" if is_low else "maximum"
        told = f"{where}: the statistics claim a {what} of {self._text(claimed)}"
        if found is None:
            if not self.found.nan_count:  # what bounds of nothing but NaN are nobody says
                raise Different(f"{told}, there are no values")
            return
        if self.order not in _OF_ANY_LENGTH and len(claimed) != len(found):
            raise Different(f"{told}, which is no value of the column")
        if self.order.is_nan(claimed):
            return  # readers ignore it
        mine, its = self.order.key(claimed), self.order.key(found)
        may_be_wide = mark is not None and value(self.claimed, mark) is False
        holds = mine <= its if is_low else mine >= its
        if not holds or (mine != its and not may_be_wide):
            raise Different(f"{told}, it is {self._text(found)}")

    def _text(self, plain: bytes) -> str:
        is_number = self.order not in _OF_ANY_LENGTH and len(plain) in (1, 2, 4, 8)
        text = repr(self.order.key(plain) if is_number else bytes(plain))
        return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _flattened(array: Any) -> Any:
    """Return the leaf values of lists and structs, without those below a null."""
    import pyarrow

    while True:
        if pyarrow.types.is_list(array.type):
            array = array.flatten()
        elif pyarrow.types.is_struct(array.type):
            array = array.flatten()[0]
        else:
            return array
