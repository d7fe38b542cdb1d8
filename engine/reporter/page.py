"""One HTML page that needs nothing else: text, figures, and Bokeh's own script, all inside it.

A policy in the page forbids every request, so that it looks the same without a network, and every
script but the two that are named by their digests: what a name or a value may smuggle in would
not run. Bokeh makes its own style elements, so styles are free. A policy in a page cannot forbid
that a reader follows a link; there is none.

Each figure has its title, its takeaway and its numbers as text beside it. Figures are drawn in
light colours; where the reader prefers dark, the page replaces them before it draws.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bokeh.embed import json_item
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined

from engine.reporter.scheme import DARK, LIGHT
from engine.reporter.spoken import Spoken, Table, bare, spoken
from engine.version import __version__

_TEMPLATE = Path(__file__).with_name("page.html")
_SCRIPT = Path(__file__).with_name("page.js")
_POLICY = (
    "default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


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
    figures: tuple[figure, ...] = ()
    tables: tuple[Table, ...] = field(default=())


@dataclass(frozen=True)
class _Shown:
    """A figure in its place on the page."""

    target: str
    spoken: Spoken


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page."""
    shown: list[tuple[Section, list[_Shown]]] = []
    items: list[Any] = []
    for section in sections:
        places = []
        for plot in section.figures:
            places.append(_Shown(f"figure-{len(items)}", spoken(plot)))
            items.append(json_item(bare(plot), places[-1].target))  # type: ignore[arg-type]
        shown.append((section, places))
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    colours = [LIGHT.colours, DARK.colours]
    scripts = [
        "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        _SCRIPT.read_text(encoding="utf-8"),
    ]
    return template.render(
        title=title,
        subtitle=subtitle,
        sections=shown,
        version=__version__,
        policy=_POLICY.format(digests=" ".join(map(_digest, scripts))),
        scripts=scripts,
        items=_script(items),
        colours=_script(colours),
        name_of={colour: f"--c{at}" for at, colour in enumerate(LIGHT.colours)},
        light=LIGHT,
        dark=DARK,
    )


def _digest(script: str) -> str:
    """Return a script's name in a policy; see Content Security Policy Level 3, 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _script(data: object) -> str:
    """Return JSON that may stand in a script: no tag can begin in it."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")
