"""Pages of one column, encoded in every way that the format allows; bounds and counts of values.

Levels, indices, plain values and dictionaries are encoded here; DELTA and BYTE_STREAM_SPLIT by
Arrow, in a page of its own.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import Codec, Encoding, Leaf, Type
from engine.formats.parquet.bytes.one_page import encode_values
from engine.formats.parquet.bytes.pages import PageType, signed_crc
from engine.formats.parquet.bytes.spec import (
    DataPageHeader,
    DataPageHeaderV2,
    DictionaryPageHeader,
    PageHeader,
    Statistics,
    struct_of,
)
from engine.formats.parquet.bytes.thrift import BINARY, I64, LIST, STRUCT, Struct
from tests.layouts.schemas import Column, Kind

_FORMS = {Type.INT32: "<i", Type.INT64: "<q", Type.FLOAT: "<f", Type.DOUBLE: "<d"}
_DICTIONARIES = (Encoding.RLE_DICTIONARY, Encoding.PLAIN_DICTIONARY)
_OTHERS: dict[Type, tuple[Encoding, ...]] = {
    Type.BOOLEAN: (Encoding.RLE,),
    Type.INT32: (Encoding.DELTA_BINARY_PACKED, Encoding.BYTE_STREAM_SPLIT),
    Type.INT64: (Encoding.DELTA_BINARY_PACKED, Encoding.BYTE_STREAM_SPLIT),
    Type.FLOAT: (Encoding.BYTE_STREAM_SPLIT,),
    Type.DOUBLE: (Encoding.BYTE_STREAM_SPLIT,),
    Type.BYTE_ARRAY: (Encoding.DELTA_LENGTH_BYTE_ARRAY, Encoding.DELTA_BYTE_ARRAY),
    Type.FIXED_LEN_BYTE_ARRAY: (Encoding.DELTA_BYTE_ARRAY, Encoding.BYTE_STREAM_SPLIT),
}
_NONE = b"\x80\x01\x04\0\0"  # no values, in blocks of 128 and 4 parts
_NO_DELTAS = {
    Encoding.BYTE_STREAM_SPLIT: b"",
    Encoding.DELTA_BINARY_PACKED: _NONE,
    Encoding.DELTA_LENGTH_BYTE_ARRAY: _NONE,
    Encoding.DELTA_BYTE_ARRAY: _NONE + _NONE,
}
_ARROW_TYPES = {
    Type.INT32: pa.int32(),
    Type.INT64: pa.int64(),
    Type.FLOAT: pa.float32(),
    Type.DOUBLE: pa.float64(),
    Type.BYTE_ARRAY: pa.binary(),
}


def with_future(chance: Random, struct: Struct) -> Struct:
    """Sometimes add a field that no specification has yet."""
    if chance.random() < 0.03:
        field = chance.choice((77, 1000))
        struct = struct | {
            field: chance.choice(
                (
                    (I64, 7),
                    (BINARY, b"later"),
                    (STRUCT, {1: (I64, 1)}),
                    (LIST, thrift.Sequence(BINARY, [b"a", b""])),
                )
            )
        }
    return struct


def hybrid(chance: Random, numbers: Sequence[int], width: int, mode: str) -> bytes:
    """Encode by repeated runs only, by packed runs only, or by both in turn, of any length."""
    out = bytearray()
    pos = 0
    while pos < len(numbers):
        packs = mode == "packed" or (mode == "mixed" and chance.random() < 0.5)
        if packs:
            left = len(numbers) - pos
            groups = chance.randint(1, max(1, -(-left // 8)))
            some = [*numbers[pos : pos + 8 * groups]]
            pos += len(some)
            some += [0] * (8 * groups - len(some))
            thrift.put_varint(out, groups << 1 | 1)
            packed = sum(number << (i * width) for i, number in enumerate(some))
            out += packed.to_bytes(groups * width, "little")
        else:
            stop = pos
            while stop < len(numbers) and numbers[stop] == numbers[pos]:
                stop += 1
            if mode == "mixed":
                stop = chance.randint(pos + 1, stop)
            thrift.put_varint(out, (stop - pos) << 1)
            out += numbers[pos].to_bytes((width + 7) // 8, "little")
            pos = stop
    return bytes(out)


def plain(kind: Kind, values: Sequence[Any]) -> bytes:
    if kind.physical == Type.BOOLEAN:
        return np.packbits(np.array(values, bool), bitorder="little").tobytes()
    if kind.physical == Type.BYTE_ARRAY:
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    return b"".join(map(kind_bytes(kind), values))


def kind_bytes(kind: Kind) -> Any:
    """Return what makes bytes of one value, as bounds have them."""
    form = _FORMS.get(kind.physical)
    if form:
        return lambda value: struct.pack(form, value)
    return (lambda value: bytes([value])) if kind.physical == Type.BOOLEAN else bytes


def order_key(kind: Kind, value: Any) -> Any:
    if kind.physical == Type.FIXED_LEN_BYTE_ARRAY and kind.order == "signed":
        return int.from_bytes(value, "big", signed=True)
    return value & 0xFFFFFFFF if kind.name == "u32" else value


def least_and_greatest(kind: Kind, values: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return both, without NaN and with zeros signed as the format asks; None if there are none."""
    if kind.order == "float":
        values = [value for value in values if not math.isnan(value)]
    if not values:
        return None
    least = min(values, key=lambda v: order_key(kind, v))
    most = max(values, key=lambda v: order_key(kind, v))
    if kind.order == "float":
        least, most = (-0.0 if least == 0 else least), (0.0 if most == 0 else most)
    return least, most


