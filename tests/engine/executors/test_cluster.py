"""A running cluster, and what may go wrong with it."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import distributed
import pyarrow.parquet as pq
import pytest
from distributed import Client

import engine
from engine import memory
from engine.errors import ClusterMismatch, OverBudget, WorkersLost
from engine.executors import Resources, futures, run_parts
from engine.executors import cluster as remote_cluster
from engine.model import Receipt
from engine.work import PartTask, write_part
from tests.engine.executors.clusters import NUM_PARTS, SLOW, Cluster, kill, wait_until
from tests.engine.executors.tasks import tasks_of
from tests.engine.running import (
    HANG_SECONDS,
    REPOSITORY,
    end,
    leftovers,
    parts_contents,
    read_parts,
    run,
    start,
    write_source,
)

pytestmark = pytest.mark.slow

MIB = 1 << 20

# A worker that loads this takes far more memory than its part was projected to: the first time it
# commits one, or whenever it commits the part that EVENSPLIT_TEST_POISON names.
HUNGRY = """
import os, time
from engine.storage.local import LocalSink
def hungry_commit(sink):
    poison = os.environ.get("EVENSPLIT_TEST_POISON")
    hungry = bool(poison) and poison in sink._path
    if not poison:
        try:
            open(os.environ["EVENSPLIT_TEST_LOG"] + "/hungry", "x").close()
        except FileExistsError:
            pass
        else:
            hungry = True
    eaten = []
    while hungry:
        eaten.append(b"x" * (8 << 20))
        time.sleep(0.01)
    open(os.environ["EVENSPLIT_TEST_LOG"] + f"/{os.getpid()}-{time.monotonic_ns()}", "x").close()
    LocalSink.quick_commit(sink)
if not hasattr(LocalSink, "quick_commit"):
    LocalSink.quick_commit, LocalSink.commit = LocalSink.commit, hungry_commit
