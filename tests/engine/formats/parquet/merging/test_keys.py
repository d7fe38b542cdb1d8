"""Key-value metadata of several sources: what changes values agrees, or the split is refused."""

import itertools
import json

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes.created_by import writer_of
from engine.formats.parquet.merging import Named, merged
from engine.formats.parquet.merging.keys import RULES
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

DAYS = pa.table({"day": pa.array([1, 2, 3], pa.date32()), "n": [1, 2, 3]})
STAMPS = pa.table({"at": pa.array([1, 2, 3], pa.timestamp("us")), "n": [1, 2, 3]})
NUMBERS = pa.table({"n": [1, 2, 3]})
SPARK = {
    "org.apache.spark.version": "4.0.0",
    "org.apache.spark.sql.parquet.row.metadata": json.dumps(
        {"type": "struct", "fields": [{"name": "n", "type": "long", "nullable": True}]}
    ),
}


def written(path, table, metadata=None, **options):
    with pq.ParquetWriter(path, table.schema, store_schema=False, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata or {})
    return ParquetFile.of(path.read_bytes()).footer


def sources(tmp_path, table, *metadata):
    return [
        Named(f"{number}.parquet", written(tmp_path / f"{number}.parquet", table, each))
        for number, each in enumerate(metadata)
    ]


AGREE = [
    (DAYS, {"org.apache.spark.version": "3.3.0"}, {"org.apache.spark.version": "4.0.0"}),
    (DAYS, {"org.apache.spark.version": "3.3.0"}, None),
    (NUMBERS, {"org.apache.spark.legacyDateTime": ""}, None),
    (NUMBERS, {"org.apache.spark.version": "2.4.0"}, {"org.apache.spark.version": "4.0.0"}),
    (NUMBERS, SPARK, None),
    (NUMBERS, {"pandas": '{"index_columns": []}'}, None),
    (DAYS, {"writer.time.zone": "UTC"}, {"writer.time.zone": "Asia/Tokyo"}),
    (NUMBERS, {"writer.date.proleptic": "true"}, None),
    (NUMBERS, {"anything": "1"}, {"anything": "2"}),
]
DIFFER = [
    (DAYS, {"org.apache.spark.legacyDateTime": ""}, None, "org.apache.spark.legacyDateTime"),
    (
        DAYS,
        {"org.apache.spark.version": "2.4.0"},
        {"org.apache.spark.version": "3.0.0"},
        "org.apache.spark.version",
    ),
    (
        NUMBERS,
        SPARK,
        {key: text.replace("long", "timestamp") for key, text in SPARK.items()},
        "org.apache.spark.sql.parquet.row.metadata",
    ),
    (NUMBERS, {"pandas": '{"index_columns": ["n"]}'}, None, "pandas"),
    (STAMPS, {"writer.time.zone": "UTC"}, {"writer.time.zone": "Asia/Tokyo"}, "writer.time.zone"),
    (STAMPS, {"writer.zone.conversion.legacy": "true"}, None, "writer.zone.conversion.legacy"),
    (DAYS, {"writer.date.proleptic": "true"}, None, "writer.date.proleptic"),
    (
        NUMBERS,
        {"geo": '{"columns": {"n": {"encoding": "WKB", "crs": 1}}}'},
        {"geo": '{"columns": {"n": {"encoding": "WKB", "crs": 2}}}'},
        "geo",
    ),
    (NUMBERS, {"pig.schema": "n: long"}, {"pig.schema": "n: int"}, "pig.schema"),
]


@pytest.mark.parametrize("case", AGREE, ids=str)
@pytest.mark.parametrize("order", [1, -1])
def test_what_means_the_same_goes_together(tmp_path, case, order):
    table, *metadata = case
    carried = merged(sources(tmp_path, table, *metadata[::order]))
    assert carried.keeps_bounds
    told = " ".join(carried.lost)
    kept = {key.decode(): value for key, value in carried.key_values}
    for each in metadata:
        for key, text in (each or {}).items():
            assert key in told or kept[key].decode() == text  # whichever file has it


@pytest.mark.parametrize("case", DIFFER, ids=str)
@pytest.mark.parametrize("order", [1, -1])
def test_what_changes_values_is_refused_by_key_and_both_files(tmp_path, case, order):
    table, *metadata, key = case
    with pytest.raises(SchemaMismatch) as refused:
        merged(sources(tmp_path, table, *metadata[::order]))
    assert all(word in str(refused.value) for word in (key, "0.parquet", "1.parquet"))


