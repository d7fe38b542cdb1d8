"""How a run looks on a terminal and in a log: its progress, and what it came to.

Results go to standard output, progress to standard error. Progress is a bar on a terminal and a
line every few seconds elsewhere. Tables are in :mod:`engine.cli.tables`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.cli.tables import parts_of, summary
from engine.cli.terminal import say
from engine.model import Manifest, Receipt, SplitPlan, SplitResult, Verification
from engine.splitter import Progress
from engine.wording import amount as size
from engine.wording import counted, memory_amount, shown

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LOG_LINE_SECONDS = 5.0


def step(text: str) -> None:
    """Print a heading of the demo."""
    say("", text, bold=True)


def split_result(result: SplitResult) -> None:
    """Print what a split did."""
    manifest: Manifest = result.manifest
    sizes = [part.size_bytes for part in manifest.parts]
    encoded = sum(part.reencoded_bytes for part in manifest.parts)
    resumed = f" ({result.num_resumed} were there already)" if result.num_resumed else ""
    rate = manifest.size_bytes / max(result.elapsed_seconds, 1e-9)
    say(
        f"{parts_of(sizes, manifest.spread, resumed)}, {counted(manifest.num_rows, 'row')}, "
        f"in {result.elapsed_seconds:.1f} s"
        + (f" ({size(int(rate))}/s)" if not result.num_resumed else ""),
        f"{1 - encoded / (manifest.size_bytes or 1):.2%} of the bytes copied as they were, "
        f"{size(encoded)} re-encoded; peak memory {memory_amount(result.peak_memory_bytes)}",
        result.destination,
    )
    for note in sorted({note for part in manifest.parts for note in part.store_notes}):
        say(note, fg="yellow")
    for note in manifest.source_notes:
        say(note, fg="yellow")
    for item in manifest.lost:
        say(f"not kept: {item}", fg="yellow")
    for sentence in filter(None, (manifest.growth, manifest.advice)):
        say(sentence, fg="yellow")


def verification(result: Verification) -> None:
    """Print what was proved, and what had to be mended before."""
    for part in result.repaired:
        say(f"{part} was missing or different, and is written anew")
    say(
        f"equal: {counted(result.num_parts, 'part')} hold{'s' if result.num_parts == 1 else ''} "
        f"{'the' if result.num_rows == 1 else 'all'} {counted(result.num_rows, 'row')} of the "
        "source in order; "
        f"{counted(result.num_values, 'value')} of {counted(result.num_columns, 'column')}, schema "
        f"and metadata compared in {result.elapsed_seconds:.1f} s",
        mark="equal:",
        fg="green",
        bold=True,
    )


def demo_end(place: str, *, keep: bool) -> None:
    """Print where the demo's files are."""
    if keep:
        say("", f"Sample and parts are kept in {place}.")
    else:
        say("", "Sample and parts were removed again; `evensplit demo FOLDER` keeps them.")


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
        say(*summary(plan), err=True)
        if num_resumed:
            are = "is" if num_resumed == 1 else "are"
            say(f"{counted(num_resumed, 'part')} {are} committed already", err=True)

    def planned_again(self, reason: str) -> None:
        say(f"{reason}: planned again, with more room", err=True)

    def dashboard(self, link: str) -> None:
        say(f"Dask dashboard: {link}", err=True)

    def committed(self, receipt: Receipt) -> None:
        self._done += 1
        self._bytes += receipt.size_bytes
        now = time.monotonic()
        if now - self._last < LOG_LINE_SECONDS:
            return
        self._last = now
        rate = self._bytes / (now - self._started)
        say(
            f"{self._done}/{counted(self._num_parts, 'part')}, {size(self._bytes)}, "
            f"{size(int(rate))}/s",
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
        say(*summary(plan), err=True)
        self._task = self._bar.add_task(
            self._text(), total=plan.predicted_bytes, completed=done_bytes
        )
        if self._done < self._num_parts:
            self._bar.start()

    def planned_again(self, reason: str) -> None:
        self._bar.stop()
        say(f"{reason}: planned again, with more room", err=True)

    def dashboard(self, link: str) -> None:
        # Above the bar; a terminal finds no link in broken lines.
        self._bar.console.out(shown(f"Dask dashboard: {link}"), highlight=False)

    def committed(self, receipt: Receipt) -> None:
        self._done += 1
        self._bar.update(self._task, advance=receipt.size_bytes, description=self._text())
        if self._done == self._num_parts:
            self._bar.stop()

    def _text(self) -> str:
        return f"{self._done}/{counted(self._num_parts, 'part')}"


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
