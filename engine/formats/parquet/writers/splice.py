"""Assemble a part: copy compressed bytes as they are, and write a footer that makes them true.

A part is the magic, the column chunks of its row groups, the Bloom filters, the column indexes,
the offset indexes and the footer. Chunks of whole row groups are copied without being looked at:
the steps are *read* where they lie, *copy*, *rebase* every offset that names a place in the file,
in the footer's bytes where these have the usual form (:mod:`.bytes.group_bytes`).
All others (cut, re-encoded, merged) are made by a
:class:`~.writers.chunk.ChunkMaker`, one column after another. Every field of the source's
footer that does not name a place is kept.

Source: parquet.thrift, PageIndex.md, BloomFilter.md of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from engine.errors import BadStructure
from engine.formats import WrittenPart
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import ChunkTable, read_chunk_table
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, has
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    ColumnChunk,
    Footer,
    Leaf,
    null_count,
    part_footer,
    seal,
    set_ordinal,
    value,
    with_fields,
)
from engine.formats.parquet.bytes.group_bytes import MovedChunk, Odd, Scanned, Scanner, moved
from engine.formats.parquet.bytes.page_index import (
    check_column_index,
    shifted_offset_index,
)
from engine.formats.parquet.bytes.thrift import STRUCT, Raw, Struct
from engine.formats.parquet.merging import Merged, agree, is_agreed, keep_order_of_pieces
from engine.formats.parquet.merging.keys import KeyValues
from engine.formats.parquet.opened import OpenFile, OpenRowGroup, lies_inside
from engine.formats.parquet.writers.check import Written, check_part
from engine.formats.parquet.writers.chunk import ChunkMaker, Piece
from engine.formats.parquet.writers.lists import check_list_ends
from engine.formats.parquet.writers.made_chunk import made_chunk, offset_index, without_indexes
from engine.model import Buffer, Range
from engine.storage import PartSink
from engine.storage.base import naming

DECODED_FOR_BOUNDS_BYTES = 16 << 20  # of a cut chunk, compressed: some tens of milliseconds
_OFFSET_INDEX = (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH)
_COLUMN_INDEX = (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH)
_PAGE_OFFSETS = (
    spec.ColumnMetaData.DATA_PAGE_OFFSET,
    spec.ColumnMetaData.INDEX_PAGE_OFFSET,
    spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET,
)
_HASHED_BYTES = 8 << 20  # at once


class _Extras:
    """Indexes and Bloom filter of one chunk, which are written behind all data, and where.

    ``chunk``: its footer entry, if that is decoded.
    """

    __slots__ = (
        "bloom_filter",
        "chunk",
        "column_index",
        "column_place",
        "file",
        "offset_index",
        "offset_place",
    )

    def __init__(
        self,
        chunk: Struct | None,
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
        self.column_place: Range | None = None
        self.offset_place: Range | None = None

    def drop_indexes(self) -> None:
        """Name no page index in the footer: what is in the file nobody looks for then."""
        self.column_place = self.offset_place = None


class _Group(NamedTuple):
    """A row group of the part: decoded, or scanned and still to be moved by ``shifts``."""

    extras: list[_Extras]
    struct: Struct | None
    scanned: Scanned | None = None
    shifts: Sequence[int] = ()
    ordinal: int = 0
    start: int = 0

    def encoded(self) -> bytes:
        """Return its footer entry, once indexes have their places."""
        if self.scanned is not None:
            chunks = [
                MovedChunk(shift, extra.offset_place, extra.column_place)
                for shift, extra in zip(self.shifts, self.extras, strict=True)
            ]
            return moved(self.scanned, chunks, self.ordinal, self.start)
        assert self.struct is not None
        columns = [_with_indexes(extra) for extra in self.extras]
        return thrift.encode(
            with_fields(self.struct, spec.struct_of({spec.RowGroup.COLUMNS: columns}))
        )


def _with_indexes(extra: _Extras) -> Struct:
    """Return a chunk's footer entry that names its page indexes."""
    assert extra.chunk is not None
    if extra.column_place is extra.offset_place is None:
        return extra.chunk
    named = ((_COLUMN_INDEX, extra.column_place), (_OFFSET_INDEX, extra.offset_place))
    fields: dict[spec.Field, Any] = {}
    for (offset, length), place in named:
        if place is not None:
            fields |= {offset: place.offset, length: place.length}
    return with_fields(extra.chunk, spec.struct_of(fields))


