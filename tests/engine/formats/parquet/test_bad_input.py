"""Bad input: one line that says what to do, the right exit code, and nothing lost or half done."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

import engine
from engine.errors import BadStructure, SourceChanged
from engine.formats.parquet.bytes import spec, thrift
from engine.ledger.manifest import Ledger
from engine.splitter import Progress
from engine.wording import counted
from tests.engine.formats.parquet.test_verifier import rewrite_chunk
from tests.engine.running import (
    Ended,
    contents,
    end,
    leftovers,
    make_table,
    parts_of,
    read_parts,
    run,
    start,
    write_source,
)

SIZE = ("--target-size", "150kB")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source.parquet")


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "parts"


def refused(ended: Ended, kind: str, code: int, *words: str) -> None:
    """The error is this one, told in one line that holds these words."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith(f"evensplit: {kind}: ")
    for word in words:
        assert word in lines[0]


# -- the source ----------------------------------------------------------------------------------


def not_parquet(good: bytes) -> bytes:
    return b"id,name\n1,one\n2,two\n" * 10


def tiny(good: bytes) -> bytes:
    return b"PAR1"


def empty(good: bytes) -> bytes:
    return b""


def other_magic_first(good: bytes) -> bytes:
    return b"XXXX" + good[4:]


def truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def truncated_by_one_byte(good: bytes) -> bytes:
    return good[:-1]


def footer_length_beyond_the_file(good: bytes) -> bytes:
    return good[:-8] + (len(good) + 1).to_bytes(4, "little") + good[-4:]


def footer_length_of_four_gigabytes(good: bytes) -> bytes:
    return good[:-8] + b"\xff\xff\xff\xff" + good[-4:]


def footer_of_zeros(good: bytes) -> bytes:
    length = int.from_bytes(good[-8:-4], "little")
    return good[: -8 - length] + bytes(length) + good[-8:]


def offsets_beyond_the_file(good: bytes) -> bytes:
    return good[:4] + good[50_000:]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (not_parquet, "source.not-parquet"),
        (tiny, "source.not-parquet"),
        (empty, "source.not-parquet"),
        (other_magic_first, "source.not-parquet"),
        (truncated, "source.not-parquet"),
        (truncated_by_one_byte, "source.not-parquet"),
        (footer_length_beyond_the_file, "source.damaged"),
        (footer_length_of_four_gigabytes, "source.damaged"),
        (footer_of_zeros, "source.damaged"),
        (offsets_beyond_the_file, "source.damaged"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("verb", ["split", "plan", "profile"])
def test_a_damaged_source_is_refused(
    source: Path, dest: Path, damage: Callable[[bytes], bytes], kind: str, verb: str
):
    source.write_bytes(damage(source.read_bytes()))
    if (verb, damage) == ("profile", offsets_beyond_the_file):
        return  # a profile shows what the footer says, and the footer is sound
    words = {"split": [source, dest], "plan": [source], "profile": [source]}[verb]
    refused(run(verb, *words), kind, 3, str(source))
    assert not dest.exists()


@pytest.mark.parametrize(
    "way",
    ["--no-dictionary", "--dictionary", "--codec=zstd", "--row-group-size=1GB", "--parts=3"],
)
def test_a_dictionary_that_is_not_there_is_told_with_its_place(
    tmp_path: Path, dest: Path, way: str
):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"x": ["a", "b", "c"] * 1000}), source, row_group_size=1500)

    def without_dictionary(chunk: thrift.Struct) -> None:
        meta, names = chunk[spec.ColumnChunk.META_DATA][1], spec.ColumnMetaData
        del meta[names.DICTIONARY_PAGE_OFFSET]
        lost = meta[names.DATA_PAGE_OFFSET][1] - len(b"PAR1")
        size = meta[names.TOTAL_COMPRESSED_SIZE][1] - lost
        meta[names.TOTAL_COMPRESSED_SIZE] = spec.entry(names.TOTAL_COMPRESSED_SIZE, size)

    rewrite_chunk(source, 0, without_dictionary)
    ended = run("split", source, dest, way)
    refused_late(ended, "source.damaged-page", 3, f"{source}: column x, row group 0", "dictionary")


