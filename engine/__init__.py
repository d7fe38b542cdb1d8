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
:class:`engine.errors.EvensplitError`. Modules below the façade may change between versions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Unpack

from engine.errors import (
    BadSetting,
    EvensplitError,
    NoJob,
    NoNodes,
    NoPermission,
    OverBudget,
    OverQuota,
    PoolDiffers,
    PoolTooSmall,
    RetryError,
    RunnerLost,
    ServiceFailed,
    SourceChanged,
    SourceError,
    TasksFailed,
    TasksInterrupted,
)
from engine.version import __version__
from engine.wording import shown

if TYPE_CHECKING:
    from engine.formats.parquet.profiler import FileProfile as FileProfile
    from engine.formats.parquet.profiler import Profile as Profile
    from engine.formats.parquet.profiler import Skew as Skew
    from engine.formats.parquet.profiler.keys import KeySkew as KeySkew
    from engine.model import SourceFile, SplitPlan, SplitResult, Verification
    from engine.options import SplitOptions as SplitOptions
    from engine.settings import Settings
    from engine.splitter import Progress as Progress

__all__ = [
    "BadSetting",
    "EvensplitError",
    "NoJob",
    "NoNodes",
    "NoPermission",
    "OverBudget",
    "OverQuota",
    "PoolDiffers",
    "PoolTooSmall",
    "Progress",
    "RetryError",
    "RunnerLost",
    "ServiceFailed",
    "SourceChanged",
    "SourceError",
    "TasksFailed",
    "TasksInterrupted",
    "__version__",
    "find_sources",
    "make_error",
    "make_settings",
    "parse_size",
    "plan",
    "profile",
    "profile_key",
    "put_file",
    "report",
    "run_memory_bytes",
    "shown",
    "split",
    "verify",
]

Place = str | os.PathLike[str]
Sources = Place | Iterable[Place]


def __getattr__(name: str) -> Any:
    """Return what is imported only once somebody asks: it costs more than errors and settings."""
    if name == "Progress":
        from engine.splitter import Progress

        return Progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_size(text: str | int) -> int:
    """Return bytes from text as users write it: ``"100MB"`` is 10^8, ``"100MiB"`` is 100·2^20."""
    from engine.settings import parse_size as parse

    return parse(text)


def make_error(kind: str, message: str) -> EvensplitError:
    """Return an error that another process told as :meth:`EvensplitError.as_dict`."""
    from engine.errors import register

    return register()[kind](message)


def find_sources(src: Sources, *, credential: str = "auto") -> tuple[SourceFile, ...]:
    """Return path, size and version of the files that sources stand for; none is opened.

    Args:
        src: a file, folder, glob or URL, or several.
        credential: as for :func:`make_settings`.
    """
    from engine.settings import Access
    from engine.splitter import find_sources as find
    from engine.storage.access import using

    with using(Access(credential)):
        return find(_patterns(src))


def put_file(url: Place, data: bytes, *, credential: str = "auto") -> bool:
    """Create a small file, whole and durable; False if there is one already.

    Args:
        url: a path or URL of any store that :func:`split` can write to.
        data: its content.
        credential: as for :func:`make_settings`.
    """
    from engine.settings import Access
    from engine.storage import open_storage
    from engine.storage.access import using

    with using(Access(credential)):
        store, path = open_storage(_place(url))
        return store.put_if_absent(path, data)


def run_memory_bytes(plan: SplitPlan, dest: Place, **options: Unpack[SplitOptions]) -> int:
    """Return the least memory that :func:`split` of a plan takes, one part at a time, all included.

    Args:
        plan: what :func:`plan` returned for the same settings.
        dest: folder or URL prefix of the parts.
        **options: as for :func:`make_settings`.
    """
    from engine.splitter import least_run_bytes

    return least_run_bytes(plan, _place(dest), make_settings(**options))


def make_settings(**options: Unpack[SplitOptions]) -> Settings:
    """Return frozen settings from options as users write them; see :mod:`engine.options`.

    Raises:
        engine.errors.BadSetting: an option is unknown, a value impossible, or two exclude each
            other.
    """
    from engine.options import settings_from

    return settings_from(options)


def profile(src: Sources, *, credential: str = "auto") -> Profile:
    """Return layout and skew of source files, from footers and page indexes alone.

    The profile is a sequence of its files; ``profile.frame("columns")`` gives pandas tables.

    Args:
        src: a file, folder, glob or URL, or several.
        credential: as for :func:`make_settings`.

    Raises:
        engine.errors.EvensplitError: a source is missing or is not Parquet.
    """
    from engine.formats.parquet.profiler import profile_files
    from engine.settings import Access
    from engine.storage.access import using

    with using(Access(credential)):
        return profile_files(_patterns(src))


