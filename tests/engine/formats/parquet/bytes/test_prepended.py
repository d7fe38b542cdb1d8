"""Bytes in front of a compressed stream: two other libraries read both."""

from __future__ import annotations

import gzip
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Unsupported
from engine.formats.parquet.bytes.codecs import compress, decompress
from engine.formats.parquet.bytes.footer import Codec
from engine.formats.parquet.bytes.prepended import (
    CODECS,
    TAIL_BYTES,
    crc_behind,
    crc_of_both,
    head_bytes,
    prepended,
)

_NOISE = zlib.compress(bytes(range(256)) * 9, 0) + b"".join(
    zlib.crc32(bytes([n % 256, n // 256])).to_bytes(4, "little") for n in range(20_000)
)
PLAIN = st.one_of(
    st.binary(min_size=1, max_size=400),
    st.integers(1, len(_NOISE)).map(lambda size: _NOISE[:size]),  # which nothing compresses
    st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 60_000)).map(lambda x: x[0] * x[1]),
)
EXTRA = st.binary(min_size=1, max_size=60)


def joined(codec: int, extra: bytes, packed: bytes, plain_bytes: int) -> bytes:
    head = packed[: head_bytes(len(packed))]
    new = prepended(codec, extra, head, packed[-TAIL_BYTES:], plain_bytes)
    return new.front + packed[new.skipped : len(packed) - len(new.back)] + new.back


def other_reader(codec: int, data: bytes, num_bytes: int) -> bytes:
    if codec == Codec.SNAPPY:
        return bytes(cramjam.snappy.decompress_raw(data))
    if codec == Codec.LZ4_RAW:
        return bytes(cramjam.lz4.decompress_block(data, output_len=num_bytes))
    if codec == Codec.ZSTD:
        return bytes(cramjam.zstd.decompress(data))
    return gzip.decompress(data) if codec == Codec.GZIP else data


@given(codec=st.sampled_from(CODECS), extra=EXTRA, plain=PLAIN, level=st.sampled_from([None, 1, 9]))
def test_two_libraries_read_both(codec: Codec, extra: bytes, plain: bytes, level: int | None):
    packed = bytes(compress(codec, plain, level if codec in (Codec.ZSTD, Codec.GZIP) else None))
    found = joined(codec, extra, packed, len(plain))
    assert decompress(codec, found, len(extra) + len(plain)) == extra + plain
    assert other_reader(codec, found, len(extra) + len(plain)) == extra + plain
    assert len(found) <= len(packed) + len(extra) + 20


@given(extra=EXTRA, plain=st.binary(min_size=1, max_size=300))
def test_streams_of_other_libraries(extra: bytes, plain: bytes):
    for codec, packed in (
        (Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(plain))),
        (Codec.ZSTD, bytes(cramjam.zstd.compress(plain))),
        (Codec.GZIP, gzip.compress(plain)),
        (Codec.LZ4_RAW, bytes(cramjam.lz4.compress_block(plain, store_size=False))),
    ):
        try:
            found = joined(codec, extra, packed, len(plain))
        except Unsupported:
            assert codec == Codec.ZSTD
            assert packed[4] & 4  # frames with checksums
            continue
        assert decompress(codec, found, len(extra) + len(plain)) == extra + plain


@pytest.mark.parametrize("codec", [Codec.BROTLI, Codec.LZO, Codec.LZ4, 99])
def test_other_codecs_are_refused(codec: int):
    with pytest.raises(Unsupported, match="in front of what"):
        prepended(codec, b"x", b"abcdefgh", b"", 8)


def test_streams_that_end_too_soon_are_refused():
    for codec, data in ((Codec.LZ4_RAW, b"\xff\xff"), (Codec.SNAPPY, b"\x80"), (Codec.ZSTD, b"")):
        with pytest.raises(Unsupported):
            prepended(codec, b"x", data, b"", 8)


@given(first=st.binary(max_size=50), rest=st.binary(max_size=50))
def test_checksums_are_put_together_and_taken_apart(first: bytes, rest: bytes):
    both = zlib.crc32(first + rest)
    assert crc_of_both(first, zlib.crc32(rest), len(rest)) == both
    assert crc_behind(first, both, len(rest)) == zlib.crc32(rest)
