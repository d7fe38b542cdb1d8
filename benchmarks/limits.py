"""Every verb on files of every kind, each in a control group with the memory that was projected.

``python -m benchmarks.limits [FILE[:PATH,PATH] …]`` measures these, or all, keeps what it found in
build/bench/limits, and writes the page's tables from all that is there: it can be done in pieces.

Cells are projected over measured memory. What is projected is all that the kernel gives: a cell
``killed`` was promised too little; one under 1 too little as well, though libraries that others
have loaded saved it; and one over 2 was promised more than twice its need.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks.memory import control_group, entering
from benchmarks.record import FOLDER
from benchmarks.table import Row, table

PAGE = Path("docs/memory.md")
BEGIN, END = "<!-- begin: written by make limits -->", "<!-- end: written by make limits -->"
RECORDS = FOLDER / "limits"
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
_LINE_SPLITS: dict[str, dict[str, Any]] = {
    "split": {"parts": 3},
    "codec": {"parts": 2, "codec": "gzip", "codec_level": 1},
    "no codec": {"parts": 3, "codec": "none"},
    "counted": {"parts": 3, "count_records": True},
    "to Parquet": {"parts": 2, "to": "parquet"},
}
# Of each: the verb, and options of a split; what is proved, one of the splits made.
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan", _SPLITS["split"]),
    **{name: ("split", options) for name, options in _SPLITS.items()},
    "verify": ("verify", _SPLITS["split"]),
    "verify merged": ("verify", _SPLITS["merged groups"]),
    "profile": ("profile", {}),
    "profile key": ("profile key", {}),
}
LINE_PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan", _LINE_SPLITS["split"]),
    **{name: ("split", options) for name, options in _LINE_SPLITS.items()},
    "verify": ("verify", _LINE_SPLITS["split"]),
    "verify Parquet": ("verify", _LINE_SPLITS["to Parquet"]),
}
# Asks for what is projected of several paths, without a limit; an error is told by its name.
_PROJECTED = """
import json, sys
import engine
from engine import memory
from engine.formats.parquet.profiler.keys import key_tasks
from engine.executors.choosing import choose_resources
from engine.verification import verify_memory_bytes

