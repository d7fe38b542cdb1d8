"""Every verb on files of every kind, each in a control group with the memory that was projected.

Cells are projected over measured memory. What is projected is all that the kernel gives: a cell
``killed`` was promised too little, and one over 2 was promised more than twice its need.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import control_group
from benchmarks.record import load
from benchmarks.table import Row, table

PAGE = Path("docs/memory.md")
BEGIN, END = "<!-- begin: written by make limits -->", "<!-- end: written by make limits -->"
FITS, KILLED, NO_PART = "fits", "killed", "no part"
MOST_RATIO = 2.0
ONE_PAGE = {"data_page_size": 1 << 30, "max_rows_per_page": 1 << 30, "write_batch_size": 1 << 30}
ONE_GROUP = {"row_group_size": 1 << 30}
PLAIN = {"use_dictionary": False}
_SPLITS: dict[str, dict[str, Any]] = {
    "split": {"parts": 3},
    "row groups": {"parts": 2, "cut": "row-group"},
    "codec": {"parts": 2, "codec": "gzip", "codec_level": 1},
    "no codec": {"parts": 3, "codec": "none"},
    "cut groups": {"parts": 1, "row_group_size": "20000rows"},
    "merged groups": {"parts": 1, "row_group_size": "4GB"},
    "no dictionary": {"parts": 2, "dictionary": False},
    "dictionary": {"parts": 2, "dictionary": True},
    "other pages": {"parts": 2, "data_page_version": 2},
}
# Of each: the verb, and options of a split; what is proved, ``split`` or ``merged groups`` made.
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan", _SPLITS["split"]),
    **{name: ("split", options) for name, options in _SPLITS.items()},
    "verify": ("verify", _SPLITS["split"]),
    "verify merged": ("verify", _SPLITS["merged groups"]),
    "profile": ("profile", {}),
    "profile key": ("profile key", {}),
}
# Asks for what is projected; without a limit.
_PROJECTED = """
import json, sys
import engine
from engine import memory
from engine.formats.parquet.profiler.keys import key_tasks
from engine.splitter import choose_resources
from engine.verification import verify_memory_bytes
verb, source, folder, options, column = json.loads(sys.argv[1])
if verb == "profile":
    memory_bytes = max(
        memory.profile_bytes(
            footer_bytes=found.footer_bytes,
            num_chunks=found.num_row_groups * found.num_columns,
            num_columns=found.num_columns,
            index_bytes=int(
                (found.chunks.offset_index_bytes + found.chunks.column_index_bytes)
                .sum(axis=1).max(initial=0)
            ),
        )
        for found in engine.profile(source)
    )
elif verb == "profile key":
    tasks = key_tasks(engine.find_sources(source), column, 16)
    memory_bytes = memory.KEY_PROCESS_BYTES
    memory_bytes += max(task.memory_bytes for task in tasks)
elif verb == "verify":
    engine.split(source, folder, fsync=False, **options)
    memory_bytes = verify_memory_bytes(folder, workers=1)
else:
    settings = engine.make_settings(workers=1, **options)
    memory_bytes = choose_resources(engine.plan(source, **options), settings).run_bytes
print(memory_bytes)
"""
# Does it in a group that limits it; the kernel alone knows the limit, and the budget is as given.
_DONE = """
import json, sys
import engine
from engine import memory
memory.cgroups = lambda root=None: iter(())
verb, source, folder, options, column, memory_bytes = json.loads(sys.argv[1])
peak_bytes = 0
if verb == "profile":
    engine.profile(source)
elif verb == "profile key":
    engine.profile_key(source, column, workers=1)
elif verb == "verify":
    engine.verify(folder, workers=1, memory=memory_bytes)
elif verb == "plan":
    engine.plan(source, memory=memory_bytes, **options)
else:
    result = engine.split(source, folder, fsync=False, memory=memory_bytes, **options)
    peak_bytes = result.peak_memory_bytes
