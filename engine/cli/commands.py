"""The commands: options in, façade called, result shown."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

import engine
from engine.errors import DestinationInUse

F = TypeVar("F", bound=Callable[..., Any])

_credential = click.option(
    "--credential",
    metavar="NAME",
    default="auto",
    show_default=True,
    envvar="EVENSPLIT_CREDENTIAL",
    help="For Azure storage: identity, environment (AZURE_STORAGE_*), "
    "keyvault:https://VAULT.vault.azure.net/secrets/NAME, or auto: the environment's secret for "
    "the account, else the identity. Never a secret itself.",
)
_SPLIT_OPTIONS = (
    click.option(
        "--target-size",
        metavar="SIZE",
        envvar="EVENSPLIT_TARGET_SIZE",
        help="Hard cap on a part's file size: 100MB (10^8 bytes), 128MiB, ... [default: 100MB]",
    ),
    click.option(
        "--parts",
        type=int,
        metavar="N",
        envvar="EVENSPLIT_PARTS",
        help="Exactly N parts, equal by bytes, instead of a size.",
    ),
    click.option(
        "--rows-per-part",
        type=int,
        metavar="N",
        envvar="EVENSPLIT_ROWS_PER_PART",
        help="N rows in every part but the last, instead of a size.",
    ),
    click.option(
        "--cut",
        type=click.Choice(["row", "row-group"]),
        default="row",
        show_default=True,
        envvar="EVENSPLIT_CUT",
        help="Cut at any row (equal parts), or only between row groups (pure copy).",
    ),
    click.option(
        "--name",
        metavar="TEMPLATE",
        default="part-{index:05d}.parquet",
        show_default=True,
        envvar="EVENSPLIT_NAME",
        help="Names of the parts.",
    ),
    click.option(
        "--codec",
        type=click.Choice(["zstd", "snappy", "gzip", "lz4", "brotli", "none"]),
        envvar="EVENSPLIT_CODEC",
        help="Compress the parts so; values stay encoded as they are. [default: as in SRC]",
    ),
    click.option(
        "--codec-level",
        type=int,
        metavar="N",
        envvar="EVENSPLIT_CODEC_LEVEL",
        help="Level of --codec. [default: the library's]",
    ),
    click.option(
        "--row-group-size",
        metavar="SIZE",
        envvar="EVENSPLIT_ROW_GROUP_SIZE",
        help="Row groups of the parts are at most so large: 128MB, or 1000000rows. "
        "[default: as in SRC]",
    ),
    click.option(
        "--columns",
        metavar="NAMES",
        envvar="EVENSPLIT_COLUMNS",
        help="Take only these columns, with commas between; nested.x is x in the group nested, and "
        'names that hold dots or commas go into double quotes: \'id,"user.id","a,b"\'. '
        "[default: all]",
    ),
    click.option(
        "--data-page-version",
        type=click.Choice(["1", "2"]),
        envvar="EVENSPLIT_DATA_PAGE_VERSION",
        help="Version of data pages. [default: as in SRC]",
    ),
    click.option(
        "--dictionary/--no-dictionary",
        default=None,
        envvar="EVENSPLIT_DICTIONARY",
        help="Encode values by dictionaries, or not. [default: as in SRC]",
    ),
    click.option(
        "--memory",
        metavar="SIZE",
        envvar="EVENSPLIT_MEMORY",
        help="Memory budget for this machine. [default: what psutil and the cgroup leave]",
    ),
    _credential,
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def _split_options(function: F) -> F:
    for option in reversed(_SPLIT_OPTIONS):
        function = option(function)
    return function


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.option(
    "--key",
    metavar="COLUMN",
    help="Count the values of a column as well: it is read. Names are written as for split's "
    "--columns.",
)
@click.option(
    "--partitions",
    type=int,
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
@_credential
@_json
def profile(
    src: tuple[str, ...],
    key: str | None,
    partitions: int,
    scheduler: str | None,
    credential: str,
    as_json: bool,
) -> None:
    """Show layout and skew of Parquet files, from their footers and page indexes alone.

    SRC is a file, a folder, a glob or a URL; several are allowed.
    """
    found = engine.profile(src, credential=credential)
    keys = None
    if key is not None:
        keys = engine.profile_key(
            src, key, partitions=partitions, scheduler=scheduler, credential=credential
        )
    if as_json:
        told = found.as_dict() | ({} if keys is None else {"key": keys.as_dict()})
        click.echo(json.dumps(told))
        return
    from engine.cli import show

    show.profile(found)
    if keys is not None:
        show.key_skew(keys)


@click.command()
@click.argument("src", nargs=-1, required=True)
@_split_options
@_json
def plan(src: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Show the parts that split would write; nothing is written.

    The plan is the very one that split follows: same cuts, same names, same plan id.
    """
    found = engine.plan(src, **settings)
    from engine import memory
    from engine.errors import OverBudget
    from engine.splitter import choose_resources

    frozen = engine.make_settings(**settings)
    budget = memory.budget(frozen.memory_bytes)
    try:
        run_bytes = choose_resources(found, frozen).run_bytes
    except OverBudget:
        run_bytes = 0
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
    from engine.cli import show

    show.plan(found, budget, run_bytes)


