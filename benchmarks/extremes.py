"""Shapes that are hard to split: short row groups, documents, many columns, every codec.

pyarrow reads all into memory and writes the same row groups, or parts of equal rows. The spread is
what the largest part has over the smallest, for the mean of all; the last column is what all parts
take for a byte of the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import data
from benchmarks.measure import Measured, in_turn
from benchmarks.table import Row
from benchmarks.tools import evensplit, pyarrow_whole

CODECS = ("none", "snappy", "lz4", "zstd", "gzip", "brotli")


@dataclass(frozen=True)
class Case:
    """A file, the options of a split, and what pyarrow is told, if it is asked."""

    name: str
    source: Path
    options: str
    pyarrow: dict[str, Any] | None = None
    once: bool = False


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a case and tool, whatever the scale."""
    out = folder / "out"
    for case in cases(folder):
        commands = {"evensplit": evensplit(case.source, out, "--no-fsync", *case.options.split())}
        if case.pyarrow is not None:
            commands["pyarrow"] = pyarrow_whole(case.source, out, **case.pyarrow)
        found = in_turn(commands, out, repeats=1 if case.once else repeats)
        for tool, measured in found.items():
            yield {
                "file": case.name,
                "as": f"`{case.options}`",
                "tool": tool,
                **measured.cells(),
                **_ratio(measured, found.get("pyarrow")),
                **_parts(measured, case.source),
            }


def cases(folder: Path) -> Iterator[Case]:
    """Yield all cases; files are made as they come."""
    small = data.lineitem(folder, "many", 0.1)
    name = f"lineitem of {small.stat().st_size / 1e6:.0f} MB, row groups of 5,000 rows"
    yield Case(name, small, "--parts 1 --row-group-size 5000rows", {"row_group_rows": 5_000})
    texts = data.documents(folder, 3_000)
    name = f"3,000 documents of 20 kB, {texts.stat().st_size / 1e6:.0f} MB"
    yield Case(name, texts, "--parts 8", {"num_parts": 8})
    yield Case(name, texts, "--no-dictionary --target-size 50MB", {"dictionary": False})
    again = data.repeated_documents(folder, 3_000, 1_500)
    name = "3,000 documents, 1,500 of them in one dictionary"
    yield Case(name, again, "--parts 8", {"num_parts": 8})
    plain = {"num_parts": 2, "dictionary": False}
    yield Case(name, again, "--no-dictionary --target-size 50MB", plain)
    groups = data.short_row_groups(folder, 3_000)
    name = "3,000 row groups of one row, merged"
    yield Case(name, groups, "--parts 1 --row-group-size 128MB", {})
    wide = data.wide(folder, 10_000, 1_200)
    yield Case("10,000 columns, 1,200 rows", wide, "--parts 5", {"num_parts": 5})
    groups = data.short_row_groups(folder, 33_000)
    yield Case("33,000 row groups of one row", groups, "--parts 5")
    yield Case("33,000 row groups of one row", groups, "--parts 5 --verify")
    for codec in CODECS:
        options = f"--target-size 20MB --codec {codec}"
        yield Case("sample of `evensplit demo`", data.sample(folder), options, once=True)


def _ratio(measured: Measured, base: Measured | None) -> Row:
    if base is None:
        return {"wall ratio": None, "CPU ratio": None}
    return measured.ratio_cells(base)


def _parts(measured: Measured, source: Path) -> Row:
    sizes = measured.part_bytes
    return {
        "parts": len(sizes),
        "spread %": (max(sizes) - min(sizes)) / mean(sizes),
        "parts / source": sum(sizes) / source.stat().st_size,
    }
