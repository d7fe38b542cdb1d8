"""From sources to a job with one task a file, and again: only what failed.

Files are planned and put into tasks without a service; :func:`submit` then makes it so. A job that
ended takes no more tasks, so what failed in it goes into a job of the next attempt, whose id is
known beforehand too. Nothing is remembered between calls but what the service has.
"""

from __future__ import annotations

import heapq
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import engine
from batchjobs.errors import PoolTooSmall
from batchjobs.pack import PlannedFile, pack
from batchjobs.pool import TASK_DISK_BYTES, Need, could_hold
from batchjobs.service import JobEnded, Service
from batchjobs.spec import FileSplit, JobSpec, TaskSpec, source_options_of
from engine import BadSetting, SourceError, hooks

# What the expected times assume; a node reads and writes, or the store copies, at about this rate.
BYTES_PER_SECOND = 100_000_000
SECONDS_A_TASK = 5.0
MAX_ATTEMPTS = 100
FOOTERS_AT_ONCE = 8


@dataclass(frozen=True)
class Submission:
    """What a call of submit did: counts of tasks by what became of them."""

    job_id: str
    num_added: int = 0
    num_run_again: int = 0
    num_found: int = 0
    attempt: int = 0


def plan_files(src: Sequence[str], dest: str, settings: Mapping[str, Any]) -> list[PlannedFile]:
    """Return every source file with its destination and what its split will take.

    A destination keeps the path of its file below the source: ``in/d=1/a.parquet`` of ``in`` goes
    to ``DEST/d=1/a``. A damaged source is not refused: its task fails by itself, and the others
    are done.

    Raises:
        engine.EvensplitError: no source, two of one destination, an impossible setting.
    """
    found = hooks.find_each(src, **source_options_of(settings))
    names = _destinations([(item.path, name) for item, name in found], dest.rstrip("/"))
    files = [
        FileSplit(item.path, name, item.version, item.size_bytes)
        for (item, _), name in zip(found, names, strict=True)
    ]
    # Footers of a store are a round trip each, in which others can be read.
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        return list(pool.map(lambda file: _planned(file, settings), files))


def _destinations(named: Sequence[tuple[str, str]], dest: str) -> list[str]:
    """Return the destination of each file, told by its path and its name below the source.

    Raises:
        BadSetting: two have one, or one lies in another's, where a reader would take parts of both.
    """
    names = [posixpath.splitext(name)[0] for _, name in named]
    of = dict(zip(names, (path for path, _ in named), strict=True))
    for (path, _), name in zip(named, names, strict=True):
        if of[name] != path:
            raise BadSetting(
                f"{path} and {of[name]} would both go to {dest}/{name}; submit them in two calls "
                "with a --dest each"
            )
        around = next((up for up in _folders_around(name) if up in of), None)
        if around is not None:
            raise BadSetting(
                f"{path} would go to {dest}/{name}, inside {dest}/{around}, where the parts of "
                f"{of[around]} go; submit them in two calls with a --dest each"
            )
    return [f"{dest}/{name}" for name in names]


def _folders_around(name: str) -> Iterator[str]:
    while "/" in name:
        name = posixpath.dirname(name)
        yield name


def _planned(file: FileSplit, settings: Mapping[str, Any]) -> PlannedFile:
    try:
        plan = engine.plan(file.source, **settings)
    except SourceError as error:
        return PlannedFile(file, problem=f"{error.kind}: {error}")
    memory_bytes = hooks.run_memory_bytes(plan, file.destination, **settings)
    parts_bytes = plan.predicted_bytes
    is_here = "://" not in file.destination or file.destination.startswith("file:")
    network_bytes = 0 if is_here else 2 * sum(part.reencoded_bytes for part in plan.parts)
    if settings.get("transfer") == "client":
        network_bytes = file.size_bytes + parts_bytes
    return PlannedFile(
        file,
        num_parts=len(plan.parts),
        parts_bytes=parts_bytes,
        memory_bytes=memory_bytes,
        disk_bytes=parts_bytes if is_here else 0,
        network_bytes=network_bytes,
    )


def need_of(files: Sequence[PlannedFile]) -> Need:
    """Return what a slot needs that any of the files may come to.

    The network is such that what passes through the node takes no longer than the store's copying
    is expected to.
    """
    rates = [item.network_bytes / _copy_seconds(item.file.size_bytes) for item in files]
    return Need(
        memory_bytes=max((item.memory_bytes for item in files), default=0),
        network_bytes_per_second=int(max(rates, default=0)),
    )


