"""Footers without rows, made of schemas alone; shared by the tests of names and schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Footer, Type
from engine.formats.parquet.bytes.spec import FileMetaData, SchemaElement
from engine.formats.parquet.bytes.thrift import Struct

# A column or group: its name, and what is in it (None: a column).
Tree = tuple[str, "list[Tree] | None"]


def elements(trees: Sequence[Tree], name: str = "schema") -> list[Struct]:
    """Return the schema elements of a group, itself first."""
    found = [spec.struct_of({SchemaElement.NAME: name.encode(), NUM_CHILDREN: len(trees)})]
    for inner, below in trees:
        if below is None:
            found.append(column(inner))
        else:
            group = elements(below, inner)
            group[0] = spec.struct_of({SchemaElement.REPETITION_TYPE: 1}) | group[0]
            found += group
    return found


NUM_CHILDREN = SchemaElement.NUM_CHILDREN


def column(name: str, **fields: Any) -> Struct:
    """Return the element of a column; ``fields`` by their names in lower case."""
    described: dict[spec.Field, Any] = {
        SchemaElement.TYPE: int(Type.INT64),
        SchemaElement.REPETITION_TYPE: 1,
        SchemaElement.NAME: name.encode(),
    }
    described |= {getattr(SchemaElement, key.upper()): item for key, item in fields.items()}
    return spec.struct_of(described)


def footer_of(schema: Sequence[Struct]) -> Footer:
    """Return a footer of a schema, without row groups."""
    fields = {
        FileMetaData.VERSION: 2,
        FileMetaData.SCHEMA: schema,
        FileMetaData.NUM_ROWS: 0,
        FileMetaData.ROW_GROUPS: [],
    }
    return Footer(thrift.encode(spec.struct_of(fields)))


def trees(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[Tree]]:
    """Some columns and groups, no name twice in a group; groups may be empty."""

    def some(below: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Tree]]:
        one = st.tuples(names, st.none() | below)
        return st.lists(one, max_size=4, unique_by=lambda tree: tree[0])

    return st.recursive(st.builds(list), some, max_leaves=8)
