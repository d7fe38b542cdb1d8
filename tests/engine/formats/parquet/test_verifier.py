"""Verification: equal parts pass, and every planted difference is found and named."""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import (
    BadPage,
    Different,
    NotParquet,
    SourceChanged,
    SourceError,
    Unsupported,
)
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import Footer, footer_range
from engine.formats.parquet.bytes.thrift import BINARY, I16, I32, I64, Struct
from engine.formats.parquet.opened.paged_file import PagedFile
from engine.formats.parquet.verifier import check_part_structure, verify_column, verify_parts
from engine.memory import MIB, PeakMeter, family_bytes
from engine.model import Range, SourceFile
from engine.storage import open_storage

ROWS = 1000
CUTS = (0, 300, 650, ROWS)
NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
OPTIONS = {"row_group_size": 100, "write_page_index": True, "data_page_size": 512}


def table() -> pa.Table:
    number = np.arange(ROWS)
    floats = number / 7
    floats[10], floats[20] = NAN, 0.0
    lists = [None if i % 7 == 0 else list(range(i % 4)) for i in range(ROWS)]
    return pa.table(
        {
            "id": pa.array(number, pa.int64()),
            "text": pa.array([f"value {i % 50}" if i % 11 else None for i in range(ROWS)]),
            "unique": pa.array([f"{i:08x}" * 3 for i in range(ROWS)]),
            "float": pa.array(floats),
            "list": pa.array(lists, pa.list_(pa.int32())),
            "unsigned": pa.array(number * 4_000_000, pa.uint32()),
            "uuid": pa.array([i.to_bytes(16, "big") for i in range(ROWS)], pa.binary(16)),
            "decimal": pa.array(number - 500).cast(pa.decimal128(20, 0)),
            "flag": pa.array(number % 3 == 0),
            "nest": pa.array([{"x": i, "y": None if i % 5 else i} for i in range(ROWS)]),
        }
    )


def described(path: Path) -> SourceFile:
    store, inner = open_storage(str(path))
    return store.stat(inner)


class Split:
    """A source and parts of it that pyarrow wrote, to be damaged one way or another."""

    def __init__(self, folder: Path, data: pa.Table | None = None, **options: Any) -> None:
        self.folder = folder
        self.options = {**OPTIONS, **options}
        self.data = table() if data is None else data
        self.source = folder / "source.parquet"
        pq.write_table(self.data, self.source, **self.options)
        self.parts = [folder / f"part-{i}.parquet" for i in range(len(CUTS) - 1)]
        for index in range(len(self.parts)):
            self.put(index, self.slice(index))

    def slice(self, index: int) -> pa.Table:
        return self.data.slice(CUTS[index], CUTS[index + 1] - CUTS[index])

    def put(self, index: int, data: pa.Table, **options: Any) -> None:
        pq.write_table(data, self.parts[index], **{**self.options, **options})

    def change(self, index: int, column: str, row: int, new: Any, **options: Any) -> None:
        """Write a part again with one value of one row changed."""
        data = self.slice(index)
        values = data[column].to_pylist()
        values[row - CUTS[index]] = new
        place = data.schema.get_field_index(column)
        array = pa.array(values, data.schema.field(column).type)
        data = data.set_column(place, data.schema.field(column), array)
        # Statistics would tell first.
        self.put(index, data, write_statistics=False, write_page_index=False, **options)

    def verify(self, **options: Any) -> int:
        settings = {"memory_bytes": 256 * MIB, "workers": 2, **options}
        parts = [described(path) for path in self.parts]
        return verify_parts([described(self.source)], parts, **settings)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return Split(tmp_path)


def footer_of(path: Path) -> tuple[Footer, int]:
    data = path.read_bytes()
    place = footer_range(data, len(data))
    return Footer(data[place.offset : place.end]), place.offset


def rewrite_footer(path: Path, change: Callable[[Struct], None]) -> None:
    """Decode a footer whole, change it, and put it back."""
    data = path.read_bytes()
    place = footer_range(data, len(data))
    footer, _ = thrift.decode(data[place.offset : place.end])
    change(footer)
    end = thrift.encode(footer)
    path.write_bytes(data[: place.offset] + end + struct.pack("<i", len(end)) + b"PAR1")


def rewrite_chunk(
    path: Path, column: int, change: Callable[[Struct], None], group: int = 0
) -> None:
    """Change the ``ColumnChunk`` structure of one chunk."""

    def inside(footer: Struct) -> None:
        change(footer[4][1].items[group][1][1].items[column])

    rewrite_footer(path, inside)


# -- equal ---------------------------------------------------------------------------------------


