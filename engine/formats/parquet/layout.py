"""Sources as the planner sees them: opened, their footers read and checked, their bytes counted.

Everything that footers alone can prove wrong is found here, before any work: chunks outside the
file, row counts that do not add up, encrypted columns, several sources with different schemas.
Not covered: pages inside a row group (:mod:`.curves`), and content that only a
reader would notice (:mod:`.verifier`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from engine import memory
from engine.errors import BadStructure, Encrypted, NotParquet, SchemaMismatch, Unsupported
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, UNFLAGGED_PAGES, has
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    TAIL_BYTES,
    ColumnChunk,
    Footer,
    RowGroup,
    footer_range,
    value,
)
from engine.formats.parquet.bytes.page_map import run_walk, walk_pages
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.merging import Named, check_mergeable
from engine.formats.parquet.same_schema import check_same_schema
from engine.model import Range, SourceFile
from engine.planning.layout import GroupLayout, Layout, make_layout
from engine.storage import Source, open_storage
from engine.storage.base import naming, redacted

FIRST_READ_BYTES = 256 << 10
PROVENANCE_BYTES = 512  # key-value entries of ours, and a little for longer numbers
CACHED_CHUNKS = 20_000  # of all open files together
_LEAVING_GROUPS = 2  # the part behind may be another process's, and never ask for them


class OpenFile:
    """An opened source with its footer; the row groups decoded last are kept."""

    def __init__(self, file: SourceFile) -> None:
        store, path = open_storage(file.path)
        self.file = file
        self.source: Source = store.open(SourceFile(path, file.size_bytes, file.version))
        try:
            with naming(file.path):
                footer, self.footer_offset = read_footer(self.source)
                self.footer = chosen_columns(footer, file)
        except BaseException:
            self.source.close()
            raise
        self._notes: dict[int | None, dict[str, Any]] = {}
        self._groups: OrderedDict[int, RowGroup] = OrderedDict()
        self._index_bytes: dict[int, tuple[int, int]] = {}
        self._leaving: dict[int, None] = {}  # in the order of their coming
        self._leaving_lock = threading.Lock()

    def row_group(self, index: int) -> RowGroup:
        """Return a decoded row group."""
        group = self._groups.get(index)
        if group is None:
            group = self._groups[index] = self._true_row_group(index)
            most_chunks = CACHED_CHUNKS // max(1, len(_open))
            if len(self._groups) > max(1, most_chunks // max(1, len(self.footer.leaves))):
                with suppress(KeyError):  # another thread has dropped them all
                    self._groups.popitem(last=False)
        return group

    def _true_row_group(self, index: int) -> RowGroup:
        """Decode a row group without indexes that lie nowhere.

        Chunks that their writer counted too short get their true length.
        """
        group = self.footer.row_group(index)
        _drop_lost_indexes(group, self.footer_offset)
        if not has(self.footer.created_by, SHORT_CHUNKS):
            return group
        for leaf, chunk in zip(self.footer.leaves, group.columns, strict=True):
            place = Range(chunk.range.offset, self.footer_offset - chunk.range.offset)
            walk = walk_pages(
                place, chunk.num_values, group.num_rows, is_flat=leaf.max_repetition == 0
            )
            try:
                pages = run_walk(walk, self.source.read)
            except BadStructure:
                continue  # whoever needs the pages tells what is wrong with them
            end = pages.page(pages.num_pages - 1).end if pages.num_pages else chunk.range.end
            if end > chunk.range.end:
                size = spec.ColumnMetaData.TOTAL_COMPRESSED_SIZE
                chunk.meta[size] = spec.entry(size, end - chunk.range.offset)
        return group

    def index_bytes(self, row_group: int) -> tuple[int, int]:
        """Return the bytes of a row group's page indexes, and of the largest one; kept for good."""
        found = self._index_bytes.get(row_group)
        if found is None:
            sizes = [
                place.length
                for chunk in self.row_group(row_group).columns
                for place in (chunk.offset_index, chunk.column_index)
                if place is not None
            ]
            found = self._index_bytes[row_group] = sum(sizes), max(sizes, default=0)
        return found

    def forget_soon(self, row_group: int) -> None:
        """Keep what is kept of a row group until this process has left some more behind."""
        with self._leaving_lock:
            self._leaving.pop(row_group, None)
            self._leaving[row_group] = None
            if len(self._leaving) <= _LEAVING_GROUPS:
                return
            oldest = next(iter(self._leaving))
            self._leaving.pop(oldest)
        self.forget(oldest)

    def forget(self, row_group: int) -> None:
        """Drop what is kept of a row group; it is read again if it is asked for again."""
        self._groups.pop(row_group, None)
        self._notes.pop(row_group, None)

    def notes(self, row_group: int | None) -> dict[str, Any]:
        """Return what others keep with a row group, or (None) with the whole file, by name."""
        return self._notes.setdefault(row_group, {})


