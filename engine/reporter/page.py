"""One HTML page that needs nothing else: text, figures, and Bokeh's own script, all inside it.

A policy in the page forbids every request, so that it looks the same without a network. Figures are
drawn in light colours; where the reader prefers dark, the page replaces them before it draws.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bokeh.embed import json_item
from bokeh.model import Model
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined

from engine.reporter.scheme import DARK, LIGHT
from engine.version import __version__

_TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Table:
    """A table, folded away until it is asked for."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: heading.
        facts: labels and values, shown large.
        sentences: one a line; ``findings`` are marked as such.
        figures: drawn one below the other.
        tables: at the end.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    sentences: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    figures: tuple[Model, ...] = ()
    tables: tuple[Table, ...] = field(default=())


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page."""
    numbers = iter(range(sum(len(section.figures) for section in sections)))
    shown = [
        (section, [f"figure-{next(numbers)}" for _ in section.figures]) for section in sections
    ]
    items = [
        json_item(figure, target)  # type: ignore[arg-type]
        for section, targets in shown
        for figure, target in zip(section.figures, targets, strict=True)
    ]
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        subtitle=subtitle,
        sections=shown,
        version=__version__,
        script="\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        items=_script(items),
        colours=_script([LIGHT.colours, DARK.colours]),
        light=LIGHT,
        dark=DARK,
    )


def _script(data: object) -> str:
    """Return JSON that may stand in a script: no tag can begin in it."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")
