"""Parts as Dask futures: in this process, in local processes, or on a running cluster.

One task a part, named for what is done to it: ``page-cut-part-00003.parquet-...``. Each declares
its projected memory as a Dask resource, and each worker offers some, so no worker is ever asked for
more than it has: a worker of ours its share of the budget, a worker of a running cluster what it
was started with (``--resources evensplit_memory_bytes=...``), else what its memory limit leaves.
A worker that dies loses its parts to the others; an error that may pass is tried again a few
times; any other error cancels what has not begun. What has been committed stays so. Where a part
comes out over the target, those begun are waited for: the first of these that fail, by its place,
does not depend on which ended first.

Not covered: how much memory there is (:mod:`engine.memory`) and what a part does
(:mod:`engine.work`).
"""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Literal

from engine import memory
from engine.errors import (
    ClusterMismatch,
    EvensplitError,
    OtherPlan,
    OverBudget,
    OverTarget,
    RetryError,
    WorkersLost,
)
from engine.model import Receipt
from engine.storage import buffer_bytes
from engine.storage.base import redacted
from engine.version import __version__
from engine.work import PartTask, write_part

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster, Worker

RESOURCE = "evensplit_memory_bytes"
MAX_TRIES = 3
CONNECT_SECONDS = 15
WORKER_WAIT_SECONDS = 60
DASHBOARD_SECONDS = 2
RESULT_SECONDS = 10  # a receipt is small; its worker may be gone
INTERRUPTED_SECONDS = 2  # to close in, after Ctrl-C
_POLL_SECONDS = 0.02
_WATCH_SECONDS = 1.0
_OF_OUR_WORKERS = {
    # Dask has its workers give every 64 KiB back at once. Ours free and take megabytes with each
    # page, and the system clears what it gives: a third of the time of a change of codec. They are
    # projected to hold their peak as long as they live: nothing is gained by giving any of it back.
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 8 * memory.MIB,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 16 * memory.MIB,
    "distributed.worker.profile.enabled": False,  # its pages, which show it, are not loaded
}


@dataclass(frozen=True)
class Resources:
    """Where parts run and with what.

    Attributes:
        kind: ``threads`` of this process, local ``processes``, or the ``cluster`` at ``scheduler``.
        num_workers: parts at once (threads or processes); a cluster decides itself.
        memory_bytes: for all of them together; a cluster's workers say themselves.
        scheduler: address of a cluster's scheduler.
        run_bytes: projected peak of the whole run on this machine, processes included.
        limit_bytes: the user's own limit, if any.
        preload: modules that processes import before there is a part to wait.
        client: of the cluster, if the caller has one; it stays open.
    """

    kind: Literal["threads", "processes", "cluster"]
    num_workers: int
    memory_bytes: int
    scheduler: str | None = None
    run_bytes: int = 0
    limit_bytes: int | None = None
    preload: tuple[str, ...] = ()
    client: Client | None = None


def run_parts(
    tasks: Sequence[PartTask],
    resources: Resources,
    *,
    on_receipt: Callable[[Receipt], None],
    on_dashboard: Callable[[str], None] = lambda link: None,
    ahead: LocalProcesses | None = None,
) -> None:
    """Write all parts; call ``on_receipt`` for each, in this thread, as it is committed.

    ``ahead`` are processes that were started before; they are ended if others are wanted.

    Raises:
        ClusterMismatch: a worker has another version of evensplit, or does not see the files.
        OverBudget: a part needs more memory than any worker of the cluster has.
        WorkersLost: the scheduler, all workers, or one part's workers again and again, were lost.
        OverTarget: of all parts that come out over the target, the first.
        EvensplitError: whatever else a part raised; parts not yet begun are cancelled.
    """
    if not tasks:
        return
    with _client(resources, ahead) as client:
        if resources.kind == "cluster":
            _check_workers(client, tasks)
            link = client.dashboard_link
            if link and _is_there(link):
                on_dashboard(link)
        _Run(client, tasks, resources, on_receipt).finish()