def test_every_rule_has_a_sentence_and_a_source():
    assert all(rule.why and rule.source for rule in RULES.values())


TYPES = {
    "duration": [pa.duration(unit) for unit in ("ms", "us", "ns")],
    "text": [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())],
    "time": [pa.timestamp("us", zone) for zone in ("UTC", "Europe/Berlin")],
    "list": [pa.list_(pa.int64()), pa.large_list(pa.int64())],
}
GO_TOGETHER = {"text", "list"}
PAIRS = [
    (name, one, other)
    for name, kinds in TYPES.items()
    for one, other in itertools.permutations(kinds, 2)
]


@pytest.mark.parametrize(("name", "one", "other"), PAIRS, ids=str)
def test_arrows_types_agree_but_for_how_values_are_held(tmp_path, name, one, other):
    folder = tmp_path / "in"
    folder.mkdir()
    values = {"text": ["a", "b"], "list": [[1], [2, 3]]}.get(name, [1_000_000, 2_000_000])
    for number, kind in enumerate((one, other)):
        array = pa.array(values, pa.int64()).cast(kind) if isinstance(values[0], int) else None
        column = pa.array(values).cast(kind) if array is None else array
        pq.write_table(pa.table({"c": column}), folder / f"{number}.parquet")
    expected = [value for _ in range(2) for value in values]
    if name not in GO_TOGETHER:
        with pytest.raises(SchemaMismatch, match=r"'ARROW:schema' differs between .*c: "):
            engine.split(str(folder), str(tmp_path / "parts"), parts=1, fsync=False)
        return
    engine.split(str(folder), str(tmp_path / "parts"), parts=1, fsync=False)
    engine.verify(str(tmp_path / "parts"))
    (part,) = (tmp_path / "parts").glob("*.parquet")
    assert pq.read_table(part)["c"].to_pylist() == expected
    rows = duckdb.sql(f"select c from '{part}'").fetchall()
    assert [row[0] for row in rows] == expected


def _tensors(*shape):
    kind = pa.fixed_shape_tensor(pa.int32(), list(shape))
    items = pa.FixedSizeListArray.from_arrays(pa.array(range(12), pa.int32()), 6)
    return pa.table({"c": pa.ExtensionArray.from_storage(kind, items)})


def _described(metadata):
    field = pa.field("c", pa.binary(), metadata=metadata)
    return pa.table([pa.array([b"x", b"y"])], schema=pa.schema([field]))


def _points(crs):
    names = ("ARROW:extension:name", "ARROW:extension:metadata")
    return _described(dict(zip(names, ("geoarrow.wkb", json.dumps({"crs": crs})), strict=True)))


def _in_a_group(table):
    field = table.schema.field("c")
    group = pa.StructArray.from_arrays([table["c"].combine_chunks()], fields=[field])
    return pa.table({"c": group})


def _enum(*values):
    return lambda path: polars.DataFrame(
        {"c": polars.Series(["b", "b"], dtype=polars.Enum(values))}
    ).write_parquet(path)


def _by_arrow(table):
    return lambda path: pq.write_table(table, path)


_PLAIN = _by_arrow(_described(None))
EXTENDED = {
    "parameters": (_by_arrow(_tensors(2, 3)), _by_arrow(_tensors(3, 2))),
    "unknown type": (_by_arrow(_points("EPSG:4326")), _by_arrow(_points("EPSG:3857"))),
    "in one alone": (_by_arrow(_points("EPSG:4326")), _PLAIN),
    "nested": tuple(_by_arrow(_in_a_group(_points(crs))) for crs in ("EPSG:4326", "EPSG:3857")),
    "Polars' enum": (_enum("a", "b"), _enum("b", "c")),
    "enum and text": (
        _enum("a", "b"),
        lambda path: polars.DataFrame({"c": ["z"]}).write_parquet(path),
    ),
}


