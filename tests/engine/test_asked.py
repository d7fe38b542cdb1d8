"""The budget is asked before anything large is read, by every verb: refused, never killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine import memory
from engine.errors import EvensplitError, OverBudget
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import MAGIC, seal
from engine.formats.parquet.bytes.thrift import BINARY, I32, I64, LIST, STRUCT
from engine.memory import MIB, Cgroup
from engine.verification import verify_memory_bytes

MANY = 2_000_000
EMPTY = thrift.Sequence(STRUCT, [thrift.Raw(b"\0")] * MANY)
ROOT = thrift.Raw(thrift.encode({4: (BINARY, b"schema"), 5: (I32, 1)}))
COLUMN = thrift.Raw(thrift.encode({1: (I32, 2), 3: (I32, 0), 4: (BINARY, b"a")}))
SOUND: dict[int, tuple[int, Any]] = {
    1: (I32, 1),
    2: (LIST, thrift.Sequence(STRUCT, [ROOT, COLUMN])),
    3: (I64, 0),
    4: (LIST, thrift.Sequence(STRUCT, [])),
}
LISTS = {"schema": 2, "row groups": 4, "key-value metadata": 5, "a field that nobody knows": 99}


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what puts this process into a control group that has so much left."""

    def limit(left_bytes: int) -> None:
        group = Cgroup(2, "/", left_bytes, 0)
        monkeypatch.setattr(memory, "cgroups", lambda root: iter([group]))

    return limit


