"""evensplit: one large Parquet file in, equal parts out, at the speed of a file copy.

Five verbs, with the names of the command line's options:

>>> import engine
>>> layout = engine.profile("lineitem.parquet")
>>> plan = engine.plan("lineitem.parquet", target_size="100MB")
>>> result = engine.split("lineitem.parquet", "parts/", target_size="100MB")
>>> proof = engine.verify("parts/")
>>> engine.report("parts/", "report.html")

Files, folders and URLs are given as text, files and folders also as :class:`pathlib.Path`.
Results are frozen dataclasses (:mod:`engine.model`); every error that is raised on purpose is an
:class:`engine.errors.EvensplitError`. What happens is logged under the name ``evensplit``
(:mod:`engine.events`). Modules below the façade may change between versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack

from engine.errors import (
    BadSetting,
    CallError,
    EvensplitError,
    NoPermission,
    OverBudget,
    RetryError,
    SourceChanged,
    SourceError,
)
from engine.places import Place, Sources, patterns_of, place_text
from engine.version import __version__

if TYPE_CHECKING:
    from distributed import Client

    from engine.formats.lines.profiler import LinesProfile
    from engine.formats.parquet.profiler import FileProfile, Profile, Skew
    from engine.formats.parquet.profiler.keys import KeySkew
    from engine.model import Manifest, SourceFile, SplitPlan, SplitResult, Verification
    from engine.options import SourceOptions, SplitOptions
    from engine.settings import Settings
    from engine.splitter import Progress

StorageOptions = Mapping[str, Any] | Sequence[str] | str | None

__all__ = [
    "BadSetting",
    "CallError",
    "EvensplitError",
    "FileProfile",
    "KeySkew",
    "LinesProfile",
    "Manifest",
    "NoPermission",
    "OverBudget",
    "Profile",
    "Progress",
    "RetryError",
    "Settings",
    "Skew",
    "SourceChanged",
    "SourceError",
    "SourceFile",
    "SplitOptions",
    "SplitPlan",
    "SplitResult",
    "Verification",
    "__version__",
    "are_lines",
    "find_sources",
    "make_settings",
    "parse_size",
    "plan",
    "profile",
    "profile_key",
    "profile_lines",
    "report",
    "split",
    "verify",
]


# What is imported only once somebody asks: it costs more than errors and settings.
_LAZY = {
    "FileProfile": "engine.formats.parquet.profiler",
    "KeySkew": "engine.formats.parquet.profiler.keys",
    "LinesProfile": "engine.formats.lines.profiler",
    "Manifest": "engine.model",
    "Profile": "engine.formats.parquet.profiler",
    "Progress": "engine.splitter",
    "Settings": "engine.settings",
    "Skew": "engine.formats.parquet.profiler",
    "SourceFile": "engine.model",
    "SplitOptions": "engine.options",
    "SplitPlan": "engine.model",
    "SplitResult": "engine.model",
    "Verification": "engine.model",
}


def __getattr__(name: str) -> Any:
    """Return one of the façade's types."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Return what Tab completes in a notebook: the façade, and its errors."""
    return sorted({*__all__, "errors"})


def parse_size(text: str | int) -> int:
    """Return bytes from text as users write it: ``"100MB"`` is 10^8, ``"100MiB"`` is 100·2^20."""
    from engine.settings import parse_size as parse

    return parse(text)


def find_sources(src: Sources, **options: Unpack[SourceOptions]) -> tuple[SourceFile, ...]:
    """Return path, size and version of the files that sources stand for; none is opened.

    Args:
        src: a file, folder, glob or URL, or several.
        **options: which files of folders, and how stores are reached, as for
            :func:`make_settings`.
    """
    from engine.options import source_settings_from
    from engine.sources import find_sources as find
    from engine.storage.access import using

    made = source_settings_from(options)
    with using(made.access):
        return find(patterns_of(src), made.include, made.exclude)


def make_settings(**options: Unpack[SplitOptions]) -> Settings:
    """Return frozen settings from options as users write them; see :mod:`engine.options`.

    Raises:
        engine.errors.BadSetting: an option is unknown, a value impossible, or two exclude each
            other.
    """
    from engine.options import settings_from

    return settings_from(options)


