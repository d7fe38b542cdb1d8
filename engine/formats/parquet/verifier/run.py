"""The whole of a verification on this machine: footers, structure, then columns on threads.

Arrow releases the GIL while it reads and decodes, so threads suffice and one copy of each footer
serves them all.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial

from engine.errors import BadStructure, Different, NoSource
from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.bytes.one_column import group_rows, read_chunk
from engine.formats.parquet.layout import OpenFile, close_files, open_file
from engine.formats.parquet.page_maps import page_maps
from engine.formats.parquet.verifier.footers import blaming, check_footers
from engine.formats.parquet.verifier.opened import footer_of, name_of, opened
from engine.formats.parquet.verifier.structure import check_part_structure
from engine.formats.parquet.verifier.values import verify_column
from engine.ledger.manifest import Ledger
from engine.memory import budget, verify_batch_bytes, verify_bytes
from engine.model import Manifest, Receipt, SourceFile, Verification
from engine.settings import CODECS
from engine.storage import Storage, open_storage
from engine.storage.base import naming, redacted


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
        order = largest_columns_first([footer_of(file) for file in sources])
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
    sizes = [0] * len(sources[0].leaves)
    for footer in sources:
        for index in range(len(group_rows(footer))):
            for column in range(len(sizes)):
                sizes[column] += read_chunk(footer, index, column)[1].compressed_bytes
    return sorted(range(len(sizes)), key=lambda column: -sizes[column])


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


def verify_memory_bytes(
    destination: str, *, workers: int | None = None, memory_bytes: int | None = None
) -> int:
    """Return the projected peak memory of :func:`verify_split`, the process included."""
    store, folder = open_storage(destination)
    manifest = Ledger(store, folder).manifest()
    try:
        return _projected(manifest, workers or _default_workers(), budget(memory_bytes).bytes)
    finally:
        footer_of.cache_clear()
        close_files()


def _projected(manifest: Manifest, workers: int, memory_bytes: int) -> int:
    """Project from the pages of the largest chunk of each column; parts have no larger ones."""
    files = [open_file(source) for source in manifest.sources]
    footer_bytes = 2 * sum(file.footer.size_bytes for file in files)
    footer_bytes += len(manifest.parts) * max(file.footer.size_bytes for file in files) // 8
    page_bytes = dictionary_bytes = index_bytes = 0
    num_columns = len(files[0].footer.leaves)
    for file, row_group in _largest_groups(files):
        columns = file.row_group(row_group).columns
        for chunk, pages in zip(columns, page_maps(file, row_group), strict=True):
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


def _largest_groups(files: Sequence[OpenFile]) -> set[tuple[OpenFile, int]]:
    """Return the row groups that hold the largest chunk of some column."""
    largest: dict[int, tuple[int, OpenFile, int]] = {}
    for file in files:
        for index in range(file.footer.num_row_groups):
            group = file.row_group(index)
            for column, chunk in enumerate(group.columns):
                if group.num_rows and chunk.uncompressed_bytes > largest.get(column, (0,))[0]:
                    largest[column] = (chunk.uncompressed_bytes, file, index)
    return {(file, index) for _, file, index in largest.values()}


def _default_workers() -> int:
    return os.cpu_count() or 1


def verify_split(
    destination: str,
    *,
    memory_bytes: int | None,
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> Verification:
    """Prove that a finished split equals its source; see :func:`engine.verify`.

    Raises:
        NotASplit: the folder holds no finished split.
        Different: a part is missing, has another size, or differs from the source; ``part`` names
            it, and the message says how to mend it.
        SourceChanged: the source is no longer what was split.
        OverBudget: it would need more memory than there is.
    """
    started = time.monotonic()
    store, folder = open_storage(destination)
    manifest = Ledger(store, folder).manifest()
    for source in manifest.sources:
        source_store, path = open_storage(source.path)
        source_store.open(SourceFile(path, source.size_bytes, source.version)).close()
    leaves = footer_of(manifest.sources[0]).leaves
    try:
        num_values = verify_parts(
            manifest.sources,
            [_part_file(store, folder, receipt) for receipt in manifest.parts],
            memory_bytes=budget(memory_bytes).bytes,
            workers=workers or _default_workers(),
            expected_rows=[receipt.num_rows for receipt in manifest.parts],
            codec=CODECS.get(manifest.settings.get("codec") or ""),
            progress=progress,
        )
    except Different as error:
        raise _blamed(error, manifest, destination) from error
    return Verification(
        destination=folder,
        num_parts=len(manifest.parts),
        num_rows=manifest.num_rows,
        num_columns=len(leaves),
        num_values=num_values,
        elapsed_seconds=time.monotonic() - started,
    )


def _blamed(error: Different, manifest: Manifest, destination: str) -> Different:
    """Return the error with the part that it is about, and with what mends it."""
    names = (receipt.name for receipt in manifest.parts)
    part = next((name for name in names if str(error).startswith(name)), None)
    place = shlex.quote(redacted(destination))
    cure = f"evensplit verify {place} --repair writes it anew"
    if part is None:
        cure = "split --overwrite writes all parts anew"
    told = Different(f"{error}; {cure}")
    told.part = part
    return told


def _part_file(store: Storage, folder: str, receipt: Receipt) -> SourceFile:
    try:
        found = store.stat(store.join(folder, receipt.name))
    except NoSource as error:
        raise Different(f"{receipt.name} is missing") from error
    if found.size_bytes != receipt.size_bytes:
        raise Different(
            f"{receipt.name} has {found.size_bytes} bytes, its receipt says {receipt.size_bytes}"
        )
    return found
