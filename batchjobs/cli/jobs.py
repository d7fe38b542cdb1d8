"""Commands on jobs and tasks: what runs on a node, and what submits, watches and ends it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from batchjobs import monitor, show, task
from batchjobs.cli.group import (
    account,
    batch,
    json_option,
    service_of,
    services,
    split_settings,
    tell,
)
from batchjobs.errors import NoJob
from batchjobs.service import (
    SLOTS_VARIABLE,
    SPEC_VARIABLE,
    STDERR,
    STDOUT,
)
from batchjobs.spec import FileSplit, TaskSpec, checked_settings
from engine import BadSetting
from engine.hooks import counted

_MACHINE_POLL_SECONDS = 1.0
_hours = click.FloatRange(min=0, min_open=True)


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
@split_settings
@json_option
def task_command(
    spec: str | None,
    source: str | None,
    dest: str | None,
    slots_per_node: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run one task: what a node of a pool calls (Data Factory's call `batch activity`).

    The task comes from --source and --dest, else from --spec or its variable. progress.json and
    result.json are written to AZ_BATCH_TASK_WORKING_DIR, else here.

    Exit code 5, or the end by a signal: the same task may do better. Any other error lasts.
    """
    folder = Path(os.environ.get("AZ_BATCH_TASK_WORKING_DIR") or ".")
    if bool(source) != bool(dest):
        raise click.UsageError("--source and --dest go together")
    if source and dest:
        chosen = TaskSpec((FileSplit(source, dest),), checked_settings(settings))
    elif spec:
        chosen = TaskSpec.from_json(_text_of(spec))
    else:
        raise BadSetting("no task: give --source and --dest, or --spec")
    result = task.run_task(chosen, folder, task.measure_slot(slots_per_node, chosen.num_slots))
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
        raise BadSetting(f"{spec[1:]} cannot be read: {error.strerror}") from error


def finish(report: monitor.JobReport, *, as_json: bool) -> None:
    """Print how a job goes, or went, and end with the error that this is, if it is one."""
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        show.report(report)
    error = report.error()
    if error is not None:
        raise error


@batch.command()
@click.argument("job")
@account
@json_option
def status(job: str, as_json: bool, endpoint: str, login: str) -> None:
    """Show how a job goes; after its end, exit with the code of its failures."""
    finish(monitor.look(service_of(job, endpoint, login), job), as_json=as_json)


@batch.command()
@click.argument("job")
@click.option("--poll-seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True)
@account
@json_option
def wait(job: str, poll_seconds: float, as_json: bool, endpoint: str, login: str) -> None:
    """Show how a job goes until it has ended; exit as status does."""
    service = service_of(job, endpoint, login)
    with show.live(quiet=as_json) as on_report:
        report = monitor.wait(service, job, on_report, poll_seconds=poll_seconds)
    finish(report, as_json=as_json)


@batch.command()
@click.argument("job")
@click.argument("task_id", metavar="TASK")
@click.option("--stderr", "err", is_flag=True, help="Standard error, not output.")
@account
@json_option
def logs(job: str, task_id: str, err: bool, as_json: bool, endpoint: str, login: str) -> None:
    """Print what a task wrote. TASK is its id, or the beginning of it."""
    service = service_of(job, endpoint, login)
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
@account
@json_option
def cancel(job: str, as_json: bool, endpoint: str, login: str) -> None:
    """End a job and what runs of it; parts that are committed stay."""
    service = service_of(job, endpoint, login)
    service.cancel_job(job)
    tell({"job": job, "state": "ended"}, f"{job} is cancelled", as_json=as_json)


@batch.command("list")
@account
@json_option
def list_command(as_json: bool, endpoint: str, login: str) -> None:
    """List the jobs that are there, ended ones too."""
    jobs = [job for service in services(endpoint, login) for job in service.jobs()]
    lines = "\n".join(f"{job.id}  {job.state}" for job in jobs) or "no jobs"
    tell([{"job": job.id, "state": job.state} for job in jobs], lines, as_json=as_json)


@batch.command()
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="HOURS",
    help="Only what ended so long ago. [default: 0]",
)
@account
@json_option
def clean(older_than: float, as_json: bool, endpoint: str, login: str) -> None:
    """Delete jobs that have ended: their logs and results go, the parts stay.

    Active jobs are few an account; ended ones cost nothing, but a submit that finds them knows what
    is done.
    """
    ended = []
    before = time.time() - older_than * 3600
    for service in services(endpoint, login):
        for job in service.jobs():
            if job.state == "ended" and job.ended_at <= before:
                service.delete_job(job.id)
                ended.append(job.id)
    tell({"deleted": ended}, f"{counted(len(ended), 'job')} deleted", as_json=as_json)
