from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadPage
from engine.formats.parquet.bytes.codecs import compress
from engine.formats.parquet.bytes.footer import MAGIC, Encoding, part_footer, seal
from engine.formats.parquet.bytes.levels import (
    PageLevels,
    bit_width,
    count_row_starts,
    decode_bit_packed,
    decode_dictionary_indices,
    decode_hybrid,
    encode_dictionary_indices,
    encode_hybrid,
    read_levels,
    row_starts,
    slice_rows,
    write_levels,
)
from engine.formats.parquet.bytes.pages import PageType, V2Counts, rewritten_header
from engine.formats.parquet.bytes.thrift import I64, LIST, STRUCT, Sequence
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.shared import each_shared_file

WIDTHS = st.integers(0, 32)


@st.composite
def numbers(draw):
    """A bit width and numbers of it, with runs of all lengths."""
    width = draw(WIDTHS)
    highest = (1 << width) - 1
    runs = st.tuples(st.integers(0, highest), st.integers(1, 60))
    single = st.tuples(st.integers(0, highest), st.just(1))
    pieces = draw(st.lists(runs | single, max_size=60))
    return width, np.array([value for value, count in pieces for _ in range(count)], np.uint32)


@given(numbers())
def test_the_hybrid_survives_the_round_trip(case):
    width, values = case
    raw = encode_hybrid(values, width)
    assert decode_hybrid(raw, width, len(values)).tolist() == values.tolist()


@given(numbers())
def test_dictionary_indices_survive_the_round_trip(case):
    width, values = case
    section = encode_dictionary_indices(width, values)
    found = decode_dictionary_indices(section, len(values))
    assert found[0] == width
    assert found[1].tolist() == values.tolist()


