"""A client that the caller has, from wherever a split may be called with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import engine
from engine.errors import BadSetting, ClusterMismatch
from tests.engine.executors.clusters import NUM_PARTS, Cluster
from tests.engine.running import parts_contents

pytestmark = pytest.mark.slow

# What a task runs; workers have the engine, not these tests.
TASK = """
import engine
def split(src, dest, how):
    from contextlib import nullcontext
    from distributed import get_client, worker_client
    with worker_client() if how == "worker_client" else nullcontext(get_client()) as client:
        return len(engine.split(src, dest, parts=12, client=client).manifest.parts)
"""


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """Of a cluster whose one worker has one thread."""
    cluster.add_worker(num_threads=1)
    with Client(cluster.address) as made:
        made.wait_for_workers(1)
        yield made


def split(source: Path, dest: Path, client: Any) -> int:
    return len(engine.split(source, dest, parts=NUM_PARTS, client=client).manifest.parts)


def in_a_thread(call: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def in_a_running_loop(call: Callable[[], int]) -> int:
    """As a cell of a notebook is run."""

    async def cell() -> int:
        return call()

    return asyncio.run(cell())


@pytest.mark.ways(1)
@pytest.mark.parametrize("where", [in_a_thread, in_a_running_loop])
def test_a_client_is_used_from_wherever_it_is_called(
    tmp_path: Path,
    source: Path,
    reference: dict[str, bytes],
    client: Client,
    where: Callable[[Callable[[], int]], int],
):
    assert where(lambda: split(source, tmp_path / "parts", client)) == NUM_PARTS
    assert parts_contents(tmp_path / "parts") == reference
    assert client.status == "running"


@pytest.mark.ways(1)
@pytest.mark.parametrize("how", ["get_client", "worker_client"])
def test_a_task_may_split_on_the_cluster_that_it_is_in(
    tmp_path: Path, source: Path, reference: dict[str, bytes], client: Client, how: str
):
    """The only thread is the task's: it is given to the parts meanwhile."""
    names: dict[str, Any] = {}
    exec(TASK, names)
    future = client.submit(names["split"], str(source), str(tmp_path / "parts"), how)
    assert future.result() == NUM_PARTS
    assert parts_contents(tmp_path / "parts") == reference
    assert client.submit(sum, (1, 2)).result() == 3  # the thread is there again


def test_a_client_that_must_be_awaited_is_refused(tmp_path: Path, source: Path, client: Client):
    async def cell() -> None:
        async with Client(client.scheduler.address, asynchronous=True) as other:
            with pytest.raises(BadSetting, match="asynchronous"):
                split(source, tmp_path / "parts", other)
            with pytest.raises(BadSetting, match="asynchronous"):
                await asyncio.to_thread(split, source, tmp_path / "parts", other)

    asyncio.run(cell())
    assert not (tmp_path / "parts").exists()


def test_what_is_no_client_that_runs_is_refused(tmp_path: Path, source: Path, client: Client):
    with Client(client.scheduler.address, set_as_default=False) as closed:
        pass
    with pytest.raises(ClusterMismatch, match="the client is closed; make a new one"):
        split(source, tmp_path / "parts", closed)
    with pytest.raises(BadSetting, match=r"not str; give the address .* as scheduler="):
        split(source, tmp_path / "parts", client.scheduler.address)
    assert not (tmp_path / "parts").exists()