"""
OTHER_VERSION = """
import engine.version
engine.version.__version__ = "0.0.1"
"""


def split_on(cluster: Cluster, source: Path, dest: Path) -> Any:
    return engine.split(str(source), str(dest), parts=NUM_PARTS, scheduler=cluster.address)


def test_a_worker_killed_in_the_middle_loses_nothing(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster
):
    first, second = cluster.add_worker(SLOW), cluster.add_worker(SLOW)
    cluster.wait_for_workers()

    def kill() -> None:
        wait_until(lambda: cluster.commits_begun(first) > 1 and cluster.commits_begun(second))
        first.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = split_on(cluster, source, tmp_path / "parts")
    killer.join()
    assert first.wait() == -signal.SIGKILL
    assert len(result.manifest.parts) == NUM_PARTS
    assert parts_contents(tmp_path / "parts") == reference
    split_on(cluster, source, tmp_path / "parts")


def test_a_scheduler_killed_in_the_middle_is_told_and_the_split_resumes(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster
):
    worker = cluster.add_worker(SLOW)
    dest = tmp_path / "parts"
    words = ["split", source, dest, "--parts", NUM_PARTS, "--scheduler", cluster.address]
    process = start(*words)
    wait_until(lambda: cluster.commits_begun(worker) > 4)
    cluster.scheduler.kill()
    ended = end(process)  # by itself, and before a worker has gone on to the end
    assert cluster.commits_begun(worker) < NUM_PARTS
    assert ended.code == 5, ended.err
    *_, line = ended.err.splitlines()
    assert line.startswith("evensplit: retry.workers-lost: the connection to the Dask scheduler")
    assert "Traceback" not in ended.err
    cluster.stop()
    ended = run("split", source, dest, "--parts", str(NUM_PARTS))
    assert ended.code == 0, ended.err
    assert "committed already" in ended.err
    assert parts_contents(dest) == reference
    assert leftovers(dest) == []


def test_all_workers_gone_is_told_in_bounded_time(
    tmp_path: Path, source: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_cluster, "WORKER_WAIT_SECONDS", 2)
    monkeypatch.setattr(futures, "_WATCH_SECONDS", 0.5)
    monkeypatch.setattr(remote_cluster, "RESULT_SECONDS", 1)
    worker = cluster.add_worker(SLOW)
    cluster.wait_for_workers()
    killed = False

    def kill(receipt: Receipt) -> None:
        nonlocal killed
        killed = True
        worker.kill()

    tasks = tasks_of(source, tmp_path / "parts")
    with pytest.raises(WorkersLost, match="no worker"):
        run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=kill)
    assert killed


def test_two_splits_share_a_cluster(tmp_path: Path, cluster: Cluster):
    from concurrent.futures import ThreadPoolExecutor

    cluster.add_worker(SLOW)
    sources = [
        write_source(tmp_path / f"{seed}.parquet", num_rows=20_000, seed=seed) for seed in (1, 2)
    ]
    dests = [tmp_path / f"parts-{seed}" for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: split_on(cluster, *pair), zip(sources, dests, strict=True)))
    for source, dest in zip(sources, dests, strict=True):
        assert read_parts(dest).equals(pq.read_table(source))


def test_another_version_on_a_worker_is_refused(tmp_path: Path, source: Path, cluster: Cluster):
    cluster.add_worker()
    cluster.add_worker(OTHER_VERSION)
    cluster.wait_for_workers()
    with pytest.raises(ClusterMismatch, match=r"has evensplit 0\.0\.1, this is") as caught:
        split_on(cluster, source, tmp_path / "parts")
    assert "install the same version" in str(caught.value)
    assert parts_contents(tmp_path / "parts") == {}


def test_another_version_on_a_worker_that_comes_later_is_refused(tmp_path: Path, source: Path):
    task = replace(tasks_of(source, tmp_path / "parts")[0], version="0.0.1")
    with pytest.raises(ClusterMismatch, match="install the same one"):
        write_part(task)
    assert parts_contents(tmp_path / "parts") == {}


def test_a_worker_without_evensplit_is_refused(tmp_path: Path, source: Path, cluster: Cluster):
    cluster.add_worker("import sys\nfor n in [n for n in sys.modules if n.startswith('engine')]:\n"
                       "    del sys.modules[n]\nsys.modules['engine'] = None")  # fmt: skip
    with pytest.raises(ClusterMismatch, match="do not have evensplit"):
        split_on(cluster, source, tmp_path / "parts")


def test_storage_that_a_worker_does_not_see_is_refused(
    tmp_path: Path, source: Path, cluster: Cluster
):
    """The worker's destination is another disk than ours."""
    dest = tmp_path / "parts"
    dest.mkdir()
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(dest)],
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip("only root may give a worker another view of the disks")
    script = f'mount -t tmpfs none "{dest}" && exec "$@"'
    cluster.add_worker(prefix=("unshare", "-m", "sh", "-c", script, "-"))
    with pytest.raises(ClusterMismatch, match="use storage that all share"):
        split_on(cluster, source, dest)


def test_a_source_that_a_worker_does_not_see_is_refused(
    tmp_path: Path, source: Path, cluster: Cluster
):
    cluster.add_worker(
        "import engine.storage.local as local\n"
        "def stat(store, path):\n"
        "    raise local.NoSource(path + ': no such file')\n"
        "local.LocalStorage.stat = stat"
    )
    with pytest.raises(ClusterMismatch, match="cannot reach the files"):
        split_on(cluster, source, tmp_path / "parts")


def test_a_part_too_large_for_every_worker_is_refused_instead_of_waiting(
    tmp_path: Path, source: Path, cluster: Cluster
):
    cluster.add_worker(memory_bytes=MIB)
    with pytest.raises(OverBudget, match=r"the largest worker has 1\.00 MiB"):
        split_on(cluster, source, tmp_path / "parts")


def test_workers_that_offer_memory_are_not_overcommitted(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster
):
    tasks = tasks_of(source, tmp_path / "parts")
    most = max(task.part.memory_bytes for task in tasks)
    worker = cluster.add_worker(SLOW, memory_bytes=int(1.5 * most))  # one part, for two threads
    run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=lambda receipt: None)
    assert parts_contents(tmp_path / "parts") == reference
    assert_one_at_a_time(cluster, worker)


