"""``evensplit batch``: the commands, the environment, and how jobs look on a terminal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import psutil

import engine
from batchjobs import adf, fanout, monitor, show, task
from batchjobs.local import PREFIX, LocalService, default_root
from batchjobs.pack import PlannedFile
from batchjobs.service import SLOTS_VARIABLE, SPEC_VARIABLE, STDERR, STDOUT, Service
from batchjobs.spec import FileSplit, JobSpec, TaskSpec, checked_settings
from engine import BadSetting, NoJob

F = TypeVar("F", bound=Callable[..., Any])

_MACHINE_POLL_SECONDS = 1.0
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_SETTINGS = {
    "--target-size": "Hard cap on a part's file size. [default: 100MB]",
    "--parts": "Exactly so many parts of each file, instead of a size.",
    "--rows-per-part": "So many rows in every part but the last, instead of a size.",
    "--cut": "row (default) or row-group.",
    "--codec": "Compression of the parts. [default: the source's]",
    "--codec-level": "Level of --codec.",
    "--row-group-size": "128MB or 1000000rows. [default: the source's]",
    "--columns": "Take only these, with commas between.",
    "--memory": "Most memory of one task. [default: its slot's share of the node]",
    "--credential": "For Azure storage, as in evensplit split; never a secret.",
    "--transfer": "Within Azure storage: auto, server or client.",
}


def _split_settings(function: F) -> F:
    for name, text in reversed(_SETTINGS.items()):
        variable = "EVENSPLIT_" + name.strip("-").replace("-", "_").upper()
        function = click.option(name, envvar=variable, help=text)(function)
    return function


@click.group()
def batch() -> None:
    """Split many files at once: one task a file, on Azure Batch or on this machine."""


@batch.command("task")
@click.option("--spec", metavar="JSON", envvar=SPEC_VARIABLE, help="The task, or @FILE with it.")
@click.option("--source", help="Split only this, to --dest, instead of a spec.")
@click.option("--dest", help="Where the parts of --source go.")
@click.option(
    "--slots-per-node",
    type=click.IntRange(min=1),
    default=1,
    envvar=SLOTS_VARIABLE,
    help="Tasks that share this machine's memory and cores. [default: 1]",
)
@_split_settings
@_json
def task_command(
    spec: str | None,
    source: str | None,
    dest: str | None,
    slots_per_node: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run one task: what a node of a pool, or an activity of Data Factory, calls.

    The task comes from --source and --dest, else from --spec or its variable, else from Data
    Factory's activity.json. progress.json and result.json (and for Data Factory outputs.json) are
    written to AZ_BATCH_TASK_WORKING_DIR, else here.

    Exit code 5, or the end by a signal: the same task may do better. Any other error lasts.
    """
    folder = Path(os.environ.get("AZ_BATCH_TASK_WORKING_DIR") or ".")
    if bool(source) != bool(dest):
        raise click.UsageError("--source and --dest go together")
    activity = None
    if source and dest:
        chosen = TaskSpec((FileSplit(source, dest),), checked_settings(settings))
    elif spec:
        chosen = TaskSpec.from_json(_text_of(spec))
    else:
        activity = adf.read_activity(folder)
        if activity is None:
            raise BadSetting(
                "no task: give --source and --dest, --spec, or Data Factory's activity.json in "
                "the working directory"
            )
        chosen = activity
    result = task.run_task(chosen, folder, task.measure_slot(slots_per_node, chosen.num_slots))
    if activity is not None:
        adf.write_outputs(folder, result)
    click.echo(json.dumps(result) if as_json else show.task_result(result))
    error = task.error_of(result)
    if error is not None:
        raise error


