"""Typed view of a Parquet footer, and where its bytes lie.

Covers: finding the footer from a file's tail, the schema tree with its levels, row groups, column
chunks and their byte ranges, key-value metadata. Names and numbers of fields follow
``parquet.thrift`` of apache/parquet-format. Row groups stay undecoded bytes until one is asked
for. Not covered: page headers (:mod:`.bytes.pages`) and both page indexes
(:mod:`.bytes.page_index`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

from engine import memory
from engine.errors import BadStructure, Encrypted, NotParquet, Unsupported
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.column_names import spelled
from engine.formats.parquet.bytes.schema_tree import Node, schema_tree
from engine.formats.parquet.bytes.spec import ColumnMetaData, FileMetaData, SchemaElement
from engine.formats.parquet.bytes.thrift import BINARY, I16, I32, I64, Raw, Struct
from engine.model import Range
from engine.wording import counted

MAGIC = b"PAR1"
MAGIC_ENCRYPTED = b"PARE"
TAIL_BYTES = 8  # footer length as a little-endian i32, then the magic


class Type(IntEnum):
    """Physical types."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    INT96 = 3
    FLOAT = 4
    DOUBLE = 5
    BYTE_ARRAY = 6
    FIXED_LEN_BYTE_ARRAY = 7


TYPE_WIDTHS: dict[int, int] = {  # bytes of a plain value; of a Boolean, those of a bound
    Type.BOOLEAN: 1,
    Type.INT32: 4,
    Type.INT64: 8,
    Type.INT96: 12,
    Type.FLOAT: 4,
    Type.DOUBLE: 8,
}


class Repetition(IntEnum):
    """Repetition of a schema node."""

    REQUIRED = 0
    OPTIONAL = 1
    REPEATED = 2


_TYPES = frozenset(Type)
_REPETITIONS = frozenset(Repetition)


class Codec(IntEnum):
    """Compression codecs."""

    UNCOMPRESSED = 0
    SNAPPY = 1
    GZIP = 2
    LZO = 3
    BROTLI = 4
    LZ4 = 5
    ZSTD = 6
    LZ4_RAW = 7


class Encoding(IntEnum):
    """Encodings of pages and levels."""

    PLAIN = 0
    PLAIN_DICTIONARY = 2
    RLE = 3
    BIT_PACKED = 4
    DELTA_BINARY_PACKED = 5
    DELTA_LENGTH_BYTE_ARRAY = 6
    DELTA_BYTE_ARRAY = 7
    RLE_DICTIONARY = 8
    BYTE_STREAM_SPLIT = 9


DICTIONARY_ENCODINGS = (Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY)


def value(struct: Struct, field: int, default: Any = None) -> Any:
    """Return the value of a field, or ``default`` where the field is absent."""
    entry = struct.get(field)
    return default if entry is None else entry[1]


def footer_range(tail: bytes, size_bytes: int) -> Range:
    """Return where the footer's thrift bytes lie, from a file's last bytes.

    Args:
        tail: at least the last eight bytes of the file (all of it if it is shorter).
        size_bytes: size of the file.

    Raises:
        NotParquet: no magic at the end.
        Encrypted: the footer is encrypted.
        BadStructure: the footer's length does not fit the file.
    """
    magic = tail[-4:]
    if magic == MAGIC_ENCRYPTED:
        raise Encrypted("the footer is encrypted; decrypt the file first")
    if size_bytes < len(MAGIC) + TAIL_BYTES or magic != MAGIC:
        raise NotParquet(
            f"not a Parquet file, or one that is cut short: its {size_bytes:,} bytes do not end in "
            f"{MAGIC.decode()}"
        )
    length = int.from_bytes(tail[-8:-4], "little")
    if length + len(MAGIC) + TAIL_BYTES > size_bytes:
        raise BadStructure(f"the footer claims {length} bytes in a file of {size_bytes}")
    return Range(size_bytes - TAIL_BYTES - length, length)


