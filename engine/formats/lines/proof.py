"""Prove parts of lines: all bytes behind the headers are those of the sources, in order.

And each part by itself holds whole records, as many as were planned if these were counted: no cut
went through a line or a quoted field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import accumulate

from engine.errors import Different, SourceError
from engine.formats import Compared
from engine.formats.lines.compressed import (
    KEPT_BYTES,
    CompressedSource,
    is_compressed,
    open_bytes,
)
from engine.formats.lines.pieces import (
    Joined,
    all_records,
    dialect_of,
    head_of,
    opened_all,
    text_bytes,
)
from engine.formats.lines.reading import opened
from engine.formats.lines.scan import (
    COPIES,
    FRESH,
    LOOKBACK_BYTES,
    Marks,
    TextBehindQuote,
    marks_of,
    plain,
    record_ends,
)
from engine.model import SourceFile
from engine.storage.base import steps
from engine.wording import counted

_STEP_BYTES = 1 << 20
_PROCESS_BYTES = 60 << 20


def proof_bytes(sources: Sequence[SourceFile], parts: Sequence[SourceFile], workers: int) -> int:
    """Return the projected peak memory of :func:`compare`, the process included."""
    source_bytes, part_bytes = max(map(open_bytes, sources)), _decoding_bytes(parts)
    text_bytes = (workers + 1) * source_bytes + workers * part_bytes
    text_bytes += KEPT_BYTES if text_bytes else 0
    return _PROCESS_BYTES + workers * (COPIES + 3) * _STEP_BYTES + text_bytes


def _decoding_bytes(parts: Sequence[SourceFile]) -> int:
    """Return the memory that reading a part takes: all are compressed as the first is."""
    if not parts:
        return 0
    try:
        with opened(parts[0]) as part:
            return part.needed_bytes() if isinstance(part, CompressedSource) else 0
    except SourceError:  # the proof says what is wrong with it
        return 0


def compare(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    expected_rows: Sequence[int | None],
    workers: int,
    progress: Callable[[int], None] | None,
    *,
    is_recoded: bool,
) -> Compared:
    """Compare parts with their sources; see :meth:`engine.formats.Format.verify`.

    ``is_recoded``: parts may be compressed, which those of plain text are not unless asked for.
    """
    heads = [head_of(sources[0], is_first=index == 0).length for index in range(len(parts))]
    texts = [part.size_bytes for part in parts]
    if is_recoded:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            looks = [pool.submit(copy_context().run, _text_bytes, part) for part in parts]
            texts = [look.result() for look in looks]
    sizes = [max(0, size - head) for size, head in zip(texts, heads, strict=True)]
    starts = list(accumulate(sizes, initial=0))
    marks = marks_of(dialect_of(sources[0]))
    with opened_all(sources) as get, ThreadPoolExecutor(max(1, workers)) as pool:
        pieces = all_records(sources, get)
        records = Joined(pieces, get)
        first, other = (
            Joined([head_of(sources[0], is_first=is_first)], get).read(0, text_bytes(sources[0]))
            for is_first in (True, False)
        )

        def compare_one(index: int) -> tuple[int, int]:
            head = other if index else first
            part = _Part(parts[index], texts[index], head, marks, progress)
            with opened_all(sources) as its_own:  # a compressed file is read at one place
                whole = Joined(pieces, its_own) if is_compressed(sources[0]) else records
                return part.compare(whole, starts[index], expected_rows[index])

        for number in range(len(sources)):
            get(number)  # here, not by several threads at once
        # Each part has a context of its own: it says which credential holds.
        runs = [pool.submit(copy_context().run, compare_one, index) for index in range(len(parts))]
        try:
            found = [run.result() for run in runs]
        finally:
            for run in runs:
                run.cancel()
    if starts[-1] != records.size_bytes:
        raise Different(
            f"the parts hold {starts[-1]:,} bytes of records, the source has {records.size_bytes:,}"
        )
    num_bytes, num_rows = map(sum, zip(*found, strict=True))
    return Compared(0, 0, num_bytes, num_rows)


def _text_bytes(part: SourceFile) -> int:
    """Return the bytes of a part's text, which is inflated for it if it is compressed."""
    with opened(part) as source:
        if not isinstance(source, CompressedSource):
            return part.size_bytes
        try:
            return source.measure()
        except SourceError as error:
            raise Different(f"{part.path.rpartition('/')[2]}: {error}") from None


class _Part:
    """A part that is compared; its errors begin with its name."""

    def __init__(
        self,
        file: SourceFile,
        text_bytes: int,
        head: bytes,
        marks: Marks,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._file = file
        self._text_bytes = text_bytes
        self._head = head
        self._name = file.path.rpartition("/")[2]
        self._marks = marks
        self._progress = progress

    def compare(self, records: Joined, start: int, num_rows: int | None) -> tuple[int, int]:
        """Return the bytes compared: the header, and records from a position; and how many."""
        size, first = self._text_bytes, len(self._head)
        state, before, num_found = FRESH, b"", 0
        with opened(self._file) as part:
            if part.read(0, min(first, size)) != self._head:
                raise Different(f"{self._name} does not begin with the source's header")
            for offset, length in steps(first, size - first, _STEP_BYTES):
                text = part.read(offset, min(length + 1, size - offset))
                data = text[:length]
                self._check_same(data, records.read(start + offset - first, length), offset)
                shown = plain(text, before, self._marks)
                try:
                    found = record_ends(shown[:length], state, shown[length:], self._marks)
                except TextBehindQuote:
                    raise self._torn() from None
                state, before = found.state, (before + data)[-LOOKBACK_BYTES:]
                num_found += len(found.ends)
                if self._progress is not None:
                    self._progress(length)
        if self._marks.is_open(state):
            raise self._torn()
        is_cut = before[-1:] not in (b"", b"\n")
        if is_cut and start + size - first < records.size_bytes:
            raise Different(f"{self._name} ends inside a record")
        num_found += is_cut
        if num_rows not in (None, num_found):
            raise Different(
                f"{self._name} holds {counted(num_found, 'record')}, its receipt says {num_rows:,}"
            )
        return size, num_found

    def _check_same(self, data: bytes, expected: bytes, offset: int) -> None:
        if data != expected:
            pairs = enumerate(zip(data, expected, strict=False))
            at = next((at for at, (one, two) in pairs if one != two), len(expected))
            raise Different(f"{self._name} differs from the source at its byte {offset + at:,}")

    def _torn(self) -> Different:
        return Different(f"{self._name} begins or ends inside a quoted field")
