"""Bounds that a writer cut short: what parts claim as least and greatest is right to the letter."""

import datafusion
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.formats.parquet.bytes import spec
from tests.engine.formats.parquet.test_verifier import rewrite_chunk
from tests.witness.read_datafusion import DatafusionWitness

WIDTHS = {1: "ae", 2: "éß", 3: "€あ", 4: "𐍈😀"}  # characters by their bytes
CHARACTERS = [character for some in WIDTHS.values() for character in some]


def write(path, texts, limit, chunk_limit):
    """Write pages of 25 rows, whose bounds have at most ``limit`` bytes."""
    options = datafusion.ParquetWriterOptions(
        column_index_truncate_length=limit,
        statistics_truncate_length=chunk_limit,
        created_by="parquet-rs version 55.0.0",
        data_page_row_count_limit=25,
        write_batch_size=25,
        dictionary_enabled=False,
        statistics_enabled="page",
    )
    frame = datafusion.SessionContext().from_arrow(pa.table({"s": texts}))
    frame.write_parquet_with_options(str(path), options)


def claimed(part):
    """Return least and greatest as engines answer them, from whatever they trust."""
    context = datafusion.SessionContext()
    context.register_parquet("t", str(part))
    (row,) = context.sql("select min(s) as low, max(s) as high from t").to_pylist()
    (other,) = duckdb.sql(f"select min(s), max(s) from '{part}'").fetchall()
    return {(row["low"], row["high"]), other}


TEXTS = st.lists(
    st.tuples(st.sampled_from(CHARACTERS), st.integers(0, 2), st.sampled_from(CHARACTERS)),
    min_size=4,
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, st.integers(1, 8), st.sampled_from([None, 2, 64]), st.sampled_from([70, 90, 33]))
def test_least_and_greatest_of_each_part_are_values(
    tmp_path_factory, heads, limit, chunk_limit, rows
):
    folder = tmp_path_factory.mktemp("cut")
    # Of each quarter the texts begin alike, with wide or narrow characters, and go on for long.
    texts = [
        f"{first}{second * number}cdefgh{row:05}"
        for first, number, second in heads
        for row in range(50)
    ]
    source = folder / "source.parquet"
    write(source, texts, limit, chunk_limit)
    engine.split(str(source), str(folder / "parts"), rows_per_part=rows, fsync=False)
    engine.verify(str(folder / "parts"))
    for part in sorted((folder / "parts").glob("*.parquet")):
        values = pq.read_table(part)["s"].to_pylist()
        assert claimed(part) == {(min(values), max(values))}


@pytest.mark.parametrize("limit", [None, 64])
def test_bounds_that_nobody_cut_are_kept(tmp_path, limit):
    source = tmp_path / "source.parquet"
    write(source, [f"text {row:05}" for row in range(200)], limit, limit)
    engine.split(str(source), str(tmp_path / "parts"), rows_per_part=90, fsync=False)
    for part in (tmp_path / "parts").glob("*.parquet"):
        assert pq.read_metadata(part).row_group(0).column(0).statistics.has_min_max


@pytest.mark.parametrize("least_chunks", [1, 1 << 30])
@pytest.mark.parametrize("write_page_index", [False, True])
def test_a_part_of_one_value_and_nan_has_no_bounds(
    tmp_path, monkeypatch, least_chunks, write_page_index
):
    """DataFusion reads a column whose bounds are equal, and which has no nulls, as that value."""
    monkeypatch.setattr("engine.formats.parquet.small_chunks.MIN_CHUNKS", least_chunks)
    nan = float("nan")
    table = pa.table({"x": [1.0, nan, 2.0, 2.0, 3.0, nan, 4.0, 5.0]})
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, write_page_index=write_page_index, max_rows_per_page=2)
    engine.split(str(source), str(tmp_path / "parts"), rows_per_part=2, fsync=False)
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    assert len(parts) == 4
    reader = DatafusionWitness()
    read = [reader.fetch([str(part)], ["x"])["x"].to_pylist() for part in parts]
    assert repr(read) == repr([[1.0, nan], [2.0, 2.0], [3.0, nan], [4.0, 5.0]])


NAN = float("nan")
CUT = {"rows_per_part": 150}
MERGED = {"parts": 1, "row_group_size": "1GB"}
ASKED = ("x > 5", "x >= 0", "x = 'nan'", "x < 'nan'", "x > 250", "x > 170", "x < 0", "x is null")


def _spread(i):
    return NAN if i % 5 == 0 else float(i)


def _of_one_group(i):
    return NAN if 200 <= i < 400 else float(i % 200)


def _of_pages_that_no_cut_passes(i):
    return NAN if 60 <= i % 200 < 70 else float(i % 200)


def _zeros(i):
    return [-0.0, 0.0, NAN][i // 100 % 3]


def answers(paths, filters):
    """Return what DuckDB counts; it skips what bounds exclude, NaN as well, which is greatest."""
    with duckdb.connect() as con:
        return [
            con.execute(f"select count(*) from read_parquet(?) where {each}", [paths]).fetchone()
            for each in filters
        ]


@pytest.mark.ways(24)
@pytest.mark.parametrize("nan_bounds", [False, True])
@pytest.mark.parametrize("values", [_spread, _of_one_group, _of_pages_that_no_cut_passes, _zeros])
@pytest.mark.parametrize("least_chunks", [1, 1 << 30])
@pytest.mark.parametrize(("form", "dictionary"), [("float64", False), ("float32", True)])
@pytest.mark.parametrize("way", [CUT, MERGED, CUT | {"codec": "zstd"}])
def test_what_is_asked_of_nan_is_answered_by_parts_as_by_the_source(
    tmp_path, monkeypatch, way, form, dictionary, least_chunks, values, nan_bounds
):
    """Other bounds than the source's, or bounds where it had none, would hide NaN."""
    monkeypatch.setattr("engine.formats.parquet.small_chunks.MIN_CHUNKS", least_chunks)
    source = tmp_path / "in.parquet"
    table = pa.table({"x": pa.array([values(i) for i in range(600)], form)})
    options = {"write_page_index": True, "max_rows_per_page": 40, "write_batch_size": 20}
    pq.write_table(table, source, row_group_size=200, use_dictionary=dictionary, **options)
    if nan_bounds:
        nan = pa.array([NAN], form).buffers()[1].to_pybytes()[: int(form[-2:]) // 8]

        def bounded(chunk):
            names = spec.Statistics
            facts = {names.NULL_COUNT: 0, names.MAX_VALUE: nan, names.MIN_VALUE: nan}
            field = spec.ColumnMetaData.STATISTICS
            chunk[spec.ColumnChunk.META_DATA][1][field] = spec.entry(field, spec.struct_of(facts))

        rewrite_chunk(source, 0, bounded)
    engine.split(str(source), str(tmp_path / "parts"), fsync=False, **way)
    parts = [str(part) for part in sorted((tmp_path / "parts").glob("*.parquet"))]
    loaded = tmp_path / "loaded.parquet"
    pq.write_table(table, loaded, write_statistics=False)
    truth, own, found = (answers(each, ASKED) for each in ([str(loaded)], [str(source)], parts))
    for each, true, of_source, of_parts in zip(ASKED, truth, own, found, strict=True):
        assert of_source != true or of_parts == true, each
