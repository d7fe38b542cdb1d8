"""What each command imports: a small split takes less time than what it can do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine import memory
from engine.executors.choosing import choose_resources
from tests.engine.running import REPOSITORY, run

PROGRAM = """
import sys, engine
found = {'numpy', 'pyarrow', 'dask', 'distributed', 'bokeh', 'pandas'} & set(sys.modules)
assert not found, found
from engine.cli.main import main
try:
    names, sys.argv = sys.argv[1], ['evensplit', *sys.argv[2:]]
    main()
except SystemExit as end:
    assert end.code == 0, end.code
found = {name for name in names.split(',') if sys.modules.get(name)}
assert not found, found
"""
PICTURES = "bokeh,pandas,PIL"
STORES = "fsspec,adlfs,azure.core,aiohttp,engine.storage.azure"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has long and short strings, and coded ones, on pages that cuts go through."""
    path = tmp_path_factory.mktemp("imports") / "s.parquet"
    texts = [f"{i * i:x}" * (i % 5) for i in range(40_000)]
    table = pa.table({"id": range(40_000), "text": texts, "code": [t[:2] for t in texts]})
    pq.write_table(
        table, path, row_group_size=20_000, use_dictionary=["code"], write_page_index=True
    )
    return path


@pytest.fixture(scope="module")
def parts(source: Path) -> Path:
    dest = source.parent / "finished"
    assert run("split", source, dest, "--parts", "3").code == 0
    return dest


def loads_none_of(names: str, *words: str | Path) -> None:
    command = [sys.executable, "-c", PROGRAM, names, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_lines_that_stay_lines_load_no_arrow(tmp_path: Path, codec: str):
    source, dest = tmp_path / "s.csv", tmp_path / "parts"
    source.write_text("id,text\n" + "".join(f'{row},"of {row}"\n' for row in range(9000)))
    sizes = "--parts", "3", "--workers", "1", "--codec", codec
    loads_none_of(f"pyarrow,distributed,{PICTURES},{STORES}", "split", source, dest, *sizes)
    # And none is projected.
    plan = engine.plan(source, parts=3, codec=codec)
    found = choose_resources(plan, engine.make_settings(parts=3, codec=codec, workers=1))
    part_bytes = max(part.memory_bytes for part in plan.parts) + plan.planning_memory_bytes
    base_bytes = memory.process_base_bytes(arrow=False, under="threads")
    assert found.run_bytes == base_bytes + part_bytes


def test_a_split_in_threads_does_without_distributed(source: Path, tmp_path: Path):
    words = "split", source, tmp_path / "parts", "--parts", "3"
    loads_none_of(f"distributed,{PICTURES},{STORES}", *words)


def test_lines_become_parquet_without_pandas_also_where_records_do_not_fit(tmp_path: Path):
    (tmp_path / "s.csv").write_text("id,text\n" + "1,a\n" * 50 + "2\n")
    words = "split", tmp_path / "s.csv", tmp_path / "parts", "--to", "parquet", "--bad-rows", "skip"
    loads_none_of(f"distributed,{PICTURES},{STORES}", *words)


def test_a_split_between_row_groups_does_without_arrow(source: Path, tmp_path: Path):
    words = "split", source, tmp_path / "parts", "--parts", "2", "--cut", "row-group"
    loads_none_of(f"distributed,pyarrow,{PICTURES},{STORES}", *words)


@pytest.mark.parametrize("wish", [("--parts", "3"), ("--target-size", "100kB")])
def test_a_plan_does_without_dask(source: Path, wish: tuple[str, str]):
    loads_none_of(f"dask,{PICTURES},{STORES}", "plan", source, *wish)


def test_a_profile_does_without_dask_and_arrow(source: Path):
    loads_none_of(f"dask,pyarrow,{PICTURES},{STORES}", "profile", source)


def test_a_count_of_keys_in_threads_does_without_distributed(source: Path):
    loads_none_of(f"distributed,bokeh,{STORES}", "profile", source, "--key", "id")


def test_a_verification_does_without_dask(parts: Path):
    loads_none_of(f"dask,{PICTURES},{STORES}", "verify", parts)


def test_help_does_without_all_that_works():
    loads_none_of(f"dask,numpy,pyarrow,{PICTURES},{STORES}", "--help")
