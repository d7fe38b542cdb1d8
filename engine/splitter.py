"""The story of a split on one page: sources, plan, what is left to do, execute, commit.

The verbs of the façade live here; each takes the command line's names and returns frozen data.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from engine import events, memory, system
from engine.errors import (
    BadSetting,
    DestinationInSource,
    NoDiskSpace,
    OverTarget,
    TargetTooSmall,
)
from engine.executors import Resources, run_parts
from engine.executors.choosing import choose_resources, decodes
from engine.formats import Measures, format_of, load_format, settled
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
from engine.part_names import NameFields, stem_of
from engine.planning.even_cuts import PROMISED_SPREAD
from engine.planning.planner import joined_plan, make_plan, plan_id
from engine.settings import Settings
from engine.sources import find_wanted
from engine.storage import (
    Storage,
    buffer_bytes,
    check_destination,
    check_unchanged,
    open_storage,
    supports_server_side_copy,
)
from engine.storage.access import current
from engine.storage.base import redacted
from engine.storage.folders import glob_matches
from engine.version import __version__
from engine.wording import amount, counted
from engine.work import PartTask, is_intact

if TYPE_CHECKING:
    from distributed import Client

    from engine.formats.parquet.profiler.keys import KeySkew

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


def plan_split(patterns: Sequence[str], settings: Settings) -> SplitPlan:
    """Plan without writing anything; see :func:`engine.plan`."""
    with memory.keeping_to(settings.memory_bytes):
        found = find_wanted(patterns, settings)
        files, settings = settled(found.files, settings)
        with load_format(format_of(files)).holding_sources():
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
    kept_bytes = measures.kept_bytes(plan.memory_bytes, decodes(plan, settings))
    return replace(plan, planning_memory_bytes=plan.planning_memory_bytes + kept_bytes)


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
    workers = num_workers or system.num_cores()
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
        files, notes, patterns = find_wanted(patterns, settings)
        files, settings = settled(files, settings)
        _check_apart(patterns, files, settings, folder)
        places = [folder, *(file.path for file in files)]
        _check_transfer(places, settings)
        ledger = Ledger(store, folder)
        ledger.check_free()
        stack.enter_context(load_format(format_of(files)).holding_sources())
        is_new = not ledger.is_claimed()
        failed = () if is_new else ledger.failed(plan_id(files, settings, __version__))
        plan = replace(_plan(files, settings, failed), source_notes=_notes(notes, files))
        while True:
            _check_part_sizes(plan, store)
            if settings.loader is not None:
                _check_loader(settings.loader, plan, settings, folder)
            resources = choose_resources(plan, settings, budget, store_bytes=buffer_bytes(places))
            resources = replace(resources, client=client)
            try:
                return _carry_out(plan, settings, ledger, folder, resources, progress, started)
            except OverTarget as error:
                plan = _plan_again(plan, files, settings, error)
                reason = str(error).partition(";")[0]
                events.say("split.planned-again", f"{reason}: planned again, with more room")
                progress.planned_again(reason)


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
    with load_format(format_of(plan.sources)).holding_sources():
        written = _Written()
        _carry_out(plan, settings, ledger, folder, resources, written, started)
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
