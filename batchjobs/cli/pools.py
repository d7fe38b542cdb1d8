"""Commands on pools: make, show, resize, delete, and what a formula would do."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import click

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
from batchjobs.cli.pool_options import PoolWish, ensure, new_pool, pool_settings, rehearse
from batchjobs.fanout import need_of
from engine.cli.group import Group

_count = click.IntRange(min=0)


@batch.group(cls=Group)
def pool() -> None:
    """Nodes that run tasks."""


@pool.command()
@click.argument("pool_name", metavar="[NAME]", required=False)
@click.option("--fit", multiple=True, metavar="SRC", help="Choose the size for these sources.")
@click.option("--dry-run", is_flag=True, help="Show the pool and the request; make nothing.")
@pool_settings
@account
@split_settings
@json_option
def create(
    pool_name: str | None,
    fit: tuple[str, ...],
    dry_run: bool,
    endpoint: str,
    login: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Make a pool, or find it: without NAME its name is a hash of all that it is.

    The package is uploaded to the linked storage account, which nodes read without any key of
    ours. With --pool-identity nodes have that identity, and read the package by it.
    """
    wish = PoolWish.taken(given)
    if bool(wish.vm_size) == bool(fit):
        raise click.UsageError("give either --vm-size or --fit SRC")
    # Where the parts go does not change what their split takes.
    place = "parts" if all("://" not in item for item in fit) else "memory://parts"
    new = new_pool(pool_name, wish, lambda: need_of(planned(fit, place, given)[0]))
    made, requests = False, []
    if dry_run:
        from batchjobs import client

        cloud, session = client.rehearse(endpoint, login, os.environ)
        requests = [*rehearse(new, cloud, login), *session.noted]
    else:
        made = ensure(new, azure(endpoint, login), login, given["credential"] or "auto")
    told = "would be made" if dry_run and requests else "is made" if made else "was there already"
    about = {"pool": new.id, "made": made, **asdict(new.spec)}
    about["requests"] = [item.as_dict() for item in requests]
    tell(about, f"pool {new.id} of {new.spec.vm_size} {told}", as_json=as_json)


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
    parameters = {
        "most_dedicated": dedicated,
        "most_spot": spot,
        "slots_per_node": slots,
        "start_hour": start_hour,
        "end_hour": end_hour,
    }
    text = pools.fill_formula(pools.read_formula(formula), parameters)
    results = azure(endpoint, login).evaluate(name, text)
    tell({"pool": name, "results": results}, results.replace(";", "\n"), as_json=as_json)
