"""The dictionary of a chunk that is merged, and where the old ones' entries are in it.

Dictionaries of several row groups are merged, without looking at the values of any page; of those
that are trimmed (:mod:`..trimmed` says which), the entries in use. Or all values are gathered,
where a chunk is to get a dictionary that its source may not have had.

Not covered: the pages that use it (:mod:`.writers.build`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import BadPage
from engine.formats.parquet.bytes import statistics as st
from engine.formats.parquet.bytes.footer import Type
from engine.formats.parquet.bytes.one_page import mapped_indices
from engine.formats.parquet.writers.open_piece import OpenPiece
from engine.formats.parquet.writers.source_chunk import OpenPage, SourceChunk, checked, take
from engine.model import Recoding

# As common writers have it: they do not know what comes. Merged dictionaries may be larger, since
# what they save is known from the sources, and plans count on it; readers keep them in memory.
_MAX_DICTIONARY_BYTES = 1 << 20
_MAX_UNITED_BYTES = 16 << 20
_UNITED_AT_ONCE_BYTES = 32 << 20


class NewDictionary:
    """The dictionary of the new chunk.

    Attributes:
        values: an Arrow array; empty if there is to be none.
    """

    def __init__(self, pieces: Sequence[OpenPiece], recoding: Recoding) -> None:
        self._maps: dict[int, Any] = {}  # by piece: old index → new index
        self._used: dict[int, tuple[Any, int]] = {}  # of trimmed pieces: old indices, old entries
        self._last: tuple[int, int] | None = None  # place and page behind which it is given up
        self.values: Any = pa.nulls(0)
        is_boolean = pieces[0].leaf.physical is Type.BOOLEAN
        self._gathers = bool(recoding.dictionary) and not is_boolean
        if recoding.dictionary is not False:
            own = _MAX_DICTIONARY_BYTES if recoding.dictionary else _MAX_UNITED_BYTES
            useful = pieces if self._gathers else _useful(pieces)
            self._limit = max([own, *(_dictionary_bytes(piece.source) for piece in useful)])
            if self._gathers:
                self._gather(pieces)
            else:
                self._unite(useful)
                self._map_trimmed()

    @property
    def bit_width(self) -> int:
        """Bits of an index."""
        return max(1, (len(self.values) - 1).bit_length())

    def indices(self, number: int, pages: Sequence[OpenPage]) -> list[Any | None]:
        """Return the indices in the new dictionary of pages of piece ``number``, one after another.

        None for a page that is not to use it.
        """
        mapping = self._maps.get(number)
        has_map = [mapping is not None and self._maps_page(number, page) for page in pages]
        mapped = iter(_mapped(list(compress(pages, has_map)), mapping))
        if number in self._used:
            mapped = map(self._check_used, compress(pages, has_map), mapped)
        return [
            next(mapped) if is_mapped else self._looked_up(number, page)
            for page, is_mapped in zip(pages, has_map, strict=True)
        ]

    def _check_used(self, page: OpenPage, indices: Any) -> Any:
        """Return mapped indices if the trimmed dictionary has their entries.

        Entries of pages that the footer does not count among those of the dictionary were not seen.
        """
        if len(indices) and int(indices.max()) >= len(self.values):
            with page.source.chunk.at_page(page.number):
                raise BadPage("it uses the dictionary, and more pages do than the footer counts")
        return indices

    def _maps_page(self, number: int, page: OpenPage) -> bool:
        return page.header.is_dictionary_encoded and self._has(number, page)

    def _looked_up(self, number: int, page: OpenPage) -> Any | None:
        """Return the indices of a page by its values."""
        if page.header.is_dictionary_encoded or not self._gathers or not self._has(number, page):
            return None
        return _positions(page.values(), self.values)

    def _has(self, number: int, page: OpenPage) -> bool:
        """Whether the values of a page are all in the dictionary."""
        given_up = self._last is not None and (number, page.number) >= self._last
        return not given_up and len(self.values) > 0

    def distinct(self, indices: Any) -> Any:
        """Return each value at some indices once."""
        is_used = np.zeros(len(self.values), np.bool_)
        is_used[indices] = True
        return take(self.values, np.flatnonzero(is_used))

    def _unite(self, pieces: Sequence[OpenPiece]) -> None:
        """Take in the dictionaries of the sources, in order, up to the limit.

        Several at once, as many as are taken in already, so that each is hashed a few times only.
        """
        batch: list[Any] = []
        first = held_bytes = 0
        for number, piece in enumerate(pieces):
            batch.append(self._entries(number, piece))
            held_bytes += batch[-1].nbytes
            if held_bytes >= max(_UNITED_AT_ONCE_BYTES, self.values.nbytes):
                if not self._take_in(batch, first):
                    return
                batch, first, held_bytes = [], number + 1, 0
        self._take_in(batch, first)

    def _entries(self, number: int, piece: OpenPiece) -> Any:
        """Return the entries of a piece's dictionary that are wanted in the new one."""
        entries = piece.source.dictionary()[1]
        if not piece.is_trimmed:
            return entries
        self._used[number] = used = piece.used_entries(), len(entries)
        return take(entries, used[0])

    def _map_trimmed(self) -> None:
        """Map the old indices of trimmed dictionaries, those that are not used behind the end."""
        for number, (used, num_old) in self._used.items():
            if number in self._maps:
                mapping = np.full(num_old, len(self.values), np.uint32)
                mapping[used] = self._maps[number]
                self._maps[number] = mapping

    def _take_in(self, batch: Sequence[Any], first: int) -> bool:
        """Unite dictionaries of pieces from ``first`` on; say whether all are under the limit."""
        if not batch or (not len(self.values) and self._sort_in(batch, first)):
            return True
        known = [self.values] if len(self.values) else []
        merged = pa.concat_arrays([*known, *batch]).dictionary_encode()  # by first appearance
        positions = st.as_numpy(merged.indices)
        start = num_entries = len(self.values)
        for number, entries in enumerate(batch, first):
            mapping = positions[start : start + len(entries)]
            start += len(entries)
            more = max(num_entries, int(mapping.max(initial=-1)) + 1)
            if merged.dictionary.slice(0, more).nbytes > self._limit:
                self.values = merged.dictionary.slice(0, num_entries)
                return False
            num_entries = more
            self._maps[number] = mapping.astype(np.uint32)
        self.values = merged.dictionary
        return True

    def _sort_in(self, batch: Sequence[Any], first: int) -> bool:
        """Unite dictionaries of numbers; say whether they are such, and all under the limit.

        Hash tables of a million numbers are larger than a processor's caches: to sort them takes
        half the time and memory.
        """
        kind = batch[0].type
        if not pa.types.is_integer(kind) or len(batch) == 1:
            return False
        numbers = np.concatenate([st.as_numpy(entries) for entries in batch])
        order = np.argsort(numbers)
        ordered = numbers[order]
        is_new = np.ones(len(numbers), np.bool_)
        is_new[1:] = ordered[1:] != ordered[:-1]
        distinct = ordered[is_new]
        if distinct.nbytes > self._limit:
            return False
        positions = np.empty(len(numbers), np.uint32)
        positions[order] = np.cumsum(is_new, dtype=np.uint32) - 1
        ends = np.cumsum([len(entries) for entries in batch])
        self._maps.update(enumerate(np.split(positions, ends[:-1]), first))
        self.values = pa.Array.from_buffers(kind, len(distinct), [None, pa.py_buffer(distinct)])
        return True

    def _gather(self, pieces: Sequence[OpenPiece]) -> None:
        """Take in the values of all pages, in order, up to the limit."""
        for number, piece in enumerate(pieces):
            for page in piece.pages():
                distinct = pc.unique(page.values()) if page.kept.num_values else pa.nulls(0)
                if not self._add(distinct):
                    self._last = (number, page.number)
                    self._map_all(pieces[: number + 1])
                    return
        self._map_all(pieces)

    def _map_all(self, pieces: Sequence[OpenPiece]) -> None:
        for number, piece in enumerate(pieces):
            if piece.source.pages.dictionary is not None:
                # Entries that no page kept uses are not in it; nothing asks for them.
                self._maps[number] = _positions(piece.source.dictionary()[1], self.values)

    def _add(self, values: Any) -> bool:
        """Add what is new of some distinct values; say whether it stays under the limit."""
        if not len(values):
            return True
        if len(self.values):
            values = values.filter(pc.invert(pc.is_in(values, value_set=self.values)))
            merged = pa.concat_arrays([self.values, values])
        else:
            merged = values
        if merged.nbytes > self._limit:
            return False
        self.values = merged
        return True