def profile_key(
    src: Sources,
    column: str,
    *,
    partitions: int = 16,
    workers: int | None = None,
    scheduler: str | None = None,
    credential: str = "auto",
) -> KeySkew:
    """Return how rows spread over the values of a column; the column is decoded, in bounded memory.

    Args:
        src: a file, folder, glob or URL, or several.
        column: its name, ``nested.x`` for one in a group; see
            :mod:`engine.formats.parquet.bytes.column_names`.
        partitions: of the hash partition that is tried.
        workers: row groups at once; one a core if left out.
        scheduler: address of a running Dask scheduler.
        credential: as for :func:`make_settings`.

    Raises:
        engine.errors.BadSetting: there is no such column, or it holds lists.
    """
    from engine.settings import Access
    from engine.splitter import profile_key_of
    from engine.storage.access import using

    access = Access(credential)
    with using(access):
        return profile_key_of(_patterns(src), column, partitions, workers, scheduler)


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
        return plan_split(_patterns(src), made)


def split(
    src: Sources,
    dest: Place,
    *,
    progress: Progress | None = None,
    verify: bool = False,
    **options: Unpack[SplitOptions],
) -> SplitResult:
    """Split sources into equal parts in a folder, or finish a split that was begun there.

    Args:
        src: a file, folder, glob or URL, or several that share one schema: their rows, in order,
            are one source.
        dest: folder or URL prefix of the parts; new, empty, or begun by the same plan.
        progress: is told what happens while it does.
        verify: prove the parts equal to the source as well, as :func:`verify` does.
        **options: as for :func:`make_settings`.

    Raises:
        engine.errors.Different: the parts are not equal, with ``verify``.
    """
    from engine.splitter import split_files
    from engine.storage.access import using

    made = make_settings(**options)
    with using(made.access):
        place = _place(dest)
        result = split_files(_patterns(src), place, made, progress)
        if not verify:
            return result
        from engine.verification import verify_split

        proof = verify_split(
            place, memory_bytes=made.memory_bytes, workers=made.num_workers, progress=None
        )
        return replace(result, verification=proof)


def verify(
    dest: Place,
    *,
    workers: int | None = None,
    memory: str | int | None = None,
    credential: str = "auto",
    progress: Callable[[int], None] | None = None,
    repair: bool = False,
) -> Verification:
    """Prove that the parts in a folder equal the source: schema, metadata, every value, in order.

    Args:
        dest: folder of a finished split.
        workers: columns compared at once.
        memory: budget for this machine.
        credential: as for :func:`make_settings`.
        progress: is called with the number of values compared since the last call.
        repair: write parts anew that are missing or differ, each once, and prove all again.

    Raises:
        engine.errors.Different: they do not; the message names column, row and part.
    """
    from engine.errors import Different
    from engine.settings import Access, parse_size
    from engine.splitter import repair_part
    from engine.storage.access import using
    from engine.verification import verify_split

    budget = None if memory is None else parse_size(memory)
    repaired: dict[str, None] = {}
    with using(Access(credential)):
        place = _place(dest)
        while True:
            try:
                proof = verify_split(place, memory_bytes=budget, workers=workers, progress=progress)
            except Different as error:
                if not repair or error.part is None or error.part in repaired:
                    raise
                repair_part(place, error.part, memory_bytes=budget, num_workers=workers)
                repaired[error.part] = None
            else:
                return replace(proof, repaired=tuple(repaired))


def report(
    place: Place, path: Place, *, verify: bool = False, **options: Unpack[SplitOptions]
) -> None:
    """Write one HTML page, which needs no network, about a source or about a split.

    Args:
        place: a file, folder, glob or URL: what lies there, and what a split would do; or the
            folder of a split: the source, the plan, the parts, memory.
        path: the page, a local file; replaced if it is there.
        verify: compare all values of a finished split as :func:`verify` does, and tell the outcome.
        **options: as for :func:`make_settings`, of the split that is planned for a source.

    Raises:
        engine.errors.BadSetting: Bokeh is not installed.
    """
    try:
        from engine.reporter import make_report
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"a report needs {error.name}, which is not installed: pip install 'evensplit[report]'"
        ) from error
    from engine.storage import open_storage
    from engine.storage.access import using

    made = make_settings(**options)
    with using(made.access):
        page = make_report(_place(place), made, verify=verify)
    store, inside = open_storage(_place(path))
    # A file's name may hold bytes that are no letters.
    store.put(inside, page.encode(errors="backslashreplace"))


def _patterns(src: Sources) -> list[str]:
    if isinstance(src, str | bytes | os.PathLike) or not isinstance(src, Iterable):
        return [_place(src)]
    return [_place(item) for item in src]


def _place(place: object) -> str:
    """Return a path or URL as text, whatever of :data:`Place` it is."""
    if isinstance(place, os.PathLike):
        text = os.fspath(place)
        if isinstance(place, PurePath) and re.match(r"[A-Za-z][\w+.-]+:/", str(text)):
            raise BadSetting(
                f"{text!r} looks like a URL that was made a path, which loses a slash; give URLs "
                "as text"
            )
        place = text
    if not isinstance(place, str):
        raise BadSetting(
            f"{place!r} is no path; give text, or a pathlib.Path (os.fsdecode turns bytes into "
            "text)"
        )
    return place