def profile_bytes(source):
    return max(
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

def projected(verb, source, folder, options, column):
    if verb == "profile":
        return profile_bytes(source)
    if verb == "profile key":
        tasks = key_tasks(engine.find_sources(source), column, 16)
        return memory.KEY_PROCESS_BYTES + max(task.memory_bytes for task in tasks)
    if verb == "verify":
        engine.split(source, folder, fsync=False, workers=1, **options)
        return verify_memory_bytes(folder, workers=1)
    settings = engine.make_settings(workers=1, **options)
    return choose_resources(engine.plan(source, **options), settings).run_bytes

def answer(about):
    try:
        return projected(*about)
    except engine.EvensplitError as error:
        return type(error).__name__

print(json.dumps([answer(about) for about in json.loads(sys.argv[1])]))
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
    "like lineitem": (lambda: _lineitem(300_000), {"row_group_size": 100_000}),
    "runs": (lambda: pa.table({"a": np.arange(3_000_000) // 200_000}), ONE_GROUP | ONE_PAGE),
    "zeros": (
        lambda: pa.table({"a": np.zeros(4 << 20, np.int64)}),
        ONE_GROUP | ONE_PAGE | PLAIN | {"compression": "zstd"},
    ),
    "giant values": (
        lambda: pa.table({"a": [bytes([97 + i]) * (6 << 20) for i in range(9)]}),
        ONE_GROUP | PLAIN,
    ),
    "large values apart": (
        lambda: pa.table({"a": [np.random.default_rng(i).bytes(16 << 20) for i in range(4)]}),
        ONE_GROUP | PLAIN | {"data_page_size": 1, "write_batch_size": 1},
    ),
    "a large page": (
        lambda: pa.table({"a": _random(6, 3 << 20)}),
        ONE_GROUP | ONE_PAGE | PLAIN,
    ),
    "texts in a page": (
        lambda: _dictionary(1 << 17, 200, 1 << 17),
        ONE_GROUP | ONE_PAGE | PLAIN,
    ),
    "a large dictionary": (
        lambda: _dictionary(1 << 15, 800, 1 << 19),
        ONE_GROUP | {"dictionary_pagesize_limit": 1 << 30},
    ),
    "coded texts in a page": (
        lambda: _dictionary(1000, 100, 1 << 20),
        ONE_GROUP | ONE_PAGE,
    ),
    "deltas of numbers": (
        lambda: pa.table({"a": np.arange(3 << 20)}),
        ONE_GROUP | ONE_PAGE | PLAIN | {"column_encoding": {"a": "DELTA_BINARY_PACKED"}},
    ),
    "deltas of texts": (
        lambda: _urls(3 << 17),
        ONE_GROUP | ONE_PAGE | PLAIN | {"column_encoding": {"a": "DELTA_BYTE_ARRAY"}},
    ),
    "wide": (
        lambda: pa.table({"a" if not i else f"c{i}": _random(i, 1000) for i in range(1500)}),
        {"row_group_size": 500},
    ),
    "deep": (lambda: _deep(100_000), {"row_group_size": 50_000}),
    "many row groups": (
        lambda: pa.table({"a" if not i else f"c{i}": _random(i, 30_000) for i in range(20)}),
        {"row_group_size": 60},
    ),
    "many files": (lambda: _lineitem(2000), {}),
}
_NUM_FILES = 40


def _csv(path: Path) -> None:
    pc.write_csv(_lineitem(400_000), path, pc.WriteOptions(quoting_style="none"))


def _quoted_csv(path: Path) -> None:
    numbers = _random(7, 250_000).tolist()
    rows = (f'{at},"text, of {number:x}\nand ""more"""\n' for at, number in enumerate(numbers))
    path.write_text("a,text\n" + "".join(rows))


def _ndjson(path: Path) -> None:
    numbers = _random(8, 250_000).tolist()
    rows = (f'{{"a": {at}, "b": "text of {it:x}", "c": null}}\n' for at, it in enumerate(numbers))
    path.write_text("".join(rows))


def _gzip_csv(path: Path) -> None:
    _csv(path)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))


# How each is written, and how its name ends.
LINE_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "CSV": (_csv, ".csv"),
    "CSV with quotes": (_quoted_csv, ".csv"),
    "NDJSON": (_ndjson, ".ndjson"),
    "CSV by gzip": (_gzip_csv, ".csv.gz"),
}
TABLES = ((FILES, PATHS), (LINE_FILES, LINE_PATHS))


class Cell(NamedTuple):
    """What became of a verb in a group with the memory that was projected for it."""

    projected_bytes: int
    measured_bytes: int
    told: str  # where there is no ratio: why

    @property
    def ratio(self) -> float:
        """Projected over measured memory."""
        return self.projected_bytes / self.measured_bytes

    @property
    def text(self) -> str:
        """The ratio, in bold where it is wrong; or in a word why there is none."""
        if self.told:
            return self.told
        return f"{self.ratio:.2f}" if 1 <= self.ratio <= MOST_RATIO else f"**{self.ratio:.2f}**"

    @property
    def is_right(self) -> bool:
        """Whether it was neither promised less than its need nor more than twice that."""
        return self.told in (FITS, NO_PART) or not (self.told or self.text.startswith("*"))


