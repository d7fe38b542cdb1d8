"""Rows of figures as Markdown: the end of a head says the unit, values are seconds and bytes."""

from __future__ import annotations

from collections.abc import Iterable

Value = str | int | float | None
Row = dict[str, Value]


def head(row: Row) -> str:
    """The two lines above a table; figures stand to the right."""
    rules = ["---:" if _is_figure(name, row[name]) else "---" for name in row]
    return f"| {' | '.join(map(_with_comma, row))} |\n|{'|'.join(rules)}|"


def line(row: Row) -> str:
    return f"| {' | '.join(cell(name, value) for name, value in row.items())} |"


def table(rows: Iterable[Row]) -> str:
    rows = list(rows)
    return "\n".join([head(rows[0]), *map(line, rows)])


def cell(name: str, value: Value) -> str:
    """A value in the unit of its head, with as many digits as mean something."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if name.endswith(" MB"):
        megabytes = value / 1e6
        return f"{megabytes:,.0f}" if megabytes >= 1000 else f"{megabytes:.1f}"
    if name.endswith(" %"):
        return f"{value * 100:.2f}"
    if name.endswith(" s"):
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _is_figure(name: str, value: Value) -> bool:
    return isinstance(value, int | float) or name.endswith((" s", " MB", " %", "ratio", "parts"))


def _with_comma(name: str) -> str:
    for unit in ("s", "MB", "%"):
        if name.endswith(f" {unit}"):
            return f"{name.removesuffix(f' {unit}')}, {unit}"
    return name
