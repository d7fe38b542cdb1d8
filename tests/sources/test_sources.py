"""Every source case is written by its writer, read by pyarrow, and is what its name promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources import SOURCES, SourceCase, make_table, written
from tests.witness import wrong_statistics
from tests.witness.canonical import fingerprint

Files = Callable[[str], Path]


def _chunk(path: Path, column: str) -> pq.ColumnChunkMetaData:
    group = pq.read_metadata(path).row_group(0)
    chunks = (group.column(i) for i in range(group.num_columns))
    return next(c for c in chunks if c.path_in_schema == column)


@pytest.mark.parametrize("name", SOURCES)
def test_is_writable_and_readable(name: str, source_file: Files) -> None:
    path = source_file(name)
    table = pq.ParquetFile(path).read()
    assert abs(len(table) - SOURCES[name].num_rows) <= SOURCES[name].num_rows * 0.05
    assert wrong_statistics(str(path)) == []


@pytest.mark.parametrize("name", SOURCES)
def test_rows_are_in_order(name: str, source_file: Files) -> None:
    file = pq.ParquetFile(source_file(name))
    if "id" in file.schema_arrow.names:
        ids = file.read(columns=["id"])["id"].to_pylist()
        assert ids == list(range(len(ids)))


@pytest.mark.parametrize(
    ("name", "column", "encoding"),
    [
        ("pyarrow-plain", "text", "PLAIN"),
        ("pyarrow-codec-snappy", "text", "RLE_DICTIONARY"),
        ("pyarrow-delta-v1", "steps", "DELTA_BINARY_PACKED"),
        ("pyarrow-delta-v2", "steps", "DELTA_BINARY_PACKED"),
        ("pyarrow-delta-length", "text", "DELTA_LENGTH_BYTE_ARRAY"),
        ("pyarrow-delta-bytes", "text", "DELTA_BYTE_ARRAY"),
        ("pyarrow-byte-split", "double", "BYTE_STREAM_SPLIT"),
        ("pyarrow-v2", "flag", "RLE"),
        ("tpch-lineitem-encodings", "l_comment", "DELTA_LENGTH_BYTE_ARRAY"),
        ("tpch-lineitem-encodings", "l_suppkey", "BYTE_STREAM_SPLIT"),
        ("duckdb-v2-zstd", "text", "DELTA_LENGTH_BYTE_ARRAY"),
        ("spark-v2-gzip", "steps", "DELTA_BINARY_PACKED"),
    ],
)
def test_has_the_encoding(name: str, column: str, encoding: str, source_file: Files) -> None:
    assert encoding in _chunk(source_file(name), column).encodings


@pytest.mark.parametrize("name", ["pyarrow-overflow", "pyarrow-overflow-v2"])
def test_dictionary_overflows_to_plain(name: str, source_file: Files) -> None:
    chunk = _chunk(source_file(name), "text")
    assert chunk.has_dictionary_page
    assert "PLAIN" in chunk.encodings
    assert chunk.total_uncompressed_size > 2 * 20_000


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("pyarrow-codec-none", "UNCOMPRESSED"),
        ("pyarrow-codec-brotli", "BROTLI"),
        ("pyarrow-codec-lz4", "LZ4"),
        ("tpch-lineitem-zstd", "ZSTD"),
        ("duckdb-gzip", "GZIP"),
        ("spark-micros-zstd", "ZSTD"),
        ("fastparquet-int96", "GZIP"),
    ],
)
def test_has_the_codec(name: str, codec: str, source_file: Files) -> None:
    group = pq.read_metadata(source_file(name)).row_group(0)
    assert group.column(0).compression == codec


@pytest.mark.parametrize("name", ["pyarrow-int96", "spark-int96", "fastparquet-int96"])
def test_has_int96(name: str, source_file: Files) -> None:
    assert _chunk(source_file(name), "at_utc").physical_type == "INT96"


@pytest.mark.parametrize("name", ["pyarrow-v1-index", "pyarrow-tiny-pages", "tpch-orders"])
def test_has_a_page_index(name: str, source_file: Files) -> None:
    chunk = pq.read_metadata(source_file(name)).row_group(0).column(0)
    assert chunk.has_column_index
    assert chunk.has_offset_index


def test_decimals_are_integers(source_file: Files) -> None:
    path = source_file("pyarrow-decimal-int")
    kinds = [_chunk(path, name).physical_type for name in ("dec9", "dec18", "dec38")]
    assert kinds == ["INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"]


def test_one_writer_a_case_is_seen_in_created_by(source_file: Files) -> None:
    hints = {
        "pyarrow": "parquet-cpp",
        "parquet-rs": "parquet-rs",
        "duckdb": "DuckDB",
        "polars": "Polars",
        "fastparquet": "fastparquet",
        "parquet-mr": "parquet-mr",
    }
    for writer, hint in hints.items():
        name = next(n for n, c in SOURCES.items() if c.writer == writer)
        assert hint.lower() in pq.read_metadata(source_file(name)).created_by.lower()


def test_table_is_deterministic_and_families_are_independent() -> None:
    one, again, other = (_fingerprints(make_table(300, seed=seed)) for seed in (5, 5, 6))
    assert one == again
    assert one != other
    for family in ("flat", "exotic", "nested"):
        assert _fingerprints(make_table(300, seed=5, families=(family,))).items() <= one.items()


def _fingerprints(table: pa.Table) -> dict[str, str]:
    return {name: fingerprint(table[name]) for name in table.column_names}


def test_cache_writes_once(tmp_path: Path) -> None:
    calls = []

    def write(directory: Path) -> Path:
        calls.append(directory)
        (directory / "x").write_text("x")
        return directory / "x"

    case = SourceCase("case", "nobody", "", write, 0)
    assert written(case, tmp_path) == written(case, tmp_path)
    assert len(calls) == 1
