"""Files that are valid by the specification, and of layouts that no known writer makes.

:func:`random_file` is the same for the same seed on every machine. What is right of a file is what
was put into it, so a reader that misreads a file is no witness of it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import MAGIC, Encoding, Repetition, Type, seal
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.spec import (
    ColumnChunk,
    ColumnIndex,
    ColumnMetaData,
    ColumnOrder,
    FileMetaData,
    KeyValue,
    OffsetIndex,
    PageEncodingStats,
    PageLocation,
    RowGroup,
    SizeStatistics,
    SortingColumn,
    struct_of,
)
from engine.formats.parquet.bytes.thrift import Struct
from tests.layouts import pages as p
from tests.layouts.schemas import (
    INTEGERS,
    Column,
    LeafShape,
    Shape,
    random_shape,
    root_element,
)

# Of writers of which some defect is known only without what the defect is about.
_WRITERS = (
    None,
    "",
    "a writer of the future",
    "parquet-cpp-arrow version 21.0.0",
    "parquet-mr version 1.15.0 (build 1)",
    "parquet-rs version 55.0.0",
    "parquet-go version 18.0.0",
    "DuckDB version v1.2.0 (build 1)",
    "Polars",
    "impala version 4.0.0",
    "parquet-mr version 1.8.1 (build 1)",
    "fastparquet-python version 2024.11.0 (build 0)",
)
_TIGHT = ("parquet-cpp", "parquet-mr", "parquet-rs")
_PLAIN_DICTIONARIES = (Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY)


@dataclass
class Made:
    """A file and the values it was made from."""

    data: bytes
    rows: dict[str, list[Any]]
    scalars: list[str]
    created_by: str | None
    has_empty_pages: bool = False


@dataclass
class _Chunk:
    """A chunk that was made: pages in order, the dictionary first, and what was decided."""

    column: Column
    style: p.Style
    dictionary: p.Page | None
    data: list[p.Page]
    meta: dict[Any, Any] = field(default_factory=dict)
    own: dict[Any, Any] = field(default_factory=dict)

    @property
    def entries(self) -> list[tuple[int, int, Any]]:
        return [entry for page in self.data for entry in page.entries]

    @property
    def values(self) -> list[Any]:
        return [value for page in self.data for value in page.values]

    @property
    def plain_bytes(self) -> int:
        every = [*([self.dictionary] if self.dictionary else []), *self.data]
        return sum(page.plain_bytes for page in every)


class _File:
    """All that is drawn for one file."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.out = bytearray(MAGIC)
        self.has_empty_pages = False
        self.created_by = chance.choice(_WRITERS)
        name = (self.created_by or "").split(" ")[0].replace("-arrow", "")
        self.shortens = name not in _TIGHT and chance.random() < 0.4
        self.codecs = chance.sample(p.CODECS, chance.randint(1, 3))
        self.shapes: list[Shape] = [random_shape(chance, n) for n in "abcd"[: chance.randint(1, 3)]]
        self.is_sorted = chance.random() < 0.4
        if self.is_sorted:
            key = LeafShape("key", Repetition.REQUIRED, chance.choice(INTEGERS), chance)
            self.shapes.insert(0, key)
        self.columns = [c for shape in self.shapes for c in shape.columns((), 0, 0)]
        self.index_share = chance.choice((0.0, 0.0, 1.0, 1.0, 0.5))
        self.ordinals = chance.choice(("all", "none", "some"))
        self.has_rest = chance.random() < 0.3  # gaps between what is needed
        self.fixed_styles = {c.path: p.random_style(chance, c, self.codecs) for c in self.columns}

    def rows(self) -> tuple[list[list[Any]], dict[str, list[Any]]]:
        """Return instances by row, and what readers see by column."""
        chance = self.chance
        num_rows = chance.choice((0, 1, 2, 5, 17, 30, 60, 60))
        made = [[shape.make(chance) for shape in self.shapes] for _ in range(num_rows)]
        if self.is_sorted:
            kind = self.columns[0].kind
            keys = sorted((row[0] for row in made), key=lambda key: p.order_key(kind, key[0]))
            made = [[key, *row[1:]] for key, row in zip(keys, made, strict=True)]
        shown = {
            shape.name: [row[number][1] for row in made] for number, shape in enumerate(self.shapes)
        }
        return [[stored for stored, _ in row] for row in made], shown

    def gap(self) -> None:
        if self.has_rest and self.chance.random() < 0.5:
            self.out += self.chance.randbytes(self.chance.choice((1, 8, 50)))

    def chunks(self, rows: list[list[Any]]) -> list[_Chunk]:
        """Take rows apart, and make the pages of each column."""
        columns = [c for shape in self.shapes for c in shape.columns((), 0, 0)]
        done = 0
        for number, shape in enumerate(self.shapes):
            width = len(shape.columns((), 0, 0))
            for row in rows:
                shape.take(row[number], 0, 0, 0, columns[done : done + width])
            done += width
        return [self.chunk(column) for column in columns]

    def chunk(self, column: Column) -> _Chunk:
        chance = self.chance
        style = self.fixed_styles[column.path]
        if chance.random() < 0.3:
            style = p.random_style(chance, column, self.codecs)
        dictionary = None
        if style.dictionary is not None:
            values = [v for _, _, v in column.entries if v is not None]
            p.fill_dictionary(chance, style, values, column.kind)
            dictionary = p.dictionary_page(chance, style, column.kind)
        pieces = self.pieces(column, style)
        data = [p.data_page(chance, style, column, piece) for piece in pieces]
        return _Chunk(column, style, dictionary, data)

    def pieces(self, column: Column, style: p.Style) -> list[list[Any]]:
        """Cut entries into pages, where rows begin (V1 also elsewhere), and some of no entries."""
        chance, entries = self.chance, column.entries
        starts = [n for n, (repetition, _, _) in enumerate(entries) if repetition == 0]
        if column.max_repetition and style.versions == (1,) and chance.random() < 0.1:
            starts = list(range(len(entries)))
        most = chance.choice((0, 0, 1, 3, 10, 60))
        cuts = sorted(chance.sample(starts[1:], min(most, len(starts[1:]))))
        edges = [0, *cuts, len(entries)]
        pieces = [entries[a:b] for a, b in pairwise(edges)]
        if not entries and chance.random() < 0.7:
            pieces = []
        if chance.random() < 0.05:
            at = chance.choice((len(pieces), len(pieces), chance.randint(0, len(pieces))))
            pieces.insert(at, [])
            self.has_empty_pages = True
        return pieces

    def put_pages(self, chunk: _Chunk) -> None:
        """Write the pages, and say where they lie."""
        chance, out = self.chance, self.out
        self.gap()
        meta = chunk.meta
        start = len(out)
        if chunk.dictionary:
            meta[ColumnMetaData.DICTIONARY_PAGE_OFFSET] = start
            out += chunk.dictionary.data
        places = []
        first = len(out)
        row = 0
        for page in chunk.data:
            places.append((len(out), len(page.data), row))
            row += page.num_rows
            out += page.data
        meta |= {
            ColumnMetaData.DATA_PAGE_OFFSET: first,
            ColumnMetaData.TOTAL_COMPRESSED_SIZE: len(out) - start,
            ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE: chunk.plain_bytes,
        }
        chunk.own[ColumnChunk.FILE_OFFSET] = chance.choice((0, start, len(out)))
        rises = all(a[2] < b[2] for a, b in pairwise([*places, (0, 0, row)]))
        whole = all(not page.entries or page.entries[0][0] == 0 for page in chunk.data)
        if places and rises and whole and chance.random() < self.index_share:
            chunk.meta["places"] = places  # written later, with the other indexes

    def put_indexes(self, chunks: list[_Chunk]) -> None:
        """Write Bloom filters and indexes, in any order."""
        todo: list[Any] = []
        for chunk in chunks:
            places = chunk.meta.pop("places", None)
            if places:
                todo.append(lambda c=chunk, at=places: self.put_offset_index(c, at))
                if self.chance.random() < 0.8:
                    todo.append(lambda c=chunk: self.put_column_index(c))
            if chunk.values and self.chance.random() < 0.2:
                todo.append(lambda c=chunk: self.put_bloom_filter(c))
        self.chance.shuffle(todo)
        for put in todo:
            self.gap()
            put()

    def put_offset_index(self, chunk: _Chunk, places: list[tuple[int, int, int]]) -> None:
        location = (
            PageLocation.OFFSET,
            PageLocation.COMPRESSED_PAGE_SIZE,
            PageLocation.FIRST_ROW_INDEX,
        )
        every = [
            p.with_future(self.chance, struct_of(dict(zip(location, place, strict=True))))
            for place in places
        ]
        fields: dict[Any, Any] = {OffsetIndex.PAGE_LOCATIONS: every}
        if chunk.column.kind.physical == Type.BYTE_ARRAY and self.chance.random() < 0.5:
            sizes = [sum(map(len, page.values)) for page in chunk.data]
            fields[OffsetIndex.UNENCODED_BYTE_ARRAY_DATA_BYTES] = sizes
        self.put(chunk, ColumnChunk.OFFSET_INDEX_OFFSET, ColumnChunk.OFFSET_INDEX_LENGTH, fields)

    def put_column_index(self, chunk: _Chunk) -> None:
        chance, kind = self.chance, chunk.column.kind
        found = [p.bounds(chance, kind, page.values, self.shortens) for page in chunk.data]
        lacks = [f is None and page.values for f, page in zip(found, chunk.data, strict=True)]
        if any(lacks):  # a page of NaN alone: no index, says the specification
            return
        fields: dict[Any, Any] = {
            ColumnIndex.NULL_PAGES: [f is None for f in found],
            ColumnIndex.MIN_VALUES: [f[0] if f else b"" for f in found],
            ColumnIndex.MAX_VALUES: [f[1] if f else b"" for f in found],
            ColumnIndex.BOUNDARY_ORDER: 0,
        }
        if chance.random() < 0.8:
            fields[ColumnIndex.NULL_COUNTS] = [page.num_nulls for page in chunk.data]
        if chance.random() < 0.3:
            fields |= self.histograms(chunk)
        self.put(chunk, ColumnChunk.COLUMN_INDEX_OFFSET, ColumnChunk.COLUMN_INDEX_LENGTH, fields)

    def histograms(self, chunk: _Chunk) -> dict[Any, Any]:
        out = {}
        of_levels = (
            (ColumnIndex.REPETITION_LEVEL_HISTOGRAMS, 0, chunk.column.max_repetition),
            (ColumnIndex.DEFINITION_LEVEL_HISTOGRAMS, 1, chunk.column.max_definition),
        )
        for name, at, highest in of_levels:
            if highest:
                out[name] = [c for page in chunk.data for c in _counts(page.entries, at, highest)]
        return out

    def put(self, chunk: _Chunk, where: Any, length: Any, fields: dict[Any, Any]) -> None:
        data = thrift.encode(p.with_future(self.chance, struct_of(fields)))
        chunk.own |= {where: len(self.out), length: len(data)}
        self.out += data

    def put_bloom_filter(self, chunk: _Chunk) -> None:
        data = _bloom_filter(chunk.column, chunk.values)
        if data is None:
            return
        chunk.meta[ColumnMetaData.BLOOM_FILTER_OFFSET] = len(self.out)
        if self.chance.random() < 0.5:
            chunk.meta[ColumnMetaData.BLOOM_FILTER_LENGTH] = len(data)
        self.out += data

    def finish(self, chunk: _Chunk) -> Struct:
        """Return a chunk's structure."""
        chance, column = self.chance, chunk.column
        used = {page.encoding for page in chunk.data}
        if chunk.dictionary:
            used |= {chunk.style.dictionary_encoding}
        used |= {int(Encoding.RLE)} if chance.random() < 0.7 else set()
        used |= {int(Encoding.PLAIN)} if chance.random() < 0.5 else set()
        meta = {
            ColumnMetaData.TYPE: int(column.kind.physical),
            ColumnMetaData.ENCODINGS: chance.sample(sorted(used), len(used)),
            ColumnMetaData.PATH_IN_SCHEMA: [name.encode() for name in column.path],
            ColumnMetaData.CODEC: chunk.style.codec,
            ColumnMetaData.NUM_VALUES: len(chunk.entries),
        } | chunk.meta
        nulls = sum(value is None for _, _, value in chunk.entries)
        if chance.random() < 0.7:
            kind = column.kind
            meta[ColumnMetaData.STATISTICS] = p.statistics(
                chance, kind, chunk.values, nulls, shortens=self.shortens
            )
        if chance.random() < 0.4:
            meta[ColumnMetaData.ENCODING_STATS] = _encoding_stats(chunk)
        if chance.random() < 0.3:
            meta[ColumnMetaData.SIZE_STATISTICS] = _size_statistics(chunk)
        if chance.random() < 0.05:
            odd = struct_of({KeyValue.KEY: b"of a column"})
            meta[ColumnMetaData.KEY_VALUE_METADATA] = [odd]
        ordered = {f: meta[f] for f in sorted(meta)}
        own = chunk.own | {ColumnChunk.META_DATA: p.with_future(chance, struct_of(ordered))}
        return p.with_future(chance, struct_of({f: own[f] for f in sorted(own)}))

    def group(self, number: int, chunks: list[_Chunk], num_rows: int, start: int) -> Struct:
        chance = self.chance
        packed = sum(chunk.meta[ColumnMetaData.TOTAL_COMPRESSED_SIZE] for chunk in chunks)
        fields: dict[Any, Any] = {
            RowGroup.COLUMNS: [self.finish(chunk) for chunk in chunks],
            RowGroup.TOTAL_BYTE_SIZE: sum(chunk.plain_bytes for chunk in chunks),
            RowGroup.NUM_ROWS: num_rows,
        }
        if self.is_sorted and chance.random() < 0.7:
            column = {
                SortingColumn.COLUMN_IDX: 0,
                SortingColumn.DESCENDING: False,
                SortingColumn.NULLS_FIRST: chance.random() < 0.5,
            }
            fields[RowGroup.SORTING_COLUMNS] = [struct_of(column)]
        if chance.random() < 0.6:
            fields[RowGroup.FILE_OFFSET] = chance.choice((start, 0))
        if chance.random() < 0.6:
            fields[RowGroup.TOTAL_COMPRESSED_SIZE] = packed
        if self.ordinals == "all" or (self.ordinals == "some" and chance.random() < 0.5):
            fields[RowGroup.ORDINAL] = number
        return p.with_future(chance, struct_of(fields))

    def footer(self, groups: list[Struct], num_rows: int) -> bytes:
        chance = self.chance
        elements = [e for shape in self.shapes for e in shape.elements()]
        schema = [root_element(len(self.shapes)), *(p.with_future(chance, e) for e in elements)]
        fields: dict[Any, Any] = {
            FileMetaData.VERSION: chance.choice((1, 2)),
            FileMetaData.SCHEMA: schema,
            FileMetaData.NUM_ROWS: num_rows,
            FileMetaData.ROW_GROUPS: groups,
        }
        if chance.random() < 0.4:
            odd = chance.sample([(b"", b"x"), (b"k", None), (b"k", b""), (b"k", b"2")], 2)
            fields[FileMetaData.KEY_VALUE_METADATA] = [
                struct_of({KeyValue.KEY: key} | ({} if value is None else {KeyValue.VALUE: value}))
                for key, value in odd
            ]
        if self.created_by is not None:
            fields[FileMetaData.CREATED_BY] = self.created_by.encode()
        if chance.random() < 0.8:
            order = struct_of({ColumnOrder.TYPE_ORDER: {}})
            fields[FileMetaData.COLUMN_ORDERS] = [order] * len(self.columns)
        return seal(thrift.encode(p.with_future(chance, struct_of(fields))))


