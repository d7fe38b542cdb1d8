"""Which writer a part of several sources names.

Readers ignore bounds, or read pages in a row, where ``created_by`` names a writer that is known for
a defect. So a part must name one of its sources' writers that no reader trusts more than any other
of them. Bounds that it ignores for no reason cost time, not truth.

Of one writer readers take V2 pages to be compressed whatever these say, so a part that has pages of
others too names one of these.

Two readers differ in one thing: a file that names nobody is trusted by Arrow, and not by
parquet-java. Where no name is trusted least by both, :func:`writer_of_part` says that bounds must
go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.formats.parquet.bytes.created_by import (
    CHAINED_PAGES,
    FALSE_BOUNDS,
    SIGNED_BOUNDS,
    UNFLAGGED_PAGES,
    has,
)


class _Trust(NamedTuple):
    """What readers believe of a writer; the more, the greater."""

    reads_pages_alone: bool
    arrow: int
    java: int


def _trust(created_by: str) -> _Trust:
    is_false = has(created_by, FALSE_BOUNDS)
    signed_only = has(created_by, *SIGNED_BOUNDS)
    return _Trust(
        reads_pages_alone=not has(created_by, CHAINED_PAGES),
        arrow=0 if is_false else 1 if signed_only else 2,
        java=0 if is_false or not created_by.strip() else 1,
    )


def writer_of_part(names: Sequence[str]) -> tuple[str, bool]:
    """Return which of the writers named a part is to name, and whether its bounds may stay.

    Args:
        names: ``created_by`` of the sources of the part, in order.
    """
    trusts = [_trust(name) for name in names]
    flagged = [name for name in names if not has(name, UNFLAGGED_PAGES)] or names
    for name, trust in zip(names, trusts, strict=True):
        if name not in flagged:
            continue
        if all(mine <= its for other in trusts for mine, its in zip(trust, other, strict=True)):
            return name, True
    return min(flagged, key=_trust), False
