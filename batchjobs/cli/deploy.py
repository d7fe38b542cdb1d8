"""The command that makes everything in Azure: resources, package and pipelines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchjobs import deploy as deployment
from batchjobs import pool as pools
from batchjobs.cli.group import batch, json_option, tell
from engine import NoPermission, hooks
from engine.cli.options import SIZE, Choice
from engine.cli.terminal import say

if TYPE_CHECKING:
    from batchjobs.client.deployments import Change, Deployments

_LOGINS = ("auto", "service-principal", "cli", "identity")


@batch.command("deploy")
@click.option("--what-if", "action", flag_value="what-if", help="Show what would change.")
@click.option("--apply", "action", flag_value="apply", help="Make it so.")
@click.option("--subscription", required=True, envvar="AZURE_SUBSCRIPTION_ID", metavar="ID")
@click.option("--group", required=True, help="The resource group, which is there.")
@click.option("--location", required=True, help="Region: westeurope and the like.")
@click.option("--prefix", default="evens", show_default=True, help="Begins all names.")
@click.option(
    "--package",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `make package` made.",
)
@click.option("--image", required=True, metavar="PUBLISHER:OFFER:SKU:VERSION")
@click.option("--agent", required=True, metavar="SKU", help="batch.node.ubuntu 24.04, for one.")
@click.option("--vm-size", default="standard_d4ds_v5", show_default=True)
@click.option("--slots", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--formula", metavar="NAME|FILE", help="pending, spot. [default: fixed, no node]")
@click.option("--dedicated", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("--spot", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--target-size", type=SIZE, default="100MB", show_default=True, help="Of a part.")
@click.option("--batch-count", type=int, default=20, show_default=True, help="Files at once.")
@click.option("--operator", default="", metavar="ID", help="Object id of who uploads the package.")
@click.option(
    "--conf",
    type=click.Path(path_type=Path),
    help="Folder of template and pipelines. [default: conf here, else the installed one]",
)
@click.option(
    "--login",
    type=Choice(*_LOGINS),
    default="auto",
    show_default=True,
    envvar="EVENSPLIT_BATCH_LOGIN",
)
@json_option
def deploy_command(
    action: str | None,
    subscription: str,
    group: str,
    location: str,
    prefix: str,
    package: Path,
    image: str,
    agent: str,
    vm_size: str,
    slots: int,
    formula: str | None,
    dedicated: int,
    spot: int,
    target_size: str,
    batch_count: int,
    operator: str,
    conf: Path | None,
    login: str,
    as_json: bool,
) -> None:
    """Make all that the pipelines need in a resource group, or show what would change.

    Storage, a Batch account with a pool, a Key Vault, a Data Factory with the pipelines of
    conf/adf, and who may do what. Then the package is uploaded, which nodes install. Run again
    after any change: what is as it should be stays. Triggers that are started are stopped
    meanwhile, and started again.
    """
    if action is None:
        raise click.UsageError("give either --what-if or --apply")
    name, files = pools.read_package(package)
    counts = {"most_dedicated": dedicated, "most_spot": spot, "slots_per_node": slots}
    wanted = deployment.Deployment(
        subscription=subscription,
        group=group,
        location=location,
        prefix=prefix,
        package=name,
        image=pools.parse_image(image),
        agent=agent,
        vm_size=vm_size,
        slots_per_node=slots,
        formula=pools.fill_formula(pools.read_formula(formula), counts) if formula else "",
        target_size=target_size,
        batch_count=batch_count,
        operator_id=operator,
    )
    body, parameters = deployment.template(wanted, conf), wanted.parameters()
    service = connect(subscription, group, login)
    if action == "what-if":
        _tell_changes(service.what_if(wanted.id, body, parameters), as_json=as_json)
        return
    with service.triggers(wanted.factory_id).stopped() as stopped:
        if stopped:
            say(f"stopped for the deployment: {', '.join(stopped)}", err=True)
        outputs = service.apply(wanted.id, body, parameters)
    _upload(wanted, files)
    shown = "\n".join(f"{key:18} {value}" for key, value in outputs.items())
    tell({"package": name, **outputs}, f"package {name} is uploaded\n{shown}", as_json=as_json)


def _tell_changes(changes: Sequence[Change], *, as_json: bool) -> None:
    lines = [f"{change.kind:10} {change.resource_id}" for change in changes]
    counted = Counter(change.kind for change in changes)
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(counted.items()))
    data = {"changes": [[change.kind, change.resource_id] for change in changes]}
    tell(data, "\n".join([*lines, told or "nothing to change"]), as_json=as_json)


def connect(subscription: str, group: str, login: str) -> Deployments:
    """Return the deployments of a resource group."""
    from batchjobs.client.deployments import Deployments

    return Deployments(subscription, group, login, os.environ)


def _upload(wanted: deployment.Deployment, files: dict[str, bytes]) -> None:
    try:
        for file, data in files.items():
            hooks.put_file(f"{wanted.packages_url}/{wanted.package}/{file}", data)
    except NoPermission as error:
        raise NoPermission(
            f"{error}; everything else is deployed. A new role takes some minutes to hold: give "
            "your object id as --operator, wait, and run the same command again"
        ) from error
