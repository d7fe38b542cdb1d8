"""Compression codecs of pages (``Compression.md`` of apache/parquet-format).

Every function either returns exactly the bytes promised or raises: pyarrow's own ``decompress``
returns a buffer of the size asked for whatever came out, so that a short page would end in
uninitialised memory; here each codec proves its length. Output is deterministic.

Imports pyarrow, so whoever only splices must not import this module.
"""

from __future__ import annotations

import threading
import zlib
from typing import Any

import pyarrow as pa

from engine.errors import BadPage, Unsupported
from engine.formats.parquet.bytes.footer import Codec
from engine.model import Buffer

_ARROW_NAMES: dict[int, str] = {
    Codec.SNAPPY: "snappy",
    Codec.BROTLI: "brotli",
    Codec.ZSTD: "zstd",
    Codec.LZ4_RAW: "lz4_raw",
}


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.codecs: dict[tuple[str, int | None], Any] = {}


_of_thread = _OfThread()
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_GZIP = zlib.MAX_WBITS | 16
_LZ4_FRAME_MAGIC = b"\x04\x22\x4d\x18"
# The most bytes that one compressed byte can stand for. Arrow takes the memory that a header claims
# before it looks at the data. GZIP: a match of 258 bytes by two bits; LZ4: a length byte of 255;
# ZSTD: a block of 128 KiB by four bytes (RFC 8878, 3.1.1.2). BROTLI has no bound of use: what
# is large is decompressed twice, the first time to nowhere.
_MAX_EXPANSION: dict[int, int] = {
    Codec.GZIP: 1032,
    Codec.LZ4: 255,
    Codec.LZ4_RAW: 255,
    Codec.ZSTD: 1 << 15,
}


_BELIEVED_BYTES = 16 << 20


def decompress(codec: int, data: Buffer, uncompressed_bytes: int) -> bytes:
    """Return the ``uncompressed_bytes`` bytes that ``data`` holds.

    Raises:
        BadPage: the data is damaged or of another length.
        Unsupported: the codec is LZO, or unknown.
    """
    name = _checked(codec)
    if name is Codec.UNCOMPRESSED:
        return _exactly(bytes(data), uncompressed_bytes)
    if not uncompressed_bytes and not data:
        return b""  # some writers skip the codec for pages without values
    _check_claim(name, data, uncompressed_bytes)
    try:
        return _exactly(_decompress(name, data, uncompressed_bytes), uncompressed_bytes)
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, zlib.error, IndexError) as error:
        raise _damaged(name, data, error) from error


def compress(codec: int, data: Buffer, level: int | None = None) -> bytes:
    """Return ``data`` compressed, at the library's default level if none is given.

    Raises:
        Unsupported: the codec is LZO, or unknown.
    """
    name = _checked(codec)
    if name is Codec.UNCOMPRESSED:
        return bytes(data)
    if name is Codec.GZIP:
        packer = zlib.compressobj(
            zlib.Z_DEFAULT_COMPRESSION if level is None else level, wbits=_GZIP
        )
        return packer.compress(data) + packer.flush()
    if name is Codec.LZ4:
        block: bytes = _made("lz4_raw", None).compress(data, asbytes=True)
        return len(data).to_bytes(4, "big") + len(block).to_bytes(4, "big") + block
    packed: bytes = _made(_ARROW_NAMES[name], level).compress(data, asbytes=True)
    return packed


def recompress(
    source_codec: int, data: Buffer, uncompressed_bytes: int, codec: int, level: int | None = None
) -> Buffer:
    """Return what :func:`decompress` and then :func:`compress` would, with fewer copies."""
    plain = lend_plain(source_codec, data, uncompressed_bytes)
    if codec == Codec.UNCOMPRESSED:
        return plain
    name = _ARROW_NAMES.get(codec)
    if name is not None:
        # A view of what compress returns is as long as the memory it took at first (pyarrow 26).
        return _made(name, level).compress(plain).slice(0)
    return compress(codec, memoryview(plain), level)


