"""Small good files by six writers: ``python -m tests.fuzz.corpus FOLDER`` writes them.

A few KB each, so that thousands can be split a minute: flat and nested, dictionaries, V1 and V2
pages, every codec, with and without page indexes and checksums, one row group and several. Columns
are shared out to files of two or three, as what a split of small files takes goes by columns.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.table import make_table

ROWS = 40
# Columns of a family's files, one file for each tuple.
_FAMILIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "flat": (("id", "double", "flag"), ("id", "word", "dec18")),
    "nested": (("id", "deep"), ("id", "attributes")),
    "exotic": (("id", "u32", "half"), ("id", "uuid")),
    "text": (("id", "word"), ("id", "text", "double")),
    "long": (("id", "long"),),
}
_PAGES = {"max_rows_per_page": 8, "write_batch_size": 4}
_INDEX = {"write_page_index": True, **_PAGES}
_V2 = {"data_page_version": "2.0"}
_DELTA = {
    "use_dictionary": False,
    "column_encoding": {
        "id": "DELTA_BINARY_PACKED",
        "word": "DELTA_BYTE_ARRAY",
        "text": "DELTA_LENGTH_BYTE_ARRAY",
        "double": "BYTE_STREAM_SPLIT",
    },
}
# Name of the file: family of columns, options of pyarrow.
_ARROW: dict[str, tuple[str, dict[str, Any]]] = {
    "arrow-plain": ("flat", {"compression": "none", "use_dictionary": False, **_PAGES}),
    "arrow-v1": ("flat", {**_PAGES, "row_group_size": 20}),
    "arrow-index": ("flat", {**_INDEX, "row_group_size": 20}),
    "arrow-v2-index": ("flat", {**_INDEX, **_V2, "compression": "zstd"}),
    "arrow-crc": ("flat", {**_PAGES, "write_page_checksum": True, "compression": "gzip"}),
    "arrow-overflow": ("long", {**_INDEX, "dictionary_pagesize_limit": 200, "row_group_size": 30}),
    "arrow-delta": ("text", {**_INDEX, **_V2, **_DELTA, "compression": "lz4"}),
    "arrow-brotli": ("text", {**_PAGES, "compression": "brotli", "row_group_size": 17}),
    "arrow-nested": ("nested", {**_PAGES, "row_group_size": 25}),
    "arrow-nested-index": ("nested", {**_INDEX, "compression": "none"}),
    "arrow-nested-v2": ("nested", {**_INDEX, **_V2, "compression": "zstd", "row_group_size": 25}),
    "arrow-exotic": ("exotic", {**_INDEX, "row_group_size": 20}),
    "arrow-bloom": (
        "flat",
        {**_INDEX, "bloom_filter_options": {n: {"ndv": 30, "fpp": 0.1} for n in ("id", "word")}},
    ),
    "arrow-one-page": ("flat", {"compression": "none"}),
}


def tables(family: str) -> Iterator[tuple[str, pa.Table]]:
    """Tables of few rows and columns, each with the last of its columns as its name."""
    source = "flat" if family == "text" else family
    whole = _long_texts() if family == "long" else make_table(ROWS, seed=3, families=(source,))
    for names in _FAMILIES[family]:
        yield names[-1], whole.select(names)


def _long_texts() -> pa.Table:
    texts = [None if i % 13 == 5 else f"{i % 7} {'long text ' * (i % 7 * 8)}" for i in range(ROWS)]
    return pa.table({"id": range(ROWS), "long": texts})


def write_corpus(folder: Path) -> list[Path]:
    """Write all files; return them in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (family, options) in _ARROW.items():
        for column, table in tables(family):
            given = {name: _of_columns(option, table) for name, option in options.items()}
            pq.write_table(table, folder / f"{name}-{column}.parquet", **given)
    _by_duckdb(folder)
    _by_polars(folder)
    _by_fastparquet(folder)
    _by_datafusion(folder)
    return sorted(folder.glob("*.parquet"))


def _of_columns(option: Any, table: pa.Table) -> Any:
    """An option, without what it says of columns that a table has not."""
    if not isinstance(option, dict):
        return option
    return {name: value for name, value in option.items() if name in table.column_names}


def _by_duckdb(folder: Path) -> None:
    import duckdb

    with duckdb.connect() as con:
        con.execute("set threads = 1; set timezone = 'UTC'")
        for family, options in (
            ("flat", "parquet_version v1, codec snappy"),
            ("text", "parquet_version v2, codec zstd"),
            ("nested", "codec lz4_raw"),
        ):
            for column, table in tables(family):
                con.register("given", table)
                path = folder / f"duckdb-{column}.parquet"
                con.execute(f"copy given to '{path}' (format parquet, {options})")


def _by_polars(folder: Path) -> None:
    import polars as pl

    for family in ("flat", "nested"):
        for column, table in tables(family):
            frame = pl.DataFrame(pl.from_arrow(table))
            path = folder / f"polars-{column}.parquet"
            frame.write_parquet(path, row_group_size=25, data_page_size=200, statistics="full")


def _by_fastparquet(folder: Path) -> None:
    import fastparquet

    for column, table in tables("text"):
        path = str(folder / f"fastparquet-{column}.parquet")
        fastparquet.write(path, table.to_pandas(), row_group_offsets=20, object_encoding="utf8")


def _by_datafusion(folder: Path) -> None:
    from datafusion import SessionContext

    context = SessionContext()
    options = "'format.max_row_group_size' '24', 'format.data_page_row_count_limit' '8'"
    for family in ("flat", "nested"):
        for column, table in tables(family):
            given, path = folder / f"{column}.given", folder / f"datafusion-{column}.parquet"
            pq.write_table(table, given)
            context.register_parquet(column, str(given), file_extension=".given")
            copy = (
                f"COPY (SELECT * FROM {column}) TO '{path}' STORED AS PARQUET OPTIONS ({options})"
            )
            context.sql(copy).collect()
            given.unlink()


def _by_spark(folder: Path) -> None:
    from tests.witness.spark_session import spark_session

    given, target = folder / "spark.given", folder / "spark"
    session = spark_session()
    for column, table in tables("flat"):
        pq.write_table(table, given)
        for version in ("v1", "v2"):
            writer = session.read.parquet(str(given)).coalesce(1).write.mode("overwrite")
            options = {"parquet.writer.version": version, "parquet.page.row.count.limit": "10"}
            writer.options(**options).parquet(str(target))
            [part] = target.glob("part-*.parquet")
            part.rename(folder / f"spark-{version}-{column}.parquet")
        given.unlink()
    shutil.rmtree(target)


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
    if "--spark" in sys.argv:
        _by_spark(Path(sys.argv[1]))
