"""``evensplit batch submit``: from sources to a job, on a pool (that may be made) or here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import engine
from batchjobs import fanout, monitor, show
from batchjobs.cli import pool_options
from batchjobs.cli.group import (
    absolute,
    account,
    azure,
    batch,
    json_option,
    split_settings,
    tell,
)
from batchjobs.cli.jobs import finish
from batchjobs.cli.pool_options import NewPool, PoolWish, pool_settings
from batchjobs.local import PREFIX, LocalService, default_root
from batchjobs.pack import PlannedFile
from batchjobs.pool import check_name, slot_disk_bytes, slot_memory_bytes
from batchjobs.service import NODE_MEMORY_MARGIN, Service
from batchjobs.spec import JobSpec, TaskSpec, checked_settings
from engine import BadSetting, hooks
from engine.cli.group import completing
from engine.cli.options import SIZE
from engine.cli.terminal import say

if TYPE_CHECKING:
    from batchjobs.client import AzureBatch, PoolStatus, Rehearsal

_MACHINE_POLL_SECONDS = 1.0
_hours = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class _Site:
    """Where tasks run; ``num_slots`` is what the expected time counts with."""

    pool_id: str
    slots_per_node: int
    slot_memory_bytes: int
    num_slots: int
    package: str = ""
    slot_disk_bytes: int | None = None  # where a node's size is known


@batch.command()
@click.argument("src", nargs=-1, required=True, shell_complete=completing("file"))
@click.option(
    "--dest",
    required=True,
    metavar="DEST",
    shell_complete=completing("dir"),
    help="Folder or URL; each file's parts get a folder in it.",
)
@click.option("--local", is_flag=True, help="Run the tasks on this machine, and wait for them.")
@click.option("--pool", metavar="NAME", help="One that is there, or the name of the one to make.")
@click.option("--node-memory", type=SIZE, metavar="SIZE", help="Of a node, if its size is unknown.")
@click.option(
    "--pack-small", type=SIZE, metavar="SIZE", help="Small files share tasks of up to this size."
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="Of a task that ends with an error; a lost node is not counted.",
)
@click.option("--max-hours", type=_hours, default=24.0, show_default=True, help="Of one task.")
@click.option("--max-job-hours", type=_hours, help="Of the whole job. [default: none]")
@click.option(
    "--keep-hours",
    type=click.FloatRange(min=0),
    default=168.0,
    show_default=True,
    help="How long a node keeps a task's files.",
)
@click.option("--outputs", metavar="URL", default="", help="Container for logs and results.")
@click.option("--identity", metavar="ID", default="", help="The pool's, that writes --outputs.")
@click.option("--client-id", default="", help="Of the nodes' identity, if they have several.")
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, help="Of the job.")
@click.option("--dry-run", is_flag=True, help="Show the job and its requests; change nothing.")
@pool_settings
@account
@split_settings
@json_option
def submit(
    src: tuple[str, ...],
    dest: str,
    local: bool,
    pool: str | None,
    node_memory: str | None,
    pack_small: str | None,
    retries: int,
    max_hours: float,
    max_job_hours: float | None,
    keep_hours: float,
    outputs: str,
    identity: str,
    client_id: str,
    labels: tuple[str, ...],
    dry_run: bool,
    endpoint: str,
    login: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Split every file of SRC, each by a task of its own, the largest first.

    Run the same command again, and what failed is done again, and nothing else. With --image,
    --agent and --package (or --container) the pool is made if it is not there; without --pool its
    name is a hash of all that it is, without --vm-size it is fitted to the files.

    \b
      evensplit batch submit --local 'in/*.parquet' --dest out/ --slots 2
      evensplit batch submit abfss://lake@acc.dfs.core.windows.net/in \\
          --dest abfss://lake@acc.dfs.core.windows.net/out --pool nodes
    """  # noqa: D301 - click wants the backspace itself
    wish = PoolWish.taken(given)
    _check_call(wish, local=local, pool=pool)
    _check_outputs(outputs, identity)
    job = JobSpec(
        tuple(absolute(item) for item in src),
        absolute(dest),
        checked_settings(given),
        pool_id="",
        max_retries=retries,
        max_task_seconds=_seconds(max_hours),
        max_job_seconds=_seconds(max_job_hours) if max_job_hours else 0,
        retention_seconds=int(keep_hours * 3600),
        outputs_url=outputs,
        identity=identity,
        client_id=client_id,
        labels=tuple(sorted(_label(item) for item in labels)),
        prefix=PREFIX if local else "evensplit",
    )
    call = _Call(job, engine.parse_size(pack_small) if pack_small else 0, as_json)
    if local:
        _submit_here(call, wish.slots or 2, dry_run=dry_run)
        return
    lists = [item for item in src if item.startswith("@")]
    _check_reachable([*(item for item in src if item not in lists), dest])
    if lists:
        _check_reachable([item.file.source for item in call.files])
    where = _Account(endpoint, login)
    _submit_to_azure(call, where, (pool, wish, node_memory), dry_run=dry_run)


