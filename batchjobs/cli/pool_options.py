"""What a pool should be, as options say it, and the making of it: package first, then the pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from batchjobs import images
from batchjobs import pool as pools
from batchjobs.spec import PoolSpec
from engine import BadSetting, hooks

if TYPE_CHECKING:
    from batchjobs.client import AzureBatch, Noted
    from batchjobs.client.arm import BatchAccount

F = TypeVar("F", bound=Callable[..., Any])
_count = click.IntRange(min=0)

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--vm-size": {"help": "Of every node; if left out, chosen to hold the files."},
    "--slots": {"type": click.IntRange(1, 256), "help": "Tasks at once on a node."},
    "--dedicated": {"type": _count, "help": "Nodes; with a formula at most. [default: 0]"},
    "--spot": {"type": _count, "help": "Spot nodes; with a formula at most. [default: 0]"},
    "--formula": {"metavar": "NAME|FILE", "help": "pending, schedule, spot. [default: fixed]"},
    "--start-hour": {"type": int, "help": "UTC, of schedule. [default: 7]"},
    "--end-hour": {"type": int, "help": "UTC, of schedule. [default: 19]"},
    "--image": {"metavar": "PUBLISHER:OFFER:SKU:VERSION", "help": "Of the nodes' system."},
    "--image-id": {"metavar": "ID", "help": "An image of your own, with its version, instead."},
    "--agent": {"metavar": "SKU", "help": "That belongs to it: batch.node.ubuntu 24.04, for one."},
    "--package": {
        "type": click.Path(exists=True, file_okay=False, path_type=Path),
        "help": "Folder that `make package` made; nodes install it.",
    },
    "--package-url": {
        "metavar": "URL",
        "help": "Container for the package: of the storage account that is linked to the Batch "
        "account, or with --pool-identity of any.",
    },
    "--application": {
        "metavar": "NAME",
        "help": "Upload the package as an application package instead; needs --account-id.",
    },
    "--container": {"metavar": "IMAGE", "help": "Run tasks in this instead of a package."},
    "--registry": {"metavar": "SERVER", "help": "Of --container, read by --pool-identity."},
    "--pool-identity": {"metavar": "ID", "help": "Managed identity of the nodes (resource id)."},
    "--account-id": {
        "metavar": "ID",
        "envvar": "AZURE_BATCH_ACCOUNT_ID",
        "help": "The Batch account's resource id; what Azure Resource Manager must make needs it.",
    },
}


def pool_settings(function: F) -> F:
    """Add the options that say what a pool is."""
    for name, how in reversed(list(_OPTIONS.items())):
        function = click.option(name, **how)(function)
    return function


@dataclass(frozen=True)
class PoolWish:
    """The options of a pool; None and empty where nothing was said."""

    vm_size: str | None
    slots: int | None
    dedicated: int | None
    spot: int | None
    formula: str | None
    start_hour: int | None
    end_hour: int | None
    image: str | None
    image_id: str | None
    agent: str | None
    package: Path | None
    package_url: str | None
    application: str | None
    container: str | None
    registry: str | None
    pool_identity: str | None
    account_id: str | None

    @classmethod
    def taken(cls, given: dict[str, Any]) -> PoolWish:
        """Take the options of a pool out of all that were given."""
        return cls(**{item.name: given.pop(item.name) for item in fields(cls)})

    @property
    def is_given(self) -> bool:
        """Whether a pool is described: slots also go with --local, the account may be set."""
        said = asdict(self)
        return any(said[name] is not None for name in said if name not in ("slots", "account_id"))

    @property
    def num_nodes(self) -> int:
        """The most nodes that there will be."""
        return (self.dedicated or 0) + (self.spot or 0)

    @property
    def formula_text(self) -> str:
        """The autoscale formula with its parameters filled in, empty if there is none."""
        if not self.formula:
            return ""
        parameters = {
            "most_dedicated": self.dedicated or 0,
            "most_spot": self.spot or 0,
            "slots_per_node": self.slots or 1,
            "start_hour": 7 if self.start_hour is None else self.start_hour,
            "end_hour": 19 if self.end_hour is None else self.end_hour,
        }
        return pools.fill_formula(pools.read_formula(self.formula), parameters)


@dataclass(frozen=True)
class NewPool:
    """A pool that is to be there, and the package that its nodes install."""

    id: str
    spec: PoolSpec
    files: Mapping[str, bytes]
    package_url: str
    account_id: str

    @property
    def uploads(self) -> dict[str, bytes]:
        """Files of the package by the URL that they go to; none for an application package."""
        if self.spec.application:
            return {}
        place = f"{self.package_url.rstrip('/')}/{self.spec.package}"
        return {f"{place}/{name}": data for name, data in self.files.items()}


def new_pool(name: str | None, wish: PoolWish, need: Callable[[], pools.Need]) -> NewPool:
    """Return the pool that options describe.

    Args:
        name: of the pool; a hash of its spec if None.
        wish: the options.
        need: says what a slot needs, if the size is to be chosen.

    Raises:
        BadSetting, PoolTooSmall: it cannot be made so.
    """
    _check(wish)
    slots = wish.slots or 1
    formula = wish.formula_text
    package, files = pools.read_package(wish.package) if wish.package else ("", {})
    if wish.container:
        pools.parse_container(wish.container)
    spec = PoolSpec(
        vm_size=wish.vm_size or pools.choose_vm_size(need(), slots).name,
        image=pools.parse_image_id(wish.image_id)
        if wish.image_id
        else pools.parse_image(wish.image or ""),
        agent=wish.agent or "",
        slots_per_node=slots,
        num_dedicated=0 if formula else wish.dedicated or 0,
        num_spot=0 if formula else wish.spot or 0,
        formula=formula,
        package=package,
        package_container=_package_place(wish),
        application=f"{wish.application}:{package}" if wish.application else "",
        container=wish.container or "",
        registry=wish.registry or "",
        identity=wish.pool_identity or "",
    )
    if wish.package:
        images.check_python(files, spec.image, spec.agent)
    url, account_id = wish.package_url or "", wish.account_id or ""
    return NewPool(pools.check_name(name or spec.id), spec, files, url, account_id)


def _check(wish: PoolWish) -> None:
    """Refuse what does not go together, or is missing; names the options."""
    ways = [wish.package is not None, wish.container is not None]
    if sum(ways) != 1:
        raise BadSetting("a pool needs either --package FOLDER or --container IMAGE")
    if wish.image and wish.image_id:
        raise BadSetting("--image and --image-id exclude each other")
    given = {"image": wish.image or wish.image_id, "agent": wish.agent}
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise BadSetting(
            f"a pool needs --{' and --'.join(missing)} too; `evensplit batch images` has them"
        )
    if wish.package and not (wish.application or wish.package_url):
        raise BadSetting("--package needs --package-url, or --application NAME")
    if (wish.pool_identity or wish.application) and not wish.account_id:
        raise BadSetting(
            "only Azure Resource Manager gives a pool an identity or takes an application package: "
            "name the Batch account's resource id, --account-id"
        )
    if wish.registry and not (wish.container and wish.pool_identity):
        raise BadSetting("--registry goes with --container and --pool-identity, which reads it")
    if wish.application:
        pools.check_name(wish.application)


def _package_place(wish: PoolWish) -> str:
    if not wish.package_url or wish.application:
        return ""
    url = urlsplit(wish.package_url.rstrip("/"))
    name = url.username or url.path.rpartition("/")[2] or url.netloc
    if not url.scheme or not name or url.query:
        raise BadSetting("--package-url is no URL of a container without a query")
    if not wish.pool_identity:
        return name
    host = (url.hostname or "").replace(".dfs.", ".blob.")
    if "." not in host:
        raise BadSetting("with --pool-identity, --package-url names the storage account as well")
    return f"https://{host}/{name}"


def ensure(pool: NewPool, cloud: AzureBatch, login: str, credential: str) -> bool:
    """Make a pool that is not there, after uploading its package; return whether it was made.

    Raises:
        BadSetting: tasks are to run in a container, and the service says that the image has none.
    """
    if pool.spec.identity or pool.spec.application:
        account = _account(pool, login)
        if account.has_pool(pool.id, pool.spec):
            return False
        _check_containers(pool, cloud)
        if pool.spec.application:
            account.put_application(pool.spec.application, pools.zip_package(pool.files))
        _upload(pool, credential)
        return account.create_pool(pool.id, pool.spec)
    if cloud.has_pool(pool.id, pool.spec):
        return False
    _check_containers(pool, cloud)
    _upload(pool, credential)
    return cloud.create_pool(pool.id, pool.spec)


def rehearse(pool: NewPool, cloud: AzureBatch, login: str) -> list[Noted]:
    """Do what :func:`ensure` does with a service that changes nothing; return requests to ARM."""
    if pool.spec.identity or pool.spec.application:
        return [_account(pool, login).note_pool(pool.id, pool.spec)]
    if not cloud.has_pool(pool.id, pool.spec):
        cloud.create_pool(pool.id, pool.spec)
    return []


def _check_containers(pool: NewPool, cloud: AzureBatch) -> None:
    if pool.spec.container and len(pool.spec.image) > 1:  # of one's own image nobody knows
        images.check_containers(pool.spec.image, cloud.images())


def _account(pool: NewPool, login: str) -> BatchAccount:
    from batchjobs.client.arm import BatchAccount

    return BatchAccount(pool.account_id, login, os.environ)


def _upload(pool: NewPool, credential: str) -> None:
    # The package's name is a hash of its files, so what is there under that name is the same.
    for url, data in pool.uploads.items():
        hooks.put_file(url, data, credential=credential)
