"""Ctrl-C: who receives it, and how long others have to end; and threads that it does not reach."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

INTERRUPTED_SECONDS = 2  # for threads to end what they do, after Ctrl-C


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start threads and processes that Ctrl-C does not reach: it is this thread's to handle.

    A terminal sends it to every process; a blocked signal stays so in whatever is started here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something again and again in here, from a thread of its own."""
    is_over = Event()

    def run() -> None:
        while not is_over.wait(seconds):
            action()

    thread = Thread(target=run, daemon=True)
    with interrupts_held():
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
