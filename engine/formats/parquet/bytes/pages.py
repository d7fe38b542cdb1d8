"""Page headers: typed view, checks, and new headers for rewritten pages.

Covers ``PageHeader`` of ``parquet.thrift`` (data pages V1 and V2, dictionary and index pages) and
the page checksum. Not covered: where pages lie (:mod:`.bytes.page_map`), what is inside
their bodies (:mod:`.bytes.levels`, :mod:`.bytes.codecs`). A body here is always the
bytes that follow the header in the file, compressed as they lie there.

Reading a plan needs this module, so it imports neither numpy nor pyarrow.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, reduce
from operator import or_
from typing import Any, NamedTuple

from engine.errors import BadPage, BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Encoding, value, with_fields
from engine.formats.parquet.bytes.thrift import Struct
from engine.model import Buffer

HEADER_BYTES = 96  # most data page headers without statistics are shorter
MAX_ENCODING = 127  # far beyond those that there are
_NUMBER = rb"[\x80-\xff]{0,4}[\x00-\x7f]"  # of 32 bits, as a pattern
_MAX_I32 = (1 << 31) - 1


class PageType(IntEnum):
    """Kinds of pages."""

    DATA = 0
    INDEX = 1
    DICTIONARY = 2
    DATA_V2 = 3


_DETAIL_FIELDS = {
    PageType.DATA: spec.PageHeader.DATA_PAGE_HEADER,
    PageType.INDEX: spec.PageHeader.INDEX_PAGE_HEADER,
    PageType.DICTIONARY: spec.PageHeader.DICTIONARY_PAGE_HEADER,
    PageType.DATA_V2: spec.PageHeader.DATA_PAGE_HEADER_V2,
}

_STATISTICS = {
    PageType.DATA: spec.DataPageHeader.STATISTICS,
    PageType.DATA_V2: spec.DataPageHeaderV2.STATISTICS,
}


@dataclass(frozen=True, slots=True)
class PageHeader:
    """One page header.

    Attributes:
        struct: the header's own fields; page statistics inside are raw bytes.
        header_bytes: bytes of the header in the file.
        type: kind of page.
        uncompressed_bytes, compressed_bytes: size of the body.
        num_values: level entries of a data page (nulls included), entries of a dictionary.
        encoding: encoding of the values.
        def_level_encoding, rep_level_encoding: encodings of the levels; RLE for V2.
        num_rows, num_nulls: known for V2 only.
        def_level_bytes, rep_level_bytes: size of the level sections of V2, else 0.
        is_compressed: whether the values (V2) or the body (others) went through the codec.
        crc: checksum of the body as an unsigned number, where the writer gave one.
    """

    struct: Struct
    header_bytes: int
    type: PageType
    uncompressed_bytes: int
    compressed_bytes: int
    num_values: int
    encoding: int
    def_level_encoding: int
    rep_level_encoding: int
    num_rows: int | None
    num_nulls: int | None
    def_level_bytes: int
    rep_level_bytes: int
    is_compressed: bool
    crc: int | None

    @property
    def total_bytes(self) -> int:
        """Header and body."""
        return self.header_bytes + self.compressed_bytes

    @property
    def is_data(self) -> bool:
        """Whether the page holds values of rows."""
        return self.type is PageType.DATA or self.type is PageType.DATA_V2

    @property
    def level_bytes(self) -> int:
        """Uncompressed level bytes in front of the values of a V2 page, else 0."""
        return self.def_level_bytes + self.rep_level_bytes

    @property
    def is_dictionary_encoded(self) -> bool:
        """Whether the values are indices into the chunk's dictionary."""
        return self.encoding in (Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY)


