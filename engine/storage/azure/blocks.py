"""How the pieces of a part become blocks of a blob (pure: no request is made here).

Pieces are new bytes or ranges of a source. Where the service may copy, a long range becomes blocks
of its own, copied by the service; what is short is gathered, with its neighbours, into blocks that
this machine stages. Without that, everything is gathered.

A block's id names its position and what it is made of, so a second try stages the same block, and
what a killed try left behind is used or replaced, never added to.

A part up to :data:`LARGEST_PART_BYTES` never needs more than the 50,000 blocks that a blob may
have: each block copied is followed by at most one that is staged; the first half of the blocks may
be as short as :data:`SHORT_COPY_BYTES`, a pair of the second half holds at least
:data:`~engine.storage.azure.request_pool.BLOCK_BYTES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.storage.azure.request_pool import BLOCK_BYTES
from engine.storage.base import Source

MAX_BLOCKS = 50_000
LARGEST_PART_BYTES = 100 << 30
SHORT_COPY_BYTES = 32 << 10  # below this, a request of its own costs more than the bytes
COPY_BYTES = 64 << 20  # long enough to make requests few, short enough to repeat one
_DIGITS = 40


@dataclass(frozen=True)
class SourceRange:
    """Bytes of a source."""

    source: Source
    offset: int
    length: int

    def cut(self, length: int) -> tuple[SourceRange, SourceRange]:
        """Return its first ``length`` bytes, and the rest."""
        return (
            SourceRange(self.source, self.offset, length),
            SourceRange(self.source, self.offset + length, self.length - length),
        )

    def is_continued_by(self, other: Piece) -> bool:
        """Whether another piece begins where this one ends."""
        return (
            isinstance(other, SourceRange)
            and other.source is self.source
            and other.offset == self.offset + self.length
        )


Piece = bytes | SourceRange


def length_of(piece: Piece) -> int:
    """Return the bytes of a piece."""
    return piece.length if isinstance(piece, SourceRange) else len(piece)


@dataclass(frozen=True)
class Block:
    """One block to stage: ``pieces`` in order; ``is_copied`` if the service copies it."""

    position: int
    pieces: tuple[Piece, ...]
    is_copied: bool

    @property
    def num_bytes(self) -> int:
        """Size of the block."""
        return sum(length_of(piece) for piece in self.pieces)

    @property
    def id(self) -> str:
        """Return the id; all ids of a blob must have one length."""
        return block_id(self.position, 0, self.pieces)

    def split(self, most_bytes: int) -> Iterator[tuple[str, tuple[Piece, ...]]]:
        """Yield ids and pieces of smaller blocks that may stand for this one."""
        pieces, number = list(self.pieces), 0
        while pieces:
            number += 1
            some, pieces = cut_pieces(pieces, most_bytes)
            yield block_id(self.position, number, some), tuple(some)


def block_id(position: int, number: int, pieces: Sequence[Piece]) -> str:
    """Return an id of 51 characters from a block's place and what it is made of."""
    digest = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, SourceRange):
            file = piece.source.file
            text = f"{file.path}\n{file.version}\n{piece.offset}\n{piece.length}"
            digest.update(hashlib.sha256(text.encode()).digest())
        else:
            digest.update(hashlib.sha256(piece).digest())
    return f"{position:05d}.{number:04d}.{digest.hexdigest()[:_DIGITS]}"


def cut_pieces(pieces: Sequence[Piece], most_bytes: int) -> tuple[list[Piece], list[Piece]]:
    """Return the first ``most_bytes`` of some pieces, and the rest."""
    first: list[Piece] = []
    for at, piece in enumerate(pieces):
        size = length_of(piece)
        if size <= most_bytes:
            first.append(piece)
            most_bytes -= size
            continue
        rest: list[Piece] = list(pieces[at + 1 :])
        if most_bytes:
            head, piece = _cut(piece, most_bytes)
            first.append(head)
        return first, [piece, *rest]
    return first, []


def _cut(piece: Piece, length: int) -> tuple[Piece, Piece]:
    if isinstance(piece, SourceRange):
        return piece.cut(length)
    return piece[:length], piece[length:]


class Composer:
    """Turns pieces into blocks, in order, as soon as each is complete."""

    def __init__(self, may_copy: Callable[[Source], bool]) -> None:
        self._may_copy = may_copy
        self._num_blocks = 0
        self._gathered: list[Piece] = []
        self._gathered_bytes = 0
        self._last: Piece = b""  # may still be continued by the next piece

    def add(self, piece: Piece) -> Iterator[Block]:
        """Take a piece; yield the blocks that are complete with it."""
        if not length_of(piece):
            return
        last = self._last
        if isinstance(last, SourceRange) and last.is_continued_by(piece):
            self._last = SourceRange(last.source, last.offset, last.length + length_of(piece))
        else:
            self._last = piece
            yield from self._settle(last)
        yield from self._begin_long()

    def finish(self) -> Iterator[Block]:
        """Yield the blocks of what is left."""
        last, self._last = self._last, b""
        yield from self._settle(last)
        yield from self._staged(0)

    def _begin_long(self) -> Iterator[Block]:
        """Begin with a range that is long enough before its end is known."""
        most = 2 * COPY_BYTES if self._copies(self._last) else BLOCK_BYTES
        while isinstance(self._last, SourceRange) and self._last.length >= most:
            head, self._last = self._last.cut(most // 2)
            yield from self._settle(head)

    def _copies(self, piece: Piece) -> bool:
        scarce = self._num_blocks > MAX_BLOCKS // 2
        return (
            isinstance(piece, SourceRange)
            and self._may_copy(piece.source)
            and piece.length >= (BLOCK_BYTES if scarce else SHORT_COPY_BYTES)
        )

    def _settle(self, piece: Piece) -> Iterator[Block]:
        if not self._copies(piece):
            self._gathered.append(piece)
            self._gathered_bytes += length_of(piece)
            yield from self._staged(BLOCK_BYTES)
            return
        yield from self._staged(0)
        assert isinstance(piece, SourceRange)
        number = -(-piece.length // COPY_BYTES)
        while piece.length:
            head, piece = piece.cut(-(-piece.length // number))
            number -= 1
            yield self._block([head], is_copied=True)

    def _staged(self, least_bytes: int) -> Iterator[Block]:
        """Yield blocks of what is gathered while it is at least so much."""
        while self._gathered_bytes > max(0, least_bytes - 1):
            some, self._gathered = cut_pieces(self._gathered, BLOCK_BYTES)
            block = self._block(some, is_copied=False)
            self._gathered_bytes -= block.num_bytes
            yield block

    def _block(self, pieces: Sequence[Piece], *, is_copied: bool) -> Block:
        self._num_blocks += 1
        return Block(self._num_blocks - 1, tuple(p for p in pieces if length_of(p)), is_copied)
