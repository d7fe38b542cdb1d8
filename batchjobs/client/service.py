"""Azure Batch through the SDK's client: jobs, tasks and pools as requests and answers.

Which tasks there should be is :mod:`batchjobs.fanout`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from azure.batch import BatchClient, models
from azure.core.exceptions import HttpResponseError

from batchjobs.client.bodies import (
    MADE_BY,
    PACKAGE_NAME,
    SPEC_NAME,
    job_options,
    pool_options,
    task_options,
)
from batchjobs.client.errors import (
    code_of,
    existing,
    other_pool,
    quota_advice,
    translate_sdk_errors,
)
from batchjobs.errors import NoJob, NoNodes, RunnerLost
from batchjobs.service import JobEnded, JobState, JobStatus, TaskStatus
from batchjobs.spec import JobSpec, PoolSpec, SupportedImage, TaskSpec
from engine import BadSetting, EvensplitError

_TASK_FIELDS = ["id", "displayName", "state", "executionInfo", "nodeInfo"]
_JOB_FIELDS = ["id", "state", "executionInfo", "poolInfo", "metadata", "onAllTasksComplete"]
_NODE_FIELDS = ["id", "state", "startTaskInfo", "lastBootTime"]
_ENDED = frozenset({"terminating", "completed", "deleting"})
_READY = frozenset({"idle", "running"})
_POLL_SECONDS = 5.0
_USELESS = frozenset({"starttaskfailed", "unusable"})
_RUNS_CONTAINERS = "DockerCompatible"
_GONE = 404, 409  # a file that is not there yet, or not any more


@dataclass(frozen=True)
class PoolStatus:
    """A pool as the service sees it; ``problem`` is what keeps it from having its nodes."""

    id: str
    state: str
    vm_size: str
    slots_per_node: int
    num_dedicated: int
    num_spot: int
    package: str
    formula: str
    problem: str
    num_wanted: int = 0
    is_resizing: bool = False


class AzureBatch:
    """:class:`batchjobs.service.Service` on Azure Batch, and its pools."""

    def __init__(self, client: BatchClient) -> None:
        self._client = client

    def find_job(self, job_id: str) -> JobStatus | None:
        """See the protocol."""
        with translate_sdk_errors():
            try:
                return _job_status(self._client.get_job(job_id))
            except HttpResponseError as error:
                if code_of(error) == "JobNotFound":
                    return None
                raise

    def jobs(self) -> list[JobStatus]:
        """See the protocol."""
        with translate_sdk_errors():
            found = self._client.list_jobs(select=_JOB_FIELDS)
            return [_job_status(job) for job in found if _is_ours(job.metadata)]

    def create_job(self, job: JobSpec) -> None:
        """See the protocol."""
        with translate_sdk_errors(), existing("JobExists"):
            self._client.create_job(job_options(job))

    def add_tasks(self, job: JobSpec, tasks: Sequence[TaskSpec]) -> None:
        """See the protocol; the SDK adds 100 with one request, and tasks that exist are fine."""
        if not tasks:
            return
        # It takes them from the end of the list.
        options = [task_options(job, task) for task in reversed(tasks)]
        with translate_sdk_errors(job.id):
            self._client.create_tasks(job.id, options)

    def close_job(self, job_id: str) -> None:
        """See the protocol."""
        mode = models.BatchAllTasksCompleteMode.TERMINATE_JOB
        try:
            with translate_sdk_errors(job_id):
                options = models.BatchJobUpdateOptions(all_tasks_complete_mode=mode)
                self._client.update_job(job_id, options)
        except JobEnded:  # what was wanted
            return

    def tasks(self, job_id: str) -> list[TaskStatus]:
        """See the protocol."""
        with translate_sdk_errors():
            return [
                _task_status(item) for item in self._client.list_tasks(job_id, select=_TASK_FIELDS)
            ]

    def run_again(self, job_id: str, task_id: str) -> None:
        """See the protocol."""
        with translate_sdk_errors(job_id):
            self._client.reactivate_task(job_id, task_id)

    def read_file(self, job_id: str, task_id: str, path: str) -> bytes | None:
        """See the protocol."""
        with translate_sdk_errors():
            try:
                return b"".join(self._client.download_task_file(job_id, task_id, path))
            except HttpResponseError as error:
                if error.status_code in _GONE:
                    return None
                raise

    def cancel_job(self, job_id: str) -> None:
        """See the protocol; the service ends the job a little later."""
        # The SDK wants a body, and does not export the class that it declares for it.
        reason: Any = {"terminateReason": "cancelled"}
        try:
            with translate_sdk_errors(job_id):
                self._client.begin_terminate_job(job_id, reason)
        except JobEnded:
            return

    def delete_job(self, job_id: str) -> None:
        """See the protocol."""
        with translate_sdk_errors():
            self._client.begin_delete_job(job_id)

    def obstacle(self, job: JobStatus, tasks: Sequence[TaskStatus]) -> EvensplitError | None:
        """See the protocol: no nodes, only useless ones, or a submit that was cut short."""
        states = {task.state for task in tasks}
        if not job.is_closed and states <= {"done", "failed"}:
            return RunnerLost(
                f"all tasks of {job.id} are over, and it waits for more: the submit that made it "
                "was cut short; run it again"
            )
        if "running" in states or "waiting" not in states:
            return None
        try:
            pool = self.find_pool(job.pool_id)
        except NoJob:
            return NoNodes(f"pool {job.pool_id} is not there any more; cancel the job, or make it")
        has_none = not (pool.num_dedicated + pool.num_spot or pool.formula or pool.is_resizing)
        # Spot nodes that were taken away come back, unless nobody asks for them.
        if has_none and (pool.problem or not pool.num_wanted):
            advice = f"give it some with `evensplit batch pool resize {pool.id}`"
            return NoNodes(f"pool {pool.id} has no nodes: {pool.problem or advice}")
        with translate_sdk_errors():
            listed = list(self._client.list_nodes(job.pool_id, select=_NODE_FIELDS))
        if not listed or any(node.state not in _USELESS for node in listed):
            return None
        return NoNodes(
            f"no node of pool {pool.id} can run tasks: {_node_problem(listed[0])}; mend its "
            f"package, then `evensplit batch pool delete {pool.id}` and make it anew"
        )

    def has_pool(self, pool_id: str, pool: PoolSpec) -> bool:
        """Return whether a pool is there.

        Raises:
            PoolDiffers: one of that name was made by another spec.
        """
        with translate_sdk_errors():
            try:
                metadata = _as_dict(self._client.get_pool(pool_id).metadata)
            except HttpResponseError as error:
                if code_of(error) == "PoolNotFound":
                    return False
                raise
        if metadata.get(SPEC_NAME) != pool.id:
            raise other_pool(pool_id)
        return True

    def create_pool(self, pool_id: str, pool: PoolSpec) -> bool:
        """Make a pool; False if it was there already.

        Raises:
            PoolDiffers: one of that name was made by another spec.
        """
        with translate_sdk_errors():
            try:
                self._client.create_pool(pool_options(pool_id, pool))
                return True
            except HttpResponseError as error:
                if code_of(error) != "PoolExists":
                    raise
        self.has_pool(pool_id, pool)
        return False

    def find_pool(self, pool_id: str) -> PoolStatus:
        """Return a pool.

        Raises:
            NoJob: there is none.
        """
        with translate_sdk_errors():
            return _pool_status(self._client.get_pool(pool_id))

    def resize_pool(self, pool_id: str, num_dedicated: int, num_spot: int) -> None:
        """Give a pool so many nodes; those that leave finish their tasks."""
        options = models.BatchPoolResizeOptions(
            target_dedicated_nodes=num_dedicated,
            target_low_priority_nodes=num_spot,
            node_deallocation_option=models.BatchNodeDeallocationOption.TASK_COMPLETION,
        )
        with translate_sdk_errors():
            self._client.begin_resize_pool(pool_id, options)

    def pool_problem(self, pool_id: str) -> str:
        """Return what keeps a pool from having its nodes, or these from running tasks."""
        problem = self.find_pool(pool_id).problem
        nodes = list(self._nodes(pool_id).values())
        useless = [node for node in nodes if node.state in _USELESS]
        if problem or not useless:
            return problem
        why = _node_problem(useless[0])
        return (
            f"{len(useless)} of {len(nodes)} nodes run nothing: {why}; deploy a package that "
            "installs, then give the pool no nodes, and some again"
        )

    def reboot_nodes(self, pool_id: str, tell: Callable[[str], None]) -> int:
        """Reboot a pool's nodes one after the other, each after its tasks; return how many.

        The next one waits until the last has run its start task, so a package that does not
        install costs one node. Only nodes that are idle or run tasks can be rebooted: Compute
        Node - Reboot (https://learn.microsoft.com/rest/api/batchservice/compute-node/reboot).

        Raises:
            NoNodes: a node does not come back.
        """
        # The SDK does not export the class that it declares for it.
        options: Any = {"nodeRebootOption": "taskcompletion"}
        there = self._nodes(pool_id)
        before = {name: node for name, node in there.items() if node.state in _READY}
        for name in sorted(there.keys() - before.keys()):
            tell(f"node {name} is left as it is: {_node_problem(there[name])}")
        for number, (name, node) in enumerate(before.items(), 1):
            tell(f"node {name}, {number} of {len(before)}: reboots after its tasks")
            with translate_sdk_errors():
                self._client.begin_reboot_node(pool_id, name, options)
            while (now := self._nodes(pool_id).get(name)) is not None:  # Spot nodes may go
                if now.last_boot_time != node.last_boot_time and now.state in _READY:
                    break
                if now.last_boot_time != node.last_boot_time and now.state in _USELESS:
                    raise NoNodes(
                        f"node {name} of pool {pool_id} does not come back: {_node_problem(now)}; "
                        "the others are as they were: mend the package, and deploy it again"
                    )
                time.sleep(_POLL_SECONDS)
        return len(before)

    def _nodes(self, pool_id: str) -> dict[str, models.BatchNode]:
        with translate_sdk_errors():
            listed = self._client.list_nodes(pool_id, select=_NODE_FIELDS)
            return {node.id or "": node for node in listed}

    def delete_pool(self, pool_id: str) -> None:
        """Delete a pool, and end what runs on it."""
        with translate_sdk_errors():
            self._client.begin_delete_pool(pool_id)

    def evaluate(self, pool_id: str, formula: str) -> str:
        """Return what the service makes of a formula now, for a pool that scales itself.

        Raises:
            BadSetting: it is no formula.
        """
        options = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
        with translate_sdk_errors():
            run = self._client.evaluate_pool_auto_scale(pool_id, options)
        if run.error is not None:
            values = [f"{item.name}: {item.value}" for item in run.error.error_values or ()]
            raise BadSetting(f"the formula fails: {'; '.join([run.error.message or '', *values])}")
        return run.results or ""

    def images(self) -> list[SupportedImage]:
        """Return the images for Linux that the service supports here, by name."""
        with translate_sdk_errors():
            found = list(self._client.list_supported_images())
        linux = [item for item in found if item.os_type == models.OSType.LINUX]
        return sorted(map(_supported, linux), key=lambda image: (image.title, image.agent))


def _supported(item: models.BatchSupportedImage) -> SupportedImage:
    reference, end = item.image_reference, item.batch_support_end_of_life
    return SupportedImage(
        (reference.publisher or "").lower(),
        (reference.offer or "").lower(),
        (reference.sku or "").lower(),
        item.node_agent_sku_id,
        is_verified=item.verification_type == models.ImageVerificationType.VERIFIED,
        runs_containers=_RUNS_CONTAINERS in (item.capabilities or ()),
        end_date=end.date().isoformat() if end else "",
    )


def _as_dict(metadata: Sequence[models.BatchMetadataItem] | None) -> dict[str, str]:
    return {item.name: item.value for item in metadata or ()}


def _is_ours(metadata: Sequence[models.BatchMetadataItem] | None) -> bool:
    return _as_dict(metadata).get("made-by") == MADE_BY


def _job_status(job: models.BatchJob) -> JobStatus:
    info = job.execution_info
    reason = (info.termination_reason if info else None) or ""
    pool_id = (job.pool_info.pool_id if job.pool_info else None) or ""
    state: JobState = "ended" if job.state in _ENDED else "active"
    ended_at = info.end_time.timestamp() if info and info.end_time else 0.0
    mode = job.all_tasks_complete_mode
    is_closed = mode != models.BatchAllTasksCompleteMode.NO_ACTION
    return JobStatus(job.id or "", state, pool_id, reason, ended_at, is_closed)


def _task_status(task: models.BatchTask) -> TaskStatus:
    info, node = task.execution_info, task.node_info
    failure = info.failure_info if info else None
    reason = " ".join(filter(None, (failure.code, failure.message))) if failure else ""
    about: dict[str, Any] = {
        "exit_code": info.exit_code if info else None,
        "reason": reason,
        "num_retries": (info.retry_count if info else 0) or 0,
        "num_requeues": (info.requeue_count if info else 0) or 0,
        "node": (node.node_id if node else "") or "",
    }
    id_, title = task.id or "", task.display_name or ""
    if task.state == models.BatchTaskState.COMPLETED:
        failed = failure is not None or about["exit_code"] != 0
        return TaskStatus(id_, title, "failed" if failed else "done", **about)
    running = task.state == models.BatchTaskState.RUNNING
    return TaskStatus(id_, title, "running" if running else "waiting", **about)


def _pool_status(pool: models.BatchPool) -> PoolStatus:
    return PoolStatus(
        id=pool.id or "",
        state=str(getattr(pool.state, "value", "")),
        vm_size=pool.vm_size or "",
        slots_per_node=pool.task_slots_per_node or 1,
        num_dedicated=pool.current_dedicated_nodes or 0,
        num_spot=pool.current_low_priority_nodes or 0,
        package=_as_dict(pool.metadata).get(PACKAGE_NAME, ""),
        formula=pool.auto_scale_formula or "",
        problem="; ".join(_resize_problem(item) for item in pool.resize_errors or ()),
        num_wanted=(pool.target_dedicated_nodes or 0) + (pool.target_low_priority_nodes or 0),
        is_resizing=pool.allocation_state == models.AllocationState.RESIZING,
    )


def _resize_problem(error: models.ResizeError) -> str:
    code = error.code or ""
    return "; ".join(filter(None, [f"{code}: {error.message}", quota_advice(code)]))


def _node_problem(node: models.BatchNode) -> str:
    info = node.start_task_info
    failure = info.failure_info if info else None
    if failure is None:
        return str(getattr(node.state, "value", ""))
    code = f"exit code {info.exit_code}" if info else ""
    return f"its start task failed ({failure.message or failure.code}, {code})"