def _text_of(spec: str) -> str:
    if not spec.startswith("@"):
        return spec
    try:
        return Path(spec[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"the task's spec cannot be read: {error}") from error


@batch.command()
@click.argument("src", nargs=-1, required=True)
@click.option("--dest", required=True, help="Folder or URL; each file's parts get a folder in it.")
@click.option("--local", is_flag=True, help="Run the tasks on this machine, and wait for them.")
@click.option(
    "--slots", type=click.IntRange(min=1), default=2, show_default=True, help="Tasks at once."
)
@click.option("--pack-small", metavar="SIZE", help="Small files share tasks of up to this size.")
@click.option("--retries", type=click.IntRange(0, 100), default=2, show_default=True)
@click.option("--max-hours", type=click.FloatRange(min=0.001), default=24.0, show_default=True)
@click.option("--dry-run", is_flag=True, help="Show the job; submit nothing.")
@_split_settings
@_json
def submit(
    src: tuple[str, ...],
    dest: str,
    local: bool,
    slots: int,
    pack_small: str | None,
    retries: int,
    max_hours: float,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    r"""Split every file of SRC, each by a task of its own, the largest first.

    Run the same command again, and what failed is done again, and nothing else.

    \b
      evensplit batch submit --local 'in/*.parquet' --dest out/ --slots 2
    """
    if not local:
        raise click.UsageError("--local is needed: jobs run on this machine")
    settings = checked_settings(given)
    files = fanout.plan_files([_absolute(item) for item in src], _absolute(dest), settings)
    tasks = fanout.make_tasks(
        files,
        settings,
        small_bytes=engine.parse_size(pack_small) if pack_small else 0,
        slot_memory_bytes=int(psutil.virtual_memory().total * task.MARGIN / slots),
        slots_per_node=slots,
    )
    job = JobSpec(
        tuple(item.id for item in tasks),
        pool_id="this machine",
        max_retries=retries,
        max_task_seconds=int(max_hours * 3600),
        prefix=PREFIX,
    )
    if dry_run:
        _show_plan(job, tasks, files, slots, as_json=as_json)
        return
    _run_here(job, tasks, slots, as_json=as_json)


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _show_plan(
    job: JobSpec, tasks: list[TaskSpec], files: list[PlannedFile], slots: int, *, as_json: bool
) -> None:
    seconds = fanout.expected_seconds(tasks, slots)
    if as_json:
        data = {
            "job": job.id,
            "expected_seconds": seconds,
            "tasks": [{"id": item.id, **json.loads(item.to_json())} for item in tasks],
            "problems": {item.file.source: item.problem for item in files if item.problem},
        }
        click.echo(json.dumps(data))
        return
    show.job_plan(job.id, tasks, files, seconds)


def _run_here(job: JobSpec, tasks: list[TaskSpec], slots: int, *, as_json: bool) -> None:
    service = LocalService(default_root())
    made = fanout.submit(service, job, tasks)
    if not as_json:
        show.submission(made)
    with show.live(quiet=as_json) as on_report:
        service.run(made.job_id, slots, _now_and_then(service, made.job_id, on_report))
        on_report(monitor.look(service, made.job_id))
    _finish(monitor.look(service, made.job_id), as_json=as_json)


def _now_and_then(
    service: Service, job_id: str, on_report: Callable[[monitor.JobReport], None]
) -> Callable[[], None]:
    last = float("-inf")

    def on_look() -> None:
        nonlocal last
        if time.monotonic() - last >= _MACHINE_POLL_SECONDS:
            on_report(monitor.look(service, job_id))
            last = time.monotonic()

    return on_look


def _finish(report: monitor.JobReport, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        show.report(report)
    error = report.error() if report.job.state == "ended" else None
    if error is not None:
        raise error


def _service_of(job_id: str) -> Service:
    if not job_id.startswith(f"{PREFIX}-"):
        raise NoJob(f"{job_id} is no job; see `evensplit batch list`")
    return LocalService(default_root())


@batch.command()
@click.argument("job")
@_json
def status(job: str, as_json: bool) -> None:
    """Show how a job goes; after its end, exit with the code of its failures."""
    _finish(monitor.look(_service_of(job), job), as_json=as_json)


@batch.command()
@click.argument("job")
@click.option("--poll-seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True)
@_json
def wait(job: str, poll_seconds: float, as_json: bool) -> None:
    """Show how a job goes until it has ended; exit as status does."""
    service = _service_of(job)
    with show.live(quiet=as_json) as on_report:
        report = monitor.wait(service, job, on_report, poll_seconds=poll_seconds)
    _finish(report, as_json=as_json)


@batch.command()
@click.argument("job")
@click.argument("task_id", metavar="TASK")
@click.option("--stderr", "err", is_flag=True, help="Standard error, not output.")
@_json
def logs(job: str, task_id: str, err: bool, as_json: bool) -> None:
    """Print what a task wrote. TASK is its id, or the beginning of it."""
    service = _service_of(job)
    names = [item.task.id for item in monitor.look(service, job).tasks]
    found = [name for name in names if name.startswith(task_id)]
    if len(found) != 1:
        raise NoJob(f"{len(found)} tasks of {job} begin with {task_id}; name one")
    text = (service.read_file(job, found[0], STDERR if err else STDOUT) or b"").decode(
        errors="replace"
    )
    click.echo(json.dumps({"task": found[0], "text": text}) if as_json else text, nl=as_json)


@batch.command()
@click.argument("job")
@_json
def cancel(job: str, as_json: bool) -> None:
    """End a job and what runs of it; parts that are committed stay."""
    service = _service_of(job)
    service.cancel_job(job)
    _tell({"job": job, "state": "ended"}, f"{job} is cancelled", as_json=as_json)


@batch.command("list")
@_json
def list_command(as_json: bool) -> None:
    """List the jobs that are there, ended ones too."""
    jobs = LocalService(default_root()).jobs()
    lines = "\n".join(f"{job.id}  {job.state}" for job in jobs)
    _tell([{"job": job.id, "state": job.state} for job in jobs], lines, as_json=as_json)


@batch.command()
@_json
def clean(as_json: bool) -> None:
    """Delete jobs that have ended: their logs and results go, the parts stay."""
    service = LocalService(default_root())
    ended = [job.id for job in service.jobs() if job.state == "ended"]
    for job_id in ended:
        service.delete_job(job_id)
    _tell({"deleted": ended}, f"{len(ended)} jobs deleted", as_json=as_json)


def _tell(data: Mapping[str, Any] | list[Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(data) if as_json else text)
