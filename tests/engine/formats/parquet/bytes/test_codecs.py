import gzip
import lzma
import tracemalloc
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadPage, Unsupported
from engine.formats.parquet.bytes.codecs import compress, decompress, recompress
from engine.formats.parquet.bytes.footer import Codec
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.shared import each_shared_file

CODECS = [codec for codec in Codec if codec is not Codec.LZO]
PACKING = [codec for codec in CODECS if codec is not Codec.UNCOMPRESSED]
TEXT = b"the quick brown fox jumps over the lazy dog; " * 400


def raw_block(data):
    return pa.Codec("lz4_raw").compress(data, asbytes=True)


def big(number):
    return number.to_bytes(4, "big")


@pytest.mark.parametrize("codec", CODECS)
@given(st.binary(max_size=5_000) | st.integers(0, 300_000).map(bytes))
def test_every_codec_survives_the_round_trip(codec, data):
    packed = compress(codec, data)
    assert decompress(codec, packed, len(data)) == data
    assert compress(codec, data) == packed


@pytest.mark.ways(24)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("source", CODECS)
@given(st.binary(max_size=2_000) | st.integers(0, 300_000).map(bytes))
def test_a_page_in_another_codec_is_what_both_steps_make(source, codec, data):
    packed = recompress(source, compress(source, data), len(data), codec)
    assert bytes(packed) == compress(codec, data)
    assert len(memoryview(packed)) == len(packed)  # or whoever writes it writes more


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("wrong_bytes", [-len(TEXT), -100, 1, 100_000])
def test_another_codec_for_a_damaged_page_is_refused(codec, wrong_bytes):
    packed = compress(codec, TEXT)
    with pytest.raises(BadPage):
        recompress(codec, packed, len(TEXT) + wrong_bytes, Codec.GZIP)
    with pytest.raises(BadPage):
        recompress(codec, packed[:-5], len(TEXT), Codec.UNCOMPRESSED)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("wrong_bytes", [-len(TEXT), -100, -1, 1, 100, 100_000])
def test_another_length_than_promised_is_refused(codec, wrong_bytes):
    with pytest.raises(BadPage):
        decompress(codec, compress(codec, TEXT), len(TEXT) + wrong_bytes)


@pytest.mark.parametrize("codec", PACKING)
@pytest.mark.parametrize("claimed_bytes", [1 << 30, (1 << 31) - 1])
def test_a_size_that_no_data_of_the_length_can_have_takes_no_memory(codec, claimed_bytes):
    packed = compress(codec, TEXT[:30])
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    for unpack in (decompress, lambda *given: recompress(*given, Codec.ZSTD)):
        with pytest.raises(BadPage, match=r"header says"):
            unpack(codec, packed, claimed_bytes)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() < before + (1 << 20)


@pytest.mark.parametrize("codec", PACKING)
def test_what_can_be_packed_best_of_all_is_not_taken_for_damage(codec):
    data = bytes(64 << 20)
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", PACKING)
def test_data_cut_short_is_refused(codec):
    with pytest.raises(BadPage):
        decompress(codec, compress(codec, TEXT)[:-5], len(TEXT))


@pytest.mark.parametrize("codec", PACKING)
@given(st.binary(max_size=200), st.integers(0, 1000))
def test_rubbish_is_refused_or_has_the_length(codec, data, size):
    with suppress(BadPage):
        assert len(decompress(codec, data, size)) == size


@pytest.mark.parametrize("codec", PACKING)
def test_a_page_without_values_may_have_no_data(codec):
    assert decompress(codec, b"", 0) == b""
    assert decompress(codec, compress(codec, b""), 0) == b""


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.BROTLI, Codec.ZSTD])
def test_a_level_is_obeyed(codec):
    noise = lzma.compress(TEXT) + TEXT
    assert len(compress(codec, noise, 9)) <= len(compress(codec, noise, 1))
    assert decompress(codec, compress(codec, noise, 9), len(noise)) == noise


def test_gzip_of_several_members_is_one_page():
    data = gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:])
    assert decompress(Codec.GZIP, data, len(TEXT)) == TEXT


def test_hadoop_lz4_of_several_frames_and_blocks_is_one_page():
    def frame(*pieces):
        blocks = [raw_block(piece) for piece in pieces]
        whole = b"".join(big(len(block)) + block for block in blocks)
        return big(sum(map(len, pieces))) + whole

    one = frame(TEXT)
    assert compress(Codec.LZ4, TEXT) == one
    assert decompress(Codec.LZ4, frame(TEXT[:500]) + frame(TEXT[500:]), len(TEXT)) == TEXT
    assert decompress(Codec.LZ4, frame(TEXT[:500], TEXT[500:9000], TEXT[9000:]), len(TEXT)) == TEXT


def test_codec_5_falls_back_to_an_lz4_frame_and_to_a_raw_block():
    framed = pa.Codec("lz4").compress(TEXT, asbytes=True)
    assert decompress(Codec.LZ4, framed, len(TEXT)) == TEXT
    assert decompress(Codec.LZ4, raw_block(TEXT), len(TEXT)) == TEXT


@pytest.mark.parametrize("codec", [Codec.LZO, 99])
def test_other_codecs_are_unsupported(codec):
    with pytest.raises(Unsupported):
        decompress(codec, b"", 0)
    with pytest.raises(Unsupported):
        compress(codec, b"")


@pytest.mark.ways(20)
@pytest.mark.parametrize("path", each_shared_file(but="corrupt"))
def test_pages_of_third_party_files_decompress(path):
    file = ParquetFile.of(path.read_bytes())
    for leaf, chunk, num_rows in file.chunks():
        pages = file.walked(leaf, chunk, num_rows)
        for number in range(pages.num_pages):
            header, body = file.plain_page(chunk, pages, number)
            assert len(body) == header.uncompressed_bytes