def lend_plain(codec: int, data: Buffer, uncompressed_bytes: int) -> Buffer:
    """Return what :func:`decompress` does, where nobody needs it to be ``bytes``.

    It stays in Arrow's memory, which is used again page after page; for ``bytes`` of this size the
    system would clear new memory each time.
    """
    _check_claim(codec, data, uncompressed_bytes)
    if codec == Codec.UNCOMPRESSED and len(data) == uncompressed_bytes:
        return data
    if codec not in (Codec.SNAPPY, Codec.ZSTD) or not uncompressed_bytes:
        return decompress(codec, data, uncompressed_bytes)
    try:
        if codec == Codec.SNAPPY:
            _check_snappy(data, uncompressed_bytes)
        return _made(_ARROW_NAMES[codec], None).decompress(data, uncompressed_bytes)
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, IndexError) as error:
        raise _damaged(Codec(codec), data, error) from error


def _damaged(name: Codec, data: Buffer, error: Exception) -> BadPage:
    return BadPage(f"damaged {name.name} data of {len(data)} bytes: {error}")


def _checked(codec: int) -> Codec:
    if codec == Codec.LZO:
        raise Unsupported("the codec LZO, which no open reader has; write the file with another")
    try:
        return Codec(codec)
    except ValueError as error:
        raise Unsupported(f"codec number {codec}, which is not in the format") from error


def _exactly(data: bytes, uncompressed_bytes: int) -> bytes:
    if len(data) != uncompressed_bytes:
        raise BadPage(
            f"a page is {len(data)} bytes uncompressed, its header says {uncompressed_bytes}"
        )
    return data


def _decompress(codec: Codec, data: Buffer, uncompressed_bytes: int) -> bytes:
    if codec is Codec.GZIP:
        return _gunzip(data, uncompressed_bytes)
    if codec is Codec.LZ4:
        return _hadoop_lz4(data, uncompressed_bytes)
    if codec is Codec.BROTLI:
        return _brotli(data, uncompressed_bytes)
    if codec is Codec.LZ4_RAW:
        return _lz4_block(data, uncompressed_bytes)
    if codec is Codec.SNAPPY:
        _check_snappy(data, uncompressed_bytes)
    return _arrow(_ARROW_NAMES[codec], data, uncompressed_bytes)


def _brotli(data: Buffer, size: int) -> bytes:
    """Return what data holds, at most one byte over ``size``; a large size is proved first."""
    most = size + 1
    if size > _BELIEVED_BYTES:
        with pa.CompressedInputStream(pa.BufferReader(data), "brotli") as stream:
            most = 0
            while most <= size and (piece := stream.read(_BELIEVED_BYTES)):
                most += len(piece)
        if most != size:
            raise BadPage(f"a page is not the {size} bytes that its header says")
    with pa.CompressedInputStream(pa.BufferReader(data), "brotli") as stream:
        whole: bytes = stream.read(most)
    return whole


def _arrow(name: str, data: Buffer, size: int) -> bytes:
    out: bytes = _made(name, None).decompress(data, decompressed_size=size, asbytes=True)
    return out


def _made(name: str, level: int | None) -> Any:
    """Return a codec of this thread's own: making one takes as long as compressing a small page."""
    made = _of_thread.codecs
    key = name, level
    if key not in made:
        made[key] = pa.Codec(name, level)
    return made[key]


def _check_claim(codec: int, data: Buffer, uncompressed_bytes: int) -> None:
    """Refuse a size that no data of this length can have."""
    most = _MAX_EXPANSION.get(codec)
    if most is not None and uncompressed_bytes > most * len(data):
        raise BadPage(
            f"{len(data)} bytes of {Codec(codec).name} data cannot be {uncompressed_bytes} "
            "uncompressed, as the page header says"
        )


def _check_snappy(data: Buffer, uncompressed_bytes: int) -> None:
    found = _snappy_bytes(data)
    if found != uncompressed_bytes:
        raise BadPage(f"a page is {found} bytes, its header says {uncompressed_bytes}")


def _snappy_bytes(data: Buffer) -> int:
    # The stream begins with its uncompressed length as a varint.
    number = shift = 0
    for byte in bytes(data[:5]):
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift += 7
    raise BadPage("a SNAPPY page without its length")


