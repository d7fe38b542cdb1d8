"""Where some records of a file begin, kept as it is read, so that a plan need not read it again.

Every n-th record, of as many as fit: a cut between two of them is estimated. Not covered: files
that are not compressed, in which records are looked up where a cut falls (:func:`.index.knots`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.formats.lines.scan import Positions

_MOST_RUNGS, _FEWEST_RUNGS = 1 << 19, 1 << 10
LADDER_BYTES = 4 * 8 * _MOST_RUNGS  # with what is merged into it


class Ladder:
    """Positions of every ``step``-th record of a file, from the second record on.

    ``num_files``: of which each has a ladder; together they take no more than one.
    """

    def __init__(self, num_files: int = 1) -> None:
        self._most = max(_FEWEST_RUNGS, _MOST_RUNGS // num_files)
        self._step = 1
        self._num_records = 1  # that were seen; the first begins behind the header
        self._chosen: list[Positions] = []
        self._num_chosen = 0

    def add(self, starts: Positions) -> None:
        """Take the places where the next records begin."""
        first = -self._num_records % self._step
        chosen = starts[first :: self._step].astype(np.int64)
        self._num_records += len(starts)
        self._chosen.append(chosen)
        self._num_chosen += len(chosen)
        while self._num_chosen > self._most:
            # Numbers are step, 2 step, 3 step, ...: every second is a multiple of the new step.
            self._chosen = [self._joined()[1::2]]
            self._num_chosen = len(self._chosen[0])
            self._step *= 2

    def _joined(self) -> Positions:
        if len(self._chosen) != 1:
            self._chosen = [np.concatenate([*self._chosen, np.empty(0, np.int64)])]
        return self._chosen[0]

    def knots(
        self, first_record: int, num_records: int, offset: int, num_bytes: int
    ) -> tuple[Sequence[int], Sequence[float]]:
        """Return some records of a block and the bytes before each, first and end included.

        Args:
            first_record: of the block, counted over the file.
            num_records: in it.
            offset: where the first begins.
            num_bytes: of all.
        """
        places = self._joined()
        begin = first_record // self._step  # rung number n is record (n + 1) * step
        stop = (first_record + num_records - 1) // self._step
        records = (np.arange(begin, stop) + 1) * self._step - first_record
        sums = (places[begin:stop] - offset).astype(float)
        return [0, *records.tolist(), num_records], [0.0, *sums.tolist(), float(num_bytes)]
