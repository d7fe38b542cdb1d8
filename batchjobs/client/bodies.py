"""Jobs, tasks and pools as requests hold them; no request is made here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from azure.batch import models

from batchjobs.service import SLOTS_VARIABLE, SPEC_VARIABLE
from batchjobs.spec import CONTAINER_PREFIX, JobSpec, PoolSpec, TaskSpec

MADE_BY = "evensplit"
SPEC_NAME, PACKAGE_NAME = "evensplit.spec", "evensplit.package"
START_SCRIPT = "start.sh"
START_RETRIES = 3
EVALUATED_EVERY = timedelta(minutes=5)  # the shortest there is
_INSTALLED = "$AZ_BATCH_NODE_SHARED_DIR/evensplit"
_MAX_TITLE = 1024
# What a node uploads. A file that is not there fails nothing when its name is a pattern.
_OUTPUTS = ("../std*.txt", "result*.json")


def job_options(job: JobSpec) -> models.BatchJobCreateOptions:
    """Return a job as the service takes it; it stays active until it is told otherwise."""
    environment = {SLOTS_VARIABLE: str(job.slots_per_node)}
    if job.client_id:
        environment["AZURE_CLIENT_ID"] = job.client_id
    limit = timedelta(seconds=job.max_job_seconds) if job.max_job_seconds else None
    return models.BatchJobCreateOptions(
        id=job.id,
        pool_info=models.BatchPoolInfo(pool_id=job.pool_id),
        # A job without tasks would end at once.
        all_tasks_complete_mode=models.BatchAllTasksCompleteMode.NO_ACTION,
        constraints=models.BatchJobConstraints(
            max_task_retry_count=job.max_retries, max_wall_clock_time=limit
        ),
        metadata=_items(metadata(job.id, job.pool_id) | dict(job.labels)),
        common_environment_settings=[
            models.EnvironmentSetting(name=name, value=value) for name, value in environment.items()
        ],
    )


def task_options(job: JobSpec, task: TaskSpec) -> models.BatchTaskCreateOptions:
    """Return a task as the service takes it."""
    _, is_container, image = task.package.partition(CONTAINER_PREFIX)
    program = "evensplit" if is_container else f"{_INSTALLED}/{task.package}/bin/evensplit"
    container = models.BatchTaskContainerSettings(
        image_name=image,
        container_run_options="--rm",
        working_directory=models.ContainerWorkingDirectory.TASK_WORKING_DIRECTORY,
    )
    return models.BatchTaskCreateOptions(
        id=task.id,
        display_name=task.title[:_MAX_TITLE],
        command_line=f"/bin/bash -c 'exec \"{program}\" batch task'",
        container_settings=container if is_container else None,
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
        for pattern in _OUTPUTS
    ]


def pool_options(pool_id: str, pool: PoolSpec) -> models.BatchPoolCreateOptions:
    """Return a pool as the service takes it."""
    sized: dict[str, Any] = {
        "target_dedicated_nodes": pool.num_dedicated,
        "target_low_priority_nodes": pool.num_spot,
    }
    if pool.formula:
        sized = {
            "enable_auto_scale": True,
            "auto_scale_formula": pool.formula,
            "auto_scale_evaluation_interval": EVALUATED_EVERY,
        }
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size=pool.vm_size,
        task_slots_per_node=pool.slots_per_node,
        virtual_machine_configuration=_machine(pool),
        # Spread, or the first node would take every large task.
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(
            node_fill_type=models.BatchNodeFillType.SPREAD
        ),
        application_package_references=_applications(pool),
        start_task=_start_task(pool),
        metadata=_items(metadata(pool.id, pool_id) | {PACKAGE_NAME: pool.program}),
        **sized,
    )


def _machine(pool: PoolSpec) -> models.VirtualMachineConfiguration:
    container = None
    if pool.container:
        container = models.BatchContainerConfiguration(
            type=models.ContainerType.DOCKER_COMPATIBLE,
            container_image_names=[pool.container],
            container_registries=_registries(pool),
        )
    return models.VirtualMachineConfiguration(
        image_reference=models.BatchVmImageReference(
            **image_fields(pool.image, own="virtual_machine_image_id")
        ),
        node_agent_sku_id=pool.agent,
        container_configuration=container,
    )


def image_fields(image: tuple[str, ...], own: str) -> dict[str, str]:
    """Return the fields of a reference to an image.

    Args:
        image: publisher, offer, SKU and version, or one resource id.
        own: what the plane calls the id of an image in a gallery or subscription of one's own.
    """
    if len(image) > 1:
        return dict(zip(("publisher", "offer", "sku", "version"), image, strict=True))
    others = {
        "/sharedgalleries/": "shared_gallery_image_id",
        "/communitygalleries/": "community_gallery_image_id",
    }
    start = image[0].lower()
    found = (name for prefix, name in others.items() if start.startswith(prefix))
    return {next(found, own): image[0]}


def _registries(pool: PoolSpec) -> list[models.ContainerRegistryReference] | None:
    if not pool.registry:
        return None
    identity = models.BatchNodeIdentityReference(resource_id=pool.identity)
    return [
        models.ContainerRegistryReference(
            registry_server=pool.registry, identity_reference=identity
        )
    ]


def _applications(pool: PoolSpec) -> list[models.BatchApplicationPackageReference] | None:
    if not pool.application:
        return None
    name, _, version = pool.application.partition(":")
    return [models.BatchApplicationPackageReference(application_id=name, version=version)]


def _start_task(pool: PoolSpec) -> models.BatchStartTask | None:
    if not pool.package:
        return None
    user = models.AutoUserSpecification(
        scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.NON_ADMIN
    )
    return models.BatchStartTask(
        command_line=start_command(pool),
        resource_files=None if pool.application else [_package_files(pool)],
        user_identity=models.UserIdentity(auto_user=user),
        max_task_retry_count=START_RETRIES,
        wait_for_success=True,
    )


def _package_files(pool: PoolSpec) -> models.ResourceFile:
    if not pool.identity:
        return models.ResourceFile(
            auto_storage_container_name=pool.package_container, blob_prefix=f"{pool.package}/"
        )
    return models.ResourceFile(
        storage_container_url=pool.package_container,
        blob_prefix=f"{pool.package}/",
        identity_reference=models.BatchNodeIdentityReference(resource_id=pool.identity),
    )


def start_command(pool: PoolSpec) -> str:
    """Return what a node runs first: the script that lies in the package, wherever that is.

    An application package is where a variable says that is named after it, with ``_`` for what a
    shell's names do not have.
    """
    if not pool.application:
        return f"/bin/bash {pool.package}/{START_SCRIPT} {pool.package}"
    name = "".join(char if char.isalnum() else "_" for char in pool.application)
    folder = f"$AZ_BATCH_APP_PACKAGE_{name}"
    return f"/bin/bash -c 'exec /bin/bash \"{folder}/{START_SCRIPT}\" {pool.package}'"


def metadata(spec_id: str, name: str) -> dict[str, str]:
    """Return what a job or pool says of itself, so that it is found again and not mistaken."""
    return {"made-by": MADE_BY, SPEC_NAME: spec_id, "evensplit.name": name}


def _items(pairs: dict[str, str]) -> list[models.BatchMetadataItem]:
    return [models.BatchMetadataItem(name=name, value=value) for name, value in pairs.items()]
