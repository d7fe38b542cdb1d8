"""Parts as Dask futures: in this process, in local processes, or on a running cluster.

One task a part. Each declares its projected memory as a Dask resource, and each worker of ours
offers its share of the budget, so no worker is ever asked for more than it has. A worker that dies
loses its parts to the others; an error that may pass is tried again a few times; any other error
cancels what has not begun. What has been committed stays so.

Not covered: how much memory there is (:mod:`engine.memory`) and what a part does
(:mod:`engine.work`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import ClusterMismatch, EvensplitError, RetryError, WorkersLost
from engine.model import Receipt
from engine.version import __version__
from engine.work import PartTask, write_part

if TYPE_CHECKING:
    from distributed import Client, Future

RESOURCE = "evensplit_memory_bytes"
MOST_TRIES = 3
CONNECT_SECONDS = 20
WORKER_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Resources:
    """Where parts run and with what.

    Attributes:
        kind: ``threads`` of this process, local ``processes``, or the ``cluster`` at ``scheduler``.
        num_workers: parts at once (threads or processes); a cluster decides itself.
        memory_bytes: for all of them together.
        scheduler: address of a cluster's scheduler.
    """

    kind: Literal["threads", "processes", "cluster"]
    num_workers: int
    memory_bytes: int
    scheduler: str | None = None


def run_parts(
    tasks: Sequence[PartTask],
    resources: Resources,
    *,
    on_receipt: Callable[[Receipt], None],
    on_dashboard: Callable[[str], None] = lambda link: None,
) -> None:
    """Write all parts; call ``on_receipt`` for each, in this thread, as it is committed.

    Raises:
        ClusterMismatch: a worker has another version of evensplit, or does not see the files.
        WorkersLost: the scheduler, or the same part's workers again and again, were lost.
        EvensplitError: whatever a part raised; parts not yet begun are cancelled.
    """
    if not tasks:
        return
    with _client(resources) as client:
        if resources.kind == "cluster":
            _check_workers(client, tasks[0])
        if client.dashboard_link and resources.kind == "cluster":
            on_dashboard(client.dashboard_link)
        _Run(client, tasks, on_receipt).finish()


class _Run:
    """One run: every part in flight has exactly one record, by its future's key."""

    def __init__(
        self, client: Client, tasks: Sequence[PartTask], on_receipt: Callable[[Receipt], None]
    ) -> None:
        from distributed import as_completed

        self._client = client
        self._on_receipt = on_receipt
        self._limited = _offers_resource(client)
        self._in_flight: dict[str, tuple[PartTask, int]] = {}
        self._completed = as_completed([self._submit(task, 1) for task in tasks])

    def finish(self) -> None:
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        try:
            for future in self._completed:
                task, tries = self._in_flight.pop(future.key)
                try:
                    receipt = future.result()
                except RetryError:
                    if tries == MOST_TRIES:
                        raise
                    self._completed.add(self._submit(task, tries + 1))
                    continue
                self._on_receipt(receipt)
                future.release()
        except KilledWorker as error:
            raise WorkersLost(
                f"workers died again and again while writing {error.task}; likely for want of "
                "memory: lower --memory or --workers, then run the same command again"
            ) from error
        except (CancelledError, CommClosedError, TimeoutError, OSError) as error:
            raise WorkersLost(
                "the connection to the Dask scheduler was lost; run the same command again: "
                "finished parts are kept"
            ) from error
        except BaseException:
            self._completed.clear()
            raise

    def _submit(self, task: PartTask, tries: int) -> Future[Receipt]:
        key = f"{task.part.name}-try-{tries}"
        self._in_flight[key] = (task, tries)
        needed = {RESOURCE: task.part.memory_bytes} if self._limited else None
        return self._client.submit(write_part, task, key=key, pure=False, resources=needed)


def _offers_resource(client: Client) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(RESOURCE in worker.get("resources", {}) for worker in workers)


@contextmanager
def _client(resources: Resources) -> Iterator[Client]:
    if resources.kind == "cluster":
        with _remote(resources) as client:
            yield client
        return
    from distributed import Client, LocalCluster

    # The budget is kept by resources; Dask's own limit would pause or kill a worker on memory that
    # belongs to the rest of this process.
    always: dict[str, Any] = {
        "memory_limit": None,
        "dashboard_address": None,
        "silence_logs": logging.CRITICAL,
    }
    number, memory_bytes = resources.num_workers, resources.memory_bytes
    if resources.kind == "threads":
        shape: dict[str, Any] = {"processes": False, "n_workers": 1, "threads_per_worker": number}
        shape |= {"resources": {RESOURCE: memory_bytes}}
    else:
        shape = {"processes": True, "n_workers": number, "threads_per_worker": 1}
        shape |= {"resources": {RESOURCE: memory_bytes // number}, "host": "127.0.0.1"}
    with LocalCluster(**shape, **always) as cluster, Client(cluster) as client:
        yield client


@contextmanager
def _remote(resources: Resources) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(resources.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterMismatch(
            f"no Dask scheduler answers at {resources.scheduler}; check the address, or leave "
            "--scheduler out to work on this machine"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_WAIT_SECONDS)
        except TimeoutError as error:
            raise WorkersLost(
                f"the scheduler at {resources.scheduler} has had no worker for "
                f"{WORKER_WAIT_SECONDS} seconds; start some, then run the same command again"
            ) from error
        yield client


def _check_workers(client: Client, task: PartTask) -> None:
    """Ask every worker for its version and whether it sees the same files as this process."""
    try:
        answers: dict[str, Any] = client.run(_probe, task)
    except (ImportError, AttributeError) as error:
        raise ClusterMismatch(
            f"the cluster's workers do not have evensplit {task.version} installed: {error}"
        ) from error
    for address, answer in answers.items():
        if answer is not None:
            raise ClusterMismatch(f"worker {address}: {answer}")


def _probe(task: PartTask) -> str | None:
    """Run on a worker: return what is wrong, or None."""
    from engine.manifest import Ledger
    from engine.storage import open_storage

    if __version__ != task.version:
        return f"has evensplit {__version__}, this is {task.version}; install the same version"
    try:
        for source in task.sources:
            store, path = open_storage(source.path)
            if store.stat(path) != source:
                return f"sees another version of {source.path}"
        store, folder = open_storage(task.destination)
        if not Ledger(store, folder).is_claimed():
            return f"does not see the plan in {task.destination}; use storage that all share"
    except EvensplitError as error:
        return f"cannot reach the files: {error}"
    return None
