"""A client of Dask that the caller has: whether a split may use it from where it is called.

A client made in a script, in a notebook or in another thread may be used as it is. Inside a task of
Dask the caller holds a thread of a worker, which the parts may need: it is given up meanwhile, as
``distributed.worker_client`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import BadSetting, ClusterMismatch


@contextmanager
def lent(client: Any) -> Iterator[str]:
    """Yield the address of a client's scheduler, while the client may be used.

    Raises:
        BadSetting: it is no client, or one that must be awaited.
        ClusterMismatch: it is closed.
    """
    from distributed import Client

    if not isinstance(client, Client):
        raise BadSetting(
            f"client is to be a distributed.Client, not {type(client).__name__}; give the address "
            "of a scheduler as scheduler="
        )
    if client.status != "running" and not client._asynchronous:
        raise ClusterMismatch(
            f"the client is {client.status}; make a new one, distributed.Client(ADDRESS)"
        )
    if client._asynchronous:
        raise BadSetting(
            "the client is asynchronous, and a split waits for its parts; make one without "
            "asynchronous=True, and from a coroutine call split in a thread (asyncio.to_thread)"
        )
    with _thread_given_up():
        yield client.scheduler_info(n_workers=0)["address"]


@contextmanager
def _thread_given_up() -> Iterator[None]:
    """Leave the worker's pool of threads, in a task that is still in it, and come back."""
    from distributed import get_worker, rejoin, secede
    from distributed.threadpoolexecutor import thread_state as pool

    try:
        get_worker()
    except ValueError:  # no task of Dask
        yield
        return
    if not pool.proceed:  # given up by the caller
        yield
        return
    secede()
    try:
        yield
    finally:
        rejoin()
