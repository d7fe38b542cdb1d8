"""Each source and each way is in a pair, and some sources are in all."""

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