def read_page_header(data: bytes, pos: int = 0, *, limit_bytes: int | None = None) -> PageHeader:
    """Read and check the page header that begins at ``pos``.

    Args:
        data: bytes that hold the whole header.
        pos: where it begins.
        limit_bytes: bytes of the chunk from ``pos`` on, if known: header and body must fit.

    Raises:
        BadStructure: the bytes end inside the header, or are no thrift structure.
        BadPage: the header is complete and contradicts itself or the chunk.
    """
    struct, end = thrift.decode(data, pos, max_depth=1)
    try:
        header = _header(spec.check(spec.PageHeader, struct), end - pos)
    except BadStructure as error:
        raise BadPage(str(error)) from error
    _check(header, limit_bytes)
    return header


class SkimmedHeader(NamedTuple):
    """What matters most of a page header, named as in :class:`PageHeader`; ``form``: its match."""

    type: PageType
    uncompressed_bytes: int
    compressed_bytes: int
    num_values: int
    encoding: int
    num_rows: int | None
    header_bytes: int
    form: re.Match[bytes]

    @property
    def total_bytes(self) -> int:
        """Header and body."""
        return self.header_bytes + self.compressed_bytes

    @property
    def is_data(self) -> bool:
        """Whether the page holds values of rows."""
        return self.type is not PageType.DICTIONARY

    @property
    def crc(self) -> int | None:
        """Checksum of the body as an unsigned number, where the writer gave one."""
        text = self.form[3]
        return None if text is None else thrift.read_zigzag(text, 0)[0] & 0xFFFFFFFF


# By the byte that tells the type.
_USUAL_TYPES = {bytes([kind << 1]): kind for kind in PageType if kind is not PageType.INDEX}


@cache
def _usual_form(kind: PageType) -> Callable[[bytes, int], re.Match[bytes] | None]:
    """Return what matches a header that has all fields of its type in order and no other.

    It ends where the fields of statistics begin, if there are any. Groups: both sizes, checksum,
    values, encoding; of V2 also nulls and rows, and last the bytes of both levels.
    """
    number = rb"\x15(%b)" % _NUMBER
    coding = rb"[%b]" % re.escape(bytes(range(0, 128, 2)))
    near, far, detail = {  # the head of the detail behind a checksum; without one; and the detail
        PageType.DATA: (0x1C, 0x2C, rb"\x15(%b)(?:\x15%b){2}(?:\x1c|\0\0)" % (coding, coding)),
        PageType.DICTIONARY: (0x3C, 0x4C, rb"\x15(%b)[\x11\x12]?\0\0" % coding),
        PageType.DATA_V2: (
            0x4C,
            0x5C,
            rb"%b\x15(%b)%b(?:[\x11\x12]\x1c|\x2c|[\x11\x12]?\0\0)"
            % (2 * number, coding, 2 * number),
        ),
    }[kind]
    heads = rb"(?:\x15(%b)\x%x|\x%x)" % (_NUMBER, near, far)
    every = rb"\x15%b%b%b%b%b" % (re.escape(bytes([kind << 1])), 2 * number, heads, number, detail)
    return re.compile(every, re.DOTALL).match


def skim_header(data: bytes, pos: int = 0) -> SkimmedHeader | None:
    """Read a header in the form that every writer emits.

    A file may have tens of thousands of pages, and the generic codec takes five times as long. None
    for any other form, for a header that contradicts itself, and for bytes that end early:
    :func:`read_page_header` decides.
    """
    kind = _USUAL_TYPES.get(data[pos + 1 : pos + 2])
    form = None if kind is None else _usual_form(kind)(data, pos)
    if kind is None or form is None:
        return None
    end = form.end()
    if data[end - 1]:  # the head of statistics
        try:
            end = thrift.skip(data, end) + 2
        except BadStructure:
            return None
        if data[end - 2 : end] != b"\0\0":
            return None
    plain, packed, _, count, *others = form.groups()
    numbers = [_unsigned(plain), _unsigned(packed), _unsigned(count)]
    num_rows = None
    if kind is PageType.DATA_V2:
        nulls, rows, *levels = map(_unsigned, (*others[:2], *others[3:]))
        if max(nulls, rows) > numbers[2] or sum(levels) > min(numbers[:2]):
            return None
        numbers += (nulls, rows, *levels)
        num_rows = rows >> 1
    every = reduce(or_, numbers)
    if every & 1 or every >> 32:  # negative, or too large
        return None
    encoding = others[2 * (num_rows is not None)][0] >> 1
    sizes = (numbers[0] >> 1, numbers[1] >> 1, numbers[2] >> 1)
    return SkimmedHeader(kind, *sizes, encoding, num_rows, end - pos, form)


