"""The same job by every tool: the command that splits a file into ``out``.

Each is what its documentation or its users say: DuckDB's ``FILE_SIZE_BYTES``, Polars'
``approximate_bytes_per_file``, pyarrow's ``max_rows_per_file``, Spark's ``repartition``, and the
method of tutorials, which reads everything into pandas and writes slices of equal rows. Where a
tool takes no size, the number of parts is that of the source's bytes over the target's, rounded up.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.java import find_java

TARGET_BYTES = 100_000_000
_DUCKDB = """
import duckdb
duckdb.sql("SET threads = 2; SET preserve_insertion_order = true")
duckdb.sql(\"\"\"
    COPY (FROM '{source}') TO '{out}/parts'
    (FORMAT parquet, COMPRESSION {codec}, FILE_SIZE_BYTES {target})
\"\"\")
"""
_POLARS = """
import polars as pl
parts = pl.PartitionBy("{out}/parts", approximate_bytes_per_file={target})
pl.scan_parquet("{source}").sink_parquet(parts, mkdir=True, compression="{codec}")
"""
_PYARROW = """
import pyarrow.dataset as ds
import pyarrow.parquet as pq
rows = -(-pq.read_metadata("{source}").num_rows // {num_parts})
ds.write_dataset(
    ds.dataset("{source}"), "{out}/parts", format="parquet", preserve_order=True,
    file_options=ds.ParquetFileFormat().make_write_options(compression="{codec}"),
    max_rows_per_file=rows, max_rows_per_group=min(rows, 1 << 20),
)
"""
_SPARK = """
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false").config("spark.local.dir", "{out}/scratch")
    .config("spark.sql.parquet.compression.codec", "{codec}").getOrCreate()
)
spark.read.parquet("{source}").repartition({num_parts}).write.parquet("{out}/parts")
java = spark.sparkContext._gateway.proc
spark.stop()
java.stdin.close()
java.wait()
"""
_PANDAS = """
import pandas as pd
frame = pd.read_parquet("{source}")
rows = -(-len(frame) // {num_parts})
for number in range({num_parts}):
    part = frame.iloc[number * rows : (number + 1) * rows]
    part.to_parquet(f"{out}/part-{{number}}.parquet", compression="{codec}")
"""
SCRIPTS = {
    "DuckDB": _DUCKDB,
    "Polars": _POLARS,
    "pyarrow": _PYARROW,
    "Spark": _SPARK,
    "pandas, equal rows": _PANDAS,
}
_WHOLE = """
import pyarrow.parquet as pq
table = pq.read_table("{source}")
rows = -(-table.num_rows // {num_parts})
for number in range({num_parts}):
    pq.write_table(
        table.slice(number * rows, rows), f"{out}/part-{{number}}.parquet",
        row_group_size={row_group_rows}, use_dictionary={dictionary},
    )
"""
EVENSPLIT = str(Path(sys.executable).with_name("evensplit"))


def evensplit(source: Path, out: Path, *options: str) -> list[str]:
    """Split by us."""
    return [EVENSPLIT, "split", str(source), str(out / "parts"), *options]


def others(source: Path, out: Path, *, codec: str = "snappy") -> dict[str, list[str]]:
    """The commands of all others, by the tool's name."""
    find_java()
    words = {
        "source": source,
        "out": out,
        "codec": codec,
        "target": TARGET_BYTES,
        "num_parts": -(-source.stat().st_size // TARGET_BYTES),
    }
    return {name: _python(script.format(**words)) for name, script in SCRIPTS.items()}


def pyarrow_whole(
    source: Path,
    out: Path,
    *,
    num_parts: int = 1,
    row_group_rows: int | None = None,
    dictionary: bool = True,
) -> list[str]:
    """Read all by pyarrow, write parts of equal rows: what one writes for a small file."""
    words = {"source": source, "out": out, "num_parts": num_parts, "dictionary": dictionary}
    return _python(_WHOLE.format(**words, row_group_rows=row_group_rows))


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", script]
