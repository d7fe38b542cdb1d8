"""Threads of this process: in which order they begin parts, when no other, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask.callbacks import Callback

from engine import memory
from engine.errors import SourceChanged
from engine.executors import Resources, run_parts, threads
from engine.model import Receipt
from engine.work import PartTask
from tests.engine.executors.clusters import NUM_PARTS
from tests.engine.executors.tasks import tasks_of
from tests.engine.running import HANG_SECONDS, REPOSITORY

MIB = 1 << 20


@pytest.fixture
def tasks(tmp_path: Path, source: Path) -> list[PartTask]:
    return tasks_of(source, tmp_path / "parts")


def receipt_of(task: PartTask) -> Receipt:
    return Receipt(task.part.index, task.part.name, 0, 0, 0, 0, 0, "")


def write_with(
    monkeypatch: pytest.MonkeyPatch,
    tasks: list[PartTask],
    write: Callable[[PartTask], Receipt],
    num_workers: int = 2,
    memory_bytes: int = MIB << 10,
) -> list[int]:
    """Write parts by what stands in for ``write_part``; return the places of those told."""
    monkeypatch.setattr(threads, "write_part", write)
    told: list[int] = []
    resources = Resources("threads", num_workers, memory_bytes)
    run_parts(tasks, resources, on_receipt=lambda receipt: told.append(receipt.index))
    return told


def test_parts_begin_in_their_order(monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]):
    begun: list[int] = []

    def write(task: PartTask) -> Receipt:
        begun.append(task.part.index)
        return receipt_of(task)

    assert write_with(monkeypatch, tasks, write, num_workers=1) == list(range(NUM_PARTS))
    assert begun == list(range(NUM_PARTS))


def test_as_many_parts_are_written_at_once_as_there_are_workers(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    all_there = threading.Barrier(3)
    lock = threading.Lock()
    now = most = 0

    def write(task: PartTask) -> Receipt:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        all_there.wait(HANG_SECONDS)
        with lock:
            now -= 1
        return receipt_of(task)

    write_with(monkeypatch, tasks, write, num_workers=3)
    assert most == 3


def test_a_part_that_needs_more_memory_than_there_is_is_written_alone(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    at_work = threading.Lock()

    def write(task: PartTask) -> Receipt:
        assert at_work.acquire(blocking=False)
        time.sleep(0.01)
        at_work.release()
        return receipt_of(task)

    told = write_with(monkeypatch, tasks, write, memory_bytes=0)
    assert told == list(range(NUM_PARTS))


def test_fewer_parts_are_written_at_once_while_memory_shrinks(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    left_bytes = MIB << 10
    monkeypatch.setattr(memory, "budget", lambda limit: SimpleNamespace(bytes=left_bytes))
    lock = threading.Lock()
    now = 0
    at_once: list[int] = []  # as each part began

    def write(task: PartTask) -> Receipt:
        nonlocal now
        with lock:
            now += 1
            at_once.append(now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return receipt_of(task)

    monkeypatch.setattr(threads, "write_part", write)

    def on_receipt(receipt: Receipt) -> None:
        nonlocal left_bytes
        if receipt.index == 3:
            left_bytes = 0

    run_parts(tasks, Resources("threads", 2, MIB << 10), on_receipt=on_receipt)
    assert max(at_once) == 2
    # Two may have begun before the fourth was told.
    assert set(at_once[6:]) == {1}
    assert len(at_once) == NUM_PARTS


def test_an_error_begins_no_other_part_and_those_begun_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    both = threading.Barrier(2)
    failed = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def write(task: PartTask) -> Receipt:
        begun.append(task.part.index)
        both.wait(HANG_SECONDS)
        if task.part.index == 0:
            failed.set()
            raise SourceChanged("another file")
        assert failed.wait(HANG_SECONDS)
        time.sleep(0.1)
        ended.append(task.part.index)
        return receipt_of(task)

    with pytest.raises(SourceChanged):
        write_with(monkeypatch, tasks, write)
    assert sorted(begun) == [0, 1]
    assert ended == [1]


def test_what_a_caller_raises_on_a_receipt_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    monkeypatch.setattr(threads, "write_part", receipt_of)

    def on_receipt(receipt: Receipt) -> None:
        raise SourceChanged("enough")

    with pytest.raises(SourceChanged, match="enough"):
        run_parts(tasks, Resources("threads", 2, MIB << 10), on_receipt=on_receipt)


def test_threads_are_not_interrupted_themselves(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    blocked: list[bool] = []

    def write(task: PartTask) -> Receipt:
        blocked.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return receipt_of(task)

    write_with(monkeypatch, tasks, write)
    assert blocked == [True] * NUM_PARTS
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_script_that_is_interrupted_ends_although_parts_are_being_written(
    tmp_path: Path, source: Path
):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, time, engine\n"
        "from engine.executors import threads\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may ignore it
        "def stuck(task):\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(1000)\n"
        "threads.write_part = stuck\n"
        f"engine.split({str(source)!r}, {str(tmp_path / 'parts')!r}, parts=4, workers=1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=HANG_SECONDS)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_what_a_user_has_set_for_graphs_of_dask_is_not_for_ours(
    monkeypatch: pytest.MonkeyPatch, tasks: list[PartTask]
):
    seen: list[Any] = []
    with Callback(pretask=lambda *told: seen.append(told)):
        told = write_with(monkeypatch, tasks, receipt_of)
    assert sorted(told) == list(range(NUM_PARTS))
    assert seen == []
