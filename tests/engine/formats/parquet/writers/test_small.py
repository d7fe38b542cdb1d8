"""Rows of small chunks, made by Arrow as a whole: the same table to every reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadPage
from engine.formats.parquet import small_chunks
from engine.formats.parquet.writers import small
from tests.covering import pairs
from tests.witness import all_witnesses, judge, wrong_statistics

FLAT = [
    "pyarrow-codec-snappy",
    "pyarrow-v2",
    "pyarrow-overflow",
    "tpch-orders",
    "duckdb-v2-zstd",
    "polars-default",
    "fastparquet-default",
]
WISHES = {
    "cut": {"rows_per_part": 1234},
    "joined": {"parts": 1, "row_group_size": "1GB"},
    "smaller": {"parts": 2, "row_group_size": "700rows"},
    "zstd": {"rows_per_part": 777, "codec": "zstd", "codec_level": 3},
    "plain-v2": {"parts": 2, "dictionary": False, "data_page_version": 2},
    "dictionary": {"parts": 2, "dictionary": True, "codec": "none"},
}


@pytest.fixture
def made(monkeypatch):
    """Have all that can be made by Arrow be made so; return how often it was."""
    monkeypatch.setattr(small_chunks, "MIN_CHUNKS", 1)
    monkeypatch.setattr(small_chunks, "MAX_CHUNK_BYTES", 1 << 30)
    calls = []
    make = small._made

    def counted(*arguments):
        found = make(*arguments)
        calls.append(found is not None)
        return found

    monkeypatch.setattr(small, "_made", counted)
    return calls


def split(source, folder, **wish):
    result = engine.split(str(source), str(folder), fsync=False, **wish)
    return [str(folder / part.name) for part in result.manifest.parts]


@pytest.mark.ways(6)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wish"), pairs(FLAT, WISHES, num_ways=2, in_all=["pyarrow-overflow"])
)
def test_parts_are_the_same_table_to_every_reader(source_file, tmp_path, made, name, wish):
    source = source_file(name)
    flat = [field.name for field in pq.read_schema(source) if not pa.types.is_nested(field.type)]
    parts = split(source, tmp_path / "parts", columns=flat, **WISHES[wish])
    # fastparquet misreads runs in pages as Arrow writes them, in Arrow's own files too.
    readers = [reader for reader in all_witnesses(spark=False) if reader.name != "fastparquet"]
    verdict = judge([str(source)], parts, readers, columns=flat, probes=False)
    assert not verdict.differences, "\n".join(verdict.differences)
    engine.verify(str(tmp_path / "parts"))
    assert any(made)


def test_what_is_asked_of_pages_and_statistics_holds(tmp_path, made):
    source = tmp_path / "source.parquet"
    numbers = [None if i % 7 == 3 else i % 100 for i in range(900)]
    table = pa.table(
        {
            "whole": numbers,
            "unsigned": pa.array([3_000_000_000 + i for i in range(900)], pa.uint32()),
            "real": [float("nan") if i % 11 == 0 else -0.0 + i % 3 for i in range(900)],
            "text": [f"text {i % 50}" for i in range(900)],
            "empty": pa.nulls(900, pa.string()),
        }
    )
    pq.write_table(
        table, source, row_group_size=300, write_page_index=True, write_page_checksum=True
    )
    parts = split(source, tmp_path / "parts", rows_per_part=250)
    assert made == [True] * len(made)
    for part in parts:
        assert not wrong_statistics(part)
        group = pq.read_metadata(part).row_group(0)
        columns = [group.column(number) for number in range(5)]
        assert [column.has_offset_index for column in columns] == [True] * 5
        # Bounds leave NaN out, and of smaller pages readers would pass over more.
        assert [column.has_column_index for column in columns] == [True, True, False, True, True]
        rows = pq.ParquetFile(part).read_row_group(0)
        assert columns[0].statistics.null_count == rows["whole"].null_count
        assert columns[1].statistics.min >= 3_000_000_000
        assert not columns[2].statistics.has_min_max  # which leave NaN out
    whole = pa.concat_tables([pq.read_table(part) for part in parts])
    assert repr(whole.to_pydict()) == repr(table.to_pydict())


def test_row_groups_of_a_row_are_put_together_by_one_call(tmp_path, monkeypatch):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"id": range(600)}), source, row_group_size=1)
    reads = []
    monkeypatch.setattr(small.pq, "write_table", count(reads, small.pq.write_table))
    (part,) = split(source, tmp_path / "parts", parts=1, row_group_size="1GB")
    assert len(reads) == 1
    assert pq.read_table(part)["id"].to_pylist() == list(range(600))


def test_thousands_of_columns_are_cut_by_one_call_a_part(tmp_path, monkeypatch):
    source = tmp_path / "source.parquet"
    table = pa.table({f"c{n}": pa.array(range(n, n + 40)) for n in range(600)})
    pq.write_table(table, source)
    writes = []
    monkeypatch.setattr(small.pq, "write_table", count(writes, small.pq.write_table))
    parts = split(source, tmp_path / "parts", parts=4)
    assert len(writes) == 4
    assert pa.concat_tables([pq.read_table(part) for part in parts]).equals(table)


def test_columns_are_made_in_runs_that_memory_allows(tmp_path, monkeypatch):
    source = tmp_path / "source.parquet"
    table = pa.table({f"c{n}": pa.array(range(n, n + 40)) for n in range(300)})
    pq.write_table(table, source)
    runs = []
    monkeypatch.setattr(small, "_made", count(runs, small._made))
    whole = split(source, tmp_path / "whole", parts=4)
    num_whole = len(runs)
    monkeypatch.setattr(small_chunks, "MAX_PLAIN_BYTES", 5_000)
    parts = split(source, tmp_path / "runs", parts=4)
    assert len(runs) - num_whole > 10 * num_whole > 0
    for one, other in zip(whole, parts, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()
    assert pa.concat_tables([pq.read_table(part) for part in parts]).equals(table)


def count(calls, function):
    def counted(*arguments, **named):
        calls.append(1)
        return function(*arguments, **named)

    return counted


def test_damage_is_named_by_column_and_page(tmp_path, made):
    source = tmp_path / "source.parquet"
    table = pa.table({"id": range(1000), "text": [f"text {i}" for i in range(1000)]})
    pq.write_table(table, source, use_dictionary=False, write_page_checksum=True)
    place = pq.read_metadata(source).row_group(0).column(1).data_page_offset
    data = bytearray(source.read_bytes())
    data[place + 300] ^= 255
    source.write_bytes(data)
    with pytest.raises(BadPage, match="column text, row group 0, page 0: a page's checksum"):
        split(source, tmp_path / "parts", parts=2)
    assert made == [False] * len(made)


def test_nested_columns_and_large_chunks_are_made_page_by_page(tmp_path, monkeypatch):
    monkeypatch.setattr(small_chunks, "MIN_CHUNKS", 1)
    monkeypatch.setattr(small, "_Rows", None)  # whoever calls it fails
    for number, column in enumerate(
        ([[1, 2]] * 500, [{"a": 1}] * 500, [f"{i:064}" * 8 for i in range(500)])
    ):
        source = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"c": column}), source, compression="none", use_dictionary=False)
        split(source, tmp_path / str(number), parts=2)


@pytest.mark.parametrize("write_statistics", [True, False])
def test_a_text_that_thousands_of_rows_repeat_is_not_decoded_for_each(
    tmp_path, made, write_statistics
):
    """A file of some kB that has 100 MB of values: with bounds that tell so, and with none."""
    source = tmp_path / "source.parquet"
    rows = {"tiny": ["y"] * 1_000, "huge": ["x" * 100_000] * 1_000}
    pq.write_table(pa.table(rows), source, write_statistics=write_statistics)
    parts = split(source, tmp_path / "parts", parts=2)
    assert not any(made)
    for part in parts:
        assert Path(part).stat().st_size < 2 * source.stat().st_size
        huge = pq.read_table(part, columns=["huge"], read_dictionary=["huge"])["huge"]
        assert [chunk.dictionary.to_pylist() for chunk in huge.chunks] == [["x" * 100_000]]


def test_dictionaries_of_values_that_no_row_repeats_are_divided_by_a_cut(tmp_path):
    source = tmp_path / "source.parquet"
    texts = {f"c{n}": [f"{n} text {i} {i * n}" for i in range(400)] for n in range(260)}
    pq.write_table(pa.table(texts), source)
    target = source.stat().st_size // 4
    result = engine.split(str(source), str(tmp_path / "parts"), target_size=target, fsync=False)
    sizes = [part.size_bytes for part in result.manifest.parts]
    assert len(sizes) < 10
    assert max(sizes) <= target
    predicted = [
        part.predicted_bytes for part in engine.plan(str(source), target_size=target).parts
    ]
    assert predicted == pytest.approx(sizes, rel=0.2)


VALUES: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {
    "of 1,000 numbers": lambda chance, n: chance.integers(0, 1000, n).tolist(),
    "of 50 numbers": lambda chance, n: chance.integers(0, 50, n).tolist(),
    "of 3 numbers": lambda chance, n: chance.integers(0, 3, n).tolist(),
    "all others": lambda chance, n: chance.integers(0, 1 << 60, n).tolist(),
    "texts": lambda chance, n: [f"name {i}" for i in chance.integers(0, 800, n).tolist()],
    "mostly null": lambda chance, n: [
        i if i < 150 else None for i in chance.integers(0, 1200, n).tolist()
    ],
}


@pytest.mark.ways(7)
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("num_parts", [2, 5, 20])
def test_pieces_are_expected_with_the_entries_that_they_use(
    tmp_path: Path, values: str, num_parts: int
):
    chance, num_rows, source = np.random.default_rng(1), 1_200, tmp_path / "source.parquet"
    columns = {f"c{n}": VALUES[values](chance, num_rows) for n in range(260)}
    pq.write_table(pa.table(columns), source)
    plan = engine.plan(str(source), parts=num_parts)
    parts = split(source, tmp_path / "parts", parts=num_parts)
    sizes = [Path(part).stat().st_size for part in parts]
    assert [part.predicted_bytes for part in plan.parts] == pytest.approx(sizes, rel=0.12)