def profile(src: Sources, **options: Unpack[SourceOptions]) -> Profile:
    """Return layout and skew of source files, from footers and page indexes alone.

    The profile is a sequence of its files; ``profile.frame("columns")`` gives pandas tables.

    Args:
        src: a file, folder, glob or URL, or several.
        **options: as for :func:`find_sources`.

    Raises:
        engine.errors.EvensplitError: a source is missing or is not Parquet; of files of lines
            :func:`profile_lines` tells.
    """
    from engine.formats.parquet.profiler import profile_files
    from engine.memory import keeping_to
    from engine.options import source_settings_from
    from engine.sources import are_lines as tell
    from engine.storage.access import using

    made = source_settings_from(options)
    wanted = patterns_of(src), made.include, made.exclude
    with using(made.access), keeping_to(None):
        if tell(*wanted):
            raise BadSetting("these are files of lines; call profile_lines")
        return profile_files(*wanted)


def profile_lines(
    src: Sources, *, exact: bool = False, **options: Unpack[SplitOptions]
) -> tuple[LinesProfile, ...]:
    """Return what files of lines are like: dialect, columns, sizes of records along each.

    Args:
        src: a file, folder, glob or URL, or several.
        exact: read all, and count records, instead of looking at some places.
        **options: as for :func:`make_settings`: how lines are told apart, and stores reached.

    Raises:
        engine.errors.EvensplitError: a source is missing or is not of lines.
    """
    from engine.formats.converted.inferred import type_of_json, type_of_texts
    from engine.formats.lines.profiler import Types
    from engine.formats.lines.profiler import profile_lines as profiled
    from engine.storage.access import using

    if options.get("encoding"):
        options["to"] = "parquet"  # which alone reads others than UTF-8
    made = make_settings(**options)
    with using(made.access):
        return profiled(patterns_of(src), made, Types(type_of_texts, type_of_json), exact=exact)


def are_lines(src: Sources, **options: Unpack[SourceOptions]) -> bool:
    """Return whether sources are files of lines, which :func:`profile_lines` tells of.

    Args:
        src: a file, folder, glob or URL, or several.
        **options: as for :func:`find_sources`.
    """
    from engine.options import source_settings_from
    from engine.sources import are_lines as tell
    from engine.storage.access import using

    made = source_settings_from(options)
    with using(made.access):
        return tell(patterns_of(src), made.include, made.exclude)


def profile_key(
    src: Sources,
    column: str,
    *,
    partitions: int = 16,
    workers: int | None = None,
    scheduler: str | None = None,
    **options: Unpack[SourceOptions],
) -> KeySkew:
    """Return how rows spread over the values of a column; the column is decoded, in bounded memory.

    Args:
        src: a file, folder, glob or URL, or several.
        column: its name, ``nested.x`` for one in a group; see
            :mod:`engine.formats.parquet.bytes.column_names`.
        partitions: of the hash partition that is tried.
        workers: row groups at once; one a core if left out.
        scheduler: address of a running Dask scheduler.
        **options: as for :func:`find_sources`.

    Raises:
        engine.errors.BadSetting: there is no such column, or it holds lists.
    """
    from engine.memory import keeping_to
    from engine.options import source_settings_from
    from engine.sources import find_sources as find
    from engine.splitter import profile_key_of
    from engine.storage.access import using

    made = source_settings_from(options)
    with using(made.access), keeping_to(None):
        files = find(patterns_of(src), made.include, made.exclude)
        return profile_key_of(files, column, partitions, workers, scheduler)


def plan(src: Sources, **options: Unpack[SplitOptions]) -> SplitPlan:
    """Return the parts that :func:`split` would write; nothing is written.

    Args:
        src: a file, folder, glob or URL, or several that share one schema.
        **options: as for :func:`make_settings`.
    """
    from engine.splitter import plan_split
    from engine.storage.access import using

    made = make_settings(**options)
    with using(made.access):
        return plan_split(patterns_of(src), made)


def split(
    src: Sources,
    dest: Place,
    *,
    progress: Progress | None = None,
    verify: bool = False,
    client: Client | None = None,
    **options: Unpack[SplitOptions],
) -> SplitResult:
    """Split sources into equal parts in a folder, or finish a split that was begun there.

    Args:
        src: a file, folder, glob or URL, or several that share one schema: their rows, in order,
            are one source.
        dest: folder or URL prefix of the parts; new, empty, or begun by the same plan.
        progress: is told what happens while it does; a notebook shows it if left out, and nothing
            with ``engine.Progress()``.
        verify: prove the parts equal to the source as well, as :func:`verify` does.
        client: of a running Dask cluster that shares the storage; it stays open. Of a script, a
            notebook or another thread; in a task of Dask, ``distributed.get_client()``.
        **options: as for :func:`make_settings`.

    Raises:
        engine.errors.Different: the parts are not equal, with ``verify``.
    """
    from engine.memory import keeping_to
    from engine.splitter import Progress, split_files
    from engine.storage.access import using

    with ExitStack() as stack:
        if client is not None:
            from engine.executors.lent import lent

            options["scheduler"] = stack.enter_context(lent(client))
        if progress is None:
            from engine.notebook import splitting

            progress = stack.enter_context(splitting()) or Progress()
        made = make_settings(**options)
        stack.enter_context(using(made.access))
        stack.enter_context(keeping_to(made.memory_bytes))  # for the proof too
        place = place_text(dest)
        result = split_files(patterns_of(src), place, made, progress, client)
        if not verify:
            return result
        from engine.verification import verify_split

        progress.compared(0)
        proof = verify_split(
            place,
            memory_bytes=made.memory_bytes,
            workers=made.num_workers,
            progress=progress.compared,
        )
        return replace(result, verification=proof)


