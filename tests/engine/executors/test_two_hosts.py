"""A cluster on two hosts, and a client on another: only the storage is shared."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.executors.clusters import NUM_PARTS, SLOW, Cluster, Host, kill, wait_until
from tests.engine.executors.hosts import cut_off, hosts
from tests.engine.running import (
    end,
    leftovers,
    parts_contents,
    start,
)

pytestmark = pytest.mark.slow

PORT = 8786


@pytest.fixture
def network() -> Iterator[list[Host]]:
    """The scheduler's host, two of workers, and the client's."""
    with hosts(4) as made:
        yield made


@pytest.fixture
def cluster(
    tmp_path: Path, network: list[Host], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    # How long a silent connection is believed in: 30 seconds if nothing is said, 11 at least.
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", "11s")
    with Cluster(tmp_path / "cluster", network[0], PORT) as made:
        assert made.address == f"tcp://10.99.0.1:{PORT}"
        yield made


def split(cluster: Cluster, client: Host, source: Path, dest: Path) -> subprocess.Popen[str]:
    words = ["split", source, dest, "--parts", str(NUM_PARTS), "--scheduler", cluster.address]
    process = start(*words, prefix=client.prefix)
    cluster.clients.append(process)
    return process


def test_hosts_are_apart_from_this_machine_and_from_the_world(network: list[Host]):
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        reach = f"import socket; socket.create_connection({ours.getsockname()!r}, 5)"
        python = [sys.executable, "-c"]
        subprocess.run([*python, reach], check=True)
        for host in network:
            command = [*host.prefix, *python, reach]
            assert subprocess.run(command, capture_output=True, check=False).returncode
            routes = subprocess.check_output([*host.prefix, "ip", "route"], text=True).splitlines()
            assert [line.split()[0] for line in routes] == ["10.99.0.0/24"]
    addresses = subprocess.check_output(["ip", "address"], text=True)
    assert "10.99.0." not in addresses


def test_two_hosts_write_the_parts_that_one_would(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster, network: list[Host]
):
    _, first, second, client = network
    workers = [cluster.add_worker(SLOW, host=host) for host in (first, second)]
    cluster.wait_for_registrations()
    dest = tmp_path / "parts"
    ended = end(split(cluster, client, source, dest))
    assert ended.code == 0, ended.err
    assert parts_contents(dest) == reference
    begun = [cluster.commits_begun(worker) for worker in workers]
    assert sum(begun) == NUM_PARTS
    assert min(begun) >= NUM_PARTS // 4
    link = re.search(r"^Dask dashboard: (http://10\.99\.0\.1:\d+/status)$", ended.err, re.MULTILINE)
    assert link, ended.err
    look = f"import urllib.request; print(urllib.request.urlopen({link[1]!r}, timeout=10).read())"
    page = subprocess.check_output([*client.prefix, sys.executable, "-c", look], text=True)
    assert "Dask Diagnostic UI" in page


def test_a_host_that_falls_silent_loses_nothing(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster, network: list[Host]
):
    _, first, second, client = network
    silent, _ = [cluster.add_worker(SLOW, host=host) for host in (first, second)]
    cluster.wait_for_registrations()
    dest = tmp_path / "parts"
    process = split(cluster, client, source, dest)
    wait_until(lambda: cluster.commits_begun(silent) > 1)
    cut_off(first)
    ended = end(process)
    assert ended.code == 0, ended.err
    assert parts_contents(dest) == reference
    assert leftovers(dest) == []


def test_a_lost_scheduler_is_told_and_the_same_command_finishes_the_rest_on_a_new_one(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster, network: list[Host]
):
    _, first, second, client = network
    workers = [cluster.add_worker(SLOW, host=host, nanny=True) for host in (first, second)]
    dest = tmp_path / "parts"
    process = split(cluster, client, source, dest)
    wait_until(lambda: len(list((dest / "_evensplit/receipts").glob("*.json"))) > 3)
    kill(cluster.scheduler)
    ended = end(process)  # by itself, and before the workers have gone on to the end
    assert sum(cluster.commits_begun(worker) for worker in workers) < NUM_PARTS
    assert ended.code == 5, ended.err
    assert "Traceback" not in ended.err
    *_, line = ended.err.splitlines()
    assert line.startswith("evensplit: retry.workers-lost: the connection to the Dask scheduler")
    assert "run the same command again" in line
    for worker in workers:
        kill(worker)
    cluster.start_scheduler()
    for host in (first, second):
        cluster.add_worker(SLOW, host=host, nanny=True)
    num_before = len(list(cluster.log.iterdir()))
    ended = end(split(cluster, client, source, dest))
    assert ended.code == 0, ended.err
    found = re.search(r"(\d+) parts? (?:is|are) committed already", ended.err)
    assert found, ended.err
    assert int(found[1]) > 3
    assert len(list(cluster.log.iterdir())) - num_before == NUM_PARTS - int(found[1])
    assert parts_contents(dest) == reference
    assert leftovers(dest) == []
