"""Azure block blobs (Blob Storage and Data Lake Gen2) through Microsoft's own client.

What adlfs cannot promise is done here: reads pinned to an ETag, parts staged as blocks and
published by one conditional commit, ranges that the service copies by itself, bounded retries.

============================  ==================================================================
:mod:`~.urls`                 the URL forms, and the one that plans keep
:mod:`~.credentials`          whose secret or identity opens an account
:mod:`~.identities`           the machine's or user's identity, and its tokens
:mod:`~.client`               clients of accounts: time-outs, signatures kept out of logs
:mod:`~.refusals`             what the service's error codes mean
:mod:`~.requests`             retries, and errors of the tree
:mod:`~.request_pool`         a few requests at a time, in bounded memory
:mod:`~.source`               ranged reads of one version of a blob
:mod:`~.blocks`               how pieces of a part become blocks (pure)
:mod:`~.sink`                 staging and committing them
:mod:`~.store`                all of these as one :class:`engine.storage.base.Storage`
============================  ==================================================================

Not covered: append and page blobs, client-side encryption, leases, snapshots.
"""

from __future__ import annotations

from engine.storage.azure.request_pool import PROCESS_BYTES
from engine.storage.azure.store import AzureStorage
from engine.storage.azure.urls import is_azure

__all__ = ["PROCESS_BYTES", "AzureStorage", "is_azure"]
