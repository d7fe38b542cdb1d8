"""What figures share: titles, axes, legend, hover, in the colours of a scheme.

Names come from files and may hold anything. They are written as they are, never read as HTML, TeX
or a template of Bokeh's: a tooltip names columns of its data by our own keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bokeh.models import (
    AdaptiveTicker,
    ColumnDataSource,
    DataRange1d,
    FactorRange,
    HoverTool,
    LinearAxis,
    NumeralTickFormatter,
    PlainText,
)
from bokeh.models.annotations.labels import Title
from bokeh.plotting import figure

from engine.reporter.scheme import Scheme
from engine.wording import shown

HEIGHT = 300

_ROW_HEIGHT = 22
_MAX_LABEL = 24  # letters; the tooltip has them all
_COUNTED = "0,0"
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "bytes"))


def plot_of(title: str, takeaway: str, x: str, y: str, scheme: Scheme, **options: Any) -> figure:
    """Return an empty plot; ``options``: of Bokeh's figure, in place of ours."""
    # Bars begin at nothing.
    axis_of_bytes = "x_range" if isinstance(options.get("y_range"), FactorRange) else "y_range"
    every: dict[str, Any] = {"height": HEIGHT, axis_of_bytes: DataRange1d(start=0)} | options
    plot = figure(
        sizing_mode="stretch_width", toolbar_location="right",
        tools="pan,xwheel_zoom,box_zoom,reset", active_drag=None,  # a finger moves the page
        x_axis_label=x, y_axis_label=y, background_fill_color=scheme.surface,
        border_fill_color=scheme.surface, outline_line_color=None, min_width=280, **every,
    )  # fmt: skip
    # What is added above comes above what was added before.
    for line in (
        Title(
            text=PlainText(text=takeaway), text_font_size="13px", text_color=scheme.muted,
            text_font_style="normal", name="takeaway",
        ),
        Title(
            text=PlainText(text=title), text_font_size="16px", text_color=scheme.ink,
            text_font_style="bold", name="title",
        ),
    ):  # fmt: skip
        plot.add_layout(line, "above")
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = scheme.muted
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_line_color = axis.major_tick_line_color = scheme.grid
        axis.minor_tick_line_color = None
        axis.major_tick_in = 0
        if hasattr(axis, "group_text_color"):
            axis.group_text_color = scheme.muted
    plot.grid.grid_line_color = scheme.grid
    plot.xgrid.grid_line_color = None
    for axis in plot.axis:
        if isinstance(axis, LinearAxis):
            axis.update(formatter=NumeralTickFormatter(format="0,0.[00]"))
    if plot.toolbar:
        plot.toolbar.logo = None
        plot.toolbar.autohide = True
    return plot


def bars_of(title: str, takeaway: str, unit: str, labels: Sequence[str], scheme: Scheme) -> figure:
    """Return a plot for horizontal bars, the first on top, each at its :func:`places_of`."""
    places = places_of(labels)
    plot = plot_of(
        title, takeaway, unit, "", scheme, y_range=FactorRange(factors=places[::-1]),
        height=110 + _ROW_HEIGHT * max(1, len(labels)),
    )  # fmt: skip
    plot.xgrid.grid_line_color = scheme.grid
    plot.ygrid.grid_line_color = None
    return plot


def places_of(labels: Iterable[str]) -> list[str]:
    """Return what an axis says of each label: cut, and unlike any other."""
    found: dict[str, None] = {}
    for label in labels:
        text = cut(label)
        while text in found:  # what differs is cut away
            text += "\u2032"
        found[text] = None
    return list(found)


def cut(label: str) -> str:
    """Return a label that leaves room for bars: its beginning and its end."""
    text = shown(label)
    half = (_MAX_LABEL - 1) // 2
    return text if len(text) <= _MAX_LABEL else f"{text[:half]}…{text[-half:]}"


def count_in_whole_numbers(axes: Iterable[Any]) -> None:
    """Put ticks where counted things are: there is no half a row group."""
    for axis in axes:
        if isinstance(axis, LinearAxis):
            ticker = AdaptiveTicker(
                min_interval=1, mantissas=[1, 2, 5], num_minor_ticks=0, desired_num_ticks=4
            )
            axis.update(ticker=ticker, formatter=NumeralTickFormatter(format=_COUNTED))


def put_legend(plot: figure, scheme: Scheme) -> None:
    """Put the legend beside the plot."""
    legend = plot.legend[0]
    plot.add_layout(legend, "right")
    legend.label_text_color = scheme.ink
    legend.label_text_font_size = "12px"
    legend.background_fill_color = scheme.surface
    legend.border_line_color = None
    legend.click_policy = "mute"


def put_hover(plot: figure, renderers: Sequence[Any], **lines: str) -> None:
    """Have marks tell lines: a label each, and ``@column`` of their source."""
    tips = list(lines.items())
    plot.add_tools(HoverTool(renderers=list(renderers), tooltips=tips, visible=False))


def source_of(**columns: Any) -> ColumnDataSource:
    """Return the data of marks."""
    return ColumnDataSource(columns)


def unit_of(largest: float) -> tuple[int, str]:
    """Return by what to divide bytes, and what they are called then."""
    return next((factor, name) for factor, name in _UNITS if largest >= factor or factor == 1)
