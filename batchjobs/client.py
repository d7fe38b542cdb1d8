"""The one door to Azure Batch: jobs, tasks and pools through the SDK's client.

Covers requests, what of their errors means what, and credentials. Which tasks there should be is
:mod:`batchjobs.fanout`'s business. A credential is chosen by name and never tried in a row: that
would wait for identities where there are none. Secrets come from the environment only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from batchjobs.service import SLOTS_VARIABLE, SPEC_VARIABLE, JobEnded, JobStatus, TaskStatus
from batchjobs.spec import JobSpec, PoolSpec, TaskSpec
from engine import (
    BadSetting,
    EvensplitError,
    NoJob,
    NoPermission,
    OverQuota,
    PoolDiffers,
    ServiceFailed,
)

CREDENTIALS = ("auto", "key", "service-principal", "cli", "identity")
MADE_BY = "evensplit"
SPEC_NAME, PACKAGE_NAME = "evensplit.spec", "evensplit.package"
INSTALLED = "$AZ_BATCH_NODE_SHARED_DIR/evensplit"
START_SCRIPT = "start.sh"
_MOST_TITLE = 1024
_TASK_FIELDS = ["id", "displayName", "state", "executionInfo", "nodeInfo"]
_ENDED = frozenset({"terminating", "completed", "deleting"})
_JOB_OVER = frozenset({"JobCompleted", "JobTerminating", "JobBeingDeleted", "JobBeingTerminated"})
_GONE = 404, 409  # a file that is not there yet, or not any more
_QUOTAS = {
    "ActiveJobAndScheduleQuotaReached": (
        "delete ended jobs with `evensplit batch clean`, or raise the account's quota of active "
        "jobs and job schedules"
    ),
    "PoolQuotaReached": "delete a pool, or raise the account's quota of pools",
    "AccountCoreQuotaReached": "take fewer or smaller nodes, or raise the account's core quota",
    "AccountLowPriorityCoreQuotaReached": (
        "take fewer or smaller Spot nodes, or raise the account's quota of Spot cores"
    ),
    "AccountVMSeriesCoreQuotaReached": (
        "take fewer nodes or another VM series, or raise the account's quota of this series"
    ),
}


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


def connect(endpoint: str, credential: str, environment: Mapping[str, str]) -> AzureBatch:
    """Return the service of a Batch account.

    Args:
        endpoint: ``https://ACCOUNT.REGION.batch.azure.com``.
        credential: one of :data:`CREDENTIALS`; ``auto`` is the key or service principal that the
            environment sets, else the login of the Azure CLI.
        environment: where secrets are looked for.
    """
    if not urlsplit(endpoint).hostname:
        raise BadSetting(
            "no Batch account: set AZURE_BATCH_ENDPOINT or --endpoint to "
            "https://ACCOUNT.REGION.batch.azure.com"
        )
    if credential not in CREDENTIALS:
        raise BadSetting(f"no credential of that name; choose {', '.join(CREDENTIALS)}")
    if credential == "auto":
        credential = _set_one(environment)
    return AzureBatch(BatchClient(endpoint, _credential(credential, endpoint, environment)))


def _set_one(environment: Mapping[str, str]) -> str:
    if environment.get("AZURE_BATCH_ACCESS_KEY"):
        return "key"
    return "service-principal" if environment.get("AZURE_CLIENT_SECRET") else "cli"


def _credential(
    name: str, endpoint: str, environment: Mapping[str, str]
) -> AzureNamedKeyCredential | TokenCredential:
    if name == "key":
        host = urlsplit(endpoint).hostname or ""
        account = environment.get("AZURE_BATCH_ACCOUNT") or host.partition(".")[0]
        return AzureNamedKeyCredential(account, _needed(environment, "AZURE_BATCH_ACCESS_KEY"))
    from azure import identity

    if name == "service-principal":
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        return identity.ClientSecretCredential(*(_needed(environment, item) for item in names))
    if name == "cli":
        return identity.AzureCliCredential()
    return identity.ManagedIdentityCredential(client_id=environment.get("AZURE_CLIENT_ID"))


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise BadSetting(f"the environment does not set {name}")
    return value


class AzureBatch:
    """:class:`batchjobs.service.Service` on Azure Batch, and its pools."""

    def __init__(self, client: BatchClient) -> None:
        self._client = client

    def find_job(self, job_id: str) -> JobStatus | None:
        """See the protocol."""
        with _telling():
            try:
                return _job_status(self._client.get_job(job_id))
            except HttpResponseError as error:
                if _code(error) == "JobNotFound":
                    return None
                raise

    def jobs(self) -> list[JobStatus]:
        """See the protocol."""
        with _telling():
            select = ["id", "state", "executionInfo", "poolInfo", "metadata"]
            found = self._client.list_jobs(select=select)
            return [_job_status(job) for job in found if _is_ours(job.metadata)]

    def create_job(self, job: JobSpec) -> None:
        """See the protocol."""
        options = models.BatchJobCreateOptions(
            id=job.id,
            pool_info=models.BatchPoolInfo(pool_id=job.pool_id),
            # A job without tasks would end at once; see close_job.
            all_tasks_complete_mode=models.BatchAllTasksCompleteMode.NO_ACTION,
            constraints=models.BatchJobConstraints(max_task_retry_count=job.max_retries),
            metadata=_metadata(job.id, job.pool_id),
            common_environment_settings=[
                models.EnvironmentSetting(name=SLOTS_VARIABLE, value=str(job.slots_per_node))
            ],
        )
        with _telling(), _existing("JobExists"):
            self._client.create_job(options)

    def add_tasks(self, job: JobSpec, tasks: Sequence[TaskSpec]) -> None:
        """See the protocol; the SDK adds 100 with one request, and tasks that exist are fine."""
        if not tasks:
            return
        # It takes them from the end of the list.
        options = [task_options(job, task) for task in reversed(tasks)]
        with _telling(job.id):
            self._client.create_tasks(job.id, options)

    def close_job(self, job_id: str) -> None:
        """See the protocol."""
        mode = models.BatchAllTasksCompleteMode.TERMINATE_JOB
        try:
            with _telling(job_id):
                options = models.BatchJobUpdateOptions(all_tasks_complete_mode=mode)
                self._client.update_job(job_id, options)
        except JobEnded:  # what was wanted
            return

    def tasks(self, job_id: str) -> list[TaskStatus]:
        """See the protocol."""
        with _telling():
            return [
                _task_status(item) for item in self._client.list_tasks(job_id, select=_TASK_FIELDS)
            ]

    def run_again(self, job_id: str, task_id: str) -> None:
        """See the protocol."""
        with _telling(job_id):
            self._client.reactivate_task(job_id, task_id)

    def read_file(self, job_id: str, task_id: str, path: str) -> bytes | None:
        """See the protocol."""
        with _telling():
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
            with _telling(job_id):
                self._client.begin_terminate_job(job_id, reason)
        except JobEnded:
            return

    def delete_job(self, job_id: str) -> None:
        """See the protocol."""
        with _telling():
            self._client.begin_delete_job(job_id)

    def create_pool(self, pool_id: str, pool: PoolSpec) -> bool:
        """Make a pool; False if it was there already.

        Raises:
            PoolDiffers: one of that name was made by another spec.
        """
        with _telling():
            try:
                self._client.create_pool(pool_options(pool_id, pool))
                return True
            except HttpResponseError as error:
                if _code(error) != "PoolExists":
                    raise
            metadata = _as_dict(self._client.get_pool(pool_id).metadata)
        if metadata.get(SPEC_NAME) != pool.id:
            raise PoolDiffers(
                f"pool {pool_id} exists and was made by another spec; choose another name, or "
                f"delete it with `evensplit batch pool delete {pool_id}`"
            )
        return False

    def find_pool(self, pool_id: str) -> PoolStatus:
        """Return a pool.

        Raises:
            NoJob: there is none.
        """
        with _telling():
            return _pool_status(self._client.get_pool(pool_id))

    def resize_pool(self, pool_id: str, num_dedicated: int, num_spot: int) -> None:
        """Give a pool so many nodes; those that leave finish their tasks."""
        options = models.BatchPoolResizeOptions(
            target_dedicated_nodes=num_dedicated,
            target_low_priority_nodes=num_spot,
            node_deallocation_option=models.BatchNodeDeallocationOption.TASK_COMPLETION,
        )
        with _telling():
            self._client.begin_resize_pool(pool_id, options)

    def delete_pool(self, pool_id: str) -> None:
        """Delete a pool, and end what runs on it."""
        with _telling():
            self._client.begin_delete_pool(pool_id)

    def evaluate(self, pool_id: str, formula: str) -> str:
        """Return what the service makes of a formula now, for a pool that scales itself.

        Raises:
            BadSetting: it is no formula.
        """
        options = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
        with _telling():
            run = self._client.evaluate_pool_auto_scale(pool_id, options)
        if run.error is not None:
            values = [f"{item.name}: {item.value}" for item in run.error.error_values or ()]
            raise BadSetting(f"the formula fails: {'; '.join([run.error.message or '', *values])}")
        return run.results or ""


def task_options(job: JobSpec, task: TaskSpec) -> models.BatchTaskCreateOptions:
    """Return a task as the service takes it."""
    program = f"{INSTALLED}/{task.package}/bin/evensplit"
    return models.BatchTaskCreateOptions(
        id=task.id,
        display_name=task.title[:_MOST_TITLE],
        command_line=f"/bin/bash -c 'exec \"{program}\" batch task'",
        environment_settings=[models.EnvironmentSetting(name=SPEC_VARIABLE, value=task.to_json())],
        required_slots=task.num_slots,
        constraints=models.BatchTaskConstraints(
            max_task_retry_count=job.max_retries,
            max_wall_clock_time=timedelta(seconds=job.max_task_seconds),
            retention_time=timedelta(seconds=job.retention_seconds),
        ),
        output_files=_outputs(job, task) or None,
    )


def _outputs(job: JobSpec, task: TaskSpec) -> list[models.OutputFile]:
    """Return what a node uploads; with an identity, since a SAS in a task would be a secret."""
    if not job.outputs_url:
        return []
    condition = models.OutputFileUploadCondition.TASK_COMPLETION
    identity = models.BatchNodeIdentityReference(resource_id=job.identity)
    # A file that is not there fails nothing when its name is a pattern.
    return [
        models.OutputFile(
            file_pattern=pattern,
            destination=models.OutputFileDestination(
                container=models.OutputFileBlobContainerDestination(
                    container_url=job.outputs_url,
                    path=f"{job.id}/{task.id}",
                    identity_reference=identity,
                )
            ),
            upload_options=models.OutputFileUploadConfiguration(upload_condition=condition),
        )
        for pattern in ("../std*.txt", "result*.json")
    ]


def pool_options(pool_id: str, pool: PoolSpec) -> models.BatchPoolCreateOptions:
    """Return a pool as the service takes it."""
    publisher, offer, sku, version = pool.image
    image = models.BatchVmImageReference(publisher=publisher, offer=offer, sku=sku, version=version)
    sized: dict[str, Any] = {
        "target_dedicated_nodes": pool.num_dedicated,
        "target_low_priority_nodes": pool.num_spot,
    }
    if pool.formula:
        sized = {
            "enable_auto_scale": True,
            "auto_scale_formula": pool.formula,
            "auto_scale_evaluation_interval": timedelta(minutes=5),  # the shortest there is
        }
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size=pool.vm_size,
        task_slots_per_node=pool.slots_per_node,
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id=pool.agent
        ),
        # Spread, or the first node would take every large task.
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(
            node_fill_type=models.BatchNodeFillType.SPREAD
        ),
        start_task=_start_task(pool),
        metadata=[
            *_metadata(pool.id, pool_id),
            models.BatchMetadataItem(name=PACKAGE_NAME, value=pool.package),
        ],
        **sized,
    )


def _start_task(pool: PoolSpec) -> models.BatchStartTask:
    admin = models.AutoUserSpecification(
        scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN
    )
    return models.BatchStartTask(
        command_line=f"/bin/bash {pool.package}/{START_SCRIPT} {pool.package}",
        resource_files=[
            models.ResourceFile(
                auto_storage_container_name=pool.package_container, blob_prefix=f"{pool.package}/"
            )
        ],
        user_identity=models.UserIdentity(auto_user=admin),
        max_task_retry_count=3,
        wait_for_success=True,
    )


def _metadata(spec_id: str, name: str) -> list[models.BatchMetadataItem]:
    pairs = {"made-by": MADE_BY, SPEC_NAME: spec_id, "evensplit.name": name}
    return [models.BatchMetadataItem(name=key, value=value) for key, value in pairs.items()]


def _as_dict(metadata: Sequence[models.BatchMetadataItem] | None) -> dict[str, str]:
    return {item.name: item.value for item in metadata or ()}


def _is_ours(metadata: Sequence[models.BatchMetadataItem] | None) -> bool:
    return _as_dict(metadata).get("made-by") == MADE_BY


def _job_status(job: models.BatchJob) -> JobStatus:
    info = job.execution_info
    reason = (info.termination_reason if info else None) or ""
    pool_id = (job.pool_info.pool_id if job.pool_info else None) or ""
    return JobStatus(job.id or "", "ended" if job.state in _ENDED else "active", pool_id, reason)


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
    errors = [f"{item.code}: {item.message}" for item in pool.resize_errors or ()]
    return PoolStatus(
        id=pool.id or "",
        state=str(getattr(pool.state, "value", "")),
        vm_size=pool.vm_size or "",
        slots_per_node=pool.task_slots_per_node or 1,
        num_dedicated=pool.current_dedicated_nodes or 0,
        num_spot=pool.current_low_priority_nodes or 0,
        package=_as_dict(pool.metadata).get(PACKAGE_NAME, ""),
        formula=pool.auto_scale_formula or "",
        problem="; ".join(errors),
    )


@contextmanager
def _existing(code: str) -> Iterator[None]:
    """Take it as success that something is there: the SDK itself repeats a POST that was lost."""
    try:
        yield
    except HttpResponseError as error:
        if _code(error) != code:
            raise


@contextmanager
def _telling(job_id: str = "") -> Iterator[None]:
    """Turn the SDK's errors into ours; JobEnded, for those who name the job."""
    try:
        yield
    except models.CreateTasksError as error:
        raise _of_tasks(error, job_id) from error
    except AzureError as error:
        raise _told(error, job_id) from error


