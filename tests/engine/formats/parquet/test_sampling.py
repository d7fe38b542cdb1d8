"""Sizes of pages that are re-encoded are foreseen, and what was not is planned again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine import splitter
from engine.errors import TargetTooSmall
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import MAGIC, TAIL_BYTES, Footer, part_footer, seal
from engine.formats.parquet.bytes.thrift import I64
from engine.model import Receipt, SplitPlan
from tests.covering import pairs
from tests.engine.running import leftovers, parts_of, read_parts, run, write_trap

# -- foreseen --------------------------------------------------------------------------------------


def skewed(num_rows: int = 300_000, seed: int = 1) -> pa.Table:
    """Texts that grow and repeat less and less, numbers whose dictionary is given up."""
    rng = np.random.default_rng(seed)
    words = np.array([f"{word:05x}" for word in rng.integers(0, 1 << 20, 5_000)])
    known = np.linspace(10, len(words), num_rows).astype(int)
    texts = [
        "-".join(words[rng.integers(0, most, 1 + 12 * row // num_rows)])
        for row, most in enumerate(known)
    ]
    return pa.table(
        {
            "id": pa.array(np.arange(num_rows)),
            "text": pa.array(texts),
            "key": pa.array(rng.integers(0, 100_000, num_rows)),
            "price": pa.array(rng.integers(0, 1 << 30, num_rows) / 100),
            "lists": pa.array([[row % 7] * (row % 4) for row in range(num_rows)]),
        }
    )


SHAPES: dict[str, dict[str, Any]] = {
    "one row group": {"row_group_size": 1 << 30},
    "many row groups": {"row_group_size": 7_000},
    "large pages, no index": {"row_group_size": 70_000, "write_page_index": False},
    "pages of version 2": {"row_group_size": 50_000, "data_page_version": "2.0"},
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return skewed()


@pytest.fixture
def source(shape: str, table: pa.Table, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    options = {
        "compression": "snappy",
        "write_page_index": True,
        "data_page_size": 64 << 10,
        "dictionary_pagesize_limit": 256 << 10,
    } | SHAPES.get(shape, SHAPES["many row groups"])
    if shape != "two files":
        pq.write_table(table, folder / "a.parquet", **options)
    else:
        pq.write_table(table.slice(0, 60_000), folder / "a.parquet", **options)
        pq.write_table(table.slice(60_000), folder / "b.parquet", **options)
    return folder


@pytest.mark.ways(3)
@pytest.mark.parametrize(
    ("shape", "codec"),
    pairs([*SHAPES, "two files"], ["none", "lz4", "zstd", "gzip"], num_ways=2, in_all=()),
)
def test_parts_with_another_codec_have_the_sizes_that_were_expected(
    codec: str, source: Path, tmp_path: Path
):
    plan = engine.plan(str(source), target_size="2MB", codec=codec)
    engine.split(str(source), str(tmp_path / "parts"), target_size="2MB", codec=codec, fsync=False)
    sizes = [path.stat().st_size for path in parts_of(tmp_path / "parts")]
    expected = [part.predicted_bytes for part in plan.parts]
    assert len(sizes) == len(expected) > 4
    off = [size / other - 1 for size, other in zip(sizes, expected, strict=True)]
    assert max(map(abs, off)) <= 0.02, off
    assert max(sizes) <= 2_000_000


@pytest.mark.ways(2)
@pytest.mark.parametrize("shape", [*SHAPES, "two files"])
def test_what_is_encoded_anew_otherwise_keeps_the_target(source: Path, tmp_path: Path):
    for number, wish in enumerate(
        ({"dictionary": False}, {"dictionary": True}, {"data_page_version": 1})
    ):
        dest = tmp_path / str(number)
        engine.split(str(source), str(dest), target_size="2MB", fsync=False, **wish)
        assert max(path.stat().st_size for path in parts_of(dest)) <= 2_000_000


# -- planned again ---------------------------------------------------------------------------------

TARGET: dict[str, Any] = {"target_size": 400_000, "codec": "zstd"}


class Told(engine.Progress):
    """What a split told."""

    def __init__(self) -> None:
        self.plans: list[SplitPlan] = []
        self.reasons: list[str] = []
        self.committed_parts: list[str] = []

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        self.plans.append(plan)

    def planned_again(self, reason: str) -> None:
        self.reasons.append(reason)

    def committed(self, receipt: Receipt) -> None:
        self.committed_parts.append(receipt.name)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return write_trap(tmp_path / "trap.parquet")


def test_a_part_over_the_target_is_planned_again_with_all_others(trap: Path, tmp_path: Path):
    told = Told()
    dest = tmp_path / "parts"
    result = engine.split(str(trap), str(dest), progress=told, fsync=False, **TARGET)
    assert [plan.revision for plan in told.plans] == list(range(1 + len(told.reasons)))
    assert 1 <= len(told.reasons) <= 3
    assert all("over the target of 400000" in reason for reason in told.reasons)
    sizes = [path.stat().st_size for path in parts_of(dest)]
    assert len(sizes) == len(told.plans[-1].parts) == len(result.manifest.parts)
    assert 200_000 < max(sizes) <= 400_000
    assert not leftovers(dest)
    assert read_parts(dest).equals(pq.read_table(trap))
    assert engine.verify(str(dest)).num_rows == pq.read_metadata(trap).num_rows
    again = Told()
    result = engine.split(str(trap), str(dest), progress=again, fsync=False, **TARGET)
    assert result.num_resumed == len(sizes)
    assert not again.committed_parts


def test_a_plan_made_again_is_resumed_as_it_is(trap: Path, tmp_path: Path):
    dest = tmp_path / "parts"
    engine.split(str(trap), str(dest), fsync=False, **TARGET)
    first = parts_of(dest)[0]
    before = first.read_bytes()
    first.unlink()
    (dest / "_evensplit" / "manifest.json").unlink()
    told = Told()
    engine.split(str(trap), str(dest), progress=told, fsync=False, **TARGET)
    assert not told.reasons
    assert told.committed_parts == [first.name]
    assert first.read_bytes() == before


def test_an_earlier_revision_does_not_take_a_later_ones_place(trap: Path, tmp_path: Path):
    dest = tmp_path / "parts"
    engine.split(str(trap), str(dest), fsync=False, **TARGET)
    store, folder = splitter.open_storage(str(dest))
    stale = engine.plan(str(trap), **TARGET)
    assert stale.revision == 0
    with pytest.raises(engine.RetryError, match="has planned the split"):
        splitter.Ledger(store, folder).claim(
            stale, overwrite=False, is_intact=lambda _: True, check_sources=lambda: None
        )
    assert json.loads((dest / "_evensplit" / "plan.json").read_text())["revision"] > 0


def test_the_command_says_why_it_plans_again(trap: Path, tmp_path: Path):
    words = ["--target-size", TARGET["target_size"], "--codec", TARGET["codec"]]
    ended = run("split", trap, tmp_path / "parts", *map(str, words))
    assert ended.code == 0
    assert "over the target of 400000: planned again, with more room" in ended.err


@pytest.mark.parametrize("wish", [{"rows_per_part": 5_000}, {"parts": 4}, {"cut": "row-group"}])
def test_parts_that_cannot_be_smaller_are_refused(trap: Path, tmp_path: Path, wish: dict[str, Any]):
    target = {"target_size": 45_000 if "cut" in wish else 400_000, "codec": "zstd"}
    with pytest.raises(TargetTooSmall, match="over the"):
        engine.split(str(trap), str(tmp_path / "parts"), fsync=False, **target, **wish)
    sizes = [path.stat().st_size for path in parts_of(tmp_path / "parts")]
    assert max(sizes, default=0) <= target["target_size"]


def test_a_footer_that_does_not_tell_sizes_before_compression_costs_a_plan(tmp_path: Path):
    honest, path = tmp_path / "honest.parquet", tmp_path / "wrong.parquet"
    rng = np.random.default_rng(5)
    table = pa.table({"v": rng.integers(0, 1000, 400_000)})
    pq.write_table(table, honest, compression="zstd", row_group_size=4_000, use_dictionary=False)
    data = honest.read_bytes()
    length = int.from_bytes(data[-TAIL_BYTES : -len(MAGIC)], "little")
    footer = Footer(data[-TAIL_BYTES - length : -TAIL_BYTES])
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    for group in groups:
        for chunk in group.columns:
            chunk.meta[6] = (I64, chunk.compressed_bytes)
    entries = [group.struct for group in groups]
    wrong = part_footer(footer.struct, entries, footer.num_rows, list(footer.key_values))
    path.write_bytes(data[: -TAIL_BYTES - length] + seal(wrong))
    assert thrift.decode(wrong)
    told = Told()
    dest = tmp_path / "parts"
    wish: dict[str, Any] = {"target_size": 500_000, "codec": "none", "fsync": False}
    engine.split(str(path), str(dest), progress=told, **wish)
    assert [plan.revision for plan in told.plans] == [0, 1]
    sizes = [file.stat().st_size for file in parts_of(dest)]
    assert 400_000 < max(sizes) <= 500_000
    assert (max(sizes) - min(sizes)) / max(sizes) < 0.02
    assert read_parts(dest).equals(table)
