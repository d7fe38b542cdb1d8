"""A part of lines from its plan: header and byte ranges, copied as they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from engine.errors import InternalError, Unsupported
from engine.formats import WrittenPart
from engine.formats.lines.codecs import CODECS
from engine.formats.lines.encodings import UTF_8_MARK
from engine.formats.lines.pieces import (
    Joined,
    Opened,
    dialect_of,
    head_of,
    opened_all,
    part_pieces,
    part_texts,
)
from engine.model import PartPlan, Recoding, SourceFile
from engine.settings import CODECS as NUMBERS
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
        if recoding.codec is not None:
            texts = _checked_texts(part, sources, part_texts(part, sources, get))
            end = _write_anew(sink, texts, recoding)
            _check_unchanged({0, *(piece.file for piece in part.slices)}, get)
            tail = _tail(sink.size_bytes, end)
            return WrittenPart(part.num_rows, 0, sink.size_bytes, tail, 0, "")
        pieces = part_pieces(part, sources, get)
        whole = Joined(pieces, get)
        if _may_begin_with_mark(part, sources):
            _check_begin(part, whole.read(0, len(UTF_8_MARK)))
        for piece in pieces:
            if piece.text:
                sink.write(piece.text)
            else:
                sink.copy(get(piece.file), piece.offset, piece.length)
        start = max(0, whole.size_bytes - _END_BYTES)
        end = whole.read(start, _END_BYTES)
        _check_unchanged({piece.file for piece in pieces}, get)
    written = sink.read_back([start], _END_BYTES)
    if sink.size_bytes != whole.size_bytes or (written is not None and written != [end]):
        raise InternalError(f"{part.name} does not end as its plan says")
    tail = _tail(whole.size_bytes, end)
    # Lines are values alone: there is no end that a proof would not compare.
    return WrittenPart(part.num_rows, whole.size_bytes, 0, tail, 0, "")


def _may_begin_with_mark(part: PartPlan, sources: Sequence[SourceFile]) -> bool:
    """Whether a part begins with a record that stood inside a source; one of JSON has no mark."""
    has_head = head_of(sources[0], is_first=part.index == 0).length > 0
    return part.index > 0 and not has_head and dialect_of(sources[0]).kind == "csv"


def _check_begin(part: PartPlan, begin: bytes) -> None:
    """Refuse a part whose first value readers would take a byte order mark from."""
    if begin.startswith(UTF_8_MARK):
        raise Unsupported(
            f"{part.name} would begin with a byte order mark that stands before a record in the "
            "middle, where files were put together: readers drop it there, and the value is "
            "another; remove such marks, or choose another size"
        )


def _checked_texts(
    part: PartPlan, sources: Sequence[SourceFile], texts: Iterable[bytes]
) -> Iterator[bytes]:
    begin = b""
    may_begin_with_mark = _may_begin_with_mark(part, sources)
    for text in texts:
        if may_begin_with_mark and len(begin) < len(UTF_8_MARK):
            begin += text[: len(UTF_8_MARK)]
            _check_begin(part, begin)
        yield text


def _check_unchanged(numbers: Set[int], get: Opened) -> None:
    for number in numbers:
        get(number).check_unchanged()


def _write_anew(sink: PartSink, texts: Iterable[bytes], recoding: Recoding) -> bytes:
    """Write text, compressed if so wanted; return the last bytes written."""
    codec = next((one for one in CODECS.values() if NUMBERS[one.name] == recoding.codec), None)
    made = codec.compressor(codec.level(recoding.level)) if codec else None
    end = b""

    def put(data: bytes) -> None:
        nonlocal end
        if data:
            sink.write(data)
            end = (end + data)[-_END_BYTES:]

    for text in texts:
        put(made.compress(text) if made else text)
    if made:
        put(made.flush())
    return end


def read_tail(source: Source, /) -> bytes:
    """Return the size of a part, and its last bytes."""
    size = source.file.size_bytes
    start = max(0, size - _END_BYTES)
    return _tail(size, source.read(start, size - start))


def _tail(size_bytes: int, end: bytes) -> bytes:
    return size_bytes.to_bytes(8, "little") + end
