"""Bounds of column values: their order, merging them, and when they may be called exact.

A cut chunk needs new statistics. Those of its boundary pages are computed from values
(:func:`bounds_of`), those of the pages between come from the column index
(:func:`bounds_of_pages`) or from page headers (:func:`bounds_of_page`), and :func:`merge` puts them
together. Engines answer ``min()`` and
``max()`` from statistics, so :func:`chunk_statistics` writes a bound only if it is exact.

Bounds leave NaN out, and readers that skip what bounds exclude (DuckDB), or count all that bounds
include (Arrow), then miss NaN or count it. In the source's wider bounds, or without bounds, a
filter's value may lie inside, and the reader looks. So a cut or merged chunk has no bounds where a
NaN is known to be in it, or may be in pages that are copied undecoded and do not count NaN, or
where a source had none, or NaN as a bound. The bounds of its pages stay in its column index.

**When a bound in a column index is exact.** Writers may shorten long binary bounds: a lower bound
to a prefix, an upper bound to a prefix whose last character is raised. Nothing in a column index
says so. Let ``T`` be the writer's limit. A text is cut where a character ends, so a lower bound
that was cut has ``T`` bytes or up to three less; it stays whole, of any length, where already its
first character is longer than ``T``. So a lower bound of some length says that ``T`` is as much, or
at most three; the latter is excluded where its first character has one byte. Upper bounds stay
whole where no character can be raised. Proofs used:

* Only of writers whose bounds are known to be values of the page, parquet-cpp, parquet-mr (also
  called parquet-java) and parquet-rs, and of these:
* The type has a fixed width, or a FIXED_LEN_BYTE_ARRAY bound has it: nothing was shortened.
* The writer never shortens (parquet-cpp leaves out what is too long).
* No value of the pages is longer than the longest lower bound seen (a dictionary shows that).
* The bound is more than three bytes shorter than the longest lower bound seen. In both proofs,
  where the bound itself has three bytes or less, only lower bounds count that begin with a
  character of one byte: others may be whole beside some that were cut. For upper bounds this holds
  only for writers known to keep the length when they raise a character (parquet-java);
  parquet-rs and Polars drop characters that cannot be raised, without limit.
* The chunk's own bound is exact, equal, and no other page's bound reaches it: then the value lies
  in this very page.

Orders and rules of writing: ``ColumnOrder`` and ``Statistics`` in parquet.thrift. Numbers of a
column index's fields are :mod:`.bytes.page_index`' business. pyarrow and numpy are
imported only where values are looked at.
"""

from __future__ import annotations

import struct as packing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import TYPE_WIDTHS, Leaf, Type, value
from engine.formats.parquet.bytes.page_index import (
    ASCENDING,
    DESCENDING,
    UNORDERED,
    ColumnIndex,
    PageEntry,
)
from engine.formats.parquet.bytes.thrift import BINARY, I64, TRUE, Struct

if TYPE_CHECKING:
    import pyarrow as pa

# Longer bounds are left out of a footer, as parquet-cpp does: they cost more than they save.
MAX_BOUND_BYTES = 4096

_UTF8_LOSS_BYTES = 3  # what a cut at a character may take beyond the limit
_S = spec.Statistics
_BOUNDS: frozenset[int] = frozenset((_S.MIN, _S.MAX, _S.MIN_VALUE, _S.MAX_VALUE))
_TIGHT_WRITERS = ("parquet-cpp", "parquet-mr", "parquet-rs")

_UNSIGNED_CONVERTED = (11, 12, 13, 14)
_DECIMAL_CONVERTED, _INTERVAL_CONVERTED = 5, 21
_L = spec.LogicalType
_INTEGERS = (_L.DECIMAL, _L.DATE, _L.TIME, _L.TIMESTAMP, _L.INTEGER)
_BYTES = (None, _L.STRING, _L.ENUM, _L.JSON, _L.BSON, _L.UUID)
_FIRST_NEGATIVE = 0x80  # as the first byte of a two's complement
_FLOAT_FORMATS = {2: "<e", 4: "<f", 8: "<d"}


