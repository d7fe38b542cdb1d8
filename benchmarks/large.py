"""A file larger than memory, split inside a 1 GiB control group; the same copied by ``cp`` there.

The file is lineitem, spliced onto itself until it has the size wanted (``EVENSPLIT_LARGE_GB``, 30
by default), as one file of many row groups. Also one giant row group, given another codec and new
row groups there. Needs root, cgroup v1, and twice the size on disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import engine
from benchmarks.data import lineitem
from benchmarks.memory import CONTROLLER

LIMIT_BYTES = 1 << 30


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print wall times, the ratio and the group's high mark without page cache."""
    if not os.access(CONTROLLER, os.W_OK):
        print("large: no writable cgroup v1 memory controller here; not measured")
        return
    size_bytes = float(os.environ.get("EVENSPLIT_LARGE_GB", "30")) * 1e9
    source = large_file(folder, scale, size_bytes)
    tool = str(Path(sys.executable).with_name("evensplit"))
    out = folder / "out"
    print(f"{source.stat().st_size / 1e9:.1f} GB inside {LIMIT_BYTES >> 20} MiB:")
    copied_seconds = _measure("cp", ["cp", str(source), str(out / "copy.parquet")], out)
    split = [tool, "split", str(source), str(out / "parts"), "--no-fsync", "--target-size", "100MB"]
    for cut in ("row-group", "row"):
        seconds = _measure(f"split --cut {cut}", [*split, "--cut", cut], out)
        print(f"ratio {seconds / copied_seconds:.2f}", flush=True)
    one = lineitem(folder, "one", scale)
    transcode = [tool, "split", str(one), str(out / "parts"), "--no-fsync", "--codec", "zstd"]
    _measure("one giant row group to zstd", [*transcode, "--row-group-size", "128MB"], out)


def large_file(folder: Path, scale: float, size_bytes: float) -> Path:
    """Return one file of at least so many bytes, making it if it is not there."""
    small = lineitem(folder, "many", scale)
    place = folder / f"large-{size_bytes / 1e9:g}"
    if not (place / "_evensplit" / "manifest.json").exists():
        times = -(-int(size_bytes) // small.stat().st_size)
        print(f"making {place}", file=sys.stderr)
        engine.split([str(small)] * times, str(place), parts=1, cut="row-group", fsync=False)
    return next(place.glob("*.parquet"))


def _measure(what: str, command: Sequence[str], out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    group = CONTROLLER / f"evensplit-large-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        enter = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        started = time.perf_counter()
        done = subprocess.run(
            ["sh", "-c", enter, "sh", *command], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        peak = int((group / "memory.max_usage_in_bytes").read_text())
        print(f"{what}: exit code {done.returncode}, {seconds:.1f} s, high mark {peak >> 20} MiB")
        print("\n".join((done.stderr if done.returncode else done.stdout).splitlines()[-3:]))
        return seconds
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group as soon as its last process, which may be just ending, has gone."""
    for _ in range(50):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