class _WholeChunk(NamedTuple):
    """What must be known of a chunk that is copied whole; ``statistics`` as their bytes."""

    range: Range
    offset_index: Range | None
    column_index: Range | None
    statistics: bytes


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
        self._groups: list[_Group] = []
        self._scanners: dict[int, Scanner] = {}  # by the leaves of a schema, which files keep
        self._pieces: list[Sequence[Piece]] = []
        self._is_copied: list[bool] = []
        self._indexes: dict[int, bytes] = {}
        self._end = sha256()
        self._num_rows = 0
        self._run: tuple[OpenFile, Range] | None = None  # still to be copied
        self._spliced_bytes = 0
        self._reencoded_bytes = 0
        sink.write(MAGIC)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append a row group that holds the rows of all pieces; errors name their files."""
        if self._run is not None and self._run[0] is not pieces[0].file:
            self._copy_run()
        with naming(*(piece.file.file.path for piece in pieces)):
            self._add(pieces)

    def _add(self, pieces: Sequence[Piece]) -> None:
        first = pieces[0]
        is_copied = self._keeps_chunks and len(pieces) == 1 and first.is_whole
        self._groups.append(self._whole(first.group) if is_copied else self._made(pieces))
        self._pieces.append(pieces)
        self._is_copied.append(is_copied)
        self._num_rows += sum(piece.num_rows for piece in pieces)

    @property
    def size_bytes(self) -> int:
        """Bytes of the part so far."""
        return self._sink.size_bytes + (self._run[1].length if self._run is not None else 0)

    def put_new(self, data: Buffer) -> None:
        """Append bytes that were re-encoded."""
        self._write(data)
        self._reencoded_bytes += len(data)

    def copy(self, file: OpenFile, where: Range) -> None:
        """Append bytes of a source; what lies one behind another there is copied at once."""
        if not where.length:
            return
        self._spliced_bytes += where.length
        if self._run is not None:
            known, run = self._run
            if known is file and run.end == where.offset:
                self._run = file, Range(run.offset, run.length + where.length)
                return
            self._copy_run()
        self._run = file, where

    def _copy_run(self) -> None:
        """Copy what is still to be copied, before anything else is written or read back."""
        if self._run is None:
            return
        (file, where), self._run = self._run, None
        with naming(file.file.path):
            for piece in file.pieces(where):
                if isinstance(piece, Range):
                    self._sink.copy(file.stored, piece.offset, piece.length)
                else:
                    self._sink.write(piece)

    def _write(self, data: Buffer) -> None:
        self._copy_run()
        self._sink.write(data)

    def finish(self, model: Footer, carried: Merged, key_values: KeyValues) -> WrittenPart:
        """Write indexes and footer.

        Args:
            model: lends the schema and all other metadata.
            carried: what the part's sources make of it together.
            key_values: its own.

        Raises:
            BadPage, InternalError: the part does not add up, see :func:`check_part`.
        """
        self._copy_run()
        data_end = self.size_bytes
        extras = [extra for group in self._groups for extra in group.extras]
        if any(extra.offset_index is None for extra in extras):
            # A reader breaks where only some chunks have one.
            for extra in extras:
                extra.offset_index = extra.column_index = None
        for extra in extras:
            self._put_bloom_filter(extra)
        for extra in extras:
            extra.column_place = self._put_index(extra.column_index)
        for extra in extras:
            extra.offset_place = self._put_index(extra.offset_index)
        fields = carried.fields(model)
        empty = Footer(part_footer(fields, [], self._num_rows, key_values))
        empty.share_schema(model)
        written = Written(
            self._sink,
            *self._agreed(empty, model, carried),
            data_end,
            self._pieces,
            self._is_copied,
            self._indexes,
        )
        groups = written.footer.groups
        if check_part(written):
            for extra in extras:
                extra.drop_indexes()
            groups = self._agreed(empty, model, carried)[0].groups
        footer = part_footer(fields, groups, self._num_rows, key_values)
        self._put_end(seal(footer))
        return WrittenPart(
            self._num_rows,
            self._spliced_bytes,
            self._reencoded_bytes,
            footer,
            self.size_bytes - data_end,
            self._end.hexdigest(),
        )

    def _agreed(
        self, empty: Footer, model: Footer, carried: Merged
    ) -> tuple[Footer, ChunkTable | BadStructure]:
        """Return the footer with row groups that say the same kinds of things, and its numbers.

        ``empty``: the footer without them. Instead of numbers why there are none.
        """
        footer = empty.holding([Raw(group.encoded()) for group in self._groups])
        try:
            table = read_chunk_table(footer)
            if is_agreed(table, keeps_bounds=carried.keeps_bounds):
                return footer, table
            structs = [footer.row_group(number).struct for number in range(len(self._groups))]
            agree(structs, model, keeps_bounds=carried.keeps_bounds)
            footer = empty.holding([Raw(thrift.encode(struct)) for struct in structs])
            return footer, read_chunk_table(footer)
        except BadStructure as error:
            return footer, error

    # -- whole row groups ----------------------------------------------------------------------

    def _whole(self, opened: OpenRowGroup) -> _Group:
        file, start = opened.file, self.size_bytes
        scanned = self._scanned(opened)
        chunks = _by_entry(opened) if scanned is None else _by_scan(scanned, file)
        shifts = self._copy_chunks(file, [chunk.range for chunk in chunks])
        column_indexes = _read_indexes(file, [chunk.column_index for chunk in chunks])
        offset_indexes = _read_indexes(file, [chunk.offset_index for chunk in chunks])
        extras = [
            _Extras(None, file, None, *_kept_indexes(*each))
            for each in zip(
                file.footer.leaves, chunks, offset_indexes, column_indexes, shifts, strict=True
            )
        ]
        ordinal = len(self._groups)
        if scanned is not None:
            return _Group(extras, None, scanned, shifts, ordinal, start)
        group = opened.entry
        for chunk, extra, shift in zip(group.columns, extras, shifts, strict=True):
            extra.chunk = rebased_chunk(chunk, shift)
            extra.bloom_filter = file.bloom_filter_range(chunk)
        struct = dict(group.struct)
        set_ordinal(struct, ordinal, start)
        return _Group(extras, struct)

    def _scanned(self, opened: OpenRowGroup) -> Scanned | None:
        """Return a row group that can be moved in its bytes; None if it must be decoded."""
        footer = opened.file.footer
        if has(footer.created_by, SHORT_CHUNKS):
            return None
        try:
            scanned = self._scanner(footer).scan(footer.row_group_data(opened.number))
        except Odd:
            return None
        return scanned if scanned.is_plain else None

    def _scanner(self, footer: Footer) -> Scanner:
        """Return what scans row groups of a schema, which files of one table share."""
        found = self._scanners.get(id(footer.leaves))
        if found is None:
            found = self._scanners[id(footer.leaves)] = Scanner(footer.path_forms)
        return found

    def _copy_chunks(self, file: OpenFile, ranges: Sequence[Range]) -> list[int]:
        """Copy chunks in the order they lie in; return their shifts."""
        shifts = [0] * len(ranges)
        for i in sorted(range(len(ranges)), key=ranges.__getitem__):
            shifts[i] = self.size_bytes - ranges[i].offset
            self.copy(file, ranges[i])
        return shifts

    # -- made row groups -----------------------------------------------------------------------

    def _made(self, pieces: Sequence[Piece]) -> _Group:
        """Make a row group; what the source says of it beside its chunks is the first piece's."""
        start = self.size_bytes
        extras = []
        uncompressed_bytes = 0
        file, group = pieces[0].file, pieces[0].group.entry
        list_ends = []
        for column, chunk in enumerate(group.columns):
            position = self.size_bytes
            out = _Out(self)
            new = self._make(pieces, column, out, most_decoded_bytes=self._most_decoded_bytes)
            uncompressed_bytes += new.uncompressed_bytes
            # A filter of all the chunk's values never denies one of those kept.
            bloom_filter = file.bloom_filter_range(chunk) if len(pieces) == 1 else None
            has_filter = bloom_filter is not None
            struct = made_chunk(chunk, new, position, out.num_bytes, keeps_bloom_filter=has_filter)
            index = offset_index(new, position)
            extras.append(_Extras(struct, file, bloom_filter, new.column_index, index))
            list_ends.append(new.list_ends)
        check_list_ends(pieces, list_ends)
        struct = with_fields(
            group.struct,
            spec.struct_of(
                {
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
            struct[size] = spec.entry(size, self.size_bytes - start)
        set_ordinal(struct, len(self._groups), start)
        return _Group(extras, struct)

    # -- behind the data -----------------------------------------------------------------------

    def _put_bloom_filter(self, extra: _Extras) -> None:
        if extra.bloom_filter is None:
            return
        assert extra.chunk is not None
        meta: Struct = value(extra.chunk, spec.ColumnChunk.META_DATA)
        place = spec.ColumnMetaData.BLOOM_FILTER_OFFSET
        meta[place] = spec.entry(place, self.size_bytes)
        self.copy(extra.file, extra.bloom_filter)
        for at in range(extra.bloom_filter.offset, extra.bloom_filter.end, _HASHED_BYTES):
            length = min(_HASHED_BYTES, extra.bloom_filter.end - at)
            self._end.update(extra.file.source.read(at, length))

    def _put_end(self, data: Buffer) -> None:
        """Append what is no value, and count it in."""
        self._write(data)
        self._end.update(data)

    def _put_index(self, data: bytes | None) -> Range | None:
        """Append a page index, if there is one; return where it lies."""
        if data is None:
            return None
        place = Range(self.size_bytes, len(data))
        self._indexes[place.offset] = data
        self._put_end(data)
        return place


def _read_indexes(file: OpenFile, places: Sequence[Range | None]) -> list[bytes]:
    """Read page indexes of one kind; empty for a chunk that has none."""
    if not any(places):
        return [b""] * len(places)
    return file.source.read_many([place or Range(0, 0) for place in places])


def _by_entry(opened: OpenRowGroup) -> list[_WholeChunk]:
    return [
        _WholeChunk(
            chunk.range,
            chunk.offset_index,
            chunk.column_index,
            value(chunk.meta, spec.ColumnMetaData.STATISTICS, b""),
        )
        for chunk in opened.entry.columns
    ]


def _by_scan(scanned: Scanned, file: OpenFile) -> list[_WholeChunk]:
    end = file.footer_offset

    def here(place: Range | None) -> Range | None:
        return place if place is not None and lies_inside(place, end) else None

    return [
        _WholeChunk(
            scanned.chunk_range(column),
            here(scanned.offset_index(column)),
            here(scanned.column_index(column)),
            statistics,
        )
        for column, statistics in enumerate(scanned.statistics)
    ]


def rebased_chunk(chunk: ColumnChunk, shift: int) -> Struct:
    """Return the ``ColumnChunk`` of bytes that moved by ``shift``; fields not set stay so."""
    meta = dict(chunk.meta)
    for field in _PAGE_OFFSETS:
        offset = value(meta, field)
        if offset:
            meta[field] = spec.entry(field, offset + shift)
    struct = without_indexes(chunk.struct) | {spec.ColumnChunk.META_DATA: (STRUCT, meta)}
    place = spec.ColumnChunk.FILE_OFFSET
    if value(struct, place):
        struct[place] = spec.entry(place, value(struct, place) + shift)
    return struct


def _kept_indexes(
    leaf: Leaf, chunk: _WholeChunk, offset_index: bytes, column_index: bytes, shift: int
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
        if column_index:
            nulls = null_count(chunk.statistics)
            check_column_index(column_index, leaf, num_pages, nulls)
    except BadStructure:
        return None, kept
    return column_index or None, kept
