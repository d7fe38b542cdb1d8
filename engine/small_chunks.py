"""Which row groups Arrow makes as a whole, because their chunks are many and small. No pyarrow.

How they are made is the business of :mod:`engine.writers.small`.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.format.footer import Codec, ColumnChunk, Encoding, RowGroup
from engine.layout import OpenFile
from engine.model import Recoding
from engine.page_maps import chains_pages

LEAST_CHUNKS = 256  # below, nobody waits for Python
MOST_CHUNK_BYTES = 16 << 10  # on the average: Arrow takes as long for it as Python for a small page
MOST_PLAIN_BYTES = 32 << 20  # of all rows together, which are held decoded
_MOST_SPAN = 2  # times the bytes of the chunks, with all that lies between them

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


def are_small(groups: Sequence[tuple[OpenFile, int]], recoding: Recoding) -> bool:
    """Whether rows of some row groups, which become one, are to be made by Arrow as a whole.

    Args:
        groups: the row groups that the rows are of, in order, each with its file.
        recoding: what is wanted of the pages.
    """
    leaves = groups[0][0].footer.leaves
    if len(leaves) * len(groups) < LEAST_CHUNKS:
        return False
    if any(leaf.max_repetition or len(leaf.path) > 1 for leaf in leaves):
        return False
    if recoding.codec is not None and recoding.codec not in ARROW_CODECS:
        return False
    compressed_bytes = plain_bytes = 0
    for file, row_group in groups:
        chunks = file.row_group(row_group).columns
        compressed_bytes += sum(chunk.compressed_bytes for chunk in chunks)
        plain_bytes += sum(chunk.uncompressed_bytes for chunk in chunks)
        if plain_bytes > MOST_PLAIN_BYTES:
            return False
    if compressed_bytes > MOST_CHUNK_BYTES * len(leaves) * len(groups):
        return False
    models = groups[0][0].row_group(groups[0][1]).columns
    return all(_is_dense(file.row_group(row_group)) for file, row_group in groups) and all(
        chunk.codec == model.codec and _is_known(file.footer.created_by, chunk)
        for file, row_group in groups
        for chunk, model in zip(file.row_group(row_group).columns, models, strict=True)
    )


def _is_known(created_by: str, chunk: ColumnChunk) -> bool:
    """Whether Arrow reads a chunk, and writes such ones."""
    return (
        chunk.codec in ARROW_CODECS
        and _ENCODINGS.issuperset(chunk.encodings)
        and not chains_pages(created_by, chunk)
    )


def _is_dense(group: RowGroup) -> bool:
    """Whether chunks lie side by side, so that one read takes them all."""
    places = [chunk.range for chunk in group.columns]
    span = max(place.end for place in places) - min(place.offset for place in places)
    return span <= _MOST_SPAN * sum(place.length for place in places) + MOST_CHUNK_BYTES
