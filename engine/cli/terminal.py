"""What a terminal can show: how wide it is, which letters and colours it has; lines and tables.

A table never wraps a cell, and leaves out columns that are empty in every row. Where a terminal is
too narrow, names are shortened in the middle, then columns are left out, the least important first;
numbers stay whole. Sentences wrap between words, and a word that is longer than a line (a path, a
link) stays whole. What is no terminal (a log, a pipe) gets lines as long as they need to be.

Names, values and messages are data: what of them a terminal would obey is escaped here, before
widths are counted. Not covered: terminals that reorder writing from right to left.
"""

from __future__ import annotations

import locale
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from typing import Any, Literal

import click

from engine.wording import shown

GAP = "  "
BAR_CELLS = 12
_COMFORTABLE_CELLS = 24  # texts are not shortened further before columns are left out
# A number and its unit are one word.
_BETWEEN_WORDS = re.compile(r" (?<!\d )| (?!(?:[kMGT]?i?B(?:/s)?|rows?|%|s|x)(?:[ ,;.:)]|$))")
_JOINING = {"\ufe0f", *map(chr, range(0x1F1E6, 0x1F200))}
_ASCII = {"us-ascii", "ascii", "ansi_x3.4-1968", "646"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: above it.
        drop: which columns are left out first where a terminal is narrow: the highest; 0 stays,
            also where it is empty.
        shorten: texts, to the left, may be cut short there; numbers, to the right, never are.
    """

    heading: str
    drop: int = 0
    shorten: Literal["never", "middle", "end"] = "never"
    is_text: bool = False

    @property
    def is_left(self) -> bool:
        """Whether cells begin at its left edge."""
        return self.is_text or self.shorten != "never"


def prepare() -> None:
    """Have standard streams write what the locale has: other letters are escaped, none fails."""
    wanted = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8")
    # Python writes UTF-8 in the locale C as well, whatever the terminal makes of it.
    is_ascii = not wanted and locale.getencoding().lower() in _ASCII
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            encoding = "ascii" if is_ascii else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def has_colours() -> bool:
    """Whether colours are wanted where there is a terminal (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether a terminal obeys no codes, so that no bar can be drawn anew on it."""
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}


def width_of(stream: Any) -> int | None:
    """Return the cells of a terminal's line, None of what is no terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def echo_aside(text: str) -> None:
    """Print on standard error; that it cannot be written there is no reason to fail."""
    try:
        click.echo(text, err=True)
    except OSError:
        let_go(sys.stderr)


def let_go(stream: Any) -> None:
    """Send what is still to be written nowhere: Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(*lines: str, err: bool = False, mark: str = "", **style: Any) -> None:
    """Print sentences.

    Args:
        lines: each begins a line; spaces in front also indent what it wraps to.
        err: on standard error.
        mark: only this, the beginning of the first line, has the style.
        **style: as for :func:`click.style`.
    """
    stream, echo = (sys.stderr, echo_aside) if err else (sys.stdout, click.echo)
    width = width_of(stream)
    for text in lines:
        for line in wrapped(text, width, stream):
            if mark and line.startswith(mark):
                echo(click.style(mark, **style) + line.removeprefix(mark))
            else:
                echo(line if mark or not style else click.style(line, **style))


def wrapped(text: str, width: int | None, stream: Any) -> list[str]:
    """Return the lines that a sentence takes."""
    text = _writable(text, stream)
    if width is None or cells(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    words = _BETWEEN_WORDS.split(text)
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if cells(longer) <= width or not lines[-1].strip():
            lines[-1] = longer
        else:
            lines.append(indent + word)
    return lines


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str] | None]) -> None:
    """Print a table after an empty line; a row that is None stands for what is left out."""
    heading, *lines = table_lines(columns, rows, width_of(sys.stdout), sys.stdout)
    click.echo()
    click.secho(heading, bold=True)
    for line in lines:
        click.echo(line)


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str] | None],
    width: int | None,
    stream: Any,
) -> list[str]:
    """Return a table's lines: the headings, a rule, the rows."""
    written = [[_writable(cell, stream) for cell in row] if row else None for row in rows]
    told = [row for row in written if row]
    texts = [[column.heading for column in columns], *told]
    needed = {
        at: max(cells(row[at]) for row in texts)
        for at, column in enumerate(columns)
        if not column.drop or not told or any(row[at] for row in told)
    }
    widths = _fitting(columns, needed, width)
    dots = letters("…", "...", stream)
    rule = letters("─", "-", stream)
    cut = {
        at: _cut([row[at] for row in texts], size, columns[at], dots) for at, size in widths.items()
    }

    def line(row: Sequence[str]) -> str:
        return GAP.join(
            _padded(cut[at].get(row[at], row[at]), size, columns[at]) for at, size in widths.items()
        ).rstrip()

    return [
        line(texts[0]),
        rule * (sum(widths.values()) + len(GAP) * (len(widths) - 1)),
        *(dots if row is None else line(row) for row in written),
    ]


def _cut(texts: Sequence[str], width: int, column: Column, dots: str) -> dict[str, str]:
    """Return what stands for each text that is too long for its column."""
    if column.shorten == "never":
        return {}
    if column.shorten == "end":
        return {text: shortened(text, width, dots, at_end=True) for text in texts}
    return distinctly_shortened(texts, width, dots)


def _fitting(
    columns: Sequence[Column], needed: Mapping[int, int], width: int | None
) -> dict[int, int]:
    """Return the width of each column that is shown, by its place."""
    widths = dict(needed)
    if width is None:
        return widths
    while True:
        room = width - len(GAP) * (len(widths) - 1)
        order = [at for at in widths if columns[at].drop]
        least = _COMFORTABLE_CELLS if order else 1
        fitted = _shrunk(columns, widths, room, least)
        if sum(fitted.values()) <= room or not order:
            return fitted
        del widths[max(order, key=lambda at: columns[at].drop)]


def _shrunk(
    columns: Sequence[Column], widths: dict[int, int], room: int, least: int
) -> dict[int, int]:
    """Take cells from texts that may be shortened, always from the widest."""
    fitted = dict(widths)
    while sum(fitted.values()) > room:
        able = [at for at in fitted if columns[at].shorten != "never" and fitted[at] > least]
        if not able:
            break
        fitted[max(able, key=lambda at: fitted[at])] -= 1
    return fitted


def _padded(text: str, width: int, column: Column) -> str:
    space = " " * (width - cells(text))
    return text + space if column.is_left else space + text


def shortened(text: str, width: int, dots: str, *, at_end: bool = False) -> str:
    """Return the beginning and the end of a text with dots between, in at most so many cells."""
    if cells(text) <= width:
        return text
    for room in range(width - len(dots), 0, -1):
        head = _beginning(text, room if at_end else (room + 1) // 2)
        tail = "" if at_end else _ending(text, room // 2)
        if cells(head + dots + tail) <= width:
            return head + dots + tail
    return dots[:width]


def distinctly_shortened(texts: Iterable[str], width: int, dots: str) -> dict[str, str]:
    """Return each text in at most so many cells; what differs stays different, if there is room.

    Where beginnings and ends are alike, what is between those that all have is shown as well, and
    where that is too much, a number.
    """
    short = {text: shortened(text, width, dots) for text in texts}
    for alike in _alike(short):
        short |= {text: _around(text, alike, width, dots) for text in alike}
    for number, text in enumerate(chain.from_iterable(_alike(short)), 1):
        mark = f"{dots}#{number}"
        if len(mark) < width:
            short[text] = _beginning(text, width - len(mark)) + mark
    return short


def _alike(short: Mapping[str, str]) -> list[list[str]]:
    """Return the texts that have come to look as others do."""
    found: dict[str, list[str]] = {}
    for text, shown_as in short.items():
        found.setdefault(shown_as, []).append(text)
    return [texts for texts in found.values() if len(texts) > 1]


def _around(text: str, alike: Sequence[str], width: int, dots: str) -> str:
    """Return a text shortened on both sides of what tells it from others."""
    least = min(map(len, alike))
    start = len(os.path.commonprefix(alike))  # noqa: RUF071 - of letters
    end = min(len(os.path.commonprefix([other[::-1] for other in alike])), least - start)  # noqa: RUF071
    room = width - 2 * len(dots)
    middles = (cells(other[start : len(other) - end]) for other in alike)
    inner = min(max(middles), room * 2 // 3)
    middle = shortened(_unmarked(text[start : len(text) - end]), inner, dots)
    head = _beginning(text[:start], (room - inner + 1) // 2)
    tail = _ending(text[len(text) - end :], (room - inner) // 2)
    around = head + dots + middle + dots + tail
    return around if cells(around) <= width else shortened(text, width, dots)


def _beginning(text: str, width: int) -> str:
    used = 0
    for at, letter in enumerate(text):
        used += cells(letter)
        if used > width:
            return text[:at]
    return text


def _ending(text: str, width: int) -> str:
    return _unmarked(_beginning(text[::-1], width)[::-1])


def _unmarked(text: str) -> str:
    """Return a text without marks in front, which would go on the dots before it."""
    while text and not cells(text[0]):
        text = text[1:]
    return text


def cells(text: str) -> int:
    """Return the cells that a text takes; where terminals differ about it, the most.

    They do about what joins: halves of flags, and letters that a selector makes an emoji.
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return sum(cell_len(letter) + (letter in _JOINING) for letter in text)


def bar(part: float, whole: float) -> str:
    """Return a bar whose length is a share."""
    return letters("█", "#", sys.stdout) * round(BAR_CELLS * part / (whole or 1))


def letters(wanted: str, plain: str, stream: Any) -> str:
    """Return letters if a stream can write them, else what stands for them."""
    return wanted if _writable(wanted, stream) == wanted else plain


def _writable(text: str, stream: Any) -> str:
    """Return a text as it will be written: escaped where it is no letter, or none of the stream."""
    text = shown(text)
    if text.isascii():
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
