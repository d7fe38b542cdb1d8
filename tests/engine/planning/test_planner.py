import itertools
import math
import random
import re
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadSetting, TargetTooSmall
from engine.model import SourceFile, spread
from engine.planning.curves import Curve
from engine.planning.entries import Entries
from engine.planning.even_runs import even_runs, fewest_runs
from engine.planning.layout import GroupLayout, make_layout
from engine.planning.planner import check_holds_a_row, make_plan
from engine.planning.ruler import Ruler
from engine.settings import Settings
from tests.counting import counted
from tests.covering import IS_WHOLE

PART_BYTES = 500
# Of the largest plans; of ours and of C. A plan of twice the time makes about twice as many.
MAX_CALLS = 20_000_000
FILE = SourceFile("a.parquet", 1, "v1")
quick = settings(max_examples=60)


def curve(index, num_rows, own_bytes, dictionaries=(), extra_bytes=0, knots=(), entries=()):
    """A synthetic row group: ``knots`` are (share of rows, share of bytes)."""
    points = {0: 0.0, num_rows: float(own_bytes)}
    for row, size in knots:
        points.setdefault(round(row * num_rows), size * own_bytes)
    rows = sorted(points)
    sums = sorted(points.values())
    return Curve(index, rows, sums, extra_bytes, tuple(dictionaries), (), tuple(entries))