@click.command()
@click.argument("src", nargs=-1, required=True)
@click.argument("dest")
@_split_options
@click.option(
    "--workers",
    type=int,
    metavar="N",
    envvar="EVENSPLIT_WORKERS",
    help="Parts written at once on this machine. [default: by cores and memory]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    envvar="EVENSPLIT_SCHEDULER",
    help="Write the parts on a running Dask cluster (tcp://host:8786) that shares the storage.",
)
@click.option(
    "--fsync/--no-fsync",
    default=True,
    show_default=True,
    envvar="EVENSPLIT_FSYNC",
    help="Wait for the disk before a part counts as committed; --no-fsync for scratch disks.",
)
@click.option(
    "--transfer",
    type=click.Choice(["auto", "server", "client"]),
    default="auto",
    show_default=True,
    envvar="EVENSPLIT_TRANSFER",
    help="Within Azure storage: have the store copy bytes (server), pass them through this machine "
    "(client), or the first wherever the store lets it (auto).",
)
@click.option("--resume", is_flag=True, help="Finish what an earlier run began (always done).")
@click.option(
    "--overwrite", is_flag=True, help="Replace a finished split in DEST, or another plan's parts."
)
@click.option("--verify", is_flag=True, help="Prove the parts equal to SRC as well.")
@_json
def split(src: tuple[str, ...], dest: str, as_json: bool, resume: bool, **settings: Any) -> None:
    """Split SRC into equal parts in the folder DEST.

    SRC is a file, a folder, a glob or a URL; several with one schema become one sequence of rows.
    Parts are at most --target-size large, as few and as equal as can be. Compressed bytes are
    copied as they are; only the pages that a cut passes through are encoded anew.

    \b
      evensplit split big.parquet parts/
      evensplit split big.parquet parts/ --target-size 256MiB --cut row-group
      evensplit split 'daily/*.parquet' parts/ --parts 16
    """  # noqa: D301 - click wants the backspace itself
    if resume and settings["overwrite"]:
        raise click.UsageError("--resume and --overwrite exclude each other")
    from engine.cli import show

    result = engine.split(src, dest, progress=show.progress(quiet=as_json), **settings)
    if as_json:
        data = result.manifest.as_dict() | {
            "destination": result.destination,
            "num_resumed": result.num_resumed,
            "elapsed_seconds": result.elapsed_seconds,
            "peak_memory_bytes": result.peak_memory_bytes,
            "spread": result.manifest.spread,
            "verification": result.verification and result.verification.as_dict(),
        }
        click.echo(json.dumps(data))
        return
    show.split_result(result)
    if result.verification is not None:
        show.verification(result.verification)


@click.command()
@click.argument("dest")
@click.option(
    "--workers",
    type=int,
    metavar="N",
    envvar="EVENSPLIT_WORKERS",
    help="Columns compared at once. [default: one a core]",
)
@click.option(
    "--memory", metavar="SIZE", envvar="EVENSPLIT_MEMORY", help="Memory budget for this machine."
)
@click.option(
    "--repair", is_flag=True, help="Write parts anew that are missing or differ; prove all again."
)
@_credential
@_json
def verify(
    dest: str,
    workers: int | None,
    memory: str | None,
    repair: bool,
    credential: str,
    as_json: bool,
) -> None:
    """Prove that the parts in DEST equal their source.

    Schema, metadata and every value of every column are compared in order, in bounded memory. The
    first difference is an error (exit code 6) that names column, row and part; with --repair such
    a part is written anew from the source.
    """
    from engine.cli import show

    with show.verifying(dest, quiet=as_json) as progress:
        result = engine.verify(
            dest,
            workers=workers,
            memory=memory,
            credential=credential,
            progress=progress,
            repair=repair,
        )
    if as_json:
        click.echo(json.dumps(result.as_dict()))
        return
    show.verification(result)


@click.command()
@click.argument("place", metavar="SRC|DEST")
@_split_options
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default="evensplit-report.html",
    show_default=True,
    help="The page; replaced if it is there.",
)
@click.option(
    "--verify", is_flag=True, help="Compare all values of a finished split, and tell the outcome."
)
def report(place: str, output: str, verify: bool, **settings: Any) -> None:
    """Write one HTML page with pictures: how a file is laid out, what a split does or did.

    SRC is a file, a folder, a glob or a URL: its layout, and the plan for the split options given.
    DEST is the folder of a split: source, plan, parts, memory. The page needs no network.
    """
    from engine.cli import show

    engine.report(place, output, verify=verify, **settings)
    show.say(output)


@click.command()
@click.argument("folder", required=False)
@click.option("--size", metavar="SIZE", default="300MB", show_default=True, help="Of the sample.")
@click.option("--target-size", metavar="SIZE", default="30MB", show_default=True)
@click.pass_context
def demo(context: click.Context, folder: str | None, size: str, target_size: str) -> None:
    """Make a skewed sample, show its layout, split it, and verify the parts.

    FOLDER is where sample, parts and a report are kept; a temporary folder, removed again, if it is
    left out.
    """
    from engine.cli import show
    from engine.demo import make_sample
    from engine.settings import parse_size

    keep = folder is not None
    place = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="evensplit-demo-"))
    if keep and place.exists() and any(place.iterdir()):
        raise DestinationInUse(f"{place} is not empty; name a new folder")
    place.mkdir(parents=True, exist_ok=True)
    sample, parts = str(place / "sample.parquet"), str(place / "parts")
    try:
        show.step(f"1. Make a skewed sample of about {size}: {sample}")
        with show.making(parse_size(size)) as progress:
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
            # Processes of their own, so that the figures are those that a user would see.
            done = subprocess.run([sys.executable, "-m", "engine.cli", *command], check=False)
            if done.returncode:
                context.exit(done.returncode)
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    show.demo_end(str(place), keep=keep)


ALL: tuple[click.Command, ...] = (profile, plan, split, verify, report, demo)
