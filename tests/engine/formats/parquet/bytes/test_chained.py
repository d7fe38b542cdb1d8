from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadPage
from engine.formats.parquet.bytes.chained import decode_chained
from engine.formats.parquet.bytes.footer import Leaf, Type
from tests.engine.formats.parquet.bytes.chained_file import (
    encode_chained,
    read_chained,
    write_chained,
)

TEXT = Leaf(0, ("x",), (), Type.BYTE_ARRAY, 0, 0, 0)
FIXED = replace(TEXT, physical=Type.FIXED_LEN_BYTE_ARRAY, type_length=3)
words = st.lists(st.binary(max_size=3).map(lambda tail: b"shared"[: len(tail) * 2] + tail))


@given(st.lists(words, min_size=1, max_size=4))
def test_pages_continue_each_other(pages):
    previous = b""
    for values in pages:
        section = encode_chained(TEXT, previous, values)
        assert decode_chained(TEXT, section, len(values), previous).to_pylist() == values
        previous = values[-1] if values else previous


def test_fixed_length_values_have_their_type_and_length():
    section = encode_chained(TEXT, b"abc", [b"abd", b"xyz"])
    found = decode_chained(FIXED, section, 2, b"abc")
    assert found.type == pa.binary(3)
    assert found.to_pylist() == [b"abd", b"xyz"]
    with pytest.raises(BadPage):
        decode_chained(FIXED, encode_chained(TEXT, b"", [b"four"]), 1, b"")


def test_another_previous_value_or_a_damaged_page_is_an_error():
    section = encode_chained(TEXT, b"shared prefix", [b"shared prefix 1", b"shared prefix 2"] * 99)
    with pytest.raises(BadPage):
        decode_chained(TEXT, section, 198, b"short")
    for length in range(0, len(section), 7):
        with pytest.raises(BadPage):
            decode_chained(TEXT, section[:length], 198, b"shared prefix")


def test_the_files_of_the_tests_are_what_they_should_be(tmp_path):
    path = tmp_path / "chained.parquet"
    texts = [None if i % 11 == 0 else f"prefix {i}" for i in range(3000)]
    write_chained(pa.table({"text": texts}), path, max_rows_per_page=100)
    assert read_chained(path) == {"text": texts}