def trimmed(num_rows, num_bytes, often, stop_row, place):
    """A dictionary each entry of which is used ``often``, in the mean; rows grow or shrink."""
    lengths = [0, *sorted({max(1, round(stop_row * 1.4**-step)) for step in range(40)})]
    most = 1 - math.exp(-often)
    sizes = [num_bytes * (1 - math.exp(-often * length / stop_row)) / most for length in lengths]
    rows = [0, stop_row // 2, stop_row]
    return Entries(rows, [0.0, place * stop_row, float(stop_row)], lengths, sizes)


def entries_bytes(curve):
    return round(sum(entries.sizes[-1] for entries in curve.entries))


def layout_of(curves):
    groups = tuple(
        GroupLayout(
            file=0,
            index=c.row_group,
            num_rows=c.rows[-1],
            data_bytes=round(c.sums[-1])
            + sum(size for _, size in c.dictionaries)
            + entries_bytes(c),
            dictionary_bytes=sum(size for _, size in c.dictionaries) + entries_bytes(c),
            index_bytes=0,
            extra_bytes=c.fixed_bytes,
        )
        for c in curves
    )
    return make_layout((FILE,), groups, PART_BYTES, 1)


def plan_of(curves, **wanted):
    return make_plan(
        layout_of(curves), Settings(**wanted), version="1", curve_of=curves.__getitem__
    )


shares = st.floats(0.01, 0.99)


@st.composite
def fine_groups(draw):
    """Row groups whose rows have about ten bytes each."""
    found = []
    for index in range(draw(st.integers(1, 8))):
        num_rows = draw(st.integers(2_000, 20_000))
        own_bytes = num_rows * draw(st.integers(5, 20))
        dictionary = round(own_bytes * draw(st.floats(0, 0.4)))
        given_up = draw(st.sampled_from([num_rows, num_rows // 3]))
        knots = draw(st.lists(st.tuples(shares, shares), max_size=3))
        entries = []
        if draw(st.booleans()):
            size = round(own_bytes * draw(st.floats(0.1, 3)))
            often = draw(st.floats(0.01, 20))
            entries.append(trimmed(num_rows, size, often, given_up, draw(shares)))
        found.append(
            curve(index, num_rows, own_bytes, [(given_up, dictionary)], 200, knots, entries)
        )
    return found


def check_tiles(plan):
    row = 0
    for index, part in enumerate(plan.parts):
        assert (part.index, part.first_row) == (index, row)
        assert part.num_rows == sum(piece.num_rows for piece in part.slices)
        assert all(piece.num_rows > 0 for piece in part.slices)
        row += part.num_rows
    assert row == plan.num_rows
    pieces = [piece for part in plan.parts for piece in part.slices]
    for a, b in pairwise(pieces):
        if (a.file, a.row_group) == (b.file, b.row_group):
            assert a.stop_row == b.start_row
        else:
            assert a.stop_row == a.num_rows_in_group
            assert b.start_row == 0


# -- by rows -------------------------------------------------------------------------------------


@settings(max_examples=100 if IS_WHOLE else 12)  # some of them take seconds
@given(fine_groups(), st.integers(60_000, 2_000_000))
def test_parts_tile_the_rows_under_the_cap(curves, target):
    try:
        plan = plan_of(curves, target_bytes=target)
    except TargetTooSmall:
        assert any(sum(size for _, size in c.dictionaries) + 1000 > target for c in curves)
        return
    check_tiles(plan)
    assert max(part.predicted_bytes for part in plan.parts) <= target


@quick
@given(st.integers(100_000, 1_000_000), st.integers(50_000, 500_000), shares, shares)
def test_parts_of_one_row_group_are_equal_and_fewest(num_rows, target, row, size):
    own_bytes = num_rows * 10
    widest = 10 * max(size / row, (1 - size) / (1 - row))
    curves = [curve(0, num_rows, own_bytes, extra_bytes=100, knots=[(row, size)])]
    plan = plan_of(curves, target_bytes=target)
    assert len(plan.parts) >= -(-own_bytes // (target - PART_BYTES - 100))
    if widest < target / 1000:  # rows are small relative to a part
        assert plan.spread <= 0.02
        assert len(plan.parts) <= own_bytes / (target * 0.99 - PART_BYTES - 100) + 1


@pytest.mark.parametrize(("dictionary", "num_parts"), [(0, 51), (250_000, 52), (1_500_000, 53)])
def test_dictionaries_cost_parts_and_not_evenness(dictionary, num_parts):
    rng = random.Random(5)
    curves = [
        curve(i, 100_000, 4_850_000 - dictionary + rng.randrange(100_000), [(100_000, dictionary)])
        for i in range(524)
    ]
    plan = plan_of(curves, target_bytes=50_000_000)
    assert len(plan.parts) <= num_parts + 1
    assert plan.spread <= 0.02
    assert max(part.predicted_bytes for part in plan.parts) <= 50_000_000


class UncertainCurve(Curve):
    """A row group of which a cut makes one knows not quite what."""

    def uncertain(self, start_row, stop_row):
        return 200_000 if start_row > 0 or stop_row < self.rows[-1] else 0


def test_hundreds_of_uncertain_cuts_are_even():
    rng = random.Random(0)
    curves = []
    for index in range(6000):
        num_rows = rng.randrange(109_000, 111_000)
        plain = curve(
            index,
            num_rows,
            3_800_000 + rng.randrange(40_000),
            [(num_rows, 700_000)],
            5_000,
            [(0.5, 0.49 + 0.02 * rng.random())],
        )
        curves.append(UncertainCurve(**vars(plain)))
    plan = plan_of(curves, target_bytes=100_000_000)
    assert plan.spread <= 0.02
    assert len(plan.parts) <= 1.01 * sum(part.predicted_bytes for part in plan.parts) / 1e8 + 1
    ruler = Ruler(layout_of(curves), curves.__getitem__)
    for part in plan.parts:
        size = part.predicted_bytes + ruler.uncertain(
            part.first_row, part.first_row + part.num_rows
        )
        assert size <= 100_000_000


def test_whole_row_groups_are_preferred_where_they_are_even():
    curves = [curve(i, 1000, 100_000, [(1000, 20_000)]) for i in range(400)]
    plan = plan_of(curves, target_bytes=5_000_000)
    assert all(piece.is_whole for part in plan.parts for piece in part.slices)
    assert plan.spread <= 0.03


@quick
@given(fine_groups(), st.integers(1, 60))
def test_number_of_parts_is_exact(curves, num_parts):
    plan = plan_of(curves, num_parts=num_parts)
    check_tiles(plan)
    assert len(plan.parts) == num_parts


@quick
@given(fine_groups(), st.integers(500, 50_000))
def test_rows_per_part(curves, rows_per_part):
    plan = plan_of(curves, rows_per_part=rows_per_part)
    check_tiles(plan)
    assert all(part.num_rows == rows_per_part for part in plan.parts[:-1])
    assert plan.parts[-1].num_rows <= rows_per_part


@pytest.mark.parametrize("num_parts", [1, 2, 499, 999, 1000])
def test_parts_near_the_number_of_rows(num_parts):
    plan = plan_of([curve(0, 1000, 9_000_000, knots=[(0.9, 0.1)])], num_parts=num_parts)
    check_tiles(plan)
    assert len(plan.parts) == num_parts


def test_a_giant_row_in_the_first_row_group_and_many_parts():
    giant = curve(0, 100, 1_100_000, knots=[(0.98, 0.01), (0.99, 0.99)])
    curves = [giant, *(curve(i, 1000, 200_000) for i in range(1, 5))]
    plan = plan_of(curves, num_parts=2349)
    check_tiles(plan)
    assert len(plan.parts) == 2349


def test_more_parts_than_rows():
    with pytest.raises(BadSetting, match="--parts is 5, and the source has 4 rows"):
        plan_of([curve(0, 4, 100)], num_parts=5)


def test_no_rows():
    assert [part.num_rows for part in plan_of([], target_bytes=10_000).parts] == [0]
    assert len(plan_of([], num_parts=1).parts) == 1
    with pytest.raises(BadSetting, match="the source has no rows"):
        plan_of([], num_parts=2)


def test_one_row():
    assert [part.num_rows for part in plan_of([curve(0, 1, 900)], target_bytes=10_000).parts] == [1]
    with pytest.raises(TargetTooSmall, match="row 0 takes about 1,400 bytes"):
        plan_of([curve(0, 1, 900)], target_bytes=1_000)


@pytest.mark.parametrize("target", [2_000_000, 1_010_000, 1_000_700])
def test_giant_rows_near_the_target(target):
    knots = [(0.001 * k + e, 0.0009 + k * 0.249) for k, e in [(1, 0.0), (2, 0.0), (3, 0.0)]]
    curves = [curve(i, 1000, 4_000_000, knots=knots) for i in range(5)]
    plan = plan_of(curves, target_bytes=target)
    check_tiles(plan)
    assert max(part.predicted_bytes for part in plan.parts) <= target


def test_a_giant_row_over_the_target_is_named():
    curves = [curve(0, 1000, 1000), curve(1, 1000, 2_000_000, knots=[(0.5, 0.1), (0.501, 0.9)])]
    with pytest.raises(TargetTooSmall, match=r"only row 1500 takes about 1,600,500 bytes"):
        plan_of(curves, target_bytes=1_000_000)


def test_a_target_that_is_refused_names_what_makes_rows_larger():
    curves = [curve(0, 10, 100_000)]
    for wish, said in (
        ({"dictionary": False}, "or leave --no-dictionary out"),
        ({"dictionary": False, "codec": "none"}, "leave --no-dictionary and --codec none out"),
    ):
        with pytest.raises(TargetTooSmall, match=said):
            plan_of(curves, target_bytes=2_000, **wish)


def test_number_of_parts_must_keep_a_target_given_with_it():
    with pytest.raises(TargetTooSmall, match="part 0 would have"):
        plan_of([curve(0, 1000, 1_000_000)], num_parts=3, target_bytes=100_000)


@pytest.mark.ways(1)
@pytest.mark.parametrize("wanted", [{"num_parts": 1000}, {"target_bytes": 150_000_000}])
@pytest.mark.parametrize("cut", ["row-group", "row"])
def test_most_row_groups_a_file_can_have(wanted, cut):
    rng = random.Random(7)
    curves = [
        curve(i, 1000, rng.randrange(3_000_000, 6_000_000), [(1000, 300_000)]) for i in range(32767)
    ]
    layout = layout_of(curves)
    settings = Settings(cut=cut, **wanted)
    plan, num_calls = counted(
        lambda: make_plan(layout, settings, version="1", curve_of=curves.__getitem__)
    )
    assert num_calls < MAX_CALLS
    assert plan.spread <= (0.02 if cut == "row" else 0.06)


def test_few_row_groups_are_read():
    curves = [curve(i, 100_000, 3_500_000, [(100_000, 1_300_000)]) for i in range(524)]
    read = []

    def curve_of(position):
        read.append(position)
        return curves[position]

    plan = make_plan(
        layout_of(curves), Settings(target_bytes=100_000_000), version="1", curve_of=curve_of
    )
    assert len(read) == len(set(read)) <= 3 * len(plan.parts)


# -- targets too small -----------------------------------------------------------------------------


@quick
@given(fine_groups(), st.integers(-300, 300), st.sampled_from(["row", "row-group"]))
def test_refused_before_any_work_is_only_what_no_plan_keeps(curves, more, cut):
    wanted = Settings(target_bytes=PART_BYTES + 200 + more, cut=cut)
    layout = layout_of(curves)
    if more > 0:
        check_holds_a_row(layout, wanted)
        return
    with pytest.raises(TargetTooSmall, match=r"has about 700 .* takes 7\d\d: raise --target-size"):
        check_holds_a_row(layout, wanted)
    with pytest.raises(TargetTooSmall):
        make_plan(layout, wanted, version="1", curve_of=curves.__getitem__)


row_groups_of_heavy_rows = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1_000, 50_000)), min_size=1, max_size=4
)


@quick
@given(row_groups_of_heavy_rows, st.integers(701, 2_000))
def test_a_refusal_names_a_target_that_does(groups, target):
    """Each names the first row that is too large, so there are no more of them than row groups."""
    curves = [curve(i, rows, size, extra_bytes=200) for i, (rows, size) in enumerate(groups)]
    for _ in range(len(curves) + 1):
        try:
            found = plan_of(curves, target_bytes=target)
        except TargetTooSmall as error:
            (number,) = re.findall(r"raise --target-size to about ([\d,]+) or more", str(error))
            assert int(number.replace(",", "")) > target
            target = int(number.replace(",", ""))
        else:
            assert max(part.predicted_bytes for part in found.parts) <= target
            return
    raise AssertionError("no target that was named is large enough")


# -- identity ------------------------------------------------------------------------------------

BASE = {"target_bytes": 300_000}


@quick
@given(fine_groups())
def test_plans_are_deterministic(curves):
    assert plan_of(curves, num_parts=5) == plan_of(curves, num_parts=5)


@pytest.mark.parametrize(
    "change",
    [
        {"target_bytes": 300_001},
        {"num_parts": 4},
        {"rows_per_part": 9_999},
        {"cut": "row-group"},
        {"name": "p{index}.parquet"},
    ],
)
def test_id_changes_with_what_shapes_the_parts(change):
    curves = [curve(i, 10_000, 100_000) for i in range(6)]
    if "num_parts" in change or "rows_per_part" in change:
        assert plan_of(curves, **change).plan_id != plan_of(curves, **BASE).plan_id
    assert plan_of(curves, **{**BASE, **change}).plan_id != plan_of(curves, **BASE).plan_id


@pytest.mark.parametrize(
    "change",
    [
        {"memory_bytes": 1 << 30},
        {"num_workers": 3},
        {"scheduler": "tcp://x:1"},
        {"durable": False},
        {"overwrite": True},
    ],
)
def test_id_keeps_with_what_does_not(change):
    curves = [curve(i, 10_000, 100_000) for i in range(6)]
    assert plan_of(curves, **BASE, **change).plan_id == plan_of(curves, **BASE).plan_id


@pytest.mark.parametrize("change", [{"path": "b"}, {"size_bytes": 2}, {"version": "v2"}])
def test_id_changes_with_the_source(change):
    curves = [curve(0, 10_000, 100_000)]
    layout = layout_of(curves)
    other = replace(layout, files=(replace(FILE, **change),))
    ids = {
        make_plan(each, Settings(**BASE), version="1", curve_of=curves.__getitem__).plan_id
        for each in (layout, other)
    }
    assert len(ids) == 2


def test_id_changes_with_the_version():
    curves = [curve(0, 10_000, 100_000)]
    ids = {
        make_plan(
            layout_of(curves), Settings(**BASE), version=version, curve_of=curves.__getitem__
        ).plan_id
        for version in ("1", "2")
    }
    assert len(ids) == 2


# -- by row groups -------------------------------------------------------------------------------

sizes_lists = st.lists(st.integers(1, 50), min_size=1, max_size=9)


def sums_of(sizes, cuts):
    sums = list(accumulate(sizes, initial=0))
    return [sums[b] - sums[a] for a, b in pairwise(cuts)]


def best_runs(sizes, num_runs):
    inner = itertools.combinations(range(1, len(sizes)), num_runs - 1)
    found = (sums_of(sizes, (0, *cuts, len(sizes))) for cuts in inner)
    return min((max(sums), -min(sums)) for sums in found)


def test_no_row_group_is_looked_into_where_one_part_holds_all():
    layout = layout_of([curve(0, 100, 5_000), curve(1, 50, 900)])

    def nobody_asks(position: int) -> Curve:
        raise AssertionError(f"row group {position} is read")

    size = Ruler(layout, nobody_asks).size(0, 150)
    plan = make_plan(layout, Settings(target_bytes=size), version="1", curve_of=nobody_asks)
    assert [part.num_rows for part in plan.parts] == [150]
    with pytest.raises(AssertionError, match="is read"):
        make_plan(layout, Settings(target_bytes=size - 1), version="1", curve_of=nobody_asks)


@given(sizes_lists, st.data())
def test_even_runs_are_the_best_of_all(sizes, data):
    num_runs = data.draw(st.integers(1, len(sizes)))
    cuts = even_runs(sizes, num_runs)
    assert len(cuts) == num_runs + 1
    assert all(a < b for a, b in pairwise(cuts))
    sums = sums_of(sizes, cuts)
    assert (max(sums), -min(sums)) == best_runs(sizes, num_runs)


@given(sizes_lists, st.integers(20, 200))
def test_fewest_runs_are_the_fewest_of_all(sizes, most):
    cuts = fewest_runs(sizes, most)
    fits = [n for n in range(1, len(sizes) + 1) if best_runs(sizes, n)[0] <= most]
    assert (len(cuts) - 1 if cuts else None) == (fits[0] if fits else None)


@given(sizes_lists)
def test_row_group_parts_equal_brute_force(sizes):
    curves = [curve(i, 10, size * 1000) for i, size in enumerate(sizes)]
    plan = plan_of(curves, target_bytes=60_000, cut="row-group")
    check_tiles(plan)
    assert all(piece.is_whole for part in plan.parts for piece in part.slices)
    found = [part.predicted_bytes - PART_BYTES for part in plan.parts]
    room = 60_000 - PART_BYTES
    bests = [best_runs([s * 1000 for s in sizes], n) for n in range(1, len(sizes) + 1)]
    num_parts = next(n for n, best in enumerate(bests, 1) if best[0] <= room)
    assert len(plan.parts) == num_parts
    assert (max(found), -min(found)) == bests[num_parts - 1]


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        ({"target_bytes": 90_000}, TargetTooSmall, "row group 0 of a.parquet takes 100,500 bytes"),
        ({"rows_per_part": 9}, TargetTooSmall, "a row group has 10 rows"),
        ({"num_parts": 5}, BadSetting, "--parts is 5, and the source has 4 row groups"),
        ({"num_parts": 2, "target_bytes": 150_000}, TargetTooSmall, "4 can"),
    ],
)
def test_row_groups_that_cannot_be_had(wanted, error, says):
    with pytest.raises(error, match=says):
        plan_of([curve(i, 10, 100_000) for i in range(4)], cut="row-group", **wanted)


