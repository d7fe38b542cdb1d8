"""Records that are no rows, and are left out: in a sentence, and as a file that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engine.errors import BadRow
from engine.formats.converted.blocks import conversion_of, indexed
from engine.formats.converted.records import Bad
from engine.formats.lines.encodings import verbatim
from engine.formats.lines.reading import line_of, opened
from engine.model import SourceFile
from engine.storage import Source
from engine.storage.base import redacted
from engine.wording import amount, counted, shown

_MOST_BYTES = 256 << 20


class _LeftOut(NamedTuple):
    line: int
    bad: Bad
    record: bytes


def sentences(files: Sequence[SourceFile]) -> Iterator[str]:
    """Yield, of each file that has some, how many records are left out, and the first."""
    for file in files:
        places = [(block, bad) for block in indexed(file).blocks for bad in block.bad]
        if places:
            block, bad = places[0]
            with opened(file) as source:
                line = line_of(source, block.offset + bad.offset)
            column = f", column {shown(bad.column)}" if bad.column else ""
            yield (
                f"{counted(len(places), 'record')} of {redacted(file.path)} (--bad-rows "
                f"{conversion_of(file).bad_rows}); the first is line {line:,}{column}: {bad.reason}"
            )


def kept_bytes(files: Sequence[SourceFile]) -> bytes:
    """Return a file of all records that are left out, as they are, with where and why.

    Raises:
        BadRow: they take more than anybody would look at.
    """
    found = [b"file,line,column,reason,record\n"]
    num_bytes = 0
    for file in files:
        for line, bad, record in _left_out(file):
            texts = (redacted(file.path), str(line), bad.column, bad.reason)
            fields = [*(text.encode() for text in texts), record]
            found.append(b",".join(map(_quoted, fields)) + b"\n")
            num_bytes += len(found[-1])
            if num_bytes > _MOST_BYTES:
                raise BadRow(
                    f"{redacted(file.path)}: records that do not fit take more than "
                    f"{amount(_MOST_BYTES)}, up to line {line:,}: look at its columns (--schema), "
                    "or leave them out by --bad-rows skip"
                )
    return b"".join(found)


def _left_out(file: SourceFile) -> Iterator[_LeftOut]:
    line, position = 1, 0
    with opened(file) as source:
        for block in indexed(file).blocks:
            for bad in block.bad:
                start = block.offset + bad.offset
                between = source.chunks(position, start - position)
                line += sum(data.count(b"\n") for data in between)
                position = start
                yield _LeftOut(line, bad, _without_end(source, start, bad.length))


def _without_end(source: Source, start: int, length: int) -> bytes:
    """Return a record as its bytes are, without the line end."""
    marks = source.read(start, length)
    return verbatim(source, start, len(marks.rstrip(b"\r\n")))


def _quoted(field: bytes) -> bytes:
    return b'"%s"' % field.replace(b'"', b'""')
