"""Dictionaries that a cut would repeat are trimmed: right to every reader, even, and no larger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import SourceError
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.opened import open_file
from engine.formats.parquet.trimmed import PieceSize, trimmed_columns
from engine.formats.parquet.used import used_entries
from engine.ledger.manifest import Ledger
from engine.model import Recoding
from engine.sources import find_sources
from engine.storage.local import LocalStorage
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.engine.formats.parquet.test_verifier import rewrite_chunk
from tests.engine.running import close_files, parts_of
from tests.witness import wrong_statistics

ROWS = 4000
ALL = {"compression": "snappy", "dictionary_pagesize_limit": 1 << 30, "row_group_size": ROWS}
PAGES: dict[str, dict[str, Any]] = {
    "one page": {"data_page_size": 1 << 30},
    "many pages": {"max_rows_per_page": 150, "write_page_index": True},
    "V2 pages": {"max_rows_per_page": 150, "data_page_version": "2.0", "compression": "zstd"},
    "fallback": {"dictionary_pagesize_limit": 120_000, "max_rows_per_page": 150},
}


def _documents(chance: random.Random) -> list[Any]:
    return [f"{i} " + chance.randbytes(40).hex() for i in range(ROWS)]


def _twice_each(chance: random.Random) -> list[Any]:
    texts = [chance.randbytes(30).hex() for _ in range(ROWS // 2)]
    return [chance.choice(texts) for _ in range(ROWS)]


def _sorted(chance: random.Random) -> list[Any]:
    return sorted(chance.randrange(1 << 60) for _ in range(ROWS // 4)) * 4


def _with_nulls(chance: random.Random) -> list[Any]:
    return [None if i % 3 else chance.random() for i in range(ROWS)]


def _lists(chance: random.Random) -> list[Any]:
    return [[chance.randbytes(9).hex() for _ in range(i % 4)] for i in range(ROWS)]


def _heavy_behind(chance: random.Random) -> list[Any]:
    return [chance.randbytes(4 if i < ROWS * 3 // 4 else 90).hex() for i in range(ROWS)]


KINDS = {
    kind.__name__: kind
    for kind in (_documents, _twice_each, _sorted, _with_nulls, _lists, _heavy_behind)
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_files()


def write(path: Path, kind: str, pages: str) -> pa.Table:
    table = pa.table(
        {"id": [i % 7 for i in range(ROWS)], "value": KINDS[kind](random.Random(kind))}
    )
    pq.write_table(table, path, **(ALL | PAGES[pages]))
    return table


@pytest.mark.ways(20)
@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wish",
    [{"parts": 8}, {"parts": 3, "codec": "gzip"}, {"parts": 1, "row_group_size": "300rows"}],
    ids=str,
)
def test_parts_are_the_same_table_and_little_more(
    tmp_path: Path, kind: str, pages: str, wish: dict[str, Any]
):
    source = tmp_path / "source.parquet"
    table = write(source, kind, pages)
    found = engine.split(source, tmp_path / "parts", fsync=False, verify=True, **wish)
    paths = parts_of(tmp_path / "parts")
    assert pa.concat_tables(map(pq.read_table, paths)).equals(table)
    query = "select * from read_parquet(?)"
    of_parts = [duckdb.sql(query, params=[str(path)]).to_arrow_table() for path in paths]
    of_source = duckdb.sql(query, params=[str(source)]).to_arrow_table()
    assert pa.concat_tables(of_parts).to_pylist() == of_source.to_pylist()
    assert not [wrong for path in paths for wrong in wrong_statistics(str(path))]
    if wish == {"parts": 8}:
        sizes = [part.size_bytes for part in found.manifest.parts]
        assert sum(sizes) < 1.1 * _by_pyarrow(paths, tmp_path, pages) + 8 * 1000
        predicted = [part.predicted_bytes for part in engine.plan(source, **wish).parts]
        for size, expected in zip(sizes, predicted, strict=True):
            assert abs(size - expected) < 0.15 * expected + 700


@pytest.mark.parametrize("pages", PAGES)
def test_the_plan_counts_what_is_encoded_and_no_page_behind_a_fallback(tmp_path: Path, pages: str):
    source = tmp_path / "source.parquet"
    write(source, "_documents", pages)
    manifest = engine.split(source, tmp_path / "parts", parts=8, fsync=False).manifest
    encoded = sum(part.reencoded_bytes for part in manifest.parts)
    expected = sum(part.reencoded_bytes for part in engine.plan(source, parts=8).parts)
    assert expected == pytest.approx(encoded, rel=0.1)


def _by_pyarrow(paths: list[Path], folder: Path, pages: str) -> int:
    """Return the bytes of parts that pyarrow writes of the same rows."""
    num_bytes = 0
    for path in paths:
        pq.write_table(pq.read_table(path), folder / "one", **(ALL | PAGES[pages]))
        num_bytes += (folder / "one").stat().st_size
    return num_bytes


def test_the_same_bytes_whoever_writes_them(tmp_path: Path):
    source = tmp_path / "source.parquet"
    write(source, "_documents", "many pages")
    engine.split(source, tmp_path / "a", parts=6, fsync=False, workers=1)
    engine.split(source, tmp_path / "b", parts=6, fsync=False, workers=3)
    pairs = zip(parts_of(tmp_path / "a"), parts_of(tmp_path / "b"), strict=True)
    assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def test_a_dictionary_that_all_rows_use_is_copied(tmp_path: Path):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"few": [f"value {i % 50}" for i in range(ROWS)]}), source)
    plan = engine.plan(source, parts=8)
    assert not any(piece.trimmed for part in plan.parts for piece in part.slices)


def test_the_plan_says_which_columns_are_trimmed(tmp_path: Path):
    source = tmp_path / "source.parquet"
    write(source, "_documents", "many pages")
    plan = engine.plan(source, parts=8)
    for part in plan.parts:
        assert "do not use of the dictionaries of value" in str(part.reasons)
        assert all(piece.trimmed == (1,) for piece in part.slices)


def test_what_the_plan_chose_is_read_back(tmp_path: Path):
    """A split that goes on decides nothing anew."""
    source, folder = tmp_path / "source.parquet", tmp_path / "parts"
    write(source, "_documents", "many pages")
    plan = engine.plan(source, parts=8)
    engine.split(source, folder, parts=8, fsync=False)
    assert Ledger(LocalStorage(), str(folder)).plan() == plan


@pytest.mark.parametrize("kind", ["_sorted", "_with_nulls"])  # of values of one width
def test_entries_in_use_are_those_of_every_piece_in_the_mean(tmp_path: Path, kind: str):
    source = tmp_path / "source.parquet"
    values = write(source, kind, "many pages")["value"].to_pylist()
    chunk = open_file(*find_sources([str(source)])).row_group(0).chunk(1)
    used = used_entries(chunk)
    assert (used.lengths[0], used.lengths[-1]) == (0, ROWS)
    every = len(set(values) - {None})
    for num_rows, share in zip(used.lengths[1:-1:9], used.entry_shares[1:-1:9], strict=True):
        pieces = [values[i : i + num_rows] for i in range(ROWS - num_rows + 1)]
        distinct = sum(len(set(piece) - {None}) for piece in pieces) / len(pieces)
        assert share * every == pytest.approx(distinct, rel=0.03, abs=1)


@pytest.mark.parametrize("kind", ["_sorted", "_twice_each"])  # of values of one width
@pytest.mark.parametrize("piece_rows", [1, 300, ROWS])
def test_entries_between_two_rows_are_counted_exactly(tmp_path: Path, kind: str, piece_rows: int):
    source = tmp_path / "source.parquet"
    values = write(source, kind, "many pages")["value"].to_pylist()
    chunk = open_file(*find_sources([str(source)])).row_group(0).chunk(1)
    used = used_entries(chunk, 0, piece_rows)
    every = len(set(values))
    for i in range(0, len(used.ends), 7):
        for j in range(i + 1, len(used.ends), 5):
            distinct = len(set(values[used.ends[i] : used.ends[j]]))
            assert used.entry_table[i, j] * every == pytest.approx(distinct)


@pytest.mark.parametrize("kind", KINDS)
def test_the_more_rows_the_more_is_used(tmp_path: Path, kind: str):
    source = tmp_path / "source.parquet"
    write(source, kind, "many pages")
    used = used_entries(open_file(*find_sources([str(source)])).row_group(0).chunk(1))
    assert list(used.rows) == sorted(set(used.rows))
    assert list(used.places) == sorted(used.places)
    assert list(used.lengths) == sorted(set(used.lengths))
    assert list(used.entry_shares) == sorted(used.entry_shares)
    assert list(used.index_shares[1:]) == sorted(used.index_shares[1:])
    assert used.entry_shares[-1] == used.index_shares[-1] == 1


def test_of_many_values_some_entries_tell_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "source.parquet"
    write(source, "_twice_each", "many pages")
    chunk = open_file(*find_sources([str(source)])).row_group(0).chunk(1)
    exact = used_entries(chunk)
    monkeypatch.setattr("engine.formats.parquet.trimmed._ENOUGH_USES", 1000)
    monkeypatch.setattr("engine.formats.parquet.trimmed._ENOUGH_ENTRIES", 400)
    assert used_entries(chunk).entry_shares == pytest.approx(exact.entry_shares, abs=0.03)


# Row groups that are little larger than a part, a few times larger, many times.
@pytest.mark.parametrize("rows_a_group", [3_000, 9_000, 40_000])
@pytest.mark.parametrize("target_rows", [2_500, 4_100])
def test_parts_are_as_expected_even_and_few(tmp_path: Path, rows_a_group: int, target_rows: int):
    chance = np.random.default_rng(1)
    texts = pa.array([f"{i} " + chance.bytes(30).hex() for i in range(5_000)])
    table = pa.table(
        {
            "id": np.arange(40_000),
            "text": texts.take(pa.array(chance.integers(0, len(texts), 40_000))),
        }
    )
    source = tmp_path / "source.parquet"
    pq.write_table(table, source, **(ALL | {"row_group_size": rows_a_group}))
    alone = tmp_path / "alone.parquet"
    pq.write_table(table[:target_rows], alone, **ALL)
    target_bytes = alone.stat().st_size
    manifest = engine.split(
        source, tmp_path / "parts", target_size=target_bytes, fsync=False
    ).manifest
    sizes = [part.size_bytes for part in manifest.parts]
    assert max(sizes) <= target_bytes
    assert (max(sizes) - min(sizes)) / (sum(sizes) / len(sizes)) < 0.06
    if rows_a_group > target_rows:  # else row groups that are copied whole may be even anyway
        assert len(sizes) <= 1.1 * 40_000 / target_rows + 1


@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_indices_that_grow_in_bits_are_expected_as_parts_have_them(tmp_path: Path, codec: str):
    """Who writes pages while a dictionary grows begins with few bits; parts have one width."""
    chance = np.random.default_rng(2)
    numbers = pa.array(chance.integers(0, 1 << 60, 120_000))
    table = pa.table({"once": numbers, "often": numbers.take(chance.integers(0, 40_000, 120_000))})
    source = tmp_path / "source.parquet"
    options = {"dictionary_pagesize_limit": 1 << 20, "max_rows_per_page": 10_000}
    pq.write_table(table, source, row_group_size=120_000, compression="snappy", **options)
    wish = {"rows_per_part": 23_000, "codec": codec}
    plan = engine.plan(source, **wish)
    assert any(piece.trimmed for part in plan.parts for piece in part.slices)
    written = engine.split(source, tmp_path / "parts", fsync=False, **wish).manifest.parts
    for expected, found in zip(plan.parts, written, strict=True):
        assert found.size_bytes == pytest.approx(expected.predicted_bytes, rel=0.015)


@pytest.mark.parametrize("num_parts", [5, 8, 13])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_entries_are_expected_in_the_rows_that_bring_them(
    tmp_path: Path, codec: str, num_parts: int
):
    """Some writers put all of a column into one dictionary, and rows change in what they repeat."""
    chance = np.random.default_rng(4)
    words = [chance.bytes(30) for _ in range(1_000)]
    values = [words[number] for number in chance.integers(0, 1_000, 10_000)]
    values += [chance.bytes(30) for _ in range(20_000)]
    source = tmp_path / "source.parquet"
    table = pa.table({"value": values, "beside": chance.random(30_000)})
    options = {"dictionary_pagesize_limit": 1 << 30, "max_rows_per_page": 500}
    pq.write_table(table, source, row_group_size=30_000, use_dictionary=["value"], **options)
    wish = {"parts": num_parts, "codec": codec}
    spread = engine.split(source, tmp_path / "parts", fsync=False, **wish).manifest.spread
    assert spread <= (0.02 if codec == "none" else 0.045)  # of what zstd makes, a sample tells


@pytest.mark.parametrize("wish", [{"parts": 5}, {"target_size": "1600kB"}], ids=str)
def test_new_row_groups_leave_parts_even(tmp_path: Path, wish: dict[str, Any]):
    """Each repeats what it uses of a dictionary, in some rows more than in others."""
    chance = np.random.default_rng(6)
    words = [chance.bytes(40) for _ in range(4_000)]
    values = [words[number] for number in chance.integers(0, 4_000, 40_000)]
    values += [chance.bytes(40) for _ in range(20_000)]
    source = tmp_path / "source.parquet"
    table = pa.table({"value": values, "beside": chance.random(60_000)})
    pq.write_table(table, source, row_group_size=20_000, max_rows_per_page=500)
    wish = wish | {"row_group_size": "4000rows"}
    assert engine.plan(source, **wish).spread <= 0.03
    assert engine.split(source, tmp_path / "parts", fsync=False, **wish).manifest.spread <= 0.08


def test_a_part_of_so_many_rows_is_expected_by_its_pages(tmp_path: Path):
    """Also the first of a row group that nothing was known of before."""
    chance = np.random.default_rng(5)
    texts = [chance.bytes(4 if row % 10_000 < 5_000 else 90) for row in range(20_000)]
    source = tmp_path / "source.parquet"
    options = {"use_dictionary": False, "max_rows_per_page": 500}
    pq.write_table(pa.table({"text": texts}), source, row_group_size=10_000, **options)
    plan = engine.plan(source, rows_per_part=5_000)
    written = engine.split(source, tmp_path / "parts", fsync=False, rows_per_part=5_000).manifest
    for expected, found in zip(plan.parts, written.parts, strict=True):
        assert found.size_bytes == pytest.approx(expected.predicted_bytes, rel=0.02)


@pytest.mark.parametrize("last_row", range(16_500, 17_400, 200))
def test_a_dictionary_that_ends_near_a_cut_does_not_make_parts_uneven(
    tmp_path: Path, last_row: int
):
    """A cut shortly before its end would repeat it for a few rows, which no row behind it needs."""
    chance = np.random.default_rng(3)
    words = [chance.bytes(60) for _ in range(1_000)]
    values = [words[number] for number in chance.integers(0, 1_000, last_row)]
    values += [chance.bytes(60) for _ in range(20_000 - last_row)]
    table = pa.table({"words": values, "beside": [chance.bytes(50) for _ in range(20_000)]})
    source = tmp_path / "source.parquet"
    options = {"dictionary_pagesize_limit": 66_000, "max_rows_per_page": 100}
    pq.write_table(table, source, row_group_size=20_000, use_dictionary=["words"], **options)
    assert engine.split(source, tmp_path / "parts", fsync=False, parts=4).manifest.spread <= 0.02


def test_an_index_behind_the_dictionary_is_damage(tmp_path: Path):
    source = tmp_path / "source.parquet"
    write(source, "_documents", "one page")
    chunk = open_file(*find_sources([str(source)])).row_group(0).chunk(1)
    assert trimmed_columns(chunk.group, Recoding(), PieceSize(500, 100.0)) == {1}
    place = chunk.place(None)
    close_files()
    data = bytearray(source.read_bytes())
    header, body = thrift.decode(bytes(data), place.offset)
    header[7][1][1] = (header[7][1][1][0], ROWS // 2)  # the dictionary's number of values
    new = thrift.encode(header)
    assert len(new) == body - place.offset
    data[place.offset : body] = new
    source.write_bytes(bytes(data))
    with pytest.raises(SourceError, match="column value"):
        engine.split(source, tmp_path / "parts", parts=8, fsync=False)
    assert not parts_of(tmp_path / "parts")


def _reorder(path: Path, order: str) -> tuple[int, int]:
    """Put the data pages of a file of one chunk in another order; return how many of each kind."""
    file = ParquetFile.of(path.read_bytes())
    ((leaf, chunk, num_rows),) = file.chunks()
    pages = file.walked(leaf, chunk, num_rows)
    bodies = [file.read(*pages.page(number)) for number in range(pages.num_pages)]
    is_index = [
        file.page(pages, number)[0].is_dictionary_encoded for number in range(pages.num_pages)
    ]
    indices, plain = is_index.index(False), is_index.count(False)
    assert is_index == [True] * indices + [False] * plain
    assert indices > 3 < plain
    if order == "reversed":
        bodies.reverse()
    elif order == "alternating":
        pairs = zip_longest(bodies[indices:], bodies[:indices], fillvalue=b"")
        bodies = list(chain.from_iterable(pairs))
    start = pages.page(0).offset
    data = b"".join(bodies)
    path.write_bytes(file.data[:start] + data + file.data[start + len(data) :])
    return indices, plain


@pytest.mark.ways(9)
@pytest.mark.parametrize("counts", ["true", "too few", "none", "too many", "all", "absent"])
@pytest.mark.parametrize("order", ["as written", "reversed", "alternating"])
def test_pages_that_use_a_dictionary_stand_anywhere_whatever_the_footer_counts(
    tmp_path: Path, order: str, counts: str
):
    source = tmp_path / "in.parquet"
    chance = random.Random(4)
    numbers = [chance.randrange(1 << 60) for _ in range(ROWS // 2)]
    texts = [f"{i} " + chance.randbytes(40).hex() for i in range(ROWS // 2)]
    pq.write_table(
        pa.table({"v": [str(number) for number in numbers] + texts}),
        source,
        **ALL | PAGES["fallback"],
    )
    indices, plain = _reorder(source, order)

    def count(chunk: thrift.Struct) -> None:
        meta, field = chunk[spec.ColumnChunk.META_DATA][1], spec.ColumnMetaData.ENCODING_STATS
        del meta[field]
        if counts == "absent":
            return
        changes = {"too few": indices // 2, "none": 0, "too many": indices + 2}
        number = changes.get(counts, indices + plain if counts == "all" else indices)
        names = spec.PageEncodingStats
        found = [(2, 0, 1), (0, 8, number), (0, 0, indices + plain - number)]
        fields = (names.PAGE_TYPE, names.ENCODING, names.COUNT)
        listed = [spec.struct_of(dict(zip(fields, each, strict=True))) for each in found]
        meta[field] = spec.entry(field, listed)

    rewrite_chunk(source, 0, count)
    table = pq.read_table(source)
    for number, way in enumerate(
        ({"parts": 3}, {"parts": 9}, {"parts": 3, "codec": "zstd"}, {"rows_per_part": 130})
    ):
        engine.split(str(source), str(tmp_path / f"{number}"), fsync=False, **way)
        parts = parts_of(tmp_path / f"{number}")
        assert pa.concat_tables(map(pq.read_table, parts)).equals(table), way
