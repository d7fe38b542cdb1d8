"""Whole splits of small files through the façade: what parts hold, and what is said about them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import value
from engine.formats.parquet.bytes.page_index import ColumnIndex, OffsetIndex
from engine.model import SplitResult
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.engine.running import (
    leftovers,
    make_table,
    parts_contents,
    parts_of,
    read_parts,
    write_source,
)

OURS = {b"evensplit.source", b"evensplit.part", b"evensplit.rows", b"evensplit.version"}


def split(source: Path | list[Path], dest: Path, **settings: Any) -> SplitResult:
    sources = [str(path) for path in source] if isinstance(source, list) else str(source)
    return engine.split(sources, str(dest), **settings)


def opened(path: Path) -> ParquetFile:
    return ParquetFile.of(path.read_bytes())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 2 MB in 12 row groups, many pages each."""
    path = tmp_path_factory.mktemp("split") / "source.parquet"
    return write_source(path, num_rows=90_000, row_group_size=8_000)


@pytest.fixture(scope="module")
def by_rows(source: Path) -> tuple[Path, SplitResult]:
    dest = source.parent / "by-rows"
    return dest, split(source, dest, target_size="300kB")


@pytest.fixture(scope="module")
def by_row_groups(source: Path) -> tuple[Path, SplitResult]:
    dest = source.parent / "by-row-groups"
    return dest, split(source, dest, target_size="700kB", cut="row-group")


@pytest.fixture(params=["by_rows", "by_row_groups"])
def done(request: pytest.FixtureRequest) -> tuple[Path, SplitResult]:
    found: tuple[Path, SplitResult] = request.getfixturevalue(request.param)
    return found


# -- equality ------------------------------------------------------------------------------------


def test_parts_hold_the_rows_in_order_by_pyarrow(source: Path, done: tuple[Path, SplitResult]):
    assert read_parts(done[0]).equals(pq.read_table(source))


def test_parts_hold_the_rows_in_order_by_duckdb(source: Path, done: tuple[Path, SplitResult]):
    def read(files: list[Path]) -> list[tuple[Any, ...]]:
        names = [str(path) for path in files]
        return duckdb.from_parquet(names).fetchall()  # type: ignore[call-overload, no-any-return]

    assert read(parts_of(done[0])) == read([source])


def test_the_schema_and_the_metadata_are_the_sources(source: Path, done: tuple[Path, SplitResult]):
    model = pq.read_metadata(source)
    for path in parts_of(done[0]):
        found = pq.read_metadata(path)
        assert found.schema.equals(model.schema)
        assert found.created_by == model.created_by
        assert found.format_version == model.format_version
        kept = {key: text for key, text in found.metadata.items() if key not in OURS}
        assert kept == model.metadata


def test_provenance_is_in_each_part(source: Path, done: tuple[Path, SplitResult]):
    parts = parts_of(done[0])
    row = 0
    for number, path in enumerate(parts, 1):
        found = pq.read_metadata(path)
        assert found.metadata[b"evensplit.source"] == source.name.encode()
        assert found.metadata[b"evensplit.part"] == f"{number}/{len(parts)}".encode()
        rows = f"{row}-{row + found.num_rows}"
        assert found.metadata[b"evensplit.rows"] == rows.encode()
        assert found.metadata[b"evensplit.version"] == engine.__version__.encode()
        row += found.num_rows


def test_a_part_that_is_split_again_tells_only_of_the_second_split(tmp_path: Path, by_rows: Any):
    first = parts_of(by_rows[0])[0]
    split(first, tmp_path / "again", parts=2)
    keys = [key for key, _ in opened(parts_of(tmp_path / "again")[1]).footer.key_values]
    assert len(keys) == len(set(keys))
    found = pq.read_metadata(parts_of(tmp_path / "again")[1]).metadata
    assert found[b"evensplit.part"] == b"2/2"


# -- sizes and cuts ------------------------------------------------------------------------------


