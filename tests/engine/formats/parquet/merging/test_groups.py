"""Row groups side by side say the same kinds of things, and nothing that is not so."""

import datafusion
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Type, footer_range, seal
from engine.formats.parquet.merging import groups
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

WAYS = [
    {"parts": 1},
    {"parts": 2},
    {"parts": 1, "codec": "zstd"},
    {"parts": 1, "row_group_size": "1GB"},
    {"parts": 1, "cut": "row-group"},
]


def edited(path, change):
    """Change a file's footer: a list of row groups, each fully decoded."""
    data = path.read_bytes()
    place = footer_range(data[-8:], len(data))
    struct = thrift.decode(data[place.offset : place.end])[0]
    change(struct[spec.FileMetaData.ROW_GROUPS][1].items)
    path.write_bytes(data[: place.offset] + seal(thrift.encode(struct)))


def without_bounds(groups):
    for group in groups:
        for chunk in group[spec.RowGroup.COLUMNS][1].items:
            meta = chunk[spec.ColumnChunk.META_DATA][1]
            facts = meta[spec.ColumnMetaData.STATISTICS][1]
            nulls = spec.Statistics.NULL_COUNT
            meta[spec.ColumnMetaData.STATISTICS] = (thrift.STRUCT, {nulls: facts[nulls]})


def query(paths, text):
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
    context.register_parquet("t", f"{paths}/")
    return [tuple(row.values()) for b in context.sql(text).collect() for row in b.to_pylist()]


def split(folder, target, **way):
    engine.split(str(folder), str(target), fsync=False, **way)
    engine.verify(str(target))
    return sorted(target.glob("*.parquet"))


