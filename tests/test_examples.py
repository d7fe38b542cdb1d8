"""Every script of ``examples/`` runs, as its first line says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    for number in range(2):
        rows = range(number * 50_000, (number + 1) * 50_000)
        table = pa.table({"id": rows, "text": [f"text {row * 7919}" for row in rows]})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=20_000)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None) as found:
        yield found


def run(name: str, *words: object) -> str:
    program = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    place = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    ended = subprocess.run(program, check=False, capture_output=True, text=True, env=place)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rows_of(folder: Path) -> list[int]:
    paths = sorted(folder.glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path)["id"].to_pylist()]


def test_all_are_told_of_and_run_here():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    told = (EXAMPLES / "README.md").read_text()
    here = Path(__file__).read_text()
    assert all(f"({name})" in told and f'run("{name}"' in here for name in names)


def test_a_folder(lake: Path, tmp_path: Path):
    assert run("split_folder.py", lake, tmp_path) == "2 parts\n"
    assert rows_of(tmp_path / "0") == list(range(50_000))


def test_a_notebook(lake: Path, tmp_path: Path):
    assert "are equal" in run("in_a_notebook.py", lake, tmp_path / "parts")
    assert rows_of(tmp_path / "parts") == list(range(100_000))


def test_a_dask_client(lake: Path, tmp_path: Path, cluster: LocalCluster):
    told = run("with_a_dask_client.py", lake, tmp_path / "parts", cluster.scheduler_address)
    assert told == "4 parts\n"
    assert rows_of(tmp_path / "parts") == list(range(100_000))


def test_a_store(lake: Path):
    assert run("to_object_storage.py", lake, "memory://parts") == "2 parts are proved\n"


def test_a_pipeline(lake: Path, tmp_path: Path):
    run("after_a_pipeline.py", lake / "1.parquet", tmp_path)
    (part,) = json.loads((tmp_path / "_ready.json").read_text())
    assert part["rows"] == 50_000