class _Account(NamedTuple):
    """A Batch account, and who asks it."""

    endpoint: str
    login: str


def _submit_to_azure(
    call: _Call,
    account: _Account,
    wanted: tuple[str | None, PoolWish, str | None],
    *,
    dry_run: bool,
) -> None:
    """Submit to a pool, or show what would be; ``wanted``: pool, its settings, memory of a node."""
    if not dry_run:
        cloud = azure(*account)
        _submit_to(cloud, call, _target(cloud, call, *wanted), account.login)
        return
    from batchjobs import client

    cloud, session = client.rehearse(*account, os.environ)
    _rehearse_on(cloud, call, _target(cloud, call, *wanted), account.login, session)


def _check_outputs(outputs: str, identity: str) -> None:
    if bool(outputs) != bool(identity):
        raise click.UsageError("--outputs and --identity go together: no SAS is put into a task")


class _Call:
    """The options of a call that hold wherever its tasks run, and its files, planned."""

    def __init__(self, job: JobSpec, small_bytes: int, as_json: bool) -> None:
        self.job, self.small_bytes, self.as_json = job, small_bytes, as_json

    @cached_property
    def files(self) -> list[PlannedFile]:
        return fanout.plan_files(self.job.sources, self.job.destination, self.job.settings)

    def placed(self, place: _Site) -> tuple[JobSpec, list[TaskSpec]]:
        """Return the job and its tasks, as they are in a place."""
        tasks = fanout.make_tasks(
            self.files,
            self.job.settings,
            small_bytes=self.small_bytes,
            slot_memory_bytes=place.slot_memory_bytes,
            slots_per_node=place.slots_per_node,
            slot_disk_bytes=place.slot_disk_bytes,
            package=place.package,
        )
        job = replace(self.job, pool_id=place.pool_id, slots_per_node=place.slots_per_node)
        return job, tasks


def _check_call(wish: PoolWish, *, local: bool, pool: str | None) -> None:
    if local and (pool or wish.is_given):
        raise click.UsageError("--local and a pool exclude each other")
    if not local and not pool and not wish.is_given:
        raise click.UsageError("give either --pool NAME, or the settings of a pool, or --local")
    if pool and wish.slots and not wish.is_given:
        raise click.UsageError("--slots goes with --local; a pool's slots are set when it is made")
    if pool:
        check_name(pool)


def _check_reachable(places: Sequence[str]) -> None:
    here = [place for place in places if "://" not in place or place.startswith("file:")]
    if here:
        raise BadSetting(
            f"{here[0]} is on this machine, where no node can read it; give a URL, or --local"
        )


def _seconds(hours: float) -> int:
    return max(1, int(hours * 3600))


