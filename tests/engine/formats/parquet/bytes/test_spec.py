"""The specification's fields: numbers, types, needs; damage is named by structure and field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.parquet.bytes import spec, thrift

STRUCTURES = sorted(spec.Structure.__subclasses__(), key=lambda structure: structure.__name__)
KINDS = (thrift.TRUE, thrift.I16, thrift.I32, thrift.I64, thrift.BINARY, thrift.LIST, thrift.STRUCT)
EXAMPLES = {
    thrift.TRUE: True,
    thrift.BYTE: 1,
    thrift.I16: 1,
    thrift.I32: 1,
    thrift.I64: 1,
    thrift.BINARY: b"x",
    thrift.STRUCT: {},
    thrift.LIST: thrift.Sequence(thrift.STRUCT, []),
}


def example(structure):
    """Return a structure that has every field."""
    return spec.struct_of({field: content(field) for field in structure.fields.values()})


def content(field):
    if field.kind == thrift.STRUCT:
        return example(field.of) if field.of else {}
    if field.kind == thrift.LIST:
        return [example(field.of) if isinstance(field.of, type) else EXAMPLES[field.of]]
    return EXAMPLES[field.kind]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.__name__)
def test_a_structure_with_every_field_survives_the_round_trip(structure):
    raw = thrift.encode(example(structure))
    assert thrift.encode(spec.read(structure, raw)) == raw


FIELDS = [(structure, field) for structure in STRUCTURES for field in structure.fields.values()]


@given(st.sampled_from(FIELDS), st.sampled_from(KINDS))
def test_a_field_of_another_type_is_named(place, kind):
    structure, field = place
    struct = example(structure) | {int(field): (kind, EXAMPLES[kind])}
    if kind == field.kind or field.is_lax:
        if kind != thrift.STRUCT or field.of is None or not needs(field.of):
            spec.check(structure, struct)
        return
    with pytest.raises(BadStructure, match=rf"{structure.__name__}\.{field.name} is "):
        spec.read(structure, thrift.encode(struct))


def needs(structure):
    return any(field.is_needed for field in structure.fields.values())


LISTS = [(structure, field) for structure, field in FIELDS if field.kind == thrift.LIST]


@given(st.sampled_from(LISTS), st.sampled_from(KINDS))
def test_a_list_of_other_elements_is_named(place, kind):
    structure, field = place
    wanted = thrift.STRUCT if isinstance(field.of, type) else field.of
    if kind == wanted:
        return
    odd = (thrift.LIST, thrift.Sequence(kind, [EXAMPLES[kind]]))
    with pytest.raises(BadStructure, match=rf"{structure.__name__}\.{field.name} is a list"):
        spec.read(structure, thrift.encode(example(structure) | {int(field): odd}))


NEEDED = [(structure, field) for structure, field in FIELDS if field.is_needed]


@given(st.sampled_from(NEEDED))
def test_a_needed_field_that_is_missing_is_named(place):
    structure, field = place
    struct = {number: entry for number, entry in example(structure).items() if number != field}
    with pytest.raises(BadStructure, match=f"{structure.__name__} lacks its field {field.name}"):
        spec.check(structure, struct)


def test_what_is_nested_is_checked_as_far_as_it_is_decoded():
    group = example(spec.RowGroup)
    chunk = group[spec.RowGroup.COLUMNS][1].items[0]
    meta = chunk[spec.ColumnChunk.META_DATA][1]
    meta[spec.ColumnMetaData.STATISTICS][1][spec.Statistics.NULL_COUNT] = (thrift.BINARY, b"x")
    raw = thrift.encode(group)
    with pytest.raises(BadStructure, match=r"Statistics\.null_count is binary"):
        spec.read(spec.RowGroup, raw)
    spec.read(spec.RowGroup, raw, max_depth=2)  # statistics stay bytes


def test_fields_that_are_not_listed_travel_unseen():
    struct = example(spec.KeyValue) | {99: (thrift.I32, 7)}
    assert spec.check(spec.KeyValue, struct)[99] == (thrift.I32, 7)
