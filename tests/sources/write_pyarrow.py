"""Sources by pyarrow (Arrow C++): the widest choice of encodings, page layouts and codecs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.case import SourceCase
from tests.sources.table import make_table

ROWS = 24_000
_GROUP_ROWS = 9_000  # the last row group is smaller than the others
_SMALL_PAGES = {"max_rows_per_page": 1_500, "write_batch_size": 500}
_DELTA = ("code", "short", "steps", "wide", "day", "at_us", "at_utc", "at_ms", "id", "tiny", "rare")


@cache
def table(families: tuple[str, ...] = ("flat",), rows: int = ROWS) -> pa.Table:
    return make_table(rows, seed=7, families=families)


def _write(
    directory: Path, families: tuple[str, ...] = ("flat",), rows: int = ROWS, **options: Any
) -> Path:
    return _write_table(directory, table(families, rows), **options)


def _write_table(directory: Path, data: pa.Table, **options: Any) -> Path:
    path = directory / "source.parquet"
    settings: dict[str, Any] = {"row_group_size": _GROUP_ROWS, **_SMALL_PAGES, **options}
    pq.write_table(data, path, **settings)
    return path


def _encoded(encoding: str, columns: Sequence[str], version: str) -> Callable[[Path], Path]:
    chosen = dict.fromkeys(columns, encoding)
    others = {n: "PLAIN" for n in table().column_names if n not in chosen and n != "flag"}
    return partial(
        _write, use_dictionary=False, column_encoding=chosen | others, data_page_version=version
    )


def _field_ids(directory: Path) -> Path:
    data = table()
    fields = [
        f.with_metadata({"PARQUET:field_id": str(10 + 3 * i), "note": f"column {i}"})
        for i, f in enumerate(data.schema)
    ]
    schema = pa.schema(fields, metadata={"made by": "tests", "empty": "", "utf8": "Ångström"})
    return _write_table(directory, data.cast(schema))


def _overflow(directory: Path) -> Path:
    """Dictionary pages first, then PLAIN ones, in the same chunk."""
    return _write(directory, dictionary_pagesize_limit=20_000, write_page_index=True)


def _zero_rows(directory: Path) -> Path:
    return _write_table(directory, table().slice(0, 0))


def _empty_group(directory: Path) -> Path:
    data = table()
    path = directory / "source.parquet"
    with pq.ParquetWriter(path, data.schema) as writer:
        for start, rows in ((0, 5_000), (5_000, 0), (5_000, 9_000), (14_000, 10_000)):
            writer.write_table(data.slice(start, rows))
    return path


def _pandas(directory: Path) -> Path:
    frame = table().select(["code", "price", "word", "at_us"]).to_pandas()
    return _write_table(directory, pa.Table.from_pandas(frame))


def _case(name: str, covers: str, write: Callable[[Path], Path], rows: int = ROWS) -> SourceCase:
    return SourceCase(f"pyarrow-{name}", "pyarrow", covers, write, rows)


_CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
_BYTES = ("word", "text", "runs", "blob")
_SPLIT = ("single", "double", "price", "code", "wide", "fixed", "dec9", "dec18", "dec38")
_ALL = ("flat", "exotic", "nested")
_BLOOM = {name: {"ndv": 9_000, "fpp": 0.05} for name in ("id", "code", "text", "word", "price")}

CASES = [
    *(_case(f"codec-{c}", f"codec {c}, V1 pages", partial(_write, compression=c)) for c in _CODECS),
    _case("v1-index", "V1, page index", partial(_write, write_page_index=True)),
    _case("v2", "V2 pages, no page index", partial(_write, data_page_version="2.0")),
    _case(
        "v2-index-zstd",
        "V2 pages, page index, zstd, page CRCs",
        partial(
            _write,
            data_page_version="2.0",
            compression="zstd",
            write_page_index=True,
            write_page_checksum=True,
        ),
    ),
    _case("checksums", "page CRCs, V1", partial(_write, write_page_checksum=True)),
    _case("plain", "no dictionaries: PLAIN", partial(_write, use_dictionary=False)),
    _case("delta-v1", "DELTA_BINARY_PACKED, V1", _encoded("DELTA_BINARY_PACKED", _DELTA, "1.0")),
    _case("delta-v2", "DELTA_BINARY_PACKED, V2", _encoded("DELTA_BINARY_PACKED", _DELTA, "2.0")),
    _case(
        "delta-length",
        "DELTA_LENGTH_BYTE_ARRAY, V1",
        _encoded("DELTA_LENGTH_BYTE_ARRAY", _BYTES, "1.0"),
    ),
    _case(
        "delta-bytes",
        "DELTA_BYTE_ARRAY of strings and fixed bytes, V2",
        _encoded("DELTA_BYTE_ARRAY", (*_BYTES, "fixed", "dec38"), "2.0"),
    ),
    _case("byte-split", "BYTE_STREAM_SPLIT", _encoded("BYTE_STREAM_SPLIT", _SPLIT, "1.0")),
    _case("overflow", "dictionary given up in mid-chunk, page index", _overflow),
    _case(
        "overflow-v2",
        "the same, V2, no page index",
        partial(_write, dictionary_pagesize_limit=20_000, data_page_version="2.0"),
    ),
    _case(
        "tiny-pages",
        "40 rows a page",
        partial(
            _write, rows=6_000, max_rows_per_page=40, write_batch_size=40, write_page_index=True
        ),
        6_000,
    ),
    _case(
        "one-page",
        "one huge page a chunk, one row group",
        partial(
            _write,
            row_group_size=10**9,
            max_rows_per_page=10**9,
            data_page_size=10**9,
            write_batch_size=10**6,
        ),
    ),
    _case(
        "bloom",
        "Bloom filters, page index",
        partial(_write, bloom_filter_options=_BLOOM, write_page_index=True),
    ),
    _case("no-statistics", "statistics absent", partial(_write, write_statistics=False)),
    _case("int96", "INT96 timestamps", partial(_write, use_deprecated_int96_timestamps=True)),
    _case("decimal-int", "INT32, INT64 decimals", partial(_write, store_decimal_as_integer=True)),
    _case(
        "sorted",
        "sorting columns",
        partial(_write, sorting_columns=[pq.SortingColumn(0), pq.SortingColumn(4)]),
    ),
    _case("field-ids", "field ids, field and file metadata", _field_ids),
    _case("pandas", "pandas metadata with a RangeIndex", _pandas),
    _case("exotic", "types few readers know, V1", partial(_write, families=("exotic",))),
    _case("nested", "nested, V1, no page index", partial(_write, families=("nested",))),
    _case(
        "nested-index",
        "nested, V1, page index",
        partial(_write, families=("nested",), write_page_index=True),
    ),
    _case(
        "nested-v2",
        "nested, V2, page index, zstd",
        partial(
            _write,
            families=("nested",),
            data_page_version="2.0",
            write_page_index=True,
            compression="zstd",
        ),
    ),
    _case(
        "nested-legacy",
        "lists whose element is called item",
        partial(_write, families=("nested",), use_compliant_nested_type=False),
    ),
    _case(
        "no-arrow-schema",
        "all families without ARROW:schema",
        partial(_write, families=_ALL, store_schema=False),
    ),
    _case("zero-rows", "no rows, no row group", _zero_rows, 0),
    _case("empty-group", "a row group of no rows between others", _empty_group),
]
