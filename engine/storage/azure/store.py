"""Blobs of one account as a store; see :class:`engine.storage.base.Storage`.

Folders are prefixes, except in accounts with a hierarchical namespace, where they appear in
listings as empty blobs that say so in their metadata; these are never files here. Nothing is
renamed, so both kinds of account work alike. Containers are not created.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from fsspec.utils import glob_translate

from engine.errors import Conflict, Immutable, NoSource
from engine.model import SourceFile
from engine.settings import Access
from engine.storage.access import current
from engine.storage.azure.blocks import LARGEST_PART_BYTES
from engine.storage.azure.client import service
from engine.storage.azure.credentials import Login, login
from engine.storage.azure.refusals import ARCHIVED, REHYDRATING
from engine.storage.azure.requests import with_retries
from engine.storage.azure.sink import AzureSink
from engine.storage.azure.source import AzureSource, described, version_of
from engine.storage.azure.urls import canonical, parse
from engine.storage.base import Entry, Room, glob_root, redacted
from engine.storage.folders import Listed, Listing, folders_above

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

_FOLDER = "hdi_isfolder"
_TOKEN = "evensplit_token"  # metadata: who created a small file
_ARCHIVE, _REHYDRATED = "Archive", "Hot"  # the one tier without a least stay that is charged
_WILDCARDS = set("*?[")


class AzureStorage:
    """One account, opened with one credential."""

    largest_part_bytes: int | None = LARGEST_PART_BYTES
    has_locks = False

    def __init__(self, found: Login, access: Access) -> None:
        self._login = found
        self._access = access
        self._service = service(found)

    @classmethod
    def from_url(cls, url: str) -> tuple[AzureStorage, str]:
        """Return the store of a URL, and the URL in the form that plans keep."""
        place, access = parse(url), current()
        found = login(place, access)
        return cls(found, access), canonical(found.host, place.container, place.path)

    def __reduce__(self) -> NoReturn:
        """Refuse: it holds a secret; a URL is what travels."""
        raise TypeError("a store does not leave its process")

    def join(self, folder: str, *names: str) -> str:
        """Join path components."""
        return "/".join((folder.rstrip("/"), *names))

    def stat(self, path: str) -> SourceFile:
        """Describe a blob."""
        found = self._properties(path)
        if found is None:
            raise NoSource(f"{redacted(path)} is not a file")
        if found.blob_tier == _ARCHIVE:
            self._bring_back(path, found.archive_status)
        return described(path, found)

    def _bring_back(self, path: str, status: str | None) -> NoReturn:
        """Ask for an archived blob if that is wanted, and say how it stands."""
        if not status and not self._access.rehydrate:
            raise ARCHIVED.about(path)
        if not status:
            blob = self._blob(path)
            with_retries(path, lambda: blob.set_standard_blob_tier(_REHYDRATED))
        raise REHYDRATING.about(path)

    def expand(self, pattern: str) -> Listing:
        """List the blobs of a name, folder (with subfolders) or glob."""
        place = parse(pattern)
        if place.path and self._is_file(pattern):
            return Listing(pattern, "file", (Listed(pattern, "", 0, pattern),))
        is_glob = bool(_WILDCARDS & set(place.path)) and not self._holds(pattern, place.path)
        root = glob_root(place.path) if is_glob else place.path
        prefix = root + "/" if root else ""
        wanted = re.compile(glob_translate(place.path)) if is_glob else None

        def listed(name: str, size_bytes: int) -> Listed:
            path = canonical(self._login.host, place.container, name)
            return Listed(path, name[len(prefix) :], size_bytes, path)

        every = {item.name: item.size for item in self._list(pattern, prefix)}
        found = [listed(*item) for item in every.items() if not wanted or wanted.match(item[0])]
        if wanted:
            above = {folder for name in every for folder in folders_above(name, prefix)}
            found += [listed(f"{it}/", 0) for it in above if wanted.match(it)]
        root_url = canonical(self._login.host, place.container, root)
        return Listing(root_url, "glob" if is_glob else "folder", tuple(found))

    def open(self, file: SourceFile) -> AzureSource:
        """Open a described blob."""
        passes = self._access.transfer == "client"
        found = self.stat(file.path)
        return AzureSource(self._login, self._blob(file.path), file, found, passes=passes)

    def create(self, path: str, *, durable: bool) -> AzureSink:
        """Begin a part; what the service has acknowledged is durable."""
        try:
            found = self._properties(path)
        except NoSource:
            return AzureSink(self._blob(path), path, self._access, None)
        if found is None:
            raise NoSource(f"{redacted(path)} is a folder")
        return AzureSink(self._blob(path), path, self._access, found.etag)

    def get(self, path: str) -> bytes | None:
        """Return a small blob's content."""
        blob = self._blob(path)
        try:
            return with_retries(path, lambda: bytes(blob.download_blob().readall()))
        except NoSource:
            return None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a small blob; if the answer was lost, who created it is read back."""
        token = secrets.token_hex(16)
        try:
            self._upload(path, data, overwrite=False, metadata={_TOKEN: token})
        except (Conflict, Immutable):
            found = self._properties(path)
            return found is not None and (found.metadata or {}).get(_TOKEN) == token
        return True

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small blob."""
        self._upload(path, data, overwrite=True)

    def _upload(self, path: str, data: bytes, **options: Any) -> None:
        blob = self._blob(path)
        with_retries(path, lambda: blob.upload_blob(data, validate_content=True, **options))

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Replace a small blob of an ETag."""
        try:
            self._upload(path, data, overwrite=True, **_only(version))
        except (Conflict, NoSource):
            return False
        return True

    def files(self, folder: str) -> list[Entry]:
        """Return the blobs directly inside a folder."""
        return sorted(
            Entry(_last(item.name), item.size, version_of(item.etag))
            for item in self._walk(folder)
            if not hasattr(item, "prefix")
        )

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly inside a folder."""
        return sorted(_last(item.name) for item in self._walk(folder) if hasattr(item, "prefix"))

    def remove(self, path: str, version: str | None = None) -> None:
        """Remove a blob."""
        blob, only = self._blob(path), _only(version)
        with suppress(NoSource, *([Conflict] if only else [])):
            with_retries(path, lambda: blob.delete_blob(delete_snapshots="include", **only))

    def check_removable(self, paths: Iterable[str]) -> None:
        """Nobody can tell."""

    def fence(self, folder: str, names: Collection[str]) -> None:
        """Leave them: blocks of others can be dropped only by showing a blob in their place."""

    def remove_leftovers(self, folder: str) -> None:
        """Nothing to do: blocks that were never committed are the service's to drop."""

    def room(self, folder: str) -> Room | None:
        """Return that nobody can tell."""
        return None

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """No lock: two runs of one plan write the same bytes, and commit each part atomically."""
        return nullcontext()

    def _blob(self, path: str) -> BlobClient:
        place = parse(path)
        if not place.path:
            raise NoSource(f"{redacted(path)} is a container; name something in it")
        return self._service.get_blob_client(place.container, place.path)

    def _properties(self, path: str) -> Any | None:
        """Return a blob's properties, None for a folder. Raises NoSource if there is neither."""
        found = with_retries(path, self._blob(path).get_blob_properties)
        return None if _is_folder(found) else found

    def _is_file(self, path: str) -> bool:
        try:
            return self._properties(path) is not None
        except NoSource:
            return False

    def _holds(self, path: str, name: str) -> bool:
        """Whether a folder has this very name, wildcards included: then it is none of theirs."""
        blobs = self._container(path).list_blobs

        def first() -> bool:
            return (
                next(iter(blobs(name_starts_with=f"{name}/", results_per_page=1)), None) is not None
            )

        try:
            return with_retries(path, first)
        except NoSource:
            return False

    def _list(self, path: str, prefix: str) -> Iterator[Any]:
        container = self._container(path)

        def pages() -> list[Any]:
            return list(container.list_blobs(name_starts_with=prefix, include=["metadata"]))

        return self._entries(path, pages)

    def _walk(self, folder: str) -> Iterator[Any]:
        name = parse(folder).path
        prefix = name + "/" if name else ""
        container = self._container(folder)

        def pages() -> list[Any]:
            found = container.walk_blobs(name_starts_with=prefix, include=["metadata"])
            return list(found)

        return self._entries(folder, pages)

    def _entries(self, path: str, pages: Any) -> Iterator[Any]:
        try:
            found = with_retries(path, pages)
        except NoSource:
            return iter(())
        return (item for item in found if not _is_folder(item))

    def _container(self, path: str) -> ContainerClient:
        return self._service.get_container_client(parse(path).container)


def _only(version: str | None) -> dict[str, Any]:
    """Return the condition that a blob is of a version."""
    from azure.core import MatchConditions

    if version is None:
        return {}
    etag = version.partition(":")[2]
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _is_folder(item: Any) -> bool:
    metadata = getattr(item, "metadata", None) or {}
    return any(key.lower() == _FOLDER and text == "true" for key, text in metadata.items())


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
