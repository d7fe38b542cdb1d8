"""Small reads of a store's file, each with what lies behind it.

Values follow their page's header, and one small page another, but where a page ends only its
header says: so the next read is mostly of what lies near the last. A request takes as long as some
MB, so a small one brings more than was asked for, and the next are answered from that.

Not covered: ranges that are known together, which :func:`.storage.base.read_coalesced` joins.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar

_MOST_KEPT = 64  # blocks of all files of this process, the last ones read


class Nearby:
    """Reads of one version of one file.

    Args:
        read: asks the store for ``length`` bytes at ``offset``.
        size_bytes: of the file.
        block_bytes: what a small read brings; 0 for no more than is asked for.
    """

    _kept: ClassVar[deque[tuple[Nearby, int, bytes]]] = deque(maxlen=_MOST_KEPT)
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self, read: Callable[[int, int], bytes], size_bytes: int, block_bytes: int
    ) -> None:
        self._read = read
        self._size_bytes = size_bytes
        self._block_bytes = block_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes at ``offset``, or fewer where the store has fewer."""
        if length >= self._block_bytes:
            return self._read(offset, length)
        with self._lock:
            for near, begin, block in reversed(self._kept):
                if near is self and begin <= offset and offset + length <= begin + len(block):
                    return block[offset - begin : offset - begin + length]
        block = self._read(offset, min(self._block_bytes, self._size_bytes - offset))
        with self._lock:
            self._kept.append((self, offset, block))
        return block[:length]

    def forget(self) -> None:
        """Keep nothing of this file, which is closed."""
        with self._lock:
            others = [kept for kept in self._kept if kept[0] is not self]
            self._kept.clear()
            self._kept.extend(others)
