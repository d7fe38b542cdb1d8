"""The commands: options in, façade called, result shown."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import engine
from engine import endings
from engine.cli.group import completing
from engine.cli.log import log_options
from engine.cli.options import SIZE, click_option, split_options
from engine.errors import BadSetting, DestinationInUse
from engine.options import OPTIONS
from engine.places import place_text

_credential = click_option(OPTIONS["credential"])
_sources = click.argument(
    "src", nargs=-1, required=True, metavar="SRC...", shell_complete=completing("file")
)
_OF_SOURCES = ("credential", "storage_options", "include", "exclude")
_storage_options = click_option(OPTIONS["storage_options"])
_ENCODING = "CSV, NDJSON: encoding of SRC, as latin-1, cp1252 or utf-16. [default: utf-8]"
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.command()
@_sources
@click.option(
    "--key",
    metavar="COLUMN",
    help="Count the values of a column as well: it is read. Names are written as for split's "
    "--columns.",
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    default=16,
    show_default=True,
    help="With --key: try a hash partition into N.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    envvar="EVENSPLIT_SCHEDULER",
    help="With --key: count on a running Dask cluster that shares the storage.",
)
@click.option("--exact", is_flag=True, help="CSV, NDJSON: read all, and count the records.")
@click_option(OPTIONS["header"])
@click_option(OPTIONS["delimiter"])
@click_option(OPTIONS["quote"])
@click_option(OPTIONS["escape"])
@click_option(OPTIONS["encoding"], text=_ENCODING)
@click_option(OPTIONS["include"])
@click_option(OPTIONS["exclude"])
@_credential
@_storage_options
@_json
@log_options
@click.pass_context
def profile(
    context: click.Context,
    /,
    src: tuple[str, ...],
    key: str | None,
    partitions: int,
    scheduler: str | None,
    as_json: bool,
    exact: bool,
    **given: Any,
) -> None:
    """Show layout and skew of Parquet files, from their footers and page indexes alone.

    Of CSV and NDJSON: delimiter, header, columns, and sizes of records, from some places of the
    file. SRC is a file, a folder, a glob or a URL; several are allowed.
    """
    from engine.cli import progress

    if key is None and context.get_parameter_source("partitions") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--partitions goes with --key")
    access = {name: given.pop(name) for name in _OF_SOURCES}
    if engine.are_lines(src, **access):
        if key is not None:
            raise BadSetting("--key is for Parquet, and these are lines: leave it out")
        with progress.waiting("profiling", is_quiet=as_json):
            lines = engine.profile_lines(src, exact=exact, **access, **given)
        _show_lines(lines, as_json=as_json)
        return
    if exact or any(value not in (None, "auto") for value in given.values()):
        raise BadSetting(
            "--exact, --header, --delimiter, --quote, --escape and --encoding are for lines"
        )
    keys = None
    with progress.waiting("profiling", is_quiet=as_json):
        found = engine.profile(src, **access)
        if key is not None:
            keys = engine.profile_key(
                src, key, partitions=partitions, scheduler=scheduler, **access
            )
    if as_json:
        told = found.as_dict() | ({} if keys is None else {"key": keys.as_dict()})
        click.echo(json.dumps(told))
        return
    from engine.cli import tables

    tables.profile(found)
    if keys is not None:
        tables.key_skew(keys)


def _show_lines(found: Sequence[engine.LinesProfile], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"files": [item.as_dict() for item in found]}))
        return
    from engine.cli import tables

    tables.lines(found)


@click.command()
@_sources
@split_options("plan")
@_json
@log_options
def plan(src: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Show the parts that split would write; nothing is written.

    The plan is the very one that split follows: same cuts, same names, same plan id.
    """
    _show_plan(src, settings, as_json=as_json)


def _show_plan(src: Sequence[str], settings: dict[str, Any], *, as_json: bool) -> None:
    """Print a plan, or refuse it as split would."""
    from engine import memory
    from engine.cli import progress
    from engine.executors.choosing import choose_resources

    frozen = engine.make_settings(**settings)
    budget = memory.budget(frozen.memory_bytes)
    with progress.waiting("planning", is_quiet=as_json):
        found = engine.plan(src, **settings)
    run_bytes = choose_resources(found, frozen, budget).run_bytes
    if as_json:
        data = found.as_dict() | {
            "predicted_bytes": found.predicted_bytes,
            "spread": found.spread,
            "memory_bytes": found.memory_bytes,
            "memory_run_bytes": run_bytes,
            "memory_budget_bytes": budget.bytes,
            "memory_budget_source": budget.source,
        }
        click.echo(json.dumps(data))
        return
    from engine.cli import tables

    tables.plan(found, None if frozen.scheduler else budget, run_bytes)


