"""What the commands share: the group, options, and which service a job belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchjobs.fanout import plan_files
from batchjobs.local import PREFIX, LocalService, default_root
from batchjobs.pack import PlannedFile
from batchjobs.service import CREDENTIALS, Service
from batchjobs.spec import checked_settings
from engine.cli.group import Group
from engine.cli.options import Choice, split_options
from engine.cli.terminal import say

if TYPE_CHECKING:
    from batchjobs.client import AzureBatch

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_TEXTS = {
    "parts": "Exactly N parts of each file, instead of a size.",
    "memory": "Most memory of one task. [default: its slot's share of the node]",
    "workers": "Parts that a task writes at once. [default: by the slot's cores]",
}
split_settings = split_options("batch", _TEXTS, has_defaults=False)


@click.group(cls=Group)
def batch() -> None:
    """Split many files at once: one task a file, on Azure Batch or on this machine."""


def account(function: F) -> F:
    """Add the options that name a Batch account and who asks."""
    endpoint = click.option(
        "--endpoint",
        metavar="URL",
        default="",
        envvar="AZURE_BATCH_ENDPOINT",
        help="Of the Batch account: https://ACCOUNT.REGION.batch.azure.com.",
    )
    login = click.option(
        "--login",
        type=Choice(*CREDENTIALS),
        default="auto",
        show_default=True,
        envvar="EVENSPLIT_BATCH_LOGIN",
        help="key (AZURE_BATCH_ACCESS_KEY), service-principal (AZURE_TENANT_ID, AZURE_CLIENT_ID, "
        "AZURE_CLIENT_SECRET), cli, identity (of this machine), or auto: the first two if they "
        "are set, else cli.",
    )
    return endpoint(login(function))


def azure(endpoint: str, login: str) -> AzureBatch:
    """Return the Batch account's service."""
    from batchjobs import client  # a task on a node needs none of it

    return client.connect(endpoint, login, os.environ)


def service_of(job_id: str, endpoint: str, login: str) -> Service:
    """Return the service that a job belongs to; its id begins accordingly."""
    if job_id.startswith(f"{PREFIX}-"):
        return LocalService(default_root())
    return azure(endpoint, login)


def services(endpoint: str, login: str) -> list[Service]:
    """Return every service that there is: this machine, and an account if one is named."""
    here: Service = LocalService(default_root())
    return [here, azure(endpoint, login)] if endpoint else [here]


def planned(
    src: tuple[str, ...], dest: str, given: Mapping[str, Any]
) -> tuple[list[PlannedFile], dict[str, Any]]:
    """Return the files of a call with what each takes, and the settings of its splits."""
    settings = checked_settings(given)
    places = [absolute(item) for item in src]
    return plan_files(places, absolute(dest), settings), settings


def absolute(place: str) -> str:
    """Return a path that means the same in another folder, or a URL as it is."""
    if place.startswith("@"):  # a list of places
        return f"@{absolute(place[1:])}"
    return place if "://" in place else os.path.abspath(place)


def tell(data: Mapping[str, Any] | list[Any], text: str, *, as_json: bool) -> None:
    """Print data for machines or a text for people."""
    if as_json:
        click.echo(json.dumps(data))
    else:
        say(*text.splitlines())
