"""Codecs by which files of lines are compressed: how each begins, is decoded and is made.

A compressed file is frames one behind the other (gzip calls them members, bzip2 and xz streams),
each decoded by a library's own object, in order and in bounded memory. Told from a frame's head is
what decoding it takes, and what is refused by name: dictionaries, old formats. Not covered: where
in a file a frame begins (:mod:`.compressed`); blocks inside a frame; Snappy, Brotli and ``.lzma``.

Sources: RFC 1952 (gzip), RFC 8878 (zstd), lz4's "LZ4 Frame Format Description", xz's "The .xz File
Format"; the memory of compression is measured, of xz its manual's.
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import lz4.frame

from engine.errors import BadStructure, Unsupported
from engine.model import LineCodec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEAD_BYTES = 1 << 11  # of a frame: all that is looked at
MIB = 1 << 20
_GZIP_BITS = 31  # zlib's window bits for a gzip member with its checks
_MOST_WINDOW_BYTES = 2 << 30  # of zstd's own program and library
_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # of zstd and lz4: a frame of other data
_LZ4_DECODER_BYTES = 12 * MIB


class Decoder(Protocol):
    """A frame that is decoded in order."""

    @property
    def is_done(self) -> bool:
        """Whether its end was read."""

    @property
    def wants(self) -> bool:
        """Whether it takes bytes; if not, it has more text of those that it was given."""

    @property
    def num_left(self) -> int:
        """How many bytes, the last ones given, it did not take."""

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        """Return some text."""

    def copy(self) -> Decoder | None:
        """Return another one at the same place; None where the library has no such thing."""


class Compressor(Protocol):
    """What makes one frame: the same bytes of the same pieces."""

    def compress(self, data: bytes) -> bytes:
        """Take text; return bytes that are ready."""

    def flush(self) -> bytes:
        """Return the rest, and the frame's end."""


class Codec(NamedTuple):
    """A codec.

    Attributes:
        name: as ``--codec`` has it.
        program: that decompresses.
        magic: how a frame begins, older formats that are refused included.
        decoder: of a frame, from its head.
        decoder_bytes: of memory that it takes, from the frame's head.
        compressor: by level.
        compressor_mib: of memory, by the highest level that takes no more.
        default_level: where none is asked for.
        sample_bytes, num_samples: texts that are compressed on trial for estimates: as long as
            the codec looks back or, where that would take too long, shorter.
        errors: what the library raises of damage.
        padding_bytes: zeros behind a frame come in multiples of it; 0 for none.
        skips: whether there are frames of other data.
    """

    name: LineCodec
    program: str
    magic: re.Pattern[bytes]
    decoder: Callable[[bytes], Decoder]
    decoder_bytes: Callable[[bytes], int]
    compressor: Callable[[int], Compressor]
    compressor_mib: dict[int, int]
    default_level: int
    sample_bytes: int
    num_samples: int
    errors: tuple[type[Exception], ...]
    padding_bytes: int = 0
    skips: bool = False

    def level(self, wanted: int | None) -> int:
        """Return the level that is meant."""
        return self.default_level if wanted is None else wanted

    def compressor_bytes(self, level: int | None) -> int:
        """Return the memory that making a frame takes."""
        chosen = self.level(level)
        return next(mib for most, mib in self.compressor_mib.items() if chosen <= most) * MIB


def skipped_bytes(head: bytes) -> int:
    """Return how long a frame of other data is; 0 if it is none."""
    if not _SKIPPED.match(head):
        return 0
    return 8 + int.from_bytes(head[4:8], "little")


class _Gzip:
    """A gzip member, by zlib, whose state can be copied at any place."""

    wants = True

    def __init__(self, inflater: Any = None) -> None:
        self._inflater = inflater or zlib.decompressobj(_GZIP_BITS)

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        return self._inflater.decompress(data, most_bytes)

    @property
    def is_done(self) -> bool:
        return self._inflater.eof

    @property
    def num_left(self) -> int:
        return len(self._inflater.unused_data or self._inflater.unconsumed_tail)

    def copy(self) -> Decoder | None:
        return _Gzip(self._inflater.copy())