def test_no_part_is_over_the_target_and_all_are_nearly_equal(by_rows: tuple[Path, SplitResult]):
    dest, result = by_rows
    sizes = [path.stat().st_size for path in parts_of(dest)]
    assert len(sizes) > 5
    assert max(sizes) <= 300_000
    assert (max(sizes) - min(sizes)) / (sum(sizes) / len(sizes)) <= 0.02
    assert result.manifest.spread <= 0.02


def test_by_row_groups_nothing_is_encoded_anew(by_row_groups: tuple[Path, SplitResult]):
    dest, result = by_row_groups
    assert max(path.stat().st_size for path in parts_of(dest)) <= 700_000
    assert len(parts_of(dest)) > 2
    for part in result.manifest.parts:
        assert part.reencoded_bytes == 0
        assert part.first_row % 8_000 == 0


def test_sizes_are_as_the_plan_and_the_manifest_say(source: Path, by_rows: Any):
    dest, result = by_rows
    plan = engine.plan(str(source), target_size="300kB")
    assert plan.plan_id == result.manifest.plan_id
    for path, part, receipt in zip(parts_of(dest), plan.parts, result.manifest.parts, strict=True):
        assert (path.name, path.stat().st_size) == (receipt.name, receipt.size_bytes)
        assert pq.read_metadata(path).num_rows == receipt.num_rows == part.num_rows
        assert receipt.size_bytes <= part.predicted_bytes * 1.02 + 1000


@pytest.mark.parametrize("parts", [1, 2, 7, 40])
def test_as_many_parts_as_asked_for(tmp_path: Path, source: Path, parts: int):
    split(source, tmp_path / "parts", parts=parts)
    assert len(parts_of(tmp_path / "parts")) == parts
    assert read_parts(tmp_path / "parts").equals(pq.read_table(source))


@pytest.mark.parametrize("rows", [8_000, 12_345, 89_999, 90_000, 10**9])
def test_as_many_rows_a_part_as_asked_for(tmp_path: Path, source: Path, rows: int):
    split(source, tmp_path / "parts", rows_per_part=rows)
    found = [pq.read_metadata(path).num_rows for path in parts_of(tmp_path / "parts")]
    assert all(number == rows for number in found[:-1])
    assert 0 < found[-1] <= rows
    assert read_parts(tmp_path / "parts").equals(pq.read_table(source))


def test_one_row_a_part(tmp_path: Path):
    source = write_source(tmp_path / "source.parquet", num_rows=25, row_group_size=7)
    split(source, tmp_path / "parts", rows_per_part=1)
    assert len(parts_of(tmp_path / "parts")) == 25
    assert read_parts(tmp_path / "parts").equals(pq.read_table(source))


def test_names_follow_the_template(tmp_path: Path, source: Path):
    result = split(source, tmp_path / "parts", parts=3, name="t_{index}.pq")
    assert [part.name for part in result.manifest.parts] == ["t_0.pq", "t_1.pq", "t_2.pq"]
    assert (tmp_path / "parts/t_2.pq").is_file()


# -- determinism ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["row", "row-group"])
def test_two_runs_write_the_same_bytes(tmp_path: Path, source: Path, cut: str):
    moved = tmp_path / "elsewhere" / source.name
    moved.parent.mkdir()
    shutil.copyfile(source, moved)  # another path and time, the same content
    split(source, tmp_path / "one", target_size="700kB", cut=cut, workers=1)
    split(moved, tmp_path / "two", target_size="700kB", cut=cut, workers=3, fsync=False)
    assert parts_contents(tmp_path / "one") == parts_contents(tmp_path / "two")


def test_a_second_run_finds_nothing_to_do(source: Path, by_rows: tuple[Path, SplitResult]):
    dest, first = by_rows
    times = {path: path.stat().st_mtime_ns for path in dest.rglob("*.*")}
    again = split(source, dest, target_size="300kB")
    assert again.num_resumed == len(first.manifest.parts)
    assert again.manifest == first.manifest
    assert {path: path.stat().st_mtime_ns for path in dest.rglob("*.*")} == times
    assert leftovers(dest) == []


