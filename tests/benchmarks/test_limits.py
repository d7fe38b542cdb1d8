"""Some cells of ``make limits``: in a control group of what was projected, nothing is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.limits import (
    BEGIN,
    END,
    FITS,
    KILLED,
    PAGE,
    TABLES,
    Cell,
    measured,
    write_source,
    written,
)
from benchmarks.memory import CONTROLLER
from tests.engine.running import REPOSITORY

# What was killed, or refused for nothing, before projections told it.
CELLS = [
    ("coded texts in a page", "split"),
    ("a large dictionary", "codec"),
    ("large values apart", "profile key"),
    ("runs", "other pages"),
    ("deltas of texts", "verify"),
    ("deltas of numbers", "split"),
    ("like lineitem", "plan"),
]


@pytest.mark.ways(4)
@pytest.mark.slow
@pytest.mark.skipif(not os.access(CONTROLLER, os.W_OK), reason="no writable cgroup v1 controller")
@pytest.mark.parametrize(("file", "path"), CELLS)
def test_what_is_projected_is_enough_and_not_twice_the_need(file, path, tmp_path: Path):
    ((_, cell),) = measured(file, write_source(file, tmp_path), tmp_path, [path])
    assert cell.is_right, cell


def test_the_page_has_the_table_and_nothing_in_it_was_killed():
    text = (REPOSITORY / PAGE).read_text().partition(BEGIN)[2].partition(END)[0]
    for files, paths in TABLES:
        assert all(f"| {file} |" in text for file in files)
        assert all(f" {path} |" in text for path in paths)
    assert " cells; 0 killed, " in text
    assert KILLED not in text.replace(" 0 killed, ", "")


def test_what_is_wrong_is_counted_and_in_bold():
    found: dict[str, dict[str, Cell]] = {name: {} for files, _ in TABLES for name in files}
    found["runs"] = {
        "plan": Cell(10, 5, FITS),
        "split": Cell(15, 10, ""),
        "codec": Cell(9, 10, ""),
        "no codec": Cell(21, 10, ""),
        "cut groups": Cell(10, 0, KILLED),
        "verify": Cell(0, 0, "OverBudget"),
    }
    text = written(found, ["2026-01-02"])
    assert text.startswith(
        "2026-01-02: 6 cells; 1 killed, 1 of less than the need, 1 of more than twice the need, "
        "1 refused or failed."
    )
    assert "| runs | fits | 1.50 |  | **0.90** | **2.10** | killed |" in text
    assert [cell.is_right for cell in found["runs"].values()] == [True, True, *[False] * 4]
