"""Where records end in a stretch of bytes. Pure: bytes in, positions out.

A line feed ends a record unless it is quoted or escaped. A quote begins a quoted field only where a
field begins, as Python's csv module, pandas and others have it; inside, two quotes are one. So the
state at a position is what lies right before it, and is kept as bytes (:data:`FRESH`).

Most files use quotes for quoted fields alone. Then every other quote opens, whatever lies between,
and a stretch can be looked at before it is known how it begins (:class:`Look`): for both cases at
once, by numpy. Each quote's neighbours tell whether that holds. Where it does not, as with inches
in plain text, the stretch is walked field by field (:func:`walk`).

Not covered: delimiters and quotes of several bytes; a lone carriage return ends no record here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.model import Dialect

FRESH = b"\n"  # the state where a record begins
# Of a stretch while it is looked at, where every byte is a mark: positions take 8 bytes. 20
COPIES = 24
LOOKBACK_BYTES = 256  # of escape characters in a row, which pair up
_LINE_FEED = 10
_STRAY = b"x"  # the state behind a quote that is plain text

Positions = npt.NDArray[np.int64]


class TextBehindQuote(Exception):
    """A quoted field is followed by something else than a delimiter or the end of its record.

    Attributes:
        opened: position of the quote that opened the field; negative if it lies before the stretch.
        position: of what follows.
    """

    def __init__(self, opened: int, position: int) -> None:
        super().__init__(opened, position)
        self.opened = opened
        self.position = position


class Walked(NamedTuple):
    """Positions behind the records' ends, the state behind the stretch, and an open quote's place.

    ``opened`` is negative if the field was opened before; None where no field is open.
    """

    ends: Positions
    state: bytes
    opened: int | None


@dataclass(frozen=True)
class Marks:
    """What a dialect's special bytes are; empty for those that it lacks."""

    delimiter: bytes
    quote: bytes
    escape: bytes

    def is_open(self, state: bytes) -> bool:
        """Whether a state is that inside a quoted field."""
        return bool(self.quote) and state == self.quote

    @cached_property
    def beside_fields(self) -> npt.NDArray[np.bool_]:
        """By byte: whether it may lie before an opening quote, and behind a closing one."""
        found = np.zeros(256, dtype=np.bool_)
        found[list(self.delimiter + b"\r\n" + self.quote)] = True
        return found

    @cached_property
    def quoted_field(self) -> re.Pattern[bytes]:
        """A quoted field where a field begins; the group is its closing quote, or empty."""
        quote, delimiter = re.escape(self.quote), re.escape(self.delimiter)
        return re.compile(rb"(?<![^%b\r\n])%b(?:[^%b]++|%b%b)*+(%b?)" % (delimiter, *(quote,) * 5))


def marks_of(dialect: Dialect) -> Marks:
    """Return the special bytes of a dialect."""
    texts = (dialect.delimiter, dialect.quote, dialect.escape)
    return Marks(*(text.encode("ascii") for text in texts))


def plain(data: bytes, before: bytes, marks: Marks) -> bytes:
    """Return bytes in which what is escaped is an x, so that nobody takes it for a mark.

    ``before``: up to :data:`LOOKBACK_BYTES` that lie before, of which the first is not escaped.
    """
    if not marks.escape or marks.escape not in before[-1:] + data:
        return data
    every = np.frombuffer(before + data, dtype=np.uint8).copy()
    places = np.flatnonzero(every == marks.escape[0])
    order = np.arange(len(places))
    begins = np.diff(places, prepend=-2) != 1  # a run of escapes
    nth = order - np.maximum.accumulate(np.where(begins, order, 0))
    targets = places[nth % 2 == 0] + 1
    every[targets[targets < len(every)]] = ord("x")
    return every[len(before) :].tobytes()


class Verdict(NamedTuple):
    """Whether every other quote of a stretch opens a field: where it begins outside, and in one."""

    closed: bool
    opened: bool
    begins_with_quote: bool

    def holds(self, state: bytes, marks: Marks) -> bool:
        """Whether it does where the stretch begins in a state."""
        if marks.is_open(state):
            return self.opened
        if not self.begins_with_quote:
            return self.closed
        return self.closed and state in (b"\n", b"\r", marks.delimiter, 2 * marks.quote)