@click.command()
@click.argument("places", nargs=-1, metavar="SRC... DEST", shell_complete=completing("file"))
@split_options("split")
@click.option("--resume", is_flag=True, hidden=True)  # what every run does; scripts may say it
@click.option("--verify", is_flag=True, help="Prove the parts equal to SRC as well.")
@click.option("--dry-run", is_flag=True, help="Show what plan shows; write nothing.")
@_json
@log_options
def split(
    places: tuple[str, ...], as_json: bool, resume: bool, dry_run: bool, **settings: Any
) -> None:
    """Split SRC into equal parts in the folder DEST.

    SRC is a file, a folder, a glob or a URL; several with one schema become one sequence of rows.
    Parts are at most --target-size large, as few and as equal as can be. Compressed bytes are
    copied as they are; only the pages that a cut passes through are re-encoded.

    \b
      evensplit split big.parquet parts/
      evensplit split big.parquet parts/ --target-size 256MiB --cut row-group
      evensplit split 'daily/*.parquet' parts/ --parts 16
    """  # noqa: D301 - click wants the backspace itself
    if len(places) < 2:
        raise click.UsageError("DEST is missing" if places else "SRC and DEST are missing")
    *src, dest = places
    if resume and settings["overwrite"]:
        raise click.UsageError("--resume and --overwrite exclude each other")
    if dry_run:
        settings.pop("verify")
        _show_plan(src, settings, as_json=as_json)
        return
    from engine.cli import progress, show

    with progress.splitting(is_quiet=as_json) as told:
        result = engine.split(src, dest, progress=told, **settings)
    if as_json:
        data = result.manifest.as_dict() | {
            "destination": result.destination,
            "num_resumed": result.num_resumed,
            "elapsed_seconds": result.elapsed_seconds,
            "peak_memory_bytes": result.peak_memory_bytes,
            "spread": result.manifest.spread,
            "verification": result.verification and result.verification.as_dict(),
            "loads": result.loads,
        }
        click.echo(json.dumps(data))
        return
    show.split_result(result)
    if result.verification is not None:
        show.verification(result.verification)


@click.command()
@click.argument("dest", shell_complete=completing("dir"))
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    envvar="EVENSPLIT_WORKERS",
    help="Columns compared at once. [default: one a core]",
)
@click_option(OPTIONS["memory"])
@click.option(
    "--repair", is_flag=True, help="Write parts anew that are missing or differ; prove all again."
)
@click.option(
    "--allow-other-files",
    is_flag=True,
    help="DEST may hold files that are no part of the split.",
)
@_credential
@_storage_options
@_json
@log_options
def verify(
    dest: str,
    workers: int | None,
    memory: str | None,
    repair: bool,
    allow_other_files: bool,
    credential: str,
    storage_options: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Prove that the parts in DEST equal their source.

    Schema, metadata and every value of every column are compared in order, in bounded memory. The
    first difference is an error (exit code 6) that names column, row and part; with --repair such
    a part is written anew from the source. A file in DEST that is no part is an error as well:
    readers of the folder would take it.
    """
    from engine.cli import show
    from engine.cli.progress import verifying

    with verifying(is_quiet=as_json) as progress:
        result = engine.verify(
            dest,
            workers=workers,
            memory=memory,
            credential=credential,
            storage_options=storage_options,
            progress=progress,
            repair=repair,
            allow_other_files=allow_other_files,
        )
    if as_json:
        click.echo(json.dumps(result.as_dict()))
        return
    show.verification(result)


@click.command()
@click.argument("place", metavar="SRC|DEST", shell_complete=completing("file"))
@split_options("report")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default="evensplit-report.html",
    show_default=True,
    help="The page; one that is there is replaced.",
    shell_complete=completing("file"),
)
@click.option(
    "--verify", is_flag=True, help="Compare all values of a finished split, and tell the outcome."
)
@log_options
def report(place: str, output: str, verify: bool, **settings: Any) -> None:
    """Write one HTML page with pictures: how a file is laid out, what a split does or did.

    SRC is a file, a folder, a glob or a URL: its layout, and the plan for the split options given.
    DEST is the folder of a split: source, plan, parts, memory. The page needs no network.
    """
    from engine.cli import progress
    from engine.cli.terminal import say

    with progress.waiting("drawing", is_quiet=False):
        engine.report(place, output, verify=verify, **settings)
    say(output)


@click.command()
@click.argument("folder", required=False, shell_complete=completing("dir"))
@click.option("--size", type=SIZE, default="300MB", show_default=True, help="Of the sample.")
@click.option("--target-size", type=SIZE, default="30MB", show_default=True, help="Of a part.")
@click.pass_context
@log_options
def demo(context: click.Context, folder: str | None, size: str, target_size: str) -> None:
    """Make a skewed sample, show its layout, split it, and verify the parts.

    FOLDER is where sample, parts and a report are kept; a temporary folder, removed again, if it is
    left out.
    """
    from engine.cli import show
    from engine.cli.progress import making
    from engine.demo import make_sample
    from engine.settings import parse_size
    from engine.storage.local import os_errors

    keep = folder is not None
    with os_errors(folder or "a temporary folder"):
        made = place_text(folder) if folder is not None else tempfile.mkdtemp("", "evensplit-demo-")
        place = Path(made)
        if place.exists() and not (place.is_dir() and not any(place.iterdir())):
            raise DestinationInUse(f"{place} is a file, or not empty; name a new folder")
        place.mkdir(parents=True, exist_ok=True)
    sample, parts = str(place / "sample.parquet"), str(place / "parts")
    with endings.unwound(), ExitStack() as stack:
        if not keep:
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        show.step(f"1. Make a skewed sample of about {size}: {sample}")
        with os_errors(sample), making(parse_size(size)) as progress:
            make_sample(sample, target_bytes=parse_size(size), progress=progress)
        commands = [
            ("profile", sample),
            ("split", sample, parts, "--target-size", target_size),
            ("verify", parts),
        ]
        if keep and find_spec("bokeh"):
            commands.append(("report", parts, "--output", str(place / "report.html")))
        for number, command in enumerate(commands, 2):
            show.step(f"{number}. {shlex.join(('evensplit', *command))}")
            code = _run(command)
            if code:
                context.exit(code)
    show.demo_end(str(place), keep=keep)


def _run(words: Sequence[str]) -> int:
    """Run a command in a process of its own, whose figures are those that a user would see."""
    try:
        return subprocess.Popen([sys.executable, "-m", "engine.cli", *words]).wait()
    except SystemExit:  # we are told to stop, maybe as it is being started
        endings.end_children()
        raise


ALL: tuple[click.Command, ...] = (profile, plan, split, verify, report, demo)
