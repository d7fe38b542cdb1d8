"""Parts that certainly do not fit the disk are refused before any is written."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine
from engine.errors import NoDiskSpace
from engine.storage.local import LocalStorage
from tests.engine.running import contents, leftovers, parts_of, run, write_source

DISK_BYTES = 4 << 20
NUM_ROWS = 200_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little more than the disk has."""
    path = tmp_path_factory.mktemp("room") / "source.parquet"
    write_source(path, num_rows=NUM_ROWS, row_group_size=20_000)
    assert DISK_BYTES < path.stat().st_size < 2 * DISK_BYTES
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; it takes root to mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    size = f"size={DISK_BYTES}".encode()
    assert libc.mount(b"none", bytes(folder), b"tmpfs", 0, size) == 0
    try:
        yield folder
    finally:
        libc.umount2(bytes(folder), 2)


def test_what_cannot_fit_is_refused_before_it_is_begun(source: Path, disk: Path):
    ended = run("split", source, disk / "parts", "--parts", "5")
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith("evensplit: space.disk: ")
    told = r"need ([\d.]+) MB more in .*, and ([\d.]+) MB are left there; free ([\d.]+) kB, or"
    needed, left, missing = map(float, re.findall(told, ended.err)[0])
    assert needed - left == pytest.approx(missing / 1000, abs=0.11)
    assert contents(disk / "parts") == {}  # not even a claim


def test_after_room_is_made_the_same_command_goes_on(source: Path, disk: Path):
    """What is committed counts as there: with it the rest fits, although all would not."""
    narrow = {"columns": ["id", "float"], "parts": 4}
    engine.split(source, disk / "parts", **narrow)
    before = contents(disk / "parts")
    (disk / "parts/part-00002.parquet").unlink()
    (disk / "ballast").write_bytes(bytes(DISK_BYTES - sum(map(len, before.values())) - (64 << 10)))
    assert engine.split(source, disk / "parts", **narrow).num_resumed == 3
    assert contents(disk / "parts") == before


def test_a_split_that_is_replaced_counts_as_room_and_one_that_does_not_fit_replaces_nothing(
    source: Path, disk: Path
):
    dest = disk / "parts"
    engine.split(source, dest, columns=["id", "float"], parts=3)
    before = contents(dest)
    with pytest.raises(NoDiskSpace):
        engine.split(source, dest, parts=4, overwrite=True)
    assert contents(dest) == before
    size_bytes = sum(path.stat().st_size for path in parts_of(dest))
    (disk / "ballast").write_bytes(bytes(DISK_BYTES - size_bytes - (256 << 10)))
    engine.split(source, dest, columns=["id", "float"], parts=4, overwrite=True)
    assert len(parts_of(dest)) == 4
    assert leftovers(dest) == []


def test_where_it_is_not_known_what_fits_parts_are_tried(
    source: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("engine.storage.local._PLAIN_FILE_SYSTEMS", set())
    with pytest.raises(NoDiskSpace, match="no space left while writing"):
        engine.split(source, disk / "parts", parts=5, workers=1)
    assert "may compress or share them, so they are tried" in caplog.text
    monkeypatch.undo()
    assert leftovers(disk / "parts") == []


def test_room_is_what_the_file_system_says(disk: Path, tmp_path: Path):
    store = LocalStorage()
    assert store.room(str(disk)) == (DISK_BYTES, True)
    (disk / "file").write_bytes(bytes(1 << 20))
    assert store.room(str(disk)) == (DISK_BYTES - (1 << 20), True)
    assert not store.room("/proc").is_exact
    found = os.statvfs(tmp_path)
    assert store.room(str(tmp_path)).num_bytes <= found.f_blocks * found.f_frsize
