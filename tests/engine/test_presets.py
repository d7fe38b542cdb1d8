"""Presets: files that say where their figures are from; options that are given win over them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadSetting
from engine.presets import preset_names, read_preset
from tests.engine.running import run, write_source

FOLDER = Path(__file__).parents[2] / "conf" / "presets"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_all_that_help_names_are_there():
    assert set(NAMES) == set(preset_names())
    told = run("split", "--help").out
    assert all(name in told for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_names_its_document_and_makes_settings(name: str):
    data = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    assert data["document"].startswith("https://")
    made = engine.make_settings(preset=name)
    assert made.target_bytes is not None
    assert (made.least_part_bytes or 0) <= made.target_bytes / 2
    assert engine.make_settings(preset=name.upper(), target_size=5).target_bytes == 5
    by_parts = engine.make_settings(preset=name, parts=3)
    assert (by_parts.target_bytes, by_parts.num_parts) == (None, 3)


def test_a_preset_of_ones_own_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "conf" / "presets"
    mine.mkdir(parents=True)
    (mine / "mine.toml").write_text('[options]\ntarget_size = "7MB"\ncodec = "zstd"\n')
    (mine / "generic.toml").write_text('[options]\ntarget_size = "8MB"\n')
    made = engine.make_settings(preset="mine")
    assert (made.target_bytes, made.codec) == (7_000_000, "zstd")
    assert engine.make_settings(preset="generic").target_bytes == 8_000_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = [", "is no TOML"),
        ('[options]\ntarget_szie = "1MB"', "has no target_szie; did you mean target_size"),
        ("[other]", "has no other"),
        ("options = 3", "options is no table"),
        ('[options]\ntarget_size = "much"', r"mine.toml, target_size: .*'much' is no size"),
        ("[options]\nleast_part_size = -1", r"mine.toml, least_part_size: .*-1 is no size"),
        ('[options]\ncodec = "zstdd"', r"mine.toml, codec: .*zstd"),
        ('target_size = "1MB"', r"mine.toml: target_size stands outside of \[options\]"),
    ],
)
def test_what_is_no_preset_is_refused(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "presets").mkdir(parents=True)
    (tmp_path / "conf" / "presets" / "mine.toml").write_text(text)
    with pytest.raises(BadSetting, match=words):
        engine.make_settings(preset="mine")


@pytest.mark.parametrize(
    "name", ["snowflaek", "../presets/generic", "", "a\0b", "x" * 300, "\udcff"]
)
def test_an_unknown_preset_is_told_with_the_nearest(name: str):
    with pytest.raises(BadSetting, match="there is no preset"):
        read_preset(name, lambda key, value: None)


@pytest.mark.parametrize("preset", NAMES)
def test_a_preset_is_for_every_format(preset: str, tmp_path: Path):
    source = tmp_path / "s.csv"
    source.write_text("a,b\n" + "1,x\n" * 500)
    copied = engine.plan(source, preset=preset, target_size="1kB")
    assert len(copied.parts) == 3
    assert not any("row group" in reason for part in copied.parts for reason in part.reasons)
    for how in ({"to": "parquet"}, {"to": "parquet", "row_group_size": "100rows"}):
        assert engine.plan(source, preset=preset, **how).num_rows == 500
    big = write_source(tmp_path / "s.parquet", 100)
    assert engine.plan(big, preset=preset, cut="row-group").num_rows == 100
    with pytest.raises(BadSetting, match="--row-group-size auto is for Parquet"):
        engine.plan(source, to="parquet", row_group_size="auto", preset=preset)


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7, 16])
def test_the_number_of_parts_is_a_multiple_of_slots(slots: int, tmp_path: Path):
    source = write_source(tmp_path / "s.parquet", 9_000)
    size = source.stat().st_size
    fewest = len(engine.plan(source, target_size=size // 3).parts)
    plan = engine.plan(source, target_size=size // 3, load_slots=slots)
    assert len(plan.parts) == -(-fewest // slots) * slots
    assert plan.spread <= 0.05


def test_slots_make_no_part_smaller_than_a_preset_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "presets").mkdir(parents=True)
    preset = '[options]\ntarget_size = "100kB"\nleast_part_size = "40kB"\n'
    (tmp_path / "conf" / "presets" / "small.toml").write_text(preset)
    source = write_source(tmp_path / "s.parquet", 9_000)
    fewest = len(engine.plan(source, preset="small").parts)
    assert len(engine.plan(source, preset="small", load_slots=fewest + 1).parts) == fewest + 1
    kept = engine.plan(source, preset="small", load_slots=50)
    assert len(kept.parts) == fewest
    assert "no multiple of 50 slots: parts would be smaller than 40.0 kB" in kept.advice
    with pytest.raises(BadSetting, match="--slots"):
        engine.make_settings(load_slots=2, parts=4)


def test_small_row_groups_are_merged_for_bigquery(tmp_path: Path):
    many = write_source(tmp_path / "in" / "a.parquet", 9_000, row_group_size=500)
    write_source(tmp_path / "in" / "b.parquet", 2_000, seed=2)
    done = engine.split(many.parent, tmp_path / "out", preset="bigquery", verify=True)
    assert done.verification is not None
    assert pq.read_metadata(tmp_path / "out" / "part-00000.parquet").num_row_groups == 1
