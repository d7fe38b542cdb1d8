"""Splitting inside a memory control group: does it finish where others are killed?

Needs root and cgroup v1 (``/sys/fs/cgroup/memory``). The limit counts every process and the page
cache that cannot be reclaimed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import empty, run
from benchmarks.table import Row
from benchmarks.tools import evensplit

CONTROLLER = Path("/sys/fs/cgroup/memory")


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield whether a split of one giant row group finishes in 512 MiB, and the high mark."""
    out = folder / "out"
    split = evensplit(lineitem(folder, "one", scale), out, "--no-fsync")
    yield from inside(512 << 20, {"one row group": split}, out)


def inside(limit_bytes: int, commands: Mapping[str, Sequence[str]], out: Path) -> Iterator[Row]:
    """Run each command in a group of its own; the high mark counts page cache too."""
    if not os.access(CONTROLLER, os.W_OK):
        sys.exit("no writable cgroup v1 memory controller here")
    for name, command in commands.items():
        empty(out)
        with control_group(limit_bytes) as group:
            done = run(entering(group, command))
            high_mark_bytes = int((group / "memory.max_usage_in_bytes").read_text())
        yield {
            f"in {limit_bytes >> 20} MiB": name,
            "exit code": done.returncode,
            "wall s": done.wall_seconds,
            "CPU s": done.cpu_seconds,
            "peak MB": done.peak_bytes,
            "with page cache MB": high_mark_bytes,
            "it said": "; ".join(done.output.splitlines()[-2:]),
        }


def entering(group: Path, command: Sequence[str]) -> list[str]:
    """Return a command that is run inside a control group."""
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]


@contextmanager
def control_group(limit_bytes: int) -> Iterator[Path]:
    """Make a control group with a limit, for processes that enter it; it is removed in the end."""
    group = CONTROLLER / f"evensplit-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group as soon as its last process, which may be just ending, has gone."""
    for _ in range(50):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
