"""Row groups that are moved in their bytes are what decoding, changing and encoding makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import _Reader, read_chunk_table
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.bytes.group_bytes import Odd, Scanned, Scanner
from engine.formats.parquet.bytes.thrift import Struct
from tests.engine.formats.parquet.profiler.test_profiler import opened, same
from tests.engine.running import parts_of
from tests.sources import SOURCES

Files = Callable[[str], Path]


class Decodes(Scanner):
    """Finds nothing that it knows."""

    num_asked = 0

    def scan(self, data: bytes) -> Scanned:
        Decodes.num_asked += 1
        raise Odd


@pytest.mark.ways(12)
@pytest.mark.parametrize("name", SOURCES)
def test_parts_are_the_same_bytes_whether_row_groups_are_decoded(
    name: str, source_file: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, made = str(source_file(name)), []
    for scanner in (Scanner, Decodes):
        monkeypatch.setattr("engine.formats.parquet.writers.splice.Scanner", scanner)
        dest = tmp_path / scanner.__name__
        engine.split(source, str(dest), cut="row-group", parts=1, workers=1, fsync=False)
        made += [path.read_bytes() for path in parts_of(dest)]
    assert made[0] == made[1]
    assert Decodes.num_asked


@pytest.mark.parametrize("written", [1, 3, 5], ids=[-1, -2, -3])
def test_a_type_below_zero_is_none(written: int, tmp_path: Path) -> None:
    """Half of what is written would be the number of a type that there is."""
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(1000)}), source, row_group_size=500)
    data = bytearray(source.read_bytes())
    at = data.rindex(b"\x15\x04\x19")  # INT64, and the list of encodings behind it
    data[at + 1] = written
    source.write_bytes(data)
    with pytest.raises(BadStructure, match="column a of row group 1 has another type"):
        engine.split(source, tmp_path / "parts", parts=2)


USUAL_ITEMS, USUAL_NAME_BYTES = 4, 9
MANY_ITEMS, LONG_NAME_BYTES = 16, 140  # more than a header of one byte counts
NUMBERS = st.integers(0, 300) | st.integers(2**31, 2**62)
BOUNDS = st.binary(max_size=60) | st.binary(min_size=120, max_size=300)


def optional(fields: dict[spec.Field, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def chunks(draw: st.DrawFn, path: tuple[bytes, ...], most_items: int) -> Struct:
    """Return a column chunk as writers make them, with any of the fields that may be missing."""
    meta, own, told = spec.ColumnMetaData, spec.ColumnChunk, spec.Statistics
    statistics = optional(
        {told.MAX: BOUNDS, told.MIN: BOUNDS, told.NULL_COUNT: NUMBERS, told.MAX_VALUE: BOUNDS}
    )
    page = st.fixed_dictionaries(
        dict(zip(spec.PageEncodingStats.fields.values(), [st.integers(0, 3)] * 3, strict=True))
    )
    histogram = st.lists(NUMBERS, max_size=most_items)
    size = spec.SizeStatistics
    sizes = optional(
        {size.UNENCODED_BYTE_ARRAY_DATA_BYTES: NUMBERS, size.REPETITION_LEVEL_HISTOGRAM: histogram}
    )
    fields = {
        meta.TYPE: draw(st.integers(0, 7)),
        meta.ENCODINGS: draw(st.lists(st.integers(0, 9), max_size=most_items)),
        meta.PATH_IN_SCHEMA: list(path),
        meta.CODEC: draw(st.integers(0, 7)),
        meta.NUM_VALUES: draw(NUMBERS),
        meta.TOTAL_UNCOMPRESSED_SIZE: draw(NUMBERS),
        meta.TOTAL_COMPRESSED_SIZE: draw(NUMBERS),
        meta.DATA_PAGE_OFFSET: draw(NUMBERS),
    }
    fields |= draw(
        optional(
            {
                meta.DICTIONARY_PAGE_OFFSET: NUMBERS,
                meta.STATISTICS: statistics.map(spec.struct_of),
                meta.ENCODING_STATS: st.lists(page.map(spec.struct_of), max_size=most_items),
                meta.BLOOM_FILTER_OFFSET: NUMBERS,
                meta.BLOOM_FILTER_LENGTH: st.integers(0, 2**31 - 1),
                meta.SIZE_STATISTICS: sizes.map(spec.struct_of),
            }
        )
    )
    places = {
        own.OFFSET_INDEX_OFFSET: NUMBERS,
        own.OFFSET_INDEX_LENGTH: st.integers(0, 2**31 - 1),
        own.COLUMN_INDEX_OFFSET: NUMBERS,
        own.COLUMN_INDEX_LENGTH: st.integers(0, 2**31 - 1),
    }
    fields = dict(sorted(fields.items()))
    there = {own.FILE_OFFSET: draw(NUMBERS), own.META_DATA: spec.struct_of(fields)}
    return spec.struct_of(there | dict(sorted(draw(optional(places)).items())))


@st.composite
def footers(draw: st.DrawFn) -> Footer:
    """Return a footer of two row groups of one column, at any depth."""
    most_items, most_bytes = draw(
        st.sampled_from([(USUAL_ITEMS, USUAL_NAME_BYTES)] * 4 + [(MANY_ITEMS, LONG_NAME_BYTES)])
    )
    names = st.binary(min_size=1, max_size=most_bytes)
    path, element = draw(st.lists(names, min_size=1, max_size=4)), spec.SchemaElement
    schema = [{element.NAME: name, element.NUM_CHILDREN: 1} for name in [b"root", *path[:-1]]]
    schema.append({element.TYPE: 1, element.NAME: path[-1]})
    group = spec.RowGroup
    places: dict[spec.Field, st.SearchStrategy[Any]] = {
        group.FILE_OFFSET: NUMBERS,
        group.TOTAL_COMPRESSED_SIZE: NUMBERS,
        group.ORDINAL: st.integers(-1, 2**15 - 1),
    }
    groups = [
        {
            group.COLUMNS: [draw(chunks(tuple(path), most_items))],
            group.TOTAL_BYTE_SIZE: draw(NUMBERS),
            group.NUM_ROWS: draw(NUMBERS),
        }
        | dict(sorted(draw(optional(places)).items()))
        for _ in range(2)
    ]
    made = {
        spec.FileMetaData.VERSION: 2,
        spec.FileMetaData.SCHEMA: map(spec.struct_of, schema),
        spec.FileMetaData.NUM_ROWS: 1,
        spec.FileMetaData.ROW_GROUPS: map(spec.struct_of, groups),
    }
    return Footer(thrift.encode(spec.struct_of(made)))


@given(footer=footers())
def test_whatever_fields_a_chunk_has_it_is_read_as_with_care(footer: Footer) -> None:
    careful = _Reader(Scanner(footer.path_forms))
    for index in range(footer.num_row_groups):
        careful._groups.append(careful._carefully(footer.row_group(index)))
    table = read_chunk_table(footer)
    assert same(table, careful.table())
    for index, told in enumerate(table.column(0)):
        (chunk,) = footer.row_group(index).columns
        for name in (*told._fields, "range"):
            assert getattr(told, name) == getattr(chunk, name)


def test_chunks_of_the_usual_form_are_scanned(source_file: Files) -> None:
    """Long bounds do not make a chunk odd; a path that the schema has not does."""
    footer = opened(source_file("tpch-orders")).footer
    scanner = Scanner(footer.path_forms)
    assert all(len(scanner.scan(data).numbers) == len(footer.leaves) for data in footer.groups)
    other = Scanner(footer.path_forms._replace(lengths=frozenset([1])))
    with pytest.raises(Odd):
        other.scan(footer.row_group_data(0))


def test_an_element_that_no_group_claims_needs_no_name(source_file: Files) -> None:
    """Whoever compares the schema with the columns tells what is wrong with such a file."""
    footer = opened(source_file("tpch-orders")).footer
    kind, (item, elements) = footer.struct[spec.FileMetaData.SCHEMA]
    nameless = spec.struct_of({spec.SchemaElement.TYPE: 1})
    more = {spec.FileMetaData.SCHEMA: (kind, thrift.Sequence(item, [*elements, nameless]))}
    longer = Footer(thrift.encode(footer.struct | more))
    assert longer.path_forms == footer.path_forms
