"""What is said on standard error: for people or machines, much or nothing; results never are."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import events
from engine.cli import log
from tests.engine.running import REPOSITORY, Ended, end, run, start, write_source

VERBS = ["profile", "plan", "split", "verify", "report", "demo"]
BASE = {"run_id", "time", "level", "event", "message"}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Nobody hears what a command of another test has asked for."""
    handlers = list(events.logger.handlers)
    yield
    events.logger.handlers[:] = handlers
    events.logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("log") / "source.parquet", num_rows=9_000)


@pytest.fixture(scope="module")
def dest(source: Path) -> Path:
    engine.split(source, source.parent / "parts", parts=3)
    return source.parent / "parts"


def lines_of(ended: Ended) -> list[dict[str, Any]]:
    """Every line of standard error, each an object with what each must have."""
    found = [json.loads(line) for line in ended.err.splitlines()]
    for item in found:
        assert item.keys() >= BASE
        assert datetime.fromisoformat(item["time"]).tzinfo == UTC
    assert len({item["run_id"] for item in found}) <= 1
    return found


def calls(source: Path, dest: Path, place: Path) -> dict[str, tuple[Any, ...]]:
    return {
        "profile": ("profile", source, "--key", "few"),
        "plan": ("plan", source, "--parts", "2"),
        "split": ("split", source, place, "--parts", "2", "--verify"),
        "verify": ("verify", dest),
        "report": ("report", dest, "--output", place.with_suffix(".html")),
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_runs_long_has_the_options(verb: str):
    text = run(verb, "--help").out
    assert all(option in text for option in ("--log-format", "--quiet", "--verbose"))


@pytest.mark.ways(6)
@pytest.mark.parametrize(("verb", "how"), list(product(VERBS[:-1], ["-q", "-v", None])))
def test_each_line_is_an_object_and_results_are_the_same(
    source: Path, dest: Path, tmp_path: Path, verb: str, how: str | None
):
    words = calls(source, dest, tmp_path / "a")[verb]
    ended = run(*words, "--log-format", "json", *filter(None, [how]))
    assert ended.code == 0
    said = lines_of(ended)
    assert (said == []) or how != "-q"
    assert ("debug" in {item["level"] for item in said}) == (how == "-v" and verb == "split")
    plain = run(*calls(source, dest, tmp_path / "b")[verb])
    assert len(ended.out.splitlines()) == len(plain.out.splitlines())


def test_a_split_tells_its_events(source: Path, tmp_path: Path):
    said = lines_of(run("split", source, tmp_path / "p", "--parts", "3", "--log-format=json", "-v"))
    names = [item["event"] for item in said]
    assert names == ["split.planned", *["split.part"] * 3, "split.complete"]
    planned, *parts, complete = said
    assert (planned["num_parts"], planned["num_parts_committed"]) == (3, 0)
    assert sum(part["size_bytes"] for part in parts) == complete["size_bytes"]
    assert len(planned["plan_id"]) == 32


@pytest.mark.parametrize(
    "words",
    [
        ["split", "{source}", "{dest}", "--parts", "9"],
        ["plan", "{source}", "--nope"],
        ["plan", "x"],
    ],
    ids=["other plan", "usage", "no source"],
)
@pytest.mark.parametrize("option", [["--log-format", "json"], ["--log-format=JSON"], ["variable"]])
def test_an_error_is_a_line_too(
    source: Path,
    dest: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    option: list[str],
):
    if option == ["variable"]:
        monkeypatch.setenv("EVENSPLIT_LOG_FORMAT", "json")
        option = []
    given = [word.format(source=source, dest=dest) for word in words]
    ended = run(*given, "--quiet", *option)
    (error,) = lines_of(ended)
    assert error["event"] == error["level"] == "error"
    assert error["exit_code"] == ended.code == 2
    assert error["kind"].startswith("call.")
    plain = run(*given, "-q", "--log-format", "text")
    assert plain.err == f"evensplit: {error['kind']}: {error['message']}\n"


def test_a_defect_has_its_traceback_in_its_line(source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "plan", lambda *_, **__: 1 / 0)
    ended = run("plan", source, "--log-format", "json")
    (error,) = lines_of(ended)
    assert (ended.code, error["kind"]) == (70, "internal")
    assert error["traceback"].startswith("Traceback")


def test_the_run_may_be_named_from_outside(source: Path, tmp_path: Path):
    code = "import os; os.environ['EVENSPLIT_RUN_ID'] = 'nightly-7'"
    process = start("split", source, tmp_path / "p", "--log-format", "json", first=code)
    said = lines_of(end(process))
    assert {item["run_id"] for item in said} == {"nightly-7"}


def test_a_file_of_settings_may_ask_for_it(source: Path, tmp_path: Path):
    (tmp_path / "c.toml").write_text('log_format = "json"\n[split]\nverbose = true\n')
    ended = run("--config", tmp_path / "c.toml", "split", source, tmp_path / "parts")
    assert "split.part" in {item["event"] for item in lines_of(ended)}


def test_people_read_lines(source: Path, tmp_path: Path):
    ended = run("split", source, tmp_path / "p", "--parts", "2", "-v")
    assert "debug: part-00000.parquet is committed\n" in ended.err
    assert "{" not in ended.err
    quiet = run("split", source, tmp_path / "q", "--parts", "2", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_a_line_that_is_not_wanted_is_empty():
    log.begin([], {})
    assert log.line_of("stopping", "stopping", logging.WARNING) == "stopping"
    assert log.line_of("x", "x", logging.INFO) == ""


def test_a_library_says_nothing_unless_it_is_asked(source: Path, tmp_path: Path):
    text = (
        "import logging, engine\n"
        f"engine.split({str(source)!r}, {str(tmp_path / 'a')!r}, parts=2)\n"
        "found = logging.getLogger('evensplit')\n"
        "assert [type(item).__name__ for item in found.handlers] == ['NullHandler']\n"
        "assert found.level == logging.NOTSET\n"
        "assert not logging.getLogger().handlers\n"
        "logging.basicConfig(level=logging.DEBUG, format='%(name)s %(levelname)s %(event)s')\n"
        f"engine.split({str(source)!r}, {str(tmp_path / 'b')!r}, parts=2)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "evensplit INFO split.planned",
        *["evensplit DEBUG split.part"] * 2,
        "evensplit INFO split.complete",
    ]


def test_what_libraries_log_is_not_told():
    text = (
        "import atexit, logging\n"
        "from engine.cli.main import main\n"
        "atexit.register(logging.getLogger('gcsfs').error, 'out of retries', exc_info=OSError())\n"
        "main(['--version'])\n"
    )
    words = [sys.executable, "-c", text]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert ended.stderr == ""


def test_no_progress_is_told_after_the_end(capfd: pytest.CaptureFixture[str]):
    """Its thread may come to it as the end is said; a second command tells its own."""
    for _ in range(2):
        log.begin(["--log-format", "json"], {})
        events.logger.setLevel(logging.INFO)
        log._handler.setLevel(logging.INFO)
        for event in ("split.progress", "split.complete", "split.progress", "verify.progress"):
            events.say(event, "told")
        said = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
        assert said == ["split.progress", "split.complete", "verify.progress"]
