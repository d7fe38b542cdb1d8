"""What a folder stands for: random trees of files, links, marks and partitions; local stores."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadSetting, EvensplitError, NoSource
from engine.storage import expand_all, open_storage
from engine.storage.folders import Listed, Listing, choose, refusal

PARQUET = b"PAR1" + bytes(8) + b"PAR1"
FILES = ("a.parquet", "B.PARQUET", "000000_0", "c.parquet.gzip", "_SUCCESS", ".h.parquet", "n.txt")
FOLDERS = ("x", "y", "year=1", "_tmp", ".git", "data", "_delta_log")

names = st.lists(st.sampled_from(FOLDERS), max_size=3).map(tuple)
files = st.dictionaries(
    st.tuples(names, st.sampled_from(FILES)), st.sampled_from([PARQUET, b"text" * 9, b""])
)
links = st.lists(st.tuples(names, st.sampled_from(["l1", "l2.parquet", "l3"]), names), max_size=4)


def build(root: Path, tree: dict[tuple[tuple[str, ...], str], bytes], given_links: list) -> None:  # type: ignore[type-arg]
    for (folder, name), data in tree.items():
        root.joinpath(*folder).mkdir(parents=True, exist_ok=True)
        root.joinpath(*folder, name).write_bytes(data)
    for number, (folder, name, target) in enumerate(given_links):
        place = root.joinpath(*folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}{name}").symlink_to(root.joinpath(*target))


@settings(max_examples=200, deadline=None)
@given(files, links)
def test_every_parquet_file_is_taken_once_or_counted_or_all_is_refused(tree, given_links) -> None:  # type: ignore[no-untyped-def]
    root = Path(tempfile.mkdtemp()).resolve()
    try:
        build(root, tree, given_links)
        try:
            found = expand_all([str(root)])
        except NoSource:
            visible = [p for p in root.rglob("*") if not hidden(p, root) and is_parquet(p)]
            assert not visible
            return
        if found.problems:
            return
        taken = [os.path.realpath(path) for _, path in found.files]
        assert len(taken) == len(set(taken))
        every = {p for p in root.rglob("*") if is_parquet(p) and not p.is_symlink()}
        left = [p for p in every if str(p) not in taken]
        assert all(hidden(p, root) for p in left)
        if left:
            assert "_SUCCESS/.crc" in found.notes[0] or "hidden" in found.notes[0]
        folders = {part for _, path in found.files for part in Path(path).parts[:-1]}
        assert ("year=1" in folders) == ("year" in found.partition_columns)
    finally:
        shutil.rmtree(root)


def is_parquet(path: Path) -> bool:
    return path.is_file() and path.read_bytes() == PARQUET


def hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.relative_to(root).parts)


def test_a_linked_folder_is_read_once_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.parquet").write_bytes(PARQUET)
    (tmp_path / "a-latest").symlink_to("day")
    (tmp_path / "a-link.parquet").symlink_to("day/a.parquet")
    for source in (tmp_path, tmp_path / "**" / "*.parquet"):
        found = expand_all([str(source)])
        assert [path for _, path in found.files] == [str(tmp_path / "day" / "a.parquet")]
        assert "reached twice" in found.notes[0]


@pytest.mark.parametrize("asked", ["t", "t/2024", "t/2024/01"])
def test_a_partition_of_a_hudi_table_is_told_without_the_table(tmp_path: Path, asked: str) -> None:
    (tmp_path / "t" / ".hoodie").mkdir(parents=True)
    (tmp_path / "t" / ".hoodie" / "hoodie.properties").write_text("")
    (tmp_path / "t" / "2024" / "01").mkdir(parents=True)
    (tmp_path / "t" / "2024" / "01" / "a.parquet").write_bytes(PARQUET)
    (tmp_path / "t" / "2024" / "01" / ".hoodie_partition_metadata").write_text("partitionDepth=2")
    (problem,) = expand_all([str(tmp_path / asked)]).problems
    place = asked if asked == "t" else "t/2024/01"
    assert problem.startswith(f"{tmp_path}/{place} is a Hudi table")
    assert "name its live files themselves" in problem


@pytest.mark.parametrize("asked", ["t", "t/p=1", "t/p=1/bucket-0", "t/p=1/bucket-0/*.parquet"])
def test_a_paimon_table_is_told_by_its_folders(tmp_path: Path, asked: str) -> None:
    names = (
        "schema/schema-0",
        "snapshot/snapshot-1",
        "manifest/manifest-1",
        "p=1/bucket-0/a.parquet",
    )
    for name in names:
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(PARQUET)
    (problem,) = expand_all([str(tmp_path / asked)]).problems
    assert problem.startswith(f"{tmp_path}/t is a Paimon table")
    assert "name its live files themselves" in problem


@pytest.mark.parametrize(
    "name",
    ["base_0000002", "delta_0000001_0000004", "delta_0000003_0000003_0000", "base_0000002_v7"],
)
@pytest.mark.parametrize("asked", ["t", "t/p=1", "t/*/*/*", "t/**/*.parquet"])
def test_folders_of_transactions_are_told(tmp_path: Path, name: str, asked: str) -> None:
    folder = tmp_path / "t" / "p=1" / name
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(PARQUET)
    (problem,) = expand_all([str(tmp_path / asked)]).problems
    assert problem.startswith(f"{tmp_path}/t/p=1 is a Hive ACID table")
    assert not expand_all([str(folder)]).problems  # it alone is wanted


@pytest.mark.parametrize("below", ["", "day=1/"])
@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({"_committed_1": "{}", "_committed_2": "{}", "_started_1": "", "_started_2": ""}, None),
        (
            {"_committed_1": "{}", "_committed_2": '{"removed": ["part-0-tid-1-a.parquet"]}'},
            "later",
        ),
        ({"_started_1": "", "_committed_2": "{}", "_started_2": ""}, "did not end"),
        ({"_committed_1": "{", "_committed_2": '{"removed": 7}', "_committed_3": "[[]]"}, None),
        ({"_committed_vacuum7": '{"removed": ["part-0-tid-1-a.parquet"]}'}, None),
    ],
)
def test_files_of_writes_that_were_undone_are_told(
    tmp_path: Path, below: str, marks: dict[str, str], told: str | None
) -> None:
    folder = tmp_path / "in" / below
    folder.mkdir(parents=True)
    for write in (1, 2):
        (folder / f"part-0-tid-{write}-a.parquet").write_bytes(PARQUET)
    for name, text in marks.items():
        (folder / name).write_text(text)
    problems = expand_all([str(tmp_path / "in")]).problems
    assert len(problems) == (told is not None)
    assert all(told in it and "part-0-tid-1-a.parquet" in it for it in problems)
    assert not expand_all([str(tmp_path / "in")], exclude=["*-tid-1-*"]).problems


@pytest.mark.parametrize("name", ["base_1", "delta_1_2", "schema", "snapshot", "bucket-0"])
def test_folders_of_like_names_are_plain(tmp_path: Path, name: str) -> None:
    (tmp_path / "t" / name).mkdir(parents=True)
    (tmp_path / "t" / name / "a.parquet").write_bytes(PARQUET)
    found = expand_all([str(tmp_path / "t")])
    assert (len(found.files), found.problems) == (1, ())


def test_a_link_out_of_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.parquet").write_bytes(PARQUET)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "far").symlink_to(tmp_path / "far")
    found = expand_all([str(tmp_path / "in")])
    assert [path for _, path in found.files] == [str(tmp_path / "in" / "far" / "a.parquet")]
    assert found.notes == ()


@pytest.mark.parametrize("target", [".", "..", "/"])
def test_a_loop_is_named(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(PARQUET)
    (folder / "self").symlink_to(target)
    (problem,) = expand_all([str(tmp_path / "in")]).problems
    assert f"{folder}/self is a link to a folder that holds it" in problem


def test_a_link_to_itself_or_to_nothing_is_named_when_it_would_be_taken(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").symlink_to("a.parquet")
    (tmp_path / "other").symlink_to("nowhere")
    found = expand_all([str(tmp_path)])
    ((store, path),) = found.files
    with pytest.raises(NoSource, match=r"a\.parquet"):
        store.stat(path)
    assert "1 without .parquet" in found.notes[0]


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.parquet")
    Path(odd).write_bytes(PARQUET)
    for pattern in (odd, str(tmp_path), f"{tmp_path}/*"):
        with pytest.raises(BadSetting, match="is not UTF-8"):
            expand_all([pattern])
    with pytest.raises(EvensplitError, match="is not UTF-8") as caught:
        open_storage(os.fsdecode(os.fsencode(tmp_path) + b"/out\xff"))
    str(caught.value).encode()


def test_a_file_that_is_named_is_taken_whatever_its_name() -> None:
    item = Listed("/t/_x", "", 0, "/t/_x")
    assert choose(Listing("/t/_x", "file", (item,))).taken == [item]


LINES = {"a.csv": "csv", "b.TSV": "csv", "c.jsonl": "json", "d.json": "json", "e.txt.zst": "txt"}
OTHERS = ("f.parquet", "_x.csv", ".y.csv", "README", "_SUCCESS")


@given(st.sets(st.sampled_from([*LINES, *OTHERS])))
def test_files_of_one_format_are_taken_or_all_are_refused(names: set[str]) -> None:
    """Beside Parquet what is vaguely named is no data; whatever is not taken is counted."""
    items = tuple(Listed(f"/t/{name}", name, 99, f"/t/{name}") for name in names)
    choice = choose(Listing("/t", "folder", items))
    choice.decide([False] * len(choice.unknown))
    is_parquet = "f.parquet" in names
    vague = {"d.json", "e.txt.zst"} if is_parquet else set()
    wanted = (names & {*LINES}) - vague
    formats = {LINES[name] for name in wanted} | ({"parquet"} if is_parquet else set())
    taken = {item.name for item in choice.taken}
    if len(formats) > 1:
        assert not taken
        assert len(choice.formats) == len(formats)
        assert "--include" in str(refusal("/t", choice))
        return
    assert taken == wanted | ({"f.parquet"} & names)
    assert not choice.formats
    assert sum(choice.passed_over.values()) == len(names) - len(taken)
