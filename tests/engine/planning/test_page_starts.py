"""Cuts go where pages begin, if parts stay even and under the cap."""

from __future__ import annotations

from array import array
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.formats.parquet.bytes.page_map import PageMap
from engine.model import SourceFile, spread
from engine.planning.curves import Curve, CutColumn
from engine.planning.layout import GroupLayout, make_layout, with_groups
from engine.planning.page_starts import at_page_starts
from engine.planning.ruler import Ruler

PART_BYTES = 500


def column(first_rows: list[int], sizes: list[int], num_rows: int) -> CutColumn:
    offsets = array("q", accumulate(sizes[:-1], initial=4))
    counts = array("q", [b - a for a, b in pairwise([*first_rows, num_rows])])
    pages = PageMap(offsets, array("q", sizes), array("q", first_rows), counts, None, num_rows)
    return CutColumn("x", pages, pages.sizes)


def ruler_of(columns: list[CutColumn], num_rows: int) -> Ruler:
    """One row group of these columns."""
    starts = [[*c.pages.first_rows, num_rows] for c in columns]
    sums = [[0, *accumulate(c.pages.sizes)] for c in columns]
    rows = sorted({row for some in starts for row in some})
    total = sum(np.interp(rows, a, b) for a, b in zip(starts, sums, strict=True))
    curve = Curve(0, rows, [float(x) for x in total], 100, (), tuple(columns))
    group = GroupLayout(0, 0, num_rows, round(curve.sums[-1]), 0, 0, 100)
    layout = make_layout((SourceFile("a.parquet", 1, "v1"),), (group,), PART_BYTES, 1)
    return Ruler(layout, lambda position: curve)


def even(ruler: Ruler, num_parts: int) -> list[int]:
    ruler.read(0)
    curve = ruler.curve(0)
    wanted = [curve.sums[-1] * i / num_parts for i in range(1, num_parts)]
    return [0, *(round(curve.row_at(size)) for size in wanted), ruler.num_rows]


def cut_bytes(ruler: Ruler, cuts: list[int]) -> int:
    total = 0
    for row in cuts[1:-1]:
        for each in ruler.curve(0).columns:
            page = each.pages.page_of_row(row)
            if each.pages.first_rows[page] != row:
                total += each.pages.sizes[page]
    return total


def aligned(num_rows: int, step: int, widths: list[int]) -> list[CutColumn]:
    starts = list(range(0, num_rows, step))
    lengths = [b - a for a, b in pairwise([*starts, num_rows])]
    return [column(starts, [width * n for n in lengths], num_rows) for width in widths]


@pytest.mark.parametrize("step", [500, 1000, 1500])
def test_cuts_pass_through_no_page_where_all_columns_begin_theirs_together(step):
    ruler = ruler_of(aligned(1_000_000, step, [8, 4, 30]), 1_000_000)
    cuts = at_page_starts(ruler, even(ruler, 7), None)
    assert len(cuts) == 8
    assert all(row % step == 0 for row in cuts[:-1])
    assert spread(ruler.sizes(cuts)) <= 0.02


def test_pages_too_long_to_keep_parts_even_are_cut():
    ruler = ruler_of(aligned(1_000_000, 30_000, [8, 4]), 1_000_000)
    before = even(ruler, 7)
    assert at_page_starts(ruler, before, None) == before


def test_the_larger_pages_are_spared():
    small = aligned(1_000_000, 1000, [1, 1, 1])
    large = column([0, *range(300, 1_000_000, 1000)], [30_000] * 1001, 1_000_000)
    ruler = ruler_of([*small, large], 1_000_000)
    cuts = at_page_starts(ruler, even(ruler, 5), None)
    assert {row % 1000 for row in cuts[1:-1]} == {300}


