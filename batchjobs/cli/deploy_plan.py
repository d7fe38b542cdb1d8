"""What a deployment is to do: what was said, what is there, and what is usual, put together.

Reads and changes nothing. What was not said stays as it is there: a second deployment without
options changes nothing but the package and the pipelines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchjobs import pool as pools
from batchjobs.cli.doors import Doors
from batchjobs.deploy import (
    BLOB_CONTRIBUTOR,
    POOL,
    Deployment,
    Operator,
    parse_operator,
    region,
)
from batchjobs.errors import PoolInUse
from batchjobs.images import UBUNTU, check_python, choose_image, newest
from batchjobs.pool_change import PoolChange, compare, second_name, wanted_pool
from batchjobs.spec import LivePool, PoolSpec
from engine import BadSetting, NoPermission

if TYPE_CHECKING:
    from batchjobs.client.arm import BatchAccount
    from batchjobs.client.resources import Resources

DEFAULT_GROUP = "evensplit"
DEFAULT_PACKAGE = Path("build/package")
DEFAULT_FORMULA = "pending"
CONTAINER_POOL = f"{POOL}-containers"
FIXED = "fixed"  # no formula
_ACCOUNTS_API = "2024-07-01"


@dataclass(frozen=True)
class Wish:
    """The options of a deployment; None and empty where nothing was said."""

    subscription: str | None
    group: str | None
    location: str | None
    prefix: str
    package: Path | None
    image: str | None
    image_id: str | None
    agent: str | None
    vm_size: str | None
    slots: int | None
    formula: str | None
    dedicated: int
    spot: int
    start_hour: int
    end_hour: int
    application: str | None
    container: str | None
    registry: str | None
    target_size: str | None
    batch_count: int
    operator: tuple[str, ...]
    defaults: bool
    second_pool: bool

    @classmethod
    def taken(cls, given: dict[str, Any]) -> Wish:
        """Take the options out of all that were given, with what ``--defaults`` adds."""
        wish = cls(**{item.name: given.pop(item.name) for item in fields(cls)})
        if wish.defaults:
            wish = replace(
                wish,
                group=wish.group or DEFAULT_GROUP,
                package=wish.package or DEFAULT_PACKAGE,
            )
        missing = [name for name in ("group", "package") if not getattr(wish, name)]
        if missing:
            raise BadSetting(
                f"--{missing[0]} is missing; or let --defaults choose what is not said"
            )
        return wish

    def formula_text(self, live: LivePool | None) -> str | None:
        """Return the formula that was asked for, empty for none, None if nothing was said."""
        usual = DEFAULT_FORMULA if self.defaults and live is None else None
        name = self.formula or usual
        if name is None or name == FIXED:
            return None if name is None else ""
        slots = self.slots or (live.spec.slots_per_node if live else USUAL.slots_per_node)
        parameters = {
            "most_dedicated": self.dedicated,
            "most_spot": self.spot,
            "slots_per_node": slots,
            "start_hour": self.start_hour,
            "end_hour": self.end_hour,
        }
        return pools.fill_formula(pools.read_formula(name), parameters)


USUAL = PoolSpec("standard_d4ds_v5", (), UBUNTU.agent, slots_per_node=4)


@dataclass(frozen=True)
class PoolPlan:
    """A pool that is to be, and what that does to the one that is there."""

    id: str
    spec: PoolSpec
    change: PoolChange


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        deployment: what fills the template.
        pool: that Data Factory's tasks run on.
        containers: the pool beside it, for jobs whose tasks run in containers, if asked for.
        files: of the package.
        in_use: the pool that pipelines use until now, if they get another.
        notes: what people should know.
    """

    deployment: Deployment
    pool: PoolPlan
    containers: PoolPlan | None
    files: Mapping[str, bytes]
    in_use: str = ""
    notes: tuple[str, ...] = ()

    @property
    def pools(self) -> tuple[PoolPlan, ...]:
        """Both pools."""
        return (self.pool, self.containers) if self.containers else (self.pool,)


def make_plan(wish: Wish, doors: Doors) -> Plan:
    """Return what a deployment is to do.

    Raises:
        engine.EvensplitError: it cannot be done so, or Azure does not answer.
    """
    package, files = pools.read_package(wish.package or DEFAULT_PACKAGE)
    group = wish.group or DEFAULT_GROUP
    subscription = wish.subscription or only_subscription(doors)
    service = doors.deployments(subscription, group)
    found = service.resources
    wanted = Deployment(
        subscription=subscription,
        group=group,
        location=region(wish.location or _location(found, group)),
        prefix=wish.prefix,
        batch_count=wish.batch_count,
    )
    there = found.factory_parameters(wanted.factory_id)
    operators = [parse_operator(text) for text in wish.operator]
    if wish.defaults and not operators:
        operators = [Operator(*service.who())]
    have_role = found.principals(wanted.packages_id, BLOB_CONTRIBUTOR)
    recovers = found.deleted_vault(wanted.location, wanted.names["vault"])
    name = there.get("pool") or POOL
    account = doors.account(wanted.account_id)
    live = account.live_pool(name)
    images = _Images(doors, found, wanted)
    spec = _pool(wish, live, wanted, package, images)
    check_python(files, spec.image, spec.agent)
    pool = _planned(POOL, live, spec, name, account, beside=wish.second_pool)
    wanted = replace(
        wanted,
        pool=pool.id,
        slots_per_node=spec.slots_per_node,
        target_size=wish.target_size or there.get("targetSize") or wanted.target_size,
        operators=tuple(item for item in operators if item.id not in have_role),
        recovers_vault=recovers,
    )
    notes = [f"image {':'.join(spec.image)}"] if live is None else []
    if recovers:
        notes.append(
            f"Key Vault {wanted.names['vault']} was deleted, and is recovered with its secrets; "
            f"`az keyvault purge --name {wanted.names['vault']}` first would make a new one"
        )
    return Plan(
        deployment=wanted,
        pool=pool,
        containers=_container_pool(wish, wanted, account, images),
        files=files,
        in_use=live.id if live and live.id != pool.id else "",
        notes=tuple(notes),
    )


