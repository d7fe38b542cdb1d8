"""DELTA_BYTE_ARRAY pages that continue the page before them, as parquet-mr before 1.8 wrote them.

A page's first value is stored as the suffix to a prefix of the last value of the page before
(PARQUET-246), against the format, by which every page stands alone. Readers that know the writer
carry that value on; Arrow does not. Here the two streams of a page, prefix lengths and suffixes,
are decoded by Arrow (:mod:`.bytes.one_page`) and put together, from a previous value on.

Pages are only read: a page that must stand alone is written anew in the same encoding, by Arrow.
Source: Encodings.md of apache/parquet-format, "Delta Strings" and "Delta encoding".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

from engine.errors import BadPage
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import Encoding, Leaf, Type
from engine.formats.parquet.bytes.one_page import decode_values
from engine.wording import counted


def decode_chained(leaf: Leaf, values: bytes, num_values: int, previous: bytes) -> Any:
    """Return the values section of a page as an Arrow array of binary values.

    Args:
        leaf: the column, BYTE_ARRAY or FIXED_LEN_BYTE_ARRAY.
        values: the section, decompressed.
        num_values: entries that have a value.
        previous: the last value of the pages before, empty if they have none.

    Raises:
        BadPage: the section is damaged, or continues another value.
    """
    kind = pa.binary(leaf.type_length) if leaf.type_length else pa.binary()
    if not num_values:
        return pa.array([], kind)
    end = _delta_end(values)
    numbers = replace(leaf, physical=Type.INT32, type_length=0)
    texts = replace(leaf, physical=Type.BYTE_ARRAY, type_length=0)
    prefixes = decode_values(numbers, Encoding.DELTA_BINARY_PACKED, values[:end], num_values)
    suffixes = decode_values(texts, Encoding.DELTA_LENGTH_BYTE_ARRAY, values[end:], num_values)
    found = []
    for length, suffix in zip(prefixes.to_pylist(), suffixes.to_pylist(), strict=True):
        if not 0 <= length <= len(previous):
            raise BadPage(f"a value shares {counted(length, 'byte')} with one of {len(previous):,}")
        previous = previous[:length] + suffix
        found.append(previous)
    try:
        return pa.array(found, kind)
    except pa.ArrowInvalid as error:
        raise BadPage(f"a value is not of {counted(leaf.type_length, 'byte')}") from error


def _delta_end(data: bytes) -> int:
    """Return where a DELTA_BINARY_PACKED section that stands at the beginning ends.

    Raises:
        BadPage: it does not end.
    """
    try:
        block_values, pos = thrift.read_varint(data, 0)
        num_miniblocks, pos = thrift.read_varint(data, pos)
        num_values, pos = thrift.read_varint(data, pos)
        _, pos = thrift.read_varint(data, pos)
        left = num_values - 1  # the first value stands in the header
        miniblock_values = block_values // num_miniblocks
        while left > 0:
            _, pos = thrift.read_varint(data, pos)
            widths = data[pos : pos + num_miniblocks]
            pos += num_miniblocks
            for width in widths:
                if left > 0:  # miniblocks without values are not stored
                    pos += width * miniblock_values // 8
                    left -= miniblock_values
    except (IndexError, ZeroDivisionError) as error:
        raise BadPage("the prefix lengths of a page are cut short") from error
    if pos > len(data):
        raise BadPage("the prefix lengths of a page are cut short")
    return pos
