"""Dying anywhere: killed, interrupted, or crashed after any step, the same command finishes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import engine
from engine import splitter, work
from engine.cli.stopping import RESUMABLE
from engine.errors import Locked
from engine.formats.parquet import sampling
from engine.model import Manifest
from engine.storage import open_storage
from engine.storage.local import LocalSink, LocalStorage
from tests.engine.running import (
    HANG_SECONDS,
    contents,
    end,
    leftovers,
    one_by_one,
    parts_contents,
    parts_of,
    run,
    start,
    write_source,
    write_trap,
)

SETTINGS = ("--parts", "20")
KILLS = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 10 MB."""
    path = tmp_path_factory.mktemp("resume") / "source.parquet"
    return write_source(path, num_rows=450_000, row_group_size=37_000, data_page_size=64 << 10)


@pytest.fixture(scope="module")
def reference(source: Path) -> dict[str, bytes]:
    """Every file of a split that nothing disturbed."""
    dest = source.parent / "reference"
    assert run("split", source, dest, *SETTINGS).code == 0
    return contents(dest)


def committed(dest: Path) -> dict[Path, tuple[int, int]]:
    """The parts that have a receipt: which file each is, and when it was written."""
    found = {}
    for receipt in dest.glob("_evensplit/receipts/[0-9]*.json"):
        path = dest / json.loads(receipt.read_text())["name"]
        found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def num_receipts(dest: Path) -> int:
    return len(list(dest.glob("_evensplit/receipts/[0-9]*.json")))