def random_file(seed: object) -> Made:
    """Return the file of a seed."""
    file = _File(Random(f"layouts:{seed}"))
    chance = file.chance
    rows, shown = file.rows()
    most_cuts = min(len(rows), chance.choice((0, 0, 1, 2, 5)))
    cuts = sorted(chance.choices(range(len(rows) + 1), k=most_cuts))  # twice: a group of no rows
    groups = [rows[a:b] for a, b in pairwise([0, *cuts, len(rows)])]
    if not rows and chance.random() < 0.5:
        groups = []
    made = [file.chunks(group) for group in groups]
    order = list(range(len(made)))
    if chance.random() < 0.2:
        chance.shuffle(order)
    starts, shuffles, indexes_early = {}, chance.random() < 0.3, chance.random() < 0.2
    for number in order:
        starts[number] = len(file.out)
        chunks = list(made[number])
        if shuffles:
            chance.shuffle(chunks)
        for chunk in chunks:
            file.put_pages(chunk)
        if indexes_early:
            file.put_indexes(chunks)
    if not indexes_early:
        file.put_indexes([chunk for chunks in made for chunk in chunks])
    structs = [
        file.group(number, chunks, len(groups[number]), starts[number])
        for number, chunks in enumerate(made)
    ]
    file.gap()
    data = bytes(file.out) + file.footer(structs, len(rows))
    scalars = [
        s.name
        for s in file.shapes
        if isinstance(s, LeafShape) and s.repetition != Repetition.REPEATED
    ]
    return Made(data, shown, scalars, file.created_by, file.has_empty_pages)


