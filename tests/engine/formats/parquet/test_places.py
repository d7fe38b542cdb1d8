"""Files and folders in Python: text, paths, one or several; what is neither is refused in words."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine import hooks
from engine.errors import BadSetting, NotPlainFolder
from tests.engine.running import write_source


def write_partitions(root: Path) -> None:
    for year in (1, 2):
        folder = root / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"a": range(100)}), folder / "a.parquet")


class Place:
    """A path of nobody's kind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("kind", [str, Path, Place])
def test_every_verb_takes_every_kind(tmp_path: Path, kind: type) -> None:
    source, dest = kind(write_source(tmp_path / "in.parquet", 500)), kind(tmp_path / "parts")
    assert len(engine.profile(source)) == 1
    assert engine.profile_key(source, "id").num_rows == 500
    assert engine.find_sources(source)[0].path == str(tmp_path / "in.parquet")
    plan = engine.plan(source, parts=2)
    assert hooks.run_memory_bytes(plan, dest, parts=2) > 0
    assert engine.split(source, dest, parts=2).destination == str(tmp_path / "parts")
    assert engine.verify(dest).num_rows == 500
    engine.report(dest, kind(tmp_path / "page.html"))
    assert (tmp_path / "page.html").exists()
    assert hooks.put_file(kind(tmp_path / "small"), b"x")


@pytest.mark.parametrize("several", [list, tuple, iter])
def test_several(tmp_path: Path, several: type) -> None:
    files = [write_source(tmp_path / f"{name}.parquet", 300, seed=1) for name in "ab"]
    assert engine.plan(several([files[0], str(files[1])]), parts=2).num_rows == 600


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    for wrong in (b"in.parquet", None, 7, ["a", b"b"], [None]):
        for call in (engine.profile, engine.plan, lambda src: engine.split(src, tmp_path)):
            with pytest.raises(BadSetting, match="is no path"):
                call(wrong)
    for wrong in (b"parts", None, 7, ["a"]):
        for call in (engine.verify, lambda dest: engine.split("in.parquet", dest)):
            with pytest.raises(BadSetting, match="is no path"):
                call(wrong)
    with pytest.raises(BadSetting, match="give URLs as text"):
        engine.split("in.parquet", Path("abfs://container@account.dfs.core.windows.net/x"))
    with pytest.raises(BadSetting, match="NUL"):
        engine.plan("a\0b")
    with pytest.raises(BadSetting, match="no source given"):
        engine.plan([])


@pytest.mark.parametrize("pattern", ["", "/*.parquet", "/.."])
def test_parts_of_a_split_that_is_not_finished_are_no_source(tmp_path: Path, pattern: str):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(100)}), source)
    engine.split(source, tmp_path / "in" / "parts", parts=3)
    place = str(tmp_path / "in" / "parts") + pattern
    assert engine.plan(place, parts=2).num_rows == 100
    (tmp_path / "in" / "parts" / "_evensplit" / "manifest.json").unlink()
    (tmp_path / "in" / "parts" / "part-00001.parquet").unlink()
    with pytest.raises(NotPlainFolder, match="not finished, so that rows may be missing"):
        engine.plan(place, parts=2)
    one = tmp_path / "in" / "parts" / "part-00000.parquet"
    assert engine.plan(one, parts=2).num_rows == 34


def _begun_anew(parts: Path) -> None:
    plan = parts / "_evensplit" / "plan.json"
    plan.write_text(
        json.dumps({**json.loads(plan.read_text()), "replaces": ["part-00000.parquet"]})
    )


def _of_another_plan(parts: Path) -> None:
    manifest = parts / "_evensplit" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "plan_id": "another"}))


def _damaged(parts: Path) -> None:
    (parts / "_evensplit" / "manifest.json").write_text("{")


def _somebodys(parts: Path) -> None:
    (parts / "_evensplit" / "plan.json").write_text("my plans")
    (parts / "_evensplit" / "manifest.json").unlink()


