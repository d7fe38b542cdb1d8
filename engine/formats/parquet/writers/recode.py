"""Give a whole column chunk another codec: each page decompressed and compressed, nothing else.

What is not about sizes and places is carried over as the source has it: statistics, column index,
values encoded as they are. The chunk is read a few MiB at a time.

Not covered: chunks that are cut, or get pages of another version (:mod:`.writers.page_cut`),
and all that needs values (:mod:`.writers.build`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import ColumnChunk, value
from engine.formats.parquet.bytes.page_index import PageLocation
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.opened import read_pages
from engine.formats.parquet.writers.chunk import ChunkOut, NewChunk, Piece
from engine.formats.parquet.writers.new_page import recompressed_page
from engine.model import Recoding


def only_recodes(pieces: Sequence[Piece], column: int, recoding: Recoding) -> bool:
    """Whether nothing but the codec of a whole chunk is to change."""
    return (
        len(pieces) == 1
        and pieces[0].is_whole
        and recoding.codec is not None
        and recoding.page_version is None
        and recoding.dictionary is None
        and not pieces[0].group.page_maps[column].is_miscounted
    )


def recode_chunk(piece: Piece, column: int, out: ChunkOut, *, recoding: Recoding) -> NewChunk:
    """Make one column's chunk of a whole row group; see :class:`.writers.chunk.ChunkMaker`.

    Raises:
        BadPage: a page is damaged; the message names column, row group and page.
        Unsupported: the pages use a codec that Arrow does not have.
    """
    opened = piece.group.chunk(column)
    chunk, pages = opened.entry, opened.pages
    codec = chunk.codec if recoding.codec is None else recoding.codec
    has_dictionary = pages.dictionary is not None
    places = [pages.page(number) for number in range(pages.num_pages)]
    if pages.dictionary is not None:
        places.insert(0, pages.dictionary)
    used: Counter[tuple[int, int]] = Counter()
    locations: list[PageLocation] = []
    first_data_page = uncompressed_bytes = 0
    every = read_pages(piece.file.source, places)
    for number, data in enumerate(every, -1 if has_dictionary else 0):
        with opened.at_page(number if number >= 0 else None):
            page = recompressed_page(data, chunk.codec, codec, recoding.level)
            if (page.type == PageType.DICTIONARY) != (number < 0):
                raise BadStructure("not the kind of page that it should be")
        if number >= 0:
            first_row = pages.first_rows[number]
            locations.append(PageLocation(out.num_bytes, page.num_bytes, first_row))
        else:
            first_data_page = page.num_bytes
        used[page.type, page.encoding] += 1
        uncompressed_bytes += page.uncompressed_bytes
        out.write(page.head, page.body)
    is_indexed = chunk.offset_index is not None and not pages.begins_inside_row
    index = opened.column_index()
    value_sizes = opened.value_bytes()
    return NewChunk(
        codec=codec,
        num_values=chunk.num_values,
        uncompressed_bytes=uncompressed_bytes,
        first_data_page=first_data_page,
        has_dictionary=has_dictionary,
        encodings=_listed(chunk, used),
        encoding_stats=[(kind, encoding, count) for (kind, encoding), count in used.items()],
        statistics=value(chunk.meta, spec.ColumnMetaData.STATISTICS),
        pages=locations if is_indexed else None,
        column_index=index.encode() if index and is_indexed else None,
        page_value_bytes=None if value_sizes is None else list(value_sizes),
        size_statistics=value(chunk.meta, spec.ColumnMetaData.SIZE_STATISTICS),
    )


def _listed(chunk: ColumnChunk, used: Counter[tuple[int, int]]) -> list[int]:
    """Return the encodings that the source lists, with those of data pages that it left out."""
    data = (encoding for kind, encoding in used if kind != PageType.DICTIONARY)
    return list(dict.fromkeys([*chunk.encodings, *data]))
