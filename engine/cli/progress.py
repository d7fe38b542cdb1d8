"""How far a command is: a bar on a terminal, a line every few seconds elsewhere, or events.

Bytes count as they are written, also inside of parts. On standard error, as all that is no result.
Not covered: what is said besides (:mod:`engine.cli.log`), and results (:mod:`engine.cli.show`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from engine import events
from engine.cli import log, stopping
from engine.cli.tables import summary
from engine.cli.terminal import has_colours, is_dumb, say
from engine.executors.interrupts import every
from engine.model import Receipt, SplitPlan
from engine.splitter import Progress
from engine.wording import amount as size
from engine.wording import counted, shown

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn

LOG_LINE_SECONDS = 5.0
_NUM_FIXED = 2  # columns of every bar: what it is about, and the bar itself


@contextmanager
def splitting(*, is_quiet: bool) -> Iterator[Progress]:
    """Show how far a split is, from its first second on; with ``is_quiet`` nothing in lines."""
    shown_as = _shown_as(is_quiet=is_quiet)
    if shown_as is None:
        yield Progress()
        return
    with ExitStack() as stack:
        yield stack.enter_context(_Bar() if shown_as == "bar" else _Lines())


def _shown_as(*, is_quiet: bool) -> str | None:
    if log.is_quiet():
        return None
    if log.is_json():
        return "lines"
    if sys.stderr.isatty():
        return "lines" if is_dumb() else "bar"
    return None if is_quiet else "lines"


class _Split(Progress):
    """How far a split is; what shows it says so in :meth:`_changed`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._compared: Callable[[int], None] | None = None
        self._started = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        self._num_parts = self._num_done = 0
        self._committed_bytes = self._growing_bytes = self._total_bytes = 0
        self._resumed_bytes = 0

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        self._num_parts, self._num_done = len(plan.parts), num_resumed
        self._total_bytes = plan.predicted_bytes
        # Which parts these are is not told; they are about as large as the others.
        self._resumed_bytes = plan.predicted_bytes * num_resumed // len(plan.parts)
        self._started = time.monotonic()
        if not log.is_json():
            say(*summary(plan), err=True)
            if num_resumed:
                are = "is" if num_resumed == 1 else "are"
                say(f"{counted(num_resumed, 'part')} {are} committed already", err=True)
        self._changed()

    def planned_again(self, reason: str) -> None:
        self._forget()
        if not log.is_json():
            say(f"{reason}: planned again, with more room", err=True)

    def dashboard(self, link: str) -> None:
        if not log.is_json():
            say(f"Dask dashboard: {link}", err=True)

    def growing(self, num_bytes: int) -> None:
        self._growing_bytes = num_bytes
        self._changed()

    def committed(self, receipt: Receipt) -> None:
        self._num_done += 1
        self._committed_bytes += receipt.size_bytes
        self._growing_bytes = max(0, self._growing_bytes - receipt.size_bytes)
        self._changed()

    def compared(self, num_values: int) -> None:
        if self._compared is None:
            self._stack.close()  # all is written: what shows that makes room
            self._compared = self._stack.enter_context(verifying(is_quiet=False))
        self._compared(num_values)

    def _changed(self) -> None:
        """Show it."""

    def _written_bytes(self) -> int:
        return self._committed_bytes + self._growing_bytes

    def _parts(self) -> str:
        return f"{self._num_done}/{counted(self._num_parts, 'part')}"


class _Lines(_Split):
    """A line, or an event, every few seconds."""

    def __enter__(self) -> _Lines:
        self._stack.enter_context(every(LOG_LINE_SECONDS, self._tell))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _tell(self) -> None:
        if not self._num_parts:
            _tell_time("planning", self._started)
            return
        seconds = time.monotonic() - self._started
        written_bytes = self._written_bytes()
        done_bytes = self._resumed_bytes + written_bytes
        rate = int(written_bytes / max(seconds, 1e-9))
        _line(
            "split.progress",
            f"{self._parts()}, {size(done_bytes)} of {size(self._total_bytes)}, {size(rate)}/s",
            num_parts_done=self._num_done,
            num_parts=self._num_parts,
            bytes_done=done_bytes,
            total_bytes=self._total_bytes,
            bytes_per_second=rate,
        )


