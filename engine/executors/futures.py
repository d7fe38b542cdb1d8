"""Parts as Dask futures: in local processes, or on a running cluster.

One task a part, named for what is done to it: ``page-cut-part-00003.parquet-...``. Each declares
its projected memory as a Dask resource, and each worker offers some, so no worker is ever asked for
more than it has: a worker of ours its share of the budget, a worker of a running cluster what it
was started with (``--resources evensplit_memory_bytes=...``), else what its memory limit leaves.
A worker that dies loses its parts to the others.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Thread
from typing import TYPE_CHECKING, Any

from engine import endings, memory
from engine.errors import OverTarget, RetryError, WorkersLost
from engine.executors import cluster
from engine.executors.clients import client_for
from engine.executors.growth import Heard, telling, write_and_tell
from engine.executors.resources import MAX_TRIES, RESOURCE, Resources, say_tried_again
from engine.model import Receipt
from engine.storage.base import redacted
from engine.work import PartTask, write_part

if TYPE_CHECKING:
    from distributed import Client, Future

_POLL_SECONDS = 0.02
_WATCH_SECONDS = 1.0
_CANCEL_SECONDS = 0.3


def write_as_futures(
    tasks: Sequence[PartTask],
    resources: Resources,
    on_receipt: Callable[[Receipt], None],
    on_dashboard: Callable[[str], None],
    on_growth: Callable[[int], None],
) -> None:
    """Write all parts; what is told and raised is as :func:`engine.executors.run_parts` says."""
    with client_for(resources) as client:
        if resources.kind == "cluster":
            cluster.check_workers(client, tasks)
            link = client.dashboard_link
            if link and cluster.is_there(link):
                on_dashboard(link)
        _Run(client, tasks, resources, on_receipt).finish(on_growth)


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
        self._topic = f"evensplit-{self._token}"
        self._in_flight: dict[str, tuple[PartTask, int]] = {}
        self._last_worker_seen = self._last_look = time.monotonic()
        self._waiting = deque(tasks)
        self._over: OverTarget | None = None
        self._resources = resources
        self._fixed_bytes = cluster.fixed_bytes(tasks[0])
        self._most_memory_bytes = max(task.part.memory_bytes for task in tasks)
        self._num_wanted = resources.num_workers + 1
        if resources.kind == "cluster":
            self._num_wanted = self._wanted_by(cluster.workers(client))
        self._completed = as_completed([])

    def finish(self, on_growth: Callable[[int], None]) -> None:
        with ExitStack() as stack:
            if self._resources.kind == "cluster":
                stack.enter_context(endings.put_right(self._cancel))
            heard = stack.enter_context(Heard(self._client, self._topic))
            stack.enter_context(telling(lambda: heard.bytes_of(self._tasks()), on_growth))
            self._admit()
            self._finish()

    def _tasks(self) -> list[PartTask]:
        return [task for task, _ in list(self._in_flight.values())]

    def _cancel(self) -> None:
        """Have a cluster begin nothing else: what its workers are at, they cannot publish.

        This process is about to end: a scheduler that does not answer is not waited for.
        """
        from distributed import Future

        futures: list[Future[Receipt]] = [Future(key, self._client) for key in self._in_flight]
        asking = Thread(target=self._client.cancel, args=(futures,), daemon=True)
        asking.start()
        asking.join(_CANCEL_SECONDS)

    def _finish(self) -> None:
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
                except RetryError as error:
                    if tries == MAX_TRIES:
                        raise
                    say_tried_again(task, error)
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
            fitting = cluster.offer(worker) // max(1, self._most_memory_bytes)
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
            cluster.have_memory_offered(self._client, self._fixed_bytes)
        workers = cluster.workers(self._client)
        now = self._last_look = time.monotonic()
        needed = max(task.part.memory_bytes for task, _ in self._in_flight.values())
        if any(cluster.offer(worker) >= needed for worker in workers.values()):
            self._last_worker_seen = now
            if self._resources.kind == "cluster":
                self._num_wanted = self._wanted_by(workers)
                self._admit()
        elif now - self._last_worker_seen > cluster.WORKER_WAIT_SECONDS:
            raise WorkersLost(
                "no worker that can do the rest has been there for "
                f"{cluster.WORKER_WAIT_SECONDS} seconds; start some, then run the same command "
                "again: finished parts are kept"
            )

    def _result(self, future: Future[Receipt], task: PartTask) -> Receipt:
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        try:
            return future.result(timeout=cluster.RESULT_SECONDS)
        except (CancelledError, CommClosedError) as error:
            raise cluster.connection_lost() from error
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
            return self._client.submit(
                write_and_tell, write_part, task, self._topic, key=key, pure=False, resources=needed
            )
