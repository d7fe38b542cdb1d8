"""A figure in words: its title, its takeaway, and the numbers that hovering tells, as a table.

For readers who do not hover (by keyboard, by touch, by a screen reader), and for pages that set
titles and legends themselves, where they break into lines. What is here is read from the figure:
nothing is said twice in its making.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bokeh.models import HoverTool
from bokeh.models.annotations.labels import Title
from bokeh.models.annotations.legends import Legend
from bokeh.plotting import figure

MAX_ROWS = 1000
_TITLES_HEIGHT = 44
_FIELD = re.compile(r"@(\w+)")


@dataclass(frozen=True)
class Table:
    """Numbers, as text; ``num_left_out`` rows are not there, as they would be too many."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_left_out: int = 0


@dataclass(frozen=True)
class Spoken:
    """What a figure says, without the figure; ``legend``: labels and their colours."""

    title: str
    takeaway: str
    legend: tuple[tuple[str, str], ...]
    numbers: Table


def spoken(plot: figure) -> Spoken:
    """Return what a figure of :mod:`engine.reporter.figures` says."""
    titles: list[Any] = [item for item in plot.above if isinstance(item, Title)]
    words = {title.name: title.text.text for title in titles}
    headings: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    tools: list[Any] = [tool for tool in plot.tools if isinstance(tool, HoverTool)]
    for tool in tools:
        headings = tuple(label for label, _ in tool.tooltips)
        data = tool.renderers[0].data_source.data
        lines = [
            dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)
        ]
        rows += [tuple(_filled(text, line) for _, text in tool.tooltips) for line in lines]
    kept = tuple(rows[:MAX_ROWS])
    table = Table(f"Numbers: {words['title']}", headings, kept, len(rows) - len(kept))
    legend = tuple(_label(item) for legend in plot.legend for item in legend.items)
    return Spoken(words["title"], words["takeaway"], legend, table)


def _label(item: Any) -> tuple[str, str]:
    return item.label.value, item.renderers[0].glyph.fill_color


def _filled(template: str, line: Mapping[str, Any]) -> str:
    return _FIELD.sub(lambda field: str(line[field[1]]), template)


def bare(plot: figure) -> figure:
    """Take titles and legend off a figure, and their room, for a page that sets them itself."""
    plot.above = [item for item in plot.above if not isinstance(item, Title)]
    plot.right = [item for item in plot.right if not isinstance(item, Legend)]
    plot.height = (plot.height or 0) - _TITLES_HEIGHT
    return plot