def assert_one_at_a_time(cluster: Cluster, worker: subprocess.Popen[bytes]) -> None:
    """No part began to commit, which takes 0.4 seconds, while another did."""
    begun = cluster.commit_times(worker)
    assert len(begun) == NUM_PARTS
    assert min((b - a) / 1e9 for a, b in pairwise(begun)) >= 0.4


def needing(tasks: list[PartTask], memory_bytes: int) -> list[PartTask]:
    return [replace(task, part=replace(task.part, memory_bytes=memory_bytes)) for task in tasks]


def limit_for(room_bytes: int) -> int:
    """The memory limit of a worker that leaves so much for parts."""
    base_bytes = memory.process_base_bytes(arrow=True)
    return int((room_bytes + base_bytes) / memory.MARGIN) + 1


def test_workers_with_a_memory_limit_are_not_overcommitted(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster
):
    """The limit is Dask's own; it has room for one part, the worker has threads for four."""
    tasks = needing(tasks_of(source, tmp_path / "parts"), 200 * MIB)
    worker = cluster.add_worker(SLOW, num_threads=4, limit_bytes=limit_for(399 * MIB))
    run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=lambda receipt: None)
    assert parts_contents(tmp_path / "parts") == reference
    assert_one_at_a_time(cluster, worker)


def test_a_worker_with_room_for_several_parts_has_them_at_once(
    tmp_path: Path, source: Path, cluster: Cluster
):
    tasks = needing(tasks_of(source, tmp_path / "parts"), 100 * MIB)
    worker = cluster.add_worker(SLOW, num_threads=4, limit_bytes=limit_for(400 * MIB))
    run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=lambda receipt: None)
    begun = cluster.commit_times(worker)
    assert len(begun) == NUM_PARTS
    assert any((begun[i + 2] - begun[i]) / 1e9 < 0.4 for i in range(NUM_PARTS - 2))


def test_a_worker_too_small_for_a_part_is_given_none(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster
):
    tasks = needing(tasks_of(source, tmp_path / "parts"), 200 * MIB)
    small = cluster.add_worker(SLOW, num_threads=4, limit_bytes=limit_for(199 * MIB))
    large = cluster.add_worker(SLOW, limit_bytes=limit_for(200 * MIB))
    cluster.wait_for_workers()
    run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=lambda receipt: None)
    assert parts_contents(tmp_path / "parts") == reference
    assert cluster.commits_begun(small) == 0
    assert_one_at_a_time(cluster, large)


def test_a_worker_that_comes_later_takes_part_within_its_limit(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """All that were there at the start are gone when it comes."""
    monkeypatch.setattr(futures, "_WATCH_SECONDS", 0.5)
    tasks = needing(tasks_of(source, tmp_path / "parts"), 200 * MIB)
    first = cluster.add_worker(SLOW, limit_bytes=limit_for(399 * MIB))
    later: list[subprocess.Popen[bytes]] = []

    def replace_worker(receipt: Receipt) -> None:
        if not later:
            kill(first)
            later.append(cluster.add_worker(SLOW, num_threads=4, limit_bytes=limit_for(399 * MIB)))

    run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=replace_worker)
    assert parts_contents(tmp_path / "parts") == reference
    begun = cluster.commit_times(later[0])
    assert len(begun) >= NUM_PARTS - 2
    assert min((b - a) / 1e9 for a, b in pairwise(begun)) >= 0.4


def test_workers_are_seen_while_the_client_refreshes_what_it_knows(cluster: Cluster):
    """Its refresh in the background leaves workers out."""
    cluster.add_worker()
    cluster.wait_for_workers()
    often = dask.config.set({"distributed.client.scheduler-info-interval": "2ms"})
    with often, Client(cluster.address) as client:
        assert all(len(remote_cluster.workers(client)) == 1 for _ in range(500))


