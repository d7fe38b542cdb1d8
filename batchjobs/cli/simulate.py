"""``evensplit batch simulate``: what a fan-out would take, before anything is paid for."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import engine
from batchjobs import show
from batchjobs.cli.group import absolute, batch, json_option
from batchjobs.pack import PlannedFile, pack
from batchjobs.simulate import Fleet, World, assumptions, forecast
from batchjobs.spec import FileSplit
from engine import BadSetting, hooks
from engine.cli.group import completing
from engine.cli.options import SIZE, Choice, click_option
from engine.options import OPTIONS, SourceOptions

_count = click.IntRange(min=0)
_not_negative = click.FloatRange(min=0)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@batch.command()
@click.argument("src", nargs=-1, shell_complete=completing("file"))
@click.option(
    "--sizes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with a size a line (1.5GB, or bytes), instead of SRC.",
)
@click.option("--files", type=click.IntRange(min=1), help="So many, drawn from a distribution.")
@click.option(
    "--median", type=SIZE, default="1GB", show_default=True, help="Of the sizes of --files."
)
@click.option("--sigma", type=_not_negative, default=1.0, show_default=True, help="Log-normal.")
@click.option(
    "--largest", type=SIZE, default="1TB", show_default=True, help="No file of --files is larger."
)
@click.option(
    "--pack-small", type=SIZE, metavar="SIZE", help="Small files share tasks of up to this size."
)
@click.option("--slots", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--dedicated", type=_count, default=0, show_default=True, help="Nodes, at most.")
@click.option("--spot", type=_count, default=0, show_default=True, help="Nodes, at most.")
@click.option(
    "--formula",
    type=Choice("fixed", "pending", "spot", "schedule"),
    default="fixed",
    show_default=True,
)
@click.option("--start-hour", type=click.IntRange(0, 23), default=7, show_default=True)
@click.option("--end-hour", type=click.IntRange(1, 24), default=19, show_default=True)
@click.option("--begin", default="mon 7", show_default=True, help="Day and UTC hour of submission.")
@click.option("--price", type=_not_negative, default=0.0, help="Of a dedicated node an hour.")
@click.option("--spot-price", type=_not_negative, default=0.0, help="Of a Spot node an hour.")
@click.option(
    "--losses-per-hour", type=_not_negative, default=0.0, help="Of a Spot node: 0.05 is once in 20."
)
@click.option(
    "--rate", type=SIZE, default="100MB", show_default=True, help="Of one slot, a second."
)
@click.option(
    "--store-rate", type=SIZE, help="Of the storage account, a second. [default: no limit]"
)
@click.option("--task-seconds", type=_not_negative, default=5.0, show_default=True)
@click.option("--boot-seconds", type=_not_negative, default=240.0, show_default=True)
@click.option(
    "--target-size", type=SIZE, default="100MB", show_default=True, help="Of parts, as in submit."
)
@click.option("--seed", type=int, default=1, show_default=True)
@click_option(OPTIONS["include"])
@click_option(OPTIONS["exclude"])
@json_option
def simulate(
    src: tuple[str, ...],
    sizes: Path | None,
    files: int | None,
    median: str,
    sigma: float,
    largest: str,
    pack_small: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say how long a fan-out would take and cost: makespan, node-hours, preemption, price.

    \b
      evensplit batch simulate abfss://lake@acc.dfs.core.windows.net/in --slots 4 --dedicated 10
      evensplit batch simulate --files 100000 --median 5GB --sigma 1.5 --slots 4 --spot 200 \\
          --formula spot --dedicated 20 --losses-per-hour 0.05 --price 0.23 --spot-price 0.05
    """  # noqa: D301 - click wants the backspace itself
    if sum((bool(src), sizes is not None, files is not None)) != 1:
        raise click.UsageError("give one of SRC, --sizes FILE and --files NUMBER")
    if src:
        globs: SourceOptions = {"include": given["include"], "exclude": given["exclude"]}
        found = hooks.find_each([absolute(item) for item in src], **globs)
        every = [item.size_bytes for item, _ in found]
    elif sizes:
        every = list(_read(sizes))
    else:
        bounds = engine.parse_size(median), engine.parse_size(largest)
        every = list(_drawn(files or 0, *bounds, sigma, given["seed"]))
    tasks = _packed(every, engine.parse_size(pack_small) if pack_small else 0)
    fleet, world = _fleet(given), _world(given)
    came = forecast(tasks, fleet, world)
    said = assumptions(fleet, world)
    if as_json:
        click.echo(json.dumps(asdict(came) | {"num_files": len(every), "assumptions": said}))
    else:
        show.forecast(came, len(every), fleet, said)


def _fleet(given: dict[str, Any]) -> Fleet:
    return Fleet(
        slots_per_node=given["slots"],
        most_dedicated=given["dedicated"],
        most_spot=given["spot"],
        formula=given["formula"],
        start_hour=given["start_hour"],
        end_hour=given["end_hour"],
    )


def _world(given: dict[str, Any]) -> World:
    store = given["store_rate"]
    return World(
        seconds_a_task=given["task_seconds"],
        bytes_per_second=engine.parse_size(given["rate"]),
        store_bytes_per_second=engine.parse_size(store) if store else 0,
        boot_seconds=given["boot_seconds"],
        losses_per_node_hour=given["losses_per_hour"],
        part_bytes=engine.parse_size(given["target_size"]),
        dedicated_price=given["price"],
        spot_price=given["spot_price"],
        begin_hour=_hour_of_week(given["begin"]),
        seed=given["seed"],
    )


def _hour_of_week(text: str) -> float:
    day, _, hour = text.lower().partition(" ")
    if day not in _DAYS or not hour.isdecimal() or int(hour) > 23:
        raise BadSetting(f"--begin {text!r} is not a day (mon to sun) and an hour (0 to 23)")
    return _DAYS.index(day) * 24 + int(hour)


def _read(path: Path) -> Iterator[int]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                yield engine.parse_size(line.strip())
            except BadSetting as error:
                raise BadSetting(f"line {number} of {path}: {error}") from error


def _drawn(number: int, median: int, largest: int, sigma: float, seed: int) -> Iterator[int]:
    chance = random.Random(seed)
    for _ in range(number):
        yield min(largest, int(chance.lognormvariate(math.log(median), sigma)))


def _packed(sizes: list[int], small_bytes: int) -> list[int]:
    """Return the sizes of the tasks that submit would make of files."""
    files = [PlannedFile(FileSplit(str(i), "", "", size)) for i, size in enumerate(sizes)]
    return [sum(item.file.size_bytes for item in group) for group in pack(files, small_bytes)]
