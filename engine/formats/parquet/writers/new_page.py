"""Data pages that are made from others: some of their entries, another codec, another version.

Levels and values come apart by :func:`.writers.source_chunk.open_page`; here they are put
together again. Header fields that nobody here knows are carried over. Source: parquet.thrift,
``DataPageHeader`` and ``DataPageHeaderV2``.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from engine.formats.parquet.bytes import levels as lv
from engine.formats.parquet.bytes.codecs import compress, decompress, recompress
from engine.formats.parquet.bytes.footer import Codec, Encoding, Leaf
from engine.formats.parquet.bytes.pages import (
    HEADER_BYTES,
    PageHeader,
    PageType,
    SkimmedHeader,
    V2Counts,
    check_crc,
    is_packed,
    of_version,
    page_statistics,
    page_version,
    resized_header,
    resized_skimmed,
    rewritten_header,
    skim_header,
    split_page,
)
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.writers.source_chunk import open_page
from engine.model import Buffer


class PageForm(NamedTuple):
    """How a new page is written.

    Attributes:
        codec: compresses it.
        level: of the codec; None for its library's.
        version: 1 or 2; None for that of the page that it is made of.
    """

    codec: int
    level: int | None = None
    version: int | None = None


class NewPage(NamedTuple):
    """A page as it will lie in the file, and what its header says."""

    head: bytes
    body: Buffer
    uncompressed_bytes: int
    encoding: int
    type: int

    @property
    def num_bytes(self) -> int:
        """Header and body."""
        return len(self.head) + len(self.body)


def resized_page(
    header: PageHeader, body: Buffer, source_codec: int, codec: int, level: int | None
) -> NewPage:
    """Return a page with another codec, nothing else changed.

    Raises:
        BadPage: the page is damaged.
    """
    if header.type is PageType.DATA_V2:
        levels, values = bytes(body[: header.level_bytes]), body[header.level_bytes :]
        if is_packed(header, len(values), source_codec):
            num_bytes = header.uncompressed_bytes - header.level_bytes
            values = decompress(source_codec, values, num_bytes)
        is_compressed = codec != Codec.UNCOMPRESSED and len(values) > 0
        packed = levels + (compress(codec, values, level) if is_compressed else bytes(values))
    else:
        is_compressed = True
        packed = compress(codec, decompress(source_codec, body, header.uncompressed_bytes), level)
    head = resized_header(header, packed, is_compressed=is_compressed)
    size = len(head) + header.uncompressed_bytes
    return NewPage(head, packed, size, header.encoding, header.type)


def recompressed_page(
    data: memoryview, source_codec: int, codec: int, level: int | None
) -> NewPage:
    """Return a page with another codec, nothing else changed; ``data`` is all of the old one.

    Files have tens of thousands of pages, so headers in the usual form are changed as bytes.

    Raises:
        BadPage: the page is damaged.
        BadStructure: it is no page.
    """
    head = bytes(data[:HEADER_BYTES])
    skimmed = skim_header(head)
    if skimmed is not None and skimmed.type != PageType.DATA_V2:
        new = _recompressed_skimmed(data, head, skimmed, source_codec, codec, level)
        if new is not None:
            return new
    header, body = split_page(data)
    check_crc(header, body)
    return resized_page(header, body, source_codec, codec, level)


def _recompressed_skimmed(
    data: memoryview,
    head: bytes,
    header: SkimmedHeader,
    source_codec: int,
    codec: int,
    level: int | None,
) -> NewPage | None:
    """Return the new page; None where anything is not as it should be."""
    start, plain_bytes = header.header_bytes, header.uncompressed_bytes
    body = data[start : header.total_bytes]
    if len(body) != header.compressed_bytes or header.crc not in (None, zlib.crc32(body)):
        return None
    packed = recompress(source_codec, body, plain_bytes, codec, level)
    new = resized_skimmed(head[:start], header, packed)
    return NewPage(new, packed, len(new) + plain_bytes, header.encoding, header.type)


def recoded_page(
    header: PageHeader,
    body: Buffer,
    *,
    leaf: Leaf,
    source_codec: int,
    form: PageForm,
    num_rows: int | None = None,
) -> NewPage:
    """Return a whole page with another codec or of another version; its values stay encoded.

    Args:
        num_rows: how many begin in it, if that is to be seen where its levels are read.

    Raises:
        BadPage: the page is damaged.
        BadStructure: other rows begin in it.
    """
    if form.version is None or form.version == page_version(header):
        return resized_page(header, body, source_codec, form.codec, form.level)
    levels, values = open_page(header, bytes(body), source_codec, leaf)
    if num_rows is not None:
        levels.check_rows(num_rows)
    return build_page(
        header,
        levels,
        lv.PageSlice(0, levels.num_entries, 0, levels.num_values),
        values,
        leaf=leaf,
        encoding=header.encoding,
        form=form,
        statistics=page_statistics(header),
    )


def build_page(
    header: PageHeader,
    levels: lv.PageLevels,
    piece: lv.PageSlice,
    values: Buffer,
    *,
    leaf: Leaf,
    encoding: int,
    form: PageForm,
    statistics: Struct | None = None,
) -> NewPage:
    """Return a page of some entries of another.

    Args:
        header: of the source page: checksum habit and unknown fields are kept.
        levels: of the source page.
        piece: which entries are kept.
        values: the values section of these, before compression.
        leaf: the column.
        encoding: of the values.
        form: of the new page.
        statistics: of the new page.
    """
    if form.version is not None and form.version != page_version(header):
        header, encoding = of_version(header, form.version), _name_in(form.version, encoding)
    sections = lv.write_levels(
        levels, piece.first_entry, piece.last_entry, max_repetition=leaf.max_repetition
    )
    if header.type is PageType.DATA:
        before = sections.v1()
        plain = before + values if before else values  # which may be large
        body, plain_bytes, v2 = compress(form.codec, plain, form.level), len(plain), None
    else:
        is_compressed = form.codec != Codec.UNCOMPRESSED and len(values) > 0
        packed = compress(form.codec, values, form.level) if is_compressed else values
        body, plain_bytes = sections.v2() + packed, len(sections.v2()) + len(values)
        v2 = V2Counts(
            num_rows=_num_rows(levels, piece),
            num_nulls=piece.num_nulls,
            rep_level_bytes=sections.rep_level_bytes,
            def_level_bytes=sections.def_level_bytes,
            is_compressed=is_compressed,
        )
    head = rewritten_header(
        header,
        body,
        uncompressed_bytes=plain_bytes,
        num_values=piece.num_entries,
        v2=v2,
        encoding=encoding,
        statistics=statistics,
    )
    return NewPage(head, body, len(head) + plain_bytes, encoding, header.type)


def _name_in(version: int, encoding: int) -> int:
    """Return an encoding as pages of a version name it: the older name is not for V2 pages."""
    is_old = version == 2 and encoding == Encoding.PLAIN_DICTIONARY
    return int(Encoding.RLE_DICTIONARY) if is_old else encoding


def _num_rows(levels: lv.PageLevels, piece: lv.PageSlice) -> int:
    """Return the rows that begin in some entries of a page."""
    if levels.repetition is None:
        return piece.num_entries
    kept = levels.repetition[piece.first_entry : piece.last_entry]
    return piece.num_entries - int(np.count_nonzero(kept))
