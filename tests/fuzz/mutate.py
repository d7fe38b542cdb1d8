"""One damaged file from good ones, by a random generator alone; tells what was done to it.

Bytes are changed blindly, and structures by their fields: footer, page headers, both page indexes.
Levels and values are changed under their compression; whole pages, chunks and row groups are put in
other places; indexes tell lies; Bloom filters lose bits. Where a structure becomes longer, what
points behind it in the footer moves along, so that damage goes as deep as its field, and is not all
caught by the first offset that is off.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import BadPage, Unsupported
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.codecs import compress, decompress
from engine.formats.parquet.bytes.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    Sequence,
)

_TAIL_BYTES = 8
_NUMBERS = (0, 1, -1, 7, 127, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
_TEXTS = (b"", b"\xff\xfe", b"a\x00b", b"x" * 300)
# What a field becomes that changes its type.
_OTHERS: tuple[tuple[int, Any], ...] = (
    (I32, 7),
    (I64, 2**40),
    (BINARY, b"\xff\xfe"),
    (TRUE, True),
    (BYTE, 3),
    (DOUBLE, bytes(8)),
    (LIST, Sequence(I32, [1, 2])),
    (LIST, Sequence(STRUCT, [{1: (I32, 1)}])),
    (STRUCT, {1: (I32, 1)}),
)
_NUMBER_TYPES = (BYTE, I16, I32, I64)


class Page(NamedTuple):
    """Where a page's header begins, its body, and the next page; the codec of its chunk."""

    header_at: int
    body_at: int
    end: int
    codec: int


@dataclass
class Good:
    """A good file: its bytes, its footer, and where its other structures lie."""

    data: bytes

    def __post_init__(self) -> None:
        size = int.from_bytes(self.data[-8:-4], "little")
        self.footer_at = len(self.data) - _TAIL_BYTES - size
        footer, _ = thrift.decode(self.data, self.footer_at)
        self._footer = pickle.dumps(footer)
        self.chunks: list[list[Page]] = []
        self.indexes, self.blooms = {4: [], 6: []}, []
        for group in footer[4][1].items:
            for chunk in group[1][1].items:
                self._look_into(chunk)
        pages = [page for chunk in self.chunks for page in chunk]
        self.headers = [(page.header_at, page.body_at) for page in pages]
        self.bodies = [(page.body_at, page.end) for page in pages]

    def new_footer(self) -> thrift.Struct:
        """Return a copy of the footer, to be changed."""
        footer: thrift.Struct = pickle.loads(self._footer)
        return footer

    def _look_into(self, chunk: thrift.Struct) -> None:
        meta = chunk[3][1]
        place = min(meta[key][1] for key in (9, 11) if key in meta)
        end, pages = place + meta[7][1], []
        while place < end:
            header, body = thrift.decode(self.data, place)
            pages.append(Page(place, body, body + header[3][1], meta[4][1]))
            place = body + header[3][1]
        self.chunks.append(pages)
        if 14 in meta:
            header, bits = thrift.decode(self.data, meta[14][1])
            self.blooms.append((meta[14][1], bits + header[1][1]))
        for field, places in self.indexes.items():
            if field in chunk:
                places.append((chunk[field][1], chunk[field][1] + chunk[field + 1][1]))


def mutant(goods: list[Good], number: int, chance: random.Random) -> tuple[bytes, str]:
    """Return a damaged copy of the file of a number, and in words what was done."""
    good = goods[number]
    ways = [way for way, _ in _WAYS if not (way is _index_entry and not good.indexes[4])]
    weights = [weight for way, weight in _WAYS if way in ways]
    while True:
        way = chance.choices(ways, weights)[0]
        made = way(good, chance, goods)
        if made is not None and made[0] != good.data:
            return made


Made = tuple[bytes, str] | None


def _flipped(data: bytes, chance: random.Random, low: int, high: int) -> Made:
    changed, told = bytearray(data), []
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(low, high)
        bit = changed[at] ^ 1 << chance.randrange(8)
        changed[at] = chance.choice((0, 255, 0x15, 0x19, 0x80, bit, bit, chance.randrange(256)))
        told.append(f"byte {at} is {changed[at]}")
    return bytes(changed), ", ".join(told)


