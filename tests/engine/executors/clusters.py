"""A Dask cluster as an operator starts it: processes of their own, on one host or on several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from distributed import Client

from engine.executors.resources import RESOURCE
from tests.engine.running import HANG_SECONDS, REPOSITORY

NUM_PARTS = 12  # of the split that the suites here look at

# A worker that loads this writes slowly, so that something can happen to it meanwhile. Dask runs
# it more than once.
SLOW = """
import os, time
from engine.storage.local import LocalSink
def slow_commit(sink):
    open(os.environ["EVENSPLIT_TEST_LOG"] + f"/{os.getpid()}-{time.monotonic_ns()}", "x").close()
    time.sleep(0.4)
    LocalSink.quick_commit(sink)
if not hasattr(LocalSink, "quick_commit"):
    LocalSink.quick_commit, LocalSink.commit = LocalSink.commit, slow_commit
"""


@dataclass(frozen=True)
class Host:
    """Where processes of a cluster run: their address, and what a command there begins with."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


HERE = Host()


class Cluster:
    """A scheduler and its workers, each a process of its own, as an operator starts them."""

    def __init__(
        self, folder: Path, host: Host = HERE, port: int = 0, *, dashboard: bool = True
    ) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.mkdir(parents=True, exist_ok=True)
        self._host = host
        self._port = port
        self._dashboard = "--dashboard" if dashboard else "--no-dashboard"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.clients: list[subprocess.Popen[str]] = []  # what else to end with it
        self.start_scheduler()

    def start_scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            self._host, "scheduler", "--host", self._host.address, "--port", str(self._port),
            "--dashboard-address", f"{self._host.address}:0", self._dashboard,
            "--scheduler-file", file,
        )  # fmt: skip
        wait_until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(
        self,
        preload: str = "",
        memory_bytes: int | None = None,
        prefix: tuple[str, ...] = (),
        *,
        host: Host = HERE,
        num_threads: int = 2,
        limit_bytes: int | None = None,
        nanny: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a worker; ``memory_bytes`` is its resource, ``limit_bytes`` Dask's own limit."""
        words: list[str | Path] = [
            "worker", self.address, "--host", host.address, "--nthreads", str(num_threads),
            "--nanny" if nanny else "--no-nanny", "--no-dashboard",
            "--local-directory", self.folder, "--name", str(len(self.workers)),
        ]  # fmt: skip
        if preload:
            words += ["--preload", preload]
        if memory_bytes is not None:
            words += ["--resources", f"{RESOURCE}={memory_bytes}"]
        if limit_bytes is not None:
            words += ["--memory-limit", str(limit_bytes)]
        worker = self._start(host, *words, prefix=prefix)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        with Client(self.address) as client:
            client.wait_for_workers(len(self.workers), timeout=HANG_SECONDS)

    def wait_for_registrations(self) -> None:
        """Wait for workers on hosts that this process cannot reach."""
        wait_until(lambda: self.errors().count("Registered to:") >= len(self.workers))

    def _start(
        self, host: Host, *words: str | Path, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr").open("ab") as stderr:
            return subprocess.Popen(
                [*host.prefix, *prefix, sys.executable, "-m", "dask", *map(str, words)],
                env=os.environ
                | {"PYTHONPATH": str(REPOSITORY), "EVENSPLIT_TEST_LOG": str(self.log)},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=self.folder,
            )

    def commits_begun(self, worker: subprocess.Popen[bytes]) -> int:
        return len(self.commit_times(worker))

    def commit_times(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """When a worker's commits began, in order; nanoseconds."""
        return sorted(int(path.name.split("-")[1]) for path in self.log.glob(f"{worker.pid}-*"))

    def errors(self) -> str:
        """What all processes have said so far."""
        return (self.folder / "stderr").read_text()

    def stop(self) -> None:
        for process in (*self.clients, *self.workers, self.scheduler):
            kill(process)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process of a cluster with all that it has started."""
    if process.poll() is None:
        for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(True)):
            each.kill()
    process.wait()


def wait_until(condition: Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
