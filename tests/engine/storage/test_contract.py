"""One suite for every implementation of :class:`engine.storage.base.Storage`."""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import re
import resource
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pytest

from engine.errors import (
    BadSetting,
    BadStructure,
    Conflict,
    Locked,
    NoDiskSpace,
    NoPermission,
    NoSource,
    SourceChanged,
    StorageFailed,
)
from engine.model import Range
from engine.storage import Entry, PartSink, Storage, expand_all, open_storage
from engine.storage.base import coalesced, redacted
from engine.storage.folders import choose
from engine.storage.local import LocalSink, LocalSource, LocalStorage
from tests.stores import S3, Sftp

CONTENT = bytes(range(256)) * 512  # 128 KiB


class Place:
    """A store, an empty folder of it, and the way back to a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store, self.folder = open_storage(url)

    def path(self, *names: str) -> str:
        return self.store.join(self.folder, *names)

    def write(self, *names: str, data: bytes = CONTENT) -> str:
        sink = self.store.create(self.path(*names), durable=False)
        sink.write(data)
        sink.commit()
        return self.path(*names)

    def names(self) -> list[str]:
        return [entry.name for entry in self.store.files(self.folder)]

    def make_older(self, path: str) -> None:
        """Let time pass, where versions are seconds."""


class SftpPlace(Place):
    def __init__(self, server: Sftp) -> None:
        self._root = server.root
        super().__init__(f"{server.url}/{uuid.uuid4().hex}/store")

    def make_older(self, path: str) -> None:
        local = self._root / path.split("/", 3)[3]
        os.utime(local, (1e9, 1e9))


def taken(store: Storage, pattern: str) -> list[str]:
    """Return what is taken of a pattern by the names alone."""
    choice = choose(store.expand(pattern))
    choice.decide([False] * len(choice.unknown))
    return [item.path for item in choice.taken]


@pytest.fixture(params=["local", "memory", "azure", "s3", "google", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place(f"s3://{request.getfixturevalue('s3').new_bucket()}/store")
    if request.param == "google":
        return Place(f"gs://{request.getfixturevalue('google').new_bucket()}/store")
    if request.param == "sftp":
        return SftpPlace(request.getfixturevalue("sftp"))
    if request.param == "memory":
        return Place(f"memory://contract-{uuid.uuid4().hex}")
    if request.param == "azure":
        return Place(request.getfixturevalue("blobs") + "/store")
    return Place(str(tmp_path / "store"))


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "store"))


# -- reading -----------------------------------------------------------------------------------


def test_a_read_returns_exactly_the_range(place: Place) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    assert source.read(0, len(CONTENT)) == CONTENT
    assert source.read(3, 5) == CONTENT[3:8]
    assert source.read(len(CONTENT) - 1, 1) == CONTENT[-1:]
    assert source.read(7, 0) == b""
    source.close()


@pytest.mark.parametrize("offset", [len(CONTENT) - 2, len(CONTENT), len(CONTENT) + 100])
def test_a_read_past_the_end_raises(place: Place, offset: int) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    with pytest.raises(BadStructure):
        source.read(offset, 3)
    source.close()


def test_read_many_keeps_the_order_asked_for(place: Place) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    ranges = [Range(100, 10), Range(0, 4), Range(102, 3), Range(50, 0), Range(0, len(CONTENT))]
    assert source.read_many(ranges) == [CONTENT[r.offset : r.end] for r in ranges]
    assert source.read_many([]) == []
    source.close()


def test_read_many_fetches_near_ranges_together(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    reads: list[tuple[int, int]] = []
    read = type(source).read

    def counted(self: Any, offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return read(self, offset, length)

    monkeypatch.setattr(type(source), "read", counted)
    source.read_many([Range(position, 10) for position in range(0, 5000, 100)])
    assert reads == [(0, 4910)]
    source.close()


def test_empty_ranges_do_not_widen_a_read() -> None:
    ranges = [Range(0, 0), Range(1_000, 10), Range(0, 0), Range(1_020, 10)]
    groups = list(coalesced(ranges, gap_bytes=100, most_bytes=1 << 20))
    assert [1, 3] in groups


def test_ranges_far_apart_are_read_apart() -> None:
    ranges = [Range(0, 10), Range(1_000_000, 10), Range(20, 10)]
    assert list(coalesced(ranges, gap_bytes=100, most_bytes=1 << 20)) == [[0, 2], [1]]
    long = [Range(0, 600), Range(600, 600)]
    assert list(coalesced(long, gap_bytes=100, most_bytes=1000)) == [[0], [1]]


def test_arrow_reads_the_same_bytes(place: Place) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    with source.arrow_file() as file:
        assert file.size() == len(CONTENT)
        file.seek(10)
        assert file.read(20) == CONTENT[10:30]
        assert file.read_at(5, 100) == CONTENT[100:105]
    source.close()


def test_stat_tells_size_and_version(place: Place) -> None:
    path = place.write("a.parquet")
    found = place.store.stat(path)
    assert (found.path, found.size_bytes) == (path, len(CONTENT))
    assert found == place.store.stat(path)


def test_stat_of_nothing_and_of_a_folder(place: Place) -> None:
    place.write("folder", "a.parquet")
    for name in ("missing.parquet", "folder"):
        with pytest.raises(NoSource, match=name):
            place.store.stat(place.path(name))


def test_a_changed_source_is_refused(place: Place) -> None:
    path = place.write("a.parquet")
    place.make_older(path)
    described = place.store.stat(path)
    source = place.store.open(described)
    source.check_unchanged()
    place.write("a.parquet", data=CONTENT[::-1])  # the same size
    with pytest.raises(SourceChanged):
        source.check_unchanged()
    with pytest.raises(SourceChanged):
        place.store.open(described)
    source.close()


def test_a_source_that_vanished_is_missed(place: Place) -> None:
    path = place.write("a.parquet")
    described = place.store.stat(path)
    source = place.store.open(described)
    place.store.remove(path)
    with pytest.raises(NoSource):
        source.check_unchanged()
    with pytest.raises(NoSource):
        place.store.open(described)
    source.close()


# -- writing a part ----------------------------------------------------------------------------


def test_a_part_is_written_and_copied_and_published_whole(place: Place) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    path = place.path("new", "part.parquet")
    sink = place.store.create(path, durable=True)
    sink.write(b"head")
    sink.copy(source, 1000, 70_000)
    sink.copy(source, 5, 0)
    sink.write(b"tail")
    expected = b"head" + CONTENT[1000:71_000] + b"tail"
    assert sink.size_bytes == len(expected)
    sink.commit()
    sink.abort()
    assert place.store.get(path) == expected
    version = place.store.stat(path).version
    assert place.store.files(place.path("new")) == [Entry("part.parquet", len(expected), version)]
    source.close()


def test_nothing_is_to_be_seen_before_commit(place: Place) -> None:
    path = place.path("part.parquet")
    sink = place.store.create(path, durable=False)
    sink.write(CONTENT)
    assert place.store.get(path) is None
    assert taken(place.store, place.folder) == []
    assert all(name.startswith(".") for name in place.names())
    sink.abort()


def test_abort_leaves_nothing(place: Place) -> None:
    sink = place.store.create(place.path("part.parquet"), durable=False)
    sink.write(CONTENT)
    sink.abort()
    sink.abort()
    assert place.names() == []


def test_commit_replaces_an_older_part(place: Place) -> None:
    place.write("part.parquet", data=b"old")
    sink = place.store.create(place.path("part.parquet"), durable=False)
    sink.write(b"new")
    assert place.store.get(place.path("part.parquet")) == b"old"
    sink.commit()
    assert place.store.get(place.path("part.parquet")) == b"new"


def test_two_writers_of_one_part_do_not_mix(place: Place) -> None:
    sinks = [place.store.create(place.path("part.parquet"), durable=False) for _ in range(2)]
    for sink in sinks:
        sink.write(b"one half")
    for sink in sinks:
        sink.write(b", other half")
    assert sinks[0].commit() == place.store.stat(place.path("part.parquet")).version
    with suppress(Conflict):  # or it says that the same stands there, which is another's
        assert sinks[1].commit() is None
    sinks[1].abort()
    assert place.store.get(place.path("part.parquet")) == b"one half, other half"
    assert place.names() == ["part.parquet"]


@pytest.mark.parametrize("stood", [False, True], ids=["new", "replaced"])
def test_a_part_replaces_only_what_stood_there_when_it_was_begun(place: Place, stood: bool) -> None:
    path = place.path("part.parquet")
    if stood:
        place.write("part.parquet", data=b"old")
        place.make_older(path)
    sinks = [place.store.create(path, durable=False) for _ in range(2)]
    versions: list[str | None] = []

    def write_and_commit(sink: PartSink, data: bytes) -> None:
        sink.write(data)
        sink.seal()
        versions.append(sink.commit())

    write_and_commit(sinks[0], b"first")
    with pytest.raises(Conflict):
        write_and_commit(sinks[1], b"second, which is late")
    for sink in sinks:
        sink.abort()
    assert place.store.get(path) == b"first"
    assert versions == [place.store.stat(path).version]
    assert place.names() == ["part.parquet"]


def test_a_fence_cancels_the_uploads_of_others_to_these_files_alone(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # moto answers 500 where S3 says NoSuchUpload
    place = Place(f"s3://{s3.new_bucket()}/store")
    names = ("a.parquet", "b.parquet", "c.parquet")
    sinks = [place.store.create(place.path(name), durable=False) for name in names]
    for sink in sinks:
        sink.write(CONTENT)
        sink.seal()
    place.store.fence(place.folder, {"a.parquet", "b.parquet"})
    for sink in sinks[:2]:
        with pytest.raises((Conflict, StorageFailed)):
            sink.commit()
        sink.abort()
    sinks[2].commit()
    assert place.names() == ["c.parquet"]


def test_a_copy_past_the_source_raises_and_publishes_nothing(place: Place) -> None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    sink = place.store.create(place.path("part.parquet"), durable=False)
    with pytest.raises(BadStructure):
        sink.copy(source, 10, len(CONTENT))
    sink.abort()
    assert place.names() == ["a.parquet"]
    source.close()


def test_a_copy_between_stores(tmp_path: Path, blobs: str) -> None:
    places = [
        Place(str(tmp_path / "s")),
        Place(f"memory://contract-{uuid.uuid4().hex}"),
        Place(f"{blobs}/store"),
    ]
    for origin, goal in permutations(places, 2):
        source = origin.store.open(origin.store.stat(origin.write("a.parquet")))
        sink = goal.store.create(goal.path("copy.parquet"), durable=False)
        sink.copy(source, 1, len(CONTENT) - 1)
        sink.commit()
        assert goal.store.get(goal.path("copy.parquet")) == CONTENT[1:]
        source.close()


# -- small files -------------------------------------------------------------------------------


def test_put_and_get(place: Place) -> None:
    path = place.path("_evensplit", "receipts", "0.json")
    assert place.store.get(path) is None
    place.store.put(path, b"one")
    place.store.put(path, b"two", durable=False)
    assert place.store.get(path) == b"two"
    version = place.store.stat(path).version
    assert place.store.files(place.path("_evensplit", "receipts")) == [Entry("0.json", 3, version)]


def other_version(place: Place, path: str, data: bytes) -> str:
    """Write a file anew and return the version that it had before."""
    place.make_older(path)
    before = place.store.stat(path).version
    place.store.put(path, data)
    assert place.store.stat(path).version != before
    return before


def test_a_file_is_replaced_only_if_it_is_of_the_version(place: Place) -> None:
    path = place.path("plan.json")
    assert not place.store.replace(path, b"none", "etag:1")
    assert place.store.get(path) is None
    place.store.put(path, b"one")
    before = other_version(place, path, b"two")
    assert not place.store.replace(path, b"stale", before)
    assert place.store.get(path) == b"two"
    assert place.store.replace(path, b"three", place.store.stat(path).version)
    assert place.store.get(path) == b"three"
    assert place.names() == ["plan.json"]


def test_a_file_is_removed_only_if_it_is_of_the_version(place: Place) -> None:
    path = place.path("part.parquet")
    place.store.remove(path, "etag:1")
    place.store.put(path, b"one")
    before = other_version(place, path, b"two")
    place.store.remove(path, before)
    assert place.store.get(path) == b"two"
    (entry,) = place.store.files(place.folder)  # as listings say it
    place.store.remove(path, entry.version)
    assert place.store.get(path) is None


def test_put_if_absent_tells_who_won(place: Place) -> None:
    path = place.path("_evensplit", "plan.json")
    assert place.store.put_if_absent(path, b"first")
    assert not place.store.put_if_absent(path, b"second")
    assert place.store.get(path) == b"first"
    assert [entry.name for entry in place.store.files(place.path("_evensplit"))] == ["plan.json"]


def test_put_if_absent_has_exactly_one_winner(place: Place) -> None:
    threads = 8
    for attempt in range(20):
        path = place.path(f"plan-{attempt}.json")
        barrier = threading.Barrier(threads)

        def race(number: int, path: str = path, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return place.store.put_if_absent(path, b"%d" % number)

        with ThreadPoolExecutor(threads) as pool:
            won = list(pool.map(race, range(threads)))
        assert won.count(True) == 1
        assert place.store.get(path) == b"%d" % won.index(True)


def test_remove(place: Place) -> None:
    path = place.write("a.parquet")
    place.store.remove(path)
    place.store.remove(path)
    assert place.store.get(path) is None


@pytest.mark.parametrize(
    "folder", ["k=*", "k=[1]", "k=a?b", "k=a#b", "k=100%", "k=a%2Fb", "k={} é"]
)
def test_names_are_names_and_no_globs(place: Place, folder: str) -> None:
    """Also those of others, which a wildcard in them would match."""
    beside = place.write("k=1", "x.parquet", data=b"beside")
    path = place.write(folder, "x.parquet", data=b"part")
    place.store.put(place.path(folder, "small.json"), b"small")
    assert place.store.put_if_absent(place.path(folder, "claim.json"), b"claim")
    found = place.store.files(place.path(folder))
    assert [it[:2] for it in found] == [("claim.json", 5), ("small.json", 5), ("x.parquet", 4)]
    assert place.store.get(path) == b"part"
    assert place.store.get(beside) == b"beside"
    assert sorted(place.store.folders(place.folder)) == sorted(["k=1", folder])
    assert sorted(taken(place.store, place.folder)) == sorted([beside, path])
    assert taken(place.store, place.path(folder)) == [path]
    place.store.remove(path)
    assert place.store.get(path) is None
    assert place.store.get(beside) == b"beside"


# -- listing -----------------------------------------------------------------------------------


def test_files_and_folders(place: Place) -> None:
    place.write("b.parquet", data=b"22")
    place.write("a.txt", data=b"1")
    place.write("sub", "c.parquet")
    assert [entry[:2] for entry in place.store.files(place.folder)] == [
        ("a.txt", 1),
        ("b.parquet", 2),
    ]
    assert place.store.folders(place.folder) == ["sub"]


def test_a_folder_that_is_not_there_is_empty(place: Place) -> None:
    assert place.store.files(place.path("missing")) == []
    assert place.store.folders(place.path("missing")) == []
    assert taken(place.store, place.path("missing")) == []
    place.store.remove_leftovers(place.path("missing"))


def test_expand_finds_data_and_nothing_else(place: Place) -> None:
    for names in (
        ("b.parquet",),
        ("a.PARQUET",),
        ("year=2024", "z.pq"),
        ("year=2024", "_delta_log", "x.parquet"),
        ("_evensplit", "p.parquet"),
        (".hidden.parquet",),
        ("_metadata.parquet",),
        ("notes.txt",),
    ):
        place.write(*names)
    wanted = [("a.PARQUET",), ("b.parquet",), ("year=2024", "z.pq")]
    assert taken(place.store, place.folder) == [place.path(*names) for names in wanted]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file://lake/a.parquet", "names the host lake; write file:///PATH"),
        ("file://a.parquet", "names the host a.parquet"),
        ("file://~/a.parquet", "names the host ~"),
        ("file://", "names no path"),
        ("local://localhost", "names the host localhost; write"),
        ("file:///lake/a.parquet#1", "holds #, where the path of a URL ends; write %23"),
        ("file:///lake/?.parquet", r"holds \?, where the path of a URL ends; write %3F"),
        ("file:///lake/a%00b", "holds a NUL"),
        ("file:///lake/%ff", "is not UTF-8"),
    ],
)
def test_a_file_url_that_names_less_than_it_holds_is_refused(url: str, message: str) -> None:
    """What was cut off or passed over would make it another file."""
    with pytest.raises(BadSetting, match=message):
        open_storage(url)


@pytest.mark.parametrize("name", ["a b", "%41", "a\nb", "[x", "é", "a::b", "c:d@e", "a\tb", "#?&"])
def test_a_file_url_names_every_path(tmp_path: Path, name: str) -> None:
    for host in ("", "localhost"):
        url = f"file://{host}{quote(str(tmp_path / name))}"
        assert open_storage(url)[1] == str(tmp_path / name)
    if not set(name) & set("%#?"):
        assert open_storage(f"file://{tmp_path / name}")[1] == str(tmp_path / name)


def test_what_the_system_refuses_says_what_would_help(local: Place) -> None:
    with pytest.raises(BadSetting, match="too long for its file system; shorten it"):
        local.write("x" * 256)
    few = resource.getrlimit(resource.RLIMIT_NOFILE)
    path = local.write("a")
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, few[1]))
    try:
        with pytest.raises(StorageFailed, match="raise ulimit -n, or lower --workers, and run"):
            local.store.get(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, few)


@pytest.mark.parametrize("url", ["s3://lake/a::b.parquet", "abfss://c@a.dfs.core.windows.net/a::b"])
def test_a_name_that_is_read_as_a_chain_is_told(url: str) -> None:
    with pytest.raises(BadSetting, match=f"^{re.escape(url)} holds ::, of which drivers make"):
        open_storage(url)


def test_expand_of_a_file_and_of_globs(place: Place) -> None:
    for name in ("b.parquet", "a.parquet", "c.txt", "_x.parquet", ".y.parquet"):
        place.write(name)
    expand = partial(taken, place.store)
    assert expand(place.path("c.txt")) == [place.path("c.txt")]
    assert expand(place.path("*.parquet")) == [place.path("a.parquet"), place.path("b.parquet")]
    assert expand(place.path("[b-z].parquet")) == [place.path("b.parquet")]
    assert expand(place.path("x*.parquet")) == []


@pytest.mark.parametrize("name", ["b.parquet", "b.csv.gz"])
def test_a_dataset_that_a_glob_matches_is_not_left_out(place: Place, name: str) -> None:
    """A shell's glob would name the folder, whose files are taken then."""
    place.write("in", "a.parquet")
    place.write("in", name, "part-0.parquet")
    for pattern in ("in/*", f"in/?{name[1:]}"):
        (problem,) = expand_all([place.path(*pattern.split("/"))]).problems
        assert f": {name} is a folder that the glob does not enter" in problem
    assert not expand_all([place.path("in", "*")], exclude=[name]).problems
    assert len(expand_all([place.path("in", "**", "*.parquet")]).files) == 2


