"""Iceberg tables, written by pyiceberg: the rows of its own scan in its order, or a refusal."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import shutil
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    IdentityTransform,
    Transform,
    TruncateTransform,
)
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, StringType

import engine
from engine.errors import DestinationInSource, NoSource, NotPlainFolder, SchemaMismatch
from engine.storage import iceberg
from tests.engine.running import state

STEPS = ["append", "append", "delete", "overwrite", "partition by id", "partition by place"]
TRANSFORMS: dict[str, tuple[str, Transform[Any, Any]]] = {
    "id": ("id", BucketTransform(3)),
    "place": ("place", IdentityTransform()),
    "day": ("day", DayTransform()),
    "text": ("text", TruncateTransform(1)),
}
KINDS = {
    "id": pa.int64(),
    "text": pa.string(),
    "place": pa.string(),
    "day": pa.timestamp("us"),
    "at": pa.timestamp("us", "UTC"),
    "price": pa.decimal128(9, 2),
    "key": pa.uuid(),
    "code": pa.binary(3),
    "lists": pa.list_(pa.int32()),
    "maps": pa.map_(pa.string(), pa.struct([("z", pa.float64())])),
}


def rows(first: int, number: int) -> pa.Table:
    day = datetime.datetime.fromisoformat("2024-02-29 23:00")
    values: list[dict[str, Any]] = [
        {
            "id": it,
            "text": None if it % 11 == 3 else f"{it % 4}-row",
            "place": ("a b/c=é", "x", None)[it % 3],
            "day": day + datetime.timedelta(hours=it % 5),
            "at": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
            "price": decimal.Decimal("1.10"),
            "key": uuid.UUID(int=it).bytes,
            "code": b"abc",
            "lists": [it, None],
            "maps": [("k", {"z": 0.5})],
        }
        for it in range(first, first + number)
    ]
    return pa.table({name: [it[name] for it in values] for name in KINDS}, pa.schema(KINDS))


def create(folder: Path, schema: pa.Schema | None = None, **properties: str) -> Table:
    """Create a table in a catalog of its own."""
    schema = schema or pa.schema(KINDS)
    folder.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/w")
    catalog.create_namespace("db")
    return catalog.create_table("db.t", schema=schema, properties=properties)


def root_of(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"))


def metadata_of(table: Table) -> Path:
    return Path(table.metadata_location.removeprefix("file://"))


def partition(table: Table, name: str) -> None:
    with table.update_spec() as update:
        for field in table.spec().fields:
            update.remove_field(field.name)
    with table.update_spec() as update:
        update.add_field(*TRANSFORMS[name])


@given(
    st.lists(st.sampled_from(STEPS), max_size=6),
    st.sampled_from([None, *TRANSFORMS]),
    st.sampled_from(["1", "2"]),
)
@settings(max_examples=20, deadline=None)
def test_the_live_rows_alone_are_split(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[str],
    partitioned: str | None,
    version: str,
) -> None:
    base = tmp_path_factory.mktemp("lake")
    table = create(base, **{"format-version": version})
    if partitioned:
        partition(table, partitioned)
    table.append(rows(0, 40))
    for number, step in enumerate(steps, 1):
        if step.startswith("partition by "):
            partition(table, step.removeprefix("partition by "))
        elif step == "delete":
            table.delete(f"id >= {number} and id < {number * 7}")
        else:
            getattr(table, step)(rows(number * 100, 30))
    before = state(root_of(table))
    out = base / "out"
    done = engine.split(root_of(table), out, rows_per_part=25, verify=True)
    assert state(root_of(table)) == before
    expected = table.scan().to_arrow()
    assert done.manifest.num_rows == len(expected)
    parts = [out / part.name for part in done.manifest.parts]
    assert {part.parent for part in parts} == {out}  # no folders of partitions
    found = pa.concat_tables([pq.read_table(part, partitioning=None) for part in parts])
    assert found.column_names == expected.column_names
    assert found.to_pylist() == expected.to_pylist()


def test_the_plan_says_what_it_is(tmp_path: Path) -> None:
    table = create(tmp_path)
    table.append(rows(0, 40))
    table.overwrite(rows(0, 9))
    (note,) = engine.plan(root_of(table), parts=1).source_notes
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert f"Iceberg table at snapshot {snapshot.snapshot_id} (00002-" in note
    assert "1 removed from the table" in note
    assert "of the table's metadata" in note
    (name,) = [it.file.file_path.rpartition("/")[2] for it in table.scan().plan_files()]
    with pytest.raises(NoSource, match=r"none of its files is taken .*left out by"):
        engine.plan(root_of(table), parts=1, exclude=[name])


def test_a_table_without_rows(tmp_path: Path) -> None:
    table = create(tmp_path)
    with pytest.raises(NoSource, match="an Iceberg table without a snapshot"):
        engine.plan(root_of(table), parts=1)
    table.append(rows(0, 4))
    table.delete("true")
    with pytest.raises(NoSource, match=r"an Iceberg table at snapshot .*1 removed from the table"):
        engine.plan(root_of(table), parts=1)


def test_a_metadata_file_says_which_state_is_meant(tmp_path: Path) -> None:
    table = create(tmp_path)
    states = []
    for number in (4, 7):
        table.overwrite(rows(0, number))
        states.append((metadata_of(table), number))
    for path, number in states:
        done = engine.split(path, tmp_path / str(number), parts=1)
        assert done.manifest.num_rows == number
    assert engine.plan(root_of(table), parts=1).num_rows == 7
    with pytest.raises(DestinationInSource):
        engine.split(states[0][0], root_of(table) / "parts", parts=1)
    with pytest.raises(NoSource, match="no metadata file v9"):
        engine.plan(states[0][0].with_name("v9.metadata.json"), parts=1)
    with pytest.raises(NoSource, match="no metadata file v1"):
        engine.plan(tmp_path / "w" / "metadata" / "v1.metadata.json", parts=1)


@pytest.mark.parametrize("way", ["copied", "moved", "a b#%c?[d]", "year=2024"])
def test_a_table_is_read_where_it_is(tmp_path: Path, way: str) -> None:
    table = create(tmp_path / "old")
    partition(table, "place")
    table.append(rows(0, 9))
    expected = table.scan().to_arrow()["id"].to_pylist()
    there = tmp_path / "new" / way
    shutil.copytree(root_of(table), there)
    if way == "moved":
        shutil.rmtree(root_of(table))
    else:
        table.overwrite(rows(0, 3))  # of which the copy knows nothing
    done = engine.split(there, tmp_path / "out", parts=1)
    (part,) = done.manifest.parts
    assert pq.read_table(tmp_path / "out" / part.name)["id"].to_pylist() == expected


def test_a_table_in_a_store(tmp_path: Path) -> None:
    table = create(tmp_path)
    table.append(rows(0, 9))
    table.append(rows(9, 9))
    memory = fsspec.filesystem("memory")
    memory.put(str(root_of(table)), "/lake/t", recursive=True)
    try:
        assert engine.plan("memory://lake/t", parts=1).num_rows == 18
    finally:
        memory.rm("/lake", recursive=True)


def without_catalog(table: Table, compressed: str = "") -> Path:
    """Name the metadata files as tables of no catalog have them; return their folder."""
    folder = metadata_of(table).parent
    for path in folder.glob("*.metadata.json"):
        data = path.read_bytes()
        path.unlink()
        name = f"v{int(path.name[:5])}{compressed.format('.metadata.json') or '.metadata.json'}"
        (folder / name).write_bytes(gzip.compress(data) if compressed else data)
    return folder


@pytest.mark.parametrize("compressed", ["", ".gz{}", "{}.gz"])
def test_a_table_without_a_catalog(tmp_path: Path, compressed: str) -> None:
    table = create(tmp_path)
    table.append(rows(0, 9))
    table.append(rows(9, 9))
    folder = without_catalog(table, compressed)
    for hint in (None, "2", "1\n"):  # the last was committed, and not hinted at before a crash
        if hint is not None:
            (folder / "version-hint.text").write_text(hint)
        assert engine.plan(root_of(table), parts=1).num_rows == 18
    again = folder / f"v2{'.metadata.json' if compressed else '.gz.metadata.json'}"
    shutil.copy(next(folder.glob("v2.*")), again)
    with pytest.raises(NotPlainFolder, match="only its catalog knows"):
        engine.plan(root_of(table), parts=1)
    again.unlink()
    (gap,) = folder.glob("v1.*")
    gap.unlink()
    (folder / "version-hint.text").write_text("0")
    with pytest.raises(NoSource, match="without a snapshot"):
        engine.plan(root_of(table), parts=1)
    for hint in ("3", "", "2 x", "1" * 5000):
        (folder / "version-hint.text").write_text(hint)
        with pytest.raises(NotPlainFolder, match=r"version-hint.text names no metadata file"):
            engine.plan(root_of(table), parts=1)


def test_metadata_that_may_not_be_committed(tmp_path: Path) -> None:
    table = create(tmp_path)
    table.append(rows(0, 9))
    newest = metadata_of(table)
    left = newest.with_name(
        "12345678-1234-4321-8765-0123456789ab.metadata.json"
    )  # by a commit that was not renamed
    shutil.copy(newest, left)
    assert engine.plan(root_of(table), parts=1).num_rows == 9
    other = newest.with_name(f"00001-{uuid.uuid4()}.metadata.json")
    shutil.copy(newest, other)
    with pytest.raises(NotPlainFolder, match=r"only its catalog knows .*name the metadata file"):
        engine.plan(root_of(table), parts=1)
    assert engine.plan(newest, parts=1).num_rows == 9
    shutil.move(other, newest.with_name("v7.metadata.json"))
    with pytest.raises(NotPlainFolder, match="of a catalog and of none"):
        engine.plan(root_of(table), parts=1)
    for path in (newest, *newest.parent.glob("0*.json"), newest.with_name("v7.metadata.json")):
        path.unlink(missing_ok=True)
    with pytest.raises(NotPlainFolder, match="none has a version"):
        engine.plan(root_of(table), parts=1)


@pytest.mark.parametrize("place", ["metadata", "metadata/*.json", "*/*.metadata.json"])
def test_metadata_is_no_data(tmp_path: Path, place: str) -> None:
    """Its JSON would be taken for NDJSON."""
    table = create(tmp_path)
    table.append(rows(0, 9))
    with pytest.raises(NotPlainFolder, match=r"is an Iceberg table.*: name its own folder"):
        engine.plan(f"{root_of(table)}/{place}", parts=1)
    odd = tmp_path / "what?"
    shutil.copytree(root_of(table), odd)
    with pytest.raises(NotPlainFolder, match=r"is an Iceberg table.*: name its own folder"):
        engine.plan(odd / "metadata" / metadata_of(table).name, parts=1)
    log = tmp_path / "lake" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text('{"protocol": {}}\n')
    with pytest.raises(NotPlainFolder, match="is a Delta table"):
        engine.plan(log, parts=1)


def test_metadata_that_inflates_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = create(tmp_path)
    table.append(rows(0, 9))
    newest = metadata_of(table)
    newest.write_bytes(gzip.compress(newest.read_bytes()))
    assert engine.plan(root_of(table), parts=1).num_rows == 9
    monkeypatch.setattr(iceberg, "_MOST_METADATA_BYTES", 1000)
    with pytest.raises(NotPlainFolder, match="it takes more than 1,000 bytes"):
        engine.plan(root_of(table), parts=1)


class _WriterOfDeletes(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES


def rewrite(table: Table, change: Callable[[list[ManifestEntry]], list[ManifestEntry]]) -> None:
    """Have the current snapshot list other files, as another writer would have written it."""
    snapshot = table.current_snapshot()
    assert snapshot is not None
    entries = [
        entry
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
    ]
    entries = change(entries)
    manifests = []
    for writer_kind in (ManifestWriterV2, _WriterOfDeletes):
        is_of_data = writer_kind is ManifestWriterV2
        wanted = [it for it in entries if (it.data_file.content == 0) == is_of_data]
        if not wanted:
            continue
        place = table.io.new_output(f"{table.location()}/metadata/{uuid.uuid4()}.avro")
        writer = writer_kind(table.spec(), table.schema(), place, snapshot.snapshot_id, "null")
        with writer:
            for entry in wanted:
                entry.status = ManifestEntryStatus.EXISTING
                writer.add_entry(entry)
        manifests.append(writer.to_manifest_file())
    place = table.io.new_output(f"{table.location()}/metadata/snap-{uuid.uuid4()}.avro")
    with write_manifest_list(2, place, snapshot.snapshot_id, None, 9, "null") as lists:
        lists.add_manifests(manifests)

    def with_list(metadata: dict[str, Any]) -> None:
        for it in metadata["snapshots"]:
            if it["snapshot-id"] == snapshot.snapshot_id:
                it["manifest-list"] = place.location

    change_metadata(table, with_list)


def change_metadata(table: Table, change: Callable[[dict[str, Any]], None]) -> None:
    path = metadata_of(table)
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def deletes(content: DataFileContent, kind: FileFormat, sequence_number: int) -> ManifestEntry:
    file = DataFile.from_args(
        content=content,
        file_path="file:///w/deletes",
        file_format=kind,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=1,
        equality_ids=[1] if content == DataFileContent.EQUALITY_DELETES else None,
    )
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=1,
        sequence_number=sequence_number,
        file_sequence_number=sequence_number,
        data_file=file,
    )


def with_deletes(content: DataFileContent, kind: FileFormat) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        older = deletes(content, kind, 0)
        rewrite(table, lambda entries: [*entries, older])  # all data was written after it
        assert engine.plan(root_of(table), parts=1).num_rows == 40
        rewrite(table, lambda entries: [*entries, deletes(content, kind, 1)])
        if kind == FileFormat.PUFFIN:
            change_metadata(table, lambda it: it.update({"format-version": 3, "next-row-id": 40}))

    return change


def with_file(**fields: Any) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        def changed(entries: list[ManifestEntry]) -> list[ManifestEntry]:
            (entry,) = entries
            at = {"file_path": 1, "file_format": 2}
            for name, value in fields.items():
                entry.data_file[at[name]] = value
            return entries

        rewrite(table, changed)

    return change


def with_schema(change: Callable[[Any], object]) -> Callable[[Table], None]:
    def changed(table: Table) -> None:
        with table.update_schema(allow_incompatible_changes=True) as update:
            change(update)

    return changed


def with_column_again(table: Table) -> None:
    """The column "text" of the files is another, which was dropped."""
    with_schema(lambda it: it.delete_column("text"))(table)
    with_schema(lambda it: it.add_column("text", StringType()))(table)
    with_schema(lambda it: it.move_after("text", "id"))(table)


def cut_off(pattern: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        for path in metadata_of(table).parent.glob(pattern):
            path.write_bytes(path.read_bytes()[:-20])

    return change


def without(pattern: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        for path in root_of(table).glob(pattern):
            path.unlink()

    return change


def without_ids(table: Table) -> None:
    """Its file is one that another program wrote, and the table has no names of columns for ids."""
    (path,) = root_of(table).glob("data/*.parquet")
    pq.write_table(rows(0, 40), path)


REFUSED: list[tuple[Callable[[Table], object], str]] = [
    (with_deletes(DataFileContent.POSITION_DELETES, FileFormat.PARQUET), "it has position deletes"),
    (with_deletes(DataFileContent.EQUALITY_DELETES, FileFormat.PARQUET), "it has equality deletes"),
    (with_deletes(DataFileContent.POSITION_DELETES, FileFormat.PUFFIN), "it has deletion vectors"),
    (with_file(file_format=FileFormat.ORC), "is ORC, not Parquet"),
    (with_file(file_format=FileFormat.AVRO), "is AVRO, not Parquet"),
    (with_file(file_path="s3://bucket/t/data/x.parquet"), "lies elsewhere than below file://"),
    (with_file(file_path="file:///w/db/t/data/x.parquet"), "lies elsewhere than below file://"),
    (lambda table: rewrite(table, lambda it: it * 2), "is live twice"),
    (
        lambda table: change_metadata(table, lambda it: it.update({"format-version": 4})),
        "Unknown format version: 4",
    ),
    (
        lambda table: change_metadata(table, lambda it: it.update(snapshots=[])),
        "snapshot",
    ),
    (with_schema(lambda it: it.add_column("late", LongType())), "lack the column late"),
    (
        with_schema(lambda it: it.add_column(("maps", "value", "late"), LongType())),
        "lack the column maps.value.late",
    ),
    (
        with_schema(lambda it: it.delete_column("text")),
        "have the column text, which it dropped",
    ),
    (with_schema(lambda it: it.rename_column("text", "words")), "column words, field 2, is text"),
    (with_schema(lambda it: it.move_first("text")), "its columns in another order"),
    (
        with_schema(lambda it: it.update_column("lists.element", LongType())),
        "its column lists.element is long, and int in its data files",
    ),
    (with_column_again, "lack the column text, field"),
    (without_ids, "cannot be told"),
    (cut_off("snap-*.avro"), "it was cut off"),
    (cut_off("*-m0.avro"), "it was cut off"),
    (cut_off("*.metadata.json"), "pyiceberg cannot read its metadata (00001-"),
    (without("metadata/*-m0.avro"), "-m0.avro is missing"),
    (without("data/*.parquet"), "parquet is missing, hidden"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_what_is_more_than_its_data_files(
    tmp_path: Path, change: Callable[[Table], object], words: str
) -> None:
    table = create(tmp_path)
    table.append(rows(0, 40))
    assert engine.plan(root_of(table), parts=1).num_rows == 40
    change(table)
    before = state(root_of(table))
    with pytest.raises(NotPlainFolder) as refused:
        engine.split(root_of(table), tmp_path / "out", parts=2)
    text = str(refused.value)
    assert text.startswith(f"{root_of(table)} is an Iceberg table")
    assert words in text
    assert text.isprintable()
    assert not (tmp_path / "out").exists()
    assert state(root_of(table)) == before


@pytest.mark.parametrize("change", [with_column_again, with_schema(lambda it: it.move_first("at"))])
def test_files_of_several_schemas(tmp_path: Path, change: Callable[[Table], object]) -> None:
    table = create(tmp_path)
    table.append(rows(0, 40))
    change(table)
    table.append(rows(40, 4).select([it.name for it in table.schema().fields]))
    with pytest.raises((SchemaMismatch, NotPlainFolder)):
        engine.plan(root_of(table), parts=1)


CHANGES: dict[str, Callable[[Any], object]] = {
    "add": lambda it: it.add_column("late", StringType()),
    "drop": lambda it: it.delete_column("b"),
    "again": lambda it: it.add_column("b", StringType()),
    "rename": lambda it: it.rename_column("a", "old"),
    "swap": lambda it: it.rename_column("b", "a"),
    "back": lambda it: it.rename_column("old", "b"),
    "first": lambda it: it.move_first("b"),
    "wide": lambda it: it.update_column("n", LongType()),
}


@given(steps=st.lists(st.sampled_from([*CHANGES, "rows"]), min_size=1, max_size=6))
@example(steps=["rename", "swap", "back", "rows"])  # each of two columns has the other's name
@example(steps=["drop", "again", "rows"])
@example(steps=["drop", "rows"])
@example(steps=["add", "rows"])
@settings(max_examples=20, deadline=None)
def test_schemas_that_change_are_read_right_or_refused(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    kinds = {"n": pa.int32(), "a": pa.string(), "b": pa.string()}
    table = create(folder, pa.schema(kinds))
    for number, step in enumerate(["rows", *steps]):
        if step == "rows":
            schema = table.schema().as_arrow()
            values = [[number] if it.name == "n" else [f"{number}{it.name}"] for it in schema]
            table.append(pa.table(values, schema=schema))
        else:
            with suppress(ValueError):  # no such column, or there is one
                with_schema(CHANGES[step])(table)
    try:
        done = engine.split(root_of(table), folder / "out", parts=1, schema="relaxed", fsync=False)
    except (NotPlainFolder, SchemaMismatch):
        return
    found = pq.read_table(folder / "out" / done.manifest.parts[0].name)
    assert found.to_pylist() == table.scan().to_arrow().to_pylist()


def test_files_that_another_program_wrote(tmp_path: Path) -> None:
    """Their columns are told by name; those in names of folders alone are not theirs."""
    table = create(tmp_path, rows(0, 0).select(["id", "place"]).schema)
    inside = root_of(table) / "data" / "place=x"
    inside.mkdir(parents=True)
    ids = pa.table({"id": pa.array([1, 2], pa.int64())})
    pq.write_table(ids.append_column("place", pa.array(["x", "x"])), inside / "both.parquet")
    table.add_files([f"file://{inside}/both.parquet"])
    done = engine.split(root_of(table), tmp_path / "out", parts=1)
    assert pq.read_table(tmp_path / "out" / done.manifest.parts[0].name).to_pylist() == (
        table.scan().to_arrow().to_pylist()
    )
    pq.write_table(ids, inside / "both.parquet")
    with pytest.raises(NotPlainFolder, match="lack the column place"):
        engine.plan(root_of(table), parts=1)


def test_a_data_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    table = create(tmp_path, pa.schema({"id": pa.int64()}))
    table.append(pa.table({"id": range(1000)}))
    (file,) = (root_of(table) / "data").rglob("*.parquet")
    pq.write_table(pq.read_table(file).slice(0, 10), file)
    with pytest.raises(NotPlainFolder, match=r"bytes where the table says"):
        engine.plan(root_of(table), parts=1)


@pytest.mark.parametrize("place", ["x", None])
@pytest.mark.parametrize("has_changed", [False, True])
@pytest.mark.parametrize("has_counts", [False, True])
def test_a_column_that_only_a_partition_has_is_no_null(
    tmp_path: Path, has_changed: bool, has_counts: bool, place: str | None
) -> None:
    """So lie files that Spark's add_files took from hive folders, beside others."""
    kinds = pa.schema({"id": pa.int64(), "place": pa.string()})
    table = create(tmp_path, kinds)
    partition(table, "place")
    table.append(pa.table({"id": [2], "place": [place]}, schema=kinds))
    table.append(pa.table({"id": [1], "place": ["y"]}, schema=kinds))
    folder = root_of(table) / "data" / f"place={'null' if place is None else place}"
    (file,) = folder.glob("*.parquet")
    pq.write_table(pq.ParquetFile(file).read().select(["id"]), file)
    if has_changed:
        with_schema(lambda it: it.add_column("late", StringType()))(table)
        with_schema(lambda it: it.delete_column("late"))(table)

    def without_counts(entries: list[ManifestEntry]) -> list[ManifestEntry]:
        for entry in entries:
            for at in (6, 7, 8, 9, 10, 11):  # sizes, counts, bounds
                counts = dict(entry.data_file._data[at] or {})
                if entry.data_file.partition[0] != "y":
                    entry.data_file._data[5] = file.stat().st_size
                    counts.pop(table.schema().find_field("place").field_id, None)
                entry.data_file._data[at] = counts if has_counts else None
        return entries

    rewrite(table, without_counts)
    how: dict[str, Any] = {"parts": 1, "schema": "relaxed", "fsync": False}
    if place is not None:
        with pytest.raises(NotPlainFolder, match="lacks the column place, whose value is its part"):
            engine.split(root_of(table), tmp_path / "out", **how)
        return
    engine.split(root_of(table), tmp_path / "out", **how)
    found = pq.read_table(tmp_path / "out" / "part-00000.parquet").sort_by("id").to_pylist()
    assert found == table.scan().to_arrow().sort_by("id").to_pylist()


