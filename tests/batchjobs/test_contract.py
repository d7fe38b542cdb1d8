"""What both services promise: one suite, on this machine and through the SDK."""

from __future__ import annotations

import json
from dataclasses import replace

import psutil
import pytest

from batchjobs.client import connect
from batchjobs.errors import NoJob, RunnerLost, TasksFailed, TasksInterrupted
from batchjobs.fanout import submit
from batchjobs.local import LocalService
from batchjobs.monitor import look, wait
from batchjobs.service import JobEnded
from batchjobs.spec import FileSplit, JobSpec, TaskSpec
from tests.batchjobs.fake_batch import ACCOUNT, KEY, serving
from tests.engine.running import write_source

PACKAGE = "package-1"


@pytest.fixture(params=["local", "azure"])
def world(request, tmp_path):
    """A service, and what makes a job's tasks run."""
    if request.param == "local":
        service = LocalService(tmp_path / "jobs")
        yield service, lambda job_id: service.run(job_id, 2, lambda: None)
        return
    with serving(tmp_path / "azure") as fake:
        fake.install(PACKAGE)
        environment = {"AZURE_BATCH_ACCESS_KEY": KEY, "AZURE_BATCH_ACCOUNT": ACCOUNT}
        yield connect(fake.url, "auto", environment), fake.run


@pytest.fixture
def spec(tmp_path):
    """A job of two tasks, the second of them on a file that is no Parquet."""
    write_source(tmp_path / "good.parquet", 500)
    (tmp_path / "bad.parquet").write_bytes(b"not at all")
    tasks = [
        TaskSpec(
            (FileSplit(str(tmp_path / f"{name}.parquet"), str(tmp_path / "out" / name)),),
            package=PACKAGE,
        )
        for name in ("good", "bad")
    ]
    return JobSpec((str(tmp_path),), "out", {}, "pool", max_retries=0, prefix="local"), tasks


def test_what_is_there_already_is_no_error(world, spec):
    service, _ = world
    job, tasks = spec
    for _ in range(2):
        service.create_job(job)
        service.add_tasks(job, tasks)
    assert [task.id for task in service.tasks(job.id)] == [task.id for task in tasks]
    assert {task.state for task in service.tasks(job.id)} == {"waiting"}
    assert service.find_job(job.id).state == "active"
    assert [item.id for item in service.jobs()] == [job.id]


def test_what_is_not_there_is_none_or_told(world):
    service, _ = world
    assert service.find_job("local-x") is None
    assert service.jobs() == []
    with pytest.raises(NoJob, match="local-x"):
        look(service, "local-x")
    with pytest.raises(NoJob, match="batch list"):
        service.cancel_job("local-x")


def test_a_job_that_is_not_closed_stays_and_one_without_tasks_ends(world, spec):
    service, _ = world
    job, _ = spec
    service.create_job(job)
    assert service.find_job(job.id).state == "active"
    service.close_job(job.id)
    assert service.find_job(job.id).state == "ended"
    service.close_job(job.id)


def test_a_job_runs_and_ends_and_takes_no_more_tasks(world, spec):
    service, run = world
    job, tasks = spec
    service.create_job(job)
    service.add_tasks(job, tasks)
    service.close_job(job.id)
    run(job.id)
    report = look(service, job.id)
    assert report.job.state == "ended"
    assert [item.task.state for item in report.tasks] == ["done", "failed"]
    failed = report.tasks[1]
    assert (failed.task.exit_code, failed.problem[:18]) == (3, "source.not-parquet")
    assert "replace the source" in failed.advice
    assert isinstance(report.error(), TasksFailed)
    assert json.loads(service.read_file(job.id, tasks[0].id, "wd/result.json"))["num_rows"] == 500
    assert b"1 part" in service.read_file(job.id, tasks[0].id, "stdout.txt")
    assert service.read_file(job.id, tasks[0].id, "nothing.txt") is None
    with pytest.raises(JobEnded):
        service.add_tasks(job, [replace(tasks[0], num_slots=2)])
    with pytest.raises(JobEnded):
        service.run_again(job.id, tasks[1].id)
    again = submit(service, job, tasks)
    assert (again.num_added, again.num_run_again, again.num_found) == (1, 0, 1)
    assert [item.id for item in service.tasks(again.job_id)] == [tasks[1].id]
    service.delete_job(job.id)
    assert service.find_job(job.id) is None


def test_what_failed_and_is_wanted_no_more_is_no_failure(world, spec):
    service, run = world
    job, tasks = spec
    run(submit(service, job, tasks).job_id)
    for _ in range(2):
        again = submit(service, job, tasks[:1])
        assert (again.attempt, again.num_added, again.num_found) == (1, 0, 1)
        run(again.job_id)
        assert look(service, again.job_id).job.state == "ended"
        assert look(service, again.job_id).error() is None
    assert submit(service, job, tasks).num_added == 1


def test_a_cancelled_job_has_ended_and_its_tasks_may_be_submitted_again(world, spec):
    service, _ = world
    job, tasks = spec
    first = submit(service, job, tasks)
    assert (first.num_added, first.job_id) == (2, job.id)
    service.cancel_job(job.id)
    assert look(service, job.id).job.state == "ended"
    assert isinstance(look(service, job.id).error(), TasksInterrupted)
    again = submit(service, job, tasks)
    assert (again.num_added, again.job_id) == (2, replace(job, attempt=1).id)


def test_a_job_that_nobody_goes_on_filling_is_not_waited_for(world, spec, monkeypatch):
    service, run = world
    job, tasks = spec
    service.create_job(job)
    service.add_tasks(job, tasks[:1])
    if isinstance(service, LocalService):
        assert look(service, job.id).obstacle is None
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: 1.0)
    else:
        run(job.id)
    report = wait(service, job.id, lambda report: None, poll_seconds=0.01)
    assert isinstance(report.error(), RunnerLost)


def test_a_submit_cut_short_anywhere_is_finished_by_the_next(world, spec):
    service, _ = world
    job, tasks = spec
    service.create_job(job)
    service.add_tasks(job, tasks[:1])
    made = submit(service, job, tasks)
    assert (made.job_id, made.num_added, made.num_found) == (job.id, 1, 1)
    assert submit(service, job, tasks).num_found == 2
