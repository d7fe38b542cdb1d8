from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadStructure, Encrypted
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.header_table import (
    NO_HEADER,
    UNKNOWN,
    HeaderTable,
    read_header_table,
    walk_headers,
)
from engine.formats.parquet.bytes.pages import read_page_header
from engine.formats.parquet.bytes.thrift import BINARY, I32, I64, STRUCT
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.shared import each_shared_file
from tests.sources import SOURCES

WRITERS = [name for name in SOURCES if not name.startswith("spark")]


def table_of(data, offsets):
    """Read headers, and say how many were not read together with the others."""
    odd = []

    def read(places, length):
        if len(places) == 1 < len(offsets):
            odd.append(places[0])
        return [data[at : at + length] for at in places]

    return read_header_table(read, np.array(offsets, np.int64)), odd


def check_as_one_by_one(data, offsets):
    """The table says of each header what the reader of one says, or that it refuses it."""
    table, odd = table_of(data, offsets)
    for at, offset in enumerate(offsets):
        try:
            header = read_page_header(data[offset:])
        except BadStructure:
            assert table.types[at] == NO_HEADER
            assert at in table.errors
            continue
        num_rows = UNKNOWN if header.num_rows is None else header.num_rows
        assert at not in table.errors
        assert (table.types[at], table.encodings[at]) == (header.type, header.encoding)
        assert (table.num_values[at], table.num_rows[at]) == (header.num_values, num_rows)
        assert table.uncompressed_bytes[at] == header.uncompressed_bytes
        assert table.compressed_bytes[at] == header.compressed_bytes
        assert table.header_bytes[at] == header.header_bytes
        assert table.total_bytes[at] == header.total_bytes
        assert table.is_data[at] == header.is_data
    return odd


def offsets_of(file):
    for chunk in file.chunks():
        with suppress(BadStructure):
            pages = file.walked(*chunk)
            if pages.dictionary is not None:
                yield pages.dictionary.offset
            yield from pages.offsets


@pytest.mark.ways(24)
@pytest.mark.parametrize("name", WRITERS)
def test_headers_of_every_writer_are_read_together(name, source_file):
    data = source_file(name).read_bytes()
    offsets = list(offsets_of(ParquetFile.of(data)))
    assert offsets or name == "pyarrow-zero-rows"
    for offset in check_as_one_by_one(data, offsets):  # has long statistics inside
        assert read_page_header(data[offset:]).header_bytes > 96


@pytest.mark.parametrize("name", ["pyarrow-v1-index", "pyarrow-v2", "pyarrow-overflow"])
def test_pages_that_follow_each_other_are_read_one_by_one(name, source_file):
    data = source_file(name).read_bytes()
    file = ParquetFile.of(data)

    def read(places, length):
        return [data[at : at + length] for at in places]

    for _, chunk, _ in file.chunks():
        place = chunk.range
        offsets, found = walk_headers(read, place.offset, place.end, chunk.num_values)
        expected = read_header_table(read, offsets)
        assert offsets[0] == place.offset
        assert (offsets + found.total_bytes == [*offsets[1:], place.end]).all()
        assert found.num_values[found.is_data].sum() == chunk.num_values
        for numbers in ("types", "num_values", "encodings", "num_rows", "uncompressed_bytes"):
            assert (getattr(found, numbers) == getattr(expected, numbers)).all()
        # What is no header ends the walk, and is told.
        offsets, found = walk_headers(read, place.offset - 1, place.end, chunk.num_values)
        assert (len(offsets) - 1 in found.errors) or len(offsets) > 1


@pytest.mark.ways(10)
@pytest.mark.parametrize("path", each_shared_file())
def test_third_party_headers(path):
    data = path.read_bytes()
    with suppress(Encrypted):
        check_as_one_by_one(data, list(offsets_of(ParquetFile.of(data))))


I32S = st.one_of(st.integers(0, 200), st.integers(-3, (1 << 31) + 3))
STATISTICS = st.fixed_dictionaries(
    {},
    optional={
        1: st.tuples(st.just(BINARY), st.binary(max_size=70)),
        3: st.tuples(st.just(I64), st.integers(-5, 1 << 50)),
        5: st.tuples(st.just(BINARY), st.binary(max_size=20)),
        7: st.sampled_from([(thrift.TRUE, True), (thrift.FALSE, False)]),
        8: st.just((STRUCT, {1: (I32, 3)})),
        40: st.just((I32, 3)),
    },
)
FLAG = st.sampled_from([(thrift.TRUE, True), (thrift.FALSE, False)])


def fields(numbers, extra):
    return st.fixed_dictionaries(
        {number: st.tuples(st.just(I32), I32S) for number in numbers}, optional=extra
    )


STRUCT_OF = {
    0: (5, fields(range(1, 5), {5: st.tuples(st.just(STRUCT), STATISTICS)})),
    2: (7, fields(range(1, 3), {3: FLAG})),
    3: (8, fields(range(1, 7), {7: FLAG, 8: st.tuples(st.just(STRUCT), STATISTICS)})),
}


@st.composite
def headers(draw):
    """Headers that are right, nearly right, or of another form than writers emit."""
    kind = draw(st.sampled_from([0, 2, 3]))
    place, details = STRUCT_OF[kind]
    out = {1: (I32, kind), 2: (I32, draw(I32S)), 3: (I32, draw(I32S))}
    if draw(st.booleans()):
        out[4] = (I32, draw(st.integers(-(1 << 31), (1 << 31) - 1)))
    out[place] = (STRUCT, draw(details))
    if draw(st.integers(0, 9)) == 0:
        out[draw(st.integers(1, 12))] = draw(st.sampled_from([(I32, 1), (BINARY, b"x")]))
    return thrift.encode(out)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(headers(), st.binary(max_size=90)), min_size=1, max_size=12))
def test_any_header_is_read_as_by_itself(found):
    data, offsets = b"", []
    for header, body in found:
        offsets.append(len(data))
        data += header + body
    check_as_one_by_one(data, offsets)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(headers(), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    st.integers(0, 70),
)
def test_mutated_headers_and_the_data_s_end(found, changes, tail):
    data, offsets = bytearray(), []
    for header in found:
        offsets.append(len(data))
        data += header
    for at, byte in changes:
        data[at % len(data)] = byte
    check_as_one_by_one(bytes(data) + bytes(tail), [*offsets, len(data) + tail + 5])


def test_no_header_at_all():
    table, _ = table_of(b"", [])
    assert len(table.types) == 0


@given(st.lists(st.one_of(headers(), st.binary(max_size=9)), min_size=1, max_size=6), st.data())
def test_tables_that_are_joined_keep_their_errors(found, data):
    offsets = np.cumsum([0, *map(len, found[:-1])])
    whole, _ = table_of(b"".join(found), offsets)
    cut = data.draw(st.integers(0, len(found)))
    some = (offsets[:cut], offsets[cut:], offsets[:0])
    joined = HeaderTable.joined([table_of(b"".join(found), each)[0] for each in some])
    assert joined.types.tolist() == whole.types.tolist()
    assert joined.total_bytes.tolist() == whole.total_bytes.tolist()
    assert {at: str(it) for at, it in joined.errors.items()} == {
        at: str(it) for at, it in whole.errors.items()
    }
