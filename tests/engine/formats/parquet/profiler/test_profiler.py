"""A profile against other readers of the same footers, and the words it finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.formats.parquet.bytes import page_table
from engine.formats.parquet.bytes.chunk_table import ChunkTable, _Reader, read_chunk_table
from engine.formats.parquet.bytes.footer import part_footer, seal
from engine.formats.parquet.bytes.group_bytes import Scanner
from engine.formats.parquet.bytes.page_map import run_walk, walk_pages
from engine.formats.parquet.opened import OpenFile
from engine.formats.parquet.profiler import Skew
from engine.formats.parquet.profiler.skew import lorenz, skew_of
from engine.model import Range
from engine.storage import open_storage
from tests.engine.running import REPOSITORY, run, write_source
from tests.sources import SOURCES

Files = Callable[[str], Path]

DUCKDB = """
    select row_group_id, path_in_schema, row_group_num_rows, num_values, total_compressed_size,
           total_uncompressed_size, data_page_offset, coalesce(dictionary_page_offset, 0),
           compression, encodings, type, encoding_stats
    from parquet_metadata(?)
"""


def opened(path: Path) -> OpenFile:
    store, inside = open_storage(str(path))
    return OpenFile(store.stat(inside))


@pytest.mark.ways(16)
@pytest.mark.parametrize("name", SOURCES)
def test_figures_are_those_of_duckdb(name: str, source_file: Files) -> None:
    path = source_file(name)
    (file,) = engine.profile(str(path))
    theirs = duckdb.execute(DUCKDB, [str(path)]).fetchall()
    ours = engine.profile(str(path)).frame("chunks")
    assert len(ours) == len(theirs) == file.num_row_groups * file.num_columns
    for mine, its in zip(ours.itertuples(), theirs, strict=True):
        assert (mine.row_group, mine.column) == (its[0], its[1].replace(", ", "."))
        assert (mine.num_rows, mine.num_values) == its[2:4]
        assert (mine.compressed_bytes, mine.uncompressed_bytes) == its[4:6]
        assert (mine.data_page_offset, mine.dictionary_page_offset) == its[6:8]
        assert mine.codec == its[8]
        assert sorted(mine.encodings) == sorted(its[9].split(", "))
    # And what is summed up of them.
    for group, size in enumerate(ours.groupby("row_group")["compressed_bytes"].sum()):
        assert file.row_groups[group].compressed_bytes == size
    by_column: dict[str, list[Any]] = {}
    for row in theirs:
        by_column.setdefault(row[1].replace(", ", "."), []).append(row)
    for column in file.columns:
        rows = by_column[column.name]
        assert {row[10] for row in rows} == {column.physical_type}
        assert sum(row[4] for row in rows) == column.compressed_bytes
        assert sum(row[5] for row in rows) == column.uncompressed_bytes
        counted = [row[11] for row in rows]
        if column.num_pages is not None and all(counted):
            pages = [item for one in counted for item in one if "DATA_PAGE" in item["page_type"]]
            assert column.num_pages == sum(item["count"] for item in pages)
    stretches = sum(piece.compressed_bytes for piece in file.stretches)
    assert stretches == (sum(row[4] for row in theirs) if file.num_rows else 0)
    assert sum(piece.num_rows for piece in file.stretches) == file.num_rows


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_read_quickly_is_what_is_read_with_care(name: str, source_file: Files) -> None:
    footer = opened(source_file(name)).footer
    careful = _Reader(Scanner(footer.path_forms))
    for index in range(footer.num_row_groups):
        careful._groups.append(careful._carefully(footer.row_group(index)))
    assert same(read_chunk_table(footer), careful.table())
    if "fastparquet" not in name:  # its structures have other fields
        Scanner(footer.path_forms).scan(footer.row_group_data(0))


def same(one: ChunkTable, other: ChunkTable) -> bool:
    sets = [
        [[table.encoding_sets[at] for at in row] for row in table.encodings]
        for table in (one, other)
    ]
    rest = vars(one).keys() - {"encodings", "encoding_sets"}
    return sets[0] == sets[1] and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        if isinstance(getattr(one, name), np.ndarray)
        else getattr(one, name) == getattr(other, name)
        for name in rest
    )


def test_pages_are_those_that_a_walk_over_their_headers_finds(tmp_path: Path) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000)
    file, (found,) = opened(path), engine.profile(str(path))
    sizes: list[int] = []
    largest: list[int] = []
    for index in range(file.footer.num_row_groups):
        group = file.row_group(index).entry
        for chunk in group.columns:
            walk = walk_pages(chunk.range, chunk.num_values, group.num_rows, is_flat=True)
            sizes += run_walk(walk, file.source.read).sizes
        largest.append(max(sizes[-sum(c.num_pages or 0 for c in found.columns) :]))
    assert found.num_pages == len(sizes) > 80
    assert found.largest_page_bytes == max(sizes)
    assert found.page_skew == skew_of(sizes)
    assert sum(item.num_pages for item in found.page_sizes) == len(sizes)
    for item in found.page_sizes:
        inside = [n for n in sizes if item.least_bytes <= n < 2 * item.least_bytes]
        assert (len(inside), sum(inside)) == (item.num_pages, item.sum_bytes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"\xff" * len(data),
        lambda data: b"\x19\xfc\xff\xff\xff\x7f" + data[6:],  # a list without end
        lambda data: data[:-1] + b"\x01",
        lambda data: data[:3] + bytes([data[3] ^ 0x7E]) + data[4:],  # pages elsewhere
    ],
)
def test_a_damaged_page_index_is_as_good_as_none(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000)
    whole = engine.profile(str(path))[0]
    at = int(whole.chunks.offset_index_offsets[1, 3])
    length = int(whole.chunks.offset_index_bytes[1, 3])
    with open(path, "r+b") as file:
        file.seek(at)
        index = file.read(length)
        file.seek(at)
        file.write(damage(index))
    (found,) = engine.profile(str(path))
    assert not found.has_page_index
    assert [column.num_pages is None for column in found.columns] == [False] * 3 + [True, False]
    assert found.row_groups[1].num_pages is None
    assert found.row_groups[0] == whole.row_groups[0]
    assert found.columns[0] == whole.columns[0]


@pytest.mark.parametrize("name", ["pyarrow-tiny-pages", "pyarrow-nested-index", "pyarrow-bloom"])
def test_page_indexes_read_together_are_those_read_one_by_one(
    name: str, source_file: Files
) -> None:
    file = opened(source_file(name))
    table = read_chunk_table(file.footer)
    places = zip(
        table.offset_index_offsets.ravel().tolist(),
        table.offset_index_bytes.ravel().tolist(),
        strict=True,
    )
    indexes = file.source.read_many([Range(*place) for place in places])
    together, one_by_one = page_table._together(indexes), page_table._one_by_one(indexes)
    assert together is not None
    for mine, its in zip(together, one_by_one, strict=True):
        assert np.array_equal(mine, its)
    assert page_table._together([]) is not None
    assert page_table._together([b"", b"x"]) is None


def test_a_file_without_page_index_says_so(tmp_path: Path) -> None:
    path = write_source(tmp_path / "s.parquet", 20_000, write_page_index=False)
    (found,) = engine.profile(str(path))
    assert not found.has_page_index
    assert (found.num_pages, found.largest_page_bytes, found.page_sizes) == (None, None, ())
    assert found.columns[0].num_pages is found.row_groups[0].num_pages is None
    # The footer alone tells where the first data page lies.
    assert found.columns[0].dictionary_bytes > 0
    assert found.columns[0].dictionary_page_share is not None


def test_bytes_along_the_file_follow_the_pages(tmp_path: Path) -> None:
    """In the one row group, text is wide only in the last tenth: footers cannot tell that."""
    num_rows = 50_000
    rng = np.random.default_rng(3)
    text = [rng.bytes(200 if row > 0.9 * num_rows else 2).hex() for row in range(num_rows)]
    path = tmp_path / "s.parquet"
    options: dict[str, Any] = {"use_dictionary": False, "data_page_size": 4096}
    pq.write_table(pa.table({"text": text}), path, write_page_index=True, **options)
    (found,) = engine.profile(str(path))
    rates = [piece.compressed_bytes / piece.num_rows for piece in found.stretches]
    assert len(rates) == 240
    assert max(rates[:200]) < 20
    assert min(rates[220:]) > 200
    assert any("along the file" in finding for finding in found.findings)


ORDERS: dict[str, tuple[list[Any], str | None]] = {
    "up": (list(range(6000)), "ascending"),
    "down": (list(range(6000, 0, -1)), "descending"),
    "constant": ([7] * 6000, "ascending"),
    "groups": ([g * 1000 + n * 7 % 1000 for g in range(6) for n in range(1000)], None),
    "mixed": ([n * 7919 % 6000 for n in range(6000)], "unordered"),
    "text": ([f"{n:05d}" for n in range(6000)], "ascending"),
    "gaps": ([n if n % 3 else None for n in range(6000)], "ascending"),
    "nulls": (pa.nulls(6000, pa.int32()).to_pylist(), "ascending"),
    "lists": ([[n] for n in range(6000)], None),
}


@pytest.mark.parametrize("row_group_size", [1000, 6000])
@pytest.mark.parametrize("index", [True, False])
def test_order_of_columns(tmp_path: Path, row_group_size: int, index: bool) -> None:
    path = tmp_path / "s.parquet"
    columns = {name: values for name, (values, _) in ORDERS.items() if name != "nulls"}
    table = pa.table(columns | {"nulls": pa.nulls(6000, pa.int32())})
    sizes = {"data_page_size": 512, "write_batch_size": 100}
    pq.write_table(table, path, row_group_size, write_page_index=index, **sizes)
    (found,) = engine.profile(str(path))
    many = row_group_size < 6000
    for column in found.columns:
        name = column.name.split(".")[0]
        expected = ORDERS[name][1]
        if name == "groups":
            expected = "ascending row groups" if many else "unordered" if index else None
        elif not index and expected in ("ascending", "descending"):
            expected = f"{expected} row groups" if many else None
        elif not index and not many:
            expected = None
        assert column.order == expected, column.name


def test_what_the_writer_declares(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    sorting = [pq.SortingColumn(1), pq.SortingColumn(0, descending=True)]
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), path, sorting_columns=sorting)
    (found,) = engine.profile(str(path))
    assert found.sorting_columns == ("b", "a descending")
    assert "declared to be sorted by b, a descending" in found.findings


SIZES = st.lists(st.integers(0, 10**12), min_size=1, max_size=50)


@given(SIZES)
def test_figures_of_skew(sizes: list[int]) -> None:
    found = skew_of(sizes)
    assert isinstance(found, Skew)
    assert (found.count, found.total) == (len(sizes), sum(sizes))
    assert (found.smallest, found.largest) == (min(sizes), max(sizes))
    assert found.median == float(np.median(sizes))
    assert -1e-9 <= found.gini < 1
    # By definition: the mean difference of all pairs, over twice the mean.
    pairs = sum(abs(one - other) for one in sizes for other in sizes)
    expected = pairs / (2 * len(sizes) * sum(sizes)) if sum(sizes) else 0.0
    assert found.gini == pytest.approx(expected, abs=1e-6)
    shares, held = lorenz(sizes)
    assert shares[0] == held[0] == 0.0
    assert all(one <= other + 1e-12 for one, other in pairwise(held))
    if sum(sizes):
        area = sum((a + b) / 2 for a, b in pairwise(held)) / len(sizes)
        assert found.gini == pytest.approx(1 - 2 * area, abs=1e-6)


def test_one_row_group_in_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = pa.table({name: rng.random(3_000_000) for name in "abc"})
    pq.write_table(
        table, tmp_path / "s.parquet", 3_000_000, use_dictionary=False, compression="none"
    )
    (found,) = engine.profile(str(tmp_path / "s.parquet"))
    assert "1 row group holds 100% of 3,000,000 rows: no reader can go parallel" in found.findings
    assert any(finding.endswith("are not compressed") for finding in found.findings)
    assert "no page index: readers cannot skip pages, and pages are not in this profile" in (
        found.findings
    )


def test_a_folder_in_words_figures_and_tables(tmp_path: Path) -> None:
    for number, num_rows in enumerate((100_000, 100, 100, 0)):
        write_source(tmp_path / f"{number}.parquet", num_rows)
    pq.write_table(pa.table({"other": [1]}), tmp_path / "z.parquet")
    found = engine.profile(str(tmp_path))
    assert found.skew is not None
    assert found.skew.largest == (tmp_path / "0.parquet").stat().st_size
    assert found.findings[0].startswith("files differ ")
    assert "3 schemas: 3 of 5 files share the commonest" in found.findings
    assert "1 of 5 files have no rows" in found.findings
    assert found.num_rows == found.frame()["num_rows"].sum() == 100_201
    for what in ("row_groups", "columns", "chunks"):
        assert found.frame(what)["compressed_bytes"].sum() == sum(
            group.compressed_bytes for file in found for group in file.row_groups
        )
    with pytest.raises(engine.BadSetting, match="row_groups"):
        found.frame("cells")


def test_the_command(tmp_path: Path) -> None:
    path = write_source(tmp_path / "in/s.parquet", 20_000)
    (found,) = engine.profile(str(path))
    told = json.loads(run("profile", path, "--json").out)
    assert told["files"] == [json.loads(json.dumps(found.as_dict()))]
    assert told["size_bytes"] == path.stat().st_size
    shown = run("profile", path).out
    assert "ascending" in shown
    assert "Gini" in shown
    for number in range(5):
        shutil.copy(path, tmp_path / f"in/{number}.parquet")
    shown = run("profile", tmp_path / "in").out
    assert "6 files" in shown
    assert f"{tmp_path}/in/\n" in shown
    assert "\n4.parquet " in shown


def multiplied(path: Path, times: int) -> Path:
    """A footer of many row groups, all of which are the first one's bytes."""
    footer = opened(path).footer
    group = footer.row_group(0).struct
    data = path.read_bytes()
    end = len(data) - footer.size_bytes - 8
    num_rows = times * footer.num_rows
    more = part_footer(footer.struct, [group] * times, num_rows, footer.key_values)
    target = path.with_name("many.parquet")
    target.write_bytes(data[:end] + seal(more))
    return target


