"""Recompute the statistics of a row group that a cut passed through, and compare.

Engines answer ``min``, ``max`` and ``count`` from statistics and skip row groups by them, so a
wrong one is a wrong result without any error. A bound may be wider than the values only where it
may be truncated (byte arrays) or says that it is not exact.

Not covered: bounds of types whose order is not that of Arrow's physical type (decimals in bytes,
FLOAT16, INT96, INTERVAL, nested and geospatial types); their null counts are.
Source: parquet.thrift, ``Statistics`` and ``ColumnOrder``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from engine.errors import Different
from engine.format import thrift
from engine.format.footer import Footer, Leaf, Type, value
from engine.format.one_column import read_chunk
from engine.format.thrift import Struct

_MAX, _MIN, _NULLS, _MAX_VALUE, _MIN_VALUE, _MAX_EXACT, _MIN_EXACT = 1, 2, 3, 5, 6, 7, 8
_NUMBERS = {Type.INT32: "<i", Type.INT64: "<q", Type.FLOAT: "<f", Type.DOUBLE: "<d"}
_UNSIGNED = {Type.INT32: "<I", Type.INT64: "<Q"}
_CONVERTED_UNSIGNED = range(11, 15)  # UINT_8 to UINT_64
_BYTES_TYPES = {Type.BYTE_ARRAY, Type.FIXED_LEN_BYTE_ARRAY}
_BYTES_CONVERTED = {None, 0, 4, 19, 20}  # none, UTF8, ENUM, JSON, BSON
_BYTES_LOGICAL = {None, 1, 4, 12, 13, 14}  # none, STRING, ENUM, JSON, BSON, UUID
_INTEGER = 10


@dataclass
class ChunkStatistics:
    """The statistics of one chunk, as claimed and as found so far."""

    claimed: Struct
    leaf: Leaf
    num_values: int
    num_present: int = 0
    low: Any = None
    high: Any = None
    _bounded: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find out whether the bounds can be recomputed."""
        has_bounds = any(key in self.claimed for key in (_MAX, _MIN, _MAX_VALUE, _MIN_VALUE))
        self._bounded = has_bounds and _has_known_order(self.leaf)

    @classmethod
    def of(cls, footer: Footer, leaf: Leaf, row_group: int) -> ChunkStatistics | None:
        """Return the statistics of a chunk, None if it has none."""
        _, chunk = read_chunk(footer, row_group, leaf.index)
        raw = value(chunk.meta, 12)
        if raw is None:
            return None
        return cls(thrift.decode(raw)[0], leaf, chunk.num_values)

    def add(self, array: Any) -> None:
        """Take in some rows."""
        leaves = _flattened(array)
        self.num_present += len(leaves) - leaves.null_count
        if self._bounded and len(leaves) > leaves.null_count:
            self._widen(leaves)

    def _widen(self, leaves: Any) -> None:
        import pyarrow.compute

        found = pyarrow.compute.min_max(_ordered(leaves, self.leaf))
        low, high = found["min"].as_py(), found["max"].as_py()
        if low is None or low != low:  # nothing but NaN
            return
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    def finish(self, where: str) -> None:
        """Compare what was claimed with what was found.

        Raises:
            Different: a null count or a bound is wrong.
        """
        nulls, claimed = self.num_values - self.num_present, value(self.claimed, _NULLS)
        if claimed is not None and claimed != nulls:
            raise Different(f"{where}: the statistics claim {claimed} nulls, there are {nulls}")
        if self._bounded and self.low is not None:
            for key, found, exact in (
                (_MIN_VALUE, self.low, _MIN_EXACT),
                (_MAX_VALUE, self.high, _MAX_EXACT),
                (_MIN, self.low, None),
                (_MAX, self.high, None),
            ):
                self._compare(key, found, exact, where)

    def _compare(self, key: int, found: Any, exact: int | None, where: str) -> None:
        raw = value(self.claimed, key)
        if raw is None or (exact is None and not _has_signed_order(self.leaf)):
            return
        claimed = _decoded(raw, self.leaf)
        is_low = key in (_MIN, _MIN_VALUE)
        may_be_wide = (
            self.leaf.physical in _BYTES_TYPES
            if exact is None
            else not value(self.claimed, exact, self.leaf.physical not in _BYTES_TYPES)
        )
        holds = claimed <= found if is_low else claimed >= found
        if not holds or (claimed != found and not may_be_wide):
            what = "minimum" if is_low else "maximum"
            raise Different(
                f"{where}: the statistics claim a {what} of {claimed!r}, it is {found!r}"
            )


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


def _is_unsigned(leaf: Leaf) -> bool:
    logical = value(leaf.element, 10)
    integer = value(logical, _INTEGER) if logical else None
    if integer is not None:
        return not value(integer, 2, True)
    return leaf.converted_type in _CONVERTED_UNSIGNED


def _has_known_order(leaf: Leaf) -> bool:
    if leaf.physical in _NUMBERS:
        return True
    if leaf.physical not in _BYTES_TYPES:
        return False
    if leaf.logical_type is not None:
        return leaf.logical_type in _BYTES_LOGICAL
    return leaf.converted_type in _BYTES_CONVERTED


def _has_signed_order(leaf: Leaf) -> bool:
    return leaf.physical in _NUMBERS and not _is_unsigned(leaf)


def _ordered(leaves: Any, leaf: Leaf) -> Any:
    """Return the values as a type whose order is the column's."""
    import pyarrow

    kinds = {
        Type.FLOAT: pyarrow.float32(),
        Type.DOUBLE: pyarrow.float64(),
        Type.FIXED_LEN_BYTE_ARRAY: pyarrow.binary(),
    }
    if _is_unsigned(leaf):
        kinds |= {Type.INT32: pyarrow.uint32(), Type.INT64: pyarrow.uint64()}
    kind = kinds.get(leaf.physical, leaves.type)
    if leaf.physical == Type.FIXED_LEN_BYTE_ARRAY:
        return leaves.cast(kind)
    return leaves if kind == leaves.type else leaves.view(kind)


def _decoded(raw: bytes, leaf: Leaf) -> Any:
    forms = _NUMBERS | _UNSIGNED if _is_unsigned(leaf) else _NUMBERS
    form = forms.get(leaf.physical)
    return struct.unpack(form, raw)[0] if form else bytes(raw)
