"""Results as a notebook shows them: small tables and bars, as HTML. Pure.

No script and no style sheet: an output that is sanitized, or shown beside another's, looks the
same. Letters have the colour of their surroundings; bars and lines ask JupyterLab, then VS Code,
for theirs, and have one that is seen on light and dark where neither answers. Every text is
escaped, after :func:`engine.wording.shown`: names may hold anything.

Not covered: charts (:mod:`engine.reporter`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from engine.wording import shown

MAX_ROWS = 12
_LINE = "1px solid var(--jp-border-color2, var(--vscode-panel-border, #8888))"
_FILLED = "var(--jp-brand-color1, var(--vscode-charts-blue, #2a78d6))"
_OTHER = "var(--jp-warn-color1, var(--vscode-charts-orange, #eda100))"
_CELL = "padding:2px 10px;text-align:{side};background:none"


@dataclass(frozen=True)
class Bar:
    """A cell that is drawn: two shares of the column's width, one behind the other; in words."""

    filled: float
    text: str
    other: float = 0.0


@dataclass(frozen=True)
class Grid:
    """A table; a heading that begins with ``<`` is of a column of words, not of numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Bar]]


def card(title: str, sentences: Sequence[str] = (), *grids: Grid) -> str:
    """Return a title, a line for each sentence, and tables; of long ones first and last rows."""
    lines = [f"<div><strong>{_text(title)}</strong></div>"]
    lines += [f"<div>{_text(sentence)}</div>" for sentence in sentences]
    inside = "".join((*lines, *map(_table, grids)))
    return f'<div style="line-height:1.5;overflow-x:auto">{inside}</div>'


def _text(text: str) -> str:
    return escape(shown(text))


def _table(grid: Grid) -> str:
    sides = ["left" if heading.startswith("<") else "right" for heading in grid.headings]
    names = "".join(
        f'<th scope="col" style="{_CELL.format(side=side)}">{_text(heading.removeprefix("<"))}</th>'
        for heading, side in zip(grid.headings, sides, strict=True)
    )
    body = "".join(_row(row, sides) for row in _shortened(grid.rows))
    return (
        '<table style="border-collapse:collapse;margin:6px 0;font-variant-numeric:tabular-nums">'
        f'<thead style="border-bottom:{_LINE}"><tr>{names}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _shortened(rows: Sequence[Sequence[str | Bar]]) -> list[Sequence[str | Bar] | int]:
    """Return all rows, or first and last ones with the number of those between."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    first, last = MAX_ROWS - 4, 3
    return [*rows[:first], len(rows) - first - last, *rows[-last:]]


def _row(row: Sequence[str | Bar] | int, sides: Sequence[str]) -> str:
    if isinstance(row, int):
        style = _CELL.format(side="left")
        return f'<tr><td colspan="{len(sides)}" style="{style}">… {row:,} more …</td></tr>'
    cells = (
        f'<td style="{_CELL.format(side=side)}">'
        f"{_bar(cell) if isinstance(cell, Bar) else _text(cell)}</td>"
        for cell, side in zip(row, sides, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _bar(bar: Bar) -> str:
    drawn = "".join(
        f'<div style="width:{100 * min(1.0, max(0.0, share)):.1f}%;background:{colour}"></div>'
        for share, colour in ((bar.filled, _FILLED), (bar.other, _OTHER))
    )
    return (
        f'<div role="img" aria-label="{_text(bar.text)}" title="{_text(bar.text)}" '
        f'style="display:flex;width:120px;height:10px">{drawn}</div>'
    )
