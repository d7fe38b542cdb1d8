"""Columns of one list, a map's keys and values say, have the same entries, at cuts as well.

Readers take where lists begin from one of the columns. In a source that is damaged they may differ
and still have as many entries in the whole row group; parts would not. Where a cut passes through
pages of several, their levels are decoded anyway, and compared here.

Not covered: pages that are copied, so also cuts at which pages end, and pages that were exchanged
across a cut for such of as many entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.errors import BadPage
from engine.formats.parquet.bytes.footer import Leaf
from engine.formats.parquet.writers.chunk import NO_LIST_ENDS, ListEnds, Piece


def columns_of_lists(leaves: Iterable[Leaf]) -> list[list[Leaf]]:
    """Return the columns that repeat, those of one innermost list together."""
    lists: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        if leaf.innermost_list is not None:
            lists.setdefault(id(leaf.innermost_list), []).append(leaf)
    return list(lists.values())


def check_list_ends(pieces: Sequence[Piece], ends: Sequence[ListEnds]) -> None:
    """Check the entries at the cuts of a row group that was made of some rows.

    Args:
        pieces: where the rows are from.
        ends: of each column, :attr:`.chunk.NewChunk.list_ends`.

    Raises:
        BadPage: columns of one list differ; the message names both.
    """
    known = [number for number, each in enumerate(ends) if each != NO_LIST_ENDS]
    leaves = pieces[0].file.footer.leaves
    for together in columns_of_lists(leaves[number] for number in known):
        for side, piece in ((0, pieces[0]), (1, pieces[-1])):
            one, *others = sorted(together, key=lambda leaf: -len(ends[leaf.index][side]))
            longest = ends[one.index][side]
            for other in others:
                entries = ends[other.index][side]
                if not (longest.endswith(entries) if side else longest.startswith(entries)):
                    with piece.group.chunk(other.index).at_page():
                        raise BadPage(
                            f"rows {'before' if side else 'behind'} a cut have other lists than in "
                            f"{one.name}, which is of the same list"
                        )
