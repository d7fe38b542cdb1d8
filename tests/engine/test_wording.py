"""Figures as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.tables import parts_of
from engine.wording import memory_amount, percent


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (921, "921 B"),
        (922, "0.90 kiB"),
        (12345678, "11.77 MiB"),
        (3 << 29, "1.50 GiB"),
        (5000 << 40, "5000.00 TiB"),
    ],
)
def test_memory_is_told_in_binary_units(num_bytes: int, text: str):
    assert memory_amount(num_bytes) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (1e-9, "<0.1%"),
        (0.0005, "0.1%"),
        (0.533, "53.3%"),
        (0.9994, "99.9%"),
        (1 - 1e-9, ">99.9%"),
        (1, "100%"),
    ],
)
def test_a_share_has_a_tenth_and_is_nothing_or_all_only_where_it_is(share: float, text: str):
    assert percent(share) == text


@given(st.floats(0, 1))
def test_a_share_and_what_is_left_of_it_are_told_alike(share: float):
    told = [float(percent(each).strip("<>%")) for each in (share, 1 - share)]
    assert sum(told) == pytest.approx(100, abs=0.11)


def test_parts_of_one_size_are_told_once():
    assert parts_of([1_740_000, 1_741_000], 0.0006) == "2 parts of 1.7 MB (spread 0.06%)"
    assert parts_of([1_740_000, 1_760_000], 0.01) == "2 parts of 1.7 MB to 1.8 MB (spread 1.00%)"
