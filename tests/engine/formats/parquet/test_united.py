"""Sources of several schemas: split as one, they read as their own relaxed modes read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datafusion
import duckdb
import fastparquet
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadSetting, Different, SchemaMismatch
from tests.engine.running import part_paths

KINDS: dict[str, Any] = {
    "a": pa.int64(),
    "s": pa.string(),
    "f": pa.float64(),
    "d": pa.date32(),
    "b": pa.bool_(),
    "m": pa.decimal128(9, 2),
    "l": pa.list_(pa.int64()),
    "g": pa.struct([pa.field("x", pa.int64()), pa.field("y", pa.string())]),
}
_SIMPLE = ("a", "s", "f")  # what fastparquet and pandas keep as it is
_CODECS = ("none", "snappy", "gzip", "zstd", "lz4")


def values(name: str, num_rows: int, seed: int, *, has_nulls: bool) -> pa.Array:
    rng = np.random.default_rng([seed, *name.encode()])
    numbers = rng.integers(0, 300, num_rows).tolist()
    made: dict[str, Callable[[int], Any]] = {
        "a": lambda n: n * 10**12,
        "s": lambda n: "é" * (n % 7) + str(n),
        "f": lambda n: n / 7,
        "d": lambda n: n,
        "b": lambda n: n % 3 == 0,
        "m": lambda n: n,
        "l": lambda n: list(range(n % 4)),
        "g": lambda n: {"x": n if n % 3 else None, "y": str(n)},
    }
    found = [None if has_nulls and n % 5 == 0 else made[name](n) for n in numbers]
    return pa.array(found, KINDS[name])


class File(NamedTuple):
    """A file to be written: columns in order, which have nulls, which are required."""

    writer: str
    columns: tuple[str, ...]
    nulls: frozenset[str]
    required: frozenset[str]
    num_rows: int
    seed: int
    codec: str
    version: str
    indexed: bool

    @property
    def table(self) -> pa.Table:
        arrays = [
            values(name, self.num_rows, self.seed, has_nulls=name in self.nulls)
            for name in self.columns
        ]
        fields = [
            pa.field(name, KINDS[name], nullable=name not in self.required) for name in self.columns
        ]
        return pa.table(arrays, schema=pa.schema(fields))

    def write(self, path: Path) -> pa.Table:
        table = self.table
        if self.writer == "pyarrow":
            pq.write_table(
                table,
                path,
                compression=self.codec,
                data_page_version=self.version,
                data_page_size=900,
                row_group_size=700,
                write_page_index=self.indexed,
                write_page_checksum=self.indexed,
                use_compliant_nested_type=self.seed % 2 == 0,
                store_schema=self.seed % 3 > 0,
            )
        elif self.writer == "duckdb":
            codec = {"none": "uncompressed", "lz4": "lz4_raw"}.get(self.codec, self.codec)
            sql = f"COPY table TO '{path}' (FORMAT parquet, CODEC '{codec}')"
            duckdb.sql(sql.replace("table", "(SELECT * FROM t)"), connection=_connected(table))
        elif self.writer == "polars":
            codec = {"none": "uncompressed"}.get(self.codec, self.codec)
            pl.DataFrame(table).write_parquet(path, compression=codec, row_group_size=800)
        else:
            codec = {"none": "UNCOMPRESSED", "lz4": "LZ4_RAW"}.get(self.codec, self.codec.upper())
            fastparquet.write(str(path), table.to_pandas(), compression=codec, has_nulls=True)
        return table


def _connected(table: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("t", table)
    return connection


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    found = []
    for _ in range(draw(st.integers(2, 3))):
        writer = draw(st.sampled_from(["pyarrow", "pyarrow", "duckdb", "polars", "fastparquet"]))
        # Decimals are held by writers as other physical types, which is another type.
        known = [name for name in KINDS if writer == "pyarrow" or name != "m"]
        known = list(_SIMPLE) if writer == "fastparquet" else known
        columns = draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
        flat = [name for name in columns if name not in ("l", "g")]
        required = draw(st.sets(st.sampled_from(flat))) if flat and writer == "pyarrow" else set()
        nulls = draw(st.sets(st.sampled_from(columns))) - required
        if writer == "fastparquet":
            nulls &= {"s"}
        found.append(
            File(
                writer,
                tuple(columns),
                frozenset(nulls),
                frozenset(required),
                draw(st.integers(1, 2500)),
                draw(st.integers(0, 99)),
                draw(st.sampled_from(_CODECS)),
                draw(st.sampled_from(["1.0", "2.0"])),
                draw(st.booleans()),
            )
        )
    return found


def lacks_required(every: Sequence[File]) -> bool:
    """Whether a column is required wherever it is, and some file lacks it."""
    return any(
        all(name in file.required for file in every if name in file.columns)
        and any(name not in file.columns for file in every)
        for name in {name for file in every for name in file.columns}
    )


def whole(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables: columns in the order of first seen, null where they lack."""
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def rows(table: pa.Table, schema: pa.Schema) -> list[dict[str, Any]]:
    return table.cast(schema).to_pylist()


