"""What our compression makes of some texts along a file, for estimates of parts' sizes.

A text is no longer than one of a part: what compresses together in a part does so here. Not
covered: which text of a file is looked at by whom (:mod:`.measures`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from engine import memory
from engine.formats.lines.codecs import Codec, Compressor

_LEAST_BYTES = 256 << 10
_LIKELY_RATIO = 2


class _Sample(NamedTuple):
    """A text: its place, and what it takes compressed."""

    start: int
    stop: int
    num_bytes: int


class Sampler:
    """Compresses samples of a file that is read in order.

    Args:
        codec, level: of the parts.
        file_bytes: of the file as it lies.
        part_bytes: about, of a part; None if nothing tells.
        num_files: that are sampled so.
    """

    def __init__(
        self,
        codec: Codec,
        level: int | None,
        file_bytes: int,
        part_bytes: int | None,
        num_files: int = 1,
    ) -> None:
        memory.ask(
            codec.compressor_bytes(level),
            f"compressing by {codec.name}",
            cure="take a lower --codec-level or another --codec",
        )
        self._codec, self._level = codec, codec.level(level)
        self.sample_bytes = codec.sample_bytes
        if part_bytes is not None:
            text_bytes = max(_LEAST_BYTES, _LIKELY_RATIO * part_bytes)
            self.sample_bytes = min(self.sample_bytes, text_bytes)
        num_samples = codec.num_samples * codec.sample_bytes // self.sample_bytes
        self.num_samples = max(1, num_samples // num_files)
        self._every_bytes = file_bytes / self.num_samples
        self._made: Compressor | None = None
        self._start = self._stop = self._num_bytes = 0
        self._found: list[_Sample] = []

    def see(self, offset: int, text: bytes, at: float) -> None:
        """Take text, which lies so far in the file, if a sample is due or not full yet."""
        if self._made is None:
            if at < self._every_bytes * len(self._found):
                return
            self._made = self._codec.compressor(self._level)
            self._start = self._stop = offset
            self._num_bytes = 0
        text = text[: self._start + self.sample_bytes - self._stop]
        self._num_bytes += len(self._made.compress(text))
        self._stop += len(text)
        if self._stop - self._start == self.sample_bytes:
            self._finish()

    def _finish(self) -> None:
        if self._made is not None:
            self._num_bytes += len(self._made.flush())
            self._found.append(_Sample(self._start, self._stop, self._num_bytes))
            self._made = None

    def sizes(self, bounds: Sequence[int], at: Callable[[int], float]) -> list[float]:
        """Return about how many bytes texts take compressed: those between some positions.

        What each takes in the file, times what our compression makes of that near there: frames may
        be compressed otherwise than others.

        Args:
            bounds: of the texts, in order, each the end of one and the begin of the next.
            at: how many bytes of the file a position lies behind.
        """
        self._finish()
        taken = np.diff([at(position) for position in bounds])
        places = [(found.start + found.stop) // 2 for found in self._found]
        ratios = [
            found.num_bytes / max(1.0, at(found.stop) - at(found.start)) for found in self._found
        ]
        return (taken * np.interp(bounds[:-1], places, ratios)).tolist()  # type: ignore[no-any-return]