def _unsigned(text: bytes) -> int:
    """Return the number that some bytes are."""
    if len(text) == 3:  # mostly: sizes of pages
        return text[0] & 127 | (text[1] & 127) << 7 | text[2] << 14
    return thrift.read_varint(text, 0)[0]


def _header(struct: Struct, header_bytes: int) -> PageHeader:
    number = struct[spec.PageHeader.TYPE][1]
    try:
        kind = PageType(number)
    except ValueError as error:
        raise BadStructure(f"a page of type {number}") from error
    detail = value(struct, _DETAIL_FIELDS[kind])
    if detail is None and kind is not PageType.INDEX:
        raise BadStructure(f"a page header of type {kind.name} lacks its own part")
    crc = value(struct, spec.PageHeader.CRC)
    return PageHeader(
        struct,
        header_bytes,
        kind,
        struct[spec.PageHeader.UNCOMPRESSED_PAGE_SIZE][1],
        struct[spec.PageHeader.COMPRESSED_PAGE_SIZE][1],
        *_details(kind, detail),
        crc if crc is None else crc & 0xFFFFFFFF,
    )


_Details = tuple[int, int, int, int, int | None, int | None, int, int, bool]
_V1_DETAILS = (
    spec.DataPageHeader.NUM_VALUES,
    spec.DataPageHeader.ENCODING,
    spec.DataPageHeader.DEFINITION_LEVEL_ENCODING,
    spec.DataPageHeader.REPETITION_LEVEL_ENCODING,
)


def _details(kind: PageType, detail: Struct) -> _Details:
    """Return the fields from ``num_values`` to ``is_compressed``, in their order."""
    rle = Encoding.RLE.value
    if kind is PageType.DATA:
        count, encoding, definition, repetition = (detail[field][1] for field in _V1_DETAILS)
        return (count, encoding, definition, repetition, None, None, 0, 0, True)
    if kind is PageType.DATA_V2:
        v2 = spec.DataPageHeaderV2
        return (
            detail[v2.NUM_VALUES][1],
            detail[v2.ENCODING][1],
            rle,
            rle,
            detail[v2.NUM_ROWS][1],
            detail[v2.NUM_NULLS][1],
            detail[v2.DEFINITION_LEVELS_BYTE_LENGTH][1],
            detail[v2.REPETITION_LEVELS_BYTE_LENGTH][1],
            bool(value(detail, v2.IS_COMPRESSED, True)),
        )
    if kind is PageType.DICTIONARY:
        page = spec.DictionaryPageHeader
        counts = detail[page.NUM_VALUES][1], detail[page.ENCODING][1]
        return (*counts, rle, rle, None, None, 0, 0, True)
    return (0, 0, rle, rle, None, None, 0, 0, True)


