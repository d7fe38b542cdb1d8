"""Files that are no plain lines: right, or refused in a line that says where and what to do."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import (
    BadSetting,
    BadStructure,
    EvensplitError,
    NotLines,
    SchemaMismatch,
    TargetTooSmall,
    Unsupported,
)

HEADER = b"id,name,note\n"
ROWS = b"".join(b'%d,name,"x,\ny"\n' % number for number in range(1_000))
NUMBERS = b"id,n\n" + b"".join(b"%d,%d\n" % (number, number * 7) for number in range(100))
SKIPPED = b"\x50\x2a\x4d\x18\1\0\0\0x"  # a frame of zstd without text
with io.BytesIO() as _file, tarfile.open(fileobj=_file, mode="w") as _archive:
    _archive.addfile(tarfile.TarInfo("a.csv"))
    TAR = _file.getvalue() + NUMBERS
JSON = b"".join(b'{"a": %d}\n' % number for number in range(50))


def split(tmp_path: Path, file: str, data: bytes, **options: Any) -> list[bytes]:
    """The parts; nothing may be written where a file is refused."""
    (tmp_path / file).write_bytes(data)
    try:
        engine.split(tmp_path / file, tmp_path / "out", verify=True, **options)
    except EvensplitError:
        assert not (tmp_path / "out").exists()
        raise
    return [path.read_bytes() for path in sorted((tmp_path / "out").glob("part-*"))]


@pytest.mark.parametrize(
    ("name", "data", "error", "told"),
    [
        ("a.csv", HEADER + ROWS + b'1,x,"never\n' + b"2,3,4\n" * 9, BadStructure, "line 2,002: .*"),
        (
            "a.csv",
            HEADER + ROWS + b'1,x,"never\n' + ROWS,
            BadStructure,
            "line 2,003: text follows .* opened in line 2,002",
        ),
        ("a.csv", HEADER + b'1,"x" y,3\n' * 9, BadStructure, "line 2: text follows"),
        ("a.csv", "id,a\n1,2\n".encode("utf-16"), Unsupported, "UTF-16"),
        ("a.csv", "id,a\n1,2\n".encode("utf-16-le"), Unsupported, "UTF-16"),
        ("a.csv.gz", gzip.compress(gzip.compress(ROWS)), Unsupported, "gzip"),
        ("a.csv.gz", gzip.compress(HEADER + ROWS)[:-1], BadStructure, "ends early, at byte"),
        ("a.csv.gz", gzip.compress(HEADER + ROWS) + b"more", BadStructure, "no gzip"),
        ("a.csv.gz", gzip.compress(bytes(range(1, 256)) * 9), NotLines, "neither"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd" + ROWS, BadStructure, "zstd"),
        ("a.csv", b"PK\x03\x04" + ROWS, Unsupported, "zip archive"),
        ("a.csv", b"id,a\r1,2\r", Unsupported, "carriage returns"),
        (
            "a.csv",
            b"\xef\xbb\xbfsep=;\r\nid;n\r\n1;2\r\n",
            Unsupported,
            "tells Excel the delimiter",
        ),
        ("a.tar.gz", gzip.compress(TAR), Unsupported, "a tar archive"),
        ("a.tar", TAR, Unsupported, "a tar archive"),
        ("a.csv.zst", SKIPPED * 1_001, Unsupported, "passed over: decompress it"),
        ("a.csv", bytes(range(1, 256)) * 9, NotLines, "neither"),
        ("a.json", json.dumps([{"a": 1}, {"a": 2}], indent=1).encode(), NotLines, "one a line"),
        ("a.ndjson", NUMBERS, NotLines, "one a line"),
        ("a.csv", b"name,city\nann,bern\nbob,basel\n", BadSetting, "--header yes or --header no"),
        ("a.csv", b"ann,N/A\nbob,5\n", BadSetting, "--header yes or --header no"),
        ("a.csv", b"ann, -\nbob,5\n", BadSetting, "--header yes or --header no"),
        ("a.csv", b"1,5;2,5\n" * 9, BadSetting, "several delimiters .*: give --delimiter"),
        ("a.csv", b"x" * 1_100_000 + b"\n", BadSetting, "--header no"),
        ("a.csv", b"id,n\n1," + b"7" * 1_100_000 + b"\n", BadSetting, "--header yes"),
        ("a.csv", b"country,2020,2021\nch,1,2\nde,3,4\n", BadSetting, "numbers may be names"),
    ],
)
def test_what_cannot_be_split_is_told(tmp_path, name, data, error, told):
    with pytest.raises(error, match=rf"/{name}: .*{told}"):
        split(tmp_path, name, data)


@pytest.mark.parametrize(
    ("data", "num_rows"),
    [
        (HEADER + b"".join(b"%d,a,b\n" % n for n in range(99)) + b"1,2\n1,2,3,4\n", 101),  # ragged
        (NUMBERS + b"1,\0\n", 101),
        (NUMBERS.replace(b"\n", b"\r\n") + b"1,2\n3,4\r\n", 102),
        (NUMBERS[:-1], 100),
        (b"\xef\xbb\xbf" + NUMBERS, 100),
        (NUMBERS + "7,\u4e2d\n".encode("gbk"), 101),
        (NUMBERS + b"\n\n", 102),  # lines, as some readers count them
    ],
)
def test_what_can_be_copied_is_copied(tmp_path: Path, data: bytes, num_rows: int):
    parts = split(tmp_path, "in.csv", data, parts=3)
    header = data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)[0]
    assert parts[0] + b"".join(part.removeprefix(header) for part in parts[1:]) == data
    assert sum(part.count(b"\n") + (part[-1:] != b"\n") - 1 for part in parts) == num_rows


@pytest.mark.parametrize("data", [b"", b"id,name\n", b"id,name", b"\xef\xbb\xbfid\n"])
def test_files_without_records_are_one_part(tmp_path: Path, data: bytes):
    assert split(tmp_path, "in.csv", data) == [data]


def test_the_content_decides_the_format(tmp_path: Path):
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "table.csv")
    engine.split(tmp_path / "table.csv", tmp_path / "table", parts=1, verify=True)
    assert pq.read_table(tmp_path / "table" / "part-00000.parquet").num_rows == 3
    assert b"".join(split(tmp_path, "in.csv", JSON, parts=2)) == JSON
    assert sorted(path.suffix for path in (tmp_path / "out").glob("part-*")) == [".ndjson"] * 2


@pytest.mark.parametrize("name", ["data", "data.out"])
def test_names_need_not_say_it(tmp_path: Path, name: str):
    (first, second) = split(tmp_path, name, NUMBERS, parts=2)
    assert first + second.removeprefix(b"id,n\n") == NUMBERS
    assert (tmp_path / "out" / "part-00001.csv").exists()


def test_a_record_over_the_target_is_refused(tmp_path: Path):
    data = b"1,a\n2," + b"x" * 1_000_000 + b"\n3,b\n"
    with pytest.raises(TargetTooSmall, match="only row 1 takes about 1,000,003 bytes"):
        split(tmp_path, "in.csv", data, target_size=500_000)


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "snappy"},
        {"row_group_size": "1MB"},
        {"row_group_size": "10rows"},
        {"columns": "id"},
        {"data_page_version": 2},
        {"dictionary": False},
        {"cut": "row-group"},
    ],
    ids=str,
)
def test_options_of_parquet_are_refused(tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(BadSetting, match="is for Parquet"):
        split(tmp_path, "in.csv", NUMBERS, **options)


@pytest.mark.parametrize("option", ["header", "delimiter", "quote", "escape"])
def test_options_of_lines_are_refused_for_other_formats(tmp_path: Path, option: str):
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "in.parquet")
    value = {"header": "yes"}.get(option, "!")
    with pytest.raises(BadSetting, match=rf"--{option} is for files of lines"):
        engine.plan(tmp_path / "in.parquet", **{option: value})
    with pytest.raises(BadSetting, match=rf"--{option}.* is for delimited text"):
        split(tmp_path, "in.json", JSON, **{option: value})


def test_files_of_two_kinds_are_no_one_source(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(NUMBERS)
    for name, data, what in [
        ("b.csv", b"id,m\n1,2\n", "headers"),
        ("c.csv", NUMBERS.replace(b",", b";"), "headers"),
        ("d.ndjson", JSON, "kinds of records"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SchemaMismatch, match=f"different {what}"):
            engine.plan([tmp_path / "a.csv", tmp_path / name])


@pytest.mark.parametrize(
    ("name", "data", "ending"),
    [
        ("x-{index}.parquet", NUMBERS, r"\.csv"),
        ("x-{index}.json", NUMBERS, r"\.csv"),
        ("x-{index}.tsv", JSON, r"\.ndjson"),
    ],
)
def test_names_of_another_format_are_refused(tmp_path: Path, name: str, data: bytes, ending: str):
    with pytest.raises(BadSetting, match=f"is for another format: end it in {ending}"):
        split(tmp_path, "in.csv", data, name=name)


@pytest.mark.parametrize(
    ("name", "data"), [("x-{index}.txt", JSON), ("x-{index}.json", JSON), ("{index}.psv", NUMBERS)]
)
def test_names_of_the_format_are_taken(tmp_path: Path, name: str, data: bytes):
    split(tmp_path, "in.csv", data, name=name)
    assert (tmp_path / "out" / name.format(index=0)).read_bytes() == data


def test_a_profile_of_lines_has_a_verb_of_its_own(tmp_path: Path):
    (tmp_path / "in.csv").write_bytes(NUMBERS)
    with pytest.raises(BadSetting, match="call profile_lines"):
        engine.profile(tmp_path / "in.csv")


def test_a_delimiter_may_be_beside_decimal_commas(tmp_path: Path):
    rows = b"".join(b'%d,5;"a\nb"\n' % number for number in range(100))
    parts = split(tmp_path, "in.csv", b"id;note\n" + rows, parts=3)
    assert sum(part.count(b'"a\nb"') for part in parts) == 100
    assert all(part.startswith(b"id;note\n") for part in parts)


@pytest.mark.parametrize(
    ("data", "is_asked"),
    [
        (b"'id','n'\n1,2\n", True),
        (b"id,n\n" + b"1,'a, b'\n2,'c'\n" * 3, True),
        (b"id,n\n1,'a'\n2,\n3,'b'\n4,''\n", True),
        (b"id,n\n1,'a'\n2,'b'\n", False),
        (b"id\n'a'\n'b\nc'\n", False),
        (b"id,n\n1,'tis so\n2,'a'\n", False),
        (b"id,n\n1,a'b'\n2,'c\n", False),
    ],
)
def test_single_quotes_around_fields_are_asked_about(tmp_path: Path, data: bytes, is_asked: bool):
    (tmp_path / "in.csv").write_bytes(data)
    how: dict[str, Any] = {"parts": 1, "header": "yes", "delimiter": ","}
    if is_asked:
        with pytest.raises(BadSetting, match="single quotes around '"):
            engine.plan(tmp_path / "in.csv", **how)
    for quote in ["'", '"'] if is_asked else [None]:
        assert engine.plan(tmp_path / "in.csv", **how, quote=quote).parts


@pytest.mark.parametrize("mark", [",", "\t", ";", "|", "\x01"])
def test_what_is_a_quote_or_an_escape_is_not_found_as_delimiter(tmp_path: Path, mark: str):
    (tmp_path / "in.csv").write_text(f"id{mark}n\n1{mark}2\n3{mark}4\n")
    with pytest.raises(BadStructure, match="no delimiter was found"):
        engine.plan(tmp_path / "in.csv", parts=1, header="yes", quote=mark)
    dialect = (
        engine.plan(tmp_path / "in.csv", parts=1, header="yes", escape=mark).sources[0].dialect
    )
    assert dialect is not None
    assert dialect.delimiter == ""


def test_a_header_without_a_line_end_is_no_first_file(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"id,n")
    (tmp_path / "b.csv").write_bytes(NUMBERS)
    with pytest.raises(SchemaMismatch, match="a header alone"):
        engine.plan([tmp_path / "a.csv", tmp_path / "b.csv"])


@pytest.mark.parametrize(
    ("name", "other"), [("b.csv", NUMBERS), ("b.csv.gz", gzip.compress(NUMBERS))]
)
@pytest.mark.parametrize("first", ["a", "z"])
def test_a_file_that_is_empty_is_named(tmp_path: Path, name: str, other: bytes, first: str):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(other)
    empty = tmp_path / "in" / (first + name.removeprefix("b"))
    empty.write_bytes(b"")
    with pytest.raises(SchemaMismatch, match=rf"{empty} is empty, .* leave it out"):
        engine.plan(tmp_path / "in", parts=1)


@pytest.mark.parametrize("wish", [{}, {"quote": "none"}, {"codec": "gzip"}], ids=str)
def test_a_mark_inside_a_file_does_not_come_to_begin_a_part(tmp_path: Path, wish: dict[str, str]):
    """Readers drop it there: the value would be another. In front of a header it cannot come."""
    source = tmp_path / "a.csv"
    source.write_bytes(b"\xef\xbb\xbfname,1\n" * 1_000)  # as many files put together
    with pytest.raises(Unsupported, match=r"part-00001.* would begin with a byte order mark"):
        engine.split(source, tmp_path / "none", parts=3, header="no", **wish)
    engine.split(source, tmp_path / "out", parts=3, header="yes", verify=True, **wish)
    engine.split(source, tmp_path / "one", parts=1, header="no", verify=True, **wish)
