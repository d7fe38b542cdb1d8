"""Sources by Spark (parquet-mr): INT96, legacy layouts, V2 pages, many row groups, Bloom filters.

Read from the same table as all others, by one partition, so the order of rows is the table's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from tests.sources.case import SourceCase
from tests.sources.write_pyarrow import ROWS, table
from tests.witness.spark_session import spark_session

_SMALL = {"parquet.block.size": "400000", "parquet.page.row.count.limit": "1500"}


def _spark(
    directory: Path,
    options: dict[str, str],
    conf: dict[str, str] | None = None,
    families: tuple[str, ...] = ("flat",),
) -> Path:
    staged = directory / "staged.parquet"
    pq.write_table(table(families), staged)
    session = spark_session().newSession()
    for key, value in (conf or {}).items():
        session.conf.set(key, value)
    target = directory / "folder"
    writer = session.read.parquet(str(staged)).coalesce(1).write
    writer.options(**_SMALL, **options).parquet(str(target))
    [part] = target.glob("part-*.parquet")
    path = directory / "source.parquet"
    part.rename(path)
    shutil.rmtree(target)
    staged.unlink()
    return path


def _case(name: str, covers: str, write: Callable[[Path], Path]) -> SourceCase:
    return SourceCase(f"spark-{name}", "parquet-mr", covers, write, ROWS, slow=True)


_INT96 = {"spark.sql.parquet.outputTimestampType": "INT96"}
_MICROS = {"spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS"}
_LEGACY = {"spark.sql.parquet.writeLegacyFormat": "true"}
_BLOOM = {f"parquet.bloom.filter.enabled#{c}": "true" for c in ("id", "text", "code")} | {
    f"parquet.bloom.filter.expected.ndv#{c}": "3000" for c in ("id", "text", "code")
}

CASES = [
    _case("int96", "INT96, snappy", partial(_spark, options={}, conf=_INT96)),
    _case(
        "micros-zstd",
        "micros, zstd",
        partial(_spark, options={"compression": "zstd"}, conf=_MICROS),
    ),
    _case(
        "v2-gzip",
        "V2 pages with delta encodings, gzip",
        partial(
            _spark, options={"parquet.writer.version": "v2", "compression": "gzip"}, conf=_MICROS
        ),
    ),
    _case(
        "legacy",
        "legacy decimals and lists, nested",
        partial(_spark, options={}, conf=_LEGACY | _INT96, families=("flat", "nested")),
    ),
    _case(
        "nested",
        "nested, lz4_raw",
        partial(_spark, options={"compression": "lz4_raw"}, families=("nested",)),
    ),
    _case(
        "nested-v2",
        "nested, V2",
        partial(_spark, options={"parquet.writer.version": "v2"}, families=("nested",)),
    ),
    _case("bloom", "Bloom filters", partial(_spark, options=_BLOOM)),
    _case(
        "plain",
        "no dictionaries, no compression",
        partial(_spark, options={"parquet.enable.dictionary": "false", "compression": "none"}),
    ),
    _case("hadoop-lz4", "Hadoop-framed LZ4", partial(_spark, options={"compression": "lz4"})),
]
