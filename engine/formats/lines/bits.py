"""Sets of positions in a stretch of bytes, one bit for each: numpy handles 64 of them at once.

Bit ``n`` of word ``w`` is position ``64 w + n``; bits behind the stretch are not set, but by ``~``.
A list of positions takes 64 times the memory, and to make it most of the time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_WORD = np.dtype("<u8")  # of little end first, as bits are packed
_WORD_BITS = 64
_ONE, _TOP = np.uint64(1), np.uint64(63)
_ROOM_BYTES = 1 << 20  # stretches that are looked at are not longer; what is, takes its own
_rooms = threading.local()


def none_of(num_positions: int) -> Words:
    """Return an empty set for so many positions."""
    return np.zeros(-(-num_positions // _WORD_BITS), dtype=_WORD)


def where(data: npt.NDArray[np.uint8], byte: int) -> Words:
    """Return the positions of a byte."""
    if len(data) > _ROOM_BYTES:
        is_one = data == byte
    else:
        is_one = np.equal(data, byte, out=_room()[: len(data)])
    packed = np.packbits(is_one, bitorder="little")
    if len(packed) % _WORD.itemsize == 0:
        whole: Words = packed.view(_WORD)
        return whole
    found = none_of(len(data))
    found.view(np.uint8)[: len(packed)] = packed
    return found


def _room() -> npt.NDArray[np.bool_]:
    """Return a thread's room for a byte of each position.

    It is kept: allocated each time anew, its pages are given back and zeroed again, which takes
    longer than all that is done with them.
    """
    room: npt.NDArray[np.bool_] | None = getattr(_rooms, "room", None)
    if room is None:
        room = _rooms.room = np.empty(_ROOM_BYTES, dtype=np.bool_)
    return room


def set_of(places: npt.NDArray[np.int64], num_positions: int) -> Words:
    """Return the set of some positions."""
    is_in = np.zeros(num_positions, dtype=np.uint8)
    is_in[places] = 1
    return where(is_in, 1)


def odd_so_far(words: Words) -> Words:
    """Return up to which positions, themselves counted, the number of a set's is odd."""
    odd: Words = words ^ words << _ONE
    for shift in map(np.uint64, (2, 4, 8, 16, 32)):
        odd ^= odd << shift
    is_odd: Words = odd >> _TOP
    odd ^= -(np.bitwise_xor.accumulate(is_odd) ^ is_odd)  # all bits where it is odd before a word
    return odd


def behind(words: Words, *, first: bool) -> Words:
    """Return the positions right behind those of a set; ``first``: whether position 0 is one."""
    found: Words = words << _ONE
    found[1:] |= words[:-1] >> _TOP
    found[:1] |= np.uint64(first)
    return found


def ahead(words: Words, num_positions: int, *, last: bool) -> Words:
    """Return the positions right before those of a set; ``last``: whether the last one is."""
    found: Words = words >> _ONE
    found[:-1] |= words[1:] << _TOP
    if last:
        found[-1] |= 1 << (num_positions - 1) % _WORD_BITS
    return found


def positions(words: Words) -> npt.NDArray[np.int64]:
    """Return a set's positions, ascending."""
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))


def counts(words: Words, bounds: Sequence[int]) -> list[int]:
    """Return how many of a set's positions lie in ``[bounds[i], bounds[i + 1])``, which ascend."""
    return [
        int(np.bitwise_count(words[start // _WORD_BITS : stop // _WORD_BITS]).sum())
        + _low(words, stop)
        - _low(words, start)
        for start, stop in pairwise(bounds)
    ]


def _low(words: Words, bound: int) -> int:
    """Return how many lie in the word of a bound, before it."""
    word, bit = divmod(bound, _WORD_BITS)
    return (int(words[word]) & ((1 << bit) - 1)).bit_count() if bit else 0


def first_from(words: Words, bound: int) -> int:
    """Return the first of a set's positions from a bound on; there is one."""
    word, bit = divmod(bound, _WORD_BITS)
    left = int(words[word]) >> bit << bit
    if not left:
        word += 1 + int(np.argmax(words[word + 1 :] != 0))
        left = int(words[word])
    return word * _WORD_BITS + (left & -left).bit_length() - 1