def _label(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or name.startswith(("evensplit.", "made-by")):
        raise BadSetting(f"--label {text!r} is not NAME=VALUE, with a name of your own")
    return name, value


# -- on a pool


@dataclass(frozen=True)
class _Target:
    """Where a call's tasks run, and the pool that has to be made for it, if any."""

    place: _Site
    pool: NewPool | None = None


def _target(
    cloud: AzureBatch, call: _Call, pool: str | None, wish: PoolWish, node_memory: str | None
) -> _Target:
    given_bytes = engine.parse_size(node_memory) if node_memory else None
    if pool and not wish.is_given:
        return _Target(_place_in(cloud.find_pool(pool), given_bytes))
    if not wish.num_nodes:
        raise BadSetting("the pool would have no nodes: say --dedicated or --spot")
    new = pool_options.new_pool(pool, wish, lambda: fanout.need_of(call.files))
    slots = new.spec.slots_per_node
    place = _Site(
        pool_id=new.id,
        slots_per_node=slots,
        slot_memory_bytes=slot_memory_bytes(new.spec.vm_size, slots, given_bytes),
        num_slots=max(1, wish.num_nodes) * slots,
        package=new.spec.program,
        slot_disk_bytes=slot_disk_bytes(new.spec.vm_size, slots),
    )
    return _Target(place, new)


def _place_in(found: PoolStatus, node_memory_bytes: int | None) -> _Site:
    slots = found.slots_per_node
    memory_bytes = slot_memory_bytes(found.vm_size, slots, node_memory_bytes)
    if not found.package:
        raise BadSetting(
            f"pool {found.id} does not say which package its nodes have (metadata "
            "evensplit.package); make it with `evensplit batch pool create`"
        )
    nodes = max(1, found.num_dedicated + found.num_spot)
    disk_bytes = slot_disk_bytes(found.vm_size, slots)
    return _Site(found.id, slots, memory_bytes, nodes * slots, found.package, disk_bytes)


def _submit_to(cloud: AzureBatch, call: _Call, target: _Target, login: str) -> None:
    # Tasks first: no pool is made for files that it could not hold.
    job, tasks = call.placed(target.place)
    is_new = False
    if target.pool:
        credential = str(call.job.settings.get("credential", "auto"))
        is_new = pool_options.ensure(target.pool, cloud, login, credential)
    made = fanout.submit(cloud, job, tasks)
    about = asdict(made) | {"pool": job.pool_id, "pool_made": is_new}
    tell(about, show.submission(made, job.pool_id if is_new else ""), as_json=call.as_json)


def _rehearse_on(
    cloud: AzureBatch, call: _Call, target: _Target, login: str, session: Rehearsal
) -> None:
    job, tasks = call.placed(target.place)
    requests, uploads = [], {}
    if target.pool:
        requests = pool_options.rehearse(target.pool, cloud, login)
        if requests or session.noted:
            uploads = {url: len(data) for url, data in target.pool.uploads.items()}
    made = fanout.submit(cloud, job, tasks)
    requests = [*requests, *session.noted]
    job = replace(job, attempt=made.attempt)
    plan = _plan(job, tasks, call.files, target.place) | {
        "num_requests": len(requests) + session.num_read,
        "uploads": uploads,
        "requests": [item.as_dict() for item in requests],
    }
    if target.pool:
        plan["pool_spec"] = asdict(target.pool.spec)
    if call.as_json:
        click.echo(json.dumps(plan))
        return
    show.job_plan(plan)
    show.requests(requests, uploads)


# -- on this machine


def _submit_here(call: _Call, num_slots: int, *, dry_run: bool) -> None:
    memory_bytes = int(hooks.of_machine().total * NODE_MEMORY_MARGIN / num_slots)
    place = _Site("this machine", num_slots, memory_bytes, num_slots)
    job, tasks = call.placed(place)
    if not dry_run:
        _run_here(LocalService(default_root()), job, tasks, num_slots, as_json=call.as_json)
        return
    plan = _plan(job, tasks, call.files, place)
    if call.as_json:
        click.echo(json.dumps(plan))
    else:
        show.job_plan(plan)


def _run_here(
    service: LocalService, job: JobSpec, tasks: list[TaskSpec], slots: int, *, as_json: bool
) -> None:
    made = fanout.submit(service, job, tasks)
    if not as_json:
        say(*show.submission(made).splitlines())
    with show.live(quiet=as_json) as on_report:
        service.run(made.job_id, slots, _now_and_then(service, made.job_id, on_report))
        on_report(monitor.look(service, made.job_id))
    finish(monitor.look(service, made.job_id), as_json=as_json)


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


# -- the plan


def _plan(
    job: JobSpec, tasks: list[TaskSpec], files: list[PlannedFile], place: _Site
) -> dict[str, Any]:
    """Return all that submit would do, as plain data."""
    planned = {item.file.source: item for item in files}
    return {
        "job": job.id,
        "pool": place.pool_id,
        "num_slots": place.num_slots,
        "expected_seconds": fanout.expected_seconds(tasks, place.num_slots),
        "tasks": [
            _planned_task(item, [planned[file.source] for file in item.files]) for item in tasks
        ],
        "problems": {item.file.source: item.problem for item in files if item.problem},
    }


def _planned_task(task: TaskSpec, files: Sequence[PlannedFile]) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(task.to_json())
    return spec | {
        "id": task.id,
        "title": task.title,
        "size_bytes": task.size_bytes,
        "num_parts": sum(item.num_parts for item in files),
        "parts_bytes": sum(item.parts_bytes for item in files),
        "memory_bytes": max(item.memory_bytes for item in files),
        "disk_bytes": sum(item.disk_bytes for item in files),
        "network_bytes": sum(item.network_bytes for item in files),
        "expected_seconds": fanout.task_seconds(task),
    }
