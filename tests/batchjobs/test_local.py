"""``evensplit batch submit --local``: tasks as processes of this machine, the engine in each."""

from __future__ import annotations

import json
import signal
import time

import psutil
import pytest

from batchjobs.errors import PoolTooSmall
from batchjobs.fanout import expected_seconds, make_tasks, need_of, plan_files
from batchjobs.pack import MAX_FILES_A_TASK, PlannedFile, pack
from batchjobs.spec import FileSplit
from tests.engine.running import HANG_SECONDS, end, read_parts, run, start, write_source

ROWS = {"a": 30_000, "b": 900, "c": 400}


@pytest.fixture
def sources(tmp_path):
    for seed, (name, rows) in enumerate(ROWS.items()):
        write_source(tmp_path / f"in/{name}.parquet", rows, seed=seed)
    return tmp_path / "in"


def submit(sources, *words):
    dest = sources.parent / "out"
    words = ("batch", "submit", "--local", sources, "--dest", dest, *words)
    return (*words, "--target-size", "100kB", "--json")


@pytest.mark.slow
def test_each_file_has_a_task_and_only_what_failed_is_done_again(sources, tmp_path):
    good = (sources / "c.parquet").read_bytes()
    (sources / "c.parquet").write_bytes(good[:-4] + b"oops")
    shown = json.loads(run(*submit(sources, "--dry-run")).out)
    ended = run(*submit(sources))
    assert ended.code == 7
    report = json.loads(ended.out.splitlines()[0])
    assert shown["job"] == report["id"]
    assert [task["id"] for task in shown["tasks"]] == [task["id"] for task in report["tasks"]]
    assert report["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1}
    assert [task["title"][-9:-8] for task in report["tasks"]] == list("abc")  # largest first
    for name in "ab":
        assert read_parts(tmp_path / "out" / name)["id"].to_pylist() == list(range(ROWS[name]))
    failed = report["tasks"][2]
    assert failed["problem"].startswith("source.not-parquet")
    assert (failed["exit_code"], failed["num_retries"]) == (3, 0)
    assert "replace the source" in failed["advice"]
    logs = run("batch", "logs", report["id"], failed["id"][:20], "--stderr")
    assert "source.not-parquet" in logs.out

    written = manifests(tmp_path)
    again = json.loads(run(*submit(sources)).out.splitlines()[0])
    assert again["id"] != report["id"]
    assert [task["id"] for task in again["tasks"]] == [failed["id"]]
    (sources / "c.parquet").write_bytes(good)
    mended = run(*submit(sources))
    assert mended.code == 0, mended.err
    assert len(json.loads(mended.out)["tasks"]) == 1
    assert read_parts(tmp_path / "out/c").num_rows == ROWS["c"]
    finished = run(*submit(sources))
    assert (finished.code, finished.out) == (0, mended.out)
    assert written.items() <= manifests(tmp_path).items()


def manifests(tmp_path):
    found = tmp_path.glob("out/*/_evensplit/manifest.json")
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.mark.slow
def test_a_submit_that_was_killed_is_finished_by_the_same_command(sources, tmp_path):
    for name in "ab":
        (sources / f"{name}.parquet").unlink()
    slow = "import batchjobs.local as l\nl._COMMAND = ('sleep', '60')"
    process = start(*submit(sources), first=slow)
    states = list_states(tmp_path, process, lambda found: "running" in found)
    assert states == ["running"]
    process.send_signal(signal.SIGKILL)
    end_quickly(process)
    left = [json.loads(p.read_text()) for p in tmp_path.glob("jobs/*/*/state.json")]
    pids = [state["pid"] for state in left if state["state"] == "running"]
    assert pids
    # Nobody waits for ever: the one who would go on with it is told how.
    (job,) = [path.name for path in (tmp_path / "jobs").iterdir()]
    waited = run("batch", "wait", job, "--poll-seconds", 0.1)
    assert (waited.code, "retry.runner-lost" in waited.err) == (5, True)
    assert "run the same submit again" in waited.err
    assert json.loads(run("batch", "status", job, "--json").out.splitlines()[0])["obstacle"]
    ended = run(*submit(sources))
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["counts"]["done"] == 1
    assert not any(psutil.pid_exists(pid) for pid in pids)


def list_states(tmp_path, process, wanted):
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        found = [json.loads(p.read_text())["state"] for p in tmp_path.glob("jobs/*/*/state.json")]
        if wanted(found):
            return found
        time.sleep(0.05)
    raise AssertionError("the job does not begin")


def end_quickly(process):
    # Its children hold its pipes open, so nobody reads them to their end.
    process.wait(HANG_SECONDS)
    process.stdout.close()
    process.stderr.close()


def test_a_job_is_cancelled_from_another_process(sources, tmp_path):
    slow = "import batchjobs.local as l\nl._COMMAND = ('sleep', '60')"
    process = start(*submit(sources), first=slow)
    list_states(tmp_path, process, lambda found: "running" in found)
    (job,) = [path.name for path in (tmp_path / "jobs").iterdir()]
    assert json.loads(run("batch", "status", job, "--json").out)["counts"]["running"] == 2
    assert run("batch", "cancel", job).code == 0
    ended = end(process)
    assert (ended.code, "retry.tasks" in ended.err) == (5, True)
    assert run("batch", "wait", job).code == 5
    assert run("batch", "list").out == f"{job}  ended\n"
    assert json.loads(run("batch", "clean", "--json").out) == {"deleted": [job]}
    assert run("batch", "status", job).code == 2


def test_a_task_that_is_killed_is_run_again_and_gives_up(sources, tmp_path):
    killed = "import batchjobs.local as l\nl._COMMAND = ('sh', '-c', 'kill -9 $$')"
    ended = end(start(*submit(sources, "--retries", 1), first=killed))
    assert (ended.code, "retry.tasks" in ended.err) == (5, True)
    tasks = json.loads(ended.out.splitlines()[0])["tasks"]
    assert {(task["exit_code"], task["num_retries"]) for task in tasks} == {(-9, 1)}
    assert all("resumes" in task["advice"] for task in tasks)


def test_a_task_that_takes_too_long_fails(sources):
    slow = "import batchjobs.local as l\nl._COMMAND = ('sleep', '60')"
    ended = end(start(*submit(sources / "a.parquet", "--max-hours", 0.0001), first=slow))
    (task,) = json.loads(ended.out.splitlines()[0])["tasks"]
    assert (task["state"], "longer than 1" in task["problem"]) == ("failed", True)


def test_a_dry_run_shows_the_tasks_and_makes_nothing(sources, tmp_path):
    ended = run(*submit(sources, "--dry-run"))
    shown = json.loads(ended.out)
    assert [len(task["files"]) for task in shown["tasks"]] == [1, 1, 1]
    assert not (tmp_path / "jobs").exists()
    assert not (tmp_path / "out").exists()
    for_people = run(*submit(sources, "--dry-run")[:-1])
    assert "3 files in 3 tasks on this machine; nothing is submitted" in for_people.out


def test_small_files_share_a_task(sources):
    shown = json.loads(run(*submit(sources, "--pack-small", "300kB", "--dry-run")).out)
    names = [[file["source"][-9] for file in task["files"]] for task in shown["tasks"]]
    assert names == [["a"], ["b", "c"]]


def shown_sources(*words):
    shown = json.loads(run(*words, "--dry-run").out)
    return shown["tasks"], [file["source"][-9] for it in shown["tasks"] for file in it["files"]]


def test_globs_and_lists_say_which_files(sources, tmp_path):
    every, _ = shown_sources(*submit(sources))
    tasks, names = shown_sources(*submit(sources), "--exclude", "a.*")
    assert names == ["b", "c"]
    assert [task["id"] for task in tasks] == [task["id"] for task in every[1:]]  # the same work
    _, names = shown_sources(*submit(sources), "--include", "a.*,c.*")
    assert names == ["a", "c"]
    control = tmp_path / "control.csv"
    control.write_text(f"source,note\n{sources}/b.parquet,x\n{sources}/[c-z].parquet,y\n")
    listed = ("batch", "submit", "--local", f"@{control}", "--dest", tmp_path / "out", "--json")
    _, names = shown_sources(*listed)
    assert names == ["b", "c"]
    ended = run("batch", "submit", f"@{control}", "--dest", "abfs://c/out", "--pool", "p")
    assert (ended.code, "is on this machine" in ended.err) == (2, True)
    (sources / "d=1").mkdir()
    (sources / "c.parquet").rename(sources / "d=1" / "c.parquet")
    words = ("batch", "simulate", sources, "--dedicated", "1", "--json", "--exclude", "a.*")
    assert json.loads(run(*words).out)["num_files"] == 2


def test_two_sources_of_one_destination_are_refused(sources, tmp_path):
    write_source(tmp_path / "other/a.parquet", 100)
    words = ("batch", "submit", "--local", sources, tmp_path / "other", "--dest", tmp_path / "out")
    ended = run(*words)
    assert (ended.code, "would both go to" in ended.err) == (2, True)


def test_destinations_keep_the_path_below_the_source(tmp_path):
    for folder in ("in/d=1", "in/d=2", "in/e"):
        write_source(tmp_path / folder / "part-0.parquet", 100)
    dest = tmp_path / "out"

    def destinations(*sources):
        words = ("batch", "submit", "--local", *sources, "--dest", dest, "--dry-run", "--json")
        tasks = json.loads(run(*words).out)["tasks"]
        every = [file["destination"] for task in tasks for file in task["files"]]
        return sorted(name.removeprefix(f"{dest}/") for name in every)

    below = ["d=1/part-0", "d=2/part-0", "e/part-0"]
    assert destinations(tmp_path / "in") == below
    assert destinations(tmp_path / "in/*/*.parquet") == below
    assert destinations(tmp_path / "in/e/part-0.parquet") == ["part-0"]


def test_a_destination_inside_another_is_refused(sources, tmp_path):
    write_source(sources / "a/d.parquet", 100)
    ended = run("batch", "submit", "--local", sources, "--dest", tmp_path / "out")
    assert (ended.code, f"inside {tmp_path}/out/a, where" in ended.err) == (2, True)


def test_no_file_and_no_job_are_told(tmp_path):
    words = ("batch", "submit", "--local", tmp_path / "none", "--dest", tmp_path / "out")
    assert "call.no-source" in run(*words).err
    for verb in ("status", "wait", "cancel"):
        ended = run("batch", verb, "local-nothing")
        assert (ended.code, "call.no-job" in ended.err) == (2, True)


def planned(name, size_bytes, **more):
    return PlannedFile(FileSplit(name, f"out/{name}", "v", size_bytes), **more)


def test_packing_keeps_every_file_once_and_the_bound():
    files = [planned(str(i), i * 7 % 50 + 1) for i in range(300)] + [planned("big", 1000)]
    tasks = pack(files, 100)
    assert sorted(f.file.source for t in tasks for f in t) == sorted(f.file.source for f in files)
    assert tasks[0] == [files[-1]]
    sizes = [sum(item.file.size_bytes for item in task) for task in tasks]
    assert max(sizes[1:]) <= 100
    assert sizes == sorted(sizes, reverse=True)
    assert len(pack([planned(str(i), 0) for i in range(100)], 100)[0]) == MAX_FILES_A_TASK
    assert len(pack(files, 0)) == 301


def test_a_task_takes_the_slots_that_its_memory_needs_or_is_refused():
    files = [planned("a", 10, memory_bytes=250)]
    (task,) = make_tasks(files, {}, slot_memory_bytes=100, slots_per_node=4)
    assert task.num_slots == 3
    with pytest.raises(PoolTooSmall, match="larger nodes"):
        make_tasks(files, {}, slot_memory_bytes=100, slots_per_node=2)
    with pytest.raises(PoolTooSmall, match="0 MiB of its node's disk"):
        make_tasks(files, {}, slot_memory_bytes=250, slots_per_node=2, slot_disk_bytes=10)


def test_expected_time_is_that_of_the_fullest_slot():
    files = [planned(str(i), 10**9) for i in range(3)]
    tasks = make_tasks(files, {}, slot_memory_bytes=1, slots_per_node=1)
    assert expected_seconds(tasks, 2) == 30.0
    assert expected_seconds(tasks, 3) == 15.0


def test_what_passes_through_a_node_decides_its_network(tmp_path):
    path = str(write_source(tmp_path / "a.parquet", 20_000))
    settings = {"target_size": "100kB"}
    (copied,) = plan_files([path], "memory://out", settings)
    (passed,) = plan_files([path], "memory://out", settings | {"transfer": "client"})
    assert 0 < copied.network_bytes < copied.parts_bytes
    assert passed.network_bytes == passed.file.size_bytes + passed.parts_bytes
    seconds = 5 + passed.file.size_bytes / 100_000_000
    assert need_of([copied, passed]).network_bytes_per_second == int(passed.network_bytes / seconds)
    (here,) = plan_files([path], str(tmp_path / "out"), settings)
    assert (here.disk_bytes, here.network_bytes) == (here.parts_bytes, 0)
