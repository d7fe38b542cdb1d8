"""The one way to have parts written: :func:`run_parts`, whatever kind of workers there is.

Every kind keeps one contract. An error that may pass is tried again a few times; any other error
cancels what has not begun. What has been committed stays so. Where a part comes out over the
target, those begun are waited for: the first of these that fail, by its place, does not depend on
which ended first. No more parts are begun at once than projected memory allows.

Not covered: how much memory there is (:mod:`engine.memory`) and what a part does
(:mod:`engine.work`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.executors.resources import Resources
from engine.executors.threads import write_in_threads
from engine.model import Receipt
from engine.work import PartTask


def run_parts(
    tasks: Sequence[PartTask],
    resources: Resources,
    *,
    on_receipt: Callable[[Receipt], None],
    on_dashboard: Callable[[str], None] = lambda link: None,
    on_growth: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Write all parts; call ``on_receipt`` for each, in this thread, as it is committed.

    ``on_growth`` is told every second, in another thread, how many bytes are written of the parts
    that are not committed yet.

    Raises:
        ClusterMismatch: a worker has another version of evensplit, or does not see the files.
        OverBudget: a part needs more memory than any worker of the cluster has.
        WorkersLost: the scheduler, all workers, or one part's workers again and again, were lost.
        OverTarget: of all parts that come out over the target, the first.
        EvensplitError: whatever else a part raised; parts not yet begun are cancelled.
    """
    if not tasks:
        return
    if resources.kind == "threads":
        write_in_threads(tasks, resources, on_receipt, on_growth)
    else:
        # What it imports takes longer than a small split.
        from engine.executors.futures import write_as_futures

        write_as_futures(tasks, resources, on_receipt, on_dashboard, on_growth)