def _useful(pieces: Sequence[OpenPiece]) -> Sequence[OpenPiece]:
    """Return the first pieces, which can use a dictionary: behind a page without, none can."""
    for number, piece in enumerate(pieces):
        num_using, num_pages = piece.dictionary_share()
        if num_using < num_pages:
            return pieces[: number + bool(num_using)]
    return pieces


def _mapped(pages: Sequence[OpenPage], mapping: Any) -> list[Any]:
    """Return what a mapping has at the indices that are kept of pages."""
    sections = [(page.section, page.levels.num_values) for page in pages]
    every = None
    if len(pages) > 1 and 4 * sum(number for _, number in sections) >= len(mapping):
        with suppress(BadPage):  # one by one, the page that is damaged can be told
            every = mapped_indices(mapping, sections)
    found = []
    start = 0
    for page in pages:
        end = start + page.levels.num_values
        if every is None:
            found.append(_mapped_page(page, mapping))
        else:
            found.append(every[start:end][page.kept.first_value : page.kept.last_value])
        start = end
    return found


def _mapped_page(page: OpenPage, mapping: Any) -> Any:
    with page.source.chunk.at_page(page.number):
        return mapping[checked(page.indices(), len(mapping))]


def _positions(values: Any, among: Any) -> Any:
    """Return where values are in a dictionary; 2^32 - 1 for those that are not."""
    if not len(values):
        return np.zeros(0, np.uint32)
    return st.as_numpy(pc.index_in(values, value_set=among).fill_null(-1)).astype(np.uint32)


def _dictionary_bytes(source: SourceChunk) -> int:
    return 0 if source.pages.dictionary is None else int(source.dictionary()[1].nbytes)