def hybrid(width, runs):
    """The bytes of runs, however short: a list of values for each bit-packed one, else a pair."""
    out = bytearray()
    for run in runs:
        is_packed = isinstance(run, list)
        head = len(run) // 8 << 1 | 1 if is_packed else run[1] << 1
        while head > 127:
            out.append(head & 127 | 128)
            head >>= 7
        out.append(head)
        if is_packed:
            bits = sum(value << place * width for place, value in enumerate(run))
            out += bits.to_bytes(len(run) * width // 8, "little")
        else:
            out += run[0].to_bytes((width + 7) // 8, "little")
    return bytes(out)


@st.composite
def hybrids(draw):
    """A bit width and runs of it, of any length, also of none."""
    width = draw(st.integers(1, 32))
    values = st.integers(0, (1 << width) - 1)
    groups = st.integers(0, 3) | st.just(70)  # whose header takes two bytes
    packed = groups.flatmap(lambda n: st.lists(values, min_size=8 * n, max_size=8 * n))
    repeated = st.tuples(values, st.integers(0, 9) | st.just(300))
    return width, draw(st.lists(packed | repeated, max_size=8))


@given(hybrids(), st.data())
def test_runs_of_any_writer_are_read_and_those_cut_short_are_refused(case, data):
    width, runs = case
    values = [x for run in runs for x in (run if isinstance(run, list) else [run[0]] * run[1])]
    raw = hybrid(width, runs)
    number = data.draw(st.integers(0, len(values)))
    assert decode_hybrid(b"xy" + raw, width, number, 2).tolist() == values[:number]
    with pytest.raises(BadPage):
        decode_hybrid(raw, width, len(values) + 1)
    if runs and values and len(runs[-1]) and runs[-1] != (runs[-1][0], 0):
        with pytest.raises(BadPage):
            decode_hybrid(raw[:-1], width, len(values))


def test_a_run_of_no_values_is_passed_over():
    assert decode_hybrid(hybrid(17, [[], (5, 0), (7, 3)]), 17, 3).tolist() == [7, 7, 7]


@given(numbers())
def test_the_hybrid_is_never_larger_than_bit_packing_and_a_little(case):
    width, values = case
    packed = -(-len(values) // 8) * width
    headers = -(-len(values) // 504)
    assert len(encode_hybrid(values, width)) <= packed + headers + 4


@pytest.mark.parametrize("width", [1, 2, 5, 8, 12, 17, 24, 31, 32])
def test_random_values_are_bit_packed_as_by_usual_writers(width):
    values = np.random.default_rng(width).integers(0, 1 << width, 20_000, dtype=np.uint32)
    raw = encode_hybrid(values, width)
    assert len(raw) <= 20_000 * width / 8 + 40 + 2
    assert decode_hybrid(raw, width, 20_000).tolist() == values.tolist()


@pytest.mark.parametrize("width", [1, 3, 12, 20])
def test_long_repeats_become_runs(width):
    values = np.repeat(np.arange(100) % (1 << width), 150)
    raw = encode_hybrid(values, width)
    assert len(raw) < 100 * (2 + 4 + width)
    assert decode_hybrid(raw, width, len(values)).tolist() == values.tolist()


def test_one_value_is_one_run():
    assert encode_hybrid(np.full(1000, 3), 2) == bytes((0xD0, 0x0F, 3))
    assert encode_hybrid(np.zeros(1000), 0) == bytes((0xD0, 0x0F))
    assert encode_hybrid(np.zeros(0), 7) == b""


def test_a_known_bit_packed_run_is_packed_low_bits_first():
    values = np.arange(8)  # the example of Encodings.md
    packed = bytes((0b10001000, 0b11000110, 0b11111010))
    assert encode_hybrid(values, 3) == b"\x03" + packed
    assert decode_hybrid(b"\x03" + packed, 3, 8).tolist() == values.tolist()


def test_a_known_legacy_run_is_packed_high_bits_first():
    packed = bytes((0b00000101, 0b00111001, 0b01110111))  # the example of Encodings.md
    assert decode_bit_packed(packed, 3, 8).tolist() == list(range(8))
    assert decode_bit_packed(packed, 3, 5).tolist() == list(range(5))
    assert decode_bit_packed(b"", 0, 5).tolist() == [0] * 5
    with pytest.raises(BadPage):
        decode_bit_packed(packed, 3, 9)


def test_a_last_run_without_its_padding_is_read():
    whole = encode_hybrid(np.arange(100) % 32, 5)
    needed = 1 + (100 * 5 + 7) // 8
    assert decode_hybrid(whole[:needed], 5, 100).tolist() == (np.arange(100) % 32).tolist()
    with pytest.raises(BadPage):
        decode_hybrid(whole[: needed - 1], 5, 100)


def test_padding_inside_a_section_of_runs_is_not_taken_for_values():
    raw = bytes((0x03, 0b10001000, 0b11000110, 0b11111010, 0x08, 5))
    assert decode_hybrid(raw, 3, 12).tolist() == [*range(8), 5, 5, 5, 5]
    mixed = bytes((0x08, 5, 0x03, 0b10001000, 0b11000110, 0b11111010))
    assert decode_hybrid(mixed, 3, 7).tolist() == [5, 5, 5, 5, 0, 1, 2]


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 500))
def test_rubbish_is_refused_or_read_but_never_crashes(data, width, count):
    with suppress(BadPage):
        assert len(decode_hybrid(data, width, count)) == count


def sample():
    num_rows = 4_000
    lists = [
        None if row % 7 == 0 else [None] * (row % 2) + [row] * (row % 5) for row in range(num_rows)
    ]
    return pa.table(
        {
            "list": pa.array(lists, pa.list_(pa.int64())),
            "word": pa.array(
                [None if row % 5 == 0 else f"w{row % 300}" for row in range(num_rows)]
            ),
            "must": pa.array(range(num_rows), pa.int32()),
        },
        schema=pa.schema(
            [
                ("list", pa.list_(pa.int64())),
                ("word", pa.string()),
                pa.field("must", pa.int32(), nullable=False),
            ]
        ),
    )


def file_of(version, **options):
    options = {"data_page_size": 2048, "write_page_index": True} | options
    return ParquetFile.written(sample(), data_page_version=version, **options)


def every_page(file):
    for leaf, chunk, num_rows in file.chunks():
        pages = file.indexed(leaf, chunk, num_rows)
        for number in range(pages.num_pages):
            yield leaf, pages.rows(number), *file.plain_page(chunk, pages, number)


def test_levels_said_to_be_bit_packed_are_not_taken_for_it_where_they_are_rle():
    """DuckDB reads levels as RLE whatever a header says, Arrow as it says."""
    told = {"def_level_encoding": Encoding.BIT_PACKED, "rep_level_encoding": Encoding.BIT_PACKED}
    num_pages = 0
    for leaf, _, header, body in every_page(file_of("1.0")):
        highest = {"max_repetition": leaf.max_repetition, "max_definition": leaf.max_definition}
        if leaf.max_repetition or leaf.max_definition:
            with pytest.raises(BadPage, match="are RLE"):
                read_levels(replace(header, **told), body, **highest)
        if leaf.max_definition == 1 and not leaf.max_repetition:
            levels = read_levels(header, body, **highest)
            packed = np.packbits(levels.definition.astype(bool)).tobytes()
            found = decode_bit_packed(packed, 1, levels.num_entries)
            assert np.array_equal(found, levels.definition)
            low_first = np.packbits(levels.definition.astype(bool), bitorder="little").tobytes()
            if packed == low_first:
                read = read_levels(replace(header, **told), packed + body, **highest)
                assert np.array_equal(read.definition, levels.definition)
            else:
                with pytest.raises(BadPage, match="high bits first"):
                    read_levels(replace(header, **told), packed + body, **highest)
            num_pages += 1
    assert num_pages


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 11])
@given(st.data())
def test_bit_packed_levels_are_read_where_all_readers_agree(width, data):
    """Arrow and parquet-rs take low bits first, the specification and Java high ones."""
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=40))
    bits = [[value >> place & 1 for place in range(width)] for value in values]
    low_first = np.packbits(np.array(bits, bool), bitorder="little").tobytes()
    high_first = np.packbits(np.array(bits, bool)[:, ::-1]).tobytes()
    assert decode_bit_packed(high_first, width, len(values)).tolist() == values
    assert decode_bit_packed(low_first, width, len(values), low_first=True).tolist() == values


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_levels_of_a_writer_are_read_and_written_again(version):
    for leaf, (first, stop), header, body in every_page(file_of(version)):
        highest = {"max_repetition": leaf.max_repetition, "max_definition": leaf.max_definition}
        levels = read_levels(header, body, **highest)
        assert row_starts(levels) == (stop - first, False)
        assert (
            count_row_starts(header, body, max_repetition=leaf.max_repetition).num_rows
            == stop - first
        )
        sections = write_levels(levels, 0, levels.num_entries, max_repetition=leaf.max_repetition)
        is_v2 = header.type is PageType.DATA_V2
        again = (sections.v2() if is_v2 else sections.v1()) + body[levels.values_offset :]
        if is_v2:
            assert header.num_nulls == levels.num_entries - levels.num_values
            assert sections.def_level_bytes <= header.def_level_bytes * 1.05 + 8
            assert sections.rep_level_bytes <= header.rep_level_bytes * 1.05 + 8
            continue
        read_again = read_levels(header, again, **highest)
        for ours, theirs in zip(read_again[:3], levels[:3], strict=True):
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_dictionary_indices_of_a_writer_are_read_and_written_again(version):
    seen = 0
    for leaf, _, header, body in every_page(file_of(version)):
        highest = {"max_repetition": leaf.max_repetition, "max_definition": leaf.max_definition}
        levels = read_levels(header, body, **highest)
        section = body[levels.values_offset :]
        if not header.is_dictionary_encoded:
            continue
        width, indices = decode_dictionary_indices(section, levels.num_values)
        again = encode_dictionary_indices(width, indices)
        assert again[0] == width
        assert decode_dictionary_indices(again, levels.num_values)[1].tolist() == indices.tolist()
        assert len(again) <= len(section) * 1.05 + 8
        seen += 1
    assert seen > 3


