"""Values of one page through Arrow: a whole Parquet file around them, in memory.

Arrow knows every encoding; here it is lent the values section of a single page, as a required
column of the same physical type, and gives back an array, and the other way round. Levels stay
outside, so nesting and nulls do not matter. What is declared differently than in the source, and
why its bytes are the same: FLOAT and DOUBLE as integers of their width (NaN payloads survive),
INT96 as FIXED_LEN_BYTE_ARRAY(12), no logical types.

Imports pyarrow, so whoever only splices must not import this module. Source: Encodings.md of
apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import BadPage, Unsupported
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import MAGIC, Codec, Encoding, Leaf, Repetition, Type, seal
from engine.formats.parquet.bytes.levels import Indices
from engine.formats.parquet.bytes.one_column import declared_type
from engine.formats.parquet.bytes.pages import PageType, read_page_header
from engine.model import Buffer
from engine.wording import counted

_NAME = "v"
_WHOLE_PAGE_BYTES = (1 << 31) - 1
_ARROW_TYPES = {
    Type.BOOLEAN: pa.bool_(),
    Type.INT32: pa.int32(),
    Type.INT64: pa.int64(),
    Type.BYTE_ARRAY: pa.binary(),
}
_PLAIN_WIDTHS = {Type.INT32: 4, Type.INT64: 8}  # little-endian, as Arrow's on every usual machine
ENCODING_NAMES = {
    Encoding.PLAIN: "PLAIN",
    Encoding.RLE: "RLE",
    Encoding.DELTA_BINARY_PACKED: "DELTA_BINARY_PACKED",
    Encoding.DELTA_LENGTH_BYTE_ARRAY: "DELTA_LENGTH_BYTE_ARRAY",
    Encoding.DELTA_BYTE_ARRAY: "DELTA_BYTE_ARRAY",
    Encoding.BYTE_STREAM_SPLIT: "BYTE_STREAM_SPLIT",
}


def decode_values(leaf: Leaf, encoding: int, values: Buffer, num_values: int) -> Any:
    """Return the values section of a page, decompressed and without levels, as an Arrow array.

    Args:
        leaf: the column.
        encoding: of the section; not a dictionary encoding, except for the dictionary page itself
            (its values are PLAIN).
        values: the section.
        num_values: entries that have a value.

    Raises:
        BadPage: the section is damaged.
        Unsupported: Arrow does not know the encoding for this type.
    """
    if not num_values:
        return pa.array([], _arrow_type(leaf))
    width = _plain_width(leaf, encoding)
    if width:
        if len(values) < num_values * width:
            raise BadPage(
                f"{counted(num_values, 'value')} of {counted(width, 'byte')} in a section of "
                f"{len(values):,}"
            )
        return pa.Array.from_buffers(_arrow_type(leaf), num_values, [None, pa.py_buffer(values)])
    page = _page(encoding, values, num_values)
    try:
        column = _read(_file(*declared_type(leaf), [encoding], num_values, pages=page))
    except MemoryError:
        raise
    except (NotImplementedError, pa.ArrowNotImplementedError) as error:
        raise Unsupported(f"column {leaf.name}: encoding {encoding} cannot be decoded") from error
    except (OSError, pa.ArrowException) as error:
        number = counted(num_values, "value")
        raise BadPage(f"{number} in encoding {encoding}: damaged, {error}") from error
    if isinstance(column, pa.ChunkedArray):  # more bytes than one array's offsets can count
        raise Unsupported(f"column {leaf.name}: a page holds more than 2 GiB of values")
    if len(column) != num_values:
        raise BadPage(f"a page holds {counted(len(column), 'value')} instead of {num_values:,}")
    return column


def mapped_indices(mapping: NDArray[np.uint32], sections: Sequence[tuple[bytes, int]]) -> Indices:
    """Return the numbers that a mapping has at the dictionary indices of pages, one after another.

    Arrow reads the pages of a column whose dictionary is the mapping. For a page or two,
    :func:`.bytes.levels.decode_dictionary_indices` takes less time.

    Args:
        mapping: what stands for each index.
        sections: of each page its values section, decompressed, and its number of values.

    Raises:
        BadPage: one of the sections is damaged, or an index is behind the mapping's end.
    """
    num_values = sum(number for _, number in sections)
    encoding = int(Encoding.RLE_DICTIONARY)
    # Arrow takes a page without values for the end.
    pages = [_page(encoding, section, number) for section, number in sections if number]
    if not pages:
        return np.zeros(0, np.uint32)
    file = _file(
        Type.INT32,
        0,
        [int(Encoding.PLAIN), encoding],
        num_values,
        pages=list(chain.from_iterable(pages)),
        dictionary=_dictionary_page(mapping.astype("<u4", copy=False).tobytes(), len(mapping)),
    )
    try:
        column = _read(file)
    except MemoryError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise BadPage(f"dictionary indices are damaged: {error}") from error
    if len(column) != num_values or column.null_count:
        raise BadPage(f"{len(column)} dictionary indices where {num_values} are due")
    found: Indices = np.frombuffer(column.buffers()[1], np.uint32, num_values, 4 * column.offset)
    return found


def cut_values(leaf: Leaf, encoding: int, values: Buffer, array: Any) -> Buffer:
    """Return a slice of what :func:`decode_values` made of a section, encoded as it was there.

    Plain values are cut out as bytes.

    Args:
        leaf, encoding, values: as they were decoded.
        array: the slice.
    """
    start, stop = array.offset, array.offset + len(array)
    width = _plain_width(leaf, encoding)
    if width:
        return memoryview(values)[start * width : stop * width]
    if encoding != Encoding.PLAIN or leaf.physical is not Type.BYTE_ARRAY:
        return encode_values(leaf, encoding, array)
    # A length of four bytes is before each.
    ends = np.frombuffer(array.buffers()[1], np.int32)
    return memoryview(values)[4 * start + int(ends[start]) : 4 * stop + int(ends[stop])]


def encode_values(leaf: Leaf, encoding: int, array: Any) -> bytes:
    """Return an array as the values section of a page in an encoding; reverse of decoding.

    Raises:
        Unsupported: Arrow cannot write the encoding for this type.
    """
    width = _plain_width(leaf, encoding)
    if width and len(array):
        start = array.offset * width
        return array.buffers()[1].slice(start, len(array) * width).to_pybytes()  # type: ignore[no-any-return]
    try:
        name = ENCODING_NAMES[Encoding(encoding)]
    except (KeyError, ValueError) as error:
        raise Unsupported(f"column {leaf.name}: encoding {encoding} cannot be written") from error
    field = pa.field(_NAME, array.type, nullable=False)
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(
            pa.Table.from_arrays([array], schema=pa.schema([field])),
            sink,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            store_schema=False,
            data_page_version="1.0",
            data_page_size=_WHOLE_PAGE_BYTES,
            max_rows_per_page=max(1, len(array)),
            row_group_size=max(1, len(array)),
            write_batch_size=max(1, len(array)),
            column_encoding={_NAME: name},
        )
    except MemoryError:
        raise
    except (NotImplementedError, pa.ArrowException, OSError) as error:
        raise Unsupported(f"column {leaf.name}: {name} cannot be written: {error}") from error
    data: bytes = sink.getvalue().to_pybytes()
    header = read_page_header(data, len(MAGIC))
    start = len(MAGIC) + header.header_bytes
    if header.num_values != len(array) or header.encoding != encoding:
        raise Unsupported(f"column {leaf.name}: Arrow wrote another page than it was asked for")
    return data[start : start + header.compressed_bytes]


def as_ordered(leaf: Leaf, array: Any) -> Any:
    """Return decoded values in the type that bounds are computed in: floats as floats."""
    if leaf.physical is Type.FLOAT:
        return array.view(pa.float32())
    if leaf.physical is Type.DOUBLE:
        return array.view(pa.float64())
    return array


def _plain_width(leaf: Leaf, encoding: int) -> int:
    """Return the bytes of a value if the section is an array of them, as Arrow has it; else 0."""
    if encoding != Encoding.PLAIN:
        return 0
    physical, length = declared_type(leaf)
    return length or _PLAIN_WIDTHS.get(physical, 0)


def _arrow_type(leaf: Leaf) -> Any:
    physical, length = declared_type(leaf)
    return pa.binary(length) if length else _ARROW_TYPES[physical]


def _read(file: bytes) -> Any:
    """Return the only column of a file that was made here."""
    reader = pq.ParquetFile(pa.BufferReader(file), pre_buffer=False)
    return reader.read(use_threads=False).column(0).combine_chunks()


def _page(encoding: int, values: Buffer, num_values: int) -> list[Buffer]:
    """Return header and body of an uncompressed data page without levels."""
    rle = int(Encoding.RLE)
    detail = spec.DataPageHeader
    return _with_header(
        PageType.DATA,
        spec.PageHeader.DATA_PAGE_HEADER,
        {
            detail.NUM_VALUES: num_values,
            detail.ENCODING: encoding,
            detail.DEFINITION_LEVEL_ENCODING: rle,
            detail.REPETITION_LEVEL_ENCODING: rle,
        },
        values,
    )


def _dictionary_page(values: bytes, num_values: int) -> list[bytes]:
    detail = spec.DictionaryPageHeader
    return _with_header(
        PageType.DICTIONARY,
        spec.PageHeader.DICTIONARY_PAGE_HEADER,
        {detail.NUM_VALUES: num_values, detail.ENCODING: int(Encoding.PLAIN)},
        values,
    )


def _with_header(
    kind: PageType, field: spec.Field, detail: Mapping[spec.Field, int], values: Buffer
) -> list[Buffer]:
    header = spec.struct_of(
        {
            spec.PageHeader.TYPE: int(kind),
            spec.PageHeader.UNCOMPRESSED_PAGE_SIZE: len(values),
            spec.PageHeader.COMPRESSED_PAGE_SIZE: len(values),
            field: spec.struct_of(detail),
        }
    )
    return [thrift.encode(header), values]


def _file(
    physical: Type,
    length: int,
    encodings: Sequence[int],
    num_values: int,
    *,
    pages: Sequence[Buffer],
    dictionary: Sequence[bytes] = (),
) -> bytes:
    """Return a file of one required column that has these pages."""
    dictionary_bytes = sum(map(len, dictionary))
    total_bytes = dictionary_bytes + sum(map(len, pages))
    meta = {
        spec.ColumnMetaData.TYPE: int(physical),
        spec.ColumnMetaData.ENCODINGS: encodings,
        spec.ColumnMetaData.PATH_IN_SCHEMA: [_NAME.encode()],
        spec.ColumnMetaData.CODEC: int(Codec.UNCOMPRESSED),
        spec.ColumnMetaData.NUM_VALUES: num_values,
        spec.ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE: total_bytes,
        spec.ColumnMetaData.TOTAL_COMPRESSED_SIZE: total_bytes,
        spec.ColumnMetaData.DATA_PAGE_OFFSET: len(MAGIC) + dictionary_bytes,
    }
    if dictionary:
        meta[spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET] = len(MAGIC)
    column: dict[spec.Field, Any] = {spec.SchemaElement.TYPE: int(physical)}
    if length:
        column[spec.SchemaElement.TYPE_LENGTH] = length
    column |= {
        spec.SchemaElement.REPETITION_TYPE: int(Repetition.REQUIRED),
        spec.SchemaElement.NAME: _NAME.encode(),
    }
    root = {spec.SchemaElement.NAME: b"schema", spec.SchemaElement.NUM_CHILDREN: 1}
    chunk = {
        spec.ColumnChunk.FILE_OFFSET: len(MAGIC),
        spec.ColumnChunk.META_DATA: spec.struct_of(meta),
    }
    group = {
        spec.RowGroup.COLUMNS: [spec.struct_of(chunk)],
        spec.RowGroup.TOTAL_BYTE_SIZE: total_bytes,
        spec.RowGroup.NUM_ROWS: num_values,
    }
    footer = spec.struct_of(
        {
            spec.FileMetaData.VERSION: 1,
            spec.FileMetaData.SCHEMA: [spec.struct_of(root), spec.struct_of(column)],
            spec.FileMetaData.NUM_ROWS: num_values,
            spec.FileMetaData.ROW_GROUPS: [spec.struct_of(group)],
        }
    )
    return b"".join((MAGIC, *dictionary, *pages, seal(thrift.encode(footer))))