def test_runs_of_very_unequal_sizes_take_bounded_time():
    rng = random.Random(2)
    sizes = [int(1e6 * rng.paretovariate(1.2)) for _ in range(32_767)]
    cuts, num_calls = counted(lambda: even_runs(sizes, 1000))
    assert num_calls < MAX_CALLS
    assert len(cuts) == 1001


# -- the ruler -----------------------------------------------------------------------------------


@quick
@given(fine_groups(), st.data())
def test_rows_found_by_size_are_the_outermost(curves, data):
    ruler = Ruler(layout_of(curves), curves.__getitem__)
    for position in range(len(curves)):
        ruler.read(position)
    ruler.expect(data.draw(st.floats(1_000, ruler.layout.num_bytes)))
    num_bytes = data.draw(st.integers(0, ruler.layout.num_bytes))
    last, first = ruler.last_row(num_bytes), ruler.first_row(num_bytes)
    assert ruler.bytes_before(last) <= num_bytes + 1e-3
    assert last == ruler.num_rows or ruler.bytes_before(last + 1) > num_bytes - 1e-3
    assert ruler.bytes_before(first) >= num_bytes - 1e-3
    assert first == 0 or ruler.bytes_before(first - 1) < num_bytes + 1e-3


@quick
@given(fine_groups(), st.floats(100, 400_000))
def test_slices_from_the_first_row_are_summed_to_the_last_bit(curves, num_bytes):
    for each in (c.for_slices_of(num_bytes) for c in curves):
        rows, sums = each._from_start
        assert sums == list(itertools.accumulate(map(each.from_start, rows), max))


