"""Ctrl-C: who receives it, and how long others have to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

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