def wait_until(condition: Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def finish(source: Path, dest: Path, reference: dict[str, bytes], *options: str) -> int:
    """Run the same command again; check the result; return how many parts were there before."""
    before = committed(dest)
    ended = run("split", source, dest, *SETTINGS, *options, "--json")
    assert ended.code == 0, ended.err
    assert {path: committed(dest)[path] for path in before} == before  # nothing written twice
    assert contents(dest) == reference
    assert leftovers(dest) == []
    assert json.loads(ended.out)["num_resumed"] == len(before)
    return len(before)


@pytest.mark.slow
def test_killed_at_any_moment_a_split_resumes(
    tmp_path: Path, source: Path, reference: dict[str, bytes]
):
    chance = random.Random(20)
    num_parts_before = []
    for kill in range(KILLS):
        dest = tmp_path / str(kill)
        process = start("split", source, dest, *SETTINGS, "--workers", str(1 + kill % 3))
        if kill % 4 == 0:  # at any time from its start
            time.sleep(chance.uniform(0, 1.0))
        elif kill % 4 == 1:  # while plan, lock and Dask are made
            wait_until(lambda dest=dest: (dest / "_evensplit").exists())
            time.sleep(chance.uniform(0, 0.3))
        else:  # while parts are written
            number = chance.randint(0, 10)
            wait_until(lambda dest=dest, number=number: num_receipts(dest) >= number)
            time.sleep(chance.uniform(0, 0.01))
        process.kill()
        end(process)
        num_parts_before.append(finish(source, dest, reference))
    assert any(0 < number < 20 for number in num_parts_before)


@pytest.mark.slow
def test_killed_with_worker_processes_a_split_resumes_and_no_process_stays(
    tmp_path: Path, source: Path, reference: dict[str, bytes]
):
    chance = random.Random(3)
    for kill in range(3):
        dest = tmp_path / str(kill)
        process = start_with_processes(source, dest)
        wait_until(lambda dest=dest: num_receipts(dest))
        time.sleep(chance.uniform(0, 0.2))
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        end(process)
        psutil.wait_procs(family, timeout=HANG_SECONDS)
        assert not [child for child in family if child.is_running()]
        finish(source, dest, reference)


def start_with_threads(source: Path, dest: Path, **options: Any) -> subprocess.Popen[str]:
    return start("split", source, dest, *SETTINGS, "--workers", "1", **options)


def start_with_processes(source: Path, dest: Path, **options: Any) -> subprocess.Popen[str]:
    """Worker processes are for plans that encode a lot; here they are wanted for a small one."""
    words = ["split", source, dest, *SETTINGS, "--workers", "2"]
    first = "from engine.executors import choosing; choosing._is_worth_processes = lambda _: True"
    return start(*words, first=first, **options)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_ctrl_c_ends_a_split_soon_and_it_resumes(
    tmp_path: Path, source: Path, reference: dict[str, bytes], processes: bool
):
    for attempt in range(5):  # it may be done before the signal arrives
        dest = tmp_path / str(attempt)
        begin = start_with_processes if processes else start_with_threads
        process = begin(source, dest, start_new_session=True)
        wait_until(lambda dest=dest: num_receipts(dest))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody
        num_before = num_receipts(dest)
        ended = end(process)
        if ended.code:
            # What was being written may be finished, and nothing else is begun.
            assert num_receipts(dest) <= num_before + 4
            break
    assert ended.code == 130, ended.err
    assert ended.err.splitlines()[-1] == RESUMABLE
    finish(source, dest, reference)


# -- crashes after every step --------------------------------------------------------------------


class Crash(BaseException):
    """The process dies here: nothing behind it happens."""


class Mortal:
    """Makes the n-th step of storing fail for good, before or after it took effect."""

    STEPS = (
        (LocalStorage, "put"),
        (LocalStorage, "put_if_absent"),
        (LocalStorage, "replace"),
        (LocalStorage, "remove"),
        (LocalStorage, "remove_leftovers"),
        (LocalStorage, "create"),
        (LocalSink, "commit"),
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_at: int | None = None
        self.dies_before = False
        self.step = 0
        for owner, name in self.STEPS:
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))
        # A dead process tidies nothing up.
        abort = LocalSink.abort
        monkeypatch.setattr(LocalSink, "abort", lambda sink: None if self.dead else abort(sink))

    @property
    def dead(self) -> bool:
        return self.dies_at is not None and self.step > self.dies_at

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            now, self.step = self.step, self.step + 1
            if self.dead and (self.dies_before or now != self.dies_at):
                raise Crash
            result = method(*arguments, **options)
            if self.dead:
                raise Crash
            return result

        return wrapped


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mortal]:
    monkeypatch.setattr(splitter, "run_parts", one_by_one)
    return Mortal(monkeypatch)


def lives(source: Path, dest: Path, **settings: Any) -> Manifest | None:
    try:
        return engine.split(str(source), str(dest), **settings).manifest
    except Crash:
        return None


def check_readers_see_only_whole_parts(dest: Path, reference: dict[str, bytes]) -> None:
    for name, data in parts_contents(dest).items():
        assert data == reference[name]
    if (dest / "_evensplit/manifest.json").exists():
        assert contents(dest).keys() >= reference.keys()


@pytest.mark.parametrize("dies_before", [True, False], ids=["before", "after"])
def test_dying_at_any_step_is_safe(tmp_path: Path, mortal: Mortal, dies_before: bool):
    source = write_source(tmp_path / "source.parquet", num_rows=900, row_group_size=200)
    assert lives(source, tmp_path / "reference", parts=3)
    num_steps, reference = mortal.step, contents(tmp_path / "reference")
    assert num_steps >= 3 * 3 + 5
    mortal.dies_before = dies_before
    for step in range(0, num_steps, 2):  # after one step is before the next: all, in two tests
        dest = tmp_path / f"dest-{step}"
        mortal.step, mortal.dies_at = 0, step
        assert lives(source, dest, parts=3) is None
        check_readers_see_only_whole_parts(dest, reference)
        before = committed(dest) if dest.exists() else {}
        mortal.dies_at = None
        assert lives(source, dest, parts=3)
        assert contents(dest) == reference
        assert {path: committed(dest)[path] for path in before} == before
        assert leftovers(dest) == []


