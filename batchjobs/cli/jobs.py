"""Commands on jobs and tasks: what runs on a node, and what submits, watches and ends it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psutil

import engine
from batchjobs import fanout, monitor, show, task
from batchjobs.cli.group import (
    absolute,
    account,
    azure,
    batch,
    json_option,
    planned,
    service_of,
    services,
    split_settings,
    tell,
)
from batchjobs.client import PoolStatus
from batchjobs.local import PREFIX, LocalService, default_root
from batchjobs.pack import PlannedFile
from batchjobs.pool import slot_memory_bytes
from batchjobs.service import (
    NODE_MEMORY_MARGIN,
    SLOTS_VARIABLE,
    SPEC_VARIABLE,
    STDERR,
    STDOUT,
    Service,
)
from batchjobs.spec import FileSplit, JobSpec, TaskSpec, checked_settings
from engine import BadSetting, NoJob

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
        raise BadSetting(f"the task's spec cannot be read: {error}") from error


@batch.command()
@click.argument("src", nargs=-1, required=True)
@click.option("--dest", required=True, help="Folder or URL; each file's parts get a folder in it.")
@click.option("--local", is_flag=True, help="Run the tasks on this machine, and wait for them.")
@click.option("--slots", type=click.IntRange(min=1), help="With --local, at once. [default: 2]")
@click.option("--pool", metavar="NAME", help="Of the Batch account, made by `batch pool create`.")
@click.option("--node-memory", metavar="SIZE", help="Of a node, if its size is unknown.")
@click.option("--pack-small", metavar="SIZE", help="Small files share tasks of up to this size.")
@click.option("--retries", type=click.IntRange(0, 100), default=2, show_default=True)
@click.option(
    "--max-hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True
)
@click.option("--keep-hours", type=click.FloatRange(min=0), default=168.0, show_default=True)
@click.option("--outputs", metavar="URL", default="", help="Container for logs and results.")
@click.option("--identity", metavar="ID", default="", help="The pool's, that writes --outputs.")
@click.option("--dry-run", is_flag=True, help="Show the job; submit nothing.")
@account
@split_settings
@json_option
def submit(
    src: tuple[str, ...],
    dest: str,
    local: bool,
    slots: int | None,
    pool: str | None,
    node_memory: str | None,
    pack_small: str | None,
    retries: int,
    max_hours: float,
    keep_hours: float,
    outputs: str,
    identity: str,
    dry_run: bool,
    endpoint: str,
    login: str,
    as_json: bool,
    **given: Any,
) -> None:
    r"""Split every file of SRC, each by a task of its own, the largest first.

    Run the same command again, and what failed is done again, and nothing else.

    \b
      evensplit batch submit --local 'in/*.parquet' --dest out/ --slots 2
      evensplit batch submit abfss://lake@acc.dfs.core.windows.net/in \\
          --dest abfss://lake@acc.dfs.core.windows.net/out --pool nodes
    """
    if local == bool(pool):
        raise click.UsageError("give either --pool NAME or --local")
    if pool and slots:
        raise click.UsageError("--slots goes with --local; a pool's slots are set when it is made")
    if bool(outputs) != bool(identity):
        raise click.UsageError("--outputs and --identity go together: no SAS is put into a task")
    service: Service
    if pool:
        cloud = azure(endpoint, login)
        service, place = cloud, _place_in_pool(cloud.find_pool(pool), node_memory)
        _check_reachable([*src, dest])
    else:
        service, place = LocalService(default_root()), _place_here(slots or 2)
    files, settings = planned(src, dest, given)
    tasks = fanout.make_tasks(
        files,
        settings,
        small_bytes=engine.parse_size(pack_small) if pack_small else 0,
        slot_memory_bytes=place.slot_memory_bytes,
        slots_per_node=place.slots_per_node,
        package=place.package,
    )
    job = JobSpec(
        tuple(absolute(item) for item in src),
        absolute(dest),
        settings,
        pool_id=place.pool_id,
        slots_per_node=place.slots_per_node,
        max_retries=retries,
        max_task_seconds=max(1, int(max_hours * 3600)),
        retention_seconds=int(keep_hours * 3600),
        outputs_url=outputs,
        identity=identity,
        prefix=PREFIX if local else "evensplit",
    )
    if dry_run:
        _show_plan(job, tasks, files, place, as_json=as_json)
    elif isinstance(service, LocalService):
        _run_here(service, job, tasks, place.slots_per_node, as_json=as_json)
    else:
        made = fanout.submit(service, job, tasks)
        tell(asdict(made), show.submission(made), as_json=as_json)


@dataclass(frozen=True)
class _Place:
    """Where tasks run; ``num_slots`` is what the expected time counts with."""

    pool_id: str
    slots_per_node: int
    slot_memory_bytes: int
    num_slots: int
    package: str = ""


def _place_here(num_slots: int) -> _Place:
    memory_bytes = int(psutil.virtual_memory().total * NODE_MEMORY_MARGIN / num_slots)
    return _Place("this machine", num_slots, memory_bytes, num_slots)


def _place_in_pool(found: PoolStatus, node_memory: str | None) -> _Place:
    slots = found.slots_per_node
    given_bytes = engine.parse_size(node_memory) if node_memory else None
    memory_bytes = slot_memory_bytes(found.vm_size, slots, given_bytes)
    if not found.package:
        raise BadSetting(
            f"pool {found.id} does not say which package its nodes have (metadata "
            "evensplit.package); make it with `evensplit batch pool create`"
        )
    nodes = max(1, found.num_dedicated + found.num_spot)
    return _Place(found.id, slots, memory_bytes, nodes * slots, found.package)


def _check_reachable(places: Sequence[str]) -> None:
    here = [place for place in places if "://" not in place or place.startswith("file:")]
    if here:
        raise BadSetting(f"{here[0]} is on this machine, where no node can read it; give a URL")


def _show_plan(
    job: JobSpec, tasks: list[TaskSpec], files: list[PlannedFile], place: _Place, *, as_json: bool
) -> None:
    seconds = fanout.expected_seconds(tasks, place.num_slots)
    if as_json:
        data = {
            "job": job.id,
            "pool": place.pool_id,
            "num_requests": fanout.num_requests(tasks),
            "expected_seconds": seconds,
            "tasks": [{"id": item.id, **json.loads(item.to_json())} for item in tasks],
            "problems": {item.file.source: item.problem for item in files if item.problem},
        }
        click.echo(json.dumps(data))
        return
    show.job_plan(job.id, tasks, files, seconds)


def _run_here(
    service: LocalService, job: JobSpec, tasks: list[TaskSpec], slots: int, *, as_json: bool
) -> None:
    made = fanout.submit(service, job, tasks)
    if not as_json:
        click.echo(show.submission(made))
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


@batch.command()
@click.argument("job")
@account
@json_option
def status(job: str, as_json: bool, endpoint: str, login: str) -> None:
    """Show how a job goes; after its end, exit with the code of its failures."""
    _finish(monitor.look(service_of(job, endpoint, login), job), as_json=as_json)


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
    _finish(report, as_json=as_json)


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
    lines = "\n".join(f"{job.id}  {job.state}" for job in jobs)
    tell([{"job": job.id, "state": job.state} for job in jobs], lines, as_json=as_json)


@batch.command()
@account
@json_option
def clean(as_json: bool, endpoint: str, login: str) -> None:
    """Delete jobs that have ended: their logs and results go, the parts stay."""
    ended = []
    for service in services(endpoint, login):
        for job in service.jobs():
            if job.state == "ended":
                service.delete_job(job.id)
                ended.append(job.id)
    tell({"deleted": ended}, f"{len(ended)} jobs deleted", as_json=as_json)
