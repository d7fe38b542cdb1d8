"""Curves of row groups, from the positions of their pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from engine.formats.parquet.opened import OpenChunk, OpenRowGroup
from engine.formats.parquet.sizes import PagesBytes, Sizes, Used
from engine.formats.parquet.small_chunks import Drawn
from engine.planning.curves import Curve, CutColumn, add_densities, summed_up
from engine.planning.entries import Entries
from engine.planning.layout import GroupLayout

_KNOTS = 32  # numbers of rows for which it is told what they take of dictionaries
_POSSIBLE = np.geomspace(1e-4, 1e4, 256)  # values that there might be, for each that there is


def read_curve(
    opened: OpenRowGroup,
    group: GroupLayout,
    sizes: Sizes,
    drawn: Mapping[int, Drawn] = MappingProxyType({}),
    trimmed: Mapping[int, Used] = MappingProxyType({}),
) -> Curve:
    """Read the page positions of a row group and sum up what they will be in the parts.

    Args:
        opened, group: which row group.
        sizes: of pages in the parts.
        drawn: columns whose pieces are made by Arrow, with what is known of their dictionaries.
        trimmed: columns whose pieces get dictionaries of what they use, with that.

    Raises:
        BadPage: a page header is damaged.
    """
    columns = []
    dictionaries: dict[int, int] = {}
    entries: dict[tuple[tuple[float, ...], ...], Entries] = {}  # one where the same was counted
    shared: list[tuple[Drawn, PagesBytes]] = []
    for chunk in opened.chunks():
        name, pages, is_chained = chunk.leaf.name, chunk.pages, chunk.is_chained
        new = sizes.pages(chunk)
        if chunk.column in drawn:
            shared.append((drawn[chunk.column], new))
            columns.append(CutColumn(name, pages, new.data, is_chained))
            continue
        used = trimmed.get(chunk.column)
        trimmed_rows = 0 if used is None else rows_by_dictionary(chunk)
        if used is not None:
            new, found = _trimmed(chunk, new, used)
            key = (tuple(used.rows), tuple(used.lengths), tuple(used.ends))
            entries[key] = entries[key].plus(found) if key in entries else found
        elif pages.dictionary is not None and pages.num_pages:
            row = rows_by_dictionary(chunk)
            dictionaries[row] = dictionaries.get(row, 0) + round(new.dictionary)
        columns.append(CutColumn(name, pages, new.data, is_chained, trimmed_rows=trimmed_rows))
    rows, sums = _summed(columns, group)
    return Curve(
        group.index,
        rows,
        sums,
        group.extra_bytes,
        tuple(dictionaries.items()),
        tuple(columns),
        (*entries.values(), *_drawn(shared, group.num_rows)),
    )


def rows_by_dictionary(chunk: OpenChunk) -> int:
    """Return the rows up to the first page that does not use the dictionary."""
    used = chunk.dictionary_pages
    return chunk.pages.num_rows if used >= chunk.pages.num_pages else chunk.pages.first_rows[used]


def _trimmed(chunk: OpenChunk, new: PagesBytes, used: Used) -> tuple[PagesBytes, Entries]:
    """Return pages with the most bits of an index, and what pieces take of a dictionary.

    The latter less what they save by shorter indices, which are as short in all of their pages.
    """
    number = chunk.dictionary_pages
    widened = used.widened(new.data[:number], chunk.pages.first_rows[:number])
    row_bytes = sum(widened) / used.lengths[-1]
    sizes = [
        entries * new.dictionary - (1 - indices) * length * row_bytes
        for length, entries, indices in zip(used.lengths, *used[3:5], strict=True)
    ]
    sizes[-1] = new.dictionary - (sum(widened) - sum(new.data[:number]))  # the chunk as it is
    firsts = [*chunk.pages.first_rows[:number], used.ends[-1]]
    before = np.interp(used.ends, firsts, np.cumsum([0.0, *widened]))
    table = np.triu(
        used.entry_table * new.dictionary
        - (1 - used.index_table) * (before[np.newaxis, :] - before[:, np.newaxis]),
    )
    table[0, -1] = sizes[-1]
    pages = PagesBytes([*widened, *new.data[number:]], new.dictionary)
    return pages, Entries(used.rows, used.places, used.lengths, sizes, used.ends, table - table.T)


def _drawn(shared: Sequence[tuple[Drawn, PagesBytes]], num_rows: int) -> list[Entries]:
    """Return what pieces take of dictionaries, less what shorter indices save, and of headers.

    Nobody looks into small chunks: their values are taken to lie at random. Then ``n`` of them
    have ``m * (1 - exp(-n / m))`` of ``m`` that there might be.
    """
    if not shared:
        return []
    lengths = np.unique(np.geomspace(1, num_rows, _KNOTS).astype(np.int64))
    rows = lengths / num_rows
    entries = np.array([[each.num_entries] for each, _ in shared])
    found = entries / np.array([[max(each.num_values, each.num_entries)] for each, _ in shared])
    possible = np.interp(found, -_POSSIBLE * np.expm1(-1 / _POSSIBLE), _POSSIBLE)
    shares = np.expm1(-rows / possible) / np.expm1(-1 / possible)
    bits = [np.ceil(np.log2(np.maximum(number, 2))) for number in (shares * entries, entries)]
    saved = (1 - bits[0] / bits[1]) * rows
    dictionaries = np.array([new.dictionary for _, new in shared])
    pages = np.array([sum(new.data) for _, new in shared])
    headers = np.array([each.header_bytes for each, _ in shared])
    sizes = dictionaries @ shares - pages @ saved
    sizes += headers[:, 0] @ (1 - shares) + headers[:, 1].sum() * (1 - rows)
    ends = [0, num_rows]
    return [Entries(ends, ends, [0, *lengths.tolist()], [0.0, *sizes.tolist()])]


def _summed(columns: Sequence[CutColumn], group: GroupLayout) -> tuple[list[int], list[float]]:
    """Return the knots of a curve and the bytes before each, by sweeping over all pages' ends."""
    changes: dict[int, float] = {}  # of the bytes a row has
    add_densities(changes, (0, group.num_rows), (0, group.index_bytes))
    for column in columns:
        for size, (start, stop) in zip(
            column.new_sizes, pairwise([*column.pages.first_rows, group.num_rows]), strict=True
        ):
            if start == stop:  # only the rest of the row before
                start = max(0, start - 1)
                stop = start + 1
            density = size / (stop - start)
            changes[start] = changes.get(start, 0.0) + density
            changes[stop] = changes.get(stop, 0.0) - density
    return summed_up(changes)