def only_subscription(doors: Doors) -> str:
    """Return the subscription that the login sees.

    Raises:
        BadSetting: there is none, or several.
    """
    every = doors.deployments("", "").resources.subscriptions()
    if len(every) == 1:
        return next(iter(every))
    told = ", ".join(f"{id_} ({name})" for id_, name in sorted(every.items())) or "none"
    raise BadSetting(f"name one --subscription of those that the login sees: {told}")


def _location(found: Resources, group: str) -> str:
    location = found.group_location()
    if not location:
        raise BadSetting(
            f"there is no resource group {group}: `az group create --name {group} --location "
            "REGION`"
        )
    return location


class _Images:
    """The image for nodes: asked for only where one is to be chosen."""

    def __init__(self, doors: Doors, found: Resources, wanted: Deployment) -> None:
        self._doors, self._found, self._wanted = doors, found, wanted
        account = found.find(wanted.account_id, _ACCOUNTS_API) or {}
        self._endpoint = str(account.get("properties", {}).get("accountEndpoint", ""))

    def newest(self, *, for_containers: bool) -> tuple[tuple[str, ...], str]:
        """Return the newest verified image, its version pinned, and its agent."""
        supported = self._cloud().images() if self._endpoint else None
        image = choose_image(supported, for_containers=for_containers)
        try:
            versions = self._found.image_versions(self._wanted.location, image.title)
        except NoPermission as error:
            raise NoPermission(
                f"the login may not list the versions of {image.title}: it needs Reader on the "
                "subscription, or name one with --image and --agent"
            ) from error
        pinned = newest(versions, image.title)
        return (image.publisher, image.offer, image.sku, pinned), image.agent

    def _cloud(self) -> Any:
        return self._doors.cloud(f"https://{self._endpoint}")


def _pool(
    wish: Wish, live: LivePool | None, wanted: Deployment, package: str, images: _Images
) -> PoolSpec:
    """Return the pool that is wanted."""
    image, agent = _image(wish, live, images)
    application = wish.application
    if application is None and live:
        application = live.spec.application.partition(":")[0]
    said = {
        "vm_size": wish.vm_size,
        "image": image,
        "agent": agent,
        "slots_per_node": wish.slots,
        "formula": wish.formula_text(live),
        "package": package,
        "package_container": "" if application else wanted.packages_url,
        "application": f"{pools.check_name(application)}:{package}" if application else "",
        "identity": wanted.identity_id,
    }
    return wanted_pool(said, USUAL, live)


def _container_pool(
    wish: Wish, wanted: Deployment, account: BatchAccount, images: _Images
) -> PoolPlan | None:
    """Return the pool for containers: every task of such a pool must name one.

    Data Factory's name none, so it is another pool than theirs. Source: containerSettings of Task -
    Add (https://learn.microsoft.com/rest/api/batchservice/task/add).
    """
    if not wish.container:
        if wish.registry:
            raise BadSetting("--registry goes with --container, whose server it is")
        return None
    live = account.live_pool(CONTAINER_POOL)
    image, agent = images.newest(for_containers=True) if live is None else (None, None)
    said = {
        "vm_size": wish.vm_size,
        "image": image,
        "agent": agent,
        "slots_per_node": wish.slots,
        "formula": wish.formula_text(live),
        "container": pools.parse_container(wish.container),
        "registry": wish.registry,
        "identity": wanted.identity_id,
    }
    spec = wanted_pool(said, USUAL, live)
    beside = wish.second_pool
    return _planned(CONTAINER_POOL, live, spec, CONTAINER_POOL, account, beside=beside)


def _image(
    wish: Wish, live: LivePool | None, images: _Images
) -> tuple[tuple[str, ...] | None, str | None]:
    """Return image and agent: those said, none if what is there stays, else the newest."""
    if wish.image and wish.image_id:
        raise BadSetting("--image and --image-id exclude each other")
    is_named = wish.image_id or wish.image not in (None, "newest")
    if is_named and not live and not wish.agent:
        raise BadSetting(
            "an image needs the --agent that belongs to it; see `evensplit batch images`"
        )
    if wish.agent and not is_named:
        raise BadSetting("--agent goes with --image or --image-id, which it belongs to")
    if wish.image_id:
        return pools.parse_image_id(wish.image_id), wish.agent
    if wish.image and wish.image != "newest":
        return pools.parse_image(wish.image), wish.agent
    if live and not wish.image:
        return None, wish.agent
    return images.newest(for_containers=False)


def _planned(
    stem: str,
    live: LivePool | None,
    spec: PoolSpec,
    name: str,
    account: BatchAccount,
    *,
    beside: bool,
) -> PoolPlan:
    try:
        return PoolPlan(name, spec, compare(live, spec))
    except PoolInUse:
        if not beside:
            raise
    second = second_name(stem, spec)
    return PoolPlan(second, spec, compare(account.live_pool(second), spec))
