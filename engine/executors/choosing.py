"""Where the parts of a plan are written, and how many at once: what fits the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from engine import memory, system
from engine.executors.local import LocalProcesses
from engine.executors.resources import Resources
from engine.formats import format_of, load_format
from engine.model import SourceFile, SplitPlan
from engine.settings import Settings
from engine.storage import buffer_bytes

# Below this, starting worker processes costs more than they save.
_REENCODED_BYTES_WORTH_PROCESSES = 64 << 20


def decodes(plan: SplitPlan, settings: Settings) -> bool:
    """Return whether parts are decoded, by Arrow; lines that stay lines never are."""
    if not load_format(format_of(plan.sources)).PRELOAD:
        return False
    return not (settings.recoding.is_nothing and all(part.is_spliced for part in plan.parts))


def choose_resources(
    plan: SplitPlan,
    settings: Settings,
    budget: memory.Budget | None = None,
    *,
    store_bytes: int = 0,
) -> Resources:
    """Decide where parts run, and how many at once, so that they fit the memory budget.

    The budget is what there was before the run began; None for what there is now. A cluster's
    memory is its workers', not this machine's: the executor asks them. Each process takes
    ``store_bytes`` for requests to stores.

    Raises:
        OverBudget: one part alone needs more memory than there is.
    """
    if settings.scheduler:
        return Resources("cluster", 0, 0, settings.scheduler)
    budget = budget or memory.budget(settings.memory_bytes)
    threads = _takes_threads(plan)
    base_bytes, worker_bytes = _processes_bytes(plan, settings, store_bytes)
    fixed_bytes = base_bytes + worker_bytes
    room = budget.bytes - fixed_bytes
    worst = max(plan.parts, key=lambda part: part.memory_bytes)
    needed_bytes = worst.memory_bytes + fixed_bytes
    memory.check(needed_bytes, budget, worst.name, "choose a smaller --target-size")
    wanted = settings.num_workers or default_workers(threads=threads)
    each = max(1, plan.memory_bytes + worker_bytes)
    num_workers = max(1, min(wanted, len(plan.parts), (room + worker_bytes) // each))
    return Resources(
        "threads" if threads else "processes",
        num_workers,
        room,
        run_bytes=base_bytes + num_workers * each,
        limit_bytes=settings.memory_bytes,
        preload=tuple(load_format(format_of(plan.sources)).PRELOAD),
    )


def processes_ahead(
    files: Sequence[SourceFile], settings: Settings, budget: memory.Budget
) -> LocalProcesses | None:
    """Return processes that a plan is likely to want, to start them while it is made."""
    if settings.scheduler or settings.recoding.is_nothing or files[0].dialect is not None:
        return None
    size_bytes = sum(file.size_bytes for file in files)
    # How much chosen columns are is not known yet.
    if settings.columns is not None or size_bytes < 2 * _REENCODED_BYTES_WORTH_PROCESSES:
        return None
    wanted = settings.num_workers or default_workers(threads=False)
    number = min(wanted, settings.num_parts or wanted)
    base_bytes = memory.process_base_bytes(arrow=True)
    if budget.bytes < base_bytes + 2 * number * memory.FURTHER_PROCESS_BYTES:
        return None
    # What they offer is more than the plan will leave them; but each has one part at a time.
    return LocalProcesses(number, budget.bytes, load_format(format_of(files)).PRELOAD)


def least_run_bytes(plan: SplitPlan, destination: str, settings: Settings) -> int:
    """Return what a run takes that writes one part at a time; see :func:`choose_resources`."""
    store_bytes = buffer_bytes([destination, *(file.path for file in plan.sources)])
    return sum(_processes_bytes(plan, settings, store_bytes)) + plan.memory_bytes


def _takes_threads(plan: SplitPlan) -> bool:
    if plan.sources[0].dialect is not None:
        return True  # lines are copied, or gone through by zlib, which lets other threads run
    num_reencoded = sum(part.reencoded_bytes for part in plan.parts)
    return num_reencoded < _REENCODED_BYTES_WORTH_PROCESSES


def _processes_bytes(plan: SplitPlan, settings: Settings, store_bytes: int) -> tuple[int, int]:
    """Return what this process takes before any part, and what a worker process does."""
    arrow = decodes(plan, settings)
    threads = _takes_threads(plan)
    under: Literal["threads", "distributed"] = "threads" if threads else "distributed"
    base_bytes = memory.process_base_bytes(arrow=arrow, under=under) + store_bytes
    base_bytes += plan.planning_memory_bytes
    worker_bytes = 0 if threads else memory.FURTHER_PROCESS_BYTES + store_bytes
    return base_bytes, worker_bytes


def default_workers(*, threads: bool) -> int:
    """Return how many work at once where nobody says it: threads, or processes."""
    cores = system.num_cores()
    # Copying waits for the disk now and then; a thread more keeps the cores busy.
    return cores + 1 if threads else cores