@pytest.mark.parametrize("name", ["b.parquet", "sub", "z.csv"])
def test_a_link_on_an_sftp_server_is_not_left_out(sftp: Sftp, name: str) -> None:
    place = SftpPlace(sftp)
    place.write("in", "a.parquet")
    (sftp.root / place.path("in", name).split("/", 3)[3]).symlink_to("a.parquet")
    (problem,) = expand_all([place.path("in")]).problems
    assert f": {name} is a folder that the glob does not enter, or a link that is not" in problem
    assert expand_all([place.path("in")], exclude=[name]).names == ("a.parquet",)


def test_other_folders_that_a_glob_matches_are_counted(place: Place) -> None:
    for names in (("a.parquet",), ("old", "b.parquet"), ("_hidden", "c.parquet")):
        place.write(*names)
    found = expand_all([place.path("*")])
    assert found.names == ("a.parquet",)
    assert not found.problems
    assert found.notes[0].endswith(": 1 folder passed over: 1 folder or link that is not entered")
    assert not expand_all([place.path("*.parquet")]).notes


def test_expand_all_keeps_the_order_of_arguments(place: Place) -> None:
    for name in ("b.parquet", "a.parquet"):
        place.write(name)
    asked = [place.path("b.parquet"), place.path("a.parquet")]
    assert [path for _, path in expand_all(asked).files] == asked
    with pytest.raises(NoSource, match="no file of data"):
        expand_all([place.path("nothing-*.parquet")])


