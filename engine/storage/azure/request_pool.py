"""A few requests at a time, for the whole process, in bounded memory.

Each request holds at most one block (:data:`BLOCK_BYTES`) and its copies inside the client, however
many parts are written at once. What runs here must not wait for other requests of the pool.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NUM_REQUESTS = 6
BLOCK_BYTES = 8 << 20
MAX_IN_FLIGHT = NUM_REQUESTS + 2  # some blocks are filled and wait
_COPIES_PER_BLOCK = 2  # as received in pieces, and joined
_CLIENT_BYTES = 24 << 20  # the SDK's modules, connections
PROCESS_BYTES = _CLIENT_BYTES + MAX_IN_FLIGHT * _COPIES_PER_BLOCK * BLOCK_BYTES


class RequestPool:
    """Threads for requests, and permits for the memory of what they carry."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(NUM_REQUESTS, thread_name_prefix="storage")
        self._permits = threading.BoundedSemaphore(MAX_IN_FLIGHT)

    def submit(self, action: Callable[[], T]) -> Future[T]:
        """Do something in the pool; wait here while all its threads are taken."""
        self._permits.acquire()
        try:
            future = self._pool.submit(action)
        except BaseException:
            self._permits.release()
            raise
        future.add_done_callback(lambda _: self._permits.release())
        return future

    def in_order(self, actions: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield the results in the order given, a few fetched ahead of the one taken."""
        ahead: deque[Future[T]] = deque()
        try:
            for action in actions:
                ahead.append(self.submit(action))
                if len(ahead) > NUM_REQUESTS // 2:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


request_pool = RequestPool()
