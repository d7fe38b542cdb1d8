"""All witnesses on one question: are these parts, in order, the same table as the source?

``judge`` is the whole: values, row counts, aggregates, filters, statistics of the parts. What was
asked of a source alone is kept for the life of the process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from tests.witness.canonical import first_difference, one_array
from tests.witness.model import (
    CannotRead,
    ColumnReading,
    Probe,
    Reading,
    Selection,
    Witness,
    compare,
    not_compared,
)
from tests.witness.read_datafusion import DatafusionWitness
from tests.witness.read_duckdb import DuckdbWitness
from tests.witness.read_fastparquet import FastparquetWitness
from tests.witness.read_polars import PolarsWitness
from tests.witness.read_pyarrow import PyarrowWitness
from tests.witness.read_spark import SparkWitness
from tests.witness.statistics import wrong_statistics

MAX_CUTS_PROBED = 3
# The least and the greatest value of so many rows beside a cut are asked for: they are bounds of
# the pages rewritten there, or near to them, whatever the size of these.
_WINDOWS_ROWS = (32, 1_000)
_PROBES_WITHOUT_INDEX = 3  # a column


@dataclass(frozen=True)
class Verdict:
    """``differences`` must be empty; ``not_compared`` says what no one could look at, and why.

    ``num_compared``: columns that were compared, each counted once a witness.
    """

    differences: list[str]
    not_compared: list[str]
    num_compared: int


@cache
def all_witnesses(spark: bool = True) -> tuple[Witness, ...]:
    """Every reader, one object a process. Spark starts (some seconds) when it is first asked."""
    quick = (PyarrowWitness(), DuckdbWitness(), PolarsWitness(), DatafusionWitness())
    slow = (SparkWitness(vectorized=True), SparkWitness(vectorized=False)) if spark else ()
    return (*quick, FastparquetWitness(), *slow)


def judge(
    source: Sequence[str],
    parts: Sequence[str],
    witnesses: Sequence[Witness] | None = None,
    columns: Sequence[str] | None = None,
    probes: bool = True,
) -> Verdict:
    lies = _lies_of(tuple(source), _stamps(source))
    skipped = (
        [f"pyarrow: statistics of the parts: the source's are wrong: {lies[0]}"] if lies else []
    )
    differences = [] if lies else [*_lies_of(tuple(parts), _stamps(parts))]
    num_compared = 0
    for witness in all_witnesses() if witnesses is None else witnesses:
        before, after = witness.digest_many([source, parts], columns)
        found = compare(before, after)
        num_compared += sum(isinstance(c, ColumnReading) for c in before.columns.values())
        differences += found
        differences += _examples(witness, source, parts, before) if found else []
        skipped += not_compared(before)
        if probes and not found:
            wrong, refused = probe(witness, source, parts, before)
            differences, skipped = differences + wrong, skipped + refused
        if witness.most_selections and has_page_index(parts) and not found:
            wrong, refused = probe_pages(witness, source, parts, before)
            differences, skipped = differences + wrong, skipped + refused
    return Verdict(differences, skipped, num_compared)


def source_reading(
    witness: Witness, paths: Sequence[str], columns: Sequence[str] | None = None
) -> Reading:
    chosen = None if columns is None else tuple(columns)
    return _kept_reading(witness, tuple(paths), chosen, _stamps(paths))


def probe(
    witness: Witness, source: Sequence[str], parts: Sequence[str], reading: Reading
) -> tuple[list[str], list[str]]:
    """Count rows by filters that pruning may get wrong: (differences, what was refused).

    Values: of the rows beside the cuts first, then the source's least, greatest and middle, then
    bounds of pages at the cuts; as many a column as the witness can afford.
    """
    most = witness.probes_per_column
    if not has_page_index(parts):
        most = min(most, _PROBES_WITHOUT_INDEX)  # only chunks can be pruned wrongly
    questions = _questions(witness, tuple(source), _rows_beside_cuts(parts), reading, most)
    expected = _kept_counts(witness, tuple(source), tuple(questions), _stamps(source))
    found = witness.count_where(parts, questions)
    wrong, refused = [], []
    for question, before, after in zip(questions, expected, found, strict=True):
        if isinstance(before, CannotRead):
            refused.append(f"{witness.name}: where {question}: {before.reason}")
        elif before != after:
            wrong.append(f"{witness.name}: where {question}: source {before}, parts {after}")
    return wrong, refused


def probe_pages(
    witness: Witness, source: Sequence[str], parts: Sequence[str], reading: Reading
) -> tuple[list[str], list[str]]:
    """Select rows by filters that skip pages: (differences, what was refused).

    By columns whose values never fall, as these skip most: rows beside cuts, and in mid-part.
    """
    names = [n for n, c in reading.columns.items() if not isinstance(c, CannotRead)]
    if not names:
        return [], []
    rows = (*_rows_beside_cuts(parts), *_middle_rows(parts))
    questions = _rising_probes(source, names, rows)[: witness.most_selections]
    expected, found = witness.select_where([source, parts], names, questions)
    wrong, refused = [], []
    for question, before, after in zip(questions, expected, found, strict=True):
        where = f"{witness.name}: rows where {question}"
        if isinstance(before, CannotRead):
            refused.append(f"{where}: {before.reason}")
        elif before != after:
            wrong.append(f"{where}: {_other_rows(before, after)}")
    return wrong, refused


def has_page_index(paths: Sequence[str]) -> bool:
    groups = (m.row_group(g) for m in map(pq.read_metadata, paths) for g in range(m.num_row_groups))
    return any(group.num_columns and group.column(0).has_column_index for group in groups)


def _rising_probes(source: Sequence[str], names: Sequence[str], rows: Sequence[int]) -> list[Probe]:
    """Of each column in turn, so that a reader with little time asks of several columns."""
    values = pa.concat_tables(pq.ParquetFile(path).read(columns=names) for path in source)
    arrays = {name: one_array(values[name]) for name in names}
    rising = [name for name in names if _rises(arrays[name])]
    out = [Probe(n, "=", arrays[n][row]) for row in rows for n in rising]
    # Everything behind the last row asked for: all of the pages before it are skipped.
    return [*(Probe(n, ">=", arrays[n][rows[-1]]) for n in rising[:1]), *out]


def _rises(values: pa.Array) -> bool:
    if not _can_probe(values.type) or values.null_count or len(values) == 0:
        return False
    return bool(pc.all(pc.less_equal(values[:-1], values[1:])).as_py() is not False)


def _middle_rows(parts: Sequence[str]) -> tuple[int, ...]:
    start, rows = 0, []
    for num_rows in (pq.read_metadata(path).num_rows for path in parts):
        rows.append(start + num_rows // 2)
        start += num_rows
    return tuple(rows)


def _other_rows(before: Selection, after: Selection | CannotRead) -> str:
    if isinstance(after, CannotRead):
        return f"the source can be asked, the parts cannot: {after.reason}"
    names = [n for n, f in before.fingerprints.items() if after.fingerprints[n] != f]
    return f"source {before.num_rows} rows, parts {after.num_rows}, other values in {names}"


def _questions(
    witness: Witness, source: tuple[str, ...], rows: tuple[int, ...], reading: Reading, most: int
) -> list[Probe]:
    readable = tuple(n for n, c in reading.columns.items() if not isinstance(c, CannotRead))
    out = []
    for name, values in _kept_values(witness, source, readable, _stamps(source)).items():
        if not isinstance(values, CannotRead) and _can_probe(values.type):
            out += _probes_of(name, values, rows)[:most]
    return out


def _probes_of(name: str, values: pa.Array, rows: tuple[int, ...]) -> list[Probe]:
    ordered = _ordered(values)
    if len(ordered) == 0:
        return []
    least, middle, most = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    beside = [v for row in rows if row < len(values) for v in _ordered(values[row : row + 1])]
    bounds = [bound for cut in rows[1::2] for bound in _bounds_beside(values, cut)]
    values_once = {str(v): v for v in (*beside[:2], least, most, *beside[2:], middle, *bounds)}
    equal = [Probe(name, "=", value) for value in values_once.values()]
    return [*equal[:1], Probe(name, ">=", middle), *equal[1:]]


def _bounds_beside(values: pa.Array, cut: int) -> list[pa.Scalar]:
    out = []
    for num_rows in _WINDOWS_ROWS:
        start = max(0, cut - num_rows)
        for window in (values[start:cut], values[cut : cut + num_rows]):
            ordered = _ordered(window)
            out += [ordered[0], ordered[-1]] if len(ordered) else []
    return out


def _ordered(values: pa.Array) -> pa.Array:
    """Neither nulls nor NaN and infinity, which no filter asks for."""
    finite = values.filter(pc.is_finite(values)) if pt.is_floating(values.type) else values
    return finite.drop_null().sort()


def _can_probe(kind: pa.DataType) -> bool:
    plain = pt.is_primitive(kind) or pt.is_decimal(kind)
    text = pt.is_large_string(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)
    return (plain or text) and not pt.is_float16(kind) and not pt.is_duration(kind)


def _rows_beside_cuts(parts: Sequence[str]) -> tuple[int, ...]:
    rows, cuts = 0, []
    for path in parts:
        rows += pq.read_metadata(path).num_rows
        cuts.append(rows)
    inner = cuts[:-1]
    step = max(1, len(inner) // MAX_CUTS_PROBED)
    return tuple(row for cut in inner[::step][:MAX_CUTS_PROBED] for row in (cut - 1, cut))


def _examples(
    witness: Witness, source: Sequence[str], parts: Sequence[str], reading: Reading
) -> list[str]:
    names = [n for n, c in reading.columns.items() if not isinstance(c, CannotRead)]
    before, after = witness.fetch(source, names), witness.fetch(parts, names)
    out = []
    for name in names:
        a, b = before[name], after[name]
        if not isinstance(a, CannotRead) and not isinstance(b, CannotRead):
            found = first_difference(a, b)
            out += [f"{witness.name}: {name}: {found}"] if found else []
    return out


def _stamps(paths: Sequence[str]) -> tuple[tuple[int, int], ...]:
    return tuple((s.st_size, s.st_mtime_ns) for s in map(os.stat, paths))


@cache
def _lies_of(paths: tuple[str, ...], stamps: object) -> list[str]:
    """A source may lie about itself, and its parts then repeat it: not the splitter's fault."""
    return [f"{path}: {words}" for path in paths for words in wrong_statistics(path)]


@cache
def _kept_reading(
    witness: Witness, paths: tuple[str, ...], columns: tuple[str, ...] | None, stamps: object
) -> Reading:
    return witness.digest(paths, columns)


@cache
def _kept_values(
    witness: Witness, paths: tuple[str, ...], columns: tuple[str, ...], stamps: object
) -> dict[str, pa.Array | CannotRead]:
    return witness.fetch(paths, columns)


@cache
def _kept_counts(
    witness: Witness, paths: tuple[str, ...], probes: tuple[Probe, ...], stamps: object
) -> list[int | CannotRead]:
    return witness.count_where(paths, probes)
