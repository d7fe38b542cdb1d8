"""Which row groups Arrow makes as a whole, because their chunks are many and small. No pyarrow.

How they are made is the business of :mod:`.writers.small`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.created_by import chains_pages
from engine.formats.parquet.bytes.footer import (
    Codec,
    ColumnChunk,
    Encoding,
    Leaf,
    RowGroup,
    Type,
    value,
)
from engine.formats.parquet.opened import OpenRowGroup, headers_at
from engine.model import Recoding

MIN_CHUNKS = 256  # below, nobody waits for Python
MAX_CHUNK_BYTES = 16 << 10  # on the average: Arrow takes as long for it as Python for a small page
MAX_PLAIN_BYTES = 32 << 20  # of the columns that are made at once, which are held decoded
_WIDEST_BYTES = 12  # of a number
_USUAL_VALUE_BYTES = 32  # of a text of which nothing is known
_MAX_SPAN = 2  # times the bytes of the chunks, with all that lies between them

# What Arrow writes under the number that a chunk has; LZ4 framed by Hadoop is not among them.
ARROW_CODECS = {
    Codec.UNCOMPRESSED: "none",
    Codec.SNAPPY: "snappy",
    Codec.GZIP: "gzip",
    Codec.BROTLI: "brotli",
    Codec.ZSTD: "zstd",
    Codec.LZ4_RAW: "lz4",
}
_ENCODINGS = set(Encoding) - {Encoding.BIT_PACKED}
_BY_DICTIONARY = {Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY}
_BOUNDS = (
    spec.Statistics.MIN,
    spec.Statistics.MAX,
    spec.Statistics.MIN_VALUE,
    spec.Statistics.MAX_VALUE,
)


def are_small(groups: Sequence[OpenRowGroup], recoding: Recoding) -> bool:
    """Whether rows of some row groups, which become one, are to be made by Arrow as a whole.

    Args:
        groups: the row groups that the rows are of, in order.
        recoding: what is wanted of the pages.
    """
    first = groups[0]
    num_chunks = len(first.file.footer.leaves) * len(groups)
    if num_chunks < MIN_CHUNKS:
        return False
    if len(groups) > 1:
        return _are_small(groups, num_chunks, recoding)
    return first.kept(_Small, lambda: _Small(_are_small(groups, num_chunks, recoding)), recoding).it


class _Small(NamedTuple):
    """Whether a row group of its own is made by Arrow."""

    it: bool


def _are_small(groups: Sequence[OpenRowGroup], num_chunks: int, recoding: Recoding) -> bool:
    leaves = groups[0].file.footer.leaves
    if any(leaf.max_repetition or len(leaf.path) > 1 for leaf in leaves):
        return False
    if recoding.codec is not None and recoding.codec not in ARROW_CODECS:
        return False
    seen = [small_facts(group) for group in groups]
    compressed_bytes = sum(facts.compressed_bytes for facts in seen)
    return (
        compressed_bytes <= MAX_CHUNK_BYTES * num_chunks
        and all(facts.is_known and facts.codecs == seen[0].codecs for facts in seen)
        and all(run.plain_bytes <= MAX_PLAIN_BYTES for run in small_runs(groups))
    )


class SmallRun(NamedTuple):
    """Neighbouring columns that Arrow makes at once, and what they take decoded."""

    columns: range
    plain_bytes: int


def small_runs(groups: Sequence[OpenRowGroup]) -> list[SmallRun]:
    """Divide the columns of row groups that are made together, so that memory is bounded."""
    found: list[SmallRun] = []
    start = held_bytes = 0
    sizes = [sum(each) for each in zip(*(small_facts(g).plain_bytes for g in groups), strict=True)]
    for column, num_bytes in enumerate(sizes):
        if column > start and held_bytes + num_bytes > MAX_PLAIN_BYTES:
            found.append(SmallRun(range(start, column), held_bytes))
            start, held_bytes = column, 0
        held_bytes += num_bytes
    return [*found, SmallRun(range(start, len(sizes)), held_bytes)]


class SmallFacts(NamedTuple):
    """What decides about a row group.

    Attributes:
        plain_bytes: of each column, decoded, as far as the footer tells.
        compressed_bytes: of its chunks.
        codecs: of its chunks; one if all have the same.
        is_known: whether Arrow reads it, and writes such ones.
    """

    plain_bytes: tuple[int, ...]
    compressed_bytes: int
    codecs: tuple[int, ...]
    is_known: bool


def small_facts(group: OpenRowGroup) -> SmallFacts:
    """Return what is to be known of a row group; kept with it."""
    return group.kept(SmallFacts, lambda: _small_facts(group))


def _small_facts(group: OpenRowGroup) -> SmallFacts:
    leaves, created_by = group.file.footer.leaves, group.file.footer.created_by
    entry, columns = group.entry, group.entry.columns
    codecs = tuple(chunk.codec for chunk in columns)
    if len(set(codecs)) == 1:  # as a rule; what is kept is small then
        codecs = codecs[:1]
    return SmallFacts(
        tuple(map(_plain_bytes, leaves, columns)),
        sum(chunk.compressed_bytes for chunk in columns),
        codecs,
        ARROW_CODECS.keys() >= set(codecs)
        and all(_is_known(created_by, chunk) for chunk in columns)
        and _is_dense(entry),
    )


class Drawn(NamedTuple):
    """The dictionary of a chunk of which Arrow writes what rows use.

    Attributes:
        num_entries: values in it.
        num_values: of the chunk, without nulls.
        header_bytes: of its page, and of a page of indices.
    """

    num_entries: int
    num_values: int
    header_bytes: tuple[int, int]


class _Drawn(dict[int, Drawn]):
    """Dictionaries of a row group, by column."""


def drawn_dictionaries(group: OpenRowGroup, recoding: Recoding) -> Mapping[int, Drawn]:
    """Return the dictionaries of a row group of whose entries each piece has those that it uses.

    Only of row groups that Arrow makes: it writes the values in use, where pages that are cut keep
    the whole dictionary.
    """
    if recoding.dictionary is not None:
        return {}
    return group.kept(_Drawn, lambda: _drawn(group, recoding), recoding.codec)


def _drawn(group: OpenRowGroup, recoding: Recoding) -> _Drawn:
    if not are_small([group], recoding):
        return _Drawn()
    import numpy as np

    places = {
        column: (pages.dictionary.offset, pages.page(0).offset)
        for column, pages in enumerate(group.page_maps)
        if pages.dictionary is not None and pages.num_pages
    }
    file, offsets = group.file, np.array([*places.values()], np.int64).reshape(-1, 2)
    headers = headers_at(file.source, file.footer_offset, offsets.ravel())
    entries = headers.num_values[::2].tolist()
    lengths = headers.header_bytes.reshape(-1, 2).tolist()
    columns = group.entry.columns
    return _Drawn(
        {
            column: Drawn(number, _num_values(columns[column]), (one, two))
            for column, number, (one, two) in zip(places, entries, lengths, strict=True)
            if number > 0
        }
    )


def _num_values(chunk: ColumnChunk) -> int:
    """Return the values of a chunk, without nulls as far as statistics tell."""
    told = value(chunk.meta, spec.ColumnMetaData.STATISTICS)
    facts = {} if told is None else spec.read(spec.Statistics, thrift.encode(told))
    num_nulls: int = value(facts, spec.Statistics.NULL_COUNT, 0)
    return chunk.num_values - num_nulls


def has_repeated_texts(leaf: Leaf, chunk: ColumnChunk) -> bool:
    """Whether values of any length stand in a dictionary: decoded they may take any room."""
    return leaf.physical is Type.BYTE_ARRAY and not _BY_DICTIONARY.isdisjoint(chunk.encodings)


def _plain_bytes(leaf: Leaf, chunk: ColumnChunk) -> int:
    """Return what a chunk's values take decoded, as far as the footer tells."""
    if leaf.physical is Type.FIXED_LEN_BYTE_ARRAY:
        return max(chunk.uncompressed_bytes, chunk.num_values * leaf.type_length)
    if not has_repeated_texts(leaf, chunk):
        return max(chunk.uncompressed_bytes, chunk.num_values * _WIDEST_BYTES)
    told = value(chunk.meta, spec.ColumnMetaData.STATISTICS)
    facts = {} if told is None else spec.read(spec.Statistics, thrift.encode(told))
    lengths = [len(value(facts, field)) for field in _BOUNDS if field in facts]
    return max(
        chunk.uncompressed_bytes, chunk.num_values * max(lengths, default=_USUAL_VALUE_BYTES)
    )


def _is_known(created_by: str, chunk: ColumnChunk) -> bool:
    """Whether Arrow knows what a chunk's pages are made of."""
    return _ENCODINGS.issuperset(chunk.encodings) and not chains_pages(created_by, chunk)


def _is_dense(group: RowGroup) -> bool:
    """Whether chunks lie side by side, so that one read takes them all."""
    places = [chunk.range for chunk in group.columns]
    span = max(place.end for place in places) - min(place.offset for place in places)
    return span <= _MAX_SPAN * sum(place.length for place in places) + MAX_CHUNK_BYTES
