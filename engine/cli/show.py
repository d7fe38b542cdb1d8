"""How results look on a terminal and in a log: sentences, and tables by rich.

Everything is printed by :func:`say` and in the cells of :func:`_row`, which leave no name, value or
message a chance to be taken for markup, an escape or a line of its own.

Progress is in :mod:`engine.cli.progress`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.model import Manifest, SplitPlan, SplitResult, Verification
from engine.wording import amount as size
from engine.wording import counted, memory_amount, shown

if TYPE_CHECKING:
    from rich.table import Table

    from engine import FileProfile, KeySkew, Profile, Skew
    from engine.memory import Budget

T = TypeVar("T")

_MAX_LINES = 40
_LOG_WIDTH = 160
_FEW_FILES = 3
_FEW_ROW_GROUPS = 16
_BAR_WIDTH = 16
_COLUMN_HEADINGS = (
    *("<column", "<type", "bytes", "share", "<", "ratio", "pages", "dictionary", "<order"),
    *("<codec", "<encodings"),
)


def say(*lines: str, err: bool = False, **style: Any) -> None:
    """Print lines, on standard error if ``err``; ``style`` as for :func:`click.secho`."""
    for line in lines:
        click.secho(shown(line), err=err, **style)


def step(text: str) -> None:
    """Print a heading of the demo."""
    say("", text, bold=True)


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for heading in headings:
        text = heading.removeprefix("<")
        table.add_column(text, justify="left" if text != heading else "right", overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(shown(cell)) for cell in cells))


def _print(table: Table) -> None:
    from rich.console import Console

    # A log has no width of its own: lines are as long as the table.
    console = Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)
    console.print(table)


def _shortened(items: Sequence[T], most: int = _MAX_LINES) -> list[T | None]:
    """Return all items, or the first and last with None for what is left out between."""
    if len(items) <= most:
        return list(items)
    return [*items[: most - most // 4], None, *items[-(most // 4) :]]


def profile(found: Profile) -> None:
    """Print a profile: each file in full if they are few, else all in one table."""
    if len(found) > 1:
        say(
            _folder(found),
            f"  {len(found):,} files, {size(found.size_bytes)}, {found.num_rows:,} rows",
        )
        _skew("files", found.skew)
    _findings(found.findings)
    if len(found) <= _FEW_FILES:
        for item in found:
            _file(item)
        return
    table = _table("<file", "bytes", "share", "rows", "row groups", "largest", "<stands out")
    ordered = sorted(found, key=lambda item: -item.size_bytes)
    folder = _folder(found)
    for line in _shortened(ordered):
        if line is None:
            _row(table, "...")
            continue
        largest = line.row_group_skew.largest if line.row_group_skew else 0
        _row(
            table,
            line.path.removeprefix(folder),
            size(line.size_bytes),
            f"{line.size_bytes / (found.size_bytes or 1):.1%}",
            f"{line.num_rows:,}",
            f"{line.num_row_groups:,}",
            size(largest),
            line.findings[0] if line.findings else "",
        )
    _print(table)


def key_skew(found: KeySkew) -> None:
    """Print the heaviest values of a key, and what a hash partition would look like."""
    distinct = f"{'' if found.is_exact else 'about '}{found.num_distinct:,} distinct values"
    say(f"key {found.column}: {found.num_rows:,} rows, {distinct}")
    if not found.is_exact:
        say(f"  counts may be too small by {found.missed_rows:,} rows at most")
    table = _table("<value", "rows", "share", "<")
    for item in found.heaviest:
        _row(
            table,
            item.value,
            f"{item.num_rows:,}",
            f"{item.share:.2%}",
            _bar(item.num_rows, found.heaviest[0].num_rows),
        )
    _print(table)
    sizes = sorted(found.partitions)
    mean = found.num_rows / len(sizes)
    say(
        f"  hashed into {len(sizes)} partitions: {sizes[0]:,} to {sizes[-1]:,} rows, the largest "
        f"{sizes[-1] / (mean or 1):.1f} x the mean"
    )


def _folder(found: Profile) -> str:
    """Return what the paths of all files begin with, up to a slash."""
    paths = [item.path for item in found]
    return os.path.commonprefix(paths).rpartition("/")[0] + "/"  # noqa: RUF071 - URLs as well


def _file(item: FileProfile) -> None:
    index = f"{item.num_pages:,} pages" if item.num_pages is not None else "no page index"
    say(
        item.path,
        f"  {size(item.size_bytes)}, {item.num_rows:,} rows, "
        f"{item.num_columns} columns, {item.num_row_groups:,} row groups, {index}; "
        f"written by {item.created_by or 'an unnamed writer'}",
    )
    _skew("row groups", item.row_group_skew)
    _skew("columns", item.column_skew)
    _skew("pages", item.page_skew)
    _findings(item.findings)
    table = _table("row group", "rows", "bytes", "<", "bytes a row", "pages", "largest page")
    largest = max((group.compressed_bytes for group in item.row_groups), default=0)
    for group in _shortened(item.row_groups, _FEW_ROW_GROUPS):
        if group is None:
            _row(table, "...")
            continue
        _row(
            table,
            str(group.index),
            f"{group.num_rows:,}",
            size(group.compressed_bytes),
            _bar(group.compressed_bytes, largest),
            f"{group.bytes_per_row:.1f}",
            "" if group.num_pages is None else f"{group.num_pages:,}",
            "" if group.largest_page_bytes is None else size(group.largest_page_bytes),
        )
    if item.row_groups:
        _print(table)
    table = _table(*_COLUMN_HEADINGS)
    ordered = sorted(item.columns, key=lambda column: -column.compressed_bytes)
    for column in ordered[:_MAX_LINES]:
        used = column.dictionary_page_share
        _row(
            table,
            column.spelling,
            column.physical_type,
            size(column.compressed_bytes),
            f"{column.share:.1%}",
            _bar(column.compressed_bytes, ordered[0].compressed_bytes),
            f"{column.compression_ratio:.1f}",
            "" if column.num_pages is None else f"{column.num_pages:,}",
            "" if used is None else f"{used:.0%}",
            column.order or "",
            " ".join(column.codecs),
            " ".join(_of_values(column.encodings)),
        )
    _print(table)
    if len(ordered) > _MAX_LINES:
        say(f"  and {len(ordered) - _MAX_LINES} smaller columns (--json lists all)")


def _of_values(encodings: Sequence[str]) -> Sequence[str]:
    """Return encodings without that of the levels, unless it is the only one."""
    return [name for name in encodings if name != "RLE"] or encodings


def _skew(what: str, skew: Skew | None) -> None:
    if skew is None or skew.count < 2:
        return
    ratio = "" if skew.max_over_median is None else f"{skew.max_over_median:.1f} x median, "
    say(
        f"  {what}: {size(skew.smallest)} smallest, {size(round(skew.median))} median, "
        f"{size(skew.largest)} largest ({ratio}{skew.top_share:.1%} of all); Gini {skew.gini:.2f}, "
        f"variation {skew.coefficient_of_variation:.2f}"
    )


def _findings(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        say(f"  ! {sentence}", fg="yellow")


def _bar(part: int, whole: int) -> str:
    block = "\u2588" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return block * round(_BAR_WIDTH * part / (whole or 1))


def plan(found: SplitPlan, budget: Budget, run_bytes: int) -> None:
    """Print a plan; ``run_bytes``: projected for a run on this machine, 0 if it would not fit."""
    say(*summary(found), f"plan {found.plan_id}")
    table = _table("<part", "first row", "rows", "bytes", "spliced", "re-encoded", "memory")
    for item in _shortened(found.parts):
        if item is None:
            _row(table, "...")
            continue
        _row(
            table,
            item.name,
            f"{item.first_row:,}",
            f"{item.num_rows:,}",
            size(item.predicted_bytes),
            size(item.spliced_bytes),
            size(item.reencoded_bytes),
            memory_amount(item.memory_bytes),
        )
    _print(table)
    reasons = [reason for part in found.parts for reason in part.reasons]
    for reason in reasons[:5]:
        say(f"  re-encoded: {reason}")
    if len(reasons) > 5:
        say(f"  and {len(reasons) - 5} more (--json lists all)")
    for note in found.source_notes:
        say(f"  {note}", fg="yellow")
    for lost in found.lost:
        say(f"  not kept: {lost}", fg="yellow")
    for sentence in filter(None, (found.growth, found.advice)):
        say(f"  {sentence}", fg="yellow")
    run = f"{memory_amount(run_bytes)} for the run" if run_bytes else "which does not fit"
    say(
        f"memory: {memory_amount(found.memory_bytes)} for the most demanding part, {run}; budget "
        f"{memory_amount(budget.bytes)} ({budget.source})"
    )


def summary(found: SplitPlan) -> tuple[str, str]:
    """Return the two lines that say what a plan is."""
    names = found.sources[0].path
    if len(found.sources) > 1:
        names = f"{len(found.sources)} files, first {names}"
    total = sum(source.size_bytes for source in found.sources)
    encoded = sum(part.reencoded_bytes for part in found.parts)
    share = encoded / (found.predicted_bytes or 1)
    return (
        f"{names}: {size(total)}, {found.num_rows:,} rows",
        f"{_parts_of([part.predicted_bytes for part in found.parts], found.spread)}, "
        f"{1 - share:.1%} spliced, {share:.1%} re-encoded",
    )


def _parts_of(sizes: Sequence[int], spread: float, resumed: str = "") -> str:
    """Return how many parts there are, and how large."""
    number = counted(len(sizes), "part")
    if len(sizes) == 1:
        return f"{number}{resumed} of {size(sizes[0])}"
    return f"{number}{resumed} of {size(min(sizes))} to {size(max(sizes))} (spread {spread:.2%})"


def split_result(result: SplitResult) -> None:
    """Print what a split did."""
    manifest: Manifest = result.manifest
    sizes = [part.size_bytes for part in manifest.parts]
    encoded = sum(part.reencoded_bytes for part in manifest.parts)
    resumed = f" ({result.num_resumed} were there already)" if result.num_resumed else ""
    rate = manifest.size_bytes / max(result.elapsed_seconds, 1e-9)
    say(
        f"{_parts_of(sizes, manifest.spread, resumed)}, {manifest.num_rows:,} rows, "
        f"in {result.elapsed_seconds:.1f} s"
        + (f" ({size(int(rate))}/s)" if not result.num_resumed else ""),
        f"{1 - encoded / (manifest.size_bytes or 1):.2%} of the bytes copied as they were, "
        f"{size(encoded)} re-encoded; peak memory {memory_amount(result.peak_memory_bytes)}",
        result.destination,
    )
    for note in sorted({note for part in manifest.parts for note in part.store_notes}):
        say(note, fg="yellow")
    for note in manifest.source_notes:
        say(note, fg="yellow")
    for item in manifest.lost:
        say(f"not kept: {item}", fg="yellow")
    for sentence in filter(None, (manifest.growth, manifest.advice)):
        say(sentence, fg="yellow")


def verification(result: Verification) -> None:
    """Print what was proved, and what had to be mended before."""
    for part in result.repaired:
        say(f"{part} was missing or different, and is written anew")
    say("equal: ", fg="green", bold=True, nl=False)
    say(
        f"{counted(result.num_parts, 'part')} hold{'s' if result.num_parts == 1 else ''} all "
        f"{result.num_rows:,} rows of the source in order; "
        f"{result.num_values:,} values of {result.num_columns} columns, schema and metadata "
        f"compared in {result.elapsed_seconds:.1f} s"
    )


def demo_end(place: str, *, keep: bool) -> None:
    """Print where the demo's files are."""
    if keep:
        say("", f"Sample and parts are kept in {place}.")
    else:
        say("", "Sample and parts were removed again; `evensplit demo FOLDER` keeps them.")