def test_equal_parts_pass_and_every_value_counts(split: Split) -> None:
    seen: list[int] = []
    flat = 10 * ROWS  # the struct has two leaves, the list its own count
    entries = sum(1 if i % 7 == 0 else max(1, i % 4) for i in range(ROWS))
    assert split.verify(progress=seen.append, expected_rows=[300, 350, 350]) == flat + entries
    assert sum(seen) == 11 * ROWS


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_any_number_of_workers(split: Split, workers: int) -> None:
    assert split.verify(workers=workers)


def test_other_encodings_row_groups_and_pages_are_equal(split: Split) -> None:
    for index in range(3):
        split.put(
            index,
            split.slice(index),
            row_group_size=77,
            use_dictionary=False,
            data_page_version="2.0",
        )
    assert split.verify()


def test_several_sources(split: Split) -> None:
    halves = [split.folder / f"source-{i}.parquet" for i in range(2)]
    for path, data in zip(halves, (split.data.slice(0, 420), split.data.slice(420)), strict=True):
        pq.write_table(data, path, **OPTIONS)
    parts = [described(path) for path in split.parts]
    sources = [described(path) for path in halves]
    assert verify_parts(sources, parts, memory_bytes=256 * MIB, workers=1) > 0
    with pytest.raises(Different):
        verify_parts(sources[::-1], parts, memory_bytes=256 * MIB, workers=1)


def test_files_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    pq.write_table(table().slice(0, 0), path)
    file = described(path)
    assert verify_parts([file], [file], memory_bytes=256 * MIB, workers=1) == 0


def test_one_column_alone_is_picklable_work(split: Split) -> None:
    import pickle

    call = pickle.loads(pickle.dumps(verify_column))
    parts = [described(path) for path in split.parts]
    assert call([described(split.source)], parts, 0) == ROWS


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "row", "new", "told"),
    [
        ("id", 0, -1, "row 0: 0 in the source, -1 in the part"),
        ("id", 999, 0, "part-2.parquet: column id differs at row 999"),
        ("text", 301, "VALUE 1", r"part-1.parquet: column text differs at row 301: b'value 1'"),
        ("text", 302, None, "row 302: b'value 2' in the source, None in the part"),
        ("text", 11, "", "row 11: None in the source, b'' in the part"),
        ("float", 100, 14.0, "row 100: 14.28"),
        ("list", 700, [], "row 700: None in the source"),
        ("list", 4, None, "row 4"),
        ("list", 5, [None], "row 5"),
        ("unsigned", 999, 5, "row 999"),
        ("uuid", 650, b"x" * 16, "row 650"),
        ("decimal", 650, 151, "row 650"),
        ("flag", 651, False, "row 651: True in the source, False in the part"),
        ("nest", 5, {"x": 5, "y": None}, "column nest.y differs at row 5"),
        ("nest", 6, None, "column nest.[xy] differs at row 6"),
    ],
)
def test_one_changed_value(split: Split, column: str, row: int, new: Any, told: str) -> None:
    part = next(i for i in range(3) if CUTS[i] <= row < CUTS[i + 1])
    split.change(part, column, row, new)
    with pytest.raises(Different, match=told):
        split.verify()


@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize(
    ("row", "bits", "told"),
    [
        (10, 0x7FF8000000000002, r"nan \(bits 9221120237041090561\)"),
        (20, 0x8000000000000000, "0.0 in the source, -0.0 in the part"),
    ],
)
def test_bits_of_floats(split: Split, row: int, bits: int, told: str, use_dictionary: bool) -> None:
    new = struct.unpack("<d", struct.pack("<Q", bits))[0]
    split.change(0, "float", row, new, use_dictionary=use_dictionary)
    with pytest.raises(Different, match=told):
        split.verify()


def test_long_values_are_shortened(tmp_path: Path) -> None:
    split = Split(tmp_path, pa.table({"a": ["x" * 10_000] * ROWS}))
    split.change(1, "a", 400, "x" * 9_999 + "y")
    with pytest.raises(Different) as caught:
        split.verify()
    assert "row 400" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_swapped_rows(split: Split) -> None:
    order = [*range(350)]
    order[100], order[101] = 101, 100
    split.put(1, split.slice(1).take(order))
    with pytest.raises(Different, match=r"part-1.parquet: column .* differs at row 40[01]"):
        split.verify()


def test_parts_in_the_wrong_order(split: Split) -> None:
    split.parts[1], split.parts[2] = split.parts[2], split.parts[1]
    with pytest.raises(Different, match=r"part-2.parquet"):
        split.verify()


@pytest.mark.parametrize("start", [0, 1])
def test_a_missing_row(split: Split, start: int) -> None:
    split.put(1, split.slice(1).slice(start, 349))
    with pytest.raises(Different, match="the parts hold 999 rows together, the source 1,000"):
        split.verify()


