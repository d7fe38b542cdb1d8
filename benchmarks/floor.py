"""The least that a change of codec can take: ``python -m benchmarks.floor SOURCE CODEC LEVEL``.

Every page is read, decompressed and compressed again, by two processes. Nothing is planned, checked
or written.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice

from engine.formats.parquet.bytes.codecs import compress, decompress
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import split_page
from engine.formats.parquet.opened import open_file
from engine.model import Range
from engine.settings import CODECS
from engine.sources import find_sources

NUM_PROCESSES = 2


def pages_of(pages: PageMap) -> list[Range]:
    """Return where all pages of a chunk lie, the dictionary's too."""
    dictionary = [] if pages.dictionary is None else [pages.dictionary]
    return [*dictionary, *(pages.page(number) for number in range(pages.num_pages))]


def compress_again(path: str, codec: int, level: int | None, first: int) -> int:
    """Do it to every second row group; return the bytes there would be to write."""
    (source,) = find_sources([path])
    file = open_file(source)
    num_bytes = 0
    for group in islice(file.row_groups(), first, None, NUM_PROCESSES):
        for chunk, pages in zip(group.entry.columns, group.page_maps, strict=True):
            whole = memoryview(file.source.read(*chunk.range))
            for where in pages_of(pages):
                begin = where.offset - chunk.range.offset
                header, body = split_page(whole[begin : begin + where.length])
                plain = decompress(chunk.codec, body, header.uncompressed_bytes)
                num_bytes += len(compress(codec, plain, level))
        group.forget()
    return num_bytes


if __name__ == "__main__":
    path, codec, level = sys.argv[1:]
    again = partial(compress_again, path, CODECS[codec], int(level) if level else None)
    with ProcessPoolExecutor(NUM_PROCESSES) as pool:
        print(sum(pool.map(again, range(NUM_PROCESSES))))