@pytest.mark.ways(20)
@pytest.mark.parametrize("path", each_shared_file(but="corrupt"))
def test_levels_of_third_party_files_are_read(path):
    file = ParquetFile.of(path.read_bytes())
    for leaf, chunk, num_rows in file.chunks():
        pages = file.walked(leaf, chunk, num_rows)
        total = 0
        for number in range(pages.num_pages):
            header, body = file.plain_page(chunk, pages, number)
            highest = {"max_repetition": leaf.max_repetition, "max_definition": leaf.max_definition}
            levels = read_levels(header, body, **highest)
            total += row_starts(levels).num_rows
            if header.is_dictionary_encoded:
                decode_dictionary_indices(body[levels.values_offset :], levels.num_values)
        assert total == num_rows


CUTS = (
    st.tuples(st.integers(0, 4_000), st.integers(0, 4_000))
    .map(sorted)
    .filter(lambda rows: rows[0] < rows[1])
)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@settings(max_examples=8)
@given(st.sampled_from(["list", "word", "must"]), CUTS)
def test_another_reader_reads_a_cut_page(version, compression, name, rows):
    table = sample().select([name])
    options = {"data_page_size": 1 << 20, "compression": compression}
    options |= {"write_page_checksum": True, "store_schema": False}
    file = ParquetFile.written(table, data_page_version=version, **options)
    cut = cut_to_rows(file, *rows)
    found = pq.read_table(pa.BufferReader(cut), page_checksum_verification=True)
    assert found.column(0).to_pylist() == table.column(0).to_pylist()[slice(*rows)]


