"""The only door to files and object stores: ranged reads, streamed writes, publish-once.

:class:`Storage` is the contract; :mod:`engine.storage.local` keeps it on POSIX file systems,
:mod:`engine.storage.azure` on block blobs, :mod:`engine.storage.remote` on any other fsspec file
system. ``tests/engine/storage/test_contract.py`` is one suite run on each. Callers get a store and
a path from :func:`open_storage`.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple, TypeVar

from engine import system
from engine.at_once import answers
from engine.errors import BadSetting, NoSource, NotPlainFolder, Rehydrating
from engine.model import SourceFile
from engine.partition_values import Kind
from engine.storage import folders
from engine.storage.base import (
    Entry,
    PartSink,
    Source,
    Storage,
    check_name,
    holds_query,
    readable,
    redacted,
)
from engine.storage.iceberg import iceberg_table
from engine.storage.lists import is_list, listed
from engine.storage.tables import delta_table

__all__ = [
    "Entry",
    "Found",
    "PartSink",
    "Source",
    "Storage",
    "buffer_bytes",
    "cancel_uploads",
    "check_destination",
    "check_unchanged",
    "describe_all",
    "expand_all",
    "open_storage",
    "supports_server_side_copy",
]

T = TypeVar("T")
_READ_ONLY = ("http", "https")
_SCHEMES = frozenset(
    "s3 s3a gs gcs http https sftp ssh ftp abfs abfss az memory file".split(),
)
_SLASH_LOST = re.compile(r"(\w+):/(?!/)")


def open_storage(url: str) -> tuple[Storage, str]:
    """Return the store that a path or URL belongs to, and the path inside it.

    Raises:
        BadSetting: the URL's scheme is unknown, its driver is not installed, or it holds a secret.
        UnsupportedSystem: this is Windows.
    """
    system.check()
    _check_no_nul(url)
    scheme, colon, _ = url.partition("://")
    if colon and scheme not in ("file", "local"):
        _check_no_secret(url)
        from engine.storage.azure import AzureStorage, is_azure

        if is_azure(url):
            return AzureStorage.from_url(url)
        from engine.storage.remote import FsspecStorage

        return FsspecStorage.from_url(url)
    from engine.storage.local import LocalStorage

    if not url:
        raise BadSetting("an empty path; name a file, a folder or a URL")
    lost = _SLASH_LOST.match(url)
    if lost and lost[1].lower() in _SCHEMES and not os.path.exists(url):
        raise BadSetting(f"{redacted(url)!r} looks like a URL with one slash too few: {lost[1]}://")
    path = _path_of(url) if colon else url
    store = LocalStorage()
    return store, store.absolute(path)


def _check_no_nul(url: str) -> None:
    if "\0" in url:
        raise BadSetting(f"{redacted(url)!r} holds a NUL, which no path can")


def _path_of(url: str) -> str:
    """Return the path that a ``file://`` URL names, all of it: nothing is cut off or passed over.

    Raises:
        BadSetting: it names another machine, no path, or one with a query or fragment.
    """
    host, slash, path = url.partition("://")[2].partition("/")
    if host not in ("", "localhost") or not slash:
        raise BadSetting(
            f"{url} names {f'the host {host}' if host else 'no path'}; write file:///PATH with "
            "three slashes, or the path alone"
        )
    if mark := next((mark for mark in "?#" if mark in path), ""):
        raise BadSetting(
            f"{url} holds {mark}, where the path of a URL ends; write {urllib.parse.quote(mark)} "
            "if it is of a name, or the path alone"
        )
    path = urllib.parse.unquote(slash + path, errors="surrogateescape")
    _check_no_nul(path)
    return path


def supports_server_side_copy(url: str) -> bool:
    """Whether the store of a URL can copy ranges between its files without this machine."""
    return _is_azure(url)


def check_destination(url: str) -> None:
    """Refuse a destination that cannot be written, before any work.

    Raises:
        BadSetting: it is chained, or of a protocol that only reads.
    """
    scheme, colon, _ = url.partition("://")
    if not colon or _is_azure(url):
        return
    if "::" in scheme or scheme in _READ_ONLY:
        raise BadSetting(
            f"{redacted(url)} can only be read; name a folder, or a URL of a store that takes parts"
        )


def cancel_uploads() -> None:
    """Cancel what this process is uploading: it is about to end, in the middle of parts."""
    sinks = sys.modules.get("engine.storage.remote_sinks")
    if sinks is not None:
        sinks.cancel_uploads()


def buffer_bytes(urls: Iterable[str]) -> int:
    """Return what a process keeps in memory for requests to the stores of some URLs."""
    remote = [url for url in urls if "://" in url]
    azure = [url for url in remote if _is_azure(url)]
    total = 0
    if azure:
        from engine.storage.azure import PROCESS_BYTES

        total += PROCESS_BYTES
    if len(remote) > len(azure):
        from engine.storage.remote import PROCESS_BYTES as REMOTE_BYTES

        total += REMOTE_BYTES
    return total


def _is_azure(url: str) -> bool:
    """Whether a URL is one of Azure's; for a path nothing of Azure's is imported."""
    if "://" not in url:
        return False
    from engine.storage.azure import is_azure

    return is_azure(url)


def _check_no_secret(url: str) -> None:
    """Refuse a URL that holds a query or a password: plans and manifests keep the URL."""
    try:
        parts = urllib.parse.urlsplit(url.rpartition("::")[2])
    except ValueError:
        raise BadSetting(f"{redacted(url)} is no URL: look at its host") from None
    if not parts.scheme:
        raise BadSetting(
            f"{redacted(url)} holds ::, of which drivers make a chain of file systems: rename it"
        )
    password = ":" in parts.netloc.rpartition("@")[0]
    if password or holds_query(parts):
        raise BadSetting(
            f"{redacted(url)} came with a {'password' if password else 'query (SAS)'}, which the "
            "plan would keep on disk; leave it out and give credentials by environment or identity"
        )
    if not parts.netloc and parts.scheme not in ("memory", "file", "local"):
        raise BadSetting(f"{redacted(url)} names no bucket and no host")
    if not url.partition("://")[2].strip("/"):
        raise BadSetting(
            f"{redacted(url)} names no folder and no file; write {parts.scheme}://NAME"
        )


class Found(NamedTuple):
    """What sources stand for.

    Attributes:
        files: arguments in their order, folders sorted, each file once.
        names: of each its path below the source, which is the file's own name where that is named.
        notes: what was passed over, or is taken more than once; a sentence each.
        problems: why the sources' files are not all of what they hold, or more than that.
        partition_columns: columns that are in the paths of the files; perhaps in the files as well.
        partitions: of each file its folders of these columns.
        partition_kinds: their types, where a table's log says them.
        patterns: the sources, with what lists name instead of the lists, and tables instead of
            their metadata files.
    """

    files: tuple[tuple[Storage, str], ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    partition_columns: tuple[str, ...]
    partitions: tuple[str, ...]
    partition_kinds: Mapping[str, Kind]
    patterns: tuple[str, ...]


def expand_all(
    patterns: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Found:
    """Return the files that sources stand for, and what is to be said about them.

    Args:
        patterns: files, folders, globs, metadata files of Iceberg tables, or lists of these
            (``@files.txt``).
        include, exclude: globs of files in folders, as :func:`engine.storage.folders.choose` says.

    Raises:
        NoSource: an argument matches no file of data.
        BadSetting: the name of a file is not UTF-8, or a list cannot be read.
    """
    notes, every = _with_lists(patterns)
    roots = [folders.without_metadata(pattern) for pattern in every]
    places = [open_storage(root) for root, _ in roots]
    names, stores, choices = [], [], []
    listings = _expanded(places)
    is_chosen = partial(folders.is_chosen, include=include, exclude=exclude)
    for (store, path), (root, metadata), listing in zip(places, roots, listings, strict=True):
        choice = folders.choose(listing, include, exclude)
        _take_live(store, choice, metadata, is_chosen)
        choice.decide(_asked(_is_parquet, store, [item.path for item in choice.unknown]))
        problem = bool(choice.listing.loops or choice.tables or choice.formats or choice.datasets)
        if not choice.taken and not problem:
            raise NoSource(folders.nothing_taken(redacted(root), choice))
        names.append(redacted(path))
        stores.append(store)
        choices.append(choice)
    notes += folders.without_twice(choices)
    pairs = list(zip(names, choices, strict=True))
    problems = [folders.refusal(*pair) for pair in pairs]
    problems += [_table_around(*pair) for pair in zip(stores, choices, strict=True)]
    problems += [_removed_problem(*pair) for pair in zip(stores, choices, strict=True)]
    taken = {it for choice in choices for item in choice.taken for it in (item.path, item.real)}
    problems += [
        _split_problem(store, path, choice, _Wanted(is_chosen, taken))
        for (store, path), choice in zip(places, choices, strict=True)
    ]
    notes = [*filter(None, (folders.said(*pair) for pair in pairs)), *notes]
    columns = folders.partition_columns(choices)
    return Found(
        tuple(
            (store, check_name(item.path))
            for store, choice in zip(stores, choices, strict=True)
            for item in choice.taken
        ),
        tuple(
            item.name or item.path.rpartition("/")[2] for choice in choices for item in choice.taken
        ),
        tuple(readable(note) for note in notes),
        tuple(dict.fromkeys(readable(problem) for problem in problems if problem)),
        columns,
        tuple(folders.partition_paths(choices, columns)),
        folders.partition_kinds(choices),
        tuple(root for root, _ in roots),
    )


def check_unchanged(files: Sequence[SourceFile]) -> None:
    """Raise SourceChanged if a described file, wherever it lies, is no longer what it was."""

    def check(file: SourceFile) -> None:
        store, path = open_storage(file.path)
        store.open(SourceFile(path, file.size_bytes, file.version)).close()

    for _ in answers(check, files, is_remote=any("://" in file.path for file in files)):
        pass


def describe_all(files: Sequence[tuple[Storage, str]]) -> list[SourceFile]:
    """Describe files, in order.

    Raises:
        Rehydrating: some are being brought back from an archive; all of these were asked for.
    """

    def describe(place: tuple[Storage, str]) -> SourceFile | Rehydrating:
        store, path = place
        try:
            return store.stat(path)
        except Rehydrating as error:
            return error

    is_remote = any("://" in path for _, path in files)
    found = list(answers(describe, files, is_remote=is_remote))
    waits = [each for each in found if isinstance(each, Rehydrating)]
    if len(waits) > 1:
        raise Rehydrating(f"{len(waits):,} of {len(files):,} files, the first: {waits[0]}")
    if waits:
        raise waits[0]
    return [each for each in found if isinstance(each, SourceFile)]


def _with_lists(patterns: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what is to be said about lists, and sources with what lists name instead of them."""
    notes: list[str] = []
    every: list[str] = []
    for pattern in patterns:
        if not is_list(pattern):
            every.append(pattern)
            continue
        store, path = open_storage(pattern[1:])
        found = listed(redacted(path), store.get(path))
        notes += found.notes
        every += found.sources
    return notes, every