def seal(footer: bytes) -> bytes:
    """Return the end of a file: footer, its length, and the magic."""
    if len(footer) >= 1 << 31:
        raise Unsupported(f"a footer of {len(footer)} bytes is over the format's 2 GiB")
    return footer + len(footer).to_bytes(4, "little") + MAGIC


@dataclass(frozen=True)
class Leaf:
    """One column of the schema.

    Attributes:
        index: position among the leaves.
        path: names from below the root down to the leaf.
        nodes: the schema elements along ``path``.
        physical: physical type.
        type_length: bytes of a FIXED_LEN_BYTE_ARRAY, else 0.
        max_definition, max_repetition: highest levels.
    """

    index: int
    path: tuple[str, ...]
    nodes: tuple[Struct, ...]
    physical: Type
    type_length: int
    max_definition: int
    max_repetition: int

    @cached_property
    def name(self) -> str:
        """The dotted path as it is written in calls and messages: no other column has the same."""
        return spelled(self.path)

    @property
    def element(self) -> Struct:
        """The leaf's own schema element."""
        return self.nodes[-1]

    @property
    def innermost_list(self) -> Struct | None:
        """The deepest repeated element of the path: columns below the same one have equal entries.

        That holds for columns that repeat no further, as this one does not.
        """
        kind = SchemaElement.REPETITION_TYPE
        repeated = (node for node in self.nodes if value(node, kind) == Repetition.REPEATED)
        return next(reversed([*repeated]), None)

    @property
    def list_definition(self) -> int:
        """The definition level from which on an entry is an element of :attr:`innermost_list`."""
        kinds = [value(node, SchemaElement.REPETITION_TYPE) for node in self.nodes]
        while kinds and kinds[-1] != Repetition.REPEATED:
            kinds.pop()
        return sum(kind != Repetition.REQUIRED for kind in kinds)

    @property
    def converted_type(self) -> int | None:
        """``ConvertedType``, where given."""
        return value(self.element, SchemaElement.CONVERTED_TYPE)  # type: ignore[no-any-return]

    @property
    def logical_type(self) -> int | None:
        """Field number in the ``LogicalType`` union, where given (10: integer, 15: Float16)."""
        union = value(self.element, SchemaElement.LOGICAL_TYPE)
        return next(iter(union), None) if union else None


