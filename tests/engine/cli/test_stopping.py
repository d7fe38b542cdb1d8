"""Told to stop, a command says so and ends: nothing temporary stays, nor any process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.cli.stopping import RESUMABLE, STOPPING
from tests.engine.running import HANG_SECONDS, REPOSITORY, end, run, start, write_source

SIGNALS = [signal.SIGINT, signal.SIGTERM]
# What is there, and how often at most, when a split is stopped.
MOMENTS = [("plan.json", 1), (".part*.tmp", 3), ("0*.json", 9)]
SETTINGS = ("--parts", "16")
WITH_PROCESSES = (
    "from engine.executors import choosing; choosing._is_worth_processes = lambda _: True"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stopping") / "source.parquet"
    return write_source(path, num_rows=400_000, row_group_size=37_000, data_page_size=64 << 10)


@pytest.fixture(scope="module")
def finished(source: Path) -> Path:
    assert run("split", source, source.parent / "finished", *SETTINGS).code == 0
    return source.parent / "finished"


def temporary(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def wait_for_files(folder: Path, pattern: str, number: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while len(list(folder.rglob(pattern))) < number and process.poll() is None:
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


def stop(process: subprocess.Popen[str], number: signal.Signals, sentence: str = STOPPING) -> int:
    """Stop a command in the middle of its work; its exit code, or 0 if it had done all before."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if number == signal.SIGINT and process.poll() is None:
        os.killpg(process.pid, number)  # as a terminal does: to everybody
    else:
        process.send_signal(number)
    ended = end(process)
    if ended.code:
        assert ended.code == 128 + number, ended.err
        assert ended.err.splitlines()[-1] == sentence
    _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert not alive
    return ended.code


@pytest.mark.ways(2)
@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("first", ["", WITH_PROCESSES], ids=["threads", "processes"])
def test_a_split_leaves_nothing_temporary_at_any_moment(
    tmp_path: Path, source: Path, first: str, number: signal.Signals
):
    chance = random.Random(f"{first}{number}")
    codes = []
    for pattern, most in MOMENTS:
        dest = tmp_path / pattern.strip("*.")
        words = ("split", source, dest, *SETTINGS, "--workers", "2", "--log-format", "text")[:-2]
        process = start(*words, first=first, start_new_session=True)
        wait_for_files(dest, pattern, chance.randint(1, most), process)
        time.sleep(chance.uniform(0, 0.02))
        codes.append(stop(process, number, RESUMABLE))
        assert temporary(dest) == []
        assert run("split", source, dest, *SETTINGS).code == 0
    assert any(codes)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("words", [["plan"], ["verify"], ["profile"]], ids=" ".join)
def test_what_writes_nothing_stops_too(
    source: Path, finished: Path, words: list[str], number: signal.Signals
):
    place = finished if words == ["verify"] else source
    first = (
        "import threading\n"
        "from engine.storage import local\n"
        "def stuck(*arguments):\n"
        "    print('reading', flush=True)\n"
        "    threading.Event().wait()\n"
        "local.LocalSource.read = stuck\n"
    )
    process = start(*words, place, first=first, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    assert stop(process, number) == 128 + number


def script(text: str) -> subprocess.Popen[str]:
    """Start a script that watches signals, and wait for its first line."""
    head = "import os, signal, sys, threading, time\nfrom engine import endings\n"
    head += "from engine.cli.stopping import watch_signals\nwatch_signals()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_what_is_to_be_unwound_is(number: signal.Signals):
    process = script(
        "with endings.unwound():\n"
        "    try:\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(1000)\n"
        "    finally:\n"
        "        print('unwound', flush=True)\n"
        "threading.Event().wait()\n"
    )
    process.send_signal(number)
    ended = end(process)
    assert (ended.code, ended.out) == (128 + number, "unwound\n")
    assert ended.err == f"{STOPPING}\n"


def test_a_call_that_the_signal_did_not_interrupt_is():
    """Of another thread's signal a call hears nothing, as if it had begun right after its own."""
    process = script(
        "with endings.unwound():\n"
        "    try:\n"
        "        threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(1000)\n"
        "    finally:\n"
        "        print('unwound', flush=True)\n"
    )
    ended = end(process)
    assert (ended.code, ended.out) == (128 + signal.SIGTERM, "unwound\n")


def test_a_second_signal_ends_what_hangs_as_it_is_unwound():
    process = script(
        "with endings.unwound():\n"
        "    try:\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(1000)\n"
        "    finally:\n"
        "        print('unwinding', flush=True)\n"
        "        threading.Event().wait()\n"
    )
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "unwinding\n"
    process.send_signal(signal.SIGINT)
    assert end(process).code == 130


def test_a_signal_is_heard_while_the_main_thread_is_in_a_long_call():
    process = script(
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    libc.usleep(10**6)\n"
        "    libc.raise_ = None\n"
    )
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 143


def test_what_hangs_as_it_is_put_right_is_not_waited_for_and_the_rest_is_put_right(tmp_path: Path):
    process = script(
        "from functools import partial\n"
        f"path = {str(tmp_path / 'x')!r}\n"
        "hang, fail = threading.Event().wait, partial(divmod, 1, 0)\n"
        "remove = partial(os.unlink, path)\n"
        "with endings.put_right(hang), endings.put_right(remove), endings.put_right(fail):\n"
        "    open(path, 'w').close()\n"
        "    print('begun', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 143
    assert not (tmp_path / "x").exists()


def test_processes_that_are_started_again_when_they_end_do_not_outlive_it():
    """As Dask starts its workers again: they would hold the output, which then has no end."""
    process = script(
        "import multiprocessing\n"
        "start = multiprocessing.get_context('spawn').Process\n"
        "def always():\n"
        "    while True:\n"
        "        one = start(target=time.sleep, args=(1000,))\n"
        "        one.start()\n"
        "        one.join()\n"
        "for _ in range(3):\n"
        "    threading.Thread(target=always, daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "print('begun', flush=True)\n"
        "threading.Event().wait()\n"
    )
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 143


def test_a_signal_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = script("print('begun', flush=True)\ntime.sleep(0.2)\nprint('done')\n")
    finally:
        signal.signal(signal.SIGINT, before)
    process.send_signal(signal.SIGINT)
    ended = end(process)
    assert (ended.code, ended.out, ended.err) == (0, "done\n", "")


def test_a_demo_that_is_stopped_removes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = start("demo", "--size", "100MB", start_new_session=True)
    wait_for_files(tmp_path, "sample.parquet", 1, process)
    assert stop(process, signal.SIGTERM) == 143
    assert list(tmp_path.iterdir()) == []