def verbs(source: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Return every verb that opens a source."""
    return {
        "profile": lambda: engine.profile(source),
        "profile --key": lambda: engine.profile_key(source, "a"),
        "plan": lambda: engine.plan(source, parts=2),
        "split": lambda: engine.split(source, folder / "parts", parts=2),
        "report": lambda: engine.report(source, folder / "page.html"),
    }


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(OverBudget) as caught:
        call()
    return str(caught.value)


@pytest.mark.ways(8)
@pytest.mark.parametrize("verb", verbs(Path(), Path()))
@pytest.mark.parametrize("place", LISTS)
def test_a_list_of_a_footer_is_not_made_larger_than_the_budget(verb, place, limited, tmp_path):
    source = tmp_path / "source.parquet"
    footer = dict(sorted({**SOUND, LISTS[place]: (LIST, EMPTY)}.items()))
    source.write_bytes(MAGIC + seal(thrift.encode(footer)))
    limited(120 * MIB)
    told = refused(verbs(source, tmp_path)[verb])
    assert str(source) in told
    assert "a list of 2,000,000 elements" in told
    assert "the budget is 96.00 MiB" in told
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("verb", verbs(Path(), Path()))
def test_a_footer_is_not_read_whose_length_is_over_the_budget(verb, limited, tmp_path):
    source = tmp_path / "source.parquet"
    with source.open("wb") as file:  # nearly all of it is a hole
        file.write(MAGIC)
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write((900_000_000).to_bytes(4, "little") + MAGIC)
    limited(120 * MIB)
    assert "a footer of 900,000,000 bytes" in refused(verbs(source, tmp_path)[verb])


def test_a_schema_is_not_decoded_that_is_over_the_budget(limited, tmp_path):
    source = tmp_path / "source.parquet"
    columns = thrift.Sequence(STRUCT, [ROOT, *[COLUMN] * 60_000])
    source.write_bytes(MAGIC + seal(thrift.encode({**SOUND, 2: (LIST, columns)})))
    limited(200 * MIB)
    assert "a schema of 60,001 elements" in refused(lambda: engine.plan(source, parts=2))


def test_page_indexes_are_not_read_that_are_over_the_budget(limited, tmp_path):
    source = tmp_path / "source.parquet"
    values = pa.table({"a": np.arange(400_000)})
    options = {"data_page_size": 1, "write_batch_size": 4, "max_rows_per_page": 4}
    pq.write_table(values, source, use_dictionary=False, write_page_index=True, **options)
    limited(75 * MIB)
    assert "a profile needs" in refused(lambda: engine.profile(source))


def test_with_memory_enough_a_footer_is_refused_for_what_it_is(tmp_path):
    source = tmp_path / "source.parquet"
    source.write_bytes(MAGIC + seal(thrift.encode({**SOUND, 4: (LIST, EMPTY)})))
    with pytest.raises(EvensplitError) as caught:
        engine.plan(source, parts=2)
    assert caught.value.exit_code in (3, 4)


@pytest.mark.parametrize(
    "wish", [{"codec": "zstd"}, {"dictionary": True}, {"data_page_version": 2}], ids=str
)
def test_a_page_is_not_tried_that_is_over_the_budget(wish, limited, tmp_path):
    source = tmp_path / "source.parquet"
    table = pa.table({"a": np.random.default_rng(1).integers(0, 1 << 62, 4_000_000)})
    pq.write_table(
        table,
        source,
        use_dictionary=False,
        row_group_size=1 << 30,
        data_page_size=1 << 30,
        max_rows_per_page=1 << 30,
    )
    limited(190 * MIB)
    told = refused(lambda: engine.plan(source, parts=1, **wish))
    assert "to try what pages of column a become" in told


def test_inside_a_verb_the_budget_is_that_of_its_beginning(limited):
    limited(1000 * MIB)
    with memory.keeping_to(None) as outer:
        limited(10 * MIB)
        with memory.keeping_to(None) as inner:
            assert inner is outer
            memory.ask(700 * MIB, "this")
        with pytest.raises(OverBudget, match=r"that needs about 8\d\d\.\d\d MiB .*is 800\.00 MiB"):
            memory.ask(780 * MIB, "that")
    with memory.keeping_to(None) as now:
        assert now.bytes == 8 * MIB


def test_what_takes_little_and_what_no_verb_has_begun_is_not_refused(limited):
    limited(1 * MIB)
    memory.ask(1 << 40, "whatever a worker reads")
    with memory.keeping_to(None):
        memory.ask(1 << 19, "a little")


def one_page(path: Path, num_bytes: int) -> Path:
    """Write a file of two columns that each have one page of so many bytes."""
    values = np.random.default_rng(2).integers(0, 1 << 62, num_bytes // 8)
    pq.write_table(
        pa.table({"a": values, "b": values}),
        path,
        use_dictionary=False,
        row_group_size=1 << 30,
        data_page_size=1 << 30,
        max_rows_per_page=1 << 30,
    )
    return path


def test_a_proof_takes_as_many_columns_at_once_as_fit_and_is_refused_where_none_does(
    limited, tmp_path
):
    source = one_page(tmp_path / "source.parquet", 32 * MIB)
    folder = tmp_path / "parts"
    engine.split(source, folder, parts=1)
    one, two = (verify_memory_bytes(str(folder), workers=number) for number in (1, 2))
    assert two - one > 2 * 2 * 32 * MIB
    assert verify_memory_bytes(str(folder), workers=2, memory_bytes=one) < two
    limited(2 * one)
    assert engine.verify(folder, workers=2).num_columns == 2
    limited(one // 2)
    assert "to compare the largest column" in refused(lambda: engine.verify(folder))


def test_the_proof_of_a_split_has_the_budget_that_the_split_had(limited, tmp_path):
    source = one_page(tmp_path / "source.parquet", 1 * MIB)
    limited(400 * MIB)

    class Full(engine.Progress):
        def committed(self, receipt: object) -> None:
            limited(1 * MIB)  # what was left is used now, by this process

    told = engine.split(source, tmp_path / "parts", parts=1, verify=True, progress=Full())
    assert told.verification is not None
    limited(1 * MIB)
    refused(lambda: engine.verify(tmp_path / "parts"))


def test_the_pages_of_parts_count_where_they_are_larger_than_those_of_the_source(tmp_path):
    source = tmp_path / "source.parquet"
    words = [f"{number:0200}" for number in range(20_000)]
    pq.write_table(pa.table({"a": words}), source, row_group_size=500)
    engine.split(source, tmp_path / "few", parts=1)
    engine.split(source, tmp_path / "one", parts=1, row_group_size="1GB")
    few, one = (verify_memory_bytes(str(tmp_path / name), workers=1) for name in ("few", "one"))
    assert one - few > 3 * sum(map(len, words))  # the dictionary of all, decoded


def test_key_values_are_counted_in_as_many_threads_as_fit_and_refused_where_none_does(
    limited, tmp_path
):
    source = one_page(tmp_path / "source.parquet", 48 * MIB)
    limited(600 * MIB)
    assert engine.profile_key(source, "a").num_rows == 6 * MIB
    limited(200 * MIB)
    assert "to count the values of column a" in refused(lambda: engine.profile_key(source, "a"))