class ColumnChunk:
    """View of one ``ColumnChunk`` structure; ``struct`` and ``meta`` are the fields themselves."""

    __slots__ = ("meta", "struct")

    def __init__(self, struct: Struct) -> None:
        self.struct = struct
        meta = value(struct, spec.ColumnChunk.META_DATA)
        if meta is None:
            if self.is_encrypted or spec.ColumnChunk.ENCRYPTED_COLUMN_METADATA in struct:
                raise Encrypted("a column is encrypted; decrypt the file first")
            raise BadStructure("a column chunk has no metadata")
        self.meta: Struct = meta

    @property
    def is_encrypted(self) -> bool:
        """Whether the chunk's pages are encrypted."""
        return spec.ColumnChunk.CRYPTO_METADATA in self.struct

    @property
    def codec(self) -> int:
        """Codec number, see :class:`Codec`."""
        return self.meta[ColumnMetaData.CODEC][1]  # type: ignore[no-any-return]

    @property
    def encodings(self) -> tuple[int, ...]:
        """Encodings used by any page, see :class:`Encoding`."""
        found = value(self.meta, ColumnMetaData.ENCODINGS)
        return tuple(found.items) if found else ()

    @property
    def num_values(self) -> int:
        """Level entries: values, nulls and empty lists included."""
        return self.meta[ColumnMetaData.NUM_VALUES][1]  # type: ignore[no-any-return]

    @property
    def uncompressed_bytes(self) -> int:
        """Page headers and pages before compression."""
        return self.meta[ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE][1]  # type: ignore[no-any-return]

    @property
    def compressed_bytes(self) -> int:
        """Page headers and pages as they lie in the file."""
        return self.meta[ColumnMetaData.TOTAL_COMPRESSED_SIZE][1]  # type: ignore[no-any-return]

    @property
    def data_page_offset(self) -> int:
        """Where the first data page lies, as the footer says."""
        return self.meta[ColumnMetaData.DATA_PAGE_OFFSET][1]  # type: ignore[no-any-return]

    @property
    def dictionary_page_offset(self) -> int | None:
        """Where the dictionary page lies, if the footer gives a usable place."""
        offset = value(self.meta, ColumnMetaData.DICTIONARY_PAGE_OFFSET)
        return offset or None

    @property
    def range(self) -> Range:
        """Where the chunk lies: from its first page, whichever that is.

        A dictionary offset of 0, or one behind the first data page, is known to be wrong in files
        of some writers; the smaller valid offset is where the pages begin.
        """
        start = self.data_page_offset
        dictionary = self.dictionary_page_offset
        if dictionary is not None and dictionary < start:
            start = dictionary
        return Range(start, self.compressed_bytes)

    @property
    def statistics(self) -> bytes:
        """The bytes of the chunk's ``Statistics``; empty where absent."""
        return value(self.meta, ColumnMetaData.STATISTICS, b"")  # type: ignore[no-any-return]

    @property
    def null_count(self) -> int | None:
        """Nulls by the chunk's statistics, None if these do not say. Raises BadStructure."""
        return null_count(self.statistics)

    @property
    def unencoded_bytes(self) -> int:
        """Bytes of texts before they were encoded, 0 where none are told. Raises BadStructure."""
        raw, names = value(self.meta, ColumnMetaData.SIZE_STATISTICS), spec.SizeStatistics
        if not raw:
            return 0
        return int(value(spec.read(names, raw), names.UNENCODED_BYTE_ARRAY_DATA_BYTES, 0))

    @property
    def offset_index(self) -> Range | None:
        """Where the offset index lies."""
        chunk = spec.ColumnChunk
        return _pair(self.struct, chunk.OFFSET_INDEX_OFFSET, chunk.OFFSET_INDEX_LENGTH)

    @property
    def column_index(self) -> Range | None:
        """Where the column index lies."""
        chunk = spec.ColumnChunk
        return _pair(self.struct, chunk.COLUMN_INDEX_OFFSET, chunk.COLUMN_INDEX_LENGTH)

    @property
    def bloom_filter_offset(self) -> int | None:
        """Where the Bloom filter's header lies."""
        return value(self.meta, ColumnMetaData.BLOOM_FILTER_OFFSET)  # type: ignore[no-any-return]

    @property
    def bloom_filter_length(self) -> int | None:
        """Bytes of the Bloom filter, header included; many writers leave it out."""
        kind, length = self.meta.get(ColumnMetaData.BLOOM_FILTER_LENGTH, (I32, None))
        return length if kind == I32 else None


def _pair(struct: Struct, offset: int, length: int) -> Range | None:
    if value(struct, offset) is None or not value(struct, length):
        return None
    return Range(struct[offset][1], struct[length][1])


def null_count(statistics: bytes) -> int | None:
    """Return the nulls by bytes of ``Statistics``, None if they do not say. Raises BadStructure."""
    if not statistics:
        return None
    return value(spec.read(spec.Statistics, statistics), spec.Statistics.NULL_COUNT)  # type: ignore[no-any-return]


class RowGroup:
    """View of one ``RowGroup`` structure."""

    __slots__ = ("columns", "struct")

    def __init__(self, struct: Struct) -> None:
        self.struct = struct
        chunks = struct[spec.RowGroup.COLUMNS][1].items
        self.columns = [ColumnChunk(chunk) for chunk in chunks]

    @property
    def num_rows(self) -> int:
        """Rows."""
        return self.struct[spec.RowGroup.NUM_ROWS][1]  # type: ignore[no-any-return]

    @property
    def compressed_bytes(self) -> int:
        """Bytes of all chunks in the file."""
        return sum(column.compressed_bytes for column in self.columns)


