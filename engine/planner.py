"""Where to cut: layout and settings in, a frozen plan out. Pure.

No file, clock, environment or Dask is touched here. What a row group costs inside, between two of
its rows, comes as a :class:`~engine.curves.Curve` from a function that the caller gives; everything
else is in the :class:`~engine.layout.Layout`. Sizes are measured by :mod:`engine.ruler`; equal
parts are found by :mod:`engine.even_cuts` (at any row) and :mod:`engine.even_runs` (whole row
groups). This module chooses between them, and keeps the target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise

from engine import memory
from engine.errors import BadSetting, TargetTooSmall
from engine.even_cuts import PROMISED_SPREAD, even_cuts, fewest_even_cuts, fill
from engine.even_runs import even_runs, fewest_runs
from engine.layout import CACHED_CHUNKS, Layout
from engine.model import PartPlan, SourceFile, SplitPlan, spread
from engine.page_starts import at_page_starts
from engine.row_groups import slices
from engine.ruler import CurveOf, Ruler
from engine.settings import Settings

_MANY_CUT = 0.25
_REGROUPED_ROOM = 0.995  # what new row groups take besides is not in proportion
_ROOM_FOR_GUESSES = 0.005
_MOST_ROUNDS = 8  # of searching, each with the pages of more row groups known
_WORSE, _EVEN_ANYWAY = 1.5, 0.001  # parts not much less even than expected need no other round


def make_plan(
    layout: Layout,
    settings: Settings,
    *,
    version: str,
    curve_of: CurveOf,
    memory_of: Callable[[PartPlan], int] = lambda part: 0,
    revision: int = 0,
) -> SplitPlan:
    """Decide all parts.

    Args:
        layout: the sources, in bytes of the parts.
        settings: what is wanted.
        version: evensplit's own, part of the plan's identity.
        curve_of: the inside of a row group, by its position in ``layout.groups``.
        memory_of: projected peak memory of writing a part.
        revision: of the plan; see :class:`engine.model.SplitPlan`.

    Raises:
        TargetTooSmall: a row, or with ``cut="row-group"`` a row group, is over the target.
        BadSetting: more parts are wanted than there are rows or row groups.
    """
    parts = _parts(Ruler(layout, curve_of), settings)
    parts = [replace(part, memory_bytes=memory_of(part)) for part in parts]
    return SplitPlan(
        plan_id=plan_id(layout.files, settings, version),
        sources=layout.files,
        settings=settings.shaping(),
        num_rows=layout.num_rows,
        parts=tuple(parts),
        lost=layout.lost,
        footers_memory_bytes=memory.footers_bytes(
            footer_bytes=layout.footer_bytes, num_chunks=min(layout.num_chunks, CACHED_CHUNKS)
        ),
        revision=revision,
    )


def plan_id(files: Sequence[SourceFile], settings: Settings, version: str) -> str:
    """Return the hash of the sources' identity and of every setting that shapes the parts."""
    identity = {
        "sources": [asdict(file) for file in files],
        "settings": settings.shaping(),
        "version": version,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def choose_cuts(ruler: Ruler, settings: Settings) -> list[int]:
    """Return the first row of each part, and behind the last the number of rows.

    Raises: as :func:`make_plan`.
    """
    if not ruler.num_rows:
        if (settings.num_parts or 1) > 1:
            raise BadSetting(f"{settings.num_parts} parts of a source without rows")
        return [0, 0]
    if settings.cut == "row-group":
        return [ruler.layout.first_rows[i] for i in _group_cuts(ruler.layout, settings)]
    if settings.rows_per_part is not None:
        cuts = [*range(0, ruler.num_rows, settings.rows_per_part), ruler.num_rows]
    elif settings.num_parts is not None:
        cuts = _numbered_row_cuts(ruler, settings.num_parts)
    else:
        cap = _cap(ruler.layout, settings)
        assert cap is not None
        return _moved(ruler, _fewest_row_cuts(ruler, cap), settings)
    _check_target(ruler, cuts, settings.target_bytes)
    return cuts if settings.rows_per_part is not None else _moved(ruler, cuts, settings)


def _cap(layout: Layout, settings: Settings) -> int | None:
    """Return the most that a part may be expected to have, so that it keeps the target surely."""
    if settings.target_bytes is None:
        return None
    return int(settings.target_bytes / (1 + layout.uncertain_share))


def _moved(ruler: Ruler, cuts: list[int], settings: Settings) -> list[int]:
    if settings.regroups:
        return cuts
    return at_page_starts(ruler, cuts, _cap(ruler.layout, settings))


def _check_target(ruler: Ruler, cuts: Sequence[int], target: int | None) -> None:
    """Refuse a number of parts or rows that does not keep an explicit target."""
    if target is None:
        return
    _read_cut_groups(ruler, cuts)
    for index, size in enumerate(ruler.sizes(cuts)):
        if size > target:
            raise TargetTooSmall(
                f"part {index} would have {size} bytes, over the target of {target}; ask for "
                "more parts or fewer rows a part, or leave one of the settings out"
            )


# -- by rows -------------------------------------------------------------------------------------


def _numbered_row_cuts(ruler: Ruler, num_parts: int) -> list[int]:
    if num_parts > ruler.num_rows:
        raise BadSetting(f"{num_parts} parts of {ruler.num_rows} rows; a part has at least one row")
    best: list[int] = []
    for _ in range(_MOST_ROUNDS):
        cuts = even_cuts(ruler, num_parts)
        expected = spread(ruler.sizes(cuts))
        is_proved = not _read_cut_groups(ruler, cuts)
        found = spread(ruler.sizes(cuts))
        if not best or found < spread(ruler.sizes(best)):
            best = cuts
        if is_proved or found <= expected * _WORSE + _EVEN_ANYWAY:
            break
    return best


def _fewest_row_cuts(ruler: Ruler, target: int) -> list[int]:
    """Return the fewest even parts that stay under the target even where they are uncertain.

    Every search knows the row groups that the one before cut; mostly the second is the last.
    """
    limit = target
    best: list[int] = []
    for number in range(_MOST_ROUNDS):
        _check_fits(ruler, limit, target)
        cuts = fewest_even_cuts(ruler, limit)
        expected = spread(ruler.sizes(cuts))
        is_proved = not _read_cut_groups(ruler, cuts)
        over = max(_largest_sizes(ruler, cuts)) - target
        if over <= 0:
            best = min(best or cuts, cuts, key=lambda cuts: _unevenness(ruler, cuts))
            is_even = spread(ruler.sizes(cuts)) <= expected * _WORSE + _EVEN_ANYWAY
            is_fewest = len(cuts) <= len(fill(ruler, limit)[0])
            if is_proved or (is_even and is_fewest):
                return best
        else:  # a guess may be wrong by chance, so little room is left for that
            lower = limit - min(over, round(_ROOM_FOR_GUESSES * target))
            if number >= _MOST_ROUNDS // 2:  # patience ends: room for the most uncertain part
                lower = min(lower, target - max(ruler.uncertain(a, b) for a, b in pairwise(cuts)))
            if fill(ruler, lower)[1]:
                limit = lower
            elif is_proved:
                limit -= over
    return best or _filled_row_cuts(ruler, target, limit)


def _unevenness(ruler: Ruler, cuts: Sequence[int]) -> tuple[bool, int, float]:
    """Return what makes some parts worse than others: the promise, their number, the spread."""
    found = spread(ruler.sizes(cuts))
    return found > PROMISED_SPREAD, len(cuts), found


def _filled_row_cuts(ruler: Ruler, target: int, limit: int) -> list[int]:
    """Return parts that stay under the target, evenness given up: predictions are too far off."""
    while True:
        _check_fits(ruler, limit, target)
        cuts, _ = fill(ruler, limit)
        if not _read_cut_groups(ruler, cuts):
            over = max(_largest_sizes(ruler, cuts)) - target
            if over <= 0:
                return cuts
            limit -= max(over, target >> 6)


def _largest_sizes(ruler: Ruler, cuts: Sequence[int]) -> list[int]:
    return [ruler.size(a, b) + ruler.uncertain(a, b) for a, b in pairwise(cuts)]


def _read_cut_groups(ruler: Ruler, cuts: Sequence[int]) -> bool:
    """Read the pages of all row groups that are cut; return whether any were unknown.

    Where a good part of all are cut, the next cuts will pass through the others: all are read.
    """
    groups: Sequence[int] = ruler.groups_cut(cuts)
    if len(groups) > _MANY_CUT * len(ruler.layout.groups):
        groups = range(len(ruler.layout.groups))
    unread = [position for position in groups if not ruler.is_read(position)]
    for position in unread:
        ruler.read(position)
    return bool(unread)


def _check_fits(ruler: Ruler, limit: int, target: int) -> None:
    """Refuse a target if not every row keeps the limit, which leaves room for uncertainty."""
    while True:
        cuts, done = fill(ruler, limit)
        if done:
            return
        position, _ = ruler.locate(cuts[-1])
        if ruler.is_read(position):
            need = ruler.size(cuts[-1], cuts[-1] + 1)
            raise TargetTooSmall(
                f"a part that holds only row {cuts[-1]} takes about {need} bytes (schema and "
                f"dictionaries included), over the {target} that it may have; raise --target-size"
            )
        ruler.read(position)


# -- by row groups -------------------------------------------------------------------------------


def _group_cuts(layout: Layout, settings: Settings) -> list[int]:
    """Return the first row group of each part, and behind the last their number."""
    if settings.rows_per_part is not None:
        return _group_cuts_by_rows(layout, settings.rows_per_part)
    sizes = [group.num_bytes for group in layout.groups]
    num_parts = settings.num_parts or 0
    if num_parts > len(sizes):
        raise BadSetting(
            f"{num_parts} parts of {len(sizes)} row groups; use --cut row to cut inside"
        )
    cap = _cap(layout, settings)
    if cap is not None:
        fewest = _fewest_group_runs(layout, sizes, cap)
        if num_parts and num_parts < fewest:
            raise TargetTooSmall(
                f"{num_parts} parts of at most {settings.target_bytes} bytes cannot hold "
                f"{layout.num_bytes} bytes in whole row groups; {fewest} can"
            )
        num_parts = num_parts or fewest
    return even_runs(sizes, num_parts)


def _group_cuts_by_rows(layout: Layout, rows_per_part: int) -> list[int]:
    weights = [group.num_rows for group in layout.groups]
    cuts = fewest_runs(weights, rows_per_part)
    if cuts is None:
        raise TargetTooSmall(
            f"a row group has {max(weights)} rows, more than {rows_per_part}; use --cut row"
        )
    return cuts


def _fewest_group_runs(layout: Layout, sizes: Sequence[int], target: int) -> int:
    runs = fewest_runs(sizes, target - layout.part_bytes)
    if runs is None:
        group = max(layout.groups, key=lambda group: group.num_bytes)
        raise TargetTooSmall(
            f"row group {group.index} of {layout.files[group.file].path} takes "
            f"{group.num_bytes + layout.part_bytes} bytes, over the {target} that a part may have; "
            "use --cut row or raise --target-size"
        )
    return len(runs) - 1


# -- parts ---------------------------------------------------------------------------------------


def _parts(ruler: Ruler, settings: Settings) -> list[PartPlan]:
    """Describe all parts; smaller ones where new row groups would take them over the target."""
    limit = settings.target_bytes
    for _ in range(_MOST_ROUNDS):
        cuts = choose_cuts(ruler, replace(settings, target_bytes=limit))
        parts = [_part(ruler, settings, index, a, b) for index, (a, b) in enumerate(pairwise(cuts))]
        if limit is None or settings.target_bytes is None or not settings.regroups:
            return parts
        cap = _cap(ruler.layout, settings) or 0
        largest = max(part.predicted_bytes for part in parts)
        if largest <= cap:
            return parts
        limit = int(limit * cap / largest * _REGROUPED_ROOM)
    raise TargetTooSmall(
        f"no parts of at most {settings.target_bytes} bytes were found with row groups of "
        f"{settings.row_group_bytes or settings.row_group_rows}; raise one of the two"
    )


def _part(ruler: Ruler, settings: Settings, index: int, start: int, stop: int) -> PartPlan:
    """Describe the part of rows ``[start, stop)``."""
    pieces = slices(ruler, settings, start, stop)
    size = ruler.layout.part_bytes
    reencoded_bytes = 0
    reasons: dict[str, None] = {}
    for at, piece in enumerate(pieces):
        is_joined = piece.joins or (at + 1 < len(pieces) and pieces[at + 1].joins)
        position = ruler.layout.position(piece.file, piece.row_group)
        num_bytes = ruler.piece_bytes(position, piece.start_row, piece.stop_row)
        size += num_bytes
        if not piece.is_whole:
            curve = ruler.read(position)
            reencoded_bytes += curve.reencoded(piece.start_row, piece.stop_row)
            reasons |= dict.fromkeys(curve.reasons(piece.start_row, piece.stop_row))
        elif is_joined:
            reencoded_bytes += num_bytes
            reasons["row groups are put together"] = None
    if not settings.recoding.is_nothing:
        reencoded_bytes = size - ruler.layout.part_bytes
        reasons = {_recoding_in_words(settings): None} | reasons
    return PartPlan(
        index=index,
        name=settings.part_name(index),
        first_row=start,
        num_rows=stop - start,
        predicted_bytes=size,
        spliced_bytes=max(0, size - reencoded_bytes - ruler.layout.part_bytes),
        reencoded_bytes=reencoded_bytes,
        memory_bytes=0,
        slices=tuple(pieces),
        reasons=tuple(reasons),
    )


def _recoding_in_words(settings: Settings) -> str:
    wanted = []
    if settings.codec is not None:
        level = "" if settings.codec_level is None else f" level {settings.codec_level}"
        wanted.append(f"codec {settings.codec}{level}")
    if settings.page_version is not None:
        wanted.append(f"data pages of version {settings.page_version}")
    if settings.dictionary is not None:
        wanted.append("dictionaries" if settings.dictionary else "no dictionaries")
    return f"all pages are made anew: {', '.join(wanted)}"
