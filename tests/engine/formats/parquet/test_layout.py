"""Footers of many files: read by tables that small files share, as each would be by itself."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EvensplitError
from engine.formats.parquet import layout
from engine.model import SourceFile
from engine.storage import open_storage
from tests.engine.running import close_files, write_source

KINDS = ("plain", "filters", "empty", "other schema", "lies", "cut off")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceFile]:
    folder = tmp_path_factory.mktemp("kinds")
    table = pa.table({"id": range(300), "text": [f"text {it}" for it in range(300)]})
    for name in KINDS:
        filters = {"bloom_filter_options": {"id": {"ndv": 300}}} if name == "filters" else {}
        some = table.slice(0, 0) if name == "empty" else table
        if name == "other schema":
            some = table.append_column("more", table["id"])
        pq.write_table(some, folder / name, row_group_size=100, **filters)
    data = (folder / "plain").read_bytes()
    at = data.index(b"PAR1", 4) - 4
    footer = at - int.from_bytes(data[at : at + 4], "little")
    (folder / "lies").write_bytes(data[: footer - 500] + data[footer:])  # chunks beyond its data
    (folder / "cut off").write_bytes(data[: at - 90] + bytes(90) + data[at:])
    return {name: _stat(folder / name) for name in KINDS}


def _stat(path: Path) -> SourceFile:
    store, place = open_storage(str(path))
    return store.stat(place)


def _found(files: list[SourceFile]) -> object:
    close_files()
    try:
        return layout.read_layout(files)
    except EvensplitError as error:
        return type(error), str(error)
    finally:
        close_files()


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
def test_files_that_share_a_table_are_read_as_each_by_itself(
    kinds: dict[str, SourceFile], names: list[str]
) -> None:
    files = [kinds[name] for name in names]
    together = _found(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_MOST_TABLED_CHUNKS", 0)
        assert _found(files) == together


def test_small_files_of_one_schema_share_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [_stat(write_source(tmp_path / f"{it}.parquet", 10)) for it in range(9)]
    asked: list[int] = []
    read = layout.read_chunk_tables

    def counted(footers: list) -> object:
        asked.append(len(footers))
        return read(footers)

    monkeypatch.setattr(layout, "read_chunk_tables", counted)
    assert not isinstance(_found(files), tuple)
    assert asked == [9]