PARQUET = b"PAR1" + bytes(8) + b"PAR1"  # by its content, as far as a listing looks


def test_what_is_passed_over_is_counted_by_reason(place: Place) -> None:
    for name in ("_SUCCESS", ".a.parquet.crc", "_x.parquet", "notes.txt", "a.parquet"):
        place.write(name)
    place.write("_delta", "x.parquet")
    place.write("_delta", "y.parquet")
    found = expand_all([place.folder])
    assert [path for _, path in found.files] == [place.path("a.parquet")]
    (note,) = found.notes
    assert note.endswith(
        ": output of Spark or Hadoop, 5 files and folders passed over: 2 _SUCCESS/.crc, 1 hidden "
        "(_ or . in front), 1 hidden folder (_ or . in front), 1 without .parquet in its name"
    )
    assert not found.problems


def test_a_folder_of_lines_is_taken_and_formats_are_not_mixed(place: Place) -> None:
    for names in (("_SUCCESS",), ("x", "b.csv"), ("A.TSV",), ("c.csv.gz",), ("README",)):
        place.write(*names)
    found = expand_all([place.folder])
    assert found.names == ("A.TSV", "c.csv.gz", "x/b.csv")
    assert "1 without .csv in its name" in found.notes[0]
    for name in ("d.ndjson", "e.txt", "f.parquet"):
        place.write(name)
        found = expand_all([place.folder])
        assert not found.files
        assert "holds files of several formats" in found.problems[0]
        assert f"({name})" in found.problems[0]
        kept = expand_all([place.folder], exclude=["[d-f].*"])
        assert kept.names == ("A.TSV", "c.csv.gz", "x/b.csv")


