"""Key-value metadata made true of a part's rows, with ours behind it.

What a part of several sources carries at all is decided in :mod:`.merging`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from engine.formats.parquet.bytes.described import ARROW_KEY, ODD, PANDAS_KEY
from engine.formats.parquet.merging.arrow_schemas import with_wide_indices
from engine.formats.parquet.merging.keys import OWN_PREFIX, KeyValues


def part_key_values(
    carried: KeyValues,
    first_row: Callable[[], int],
    num_rows: int,
    provenance: Mapping[str, str],
    *,
    is_merged: bool = False,
) -> KeyValues:
    """Return a part's key-value metadata: what it carries, made true, and ours behind it.

    Args:
        carried: of its sources.
        first_row: its first row, counted in the first source that it has rows of.
        num_rows: its rows.
        provenance: our own entries.
        is_merged: whether a row group has rows of several, and so entries of their dictionaries.
    """
    made_true = {PANDAS_KEY: part_pandas, ARROW_KEY: part_arrow_schema}
    kept: KeyValues = []
    for key, content in carried:
        if key.startswith(OWN_PREFIX):
            continue
        if key in made_true and _RANGE in (content or b"") + _decoded(content):
            content = made_true[key](content, first_row(), num_rows)
        if key == ARROW_KEY and is_merged:
            content = _of_merged(content)
        kept.append((key, content))
    ours = [(key.encode(), content.encode()) for key, content in provenance.items()]
    return [*kept, *ours]


_RANGE = b'"range"'  # as pandas writes the kind of an index that is a count of rows


def _decoded(content: bytes | None) -> bytes:
    try:
        return base64.b64decode(content or b"", validate=True)
    except ValueError:
        return b""


def _of_merged(content: bytes | None) -> bytes | None:
    """Return Arrow's schema whose dictionaries hold the entries of several; else as it is."""
    import pyarrow as pa

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content or b"", validate=True)))
    except ODD:
        return content
    wide = with_wide_indices(schema)
    return content if wide == schema else base64.b64encode(wide.serialize().to_pybytes())


def part_arrow_schema(content: bytes | None, first_row: int, num_rows: int) -> bytes | None:
    """Return Arrow's schema, which repeats pandas' metadata, with that made true as well."""
    try:
        message = base64.b64decode(content or b"", validate=True)
    except ValueError:
        return content
    import pyarrow as pa

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(message))
    except MemoryError:
        raise
    except (pa.ArrowException, OSError):
        return content
    metadata = dict(schema.metadata or {})
    pandas = part_pandas(metadata.get(PANDAS_KEY), first_row, num_rows)
    if pandas is None or pandas == metadata[PANDAS_KEY]:
        return content
    moved = schema.with_metadata({**metadata, PANDAS_KEY: pandas})
    return base64.b64encode(moved.serialize().to_pybytes())


def part_pandas(content: bytes | None, first_row: int, num_rows: int) -> bytes | None:
    """Return pandas' metadata with the bounds of its range index moved to a part's rows."""
    if content is None:
        return None
    try:
        described = json.loads(content)
        index_columns = described["index_columns"]
    except ODD:
        return content
    changed = False
    for column in index_columns if isinstance(index_columns, list) else []:
        if isinstance(column, dict) and column.get("kind") == "range":
            start, step = column.get("start") or 0, column.get("step") or 1
            if not (isinstance(start, int) and isinstance(step, int)):
                return content  # no range that pandas wrote
            column["start"] = start + first_row * step
            column["stop"] = column["start"] + num_rows * step
            changed = True
    return json.dumps(described).encode() if changed else content
