"""DuckDB. Row-group pruning by statistics and Bloom filters, and min/max over ``read_parquet``.

Whether an aggregate is answered from statistics is DuckDB's decision; the test with planted wrong
statistics records what it does today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from tests.witness.model import Aggregates, CannotRead, Probe
from tests.witness.sql import is_bytes, quoted, scalar_text, text_literal
from tests.witness.table import TableWitness, aggregates_of, bisect_failures


class DuckdbWitness(TableWitness):
    name = "duckdb"
    probes_per_column = 2

    def __init__(self) -> None:
        self._db = duckdb.connect(":memory:")
        self._db.execute("set arrow_lossless_conversion = true; set timezone = 'UTC'")

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        names = ", ".join(map(quoted, columns))
        return self._db.sql(f"select {names} from {_scan([path])}").to_arrow_table()

    def _num_rows(self, paths: Sequence[str]) -> int:
        return int(self._rows(f"select count(*) from {_scan(paths)}")[0])

    def _aggregates(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, Aggregates | CannotRead | None]:
        def ask(names: Sequence[str]) -> dict[str, Aggregates | None]:
            wanted = ", ".join(f"min({n}), max({n}), count({n})" for n in map(quoted, names))
            row = self._rows(f"select {wanted} from {_scan(paths)}")
            return {n: aggregates_of(*row[3 * i : 3 * i + 3]) for i, n in enumerate(names)}

        return bisect_failures(ask, columns)

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        wanted = f"{quoted(probe.column)} {probe.op} {self._literal(paths[0], probe)}"
        return int(self._rows(f"select count(*) from {_scan(paths)} where {wanted}")[0])

    def _literal(self, path: str, probe: Probe) -> str:
        if is_bytes(probe.value.type):
            return f"unhex('{probe.value.as_py().hex()}')"
        column = f"select {quoted(probe.column)} from {_scan([path])}"
        return f"cast({text_literal(scalar_text(probe.value))} as {self._type(column)})"

    def _type(self, query: str) -> str:
        return str(self._rows(f"describe {query}")[1])

    def _rows(self, query: str) -> tuple[Any, ...]:
        """The first row, through Arrow: DuckDB's own conversion of zoned times wants pytz."""
        table = self._db.sql(query).to_arrow_table()
        return tuple(column[0].as_py() for column in table.columns)


def _scan(paths: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(text_literal, paths))}])"
