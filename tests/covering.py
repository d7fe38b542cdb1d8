"""Pairs of a source and a way to split it: all in ``make ways``, a cover in ``make test``.

What is covered by pairs: each source is split in some ways, each way has some sources, and a few
sources, in which everything is that the ways care for, are split in all of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

IS_WHOLE = "EVENSPLIT_WAYS" in os.environ


def pairs(
    sources: Iterable[str], ways: Collection[str], *, num_ways: int, in_all: Collection[str]
) -> list[tuple[str, str]]:
    """Return each source with so many of the ways, in turn, and those ``in_all`` with every one."""
    turns = len(ways) // num_ways
    return [
        (source, way)
        for number, source in enumerate(sources)
        for turn, way in enumerate(ways)
        if IS_WHOLE or source in in_all or (number + turn) % turns == 0
    ]
