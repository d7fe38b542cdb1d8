"""One schema for several: what it holds, and how each file's columns stand in it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Footer, Repetition
from engine.formats.parquet.bytes.spec import LogicalType, SchemaElement
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.relaxed import (
    Differs,
    Element,
    check_lacking,
    meaning,
    placed,
    schema_of,
    united,
)
from tests.engine.formats.parquet.bytes.schemas import footer_of


def schema(*fields: pa.Field) -> Element:
    buffer = io.BytesIO()
    pq.write_metadata(pa.schema(fields), buffer)
    data = buffer.getvalue()
    return schema_of(Footer(data[-8 - int.from_bytes(data[-8:-4], "little") : -8]))


def together(schemas: Sequence[Element]) -> Element:
    return united(schemas, [f"file {number}" for number in range(len(schemas))])


KINDS = [pa.int64(), pa.string(), pa.list_(pa.int32()), pa.struct([("x", pa.int64())])]
FIELDS = [pa.field(f"c{number}", KINDS[number % 4]) for number in range(9)]
COLUMNS = st.lists(
    st.lists(st.sampled_from(FIELDS), unique=True, min_size=1), min_size=1, max_size=4
)


@given(COLUMNS)
def test_every_column_of_every_file_stands_in_it_once(files: list[list[pa.Field]]):
    schemas = [schema(*fields) for fields in files]
    whole = together(schemas)
    names = [child.name for child in whole.children]
    assert names == list(dict.fromkeys(field.name for fields in files for field in fields))
    for own, fields in zip(schemas, files, strict=True):
        at = placed(whole, own)
        assert sorted(place.leaf for place in at if place.leaf is not None) == list(
            range(len(fields))
        )
        for name, place in zip(names, at, strict=True):
            known = [field.name for field in fields]
            assert place.leaf == (known.index(name) if name in known else None)
            assert place.level == (None if name in known else 0)


@given(COLUMNS)
def test_who_has_it_all_is_not_changed(files: list[list[pa.Field]]):
    whole = together([schema(*fields) for fields in files])
    assert list(together([whole, *(schema(*fields) for fields in files)]).elements()) == list(
        whole.elements()
    )


@given(
    COLUMNS.flatmap(lambda files: st.tuples(st.just(files), st.sets(st.sampled_from("012345678"))))
)
def test_optional_where_any_file_is(both: tuple[list[list[pa.Field]], set[str]]):
    files, required = both
    first = [
        field.with_nullable(field.name[1] not in required or field.name[1] in "2367")
        for field in files[0]
    ]
    rest = [schema(*fields) for fields in files[1:]]
    known = [{field.name for field in fields} for fields in files[1:]]
    must = {field.name for field in first if not field.nullable}
    alone = {name for name in must if not any(name in names for names in known)}
    if rest and alone:
        with pytest.raises(SchemaMismatch, match="cannot be null there"):
            check_lacking(together([schema(*first), *rest]))
        return
    whole = together([schema(*first), *rest])
    for child in whole.children:
        only = child.name in must and not rest
        assert child.repetition == (Repetition.REQUIRED if only else Repetition.OPTIONAL)
    for place, child in zip(placed(whole, schema(*first)), whole.children, strict=True):
        assert (place.level == 1) == (child.name in must and bool(rest) and place.leaf is not None)


def converted(number: int, kind: int = 6, **more: int) -> Struct:
    names = {"scale": SchemaElement.SCALE, "precision": SchemaElement.PRECISION}
    return spec.struct_of(
        {SchemaElement.TYPE: kind, SchemaElement.CONVERTED_TYPE: number}
        | {names[name]: content for name, content in more.items()}
    )


def logical(field: spec.Field, inner: Struct, kind: int = 6) -> Struct:
    union = {field: (thrift.STRUCT, inner)}
    return spec.struct_of({SchemaElement.TYPE: kind, SchemaElement.LOGICAL_TYPE: union})


def test_annotations_of_both_kinds_mean_the_same():
    """What pyarrow writes has both; each alone means what both do."""
    kinds = [pa.string(), pa.date32(), pa.decimal128(9, 2)]
    kinds += [pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), pa.int8(), pa.uint16()]
    kinds += [pa.uint32(), pa.uint64(), pa.list_(pa.int8()), pa.map_(pa.string(), pa.int8())]
    for kind in kinds:
        (element,) = schema(pa.field("x", kind)).children
        alone = [
            {field: it for field, it in element.struct.items() if field != other}
            for other in (SchemaElement.LOGICAL_TYPE, SchemaElement.CONVERTED_TYPE)
        ]
        told = [meaning(struct) for struct in (element.struct, *alone)]
        assert told[0] is not None, kind
        assert [thrift.encode(it or {}) for it in told[1:]] == [thrift.encode(told[0])] * 2, kind


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (converted(0), converted(4)),
        (converted(0), converted(19)),
        (converted(0), {SchemaElement.TYPE: (thrift.I32, 6)}),
        (converted(17, 1), converted(13, 1)),
        (converted(21, 7), {SchemaElement.TYPE: (thrift.I32, 7)}),
        (converted(5, 1, scale=2, precision=9), converted(5, 1, scale=3, precision=9)),
        (logical(LogicalType.STRING, {}), logical(LogicalType.JSON, {})),
    ],
)
def test_other_meanings_are_told_apart(one: Struct, other: Struct):
    assert meaning(one) != meaning(other)


def test_signed_integers_of_the_types_width_are_plain():
    assert meaning(converted(17, 1)) is None
    assert meaning(converted(18, 2)) is None
    assert meaning(converted(17, 2)) is not None


# -- lists and maps --------------------------------------------------------------------------------


def element(name: str, *inside: Element, repetition: int = 1, of: int | None = None) -> Element:
    """A group of others, or a column of INT32; ``of``: its ConvertedType."""
    fields = {SchemaElement.NAME: name.encode(), SchemaElement.REPETITION_TYPE: repetition}
    if not inside:
        fields[SchemaElement.TYPE] = 1
    if of is not None:
        fields[SchemaElement.CONVERTED_TYPE] = of
    return Element(spec.struct_of(fields), inside, None if inside else 0)


def root(*inside: Element) -> Element:
    """The same, read back from a footer."""
    top = Element(spec.struct_of({SchemaElement.NAME: b"schema"}), inside)
    return schema_of(footer_of(list(top.elements())))


_LIST, _MAP, _MAP_KEY_VALUE = 3, 1, 2


def a_list(middle: str, inner: str) -> Element:
    return element("l", element(middle, element(inner), repetition=2), of=_LIST)


def a_map(middle: str, key: str, of: int | None = None) -> Element:
    pair = element(middle, element(key, repetition=0), element("v"), repetition=2, of=of)
    return element("m", pair, of=_MAP)


def test_names_inside_lists_and_maps_say_nothing():
    one = root(a_list("list", "element"), a_map("key_value", "key"))
    other = root(a_map("map", "k", _MAP_KEY_VALUE), a_list("bag", "array_element"))
    whole = together([one, other])
    assert list(whole.elements()) == list(one.elements())
    assert [place.leaf for place in placed(whole, other)] == [2, 0, 1]


def test_old_lists_are_other_lists():
    two_levels = element("l", element("element", repetition=2), of=_LIST)
    named = element("l", element("array", element("x"), repetition=2), of=_LIST)
    for other in (two_levels, named):
        with pytest.raises(SchemaMismatch, match="l"):
            together([root(a_list("list", "element")), root(other)])


def test_columns_of_old_lists_are_found_by_name():
    one, other = (
        root(element("l", element("array", *map(element, names), repetition=2), of=_LIST))
        for names in ("xy", "yx")
    )
    assert [place.leaf for place in placed(together([one, other]), other)] == [1, 0]


def test_elements_that_may_be_null_elsewhere_take_decoding():
    one, other = (
        root(element("l", element("list", element("e", repetition=kind), repetition=2), of=_LIST))
        for kind in (0, 1)
    )
    whole = together([one, other])
    with pytest.raises(Differs, match="takes decoding"):
        placed(whole, one)
