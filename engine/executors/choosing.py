"""Where the parts of a plan are written, and how many at once: what fits the memory."""

from __future__ import annotations

from typing import Literal

from engine import memory, system
from engine.executors.resources import Resources
from engine.formats import format_of, load_format
from engine.model import SplitPlan
from engine.settings import Settings
from engine.storage import buffer_bytes

# Threads wait for each other for a fifth to two fifths of what they do: four of them are worth as
# many processes, which have to start and to import first (decision 3).
_CORES_WORTH_PROCESSES, _REENCODED_BYTES_WORTH_PROCESSES = 5, 512 << 20


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
    wanted = settings.num_workers or _default_workers(plan)
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


def least_run_bytes(plan: SplitPlan, destination: str, settings: Settings) -> int:
    """Return what a run takes that writes one part at a time; see :func:`choose_resources`."""
    store_bytes = buffer_bytes([destination, *(file.path for file in plan.sources)])
    return sum(_processes_bytes(plan, settings, store_bytes)) + plan.memory_bytes


def _takes_threads(plan: SplitPlan) -> bool:
    if plan.sources[0].dialect is not None:
        return True  # lines are copied, or gone through by zlib, which lets other threads run
    return not _is_worth_processes(sum(part.reencoded_bytes for part in plan.parts))


def _is_worth_processes(reencoded_bytes: int) -> bool:
    has_cores = system.num_cores() >= _CORES_WORTH_PROCESSES
    return has_cores and reencoded_bytes >= _REENCODED_BYTES_WORTH_PROCESSES


def _processes_bytes(plan: SplitPlan, settings: Settings, store_bytes: int) -> tuple[int, int]:
    """Return what this process takes before any part, and what a worker process does."""
    arrow = decodes(plan, settings)
    threads = _takes_threads(plan)
    under: Literal["threads", "distributed"] = "threads" if threads else "distributed"
    base_bytes = memory.process_base_bytes(arrow=arrow, under=under) + store_bytes
    base_bytes += plan.planning_memory_bytes
    worker_bytes = 0 if threads else memory.FURTHER_PROCESS_BYTES + store_bytes
    return base_bytes, worker_bytes


def _default_workers(plan: SplitPlan) -> int:
    cores = system.num_cores()
    reencoded_bytes = sum(part.reencoded_bytes for part in plan.parts)
    is_copy = 10 * reencoded_bytes < sum(part.predicted_bytes for part in plan.parts)
    # Copying waits for the disk now and then; a thread more keeps the cores busy.
    return cores + 1 if is_copy and _takes_threads(plan) else cores
