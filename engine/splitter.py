"""The story of a split on one page: footers, plan, what is left to do, execute, commit.

The verbs of the façade live here; each takes the command line's names and returns frozen data.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine import events, memory, system
from engine.errors import (
    BadSetting,
    DestinationInSource,
    NoDiskSpace,
    NotPlainFolder,
    OverTarget,
    TargetTooSmall,
)
from engine.executors import LocalProcesses, Resources, run_parts
from engine.formats import LINES, Measures, format_of, load_format, settled
from engine.ledger.manifest import Claim, Ledger
from engine.loader_forms import form_of
from engine.loaders import check_loader, load_files
from engine.model import (
    Measured,
    Receipt,
    Run,
    SourceFile,
    SplitPlan,
    SplitResult,
    by_partition,
)
from engine.part_names import NameFields, kind_of, stem_of
from engine.partition_values import WORDS, Kind, constants_of, pair_of
from engine.planning.even_cuts import PROMISED_SPREAD
from engine.planning.planner import joined_plan, make_plan, plan_id
from engine.settings import Settings
from engine.storage import (
    Found,
    Storage,
    buffer_bytes,
    check_destination,
    check_unchanged,
    describe_all,
    expand_all,
    open_storage,
    supports_server_side_copy,
)
from engine.storage.access import current
from engine.storage.base import redacted
from engine.storage.folders import glob_matches, partitions_problem, partitions_refusal
from engine.version import __version__
from engine.wording import amount, counted, shown
from engine.work import PartTask, is_intact

if TYPE_CHECKING:
    from distributed import Client

    from engine.formats.parquet.profiler.keys import KeySkew

# Below this, starting worker processes costs more than they save.
_REENCODED_BYTES_WORTH_PROCESSES = 64 << 20
_METER_SECONDS = 0.25  # adding up all worker processes takes some milliseconds


class Progress:
    """What a split tells while it runs; every method may be left as it is."""

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        """The plan stands; ``num_resumed`` parts are already committed."""

    def planned_again(self, reason: str) -> None:
        """A part did not keep the target: another plan follows, and all parts are written anew."""

    def dashboard(self, link: str) -> None:
        """Dask has a dashboard at this address."""

    def growing(self, num_bytes: int) -> None:
        """Of parts that are not committed yet so much is written: every second, in a thread."""

    def committed(self, receipt: Receipt) -> None:
        """A part is committed."""

    def compared(self, num_values: int) -> None:
        """So many more values were compared, by one thread at a time; 0 as the proof begins."""


def find_sources(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[SourceFile, ...]:
    """Describe the files that sources stand for, in order; what is passed over is logged.

    Raises:
        NoSource: nothing matches.
        NotPlainFolder: a folder holds more, or less, than its files say.
    """
    found = _found(patterns, include, exclude, partitions="refused")
    for note in found.notes:
        events.say("sources.note", note)
    return found.files


def find_each(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[tuple[SourceFile, str]]:
    """Describe files that are split each for itself, and their paths below the sources.

    Folders of hive partitions are plain here: the path of a file keeps what they say.

    Raises:
        NoSource, NotPlainFolder: as :func:`find_sources`.
    """
    found = _expanded(patterns, include, exclude)
    for note in found.notes:
        events.say("sources.note", note)
    return list(zip(describe_all(found.files), found.names, strict=True))


def _expanded(patterns: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> Found:
    if not patterns:
        raise BadSetting("no source given")
    found = expand_all(patterns, include, exclude)
    if found.problems:
        raise NotPlainFolder(found.problems[0])
    return found


class _Sources(NamedTuple):
    """The files of a split, what is to be said about them, and the sources without lists."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...]
    patterns: tuple[str, ...]


