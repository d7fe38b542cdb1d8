"""The contract of a store, and what all implementations share.

What every implementation promises:

* A read returns exactly the bytes asked for or raises; a file that changed since it was described
  raises :class:`~engine.errors.SourceChanged` instead of mixing two versions.
* A :class:`PartSink` shows nothing under its final name before :meth:`PartSink.commit`, and the
  whole part after it; dying anywhere in between leaves at most a hidden temporary file.
* A part replaces only what stood there when it was begun; else :class:`~engine.errors.Conflict`.
* :meth:`Storage.put_if_absent` is atomic: of two callers one wins, and knows it.
* What is replaced or removed by version is left alone if it is another meanwhile. Where that is
  one step with the change, and where there is a moment between the two, docs/decisions/0021 says.
* Only errors of :mod:`engine.errors` come out, and none of their messages holds a secret.
"""

from __future__ import annotations

import io
import re
import sys
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from engine.errors import BadSetting, BadStructure, OverBudget, SourceError
from engine.model import Buffer, SourceFile
from engine.storage.folders import Listing

if TYPE_CHECKING:
    from engine.model import Range

COPY_STEP_BYTES = 8 << 20
GAP_BYTES = 1 << 20  # a request to a store costs about as much time as reading this much
SPARSE_GAP_BYTES = 1 << 10  # where several requests wait at once, and bytes are to be spared
PASSING_GAP_BYTES = 128 << 10  # the same where all bytes pass through this machine anyway
NEAR_BYTES = 64 << 10  # what a small request brings, where all bytes pass through this machine

_MAX_NAMED = 5
_MARKED = re.compile("[?#].*", re.DOTALL)


class Entry(NamedTuple):
    """One file of a folder; ``version`` is what :meth:`Storage.stat` says of it."""

    name: str
    size_bytes: int
    version: str = ""


class Room(NamedTuple):
    """Bytes that a file system has left; ``is_exact``: a byte written takes a byte of them."""

    num_bytes: int
    is_exact: bool


class Source(Protocol):
    """A source file, opened and pinned to the version that was described.

    ``is_remote``: a read is a request to a store.
    """

    file: SourceFile
    is_remote: bool

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``."""

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges, near ones fetched together.

        ``sparse`` says that what lies between them is much more than they are, and not wanted.
        """

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a long range in pieces of a few MiB, in order."""

    def arrow_file(self) -> Any:
        """Return a new random-access file for pyarrow's readers."""

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file is no longer the one that was described."""

    def close(self) -> None:
        """Release the handle."""


class PartSink(Protocol):
    """A part in the making.

    Attributes:
        size_bytes: what has been written.
        notes: what was done otherwise than asked, one sentence each; complete after commit.
    """

    size_bytes: int
    notes: tuple[str, ...]

    def write(self, data: Buffer) -> None:
        """Append bytes; they may be kept for a while, so nobody must change them."""

    def copy(self, source: Source, offset: int, length: int) -> None:
        """Append bytes of a source, without passing them through Python where that can be."""

    def read_back(self, offsets: Sequence[int], length: int) -> list[bytes] | None:
        """Return ``length`` bytes of the part from each offset, fewer only at its end.

        None where that would take a request each, or what was written cannot be read yet.
        """

    def seal(self) -> None:
        """Send what was written, so that little is left for :meth:`commit` to do."""

    def commit(self) -> str | None:
        """Publish under the final name, whole and (if asked for) durable; return the version.

        None if the same bytes stand there already, and are another's.

        Raises:
            Conflict: another has written the file since the part was begun.
        """

    def abort(self) -> None:
        """Throw everything away; harmless after commit."""


class Storage(Protocol):
    """One store. Paths are the store's own, as :func:`open_storage` returned them.

    Attributes:
        largest_part_bytes: a larger part cannot be stored here; None for no limit.
        has_locks: :meth:`lock` keeps other runs out.
    """

    largest_part_bytes: int | None
    has_locks: bool

    def stat(self, path: str) -> SourceFile:
        """Describe a file: size and version. Raises NoSource if there is none."""

    def expand(self, pattern: str) -> Listing:
        """List what a file, folder or glob stands for; :mod:`engine.storage.folders` chooses."""

    def open(self, file: SourceFile) -> Source:
        """Open a file that :meth:`stat` described. Raises SourceChanged if it is another now."""

    def create(self, path: str, *, durable: bool) -> PartSink:
        """Begin a part; ``durable`` waits for the disk at commit."""

    def get(self, path: str) -> bytes | None:
        """Return a small file's content, None if there is none."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a small file whole and durable; False if it exists already."""

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small file, atomically."""

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Replace a small file of a version; False if it is another by now, or there is none."""

    def files(self, folder: str) -> list[Entry]:
        """Return the files directly inside a folder; none if it does not exist."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly inside a folder."""

    def remove(self, path: str, version: str | None = None) -> None:
        """Remove a file, of a version only if one is given; it is no error if there is none."""

    def check_removable(self, paths: Iterable[str]) -> None:
        """Raise NoPermission if some of these files are surely not ours to replace or remove."""

    def fence(self, folder: str, names: Collection[str]) -> None:
        """Cancel what other processes are uploading to these files, where the store can."""

    def remove_leftovers(self, folder: str) -> None:
        """Remove temporary files of runs that died; only while holding :meth:`lock`."""

    def lock(self, folder: str) -> AbstractContextManager[None]:
        """Hold the folder against other runs on this machine; Locked if one is at work."""

    def room(self, folder: str) -> Room | None:
        """Return what is left for files in a folder that exists; None where nobody can tell."""

    def join(self, folder: str, *names: str) -> str:
        """Return the path of something inside a folder."""