class _Run:
    """One run: every part in flight has exactly one record, by its future's key.

    Parts are handed over one by one, as many at once as can be written at once, and one more a
    worker so that none idles. On this machine they are fewer while others take so much memory that
    the next part would not fit. A cluster is not given all of them, for its scheduler blames a
    worker's death on every part that it had, begun or not, and after a few deaths gives up.
    """

    def __init__(
        self,
        client: Client,
        tasks: Sequence[PartTask],
        resources: Resources,
        on_receipt: Callable[[Receipt], None],
    ) -> None:
        from distributed import as_completed

        self._client = client
        self._on_receipt = on_receipt
        # Two runs on one cluster may have parts of one name.
        self._token = secrets.token_hex(6)
        self._in_flight: dict[str, tuple[PartTask, int]] = {}
        self._last_worker_seen = self._last_look = time.monotonic()
        self._waiting = deque(tasks)
        self._over: OverTarget | None = None
        self._resources = resources
        self._fixed_bytes = _fixed_bytes(tasks[0])
        self._most_memory_bytes = max(task.part.memory_bytes for task in tasks)
        self._num_wanted = resources.num_workers + 1
        if resources.kind == "cluster":
            self._num_wanted = self._wanted_by(_workers(client))
        self._completed = as_completed([])
        self._admit()

    def finish(self) -> None:
        try:
            while self._in_flight or self._waiting:
                future = self._next()
                task, tries = self._in_flight.pop(str(future.key))
                try:
                    receipt = self._result(future, task)
                except TimeoutError:  # its worker died with it, and it has to be done again
                    self._in_flight[str(future.key)] = (task, tries)
                    self._completed.add(future)
                    continue
                except WorkersLost:
                    raise
                except RetryError:
                    if tries == MAX_TRIES:
                        raise
                    self._completed.add(self._submit(task, tries + 1))
                    continue
                except OverTarget as error:
                    self._waiting.clear()  # parts are handed over in order: all before it have been
                    self._over = min(self._over or error, error, key=lambda error: error.index)
                    continue
                self._on_receipt(receipt)
                future.release()
                self._admit()
            if self._over is not None:
                raise self._over
        except BaseException:
            self._completed.clear()
            raise

    def _admit(self) -> None:
        """Hand over parts, as many as workers and memory allow, but always one at least."""
        while self._waiting and self._fits(self._waiting[0]):
            self._completed.add(self._submit(self._waiting.popleft(), 1))

    def _fits(self, task: PartTask) -> bool:
        if not self._in_flight:
            return True
        if len(self._in_flight) >= self._num_wanted:
            return False
        if self._resources.kind == "cluster":
            return True
        left_bytes = memory.budget(self._resources.limit_bytes).bytes
        return left_bytes >= task.part.memory_bytes

    def _wanted_by(self, workers: dict[str, dict[str, Any]]) -> int:
        """Return how many parts a cluster's workers can have at once, one in waiting at each."""
        wanted = 0
        for worker in workers.values():
            fitting = _offer(worker) // max(1, self._most_memory_bytes)
            wanted += min(worker["nthreads"], fitting) + 1 if fitting else 0
        return wanted

    def _next(self) -> Future[Receipt]:
        """Return the next future that ended; give up when nobody is left who could end one."""
        while not self._completed.has_ready():
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - self._last_look > _WATCH_SECONDS:
                self._look_for_workers()
        return next(self._completed)

    def _look_for_workers(self) -> None:
        """See who has come and gone; a worker that has come, or come again, is given parts too."""
        if self._resources.kind == "cluster":
            _have_memory_offered(self._client, self._fixed_bytes)
        workers = _workers(self._client)
        now = self._last_look = time.monotonic()
        needed = max(task.part.memory_bytes for task, _ in self._in_flight.values())
        if any(_offer(worker) >= needed for worker in workers.values()):
            self._last_worker_seen = now
            if self._resources.kind == "cluster":
                self._num_wanted = self._wanted_by(workers)
                self._admit()
        elif now - self._last_worker_seen > WORKER_WAIT_SECONDS:
            raise WorkersLost(
                f"no worker that can do the rest has been there for {WORKER_WAIT_SECONDS} seconds; "
                "start some, then run the same command again: finished parts are kept"
            )

    def _result(self, future: Future[Receipt], task: PartTask) -> Receipt:
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        try:
            return future.result(timeout=RESULT_SECONDS)
        except (CancelledError, CommClosedError) as error:
            raise _connection_lost() from error
        except KilledWorker as error:
            advice = "lower --memory or --workers"
            if self._resources.kind == "cluster":
                advice = (
                    "start workers with more memory, or with --resources "
                    f"{RESOURCE}={task.part.memory_bytes} so that each has one part at a time"
                )
            raise WorkersLost(
                f"workers died again and again that had {task.part.name} to write; likely for want "
                f"of memory: {advice}, then run the same command again: finished parts are kept"
            ) from error

    def _submit(self, task: PartTask, tries: int) -> Future[Receipt]:
        from dask.base import annotate

        # Dask's pages group and colour tasks by the words that a key begins with.
        key = f"{task.verb}-{task.part.name}-{self._token}-{tries}"
        self._in_flight[key] = (task, tries)
        needed = {RESOURCE: task.part.memory_bytes}
        notes = {
            "part": f"{task.part.index + 1}/{task.num_parts}",
            "path": task.verb,
            "destination": redacted(task.destination),
        }
        with annotate(evensplit=notes):
            return self._client.submit(write_part, task, key=key, pure=False, resources=needed)


