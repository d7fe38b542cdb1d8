"""Real runs stay below what was projected for them, and above half of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.projection import PATHS, SHAPES, measured, rows
from tests.engine.running import REPOSITORY

DOCS = REPOSITORY / "docs" / "memory.md"
# `make projection` measures each path on each file; here every second, in turn. What is verified is
# what the page cut wrote.
EVEN, ODD = (
    {"splice", "codec", "row groups merged", "dictionary fallback"},
    {"page cut", "row groups cut", "verify", "profile"},
)
assert {*EVEN, *ODD} == set(PATHS)
CHOSEN = {shape: (EVEN, ODD)[number % 2] for number, shape in enumerate(SHAPES)}
if "EVENSPLIT_PROJECTION" in os.environ:
    CHOSEN = {shape: set(PATHS) for shape in SHAPES}


@pytest.mark.ways(3)
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_measured_is_at_most_projected_and_projected_at_most_twice_measured(shape, tmp_path: Path):
    found = list(rows(tmp_path, [shape], CHOSEN[shape]))
    assert len(found) >= 3
    off = [row for row in found if not 1 <= row.ratio <= 2]
    assert not off, "\n".join(
        f"{row.shape}, {row.path}: {row.projected_bytes >> 20} MiB projected, "
        f"{row.measured_bytes >> 20} MiB measured"
        for row in off
    )


@pytest.mark.slow
def test_worker_processes_and_the_one_that_planned_stay_below_together(tmp_path: Path):
    """Footers of many row groups stay with the process that planned."""
    source = tmp_path / "source.parquet"
    columns = np.random.default_rng(1).integers(0, 1 << 60, (20, 800_000))
    table = pa.table({f"c{number}": column for number, column in enumerate(columns)})
    pq.write_table(table, source, row_group_size=2000, use_dictionary=False)
    wish = {"workers": 2, "codec": "none", "target_size": "10MB"}
    projected_bytes, measured_bytes = measured("split", source, tmp_path / "parts", wish)
    assert 1 <= projected_bytes / measured_bytes <= 2


def test_the_table_in_the_docs_has_every_shape():
    text = DOCS.read_text()
    assert all(f"| {shape} |" in text for shape in SHAPES)
