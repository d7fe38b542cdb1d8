"""One result out of many pieces on Dask, merged two by two.

A tree of merges, whose inner nodes stay on the workers: memory is that of a few results for each
worker, however many pieces there are.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from engine.executors.resources import Resources
from engine.executors.threads import local_scheduler
from engine.settings import Access
from engine.storage.access import using

Task = TypeVar("Task")
Found = TypeVar("Found")


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
    graph, root = _tree(tasks, partial(_look, look, access), partial(_merged, merge))
    found: Found | None
    if resources.kind == "threads":
        with local_scheduler(resources.num_workers) as get:
            found = get(graph, root)
    else:
        from engine.executors.clients import client_for

        with client_for(resources) as client:
            found = client.get(graph, root)
    return found


def _tree(
    tasks: Sequence[Task], look: Callable[[Task], Any], merge: Callable[[Any, Any], Any]
) -> tuple[dict[str, tuple[Any, ...]], str]:
    """Return a graph of Dask, and the key in it of the one result."""
    token = secrets.token_hex(6)  # two runs may be on one cluster
    graph: dict[str, tuple[Any, ...]] = {
        f"look-{token}-{i}": (partial(look, task),) for i, task in enumerate(tasks)
    }
    alone = deque(graph)  # results that are not merged yet
    while len(alone) > 1:
        name = f"merge-{token}-{len(graph)}"
        graph[name] = (merge, alone.popleft(), alone.popleft())
        alone.append(name)
    return graph, alone.popleft()


def _look(look: Callable[[Task], Found | None], access: Access, task: Task) -> Found | None:
    with using(access):
        return look(task)


def _merged(
    merge: Callable[[Found, Found], Found], one: Found | None, other: Found | None
) -> Found | None:
    return one if other is None else other if one is None else merge(one, other)
