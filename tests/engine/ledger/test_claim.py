"""A run that failed before its first part is not in the way of the next, whatever that wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import Locked, OtherPlan, SourceChanged
from engine.storage import open_storage
from tests.engine.running import leftovers, parts_of, write_source

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
