"""What differs between operating systems: the one module that asks for it.

| what | Linux | macOS |
|---|---|---|
| cores of this process | its affinity | all of the machine |
| copy between files | inside the kernel | read and written |
| write-back of a file that still grows | begun early | left to the system |
| synced to the disk | ``fsync`` | ``F_FULLFSYNC``, as ``fsync`` stops at the drive's cache |
| lock that ends with its process | ``flock`` | ``flock`` |
| limits of control groups | ``/proc``, ``/sys`` (:mod:`engine.memory`) | there are none |
| starts of the machine | ``boot_id`` | not told apart |
| peak memory | ``VmHWM``, begun anew a split | ``ru_maxrss`` of the whole life, in bytes |
| shared memory counted once | ``smaps_rollup`` | resident size instead |

What a system lacks is found out by looking for it, not by the system's name. macOS is covered by
tests that take things away on Linux, and was not tried itself. Windows is refused
(:func:`check`): a file that is open cannot be replaced there, nor a folder be synced.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from engine.errors import UnsupportedSystem

try:
    import fcntl
except ModuleNotFoundError:  # Windows: refused before it would be needed
    fcntl = None  # type: ignore[assignment]

_KIB = 1 << 10
_SYNC_FILE_RANGE_WRITE = 2


def check(name: str | None = None) -> None:
    """Refuse a system that evensplit does not run on; ``name`` instead of ``sys.platform``.

    Raises:
        UnsupportedSystem: it is Windows.
    """
    if (name or sys.platform) in ("win32", "cygwin"):
        raise UnsupportedSystem(
            "evensplit runs on Linux and macOS; on Windows install and run it inside WSL "
            "(wsl --install), or in a container (the Dockerfile of its repository)"
        )


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def leave_pandas_out() -> None:
    """Keep Arrow from importing pandas, which it does to look whether a value is one of pandas'.

    That takes longer than a small split, and 32 MiB. Only for a process of our own in which nothing
    needs pandas: it cannot be imported any more.
    """
    sys.meta_path.insert(0, _NoPandas())


class _NoPandas:
    """Finds no pandas; ``None`` in ``sys.modules`` would be taken for pandas by compiled code."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Raise ModuleNotFoundError for pandas, and leave all others to others."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out here", name=fullname)


def try_lock(descriptor: int) -> bool:
    """Lock an open file, unless another process has; the lock ends with the process."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(descriptor: int) -> None:
    """Wait until a file, or a folder, is on the disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
        except OSError:  # a file system that knows no other than the plain one
            pass
        else:
            return
    os.fsync(descriptor)


@cache
def boot_id() -> str:
    """Return what tells this start of the machine from every other; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def peak_resident_bytes() -> int:
    """Return the largest resident set that this process had in its life."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB


def _load_write_back() -> Callable[[int, int, int], None] | None:
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError, TypeError):  # the last is Windows'
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def start(descriptor: int, offset: int, length: int) -> None:
        call(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)

    return start


start_write_back = _load_write_back()
"""Have the kernel begin to write a range of a file: a hint; None where it cannot be told."""
