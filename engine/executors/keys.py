"""Key skew as Dask futures: a sketch a row group, merged two by two as they come.

A tree of merges, whose inner nodes stay on the workers: memory is that of a few sketches for each
worker, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.executors.dask import Resources, _client
from engine.formats.parquet.profiler.keys import KeyTask, Sketch, merged, sketch
from engine.settings import Access
from engine.storage.access import using

_AHEAD = 4  # pieces handed over for each worker


def run_keys(tasks: Sequence[KeyTask], resources: Resources, access: Access) -> Sketch | None:
    """Return the sketch of all pieces; None if they have no rows.

    Raises:
        EvensplitError: whatever a piece raised.
    """
    if not tasks:
        return None
    from distributed import as_completed

    with _client(resources) as client:
        waiting = list(reversed(tasks))
        most = len(tasks) if resources.kind == "cluster" else _AHEAD * resources.num_workers
        completed = as_completed([])

        def submit(function: Any, *arguments: Any) -> None:
            completed.add(client.submit(function, *arguments, pure=False))

        while waiting and completed.count() < most:
            submit(_sketch, waiting.pop(), access)
        alone = None  # a sketch that waits for another
        for future in completed:
            if waiting:
                submit(_sketch, waiting.pop(), access)
            if future.status == "error":
                future.result()
            if alone is None:
                alone = future
            else:
                submit(_merged, alone, future)
                alone = None
        return alone.result() if alone is not None else None


def _sketch(task: KeyTask, access: Access) -> Sketch | None:
    with using(access):
        return sketch(task)


def _merged(one: Sketch | None, other: Sketch | None) -> Sketch | None:
    return one if other is None else other if one is None else merged(one, other)
