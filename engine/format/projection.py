"""A footer of only some columns: as if the file never had the others.

Chunks stay where they lie; schema, row groups, column orders, sorting columns and the schemas that
writers keep in key-value metadata (Arrow, pandas, Spark, Avro) lose what is not chosen. Where part
of a nested column is chosen these schemas are dropped, as the types in them would be wrong.

Source: parquet.thrift of apache/parquet-format; the key-value entries are their writers' own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from engine.errors import BadSetting, Unsupported
from engine.format import thrift
from engine.format.footer import Footer, Leaf, key_value_struct, value, with_fields
from engine.format.thrift import I32, I64, LIST, STRUCT, Struct

ARROW_KEY = b"ARROW:schema"
PANDAS_KEY = b"pandas"
_FIELD_LISTS = {  # keys whose JSON has a list of fields with names
    b"org.apache.spark.sql.parquet.row.metadata": "fields",
    b"parquet.avro.schema": "fields",
    b"avro.schema": "fields",
}
_MAP_CONVERTED, _MAP_LOGICAL = 1, 2


def project(footer: Footer, columns: Sequence[str]) -> Footer:
    """Return a footer of the columns named, in the file's order.

    Args:
        footer: of the file.
        columns: dotted paths; a group stands for all below it.

    Raises:
        BadSetting: a name is no column.
        Unsupported: a part of a map is chosen.
    """
    kept = [leaf.index for leaf in footer.leaves if any(_is_in(leaf, name) for name in columns)]
    for name in columns:
        if not any(_is_in(leaf, name) for leaf in footer.leaves):
            names = ", ".join(dict.fromkeys(leaf.path[0] for leaf in footer.leaves))
            raise BadSetting(f"no column {name!r}; there are {names}")
    _check_maps(footer.leaves, set(kept))
    groups = [_group(raw, kept) for raw in footer.struct[4][1].items]
    changes: Struct = {
        2: (LIST, thrift.Sequence(STRUCT, _schema(footer.schema, set(kept)))),
        4: (LIST, thrift.Sequence(STRUCT, groups)),
    }
    orders = value(footer.struct, 7)
    if orders is not None:
        items = [orders.items[index] for index in kept if index < len(orders.items)]
        changes[7] = (LIST, thrift.Sequence(orders.type, items))
    if footer.key_values:
        pairs = [key_value_struct(*pair) for pair in _key_values(footer, set(kept))]
        changes[5] = (LIST, thrift.Sequence(STRUCT, pairs))
    return Footer(thrift.encode(with_fields(footer.struct, changes)))


def _is_in(leaf: Leaf, name: str) -> bool:
    return leaf.name == name or leaf.name.startswith(name + ".")


def _check_maps(leaves: Sequence[Leaf], kept: set[int]) -> None:
    for leaf in leaves:
        for depth, node in enumerate(leaf.nodes):
            logical = value(node, 10)
            is_map = value(node, 6) == _MAP_CONVERTED or (logical and _MAP_LOGICAL in logical)
            below = [other for other in leaves if other.path[: depth + 1] == leaf.path[: depth + 1]]
            chosen = [other for other in below if other.index in kept]
            if is_map and 0 < len(chosen) < len(below):
                raise Unsupported(
                    f"{'.'.join(leaf.path[: depth + 1])} is a map; choose all of it or nothing"
                )


def _schema(elements: Sequence[Struct], kept: set[int]) -> list[Struct]:
    found: list[Struct] = []
    position = leaf = 0

    def walk() -> bool:
        """Take one element and all below it; say whether any of it is kept."""
        nonlocal position, leaf
        element = elements[position]
        position += 1
        children = value(element, 5, 0)
        if not children and position > 1:
            leaf += 1
            if leaf - 1 in kept:
                found.append(element)
            return leaf - 1 in kept
        place = len(found)
        found.append(element)
        number = sum(walk() for _ in range(children))
        if not number and place:
            del found[place:]
            return False
        found[place] = with_fields(element, {5: (I32, number)})
        return True

    walk()
    return found


def _group(raw: bytes, kept: Sequence[int]) -> Struct:
    group, _ = thrift.decode(raw, max_depth=2)
    chunks = [group[1][1].items[index] for index in kept]
    metas = [value(chunk, 3) for chunk in chunks]
    changes: Struct = {
        1: (LIST, thrift.Sequence(STRUCT, chunks)),
        2: (I64, sum(value(meta, 6) for meta in metas)),
    }
    if 6 in group:
        changes[6] = (I64, sum(value(meta, 7) for meta in metas))
    sorting = value(group, 4)
    group = {field: entry for field, entry in group.items() if field != 4}
    if sorting is not None:
        places = {index: place for place, index in enumerate(kept)}
        sorted_by = []
        for item in sorting.items:  # an order holds as far as its first columns are there
            struct = item if isinstance(item, dict) else thrift.decode(item)[0]
            if value(struct, 1) not in places:
                break
            sorted_by.append(with_fields(struct, {1: (I32, places[value(struct, 1)])}))
        if sorted_by:
            changes[4] = (LIST, thrift.Sequence(STRUCT, sorted_by))
    return with_fields(group, changes)


def _key_values(footer: Footer, kept: set[int]) -> list[tuple[bytes, bytes | None]]:
    by_name: dict[str, list[bool]] = {}
    for leaf in footer.leaves:
        by_name.setdefault(leaf.path[0], []).append(leaf.index in kept)
    names = {name for name, flags in by_name.items() if all(flags)}
    is_whole = all(all(flags) or not any(flags) for flags in by_name.values())
    found: list[tuple[bytes, bytes | None]] = []
    for key, content in footer.key_values:
        if key not in (ARROW_KEY, PANDAS_KEY, *_FIELD_LISTS):
            found.append((key, content))
        elif is_whole and content is not None:
            try:
                found.append((key, _without_others(key, content, names)))
            except (ValueError, KeyError, TypeError, OSError):
                continue  # what cannot be read cannot be made true
    return found


def _without_others(key: bytes, content: bytes, names: set[str]) -> bytes:
    """Return a schema in key-value metadata with the columns named alone."""
    if key == ARROW_KEY:
        return _arrow_schema(content, names)
    described = json.loads(content)
    if key == PANDAS_KEY:
        return json.dumps(_pandas(described, names)).encode()
    fields = _FIELD_LISTS[key]
    described[fields] = [field for field in described[fields] if field["name"] in names]
    return json.dumps(described).encode()


def _pandas(described: dict[str, Any], names: set[str]) -> dict[str, Any]:
    described["columns"] = [
        column
        for column in described["columns"]
        if (column.get("field_name") or column.get("name")) in names
    ]
    described["index_columns"] = [
        index for index in described["index_columns"] if isinstance(index, dict) or index in names
    ]
    return described


def _arrow_schema(content: bytes, names: set[str]) -> bytes:
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content, validate=True)))
    metadata = dict(schema.metadata or {})
    if PANDAS_KEY in metadata:
        described = _pandas(json.loads(metadata[PANDAS_KEY]), names)
        metadata[PANDAS_KEY] = json.dumps(described).encode()
    fields = [field for field in schema if field.name in names]
    return base64.b64encode(pa.schema(fields, metadata or None).serialize().to_pybytes())
