"""Iceberg tables: which files hold the rows of a snapshot, as ``pyiceberg`` reads its metadata.

The metadata file is the newest in the table's folder, or one that the caller names. Its current
snapshot is read through the table's own store; nothing is written. Files are found by their place
below the table's location, so that a table which was moved or copied is read where it is now.
Their order is that of the manifests, in which ``pyiceberg`` scans them too.

A table is refused, by name, where its rows are not just those of its data files, or its columns not
just theirs: deletes that apply, columns that the table has otherwise than its files, files that
are no Parquet or lie elsewhere. Looked at is the first file, and all others where the table's
schema was another once; else that all have one schema is seen to by whoever splits them.

Source: the Iceberg table specification ("Table Metadata", "Manifests", "Delete Formats", "Column
Projection", "File System Tables"). Not covered: catalogs, which alone know whether the newest
metadata was committed; branches and tags; earlier snapshots, but by their metadata file.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from engine.at_once import answers
from engine.errors import EvensplitError, NotPlainFolder
from engine.storage.base import Storage, redacted
from engine.storage.folders import METADATA_FOLDER, LiveFiles
from engine.storage.tables import WRITE_OUT

if TYPE_CHECKING:
    from pyiceberg.io import FileIO, InputFile
    from pyiceberg.manifest import DataFile, ManifestEntry
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.types import NestedField

_MAX_WORDS_LENGTH = 300
_MOST_METADATA_BYTES = 256 << 20  # of which Python makes several times as much
_GZIP = b"\x1f\x8b"
_HINT = "version-hint.text"
_NAME_FILES = (
    "name its data files themselves, as table.inspect.data_files() of pyiceberg lists them"
)
_NAME_METADATA = "name the metadata file that its catalog has, TABLE/metadata/....metadata.json"
_REWRITE = (
    f"rewrite_data_files of Spark (rewrite-all, delete-file-threshold 1) mends that, or {WRITE_OUT}"
)
# v3.metadata.json without a catalog, 00003-UUID.metadata.json with one. Commits without a catalog
# write UUID.metadata.json first: one that is left was never committed.
_NUMBERED = re.compile(
    r"(?:v(?P<version>\d+)|(?P<number>\d+)-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})"
    r"(?:\.\w+)?\.metadata\.json(?:\.gz)?",
    re.IGNORECASE,
)
_SPELLINGS = ((re.compile(r"file:/*(?=/)"), ""), (re.compile("s3[an]://"), "s3://"))


def iceberg_table(
    store: Storage, root: str, metadata_files: Collection[str], name: str = ""
) -> LiveFiles:
    """Return the data files of the current snapshot of the Iceberg table in a folder.

    Args:
        store: where it lies.
        root: the table's folder, as the store has it.
        metadata_files: names of the files in its folder ``metadata``.
        name: of the one that is read; the newest if it is empty.

    Raises:
        NotPlainFolder: ``pyiceberg`` is not installed, or the table is more than its data files.
    """
    try:
        import pyiceberg.io.pyarrow  # noqa: F401 - the first of it, and all it needs itself
    except ImportError:
        install = f"pip install 'evensplit[iceberg]', or {_NAME_FILES}"
        _refuse(root, "its metadata is read by pyiceberg, which is missing", install)
    name = name or _newest(store, root, metadata_files)
    try:
        return _Table(store, root, name).live_files()
    except EvensplitError:
        raise
    except Exception as error:  # of damaged metadata pyiceberg and Arrow raise whatever they please
        words = " ".join(str(error).split())[:_MAX_WORDS_LENGTH] or type(error).__name__
        found = f"pyiceberg cannot read its metadata ({name}): {words}"
        raise _refused(root, found, f"repair the table, or {WRITE_OUT}") from error


def _refused(root: str, found: str, change: str) -> NotPlainFolder:
    return NotPlainFolder(f"{redacted(root)} is an Iceberg table, and {found}; {change}")


def _refuse(root: str, found: str, change: str) -> NoReturn:
    raise _refused(root, found, change)


def _newest(store: Storage, root: str, names: Collection[str]) -> str:
    """Return the name of the newest metadata file, refused where that may be one of several."""
    numbered = [found for found in map(_NUMBERED.fullmatch, sorted(names)) if found]
    if len({it["version"] is None for it in numbered}) > 1:
        _refuse(root, "its metadata has versions of a catalog and of none", _NAME_METADATA)
    versions: dict[int, list[str]] = {}
    for it in numbered:
        versions.setdefault(int(it["version"] or it["number"]), []).append(it.string)
    newest = max(versions, default=-1)
    hint = store.get(store.join(root, METADATA_FOLDER, _HINT)) if _HINT in names else None
    if hint is not None:
        newest = int(hint) if re.fullmatch(rb"\s*\d{1,18}\s*", hint) else -2
        while newest + 1 in versions:  # a hint is written after its version, or never
            newest += 1
    found = versions.get(newest, [])
    if len(found) > 1:
        words = f"only its catalog knows which was committed: {' or '.join(found)}"
        _refuse(root, words, _NAME_METADATA)
    if not found:
        words = f"{_HINT} names no metadata file" if hint is not None else "none has a version"
        _refuse(root, f"of its metadata files {words}", _NAME_METADATA)
    return found[0]


class _Table:
    """A table by one of its metadata files."""

    def __init__(self, store: Storage, root: str, name: str) -> None:
        from pyiceberg.table.metadata import TableMetadataUtil

        self._store, self._root, self._name = store, root, name
        data = self._content(f"{METADATA_FOLDER}/{name}")
        text = _inflated(data) if data.startswith(_GZIP) else data
        self._metadata: TableMetadata = TableMetadataUtil.parse_obj(json.loads(text))

    def live_files(self) -> LiveFiles:
        snapshot_id = self._metadata.current_snapshot_id
        snapshot = self._metadata.current_snapshot()
        if snapshot is None:
            if snapshot_id is not None:
                raise ValueError(f"its current snapshot {snapshot_id} is missing")
            return LiveFiles(f"Iceberg table without a snapshot ({self._name})", {}, False)
        entries = list(self._entries(snapshot.manifest_list))
        self._check_deletes(entries)
        files = dict(self._data_files(entries))
        self._check_columns(files)
        kind = f"Iceberg table at snapshot {snapshot_id} ({self._name})"
        sizes = {name: file.file_size_in_bytes for name, file in files.items()}
        return LiveFiles(kind, sizes, False)

    def _entries(self, manifest_list: str) -> Iterator[ManifestEntry]:
        from pyiceberg.manifest import read_manifest_list

        # Not by Snapshot.manifests, which keeps what any table said under the same location.
        for manifest in read_manifest_list(self.new_input(manifest_list)):
            yield from manifest.fetch_manifest_entry(cast("FileIO", self))

    def new_input(self, location: str) -> InputFile:
        """Return a file of Avro, by its location; pyiceberg calls this."""
        from pyiceberg.avro.file import AvroFile

        data = self._content(self._below(location, "metadata"))
        found = cast("InputFile", _InMemory(location, data))
        avro: AvroFile[Any]
        with AvroFile(found) as avro:  # whose reader takes a file that was cut off for whole
            if not data.endswith(avro.header.sync):
                raise ValueError(f"{location} does not end as it should: it was cut off")
        return found

    def _content(self, name: str) -> bytes:
        data = self._store.get(self._store.join(self._root, *name.split("/")))
        if data is None:
            found = f"its file {name} is missing"
            _refuse(self._root, found, f"restore it, or {_NAME_FILES}")
        return data

    def _below(self, location: str, what: str) -> str:
        name = name_below(location, (self._metadata.location, self._root))
        if name is None:
            found = f"its {what} {location} lies elsewhere than below {self._metadata.location}"
            _refuse(self._root, found, f"{_NAME_FILES}, or {WRITE_OUT}")
        return name

    def _check_deletes(self, entries: Iterable[ManifestEntry]) -> None:
        """Refuse files of deletes, unless all data was written after them."""
        from pyiceberg.manifest import DataFileContent, FileFormat

        data = [it for it in entries if it.data_file.content == DataFileContent.DATA]
        oldest = min((it.sequence_number or 0 for it in data), default=0)
        for entry in entries:
            file = entry.data_file
            if not data or file.content == DataFileContent.DATA:
                continue
            if (entry.sequence_number or 0) < oldest:
                continue
            kind = "equality" if file.content == DataFileContent.EQUALITY_DELETES else "position"
            words = (
                "deletion vectors" if file.file_format == FileFormat.PUFFIN else f"{kind} deletes"
            )
            _refuse(self._root, f"it has {words}: rows removed from its data files", _REWRITE)

    def _data_files(self, entries: Iterable[ManifestEntry]) -> Iterator[tuple[str, DataFile]]:
        from pyiceberg.manifest import DataFileContent, FileFormat

        seen: set[str] = set()
        for file in (entry.data_file for entry in entries):
            if file.content != DataFileContent.DATA:
                continue
            name = self._below(file.file_path, "data file")
            if file.file_format != FileFormat.PARQUET:
                found = f"its data file {name} is {file.file_format.value}, not Parquet"
                _refuse(self._root, found, _REWRITE)
            if name in seen:
                raise ValueError(f"the data file {name} is live twice")
            seen.add(name)
            yield name, file

    def _check_columns(self, files: Mapping[str, DataFile]) -> None:
        """Refuse a table whose columns are not those of its files, by field id.

        The first file has all of them. Of a table whose schema was never another, all others have
        the first one's, which whoever reads them sees to; else they may lack columns, as null. What
        a file lacks is no null where its partition has the value, as in files that were added from
        hive folders: these are looked at if the metadata does not show that they have the column.
        """
        names = list(files)
        by_partition = {name: self._by_partition(file) for name, file in files.items()}
        looked_at = names
        if not self._had_other_schemas():
            shown = {
                name: {*(file.column_sizes or ()), *(file.value_counts or ())}
                for name, file in files.items()
            }
            looked_at = [it for it in names if it == names[0] or by_partition[it] - shown[it]]
        every = answers(self._held, looked_at, is_remote="://" in self._root)
        for name, held in zip(looked_at, every, strict=True):
            told = by_partition[name]
            difference = self._difference(held, name, told, is_first=name == names[0])
            if difference:
                _refuse(self._root, difference, _REWRITE)

    def _by_partition(self, file: DataFile) -> frozenset[int]:
        """Return the ids of the columns of which a file's partition has the value, and no null."""
        from pyiceberg.transforms import IdentityTransform

        fields = self._metadata.specs()[file.spec_id].fields
        return frozenset(
            field.source_id
            for at, field in enumerate(fields)
            if isinstance(field.transform, IdentityTransform) and file.partition[at] is not None
        )

    def _had_other_schemas(self) -> bool:
        """Whether files may have another schema than the table now; old ones may be forgotten."""
        schema, metadata = self._metadata.schema(), self._metadata
        number = len(dict(_columns(schema.fields)))
        is_first = schema.schema_id == 0 and metadata.last_column_id == number
        return not is_first or len(metadata.schemas) > 1

    def _held(self, name: str) -> Any:
        """Return Arrow's schema of a data file; None if whoever reads it tells what is wrong."""
        import pyarrow
        from pyarrow import parquet

        path = self._store.join(self._root, *name.split("/"))
        try:
            with closing(self._store.open(self._store.stat(path))) as source:
                return parquet.read_schema(source.arrow_file())
        except MemoryError:
            raise
        except (EvensplitError, OSError, pyarrow.ArrowException):
            return None  # missing, damaged or encrypted

    def _difference(
        self, held: Any, name: str, by_partition: Collection[int], *, is_first: bool
    ) -> str:
        from pyiceberg.io.pyarrow import pyarrow_to_schema

        if held is None:
            return ""
        mapping = self._metadata.name_mapping()
        try:
            found = pyarrow_to_schema(held, mapping, downcast_ns_timestamp_to_us=True)
        except ValueError as error:  # without field ids, and names that no mapping has
            return f"which column is which in its data files cannot be told: {error}"
        if is_first:
            return _difference(self._metadata.schema(), found)
        return _later_difference(self._metadata.schema(), found, name, by_partition)


