"""Pieces of source chunks that are merged to one, and their pages, opened a few at a time.

Not covered: what becomes of the pages (:mod:`.writers.build`), and of the dictionaries
(:mod:`.writers.new_dictionary`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.formats.parquet.writers.chunk import Piece
from engine.formats.parquet.writers.source_chunk import (
    OpenPage,
    SourceChunk,
    checked,
    source_chunk,
)

_BYTES_AT_ONCE = 1 << 20
_ENTRIES_AT_ONCE = 200_000


class OpenPiece:
    """A piece of a source chunk."""

    def __init__(self, piece: Piece, column: int) -> None:
        self.piece = piece
        self.is_trimmed = column in piece.trimmed
        chunk = piece.group.chunk(column)
        self.leaf = chunk.leaf
        with chunk.at_page():
            self.source: SourceChunk = source_chunk(chunk)

    def dictionary_share(self) -> tuple[int, int]:
        """Return how many of the pages kept use the dictionary, and how many are kept."""
        pages, piece = self.source.pages, self.piece
        first, last = pages.page_of_row(piece.start_row), pages.page_of_row(piece.stop_row - 1)
        used = self.source.chunk.dictionary_pages
        return max(0, min(used, last + 1) - first), last + 1 - first

    def used_entries(self) -> Any:
        """Return the numbers of the dictionary's entries that the piece uses, ascending.

        Raises:
            BadPage: an index is behind the dictionary's end; the message names the page.
        """
        num_entries = len(self.source.dictionary()[1])
        is_used = np.zeros(num_entries, np.bool_)
        for page in self.pages(before=self.source.chunk.dictionary_pages):
            if page.header.is_dictionary_encoded:
                with self.source.chunk.at_page(page.number):
                    is_used[checked(page.indices(), num_entries)] = True
        return np.flatnonzero(is_used)

    def pages(self, before: int | None = None) -> Iterator[OpenPage]:
        """Yield what the piece has of each page, up to page ``before`` or its end."""
        pages, piece = self.source.pages, self.piece
        end = pages.num_pages if before is None else before
        for number in range(pages.page_of_row(piece.start_row), end):
            first_row = pages.first_rows[number]
            # A page that begins behind the last row may still hold the rest of it.
            if first_row > piece.stop_row or (
                first_row == piece.stop_row and not pages.continues(number)
            ):
                return
            page = self.source.open_page(number, piece.start_row, piece.stop_row)
            if page.kept.num_entries:
                yield page

    def pages_at_once(self) -> Iterator[list[OpenPage]]:
        """Yield :meth:`pages`, a few at once: Arrow takes as long to begin as to decode some."""
        some: list[OpenPage] = []
        num_bytes = num_entries = 0
        for page in self.pages():
            some.append(page)
            num_bytes += len(page.section)
            num_entries += page.levels.num_entries
            if num_bytes >= _BYTES_AT_ONCE or num_entries >= _ENTRIES_AT_ONCE:
                yield some
                some, num_bytes, num_entries = [], 0, 0
        if some:
            yield some
