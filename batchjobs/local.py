"""Tasks as processes of this machine: the service for a laptop, and for trying a fan-out.

A job is a folder, a task a folder in it with ``stdout.txt``, ``stderr.txt`` and the working
directory ``wd``, as on a node. Files are replaced whole, so that other processes may look and
cancel. Only :meth:`LocalService.run` starts anything, one runner a job at a time. Unlike Azure
Batch it runs a task again only after an error that may pass.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from batchjobs.errors import NoJob, RunnerLost, ServiceFailed
from batchjobs.service import (
    SLOTS_VARIABLE,
    SPEC_VARIABLE,
    STDERR,
    STDOUT,
    WORKING_FOLDER,
    JobEnded,
    JobStatus,
    TaskStatus,
    is_transient,
)
from batchjobs.spec import JobSpec, TaskSpec
from engine import EvensplitError, hooks

PREFIX = "local"
POLL_SECONDS = 0.05
_GRACE_SECONDS = 5.0
_COMMAND = (sys.executable, "-c", "from engine.cli.start import main; main()", "batch", "task")


def default_root() -> Path:
    """Return where this user's local jobs are kept."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(os.environ.get("EVENSPLIT_BATCH_FOLDER") or Path(state) / "evensplit" / "batch")


@dataclass
class _Running:
    """A task that a process is at work on."""

    folder: Path
    process: subprocess.Popen[bytes]
    num_slots: int
    deadline: float


