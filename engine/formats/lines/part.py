"""A part of lines from its plan: header and byte ranges, copied as they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import InternalError
from engine.formats import WrittenPart
from engine.formats.lines.pieces import Joined, opened_all, part_pieces
from engine.model import PartPlan, Recoding, SourceFile
from engine.storage import PartSink, Source

_END_BYTES = 4096


def write(
    part: PartPlan,
    sources: Sequence[SourceFile],
    sink: PartSink,
    /,
    *,
    recoding: Recoding,
    provenance: Mapping[str, str],
) -> WrittenPart:
    """Write a part; see :meth:`engine.formats.Format.write`. Lines hold no metadata."""
    with opened_all(sources) as get:
        pieces = part_pieces(part, sources, get)
        for piece in pieces:
            if piece.text:
                sink.write(piece.text)
            else:
                sink.copy(get(piece.file), piece.offset, piece.length)
        whole = Joined(pieces, get)
        start = max(0, whole.size_bytes - _END_BYTES)
        end = whole.read(start, _END_BYTES)
        for number in {piece.file for piece in pieces}:
            get(number).check_unchanged()
    written = sink.read_back([start], _END_BYTES)
    if sink.size_bytes != whole.size_bytes or (written is not None and written != [end]):
        raise InternalError(f"{part.name} does not end as its plan says")
    tail = _tail(whole.size_bytes, end)
    # Lines are values alone: there is no end that a proof would not compare.
    return WrittenPart(part.num_rows, whole.size_bytes, 0, tail, 0, "")


def read_tail(source: Source, /) -> bytes:
    """Return the size of a part, and its last bytes."""
    size = source.file.size_bytes
    start = max(0, size - _END_BYTES)
    return _tail(size, source.read(start, size - start))


def _tail(size_bytes: int, end: bytes) -> bytes:
    return size_bytes.to_bytes(8, "little") + end
