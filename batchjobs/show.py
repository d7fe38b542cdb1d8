"""How tasks and jobs look: text for people, on a terminal a table that is drawn anew."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchjobs.fanout import BYTES_PER_SECOND, SECONDS_A_TASK, Submission
from batchjobs.monitor import JobReport
from batchjobs.simulate import Fleet, Forecast
from engine.cli.terminal import Column, print_table, say, table_lines, width_of
from engine.hooks import amount, counted, memory_amount, shown

if TYPE_CHECKING:
    from rich.text import Text

    from batchjobs.client import Noted

_MAX_LINES = 40
_LOG_LINE_SECONDS = 10.0
_ORDER = {"running": 0, "failed": 1, "waiting": 2, "done": 3}
_PLANNED = (
    Column("file", shorten="middle"),
    Column("size"),
    Column("parts"),
    Column("memory", drop=2),
    Column("disk", drop=3),
    Column("slots", drop=4),
    Column("expected", drop=1),
)
_WATCHED = Column("task", shorten="middle"), Column("state", is_text=True), Column("done")


def task_result(result: Mapping[str, Any]) -> str:
    """Return a task's result in a line a file."""
    lines = []
    for file in result["files"]:
        error = file.get("error")
        told = f"{error['kind']}: {error['message']}" if error else _parts(file)
        lines.append(shown(f"{file['source']}: {told}"))
    return "\n".join([*lines, f"{result['outcome']}: {_parts(result)}"])


def _parts(result: Mapping[str, Any]) -> str:
    return counted(result["num_parts"], "part")


def job_plan(plan: Mapping[str, Any]) -> None:
    """Print what submit would do."""
    tasks = plan["tasks"]
    num_files = sum(len(task["files"]) for task in tasks)
    folder = _folder([task["title"] for task in tasks])
    say(
        f"job {plan['job']}: {counted(num_files, 'file')} in {counted(len(tasks), 'task')} on "
        f"{plan['pool']}; nothing is submitted",
        f"  files below {folder}",
    )
    rows = [
        (
            task["title"].removeprefix(folder),
            amount(task["size_bytes"]),
            f"{task['num_parts']:,}",
            memory_amount(task["memory_bytes"]),
            amount(task["disk_bytes"]),
            str(task["num_slots"]),
            duration(task["expected_seconds"]),
        )
        for task in tasks[:_MAX_LINES]
    ]
    print_table(_PLANNED, rows)
    say("")
    if len(tasks) > _MAX_LINES:
        say(f"  and {counted(len(tasks) - _MAX_LINES, 'smaller task')} (--json lists all)")
    for problem in plan["problems"].values():
        say(f"  ! will fail: {problem}", fg="yellow")
    say(
        f"about {duration(plan['expected_seconds'])} on {counted(plan['num_slots'], 'slot')}, if a "
        f"task takes {SECONDS_A_TASK:.0f} s and {amount(BYTES_PER_SECOND)} a second"
    )


def _folder(titles: Sequence[str]) -> str:
    """Return what the names of all tasks begin with, up to a slash."""
    return os.path.commonprefix(titles).rpartition("/")[0] + "/"  # noqa: RUF071 - URLs as well


def requests(noted: Sequence[Noted], uploads: Mapping[str, int]) -> None:
    """Print the requests that would change something, and the files that would be uploaded."""
    if uploads:
        place = next(iter(uploads)).rpartition("/")[0]
        say(f"upload {counted(len(uploads), 'file')}, {amount(sum(uploads.values()))}, to {place}")
    for item in noted:
        number = len(item.body["value"]) if "value" in (item.body or ()) else 0
        what = f"{counted(number, 'task')}, " if number else ""
        say(f"{item.method:6} {item.path}  {what}{counted(item.num_bytes, 'byte')}")


def forecast(found: Forecast, num_files: int, fleet: Fleet, said: Sequence[str]) -> None:
    """Print what a simulation came to, and all that it assumes."""
    rows = {
        "files": f"{num_files:,} in {counted(found.num_tasks, 'task')}, "
        f"{amount(found.total_bytes)}",
        "pool": f"at most {fleet.most_dedicated:,} dedicated and "
        f"{counted(fleet.most_spot, 'Spot node')} of "
        f"{counted(fleet.slots_per_node, 'slot')}, {fleet.formula}; {found.most_nodes:,} at once",
        "makespan": f"{duration(found.makespan_seconds)}, of which the longest task takes "
        f"{duration(found.longest_task_seconds)}",
        "node-hours": f"{found.dedicated_node_hours:,.1f} dedicated, {found.spot_node_hours:,.1f} "
        f"Spot; slots busy {found.slots_busy_share:.0%} of them",
        "cost": f"{found.cost:,.2f}, in the unit of the prices",
        "preempted": f"{counted(found.num_lost_nodes, 'node')}; "
        f"{counted(found.num_requeues, 'task')} begun again, "
        f"{duration(found.repeated_seconds)} of work done twice",
    }
    for name, text in rows.items():
        say(f"{name:11} {text}")
    say("if", *(f"  - {text}" for text in said))


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
        f"job {made.job_id}: {counted(made.num_added, 'task')} added, {made.num_run_again} to run "
        "again, "
        f"{made.num_found} found as they should be"
    )
    return f"pool {new_pool} is made\n{line}" if new_pool else line


def counts(report: JobReport) -> str:
    """Return the counts of a job in a line."""
    return ", ".join(f"{number} {name}" for name, number in report.counts.items())


def report(found: JobReport) -> None:
    """Print a job and each of its tasks that is not simply done or waiting."""
    say(f"job {found.job.id} {found.job.state}: {counts(found)}")
    for item in found.tasks:
        if item.task.state == "running":
            say(f"  {item.share_done:4.0%}  {item.task.title}")
    for item in found.failed:
        say(f"  failed: {item.task.title}", fg="red")
        say(f"    {item.problem}", f"    {item.advice}; task {item.task.id}")


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
            say(counts(found), err=True)
            last = time.monotonic()

    return on_report


def _table(found: JobReport) -> Text:
    from rich.text import Text

    tasks = sorted(found.tasks, key=lambda item: _ORDER[item.task.state])[:_MAX_LINES]
    folder = _folder([item.task.title for item in found.tasks])
    rows = [
        (item.task.title.removeprefix(folder), item.task.state, f"{item.share_done:.0%}")
        for item in tasks
    ]
    lines = table_lines(_WATCHED, rows, width_of(sys.stderr), sys.stderr)
    return Text("\n".join([counts(found), *lines]))