def _check(header: PageHeader, limit_bytes: int | None) -> None:
    counts = (header.uncompressed_bytes, header.compressed_bytes, header.num_values)
    extra = (header.num_rows or 0, header.num_nulls or 0)
    levels = (header.def_level_bytes, header.rep_level_bytes)
    if min(*counts, *extra, *levels) < 0 or max(*counts, *extra, *levels) > _MAX_I32:
        raise BadPage(f"a page header has an impossible size or count: {counts + extra + levels}")
    for encoding in (header.encoding, header.def_level_encoding, header.rep_level_encoding):
        if not 0 <= encoding <= MAX_ENCODING:
            raise BadPage(f"a page header names an encoding {encoding}, which there cannot be")
    if header.level_bytes > min(header.uncompressed_bytes, header.compressed_bytes):
        raise BadPage(
            f"a page of {header.compressed_bytes} bytes has {header.level_bytes} of levels"
        )
    if max(extra) > header.num_values:
        raise BadPage(f"a page of {header.num_values} entries has {extra} rows and nulls")
    if limit_bytes is not None and header.total_bytes > limit_bytes:
        raise BadPage(f"a page of {header.total_bytes} bytes where {limit_bytes} are left")


def check_crc(header: PageHeader, body: bytes | memoryview) -> None:
    """Compare the body with the header's checksum, if it has one.

    CRC32 as in GZIP, over the body as it lies in the file (``PageHeader.crc`` in parquet.thrift).

    Raises:
        BadPage: the body's length or checksum is another.
    """
    if len(body) != header.compressed_bytes:
        raise BadPage(f"a page body of {len(body)} bytes, not {header.compressed_bytes}")
    if header.crc is not None and zlib.crc32(body) != header.crc:
        raise BadPage(
            f"a page's checksum is {zlib.crc32(body):08x}, its header says {header.crc:08x}"
        )


def is_packed(header: PageHeader, num_bytes: int, codec: int) -> bool:
    """Whether the values of a V2 page, of so many bytes, went through the codec.

    One writer says falsely that they did not (:data:`.bytes.created_by.UNFLAGGED_PAGES`);
    then they have another size than they should have plain.
    """
    plain_bytes = header.uncompressed_bytes - header.level_bytes
    return header.is_compressed or (codec != Codec.UNCOMPRESSED and num_bytes != plain_bytes)


class V2Counts(NamedTuple):
    """What the header of a V2 page says besides.

    Attributes:
        num_rows, num_nulls: of the page.
        rep_level_bytes, def_level_bytes: sizes of its level sections.
        is_compressed: whether its values went through the codec; None for the source's word.
    """

    num_rows: int
    num_nulls: int
    rep_level_bytes: int = 0
    def_level_bytes: int = 0
    is_compressed: bool | None = None


def rewritten_header(
    header: PageHeader,
    body: bytes,
    *,
    uncompressed_bytes: int,
    num_values: int,
    v2: V2Counts | None = None,
    encoding: int | None = None,
    statistics: Struct | None = None,
) -> bytes:
    """Return the header of a page whose rows were cut, in front of its new body.

    Everything not named stays as the source's header has it. Page statistics are left out unless
    new ones are given, since those of the source may be wrong now. V1 levels are always written
    as RLE. The checksum is computed anew where the source's page has one.

    Args:
        header: the source page's header (a data page).
        body: the new body as it will lie in the file.
        uncompressed_bytes: size of the new body before compression.
        num_values: its level entries, nulls included.
        v2: what a V2 page needs.
        encoding: encoding of its values, if another.
        statistics: its ``Statistics``.

    Raises:
        BadPage: the body is over 2 GiB, or ``header`` is not that of a data page.
    """
    if max(len(body), uncompressed_bytes) > _MAX_I32:
        raise BadPage(f"a page of {max(len(body), uncompressed_bytes)} bytes: the limit is 2 GiB")
    if not header.is_data:
        raise BadPage("only data pages can be cut")
    wanted = header.encoding if encoding is None else encoding
    if header.type is PageType.DATA:
        changes = _v1_changes(num_values, wanted)
    else:
        if v2 is None:
            raise BadPage("a V2 page needs its rows and nulls counted")
        changes = _v2_changes(header, num_values, wanted, v2)
    field = _DETAIL_FIELDS[header.type]
    detail = with_fields(header.struct[field][1], spec.struct_of(changes))
    detail = _with_statistics(header, detail, statistics)
    sizes = {spec.PageHeader.UNCOMPRESSED_PAGE_SIZE: uncompressed_bytes, field: detail}
    return thrift.encode(_sealed(header, body, sizes))


