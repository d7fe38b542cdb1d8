"""A footer of only some columns: as if the file never had the others.

Chunks stay where they lie; schema, row groups, column orders, sorting columns and the schemas that
writers keep in key-value metadata (Arrow's, and :mod:`.bytes.described`) lose what is not chosen.
Where part of a nested column is chosen, those with types are dropped, as the types would be wrong:
they say no more than the file's own schema.

Source: parquet.thrift of apache/parquet-format; the key-value entries are their writers' own.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.errors import BadSetting, Unsupported
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.column_names import resolve_all, spelled
from engine.formats.parquet.bytes.described import (
    ARROW_KEY,
    DESCRIPTIONS,
    ODD,
    WITH_TYPES,
    described_alone,
)
from engine.formats.parquet.bytes.footer import (
    ColumnChunk,
    Footer,
    RowGroup,
    key_value_struct,
    value,
    with_fields,
)
from engine.formats.parquet.bytes.schema_tree import Node, path_of
from engine.formats.parquet.bytes.thrift import LIST, Struct

_EXTENSION = b"ARROW:extension:"
_MAP = 1  # ConvertedType


def project(footer: Footer, columns: Sequence[str]) -> Footer:
    """Return a footer of the columns named, in the file's order.

    Args:
        footer: of the file.
        columns: names as :mod:`.bytes.column_names` has them; a group stands for all in it.

    Raises:
        BadSetting: a name is no column, a group without columns, or may mean several.
        Unsupported: a part is chosen of what can be taken as a whole alone, as maps.
    """
    nodes = footer.nodes
    chosen: set[int] = set()  # positions of schema elements
    for name, node in zip(columns, resolve_all(nodes, columns), strict=True):
        below = range(node.position, node.stop)
        if not any(nodes[position].is_leaf for position in below):
            raise BadSetting(f"{name!r} is a group without columns; choose another")
        chosen.update(below)
        parent = node.parent
        while parent > 0 and parent not in chosen:
            chosen.add(parent)
            parent = nodes[parent].parent
    _check_taken_whole(footer, chosen)
    leaves = [node for node in nodes if node.is_leaf]
    kept = [index for index, node in enumerate(leaves) if node.position in chosen]
    meta = spec.FileMetaData
    changes = {
        meta.SCHEMA: _schema(footer, chosen),
        meta.ROW_GROUPS: [_group(footer, index, kept) for index in range(footer.num_row_groups)],
    }
    if footer.key_values:
        pairs = _key_values(footer, chosen)
        changes[meta.KEY_VALUE_METADATA] = [key_value_struct(*pair) for pair in pairs]
    struct = spec.struct_of(changes)
    orders = value(footer.struct, meta.COLUMN_ORDERS)
    if orders is not None:
        items = [orders.items[index] for index in kept if index < len(orders.items)]
        struct[meta.COLUMN_ORDERS] = (LIST, thrift.Sequence(orders.type, items))
    return Footer(thrift.encode(with_fields(footer.struct, struct)))


def _check_taken_whole(footer: Footer, chosen: set[int]) -> None:
    """Refuse parts of groups that mean nothing without the others."""
    element, logical = spec.SchemaElement, spec.LogicalType
    for node in footer.nodes[1:]:
        struct = footer.schema[node.position]
        kinds = value(struct, element.LOGICAL_TYPE) or ()
        is_map = value(struct, element.CONVERTED_TYPE) == _MAP or logical.MAP in kinds
        what = "map" if is_map else "variant" if logical.VARIANT in kinds else ""
        below = range(node.position, node.stop)
        if what and node.position in chosen and not chosen.issuperset(below):
            raise Unsupported(
                f"{spelled(path_of(footer.nodes, node))} is a {what}; choose all of it or nothing"
            )


def _schema(footer: Footer, chosen: set[int]) -> list[Struct]:
    """Return the elements chosen, each with as many children as are left to it."""
    children = Counter(footer.nodes[position].parent for position in chosen)
    field = spec.SchemaElement.NUM_CHILDREN
    return [
        with_fields(footer.schema[position], {field: spec.entry(field, children[position])})
        if children[position]
        else footer.schema[position]
        for position in (0, *sorted(chosen))
    ]


def _group(footer: Footer, index: int, kept: Sequence[int]) -> Struct:
    whole = footer.row_group(index)
    places = {index: place for place, index in enumerate(kept)}
    return regrouped(whole, [whole.columns[column] for column in kept], places)


def regrouped(whole: RowGroup, chunks: Sequence[ColumnChunk], places: Mapping[int, int]) -> Struct:
    """Return a row group of other chunks.

    Args:
        whole: as the file has it.
        chunks: of the columns that it is to have.
        places: where columns of the file stand among these.
    """
    names = spec.RowGroup
    group = whole.struct
    changes: dict[spec.Field, Any] = {
        names.COLUMNS: [chunk.struct for chunk in chunks],
        names.TOTAL_BYTE_SIZE: sum(chunk.uncompressed_bytes for chunk in chunks),
    }
    if names.TOTAL_COMPRESSED_SIZE in group:
        changes[names.TOTAL_COMPRESSED_SIZE] = sum(chunk.compressed_bytes for chunk in chunks)
    sorting = value(group, names.SORTING_COLUMNS)
    group = {field: entry for field, entry in group.items() if field != names.SORTING_COLUMNS}
    if sorting is not None:
        column = spec.SortingColumn.COLUMN_IDX
        sorted_by = []
        for item in sorting.items:  # an order holds as far as its first columns are there
            struct = item if isinstance(item, dict) else spec.read(spec.SortingColumn, item)
            if value(struct, column) not in places:
                break
            place = places[value(struct, column)]
            sorted_by.append(with_fields(struct, {column: spec.entry(column, place)}))
        if sorted_by:
            changes[names.SORTING_COLUMNS] = sorted_by
    return with_fields(group, spec.struct_of(changes))


def _key_values(footer: Footer, chosen: set[int]) -> list[tuple[bytes, bytes | None]]:
    tops = [node for node in footer.nodes if node.parent == 0 and node.position in chosen]
    names = {node.name for node in tops}
    is_whole = all(chosen.issuperset(range(node.position, node.stop)) for node in tops)
    taken = _Taken(footer.nodes, chosen)
    found: list[tuple[bytes, bytes | None]] = []
    for key, content in footer.key_values:
        if content is not None and key == ARROW_KEY:
            try:
                found.append((key, _arrow_schema(content, taken, names, is_whole=is_whole)))
            except ODD:
                continue  # what cannot be read cannot be made true
        elif content is None or key not in DESCRIPTIONS:
            found.append((key, content))
        else:
            found += _alone(key, content, names, is_whole=is_whole)
    return found


def _alone(
    key: bytes, content: bytes, names: set[str], *, is_whole: bool
) -> list[tuple[bytes, bytes]]:
    """Return the entry of a description of the columns named alone, or none."""
    if key in WITH_TYPES and not is_whole:
        return []
    try:
        alone = described_alone(key, content, names)
    except ODD:
        return []
    return [] if alone is None else [(key, alone)]


class _Taken(NamedTuple):
    """Nodes of a schema, and the positions of those that are taken."""

    nodes: Sequence[Node]
    chosen: set[int]

    def inside(self, node: Node) -> list[Node]:
        """Return the nodes right below one that are taken."""
        below = self.nodes[node.position + 1 : node.stop]
        return [it for it in below if it.parent == node.position and it.position in self.chosen]

    def is_whole(self, node: Node) -> bool:
        """Whether all below a node is taken."""
        return self.chosen.issuperset(range(node.position, node.stop))


def _arrow_schema(content: bytes, taken: _Taken, names: set[str], *, is_whole: bool) -> bytes:
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content, validate=True)))
    tops = {node.name: node for node in taken.inside(taken.nodes[0])}
    metadata: dict[bytes, bytes] = {}
    for key, text in (schema.metadata or {}).items():
        is_plain = key not in DESCRIPTIONS
        metadata.update([(key, text)] if is_plain else _alone(key, text, names, is_whole=is_whole))
    fields = [
        _arrow_field(field, tops[field.name], taken) for field in schema if field.name in tops
    ]
    return base64.b64encode(pa.schema(fields, metadata or None).serialize().to_pybytes())


def _arrow_field(field: Any, node: Node, taken: _Taken) -> Any:
    """Return Arrow's field of a column with what is taken of it.

    Raises:
        Unsupported: it is of a type that cannot be taken in part.
    """
    import pyarrow as pa

    if taken.is_whole(node):
        return field
    kind, inside = field.type, taken.inside(node)
    if pa.types.is_struct(kind):
        kind = pa.struct([_arrow_field(kind.field(it.name), it, taken) for it in inside])
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        (item,) = inside  # the repeated group, which may be the item itself
        below = taken.inside(item)
        if kind.value_field.name != item.name and len(below) == 1:
            (item,) = below
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        kind = make(_arrow_field(kind.value_field, item, taken))
    else:
        raise Unsupported(
            f"{spelled(path_of(taken.nodes, node))} is {kind} by Arrow's schema in the file, which "
            "cannot be taken in part; choose all of it or nothing"
        )
    # An extension type is of the whole.
    told = {k: v for k, v in (field.metadata or {}).items() if not k.startswith(_EXTENSION)}
    return pa.field(field.name, kind, field.nullable, told or None)
