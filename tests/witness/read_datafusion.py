"""DataFusion (arrow-rs). Page index, filter pushdown and Bloom filters are all switched on, and
min/max/count are answered from statistics where they are exact.

One partition, no repartitioning: rows come in file order. A fresh context a question: DataFusion
caches footers and statistics by path, and tests overwrite files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import datafusion as df
import pyarrow as pa
from datafusion import functions as f

from tests.witness.model import Aggregates, CannotRead, Probe, Selection
from tests.witness.sql import quoted
from tests.witness.table import (
    TableWitness,
    aggregates_of,
    attempt,
    bisect_failures,
    selection_of,
)

_SETTINGS = {
    "datafusion.execution.target_partitions": "1",
    "datafusion.optimizer.repartition_file_scans": "false",
    "datafusion.execution.collect_statistics": "true",
    "datafusion.execution.parquet.enable_page_index": "true",
    "datafusion.execution.parquet.pruning": "true",
    "datafusion.execution.parquet.pushdown_filters": "true",
    "datafusion.execution.parquet.reorder_filters": "true",
    "datafusion.execution.parquet.bloom_filter_on_read": "true",
}


class DatafusionWitness(TableWitness):
    name = "datafusion"
    probes_per_column = 12
    most_selections = 16

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        return _frame([path]).select(*map(_column, columns)).to_arrow_table()

    def _num_rows(self, paths: Sequence[str]) -> int:
        return int(_single(_frame(paths).aggregate([], [f.count(df.lit(1)).alias("n")]))["n"])

    def _aggregates(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, Aggregates | CannotRead | None]:
        def ask(names: Sequence[str]) -> dict[str, Aggregates | None]:
            every = [f(_column(n)).alias(a) for n in names for f, a in _questions(n)]
            row = _single(_frame(paths).aggregate([], every))
            answers = {n: [row[alias] for _, alias in _questions(n)] for n in names}
            return {n: aggregates_of(*answer) for n, answer in answers.items()}

        return bisect_failures(ask, columns)

    def count_where(self, paths: Sequence[str], probes: Sequence[Probe]) -> list[int | CannotRead]:
        """Of one frame: to open the files takes longer than to count."""
        frame = attempt(lambda: _frame(paths))
        if isinstance(frame, CannotRead):
            return [frame for _ in probes]
        return [attempt(lambda p=p: _matches(frame, p)) for p in probes]  # type: ignore[misc]

    def select_where(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str], probes: Sequence[Probe]
    ) -> list[list[Selection | CannotRead]]:
        """Of one frame a file, as ``count_where``."""
        opened = [attempt(lambda g=g: [_frame([path]) for path in g]) for g in groups]  # type: ignore[misc]

        def ask(frames: list[df.DataFrame] | CannotRead, probe: Probe) -> Selection | CannotRead:
            if isinstance(frames, CannotRead):
                return frames
            return attempt(lambda: selection_of(_selected(frames, columns, probe)))

        return [[ask(frames, probe) for probe in probes] for frames in opened]


def _frame(paths: Sequence[str]) -> df.DataFrame:
    config = df.SessionConfig()
    for key, value in _SETTINGS.items():
        config = config.set(key, value)
    context = df.SessionContext(config)
    frames = [context.read_parquet(path, file_extension="") for path in paths]
    return reduce(lambda left, right: left.union(right), frames)


def _selected(frames: Sequence[df.DataFrame], columns: Sequence[str], probe: Probe) -> pa.Table:
    """File by file: a union does not keep the order of its inputs."""
    wanted = [_column(name) for name in columns]
    kept = (frame.filter(_condition(probe)).select(*wanted) for frame in frames)
    return pa.concat_tables(frame.to_arrow_table() for frame in kept)


def _matches(frame: df.DataFrame, probe: Probe) -> int:
    counted = frame.filter(_condition(probe)).aggregate([], [f.count(df.lit(1)).alias("n")])
    return int(_single(counted)["n"])


def _questions(name: str) -> list[tuple[Any, str]]:
    return [(f.min, f"min {name}"), (f.max, f"max {name}"), (f.count, f"count {name}")]


def _condition(probe: Probe) -> df.Expr:
    column, value = _column(probe.column), df.lit(probe.value)
    return column == value if probe.op == "=" else column >= value


def _column(name: str) -> df.Expr:
    return df.col(quoted(name))


def _single(frame: df.DataFrame) -> dict[str, Any]:
    return dict(frame.to_arrow_table().to_pylist()[0])
