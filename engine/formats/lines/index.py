"""Where records lie in a whole file: blocks of some hundred KiB, and how many begin in each.

Stretches of the file are looked at in several threads, for both cases of how each may begin
(:mod:`.scan`); then, in order, it is known which case it was. Exact: the file is read once. What a
block has inside is read again where a cut falls.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from engine import system
from engine.errors import BadStructure
from engine.formats.lines.compressed import KEPT_BYTES, CompressedSource, open_bytes
from engine.formats.lines.ladder import LADDER_BYTES, Ladder
from engine.formats.lines.reading import blamed, record_starts, stretch
from engine.formats.lines.scan import (
    COPIES,
    FRESH,
    Look,
    Marks,
    Positions,
    TextBehindQuote,
    Verdict,
    marks_of,
    walk,
)
from engine.model import Dialect, SourceFile
from engine.storage import Source
from engine.storage.base import steps

_BLOCK_BYTES = 256 << 10
_MAX_BLOCKS = 8192
_MAX_KNOTS = 4096
_NEVER = np.iinfo(np.int64).max
_REQUESTS = 4
# Positions of half a mebibyte stay in the processor's cache; requests and decoders are slower.
_LOOK_BYTES, _FETCHED_BYTES = 512 << 10, 1 << 20

_Step = tuple[int, int]  # offset and length


class Block(NamedTuple):
    """Records that begin near each other: where the first does, how many, and all their bytes."""

    offset: int
    num_records: int
    num_bytes: int


class _Begun(NamedTuple):
    """Records that begin in a stretch, by block: the first block, the first record, how many."""

    block: int
    firsts: Positions
    counts: Positions
    starts: Positions


class _Seen(NamedTuple):
    """A stretch in both cases, or in one without quotes: whether it holds, what begins, the end."""

    verdict: Verdict
    begun: list[_Begun]
    states: list[bytes]


def looks_bytes(files: Sequence[SourceFile]) -> int:
    """Return the memory that :func:`read_blocks` takes at most."""
    is_remote = any("://" in file.path for file in files)
    text_bytes = max(map(open_bytes, files))
    text_bytes += KEPT_BYTES + LADDER_BYTES if text_bytes else 0
    look_bytes = COPIES * (_FETCHED_BYTES if is_remote or text_bytes else _LOOK_BYTES)
    return (_num_looks(is_remote=is_remote) + 1) * look_bytes + text_bytes


def _num_looks(*, is_remote: bool) -> int:
    return _REQUESTS if is_remote else min(system.num_cores(), _REQUESTS)


def read_blocks(source: Source, dialect: Dialect, ladder: Ladder | None = None) -> list[Block]:
    """Return the blocks in which records begin; all records of a file are in one of them.

    ``ladder`` is told where each begins.

    Raises:
        BadStructure: quotes do not pair up; the message has the line.
    """
    start = dialect.header_bytes
    if start >= source.file.size_bytes:
        return []
    block_bytes = _block_bytes(source, start)
    firsts, counts = {0: start}, Counter({0: 1})
    marks = marks_of(dialect)
    try:
        for begun in _begun(source, start, block_bytes, marks):
            if ladder is not None:
                ladder.add(begun.starts)
            for block, count in enumerate(begun.counts.tolist(), start=begun.block):
                if count:
                    firsts.setdefault(block, int(begun.firsts[block - begun.block]))
                    counts[block] += count
    except TextBehindQuote:
        raise blamed(source, start, marks) from None
    size = source.file.size_bytes  # known by now
    if start >= size:
        return []
    if source.read(size - 1, 1) == b"\n":  # behind the last record none begins
        counts[(size - start) // block_bytes] -= 1
    used = [block for block, count in counts.items() if count]
    bounds = [*(firsts[block] for block in used), size]
    return [
        Block(first, counts[block], stop - first)
        for block, (first, stop) in zip(used, pairwise(bounds), strict=True)
    ]


def _block_bytes(source: Source, start: int) -> int:
    """Return from how many bytes on the records that begin in them are a block."""
    likely_bytes = source.file.size_bytes
    if isinstance(source, CompressedSource):
        likely_bytes = source.likely_bytes
    return max(_BLOCK_BYTES, -(-(likely_bytes - start) // _MAX_BLOCKS))


def block_end(source: Source, dialect: Dialect, offset: int) -> int:
    """Return where the block ends that begins at a position, as :func:`read_blocks` has it."""
    start, size = dialect.header_bytes, source.file.size_bytes
    block_bytes = _block_bytes(source, start)
    behind = start + ((offset - start) // block_bytes + 1) * block_bytes
    for starts in record_starts(source, offset, size, marks_of(dialect)):
        if len(starts) and starts[-1] >= behind:
            return int(starts[np.searchsorted(starts, behind)])
    return size


def _begun(source: Source, start: int, block_bytes: int, marks: Marks) -> Iterator[_Begun]:
    """Yield what begins in each stretch, in order."""
    summed = partial(_summed, start=start, block_bytes=block_bytes)

    def look(step: tuple[int, int]) -> _Seen:
        offset, length = step
        data, after = stretch(source, offset, length, marks)
        seen = Look(data, after, marks)
        cases = (False, True) if marks.quote else (False,)
        return _Seen(
            seen.verdict,
            [summed(seen.ends(is_open=is_open) + offset) for is_open in cases],
            [seen.state(is_open=is_open) for is_open in cases],
        )

    state = FRESH
    with ThreadPoolExecutor(_num_looks(is_remote=source.is_remote)) as pool:
        for (offset, length), seen in _in_order(pool, look, _steps(source, start)):
            if seen.verdict.holds(state, marks):
                is_open = marks.is_open(state)
                state = seen.states[is_open]
                yield seen.begun[is_open]
                continue
            if not marks.delimiter:
                raise BadStructure(
                    f"quotes inside fields near byte {offset:,}, and no delimiter was found by "
                    "which to tell them; give --delimiter, or --quote none"
                )
            data, after = stretch(source, offset, length, marks)
            found = walk(data, state, after, marks)
            state = found.state
            yield summed(found.ends + offset)
    if marks.is_open(state):
        raise blamed(source, start, marks)


def _steps(source: Source, start: int) -> Iterator[_Step]:
    if isinstance(source, CompressedSource):
        return source.steps(start, _FETCHED_BYTES)
    look_bytes = _FETCHED_BYTES if source.is_remote else _LOOK_BYTES
    return steps(start, source.file.size_bytes - start, look_bytes)


def _in_order(
    pool: ThreadPoolExecutor, look: Callable[[_Step], _Seen], every: Iterable[_Step]
) -> Iterator[tuple[_Step, _Seen]]:
    """Yield what is seen of each step; few are begun ahead."""
    begun: deque[tuple[_Step, Future[_Seen]]] = deque()
    for step in every:
        begun.append((step, pool.submit(look, step)))
        if len(begun) > _REQUESTS:
            first, seen = begun.popleft()
            yield first, seen.result()
    for first, seen in begun:
        yield first, seen.result()


def _summed(starts: Positions, *, start: int, block_bytes: int) -> _Begun:
    """Sum up records by block; blocks without any have the largest number as their first."""
    if not len(starts):
        return _Begun(0, starts, starts, starts)
    first, last = ((int(starts[at]) - start) // block_bytes for at in (0, -1))
    at = np.searchsorted(starts, start + block_bytes * np.arange(first, last + 2))
    counts = np.diff(at)
    firsts = np.where(counts > 0, starts[np.minimum(at[:-1], len(starts) - 1)], _NEVER)
    return _Begun(first, firsts, counts, starts)


def knots(source: Source, block: Block, marks: Marks) -> tuple[Sequence[int], Sequence[float]]:
    """Return some records of a block and the bytes before each, the first and the end included."""
    rows, sums = array("q", [0]), array("d", [0.0])
    every = max(1, block.num_records // _MAX_KNOTS)
    number = 0
    for starts in record_starts(source, block.offset, block.offset + block.num_bytes, marks):
        chosen = np.arange(-(number + 1) % every, len(starts), every)
        rows.extend((number + 1 + chosen).tolist())
        sums.extend((starts[chosen] - block.offset).astype(float).tolist())
        number += len(starts)
    if rows[-1] >= block.num_records:
        del rows[-1], sums[-1]
    rows.append(block.num_records)
    sums.append(float(block.num_bytes))
    return rows, sums


def record_offset(source: Source, block_offset: int, number: int, marks: Marks) -> int:
    """Return where a block's record begins, by its number, or the last one ends.

    Raises:
        BadStructure: there are not so many.
    """
    if not number:
        return block_offset
    size = source.file.size_bytes
    left = number
    for starts in record_starts(source, block_offset, size, marks):
        if left <= len(starts):
            return int(starts[left - 1])
        left -= len(starts)
    if left == 1 and source.read(size - 1, 1) != b"\n":
        return size
    raise BadStructure(f"fewer than {number:,} records from byte {block_offset:,} on")
