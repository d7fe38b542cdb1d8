"""Lossless codec for structures in Thrift's compact protocol.

A structure is read without any schema and keeps every field, known or not, with its exact wire
type, so that ``encode(decode(data)) == data`` for any structure in canonical form (short field
headers where they fit, shortest varints: what every Parquet writer emits). That is what lets a
footer be changed in a few places and carried unharmed everywhere else.

Not covered: messages, RPC framing, and meaning: the names of fields are in
:mod:`.bytes.footer` and its neighbours. Encoding rules: the "Thrift compact protocol
encoding" text of Apache Thrift (``doc/specs/thrift-compact-protocol.md``).

In memory a structure is a plain ``dict`` from field id to ``(wire type, value)``:

=============  =======================================================================
wire type      value
=============  =======================================================================
TRUE, FALSE    ``bool`` (the wire type is the value; both are kept)
BYTE           ``int`` (signed)
I16, I32, I64  ``int``
DOUBLE, UUID   ``bytes`` as on the wire, so that no NaN payload is lost
BINARY         ``bytes``
LIST, SET      :class:`Sequence`: element wire type and a list of values
MAP            :class:`Mapping`: both wire types and a list of pairs
STRUCT         ``dict``, or :class:`Raw` where decoding stopped at ``max_depth``
=============  =======================================================================

Inside a list or map a boolean is kept as the byte that stood on the wire.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

from engine import memory
from engine.errors import BadStructure
from engine.wording import counted

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)

Struct = dict[int, tuple[int, Any]]

MAX_DEPTH = 64
_FIXED_WIDTH = {DOUBLE: 8, UUID: 16}
_MANY_ITEMS = 1 << 16
_USUAL_BYTES, _USUAL_ITEMS = 32, 4  # more of them, and to compile what matches takes longer


# Python up to 3.11.4 matches these wrongly (https://github.com/python/cpython/issues/106052).
_POSSESSIVE = b"*+" if sys.version_info >= (3, 11, 5) else b"*"


def _usual_fields(many: bytes = _POSSESSIVE) -> re.Pattern[bytes]:
    """Return what matches fields that are passed over at once, as many as follow each other.

    These are numbers, booleans, short binaries, short lists of them, and structures of all these:
    nearly all that is in footers. Every byte decides alone what follows, so there is one way only
    to match, and nothing to go back for: ``many`` may be ``*+``, which is quicker than ``*``.
    """

    def head(*kinds: int) -> bytes:  # of a field some steps behind the one before
        heads = [bytes([step << 4 | kind]) for step in range(1, 16) for kind in kinds]
        return b"[%b]" % b"".join(map(re.escape, heads))

    def listed(item: bytes, *kinds: int) -> bytes:
        each = [
            (size, bytes(size << 4 | kind for kind in kinds)) for size in range(_USUAL_ITEMS + 1)
        ]
        return b"|".join(b"[%b]" % re.escape(heads) + item * size for size, heads in each)

    number = rb"[\x80-\xff]%b[\x00-\x7f]" % many
    sizes = range(_USUAL_BYTES + 1)
    binary = b"(?:%b)" % b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in sizes)
    numbers = b"%b%b|%b" % (head(I16, I32, I64), number, head(TRUE, FALSE))
    simple = b"%b|%b%b" % (numbers, head(BINARY), binary)
    counts = rb"(?:%b)%b\x00" % (numbers, many)  # a structure of such
    lists = b"%b(?:%b|\x18%b|%b)" % (
        head(LIST),
        listed(number, I32, I64),
        binary,
        listed(counts, STRUCT),
    )
    nested = rb"%b(?:%b|%b)%b\x00" % (head(STRUCT), simple, lists, many)
    return re.compile(b"(?:%b|%b|%b)%b" % (simple, lists, nested, many), re.DOTALL)


_pass_usual_fields = _usual_fields().match


class Raw(bytes):
    """A structure kept as the bytes it has on the wire, its stop byte included."""

    __slots__ = ()


class Sequence(NamedTuple):
    """A list or set: the wire type of its elements, and the elements."""

    type: int
    items: list[Any]


class Mapping(NamedTuple):
    """A map: the wire types of keys and values, and the pairs in their order."""

    key_type: int
    value_type: int
    items: list[tuple[Any, Any]]


def decode(data: bytes, pos: int = 0, *, max_depth: int = MAX_DEPTH) -> tuple[Struct, int]:
    """Read the structure that begins at ``pos``; return it and the position behind it.

    Structures nested deeper than ``max_depth`` are kept as :class:`Raw` bytes, which is several
    times faster and all that is needed to carry them.

    Raises:
        BadStructure: the bytes end early, nest too deeply, or hold an unknown wire type.
    """
    try:
        return _struct(data, pos, max_depth)
    except (IndexError, OverflowError, RecursionError) as error:
        raise BadStructure(f"thrift structure at byte {pos} is cut short") from error


def skip(data: bytes, pos: int = 0) -> int:
    """Return the position behind the structure that begins at ``pos`` without reading it.

    Raises:
        BadStructure: as for :func:`decode`.
    """
    try:
        return _skip_struct(data, pos)
    except (IndexError, OverflowError, RecursionError) as error:
        raise BadStructure(f"thrift structure at byte {pos} is cut short") from error


def encode(value: Struct | Raw) -> bytes:
    """Return the bytes of one structure in canonical form."""
    out = bytearray()
    _put_struct(out, value)
    return bytes(out)


def put_zigzag(out: bytearray, number: int) -> None:
    """Append a signed number."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def read_list_header(data: bytes, pos: int) -> tuple[int, int, int]:
    """Return (element wire type, number of elements, position of the first) of a list."""
    head = data[pos]
    pos += 1
    size = head >> 4
    if size == 15:
        size, pos = read_varint(data, pos)
    if size > len(data) - pos:  # every element takes at least one byte
        raise BadStructure(f"list of {counted(size, 'element')} in {len(data) - pos} bytes")
    return head & 15, size, pos


