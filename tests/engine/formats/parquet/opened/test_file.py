import gc
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine import memory
from engine.errors import EvensplitError
from engine.formats.parquet import layout
from engine.formats.parquet.bytes.footer import RowGroup
from engine.formats.parquet.opened import file
from engine.formats.parquet.opened.footer import read_footer
from engine.formats.parquet.same_schema import differences
from engine.sources import find_sources
from engine.storage import open_storage
from tests.engine.running import close_files

NUM_FILES, NUM_GROUPS, NUM_COLUMNS = 6, 30, 4


def test_files_that_are_open_together_share_the_room_for_decoded_row_groups(
    tmp_path: Path, monkeypatch
):
    for module in (layout, file):
        monkeypatch.setattr(module, "CACHED_CHUNKS", NUM_COLUMNS * NUM_GROUPS)
    table = pa.table({f"c{i}": range(NUM_GROUPS) for i in range(NUM_COLUMNS)})
    for number in range(NUM_FILES):
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=1)
    before = _num_decoded()
    try:
        found = layout.read_layout(find_sources([str(tmp_path)]))
        assert len(found.groups) == NUM_FILES * NUM_GROUPS
        footers = [pq.read_metadata(path).serialized_size for path in tmp_path.iterdir()]
        most = NUM_COLUMNS * NUM_GROUPS  # decoded at once
        expected = memory.footers_bytes(footer_bytes=sum(footers), num_chunks=most)
        assert found.held_bytes == expected
        assert _num_decoded() - before <= NUM_GROUPS
    finally:
        close_files()


def _num_decoded() -> int:
    gc.collect()
    return sum(isinstance(each, RowGroup) for each in gc.get_objects())


def test_files_of_one_schema_share_what_is_decoded_of_it(tmp_path: Path) -> None:
    footers = []
    for number, names in enumerate([("a", "b"), ("a", "b"), ("a", "c"), ("a", "b")]):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({name: [number] for name in names}), path)
        store, place = open_storage(str(path))
        source = store.open(store.stat(place))
        footers.append(read_footer(source)[0])
        source.close()
    assert footers[1].leaves is footers[0].leaves
    assert [leaf.name for leaf in footers[2].leaves] == ["a", "c"]
    assert [leaf.name for leaf in footers[3].leaves] == ["a", "b"]
    assert [footer.num_rows for footer in footers] == [1] * 4
    assert not list(differences(footers[0], footers[1]))
    assert not list(differences(footers[0], footers[3]))
    assert list(differences(footers[1], footers[2]))


def test_what_another_part_still_uses_of_a_row_group_is_dropped_after_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    opened = file.OpenFile(find_sources([str(tmp_path)])[0])
    made = opened.row_group(0).kept(list, list)
    with opened.in_use(0):
        with opened.in_use(0):
            opened.forget(0)
        assert opened.row_group(0).kept(list, list) is made
    made_again = opened.row_group(0).kept(list, list)
    assert made_again is not made
    opened.forget(0)
    assert opened.row_group(0).kept(list, list) is not made_again
    opened.close()


def test_calls_side_by_side_leave_each_other_their_files(tmp_path: Path) -> None:
    for name in "xyz":
        pq.write_table(pa.table({name: [1]}), tmp_path / f"{name}.parquet")
    x, y, z = find_sources([str(tmp_path)])
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(file.files_held())
        only_first = file.open_file(x)
        second.enter_context(file.files_held())
        shared, only_second = file.open_file(y), file.open_file(z)
        first.close()
        assert not _is_open(only_first)
        assert _is_open(shared)
        assert file.open_file(y) is shared
        with file.files_held():  # one that asks for nothing, or for what another has open
            file.open_file(z)
        assert _is_open(only_second)
        again = file.open_file(x)
        assert _is_open(again)
    assert not any(map(_is_open, (shared, only_second, again)))


def _is_open(opened: file.OpenFile) -> bool:
    try:
        return opened.source.read(0, 4) == b"PAR1"
    except (EvensplitError, OSError):
        return False