def test_names_of_columns_that_a_table_maps(tmp_path: Path) -> None:
    """A renamed column has its old name in such files, and in the mapping as well."""
    table = create(tmp_path, pa.schema({"id": pa.int64()}))
    path = root_of(table) / "data" / "x.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": pa.array([1, 2], pa.int64())}), path)
    table.add_files([f"file://{path}"])
    with_schema(lambda it: it.rename_column("id", "number"))(table)
    with pytest.raises(NotPlainFolder, match="column number, field 1, is id in its data files"):
        engine.plan(root_of(table), parts=1)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = create(tmp_path)
    table.append(rows(0, 4))
    monkeypatch.setitem(sys.modules, "pyiceberg.io.pyarrow", None)
    with pytest.raises(NotPlainFolder, match=r"pip install 'evensplit\[iceberg\]'"):
        engine.plan(root_of(table), parts=1)


def test_a_table_is_taken_as_a_whole(tmp_path: Path) -> None:
    """Folders in it, globs in it, and folders around it are refused: its metadata is not asked."""
    table = create(tmp_path)
    partition(table, "place")
    table.append(rows(0, 9))
    for asked in (tmp_path / "w", root_of(table) / "data" / "place=x", root_of(table) / "data/*/*"):
        with pytest.raises(NotPlainFolder, match=r"t is an Iceberg table, and .* own folder"):
            engine.plan(asked, parts=1)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("file:///lake/t/data/x", "data/x"),
        ("file:/lake/t/data/x", "data/x"),
        ("/lake/t//data/x", "data/x"),
        ("/lake/t/data/../../x", None),
        ("/lake/tt/x", None),
        ("/other/lake/t/x", None),
        ("lake/t/x", None),
        ("s3://lake/t/x", None),
    ],
)
def test_where_a_location_is(location: str, name: str | None) -> None:
    assert iceberg.name_below(location, ("file:/lake/t/", "/elsewhere")) == name