@quick
@given(fine_groups(), st.data())
def test_sizes_add_up_to_everything_and_what_cuts_repeat(curves, data):
    ruler = Ruler(layout_of(curves), curves.__getitem__)
    for position in range(len(curves)):
        ruler.read(position)
    inner = data.draw(st.sets(st.integers(1, ruler.num_rows - 1), max_size=5))
    cuts = [0, *sorted(inner), ruler.num_rows]
    repeated = 0
    for row in inner:
        position, inside = ruler.locate(row)
        repeated += curves[position].repeated(inside) if inside else 0
    rows = [0]
    for c in curves:  # entries that rows on both sides of a cut use
        rows.append(rows[-1] + c.rows[-1])
        ends = [0, *(row - rows[-2] for row in sorted(inner) if rows[-2] < row < rows[-1])]
        pieces = pairwise([*ends, c.rows[-1]])
        repeated += sum(c.used(*piece) for piece in pieces) - entries_bytes(c)
    whole = ruler.layout.num_bytes + PART_BYTES * (len(cuts) - 1)
    assert sum(ruler.sizes(cuts)) == pytest.approx(whole + repeated, abs=len(cuts) + len(curves))
    assert spread(ruler.sizes(cuts)) >= 0


@quick
@given(st.integers(20_000, 200_000), st.floats(0.05, 20), shares, st.data())
def test_sums_are_those_of_slices_of_the_size_expected(num_rows, often, place, data):
    """Inside a row group, at both of its ends, and of slices that are a little shorter."""
    size = num_rows * 30
    entries = [trimmed(num_rows, size, often, num_rows, place)]
    curves = [curve(0, num_rows, num_rows * 3, [], 200, (), entries)]
    ruler = Ruler(layout_of(curves), curves.__getitem__)
    ruler.read(0)
    part_bytes = data.draw(st.floats(0.05, 0.5)) * ruler.layout.num_bytes
    ruler.expect(part_bytes)
    start = data.draw(st.integers(0, num_rows - 1))
    stop = ruler.fit(start, part_bytes + PART_BYTES)
    assert ruler.size(start, stop) <= part_bytes + PART_BYTES + 1
    assert stop == num_rows or ruler.size(start, stop + 1) > part_bytes + PART_BYTES - 1
    by_sums = ruler.bytes_before(stop) - ruler.bytes_left_out(start) + PART_BYTES
    if place == pytest.approx(0.5, abs=0.05) and 0 < start < stop < num_rows:
        assert by_sums == pytest.approx(ruler.size(start, stop), rel=0.1)
    for row in (start, stop):
        if 0 < row < num_rows:
            head, tail = ruler.size(0, row), ruler.size(row, num_rows)
            if head <= part_bytes:
                assert ruler.bytes_before(row) + PART_BYTES == pytest.approx(head, abs=2)
            if tail <= part_bytes:
                left = ruler.layout.num_bytes - ruler.bytes_left_out(row)
                assert left + PART_BYTES == pytest.approx(tail, abs=2)
