"""Splitting against copying: the same file, ``cp`` and evensplit in turn, with and without sync.

Without sync both write into memory, so the processor is what counts; with sync both wait for the
disk. The goal is for one of cp's: wall, then processor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import TARGET_BYTES, evensplit

CASES = (  # layout, cut, goals
    ("many", "row-group", "1.3, 1.8"),
    ("many", "row", "2.0, 3.0"),
    ("31", "row", "2.0, 3.0"),
    ("one", "row", "2.2, 3.5"),
)


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield wall, processor and memory of each case, and the ratios to ``cp``."""
    out = folder / "out"
    for layout, cut, goals in CASES:
        source, copied = lineitem(folder, layout, scale), out / "copy.parquet"
        split = evensplit(source, out, "--target-size", str(TARGET_BYTES), "--cut", cut)
        found = in_turn(
            {
                "cp": ["cp", str(source), str(copied)],
                "split --no-fsync": [*split, "--no-fsync"],
                "cp and sync": ["sh", "-c", f"cp {source} {copied} && sync {copied}"],
                "split": split,
            },
            out,
            repeats=repeats,
        )
        manifest = json.loads((out / "parts/_evensplit/manifest.json").read_text())
        encoded_bytes = sum(part["reencoded_bytes"] for part in manifest["parts"])
        for name, measured in found.items():
            base = found["cp" if "fsync" in name or name == "cp" else "cp and sync"]
            is_split = name.startswith("split")
            yield {
                "row groups": layout,
                "cut": cut,
                "": name,
                **measured.cells(),
                **measured.ratio_cells(base),
                "goal": goals if is_split else None,
                **(measured.part_cells(TARGET_BYTES) if is_split else dict.fromkeys(_PARTS)),
                "re-encoded %": encoded_bytes / sum(measured.part_bytes) if is_split else None,
            }


_PARTS = ("parts", "smallest MB", "largest MB", "over the cap")