def test_a_cluster_is_given_no_more_parts_than_it_can_begin_soon(
    tmp_path: Path, source: Path, cluster: Cluster
):
    """Else its scheduler would blame a worker's death on parts that had not begun."""
    cluster.add_worker(SLOW)
    most = 0

    def count(receipt: Receipt) -> None:
        nonlocal most
        most = max(most, client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

    tasks = tasks_of(source, tmp_path / "parts")
    with Client(cluster.address) as client:
        run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=count)
    assert 2 <= most <= 4  # two threads, one in waiting, one whose receipt is being told


# -- killed for memory ---------------------------------------------------------------------------


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group of the kernel that kills beyond 400 MiB; its making fails but for root."""
    group = Path(f"/sys/fs/cgroup/memory/evensplit-{os.getpid()}-{time.monotonic_ns()}")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(400 * MIB))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        wait_until(lambda: _is_removed(group))


def _is_removed(group: Path) -> bool:
    with suppress(OSError):  # the kernel needs a moment to let a dead process go
        group.rmdir()
    return not group.exists()


def joining(group: Path) -> tuple[str, ...]:
    return "sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "-"


@pytest.mark.parametrize("killer", ["the kernel", "its nanny"])
def test_a_worker_killed_for_memory_comes_again_and_goes_on(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, killer: str,
):  # fmt: skip
    monkeypatch.setattr(futures, "_WATCH_SECONDS", 0.5)
    if killer == "the kernel":
        group: Path = request.getfixturevalue("memory_group")
        cluster.add_worker(HUNGRY, prefix=joining(group), nanny=True)
    else:
        cluster.add_worker(HUNGRY, limit_bytes=400 * MIB, nanny=True)
    split_on(cluster, source, tmp_path / "parts")
    assert parts_contents(tmp_path / "parts") == reference
    assert leftovers(tmp_path / "parts") == []
    assert (cluster.log / "hungry").exists()
    if killer == "the kernel":
        assert "oom_kill 1" in (group / "memory.oom_control").read_text()
    else:
        assert "exceeded 95% memory budget. Restarting" in cluster.errors()


def test_a_part_that_kills_its_workers_again_and_again_is_told_and_the_split_resumes(
    tmp_path: Path, source: Path, reference: dict[str, bytes], cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setenv("EVENSPLIT_TEST_POISON", "part-00006")
    for _ in range(2):
        cluster.add_worker(HUNGRY, num_threads=1, limit_bytes=400 * MIB, nanny=True)
    cluster.wait_for_workers()
    dest = tmp_path / "parts"
    ended = end(
        start("split", source, dest, "--parts", str(NUM_PARTS), "--scheduler", cluster.address)
    )
    assert ended.code == 5, ended.err
    assert "Traceback" not in ended.err
    *_, line = ended.err.splitlines()
    assert line.startswith("evensplit: retry.workers-lost: workers died again and again that")
    assert "start workers with more memory" in line
    assert 0 < len(parts_contents(dest)) < NUM_PARTS
    ended = run("split", source, dest, "--parts", str(NUM_PARTS))
    assert ended.code == 0, ended.err
    assert "committed already" in ended.err
    assert parts_contents(dest) == reference


# -- what Dask's dashboard shows -----------------------------------------------------------------


def shown_tasks(dask_scheduler: Any) -> dict[str, Any]:
    """Run on the scheduler: what its pages say of each task."""
    return {
        str(key): (task.prefix.name, task.annotations.get("evensplit"))
        for key, task in dask_scheduler.tasks.items()
    }


@pytest.mark.ways(2)
@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"num_parts": 3, "cut": "row-group"}, "splice"),
        ({"num_parts": NUM_PARTS}, "page-cut"),
        ({"num_parts": NUM_PARTS, "codec": "gzip"}, "re-encode"),
        ({"num_parts": 2, "row_group_rows": 40_000}, "re-encode"),
    ],
)
def test_task_names_and_annotations_say_which_part_and_which_path(
    tmp_path: Path, source: Path, cluster: Cluster, settings: dict[str, Any], path: str
):
    cluster.add_worker()
    dest = tmp_path / "parts"
    tasks = tasks_of(source, dest, **settings)
    seen: dict[str, Any] = {}

    def look(receipt: Receipt) -> None:
        seen.update(client.run_on_scheduler(shown_tasks))

    with Client(cluster.address) as client:
        run_parts(tasks, Resources("cluster", 0, 0, cluster.address), on_receipt=look)
    # Cuts may by chance lie between row groups.
    paths = {task.part.index: task.verb for task in tasks}
    assert path in paths.values()
    shown = {key: value for key, value in seen.items() if value[1]}
    assert len(shown) == len(tasks)
    for key, (prefix, notes) in shown.items():
        index = int(notes["part"].split("/")[0]) - 1
        assert notes == {
            "part": f"{index + 1}/{len(tasks)}",
            "path": paths[index],
            "destination": str(dest),
        }
        assert prefix == f"{paths[index]}-part"
        assert key.startswith(f"{paths[index]}-part-{index:05}.parquet-")


@pytest.mark.parametrize("where", ["terminal", "log"])
def test_the_dashboards_link_is_told_and_answers(
    tmp_path: Path, source: Path, cluster: Cluster, where: str
):
    cluster.add_worker()
    words = ["split", source, tmp_path / "parts", "--parts", "3", "--scheduler", cluster.address]
    said = run(*words).err if where == "log" else on_a_terminal(*words)
    line = next(line for line in said.splitlines() if "Dask dashboard" in line)
    found = re.fullmatch(r"Dask dashboard: (http://127\.0\.0\.1:\d+/status)", line)
    assert found, said
    with urllib.request.urlopen(found[1], timeout=HANG_SECONDS) as answer:
        assert b"Dask Diagnostic UI" in answer.read()


def test_a_scheduler_without_dashboard_has_no_link(tmp_path: Path, source: Path):
    with Cluster(tmp_path / "cluster", dashboard=False) as cluster:
        cluster.add_worker()
        dest = tmp_path / "parts"
        ended = run("split", source, dest, "--parts", "3", "--scheduler", cluster.address)
    assert ended.code == 0, ended.err
    assert "dashboard" not in ended.err


def on_a_terminal(*words: str | Path) -> str:
    """Run the command line on a terminal of its own; return what a user sees, bars left out."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from engine.cli.main import main; main()", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "120"},
        stdin=its, stdout=its, stderr=its,
    )  # fmt: skip
    os.close(its)
    said = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # it ends as an error
        while data := terminal.read(4096):
            said += data
    assert process.wait(HANG_SECONDS) == 0, said
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", said.decode())
    # A line begins where one ends, where the cursor is sent back, and where a line is erased.
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", uncoloured)


