"""Assemble a part: copy compressed bytes as they are, and write a footer that makes them true.

A part is the magic, the column chunks of its row groups, the Bloom filters, the column indexes,
the offset indexes and the footer. Chunks of whole row groups are copied without being looked at:
the steps are *read* where they lie, *copy*, *rebase* every offset that names a place in the file.
All others (cut, encoded anew, put together) are made by a
:class:`~engine.writers.chunk.ChunkMaker`, one column after another. Every field of the source's
footer that does not name a place is kept.

Source: parquet.thrift, PageIndex.md, BloomFilter.md of apache/parquet-format.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.format import spec
from engine.format.footer import (
    MAGIC,
    ColumnChunk,
    Footer,
    Range,
    RowGroup,
    part_footer,
    seal,
    set_ordinal,
    value,
    with_fields,
)
from engine.format.page_index import OffsetIndex
from engine.format.thrift import STRUCT, Raw, Struct
from engine.layout import OpenFile, bloom_filter_range
from engine.model import Buffer
from engine.storage import PartSink
from engine.writers.chunk import ChunkMaker, NewChunk, Piece

PANDAS_KEY = b"pandas"
ARROW_KEY = b"ARROW:schema"
DECODED_FOR_BOUNDS_BYTES = 16 << 20  # of a cut chunk, compressed: some tens of milliseconds
_BOUNDS = (  # both pairs, and their flags
    spec.Statistics.MAX,
    spec.Statistics.MIN,
    spec.Statistics.MAX_VALUE,
    spec.Statistics.MIN_VALUE,
    spec.Statistics.IS_MAX_VALUE_EXACT,
    spec.Statistics.IS_MIN_VALUE_EXACT,
)

_OFFSET_INDEX = (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH)
_COLUMN_INDEX = (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH)
_PAGE_OFFSETS = (
    spec.ColumnMetaData.DATA_PAGE_OFFSET,
    spec.ColumnMetaData.INDEX_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
)
_NOT_KEPT = (  # of a chunk that is made, unless made anew
    spec.ColumnMetaData.INDEX_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
    spec.ColumnMetaData.STATISTICS,
    spec.ColumnMetaData.SIZE_STATISTICS,
    spec.ColumnMetaData.GEOSPATIAL_STATISTICS,
)


@dataclass(frozen=True)
class Assembled:
    """What became of a part: bytes copied, bytes encoded anew, and its footer."""

    spliced_bytes: int
    reencoded_bytes: int
    footer: bytes


class _Extras:
    """Indexes and Bloom filters of one chunk, which are written behind all data."""

    __slots__ = ("bloom_filter", "chunk", "column_index", "file", "offset_index")

    def __init__(
        self,
        chunk: Struct,
        file: OpenFile,
        bloom_filter: Range | None,
        column_index: bytes | None,
        offset_index: bytes | None,
    ) -> None:
        self.chunk = chunk
        self.file = file
        self.bloom_filter = bloom_filter
        self.column_index = column_index
        self.offset_index = offset_index


class _Out:
    """Where a chunk's bytes go: into the part, counted."""

    def __init__(self, writer: PartWriter) -> None:
        self._writer = writer
        self.num_bytes = 0

    def write(self, *data: Buffer) -> None:
        for each in data:
            self._writer.put_new(each)
            self.num_bytes += len(each)

    def copy(self, file: OpenFile, where: Range) -> None:
        self._writer.copy(file, where)
        self.num_bytes += where.length