print(max(peak_bytes, memory.own_peak_bytes()))
"""


def _random(seed: int, *size: int) -> Any:
    return np.random.default_rng(seed).integers(0, 1 << 60, size)


def _dictionary(num_entries: int, width: int, num_rows: int) -> pa.Table:
    digits = np.random.default_rng(1).integers(97, 123, num_entries * width, dtype=np.uint8)
    offsets = pa.array(np.arange(0, (num_entries + 1) * width, width, dtype=np.int32))
    words = pa.StringArray.from_buffers(num_entries, offsets.buffers()[1], pa.py_buffer(digits))
    indices = pa.array(np.random.default_rng(2).integers(0, num_entries, num_rows), pa.int32())
    return pa.table({"a": pa.DictionaryArray.from_arrays(indices, words)})


def _deep(num_rows: int) -> pa.Table:
    numbers = _random(3, 8 * num_rows)
    inner = pa.ListArray.from_arrays(
        np.arange(0, 8 * num_rows + 1, 2, dtype=np.int32),
        pa.array(numbers, mask=numbers % 7 == 0),
    )
    pairs = pa.StructArray.from_arrays([inner, pa.array(numbers[::2])], names=["x", "y"])
    lists = pa.ListArray.from_arrays(np.arange(0, 4 * num_rows + 1, 4, dtype=np.int32), pairs)
    return pa.table({"a": np.arange(num_rows), "deep": lists})


def _lineitem(num_rows: int) -> pa.Table:
    random = np.random.default_rng(4)
    return pa.table(
        {
            "a": np.sort(random.integers(0, num_rows // 4, num_rows)),
            "price": random.integers(0, 1 << 24, num_rows) / 100,
            "flag": pa.array(["N", "R", "A"]).take(pa.array(random.integers(0, 3, num_rows))),
            "comment": [f"{number:x} carefully" for number in _random(5, num_rows).tolist()],
            "some": pa.array(np.arange(num_rows), mask=np.arange(num_rows) % 3 == 0),
        }
    )


def _urls(num_rows: int) -> pa.Table:
    return pa.table({"a": [f"https://example.com/{'same/' * 10}{i:012}" for i in range(num_rows)]})


Make = Callable[[], pa.Table]
FILES: dict[str, tuple[Make, dict[str, Any]]] = {
    "like lineitem": (lambda: _lineitem(600_000), {"row_group_size": 200_000}),
    "runs": (lambda: pa.table({"a": np.arange(8_000_000) // 500_000}), ONE_GROUP | ONE_PAGE),
    "zeros": (
        lambda: pa.table({"a": np.zeros(16 << 20, np.int64)}),
        ONE_GROUP | ONE_PAGE | PLAIN | {"compression": "zstd"},
    ),
    "giant values": (
        lambda: pa.table({"a": [bytes([97 + i]) * (6 << 20) for i in range(16)]}),
        ONE_GROUP | PLAIN,
    ),
    "a page of 64 MB": (
        lambda: pa.table({"a": _random(6, 8 << 20)}),
        ONE_GROUP | ONE_PAGE | PLAIN,
    ),
    "texts in a page": (
        lambda: _dictionary(1 << 18, 200, 1 << 18),
        ONE_GROUP | ONE_PAGE | PLAIN,
    ),
    "a dictionary of 64 MB": (
        lambda: _dictionary(1 << 16, 1000, 1 << 20),
        ONE_GROUP | {"dictionary_pagesize_limit": 1 << 30},
    ),
    "coded texts in a page": (
        lambda: _dictionary(1000, 100, 4 << 20),
        ONE_GROUP | ONE_PAGE,
    ),
    "deltas of numbers": (
        lambda: pa.table({"a": np.arange(8 << 20)}),
        ONE_GROUP | ONE_PAGE | PLAIN | {"column_encoding": {"a": "DELTA_BINARY_PACKED"}},
    ),
    "deltas of texts": (
        lambda: _urls(1 << 20),
        ONE_GROUP | ONE_PAGE | PLAIN | {"column_encoding": {"a": "DELTA_BYTE_ARRAY"}},
    ),
    "wide": (
        lambda: pa.table({"a" if not i else f"c{i}": _random(i, 1000) for i in range(3000)}),
        {"row_group_size": 500},
    ),
    "deep": (lambda: _deep(300_000), {"row_group_size": 150_000}),
    "many row groups": (
        lambda: pa.table({"a" if not i else f"c{i}": _random(i, 60_000) for i in range(20)}),
        {"row_group_size": 60},
    ),
    "many files": (lambda: _lineitem(3000), {}),
}
_NUM_FILES = 60


class Cell(NamedTuple):
    """What became of a verb in a group with the memory that was projected for it."""

    projected_bytes: int
    measured_bytes: int
    told: str  # where there is no ratio: why

    @property
    def text(self) -> str:
        """The ratio, in bold where it is wrong; or in a word why there is none."""
        if self.told:
            return self.told
        ratio = self.projected_bytes / self.measured_bytes
        return f"{ratio:.2f}" if ratio <= MOST_RATIO else f"**{ratio:.2f}**"

    @property
    def is_right(self) -> bool:
        """Whether it was neither killed nor promised more than twice its need."""
        return self.told in (FITS, NO_PART) or not (self.told or self.text.startswith("*"))


def write_source(name: str, folder: Path) -> Path:
    """Write the file, or the folder of files, of a name."""
    make, options = FILES[name]
    source = folder / f"{name.replace(' ', '-')}.parquet"
    if name == "many files":
        source = source.with_suffix("")
        source.mkdir()
        for number in range(_NUM_FILES):
            pq.write_table(make(), source / f"{number}.parquet", **options)
    else:
        pq.write_table(make(), source, **options)
    return source


def measured(path: str, source: Path, folder: Path) -> Cell:
    """Return what becomes of a path on a source; parts are left in ``folder``."""
    verb, options = PATHS[path]
    about = [verb, str(source), str(folder), options, "a"]
    asked = _run(_PROJECTED, about)
    if asked.returncode:
        kind = asked.stderr.strip().splitlines()[-1].partition(":")[0].rpartition(".")[2]
        return Cell(0, 0, NO_PART if kind in ("TargetTooSmall", "BadSetting") else kind)
    projected_bytes = int(asked.stdout.splitlines()[-1])
    with control_group(projected_bytes) as group:
        done = _run(_DONE, [*about, projected_bytes], group)
    if done.returncode == 0:
        # What is projected for a plan is what its split takes.
        told = FITS if verb == "plan" else ""
        return Cell(projected_bytes, int(done.stdout.splitlines()[-1]), told)
    lines = done.stderr.strip().splitlines() or [""]
    is_killed = done.returncode < 0 or "MemoryError" in done.stderr or "WorkersLost" in lines[-1]
    return Cell(projected_bytes, 0, KILLED if is_killed else lines[-1][:200])


def _run(
    code: str, about: Sequence[Any], group: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, json.dumps(about)]
    if group is not None:
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a file: of each path the ratio, or what went wrong."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for name in FILES:
            source = write_source(name, Path(made))
            row: Row = {"file": name}
            for path in PATHS:
                parts = Path(made) / "parts"
                row[path] = measured(path, source, parts).text
                shutil.rmtree(parts, ignore_errors=True)
            yield row


def written(rows: Sequence[Row], day: str) -> str:
    """Return what the page says of rows: how many cells, how many are wrong, and the table."""
    cells = [str(row[path]) for row in rows for path in PATHS if row.get(path)]
    done = [text for text in cells if text != NO_PART]
    killed = sum(text == KILLED for text in done)
    over = sum(text.startswith("**") for text in done)
    refused = sum(text[0] not in "*0123456789" and text not in (FITS, KILLED) for text in done)
    return (
        f"{day}: {len(done)} cells; {killed} killed, {over} of more than twice the need, {refused} "
        f"refused or failed.\n\n{table(rows)}"
    )


def main() -> None:
    """Write the page's table from the last record."""
    record = load("limits")
    before, rest = PAGE.read_text().split(BEGIN)
    text = written(record.rows, record.day)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