WAYS = st.sampled_from(
    [
        {"parts": 1},
        {"parts": 3},
        {"target_size": "60kB"},
        {"parts": 2, "codec": "zstd"},
        {"parts": 2, "row_group_size": "1500rows"},
        {"parts": 2, "data_page_version": 2},
        {"parts": 2, "dictionary": False},
        {"cut": "row-group"},
    ]
)


@pytest.mark.slow
@settings(max_examples=30)
@given(every=files(), way=WAYS)
def test_all_readers_find_what_they_find_in_the_sources(
    every: list[File], way: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
):
    place = tmp_path_factory.mktemp("united")
    paths = [place / f"{number}.parquet" for number in range(len(every))]
    tables = [file.write(path) for file, path in zip(every, paths, strict=True)]
    out = place / "out"
    if lacks_required(every):
        with pytest.raises(SchemaMismatch, match="cannot be null there"):
            engine.plan(paths, schema="relaxed", **way)
        return
    if sum(file.num_rows for file in every) < 10:
        return  # fewer rows than parts
    engine.split(paths, out, schema="relaxed", fsync=False, **way)
    proof = engine.verify(out)
    wanted = whole(tables)
    assert proof.num_rows == wanted.num_rows
    found = ds.dataset(part_paths(out)).to_table()
    assert found.schema.names == wanted.schema.names
    assert rows(found, wanted.schema) == rows(wanted, wanted.schema)
    _check_polars(paths, out)
    _check_duckdb(paths, out)
    _check_datafusion(out, wanted)


def _check_polars(paths: Sequence[Path], out: Path):
    ours = pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed")
    assert pl.read_parquet(part_paths(out)).equals(ours)


def _check_duckdb(paths: Sequence[Path], out: Path):
    ours, theirs = (
        duckdb.sql(f"SELECT * FROM read_parquet({list(map(str, those))}, union_by_name = true)")
        for those in (paths, part_paths(out))
    )
    assert ours.fetchall() == theirs.fetchall()


def _check_datafusion(out: Path, wanted: pa.Table):
    """Compare what statistics answer, part by part: how texts are held may differ between these."""
    for name in wanted.schema.names:
        asked = ", ".join(
            ["count(*) c", f'count("{name}") v']
            + ([f'min("{name}") low, max("{name}") high'] if name == "a" else [])
        )
        found = [
            told
            for path in part_paths(out)
            for told in _context(path).sql(f"SELECT {asked} FROM t").to_pylist()
        ]
        num_nulls = sum(told["c"] - told["v"] for told in found)
        assert num_nulls == wanted[name].null_count, name
        if name == "a":
            numbers = [number for number in wanted[name].to_pylist() if number is not None]
            low = [told["low"] for told in found if told["low"] is not None]
            high = [told["high"] for told in found if told["high"] is not None]
            assert (min(low, default=0), max(high, default=0)) == (
                min(numbers, default=0),
                max(numbers, default=0),
            )


