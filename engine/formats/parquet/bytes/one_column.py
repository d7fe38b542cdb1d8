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

Not covered: decoding itself (:mod:`.verifier` and the transcoder do it, with pyarrow).
Source: parquet.thrift and Encodings.md of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    ColumnChunk,
    Encoding,
    Footer,
    Leaf,
    PathForms,
    Repetition,
    Type,
    seal,
    value,
    with_fields,
)
from engine.formats.parquet.bytes.thrift import I64, Raw, Struct

AnyChunk = ColumnChunk | TableChunk

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
_META_FIELDS = (
    spec.ColumnMetaData.ENCODINGS,
    spec.ColumnMetaData.PATH_IN_SCHEMA,
    spec.ColumnMetaData.CODEC,
    spec.ColumnMetaData.NUM_VALUES,
    spec.ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE,
    spec.ColumnMetaData.TOTAL_COMPRESSED_SIZE,
    spec.ColumnMetaData.DATA_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
)
# Arrow reads some old writers' chunks longer than they claim (PARQUET-816), hence created_by.
_FOOTER_FIELDS = (spec.FileMetaData.VERSION, spec.FileMetaData.CREATED_BY)

# Row groups split into undecoded columns: without it, reading a wide file column by column would
# walk over the whole footer once a column.
_split: WeakKeyDictionary[Footer, dict[int, Struct]] = WeakKeyDictionary()


def group_rows(footer: Footer) -> list[int]:
    """Return the number of rows of each row group.

    Raises:
        BadStructure: a row group does not tell.
    """
    return [
        _group_struct(footer, index)[spec.RowGroup.NUM_ROWS][1]
        for index in range(footer.num_row_groups)
    ]


def read_chunk(footer: Footer, row_group: int, column: int) -> tuple[int, ColumnChunk]:
    """Return a row group's number of rows and one of its chunks, without decoding the others.

    Raises:
        BadStructure: the row group lacks the column.
    """
    group = _group_struct(footer, row_group)
    columns = group[spec.RowGroup.COLUMNS][1].items
    if column >= len(columns):
        raise BadStructure(f"row group {row_group} lacks column {column}")
    chunk = spec.read(spec.ColumnChunk, columns[column], max_depth=1)
    return group[spec.RowGroup.NUM_ROWS][1], ColumnChunk(chunk)


def _group_struct(footer: Footer, row_group: int) -> Struct:
    groups = _split.setdefault(footer, {})
    group = groups.get(row_group)
    if group is None:
        data = footer.row_group_data(row_group)
        group = groups[row_group] = spec.read(spec.RowGroup, data, max_depth=0)
    return group


def holds_bits(chunks: Iterable[AnyChunk]) -> bool:
    """Return whether every encoding in use stores floats as it stores integers."""
    return all(encoding in _WIDTH_ONLY for chunk in chunks for encoding in chunk.encodings)


def one_column_footer(
    footer: Footer, leaf: Leaf, chunks: Iterable[tuple[int, AnyChunk]], *, as_bits: bool = True
) -> bytes:
    """Return a tiny file (magic, footer, length, magic) that describes one leaf of some row groups.

    Args:
        footer: of the described file.
        leaf: which column.
        chunks: rows and chunk of each row group, in the order in which they are to be read.
        as_bits: declare floats as integers; false where :func:`holds_bits` says no.
    """
    physical, length = declared_type(leaf, as_bits=as_bits)
    head_of = _heads(leaf, physical)
    groups, num_rows = [], 0
    for rows, chunk in chunks:
        groups.append(_group(rows, chunk, head_of(chunk.encodings, chunk.codec)))
        num_rows += rows
    struct: Struct = {
        field: footer.struct[field] for field in _FOOTER_FIELDS if field in footer.struct
    }
    made = {
        spec.FileMetaData.SCHEMA: _schema(leaf, physical, length),
        spec.FileMetaData.NUM_ROWS: num_rows,
        spec.FileMetaData.ROW_GROUPS: groups,
    }
    return MAGIC + seal(thrift.encode(with_fields(struct, spec.struct_of(made))))


def flat_columns_footer(
    leaves: Sequence[Leaf], groups: Sequence[tuple[int, Sequence[ColumnChunk]]], start: int
) -> bytes:
    """Return a tiny file that describes some columns of some row groups, as bits, all flat.

    Columns are called ``c0``, ``c1`` and so on, as names may occur twice.

    Args:
        leaves: the columns.
        groups: of each row group the number of rows and the chunks of these columns.
        start: place in the described file from which the reader's file begins.
    """
    element = spec.SchemaElement
    schema = [spec.struct_of({element.NAME: b"schema", element.NUM_CHILDREN: len(leaves)})]
    types = [declared_type(leaf) for leaf in leaves]
    for index, (leaf, (physical, length)) in enumerate(zip(leaves, types, strict=True)):
        last = spec.struct_of({element.TYPE: int(physical), element.TYPE_LENGTH: length})
        named = spec.struct_of(_place(leaf.element) | {element.NAME: b"c%d" % index})
        schema.append(last | named)
    made = {
        spec.FileMetaData.VERSION: 2,
        spec.FileMetaData.SCHEMA: schema,
        spec.FileMetaData.NUM_ROWS: sum(num_rows for num_rows, _ in groups),
        spec.FileMetaData.ROW_GROUPS: [
            _flat_group(num_rows, chunks, types, start) for num_rows, chunks in groups
        ],
    }
    return MAGIC + seal(thrift.encode(spec.struct_of(made)))


