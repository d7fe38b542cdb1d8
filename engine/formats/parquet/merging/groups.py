"""What the row groups of a part say of themselves side by side: made to agree.

Readers put together what row groups of one file say, as if one writer had said it of all: they take
the bounds of those that have some for the file's, the order inside row groups for the order of the
file, and refuse a file in which only some row groups are numbered. So of each such thing all row
groups say it, or none.

Bounds that are one value in the whole part stay only where the statistics also say that nothing
stands beside it: DataFusion does not read such a column, but fills it with that value. A source of
more values, of which a part has one and NaN, or one and nulls that nobody counted, would be read
right, and its part wrong.

Source: parquet.thrift (``RowGroup``, ``Statistics``). What readers do was seen with DataFusion
(bounds, sorting columns, ordinals).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import ChunkTable
from engine.formats.parquet.bytes.footer import Footer, Leaf, Type, value
from engine.formats.parquet.bytes.statistics import Order, order_of
from engine.formats.parquet.bytes.thrift import STRUCT, Raw, Struct

MAX_NUMBERED = 1 << 15  # row groups that ``ordinal``, of 16 bits, can count

_DEPRECATED = (spec.Statistics.MIN, spec.Statistics.MAX)
_BOUNDS = (spec.Statistics.MIN_VALUE, spec.Statistics.MAX_VALUE)
_EVERY_BOUND: frozenset[int] = frozenset((*_DEPRECATED, *_BOUNDS))
_WHOLE_PAIRS = (*map(frozenset, ((), _DEPRECATED, _BOUNDS)), _EVERY_BOUND)
# FLOAT16 is a FIXED_LEN_BYTE_ARRAY.
_MAY_BE_NAN = (Type.FLOAT, Type.DOUBLE, Type.FIXED_LEN_BYTE_ARRAY)
_EXACT = (spec.Statistics.IS_MIN_VALUE_EXACT, spec.Statistics.IS_MAX_VALUE_EXACT)

_USUAL_BYTES = 16  # of a bound


def _usual_statistics() -> re.Pattern[bytes]:
    """Return what statistics match that have both bounds of a pair, short ones, and count nulls.

    Groups: the deprecated bounds, then the others.
    """
    sizes = (re.escape(bytes([n])) + b".{%d}" % n for n in range(_USUAL_BYTES + 1))
    bound = b"(%b)" % b"|".join(sizes)
    count = rb"[\x80-\xff]*[\x00-\x7f]"
    nulls = rb"(?:\x18%b\x18%b\x16|\x36)%b" % (bound, bound, count)
    others = rb"(?:(?:\x16%b\x18|\x28)%b\x18%b)?" % (count, bound, bound)
    exact = rb"[\x11\x12]{0,2}\x00"
    return re.compile(nulls + others + exact, re.DOTALL)


_match_usual = _usual_statistics().fullmatch


def agree(groups: Sequence[Struct], model: Footer, *, keeps_bounds: bool = True) -> None:
    """Make row groups of one part say the same kinds of things; changes them where they do not.

    Args:
        groups: as they will stand in the footer, their chunks decoded, statistics raw or decoded.
        model: has the schema and column orders of the part.
        keeps_bounds: whether bounds may stay at all, see :mod:`.merging.writer`.
    """
    _number(groups)
    columns = [_Column(groups, leaf, model) for leaf in model.leaves]
    for column in columns:
        column.make_agree(keeps_bounds=keeps_bounds)
    _keep_order(groups, columns)


def is_agreed(table: ChunkTable, *, keeps_bounds: bool) -> bool:
    """Whether :func:`agree` surely changes nothing: all row groups say the same kinds of things."""
    num_groups = len(table.num_rows)
    is_numbered = table.ordinals >= 0
    if not keeps_bounds or (is_numbered.any() and not is_numbered.all()):
        return False
    if not num_groups:
        return True
    if num_groups > 1 and (
        any(table.sorting_columns) or (is_numbered.all() and num_groups > MAX_NUMBERED)
    ):
        return False
    columns = zip(table.types.T.tolist(), zip(*table.statistics, strict=True), strict=True)
    return all(_is_column_agreed(types[0], every) for types, every in columns)


def _is_column_agreed(physical: int, every: Sequence[bytes]) -> bool:
    """Whether the statistics of a column, of all row groups, say the same kinds of things."""
    usual = [_match_usual(statistics) for statistics in every]
    if None not in usual:
        found = [match.groups() for match in usual if match is not None]
        if len({(old is None, new is None) for old, _, new, _ in found}) == 1:
            # All of these count nulls, and none NaN.
            bounds = {bound for each in found for bound in each if bound is not None}
            return len(bounds) != 1 or physical not in _MAY_BE_NAN
    told = [thrift.decode(statistics)[0] if statistics else {} for statistics in every]
    if any(s and spec.Statistics.NULL_COUNT not in t for s, t in zip(every, told, strict=True)):
        return False
    kinds = set(map(_EVERY_BOUND.intersection, told))
    if len(kinds) > 1 or kinds.pop() not in _WHOLE_PAIRS or not _are_binary(told):
        return False
    may_be_nan = physical in _MAY_BE_NAN
    return not _are_one_value(told) or _tell_all(told, may_be_nan=may_be_nan)


def _are_binary(told: Sequence[Struct]) -> bool:
    """Whether all bounds in some statistics have the type of bounds."""
    return all(
        facts[bound][0] == thrift.BINARY for facts in told for bound in _EVERY_BOUND & facts.keys()
    )


def _are_one_value(told: Sequence[Struct]) -> bool:
    """Whether the bounds in all statistics of a column are one value."""
    return len({facts[bound][1] for facts in told for bound in _EVERY_BOUND & facts.keys()}) == 1


def _tell_all(told: Sequence[Struct], *, may_be_nan: bool, may_be_null: bool = True) -> bool:
    """Whether all statistics of a column say what stands beside the values between bounds."""
    return all(
        (not may_be_null or spec.Statistics.NULL_COUNT in facts)
        and (not may_be_nan or value(facts, spec.Statistics.NAN_COUNT) == 0)
        for facts in told
    )


def _number(groups: Sequence[Struct]) -> None:
    """Leave out ordinals where some row groups have none, or there are too many to be counted."""
    field = spec.RowGroup.ORDINAL
    if len(groups) <= MAX_NUMBERED and all(field in group for group in groups):
        return
    for group in groups:
        group.pop(field, None)


class _Facts(NamedTuple):
    """What a row group says of a column, as far as it can be compared."""

    low: Any
    high: Any
    has_nulls: bool
    is_null: bool


class _Column:
    """One column's chunks in all row groups."""

    def __init__(self, groups: Sequence[Struct], leaf: Leaf, model: Footer) -> None:
        self.leaf = leaf
        self.order = order_of(leaf, value(model.struct, spec.FileMetaData.COLUMN_ORDERS))
        self.metas = [_meta(group, leaf.index) for group in groups]
        self.facts = [_statistics(meta) for meta in self.metas]

    def make_agree(self, *, keeps_bounds: bool) -> None:
        """Leave out bounds that only some row groups have, and those that hide other values.

        Row groups of nulls alone need none.
        """
        if self.leaf.max_definition:
            for number, facts in enumerate(self.facts):
                if spec.Statistics.NULL_COUNT not in facts:
                    self._drop_all(number)
        for pair in (_DEPRECATED, _BOUNDS):
            known = [all(field in facts for field in pair) for facts in self.facts]
            missing = [
                not is_known and not self._is_null(number) for number, is_known in enumerate(known)
            ]
            if any(missing) or not keeps_bounds:
                self._drop(pair)
        beside = {
            "may_be_nan": self.order is Order.FLOAT,
            "may_be_null": bool(self.leaf.max_definition),
        }
        if _are_one_value(self.facts) and not _tell_all(self.facts, **beside):
            self._drop(_EVERY_BOUND)

    def _is_null(self, number: int) -> bool:
        nulls = value(self.facts[number], spec.Statistics.NULL_COUNT)
        return bool(nulls == value(self.metas[number], spec.ColumnMetaData.NUM_VALUES))

    def _drop(self, bounds: Collection[int]) -> None:
        gone = {*bounds, *(_EXACT if set(_BOUNDS) <= set(bounds) else ())}
        for number, facts in enumerate(self.facts):
            if gone.isdisjoint(facts):
                continue
            kept = {field: entry for field, entry in facts.items() if field not in gone}
            self.facts[number] = kept
            if kept:
                self.metas[number][spec.ColumnMetaData.STATISTICS] = (STRUCT, kept)
            else:
                self._drop_all(number)

    def _drop_all(self, number: int) -> None:
        self.facts[number] = {}
        self.metas[number].pop(spec.ColumnMetaData.STATISTICS, None)

    def known(self) -> list[_Facts] | None:
        """Return what can be compared of every row group; None if anything is not known."""
        if self.leaf.max_repetition or self.order in (Order.UNDEFINED, Order.FLOAT):
            return None  # where NaN stands in an order nobody says
        found = []
        for number, facts in enumerate(self.facts):
            nulls = value(
                facts, spec.Statistics.NULL_COUNT, None if self.leaf.max_definition else 0
            )
            if nulls is None:
                return None
            low, high = (value(facts, field) for field in _BOUNDS)
            is_null = self._is_null(number)
            if not is_null and (low is None or high is None):
                return None
            ends = (None, None) if is_null else (self.order.key(low), self.order.key(high))
            found.append(_Facts(ends[0], ends[1], nulls > 0, is_null))
        return found


