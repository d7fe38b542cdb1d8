"""How results look on a terminal and in a log: tables and progress, by rich.

Results go to standard output, progress to standard error. Progress is a bar on a terminal and a
line every few seconds elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from dask.utils import format_bytes

from engine.model import Manifest, Receipt, SplitPlan, SplitResult, Verification
from engine.splitter import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.table import Table

    from engine.memory import Budget
    from engine.profiler import FileProfile

LOG_LINE_SECONDS = 5.0
_MOST_LINES = 40
_LOG_WIDTH = 160


def size(num_bytes: int) -> str:
    """Return bytes as a person reads them, in decimal units as in ``--target-size 100MB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes} B"


def step(text: str) -> None:
    """Print a heading of the demo."""
    click.secho(f"\n{text}", bold=True)


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for heading in headings:
        text = heading.removeprefix("<")
        table.add_column(text, justify="left" if text != heading else "right", overflow="fold")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # A log has no width of its own: lines are as long as the table.
    console = Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)
    console.print(table)


def _shortened(items: Sequence[object], most: int = _MOST_LINES) -> list[object | None]:
    """Return all items, or the first and last with None for what is left out between."""
    if len(items) <= most:
        return list(items)
    return [*items[: most - most // 4], None, *items[-(most // 4) :]]


def profiles(found: Sequence[FileProfile]) -> None:
    """Print profiles of files."""
    for item in found:
        groups = item.row_groups
        click.echo(
            f"{item.path}\n  {size(item.size_bytes)}, {item.num_rows:,} rows, "
            f"{item.num_columns} columns, {len(groups):,} row groups"
            f"{', page index' if item.has_page_index else ', no page index'}; "
            f"written by {item.created_by or 'an unnamed writer'}"
        )
        if groups:
            sizes = sorted(group.compressed_bytes for group in groups)
            click.echo(
                f"  row groups: {size(sizes[0])} smallest, {size(sizes[len(sizes) // 2])} median, "
                f"{size(sizes[-1])} largest"
            )
        for finding in item.findings:
            click.secho(f"  ! {finding}", fg="yellow")
        table = _table("<column", "<type", "bytes", "share", "ratio", "<codec", "<encodings")
        ordered = sorted(item.columns, key=lambda column: -column.compressed_bytes)
        for column in ordered[:_MOST_LINES]:
            ratio = column.uncompressed_bytes / (column.compressed_bytes or 1)
            table.add_row(
                column.name,
                column.physical_type,
                size(column.compressed_bytes),
                f"{column.share:.1%}",
                f"{ratio:.1f}",
                " ".join(column.codecs),
                " ".join(column.encodings),
            )
        _print(table)
        if len(ordered) > _MOST_LINES:
            click.echo(f"  and {len(ordered) - _MOST_LINES} smaller columns (--json lists all)")


def plan(found: SplitPlan, budget: Budget, run_bytes: int) -> None:
    """Print a plan; ``run_bytes``: projected for a run on this machine, 0 if it would not fit."""
    click.echo(_summary(found) + f"\nplan {found.plan_id}")
    table = _table("<part", "first row", "rows", "bytes", "spliced", "re-encoded", "memory")
    for item in _shortened(found.parts):
        if item is None:
            table.add_row("...")
            continue
        part = found.parts[item.index]  # type: ignore[attr-defined]
        table.add_row(
            part.name,
            f"{part.first_row:,}",
            f"{part.num_rows:,}",
            size(part.predicted_bytes),
            size(part.spliced_bytes),
            size(part.reencoded_bytes),
            format_bytes(part.memory_bytes),
        )
    _print(table)
    reasons = [reason for part in found.parts for reason in part.reasons]
    for reason in reasons[:5]:
        click.echo(f"  re-encoded: {reason}")
    if len(reasons) > 5:
        click.echo(f"  and {len(reasons) - 5} more (--json lists all)")
    for item in found.lost:
        click.secho(f"  not kept: {item}", fg="yellow")
    run = f"{format_bytes(run_bytes)} for the run" if run_bytes else "which does not fit"
    click.echo(
        f"memory: {format_bytes(found.memory_bytes)} for the most demanding part, {run}; budget "
        f"{format_bytes(budget.bytes)} ({budget.source})"
    )


def _summary(found: SplitPlan) -> str:
    names = found.sources[0].path
    if len(found.sources) > 1:
        names = f"{len(found.sources)} files, first {names}"
    total = sum(source.size_bytes for source in found.sources)
    encoded = sum(part.reencoded_bytes for part in found.parts)
    share = encoded / (found.predicted_bytes or 1)
    return (
        f"{names}: {size(total)}, {found.num_rows:,} rows\n"
        f"{len(found.parts)} parts of {size(min(p.predicted_bytes for p in found.parts))} to "
        f"{size(max(p.predicted_bytes for p in found.parts))} (spread {found.spread:.2%}), "
        f"{1 - share:.1%} spliced, {share:.1%} re-encoded"
    )


def split_result(result: SplitResult) -> None:
    """Print what a split did."""
    manifest: Manifest = result.manifest
    sizes = [part.size_bytes for part in manifest.parts]
    encoded = sum(part.reencoded_bytes for part in manifest.parts)
    resumed = f" ({result.num_resumed} were there already)" if result.num_resumed else ""
    rate = manifest.size_bytes / max(result.elapsed_seconds, 1e-9)
    click.echo(
        f"{len(sizes)} parts{resumed} of {size(min(sizes))} to {size(max(sizes))} (spread "
        f"{manifest.spread:.2%}), {manifest.num_rows:,} rows, in {result.elapsed_seconds:.1f} s"
        + (f" ({size(int(rate))}/s)" if not result.num_resumed else "")
        + f"\n{1 - encoded / (manifest.size_bytes or 1):.2%} of the bytes copied as they were, "
        f"{size(encoded)} re-encoded; peak memory {format_bytes(result.peak_memory_bytes)}"
        f"\n{result.destination}"
    )
    for note in sorted({note for part in manifest.parts for note in part.store_notes}):
        click.secho(note, fg="yellow")
    for item in manifest.lost:
        click.secho(f"not kept: {item}", fg="yellow")


def verification(result: Verification) -> None:
    """Print what was proved."""
    click.secho("equal: ", fg="green", bold=True, nl=False)
    click.echo(
        f"{result.num_parts} parts hold all {result.num_rows:,} rows of the source in order; "
        f"{result.num_values:,} values of {result.num_columns} columns, schema and metadata "
        f"compared in {result.elapsed_seconds:.1f} s"
    )


def demo_end(place: str, *, keep: bool) -> None:
    """Print where the demo's files are."""
    if keep:
        click.echo(f"\nSample and parts are kept in {place}.")
    else:
        click.echo("\nSample and parts were removed again; `evensplit demo FOLDER` keeps them.")


def progress(*, quiet: bool) -> Progress:
    """Return what shows a split's progress: a bar, lines, or (quiet, no terminal) nothing."""
    if sys.stderr.isatty():
        return _BarProgress()
    return Progress() if quiet else _LineProgress()


class _LineProgress(Progress):
    """A line every few seconds, for logs."""

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        self._num_parts = len(plan.parts)
        self._done = num_resumed
        self._bytes = 0
        self._total_bytes = plan.predicted_bytes
        self._started = self._last = time.monotonic()
        click.echo(_summary(plan), err=True)
        if num_resumed:
            click.echo(f"{num_resumed} parts are committed already", err=True)

    def dashboard(self, link: str) -> None:
        click.echo(f"Dask dashboard: {link}", err=True)

    def committed(self, receipt: Receipt) -> None:
        self._done += 1
        self._bytes += receipt.size_bytes
        now = time.monotonic()
        if now - self._last < LOG_LINE_SECONDS:
            return
        self._last = now
        rate = self._bytes / (now - self._started)
        click.echo(
            f"{self._done}/{self._num_parts} parts, {size(self._bytes)}, {size(int(rate))}/s",
            err=True,
        )


class _BarProgress(Progress):
    """A bar with parts, bytes, rate and time left, for terminals."""

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        from rich import progress as rich
        from rich.console import Console

        self._num_parts, self._done = len(plan.parts), num_resumed
        done_bytes = 0
        self._bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn(),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        click.echo(_summary(plan), err=True)
        self._task = self._bar.add_task(
            self._text(), total=plan.predicted_bytes, completed=done_bytes
        )
        if self._done < self._num_parts:
            self._bar.start()

    def dashboard(self, link: str) -> None:
        # Above the bar; a terminal finds no link in broken lines.
        self._bar.console.print(f"Dask dashboard: {link}", soft_wrap=True, highlight=False)

    def committed(self, receipt: Receipt) -> None:
        self._done += 1
        self._bar.update(self._task, advance=receipt.size_bytes, description=self._text())
        if self._done == self._num_parts:
            self._bar.stop()

    def _text(self) -> str:
        return f"{self._done}/{self._num_parts} parts"


@contextmanager
def verifying(dest: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how many values have been compared."""
    with _counting("comparing", "values", None, quiet=quiet) as advance:
        yield advance


@contextmanager
def making(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much of the sample has been written."""
    with _counting("writing", "bytes", total_bytes, quiet=False) as advance:
        yield advance


@contextmanager
def _counting(
    verb: str, unit: str, total: int | None, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    bar = _counting_bar(unit)
    task = bar.add_task(verb, total=total)
    with bar:
        yield lambda count: bar.update(task, advance=count)


def _counting_bar(unit: str) -> Bar:
    from rich import progress as rich
    from rich.console import Console

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn(f"{{task.completed:,}} {unit}"),
        rich.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