_open: dict[SourceFile, OpenFile] = {}
_open_lock = threading.Lock()


def open_file(file: SourceFile) -> OpenFile:
    """Return the opened file, shared by all parts that this process writes."""
    with _open_lock:
        found = _open.get(file)
        if found is None:
            found = _open[file] = OpenFile(file)
        return found


def close_files() -> None:
    """Close every file that :func:`open_file` holds."""
    with _open_lock:
        for file in _open.values():
            file.source.close()
        _open.clear()


def read_footer(source: Source) -> tuple[Footer, int]:
    """Read a file's footer, in one read where it is small; return it and where it begins.

    Raises:
        NotParquet, BadStructure, Encrypted: see :func:`.bytes.footer.footer_range`.
    """
    data, offset = read_footer_bytes(source)
    footer = Footer(data)
    # What is read on demand is read now, where errors are told with the file's name.
    _ = footer.leaves, footer.key_values, footer.num_rows
    return footer, offset


def read_footer_bytes(source: Source) -> tuple[bytes, int]:
    """Return the thrift bytes of a footer, and where they begin; raises as :func:`read_footer`."""
    size = source.file.size_bytes
    length = min(size, FIRST_READ_BYTES)
    tail = source.read(size - length, length)
    place = footer_range(tail, size)
    if source.read(0, 4) != MAGIC:
        raise NotParquet(f"not a Parquet file: it begins without {MAGIC!r}")
    if place.length + TAIL_BYTES <= length:
        data = tail[length - TAIL_BYTES - place.length : length - TAIL_BYTES]
    else:
        data = source.read(place.offset, place.length)
    return data, place.offset


def chosen_columns(footer: Footer, file: SourceFile) -> Footer:
    """Return the footer of the columns that are taken of a file.

    Raises:
        BadSetting: a column that was named is not there.
    """
    return footer if file.columns is None else project(footer, file.columns)


def _check_flags(files: Sequence[OpenFile]) -> None:
    """Refuse V2 pages that say falsely that they are plain, beside pages of other writers."""
    known = [file for file in files if has(file.footer.created_by, UNFLAGGED_PAGES)]
    if not known or len(known) == len(files):
        return
    for file in known:
        if _has_v2_pages(file):
            raise SchemaMismatch(
                f"{redacted(file.file.path)} is of {file.footer.created_by!r}, whose V2 pages do "
                "not say that they are compressed; readers go by the writer that a file names, and "
                "parts would hold pages of others too: split it by itself"
            )


def _has_v2_pages(file: OpenFile) -> bool:
    """Whether a file has V2 data pages, by its first chunk; all have one version."""
    for index in range(file.footer.num_row_groups):
        group = file.row_group(index)
        if not group.num_rows:
            continue
        chunk, is_flat = group.columns[0], file.footer.leaves[0].max_repetition == 0
        walk = walk_pages(chunk.range, chunk.num_values, group.num_rows, is_flat=is_flat)
        with naming(file.file.path):
            headers = run_walk(walk, file.source.read).headers
        return headers is not None and PageType.DATA_V2 in headers.types
    return False


def read_layout(files: Sequence[SourceFile]) -> Layout:
    """Read and check the footers of all sources; bytes are as they lie there.

    Raises:
        SourceError: a source is damaged, encrypted, changed, or has another schema than the first.
    """
    opened = [open_file(file) for file in files]
    first = opened[0].footer
    with naming(files[0].path):
        if not first.leaves:
            raise Unsupported("the file has no columns, so there is nothing to split")
    groups: list[GroupLayout] = []
    for number, file in enumerate(opened):
        with naming(file.file.path):
            groups += _groups(file, number)
        if number:
            names = (redacted(opened[0].file.path), redacted(file.file.path))
            check_same_schema(first, file.footer, names)
    _check_flags(opened)
    lost = check_mergeable([named(file) for file in opened])
    entries = sum(first.row_group_bytes(index) for index in range(first.num_row_groups))
    part_bytes = len(MAGIC) + TAIL_BYTES + PROVENANCE_BYTES + first.size_bytes - entries
    made = make_layout(
        tuple(files),
        tuple(groups),
        part_bytes,
        len(first.leaves),
        lost,
    )
    footers = [file.footer for file in opened]
    num_chunks = sum(footer.num_row_groups for footer in footers) * len(first.leaves)
    held_bytes = memory.footers_bytes(
        footer_bytes=sum(footer.size_bytes for footer in footers),
        num_chunks=min(num_chunks, CACHED_CHUNKS),
    )
    return replace(made, held_bytes=held_bytes)


