"""The notebooks as a reader runs them: top to bottom, in a kernel of their own."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.engine.running import REPOSITORY, write_source
from tests.notebooks.kernels import at_home_in, run_notebook, said

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
DRAWN = "application/vnd.bokehjs_exec.v0+json"


# What `pip install 'evensplit[notebooks]'` brings, beside Python's own.
INSTALLED = {"engine", "bokeh", "pyarrow", *sys.stdlib_module_names}
NUM_SHOWN = {"fanout": 2, "skew": 9, "split": 7}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    at_home_in(tmp_path, monkeypatch)
    monkeypatch.setenv("EVENSPLIT_BATCH_FOLDER", str(tmp_path / "jobs"))
    (tmp_path / "here").mkdir()
    return tmp_path


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(NUM_SHOWN)


def judge(notebook: Any) -> dict[str, str]:
    """See that nothing was said on standard error, and all was drawn; return what was printed."""
    printed = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert said(cell.outputs, "stderr") == ""
        printed[cell.source] = said(cell.outputs, "stdout")
        if "show(" in cell.source:
            assert any(DRAWN in item.get("data", {}) for item in cell.outputs), cell.source
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_top_to_bottom(path: Path, home: Path) -> None:
    notebook = run_notebook(nbformat.read(path, as_version=4), home / "here")
    printed = judge(notebook)
    assert sum(source.count("show(figures") for source in printed) == NUM_SHOWN[path.stem]
    assert list((home / "here").iterdir()) == []  # what is written goes to a temporary folder
    if path.stem == "fanout":
        jobs = [text for text in printed.values() if "tasks" in text]
        assert len(jobs) >= 3
        assert sum(bool(re.match(r" *\d+\.\d\d s  ", text)) for text in printed.values()) == 1
        assert any("makespan" in text for text in printed.values())


@pytest.mark.ways(3)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source"),
    [("skew", "a.parquet"), ("skew", "."), ("split", "a.parquet"), ("split", "."), ("fanout", ".")],
)
def test_runs_on_files_of_the_reader(name: str, source: str, home: Path) -> None:
    for file, num_rows in (("a.parquet", 30_000), ("b.parquet", 20_000)):
        write_source(home / "mine" / file, num_rows)
    notebook = nbformat.read(REPOSITORY / f"notebooks/{name}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    line, *rest = first.source.splitlines()
    assert line.startswith('source = ""')
    first.source = "\n".join([f"source = {str(home / 'mine' / source)!r}", *rest])
    judge(run_notebook(notebook, home / "here"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_short_and_without_outputs(path: Path) -> None:
    """Outputs would hold all of Bokeh; pictures of them are in ``docs/images``."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            assert len(cell.source.splitlines()) <= 18
            names = {
                name.partition(".")[0]
                for node in ast.walk(ast.parse(cell.source))
                for name in _imported(node)
            }
            assert names <= INSTALLED
        else:
            assert len(cell.source.split()) <= 45


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
