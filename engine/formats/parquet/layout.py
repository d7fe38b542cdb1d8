"""Sources as the planner sees them: opened, their footers read and checked, their bytes counted.

Everything that footers alone can prove wrong is found here, before any work: chunks outside the
file, row counts that do not add up, encrypted columns, several sources with different schemas.
Not covered: pages inside a row group (:mod:`.curves`), and content that only a
reader would notice (:mod:`.verifier`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine import memory
from engine.errors import (
    BadPage,
    BadStructure,
    Encrypted,
    SchemaMismatch,
    SourceError,
    Unsupported,
)
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import ChunkTable, Numbers, read_chunk_tables
from engine.formats.parquet.bytes.created_by import SHORT_CHUNKS, UNFLAGGED_PAGES, has
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    TAIL_BYTES,
    ColumnChunk,
    Footer,
    value,
)
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.merging import Named, check_mergeable
from engine.formats.parquet.opened import (
    CACHED_CHUNKS,
    OpenFile,
    OpenRowGroup,
    lies_inside,
    open_file,
)
from engine.formats.parquet.relaxed import Differs, check_lacking, placed, schema_of, united
from engine.formats.parquet.same_schema import check_same_schema
from engine.model import SourceFile
from engine.planning.layout import GroupLayout, Layout, make_layout
from engine.storage.base import naming, redacted
from engine.wording import counted

Flags = npt.NDArray[np.bool_]

_MOST_TABLED_CHUNKS = 1 << 12  # of several files at once
PROVENANCE_BYTES = 512  # key-value entries of ours, and a little for longer numbers


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
    for group in file.row_groups():
        if group.entry.num_rows:
            with naming(file.file.path):
                headers = group.chunk(0).by_headers().headers
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
    for number, (file, told) in enumerate(zip(opened, _told(opened), strict=True)):
        with naming(file.file.path):
            groups += _groups(file, number, told)
        if number:
            names = (redacted(opened[0].file.path), redacted(file.file.path))
            try:
                check_same_schema(first, file.footer, names)
            except SchemaMismatch as error:
                raise SchemaMismatch(f"{error}{_or_relaxed(first, file.footer)}") from None
    _check_flags(opened)
    lost = (*check_mergeable([named(file) for file in opened]), *_left_out(opened))
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
        footer_bytes=sum(file.held_bytes for file in opened),
        num_chunks=min(num_chunks, CACHED_CHUNKS),
    )
    return replace(made, held_bytes=held_bytes, source_bytes=made.num_bytes + part_bytes)


def _left_out(files: Sequence[OpenFile]) -> Iterable[str]:
    """Yield what is told of metadata that would not be true of files as they are read."""
    for key in dict.fromkeys(key for file in files for key in file.left_out):
        has = [redacted(file.file.path) for file in files if key in file.left_out]
        more = f" and {counted(len(has) - 1, 'more file')}" if len(has) > 1 else ""
        yield (
            f"key-value metadata {key.decode('utf-8', 'replace')!r} of {has[0]}{more} does not "
            "describe columns as the parts have them"
        )


def _or_relaxed(one: Footer, other: Footer) -> str:
    """Return the other way, if two schemas differ in nothing that ``--schema relaxed`` refuses."""
    schemas = schema_of(one), schema_of(other)
    try:
        both = united(schemas, ("", ""))
        check_lacking(both)
        for schema in schemas:
            placed(both, schema)
    except (SchemaMismatch, Differs):
        return ""
    return ", or --schema relaxed"


_Told = tuple[int, "_GroupBytes"] | None  # of a row group, its rows and bytes


def _told(files: Sequence[OpenFile]) -> Iterator[Sequence[_Told]]:
    """Yield of each file what tables tell of its row groups; None where one must be looked at.

    Small files of one schema share a table.
    """
    for some in _runs(files):
        try:
            every = _of_table(some)
        except SourceError:  # told of one file, or of one row group, or where it matters
            every = [told for file in some for told in _of_file(file)]
        rest = iter(every)
        for file in some:
            yield [*islice(rest, file.footer.num_row_groups)]


def _runs(files: Sequence[OpenFile]) -> Iterator[list[OpenFile]]:
    """Yield neighbours that share what is decoded of their schema, and have few chunks."""
    run: list[OpenFile] = []
    num_chunks = 0
    for file in files:
        leaves = file.footer.leaves
        more = file.footer.num_row_groups * len(leaves)
        is_alike = run and run[0].footer.leaves is leaves
        if run and not (is_alike and num_chunks + more <= _MOST_TABLED_CHUNKS):
            yield run
            run, num_chunks = [], 0
        run.append(file)
        num_chunks += more
    yield run


def _of_file(file: OpenFile) -> Sequence[_Told]:
    try:
        return _of_table([file])
    except BadStructure:
        return [None] * file.footer.num_row_groups


def _of_table(files: Sequence[OpenFile]) -> Sequence[_Told]:
    table = read_chunk_tables([file.footer for file in files])
    every = zip(table.num_rows.tolist(), _table_bytes(table), strict=True)
    is_sound = _are_sound(files, table).tolist()
    return [told if sound else None for told, sound in zip(every, is_sound, strict=True)]


def _groups(file: OpenFile, number: int, told: Sequence[_Told]) -> Iterable[GroupLayout]:
    footer = file.footer
    found, sum_rows = [], 0
    for group, known in zip(file.row_groups(), told, strict=True):
        index = group.number
        if known is not None:
            num_rows, num_bytes = known
            file.index_bytes[index] = num_bytes.indexes, num_bytes.largest_index
        else:
            num_bytes, num_rows = _looked_at(group), group.entry.num_rows
        sum_rows += num_rows
        if num_rows:
            found.append(
                GroupLayout(
                    file=number,
                    index=index,
                    num_rows=num_rows,
                    data_bytes=num_bytes.data,
                    dictionary_bytes=num_bytes.dictionaries,
                    index_bytes=num_bytes.indexes,
                    extra_bytes=num_bytes.filters + footer.row_group_bytes(index),
                )
            )
    if sum_rows != footer.num_rows:
        raise BadStructure(
            f"the footer claims {counted(footer.num_rows, 'row')}, its row groups hold {sum_rows:,}"
        )
    return found


class _GroupBytes(NamedTuple):
    """Bytes of a row group: column chunks, dictionaries in them, indexes, Bloom filters."""

    data: int
    dictionaries: int
    indexes: int
    largest_index: int
    filters: int


def _are_sound(files: Sequence[OpenFile], table: ChunkTable) -> Flags:
    """Return of each row group whether a table of its chunks tells all, and nothing is wrong.

    The others are looked at by :func:`_looked_at`, whose judgement counts.
    """
    leaves = files[0].footer.leaves
    num_groups = [file.footer.num_row_groups for file in files]
    end = np.repeat([file.footer_offset for file in files], num_groups)[:, np.newaxis]
    is_short = np.repeat([has(file.footer.created_by, SHORT_CHUNKS) for file in files], num_groups)
    rows, num_bytes = table.num_rows, table.compressed_bytes
    is_flat = np.array([leaf.max_repetition == 0 for leaf in leaves])
    has_type = table.types == np.array([leaf.physical for leaf in leaves])
    has_values = (table.num_values == rows[:, np.newaxis]) | ~is_flat
    lies = _lie_inside(table.starts, num_bytes, end) & (num_bytes > 0)
    is_found = np.ones_like(lies)
    for offsets, lengths in (
        (table.offset_index_offsets, table.offset_index_bytes),
        (table.column_index_offsets, table.column_index_bytes),
    ):
        is_found &= (lengths == 0) | _lie_inside(offsets, lengths, end)
    checked = has_type & has_values & is_found & (lies | (rows == 0)[:, np.newaxis])
    is_sound: Flags = table.is_plain & (rows >= 0) & checked.all(axis=1) & ~is_short
    return is_sound


def _lie_inside(starts: Numbers, lengths: Numbers, end: Numbers) -> Flags:
    """Whether bytes lie in a file's data; see :func:`.opened.lies_inside`."""
    is_possible = (starts >= len(MAGIC)) & (lengths >= 0) & (starts <= end) & (lengths <= end)
    lies: Flags = is_possible & (starts + lengths <= end)
    return lies


