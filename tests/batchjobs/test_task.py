"""``evensplit batch task`` as a node calls it, in this process and in its own."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjobs.service import NODE_MEMORY_MARGIN
from batchjobs.spec import FileSplit, TaskSpec
from batchjobs.task import TaskProgress, measure_slot
from tests.engine.running import HANG_SECONDS, end, read_parts, run, start, write_source

SETTINGS = {"target_size": "100kB"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    folder = tmp_path / "wd"
    folder.mkdir()
    monkeypatch.setenv("AZ_BATCH_TASK_WORKING_DIR", str(folder))
    return folder


def spec_of(tmp_path, *names, **more):
    files = [FileSplit(str(tmp_path / name), str(tmp_path / "out" / name)) for name in names]
    return TaskSpec(tuple(files), SETTINGS, **more)


def test_a_spec_from_the_environment_is_split_and_told(tmp_path, work, monkeypatch):
    source = write_source(tmp_path / "a.parquet")
    spec = spec_of(tmp_path, "a.parquet")
    monkeypatch.setenv("EVENSPLIT_TASK_SPEC", spec.to_json())
    assert run("batch", "task").code == 0
    result = json.loads((work / "result.json").read_text())
    assert (result["task"], result["outcome"], result["num_rows"]) == (spec.id, "done", 20_000)
    assert read_parts(tmp_path / "out" / "a.parquet")["id"].to_pylist() == list(range(20_000))
    assert result["num_parts"] == len(list((tmp_path / "out/a.parquet").glob("*.parquet"))) > 3
    progress = json.loads((work / "progress.json").read_text())
    assert progress["parts_done"] == progress["num_parts"] == result["num_parts"]
    assert progress["bytes_done"] == result["size_bytes"]
    assert source.exists()


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=5), min_size=2, max_size=3))
def test_progress_moves_inside_of_parts_and_begins_again_with_another_plan(plans):
    """Sizes of parts by plan, of which a file's last one counts; parts grow, and are committed."""
    told = []
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchjobs.task.PROGRESS_SECONDS", 0.0)
        shown = TaskProgress(Path(name), spec_of(Path(name), "a", "b"))
        shown.begin(1)
        for sizes in plans:
            shown.planned(SimpleNamespace(predicted_bytes=sum(sizes), parts=sizes), 0)
            told.clear()
            for size_bytes in sizes:
                for grown_bytes in (size_bytes // 2, size_bytes):
                    shown.growing(grown_bytes)
                    told.append(json.loads((Path(name) / "progress.json").read_text()))
                shown.committed(SimpleNamespace(size_bytes=size_bytes))
        told.append(json.loads((Path(name) / "progress.json").read_text()))
    moved = [item["bytes_done"] for item in told]
    assert moved == sorted(moved)
    assert moved[0] == plans[-1][0] // 2
    assert moved[-1] == told[-1]["total_bytes"] == sum(plans[-1])


def test_arguments_come_before_the_environment(tmp_path, work, monkeypatch):
    write_source(tmp_path / "a.parquet", 2_000)
    monkeypatch.setenv("EVENSPLIT_TASK_SPEC", spec_of(tmp_path, "missing").to_json())
    ended = run("batch", "task", "--source", tmp_path / "a.parquet", "--dest", tmp_path / "p")
    assert ended.code == 0
    assert (tmp_path / "p/_evensplit/manifest.json").exists()


def test_no_task_at_all_is_refused(work):
    assert run("batch", "task").code == 2
    assert run("batch", "task", "--source", "a").code == 2
    assert run("batch", "task", "--spec", "@nowhere").code == 2


def test_a_damaged_file_fails_for_good_and_leaves_the_others_alone(tmp_path, work):
    write_source(tmp_path / "a.parquet", 2_000)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no footer PAR1")
    spec = spec_of(tmp_path, "bad.parquet", "a.parquet")
    ended = run("batch", "task", "--spec", spec.to_json(), "--json")
    assert ended.code == 3
    result = json.loads((work / "result.json").read_text())
    assert result["outcome"] == "permanent"
    assert result["files"][0]["error"]["kind"].startswith("source.")
    assert result["files"][1]["num_rows"] == 2_000
    assert "1 of 2 files failed" in ended.err


def test_a_source_that_changed_since_it_was_submitted_is_refused(tmp_path, work):
    write_source(tmp_path / "a.parquet", 2_000)
    file = FileSplit(str(tmp_path / "a.parquet"), str(tmp_path / "p"), version="long ago")
    ended = run("batch", "task", "--spec", TaskSpec((file,), SETTINGS).to_json())
    assert (ended.code, "source.changed" in ended.err) == (3, True)
    assert not (tmp_path / "p").exists()


def test_a_destination_in_use_by_another_run_is_told_as_transient(tmp_path, work):
    write_source(tmp_path / "a.parquet", 2_000)
    folder = tmp_path / "p"
    hold = (
        "import engine.storage as s, time\n"
        f"store, inside = s.open_storage({str(folder / '_evensplit')!r})\n"
        "with store.lock(inside):\n print(1, flush=True)\n time.sleep(3600)"
    )
    holder = start(first=hold)
    try:
        assert holder.stdout.readline() == "1\n"
        ended = run("batch", "task", "--source", tmp_path / "a.parquet", "--dest", folder)
    finally:
        holder.kill()
        end(holder)
    assert ended.code == 5
    assert json.loads((work / "result.json").read_text())["outcome"] == "transient"


def test_a_task_that_was_lost_with_its_node_resumes_on_an_empty_disk(tmp_path, monkeypatch):
    write_source(tmp_path / "a.parquet", 120_000)
    spec = spec_of(tmp_path, "a.parquet").to_json()
    receipts = tmp_path / "out/a.parquet/_evensplit/receipts"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("AZ_BATCH_TASK_WORKING_DIR", str(tmp_path / "first"))
    # Slow enough to be killed in the middle, whatever the machine.
    slowly = (
        "import time, engine.work as w, engine.executors.threads as t\n"
        "def slow(task, f=w.write_part):\n time.sleep(0.1)\n return f(task)\n"
        "w.write_part = t.write_part = slow"
    )
    process = start("batch", "task", "--spec", spec, first=slowly)
    deadline = time.monotonic() + HANG_SECONDS
    while len(list(receipts.glob("*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    end(process)
    assert not (tmp_path / "first/result.json").exists()
    monkeypatch.setenv("AZ_BATCH_TASK_WORKING_DIR", str(tmp_path / "second"))
    assert run("batch", "task", "--spec", spec).code == 0
    result = json.loads((tmp_path / "second/result.json").read_text())
    assert 2 <= result["num_resumed"] < result["num_parts"]
    assert result["num_rows"] == 120_000


def test_a_slot_is_its_share_of_the_node():
    import psutil

    whole, half = measure_slot(1, 1), measure_slot(2, 1)
    assert whole.memory_bytes == int(psutil.virtual_memory().total * NODE_MEMORY_MARGIN)
    assert abs(half.memory_bytes * 2 - whole.memory_bytes) <= 2
    assert measure_slot(4, 2) == half
    assert measure_slot(64, 1).num_cores == 1


def test_the_budget_of_its_slot_holds(tmp_path, work):
    write_source(tmp_path / "a.parquet", 2_000)
    words = ("--source", tmp_path / "a.parquet", "--dest", tmp_path / "p")
    ended = run("batch", "task", *words, "--slots-per-node", 100_000)
    assert (ended.code, "space.memory" in ended.err) == (4, True)