class Order(Enum):
    """How values of a column compare, as plain-encoded bytes without a length prefix."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    BYTES = "bytes"
    SIGNED_BYTES = "signed bytes"
    UNDEFINED = "undefined"

    def key(self, plain: bytes) -> Any:
        """Return something that compares as the value does.

        Raises:
            BadStructure: the bytes are no value of such a column, or the order is undefined.
        """
        if self is Order.BYTES:
            return plain
        if self is Order.SIGNED or self is Order.UNSIGNED:
            return int.from_bytes(plain, "little", signed=self is Order.SIGNED and len(plain) > 1)
        if self is Order.SIGNED_BYTES:
            return int.from_bytes(plain, "big", signed=True)
        if self is Order.FLOAT and len(plain) in _FLOAT_FORMATS:
            return packing.unpack(_FLOAT_FORMATS[len(plain)], plain)[0]
        raise BadStructure(f"a bound of {len(plain)} bytes in a column of {self.value} order")

    def is_nan(self, plain: bytes) -> bool:
        """Whether the value is a NaN."""
        if self is not Order.FLOAT:
            return False
        number = self.key(plain)
        return bool(number != number)


def order_of(leaf: Leaf, column_orders: thrift.Sequence | None) -> Order:
    """Return how a column's bounds compare.

    Args:
        leaf: the column.
        column_orders: field 7 of the footer. Without it only signed comparison is certain, since
            it is what the deprecated bounds mean as well; other columns are undefined then.
    """
    natural = _natural_order(leaf)
    if column_orders is None:
        return natural if natural in (Order.SIGNED, Order.FLOAT) else Order.UNDEFINED
    if leaf.index >= len(column_orders.items):
        return Order.UNDEFINED
    entry = column_orders.items[leaf.index]
    union = thrift.decode(entry)[0] if isinstance(entry, bytes) else entry
    return natural if spec.ColumnOrder.TYPE_ORDER in union else Order.UNDEFINED


def _natural_order(leaf: Leaf) -> Order:
    logical = leaf.logical_type
    if leaf.physical in (Type.FLOAT, Type.DOUBLE, Type.BOOLEAN):
        plain = Order.SIGNED if leaf.physical is Type.BOOLEAN else Order.FLOAT
        return plain if logical is None else Order.UNDEFINED
    if leaf.physical in (Type.INT32, Type.INT64):
        if logical is not None and logical not in _INTEGERS:
            return Order.UNDEFINED
        return Order.UNSIGNED if _is_unsigned(leaf, logical) else Order.SIGNED
    if leaf.physical is Type.INT96 or leaf.converted_type == _INTERVAL_CONVERTED:
        return Order.UNDEFINED
    return _order_of_bytes(leaf, logical)


def _is_unsigned(leaf: Leaf, logical: int | None) -> bool:
    if logical == _L.INTEGER:
        union = value(leaf.element, spec.SchemaElement.LOGICAL_TYPE)
        return not value(value(union, _L.INTEGER), spec.IntType.IS_SIGNED, True)
    return logical is None and leaf.converted_type in _UNSIGNED_CONVERTED


def _order_of_bytes(leaf: Leaf, logical: int | None) -> Order:
    if logical == _L.DECIMAL or (logical is None and leaf.converted_type == _DECIMAL_CONVERTED):
        return Order.SIGNED_BYTES
    if logical == _L.FLOAT16:
        return Order.FLOAT
    if logical in _BYTES:
        return Order.BYTES
    return Order.UNDEFINED


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest value of some entries, and counts.

    Attributes:
        min, max: bounds, plain-encoded; None if nothing is known, or if ``is_empty``.
        is_min_exact, is_max_exact: whether the bound is a value of the entries.
        is_empty: whether no entry has a comparable value: all are null or NaN.
        null_count, nan_count: entries without value, NaN values; None if unknown.
        has_nan: whether a NaN is known to be among the entries.
    """

    min: bytes | None = None
    max: bytes | None = None
    is_min_exact: bool = False
    is_max_exact: bool = False
    is_empty: bool = False
    null_count: int | None = None
    nan_count: int | None = None
    has_nan: bool = False

    @property
    def is_known(self) -> bool:
        """Whether both bounds are values of the entries, or there are no values."""
        return self.is_empty or (self.is_min_exact and self.is_max_exact)


