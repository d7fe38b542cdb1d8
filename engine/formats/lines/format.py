"""What lines tell the story: the functions of :class:`engine.formats.Format`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from engine.formats import Compared, Measures
from engine.formats.lines import compressed
from engine.formats.lines.measures import first_names, forget_all, measured, settled
from engine.formats.lines.part import read_tail, write
from engine.model import SourceFile
from engine.settings import Settings

__all__ = [
    "PRELOAD",
    "agreements",
    "holding_sources",
    "measure",
    "read_tail",
    "settled",
    "top_columns",
    "verify",
    "verify_memory_bytes",
    "write",
]

PRELOAD: tuple[str, ...] = ()


def notes(_: Sequence[SourceFile], /) -> tuple[str, ...]:
    """Return nothing: lines are read as they lie."""
    return ()


def top_columns(file: SourceFile, /) -> set[str]:
    """Return the names of columns, once a file is settled: its header's, or its first keys.

    Before that none: columns in the paths of folders are not looked for in lines.
    """
    return set() if file.dialect is None else first_names(file)


def agreements(file: SourceFile, texts: Mapping[str, str | None], /) -> dict[str, bool | None]:
    """Return nothing: no column was named."""
    return {}


def measure(files: Sequence[SourceFile], settings: Settings, /, *, revision: int) -> Measures:
    """Read what a plan needs; see :meth:`engine.formats.Format.measure`."""
    return measured(files, settings)


def verify(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    memory_bytes: int,
    workers: int,
    expected_rows: Sequence[int | None],
    settings: Mapping[str, object],
    progress: Callable[[int], None] | None,
) -> Compared:
    """Compare parts with their sources; see :meth:`engine.formats.Format.verify`."""
    from engine.formats.lines.proof import compare

    is_recoded = settings.get("codec") is not None
    return compare(sources, parts, expected_rows, workers, progress, is_recoded=is_recoded)


def verify_memory_bytes(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    workers: int,
    memory_bytes: int,
) -> int:
    """Return the projected peak memory of :func:`verify`, the process included."""
    from engine.formats.lines.proof import proof_bytes

    return proof_bytes(sources, parts, workers)


@contextmanager
def holding_sources() -> Iterator[None]:
    """Drop in the end what is kept of compressed files; files are closed as soon as they are read.

    What another call has lost by that, it reads again.
    """
    try:
        yield
    finally:
        forget_all()
        compressed.forget_all()