def put_list_header(out: bytearray, element_type: int, size: int) -> None:
    """Append the header of a list of ``size`` elements."""
    if size < 15:
        out.append(size << 4 | element_type)
    else:
        out.append(0xF0 | element_type)
        put_varint(out, size)


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return the unsigned number that begins at ``pos``, and the position behind it.

    Raises:
        IndexError: the bytes end inside it.
        BadStructure: it is longer than 64 bits.
    """
    byte = data[pos]
    pos += 1
    if byte < 128:
        return byte, pos
    number = byte & 127
    shift = 7
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, pos
        shift += 7
        if shift > 63:
            raise BadStructure(f"varint of more than ten bytes at byte {pos}")


def read_zigzag(data: bytes, pos: int) -> tuple[int, int]:
    """Return the signed number that begins at ``pos``, and the position behind it.

    Raises: as :func:`read_varint`.
    """
    number = data[pos]
    pos += 1
    if number > 127:
        number, pos = read_varint(data, pos - 1)
    return (number >> 1) ^ -(number & 1), pos


def _binary(data: bytes, pos: int) -> tuple[bytes, int]:
    size, pos = read_varint(data, pos)
    end = pos + size
    if end > len(data):
        raise BadStructure(f"binary of {size} bytes at byte {pos} passes the end")
    return data[pos:end], end


def _struct(data: bytes, pos: int, depth: int) -> tuple[Struct, int]:
    # The hot loop of every footer: integers and binaries are read in line, without a call.
    out: Struct = {}
    field = 0
    while True:
        head = data[pos]
        pos += 1
        if head == 0:
            return out, pos
        kind = head & 15
        if head > 15:
            field += head >> 4
        else:
            number, pos = read_varint(data, pos)
            field = (number >> 1) ^ -(number & 1)
        if I16 <= kind <= I64:
            number = data[pos]
            pos += 1
            if number > 127:
                number, pos = read_varint(data, pos - 1)
            out[field] = (kind, (number >> 1) ^ -(number & 1))
        elif kind == BINARY:
            size = data[pos]
            pos += 1
            if size > 127:
                size, pos = read_varint(data, pos - 1)
            end = pos + size
            if end > len(data):
                raise BadStructure(f"binary of {size} bytes at byte {pos} passes the end")
            out[field] = (BINARY, data[pos:end])
            pos = end
        elif kind in (TRUE, FALSE):
            out[field] = (kind, kind == TRUE)
        else:
            value, pos = _value(data, pos, kind, depth)
            out[field] = (kind, value)


def _value(data: bytes, pos: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == STRUCT:
        if depth <= 0:
            end = _skip_struct(data, pos)
            return Raw(data[pos:end]), end
        return _struct(data, pos, depth - 1)
    if I16 <= kind <= I64:
        return read_zigzag(data, pos)
    if kind == BINARY:
        return _binary(data, pos)
    if kind in (LIST, SET):
        return _list(data, pos, depth)
    if kind in (TRUE, FALSE):
        return data[pos], pos + 1
    if kind == BYTE:
        return (data[pos] ^ 0x80) - 0x80, pos + 1
    if kind in _FIXED_WIDTH:
        end = pos + _FIXED_WIDTH[kind]
        if end > len(data):
            raise IndexError
        return data[pos:end], end
    if kind == MAP:
        return _map(data, pos, depth)
    raise BadStructure(f"unknown thrift wire type {kind} at byte {pos}")


def _list(data: bytes, pos: int, depth: int) -> tuple[Sequence, int]:
    element, size, pos = read_list_header(data, pos)
    if size > _MANY_ITEMS:
        memory.ask(memory.LISTED_BYTES * size, f"to read a list of {size:,} elements")
    items: list[Any] = []
    if I16 <= element <= I64:  # in line, as in _struct: page indexes are long lists
        for _ in range(size):
            number = data[pos]
            pos += 1
            if number > 127:
                number, pos = read_varint(data, pos - 1)
            items.append((number >> 1) ^ -(number & 1))
    else:
        for _ in range(size):
            item, pos = _value(data, pos, element, depth)
            items.append(item)
    return Sequence(element, items), pos


def _map(data: bytes, pos: int, depth: int) -> tuple[Mapping, int]:
    size, pos = read_varint(data, pos)
    if size == 0:
        return Mapping(0, 0, []), pos
    if size > len(data) - pos:
        raise BadStructure(f"map of {counted(size, 'pair')} in {len(data) - pos} bytes")
    key_type, value_type = data[pos] >> 4, data[pos] & 15
    pos += 1
    items = []
    for _ in range(size):
        key, pos = _value(data, pos, key_type, depth)
        value, pos = _value(data, pos, value_type, depth)
        items.append((key, value))
    return Mapping(key_type, value_type, items), pos


def _skip_struct(data: bytes, pos: int) -> int:
    while True:
        pos = _pass_usual_fields(data, pos).end()  # type: ignore[union-attr]
        head = data[pos]
        pos += 1
        if head == 0:
            return pos
        if head < 16:
            _, pos = read_varint(data, pos)
        kind = head & 15
        if I16 <= kind <= I64:
            while data[pos] > 127:
                pos += 1
            pos += 1
        elif kind == BINARY:
            size = data[pos]
            pos += 1
            if size > 127:
                size, pos = read_varint(data, pos - 1)
            pos += size
        elif kind not in (TRUE, FALSE):
            pos = _skip_value(data, pos, kind)


def _skip_value(data: bytes, pos: int, kind: int) -> int:
    if kind == STRUCT:
        return _skip_struct(data, pos)
    if kind in (LIST, SET):
        element, size, pos = read_list_header(data, pos)
        if element == STRUCT:
            for _ in range(size):
                pos = _skip_struct(data, pos)
        elif I16 <= element <= I64:
            for _ in range(size):
                while data[pos] > 127:
                    pos += 1
                pos += 1
        else:
            for _ in range(size):
                pos = _skip_value(data, pos, element)
        return pos
    if I16 <= kind <= I64:
        return read_varint(data, pos)[1]
    if kind == BINARY:
        return _binary(data, pos)[1]
    return _value(data, pos, kind, MAX_DEPTH)[1]


def field_head(field: int, kind: int, last: int) -> bytes:
    """Return the head of a field of a wire type that stands behind field ``last``."""
    step = field - last
    if 0 < step < 16:
        return bytes([step << 4 | kind])
    out = bytearray([kind])
    put_zigzag(out, field)
    return bytes(out)


def put_varint(out: bytearray, number: int) -> None:
    """Append an unsigned number."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _put_struct(out: bytearray, struct: Struct | Raw) -> None:
    if type(struct) is Raw:
        out += struct
        return
    last = 0
    for field, (kind, value) in struct.items():  # type: ignore[union-attr]
        step = field - last
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out += field_head(field, kind, last)
        last = field
        if I16 <= kind <= I64:
            number = value << 1 if value >= 0 else (-value << 1) - 1
            while number > 127:
                out.append(number & 127 | 128)
                number >>= 7
            out.append(number)
        elif kind > FALSE:
            put_value(out, kind, value)
    out.append(0)


def put_value(out: bytearray, kind: int, value: Any) -> None:
    """Append a value of a wire type; of a boolean what it is inside a list: one byte."""
    if kind == BINARY:
        put_varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _put_struct(out, value)
    elif I16 <= kind <= I64:
        put_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind in (LIST, SET):
        put_list_header(out, value.type, len(value.items))
        for item in value.items:
            put_value(out, value.type, item)
    elif kind in _FIXED_WIDTH:
        out += value
    elif kind == MAP:
        put_varint(out, len(value.items))
        if value.items:
            out.append(value.key_type << 4 | value.value_type)
        for key, item in value.items:
            put_value(out, value.key_type, key)
            put_value(out, value.value_type, item)
    else:  # BYTE, or a boolean inside a list: one byte as it is
        out.append(value & 0xFF)
