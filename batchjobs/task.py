"""What runs on a node: split the files of one task, tell how far it is, and leave a result.

A node may vanish and the same task begin again elsewhere with an empty disk, unannounced. All that
must survive is therefore in the destination (the engine's plan and receipts), and what is written
to the working directory is for whoever watches:

* ``progress.json``: how far it is, replaced every few seconds;
* ``result.json``: what came of each file, written last, also after failures.

The exit code is that of the error's group. :func:`is_transient` tells which of them may pass.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import engine
from batchjobs.service import NODE_MEMORY_MARGIN, PROGRESS, RESULT, is_transient
from batchjobs.spec import FileSplit, TaskSpec, source_options_of
from engine import EvensplitError, OverBudget, SourceChanged, hooks
from engine.hooks import counted, sum_or_none

PROGRESS_SECONDS = 2.0
# What a destination is refused with that holds parts of other settings, or of an older source.
_OF_ANOTHER_PLAN = ("call.other-plan", SourceChanged.kind)


@dataclass(frozen=True)
class Slot:
    """What a task may use of its node."""

    memory_bytes: int
    num_cores: int


def measure_slot(slots_per_node: int, num_slots: int) -> Slot:
    """Return this node's share for a task that takes so many of its slots."""
    import psutil

    cores = hooks.num_cores()
    share = min(1.0, num_slots / slots_per_node)
    memory_bytes = int(psutil.virtual_memory().total * share * NODE_MEMORY_MARGIN)
    return Slot(memory_bytes, max(1, int(cores * share)))


class TaskProgress(engine.Progress):
    """Writes how far a task is; sizes are of the parts, of files not begun yet of the source."""

    def __init__(
        self, folder: Path, spec: TaskSpec, say: Callable[[str], None] | None = None
    ) -> None:
        self._path = folder / PROGRESS
        self._say = say
        self._sizes = [file.size_bytes for file in spec.files]
        self._parts = [0, 0]
        self._done_bytes = self._growing_bytes = 0
        self._index = -1
        self._written = float("-inf")
        self._lock = Lock()  # what grows is told by a thread

    def begin(self, index: int) -> None:
        """The split of a file begins."""
        self._index = index
        self._forget([0, 0])

    def _forget(self, parts: list[int]) -> None:
        self._parts = parts
        self._done_bytes = sum(self._sizes[: self._index])
        self._growing_bytes = 0

    def planned(self, plan: Any, num_resumed: int) -> None:
        """Its plan stands, maybe another than before."""
        with self._lock:
            self._sizes[self._index] = plan.predicted_bytes
            self._forget([num_resumed, len(plan.parts)])
            mean_bytes = plan.predicted_bytes // max(1, len(plan.parts))
            self._done_bytes += num_resumed * mean_bytes
            self._write()

    def growing(self, num_bytes: int) -> None:
        """Of parts that are not committed so much is written."""
        with self._lock:
            self._growing_bytes = num_bytes
            self._write_now_and_then()

    def committed(self, receipt: Any) -> None:
        """One of its parts is committed."""
        with self._lock:
            self._parts[0] += 1
            self._done_bytes += receipt.size_bytes
            self._growing_bytes = max(0, self._growing_bytes - receipt.size_bytes)
            if self._parts[0] == self._parts[1]:
                self._write()
            else:
                self._write_now_and_then()

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._written >= PROGRESS_SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        done_bytes, total_bytes = self._done_bytes + self._growing_bytes, sum(self._sizes)
        data = {
            "file_index": self._index,
            "num_files": len(self._sizes),
            "parts_done": self._parts[0],
            "num_parts": self._parts[1],
            "bytes_done": done_bytes,
            "total_bytes": total_bytes,
        }
        write_json(self._path, data)
        if self._say is not None:
            self._say(
                f"{self._parts[0]} of {counted(self._parts[1], 'part')}, {done_bytes / 1e6:.1f} of "
                f"{total_bytes / 1e6:.1f} MB"
            )


def write_json(path: Path, data: Any) -> None:
    """Replace a small file at once: a reader sees the old or the new one, whole."""
    hidden = path.with_name(f".{path.name}.new")
    hidden.write_text(json.dumps(data), encoding="utf-8")
    hidden.replace(path)


