"""Azure Resource Manager: pools with a managed identity, and application packages.

The data plane can make neither. Needs the extra ``manage`` (azure-mgmt-batch) and a login that
gives tokens; the account is named by its resource id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from batchjobs.client.bodies import (
    EVALUATED_EVERY,
    PACKAGE_NAME,
    SPEC_NAME,
    START_RETRIES,
    START_SCRIPT,
    image_fields,
    metadata,
    start_command,
)
from batchjobs.client.credentials import token
from batchjobs.client.errors import other_pool, translate_sdk_errors
from batchjobs.client.rehearsal import Noted
from batchjobs.errors import PoolDiffers, ServiceFailed
from batchjobs.spec import LivePool, PoolSpec
from engine import BadSetting

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.mgmt.batch import BatchManagementClient
    from azure.mgmt.batch import models as arm_models

_ACCOUNT = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Batch/batchAccounts/([^/]+)",
    re.IGNORECASE,
)
# The package's name is the last word of :func:`batchjobs.client.bodies.start_command`.
_START = re.compile(rf"{re.escape(START_SCRIPT)}\"? ([^\s']+)'?$")


class BatchAccount:
    """A Batch account as a resource.

    Args:
        account_id: ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Batch/batchAccounts/…``.
        login: one of :data:`batchjobs.service.CREDENTIALS` but ``key``.
        environment: where secrets are looked for, and ``AZURE_RESOURCE_MANAGER_URL`` of clouds
            other than the public one.
        **options: of the SDK's client.

    Raises:
        BadSetting: the id is none, the login gives no token, or the SDK is not installed.
    """

    def __init__(
        self, account_id: str, login: str, environment: Mapping[str, str], **options: Any
    ) -> None:
        found = _ACCOUNT.fullmatch(account_id)
        if not found:
            raise BadSetting(
                f"{account_id!r} is no resource id of a Batch account: /subscriptions/ID/"
                "resourceGroups/NAME/providers/Microsoft.Batch/batchAccounts/NAME"
            )
        subscription, self._group, self._account = found.groups()
        self._id = account_id
        url = environment.get("AZURE_RESOURCE_MANAGER_URL", "").rstrip("/")
        if url:
            options |= {"base_url": url, "credential_scopes": [f"{url}/.default"]}
        self._client = _client(token(login, environment), subscription, **options)

    def has_pool(self, pool_id: str, pool: PoolSpec) -> bool:
        """Return whether a pool is there.

        Raises:
            PoolDiffers: one of that name was made by another spec.
        """
        with translate_sdk_errors():
            try:
                found = self._client.pool.get(self._group, self._account, pool_id)
            except ResourceNotFoundError:
                return False
        items = (found.properties.metadata if found.properties else None) or ()
        said = {item.name: item.value for item in items}
        if said.get(SPEC_NAME) != pool.id:
            raise other_pool(pool_id)
        return True

    def create_pool(self, pool_id: str, pool: PoolSpec) -> bool:
        """Make a pool; False if it was there already.

        Raises:
            PoolDiffers: one of that name was made by another spec.
        """
        with translate_sdk_errors():
            try:
                self._client.pool.create(
                    self._group,
                    self._account,
                    pool_id,
                    pool_resource(self._id, pool_id, pool),
                    etag="*",
                    match_condition=MatchConditions.IfMissing,
                )
            except HttpResponseError as error:
                if error.status_code not in (409, 412):
                    raise
            else:
                return True
        self.has_pool(pool_id, pool)
        return False

    def live_pool(self, pool_id: str) -> LivePool | None:
        """Return a pool as it is, None if it or its account is not there."""
        with translate_sdk_errors():
            try:
                found = self._client.pool.get(self._group, self._account, pool_id)
            except ResourceNotFoundError:
                return None
        return live_pool(pool_id, found)

    def change_pool(self, pool_id: str, pool: PoolSpec, *, is_whole: bool) -> None:
        """Make a pool what a spec says.

        Args:
            pool_id: its name; it is made if it is not there.
            pool: what it is to be.
            is_whole: send all of it, which a pool with nodes takes only if nothing differs that
                needs it empty; else only start task, packages, metadata and scale.
        """
        where = (self._group, self._account, pool_id)
        resource = pool_resource(self._id, pool_id, pool)
        with translate_sdk_errors():
            if is_whole:
                self._client.pool.create(*where, resource)
            else:
                self._client.pool.update(*where, _changeable(resource))

    def note_pool(self, pool_id: str, pool: PoolSpec) -> Noted:
        """Return the request that :meth:`create_pool` would send."""
        body = pool_resource(self._id, pool_id, pool).as_dict()
        return Noted("PUT", f"{self._id}/pools/{pool_id}", body)

    def put_application(self, application: str, data: bytes) -> bool:
        """Upload an application package and let nodes have it; False if it was there already.

        Args:
            application: ``NAME:VERSION``.
            data: a zip archive.
        """
        from azure.storage.blob import BlobClient

        name, _, version = application.partition(":")
        where = (self._group, self._account, name)
        packages = self._client.application_package
        with translate_sdk_errors():
            try:
                if packages.get(*where, version).state == "Active":
                    return False
            except ResourceNotFoundError:
                self._client.application.create(*where)
            made = packages.create(*where, version)
            # The address has a short-lived SAS; it stays in this function.
            try:
                BlobClient.from_blob_url(made.storage_url or "").upload_blob(data, overwrite=True)
            except AzureError as error:
                raise BadSetting(
                    f"the package cannot be uploaded to the Batch account's storage "
                    f"({type(error).__name__}); link a storage account to it"
                ) from None
            packages.activate(*where, version, {"format": "zip"})
        return True


def _client(
    credential: TokenCredential, subscription: str, **options: Any
) -> BatchManagementClient:
    try:
        from azure.mgmt.batch import BatchManagementClient
    except ImportError as error:
        raise BadSetting("this needs azure-mgmt-batch: pip install 'evensplit[manage]'") from error
    return BatchManagementClient(credential, subscription, **options)


def live_pool(pool_id: str, found: arm_models.Pool) -> LivePool:
    """Return what Azure Resource Manager says of a pool, in the words of a spec."""
    about = found.properties
    if about is None or about.deployment_configuration is None:
        raise ServiceFailed(f"pool {pool_id} is described without its nodes' system; run it again")
    machine = about.deployment_configuration.virtual_machine_configuration
    if machine is None:
        raise PoolDiffers(f"pool {pool_id} was not made by evensplit: its nodes are no machines")
    containers = machine.container_configuration
    scale = about.scale_settings
    fixed = scale.fixed_scale if scale else None
    auto = scale.auto_scale if scale else None
    start = _START.search((about.start_task.command_line or "") if about.start_task else "")
    numbers = about.current_dedicated_nodes or 0, about.current_low_priority_nodes or 0
    asked = numbers
    if fixed:
        asked = (fixed.target_dedicated_nodes or 0, fixed.target_low_priority_nodes or 0)
    spec = PoolSpec(
        vm_size=about.vm_size or "",
        image=read_image(machine.image_reference),
        agent=machine.node_agent_sku_id,
        slots_per_node=about.task_slots_per_node or 1,
        num_dedicated=asked[0],
        num_spot=asked[1],
        formula=auto.formula if auto else "",
        package=start[1] if start else "",
        application=_application(about.application_packages),
        container=((containers.container_image_names if containers else None) or [""])[0],
        registry=_registry(containers),
    )
    return LivePool(pool_id, spec, max(sum(numbers), sum(asked)))


def _application(references: Sequence[arm_models.ApplicationPackageReference] | None) -> str:
    if not references:
        return ""
    return f"{references[0].id.rpartition('/')[2]}:{references[0].version or ''}"


def _registry(containers: arm_models.ContainerConfiguration | None) -> str:
    registries = (containers.container_registries if containers else None) or ()
    return next((item.registry_server or "" for item in registries), "")


def _changeable(resource: arm_models.Pool) -> arm_models.Pool:
    """Return what a pool with nodes takes; no package is an empty list, or the old ones stay."""
    from azure.mgmt.batch import models

    whole = resource.properties or models.PoolProperties()
    return models.Pool(
        properties=models.PoolProperties(
            scale_settings=whole.scale_settings,
            start_task=whole.start_task,
            application_packages=whole.application_packages or [],
            metadata=whole.metadata,
        )
    )


def pool_resource(account_id: str, pool_id: str, pool: PoolSpec) -> arm_models.Pool:
    """Return a pool as Azure Resource Manager takes it."""
    from azure.mgmt.batch import models

    said = metadata(pool.id, pool_id) | {PACKAGE_NAME: pool.program}
    identity = models.BatchPoolIdentity(
        type=models.PoolIdentityType.USER_ASSIGNED,
        user_assigned_identities={pool.identity: models.UserAssignedIdentities()},
    )
    return models.Pool(
        identity=identity if pool.identity else None,
        properties=models.PoolProperties(
            vm_size=pool.vm_size,
            task_slots_per_node=pool.slots_per_node,
            deployment_configuration=models.DeploymentConfiguration(
                virtual_machine_configuration=_machine(pool)
            ),
            scale_settings=_scale(pool),
            task_scheduling_policy=models.TaskSchedulingPolicy(
                node_fill_type=models.ComputeNodeFillType.SPREAD
            ),
            start_task=_start_task(pool),
            application_packages=_applications(account_id, pool),
            metadata=[models.MetadataItem(name=key, value=text) for key, text in said.items()],
        ),
    )


def _machine(pool: PoolSpec) -> arm_models.VirtualMachineConfiguration:
    from azure.mgmt.batch import models

    container = None
    if pool.container:
        registry = models.ContainerRegistry(
            registry_server=pool.registry, identity_reference=_identity(pool)
        )
        container = models.ContainerConfiguration(
            type=models.ContainerType.DOCKER_COMPATIBLE,
            container_image_names=[pool.container],
            container_registries=[registry] if pool.registry else None,
        )
    return models.VirtualMachineConfiguration(
        image_reference=_image(pool.image),
        node_agent_sku_id=pool.agent,
        container_configuration=container,
    )


def _image(image: tuple[str, ...]) -> arm_models.ImageReference:
    from azure.mgmt.batch import models

    return models.ImageReference(**image_fields(image, own="id"))


def read_image(reference: arm_models.ImageReference) -> tuple[str, ...]:
    """Return an image as :class:`PoolSpec` has it."""
    own = reference.id or reference.shared_gallery_image_id or reference.community_gallery_image_id
    if own:
        return (own,)
    names = (reference.publisher, reference.offer, reference.sku, reference.version)
    return tuple(name or "" for name in names)


def _scale(pool: PoolSpec) -> arm_models.ScaleSettings:
    from azure.mgmt.batch import models

    if pool.formula:
        auto = models.AutoScaleSettings(formula=pool.formula, evaluation_interval=EVALUATED_EVERY)
        return models.ScaleSettings(auto_scale=auto)
    return models.ScaleSettings(
        fixed_scale=models.FixedScaleSettings(
            target_dedicated_nodes=pool.num_dedicated,
            target_low_priority_nodes=pool.num_spot,
            node_deallocation_option=models.ComputeNodeDeallocationOption.TASK_COMPLETION,
        )
    )


def _start_task(pool: PoolSpec) -> arm_models.StartTask | None:
    from azure.mgmt.batch import models

    if not pool.package:
        return None
    files = models.ResourceFile(
        storage_container_url=pool.package_container if pool.identity else None,
        auto_storage_container_name=None if pool.identity else pool.package_container,
        blob_prefix=f"{pool.package}/",
        identity_reference=_identity(pool),
    )
    # What it installs lies where every user of the node may write; see start.sh.
    user = models.AutoUserSpecification(
        scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.NON_ADMIN
    )
    return models.StartTask(
        command_line=start_command(pool),
        resource_files=None if pool.application else [files],
        user_identity=models.UserIdentity(auto_user=user),
        max_task_retry_count=START_RETRIES,
        wait_for_success=True,
    )


def _applications(
    account_id: str, pool: PoolSpec
) -> list[arm_models.ApplicationPackageReference] | None:
    from azure.mgmt.batch import models

    if not pool.application:
        return None
    name, _, version = pool.application.partition(":")
    reference = f"{account_id}/applications/{name}"
    return [models.ApplicationPackageReference(id=reference, version=version)]


def _identity(pool: PoolSpec) -> arm_models.ComputeNodeIdentityReference | None:
    from azure.mgmt.batch import models

    if not pool.identity:
        return None
    return models.ComputeNodeIdentityReference(resource_id=pool.identity)
