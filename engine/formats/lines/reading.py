"""Files of lines, opened; their bytes with what is escaped hidden; and where in them a line is.

How records are told apart is :mod:`.scan`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import BadStructure, Unsupported
from engine.formats.lines.codecs import CODECS
from engine.formats.lines.compressed import CompressedSource, codec_of
from engine.formats.lines.encodings import MARK_BYTES, WideSource, encoding_at, encoding_of
from engine.formats.lines.scan import (
    FRESH,
    LOOKBACK_BYTES,
    Marks,
    Positions,
    TextBehindQuote,
    Walked,
    plain,
    record_ends,
    walk,
)
from engine.model import SourceFile
from engine.storage import Source, open_storage
from engine.storage.base import naming, steps

STEP_BYTES = 256 << 10
_LARGE_STEP_BYTES = 4 << 20


@contextmanager
def opened(file: SourceFile, encoding: str | None = None) -> Iterator[Source]:
    """Open the text of a file for a while; errors about its content name it.

    ``encoding``: what the user says of one whose begin was not looked at; None: a part, of bytes.
    """
    store, path = open_storage(file.path)
    with naming(file.path):
        source = store.open(SourceFile(path, file.size_bytes, file.version))
        try:
            if file.dialect is None:
                codec, num_bytes = codec_of(source), None
            else:
                codec, num_bytes = CODECS.get(file.dialect.codec), file.dialect.num_bytes or None
            if codec is not None:
                is_kept = file.dialect is not None
                source = CompressedSource(source, codec, num_bytes, is_kept=is_kept)
            yield source if _is_part(file, encoding) else _in_units(source, file, encoding or "")
        finally:
            source.close()


def _is_part(file: SourceFile, encoding: str | None) -> bool:
    return file.dialect is None and encoding is None


def _in_units(source: Source, file: SourceFile, wanted: str) -> Source:
    """Return a source in which marks are single bytes.

    Raises:
        Unsupported: it is UTF-16, and compressed.
    """
    if file.dialect is not None:
        encoding = encoding_of(file.dialect)
    else:
        encoding = encoding_at(source.read(0, min(MARK_BYTES, source.file.size_bytes)), wanted)
    if encoding.unit_bytes == 1:
        return source
    if isinstance(source, CompressedSource):
        program = source.codec.program
        raise Unsupported(f"it is UTF-16, and compressed: decompress it first ({program} -d)")
    return WideSource(source, encoding)


def stretch(source: Source, offset: int, length: int, marks: Marks) -> tuple[bytes, bytes]:
    """Return bytes with :func:`.scan.plain`, and the byte that follows.

    Raises:
        BadStructure: so many escape characters lie before, that nobody counts them.
    """
    back = min(offset, LOOKBACK_BYTES) if marks.escape else 0
    start = offset - back
    text = source.read(start, min(back + length + 1, source.file.size_bytes - start))
    before = text[:back]
    if back == LOOKBACK_BYTES and before == marks.escape * back:
        raise BadStructure(
            f"{back} escape characters in a row before byte {offset:,}; is --escape right?"
        )
    shown = plain(text[back:], before, marks)
    return shown[:length], shown[length:]


def walked(source: Source, start: int, stop: int, marks: Marks) -> Iterator[tuple[int, Walked]]:
    """Yield stretches from where a record begins, each with its position, as they are walked."""
    state = FRESH
    for offset, length in steps(start, stop - start, STEP_BYTES):
        data, after = stretch(source, offset, length, marks)
        found = record_ends(data, state, after, marks)
        state = found.state
        yield offset, found


def record_starts(source: Source, start: int, stop: int, marks: Marks) -> Iterator[Positions]:
    """Yield the positions where records begin in ``(start, stop]``; at ``start`` one does."""
    for offset, found in walked(source, start, stop, marks):
        yield found.ends + offset


def blamed(source: Source, start: int, marks: Marks) -> BadStructure:
    """Return the error about a file whose quotes do not pair up, with the line; reads it anew."""
    if isinstance(source, CompressedSource):
        source.measure()  # damage in the compressed data is told as such
    state, opened_at = FRESH, start
    size = source.file.size_bytes
    for offset, length in steps(start, size - start, _LARGE_STEP_BYTES):
        data, after = stretch(source, offset, length, marks)
        try:
            found = walk(data, state, after, marks)
        except TextBehindQuote as error:
            begun = opened_at if error.opened < 0 else offset + error.opened
            return BadStructure(
                f"line {line_of(source, offset + error.position):,}: text follows the closing "
                f"quote of a field that was opened in line {line_of(source, begun):,}; mend it, or "
                "say --quote none if quotes are plain text there"
            )
        state = found.state
        if found.opened is not None and found.opened >= 0:
            opened_at = offset + found.opened
    return BadStructure(
        f"line {line_of(source, opened_at):,}: a quote is opened and never closed; mend it, or say "
        "--quote none if quotes are plain text there"
    )


def line_of(source: Source, position: int) -> int:
    """Return the number of the line, from 1 on, that holds a position."""
    return 1 + sum(data.count(b"\n") for data in source.chunks(0, position))
