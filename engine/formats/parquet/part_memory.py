"""How much memory writing a part takes, from its plan and what page headers say.

Not covered: the process itself (:mod:`engine.memory` has all formulas).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from engine import memory
from engine.formats.parquet.bytes.footer import DICTIONARY_ENCODINGS, Type
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import PageHeader
from engine.formats.parquet.opened import (
    OpenChunk,
    OpenFile,
    OpenRowGroup,
    delta_bytes,
    is_array,
    read_each_header,
)
from engine.formats.parquet.small_chunks import are_small, small_runs
from engine.model import PartPlan, Range, Recoding, RowGroupSlice
from engine.storage.base import naming


def part_memory_bytes(part: PartPlan, files: Sequence[OpenFile], recoding: Recoding) -> int:
    """Return the projected peak memory of :func:`write_part`, without the process itself."""
    with naming(*(files[piece.file].file.path for piece in part.slices)):
        return _part_memory_bytes(part, files, recoding)


def _part_memory_bytes(part: PartPlan, files: Sequence[OpenFile], recoding: Recoding) -> int:
    numbers = sorted({piece.file for piece in part.slices})
    indexes = [_opened(files, piece).index_bytes for piece in part.slices]
    row_groups = part.row_groups
    return memory.splice_bytes(
        index_bytes=sum(every for every, _ in indexes),
        largest_index_bytes=max((largest for _, largest in indexes), default=0),
        footer_bytes=sum(files[number].held_bytes for number in numbers),
        num_columns=len(files[0].footer.leaves),
        num_row_groups=len(row_groups),
    ) + _made_bytes(row_groups, files, recoding)


def _opened(files: Sequence[OpenFile], piece: RowGroupSlice) -> OpenRowGroup:
    return files[piece.file].row_group(piece.row_group)


def _made_bytes(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    """Return what making the most demanding row group takes.

    Those of small chunks are made by Arrow, as a whole and one at a time.
    """
    small, others = _told_apart(row_groups, files, recoding)
    small_bytes = max((_small_bytes(files, slices) for slices in small), default=0)
    return max(small_bytes, _opened_bytes(others, files, recoding))


def _told_apart(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> tuple[list[Sequence[RowGroupSlice]], list[Sequence[RowGroupSlice]]]:
    """Return row groups that Arrow makes as a whole, and those whose pages are opened."""
    small: list[Sequence[RowGroupSlice]] = []
    others: list[Sequence[RowGroupSlice]] = []
    for slices in row_groups:
        is_whole = len(slices) == 1 and slices[0].is_whole
        if is_whole and recoding.is_nothing:
            continue
        groups = [_opened(files, piece) for piece in slices]
        (small if are_small(groups, recoding) else others).append(slices)
    return small, others


def _small_bytes(files: Sequence[OpenFile], slices: Sequence[RowGroupSlice]) -> int:
    runs = small_runs([_opened(files, piece) for piece in slices])
    return max(
        memory.small_rows_bytes(
            plain_bytes=run.plain_bytes,
            num_columns=len(run.columns),
            num_row_groups=len(slices),
        )
        for run in runs
    )


def _opened_bytes(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    """Return what making the most demanding row group takes whose pages are opened.

    One is open at a time, so the most demanding stands for all; but what is kept of those that are
    cut stays in memory until the part is done with them.
    """
    made = [
        slices
        for slices in row_groups
        if not recoding.is_nothing or len(slices) > 1  # else it is cut
    ]
    largest = max(
        made, key=lambda slices: sum(_plain_bytes(files, piece) for piece in slices), default=()
    )
    is_built = len(largest) > 1 or recoding.dictionary is not None
    kind: _Kind = "gather" if recoding.dictionary else "build" if is_built else "recode"
    if kind == "recode" and recoding.page_version is not None:
        kind = "rewrite"
    found = [_group_bytes(files, largest, kind)] if largest else []
    stays: dict[tuple[int, int], int] = {}  # pieces of one row group open the same chunks
    for piece in chain.from_iterable(row_groups):
        if not piece.is_whole and piece not in largest:
            found.append(_group_bytes(files, [piece], "cut"))
            group = piece.file, piece.row_group
            stays[group] = max(stays.get(group, 0), found[-1].stays_bytes)
    taken = sorted((each.most_bytes - each.stays_bytes for each in found), reverse=True)
    kept_bytes = 0 if made else sum(map(memory.kept_group_bytes, taken[1:2]))
    return sum(taken[:1]) + kept_bytes + sum(stays.values())


def _plain_bytes(files: Sequence[OpenFile], piece: RowGroupSlice) -> int:
    columns = _opened(files, piece).entry.columns
    share = piece.num_rows / piece.num_rows_in_group
    return round(share * sum(chunk.uncompressed_bytes for chunk in columns))


_Kind = Literal["cut", "trim", "recode", "rewrite", "build", "gather"]
_DECODED: tuple[_Kind, ...] = ("build", "gather")  # elsewhere values of dictionaries stay in them


class _GroupBytes(NamedTuple):
    """What making one row group takes; and what of that stays, for other parts."""

    most_bytes: int
    stays_bytes: int


def _group_bytes(
    files: Sequence[OpenFile], slices: Sequence[RowGroupSlice], kind: _Kind
) -> _GroupBytes:
    """Return what making one row group takes, column after column.

    What is kept of a chunk is dropped with its column, but for cut pieces: the next part has a use
    for them.
    """
    num_columns = len(files[0].footer.leaves)
    most, kept = [0] * num_columns, [0] * num_columns
    stays = 0
    for piece in slices:
        kinds = [kind] * num_columns
        for column in piece.trimmed if kind not in _DECODED else ():
            kinds[column] = "trim"
        for column, found in enumerate(
            _column_bytes(_opened(files, piece), piece, kinds, is_alone=len(slices) == 1)
        ):
            most[column] = max(most[column], found.most_bytes)
            kept[column] += found.merged_bytes
            if piece.is_whole:
                kept[column] += found.kept_bytes
            else:
                stays += found.kept_bytes
    return _GroupBytes(stays + max(map(sum, zip(most, kept, strict=True))), stays)


class _ColumnBytes(NamedTuple):
    """What opening pages of a column takes at once, what stays of it, what uniting it takes."""

    most_bytes: int
    kept_bytes: int
    merged_bytes: int


def _column_bytes(
    group: OpenRowGroup, piece: RowGroupSlice, kinds: Sequence[_Kind], *, is_alone: bool
) -> Iterator[_ColumnBytes]:
    """Yield, for each column, what opening its pages takes at once, and what stays of it."""
    file, maps = group.file, group.page_maps
    opened = [_opened_pages(pages, piece, kind) for pages, kind in zip(maps, kinds, strict=True)]
    places = chain.from_iterable(pages.values() for pages in opened)
    headers = iter(read_each_header(file.source, list(places)))
    for chunk, pages, numbers, kind in zip(group.chunks(), maps, opened, kinds, strict=True):
        making = _Making(chunk, kind, _cut_pages(pages, piece), is_alone=is_alone)
        page_bytes = {number: making.page_bytes(number, next(headers)) for number in numbers}
        copied = page_bytes.pop(None, 0)  # before any other page is read
        dictionary_bytes = 0 if kind == "recode" and piece.is_whole else making.dictionary_bytes
        opened_bytes = max(page_bytes.values(), default=0)
        most = max(copied, opened_bytes + memory.dictionary_bytes(dictionary_bytes))
        kept = memory.kept_chunk_bytes(
            dictionary_bytes=dictionary_bytes, num_pages=pages.num_pages, is_trimmed=kind == "trim"
        )
        if not piece.is_whole:
            sizes = [pages.sizes[number] for number in making.cut]
            kept += sum(size for size in sizes if file.keeps_cut_page(size))
        wanted = _wanted_share(piece, kind, chunk.entry.num_values, making.num_entries)
        merged = memory.merged_bytes(
            dictionary_bytes=round(wanted * making.dictionary_bytes),
            num_entries=round(wanted * making.num_entries),
        )
        yield _ColumnBytes(most, kept, merged)


class _Making:
    """What pages of a column take while a chunk is made; its dictionary is to be told first.

    Attributes:
        cut: numbers of the pages that a cut passes through.
    """

    def __init__(self, chunk: OpenChunk, kind: _Kind, cut: set[int], *, is_alone: bool) -> None:
        self._chunk = chunk
        self._kind = kind
        self._is_alone = is_alone
        self.cut = cut
        self.dictionary_bytes = self.num_entries = 0

    def page_bytes(self, number: int | None, header: PageHeader) -> int:
        """Return what a page takes at once, None for the dictionary."""
        size = header.uncompressed_bytes + header.header_bytes
        if number is None:
            self.dictionary_bytes, self.num_entries = size, header.num_values
        if self._kind == "recode" and number not in self.cut:
            return memory.recompressed_bytes(page_bytes=size, stored_bytes=header.compressed_bytes)
        if number is None:
            return 0
        has_indices, value_bytes = header.encoding in DICTIONARY_ENCODINGS, 0.0
        if self._kind in _DECODED:
            value_bytes = self.dictionary_bytes / max(1, self.num_entries)
        # A page of the values themselves stands for pages of indices too: the larger counts.
        plain_bytes = 0 if has_indices else round(value_bytes * header.num_values)
        is_built = self._kind == "gather" or (
            self._kind == "build" and self._chunk.pages.dictionary is not None
        )
        return memory.page_bytes(
            page_bytes=max(size, plain_bytes),
            num_values=header.num_values,
            value_bytes=value_bytes if has_indices else 0.0,
            delta_bytes=delta_bytes(self._chunk, header),
            is_array=is_array(self._chunk.leaf, header) and plain_bytes <= size,
            decoded=self._decoded(),
            gathers=is_built and not (self._is_alone and self._chunk.pages.num_pages == 1),
            hashes=self._kind == "gather",
        )

    def _decoded(self) -> memory.Decoded:
        """Return what values of the dictionary become, where pages are not to hold indices."""
        if self._chunk.leaf.physical is not Type.BYTE_ARRAY:
            return "wide"
        # All of one chunk's values are in its dictionary, which the new one has room for.
        is_coded = self._chunk.dictionary_pages == self._chunk.pages.num_pages
        is_kept = self._kind == "gather" and self._is_alone and is_coded
        return "coded" if is_kept else "texts"


def _wanted_share(piece: RowGroupSlice, kind: _Kind, num_values: int, num_entries: int) -> float:
    """Return the share of a dictionary's entries that go into a new one."""
    if kind in _DECODED:
        return 1.0
    if kind != "trim":
        return 0.0
    piece_values = num_values * piece.num_rows / piece.num_rows_in_group
    return min(1.0, piece_values / max(1, num_entries))


def _opened_pages(pages: PageMap, piece: RowGroupSlice, kind: _Kind) -> dict[int | None, Range]:
    """Return the pages of a chunk that stand for all that are opened, the dictionary first."""
    numbers = _cut_pages(pages, piece)
    if kind != "cut" and pages.num_pages:
        numbers.add(max(range(pages.num_pages), key=lambda page: pages.sizes[page]))
    found: dict[int | None, Range] = {number: pages.page(number) for number in sorted(numbers)}
    return found if pages.dictionary is None else {None: pages.dictionary, **found}


def _cut_pages(pages: PageMap, piece: RowGroupSlice) -> set[int]:
    if piece.is_whole or not pages.num_pages:
        return set()
    return {pages.page_of_row(row) for row in (piece.start_row, piece.stop_row)}
