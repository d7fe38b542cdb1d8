"""Run commands and measure them: wall, processor, peak memory of all processes, sizes of parts.

To add up a process's pages takes the kernel the longer the more it has: ten milliseconds for a few
gigabytes, and its processor. So looks are as far apart as keeps them from slowing what is measured.
Seconds of the processor are those of the command and of all processes that it waited for.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

import psutil

from benchmarks.table import Row

INTERVAL_SECONDS = 0.02
Name = TypeVar("Name")
_MAX_SHARE = 0.02  # of a processor's time, for looking
_SLOW_SECONDS = 60  # what takes longer is run once


@dataclass(frozen=True)
class Run:
    """One run; ``peak_bytes`` is the largest sum of proportional set sizes."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    returncode: int
    output: str
    part_bytes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What a command may use before it is killed."""

    memory_bytes: float = float("inf")
    seconds: float = float("inf")


_NO_LIMITS = Limits()


@dataclass(frozen=True)
class Measured:
    """All runs of one command: medians, but the largest peak."""

    runs: Sequence[Run]
    stopped: str = ""  # why there are no figures

    @property
    def wall_seconds(self) -> float:
        return statistics.median(run.wall_seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(run.cpu_seconds for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        return max(run.peak_bytes for run in self.runs)

    @property
    def part_bytes(self) -> tuple[int, ...]:
        """Sizes of the parts that the last run left."""
        return self.runs[-1].part_bytes

    def cells(self) -> Row:
        """The figures under the heads that every table has."""
        if self.stopped:
            return {"wall s": None, "CPU s": None, "peak MB": None}
        return {
            "wall s": self.wall_seconds,
            "CPU s": self.cpu_seconds,
            "peak MB": self.peak_bytes,
        }

    def part_cells(self, cap_bytes: float) -> Row:
        """Number and sizes of the parts, and how many are over the cap."""
        sizes = self.part_bytes
        over = sum(size > cap_bytes for size in sizes)
        kept = "no" if sizes else None
        return {
            "parts": len(sizes) or None,
            "smallest MB": min(sizes, default=None),
            "largest MB": max(sizes, default=None),
            "over the cap": self.stopped or (f"{over} of {len(sizes)}" if over else kept),
        }

    def ratio_cells(self, base: Measured) -> Row:
        """Wall and processor for one of the other's: medians of the rounds' ratios."""
        pairs = list(zip(self.runs, base.runs, strict=False))
        return {
            "wall ratio": statistics.median(a.wall_seconds / b.wall_seconds for a, b in pairs),
            "CPU ratio": statistics.median(a.cpu_seconds / b.cpu_seconds for a, b in pairs),
        }


def run(command: Sequence[str], limits: Limits = _NO_LIMITS) -> Run:
    """Run a command to its end, or to the limits."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0)
        peak, ended = [0], Event()
        looking = Thread(target=_look, args=(process.pid, limits, peak, ended))
        looking.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            ended.set()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            looking.join()
        output.seek(0)
        return Run(
            wall_seconds=wall_seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=peak[0],
            returncode=process.returncode,
            output=output.read(),
        )


def in_turn(
    commands: Mapping[Name, Sequence[str]],
    out: Path,
    *,
    repeats: int,
    limits: Limits | None = None,
    before_each: Callable[[], None] | None = None,
    parts: str = "*.parquet",
) -> dict[Name, Measured]:
    """Run commands in turn, so that a slow minute hits all of them, each with ``out`` empty.

    A first round warms caches up and does not count, unless one round is all; what takes over a
    minute is run once. A failure is the end; with limits a command may fail, and all rounds count.
    ``parts`` is a glob of what a run leaves that counts as its parts.
    """
    found: dict[Name, Measured] = {name: Measured([]) for name in commands}
    num_warm = 0 if limits or repeats == 1 else 1
    for number in range(num_warm + repeats):
        for name, command in commands.items():
            before = found[name].runs
            if before and (found[name].stopped or _is_slow(before[-1])):
                continue
            empty(out)
            if before_each:
                before_each()
            done = _with_parts(run(command, limits or _NO_LIMITS), out.rglob(parts))
            print(f"  {name}: {done.wall_seconds:.2f} s", file=sys.stderr, flush=True)
            if done.returncode and not limits:
                sys.exit(f"{name} failed ({done.returncode}): {done.output[-2000:]}")
            if number >= num_warm or _is_slow(done):
                stopped = _why_stopped(done, limits) if limits and done.returncode else ""
                found[name] = Measured([*before, done], stopped)
    return found


def empty(folder: Path) -> None:
    """Make a folder, or make it empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _is_slow(done: Run) -> bool:
    return done.wall_seconds > _SLOW_SECONDS


def _why_stopped(done: Run, limits: Limits) -> str:
    if done.peak_bytes > limits.memory_bytes:
        return f"stopped: over {limits.memory_bytes / 1e9:.0f} GB of memory"
    if done.wall_seconds > limits.seconds:
        return f"stopped: over {limits.seconds:.0f} s"
    print(done.output[-2000:], file=sys.stderr)
    return f"failed: exit code {done.returncode}"


def _with_parts(done: Run, parts: Iterable[Path]) -> Run:
    sizes = tuple(path.stat().st_size for path in sorted(parts) if path.is_file())
    values = {**vars(done), "part_bytes": () if done.returncode else sizes}
    return Run(**values)


def _look(pid: int, limits: Limits, peak: list[int], ended: Event) -> None:
    started, pause = time.perf_counter(), 0.0
    while not ended.wait(pause):
        look = time.thread_time()
        peak[0] = max(peak[0], _family_bytes(pid))
        late = time.perf_counter() - started > limits.seconds
        if late or peak[0] > limits.memory_bytes:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        pause = max(INTERVAL_SECONDS, (time.thread_time() - look) / _MAX_SHARE)


def _family_bytes(pid: int) -> int:
    total = 0
    with suppress(OSError, IndexError, psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            rollup = Path(f"/proc/{member.pid}/smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0]) << 10
    return total
