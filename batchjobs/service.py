"""What runs jobs of tasks: the contract, and what is said about jobs and tasks.

:mod:`batchjobs.client` keeps it on Azure Batch, :mod:`batchjobs.local` on this machine;
``tests/batchjobs/test_contract.py`` is one suite run on both. What both promise:

* Making what is there already is no error and changes nothing, so every call may be repeated.
* A task runs until it is done or has failed too often; one that was lost with its node begins anew
  under the same id with an empty directory.
* A job that has ended takes no tasks any more (:class:`JobEnded`).
* Only errors of the façade's register come out, none of them with a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from batchjobs.spec import JobSpec, TaskSpec
from engine import EvensplitError, RetryError

PROGRESS, RESULT = "progress.json", "result.json"
STDOUT, STDERR = "stdout.txt", "stderr.txt"
WORKING_FOLDER = "wd"
SPEC_VARIABLE = "EVENSPLIT_TASK_SPEC"
SLOTS_VARIABLE = "EVENSPLIT_SLOTS_PER_NODE"

# Who asks Azure Batch; see batchjobs.client.credentials.
CREDENTIALS = ("auto", "key", "service-principal", "cli", "identity")

NODE_MEMORY_MARGIN = 0.8  # the node's system and agent live there too

TaskState = Literal["waiting", "running", "done", "failed"]
JobState = Literal["active", "ended"]

_KILLED_CODES = range(128, 160)  # a shell's codes for signals; Python's own are negative


def is_transient(exit_code: int | None) -> bool:
    """Whether a task that ended so may do better when it is run again as it is."""
    if exit_code is None or exit_code < 0:
        return True
    return exit_code == RetryError.exit_code or exit_code in _KILLED_CODES


class JobEnded(Exception):
    """The job ended before it could be told something."""


@dataclass(frozen=True)
class TaskStatus:
    """One task as the service sees it; ``reason`` says why it failed, as far as it knows."""

    id: str
    title: str
    state: TaskState
    exit_code: int | None = None
    reason: str = ""
    num_retries: int = 0
    num_requeues: int = 0
    node: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class JobStatus:
    """One job as the service sees it.

    ``ended_at`` is seconds of the epoch, 0 if it has not ended; ``is_closed`` is False while it may
    get more tasks, so that it does not end with its last one.
    """

    id: str
    state: JobState
    pool_id: str = ""
    reason: str = ""
    ended_at: float = 0.0
    is_closed: bool = True


class Service(Protocol):
    """Something that runs jobs; see the module for what it promises."""

    def find_job(self, job_id: str) -> JobStatus | None:
        """Return a job, None if there is none."""

    def jobs(self) -> list[JobStatus]:
        """Return every job that evensplit made and nobody deleted."""

    def create_job(self, job: JobSpec) -> None:
        """Make a job that stays active, with or without tasks, until :meth:`close_job`."""

    def add_tasks(self, job: JobSpec, tasks: Sequence[TaskSpec]) -> None:
        """Add tasks; they are begun in this order. Raises JobEnded."""

    def close_job(self, job_id: str) -> None:
        """Let the job end once all its tasks are done or have failed."""

    def tasks(self, job_id: str) -> list[TaskStatus]:
        """Return all tasks of a job."""

    def run_again(self, job_id: str, task_id: str) -> None:
        """Have a failed task begin anew. Raises JobEnded."""

    def read_file(self, job_id: str, task_id: str, path: str) -> bytes | None:
        """Return a file of a task's directory, None if there is none (any more)."""

    def cancel_job(self, job_id: str) -> None:
        """End a job and what runs of it."""

    def obstacle(self, job: JobStatus, tasks: Sequence[TaskStatus]) -> EvensplitError | None:
        """Return what keeps an active job's tasks from ever being run, None if they may be."""

    def delete_job(self, job_id: str) -> None:
        """Forget a job and its tasks."""