def _v2_changes(
    header: PageHeader, num_values: int, encoding: int, counts: V2Counts
) -> dict[spec.Field, Any]:
    v2 = spec.DataPageHeaderV2
    changes: dict[spec.Field, Any] = {
        v2.NUM_VALUES: num_values,
        v2.NUM_NULLS: counts.num_nulls,
        v2.NUM_ROWS: counts.num_rows,
        v2.ENCODING: encoding,
        v2.DEFINITION_LEVELS_BYTE_LENGTH: counts.def_level_bytes,
        v2.REPETITION_LEVELS_BYTE_LENGTH: counts.rep_level_bytes,
    }
    if counts.is_compressed is not None and counts.is_compressed != header.is_compressed:
        changes[v2.IS_COMPRESSED] = counts.is_compressed
    return changes


def _v1_changes(num_values: int, encoding: int) -> dict[spec.Field, Any]:
    v1 = spec.DataPageHeader
    return {
        v1.NUM_VALUES: num_values,
        v1.ENCODING: encoding,
        v1.DEFINITION_LEVEL_ENCODING: Encoding.RLE.value,
        v1.REPETITION_LEVEL_ENCODING: Encoding.RLE.value,
    }


def _sealed(header: PageHeader, body: Buffer, changes: Mapping[spec.Field, Any]) -> Struct:
    """Return a header with changes, the size of its body, and the checksum, if it had one."""
    outer = {**changes, spec.PageHeader.COMPRESSED_PAGE_SIZE: len(body)}
    if header.crc is not None:
        outer[spec.PageHeader.CRC] = signed_crc(zlib.crc32(body))
    return with_fields(header.struct, spec.struct_of(outer))


def resized_header(header: PageHeader, body: Buffer, *, is_compressed: bool = True) -> bytes:
    """Return the header of a page whose body went through another codec, all else the same.

    Args:
        header: the source page's.
        body: the new body as it will lie in the file.
        is_compressed: for V2, whether the values went through the codec.
    """
    changes: dict[spec.Field, Any] = {}
    if header.type is PageType.DATA_V2 and is_compressed != header.is_compressed:
        field = _DETAIL_FIELDS[header.type]
        flag = spec.struct_of({spec.DataPageHeaderV2.IS_COMPRESSED: is_compressed})
        changes[field] = with_fields(header.struct[field][1], flag)
    return thrift.encode(_sealed(header, body, changes))


def resized_skimmed(data: bytes, header: SkimmedHeader, body: Buffer) -> bytes:
    """Return a header as :func:`resized_header` does, for a V1 page; ``data`` is the old one."""
    out = bytearray(data[: header.form.start(2)])
    thrift.put_zigzag(out, len(body))
    rest = header.form.end(2)
    if header.crc is not None:
        out += data[rest : header.form.start(3)]
        thrift.put_zigzag(out, signed_crc(zlib.crc32(body)))
        rest = header.form.end(3)
    out += data[rest:]
    return bytes(out)


def new_dictionary_header(
    body: bytes, *, uncompressed_bytes: int, num_values: int, has_crc: bool
) -> bytes:
    """Return the header of a dictionary page of PLAIN values.

    Args:
        body: as it will lie in the file.
        uncompressed_bytes: of the body before compression.
        num_values: entries.
        has_crc: whether it gets a checksum.
    """
    page = spec.DictionaryPageHeader
    detail = {page.NUM_VALUES: num_values, page.ENCODING: Encoding.PLAIN.value}
    fields: dict[spec.Field, Any] = {
        spec.PageHeader.TYPE: int(PageType.DICTIONARY),
        spec.PageHeader.UNCOMPRESSED_PAGE_SIZE: uncompressed_bytes,
        spec.PageHeader.COMPRESSED_PAGE_SIZE: len(body),
    }
    if has_crc:
        fields[spec.PageHeader.CRC] = signed_crc(zlib.crc32(body))
    fields[spec.PageHeader.DICTIONARY_PAGE_HEADER] = spec.struct_of(detail)
    return thrift.encode(spec.struct_of(fields))


