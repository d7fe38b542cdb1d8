"""A run that failed before its first part is not in the way of the next, whatever that wants."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import splitter
from engine.errors import DestinationInUse, Locked, NotASplit, OtherPlan, SourceChanged
from engine.storage import open_storage
from tests.engine.running import contents, leftovers, parts_of, write_source

OTHERS: list[dict[str, Any]] = [
    {"parts": 2},
    {"parts": 5, "name": "other-{index:03d}.parquet"},
    {"target_size": "200kB"},
    {"parts": 3, "codec": "gzip"},
]
NUM_ROWS = 9_000


class TouchSource(engine.Progress):
    """The source gets another time once the plan stands, or once so many parts are committed."""

    def __init__(self, source: Path, after_parts: int) -> None:
        self._source = source
        self._left = after_parts

    def planned(self, plan: Any, num_resumed: int) -> None:
        if not self._left:
            os.utime(self._source, ns=(1, 1))

    def committed(self, receipt: Any) -> None:
        self._left -= 1
        self.planned(None, 0)


def fail(source: Path, dest: Path, *, after_parts: int) -> None:
    """Begin a split that fails, and make the source again what it was."""
    before = source.stat()
    with pytest.raises(SourceChanged):
        engine.split(source, dest, parts=4, workers=1, progress=TouchSource(source, after_parts))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (dest / "_evensplit/plan.json").exists()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source.parquet", num_rows=NUM_ROWS, row_group_size=1_000)


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_before_the_first_part_any_other_split_may_follow(
    tmp_path: Path, source: Path, other: dict[str, Any]
):
    dest = tmp_path / "parts"
    fail(source, dest, after_parts=0)
    assert not parts_of(dest)
    result = engine.split(source, dest, **other)
    assert {path.name for path in parts_of(dest)} == {part.name for part in result.manifest.parts}
    assert engine.verify(dest).num_rows == NUM_ROWS
    assert leftovers(dest) == []


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_part_that_is_committed_keeps_the_claim(
    tmp_path: Path, source: Path, other: dict[str, Any]
):
    dest = tmp_path / "parts"
    fail(source, dest, after_parts=1)
    for receipt in (dest / "_evensplit/receipts").iterdir():  # the part alone will do
        receipt.unlink()
    assert parts_of(dest)
    with pytest.raises(OtherPlan):
        engine.split(source, dest, **other)


def test_a_receipt_keeps_the_claim(tmp_path: Path, source: Path):
    dest = tmp_path / "parts"
    fail(source, dest, after_parts=1)
    for part in parts_of(dest):
        part.unlink()
    with pytest.raises(OtherPlan):
        engine.split(source, dest, parts=2)


def test_a_claim_is_not_replaced_while_its_run_is_at_work(tmp_path: Path, source: Path):
    dest = tmp_path / "parts"
    fail(source, dest, after_parts=0)
    plan = (dest / "_evensplit/plan.json").read_bytes()
    store, folder = open_storage(str(dest / "_evensplit"))
    with store.lock(folder), pytest.raises(Locked):
        engine.split(source, dest, parts=2)
    assert (dest / "_evensplit/plan.json").read_bytes() == plan


def test_a_store_without_locks_keeps_every_claim(source: Path):
    dest = "memory://claims/parts"
    store, folder = open_storage(dest)
    before = source.stat()
    with pytest.raises(SourceChanged):
        engine.split(source, dest, parts=4, workers=1, progress=TouchSource(source, 0))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.files(folder) == []
    with pytest.raises(OtherPlan):
        engine.split(source, dest, parts=2)
    assert engine.split(source, dest, parts=4).manifest.num_rows == NUM_ROWS


@pytest.mark.parametrize("below", ["", "parts"])
@pytest.mark.parametrize("stands", ["file", "link", "loop"])
def test_what_can_be_no_folder_is_refused(tmp_path: Path, source: Path, stands: str, below: str):
    place = tmp_path / "place"
    if stands == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere" if stands == "link" else place)
    with pytest.raises(DestinationInUse, match="a file or a broken link, or lies below one"):
        engine.split(source, place / below, parts=2)
    assert not (tmp_path / "nowhere").exists()


def test_a_split_is_not_replaced_for_a_source_that_changed_meanwhile(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    dest = tmp_path / "parts"
    engine.split(source, dest, parts=2)
    before = contents(dest)
    plan = splitter._plan

    def plan_and_change(*arguments: Any) -> Any:
        found = plan(*arguments)
        os.utime(source, ns=(1, 1))
        return found

    monkeypatch.setattr(splitter, "_plan", plan_and_change)
    with pytest.raises(SourceChanged):
        engine.split(source, dest, parts=3, overwrite=True)
    assert contents(dest) == before


# -- what lies beside the parts -------------------------------------------------------------------


def test_a_file_that_is_named_like_a_part_is_refused_and_kept(tmp_path: Path, source: Path):
    dest = tmp_path / "parts"
    engine.split(source, dest, parts=2)
    (dest / "part-00007.parquet").write_text("mine")
    for wish in ({"parts": 2}, {"parts": 3, "overwrite": True}):
        with pytest.raises(DestinationInUse, match=r"part-00007.parquet, which is named like"):
            engine.split(source, dest, **wish)
        assert (dest / "part-00007.parquet").read_text() == "mine"


class PutWhenPlanned(engine.Progress):
    """Writes a file, as a run that was paused might, when the folder was looked at already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def planned(self, plan: Any, num_resumed: int) -> None:
        self._path.write_text("late")