def cut_to_rows(file, start, stop):
    """Return a file of rows of a file that has one column in one dictionary-encoded page."""
    leaf, chunk, num_rows = next(file.chunks())
    pages = file.walked(leaf, chunk, num_rows)
    assert pages.num_pages == 1
    header, body = file.plain_page(chunk, pages, 0)
    highest = leaf.max_repetition
    levels = read_levels(header, body, max_repetition=highest, max_definition=leaf.max_definition)
    cut = slice_rows(levels, start, stop)
    sections = write_levels(levels, cut.first_entry, cut.last_entry, max_repetition=highest)
    width, indices = decode_dictionary_indices(body[levels.values_offset :], levels.num_values)
    values = encode_dictionary_indices(width, indices[cut.first_value : cut.last_value])
    if header.type is PageType.DATA_V2:
        plain_bytes = len(sections.v2()) + len(values)
        packed = compress(chunk.codec, values) if header.is_compressed else values
        packed = sections.v2() + packed
    else:
        plain_bytes = len(sections.v1()) + len(values)
        packed = compress(chunk.codec, sections.v1() + values)
    new_header = rewritten_header(
        header,
        packed,
        uncompressed_bytes=plain_bytes,
        num_values=cut.num_entries,
        v2=V2Counts(
            num_rows=stop - start,
            num_nulls=cut.num_nulls,
            rep_level_bytes=sections.rep_level_bytes,
            def_level_bytes=sections.def_level_bytes,
        ),
    )
    dictionary = file.read(*pages.dictionary)
    new = dictionary + new_header + packed
    meta = {field: entry for field, entry in chunk.meta.items() if field not in (12, 13, 16)}
    meta |= {5: (I64, cut.num_entries), 6: (I64, len(new)), 7: (I64, len(new))}
    meta |= {9: (I64, 4 + len(dictionary)), 11: (I64, 4)}
    column = {2: (I64, 0), 3: (STRUCT, dict(sorted(meta.items())))}
    columns = (LIST, Sequence(STRUCT, [column]))
    group = {1: columns, 2: (I64, len(new)), 3: (I64, stop - start)}
    return MAGIC + new + seal(part_footer(file.footer.struct, [group], stop - start, []))


def levels_of(repetition, definition, max_definition):
    def array(numbers):
        return None if numbers is None else np.array(numbers, np.int32)

    count = len(repetition or definition)
    return PageLevels(count, array(repetition), array(definition), max_definition, 0)


@given(st.data())
def test_a_slice_of_rows_is_what_counting_says(data):
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=20))
    leading = data.draw(st.integers(0, 3))
    repetition = [1] * leading + [int(place > 0) for size in sizes for place in range(size)]
    definition = data.draw(
        st.lists(st.integers(0, 2), min_size=len(repetition), max_size=len(repetition))
    )
    if not repetition:
        return
    levels = levels_of(repetition, definition, 2)
    start = data.draw(st.integers(-1, len(sizes)))
    stop = data.draw(st.integers(max(start, 0), len(sizes)))
    cut = slice_rows(levels, start, stop)
    owner = np.cumsum(np.array(repetition) == 0) - 1  # -1 for what continues a row before
    taken = np.flatnonzero((owner >= start) & (owner < stop))
    assert cut.num_entries == len(taken)
    if len(taken):
        assert (cut.first_entry, cut.last_entry) == (taken[0], taken[-1] + 1)
    has_value = np.array(definition) == 2
    assert cut.num_values == has_value[taken].sum()
    assert cut.first_value == has_value[: cut.first_entry].sum()
    assert cut.num_nulls == cut.num_entries - cut.num_values


def test_rows_of_flat_pages_are_entries():
    assert slice_rows(levels_of(None, [1, 0, 1, 1], 1), 1, 3) == (1, 3, 1, 2)
    flat = PageLevels(4, None, None, 0, 0)
    assert slice_rows(flat, 1, 4) == (1, 4, 1, 4)
    assert slice_rows(flat, -1, 0) == (0, 0, 0, 0)
    for bad in ((0, 5), (3, 2)):
        with pytest.raises(BadPage):
            slice_rows(flat, *bad)
    with pytest.raises(BadPage):
        slice_rows(levels_of([0, 1], [1, 1], 1), 0, 2)


def test_impossible_levels_are_refused():
    assert bit_width(0) == 0
    assert [bit_width(level) for level in (1, 2, 3, 4)] == [1, 2, 2, 3]
    leaf, _, header, body = next(iter(every_page(file_of("1.0"))))
    with pytest.raises(BadPage, match="levels of"):
        read_levels(header, b"\xff\xff\xff\x7f" + body, max_repetition=1, max_definition=3)
    with pytest.raises(BadPage, match="highest"):
        read_levels(header, body, max_repetition=1, max_definition=2)
    with pytest.raises(BadPage):
        decode_dictionary_indices(b"", 1)
    assert leaf.max_definition == 3
