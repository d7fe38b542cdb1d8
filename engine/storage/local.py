"""Files on a POSIX file system: copied inside the kernel, published by rename.

A part grows under a hidden temporary name (``.NAME.TOKEN.tmp``) in its own folder and is renamed
once it is complete; with ``durable`` it is synced first, and its folder after. Write-back is
started while the part still grows, so that the final sync finds little left to do.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from operator import eq
from typing import Any

from engine import endings, system
from engine.errors import (
    BadSetting,
    BadStructure,
    Conflict,
    EvensplitError,
    Locked,
    NoDiskSpace,
    NoPermission,
    NoSource,
    SourceChanged,
    StorageFailed,
)
from engine.model import Buffer, Range, SourceFile
from engine.storage.base import (
    COPY_STEP_BYTES,
    Entry,
    Room,
    Source,
    check_inside,
    check_name,
    glob_root,
    read_coalesced,
    read_in_steps,
)
from engine.storage.folders import Listed, Listing, hidden_folder

WRITE_BACK_STEP_BYTES = 8 << 20
_GATHERED_BYTES = 1 << 20  # of small pieces, written by one call
_MAX_GATHERED = 512  # half of what the kernel takes at once
_NO_KERNEL_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_LOCK_NAME = ".lock"
_GAP_BYTES = 64 << 10
# Others compress, share blocks, or tell of another machine's disk: what fits is not known there.
_PLAIN_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "tmpfs", "vfat", "exfat"}
_MAX_APART_BYTES = 64 << 10


@contextmanager
def os_errors(path: str, tried: str = "write") -> Iterator[None]:
    """Turn operating system errors into errors of the tree; ``tried`` as for :func:`translated`."""
    try:
        yield
    except OSError as error:
        raise translated(error, path, tried) from error


def translated(error: OSError, path: str, tried: str = "write") -> EvensplitError:
    """Return the error of the tree that an operating system error stands for.

    Args:
        error: as the system raised it.
        path: what was asked for.
        tried: what was to be done with it, as a verb: reach, list, read, write, remove.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoDiskSpace(
            f"no space left while writing {path}; free some, then run the same command again: "
            "finished parts are kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _denied(path, tried, os.strerror(error.errno))
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return NoSource(f"{path}: {os.strerror(error.errno).lower()}")
    if error.errno == errno.ENAMETOOLONG:
        return BadSetting(f"{path} has a name that is too long for its file system; shorten it")
    way = "raise ulimit -n, or lower --workers, and " if error.errno == errno.EMFILE else ""
    return StorageFailed(f"{path}: {error.strerror or error}; {way}run the same command again")


def _denied(path: str, tried: str, reason: str) -> NoPermission:
    return NoPermission(
        f"no permission to {tried} {path} ({reason}); have its owner allow it, or name another"
    )


class LocalSource:
    """A local file held open; see :class:`engine.storage.base.Source`."""

    is_remote = False

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        with os_errors(file.path, "read"):
            self.descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._compare(os.fstat(self.descriptor))
        except SourceChanged:
            self.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes; BadStructure if the file has fewer."""
        check_inside(offset, length, self.file.size_bytes)
        with os_errors(self.file.path, "read"):
            data = os.pread(self.descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self.descriptor, length - len(data), offset + len(data))
                if not more:
                    raise BadStructure(f"{length} bytes wanted at {offset}, past the file's end")
                data += more
        return data

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return the bytes of several ranges."""
        every = list(ranges)
        # Tens of thousands of page headers, say: to join some takes longer than to read them.
        found = self._read_apart(every) if sparse else None
        return read_coalesced(self.read, every, gap_bytes=_GAP_BYTES) if found is None else found

    def _read_apart(self, ranges: Sequence[Range]) -> list[bytes] | None:
        """Return the bytes of small ranges, one by one; None if they are not small, or not there.

        What is wrong is told with its place by others.
        """
        if any(place.offset < 0 or place.length > _MAX_APART_BYTES for place in ranges):
            return None
        with os_errors(self.file.path, "read"):
            found = [os.pread(self.descriptor, length, offset) for offset, length in ranges]
        is_whole = all(map(eq, map(len, found), [place.length for place in ranges]))
        return found if is_whole else None

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces."""
        return read_in_steps(self, offset, length)

    def arrow_file(self) -> Any:
        """Return a file that pyarrow reads without Python."""
        import pyarrow

        with os_errors(self.file.path, "read"):
            return pyarrow.OSFile(self.file.path)

    def check_unchanged(self) -> None:
        """Compare what now stands at the path with what was described."""
        with os_errors(self.file.path, "read"):
            self._compare(os.stat(self.file.path))

    def close(self) -> None:
        """Close the descriptor."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _compare(self, found: os.stat_result) -> None:
        if (found.st_size, _version(found)) != (self.file.size_bytes, self.file.version):
            sizes = f"{self.file.size_bytes:,} bytes then, {found.st_size:,} now"
            if found.st_size == self.file.size_bytes:
                sizes = "as large as then, but written anew"
            raise SourceChanged(
                f"{self.file.path} changed since it was planned ({sizes}); split again, with "
                "--overwrite for the same destination"
            )


def _by_reference(source: int, sink: int, offset: int, length: int) -> int:
    """Copy within a file system, which may share blocks or ask its server to copy."""
    return os.copy_file_range(source, sink, length, offset)


def _by_pages(source: int, sink: int, offset: int, length: int) -> int:
    """Copy from one file system to another."""
    return os.sendfile(sink, source, offset, length)


_KERNEL_COPIES = (_by_reference, _by_pages)


class LocalSink:
    """A growing local part; see :class:`engine.storage.base.PartSink`."""

    def __init__(self, path: str, *, durable: bool) -> None:
        self.size_bytes = 0
        self.notes: tuple[str, ...] = ()
        self._path = path
        self._durable = durable
        self._was = _version_at(path)
        self._written_back = 0
        self._gathered: list[Buffer] = []
        self._gathered_bytes = 0
        self._reading = -1  # another descriptor: some file systems take none for both
        folder, name = os.path.split(path)
        self._temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
        with os_errors(path):
            _make_folder(folder, durable=durable)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with endings.remembered(partial(os.unlink, self._temporary)) as self._ending:
                self._descriptor = os.open(self._temporary, flags, 0o666)
        self._is_open = True

    def write(self, data: Buffer) -> None:
        """Append bytes: small pieces are gathered before they are written."""
        num_bytes = len(data)
        if not num_bytes:
            return
        self._gathered.append(data)
        self._gathered_bytes += num_bytes
        self.size_bytes += num_bytes
        if self._gathered_bytes >= _GATHERED_BYTES or len(self._gathered) == _MAX_GATHERED:
            self._write_gathered()

    def _write_gathered(self) -> None:
        views = [memoryview(data) for data in self._gathered]
        self._gathered.clear()
        self._gathered_bytes = 0
        with os_errors(self._path):
            while views:
                written = os.writev(self._descriptor, views)
                while views and written >= len(views[0]):
                    written -= len(views.pop(0))
                if written:
                    views[0] = views[0][written:]
        self._start_write_back()

    def copy(self, source: Source, offset: int, length: int) -> None:
        """Append bytes of a source; inside the kernel if it is a local file."""
        end = offset + length
        self._write_gathered()
        if isinstance(source, LocalSource):
            offset = self._kernel_copy(source, offset, end)
        for data in source.chunks(offset, end - offset):
            self.write(data)

    def _kernel_copy(self, source: LocalSource, offset: int, end: int) -> int:
        """Copy as far as the kernel can; return where it stopped."""
        if not hasattr(os, "copy_file_range"):  # macOS, where sendfile is for sockets alone
            return offset
        for copy in _KERNEL_COPIES:
            while offset < end:
                step = min(COPY_STEP_BYTES, end - offset)
                try:
                    copied = copy(source.descriptor, self._descriptor, offset, step)
                except OSError as error:
                    if error.errno in _NO_KERNEL_COPY:
                        break
                    raise translated(error, self._path) from error
                if copied == 0:  # the end of the file, or a file system that cannot: read() tells
                    break
                offset += copied
                self.size_bytes += copied
                self._start_write_back()
        return offset

    def _start_write_back(self) -> None:
        todo = self.size_bytes - self._written_back
        if not self._durable or todo < WRITE_BACK_STEP_BYTES or system.start_write_back is None:
            return
        # A hint: a failure here shows again, and is handled, at the final fsync.
        system.start_write_back(self._descriptor, self._written_back, todo)
        self._written_back = self.size_bytes

    def read_back(self, offsets: Sequence[int], length: int) -> list[bytes] | None:
        """Return bytes of the part; None where the file system shows them only when it is closed.

        They are read, not mapped: a map that cannot be read ends the process.
        """
        self._write_gathered()
        if self._reading < 0:
            try:
                self._reading = os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None
        read, descriptor = os.pread, self._reading
        with os_errors(self._path):
            if os.fstat(descriptor).st_size != self.size_bytes:
                return None
            return [read(descriptor, length, at) if at >= 0 else b"" for at in offsets]

    def seal(self) -> None:
        """Write what is gathered, and sync."""
        self._write_gathered()
        if self._durable:
            with os_errors(self._path):
                system.sync(self._descriptor)

    def commit(self) -> str:
        """Sync, give it its name, sync the folder.

        A rename would replace whatever stands there; a second name is refused where one is.
        """
        self.seal()
        with os_errors(self._path):
            version = _version(os.fstat(self._descriptor))  # later it might be another's
            self._close()
            if self._was is not None and _version_at(self._path) == self._was:
                os.rename(self._temporary, self._path)
            else:
                try:
                    os.link(self._temporary, self._path)
                except FileExistsError as error:
                    raise taken(self._path) from error
                os.unlink(self._temporary)
            endings.forget(self._ending)
            self._is_open = False
            if self._durable:
                _sync_folder(os.path.dirname(self._path))
        return version

    def _close(self) -> None:
        """Close once, whatever comes of it: the number may be another thread's file by then."""
        reading, self._reading = self._reading, -1
        if reading >= 0:
            with suppress(OSError):  # nothing was written by it
                os.close(reading)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def abort(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            self._close()
        if self._is_open:
            self._is_open = False
            with suppress(FileNotFoundError), os_errors(self._path, "remove"):
                os.unlink(self._temporary)
            endings.forget(self._ending)


class LocalStorage:
    """Local files; see :class:`engine.storage.base.Storage`."""

    largest_part_bytes: int | None = None
    has_locks = True

    def absolute(self, path: str) -> str:
        """Return the absolute path, with ``~`` expanded and links kept.

        Raises:
            BadSetting: it is not UTF-8.
        """
        return check_name(os.path.abspath(os.path.expanduser(path)))

    def join(self, folder: str, *names: str) -> str:
        """Join path components."""
        return os.path.join(folder, *names)

    def stat(self, path: str) -> SourceFile:
        """Describe a regular file."""
        with os_errors(path, "reach"):
            found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise NoSource(f"{path} is not a file")
        return SourceFile(path, found.st_size, _version(found))

    def expand(self, pattern: str) -> Listing:
        """List a file, folder (with subfolders) or glob."""
        if os.path.isfile(pattern):
            return Listing(pattern, "file", (_listed(pattern, ""),))
        if os.path.isdir(pattern):
            return _walk(pattern)
        if not glob.has_magic(pattern):
            _check_reached(pattern)
            return Listing(pattern, "file")
        root = glob_root(pattern)
        if not os.path.isdir(root or "/"):
            _check_reached(root)
            return Listing(root, "glob")
        if not os.access(root or "/", os.R_OK | os.X_OK, effective_ids=True):
            raise _denied(root, "list", os.strerror(errno.EACCES))
        if "**" in pattern:  # glob.glob would follow links in circles
            from fsspec.utils import glob_translate

            wanted, found = re.compile(glob_translate(pattern)), _walk(root)
            entries = tuple(item for item in found.entries if wanted.match(item.path))
            return found._replace(kind="glob", entries=entries)
        below = len(root) + 1
        every = (_matched(path, path[below:]) for path in _glob(pattern))
        return Listing(root, "glob", tuple(filter(None, every)))

    def open(self, file: SourceFile) -> LocalSource:
        """Open a described file."""
        return LocalSource(file)

    def create(self, path: str, *, durable: bool) -> LocalSink:
        """Begin a part."""
        return LocalSink(path, durable=durable)

    def get(self, path: str) -> bytes | None:
        """Return a small file's content; None also for what is no file, a pipe say."""
        try:
            # Without waiting: a pipe would wait for somebody who writes.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read()
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise translated(error, path, "read") from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a small file by hard link, which fails if the name is taken."""
        return self._put(path, data, durable=True, exclusive=True)

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace a small file by rename."""
        self._put(path, data, durable=durable, exclusive=False)

    def _put(self, path: str, data: bytes, *, durable: bool, exclusive: bool) -> bool:
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
        with os_errors(path):
            _make_folder(folder, durable=durable)
            with endings.remembered(partial(os.unlink, temporary)) as ending:
                file = open(temporary, "xb")  # noqa: SIM115 - closed below, where it is written
            try:
                with file:
                    file.write(data)
                    file.flush()
                    if durable:
                        system.sync(file.fileno())
                if not exclusive:
                    os.rename(temporary, path)
                else:
                    try:
                        os.link(temporary, path)
                    except FileExistsError:
                        return False
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
                endings.forget(ending)
            if durable:
                _sync_folder(folder)
        return True

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Compare, and replace: between the two is a moment, but runs hold :meth:`lock`."""
        if _version_at(path) != version:
            return False
        return self._put(path, data, durable=True, exclusive=False)

    def files(self, folder: str) -> list[Entry]:
        """Return the files directly inside a folder, hidden ones included."""
        try:
            with os.scandir(folder) as entries:
                found = [_entry(entry) for entry in entries if os.path.isfile(entry.path)]
        except FileNotFoundError as error:
            if _lies_behind_a_broken_link(folder):
                raise translated(error, folder, "list") from error
            return []
        except OSError as error:
            raise translated(error, folder, "list") from error
        return sorted(found)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly inside a folder."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if _is_folder(entry))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise translated(error, folder, "list") from error

    def remove(self, path: str, version: str | None = None) -> None:
        """Remove a file; a version is compared the moment before."""
        if version is not None and _version_at(path) != version:
            return
        with os_errors(path, "remove"), suppress(FileNotFoundError):
            os.unlink(path)

    def check_removable(self, paths: Iterable[str]) -> None:
        """Look whether each folder is writable, and whose files are if it is sticky as /tmp is."""
        user = os.geteuid()
        for folder, inside in groupby(sorted(paths), os.path.dirname):
            with os_errors(folder, "reach"):
                found = os.stat(folder)
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                raise _denied(folder, "write", os.strerror(errno.EACCES))
            if not found.st_mode & stat.S_ISVTX or user in (0, found.st_uid):
                continue
            for path in inside:
                with os_errors(path, "reach"), suppress(FileNotFoundError):
                    if os.lstat(path).st_uid != user:
                        raise _denied(path, "remove", os.strerror(errno.EPERM))

    def fence(self, folder: str, names: Collection[str]) -> None:
        """Nothing to do: :meth:`lock` keeps other runs out."""

    def remove_leftovers(self, folder: str) -> None:
        """Remove temporary files of runs that died."""
        for entry in self.files(folder):
            if fnmatch.fnmatch(entry.name, ".*.????????.tmp"):
                self.remove(os.path.join(folder, entry.name))

    def room(self, folder: str) -> Room:
        """Return what the file system has left for this user; quotas may leave less."""
        with os_errors(folder):
            found = os.statvfs(folder)
        blocks = found.f_bavail if os.geteuid() else found.f_bfree
        return Room(blocks * found.f_frsize, _kind_of_file_system(folder) in _PLAIN_FILE_SYSTEMS)

    @contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        """Hold an advisory lock, which the kernel drops when the process ends in any way."""
        with os_errors(folder):
            _make_folder(folder, durable=True)
            descriptor = os.open(os.path.join(folder, _LOCK_NAME), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not system.try_lock(descriptor):
                raise Locked(
                    f"another run is at work in {os.path.dirname(folder)}; wait for it to end"
                )
            yield
        finally:
            os.close(descriptor)


def _check_reached(path: str) -> None:
    """Raise NoPermission if nobody lets us see what a path is, NoSource if it is of no use."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError as error:
        raise translated(error, path, "reach") from error
    except OSError:
        if os.path.islink(path):
            raise NoSource(
                f"{path} is a link to {os.readlink(path)}, which leads nowhere"
            ) from None
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise NoSource(f"{path} is no file but a pipe, a socket or a device: write it to a file")


def _kind_of_file_system(folder: str) -> str:
    """Return its name as the kernel lists it, empty if it does not."""
    import psutil

    real = os.path.realpath(folder) + "/"
    mounts = {item.mountpoint: item.fstype for item in psutil.disk_partitions(all=True)}
    around = (place for place in mounts if real.startswith(place.rstrip("/") + "/"))
    return mounts.get(max(around, key=len, default=""), "")


def _walk(root: str) -> Listing:
    """List all below a folder; hidden folders are not entered, and no other one twice.

    Links to folders come last, so that what they lead to is known by its own name.
    """
    entries: list[Listed] = []
    loops: list[str] = []
    seen: set[str] = set()
    todo, links = [(root, "", os.path.realpath(root))], list[tuple[str, str, str]]()
    while todo or links:
        if todo:
            path, name, real = todo.pop()
        else:
            path, name, above = links.pop(0)
            real = os.path.realpath(path)
            if f"{above}/".startswith(f"{real.rstrip('/')}/"):
                loops.append(path)
                continue
        if real in seen:
            entries.append(Listed(path, name, 0, real, is_seen=True))
            continue
        seen.add(real)
        for entry in _scanned(path):
            inside = (entry.path, f"{name}{entry.name}/", os.path.join(real, entry.name))
            if not _is_folder(entry):
                own = None if entry.is_symlink() else inside[2]
                entries.append(_listed(entry.path, name + entry.name, own))
            elif entry.name.startswith(("_", ".")):
                entries.append(Listed(*inside[:2], 0, inside[2]))
            elif entry.is_symlink():
                links.append((*inside[:2], real))
            else:
                todo.append(inside)
    return Listing(root, "folder", tuple(entries), tuple(sorted(loops)))


def _glob(pattern: str) -> list[str]:
    """Return what an absolute glob matches; a folder that cannot be listed is no empty one."""
    paths = [""]
    for name in pattern.split("/")[1:]:
        paths = [found for path in paths for found in _in_folder(path, name)]
    return paths


def _in_folder(folder: str, pattern: str) -> list[str]:
    """Return the paths in a folder that one component of a glob matches, and none in a file."""
    path = f"{folder}/{pattern}"
    if not glob.has_magic(pattern):
        with os_errors(path, "reach"), suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)
            return [path]
        return []
    names: list[str] = []
    with os_errors(folder, "list"), suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(os.listdir(folder or "/"))
    is_shown = pattern.startswith(".")  # a wildcard stands for no dot in front, as in shells
    return [
        f"{folder}/{name}"
        for name in fnmatch.filter(names, pattern)
        if is_shown or not name.startswith(".")
    ]


def _matched(path: str, name: str) -> Listed | None:
    """Describe what a glob matches; None for a folder that holds no data by its name."""
    if not os.path.isdir(path):
        return _listed(path, name)
    return Listed(path, f"{name}/", 0, path) if hidden_folder(f"{name}/") is None else None


def _scanned(folder: str) -> list[os.DirEntry[str]]:
    with os_errors(folder, "list"), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, perhaps by a link; a link that leads nowhere or to itself is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _listed(path: str, name: str, real: str | None = None) -> Listed:
    """Describe a file; what cannot be described is refused only if it is taken."""
    try:
        found = os.stat(path)
        size_bytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
    except OSError:
        size_bytes = 0
    return Listed(path, name, size_bytes, real or os.path.realpath(path))


def taken(path: str) -> Conflict:
    """Return the error of a part whose name another has taken meanwhile."""
    return Conflict(f"{path} was written by somebody else; run the same command again")


def _entry(item: os.DirEntry[str]) -> Entry:
    found = item.stat()
    return Entry(item.name, found.st_size, _version(found))


def _version_at(path: str) -> str | None:
    """Return the version of what stands at a path; None for nothing."""
    with os_errors(path, "reach"), suppress(FileNotFoundError):
        return _version(os.stat(path))
    return None


def _version(found: os.stat_result) -> str:
    return f"mtime-ns:{found.st_mtime_ns}"


def _make_folder(folder: str, *, durable: bool) -> None:
    """Make a folder and those above it.

    ``durable``: each is on the disk before anything is put into it.
    """
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above, durable=durable)
    with suppress(FileExistsError):  # by another, who may not have synced it yet
        os.mkdir(folder)
    if durable:
        _sync_folder(above)


def _lies_behind_a_broken_link(path: str) -> bool:
    """Whether a path that leads nowhere could not be made a folder either."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return not os.path.exists(path)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        system.sync(descriptor)
    finally:
        os.close(descriptor)
