"""A source that is read as another file than it is: by another schema, with columns it lacks.

All other rooms see one Parquet file whose chunks are right: its bytes are those of the source, and
behind these some that are made here, which lie nowhere but in memory. What is made:

* of a column that the file lacks, a chunk of nulls, or of one value, some dozens of bytes;
* of a column that is never null here but may be elsewhere, definition levels: headers of pages and
  the first bytes of their bodies, see :mod:`.bytes.prepended`. The rest of a page is copied;
* the page indexes of both.

Chunks that are only called otherwise, or stand elsewhere in the schema, stay as they are.
Not covered: which schema that is, and whether it may be (:mod:`.relaxed`).
"""

from __future__ import annotations

import base64
import datetime
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from engine.errors import BadStructure, SchemaMismatch, Unsupported
from engine.formats.parquet.bytes import one_value, spec, thrift
from engine.formats.parquet.bytes.column_names import spelled
from engine.formats.parquet.bytes.footer import (
    Codec,
    ColumnChunk,
    Encoding,
    Footer,
    Repetition,
    RowGroup,
    Type,
    key_value_struct,
    value,
    with_fields,
)
from engine.formats.parquet.bytes.one_value import Levels, Page
from engine.formats.parquet.bytes.page_index import OffsetIndex, PageLocation
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.prepended import CODECS
from engine.formats.parquet.bytes.projection import regrouped
from engine.formats.parquet.bytes.schema_keys import fitted_key_values
from engine.formats.parquet.bytes.thrift import LIST, STRUCT, Struct
from engine.formats.parquet.folder_columns import check_apart
from engine.formats.parquet.opened.footer import true_row_group
from engine.formats.parquet.opened.lifted import lifted_chunk
from engine.formats.parquet.opened.made_bytes import AdaptedSource, MadeBytes
from engine.formats.parquet.opened.positions import PageFinder, at_page
from engine.formats.parquet.relaxed import Differs, Placed, placed, schema_of
from engine.model import Constant, Range, SourceFile
from engine.storage import Source
from engine.storage.base import redacted

_FILE, _CHUNK, _META = spec.FileMetaData, spec.ColumnChunk, spec.ColumnMetaData
_ORDER_BY_TYPE: Struct = {1: (STRUCT, {})}
_BOUNDS = (
    spec.Statistics.MAX,
    spec.Statistics.MIN,
    spec.Statistics.MAX_VALUE,
    spec.Statistics.MIN_VALUE,
    spec.Statistics.IS_MAX_VALUE_EXACT,
    spec.Statistics.IS_MIN_VALUE_EXACT,
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_MOST_SCHEMA_BYTES = 64 << 20
_DAMAGED = "the schema by which its plan or manifest has it read is damaged"


# -- the schema that a file is read by -----------------------------------------------------------


def schema_text(footer: Footer) -> str:
    """Return a schema as :class:`engine.model.SourceFile` holds it: a footer without row groups."""
    kept = (_FILE.VERSION, _FILE.SCHEMA, _FILE.KEY_VALUE_METADATA, _FILE.COLUMN_ORDERS)
    struct: Struct = {field: footer.struct[field] for field in kept if field in footer.struct}
    none = spec.struct_of({_FILE.NUM_ROWS: 0, _FILE.ROW_GROUPS: ()})
    return base64.b64encode(zlib.compress(thrift.encode(with_fields(struct, none)), 9)).decode()


@lru_cache(maxsize=16)
def schema_from(text: str) -> Footer:
    """Return the footer of :func:`schema_text`.

    Raises:
        BadStructure: the text is none; it was in a plan or manifest that is damaged.
    """
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b64decode(text, validate=True), _MOST_SCHEMA_BYTES)
    except (ValueError, zlib.error) as error:
        raise BadStructure(f"{_DAMAGED}: {error}") from error
    if not inflater.eof:
        raise BadStructure(f"{_DAMAGED}: it ends early, or is larger than any schema")
    return Footer(data)