# -- several sources -----------------------------------------------------------------------------


def test_several_files_are_one_sequence_of_rows(tmp_path: Path):
    files = [
        write_source(tmp_path / "in" / f"{seed}.parquet", num_rows=9_000 + seed, seed=seed)
        for seed in (3, 1, 2)
    ]
    split(files, tmp_path / "listed", parts=4)
    assert read_parts(tmp_path / "listed").equals(
        pa.concat_tables([pq.read_table(path) for path in files])
    )
    split(tmp_path / "in", tmp_path / "folder", parts=4)
    split(tmp_path / "in/*.parquet", tmp_path / "glob", parts=4)
    in_order = pa.concat_tables([pq.read_table(path) for path in sorted(files)])
    assert read_parts(tmp_path / "folder").equals(in_order)
    assert parts_contents(tmp_path / "folder") == parts_contents(tmp_path / "glob")


def test_metadata_that_several_sources_disagree_about_is_listed_as_lost(tmp_path: Path):
    table = make_table(100)
    for name in ("a", "b"):
        pq.write_table(table.replace_schema_metadata({"who": name}), tmp_path / f"{name}.parquet")
    result = split([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "d", parts=2)
    assert any("'who'" in item and "b.parquet" in item for item in result.manifest.lost)
    found = [pq.read_metadata(path).metadata[b"who"] for path in parts_of(tmp_path / "d")]
    assert found == [b"a", b"b"]  # each part is of one source


def test_row_groups_without_rows_are_left_out(tmp_path: Path):
    path = tmp_path / "source.parquet"
    table = make_table(1_000)
    with pq.ParquetWriter(path, table.schema) as writer:
        for piece in (table.slice(0, 0), table.slice(0, 600), table.slice(0, 0), table.slice(600)):
            writer.write_table(piece)
    assert pq.read_metadata(path).num_row_groups == 4
    split(path, tmp_path / "parts", parts=3)
    assert read_parts(tmp_path / "parts").equals(table)


# -- pandas --------------------------------------------------------------------------------------


def pandas_metadata(path: Path, key: str) -> dict[str, Any]:
    """pandas' metadata as the footer has it, or as the Arrow schema in the footer repeats it."""
    if key == "pandas":
        found = pq.read_metadata(path).metadata[b"pandas"]
    else:
        import base64

        encoded = pq.read_metadata(path).metadata[b"ARROW:schema"]
        found = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded))).metadata[b"pandas"]
    result: dict[str, Any] = json.loads(found)
    return result


@pytest.mark.filterwarnings("ignore:The 'fastparquet' engine")
@pytest.mark.parametrize("index", [None, pd.RangeIndex(100, 100 + 3 * 5000, 3, name="n")])
@pytest.mark.parametrize("engine_name", ["pyarrow", "fastparquet"])
def test_a_range_index_of_pandas_goes_on_from_part_to_part(
    tmp_path: Path, index: pd.RangeIndex | None, engine_name: Any
):
    frame = pd.DataFrame({"x": np.arange(5000) ** 2, "y": np.arange(5000) / 7}, index=index)
    source = tmp_path / "source.parquet"
    groups = {"pyarrow": {"row_group_size": 2000}, "fastparquet": {"row_group_offsets": 2000}}
    frame.to_parquet(source, engine=engine_name, **groups[engine_name])
    split(source, tmp_path / "parts", parts=3)
    pieces = [pd.read_parquet(path, engine="pyarrow") for path in parts_of(tmp_path / "parts")]
    pd.testing.assert_frame_equal(pd.concat(pieces), pd.read_parquet(source, engine="pyarrow"))
    first = 0
    for path, piece in zip(parts_of(tmp_path / "parts"), pieces, strict=True):
        expected = frame.index[first : first + len(piece)]
        pd.testing.assert_index_equal(piece.index, expected)
        (column,) = pandas_metadata(path, "pandas")["index_columns"]
        assert (column["start"], column["stop"], column["step"]) == (
            expected.start,
            expected.stop,
            expected.step,
        )
        first += len(piece)


