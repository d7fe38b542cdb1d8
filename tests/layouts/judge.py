"""Split a file of an odd layout, and compare what readers say of the parts.

A reader that does not find in the source what was put into it is no witness of that file. Of the
others each must find the same rows in the parts, in order, and give the same answers to questions
that are answered from statistics, page indexes and Bloom filters.
"""

from __future__ import annotations

import datetime
import decimal
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import engine
from engine.errors import EvensplitError
from tests.fuzz.judge import CODES, Outcome
from tests.layouts.make import Made

CALLS: tuple[dict[str, Any], ...] = (
    {"parts": 2},
    {"parts": 3},
    {"rows_per_part": 1},
    {"rows_per_part": 7},
    {"parts": 2, "cut": "row-group"},
    {"parts": 1},
    {"target_size": "2kB"},
    {"parts": 2, "codec": "zstd"},
    {"parts": 2, "codec": "none"},
    {"parts": 1, "row_group_size": "7rows"},
    {"parts": 2, "row_group_size": "1rows"},
    {"parts": 1, "row_group_size": "1MB"},
    {"parts": 2, "columns": "first"},
    {"parts": 3, "dictionary": False},
    {"parts": 3, "dictionary": True},
    {"parts": 3, "data_page_version": 1},
    {"parts": 3, "data_page_version": 2},
    {"parts": 3, "with": "itself"},
    {"parts": 1, "with": "arrow's"},
    {"parts": 3, "with": "another"},
    {"parts": 1, "with": "itself", "row_group_size": "50rows"},
)
_DATAFUSION = {
    "datafusion.execution.target_partitions": "1",
    "datafusion.optimizer.repartition_file_scans": "false",
    "datafusion.execution.collect_statistics": "true",
    "datafusion.execution.parquet.pushdown_filters": "true",
    "datafusion.execution.parquet.reorder_filters": "true",
}
_MOST_PARTS = 60

Rows = dict[str, list[Any]]


def judge(made: Made, seed: object, folder: Path, call: dict[str, Any]) -> Outcome:
    """Return refused, equal, unread or fault, and what was seen."""
    folder.mkdir()
    try:
        return _judge(made, seed, folder, dict(call))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(made: Made, seed: object, folder: Path, call: dict[str, Any]) -> Outcome:
    path = folder / "a.parquet"
    path.write_bytes(made.data)
    sources, rows = _sources(made, path, call.pop("with", None))
    if sources is None:
        return Outcome("unread", "Arrow does not read what it should write again")
    if call.get("columns"):
        call["columns"] = next(iter(rows))
        rows = {call["columns"]: rows[call["columns"]]}
    witnesses = {
        name: reader
        for name, reader in READERS.items()
        if _told(partial(reader.read, sources, list(rows))) == repr(rows)
    }
    if not witnesses:
        return Outcome("unread", "no reader finds what was written")
    parts = folder / "parts"
    try:
        result = engine.split(list(map(str, sources)), str(parts), fsync=False, workers=1, **call)
        written = [parts / part.name for part in result.manifest.parts]
        engine.verify(str(parts), workers=1)
    except EvensplitError as error:
        said = f"{error.kind}: {error}"
        if error.exit_code not in CODES or "\n" in said or error.kind.startswith("verify"):
            return Outcome("fault", said)
        if parts.exists() and list(parts.glob("*.parquet")):
            return Outcome("fault", f"verify: {said}")
        return Outcome("refused", said)
    faults = []
    for name, reader in witnesses.items():
        found = _told(partial(reader.read, written, list(rows)))
        if found != repr(rows):
            faults.append(f"{name}: {_difference(repr(rows), found)}")
        elif len(written) <= _MOST_PARTS:
            faults += _other_answers(reader, sources, written, rows, made.scalars, seed)
    return Outcome("fault", "; ".join(faults)) if faults else Outcome("equal", "")


