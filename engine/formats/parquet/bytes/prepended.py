"""Put bytes in front of what is compressed, without decompressing it.

A page of a column that is never null has no definition levels; where the column may be null they
stand in front of the values, in V1 pages inside the compression. A few bytes that are stored plain
can be put in front of a compressed stream, whose own bytes stay as they are:

=========  ========================================================================================
snappy     the length in front is replaced, a literal follows it
LZ4_RAW    the first sequence gets more literals
zstd       the frame's header has another content size, a raw block follows it
gzip       a stored block follows the header; the checksum at the end is combined from both
=========  ========================================================================================

Distances to earlier bytes are counted backwards in all four, so none changes. Not covered: codecs
that cannot do this (brotli counts bits and looks at the bytes before; LZO and Hadoop's LZ4 have no
one form), zstd frames with checksums.

Sources: format_description.txt of snappy; lz4_Block_format.md of lz4; RFC 8878 (zstd); RFC 1951 and
1952 (deflate, gzip).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from engine.errors import Unsupported
from engine.formats.parquet.bytes.footer import Codec
from engine.formats.parquet.bytes.thrift import put_varint, read_varint

TAIL_BYTES = 8  # of a gzip stream: checksum and length
CODECS = (Codec.UNCOMPRESSED, Codec.SNAPPY, Codec.LZ4_RAW, Codec.ZSTD, Codec.GZIP)
_LONG = 15  # literals of LZ4, whose number goes on in further bytes
_HEAD_BYTES = 32
_MAX_BYTES = 60  # a literal of snappy with its length in one byte
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_HEADER_BYTES = 10


class Prepended(NamedTuple):
    """A stream with bytes in front of it: ``front``, all but its ends, ``back``.

    Attributes:
        front: new bytes.
        skipped: bytes at the stream's begin that they replace.
        back: new bytes, as many as they replace at the stream's end.
    """

    front: bytes
    skipped: int
    back: bytes = b""


def head_bytes(num_bytes: int) -> int:
    """Return how many bytes at the begin of a compressed stream are looked at."""
    return min(num_bytes, _HEAD_BYTES + num_bytes // 255)  # LZ4 counts literals in steps of 255


def prepended(codec: int, extra: bytes, head: bytes, tail: bytes, plain_bytes: int) -> Prepended:
    """Return how bytes are put in front of a compressed stream.

    Args:
        codec: of the stream.
        extra: the bytes, a few.
        head: the first bytes of the stream, :func:`head_bytes` if it has as many.
        tail: its last bytes, :data:`TAIL_BYTES`.
        plain_bytes: what it holds.

    Raises:
        Unsupported: that cannot be done for this codec, or this stream; the message says why.
    """
    assert 0 < len(extra) <= _MAX_BYTES
    try:
        if codec == Codec.UNCOMPRESSED:
            return Prepended(extra, 0)
        if codec == Codec.SNAPPY:
            return _snappy(extra, head)
        if codec == Codec.LZ4_RAW:
            return _lz4(extra, head)
        if codec == Codec.ZSTD:
            return _zstd(extra, head)
        if codec == Codec.GZIP:
            return _gzip(extra, head, tail, plain_bytes)
    except IndexError:
        raise Unsupported("its compressed bytes end too soon") from None
    name = Codec(codec).name if codec in set(Codec) else f"codec {codec}"
    raise Unsupported(f"nothing can be put in front of what {name} has compressed")


def _snappy(extra: bytes, head: bytes) -> Prepended:
    num_bytes, pos = read_varint(head, 0)
    front = bytearray()
    put_varint(front, num_bytes + len(extra))
    front.append((len(extra) - 1) << 2)
    return Prepended(bytes(front + extra), pos)


def _lz4(extra: bytes, head: bytes) -> Prepended:
    num_literals, pos = head[0] >> 4, 1
    more = 255 if num_literals == _LONG else 0
    while more == 255:
        more = head[pos]
        num_literals += more
        pos += 1
    num_literals += len(extra)
    front = bytearray([min(_LONG, num_literals) << 4 | head[0] & 15])
    left = num_literals - _LONG
    while left >= 0:
        front.append(min(255, left))
        left -= 255
    return Prepended(bytes(front + extra), pos)


def _zstd(extra: bytes, head: bytes) -> Prepended:
    if head[:4] != _ZSTD_MAGIC:
        raise Unsupported("its zstd frame has another begin than the format's")
    flags = head[4]
    has_one_segment, has_checksum, has_dictionary = flags & 32, flags & 4, flags & 3
    if has_checksum or has_dictionary:
        raise Unsupported("its zstd frames have checksums or dictionaries")
    window = head[5 : 5 + (not has_one_segment)]
    pos = 5 + len(window)
    size_bytes = (1 if has_one_segment else 0, 2, 4, 8)[flags >> 6]
    front = bytearray(_ZSTD_MAGIC)
    if size_bytes:
        content = int.from_bytes(head[pos : pos + size_bytes], "little")
        content += len(extra) + (256 if size_bytes == 2 else 0)
        front.append(flags & 63 | 3 << 6)
        front += window + content.to_bytes(8, "little")
    else:
        front.append(flags)
        front += window
    front += (len(extra) << 3).to_bytes(3, "little")  # not the last block, and raw
    return Prepended(bytes(front + extra), pos + size_bytes)


def _gzip(extra: bytes, head: bytes, tail: bytes, plain_bytes: int) -> Prepended:
    is_usual = head[:3] == b"\x1f\x8b\x08" and head[3] == 0 and len(head) > _GZIP_HEADER_BYTES
    size = int.from_bytes(tail[4:], "little")
    if not is_usual or size != plain_bytes:
        raise Unsupported("its gzip streams have names, comments or several members")
    front = bytearray(head[:_GZIP_HEADER_BYTES])
    length = len(extra)
    front += b"\0" + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little")
    crc = crc_of_both(extra, int.from_bytes(tail[:4], "little"), plain_bytes)
    back = crc.to_bytes(4, "little") + ((size + length) & 0xFFFFFFFF).to_bytes(4, "little")
    return Prepended(bytes(front + extra), _GZIP_HEADER_BYTES, back)


def crc_of_both(first: bytes, rest: int, rest_bytes: int) -> int:
    """Return the CRC-32 of some bytes and others behind them, of which the CRC-32 is known.

    What goes on from a checksum is linear in it, so that zeros tell the first part's share.
    """
    zeros = bytes(rest_bytes)
    return zlib.crc32(zeros, zlib.crc32(first)) ^ zlib.crc32(zeros) ^ rest


def crc_behind(first: bytes, both: int, rest_bytes: int) -> int:
    """Return the CRC-32 of what lies behind some bytes, by that of both."""
    return crc_of_both(first, both, rest_bytes)  # adding is taking away