class PathForms(NamedTuple):
    """How many columns there are, how many names their paths have, and bytes the names."""

    num_columns: int
    depths: frozenset[int]
    lengths: frozenset[int]


class Footer:
    """View of one ``FileMetaData`` structure.

    Raises:
        BadStructure: the bytes are not such a structure, or contradict themselves.
        Encrypted: the file is encrypted with a plaintext footer.
    """

    def __init__(self, data: bytes) -> None:
        self.size_bytes = len(data)
        self.struct, end = thrift.decode(data, max_depth=0)
        if end > len(data):
            raise BadStructure("the footer is cut short")
        spec.check(FileMetaData, self.struct)
        if FileMetaData.ENCRYPTION_ALGORITHM in self.struct:
            raise Encrypted("the file is encrypted (with a readable footer); decrypt it first")
        self._groups: list[Raw] = self.struct[FileMetaData.ROW_GROUPS][1].items

    @cached_property
    def num_rows(self) -> int:
        """Rows of the file; where the footer counts none, as parquet-rs 0.3 wrote, by row group."""
        counted: int = self.struct[FileMetaData.NUM_ROWS][1]
        if counted:
            return counted
        groups = (spec.read(spec.RowGroup, raw, max_depth=0) for raw in self._groups)
        return sum(group[spec.RowGroup.NUM_ROWS][1] for group in groups)

    @property
    def num_row_groups(self) -> int:
        """Row groups of the file."""
        return len(self._groups)

    @cached_property
    def created_by(self) -> str:
        """The writer, as it names itself."""
        return bytes(value(self.struct, FileMetaData.CREATED_BY, b"")).decode("utf-8", "replace")

    @cached_property
    def schema(self) -> list[Struct]:
        """Schema elements, depth first, the root first."""
        elements = self.struct[FileMetaData.SCHEMA][1].items
        num_bytes = memory.SCHEMA_COLUMN_BYTES * len(elements)
        memory.ask(num_bytes, f"to read a schema of {len(elements):,} elements")
        return [spec.read(SchemaElement, raw) for raw in elements]

    @cached_property
    def nodes(self) -> list[Node]:
        """The tree of the schema's elements, depth first, the root first."""
        return schema_tree(self.schema)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The columns."""
        return tuple(_leaves(self.schema, self.nodes))

    @property
    def path_forms(self) -> PathForms:
        """How the paths of columns are built, by the schema."""
        depths = {len(leaf.path) for leaf in self.leaves}
        places = [node.position for node in self.nodes[1:]]  # no root, and nothing without a name
        names = (value(self.schema[place], SchemaElement.NAME) for place in places)
        return PathForms(len(self.leaves), frozenset(depths), frozenset(map(len, names)))

    @cached_property
    def key_values(self) -> list[tuple[bytes, bytes | None]]:
        """Key-value metadata in its order; a value may be absent."""
        entries = value(self.struct, FileMetaData.KEY_VALUE_METADATA)
        pairs = [spec.read(spec.KeyValue, raw) for raw in entries.items] if entries else []
        return [
            (value(pair, spec.KeyValue.KEY), value(pair, spec.KeyValue.VALUE)) for pair in pairs
        ]

    def row_group(self, index: int) -> RowGroup:
        """Decode one row group; statistics and the like inside stay raw bytes."""
        group = RowGroup(spec.read(spec.RowGroup, self._groups[index], max_depth=2))
        if len(group.columns) != len(self.leaves):
            raise BadStructure(
                f"row group {index} has {counted(len(group.columns), 'column')}, the schema "
                f"{len(self.leaves):,}"
            )
        return group

    def share_schema(self, other: Footer) -> None:
        """Take over what is decoded of the other's schema, if this footer has the same."""
        if self.struct[FileMetaData.SCHEMA] == other.struct[FileMetaData.SCHEMA]:
            self.schema, self.nodes, self.leaves = other.schema, other.nodes, other.leaves

    def holding(self, groups: list[Raw]) -> Footer:
        """Return a footer of other row groups, all else the same."""
        other = copy(self)
        other._groups = groups
        return other

    @property
    def groups(self) -> list[Raw]:
        """The bytes of all row groups."""
        return self._groups

    def row_group_data(self, index: int) -> bytes:
        """Return the bytes of one row group's structure."""
        return self._groups[index]

    def row_group_bytes(self, index: int) -> int:
        """Bytes that the footer spends on one row group."""
        return len(self._groups[index])


