"""Each source and each way is in a pair, some sources in all; of many cases a few stay."""

import itertools

import pytest

from tests import covering


@pytest.mark.parametrize("num_ways", [1, 2, 3])
def test_all_are_covered(num_ways: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(covering, "IS_WHOLE", False)
    sources, ways = "abcdefgh", "123456"
    found = covering.pairs(sources, ways, num_ways=num_ways, in_all="")
    assert all(len([pair for pair in found if pair[0] == it]) == num_ways for it in sources)
    assert {way for _, way in found} == set(ways)
    of_one = covering.pairs(sources, ways, num_ways=num_ways, in_all="c")
    assert {way for source, way in of_one if source == "c"} == set(ways)
    assert {pair for pair in of_one if pair[0] != "c"} == {pair for pair in found if pair[0] != "c"}
    monkeypatch.setattr(covering, "IS_WHOLE", True)
    assert len(covering.pairs(sources, ways, num_ways=num_ways, in_all="")) == 48


@pytest.mark.parametrize("num_cases", [0, 1, 6, 7, 62])
def test_few_cases_stay_spread_over_all(monkeypatch: pytest.MonkeyPatch, num_cases: int):
    monkeypatch.setattr(covering, "IS_WHOLE", False)
    cases = range(num_cases)
    stay = sorted(set(cases).difference(covering.left_out(cases, 6)))
    assert len(stay) == min(num_cases, 6)
    assert all(b - a <= num_cases // 6 + 1 for a, b in itertools.pairwise(stay))
    monkeypatch.setattr(covering, "IS_WHOLE", True)
    assert not covering.left_out(cases, 6)
