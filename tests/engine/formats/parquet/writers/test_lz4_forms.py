"""LZ4, codec 5, names several forms: new pages have the one that the chunk's pages have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.codecs import is_lz4_block
from engine.formats.parquet.bytes.footer import (
    TAIL_BYTES,
    Codec,
    Footer,
    footer_range,
    part_footer,
    seal,
    with_fields,
)
from engine.formats.parquet.bytes.pages import read_page_header
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile


def write_plain_blocks(table: pa.Table, path: Path) -> None:
    """Write LZ4 blocks, and call them by the number that Hadoop's framing has as well."""
    pq.write_table(table, path, compression="lz4", data_page_size=3_000)
    data = path.read_bytes()
    place = footer_range(data[-TAIL_BYTES:], len(data))
    footer = Footer(data[place.offset : place.end])
    groups = []
    for index in range(footer.num_row_groups):
        group = thrift.decode(footer.row_group_data(index))[0]
        for chunk in group[spec.RowGroup.COLUMNS][1].items:
            field = spec.ColumnChunk.META_DATA
            codec = spec.struct_of({spec.ColumnMetaData.CODEC: int(Codec.LZ4)})
            chunk[field] = spec.entry(field, with_fields(chunk[field][1], codec))
        groups.append(group)
    changed = part_footer(footer.struct, groups, footer.num_rows, list(footer.key_values))
    path.write_bytes(data[: place.offset] + seal(changed))


@pytest.mark.parametrize("wish", [{"parts": 3}, {"parts": 1, "row_group_size": "700rows"}])
def test_new_pages_are_plain_blocks_where_the_chunks_are(tmp_path: Path, wish):
    source = tmp_path / "in.parquet"
    texts = [f"some text {i % 50} and more" for i in range(4_000)]
    table = pa.table({"id": range(4_000), "text": texts})
    write_plain_blocks(table, source)
    assert pq.read_table(source).equals(table)
    engine.split(str(source), str(tmp_path / "parts"), fsync=False, **wish)
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    assert pa.concat_tables([pq.read_table(part) for part in parts]).equals(table)
    for part in parts:
        data = part.read_bytes()
        footer = ParquetFile.of(data).footer
        for index in range(footer.num_row_groups):
            for chunk in footer.row_group(index).columns:
                position = chunk.range.offset
                while position < chunk.range.end:
                    header = read_page_header(data, position)
                    end = position + header.total_bytes
                    assert is_lz4_block(
                        data[position + header.header_bytes : end], header.uncompressed_bytes
                    )
                    position = end


def test_what_is_no_block_is_said_to_be_none():
    assert not is_lz4_block(bytes(range(200, 250)), 400)
    assert not is_lz4_block(b"", 400)
