"""What a notebook shows of results, and of work that takes its time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.browser import opened, running
from tests.engine.running import write_source
from tests.notebooks.kernels import at_home_in, notebook_of, run_cells, run_notebook, said, shown_as

pytestmark = pytest.mark.slow

WIDGET = "application/vnd.jupyter.widget-view+json"
NAME = "<img src=x onerror=ran()>"
NO_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"
NO_TQDM = "import sys; sys.modules['tqdm'] = sys.modules['tqdm.auto'] = None"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    at_home_in(tmp_path, monkeypatch)
    write_source(tmp_path / "s.parquet", 20_000)
    return tmp_path


def test_results_are_shown_as_tables(home: Path):
    pq.write_table(pa.table({NAME: list(range(9_000)), "n": [0.5] * 9_000}), home / "odd.parquet")
    cells = [
        "import engine; engine.profile('odd.parquet')",
        "engine.profile_key('odd.parquet', 'n')",
        "engine.plan('odd.parquet', parts=20)",
        "engine.split('odd.parquet', 'parts', parts=20)",
        "engine.verify('parts')",
    ]
    outputs = run_cells(cells, home)
    tables = [html for cell in outputs for html in shown_as(cell, "text/html")]
    assert len(tables) == len(cells)
    page = home / "page.html"
    page.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Results</title>"
        "<meta name='color-scheme' content='light dark'><body><main><h1>Results</h1>"
        f"{''.join(tables)}</main>"
    )
    sides: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with running() as browser:
        for side in sides:
            with opened(browser, page, side, 800) as seen:
                assert seen.faults() == []
                assert seen.complaints == []
                assert not seen.has_run()
                assert seen.page.get_by_text(NAME).count() == 1
                seen.keep(f"results-{side}")


def test_progress_is_a_widget(home: Path):
    cells = [
        "import engine; a = engine.split('s.parquet', 'parts', parts=4)",
        "b = engine.verify('parts')",
        "c = engine.split('s.parquet', 'proved', parts=4, verify=True)",
    ]
    notebook = run_notebook(notebook_of(cells), home)
    split, verify, both = (cell.outputs for cell in notebook.cells)
    for outputs, num_bars in ((split, 1), (verify, 1), (both, 2)):
        assert len(shown_as(outputs, WIDGET)) == num_bars
        assert said(outputs, "stderr") == ""
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    states = [widget["state"] for widget in widgets.values()]
    texts = [state["value"] for state in states if isinstance(state.get("value"), str)]
    assert any("4/4 parts: 100%" in " ".join(text.split()) for text in texts)  # its blanks are wide
    bars = [state for state in states if "max" in state]
    assert [bar["bar_style"] for bar in bars] == ["success"] * 4


def test_progress_is_a_line_without_widgets(home: Path):
    _, split, again, quiet, verify = run_cells(
        [
            NO_WIDGETS,
            "import engine; a = engine.split('s.parquet', 'parts', parts=4)",
            "b = engine.split('s.parquet', 'parts', parts=4)",
            "c = engine.split('s.parquet', 'other', parts=4, progress=engine.Progress())",
            "d = engine.verify('parts')",
        ],
        home,
    )
    assert [shown_as(outputs, WIDGET) for outputs in (split, verify)] == [[], []]
    assert "4/4 parts: 100%" in said(split, "stdout")
    assert "4/4 parts" in said(again, "stdout")
    assert "comparing" in said(verify, "stdout")
    assert quiet == []
    assert "".join(said(cell, "stderr") for cell in (split, again, verify)) == ""


def test_there_is_no_progress_without_tqdm_nor_outside_a_notebook(home: Path):
    _, split = run_cells(
        [NO_TQDM, "import engine; a = engine.split('s.parquet', 'parts', parts=4)"], home
    )
    assert split == []
    (script,) = run_cells(
        [
            "import subprocess, sys\n"
            "program = \"import IPython, engine; engine.split('s.parquet', 'x', parts=4)\"\n"
            "print(subprocess.run([sys.executable, '-c', program], capture_output=True))"
        ],
        home,
    )
    assert "returncode=0, stdout=b'', stderr=b''" in said(script, "stdout")


def test_a_split_that_fails_leaves_no_bar_behind(home: Path):
    (outputs,) = run_cells(
        [
            "import engine, tqdm.auto\n"
            "try:\n"
            "    engine.split('s.parquet', 'parts', parts=4, scheduler='tcp://127.0.0.1:9')\n"
            "except engine.EvensplitError as error:\n"
            "    print(len(tqdm.auto.tqdm._instances), error)"
        ],
        home,
    )
    assert said(outputs, "stdout").startswith("0 no Dask scheduler answers")


def test_a_client_of_the_notebook_is_used(home: Path):
    outputs = run_cells(
        [
            "from distributed import Client; import engine\n"
            "client = Client(n_workers=1, threads_per_worker=1, dashboard_address=None)",
            "engine.split('s.parquet', 'parts', parts=4, client=client)",
            "client.close(); client.cluster.close()",
        ],
        home,
    )
    assert "part-00003.parquet" in shown_as(outputs[1], "text/html")[-1]