def test_a_scheduler_that_is_not_there_is_told(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    assert remote_cluster.CONNECT_SECONDS <= 20
    monkeypatch.setattr(remote_cluster, "CONNECT_SECONDS", 3)
    asked: list[float] = []
    quick_client = distributed.Client.__init__

    def client(self: Any, address: str, *words: Any, timeout: float, **more: Any) -> None:
        asked.append(timeout)
        quick_client(self, address, *words, timeout=timeout, **more)

    monkeypatch.setattr(distributed.Client, "__init__", client)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        secret = address.replace("//", "//user:word@")
        for wrong in (address, secret, "nonsense", "tcp://", "foo://1.2.3.4:5"):
            ended = run("split", source, tmp_path / "parts", "--scheduler", wrong)
            assert ended.code == 2, ended.err
            *_, line = ended.err.splitlines()
            assert line.startswith("evensplit: call.cluster: no Dask scheduler answers at")
            assert "word" not in ended.err
    assert asked == [3] * 5  # once each, and no longer than that
    assert parts_contents(tmp_path / "parts") == {}


def test_a_scheduler_without_workers_is_told(
    tmp_path: Path, source: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_cluster, "WORKER_WAIT_SECONDS", 1)
    with pytest.raises(WorkersLost, match="has had no worker"):
        split_on(cluster, source, tmp_path / "parts")
