"""What parts are projected to take: by what is done to pages, not by all that they might hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.memory import MIB

ONE_PAGE = {
    "row_group_size": 1 << 30,
    "data_page_size": 1 << 30,
    "max_rows_per_page": 1 << 30,
    "write_batch_size": 1 << 30,
}


def coded(path: Path, num_entries: int, width: int, num_rows: int, **options: Any) -> Path:
    """Write texts of which a dictionary holds few, as one page of indices."""
    words = pa.array([f"{number:0{width}}" for number in range(num_entries)])
    indices = np.random.default_rng(1).integers(0, num_entries, num_rows)
    indices[:3] = 1, num_entries - 1, 2
    table = pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), words)})
    wish = ONE_PAGE | {"dictionary_pagesize_limit": 1 << 30, "store_schema": False} | options
    pq.write_table(table, path, **wish)
    return path


def test_values_that_stay_in_their_dictionary_are_not_counted(tmp_path):
    source = coded(tmp_path / "source.parquet", 1000, 500, 1_000_000)
    for wish in ({}, {"codec": "zstd"}, {"data_page_version": 2}):
        assert engine.plan(source, parts=3, **wish).memory_bytes < 120 * MIB, wish
    given_up = engine.plan(source, parts=3, dictionary=False).memory_bytes
    assert given_up > 4 * 500 * 1_000_000


@pytest.mark.parametrize("wish", [{}, {"codec": "gzip"}], ids=str)
@pytest.mark.parametrize("has_index", [True, False])
def test_a_page_of_more_values_than_an_array_holds_is_cut(wish, has_index, tmp_path):
    source = coded(tmp_path / "in.parquet", 1000, 1200, 2_000_000, write_page_index=has_index)
    result = engine.split(source, tmp_path / "parts", parts=2, fsync=False, **wish)
    assert result.peak_memory_bytes < 1 << 31
    want = pq.read_table(source, read_dictionary=["a"])["a"].combine_chunks()
    parts = [tmp_path / "parts" / f"part-{number:05}.parquet" for number in range(2)]
    found = [pq.read_table(part, read_dictionary=["a"])["a"].combine_chunks() for part in parts]
    words = [array.dictionary.take(array.indices.slice(0, 1000)).to_pylist() for array in found]
    for array, part, first in zip(found, parts, (0, len(found[0])), strict=True):
        here = want.slice(first, len(array))
        statistics = pq.read_metadata(part).row_group(0).column(0).statistics
        used = np.unique(here.indices.to_numpy())
        least, most = (want.dictionary[int(used[at])].as_py() for at in (0, -1))
        assert (statistics.min, statistics.max) == (least, most)
        assert words[0] == want.dictionary.take(want.indices.slice(0, 1000)).to_pylist()
        assert len(array.dictionary) <= 1000


def test_a_dictionary_that_a_cut_repeats_counts_with_another_codec_too(tmp_path):
    source = coded(tmp_path / "source.parquet", 20_000, 1000, 200_000)
    for wish in ({}, {"codec": "gzip"}):
        assert engine.plan(source, parts=2, **wish).memory_bytes > 5 * 20_000 * 1000
    whole = engine.plan(source, parts=1, codec="gzip").memory_bytes
    assert 2 * 20_000 * 1000 < whole < 5 * 20_000 * 1000


@pytest.mark.parametrize("encoding", ["DELTA_BINARY_PACKED", "DELTA_BYTE_ARRAY"])
def test_values_that_differences_tell_are_counted_as_they_are_decoded(encoding, tmp_path):
    source = tmp_path / "source.parquet"
    numbers = np.arange(500_000)
    is_text = encoding == "DELTA_BYTE_ARRAY"
    values = [f"{'same' * 50}{number:08}" for number in numbers] if is_text else numbers
    encodings = {"a": encoding}
    options = ONE_PAGE | {"use_dictionary": False, "column_encoding": encodings}
    pq.write_table(pa.table({"a": values}), source, **options)
    value_bytes = 208 if is_text else 8
    assert source.stat().st_size < value_bytes * len(numbers) / 10
    num_copies = 4 if is_text else 2
    least_bytes = (num_copies * value_bytes + 40) * len(numbers)
    assert engine.plan(source, parts=2).memory_bytes > least_bytes
