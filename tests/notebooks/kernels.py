"""Cells run in a kernel of their own, as a reader's notebook runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.engine.running import REPOSITORY

SECONDS = 300  # of a cell that hangs


def at_home_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what kernels write in a folder, and have them import this checkout."""
    for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def run_notebook(notebook: Any, folder: Path) -> Any:
    """Run all cells in a folder; return the notebook with its outputs."""
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, resources=where).execute()
    return notebook


def run_cells(sources: Sequence[str], folder: Path) -> list[list[Any]]:
    """Run cells; return the outputs of each."""
    return [cell.outputs for cell in run_notebook(notebook_of(sources), folder).cells]


def notebook_of(sources: Sequence[str]) -> Any:
    """A notebook of cells."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])


def said(outputs: Sequence[Any], stream: str) -> str:
    """What a cell wrote to a stream."""
    return "".join(
        item.text for item in outputs if item.output_type == "stream" and item.name == stream
    )


def shown_as(outputs: Sequence[Any], kind: str) -> list[Any]:
    """What a cell showed of a kind, as ``text/html``."""
    return [item.data[kind] for item in outputs if kind in item.get("data", {})]