def _connection_lost() -> WorkersLost:
    return WorkersLost(
        "the connection to the Dask scheduler was lost; run the same command again: finished parts "
        "are kept"
    )


def _workers(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of its workers, by address.

    The scheduler is asked itself: ``Client.scheduler_info`` may answer with what a refresh in the
    background has fetched meanwhile, and that leaves workers out.
    """
    if client.scheduler is None:
        raise _connection_lost()
    try:
        answer: dict[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)
    except (OSError, TimeoutError) as error:  # closed connections are among these
        raise _connection_lost() from error
    found: dict[str, dict[str, Any]] = answer["workers"]
    return found


def _offer(worker: dict[str, Any]) -> int:
    """Return the memory that a worker offers to parts."""
    return int(worker.get("resources", {}).get(RESOURCE, 0))


def _fixed_bytes(task: PartTask) -> int:
    """Return what a cluster's worker takes beside its parts."""
    places = [task.destination, *(source.path for source in task.sources)]
    return memory.process_base_bytes(arrow=True, dask=True) + buffer_bytes(places)


def _have_memory_offered(client: Client, fixed_bytes: int) -> None:
    """Have workers offer memory that were started without the resource.

    A worker that cannot answer offers nothing, so it is given nothing.
    """
    silent = [
        address
        for address, worker in _workers(client).items()
        if RESOURCE not in worker["resources"]
    ]
    if not silent:
        return
    try:
        asked = client.run(_offer_memory, fixed_bytes, workers=silent, on_error="ignore")
    except (OSError, TimeoutError) as error:
        raise _connection_lost() from error
    # Another run may have been faster, and its worker's word still be on the way to the scheduler.
    deadline = time.monotonic() + RESULT_SECONDS
    while time.monotonic() < deadline:
        known = _workers(client)
        if all(RESOURCE in known[who]["resources"] for who in asked if who in known):
            break
        time.sleep(_POLL_SECONDS)


async def _offer_memory(fixed_bytes: int, dask_worker: Worker) -> None:
    """Run on a worker: offer what its limit leaves for parts, as long as it lives."""
    from distributed import Status
    from distributed.system import MEMORY_LIMIT

    if RESOURCE in dask_worker.state.total_resources:  # another run was faster
        return
    limits_bytes = [
        dask_worker.memory_manager.memory_limit or MEMORY_LIMIT,
        *(group.limit_bytes for group in memory.cgroups()),
    ]
    # The margin is also where Dask begins to pause a worker.
    room_bytes = max(0, int(min(limits_bytes) * memory.MARGIN) - fixed_bytes)
    await dask_worker.set_resources(**{RESOURCE: room_bytes})
    if dask_worker.status == Status.running:
        # Tasks that found no worker are looked at again when one joins or goes on after a pause,
        # but not when one offers more.
        dask_worker.status = Status.paused
        dask_worker.status = Status.running


class LocalProcesses:
    """Worker processes of this machine that start while others work, each for a part at a time.

    To start takes half a second, most of it imports in the new processes: a plan can be made
    meanwhile. They end when this is closed.

    Args:
        num_workers: how many.
        memory_bytes: for the parts of all of them; each offers its share.
        preload: modules that they import.
    """

    def __init__(self, num_workers: int, memory_bytes: int, preload: Sequence[str] = ()) -> None:
        self.num_workers = num_workers
        self._memory_bytes = memory_bytes
        self._preload = preload
        self._stack = ExitStack()

    def __enter__(self) -> LocalProcesses:
        # Its start unblocks the signals of whichever thread needs it first.
        resource_tracker.ensure_running()
        self._stack.enter_context(_script_not_run_again())
        starter = self._stack.enter_context(ThreadPoolExecutor(1))
        with _interrupts_held():
            self._starting = starter.submit(self._start)
        self._stack.callback(self._end)
        return self

    def _start(self) -> SpecCluster:
        import dask
        import distributed  # noqa: F401 (its defaults come with it, and must be there before)

        with dask.config.set(_OF_OUR_WORKERS):
            return _local_cluster("processes", self.num_workers, self._memory_bytes, self._preload)

    def _end(self) -> None:
        if self._starting.exception() is None:
            self._starting.result().close()

    def cluster(self) -> SpecCluster:
        """Return the scheduler and workers, once they are there."""
        return self._starting.result()

    def serves(self, resources: Resources) -> bool:
        """Whether these are the processes that are wanted."""
        return resources.kind == "processes" and resources.num_workers == self.num_workers

    def close(self) -> None:
        """End the processes."""
        self._stack.close()

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _client(resources: Resources, ahead: LocalProcesses | None = None) -> Iterator[Client]:
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    if ahead is not None and not ahead.serves(resources):
        ahead.close()
        ahead = None
    if resources.client is not None:
        _wait_for_worker(resources.client, resources)
        yield resources.client
    elif resources.kind == "cluster":
        with silence_logging_cmgr(logging.CRITICAL), _remote(resources) as client:
            yield client
    elif resources.kind == "threads":
        with _threads(resources) as client:
            yield client
    else:
        with ExitStack() as stack:
            number, memory_bytes = resources.num_workers, resources.memory_bytes
            processes = ahead or stack.enter_context(
                LocalProcesses(number, memory_bytes, resources.preload)
            )
            yield stack.enter_context(Client(processes.cluster()))


@contextmanager
def _threads(resources: Resources) -> Iterator[Client]:
    from distributed import Client

    with ExitStack() as stack:
        with _interrupts_held():
            cluster = _local_cluster("threads", resources.num_workers, resources.memory_bytes)
            stack.enter_context(cluster)
        try:
            yield stack.enter_context(Client(cluster))
        except KeyboardInterrupt:
            # Closing waits for parts that threads are writing; it goes on without us.
            stack.pop_all()
            with suppress(TimeoutError):
                cluster.close(timeout=INTERRUPTED_SECONDS)
            raise


def _local_cluster(
    kind: Literal["threads", "processes"],
    num_workers: int,
    memory_bytes: int,
    preload: Sequence[str] = (),
) -> SpecCluster:
    """Start a scheduler and workers of this machine alone.

    Dask's ``LocalCluster`` always opens web servers at addresses of its own choice; here all of
    them are on the loopback interface, and the pages of the dashboard are not loaded.
    """
    from distributed import Nanny, Scheduler, SpecCluster, Worker

    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    threads = kind == "threads"
    number = 1 if threads else num_workers
    place = {"protocol": "inproc"} if threads else {"protocol": "tcp", "host": "127.0.0.1"}
    options = {
        **quiet,
        **place,
        "nthreads": num_workers if threads else 1,
        "resources": {RESOURCE: memory_bytes // number},
        # The budget is kept by resources; Dask's own limit would pause or kill a worker on memory
        # that belongs to the rest of this process.
        "memory_limit": None,
        "silence_logs": logging.CRITICAL,
    }
    if not threads:
        options["preload"] = list(preload)
    worker = {"cls": Worker if threads else Nanny, "options": options}
    return SpecCluster(
        workers=dict.fromkeys(range(number), worker),
        scheduler={"cls": Scheduler, "options": {**quiet, **place, "port": 0}},
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start threads and processes that Ctrl-C does not reach: it is this thread's to handle.

    A terminal sends it to every process; a blocked signal stays so in whatever is started here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _script_not_run_again() -> Iterator[None]:
    """Keep worker processes from importing the caller's script, which nothing here needs.

    A new process imports it by its file or module name; one without ``if __name__ == "__main__"``
    would split again, in each worker.
    """
    names: dict[str, Any] = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: names[name] for name in ("__file__", "__spec__") if name in names}
    names.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        names.update(kept)


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
        _wait_for_worker(client, resources)
        yield client


def _wait_for_worker(client: Client, resources: Resources) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_WAIT_SECONDS)
    except TimeoutError as error:
        raise WorkersLost(
            f"the scheduler at {resources.scheduler} has had no worker for "
            f"{WORKER_WAIT_SECONDS} seconds; start some, then run the same command again"
        ) from error


def _check_workers(client: Client, tasks: Sequence[PartTask]) -> None:
    """Ask every worker for its version, whether it sees the same files, and for its memory."""
    try:
        answers: dict[str, Any] = client.run(_probe, tasks[0])
    except (OSError, TimeoutError) as error:
        raise _connection_lost() from error
    except Exception as error:  # Dask has no class of its own for what a worker cannot import
        raise ClusterMismatch(
            f"the cluster's workers do not have evensplit {__version__} installed: {error}"
        ) from error
    for address, answer in answers.items():
        if answer is not None:
            raise ClusterMismatch(f"worker {address}: {answer}")
    _have_memory_offered(client, _fixed_bytes(tasks[0]))
    most_bytes = max(map(_offer, _workers(client).values()), default=0)
    worst = max(tasks, key=lambda task: task.part.memory_bytes).part
    if worst.memory_bytes > most_bytes:
        raise OverBudget(
            f"{worst.name} needs about {worst.memory_bytes >> 20} MiB of memory, the largest "
            f"worker has {most_bytes >> 20} MiB for parts; start larger workers or choose a "
            "smaller --target-size"
        )


def _is_there(dashboard_link: str) -> bool:
    """Whether a scheduler has the page: one started without still gives a link to it."""
    import http.client
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(dashboard_link, timeout=DASHBOARD_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code != HTTPStatus.NOT_FOUND
    except (OSError, ValueError, http.client.HTTPException):  # a user's browser may reach it
        return True
    return True


def _probe(task: PartTask) -> str | None:
    """Run on a worker: return what is wrong, or None."""
    from engine.storage.access import using

    if __version__ != task.version:
        return f"has evensplit {__version__}, this is {task.version}; install the same version"
    with using(task.access):
        return _files_differ(task)


def _files_differ(task: PartTask) -> str | None:
    from engine.ledger.manifest import Ledger
    from engine.storage import open_storage

    try:
        for source in task.sources:
            store, path = open_storage(source.path)
            if replace(store.stat(path), columns=source.columns) != source:
                return f"sees another version of {redacted(source.path)}"
        store, folder = open_storage(task.destination)
        where = redacted(task.destination)
        Ledger(store, folder).check_claim(task.claim)
    except OtherPlan:
        return f"does not see the plan in {where}; use storage that all share"
    except EvensplitError as error:
        return f"cannot reach the files: {error}"
    return None
