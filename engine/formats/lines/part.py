"""A part of lines from its plan: header and byte ranges, copied as they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import InternalError
from engine.formats import WrittenPart
from engine.formats.lines.gzipped import compressor
from engine.formats.lines.pieces import Joined, Opened, Piece, opened_all, part_pieces
from engine.model import PartPlan, Recoding, SourceFile
from engine.settings import CODECS
from engine.storage import PartSink, Source
from engine.storage.base import steps

_END_BYTES = 4096
_STEP_BYTES = 256 << 10


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
        if recoding.codec is not None:
            end = _write_anew(sink, Joined(pieces, get), recoding)
            _check_unchanged(pieces, get)
            tail = _tail(sink.size_bytes, end)
            return WrittenPart(part.num_rows, 0, sink.size_bytes, tail, 0, "")
        for piece in pieces:
            if piece.text:
                sink.write(piece.text)
            else:
                sink.copy(get(piece.file), piece.offset, piece.length)
        whole = Joined(pieces, get)
        start = max(0, whole.size_bytes - _END_BYTES)
        end = whole.read(start, _END_BYTES)
        _check_unchanged(pieces, get)
    written = sink.read_back([start], _END_BYTES)
    if sink.size_bytes != whole.size_bytes or (written is not None and written != [end]):
        raise InternalError(f"{part.name} does not end as its plan says")
    tail = _tail(whole.size_bytes, end)
    # Lines are values alone: there is no end that a proof would not compare.
    return WrittenPart(part.num_rows, whole.size_bytes, 0, tail, 0, "")


def _check_unchanged(pieces: Sequence[Piece], get: Opened) -> None:
    for number in {piece.file for piece in pieces}:
        get(number).check_unchanged()


def _write_anew(sink: PartSink, whole: Joined, recoding: Recoding) -> bytes:
    """Write text that was decompressed, compressed again if so wanted; return its last bytes."""
    made = compressor(recoding.level) if recoding.codec == CODECS["gzip"] else None
    end, num_bytes = b"", 0
    for step in steps(0, whole.size_bytes, _STEP_BYTES):
        data = whole.read(*step)
        num_bytes += len(data)
        data = data if made is None else made.compress(data)
        if data:
            sink.write(data)
            end = (end + data)[-_END_BYTES:]
    if num_bytes != whole.size_bytes:
        raise InternalError(f"{num_bytes:,} bytes of text instead of {whole.size_bytes:,}")
    if made is not None:
        data = made.flush()
        sink.write(data)
        end = (end + data)[-_END_BYTES:]
    return end


def read_tail(source: Source, /) -> bytes:
    """Return the size of a part, and its last bytes."""
    size = source.file.size_bytes
    start = max(0, size - _END_BYTES)
    return _tail(size, source.read(start, size - start))


def _tail(size_bytes: int, end: bytes) -> bytes:
    return size_bytes.to_bytes(8, "little") + end