MEASURED = """
import json, sys
import engine, engine.formats.parquet.profiler
from tests.counting import counted
found, num_calls = counted(lambda: engine.profile(sys.argv[1]))
peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])
chunks = sum(f.num_row_groups * f.num_columns for f in found)
print(json.dumps([len(found), chunks, num_calls, peak]))
"""


def measured(path: Path) -> list[float]:
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.slow
def test_calls_and_memory_of_100_000_chunks_and_of_1_000_files(tmp_path: Path) -> None:
    """The generic codec would make ten times as many calls."""
    rng = np.random.default_rng(1)
    table = pa.table({f"c{i:03d}": rng.integers(0, 50, 50) for i in range(100)})
    pq.write_table(table, tmp_path / "one.parquet", write_page_index=True)
    num_files, num_chunks, num_calls, peak_kib = measured(
        multiplied(tmp_path / "one.parquet", 1000)
    )
    assert (num_files, num_chunks) == (1, 100_000)
    assert num_calls <= 110 * num_chunks
    assert peak_kib <= 300 << 10
    folder = tmp_path / "folder"
    sizes = [write_source(folder / f"{n}.parquet", 10 ** (1 + n)) for n in range(4)]
    for number in range(996):
        (folder / f"copy{number}.parquet").hardlink_to(sizes[number % 4])
    num_files, num_chunks, num_calls, peak_kib = measured(folder)
    assert num_files == 1000
    assert num_calls <= 5_000 * num_files
    assert peak_kib <= 300 << 10
