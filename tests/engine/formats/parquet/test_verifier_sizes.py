"""Sizes of chunks that a comparison keeps are the footer's, and its table is read for them once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.formats.parquet.bytes import chunk_table
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.verifier import sizes
from engine.formats.parquet.verifier.opened import footer_of
from engine.storage import open_storage

Files = Callable[[str], Path]


@pytest.mark.parametrize("name", ["tpch-orders", "pyarrow-v1-index", "pyarrow-tiny-pages"])
def test_sizes_are_those_of_the_chunks(name: str, source_file: Files) -> None:
    path = source_file(name)
    store, inside = open_storage(str(path))
    found = sizes.sizes_of(footer_of(store.stat(inside)))
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = range(groups[0].num_columns)
    chunks = [[group.column(column) for group in groups] for column in columns]
    assert found.compressed_bytes.tolist() == [
        sum(chunk.total_compressed_size for chunk in column) for column in chunks
    ]
    largest = [max(chunk.total_uncompressed_size for chunk in column) for column in chunks]
    assert found.largest_bytes.tolist() == largest
    at = found.largest_groups.tolist()
    assert [chunks[i][at[i]].total_uncompressed_size for i in columns] == largest
    indexes = sum(
        chunk.has_offset_index + chunk.has_column_index for column in chunks for chunk in column
    )
    assert len(found.index_places) == len(found.index_bytes) == indexes


def test_a_comparison_reads_the_table_of_each_footer_once_for_its_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(1000)}), source, row_group_size=100)
    engine.split(source, tmp_path / "parts", parts=2, fsync=False)
    read: list[Footer] = []

    def read_chunk_table(footer: Footer) -> chunk_table.ChunkTable:
        read.append(footer)
        return chunk_table.read_chunk_table(footer)

    monkeypatch.setattr(sizes, "read_chunk_table", read_chunk_table)
    engine.verify(tmp_path / "parts")
    assert len(read) == len(set(map(id, read))) == 3