def _inflated(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as file:
        found = file.read(_MOST_METADATA_BYTES + 1)
    if len(found) > _MOST_METADATA_BYTES:
        raise ValueError(f"it takes more than {_MOST_METADATA_BYTES:,} bytes")
    return found


def name_below(location: str, bases: Iterable[str]) -> str | None:
    """Return where a file lies below the first of some locations that it lies below."""
    path = _spelled(location)
    for base in map(_spelled, bases):
        above, found, name = path.partition(base.rstrip("/") + "/")
        if found and not above and ".." not in name.split("/"):
            return name.lstrip("/")
    return None


def _spelled(location: str) -> str:
    for other, usual in _SPELLINGS:
        location = other.sub(usual, location, count=1)
    return location


class _InMemory(NamedTuple):
    """What pyiceberg needs of an input file."""

    location: str
    data: bytes

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def _difference(table: Schema, held: Schema) -> str:
    """Return how columns of a table are not those of its files; empty if they are."""
    ours, theirs = dict(_columns(table.fields)), dict(_columns(held.fields))
    for number, (name, kind) in ours.items():
        if number not in theirs:
            return f"its data files lack the column {name}, field {number}"
        its_name, its_kind = theirs[number]
        if its_name != name:
            return f"its column {name}, field {number}, is {its_name} in its data files"
        if its_kind != kind:
            return f"its column {name} is {kind}, and {its_kind} in its data files"
    if ours.keys() != theirs.keys():
        name = next(theirs[number][0] for number in theirs if number not in ours)
        return f"its data files have the column {name}, which it dropped"
    return "" if list(ours) == list(theirs) else "its data files have its columns in another order"


def _later_difference(table: Schema, held: Schema, file: str, by_partition: Collection[int]) -> str:
    """Return what a file that lacks columns has otherwise than the table; empty if nothing.

    Files are put together by names of columns, so that these must be the same by field id; and what
    a file lacks must be null.
    """
    ours, theirs = dict(_columns(table.fields)), dict(_columns(held.fields))
    for number, (name, _) in theirs.items():
        if number not in ours:
            return f"its data file {file} has the column {name}, field {number}, which it dropped"
        if ours[number][0] != name:
            return (
                f"its column {ours[number][0]}, field {number}, is {name} in its data file {file}"
            )
    for number in ours.keys() - theirs.keys():
        default = table.find_field(number).initial_default
        if default is not None:
            return f"its data file {file} lacks the column {ours[number][0]}, which has a default"
        if number in by_partition:
            found = f"its data file {file} lacks the column {ours[number][0]}"
            return f"{found}, whose value is its partition's"
    return ""


def _columns(
    fields: Iterable[NestedField], above: str = ""
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield of all fields, also inside of others, the id, the path and the type."""
    for field in fields:
        kind, name = field.field_type, above + field.name
        inner = [getattr(kind, it, None) for it in ("key_field", "value_field", "element_field")]
        below = [*getattr(kind, "fields", ()), *filter(None, inner)]
        yield field.field_id, (name, type(kind).__name__ if below else str(kind))
        yield from _columns(below, f"{name}.")