UNKNOWN = Bounds()
EMPTY = Bounds(is_empty=True, null_count=0, nan_count=0)


def merge(parts: Iterable[Bounds], order: Order) -> Bounds:
    """Return the bounds of all entries together; :data:`EMPTY` for no parts.

    A bound is exact if one of the parts proves it: no other part can then reach beyond it.
    """
    every = list(parts)
    nulls = _sum(part.null_count for part in every)
    nans = _sum(part.nan_count for part in every)
    has_nan = any(part.has_nan for part in every)
    filled = [part for part in every if not part.is_empty]
    if not filled:
        return replace(EMPTY, null_count=nulls, nan_count=nans, has_nan=has_nan)
    if order is Order.UNDEFINED:
        return Bounds(null_count=nulls, nan_count=nans)
    low, low_exact = _extreme([(part.min, part.is_min_exact) for part in filled], order, -1)
    high, high_exact = _extreme([(part.max, part.is_max_exact) for part in filled], order, 1)
    return Bounds(low, high, low_exact, high_exact, False, nulls, nans, has_nan)


def _extreme(
    bounds: Sequence[tuple[bytes | None, bool]], order: Order, sign: int
) -> tuple[bytes | None, bool]:
    best: bytes | None = None
    best_key: Any = None
    exact = False
    for plain, is_exact in bounds:
        if plain is None or order.is_nan(plain):
            return None, False
        key = order.key(plain)
        if best is None or (key < best_key if sign < 0 else key > best_key):
            best, best_key, exact = plain, key, is_exact
        elif key == best_key and is_exact and not exact:
            best, exact = plain, True
    return best, exact


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


class Evidence(NamedTuple):
    """What is known about how a writer shortened the bounds of a column index.

    Attributes:
        longest_min_bytes: longest lower bound of the same chunk's index.
        longest_ascii_min_bytes: longest one that begins with a character of one byte.
        never_shortens: the writer leaves bounds whole, or out.
        keeps_length: the writer keeps the length of an upper bound when it raises a character.
        longest_value_bytes: no value of the chunk is longer; None if unknown.
        is_tight: bounds are values of their page, if they were not shortened. The format allows
            any bounds, and Polars gives every page those of its whole chunk.
    """

    longest_min_bytes: int
    longest_ascii_min_bytes: int = 0
    never_shortens: bool = False
    keeps_length: bool = False
    longest_value_bytes: int | None = None
    is_tight: bool = True


def evidence_of(
    index: ColumnIndex | None, created_by: str, longest_value_bytes: int | None = None
) -> Evidence:
    """Return the evidence that a chunk's column index and its writer's name give.

    Args:
        index: the chunk's column index, all pages; None if there is none.
        created_by: the footer's field of this name.
        longest_value_bytes: longest entry of the dictionary, if every data page of the chunk is
            dictionary-encoded.
    """
    writer = created_by.lower()
    return Evidence(
        0 if index is None else index.longest_min_bytes,
        0 if index is None else index.longest_ascii_min_bytes,
        writer.startswith("parquet-cpp"),
        writer.startswith("parquet-mr"),
        longest_value_bytes,
        is_tight=writer.startswith(_TIGHT_WRITERS),
    )


def is_provably_exact(plain: bytes, leaf: Leaf, evidence: Evidence, *, is_upper: bool) -> bool:
    """Whether a column index's bound must be a value of its page, by the module's rules.

    The rule on the chunk's own bounds is :func:`bounds_of_pages`' part, as it looks at all pages.
    """
    if not evidence.is_tight:
        return False
    if leaf.physical in TYPE_WIDTHS or evidence.never_shortens:
        return True
    if leaf.physical is Type.FIXED_LEN_BYTE_ARRAY:
        return len(plain) == leaf.type_length
    longest = evidence.longest_value_bytes
    is_long = len(plain) > _UTF8_LOSS_BYTES
    seen = evidence.longest_min_bytes if is_long else evidence.longest_ascii_min_bytes
    if longest is not None and longest <= seen:
        return True
    is_short = len(plain) + _UTF8_LOSS_BYTES < seen
    return is_short and (evidence.keeps_length or not is_upper)


