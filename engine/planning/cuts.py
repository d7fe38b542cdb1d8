"""Where parts end: at any row, or between row groups. Pure.

Sizes are measured by :mod:`.ruler`; equal parts are found by :mod:`.even_cuts` (at any row) and
:mod:`.even_runs` (whole row groups). This module chooses between them, and keeps the target.
The *cap* is the most that a part may be expected to have, so that it keeps the target; where parts
are uncertain, a search stays under a lower *limit*.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

from engine.errors import BadSetting, TargetTooSmall
from engine.model import spread
from engine.planning.even_cuts import PROMISED_SPREAD, even_cuts, fewest_even_cuts, fill
from engine.planning.even_runs import even_runs, fewest_runs
from engine.planning.layout import Layout
from engine.planning.page_starts import at_page_starts
from engine.planning.ruler import Ruler
from engine.settings import Settings
from engine.wording import counted

MAX_ROUNDS = 8  # of searching, each with the pages of more row groups known
ROOM_BEYOND_SEEN = 0.005
_MANY_CUT = 0.25
_ROOM_FOR_GUESSES = 0.005
_WORSE, _EVEN_ANYWAY = 1.5, 0.001  # parts not much less even than expected need no other round


def choose_cuts(ruler: Ruler, settings: Settings) -> list[int]:
    """Return the first row of each part, and behind the last the number of rows.

    Raises:
        TargetTooSmall: a row, or with ``cut="row-group"`` a row group, is over the target.
        BadSetting: more parts are wanted than there are rows or row groups.
    """
    if not ruler.num_rows:
        if (settings.num_parts or 1) > 1:
            raise BadSetting(f"--parts is {settings.num_parts:,}, and the source has no rows")
        return [0, 0]
    if settings.cut == "row-group":
        return [ruler.layout.first_rows[i] for i in _group_cuts(ruler.layout, settings)]
    if settings.rows_per_part is not None:
        cuts = [*range(0, ruler.num_rows, settings.rows_per_part), ruler.num_rows]
    elif settings.num_parts is not None:
        cuts = _numbered_row_cuts(ruler, settings.num_parts)
    else:
        cap = cap_of(ruler.layout, settings)
        assert cap is not None
        try:
            fewest = _fewest_row_cuts(ruler, cap)
            return _moved(ruler, _for_slots(ruler, fewest, settings), settings)
        except TargetTooSmall as error:
            raise TargetTooSmall(f"{error}{_what_grows(settings)}") from None
    _check_target(ruler, cuts, settings)
    return cuts if settings.rows_per_part is not None else _moved(ruler, cuts, settings)


def _what_grows(settings: Settings) -> str:
    """Name the settings that make rows larger than they are in the source."""
    found = ["--no-dictionary"] if settings.dictionary is False else []
    found += ["--codec none"] if settings.codec == "none" else []
    return f", or leave {' and '.join(found)} out" if found else ""


def cap_of(layout: Layout, settings: Settings) -> int | None:
    """Return the cap, None if there is no target."""
    if settings.target_bytes is None:
        return None
    return int(settings.target_bytes / (1 + layout.uncertain_share))


def _moved(ruler: Ruler, cuts: list[int], settings: Settings) -> list[int]:
    if settings.regroups:
        return cuts
    return at_page_starts(ruler, cuts, cap_of(ruler.layout, settings))


def _check_target(ruler: Ruler, cuts: Sequence[int], settings: Settings) -> None:
    """Refuse a number of parts or rows that does not keep an explicit target."""
    if settings.target_bytes is None:
        return
    while _look(ruler, cuts):
        pass
    # What is only uncertain may turn out well, unless it did not before.
    most = cap_of(ruler.layout, settings) if ruler.sees_all else settings.target_bytes
    check_sizes(ruler.sizes(cuts), most or 0)


def check_sizes(sizes: Sequence[int], most: int) -> None:
    """Refuse parts of which one is expected to have more."""
    for index, size in enumerate(sizes):
        if size > most:
            raise TargetTooSmall(
                f"part {index} would have about {size:,} bytes, over the {most:,} that "
                "--target-size leaves it; ask for more parts or fewer rows a part, or leave one of "
                "the settings out"
            )


def _for_slots(ruler: Ruler, cuts: list[int], settings: Settings) -> list[int]:
    """Return cuts for as many parts as are loaded at once, or a multiple; else those there are.

    More parts are smaller; if one were smaller than is asked for, or without a row, they stay.
    """
    number = len(cuts) - 1
    wanted = -(-number // (settings.slots or 1)) * (settings.slots or 1)
    if number == wanted or wanted > ruler.num_rows:
        return cuts
    more = _numbered_row_cuts(ruler, wanted)
    return more if min(ruler.sizes(more)) >= (settings.least_part_bytes or 0) else cuts


# -- by rows -------------------------------------------------------------------------------------


def _numbered_row_cuts(ruler: Ruler, num_parts: int) -> list[int]:
    if num_parts > ruler.num_rows:
        raise BadSetting(
            f"--parts is {num_parts:,}, and the source has {counted(ruler.num_rows, 'row')}; a "
            "part has at least one"
        )
    best: list[int] = []
    for _ in range(MAX_ROUNDS):
        cuts = even_cuts(ruler, num_parts)
        expected = spread(ruler.sizes(cuts))
        is_proved = not _look(ruler, cuts)
        found = spread(ruler.sizes(cuts))
        if not best or found < spread(ruler.sizes(best)):
            best = cuts
        if is_proved or found <= expected * _WORSE + _EVEN_ANYWAY:
            break
    return best


def _fewest_row_cuts(ruler: Ruler, cap: int) -> list[int]:
    """Return the fewest even parts that stay under the cap even where they are uncertain.

    Every search knows the row groups that the one before cut; mostly the second is the last.
    """
    whole = [0, ruler.num_rows]
    if ruler.size(*whole) <= cap:
        return whole  # no row group is cut, so none is looked into
    limit = cap
    best: list[int] = []
    for number in range(MAX_ROUNDS):
        _check_fits(ruler, limit, cap)
        cuts = fewest_even_cuts(ruler, limit)
        expected = spread(ruler.sizes(cuts))
        is_proved = not _look(ruler, cuts)
        over = max(_largest_sizes(ruler, cuts)) - cap
        if over <= 0:
            best = min(best or cuts, cuts, key=lambda cuts: _unevenness(ruler, cuts))
            is_even = spread(ruler.sizes(cuts)) <= expected * _WORSE + _EVEN_ANYWAY
            is_fewest = len(cuts) <= len(fill(ruler, limit)[0])
            if is_proved or (is_even and is_fewest):
                return best
        else:  # a guess may be wrong by chance, so little room is left for that
            lower = limit - min(over, round(_ROOM_FOR_GUESSES * cap))
            if number >= MAX_ROUNDS // 2:  # patience ends: room for the most uncertain part
                lower = min(lower, cap - max(ruler.uncertain(a, b) for a, b in pairwise(cuts)))
            if fill(ruler, lower)[1]:
                limit = lower
            elif is_proved:
                limit = _lowered(ruler, cuts, limit, over, cap)
    return best or _filled_row_cuts(ruler, cap, limit)


def _unevenness(ruler: Ruler, cuts: Sequence[int]) -> tuple[bool, int, float]:
    """Return what makes some parts worse than others: the promise, their number, the spread."""
    found = spread(ruler.sizes(cuts))
    return found > PROMISED_SPREAD, len(cuts), found


def _filled_row_cuts(ruler: Ruler, cap: int, limit: int) -> list[int]:
    """Return parts that stay under the cap, evenness given up: predictions are too far off."""
    while True:
        _check_fits(ruler, limit, cap)
        cuts, _ = fill(ruler, limit)
        if not _look(ruler, cuts):
            over = max(_largest_sizes(ruler, cuts)) - cap
            if over <= 0:
                return cuts
            limit = _lowered(ruler, cuts, limit, max(over, cap >> 6), cap)


def _lowered(ruler: Ruler, cuts: Sequence[int], limit: int, over: int, cap: int) -> int:
    """Return a lower limit; refuse the target if a part of one row may be over it."""
    for start, size in zip(cuts, _largest_sizes(ruler, cuts), strict=False):
        if size > cap and start + 1 in cuts:
            raise TargetTooSmall(
                f"a part that holds only row {start} may take {size:,} bytes (schema, dictionaries "
                f"and bounds included), over the {cap:,} that it may have; raise --target-size"
            )
    return max(limit - over, limit // 2)


def _largest_sizes(ruler: Ruler, cuts: Sequence[int]) -> list[int]:
    return [ruler.size(a, b) + ruler.uncertain(a, b) for a, b in pairwise(cuts)]


def _look(ruler: Ruler, cuts: Sequence[int]) -> bool:
    """Read the pages of all row groups that are cut, and look into large ones.

    Where a good part of all are cut, the next cuts will pass through the others: all are read.
    Returns whether any were unknown.
    """
    groups: Sequence[int] = ruler.groups_cut(cuts)
    if len(groups) > _MANY_CUT * len(ruler.layout.groups):
        groups = range(len(ruler.layout.groups))
    unread = [position for position in groups if not ruler.is_read(position)]
    for position in unread:
        ruler.read(position)
    sizes = ruler.sizes(cuts)
    return ruler.look(cuts, sum(sizes) / len(sizes)) or bool(unread)


def _check_fits(ruler: Ruler, limit: int, cap: int) -> None:
    """Refuse a target if not every row keeps the limit, which leaves room for uncertainty."""
    while True:
        cuts, done = fill(ruler, limit)
        if done:
            return
        row = cuts[-1]
        if not ruler.look([row, row + 1], limit) and ruler.is_read(ruler.locate(row)[0]):
            need = ruler.size(row, row + 1)
            raise TargetTooSmall(
                f"a part that holds only row {row} takes about {need:,} bytes "
                f"({ruler.layout.repeats} included), over the {limit:,} that it may have"
                f"{_kept_free(limit, cap)}; raise --target-size to about "
                f"{_smallest(ruler, need + cap - limit):,} or more"
                f"{_advice_on_dictionaries(ruler, row, need)}"
            )
        ruler.read(ruler.locate(row)[0])


def _kept_free(limit: int, cap: int) -> str:
    """Say why the limit is lower than the cap."""
    return f", as {cap - limit:,} are kept free for what is uncertain" if limit < cap else ""


def _smallest(ruler: Ruler, num_bytes: int) -> int:
    """Return the target that leaves a part so many bytes, and a little: other cuts, other pages."""
    return ceil(num_bytes * (1 + ruler.layout.uncertain_share + ROOM_BEYOND_SEEN))


def _advice_on_dictionaries(ruler: Ruler, row: int, num_bytes: int) -> str:
    position, inside = ruler.locate(row)
    is_most = ruler.read(position).repeated(inside) > num_bytes / 2
    return ", or have parts without dictionaries by --no-dictionary" if is_most else ""


# -- by row groups -------------------------------------------------------------------------------


def _group_cuts(layout: Layout, settings: Settings) -> list[int]:
    """Return the first row group of each part, and behind the last their number."""
    if settings.rows_per_part is not None:
        return _group_cuts_by_rows(layout, settings.rows_per_part)
    sizes = [group.num_bytes for group in layout.groups]
    num_parts = settings.num_parts or 0
    if num_parts > len(sizes):
        raise BadSetting(
            f"--parts is {num_parts:,}, and the source has {counted(len(sizes), 'row group')}; use "
            "--cut row to cut inside them"
        )
    cap = cap_of(layout, settings)
    if cap is not None:
        fewest = _fewest_group_runs(layout, sizes, cap)
        if num_parts and num_parts < fewest:
            raise TargetTooSmall(
                f"{counted(num_parts, 'part')} of at most {settings.target_bytes:,} bytes cannot "
                f"hold {layout.num_bytes:,} bytes in whole row groups; {fewest:,} can"
            )
        num_parts = num_parts or fewest
    return even_runs(sizes, num_parts)


def _group_cuts_by_rows(layout: Layout, rows_per_part: int) -> list[int]:
    weights = [group.num_rows for group in layout.groups]
    cuts = fewest_runs(weights, rows_per_part)
    if cuts is None:
        raise TargetTooSmall(
            f"a row group has {counted(max(weights), 'row')}, more than --rows-per-part "
            f"{rows_per_part:,}; use --cut row"
        )
    return cuts


def _fewest_group_runs(layout: Layout, sizes: Sequence[int], cap: int) -> int:
    runs = fewest_runs(sizes, cap - layout.part_bytes)
    if runs is None:
        group = max(layout.groups, key=lambda group: group.num_bytes)
        raise TargetTooSmall(
            f"row group {group.index} of {layout.files[group.file].path} takes "
            f"{group.num_bytes + layout.part_bytes:,} bytes, over the {cap:,} that a part may "
            "have; use --cut row or raise --target-size"
        )
    return len(runs) - 1
