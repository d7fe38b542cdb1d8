"""Parts whose records nobody counts: cuts are looked for where parts of one size would end.

For files in which every line feed ends a record, and which are not compressed. A few KiB around
each cut are read, and nothing else; where no line feed is near, more and more, up to what a part
may have. Where records are so large that parts found so are not even, there are none, and the
caller counts. Not covered: quotes and escapes, by which a line feed may be part of a field.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, groupby, pairwise
from math import ceil

import numpy as np

from engine import events, system
from engine.errors import TargetTooSmall
from engine.formats.lines.pieces import dialect_of, head_of
from engine.formats.lines.reading import opened
from engine.model import FileRange, SourceFile, spread
from engine.part_names import counts_rows
from engine.planning.even_cuts import PROMISED_SPREAD
from engine.planning.layout import FoundPart
from engine.settings import Settings
from engine.storage import Source
from engine.storage.base import redacted, steps

_NEAR_BYTES = 4 << 10  # to each side of where a cut is wished
_FARTHER = 4
_STEP_BYTES = 4 << 20
_REQUESTS = 4
LOOKS_BYTES = (_REQUESTS + 1) * _STEP_BYTES  # that finding parts takes at most
_LEAST_PART_BYTES = 100  # in smaller parts hardly any record is a hundredth
_MORE_PARTS = 2  # than the fewest, where records are in the way
_MAX_ROUNDS = 4
_FAR_SHARE = 0.0025  # of a part: a cut that is off by more moves those before and behind it
_FEED = b"\n"


def needs_no_count(file: SourceFile, settings: Settings) -> bool:
    """Whether line feeds alone tell where records end, and nothing wanted depends on rows."""
    dialect = dialect_of(file)
    is_plain = not (dialect.quote or dialect.escape or dialect.codec or settings.codec)
    is_asked = settings.count_records or settings.rows_per_part or counts_rows(settings.name)
    return is_plain and not is_asked


def found_parts(files: Sequence[SourceFile], settings: Settings) -> tuple[FoundPart, ...] | None:
    """Return even parts, with their bytes behind the header; None if records must be counted.

    Raises:
        TargetTooSmall: a record was met that no part can hold.
    """
    records = _Records(files, settings.target_bytes)
    if not records.num_bytes:
        return None
    for num_parts in _numbers(records, settings):
        cuts = _even_cuts(records, num_parts, most=not settings.num_parts)
        if cuts is not None:
            more = _for_slots(records, cuts, settings)
            return tuple(records.part(a, b) for a, b in pairwise(more))
    events.say("plan.counted", "records are large against parts, so all are counted")
    return None


def _numbers(records: _Records, settings: Settings) -> Sequence[int]:
    """Return the numbers of parts to try; none where parts are too small to be even."""
    most = records.num_bytes // _LEAST_PART_BYTES
    if settings.num_parts is not None:
        return [settings.num_parts] if settings.num_parts <= max(1, most) else []
    room = max(records.room or 0, 1)
    fewest = ceil(records.num_bytes / room)
    numbers = range(fewest, fewest + 1 + _MORE_PARTS) if fewest > 1 else (1,)
    return [number for number in numbers if number <= max(1, most)]


def _for_slots(records: _Records, cuts: list[int], settings: Settings) -> list[int]:
    """Return cuts for a number of parts that is a multiple of slots, if these are large enough."""
    number, slots = len(cuts) - 1, settings.slots or 1
    if number % slots == 0:
        return cuts
    more = _even_cuts(records, -(-number // slots) * slots, most=True)
    least = min((b - a for a, b in pairwise(more or [])), default=0) + records.head_bytes
    return more if more and least >= (settings.least_part_bytes or 0) else cuts


def _even_cuts(records: _Records, num_parts: int, *, most: bool) -> list[int] | None:
    """Return where so many parts begin, and the end; None if they cannot be even.

    Where a large record keeps a cut away from where it is wished, it stays where it is, and the
    others are spread evenly between such cuts. ``most``: no part may be over the target.
    """
    kept = {0: 0, num_parts: records.num_bytes}
    for _ in range(_MAX_ROUNDS):
        wished = np.interp(range(num_parts + 1), sorted(kept), sorted(kept.values())).round()
        cuts = [0, *records.nearest(wished[1:-1].astype(int).tolist()), records.num_bytes]
        sizes = [b - a + records.head_bytes for a, b in pairwise(cuts)]
        is_under = not most or records.room is None or max(sizes) <= records.target_bytes
        is_even = spread(sizes) <= PROMISED_SPREAD and min(sizes) > records.head_bytes
        if is_under and is_even:
            return cuts
        mean = records.num_bytes / num_parts
        far = np.flatnonzero(np.abs(wished - cuts) > _FAR_SHARE * mean).tolist()
        if kept.keys() >= set(far):
            break
        kept |= {at: cuts[at] for at in far if at not in kept}
    records.check_fit(cuts)
    return None


class _Records:
    """The records of all files as one sequence of bytes, in which cuts are looked for."""

    def __init__(self, files: Sequence[SourceFile], target_bytes: int | None) -> None:
        self._files = files
        self._found: dict[int, int] = {}
        self.head_bytes = head_of(files[0], is_first=True).length
        self.target_bytes = target_bytes or 0
        self.room = None if target_bytes is None else target_bytes - self.head_bytes
        self._lengths = [file.size_bytes - dialect_of(file).header_bytes for file in files]
        more = [_line_end_bytes(file) for file in files[:-1]]
        sizes = map(sum, zip(self._lengths, [*more, 0], strict=True))
        self._starts = list(accumulate(sizes, initial=0))

    @property
    def num_bytes(self) -> int:
        """Bytes of all records, with line ends that are added between files."""
        return self._starts[-1]

    def part(self, start: int, stop: int) -> FoundPart:
        """Return what a part is made of."""
        return FoundPart(tuple(self._ranges(start, stop)), stop - start)

    def _ranges(self, start: int, stop: int) -> Iterator[FileRange]:
        for number in range(bisect_right(self._starts, start) - 1, len(self._files)):
            base = self._starts[number]
            if base >= stop:
                return
            first = max(start - base, 0)
            length = min(stop - base, self._lengths[number]) - first
            if length > 0:
                header_bytes = dialect_of(self._files[number]).header_bytes
                yield FileRange(number, header_bytes + first, length)

    def _file_at(self, position: int) -> int:
        return min(bisect_right(self._starts, position), len(self._files)) - 1

    def nearest(self, wished: Sequence[int]) -> list[int]:
        """Return of each position the nearest one at which a record begins, or the end."""
        new = sorted(set(wished) - self._found.keys())
        for number, group in groupby(new, key=self._file_at):
            file, positions = self._files[number], list(group)
            base, header_bytes = self._starts[number], dialect_of(file).header_bytes
            look = partial(_nearest, file=file, first=header_bytes, room=self.room)
            with opened(file) as source, ThreadPoolExecutor(_num_looks(source)) as pool:
                places = (min(header_bytes + it - base, file.size_bytes) for it in positions)
                found = list(pool.map(partial(look, source), places))
            ends = {file.size_bytes: self._starts[number + 1]}
            starts = [ends.get(place, base + place - header_bytes) for place in found]
            self._found |= dict(zip(positions, starts, strict=True))
        return [self._found[position] for position in wished]

    def check_fit(self, cuts: Sequence[int]) -> None:
        """Refuse a record that makes some part larger than it may be."""
        if self.room is None:
            return
        for start, stop in pairwise(cuts):
            while stop - start > self.room:
                start = self._last_start(start, start + self.room)

    def _last_start(self, start: int, most: int) -> int:
        """Return the last position behind ``start``, and not behind another, of a record."""
        number = self._file_at(most)
        file, base = self._files[number], self._starts[number]
        header_bytes = dialect_of(file).header_bytes
        low = header_bytes + max(start - base, 0)
        with opened(file) as source:
            feed = _last_feed(source, low, min(header_bytes + most - base, file.size_bytes))
        if feed is not None:
            return base + feed + 1 - header_bytes
        if base <= start:
            raise _too_large(file, low, most - start)
        return base


def _line_end_bytes(file: SourceFile) -> int:
    """Return the bytes of the line end that a file gets where another follows it."""
    dialect, size = dialect_of(file), file.size_bytes
    if size <= dialect.header_bytes:
        return 0
    with opened(file) as source:
        return 0 if source.read(size - 1, 1) == _FEED else len(dialect.line_end)


def _num_looks(source: Source) -> int:
    return _REQUESTS if source.is_remote else min(system.num_cores(), _REQUESTS)


def _nearest(source: Source, wished: int, *, file: SourceFile, first: int, room: int | None) -> int:
    """Return the position nearest to another at which a record begins, or the file's end."""
    near = _NEAR_BYTES
    # A record begins behind its line feed: one more byte tells as far back as ahead.
    low, high = max(first, wished - near - 1), min(file.size_bytes, wished + near)
    data = source.read(low, high - low)
    middle = wished - low
    before, after = data.rfind(_FEED, 0, middle), data.find(_FEED, middle)
    found = [low + at + 1 for at in (before, after) if at >= 0]
    while True:
        # Records begin behind the header, and none begins behind the end.
        found += [edge for edge, seen in ((first, low), (file.size_bytes, high)) if edge == seen]
        if found:
            return min(found, key=lambda start: (abs(start - wished), start))
        if room is not None and high - low > room:
            raise _too_large(file, wished, room)
        near *= _FARTHER
        lower, higher = max(first, wished - near - 1), min(file.size_bytes, wished + near)
        feeds = _last_feed(source, lower, low), _first_feed(source, high, higher)
        found = [feed + 1 for feed in feeds if feed is not None]
        low, high = lower, higher


def _last_feed(source: Source, start: int, stop: int) -> int | None:
    """Return the position of the last line feed in a range, read from its end."""
    while start < stop:
        low = max(start, stop - _STEP_BYTES)
        at = source.read(low, stop - low).rfind(_FEED)
        if at >= 0:
            return low + at
        stop = low
    return None


def _first_feed(source: Source, start: int, stop: int) -> int | None:
    """Return the position of the first line feed in a range."""
    for offset, length in steps(start, stop - start, _STEP_BYTES):
        at = source.read(offset, length).find(_FEED)
        if at >= 0:
            return offset + at
    return None


def _too_large(file: SourceFile, place: int, room: int) -> TargetTooSmall:
    return TargetTooSmall(
        f"{redacted(file.path)} has a record around byte {place:,} that is larger than the "
        f"{room:,} bytes that --target-size leaves for the records of a part; raise --target-size"
    )