def test_a_row_that_moved_to_another_part(split: Split) -> None:
    split.put(0, split.data.slice(0, 301))
    split.put(1, split.data.slice(301, 349))
    assert split.verify()
    with pytest.raises(Different, match=r"part-0.parquet holds 301 rows, its receipt says 300"):
        split.verify(expected_rows=[300, 350, 350])


def test_a_missing_part(split: Split) -> None:
    split.parts.pop()
    with pytest.raises(Different, match="together"):
        split.verify()
    with pytest.raises(Different, match="3 were expected"):
        split.verify(expected_rows=[300, 350, 350])


def test_a_row_twice_and_one_left_out(split: Split) -> None:
    split.put(1, split.slice(1).take([*range(349), 348]))
    with pytest.raises(Different, match="row 649"):
        split.verify()


# -- metadata --------------------------------------------------------------------------------------


def with_metadata(metadata: dict[str, str], path: Path) -> Split:
    return Split(path, table().replace_schema_metadata(metadata))


def test_dropped_key_values(tmp_path: Path) -> None:
    split = with_metadata({"geo": "{}", "owner": "me"}, tmp_path)
    assert split.verify()
    split.put(2, split.slice(2).replace_schema_metadata({"geo": "{}"}), store_schema=False)
    with pytest.raises(Different, match=r"part-2.*key-value metadata"):
        split.verify()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda pairs: pairs[0].update({2: (BINARY, b"{ }")}), "'geo' differs"),
        (lambda pairs: pairs[0].pop(2), "'geo' differs"),
        (lambda pairs: pairs.append({1: (BINARY, b"more")}), "'more' is not in the source"),
        (lambda pairs: pairs.append(pairs[0]), "'geo' is not in the source"),
        (lambda pairs: pairs.pop(0), "'geo' is missing"),
    ],
)
def test_changed_key_values(
    tmp_path: Path, change: Callable[[list[Struct]], None], told: str
) -> None:
    split = with_metadata({"geo": "{}", "owner": "me"}, tmp_path)
    rewrite_footer(split.parts[0], lambda footer: change(footer[5][1].items))
    with pytest.raises(Different, match=told):
        split.verify()


def test_our_own_key_values_are_allowed(split: Split) -> None:
    def add(footer: Struct) -> None:
        footer[5][1].items.append({1: (BINARY, b"evensplit.part"), 2: (BINARY, b"1/3")})

    rewrite_footer(split.parts[0], add)
    assert split.verify()


def pandas_split(path: Path) -> Split:
    frame = pd.DataFrame({"a": np.arange(ROWS)}, index=pd.RangeIndex(100, 100 + 2 * ROWS, 2))
    return Split(path, pa.Table.from_pandas(frame))


def set_key_value(path: Path, key: bytes, change: Callable[[bytes], bytes]) -> None:
    def inside(footer: Struct) -> None:
        for pair in footer[5][1].items:
            if pair[1][1] == key:
                pair[2] = (BINARY, change(pair[2][1]))

    rewrite_footer(path, inside)


def moved(start: int, stop: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        described = json.loads(content)
        described["index_columns"][0] |= {"start": start, "stop": stop}
        return json.dumps(described).encode()

    return change


def moved_in_arrow(start: int, stop: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content)))
        metadata = dict(schema.metadata)
        metadata[b"pandas"] = moved(start, stop)(metadata[b"pandas"])
        return base64.b64encode(schema.with_metadata(metadata).serialize().to_pybytes())

    return change


BOUNDS = [(100, 700), (700, 1400), (1400, 2100)]


def test_a_moved_range_index_is_right(tmp_path: Path) -> None:
    split = pandas_split(tmp_path)
    for path, bounds in zip(split.parts, BOUNDS, strict=True):
        set_key_value(path, b"pandas", moved(*bounds))
    assert split.verify()
    for path, bounds in zip(split.parts, BOUNDS, strict=True):
        set_key_value(path, b"ARROW:schema", moved_in_arrow(*bounds))
    assert split.verify()


def test_a_wrong_range_index_is_found(tmp_path: Path) -> None:
    split = pandas_split(tmp_path)
    set_key_value(split.parts[1], b"pandas", moved(700, 1402))
    with pytest.raises(Different, match=r"part-1.parquet: key-value metadata 'pandas' differs"):
        split.verify()
    set_key_value(split.parts[1], b"pandas", moved(700, 1400))
    set_key_value(split.parts[1], b"ARROW:schema", moved_in_arrow(0, 1))
    with pytest.raises(Different, match="ARROW:schema"):
        split.verify()


def test_other_changes_of_pandas_metadata_are_found(tmp_path: Path) -> None:
    split = pandas_split(tmp_path)

    def change(content: bytes) -> bytes:
        return content.replace(b'"int64"', b'"int32"')

    set_key_value(split.parts[0], b"pandas", change)
    with pytest.raises(Different, match="'pandas' differs"):
        split.verify()


