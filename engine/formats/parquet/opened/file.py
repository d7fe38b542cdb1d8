"""An opened source: its footer, and the row groups decoded last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, has
from engine.formats.parquet.bytes.footer import (
    ColumnChunk,
    RowGroup,
    value,
)
from engine.formats.parquet.bytes.page_map import run_walk, walk_pages
from engine.formats.parquet.opened.footer import (
    chosen_columns,
    drop_lost_indexes,
    lies_inside,
    read_footer,
)
from engine.model import Range, SourceFile
from engine.storage import Source, open_storage
from engine.storage.base import naming

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
        drop_lost_indexes(group, self.footer_offset)
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
    if not lies_inside(place, file.footer_offset):
        raise BadStructure(
            f"a Bloom filter lies at bytes {offset} to {place.end}, outside the file"
        )
    return place
