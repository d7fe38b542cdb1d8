"""fastparquet, a wholly separate Python reader, through pandas, in a process of its own: it dies
of a segmentation fault on some pages (DELTA encodings in V1 pages).

What pandas cannot say is not seen: a null float is NaN, the column's type follows the values, so
types are not compared. No aggregates are asked. Filters prune row groups by statistics.

It also *misreads* some files silently (integers in V2 DELTA pages, chunks that begin with
dictionary pages and end with PLAIN ones). Values that differ from pyarrow's are ``CannotRead``:
wrong values of a source prove nothing; right ones of a source and wrong ones of its parts differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fastparquet import ParquetFile

from tests.witness.canonical import fingerprint, one_array
from tests.witness.isolated import Isolated
from tests.witness.model import Probe
from tests.witness.sql import is_bytes
from tests.witness.table import TableWitness

_OPS = {"=": "==", ">=": ">="}


class FastparquetWitness(TableWitness):
    name = "fastparquet"
    compares_types = False
    probes_per_column = 3

    def __init__(self) -> None:
        self._child = Isolated(preload=__name__)

    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        return self._child.call(read_columns, path, list(columns))

    def _num_rows(self, paths: Sequence[str]) -> int:
        return self._child.call(count_rows, list(paths))

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        if is_bytes(probe.value.type):
            raise NotImplementedError("bytes may be a FLOAT16, whose bounds are not in byte order")
        return self._child.call(count_matches, list(paths), probe)


class Misread(Exception):
    """The reader answered, and wrongly."""


def read_columns(path: str, columns: list[str]) -> pa.Table:
    frame = ParquetFile(path).to_pandas(columns=columns, index=False)
    table = pa.table({name: _to_arrow(frame[name]) for name in columns})
    truth = pq.ParquetFile(path).read(columns=columns)
    wrong = [name for name in columns if not _agrees(table[name], truth[name])]
    if wrong:
        raise Misread(f"values differ from pyarrow's: {wrong}")
    return table


def count_rows(paths: list[str]) -> int:
    return sum(ParquetFile(path).count() for path in paths)


def count_matches(paths: list[str], probe: Probe) -> int:
    """fastparquet prunes row groups; the rows left are filtered here, as its own row filter fails
    on columns with nulls."""
    return sum(_matches(ParquetFile(path), probe) for path in paths)


def _matches(file: ParquetFile, probe: Probe) -> int:
    filters = [(probe.column, _OPS[probe.op], _python(probe.value))]
    frame = file.to_pandas(columns=[probe.column], filters=filters, index=False)
    values = one_array(_to_arrow(frame[probe.column]))
    if len(values) == values.null_count:
        return 0
    test = pc.equal if probe.op == "=" else pc.greater_equal
    return pc.sum(test(values, probe.value.cast(values.type))).as_py() or 0


def _agrees(values: pa.ChunkedArray, truth: pa.ChunkedArray) -> bool:
    """Equal once the truth is put into pandas' words; kinds without such words are let pass."""
    ours, theirs = one_array(values), one_array(truth)
    if len(ours) != len(theirs):
        return False
    try:
        wanted = theirs.cast(ours.type, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return True
    if not pa.types.is_floating(ours.type):
        return fingerprint(ours) == fingerprint(wanted)
    a, b = (x.fill_null(float("nan")).to_numpy(zero_copy_only=False) for x in (ours, wanted))
    return np.allclose(a, b, rtol=1e-12, atol=0, equal_nan=True)


def _python(value: pa.Scalar) -> object:
    if pa.types.is_timestamp(value.type):
        return pd.Timestamp(value.value, unit=value.type.unit, tz=value.type.tz)
    return value.as_py()


def _to_arrow(series: pd.Series) -> pa.Array:
    """One Arrow type per kind of value, whatever width pandas chose for lack or want of nulls."""
    array = pa.array(series, from_pandas=True)
    kind = array.type
    if pa.types.is_signed_integer(kind):
        return array.cast(pa.int64())
    return array.cast(pa.timestamp("ns", kind.tz)) if pa.types.is_timestamp(kind) else array
