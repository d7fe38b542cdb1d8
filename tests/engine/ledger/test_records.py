"""Records of other versions: what is unknown is passed over, a newer format is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import DestinationInUse, EvensplitError, NotASplit

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


OTHERS = (None, True, 7, 7.5, "x", [], {}, [[]], [None], {"a": []}, -1)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a record."""
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, item in items:
        inner = _places(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]
        found += inner
    return found


@pytest.mark.parametrize("name", RECORDS)
def test_values_of_other_types_are_damage_and_nothing_else(dest: Path, name: str):
    """A manifest or plan is refused, a receipt does not count; or the value is one that may be."""
    path = dest / "_evensplit" / name
    good = path.read_text()
    chance = random.Random(name)
    if name.startswith("receipts"):
        (dest / "_evensplit/manifest.json").unlink()
    call = engine.verify if name == "manifest.json" else again
    places = _places(json.loads(good))
    for place in chance.sample(places, min(16, len(places))):
        data = json.loads(good)
        at = data
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = chance.choice([other for other in OTHERS if other != at[place[-1]]])
        path.write_text(json.dumps(data))
        try:
            call(dest)
            engine.verify(dest, repair=True)
        except EvensplitError as error:
            assert error.exit_code != 70, (place, at[place[-1]], error)  # noqa: PT017
        path.write_text(good)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "7", '"x"', "[]", "null", ""])
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_no_record_is_damage(dest: Path, name: str, text: str):
    (dest / "_evensplit" / name).write_text(text)
    if name.startswith("receipts"):
        (dest / "_evensplit/manifest.json").unlink()
        assert again(dest).num_resumed == 2
        return
    if name == "plan.json":
        with pytest.raises(NotASplit, match="is damaged; split again with --overwrite"):
            again(dest)
        shutil.rmtree(dest)
    else:
        with pytest.raises(NotASplit, match="is damaged; run the same split again"):
            engine.verify(dest)
    again(dest)
    assert engine.verify(dest).num_rows == 1_000


def _forged(key: str, value: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), key: value}).encode()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no parts": _forged("parts", []),
    "replaces": _forged("replaces", ["../x"]),
    "sources": _forged("sources", 7),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("lost", [None, "manifest.json", "receipts"])
def test_a_plan_that_is_damaged_is_replaced_by_overwrite(dest: Path, damage: str, lost: str | None):
    plan = dest / "_evensplit/plan.json"
    plan.write_bytes(DAMAGES[damage](plan.read_bytes()))
    if lost is not None:  # the other still tells of the parts
        path = dest / "_evensplit" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (dest / "notes.txt").write_text("mine")
    with pytest.raises(NotASplit, match="with --overwrite"):
        again(dest)
    engine.split(dest.parent / "source.parquet", dest, parts=2, overwrite=True)
    names = sorted(path.name for path in dest.glob("*.*"))
    assert names == ["notes.txt", "part-00000.parquet", "part-00001.parquet"]
    assert engine.verify(dest, allow_other_files=True).num_rows == 1_000


@pytest.mark.parametrize("name", ["part-00001.parquet", "part-00002.parquet"])
@pytest.mark.parametrize("is_told", [True, False])
def test_beside_a_damaged_plan_only_what_is_surely_a_part_goes(
    dest: Path, name: str, is_told: bool
):
    """The user has put a file in the place of a part; or no record tells of the parts at all."""
    records = dest / "_evensplit"
    (records / "plan.json").write_text("{")
    (dest / name).write_bytes(b"mine" * 300)
    if not is_told:
        (records / "manifest.json").unlink()
        shutil.rmtree(records / "receipts")
    before = {path.name: path.read_bytes() for path in dest.glob("*.parquet")}
    with pytest.raises(DestinationInUse, match=r"part-0000\d.parquet, which"):
        engine.split(dest.parent / "source.parquet", dest, parts=2, overwrite=True)
    assert (dest / name).read_bytes() == b"mine" * 300
    after = {path.name: path.read_bytes() for path in dest.glob("*.parquet")}
    assert is_told or after == before


def test_a_plan_of_a_newer_format_is_not_overwritten(dest: Path):
    change(dest, "plan.json", lambda data: data.update(format_version=2))
    before = (dest / "_evensplit/plan.json").read_bytes()
    with pytest.raises(NotASplit, match="newer evensplit"):
        engine.split(dest.parent / "source.parquet", dest, parts=2, overwrite=True)
    assert (dest / "_evensplit/plan.json").read_bytes() == before


@pytest.mark.parametrize("name", RECORDS)
def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(dest: Path, name: str):
    (dest / "_evensplit" / name).unlink()
    os.mkfifo(dest / "_evensplit" / name)
    if name == "plan.json":
        with pytest.raises(DestinationInUse, match="was not made by evensplit"):
            again(dest)
    else:
        assert again(dest).manifest.num_rows == 1_000


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "a/b", "..", "", "a\\b", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_damage(dest: Path, name: str):
    def forge(data: dict[str, Any]) -> None:
        data["parts"][1]["name"] = name

    for record, call in (("manifest.json", engine.verify), ("plan.json", again)):
        change(dest, record, forge)
        with pytest.raises(NotASplit, match="is damaged"):
            call(dest)


@pytest.mark.parametrize("other", [{"plan_id": "another"}, {"revision": 1}])
def test_a_receipt_of_another_plan_does_not_count(dest: Path, other: dict[str, Any]):
    (dest / "_evensplit" / "manifest.json").unlink()
    change(dest, RECORDS[2], lambda data: data.update(other))
    assert again(dest).num_resumed == 2
    assert engine.verify(dest).num_rows == 1_000


def test_a_receipt_of_an_older_version_counts(dest: Path):
    (dest / "_evensplit" / "manifest.json").unlink()
    change(dest, RECORDS[2], lambda data: (data.pop("plan_id"), data.pop("revision")))
    assert again(dest).num_resumed == 3