def test_nothing_is_said_where_all_is_taken(place: Place) -> None:
    for names in (("2024", "01", "a.parquet"), ("2024", "b.parquet"), ("c.pq",)):
        place.write(*names)
    found = expand_all([place.folder])
    assert len(found.files) == 3
    assert found[2:] == ((), (), (), ("", "", ""), {}, (place.folder,))


def test_parquet_without_its_name_is_taken_alone_and_refused_beside_others(place: Place) -> None:
    for name in ("000000_0", "a.parquet.gzip", "b.parquet.snappy"):
        place.write(name, data=PARQUET)
    place.write("list.txt")
    found = expand_all([place.folder])
    assert len(found.files) == 3
    assert "1 file passed over: 1 without .parquet" in found.notes[0]
    place.write("c.parquet", data=PARQUET)
    (problem,) = expand_all([place.folder]).problems
    assert "000000_0, a.parquet.gzip, b.parquet.snappy" in problem
    assert "--include or --exclude" in problem
    assert len(expand_all([place.path("*_0"), place.path("*.parquet*")]).files) == 4


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (["*"], [], ["2024/01/000000_0", "2024/b.parquet", "c.parquet.gzip"]),
        ([], ["*_0", "*.gzip"], ["2024/b.parquet"]),
        (["2024/**"], [], ["2024/01/000000_0", "2024/b.parquet"]),
        (["**/b*", "*.gzip"], ["2024/b.*"], ["c.parquet.gzip"]),
        (["2024/*"], [], ["2024/b.parquet"]),
    ],
)
def test_globs_say_which_files_of_a_folder_are_meant(
    place: Place, include: list[str], exclude: list[str], names: list[str]
) -> None:
    for path in (("2024", "01", "000000_0"), ("2024", "b.parquet"), ("c.parquet.gzip",)):
        place.write(*path, data=PARQUET)
    place.write("2024", "_hidden.parquet", data=PARQUET)
    found = expand_all([place.folder], include, exclude)
    assert not found.problems
    assert [path for _, path in found.files] == [place.path(*name.split("/")) for name in names]
    (note,) = found.notes
    assert (f"{3 - len(names)} left out by --include or --exclude" in note) == (len(names) < 3)
    with pytest.raises(NoSource, match="3 left out by --include or --exclude"):
        expand_all([place.folder], ["no"], exclude)


