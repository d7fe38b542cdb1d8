"""One suite over threads, local processes and a real cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from distributed import Client, LocalCluster

from engine import memory
from engine.errors import OverTarget, StorageFailed
from engine.executors import Resources, futures, growth, run_parts, threads
from engine.executors import run as runner
from engine.executors.resources import MAX_TRIES, RESOURCE
from engine.model import Receipt
from engine.storage.local import LocalSink
from engine.work import PartTask, in_the_making
from tests.engine.executors.clusters import NUM_PARTS, Cluster
from tests.engine.executors.tasks import tasks_of
from tests.engine.running import HANG_SECONDS, parts_contents

pytestmark = pytest.mark.slow

MIB = 1 << 20


@pytest.fixture(params=["threads", "processes", "cluster"])
def resources(request: pytest.FixtureRequest) -> Resources:
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.add_worker()
        cluster.add_worker()
        return Resources("cluster", 0, 0, cluster.address)
    return Resources(request.param, 2, 512 * MIB)


@contextmanager
def here(kind: str, num_threads: int, memory_bytes: int) -> Iterator[Resources]:
    """Resources in this process, where ``write_part`` may be stood in for."""
    if kind == "threads":
        yield Resources("threads", num_threads, memory_bytes)
        return
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=num_threads, processes=False, memory_limit=None,
            resources={RESOURCE: memory_bytes}, dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield Resources("cluster", 0, 0, client=client)


kinds_here = pytest.mark.parametrize("kind", ["threads", "futures"])


def stand_in(monkeypatch: pytest.MonkeyPatch, write: Callable[[PartTask], Receipt]) -> None:
    for module in (futures, threads):
        monkeypatch.setattr(module, "write_part", write)


def test_every_part_is_written_and_told_once_in_the_callers_thread(
    tmp_path: Path, source: Path, reference: dict[str, bytes], resources: Resources
):
    receipts: list[Receipt] = []
    told_in = set()

    def on_receipt(receipt: Receipt) -> None:
        receipts.append(receipt)
        told_in.add(threading.current_thread())

    run_parts(tasks_of(source, tmp_path / "parts"), resources, on_receipt=on_receipt)
    assert sorted(receipt.index for receipt in receipts) == list(range(NUM_PARTS))
    assert told_in == {threading.current_thread()}
    assert parts_contents(tmp_path / "parts") == reference


def test_an_error_of_a_part_comes_through_and_no_part_is_published(
    tmp_path: Path, source: Path, resources: Resources
):
    tasks = [replace(task, target_bytes=1000) for task in tasks_of(source, tmp_path / "parts")]
    with pytest.raises(OverTarget, match="part-000"):
        run_parts(tasks, resources, on_receipt=lambda receipt: None)
    assert parts_contents(tmp_path / "parts") == {}


@kinds_here
def test_bytes_are_told_while_a_part_is_written(
    kind: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    """No part is committed before it was told that some bytes are there, but no more than that."""
    monkeypatch.setattr(growth, "TELL_SECONDS", 0.01)
    tasks = tasks_of(source, tmp_path / "parts")
    most_bytes = sum(task.part.predicted_bytes for task in tasks) + NUM_PARTS * 1000
    commit, is_told, told = LocalSink.commit, threading.Event(), []

    def commit_once_told(sink: LocalSink) -> None:
        assert is_told.wait(HANG_SECONDS)
        commit(sink)

    def on_growth(num_bytes: int) -> None:
        told.append(num_bytes)
        if num_bytes:
            is_told.set()

    monkeypatch.setattr(LocalSink, "commit", commit_once_told)
    with here(kind, 2, MIB << 10) as resources:
        run_parts(tasks, resources, on_receipt=lambda receipt: None, on_growth=on_growth)
    assert 0 < max(told) <= most_bytes
    assert in_the_making(tasks[0].destination) == {}


class Late:
    """Stands in for ``write_part``: the first part ends only behind the second."""

    write_part = staticmethod(futures.write_part)
    second_ended: ClassVar[threading.Event]

    @classmethod
    def write(cls, task: PartTask) -> Receipt:
        if task.part.index == 0:
            assert cls.second_ended.wait(HANG_SECONDS)
        try:
            return cls.write_part(task)
        finally:
            if task.part.index == 1:
                cls.second_ended.set()


@kinds_here
def test_the_first_part_over_the_target_is_told_whichever_ended_first(
    kind: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    """The next plan starts from it, and must not depend on chance."""
    stand_in(monkeypatch, Late.write)
    Late.second_ended = threading.Event()
    tasks = [replace(task, target_bytes=1000) for task in tasks_of(source, tmp_path / "parts")]
    with here(kind, 2, MIB << 10) as resources, pytest.raises(OverTarget) as caught:
        run_parts(tasks, resources, on_receipt=lambda receipt: None)
    assert caught.value.index == 0
    assert caught.value.size_bytes > 1000


def test_no_tasks_start_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "write_in_threads", None)
    run_parts([], Resources("threads", 1, MIB), on_receipt=lambda receipt: None)


class Flaky:
    """Stands in for ``write_part``; on the class, as what Dask is given travels as a copy."""

    write_part = staticmethod(futures.write_part)
    tries: ClassVar[dict[str, int]] = {}
    num_failures = 2

    @classmethod
    def write(cls, task: PartTask) -> Receipt:
        name = task.part.name
        cls.tries[name] = cls.tries.get(name, 0) + 1
        if cls.tries[name] <= cls.num_failures:
            raise StorageFailed("the network was away")
        return cls.write_part(task)


@kinds_here
def test_an_error_that_may_pass_is_tried_again_but_not_forever(
    kind: str, tmp_path: Path, source: Path, reference: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    stand_in(monkeypatch, Flaky.write)
    Flaky.tries.clear()
    tasks = tasks_of(source, tmp_path / "parts")
    with here(kind, 2, 512 * MIB) as resources:
        run_parts(tasks, resources, on_receipt=lambda receipt: None)
        assert parts_contents(tmp_path / "parts") == reference
        Flaky.tries.clear()
        monkeypatch.setattr(Flaky, "num_failures", 100)
        with pytest.raises(StorageFailed, match="away"):
            run_parts(tasks[:1], resources, on_receipt=lambda receipt: None)
    assert Flaky.tries == {tasks[0].part.name: MAX_TRIES}


class Measured:
    """Stands in for ``write_part`` and adds up what parts need at the same time."""

    lock = threading.Lock()
    now: ClassVar[int] = 0
    most: ClassVar[int] = 0

    @classmethod
    def write(cls, task: PartTask) -> Receipt:
        cls.change(task.part.memory_bytes)
        time.sleep(0.05)
        cls.change(-task.part.memory_bytes)
        return Receipt(task.part.index, task.part.name, 0, 0, 0, 0, 0, "")

    @classmethod
    def change(cls, num_bytes: int) -> None:
        with cls.lock:
            cls.now += num_bytes
            cls.most = max(cls.most, cls.now)


@kinds_here
def test_parts_at_once_never_need_more_memory_than_there_is(
    kind: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    stand_in(monkeypatch, Measured.write)
    Measured.most = 0
    needs = (30 * MIB, 50 * MIB, 90 * MIB)
    tasks = [
        replace(task, part=replace(task.part, memory_bytes=needs[i % 3]))
        for i, task in enumerate(tasks_of(source, tmp_path / "parts"))
    ]
    with here(kind, 8, 100 * MIB) as resources:
        run_parts(tasks, resources, on_receipt=lambda receipt: None)
    assert 50 * MIB < Measured.most <= 100 * MIB


def test_processes_are_handed_fewer_parts_while_memory_shrinks(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    tasks = tasks_of(source, tmp_path / "parts")
    needed = max(task.part.memory_bytes for task in tasks)
    left = [needed * 4]
    most = {True: 0, False: 0}
    monkeypatch.setattr(memory, "budget", lambda limit: SimpleNamespace(bytes=left[0]))
    quick_submit = futures._Run._submit

    def submit(run, task, tries):
        future = quick_submit(run, task, tries)
        plenty = left[0] > 0
        most[plenty] = max(most[plenty], len(run._in_flight))
        return future

    monkeypatch.setattr(futures._Run, "_submit", submit)
    receipts: list[Receipt] = []

    def on_receipt(receipt: Receipt) -> None:
        receipts.append(receipt)
        if len(receipts) == 4:
            left[0] = 0

    run_parts(tasks, Resources("processes", 2, needed * 8), on_receipt=on_receipt)
    assert len(receipts) == len(tasks)
    assert most[True] == 3  # one waits, so that no thread idles
    assert most[False] <= 1