def _meta(group: Struct, position: int) -> Struct:
    chunks = value(group, spec.RowGroup.COLUMNS).items
    return value(chunks[position], spec.ColumnChunk.META_DATA)  # type: ignore[no-any-return]


def _statistics(meta: Struct) -> Struct:
    found = value(meta, spec.ColumnMetaData.STATISTICS, {})
    return spec.read(spec.Statistics, found) if isinstance(found, Raw) else found


# -- order ---------------------------------------------------------------------------------------


class _Sorting(NamedTuple):
    column: int
    descending: bool
    nulls_first: bool


_SORTED = spec.RowGroup.SORTING_COLUMNS


def keep_order_of_pieces(group: Struct, pieces: Sequence[Struct], model: Footer) -> None:
    """Keep sorting columns of a row group that was merged as far as they are true of it.

    Args:
        group: the row group; it has those of the first piece.
        pieces: the sources' row groups, in order; it has rows of each.
        model: has the schema and column orders.
    """
    if _SORTED in group:
        columns = [_Column(pieces, leaf, model) for leaf in model.leaves]
        _keep(group, _num_sorted(pieces, columns))


def _keep_order(groups: Sequence[Struct], columns: Sequence[_Column]) -> None:
    """Keep sorting columns as far as bounds prove the order across row groups, else leave out."""
    if len(groups) > 1 and any(_SORTED in group for group in groups):
        number = _num_sorted(groups, columns)
        for group in groups:
            _keep(group, number)