@pytest.mark.parametrize("num_values", [-11, 0, 1, 10**12])
def test_a_flat_chunk_of_other_values_than_rows_is_refused(
    source: Path, dest: Path, num_values: int
):
    def miscount(chunk: thrift.Struct) -> None:
        meta, field = chunk[spec.ColumnChunk.META_DATA][1], spec.ColumnMetaData.NUM_VALUES
        meta[field] = spec.entry(field, num_values)

    rewrite_chunk(source, 0, miscount)
    said = f"column id, row group 0: {counted(num_values, 'value')} for"
    refused(run("split", source, dest), "source.damaged-page", 3, str(source), said)
    assert not dest.exists()


class _Kms(pe.KmsClient):
    def __init__(self, config: Any) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_an_encrypted_source_is_refused(tmp_path: Path, dest: Path, plaintext_footer: bool):
    config = pe.EncryptionConfiguration(
        footer_key="key", column_keys={"key": ["random"]}, plaintext_footer=plaintext_footer
    )
    properties = pe.CryptoFactory(_Kms).file_encryption_properties(pe.KmsConnectionConfig(), config)
    table = make_table(100)
    path = tmp_path / "secret.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    refused(run("split", path, dest), "source.encrypted", 3, str(path), "decrypt")
    assert not dest.exists()


def test_zero_rows_make_one_empty_part(tmp_path: Path, dest: Path):
    path = write_source(tmp_path / "empty.parquet", num_rows=0)
    ended = run("split", path, dest, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["num_rows"] == 0
    (part,) = parts_of(dest)
    assert pq.read_table(part).equals(pq.read_table(path))
    assert duckdb.sql(f"select count(*) from '{part}'").fetchall() == [(0,)]
    assert run("split", path, dest).code == 0


def test_zero_columns_are_refused(tmp_path: Path, dest: Path):
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({}), path)
    refused(run("split", path, dest), "source.unsupported", 3, "no columns")
    assert not dest.exists()


def test_sources_of_different_schemas_are_refused(tmp_path: Path, source: Path, dest: Path):
    other = tmp_path / "other.parquet"
    table = make_table(10)
    pq.write_table(table.set_column(0, "id", table["id"].cast(pa.int32())), other)
    refused(run("split", source, other, dest), "source.schemas-differ", 3, "id", str(other))
    assert not dest.exists()


@pytest.mark.parametrize("name", ["nothing.parquet", "nothing/*.parquet", "nothing"])
def test_a_source_that_is_not_there_is_refused(tmp_path: Path, dest: Path, name: str):
    refused(run("split", tmp_path / name, dest), "call.no-source", 2, name)
    assert not dest.exists()


def test_a_source_that_changed_since_the_split_was_begun_is_refused(source: Path, dest: Path):
    assert run("split", source, dest, *SIZE).code == 0
    before = contents(dest)
    write_source(source, seed=2)
    refused(run("split", source, dest, *SIZE), "source.changed", 3, str(source), "--overwrite")
    assert contents(dest) == before
    assert run("split", source, dest, *SIZE, "--overwrite").code == 0
    assert read_parts(dest).equals(pq.read_table(source))


def test_a_source_that_changes_between_plan_and_first_part_is_refused(
    source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
):
    claim = Ledger.claim

    def slow_claim(*arguments: Any, **options: Any) -> Any:
        os.utime(source)
        return claim(*arguments, **options)

    monkeypatch.setattr(Ledger, "claim", slow_claim)
    refused_late(run("split", source, dest, *SIZE), "source.changed", 3)
    assert not parts_of(dest)
    assert not leftovers(dest)


class _ChangeTheSource(Progress):
    def __init__(self, source: Path) -> None:
        self.source = source

    def committed(self, receipt: Any) -> None:
        write_source(self.source, seed=2)


