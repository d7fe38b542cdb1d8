"""What the headers of pages that are copied say, read from a store as rarely as can be.

A part's footer says how many bytes a chunk has before compression, which only page headers know.
On a disk they are read. In a store each may cost a request, so:

* what is read of a chunk serves all parts of this process;
* of a cut chunk the side with fewer pages is read, and what is true of the other is what is left of
  the chunk's own footer entry. That is done only for columns whose entries have been found to tell
  the truth: of the first chunk of each column that is cut, all headers are read and counted up.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from engine.formats.parquet.bytes.footer import ColumnChunk
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import counted_pages
from engine.formats.parquet.opened.headers import read_header, read_headers
from engine.storage import Source

_MAX_PROVING_PAGES = 512  # of a chunk; those of more are read as they are needed


class WholePages(NamedTuple):
    """What is known of some data pages together.

    Attributes:
        kinds: how many there are of each type and encoding.
        num_values: level entries.
        uncompressed_bytes: headers, and bodies before compression.
    """

    kinds: Counter[tuple[int, int]]
    num_values: int
    uncompressed_bytes: int


class Proof:
    """Whether the footer tells the truth of a column's chunks; None until one was looked at."""

    def __init__(self) -> None:
        self.is_given: bool | None = None
        self.looking = threading.Lock()


class ChunkHeaders:
    """The headers of a chunk's data pages: what has been read of them, where that is dear."""

    def __init__(self, source: Source, chunk: ColumnChunk, pages: PageMap, proof: Proof) -> None:
        self._source = source
        self._chunk = chunk
        self._pages = pages
        self._proof = proof
        self._counted = counted_pages(chunk)
        is_counted = self._counted.total() == pages.num_pages and len(pages.num_values) > 0
        self._is_spared = source.is_remote and not pages.headers and is_counted
        num_kept = pages.num_pages if self._is_spared else 0
        self._sizes = array("q", bytes(8 * num_kept))  # 0 for those not read yet
        self._types = array("b", bytes(num_kept))
        self._encodings = array("b", bytes(num_kept))
        self._dictionary_bytes: int | None = 0 if pages.dictionary is None else None

    def whole_pages(self, start: int, stop: int) -> WholePages:
        """Return what the headers of data pages ``[start, stop)`` say.

        Raises:
            BadPage: a page is not the data page that it should be.
        """
        if self._is_spared:
            kinds, num_bytes = self._worked_out(start, stop)
            num_values = sum(self._pages.num_values[start:stop])
        else:
            found = read_headers(self._source, self._pages, range(start, stop))
            kinds = Counter(zip(found.page_types, found.encodings, strict=True))
            num_values, num_bytes = sum(found.num_values), sum(found.uncompressed_bytes)
        # In the footer's order, wherever they come from: same parts, same bytes.
        kinds = Counter({kind: kinds[kind] for kind in self._counted | kinds if kinds[kind]})
        return WholePages(kinds, num_values, num_bytes)

    def _worked_out(self, start: int, stop: int) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of pages ``[start, stop)``."""
        num_pages, proof = self._pages.num_pages, self._proof
        with proof.looking:  # parts that come meanwhile need less when it is done
            if proof.is_given is None and num_pages <= _MAX_PROVING_PAGES:
                proof.is_given = self._read(range(num_pages)) == self._footer()
        outside = [*range(start), *range(stop, num_pages)]
        is_less = self._num_unread(outside) < self._num_unread(range(start, stop))
        if not is_less or not proof.is_given:
            return self._read(range(start, stop))
        (kinds, num_bytes), (others, other_bytes) = self._footer(), self._read(outside)
        return kinds - others, num_bytes - other_bytes

    def _num_unread(self, numbers: Sequence[int]) -> int:
        return sum(not self._sizes[number] for number in numbers)

    def _read(self, numbers: Sequence[int]) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of some pages, after reading those that are not known."""
        unread = [number for number in numbers if not self._sizes[number]]
        found = read_headers(self._source, self._pages, unread)
        for at, number in enumerate(unread):
            self._types[number] = found.page_types[at]
            self._encodings[number] = found.encodings[at]
            self._sizes[number] = found.uncompressed_bytes[at]
        kinds = Counter((self._types[number], self._encodings[number]) for number in numbers)
        return kinds, sum(self._sizes[number] for number in numbers)

    def _footer(self) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of all data pages by the footer."""
        if self._dictionary_bytes is None:
            assert self._pages.dictionary is not None
            header = read_header(self._source, self._pages.dictionary)
            self._dictionary_bytes = header.header_bytes + header.uncompressed_bytes
        return self._counted, self._chunk.uncompressed_bytes - self._dictionary_bytes
