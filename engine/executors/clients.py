"""The one place where a client of Dask is opened, whatever kind of workers it has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.executors import cluster
from engine.executors.local import local_processes
from engine.executors.resources import Resources

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def client_for(resources: Resources) -> Iterator[Client]:
    """Reach the cluster, or start processes; end what was started here."""
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    if resources.client is not None:
        cluster.wait_for_worker(resources.client, resources)
        yield resources.client
    elif resources.kind == "cluster":
        with silence_logging_cmgr(logging.CRITICAL), cluster.remote(resources) as client:
            yield client
    else:
        with local_processes(resources) as processes, Client(processes) as client:
            yield client