class LocalService:
    """:class:`batchjobs.service.Service` on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find_job(self, job_id: str) -> JobStatus | None:
        """See the protocol."""
        data = _read(self._root / job_id / "job.json")
        if data is None:
            return None
        ended_at = 0.0
        if data["state"] == "ended":
            ended_at = (self._root / job_id / "job.json").stat().st_mtime
        return JobStatus(job_id, data["state"], "this machine", data["reason"], ended_at)

    def jobs(self) -> list[JobStatus]:
        """See the protocol."""
        names = sorted(path.parent.name for path in self._root.glob("*/job.json"))
        return [job for name in names if (job := self.find_job(name))]

    def create_job(self, job: JobSpec) -> None:
        """See the protocol."""
        folder = self._root / job.id
        if not (folder / "job.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            data = {"spec": asdict(job), "state": "active", "closed": False, "reason": ""}
            _write(folder / "job.json", data | {"filled_by": _this_process()})

    def add_tasks(self, job: JobSpec, tasks: Sequence[TaskSpec]) -> None:
        """See the protocol."""
        self._check_active(job.id)
        self._change_job(job.id, filled_by=_this_process())
        position = len(self._task_folders(job.id))
        for task in tasks:
            folder = self._root / job.id / task.id
            if (folder / "state.json").exists():
                continue
            folder.mkdir(exist_ok=True)
            about = {"position": position, "title": task.title, "num_slots": task.num_slots}
            _write(folder / "task.json", about | {"spec": task.to_json()})
            _write(folder / "state.json", _fresh())
            position += 1

    def close_job(self, job_id: str) -> None:
        """See the protocol."""
        self._change_job(job_id, closed=True)
        self._end_if_done(job_id)

    def tasks(self, job_id: str) -> list[TaskStatus]:
        """See the protocol."""
        return [_status(folder) for folder in self._task_folders(job_id)]

    def run_again(self, job_id: str, task_id: str) -> None:
        """See the protocol."""
        self._check_active(job_id)
        _write(self._task_folder(job_id, task_id) / "state.json", _fresh())

    def read_file(self, job_id: str, task_id: str, path: str) -> bytes | None:
        """See the protocol."""
        try:
            return (self._task_folder(job_id, task_id) / path).read_bytes()
        except FileNotFoundError:
            return None

    def cancel_job(self, job_id: str) -> None:
        """See the protocol; a runner sees it at its next look and ends its processes."""
        self._change_job(job_id, state="ended", reason="cancelled")

    def obstacle(self, job: JobStatus, tasks: Sequence[TaskStatus]) -> EvensplitError | None:
        """See the protocol: nobody runs the job, or goes on filling it."""
        state = self._state(job.id)
        if not state["closed"] and _is_alive(state["filled_by"]):
            return None
        try:
            with self._only_runner(job.id):
                if self._state(job.id)["state"] == "ended":  # just now
                    return None
        except ServiceFailed:  # somebody does
            return None
        return RunnerLost(
            f"the process that ran {job.id} has ended before it; run the same submit again, it "
            "goes on where that stopped"
        )

    def delete_job(self, job_id: str) -> None:
        """See the protocol."""
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    def run(self, job_id: str, num_slots: int, on_look: Callable[[], None]) -> None:
        """Run the tasks of a job until it has ended; ``on_look`` is called every now and then.

        Raises:
            ServiceFailed: another process runs it already.
        """
        with self._only_runner(job_id, num_tries=20):
            runner = _Runner(self, job_id, self._task_folders(job_id), num_slots)
            with hooks.unwound(), closing(runner):
                while self._state(job_id)["state"] == "active":
                    if not runner.step():
                        self._end_if_done(job_id)
                    on_look()
                    time.sleep(POLL_SECONDS)

    def spec(self, job_id: str) -> dict[str, Any]:
        """Return the fields of a job's spec."""
        found: dict[str, Any] = self._state(job_id)["spec"]
        return found

    def _task_folders(self, job_id: str) -> list[Path]:
        found = [path.parent for path in (self._root / job_id).glob("*/state.json")]
        return sorted(found, key=lambda folder: _known(folder / "task.json")["position"])

    def _task_folder(self, job_id: str, task_id: str) -> Path:
        folder = self._root / job_id / task_id
        if "/" in task_id or not (folder / "state.json").exists():
            raise NoJob(
                f"job {job_id} has no task {task_id}; see `evensplit batch status {job_id}`"
            )
        return folder

    def _state(self, job_id: str) -> dict[str, Any]:
        found = _read(self._root / job_id / "job.json")
        if found is None:
            raise NoJob(f"there is no job {job_id} on this machine; see `evensplit batch list`")
        return found

    def _check_active(self, job_id: str) -> None:
        if self._state(job_id)["state"] == "ended":
            raise JobEnded(job_id)

    def _change_job(self, job_id: str, **changes: Any) -> None:
        _write(self._root / job_id / "job.json", self._state(job_id) | changes)

    def _end_if_done(self, job_id: str) -> None:
        states = {task.state for task in self.tasks(job_id)}
        if self._state(job_id)["closed"] and states <= {"done", "failed"}:
            self._change_job(job_id, state="ended", reason="all tasks are complete")

    @contextmanager
    def _only_runner(self, job_id: str, num_tries: int = 1) -> Iterator[None]:
        """Hold a job's lock; whoever looks for an obstacle holds it for a moment too."""
        self._state(job_id)
        with (self._root / job_id / ".runner").open("w") as lock:
            while not _taken(lock):
                num_tries -= 1
                if not num_tries:
                    raise ServiceFailed(
                        f"another process runs {job_id} already; `evensplit batch wait {job_id}`"
                    )
                time.sleep(POLL_SECONDS)
            yield