def test_a_source_that_changes_during_the_split_is_refused(source: Path, dest: Path):
    original = pq.read_table(source)
    with pytest.raises(SourceChanged):
        engine.split(
            str(source),
            str(dest),
            parts=8,
            workers=1,
            progress=_ChangeTheSource(source),
        )
    assert not (dest / "_evensplit/manifest.json").exists()
    for path in parts_of(dest):
        part = pq.read_table(path)
        assert part.equals(original.slice(part["id"][0].as_py(), part.num_rows))


# -- the destination -----------------------------------------------------------------------------


def test_a_destination_with_files_of_others_is_refused_and_left_alone(source: Path, dest: Path):
    dest.mkdir()
    (dest / "thesis.txt").write_text("years of work")
    for options in ((), ("--overwrite",)):
        refused(
            run("split", source, dest, *options), "call.destination-in-use", 2, "thesis.txt", "name"
        )
        assert contents(dest) == {"thesis.txt": b"years of work"}


def test_a_destination_with_a_folder_of_others_is_refused(source: Path, dest: Path):
    (dest / "2024").mkdir(parents=True)
    refused(run("split", source, dest), "call.destination-in-use", 2, "2024")


def test_a_destination_that_is_a_file_is_refused(tmp_path: Path, source: Path):
    path = tmp_path / "file"
    path.write_text("text")
    refused(run("split", source, path), "call.destination-in-use", 2, "is a file")
    refused(run("split", source, path / "parts"), "call.destination-in-use", 2, "is a file")
    assert path.read_text() == "text"


def test_another_plan_is_refused_and_replaced_only_with_overwrite(source: Path, dest: Path):
    assert run("split", source, dest, "--parts", "9").code == 0
    (dest / "notes.txt").write_text("mine")
    before = contents(dest)
    refused(run("split", source, dest, "--parts", "2"), "call.other-plan", 2, "--overwrite")
    assert contents(dest) == before
    assert run("split", source, dest, "--parts", "2", "--overwrite").code == 0
    assert len(parts_of(dest)) == 2
    assert read_parts(dest).equals(pq.read_table(source))
    assert (dest / "notes.txt").read_text() == "mine"
    assert len(list((dest / "_evensplit/receipts").iterdir())) == 2


def test_overwrite_does_not_replace_a_file_of_others_with_a_part_name(source: Path, dest: Path):
    assert run("split", source, dest, "--parts", "2").code == 0
    (dest / "part-00002.parquet").write_text("mine")
    before = contents(dest)
    ended = run("split", source, dest, "--parts", "3", "--overwrite")
    refused(ended, "call.destination-in-use", 2, "part-00002.parquet")
    assert contents(dest) == before


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("in", "in"),
        ("in", "in/parts"),
        ("in/*.parquet", "in/x.parquet"),
        ("in/*/*.parquet", "in/parts"),
        ("**/*.parquet", "in/parts"),
        ("in/a.parquet", "in/a.parquet"),
        ("in", "link"),
    ],
)
def test_a_destination_inside_the_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, src: str, dst: str
):
    write_source(tmp_path / "in/a.parquet", num_rows=100)
    write_source(tmp_path / "in/sub/b.parquet", num_rows=100)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    if dst == "in/x.parquet":  # a folder beside the files that the glob does not take in
        assert run("split", src, dst).code == 0
        return
    refused(run("split", src, dst), "call.destination-in-source", 2, dst)
    assert contents(tmp_path) == before


def test_a_damaged_plan_is_refused(source: Path, dest: Path):
    assert run("split", source, dest, *SIZE).code == 0
    plan = dest / "_evensplit/plan.json"
    for text in ("", "{", "null", "[1]", '{"plan_id": "x"}'):
        plan.write_text(text)
        before = contents(dest)
        ended = run("split", source, dest, *SIZE)
        refused(ended, "call.not-a-split", 2, "plan.json", "--overwrite", "remove")
        assert contents(dest) == before
    assert run("split", source, dest, *SIZE, "--overwrite").code == 0
    assert run("verify", dest).code == 0


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", '{"index": "0"}', '{"index": -1, "notes": []}', "\x00\xff"]
)
def test_a_damaged_receipt_has_its_part_written_again(source: Path, dest: Path, text: str):
    assert run("split", source, dest, *SIZE).code == 0
    before = contents(dest)
    (dest / "_evensplit/manifest.json").unlink()
    (dest / "_evensplit/receipts/00001.json").write_text(text, encoding="latin-1")
    assert json.loads(run("split", source, dest, *SIZE, "--json").out)["num_resumed"] == (
        len(parts_of(dest)) - 1
    )
    assert contents(dest) == before


