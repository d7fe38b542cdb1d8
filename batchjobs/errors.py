"""Errors of jobs, tasks and pools: leaves of the tree in ``engine/errors.py``, and its group 7.

Names, kinds and exit codes are kept to as there: a kind is stable, a message is one line.
"""

from __future__ import annotations

from engine import CallError, EvensplitError, RetryError


class NoJob(CallError):
    """There is no such job, task or pool, or not any more."""

    kind = "call.no-job"


class PoolDiffers(CallError):
    """A pool, job or task of this name exists, and was made by another spec."""

    kind = "call.pool-differs"


class PoolInUse(CallError):
    """What is wanted of a pool can only be done while it has no nodes."""

    kind = "call.pool-in-use"


class PoolTooSmall(CallError):
    """No node of the pool can hold a task."""

    kind = "call.pool-too-small"


class OverQuota(CallError):
    """The Batch account's quota does not allow it."""

    kind = "call.quota"


class NoNodes(CallError):
    """The pool has no node that could run tasks, and will get none by itself."""

    kind = "call.no-nodes"


class NotReady(CallError):
    """A check of a deployment failed."""

    kind = "call.not-ready"


class ServiceFailed(RetryError):
    """Azure Batch failed or refused in a way that may pass."""

    kind = "retry.batch"


class RunnerLost(RetryError):
    """The process that filled or ran a job has ended before the job."""

    kind = "retry.runner-lost"


class TasksInterrupted(RetryError):
    """Tasks of a job did not finish, for reasons that may pass."""

    kind = "retry.tasks"


class JobError(EvensplitError):
    """A job ended, and not all of its tasks did what they were to do."""

    kind, exit_code = "job", 7


class TasksFailed(JobError):
    """Tasks failed, at least one of them for a reason that will not pass by itself."""

    kind = "job.tasks-failed"
