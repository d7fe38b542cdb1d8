"""Questions to stores, some at once: their answers are waited for most of the time.

Not covered: bytes of large files, which stores themselves ask for in pieces (:mod:`.storage`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

_AT_ONCE = 16


def answers(
    ask: Callable[[_Asked], _Answer], asked: Sequence[_Asked], *, is_remote: bool
) -> Iterator[_Answer]:
    """Yield the answer to each question, in order; what the first of them raises is raised.

    ``is_remote``: an answer is mostly waited for. Else one question follows another.
    """
    if not is_remote or len(asked) < 2:
        yield from map(ask, asked)
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(asked)), thread_name_prefix="ask") as pool:
        # Each has a context of its own: it says how stores are reached, and which credential holds.
        running = [pool.submit(copy_context().run, ask, each) for each in asked]
        try:
            for future in running:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