class _InOrder:
    """A frame, by a library whose state cannot be copied, with the interface of ``bz2``'s."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        return self._inner.decompress(data, most_bytes)  # type: ignore[no-any-return]

    @property
    def is_done(self) -> bool:
        return self._inner.eof  # type: ignore[no-any-return]

    @property
    def wants(self) -> bool:
        return self._inner.needs_input  # type: ignore[no-any-return]

    @property
    def num_left(self) -> int:
        return len(self._inner.unused_data or b"") if self._inner.eof else 0

    def copy(self) -> Decoder | None:
        return None


# -- zstd ------------------------------------------------------------------------------------------


def _zstd_decoder(head: bytes) -> _InOrder:
    if head[0] != 0x28:
        raise Unsupported(
            "a format of zstd before its version 0.8: decompress it by zstd (zstd -d)"
        )
    window_bytes, dictionary = _zstd_head(head)
    if dictionary:
        raise Unsupported(
            f"a zstd frame that needs the dictionary {dictionary}: decompress it with that "
            "(zstd -d -D FILE)"
        )
    if window_bytes > _MOST_WINDOW_BYTES:
        raise BadStructure(
            f"a zstd frame that asks for a window of {window_bytes:,} bytes, more than zstd takes: "
            "get the file again"
        )
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 31}
    return _InOrder(zstd.ZstdDecompressor(options=options))


def _zstd_head(head: bytes) -> tuple[int, int]:
    """Return window and dictionary of a frame (RFC 8878, 3.1.1.1)."""
    head = head[:18].ljust(18, b"\0")
    flags, at, window_bytes = head[4], 5, 0
    is_single = bool(flags & 0x20)
    if not is_single:
        base = 1 << (10 + (head[at] >> 3))
        window_bytes = base + base // 8 * (head[at] & 7)
        at += 1
    length = (0, 1, 2, 4)[flags & 3]
    dictionary = int.from_bytes(head[at : at + length], "little")
    at += length
    if is_single:  # the window is the content
        length = (1, 2, 4, 8)[flags >> 6]
        window_bytes = int.from_bytes(head[at : at + length], "little") + 256 * (length == 2)
    return window_bytes, dictionary


def _zstd_compressor(level: int) -> Compressor:
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(
        options={parameter.compression_level: level, parameter.checksum_flag: 1}
    )


# -- lz4 -------------------------------------------------------------------------------------------


def _lz4_decoder(head: bytes) -> _InOrder:
    if head[0] != 0x04:
        raise Unsupported("the legacy format of lz4: decompress it first (lz4 -d)")
    if head[4:5] and head[4] & 1:
        raise Unsupported(
            "an lz4 frame that needs a dictionary: decompress it with that (lz4 -d -D FILE)"
        )
    return _InOrder(lz4.frame.LZ4FrameDecompressor())


class _Lz4Compressor:
    """Independent blocks of 4 MiB with a checksum behind, as lz4's own program makes them."""

    def __init__(self, level: int) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor(
            block_size=lz4.frame.BLOCKSIZE_MAX4MB,
            block_linked=False,
            content_checksum=True,
            compression_level=level,
        )
        self._head = self._inner.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + self._inner.compress(data)  # type: ignore[no-any-return]

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + self._inner.flush()  # type: ignore[no-any-return]


# -- xz --------------------------------------------------------------------------------------------


def _xz_decoder(head: bytes) -> _InOrder:
    limit = _xz_bytes(head) + 8 * MIB
    return _InOrder(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limit))