def _table_bytes(table: ChunkTable) -> list[_GroupBytes]:
    """Return the bytes of row groups without Bloom filters."""
    offsets, num_bytes = table.dictionary_offsets, table.compressed_bytes
    dictionaries = np.where(offsets != 0, table.data_page_offsets - offsets, 0)
    dictionaries[(dictionaries < 0) | (dictionaries >= num_bytes)] = 0
    indexes = (table.offset_index_bytes, table.column_index_bytes)
    columns = (
        num_bytes.sum(axis=1),
        dictionaries.sum(axis=1),
        (indexes[0] + indexes[1]).sum(axis=1),
        np.maximum(*indexes).max(axis=1, initial=0),
        np.zeros_like(table.num_rows),
    )
    return [_GroupBytes(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]


def _looked_at(group: OpenRowGroup) -> _GroupBytes:
    """Check a row group by all that the footer says of it, and return its bytes."""
    entry = group.entry
    if entry.num_rows < 0:
        raise BadStructure(f"row group {group.number} claims {counted(entry.num_rows, 'row')}")
    filter_bytes = _check_chunks(group)
    dictionaries = sum(map(dictionary_bytes, entry.columns))
    return _GroupBytes(entry.compressed_bytes, dictionaries, *group.index_bytes, filter_bytes)


def dictionary_bytes(chunk: ColumnChunk) -> int:
    """Return the bytes of a chunk's dictionary page, as far as the footer tells."""
    offset = chunk.dictionary_page_offset
    length = chunk.data_page_offset - offset if offset is not None else 0
    return length if 0 < length < chunk.compressed_bytes else 0


def _check_chunks(group: OpenRowGroup) -> int:
    """Check every chunk of a row group; return the bytes of Bloom filters."""
    file, index, entry = group.file, group.number, group.entry
    end = file.footer_offset
    filter_bytes = 0
    for leaf, chunk in zip(file.footer.leaves, entry.columns, strict=True):
        where = chunk.range
        if chunk.is_encrypted:
            raise Encrypted(f"column {leaf.name} is encrypted; decrypt the file first")
        if value(chunk.struct, spec.ColumnChunk.FILE_PATH):
            raise Unsupported(f"column {leaf.name} lies in another file")
        if value(chunk.meta, spec.ColumnMetaData.TYPE) != leaf.physical:
            raise BadStructure(
                f"column {leaf.name} of row group {index} has another type than the schema"
            )
        if leaf.max_repetition == 0 and chunk.num_values != entry.num_rows:
            raise BadPage(
                f"column {leaf.name}, row group {index}: {counted(chunk.num_values, 'value')} for "
                f"{counted(entry.num_rows, 'row')}"
            )
        if entry.num_rows and not (where.length and lies_inside(where, end)):
            raise BadStructure(
                f"column {leaf.name} of row group {index} lies at bytes {where.offset} to "
                f"{where.end}, outside the file's data (4 to {end})"
            )
        try:
            place = file.bloom_filter_range(chunk)
        except BadStructure as error:
            raise BadStructure(f"column {leaf.name} of row group {index}: {error}") from error
        filter_bytes += place.length if place else 0
    return filter_bytes


def named(file: OpenFile) -> Named:
    """Return a source as :mod:`.merging` takes it."""
    return Named(redacted(file.file.path), file.footer)
