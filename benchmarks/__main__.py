"""``python -m benchmarks [NAME …]``: print one table a benchmark; all without a name."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks import azure, check, copy, large, memory, peers, projection, transcode

BENCHMARKS = {
    "azure": azure.main,
    "check": check.main,
    "copy": copy.main,
    "large": large.main,
    "memory": memory.main,
    "peers": peers.main,
    "projection": projection.main,
    "transcode": transcode.main,
}


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--scale", type=float, default=10, help="TPC-H scale factor [10: 2.4 GB]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for inputs and parts")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"unknown benchmark {min(unknown)}; there are {', '.join(BENCHMARKS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name](arguments.folder, arguments.scale, arguments.repeats)
    shutil.rmtree(arguments.folder / "out", ignore_errors=True)


main()