def test_an_index_that_is_a_column_stays_one(tmp_path: Path):
    frame = pd.DataFrame({"x": range(999)}, index=pd.Index([f"r{i}" for i in range(999)], name="r"))
    frame.to_parquet(tmp_path / "source.parquet")
    split(tmp_path / "source.parquet", tmp_path / "parts", parts=4)
    pieces = [pd.read_parquet(path) for path in parts_of(tmp_path / "parts")]
    pd.testing.assert_frame_equal(pd.concat(pieces), frame)


# -- footer, indexes, filters --------------------------------------------------------------------


def test_row_groups_are_numbered_and_placed_anew(done: tuple[Path, SplitResult]):
    for path in parts_of(done[0]):
        footer = opened(path).footer
        position = 4
        for index in range(footer.num_row_groups):
            group = footer.row_group(index)
            assert value(group.struct, 7) in (None, index)
            assert value(group.struct, 5) == position
            for chunk in group.columns:
                assert chunk.range.offset == position
                position = chunk.range.end
            assert value(group.struct, 6) == sum(c.compressed_bytes for c in group.columns)


def test_ordinals_count_from_zero_in_each_part(tmp_path: Path):
    """DataFusion's writer, parquet-rs, sets them."""
    import datafusion

    source = tmp_path / "source.parquet"
    options = datafusion.dataframe.ParquetWriterOptions(max_row_group_size=1000)
    frame = datafusion.SessionContext().from_arrow(make_table(5_000))
    frame.write_parquet_with_options(str(source), options)
    assert value(opened(source).footer.row_group(1).struct, 7) == 1
    split(source, tmp_path / "parts", parts=3)
    for path in parts_of(tmp_path / "parts"):
        footer = opened(path).footer
        numbers = [value(footer.row_group(i).struct, 7) for i in range(footer.num_row_groups)]
        assert numbers == list(range(footer.num_row_groups))
    assert read_parts(tmp_path / "parts").equals(pq.read_table(source))


def test_page_indexes_describe_the_pages_of_the_part(done: tuple[Path, SplitResult]):
    for path in parts_of(done[0]):
        file = opened(path)
        footer, data = file.footer, file.data
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for chunk in group.columns:
                assert chunk.offset_index is not None
                place = chunk.offset_index
                pages = OffsetIndex.decode(data[place.offset : place.end]).locations
                assert pages[0].first_row == 0
                assert pages[-1].offset + pages[-1].compressed_bytes == chunk.range.end
                assert all(page.first_row < group.num_rows for page in pages)
                for page in pages:
                    header, _ = thrift.decode(
                        data[page.offset : page.offset + page.compressed_bytes]
                    )
                    assert value(header, 1) in (0, 3)
                if chunk.column_index is not None:
                    place = chunk.column_index
                    index = ColumnIndex.decode(data[place.offset : place.end])
                    assert index.num_pages == len(pages)


def test_column_indexes_of_whole_row_groups_are_kept(by_row_groups: tuple[Path, SplitResult]):
    for path in parts_of(by_row_groups[0]):
        found = pq.read_metadata(path)
        for group in range(found.num_row_groups):
            assert all(found.row_group(group).column(c).has_column_index for c in range(5))


def test_statistics_are_exact(source: Path, done: tuple[Path, SplitResult]):
    for path in parts_of(done[0]):
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            for index, name in enumerate(table.column_names):
                found = file.metadata.row_group(number).column(index).statistics
                assert found is not None
                values = table[name]
                assert found.null_count == values.null_count
                if found.has_min_max:
                    series = values.drop_null().to_pylist()
                    assert (found.min, found.max) == (min(series), max(series))


