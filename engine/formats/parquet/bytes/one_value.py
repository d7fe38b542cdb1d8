"""Column chunks in which all rows are alike: null, or one value; a few bytes whatever their rows.

Levels and dictionary indices are one run each. Pages are of V1, and hold so few rows that decoding
one takes no more memory than other pages do. Source: parquet.thrift, Encodings.md (RLE) of
apache/parquet-format.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Encoding
from engine.formats.parquet.bytes.page_index import ASCENDING
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.bytes.thrift import FALSE, LIST, TRUE, Struct

_PAGE_ROWS = 1 << 16
_INDEX_BITS = 1  # of an index into a dictionary of one entry: some readers know no width of 0


class Levels(NamedTuple):
    """The level at which all rows of a column stand, and the highest ones."""

    definition: int
    max_definition: int
    max_repetition: int = 0

    def encoded(self, num_rows: int) -> list[bytes]:
        """Return the sections of repetition and definition levels, without lengths in front."""
        every = ((0, self.max_repetition), (self.definition, self.max_definition))
        return [run(level, most.bit_length(), num_rows) for level, most in every if most]


class Page(NamedTuple):
    """A page as it lies in a file, its bytes before compression, and its rows."""

    data: bytes
    plain_bytes: int
    num_rows: int


class OneValue(NamedTuple):
    """A chunk of one value; ``dictionary``: its page, if the value is not null."""

    dictionary: Page | None
    pages: list[Page]


def run(number: int, width: int, count: int) -> bytes:
    """Return a number that is repeated, as the hybrid of runs and bit-packing has it."""
    out = bytearray()
    thrift.put_varint(out, count << 1)
    return bytes(out) + number.to_bytes((width + 7) // 8, "little")


def one_value(num_rows: int, levels: Levels, codec: int, plain: bytes | None) -> OneValue:
    """Return a chunk.

    Args:
        num_rows: rows; one entry each.
        levels: of all of them.
        codec: of its pages.
        plain: the value, plain-encoded; None for null, also at a level above.
    """
    counts = [_PAGE_ROWS] * (num_rows // _PAGE_ROWS)
    if num_rows % _PAGE_ROWS or not counts:
        counts.append(num_rows % _PAGE_ROWS)
    dictionary = None if plain is None else _dictionary_page(codec, plain)
    pages = [_data_page(count, levels, codec, plain is not None) for count in counts]
    return OneValue(dictionary, pages)


def _dictionary_page(codec: int, plain: bytes) -> Page:
    names = spec.DictionaryPageHeader
    detail = {names.NUM_VALUES: 1, names.ENCODING: int(Encoding.PLAIN)}
    field = spec.PageHeader.DICTIONARY_PAGE_HEADER
    return _page(PageType.DICTIONARY, codec, plain, {field: spec.struct_of(detail)}, 1)


@lru_cache(maxsize=64)
def _data_page(num_rows: int, levels: Levels, codec: int, has_value: bool) -> Page:
    sections = levels.encoded(num_rows)
    body = b"".join(len(section).to_bytes(4, "little") + section for section in sections)
    if has_value:
        body += bytes([_INDEX_BITS]) + run(0, _INDEX_BITS, num_rows)
    names = spec.DataPageHeader
    detail = {
        names.NUM_VALUES: num_rows,
        names.ENCODING: int(Encoding.RLE_DICTIONARY if has_value else Encoding.PLAIN),
        names.DEFINITION_LEVEL_ENCODING: int(Encoding.RLE),
        names.REPETITION_LEVEL_ENCODING: int(Encoding.RLE),
    }
    field = spec.PageHeader.DATA_PAGE_HEADER
    return _page(PageType.DATA, codec, body, {field: spec.struct_of(detail)}, num_rows)


def _page(
    kind: PageType, codec: int, body: bytes, detail: dict[spec.Field, Struct], num_rows: int
) -> Page:
    from engine.formats.parquet.bytes.codecs import compress  # imports Arrow

    packed = bytes(compress(codec, body))
    names = spec.PageHeader
    header = thrift.encode(
        spec.struct_of(
            {
                names.TYPE: int(kind),
                names.UNCOMPRESSED_PAGE_SIZE: len(body),
                names.COMPRESSED_PAGE_SIZE: len(packed),
                **detail,
            }
        )
    )
    return Page(header + packed, len(header) + len(body), num_rows)


def column_index(chunk: OneValue, plain: bytes | None) -> bytes:
    """Return the column index of a chunk; ``plain``: its value as bounds have it, None for null."""
    names = spec.ColumnIndex
    flags = [FALSE if plain is not None else TRUE] * len(chunk.pages)
    bounds = [plain or b""] * len(chunk.pages)
    struct = spec.struct_of(
        {
            names.NULL_PAGES: flags,
            names.MIN_VALUES: bounds,
            names.MAX_VALUES: bounds,
            names.BOUNDARY_ORDER: ASCENDING,
            names.NULL_COUNTS: [0 if plain is not None else page.num_rows for page in chunk.pages],
        }
    )
    struct[names.NULL_PAGES] = (LIST, thrift.Sequence(TRUE, flags))
    return thrift.encode(struct)


def statistics(num_rows: int, plain: bytes | None) -> Struct:
    """Return what a chunk's footer entry says of its values; as :func:`column_index`."""
    names = spec.Statistics
    if plain is None:
        return spec.struct_of({names.NULL_COUNT: num_rows})
    return spec.struct_of({names.NULL_COUNT: 0, names.MAX_VALUE: plain, names.MIN_VALUE: plain})
