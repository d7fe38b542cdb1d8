"""Figures as Markdown: units from the head, as many digits as mean something."""

import pytest

from benchmarks.table import cell, table


@pytest.mark.parametrize(
    ("head", "value", "text"),
    [
        ("wall s", 0.456, "0.46"),
        ("wall s", 12.34, "12.3"),
        ("peak MB", 197_400_000, "197.4"),
        ("peak MB", 18_553_000_000, "18,553"),
        ("spread %", 0.0138, "1.38"),
        ("wall ratio", 1.0, "1.00"),
        ("parts", 33_000, "33,000"),
        ("tool", "cp", "cp"),
        ("parts", None, ""),
    ],
)
def test_a_value_is_in_the_unit_of_its_head(head, value, text):
    assert cell(head, value) == text


def test_figures_stand_to_the_right():
    assert table([{"tool": "cp", "wall s": 1.0}]) == "| tool | wall, s |\n|---|---:|\n| cp | 1.00 |"
