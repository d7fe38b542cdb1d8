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
from itertools import chain

from engine.errors import BadStructure
from engine.formats.parquet.bytes.chunk_table import read_chunk_table
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.opened import OpenFile, OpenRowGroup, open_file
from engine.formats.parquet.verifier.footers import blaming, check_footers
from engine.formats.parquet.verifier.opened import footer_of, name_of, opened
from engine.formats.parquet.verifier.structure import check_part_structure
from engine.formats.parquet.verifier.values import verify_column
from engine.memory import verify_batch_bytes, verify_bytes
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
        workers: columns compared at once.
        expected_rows: rows of each part by its receipt.
        codec: that the parts were given; None for the source's.
        progress: called, from one thread at a time, with numbers of rows of one column as they
            are compared; they add up to rows × columns.

    Returns:
        Values compared: level entries of all columns.

    Raises:
        Different: the first difference found.
        SourceError: a source cannot be read, or changed meanwhile.
    """
    try:
        footers = check_metadata(sources, parts, expected_rows, codec)
        order = largest_columns_first(footers[: len(sources)])
        index_bytes = sum(footer.size_bytes for footer in footers)
        batch_bytes = verify_batch_bytes(
            memory_bytes, workers=min(workers, len(order)), footer_bytes=index_bytes
        )
        return _compare_columns(sources, parts, order, batch_bytes, workers, _Reporter(progress))
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
    ours = [footer_of(file) for file in sources]
    theirs = [_part_footer(file) for file in parts]
    try:
        check_footers(ours, theirs, [name_of(file) for file in parts], expected_rows, codec)
    except BadStructure:  # of a source: which one is looked for only now
        for file, footer in zip(sources, ours, strict=True):
            with naming(file.path):
                largest_columns_first([footer])
        raise
    for file in parts:
        with opened(file) as part, blaming(name_of(file)):
            check_part_structure(part)
    return [*ours, *theirs]


def largest_columns_first(sources: Sequence[Footer]) -> list[int]:
    """Return the positions of all columns, those with most bytes first: best packed on workers."""
    sizes = sum(read_chunk_table(footer).compressed_bytes.sum(axis=0) for footer in sources)
    return sorted(range(len(sources[0].leaves)), key=lambda column: -sizes[column])


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
    sources: Sequence[SourceFile], num_parts: int, workers: int, memory_bytes: int
) -> int:
    """Return the projected peak memory of :func:`verify_parts`, the process included.

    From the pages of the largest chunk of each column; parts have no larger ones.
    """
    files = [open_file(source) for source in sources]
    footer_bytes = 2 * sum(file.footer.size_bytes for file in files)
    footer_bytes += num_parts * max(file.footer.size_bytes for file in files) // 8
    page_bytes = dictionary_bytes = index_bytes = 0
    num_columns = len(files[0].footer.leaves)
    for group in _largest_groups(files):
        for chunk, pages in zip(group.entry.columns, group.page_maps, strict=True):
            ratio = max(1.0, chunk.uncompressed_bytes / max(1, chunk.compressed_bytes))
            page_bytes = max(page_bytes, round(ratio * max(pages.sizes, default=0)))
            if pages.dictionary is not None:
                dictionary_bytes = max(dictionary_bytes, round(ratio * pages.dictionary.length))
            for place in (chunk.offset_index, chunk.column_index):
                index_bytes = max(index_bytes, place.length if place is not None else 0)
    workers = min(workers, num_columns)
    return verify_bytes(
        workers=workers,
        batch_bytes=verify_batch_bytes(memory_bytes, workers=workers, footer_bytes=footer_bytes),
        footer_bytes=footer_bytes,
        largest_index_bytes=index_bytes,
        page_bytes=page_bytes,
        dictionary_bytes=dictionary_bytes,
    )


def _largest_groups(files: Sequence[OpenFile]) -> set[OpenRowGroup]:
    """Return the row groups that hold the largest chunk of some column."""
    largest: dict[int, tuple[int, OpenRowGroup]] = {}
    for group in chain.from_iterable(file.row_groups() for file in files):
        entry = group.entry
        for column, chunk in enumerate(entry.columns):
            if entry.num_rows and chunk.uncompressed_bytes > largest.get(column, (0,))[0]:
                largest[column] = (chunk.uncompressed_bytes, group)
    return {group for _, group in largest.values()}
