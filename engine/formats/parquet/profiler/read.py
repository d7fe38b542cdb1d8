"""From files to profiles: footers and page indexes read, summed up, and judged in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from engine import memory
from engine.at_once import answers
from engine.errors import NotPlainFolder
from engine.formats.parquet.bytes.chunk_table import ChunkTable, Numbers, read_chunk_table
from engine.formats.parquet.bytes.footer import MAGIC, Codec, Encoding
from engine.formats.parquet.opened import OpenFile
from engine.formats.parquet.profiler.findings import file_findings, folder_findings
from engine.formats.parquet.profiler.model import (
    ColumnProfile,
    FileProfile,
    Profile,
    RowGroupProfile,
)
from engine.formats.parquet.profiler.order import column_order
from engine.formats.parquet.profiler.pages import Pages, page_sizes, read_pages
from engine.formats.parquet.profiler.skew import skew_of
from engine.storage import Storage, expand_all
from engine.storage.base import naming


def profile_files(
    patterns: Sequence[str],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    has_notes: bool = True,
) -> Profile:
    """Profile every file that the patterns stand for, in order; see :func:`expand_all`.

    ``has_notes``: findings say what folders are and what of them is passed over.

    Raises:
        NoSource: a pattern matches nothing.
        NotPlainFolder: nothing of it can be profiled.
        SourceError: a file is no Parquet file, or is damaged or encrypted.
    """
    found = expand_all(patterns, include, exclude)
    if not found.files:
        raise NotPlainFolder(found.problems[0])
    files = tuple(_profiles(found.files))
    skew = skew_of([file.size_bytes for file in files])
    notes = found.notes if has_notes else ()
    return Profile(files, skew, (*folder_findings(files), *notes, *found.problems))


def _profiles(places: Sequence[tuple[Storage, str]]) -> Iterator[FileProfile]:
    is_remote = any("://" in path for _, path in places)
    return answers(lambda place: profile_file(*place), places, is_remote=is_remote)


def profile_file(store: Storage, path: str) -> FileProfile:
    """Profile one file.

    Raises:
        SourceError: it is no Parquet file, or is damaged or encrypted.
    """
    file = store.stat(path)
    opened = OpenFile(file)
    try:
        with naming(file.path):
            return _profile(opened)
    finally:
        opened.source.close()


def _profile(file: OpenFile) -> FileProfile:
    footer = file.footer
    table = read_chunk_table(footer)
    _ask(file, table)
    pages = read_pages(file, table)
    filled = table.num_rows > 0
    has_index = bool(filled.any() and (pages.counts[filled] > 0).all())
    found = FileProfile(
        path=file.file.path,
        size_bytes=file.file.size_bytes,
        num_rows=footer.num_rows,
        num_columns=len(footer.leaves),
        num_row_groups=footer.num_row_groups,
        created_by=footer.created_by,
        footer_bytes=footer.size_bytes,
        has_page_index=has_index,
        sorting_columns=_sorting_columns(file, table),
        num_pages=int(pages.counts.sum()) if has_index else None,
        largest_page_bytes=int(pages.sizes.max(initial=0)) if has_index else None,
        row_group_skew=skew_of(table.compressed_bytes.sum(axis=1)),
        column_skew=skew_of(table.compressed_bytes.sum(axis=0)),
        page_skew=skew_of(pages.sizes),
        row_groups=_row_groups(table, pages),
        columns=_columns(file, table, pages),
        page_sizes=page_sizes(pages.sizes),
        stretches=pages.stretches,
        chunks=replace(table, statistics=()),
    )
    return replace(found, findings=tuple(file_findings(found)))


def _ask(file: OpenFile, table: ChunkTable) -> None:
    """Raise OverBudget before page indexes are read that do not fit.

    Those that lie outside of the file are not read, so how long they claim to be is not counted.
    """
    allowed = memory.kept_to()
    if allowed is None:
        return
    footer, end = file.footer, file.footer_offset
    index_bytes = np.zeros(len(table.num_rows), np.int64)
    for offsets, lengths in (
        (table.offset_index_offsets, table.offset_index_bytes),
        (table.column_index_offsets, table.column_index_bytes),
    ):
        is_read = (offsets >= len(MAGIC)) & (lengths >= 0) & (lengths <= end - offsets)
        index_bytes += np.where(is_read, lengths, 0).sum(axis=1)
    needed_bytes = memory.profile_bytes(
        footer_bytes=footer.size_bytes,
        num_chunks=table.num_values.size,
        num_columns=len(footer.leaves),
        index_bytes=int(index_bytes.max(initial=0)),
    )
    memory.check(needed_bytes, allowed, "a profile")


def _row_groups(table: ChunkTable, pages: Pages) -> tuple[RowGroupProfile, ...]:
    rows = table.num_rows.tolist()
    counts, largest = pages.counts.sum(axis=1), pages.largest_bytes.max(axis=1, initial=0)
    known = np.all(pages.counts > 0, axis=1)
    return tuple(
        RowGroupProfile(
            index,
            rows[index],
            compressed,
            uncompressed,
            compressed / (rows[index] or 1),
            int(counts[index]) if known[index] else None,
            int(largest[index]) if known[index] else None,
        )
        for index, (compressed, uncompressed) in enumerate(
            zip(
                table.compressed_bytes.sum(axis=1).tolist(),
                table.uncompressed_bytes.sum(axis=1).tolist(),
                strict=True,
            )
        )
    )


def _columns(file: OpenFile, table: ChunkTable, pages: Pages) -> tuple[ColumnProfile, ...]:
    all_bytes = int(table.compressed_bytes.sum()) or 1
    num_rows = file.footer.num_rows or 1
    compressed = table.compressed_bytes.sum(axis=0).tolist()
    uncompressed = table.uncompressed_bytes.sum(axis=0).tolist()
    num_values = table.num_values.sum(axis=0).tolist()
    dictionaries = _dictionary_bytes(table, pages).sum(axis=0).tolist()
    counted = table.num_pages.min(axis=0, initial=0) >= 0
    num_data, num_dictionary = table.num_pages.sum(axis=0), table.num_dictionary_pages.sum(axis=0)
    known = np.all(pages.counts > 0, axis=0)
    num_pages, largest = pages.counts.sum(axis=0), pages.largest_bytes.max(axis=0, initial=0)
    found = []
    for leaf in file.footer.leaves:
        at = leaf.index
        codecs = np.unique(table.codecs[:, at]).tolist()
        sets = np.unique(table.encodings[:, at]).tolist()
        encodings = {number for position in sets for number in table.encoding_sets[position]}
        found.append(
            ColumnProfile(
                name=".".join(leaf.path),
                names=leaf.path,
                physical_type=leaf.physical.name,
                codecs=tuple(_name(Codec, code) for code in codecs),
                encodings=tuple(_name(Encoding, number) for number in sorted(encodings)),
                num_values=num_values[at],
                compressed_bytes=compressed[at],
                uncompressed_bytes=uncompressed[at],
                share=compressed[at] / all_bytes,
                bytes_per_row=compressed[at] / num_rows,
                compression_ratio=uncompressed[at] / (compressed[at] or 1),
                dictionary_bytes=dictionaries[at],
                dictionary_page_share=(
                    int(num_dictionary[at]) / int(num_data[at])
                    if counted[at] and num_data[at]
                    else None
                ),
                num_pages=int(num_pages[at]) if known[at] and len(table.num_rows) else None,
                largest_page_bytes=int(largest[at]) if known[at] and len(table.num_rows) else None,
                order=column_order(file, table, leaf),
            )
        )
    return tuple(found)


def _dictionary_bytes(table: ChunkTable, pages: Pages) -> Numbers:
    """Return the size of each chunk's dictionary page: by the offset index, else by the footer."""
    by_footer = table.data_page_offsets - table.dictionary_offsets
    usable = (table.dictionary_offsets > 0) & (by_footer > 0)
    usable &= by_footer < table.compressed_bytes
    return np.where(pages.counts > 0, pages.leading_bytes, np.where(usable, by_footer, 0))


def _sorting_columns(file: OpenFile, table: ChunkTable) -> tuple[str, ...]:
    said = set(table.sorting_columns)
    if len(said) != 1:
        return ()
    leaves = file.footer.leaves
    return tuple(
        leaves[column].name + (" descending" if descending else "")
        for column, descending in said.pop()
        if 0 <= column < len(leaves)
    )


def _name(kind: type[Codec] | type[Encoding], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return f"unknown ({number})"
