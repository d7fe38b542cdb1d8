"""What ``make soak`` judges by; the splits themselves take minutes, and are no test."""

from __future__ import annotations

import pytest

from tests.soak import MOST_MORE, Figures, risen

FLAT = Figures(200 << 20, 7, 4, 1)


def test_what_stays_where_it_is_is_flat():
    noisy = [FLAT._replace(memory_bytes=FLAT.memory_bytes + at % 5 * (1 << 20)) for at in range(40)]
    assert not risen(noisy)


@pytest.mark.parametrize("name", MOST_MORE)
def test_what_rises_by_little_each_turn_is_found(name: str):
    step = max(1, MOST_MORE[name] // 10)
    leaking = [FLAT._replace(**{name: getattr(FLAT, name) + at * step}) for at in range(40)]
    assert list(risen(leaking)) == [name]
