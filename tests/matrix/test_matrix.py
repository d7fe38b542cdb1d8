"""Every writer's files, cut, read by every reader.

The parts must say what the same reader says of the source: values in order, row counts, aggregates
(which readers answer from statistics), filters (which prune by statistics and page indexes; asked
of DataFusion, which prunes most, and of Spark for its own files, as its queries take long). What a
reader cannot read of the source is not compared; :mod:`tests.matrix.table` lists it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadSetting
from tests.matrix.table import record
from tests.sources import SOURCES
from tests.witness import all_witnesses, judge

# Spark is one JVM a process: its tests stay together.
SPARK = pytest.mark.xdist_group("spark")
# One of each trait: Spark takes ten seconds and more a file.
SPARK_SOURCES = [
    "pyarrow-codec-snappy",
    "pyarrow-v2",
    "pyarrow-overflow",
    "pyarrow-nested-index",
    "tpch-orders",
    "spark-nested",
    "spark-nested-v2",
]


def _flat_columns(source: Path) -> list[str]:
    """Columns without nesting: fastparquet reads lists as nulls if a file has one row group only.

    It does so for files that pyarrow wrote as well, so it can say nothing of a part's lists.
    """
    schema = pq.read_schema(source)
    return [field.name for field in schema if not pa.types.is_nested(field.type)]


def _parts_of(source: Path, destination: Path) -> list[str]:
    num_rows = pq.read_metadata(source).num_rows
    wish = {"parts": 5} if num_rows >= 5 else {"rows_per_part": 1}
    result = engine.split(str(source), str(destination), fsync=False, **wish)
    return [str(destination / part.name) for part in result.manifest.parts]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in SOURCES.items() if not case.slow])
def test_parts_equal_their_source_for_every_quick_reader(name, source_file, tmp_path: Path):
    source = source_file(name)
    parts = _parts_of(source, tmp_path / "parts")
    for witness in all_witnesses(spark=False):
        columns = _flat_columns(source) if witness.name == "fastparquet" else None
        probes = witness.name == "datafusion"
        verdict = judge([str(source)], parts, [witness], columns, probes=probes)
        record(name, witness.name, verdict)
        assert not verdict.differences, "\n".join(verdict.differences)


@pytest.mark.slow
@SPARK
@pytest.mark.parametrize("name", SPARK_SOURCES)
def test_parts_equal_their_source_for_spark(name, source_file, tmp_path: Path):
    source = source_file(name)
    parts = _parts_of(source, tmp_path / "parts")
    own = SOURCES[name].slow
    for witness in all_witnesses():
        if own or witness.name.startswith("spark"):
            probes = own and witness.name in ("datafusion", "spark-vectorized")
            verdict = judge([str(source)], parts, [witness], probes=probes)
            record(name, witness.name, verdict)
            assert not verdict.differences, "\n".join(verdict.differences)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["pyarrow-nested-index", "pyarrow-v2", "pyarrow-overflow", "tpch-orders", "duckdb-nested"],
)
def test_hundreds_of_parts_out_of_one_file(name, source_file, tmp_path: Path):
    source = source_file(name)
    num_rows = pq.read_metadata(source).num_rows
    rows = max(1, num_rows // 211)
    engine.split(str(source), str(tmp_path / "parts"), rows_per_part=rows, fsync=False)
    engine.verify(str(tmp_path / "parts"))


def test_more_parts_than_rows_are_refused(source_file, tmp_path: Path):
    source = source_file("pyarrow-zero-rows")
    with pytest.raises(BadSetting):
        engine.split(str(source), str(tmp_path / "parts"), parts=3)