def bounds(
    chance: Random, kind: Kind, values: Sequence[Any], shortens: bool
) -> tuple[bytes, bytes, bool, bool] | None:
    """Return bytes of both bounds, and whether each is a value."""
    found = least_and_greatest(kind, values)
    if found is None:
        return None
    low, high = map(kind_bytes(kind), found)
    exact_low = exact_high = True
    if kind.physical == Type.BYTE_ARRAY and shortens:
        size = chance.randint(1, 4)
        if kind.name == "text":
            short_low = low[:size].decode(errors="ignore").encode()
            short_high = _text_above(high, size)
        else:
            short_low, short_high = low[:size], _bytes_above(high[:size])
        if len(low) > size:
            low, exact_low = short_low, False
        if len(high) > size and short_high is not None:
            high, exact_high = short_high, False
    return low, high, exact_low, exact_high


def _bytes_above(data: bytes) -> bytes | None:
    data = data.rstrip(b"\xff")
    return data[:-1] + bytes([data[-1] + 1]) if data else None


def _text_above(data: bytes, size: int) -> bytes | None:
    text = data[:size].decode(errors="ignore")
    while text:
        following = ord(text[-1]) + 1
        if following <= 0x10FFFF and not 0xD800 <= following <= 0xDFFF:
            return (text[:-1] + chr(following)).encode()
        text = text[:-1]
    return None


@dataclass
class Page:
    """A page as it lies, and what indexes say of it."""

    data: bytes
    plain_bytes: int
    entries: list[tuple[int, int, Any]]
    version: int
    encoding: int

    @property
    def values(self) -> list[Any]:
        return [value for _, _, value in self.entries if value is not None]

    @property
    def num_rows(self) -> int:
        return sum(repetition == 0 for repetition, _, _ in self.entries)

    @property
    def num_nulls(self) -> int:
        return sum(value is None for _, _, value in self.entries)


@dataclass
class Style:
    """How the pages of a chunk are made."""

    codec: int
    versions: tuple[int, ...]
    encodings: tuple[int, ...]
    mode: str
    has_crc: float
    has_statistics: float
    dictionary: list[Any] | None
    dictionary_encoding: int


def _bits(highest: int) -> int:
    return highest.bit_length()


def random_style(chance: Random, column: Column, codecs: Sequence[int]) -> Style:
    kind = column.kind
    others = [Encoding.PLAIN, *_OTHERS[kind.physical]]
    has_dictionary = kind.physical != Type.BOOLEAN and chance.random() < 0.5
    encodings: list[int] = chance.sample(others, chance.randint(1, len(others)))
    dictionary_encoding = chance.choice(_DICTIONARIES)
    if has_dictionary:
        encodings = [dictionary_encoding, *encodings]
        if chance.random() < 0.5:
            encodings = [dictionary_encoding]
    return Style(
        chance.choice(codecs),
        chance.choice(((1,), (1,), (2,), (2,), (1, 2))),
        tuple(map(int, encodings)),
        chance.choice(("repeated", "packed", "mixed")),
        chance.choice((0.0, 0.0, 1.0, 0.5)),
        chance.choice((0.0, 0.0, 1.0, 0.5)),
        [] if has_dictionary else None,
        int(dictionary_encoding),
    )


