"""How much memory a comparison takes: of each column its largest pages and dictionary, on any side.

Parts may have larger ones than their sources: of row groups that were merged, or values that a
dictionary was given up for. Of each side and column the largest chunk stands for all.
Not covered: the process, and the formulas (:mod:`engine.memory`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from engine import memory
from engine.errors import SourceError
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.opened import Decoding, OpenFile, decoding_of
from engine.formats.parquet.verifier.sizes import Sizes, sizes_of
from engine.model import SourceFile

_SMALL_BYTES = 1 << 20  # a chunk of less is one page at most, and not opened


class Projection(NamedTuple):
    """What a comparison takes; ``columns``: both sides of each, those that take most first."""

    footer_bytes: int
    largest_index_bytes: int
    columns: Sequence[tuple[Decoding, Decoding]]

    def fitted(self, memory_bytes: int, workers: int) -> Fitted:
        """Return as many columns at once as fit, and how much of each is decoded at once."""
        most = max(1, min(workers, len(self.columns)))
        for number in range(most, 0, -1):
            least = self._needed_bytes(number, memory.MIN_BATCH_BYTES)
            if least <= memory_bytes or number == 1:
                batch_bytes = memory.verify_batch_bytes(memory_bytes - least, workers=number)
                return Fitted(number, batch_bytes, self._needed_bytes(number, batch_bytes))
        raise AssertionError("one column always fits or is refused")

    def _needed_bytes(self, number: int, batch_bytes: int) -> int:
        return memory.verify_bytes(
            sides_bytes=[
                side.num_bytes(batch_bytes) for sides in self.columns[:number] for side in sides
            ],
            footer_bytes=self.footer_bytes,
            largest_index_bytes=self.largest_index_bytes,
        )


class Fitted(NamedTuple):
    """How columns are compared: how many at once, in which batches, and what that takes in all."""

    workers: int
    batch_bytes: int
    needed_bytes: int


def projection(
    sources: Sequence[tuple[SourceFile, Footer]], parts: Sequence[tuple[SourceFile, Footer]]
) -> Projection:
    """Return what comparing parts with their sources takes, from footers and page headers."""
    index_bytes = 0
    sides = []
    for files in (sources, parts):
        sizes = [sizes_of(footer) for _, footer in files]
        for (file, _), each in zip(files, sizes, strict=True):
            starts, lengths = each.index_places, each.index_bytes
            is_read = (starts > 0) & (starts <= file.size_bytes - lengths)  # others are not
            index_bytes = max(index_bytes, int(lengths[is_read].max(initial=0)))
        sides.append(_side(files, sizes, len(sources[0][1].leaves)))
    columns = sorted(
        zip(*sides, strict=True), key=lambda pair: -sum(side.num_bytes(0) for side in pair)
    )
    footer_bytes = sum(  # of what is read by another schema, its own footer as well
        footer.size_bytes * (1 + file.is_adapted) for file, footer in (*sources, *parts)
    )
    return Projection(footer_bytes, index_bytes, columns)


def _side(
    files: Sequence[tuple[SourceFile, Footer]], sizes: Sequence[Sizes], num_columns: int
) -> list[Decoding]:
    largest = [(0, 0, 0)] * num_columns  # bytes before compression, file, row group
    for number, each in enumerate(sizes):
        groups, most = each.largest_groups.tolist(), each.largest_bytes.tolist()
        for column, (size, group) in enumerate(zip(most, groups, strict=True)):
            largest[column] = max(largest[column], (size, number, group))
    found = [Decoding(size, size, largest_value_bytes=size) for size, _, _ in largest]
    opened: dict[int, list[int]] = defaultdict(list)
    for column, (size, number, _) in enumerate(largest):
        if size > _SMALL_BYTES:
            opened[number].append(column)
    for number, columns in opened.items():
        file = OpenFile(files[number][0])
        try:
            for column in columns:
                # What is wrong with a page is told when it is decoded, with the side that it is of.
                with suppress(SourceError):
                    found[column] = decoding_of(file.row_group(largest[column][2]).chunk(column))
        finally:
            file.source.close()
    return found