def _expanded(places: Sequence[tuple[Storage, str]]) -> list[folders.Listing]:
    """List what paths stand for; many at once where an answer is mostly waited for."""
    is_remote = any("://" in path for _, path in places)
    return list(answers(lambda place: place[0].expand(place[1]), places, is_remote=is_remote))


def _take_live(
    store: Storage, choice: folders.Choice, metadata: str, is_chosen: Callable[[str], bool]
) -> None:
    """Of a table that is read by its log, or by a metadata file of it, take the live files."""
    listing, kind = choice.listing, choice.tables.get("")
    names = folders.metadata_files(listing)
    if metadata and metadata not in names:
        raise NoSource(f"there is no metadata file {metadata} of a table {redacted(listing.root)}")
    if listing.kind != "folder" or len(choice.tables) > 1 or kind not in folders.READ_BY_LOG:
        return
    try:
        if kind == "Delta" and not metadata:
            choice.take_live(delta_table(listing.root), is_chosen)
        else:
            choice.take_live(iceberg_table(store, listing.root, names, metadata), is_chosen)
    except NotPlainFolder as problem:
        choice.table_problem = str(problem)


class _Wanted(NamedTuple):
    """What is taken of all sources: by names below a source, and the paths of all files."""

    is_chosen: Callable[[str], bool]
    taken: AbstractSet[str]


