"""The services that a deployment talks to, all with one login that gives tokens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from engine.cli.options import Choice

if TYPE_CHECKING:
    from batchjobs.client import AzureBatch
    from batchjobs.client.arm import BatchAccount
    from batchjobs.client.deployments import Deployments

login_option = click.option(
    "--login",
    type=Choice("auto", "service-principal", "cli", "identity"),
    default="auto",
    show_default=True,
    envvar="EVENSPLIT_BATCH_LOGIN",
)


class Doors:
    """Ways to Azure's services.

    Args:
        login: as :data:`login_option` has it.
    """

    def __init__(self, login: str) -> None:
        self._login = login
        # The key of some account opens that one, and no Azure Resource Manager.
        self._environment = {k: v for k, v in os.environ.items() if k != "AZURE_BATCH_ACCESS_KEY"}

    def deployments(self, subscription: str, group: str) -> Deployments:
        """Return the deployments of a resource group, and what is in the subscription."""
        from batchjobs.client.deployments import Deployments

        return Deployments(subscription, group, self._login, self._environment)

    def account(self, account_id: str) -> BatchAccount:
        """Return a Batch account as a resource, which need not be there."""
        from batchjobs.client.arm import BatchAccount

        return BatchAccount(account_id, self._login, self._environment)

    def cloud(self, endpoint: str) -> AzureBatch:
        """Return a Batch account's service."""
        from batchjobs import client  # a task on a node needs none of it

        return client.connect(endpoint, self._login, self._environment)

    def has_file(self, url: str) -> bool:
        """Return whether a blob is there."""
        from batchjobs.client.resources import has_blob

        return has_blob(url, self._login, self._environment)
