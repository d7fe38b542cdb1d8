"""Every writer's files, cut, read by every reader.

The parts must say what the same reader says of the source: values in order, row counts, aggregates
(which readers answer from statistics), filters (which prune by statistics, and by page indexes in
DataFusion and Spark). What a reader cannot read of the source is not compared;
:mod:`tests.matrix.table` lists it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadSetting
from tests.engine.formats.parquet.bytes.chained_file import write_chained
from tests.matrix.table import KEEPS_VERDICTS, record
from tests.sources import SOURCES
from tests.witness import Witness, all_witnesses, judge
from tests.witness.judge import has_page_index
from tests.witness.table import column_names

# Filters by one column at a time, whose pruning reads statistics: not of Spark, where each takes a
# query of some 60 ms, nor of fastparquet, which prunes by nothing but the statistics that `judge`
# compares with the values.
FILTERED = ("pyarrow", "duckdb", "polars", "datafusion")
# Spark takes seconds a file: every run asks it of what its decoders tell apart, `make matrix` of
# every source.
FOR_SPARK = (
    "pyarrow-v2-index-zstd pyarrow-int96 pyarrow-nested-index tpch-lineitem-hadoop-lz4 "
    "duckdb-v2-zstd polars-nested spark-legacy spark-nested-v2"
).split()
# Of the others every fifth, by the one or the other of these, in turn. `make matrix` asks all.
OTHERS = [name for name in SOURCES if name not in FOR_SPARK][::5]
BY_TURN = (("pyarrow", "datafusion"), ("duckdb", "polars", "fastparquet"))
# fastparquet does so with the files of every writer, so it can say nothing of a part's lists.
NO_LISTS = "not asked, as it reads lists as nulls in a file with one row group"


def _parts_of(source: Path, destination: Path) -> list[str]:
    num_rows = pq.read_metadata(source).num_rows
    wish = {"parts": 5} if num_rows >= 5 else {"rows_per_part": 1}
    result = engine.split(str(source), str(destination), fsync=False, **wish)
    return [str(destination / part.name) for part in result.manifest.parts]


def _source(name: str) -> Any:
    is_left = name not in (*FOR_SPARK, *OTHERS) and not KEEPS_VERDICTS
    return pytest.param(name, marks=pytest.mark.skipif(is_left, reason="read by `make matrix`"))


@pytest.mark.slow
@pytest.mark.parametrize("name", map(_source, SOURCES))
def test_parts_equal_their_source_for_every_reader(name, source_file, tmp_path: Path):
    source = source_file(name)
    _compare(name, source, tmp_path, _readers(name, source))


def _readers(name: str, source: Path) -> Sequence[Witness]:
    """Who is asked: of page indexes always DataFusion, which alone reads them beside Spark."""
    if name in FOR_SPARK or KEEPS_VERDICTS:
        return all_witnesses()
    chosen = set(BY_TURN[OTHERS.index(name) % 2])
    if has_page_index([str(source)]):
        chosen.add("datafusion")
    return [witness for witness in all_witnesses(spark=False) if witness.name in chosen]


@pytest.mark.slow
def test_spark_reads_parts_whose_pages_continued_each_other(tmp_path: Path):
    """Spark's vectorized reader is the only one here that reads such files at all."""
    texts = [f"prefix {i:05}" for i in range(3000)]
    rare = [None if 400 < i < 1650 or i % 3 else text for i, text in enumerate(texts)]
    table = pa.table({"text": texts, "rare": rare, "mixed": [text[::-1] for text in texts]})
    source = tmp_path / "source.parquet"
    write_chained(table, source, max_rows_per_page=500, compression="snappy")
    result = engine.split(str(source), str(tmp_path / "parts"), rows_per_part=730, fsync=False)
    parts = [str(tmp_path / "parts" / part.name) for part in result.manifest.parts]
    (spark,) = (witness for witness in all_witnesses() if witness.name == "spark-vectorized")
    # Of the source it does not read a page of nulls alone, which "rare" has.
    for paths, names in (([str(source)], ["text", "mixed"]), (parts, table.column_names)):
        found = spark.fetch(paths, names)
        assert {name: found[name].to_pylist() for name in names} == table.select(names).to_pydict()


def _nested_columns(source: Path) -> list[str]:
    return [field.name for field in pq.read_schema(source) if pa.types.is_nested(field.type)]


def _compare(name: str, source: Path, directory: Path, witnesses: Sequence[Witness]) -> None:
    parts = _parts_of(source, directory / "parts")
    differences = []
    for witness in witnesses:
        nested = _nested_columns(source) if witness.name == "fastparquet" else []
        columns = [c for c in column_names(str(source)) if c not in nested]
        probes = witness.name in FILTERED
        verdict = judge([str(source)], parts, [witness], columns, probes=probes)
        not_asked = [f"{witness.name}: {column}: {NO_LISTS}" for column in nested]
        record(name, witness.name, verdict, not_asked)
        differences += verdict.differences
    assert not differences, "\n".join(differences)


@pytest.mark.ways(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyarrow-nested-index", "pyarrow-v2", "tpch-orders"])
def test_hundreds_of_parts_out_of_one_file(name, source_file, tmp_path: Path):
    source = source_file(name)
    num_rows = pq.read_metadata(source).num_rows
    rows = max(1, num_rows // 101)
    engine.split(str(source), str(tmp_path / "parts"), rows_per_part=rows, fsync=False)
    engine.verify(str(tmp_path / "parts"))


def test_more_parts_than_rows_are_refused(source_file, tmp_path: Path):
    source = source_file("pyarrow-zero-rows")
    with pytest.raises(BadSetting):
        engine.split(str(source), str(tmp_path / "parts"), parts=3)
