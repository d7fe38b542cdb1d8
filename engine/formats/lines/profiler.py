"""What a file of lines is like: its dialect, its columns, how large records are and where.

From some places spread over the file, whose records are looked at and the number of all estimated;
with ``exact`` the whole file is read, and they are counted. Types are those that ``--to parquet``
finds in the values seen. Not covered: keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from engine import events
from engine.errors import NotPlainFolder
from engine.formats.lines.compressed import CompressedSource
from engine.formats.lines.dialect import fields_of, read_begin
from engine.formats.lines.encodings import encoding_named, encoding_of, verbatim
from engine.formats.lines.reading import blamed, opened, stretch, walked
from engine.formats.lines.scan import Look, Marks, TextBehindQuote, marks_of
from engine.markup import Bar, Grid, card
from engine.model import Dialect, SourceFile
from engine.settings import Settings
from engine.storage import Source, expand_all
from engine.wording import amount, counted, percent, times

_PLACES, _PLACE_BYTES = 24, 64 << 10
_NAMES = {
    "": "none",
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "\x01": "\\x01",
    '"': "double quote",
    "'": "single quote",
}
_UNEVEN = 1.5  # bytes a record, along the file


class Types(NamedTuple):
    """What says which type values have: fields of delimited text, and values of JSON."""

    of_texts: Callable[[Sequence[str]], str]
    of_json: Callable[[Sequence[object]], str]


@dataclass(frozen=True)
class LineColumn:
    """A column, or a key of JSON objects.

    Attributes:
        name: the header's; without one as ``--to parquet`` names it.
        type: what ``--to parquet`` makes of the values seen, a word, or JSON; ``mixed`` if nothing.
        null_share: of the records seen.
    """

    name: str
    type: str
    null_share: float


@dataclass(frozen=True)
class LineStretch:
    """Some bytes of a file, and the mean size of records there."""

    offset: int
    bytes_per_record: float


@dataclass(frozen=True)
class LinesProfile:
    """One file of lines.

    Attributes:
        path, size_bytes, dialect: of the file.
        has_header: whether its first record names the columns.
        num_records: counted, or estimated from records at some places.
        is_exact: whether they were counted.
        longest_record_bytes: of those seen, all if ``is_exact``.
        num_seen, num_ragged: records whose fields were looked at; those with other numbers of them.
        columns: in order.
        stretches: along the file.
        findings: what stands out, in words.
    """

    path: str
    size_bytes: int
    dialect: Dialect
    has_header: bool
    num_records: int
    is_exact: bool
    longest_record_bytes: int
    num_seen: int
    num_ragged: int
    columns: tuple[LineColumn, ...]
    stretches: tuple[LineStretch, ...]
    findings: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, str]:
        """Size and number of records; and how they are told apart."""
        about = "" if self.is_exact else "about "
        longest = f"longest {amount(self.longest_record_bytes)}"
        codec = self.dialect.codec
        inside = f" ({codec} of {amount(self.dialect.num_bytes)})" if codec else ""
        size = f"{amount(self.size_bytes)}{inside}, {about}{counted(self.num_records, 'record')}"
        if self.dialect.kind == "ndjson":
            told = "JSON, a value a line"
        else:
            parts = {"delimiter": self.dialect.delimiter, "quote": self.dialect.quote}
            parts |= {"escape": self.dialect.escape} if self.dialect.escape else {}
            words = [f"{what} {_NAMES.get(mark, mark)}" for what, mark in parts.items()]
            told = f"delimited text: {', '.join(words)}, {'a' if self.has_header else 'no'} header"
        end = "CRLF" if self.dialect.line_end == "\r\n" else "LF"
        mark = ", byte order mark" if self.dialect.mark_bytes else ""
        mark += f", {self.dialect.encoding}" if self.dialect.encoding else ""
        seen = "" if self.is_exact else " of those seen"
        return f"{size} ({longest}{seen})", f"{told}, line ends {end}{mark}"

    def _repr_html_(self) -> str:
        """Return tables of columns and stretches, for a notebook."""
        columns = [(c.name, c.type, percent(c.null_share)) for c in self.columns]
        most = max((each.bytes_per_record for each in self.stretches), default=0.0) or 1
        stretches = [
            (
                f"{each.offset:,}",
                f"{each.bytes_per_record:,.1f}",
                Bar(each.bytes_per_record / most, f"{each.bytes_per_record:,.1f}"),
            )
            for each in self.stretches
        ]
        return card(
            self.path,
            (*self.sentences, *self.findings),
            Grid(("<column", "<type", "nulls"), columns),
            Grid(("from byte", "bytes a record", "<of the largest"), stretches),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def profile_lines(
    patterns: Sequence[str], settings: Settings, types: Types, *, exact: bool
) -> tuple[LinesProfile, ...]:
    """Profile every file that the patterns stand for, in order.

    Raises:
        NotPlainFolder: a folder holds more, or less, than its files say.
        SourceError: a file is not of lines, or, with ``exact``, its quotes do not pair up.
        BadSetting: nothing tells whether it has a header.
    """
    found = expand_all(patterns, settings.include, settings.exclude)
    if found.problems:
        raise NotPlainFolder(found.problems[0])
    for note in found.notes:
        events.say("sources.note", note)
    return tuple(
        _profile(store.stat(path), settings, types, exact=exact) for store, path in found.files
    )


@dataclass
class _Sizes:
    """Sizes of records: how many, and all, in each of some stretches; and the longest."""

    nums: list[int]
    sums: list[int]
    longest: int = 0

    def add(self, place: int, ends: Sequence[int], start: int) -> None:
        sizes = np.diff(np.asarray(ends, dtype=np.int64), prepend=start)
        if len(sizes):
            self.nums[place] += len(sizes)
            self.sums[place] += int(sizes.sum())
            self.longest = max(self.longest, int(sizes.max()))


def _profile(file: SourceFile, settings: Settings, types: Types, *, exact: bool) -> LinesProfile:
    with opened(file, encoding_named(settings.encoding)) as source:
        begin = read_begin(source, settings)
        dialect, marks = begin.dialect, marks_of(begin.dialect)
        encoding = encoding_of(dialect)
        unit_bytes = encoding.unit_bytes
        start, size = dialect.header_bytes, source.file.size_bytes
        if isinstance(source, CompressedSource):
            size = source.measure()
            dialect = replace(dialect, codec=source.codec.name, num_bytes=size)
        num_places = min(_PLACES, -(-(size - start) // _PLACE_BYTES))
        offsets = [start + (size - start) * place // num_places for place in range(num_places)]
        sizes = _Sizes([0] * len(offsets), [0] * len(offsets))
        rows = []
        for place, offset in enumerate(offsets):
            stop = min(offset + _PLACE_BYTES, *offsets[place + 1 : place + 2], size)
            ends = _ends_at(source, offset, stop, marks, is_start=not place)
            if len(ends) > 1 and not exact:
                sizes.add(place, ends[1:], ends[0])
            data = verbatim(source, offset, stop - offset)
            bounds = [(end - offset) * unit_bytes for end in ends]
            rows += [encoding.utf8(data[one:two]) for one, two in pairwise(bounds)]
        num_records = _count(source, start, marks, offsets, sizes) if exact else 0
        if not exact and any(sizes.nums):
            num_records = round((size - start) * sum(sizes.nums) / sum(sizes.sums))
    has_header = dialect.header_bytes > dialect.mark_bytes
    columns, num_ragged = _columns(rows, dialect, begin.first if has_header else (), types)
    stretches = tuple(
        LineStretch(offset * unit_bytes, total * unit_bytes / number)
        for offset, number, total in zip(offsets, sizes.nums, sizes.sums, strict=True)
        if number
    )
    return LinesProfile(
        path=file.path,
        size_bytes=file.size_bytes,
        dialect=dialect,
        has_header=has_header,
        num_records=num_records,
        is_exact=exact,
        longest_record_bytes=sizes.longest * unit_bytes,
        num_seen=len(rows),
        num_ragged=num_ragged,
        columns=columns,
        stretches=stretches,
        findings=tuple(_findings(stretches, num_ragged, len(rows))),
    )


def _ends_at(source: Source, offset: int, stop: int, marks: Marks, *, is_start: bool) -> list[int]:
    """Return where records end in a place, by the case that its quotes allow; a begin counts."""
    data, after = stretch(source, offset, stop - offset, marks)
    look = Look(data, after, marks)
    is_open = not is_start and look.verdict.opened and not look.verdict.closed
    ends: list[int] = (look.ends(is_open=is_open) + offset).tolist()
    is_last = stop == source.file.size_bytes and ends[-1:] != [stop]
    return [*[offset] * is_start, *ends, *[stop] * is_last]


def _count(source: Source, start: int, marks: Marks, offsets: Sequence[int], sizes: _Sizes) -> int:
    """Walk through all records; return their number."""
    size, last = source.file.size_bytes, start
    state = b""
    try:
        for offset, found in walked(source, start, size, marks):
            state = found.state
            ends = (found.ends + offset).tolist()
            sizes.add(int(np.searchsorted(offsets, offset, side="right")) - 1, ends, last)
            last = ends[-1] if ends else last
    except TextBehindQuote:
        raise blamed(source, start, marks) from None
    if marks.is_open(state):
        raise blamed(source, start, marks)
    if last < size:
        sizes.add(len(offsets) - 1, [size], last)
    return sum(sizes.nums)


def _columns(
    rows: Sequence[bytes], dialect: Dialect, names: Sequence[str], types: Types
) -> tuple[tuple[LineColumn, ...], int]:
    """Return the columns by the values of some records, and how many of these are ragged."""
    if dialect.kind == "ndjson":
        return _keys(rows, types), 0
    fields = [found for row in rows for found in fields_of(row, dialect)]
    width = len(names) or (len(fields[0]) if fields else 0)
    whole = [row for row in fields if len(row) == width]
    columns = []
    for at in range(width):
        values = [row[at] for row in whole]
        nulls = values.count("")
        name = names[at] if names else f"column{at}"
        columns.append(LineColumn(name, types.of_texts(values), nulls / (len(values) or 1)))
    return tuple(columns), len(fields) - len(whole)


def _keys(rows: Sequence[bytes], types: Types) -> tuple[LineColumn, ...]:
    found: dict[str, list[Any]] = {}
    num_objects = 0
    for item in _objects(rows):
        num_objects += 1
        for key, value in item.items():
            found.setdefault(key, []).append(value)
    return tuple(
        LineColumn(
            key,
            types.of_json(values),
            1 - sum(value is not None for value in values) / num_objects,
        )
        for key, values in found.items()
    )


def _objects(rows: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for row in rows:
        try:
            item = json.loads(row)
        except (ValueError, RecursionError):
            continue
        if isinstance(item, dict):
            yield item


def _findings(stretches: Sequence[LineStretch], num_ragged: int, num_seen: int) -> Iterator[str]:
    sizes = [each.bytes_per_record for each in stretches]
    if sizes and max(sizes) > _UNEVEN * min(sizes):
        yield (
            f"records are {times(max(sizes) / min(sizes))} times as large in some places as in "
            "others: parts of equal rows would differ so"
        )
    if num_ragged:
        yield (
            f"{num_ragged:,} of {counted(num_seen, 'record')} that were looked at have another "
            "number of fields than the first"
        )
