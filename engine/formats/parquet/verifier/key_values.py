"""Compare key-value metadata: all of the source's must be in a part, and true of it.

Some values may rightly differ. pandas describes a range index by its bounds, which are those of a
part's own rows in a part; and ``ARROW:schema``, a serialized schema, may hold pandas' text once
more; its dictionaries have wider indices where row groups were merged. Entries that begin with
``evensplit.`` are ours and not compared.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

from engine.errors import Different
from engine.formats.parquet.bytes.described import ARROW_KEY, ODD, PANDAS_KEY
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.merging.arrow_schemas import with_wide_indices
from engine.formats.parquet.merging.keys import OWN_PREFIX, KeyValues

_Pair = tuple[bytes, bytes | None]


def check_key_values(carried: KeyValues, part: Footer, first_row: int, name: str) -> None:
    """Compare a part's key-value metadata with what it has to carry.

    Args:
        carried: of its sources, see :func:`.merging.merged`.
        part: the part's footer.
        first_row: its first row, counted in the first source that it has rows of.
        name: what to call the part.

    Raises:
        Different: an entry is missing, added or changed.
    """
    needed, found = _foreign(carried), _foreign(part.key_values)
    missing = list((Counter(needed) - Counter(found)).elements())
    added = list((Counter(found) - Counter(needed)).elements())
    for pair in missing:
        match = next((other for other in added if _allowed(pair, other, first_row, part)), None)
        if match is None:
            what = "differs" if any(pair[0] == key for key, _ in added) else "is missing"
            raise Different(f"{name}: key-value metadata {_text(pair[0])} {what}")
        added.remove(match)
    if added:
        raise Different(f"{name}: key-value metadata {_text(added[0][0])} is not in the source")


def _foreign(entries: KeyValues) -> KeyValues:
    return [pair for pair in entries if not pair[0].startswith(OWN_PREFIX)]


def _text(key: bytes) -> str:
    return repr(key.decode("utf-8", "replace"))


def _allowed(needed: _Pair, found: _Pair, first_row: int, part: Footer) -> bool:
    """Whether an entry is the source's, made true for the part."""
    if needed[0] != found[0] or needed[1] is None or found[1] is None:
        return False
    if needed[0] == PANDAS_KEY:
        return _same_pandas(needed[1], found[1], first_row, part.num_rows)
    if needed[0] == ARROW_KEY:
        return _same_arrow(needed[1], found[1], first_row, part.num_rows)
    return False


def _same_pandas(needed: bytes, found: bytes, first_row: int, num_rows: int) -> bool:
    try:
        ours, theirs = json.loads(needed), json.loads(found)
    except ODD:
        return False
    _move_range_index(ours, first_row, num_rows)
    return bool(ours == theirs)


def _move_range_index(described: Any, first_row: int, num_rows: int) -> None:
    """Set the bounds of range indexes to those of the part's rows."""
    columns = described.get("index_columns") if isinstance(described, dict) else None
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict) and column.get("kind") == "range":
            start, step = column.get("start") or 0, column.get("step") or 1
            column["start"] = start + first_row * step
            column["stop"] = column["start"] + num_rows * step


def _same_arrow(needed: bytes, found: bytes, first_row: int, num_rows: int) -> bool:
    import pyarrow

    try:
        ours, theirs = (
            pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text)))
            for text in (needed, found)
        )
    except MemoryError:
        raise
    except (ValueError, OSError, pyarrow.ArrowException):
        return False
    one, two = dict(ours.metadata or {}), dict(theirs.metadata or {})
    pandas = [metadata.pop(PANDAS_KEY, None) for metadata in (one, two)]
    if pandas[0] != pandas[1] and (
        None in pandas or not _same_pandas(pandas[0], pandas[1], first_row, num_rows)
    ):
        return False
    return one == two and any(
        its.remove_metadata().equals(theirs.remove_metadata(), check_metadata=True)
        for its in (ours, with_wide_indices(ours))
    )
