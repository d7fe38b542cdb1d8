"""The seam: another format splits, resumes, verifies and is repaired by the same story."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import engine
from engine import formats, splitter
from engine.errors import Different, SchemaMismatch
from tests.engine.formats import records
from tests.engine.running import three_parts

NAME = "part-{index:03}.records"


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.BY_ENDING, records.ENDING, records.__name__)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    chance = random.Random(1)
    rows = [chance.randbytes(100) for _ in range(5_000)]
    folder = tmp_path / "sources"
    folder.mkdir()
    return [
        records.write_file(folder / "a.records", rows[:3_000]),
        records.write_file(folder / "b.records", rows[3_000:]),
    ]


def parts_of(dest: Path) -> list[Path]:
    return sorted(dest.glob("*.records"))


def rows_of(paths: list[Path]) -> list[bytes]:
    return [row for path in paths for row in records.read_file(path)]


def test_parts_are_equal_and_hold_every_record(sources: list[Path], tmp_path: Path):
    dest = tmp_path / "parts"
    result = engine.split(sources, dest, target_size=60_000, name=NAME, verify=True)
    assert rows_of(parts_of(dest)) == rows_of(sources)
    sizes = [path.stat().st_size for path in parts_of(dest)]
    assert len(sizes) == 9
    assert max(sizes) <= 60_000
    assert max(sizes) <= 1.01 * min(sizes)
    assert result.verification is not None
    assert result.verification.num_values == 5_000
    assert sum(part.reencoded_bytes for part in result.manifest.parts) == 0


def test_a_split_that_was_stopped_is_finished(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dest = tmp_path / "parts"

    with monkeypatch.context() as patch:
        patch.setattr(splitter, "run_parts", three_parts)
        with pytest.raises(KeyboardInterrupt):
            engine.split(sources, dest, parts=7, name=NAME)
    stamps = [path.stat().st_mtime_ns for path in parts_of(dest)]
    assert len(stamps) == 3
    assert engine.split(sources, dest, parts=7, name=NAME).num_resumed == 3
    assert [path.stat().st_mtime_ns for path in parts_of(dest)[:3]] == stamps
    assert rows_of(parts_of(dest)) == rows_of(sources)


def test_a_damaged_part_is_found_and_repaired(sources: list[Path], tmp_path: Path):
    dest = tmp_path / "parts"
    engine.split(sources, dest, parts=4, name=NAME)
    before = [path.read_bytes() for path in parts_of(dest)]
    data = bytearray(before[2])
    data[500] ^= 1
    parts_of(dest)[2].write_bytes(data)
    with pytest.raises(Different, match=r"part-002\.records"):
        engine.verify(dest)
    assert engine.verify(dest, repair=True).repaired == ("part-002.records",)
    assert [path.read_bytes() for path in parts_of(dest)] == before


def test_files_of_two_formats_are_no_one_source(sources: list[Path], tmp_path: Path):
    other = tmp_path / "sources" / "c.parquet"
    other.write_bytes(b"PAR1")
    with pytest.raises(SchemaMismatch, match="different formats"):
        engine.plan([*sources, other], parts=2)