def _num_sorted(groups: Sequence[Struct], columns: Sequence[_Column]) -> int:
    """Return by how many columns row groups are sorted, each and one behind the other."""
    claims = [_sorting(group) for group in groups]
    common = 0
    while all(len(claim) > common and claim[common] == claims[0][common] for claim in claims):
        common += 1
    return _proved(claims[0][:common], columns)


def _keep(group: Struct, number: int) -> None:
    """Keep some of a row group's sorting columns."""
    kept = group[_SORTED][1].items[:number] if _SORTED in group else []
    if kept:
        group[_SORTED] = spec.entry(_SORTED, kept)
    else:
        group.pop(_SORTED, None)


def _sorting(group: Struct) -> list[_Sorting]:
    names = spec.SortingColumn
    found = []
    for item in getattr(value(group, _SORTED), "items", ()):
        entry = spec.read(names, item) if isinstance(item, bytes) else item
        flags = (value(entry, names.DESCENDING, False), value(entry, names.NULLS_FIRST, False))
        found.append(_Sorting(value(entry, names.COLUMN_IDX, -1), *map(bool, flags)))
    return found


def _proved(claim: Sequence[_Sorting], columns: Sequence[_Column]) -> int:
    """Return by how many sorting columns the row groups follow each other."""
    known = []
    for sorting in claim:
        if not 0 <= sorting.column < len(columns):
            break
        try:
            found = columns[sorting.column].known()
        except BadStructure:  # bounds that are no values of the column
            found = None
        if found is None:
            break
        known.append((sorting, found))
    if not known:
        return 0
    num_groups = len(known[0][1])
    return min(_proved_of_pair(known, number) for number in range(num_groups - 1))


def _proved_of_pair(known: Sequence[tuple[_Sorting, Sequence[_Facts]]], number: int) -> int:
    """Return by how many columns the row group behind ``number`` follows it.

    Behind a column that leaves no tie every further one holds; a tie is looked into only where the
    column has one value in both row groups.
    """
    for depth, (sorting, found) in enumerate(known):
        here, there = found[number], found[number + 1]
        if not _follows(sorting, here, there):
            return depth
        is_tie = not (here.is_null or there.is_null) and (
            here.low == there.high if sorting.descending else here.high == there.low
        )
        is_tie = is_tie or (here.has_nulls and there.has_nulls)
        if not is_tie:
            return len(known)
        is_one_value = here.low == here.high == there.low == there.high
        if not is_one_value or here.has_nulls or there.has_nulls:
            return depth + 1
    return len(known)


def _follows(sorting: _Sorting, here: _Facts, there: _Facts) -> bool:
    """Whether all rows of one row group may stand before all of the next."""
    if sorting.nulls_first and (here.is_null or there.has_nulls):
        return here.is_null
    if not sorting.nulls_first and (there.is_null or here.has_nulls):
        return there.is_null
    if sorting.descending:
        return bool(here.low >= there.high)
    return bool(here.high <= there.low)