def test_changed_nullability(split: Split) -> None:
    data = split.slice(1)
    field = data.schema.field("id").with_nullable(False)
    split.put(1, data.cast(data.schema.set(0, field)), store_schema=False)
    with pytest.raises(Different, match=r"part-1.parquet: the schema of id differs"):
        split.verify()


@pytest.mark.parametrize(
    ("field", "content", "told"),
    [
        (1, (I32, 1), "format version"),
        (6, (BINARY, b"somebody else"), "created_by"),
        (7, None, "column orders"),
        (99, (BINARY, b"?"), "footer field 99"),
    ],
)
def test_carried_fields(split: Split, field: int, content: Any, told: str) -> None:
    def change(footer: Struct) -> None:
        footer.pop(field, None)
        if content is not None:
            footer[field] = content

    rewrite_footer(split.parts[0], change)
    with pytest.raises(Different, match=f"part-0.parquet: {told}"):
        split.verify()


def test_another_field_id(split: Split) -> None:
    def change(footer: Struct) -> None:
        footer[2][1].items[1][9] = (I32, 77)

    rewrite_footer(split.parts[0], change)
    with pytest.raises(Different, match="schema of id"):
        split.verify()


def test_another_column(split: Split) -> None:
    split.put(0, split.slice(0).drop_columns(["flag"]))
    with pytest.raises(Different, match="the schema has"):
        split.verify()


def test_another_codec(split: Split) -> None:
    split.put(2, split.slice(2), compression="gzip")
    with pytest.raises(Different, match=r"part-2.parquet: column id is compressed with GZIP"):
        split.verify()


# -- statistics --------------------------------------------------------------------------------


def set_statistic(
    path: Path, column: int, field: int, content: tuple[int, Any], group: int = 0
) -> None:
    def change(chunk: Struct) -> None:
        chunk[3][1][12][1][field] = content

    rewrite_chunk(path, column, change, group)


WRONG = [
    (0, 5, (BINARY, struct.pack("<q", 50)), "maximum"),
    (0, 5, (BINARY, struct.pack("<q", 5000)), "maximum"),
    (0, 6, (BINARY, struct.pack("<q", -1)), "minimum"),
    (0, 6, (BINARY, struct.pack("<q", 5000)), "minimum"),
    (0, 3, (I64, 3), "3 nulls"),
    (1, 5, (BINARY, b"value 0"), "maximum"),
    (1, 6, (BINARY, b"value 9"), "minimum"),
    (1, 3, (I64, 0), "0 nulls"),
    (3, 5, (BINARY, struct.pack("<d", 1.0)), "maximum"),
    (4, 3, (I64, 0), "0 nulls"),
    (4, 5, (BINARY, struct.pack("<i", 1)), "maximum"),
    (5, 5, (BINARY, struct.pack("<I", 5)), "maximum"),
    (6, 6, (BINARY, b"\xff" * 16), "minimum"),
    (10, 3, (I64, 0), "0 nulls"),
]


@pytest.mark.parametrize(("column", "field", "content", "told"), WRONG)
def test_wrong_statistics_of_a_cut_row_group(
    split: Split, column: int, field: int, content: tuple[int, Any], told: str
) -> None:
    split.put(1, split.slice(1), row_group_size=150, write_page_index=False)
    assert split.verify()
    set_statistic(split.parts[1], column, field, content, group=1)
    with pytest.raises(Different, match=f"part-1.parquet.*row group 1.*{told}"):
        split.verify()


@pytest.mark.parametrize(("column", "field", "content", "_"), WRONG)
def test_wrong_statistics_of_a_whole_row_group(
    split: Split, column: int, field: int, content: tuple[int, Any], _: str
) -> None:
    for index in range(3):
        split.put(index, split.slice(index), write_page_index=False)
    set_statistic(split.parts[0], column, field, content, group=1)
    with pytest.raises(Different, match=r"part-0.parquet.*row group 1.*statistics"):
        split.verify()


def test_a_bound_that_says_it_is_not_exact_may_be_wide(split: Split) -> None:
    split.put(1, split.slice(1), row_group_size=150, write_page_index=False)
    set_statistic(split.parts[1], 0, 5, (BINARY, struct.pack("<q", 5000)), group=1)
    set_statistic(split.parts[1], 0, 7, (thrift.FALSE, False), group=1)
    assert split.verify()


