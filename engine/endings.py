"""How a process ends that is told to stop: at once, with what it began put right.

A split is safe to die at any moment, so nothing is unwound, and no thread is waited for. What must
not stay behind (temporary files, worker processes) is put right by whoever ends the process. Not
covered: signals, which are the command line's business (:mod:`engine.cli.stopping`), and what
stores show to nobody anyway, like blocks that were not committed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

PUT_RIGHT_SECONDS = 1.5  # at most: what hangs must not keep the process
_CHILD_SECONDS = {"terminate": 0.5, "kill": 0.2}  # to cancel its uploads, then to go

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
    _end_children()
    _changing.acquire()  # for good: nothing else is begun
    for action in reversed(list(_actions.values())):
        with suppress(Exception):
            action()


def _end_children() -> None:
    import psutil

    for verb in ("terminate", "kill", "kill"):  # Dask may start one again
        children = psutil.Process().children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                getattr(child, verb)()
        psutil.wait_procs(children, _CHILD_SECONDS[verb])  # longer only where one is at work
