"""The one door to Azure Batch: its client, what requests hold, what errors mean, who asks.

:mod:`batchjobs.client.service` has jobs, tasks and pools; :mod:`batchjobs.client.arm` makes the
pools that only Azure Resource Manager can make; :mod:`batchjobs.client.rehearsal` lets a dry run go
through the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

from batchjobs.client.credentials import choose
from batchjobs.client.rehearsal import NOWHERE, Noted, Rehearsal
from batchjobs.client.service import AzureBatch, PoolStatus
from engine import BadSetting

__all__ = ["AzureBatch", "Noted", "PoolStatus", "Rehearsal", "connect", "rehearse"]


def connect(endpoint: str, credential: str, environment: Mapping[str, str]) -> AzureBatch:
    """Return the service of a Batch account.

    Args:
        endpoint: ``https://ACCOUNT.REGION.batch.azure.com``.
        credential: one of :data:`batchjobs.service.CREDENTIALS`.
        environment: where secrets are looked for.
    """
    if not urlsplit(endpoint).hostname:
        raise BadSetting(
            "no Batch account: set AZURE_BATCH_ENDPOINT or --endpoint to "
            "https://ACCOUNT.REGION.batch.azure.com"
        )
    return AzureBatch(BatchClient(endpoint, choose(credential, endpoint, environment)))


def rehearse(
    endpoint: str, credential: str, environment: Mapping[str, str]
) -> tuple[AzureBatch, Rehearsal]:
    """Return a service that changes nothing, and the record of what it would have sent.

    Without an endpoint the account is taken to be empty, and nothing is asked either.
    """
    if not endpoint:
        session = Rehearsal(is_offline=True)
        key = AzureNamedKeyCredential("account", "bm9uZQ==")
        return AzureBatch(BatchClient(NOWHERE, key, transport=session.transport())), session
    session = Rehearsal()
    login = choose(credential, endpoint, environment)
    return AzureBatch(BatchClient(endpoint, login, transport=session.transport())), session