@pytest.mark.parametrize(
    ("field", "content", "mark", "told"),
    [
        (6, b"value", None, "minimum of b'value', it is b'value 0'"),
        (6, b"value", True, "minimum of b'value', it is b'value 0'"),
        (6, b"value", False, None),
        (6, b"value 1", False, "minimum of b'value 1'"),
        (5, b"value 9:", None, "maximum of b'value 9:', it is b'value 9'"),
        (5, b"value 9:", True, "maximum of b'value 9:', it is b'value 9'"),
        (5, b"value 9:", False, None),
        (5, b"value 8", False, "maximum of b'value 8'"),
    ],
)
def test_a_bound_of_a_cut_row_group_is_a_value_unless_marked(
    split: Split, field: int, content: bytes, mark: bool | None, told: str | None
) -> None:
    split.put(1, split.slice(1), row_group_size=150, write_page_index=False)
    set_statistic(split.parts[1], 1, field, (BINARY, content), group=1)
    if mark is not None:
        kind = thrift.TRUE if mark else thrift.FALSE
        set_statistic(split.parts[1], 1, {5: 7, 6: 8}[field], (kind, mark), group=1)
    if told is None:
        assert split.verify()
        return
    with pytest.raises(Different, match=f"part-1.parquet: column text, row group 1: .*{told}"):
        split.verify()


@pytest.mark.parametrize("kind", ["decimal", "half", "binary"])
def test_bounds_of_every_order_are_recomputed(tmp_path: Path, kind: str) -> None:
    values: dict[str, pa.Array] = {
        "decimal": pa.array(np.arange(ROWS) - 500).cast(pa.decimal128(20, 0)),
        "half": pa.array((np.arange(ROWS) - 500).astype("f2")),
        "binary": pa.array([bytes([i % 251, 255]) for i in range(ROWS)], pa.binary(2)),
    }
    split = Split(tmp_path, pa.table({"a": values[kind]}))
    split.put(1, split.slice(1), row_group_size=150, write_page_index=False)
    assert split.verify()
    rows = footer_of(split.parts[1])[0].row_group(1).columns[0]
    true = thrift.decode(rows.meta[12][1])[0][5][1]
    set_statistic(split.parts[1], 0, 5, (BINARY, true[:-1] + bytes([true[-1] ^ 1])), group=1)
    with pytest.raises(Different, match=r"column a, row group 1: .* maximum"):
        split.verify()


def rename_writer(path: Path, created_by: bytes) -> None:
    rewrite_footer(path, lambda footer: footer.update({6: (BINARY, created_by)}))


OLD = b"parquet-mr version 1.7.0 (build 1)"  # PARQUET-251: nobody believes its bounds of texts
NEW = b"parquet-mr version 1.13.1 (build 2)"


@pytest.mark.parametrize(
    ("of_source", "of_part", "is_found"),
    [(OLD, NEW, True), (OLD, OLD, False), (NEW, OLD, False), (NEW, NEW, False)],
)
def test_a_copied_row_group_whose_bounds_the_part_makes_readers_believe(
    split: Split, of_source: bytes, of_part: bytes, is_found: bool
) -> None:
    split.put(0, split.slice(0), write_page_index=False)
    for path, created_by in ((split.source, of_source), (split.parts[0], of_part)):
        set_statistic(path, 1, 6, (BINARY, b"value 9"), group=1)
        rename_writer(path, created_by)
    files = [described(split.source)], [described(path) for path in split.parts]
    if not is_found:
        assert verify_column(*files, 1) == ROWS
        return
    with pytest.raises(Different, match=r"part-0.parquet: column text, row group 1: .* minimum"):
        verify_column(*files, 1)


# -- row groups side by side -------------------------------------------------------------------


def in_group(path: Path, group: int, change: Callable[[Struct], None]) -> None:
    rewrite_footer(path, lambda footer: change(footer[4][1].items[group]))


@pytest.mark.parametrize("field", [1, 2, 5, 6])
def test_bounds_in_some_row_groups_only(split: Split, field: int) -> None:
    split.put(0, split.slice(0), write_page_index=False)
    rewrite_chunk(split.parts[0], 0, lambda chunk: chunk[3][1][12][1].pop(field), group=1)
    with pytest.raises(Different, match=r"part-0.parquet: column id, row group 1: bounds \(m"):
        split.verify()


def test_row_groups_of_nulls_need_no_bounds(tmp_path: Path) -> None:
    numbers = pa.array([None if 100 <= i < 200 else i for i in range(ROWS)])
    assert Split(tmp_path, pa.table({"a": numbers})).verify()


@pytest.mark.parametrize("ordinal", [None, 7])
def test_ordinals_of_some_row_groups_only(split: Split, ordinal: int | None) -> None:
    path = split.parts[0]
    for group in range(3):
        in_group(path, group, lambda found, group=group: found.update({7: (I16, group)}))
    assert split.verify()
    in_group(path, 1, lambda found: found.pop(7))
    if ordinal is not None:
        in_group(path, 1, lambda found: found.update({7: (I16, ordinal)}))
    with pytest.raises(Different, match=r"part-0.parquet: row group 1 does not have its ordinal"):
        split.verify()


