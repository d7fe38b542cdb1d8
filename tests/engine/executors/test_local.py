"""Worker processes of this machine, and what may go wrong with them."""

from __future__ import annotations

import gc
import logging
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from distributed import Client, Security, SpecCluster
from distributed.comm import Comm
from distributed.core import Server
from distributed.utils import silence_logging_cmgr

from engine.executors import Resources, run_parts
from engine.executors.clients import client_for
from engine.executors.local import local_processes
from engine.model import Receipt
from tests.engine.executors.tasks import tasks_of
from tests.engine.running import HANG_SECONDS, REPOSITORY, parts_contents, read_parts

pytestmark = pytest.mark.slow

MIB = 1 << 20


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def test_a_script_without_main_guard_may_use_worker_processes(tmp_path: Path, source: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('run')\n"
        "import engine, engine.executors.choosing\n"
        "engine.executors.choosing._is_worth_processes = lambda _: True\n"
        f"engine.split({str(source)!r}, {str(tmp_path / 'parts')!r}, parts=4, workers=2)\n"
        "print(__file__)\n"
    )
    ended = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=True,
    )
    assert ended.stdout.split() == ["run", str(script)]
    assert ended.stderr == ""
    assert read_parts(tmp_path / "parts").equals(pq.read_table(source))


def test_a_worker_process_that_is_killed_is_replaced(
    tmp_path: Path, source: Path, reference: dict[str, bytes]
):
    mine = psutil.Process()
    before = set(mine.children(recursive=True))
    killed: list[int] = []

    def kill_one(receipt: Receipt) -> None:
        if not killed:
            children = set(mine.children(recursive=True)) - before
            worker = next(child for child in children if is_worker(child))
            killed.append(worker.pid)
            worker.kill()

    tasks = tasks_of(source, tmp_path / "parts")
    run_parts(tasks, Resources("processes", 2, 512 * MIB), on_receipt=kill_one)
    assert killed
    assert parts_contents(tmp_path / "parts") == reference


def my_workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_worker(child)]


@pytest.mark.parametrize("left", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}])
def test_worker_processes_keep_memory_that_they_free(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Whatever another cluster of Dask has left in the environment, which stays as it is."""

    def num_page_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(100):
            assert len(b"x" * (4 << 20))
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    for name, content in left.items():
        monkeypatch.setenv(name, content)
    environment = dict(os.environ)
    with client_for(Resources("processes", 1, 512 * MIB)) as client:
        (found,) = client.run(num_page_faults).values()
    assert found < 10 * 1024  # 100 * 1024 if each were taken anew
    assert dict(os.environ) == environment


def of_dask() -> list[object]:
    gc.collect()
    return [it for it in gc.get_objects() if isinstance(it, (Server, Comm, SpecCluster))]


def test_nothing_of_dask_stays_when_processes_have_ended():
    paths, before = list(sys.path), of_dask()  # what clusters of other tests have left is theirs
    with client_for(Resources("processes", 1, 512 * MIB)):
        pass
    assert [it for it in of_dask() if not any(it is other for other in before)] == []
    assert sys.path == paths


@pytest.mark.parametrize("other", [None, Security.temporary()], ids=["plain", "another-key"])
def test_who_has_not_the_key_of_a_run_is_not_let_in(other: Security | None):
    with local_processes(Resources("processes", 1, 512 * MIB)) as processes:
        _, _, place = processes.scheduler_address.partition("://")
        address = f"{'tcp' if other is None else 'tls'}://{place}"
        with (
            silence_logging_cmgr(logging.CRITICAL),
            pytest.raises(OSError, match=r"TLS|Connection|Timed out"),
        ):
            Client(address, timeout=3, security=other)


def test_the_folder_of_scratch_files_that_users_share_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where another user may have put a link to a file of ours, to have Dask empty it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    temporary = tmp_path / "tmp"
    shared = temporary / "dask-scratch-space"
    shared.mkdir(parents=True)
    (shared / "global.lock").symlink_to(victim)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with client_for(Resources("processes", 1, 512 * MIB)):
        (private,) = set(temporary.iterdir()) - {shared}
        assert private.stat().st_mode & 0o77 == 0
    assert victim.read_text() == "precious"
    assert list(temporary.iterdir()) == [shared]


def test_a_worker_that_is_ended_cancels_its_uploads():
    def teardowns(dask_worker: Any) -> list[str]:
        return [item.name for item in dask_worker.preloads if hasattr(item.module, "dask_teardown")]

    with client_for(Resources("processes", 1, 512 * MIB)) as client:
        (found,) = client.run(teardowns).values()
    assert found == ["engine.executors.ending"]
