"""What writers' descriptions of columns say in a part is true of all rows of the part."""

import json

import datafusion
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes.described import ARROW_KEY, DESCRIPTIONS
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.bytes.schema_keys import fitted_key_values
from engine.formats.parquet.merging import Named, merged
from engine.formats.parquet.merging.keys import RULES
from engine.formats.parquet.writers.key_values import part_key_values
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

SPARK = "org.apache.spark.sql.parquet.row.metadata"


def footer_of(*pairs, table=None):
    sink = pa.BufferOutputStream()
    table = pa.table({"n": [1], "m": [2]}) if table is None else table
    with pq.ParquetWriter(sink, table.schema, store_schema=not pairs) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(dict(pairs))
    return ParquetFile.of(sink.getvalue().to_pybytes()).footer


def together(*footers):
    carried = merged([Named(f"{number}.parquet", it) for number, it in enumerate(footers)])
    return dict(carried.key_values)


def arrow_of(table, *others):
    """Return Arrow's schema of a part that has rows of several tables."""
    found = together(*(footer_of(table=each) for each in (table, *others)))
    footer = ParquetFile.of(_with_key(table, found[ARROW_KEY])).data
    return pq.read_schema(pa.BufferReader(footer))


def _with_key(table, content):
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({ARROW_KEY: content})
    return sink.getvalue().to_pybytes()


# -- dictionaries and lists ----------------------------------------------------------------------


def _words(start, count, index):
    words = [f"w{number:04}" for number in range(start, start + count)]
    return pa.DictionaryArray.from_arrays(pa.array(range(count), index), pa.array(words))


def _holding(array, shape):
    """Return a table of an array, inside of a list or a group."""
    if shape == "list":
        offsets = pa.array(range(len(array) + 1), pa.int32())
        array = pa.ListArray.from_arrays(offsets, array)
    elif shape == "group":
        array = pa.StructArray.from_arrays([array], ["w"])
    return pa.table({"c": array})


READERS = {
    "arrow": lambda path: pq.read_table(path)["c"].to_pylist(),
    "polars": lambda path: polars.read_parquet(path)["c"].to_list(),
    "datafusion": lambda path: (
        datafusion.SessionContext().read_parquet(path).to_arrow_table()["c"].to_pylist()
    ),
}


@pytest.mark.parametrize("shape", ["flat", "list", "group"])
@pytest.mark.parametrize("indices", [("int8", "int16"), ("int8", "int8"), ("uint8", None)], ids=str)
@pytest.mark.parametrize("ways", [{}, {"row_group_size": "9999rows"}], ids=str)
def test_readers_take_parts_of_dictionaries_that_are_large_together(tmp_path, shape, indices, ways):
    folder = tmp_path / "in"
    folder.mkdir()
    expected = []
    for number, index in enumerate(indices):
        count = 100 if index == "int8" else 200
        array = _words(number * 1000, count, index or "int32")
        table = _holding(array if index else array.cast("string"), shape)
        expected += table["c"].to_pylist()
        pq.write_table(table, folder / f"{number}.parquet")
    engine.split(str(folder), str(tmp_path / "parts"), parts=1, fsync=False, **ways)
    engine.verify(str(tmp_path / "parts"))
    (part,) = (tmp_path / "parts").glob("*.parquet")
    for name, read in READERS.items():
        assert read(str(part)) == expected, name


def test_row_groups_of_one_file_are_put_together_with_their_dictionaries(tmp_path):
    tables = [_holding(_words(number * 1000, 100, "int8"), "flat") for number in range(3)]
    with pq.ParquetWriter(tmp_path / "in.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    engine.split(
        str(tmp_path / "in.parquet"),
        str(tmp_path / "parts"),
        parts=1,
        row_group_size="9999rows",
        fsync=False,
    )
    engine.verify(str(tmp_path / "parts"))
    (part,) = (tmp_path / "parts").glob("*.parquet")
    for name, read in READERS.items():
        assert len(read(str(part))) == 300, name


@pytest.mark.parametrize("shape", ["flat", "list", "group"])
def test_lists_of_one_size_go_with_no_others(shape):
    tables = [
        _holding(pa.array([[1] * size] * 2, pa.list_(pa.int32(), size)), shape) for size in (3, 4)
    ]
    with pytest.raises(SchemaMismatch, match=r"\[3\].*\[4\]"):
        together(*(footer_of(table=table) for table in tables))


@pytest.mark.parametrize("place", [0, 1])
def test_columns_of_one_name_are_each_compared(place):
    def table(unit):
        kinds = [pa.int64(), pa.int64()]
        kinds[place] = pa.duration(unit)
        columns = [pa.array([1], pa.int64()).cast(kind) for kind in kinds]
        return pa.Table.from_arrays(columns, ["c", "c"])

    with pytest.raises(SchemaMismatch, match=r"duration\[ns\].*duration\[us\]"):
        together(footer_of(table=table("ns")), footer_of(table=table("us")))


# -- what columns say of themselves --------------------------------------------------------------


@pytest.mark.parametrize("is_nested", [False, True])
def test_metadata_of_fields_stays_as_far_as_all_have_it(is_nested):
    def table(unit):
        field = pa.field("c", pa.int64(), metadata={"unit": unit, "from": "scale"})
        if is_nested:
            field = pa.field("c", pa.struct([field]))
        return pa.table([pa.array([], field.type)], schema=pa.schema([field]))

    field = arrow_of(table("kg"), table("lb")).field("c")
    field = field.type.field("c") if is_nested else field
    assert field.metadata == {b"from": b"scale"}