def test_offset_indexes_of_some_chunks_only(split: Split) -> None:
    def drop(chunk: Struct) -> None:
        for field in (4, 5, 6, 7):
            del chunk[field]

    rewrite_chunk(split.parts[0], 2, drop, group=1)
    told = r"part-0.parquet: column unique, row group 1: no offset index"
    with pytest.raises(Different, match=told):
        split.verify()


def sorted_split(folder: Path, numbers: Sequence[Any], **sorting: bool) -> Split:
    columns = [pq.SortingColumn(0, **sorting)]
    data = pa.table({"a": pa.array(numbers, pa.float64())})
    return Split(folder, data, sorting_columns=columns)


def test_sorting_columns_of_some_row_groups_only(tmp_path: Path) -> None:
    split = sorted_split(tmp_path, range(ROWS))
    assert split.verify()
    in_group(split.parts[0], 1, lambda found: found.pop(4))
    with pytest.raises(Different, match=r"part-0.parquet: row group 1 claims other sorting"):
        split.verify()


NUMBERS = [*range(-500, ROWS - 500)]


@pytest.mark.parametrize(
    ("numbers", "sorting", "row"),
    [
        (NUMBERS, {}, None),
        (NUMBERS[::-1], {"descending": True}, None),
        ([*NUMBERS[:-200], *[None] * 200], {}, None),
        ([*[None] * 200, *NUMBERS[200:]], {"nulls_first": True}, None),
        (NUMBERS, {"descending": True}, 100),
        ([*NUMBERS[:200], *NUMBERS[:100], *NUMBERS[300:]], {}, 200),
        ([*[None] * 200, *NUMBERS[200:]], {}, 200),
        ([*NUMBERS[:200], *[None] * 800], {"nulls_first": True}, 200),
    ],
)
@pytest.mark.parametrize("rows_at_once", [1 << 16, 7])
def test_row_groups_that_do_not_follow_in_their_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    numbers: Sequence[Any],
    sorting: dict[str, bool],
    row: int | None,
    rows_at_once: int,
) -> None:
    monkeypatch.setattr("engine.formats.parquet.verifier.values._MAX_BATCH_ROWS", rows_at_once)
    split = sorted_split(tmp_path, numbers, **sorting)
    if row is None:
        assert split.verify()
        return
    with pytest.raises(Different, match=f"part-0.parquet: column a: .* at row {row} of the part"):
        split.verify()


def test_a_row_group_put_together_of_two_that_do_not_follow_each_other(tmp_path: Path) -> None:
    split = sorted_split(tmp_path, [*NUMBERS[:200], *NUMBERS[:100], *NUMBERS[300:]])
    split.put(0, split.slice(0), row_group_size=ROWS)
    with pytest.raises(Different, match=r"column a: .* at row 200 of the part"):
        split.verify()


def test_absent_statistics_are_not_wrong(split: Split) -> None:
    for index in range(3):
        split.put(index, split.slice(index), write_statistics=False)
    assert split.verify()


# -- structure ---------------------------------------------------------------------------------


def structure(path: Path) -> int:
    store, inner = open_storage(str(path))
    source = store.open(store.stat(inner))
    try:
        return check_part_structure(source)
    finally:
        source.close()


def test_sound_structure(split: Split) -> None:
    assert structure(split.parts[0]) == 3 * 11
    split.put(0, split.slice(0), write_page_index=False)
    assert structure(split.parts[0]) == 3 * 11


def _chunk(field: int, step: int) -> Callable[[Struct], None]:
    def change(chunk: Struct) -> None:
        chunk[field] = (chunk[field][0], chunk[field][1] + step)

    return change


def _meta(field: int, step: int) -> Callable[[Struct], None]:
    def change(chunk: Struct) -> None:
        _chunk(field, step)(chunk[3][1])

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_meta(9, 1 << 40), "lie outside|behind the chunk"),
        (_meta(11, -4), "uses a dictionary, there is none"),
        (_meta(11, 1), "no page"),
        (_meta(7, 1 << 40), "lie outside"),
        (_meta(7, -5), "outside the chunk"),
        (_meta(7, 1), "ends at byte"),
        (_meta(5, 1), "values in 100 rows"),
        (_meta(1, 1), "another type"),
        (_chunk(4, 1), "offset index"),
        (_chunk(4, 1 << 40), "outside the file"),
        (_chunk(6, 2), "column index|null"),
    ],
)
def test_damaged_structure(split: Split, change: Callable[[Struct], None], told: str) -> None:
    rewrite_chunk(split.parts[0], 0, change)
    with pytest.raises(Different, match=told):
        structure(split.parts[0])
    with pytest.raises(Different, match=r"part-0.parquet"):
        split.verify()


