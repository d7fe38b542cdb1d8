"""Places of records that are kept: exact, and the same blocks' as those that are looked up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.formats.lines import ladder as module
from engine.formats.lines.ladder import Ladder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=300),
    stretches=st.lists(st.integers(0, 300), max_size=9),
    bounds=st.sets(st.integers(1, 299), max_size=5),
    most=st.sampled_from([4, 16, 1000]),
)
def test_each_knot_is_where_its_record_begins(
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    stretches: list[int],
    bounds: set[int],
    most: int,
) -> None:
    monkeypatch.setattr(module, "_MOST_RUNGS", most)
    monkeypatch.setattr(module, "_FEWEST_RUNGS", 1)
    begins = 100 + np.cumsum([0, *sizes])  # of each record, and the end of the last
    ladder = Ladder()
    cuts = sorted({min(cut, len(sizes)) for cut in stretches})
    for starts in np.split(begins[1:], cuts):
        ladder.add(starts)
    edges = [0, *sorted(bound for bound in bounds if bound < len(sizes)), len(sizes)]
    num_knots = 0
    for first, stop in pairwise(edges):
        offset = int(begins[first])
        rows, sums = ladder.knots(first, stop - first, offset, int(begins[stop]) - offset)
        assert list(rows) == sorted(set(rows))
        assert (rows[0], rows[-1]) == (0, stop - first)
        assert [offset + each for each in sums] == [begins[first + row] for row in rows]
        num_knots += len(rows) - 2
    assert num_knots <= most
    if most == 1000:
        assert num_knots == len(sizes) - len(edges) + 1  # all of them
