"""Lists of sources: ``@files.txt`` stands for the files, folders and globs that it names.

Two kinds, told by the first line: plain text, a path or URL a line, with ``#`` in front of
remarks; and CSV whose header has a column ``source``, as the control files of Data Factory's
pipelines (``conf/adf``). Relative paths are relative to where the command runs, as those of its
arguments are. A file whose own name begins with ``@`` is named ``./@name``.

Not covered: lists in lists, and what other columns of a control file ask for.
"""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from engine.errors import BadSetting, NoSource

_COLUMN = "source"


class SourceList(NamedTuple):
    """What a list names, in its order, and what is to be said about the list."""

    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()


def is_list(pattern: str) -> bool:
    """Whether a source is a list of sources."""
    return pattern.startswith("@")


def listed(name: str, data: bytes | None) -> SourceList:
    """Return what a list names.

    Args:
        name: of the list, for messages.
        data: its content; None if there is no such file.

    Raises:
        NoSource: there is no list, or nothing in it.
        BadSetting: it is no text, no CSV, or names another list.
    """
    if data is None:
        raise NoSource(f"there is no list {name}; write ./@... for a file whose name begins with @")
    try:
        lines = _lines(data.decode("utf-8-sig"))
        found = _control(name, lines) if _is_control(lines) else SourceList(_plain(lines))
    except UnicodeDecodeError:
        raise BadSetting(
            f"the list {name} is not UTF-8 text; a list has one path or URL a line"
        ) from None
    except csv.Error as error:
        raise BadSetting(f"the list {name} is no CSV: {error}; quote what holds quotes") from None
    if not found.sources:
        raise NoSource(f"the list {name} names no source; write one path or URL a line")
    nested = next(filter(is_list, found.sources), None)
    if nested is not None:
        raise BadSetting(f"the list {name} names another list, {nested}; name that one itself")
    return found


def _lines(text: str) -> list[str]:
    """Return lines with their ends; names of files may hold what else ends lines in Unicode."""
    return io.StringIO(text, newline="").readlines()


def _plain(lines: list[str]) -> tuple[str, ...]:
    return tuple(line.rstrip("\r\n") for line in lines if line.strip() and not line.startswith("#"))


def _is_control(lines: list[str]) -> bool:
    return bool(lines) and _COLUMN in _header(lines[0])


def _header(line: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([line], strict=True), [])]


def _control(name: str, lines: list[str]) -> SourceList:
    """Return what the column of a control file names; other columns are said to be passed over."""
    header = _header(lines[0])
    if header.count(_COLUMN) > 1:
        raise BadSetting(f"the list {name} has several columns {_COLUMN}; rename all but one")
    at = header.index(_COLUMN)
    rows = [row for row in csv.reader(lines[1:], strict=True) if any(map(str.strip, row))]
    short = next((number for number, row in enumerate(rows, 1) if not row[at:]), None)
    if short is not None or not all(row[at].strip() for row in rows):
        raise BadSetting(f"the list {name} has a row without a {_COLUMN}; fill it in or remove it")
    if long := next((row for row in rows if len(row) > len(header)), None):
        raise BadSetting(
            f"the list {name} has a row of {len(long)} fields ({','.join(long)}) below a header of "
            f"{len(header)}; put what holds commas into double quotes"
        )
    others = [column for column in header if column != _COLUMN]
    note = f"{name}: of its columns only {_COLUMN} is read, not {', '.join(others)}"
    return SourceList(tuple(row[at] for row in rows), (note,) if others else ())
