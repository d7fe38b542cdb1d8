"""What a report tells: of a source, its layout and what a split would do; of a split, what it did.

Everything comes from footers, page indexes and the destination's own record. Values are compared
only where that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import memory
from engine.errors import EvensplitError, NoSource, NotASplit
from engine.executors.choosing import choose_resources
from engine.formats.parquet.profiler import FileProfile, Profile, profile_files
from engine.ledger.manifest import Ledger
from engine.model import (
    Dialect,
    PartPlan,
    Receipt,
    Run,
    SplitPlan,
    Verification,
    copied_share,
    most_spread,
)
from engine.reporter import figures
from engine.reporter.page import Section, render
from engine.reporter.spoken import Table
from engine.settings import Settings
from engine.sources import are_lines
from engine.splitter import plan_split
from engine.storage import open_storage
from engine.storage.base import redacted
from engine.verification import verify_split
from engine.wording import (
    amount,
    count,
    count_or_none,
    counted,
    memory_amount,
    percent,
    percent_apart,
    rows_of,
    sum_or_none,
)

_LOADERS = 8
_MAX_TABLE_ROWS = 1000


def make_report(place: str, settings: Settings, *, verify: bool = False) -> str:
    """Return the page about a source, or about the folder of a split.

    Args:
        place: a file, folder, glob or URL of sources; or the destination of a split.
        settings: of the split that the report of a source plans.
        verify: compare all values of a finished split, and tell the outcome.

    Raises:
        EvensplitError: there is neither a source nor a split, or parts differ from their source.
    """
    store, folder = open_storage(place)
    ledger = Ledger(store, folder)
    try:
        is_split = ledger.is_claimed()
    except NoSource:  # a file has nothing inside
        is_split = False
    if is_split:
        return _of_split(place, ledger, verify=verify)
    if verify:
        raise NotASplit(
            f"{redacted(place)} holds no split of evensplit; --verify compares the parts of one"
        )
    if are_lines([place], settings.include, settings.exclude):
        plan = plan_split([place], settings)
        size = amount(sum(source.size_bytes for source in plan.sources))
        about = f"{counted(len(plan.sources), 'file')}, {size}, {rows_of(plan.num_rows)}"
        return render(redacted(place), about, [_lines(plan), *_plan(plan, settings)])
    profile = profile_files([place], settings.include, settings.exclude)
    sections = [*_layout(profile, "Layout")]
    try:
        plan = plan_split([place], settings)
    except EvensplitError as error:
        sections.append(Section("What a split would do", (), (f"It is refused: {error}",)))
    else:
        sections = [*_layout(profile, "Layout", plan), *_plan(plan, settings)]
    return render(redacted(place), _subtitle(profile), sections)


def _dialect(plan: SplitPlan) -> Dialect | None:
    """Return how records of the source are told apart, if it is one of lines."""
    return plan.sources[0].dialect


def _lines(plan: SplitPlan) -> Section:
    """Tell of a source of lines what its plan knows; ``evensplit profile`` tells more."""
    dialect = _dialect(plan)
    assert dialect is not None
    facts = {
        "bytes": amount(sum(source.size_bytes for source in plan.sources)),
        "records": _known(plan.num_rows),
        "format": "JSON, a value a line" if dialect.kind == "ndjson" else "delimited text",
        "compression": dialect.codec or "none",
    }
    if dialect.kind == "csv":
        header_bytes = dialect.header_bytes - dialect.mark_bytes
        facts |= {
            "delimiter": repr(dialect.delimiter) if dialect.delimiter else "none",
            "quote": repr(dialect.quote) if dialect.quote else "none",
            "header, in every part": amount(header_bytes) if header_bytes else "none",
        }
    conversion = plan.sources[0].conversion
    if conversion is not None:
        facts["columns"] = conversion.sentence
    return Section("The source", tuple(facts.items()))


def _subtitle(profile: Profile) -> str:
    files = counted(len(profile), "file")
    return f"{files}, {amount(profile.size_bytes)}, {count(profile.num_rows)} rows"


def _layout(profile: Profile, title: str, plan: SplitPlan | None = None) -> list[Section]:
    """Tell how files are laid out; row groups and pages are those of the largest."""
    largest = max(profile, key=lambda file: file.size_bytes)
    drawn: list[Any] = []
    if len(profile) > 1:
        sizes = [file.size_bytes for file in profile]
        drawn += [figures.files_figure(profile), figures.lorenz_figure(sizes, "files")]
    drawn.append(figures.row_groups_figure(largest))
    if len(profile) == 1 and largest.num_row_groups > 1:
        groups = [group.compressed_bytes for group in largest.row_groups]
        drawn.append(figures.lorenz_figure(groups, "row groups"))
    drawn.append(figures.columns_figure(profile))
    cuts = _cuts(plan) if plan is not None and len(profile) == 1 else ()
    drawn.append(figures.rows_figure(largest, cuts))
    if largest.page_sizes:
        drawn.append(figures.pages_figure(largest))
    about: tuple[str, ...] = ()
    if len(profile) > 1:
        name = largest.path.rpartition("/")[2]
        about = (f"Row groups, rows and pages are those of the largest file, {name}.",)
    return [
        Section(
            title,
            _facts(profile, largest),
            about,
            profile.findings + largest.findings,
            tuple(drawn),
            (_column_table(largest),),
        )
    ]


def _facts(profile: Profile, largest: FileProfile) -> tuple[tuple[str, str], ...]:
    facts = [("bytes", amount(profile.size_bytes)), ("rows", count(profile.num_rows))]
    if len(profile) > 1:
        facts.append(("files", f"{len(profile):,}"))
    facts.append(("row groups", f"{sum(file.num_row_groups for file in profile):,}"))
    facts.append(("columns", f"{largest.num_columns:,}"))
    if largest.num_pages is not None and len(profile) == 1:
        facts.append(("data pages", f"{largest.num_pages:,}"))
    facts.append(("written by", largest.created_by.partition(" (build")[0] or "unnamed"))
    return tuple(facts)


def _column_table(file: FileProfile) -> Table:
    rows = [
        (
            column.spelling,
            column.physical_type,
            amount(column.compressed_bytes),
            percent(column.share),
            f"{column.compression_ratio:.1f}",
            "" if column.num_pages is None else f"{column.num_pages:,}",
            "" if column.dictionary_page_share is None else percent(column.dictionary_page_share),
            column.order or "",
            " ".join((*column.codecs, *column.encodings)),
        )
        for column in sorted(file.columns, key=lambda column: -column.compressed_bytes)
    ]
    headings = (
        *("column", "type", "bytes", "share", "ratio", "pages", "dictionary pages", "order"),
        "stored as",
    )
    return Table(f"All {len(rows):,} columns", headings, tuple(rows[:_MAX_TABLE_ROWS]))


def _plan(plan: SplitPlan, settings: Settings) -> list[Section]:
    before = {file.path: file.size_bytes for file in plan.sources}
    after = {part.name: part.predicted_bytes for part in plan.parts}
    budget = memory.budget(settings.memory_bytes)
    values = {"one part, projected": plan.memory_bytes}
    try:
        values["the run, projected"] = choose_resources(plan, settings).run_bytes
        fits = f"the run takes at most {memory_amount(values['the run, projected'])}"
    except EvensplitError:
        fits = "it does not fit"
    takeaway = f"{fits}; the budget is {memory_amount(budget.bytes)} ({budget.source})"
    return [
        Section(
            "What a split would do",
            _plan_facts(plan),
            tuple(f"Not kept: {item}." for item in plan.lost),
            (),
            (
                figures.before_after_figure(before, after),
                figures.slots_figure([*before.values()], [*after.values()], _LOADERS),
                figures.parts_figure(plan),
                *_growth(plan),
                figures.memory_figure(values, takeaway),
            ),
            (_part_table(plan, ()),),
        )
    ]


def _plan_facts(plan: SplitPlan) -> tuple[tuple[str, str], ...]:
    return _parts_facts(plan.parts, plan.spread, plan.settings)


def _written_facts(plan: SplitPlan, receipts: Sequence[Receipt]) -> tuple[tuple[str, str], ...]:
    sizes = ((receipt.name, receipt.size_bytes) for receipt in receipts)
    return _parts_facts(receipts, most_spread(sizes), plan.settings)


def _parts_facts(
    parts: Sequence[PartPlan | Receipt], spread: float, settings: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    facts = [("parts", f"{len(parts):,}"), ("(largest - smallest) / mean", percent_apart(spread))]
    if target := settings.get("target_bytes"):
        facts.append(("target, a hard cap", amount(target)))
    facts.append(("copied as they are", percent(copied_share(parts))))
    facts.append(("re-encoded", amount(sum(part.reencoded_bytes for part in parts))))
    return tuple(facts)


def _part_table(plan: SplitPlan, receipts: Sequence[Receipt]) -> Table:
    written = {receipt.index: receipt.size_bytes for receipt in receipts}
    rows = [
        (
            part.name,
            count_or_none(part.first_row),
            count_or_none(part.num_rows),
            f"{part.predicted_bytes:,}",
            f"{written[part.index]:,}" if part.index in written else "",
            f"{part.reencoded_bytes:,}",
            f"{part.memory_bytes >> 20:,}",
        )
        for part in plan.parts[:_MAX_TABLE_ROWS]
    ]
    headings = (
        *("part", "first row", "rows", "bytes predicted", "bytes written", "re-encoded"),
        "memory, MiB",
    )
    return Table(f"All {len(plan.parts):,} parts", headings, tuple(rows))


def _growth(plan: SplitPlan) -> list[Any]:
    """Return the figure of the plan's growth; plans of older versions do not have the numbers."""
    return [figures.growth_figure(plan)] if plan.growth_bytes else []