def verify(
    dest: Place,
    *,
    workers: int | None = None,
    memory: str | int | None = None,
    credential: str = "auto",
    storage_options: StorageOptions = None,
    progress: Callable[[int], None] | None = None,
    repair: bool = False,
    allow_other_files: bool = False,
) -> Verification:
    """Prove that the parts in a folder equal the source: schema, metadata, every value, in order.

    Args:
        dest: folder of a finished split.
        workers: columns compared at once.
        memory: budget for this machine.
        credential, storage_options: as for :func:`make_settings`.
        progress: is called with the number of values compared since the last call; a notebook
            shows it if left out.
        repair: write parts anew that are missing or differ, each once, and prove all again.
        allow_other_files: the folder may hold files that are no part of the split.

    Raises:
        engine.errors.OtherFiles: it holds such files, and readers of the folder would take them.
        engine.errors.Different: they do not; the message names column, row and part.
    """
    from engine.errors import Different
    from engine.memory import keeping_to
    from engine.settings import parse_size
    from engine.splitter import repair_part
    from engine.storage.access import using
    from engine.verification import verify_split

    access = make_settings(credential=credential, storage_options=storage_options).access
    budget = None if memory is None else parse_size(memory)
    tried, repaired = set[str](), list[str]()
    with ExitStack() as stack, keeping_to(budget):
        stack.enter_context(using(access))
        if progress is None:
            from engine.notebook import verifying

            progress = stack.enter_context(verifying())
        place = place_text(dest)
        while True:
            try:
                proof = verify_split(
                    place,
                    memory_bytes=budget,
                    workers=workers,
                    progress=progress,
                    allow_other_files=allow_other_files,
                )
            except Different as error:
                if not repair or error.part is None or error.part in tried:
                    raise
                tried.add(error.part)
                repaired += repair_part(place, error.part, memory_bytes=budget, num_workers=workers)
            else:
                return replace(proof, repaired=tuple(dict.fromkeys(repaired)))


def report(
    place: Place, path: Place, *, verify: bool = False, **options: Unpack[SplitOptions]
) -> None:
    """Write one HTML page, which needs no network, about a source or about a split.

    Args:
        place: a file, folder, glob or URL: what lies there, and what a split would do; or the
            folder of a split: the source, the plan, the parts, memory.
        path: the page, a local file; replaced if it is there and a page.
        verify: compare all values of a finished split as :func:`verify` does, and tell the outcome.
        **options: as for :func:`make_settings`, of the split that is planned for a source.

    Raises:
        engine.errors.BadSetting: Bokeh is not installed, or another file or a folder is there.
    """
    try:
        from engine.reporter import make_report
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"a report needs {error.name}, which is not installed: pip install 'evensplit[report]'"
        ) from error
    from engine.memory import keeping_to
    from engine.storage import open_storage
    from engine.storage.access import using

    made = make_settings(**options)
    store, inside = open_storage(place_text(path))
    _check_output(inside)
    with using(made.access), keeping_to(made.memory_bytes):
        page = make_report(place_text(place), made, verify=verify)
    # A file's name may hold bytes that are no letters.
    store.put(inside, page.encode(errors="backslashreplace"))


def _check_output(path: str) -> None:
    """Refuse to replace what is no page by one: the source, say, whose name comes twice."""
    import os

    if os.path.isdir(path):
        raise BadSetting(f"--output {path} is a folder; name a file in it")
    if os.path.isfile(path) and os.access(path, os.R_OK):
        with open(path, "rb") as file:
            begin = file.read(64)
        if begin and b"<!doctype html" not in begin.lower():
            raise BadSetting(f"--output {path} is there, and is no HTML page; name another file")