def holds_query(parts: urllib.parse.SplitResult) -> bool:
    """Whether what follows ``?`` or ``#`` in a URL is a query, a signature say, and of no name."""
    is_query = bool(parts.query) if parts.scheme in ("http", "https") else "=" in parts.query
    return is_query or "=" in parts.fragment


def redacted(url: str) -> str:
    """Return a URL without what may be secret: query, user and password."""
    if "://" not in url:
        return url
    caches, chained, last = url.rpartition("::")
    if "://" in last:
        url = last
    else:  # it is of a name
        caches = chained = ""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError:  # brackets that close nothing; a password cut by a mark in it is no port
        return f"{caches}{chained}{url.partition('://')[0]}://..."
    user, _, host = parts.netloc.rpartition("@")
    if user and ":" not in user and parts.scheme not in ("http", "https", "ftp"):
        host = parts.netloc  # abfs://container@account: a name, no secret
    marked = None if holds_query(parts) else _MARKED.search(url)
    rest = marked[0] if marked else ""
    if "@" in rest:  # behind a password of digits and a mark
        host, rest = host.partition(":")[0], ""
    return f"{caches}{chained}{parts.scheme}://{host}{parts.path}{rest}"


def check_name(path: str) -> str:
    """Return a path that records can hold: Unicode.

    Raises:
        BadSetting: it is not UTF-8, or not read as such, so that plans, manifests and URLs could
            not name the file.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8" and not path.isascii():
        raise BadSetting(
            f"names are read as {encoding} here, and {readable(path)} may be another one: set "
            "PYTHONUTF8=1, or LC_ALL to a UTF-8 locale (C.UTF-8)"
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadSetting(
            f"the name {readable(path)} is not UTF-8, and records could not hold it: rename it"
        ) from None
    return path


def readable(text: str) -> str:
    """Return text that can be printed: bytes of names that are not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def naming(*paths: str) -> Iterator[None]:
    """See to it that errors about the content of files name one, also about columns they lack.

    Where an error names none of them, and there are several, it is told that it is one of them.
    """
    try:
        yield
    except (SourceError, BadSetting, OverBudget) as error:
        names = list(dict.fromkeys(redacted(path) for path in paths))
        if any(name in str(error) for name in names):
            raise
        where = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
        one_of = "one of " if len(names) > 1 else ""
        raise type(error)(f"{one_of}{where}: {error}") from error


def coalesced(ranges: list[Range], *, gap_bytes: int, most_bytes: int) -> Iterator[list[int]]:
    """Group the positions of ranges so that one read serves each group.

    Ranges in a group lie at most ``gap_bytes`` apart and span at most ``most_bytes`` together
    (unless a single range is longer).
    """
    group: list[int] = []
    start = end = 0
    for position in sorted(range(len(ranges)), key=lambda i: ranges[i].offset):
        this = ranges[position]
        fits = group and this.offset - end <= gap_bytes and this.end - start <= most_bytes
        if group and not fits:
            yield group
            group = []
        if not group:
            start, end = this.offset, this.end
        group.append(position)
        end = max(end, this.end)
    if group:
        yield group


def one_by_one(actions: Iterable[Callable[[], bytes]]) -> Iterator[bytes]:
    """Do actions in order, here."""
    return (action() for action in actions)


def read_coalesced(
    read: Callable[[int, int], bytes],
    ranges: Iterable[Range],
    *,
    gap_bytes: int,
    most_bytes: int = 8 << 20,
    in_order: Callable[[Iterable[Callable[[], bytes]]], Iterator[bytes]] = one_by_one,
) -> list[bytes]:
    """Read many ranges through ``read(offset, length)`` with few calls, in the order given.

    ``in_order`` may make several calls at once; it yields their results in order.
    """
    every = list(ranges)
    places = [place for place, wanted in enumerate(every) if wanted.length]
    wanted = [every[place] for place in places]
    out: list[bytes] = [b""] * len(every)
    groups = list(coalesced(wanted, gap_bytes=gap_bytes, most_bytes=most_bytes))
    starts = [wanted[group[0]].offset for group in groups]
    ends = [max([wanted[i].end for i in group]) for group in groups]
    reads = (partial(read, start, end - start) for start, end in zip(starts, ends, strict=True))
    for group, start, data in zip(groups, starts, in_order(reads), strict=True):
        for i in group:
            out[places[i]] = data[wanted[i].offset - start : wanted[i].end - start]
    return out


def steps(offset: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of consecutive pieces of a range."""
    for begin in range(offset, offset + length, step):
        yield begin, min(step, offset + length - begin)


def read_in_steps(source: Source, offset: int, length: int) -> Iterator[bytes]:
    """Yield a range of a source in pieces, one read after another."""
    return (source.read(*step) for step in steps(offset, length, COPY_STEP_BYTES))


class RangeFile(io.RawIOBase):
    """A source as a Python file, for pyarrow; every read is one of the source's."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(
            whence, self._source.file.size_bytes
        )
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return bytes from the position on, fewer at the end."""
        left = max(self._source.file.size_bytes - self._position, 0)
        data = self._source.read(self._position, left if size < 0 else min(size, left))
        self._position += len(data)
        return data


def check_inside(offset: int, length: int, size_bytes: int) -> None:
    """Refuse a range that is not in the file, before memory is taken for it.

    Raises:
        BadStructure: offsets come from files, and this one's are wrong.
    """
    if offset < 0 or length < 0 or offset + length > size_bytes:
        raise BadStructure(
            f"{length} bytes wanted at {offset}, outside the file's {size_bytes} bytes"
        )


def glob_root(pattern: str) -> str:
    """Return the folder of a glob: everything before the first component with a wildcard."""
    first = min((pattern.find(c) for c in "*?[" if c in pattern), default=len(pattern))
    return pattern[:first].rpartition("/")[0]
