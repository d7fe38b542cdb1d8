import fastparquet
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadPage
from engine.formats.parquet.bytes.footer import Encoding, Leaf, Type
from engine.formats.parquet.bytes.levels import encode_dictionary_indices
from engine.formats.parquet.bytes.one_page import (
    cut_values,
    decode_values,
    encode_values,
    mapped_indices,
)
from engine.formats.parquet.bytes.thrift import I32
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

FIXED = {
    "int32": (Type.INT32, 0, pa.int32()),
    "int64": (Type.INT64, 0, pa.int64()),
    "float": (Type.FLOAT, 0, pa.float32()),
    "double": (Type.DOUBLE, 0, pa.float64()),
    "fixed": (Type.FIXED_LEN_BYTE_ARRAY, 5, pa.binary(5)),
}
NUM_VALUES = 1000


def column(physical: Type, length: int = 0) -> Leaf:
    return Leaf(0, ("v",), (), physical, length, 0, 0)


def arrows_page(array: pa.Array) -> bytes:
    """The values section that Arrow's own writer makes."""
    schema = pa.schema([pa.field("v", array.type, nullable=False)])
    table = pa.Table.from_arrays([array], schema=schema)
    file = ParquetFile.written(table, use_dictionary=False, compression="none")
    ((leaf, chunk, num_rows),) = file.chunks()
    pages = file.walked(leaf, chunk, num_rows)
    assert pages.num_pages == 1
    return file.page(pages, 0)[1]


@pytest.mark.parametrize("name", FIXED)
def test_plain_values_of_one_width_are_what_arrow_writes(name):
    physical, length, kind = FIXED[name]
    raw = np.random.default_rng(1).bytes(NUM_VALUES * (length or kind.bit_width // 8))
    given_values = pa.Array.from_buffers(kind, NUM_VALUES, [None, pa.py_buffer(raw)])
    section = arrows_page(given_values)
    leaf = column(physical, length)
    values = decode_values(leaf, Encoding.PLAIN, section, NUM_VALUES)
    assert values.view(kind).buffers()[1].to_pybytes() == raw
    assert encode_values(leaf, Encoding.PLAIN, values) == section
    some = arrows_page(given_values[100:250])
    assert encode_values(leaf, Encoding.PLAIN, values[100:250]) == some
    assert bytes(cut_values(leaf, Encoding.PLAIN, section, values[100:250])) == some


def test_a_length_that_a_writer_gives_to_numbers_is_not_theirs(tmp_path):
    path = tmp_path / "a.parquet"
    fastparquet.write(str(path), pd.DataFrame({"v": np.arange(9)}))
    (leaf,) = ParquetFile.of(path.read_bytes()).footer.leaves
    assert leaf.element[2] == (I32, 64)
    assert leaf.type_length == 0
    assert decode_values(leaf, Encoding.PLAIN, b"", 0).type == pa.int64()


@pytest.mark.parametrize("name", FIXED)
def test_plain_values_that_end_early_are_damaged(name):
    physical, length, kind = FIXED[name]
    section = bytes(NUM_VALUES * (length or kind.bit_width // 8) - 1)
    with pytest.raises(BadPage):
        decode_values(column(physical, length), Encoding.PLAIN, section, NUM_VALUES)


@st.composite
def pages_of_indices(draw):
    """The size of a dictionary, and pages of indices into it."""
    size = draw(st.integers(1, 3000))
    runs = st.tuples(st.integers(0, size - 1), st.integers(1, 600))
    pages = draw(st.lists(st.lists(runs, max_size=20), max_size=5))
    return size, [np.repeat(*np.array(page or np.empty((0, 2)), int).T) for page in pages]


@given(pages_of_indices(), st.randoms(use_true_random=False))
def test_indices_are_mapped_by_arrow(case, random):
    size, pages = case
    mapping = np.array([random.getrandbits(32) for _ in range(size)], np.uint32)
    width = (size - 1).bit_length()
    sections = [(encode_dictionary_indices(width, page), len(page)) for page in pages]
    found = mapped_indices(mapping, sections)
    assert found.dtype == np.uint32
    assert found.tolist() == [number for page in pages for number in mapping[page].tolist()]


@given(st.lists(st.binary(max_size=9), min_size=1), st.data())
@pytest.mark.parametrize(
    "encoding", [Encoding.PLAIN, Encoding.DELTA_LENGTH_BYTE_ARRAY, Encoding.DELTA_BYTE_ARRAY]
)
def test_a_slice_of_texts_is_cut_as_it_would_be_encoded(encoding, texts, data):
    leaf = column(Type.BYTE_ARRAY)
    section = encode_values(leaf, encoding, pa.array(texts, pa.binary()))
    values = decode_values(leaf, encoding, memoryview(section), len(texts))
    start = data.draw(st.integers(0, len(texts) - 1))
    some = values[start : data.draw(st.integers(start + 1, len(texts)))]
    assert bytes(cut_values(leaf, encoding, section, some)) == encode_values(leaf, encoding, some)


def test_an_index_behind_the_mappings_end_is_damage():
    sections = [(encode_dictionary_indices(3, np.array([1, 2, 5])), 3)] * 2
    assert mapped_indices(np.arange(6, dtype=np.uint32), sections).tolist() == [1, 2, 5] * 2
    with pytest.raises(BadPage):
        mapped_indices(np.arange(5, dtype=np.uint32), sections)


def test_indices_that_end_early_are_damage():
    section = encode_dictionary_indices(9, np.arange(500))
    mapping = np.arange(512, dtype=np.uint32)
    for size in (0, 1, 100, len(section) - 10):
        with pytest.raises(BadPage):
            mapped_indices(mapping, [(section, 500), (section[:size], 500)])
