"""Sets of positions as bits: what each operation gives, as Python's own sets have it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.lines import bits

# Some are longer than a word, and end within one.
texts = st.text(alphabet="ab", min_size=1, max_size=300).map(str.encode)


def set_of(words: bits.Words, size: int) -> set[int]:
    found = bits.positions(words)
    return set(found[found < size].tolist())


@given(texts)
def test_positions_of_a_byte(text):
    data = np.frombuffer(text, dtype=np.uint8)
    expected = [at for at, byte in enumerate(text) if byte == ord("a")]
    found = bits.where(data, ord("a"))
    assert bits.positions(found).tolist() == expected
    assert bits.positions(bits.set_of(np.array(expected, np.int64), len(text))).tolist() == expected


def test_of_more_bytes_than_there_is_room_for(monkeypatch):
    text = b"ab" * 70
    long = bits.positions(bits.where(np.frombuffer(text, dtype=np.uint8), ord("a")))
    monkeypatch.setattr(bits, "_ROOM_BYTES", 9)
    short = bits.positions(bits.where(np.frombuffer(text, dtype=np.uint8), ord("a")))
    assert long.tolist() == short.tolist() == list(range(0, 140, 2))


@given(texts)
def test_up_to_where_their_number_is_odd(text):
    words = bits.where(np.frombuffer(text, dtype=np.uint8), ord("a"))
    expected = {at for at in range(len(text)) if text[: at + 1].count(b"a") % 2}
    assert set_of(bits.odd_so_far(words), len(text)) == expected


@given(texts, st.booleans())
def test_neighbours(text, with_end):
    size = len(text)
    words = bits.where(np.frombuffer(text, dtype=np.uint8), ord("a"))
    members = set_of(words, size)
    behind = {at + 1 for at in members} | ({0} if with_end else set())
    ahead = {at - 1 for at in members} | ({size - 1} if with_end else set())
    every = set(range(size))
    assert set_of(bits.behind(words, first=with_end), size) == behind & every
    assert set_of(bits.ahead(words, size, last=with_end), size) == ahead & every


@given(texts, st.lists(st.integers(0, 300), max_size=5))
def test_counts_and_firsts_between_bounds(text, inner):
    words = bits.where(np.frombuffer(text, dtype=np.uint8), ord("a"))
    bounds = sorted({0, len(text), *(at for at in inner if at < len(text))})
    pieces = [text[one:two] for one, two in pairwise(bounds)]
    found = bits.counts(words, bounds)
    assert found == [piece.count(b"a") for piece in pieces]
    for bound, count in zip(bounds[:-1], found, strict=True):
        if count:
            assert bits.first_from(words, bound) == text.index(b"a", bound)
