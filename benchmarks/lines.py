"""Lines: lineitem as CSV, whose comments are quoted, against what people split text with.

``cp`` and ``split -C``, which cuts through quoted line ends and repeats no header; a pipe of gzip
in both directions; and DuckDB's COPY for ``--to parquet``, these two within control groups (root,
cgroup v1). Nothing is synced. At last JSON lines of 1 GB are split by Azurite behind a proxy, which
counts what passes through this machine. ``equal``: DuckDB reads the same values from the Parquet
parts as from the text, row for row.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import duckdb

from benchmarks.azure import CONTAINER
from benchmarks.data import made
from benchmarks.measure import Measured, in_turn, run
from benchmarks.memory import control_group, entering
from benchmarks.table import Row
from benchmarks.tools import EVENSPLIT, TARGET_BYTES, evensplit
from tests.azurite import running
from tests.azurite.proxy import before

_BIN = Path(sys.executable).parent
_RECORDS, _NUM_BLOCKS = 50_000, 340
_SIZE = ("--target-size", str(TARGET_BYTES))
_GZIP_BYTES, _PARQUET_BYTES = 512 << 20, 1 << 30  # of memory
# As much text a part as makes a gzipped part of the target's size.
_PIPE = (
    "mkdir {out}/parts; gzip -dc {source}"
    " | split -C {text} --filter='gzip > $FILE.gz' - {out}/parts/"
)
DUCKDB = """
import duckdb
duckdb.sql("SET threads = 2; SET memory_limit = '700MB'; SET preserve_insertion_order = true")
duckdb.sql(\"\"\"
    COPY (FROM read_csv('{source}')) TO '{out}/parts'
    (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES {target})
\"\"\")
"""


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield a row a tool for each job; print what Azurite was asked for."""
    source, out = lineitem_text(folder, scale), folder / "out"
    ours = evensplit(source, out, *_SIZE, "--no-fsync")
    lines = f"mkdir {out}/parts && split -C {TARGET_BYTES} {source} {out}/parts/"
    copied = {
        "cp": ["cp", str(source), str(out / "copy.csv")],
        "split -C": ["sh", "-c", lines],
        "evensplit": ours,
        "evensplit --quote none": [*ours, "--quote", "none"],
        "evensplit --quote none --count-records": [*ours, "--quote", "none", "--count-records"],
    }
    yield from _rows("CSV", in_turn(copied, out, repeats=repeats, parts="parts/*"))

    words = {"source": source, "out": out, "target": TARGET_BYTES}
    converted = {
        "DuckDB": [sys.executable, "-c", DUCKDB.format(**words)],
        "evensplit --to parquet": [*ours, "--to", "parquet"],
    }
    with control_group(_PARQUET_BYTES) as group:
        inside = {name: entering(group, command) for name, command in converted.items()}
        found = in_turn(inside, out, repeats=repeats)
    equal = {"evensplit --to parquet": "yes" if are_equal(source, out / "parts") else "NO"}
    yield from _rows("CSV to Parquet in 1 GiB", found, equal)

    zipped = _zipped(source)
    text_bytes = TARGET_BYTES * source.stat().st_size // zipped.stat().st_size
    pipe = _PIPE.format(source=zipped, out=out, text=text_bytes)
    split = evensplit(zipped, out, *_SIZE, "--no-fsync")
    with control_group(_GZIP_BYTES) as group:
        pipes = {"gzip, split -C, gzip": ["sh", "-c", pipe], "evensplit": entering(group, split)}
        found = in_turn(pipes, out, repeats=repeats, parts="parts/*")
    yield from _rows("gzip, evensplit in 512 MiB", found)
    print(_within_azurite())


def _rows(
    job: str, found: Mapping[str, Measured], equal: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Row]:
    base = next(iter(found.values()))
    for tool, measured in found.items():
        yield {
            "job": job,
            "tool": tool,
            **measured.cells(),
            **measured.ratio_cells(base),
            **measured.part_cells(TARGET_BYTES),
            "equal": equal.get(tool),
        }


def are_equal(source: Path, parts: Path) -> bool:
    """Whether DuckDB reads the same values from Parquet parts as from the text, in order."""
    there = f"read_csv('{source}')"
    columns = duckdb.sql(f"DESCRIBE FROM {there}").fetchall()
    values = ", ".join(f'CAST("{name}" AS {kind})' for name, kind, *_ in columns)
    rows = f"SELECT hash(row_number() OVER (), {values}) AS row_hash FROM"
    one, other = (
        duckdb.sql(f"SELECT count(*), bit_xor(row_hash) FROM ({rows} {place})").fetchall()
        for place in (there, f"read_parquet('{parts}/*.parquet')")
    )
    return one == other


def lineitem_text(folder: Path, scale: float) -> Path:
    """Return lineitem as delimited text."""

    def make(path: Path) -> None:
        words = ["csv", "-s", f"{scale:g}", "-T", "lineitem", "-o", str(path.parent)]
        command = [str(_BIN / "tpchgen-cli"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (path.parent / "lineitem.csv").rename(path)

    return made(folder / f"lineitem-sf{scale:g}-text" / "rows.csv", make)


def _zipped(source: Path) -> Path:
    """Return a file's text as one member of gzip."""

    def make(path: Path) -> None:
        with path.open("wb") as out:
            subprocess.run(["gzip", "-c", str(source)], check=True, stdout=out)

    return made(source.with_name("rows.csv.gz"), make)


def _within_azurite() -> str:
    """Split JSON lines within Azurite; return what passed through this machine."""
    line = '{"id": 1%06d, "text": "some text, as long as a line is"}\n'
    block = "".join(line % number for number in range(_RECORDS)).encode()
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
    with running() as azurite:
        container = azurite.client().create_container(CONTAINER)
        blob = container.get_blob_client("in.ndjson")
        names = [f"{number:05d}" for number in range(_NUM_BLOCKS)]
        for name in names:
            blob.stage_block(name, block)
        blob.commit_block_list(names)
        with before(azurite.port) as proxy:
            there = azurite.through(proxy.port).connection_string
            os.environ["AZURE_STORAGE_CONNECTION_STRING"] = there
            places = [f"abfs://{CONTAINER}/{name}" for name in ("in.ndjson", "parts")]
            done = run([EVENSPLIT, "split", *places, *_SIZE, "--transfer", "server"])
    size, passed = len(block) * _NUM_BLOCKS, proxy.client_bytes()
    return (
        f"{done.output}{size / 1e6:,.0f} MB of NDJSON: {passed / 1e3:,.0f} kB through this machine "
        f"({passed / size:.4%}), {len(proxy.ours())} requests, {done.cpu_seconds:.1f} s of CPU"
    )