class PartWriter:
    """Writes one part into a sink, row group after row group.

    Args:
        sink: takes the part's bytes.
        make: makes chunks that are not copied whole.
        has_many_groups: whether the part will have several row groups.
        keeps_chunks: whether whole row groups are copied as they are.
    """

    def __init__(
        self, sink: PartSink, make: ChunkMaker, *, has_many_groups: bool, keeps_chunks: bool = True
    ) -> None:
        self._sink = sink
        # Readers that merge the bounds of row groups misread a file in which only some have them.
        self._most_decoded_bytes = DECODED_FOR_BOUNDS_BYTES if has_many_groups else 0
        self._make = make
        self._keeps_chunks = keeps_chunks
        self._groups: list[Struct] = []
        self._extras: list[_Extras] = []
        self._num_rows = 0
        self._spliced_bytes = 0
        self._reencoded_bytes = 0
        sink.write(MAGIC)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append a row group that holds the rows of all pieces."""
        first = pieces[0]
        if self._keeps_chunks and len(pieces) == 1 and first.is_whole:
            struct = self._whole(first.file, first.file.row_group(first.row_group))
        else:
            struct = self._made(pieces)
        self._groups.append(struct)
        self._num_rows += sum(piece.num_rows for piece in pieces)

    def put_new(self, data: Buffer) -> None:
        """Append bytes that were encoded anew."""
        self._sink.write(data)
        self._reencoded_bytes += len(data)

    def copy(self, file: OpenFile, where: Range) -> None:
        """Append bytes of a source."""
        if where.length:
            self._sink.copy(file.source, where.offset, where.length)
            self._spliced_bytes += where.length

    def finish(self, model: Footer, key_values: list[tuple[bytes, bytes | None]]) -> Assembled:
        """Write indexes and footer; ``model`` lends schema and all other metadata."""
        for extra in self._extras:
            self._put_bloom_filter(extra)
        for extra in self._extras:
            if extra.column_index is not None:
                self._put_index(extra.chunk, *_COLUMN_INDEX, extra.column_index)
        for extra in self._extras:
            if extra.offset_index is not None:
                self._put_index(extra.chunk, *_OFFSET_INDEX, extra.offset_index)
        drop_half_known_bounds(self._groups)
        footer = part_footer(model, self._groups, self._num_rows, key_values)
        self._sink.write(seal(footer))
        return Assembled(self._spliced_bytes, self._reencoded_bytes, footer)

    # -- whole row groups ----------------------------------------------------------------------

    def _whole(self, file: OpenFile, group: RowGroup) -> Struct:
        start = self._sink.size_bytes
        moved = self._copy_chunks(file, group.columns)
        column_indexes = file.source.read_many(
            [chunk.column_index or Range(0, 0) for chunk in group.columns]
        )
        offset_indexes = file.source.read_many(
            [chunk.offset_index or Range(0, 0) for chunk in group.columns]
        )
        columns = []
        for i, (chunk, shift) in enumerate(zip(group.columns, moved, strict=True)):
            struct = rebased_chunk(chunk, shift)
            columns.append(struct)
            self._extras.append(
                _Extras(
                    struct,
                    file,
                    bloom_filter_range(file, chunk),
                    column_indexes[i] or None,
                    shifted_offset_index(offset_indexes[i], shift) if offset_indexes[i] else None,
                )
            )
        struct = with_fields(group.struct, spec.struct_of({spec.RowGroup.COLUMNS: columns}))
        set_ordinal(struct, len(self._groups), start)
        return struct

    def _copy_chunks(self, file: OpenFile, chunks: Sequence[ColumnChunk]) -> list[int]:
        """Copy chunks in the order they lie in, adjacent ones at once; return their shifts."""
        ranges = [chunk.range for chunk in chunks]
        moved = [0] * len(chunks)
        run = Range(0, 0)
        for i in sorted(range(len(chunks)), key=lambda i: ranges[i]):
            if ranges[i].offset != run.end:
                self.copy(file, run)
                run = Range(ranges[i].offset, 0)
            moved[i] = self._sink.size_bytes + run.length - ranges[i].offset
            run = Range(run.offset, run.length + ranges[i].length)
        self.copy(file, run)
        return moved

    # -- made row groups -----------------------------------------------------------------------

    def _made(self, pieces: Sequence[Piece]) -> Struct:
        """Make a row group; what the source says of it beside its chunks is the first piece's."""
        start = self._sink.size_bytes
        columns = []
        uncompressed_bytes = 0
        file = pieces[0].file
        group = file.row_group(pieces[0].row_group)
        for column, chunk in enumerate(group.columns):
            position = self._sink.size_bytes
            out = _Out(self)
            new = self._make(pieces, column, out, most_decoded_bytes=self._most_decoded_bytes)
            struct = made_chunk(chunk, new, position, out.num_bytes)
            columns.append(struct)
            uncompressed_bytes += new.uncompressed_bytes
            # A filter of all the chunk's values never denies one of those kept.
            bloom_filter = bloom_filter_range(file, chunk) if len(pieces) == 1 else None
            if bloom_filter is None:
                drop_bloom_filter(struct)
            index = offset_index(new, position)
            self._extras.append(_Extras(struct, file, bloom_filter, new.column_index, index))
        struct = with_fields(
            group.struct,
            spec.struct_of(
                {
                    spec.RowGroup.COLUMNS: columns,
                    spec.RowGroup.TOTAL_BYTE_SIZE: uncompressed_bytes,
                    spec.RowGroup.NUM_ROWS: sum(piece.num_rows for piece in pieces),
                }
            ),
        )
        size = spec.RowGroup.TOTAL_COMPRESSED_SIZE
        if size in struct:
            struct[size] = spec.entry(size, self._sink.size_bytes - start)
        set_ordinal(struct, len(self._groups), start)
        return struct

    # -- behind the data -----------------------------------------------------------------------

    def _put_bloom_filter(self, extra: _Extras) -> None:
        if extra.bloom_filter is None:
            return
        meta: Struct = value(extra.chunk, spec.ColumnChunk.META_DATA)
        place = spec.ColumnMetaData.BLOOM_FILTER_OFFSET
        meta[place] = spec.entry(place, self._sink.size_bytes)
        self.copy(extra.file, extra.bloom_filter)

    def _put_index(
        self, chunk: Struct, offset: spec.Field, length: spec.Field, data: bytes
    ) -> None:
        place = spec.struct_of({offset: self._sink.size_bytes, length: len(data)})
        ordered = with_fields(chunk, place)  # some readers want ascending field ids
        chunk.clear()
        chunk.update(ordered)
        self._sink.write(data)


