"""Names and values are printed, and never obeyed: markup, escapes, lines, directions."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.formats.parquet.bytes.column_names import spelled
from engine.wording import shown
from tests.engine.running import run

ODD = [
    "[/x]",
    "price [usd]",
    "[red]x",
    ":smile:",
    "a\nb",
    "tab\tbed",
    "\x1b[31mred",
    "\u202eturned",
    "\x9b1m",
    "\rx",
    "",
    " spaced ",
    "a,b",
    "a.b",
]
FILE_NAMES = ["[i].parquet", "[red]\n\x1b[1m.parquet", "\u202e:smile:.parquet"]


def is_tame(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture(params=FILE_NAMES)
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / request.param
    values = [pa.array([f"{name}{n % 2}" for n in range(40)]) for name in ODD]
    pq.write_table(pa.table(values, names=ODD), path, row_group_size=20)
    return path


@settings(deadline=None)
@given(st.text())
def test_shown_is_one_line_of_letters_and_leaves_letters_alone(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)
    if text.isprintable():
        assert shown(text) == text


@pytest.mark.parametrize("key", ODD)
def test_profiles_show_names_and_values(source: Path, key: str) -> None:
    written = json.dumps(key)
    ended = run("profile", source, "--key", written)
    assert ended.code == 0, ended.err
    assert is_tame(ended.out)
    assert shown(str(source)) in ended.out
    for name in ODD:
        assert spelled([name]) in ended.out
    assert f"{shown(key)}0" in ended.out
    told = json.loads(run("profile", source, "--key", written, "--json").out)
    assert [column["name"] for column in told["files"][0]["columns"]] == ODD
    assert told["files"][0]["path"] == str(source)
    assert {item["value"] for item in told["key"]["heaviest"]} == {f"{key}0", f"{key}1"}


def test_all_commands_are_tame(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "[bold]\x1b[7m"
    page = tmp_path / "[i]\n.html"
    for command in (
        ("plan", source, "--parts", "3"),
        ("split", source, dest, "--parts", "3"),
        ("verify", dest),
        ("report", dest, "--output", page),
        ("split", *[source] * 2, tmp_path / "several", "--parts", "2"),
    ):
        ended = run(*command)
        assert ended.code == 0, ended.err
        assert is_tame(ended.out)
        assert is_tame(ended.err)


@pytest.mark.parametrize("name", ["no\nsuch", "\x1b[31m", "[/x]", "\u202ex"])
def test_errors_are_one_line(tmp_path: Path, source: Path, name: str) -> None:
    pq.write_table(pa.table({name: pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({name: pa.array([1], pa.int64())}), tmp_path / "b.parquet")
    for command in (
        ("plan", tmp_path / name),
        ("plan", source, "--columns", f"{name}?"),
        ("plan", tmp_path / "a.parquet", tmp_path / "b.parquet"),
        ("verify", tmp_path / name),
        ("plan", source, "--name", name),
        ("profile", f"{name}://host/path"),
    ):
        ended = run(*command)
        assert ended.code in (2, 3), ended.err
        assert ended.err.endswith("\n")
        assert ended.err[:-1].isprintable()
        assert "[/x]" in ended.err or name != "[/x]"


def test_python_takes_a_files_own_names(source: Path, tmp_path: Path) -> None:
    engine.split(source, tmp_path / "parts", columns=ODD, parts=1)
    part = pq.read_table(tmp_path / "parts" / "part-00000.parquet")
    assert part.column_names == ODD
