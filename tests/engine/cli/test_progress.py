"""Progress counts bytes, inside of parts too, and says so every few seconds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.cli import log, progress
from engine.model import Receipt
from tests.cli.pictures import sent_by, shown_by
from tests.cli.texts import Screen
from tests.engine.cli.test_log import as_before
from tests.engine.running import run, write_source

__all__ = ["as_before"]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> engine.SplitPlan:
    path = tmp_path_factory.mktemp("progress") / "source.parquet"
    return engine.plan(write_source(path, num_rows=9_000), parts=7)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come every few milliseconds."""
    monkeypatch.setattr(progress, "LOG_LINE_SECONDS", 0.002)
    monkeypatch.setattr("engine.executors.growth.TELL_SECONDS", 0.001)


def receipt(size_bytes: int) -> Receipt:
    return Receipt(0, "part", 1, 0, size_bytes, size_bytes, 0, "")


class Recorded(progress._Split):
    def __init__(self) -> None:
        self.written: list[int] = []
        super().__init__()

    def _changed(self) -> None:
        self.written.append(self._written_bytes())


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1), min_size=1, max_size=7))
def test_what_is_committed_is_not_counted_twice(parts: list[list[int]]) -> None:
    """Parts one after another, each growing in steps: what is shown never shrinks."""
    log.begin([], {})
    shown = Recorded()
    for steps in parts:
        sizes = [sum(steps[: count + 1]) for count in range(len(steps))]
        for size_bytes in sizes:
            shown.growing(size_bytes)
        shown.committed(receipt(sizes[-1]))
    assert shown.written == sorted(shown.written)
    assert shown.written[-1] == sum(map(sum, parts))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source.parquet", num_rows=60_000, row_group_size=3_000)


def told(text: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in text.splitlines())


@pytest.mark.usefixtures("often")
def test_bytes_are_told_before_a_part_is_committed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from engine.storage.local import LocalSink

    commit, said = LocalSink.commit, []

    def wait_until_told(sink: LocalSink) -> None:
        """Nothing is committed before it is told how much is written."""
        while not said:
            continue
        commit(sink)

    def growing(self: Any, num_bytes: int) -> None:
        if num_bytes:
            said.append(num_bytes)

    monkeypatch.setattr(LocalSink, "commit", wait_until_told)
    monkeypatch.setattr(progress._Split, "growing", growing)
    ended = run("split", source, tmp_path / "parts", "--parts", "1")
    assert ended.code == 0
    assert 0 < said[0] <= source.stat().st_size * 1.1


@pytest.mark.usefixtures("often")
def test_a_log_has_lines_from_planning_on(source: Path, tmp_path: Path):
    words = ("split", source, tmp_path / "parts", "--target-size", "60kB", "--codec", "gzip")
    said = list(told(run(*words, "--log-format", "json").err))
    names = [item["event"] for item in said]
    assert names[0] == "planning"
    moved = [item for item in said if item["event"] == "split.progress"]
    assert moved
    assert all(0 <= item["num_parts_done"] <= item["num_parts"] for item in moved)
    last = moved[-1]
    assert 0 < last["bytes_done"] < 1.2 * last["total_bytes"]


@pytest.mark.usefixtures("often")
def test_a_verification_tells_how_many_values_were_compared(source: Path, tmp_path: Path):
    engine.split(source, tmp_path / "parts", parts=2)
    said = list(told(run("verify", tmp_path / "parts", "--log-format", "json").err))
    counts = [item["num_values"] for item in said if item["event"] == "verify.progress"]
    assert counts == sorted(counts)
    assert said[-1]["event"] == "verify.complete"
    assert all(count <= said[-1]["num_values"] for count in counts)
    assert counts


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_split_that_is_proved_tells_how_far_the_proof_is(
    source: Path, tmp_path: Path, words: tuple[str, ...]
):
    call = ("split", source, tmp_path / "parts", "--parts", "2", "--verify", *words)
    said = list(told(run(*call, "--log-format", "json").err))
    names = [item["event"] for item in said]
    assert names[-1] == "verify.complete"
    proved = names.index("verify.progress")
    assert set(names[proved:]) <= {"verify.begun", "verify.progress", "verify.complete"}
    assert "split.progress" in names[:proved]
    counts = [item["num_values"] for item in said if item["event"] == "verify.progress"]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= said[-1]["num_values"]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("words", "doing"),
    [("plan --target-size 60kB", "planning"), ("profile --key id", "profiling")],
    ids=["plan", "profile"],
)
def test_what_is_not_counted_tells_its_time(source: Path, words: str, doing: str):
    command, *options = words.split()
    said = list(told(run(command, source, *options, "--log-format", "json").err))
    assert {item["event"] for item in said} == {doing}
    seconds = [item["elapsed_seconds"] for item in said]
    assert seconds == sorted(seconds)
    for quiet in ("--json", "--quiet"):
        assert run(command, source, *options, quiet).err == ""


def test_a_bar_without_bytes_shows_time_and_goes(source: Path, tmp_path: Path):
    for call in ("plan {} --parts 2", "split {} parts --parts 2", "profile {}"):
        sent = sent_by(f"evensplit {call.format(source.name)}", 80, tmp_path)
        assert re.search(rb"(planning|profiling) .*0:00:0", sent)
        assert b"/? bytes" not in sent
        lines = ["".join(text for text, _ in line) for line in shown_by(sent, 80)]
        assert not [line for line in lines if "planning" in line or "profiling" in line]


@pytest.mark.usefixtures("often")
def test_a_terminal_that_draws_nothing_anew_gets_lines(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", Screen())
    log.begin([], {})
    with progress.splitting(is_quiet=False) as told:
        engine.split(source, tmp_path / "parts", parts=4, codec="gzip", progress=told)
    said = sys.stderr.getvalue()
    assert re.search(r"^planning, 0 s$", said, re.MULTILINE)
    assert re.search(r"^\d/4 parts, .*/s$", said, re.MULTILINE)
    assert "\x1b" not in said


def test_a_terminal_has_a_bar_of_the_proof_which_goes(source: Path, tmp_path: Path):
    sent = sent_by(f"evensplit split {source.name} parts --parts 2 --verify", 80, tmp_path)
    assert b"values compared" in sent
    lines = ["".join(text for text, _ in line) for line in shown_by(sent, 80)]
    assert lines[-2].startswith("equal: ")
    assert not [line for line in lines if "values compared" in line or "2/2 parts" in line]


@pytest.mark.usefixtures("often")
def test_lines_are_for_logs_and_nothing_is_said_beside_json(source: Path, tmp_path: Path):
    words = ("split", source, "--target-size", "60kB", "--codec", "gzip")
    assert re.search(r" [kMG]?B/s", run(*words[:2], tmp_path / "a", *words[2:]).err)
    assert run(*words[:2], tmp_path / "b", *words[2:], "--json").err == ""
    assert run(*words[:2], tmp_path / "c", *words[2:], "--quiet").err == ""


def test_parts_that_are_there_count_as_written(plan: engine.SplitPlan):
    log.begin([], {})
    shown = progress._Lines()
    shown.planned(plan, 7)
    assert shown._resumed_bytes == plan.predicted_bytes
    assert shown._parts() == "7/7 parts"
