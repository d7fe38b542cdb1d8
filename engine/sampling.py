"""How large pages will be once they are encoded anew, from a few that are.

A plan must know the sizes of parts before any work. Pages of every column, spread over the sources,
are made as the parts' will be, and their bytes compared. What comes out is an estimate: plans leave
:func:`uncertain_share` for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from engine.format.footer import Range
from engine.layout import OpenFile, Scale, open_file
from engine.model import Recoding, SourceFile
from engine.page_maps import page_maps
from engine.writers.chunk import Piece
from engine.writers.make import make_chunk

_UNCERTAIN_SHARE = 0.05
_UNCERTAIN_VALUES_SHARE = 0.15  # where values, not only pages, are encoded anew
_MOST_ROW_GROUPS = 4
_MOST_RUNS = 3  # of pages, in each chunk
_RUN_PAGES = 2
T = TypeVar("T")


class _Counter:
    """Takes a chunk and keeps nothing but its size."""

    def __init__(self) -> None:
        self.num_bytes = 0

    def write(self, *data: bytes) -> None:
        self.num_bytes += sum(map(len, data))

    def copy(self, file: OpenFile, where: Range) -> None:
        self.num_bytes += where.length


def uncertain_share(recoding: Recoding) -> float:
    """Return the share by which parts may turn out larger than :func:`scales` lets expect."""
    return _UNCERTAIN_SHARE if recoding.dictionary is None else _UNCERTAIN_VALUES_SHARE


def scales(files: Sequence[SourceFile], recoding: Recoding) -> list[Scale]:
    """Return, for every column, the bytes in the parts for one byte in the sources.

    Raises:
        BadPage: a page that was looked at is damaged.
        Unsupported: a codec or encoding of the sources cannot be read.
    """
    groups = [
        (file, index)
        for file in map(open_file, files)
        for index in range(file.footer.num_row_groups)
        if file.row_group(index).num_rows
    ]
    samples = [_Sample() for _ in open_file(files[0]).footer.leaves]
    for file, index in _spread(groups, _MOST_ROW_GROUPS):
        for column, sample in enumerate(samples):
            sample.take(file, index, column, recoding)
        file.forget(index)  # dictionaries of many columns would add up
    return [sample.scale(recoding) for sample in samples]


class _Sample:
    """Bytes of some pages of a column, in the sources and as they will be."""

    def __init__(self) -> None:
        self._old = self._new = self._old_dictionary = self._new_dictionary = 0

    def take(self, file: OpenFile, row_group: int, column: int, recoding: Recoding) -> None:
        """Add some pages of a chunk."""
        pages = page_maps(file, row_group)[column]
        for start in _spread(range(0, pages.num_pages, _RUN_PAGES), _MOST_RUNS):
            stop = min(start + _RUN_PAGES, pages.num_pages)
            last_row = pages.first_rows[stop] if stop < pages.num_pages else pages.num_rows
            piece = Piece(file, row_group, pages.first_rows[start], last_row)
            if piece.num_rows <= 0:
                continue
            counter = _Counter()
            made = make_chunk([piece], column, counter, recoding=recoding)
            self._old += sum(pages.sizes[start:stop])
            self._new += counter.num_bytes - made.first_data_page
            if pages.dictionary is not None and made.has_dictionary:
                self._old_dictionary += pages.dictionary.length
                self._new_dictionary += made.first_data_page

    def scale(self, recoding: Recoding) -> Scale:
        """Return what the sample lets expect."""
        data = self._new / self._old if self._old else 1.0
        if recoding.dictionary:  # a few pages have few repetitions: all may have more
            return Scale(min(data, 1.0), 1.0)
        if recoding.dictionary is False:
            return Scale(data, 0.0)
        old = self._old_dictionary
        return Scale(data, self._new_dictionary / old if old else data)


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Return up to ``most`` items, evenly from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[i * (len(items) - 1) // (most - 1)] for i in range(most)]