def _sources(made: Made, path: Path, other: str | None) -> tuple[list[Path] | None, Rows]:
    rows = made.rows
    if other is None:
        return [path], rows
    second = path.with_name("b.parquet")
    if other == "itself":
        shutil.copy(path, second)
        return [path, second], {name: values * 2 for name, values in rows.items()}
    try:
        table = pq.ParquetFile(path).read(use_threads=False)
        if other == "another":
            table = table.slice(len(table) // 2)
        pq.write_table(table, second, row_group_size=20, write_page_index=True, store_schema=False)
    except Exception:  # noqa: BLE001 - what Arrow cannot read or write
        return None, rows
    more = {name: table[name].to_pylist() for name in rows}
    return [path, second], {name: values + more[name] for name, values in rows.items()}


def _told(ask: Callable[[], Any]) -> str:
    try:
        return repr(ask())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"error: {' '.join(str(error).split())[:200]}"


def _difference(wanted: str, found: str) -> str:
    if found.startswith("error"):
        return found
    at = next((n for n, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), 0)
    start = max(0, at - 60)
    return f"...{wanted[start : at + 60]} became ...{found[start : at + 60]}"


# -- questions -----------------------------------------------------------------------------------


def _other_answers(
    reader: Reader,
    sources: list[Path],
    parts: list[Path],
    rows: Rows,
    scalars: list[str],
    seed: object,
) -> list[str]:
    """Return answers that are right of the source, and another of the parts."""
    names = [name for name in scalars if name in rows]
    questions = [q for name in names for q in _questions(name, rows[name], Random(f"{seed}"))]
    if not questions:
        return []
    before, after = reader.ask(sources, questions), reader.ask(parts, questions)
    if before == after:
        return []
    plain = parts[0].with_name("plain.parquet")
    pq.write_table(pa.table({n: rows[n] for n in names}), plain, write_statistics=False)
    right = reader.ask([plain], questions)
    return [
        f"{type(reader).__name__}: {question}: {source} became {found}, and {truth} is right"
        for question, source, found, truth in zip(questions, before, after, right, strict=True)
        if found != truth == source and not _are_near(found, truth)
    ]


def _are_near(found: str, truth: str) -> bool:
    """Whether texts are the same number of 32 bits."""
    try:
        return math.isclose(float(found), float(truth), rel_tol=1e-6)
    except ValueError:
        return False


Question = tuple[str, str, Any]  # column, what, value


def _questions(name: str, values: list[Any], chance: Random) -> list[Question]:
    there = [value for value in values if value is not None]
    fine = [v for v in there if not (isinstance(v, float) and not math.isfinite(v))]
    out: list[Question] = [(name, what, None) for what in ("null", "not null", "count")]
    if fine:
        out += [(name, "min", None), (name, "max", None)]
        some = [min(fine), max(fine), *chance.choices(fine, k=3)]
        for value in some:
            out += [(name, op, value) for op in ("=", ">", "<=")]
        out.append((name, "!=", some[0]))
    return out


def quoted(name: str) -> str:
    return f'"{name}"'


def text_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value}'"
    return repr(value) if not isinstance(value, decimal.Decimal) else str(value)


def _condition(question: Question, literal: Callable[[Any], str] = _literal) -> str:
    name, what, value = question
    column = quoted(name)
    if what in ("null", "not null"):
        return f"{column} is {what}"
    return f"{column} {'<>' if what == '!=' else what} {literal(value)}"


def _sql(question: Question, table: str) -> str:
    name, what, _ = question
    if what in ("min", "max", "count"):
        return f"select cast({what}({quoted(name)}) as varchar) as n from {table}"
    return f"select cast(count(*) as varchar) as n from {table} where {_condition(question)}"


class Reader(ABC):
    """Reads columns, and answers questions about them as SQL or a filter would."""

    @abstractmethod
    def read(self, paths: Sequence[Path], names: list[str]) -> Rows:
        """Return columns of some files, one behind the other."""

    @abstractmethod
    def asking(self, paths: Sequence[Path]) -> Callable[[Question], str]:
        """Return what answers a question about some files."""

    def ask(self, paths: Sequence[Path], questions: list[Question]) -> list[str]:
        """Return the answers, or what was said instead."""
        try:
            answer = self.asking(paths)
        except BaseException as error:  # noqa: BLE001 - Polars' panics are no Exceptions
            return [f"error: {error}" for _ in questions]
        return [_told(partial(answer, question)).strip("\"(',)") for question in questions]


class Arrow(Reader):
    """Row groups are skipped by bounds."""

    def read(self, paths: Sequence[Path], names: list[str]) -> Rows:
        tables = [pq.ParquetFile(path).read(names, use_threads=False) for path in paths]
        return _of_tables(tables, names)

    def asking(self, paths: Sequence[Path]) -> Callable[[Question], str]:
        return partial(self._one, paths)

    @staticmethod
    def _one(paths: Sequence[Path], question: Question) -> str:
        import pyarrow.dataset as ds

        name, what, value = question
        data = ds.dataset(list(map(str, paths)), format="parquet")
        column = ds.field(name)
        if what in ("min", "max", "count"):
            return ""
        kind = data.schema.field(name).type
        conditions = {
            "null": column.is_null,
            "not null": column.is_valid,
            "=": lambda: column == pa.scalar(value, kind),
            ">": lambda: column > pa.scalar(value, kind),
            "<=": lambda: column <= pa.scalar(value, kind),
            "!=": lambda: column != pa.scalar(value, kind),
        }
        return str(data.count_rows(filter=conditions[what](), use_threads=False))


