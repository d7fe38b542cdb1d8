"""The command that lists the images that nodes can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from batchjobs import deploy as deployment
from batchjobs.cli.doors import Doors
from batchjobs.cli.group import account, azure, batch, json_option, tell
from batchjobs.images import newest
from batchjobs.spec import SupportedImage
from engine import BadSetting
from engine.cli.terminal import Column, print_table

_COLUMNS = (
    Column("image", is_text=True),
    Column("agent", is_text=True),
    Column("containers", is_text=True, drop=2),
    Column("verified", is_text=True, drop=3),
    Column("until", is_text=True, drop=1),
)


@batch.command("images")
@click.option("--all", "takes_all", is_flag=True, help="Also those that are not verified.")
@click.option("--location", metavar="REGION", help="Show the newest version that is there.")
@click.option(
    "--subscription",
    envvar="AZURE_SUBSCRIPTION_ID",
    metavar="ID",
    help="That is asked for versions.",
)
@account
@json_option
def images_command(
    takes_all: bool,
    location: str | None,
    subscription: str | None,
    endpoint: str,
    login: str,
    as_json: bool,
) -> None:
    """List the images for Linux that Azure Batch supports, with the agent that each needs.

    With --location each is shown with its newest version: what --image takes. `batch deploy`
    chooses by itself. An image with "containers" can run --container.
    """
    if location and not subscription:
        raise click.UsageError("--location needs --subscription, or AZURE_SUBSCRIPTION_ID")
    found = [image for image in azure(endpoint, login).images() if image.is_verified or takes_all]
    versions: list[str] = [""] * len(found)
    if location and subscription:
        # An account's key opens no Azure Resource Manager.
        doors = Doors("auto" if login == "key" else login)
        reading = doors.deployments(subscription, "").resources
        region = deployment.region(location)
        versions = [_newest(reading.image_versions(region, item.title), item) for item in found]
    data = [asdict(item) | {"version": text} for item, text in zip(found, versions, strict=True)]
    if as_json:
        tell(data, "", as_json=True)
        return
    print_table(_COLUMNS, [_row(*pair) for pair in zip(found, versions, strict=True)])


def _newest(versions: Sequence[str], image: SupportedImage) -> str:
    try:
        return newest(versions, image.title)
    except BadSetting:  # the region has none
        return ""


def _row(image: SupportedImage, version: str) -> list[str]:
    return [
        f"{image.title}:{version}" if version else image.title,
        image.agent,
        "containers" if image.runs_containers else "-",
        "yes" if image.is_verified else "no",
        image.end_date or "-",
    ]
