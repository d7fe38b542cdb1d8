"""Run a command and measure it: wall time, and peak memory of all its processes together.

To add up a process's pages takes the kernel the longer the more it has: ten milliseconds for a few
gigabytes, and its processor. So looks are as far apart as keeps them from slowing what is measured.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL_SECONDS = 0.02
_MAX_SHARE = 0.02  # of a processor's time, for looking


@dataclass(frozen=True)
class Run:
    """One run: seconds from start to end, and the largest sum of proportional set sizes."""

    wall_seconds: float
    peak_bytes: int
    returncode: int
    output: str


def run(command: Sequence[str]) -> Run:
    """Run a command to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak_bytes = 0
    ended = None
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        look = time.thread_time()
        peak_bytes = max(peak_bytes, _family_bytes(watched))
        try:
            process.wait(max(INTERVAL_SECONDS, (time.thread_time() - look) / _MAX_SHARE))
        except subprocess.TimeoutExpired:
            continue
        ended = time.perf_counter()
    output = process.stdout.read() if process.stdout else ""
    return Run((ended or time.perf_counter()) - started, peak_bytes, process.returncode, output)


def _family_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        for member in (process, *process.children(recursive=True)):
            rollup = Path(f"/proc/{member.pid}/smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0]) << 10
    except (OSError, IndexError, psutil.Error):
        pass
    return total


@dataclass(frozen=True)
class Median:
    """Median wall time and largest peak of several runs."""

    wall_seconds: float
    peak_bytes: int


def medians(
    commands: dict[str, Sequence[str]], *, repeats: int, before_each: Callable[[], None]
) -> dict[str, Median]:
    """Run commands in turn, so that a slow minute hits all of them; return the medians.

    The first round warms caches up and does not count.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(repeats + 1):
        for name, command in commands.items():
            before_each()
            done = run(command)
            if done.returncode:
                sys.exit(f"{name} failed ({done.returncode}): {done.output[-2000:]}")
            if number:
                runs[name].append(done)
            print(f"  {name}: {done.wall_seconds:.2f} s", file=sys.stderr, flush=True)
    return {
        name: Median(
            statistics.median(item.wall_seconds for item in items),
            max(item.peak_bytes for item in items),
        )
        for name, items in runs.items()
    }
