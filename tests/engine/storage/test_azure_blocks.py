"""Pieces become blocks: every byte once, in order, within the service's limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import SourceFile
from engine.storage.azure import blocks
from engine.storage.azure.blocks import (
    COPY_BYTES,
    LARGEST_PART_BYTES,
    MAX_BLOCKS,
    SHORT_COPY_BYTES,
    Block,
    Composer,
    Piece,
    SourceRange,
    length_of,
)
from engine.storage.azure.request_pool import BLOCK_BYTES

SHARES = 64  # of the largest part; the shortest copies are scarce within the first of them


class FakeSource:
    """Only what names a source: no byte of it is read here."""

    def __init__(self, path: str = "a") -> None:
        self.file = SourceFile(path, 1 << 50, "etag:1")


SOURCE: Any = FakeSource()
LENGTHS = st.one_of(
    st.integers(0, 5000),
    st.integers(SHORT_COPY_BYTES - 2, SHORT_COPY_BYTES + 2),
    st.integers(0, 3 * COPY_BYTES),
)
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=50),
        st.builds(SourceRange, st.just(SOURCE), st.integers(0, 1 << 40), LENGTHS),
    ),
    max_size=30,
)


def composed(pieces: list[Piece], *, may_copy: bool) -> list[Block]:
    composer = Composer(lambda _: may_copy)
    found = [block for piece in pieces for block in composer.add(piece)]
    return [*found, *composer.finish()]


def flat(pieces: list[Piece]) -> list[Piece]:
    """The same bytes, with what continues another joined to it."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else b""
        if isinstance(last, SourceRange) and last.is_continued_by(piece):
            out[-1] = SourceRange(last.source, last.offset, last.length + length_of(piece))
        elif isinstance(last, bytes) and isinstance(piece, bytes) and out:
            out[-1] = last + piece
        elif length_of(piece):
            out.append(piece)
    return out


@given(pieces=PIECES, may_copy=st.booleans())
def test_every_byte_is_in_one_block_in_order(pieces: list[Piece], may_copy: bool) -> None:
    found = composed(pieces, may_copy=may_copy)
    assert flat([piece for block in found for piece in block.pieces]) == flat(pieces)
    assert [block.position for block in found] == list(range(len(found)))
    assert len({block.id for block in found}) == len(found)
    assert {len(block.id) for block in found} <= {51}
    for block, following in zip(found, [*found[1:], None], strict=False):
        if block.is_copied:
            assert SHORT_COPY_BYTES // 2 <= block.num_bytes <= COPY_BYTES
        else:
            assert 0 < block.num_bytes <= BLOCK_BYTES
            full = block.num_bytes == BLOCK_BYTES
            assert full or following is None or following.is_copied  # neighbours are gathered
    assert may_copy or not any(block.is_copied for block in found)


@given(pieces=PIECES)
def test_a_second_try_has_the_same_ids(pieces: list[Piece]) -> None:
    one, two = (composed(pieces, may_copy=True) for _ in range(2))
    assert [block.id for block in one] == [block.id for block in two]


@given(length=st.integers(1, COPY_BYTES))
def test_a_refused_copy_is_staged_in_small_blocks(length: int) -> None:
    (block, *more) = composed([SourceRange(SOURCE, 7, length)], may_copy=True)
    assert not more or not block.is_copied
    parts = list(block.split(BLOCK_BYTES))
    pieces = [piece for _, some in parts for piece in some]
    assert flat(pieces) == flat(list(block.pieces))
    assert len({len(block_id) for block_id, _ in parts} | {len(block.id)}) == 1
    assert len({block_id for block_id, _ in parts}) == len(parts)


@pytest.mark.parametrize(
    "length", [SHORT_COPY_BYTES - 1, SHORT_COPY_BYTES, BLOCK_BYTES - 1, BLOCK_BYTES, COPY_BYTES]
)
def test_the_largest_part_fits_however_it_is_cut(length: int) -> None:
    """Once blocks are scarce, what follows takes as many a byte: the first part of it says all."""
    composer = Composer(lambda _: True)
    counts, num_blocks, offset = [], 0, 0
    for num_bytes in (LARGEST_PART_BYTES // SHARES, 2 * LARGEST_PART_BYTES // SHARES):
        while offset + length + 1 <= num_bytes:
            for piece in (SourceRange(SOURCE, offset, length), b"x"):
                num_blocks += len(list(composer.add(piece)))
            offset += length + 1
        counts.append(num_blocks)
    num_more = (counts[1] - counts[0] + 1) * (SHARES - 2)
    assert num_blocks + num_more + len(list(composer.finish())) <= MAX_BLOCKS
    assert blocks.MAX_BLOCKS == 50_000
