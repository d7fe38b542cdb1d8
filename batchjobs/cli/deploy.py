"""The command that makes everything in Azure: resources, package, pool and pipelines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchjobs import deploy as deployment
from batchjobs import pool as pools
from batchjobs.cli.deploy_plan import FIXED, Plan, Wish, make_plan
from batchjobs.cli.doors import Doors, login_option
from batchjobs.cli.group import batch, json_option, tell
from engine import NoPermission, hooks
from engine.cli.options import SIZE
from engine.cli.terminal import say

if TYPE_CHECKING:
    from batchjobs.client.deployments import Deployments

F = TypeVar("F", bound=Callable[..., Any])

_POLL_SECONDS = 30.0
_MOST_TRIES = 20  # a new role takes up to ten minutes to hold

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--defaults": {
        "is_flag": True,
        "help": "Choose what is not said: group evensplit, package build/package, formula pending, "
        "and you as operator.",
    },
    "--subscription": {
        "envvar": "AZURE_SUBSCRIPTION_ID",
        "metavar": "ID",
        "help": "[default: the only one that the login sees]",
    },
    "--group": {"metavar": "NAME", "help": "The resource group, which is there."},
    "--location": {"metavar": "REGION", "help": "[default: the group's]"},
    "--prefix": {"default": "evens", "show_default": True, "help": "Begins all names."},
    "--package": {
        "type": click.Path(exists=True, file_okay=False, path_type=Path),
        "help": "Folder that `make package` made.",
    },
    "--image": {
        "metavar": "PUBLISHER:OFFER:SKU:VERSION|newest",
        "help": "Of the nodes' system. [default: the pool's, at first the newest Ubuntu 24.04]",
    },
    "--image-id": {"metavar": "ID", "help": "An image of your own, with its version."},
    "--agent": {"metavar": "SKU", "help": "That belongs to --image or --image-id."},
    "--vm-size": {"help": "[default: the pool's, at first standard_d4ds_v5]"},
    "--slots": {
        "type": click.IntRange(1, 256),
        "help": "Tasks at once on a node. [default: the pool's, at first 4]",
    },
    "--formula": {
        "metavar": "NAME|FILE",
        "help": f"pending, schedule, spot, or {FIXED}. [default: the pool's, at first {FIXED}]",
    },
    "--dedicated": {"type": click.IntRange(min=0), "default": 10, "help": "Most, of a formula."},
    "--spot": {"type": click.IntRange(min=0), "default": 0, "help": "Most, of a formula."},
    "--start-hour": {"type": int, "default": 7, "help": "UTC, of schedule."},
    "--end-hour": {"type": int, "default": 19, "help": "UTC, of schedule."},
    "--application": {
        "metavar": "NAME",
        "help": "Upload the package as an application package of the Batch account.",
    },
    "--container": {
        "metavar": "IMAGE",
        "help": "Make a second pool, whose tasks run in this; split_fanout takes its name.",
    },
    "--registry": {"metavar": "SERVER", "help": "Of --container, read by the nodes' identity."},
    "--target-size": {"type": SIZE, "help": "Of a part. [default: as before, at first 100MB]"},
    "--batch-count": {"type": int, "default": 20, "help": "Files at once."},
    "--operator": {
        "multiple": True,
        "metavar": "ID[:TYPE]",
        "help": "Object id of who uploads packages: a User, Group or ServicePrincipal. Repeat it.",
    },
    "--second-pool": {
        "is_flag": True,
        "help": "Where a change needs a pool without nodes: make one beside it.",
    },
}


def _wishes(function: F) -> F:
    for name, how in reversed(list(_OPTIONS.items())):
        is_shown = "default" in how and "show_default" not in how
        function = click.option(name, **(how | {"show_default": True} if is_shown else how))(
            function
        )
    return function


@batch.command("deploy")
@click.option("--what-if", "action", flag_value="what-if", help="Show what would change.")
@click.option("--apply", "action", flag_value="apply", help="Make it so.")
@_wishes
@click.option(
    "--reboot-nodes",
    is_flag=True,
    help="Then reboot the pool's nodes, one after the other, each after its tasks.",
)
@click.option(
    "--conf",
    type=click.Path(path_type=Path),
    help="Folder of template and pipelines. [default: conf here, else the installed one]",
)
@login_option
@json_option
def deploy_command(
    action: str | None,
    reboot_nodes: bool,
    conf: Path | None,
    login: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Make all that the pipelines need in a resource group, or show what would change.

    Storage, a Batch account with a pool, a Key Vault, a Data Factory with the pipelines of
    conf/adf, and who may do what. The package is uploaded before the pool refers to it. Run again
    after any change: what is as it should be stays, and so does what is not said. Triggers that
    are started are stopped meanwhile, and started again.
    """
    if action is None:
        raise click.UsageError("give either --what-if or --apply")
    doors = Doors(login)
    plan = make_plan(Wish.taken(given), doors)
    wanted = plan.deployment
    body, parameters = deployment.template(wanted, conf), wanted.parameters()
    service = doors.deployments(wanted.subscription, wanted.group)
    for note in plan.notes:
        say(note, err=True)
    if action == "what-if":
        _tell_changes(plan, service, body, parameters, as_json=as_json)
        return
    with service.triggers(wanted.factory_id).stopped() as stopped:
        if stopped:
            say(f"stopped for the deployment: {', '.join(stopped)}", err=True)
        if plan.in_use:  # pipelines must not be led to a pool that is not there yet
            _make_pools(plan, doors)
        outputs = service.apply(wanted.id, body, parameters)
        if not plan.in_use:
            _make_pools(plan, doors)
    _tell_nodes(plan, doors, outputs, reboots=reboot_nodes)
    about = {"package": plan.pool.spec.package, **outputs}
    if plan.containers:
        about["container-pool"] = plan.containers.id
    lines = "\n".join(f"{key:18} {value}" for key, value in about.items())
    tell(about, lines, as_json=as_json)


