"""Which cases of tests that have very many are for ``make test``; ``make ways`` has them all.

What is covered by pairs of a source and a way to split it: each source is split in some ways, each
way has some sources, and a few sources, in which everything is that the ways care for, are split
in all of them. Of other cases some are taken, spread over all (the marker ``ways``). Properties
have fewer examples (tests/conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

IS_WHOLE = "EVENSPLIT_WAYS" in os.environ

_Case = TypeVar("_Case")


def left_out(cases: Sequence[_Case], few: int) -> list[_Case]:
    """Return the cases that are left out for ``few`` to stay, spread over all."""
    if IS_WHOLE:
        return []
    kept = {number * len(cases) // few for number in range(few)}
    return [case for number, case in enumerate(cases) if number not in kept]


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