@pytest.mark.parametrize("dies_before", [True, False], ids=["before", "after"])
def test_dying_at_any_step_of_an_overwrite_is_safe(
    tmp_path: Path, mortal: Mortal, dies_before: bool
):
    source = write_source(tmp_path / "source.parquet", num_rows=900, row_group_size=200)
    assert lives(source, tmp_path / "reference", parts=2)
    reference = contents(tmp_path / "reference")
    mortal.dies_before = dies_before
    step, died = 0, True
    while died:
        dest = tmp_path / f"dest-{step}"
        mortal.dies_at = None
        assert lives(source, dest, parts=3)
        (dest / "mine.txt").write_text("mine")
        mortal.step, mortal.dies_at = 0, step
        died = lives(source, dest, parts=2, overwrite=True) is None
        assert (dest / "mine.txt").exists()
        mortal.dies_at = None
        assert lives(source, dest, parts=2, overwrite=True)
        (dest / "mine.txt").unlink()
        assert contents(dest) == reference
        assert leftovers(dest) == []
        step += 2  # after one step is before the next: all, in two tests
    assert step > 10


@pytest.mark.ways(1)
@pytest.mark.parametrize("dies_before", [True, False], ids=["before", "after"])
def test_dying_at_any_step_of_a_plan_made_again_is_safe(
    tmp_path: Path, mortal: Mortal, dies_before: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sampling, "_MAX_MADE_PAGES", 64)  # 160 are too many to look at all
    source = write_trap(tmp_path / "s.parquet", num_honest=20, num_rows=40, value_bytes=500)
    wish: dict[str, Any] = {"target_size": 240_000, "codec": "zstd", "fsync": False}
    first = engine.plan(str(source), target_size=240_000, codec="zstd")
    assert lives(source, tmp_path / "reference", **wish)
    num_steps, reference = mortal.step, contents(tmp_path / "reference")
    num_parts = len(parts_of(tmp_path / "reference"))
    assert num_parts > len(first.parts) > 2  # of which some were there, and were removed
    assert num_steps > 3 * num_parts + len(first.parts)
    mortal.dies_before = dies_before
    for step in range(0, num_steps, 2):  # after one step is before the next: all, in two tests
        dest = tmp_path / f"dest-{step}"
        mortal.step, mortal.dies_at = 0, step
        assert lives(source, dest, **wish) is None
        mortal.dies_at = None
        assert lives(source, dest, **wish)
        assert contents(dest) == reference
        assert leftovers(dest) == []


# -- two runs at once ----------------------------------------------------------------------------


def test_a_second_run_at_the_same_time_is_refused_and_the_first_goes_on(
    tmp_path: Path, source: Path, reference: dict[str, bytes]
):
    dest = tmp_path / "parts"
    store, folder = open_storage(str(dest / "_evensplit"))
    with store.lock(folder):
        ended = run("split", source, dest, *SETTINGS)
        assert ended.code == 5
        assert ended.err.splitlines()[-1].startswith("evensplit: retry.locked: another run")
        assert not parts_of(dest)
        with pytest.raises(Locked):
            engine.split(str(source), str(dest), parts=20)
    finish(source, dest, reference)


def test_a_worker_that_outlives_its_run_does_not_publish_into_another_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = write_source(tmp_path / "source.parquet", num_rows=900)
    dest = tmp_path / "parts"
    tasks: list[work.PartTask] = []

    def keep(found: Any, *arguments: Any, **options: Any) -> None:
        tasks.extend(found)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(splitter, "run_parts", keep)
        assert lives(source, dest, parts=3) is None
    engine.split(str(source), str(dest), parts=2, overwrite=True)
    before = contents(dest)
    with pytest.raises(engine.EvensplitError, match="not any more"):
        work.write_part(tasks[0])
    assert contents(dest) == before