def test_a_receipt_under_another_name_counts_once(source: Path, dest: Path):
    assert run("split", source, dest, *SIZE).code == 0
    receipts = dest / "_evensplit/receipts"
    shutil.copy(receipts / "00000.json", receipts / "00001.json")
    shutil.copy(receipts / "00000.json", receipts / "00099.json")
    ended = run("split", source, dest, *SIZE, "--json")
    assert ended.code == 0, ended.err
    assert read_parts(dest).equals(pq.read_table(source))


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_a_damaged_manifest_is_written_again(source: Path, dest: Path, text: str):
    assert run("split", source, dest, *SIZE).code == 0
    before = contents(dest)
    (dest / "_evensplit/manifest.json").write_text(text)
    assert run("split", source, dest, *SIZE).code == 0
    assert contents(dest) == before


# -- permission, space ---------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="evensplit-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Whom permissions bind: nobody, if this is root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_a_glob_cannot_see_is_not_left_out(open_folder: Path):
    for name in ("a", "b"):
        (open_folder / name).mkdir()
        write_source(open_folder / name / "x.parquet", num_rows=10)
    (open_folder / "no-folder").touch()
    assert run("plan", open_folder / "*" / "x.parquet").code == 0
    for mode, pattern in ((0, "*/*.parquet"), (0o444, "?/[x].parquet"), (0, "*/x.parquet")):
        (open_folder / "b").chmod(mode)
        with ordinary_user():
            found = run("plan", f"{open_folder}/{pattern}")
        refused(found, "call.no-permission", 2, f"{open_folder / 'b'}")
        (open_folder / "b").chmod(0o755)
    (open_folder / "b" / "y.parquet").symlink_to("nowhere")
    refused(run("plan", open_folder / "*" / "*.parquet"), "call.no-source", 2, "b/y.parquet")
    (open_folder / "b" / "y.parquet").unlink()
    os.mkfifo(open_folder / "b" / "z.parquet")
    refused(run("plan", open_folder / "*" / "*.parquet"), "call.no-source", 2, "b/z.parquet")


def test_a_link_to_itself_disturbs_no_one(open_folder: Path):
    source = write_source(open_folder / "in" / "x.parquet", num_rows=10)
    (open_folder / "in" / "loop").symlink_to("loop")
    for place in (source, source.parent, source.parent / "*.parquet", open_folder / "*" / "x*"):
        assert run("plan", place).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that another user finds")
@pytest.mark.parametrize("closed", ["sticky", "receipts"])
def test_what_another_user_may_not_replace_stays_whole(open_folder: Path, closed: str):
    """Nothing goes before it is known that all may go: the split would be unfinished for ever."""
    source = write_source(open_folder / "source.parquet", num_rows=1000)
    dest = open_folder / "parts"
    assert run("split", source, dest, "--parts", 2).code == 0
    for path in (dest, *dest.rglob("*")):
        path.chmod(0o777)
    if closed == "sticky":
        dest.chmod(0o1777)
    else:
        (dest / "_evensplit" / "receipts").chmod(0o755)
    before = contents(dest)
    with ordinary_user():
        ended = run("split", source, dest, "--parts", 3, "--overwrite")
    refused_late(ended, "call.no-permission", 2, str(dest), "have its owner allow it")
    assert contents(dest) == before
    assert run("split", source, dest, "--parts", 3, "--overwrite", "--verify").code == 0