class Look:
    """A stretch of bytes whose state at its begin need not be known.

    Args:
        data: not empty, with :func:`plain` behind it.
        after: the byte that follows; empty at the end of the file.
        marks: of the dialect.

    Attributes:
        verdict: whether :meth:`ends` and :meth:`walked` are right.
    """

    def __init__(self, data: bytes, after: bytes, marks: Marks) -> None:
        every = np.frombuffer(data, dtype=np.uint8)
        self._marks = marks
        self._last = data[-1:]
        self.verdict = Verdict(True, True, begins_with_quote=False)
        if not marks.quote or marks.quote not in data:
            self._feeds = np.flatnonzero(every == _LINE_FEED)
            self._is_odd = np.zeros(len(self._feeds), dtype=np.bool_)
            self._quotes: Positions = self._feeds[:0]
            return
        self._feeds = np.flatnonzero(every == _LINE_FEED)
        self._quotes = np.flatnonzero(every == marks.quote[0])
        # Of the number of quotes before a line feed only the last bit is wanted.
        num_before = np.searchsorted(self._quotes, self._feeds)
        num_before &= 1
        self._is_odd = num_before.astype(np.bool_)
        can_open = marks.beside_fields[every[self._quotes - 1]]
        can_close = marks.beside_fields[every.take(self._quotes + 1, mode="clip")]
        if self._quotes[0] == 0:
            can_open[0] = True  # what lies before it is the state
        if self._quotes[-1] == len(every) - 1:
            can_close[-1] = not after or marks.beside_fields[after[0]]
        closed, opened = (
            bool(can_open[odd::2].all() and can_close[1 - odd :: 2].all()) for odd in (0, 1)
        )
        self.verdict = Verdict(closed, opened, begins_with_quote=bool(self._quotes[0] == 0))

    def ends(self, *, is_open: bool) -> Positions:
        """Return the positions behind the ends of records, where it begins in quotes or not."""
        found: Positions = self._feeds[self._is_odd == is_open] + 1
        return found

    def state(self, *, is_open: bool) -> bytes:
        """Return the state behind it, where it begins in quotes or not."""
        quote = self._marks.quote
        if (len(self._quotes) + is_open) % 2:
            return quote
        return 2 * quote if quote and self._last == quote else self._last

    def walked(self, state: bytes) -> Walked:
        """Return what :func:`walk` does of a stretch that is regular."""
        is_open = self._marks.is_open(state)
        behind = self.state(is_open=is_open)
        opened: int | None = None
        if self._marks.is_open(behind):
            opened = int(self._quotes[-1]) if len(self._quotes) else -1
        return Walked(self.ends(is_open=is_open), behind, opened)


def walk(data: bytes, state: bytes, after: bytes, marks: Marks) -> Walked:
    """Return where records end in a stretch, field by field.

    Args:
        data: as for :class:`Look`.
        state: what the stretch begins in.
        after: the byte that follows.
        marks: of the dialect, which has quotes.

    Raises:
        TextBehindQuote: nobody can tell whether a field goes on.
    """
    text = state + data
    starts, stops = [], []
    behind = text[-1:] if text[-1:] != marks.quote else _STRAY
    opened: int | None = None
    for found in marks.quoted_field.finditer(text):
        start, stop = found.span()
        starts.append(start)
        stops.append(stop)
        if not found[1]:
            behind, opened = marks.quote, start - len(state)
        elif stop == len(text):
            behind = 2 * marks.quote
        following = text[stop : stop + 1] or (after if found[1] else b"")
        if following and not marks.beside_fields[following[0]]:
            raise TextBehindQuote(start - len(state), stop - len(state))
    feeds = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _LINE_FEED)
    field = np.searchsorted(np.array(starts, dtype=np.int64), feeds + len(state)) - 1
    until = np.array([0, *stops], dtype=np.int64)[field + 1]
    return Walked(feeds[feeds + len(state) >= until] + 1, behind, opened)


def record_ends(data: bytes, state: bytes, after: bytes, marks: Marks) -> Walked:
    """Return where records end, by the quicker of the two ways that holds."""
    look = Look(data, after, marks)
    if look.verdict.holds(state, marks):
        return look.walked(state)
    return walk(data, state, after, marks)