def bounds_of_pages(
    index: ColumnIndex,
    start: int,
    stop: int,
    *,
    leaf: Leaf,
    order: Order,
    evidence: Evidence,
    chunk: Struct | None = None,
) -> Bounds:
    """Return the bounds of pages ``[start, stop)`` by their column index.

    Args:
        index: the chunk's column index, all pages.
        start, stop: the pages.
        leaf: the column.
        order: how it compares.
        evidence: what is known of shortening.
        chunk: the chunk's ``Statistics``, whose bounds help if they are marked as exact.
    """
    merged = _bounds_of_whole(index, start, stop, leaf, order, evidence)
    if merged.is_empty or order is Order.UNDEFINED or chunk is None:
        return merged
    low, high = merged.min, merged.max
    if low is not None and not merged.is_min_exact and value(chunk, _S.IS_MIN_VALUE_EXACT) is True:
        exact = low == value(chunk, _S.MIN_VALUE) and _is_only(index, start, stop, low, order, -1)
        merged = replace(merged, is_min_exact=exact)
    if high is not None and not merged.is_max_exact and value(chunk, _S.IS_MAX_VALUE_EXACT) is True:
        exact = high == value(chunk, _S.MAX_VALUE) and _is_only(index, start, stop, high, order, 1)
        merged = replace(merged, is_max_exact=exact)
    return merged


def may_be_index_of(index: ColumnIndex, chunk: Struct | None, *, leaf: Leaf, order: Order) -> bool:
    """Whether bounds of pages agree with the chunk's ``Statistics``; what says nothing agrees.

    Of numbers, decimals too, the least bound of pages is the chunk's. Texts may be shortened in
    either place: then one least bound begins as the other, and of greatest ones only those called
    exact say something.
    """
    names = spec.Statistics
    found = _bounds_of_whole(index, 0, index.num_pages, leaf, order, Evidence(0))
    if chunk is None or found.min is None or found.max is None:
        return True
    low, high = value(chunk, names.MIN_VALUE), value(chunk, names.MAX_VALUE)
    if low is None or high is None or not _fit([low, high], leaf):
        return True
    if order.is_nan(low) or order.is_nan(high):
        return True
    if order is Order.UNDEFINED:
        return True
    if order is not Order.BYTES:
        pairs = ((low, found.min), (high, found.max))
        return all(order.key(own) == order.key(its) for own, its in pairs)
    is_above = value(chunk, names.IS_MAX_VALUE_EXACT) is True and high > found.max
    return not is_above and (low.startswith(found.min) or found.min.startswith(low))


def bounds_of_page(
    statistics: Struct | None, num_values: int, *, leaf: Leaf, order: Order, evidence: Evidence
) -> Bounds:
    """Return the bounds of a page by the ``Statistics`` in its header.

    Args:
        statistics: the structure, None if there is none.
        num_values: level entries of the page.
        leaf: the column.
        order: how it compares.
        evidence: what is known of the writer; its index' bounds say nothing here.
    """
    if statistics is None:
        return UNKNOWN
    nulls = value(statistics, _S.NULL_COUNT, None if leaf.max_definition else 0)
    nans = value(statistics, _S.NAN_COUNT)
    counts = Bounds(null_count=nulls, nan_count=nans, has_nan=bool(nans))
    if nulls == num_values:
        return replace(counts, is_empty=True)
    if order is Order.UNDEFINED:
        return counts
    low, high = value(statistics, _S.MIN_VALUE), value(statistics, _S.MAX_VALUE)
    if order in (Order.SIGNED, Order.FLOAT):  # what the deprecated pair means as well
        low = value(statistics, _S.MIN) if low is None else low
        high = value(statistics, _S.MAX) if high is None else high
    found = counts
    flags = _S.IS_MIN_VALUE_EXACT, _S.IS_MAX_VALUE_EXACT
    for plain, is_upper, flag in ((low, False, flags[0]), (high, True, flags[1])):
        if plain is None or not _fit([plain], leaf) or order.is_nan(plain):
            return counts
        exact = value(statistics, flag) is True
        exact = exact or is_provably_exact(plain, leaf, evidence, is_upper=is_upper)
        if order is Order.SIGNED_BYTES and not exact:
            return counts  # a number that lost bytes is another number, not a bound
        if is_upper:
            found = replace(found, max=plain, is_max_exact=exact)
        else:
            found = replace(found, min=plain, is_min_exact=exact)
    return found


