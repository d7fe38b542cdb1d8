"""How a job goes: counts, how far each file is, why tasks failed and what to do about it.

Reads what the service says of tasks, and of running and failed ones the small files that
:mod:`batchjobs.task` writes.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from batchjobs.errors import NoJob, TasksFailed, TasksInterrupted
from batchjobs.service import (
    PROGRESS,
    RESULT,
    WORKING_FOLDER,
    JobStatus,
    Service,
    TaskStatus,
    is_transient,
)
from engine import EvensplitError
from engine.hooks import counted

ADVICE = {
    2: "fix the settings and submit again",
    3: "fix or replace the source and submit again",
    4: "take larger nodes, fewer slots a node, or a smaller --target-size",
    5: "submit again: it resumes",
    6: "do not use these parts; report it",
    70: "report a defect of evensplit, with the task's log",
}
_ADVICE_KILLED = (
    "the process was ended from outside (memory, --max-hours, --max-job-hours); submit again, it "
    "resumes"
)


@dataclass(frozen=True)
class TaskReport:
    """A task, how far it is (0 to 1), and what went wrong with which advice."""

    task: TaskStatus
    share_done: float
    problem: str = ""
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        more = {"share_done": self.share_done, "problem": self.problem, "advice": self.advice}
        return self.task.as_dict() | more


@dataclass(frozen=True)
class JobReport:
    """A job with all its tasks at one moment, and what keeps those that wait from being run."""

    job: JobStatus
    tasks: tuple[TaskReport, ...]
    obstacle: EvensplitError | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of tasks by state, every state named."""
        found = Counter(item.task.state for item in self.tasks)
        return {name: found[name] for name in ("waiting", "running", "done", "failed")}

    @property
    def failed(self) -> list[TaskReport]:
        """The tasks that failed."""
        return [item for item in self.tasks if item.task.state == "failed"]

    def error(self) -> EvensplitError | None:
        """Return what a script should end with, None while there is nothing wrong.

        Failed tasks of an active job may do better yet, so only what will not pass counts there.
        """
        if self.job.state == "active":
            return self.obstacle
        not_done = [item for item in self.tasks if item.task.state != "done"]
        if not not_done:
            return None
        text = (
            f"{len(not_done)} of {counted(len(self.tasks), 'task')} of {self.job.id} "
            f"{'is' if len(not_done) == 1 else 'are'} not done"
        )
        lasting = [item for item in self.failed if not is_transient(item.task.exit_code)]
        if not lasting:
            return TasksInterrupted(f"{text}; submit again, what is done stays done")
        first = lasting[0]
        return TasksFailed(f"{text}; {first.task.title}: {first.problem}; {first.advice}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        tasks = [item.as_dict() for item in self.tasks]
        obstacle = str(self.obstacle) if self.obstacle else ""
        return asdict(self.job) | {"counts": self.counts, "obstacle": obstacle, "tasks": tasks}


def look(service: Service, job_id: str) -> JobReport:
    """Return how a job goes now.

    Raises:
        NoJob: there is no such job.
    """
    job = service.find_job(job_id)
    if job is None:
        raise NoJob(f"there is no job {job_id}; see `evensplit batch list`")
    tasks = tuple(_report(service, job_id, task) for task in service.tasks(job_id))
    if job.state == "ended":
        return JobReport(job, tasks)
    return JobReport(job, tasks, service.obstacle(job, [item.task for item in tasks]))


def wait(
    service: Service, job_id: str, on_look: Callable[[JobReport], None], *, poll_seconds: float
) -> JobReport:
    """Look until the job has ended, or cannot; return the last report.

    An obstacle counts when it is seen twice: the first nodes of a pool, or the process that runs
    a job here, may be just about to begin.
    """
    num_stalled = 0
    while True:
        report = look(service, job_id)
        on_look(report)
        num_stalled = num_stalled + 1 if report.obstacle else 0
        if report.job.state == "ended" or num_stalled == 2:
            return report
        time.sleep(poll_seconds)


def _report(service: Service, job_id: str, task: TaskStatus) -> TaskReport:
    if task.state == "failed":
        problem = _problem(service, job_id, task)
        return TaskReport(task, 0.0, problem, _advice(task.exit_code))
    if task.state == "running":
        data = _read(service, job_id, task.id, PROGRESS)
        share = data.get("bytes_done", 0) / max(1, data.get("total_bytes", 1))
        return TaskReport(task, min(1.0, share))
    return TaskReport(task, 1.0 if task.state == "done" else 0.0)


def _problem(service: Service, job_id: str, task: TaskStatus) -> str:
    files = _read(service, job_id, task.id, RESULT).get("files", [])
    errors = [file["error"] for file in files if "error" in file]
    told = [f"{error['kind']}: {error['message']}" for error in errors]
    return "; ".join(told) or task.reason


def _advice(exit_code: int | None) -> str:
    if exit_code is not None and exit_code in ADVICE:
        return ADVICE[exit_code]
    return _ADVICE_KILLED if is_transient(exit_code) else "see the task's log"


def _read(service: Service, job_id: str, task_id: str, name: str) -> dict[str, Any]:
    """Return a small file of a task; it may be missing, or its node gone."""
    data = service.read_file(job_id, task_id, f"{WORKING_FOLDER}/{name}")
    if not data:
        return {}
    try:
        found = json.loads(data)
    except ValueError:  # cut off by a full disk
        return {}
    return found if isinstance(found, dict) else {}