def fill_dictionary(chance: Random, style: Style, values: Sequence[Any], kind: Kind) -> None:
    """Choose entries: all values or some, unused ones, and some twice."""
    assert style.dictionary is not None
    keyed = {kind_bytes(kind)(value): value for value in values}
    entries = list(keyed.values())
    if any(e not in _DICTIONARIES for e in style.encodings) and chance.random() < 0.5:
        entries = entries[: chance.randint(0, len(entries))]
    if chance.random() < 0.3:
        entries += [kind.make(chance, False)[0] for _ in range(chance.choice((1, 3, 40)))]
    if entries and chance.random() < 0.2:
        entries += chance.choices(entries, k=3)
    if chance.random() < 0.5:
        chance.shuffle(entries)
    style.dictionary = entries


def dictionary_page(chance: Random, style: Style, kind: Kind) -> Page:
    assert style.dictionary is not None
    body = plain(kind, style.dictionary)
    plain_coding = style.dictionary_encoding == Encoding.RLE_DICTIONARY or chance.random() < 0.5
    detail = {
        DictionaryPageHeader.NUM_VALUES: len(style.dictionary),
        DictionaryPageHeader.ENCODING: int(
            Encoding.PLAIN if plain_coding else Encoding.PLAIN_DICTIONARY
        ),
    }
    if chance.random() < 0.3:
        detail[DictionaryPageHeader.IS_SORTED] = False
    fields = {PageHeader.DICTIONARY_PAGE_HEADER: with_future(chance, struct_of(detail))}
    packed = compress(style.codec, body)
    return _sealed(chance, style, PageType.DICTIONARY, body, packed, fields, Page(b"", 0, [], 0, 0))


def data_page(chance: Random, style: Style, column: Column, entries: list[Any]) -> Page:
    page = Page(b"", 0, entries, chance.choice(style.versions), 0)
    page.encoding = _an_encoding(chance, style, column.kind, page.values)
    rep, dep = (
        hybrid(chance, [entry[at] for entry in entries], _bits(highest), style.mode)
        if highest
        else b""
        for at, highest in ((0, column.max_repetition), (1, column.max_definition))
    )
    values = _values(chance, style, column.kind, page)
    statistics = _page_statistics(chance, style, column.kind, page)
    if page.version == 1:
        sections = ((column.max_repetition, rep), (column.max_definition, dep))
        levels = b"".join(len(s).to_bytes(4, "little") + s for highest, s in sections if highest)
        body = levels + values
        v1 = DataPageHeader
        detail: dict[Any, Any] = {
            v1.NUM_VALUES: len(entries),
            v1.ENCODING: page.encoding,
            v1.DEFINITION_LEVEL_ENCODING: int(Encoding.RLE),
            v1.REPETITION_LEVEL_ENCODING: int(Encoding.RLE),
        }
        if statistics is not None:
            detail[v1.STATISTICS] = statistics
        fields = {PageHeader.DATA_PAGE_HEADER: with_future(chance, struct_of(detail))}
        packed = compress(style.codec, body)
        return _sealed(chance, style, PageType.DATA, body, packed, fields, page)
    v2 = DataPageHeaderV2
    is_packed = chance.random() < 0.7
    packed = compress(style.codec, values) if is_packed else values
    detail = {
        v2.NUM_VALUES: len(entries),
        v2.NUM_NULLS: page.num_nulls,
        v2.NUM_ROWS: page.num_rows,
        v2.ENCODING: page.encoding,
        v2.DEFINITION_LEVELS_BYTE_LENGTH: len(dep),
        v2.REPETITION_LEVELS_BYTE_LENGTH: len(rep),
    }
    if not is_packed or chance.random() < 0.5:
        detail[v2.IS_COMPRESSED] = is_packed
    if statistics is not None:
        detail[v2.STATISTICS] = statistics
    fields = {PageHeader.DATA_PAGE_HEADER_V2: with_future(chance, struct_of(detail))}
    body = rep + dep + values
    return _sealed(chance, style, PageType.DATA_V2, body, rep + dep + packed, fields, page)


def _sealed(
    chance: Random,
    style: Style,
    kind: PageType,
    body: bytes,
    packed: bytes,
    fields: dict[Any, Any],
    page: Page,
) -> Page:
    head: dict[Any, Any] = {
        PageHeader.TYPE: int(kind),
        PageHeader.UNCOMPRESSED_PAGE_SIZE: len(body),
        PageHeader.COMPRESSED_PAGE_SIZE: len(packed),
    }
    if chance.random() < style.has_crc:
        head[PageHeader.CRC] = signed_crc(zlib.crc32(packed))
    header = thrift.encode(with_future(chance, struct_of(head | fields)))
    page.data = header + packed
    page.plain_bytes = len(header) + len(body)
    return page


