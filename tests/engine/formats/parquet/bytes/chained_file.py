"""A file as parquet-mr before 1.8 wrote it: DELTA_BYTE_ARRAY pages that continue each other.

Made from a file of Arrow's by encoding the prefix lengths and suffixes of each page anew, with the
last value of the page before as the first one's predecessor. Spark reads such files by their
``created_by``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import MAGIC, Encoding, Leaf, Type, seal
from engine.formats.parquet.bytes.levels import read_levels
from engine.formats.parquet.bytes.one_page import decode_values, encode_values
from engine.formats.parquet.bytes.pages import PageType, rewritten_header
from engine.formats.parquet.bytes.thrift import BINARY, I64, LIST, STRUCT
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

CREATED_BY = b"parquet-mr version 1.7.0 (build 0)"


def write_chained(table: pa.Table, path: Path, **options: Any) -> None:
    """Write strings and optional strings, one row group, with pages that continue each other."""
    names = dict.fromkeys(table.column_names, "DELTA_BYTE_ARRAY")
    source = ParquetFile.written(
        table,
        use_dictionary=False,
        column_encoding=names,
        write_statistics=False,
        row_group_size=max(1, len(table)),
        **options,
    )
    out = bytearray(MAGIC)
    columns = []
    for leaf, chunk, num_rows in source.chunks():
        position = len(out)
        uncompressed_bytes = 0
        previous = b""
        pages = source.walked(leaf, chunk, num_rows)
        for number in range(pages.num_pages):
            header, body = source.plain_page(chunk, pages, number)
            assert header.type is PageType.DATA
            assert header.encoding == Encoding.DELTA_BYTE_ARRAY
            levels = read_levels(header, body, max_repetition=0, max_definition=leaf.max_definition)
            section = body[levels.values_offset :]
            values = decode_values(leaf, header.encoding, section, levels.num_values).to_pylist()
            plain = body[: levels.values_offset] + encode_chained(leaf, previous, values)
            previous = values[-1] if values else previous
            packed = compress(chunk.codec, plain)
            head = rewritten_header(
                header,
                packed,
                uncompressed_bytes=len(plain),
                num_values=header.num_values,
                encoding=header.encoding,
            )
            out += head + packed
            uncompressed_bytes += len(head) + len(plain)
        meta = dict(chunk.meta)
        meta[6] = (I64, uncompressed_bytes)
        meta[7] = (I64, len(out) - position)
        meta[9] = (I64, position)
        columns.append({2: (I64, 0), 3: (STRUCT, meta)})
    group = {1: (LIST, thrift.Sequence(STRUCT, columns)), 2: (I64, len(out)), 3: (I64, len(table))}
    footer = dict(source.footer.struct)
    footer[4] = (LIST, thrift.Sequence(STRUCT, [group]))
    footer[6] = (BINARY, CREATED_BY)
    path.write_bytes(bytes(out) + seal(thrift.encode(footer)))


def read_chained(path: Path) -> dict[str, list[str | None]]:
    """Return the values of a file of flat strings, by a decoder of the tests' own."""
    file = ParquetFile.of(path.read_bytes())
    found: dict[str, list[str | None]] = {leaf.name: [] for leaf in file.footer.leaves}
    for leaf, chunk, num_rows in file.chunks():
        previous = b""
        pages = file.walked(leaf, chunk, num_rows)
        for number in range(pages.num_pages):
            header, body = file.plain_page(chunk, pages, number)
            levels = read_levels(header, body, max_repetition=0, max_definition=leaf.max_definition)
            values = []
            if levels.num_values:
                assert header.encoding == Encoding.DELTA_BYTE_ARRAY
                values = _decode(body[levels.values_offset :], previous)
                previous = values[-1]
            left = iter(values)
            there = [True] * header.num_values if levels.definition is None else levels.definition
            found[leaf.name] += [next(left).decode() if here else None for here in there]
    return found


def _decode(data: bytes, previous: bytes) -> list[bytes]:
    prefixes, pos = _numbers(data, 0)
    lengths, pos = _numbers(data, pos)
    found = []
    for prefix, length in zip(prefixes, lengths, strict=True):
        assert prefix <= len(previous)
        previous = previous[:prefix] + data[pos : pos + length]
        pos += length
        found.append(previous)
    assert pos == len(data)
    return found


def _numbers(data: bytes, pos: int) -> tuple[list[int], int]:
    """Decode DELTA_BINARY_PACKED numbers; return them and where they end."""
    (block, minis, count, first), pos = _varints(data, pos, 4)
    found = [_signed(first)]
    while len(found) < count:
        (least,), pos = _varints(data, pos, 1)
        widths, pos = data[pos : pos + minis], pos + minis
        for width in widths:
            if len(found) < count:
                size = width * (block // minis) // 8
                bits = int.from_bytes(data[pos : pos + size], "little")
                pos += size
                for i in range(min(block // minis, count - len(found))):
                    delta = bits >> (i * width) & ((1 << width) - 1)
                    found.append(found[-1] + _signed(least) + delta)
    return found, pos


def _varints(data: bytes, pos: int, count: int) -> tuple[list[int], int]:
    found = []
    for _ in range(count):
        number = shift = 0
        while True:
            number |= (data[pos] & 127) << shift
            shift, pos = shift + 7, pos + 1
            if data[pos - 1] < 128:
                break
        found.append(number)
    return found, pos


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def encode_chained(leaf: Leaf, previous: bytes, values: list[bytes]) -> bytes:
    """Return a page's values section, its first value stored as what follows on ``previous``."""
    if not values:
        return b""
    prefixes, suffixes = [], []
    for value in values:
        pairs = enumerate(zip(previous, value, strict=False))
        shared = next((i for i, (a, b) in pairs if a != b), min(len(previous), len(value)))
        prefixes.append(shared)
        suffixes.append(value[shared:])
        previous = value
    numbers = replace(leaf, physical=Type.INT32, type_length=0)
    texts = replace(leaf, physical=Type.BYTE_ARRAY, type_length=0)
    return encode_values(
        numbers, Encoding.DELTA_BINARY_PACKED, pa.array(prefixes, pa.int32())
    ) + encode_values(texts, Encoding.DELTA_LENGTH_BYTE_ARRAY, pa.array(suffixes, pa.binary()))
