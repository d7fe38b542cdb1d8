"""Split one damaged file and judge: refused in a line that names it, or read as it was before.

Parts are written one after another in this process: starting Dask for each would take most of the
time, and what it adds to an error is tested with it (tests/engine/executors).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import engine
from engine import splitter
from engine.errors import EvensplitError, OtherPlan
from tests.engine.running import one_by_one

# What the caller can mend: all groups but defects of ours.
CODES = (2, 3, 4, 5, 6)
# Settings of a split, of which each mutant gets one; ``merged`` adds the good file behind it.
CALLS: tuple[dict[str, Any], ...] = (
    {"parts": 2},
    {"rows_per_part": 17},
    {"target_size": "3kB"},
    {"parts": 2, "cut": "row-group"},
    {"parts": 2, "codec": "zstd"},
    {"parts": 2, "row_group_size": "9rows"},
    {"parts": 2, "columns": "id"},
    {"parts": 2, "dictionary": False},
    {"parts": 2, "data_page_version": 2},
    {"parts": 3, "merged": True},
)


class Outcome(NamedTuple):
    """``word`` is refused, equal, unread or fault; ``said`` what was seen."""

    word: str
    said: str


def prepare() -> None:
    """Make this process, which is for this alone, quick: no Dask, and no waiting for disks."""
    splitter.run_parts = one_by_one
    os.fsync = lambda number: None
    os.environ["POLARS_MAX_THREADS"] = "1"


def judge(
    path: Path,
    good: Path,
    call: dict[str, Any],
    dest: Path,
    stage: Callable[[str], None],
    *,
    verifies: bool,
) -> Outcome:
    """Split, verify, read. ``stage`` is told what begins, for whoever finds this process dead."""
    call = dict(call)
    sources = [str(path), str(good)] if call.pop("merged", False) else [str(path)]
    try:
        stage("split")
        refusal = _refusal(lambda: engine.split(sources, str(dest), fsync=False, workers=1, **call))
        if refusal is not None:
            return _judged_refusal(refusal, path)
        stage("verify")
        proof = _refusal(lambda: engine.verify(str(dest), workers=1)) if verifies else None
        if proof is not None and not _is_on_purpose(proof):
            return Outcome("fault", f"verify: {_told(proof)}")
        columns = call["columns"].split(",") if "columns" in call else None
        return _compared(sources, sorted(map(str, dest.glob("*.parquet"))), columns, stage)
    finally:
        shutil.rmtree(dest, ignore_errors=True)


def _refusal(run: Callable[[], object]) -> BaseException | None:
    try:
        run()
    except Exception as error:  # noqa: BLE001 - which one it is, is what is judged
        return error
    return None


def _is_on_purpose(error: BaseException) -> bool:
    return isinstance(error, EvensplitError) and error.exit_code in CODES


def _told(error: BaseException) -> str:
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {where}: {str(error)[:200]}"


def _judged_refusal(error: BaseException, path: Path) -> Outcome:
    if not _is_on_purpose(error) or isinstance(error, OtherPlan):
        return Outcome("fault", f"split: {_told(error)}")
    if "\n" in str(error):
        return Outcome("fault", f"not one line: {_told(error)}")
    if error.exit_code == 3 and path.name not in str(error):
        return Outcome("fault", f"does not name the file: {_told(error)}")
    return Outcome("refused", f"{error.kind}: {error}")


# -- witnesses -----------------------------------------------------------------------------------


def _by_pyarrow(paths: Sequence[str], columns: list[str] | None) -> pa.Table:
    tables = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            footer = file.metadata
            groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
            if footer.num_rows != sum(group.num_rows for group in groups):
                raise ValueError("a footer of other rows, which pyarrow believes")
            tables.append(file.read(columns, use_threads=False))
    return pa.concat_tables(tables)


_duckdb: Any = None


def _by_duckdb(paths: Sequence[str], columns: list[str] | None) -> pa.Table:
    global _duckdb  # noqa: PLW0603 - one connection a process
    if _duckdb is None:
        import duckdb

        _duckdb = duckdb.connect()
        _duckdb.sql("set threads = 1; set TimeZone = 'UTC'; set memory_limit = '1GB'")
    names = ", ".join(f'"{name}"' for name in columns) if columns else "*"
    query = f"select {names} from read_parquet(?, hive_partitioning = false)"
    return pa.concat_tables([_duckdb.sql(query, params=[path]).to_arrow_table() for path in paths])


def _by_polars(paths: Sequence[str], columns: list[str] | None) -> pa.Table:
    import polars as pl

    try:
        return pl.concat([pl.read_parquet(path, columns=columns) for path in paths]).to_arrow()
    except BaseException as error:  # its panics are no Exceptions
        raise ValueError(str(error)) from error


_READERS = {"pyarrow": _by_pyarrow, "duckdb": _by_duckdb}


def _compared(
    sources: Sequence[str], parts: Sequence[str], columns: list[str] | None, stage: Any
) -> Outcome:
    """Whoever reads the source must read the same of the parts.

    Readers do not all notice the same damage: where two read a source differently, it has no right
    values, and one of them must find in the parts what it found in the source. Where only one reads
    it, a third is asked. The same holds where Arrow says that a page lacks values: DuckDB takes
    these from the page before, whatever that is, and Polars takes zeros.
    """
    lacks_values = False
    seen: dict[str, pa.Table] = {}
    differences: dict[str, str] = {}

    def ask(name: str, reader: Callable[[Sequence[str], list[str] | None], pa.Table]) -> None:
        nonlocal lacks_values
        stage(f"{name} reads the source")
        try:
            source = reader(sources, columns)
            source.validate(full=True)  # text that is no UTF-8 is found only here
        except Exception as error:  # noqa: BLE001 - pyarrow and duckdb raise many kinds
            lacks_values |= "Unexpected end of stream" in str(error)
            return
        stage(f"{name} reads the parts")
        try:
            said = _difference(source, reader(parts, columns))
        except Exception as error:  # noqa: BLE001
            said = f"cannot read the parts: {' '.join(str(error).split())[:120]}"
        if said and not _reads_again(partial(reader, sources, columns), source):
            return
        seen[name] = source
        if said:
            differences[name] = said

    for name, reader in _READERS.items():
        ask(name, reader)
    if not seen:
        return Outcome("unread", "no reader reads the source")
    if not differences:
        return Outcome("equal", "")
    if len(seen) == 1:
        ask("polars", _by_polars)
        if len(seen) == 1:
            return Outcome("unread", "only one of three readers reads the source")
    agree = len({repr(_values(table)) for table in seen.values()}) == 1
    if len(differences) == len(seen) or (agree and not lacks_values):
        return Outcome("fault", "; ".join(f"{k}: {v}" for k, v in differences.items()))
    return Outcome("equal", "to one reader, and readers differ about the source")


def _difference(source: pa.Table, found: pa.Table) -> str:
    """Say what differs. Arrow compares first, as it is quick; to it a NaN is unlike itself."""
    if source.equals(found):
        return ""
    values, found_values = _values(source), _values(found)
    return "" if values == found_values else _first_difference(values, found_values)


def _reads_again(read: Callable[[], pa.Table], table: pa.Table) -> bool:
    """Whether a reader says the same of a source again: of damage some show what memory held."""
    try:
        values = _values(table)
        return all(_values(read()) == values for _ in range(3))
    except Exception:  # noqa: BLE001
        return False


def _values(table: pa.Table) -> list[tuple[str, list[str]]]:
    columns = zip(table.column_names, table.columns, strict=True)
    return [(name, [repr(value) for value in column.to_pylist()]) for name, column in columns]


def _first_difference(source: Any, found: Any) -> str:
    if [name for name, _ in source] != [name for name, _ in found]:
        return f"columns {[n for n, _ in source]} became {[n for n, _ in found]}"[:200]
    for (name, before), (_, after) in zip(source, found, strict=True):
        if len(before) != len(after):
            return f"{len(before)} values of {name} became {len(after)}"
        for row, (a, b) in enumerate(zip(before, after, strict=True)):
            if a != b:
                return f"{name}, row {row}: {a[:60]} became {b[:60]}"
    return "nothing"
