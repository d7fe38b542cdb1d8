"""Which way a chunk is made: by its codec only, by Arrow, by cutting, or building from several."""

from __future__ import annotations

from collections.abc import Sequence

from engine.formats.parquet.writers.build import build_chunk, must_build
from engine.formats.parquet.writers.chunk import ChunkOut, NewChunk, Piece
from engine.formats.parquet.writers.page_cut import cut_by_pages
from engine.formats.parquet.writers.recode import only_recodes, recode_chunk
from engine.formats.parquet.writers.small import small_chunk
from engine.formats.parquet.writers.source_chunk import SourceChunk
from engine.model import Recoding


def make_chunk(
    pieces: Sequence[Piece],
    column: int,
    out: ChunkOut,
    *,
    recoding: Recoding,
    most_decoded_bytes: int = 0,
) -> NewChunk:
    """Make one column's chunk; see :class:`.writers.chunk.ChunkMaker`."""
    made: NewChunk | None
    if only_recodes(pieces, column, recoding):
        made = recode_chunk(pieces[0], column, out, recoding=recoding)
    else:
        made = small_chunk(pieces, column, out, recoding=recoding)
    if made is None and must_build(pieces, column, recoding):
        made = build_chunk(pieces, column, out, recoding=recoding)
    elif made is None:
        made = cut_by_pages(
            pieces[0], column, out, recoding=recoding, most_decoded_bytes=most_decoded_bytes
        )
    for piece in pieces:
        if piece.is_whole:  # of a cut one, another part needs the rest
            piece.group.drop(SourceChunk, column)
    return made
