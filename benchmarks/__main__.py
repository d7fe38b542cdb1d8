"""``python -m benchmarks [NAME …]``: measure, print a table a benchmark, keep it in build/bench.

Without a name all that docs/performance.md shows.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.page import SECTIONS
from benchmarks.record import Record
from benchmarks.table import head, line

NAMES = (
    "azure check copy extremes floors folders large lines memory peers "
    "projection small transcode written"
).split()


def main() -> None:
    """Run the benchmarks that were named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=SECTIONS, help=", ".join(NAMES))
    parser.add_argument("--scale", type=float, default=10, help="TPC-H scale factor [10: 2.4 GB]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for inputs and parts")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        sys.exit(f"unknown benchmark {min(unknown)}; there are {', '.join(NAMES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is ended too
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        measure(name, arguments.folder, arguments.scale, arguments.repeats)
    shutil.rmtree(arguments.folder / "out", ignore_errors=True)


def measure(name: str, folder: Path, scale: float, repeats: int) -> None:
    """Run one benchmark; print and keep each row as it comes."""
    record = Record(name, scale, repeats)
    figures = import_module(f"benchmarks.{name}").figures
    for row in figures(folder, scale, repeats):
        print(line(row) if record.rows else f"\n{name}\n\n{head(row)}\n{line(row)}", flush=True)
        record.rows.append(row)
        record.save()


main()
