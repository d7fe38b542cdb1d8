"""How tasks and jobs look: text for people, on a terminal a table that is drawn anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from batchjobs.fanout import BYTES_PER_SECOND, SECONDS_A_TASK, Submission
from batchjobs.monitor import JobReport
from batchjobs.simulate import Fleet, Forecast
from engine.hooks import shown

if TYPE_CHECKING:
    from batchjobs.client import Noted

_MAX_LINES = 40
_LOG_LINE_SECONDS = 10.0


def task_result(result: Mapping[str, Any]) -> str:
    """Return a task's result in a line a file."""
    lines = []
    for file in result["files"]:
        error = file.get("error")
        told = f"{error['kind']}: {error['message']}" if error else f"{file['num_parts']} parts"
        lines.append(shown(f"{file['source']}: {told}"))
    return "\n".join([*lines, f"{result['outcome']}: {result['num_parts']} parts"])


def job_plan(plan: Mapping[str, Any]) -> None:
    """Print what submit would do."""
    tasks = plan["tasks"]
    num_files = sum(len(task["files"]) for task in tasks)
    click.echo(
        f"job {plan['job']}: {num_files} files in {len(tasks)} tasks on {plan['pool']}; nothing is "
        "submitted"
    )
    click.echo(f"  {'size':>12}  {'parts':>6}  {'memory':>10}  {'disk':>11}  slots  expected  file")
    for task in tasks[:_MAX_LINES]:
        click.echo(
            f"  {task['size_bytes'] / 1e6:9,.1f} MB  {task['num_parts']:6,}  "
            f"{task['memory_bytes'] >> 20:6,} MiB  {task['disk_bytes'] / 1e6:8,.1f} MB  "
            f"{task['num_slots']:5}  {task['expected_seconds']:6,.0f} s  {shown(task['title'])}"
        )
    if len(tasks) > _MAX_LINES:
        click.echo(f"  and {len(tasks) - _MAX_LINES} smaller tasks (--json lists all)")
    for problem in plan["problems"].values():
        click.secho(f"  ! will fail: {shown(problem)}", fg="yellow")
    click.echo(
        f"about {plan['expected_seconds']:,.0f} s on {plan['num_slots']} slots, if a task takes "
        f"{SECONDS_A_TASK:.0f} s and {BYTES_PER_SECOND / 1e6:.0f} MB a second"
    )


def requests(noted: Sequence[Noted], uploads: Mapping[str, int]) -> None:
    """Print the requests that would change something, and the files that would be uploaded."""
    if uploads:
        place = next(iter(uploads)).rpartition("/")[0]
        click.echo(
            f"upload {len(uploads)} files, {sum(uploads.values()) / 1e6:,.1f} MB, to {place}"
        )
    for item in noted:
        number = len(item.body["value"]) if "value" in (item.body or ()) else 0
        what = f"{number} tasks, " if number else ""
        click.echo(f"{item.method:6} {item.path}  {what}{item.num_bytes:,} bytes")


def forecast(found: Forecast, num_files: int, fleet: Fleet, said: Sequence[str]) -> None:
    """Print what a simulation came to, and all that it assumes."""
    rows = {
        "files": f"{num_files:,} in {found.num_tasks:,} tasks, {found.total_bytes / 1e9:,.1f} GB",
        "pool": f"at most {fleet.most_dedicated:,} dedicated and {fleet.most_spot:,} Spot nodes of "
        f"{fleet.slots_per_node} slots, {fleet.formula}; {found.most_nodes:,} at once",
        "makespan": f"{duration(found.makespan_seconds)}, of which the longest task takes "
        f"{duration(found.longest_task_seconds)}",
        "node-hours": f"{found.dedicated_node_hours:,.1f} dedicated, {found.spot_node_hours:,.1f} "
        f"Spot; slots busy {found.slots_busy_share:.0%} of them",
        "cost": f"{found.cost:,.2f}, in the unit of the prices",
        "preempted": f"{found.num_lost_nodes:,} nodes; {found.num_requeues:,} tasks begun again, "
        f"{duration(found.repeated_seconds)} of work done twice",
    }
    for name, text in rows.items():
        click.echo(f"{name:11} {text}")
    click.echo("if")
    for text in said:
        click.echo(f"  - {text}")


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 86400:,.1f} days"


def submission(made: Submission, new_pool: str = "") -> str:
    """Return what submit did in a line, and the pool that it made in another."""
    line = (
        f"job {made.job_id}: {made.num_added} tasks added, {made.num_run_again} to run again, "
        f"{made.num_found} found as they should be"
    )
    return f"pool {new_pool} is made\n{line}" if new_pool else line


def counts(report: JobReport) -> str:
    """Return the counts of a job in a line."""
    return ", ".join(f"{number} {name}" for name, number in report.counts.items())


def report(found: JobReport) -> None:
    """Print a job and each of its tasks that is not simply done or waiting."""
    click.echo(f"job {found.job.id} {found.job.state}: {counts(found)}")
    for item in found.tasks:
        if item.task.state == "running":
            click.echo(f"  {item.share_done:4.0%}  {shown(item.task.title)}")
    for item in found.failed:
        click.secho(f"  failed: {shown(item.task.title)}", fg="red")
        click.echo(f"    {shown(item.problem)}\n    {shown(item.advice)}; task {item.task.id}")


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
    for item in sorted(found.tasks, key=lambda item: order[item.task.state])[:_MAX_LINES]:
        table.add_row(item.task.title, item.task.state, f"{item.share_done:.0%}")
    return table