QUERIES = [
    "select count(*) from t where k = 1500",
    "select min(k), max(k), count(k) from t",
    "select count(*) from t where k > 1200",
    "select count(*) from t where k is null",
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("which", [(0,), (1,), (0, 2)], ids=str)
def test_bounds_that_some_sources_lack_are_in_no_row_group(tmp_path, way, which):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        rows = [None if i % 10 == 7 else number * 1000 + i for i in range(1000)]
        pq.write_table(pa.table({"k": rows}), folder / f"{number}.parquet")
        if number in which:
            edited(folder / f"{number}.parquet", without_bounds)
    expected = [query(folder, text) for text in QUERIES]
    parts = split(folder, tmp_path / "parts", **way)
    linked = tmp_path / "linked"
    linked.mkdir()
    for part in parts:
        (linked / part.name).hardlink_to(part)
    assert [query(linked, text) for text in QUERIES] == expected
    for part in parts:
        found = ParquetFile.of(part.read_bytes()).footer
        chunks = [found.row_group(number).columns[0] for number in range(found.num_row_groups)]
        raw = [chunk.meta[spec.ColumnMetaData.STATISTICS][1] for chunk in chunks]
        has = [spec.Statistics.MIN_VALUE in spec.read(spec.Statistics, each) for each in raw]
        assert len(set(has)) == 1


@pytest.mark.parametrize("way", [{"parts": 3, "cut": "row-group"}, {"parts": 4}], ids=str)
def test_statistics_that_do_not_count_nulls_are_left_out(tmp_path, way):
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [None if i % 10 == 7 else i for i in range(3000)]
    fields = [pa.field("k", pa.int64()), pa.field("r", pa.int64(), nullable=False)]
    table = pa.table([rows, range(3000)], schema=pa.schema(fields))
    pq.write_table(table, folder / "a.parquet", row_group_size=1000)
    edited(folder / "a.parquet", without_null_counts)
    for part in split(folder, tmp_path / "parts", **way):
        told = ParquetFile.of(part.read_bytes()).footer
        for number in range(told.num_row_groups):
            optional, _ = told.row_group(number).columns
            assert not optional.statistics or optional.null_count is not None


def test_ordinals_are_in_all_row_groups_or_in_none(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        pq.write_table(pa.table({"k": range(100)}), folder / f"{number}.parquet", row_group_size=50)

    def numbered(groups):
        for number, group in enumerate(groups):
            group[spec.RowGroup.ORDINAL] = (thrift.I16, number)

    edited(folder / "0.parquet", numbered)
    (part,) = split(folder, tmp_path / "some", parts=1)
    found = ParquetFile.of(part.read_bytes()).footer
    assert all(spec.RowGroup.ORDINAL not in found.row_group(n).struct for n in range(4))
    edited(folder / "1.parquet", numbered)
    (part,) = split(folder, tmp_path / "all", parts=1)
    found = ParquetFile.of(part.read_bytes()).footer
    assert [found.row_group(n).struct[spec.RowGroup.ORDINAL][1] for n in range(4)] == [0, 1, 2, 3]


VALUES = st.lists(
    st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=1, max_size=6),
    min_size=2,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.booleans(), st.booleans(), st.sampled_from(WAYS))
def test_sorting_columns_stay_only_where_the_rows_are_sorted(
    tmp_path_factory, values, descending, nulls_first, way
):
    """Each row group is sorted; whether the part is depends on how they follow each other."""
    folder = tmp_path_factory.mktemp("in")

    def key(value):
        placed = (value is None) != nulls_first
        return (placed, 0 if value is None else -value if descending else value)

    column = [pq.SortingColumn(0, descending, nulls_first)]
    for number, rows in enumerate(values):
        table = pa.table({"k": pa.array(sorted(rows, key=key), pa.int64())})
        pq.write_table(table, folder / f"{number}.parquet", sorting_columns=column)
    if sum(map(len, values)) < way.get("parts", 1):
        return
    for part in split(folder, tmp_path_factory.mktemp("parts") / "parts", **way):
        metadata = pq.read_metadata(part)
        claims = {metadata.row_group(n).sorting_columns for n in range(metadata.num_row_groups)}
        assert len(claims) == 1
        rows = pq.read_table(part)["k"].to_pylist()
        if claims != {()}:
            assert rows == sorted(rows, key=key)


def test_proved_order_is_kept(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    by = [pq.SortingColumn(0), pq.SortingColumn(1)]
    for number in range(3):
        rows = {"k": [number] * 10, "s": [f"{i:02}" for i in range(10)]}
        pq.write_table(pa.table(rows), folder / f"{number}.parquet", sorting_columns=by)
    for way in ({"parts": 1}, {"parts": 1, "row_group_size": "1GB"}):
        (part,) = split(folder, tmp_path / f"p{len(way)}", **way)
        metadata = pq.read_metadata(part)
        found = [metadata.row_group(n).sorting_columns for n in range(metadata.num_row_groups)]
        assert found == [tuple(by)] * len(found)


def without_null_counts(groups):
    for group in groups:
        for chunk in group[spec.RowGroup.COLUMNS][1].items:
            meta = chunk[spec.ColumnChunk.META_DATA][1]
            facts = meta[spec.ColumnMetaData.STATISTICS][1]
            facts.pop(spec.Statistics.NULL_COUNT, None)


NAN = float("nan")
FEW_VALUES = st.one_of(
    st.lists(st.sampled_from([7.0, 7.0, 7.0, NAN, None, 8.0, 0.0, -0.0]), min_size=3, max_size=9),
    st.lists(st.sampled_from(["a", "a", "a", None, "b"]), min_size=3, max_size=9),
    st.lists(st.sampled_from([5, 5, 5, None, 6]), min_size=3, max_size=9),
)
CUTS = [
    {"rows_per_part": 3},
    {"parts": 2, "cut": "row-group"},
    {"rows_per_part": 3, "codec": "gzip"},
    {"rows_per_part": 3, "row_group_size": "3rows"},
]


@settings(max_examples=60, deadline=None)
@given(FEW_VALUES, st.integers(1, 3), st.booleans(), st.booleans(), st.sampled_from(CUTS))
def test_one_value_hides_neither_nan_nor_nulls(
    tmp_path_factory, values, group_rows, has_nulls_counted, has_index, way
):
    """DataFusion fills a column whose bounds are one value, where it knows of no nulls."""
    folder = tmp_path_factory.mktemp("in")
    settings = {"row_group_size": group_rows, "write_page_index": has_index}
    pq.write_table(pa.table({"k": values}), folder / "0.parquet", **settings)
    if not has_nulls_counted:
        edited(folder / "0.parquet", without_null_counts)
    if way.get("parts", 1) > -(-len(values) // group_rows):
        return
    found = []
    for part in split(folder, tmp_path_factory.mktemp("parts") / "parts", **way):
        context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))
        context.register_parquet("t", str(part))
        found += context.sql("select k from t").to_arrow_table()["k"].to_pylist()
    assert repr(found) == repr(values)


BOUND = st.binary(max_size=2) | st.just(b"\0" * 17)
FACTS = st.tuples(
    st.booleans(), st.booleans(), st.lists(BOUND, min_size=4, max_size=4), st.integers(0, 7)
)


def statistics(has_old, has_new, bounds, others):
    names = spec.Statistics
    fields = {}
    if has_old:
        fields |= {names.MAX: bounds[0], names.MIN: bounds[1]}
    if others & 1:
        fields[names.NULL_COUNT] = 200
    if others & 2:
        fields[names.DISTINCT_COUNT] = 3
    if has_new:
        fields |= {names.MAX_VALUE: bounds[2], names.MIN_VALUE: bounds[3]}
        fields |= {names.IS_MAX_VALUE_EXACT: True} if others & 4 else {names.NAN_COUNT: 0}
    return thrift.encode(spec.struct_of(fields)) if fields else b""


@settings(deadline=None, max_examples=500)
@given(st.lists(FACTS, min_size=1, max_size=3), st.booleans(), st.sampled_from([*Type]))
def test_usual_statistics_agree_as_all_others_do(facts, are_alike, physical):
    every = [statistics(*each) for each in facts]
    if are_alike:
        every = every[:1] * len(every)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "_match_usual", lambda _: None)
        wanted = groups._is_column_agreed(physical, every)
    assert groups._is_column_agreed(physical, every) == wanted
