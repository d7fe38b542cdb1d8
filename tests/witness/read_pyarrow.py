"""pyarrow (Arrow C++). Filters go through the dataset scanner, which prunes row groups.

It does not read the page index. It answers no min/max from statistics: ``statistics`` checks those.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tests.witness.model import Probe
from tests.witness.table import TableWitness


class PyarrowWitness(TableWitness):
    name = "pyarrow"
    probes_per_column = 2

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns=list(columns))

    def _num_rows(self, paths: Sequence[str]) -> int:
        return int(ds.dataset(list(paths), format="parquet").count_rows())

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        table = ds.dataset(list(paths), format="parquet")
        kind = table.schema.field(probe.column).type
        if kind in (pa.string_view(), pa.binary_view()):  # these have no comparison in Arrow
            values = table.to_table(columns=[probe.column])[probe.column].cast(probe.value.type)
            return int(pc.sum(_TESTS[probe.op](values, probe.value)).as_py() or 0)
        return int(table.count_rows(filter=_TESTS[probe.op](pc.field(probe.column), probe.value)))


_TESTS = {"=": pc.equal, ">=": pc.greater_equal}
