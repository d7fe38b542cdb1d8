"""Hive folders: each partition is split by itself, its folders are kept, and all is one split."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.errors import Different, NotASplit, NotPlainFolder, OtherFiles, SchemaMismatch
from engine.formats.parquet import format as parquet_format
from engine.storage import open_storage
from tests.engine.running import make_table, run, write_source, write_trap
from tests.engine.storage.conftest import azurite, blobs, no_identity, s3, s3_server
from tests.stores import S3

__all__ = ["azurite", "blobs", "no_identity", "s3", "s3_server"]

TARGET = {"target_size": "60kB"}
ROWS = {
    ("2023", "01"): [3_000, 50],
    ("2023", "02"): [1],
    ("2024", "01"): [9_000],
    ("2024", "10 & more"): [200, 200, 200],
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    seed = 0
    for (year, month), sizes in ROWS.items():
        for number, size in enumerate(sizes):
            path = root / f"year={year}" / f"month={month}" / f"{number}.parquet"
            write_source(path, size, seed=(seed := seed + 1))
    return root


def read(place: Path) -> pa.Table:
    """All rows with the columns of folders, in the order of partitions and names."""
    return ds.dataset(str(place), partitioning="hive").to_table()


def folders(place: Path) -> set[str]:
    return {str(path.parent.relative_to(place)) for path in place.rglob("[!_]*.parquet")}


def test_partitions_are_split_each_by_itself_and_read_as_before(lake: Path, tmp_path: Path):
    done = engine.split(lake, tmp_path / "out", verify=True, **TARGET)
    assert done.verification is not None
    assert done.verification.num_rows == sum(map(sum, ROWS.values()))
    assert folders(tmp_path / "out") == folders(lake)
    assert read(tmp_path / "out") == read(lake)
    by_folder: dict[str, list[int]] = {}
    for part in done.manifest.parts:
        by_folder.setdefault(part.name.rpartition("/")[0], []).append(part.size_bytes)
        assert part.size_bytes <= 60_000
    sizes = by_folder["year=2024/month=01"]
    assert len(sizes) > 3
    assert (max(sizes) - min(sizes)) * len(sizes) / sum(sizes) <= 0.05
    assert len(by_folder["year=2023/month=02"]) == 1
    assert done.manifest.spread <= 0.05
    names = [part.name for part in done.manifest.parts]
    assert names[0] == "year=2023/month=01/part-00000.parquet"
    assert "year=2024/month=10 & more/part-00000.parquet" in names
    files = f"{tmp_path}/out/year=*/month=*/*.parquet"
    query = "select year, month, count(*) n, sum(id) s from read_parquet('{}') group by all"
    ours, theirs = (
        sorted(duckdb.sql(query.format(place)).fetchall())
        for place in (files, f"{lake}/*/*/*.parquet")
    )
    assert ours == theirs


def test_a_partition_smaller_than_the_target_is_copied(lake: Path, tmp_path: Path):
    plan = engine.plan(lake, target_size="10MB")
    assert [part.reencoded_bytes for part in plan.parts] == [0] * len(ROWS)
    assert len(plan.sources) == sum(map(len, ROWS.values()))
    assert plan.growth_bytes is not None
    assert plan.growth_bytes.source_bytes > 0


@pytest.mark.ways(2)
@pytest.mark.parametrize("kind", ["local", "memory", "azure", "s3"])
def test_a_split_goes_on_and_mends_itself_in_every_store(
    kind: str, lake: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    if kind == "s3":
        bucket: S3 = request.getfixturevalue("s3")
        dest = f"s3://{bucket.new_bucket()}/out"
    elif kind == "azure":
        dest = request.getfixturevalue("blobs") + "/out"
    else:
        dest = {"local": f"{tmp_path}/out", "memory": f"memory://{tmp_path.name}/out"}[kind]
    done = engine.split(lake, dest, **TARGET)
    again = engine.split(lake, dest, **TARGET)
    assert again.num_resumed == len(done.manifest.parts)
    store, folder = open_storage(dest)
    lost, damaged = done.manifest.parts[1].name, done.manifest.parts[-1].name
    store.remove(store.join(folder, *lost.split("/")))
    path = store.join(folder, *damaged.split("/"))
    data = store.get(path)
    assert data is not None
    middle = len(data) // 3
    store.put(path, data[:middle] + bytes(50) + data[middle + 50 :])
    with pytest.raises(Different, match=f"^{lost} is missing"):
        engine.verify(dest)
    proof = engine.verify(dest, repair=True)
    assert set(proof.repaired) == {lost, damaged}
    store.put(store.join(folder, "year=2023", "month=02", "x.parquet"), data)
    with pytest.raises(OtherFiles, match=r"year=2023/month=02/x\.parquet"):
        engine.verify(dest)


def test_other_parts_replace_those_of_partitions(lake: Path, tmp_path: Path):
    dest = tmp_path / "out"
    engine.split(lake, dest, **TARGET)
    left = dest / "year=2023" / "month=01" / ".part-00000.parquet.abcd1234.tmp"
    left.touch()  # of a run that died
    flat = write_source(tmp_path / "s.parquet", 100)
    engine.split(flat, dest, overwrite=True)
    assert folders(dest) == {"."}
    assert not left.exists()
    engine.split(lake, dest, overwrite=True, **TARGET)
    assert folders(dest) == folders(lake)
    assert engine.verify(dest).num_rows == 12_651


def test_a_part_over_the_target_is_planned_again_in_its_partition(tmp_path: Path):
    (tmp_path / "in" / "p=1").mkdir(parents=True)
    (tmp_path / "in" / "p=2").mkdir()
    schema = pa.schema([("noise", pa.binary())])
    pq.write_table(pa.table([[b"x"] * 70], schema), tmp_path / "in" / "p=1" / "a.parquet")
    write_trap(tmp_path / "in" / "p=2" / "b.parquet")
    done = engine.split(
        tmp_path / "in", tmp_path / "out", target_size="300kB", codec="zstd", verify=True
    )
    plan = json.loads((tmp_path / "out" / "_evensplit" / "plan.json").read_text())
    assert plan["revision"] == len(plan["failed"]) >= 1
    assert plan["failed"][0]["first_row"] == 70
    assert all(part.size_bytes <= 300_000 for part in done.manifest.parts)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["y=1/a", "b"], "of the columns y, .*b.parquet of none"),
        (["y=1/m=1/a", "m=1/y=2/b"], "of the columns y, m, .* of m, y"),
        (["y=1/a", "Y=2/a"], "the same columns in the same order"),
        (["y=a\\b/a", "y=2/a"], "holds a backslash"),
        (["y=1/y=2/a", "y=2/y=2/a"], "in two folders of the column y, y=. and y=2, of which"),
        (["y=a\nb/a", "y=2/a"], "cannot be printed"),
    ],
)
def test_what_is_no_one_table_is_refused(paths: list[str], words: str, tmp_path: Path):
    for path in paths:
        write_source(tmp_path / "in" / f"{path}.parquet", 10)
    with pytest.raises(NotPlainFolder, match=words):
        engine.plan(tmp_path / "in")


def test_partitions_of_other_schemas_are_refused(tmp_path: Path):
    write_source(tmp_path / "in" / "y=1" / "a.parquet", 10)
    write_source(tmp_path / "in" / "y=2" / "a.parquet", 10)
    pq.write_table(make_table(10).drop_columns(["few"]), tmp_path / "in" / "y=2" / "a.parquet")
    with pytest.raises(SchemaMismatch, match="column few is missing"):
        engine.plan(tmp_path / "in")


def test_columns_that_files_have_as_well_make_one_folder(tmp_path: Path):
    for value in (1, 2):
        write_with(tmp_path / "in" / f"few={value}" / "a.parquet", id=1, few=value)
    plan = engine.plan(tmp_path / "in", parts=1)
    assert [part.name for part in plan.parts] == ["part-00000.parquet"]
    assert plan.source_notes[-1] == "taken from the files, not from names of their folders: few"


def test_named_files_of_partitions_keep_the_folders_they_differ_in(lake: Path, tmp_path: Path):
    sources = [lake / f"year={year}" / "month=01" / "0.parquet" for year in ("2024", "2023")]
    done = engine.split(
        sources, tmp_path / "out", parts=2, name="{partition}-{index}-{total}.parquet"
    )
    assert [part.name for part in done.manifest.parts] == [
        f"year={year}/year={year}-{index}-2.parquet" for year in (2024, 2023) for index in (0, 1)
    ]


def test_the_destination_is_not_among_the_sources_of_the_next_run(lake: Path, tmp_path: Path):
    shutil.copytree(lake, tmp_path / "in")
    ended = run("split", f"{tmp_path}/in/*/*/*.parquet", tmp_path / "in")
    assert ended.code == 2
    assert "the next run would read the parts as source" in ended.err


def test_engines_read_partitions_by_their_manifests(lake: Path, tmp_path: Path):
    done = engine.split(lake, tmp_path / "out", manifest="duckdb", table="t", **TARGET)
    with duckdb.connect() as database:
        database.execute(Path(done.loads[0]).read_text())
        query = "select year, month, count(*) from t group by all order by all"
        found = {(str(year), month): n for year, month, n in database.sql(query).fetchall()}
    assert found == {key: sum(sizes) for key, sizes in ROWS.items()}
    for name, dest, words in (
        ("redshift", "s3://b/x", "without the columns of their folders"),
        ("duckdb", "/a=1/b", "as a partition as well"),
    ):
        from engine.loader_forms import Form
        from engine.loaders import check_loader

        with pytest.raises(engine.BadSetting, match=words):
            check_loader(name, dest, ["y=1/a"], None, Form())


@pytest.mark.slow
def test_spark_reads_partitions_by_its_manifest(lake: Path, tmp_path: Path):
    from tests.witness.spark_session import spark_session

    dest = tmp_path / "x=1" / "out"  # above the table, and no column of it
    done = engine.split(lake, dest, manifest="spark", table="t", **TARGET)
    spark = spark_session().newSession()
    exec(Path(done.loads[0]).read_text(), {"spark": spark})
    query = "select year, month, count(*) n from t group by year, month"
    found = {(str(it.year), it.month): it.n for it in spark.sql(query).collect()}
    assert found == {key: sum(sizes) for key, sizes in ROWS.items()}
    assert "x" not in spark.table("t").columns


@pytest.mark.parametrize("name", ["../x=1/a.parquet", "x/a.parquet", "x=1/../../a.parquet", "/a"])
def test_a_record_that_names_parts_elsewhere_is_refused(name: str, lake: Path, tmp_path: Path):
    engine.split(lake, tmp_path / "out", **TARGET)
    path = tmp_path / "out" / "_evensplit" / "manifest.json"
    data = json.loads(path.read_text())
    data["parts"][0]["name"] = name
    path.write_text(json.dumps(data))
    with pytest.raises(NotASplit, match="is damaged"):
        engine.verify(tmp_path / "out")


keys = st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "x y"]))


@settings(max_examples=10, deadline=None)
@given(st.dictionaries(keys, st.lists(st.integers(1, 400), min_size=1, max_size=3), min_size=2))
def test_rows_of_every_tree_are_kept_with_their_partitions(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[tuple[str, str], list[int]]
):
    place = tmp_path_factory.mktemp("tree")
    for (one, two), sizes in rows.items():
        for number, size in enumerate(sizes):
            write_source(place / "in" / f"p={one}" / f"q={two}" / f"{number}.parquet", size)
    done = engine.split(place / "in", place / "out", rows_per_part=150, verify=True)
    assert sum(part.num_rows for part in done.manifest.parts) == sum(map(sum, rows.values()))
    assert read(place / "out") == read(place / "in")


levels = st.lists(st.sampled_from(["a=1", "a=2", "b=1", "b=2", "plain"]), max_size=3).map("/".join)


@settings(max_examples=40, deadline=None)
@given(st.sets(levels, min_size=1, max_size=4), st.sampled_from(["root", "files", "glob"]))
def test_rows_of_several_partitions_are_never_put_together(
    tmp_path_factory: pytest.TempPathFactory, places: set[str], way: str
):
    """Whatever columns folders name, how often, and by what the files are named."""
    root = tmp_path_factory.mktemp("tree")
    files = [root / "in" / place / "x.parquet" for place in sorted(places)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [number]}), file)
    sources = {"root": [root / "in"], "files": files, "glob": [f"{root}/in/**/x.parquet"]}[way]
    wanted = [[it for it in place.split("/") if "=" in it] for place in sorted(places)]
    try:
        engine.split(sources, root / "out", parts=1, verify=True, fsync=False)
    except NotPlainFolder:
        assert len({tuple(map(column, folders)) for folders in wanted}) > 1 or any(
            len(set(map(column, folders))) < len(folders) for folders in wanted
        )
        return
    found: dict[int, list[str]] = {}
    for part in (root / "out").rglob("*.parquet"):
        folder = [it for it in part.parent.relative_to(root / "out").parts if "=" in it]
        found |= dict.fromkeys(pq.ParquetFile(part).read()["id"].to_pylist(), folder)
    assert sorted(found) == list(range(len(files)))
    if way != "files":
        assert [found[number] for number in range(len(files))] == wanted
    # What all named files share is said by none of their folders.
    for one, other in combinations(range(len(files)), 2):
        assert (found[one] == found[other]) == (wanted[one] == wanted[other])


def column(folder: str) -> str:
    return folder.partition("=")[0]


def write_with(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: [value] * 30 for name, value in columns.items()}), path)


OWN = {
    "unlike, and no bounds": (["8", "9"], {"write_statistics": False}),
    "alike, and no bounds": ([1, 2], {"write_statistics": False}),
    "doubles": ([1.0, 7.0], {}),
    "groups": ([{"v": 1}, {"v": 7}], {}),
    "decimals": ([Decimal("1.0"), Decimal("7.0")], {}),
}


@pytest.mark.parametrize("name", OWN)
def test_readers_find_in_parts_what_they_find_where_files_do_not_say_whether_folders_agree(
    tmp_path: Path, name: str
):
    values, options = OWN[name]
    for value, own in zip(("1", "2"), values, strict=True):
        path = tmp_path / f"in/k={value}/a.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": range(30), "k": [own] * 30}), path, **options)
    done = engine.split(tmp_path / "in", tmp_path / "out", parts=2, verify=True)
    assert done.manifest.source_notes[-1] == (
        "in the files and in names of their folders, which parts keep as well: k"
    )
    query = "select * from read_parquet('{}/*/*.parquet', hive_partitioning = {}) order by all"
    for is_hive in (True, False):
        source, parts = (
            duckdb.sql(query.format(tmp_path / place, is_hive)).fetchall()
            for place in ("in", "out")
        )
        assert parts == source


def test_no_file_is_opened_for_columns_that_folders_alone_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_with(tmp_path / "in/k=1/a.parquet", id=1)
    asked: list[object] = []
    monkeypatch.setattr(parquet_format, "agreements", lambda *of: asked.append(of) or {})
    engine.plan(tmp_path / "in", parts=2)
    assert asked == []


@pytest.mark.parametrize("flatten", [False, True])
def test_a_folder_that_contradicts_the_column_of_its_files_is_refused(
    tmp_path: Path, flatten: bool
):
    write_with(tmp_path / "in/k=1/a.parquet", id=1, k=1)
    write_with(tmp_path / "in/k=2/a.parquet", id=2, k=7)
    with pytest.raises(NotPlainFolder, match=r"k=2/a.parquet lies in the folder k=2, and its col"):
        engine.split(tmp_path / "in", tmp_path / "out", parts=1, flatten=flatten)
    engine.split(tmp_path / "in/k=2", tmp_path / "out", parts=1, verify=True)
    assert pq.read_table(tmp_path / "out/part-00000.parquet")["k"].to_pylist() == [7] * 30


@pytest.mark.parametrize("name", ["=v", "=", "y=1/=v"])
def test_a_folder_that_names_no_column_is_refused(tmp_path: Path, name: str):
    write_source(tmp_path / "in" / name / "a.parquet", 30)
    for source in (tmp_path / "in", f"{tmp_path}/in/**/*.parquet"):
        with pytest.raises(NotPlainFolder, match="no column before the ="):
            engine.plan(source, parts=1)
    engine.split(tmp_path / "in" / name, tmp_path / "out", parts=1)