def test_attributes_of_pandas_stay_as_far_as_all_have_them():
    def text(unit):
        return json.dumps(
            {"index_columns": [], "columns": [], "attributes": {"unit": unit, "from": "scale"}}
        )

    found = together(*(footer_of(("pandas", text(unit))) for unit in ("kg", "lb")))
    assert json.loads(found[b"pandas"])["attributes"] == {"from": "scale"}


def test_metadata_of_sparks_fields_stays_as_far_as_all_have_it():
    def text(*labels, nullable=False):
        told = {"ml_attr": {"type": "nominal", "vals": list(labels)}, "comment": "x"}
        field = {"name": "n", "type": "long", "nullable": nullable, "metadata": told}
        return json.dumps({"type": "struct", "fields": [field]})

    texts = [text("a", "b"), text("b", "a", nullable=True)]
    found = together(*(footer_of((SPARK, each)) for each in texts))
    (field,) = json.loads(found[SPARK.encode()])["fields"]
    assert field == {"name": "n", "type": "long", "nullable": True, "metadata": {"comment": "x"}}


@pytest.mark.parametrize(
    "kind",
    [
        "interval day to second",
        "variant",
        {"type": "udt", "class": "org.example.Point", "sqlType": "long"},
        {"type": "array", "elementType": "interval month", "containsNull": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [1, -1])
def test_types_of_spark_that_parquet_does_not_tell_are_lacked_by_no_file(kind, order):
    fields = [{"name": "n", "type": kind, "nullable": False, "metadata": {}}]
    text = json.dumps({"type": "struct", "fields": fields})
    footers = [footer_of((SPARK, text)), footer_of(("other", ""))]
    with pytest.raises(SchemaMismatch, match=r"row\.metadata' differs .*n: .*none"):
        together(*footers[::order])


def _labels(*names, dtype="string"):
    features = {
        "n": {"names": list(names), "_type": "ClassLabel"},
        "m": {"dtype": dtype, "_type": "Value"},
    }
    return "huggingface", json.dumps({"info": {"features": features}})


def test_labels_of_hugging_face_agree():
    with pytest.raises(SchemaMismatch, match="huggingface"):
        together(footer_of(_labels("no", "yes")), footer_of(_labels("yes", "no")))
    together(footer_of(_labels("no", "yes")), footer_of(_labels("no", "yes", dtype="large_string")))


# -- GeoParquet ----------------------------------------------------------------------------------


def _geo(box=None, primary="n", **column):
    columns = {name: {"encoding": "WKB", "geometry_types": [], **column} for name in ("n", "m")}
    if box is not None:
        columns["n"]["bbox"] = box
    return "geo", json.dumps({"version": "1.1.0", "primary_column": primary, "columns": columns})


@pytest.mark.parametrize(
    "other", [[170, -9, -170, 9], [0, 1, 2], None, [0, 0, "x", 1], [0, 0, float("nan"), 1], {}]
)
@pytest.mark.parametrize("order", [1, -1])
def test_boxes_that_have_no_box_around_are_left_out(other, order):
    boxes = [[0, 0, 5, 5], other][::order]
    found = json.loads(together(*(footer_of(_geo(box)) for box in boxes))[b"geo"])
    assert "bbox" not in found["columns"]["n"]


def test_files_of_other_primary_columns_do_not_go_together():
    with pytest.raises(SchemaMismatch, match=r"geo.*primary column"):
        together(footer_of(_geo(primary="n")), footer_of(_geo(primary="m")))


def test_what_is_merged_stands_in_arrows_schema_too():
    tables = [
        pa.table({"n": [1], "m": [2]}).replace_schema_metadata(dict([_geo(box)]))
        for box in ([0, 0, 5, 5], [1, 1, 9, 9])
    ]
    told = arrow_of(*tables).metadata[b"geo"]
    assert json.loads(told)["columns"]["n"]["bbox"] == [0, 0, 9, 9]


def test_geo_has_the_columns_that_are_taken():
    covering = {"bbox": {"xmin": ["box", "xmin"]}}
    footer = footer_of(_geo([0, 0, 5, 5], covering=covering))
    (_, found), *_ = project(footer, ["n"]).key_values
    assert [*json.loads(found)["columns"]] == ["n"]
    assert "covering" not in json.loads(found)["columns"]["n"]
    assert project(footer, ["m"]).key_values == []


# -- texts that are none of their writer's -------------------------------------------------------

WORDS = st.sampled_from(
    "fields name type metadata columns bbox geometry_types primary_column covering index_columns "
    "kind range start step info features attributes n long struct".split()
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
TEXTS = (TREES | st.dictionaries(WORDS, TREES, max_size=4)).map(json.dumps)
DEEP = '{"fields": ["range"], "columns": ' + "[" * 100_000
KEYS = sorted({*RULES, *DESCRIPTIONS})


@pytest.mark.parametrize("key", KEYS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(pair=st.tuples(TEXTS | st.just(DEEP), TEXTS | st.just(DEEP + " ") | st.none()))
def test_texts_of_any_shape_are_carried_or_refused(key, pair):
    footers = [footer_of(*([(key, text)] if text is not None else [])) for text in pair]
    try:
        together(*footers)
    except SchemaMismatch:
        assert pair[0] != pair[1]
    for footer in footers:
        for pairs in (
            project(footer, ["n"]).key_values,
            fitted_key_values(footer, footer, ["n", "m"], []),
        ):
            part_key_values(pairs, lambda: 1, 1, {})