def _gunzip(data: Buffer, uncompressed_bytes: int) -> bytes:
    out = b""
    while data:
        member = zlib.decompressobj(_GZIP_OR_ZLIB)
        # One byte more than promised shows a page that is too long, without unpacking a bomb.
        out += member.decompress(data, uncompressed_bytes - len(out) + 1)
        if not member.eof:
            raise BadPage("GZIP data is cut short, or longer than its page header says")
        data = member.unused_data
    return out


def _lz4_block(data: Buffer, size: int) -> bytes:
    """Decompress one LZ4 block of exactly ``size`` bytes."""
    whole = _arrow("lz4_raw", data, size)
    # The library reports no length; but a buffer one byte smaller must be too small.
    if size and _fits(data, size - 1):
        raise BadPage(f"an LZ4 block is shorter than {size} bytes")
    return whole


def _fits(data: Buffer, size: int) -> bool:
    try:
        _arrow("lz4_raw", data, size)
    except OSError:
        return False
    return True


def is_lz4_block(data: Buffer, uncompressed_bytes: int) -> bool:
    """Whether data of codec 5 is one LZ4 block without any framing."""
    if _hadoop_frames(data, uncompressed_bytes) is not None or data[:4] == _LZ4_FRAME_MAGIC:
        return False
    try:
        return len(_lz4_block(data, uncompressed_bytes)) == uncompressed_bytes
    except (BadPage, OSError):  # the latter: no block at all
        return False


def _hadoop_lz4(data: Buffer, uncompressed_bytes: int) -> bytes:
    """Decompress codec 5: Hadoop's framing, else an LZ4 frame, else a raw block.

    The three were all written under this number; the framing is tried first, as by other readers.
    """
    framed = _hadoop_frames(data, uncompressed_bytes)
    if framed is not None:
        return framed
    if data[:4] == _LZ4_FRAME_MAGIC:
        with pa.CompressedInputStream(pa.BufferReader(data), "lz4") as stream:
            whole: bytes = stream.read(uncompressed_bytes + 1)
        return whole
    return _lz4_block(data, uncompressed_bytes)


def _hadoop_frames(data: Buffer, uncompressed_bytes: int) -> bytes | None:
    """Return the content of Hadoop frames, None if the data is not framed so.

    A frame is its uncompressed length, then one or more blocks, each behind its compressed length;
    lengths are four bytes, big-endian.
    """
    out: list[bytes] = []
    pos = produced = 0
    while pos < len(data):
        frame_end = produced + int.from_bytes(data[pos : pos + 4], "big")
        pos += 4
        if frame_end > uncompressed_bytes:
            return None
        if frame_end == produced:  # an empty frame still has a block, of the codec's empty form
            pos += 4 + int.from_bytes(data[pos : pos + 4], "big")
        while produced < frame_end:
            length = int.from_bytes(data[pos : pos + 4], "big")
            block = data[pos + 4 : pos + 4 + length]
            piece = _hadoop_block(block, frame_end - produced) if len(block) == length else None
            if not piece:
                return None
            pos += 4 + length
            out.append(piece)
            produced += len(piece)
    return b"".join(out) if (pos, produced) == (len(data), uncompressed_bytes) else None


def _hadoop_block(block: Buffer, most_bytes: int) -> bytes | None:
    # Nearly always one block a frame; only more of them need the block's own length counted.
    try:
        if not _fits(block, most_bytes - 1):
            return _arrow("lz4_raw", block, most_bytes)
        return _arrow("lz4_raw", block, _lz4_block_bytes(block))
    except (OSError, IndexError):
        return None


def _lz4_block_bytes(block: Buffer) -> int:
    """Return what an LZ4 block decompresses to, from its sequences' lengths alone."""
    pos = size = 0
    while pos < len(block):
        token = block[pos]
        literals, pos = _lz4_length(block, pos + 1, token >> 4)
        pos += literals
        size += literals
        if pos >= len(block):
            break
        match, pos = _lz4_length(block, pos + 2, token & 15)
        size += match + 4
    return size


def _lz4_length(block: Buffer, pos: int, length: int) -> tuple[int, int]:
    if length == 15:
        while True:
            byte = block[pos]
            pos += 1
            length += byte
            if byte != 255:
                break
    return length, pos
