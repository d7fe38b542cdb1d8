"""Parts in threads of this process, by Dask's own scheduler for threads.

It costs the import of Dask and no more: no event loop, no messages, no workers to start. It has as
many tasks begun at once as it is told to, and says in the caller's thread what has ended. Its order
is one for graphs, and it knows nothing of memory: so a task of ours is to write the *next* part,
and waits in its thread until there is room for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from functools import partial
from threading import Condition, Thread
from typing import Any

from engine import memory
from engine.errors import OverTarget, RetryError
from engine.executors.growth import telling
from engine.executors.interrupts import INTERRUPTED_SECONDS, interrupts_held
from engine.executors.resources import MAX_TRIES, Resources, say_tried_again
from engine.model import Receipt
from engine.work import PartTask, in_the_making, write_part


def write_in_threads(
    tasks: Sequence[PartTask],
    resources: Resources,
    on_receipt: Callable[[Receipt], None],
    on_growth: Callable[[int], None],
) -> None:
    """Write all parts; what is told and raised is as :func:`engine.executors.run_parts` says."""
    over: list[OverTarget] = []

    def on_end(_turn: int, result: Receipt | OverTarget | None, *_: object) -> None:
        if isinstance(result, OverTarget):
            over.append(result)
        elif result is not None:
            on_receipt(result)

    def measure() -> int:
        return sum(in_the_making(tasks[0].destination).values())

    # One more than are written at once, so that none waits while a receipt is told.
    with (
        local_scheduler(resources.num_workers + 1) as get,
        closing(_Parts(tasks, resources)) as parts,
        telling(measure, on_growth),
    ):
        turns = dict.fromkeys(range(len(tasks)), (parts.write_next,))
        get(turns, list(turns), callbacks=[(None, None, None, on_end, None)])
    if over:
        raise min(over, key=lambda error: error.index)


@contextmanager
def local_scheduler(num_threads: int) -> Iterator[Callable[..., Any]]:
    """Give Dask's ``get`` (graph, keys) with so many threads; wait in the end for what they do.

    Ctrl-C does not reach them: it is the caller's thread's to handle. After it they are given
    :data:`INTERRUPTED_SECONDS`, and then left to themselves; the process may end without them.
    """
    from dask.local import get_async

    running: set[Future[Any]] = set()

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with interrupts_held():
            Thread(target=_settle, args=(future, function, *arguments), daemon=True).start()
        running.add(future)
        future.add_done_callback(running.discard)
        return future

    seconds = None
    try:
        # What users have set for graphs of their own (dask.config, callbacks) is not for these.
        ours = {"chunksize": 1, "rerun_exceptions_locally": False, "callbacks": ()}
        yield partial(get_async, submit, num_threads, **ours)
    except (KeyboardInterrupt, SystemExit):
        seconds = INTERRUPTED_SECONDS
        raise
    finally:
        wait(set(running), seconds)


def _settle(future: Future[Any], function: Callable[..., Any], *arguments: Any) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - it is the caller's thread's to handle
        future.set_exception(error)
    else:
        future.set_result(result)


class _Parts:
    """Parts to write, begun in their order as soon as a thread and memory are there.

    Args:
        tasks: one for each part.
        resources: how many at once, and with how much memory.
    """

    def __init__(self, tasks: Sequence[PartTask], resources: Resources) -> None:
        self._waiting = deque(tasks)
        self._resources = resources
        self._num_begun = 0  # and not ended, as their memory
        self._begun_bytes = 0
        self._is_closed = False
        self._changed = Condition()

    def write_next(self) -> Receipt | OverTarget | None:
        """Write the next part once there is room for it; None if no other is to be begun.

        A part over the target is no reason to leave those that have been begun, so it is returned:
        all before it are among them, for they begin in order.
        """
        task = self._begin()
        if task is None:
            return None
        try:
            return self._written(task)
        except BaseException as error:
            self._begin_no_other()
            if isinstance(error, OverTarget):
                return error
            raise
        finally:
            self._end(task)

    def close(self) -> None:
        """Begin no part, and try none again."""
        self._is_closed = True
        self._begin_no_other()

    def _begin(self) -> PartTask | None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._fits(self._waiting[0]))
            if not self._waiting:
                return None
            task = self._waiting.popleft()
            self._num_begun += 1
            self._begun_bytes += task.part.memory_bytes
            self._changed.notify_all()  # for the one behind it
            return task

    def _fits(self, task: PartTask) -> bool:
        """Whether a part may begin: one always, others as threads and memory allow."""
        if not self._num_begun:
            return True
        needed_bytes = task.part.memory_bytes
        return (
            self._num_begun < self._resources.num_workers
            and self._begun_bytes + needed_bytes <= self._resources.memory_bytes
            and memory.budget(self._resources.limit_bytes).bytes >= needed_bytes
        )

    def _written(self, task: PartTask) -> Receipt:
        for _ in range(MAX_TRIES - 1):
            try:
                return write_part(task)
            except RetryError as error:
                if self._is_closed:
                    raise
                say_tried_again(task, error)
        return write_part(task)

    def _begin_no_other(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    def _end(self, task: PartTask) -> None:
        with self._changed:
            self._num_begun -= 1
            self._begun_bytes -= task.part.memory_bytes
            self._changed.notify_all()