def _leaves(schema: list[Struct], nodes: list[Node]) -> Iterator[Leaf]:
    paths: list[tuple[str, ...]] = [()]
    chains: list[tuple[Struct, ...]] = [()]
    levels = [(0, 0)]
    count = 0
    for node in nodes[1:]:
        element = schema[node.position]
        path, chain = (*paths[node.parent], node.name), (*chains[node.parent], element)
        kind = value(element, SchemaElement.REPETITION_TYPE, Repetition.REQUIRED)
        if kind not in _REPETITIONS:
            raise BadStructure(f"column {spelled(path)} has an unknown repetition: {kind}")
        definition, repetition = levels[node.parent]
        definition += kind != Repetition.REQUIRED
        repetition += kind == Repetition.REPEATED
        paths.append(path)
        chains.append(chain)
        levels.append((definition, repetition))
        if not node.is_leaf:
            continue
        number = element[SchemaElement.TYPE][1]
        if number not in _TYPES:
            raise BadStructure(f"column {spelled(path)} has an unknown type: {number}")
        physical = Type(number)
        # Some writers (fastparquet) give other types a length too: it says nothing.
        length = (
            value(element, SchemaElement.TYPE_LENGTH, 0)
            if physical is Type.FIXED_LEN_BYTE_ARRAY
            else 0
        )
        if length < 0:
            raise BadStructure(f"column {spelled(path)} has values of {counted(length, 'byte')}")
        yield Leaf(count, path, chain, physical, length, definition, repetition)
        count += 1


def key_value_struct(key: bytes, content: bytes | None) -> Struct:
    """Return a ``KeyValue`` structure."""
    struct: Struct = {spec.KeyValue.KEY: (BINARY, key)}
    if content is not None:
        struct[spec.KeyValue.VALUE] = (BINARY, content)
    return struct


def part_footer(
    model: Struct,
    row_groups: Iterable[Struct | Raw],
    num_rows: int,
    key_values: list[tuple[bytes, bytes | None]],
) -> bytes:
    """Return the thrift bytes of a part's footer.

    Everything that is not row groups, row count or key-value metadata is the model's, byte for byte
    and in its order.
    """
    changes = {
        FileMetaData.NUM_ROWS: num_rows,
        FileMetaData.ROW_GROUPS: row_groups,
        FileMetaData.KEY_VALUE_METADATA: [key_value_struct(*pair) for pair in key_values],
    }
    return thrift.encode(with_fields(model, spec.struct_of(changes)))


def with_fields(struct: Struct, changes: Struct) -> Struct:
    """Return a copy with fields replaced or added, in ascending order of field ids."""
    merged = {**struct, **changes}
    if len(merged) != len(struct):
        merged = dict(sorted(merged.items()))
    return merged


def set_ordinal(group: Struct, ordinal: int, first_offset: int) -> None:
    """Make a row group's own position fields true, where the source has them."""
    if spec.RowGroup.FILE_OFFSET in group:
        group[spec.RowGroup.FILE_OFFSET] = (I64, first_offset)
    if spec.RowGroup.ORDINAL in group:
        group[spec.RowGroup.ORDINAL] = (I16, ordinal)