def _groups(file: OpenFile, number: int) -> Iterable[GroupLayout]:
    footer = file.footer
    num_rows = 0
    found = []
    for index in range(footer.num_row_groups):
        group = file.row_group(index)
        if group.num_rows < 0:
            raise BadStructure(f"row group {index} claims {group.num_rows} rows")
        num_rows += group.num_rows
        filter_bytes = _check_chunks(file, index, group)
        index_bytes, _ = file.index_bytes(index)
        if group.num_rows:
            found.append(
                GroupLayout(
                    file=number,
                    index=index,
                    num_rows=group.num_rows,
                    data_bytes=group.compressed_bytes,
                    dictionary_bytes=sum(map(dictionary_bytes, group.columns)),
                    index_bytes=index_bytes,
                    extra_bytes=filter_bytes + footer.row_group_bytes(index),
                )
            )
    if num_rows != footer.num_rows:
        raise BadStructure(
            f"the footer claims {footer.num_rows} rows, its row groups hold {num_rows}"
        )
    return found


def dictionary_bytes(chunk: ColumnChunk) -> int:
    """Return the bytes of a chunk's dictionary page, as far as the footer tells."""
    offset = chunk.dictionary_page_offset
    length = chunk.data_page_offset - offset if offset is not None else 0
    return length if 0 < length < chunk.compressed_bytes else 0


def _check_chunks(file: OpenFile, index: int, group: RowGroup) -> int:
    """Check every chunk of a row group; return the bytes of Bloom filters."""
    end = file.footer_offset
    filter_bytes = 0
    for leaf, chunk in zip(file.footer.leaves, group.columns, strict=True):
        where = chunk.range
        if chunk.is_encrypted:
            raise Encrypted(f"column {leaf.name} is encrypted; decrypt the file first")
        if value(chunk.struct, spec.ColumnChunk.FILE_PATH):
            raise Unsupported(f"column {leaf.name} lies in another file")
        if value(chunk.meta, spec.ColumnMetaData.TYPE) != leaf.physical:
            raise BadStructure(
                f"column {leaf.name} of row group {index} has another type than the schema"
            )
        if leaf.max_repetition == 0 and chunk.num_values != group.num_rows:
            raise BadStructure(
                f"column {leaf.name} of row group {index} has {chunk.num_values} values for "
                f"{group.num_rows} rows"
            )
        if group.num_rows and not (where.length and _inside(where, end)):
            raise BadStructure(
                f"column {leaf.name} of row group {index} lies at bytes {where.offset} to "
                f"{where.end}, outside the file's data (4 to {end})"
            )
        try:
            place = bloom_filter_range(file, chunk)
        except BadStructure as error:
            raise BadStructure(f"column {leaf.name} of row group {index}: {error}") from error
        filter_bytes += place.length if place else 0
    return filter_bytes


_INDEX_PLACES = (
    (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH),
    (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH),
)


def _drop_lost_indexes(group: RowGroup, end: int) -> None:
    """Take from chunks the page indexes that lie outside the data: the file is read without."""
    for chunk in group.columns:
        places = (chunk.offset_index, chunk.column_index)
        for place, fields in zip(places, _INDEX_PLACES, strict=True):
            if place is not None and not _inside(place, end):
                for field in fields:
                    del chunk.struct[field]


def _inside(place: Range, end: int) -> bool:
    return place.offset >= len(MAGIC) and place.length >= 0 and place.end <= end


def bloom_filter_range(file: OpenFile, chunk: ColumnChunk) -> Range | None:
    """Return where a chunk's Bloom filter lies; its length is read if the footer has none.

    Source: BloomFilter.md, ``BloomFilterHeader`` (field 1 is the number of bytes behind it).
    """
    offset = chunk.bloom_filter_offset
    if offset is None:
        return None
    length = chunk.bloom_filter_length
    if length is None:
        head = file.source.read(offset, min(64, max(0, file.footer_offset - offset)))
        header, header_bytes = thrift.decode(head)
        spec.check(spec.BloomFilterHeader, header)
        length = header_bytes + value(header, spec.BloomFilterHeader.NUM_BYTES)
    place = Range(offset, length)
    if not _inside(place, file.footer_offset):
        raise BadStructure(
            f"a Bloom filter lies at bytes {offset} to {place.end}, outside the file"
        )
    return place


def named(file: OpenFile) -> Named:
    """Return a source as :mod:`.merging` takes it."""
    return Named(redacted(file.file.path), file.footer)
