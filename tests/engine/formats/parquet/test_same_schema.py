"""Schemas that differ: any one change is told by column, property and both values."""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import events
from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.column_names import spelled
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.bytes.schema_tree import path_of
from engine.formats.parquet.bytes.spec import (
    DecimalType,
    IntType,
    LogicalType,
    SchemaElement,
    TimeType,
    TimeUnit,
)
from engine.formats.parquet.same_schema import check_same_schema, differences
from tests.engine.formats.parquet.bytes.parquet_file import ParquetFile
from tests.engine.formats.parquet.bytes.schemas import Tree, elements, footer_of, trees

NAMES = st.sampled_from(["a", "b", "c.d", "e"])


def time(unit: spec.Field, *, utc: bool) -> thrift.Struct:
    units = spec.struct_of({unit: {}})
    return spec.struct_of({TimeType.IS_ADJUSTED_TO_UTC: utc, TimeType.UNIT: units})


LOGICAL = {
    "string": spec.struct_of({LogicalType.STRING: {}}),
    "timestamp(us, UTC)": spec.struct_of({LogicalType.TIMESTAMP: time(TimeUnit.MICROS, utc=True)}),
    "timestamp(ms, local)": spec.struct_of(
        {LogicalType.TIMESTAMP: time(TimeUnit.MILLIS, utc=False)}
    ),
    "time(ns, UTC)": spec.struct_of({LogicalType.TIME: time(TimeUnit.NANOS, utc=True)}),
    "decimal(9, 2)": spec.struct_of(
        {LogicalType.DECIMAL: spec.struct_of({DecimalType.SCALE: 2, DecimalType.PRECISION: 9})}
    ),
    "integer(8, unsigned)": spec.struct_of(
        {LogicalType.INTEGER: spec.struct_of({IntType.BIT_WIDTH: 8, IntType.IS_SIGNED: False})}
    ),
    "number 99": {99: (thrift.STRUCT, {})},
}
# For each field: what it is called, and values with the words for them; None: it is absent.
PROPERTIES: dict[spec.Field, tuple[str, dict[str, Any]]] = {
    SchemaElement.TYPE: ("physical type", {"int32": 1, "int64": 2, "fixed_len_byte_array": 7}),
    SchemaElement.REPETITION_TYPE: ("nullability", {"required": 0, "optional": 1, "repeated": 2}),
    SchemaElement.CONVERTED_TYPE: ("converted type", {"UTF8": 0, "INTERVAL": 21, "none": None}),
    SchemaElement.LOGICAL_TYPE: ("logical type", LOGICAL | {"none": None}),
    SchemaElement.TYPE_LENGTH: ("length in bytes", {"16": 16, "12": 12, "none": None}),
    SchemaElement.PRECISION: ("decimal precision", {"9": 9, "18": 18, "none": None}),
    SchemaElement.SCALE: ("decimal scale", {"2": 2, "0": 0, "none": None}),
    SchemaElement.FIELD_ID: ("field id", {"1": 1, "7": 7, "none": None}),
}


def told(one: Footer, other: Footer) -> str:
    with pytest.raises(SchemaMismatch) as error:
        check_same_schema(one, other, ("first.parquet", "second.parquet"))
    text = str(error.value)
    assert text.startswith("second.parquet has another schema than first.parquet: ")
    assert text.isprintable()
    return text


@settings(deadline=None)
@given(trees(NAMES))
def test_the_same_schema_is_the_same(trees: list[Tree]) -> None:
    one, other = footer_of(elements(trees)), footer_of(elements(trees, "another root"))
    assert list(differences(one, other)) == []
    check_same_schema(one, other, ("a", "b"))


@settings(deadline=None)
@given(trees(NAMES), st.data())
def test_any_property_that_differs_is_told(trees: list[Tree], data: st.DataObject) -> None:
    schemas = [elements(trees), elements(trees)]
    if len(schemas[0]) == 1:
        return
    at = data.draw(st.integers(1, len(schemas[0]) - 1))
    allowed = [field for field in PROPERTIES if SchemaElement.TYPE in schemas[0][at] or field != 1]
    field = data.draw(st.sampled_from(allowed))
    what, values = PROPERTIES[field]
    words = data.draw(
        st.lists(st.sampled_from(sorted(values)), min_size=2, max_size=2, unique=True)
    )
    for schema, word in zip(schemas, words, strict=True):
        schema[at] = {key: item for key, item in schema[at].items() if key != field}
        if values[word] is not None:
            schema[at] |= spec.struct_of({field: values[word]})
    one, other = map(footer_of, schemas)
    text = told(one, other)
    path = spelled(path_of(one.nodes, one.nodes[at]))
    assert f"column {path}: {what} {words[1]}" in text
    assert f", not {words[0]}" in text


