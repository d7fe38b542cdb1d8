"""Delta tables: which of their files are live, by their log as ``deltalake`` reads it.

The log is read, and nothing is written. A table is refused, by name, where its rows are not just
those of its live files, or its columns not just theirs and their folders': deletion vectors,
column mapping, features that are not known here, columns that its files lack, files outside the
table or outside the folders of their partition.

Source: the Delta transaction log protocol ("Add File", "Partition Value Serialization", "Column
Mapping", "Deletion Vectors", "Table Features"). Not covered: tables in stores, earlier versions of
a table; Iceberg is read by :mod:`engine.storage.iceberg`.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.errors import NotPlainFolder
from engine.partition_values import Kind
from engine.storage.base import redacted
from engine.storage.folders import LiveFiles, partition_folders

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MAX_WORDS_LENGTH = 300
_NULL = "__HIVE_DEFAULT_PARTITION__"
_NAME_FILES = (
    "name its live files themselves, as DeltaTable(...).file_uris() of deltalake lists them"
)
WRITE_OUT = "write the table out as plain files"
# Types of columns that folders name, by those of the log. Other values are texts, as written there.
_KINDS: Mapping[str, Kind] = {
    "byte": "int32",
    "short": "int32",
    "integer": "int32",
    "long": "int64",
    "date": "date",
}
# Reader features without which a table is read as with them, where what is asked below is not met.
_KNOWN_FEATURES = {
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
}


def delta_table(root: str) -> LiveFiles:
    """Return the live files of the newest version of the Delta table in a folder.

    Raises:
        NotPlainFolder: ``deltalake`` is not installed, or the table is more than its live files.
    """
    if "://" in root:
        raise _refused(root, "the log of one in a store is not read", _NAME_FILES)
    if "%" in os.path.realpath(root):  # it decodes some of a path, and may read another folder
        raise _refused(root, "deltalake misreads the % in its path", "rename the folder")
    try:
        from deltalake import DeltaTable
    except ImportError:
        install = f"pip install 'evensplit[delta]', or {_NAME_FILES}"
        raise _refused(root, "its log is read by deltalake, which is missing", install) from None
    try:
        table = DeltaTable(root)
        _check_features(root, table)
        files = dict(_live_files(root, table))
        _check_columns(root, table, tuple(files))
    except NotPlainFolder:
        raise
    except Exception as error:  # of a damaged log deltalake and Arrow raise whatever they please
        first = str(error).strip().partition("\n")[0][:_MAX_WORDS_LENGTH]
        found = f"deltalake cannot read its log: {first}"
        raise _refused(root, found, f"repair the table, or {WRITE_OUT}") from error
    return LiveFiles(f"Delta table at version {table.version()}", files, True, _kinds(table))


def _kinds(table: DeltaTable) -> dict[str, Kind]:
    """Return the types of partition columns: as the log has them, or texts of other ones."""
    partitioned = set(table.metadata().partition_columns)
    types = {it.name: getattr(it.type, "type", "") for it in table.schema().fields}
    return {name: _KINDS.get(types[name], "string") for name in types if name in partitioned}


def _refused(root: str, found: str, change: str = WRITE_OUT) -> NotPlainFolder:
    return NotPlainFolder(f"{redacted(root)} is a Delta table, and {found}; {change}")


def _check_features(root: str, table: DeltaTable) -> None:
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise _refused(root, "it has column mapping: its files have other names of columns")
    unknown = set(table.protocol().reader_features or ()) - _KNOWN_FEATURES
    if unknown:
        raise _refused(root, f"readers must know its {', '.join(sorted(unknown))}")
    if next(iter(table.deletion_vectors()), None) is not None:
        purge = f"REORG TABLE ... APPLY (PURGE) rewrites its files, or {WRITE_OUT}"
        raise _refused(root, "it has deletion vectors: rows removed from its live files", purge)


def _live_files(root: str, table: DeltaTable) -> Iterator[tuple[str, int]]:
    """Yield names and bytes of live files, which lie in the folders of their partitions."""
    import pyarrow

    partitioned = table.metadata().partition_columns
    actions = pyarrow.table(table.get_add_actions())
    values = actions["partition"].to_pylist() if partitioned else [{}] * len(actions)
    told = (actions[name].to_pylist() for name in ("path", "size_bytes"))
    for path, num_bytes, expected in zip(*told, values, strict=True):
        name = urllib.parse.unquote(path)
        if "://" in name or name.startswith("/"):
            raise _refused(root, f"the live file {name} lies elsewhere")
        folders = partition_folders(name)
        texts = {column: it.partition("=")[2] for column, it in folders.items()}
        if list(texts) != list(partitioned) or not _are_values(texts, expected):
            raise _refused(
                root,
                f"its live file {name} does not lie in folders of its partition as the log has it: "
                + (", ".join(f"{column}={value}" for column, value in expected.items()) or "none"),
            )
        yield name, num_bytes


def _are_values(texts: Mapping[str, str], expected: Mapping[str, Any]) -> bool:
    """Whether names of folders say the values of partition columns."""
    with suppress(ValueError):  # the name of a folder is no number, or no time
        return all(_is_value(urllib.parse.unquote(texts[name]), expected[name]) for name in texts)
    return False


def _is_value(text: str, value: Any) -> bool:
    match value:
        case None:
            return text == _NULL
        case bool():
            return text == str(value).lower()
        case int() | float():  # folders of before there was a log may be month=01
            return repr(type(value)(text)) == repr(value)  # NaN is not equal to itself
        case datetime():
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)) == (
                value if value.tzinfo else value.replace(tzinfo=UTC)
            )
    return text == str(value)


def _check_columns(root: str, table: DeltaTable, names: tuple[str, ...]) -> None:
    """Refuse a table whose columns are not its files', of which all have one schema."""
    import pyarrow
    from pyarrow import parquet

    try:
        held = parquet.read_schema(os.path.join(root, names[0])) if names else None
    except MemoryError:
        raise
    except (OSError, pyarrow.ArrowException):
        return  # it is missing, damaged or encrypted, of which whoever reads it tells
    if held is None:
        return
    partitioned = set(table.metadata().partition_columns)
    wanted = _columns(pyarrow.struct(list(pyarrow.schema(table.schema().to_arrow()))))
    differing = set(wanted) ^ set(_columns(pyarrow.struct(list(held))))
    odd = sorted(column for column in differing if column not in partitioned)
    if odd:
        lacks = "its live files lack" if odd[0] in wanted else "its live files, not itself, have"
        rewrite = "rewrite its files with the columns that it has now"
        raise _refused(root, f"{lacks} the column {odd[0]}", f"{rewrite}, or {WRITE_OUT}")


def _columns(kind: Any, above: str = "") -> list[str]:
    """Return the paths of all fields in a type of Arrow, whatever elements of lists are called."""
    from pyarrow import types

    if types.is_struct(kind):
        found = []
        for field in kind:
            found += [above + field.name, *_columns(field.type, f"{above}{field.name}.")]
        return found
    if types.is_map(kind):
        return _columns(kind.key_type, f"{above}key.") + _columns(kind.item_type, f"{above}value.")
    return _columns(kind.value_type, f"{above}element.") if hasattr(kind, "value_type") else []
