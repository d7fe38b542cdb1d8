"""Projected against measured memory, for each path and for files of many shapes.

Every run is a process of its own, one part at a time; measured is the largest resident set that the
kernel counted, pools of Arrow and malloc included. ``python -m benchmarks projection`` prints the
table that ``docs/memory.md`` keeps; a test holds its rows to measured ≤ projected ≤ 2 × measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PATHS: dict[str, dict[str, Any]] = {
    "splice": {"parts": 2, "cut": "row-group"},
    "page cut": {"parts": 5},
    "codec": {"parts": 2, "codec": "zstd"},
    "row groups cut": {"parts": 1, "row_group_size": "20000rows"},
    "row groups merged": {"parts": 2, "row_group_size": "4GB"},
    "dictionary fallback": {"parts": 2, "dictionary": False},
    "verify": {},
    "profile": {},
}
_CHILD = """
import json, sys
import engine
from engine import memory
from engine.executors.choosing import choose_resources
from engine.verification import verify_memory_bytes
verb, source, folder, options = json.loads(sys.argv[1])
if verb == "profile":
    (found,) = engine.profile(source)
    measured = memory.own_peak_bytes()
    chunks = found.chunks
    indexes = (chunks.offset_index_bytes + chunks.column_index_bytes).sum(axis=1)
    projected = memory.profile_bytes(
        footer_bytes=found.footer_bytes,
        num_chunks=found.num_row_groups * found.num_columns,
        num_columns=found.num_columns,
        index_bytes=int(indexes.max(initial=0)),
    )
elif verb == "verify":
    engine.verify(folder, workers=1)
    measured = memory.own_peak_bytes()
    projected = verify_memory_bytes(folder, workers=1)
else:
    settings = engine.make_settings(fsync=False, **options)
    projected = choose_resources(engine.plan(source, **options), settings).run_bytes
    result = engine.split(source, folder, fsync=False, **options)
    measured = result.peak_memory_bytes
print(json.dumps([projected, measured]))
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    shape: str
    path: str
    projected_bytes: int
    measured_bytes: int

    @property
    def ratio(self) -> float:
        """Projected for one byte measured."""
        return self.projected_bytes / self.measured_bytes


def _numbers(num_rows: int) -> pa.Table:
    random = np.random.default_rng(1)
    return pa.table({f"n{i}": random.integers(0, 1 << 60, num_rows) for i in range(4)})


def _texts(num_rows: int) -> pa.Table:
    random = np.random.default_rng(2)
    data = random.integers(97, 123, num_rows * 200, dtype=np.uint8).tobytes()
    return pa.table({"text": [data[i * 200 : i * 200 + 200].decode() for i in range(num_rows)]})


def _words(num_rows: int) -> pa.Table:
    random = np.random.default_rng(3)
    words = pa.array([f"{i:0100}" for i in range(50_000)])
    return pa.table({"word": words.take(pa.array(random.integers(0, 50_000, num_rows)))})


def _lists(num_rows: int) -> pa.Table:
    random = np.random.default_rng(4)
    offsets = np.arange(0, 4 * num_rows + 1, 4, dtype=np.int32)
    values = pa.array(random.integers(0, 1 << 40, 4 * num_rows))
    texts = pa.array([str(i) for i in random.integers(0, 1 << 30, 4 * num_rows)])
    pairs = pa.StructArray.from_arrays([values, texts], names=["number", "text"])
    return pa.table({"pairs": pa.ListArray.from_arrays(pa.array(offsets), pairs)})


def _narrow(num_rows: int) -> pa.Table:
    return pa.table({f"c{i}": np.arange(num_rows) * i for i in range(20)})


def _wide(num_rows: int) -> pa.Table:
    return pa.table({f"c{i}": np.arange(num_rows) * i for i in range(1000)})


SHAPES: dict[str, tuple[Callable[[], pa.Table], dict[str, Any]]] = {
    "numbers, 20 row groups": (
        lambda: _numbers(1_000_000),
        {"row_group_size": 50_000, "use_dictionary": False},
    ),
    "numbers, 1 row group": (
        lambda: _numbers(1_000_000),
        {"row_group_size": 1 << 30, "use_dictionary": False},
    ),
    "long texts, pages of 1 MB": (
        lambda: _texts(200_000),
        {"row_group_size": 1 << 30, "use_dictionary": False, "compression": "none"},
    ),
    "long texts, one page of 40 MB": (
        lambda: _texts(200_000),
        {
            "row_group_size": 1 << 30,
            "use_dictionary": False,
            "data_page_size": 1 << 30,
            "max_rows_per_page": 1 << 30,
        },
    ),
    "words, dictionary of 5 MB": (
        lambda: _words(1_000_000),
        {"row_group_size": 250_000, "dictionary_pagesize_limit": 1 << 26},
    ),
    "lists of structs": (lambda: _lists(300_000), {"row_group_size": 100_000}),
    "400 row groups of 20 columns": (lambda: _narrow(200_000), {"row_group_size": 500}),
    "1,000 columns": (lambda: _wide(10_000), {"row_group_size": 5_000}),
}


def rows(
    folder: Path, shapes: Sequence[str] = tuple(SHAPES), paths: Collection[str] = tuple(PATHS)
) -> Iterator[Row]:
    """Measure some paths on files of some shapes, made in ``folder``."""
    for number, shape in enumerate(shapes):
        make, options = SHAPES[shape]
        source = folder / f"{number}.parquet"
        pq.write_table(make(), source, **options)
        for at, (path, wish) in enumerate(PATHS.items()):
            if path not in paths or (
                path == "splice" and pq.read_metadata(source).num_row_groups < 2
            ):
                continue
            verb = path if path in ("verify", "profile") else "split"
            parts = folder / f"{number}-{1 if verb == 'verify' else at}"
            yield Row(shape, path, *measured(verb, source, parts, {"workers": 1, **wish}))


def measured(verb: str, source: Path, parts: Path, options: dict[str, Any]) -> tuple[int, int]:
    """Return projected and measured bytes of one run, with these options of its verb."""
    argument = json.dumps([verb, str(source), str(parts), options])
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, argument], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{verb} of {source} failed: {done.stderr[-2000:]}")
    projected_bytes, measured_bytes = json.loads(done.stdout.splitlines()[-1])
    return projected_bytes, measured_bytes


def figures(folder: Path, scale: float, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the table of ``docs/memory.md``."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        for row in rows(Path(out)):
            yield {
                "file": row.shape,
                "path": row.path,
                "projected": f"{row.projected_bytes >> 20} MiB",
                "measured": f"{row.measured_bytes >> 20} MiB",
                "ratio": row.ratio,
            }
