"""What a source case is, and the cache that writes each case once a test session."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceCase:
    """One file by one real writer. ``write`` gets an empty directory and answers the file's path.

    ``num_rows`` is approximate; ``slow`` marks what starts Spark or takes more than about a second.
    """

    name: str
    writer: str
    covers: str
    write: Callable[[Path], Path]
    num_rows: int
    slow: bool = False


def written(case: SourceCase, cache_dir: Path) -> Path:
    """The case's file in ``cache_dir``; written by the first process that asks, others wait."""
    home = cache_dir / case.name
    cache_dir.mkdir(parents=True, exist_ok=True)
    with open(cache_dir / f"{case.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = home / "_written"
        if not done.exists():
            home.mkdir(exist_ok=True)
            path = case.write(home)
            done.write_text(path.name)
        return home / done.read_text()