def _tell_changes(
    plan: Plan,
    service: Deployments,
    body: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Say what would change; pools, which the template does not have, in its last lines."""
    wanted = plan.deployment
    found = service.what_if(wanted.id, body, parameters)
    changes = [(change.kind, change.resource_id) for change in found]
    lines = [f"{kind:10} {resource_id}" for kind, resource_id in changes]
    for pool in plan.pools:
        changes.append((pool.change.kind, f"{wanted.account_id}/pools/{pool.id}"))
        lines.append(f"{changes[-1][0]:10} {changes[-1][1]}")
        lines += [f"  {text}" for text in pool.change.told]
    counted = Counter(kind for kind, _ in changes)
    lines.append(", ".join(f"{number} {kind}" for kind, number in sorted(counted.items())))
    told = {pool.id: list(pool.change.told) for pool in plan.pools}
    data = {"changes": [list(change) for change in changes], "pools": told}
    tell(data, "\n".join(lines), as_json=as_json)


def _make_pools(plan: Plan, doors: Doors) -> None:
    """Upload the package, then make pools what they are to be."""
    wanted, spec = plan.deployment, plan.pool.spec
    account = doors.account(wanted.account_id)
    if spec.application:
        account.put_application(spec.application, pools.zip_package(plan.files))
    else:
        _upload(wanted, spec.package, plan.files)
    for pool in plan.pools:
        if pool.change.kind != "NoChange":
            account.change_pool(pool.id, pool.spec, is_whole=pool.change.is_whole)


def _upload(wanted: deployment.Deployment, package: str, files: Mapping[str, bytes]) -> None:
    """Upload a package, and wait for a role that was given a moment ago."""
    for tries_left in reversed(range(_MOST_TRIES if wanted.operators else 1)):
        try:
            for file, data in files.items():
                hooks.put_file(f"{wanted.packages_url}/{package}/{file}", data)
            return
        except NoPermission as error:
            if not tries_left:
                raise NoPermission(
                    f"{error}; all but the pool is deployed. Give your object id as --operator, or "
                    "wait some minutes until a new role holds, and run the same command again"
                ) from error
            say("the role for the upload does not hold yet; waiting", err=True)
            time.sleep(_POLL_SECONDS)


def _tell_nodes(plan: Plan, doors: Doors, outputs: Mapping[str, Any], *, reboots: bool) -> None:
    """Say what nodes go on with, and reboot them if that was asked for."""
    pool, num_stale = plan.pool.id, plan.pool.change.num_stale
    if plan.in_use:
        say(
            f"pipelines use the pool {pool} now; {plan.in_use} is as it was: delete it once its "
            f"tasks are over (`evensplit batch pool delete {plan.in_use}`)",
            err=True,
        )
    if reboots:
        cloud = doors.cloud(outputs["endpoint"])
        number = cloud.reboot_nodes(pool, lambda text: say(text, err=True))
        say(f"{hooks.counted(number, 'node')} rebooted", err=True)
    elif num_stale:
        say(
            f"{hooks.counted(num_stale, 'node')} of pool {pool} go on with the package "
            "that they have until they are rebooted: --reboot-nodes does that, one after the other",
            err=True,
        )
