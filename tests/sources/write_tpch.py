"""Sources by parquet-rs, through tpchgen-cli: real-looking tables, page index always present."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.sources.case import SourceCase

_LINEITEM_ENCODINGS = (
    "l_orderkey=DELTA_BINARY_PACKED,l_comment=DELTA_LENGTH_BYTE_ARRAY,"
    "l_shipinstruct=DELTA_BYTE_ARRAY,l_shipdate=PLAIN,l_suppkey=BYTE_STREAM_SPLIT"
)


def _tpch(directory: Path, table: str, codec: str, *options: str, scale: float = 0.01) -> Path:
    tool = Path(sys.executable).with_name("tpchgen-cli")
    command = [str(tool), "parquet", "-s", str(scale), "-T", table, "-o", str(directory)]
    command += ["-c", codec, "-n", "1", "--row-group-bytes", "1500KB", "-q", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return directory / f"{table}.parquet"


def _lineitem(name: str, codec: str, *options: str) -> SourceCase:
    write = partial(_tpch_lineitem, codec=codec, options=options)
    return SourceCase(f"tpch-lineitem-{name}", "parquet-rs", f"lineitem, {codec}", write, 60_175)


def _tpch_lineitem(directory: Path, codec: str, options: tuple[str, ...]) -> Path:
    return _tpch(directory, "lineitem", codec, *options)


def _orders(directory: Path) -> Path:
    return _tpch(directory, "orders", "SNAPPY", "--field-ids", "false", scale=0.02)


CASES = [
    _lineitem("snappy", "SNAPPY"),
    _lineitem("zstd", "ZSTD(1)"),
    _lineitem("lz4", "LZ4_RAW"),
    _lineitem("hadoop-lz4", "LZ4"),
    _lineitem("encodings", "ZSTD(3)", "--column-encoding", _LINEITEM_ENCODINGS),
    SourceCase("tpch-orders", "parquet-rs", "orders, no field ids", _orders, 30_000),
]
