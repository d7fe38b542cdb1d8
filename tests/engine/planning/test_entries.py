"""What pieces of pages repeat, of many pages at once: the sum of what each says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning.entries import Entries, Repeats, with_repeats

NUM_ROWS = 300


@st.composite
def repeats(draw):
    """As :func:`engine.formats.parquet.insides.look_inside` has it of a page."""
    first = draw(st.integers(0, NUM_ROWS - 20))
    num_rows = draw(st.integers(10, NUM_ROWS - first))
    lengths = sorted({0.0, num_rows - 1.0, float(num_rows)} | draw(st.sets(st.floats(1, 8))))
    sizes = [0.0, *(draw(st.floats(0, 1000)) for _ in lengths[2:]), 0.0]
    return Entries((0, first, first + num_rows), (0, 0, num_rows), lengths, sizes)


rows = st.integers(0, NUM_ROWS)


@given(st.lists(repeats(), min_size=1, max_size=12), rows, st.lists(rows, min_size=1, max_size=5))
def test_many_pages_take_what_each_takes(each, start, stops):
    together = Repeats(each)
    stops = [max(start, stop) for stop in stops]
    since = together.since(start)
    for stop in stops:
        expected = sum(entries.num_bytes(start, stop) for entries in each)
        assert together.num_bytes(start, stop) == pytest.approx(expected, abs=1e-6)
        assert since(stop) == pytest.approx(expected, abs=1e-6)
    expected = sum(entries.from_start(np.array(stops)) for entries in each)
    assert together.from_start(np.array(stops)).tolist() == pytest.approx(expected.tolist())


@given(st.lists(repeats(), min_size=1, max_size=12), rows, st.integers(1, NUM_ROWS))
def test_scaled_and_made_straight_they_still_are_the_sum(each, stop, num_rows):
    for name, words in [("resized", (2.0, 0.5)), ("straight_from", (num_rows,))]:
        together = getattr(Repeats(each), name)(*words)
        alone = [getattr(entries, name)(*words) for entries in each]
        expected = sum(entries.num_bytes(0, stop) for entries in alone)
        assert together.num_bytes(0, stop) == pytest.approx(expected, abs=1e-6)
        assert together.all_bytes == sum(entries.all_bytes for entries in alone)


def test_pages_that_are_looked_at_later_join_the_others():
    one = Entries((0, 0, 10), (0, 0, 10), (0.0, 9.0, 10.0), (0.0, 5.0, 0.0))
    trimmed = one._replace(ends=(0, 10), table=np.zeros((2, 2)))
    few = with_repeats((trimmed,), [one])
    assert few == (trimmed, one)
    many = with_repeats((trimmed,), [one] * 9)
    assert [type(each) for each in many] == [Entries, Repeats]
    _, together = with_repeats(many, [one])
    assert together.num_bytes(0, 9) == 50.0