def _cuts(plan: SplitPlan) -> tuple[int, ...]:
    return tuple(part.first_row for part in plan.parts[1:] if part.first_row is not None)


def _of_split(place: str, ledger: Ledger, *, verify: bool) -> str:
    plan = ledger.plan()
    receipts = ledger.receipts(plan)
    finished = len(receipts) == len(plan.parts)
    sections = _source_layout(plan)
    names = {receipt.index: receipt for receipt in receipts}
    before = {source.path: source.size_bytes for source in plan.sources}
    after = {receipt.name: receipt.size_bytes for receipt in names.values()}
    drawn: list[Any] = []
    if finished:
        drawn.append(figures.before_after_figure(before, after))
        drawn.append(figures.slots_figure([*before.values()], [*after.values()], _LOADERS))
    sizes = {receipt.index: receipt.size_bytes for receipt in receipts}
    drawn += [figures.parts_figure(plan, sizes), *_growth(plan)]
    run = ledger.run(plan)
    if run is not None:
        drawn.append(_memory(plan, run))
    state = "all parts are committed" if finished else "the split is not finished: run it again"
    sections.append(
        Section(
            "The split",
            _written_facts(plan, receipts) if finished else _plan_facts(plan),
            (
                f"{len(receipts):,} of {counted(len(plan.parts), 'part')}: {state}.",
                *(f"Not kept: {item}." for item in plan.lost),
            ),
            (),
            tuple(drawn),
            (_part_table(plan, receipts),),
        )
    )
    if finished:
        sections += _of_parts(place, plan, receipts, verify=verify)
    title = f"Split of {', '.join(redacted(source.path) for source in plan.sources[:3])}"
    if len(plan.sources) > 3:
        title += f" and {len(plan.sources) - 3:,} more"
    return render(title, redacted(place), sections)


