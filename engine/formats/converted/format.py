"""What lines that become Parquet tell the story; see :class:`engine.formats.Format`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from engine.formats import Compared
from engine.formats.converted.blocks import conversion_of, forget_all
from engine.formats.converted.measures import measure, settled
from engine.formats.converted.part import read_tail, write
from engine.formats.lines.format import agreements
from engine.formats.lines.format import holding_sources as holding_lines
from engine.formats.parquet.folder_columns import sentence
from engine.model import SourceFile

__all__ = [
    "PRELOAD",
    "agreements",
    "holding_sources",
    "measure",
    "notes",
    "read_tail",
    "settled",
    "top_columns",
    "verify",
    "verify_memory_bytes",
    "write",
]

PRELOAD = (__name__,)


def notes(files: Sequence[SourceFile], /) -> tuple[str, ...]:
    """Return the columns that records become, and those of folders."""
    constants = files[0].constants
    return (conversion_of(files[0]).sentence, *([sentence(constants)] if constants else ()))


def top_columns(file: SourceFile, /) -> set[str]:
    """Return the names of the columns that records become."""
    conversion = conversion_of(file)
    return {*(conversion.columns or json.loads(conversion.schema))}


def verify(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    memory_bytes: int,
    workers: int,
    expected_rows: Sequence[int],
    settings: Mapping[str, object],
    progress: Callable[[int], None] | None,
) -> Compared:
    """Compare parts with their sources; see :meth:`engine.formats.Format.verify`."""
    from engine.formats.converted.proof import compare

    return compare(sources, parts, expected_rows, workers, progress)


def verify_memory_bytes(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    workers: int,
    memory_bytes: int,
) -> int:
    """Return the projected peak memory of :func:`verify`, the process included."""
    from engine.formats.converted.proof import proof_bytes

    return proof_bytes(sources, workers)


@contextmanager
def holding_sources() -> Iterator[None]:
    """Drop in the end what is kept of files; what another call has lost by that, it reads again."""
    with holding_lines():
        try:
            yield
        finally:
            forget_all()
