"""The only door to files and object stores: ranged reads, streamed writes, publish-once.

:class:`Storage` is the contract; :mod:`engine.storage.local` keeps it on POSIX file systems,
:mod:`engine.storage.azure` on block blobs, :mod:`engine.storage.remote` on any other fsspec file
system. ``tests/engine/storage/test_contract.py`` is one suite run on each. Callers get a store and
a path from :func:`open_storage`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable

from engine.errors import BadSetting, NoSource
from engine.storage.base import PARQUET_SUFFIXES, Entry, PartSink, Source, Storage, redacted

__all__ = [
    "Entry",
    "PartSink",
    "Source",
    "Storage",
    "buffer_bytes",
    "copies_itself",
    "expand_all",
    "open_storage",
]


def open_storage(url: str) -> tuple[Storage, str]:
    """Return the store that a path or URL belongs to, and the path inside it.

    Raises:
        BadSetting: the URL's scheme is unknown, its driver is not installed, or it holds a secret.
    """
    if "\0" in url:
        raise BadSetting(f"{redacted(url)!r} holds a NUL, which no path can")
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
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if colon else url
    store = LocalStorage()
    return store, store.absolute(path)


def copies_itself(url: str) -> bool:
    """Whether the store of a URL can copy ranges between its files without this machine."""
    from engine.storage.azure import is_azure

    return is_azure(url)


def buffer_bytes(urls: Iterable[str]) -> int:
    """Return what a process keeps in memory for requests to the stores of some URLs."""
    from engine.storage.azure import PROCESS_BYTES, is_azure

    return PROCESS_BYTES if any(is_azure(url) for url in urls) else 0


def _check_no_secret(url: str) -> None:
    """Refuse a URL that holds a query or a password: plans and manifests keep the URL."""
    parts = urllib.parse.urlsplit(url)
    password = ":" in parts.netloc.rpartition("@")[0]
    query = parts.query and (parts.scheme in ("http", "https") or "=" in parts.query)
    if password or query or "=" in parts.fragment:
        raise BadSetting(
            f"{redacted(url)} came with a {'password' if password else 'query (SAS)'}, which the "
            "plan would keep on disk; leave it out and give credentials by environment or identity"
        )


def expand_all(patterns: Iterable[str]) -> list[tuple[Storage, str]]:
    """Return the files that sources stand for: arguments in their order, folders sorted.

    Raises:
        NoSource: an argument matches no Parquet file.
    """
    found: list[tuple[Storage, str]] = []
    for pattern in patterns:
        store, path = open_storage(pattern)
        files = store.expand(path)
        if not files:
            raise NoSource(
                f"no Parquet file at {redacted(pattern)}: name a file, a folder that holds "
                f"{'/'.join(PARQUET_SUFFIXES)} files, or a glob"
            )
        found += [(store, file) for file in files]
    return found
