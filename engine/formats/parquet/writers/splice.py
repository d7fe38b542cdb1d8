"""Assemble a part: copy compressed bytes as they are, and write a footer that makes them true.

A part is the magic, the column chunks of its row groups, the Bloom filters, the column indexes,
the offset indexes and the footer. Chunks of whole row groups are copied without being looked at:
the steps are *read* where they lie, *copy*, *rebase* every offset that names a place in the file.
All others (cut, re-encoded, merged) are made by a
:class:`~.writers.chunk.ChunkMaker`, one column after another. Every field of the source's
footer that does not name a place is kept.

Source: parquet.thrift, PageIndex.md, BloomFilter.md of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from engine.errors import BadStructure
from engine.formats import WrittenPart
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    ColumnChunk,
    Footer,
    Leaf,
    part_footer,
    seal,
    set_ordinal,
    value,
    with_fields,
)
from engine.formats.parquet.bytes.page_index import ColumnIndex, OffsetIndex, shifted_offset_index
from engine.formats.parquet.bytes.thrift import STRUCT, Raw, Struct
from engine.formats.parquet.merging import Merged, agree, keep_order_of_pieces
from engine.formats.parquet.merging.keys import KeyValues
from engine.formats.parquet.opened import OpenFile, OpenRowGroup
from engine.formats.parquet.writers.check import Written, check_part
from engine.formats.parquet.writers.chunk import ChunkMaker, NewChunk, Piece
from engine.model import Buffer, Range
from engine.storage import PartSink

DECODED_FOR_BOUNDS_BYTES = 16 << 20  # of a cut chunk, compressed: some tens of milliseconds
_OFFSET_INDEX = (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH)
_COLUMN_INDEX = (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH)
_PAGE_OFFSETS = (
    spec.ColumnMetaData.DATA_PAGE_OFFSET,
    spec.ColumnMetaData.INDEX_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
)
_INDEXES = frozenset((*_OFFSET_INDEX, *_COLUMN_INDEX))
_NOT_KEPT = frozenset(  # of a chunk that is made, unless made anew
    (
        spec.ColumnMetaData.INDEX_PAGE_OFFSET,
        spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
        spec.ColumnMetaData.STATISTICS,
        spec.ColumnMetaData.SIZE_STATISTICS,
        spec.ColumnMetaData.GEOSPATIAL_STATISTICS,
    )
)


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
        self._pieces: list[Sequence[Piece]] = []
        self._is_copied: list[bool] = []
        self._indexes: dict[int, bytes] = {}
        self._num_rows = 0
        self._spliced_bytes = 0
        self._reencoded_bytes = 0
        sink.write(MAGIC)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append a row group that holds the rows of all pieces."""
        first = pieces[0]
        is_copied = self._keeps_chunks and len(pieces) == 1 and first.is_whole
        struct = self._whole(first.group) if is_copied else self._made(pieces)
        self._groups.append(struct)
        self._pieces.append(pieces)
        self._is_copied.append(is_copied)
        self._num_rows += sum(piece.num_rows for piece in pieces)

    def put_new(self, data: Buffer) -> None:
        """Append bytes that were re-encoded."""
        self._sink.write(data)
        self._reencoded_bytes += len(data)

    def copy(self, file: OpenFile, where: Range) -> None:
        """Append bytes of a source."""
        if where.length:
            self._sink.copy(file.source, where.offset, where.length)
            self._spliced_bytes += where.length

    def finish(self, model: Footer, carried: Merged, key_values: KeyValues) -> WrittenPart:
        """Write indexes and footer.

        Args:
            model: lends the schema and all other metadata.
            carried: what the part's sources make of it together.
            key_values: its own.

        Raises:
            BadPage, InternalError: the part does not add up, see :func:`check_part`.
        """
        data_end = self._sink.size_bytes
        if any(extra.offset_index is None for extra in self._extras):
            # A reader breaks where only some chunks have one.
            for extra in self._extras:
                extra.offset_index = extra.column_index = None
        for extra in self._extras:
            self._put_bloom_filter(extra)
        for extra in self._extras:
            if extra.column_index is not None:
                self._put_index(extra.chunk, *_COLUMN_INDEX, extra.column_index)
        for extra in self._extras:
            if extra.offset_index is not None:
                self._put_index(extra.chunk, *_OFFSET_INDEX, extra.offset_index)
        agree(self._groups, model, keeps_bounds=carried.keeps_bounds)
        fields = carried.fields(model)
        groups = [Raw(thrift.encode(group)) for group in self._groups]
        head = part_footer(fields, [], self._num_rows, key_values)
        lies = check_part(
            Written(
                self._sink, head, groups, data_end, self._pieces, self._is_copied, self._indexes
            )
        )
        if lies:  # what stays of the indexes in the file is nothing that anybody looks for
            for extra in self._extras:
                drop_indexes(extra.chunk)
            groups = [Raw(thrift.encode(group)) for group in self._groups]
        footer = part_footer(fields, groups, self._num_rows, key_values)
        self._sink.write(seal(footer))
        return WrittenPart(self._num_rows, self._spliced_bytes, self._reencoded_bytes, footer)

    # -- whole row groups ----------------------------------------------------------------------

    def _whole(self, opened: OpenRowGroup) -> Struct:
        file, group = opened.file, opened.entry
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
            indexes = _kept_indexes(
                file.footer.leaves[i], chunk, offset_indexes[i], column_indexes[i], shift
            )
            self._extras.append(_Extras(struct, file, file.bloom_filter_range(chunk), *indexes))
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
        file, group = pieces[0].file, pieces[0].group.entry
        for column, chunk in enumerate(group.columns):
            position = self._sink.size_bytes
            out = _Out(self)
            new = self._make(pieces, column, out, most_decoded_bytes=self._most_decoded_bytes)
            struct = made_chunk(chunk, new, position, out.num_bytes)
            columns.append(struct)
            uncompressed_bytes += new.uncompressed_bytes
            # A filter of all the chunk's values never denies one of those kept.
            bloom_filter = file.bloom_filter_range(chunk) if len(pieces) == 1 else None
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
        if len(pieces) > 1:
            groups = [piece.group.entry.struct for piece in pieces]
            keep_order_of_pieces(struct, groups, file.footer)
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
        self._indexes[self._sink.size_bytes] = data
        self._sink.write(data)


