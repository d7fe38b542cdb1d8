"""What Parquet tells the story: the functions of :class:`engine.formats.Format`.

Imports that cost (pyarrow, sampling) are made where they are needed: a split of whole row groups
does without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from engine.errors import BadSetting
from engine.formats import Compared, Measures
from engine.formats.parquet.folder_columns import with_taken
from engine.formats.parquet.opened import OpenFile, files_held, open_ahead, read_footer_bytes
from engine.formats.parquet.part import write
from engine.model import SourceFile
from engine.part_names import LINE_SUFFIXES
from engine.settings import CODECS, LINE_SETTINGS, Settings
from engine.storage import Source
from engine.storage.base import redacted

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

PRELOAD = ("engine.formats.parquet.writers.make",)
holding_sources = files_held


def settled(
    files: Sequence[SourceFile], settings: Settings, /
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Return the files with the columns that are taken."""
    if given := settings.given(LINE_SETTINGS):
        raise BadSetting(
            f"{given[0]} is for files of lines, and {redacted(files[0].path)} is Parquet: leave it "
            "out"
        )
    if settings.codec is not None and CODECS[settings.codec] < 0:
        raise BadSetting(
            f"--codec {settings.codec} is for files of lines, and {redacted(files[0].path)} is "
            "Parquet: say zstd, snappy, gzip, lz4, brotli or none"
        )
    if settings.name.endswith(LINE_SUFFIXES):
        raise BadSetting(
            f"--name {settings.name!r} lacks the ending by which readers know such files; end "
            "it in .parquet"
        )
    files, columns = with_taken(files, settings.columns)
    if settings.schema == "relaxed" and len(files) > 1:
        from engine.formats.parquet.united import united_sources

        return united_sources(files, columns), settings
    found = tuple(replace(file, columns=columns) for file in files)
    open_ahead(found)
    return found, settings


def notes(files: Sequence[SourceFile], /) -> tuple[str, ...]:
    """Return what is read otherwise than it lies in the files, a sentence each."""
    if not any(file.is_adapted for file in files):
        return ()
    from engine.formats.parquet.united import notes_of

    return notes_of(files)


def top_columns(file: SourceFile, /) -> set[str]:
    """Return the names of the columns that a file itself holds."""
    with closing(OpenFile(file)) as opened:
        return {leaf.path[0] for leaf in opened.footer.leaves}


def agreements(file: SourceFile, texts: Mapping[str, str | None], /) -> dict[str, bool | None]:
    """Return whether columns have one value; see :meth:`engine.formats.Format.agreements`."""
    from engine.formats.parquet.folder_values import agreements

    with closing(OpenFile(file)) as opened:  # thousands may be more than can be open at once
        return agreements(opened, texts)


def measure(files: Sequence[SourceFile], settings: Settings, /, *, revision: int) -> Measures:
    """Read what a plan needs; see :meth:`engine.formats.Format.measure`."""
    from engine.formats.parquet.measures import measured

    return measured(files, settings, revision)


def read_tail(source: Source, /) -> bytes:
    """Return the footer of a part."""
    return read_footer_bytes(source)[0]


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
    from engine.formats.parquet.verifier import verify_parts
    from engine.formats.parquet.verifier.opened import footer_of

    num_columns = len(footer_of(sources[0]).leaves)
    num_values = verify_parts(
        sources,
        parts,
        memory_bytes=memory_bytes,
        workers=workers,
        expected_rows=[rows for rows in expected_rows if rows is not None],
        codec=CODECS.get(str(settings.get("codec"))),
        progress=progress,
    )
    return Compared(num_values, num_columns)


def verify_memory_bytes(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    workers: int,
    memory_bytes: int,
) -> int:
    """Return the projected peak memory of :func:`verify`, the process included."""
    from engine.formats.parquet.verifier import projected_bytes

    return projected_bytes(sources, parts, workers, memory_bytes)
