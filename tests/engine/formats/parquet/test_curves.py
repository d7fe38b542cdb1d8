import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.parquet.curves import read_curve
from engine.formats.parquet.layout import read_layout
from engine.formats.parquet.opened import open_file
from engine.formats.parquet.sizes import Sizes
from engine.planning.curves import Curve, Inside, rough_curve
from engine.planning.layout import GroupLayout
from engine.sources import find_sources
from tests.engine.running import close_files


@st.composite
def curves(draw):
    rows = sorted(draw(st.sets(st.integers(1, 5_000), min_size=1, max_size=20)) | {0})
    steps = draw(st.lists(st.integers(0, 10_000), min_size=len(rows), max_size=len(rows)))
    sums = [float(s) for s in np.cumsum([0, *(1 + step for step in steps[1:])])]
    given_up = draw(st.lists(st.tuples(st.sampled_from(rows), st.integers(1, 999)), max_size=4))
    return Curve(0, rows, sums, draw(st.integers(0, 50)), tuple(given_up), ())


@given(curves(), st.data())
def test_row_at_inverts_before(curve, data):
    row = data.draw(st.integers(0, curve.rows[-1]))
    assert curve.row_at(curve.before(row)) == pytest.approx(row, abs=1e-6)


@given(curves(), st.data())
def test_last_row_is_the_last_that_fits(curve, data):
    start = data.draw(st.integers(0, curve.rows[-1]))
    room = data.draw(st.integers(0, 120_000))
    last = curve.last_row(start, room)
    assert start <= last <= curve.rows[-1]
    if last > start:
        assert curve.num_bytes(start, last) <= room + 1
    if last < curve.rows[-1]:
        assert curve.num_bytes(start, last + 1) >= room - 1


@given(curves(), st.data())
def test_a_cut_repeats_dictionaries_that_are_still_used(curve, data):
    row = data.draw(st.integers(0, curve.rows[-1]))
    used = sum(size for until, size in curve.dictionaries if until > row)
    assert curve.repeated(row) == curve.fixed_bytes + used
    apart = curve.num_bytes(0, row) + curve.num_bytes(row, curve.rows[-1])
    assert abs(apart - curve.num_bytes(0, curve.rows[-1]) - curve.repeated(row)) <= 2


@given(curves(), st.integers(1, 9_000), st.integers(1, 10**6), st.integers(0, 10**5))
def test_an_unread_row_group_has_its_own_bytes_whatever_its_model(model, rows, size, dictionary):
    group = GroupLayout(0, 3, rows, size + dictionary, dictionary, 17, 5)
    for curve in (rough_curve(group), rough_curve(group, model)):
        assert (curve.rows[0], curve.rows[-1]) == (0, rows)
        assert list(curve.rows) == sorted(set(curve.rows))
        assert list(curve.sums) == sorted(curve.sums)
        assert curve.repeated(0) + curve.sums[-1] == pytest.approx(group.num_bytes)


@pytest.fixture
def measured(tmp_path):
    yield lambda table, **how: _measure(tmp_path / "a.parquet", table, **how)
    close_files()


def _measure(path, table, **how):
    pq.write_table(table, path, **how)
    (file,) = find_sources([str(path)])
    layout = read_layout([file])
    opened = open_file(file)
    return [
        (group, read_curve(opened.row_group(group.index), group, Sizes()))
        for group in layout.groups
    ]


def table(num_rows):
    rng = np.random.default_rng(1)
    lists = [[i] * (i % 4) for i in range(num_rows)]
    return pa.table(
        {
            "id": np.arange(num_rows),
            "few": [f"value {i % 7}" for i in range(num_rows)],
            "many": [f"value {i * 7919}" for i in rng.permutation(num_rows)],
            "lists": lists,
        }
    )


@pytest.mark.parametrize("write_page_index", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_curve_ends_with_all_bytes_of_its_row_group(measured, write_page_index, version):
    found = measured(
        table(20_000),
        row_group_size=8_000,
        data_page_size=2_000,
        data_page_version=version,
        write_page_index=write_page_index,
    )
    assert [group.num_rows for group, _ in found] == [8_000, 8_000, 4_000]
    for group, curve in found:
        assert curve.rows[0] == 0
        assert curve.rows[-1] == group.num_rows
        assert list(curve.sums) == sorted(curve.sums)
        assert curve.num_bytes(0, group.num_rows) == pytest.approx(group.num_bytes, abs=1)
        assert curve.reasons(0, group.num_rows) == []
        assert curve.uncertain(0, group.num_rows) == 0
        assert curve.reasons(1, group.num_rows - 1)


def test_a_dictionary_given_up_is_repeated_no_longer(measured):
    ((group, curve),) = measured(
        table(50_000).select(["many"]), dictionary_pagesize_limit=100_000, data_page_size=10_000
    )
    ((row, size),) = curve.dictionaries
    assert 0 < row < group.num_rows
    assert size > 10_000
    assert curve.repeated(row) == curve.fixed_bytes == curve.repeated(row - 1) - size


def test_skew_shows_in_the_curve(measured):
    sizes = [10] * 5_000 + [2_000] * 500
    rng = np.random.default_rng(2)
    wide = pa.table({"b": [rng.bytes(size) for size in sizes]})
    ((_, curve),) = measured(wide, use_dictionary=False, data_page_size=20_000, write_batch_size=64)
    assert curve.before(5_000) < 0.2 * curve.sums[-1]
    assert curve.before(5_250) == pytest.approx(0.53 * curve.sums[-1], rel=0.05)


def test_one_huge_page_is_a_reason_to_name_the_column(measured):
    rng = np.random.default_rng(3)
    wide = pa.table({"b": [rng.bytes(1_000) for _ in range(3_000)]})
    ((_, curve),) = measured(wide, use_dictionary=False, data_page_size=1 << 30)
    (reason,) = curve.reasons(0, 1_000)
    assert "column b has a page of" in reason


def test_of_very_many_pages_at_a_cut_a_sample_is_seen_and_all_if_it_is_uneven(measured):
    num_columns = 300
    rows = {f"c{number}": range(number, number + 400) for number in range(num_columns)}
    ((_, curve),) = measured(pa.table(rows), use_dictionary=False)
    asked = curve.unseen(100, 0.0)
    assert 10 < len(asked) <= 64
    assert max(column for column, _ in asked) - min(column for column, _ in asked) > 200

    def seen(halves):
        return curve.seen({place: Inside((0, 200, 400), (0, *halves), 0.01) for place in asked})

    assert seen((1_600, 3_200)).unseen(100, 0.0) == []
    rest = seen((100, 3_200)).unseen(100, 0.0)
    assert len(rest) == num_columns - len(asked)
    assert not set(rest) & set(asked)
    # A few that are large are asked for, and no others.
    assert len(curve.unseen(100, curve.sums[-1] * 0.99)) < 10