def _is_only(
    index: ColumnIndex, start: int, stop: int, bound: bytes, order: Order, sign: int
) -> bool:
    # The chunk's least (greatest) value lies in one of the pages whose bound reaches it; if none of
    # these is outside of [start, stop), it lies inside.
    key = order.key(bound)
    bounds = index.min_values if sign < 0 else index.max_values
    outside = [*range(start), *range(stop, index.num_pages)]
    keys = (order.key(bounds[page]) for page in outside if not index.null_pages[page])
    return not any(other <= key if sign < 0 else other >= key for other in keys)


def _bounds_of_whole(
    index: ColumnIndex, start: int, stop: int, leaf: Leaf, order: Order, evidence: Evidence
) -> Bounds:
    """Return the merged bounds of pages; what proves a bound exact is the bound, not its page."""
    nulls, nans = index.null_counts, index.nan_counts
    num_nans = None if nans is None else sum(nans[start:stop])
    counts = Bounds(
        null_count=None if nulls is None else sum(nulls[start:stop]),
        nan_count=num_nans,
        has_nan=bool(num_nans),
    )
    flags = index.null_pages[start:stop]
    lows = _filled(index.min_values[start:stop], flags)
    highs = _filled(index.max_values[start:stop], flags)
    if not lows:
        return replace(counts, is_empty=True)
    if order is Order.UNDEFINED or not _fit(lows, leaf) or not _fit(highs, leaf):
        return counts
    if order is Order.FLOAT and any(map(order.is_nan, (*lows, *highs))):
        return counts
    key = None if order is Order.BYTES else order.key
    low, high = min(lows, key=key), max(highs, key=key)
    low_exact = is_provably_exact(low, leaf, evidence, is_upper=False)
    high_exact = is_provably_exact(high, leaf, evidence, is_upper=True)
    if order is Order.SIGNED_BYTES and not all(
        is_provably_exact(plain, leaf, evidence, is_upper=upper)
        for bounds, upper in ((lows, False), (highs, True))
        for plain in set(bounds)
    ):
        return counts  # a number that lost bytes is another number, not a bound
    return replace(counts, min=low, max=high, is_min_exact=low_exact, is_max_exact=high_exact)


def _filled(bounds: Sequence[bytes], is_null: Sequence[bool]) -> Sequence[bytes]:
    if True not in is_null:
        return bounds
    return [plain for plain, null in zip(bounds, is_null, strict=True) if not null]


def bound_width(leaf: Leaf) -> int | None:
    """Return the bytes that a bound of a column has; None where it may have fewer than a value."""
    if leaf.physical is Type.FIXED_LEN_BYTE_ARRAY:
        is_number = _order_of_bytes(leaf, leaf.logical_type) in (Order.SIGNED_BYTES, Order.FLOAT)
        return leaf.type_length if is_number else None
    return None if leaf.physical is None else TYPE_WIDTHS.get(leaf.physical)


def _fit(bounds: Sequence[bytes], leaf: Leaf) -> bool:
    # Damaged bounds must not pass for values.
    lengths, width = set(map(len, bounds)), bound_width(leaf)
    if width is None and leaf.physical is Type.FIXED_LEN_BYTE_ARRAY:
        return max(lengths) <= leaf.type_length
    return width is None or lengths == {width}


def bounds_of(values: pa.Array, order: Order) -> Bounds:
    """Return the exact bounds of an array of physical values.

    Args:
        values: BOOLEAN as bool, INT32 and INT64 as integers (signed or not), FLOAT and DOUBLE as
            such or as integers of the same bits, FLOAT16 and other FIXED_LEN_BYTE_ARRAYs as
            fixed-size binary, BYTE_ARRAY as binary or large binary.
        order: how they compare.
    """
    nulls = values.null_count
    if order is Order.UNDEFINED:
        return Bounds(null_count=nulls)
    present = values.drop_null() if nulls else values
    if order is Order.FLOAT:
        return _float_bounds(present, nulls)
    if len(present) == 0:
        return Bounds(is_empty=True, null_count=nulls, nan_count=0)
    low, high = _plain_extremes(present, order)
    return Bounds(low, high, True, True, False, nulls, 0)