def flat_path_forms(num_columns: int) -> PathForms:
    """Return how paths are built of columns that are called so."""
    lengths = range(len("c0"), len(f"c{num_columns}") + 1)
    return PathForms(num_columns, frozenset([1]), frozenset(lengths))


_PLACES = (spec.ColumnMetaData.DATA_PAGE_OFFSET, spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET)


def _flat_group(
    num_rows: int, chunks: Sequence[ColumnChunk], types: Sequence[tuple[Type, int]], start: int
) -> Struct:
    columns = []
    for index, (chunk, (physical, _)) in enumerate(zip(chunks, types, strict=True)):
        meta = spec.struct_of({spec.ColumnMetaData.TYPE: int(physical)})
        meta |= {field: chunk.meta[field] for field in _META_FIELDS if field in chunk.meta}
        path = spec.ColumnMetaData.PATH_IN_SCHEMA
        meta[path] = spec.entry(path, [b"c%d" % index])
        for place in _PLACES:
            if value(meta, place):
                meta[place] = spec.entry(place, value(meta, place) - start)
        place = spec.ColumnChunk.FILE_OFFSET
        columns.append(spec.struct_of({place: 0, spec.ColumnChunk.META_DATA: meta}))
    return spec.struct_of(
        {
            spec.RowGroup.COLUMNS: columns,
            spec.RowGroup.TOTAL_BYTE_SIZE: sum(chunk.uncompressed_bytes for chunk in chunks),
            spec.RowGroup.NUM_ROWS: num_rows,
        }
    )


def declared_type(leaf: Leaf, *, as_bits: bool = True) -> tuple[Type, int]:
    """Return the physical type that a leaf is declared as, and the length of a fixed one."""
    if leaf.physical == Type.INT96:
        return Type.FIXED_LEN_BYTE_ARRAY, INT96_BYTES
    if as_bits:
        return _BITS.get(leaf.physical, leaf.physical), leaf.type_length
    return leaf.physical, leaf.type_length


def _schema(leaf: Leaf, physical: Type, length: int) -> list[Struct]:
    element = spec.SchemaElement
    root: dict[spec.Field, Any] = {element.NAME: b"schema", element.NUM_CHILDREN: 1}
    nodes = [{**_place(node), element.NUM_CHILDREN: 1} for node in leaf.nodes[:-1]]
    last: dict[spec.Field, Any] = {element.TYPE: int(physical)}
    if physical == Type.FIXED_LEN_BYTE_ARRAY:
        last[element.TYPE_LENGTH] = length
    last |= _place(leaf.element)
    return [spec.struct_of(node) for node in (root, *nodes, last)]


def _place(node: Struct) -> dict[spec.Field, Any]:
    element = spec.SchemaElement
    return {
        element.REPETITION_TYPE: value(node, element.REPETITION_TYPE, int(Repetition.REQUIRED)),
        element.NAME: value(node, element.NAME, b""),
    }


def _heads(leaf: Leaf, physical: Type) -> Callable[[tuple[int, ...], int], bytes]:
    """Return what gives the bytes of a row group up to its chunk's numbers; few are different."""
    meta = spec.ColumnMetaData

    @cache
    def head_of(encodings: tuple[int, ...], codec: int) -> bytes:
        told = spec.struct_of(
            {
                meta.TYPE: int(physical),
                meta.ENCODINGS: encodings,
                meta.PATH_IN_SCHEMA: [name.encode() for name in leaf.path],
                meta.CODEC: codec,
            }
        )
        chunk = spec.struct_of({spec.ColumnChunk.FILE_OFFSET: 0, spec.ColumnChunk.META_DATA: told})
        # Without the stop bytes of chunk and metadata.
        return thrift.encode(spec.struct_of({spec.RowGroup.COLUMNS: [chunk]}))[:-3]

    return head_of


_NUMBERS = tuple(
    thrift.field_head(field, I64, last)
    for last, field in pairwise(_META_FIELDS[_META_FIELDS.index(spec.ColumnMetaData.CODEC) :])
)
_BEHIND = tuple(
    thrift.field_head(field, I64, last)
    for last, field in pairwise(
        (spec.RowGroup.COLUMNS, spec.RowGroup.TOTAL_BYTE_SIZE, spec.RowGroup.NUM_ROWS)
    )
)


def _group(num_rows: int, chunk: AnyChunk, head: bytes) -> Raw:
    """Return a row group of one chunk: there may be very many."""
    out = bytearray(head)
    numbers = (
        chunk.num_values,
        chunk.uncompressed_bytes,
        chunk.compressed_bytes,
        chunk.data_page_offset,
        chunk.dictionary_page_offset,
    )
    for begin, number in zip(_NUMBERS, numbers, strict=True):
        if number is not None:
            out += begin
            thrift.put_zigzag(out, number)
    out += b"\0\0"  # ends metadata and chunk
    for begin, number in zip(_BEHIND, (chunk.uncompressed_bytes, num_rows), strict=True):
        out += begin
        thrift.put_zigzag(out, number)
    out.append(0)
    return Raw(out)