def _copy_seconds(size_bytes: int) -> float:
    return SECONDS_A_TASK + size_bytes / BYTES_PER_SECOND


def make_tasks(
    files: Sequence[PlannedFile],
    settings: Mapping[str, Any],
    *,
    small_bytes: int = 0,
    slot_memory_bytes: int,
    slots_per_node: int,
    slot_disk_bytes: int | None = None,
    package: str = "",
) -> list[TaskSpec]:
    """Return the tasks, largest first, each with the slots that its memory needs.

    Raises:
        PoolTooSmall: a whole node could not hold a file. The service would leave its task waiting
            for ever on idle nodes.
    """
    if slot_disk_bytes is not None and slot_disk_bytes < TASK_DISK_BYTES:
        raise PoolTooSmall(
            f"a task slot has {slot_disk_bytes >> 20} MiB of its node's disk, and a task's files "
            f"take up to {TASK_DISK_BYTES >> 20} MiB; take larger nodes, or fewer slots a node"
        )
    tasks = []
    # A task names its files themselves, whichever of a folder's were asked for.
    settings = {name: settings[name] for name in settings if name not in ("include", "exclude")}
    for group in pack(files, small_bytes):
        worst = max(group, key=lambda item: item.memory_bytes)
        num_slots = max(1, -(-worst.memory_bytes // max(1, slot_memory_bytes)))
        if num_slots > slots_per_node:
            raise PoolTooSmall(
                f"{worst.file.source} needs about {worst.memory_bytes >> 20} MiB of memory, and a "
                f"node has {(slot_memory_bytes * slots_per_node) >> 20} MiB for tasks; take larger "
                f"nodes ({could_hold(need_of([worst]))}), or a smaller --target-size"
            )
        members = tuple(item.file for item in group)
        tasks.append(TaskSpec(members, settings, num_slots, package))
    return tasks


def task_seconds(task: TaskSpec) -> float:
    """Return how long a task is expected to take (assumed rates)."""
    return _copy_seconds(task.size_bytes)


def expected_seconds(tasks: Sequence[TaskSpec], num_slots: int) -> float:
    """Return how long tasks take on so many slots, begun in this order (assumed rates)."""
    free_at = [0.0] * max(1, num_slots)
    for task in tasks:
        heapq.heapreplace(free_at, free_at[0] + task_seconds(task))
    return max(free_at)


def submit(service: Service, job: JobSpec, tasks: Sequence[TaskSpec]) -> Submission:
    """Have every task done that is not: make the job, or finish making it, or its next attempt.

    The job that comes back fails by these tasks alone. Where all are done, but another failed
    beside them, whose file is not a source any more, that is a next attempt without tasks.

    Raises:
        engine.EvensplitError: the service refuses, or has failed.
    """
    done: set[str] = set()
    wanted = {task.id for task in tasks}
    for attempt in range(MAX_ATTEMPTS):
        this = replace(job, attempt=attempt)
        found = service.find_job(this.id)
        if found is not None and found.state == "ended":
            states = {task.id: task.state for task in service.tasks(this.id)}
            done |= {task_id for task_id, state in states.items() if state == "done"}
            if wanted <= done and states.keys() <= wanted | done:
                return Submission(this.id, num_found=len(tasks), attempt=attempt)
            continue
        try:
            if found is None:
                service.create_job(this)
            todo = [task for task in tasks if task.id not in done]
            return _fill(service, this, todo, len(tasks) - len(todo))
        except JobEnded:
            continue
    raise BadSetting(
        f"this was submitted {MAX_ATTEMPTS} times and still fails; see `evensplit batch status`, "
        "and delete its jobs with `evensplit batch clean` to begin anew"
    )


def _fill(service: Service, job: JobSpec, wanted: Sequence[TaskSpec], num_done: int) -> Submission:
    states = {task.id: task.state for task in service.tasks(job.id)}
    missing = [task for task in wanted if task.id not in states]
    failed = [task.id for task in wanted if states.get(task.id) == "failed"]
    service.add_tasks(job, missing)
    for task_id in failed:
        service.run_again(job.id, task_id)
    service.close_job(job.id)
    num_found = num_done + len(wanted) - len(missing) - len(failed)
    return Submission(job.id, len(missing), len(failed), num_found, job.attempt)
