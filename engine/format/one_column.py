"""A whole tiny Parquet file that describes one column of another file, by physical type alone.

Arrow reads a file by whatever footer it is given. Given the one made here, it reads a single leaf
of the described file, with the levels and the bits that stand in its pages and nothing else: no
logical types (so nothing is converted, rejected or rounded), no statistics, no other column. The
caller hands the bytes to ``pyarrow.parquet.read_metadata`` and the result, as ``metadata``, to a
``ParquetFile`` over the described file.

What is declared differently, and why the bytes in the pages are still right:

====================  ==============================  ==========================================
in the file           declared                        why
====================  ==============================  ==========================================
FLOAT, DOUBLE         INT32, INT64                    NaN payloads and -0.0 keep their bits
INT96                 FIXED_LEN_BYTE_ARRAY(12)        not turned into a timestamp that overflows
LIST, MAP, ... groups plain groups, same repetition   same levels, without rules for old lists
====================  ==============================  ==========================================

Not covered: decoding itself (:mod:`engine.verifier` and the transcoder do it, with pyarrow).
Source: parquet.thrift and Encodings.md of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

from engine.errors import BadStructure
from engine.format import thrift
from engine.format.footer import (
    MAGIC,
    ColumnChunk,
    Encoding,
    Footer,
    Leaf,
    Type,
    seal,
)
from engine.format.thrift import BINARY, I32, I64, LIST, STRUCT, Struct

INT96_BYTES = 12
_BITS = {Type.FLOAT: Type.INT32, Type.DOUBLE: Type.INT64}
# Encodings that store a float exactly as they store an integer of its width.
_WIDTH_ONLY = {
    Encoding.PLAIN,
    Encoding.PLAIN_DICTIONARY,
    Encoding.RLE,
    Encoding.BIT_PACKED,
    Encoding.RLE_DICTIONARY,
    Encoding.BYTE_STREAM_SPLIT,
}
_CHUNK_FIELDS = (2,)  # file offset
_META_FIELDS = (1, 2, 3, 4, 5, 6, 7, 9, 11)  # type, encodings, path, codec, sizes, page offsets
# Arrow reads some old writers' chunks longer than they claim (PARQUET-816), hence created_by (6).
_FOOTER_FIELDS = (1, 6)

# Row groups split into undecoded columns: without it, reading a wide file column by column would
# walk over the whole footer once a column.
_split: WeakKeyDictionary[Footer, dict[int, Struct]] = WeakKeyDictionary()


def group_rows(footer: Footer) -> list[int]:
    """Return the number of rows of each row group.

    Raises:
        BadStructure: a row group does not tell.
    """
    return [_group_struct(footer, index)[3][1] for index in range(footer.num_row_groups)]


def read_chunk(footer: Footer, row_group: int, column: int) -> tuple[int, ColumnChunk]:
    """Return a row group's number of rows and one of its chunks, without decoding the others.

    Raises:
        BadStructure: the row group lacks the column.
    """
    group = _group_struct(footer, row_group)
    columns = group[1][1].items
    if column >= len(columns):
        raise BadStructure(f"row group {row_group} lacks column {column}")
    chunk, _ = thrift.decode(columns[column], max_depth=1)
    return group[3][1], ColumnChunk(chunk)


def _group_struct(footer: Footer, row_group: int) -> Struct:
    groups = _split.setdefault(footer, {})
    group = groups.get(row_group)
    if group is None:
        group, _ = thrift.decode(footer.struct[4][1].items[row_group], max_depth=0)
        if 1 not in group or 3 not in group:
            raise BadStructure(f"row group {row_group} lacks its columns or its number of rows")
        groups[row_group] = group
    return group


def holds_bits(chunks: Iterable[ColumnChunk]) -> bool:
    """Return whether every encoding in use stores floats as it stores integers."""
    return all(encoding in _WIDTH_ONLY for chunk in chunks for encoding in chunk.encodings)


def one_column_footer(
    footer: Footer, leaf: Leaf, row_groups: Sequence[int], *, as_bits: bool = True
) -> bytes:
    """Return a tiny file (magic, footer, length, magic) that describes one leaf of some row groups.

    Args:
        footer: of the described file.
        leaf: which column.
        row_groups: which row groups, in the order in which they are to be read.
        as_bits: declare floats as integers; false where :func:`holds_bits` says no.

    Raises:
        BadStructure: a row group lacks the column.
    """
    physical, length = declared_type(leaf, as_bits=as_bits)
    num_rows = 0
    groups: list[Struct] = []
    for index in row_groups:
        rows, chunk = read_chunk(footer, index, leaf.index)
        num_rows += rows
        groups.append(_group(rows, chunk, physical))
    struct: Struct = {
        field: footer.struct[field] for field in _FOOTER_FIELDS if field in footer.struct
    }
    struct[2] = (LIST, thrift.Sequence(STRUCT, _schema(leaf, physical, length)))
    struct[3] = (I64, num_rows)
    struct[4] = (LIST, thrift.Sequence(STRUCT, groups))
    return MAGIC + seal(thrift.encode(dict(sorted(struct.items()))))


def declared_type(leaf: Leaf, *, as_bits: bool = True) -> tuple[Type, int]:
    """Return the physical type that a leaf is declared as, and the length of a fixed one."""
    if leaf.physical == Type.INT96:
        return Type.FIXED_LEN_BYTE_ARRAY, INT96_BYTES
    if as_bits:
        return _BITS.get(leaf.physical, leaf.physical), leaf.type_length
    return leaf.physical, leaf.type_length


def _schema(leaf: Leaf, physical: Type, length: int) -> list[Struct]:
    root: Struct = {4: (BINARY, b"schema"), 5: (I32, 1)}
    nodes: list[Struct] = [
        {3: node.get(3, (I32, 0)), 4: node.get(4, (BINARY, b"")), 5: (I32, 1)}
        for node in leaf.nodes[:-1]
    ]
    last: Struct = {1: (I32, int(physical))}
    if physical == Type.FIXED_LEN_BYTE_ARRAY:
        last[2] = (I32, length)
    last |= {3: leaf.element.get(3, (I32, 0)), 4: leaf.element.get(4, (BINARY, b""))}
    return [root, *nodes, last]


def _group(num_rows: int, chunk: ColumnChunk, physical: Type) -> Struct:
    meta = {field: chunk.meta[field] for field in _META_FIELDS if field in chunk.meta}
    meta[1] = (I32, int(physical))
    struct = {field: chunk.struct[field] for field in _CHUNK_FIELDS if field in chunk.struct}
    struct[3] = (STRUCT, meta)
    return {
        1: (LIST, thrift.Sequence(STRUCT, [struct])),
        2: (I64, chunk.uncompressed_bytes),
        3: (I64, num_rows),
    }