@pytest.mark.parametrize(("room_share", "moves"), [(0.0001, False), (0.005, True)])
def test_the_cap_holds_even_where_sizes_are_uncertain(room_share, moves):
    ruler = ruler_of(aligned(1_000_000, 1000, [8, 4]), 1_000_000)
    ruler.layout = with_groups(ruler.layout, ruler.layout.groups, 0.01)
    before = even(ruler, 7)
    cap = round(max(ruler.sizes(before)) * (1 + room_share))
    cuts = at_page_starts(ruler, before, cap)
    moved = set(pairwise(cuts)) - set(pairwise(before))
    assert bool(moved) is moves
    assert (max((ruler.uncertain(*rows) for rows in moved), default=0) > 0) is moves
    for start, stop in moved:
        assert ruler.size(start, stop) + ruler.uncertain(start, stop) <= cap


@st.composite
def columns_of_any_pages(draw):
    num_rows = draw(st.integers(1_000, 200_000))
    columns = []
    for _ in range(draw(st.integers(1, 4))):
        step = draw(st.integers(1 + num_rows // 2_000, num_rows))
        shift = draw(st.sampled_from([0, 0, step // 3]))
        starts = sorted({0, *range(shift, num_rows, step)})
        width = draw(st.integers(1, 40))
        sizes = [width * (b - a) for a, b in pairwise([*starts, num_rows])]
        columns.append(column(starts, sizes, num_rows))
    return columns, num_rows


@settings(max_examples=150)
@given(columns_of_any_pages(), st.integers(2, 30))
def test_parts_stay_even_and_never_cut_more(found, num_parts):
    ruler = ruler_of(*found)
    before = even(ruler, num_parts)
    assert len(set(before)) == num_parts + 1  # at least 1,000 rows, at most 30 parts
    cuts = at_page_starts(ruler, before, None)
    assert len(cuts) == len(before)
    assert all(a < b for a, b in pairwise(cuts))
    assert (cuts[0], cuts[-1]) == (0, ruler.num_rows)
    assert cut_bytes(ruler, cuts) <= cut_bytes(ruler, before)
    # Sizes are rounded, and their mean moves a little.
    most = max(0.018, spread(ruler.sizes(before)))
    assert spread(ruler.sizes(cuts)) <= most * 1.02 + 2 / min(ruler.sizes(cuts))


def test_where_sizes_are_estimates_less_is_moved():
    ruler = ruler_of(aligned(1_000_000, 1000, [8, 4, 30]), 1_000_000)
    before = even(ruler, 7)
    assert at_page_starts(ruler, before, None) != before
    for uncertain_share, most_spread in ((0.0175, 0.0006), (0.15, 0.0001)):
        ruler.layout = with_groups(ruler.layout, ruler.layout.groups, uncertain_share)
        assert spread(ruler.sizes(at_page_starts(ruler, before, None))) <= most_spread


def test_no_cut_moves_where_row_groups_are_made_anew(tmp_path: Path, monkeypatch):
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"v": range(10_000)}), source, max_rows_per_page=500)
    moved = []

    def unmoved(ruler: Ruler, cuts: list[int], cap: int | None) -> list[int]:
        moved.append(1)
        return cuts

    monkeypatch.setattr("engine.planning.cuts.at_page_starts", unmoved)
    assert len(engine.plan(str(source), parts=3, row_group_size="1000rows").parts) == 3
    assert not moved
    engine.plan(str(source), parts=3)
    assert moved


def test_a_real_file_of_aligned_pages_is_only_copied(tmp_path: Path):
    numbers = np.arange(400_000)
    table = pa.table(
        {
            "id": numbers,
            "real": numbers / 7,
            "word": pa.array([f"word {i * 7919 % 400_000}" for i in numbers]),
        }
    )
    source = tmp_path / "a.parquet"
    pq.write_table(
        table, source, write_page_index=True, max_rows_per_page=1_000, use_dictionary=False
    )
    result = engine.split(str(source), str(tmp_path / "parts"), parts=5, fsync=False)
    sizes = [part.size_bytes for part in result.manifest.parts]
    assert spread(sizes) <= 0.02
    assert len(result.manifest.parts) == 5
    assert all(part.reencoded_bytes == 0 for part in result.manifest.parts)
    engine.verify(str(tmp_path / "parts"))
    rows = engine.split(str(source), str(tmp_path / "rows"), rows_per_part=99_990, fsync=False)
    assert [part.num_rows for part in rows.manifest.parts] == [99_990] * 4 + [40]