def paths_of(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the paths that are tried on the file of a name."""
    return next(paths for files, paths in TABLES if name in files)


def write_source(name: str, folder: Path) -> Path:
    """Write the file, or the folder of files, of a name."""
    stem = name.replace(" ", "-")
    if name in LINE_FILES:
        write, suffix = LINE_FILES[name]
        write(folder / f"{stem}{suffix}")
        return folder / f"{stem}{suffix}"
    make, options = FILES[name]
    source = folder / f"{stem}.parquet"
    if name == "many files":
        source = source.with_suffix("")
        source.mkdir()
        for number in range(_NUM_FILES):
            pq.write_table(make(), source / f"{number}.parquet", **options)
    else:
        pq.write_table(make(), source, **options)
    return source


def measured(
    name: str, source: Path, folder: Path, paths: Sequence[str] = ()
) -> Iterator[tuple[str, Cell]]:
    """Yield what becomes of paths on a source, by default of all; ``folder`` is for parts."""
    wanted = paths or tuple(paths_of(name))
    calls = [paths_of(name)[path] for path in wanted]
    about = [
        [verb, str(source), str(folder / f"parts-{at}"), options, "a"]
        for at, (verb, options) in enumerate(calls)
    ]
    asked = _run(_PROJECTED, about)
    if asked.returncode:
        raise RuntimeError(f"{name}: {asked.stderr}")
    for path, call, projected in zip(wanted, about, json.loads(asked.stdout), strict=True):
        if isinstance(projected, str):
            is_no_part = projected in ("TargetTooSmall", "BadSetting")
            yield path, Cell(0, 0, NO_PART if is_no_part else projected)
        else:
            yield path, _cell(call, projected)
        shutil.rmtree(call[2], ignore_errors=True)


def _cell(about: list[Any], projected_bytes: int) -> Cell:
    with control_group(projected_bytes) as group:
        done = _run(_DONE, [*about, projected_bytes], group)
    if done.returncode == 0:
        # What is projected for a plan is what its split takes.
        told = FITS if about[0] == "plan" else ""
        return Cell(projected_bytes, int(done.stdout.splitlines()[-1]), told)
    lines = done.stderr.strip().splitlines() or [""]
    is_killed = done.returncode < 0 or "MemoryError" in done.stderr or "WorkersLost" in lines[-1]
    return Cell(projected_bytes, 0, KILLED if is_killed else lines[-1][:200])


def _run(
    code: str, about: Sequence[Any], group: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, json.dumps(about)]
    if group is not None:
        command = entering(group, command)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _record_of(name: str) -> Path:
    return RECORDS / f"{name.replace(' ', '-')}.json"


def measure(name: str, paths: Sequence[str], folder: Path) -> None:
    """Measure paths on a file, by default all; print each cell, and keep it with the day."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        source = write_source(name, Path(made))
        for path, cell in measured(name, source, Path(made), paths):
            sizes = f"{cell.projected_bytes >> 20} of {cell.measured_bytes >> 20} MiB"
            print(f"{name}, {path}: {cell.text} ({sizes})", flush=True)
            cells = _recorded(name) | {path: [*cell, f"{datetime.now(UTC):%Y-%m-%d}"]}
            _record_of(name).write_text(json.dumps(cells, indent=1))


def _recorded(name: str) -> dict[str, Any]:
    """Return of each path on a file the cell and the day, as they are kept."""
    path = _record_of(name)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def recorded() -> tuple[dict[str, dict[str, Cell]], list[str]]:
    """Return the cells that were measured, of all files, and the days of it."""
    kept = {name: _recorded(name) for files, _ in TABLES for name in files}
    days = {cell[-1] for cells in kept.values() for cell in cells.values()}
    found = {
        name: {path: Cell(*cell[:-1]) for path, cell in cells.items()}
        for name, cells in kept.items()
    }
    return found, sorted(days)


def written(found: dict[str, dict[str, Cell]], days: Sequence[str]) -> str:
    """Return what the page says: how many cells, how many are wrong, and the tables."""
    cells = [cell for of_file in found.values() for cell in of_file.values()]
    done = [cell for cell in cells if cell.told != NO_PART]
    killed = sum(cell.told == KILLED for cell in done)
    refused = sum(cell.told not in ("", FITS, KILLED) for cell in done)
    ratios = [cell.ratio for cell in done if not cell.told]
    over, under = (sum(it > MOST_RATIO for it in ratios), sum(it < 1 for it in ratios))
    tables = "\n\n".join(_table(found, files, paths) for files, paths in TABLES)
    return (
        f"{' and '.join(sorted({*days}))}: {len(done)} cells; {killed} "
        f"killed, {under} of less than the need, {over} of more than twice the need, {refused} "
        f"refused or failed.\n\n{tables}"
    )


def _table(found: dict[str, dict[str, Cell]], files: Iterable[str], paths: Iterable[str]) -> str:
    rows: list[Row] = [
        {"file": name, **{it: found[name][it].text if it in found[name] else "" for it in paths}}
        for name in files
    ]
    return table(rows)


def main() -> None:
    """Measure the files that are named, or all, and write the page's tables from all records."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for word in sys.argv[1:] or [name for files, _ in TABLES for name in files]:
        name, _, paths = word.partition(":")
        measure(name, tuple(filter(None, paths.split(","))), FOLDER)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{written(*recorded())}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
