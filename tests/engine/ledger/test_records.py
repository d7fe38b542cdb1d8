"""Records of other versions: what is unknown is passed over, a newer format is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import NotASplit

RECORDS = ("plan.json", "manifest.json", "receipts/00000.json")


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"id": range(1_000)}), source, row_group_size=100)
    engine.split(source, tmp_path / "parts", parts=3)
    return tmp_path / "parts"


def change(dest: Path, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
    path = dest / "_evensplit" / name
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def again(dest: Path) -> engine.SplitResult:
    return engine.split(dest.parent / "source.parquet", dest, parts=3)


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_says_its_version(dest: Path, name: str):
    assert json.loads((dest / "_evensplit" / name).read_text())["format_version"] == 1


def _strangers(data: Any) -> None:
    """Put a key that nobody knows into every structure of a record."""
    for item in data.values() if isinstance(data, dict) else data:
        if isinstance(item, dict | list):
            _strangers(item)
    if isinstance(data, dict) and "target_bytes" not in data:  # settings are compared as they are
        data["stranger"] = {"of": "tomorrow"}


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_unknown_is_passed_over(dest: Path, name: str):
    change(dest, name, _strangers)
    assert again(dest).num_resumed == 3
    assert engine.verify(dest).num_rows == 1_000
    (dest / "part-00001.parquet").unlink()
    assert engine.verify(dest, repair=True).repaired == ("part-00001.parquet",)


def test_records_without_a_version_are_the_first(dest: Path):
    for name in RECORDS:
        change(dest, name, lambda data: data.pop("format_version"))
    assert again(dest).num_resumed == 3
    assert engine.verify(dest).num_rows == 1_000


@pytest.mark.parametrize("name", RECORDS[:2])
def test_a_newer_format_is_refused(dest: Path, name: str):
    change(dest, name, lambda data: data.update(format_version=2))
    call = again if name == "plan.json" else engine.verify
    with pytest.raises(NotASplit, match="format 2, this one knows 1") as raised:
        call(dest)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_part_with_a_receipt_of_a_newer_format_is_written_again(dest: Path):
    (dest / "_evensplit" / "manifest.json").unlink()
    change(dest, RECORDS[2], lambda data: data.update(format_version=2))
    assert again(dest).num_resumed == 2
    assert engine.verify(dest).num_rows == 1_000


def test_a_version_that_is_none_is_damage(dest: Path):
    change(dest, "plan.json", lambda data: data.update(format_version="x"))
    with pytest.raises(NotASplit, match="is damaged"):
        again(dest)
