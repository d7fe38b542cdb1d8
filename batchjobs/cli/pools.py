"""Commands on pools: make, show, resize, delete, and what a formula would do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import engine
from batchjobs import pool as pools
from batchjobs.cli.group import (
    account,
    azure,
    batch,
    json_option,
    planned,
    split_settings,
    tell,
)
from batchjobs.spec import PoolSpec
from engine import BadSetting

_count = click.IntRange(min=0)


@batch.group()
def pool() -> None:
    """Nodes that run tasks."""


@pool.command()
@click.argument("name", required=False)
@click.option("--vm-size", help="Of every node; or --fit chooses it.")
@click.option("--fit", multiple=True, metavar="SRC", help="Choose the size for these sources.")
@click.option("--slots", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--dedicated", type=_count, default=0, show_default=True, help="At most, by formula.")
@click.option("--spot", type=_count, default=0, show_default=True, help="At most, by formula.")
@click.option("--formula", metavar="NAME|FILE", help="pending, schedule, spot. [default: fixed]")
@click.option("--start-hour", type=int, default=7, show_default=True, help="UTC, of schedule.")
@click.option("--end-hour", type=int, default=19, show_default=True, help="UTC, of schedule.")
@click.option("--image", required=True, metavar="PUBLISHER:OFFER:SKU:VERSION")
@click.option("--agent", required=True, metavar="SKU", help="batch.node.ubuntu 24.04, for one.")
@click.option(
    "--package",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `make package` made.",
)
@click.option(
    "--package-url",
    required=True,
    metavar="URL",
    help="Container in the storage account that is linked to the Batch account.",
)
@click.option("--dry-run", is_flag=True, help="Show the pool; make nothing.")
@account
@split_settings
@json_option
def create(
    name: str | None,
    vm_size: str | None,
    fit: tuple[str, ...],
    slots: int,
    dedicated: int,
    spot: int,
    formula: str | None,
    start_hour: int,
    end_hour: int,
    image: str,
    agent: str,
    package: Path,
    package_url: str,
    dry_run: bool,
    endpoint: str,
    login: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Make a pool, or find it: without NAME its name is a hash of all that it is.

    The package is uploaded to the linked storage account, which nodes read without any key of
    ours. Such a pool has no managed identity: only a template or ARM can give it one.
    """
    if bool(vm_size) == bool(fit):
        raise click.UsageError("give either --vm-size or --fit SRC")
    package_name, files = pools.read_package(package)
    text = ""
    if formula:
        text = _filled(formula, dedicated, spot, slots, (start_hour, end_hour))
        dedicated = spot = 0
    spec = PoolSpec(
        vm_size=vm_size or _fitting(fit, slots, settings),
        image=pools.parse_image(image),
        agent=agent,
        slots_per_node=slots,
        num_dedicated=dedicated,
        num_spot=spot,
        formula=text,
        package=package_name,
        package_container=_container(package_url),
    )
    pool_id = pools.check_name(name or spec.id)
    made = False
    if not dry_run:
        _upload(package_url, package_name, files, settings["credential"] or "auto")
        made = azure(endpoint, login).create_pool(pool_id, spec)
    told = "would be made" if dry_run else "is made" if made else "was there already"
    about = {"pool": pool_id, "made": made, **asdict(spec)}
    tell(about, f"pool {pool_id} of {spec.vm_size} {told}", as_json=as_json)


def _filled(
    formula: str, dedicated: int, spot: int, slots_per_node: int, hours: tuple[int, int]
) -> str:
    """Return the text of an autoscale formula with its parameters filled in."""
    parameters = {
        "most_dedicated": dedicated,
        "most_spot": spot,
        "slots_per_node": slots_per_node,
        "start_hour": hours[0],
        "end_hour": hours[1],
    }
    return pools.fill_formula(pools.read_formula(formula), parameters)


def _fitting(src: tuple[str, ...], slots: int, settings: dict[str, Any]) -> str:
    # Where the parts go does not change what their split takes.
    files, _ = planned(src, "parts", settings)
    return pools.choose_vm_size(max(item.memory_bytes for item in files), slots).name


def _container(url: str) -> str:
    _, found, rest = url.rstrip("/").partition("://")
    name = rest.partition("@")[0] if "@" in rest else rest.rpartition("/")[2]
    if not found or not name or "?" in name:
        raise BadSetting("--package-url is no URL of a container without a query")
    return name


def _upload(url: str, package: str, files: dict[str, bytes], credential: str) -> None:
    # The package's name is a hash of its files, so what is there under that name is the same.
    for name, data in files.items():
        engine.put_file(f"{url.rstrip('/')}/{package}/{name}", data, credential=credential)


@pool.command("show")
@click.argument("name")
@account
@json_option
def show_command(name: str, endpoint: str, login: str, as_json: bool) -> None:
    """Show a pool, and what keeps it from having its nodes."""
    found = azure(endpoint, login).find_pool(name)
    lines = "\n".join(f"{key:15} {value}" for key, value in asdict(found).items() if value != "")
    tell(asdict(found), lines, as_json=as_json)


@pool.command()
@click.argument("name")
@click.option("--dedicated", type=_count, default=0, show_default=True)
@click.option("--spot", type=_count, default=0, show_default=True)
@account
@json_option
def resize(name: str, dedicated: int, spot: int, endpoint: str, login: str, as_json: bool) -> None:
    """Give a pool without formula so many nodes; those that leave finish their tasks."""
    azure(endpoint, login).resize_pool(name, dedicated, spot)
    about = {"pool": name, "num_dedicated": dedicated, "num_spot": spot}
    tell(about, f"pool {name}: {dedicated} dedicated, {spot} Spot nodes", as_json=as_json)


@pool.command()
@click.argument("name")
@account
@json_option
def delete(name: str, endpoint: str, login: str, as_json: bool) -> None:
    """Delete a pool, and end what runs on it."""
    azure(endpoint, login).delete_pool(name)
    tell({"pool": name}, f"pool {name} is deleted", as_json=as_json)


@pool.command()
@click.argument("name")
@click.option("--formula", metavar="NAME|FILE", required=True)
@click.option("--dedicated", type=_count, default=0, show_default=True, help="At most.")
@click.option("--spot", type=_count, default=0, show_default=True, help="At most.")
@click.option("--slots", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--start-hour", type=int, default=7, show_default=True)
@click.option("--end-hour", type=int, default=19, show_default=True)
@account
@json_option
def evaluate(
    name: str,
    formula: str,
    dedicated: int,
    spot: int,
    slots: int,
    start_hour: int,
    end_hour: int,
    endpoint: str,
    login: str,
    as_json: bool,
) -> None:
    """Ask the service what a formula would do now; nothing changes."""
    text = _filled(formula, dedicated, spot, slots, (start_hour, end_hour))
    results = azure(endpoint, login).evaluate(name, text)
    tell({"pool": name, "results": results}, results.replace(";", "\n"), as_json=as_json)
