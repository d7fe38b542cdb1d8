"""Figures as people read them."""

from __future__ import annotations

import pytest

from engine.wording import memory_amount


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
