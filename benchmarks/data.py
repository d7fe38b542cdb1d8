"""Inputs, each made once in a folder: TPC-H lineitem in layouts that matter, documents, odd shapes.

lineitem is made by tpchgen-cli; a scale factor is 0.24 GB. What others write is lineitem too,
read from that.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LAYOUTS = {
    "many": [],  # the generator's default: row groups of about 5 MB
    "31": ["--row-group-bytes", "128MB"],
    "one": ["--row-group-bytes", "40GB"],  # a single row group
}
DOCUMENT_BYTES = 20_000
_ONE_PAGE = {"data_page_size": 1 << 30, "max_rows_per_page": 1 << 30}
_FEW_VALUES = (
    "l_linenumber l_quantity l_discount l_tax l_returnflag l_linestatus l_shipdate l_commitdate "
    "l_receiptdate l_shipinstruct l_shipmode"
).split()


def made(path: Path, make: Callable[[Path], object]) -> Path:
    """Return a file, making it if it is not there; a half one is never left under its name."""
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".half-{path.name}")
        make(half)
        half.replace(path)
    return path


def lineitem(folder: Path, layout: str, scale: float) -> Path:
    """Return lineitem as the generator lays it out."""

    def make(path: Path) -> None:
        tool = str(Path(sys.executable).with_name("tpchgen-cli"))
        words = ["parquet", "-s", f"{scale:g}", "-T", "lineitem", "-o", str(path.parent)]
        command = [tool, *words, *LAYOUTS[layout]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (path.parent / "lineitem.parquet").rename(path)

    return made(folder / f"lineitem-sf{scale:g}-{layout}" / "lineitem.parquet", make)


def one_page(folder: Path, scale: float) -> Path:
    """Return lineitem in row groups of a million rows, of which each column chunk is one page."""

    def make(path: Path) -> None:
        source = pq.ParquetFile(lineitem(folder, "many", scale))
        options = {"use_dictionary": _FEW_VALUES, "compression": "snappy", **_ONE_PAGE}
        with pq.ParquetWriter(path, source.schema_arrow, **options) as writer:
            for batch in source.iter_batches(1_000_000):
                writer.write_batch(batch, row_group_size=1_000_000)

    return made(folder / f"lineitem-sf{scale:g}-one-page" / "lineitem.parquet", make)


def written(folder: Path, writer: str, scale: float) -> Path:
    """Return lineitem as DuckDB, fastparquet or Polars writes it when asked for nothing else."""
    source = lineitem(folder, "many", scale)
    path = folder / f"lineitem-sf{scale:g}-{writer}" / "lineitem.parquet"
    return made(path, lambda half: _WRITERS[writer](str(source), str(half)))


def _by_duckdb(source: str, path: str) -> None:
    import duckdb

    duckdb.sql(f"COPY (FROM '{source}') TO '{path}' (FORMAT parquet)")


def _by_fastparquet(source: str, path: str) -> None:
    """In row groups of a million rows; it knows no decimals, so they are floats."""
    import fastparquet

    for number, batch in enumerate(pq.ParquetFile(source).iter_batches(1_000_000)):
        table = pa.Table.from_batches([batch])
        fields = [
            field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
            for field in table.schema
        ]
        frame = table.cast(pa.schema(fields)).to_pandas(date_as_object=False)
        fastparquet.write(path, frame, compression="SNAPPY", append=number > 0, write_index=False)


def _by_polars(source: str, path: str) -> None:
    import polars

    polars.scan_parquet(source).sink_parquet(path)


_WRITERS = {"DuckDB": _by_duckdb, "fastparquet": _by_fastparquet, "Polars": _by_polars}


def documents(folder: Path, num_rows: int, *, rows_a_group: int = 5_000) -> Path:
    """Return texts of 20 kB, no two alike, that Snappy halves."""

    def make(path: Path) -> None:
        random = np.random.default_rng(1)
        with pq.ParquetWriter(path, _DOCUMENT, compression="snappy") as writer:
            for first in range(0, num_rows, rows_a_group):
                number = min(rows_a_group, num_rows - first)
                numbers = pa.array(np.arange(first, first + number))
                writer.write_batch(pa.record_batch([numbers, _texts(random, number)], _DOCUMENT))

    return made(folder / f"documents-{num_rows}" / "documents.parquet", make)


def repeated_documents(folder: Path, num_rows: int, num_distinct: int) -> Path:
    """Return documents of which there are fewer than rows, all in one dictionary."""

    def make(path: Path) -> None:
        random = np.random.default_rng(2)
        letters = random.integers(33, 127, num_distinct * DOCUMENT_BYTES, dtype=np.uint8).tobytes()
        starts = range(0, len(letters), DOCUMENT_BYTES)
        texts = pa.array([letters[start : start + DOCUMENT_BYTES].decode() for start in starts])
        chosen = pa.array(random.integers(0, num_distinct, num_rows))
        table = pa.table([np.arange(num_rows), texts.take(chosen)], schema=_DOCUMENT)
        pq.write_table(table, path, dictionary_pagesize_limit=1 << 30)

    return made(folder / f"documents-{num_rows}-of-{num_distinct}" / "documents.parquet", make)


_DOCUMENT = pa.schema({"number": pa.int64(), "text": pa.string()})
_WORD_BYTES = 8  # with the blank behind


def _texts(random: np.random.Generator, number: int) -> pa.Array:
    """Texts of 2,000 made-up words, the first of them far more often than the last."""
    letters = random.integers(97, 123, 2_000 * _WORD_BYTES, dtype=np.uint8).tobytes().decode()
    lengths = random.integers(3, 12, 2_000)
    words = pa.array([letters[i * _WORD_BYTES :][:n] for i, n in enumerate(lengths)])
    num_words = DOCUMENT_BYTES // _WORD_BYTES
    chosen = (random.random(number * num_words) ** 3 * len(words)).astype(np.int32)
    offsets = pa.array(np.arange(number + 1, dtype=np.int32) * num_words)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(chosen))), " ")


def short_row_groups(folder: Path, number: int) -> Path:
    """Return a table of so many row groups of one row."""

    def make(path: Path) -> None:
        columns = {f"c{i}": np.arange(number) * i for i in range(4)}
        table = pa.table({**columns, "text": [f"row {i}" for i in range(number)]})
        pq.write_table(table, path, row_group_size=1)

    return made(folder / f"row-groups-{number}" / "table.parquet", make)


def wide(folder: Path, num_columns: int, num_rows: int) -> Path:
    """Return a table of many columns, in one row group."""

    def make(path: Path) -> None:
        values = np.random.default_rng(3).integers(0, 1000, (num_columns, num_rows))
        pq.write_table(pa.table({f"c{i}": row for i, row in enumerate(values)}), path)

    return made(folder / f"columns-{num_columns}" / "table.parquet", make)


def sample(folder: Path) -> Path:
    """Return the skewed sample of ``evensplit demo``."""
    from engine.demo import make_sample

    return made(folder / "sample" / "sample.parquet", lambda path: make_sample(str(path)))


def hive(folder: Path, scale: float) -> Path:
    """Return a folder of 5 GB: 384 partitions, 2,000 files, the largest 1,000 of the smallest."""
    rng = np.random.default_rng(7)
    shares = np.arange(1, 2_001) ** (-np.log(1_000) / np.log(2_000))
    sizes = rng.permutation(shares / shares.sum() * 5e9 * scale)
    places = [
        f"year={2021 + it % 4}/month={1 + it // 4 % 12:02d}/region=r{it // 48 % 8}/{it:05d}.parquet"
        for it in range(len(sizes))
    ]
    return files(folder / f"hive-{scale:g}", dict(zip(places, sizes, strict=True)))


def giant_and_dwarfs(folder: Path, scale: float) -> Path:
    """Return a folder of a file of 1 GB in the middle of 500 files of 1 MB."""
    sizes = {f"{it:05d}.parquet": 1e6 * scale for it in range(501)}
    return files(folder / f"giant-{scale:g}", sizes | {"00250.parquet": 1e9 * scale})


def many_files(folder: Path, scale: float) -> Path:
    """Return a folder of 10,000 files of 100 kB."""
    sizes = {f"{it:05d}.parquet": 1e5 * scale for it in range(10_000)}
    return files(folder / f"many-{scale:g}", sizes)


def files(folder: Path, sizes: dict[str, float]) -> Path:
    """Return a folder of files of about these sizes; ids count the rows in the order of names."""

    def make(path: Path) -> None:
        rng = np.random.default_rng(1)
        words = pa.array([f"word {it}" for it in range(1_000)])
        first = 0
        for name in sorted(sizes):
            num_rows = max(1, round(sizes[name] / 17.5))
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            table = pa.table(
                {
                    "id": np.arange(first, first + num_rows),
                    "amount": rng.random(num_rows),
                    "text": pa.DictionaryArray.from_arrays(
                        rng.integers(0, 1_000, num_rows, np.int32), words
                    ).cast(pa.string()),
                }
            )
            pq.write_table(table, path / name, compression="none", use_dictionary=["text"])
            first += num_rows

    return made(folder, make)