def _rewrite_index(path: Path, field: int, change: Callable[[Struct], None]) -> None:
    """Change an index in place of the footer, behind which it is written anew."""
    footer, end = footer_of(path)
    chunk = footer.row_group(0).columns[0]
    place = chunk.offset_index if field == 4 else chunk.column_index
    assert place is not None
    data = path.read_bytes()
    index, _ = thrift.decode(data[place.offset : place.end])
    change(index)
    new = thrift.encode(index)
    path.write_bytes(data[:end] + new + data[end:])

    def point(found: Struct) -> None:
        found[field], found[field + 1] = (I64, end), (I32, len(new))

    rewrite_chunk(path, 0, point)


def _location(page: int, field: int, step: int) -> Callable[[Struct], None]:
    def change(index: Struct) -> None:
        location = index[1][1].items[page]
        location[field] = (location[field][0], location[field][1] + step)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_location(0, 3, 1), "begin at row 0"),
        (_location(1, 1, 1), "a data page stands at byte"),
        (_location(0, 2, -1), "a data page stands at byte"),
        (_location(1, 3, 5000), "do not ascend"),
        (_location(1, 3, -10), "do not ascend"),
        (_location(-1, 3, 1), "rows, the offset index says"),
        (_location(1, 3, 1), "holds 10 rows, the offset index says 11"),
        (lambda index: index.update({1: (I64, 1)}), r"cannot be read \(OffsetIndex.page_locations"),
        (_location(1, 1, 1 << 40), "outside the chunk"),
        (_location(0, 1, -4), "a data page stands at byte"),
        (lambda index: index[1][1].items.clear(), "begin at row 0"),
        (lambda index: index[1][1].items.pop(), "ends at byte"),
        (lambda index: index[1][1].items.pop(0), "begin at row 0"),
    ],
)
def test_damaged_offset_index(tmp_path: Path, change: Callable[[Struct], None], told: str) -> None:
    split = Split(
        tmp_path, use_dictionary=False, row_group_size=300, data_page_size=64, write_batch_size=10
    )
    assert structure(split.parts[0])
    _rewrite_index(split.parts[0], 4, lambda index: None)
    assert structure(split.parts[0])
    _rewrite_index(split.parts[0], 4, change)
    with pytest.raises(Different, match=told):
        structure(split.parts[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index[1][1].items.pop(), "null pages"),
        (lambda index: index[2][1].items.pop(), "minima"),
        (lambda index: index[3][1].items.pop(), "maxima"),
        (lambda index: index[5][1].items.pop(), "null counts"),
        (lambda index: index[5][1].items.__setitem__(0, 1), "1 nulls by page, 0 in the chunk"),
        (lambda index: index.update({2: (I64, 1)}), r"cannot be read \(ColumnIndex.min_values"),
    ],
)
def test_damaged_column_index(split: Split, change: Callable[[Struct], None], told: str) -> None:
    _rewrite_index(split.parts[0], 6, change)
    with pytest.raises(Different, match=told):
        structure(split.parts[0])


def test_a_part_cut_short(split: Split) -> None:
    split.parts[1].write_bytes(split.parts[1].read_bytes()[:-10])
    with pytest.raises(Different, match=r"part-1.parquet cannot be read"):
        split.verify()


def test_a_part_without_its_first_magic(split: Split) -> None:
    split.parts[1].write_bytes(b"XXXX" + split.parts[1].read_bytes()[4:])
    with pytest.raises(Different, match="begins without"):
        split.verify()


def test_a_part_with_a_damaged_page(tmp_path: Path) -> None:
    split = Split(tmp_path, write_page_checksum=True)
    assert split.verify()
    data = bytearray(split.parts[1].read_bytes())
    place = footer_of(split.parts[1])[0].row_group(1).columns[2].range
    data[place.end - 3] ^= 0xFF
    split.parts[1].write_bytes(data)
    with pytest.raises(Different, match=r"part-1.parquet: column unique cannot be decoded"):
        split.verify()


# -- anything damaged --------------------------------------------------------------------------