def _context(path: str) -> datafusion.SessionContext:
    context = datafusion.SessionContext()
    context.register_parquet("t", path)
    return context


# -- what is refused, and in which words -----------------------------------------------------------


def write(path: Path, *fields: pa.Field, num_rows: int = 3, **options: Any) -> Path:
    arrays = [
        pa.array([{"x": 1}] * num_rows if pa.types.is_struct(it.type) else [1] * num_rows, it.type)
        if not pa.types.is_string(it.type)
        else pa.array(["x"] * num_rows)
        for it in fields
    ]
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), path, **options)
    return path


def group(*fields: pa.Field, nullable: bool = True) -> pa.Field:
    return pa.field("g", pa.struct(fields), nullable=nullable)


_X = pa.field("x", pa.int64())
_NEVER = pa.field("x", pa.int64(), nullable=False)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (_X, pa.field("x", pa.int32()), "column x is int32, not int64"),
        (_X, pa.field("x", pa.uint64()), "column x means integer(64, unsigned), not plain"),
        (_X, pa.field("x", pa.timestamp("us")), "column x means timestamp(us, local), not plain"),
        (
            pa.field("x", pa.timestamp("ms")),
            pa.field("x", pa.timestamp("us")),
            "column x means timestamp(us, local), not timestamp(ms, local)",
        ),
        (_X, pa.field("x", pa.string()), "column x is byte_array, not int64"),
        (_X, pa.field("x", pa.struct([_X])), "x is a column in one and a group in the other"),
        (_X, pa.field("X", pa.int64()), "x and X differ in case alone"),
        (_NEVER, pa.field("y", pa.int64()), "column x is missing in"),
        (group(_NEVER), group(_X), "column g.x is nested"),
        (group(_X), group(_X, pa.field("y", pa.int64())), "column g.y is missing in a group"),
    ],
)
def test_what_really_differs_is_refused_by_name(
    ours: pa.Field, theirs: pa.Field, words: str, tmp_path: Path
):
    paths = [write(tmp_path / "1.parquet", ours), write(tmp_path / "2.parquet", theirs)]
    with pytest.raises(SchemaMismatch) as caught:
        engine.plan(paths, schema="relaxed", parts=1)
    assert words in str(caught.value)


def test_decimals_of_other_scales_are_refused(tmp_path: Path):
    paths = []
    for scale in (2, 3):
        paths.append(tmp_path / f"{scale}.parquet")
        pq.write_table(pa.table({"x": pa.array([1], pa.decimal128(9, scale))}), paths[-1])
    with pytest.raises(SchemaMismatch, match=r"means decimal\(9, 3\), not decimal\(9, 2\)"):
        engine.plan(paths, schema="relaxed", parts=1)


def test_what_cannot_get_levels_without_decoding_is_refused(tmp_path: Path):
    paths = [
        write(tmp_path / "1.parquet", _X),
        write(tmp_path / "2.parquet", _NEVER, compression="brotli"),
    ]
    with pytest.raises(engine.SourceError, match=r"2\.parquet.*column x.*BROTLI"):
        engine.plan(paths, schema="relaxed", parts=1)


def test_strict_tells_of_relaxed_where_that_would_do(tmp_path: Path):
    y = pa.field("y", pa.int64())
    paths = [write(tmp_path / "1.parquet", _X, y), write(tmp_path / "2.parquet", y, _X)]
    with pytest.raises(SchemaMismatch, match="--schema relaxed"):
        engine.plan(paths, parts=1)
    other = write(tmp_path / "3.parquet", pa.field("x", pa.int32()), y)
    with pytest.raises(SchemaMismatch) as caught:
        engine.plan([paths[0], other], parts=1)
    assert "--schema relaxed" not in str(caught.value)


# -- groups, columns taken, records ----------------------------------------------------------------


