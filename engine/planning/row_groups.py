"""Which row groups a part gets, where the source's are not kept. Pure.

Row groups of the source that are too large are cut into equal ones; neighbours that fit into one
are merged. What has the right size already stays whole, and so is copied. With a floor instead of a
size, only small neighbours are merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import ceil

from engine.model import RowGroupSlice
from engine.planning.curves import Curve
from engine.planning.ruler import Ruler
from engine.settings import Settings

_FINER = 16  # by such a share more slices are tried


def slices(ruler: Ruler, settings: Settings, start: int, stop: int) -> list[RowGroupSlice]:
    """Return what the part of rows ``[start, stop)`` is made of, in order."""
    if start == stop:
        return []
    if settings.row_group_rows is not None:
        bounds = [*range(start, stop, settings.row_group_rows), stop]
    elif settings.row_group_bytes is not None:
        bounds = _by_bytes(ruler, settings.row_group_bytes, start, stop)
    elif settings.row_group_floor_bytes is not None:
        bounds = _small_merged(ruler, settings.row_group_floor_bytes, start, stop)
    else:
        return [piece for piece, _ in _pieces(ruler, start, stop)]
    return [
        replace(piece, joins=position > 0)
        for first, last in pairwise(bounds)
        for position, (piece, _) in enumerate(_pieces(ruler, first, last))
    ]


def _pieces(ruler: Ruler, start: int, stop: int) -> Iterator[tuple[RowGroupSlice, int]]:
    """Yield the source's row groups between two rows, each with its position in the layout."""
    position, inside = ruler.locate(start)
    while start < stop:
        group = ruler.layout.groups[position]
        end = min(stop - start + inside, group.num_rows)
        yield RowGroupSlice(group.file, group.index, inside, end, group.num_rows), position
        start += end - inside
        position, inside = position + 1, 0


def _by_bytes(ruler: Ruler, most_bytes: int, start: int, stop: int) -> list[int]:
    """Return the first row of each row group of a part, and behind the last its end."""
    bounds = [start]
    held_bytes = 0
    row = start
    for piece, position in _pieces(ruler, start, stop):
        if not piece.is_whole:
            ruler.read(position)
        num_bytes = ruler.piece_bytes(position, piece.start_row, piece.stop_row)
        if held_bytes and held_bytes + num_bytes > most_bytes:
            bounds.append(row)
            held_bytes = 0
        if num_bytes > most_bytes:
            curve = ruler.read(position)
            rows = _equal(curve, piece.start_row, piece.stop_row, most_bytes)
            bounds += [row + inside - piece.start_row for inside in rows[1:]]
            held_bytes = 0
        else:
            held_bytes += num_bytes
        row += piece.num_rows
    return bounds if bounds[-1] == stop else [*bounds, stop]


def _small_merged(ruler: Ruler, floor_bytes: int, start: int, stop: int) -> list[int]:
    """Return the first row of each row group of a part, and behind the last its end.

    Small neighbours are put together until they reach the floor; what is left of them joins those
    in front. A small one between large ones stays, as a large one would be made anew with it.
    """
    groups: list[tuple[int, int, bool]] = []  # first row, bytes, of small ones
    row = start
    for piece, position in _pieces(ruler, start, stop):
        if not piece.is_whole:
            ruler.read(position)
        num_bytes = ruler.piece_bytes(position, piece.start_row, piece.stop_row)
        is_small = num_bytes < floor_bytes
        if is_small and groups and groups[-1][1] < floor_bytes:
            first, held_bytes, _ = groups.pop()
            groups.append((first, held_bytes + num_bytes, True))
        else:
            groups.append((row, num_bytes, is_small))
        row += piece.num_rows
    behind = [(0, 0, False), *groups]
    bounds = [
        first
        for (_, _, is_merged), (first, num_bytes, _) in zip(behind, groups, strict=False)
        if not is_merged or num_bytes >= floor_bytes
    ]
    return [*bounds, stop]


def _equal(curve: Curve, start: int, stop: int, most_bytes: int) -> list[int]:
    """Return rows that cut a slice into the fewest equal ones of at most ``most_bytes``.

    A row, or the dictionaries that every slice repeats, may be too large for that; then slices get
    half of what they repeat besides.
    """
    summed = curve.for_slices_of(most_bytes)
    low, high = summed.from_start(start), summed.from_start(stop)
    room = max(most_bytes - curve.repeated(start), most_bytes // 2, 1)
    number = min(max(1, ceil((high - low) / room)), stop - start)
    most = min(max(number, ceil((high - low) / max(1, most_bytes // 2))), stop - start)
    while True:
        steps = (low + i * (high - low) / number for i in range(1, number))
        inner = {round(summed.row_from_start(num_bytes)) for num_bytes in steps}
        rows = [start, *sorted(row for row in inner if start < row < stop), stop]
        # What slices keep of dictionaries is seen only now.
        fits = all(curve.num_bytes(a, b) <= most_bytes for a, b in pairwise(rows))
        if fits or not curve.entries or number >= most:
            return rows
        number = min(number + 1 + number // _FINER, most)