@pytest.mark.parametrize("schema", ["strict", "relaxed"])
@pytest.mark.parametrize("pair", EXTENDED.values(), ids=EXTENDED)
@pytest.mark.parametrize("order", [1, -1])
def test_what_arrows_fields_say_of_values_agrees(tmp_path, pair, order, schema):
    for number, write in enumerate(pair[::order]):
        write(tmp_path / f"{number}.parquet")
    with pytest.raises(SchemaMismatch, match=r"\.parquet.*(\(c: |Arrow's schema)"):
        engine.plan(str(tmp_path), parts=1, schema=schema)


def test_comments_of_fields_may_differ(tmp_path):
    for number in range(2):
        pq.write_table(_described({"comment": str(number)}), tmp_path / f"{number}.parquet")
    engine.plan(str(tmp_path), parts=1)


def test_a_schema_that_holds_all_keeps_what_fields_say_of_values(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    table = _points("EPSG:4326")
    pq.write_table(table, folder / "0.parquet")
    pq.write_table(table.append_column("n", pa.array([1, 2])), folder / "1.parquet")
    engine.split(str(folder), str(tmp_path / "parts"), parts=1, schema="relaxed", fsync=False)
    (part,) = (tmp_path / "parts").glob("*.parquet")
    assert pq.read_schema(part).field("c").metadata == table.schema.field("c").metadata


def test_a_part_of_one_source_carries_its_own(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        written(folder / f"{number}.parquet", NUMBERS, {"told": str(number), "same": "x"})
    result = engine.split(str(folder), str(tmp_path / "parts"), rows_per_part=2, fsync=False)
    found = [
        dict(pq.read_metadata(tmp_path / "parts" / part.name).metadata)
        for part in result.manifest.parts
    ]
    assert [each.get(b"told") for each in found] == [b"0", None, b"1"]
    assert [each[b"same"] for each in found] == [b"x"] * 3
    assert any("'told' of" in line for line in result.manifest.lost)
    engine.verify(str(tmp_path / "parts"))


def test_boxes_of_geometries_hold_those_of_all(tmp_path):
    boxes = [[0, 0, 5, 5], [-1, 3, 2, 9]]
    kinds = [["Point"], ["Polygon"]]
    metadata = [
        {"geo": json.dumps({"columns": {"n": {"encoding": "WKB", "bbox": b, "geometry_types": k}}})}
        for b, k in zip(boxes, kinds, strict=True)
    ]
    carried = merged(sources(tmp_path, NUMBERS, *metadata))
    column = json.loads(dict(carried.key_values)[b"geo"])["columns"]["n"]
    assert column["bbox"] == [-1, 0, 5, 9]
    assert column["geometry_types"] == ["Point", "Polygon"]


WRITERS = {
    "parquet-mr version 1.8.1 (build 4aba4dae7bb0d4edbcf7923ae1339f28fd3f7fcf)": (
        "parquet-mr",
        (1, 8, 1),
    ),
    "parquet-mr": ("parquet-mr", ()),
    "parquet-cpp-arrow version 26.0.1": ("parquet-cpp-arrow", (26, 0, 1)),
    "impala version 1.0-INTERNAL (build 7b691c541a51c8f5bd9fd2a7bd6a7ed9dfcd2f80)": (
        "impala",
        (1, 0),
    ),
    "DuckDB version v1.4.1 (build b390a7c376)": ("duckdb", (1, 4, 1)),
    "parquet-mr version 1.5.0-cdh5.4.7": ("parquet-mr", (1, 5, 0)),
    "Polars": ("polars", ()),
    "": ("", ()),
}


@pytest.mark.parametrize(("text", "found"), WRITERS.items())
def test_writers_are_told_by_name_and_version(text, found):
    assert writer_of(text) == found


@given(st.text(max_size=60))
def test_any_text_names_some_writer(text):
    assert writer_of(text).name == writer_of(text).name.lower()


def test_values_that_differ_are_told_in_one_short_line(tmp_path):
    for number, value in enumerate((b"UTC", b"x\n\x1b[31m\xff" + b"y" * 500)):
        pq.write_table(
            pa.table({"c": [1]}).replace_schema_metadata({"parquet.avro.schema": value}),
            tmp_path / f"{number}.parquet",
        )
    with pytest.raises(SchemaMismatch) as found:
        engine.plan(str(tmp_path), parts=1)
    told = str(found.value)
    assert told.isprintable()
    assert "(UTC)" in told
    assert "yyy..." in told
    assert "y" * 100 not in told
