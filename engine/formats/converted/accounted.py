"""Whether values that pyarrow made of a block at once are what its text says, by counting. Pure.

Whole numbers, dates and booleans have one length as they are spelled here. Whatever else pyarrow
takes for one is longer (``007``, ``-0``, blanks around it), as is any other null than nothing. So
where a block has as many bytes as its values with their delimiters, none is spelled otherwise.
Quotes and line ends are not counted, as any field may have them around it. Of ``0x1F`` the digits
may be fewer than those of its number; so each x must lie in a text. Not covered: types of several
spellings, escape characters, blank lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

# Ways to write a boolean, of which each has the length of its kind.
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_DAY_BYTES = len("2024-12-31")
_HEX_LETTERS = b"xX"
_COUNTED_BYTES = 96 << 10  # at once: of more, each comparison takes new pages of memory
# Between these a number is shorter than if it were spelled as hexadecimal. One below zero has all
# digits of its type there: 0x80 is -128.
_SHORT_FROM, _SHORT_TO = -99, 10**6 - 1


def is_sure(kind: Any) -> bool:
    """Whether a type has one length for each of its values."""
    is_of = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_date32)
    return any(check(kind) for check in is_of)


def accounts_for(
    text: bytes, columns: Sequence[Any], of_texts: Sequence[Any], quote: bytes
) -> bool:
    """Whether a block says nothing else than its values.

    Args:
        text: records with as many fields each as there are columns, and one delimiter between two.
        columns: Arrow arrays of types that are sure.
        of_texts: those of all other columns, as texts.
        quote: what may lie around fields; empty for nothing.
    """
    num_rows = len((*columns, *of_texts)[0])
    spelled = [_spelled(column) for column in columns if len(column) > column.null_count]
    left = len(text) - num_rows * (len(columns) + len(of_texts) - 1)
    left -= sum(each.num_bytes for each in spelled)
    marks = [mark for mark in (b"\n", b"\r", quote) if mark and mark in text]
    may_be_hex = any(each.may_be_hex for each in spelled)
    letters = [bytes([letter]) for letter in _HEX_LETTERS if may_be_hex]
    used = [_used(texts) for texts in of_texts]
    for mark in marks:
        left -= _count(text, mark)
        left += sum(_count(data, mark) for data in used)
    left -= sum(map(len, used))
    return left == 0 and all(
        _count(text, letter) == sum(_count(data, letter) for data in used) for letter in letters
    )


def _count(data: bytes, byte: bytes) -> int:
    if byte not in data:  # which takes a fifth as long
        return 0
    every = np.frombuffer(data, dtype=np.uint8)
    some = (every[at : at + _COUNTED_BYTES] for at in range(0, len(every), _COUNTED_BYTES))
    return sum(int(np.count_nonzero(each == byte[0])) for each in some)


def _used(texts: Any) -> bytes:
    """Return the bytes of texts; null takes none."""
    if not len(texts) or texts.buffers()[2] is None:
        return b""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    start, stop = (int(offsets[texts.offset + at]) for at in (0, len(texts)))
    return bytes(memoryview(texts.buffers()[2])[start:stop])


class _Spelled(NamedTuple):
    """How long all values of a column are as text; and whether one may be hexadecimal instead.

    That is where one is so large that it may be longer than that spelling.
    """

    num_bytes: int
    may_be_hex: bool = False


def _spelled(column: Any) -> _Spelled:
    num_values = len(column) - int(column.null_count)
    if pa.types.is_date32(column.type):
        return _Spelled(_DAY_BYTES * num_values)
    if pa.types.is_boolean(column.type):
        num_true = int(column.true_count)
        return _Spelled(num_true * len(TRUE[0]) + (num_values - num_true) * len(FALSE[0]))
    numbers = (column.drop_null() if column.null_count else column).to_numpy()
    low, high = int(numbers.min()), int(numbers.max())
    found = num_values + (int(np.count_nonzero(numbers < 0)) if low < 0 else 0)
    bound = 10
    while bound <= max(high, -low):
        if bound <= high:
            found += int(np.count_nonzero(numbers >= bound))
        if low <= -bound:
            found += int(np.count_nonzero(numbers <= -bound))
        bound *= 10
    return _Spelled(found, low < _SHORT_FROM or high > _SHORT_TO)
