"""Ctrl-C and SIGTERM: said at once, and the process ends, whatever the main thread is at.

A thread of its own hears of them by the descriptor that Python's handler writes to, so that a long
call into a library delays nothing. A call that the main thread begins right after a signal came is
not ended by it: the thread is woken until it has heard. A second signal ends what the first had
unwound. Where a signal was ignored as the process began, as a shell has it for what runs in the
background, it stays so.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread, main_thread
from types import FrameType
from typing import NoReturn

from engine import endings

STOPPING = "stopping"
RESUMABLE = f"{STOPPING}; committed parts are kept, run the same command again to go on"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WAKING = signal.SIGURG  # interrupts calls as they do, and means nothing
_LOOK_SECONDS = 0.05

_is_heard = Event()  # by the main thread
_is_said = Event()
_before: list[Callable[[], None]] = []
_line_of: list[Callable[[str], str]] = []
_sentence = [STOPPING]


def watch_signals() -> None:
    """Begin to watch, in the main thread; a second call does nothing."""
    if signal.getsignal(signal.SIGTERM) is _unwind:
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)
    signal.signal(_WAKING, lambda *_: None)
    Thread(target=_watch, args=(heard,), daemon=True).start()


def exit_code(number: int) -> int:
    """Return the code that a shell gives to an end by a signal."""
    return 128 + number


@contextmanager
def said_after(action: Callable[[], None]) -> Iterator[None]:
    """Have ``action`` done, if the process is told to stop in here, before that is said."""
    _before.append(action)
    try:
        yield
    finally:
        _before.remove(action)


def say_as(line_of: Callable[[str], str]) -> None:
    """Have it said by the line that a function makes of the sentence; nothing if that is empty."""
    _line_of[:] = [line_of]


def say(sentence: str) -> None:
    """Have it said in these words, as soon as it is known what is stopped."""
    _sentence[:] = [sentence]


def _unwind(number: int, _frame: FrameType | None) -> None:
    """Run in the main thread, when it comes to it."""
    _is_heard.set()
    if endings.is_unwound():
        _is_said.wait()
        sys.exit(exit_code(number))


def _watch(heard: int) -> NoReturn:
    number = 0
    while number not in _SIGNALS:
        number = os.read(heard, 1)[0]
    for action in _before:
        with suppress(Exception):
            action()
    line = _line_of[0](_sentence[0]) if _line_of else _sentence[0]
    if line:
        with suppress(OSError):
            os.write(2, f"{line}\n".encode())
    _is_said.set()
    while endings.is_unwound() and not _comes_again(heard):
        if not _is_heard.is_set():
            signal.pthread_kill(main_thread().ident or 0, _WAKING)
    endings.end_now(exit_code(number))


def _comes_again(heard: int) -> bool:
    """Wait a moment; say whether another signal has come that tells the process to stop."""
    if not select.select([heard], [], [], _LOOK_SECONDS)[0]:
        return False
    return any(number in _SIGNALS for number in os.read(heard, 1024))