def test_no_permission_is_told(open_folder: Path):
    source = write_source(open_folder / "source.parquet", num_rows=1000)
    assert run("split", source, open_folder / "warm").code == 0  # everything is imported
    closed = open_folder / "closed"
    closed.mkdir()
    shutil.copy(source, closed)
    hidden = shutil.copy(source, open_folder / "hidden.parquet")
    os.chmod(hidden, 0)
    closed.chmod(0o555)
    with ordinary_user():
        refused(
            run("split", source, closed / "parts"), "call.no-permission", 2, str(closed / "parts")
        )
        refused(run("split", hidden, open_folder / "x"), "call.no-permission", 2, str(hidden))
    assert not (closed / "parts").exists()
    closed.chmod(0)
    with ordinary_user():
        refused(run("split", closed / "source.parquet", "x"), "call.no-permission", 2, str(closed))
        refused(run("split", closed / "*.parquet", "x"), "call.no-permission", 2, str(closed))
        refused(run("split", closed, "x"), "call.no-permission", 2, str(closed))
        refused(run("split", source, closed / "y"), "call.no-permission", 2, str(closed))
    closed.chmod(0o755)


def test_a_part_that_may_not_grow_is_no_space(source: Path, dest: Path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    ended = end(start("split", source, dest, *SIZE, preexec_fn=limit))
    refused_late(ended, "space.disk", 4, "free some")
    assert not leftovers(dest)
    assert run("split", source, dest, *SIZE).code == 0
    assert read_parts(dest).equals(pq.read_table(source))


def refused_late(ended: Ended, kind: str, code: int, *words: str) -> None:
    """The error is this one; the plan was told before."""
    assert ended.code == code, ended.err
    *_, line = ended.err.splitlines()
    assert line.startswith(f"evensplit: {kind}: ")
    for word in words:
        assert word in line
    assert "Traceback" not in ended.err


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "none", str(folder)]
    with suppress(FileNotFoundError):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    pytest.skip("only root may mount a disk; the test with a file size limit stands in")