def run_task(
    spec: TaskSpec,
    folder: Path,
    slot: Slot,
    *,
    num_parts_listed: int = 0,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Split every file of a task and write ``result.json``; return what it holds.

    A file that fails does not keep the others from being split.

    Args:
        spec: the task.
        folder: its working directory.
        slot: what it may use.
        num_parts_listed: of each file, parts that the result lists besides counting them.
        say: is told how far it is, a line each time.
    """
    # An earlier attempt may have left its own, and this one may be killed.
    (folder / RESULT).unlink(missing_ok=True)
    settings = _fitted(spec.settings, slot)
    progress = TaskProgress(folder, spec, say)
    files: list[dict[str, Any]] = []
    for index, file in enumerate(spec.files):
        progress.begin(index)
        files.append(_split(file, settings, progress, num_parts_listed))
    result = _summed(spec, files)
    write_json(folder / RESULT, result)
    return result


def error_of(result: Mapping[str, Any]) -> EvensplitError | None:
    """Return what a task ends with: an error that will not pass comes before one that may."""
    failed = [file["error"] for file in result["files"] if "error" in file]
    if not failed:
        return None
    worst = min(failed, key=lambda error: is_transient(error["exit_code"]))
    text = worst["message"]
    if len(result["files"]) > 1:
        text = f"{len(failed)} of {counted(len(result['files']), 'file')} failed, as {text}"
    return hooks.make_error(worst["kind"], text)


def _fitted(settings: Mapping[str, Any], slot: Slot) -> dict[str, Any]:
    given = settings.get("memory")
    memory_bytes = slot.memory_bytes
    if given is not None:
        memory_bytes = min(memory_bytes, engine.parse_size(given))
    # One more than cores, as the engine has it: copying waits for the disk now and then.
    workers = settings.get("workers", slot.num_cores + 1)
    return {**settings, "memory": memory_bytes, "workers": workers}


def _split(
    file: FileSplit, settings: Mapping[str, Any], progress: TaskProgress, num_listed: int
) -> dict[str, Any]:
    about = {"source": file.source, "destination": file.destination}
    try:
        _check_version(file, settings)
        done = _split_once(file, settings, progress)
    except EvensplitError as error:
        return about | {"error": error.as_dict()}
    except MemoryError:
        full = OverBudget("out of memory; give the task more slots, or the pool larger nodes")
        return about | {"error": full.as_dict()}
    parts = done.manifest.parts
    listed = [
        {"name": part.name, "num_rows": part.num_rows, "size_bytes": part.size_bytes}
        for part in parts[:num_listed]
    ]
    return (
        about
        | ({"parts": listed} if num_listed else {})
        | {
            "num_parts": len(parts),
            "num_rows": done.manifest.num_rows,
            "size_bytes": done.manifest.size_bytes,
            "reencoded_bytes": sum(part.reencoded_bytes for part in parts),
            "num_resumed": done.num_resumed,
            "elapsed_seconds": round(done.elapsed_seconds, 3),
            "peak_memory_bytes": done.peak_memory_bytes,
            "manifest": f"{done.destination}/_evensplit/manifest.json",
        }
    )


def _split_once(
    file: FileSplit, settings: Mapping[str, Any], progress: TaskProgress
) -> engine.SplitResult:
    """Split a file; parts that are there already are overwritten only if they are of another plan.

    A trigger tells of a file more than once, and its parts may be read by then.
    """
    if not settings.get("overwrite"):
        return engine.split(file.source, file.destination, progress=progress, **settings)
    try:
        kept = {**settings, "overwrite": False}
        return engine.split(file.source, file.destination, progress=progress, **kept)
    except EvensplitError as error:
        if error.kind not in _OF_ANOTHER_PLAN:
            raise
        _check_version(file, settings)
        return engine.split(file.source, file.destination, progress=progress, **settings)


def _check_version(file: FileSplit, settings: Mapping[str, Any]) -> None:
    if not file.version:
        return
    (found,) = engine.find_sources(file.source, **source_options_of(settings))
    if found.version != file.version:
        raise SourceChanged(
            f"{file.source} is not the file that was submitted; submit it again as it is now"
        )


def _summed(spec: TaskSpec, files: list[dict[str, Any]]) -> dict[str, Any]:
    error = error_of({"files": files})
    outcome = "done"
    if error is not None:
        outcome = "transient" if is_transient(error.exit_code) else "permanent"
    keys = ("num_parts", "num_rows", "size_bytes", "num_resumed")
    totals = {key: sum_or_none(file.get(key, 0) for file in files) for key in keys}
    return {"task": spec.id, "outcome": outcome, **totals, "files": files}
