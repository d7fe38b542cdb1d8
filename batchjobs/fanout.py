"""From sources to a job with one task a file, and again: only what failed.

Files are planned and put into tasks without a service; :func:`submit` then makes it so. A job that
ended takes no more tasks, so what failed in it goes into a job of the next attempt, whose id is
known beforehand too. Nothing is remembered between calls but what the service has.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import engine
from batchjobs.pack import PlannedFile, pack
from batchjobs.service import JobEnded, Service
from batchjobs.spec import FileSplit, JobSpec, TaskSpec
from engine import BadSetting, PoolTooSmall, SourceError

# What the expected times assume; a node reads and writes, or the store copies, at about this rate.
BYTES_PER_SECOND = 100_000_000
SECONDS_A_TASK = 5.0
MOST_ATTEMPTS = 100
TASKS_A_REQUEST = 100


@dataclass(frozen=True)
class Submission:
    """What a call of submit did: counts of tasks by what became of them."""

    job_id: str
    num_added: int = 0
    num_run_again: int = 0
    num_found: int = 0


def plan_files(src: Sequence[str], dest: str, settings: Mapping[str, Any]) -> list[PlannedFile]:
    """Return every source file with its destination and what its split will take.

    A damaged source is not refused: its task fails by itself, and the others are done.

    Raises:
        engine.EvensplitError: no source, two of one destination, an impossible setting.
    """
    credential = settings.get("credential", "auto")
    found = engine.find_sources(src, credential=credential)
    names = _destinations([item.path for item in found], dest)
    return [
        _planned(FileSplit(item.path, name, item.version, item.size_bytes), settings)
        for item, name in zip(found, names, strict=True)
    ]


def _destinations(paths: Sequence[str], dest: str) -> Iterator[str]:
    seen: dict[str, str] = {}
    for path in paths:
        name = posixpath.splitext(posixpath.basename(path))[0]
        if name in seen:
            raise BadSetting(
                f"{seen[name]} and {path} would both go to {dest.rstrip('/')}/{name}; submit them "
                "in two calls with a --dest each"
            )
        seen[name] = path
        yield f"{dest.rstrip('/')}/{name}"


def _planned(file: FileSplit, settings: Mapping[str, Any]) -> PlannedFile:
    try:
        plan = engine.plan(file.source, **settings)
    except SourceError as error:
        return PlannedFile(file, problem=f"{error.kind}: {error}")
    memory_bytes = engine.run_memory_bytes(plan, file.destination, **settings)
    return PlannedFile(file, len(plan.parts), memory_bytes)


def make_tasks(
    files: Sequence[PlannedFile],
    settings: Mapping[str, Any],
    *,
    small_bytes: int = 0,
    slot_memory_bytes: int,
    slots_per_node: int,
    package: str = "",
) -> list[TaskSpec]:
    """Return the tasks, largest first, each with the slots that its memory needs.

    Raises:
        PoolTooSmall: a whole node could not hold a file. The service would leave its task waiting
            for ever on idle nodes.
    """
    tasks = []
    for group in pack(files, small_bytes):
        worst = max(group, key=lambda item: item.memory_bytes)
        num_slots = max(1, -(-worst.memory_bytes // max(1, slot_memory_bytes)))
        if num_slots > slots_per_node:
            raise PoolTooSmall(
                f"{worst.file.source} needs about {worst.memory_bytes >> 20} MiB of memory, and a "
                f"node has {(slot_memory_bytes * slots_per_node) >> 20} MiB for tasks; take larger "
                "nodes, or a smaller --target-size"
            )
        members = tuple(item.file for item in group)
        tasks.append(TaskSpec(members, dict(settings), num_slots, package))
    return tasks


def expected_seconds(tasks: Sequence[TaskSpec], num_slots: int) -> float:
    """Return how long tasks take on so many slots, begun in this order (assumed rates)."""
    free_at = [0.0] * max(1, num_slots)
    for task in tasks:
        first = min(range(len(free_at)), key=free_at.__getitem__)
        free_at[first] += SECONDS_A_TASK + task.size_bytes / BYTES_PER_SECOND
    return max(free_at)


def num_requests(tasks: Sequence[TaskSpec]) -> int:
    """Return how many requests to Azure Batch a first submission takes, if all go well.

    One looks for the job, one makes it, one lists its tasks, one lets it end.
    """
    return 4 + -(-len(tasks) // TASKS_A_REQUEST)


def submit(service: Service, job: JobSpec, tasks: Sequence[TaskSpec]) -> Submission:
    """Have every task done that is not: make the job, or finish making it, or its next attempt.

    Raises:
        engine.EvensplitError: the service refuses, or has failed.
    """
    done: set[str] = set()
    for attempt in range(MOST_ATTEMPTS):
        this = replace(job, attempt=attempt)
        found = service.find_job(this.id)
        if found is not None and found.state == "ended":
            done |= {task.id for task in service.tasks(this.id) if task.state == "done"}
            if done.issuperset(task.id for task in tasks):
                return Submission(this.id, num_found=len(tasks))
            continue
        try:
            return _fill(service, this, [task for task in tasks if task.id not in done], len(done))
        except JobEnded:
            continue
    raise BadSetting(
        f"this was submitted {MOST_ATTEMPTS} times and still fails; see `evensplit batch status`, "
        "and delete its jobs with `evensplit batch clean` to begin anew"
    )


def _fill(service: Service, job: JobSpec, wanted: Sequence[TaskSpec], num_done: int) -> Submission:
    service.create_job(job)
    states = {task.id: task.state for task in service.tasks(job.id)}
    missing = [task for task in wanted if task.id not in states]
    failed = [task.id for task in wanted if states.get(task.id) == "failed"]
    service.add_tasks(job, missing)
    for task_id in failed:
        service.run_again(job.id, task_id)
    service.close_job(job.id)
    num_found = num_done + len(wanted) - len(missing) - len(failed)
    return Submission(job.id, len(missing), len(failed), num_found)
