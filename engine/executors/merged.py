"""One result out of many pieces as Dask futures, merged two by two as they come.

A tree of merges, whose inner nodes stay on the workers: memory is that of a few results for each
worker, however many pieces there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from engine.executors.clients import client_for
from engine.executors.resources import Resources
from engine.settings import Access
from engine.storage.access import using

Task = TypeVar("Task")
Found = TypeVar("Found")

_AHEAD = 4  # pieces handed over for each worker


def run_merged(
    tasks: Sequence[Task],
    look: Callable[[Task], Found | None],
    merge: Callable[[Found, Found], Found],
    resources: Resources,
    access: Access,
) -> Found | None:
    """Return what is found in all pieces; None if nothing is.

    Args:
        tasks: one for each piece.
        look: what is done with a piece, on a worker.
        merge: makes one of two results.
        resources: where.
        access: how stores are reached.

    Raises:
        EvensplitError: whatever a piece raised.
    """
    if not tasks:
        return None
    from distributed import as_completed

    with client_for(resources) as client:
        waiting = list(reversed(tasks))
        most = len(tasks) if resources.kind == "cluster" else _AHEAD * resources.num_workers
        completed = as_completed([])

        def submit(function: Any, *arguments: Any) -> None:
            completed.add(client.submit(function, *arguments, pure=False))

        while waiting and completed.count() < most:
            submit(_look, look, waiting.pop(), access)
        alone: Any = None  # a result that waits for another
        for future in completed:
            if waiting:
                submit(_look, look, waiting.pop(), access)
            if future.status == "error":
                future.result()
            if alone is None:
                alone = future
            else:
                submit(_merged, merge, alone, future)
                alone = None
        found: Found | None = alone.result() if alone is not None else None
        return found


def _look(look: Callable[[Task], Found | None], task: Task, access: Access) -> Found | None:
    with using(access):
        return look(task)


def _merged(
    merge: Callable[[Found, Found], Found], one: Found | None, other: Found | None
) -> Found | None:
    return one if other is None else other if one is None else merge(one, other)
