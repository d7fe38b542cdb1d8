"""Standard streams that are closed, full or left, and a folder that is gone: done, or one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import engine
from tests.engine.running import REPOSITORY, write_source


def call(
    folder: Path, words: str, streams: str = "", before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does, with its redirections."""
    line = f'{before} "{sys.executable}" -m engine.cli {words} {streams}'
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_source(tmp_path / "s.parquet", 3_000)
    return tmp_path


@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", "2>/dev/full", ">&- 2>/dev/full"]
)
def test_a_split_needs_no_streams(folder: Path, streams: str):
    """What is opened does not take the place of a closed stream: parts hold parts alone."""
    ended = call(folder, "split s.parquet parts --parts 2 --verify --verbose", streams)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert engine.verify(folder / "parts").num_rows == 3_000
    is_told = "equal: 2 parts" in ended.stdout
    assert is_told is (">&-" not in streams.replace("2>&-", ""))


@pytest.mark.parametrize(
    "words", ["plan s.parquet", "help split", "--version", "profile s.parquet"]
)
def test_output_that_cannot_be_written_is_told_in_a_line(folder: Path, words: str):
    ended = call(folder, words, ">/dev/full")
    assert ended.returncode == 4
    assert ended.stderr.startswith("evensplit: space.disk: no space left while writing standard ")
    assert ended.stderr.count("\n") == 1


def test_an_error_that_cannot_be_told_has_its_exit_code(folder: Path):
    for streams in ("2>/dev/full", "2>&-"):
        assert call(folder, "plan nothing.parquet", streams).returncode == 2


def test_a_run_goes_on_when_the_reader_of_its_log_has_left(folder: Path):
    ended = call(folder, "split s.parquet parts --parts 2 --verbose", "2>&1 | true")
    assert ended.returncode == 0
    assert engine.verify(folder / "parts").num_rows == 3_000


@pytest.mark.parametrize(
    "words", ["plan s.parquet", "split s.parquet parts --verify", "help split", "--version"]
)
def test_a_reader_that_has_left_is_no_success(folder: Path, words: str):
    """The rest, as a proof, was not done; a shell's own tools end so as well."""
    assert call(folder, words, "| true; exit ${PIPESTATUS[0]}").returncode == 141
    ended = call(folder, words, "| true")
    assert not ended.stderr or ("evensplit: " not in ended.stderr and "Trace" not in ended.stderr)


@pytest.mark.parametrize("streams", ["| true; exit ${PIPESTATUS[0]}", ">/dev/full"])
def test_an_error_that_nobody_reads_keeps_its_exit_code(folder: Path, streams: str):
    ended = call(folder, "plan nothing --json", streams)
    assert ended.returncode == 2
    assert ended.stderr.startswith("evensplit: call.no-source: ")
    assert ended.stderr.count("\n") == 1


def test_names_that_are_not_read_as_utf_8_are_not_called_wrong(folder: Path):
    (folder / "s.parquet").rename(folder / "é.parquet")
    plain = "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8="
    assert call(folder, "plan é.parquet", before=f"{plain}1").returncode == 0
    ended = call(folder, "plan é.parquet", before=f"{plain}0")
    assert ended.returncode == 2
    assert ended.stderr.startswith("evensplit: call.setting: names are read as ")
    assert "set PYTHONUTF8=1" in ended.stderr


def test_a_file_of_dask_that_cannot_be_read_is_named(folder: Path):
    (folder / "dask.yaml").write_text("{{{")
    ended = call(folder, "split s.parquet parts --parts 2 --quiet", before="DASK_CONFIG=dask.yaml")
    assert ended.returncode == 2
    told = "evensplit: call.setting: A dask config file at 'dask.yaml' is malformed; mend it, or "
    assert ended.stderr.startswith(told)
    assert ended.stderr.count("\n") == 1


def test_a_folder_that_is_gone_is_told_where_it_is_needed(folder: Path):
    (folder / "gone").mkdir()
    gone = "cd gone; rmdir ../gone;"
    assert call(folder, "--version", before=gone).returncode == 0
    (folder / "gone").mkdir()
    ended = call(folder, "plan s.parquet", before=gone)
    assert ended.returncode == 2
    assert ended.stderr.startswith("evensplit: call: the folder that this was called in is gone")


@pytest.mark.parametrize("place", ["s.parquet", "s.parquet/x", ".", "/dev/null"])
def test_the_demo_refuses_what_is_no_new_folder(folder: Path, place: str):
    ended = call(folder, f"demo {place} --size 1MB")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
