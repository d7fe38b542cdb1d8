"""What the check of each part before it is published costs: the same splits with and without it.

Without it is not offered by the product: the child process here replaces the function. Seconds of
the processor stand beside the wall's, because others may use the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import TARGET_BYTES, evensplit

_MAIN = "from engine.cli.main import main; main()"
_PROGRAMS = {
    "without": (
        "from engine.formats.parquet.writers import splice\n"
        f"splice.check_part = lambda _: []\n{_MAIN}"
    ),
    "with": _MAIN,
}


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield both cuts, with and without the check."""
    source, out = lineitem(folder, "many", scale), folder / "out"
    for cut in ("row-group", "row"):
        size = ("--target-size", str(TARGET_BYTES), "--no-fsync")
        _, *words = evensplit(source, out, *size, "--cut", cut)
        commands = {name: [sys.executable, "-c", text, *words] for name, text in _PROGRAMS.items()}
        found = in_turn(commands, out, repeats=repeats)
        for name, measured in found.items():
            ratio = measured.ratio_cells(found["without"])
            yield {"cut": cut, "check": name, **measured.cells(), **ratio}