def test_a_folder_says_what_it_is(place: Place) -> None:
    place.write("a.parquet")
    assert expand_all([place.folder]).notes == ()
    place.write("year=2024", "a.parquet")
    place.write("_evensplit", "manifest.json")
    place.write("_evensplit", "plan.json")
    (note,) = expand_all([place.folder]).notes
    assert note == (
        f"{redacted(place.folder)}: destination of an earlier split, hive-partitioned by year, "
        "1 folder passed over: 1 hidden folder (_ or . in front)"
    )


def test_a_list_stands_for_what_it_names(place: Place) -> None:
    for names in (("b.parquet",), ("a,b.parquet",), ("in", "c.parquet"), ("@x",)):
        place.write(*names)
    urls = [place.path(name) for name in ("b.parquet", "a,b.parquet", "in", "@x")]
    files = [*urls[:2], place.path("in", "c.parquet"), urls[3]]
    plain = place.write("list.txt", data="\n".join(["\ufeff# remark", "", *urls]).encode())
    rows = "".join(f'"{url}",out\r\n' for url in urls)
    control = place.write("list.csv", data=f"Source,destination\r\n{rows}".encode())
    for path in (plain, control):
        found = expand_all(["@" + path])
        assert [path for _, path in found.files] == files
        assert found.patterns == tuple(urls)
    assert found.notes == (
        f"{redacted(control)}: of its columns only source is read, not destination",
    )
    with pytest.raises(NoSource, match="there is no list"):
        expand_all(["@" + place.path("none")])


