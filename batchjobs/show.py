"""How tasks and jobs look: text for people, on a terminal a table that is drawn anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from batchjobs.fanout import BYTES_PER_SECOND, SECONDS_A_TASK, Submission
from batchjobs.monitor import JobReport
from batchjobs.pack import PlannedFile
from batchjobs.spec import TaskSpec

_MOST_LINES = 40
_LOG_LINE_SECONDS = 10.0


def task_result(result: Mapping[str, Any]) -> str:
    """Return a task's result in a line a file."""
    lines = []
    for file in result["files"]:
        error = file.get("error")
        told = f"{error['kind']}: {error['message']}" if error else f"{file['num_parts']} parts"
        lines.append(f"{file['source']}: {told}")
    return "\n".join([*lines, f"{result['outcome']}: {result['num_parts']} parts"])


def job_plan(
    job_id: str, tasks: Sequence[TaskSpec], files: Sequence[PlannedFile], seconds: float
) -> None:
    """Print what submit would do."""
    planned = {item.file.source: item for item in files}
    click.echo(f"job {job_id}: {len(files)} files in {len(tasks)} tasks; nothing is submitted")
    for item in tasks[:_MOST_LINES]:
        members = [planned[file.source] for file in item.files]
        parts = sum(member.num_parts for member in members)
        memory = max(member.memory_bytes for member in members) >> 20
        click.echo(
            f"  {item.size_bytes / 1e6:12,.1f} MB  {parts:6,} parts  {memory:6,} MiB memory  "
            f"{item.num_slots} slots  {item.title}"
        )
    if len(tasks) > _MOST_LINES:
        click.echo(f"  and {len(tasks) - _MOST_LINES} smaller tasks (--json lists all)")
    for file in files:
        if file.problem:
            click.secho(f"  ! will fail: {file.problem}", fg="yellow")
    click.echo(
        f"about {seconds:,.0f} s, if a task takes {SECONDS_A_TASK:.0f} s and "
        f"{BYTES_PER_SECOND / 1e6:.0f} MB a second"
    )


def submission(made: Submission) -> str:
    """Return what submit did in a line."""
    return (
        f"job {made.job_id}: {made.num_added} tasks added, {made.num_run_again} to run again, "
        f"{made.num_found} found as they should be"
    )


def counts(report: JobReport) -> str:
    """Return the counts of a job in a line."""
    return ", ".join(f"{number} {name}" for name, number in report.counts.items())


def report(found: JobReport) -> None:
    """Print a job and each of its tasks that is not simply done or waiting."""
    click.echo(f"job {found.job.id} {found.job.state}: {counts(found)}")
    for item in found.tasks:
        if item.task.state == "running":
            click.echo(f"  {item.share_done:4.0%}  {item.task.title}")
    for item in found.failed:
        click.secho(f"  failed: {item.task.title}", fg="red")
        click.echo(f"    {item.problem}\n    {item.advice}; task {item.task.id}")


@contextmanager
def live(*, quiet: bool) -> Iterator[Callable[[JobReport], None]]:
    """Show reports as they come: a table on a terminal, a line now and then in a log."""
    if quiet:
        yield lambda found: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True) as screen:
            yield lambda found: screen.update(_table(found))
    else:
        yield _lines()


def _lines() -> Callable[[JobReport], None]:
    last = time.monotonic()

    def on_report(found: JobReport) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_LINE_SECONDS:
            click.echo(counts(found), err=True)
            last = time.monotonic()

    return on_report


def _table(found: JobReport) -> Any:
    from rich.table import Table

    table = Table("task", "state", "done", title=counts(found))
    order = {"running": 0, "failed": 1, "waiting": 2, "done": 3}
    for item in sorted(found.tasks, key=lambda item: order[item.task.state])[:_MOST_LINES]:
        table.add_row(item.task.title, item.task.state, f"{item.share_done:.0%}")
    return table
