"""Splitting inside a memory control group: does it finish where others are killed?

Needs root and cgroup v1 (``/sys/fs/cgroup/memory``). The limit counts every process and the page
cache that cannot be reclaimed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.data import lineitem

CONTROLLER = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 512 << 20


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print whether a split of one giant row group finishes under the limit, and its high mark."""
    if not os.access(CONTROLLER, os.W_OK):
        print("memory: no writable cgroup v1 memory controller here; not measured")
        return
    source = lineitem(folder, "one", scale)
    parts = folder / "out" / "parts"
    shutil.rmtree(parts, ignore_errors=True)
    group = CONTROLLER / f"evensplit-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        tool = Path(sys.executable).with_name("evensplit")
        command = f"echo $$ > {group}/cgroup.procs; exec {tool} split {source} {parts} --no-fsync"
        started = time.perf_counter()
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        wall_seconds = time.perf_counter() - started
        stat = dict(
            line.split() for line in (group / "memory.stat").read_text().splitlines() if line
        )
        print(
            f"one row group of {source.stat().st_size / 1e9:.2f} GB inside {LIMIT_BYTES >> 20} "
            f"MiB: exit code {done.returncode}, {wall_seconds:.1f} s, "
            f"{int(stat['total_rss']) >> 20} MiB resident at the end, "
            f"failed charges {(group / 'memory.failcnt').read_text().strip()} (page cache given "
            "back)\n" + (done.stderr if done.returncode else done.stdout)
        )
    finally:
        group.rmdir()