def _plain_extremes(values: pa.Array, order: Order) -> tuple[bytes, bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_boolean(kind):
        found = pc.min_max(values)
        return bytes([found["min"].as_py()]), bytes([found["max"].as_py()])
    if pa.types.is_integer(kind):
        width = kind.bit_width // 8
        signed = order is Order.SIGNED
        numbers = values.view(_integer_type(width, signed))
        found = pc.min_max(numbers)
        low, high = found["min"].as_py(), found["max"].as_py()
        return low.to_bytes(width, "little", signed=signed), high.to_bytes(
            width, "little", signed=signed
        )
    if order is not Order.SIGNED_BYTES:
        found = pc.min_max(values)
        return found["min"].as_py(), found["max"].as_py()
    if pa.types.is_fixed_size_binary(kind):
        return _signed_extremes(values)
    plain = pc.unique(values).to_pylist()
    return min(plain, key=order.key), max(plain, key=order.key)


def _signed_extremes(values: pa.Array) -> tuple[bytes, bytes]:
    """Return least and greatest of big-endian numbers of one width: by bytes, of one sign."""
    import numpy as np
    import pyarrow.compute as pc

    width = values.type.byte_width
    data = np.frombuffer(values.buffers()[1], np.uint8, len(values) * width, values.offset * width)
    is_negative = pc.cast(data[::width] >= _FIRST_NEGATIVE, "bool")
    negative, others = values.filter(is_negative), values.filter(pc.invert(is_negative))
    low = pc.min_max(negative if len(negative) else others)["min"]
    high = pc.min_max(others if len(others) else negative)["max"]
    return low.as_py(), high.as_py()


def _integer_type(width: int, signed: bool) -> pa.DataType:
    import pyarrow as pa

    signed_types = {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}
    unsigned_types = {1: pa.uint8(), 2: pa.uint16(), 4: pa.uint32(), 8: pa.uint64()}
    return (signed_types if signed else unsigned_types)[width]


def as_numpy(values: pa.Array) -> Any:
    """Return the memory of an Arrow array of numbers without nulls as a numpy array.

    Arrow's own conversion imports pandas, which takes longer than a whole cut.
    """
    import numpy as np

    dtype = np.dtype(values.type.to_pandas_dtype())
    data = values.buffers()[1]
    if data is None:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(values), values.offset * dtype.itemsize)


def _float_bounds(values: pa.Array, nulls: int) -> Bounds:
    import numpy as np
    import pyarrow as pa

    if pa.types.is_fixed_size_binary(values.type):
        width = values.type.byte_width
        data = values.buffers()[1]
        offset = values.offset * width
        numbers: Any = np.frombuffer(data, f"<f{width}", len(values), offset)
    else:
        numbers = as_numpy(values)
        if numbers.dtype.kind in "iu":
            numbers = numbers.view(f"f{numbers.itemsize}")
    comparable = numbers[~np.isnan(numbers)]
    nans = len(numbers) - len(comparable)
    if not len(comparable):
        return Bounds(is_empty=True, null_count=nulls, nan_count=nans, has_nan=nans > 0)
    low, high = comparable.min().tobytes(), comparable.max().tobytes()
    return Bounds(low, high, True, True, False, nulls, nans, nans > 0)


def boundary_order(entries: Sequence[PageEntry], order: Order) -> int:
    """Return whether both bounds of pages ascend or descend, for ``ColumnIndex.boundary_order``.

    Null pages do not count. Without any change of bounds the order is ascending.
    """
    filled = [entry for entry in entries if not entry.is_null]
    if order is Order.UNDEFINED:
        return UNORDERED
    keys = [(order.key(entry.min), order.key(entry.max)) for entry in filled]
    pairs = list(pairwise(keys))
    if all(here[0] <= there[0] and here[1] <= there[1] for here, there in pairs):
        return ASCENDING
    if all(here[0] >= there[0] and here[1] >= there[1] for here, there in pairs):
        return DESCENDING
    return UNORDERED


