"""What commands do besides what they print, which :mod:`tests.cli` keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.running import contents, run, write_source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("commands") / "s.parquet")


@pytest.mark.parametrize(
    "words",
    [
        ("--parts", "3"),
        ("--target-size", "1"),
        ("--memory", "1MiB"),
        ("--memory", "1GiB", "--json", "--parts", "2"),
    ],
)
def test_a_dry_run_says_what_plan_says_and_writes_nothing(
    source: Path, tmp_path: Path, words: tuple[str, ...]
):
    planned = run("plan", source, *words)
    rehearsed = run("split", source, tmp_path / "parts", "--dry-run", "--verify", *words)
    # What this machine has left may differ by the second.
    assert planned.out.partition("memory")[0] == rehearsed.out.partition("memory")[0]
    assert (planned.code, planned.err) == (rehearsed.code, rehearsed.err)
    assert not list(tmp_path.iterdir())


def test_resume_changes_nothing(source: Path, tmp_path: Path):
    assert run("split", source, tmp_path / "a", "--parts", "2").code == 0
    assert run("split", source, tmp_path / "b", "--parts", "2", "--resume").code == 0
    assert run("split", source, tmp_path / "b", "--parts", "2", "--resume").code == 0
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert set(a) == set(b)
    assert all(a[name] == b[name] for name in a if name.endswith(".parquet"))


def test_help_of_a_command_is_its_help():
    for words in (("plan",), ("batch", "submit"), ("batch", "pool", "create")):
        assert run("help", *words) == run(*words, "--help")


def test_a_file_that_looks_like_an_option_is_told_by_the_name_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_source(tmp_path / "-x.parquet", 10)
    monkeypatch.chdir(tmp_path)
    assert run("plan", "-x.parquet").err.endswith("no option -x; for the file write ./-x.parquet\n")
    assert run("plan", "./-x.parquet").code == 0
    assert run("plan", "-y.parquet").err.endswith("no option -y; see evensplit plan --help\n")
