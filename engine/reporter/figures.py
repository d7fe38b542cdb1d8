"""The figures, as Bokeh models: each takes frozen data and returns one figure.

Each has a title that says what is shown, a takeaway below it with the figure, axes with units, and
hover. Colours are those of a :class:`engine.reporter.scheme.Scheme`. Notebooks and report draw the
same figures. They are as wide as their surroundings, down to 300 pixels: what is written in them is
short, and a takeaway that does not fit is for the page to set (:mod:`engine.reporter.spoken`).

Not covered: what is behind the data (profile and plan), and the page around the figures
(:mod:`engine.reporter.page`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nlargest
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import FactorRange, Range1d
from bokeh.models.annotations.geometry import Span
from bokeh.plotting import figure

from engine.formats.parquet.profiler.skew import lorenz, skew_of
from engine.model import copied_share
from engine.reporter.plots import (
    bars_of,
    count_in_whole_numbers,
    cut,
    places_of,
    plot_of,
    put_hover,
    put_legend,
    source_of,
    unit_of,
)
from engine.reporter.scheme import LIGHT, Scheme
from engine.reporter.slots import makespan, schedule
from engine.wording import (
    amount,
    amounts,
    count,
    count_or_none,
    counted,
    memory_amount,
    percent,
    percent_apart,
    sum_or_none,
    times,
)

if TYPE_CHECKING:
    from engine.formats.parquet.profiler import FileProfile, Profile
    from engine.formats.parquet.profiler.keys import KeySkew
    from engine.model import PartPlan, SplitPlan


_MAX_BARS = 240
_MAX_COLUMNS = 24
_ROW_UNITS = ((10**6, "million "), (10**3, "thousand "), (1, ""))


def files_figure(profile: Profile, scheme: Scheme = LIGHT) -> figure:
    """Files by size, largest first."""
    files = sorted(profile, key=lambda file: -file.size_bytes)
    skew = profile.skew
    assert skew is not None  # there is no profile of no files
    takeaway = (
        f"the largest of {skew.count:,} has {amount(skew.largest)}, {percent(skew.top_share)} of "
        f"all bytes; Gini {skew.gini:.2f}"
    )
    factor, unit = unit_of(skew.largest)
    plot = plot_of("Files by size", takeaway, "file, largest first", unit, scheme)
    count_in_whole_numbers(plot.xaxis)
    bars = _binned([file.size_bytes for file in files])
    source = source_of(
        x=[(start + stop - 1) / 2 for start, stop, _ in bars],
        width=[(stop - start) * 0.9 for start, stop, _ in bars],
        top=[size / (stop - start) / factor for start, stop, size in bars],
        name=[_names([file.path for file in files[start:stop]]) for start, stop, _ in bars],
        size=[amount(size) for _, _, size in bars],
        rows=[f"{sum(file.num_rows for file in files[a:b]):,}" for a, b, _ in bars],
    )
    bar = plot.vbar(x="x", top="top", width="width", source=source, color=scheme.series[0])
    put_hover(plot, [bar], file="@name", bytes="@size", rows="@rows")
    return plot


def lorenz_figure(sizes: Sequence[int], what: str, scheme: Scheme = LIGHT) -> figure:
    """What share of the bytes the smallest have, as a Lorenz curve; ``what``: ``files``, …."""
    skew = skew_of(sizes)
    gini = skew.gini if skew else 0.0
    shares, held = lorenz(sizes)
    half = float(np.interp(0.5, shares, held))
    plot = plot_of(
        f"Lorenz curve of {what}",
        f"the smaller half has {percent(half)} of the bytes; Gini {gini:.2f} (0: all equal)",
        f"% of {what}, smallest first",
        "% of bytes",
        scheme,
    )
    plot.line([0, 100], [0, 100], color=scheme.muted, line_dash="dashed")
    source = source_of(
        x=[100 * share for share in shares],
        y=[100 * share for share in held],
        text=[percent(share) for share in held],
        part=[percent(share) for share in shares],
    )
    plot.varea("x", 0, "y", source=source, fill_color=scheme.series[0], fill_alpha=0.15)
    line = plot.line("x", "y", source=source, color=scheme.series[0], line_width=2)
    put_hover(plot, [line], **{what: "smallest @part", "bytes": "@text"})
    plot.hover.mode = "vline"
    return plot


def row_groups_figure(file: FileProfile, scheme: Scheme = LIGHT) -> figure:
    """Row groups one by one, each a bar whose segments are its largest columns."""
    sizes = [group.compressed_bytes for group in file.row_groups]
    skew = file.row_group_skew
    takeaway = "the file has no row groups"
    if skew is not None and skew.count:
        ratio = f", {times(skew.max_over_median)} times the median" if skew.max_over_median else ""
        takeaway = (
            f"{counted(skew.count, 'row group')}; the largest has {percent(skew.top_share)} of "
            f"the bytes{ratio if skew.count > 1 else ''}"
        )
    bars = _binned(sizes)
    factor, unit = unit_of(max((size / (b - a) for a, b, size in bars), default=0))
    plot = plot_of("Row groups by column", takeaway, "row group, in the file's order", unit, scheme)
    count_in_whole_numbers(plot.xaxis)
    chosen = nlargest(len(scheme.series), file.columns, lambda column: column.compressed_bytes)
    position = {column.spelling: at for at, column in enumerate(file.columns)}
    table = file.chunks.compressed_bytes
    stacks: dict[str, list[float]] = {}
    for column in chosen:
        own = table[:, position[column.spelling]]
        stacks[column.spelling] = [
            float(own[start:stop].sum()) / (stop - start) / factor for start, stop, _ in bars
        ]
    names = list(stacks)
    colours = list(scheme.series[: len(names)])
    if len(file.columns) > len(chosen):
        names.append(f"{len(file.columns) - len(chosen)} other columns")
        colours.append(scheme.other)
        stacks[names[-1]] = [
            max(0.0, size / (stop - start) / factor - sum(stack[at] for stack in stacks.values()))
            for at, (start, stop, size) in enumerate(bars)
        ]
    keys = [f"c{at}" for at in range(len(names))]  # column names may hold anything
    source = source_of(
        x=[(start + stop - 1) / 2 for start, stop, _ in bars],
        width=[(stop - start) * 0.9 for start, stop, _ in bars],
        group=[_span(start, stop) for start, stop, _ in bars],
        size=[amount(size) for _, _, size in bars],
        rows=[f"{sum(g.num_rows for g in file.row_groups[a:b]):,}" for a, b, _ in bars],
        **dict(zip(keys, stacks.values(), strict=True)),
        **{
            f"t{at}": [amount(size * factor) for size in stack]
            for at, stack in enumerate(stacks.values())
        },
        **{f"n{at}": [name] * len(bars) for at, name in enumerate(names)},
    )
    drawn = plot.vbar_stack(
        keys, x="x", width="width", source=source, color=colours,
        legend_label=places_of(names),         line_color=scheme.surface, line_width=0.5,
    )  # fmt: skip
    for at, renderer in enumerate(drawn):
        put_hover(
            plot,
            [renderer],
            **{"row group": "@group", "rows": "@rows", "bytes": "@size"},
            column=f"@n{at}: @t{at}",
        )
    put_legend(plot, scheme)
    return plot


def columns_figure(profile: Profile | Sequence[FileProfile], scheme: Scheme = LIGHT) -> figure:
    """Columns by their compressed bytes over all files."""
    sizes: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    about: dict[str, Any] = {}
    for file in profile:
        for column in file.columns:
            sizes[column.spelling] += column.compressed_bytes
            plain[column.spelling] += column.uncompressed_bytes
            about.setdefault(column.spelling, column)
    ordered = sizes.most_common()
    total = sum(sizes.values()) or 1
    names = [name for name, _ in ordered[:_MAX_COLUMNS]]
    rest = ordered[_MAX_COLUMNS:]
    takeaway = "no columns"
    if ordered:
        takeaway = (
            f"{cut(ordered[0][0])} is {percent(ordered[0][1] / total)} of the bytes; "
            f"{_fewest(ordered, total)} of {counted(len(ordered), 'column')} have 80%"
        )
    values = [sizes[name] for name in names]
    labels = list(names)
    if rest:
        labels.append(f"{len(rest)} other columns")
        values.append(sum(size for _, size in rest))
    factor, unit = unit_of(max(values, default=0))
    plot = bars_of("Columns by bytes", takeaway, unit, labels, scheme)
    known = [about.get(label) for label in labels]
    source = source_of(
        y=places_of(labels),
        name=labels,
        right=[size / factor for size in values],
        size=[amount(size) for size in values],
        share=[percent(size / total) for size in values],
        ratio=[
            f"{plain[name] / (sizes[name] or 1):.1f}" if name in sizes else "" for name in labels
        ],
        kind=[column.physical_type if column else "" for column in known],
        stored=[
            " ".join((*column.codecs, *column.encodings)) if column else "" for column in known
        ],
    )
    bar = plot.hbar(y="y", right="right", height=0.8, source=source, color=scheme.series[0])
    put_hover(
        plot,
        [bar],
        column="@name",
        bytes="@size (@share)",
        type="@kind",
        **{"compression ratio": "@ratio", "stored as": "@stored"},
    )
    return plot


def rows_figure(file: FileProfile, cuts: Sequence[int] = (), scheme: Scheme = LIGHT) -> figure:
    """Bytes a row along the file, with the rows at which a plan cuts."""
    pieces = [piece for piece in file.stretches if piece.num_rows]
    rates = [piece.compressed_bytes / piece.num_rows for piece in pieces]
    takeaway = "the file has no rows"
    if rates:
        mean = sum(piece.compressed_bytes for piece in pieces) / file.num_rows
        takeaway = (
            f"{amount(mean)} a row on average, from {amount(min(rates))} to {amount(max(rates))}"
        )
        if cuts:
            takeaway += f"; {counted(len(cuts), 'cut')} at equal bytes"
    scale, unit = next(item for item in _ROW_UNITS if file.num_rows >= 10 * item[0] or not item[1])
    plot = plot_of(
        "Bytes a row along the file", takeaway, f"{unit}rows from the start",
        "bytes a row", scheme,
    )  # fmt: skip
    count_in_whole_numbers(plot.xaxis)
    source = source_of(
        left=[piece.first_row / scale for piece in pieces],
        right=[(piece.first_row + piece.num_rows) / scale for piece in pieces],
        top=rates,
        rows=[_span(p.first_row, p.first_row + p.num_rows) for p in pieces],
        rate=[amount(rate) for rate in rates],
    )
    area = plot.quad(
        left="left", right="right", top="top", bottom=0, source=source, color=scheme.series[0],
        line_color=scheme.series[0],
    )  # fmt: skip
    for row in cuts:
        plot.add_layout(
            Span(
                location=row / scale, dimension="height", line_color=scheme.ink, line_dash="dotted"
            )
        )
    put_hover(plot, [area], rows="@rows", **{"bytes a row": "@rate"})
    return plot


def pages_figure(file: FileProfile, scheme: Scheme = LIGHT) -> figure:
    """Data pages by size, in powers of two."""
    skew = file.page_skew
    takeaway = "no page index: pages are not known"
    if skew is not None and file.page_sizes:
        takeaway = (
            f"{counted(skew.count, 'page')}, {amount(skew.median)} the median, "
            f"{amount(skew.largest)} the largest: a cut rewrites one a column"
        )
    labels = [_power(item.least_bytes) for item in file.page_sizes]
    plot = plot_of(
        "Data pages by size", takeaway, "page size (each bar: up to twice as large)",
        "pages", scheme, x_range=FactorRange(factors=labels),
    )  # fmt: skip
    source = source_of(
        x=labels,
        top=[item.num_pages for item in file.page_sizes],
        pages=[f"{item.num_pages:,}" for item in file.page_sizes],
        size=[amount(item.sum_bytes) for item in file.page_sizes],
    )
    bar = plot.vbar(x="x", top="top", width=0.9, source=source, color=scheme.series[0])
    put_hover(plot, [bar], **{"from": "@x", "pages": "@pages", "bytes together": "@size"})
    plot.xaxis.major_label_orientation = 1.1
    count_in_whole_numbers(plot.yaxis)
    return plot


def before_after_figure(
    before: Mapping[str, int], after: Mapping[str, int], scheme: Scheme = LIGHT
) -> figure:
    """Files before a split and parts after it, by name and bytes, laid end to end."""
    one, two = skew_of(before.values()), skew_of(after.values())
    takeaway = "nothing to split"
    if one and two:
        takeaway = (
            f"from {one.count:,} of at most {amount(one.largest)} to {two.count:,} of "
            f"{amounts(two.smallest, two.largest)}"
        )
    factor, unit = unit_of(max(sum(before.values()), sum(after.values())))
    plot = plot_of(
        "Before and after the split", takeaway, f"{unit}, files end to end", "", scheme,
        y_range=FactorRange(factors=["after", "before"]), height=180,
    )  # fmt: skip
    rows: list[tuple[str, str, float, float, str]] = []
    for label, sizes in (("before", before), ("after", after)):
        start = 0
        for name, size in sizes.items():
            rows.append((label, name, start / factor, (start + size) / factor, amount(size)))
            start += size
    source = source_of(
        y=[row[0] for row in rows],
        name=[row[1].rpartition("/")[2] for row in rows],
        left=[row[2] for row in rows],
        right=[row[3] for row in rows],
        size=[row[4] for row in rows],
        color=[scheme.series[0 if row[0] == "before" else 1] for row in rows],
    )
    bar = plot.hbar(
        y="y", left="left", right="right", height=0.7, source=source, color="color",
        line_color=scheme.surface, line_width=1.5,
    )  # fmt: skip
    put_hover(plot, [bar], when="@y", file="@name", bytes="@size")
    plot.ygrid.grid_line_color = None
    return plot


def slots_figure(
    before: Sequence[int], after: Sequence[int], num_slots: int = 8, scheme: Scheme = LIGHT
) -> figure:
    """Parallel loaders at work on the files before a split, and on the parts after it."""
    turns = {"before": schedule(before, num_slots), "after": schedule(after, num_slots)}
    spans = {label: makespan(found) for label, found in turns.items()}
    factor, unit = unit_of(max(spans.values()))
    takeaway = (
        f"the last of {num_slots} loaders is done {times(spans['before'] / (spans['after'] or 1))} "
        f"times sooner: after {amount(spans['after'])} instead of {amount(spans['before'])}"
    )
    labels = [(name, str(slot + 1)) for name in ("after", "before") for slot in range(num_slots)]
    plot = plot_of(
        "Loaders side by side", takeaway, f"time, in {unit} that one loader has loaded", "", scheme,
        y_range=FactorRange(factors=labels[::-1][num_slots:] + labels[::-1][:num_slots]),
        height=110 + 2 * max(num_slots, 5) * 14,  # the labels of both sides have room
    )  # fmt: skip
    every = [(label, turn) for label, found in turns.items() for turn in found]
    sizes = {"before": before, "after": after}
    source = source_of(
        y=[(label, str(turn.slot + 1)) for label, turn in every],
        left=[turn.start_bytes / factor for _, turn in every],
        right=[turn.stop_bytes / factor for _, turn in every],
        size=[amount(sizes[label][turn.item]) for label, turn in every],
        when=[label for label, _ in every],
        loader=[str(turn.slot + 1) for _, turn in every],
        item=[f"{turn.item + 1:,} of {len(sizes[label]):,}" for label, turn in every],
        color=[scheme.series[0 if label == "before" else 1] for label, _ in every],
    )
    bar = plot.hbar(
        y="y", left="left", right="right", height=0.8, source=source, color="color",
        line_color=scheme.surface, line_width=1,
    )  # fmt: skip
    put_hover(plot, [bar], when="@when", loader="@loader", file="@item", bytes="@size")
    plot.ygrid.grid_line_color = None
    return plot


def parts_figure(
    plan: SplitPlan, sizes: Mapping[int, int] | None = None, scheme: Scheme = LIGHT
) -> figure:
    """Parts with what is copied and what is re-encoded; ``sizes``: those written, by index."""
    encoded = sum(part.reencoded_bytes for part in plan.parts)
    takeaway = (
        f"{percent(copied_share(plan.parts))} of the bytes are copied, "
        f"{amount(encoded)} re-encoded; planned to differ by {percent_apart(plan.spread)}"
    )
    target = plan.settings.get("target_bytes")
    factor, unit = unit_of(max((part.predicted_bytes for part in plan.parts), default=0))
    plot = plot_of("Parts of the plan", takeaway, "part", unit, scheme)
    count_in_whole_numbers(plot.xaxis)
    bars = _binned([part.predicted_bytes for part in plan.parts])
    groups = [plan.parts[start:stop] for start, stop, _ in bars]
    copied = [
        sum(part.predicted_bytes - part.reencoded_bytes for part in group) for group in groups
    ]
    anew = [sum(part.reencoded_bytes for part in group) for group in groups]
    source = source_of(
        x=[(start + stop - 1) / 2 for start, stop, _ in bars],
        width=[(stop - start) * 0.9 for start, stop, _ in bars],
        copied=[n / len(group) / factor for n, group in zip(copied, groups, strict=True)],
        anew=[n / len(group) / factor for n, group in zip(anew, groups, strict=True)],
        name=[_names([part.name for part in group]) for group in groups],
        rows=[count_or_none(sum_or_none(part.num_rows for part in group)) for group in groups],
        copied_text=[amount(n) for n in copied],
        anew_text=[amount(n) for n in anew],
        written=[_written(group, sizes or {}) for group in groups],
        size=[amount(sum(part.predicted_bytes for part in group)) for group in groups],
    )
    drawn = plot.vbar_stack(
        ["copied", "anew"], x="x", width="width", source=source,
        color=[scheme.series[0], scheme.series[4]], legend_label=["copied", "re-encoded"],
        line_color=scheme.surface, line_width=0.5,
    )  # fmt: skip
    if target:
        largest = max(target, *(part.predicted_bytes for part in plan.parts))
        _draw_target(plot, target / factor, largest / factor, unit, scheme)
    put_hover(
        plot,
        drawn,
        part="@name",
        rows="@rows",
        predicted="@size",
        written="@written",
        copied="@copied_text",
        **{"re-encoded": "@anew_text"},
    )
    put_legend(plot, scheme)
    return plot


def growth_figure(plan: SplitPlan, scheme: Scheme = LIGHT) -> figure:
    """The bytes of the sources, and of the parts by where they come from."""
    growth = plan.growth_bytes
    assert growth is not None  # who has a plan of sources knows their bytes
    total = plan.predicted_bytes
    encoded = sum(part.reencoded_bytes for part in plan.parts)
    repeated, metadata = max(0, growth.repeated_bytes), max(0, growth.metadata_bytes)
    rest = {"re-encoded": encoded, "repeated dictionaries": repeated, "metadata": metadata}
    pieces = {"copied": max(0, total - sum(rest.values())), **rest}
    ratio = total / (growth.source_bytes or 1)
    takeaway = (
        f"{amount(growth.source_bytes)} become {amount(total)}: {ratio:.2f} times as much; "
        f"{amount(repeated)} are repeated, {amount(metadata)} are metadata"
    )
    factor, unit = unit_of(max(total, growth.source_bytes))
    plot = plot_of(
        "From the source to the parts", takeaway, unit, "", scheme,
        y_range=FactorRange(factors=["parts", "source"]), height=220,
    )  # fmt: skip
    series = dict(zip(pieces, (0, 4, 2, 3), strict=True))
    rows = [("source", "source", 0, growth.source_bytes, scheme.other)]
    start = 0
    for what, size in pieces.items():
        rows.append(("parts", what, start, start + size, scheme.series[series[what]]))
        start += size
    for label in ("source", *pieces):
        drawn = [row for row in rows if row[1] == label]
        source = source_of(
            y=[row[0] for row in drawn],
            what=[row[1] for row in drawn],
            left=[row[2] / factor for row in drawn],
            right=[row[3] / factor for row in drawn],
            size=[amount(row[3] - row[2]) for row in drawn],
        )
        bar = plot.hbar(
            y="y", left="left", right="right", height=0.7, source=source, color=drawn[0][4],
            legend_label=label,
        )  # fmt: skip
        put_hover(plot, [bar], what="@what", bytes="@size")
    put_legend(plot, scheme)
    plot.ygrid.grid_line_color = None
    return plot


def _written(group: Sequence[PartPlan], sizes: Mapping[int, int]) -> str:
    """Return what parts came out at, in words."""
    if all(part.index in sizes for part in group):
        return amount(sum(sizes[part.index] for part in group))
    return "not written yet"


def _draw_target(plot: figure, target: float, largest: float, unit: str, scheme: Scheme) -> None:
    plot.add_layout(
        Span(location=target, dimension="width", line_color=scheme.ink, line_dash="dashed")
    )
    plot.y_range = Range1d(start=0, end=1.08 * largest)
    plot.yaxis.axis_label = f"{unit} (dashed: the target)"


def memory_figure(values: Mapping[str, int], takeaway: str, scheme: Scheme = LIGHT) -> figure:
    """Memory projected, measured and allowed: bytes by what they are."""
    plot = bars_of("Memory of the run", takeaway, "MiB", list(values), scheme)
    source = source_of(
        y=places_of(values),
        name=list(values),
        right=[size / 2**20 for size in values.values()],
        size=list(map(memory_amount, values.values())),
    )
    bar = plot.hbar(y="y", right="right", height=0.7, source=source, color=scheme.series[0])
    put_hover(plot, [bar], what="@name", memory="@size")
    return plot


def keys_figure(keys: KeySkew, scheme: Scheme = LIGHT) -> figure:
    """The heaviest values of a key, by their share of the rows."""
    top = keys.heaviest
    takeaway = "no rows"
    if top:
        takeaway = (
            f"{cut(top[0].value)} has {percent(top[0].share)} of {count(keys.num_rows)} rows; "
            f"{'' if keys.is_exact else 'about '}{count(keys.num_distinct)} distinct values"
        )
    labels = [item.value for item in top]
    plot = bars_of(f"Heaviest values of {cut(keys.column)}", takeaway, "% of rows", labels, scheme)
    source = source_of(
        y=places_of(labels),
        right=[100 * item.share for item in top],
        share=[percent(item.share) for item in top],
        rows=[f"{item.num_rows:,}" for item in top],
        value=[item.value for item in top],
    )
    bar = plot.hbar(y="y", right="right", height=0.8, source=source, color=scheme.series[0])
    put_hover(plot, [bar], value="@value", rows="@rows (@share)")
    return plot


def partitions_figure(keys: KeySkew, scheme: Scheme = LIGHT) -> figure:
    """What a hash partition by the key would look like: rows a partition."""
    skew = skew_of(keys.partitions)
    takeaway = "no rows"
    if skew and skew.total:
        takeaway = (
            f"hashed into {skew.count}, the largest has {times(skew.largest / skew.mean)} times "
            f"the mean, {percent(skew.top_share)} of the rows"
        )
    plot = plot_of(
        f"Hash partitions by {keys.column}", takeaway, "partition, largest first", "rows", scheme
    )
    count_in_whole_numbers(plot.axis)
    rows = sorted(keys.partitions, reverse=True)
    source = source_of(x=list(range(len(rows))), top=rows, rows=[f"{n:,}" for n in rows])
    bar = plot.vbar(x="x", top="top", width=0.9, source=source, color=scheme.series[0])
    if skew:
        plot.add_layout(
            Span(location=skew.mean, dimension="width", line_color=scheme.ink, line_dash="dashed")
        )
    put_hover(plot, [bar], partition="@x", rows="@rows")
    return plot


def _binned(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (start, stop, bytes) of items one by one, or of some together where they are many."""
    num_bars = min(len(sizes), _MAX_BARS)
    edges = [len(sizes) * at // num_bars for at in range(num_bars + 1)] if num_bars else []
    return [(start, stop, sum(sizes[start:stop])) for start, stop in pairwise(edges)]


def _span(start: int, stop: int) -> str:
    return f"{start:,}" if stop - start == 1 else f"{start:,} to {stop - 1:,}"


def _names(paths: Sequence[str]) -> str:
    names = [path.rpartition("/")[2] for path in paths]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)}, on average)"


def _power(num_bytes: int) -> str:
    for factor, unit in ((1 << 20, "MiB"), (1 << 10, "kiB")):
        if num_bytes >= factor:
            return f"{num_bytes // factor} {unit}"
    return f"{num_bytes} B"


def _fewest(ordered: Sequence[tuple[str, int]], total: int) -> int:
    """Return how many of the largest have 80% together."""
    held = 0
    for number, (_, size) in enumerate(ordered, 1):
        held += size
        if held >= 0.8 * total:
            return number
    return len(ordered)