def _footer_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    return _flipped(good.data, chance, good.footer_at, len(good.data))


def _any_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    return _flipped(good.data, chance, 0, len(good.data))


def _header_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    return _flipped(good.data, chance, *chance.choice(good.headers))


def _body_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    low, high = chance.choice(good.bodies)
    if low == high:
        return None
    return _flipped(good.data, chance, low, chance.choice((high, min(high, low + 6))))


def _index_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    places = [*good.indexes[4], *good.indexes[6]]
    return _flipped(good.data, chance, *chance.choice(places)) if places else None


def _bloom_bytes(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    if not good.blooms:
        return None
    low, high = chance.choice(good.blooms)
    return _flipped(good.data, chance, low, chance.choice((high, min(high, low + 16))))


def _page_inside(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """Levels, values or dictionary of a page, changed and compressed again; the header fits."""
    page = chance.choice(chance.choice(good.chunks))
    header, _ = thrift.decode(good.data, page.header_at)
    v2 = header[8][1] if 8 in header else None
    num_plain = 0 if v2 is None else v2[5][1] + v2[6][1]
    body = good.data[page.body_at : page.end]
    try:
        plain = decompress(page.codec, body[num_plain:], header[2][1] - num_plain)
    except (BadPage, Unsupported):  # V2 pages may say that they are not compressed
        return None
    inside = bytearray(body[:num_plain] + plain)
    if not inside:
        return None
    told = []
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(chance.choice((len(inside), min(len(inside), 8))))
        stop = at + chance.choice((0, 1, 1, 1, 2))
        new = bytes(chance.choice((0, 1, 2, 3, 127, 255, inside[at] ^ 1)) for _ in range(1))
        inside[at:stop] = new if chance.random() < 0.8 else b""
        told.append(f"bytes {at} to {stop} are {new!r}")
    packed = inside[:num_plain] + compress(page.codec, bytes(inside[num_plain:]))
    header[2], header[3] = (I32, len(inside)), (I32, len(packed))
    header.pop(4, None)  # the checksum, so that it does not catch all
    place = (page.header_at, page.end)
    told_all = f"inside of the page at {page.header_at}: {', '.join(told)}"
    return _replaced(good, place, thrift.encode(header) + packed, told_all)


def _whole_pages(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """Pages of a chunk in other places, twice, or gone."""
    pages = chance.choice(good.chunks)
    pieces = [good.data[page.header_at : page.end] for page in pages]
    told = _shuffled(pieces, chance)
    place = (pages[0].header_at, pages[-1].end)
    return _replaced(good, place, b"".join(pieces), f"pages of {place[0]} to {place[1]}: {told}")


def _whole_groups(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """Row groups in other places, twice, or gone; or two chunks, which change their places."""
    footer = good.new_footer()
    groups = footer[4][1].items
    if chance.random() < 0.5:
        told = "row groups: " + _shuffled(groups, chance)
    else:
        lists = [chance.choice(groups)[1][1].items for _ in range(2)]
        at = [chance.randrange(len(chunks)) for chunks in lists]
        lists[0][at[0]], lists[1][at[1]] = lists[1][at[1]], lists[0][at[0]]
        told = f"chunks {at[0]} and {at[1]} are swapped"
    if chance.random() < 0.8:
        footer[3] = (I64, sum(group[3][1] for group in groups))
    return _sealed(good.data[: good.footer_at], footer, told)


def _shuffled(items: list[Any], chance: random.Random) -> str:
    one, other = (chance.randrange(len(items)) for _ in range(2))
    how = chance.choice(("swapped", "twice", "gone"))
    if how == "swapped":
        items[one], items[other] = items[other], items[one]
    elif how == "twice":
        items.insert(other, copy.deepcopy(items[one]))
    else:
        del items[one]
    return f"{one} is {how}, {other}"


def _truncated(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """The end is gone, or a piece in the middle, so that a footer remains."""
    low = chance.randrange(len(good.data))
    high = chance.choice((len(good.data), min(len(good.data), low + chance.randrange(1, 40))))
    return good.data[:low] + good.data[high:], f"bytes {low} to {high} are gone"


def _spliced(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """The beginning of a file and the end of another, or a stretch of another over this one."""
    other = chance.choice(goods).data
    at = chance.randrange(len(good.data))
    if chance.random() < 0.5:
        return good.data[:at] + other[-chance.randrange(1, len(other)) :], f"another file from {at}"
    start = chance.randrange(len(other))
    piece = other[start : start + chance.randrange(1, 64)]
    return good.data[:at] + piece + good.data[
        at + len(piece) :
    ], f"{len(piece)} foreign bytes at {at}"


def _footer_field(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    footer = good.new_footer()
    told = [_change(footer, chance) for _ in range(chance.choice((1, 1, 2)))]
    return _sealed(good.data[: good.footer_at], footer, "footer: " + ", ".join(told))


def _header_field(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    return _structure(good, chance.choice(good.headers), chance, "page header")


def _index_field(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    field = chance.choice((4, 6))
    if not good.indexes[field]:
        return None
    place = chance.choice(good.indexes[field])
    return _structure(good, place, chance, {4: "offset index", 6: "column index"}[field])


def _index_entry(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """An offset index that is well-formed and tells lies."""
    place = chance.choice(good.indexes[4])
    index, _ = thrift.decode(good.data, place[0])
    pages = index[1][1].items
    lie = chance.choice(("shorter", "rows", "sizes", "relative", "swapped", "twice", "moved"))
    number = chance.randrange(len(pages))
    if lie == "shorter":
        del pages[chance.choice((0, len(pages) - 1, number))]
    elif lie == "swapped":
        other = chance.randrange(len(pages))
        pages[number], pages[other] = pages[other], pages[number]
    elif lie == "twice":
        pages.insert(number, dict(pages[number]))
    else:
        field, shift = {"rows": (3, None), "sizes": (2, None)}.get(lie, (1, None))
        shift = -pages[0][1][1] if lie == "relative" else chance.choice((-1, 1, -5, 5, 1000))
        chosen = pages if lie == "relative" or chance.random() < 0.3 else [pages[number]]
        for page in chosen:
            page[field] = (page[field][0], page[field][1] + shift)
    return _replaced(good, place, thrift.encode(index), f"offset index at {place[0]}: {lie}")


def _column_index_entry(good: Good, chance: random.Random, goods: list[Good]) -> Made:
    """A column index that is well-formed and tells lies."""
    if not good.indexes[6]:
        return None
    place = chance.choice(good.indexes[6])
    index, _ = thrift.decode(good.data, place[0])
    per_page = [index[field][1].items for field in (1, 2, 3, 5) if field in index]
    lie = chance.choice(("swapped", "turned", "nulls", "order", "shorter", "same"))
    one, other = (chance.randrange(len(per_page[0])) for _ in range(2))
    if lie == "swapped":
        for entries in per_page:
            entries[one], entries[other] = entries[other], entries[one]
    elif lie == "turned":
        index[2], index[3] = index[3], index[2]
    elif lie == "nulls":
        per_page[0][one] = not per_page[0][one]
    elif lie == "order":
        index[4] = (I32, chance.randrange(4))
    elif lie == "shorter":
        for entries in per_page:
            del entries[one]
    else:
        for entries in per_page[1:3]:
            entries[:] = entries[one : one + 1] * len(entries)
    return _replaced(good, place, thrift.encode(index), f"column index at {place[0]}: {lie}")


def _structure(good: Good, place: tuple[int, int], chance: random.Random, name: str) -> Made:
    struct, _ = thrift.decode(good.data, place[0])
    told = _change(struct, chance)
    try:
        return _replaced(good, place, thrift.encode(struct), f"{name} at {place[0]}: {told}")
    except (TypeError, AttributeError, ValueError):
        return None


def _sealed(body: bytes, footer: thrift.Struct, told: str) -> Made:
    try:
        raw = thrift.encode(footer)
    except (TypeError, AttributeError, ValueError):  # a list of other things than it says
        return None
    return body + raw + len(raw).to_bytes(4, "little") + b"PAR1", told


def _replaced(good: Good, place: tuple[int, int], new: bytes, told: str) -> Made:
    """Put bytes in a place; all that the footer says of what lies behind it moves along."""
    start, stop = place
    more = len(new) - (stop - start)
    data = good.data[:start] + new + good.data[stop : good.footer_at]
    footer = good.new_footer()
    for group in footer[4][1].items:
        for chunk in group[1][1].items:
            _move(chunk, start, stop, more)
    return _sealed(data, footer, told)


def _move(chunk: thrift.Struct, start: int, stop: int, more: int) -> None:
    meta = chunk[3][1]
    first = min(meta[key][1] for key in (9, 11) if key in meta)
    if first <= start < first + meta[7][1]:
        meta[7] = (meta[7][0], meta[7][1] + more)
    for offset, length in ((4, 5), (6, 7)):
        if offset in chunk and chunk[offset][1] == start:
            chunk[length] = (chunk[length][0], chunk[length][1] + more)
    for struct, fields in ((chunk, (2, 4, 6)), (meta, (9, 10, 11, 14))):
        for field in fields:
            if field in struct and struct[field][1] >= stop:
                struct[field] = (struct[field][0], struct[field][1] + more)


def _change(struct: thrift.Struct, chance: random.Random, path: str = "") -> str:
    """Change one field somewhere in a structure; say which, and what it is now."""
    inner = [
        field
        for field, (kind, value) in struct.items()
        if (kind == STRUCT and value)
        or (kind == LIST and value.type == STRUCT and any(value.items))
    ]
    if inner and chance.random() < 0.8:
        field = chance.choice(inner)
        kind, value = struct[field]
        if kind == STRUCT:
            return _change(value, chance, f"{path}.{field}")
        position = chance.choice([i for i, item in enumerate(value.items) if item])
        return _change(value.items[position], chance, f"{path}.{field}[{position}]")
    if not struct:
        return f"{path} is empty"
    field = chance.choice(list(struct))
    if chance.random() < 0.2:
        del struct[field]
        return f"{path}.{field} is gone"
    if chance.random() < 0.2:
        struct[field] = copy.deepcopy(chance.choice(_OTHERS))
    else:
        kind, value = struct[field]
        struct[field] = (kind, _other_value(kind, value, chance))
    return f"{path}.{field} is {struct[field]!r:.60}"


def _other_value(kind: int, value: Any, chance: random.Random) -> Any:
    if kind in _NUMBER_TYPES:
        near = (value + 1, value - 1, value * 2, value // 2)
        return chance.choice((*_NUMBERS, *near, *near))
    if kind == BINARY:
        return chance.choice((*_TEXTS, value[:-1], value + b"x", value[::-1]))
    if kind == LIST:
        items = list(value.items)
        at = chance.randrange(len(items) + 1)
        changed = (
            [],
            items[:at],
            items[at:],
            items + items[:1],
            items[:at] + items[at + 1 :],
            items[::-1],
            [
                _other_value(value.type, item, chance) if i == at else item
                for i, item in enumerate(items)
            ],
        )
        return Sequence(value.type, copy.deepcopy(chance.choice(changed)))
    return not value if isinstance(value, bool) else value


Way = Callable[[Good, random.Random, list[Good]], Made]
_WAYS: list[tuple[Way, int]] = [
    (_footer_bytes, 4),
    (_any_bytes, 2),
    (_header_bytes, 3),
    (_body_bytes, 2),
    (_index_bytes, 2),
    (_truncated, 1),
    (_spliced, 2),
    (_footer_field, 6),
    (_header_field, 4),
    (_index_field, 4),
    (_index_entry, 3),
    (_bloom_bytes, 1),
    (_page_inside, 5),
    (_whole_pages, 2),
    (_whole_groups, 2),
    (_column_index_entry, 2),
]
