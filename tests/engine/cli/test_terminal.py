"""Lines and tables fit the terminal, whatever names hold; numbers stay whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcswidth

from engine.cli import tables
from engine.cli.terminal import (
    Column,
    cells,
    distinctly_shortened,
    letters,
    table_lines,
    wrapped,
)
from engine.wording import shown
from tests.engine.running import REPOSITORY

# Long, wide, combining, joined, of two halves, from right to left, markup, escapes.
JOINED = ["👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "🇫🇷", "e\u0301"]
PIECES = [*JOINED, "name_", "列", "עברית", "[red]", "\x1b[31m", "\n", "\u202e"]
names = st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
numbers = st.integers(0, 10**18).map(lambda number: f"{number:,}")
widths = st.integers(60, 200)
SPECS = [tables._FILES, tables._ROW_GROUPS, tables._COLUMNS, tables._KEY_VALUES, tables._PARTS]


@dataclass(frozen=True)
class Stream:
    encoding: str


streams = st.sampled_from(["utf-8", "ascii", "latin-1", "cp437"]).map(Stream)


def fits(line: str, width: int) -> bool:
    return line.isprintable() and max(cell_len(line), wcswidth(line)) <= width


@settings(deadline=None)
@given(st.sampled_from(SPECS), st.data(), widths, streams)
def test_no_line_of_a_table_is_wider_than_the_terminal(
    columns: tuple[Column, ...], data: st.DataObject, width: int, stream: Stream
):
    cell = [names if column.is_left else numbers for column in columns]
    rows = data.draw(st.lists(st.tuples(*cell) | st.none(), max_size=4))
    lines = table_lines(columns, rows, width, stream)
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert fits(line, width), (line, width)
        line.encode(stream.encoding)


@settings(deadline=None)
@given(st.integers(1, 4), st.lists(st.booleans(), min_size=6, max_size=6), widths)
def test_a_column_without_a_cell_is_left_out(num_rows: int, has_cells: list[bool], width: int):
    columns = [Column(f"n{at}", drop=at) for at in range(len(has_cells))]
    rows = [tuple("9" if has else "" for has in has_cells)] * num_rows
    headings = table_lines(columns, [*rows, None], width, Stream("utf-8"))[0].split()
    assert headings == [f"n{at}" for at, has in enumerate(has_cells) if has or not at]


@settings(deadline=None)
@given(st.lists(st.tuples(names, *[numbers] * 5), min_size=1, max_size=4), widths)
def test_numbers_are_whole_or_left_out_with_their_column(rows: list[tuple[str, ...]], width: int):
    columns = [Column("name", shorten="middle"), *(Column(f"n{i}", drop=i) for i in range(5))]
    lines = table_lines(columns, rows, width, Stream("utf-8"))
    kept = [column.heading for column in columns[1:] if column.heading in lines[0].split()]
    assert kept[0] == "n0"
    assert kept == [f"n{i}" for i in range(len(kept))]  # the least important went first
    for row, line in zip(rows, lines[2:], strict=True):
        assert re.split(" {2,}", line)[-len(kept) :] == list(row[1 : len(kept) + 1])


@settings(deadline=None)
@given(
    st.text("abc列/-", min_size=20, max_size=60),
    st.lists(st.text("01ab列", max_size=12), min_size=2, max_size=9, unique=True),
    st.text("abc列/-", min_size=20, max_size=60),
    st.integers(12, 60),
    st.sampled_from(["…", "..."]),
)
@example("exports/region/", ["2024-01-01", "2024-01-02"], "/orders-full.parquet", 24, "…")
def test_names_that_differ_look_different_wherever_they_do(
    head: str, middles: list[str], tail: str, width: int, dots: str
):
    texts = [head + middle + tail for middle in middles]
    short = distinctly_shortened(texts, width, dots)
    assert len(set(short.values())) == len(texts)
    assert all(cells(text) <= width for text in short.values())
    assert all(short[text] == text for text in texts if cells(text) <= width)


def test_files_of_a_table_can_be_told_apart_where_it_is_narrow():
    dates = [f"2024-{month:02}-{day:02}" for month in (1, 12) for day in (1, 30)]
    files = [f"exports/region-west/{date}/orders-full-snapshot.parquet" for date in dates]
    rows = [(file, "1.0 MB", "25.0%", "9", "1", "1.0 MB", "") for file in files]
    lines = table_lines(tables._FILES, rows, 60, Stream("utf-8"))[2:]
    assert [line.split("…")[1] for line in lines] == [date[5:] for date in dates]


@settings(deadline=None)
@given(names, streams)
def test_a_log_has_lines_as_long_as_they_need_to_be(name: str, stream: Stream):
    columns = Column("name", shorten="middle"), Column("rows", drop=1)
    line = table_lines(columns, [(name, "1,000")], None, stream)[-1]
    assert shown(name).encode(stream.encoding, "backslashreplace").decode(stream.encoding) in line
    assert line.endswith("  1,000")


@settings(deadline=None)
@given(st.lists(names | numbers, max_size=30).map(" ".join), widths, streams)
@example("x" * 58 + " 97.3 MB/s", 60, Stream("utf-8"))
def test_sentences_wrap_between_words(text: str, width: int, stream: Stream):
    lines = wrapped(text, width, stream)
    for line in lines:
        assert fits(line, width) or " " not in re.sub(r"(\d) (\w)", r"\1\2", line.strip(" "))
    whole = shown(text).encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    assert "".join(lines).replace(" ", "") == whole.replace(" ", "")
    for before, after in pairwise(lines):
        assert not (before[-1:].isdigit() and after.split()[:1] in (["MB/s"], ["rows"], ["%"]))


def test_cells_are_those_of_the_widest_terminal():
    for text in PIECES:
        assert cells(shown(text)) >= max(cell_len(shown(text)), wcswidth(shown(text)))


def test_letters_are_those_of_the_stream():
    assert letters("…", "...", Stream("utf-8")) == "…"
    assert letters("…", "...", Stream("latin-1")) == "..."


# -- with a real terminal


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    long_names = [f"{piece * 30} {piece}" for piece in PIECES if piece != "\n"]
    values = [pa.array([f"{name}{n % 7}" for n in range(2000)]) for name in long_names]
    path = folder / "s.parquet"
    pq.write_table(pa.table(values, names=long_names), path, row_group_size=500)
    return path


def in_terminal(width: int, *words: str, **variables: str) -> str:
    """Run the command line in a terminal of so many columns; return what it was sent."""
    child, master = pty.fork()
    if not child:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("4H", 50, width, 0, 0))
        hidden = {"COLUMNS", "NO_COLOR", "TERM"}
        place = {name: text for name, text in os.environ.items() if name not in hidden}
        place |= {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", **variables}
        os.execve(sys.executable, [sys.executable, "-m", "engine.cli", *words], place)
    parts = []
    try:
        while part := os.read(master, 1 << 16):
            parts.append(part)
    except OSError:  # Linux says so that the terminal has nobody left
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(master)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_fit_a_real_terminal(source: Path, width: int):
    told = in_terminal(width, "profile", str(source)) + in_terminal(width, "plan", str(source))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", told).split("\n")
    for line in lines:
        assert fits(line, width) or "  " not in line.strip(), line
    rules = [line for line in lines if line and not line.strip("─")]
    assert len(rules) == 3


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_code_is_sent_where_none_is_wanted(
    source: Path, tmp_path: Path, variables: dict[str, str]
):
    dest = str(tmp_path / "parts")
    coloured = in_terminal(80, "profile", str(source))
    assert "\x1b[1m" in coloured
    for words in (("profile", str(source)), ("plan", str(source)), ("batch", "--help")):
        assert "\x1b" not in in_terminal(80, *words, **variables)
    told = in_terminal(80, "split", str(source), dest, "--parts", "2", "--verify", **variables)
    assert not re.search(r"\x1b\[[0-9;]*m", told), repr(told)


def test_a_terminal_of_the_locale_c_gets_ascii(source: Path):
    assert in_terminal(80, "profile", str(source), LC_ALL="C").isascii()
    assert not in_terminal(80, "profile", str(source), LC_ALL="C.UTF-8").isascii()