def test_sorting_columns_are_kept(tmp_path: Path):
    table = make_table(6_000)
    order = [pq.SortingColumn(0, descending=False, nulls_first=True)]
    source = tmp_path / "source.parquet"
    pq.write_table(table, source, row_group_size=2_000, sorting_columns=order)
    split(source, tmp_path / "parts", parts=4)
    for path in parts_of(tmp_path / "parts"):
        found = pq.read_metadata(path)
        for group in range(found.num_row_groups):
            assert list(found.row_group(group).sorting_columns) == order


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dictionary-encoded columns, for which DuckDB writes Bloom filters."""
    path = tmp_path_factory.mktemp("bloom") / "source.parquet"
    duckdb.sql(
        f"""copy (select (i * 7919) % 5000 as number, 'name ' || (i % 3000) as name
        from range(60000) t(i)) to '{path}'
        (format parquet, row_group_size 20480, dictionary_size_limit 100000)"""
    )
    return path


@pytest.mark.parametrize("settings", [{"parts": 2}, {"parts": 5}, {"cut": "row-group", "parts": 3}])
def test_bloom_filters_are_kept_and_never_deny_a_value(
    tmp_path: Path, filtered: Path, settings: dict[str, Any]
):
    split(filtered, tmp_path / "parts", **settings)
    for path in parts_of(tmp_path / "parts"):
        rows = duckdb.sql(
            f"select bloom_filter_offset, bloom_filter_length from parquet_metadata('{path}')"
        ).fetchall()
        assert rows
        assert all(offset is not None and length > 0 for offset, length in rows)
        for column, text in (("number", "%s"), ("name", "'%s'")):
            present = duckdb.sql(f"select distinct {column} from '{path}' limit 20").fetchall()
            for (item,) in present:
                assert _may_hold(path, column, text % item)
        assert not all(_may_hold(path, "number", str(10**6 + i)) for i in range(30))


def _may_hold(path: Path, column: str, literal: str) -> bool:
    excluded = duckdb.sql(
        f"select bloom_filter_excludes from parquet_bloom_probe('{path}', '{column}', {literal})"
    ).fetchall()
    return not all(row[0] for row in excluded)


def test_results_say_in_a_line_what_they_are(tmp_path: Path):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"id": range(1_000)}), source, row_group_size=1)
    plan = engine.plan(source, parts=100)
    result = engine.split(source, tmp_path / "parts", parts=100, verify=True)
    for told in map(repr, (plan, result.manifest, result, result.verification)):
        assert "100 parts of 1,000 rows" in told
        assert len(told) < 100 + len(str(tmp_path))


def test_tab_completes_the_facade_and_nothing_else():
    assert {*engine.__all__, "errors"} == set(dir(engine))
    assert all(hasattr(engine, name) for name in dir(engine))


@pytest.mark.parametrize(
    ("uneven", "is_advised"), [(0.05, True), (0.5, False)], ids=["nearly even", "uneven"]
)
def test_a_plan_says_when_whole_row_groups_would_do(
    tmp_path: Path, uneven: float, is_advised: bool
):
    chance = random.Random(1)
    schema = pa.schema([("x", pa.binary())])
    with pq.ParquetWriter(tmp_path / "source", schema, use_dictionary=False) as writer:
        for number in range(6):
            rows = 1000 if number % 2 else round(1000 * (1 + uneven))
            writer.write_table(
                pa.table({"x": [chance.randbytes(100) for _ in range(rows)]}, schema)
            )
    found = engine.split(tmp_path / "source", tmp_path / "parts", parts=6, fsync=False)
    advice = found.manifest.advice
    assert advice.startswith("--cut row-group would only copy: 6 parts of") == is_advised
    assert engine.plan(tmp_path / "source", parts=6).advice == advice
    assert not engine.plan(tmp_path / "source", parts=6, cut="row-group").advice
