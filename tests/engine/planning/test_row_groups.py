from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.planning.row_groups import slices
from engine.planning.ruler import Ruler
from engine.settings import Settings
from tests.engine.planning.test_planner import curve, fine_groups, layout_of

quick = settings(max_examples=60)


def groups_of(curves, start=0, stop=None, **wanted):
    """The row groups of a part: lists of (row group, start row, stop row)."""
    layout = layout_of(curves)
    ruler = Ruler(layout, curves.__getitem__)
    found = []
    for piece in slices(ruler, Settings(**wanted), start, stop or layout.num_rows):
        if not piece.joins:
            found.append([])
        found[-1].append((piece.row_group, piece.start_row, piece.stop_row))
    return found


def row_bytes(group, row):
    return group.before(row + 1) - group.before(row)


def test_nothing_asked_keeps_the_row_groups():
    curves = [curve(0, 100, 1000), curve(1, 50, 500)]
    assert groups_of(curves) == [[(0, 0, 100)], [(1, 0, 50)]]
    assert groups_of(curves, 30, 120) == [[(0, 30, 100)], [(1, 0, 20)]]
    assert groups_of(curves, 30, 30) == []


def test_rows_are_counted_from_the_parts_first():
    curves = [curve(0, 100, 1000), curve(1, 50, 500)]
    assert groups_of(curves, 10, row_group_rows=60) == [
        [(0, 10, 70)],
        [(0, 70, 100), (1, 0, 30)],
        [(1, 30, 50)],
    ]


def test_large_ones_are_cut_equally_and_small_ones_put_together():
    curves = [curve(0, 1000, 10_000), curve(1, 100, 1000), curve(2, 100, 1000), curve(3, 300, 3000)]
    assert groups_of(curves, row_group_bytes=3400) == [
        [(0, 0, 333)],
        [(0, 333, 667)],
        [(0, 667, 1000)],
        [(1, 0, 100), (2, 0, 100)],
        [(3, 0, 300)],
    ]


def test_only_small_neighbours_are_merged_up_to_a_floor():
    sizes = [400, 300, 5000, 100, 2000, 600, 500, 200]
    curves = [curve(index, 10, size) for index, size in enumerate(sizes)]
    assert groups_of(curves, row_group_floor_bytes=1000) == [
        [(0, 0, 10), (1, 0, 10)],
        [(2, 0, 10)],
        [(3, 0, 10)],
        [(4, 0, 10)],
        [(5, 0, 10), (6, 0, 10), (7, 0, 10)],
    ]
    assert groups_of(curves, 15, 65, row_group_floor_bytes=1000)[-1] == [(5, 0, 10), (6, 0, 5)]


@quick
@given(fine_groups(), st.integers(1, 400_000), st.data())
def test_large_ones_are_kept_and_small_ones_have_no_small_neighbour(curves, floor_bytes, data):
    layout = layout_of(curves)
    start = data.draw(st.integers(0, layout.num_rows - 1))
    stop = data.draw(st.integers(start + 1, layout.num_rows))
    found = groups_of(curves, start, stop, row_group_floor_bytes=floor_bytes)
    ruler = Ruler(layout, curves.__getitem__)
    for index in range(len(curves)):
        ruler.read(index)
    kept = groups_of(curves, start, stop)
    assert [piece for group in found for piece in group] == [piece for (piece,) in kept]
    sizes = [[ruler.piece_bytes(*piece) for piece in group] for group in found]
    for group in sizes:
        assert len(group) == 1 or max(group) < floor_bytes
        assert sum(group) < 3 * floor_bytes or len(group) == 1
    for before, after in pairwise(sizes):
        assert sum(before) >= floor_bytes or after[0] >= floor_bytes
        assert sum(after) >= floor_bytes or before[0] >= floor_bytes


def test_repeated_dictionaries_do_not_make_slices_of_a_row():
    curves = [curve(0, 1000, 10_000, [(1000, 5000)])]
    found = groups_of(curves, row_group_bytes=2000)
    assert len(found) == 10


@quick
@given(fine_groups(), st.integers(2_000, 400_000), st.data())
def test_every_row_is_in_one_group_and_none_is_too_large(curves, most_bytes, data):
    layout = layout_of(curves)
    start = data.draw(st.integers(0, layout.num_rows - 1))
    stop = data.draw(st.integers(start + 1, layout.num_rows))
    found = groups_of(curves, start, stop, row_group_bytes=most_bytes)
    ruler = Ruler(layout, curves.__getitem__)
    for index in range(len(curves)):
        ruler.read(index)
    rows = [
        (layout.first_rows[index] + first, layout.first_rows[index] + last)
        for group in found
        for index, first, last in group
    ]
    assert (rows[0][0], rows[-1][1]) == (start, stop)
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    for group in found:
        size = sum(ruler.piece_bytes(*piece) for piece in group)
        repeated = sum(
            curves[index].repeated(first) + curves[index].used(first, last)
            for index, first, last in group
        )
        # A cut lies at the row that is nearest.
        (index, first, _), (end, _, last) = group[0], group[-1]
        half_rows = (row_bytes(curves[index], first) + row_bytes(curves[end], last - 1)) / 2
        most = max(most_bytes, most_bytes / 2 + repeated) * 1.05
        assert size <= most + max(200, half_rows)