def _of_tasks(error: models.CreateTasksError, job_id: str) -> Exception:
    inner = [item for item in error.errors if isinstance(item, AzureError)]
    if inner:
        return _told(inner[0], job_id)
    first = error.failure_tasks[0] if error.failure_tasks else None
    why = _text(first.error) if first is not None else "the SDK does not say why"
    number = len(error.failure_tasks) + len(error.pending_tasks)
    return ServiceFailed(f"{number} tasks were not added: {why}; submit again")


def _told(error: AzureError, job_id: str) -> EvensplitError | JobEnded:
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return ServiceFailed("Azure Batch cannot be reached; run the same command again")
    if isinstance(error, ClientAuthenticationError):
        return _denied()
    if not isinstance(error, HttpResponseError):
        return ServiceFailed(f"Azure Batch failed ({type(error).__name__}); run it again")
    return _refused(error, _code(error), job_id)


def _denied() -> NoPermission:
    return NoPermission(
        "Azure Batch does not take the credential; check the account's key, or that the identity "
        "has a role on the Batch account (Azure Batch Job Submitter, or Data Contributor for pools)"
    )


def _refused(error: HttpResponseError, code: str, job_id: str) -> EvensplitError | JobEnded:
    text = _text(error.error) or f"status {error.status_code}"
    if code in _JOB_OVER and job_id:
        return JobEnded(job_id)
    if code in _QUOTAS:
        return OverQuota(f"{text}; {_QUOTAS[code]}")
    if error.status_code in (401, 403):
        return _denied()
    if error.status_code == 404:
        return NoJob(f"{text}; see `evensplit batch list`")
    if error.status_code == 400:
        return BadSetting(f"Azure Batch refuses: {text}")
    return ServiceFailed(f"Azure Batch answers {text}; run the same command again")


def _code(error: HttpResponseError) -> str:
    """Return the service's own code: every 409 is one class of the SDK's."""
    found = getattr(error.error, "code", None)
    return str(found or "")


def _text(error: Any) -> str:
    """Return code, message and values in one line; the service adds request ids on further ones."""
    message = getattr(error, "message", None)
    first = str(getattr(message, "value", message) or "").partition("\n")[0]
    values = [f"{item.key}: {item.value}" for item in getattr(error, "error_values", None) or ()]
    return "; ".join(filter(None, [getattr(error, "code", "") or "", first, *values]))
