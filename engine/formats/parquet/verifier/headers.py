"""Check page headers of parts against their chunks, by what readers other than Arrow go by.

Arrow, by which values are compared, passes over some of a header: how levels of version 1 are
coded, nulls and sizes in version 2, entries of a page of lists. Others fail on them, or filter
wrongly. Asked of a chunk is that its pages say together what it says; what a source breaks as well
was copied, and is no difference.

Only of local files: in stores a header is a request.

Source: parquet.thrift (``PageHeader``) of apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from engine.errors import Different
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import ColumnChunk, Encoding, Leaf, value
from engine.formats.parquet.bytes.one_column import read_chunk
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.opened import OpenFile
from engine.formats.parquet.verifier.opened import name_of
from engine.formats.parquet.verifier.structure import SAMPLED_CHUNKS, page_header
from engine.model import SourceFile
from engine.storage import Source

_PAGE = spec.PageHeader
_V1, _V2 = spec.DataPageHeader, spec.DataPageHeaderV2
_LEVELS = frozenset(Encoding)


class _Broken(NamedTuple):
    """A rule that a chunk breaks, and where."""

    rule: str
    row_group: int
    leaf: Leaf


@dataclass
class _Told:
    """What the headers of a chunk come to."""

    num_values: int = 0
    plain_bytes: int = 0
    num_nulls: int = 0
    counts_nulls: bool = True
    level_encodings: set[int] = field(default_factory=set)

    def add(self, header: Struct, header_bytes: int) -> None:
        self.plain_bytes += header_bytes + value(header, _PAGE.UNCOMPRESSED_PAGE_SIZE)
        kind = value(header, _PAGE.TYPE)
        if kind == PageType.DATA:
            data = value(header, _PAGE.DATA_PAGE_HEADER, {})
            levels = (_V1.DEFINITION_LEVEL_ENCODING, _V1.REPETITION_LEVEL_ENCODING)
            self.level_encodings.update(value(data, level, -1) for level in levels)
            self.num_values += value(data, _V1.NUM_VALUES, 0)
            self.counts_nulls = False
        elif kind == PageType.DATA_V2:
            data = value(header, _PAGE.DATA_PAGE_HEADER_V2, {})
            self.num_values += value(data, _V2.NUM_VALUES, 0)
            self.num_nulls += value(data, _V2.NUM_NULLS, 0)

    def broken(self, chunk: ColumnChunk) -> Iterator[str]:
        """Yield the rules that the chunk breaks, in words."""
        if self.num_values != chunk.num_values:
            yield "pages have other entries together than the chunk"
        if self.plain_bytes != chunk.uncompressed_bytes:
            yield "pages have another size before compression together than the chunk"
        nulls = chunk.null_count
        if self.counts_nulls and nulls not in (None, self.num_nulls):
            yield "pages count other nulls together than the chunk"
        if not self.level_encodings <= _LEVELS:
            yield "a page says that its levels have an encoding that there is not"


def check_headers(sources: Sequence[SourceFile], parts: Sequence[SourceFile]) -> None:
    """Check the headers of the parts' pages.

    Raises:
        Different: names the part, the column and what is wrong.
    """
    if any("://" in file.path for file in (*sources, *parts)):
        return

    @cache
    def is_the_sources(rule: str, column: int) -> bool:
        return any(rule == it.rule for file in sources for it in _broken(file, column=column))

    for part in parts:
        for rule, row_group, leaf in _broken(part, most_chunks=SAMPLED_CHUNKS):
            if not is_the_sources(rule, leaf.index):
                raise Different(
                    f"{name_of(part)}: column {leaf.name}, row group {row_group}: {rule}"
                )


def _broken(
    file: SourceFile, *, column: int | None = None, most_chunks: int = 0
) -> Iterator[_Broken]:
    """Yield the rules that chunks of a file break: of one column, or of some chunks if many."""
    opened = OpenFile(file)
    try:
        footer = opened.footer
        num_columns = len(footer.leaves)
        columns = range(num_columns) if column is None else [column]
        step = -(-footer.num_row_groups * num_columns // most_chunks) if most_chunks else 1
        for row_group in range(footer.num_row_groups):
            for at in columns:
                if (row_group * num_columns + at) % max(1, step):
                    continue
                num_rows, chunk = read_chunk(footer, row_group, at)
                if num_rows:
                    told = _told(opened.source, chunk, name_of(file))
                    for rule in told.broken(chunk):
                        yield _Broken(rule, row_group, footer.leaves[at])
    finally:
        opened.close()


def _told(source: Source, chunk: ColumnChunk, where: str) -> _Told:
    found, (start, length) = _Told(), chunk.range
    end = start + length
    while start < end:
        try:
            header, header_bytes = page_header(source, start, end, where)
        except Different:
            break  # behind the last page, else entries are missing
        found.add(header, header_bytes)
        start += header_bytes + value(header, _PAGE.COMPRESSED_PAGE_SIZE)
    return found