def chunk_statistics(source: Struct | None, bounds: Bounds, order: Order) -> Struct | None:
    """Return a cut chunk's ``Statistics``: the fields that its source has, as far as exact.

    Bounds are written if both the source has them and they are exact; the deprecated pair only for
    orders that are signed comparison, as the format demands. Distinct counts and fields unknown
    to the format are left out: they are of another set of values.

    Args:
        source: the source chunk's (or page's) ``Statistics``, None if it has none.
        bounds: of the cut chunk.
        order: how the column compares.

    Returns:
        The structure, None if the source has none or nothing is left.
    """
    if source is None:
        return None
    found: Struct = {}
    low, high = _written(bounds, order)
    if order is Order.FLOAT and _is_bounded_by_nan(source):
        low = high = None
    if order in (Order.SIGNED, Order.FLOAT):
        _put(found, source, _S.MAX, high)
        _put(found, source, _S.MIN, low)
    if _S.NULL_COUNT in source and bounds.null_count is not None:
        found[_S.NULL_COUNT] = (I64, bounds.null_count)
    _put(found, source, _S.MAX_VALUE, high)
    _put(found, source, _S.MIN_VALUE, low)
    if _S.IS_MAX_VALUE_EXACT in source and _S.MAX_VALUE in found:
        found[_S.IS_MAX_VALUE_EXACT] = (TRUE, True)
    if _S.IS_MIN_VALUE_EXACT in source and _S.MIN_VALUE in found:
        found[_S.IS_MIN_VALUE_EXACT] = (TRUE, True)
    if _S.NAN_COUNT in source and bounds.nan_count is not None:
        found[_S.NAN_COUNT] = (I64, bounds.nan_count)
    return found or None


def shared_statistics(every: Sequence[tuple[Struct | None, int]], order: Order) -> Struct | None:
    """Return the statistics that lend their fields to a chunk merged of several.

    They are the first's, without bounds where NaN might hide behind them: where another chunk of
    floating point values has none.

    Args:
        every: of each chunk its ``Statistics``, and how many values it has.
        order: how the column compares.
    """
    first = every[0][0]
    if first is None or order is not Order.FLOAT or all(_is_bounded(*each) for each in every):
        return first
    return {field: entry for field, entry in first.items() if field not in _BOUNDS}


def _is_bounded(source: Struct | None, num_values: int) -> bool:
    """Whether a chunk has bounds of all its floating point values, or no values."""
    if source is None:
        return False
    is_null = value(source, _S.NULL_COUNT) == num_values
    return is_null or (not _BOUNDS.isdisjoint(source) and not _is_bounded_by_nan(source))


def _is_bounded_by_nan(source: Struct) -> bool:
    """Whether a bound of a chunk of floating point values is NaN: then it has none."""
    bounds = (value(source, field) for field in _BOUNDS)
    return any(
        len(bound) in _FLOAT_FORMATS and Order.FLOAT.is_nan(bound)
        for bound in bounds
        if bound is not None
    )


def _put(found: Struct, source: Struct, field: int, plain: bytes | None) -> None:
    if field in source and plain is not None:
        found[field] = (BINARY, plain)


def _written(bounds: Bounds, order: Order) -> tuple[bytes | None, bytes | None]:
    may_hide_nan = order is Order.FLOAT and bounds.nan_count is None
    if order is Order.UNDEFINED or bounds.has_nan or may_hide_nan:
        return None, None
    low = bounds.min if bounds.is_min_exact else None
    high = bounds.max if bounds.is_max_exact else None
    if order is Order.FLOAT:
        low, high = signed_zero(low, is_upper=False), signed_zero(high, is_upper=True)
    return tuple(  # type: ignore[return-value]
        plain if plain is None or len(plain) <= MAX_BOUND_BYTES else None for plain in (low, high)
    )


def signed_zero(plain: bytes | None, *, is_upper: bool) -> bytes | None:
    """Return a floating point bound, a zero with the sign that the format demands.

    A least value of zero is written as -0.0 and a greatest as +0.0, as either may stand for both.
    """
    if plain is None or Order.FLOAT.key(plain) != 0:
        return plain
    return packing.pack(_FLOAT_FORMATS[len(plain)], 0.0 if is_upper else -0.0)
