"""Threads of this process as workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from engine.executors.local import interrupts_held, local_cluster
from engine.executors.resources import Resources

if TYPE_CHECKING:
    from distributed import Client

INTERRUPTED_SECONDS = 2  # to close in, after Ctrl-C


@contextmanager
def threads_client(resources: Resources) -> Iterator[Client]:
    """Start threads, and end them."""
    from distributed import Client

    with ExitStack() as stack:
        with interrupts_held():
            cluster = local_cluster("threads", resources.num_workers, resources.memory_bytes)
            stack.enter_context(cluster)
        try:
            yield stack.enter_context(Client(cluster))
        except KeyboardInterrupt:
            # Closing waits for parts that threads are writing; it goes on without us.
            stack.pop_all()
            with suppress(TimeoutError):
                cluster.close(timeout=INTERRUPTED_SECONDS)
            raise
