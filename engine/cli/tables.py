"""Profiles and plans as tables and sentences on standard output.

Each table is a tuple of :class:`engine.cli.terminal.Column`, which says what goes first where a
terminal is narrow. Progress and outcomes are in :mod:`engine.cli.show`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from engine.cli.terminal import Column, bar, print_table, say
from engine.model import copied_share, num_partitions
from engine.wording import amount as size
from engine.wording import (
    amounts,
    count_or_none,
    counted,
    memory_amount,
    percent,
    percent_apart,
    rows_of,
)

if TYPE_CHECKING:
    from engine import FileProfile, KeySkew, LinesProfile, Profile, Skew
    from engine.memory import Budget
    from engine.model import SplitPlan

T = TypeVar("T")

_MAX_LINES = 40
_FEW_FILES = 3
_FEW_ROW_GROUPS = 16
_MAX_REASONS = 5

_FILES = (
    Column("file", shorten="middle"),
    Column("bytes"),
    Column("share", drop=3),
    Column("rows", drop=2),
    Column("row groups", drop=4),
    Column("largest", drop=5),
    Column("stands out", drop=1, shorten="end"),
)
_ROW_GROUPS = (
    Column("row group"),
    Column("rows"),
    Column("bytes"),
    Column("", drop=2, is_text=True),
    Column("bytes a row", drop=1),
    Column("pages", drop=4),
    Column("largest page", drop=3),
)
_COLUMNS = (
    Column("column", shorten="middle"),
    Column("type", drop=3, is_text=True),
    Column("bytes"),
    Column("share", drop=1),
    Column("", drop=6, is_text=True),
    Column("ratio", drop=2),
    Column("pages", drop=7),
    Column("dictionary", drop=4),
    Column("order", drop=8, is_text=True),
    Column("codec", drop=5, is_text=True),
    Column("encodings", drop=9, is_text=True),
)
_LINE_COLUMNS = (
    Column("column", shorten="middle"),
    Column("type", is_text=True),
    Column("nulls", drop=1),
)
_STRETCHES = (
    Column("from byte"),
    Column("bytes a record"),
    Column("", drop=1, is_text=True),
)
_KEY_VALUES = (
    Column("value", shorten="middle"),
    Column("rows"),
    Column("share", drop=1),
    Column("", drop=2, is_text=True),
)
_PARTS = (
    Column("part", shorten="middle"),
    Column("first row", drop=4),
    Column("rows"),
    Column("bytes"),
    Column("spliced", drop=3),
    Column("re-encoded", drop=1),
    Column("memory", drop=2),
)


def _ends(items: Sequence[T], most: int = _MAX_LINES) -> list[T | None]:
    """Return all items, or the first and last with None for what is left out between."""
    if len(items) <= most:
        return list(items)
    return [*items[: most - most // 4], None, *items[-(most // 4) :]]


def profile(found: Profile) -> None:
    """Print a profile: each file in full if they are few, else all in one table."""
    if len(found) > 1:
        say(
            _folder(found),
            f"  {counted(len(found), 'file')}, {size(found.size_bytes)}, "
            f"{counted(found.num_rows, 'row')}",
        )
        _skew("files", found.skew)
    _findings(found.findings)
    if len(found) <= _FEW_FILES:
        for at, item in enumerate(found):
            if at or len(found) > 1:
                say("")
            _file(item)
        return
    folder = _folder(found)
    rows = [
        None
        if item is None
        else (
            item.path.removeprefix(folder),
            size(item.size_bytes),
            percent(item.size_bytes / (found.size_bytes or 1)),
            f"{item.num_rows:,}",
            f"{item.num_row_groups:,}",
            size(item.row_group_skew.largest if item.row_group_skew else 0),
            item.findings[0] if item.findings else "",
        )
        for item in _ends(sorted(found, key=lambda item: -item.size_bytes))
    ]
    print_table(_FILES, rows)


def lines(found: Sequence[LinesProfile]) -> None:
    """Print profiles of files of lines, one after another."""
    for at, item in enumerate(found):
        if at:
            say("")
        say(item.path, *(f"  {sentence}" for sentence in item.sentences))
        _findings(item.findings)
        if not item.stretches:
            continue
        columns = [(c.name, c.type, percent(c.null_share)) for c in item.columns[:_MAX_LINES]]
        print_table(_LINE_COLUMNS, columns)
        if len(item.columns) > _MAX_LINES:
            more = len(item.columns) - _MAX_LINES
            say(f"  and {counted(more, 'column')} more (--json lists all)")
        most = round(max((each.bytes_per_record for each in item.stretches), default=1))
        print_table(
            _STRETCHES,
            [
                (
                    f"{each.offset:,}",
                    f"{each.bytes_per_record:,.1f}",
                    bar(round(each.bytes_per_record), most),
                )
                for each in item.stretches
            ],
        )


def key_skew(found: KeySkew) -> None:
    """Print the heaviest values of a key, and what a hash partition would look like."""
    distinct = counted(found.num_distinct, "distinct value")
    about = "" if found.is_exact else "about "
    say("", f"key {found.column}: {counted(found.num_rows, 'row')}, {about}{distinct}")
    if not found.is_exact:
        say(f"  counts may be too small by {counted(found.missed_rows, 'row')} at most")
    rows = [
        (
            item.value,
            f"{item.num_rows:,}",
            percent(item.share),
            bar(item.num_rows, found.heaviest[0].num_rows),
        )
        for item in found.heaviest
    ]
    print_table(_KEY_VALUES, rows)
    say("")
    sizes = sorted(found.partitions)
    mean = found.num_rows / len(sizes)
    say(
        f"  hashed into {counted(len(sizes), 'partition')}: {sizes[0]:,} to {sizes[-1]:,} rows, "
        f"the largest {sizes[-1] / (mean or 1):.1f} x the mean"
    )


def _folder(found: Profile) -> str:
    """Return what the paths of all files begin with, up to a slash."""
    paths = [item.path for item in found]
    return os.path.commonprefix(paths).rpartition("/")[0] + "/"  # noqa: RUF071 - URLs as well


def _file(item: FileProfile) -> None:
    index = "no page index" if item.num_pages is None else counted(item.num_pages, "page")
    say(
        item.path,
        f"  {size(item.size_bytes)}, {counted(item.num_rows, 'row')}, "
        f"{counted(item.num_columns, 'column')}, {counted(item.num_row_groups, 'row group')}, "
        f"{index}; written by {item.created_by or 'an unnamed writer'}",
    )
    _skew("row groups", item.row_group_skew)
    _skew("columns", item.column_skew)
    _skew("pages", item.page_skew)
    _findings(item.findings)
    if item.row_groups:
        _row_groups(item)
    _columns(item)


def _row_groups(item: FileProfile) -> None:
    largest = max(group.compressed_bytes for group in item.row_groups)
    rows = [
        None
        if group is None
        else (
            str(group.index),
            f"{group.num_rows:,}",
            size(group.compressed_bytes),
            bar(group.compressed_bytes, largest),
            f"{group.bytes_per_row:,.1f}",
            "" if group.num_pages is None else f"{group.num_pages:,}",
            "" if group.largest_page_bytes is None else size(group.largest_page_bytes),
        )
        for group in _ends(item.row_groups, _FEW_ROW_GROUPS)
    ]
    print_table(_ROW_GROUPS, rows)


def _columns(item: FileProfile) -> None:
    ordered = sorted(item.columns, key=lambda column: -column.compressed_bytes)
    rows = []
    for column in ordered[:_MAX_LINES]:
        used = column.dictionary_page_share
        row = (
            column.spelling,
            column.physical_type,
            size(column.compressed_bytes),
            percent(column.share),
            bar(column.compressed_bytes, ordered[0].compressed_bytes),
            f"{column.compression_ratio:,.1f}",
            "" if column.num_pages is None else f"{column.num_pages:,}",
            "" if used is None else percent(used),
            column.order or "",
            " ".join(column.codecs),
            " ".join(_of_values(column.encodings)),
        )
        rows.append(row)
    print_table(_COLUMNS, rows)
    if len(ordered) > _MAX_LINES:
        say(f"  and {counted(len(ordered) - _MAX_LINES, 'smaller column')} (--json lists all)")


def _of_values(encodings: Sequence[str]) -> Sequence[str]:
    """Return encodings without that of the levels, unless it is the only one."""
    return [name for name in encodings if name != "RLE"] or encodings


def _skew(what: str, skew: Skew | None) -> None:
    if skew is None or skew.count < 2:
        return
    ratio = "" if skew.max_over_median is None else f"{skew.max_over_median:,.1f} x median, "
    say(
        f"  {what}: {size(skew.smallest)} smallest, {size(round(skew.median))} median, "
        f"{size(skew.largest)} largest ({ratio}{percent(skew.top_share)} of all); "
        f"Gini {skew.gini:.2f}, variation {skew.coefficient_of_variation:.2f}"
    )


def _findings(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        say(f"  ! {sentence}", fg="yellow")


def plan(found: SplitPlan, budget: Budget | None, run_bytes: int) -> None:
    """Print a plan.

    Args:
        found: the plan.
        budget: this machine's memory; None where workers of a cluster have their own.
        run_bytes: projected for a run on this machine.
    """
    say(*summary(found), f"plan {found.plan_id}")
    rows = [
        None
        if item is None
        else (
            item.name,
            count_or_none(item.first_row),
            count_or_none(item.num_rows),
            size(item.predicted_bytes),
            size(item.spliced_bytes),
            size(item.reencoded_bytes),
            memory_amount(item.memory_bytes),
        )
        for item in _ends(found.parts)
    ]
    print_table(_PARTS, rows)
    say("")
    reasons = list(dict.fromkeys(reason for part in found.parts for reason in part.reasons))
    for reason in reasons[:_MAX_REASONS]:
        say(f"  re-encoded: {reason}")
    if len(reasons) > _MAX_REASONS:
        say(f"  and {len(reasons) - _MAX_REASONS:,} more (--json lists all)")
    for note in found.source_notes:
        say(f"  {note}", fg="yellow")
    for lost in found.lost:
        say(f"  not kept: {lost}", fg="yellow")
    for sentence in filter(None, (found.growth, found.advice)):
        say(f"  {sentence}", fg="yellow")
    part = f"memory: {memory_amount(found.memory_bytes)} for the most demanding part"
    if budget is None:
        say(f"{part}; the cluster's workers say what they have")
        return
    say(
        f"{part}, {memory_amount(run_bytes)} for the run; budget {memory_amount(budget.bytes)} "
        f"({budget.source})"
    )


def summary(found: SplitPlan) -> tuple[str, str]:
    """Return what a plan comes to, in two sentences."""
    names = found.sources[0].path
    if len(found.sources) > 1:
        names = f"{counted(len(found.sources), 'file')}, first {names}"
    total = sum(source.size_bytes for source in found.sources)
    copied = copied_share(found.parts)
    sizes = [part.predicted_bytes for part in found.parts]
    return (
        f"{names}: {size(total)}, {rows_of(found.num_rows)}",
        f"{parts_of(sizes, found.spread, num_partitions=num_partitions(found.parts))}, "
        f"{percent(copied)} spliced, {percent(1 - copied)} re-encoded",
    )


def parts_of(
    sizes: Sequence[int], spread: float, resumed: str = "", *, num_partitions: int = 1
) -> str:
    """Return how many parts there are, and how large."""
    number = counted(len(sizes), "part")
    of = f"of {amounts(min(sizes), max(sizes))}"
    if num_partitions > 1:
        return (
            f"{number} in {num_partitions:,} partitions{resumed} {of} "
            f"(spread at most {percent_apart(spread)} in one)"
        )
    if len(sizes) == 1:
        return f"{number}{resumed} {of}"
    return f"{number}{resumed} {of} (spread {percent_apart(spread)})"
