import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import BadSetting, Unsupported
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Footer, key_value_struct, value, with_fields
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.merging.arrow_schemas import plain_schema
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile

TABLE = pa.table(
    {
        "a": [1, 2],
        "s": [{"x": 1, "y": {"z": "u"}}, {"x": 2, "y": {"z": "v"}}],
        "l": [[1], [2, 3]],
        "m": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "b": ["p", "q"],
    }
)


def projected(*columns, **options):
    return project(ParquetFile.written(TABLE, **options).footer, columns)


def names(footer):
    return [leaf.name for leaf in footer.leaves]


def test_a_group_stands_for_all_below_it():
    assert names(projected("s")) == ["s.x", "s.y.z"]
    assert names(projected("s.y", "a")) == ["a", "s.y.z"]
    assert names(projected("m", "l")) == ["l.list.element", "m.key_value.key", "m.key_value.value"]


def test_chunks_sums_and_orders_follow():
    whole = ParquetFile.written(TABLE).footer
    footer = projected("b", "a")
    ours, theirs = footer.row_group(0), whole.row_group(0)
    assert [chunk.range for chunk in ours.columns] == [
        theirs.columns[0].range,
        theirs.columns[-1].range,
    ]
    assert value(ours.struct, 2) == sum(chunk.uncompressed_bytes for chunk in ours.columns)
    assert len(value(footer.struct, 7).items) == 2
    assert [leaf.index for leaf in footer.leaves] == [0, 1]


def test_a_sort_order_holds_as_far_as_its_columns_are_there():
    table = pa.table({name: [1, 2] for name in "abc"})
    order = pq.SortingColumn
    file = ParquetFile.written(table, sorting_columns=[order(2), order(0), order(1)])
    for columns, kept in ((["c", "a"], [1, 0]), (["c", "b"], [1]), (["a", "b"], [])):
        footer = project(file.footer, columns)
        sorting = value(footer.row_group(0).struct, 4)
        found = [] if sorting is None else [value(item, 1) for item in decoded(sorting)]
        assert found == kept


def decoded(sequence):
    return [item if isinstance(item, dict) else thrift.decode(item)[0] for item in sequence.items]


def test_schemas_in_key_values_lose_the_other_columns():
    spark = {"type": "struct", "fields": [{"name": "a"}, {"name": "b"}]}
    key = "org.apache.spark.sql.parquet.row.metadata"
    table = TABLE.replace_schema_metadata({key: json.dumps(spark), "mine": "kept"})
    file = ParquetFile.written(table)
    found = dict(project(file.footer, ["b"]).key_values)
    assert json.loads(found[key.encode()])["fields"] == [{"name": "b"}]
    assert found[b"mine"] == b"kept"
    assert b"ARROW:schema" in found
    partly = dict(project(file.footer, ["s.x"]).key_values)
    assert set(partly) == {b"mine", b"ARROW:schema"}


def wider_integers(content):
    """Give every integer of an Arrow schema 80 bits, which no reader knows."""
    message = base64.b64decode(content)
    found = message.replace(b"\x40\x00\x00\x00", b"\x50\x00\x00\x00")
    assert found != message
    return base64.b64encode(found)


@pytest.mark.parametrize("spoil", [wider_integers, lambda content: content[:40]])
def test_an_arrow_schema_that_arrow_cannot_read_is_dropped(spoil):
    footer = ParquetFile.written(TABLE).footer
    changed = [key_value_struct(key, spoil(content)) for key, content in footer.key_values]
    field = spec.FileMetaData.KEY_VALUE_METADATA
    struct = with_fields(footer.struct, spec.struct_of({field: changed}))
    assert project(Footer(thrift.encode(struct)), ["a"]).key_values == []


def test_what_is_no_column_and_half_a_map_are_refused():
    with pytest.raises(BadSetting, match="no column 'c'; there are a, s, l, m, b"):
        projected("c")
    with pytest.raises(Unsupported, match="m is a map"):
        projected("m.key_value.key")


INSIDE = pa.struct(
    [pa.field("d", pa.duration("us"), metadata={"note": "kept"}), pa.field("t", pa.time64("ns"))]
)
LASTED = pa.schema(
    [
        pa.field("top", pa.duration("ms")),
        pa.field("s", INSIDE),
        pa.field("l", pa.list_(INSIDE)),
        pa.field("big", pa.large_list(pa.struct([("in", INSIDE)]))),
        pa.field("point", INSIDE, metadata={"ARROW:extension:name": "x.y"}),
    ]
)
PARTS = {
    "s.d": ("s", pa.struct([INSIDE.field("d")])),
    "l.list.element.t": ("l", pa.list_(pa.struct([INSIDE.field("t")]))),
    "big.list.element.in.d": (
        "big",
        pa.large_list(pa.struct([("in", pa.struct([INSIDE.field("d")]))])),
    ),
    "point.t": ("point", pa.struct([INSIDE.field("t")])),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("others", [[], ["top"], ["s", "point"]])
def test_arrow_reads_parts_of_groups_as_it_reads_the_whole(name, others):
    file = ParquetFile.written(LASTED.empty_table())
    footer = project(file.footer, [name, *others])
    read = plain_schema(footer, dict(footer.key_values)[b"ARROW:schema"])
    top, kind = PARTS[name]
    for other in others:
        assert read.field(other).equals(LASTED.field(other), check_metadata=other != top)
    if top not in others:
        assert read.field(top).type == kind
        assert not read.field(top).metadata


def test_part_of_a_variant_is_refused():
    leaf = pa.struct([pa.field("metadata", pa.binary(), False), pa.field("value", pa.binary())])
    file = ParquetFile.written(pa.schema([("v", leaf), ("n", pa.int64())]).empty_table())
    schema = [dict(element) for element in file.footer.schema]
    logical = spec.SchemaElement.LOGICAL_TYPE
    schema[1][logical] = (thrift.STRUCT, {spec.LogicalType.VARIANT: (thrift.STRUCT, {})})
    changes = spec.struct_of({spec.FileMetaData.SCHEMA: schema})
    footer = Footer(thrift.encode(with_fields(file.footer.struct, changes)))
    for taken in ("v", "n"):
        project(footer, [taken])
    with pytest.raises(Unsupported, match="v is a variant; choose all of it"):
        project(footer, ["v.metadata"])
