"""Run a function in a child process that may crash: a dead child is an exception, not our death.

One child serves many calls; after a crash the next call gets a new one, forked from a server that
has the modules loaded already, in some hundredths of a second.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize
from typing import Any, TypeVar

T = TypeVar("T")


class Crashed(Exception):
    """The reader killed its process, as by a segmentation fault."""


class Isolated:
    def __init__(self, preload: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._pool: ProcessPoolExecutor | None = None
        # A process that is itself a child waits for its children before Python's own exit handlers,
        # which would end them, have run. Queues, by which a child is told, are closed at 10.
        Finalize(None, self.close, exitpriority=20)

    def close(self) -> None:
        """End the child, if there is one."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=self._context)
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            self.close()
            raise Crashed("the reader's process died") from None
