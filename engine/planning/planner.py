"""Layout and settings in, a frozen plan out: parts between cuts, and what is said of them. Pure.

No file, clock, environment or Dask is touched here. What a row group costs inside, between two of
its rows, comes as a curve from a function that the caller gives; everything else is in the layout.
:mod:`.cuts` decides where parts end.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import partial
from itertools import accumulate, pairwise
from math import ceil

from engine.errors import BadSetting, TargetTooSmall
from engine.model import (
    Growth,
    Measured,
    PartPlan,
    RowGroupSlice,
    SourceFile,
    SplitPlan,
    as_plain,
    spread,
)
from engine.part_names import NameFields, names_problem, stem_of
from engine.planning.cuts import MAX_ROUNDS, ROOM_BEYOND_SEEN, cap_of, check_sizes, choose_cuts
from engine.planning.even_cuts import PROMISED_SPREAD
from engine.planning.even_runs import even_runs
from engine.planning.layout import Layout
from engine.planning.row_groups import slices
from engine.planning.ruler import CurveOf, InsideOf, Ruler, no_insides
from engine.settings import Settings
from engine.wording import amount, counted, sum_or_none, times

_WORTH_SAYING = 0.1  # of the sources' bytes
_NEARLY_EVEN = 0.1
_MAX_ADVISED_GROUPS = 2000  # the search for even runs takes its time
_REGROUPED_ROOM = 0.995  # what new row groups take besides is not in proportion


def make_plan(
    layout: Layout,
    settings: Settings,
    *,
    version: str,
    curve_of: CurveOf,
    inside_of: InsideOf = no_insides,
    memory_of: Callable[[PartPlan], int] = lambda part: 0,
    copied_of: Callable[[Sequence[RowGroupSlice]], int] = lambda pieces: 0,
    failed: tuple[Measured, ...] = (),
) -> SplitPlan:
    """Decide all parts.

    Args:
        layout: the sources, in bytes of the parts.
        settings: what is wanted.
        version: evensplit's own, part of the plan's identity.
        curve_of: the inside of a row group, by its position in ``layout.groups``.
        inside_of: the inside of a page; asked for few.
        memory_of: projected peak memory of writing a part.
        copied_of: bytes that are copied into a row group that is made of some slices.
        failed: parts of earlier revisions of the plan; see :class:`engine.model.SplitPlan`.

    Raises:
        TargetTooSmall: a row, or with ``cut="row-group"`` a row group, is over the target.
        BadSetting: more parts are wanted than there are rows or row groups.
    """
    ruler = Ruler(layout, curve_of, inside_of, sees_all=bool(failed))
    if failed:
        ruler.layout = layout = replace(
            layout,
            uncertain_share=max(layout.uncertain_share, _seen_share(ruler, settings, failed)),
        )
    parts = _found_parts(layout, settings) if layout.found else _parts(ruler, settings)
    parts = [
        replace(_with_shares(ruler, part, settings, copied_of), memory_bytes=memory_of(part))
        for part in parts
    ]
    if problem := names_problem([part.name.rpartition("/")[2] for part in parts]):
        raise BadSetting(f"--name {settings.name!r} {problem}")
    growth = _growth(parts, layout)
    return SplitPlan(
        plan_id=plan_id(layout.files, settings, version),
        sources=layout.files,
        settings=settings.shaping(),
        num_rows=None if layout.found else layout.num_rows,
        parts=tuple(parts),
        lost=layout.lost,
        planning_memory_bytes=layout.held_bytes,
        revision=len(failed),
        failed=failed,
        growth=_growth_in_words(growth),
        growth_bytes=growth,
        advice=_advice(parts, layout, settings),
    )


def joined_plan(
    plans: Sequence[SplitPlan], plan_id: str, failed: tuple[Measured, ...]
) -> SplitPlan:
    """Put plans of partitions together: parts, rows and sources are counted over all.

    ``failed`` counts rows over all as well.
    """
    parts: list[PartPlan] = []
    first_row: int | None = 0
    first_file = 0
    for plan in plans:
        for part in plan.parts:
            row = sum_or_none((part.first_row, first_row))
            part = replace(part, index=len(parts), first_row=row)
            parts.append(part.numbered(first_file))
        first_row = sum_or_none((first_row, plan.num_rows))
        first_file += len(plan.sources)
    every = [plan.growth_bytes for plan in plans if plan.growth_bytes is not None]
    sums = map(sum, zip(*map(astuple, every), strict=True))
    growth = Growth(*sums) if len(every) == len(plans) else None
    return replace(
        plans[0],
        plan_id=plan_id,
        sources=tuple(source for plan in plans for source in plan.sources),
        num_rows=first_row,
        parts=tuple(parts),
        lost=tuple(dict.fromkeys(item for plan in plans for item in plan.lost)),
        planning_memory_bytes=sum(plan.planning_memory_bytes for plan in plans),
        revision=len(failed),
        failed=failed,
        growth=_growth_in_words(growth),
        growth_bytes=growth,
        advice="",
    )


def _seen_share(ruler: Ruler, settings: Settings, failed: Sequence[Measured]) -> float:
    """Return by which share parts that failed were larger than is expected of them now."""
    found = 0.0
    for part in failed:
        start, stop = part.first_row, part.first_row + part.num_rows
        ruler.look([start, stop], part.size_bytes)
        expected = _part(ruler, settings, 0, start, stop).predicted_bytes
        found = max(found, part.size_bytes / expected - 1 + ROOM_BEYOND_SEEN)
    return found


def plan_id(files: Sequence[SourceFile], settings: Settings, version: str) -> str:
    """Return the hash of the sources' identity and of every setting that shapes the parts."""
    identity = {
        "sources": as_plain(files),
        "settings": settings.shaping(),
        "version": version,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_holds_a_row(layout: Layout, settings: Settings) -> None:
    """Refuse a target that is smaller than what every part has beside its rows, before any work.

    Raises:
        TargetTooSmall: what is said of files and row groups takes as much.
    """
    target = settings.target_bytes
    if target is None or not layout.groups:
        return
    besides = [layout.part_bytes + group.extra_bytes for group in layout.groups]
    if target <= min(besides):
        rows = [ceil(group.data_bytes / group.num_rows) for group in layout.groups]
        least = min(map(sum, zip(besides, rows, strict=True)))
        raise TargetTooSmall(
            f"--target-size is {counted(target, 'byte')}, and every part has about "
            f"{min(besides):,} beside its rows (schema, metadata, a footer entry for each of "
            f"{counted(layout.num_columns, 'column')}); a part of one row takes {least:,}: raise "
            "--target-size beyond that"
        )


def _parts(ruler: Ruler, settings: Settings) -> list[PartPlan]:
    """Describe all parts; smaller ones where new row groups would take them over the target."""
    limit = settings.target_bytes
    for _ in range(MAX_ROUNDS):
        parts = _described(
            ruler, settings, _seen_cuts(ruler, replace(settings, target_bytes=limit))
        )
        if settings.regroups and settings.evens:
            parts = _evened(ruler, settings, parts)
        if limit is None or settings.target_bytes is None or not settings.regroups:
            return parts
        cap = cap_of(ruler.layout, settings) or 0
        largest = max(part.predicted_bytes for part in parts)
        if largest <= cap:
            return parts
        limit = int(limit * cap / largest * _REGROUPED_ROOM)
    raise TargetTooSmall(
        f"no parts of at most {settings.target_bytes:,} bytes were found with such "
        "--row-group-size; raise one of the two"
    )


def _described(ruler: Ruler, settings: Settings, cuts: Sequence[int]) -> list[PartPlan]:
    return [
        _part(ruler, settings, index, start, stop, total=len(cuts) - 1)
        for index, (start, stop) in enumerate(pairwise(cuts))
    ]


def _evened(ruler: Ruler, settings: Settings, parts: list[PartPlan]) -> list[PartPlan]:
    """Return as many parts, more even: what new row groups take is known once parts are."""
    best = parts
    for _ in range(MAX_ROUNDS):
        if _spread_of(best) <= PROMISED_SPREAD:
            break
        cuts = _levelled(ruler, parts)
        _look_at_groups(ruler, settings, cuts)
        parts = _described(ruler, settings, cuts)
        best = min(best, parts, key=_spread_of)
    return best


def _spread_of(parts: Sequence[PartPlan]) -> float:
    return spread([part.predicted_bytes for part in parts])


def _levelled(ruler: Ruler, parts: Sequence[PartPlan]) -> list[int]:
    """Return the cuts of as many parts that share evenly what these have, wherever it lies."""
    before = [0, *accumulate(part.predicted_bytes for part in parts)]
    cuts = [0]
    for number in range(1, len(parts)):
        wanted = before[-1] * number / len(parts)
        index = bisect_right(before, wanted) - 1
        start = parts[index].first_row or 0
        stop = start + (parts[index].num_rows or 0)
        size = partial(ruler.size, start)
        share = (wanted - before[index]) / parts[index].predicted_bytes
        row = start + bisect_left(range(start + 1, stop), share * size(stop), key=size)
        cuts.append(min(max(row, cuts[-1] + 1), ruler.num_rows - len(parts) + number))
    return [*cuts, ruler.num_rows]


def _found_parts(layout: Layout, settings: Settings) -> list[PartPlan]:
    """Describe the parts that the format has found; their rows are not counted."""
    sizes = [layout.part_bytes + part.num_bytes for part in layout.found]
    if settings.target_bytes is not None:
        check_sizes(sizes, settings.target_bytes)
    parts = []
    for index, part in enumerate(layout.found):
        first = layout.files[part.ranges[0].file]
        fields = NameFields(index, len(sizes), stem_of(first.path))
        name = _name(first, settings, fields)
        parts.append(PartPlan(index, name, None, None, sizes[index], 0, 0, 0, (), (), part.ranges))
    return parts


def _name(first: SourceFile, settings: Settings, fields: NameFields) -> str:
    """Return the name of a part that begins in a source, in the folders of its partition."""
    said = replace(fields, partition=first.partition.replace("/", "-"))
    return "/".join(filter(None, (first.partition, settings.part_name(said))))


def _seen_cuts(ruler: Ruler, settings: Settings) -> list[int]:
    """Return cuts that pass through no large page that nobody has looked into, if they are found.

    Cuts that moved to where pages begin may pass through others than before.
    """
    for _ in range(MAX_ROUNDS):
        cuts = choose_cuts(ruler, settings)
        if settings.rows_per_part is not None:
            break  # they are where they are
        if not _look_at_groups(ruler, settings, cuts):
            break
    return cuts


def _look_at_groups(ruler: Ruler, settings: Settings, cuts: Sequence[int]) -> bool:
    """Look into pages that parts, or row groups of theirs, begin in; see :meth:`Ruler.look`."""
    rows, unit_bytes = cuts, sum(ruler.sizes(cuts)) / (len(cuts) - 1)
    if settings.row_group_bytes is not None:
        unit_bytes = min(unit_bytes, settings.row_group_bytes)
        rows = [row for a, b in pairwise(cuts) for row in _group_rows(ruler, settings, a, b)]
    return ruler.look(rows, unit_bytes)


def _group_rows(ruler: Ruler, settings: Settings, start: int, stop: int) -> Iterator[int]:
    """Yield the first row of every row group of a part, and that behind the last."""
    row = start
    for piece in slices(ruler, settings, start, stop):
        if not piece.joins:
            yield row
        row += piece.num_rows
    yield row


def _part(
    ruler: Ruler, settings: Settings, index: int, start: int, stop: int, *, total: int = 1
) -> PartPlan:
    """Describe the part of rows ``[start, stop)``, one of ``total``."""
    pieces = slices(ruler, settings, start, stop)
    first = ruler.layout.files[pieces[0].file if pieces else 0]
    fields = NameFields(index, total, stem_of(first.path), start, stop - start)
    size = ruler.layout.part_bytes
    reasons: dict[str, None] = {}
    for at, piece in enumerate(pieces):
        is_joined = piece.joins or (at + 1 < len(pieces) and pieces[at + 1].joins)
        position = ruler.layout.position(piece.file, piece.row_group)
        path = ruler.layout.files[piece.file].path
        prefix = f"{path.rpartition('/')[2]}, " if len(ruler.layout.files) > 1 else ""
        if not piece.is_whole:
            curve = ruler.read(position)  # first: sizes are told by it
            pieces[at] = replace(piece, trimmed=curve.trimmed(piece.start_row))
            sentences = curve.reasons(piece.start_row, piece.stop_row)
            reasons |= dict.fromkeys(prefix + sentence for sentence in sentences)
        elif is_joined:
            reasons["row groups are merged"] = None
        size += ruler.piece_bytes(position, piece.start_row, piece.stop_row)
    if first.conversion is not None:
        reasons = {"records become rows of Parquet": None}
    elif not settings.recoding.is_nothing:
        what = "all pages are" if first.dialect is None else "all is"
        reasons = {f"{what} made anew: {_recoding_in_words(settings)}": None} | reasons
    return PartPlan(
        index=index,
        name=_name(first, settings, fields),
        first_row=start,
        num_rows=stop - start,
        predicted_bytes=size,
        spliced_bytes=0,
        reencoded_bytes=0,
        memory_bytes=0,
        slices=tuple(pieces),
        reasons=tuple(reasons),
    )


def _with_shares(
    ruler: Ruler,
    part: PartPlan,
    settings: Settings,
    copied_of: Callable[[Sequence[RowGroupSlice]], int],
) -> PartPlan:
    """Return a part that says how many of its bytes are re-encoded, and how many are copied."""
    if ruler.layout.files[0].conversion is not None:
        return replace(part, reencoded_bytes=part.predicted_bytes)  # metadata, too
    if part.ranges:
        return replace(part, spliced_bytes=part.predicted_bytes - ruler.layout.part_bytes)
    spliced_bytes = reencoded_bytes = 0
    keeps_chunks = settings.recoding.is_nothing
    for pieces in part.row_groups:
        rows_bytes = sum(map(ruler.pages_bytes, pieces))
        is_kept = len(pieces) == 1 and pieces[0].is_whole and keeps_chunks
        copied_bytes = rows_bytes if is_kept else min(rows_bytes, copied_of(pieces))
        spliced_bytes += copied_bytes
        reencoded_bytes += rows_bytes - copied_bytes
    return replace(part, spliced_bytes=spliced_bytes, reencoded_bytes=reencoded_bytes)


def _recoding_in_words(settings: Settings) -> str:
    wanted = []
    if settings.codec is not None:
        level = "" if settings.codec_level is None else f" level {settings.codec_level}"
        wanted.append(f"codec {settings.codec}{level}")
    if settings.page_version is not None:
        wanted.append(f"data pages of version {settings.page_version}")
    if settings.dictionary is not None:
        wanted.append("dictionaries" if settings.dictionary else "no dictionaries")
    return ", ".join(wanted)


def _advice(parts: Sequence[PartPlan], layout: Layout, settings: Settings) -> str:
    """Say if whole row groups, which are only copied, would make nearly equal parts, as many."""
    if settings.slots and len(parts) % settings.slots:
        least = "without rows"
        if settings.least_part_bytes:
            least = f"smaller than {amount(settings.least_part_bytes)}, or {least}"
        number = counted(len(parts), "part")
        return f"{number}, no multiple of {settings.slots:,} slots: parts would be {least}"
    encoded = sum(part.reencoded_bytes for part in parts)
    is_asked = settings.regroups or settings.rows_per_part or not settings.recoding.is_nothing
    if is_asked or encoded <= _WORTH_SAYING * sum(part.predicted_bytes for part in parts):
        return ""
    if not len(parts) <= len(layout.groups) <= _MAX_ADVISED_GROUPS:
        return ""
    groups = [group.num_bytes for group in layout.groups]
    runs = pairwise(even_runs(groups, len(parts)))
    sizes = [layout.part_bytes + sum(groups[start:stop]) for start, stop in runs]
    cap = cap_of(layout, settings)
    if spread(sizes) > _NEARLY_EVEN or (cap is not None and max(sizes) > cap):
        return ""
    return (
        f"--cut row-group would only copy: {counted(len(parts), 'part')} of "
        f"{amount(min(sizes))} to {amount(max(sizes))}"
    )


def _growth(parts: Sequence[PartPlan], layout: Layout) -> Growth | None:
    """Return from what the parts' bytes come; None if those of the sources are not known."""
    source_bytes = layout.source_bytes
    if not source_bytes:
        return None
    more = sum(part.predicted_bytes for part in parts) - source_bytes
    metadata = (len(parts) - 1) * layout.part_bytes
    remade = layout.num_bytes + layout.part_bytes - source_bytes
    return Growth(source_bytes, remade, more - remade - metadata, metadata)


def _growth_in_words(growth: Growth | None) -> str:
    """Say by how much the parts are larger than the sources, and why; nothing if it is little."""
    if growth is None:
        return ""
    more = growth.remade_bytes + growth.repeated_bytes + growth.metadata_bytes
    if more <= _WORTH_SAYING * growth.source_bytes:
        return ""
    causes = {
        "are pages made anew": growth.remade_bytes,
        "are dictionaries and row group metadata, repeated in every part or row group that is cut "
        "from another; larger parts and row groups repeat less": growth.repeated_bytes,
        "are the schema and metadata that every part has": growth.metadata_bytes,
    }
    found = [
        f"{amount(size)} {words}" for words, size in causes.items() if size > more * _WORTH_SAYING
    ]
    ratio = times((growth.source_bytes + more) / growth.source_bytes)
    return f"the parts take {ratio} times the bytes of the source: " + "; ".join(found)
