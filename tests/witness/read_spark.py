"""Spark (parquet-mr), with its vectorized reader and without: two decoders, two witnesses.

Values of many files are fetched in one query, and put into order by the reader's own file path
and row index, never by the order of partitions, which Spark sorts by file size. Filters are pushed
down: row groups, dictionaries, Bloom filters and column indexes prune. min/max/count are
answered from footers by the version 2 source, for the types that it pushes (numbers, dates,
booleans) and files that have them; that question does not depend on the decoder, so only the
vectorized witness asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from tests.witness.model import Aggregates, CannotRead, Probe, Reading, Selection
from tests.witness.spark_session import spark_session
from tests.witness.sql import is_bytes, scalar_text, text_literal
from tests.witness.table import (
    TableWitness,
    Values,
    aggregates_of,
    attempt,
    bisect_failures,
    column_names,
    selection_of,
)

_FILE, _ROW, _PROBE = "__file__", "__row__", "__probe__"
_PROBES_A_QUERY = 60


class SparkWitness(TableWitness):
    def __init__(self, vectorized: bool) -> None:
        self.name = "spark-vectorized" if vectorized else "spark-rows"
        self.probes_per_column = 2 if vectorized else 1  # about 60 ms each
        self.most_selections = 6
        self._vectorized = vectorized
        self._session: Any = None
        self._v2_session: Any = None

    def digest_many(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str] | None = None
    ) -> list[Reading]:
        """One query for all groups, if Spark infers one schema for them and can read it all."""
        names = list(columns) if columns is not None else column_names(groups[0][0])
        files = list(dict.fromkeys(path for group in groups for path in group))
        schemas = [self._schema(group) for group in groups]
        tables: dict[str, pa.Table] | CannotRead = CannotRead("the schemas differ")
        if all(schema is not None and schema == schemas[0] for schema in schemas):
            tables = attempt(lambda: self._tables(files, names, schemas[0]))
        if isinstance(tables, CannotRead):
            return self._one_by_one(groups, names)
        by_file = {path: dict(zip(names, t.columns, strict=True)) for path, t in tables.items()}
        return [self._reading(group, names, by_file) for group in groups]

    def _values(self, paths: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Values]]:
        """All files at once; only columns that fail so are asked of each file alone."""
        schema = self._schema(paths)

        def read(names: Sequence[str]) -> dict[str, dict[str, Values]]:
            tables = self._tables(paths, names, schema)
            return {name: {path: tables[path][name] for path in paths} for name in names}

        together = bisect_failures(read, columns)
        failed = [name for name in columns if isinstance(together[name], CannotRead)]
        alone = super()._values(paths, failed) if len(paths) > 1 else {}
        return {path: _of_file(path, together, alone) for path in paths}

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        return self._tables([path], columns, self._schema([path]))[path]

    def _num_rows(self, paths: Sequence[str]) -> int:
        """Without a schema to infer: ``count(*)`` wants no column."""
        from pyspark.sql.types import StructType

        return int(self._plain().read.schema(StructType([])).parquet(*paths).count())

    def _aggregates(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, Aggregates | CannotRead | None]:
        if not self._vectorized:
            return {}
        frame = attempt(lambda: self._v2().read.parquet(*paths))
        if isinstance(frame, CannotRead):
            return {}
        pushed = {f.name for f in frame.schema.fields if f.dataType.typeName() in _PUSHED_TYPES}
        pushed -= _without_bounds(paths)

        def ask(names: Sequence[str]) -> dict[str, Aggregates | None]:
            quoted = map(_quoted, names)
            wanted = [f"{fn}({n})" for n in quoted for fn in ("min", "max", "count")]
            row = frame.selectExpr(*wanted).collect()[0]
            return {n: aggregates_of(*row[3 * i : 3 * i + 3]) for i, n in enumerate(names)}

        return bisect_failures(ask, [name for name in columns if name in pushed])

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        frame = self._frame(paths, (probe.column,), self._schema(paths))
        return int(frame.where(_condition(frame, probe)).count())

    def count_where(self, paths: Sequence[str], probes: Sequence[Probe]) -> list[int | CannotRead]:
        """Many counts in one query; one by one only if that query fails."""
        out: list[int | CannotRead] = []
        for start in range(0, len(probes), _PROBES_A_QUERY):
            some = probes[start : start + _PROBES_A_QUERY]
            counts = attempt(lambda some=some: self._counts(paths, some))  # type: ignore[misc]
            out += super().count_where(paths, some) if isinstance(counts, CannotRead) else counts
        return out

    def _counts(self, paths: Sequence[str], probes: Sequence[Probe]) -> list[int]:
        frame = self._frame(paths, [p.column for p in probes], self._schema(paths))
        view = f"probed_{'v' if self._vectorized else 'r'}"
        frame.createOrReplaceTempView(view)
        branches = [
            f"select {i} as i from {view} where {_condition(frame, p)}"
            for i, p in enumerate(probes)
        ]
        union = " union all ".join(branches)
        rows = self._plain().sql(f"select i, count(*) as n from ({union}) group by i").collect()
        counts = {row.i: row.n for row in rows}
        return [counts.get(i, 0) for i in range(len(probes))]

    def select_where(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str], probes: Sequence[Probe]
    ) -> list[list[Selection | CannotRead]]:
        """One query for all; group by group and filter by filter only if that fails."""
        found = attempt(lambda: self._selections(groups, columns, probes))
        if not isinstance(found, CannotRead):
            return [list(selections) for selections in found]
        if len(groups) > 1:
            return [self.select_where([group], columns, probes)[0] for group in groups]
        if len(probes) > 1:
            return [[self.select_where(groups, columns, [p])[0][0] for p in probes]]
        return [[found]]

    def _selections(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str], probes: Sequence[Probe]
    ) -> list[list[Selection]]:
        files = [path for group in groups for path in group]
        frame = self._frame(files, columns, self._schema(groups[0]))
        wanted = [f"{_quoted(c)} as c{i}" for i, c in enumerate(columns)]
        wanted += [f"_metadata.file_path as {_FILE}", f"_metadata.row_index as {_ROW}"]
        every = [
            frame.where(_condition(frame, p)).selectExpr(f"{i} as {_PROBE}", *wanted)
            for i, p in enumerate(probes)
        ]
        table = reduce(lambda left, right: left.unionAll(right), every).toArrow()
        found, rows, asked = _paths(table[_FILE]), table[_ROW].to_numpy(), table[_PROBE].to_numpy()
        values = table.drop_columns([_FILE, _ROW, _PROBE]).rename_columns(list(columns))

        def selection(group: Sequence[str], number: int) -> Selection:
            mine = [np.flatnonzero((found == path) & (asked == number)) for path in group]
            order = np.concatenate([some[np.argsort(rows[some])] for some in mine])
            return selection_of(values.take(pa.array(order)))

        return [[selection(group, i) for i in range(len(probes))] for group in groups]

    def _tables(
        self, paths: Sequence[str], columns: Sequence[str], schema: Any
    ) -> dict[str, pa.Table]:
        frame = self._frame(paths, columns, schema)
        kept = [f"{_quoted(c)} as c{i}" for i, c in enumerate(columns)]
        where = [f"_metadata.file_path as {_FILE}", f"_metadata.row_index as {_ROW}"]
        table = frame.selectExpr(*kept, *where).toArrow()
        files, rows = _paths(table[_FILE]), table[_ROW].to_numpy()
        values = table.drop_columns([_FILE, _ROW]).rename_columns(list(columns))
        return {path: _in_order(values, files, rows, path) for path in paths}

    def _schema(self, paths: Sequence[str]) -> Any:
        """What Spark infers; None if one column that it does not know spoils that."""
        schema = attempt(lambda: self._plain().read.parquet(*paths).schema)
        return None if isinstance(schema, CannotRead) else schema

    def _frame(self, paths: Sequence[str], columns: Sequence[str], schema: Any) -> Any:
        """By the inferred schema, or by one of the wanted columns alone if there is none."""
        if schema is None:
            from pyspark.sql.pandas.types import from_arrow_schema

            arrow = pq.ParquetFile(paths[0]).schema_arrow
            wanted = pa.schema([pa.field(n, _spark_type(arrow.field(n).type)) for n in columns])
            schema = from_arrow_schema(wanted)
        return self._plain().read.schema(schema).parquet(*paths)

    def _plain(self) -> Any:
        if self._session is None:
            self._session = spark_session().newSession()
            enabled = str(self._vectorized).lower()
            self._session.conf.set("spark.sql.parquet.enableVectorizedReader", enabled)
        return self._session

    def _v2(self) -> Any:
        if self._v2_session is None:
            self._v2_session = spark_session().newSession()
            self._v2_session.conf.set("spark.sql.sources.useV1SourceList", "")
            self._v2_session.conf.set("spark.sql.parquet.aggregatePushdown", "true")
        return self._v2_session


_PUSHED_TYPES = frozenset(
    ("boolean", "byte", "short", "integer", "long", "float", "double", "date")
)


def _of_file(
    path: str,
    together: dict[str, dict[str, Values] | CannotRead],
    alone: dict[str, dict[str, Values]],
) -> dict[str, Values]:
    return {
        name: alone.get(path, {}).get(name, found) if isinstance(found, CannotRead) else found[path]
        for name, found in together.items()
    }


def _without_bounds(paths: Sequence[str]) -> set[str]:
    """Columns with a chunk that has no min and max: Spark fails on these instead of scanning."""
    groups = (m.row_group(g) for m in map(pq.read_metadata, paths) for g in range(m.num_row_groups))
    chunks = (group.column(c) for group in groups for c in range(group.num_columns))
    return {c.path_in_schema for c in chunks if not _has_bounds(c.statistics)}


def _has_bounds(statistics: pq.Statistics | None) -> bool:
    if statistics is None or not statistics.has_min_max:
        return False
    return bool(statistics.min == statistics.min and statistics.max == statistics.max)  # not NaN


def _paths(urls: pa.ChunkedArray) -> np.ndarray:
    every = urls.combine_chunks().dictionary_encode()
    known = [unquote(urlparse(url).path) for url in every.dictionary.to_pylist()]
    return np.array([*known, ""])[every.indices.to_numpy()]


def _in_order(values: pa.Table, files: np.ndarray, rows: np.ndarray, path: str) -> pa.Table:
    mine = np.flatnonzero(files == path)
    order = mine[np.argsort(rows[mine], kind="stable")]
    if not np.array_equal(rows[order], np.arange(len(order))):
        raise ValueError(f"row indexes of {path} are not 0..{len(order) - 1}")
    return values.take(pa.array(order))


def _condition(frame: Any, probe: Probe) -> str:
    column = _quoted(probe.column)
    if is_bytes(probe.value.type):
        return f"{column} {probe.op} X'{probe.value.as_py().hex()}'"
    kind = frame.schema[probe.column].dataType.simpleString()
    text = scalar_text(probe.value).replace("\\", "\\\\")
    return f"{column} {probe.op} cast({text_literal(text)} as {kind})"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _spark_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _spark_type(kind.storage_type)
    if pt.is_dictionary(kind):
        return kind.value_type
    return pa.binary() if pt.is_fixed_size_binary(kind) else _SPARK_TYPES.get(kind, kind)


_SPARK_TYPES = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.timestamp("ns"): pa.int64(),
    pa.duration("us"): pa.int64(),
}