class Duckdb(Reader):
    """Row groups are skipped by bounds and Bloom filters."""

    _connection: Any = None

    @classmethod
    def _at_once(cls) -> Any:
        if cls._connection is None:
            import duckdb

            cls._connection = duckdb.connect()
            cls._connection.sql("set threads = 1; set TimeZone = 'UTC'; set memory_limit = '1GB'")
        return cls._connection

    def read(self, paths: Sequence[Path], names: list[str]) -> Rows:
        wanted = ", ".join(map(quoted, names))
        query = f"select {wanted} from read_parquet(?, hive_partitioning = false)"
        given = [self._at_once().sql(query, params=[str(path)]) for path in paths]
        return _of_tables([relation.to_arrow_table() for relation in given], names)

    def asking(self, paths: Sequence[Path]) -> Callable[[Question], str]:
        listed = ", ".join(text_literal(str(path)) for path in paths)
        table = f"read_parquet([{listed}], hive_partitioning = false)"

        def one(question: Question) -> str:
            query = _sql(question, table).replace("X'", "from_hex('")
            query = query if "from_hex" not in query else query + ")"
            return str(self._at_once().sql(query).fetchall()[0][0])

        return one


class Polars(Reader):
    """Row groups are skipped by bounds."""

    def read(self, paths: Sequence[Path], names: list[str]) -> Rows:
        import polars as pl

        tables = [pl.read_parquet(path, columns=names).to_arrow() for path in paths]
        return _of_tables(tables, names)

    def asking(self, paths: Sequence[Path]) -> Callable[[Question], str]:
        return partial(self._one, paths)

    @staticmethod
    def _one(paths: Sequence[Path], question: Question) -> str:
        import polars as pl

        name, what, value = question
        rows = pl.scan_parquet(list(paths), glob=False, use_statistics=True)
        column = pl.col(name)
        if what in ("min", "max", "count"):
            return str(rows.select(getattr(column, what)()).collect().item())
        kind = rows.collect_schema()[name]
        lit = pl.lit(value, dtype=kind) if value is not None else None
        conditions = {
            "null": column.is_null,
            "not null": column.is_not_null,
            "=": lambda: column == lit,
            ">": lambda: column > lit,
            "<=": lambda: column <= lit,
            "!=": lambda: column != lit,
        }
        return str(rows.filter(conditions[what]()).select(pl.len()).collect().item())


class Datafusion(Reader):
    """Row groups and pages are skipped, and min, max and count answered from statistics."""

    @staticmethod
    def _context() -> Any:
        import datafusion

        config = datafusion.SessionConfig()
        for key, value in _DATAFUSION.items():
            config = config.set(key, value)
        return datafusion.SessionContext(config)

    def read(self, paths: Sequence[Path], names: list[str]) -> Rows:
        from datafusion import col

        context = self._context()
        wanted = [col(quoted(name)) for name in names]
        frames = [context.read_parquet(str(path), file_extension="") for path in paths]
        return _of_tables([frame.select(*wanted).to_arrow_table() for frame in frames], names)

    def asking(self, paths: Sequence[Path]) -> Callable[[Question], str]:
        context = self._context()
        views = []
        for number, path in enumerate(paths):
            context.register_parquet(f"t{number}", str(path), file_extension="")
            views.append(f"select * from t{number}")
        together = f"({' union all '.join(views)}) as t"

        def one(question: Question) -> str:
            table = context.sql(_sql(question, together)).to_arrow_table()
            return str(table.column(0)[0].as_py())

        return one


READERS: dict[str, Reader] = {
    "pyarrow": Arrow(),
    "duckdb": Duckdb(),
    "polars": Polars(),
    "datafusion": Datafusion(),
}


def _of_tables(tables: list[pa.Table], names: list[str]) -> Rows:
    return {name: [v for table in tables for v in _values(table[name])] for name in names}


def _values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit != "us":
        column = column.cast(pa.timestamp("us"))
    return column.to_pylist()
