"""Every third-party file, and files by six writers, split in every way: ``make ways``.

Whatever a file is, its parts are equal to it by every reader that reads it, or the split is refused
in one line. Each way is one split; Spark is left out, as it takes seconds a file
(:mod:`tests.matrix.test_matrix` asks it).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow.parquet as pq
import pyarrow.types as pt

import engine
from engine.errors import EvensplitError
from tests.shared import PARQUET_TESTING
from tests.sources import SOURCES, written
from tests.witness import Witness, all_witnesses, judge
from tests.witness.canonical import fingerprint
from tests.witness.model import CannotRead
from tests.witness.read_pyarrow import PyarrowWitness
from tests.witness.table import column_names

MAX_PARTS = 40
BY_WRITERS = (
    "pyarrow-v2-index-zstd pyarrow-overflow pyarrow-nested-index pyarrow-delta-v2 tpch-orders "
    "duckdb-v2-zstd duckdb-nested polars-pages polars-nested fastparquet-default spark-int96 "
    "spark-nested-v2"
).split()
# A refusal is the caller's, the source's or the machine's; all else is a defect.
REFUSALS = (2, 3, 4)
MINUTES = {"large_string_map.brotli.parquet"}  # 4 GiB of values


class Way(NamedTuple):
    """``options``: of the split, by rows of the source; ``sources``: made of the file."""

    options: Callable[[int], dict[str, Any]]
    sources: Callable[[Path, Path], list[Path]] = lambda path, folder: [path]


def _and_by_arrow(path: Path, folder: Path) -> list[Path]:
    other = folder / f"arrow-{path.stem}.parquet"
    table = pq.ParquetFile(path).read()
    options: dict[str, Any] = {"data_page_version": "2.0", "compression": "zstd"}
    pq.write_table(table, other, row_group_size=max(7, table.num_rows // 5), **options)
    return [path, other]


def _and_by_duckdb(path: Path, folder: Path) -> list[Path]:
    other = folder / f"duckdb-{path.stem}.parquet"
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"copy (from read_parquet('{path}')) to '{other}' (format parquet)")
    return [path, other]


WAYS = {
    "2 parts": Way(lambda rows: {"parts": 2}),
    "3 parts": Way(lambda rows: {"parts": 3}),
    "one-row parts": Way(lambda rows: {"rows_per_part": max(1, -(-rows // MAX_PARTS))}),
    "row groups": Way(lambda rows: {"parts": 1, "row_group_size": f"{1 + rows // 5}rows"}),
    "codec": Way(lambda rows: {"parts": 2, "codec": "zstd"}),
    "with itself": Way(lambda rows: {"parts": 3}, lambda path, folder: [path, path]),
    "with arrow's": Way(lambda rows: {"parts": 3}, _and_by_arrow),
    "with duckdb's": Way(lambda rows: {"parts": 3}, _and_by_duckdb),
}


def outcome(path: Path, way: str) -> str:
    """Return ``equal``, ``unread``, ``refused: ...``, ``no such file: ...`` or ``FAULT: ...``."""
    wanted = WAYS[way]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            sources = wanted.sources(path, folder)
            num_rows = pq.ParquetFile(path).metadata.num_rows
        except Exception as error:  # noqa: BLE001 - the other writer cannot read or write it
            if way.startswith("with"):
                return f"no such file: {type(error).__name__}"
            sources, num_rows = [path], 2
        try:
            return _split_and_judge(sources, folder / "parts", wanted.options(num_rows))
        except EvensplitError as error:
            told = f"{error.kind}: {error}"
            is_refusal = error.exit_code in REFUSALS and "\n" not in told
            return f"refused: {told}" if is_refusal else f"FAULT: {told}"
        except Exception:  # noqa: BLE001
            return f"FAULT: {traceback.format_exc()}"


def _split_and_judge(sources: Sequence[Path], parts: Path, options: dict[str, Any]) -> str:
    given = [str(path) for path in sources]
    # A file counts once however often it is named: a copy under another name is what is meant.
    if len(set(given)) < len(given):
        copy = parts.parent / "copy.parquet"
        copy.write_bytes(sources[1].read_bytes())
        given[1] = str(copy)
    result = engine.split(given, str(parts), fsync=False, workers=1, **options)
    if sources[0].name not in MINUTES:
        engine.verify(str(parts), workers=1)
    try:
        footer = pq.ParquetFile(given[0]).metadata
        pq.ParquetFile(given[0]).read()
    except Exception:  # noqa: BLE001 - it knows no maps without keys, nor 4 GiB of lists
        return "unread"
    if footer.num_row_groups and not footer.num_rows:
        return "unread"  # as parquet-rs 0.3 wrote it: some readers believe the footer
    paths = [str(parts / part.name) for part in result.manifest.parts]
    # Several sources are put in the order of their names.
    order = [source.path for source in result.manifest.sources]
    differences = []
    for witness in all_witnesses(spark=False):
        columns = _columns_for(witness.name, given[0])
        found = judge(order, paths, [witness], columns, probes=False).differences
        if found and not _reads_the_truth(witness, order, paths, columns):
            differences += found
    return "FAULT: " + "; ".join(differences) if differences else "equal"


def _reads_the_truth(
    witness: Witness, sources: Sequence[str], parts: Sequence[str], columns: Sequence[str]
) -> bool:
    """Whether a reader, which misreads the source, finds in the parts what Arrow finds there."""
    truth = PyarrowWitness().fetch(sources, columns)
    found = witness.fetch(parts, columns)
    return witness.name != "pyarrow" and all(
        not isinstance(truth[name], CannotRead)
        and not isinstance(found[name], CannotRead)
        and fingerprint(truth[name]) == fingerprint(found[name])
        for name in columns
    )


def _columns_for(witness: str, path: str) -> list[str]:
    every = column_names(path)
    if witness != "fastparquet":
        return every
    # It reads lists as nulls in a file with one row group.
    nested = {field.name for field in pq.read_schema(path) if pt.is_nested(field.type)}
    return [name for name in every if name not in nested]


def sources_in(folder: Path) -> list[Path]:
    """Return third-party files, and those of writers, which are made in a folder."""
    third_party = sorted(p for p in PARQUET_TESTING.rglob("*") if ".parquet" in p.name)
    if not third_party:
        print(f"left out: there are no files in ../shared/{PARQUET_TESTING.name}", flush=True)
    made = [written(SOURCES[name], folder) for name in BY_WRITERS]
    return [*third_party, *made]


def main() -> int:
    """Print every fault, and how many outcomes there were of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="files whose paths have this in them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print every outcome")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        paths = [path for path in sources_in(Path(name)) if given.only in str(path)]
        work = [(path, way) for path in paths for way in WAYS]
        with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
            for (path, way), told in zip(work, pool.map(partial(_apart), work), strict=True):
                counts[told.split(":", 1)[0]] += 1
                if given.show or told.startswith("FAULT"):
                    print(f"{path.name}, {way}: {told}", flush=True)
    print(f"{len(paths)} files in {len(WAYS)} ways: {dict(counts)}")
    return 1 if counts["FAULT"] or not paths else 0


def _apart(work: tuple[Path, str]) -> str:
    return outcome(*work)


if __name__ == "__main__":
    sys.exit(main())
