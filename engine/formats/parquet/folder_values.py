"""Columns that folders name and files hold as well: whether both say the same, by footers alone.

Readers take the folder's value (Spark, DuckDB) or the file's, so that they must be one. A file says
so if the bounds of every row group are the folder's value and none is null; where bounds are
missing or not to be trusted, or of types that have several texts (timestamps, decimals), nothing is
known. Source: parquet.thrift (``Statistics``).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.created_by import FALSE_BOUNDS, SIGNED_BOUNDS, has
from engine.formats.parquet.bytes.footer import ColumnChunk, Leaf, Type, value
from engine.formats.parquet.bytes.statistics import Order, order_of
from engine.formats.parquet.opened import OpenFile

_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_NUMBER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_L = spec.LogicalType
_S = spec.Statistics
_BOUNDS = ((_S.MIN_VALUE, _S.IS_MIN_VALUE_EXACT), (_S.MAX_VALUE, _S.IS_MAX_VALUE_EXACT))
_MAYBE_CUT_BYTES = 32  # writers shorten bounds that are longer, and may not say so
_UTF8, _DATE, _INTEGERS = 0, 6, range(11, 19)  # of ``ConvertedType``


def agreements(file: OpenFile, texts: Mapping[str, str | None]) -> dict[str, bool | None]:
    """Return of columns whether all rows of a file have a value; None where it is not known.

    Args:
        file: which one.
        texts: of each column the value, as a folder's name has it once it is decoded; None for
            null.
    """
    by_name = {leaf.path: leaf for leaf in file.footer.leaves}
    found: dict[str, bool | None] = {}
    for name, text in texts.items():
        leaf = by_name.get((name,))
        found[name] = None if leaf is None else _agrees(file, leaf, text)
    return found


def _agrees(file: OpenFile, leaf: Leaf, text: str | None) -> bool | None:
    every: set[bool | None] = set()
    for group in file.row_groups():
        chunk = group.entry.columns[leaf.index]
        if chunk.num_values:
            every |= set(_of_chunk(file, leaf, chunk, text))
    if False in every:
        return False
    return None if None in every else True


def _of_chunk(
    file: OpenFile, leaf: Leaf, chunk: ColumnChunk, text: str | None
) -> Iterator[bool | None]:
    """Yield what nulls say, and each of the bounds."""
    raw = value(chunk.meta, spec.ColumnMetaData.STATISTICS, b"")
    try:
        facts = spec.read(_S, raw) if raw else {}
    except BadStructure:
        facts = {}
    nulls = value(facts, _S.NULL_COUNT, None if leaf.max_definition else 0)
    if text is None:
        yield None if nulls is None else nulls == chunk.num_values
        return
    yield None if nulls is None else nulls == 0
    order = order_of(leaf, value(file.footer.struct, spec.FileMetaData.COLUMN_ORDERS))
    if order is Order.UNDEFINED or has(file.footer.created_by, FALSE_BOUNDS, *SIGNED_BOUNDS):
        yield None
        return
    for field, mark in _BOUNDS:
        bound = value(facts, field)
        is_value = None if bound is None else _is_value(leaf, order, bytes(bound), text)
        is_exact = value(facts, mark, len(bound or b"") < _MAYBE_CUT_BYTES)
        yield is_value if is_exact else is_value or None


def _is_value(leaf: Leaf, order: Order, plain: bytes, text: str) -> bool | None:
    """Whether a text is one of a value; None where that cannot be told of such a column."""
    kinds = (leaf.logical_type, leaf.converted_type)
    if leaf.physical is Type.BYTE_ARRAY:
        is_same = plain == text.encode()
        return is_same if _L.STRING in kinds[:1] or kinds[1] == _UTF8 else is_same or None
    if leaf.physical is Type.BOOLEAN:
        is_word = text.lower() in ("true", "false")
        return (plain != b"\0") == (text.lower() == "true") if is_word else None
    if leaf.physical not in (Type.INT32, Type.INT64):
        return None
    number: int = order.key(plain)
    if kinds[0] == _L.DATE or kinds[1] == _DATE:
        try:
            return datetime.date.fromisoformat(text).toordinal() - _EPOCH_DAY == number
        except ValueError:
            return None
    is_number = kinds[0] in (None, _L.INTEGER) and kinds[1] in (None, *_INTEGERS)
    if not is_number:
        return None
    return _NUMBER.fullmatch(text) is not None and int(text) == number
