"""What goes into one task: a large file alone, small ones together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchjobs.spec import FileSplit

# 100 specs make one request of at most 1 MB, and the service halves larger ones.
MAX_FILES_A_TASK = 64


@dataclass(frozen=True)
class PlannedFile:
    """A file with what its split is expected to take.

    Attributes:
        file: source and destination.
        num_parts: that it becomes.
        parts_bytes: of all parts together.
        memory_bytes: the least that the run takes.
        disk_bytes: of the machine that runs it; 0 where parts go to a store.
        network_bytes: that pass through that machine; a store copies the others by itself.
        problem: why it could not be planned, empty if it could.
    """

    file: FileSplit
    num_parts: int = 0
    parts_bytes: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    network_bytes: int = 0
    problem: str = ""


def pack(files: Iterable[PlannedFile], small_bytes: int = 0) -> list[list[PlannedFile]]:
    """Return the files of each task, the task with most bytes first.

    Files are taken together while they have at most ``small_bytes``; 0 gives each a task of its
    own. One that could not be planned stays alone, so that it fails alone.
    """
    ordered = sorted(files, key=lambda item: (-item.file.size_bytes, item.file.source))
    tasks: list[list[PlannedFile]] = []
    open_task: list[PlannedFile] = []
    for item in ordered:
        if item.problem or item.file.size_bytes * 2 > small_bytes:
            tasks.append([item])
        elif open_task and _has_room(open_task, item, small_bytes):
            open_task.append(item)
        else:
            open_task = [item]
            tasks.append(open_task)
    return sorted(tasks, key=lambda task: -_size_bytes(task))


def _has_room(task: Sequence[PlannedFile], item: PlannedFile, most_bytes: int) -> bool:
    fits = _size_bytes(task) + item.file.size_bytes <= most_bytes
    return fits and len(task) < MAX_FILES_A_TASK


def _size_bytes(task: Sequence[PlannedFile]) -> int:
    return sum(item.file.size_bytes for item in task)