def rebased_chunk(chunk: ColumnChunk, shift: int) -> Struct:
    """Return the ``ColumnChunk`` of bytes that moved by ``shift``; fields not set stay so."""
    meta = dict(chunk.meta)
    for field in _PAGE_OFFSETS:
        offset = value(meta, field)
        if offset:
            meta[field] = spec.entry(field, offset + shift)
    struct = {**chunk.struct, spec.ColumnChunk.META_DATA: (STRUCT, meta)}
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):
        struct[place] = spec.entry(place, value(struct, place) + shift)
    return struct


def made_chunk(chunk: ColumnChunk, new: NewChunk, position: int, num_bytes: int) -> Struct:
    """Return the ``ColumnChunk`` of a made chunk of ``num_bytes`` that lies at ``position``.

    Kept from the source: type, path, key-value metadata, Bloom filter. Statistics are those of the
    rows kept, or absent; geospatial statistics are absent.
    """
    names = spec.ColumnMetaData
    meta = {field: entry for field, entry in chunk.meta.items() if field not in _NOT_KEPT}
    changes: dict[spec.Field, Any] = {
        names.ENCODINGS: new.encodings,
        names.CODEC: new.codec,
        names.NUM_VALUES: new.num_values,
        names.TOTAL_UNCOMPRESSED_SIZE: new.uncompressed_bytes,
        names.TOTAL_COMPRESSED_SIZE: num_bytes,
        names.DATA_PAGE_OFFSET: position + new.first_data_page,
    }
    if new.has_dictionary:
        changes[names.DICTIONARY_PAGE_OFFSET] = position
    if new.statistics is not None:
        changes[names.STATISTICS] = new.statistics
    if names.ENCODING_STATS in meta:
        changes[names.ENCODING_STATS] = map(_encoding_stats, new.encoding_stats)
    if new.size_statistics is not None and names.SIZE_STATISTICS in chunk.meta:
        changes[names.SIZE_STATISTICS] = new.size_statistics
    gone = (*_OFFSET_INDEX, *_COLUMN_INDEX)
    struct = {field: entry for field, entry in chunk.struct.items() if field not in gone}
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):  # some writers name the chunk's beginning, some its end
        at_end = value(struct, place) >= chunk.range.end
        struct[place] = spec.entry(place, position + (num_bytes if at_end else 0))
    made = with_fields(meta, spec.struct_of(changes))
    return with_fields(struct, spec.struct_of({spec.ColumnChunk.META_DATA: made}))


@lru_cache(1024)
def _encoding_stats(counted: tuple[int, int, int]) -> Struct:
    fields = spec.PageEncodingStats.fields.values()
    return spec.struct_of(dict(zip(fields, counted, strict=True)))


def drop_bloom_filter(chunk: Struct) -> None:
    """Take the Bloom filter from a ``ColumnChunk`` whose values are not those of one source."""
    meta: Struct = value(chunk, spec.ColumnChunk.META_DATA)
    meta.pop(spec.ColumnMetaData.BLOOM_FILTER_OFFSET, None)
    meta.pop(spec.ColumnMetaData.BLOOM_FILTER_LENGTH, None)