def _an_encoding(chance: Random, style: Style, kind: Kind, values: Sequence[Any]) -> int:
    encoding = chance.choice(style.encodings)
    if encoding in _DICTIONARIES:
        assert style.dictionary is not None
        known = set(map(kind_bytes(kind), style.dictionary))
        if not all(kind_bytes(kind)(value) in known for value in values):
            return int(Encoding.PLAIN)
    return encoding


def _values(chance: Random, style: Style, kind: Kind, page: Page) -> bytes:
    values = page.values
    if page.encoding in _DICTIONARIES:
        return _indices(chance, style, kind, values)
    if page.encoding == Encoding.RLE:
        section = hybrid(chance, list(map(int, values)), 1, style.mode)
        return len(section).to_bytes(4, "little") + section
    if page.encoding == Encoding.PLAIN:
        return plain(kind, values)
    if not values:  # Arrow writes no page for none
        return _NO_DELTAS[page.encoding]
    leaf = Leaf(0, ("v",), (), kind.physical, kind.length, 0, 0)
    return encode_values(leaf, page.encoding, arrow_array(kind, values))


def arrow_array(kind: Kind, values: Sequence[Any]) -> pa.Array:
    """Return values of the physical type."""
    fixed = kind.physical == Type.FIXED_LEN_BYTE_ARRAY
    return pa.array(values, pa.binary(kind.length) if fixed else _ARROW_TYPES[kind.physical])


def _indices(chance: Random, style: Style, kind: Kind, values: Sequence[Any]) -> bytes:
    assert style.dictionary is not None
    where: dict[bytes, list[int]] = {}
    for number, value in enumerate(style.dictionary):
        where.setdefault(kind_bytes(kind)(value), []).append(number)
    indices = [chance.choice(where[kind_bytes(kind)(value)]) for value in values]
    width = max(indices, default=0).bit_length()
    if chance.random() < 0.5:
        width = max(width, (len(style.dictionary) - 1).bit_length() if style.dictionary else 0)
    if chance.random() < 0.2:
        width = chance.randint(width, 32)
    return bytes([width]) + hybrid(chance, indices, width, style.mode)


def _page_statistics(chance: Random, style: Style, kind: Kind, page: Page) -> Struct | None:
    if chance.random() >= style.has_statistics:
        return None
    return statistics(chance, kind, page.values, page.num_nulls, shortens=False)


def statistics(
    chance: Random, kind: Kind, values: Sequence[Any], num_nulls: int, *, shortens: bool
) -> Struct:
    """Return true statistics: whole, half, short, deprecated, with and without counts."""
    out: dict[Any, Any] = {}
    found = bounds(chance, kind, values, shortens)
    form = chance.choice(("both", "both", "both", "none", "old", "low", "high", "all"))
    is_old = form in ("old", "all") and kind.order != "unsigned" and kind.name != "dec20"
    if found is not None:
        low, high, exact_low, exact_high = found
        if is_old:
            out |= {Statistics.MAX: high, Statistics.MIN: low}
    if chance.random() < 0.8:
        out[Statistics.NULL_COUNT] = num_nulls
    if chance.random() < 0.1:
        out[Statistics.DISTINCT_COUNT] = len(set(map(kind_bytes(kind), values)))
    if found is not None and form in ("both", "all", "high"):
        out[Statistics.MAX_VALUE] = high
    if found is not None and form in ("both", "all", "low"):
        out[Statistics.MIN_VALUE] = low
    if found is not None and chance.random() < 0.5:
        if Statistics.MAX_VALUE in out:
            out[Statistics.IS_MAX_VALUE_EXACT] = exact_high
        if Statistics.MIN_VALUE in out:
            out[Statistics.IS_MIN_VALUE_EXACT] = exact_low
    if kind.order == "float" and chance.random() < 0.2:
        out[Statistics.NAN_COUNT] = sum(map(math.isnan, values))
    return struct_of(out)


CODECS = tuple(
    int(codec)
    for codec in (
        Codec.UNCOMPRESSED,
        Codec.SNAPPY,
        Codec.GZIP,
        Codec.BROTLI,
        Codec.ZSTD,
        Codec.LZ4_RAW,
    )
)