@pytest.mark.parametrize(("name", "stays"), [("part-00003.parquet", False), ("_notes.txt", True)])
def test_what_comes_late_is_removed_if_a_replaced_plan_names_it(
    tmp_path: Path, source: Path, name: str, stays: bool
):
    dest = tmp_path / "parts"
    engine.split(source, dest, parts=4)
    late = PutWhenPlanned(dest / name)
    engine.split(source, dest, parts=2, overwrite=True, progress=late)
    assert (dest / name).exists() is stays
    assert engine.verify(dest).num_rows == NUM_ROWS
    assert "replaces" not in json.loads((dest / "_evensplit/plan.json").read_text())


def test_what_comes_late_and_no_plan_names_leaves_the_split_unfinished(
    tmp_path: Path, source: Path
):
    dest = tmp_path / "parts"
    late = PutWhenPlanned(dest / "part-00007.parquet")
    with pytest.raises(DestinationInUse):
        engine.split(source, dest, parts=2, progress=late)
    with pytest.raises(NotASplit, match="unfinished"):
        engine.verify(dest)
    (dest / "part-00007.parquet").unlink()
    assert engine.split(source, dest, parts=2).num_resumed == 2
    assert engine.verify(dest).num_rows == NUM_ROWS


def test_a_manifest_of_another_plan_finishes_nothing(tmp_path: Path, source: Path):
    for parts in (2, 3):
        engine.split(source, tmp_path / str(parts), parts=parts)
    manifest = (tmp_path / "3/_evensplit/manifest.json").read_bytes()
    (tmp_path / "2/_evensplit/manifest.json").write_bytes(manifest)
    with pytest.raises(NotASplit, match="unfinished"):
        engine.verify(tmp_path / "2")
    engine.split(source, tmp_path / "2", parts=2)
    assert engine.verify(tmp_path / "2").num_parts == 2


@pytest.mark.parametrize("names", ["x", [1], ["../x"], {"a": 1}, [None]])
def test_names_of_replaced_parts_that_are_forged_are_damage(
    tmp_path: Path, source: Path, names: Any
):
    dest = tmp_path / "parts"
    engine.split(source, dest, parts=2)
    plan = json.loads((dest / "_evensplit/plan.json").read_text())
    (dest / "_evensplit/plan.json").write_text(json.dumps({**plan, "replaces": names}))
    for call in (lambda: engine.split(source, dest, parts=2), lambda: engine.verify(dest)):
        with pytest.raises(NotASplit, match="is damaged"):
            call()