@pytest.mark.ways(45)
@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        (("_delta_log", "00000000000000000000.json"), "Delta"),
        (("metadata", "00001-a.metadata.json"), "Iceberg"),
        ((".hoodie", "hoodie.properties"), "Hudi"),
        (("_spark_metadata", "0"), "Spark streaming"),
    ],
)
@pytest.mark.parametrize("asked", [(), ("data",), ("data", "*.parquet"), ("data", "a=1"), ("**",)])
def test_a_table_is_told_by_its_marks(
    place: Place, mark: tuple[str, str], kind: str, asked: tuple[str, ...]
) -> None:
    place.write("t", "data", "x.parquet")
    live = place.write("t", "data", "a=1", "y.parquet")
    place.write("t", *mark)
    found = expand_all([place.path("t", *asked)])
    (problem,) = found.problems
    assert f"{place.path('t')} is a{'n' * (kind == 'Iceberg')} {kind} table" in problem
    assert not expand_all([live]).problems


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        (("",), ("year", "month")),
        (("*/*/*.parquet",), ("year", "month")),
        (("year=2023",), ("month",)),
        (("year=2023/month=1",), ()),
        (("year=2023/month=1/*",), ()),
        (("year=2023/month=1/a.parquet",), ()),
        (("year=2023/month=1/a.parquet", "year=2024/month=1/a.parquet"), ("year",)),
        (("year=2023/month=1", "plain.parquet"), ("year", "month")),
    ],
)
def test_columns_that_are_in_paths(
    place: Place, asked: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    for year in ("year=2023", "year=2024"):
        place.write("t", year, "month=1", "a.parquet")
    place.write("t", "plain.parquet")
    found = expand_all([place.path("t", name).rstrip("/") for name in asked])
    assert found.partition_columns == columns
    wanted = [part.partition("=")[0] for part in found.partitions[0].split("/") if part]
    assert set(wanted) <= set(columns)


def test_a_file_is_taken_once_unless_it_is_named_twice(place: Place) -> None:
    a, b = place.write("a.parquet"), place.write("b.parquet")
    found = expand_all([a, place.folder, b])
    assert [path for _, path in found.files] == [a, b]
    assert ["reached twice" in note for note in found.notes] == [True, True]
    found = expand_all([a, b, a])
    assert [path for _, path in found.files] == [a, b, a]
    assert found.notes == (f"{a} is named 2 times, and taken as often",)


# -- errors ------------------------------------------------------------------------------------


def test_a_file_that_is_missing_is_said_to_be(place: Place) -> None:
    place.write("a.parquet")
    for name in ("none.parquet", "none.csv.gz"):
        with pytest.raises(NoSource, match="there is no file or folder"):
            expand_all([place.path(name)])
    with pytest.raises(NoSource, match="no file of data in"):
        expand_all([place.path("*.csv")])


def test_an_unknown_scheme_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="nonsense"):
        open_storage("nonsense://host/path")
    with pytest.raises(BadSetting):
        open_storage("")


def test_globs_at_the_root_of_memory() -> None:
    name = f"root-{uuid.uuid4().hex}"
    place = Place(f"memory://{name}")
    place.write("x.parquet")
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"/{name}.parquet", CONTENT)
    try:
        for pattern, found in {
            f"memory://{name}*.parquet": f"memory://{name}.parquet",
            f"memory:///{name}?parquet": f"memory://{name}.parquet",
            f"memory://{name[:-1]}*/x.parquet": f"memory://{name}/x.parquet",
        }.items():
            ((store, path),) = expand_all([pattern]).files
            assert path == found
            assert store.stat(path).size_bytes == len(CONTENT)
    finally:
        fs.rm(f"/{name}.parquet")
    with pytest.raises(BadSetting, match="names no folder"):
        open_storage("memory://")


def test_no_secret_is_shown() -> None:
    assert redacted("https://me:secret@host/a?sig=secret#secret") == "https://host/a"
    assert redacted("abfs://container@account.dfs/a?sig=secret") == "abfs://container@account.dfs/a"
    assert redacted("s3://bucket/a?X-Amz-Signature=secret#b") == "s3://bucket/a"
    assert (
        redacted("sftp://me:sec?ret@host/a") == redacted("sftp://me:se/cret@host") == "sftp://..."
    )
    assert redacted("sftp://me:12?34@host/a") == "sftp://me"
    with pytest.raises(BadSetting) as caught:
        expand_all(["memory://contract-none/x.parquet?sig=secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a?b", "a#b", "a?", "a#?", "a#b?c", "?", "a?b#c/d", "/a::b?"])
@pytest.mark.parametrize("url", ["s3://bucket/", "gs://bucket/", "sftp://me@host/", "memory://"])
def test_a_name_is_shown_whole(url: str, name: str) -> None:
    """What loads the parts is written by it, too."""
    assert redacted(url + name) == url + name