def test_groups_that_are_never_null_get_levels_and_lacking_columns(tmp_path: Path):
    y = pa.field("y", pa.string())
    one = write(tmp_path / "1.parquet", group(_NEVER, nullable=False), num_rows=500)
    two = write(tmp_path / "2.parquet", group(_X, y), num_rows=300)
    out = tmp_path / "out"
    engine.split([two, one], out, schema="relaxed", parts=3, fsync=False)
    engine.verify(out)
    found = ds.dataset(part_paths(out)).to_table()["g"].to_pylist()
    wanted = pq.read_table(two)["g"].to_pylist() + [{"x": 1, "y": None}] * 500
    assert [it and {"x": it["x"], "y": it["y"]} for it in found] == [
        {"x": 1, "y": it["y"]} for it in wanted
    ]


def test_columns_are_taken_of_the_schema_that_holds_all(tmp_path: Path):
    y, z = pa.field("y", pa.int64()), pa.field("z", pa.int64())
    paths = [write(tmp_path / "1.parquet", _X, y, z), write(tmp_path / "2.parquet", z, _X)]
    out = tmp_path / "out"
    engine.split(paths, out, schema="relaxed", columns="y,x", parts=1, fsync=False)
    engine.verify(out)
    assert (
        ds.dataset(part_paths(out)).to_table().to_pylist()
        == [{"x": 1, "y": 1}] * 3 + [{"x": 1, "y": None}] * 3
    )
    never = write(tmp_path / "3.parquet", pa.field("n", pa.int64(), nullable=False), _X)
    with pytest.raises(SchemaMismatch, match="column n is missing"):
        engine.plan([*paths, never], schema="relaxed", parts=1)
    engine.plan([*paths, never], schema="relaxed", columns="x", parts=1)
    with pytest.raises(BadSetting, match="nobody"):
        engine.plan(paths, schema="relaxed", columns="nobody")


def test_the_plan_says_what_comes_otherwise_and_a_resume_knows_it(tmp_path: Path):
    y = pa.field("y", pa.int64())
    paths = [write(tmp_path / "1.parquet", _X, y), write(tmp_path / "2.parquet", _NEVER)]
    plan = engine.plan(paths, schema="relaxed", parts=2)
    assert plan.source_notes == (
        "read by the schema that holds the columns of all: 1 of 2 files",
        "nulls in place of 1 column missing in 1 file: y",
        "nulls allowed in 1 column required in 1 file: x",
    )
    out = tmp_path / "out"
    engine.split(paths, out, schema="relaxed", parts=2, fsync=False)
    lost = part_paths(out)[1]
    before = Path(lost).read_bytes()
    Path(lost).unlink()
    (out / "_evensplit" / "manifest.json").unlink()
    engine.split(paths, out, schema="relaxed", parts=2, fsync=False)
    assert Path(lost).read_bytes() == before
    with pytest.raises(engine.CallError):
        engine.split(paths[:1], out, parts=2)


def test_field_ids_are_the_first_files_and_the_plan_says_so(tmp_path: Path):
    paths = []
    for number in (7, 8):
        field = pa.field("x", pa.int64(), metadata={"PARQUET:field_id": str(number)})
        paths.append(write(tmp_path / f"{number}.parquet", field))
    done = engine.split(paths, tmp_path / "out", schema="relaxed", parts=1, fsync=False)
    engine.verify(tmp_path / "out")
    assert done.manifest.source_notes[-1] == (
        "field ids of the first file for 1 column with others in 1 file: x"
    )
    (kept,) = pq.read_schema(part_paths(tmp_path / "out")[0])
    assert kept.metadata[b"PARQUET:field_id"] == b"7"


def test_position_deletes_are_no_rows(tmp_path: Path):
    ids = {"file_path": 2147483546, "pos": 2147483545}
    fields = [
        pa.field(name, kind, metadata={"PARQUET:field_id": str(ids[name])})
        for name, kind in (("file_path", pa.string()), ("pos", pa.int64()))
    ]
    data = write(tmp_path / "data.parquet", pa.field("id", pa.int64()))
    pq.write_table(pa.table([["data.parquet"], [1]], pa.schema(fields)), tmp_path / "x.parquet")
    with pytest.raises(SchemaMismatch, match=r"x\.parquet says which rows of other files"):
        engine.plan([data, tmp_path / "x.parquet"], schema="relaxed")
    assert engine.plan(tmp_path / "x.parquet", schema="relaxed").num_rows == 1