def drop_half_known_bounds(groups: Sequence[Struct]) -> None:
    """Take the bounds of a column from all row groups if a cut one of them has none.

    DataFusion merges the bounds of a file's row groups as if all had them, and then leaves out rows
    of those that have none. Chunks that are whole keep their statistics as raw bytes, so columns
    are compared only where a cut chunk has lost its bounds.
    """
    for position in {at for group in groups for at in _cut_without_bounds(group)}:
        metas = [_meta(group, position) for group in groups]
        known = [meta for meta in metas if _bounds_of(meta)]
        for meta in known if len(known) < len(metas) else ():
            kept = {
                field: entry for field, entry in _statistics(meta).items() if field not in _BOUNDS
            }
            meta[spec.ColumnMetaData.STATISTICS] = (STRUCT, kept)


def _meta(group: Struct, position: int) -> Struct:
    chunks = value(group, spec.RowGroup.COLUMNS).items
    return value(chunks[position], spec.ColumnChunk.META_DATA)  # type: ignore[no-any-return]


def _cut_without_bounds(group: Struct) -> list[int]:
    found = []
    for position in range(len(value(group, spec.RowGroup.COLUMNS).items)):
        meta = _meta(group, position)
        is_cut = not isinstance(value(meta, spec.ColumnMetaData.STATISTICS), Raw)
        if is_cut and not _bounds_of(meta):
            found.append(position)
    return found


def _statistics(meta: Struct) -> Struct:
    found = value(meta, spec.ColumnMetaData.STATISTICS, {})
    return spec.read(spec.Statistics, found) if isinstance(found, Raw) else found


def _bounds_of(meta: Struct) -> list[int]:
    return [field for field in _statistics(meta) if field in _BOUNDS]


def shifted_offset_index(data: bytes, shift: int) -> bytes:
    """Return an ``OffsetIndex`` with every page's offset moved."""
    return OffsetIndex.decode(data).shifted(shift).encode()


def offset_index(new: NewChunk, position: int) -> bytes | None:
    """Return the ``OffsetIndex`` of a cut chunk that lies at ``position``."""
    if new.pages is None:
        return None
    sizes = None if new.page_value_bytes is None else tuple(new.page_value_bytes)
    return OffsetIndex(tuple(new.pages), sizes).shifted(position).encode()


def part_key_values(
    model: Footer, first_row: int, num_rows: int, provenance: dict[str, str]
) -> list[tuple[bytes, bytes | None]]:
    """Return a part's key-value metadata: all of the source's, made true, and ours behind it."""
    made_true = {PANDAS_KEY: part_pandas, ARROW_KEY: part_arrow_schema}
    kept = [
        (key, made_true[key](content, first_row, num_rows) if key in made_true else content)
        for key, content in model.key_values
        if not key.startswith(b"evensplit.")
    ]
    ours = [(key.encode(), content.encode()) for key, content in provenance.items()]
    return [*kept, *ours]


def part_arrow_schema(content: bytes | None, first_row: int, num_rows: int) -> bytes | None:
    """Return Arrow's schema, which repeats pandas' metadata, with that made true as well."""
    try:
        message = base64.b64decode(content or b"", validate=True)
    except ValueError:
        return content
    if b'"range"' not in message:  # as pandas writes the kind of such an index
        return content
    import pyarrow as pa

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(message))
    except (pa.ArrowException, OSError):
        return content
    metadata = dict(schema.metadata or {})
    pandas = part_pandas(metadata.get(PANDAS_KEY), first_row, num_rows)
    if pandas is None or pandas == metadata[PANDAS_KEY]:
        return content
    moved = schema.with_metadata({**metadata, PANDAS_KEY: pandas})
    return base64.b64encode(moved.serialize().to_pybytes())


def part_pandas(content: bytes | None, first_row: int, num_rows: int) -> bytes | None:
    """Return pandas' metadata with the bounds of its range index moved to a part's rows."""
    if content is None:
        return None
    try:
        described = json.loads(content)
        index_columns = described["index_columns"]
    except (ValueError, KeyError, TypeError):
        return content
    changed = False
    for column in index_columns if isinstance(index_columns, list) else []:
        if isinstance(column, dict) and column.get("kind") == "range":
            start, step = column.get("start") or 0, column.get("step") or 1
            column["start"] = start + first_row * step
            column["stop"] = column["start"] + num_rows * step
            changed = True
    return json.dumps(described).encode() if changed else content
