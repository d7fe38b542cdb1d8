"""Polars, lazily scanned with statistics on, so filters prune row groups and late-materialise."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from tests.witness.model import Aggregates, CannotRead, Probe
from tests.witness.table import TableWitness, aggregates_of, bisect_failures


class PolarsWitness(TableWitness):
    name = "polars"
    probes_per_column = 2

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        return _scan([path]).select(columns).collect().to_arrow()

    def _num_rows(self, paths: Sequence[str]) -> int:
        return int(_scan(paths).select(pl.len()).collect().item())

    def _aggregates(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, Aggregates | CannotRead | None]:
        def ask(names: Sequence[str]) -> dict[str, Aggregates | None]:
            every = [f(n) for n in names for f in (_min, _max, _count)]
            row = _scan(paths).select(every).collect().row(0)
            return {n: aggregates_of(*row[3 * i : 3 * i + 3]) for i, n in enumerate(names)}

        return bisect_failures(ask, columns)

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        rows = _scan(paths)
        kind = rows.collect_schema()[probe.column]
        value = pl.lit(pl.Series([probe.value.as_py()]).cast(kind).item(), dtype=kind)
        column = pl.col(probe.column)
        kept = rows.filter(column == value if probe.op == "=" else column >= value)
        return int(kept.select(pl.len()).collect().item())


def _scan(paths: Sequence[str]) -> pl.LazyFrame:
    return pl.scan_parquet(list(paths), glob=False, use_statistics=True, parallel="auto")


def _min(name: str) -> pl.Expr:
    return pl.col(name).min().alias(f"min {name}")


def _max(name: str) -> pl.Expr:
    return pl.col(name).max().alias(f"max {name}")


def _count(name: str) -> pl.Expr:
    return pl.col(name).count().alias(f"count {name}")