def _found(
    patterns: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    partitions: Literal["apart", "columns", "refused"],
    is_relaxed: bool = False,
    partition_types: str | None = None,
) -> _Sources:
    """Describe the files that sources stand for.

    ``partitions``: what becomes of hive folders whose files lack the columns of their names.
    ``is_relaxed``: files may lack columns that others have.
    ``partition_types``: of some columns of folders, as users write them.
    """
    found = _expanded(patterns, include, exclude)
    files = tuple(describe_all(found.files))
    notes = found.notes
    if found.partition_columns:
        # All files have one schema, which is seen to later: one footer says it.
        held = load_format(format_of(files)).top_columns(files[0])
        lost = [name for name in found.partition_columns if name not in held]
        if is_relaxed:
            _check_held_by_all(files, found.partition_columns, held)
        if lost and partitions == "refused":
            raise NotPlainFolder(partitions_refusal(redacted(files[0].path), lost))
        own = [name for name in found.partition_columns if name in held]
        if own and partitions != "refused":
            _check_values(files, found.partitions, own, needs_proof=partitions == "columns")
        if partitions == "columns":
            files = _flattened(files, found, own, partition_types)
        elif lost:
            files = _in_partitions(files, found.partitions)
        if own:
            notes += (f"taken from the files, not from names of their folders: {', '.join(own)}",)
    elif partitions == "columns":
        raise BadSetting(
            "--flatten makes columns of hive folders (year=2024/...), and no source lies in such: "
            "leave it out, or name the folder above them"
        )
    return _Sources(files, notes, found.patterns)


def _wanted(patterns: Sequence[str], settings: Settings) -> _Sources:
    partitions: Literal["apart", "columns"] = "columns" if settings.flatten else "apart"
    return _found(
        patterns,
        settings.include,
        settings.exclude,
        partitions=partitions,
        is_relaxed=settings.schema == "relaxed",
        partition_types=settings.partition_types,
    )


def _check_held_by_all(
    files: Sequence[SourceFile], columns: Sequence[str], held: AbstractSet[str]
) -> None:
    """Refuse columns of folders that some files have and others lack, which would be null there.

    ``held``: columns of the first file.
    """
    top_columns = load_format(format_of(files)).top_columns
    for file in files[1:]:
        for name in held ^ top_columns(file):
            if name in columns:
                has, lacks = (files[0], file) if name in held else (file, files[0])
                raise _held_by_some(has, lacks, name)


def _held_by_some(has: SourceFile, lacks: SourceFile, name: str) -> NotPlainFolder:
    return NotPlainFolder(
        f"{redacted(has.path)} has the column {name}, which {redacted(lacks.path)} has in the name "
        f"of its folder alone ({name}=...), so that it would come as null: split the files that "
        "have it and those that lack it apart"
    )


def _check_values(
    files: Sequence[SourceFile],
    partitions: Sequence[str],
    columns: Sequence[str],
    *,
    needs_proof: bool,
) -> None:
    """Refuse files whose folder says another value of a column than they do: one would be lost.

    ``needs_proof``: also where footers do not tell.
    """
    own = load_format(format_of(files))
    for file, partition in zip(files, partitions, strict=True):
        folders = {it.partition("=")[0]: it for it in partition.split("/")}
        texts = {name: pair_of(folders[name])[1] for name in columns if name in folders}
        for name, agrees in own.agreements(file, texts).items():
            where = f"{redacted(file.path)} lies in the folder {shown(folders[name])}"
            if agrees is False:
                raise NotPlainFolder(
                    f"{where}, and its column {shown(name)} has other values: some readers take "
                    "the folder's, some the file's, and parts would have those alone; rename the "
                    "folder, or name it itself, which takes the file's"
                )
            if agrees is None and needs_proof:
                if name not in own.top_columns(file):
                    raise _held_by_some(files[0], file, name)
                raise NotPlainFolder(
                    f"{where} and has a column {shown(name)} itself, of which its footer does not "
                    "tell that it has this value in all rows: leave --flatten out"
                )


def _in_partitions(
    files: tuple[SourceFile, ...], partitions: Sequence[str]
) -> tuple[SourceFile, ...]:
    """Return files with their partitions, those of one partition together."""
    one_of_each = {
        partition: redacted(file.path)
        for file, partition in zip(files[::-1], partitions[::-1], strict=True)
    }
    if problem := partitions_problem(one_of_each):
        raise NotPlainFolder(problem)
    order = {partition: at for at, partition in enumerate(dict.fromkeys(partitions))}
    placed = [
        replace(file, partition=partition)
        for file, partition in zip(files, partitions, strict=True)
    ]
    return tuple(sorted(placed, key=lambda file: order[file.partition]))


def _flattened(
    files: tuple[SourceFile, ...], found: Found, own: Sequence[str], types: str | None
) -> tuple[SourceFile, ...]:
    """Return files of partitions with the values of their folders as columns, in their order.

    ``own``: columns that the files have themselves, with the same values.
    """
    placed = _in_partitions(files, found.partitions)
    given = _given_kinds(types) if types is not None else {}
    lacked = [
        "/".join(it for it in file.partition.split("/") if it.partition("=")[0] not in own)
        for file in placed
    ]
    every = constants_of(lacked, found.partition_kinds, given)
    return tuple(
        replace(file, partition="", constants=constants)
        for file, constants in zip(placed, every, strict=True)
    )