def _source_layout(plan: SplitPlan) -> list[Section]:
    """Tell how the source is laid out, if it still is what it was."""
    if _dialect(plan) is not None:
        return [_lines(plan)]
    paths = [source.path for source in plan.sources]
    try:
        for source in plan.sources:
            store, path = open_storage(source.path)
            now = store.stat(path)
            if (now.version, now.size_bytes) != (source.version, source.size_bytes):
                text = f"{redacted(source.path)} has changed since the split: it is not shown."
                return [Section("The source", (), (text,))]
        return _layout(profile_files(paths), "The source", plan)
    except EvensplitError as error:
        return [Section("The source", (), (f"It cannot be read any more: {error}",))]


def _memory(plan: SplitPlan, run: Run) -> Any:
    values = {"one part, projected": plan.memory_bytes}
    if run.projected_memory_bytes:
        values["the run, projected"] = run.projected_memory_bytes
    takeaway = f"{counted(run.num_parts, 'part')} in {run.elapsed_seconds:.1f} s"
    if run.peak_memory_bytes:
        values["the run, peak"] = run.peak_memory_bytes
        takeaway += f"; peak {memory_amount(run.peak_memory_bytes)}"
        if run.projected_memory_bytes:
            share = run.peak_memory_bytes / run.projected_memory_bytes
            takeaway += f", {percent(share)} of what was projected"
    return figures.memory_figure(values, takeaway)


def _of_parts(
    place: str, plan: SplitPlan, receipts: Sequence[Receipt], *, verify: bool
) -> list[Section]:
    """Tell whether the parts are proved, and, where they have a layout, of it."""
    if _dialect(plan) is None or plan.sources[0].conversion is not None:
        parts = profile_files([place], has_notes=False)  # whose folder is our own
        counted_by = "counted by the parts' footers"
        num_rows, layout = sum_or_none([parts.num_rows]), _layout(parts, "The parts")
    else:
        num_rows, layout = sum_or_none(each.num_rows for each in receipts), []
        counted_by = "not counted" if num_rows is None else "counted by the parts' receipts"
    facts = (
        ("rows of the source", _known(plan.num_rows)),
        ("rows of the parts", _known(num_rows)),
    )
    return [_verification(place, facts, counted_by, verify=verify), *layout]


def _known(num_rows: int | None) -> str:
    return "not counted" if num_rows is None else f"{num_rows:,}"


def _verification(
    place: str, facts: tuple[tuple[str, str], ...], counted_by: str, *, verify: bool
) -> Section:
    if not verify:
        text = (
            f"Rows are {counted_by}. Values were not compared for this page: "
            f"evensplit verify {redacted(place)} compares them; report --verify tells the outcome."
        )
        return Section("Verification", facts, (text,))
    found: Verification = verify_split(place, memory_bytes=None, workers=None, progress=None)
    if found.num_columns:
        more = ("values compared", f"{found.num_values:,}")
        what = f"schema, metadata and every value of {counted(found.num_columns, 'column')}"
    else:
        more, what = ("bytes compared", f"{found.num_bytes:,}"), "all bytes"
    text = (
        f"Equal: {counted(found.num_parts, 'part')} hold all {counted(found.num_rows, 'row')} of "
        f"the source in order; {what} were compared in {found.elapsed_seconds:.1f} s."
    )
    return Section("Verification", (*facts, more), (text,))