@settings(deadline=None)
@given(trees(NAMES), st.data())
def test_a_column_that_is_missing_or_added_is_told(trees: list[Tree], data: st.DataObject) -> None:
    path: tuple[str, ...] = ()
    todo = trees
    while data.draw(st.booleans()) and any(below is not None for _, below in todo):
        name, below = data.draw(st.sampled_from([t for t in todo if t[1] is not None]))
        path, todo = (*path, name), below
    place = data.draw(st.integers(0, len(todo)))
    one = footer_of(elements(trees))
    todo.insert(place, ("new", None))
    other = footer_of(elements(trees))
    where = spelled((*path, "new"))
    assert f"column {where} is added" in told(one, other)
    assert f"column {where} is missing" in told(other, one)


def test_names_and_order() -> None:
    one = footer_of(elements([("g", [("a", None), ("b", None), ("c", None)])]))
    renamed = footer_of(elements([("g", [("a", None), ("x.y", None), ("c", None)])]))
    assert 'column g.b: its name is "x.y", not b' in told(one, renamed)
    turned = footer_of(elements([("g", [("a", None), ("c", None), ("b", None)])]))
    text = told(one, turned)
    assert "column g.b: from place 2 on columns are c, b, not b, c" in text
    twice = footer_of(elements([("g", [("a", None), ("b", None), ("c", None), ("c", None)])]))
    assert "column g.c: from place 4 on columns are c, not nothing" in told(one, twice)


def test_fields_that_nobody_knows_and_bytes_that_are_no_text() -> None:
    schemas = [elements([("a", None)]) for _ in range(2)]
    schemas[1][1][77] = (thrift.I32, 5)
    assert "column a: field 77 5, not none" in told(*map(footer_of, schemas))
    names = [b"\xff", b"\xfe"]
    for schema, name in zip(schemas, names, strict=True):
        schema[1] = {SchemaElement.TYPE: (thrift.I32, 1), SchemaElement.NAME: (thrift.BINARY, name)}
    assert r"its name is b'\xfe', not b'\xff'" in told(*map(footer_of, schemas))


@given(st.integers(0, 40), st.integers(1, 40))
@settings(deadline=None)
def test_a_few_are_told_and_an_event_has_all(num_missing: int, num_others: int) -> None:
    missing = [(f"m{number}", None) for number in range(num_missing)]
    one, other = (
        footer_of(elements([*before, *((f"c{number}", kind) for number in range(num_others))]))
        for before, kind in ((missing, None), ([], [("inside", None)]))
    )
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    events.logger.addHandler(handler)
    level = events.logger.level
    events.logger.setLevel(logging.INFO)
    try:
        text = told(one, other)
    finally:
        events.logger.removeHandler(handler)
        events.logger.setLevel(level)
    every = [difference._asdict() for difference in differences(one, other)]
    (record,) = records
    assert vars(record)["event"] == "source.differences"
    assert vars(record)["fields"]["differences"] == every
    assert len(every) >= num_missing + num_others
    assert text.count("column ") == min(len(every), 3)
    assert (f"; and {len(every) - 3} more, which --verbose names" in text) == (len(every) > 3)
    message = record.getMessage()
    assert message.count("column ") == len(every)
    for it in every:
        end = {"missing": "missing", "there": "added"}.get(it["theirs"])
        words = f" is {end}" if end else f": {it['what']} {it['theirs']}, not {it['ours']}"
        assert f"column {it['column']}{words}" in message


def test_orders_of_bounds() -> None:
    table = pa.table({"a": [1], "b": ["x"]})
    one = ParquetFile.written(table).footer
    struct = {key: item for key, item in one.struct.items() if key != 7}
    other = Footer(thrift.encode(struct))
    assert "column a: the order of its bounds is none, not by type" in told(one, other)


CHANGES: dict[str, tuple[pa.DataType, pa.DataType, str, str]] = {
    "width": (pa.int32(), pa.int64(), "int32", "int64"),
    "unit": (pa.timestamp("us", "UTC"), pa.timestamp("ms", "UTC"), "timestamp(us, UTC)", "ms, UTC"),
    "zone": (pa.timestamp("us"), pa.timestamp("us", "UTC"), "timestamp(us, local)", "us, UTC"),
    "scale": (pa.decimal128(9, 2), pa.decimal128(9, 3), "decimal(9, 2)", "decimal(9, 3)"),
    "length": (pa.binary(4), pa.binary(5), "4", "5"),
    "text": (pa.string(), pa.binary(), "string", "none"),
    "list": (pa.list_(pa.int8()), pa.list_(pa.uint8()), "integer(8, signed)", "8, unsigned"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_arrow(tmp_path, change: str) -> None:
    first, second, *words = CHANGES[change]
    for name, kind in (("a", first), ("b", second)):
        value = pa.array([None], kind)
        pq.write_table(pa.table({"id": [1], "it": value}), tmp_path / f"{name}.parquet")
    with pytest.raises(SchemaMismatch) as error:
        engine.plan(tmp_path, parts=1)
    text = str(error.value)
    for word in (*words, "column it", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")):
        assert word in text