def _given_kinds(types: str) -> dict[str, Kind]:
    from engine.formats.converted.types import named_types  # imports Arrow

    flag = "--partition-types"
    words = named_types(types, flag, "")
    for name, word in words.items():
        if word not in WORDS:
            raise BadSetting(
                f"{flag}: {shown(name)} has the type {word}, and columns of folders have one of "
                f"{', '.join(WORDS)}"
            )
    return {name: WORDS[word] for name, word in words.items()}


def are_lines(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> bool:
    """Whether sources are files of lines, by the first of them; only names of lines are looked at.

    Raises:
        NoSource: nothing matches.
    """
    if all(kind_of(pattern) == "Parquet" for pattern in patterns):
        return False  # without a listing
    first = expand_all(patterns, include, exclude).files[:1]
    files = [store.stat(path) for store, path in first if kind_of(path) not in ("", "Parquet")]
    return bool(files) and format_of(files) == LINES


def plan_split(patterns: Sequence[str], settings: Settings) -> SplitPlan:
    """Plan without writing anything; see :func:`engine.plan`."""
    with memory.keeping_to(settings.memory_bytes):
        found = _wanted(patterns, settings)
        files, settings = settled(found.files, settings)
        return replace(_plan(files, settings), source_notes=_notes(found.notes, files))


def _notes(notes: tuple[str, ...], files: Sequence[SourceFile]) -> tuple[str, ...]:
    """Return what is to be said about sources, and what becomes of their records."""
    return (*notes, *load_format(format_of(files)).notes(files))


def _plan(
    files: tuple[SourceFile, ...],
    settings: Settings,
    failed: tuple[Measured, ...] = (),
) -> SplitPlan:
    """Plan, given the parts of earlier revisions that failed.

    Each partition is planned by itself, and all are one plan.
    """
    groups = [tuple(group) for _, group in groupby(files, attrgetter("partition"))]
    if len(groups) == 1:
        return _plan_partition(files, settings, failed, 0)
    firsts = [group[0] for group in groups]
    # That all are one table is seen by a file of each, as each by itself sees to its own.
    load_format(format_of(files)).measure(firsts, Settings(), revision=0)
    plans: list[SplitPlan] = []
    first_row = 0
    for group in groups:
        plans.append(_plan_partition(group, settings, failed, first_row))
        first_row += plans[-1].num_rows or 0
    return joined_plan(plans, plan_id(files, settings, __version__), failed)


def _plan_partition(
    files: tuple[SourceFile, ...],
    settings: Settings,
    failed: tuple[Measured, ...],
    first_row: int,
) -> SplitPlan:
    """Plan files of one partition; ``failed`` counts rows over all, of which these begin there."""
    measures = load_format(format_of(files)).measure(files, settings, revision=len(failed))
    stop = first_row + measures.layout.num_rows
    ours = tuple(
        replace(part, first_row=part.first_row - first_row)
        for part in failed
        if first_row <= part.first_row < stop
    )
    plan = _plan_by(measures, settings, ours)
    # Where bytes are estimates, parts come out less even than they are expected.
    expected_spread = plan.spread + measures.layout.uncertain_share
    if settings.evens and expected_spread > PROMISED_SPREAD and (smoother := measures.smoother()):
        plan = min(plan, _plan_by(smoother, settings, ours), key=_unevenness)
    return plan


def _unevenness(plan: SplitPlan) -> tuple[float, int, float]:
    """Order plans: what keeps the promise has the fewest parts, what does not the evenest."""
    broken = plan.spread if plan.spread > PROMISED_SPREAD else 0.0
    return broken, len(plan.parts), plan.spread


def _plan_by(measures: Measures, settings: Settings, failed: tuple[Measured, ...]) -> SplitPlan:
    plan = make_plan(
        measures.layout,
        settings,
        version=__version__,
        curve_of=measures.curve_of,
        inside_of=measures.inside_of,
        memory_of=measures.memory_of,
        copied_of=measures.copied_of,
        failed=failed,
    )
    # What looks and samples took is kept by the allocator while parts are written.
    kept_bytes = measures.kept_bytes(plan.memory_bytes, _decodes(plan, settings))
    return replace(plan, planning_memory_bytes=plan.planning_memory_bytes + kept_bytes)


def _decodes(plan: SplitPlan, settings: Settings) -> bool:
    """Return whether parts are decoded, by Arrow; lines that stay lines never are."""
    if not load_format(format_of(plan.sources)).PRELOAD:
        return False
    return not (settings.recoding.is_nothing and all(part.is_spliced for part in plan.parts))


def profile_key_of(
    files: Sequence[SourceFile],
    column: str,
    num_partitions: int,
    num_workers: int | None,
    scheduler: str | None,
) -> KeySkew:
    """Count the values of a column; see :func:`engine.profile_key`."""
    from engine.executors.merged import run_merged
    from engine.formats.parquet.profiler.keys import key_skew, key_tasks, merged, sketch

    with memory.keeping_to(None) as allowed:
        tasks = key_tasks(files, column, num_partitions)
    workers = num_workers or _default_workers(threads=False)
    kind: Literal["cluster", "threads"] = "cluster" if scheduler else "threads"
    name = tasks[0].column if tasks else column
    if not scheduler:
        process_bytes = memory.KEY_PROCESS_BYTES
        each_bytes = max((task.memory_bytes for task in tasks), default=1)
        memory.check(process_bytes + each_bytes, allowed, f"to count the values of column {name}")
        workers = max(1, min(workers, (allowed.bytes - process_bytes) // each_bytes))
    resources = Resources(kind, workers, allowed.bytes, scheduler)
    found = run_merged(tasks, sketch, merged, resources, current())
    return key_skew(name, found, num_partitions)


def split_files(
    patterns: Sequence[str],
    destination: str,
    settings: Settings,
    progress: Progress | None = None,
    client: Client | None = None,
) -> SplitResult:
    """Split, or finish a split that was begun; see :func:`engine.split`."""
    progress = progress or Progress()
    started = time.monotonic()
    memory.forget_own_peak()
    check_destination(destination)
    store, folder = open_storage(destination)
    with ExitStack() as stack:
        budget = stack.enter_context(memory.keeping_to(settings.memory_bytes))
        files, notes, patterns = _wanted(patterns, settings)
        files, settings = settled(files, settings)
        _check_apart(patterns, files, settings, folder)
        places = [folder, *(file.path for file in files)]
        _check_transfer(places, settings)
        ledger = Ledger(store, folder)
        ledger.check_free()
        stack.callback(load_format(format_of(files)).close_sources)
        is_new = not ledger.is_claimed()
        ahead = _processes_ahead(files, settings, budget) if is_new else None
        stack.enter_context(ahead or nullcontext())
        failed = () if is_new else ledger.failed(plan_id(files, settings, __version__))
        plan = replace(_plan(files, settings, failed), source_notes=_notes(notes, files))
        while True:
            _check_part_sizes(plan, store)
            if settings.loader is not None:
                _check_loader(settings.loader, plan, settings, folder)
            resources = choose_resources(plan, settings, budget, store_bytes=buffer_bytes(places))
            resources = replace(resources, client=client)
            try:
                return _carry_out(
                    plan, settings, ledger, folder, resources, progress, started, ahead
                )
            except OverTarget as error:
                plan = _plan_again(plan, files, settings, error)
                reason = str(error).partition(";")[0]
                events.say("split.planned-again", f"{reason}: planned again, with more room")
                progress.planned_again(reason)
            if ahead is not None:  # ended, so that no memory is counted twice
                ahead.close()
                ahead = None


def _check_loader(loader: str, plan: SplitPlan, settings: Settings, folder: str) -> None:
    names = [part.name for part in plan.parts]
    form = form_of(plan.sources, settings.codec)
    columns: set[str] = set()
    if plan.sources[0].partition:
        held = load_format(format_of(plan.sources)).top_columns
        # Others have one schema, or one header.
        files = plan.sources if form.kind == "NDJSON" else plan.sources[:1]
        columns = columns.union(*map(held, files))
    check_loader(loader, redacted(folder), names, settings.table, form, columns)


def _plan_again(
    plan: SplitPlan,
    files: tuple[SourceFile, ...],
    settings: Settings,
    error: OverTarget,
) -> SplitPlan:
    """Return the next revision of a plan whose part came out over the target.

    Every revision expects the parts that failed before to be as large as they were, and leaves more
    room, so that a revision succeeds in the end, or is refused.

    Raises:
        TargetTooSmall: parts are not to be smaller.
    """
    part = plan.parts[error.index]
    if part.first_row is None or part.num_rows is None:
        raise error  # its bytes were known
    is_least = len(part.slices) == 1 and part.slices[0].is_whole
    if settings.rows_per_part or part.num_rows == 1 or (settings.cut == "row-group" and is_least):
        raise TargetTooSmall(
            f"{part.name}, of rows {part.first_row} to {part.first_row + part.num_rows}, came out "
            f"at {error.size_bytes:,} bytes, over the target of {settings.target_bytes:,}, and "
            "cannot be smaller; raise --target-size, or ask for fewer rows a part"
        )
    failed = Measured(part.first_row, part.num_rows, error.size_bytes)
    revised = _plan(files, settings, (*plan.failed, failed))
    return replace(revised, source_notes=plan.source_notes)


def _carry_out(
    plan: SplitPlan,
    settings: Settings,
    ledger: Ledger,
    folder: str,
    resources: Resources,
    progress: Progress,
    started: float,
    ahead: LocalProcesses | None,
) -> SplitResult:
    """Write the parts that are not there yet, and the manifest."""
    meter = memory.PeakMeter(_METER_SECONDS) if resources.kind == "processes" else None
    with meter or nullcontext(), ledger.lock():
        _check_room(plan, folder, sum(ledger.sizes(plan.parts).values()))
        receipts = ledger.claim(
            plan,
            overwrite=settings.overwrite,
            is_intact=partial(is_intact, folder, format_of(plan.sources)),
            check_sources=partial(check_unchanged, plan.sources),
        )
        num_resumed = len(receipts)
        if settings.bad_rows == "file":
            from engine.formats.converted.left_out import kept

            ledger.note_bad_rows(kept(plan.sources))
        _say_planned(plan, folder, num_resumed)
        progress.planned(plan, num_resumed)

        def on_receipt(receipt: Receipt) -> None:
            receipts.append(receipt)
            about = {"part": receipt.name, "size_bytes": receipt.size_bytes}
            events.say("split.part", f"{receipt.name} is committed", logging.DEBUG, **about)
            progress.committed(receipt)

        tasks = _tasks(plan, receipts, ledger.held, folder, settings)
        run_parts(
            tasks,
            resources,
            on_receipt=on_receipt,
            on_dashboard=progress.dashboard,
            on_growth=progress.growing,
            ahead=ahead,
        )
        manifest = ledger.finish(plan, receipts, __version__)
        loads: tuple[str, ...] = ()
        if settings.loader is not None:
            parts, form = manifest.parts, form_of(plan.sources, settings.codec)
            loads = ledger.note_loads(
                load_files(settings.loader, redacted(folder), settings.table, parts, form)
            )
        elapsed = time.monotonic() - started
        peak_bytes = max(memory.own_peak_bytes(), meter.peak_bytes if meter else 0)
        if tasks:
            took = (len(tasks), elapsed, resources.run_bytes, peak_bytes)
            ledger.note_run(Run(plan.plan_id, *took))
        about = {"num_parts": len(receipts), "size_bytes": manifest.size_bytes}
        text = f"{redacted(folder)} is complete: {counted(len(receipts), 'part')}"
        events.say("split.complete", text, elapsed_seconds=round(elapsed, 3), **about)
    return SplitResult(folder, manifest, num_resumed, elapsed, peak_bytes, loads=loads)


def _say_planned(plan: SplitPlan, folder: str, num_resumed: int) -> None:
    number = counted(len(plan.parts), "part")
    events.say(
        "split.planned",
        f"{redacted(folder)} gets {number}; committed already: {num_resumed}",
        destination=redacted(folder),
        plan_id=plan.plan_id,
        num_parts=len(plan.parts),
        num_parts_committed=num_resumed,
        predicted_bytes=plan.predicted_bytes,
    )


def repair_part(
    destination: str, name: str, *, memory_bytes: int | None = None, num_workers: int | None = None
) -> list[str]:
    """Write a part of a finished split anew, by the plan that is kept with it.

    Others that are lost, or do not end as they did, are written with it; returns the names of all.

    Args:
        destination: folder of the split.
        name: of the part.
        memory_bytes, num_workers: as :class:`engine.settings.Settings` has them.

    Raises:
        NotASplit: there is no split.
        SourceChanged: a source is not what it was.
    """
    started = time.monotonic()
    store, folder = open_storage(destination)
    ledger = Ledger(store, folder)
    plan = ledger.plan()
    settings = replace(
        ledger.settings(Settings),
        memory_bytes=memory_bytes,
        num_workers=num_workers,
        access=current(),
    )
    ledger.forget(name)
    budget = memory.budget(memory_bytes)
    places = [folder, *(file.path for file in plan.sources)]
    resources = choose_resources(plan, settings, budget, store_bytes=buffer_bytes(places))
    with ExitStack() as stack:
        stack.callback(load_format(format_of(plan.sources)).close_sources)
        written = _Written()
        _carry_out(plan, settings, ledger, folder, resources, written, started, None)
        return sorted(written.names)


class _Written(Progress):
    """Which parts were written."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def committed(self, receipt: Receipt) -> None:
        self.names.append(receipt.name)


def _tasks(
    plan: SplitPlan,
    receipts: Sequence[Receipt],
    claim: Claim,
    folder: str,
    settings: Settings,
) -> list[PartTask]:
    done = {receipt.index for receipt in receipts}
    name = format_of(plan.sources)  # once: there may be thousands of sources, and of parts
    first = {file.partition: at for at, file in reversed(list(enumerate(plan.sources)))}
    return [
        PartTask(
            part=part.numbered(-first[sources[0].partition]),
            claim=claim,
            num_parts=len(plan.parts),
            sources=sources,
            destination=folder,
            target_bytes=settings.target_bytes,
            durable=settings.durable,
            access=settings.access,
            version=__version__,
            recoding=settings.recoding,
            format=name,
        )
        for sources, parts in by_partition(plan.sources, plan.parts)
        for part in parts
        if part.index not in done
    ]


def choose_resources(
    plan: SplitPlan,
    settings: Settings,
    budget: memory.Budget | None = None,
    *,
    store_bytes: int = 0,
) -> Resources:
    """Decide where parts run, and how many at once, so that they fit the memory budget.

    The budget is what there was before the run began; None for what there is now. A cluster's
    memory is its workers', not this machine's: the executor asks them. Each process takes
    ``store_bytes`` for requests to stores.

    Raises:
        OverBudget: one part alone needs more memory than there is.
    """
    if settings.scheduler:
        return Resources("cluster", 0, 0, settings.scheduler)
    budget = budget or memory.budget(settings.memory_bytes)
    threads = _takes_threads(plan)
    base_bytes, worker_bytes = _processes_bytes(plan, settings, store_bytes)
    fixed_bytes = base_bytes + worker_bytes
    room = budget.bytes - fixed_bytes
    worst = max(plan.parts, key=lambda part: part.memory_bytes)
    needed_bytes = worst.memory_bytes + fixed_bytes
    memory.check(needed_bytes, budget, worst.name, "choose a smaller --target-size")
    wanted = settings.num_workers or _default_workers(threads=threads)
    each = max(1, plan.memory_bytes + worker_bytes)
    num_workers = max(1, min(wanted, len(plan.parts), (room + worker_bytes) // each))
    return Resources(
        "threads" if threads else "processes",
        num_workers,
        room,
        run_bytes=base_bytes + num_workers * each,
        limit_bytes=settings.memory_bytes,
        preload=tuple(load_format(format_of(plan.sources)).PRELOAD),
    )


def _processes_ahead(
    files: Sequence[SourceFile], settings: Settings, budget: memory.Budget
) -> LocalProcesses | None:
    """Return processes that a plan is likely to want, to start them while it is made."""
    if settings.scheduler or settings.recoding.is_nothing or files[0].dialect is not None:
        return None
    size_bytes = sum(file.size_bytes for file in files)
    # How much chosen columns are is not known yet.
    if settings.columns is not None or size_bytes < 2 * _REENCODED_BYTES_WORTH_PROCESSES:
        return None
    wanted = settings.num_workers or _default_workers(threads=False)
    number = min(wanted, settings.num_parts or wanted)
    base_bytes = memory.process_base_bytes(arrow=True)
    if budget.bytes < base_bytes + 2 * number * memory.FURTHER_PROCESS_BYTES:
        return None
    # What they offer is more than the plan will leave them; but each has one part at a time.
    return LocalProcesses(number, budget.bytes, load_format(format_of(files)).PRELOAD)


def least_run_bytes(plan: SplitPlan, destination: str, settings: Settings) -> int:
    """Return what a run takes that writes one part at a time; see :func:`choose_resources`."""
    store_bytes = buffer_bytes([destination, *(file.path for file in plan.sources)])
    return sum(_processes_bytes(plan, settings, store_bytes)) + plan.memory_bytes


def _takes_threads(plan: SplitPlan) -> bool:
    if plan.sources[0].dialect is not None:
        return True  # lines are copied, or gone through by zlib, which lets other threads run
    num_reencoded = sum(part.reencoded_bytes for part in plan.parts)
    return num_reencoded < _REENCODED_BYTES_WORTH_PROCESSES


def _processes_bytes(plan: SplitPlan, settings: Settings, store_bytes: int) -> tuple[int, int]:
    """Return what this process takes before any part, and what a worker process does."""
    arrow = _decodes(plan, settings)
    threads = _takes_threads(plan)
    under: Literal["threads", "distributed"] = "threads" if threads else "distributed"
    base_bytes = memory.process_base_bytes(arrow=arrow, under=under) + store_bytes
    base_bytes += plan.planning_memory_bytes
    worker_bytes = 0 if threads else memory.FURTHER_PROCESS_BYTES + store_bytes
    return base_bytes, worker_bytes


def _default_workers(*, threads: bool) -> int:
    cores = system.num_cores()
    # Copying waits for the disk now and then; a thread more keeps the cores busy.
    return cores + 1 if threads else cores


def _check_transfer(places: Sequence[str], settings: Settings) -> None:
    apart = [place for place in places if not supports_server_side_copy(place)]
    if settings.access.transfer == "server" and apart:
        raise BadSetting(
            f"--transfer server needs source and destination in Azure storage, and "
            f"{redacted(apart[0])} is not; leave it out"
        )


def _check_part_sizes(plan: SplitPlan, store: Storage) -> None:
    largest = max(plan.parts, key=lambda part: part.predicted_bytes)
    most = store.largest_part_bytes
    if most is not None and largest.predicted_bytes > most:
        raise BadSetting(
            f"{largest.name} would have {largest.predicted_bytes} bytes, and the destination's "
            f"store takes parts up to {most} bytes; choose a smaller --target-size or more --parts"
        )


def _check_room(plan: SplitPlan, folder: str, there_bytes: int) -> None:
    """Raise NoDiskSpace if the parts certainly do not fit.

    What lies in the folder, ``there_bytes``, counts as free: it is committed already, or it will be
    replaced. Sizes of what is re-encoded may be estimates, and count half.
    """
    store, folder = open_storage(folder)
    room = store.room(folder)
    if room is None:
        return
    least_bytes = sum(part.predicted_bytes - part.reencoded_bytes // 2 for part in plan.parts)
    least_bytes -= there_bytes
    if least_bytes <= room.num_bytes:
        return
    needed, left = amount(least_bytes), amount(room.num_bytes)
    told = f"the parts need {needed} more in {folder}, and {left} are left there"
    if room.is_exact:
        missing = amount(least_bytes - room.num_bytes)
        raise NoDiskSpace(f"{told}; free {missing}, or name a folder on another disk")
    text = f"{told}; its file system may compress or share them, so they are tried"
    events.say("split.space", text, logging.WARNING)


def _check_apart(
    patterns: Sequence[str], files: Sequence[SourceFile], settings: Settings, folder: str
) -> None:
    """Refuse a destination whose parts a source would take in, or that is a source file."""
    target = _real(folder)
    is_file = "://" in target or os.path.isfile(target)  # else no source is it
    if is_file and target in {_real(file.path) for file in files}:
        raise DestinationInSource(
            f"the destination {redacted(folder)} is a source file itself; name a folder for the "
            "parts"
        )
    for pattern in patterns:
        root = _real(open_storage(pattern)[1])
        name = settings.part_name(NameFields(stem=stem_of(files[0].path)))
        places = dict.fromkeys(file.partition for file in files)
        parts = ["/".join(filter(None, (target, place, name))) for place in places]
        is_inside = target == root or target.startswith(root + "/")
        if is_inside or any(glob_matches(root, part) for part in parts):
            raise DestinationInSource(
                f"the destination {redacted(folder)} lies inside the source {redacted(root)}: the "
                "next run would read the parts as source; name a folder beside it"
            )


def _real(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.realpath(path)
