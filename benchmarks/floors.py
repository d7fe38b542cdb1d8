"""The least that evensplit's way of doing a job can take: its libraries' calls and nothing else.

Scripts that import what evensplit imports, and then only copy bytes to where parts lie, look for
quotes and line ends, or let pyarrow read and write. They plan nothing, check nothing and keep no
record. Where a script takes longer than a goal, evensplit cannot meet the goal this way, on this
machine; what it takes beside the script is its own. Ratios are to the first row of a job.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import data
from benchmarks.lines import DUCKDB, lineitem_text
from benchmarks.measure import in_turn
from benchmarks.small import SCALE as SMALL_SCALE
from benchmarks.table import Row
from benchmarks.tools import TARGET_BYTES, evensplit

_START = """
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import click, dask.local, numpy as np, psutil, pyarrow as pa
source, out, target = Path("{source}"), Path("{out}/parts"), {target}
out.mkdir()
"""
# What lies behind four bytes of magic begins at no multiple of a page of memory.
_COPY = """
def copy(file, number, begin, stop):
    with open(file, "rb") as given, open(out / str(number), "wb") as part:
        part.write(b"PAR1")
        part.flush()
        while begin < stop:
            begin += os.copy_file_range(given.fileno(), part.fileno(), stop - begin, begin)

def copy_all():
    size = source.stat().st_size
    cuts = [*range(0, size, target), size]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(copy, [source] * len(cuts), range(len(cuts)), cuts, cuts[1:]))
"""
_SCAN = """
def scan(begin):
    text = os.pread(given.fileno(), 512 << 10, begin)
    every = np.frombuffer(text, np.uint8)
    return len(np.flatnonzero(every == 10)), len(np.flatnonzero(every == 34))

with open(source, "rb") as given, ThreadPoolExecutor(2) as pool:
    list(pool.map(scan, range(0, source.stat().st_size, 512 << 10)))
"""
_CONVERT = """
import pyarrow.csv as pc
import pyarrow.parquet as pq
names = source.open().readline().strip().split(",")
num_bytes = 8 << 20

def convert(number):
    with open(source, "rb") as given, open(out / f"{number}.parquet", "wb") as part:
        begin, stop = (size * at // num_parts for at in (number, number + 1))
        given.seek(begin)
        given.readline()
        writer = None
        while given.tell() < stop:
            text = given.read(min(num_bytes, stop - given.tell())) + given.readline()
            whole = dict(use_threads=False, block_size=len(text) + 1)
            table = pc.read_csv(pa.BufferReader(text), pc.ReadOptions(column_names=names, **whole))
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
        writer.close()

size = source.stat().st_size
num_parts = -(-size // (4 * target))  # Parquet takes a fourth
with ThreadPoolExecutor(2) as pool:
    list(pool.map(convert, range(num_parts)))
"""
_FOLDER = """
def look_and_copy(number, file):
    with open(file, "rb") as given:
        given.seek(-min(64 << 10, file.stat().st_size), 2)
        given.read()
    copy(file, number, 0, file.stat().st_size)

files = sorted(source.rglob("*.parquet"))
with ThreadPoolExecutor(2) as pool:
    list(pool.map(look_and_copy, range(len(files)), files))
"""


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield three rows a job: what is compared with, the script, and evensplit."""
    out = folder / "out"
    many, text = data.lineitem(folder, "many", scale), lineitem_text(folder, scale / 2)
    small = data.lineitem(folder, "many", SMALL_SCALE)
    cp, cp_folder = ["cp", "{source}", "{out}/copy"], ["cp", "-r", "{source}", "{out}/copy"]
    duckdb = [sys.executable, "-c", DUCKDB]
    cases: list[tuple[str, Path, dict[str, list[str]], str, tuple[str, ...]]] = [
        ("copy", many, {"cp": cp}, _COPY + "copy_all()", ("--cut", "row-group")),
        ("a file of 10 MB", small, {}, _COPY + "copy_all()", ()),
        ("CSV with quotes", text, {"cp": cp}, _COPY + _SCAN + "copy_all()", ()),
        ("CSV to Parquet", text, {"DuckDB": duckdb}, _CONVERT, ("--to", "parquet")),
    ]
    cases += [
        (make.__name__, make(folder, scale / 10), {"cp -r": cp_folder}, _COPY + _FOLDER, ())
        for make in (data.giant_and_dwarfs, data.hive)
    ]
    for job, source, base, script, options in cases:
        words = {"source": source, "out": out, "target": TARGET_BYTES}
        size = ("--target-size", str(TARGET_BYTES), "--no-fsync")
        commands = {
            **{tool: [word.format(**words) for word in command] for tool, command in base.items()},
            "the least": [sys.executable, "-c", _START.format(**words) + script],
            "evensplit": evensplit(source, out, *size, *options),
        }
        found = in_turn(commands, out, repeats=repeats)
        first = next(iter(found.values()))
        for tool, measured in found.items():
            yield {"job": job, "tool": tool, **measured.cells(), **measured.ratio_cells(first)}
