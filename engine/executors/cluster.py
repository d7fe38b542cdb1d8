"""A running cluster: reached, looked at, and asked for its workers' memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from engine import memory
from engine.errors import ClusterMismatch, EvensplitError, OtherPlan, OverBudget, WorkersLost
from engine.executors.resources import RESOURCE, Resources
from engine.storage import buffer_bytes
from engine.storage.base import redacted
from engine.version import __version__
from engine.wording import memory_amount
from engine.work import PartTask

if TYPE_CHECKING:
    from distributed import Client, Worker

CONNECT_SECONDS = 15
WORKER_WAIT_SECONDS = 60
DASHBOARD_SECONDS = 2
RESULT_SECONDS = 10  # a receipt is small; its worker may be gone
_POLL_SECONDS = 0.02


@contextmanager
def remote(resources: Resources) -> Iterator[Client]:
    """Reach the scheduler, and wait for a worker.

    Raises:
        ClusterMismatch: no scheduler answers.
        WorkersLost: it has no worker.
    """
    from distributed import Client

    try:
        client = Client(resources.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterMismatch(
            f"no Dask scheduler answers at {resources.place}; check the address, or leave "
            "--scheduler out to work on this machine"
        ) from error
    with client:
        wait_for_worker(client, resources)
        yield client


def wait_for_worker(client: Client, resources: Resources) -> None:
    """Wait until there is one; raise WorkersLost if none comes."""
    try:
        client.wait_for_workers(1, timeout=WORKER_WAIT_SECONDS)
    except TimeoutError as error:
        raise WorkersLost(
            f"the scheduler at {resources.place} has had no worker for "
            f"{WORKER_WAIT_SECONDS} seconds; start some, then run the same command again"
        ) from error


def check_workers(client: Client, tasks: Sequence[PartTask]) -> None:
    """Ask every worker for its version, whether it sees the same files, and for its memory."""
    try:
        answers: dict[str, Any] = client.run(_probe, tasks[0])
    except (OSError, TimeoutError) as error:
        raise connection_lost() from error
    except Exception as error:  # Dask has no class of its own for what a worker cannot import
        raise ClusterMismatch(
            f"the cluster's workers do not have evensplit {__version__} installed: {error}"
        ) from error
    for address, answer in answers.items():
        if answer is not None:
            raise ClusterMismatch(f"worker {address}: {answer}")
    have_memory_offered(client, fixed_bytes(tasks[0]))
    most_bytes = max(map(offer, workers(client).values()), default=0)
    worst = max(tasks, key=lambda task: task.part.memory_bytes).part
    if worst.memory_bytes > most_bytes:
        raise OverBudget(
            f"{worst.name} needs about {memory_amount(worst.memory_bytes)} of memory, the largest "
            f"worker has {memory_amount(most_bytes)} for parts; start larger workers or choose a "
            "smaller --target-size"
        )


def is_there(dashboard_link: str) -> bool:
    """Whether a scheduler has the page: one started without still gives a link to it."""
    import http.client
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(dashboard_link, timeout=DASHBOARD_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code != HTTPStatus.NOT_FOUND
    except (OSError, ValueError, http.client.HTTPException):  # a user's browser may reach it
        return True
    return True


def _probe(task: PartTask) -> str | None:
    """Run on a worker: return what is wrong, or None."""
    from engine.storage.access import using

    if __version__ != task.version:
        return f"has evensplit {__version__}, this is {task.version}; install the same version"
    with using(task.access):
        return _files_differ(task)


def _files_differ(task: PartTask) -> str | None:
    from engine.ledger.manifest import Ledger
    from engine.storage import open_storage

    try:
        for source in task.sources:
            store, path = open_storage(source.path)
            now = store.stat(path)
            if (now.size_bytes, now.version) != (source.size_bytes, source.version):
                return f"sees another version of {redacted(source.path)}"
        store, folder = open_storage(task.destination)
        where = redacted(task.destination)
        Ledger(store, folder).check_claim(task.claim)
    except OtherPlan:
        return f"does not see the plan in {where}; use storage that all share"
    except EvensplitError as error:
        return f"cannot reach the files: {error}"
    return None


def connection_lost() -> WorkersLost:
    """Return the error of a scheduler that has gone."""
    return WorkersLost(
        "the connection to the Dask scheduler was lost; run the same command again: finished parts "
        "are kept"
    )


def workers(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of its workers, by address.

    The scheduler is asked itself: ``Client.scheduler_info`` may answer with what a refresh in the
    background has fetched meanwhile, and that leaves workers out.
    """
    if client.scheduler is None:
        raise connection_lost()
    try:
        answer: dict[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)
    except (OSError, TimeoutError) as error:  # closed connections are among these
        raise connection_lost() from error
    found: dict[str, dict[str, Any]] = answer["workers"]
    return found


def offer(worker: dict[str, Any]) -> int:
    """Return the memory that a worker offers to parts."""
    return int(worker.get("resources", {}).get(RESOURCE, 0))


def fixed_bytes(task: PartTask) -> int:
    """Return what a cluster's worker takes beside its parts."""
    places = [task.destination, *(source.path for source in task.sources)]
    return memory.process_base_bytes(arrow=True) + buffer_bytes(places)


def have_memory_offered(client: Client, fixed_bytes: int) -> None:
    """Have workers offer memory that were started without the resource.

    A worker that cannot answer offers nothing, so it is given nothing.
    """
    silent = [
        address
        for address, worker in workers(client).items()
        if RESOURCE not in worker["resources"]
    ]
    if not silent:
        return
    try:
        asked = client.run(_offer_memory, fixed_bytes, workers=silent, on_error="ignore")
    except (OSError, TimeoutError) as error:
        raise connection_lost() from error
    # Another run may have been faster, and its worker's word still be on the way to the scheduler.
    deadline = time.monotonic() + RESULT_SECONDS
    while time.monotonic() < deadline:
        known = workers(client)
        if all(RESOURCE in known[who]["resources"] for who in asked if who in known):
            break
        time.sleep(_POLL_SECONDS)


async def _offer_memory(fixed_bytes: int, dask_worker: Worker) -> None:
    """Run on a worker: offer what its limit leaves for parts, as long as it lives."""
    from distributed import Status
    from distributed.system import MEMORY_LIMIT

    if RESOURCE in dask_worker.state.total_resources:  # another run was faster
        return
    limits_bytes = [
        dask_worker.memory_manager.memory_limit or MEMORY_LIMIT,
        *(group.limit_bytes for group in memory.cgroups()),
    ]
    # The margin is also where Dask begins to pause a worker.
    room_bytes = max(0, int(min(limits_bytes) * memory.MARGIN) - fixed_bytes)
    await dask_worker.set_resources(**{RESOURCE: room_bytes})
    if dask_worker.status == Status.running:
        # Tasks that found no worker are looked at again when one joins or goes on after a pause,
        # but not when one offers more.
        dask_worker.status = Status.paused
        dask_worker.status = Status.running