def _line(event: str, text: str, **fields: Any) -> None:
    if log.is_json():
        events.say(event, text, **fields)
    else:
        say(text, err=True)


class _Bar(_Split):
    """A bar with parts, bytes, rate and time left, for terminals; the time as it is planned."""

    def __enter__(self) -> _Bar:
        from rich import progress as rich

        self._planning = (rich.TimeElapsedColumn(),)
        self._writing = (
            rich.DownloadColumn(),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
        )
        self._bar = _bar(*self._planning)
        self._task = self._bar.add_task("planning", total=None)
        self._stack.enter_context(_live(self._bar))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        with self._above(self._writing):
            self._bar.reset(self._task, total=plan.predicted_bytes)
            super().planned(plan, num_resumed)

    def planned_again(self, reason: str) -> None:
        with self._above(self._planning):
            self._bar.reset(self._task, total=None, description="planning")
            super().planned_again(reason)

    def dashboard(self, link: str) -> None:
        # A terminal finds no link in broken lines.
        self._bar.console.out(shown(f"Dask dashboard: {link}"), highlight=False)

    def _changed(self) -> None:
        done_bytes = self._resumed_bytes + self._written_bytes()
        self._bar.update(self._task, completed=done_bytes, description=self._parts())

    @contextmanager
    def _above(self, columns: Sequence[ProgressColumn]) -> Iterator[None]:
        """Print lines where the bar is, which begins again below them with other columns."""
        self._bar.stop()
        self._bar.columns = (*self._bar.columns[:_NUM_FIXED], *columns)
        yield
        self._bar.start()


@contextmanager
def _live(bar: Bar) -> Iterator[None]:
    """Show a bar, and take it away before it is said that the run is stopped."""
    with bar, stopping.said_after(bar.stop):
        yield


@contextmanager
def waiting(doing: str, *, is_quiet: bool) -> Iterator[None]:
    """Show for how long something has been done that is not counted.

    Results come on the same terminal: it gets no code for a bar where it is to get none.
    """
    shown_as = _shown_as(is_quiet=is_quiet)
    started = time.monotonic()
    with ExitStack() as stack:
        if shown_as == "lines" or (shown_as and not has_colours()):
            stack.enter_context(every(LOG_LINE_SECONDS, lambda: _tell_time(doing, started)))
        elif shown_as == "bar":
            from rich import progress as rich

            bar = _bar(rich.TimeElapsedColumn())
            bar.add_task(doing, total=None)
            stack.enter_context(_live(bar))
        yield


def _tell_time(doing: str, started: float) -> None:
    seconds = time.monotonic() - started
    _line(doing, f"{doing}, {seconds:.0f} s", elapsed_seconds=round(seconds, 3))


@contextmanager
def verifying(*, is_quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how many values have been compared."""
    with _counting("verify.progress", "values", "compared", None, is_quiet=is_quiet) as advance:
        yield advance


@contextmanager
def making(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much of the sample has been written."""
    with _counting("demo.progress", "bytes", "written", total_bytes, is_quiet=True) as advance:
        yield advance


@contextmanager
def _counting(
    event: str, unit: str, verb: str, total: int | None, *, is_quiet: bool
) -> Iterator[Callable[[int], None]]:
    shown_as = _shown_as(is_quiet=is_quiet)
    count = 0

    def advance(number: int) -> None:
        nonlocal count
        count += number

    def tell() -> None:
        _line(event, f"{count:,} {unit} {verb}", **{f"num_{unit}": count})

    if shown_as is None:
        yield advance
    elif shown_as == "lines":
        with every(LOG_LINE_SECONDS, tell):
            yield advance
    else:
        from rich import progress as rich

        bar = _bar(rich.TextColumn(f"{{task.completed:,}} {unit} {verb}"), rich.TimeElapsedColumn())
        task = bar.add_task("", total=total)
        with _live(bar):
            yield lambda number: bar.update(task, advance=number)


def _bar(*columns: ProgressColumn) -> Bar:
    from rich import progress as rich
    from rich.console import Console

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        *columns,
        console=Console(stderr=True),
        transient=True,
    )