def _table_around(store: Storage, choice: folders.Choice) -> str | None:
    """Look for the marks of a table where a listing shows none: above it, and beside matches."""
    root = choice.listing.root
    is_wanted = choice.listing.kind == "file" and not folders.is_metadata_file(root)
    if is_wanted or choice.tables or choice.table:
        return None  # a file that is named itself is wanted, whatever lies around it
    places = {item.path.rpartition("/")[0] for item in choice.taken}
    above = dict.fromkeys([root, *places] if choice.listing.kind == "glob" else [])
    for place in (root, *places):
        while folders.is_inside_table(place.rpartition("/")[2]):
            place = place.rpartition("/")[0]
            above[place] = None
    kinds = _asked(_table_at, store, list(above))
    found = ((place, kind) for place, kind in zip(above, kinds, strict=True) if kind)
    return next((folders.table_refusal(redacted(place), kind) for place, kind in found), None)


def _removed_problem(store: Storage, choice: folders.Choice) -> str:
    """Look for files of writes that were undone, by the marks that lie beside them."""
    marks = [it.path for it in folders.committed_marks(choice)]
    return folders.removed_problem(choice, _asked(lambda at, path: at.get(path), store, marks))


def _split_problem(
    store: Storage, path: str, choice: folders.Choice, wanted: _Wanted
) -> str | None:
    """Look for splits that are not whole: what a folder holds then lacks rows.

    Also above the folder of a partition, which may be one of a split. And for splits of what is
    among the sources as well.
    """
    root = choice.listing.root
    around: list[str] = []  # of a file that is named itself none: it is wanted
    if choice.listing.kind == "glob":
        around = list(dict.fromkeys(item.path.rpartition("/")[0] for item in choice.taken))
    elif choice.listing.kind == "folder":
        around = _partitioned(root)
    above = [place for start in around for place in _partitioned(start)]
    inside = [store.join(root, place) if place else root for place in choice.splits]
    held = {item.path for item in choice.listing.entries}
    taken = {item.path for item in choice.taken}
    below = f"{root.rstrip('/')}/"

    def problem(place: str, plan: bytes | None, manifest: bytes | None) -> str:
        def is_lost(name: str) -> bool:
            part = store.join(place, name)
            is_asked = part.startswith(below) and wanted.is_chosen(part.removeprefix(below))
            if choice.listing.kind == "glob":
                is_asked = is_asked and folders.glob_matches(path, part)
            return is_asked and part not in held

        has_parts = any(it.startswith(f"{place.rstrip('/')}/") for it in taken)
        return folders.split_problem(
            redacted(place), plan, manifest, is_lost, lambda it: has_parts and it in wanted.taken
        )

    places = list(dict.fromkeys([*inside, *around, *above]))
    records = _asked(_record_of, store, places)
    found = (problem(place, *record) for place, record in zip(places, records, strict=True))
    return next(filter(None, found), None)


