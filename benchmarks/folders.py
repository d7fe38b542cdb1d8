"""Folders against ``cp -r``: hive partitions of a thousand sizes, a giant among dwarfs, many files.

Both write into memory (``--no-fsync``), so that the processor is what counts. The goals are for
one of cp's wall, or in seconds and bytes of their own. The spread is what the largest part has over
the smallest, for the mean, in the partition where it is worst. ``equal``: DuckDB and pyarrow find
the source's rows in the parts, by partition, and all in order.

The program's start and a look at each footer are what ``cp`` has not,
which copies a gigabyte in that time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from benchmarks import data
from benchmarks.measure import in_turn
from benchmarks.table import Row
from benchmarks.tools import EVENSPLIT, TARGET_BYTES, evensplit

MANIFEST = "_evensplit/manifest.json"
_OF_PARTITION = """
SELECT {columns} count(*), min(id), max(id), sum(CAST(amount * 1e9 AS BIGINT)), count(DISTINCT text)
FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true) GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Case:
    """A folder, the columns that are in the names of its folders, and the goals."""

    name: str
    make: Callable[[Path, float], Path]
    columns: tuple[str, ...] = ()
    goal: str = "wall 1.5"
    plan_goal: str = ""


CASES = (
    Case("hive, 3 levels, 2,000 files, 1,000 : 1", data.hive, ("year", "month", "region")),
    Case("one of 1 GB, 500 of 1 MB", data.giant_and_dwarfs, goal="wall 1.5, spread 2%"),
    Case("10,000 of 100 kB", data.many_files, goal="60 s, 400 MB", plan_goal="10 s"),
)


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a folder and command; sizes are the goals' at a scale of 10."""
    out = folder / "out"
    for case in CASES:
        source = case.make(folder, scale / 10)
        target = str(round(TARGET_BYTES * scale / 10))
        commands = {
            "plan": [EVENSPLIT, "plan", str(source), "--target-size", target],
            "cp -r": ["cp", "-r", str(source), str(out / "copy")],
            "split": evensplit(source, out, "--target-size", target, "--no-fsync"),
        }
        found = in_turn(commands, out, repeats=repeats)
        equal = "yes" if are_equal(source, out / "parts", case.columns) else "NO"
        for name, measured in found.items():
            is_split = name == "split"
            parts = measured.part_cells(float(target)) if is_split else dict.fromkeys(_PARTS)
            yield {
                "folder": case.name,
                "": name,
                **measured.cells(),
                **measured.ratio_cells(found["cp -r"]),
                "goal": {"plan": case.plan_goal, "split": case.goal}.get(name),
                **parts,
                "spread %": _spread(out / "parts") if is_split else None,
                "equal": equal if is_split else None,
            }


_PARTS = ("parts", "smallest MB", "largest MB", "over the cap")


def are_equal(source: Path, parts: Path, columns: tuple[str, ...]) -> bool:
    """Whether the parts have the source's rows in each partition, and the ids 0, 1, 2, ..."""
    words = "".join(f"{column}, " for column in columns)
    one, other = (
        duckdb.sql(_OF_PARTITION.format(folder=folder, columns=words)).fetchall()
        for folder in (source, parts)
    )
    first = 0
    for part in _parts(parts):
        path = parts / part["name"]
        ids = pq.read_table(path, columns=["id"], partitioning=None)["id"].to_numpy()
        if not np.array_equal(ids, np.arange(first, first + len(ids))):
            return False
        first += len(ids)
    return one == other


def _parts(parts: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((parts / MANIFEST).read_text())["parts"]
    return found


def _spread(parts: Path) -> float:
    sizes = defaultdict(list)
    for part in _parts(parts):
        sizes[part["name"].rpartition("/")[0]].append(part["size_bytes"])
    return max((max(found) - min(found)) / mean(found) for found in sizes.values())