def _counts(entries: list[tuple[int, int, Any]], at: int, highest: int) -> list[int]:
    levels = [entry[at] for entry in entries]
    return [levels.count(level) for level in range(highest + 1)]


def _encoding_stats(chunk: _Chunk) -> list[Struct]:
    stats = PageEncodingStats
    pages = [
        (PageType.DATA if page.version == 1 else PageType.DATA_V2, page.encoding)
        for page in chunk.data
    ]
    if chunk.dictionary:
        pages.append((PageType.DICTIONARY, int(Encoding.PLAIN)))
    return [
        struct_of(
            {
                stats.PAGE_TYPE: int(kind),
                stats.ENCODING: encoding,
                stats.COUNT: pages.count((kind, encoding)),
            }
        )
        for kind, encoding in sorted(set(pages))
    ]


def _size_statistics(chunk: _Chunk) -> Struct:
    fields: dict[Any, Any] = {}
    if chunk.column.kind.physical == Type.BYTE_ARRAY:
        fields[SizeStatistics.UNENCODED_BYTE_ARRAY_DATA_BYTES] = sum(map(len, chunk.values))
    entries = chunk.entries
    if chunk.column.max_repetition:
        fields[SizeStatistics.REPETITION_LEVEL_HISTOGRAM] = _counts(
            entries, 0, chunk.column.max_repetition
        )
    if chunk.column.max_definition:
        fields[SizeStatistics.DEFINITION_LEVEL_HISTOGRAM] = _counts(
            entries, 1, chunk.column.max_definition
        )
    return struct_of(fields)


def _bloom_filter(column: Column, values: list[Any]) -> bytes | None:
    """Return header and bits, as Arrow writes them for the same values."""
    kind = column.kind
    if kind.physical == Type.BOOLEAN:
        return None
    table = pa.table({"v": p.arrow_array(kind, values)})
    sink = io.BytesIO()
    pq.write_table(table, sink, bloom_filter_options={"v": {"ndv": 64, "fpp": 0.05}})
    data = sink.getvalue()
    length = int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.decode(data[-8 - length : -8])
    chunk = footer[FileMetaData.ROW_GROUPS][1].items[0][RowGroup.COLUMNS][1].items[0]
    meta = chunk[ColumnChunk.META_DATA][1]
    at = meta[ColumnMetaData.BLOOM_FILTER_OFFSET][1]
    size: int = meta[ColumnMetaData.BLOOM_FILTER_LENGTH][1]
    return data[at : at + size]
