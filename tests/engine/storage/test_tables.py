"""Delta tables, written by deltalake: the live files only, or a refusal that names what it is."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import shutil
import string
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType
from hypothesis import example, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadSetting, NoSource, NotPlainFolder
from tests.engine.running import state

STEPS = ["append", "append", "delete", "overwrite", "optimize", "checkpoint"]


def rows(first: int, number: int) -> pa.Table:
    ids = list(range(first, first + number))
    return pa.table(
        {
            "id": ids,
            "text": [f"row {it}" for it in ids],
            "kind": [it % 3 for it in ids],
            "place": [("a b/c=é", "x", None)[it % 5 % 3] for it in ids],
        }
    )


def make(root: Path, steps: list[str], partitioned: list[str]) -> pa.Table:
    """Write a table step by step, never vacuumed; return its rows as deltalake reads them."""
    write_deltalake(root, rows(0, 40), partition_by=partitioned)
    for number, step in enumerate(steps, 1):
        table = DeltaTable(root)
        if step == "delete":
            table.delete(f"id % 7 = {number % 7} and id > 5")
        elif step == "optimize":
            table.optimize.compact()
        elif step == "checkpoint":
            table.create_checkpoint()
        else:
            mode: Any = step
            write_deltalake(root, rows(number * 100, 30), mode=mode, partition_by=partitioned)
    return DeltaTable(root).to_pyarrow_table()


@given(
    st.lists(st.sampled_from(STEPS), max_size=5), st.sampled_from([[], ["kind"], ["place", "kind"]])
)
@settings(max_examples=15, deadline=None)
def test_the_live_rows_alone_are_split(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], partitioned: list[str]
) -> None:
    root = tmp_path_factory.mktemp("lake") / "table"
    expected = make(root, steps, partitioned)
    before = state(root)
    out = root.parent / "out"
    done = engine.split(root, out, rows_per_part=25, verify=True)
    assert state(root) == before
    assert done.manifest.num_rows == len(expected)
    flavour = ds.partitioning(
        pa.schema([expected.schema.field(name) for name in partitioned]), flavor="hive"
    )
    parts = [str(out / part.name) for part in done.manifest.parts]
    base = str(out)
    found = ds.dataset(parts, partitioning=flavour, partition_base_dir=base).to_table()
    found = found.select(expected.column_names)
    if partitioned:  # those of one partition are put together
        found, expected = found.sort_by("id"), expected.sort_by("id")
    assert found.to_pylist() == expected.to_pylist()
    live = [path.removeprefix(f"{root}/") for path in DeltaTable(root).file_uris()]
    assert sorted(file.path for file in engine.plan(root, parts=1).sources) == sorted(
        f"{root}/{name}" for name in live
    )


def test_the_plan_says_what_it_is(tmp_path: Path) -> None:
    make(tmp_path / "t", ["delete", "append"], ["kind"])
    (note,) = engine.plan(tmp_path / "t", parts=1).source_notes
    assert "Delta table at version 2, hive-partitioned by kind" in note
    assert "3 removed from the table" in note
    plan = engine.plan(tmp_path / "t", parts=1, exclude=["kind=1/**"])
    assert {file.partition for file in plan.sources} == {"kind=0", "kind=2"}
    assert "left out by --include or --exclude" in plan.source_notes[0]


def test_nothing_is_left(tmp_path: Path) -> None:
    make(tmp_path / "t", [], [])
    DeltaTable(tmp_path / "t").delete()
    with pytest.raises(NoSource, match="1 removed from the table"):
        engine.plan(tmp_path / "t", parts=1)


UTC = datetime.UTC
VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int": [-5, None],
    "float": [1.5, 1e20],
    "nan": [float("nan"), -0.5],
    "text": ["a%20b c=d/é", "2024"],
    "date": [datetime.date(2024, 2, 29), None],
    "decimal": [decimal.Decimal("1.10"), decimal.Decimal("-2.00")],
    "time": [datetime.datetime(2024, 1, 1, 2, 3, 4, it, UTC) for it in (0, 5_000)],
    "local": [datetime.datetime.fromisoformat("2024-01-01 02:03:04"), None],
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_partitions(tmp_path: Path, kind: str) -> None:
    write_deltalake(tmp_path / "t", pa.table({"id": [1, 2], "p": VALUES[kind]}), partition_by=["p"])
    plan = engine.plan(tmp_path / "t", parts=1)
    folders = {str(path.parent.name) for path in (tmp_path / "t").glob("p=*/*")}
    assert {file.partition for file in plan.sources} == folders
    assert len(folders) == 2


def change_log(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each action of the newest version, as another writer would have written it."""
    log = max((root / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        change(action)
    log.write_text("\n".join(map(json.dumps, actions)))


def change_add(root: Path, **fields: Any) -> None:
    change_log(root, lambda action: action.get("add", {}).update(fields))


def with_feature(name: str) -> Callable[[dict[str, Any]], None]:
    def change(action: dict[str, Any]) -> None:
        if "protocol" in action:
            features = {"readerFeatures": [name], "writerFeatures": [name]}
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}

    return change


def test_files_of_spark_lie_where_the_log_says(tmp_path: Path) -> None:
    """Spark leaves spaces in names of folders; the log escapes what names escape already."""
    root = tmp_path / "t"
    write_deltalake(root, pa.table({"id": [1, 2], "p": ["a b/c"] * 2}), partition_by=["p"])
    (file,) = root.glob("p=*/*.parquet")
    file.parent.rename(root / "p=a b%2Fc")
    change_add(root, path=f"p=a%20b%252Fc/{file.name}")
    assert DeltaTable(root).to_pyarrow_table()["p"].to_pylist() == ["a b/c"] * 2
    assert engine.plan(root, parts=1).sources[0].partition == "p=a b%2Fc"


@pytest.mark.parametrize("name", ["a b", "a%20b", "a#b?c=d", "é", "year=2024", "[x]", "data"])
def test_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    write_deltalake(tmp_path / "plain", rows(0, 9))
    write_deltalake(tmp_path / "plain", rows(9, 4), mode="overwrite")
    (tmp_path / "plain").rename(tmp_path / name)
    if "%" in name:  # deltalake asks for files of the folder "a b"
        (tmp_path / "link").symlink_to(tmp_path / name)
        for it in (name, "link"):
            with pytest.raises(NotPlainFolder, match="misreads the % in its path"):
                engine.plan(tmp_path / it, parts=1)
    else:
        assert engine.plan(tmp_path / name, parts=1).num_rows == 4


def test_folders_of_before_there_was_a_log(tmp_path: Path) -> None:
    root = tmp_path / "t"
    write_deltalake(root, pa.table({"id": [1, 2], "month": [1, 1]}), partition_by=["month"])
    (file,) = root.glob("month=1/*.parquet")
    file.parent.rename(root / "month=01")
    change_add(root, path=f"month=01/{file.name}")
    assert engine.plan(root, parts=1).sources[0].partition == "month=01"


def deletion_vector(removed: list[int]) -> dict[str, Any]:
    """Return an inline vector: a bitmap of positions, in the layout that the protocol gives it."""
    head = struct.pack("<IQI", 1_681_511_377, 1, 0)  # magic; one bitmap, of the key 0
    bitmap = struct.pack("<IIHHI", 12_346, 1, 0, len(removed) - 1, 16)
    data = head + bitmap + struct.pack(f"<{len(removed)}H", *removed)
    digits = f"{string.digits}{string.ascii_uppercase}{string.ascii_lowercase}"
    theirs = str.maketrans(
        digits + "!#$%&()*+-;<=>?@^_`{|}~",
        string.digits
        + string.ascii_lowercase
        + string.ascii_uppercase
        + ".-:+=^!/*?&<>()[]{}@%$#",  # Z85
    )
    text = base64.b85encode(data).decode().translate(theirs)
    size = {"sizeInBytes": len(data), "cardinality": len(removed)}
    return {"storageType": "i", "pathOrInlineDv": text, **size}


def with_deletion_vector(root: Path) -> None:
    change_log(root, with_feature("deletionVectors"))
    assert engine.plan(root, parts=1).num_rows == 40  # that there may be some is not enough
    change_add(root, deletionVector=deletion_vector([3, 4, 7, 11, 18, 29]))
    (mask,) = pa.table(DeltaTable(root).deletion_vectors())["selection_vector"].to_pylist()
    assert mask.count(False) == 6


def with_column_mapping(root: Path) -> None:
    def change(action: dict[str, Any]) -> None:
        if "metaData" in action:
            data = action["metaData"]
            data["configuration"] = {"delta.columnMapping.mode": "name"}
            schema = json.loads(data["schemaString"])
            for number, field in enumerate(schema["fields"], 1):
                field["metadata"] = {
                    "delta.columnMapping.id": number,
                    "delta.columnMapping.physicalName": f"col-{number}",
                }
            data["schemaString"] = json.dumps(schema)

    change_log(root, with_feature("columnMapping"))
    change_log(root, change)


def with_added_column(root: Path) -> None:
    DeltaTable(root).alter.add_columns([Field("late", PrimitiveType("long"))])


def with_file_elsewhere(root: Path) -> None:
    (file,) = root.glob("*.parquet")
    other = root.parent / file.name
    shutil.move(file, other)
    change_add(root, path=f"file://{other}")


def with_other_value(root: Path) -> None:
    shutil.rmtree(root)
    write_deltalake(root, pa.table({"id": [1], "p": ["x"]}), partition_by=["p"])
    change_add(root, partitionValues={"p": "y"})


def without_file(root: Path) -> None:
    (file,) = root.glob("*.parquet")
    file.unlink()


def with_replaced_file(root: Path) -> None:
    (file,) = root.glob("*.parquet")
    pq.write_table(pq.read_table(file).slice(0, 3), file)


def with_damaged_log(root: Path) -> None:
    (root / "_delta_log" / "00000000000000000000.json").write_text('{"add": {')


def with_gap_in_log(root: Path) -> None:
    write_deltalake(root, rows(40, 1), mode="append")
    write_deltalake(root, rows(41, 1), mode="append")
    (root / "_delta_log" / "00000000000000000001.json").unlink()


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (with_deletion_vector, "it has deletion vectors"),
    (with_column_mapping, "it has column mapping"),
    (lambda root: change_log(root, with_feature("unheardOf")), "'unheardOf' is not supported"),
    (lambda root: change_log(root, with_feature("typeWidening")), "must know its typeWidening"),
    (with_added_column, "its live files lack the column late"),
    (with_file_elsewhere, "lies elsewhere"),
    (with_other_value, "does not lie in folders of its partition as the log has it: p=y"),
    (without_file, "parquet is missing, hidden"),
    (with_replaced_file, "bytes where the table says"),
    (with_damaged_log, "deltalake cannot read its log"),
    (with_gap_in_log, "deltalake cannot read its log"),
    (lambda root: (root / "_delta_log" / "x").write_text(""), ""),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_what_is_more_than_its_live_files(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    root = tmp_path / "t"
    write_deltalake(root, rows(0, 40))
    change(root)
    before = state(root)
    if words:
        with pytest.raises(NotPlainFolder) as refused:
            engine.split(root, tmp_path / "out", parts=2)
        text = str(refused.value)
        assert text.startswith(f"{root} is a Delta table")
        assert words in text
        assert text.isprintable()
        assert len(text) < 600 + len(str(root))
        assert not (tmp_path / "out").exists()
    else:  # what the log does not name changes nothing
        assert engine.split(root, tmp_path / "out", parts=2, verify=True).manifest.num_rows == 40
    assert state(root) == before


def test_columns_inside_of_columns_that_files_lack(tmp_path: Path) -> None:
    inner = pa.struct([("a", pa.int64())])
    kinds = {"s": inner, "l": pa.list_(inner), "m": pa.map_(pa.string(), inner)}
    values: dict[str, Any] = {"s": {"a": 1}, "l": [{"a": 1}], "m": [("k", {"a": 1})]}
    table = pa.table({name: pa.array([values[name]], kind) for name, kind in kinds.items()})
    write_deltalake(tmp_path / "t", table)
    assert engine.plan(tmp_path / "t", parts=1).num_rows == 1
    for at in range(len(kinds)):

        def change(action: dict[str, Any], at: int = at) -> None:
            if "metaData" in action:
                schema = json.loads(action["metaData"]["schemaString"])
                kind = schema["fields"][at]["type"]
                kind = kind.get("elementType", kind.get("valueType", kind))
                late = {"name": "late", "type": "long", "nullable": True, "metadata": {}}
                kind["fields"].append(late)
                action["metaData"]["schemaString"] = json.dumps(schema)

        root = tmp_path / f"t{at}"
        shutil.copytree(tmp_path / "t", root)
        change_log(root, change)
        with pytest.raises(NotPlainFolder, match=r"lack the column .*late"):
            engine.plan(root, parts=1)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deltalake(tmp_path / "t", rows(0, 4))
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(NotPlainFolder, match=r"pip install 'evensplit\[delta\]'"):
        engine.plan(tmp_path / "t", parts=1)


def test_a_table_is_taken_as_a_whole(tmp_path: Path) -> None:
    """Its partitions, globs in it, and folders around it are refused: its log is not asked."""
    make(tmp_path / "lake" / "t", ["delete"], ["kind"])
    pq.write_table(rows(0, 4), tmp_path / "lake" / "x.parquet")
    for asked in ("lake", "lake/t/kind=1", "lake/t/*/*.parquet"):
        with pytest.raises(NotPlainFolder, match=r"lake/t is a Delta table, and .* own folder"):
            engine.plan(tmp_path / asked, parts=1)


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from([pa.int16(), pa.int32(), pa.int64(), pa.date32(), pa.string()]),
    numbers=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
)
@example(kind=pa.string(), numbers=[7])
@example(kind=pa.int64(), numbers=[7])
def test_values_of_folders_have_the_types_of_the_log(
    kind: pa.DataType, numbers: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    values = pa.array([*numbers, None], pa.int32()).cast(kind)
    table = pa.table({"id": range(len(values)), "key": values})
    write_deltalake(folder / "t", table, partition_by=["key"])
    engine.split(folder / "t", folder / "out", flatten=True, parts=1, fsync=False)
    engine.verify(folder / "out")
    found = pq.read_table(folder / "out" / "part-00000.parquet").sort_by("id")
    wanted = pa.int32() if kind == pa.int16() else kind
    assert found["key"].type == wanted
    assert found["key"].combine_chunks().equals(values.cast(wanted))
    other = "date" if wanted == pa.string() else "varchar"
    with pytest.raises(BadSetting, match=r"says that key is .*the table's log that it is"):
        engine.plan(folder / "t", flatten=True, parts=1, partition_types=f"key {other}")
    # Beside other folders, texts say the types as ever.
    (folder / "plain" / "key=x").mkdir(parents=True)
    pq.write_table(table.select(["id"]), folder / "plain" / "key=x" / "x.parquet")
    plan = engine.plan([folder / "t", folder / "plain"], flatten=True, parts=1, schema="relaxed")
    assert "key varchar" in plan.source_notes[-1]
