"""The notebooks as a reader runs them: top to bottom, in a kernel of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from tests.engine.running import REPOSITORY
from tests.notebooks.kernels import at_home_in, run_notebook, said

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
DRAWN = "application/vnd.bokehjs_exec.v0+json"


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["skew", "split"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home_in(tmp_path, monkeypatch)
    notebook = run_notebook(nbformat.read(path, as_version=4), tmp_path)
    shown = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert said(cell.outputs, "stderr") == ""
        if "show(" in cell.source:
            shown += 1
            assert any(DRAWN in item.get("data", {}) for item in cell.outputs), cell.source
    assert shown >= 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_short_and_without_outputs(path: Path) -> None:
    """Outputs would hold all of Bokeh; pictures of them are in ``docs/images``."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            assert len(cell.source.splitlines()) <= 14
            ast.parse(cell.source)
        else:
            assert len(cell.source.split()) <= 45
