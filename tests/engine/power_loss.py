"""What a disk may hold after a power cut: a log of what was done, and states that it allows.

The model is weaker than any file system of today. Without a sync of the file, its content is what
was there at the last one, or any mixture with what came after. Without a sync of the folder, each
change of its names may be there or not, on its own. A rename is one change. Not modelled: disks
that lie about a sync, and changes of names that come back after a later one of the same name.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import pytest

from engine import system
from engine.storage import local


@dataclass(frozen=True)
class Named:
    """A change of names in one folder: what stands at each path afterwards (None: nothing)."""

    folder: str
    names: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Synced:
    """A sync of a file, with what it held, or of a folder."""

    inode: int
    folder: str | None = None


@dataclass
class Log:
    """Everything that was done below a root, in its order; contents as they last were."""

    root: str
    events: list[Named | Synced] = field(default_factory=list)
    contents: list[dict[int, bytes]] = field(default_factory=list)
    folders: set[int] = field(default_factory=set)

    def add(self, event: Named | Synced) -> None:
        """Note what was done, and what every file holds now."""
        self.events.append(event)
        self.contents.append(self._read())

    def _read(self) -> dict[int, bytes]:
        found = dict(self.contents[-1]) if self.contents else {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    found[os.stat(path).st_ino] = Path(path).read_bytes()
                except FileNotFoundError:  # renamed meanwhile
                    continue
        return found


@contextmanager
def logged(root: Path) -> Iterator[Log]:
    """Log what this process does below a folder that does not exist yet."""
    log, lock = Log(str(root)), RLock()

    def inside(path: object) -> bool:
        return f"{os.fspath(path)}/".startswith(f"{log.root}/")  # type: ignore[call-overload]

    def inode(path: str) -> int | None:
        try:
            return os.stat(path).st_ino
        except FileNotFoundError:
            return None

    def changing(call: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            paths = [p for p in arguments if isinstance(p, str) and inside(p)]
            if not paths:
                return call(*arguments, **options)
            with lock:
                before = {path: inode(path) for path in paths}
                result = call(*arguments, **options)
                after = {path: inode(path) for path in paths}
                if before != after:
                    log.folders.update(i for p, i in after.items() if i and os.path.isdir(p))
                    log.add(Named(os.path.dirname(paths[0]), tuple(after.items())))
                return result

        return change

    def syncing(call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            with lock:
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                call(descriptor)
                if inside(path) or path == os.path.dirname(log.root):
                    folder = path if os.path.isdir(path) else None
                    log.add(Synced(os.fstat(descriptor).st_ino, folder))

        return sync

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "rename", "link", "unlink", "mkdir"):
            patch.setattr(os, name, changing(getattr(os, name)))
        patch.setattr(local, "open", changing(open), raising=False)
        patch.setattr(system, "sync", syncing(system.sync))
        yield log


def after_a_power_cut(log: Log, moment: int, chance: random.Random, rate: float) -> Disk:
    """Return what may be on the disk if the power goes after so many events.

    Args:
        log: what was done.
        moment: how many of its events there were.
        chance: decides what is lost of what was not synced.
        rate: how much of it is lost, 0 for nothing to 1 for all.
    """
    synced = {
        event.folder: number
        for number, event in enumerate(log.events[:moment])
        if isinstance(event, Synced) and event.folder is not None
    }
    names: dict[str, int | None] = {}
    for number, event in enumerate(log.events[:moment]):
        if not isinstance(event, Named):
            continue
        if number < synced.get(event.folder, -1) or chance.random() >= rate:
            names.update(event.names)
    contents = {
        inode: _content(log, moment, inode, chance, rate)
        for inode in names.values()
        if inode is not None and inode not in log.folders
    }
    return Disk(log, names, contents)


def _content(log: Log, moment: int, inode: int, chance: random.Random, rate: float) -> bytes:
    safe = b""
    for number, event in enumerate(log.events[:moment]):
        if isinstance(event, Synced) and event.inode == inode:
            safe = log.contents[number].get(inode, b"")
    # A file may have grown before the next event.
    now = log.contents[min(moment, len(log.contents) - 1)].get(inode, safe)
    if now == safe or chance.random() >= rate:
        return now
    zeros = b"\0" * len(now)
    some = len(now) // 8
    holed = now[:some] + zeros[some : 2 * some] + now[2 * some :]  # a part is known by its ends
    return chance.choice([safe, b"", now[:some], zeros, holed])


@dataclass(frozen=True)
class Disk:
    """Names and contents after a power cut."""

    log: Log
    names: dict[str, int | None]
    contents: dict[int, bytes]

    def tree(self) -> dict[str, bytes | None]:
        """Return what is found: the bytes of each file by its path, None for a folder.

        What stood in a lost folder is lost with it.
        """
        found: dict[str, bytes | None] = {}
        for path, inode in sorted(self.names.items(), key=lambda item: item[0].count("/")):
            parent = os.path.dirname(path)
            if inode is None or (path != self.log.root and found.get(parent, b"") is not None):
                continue
            if inode in self.log.folders:
                found[path] = None
            elif path not in found:
                found[path] = self.contents[inode]
        return {os.path.relpath(path, self.log.root): data for path, data in found.items()}


def restore(tree: dict[str, bytes | None], place: Path) -> None:
    """Make a folder of what was found after a power cut."""
    for path, data in tree.items():
        if data is None:
            (place / path).mkdir(parents=True, exist_ok=True)
        else:
            (place / path).write_bytes(data)
