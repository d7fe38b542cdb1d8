"""What lies inside a page is found: a plan of rows that are heavy anywhere keeps its target."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import engine
from engine import memory
from engine.errors import OverBudget, TargetTooSmall
from engine.formats.parquet import insides
from engine.formats.parquet.opened import OpenChunk, open_file
from engine.model import Recoding, SplitPlan, spread
from engine.sources import find_sources
from tests.engine.running import parts_of, read_parts

NUM_ROWS = 4_000
HEAVY_BYTES, LIGHT_BYTES = 400, 4
SHAPES = {
    "at the beginning": lambda row: row < NUM_ROWS // 15,
    "at the end": lambda row: row >= NUM_ROWS - NUM_ROWS // 15,
    "in the middle": lambda row: abs(row - NUM_ROWS // 3) < NUM_ROWS // 30,
    "in stripes": lambda row: row // 70 % 9 == 0,
}
WRITERS: dict[str, dict[str, Any]] = {
    "duckdb": {"compression": "zstd"},
    "arrow, one page": {"compression": "snappy", "data_page_size": 1 << 30},
    "arrow, some pages": {"compression": "zstd", "data_page_size": 1 << 18},
    "arrow, V2, plain": {
        "compression": "none", "data_page_size": 1 << 20, "data_page_version": "2.0",
    },
    "arrow, delta": {
        "compression": "gzip", "data_page_size": 1 << 30,
        "column_encoding": {"body": "DELTA_LENGTH_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED"},
    },
    "arrow, delta of prefixes": {
        "compression": "zstd", "data_page_size": 1 << 30,
        "column_encoding": {"body": "DELTA_BYTE_ARRAY", "id": "PLAIN"},
    },
}  # fmt: skip
KINDS = ("texts", "lists", "texts and nulls")


def table_of(shape: str, kind: str, seed: int) -> pa.Table:
    rng = random.Random(seed)

    def value(row: int) -> Any:
        num_bytes = HEAVY_BYTES if SHAPES[shape](row) else LIGHT_BYTES
        if kind == "lists":
            return [rng.randrange(1 << 62) for _ in range(num_bytes // 8)]
        if kind == "texts and nulls" and num_bytes == LIGHT_BYTES:
            return None
        return rng.randbytes(num_bytes).hex()

    return pa.table({"id": list(range(NUM_ROWS)), "body": [value(row) for row in range(NUM_ROWS)]})


def write(table: pa.Table, path: Path, writer: str) -> Path:
    options = dict(WRITERS[writer])
    if writer == "duckdb":
        duckdb.from_arrow(table).write_parquet(str(path), **options)
    else:
        if pa.types.is_list(table["body"].type):
            options.pop("column_encoding", None)
        pq.write_table(table, path, use_dictionary=False, max_rows_per_page=1 << 30, **options)
    return path


@pytest.mark.parametrize("writer", WRITERS)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    kind=st.sampled_from(KINDS),
    num_parts=st.sampled_from([1.7, 3, 6.3]),
    wish=st.sampled_from([{}, {}, {"codec": "zstd"}, {"dictionary": False}, {"codec": "none"}]),
    seed=st.integers(0, 99),
)
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_parts_keep_the_target_wherever_rows_are_heavy(
    writer: str,
    shape: str,
    kind: str,
    num_parts: float,
    wish: dict[str, Any],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
):
    if writer == "duckdb" and "nulls" in kind:
        kind = "texts"  # else it has a dictionary, which every part repeats
    folder = tmp_path_factory.mktemp("heavy")
    table = table_of(shape, kind, seed)
    source = write(table, folder / "in.parquet", writer)
    target = max(30_000, int(source.stat().st_size / num_parts))
    plans: list[SplitPlan] = []

    class Told(engine.Progress):
        def planned(self, plan: SplitPlan, num_resumed: int) -> None:
            plans.append(plan)

    told = Told()
    engine.split(
        str(source), str(folder / "parts"), target_size=target, fsync=False, progress=told, **wish
    )
    sizes = [path.stat().st_size for path in parts_of(folder / "parts")]
    assert max(sizes) <= target
    assert read_parts(folder / "parts").equals(table)
    assert len(plans) <= 2
    # Few parts of rows that are large against a part (2 % and more) cannot be even: more are made.
    factor = 1.2 if target >= 80 * 2 * HEAVY_BYTES else 1.5
    assert len(sizes) <= factor * sum(sizes) / target + 1
    assert spread(sizes) < 0.15


def opened(path: Path) -> OpenChunk:
    return open_file(find_sources([str(path)])[0]).row_group(0).chunk(1)


def look(chunk: OpenChunk, *, recoding: Recoding | None = None, step_bytes: float = 500) -> Any:
    size = chunk.pages.sizes[0]
    return insides.look_inside(
        chunk,
        0,
        recoding=recoding or Recoding(),
        num_bytes=size,
        step_bytes=step_bytes,
    )


@pytest.mark.parametrize("writer", ["duckdb", "arrow, one page", "arrow, delta"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_look_finds_the_heavy_rows(writer: str, kind: str, tmp_path: Path):
    path = write(table_of("at the beginning", kind, 1), tmp_path / "in.parquet", writer)
    chunk = opened(path)
    size = chunk.pages.sizes[0]
    found = look(chunk)
    assert found.rows[0] == 0
    assert found.sums[0] == 0
    assert found.rows[-1] == NUM_ROWS
    assert found.sums[-1] == pytest.approx(size)
    assert list(found.rows) == sorted(set(found.rows))
    share = found.before(NUM_ROWS // 15) / size
    if chunk.pages.dictionary is None:  # else it has what is heavy
        due = HEAVY_BYTES / (HEAVY_BYTES + 14 * (LIGHT_BYTES if kind == "texts" else 0))
        assert share == pytest.approx(due, abs=0.08)
    assert found.unevenness > 0.5


def test_an_even_page_is_left_at_a_few_stretches(tmp_path: Path):
    rng = random.Random(1)
    texts = [rng.randbytes(20).hex() for _ in range(20_000)]
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"id": range(len(texts)), "body": texts}), path, max_rows_per_page=1 << 30,
        use_dictionary=False, compression="zstd", data_page_size=1 << 30,
    )  # fmt: skip
    found = look(opened(path), step_bytes=3_000)
    assert len(found.rows) < 20
    assert found.unevenness < 0.01
    assert found.uncertain_share < 0.03


def test_bounds_that_are_long_values_are_counted_where_these_are(tmp_path: Path):
    path = write(table_of("at the end", "texts", 1), tmp_path / "in.parquet", "arrow, one page")
    found = look(opened(path))
    light = found.uncertain(0, NUM_ROWS // 2)
    heavy = found.uncertain(NUM_ROWS - 3, NUM_ROWS)
    assert heavy - light > 2 * 2 * HEAVY_BYTES * 0.9
    # Rows outside the page are no business of it.
    assert found.uncertain(-50, NUM_ROWS + 50) == found.uncertain(0, NUM_ROWS)


def test_what_does_not_fit_the_memory_is_refused_before_it_is_read(tmp_path: Path):
    path = write(table_of("at the end", "texts", 1), tmp_path / "in.parquet", "arrow, one page")
    limit = memory.process_base_bytes(arrow=True, under="threads") + 1000
    with pytest.raises(OverBudget, match="column body"):
        engine.split(str(path), str(tmp_path / "parts"), target_size="100kB", memory=limit)
    assert not (tmp_path / "parts").exists()


def test_small_pages_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "in.parquet"
    table = table_of("in stripes", "texts", 1)
    pq.write_table(table, path, max_rows_per_page=4, write_batch_size=4, use_dictionary=False)
    monkeypatch.setattr(insides, "look_inside", None)
    assert len(engine.plan(str(path), target_size="150kB").parts) > 1


def test_even_pages_stand_for_those_like_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(1)
    texts = [rng.randbytes(20).hex() for _ in range(60_000)]
    path, looks = tmp_path / "in.parquet", []
    table = pa.table({"id": range(len(texts)), "body": texts})
    pq.write_table(table, path, row_group_size=3_000, use_dictionary=False)
    look_inside = insides.look_inside

    def counted(*place: Any, **options: Any) -> Any:
        looks.append(place)
        return look_inside(*place, **options)

    monkeypatch.setattr(insides, "look_inside", counted)
    plan = engine.plan(str(path), parts=13)
    assert plan.spread < 0.02
    assert 0 < len(looks) <= 6
    target_size = path.stat().st_size / 13 * 1.04  # pages that were not opened are as certain
    assert len(engine.plan(str(path), target_size=int(target_size)).parts) == 13


def test_pages_that_only_seem_like_even_ones_keep_the_target(tmp_path: Path):
    """Of as many bytes a row, but heavy at one end: parts that are too large are planned anew."""
    rng = random.Random(1)
    lengths = [20] * 9_000 + ([1] * 1_500 + [39] * 1_500) * 4
    texts = [rng.randbytes(length).hex() for length in lengths]
    path, dest = tmp_path / "in.parquet", tmp_path / "parts"
    pq.write_table(pa.table({"body": texts}), path, row_group_size=3_000, use_dictionary=False)
    target_bytes = int(path.stat().st_size / 9 * 1.04)
    engine.split(str(path), str(dest), target_size=target_bytes)
    parts = sorted(dest.glob("*.parquet"))
    assert max(part.stat().st_size for part in parts) <= target_bytes
    assert pa.concat_tables(map(pq.read_table, parts))["body"].to_pylist() == texts
    assert json.loads((dest / "_evensplit/plan.json").read_text())["revision"] > 0


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_what_pieces_repeat_of_pages_that_were_not_seen_is_expected(codec: str, tmp_path: Path):
    """Many row groups of one page a chunk: only the first are looked into, cuts are in all."""
    rng = random.Random(1)
    words = [rng.randbytes(5).hex() for _ in range(1_000)]
    texts = [" ".join(rng.choices(words, k=4)) for _ in range(60_000)]
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"body": texts}), path, row_group_size=3_000, use_dictionary=False,
        compression=codec,
    )  # fmt: skip
    engine.split(str(path), str(tmp_path / "parts"), parts=13, fsync=False)
    assert spread([part.stat().st_size for part in parts_of(tmp_path / "parts")]) < 0.03


@pytest.mark.parametrize("wish", [{"parts": 12}, {"parts": 1, "row_group_size": "800rows"}])
def test_growth_by_repeated_dictionaries_is_said(tmp_path: Path, wish: dict[str, Any]):
    rng = random.Random(4)
    words = [rng.randbytes(16).hex() for _ in range(4_000)]
    path = tmp_path / "in.parquet"
    keys = [rng.choice(words) for _ in range(16_000)]
    pq.write_table(pa.table({"id": range(len(keys)), "key": keys}), path)
    plan = engine.plan(str(path), **wish)
    assert "times the bytes of the source" in plan.growth
    assert "dictionaries" in plan.growth
    result = engine.split(str(path), str(tmp_path / "parts"), fsync=False, **wish)
    assert result.manifest.growth == plan.growth
    factor = result.manifest.size_bytes / path.stat().st_size
    assert float(plan.growth.split(" times")[0].rpartition(" ")[2]) == pytest.approx(factor, 0.1)
    assert not engine.plan(str(path), parts=1).growth


def test_many_columns_heavy_at_the_same_rows_are_cut_evenly(tmp_path: Path):
    rng = random.Random(1)
    num_columns, num_rows, num_heavy = 300, 400, 40
    lengths = [3] * (num_rows - num_heavy) + [300] * num_heavy
    path = tmp_path / "in.parquet"
    texts = {
        f"c{n}": ["".join(rng.choices("abcdefghijklmnop", k=length)) for length in lengths]
        for n in range(num_columns)
    }
    pq.write_table(pa.table(texts), path, use_dictionary=False, compression="none")
    plan = engine.plan(str(path), parts=6)
    row_bytes = [length + 4 for length in lengths]
    sizes = [
        num_columns * sum(row_bytes[part.first_row : part.first_row + part.num_rows])
        for part in plan.parts
    ]
    # One heavy row is 6% of a part.
    assert spread(sizes) < 0.3, sizes


def test_a_target_under_the_bounds_of_one_row_is_refused_by_its_name(tmp_path: Path):
    rng = random.Random(1)
    row = ["".join(rng.choices("abcdefghijklmnop", k=300)) for _ in range(300)]
    path = tmp_path / "in.parquet"
    texts = {f"c{n}": ["abc"] * 380 + [row[n]] * 20 for n in range(300)}
    pq.write_table(pa.table(texts), path, use_dictionary=False, compression="none")
    with pytest.raises(TargetTooSmall, match=r"only row 3[89]. may take [0-9,]+ bytes"):
        engine.plan(str(path), target_size="300kB")


@pytest.mark.parametrize("is_coded", [False, True])
def test_what_pieces_of_a_page_repeat_is_expected(tmp_path: Path, is_coded: bool):
    """Texts come again all over a page, or are in a dictionary; writers compress more than we."""
    rng = random.Random(3)
    words = [rng.randbytes(20).hex() for _ in range(4_000)]
    texts = [rng.choice(words) for _ in range(20_000)]
    table = pa.table({"id": [rng.randrange(1 << 60) for _ in texts], "body": texts})
    path = tmp_path / "in.parquet"
    pq.write_table(
        table, path, row_group_size=14_000, compression="zstd", compression_level=9,
        data_page_size=1 << 30, max_rows_per_page=1 << 30, use_dictionary=is_coded,
    )  # fmt: skip
    engine.split(str(path), str(tmp_path / "parts"), parts=3)
    assert spread([part.stat().st_size for part in parts_of(tmp_path / "parts")]) < 0.03
    assert read_parts(tmp_path / "parts").equals(table)
