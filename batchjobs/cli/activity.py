"""The command that a Custom activity of Data Factory runs, and nothing else does."""

from __future__ import annotations

import io
import json
import os
import posixpath
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from batchjobs import adf, monitor, show, task
from batchjobs.cli.group import azure, batch
from batchjobs.cli.submit import submit as submit_command
from batchjobs.service import is_transient
from engine import EvensplitError, hooks
from engine.cli.terminal import say
from engine.hooks import counted
from engine.options import option_named

_POLL_SECONDS = 10.0
_MAX_FAILURES, _MAX_PROBLEM = 50, 500  # characters


@batch.command("activity")
@click.option(
    "--poll-seconds",
    type=click.FloatRange(min=0.1),
    default=_POLL_SECONDS,
    show_default=True,
    envvar="EVENSPLIT_POLL_SECONDS",
    help="Between looks at a job that it submitted.",
)
def activity_command(poll_seconds: float) -> None:
    """Do what Data Factory's activity.json in the working directory says.

    Takes no arguments from the pipeline, so no file's name meets a shell: everything is in
    activity.json, linkedServices.json and datasets.json. Totals go to outputs.json, progress to
    standard output, errors to standard error with the exit code of their group.
    """
    folder = Path(os.environ.get("AZ_BATCH_TASK_WORKING_DIR") or ".")
    reports_errors = adf.reports_errors(folder)
    error: EvensplitError | None
    try:
        activity = adf.read_activity(folder)
        os.environ.update(activity.environment)
        if activity.action == "submit":
            outputs, error = _submit(activity, poll_seconds)
        else:
            outputs, error = _split(activity, folder)
    except EvensplitError as failed:
        if not reports_errors:
            raise
        outputs, error = adf.failure_outputs(_outcome(failed), failed), failed
    adf.write_outputs(folder, outputs)
    if error is None:
        return
    if reports_errors and not is_transient(error.exit_code):
        say(f"evensplit: {error.kind}: {error}", err=True)
        return
    raise error


def _split(activity: adf.Activity, folder: Path) -> tuple[dict[str, Any], EvensplitError | None]:
    spec = activity.task()
    slot = task.measure_slot(activity.slots_per_node, activity.num_slots)
    result = task.run_task(spec, folder, slot, num_parts_listed=adf.MAX_PARTS_LISTED, say=_say)
    error = task.error_of(result)
    if error is None and activity.done_folder:
        name = posixpath.basename(activity.source)
        credential = activity.settings.get("credential", "auto")
        hooks.put_file(f"{activity.done_folder.rstrip('/')}/{name}", b"", credential=credential)
    click.echo(show.task_result(result))
    return adf.split_outputs(activity, result), error


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def _submit(
    activity: adf.Activity, poll_seconds: float
) -> tuple[dict[str, Any], EvensplitError | None]:
    """Call the command as a user would, but for the shell, and wait for its job."""
    login = os.environ.get("EVENSPLIT_BATCH_LOGIN") or "identity"
    words = ["--dest", activity.destination, "--login", login]
    if client_id := activity.environment.get("AZURE_CLIENT_ID"):
        words += ["--client-id", client_id]
    for name, value in activity.submit.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in activity.settings.items():
        words += option_named(name).words(value)
    told = io.StringIO()
    with redirect_stdout(told):
        submit_command.main([*words, "--json", "--", activity.source], standalone_mode=False)
    made = json.loads(told.getvalue())
    _say(
        f"job {made['job_id']}: {counted(made['num_added'], 'task')} added, {made['num_found']} "
        "there before"
    )
    service = azure(activity.submit["endpoint"], login)
    with show.live(quiet=False) as on_report:
        report = monitor.wait(service, made["job_id"], on_report, poll_seconds=poll_seconds)
    return _job_outputs(activity, made, report), report.error()


def _job_outputs(
    activity: adf.Activity, made: dict[str, Any], report: monitor.JobReport
) -> dict[str, Any]:
    error = report.error()
    failed = report.failed[:_MAX_FAILURES]
    return {
        "outcome": _outcome(error),
        "source": activity.source,
        "destination": activity.destination,
        "job": made,
        "counts": report.counts,
        "error": error.as_dict() if error else None,
        "failures": [
            {"file": item.task.title, "problem": item.problem[:_MAX_PROBLEM]} for item in failed
        ],
    }


def _outcome(error: EvensplitError | None) -> str:
    if error is None:
        return "done"
    return "transient" if is_transient(error.exit_code) else "permanent"
