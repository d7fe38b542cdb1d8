"""What the head of a frame tells: the codec, and what decoding it takes."""

from __future__ import annotations

import lzma

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.lines.codecs import CODECS, HEAD_BYTES, MIB, codec_at, is_compressed
from engine.settings import CODECS as NUMBERS

TEXT = b"id,n\n" + b"1,2\n" * 1_000


@pytest.mark.parametrize("name", CODECS)
def test_a_frame_is_known_and_decoded(name: str) -> None:
    codec = CODECS[name]
    assert name in NUMBERS
    made = codec.compressor(codec.level(None))
    frame = made.compress(TEXT) + made.flush()
    assert codec_at(frame) is codec
    decoder, text, at = codec.decoder(frame[:HEAD_BYTES]), b"", 0
    while not decoder.is_done:
        data = frame[at : at + 50] if decoder.wants else b""
        text += decoder.decode(data, 100)
        at += len(data) - decoder.num_left
    assert (text, at) == (TEXT, len(frame))


@given(st.text(alphabet="BZh91AY&SY,ab(\n", max_size=12))
def test_text_is_no_frame(text: str) -> None:
    assert not is_compressed(text.encode()) or text.startswith("BZh")


@pytest.mark.parametrize("log", range(10, 28))
def test_the_window_of_zstd_is_read(log: int) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: log}
    made = zstd.ZstdCompressor(options=options)
    frame = made.compress(TEXT) + made.flush()
    assert CODECS["zstd"].decoder_bytes(frame) == (1 << log) + MIB


@pytest.mark.parametrize("num_bytes", [1 << 10, 300 << 10, 4 * MIB])
def test_content_of_one_segment_is_the_window(num_bytes: int) -> None:
    frame = zstd.compress(bytes(num_bytes))
    # Where the level's window is smaller, that is taken.
    assert CODECS["zstd"].decoder_bytes(frame) == min(num_bytes, 2 * MIB) + MIB


@pytest.mark.parametrize("num_bytes", [4096, 1 * MIB, 3 * MIB, 48 * MIB])
@pytest.mark.parametrize("before", [[], [{"id": lzma.FILTER_DELTA, "dist": 4}]])
@pytest.mark.parametrize("check", [lzma.CHECK_NONE, lzma.CHECK_CRC64])
def test_the_dictionary_of_xz_is_read(
    num_bytes: int, before: list[dict[str, int]], check: int
) -> None:
    filters = [*before, {"id": lzma.FILTER_LZMA2, "dict_size": num_bytes, "preset": 0}]
    frame = lzma.compress(TEXT, check=check, filters=filters)
    assert CODECS["xz"].decoder_bytes(frame) == num_bytes + MIB
    damaged = bytearray(frame)
    damaged[14] ^= 1  # its checksum tells, and the library says so
    assert CODECS["xz"].decoder_bytes(bytes(damaged)) == MIB