def constant_value(constant: Constant) -> bytes | None:
    """Return the value of a constant column as bounds have it; None for null.

    Raises:
        BadStructure: it is none of its kind; it was in a plan or manifest that is damaged.
    """
    if constant.value is None:
        return None
    if constant.kind == "string":
        return constant.value.encode()
    try:
        if constant.kind == "date":
            days = datetime.date.fromisoformat(constant.value).toordinal() - _EPOCH
            return days.to_bytes(4, "little", signed=True)
        return int(constant.value).to_bytes(int(constant.kind[3:]) // 8, "little", signed=True)
    except (ValueError, OverflowError) as error:
        raise BadStructure(f"{_DAMAGED}: {constant.value!r} is no {constant.kind}") from error


_TYPES = {
    "int32": Type.INT32,
    "int64": Type.INT64,
    "date": Type.INT32,
    "string": Type.BYTE_ARRAY,
}
_ANNOTATIONS = {"date": (6, spec.LogicalType.DATE), "string": (0, spec.LogicalType.STRING)}


def _element(constant: Constant) -> Struct:
    names = spec.SchemaElement
    fields: dict[spec.Field, Any] = {
        names.TYPE: int(_TYPES[constant.kind]),
        names.REPETITION_TYPE: int(Repetition.OPTIONAL),
        names.NAME: constant.name.encode(),
    }
    if constant.kind in _ANNOTATIONS:
        converted, logical = _ANNOTATIONS[constant.kind]
        fields[names.CONVERTED_TYPE] = converted
        fields[names.LOGICAL_TYPE] = spec.struct_of({logical: {}})
    return spec.struct_of(fields)


class Adapted(NamedTuple):
    """A source as it is read.

    Attributes:
        source: its bytes.
        footer: what is read of it.
        data_end: where the footer would begin.
        nulls: columns that the file lacks, and that come as nulls.
        lifted: columns that are never null in the file, and get levels.
        renumbered: columns with other field ids than in the file.
        left_out: keys of metadata that would not be true of it.
    """

    source: AdaptedSource
    footer: Footer
    data_end: int
    nulls: tuple[str, ...]
    lifted: tuple[str, ...]
    renumbered: tuple[str, ...]
    left_out: tuple[bytes, ...]


# -- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A column of the schema that a file is read by.

    Attributes:
        path: its names.
        physical: its type.
        at: how it stands in the file.
        plain, bound: its value where the file lacks it, as pages and as bounds have it.
        keeps_bounds: whether the file's bounds are meant in the schema's order.
    """

    path: tuple[str, ...]
    physical: int
    at: Placed
    plain: bytes | None = None
    bound: bytes | None = None
    keeps_bounds: bool = True

    @property
    def is_null(self) -> bool:
        """Whether all rows are null, as the file lacks the column."""
        return self.at.leaf is None and self.plain is None

    @property
    def is_lifted(self) -> bool:
        """Whether the file has the column without the levels that it gets."""
        return self.at.leaf is not None and self.at.level is not None


def _constant_column(constant: Constant) -> _Column:
    bound = constant_value(constant)
    plain = bound
    if bound is not None and constant.kind == "string":
        plain = len(bound).to_bytes(4, "little") + bound
    level = 0 if bound is None else 1
    return _Column((constant.name,), _TYPES[constant.kind], Placed(None, level, 1, 0), plain, bound)


def _orders(footer: Footer) -> list[bytes] | None:
    listed = value(footer.struct, _FILE.COLUMN_ORDERS)
    if listed is None:
        return None
    return [thrift.encode(item) if isinstance(item, dict) else item for item in listed.items]


def _columns(own: Footer, schema: Footer, constants: Sequence[Constant]) -> list[_Column]:
    orders = _orders(own), _orders(schema)
    at = placed(schema_of(schema), schema_of(own))
    found = []
    for leaf, place in zip(schema.leaves, at, strict=True):
        pair = [
            None if listed is None or index is None else listed[index : index + 1]
            for listed, index in zip(orders, (place.leaf, leaf.index), strict=True)
        ]
        keeps_bounds = place.leaf is None or pair[0] == pair[1]
        found.append(_Column(leaf.path, leaf.physical, place, keeps_bounds=keeps_bounds))
    return [*found, *map(_constant_column, constants)]


def adapted(source: Source, footer: Footer, data_end: int, file: SourceFile) -> Adapted:
    """Return a source as it is to be read.

    Args:
        source: the file.
        footer: its own; without the columns that are left out, if it is not read by another schema.
        data_end: where its data ends.
        file: says as what it is read.

    Raises:
        SchemaMismatch: it would have to be decoded for that; the message names the column.
    """
    schema = schema_from(file.schema) if file.schema else footer
    path = redacted(file.path)
    tops = [node.name for node in schema.nodes if node.parent == 0]
    check_apart(path, tops, file.constants)
    try:
        columns = _columns(footer, schema, file.constants)
        has_orders = _FILE.COLUMN_ORDERS in schema.struct
        adapter = _Adapter(source, footer, data_end, file, columns, has_orders=has_orders)
        groups = [adapter.group(number) for number in range(footer.num_row_groups)]
    except Differs as error:
        raise SchemaMismatch(
            f"{path} is not read by --schema relaxed: {error}; write it anew with the schema of "
            "the others, or split it by itself"
        ) from error
    elements = _with_constants(schema.schema, file.constants)
    pairs = fitted_key_values(footer, schema, tops, file.constants)
    changes: dict[spec.Field, Any] = {_FILE.SCHEMA: elements, _FILE.ROW_GROUPS: groups}
    if footer.key_values:
        changes[_FILE.KEY_VALUE_METADATA] = [key_value_struct(*pair) for pair in pairs]
    struct = {field: it for field, it in footer.struct.items() if field != _FILE.COLUMN_ORDERS}
    orders = value(schema.struct, _FILE.COLUMN_ORDERS)
    if orders is not None:
        items = [*orders.items, *([_ORDER_BY_TYPE] * len(file.constants))]
        struct[_FILE.COLUMN_ORDERS] = (LIST, thrift.Sequence(orders.type, items))
    made = Footer(thrift.encode(with_fields(struct, spec.struct_of(changes))))
    return Adapted(
        AdaptedSource(source, adapter.made, data_end),
        made,
        adapter.made.end,
        tuple(spelled(column.path) for column in columns[: len(schema.leaves)] if column.is_null),
        tuple(spelled(column.path) for column in columns if column.is_lifted),
        tuple(_renumbered(footer, schema, columns)),
        tuple(key for key, _ in footer.key_values if key not in dict(pairs)),
    )


def _renumbered(own: Footer, schema: Footer, columns: Sequence[_Column]) -> Iterator[str]:
    """Yield columns that have field ids in the file, and others in the schema."""
    field = spec.SchemaElement.FIELD_ID
    for leaf, column in zip(schema.leaves, columns, strict=False):
        if column.at.leaf is not None:
            its = own.leaves[column.at.leaf]
            pairs = zip(its.nodes, leaf.nodes, strict=True)
            if any(field in mine and mine[field] != new.get(field) for mine, new in pairs):
                yield leaf.name


def _with_constants(schema: Sequence[Struct], constants: Sequence[Constant]) -> list[Struct]:
    field = spec.SchemaElement.NUM_CHILDREN
    number = value(schema[0], field, 0) + len(constants)
    root = with_fields(schema[0], {field: spec.entry(field, number)})
    return [root, *schema[1:], *map(_element, constants)]


class _Adapter:
    """Makes row groups of the columns wanted, and the bytes that they need.

    ``has_orders``: whether bounds have an order; without one nobody may give any.
    """

    def __init__(
        self,
        source: Source,
        footer: Footer,
        data_end: int,
        file: SourceFile,
        columns: Sequence[_Column],
        *,
        has_orders: bool,
    ) -> None:
        self.made = MadeBytes(data_end)
        self._source = source
        self._footer = footer
        self._data_end = data_end
        self._file = file
        self._columns = columns
        self._has_orders = has_orders
        self._places = {
            column.at.leaf: number
            for number, column in enumerate(columns)
            if column.at.leaf is not None
        }

    def group(self, number: int) -> Struct:
        """Return the footer's entry of a row group."""
        whole = true_row_group(self._footer, number, self._source, self._data_end)
        is_indexed = all(chunk.offset_index is not None for chunk in whole.columns)
        maps: list[PageMap] | None = None
        chunks = []
        for column in self._columns:
            leaf, level = column.at.leaf, column.at.level
            if leaf is None:
                struct = self._one_value(column, whole, is_indexed=is_indexed)
            elif level is None:
                struct = self._renamed(column, whole.columns[leaf])
            else:
                if maps is None:
                    maps = self._finder(number, whole).page_maps()
                struct = self._lifted(column, whole.columns[leaf], maps[leaf], number)
            chunks.append(ColumnChunk(struct))
        return regrouped(whole, chunks, self._places)

    def _lifted(self, column: _Column, chunk: ColumnChunk, pages: PageMap, number: int) -> Struct:
        """Return a chunk with levels."""
        leaf = self._footer.leaves[column.at.leaf or 0]
        levels = Levels(column.at.level or 0, column.at.max_definition)
        try:
            with at_page(self._file.path, number, leaf):
                struct = lifted_chunk(self._source, chunk, pages, levels, self.made)
        except Unsupported as error:
            raise Unsupported(
                f"column {leaf.name} is required here and may be null in other files, and its "
                f"pages do not get levels: {error}; write this file anew with another codec, as by "
                "evensplit split FILE DEST --codec zstd, and take the parts instead"
            ) from error
        return self._renamed(column, ColumnChunk(struct))

    def _finder(self, number: int, whole: RowGroup) -> PageFinder:
        leaves = self._footer.leaves
        return PageFinder(self._file.path, number, self._source, self._data_end, leaves, whole)

    def _one_value(self, column: _Column, whole: RowGroup, *, is_indexed: bool) -> Struct:
        """Return a chunk of nulls or of one value; where others have page indexes, with these."""
        own = whole.columns[0].codec
        codec = own if own in CODECS else int(Codec.UNCOMPRESSED)
        levels = Levels(column.at.level or 0, *column.at[2:])
        chunk = one_value.one_value(whole.num_rows, levels, codec, column.plain)
        dictionary = self._put_page(chunk.dictionary)
        places = [self.made.put(page.data) for page in chunk.pages]
        every: list[Page] = [*filter(None, [chunk.dictionary]), *chunk.pages]
        encodings = [Encoding.PLAIN, Encoding.RLE]
        if dictionary is not None:
            encodings.append(Encoding.RLE_DICTIONARY)
        fields: dict[spec.Field, Any] = {
            _META.TYPE: int(column.physical),
            _META.ENCODINGS: list(map(int, encodings)),
            _META.PATH_IN_SCHEMA: [name.encode() for name in column.path],
            _META.CODEC: codec,
            _META.NUM_VALUES: whole.num_rows,
            _META.TOTAL_UNCOMPRESSED_SIZE: sum(page.plain_bytes for page in every),
            _META.TOTAL_COMPRESSED_SIZE: sum(len(page.data) for page in every),
            _META.DATA_PAGE_OFFSET: places[0].offset,
        }
        if dictionary is not None:
            fields[_META.DICTIONARY_PAGE_OFFSET] = dictionary.offset
        bound = column.bound
        if bound is None or self._has_orders:
            fields[_META.STATISTICS] = one_value.statistics(whole.num_rows, bound)
        struct: dict[spec.Field, Any] = {
            _CHUNK.FILE_OFFSET: 0,
            _CHUNK.META_DATA: spec.struct_of(fields),
        }
        if is_indexed:
            rows = range(0, max(1, whole.num_rows), chunk.pages[0].num_rows or 1)
            located = tuple(
                PageLocation(*place, row) for place, row in zip(places, rows, strict=True)
            )
            index = self.made.put(OffsetIndex(located).encode())
            struct |= {_CHUNK.OFFSET_INDEX_OFFSET: index[0], _CHUNK.OFFSET_INDEX_LENGTH: index[1]}
            if bound is None or self._has_orders:
                index = self.made.put(one_value.column_index(chunk, bound))
                struct |= {
                    _CHUNK.COLUMN_INDEX_OFFSET: index[0],
                    _CHUNK.COLUMN_INDEX_LENGTH: index[1],
                }
        return spec.struct_of(struct)

    def _put_page(self, page: Page | None) -> Range | None:
        return None if page is None else self.made.put(page.data)

    def _renamed(self, column: _Column, chunk: ColumnChunk) -> Struct:
        """Return a chunk as it is, by its new name; without bounds that mean another order."""
        path = {_META.PATH_IN_SCHEMA: [name.encode() for name in column.path]}
        meta = with_fields(chunk.meta, spec.struct_of(path))
        struct = dict(chunk.struct)
        if not column.keeps_bounds:
            for field in (_CHUNK.COLUMN_INDEX_OFFSET, _CHUNK.COLUMN_INDEX_LENGTH):
                struct.pop(field, None)
            raw = value(meta, _META.STATISTICS)
            if raw is not None:
                told = spec.read(spec.Statistics, raw)
                kept = {field: it for field, it in told.items() if field not in _BOUNDS}
                meta[_META.STATISTICS] = (STRUCT, kept)
        return with_fields(struct, {_CHUNK.META_DATA: (STRUCT, meta)})