def _partitioned(place: str) -> list[str]:
    """Return the folders above one of a partition, up to the table's."""
    found = []
    while folders.is_partition(place.rpartition("/")[2]):
        place = place.rpartition("/")[0]
        found.append(place)
    return found


def _record_of(store: Storage, place: str) -> tuple[bytes | None, bytes | None]:
    """Return the plan and the manifest of a split, as they lie in its folder."""
    folder = store.join(place, folders.SPLIT_FOLDER)
    plan, manifest = (store.get(store.join(folder, it)) for it in ("plan.json", "manifest.json"))
    return plan, manifest


def _table_at(store: Storage, folder: str) -> str | None:
    inside = store.folders(folder)
    files = store.files(store.join(folder, "metadata")) if "metadata" in inside else []
    return folders.table_kind(inside, [file.name for file in files])


def _is_parquet(store: Storage, path: str) -> bool:
    """Whether a file is Parquet by its content: marks at both ends."""
    source = store.open(store.stat(path))
    try:
        end = source.file.size_bytes - 4
        return source.read(0, 4) == b"PAR1" and source.read(end, 4) in folders.PARQUET_MARKS
    finally:
        source.close()


def _asked(ask: Callable[[Storage, str], T], store: Storage, paths: Sequence[str]) -> list[T]:
    """Ask a store about many paths; at once where an answer is mostly waited for."""
    is_remote = any("://" in path for path in paths)
    return list(answers(partial(ask, store), paths, is_remote=is_remote))