def page_version(header: PageHeader) -> int:
    """Return 1 or 2, the version of a data page."""
    return 2 if header.type is PageType.DATA_V2 else 1


def of_version(header: PageHeader, version: int) -> PageHeader:
    """Return a data page's header as the other version has it: sizes and counts still to be set."""
    kind = PageType.DATA_V2 if version == 2 else PageType.DATA
    rle = Encoding.RLE.value
    if version == 2:
        v2 = spec.DataPageHeaderV2
        detail = dict.fromkeys((v2.NUM_VALUES, v2.NUM_NULLS, v2.NUM_ROWS), 0)
        detail |= {v2.ENCODING: header.encoding}
        detail |= {v2.DEFINITION_LEVELS_BYTE_LENGTH: 0, v2.REPETITION_LEVELS_BYTE_LENGTH: 0}
    else:
        v1 = spec.DataPageHeader
        detail = {v1.NUM_VALUES: 0, v1.ENCODING: header.encoding}
        detail |= {v1.DEFINITION_LEVEL_ENCODING: rle, v1.REPETITION_LEVEL_ENCODING: rle}
    others = _DETAIL_FIELDS.values()
    kept = {field: entry for field, entry in header.struct.items() if field not in others}
    own = {spec.PageHeader.TYPE: int(kind), _DETAIL_FIELDS[kind]: spec.struct_of(detail)}
    return _header(with_fields(kept, spec.struct_of(own)), header.header_bytes)


def _with_statistics(header: PageHeader, detail: Struct, statistics: Struct | None) -> Struct:
    field = _STATISTICS[header.type]
    detail.pop(field, None)
    return with_fields(detail, {field: spec.entry(field, statistics)}) if statistics else detail


def signed_crc(crc: int) -> int:
    """Return a checksum as headers hold it."""
    return crc - (1 << 32) if crc >> 31 else crc


def page_statistics(header: PageHeader) -> Struct | None:
    """Return the ``Statistics`` inside a data page's header, None if there are none.

    Raises:
        BadStructure: they are no thrift structure.
    """
    if not header.is_data:
        return None
    raw = value(header.struct[_DETAIL_FIELDS[header.type]][1], _STATISTICS[header.type])
    return None if raw is None else spec.read(spec.Statistics, raw)


def split_page(data: memoryview) -> tuple[PageHeader, memoryview]:
    """Return header and body of a page as it lies in the file.

    Raises:
        BadStructure: it is no page.
    """
    try:
        header = read_page_header(bytes(data[:HEADER_BYTES]), limit_bytes=len(data))
    except BadPage:
        raise
    except BadStructure:  # a longer header
        header = read_page_header(bytes(data), limit_bytes=len(data))
    return header, data[header.header_bytes : header.total_bytes]


def counted_pages(chunk: ColumnChunk) -> Counter[tuple[int, int]]:
    """Return how many data pages the footer says there are, by type and encoding; empty if none."""
    counted: Counter[tuple[int, int]] = Counter()
    stats = spec.PageEncodingStats
    listed = value(chunk.meta, spec.ColumnMetaData.ENCODING_STATS)
    for item in () if listed is None else listed.items:
        entry = item if isinstance(item, dict) else spec.read(stats, item)
        kind = value(entry, stats.PAGE_TYPE)
        if kind in (PageType.DATA, PageType.DATA_V2):
            counted[kind, value(entry, stats.ENCODING)] += value(entry, stats.COUNT, 0)
    return counted