def test_a_column_that_was_renamed_is_refused(tmp_path: Path):
    paths = []
    for name in "xy":
        field = pa.field(name, pa.int64(), metadata={"PARQUET:field_id": "7"})
        paths.append(write(tmp_path / f"{name}.parquet", field))
    with pytest.raises(SchemaMismatch, match=r"x and y have one field id, 7 \(y in .*y\.parquet"):
        engine.plan(paths, schema="relaxed", parts=1)


def test_schemas_of_arrow_that_cannot_be_read_are_told(tmp_path: Path):
    table = pa.table({"x": [1], "g": [{"y": 1}]}).replace_schema_metadata({"ARROW:schema": "no"})
    pq.write_table(table, tmp_path / "1.parquet", store_schema=False)
    other = pa.table({"g": [{"y": 1, "z": 2}]}, schema=pa.schema([group(*map(_named, "yz"))]))
    pq.write_table(other, tmp_path / "2.parquet")
    with pytest.raises(SchemaMismatch):
        engine.plan([tmp_path / "1.parquet", tmp_path / "2.parquet"], schema="relaxed", parts=1)
    plain = write(tmp_path / "3.parquet", pa.field("z", pa.int64()), _X)
    pq.write_table(table.select(["x"]), tmp_path / "4.parquet", store_schema=False)
    plan = engine.plan([plain, tmp_path / "4.parquet"], schema="relaxed", parts=1)
    assert "'ARROW:schema' of" in " ".join(plan.lost)


def _named(name: str) -> pa.Field:
    return pa.field(name, pa.int64())


def test_groups_that_arrow_reads_otherwise_are_refused(tmp_path: Path):
    seconds = pa.field("x", pa.duration("us"))
    one = tmp_path / "1.parquet"
    pq.write_table(pa.table({"g": pa.array([{"x": 1}], pa.struct([seconds]))}), one)
    required = write(tmp_path / "2.parquet", group(_NEVER, nullable=False))
    with pytest.raises(SchemaMismatch, match="reads it as struct<x: duration"):
        engine.plan([one, required], schema="relaxed", parts=1)


def test_verify_reads_the_files_themselves(tmp_path: Path):
    """Of parts that were made for another file, the proof says where they differ."""
    y = pa.field("y", pa.int64())
    one, two = write(tmp_path / "1.parquet", _X, y), write(tmp_path / "2.parquet", _X)
    out = tmp_path / "out"
    engine.split([one, two], out, schema="relaxed", parts=1, fsync=False)
    engine.verify(out)
    write(two, y, _X)  # now it has the column, and the same number of rows
    record = out / "_evensplit" / "manifest.json"
    told = json.loads(record.read_text())
    now = engine.find_sources(str(two))[0]
    told["sources"][1] |= {"size_bytes": now.size_bytes, "version": now.version}
    record.write_text(json.dumps(told))
    with pytest.raises(Different, match="column y"):
        engine.verify(out)


@pytest.mark.parametrize("codecs", [("none", "snappy", "none"), ("zstd", "none", "gzip")])
def test_row_groups_of_other_codecs_are_merged_into_one(codecs: Sequence[str], tmp_path: Path):
    """Pages without dictionary are carried over, but not into a chunk of another codec."""
    paths = [
        write(tmp_path / f"{at}.parquet", _X, compression=codec, use_dictionary=False, num_rows=40)
        for at, codec in enumerate(codecs)
    ]
    out = tmp_path / "out"
    engine.split(paths, out, parts=1, row_group_size="1000rows", fsync=False)
    engine.verify(out)
    assert ds.dataset(part_paths(out)).to_table()["x"].to_pylist() == [1] * 120