@pytest.mark.parametrize("spoil", [_begun_anew, _of_another_plan, _damaged, _somebodys])
@pytest.mark.parametrize("pattern", ["", "/*.parquet"])
def test_a_record_counts_by_what_it_says(
    tmp_path: Path, pattern: str, spoil: Callable[[Path], None]
):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(100)}), source)
    engine.split(source, tmp_path / "parts", parts=3)
    spoil(tmp_path / "parts")
    with pytest.raises(NotPlainFolder, match="not finished, so that rows may be missing"):
        engine.plan(str(tmp_path / "parts") + pattern, parts=2)


def test_a_folder_whose_split_lacks_a_part_is_no_source_but_files_of_it_are(tmp_path: Path):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(100)}), source)
    parts = tmp_path / "in" / "parts"
    engine.split(source, parts, parts=3)
    (parts / "part-00001.parquet").rename(tmp_path / "in" / "part-00001.parquet")
    for place in (parts, tmp_path / "in", parts / "*.parquet", tmp_path / "*" / "**"):
        with pytest.raises(NotPlainFolder, match=r"part-00001.parquet is missing, so that rows"):
            engine.plan(place, parts=2)
    assert engine.plan(parts / "*[02].parquet", parts=2).num_rows == 66
    assert engine.plan(parts, parts=2, exclude="*1.parquet").num_rows == 66
    assert engine.plan([*parts.glob("*.parquet")], parts=2).num_rows == 66


@pytest.mark.parametrize("pattern", ["", "/*.parquet"])
def test_a_partition_of_a_split_that_lacks_a_part_is_no_source(tmp_path: Path, pattern: str):
    write_partitions(tmp_path / "source")
    engine.split(tmp_path / "source", tmp_path / "parts", parts=2)
    (tmp_path / "parts/year=1/part-00001.parquet").unlink()
    with pytest.raises(NotPlainFolder, match=r"year=1/part-00001.parquet is missing"):
        engine.plan(f"{tmp_path}/parts/year=1{pattern}", parts=1)
    assert engine.plan(f"{tmp_path}/parts/year=2{pattern}", parts=1).num_rows == 100


def test_parts_are_not_taken_beside_what_they_are_parts_of(tmp_path: Path):
    lake = tmp_path / "lake"
    source = write_source(lake / "big.parquet", 300)
    engine.split(source, lake / "parts", parts=2)
    for place in (lake, lake / "**", [source, lake / "parts"], [lake / "parts" / "*", source]):
        with pytest.raises(NotPlainFolder, match=r"big.parquet, which is taken as well.*--exclude"):
            engine.plan(place, parts=2)
    for place in (source, lake / "parts", lake / "*.parquet", lake / "parts" / "*.parquet"):
        assert engine.plan(place, parts=2).num_rows == 300
    for left_out in ("parts/**", "big.parquet"):
        assert engine.plan(lake, parts=2, exclude=left_out).num_rows == 300


@pytest.mark.parametrize("pattern", ["year=1", "year=1/*.parquet", "*/*.parquet", ""])
def test_a_partition_of_a_split_that_is_not_finished_is_no_source(tmp_path: Path, pattern: str):
    write_partitions(tmp_path / "source")
    engine.split(tmp_path / "source", tmp_path / "parts", parts=2)
    (tmp_path / "parts/_evensplit/manifest.json").unlink()
    with pytest.raises(NotPlainFolder, match="not finished, so that rows may be missing"):
        engine.plan(tmp_path / "parts" / pattern, parts=1)


@pytest.mark.parametrize(
    "call", [engine.find_sources, lambda place: engine.profile_key(place, "id")]
)
def test_what_is_passed_over_is_logged_where_results_have_no_place_for_it(
    call: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_source(tmp_path / "a.parquet", 10)
    (tmp_path / "notes.txt").write_text("mine")
    with caplog.at_level(logging.INFO, "evensplit"):
        call(tmp_path)
    assert "1 file passed over: 1 without .parquet" in caplog.text