class _Runner:
    """Starts the tasks of one job as slots become free, in their order, and notes how they end."""

    def __init__(
        self, service: LocalService, job_id: str, folders: Sequence[Path], num_slots: int
    ) -> None:
        spec = service.spec(job_id)
        self._job_id = job_id
        self._num_slots = num_slots
        self._max_retries: int = spec["max_retries"]
        self._max_seconds: float = spec["max_task_seconds"]
        self._running: list[_Running] = []
        for folder in folders:
            _end_left_over(folder)
        self._waiting = [folder for folder in folders if _is_waiting(folder)]

    def step(self) -> bool:
        """Look at what runs, and start what can be; False once there is nothing to do."""
        for item in list(self._running):
            self._look(item)
        free = self._num_slots - sum(item.num_slots for item in self._running)
        while self._waiting and (need := self._slots_of(self._waiting[0])) <= free:
            self._start(self._waiting.pop(0), need)
            free -= need
        return bool(self._running or self._waiting)

    def close(self) -> None:
        """End all processes; what they were at work on waits again."""
        for item in self._running:
            item.process.terminate()
        for item in self._running:
            try:
                item.process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                item.process.kill()
                item.process.wait()
            _change(item.folder, state="waiting")
        self._running.clear()

    def _slots_of(self, folder: Path) -> int:
        return min(self._num_slots, int(_known(folder / "task.json")["num_slots"]))

    def _start(self, folder: Path, num_slots: int) -> None:
        work = folder / WORKING_FOLDER
        work.mkdir(exist_ok=True)
        with (folder / STDOUT).open("ab") as out, (folder / STDERR).open("ab") as err:
            process = self._popen(folder, work, out, err)
        started = psutil.Process(process.pid).create_time()
        _change(folder, state="running", pid=process.pid, started=started, node="this machine")
        deadline = time.monotonic() + self._max_seconds
        self._running.append(_Running(folder, process, num_slots, deadline))

    def _popen(
        self, folder: Path, work: Path, out: IO[bytes], err: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            SPEC_VARIABLE: str(_known(folder / "task.json")["spec"]),
            SLOTS_VARIABLE: str(self._num_slots),
            "AZ_BATCH_TASK_DIR": str(folder),
            "AZ_BATCH_TASK_WORKING_DIR": str(work),
            "AZ_BATCH_JOB_ID": self._job_id,
            "AZ_BATCH_TASK_ID": folder.name,
        }
        return subprocess.Popen(_COMMAND, env=environment, stdout=out, stderr=err)

    def _look(self, item: _Running) -> None:
        code = item.process.poll()
        if code is None and time.monotonic() < item.deadline:
            return
        self._running.remove(item)
        reason = ""
        if code is None:
            item.process.kill()
            code = item.process.wait()
            reason = f"took longer than {self._max_seconds} seconds"
        self._note(item.folder, code, reason)

    def _note(self, folder: Path, code: int, reason: str) -> None:
        num_retries = _known(folder / "state.json")["num_retries"]
        if code == 0:
            _change(folder, state="done", exit_code=0)
        elif not reason and is_transient(code) and num_retries < self._max_retries:
            _change(folder, state="waiting", exit_code=code, num_retries=num_retries + 1)
            self._waiting.append(folder)
        else:
            why = reason or f"ended with exit code {code}"
            _change(folder, state="failed", exit_code=code, reason=why)


def _this_process() -> dict[str, float]:
    return {"pid": os.getpid(), "started": psutil.Process().create_time()}


def _is_alive(process: dict[str, float]) -> bool:
    """Whether a process still is the one of this number; it may be another program's by now."""
    try:
        return psutil.Process(int(process["pid"])).create_time() == process["started"]
    except psutil.NoSuchProcess:
        return False


def _taken(lock: IO[str]) -> bool:
    return hooks.try_lock(lock.fileno())


def _fresh() -> dict[str, Any]:
    return {"state": "waiting", "exit_code": None, "reason": "", "num_retries": 0, "node": ""}


def _status(folder: Path) -> TaskStatus:
    state = _known(folder / "state.json")
    names = ("state", "exit_code", "reason", "num_retries", "node")
    about = {name: state[name] for name in names}
    return TaskStatus(folder.name, _known(folder / "task.json")["title"], **about)


def _is_waiting(folder: Path) -> bool:
    return bool(_known(folder / "state.json")["state"] == "waiting")


def _end_left_over(folder: Path) -> None:
    """End the process of a runner that died; its number may be another program's by now."""
    state = _known(folder / "state.json")
    if state["state"] != "running":
        return
    try:
        process = psutil.Process(state["pid"])
        if process.create_time() == state["started"]:
            process.kill()
            process.wait()
    except psutil.NoSuchProcess:
        pass
    _change(folder, state="waiting")


def _change(folder: Path, **changes: Any) -> None:
    _write(folder / "state.json", _known(folder / "state.json") | changes)


def _known(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _known(path)
    except FileNotFoundError:
        return None


def _write(path: Path, data: dict[str, Any]) -> None:
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    hidden.write_text(json.dumps(data), encoding="utf-8")
    hidden.replace(path)
