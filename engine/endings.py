"""How a process ends that is told to stop: at once, with what it began put right.

A split is safe to die at any moment, so nothing is unwound, and no thread is waited for. What must
not stay behind (temporary files, worker processes) is put right by whoever ends the process. Not
covered: signals, which are the command line's business (:mod:`engine.cli.stopping`), and what
stores show to nobody anyway, like blocks that were not committed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

PUT_RIGHT_SECONDS = 1.5  # at most: what hangs must not keep the process
_CANCEL_SECONDS, _GO_SECONDS = 0.5, 0.3  # for worker processes, told to end and killed

_actions: dict[object, Callable[[], None]] = {}
_changing = threading.RLock()
_is_ending = threading.Event()
_num_unwinding = 0


@contextmanager
def remembered(action: Callable[[], None]) -> Iterator[object]:
    """Make something that must not stay behind, inside; give what :func:`forget` takes.

    It is made before the process ends, and then put right by ``action``, or not at all.
    """
    key = object()
    with _changing:
        yield key
        _actions[key] = action


def forget(key: object) -> None:
    """It is put right, or may stay."""
    _actions.pop(key, None)


@contextmanager
def put_right(action: Callable[[], None]) -> Iterator[None]:
    """Have ``action`` done if the process ends suddenly in here."""
    with remembered(action) as key:
        pass
    try:
        yield
    finally:
        forget(key)


@contextmanager
def unwound() -> Iterator[None]:
    """Have a process that is told to stop leave this by ``SystemExit``, and end after it."""
    global _num_unwinding  # noqa: PLW0603 - there is one process
    _num_unwinding += 1
    try:
        yield
    finally:
        _num_unwinding -= 1


def is_unwound() -> bool:
    """Whether the main thread is inside :func:`unwound`."""
    return _num_unwinding > 0


def end_now(code: int) -> NoReturn:
    """Put right what was begun, the last first, and end the process; no worker outlives it."""
    _is_ending.set()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what fails now for want of others is no news
    worker = threading.Thread(target=_put_all_right, daemon=True)
    worker.start()
    worker.join(PUT_RIGHT_SECONDS)
    os._exit(code)


def stay_if_ending() -> None:
    """Wait for the end, if it is near: the exit code is not that of what fails now."""
    if _is_ending.is_set():
        threading.Event().wait()


def _put_all_right() -> None:
    end_children()
    _changing.acquire()  # for good: nothing else is begun
    for action in reversed(list(_actions.values())):
        with suppress(Exception):
            action()


def end_children() -> None:
    """End every process that this one started, and those that they started; start no other."""
    import psutil

    _start_none()
    ending: set[psutil.Process] = set()  # also those whose parent is gone already
    # Twice the last: what was about to be started as this began is there by then.
    for verb, seconds in (("terminate", _CANCEL_SECONDS), *[("kill", _GO_SECONDS)] * 2):
        ending.update(psutil.Process().children(recursive=True))
        for child in ending:
            with suppress(psutil.NoSuchProcess):
                getattr(child, verb)()
        ending = set(psutil.wait_procs(ending, seconds)[1])


def _start_none() -> None:
    """Let multiprocessing start no process: Dask would start its workers again.

    One that begins while its parent ends may wait for it for ever: where the process that tracks
    resources is gone, it is handed an end of its own pipe instead.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.spawnv_passfds = _refuse


def _refuse(*_: object) -> NoReturn:
    raise OSError("the process is about to end")
