"""Real runs stay below what was projected for them, and above half of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.projection import SHAPES, rows

DOCS = Path(__file__).parents[2] / "docs" / "memory.md"


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_measured_is_at_most_projected_and_projected_at_most_twice_measured(shape, tmp_path: Path):
    off = [row for row in rows(tmp_path, [shape]) if not 1 <= row.ratio <= 2]
    assert not off, "\n".join(
        f"{row.shape}, {row.path}: {row.projected_bytes >> 20} MiB projected, "
        f"{row.measured_bytes >> 20} MiB measured"
        for row in off
    )


def test_the_table_in_the_docs_has_every_shape():
    text = DOCS.read_text()
    assert all(f"| {shape} |" in text for shape in SHAPES)