# -- local files only --------------------------------------------------------------------------


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    store, path = open_storage(f"file://{tmp_path}/with%20blank.parquet")
    assert isinstance(store, LocalStorage)
    assert path == str(tmp_path / "with blank.parquet")


def test_the_lock_is_held_against_others(local: Place) -> None:
    folder = local.path("_evensplit")
    with local.store.lock(folder), pytest.raises(Locked), local.store.lock(folder):
        pass
    with local.store.lock(folder):
        pass


def _die_holding(store: Storage, folder: str) -> None:
    with store.lock(folder):
        store.create(folder + "/part.parquet", durable=False).write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_run_holds_no_lock_and_its_leftovers_go(local: Place) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_die_holding, args=(local.store, local.folder)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    local.write("part-00000.parquet")
    (Path(local.folder) / ".mine.tmp").write_bytes(b"not a part")
    assert any(name.startswith(".part.parquet.") for name in local.names())
    with local.store.lock(local.folder):
        local.store.remove_leftovers(local.folder)
    assert local.names() == [".lock", ".mine.tmp", "part-00000.parquet"]


@pytest.mark.parametrize("code", ["EXDEV", "ENOSYS", "EINVAL", "EOPNOTSUPP", "EPERM"])
def test_a_copy_goes_on_where_the_kernel_cannot(
    local: Place, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    real = os.copy_file_range
    calls = iter([None])  # the first call works, for a part; later ones fail

    def failing(source: int, target: int, count: int, offset: int) -> int:
        if next(calls, code):
            raise OSError(getattr(errno, code), code)
        return real(source, target, min(count, 1000), offset)

    monkeypatch.setattr(os, "copy_file_range", failing)
    assert _copied(local) == CONTENT[10:]

    def nor_this(*_: object) -> int:
        raise OSError(getattr(errno, code), code)

    monkeypatch.setattr(os, "sendfile", nor_this)
    assert _copied(local, "other.parquet") == CONTENT[10:]


def test_another_file_system_is_copied_to_inside_the_kernel(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise OSError(errno.EXDEV, "another device")

    by_hand = []
    monkeypatch.setattr(os, "copy_file_range", failing)
    monkeypatch.setattr(LocalSource, "chunks", lambda *asked: by_hand.extend(asked[2:]) or [])
    assert _copied(local) == CONTENT[10:]
    assert by_hand == [0]


def test_a_kernel_copy_of_nothing_is_not_taken_for_the_end(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    assert _copied(local) == CONTENT[10:]


def test_a_kernel_copy_may_come_in_small_pieces(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.copy_file_range
    monkeypatch.setattr(os, "copy_file_range", lambda s, t, n, o: real(s, t, min(n, 777), o))
    assert _copied(local) == CONTENT[10:]


def test_a_python_without_kernel_copy(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    assert _copied(local) == CONTENT[10:]


def test_another_failure_of_a_kernel_copy_is_told(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "copy_file_range", failing)
    with pytest.raises(StorageFailed):
        _copied(local)


def test_a_descriptor_whose_close_fails_is_closed_once(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number may be another thread's file by then; and nothing stays behind."""
    sink = local.store.create(local.path("part.parquet"), durable=False)
    sink.write(CONTENT)
    asked, real = [], os.close

    def failing(descriptor: int) -> None:
        real(descriptor)
        asked.append(descriptor)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "close", failing)
    with pytest.raises(StorageFailed):
        sink.commit()
    sink.abort()
    monkeypatch.undo()
    assert len(asked) == len(set(asked)) == 1
    assert not [entry for entry in local.store.files(local.path("")) if "part" in entry.name]


def _copied(place: Place, name: str = "copy.parquet") -> bytes | None:
    source = place.store.open(place.store.stat(place.write("a.parquet")))
    sink = place.store.create(place.path(name), durable=False)
    try:
        sink.copy(source, 10, len(CONTENT) - 10)
        sink.commit()
    finally:
        sink.abort()
        source.close()
    return place.store.get(place.path(name))


def test_a_descriptor_is_not_leaked_by_a_refused_source(local: Place) -> None:
    described = local.store.stat(local.write("a.parquet"))
    local.write("a.parquet", data=b"other")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(SourceChanged):
            LocalSource(described)
    assert len(os.listdir("/proc/self/fd")) == before


def _in_child(action: Callable[[], object]) -> str:
    """Run in a forked child; return name and text of the error it raised, or an empty text."""
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)

    def target() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the parent compares it
            send.send(f"{type(error).__name__}: {error}")
        else:
            send.send("")

    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    answer = receive.recv()
    process.join()
    return str(answer)


def test_a_file_size_limit_is_no_disk_space(local: Place) -> None:
    os.makedirs(local.folder)

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))
        sink = local.store.create(local.path("part.parquet"), durable=False)
        try:
            sink.write(CONTENT)
            sink.commit()  # small pieces are gathered until then
        finally:
            sink.abort()

    assert _in_child(write).startswith(NoDiskSpace.__name__)
    assert local.names() == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Place]:
    """A file system of 64 KiB; it takes root to mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount; the file size limit is tested instead")
    folder = tmp_path / "tiny"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=64k") == 0
    try:
        yield Place(str(folder))
    finally:
        libc.umount2(bytes(folder), 2)


def test_a_full_disk_is_no_disk_space(tiny_disk: Place, local: Place) -> None:
    source = local.store.open(local.store.stat(local.write("a.parquet")))
    sink = tiny_disk.store.create(tiny_disk.path("part.parquet"), durable=True)
    with pytest.raises(NoDiskSpace):
        sink.write(bytes(2 << 20))
    sink.abort()
    sink = tiny_disk.store.create(tiny_disk.path("part.parquet"), durable=True)
    with pytest.raises(NoDiskSpace):
        sink.copy(source, 0, len(CONTENT))
    sink.abort()
    sink = tiny_disk.store.create(tiny_disk.path("part.parquet"), durable=True)
    sink.write(CONTENT)
    with pytest.raises(NoDiskSpace):
        sink.commit()  # small pieces are gathered until then
    sink.abort()
    with pytest.raises(NoDiskSpace):
        tiny_disk.store.put(tiny_disk.path("plan.json"), CONTENT)
    assert tiny_disk.names() == []
    source.close()


def test_what_is_neither_file_nor_folder_is_named(local: Place) -> None:
    local.write("a.parquet")
    os.mkfifo(local.path("pipe"))
    os.symlink("gone.parquet", local.path("link"))
    for name, words in {
        "pipe": "is no file but a pipe",
        "link": "link to gone.parquet, which",
        "link/*.parquet": "link to gone.parquet, which",
    }.items():
        with pytest.raises(NoSource, match=words):
            local.store.expand(local.path(name))
    assert local.store.expand(local.path("nothing")).entries == ()


def test_no_permission_is_told(local: Place) -> None:
    path = Path(local.write("a.parquet"))
    described = local.store.stat(str(path))
    path.chmod(0)
    os.chmod(local.folder, 0o555)
    for parent in Path(local.folder).parents:
        if parent.stat().st_uid == os.geteuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | 0o055)

    def as_nobody(action: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            action()

        return run

    def is_told(tried: str, action: Callable[[], object]) -> None:
        told = _in_child(as_nobody(action))
        assert told.startswith(f"{NoPermission.__name__}: no permission to {tried} {local.folder}")
        assert told.endswith("; have its owner allow it, or name another")

    store = local.store
    is_told("read", lambda: store.open(described))
    is_told("read", lambda: store.get(str(path)))
    is_told("write", lambda: store.create(local.path("b.parquet"), durable=False))
    is_told("write", lambda: store.put(local.path("b.json"), b""))
    is_told("write", lambda: store.put_if_absent(local.path("b.json"), b""))
    is_told("remove", lambda: store.remove(str(path)))
    is_told("write", lambda: store.create(local.path("new", "b.parquet"), durable=False))
    os.chmod(local.folder, 0)
    is_told("list", lambda: store.files(local.folder))
    is_told("list", lambda: store.folders(local.folder))
    is_told("list", lambda: store.expand(local.folder))
    is_told("list", lambda: store.expand(local.path("*.parquet")))
    is_told("reach", lambda: store.expand(local.path("a.parquet")))
    is_told("reach", lambda: store.stat(str(path)))
    is_told("write", lambda: store.lock(local.folder).__enter__())
    is_told("reach", lambda: store.expand(local.path("below", "*.parquet")))
    os.chmod(local.folder, 0o755)


def test_a_part_where_a_folder_stands(local: Place) -> None:
    local.write("part.parquet", "inner.parquet")
    sink = local.store.create(local.path("part.parquet"), durable=False)
    sink.write(b"x")
    with pytest.raises((NoSource, StorageFailed)):
        sink.commit()
    sink.abort()
    assert local.names() == []


def test_many_pieces_come_out_in_order_however_they_are_gathered(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.storage.local._GATHERED_BYTES", 3000)
    writev = os.writev
    # The kernel may take less than all; here it takes 700 bytes, which end inside some piece.
    monkeypatch.setattr(
        "os.writev", lambda file, views: writev(file, [b"".join(map(bytes, views))[:700]])
    )
    source = local.store.open(local.store.stat(local.write("a.parquet")))
    sink = local.store.create(local.path("part.parquet"), durable=False)
    pieces = [bytes([i % 251]) * (i % 97) for i in range(1500)]
    for piece in pieces[:1000]:
        sink.write(memoryview(piece))
    sink.copy(source, 5, 100)
    for piece in pieces[1000:]:
        sink.write(piece)
    whole = b"".join([*pieces[:1000], CONTENT[5:105], *pieces[1000:]])
    assert sink.size_bytes == len(whole)
    sink.commit()
    source.close()
    assert Path(local.path("part.parquet")).read_bytes() == whole


def test_durable_parts_start_write_back_early(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []
    monkeypatch.setattr("engine.system.start_write_back", lambda *a: calls.append(a))
    monkeypatch.setattr("engine.storage.local.WRITE_BACK_STEP_BYTES", 1000)
    monkeypatch.setattr("engine.storage.local._GATHERED_BYTES", 500)
    sink = local.store.create(local.path("part.parquet"), durable=True)
    assert isinstance(sink, LocalSink)
    sink.write(b"x" * 600)
    sink.write(b"x" * 600)
    assert [call[1:3] for call in calls] == [(0, 1200)]
    sink.abort()