def test_a_disk_that_fills_up_keeps_finished_parts_and_the_split_resumes(
    tmp_path: Path, source: Path
):
    # Room for what is certain, so that the split begins, and not for all.
    parts = engine.plan(str(source), target_size=SIZE[1]).parts
    room_bytes = sum(part.predicted_bytes - part.reencoded_bytes // 4 for part in parts)
    with small_disk(tmp_path / "disk", room_bytes) as disk:
        ballast = disk / "ballast"
        dest = disk / "parts"
        refused_late(
            run("split", source, dest, *SIZE, "--workers", "1"), "space.disk", 4, "free some"
        )
        finished = {path: path.stat().st_mtime_ns for path in parts_of(dest)}
        assert finished
        assert not leftovers(dest)
        assert not ballast.exists()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        result = json.loads(run("split", source, dest, *SIZE, "--json").out)
        # The disk may have been full for the receipt of the last one.
        assert result["num_resumed"] in (len(finished), len(finished) - 1)
        assert sum(path.stat().st_mtime_ns != was for path, was in finished.items()) <= 1
        assert read_parts(dest).equals(pq.read_table(source))


def test_too_little_memory_is_refused_before_any_work(source: Path, dest: Path):
    ended = run("split", source, dest, "--memory", "1MiB")
    refused(ended, "space.memory", 4, "needs", "budget is 1.00 MiB", "--memory")
    assert not dest.exists()


# -- the call ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--target-size", "abc"), "abc"),
        (("--target-size", "0"), "above zero"),
        (("--target-size", "-5MB"), "-5MB"),
        (("--parts", "0"), "at least 1"),
        (("--parts", "x"), "--parts"),
        (("--rows-per-part", "-3"), "at least 1"),
        (("--parts", "2", "--rows-per-part", "3"), "exclude"),
        (("--scheduler", "tcp://127.0.0.1:1", "--memory", "1GB"), "cluster"),
        (("--cut", "page"), "row-group"),
        (("--name", "part.parquet"), "{index}"),
        (("--name", "a/{index}.parquet"), "slash"),
        (("--name", "_{index}.parquet"), "_"),
        (("--workers", "0"), "at least 1"),
        (("--memory", "much"), "much"),
        (("--resume", "--overwrite"), "exclude"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_a_bad_option_is_refused(source: Path, dest: Path, options: tuple[str, ...], word: str):
    refused(run("split", source, dest, *options), "call.setting", 2, word)
    assert not dest.exists()


def test_a_missing_argument_is_refused():
    refused(run("split"), "call.setting", 2, "SRC")


def test_a_target_smaller_than_a_row_is_refused(source: Path, dest: Path):
    refused(
        run("split", source, dest, "--target-size", "1000"),
        "call.target-too-small",
        2,
        "1,000 bytes",
        "raise --target-size",
    )
    assert not dest.exists()


def test_a_target_that_uncertain_bytes_leave_too_little_of_is_refused_with_a_larger_one(
    source: Path, dest: Path
):
    ended = run("split", source, dest, "--target-size", "3000", "--quiet")
    (wanted,) = re.findall(r"kept free .* to about ([\d,]+) or more", ended.err)
    refused(ended, "call.target-too-small", 2, "uncertain")
    assert not dest.exists()
    assert int(wanted.replace(",", "")) > 3000


def test_a_target_smaller_than_a_row_group_is_refused_if_only_these_may_be_cut(
    source: Path, dest: Path
):
    ended = run("split", source, dest, "--target-size", "50kB", "--cut", "row-group")
    refused(ended, "call.target-too-small", 2, "50,000")
    assert not dest.exists()


@pytest.mark.parametrize("text", ["not = [toml", "[split]\nno_such = 1", "[nothing]\nx = 1"])
def test_a_bad_configuration_is_refused(tmp_path: Path, source: Path, dest: Path, text: str):
    path = tmp_path / "conf.toml"
    path.write_text(text)
    refused(run("--config", path, "split", source, dest), "call.setting", 2, str(path))
    assert not dest.exists()


def test_json_tells_errors_to_machines(source: Path, dest: Path):
    for options, kind in ((("--parts", "0"), "call.setting"), (("--bad",), "call.setting")):
        ended = run("split", source, dest, "--json", *options)
        error = json.loads(ended.out)["error"]
        assert (error["kind"], error["exit_code"], ended.code) == (kind, 2, 2)
        assert error["message"] in ended.err


def test_a_defect_has_an_exit_code_too(source: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(engine, "plan", broken)
    ended = run("plan", source, "--json")
    assert ended.code == 70
    assert json.loads(ended.out)["error"]["kind"] == "internal"
    assert ended.err.splitlines()[-1].startswith("evensplit: internal: RuntimeError: two lines")


# -- secrets -------------------------------------------------------------------------------------

SECRET = "s3cr3t"
URLS = [
    f"https://account.blob.core.windows.net/container/a.parquet?sv=2024&sig={SECRET}",
    f"abfs://container@account.dfs.core.windows.net/a.parquet?sig={SECRET}",
    f"https://user:{SECRET}@127.0.0.1:1/a.parquet",
    f"sftp://user:{SECRET}@127.0.0.1/a.parquet",
    f"memory://folder/a.parquet?sig={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_with_a_secret_is_refused_and_never_shown(source: Path, dest: Path, url: str):
    for words in (
        ("split", url, dest),
        ("split", source, url),
        ("plan", url),
        ("profile", url),
        ("split", source, url, "--json"),
        ("verify", url),
    ):
        ended = run(*words)
        assert ended.code == 2
        assert SECRET not in ended.out + ended.err
        assert "evensplit: call.setting: " in ended.err
    assert not dest.exists()


def test_fixed_values_of_less_than_no_bytes_are_refused(tmp_path: Path):
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"x": pa.array([b"ab"] * 9, pa.binary(2))}), source)
    data = source.read_bytes()
    # Schema element of x: its type (7), its length (2).
    before, after = b"\x15\x0e\x15\x04\x15\x02", b"\x15\x0e\x15\x01\x15\x02"
    assert data.count(before) == 1
    source.write_bytes(data.replace(before, after))
    with pytest.raises(BadStructure, match="column x has values of -1 bytes"):
        engine.split(source, tmp_path / "parts", parts=2)
