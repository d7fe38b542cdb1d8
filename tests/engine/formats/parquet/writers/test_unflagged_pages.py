"""V2 pages of a writer that says they are not compressed, and they are: read, cut, kept apart."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import value
from engine.formats.parquet.bytes.pages import PageType, read_page_header
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

NUM_ROWS = 4_000
OLD = b"parquet-cpp version 1.5.1 ("


def write_unflagged(table: pa.Table, path: Path) -> None:
    """Write V2 pages, then take their flags and put in the writer that is known for it."""
    options = {"data_page_version": "2.0", "compression": "zstd", "use_dictionary": False}
    pq.write_table(table, path, data_page_size=4_000, **options)
    data = bytearray(path.read_bytes())
    for index in range(pq.read_metadata(path).num_row_groups):
        for chunk in ParquetFile.of(bytes(data)).footer.row_group(index).columns:
            position = chunk.range.offset
            while position < chunk.range.end:
                header = read_page_header(bytes(data), position)
                if header.type is PageType.DATA_V2:
                    assert header.is_compressed
                    detail = value(header.struct, spec.PageHeader.DATA_PAGE_HEADER_V2)
                    flag = spec.DataPageHeaderV2.IS_COMPRESSED
                    detail[flag] = spec.entry(flag, False)
                    new = thrift.encode(header.struct)
                    assert len(new) == header.header_bytes
                    data[position : position + len(new)] = new
                position += header.total_bytes
    name = pq.read_metadata(path).created_by.encode()
    path.write_bytes(bytes(data).replace(name, OLD.ljust(len(name) - 1) + b")"))


def table() -> pa.Table:
    texts = [f"some text {i % 700} and more" for i in range(NUM_ROWS)]
    return pa.table({"id": range(NUM_ROWS), "text": texts})


@pytest.mark.parametrize("wish", [{}, {"codec": "snappy"}, {"row_group_size": "900rows"}])
def test_parts_are_read_as_the_source_is(tmp_path: Path, wish):
    source = tmp_path / "in.parquet"
    write_unflagged(table(), source)
    assert pq.read_table(source).equals(table())
    engine.split(str(source), str(tmp_path / "parts"), parts=3, fsync=False, **wish)
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    assert pa.concat_tables([pq.read_table(part) for part in parts]).equals(table())
    engine.verify(str(tmp_path / "parts"))


def test_beside_another_writer_they_are_refused(tmp_path: Path):
    write_unflagged(table(), tmp_path / "a.parquet")
    pq.write_table(table(), tmp_path / "b.parquet", data_page_version="2.0")
    sources = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    with pytest.raises(SchemaMismatch, match=r"a\.parquet is of 'parquet-cpp version 1\.5\.1"):
        engine.plan(sources, parts=3)
