"""Encodings beside UTF-8: text comes back as its bytes were, and marks are seen where they are."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadSetting
from engine.formats.lines.encodings import (
    _SINGLE,
    _WIDE,
    Encoding,
    encoding_at,
    encoding_named,
)


@pytest.mark.parametrize("name", sorted(_SINGLE))
def test_a_single_byte_encoding_has_ascii_and_a_character_a_byte(name: str):
    assert codecs.lookup(name).name == name
    assert bytes(range(128)).decode(name) == bytes(range(128)).decode()
    encoding = Encoding(name)
    for number in range(256):
        byte = bytes([number])
        text = encoding.utf8(byte)
        assert encoding.back(text) == byte
        assert (b"\n" in text, b'"' in text) == (byte == b"\n", byte == b'"')


@given(st.binary(max_size=60), st.sampled_from([*sorted(_SINGLE), *_WIDE]))
def test_any_bytes_come_back(data: bytes, name: str):
    encoding = Encoding(name)
    data = data[: len(data) // encoding.unit_bytes * encoding.unit_bytes]
    text = encoding.utf8(data)
    assert encoding.back(text) == data
    assert encoding.num_units(text) == len(data) // encoding.unit_bytes
    try:
        data.decode(name)
    except UnicodeDecodeError:  # then nobody reads it as UTF-8 either
        with pytest.raises(UnicodeDecodeError):
            text.decode()
    else:
        assert text.decode() == data.decode(name)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        *(("utf-8", ""), ("UTF8", ""), ("ascii", ""), ("latin-1", "iso8859-1")),
        *(("windows-1252", "cp1252"), ("ISO-8859-15", "iso8859-15"), ("UTF-16LE", "utf-16-le")),
    ],
)
def test_an_encoding_has_many_names(said: str, kept: str):
    assert encoding_named(said) == kept


@pytest.mark.parametrize("name", ["gbk", "shift_jis", "utf-32", "cp037", "rot13", "nope", ""])
def test_others_are_refused_by_name(name: str):
    with pytest.raises(BadSetting, match="--encoding is"):
        encoding_named(name)


@pytest.mark.parametrize(
    ("head", "wanted", "message"),
    [
        (b"\xef\xbb\xbfid", "iso8859-1", "leave --encoding out"),
        (b"\xff\xfei\0d\0", "cp1252", "say --encoding utf-16-le"),
        (b"\xfe\xff\0i\0d", "utf-16-le", "say --encoding utf-16-be"),
        (b"i\0d\0", "utf-16", "has no byte order mark"),
    ],
)
def test_a_mark_that_says_another_encoding_is_refused(head: bytes, wanted: str, message: str):
    with pytest.raises(BadSetting, match=message):
        encoding_at(head, wanted)