def rebased_chunk(chunk: ColumnChunk, shift: int) -> Struct:
    """Return the ``ColumnChunk`` of bytes that moved by ``shift``; fields not set stay so."""
    meta = dict(chunk.meta)
    for field in _PAGE_OFFSETS:
        offset = value(meta, field)
        if offset:
            meta[field] = spec.entry(field, offset + shift)
    struct = _without_indexes(chunk.struct) | {spec.ColumnChunk.META_DATA: (STRUCT, meta)}
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):
        struct[place] = spec.entry(place, value(struct, place) + shift)
    return struct


def _without_indexes(chunk: Struct) -> Struct:
    """Return a chunk's fields without its indexes, which are placed once they are written."""
    return {field: entry for field, entry in chunk.items() if field not in _INDEXES}


def made_chunk(chunk: ColumnChunk, new: NewChunk, position: int, num_bytes: int) -> Struct:
    """Return the ``ColumnChunk`` of a made chunk of ``num_bytes`` that lies at ``position``.

    Kept from the source: type, path, key-value metadata, Bloom filter. Statistics are those of the
    rows kept, or absent; geospatial statistics are absent.
    """
    names = spec.ColumnMetaData
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
    if names.ENCODING_STATS in chunk.meta:
        changes[names.ENCODING_STATS] = map(_encoding_stats, new.encoding_stats)
    if new.size_statistics is not None and names.SIZE_STATISTICS in chunk.meta:
        changes[names.SIZE_STATISTICS] = new.size_statistics
    struct = _without_indexes(chunk.struct)
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):  # some writers name the chunk's beginning, some its end
        at_end = value(struct, place) >= chunk.range.end
        struct[place] = spec.entry(place, position + (num_bytes if at_end else 0))
    kept = {field: entry for field, entry in chunk.meta.items() if field not in _NOT_KEPT}
    made = with_fields(kept, spec.struct_of(changes))
    struct[spec.ColumnChunk.META_DATA] = (STRUCT, made)
    return struct


@lru_cache(1024)
def _encoding_stats(counted: tuple[int, int, int]) -> Raw:
    fields = spec.PageEncodingStats.fields.values()
    return Raw(thrift.encode(spec.struct_of(dict(zip(fields, counted, strict=True)))))


def drop_bloom_filter(chunk: Struct) -> None:
    """Take the Bloom filter from a ``ColumnChunk`` whose values are not those of one source."""
    meta: Struct = value(chunk, spec.ColumnChunk.META_DATA)
    meta.pop(spec.ColumnMetaData.BLOOM_FILTER_OFFSET, None)
    meta.pop(spec.ColumnMetaData.BLOOM_FILTER_LENGTH, None)


def drop_indexes(chunk: Struct) -> None:
    """Take both page indexes from a ``ColumnChunk``."""
    for field in _INDEXES:
        chunk.pop(field, None)


def _kept_indexes(
    leaf: Leaf, chunk: ColumnChunk, offset_index: bytes, column_index: bytes, shift: int
) -> tuple[bytes | None, bytes | None]:
    """Return column and offset index of a chunk that moved by ``shift``, as far as they are any.

    Whether the offset index lists the chunk's pages is seen when the part is checked.
    """
    if not offset_index:
        return None, None
    try:
        num_pages, kept = shifted_offset_index(offset_index, shift)
    except BadStructure:
        return None, None
    try:
        index = ColumnIndex.decode(column_index) if column_index else None
        if index is not None:
            index.check_fits(leaf, num_pages, chunk.null_count)
    except BadStructure:
        return None, kept
    return column_index or None, kept


def offset_index(new: NewChunk, position: int) -> bytes | None:
    """Return the ``OffsetIndex`` of a cut chunk that lies at ``position``."""
    if new.pages is None:
        return None
    sizes = None if new.page_value_bytes is None else tuple(new.page_value_bytes)
    return OffsetIndex(tuple(new.pages), sizes).shifted(position).encode()
