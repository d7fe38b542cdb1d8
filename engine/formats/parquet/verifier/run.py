"""The whole of a verification on this machine: footers, structure, then columns on threads.

Arrow releases the GIL while it reads and decodes, so threads suffice and one copy of each footer
serves them all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial

from engine import memory
from engine.at_once import answers
from engine.errors import BadStructure
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.verifier.footers import blaming, check_footers
from engine.formats.parquet.verifier.headers import check_headers
from engine.formats.parquet.verifier.opened import footer_of, name_of, opened
from engine.formats.parquet.verifier.projection import projection
from engine.formats.parquet.verifier.sizes import sizes_of
from engine.formats.parquet.verifier.structure import check_part_structure
from engine.formats.parquet.verifier.values import verify_column
from engine.model import SourceFile
from engine.storage.base import naming


class _Stopped(Exception):
    """Another column differs already."""


class _Reporter:
    """Passes progress on from many threads, and stops them all."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def __call__(self, num_rows: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self._progress is not None:
            with self._lock:
                self._progress(num_rows)

    def stop(self) -> None:
        """Make every thread that reports end."""
        self._stop.set()


def verify_parts(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    *,
    memory_bytes: int,
    workers: int,
    expected_rows: Sequence[int] | None = None,
    codec: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Prove that the parts, in their order, hold what the sources hold.

    Args:
        sources, parts: the files, in order.
        memory_bytes: budget, which sets how much each column decodes at once.
        workers: columns compared at once, if there is memory for so many.
        expected_rows: rows of each part by its receipt.
        codec: that the parts were given; None for the source's.
        progress: called, from one thread at a time, with numbers of rows of one column as they
            are compared; they add up to rows × columns.

    Returns:
        Values compared: level entries of all columns.

    Raises:
        Different: the first difference found.
        OverBudget: one column takes more memory than the budget that holds.
        SourceError: a source cannot be read, or changed meanwhile.
    """
    try:
        footers = check_metadata(sources, parts, expected_rows, codec)
        num_sources = len(sources)
        order = largest_columns_first(footers[:num_sources])
        ours = zip(sources, footers[:num_sources], strict=True)
        theirs = zip(parts, footers[num_sources:], strict=True)
        fitted = projection([*ours], [*theirs]).fitted(memory_bytes, workers)
        allowed = memory.kept_to()
        if allowed is not None:
            memory.check(fitted.needed_bytes, allowed, "to compare the largest column")
        at_once = (fitted.batch_bytes, fitted.workers)
        return _compare_columns(sources, parts, order, *at_once, _Reporter(progress))
    finally:
        footer_of.cache_clear()


def check_metadata(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    expected_rows: Sequence[int] | None = None,
    codec: int | None = None,
) -> list[Footer]:
    """Compare footers and check the structure of every part; return all footers.

    Raises:
        Different: names the part and what differs.
        SourceError: a source cannot be read, or changed.
    """
    is_remote = any("://" in file.path for file in (*sources, *parts))
    ours = list(answers(footer_of, sources, is_remote=is_remote))
    theirs = list(answers(_part_footer, parts, is_remote=is_remote))
    try:
        check_footers(ours, theirs, [name_of(file) for file in parts], expected_rows, codec)
    except BadStructure:  # of a source: which one is looked for only now
        for file, footer in zip(sources, ours, strict=True):
            with naming(file.path):
                largest_columns_first([footer])
        raise
    for _ in answers(_check_structure, list(zip(parts, theirs, strict=True)), is_remote=is_remote):
        pass
    check_headers(sources, parts)
    return [*ours, *theirs]


def largest_columns_first(sources: Sequence[Footer]) -> list[int]:
    """Return the positions of all columns, those with most bytes first: best packed on workers."""
    each = [sizes_of(footer).compressed_bytes for footer in sources]
    sizes = [-int(size) for size in sum(each[1:], each[0])]
    return sorted(range(len(sizes)), key=sizes.__getitem__)


def _check_structure(part: tuple[SourceFile, Footer]) -> None:
    file, footer = part
    with opened(file) as source, blaming(name_of(file)):
        check_part_structure(source, footer)


def _part_footer(file: SourceFile) -> Footer:
    with blaming(name_of(file)):
        return footer_of(file)


def _compare_columns(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    order: Sequence[int],
    batch_bytes: int,
    workers: int,
    reporter: _Reporter,
) -> int:
    compare = partial(verify_column, sources, parts)
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="verify") as pool:
        futures = [
            # How stores are reached is known to this thread; each worker takes a copy.
            pool.submit(copy_context().run, compare, column, batch_bytes, reporter)
            for column in order
        ]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_first(done)
        finally:
            reporter.stop()
            pool.shutdown(cancel_futures=True)
    return sum(future.result() for future in futures)


def _raise_first(done: set[Future[int]]) -> None:
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, _Stopped):
            raise error


def projected_bytes(
    sources: Sequence[SourceFile], parts: Sequence[SourceFile], workers: int, memory_bytes: int
) -> int:
    """Return the projected peak memory of :func:`verify_parts`, the process included."""
    try:
        sides = ([(file, footer_of(file)) for file in side] for side in (sources, parts))
        return projection(*sides).fitted(memory_bytes, workers).needed_bytes
    finally:
        footer_of.cache_clear()
