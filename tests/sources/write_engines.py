"""Sources by DuckDB, Polars and fastparquet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import fastparquet
import pandas as pd
import polars as pl

from tests.sources.case import SourceCase
from tests.sources.write_pyarrow import ROWS, table

_NESTED = ("flat", "nested")


def _duckdb(directory: Path, options: str, families: tuple[str, ...] = ("flat",)) -> Path:
    path = directory / "source.parquet"
    data = table(families)  # DuckDB finds it by its name
    with duckdb.connect(":memory:") as db:
        db.execute("set threads = 1; set timezone = 'UTC'")
        db.register("data", data)
        db.execute(f"copy data to '{path}' (format parquet, row_group_size 8192, {options})")
    return path


def _polars(directory: Path, families: tuple[str, ...] = ("flat",), **options: Any) -> Path:
    path = directory / "source.parquet"
    frame = pl.DataFrame(pl.from_arrow(table(families)))
    frame.write_parquet(path, row_group_size=9_000, **options)
    return path


def _fastparquet(directory: Path, **options: Any) -> Path:
    path = directory / "source.parquet"
    names = ["id", "tiny", "code", "wide", "single", "double", "price", "flag", "word", "text"]
    frame: pd.DataFrame = (
        table()
        .select([*names, "blob", "at_us", "at_utc"])
        .to_pandas(integer_object_nulls=False, types_mapper=_nullable)
    )
    encoding = _others(frame) | {"word": "utf8", "text": "utf8", "blob": "bytes"}
    options = {"row_group_offsets": 9_000, "object_encoding": encoding, **options}
    fastparquet.write(str(path), frame, **options)
    return path


def _nullable(kind: Any) -> Any:
    names = {"int8": pd.Int8Dtype(), "int32": pd.Int32Dtype(), "int64": pd.Int64Dtype()}
    return {**names, "bool": pd.BooleanDtype()}.get(str(kind))


def _others(frame: pd.DataFrame) -> dict[str, str]:
    return dict.fromkeys(frame.columns, "infer")


def _case(writer: str, name: str, covers: str, write: Callable[[Path], Path]) -> SourceCase:
    return SourceCase(f"{writer}-{name}", writer, covers, write, ROWS)


CASES = [
    _case("duckdb", "v1", "V1, snappy", partial(_duckdb, options="parquet_version v1")),
    _case(
        "duckdb",
        "v2-zstd",
        "V2: delta and byte-split encodings, zstd, Bloom filters",
        partial(_duckdb, options="parquet_version v2, codec zstd"),
    ),
    *(
        _case("duckdb", c, f"codec {c}", partial(_duckdb, options=f"codec {c}"))
        for c in ("uncompressed", "gzip", "brotli", "lz4_raw")
    ),
    _case("duckdb", "nested", "nested", partial(_duckdb, options="codec zstd", families=_NESTED)),
    _case("polars", "default", "zstd", _polars),
    _case(
        "polars",
        "pages",
        "snappy, small pages, all statistics",
        partial(_polars, compression="snappy", data_page_size=8_192, statistics="full"),
    ),
    _case("polars", "nested", "nested", partial(_polars, families=_NESTED)),
    _case("fastparquet", "default", "no compression, nullable pandas", _fastparquet),
    _case(
        "fastparquet",
        "int96",
        "INT96 times, gzip",
        partial(_fastparquet, times="int96", compression="GZIP"),
    ),
]
