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

from engine.formats.parquet.bytes.footer import ColumnChunk, Leaf
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import counted_pages
from engine.formats.parquet.opened.file import OpenFile
from engine.formats.parquet.opened.headers import read_header, read_headers
from engine.formats.parquet.opened.positions import page_maps

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


def whole_pages(file: OpenFile, row_group: int, leaf: Leaf, start: int, stop: int) -> WholePages:
    """Return what the headers of data pages ``[start, stop)`` say.

    Raises:
        BadPage: a page is not the data page that it should be.
    """
    pages = page_maps(file, row_group)[leaf.index]
    chunk = file.row_group(row_group).columns[leaf.index]
    counted = counted_pages(chunk)
    is_counted = sum(counted.values()) == pages.num_pages and len(pages.num_values) > 0
    if not file.source.is_remote or pages.headers or not is_counted:
        found = read_headers(file, pages, range(start, stop))
        kinds = Counter(zip(found.page_types, found.encodings, strict=True))
        num_values, num_bytes = sum(found.num_values), sum(found.uncompressed_bytes)
        return WholePages(_in_order(kinds, counted), num_values, num_bytes)
    known: dict[int, _HeadersRead] = file.notes(row_group).setdefault("page headers", {})
    chunk_headers = known.setdefault(leaf.index, _HeadersRead(file, chunk, leaf, pages, counted))
    kinds, num_bytes = chunk_headers.of(start, stop)
    num_values = sum(pages.num_values[start:stop])
    return WholePages(_in_order(kinds, counted), num_values, num_bytes)


def _in_order(
    kinds: Counter[tuple[int, int]], model: Counter[tuple[int, int]]
) -> Counter[tuple[int, int]]:
    """Return counts in the footer's order, wherever they come from: same parts, same bytes."""
    return Counter({kind: kinds[kind] for kind in model | kinds if kinds[kind]})


class _Proof:
    """Whether the footer tells the truth of a column's chunks; None until one was looked at."""

    def __init__(self) -> None:
        self.is_given: bool | None = None
        self.looking = threading.Lock()


class _HeadersRead:
    """What has been read of a chunk's headers."""

    def __init__(
        self,
        file: OpenFile,
        chunk: ColumnChunk,
        leaf: Leaf,
        pages: PageMap,
        counted: Counter[tuple[int, int]],
    ) -> None:
        self.file = file
        self.chunk = chunk
        self.pages = pages
        self.counted = counted
        self.sizes = array("q", bytes(8 * pages.num_pages))  # 0 for those not read yet
        self.types = array("b", bytes(pages.num_pages))
        self.encodings = array("b", bytes(pages.num_pages))
        self._dictionary_bytes: int | None = 0 if pages.dictionary is None else None
        proofs: dict[int, _Proof] = file.notes(None).setdefault("headers proved", {})
        self.proof = proofs.setdefault(leaf.index, _Proof())

    def of(self, start: int, stop: int) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of pages ``[start, stop)``."""
        num_pages = self.pages.num_pages
        with self.proof.looking:  # parts that come meanwhile need less when it is done
            if self.proof.is_given is None and num_pages <= _MAX_PROVING_PAGES:
                self.proof.is_given = self._read(range(num_pages)) == self._footer()
        outside = [*range(start), *range(stop, num_pages)]
        is_less = self._num_unread(outside) < self._num_unread(range(start, stop))
        if not is_less or not self.proof.is_given:
            return self._read(range(start, stop))
        (kinds, num_bytes), (others, other_bytes) = self._footer(), self._read(outside)
        return kinds - others, num_bytes - other_bytes

    def _num_unread(self, numbers: Sequence[int]) -> int:
        return sum(not self.sizes[number] for number in numbers)

    def _read(self, numbers: Sequence[int]) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of some pages, after reading those that are not known."""
        unread = [number for number in numbers if not self.sizes[number]]
        found = read_headers(self.file, self.pages, unread)
        for at, number in enumerate(unread):
            self.types[number] = found.page_types[at]
            self.encodings[number] = found.encodings[at]
            self.sizes[number] = found.uncompressed_bytes[at]
        kinds = Counter((self.types[number], self.encodings[number]) for number in numbers)
        return kinds, sum(self.sizes[number] for number in numbers)

    def _footer(self) -> tuple[Counter[tuple[int, int]], int]:
        """Return kinds and bytes of all data pages by the footer."""
        if self._dictionary_bytes is None:
            assert self.pages.dictionary is not None
            header = read_header(self.file, self.pages.dictionary)
            self._dictionary_bytes = header.header_bytes + header.uncompressed_bytes
        return self.counted, self.chunk.uncompressed_bytes - self._dictionary_bytes