def _mutated(data: bytes, random: Random) -> bytes:
    """Change some bytes, most of them in the footer."""
    new = bytearray(data)
    footer = footer_range(data, len(data)).offset
    for _ in range(random.choice([1, 1, 2, 4])):
        first = footer if random.random() < 0.7 else 0
        at = random.randrange(first, len(new))
        new[at] = random.choice([new[at] ^ 1 << random.randrange(8), random.randrange(256)])
    return bytes(new)


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_part_is_different_and_a_damaged_source_is_to_blame(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    split = Split(tmp_path, table().select(["id", "text", "nest"]), row_group_size=350)
    found: Counter[str] = Counter()
    for path, allowed in (
        (split.parts[1], (Different,)),
        (split.source, (Different, SourceError)),
    ):
        good = path.read_bytes()
        for _ in range(25):
            path.write_bytes(_mutated(good, random))
            try:
                split.verify(workers=1)
            except allowed:
                found[path.name] += 1
        path.write_bytes(good)
    assert len(found) == 2
    assert min(found.values()) >= 12


# -- the source --------------------------------------------------------------------------------


def test_a_source_that_changed(split: Split) -> None:
    source = described(split.source)
    parts = [described(path) for path in split.parts]
    pq.write_table(split.data.slice(1), split.source)
    with pytest.raises(SourceChanged):
        verify_parts([source], parts, memory_bytes=256 * MIB, workers=1)


def test_a_source_that_is_damaged_is_not_blamed_on_the_parts(split: Split) -> None:
    data = bytearray(split.source.read_bytes())
    place = footer_of(split.source)[0].row_group(0).columns[0].range
    data[place.offset : place.end] = bytes(place.length)
    split.source.write_bytes(data)
    with pytest.raises(BadPage, match=r"source.parquet: column id cannot be decoded"):
        split.verify()


def test_a_source_that_is_no_parquet(split: Split) -> None:
    split.source.write_bytes(b"not parquet at all")
    with pytest.raises(NotParquet, match=r"source.parquet"):
        split.verify()


def test_an_encoding_that_arrow_cannot_decode(split: Split) -> None:
    def lzo(footer: Struct) -> None:
        for group in footer[4][1].items:
            group[1][1].items[0][3][1][4] = (I32, 3)

    for path in (split.source, *split.parts):
        rewrite_footer(path, lzo)
    with pytest.raises(Unsupported, match=r"source.parquet: column id uses codec 3, which pyarrow"):
        split.verify()


# -- memory ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_giant_row_group_is_read_in_little_memory(tmp_path: Path) -> None:
    rows = 1_500_000
    generator = np.random.default_rng(1)
    numbers = generator.integers(0, 1 << 60, rows)
    long = [f"{'repeated text ' * 20}{i}" for i in range(100)]
    data = pa.table(
        {
            "plain": pa.array(numbers),
            "text": pa.array([f"{i:x}" * 2 for i in numbers]),
            "long": pa.DictionaryArray.from_arrays(pa.array(numbers % 100, pa.int32()), long).cast(
                pa.large_string()
            ),
        }
    )
    whole = tmp_path / "giant.parquet"
    pq.write_table(data, whole, row_group_size=rows, write_page_index=True)
    needed = data.nbytes
    assert needed > 450 * MIB
    del data, numbers
    pa.default_memory_pool().release_unused()
    file = described(whole)
    before = family_bytes()
    with PeakMeter(0.01) as meter:
        verify_parts([file], [file], memory_bytes=160 * MIB, workers=1)
    assert meter.peak_bytes - before < 80 * MIB


def test_small_pages_of_a_giant_chunk(tmp_path: Path) -> None:
    rows = 4_000_000
    path = tmp_path / "small-pages.parquet"
    values = np.random.default_rng(1).integers(0, 1 << 30, rows, dtype=np.int64)
    pq.write_table(
        pa.table({"a": values}),
        path,
        row_group_size=rows,
        data_page_size=4 << 10,
        use_dictionary=False,
        compression="none",
    )
    del values
    pool = pa.default_memory_pool()
    most = 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, pool.bytes_allocated())

    file = described(path)
    before = pool.bytes_allocated()
    assert path.stat().st_size > 30 * MIB
    assert verify_column([file], [file], 0, progress=look) == rows
    assert most - before < 6 * MIB


def test_pages_of_any_size_are_read_whole_through_a_paged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.formats.parquet.opened.paged_file._MAX_BUFFERED_BYTES", 0)
    for number, page_bytes in enumerate((64, 5000, 20_000, 1 << 20)):
        folder = tmp_path / str(number)
        folder.mkdir()
        split = Split(folder, data_page_size=page_bytes, row_group_size=ROWS, write_batch_size=7)
        assert split.verify()
        split.change(1, "unique", 400, "changed")
        with pytest.raises(Different, match="column unique differs at row 400"):
            split.verify()


def test_a_paged_file_hands_out_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path, **OPTIONS)
    data = path.read_bytes()
    store, inner = open_storage(str(path))
    source = store.open(store.stat(inner))
    chunks = [chunk.range for chunk in footer_of(path)[0].row_group(0).columns]
    # One "chunk" has no page headers in it: it is handed out as any bytes are.
    file = PagedFile(source, [*chunks, Range(chunks[-1].end + 1000, 500)])
    for size in (1, 100, 20_000, 1 << 30):
        file.seek(0)
        found = b""
        while file.tell() < len(data):
            found += file.read(size)
        assert found == data
    assert file.seek(-4, 2) == len(data) - 4
    assert file.read() == b"PAR1"
    assert file.read() == b""
    source.close()