def _xz_bytes(head: bytes) -> int:
    """Return the dictionary of a stream's first block (The .xz File Format, 3.1)."""
    size = (head[12] + 1) * 4 if len(head) > 12 else 0
    block = head[12 : 12 + size]
    if size < 8 or len(block) < size:
        return 0
    if zlib.crc32(block[:-4]) != struct.unpack("<I", block[-4:])[0]:
        return 0  # no block, or a damaged one, which the library tells
    at, found = 2, 0

    def number() -> int:
        nonlocal at
        value, shift, more = 0, 0, True
        while more and at < size:
            value |= (block[at] & 0x7F) << shift
            more, shift, at = block[at] > 0x7F, shift + 7, at + 1
        return value

    for flag in (0x40, 0x80):  # sizes, compressed and not
        if block[1] & flag:
            number()
    for _ in range((block[1] & 3) + 1):
        kind, length = number(), number()
        if kind == lzma.FILTER_LZMA2 and at < size:
            bits = block[at] & 0x3F
            found = max(found, (2 | (bits & 1)) << (bits // 2 + 11))
        at += length
    return found


_EVERY = 1 << 10  # above all levels

CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(
            name="gzip",
            program="gzip",
            magic=re.compile(rb"\x1f\x8b"),
            decoder=lambda head: _Gzip(),
            decoder_bytes=lambda head: 64 << 10,
            compressor=lambda level: zlib.compressobj(level, wbits=_GZIP_BITS),
            compressor_mib={_EVERY: 1},
            default_level=zlib.Z_DEFAULT_COMPRESSION,
            sample_bytes=1 * MIB,
            num_samples=32,
            errors=(zlib.error,),
            padding_bytes=1,
        ),
        Codec(
            name="zstd",
            program="zstd",
            magic=re.compile(rb"[\x28\x1e\x22-\x27]\xb5\x2f\xfd"),
            decoder=_zstd_decoder,
            decoder_bytes=lambda head: _zstd_head(head)[0] + MIB,
            compressor=_zstd_compressor,
            compressor_mib={3: 6, 8: 16, 12: 52, 15: 80, 19: 100, 20: 220, 21: 420, _EVERY: 800},
            default_level=zstd.COMPRESSION_LEVEL_DEFAULT,
            sample_bytes=2 * MIB,
            num_samples=8,
            errors=(zstd.ZstdError,),
            skips=True,
        ),
        Codec(
            name="lz4",
            program="lz4",
            magic=re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"),
            decoder=_lz4_decoder,
            decoder_bytes=lambda head: _LZ4_DECODER_BYTES,
            compressor=_Lz4Compressor,
            compressor_mib={_EVERY: 14},
            default_level=0,
            sample_bytes=1 * MIB,
            num_samples=32,
            errors=(RuntimeError,),
            skips=True,
        ),
        Codec(
            name="bz2",
            program="bzip2",
            magic=re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
            decoder=lambda head: _InOrder(bz2.BZ2Decompressor()),
            decoder_bytes=lambda head: 6 * MIB,
            compressor=bz2.BZ2Compressor,
            compressor_mib={_EVERY: 9},
            default_level=9,
            sample_bytes=1_800_000,  # two blocks
            num_samples=8,
            errors=(OSError, ValueError),
        ),
        Codec(
            name="xz",
            program="xz",
            magic=re.compile(rb"\xfd7zXZ\x00"),
            decoder=_xz_decoder,
            decoder_bytes=lambda head: _xz_bytes(head) + MIB,
            compressor=lambda level: lzma.LZMACompressor(preset=level),
            compressor_mib={0: 4, 1: 10, 2: 18, 3: 34, 4: 50, 6: 100, 7: 196, 8: 380, _EVERY: 690},
            default_level=lzma.PRESET_DEFAULT,
            sample_bytes=2 * MIB,
            num_samples=4,
            errors=(lzma.LZMAError,),
            padding_bytes=4,
        ),
    )
}


def codec_at(head: bytes) -> Codec | None:
    """Return the codec of which a frame begins here."""
    return next((codec for codec in CODECS.values() if codec.magic.match(head)), None)


def is_compressed(head: bytes) -> bool:
    """Whether a file that begins so is compressed by one of the codecs."""
    return bool(codec_at(head) or skipped_bytes(head))
