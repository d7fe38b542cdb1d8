"""Some cells of ``make limits``: in a control group of what was projected, nothing is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.limits import BEGIN, END, FILES, KILLED, PAGE, PATHS, measured, write_source
from benchmarks.memory import CONTROLLER
from tests.engine.running import REPOSITORY

# What was killed, or refused for nothing, before projections told it.
CELLS = [
    ("coded texts in a page", "split"),
    ("a dictionary of 64 MB", "codec"),
    ("a dictionary of 64 MB", "profile key"),
    ("deltas of texts", "verify"),
    ("deltas of numbers", "split"),
    ("like lineitem", "plan"),
]


@pytest.mark.slow
@pytest.mark.skipif(not os.access(CONTROLLER, os.W_OK), reason="no writable cgroup v1 controller")
@pytest.mark.parametrize(("file", "path"), CELLS)
def test_what_is_projected_is_enough_and_not_twice_the_need(file, path, tmp_path: Path):
    cell = measured(path, write_source(file, tmp_path), tmp_path / "parts")
    assert cell.is_right, cell


def test_the_page_has_the_table_and_nothing_in_it_was_killed():
    text = (REPOSITORY / PAGE).read_text().partition(BEGIN)[2].partition(END)[0]
    assert all(f"| {file} |" in text for file in FILES)
    assert all(f" {path} |" in text for path in PATHS)
    assert " cells; 0 killed, " in text
    assert KILLED not in text.replace(" 0 killed, ", "")
