"""Records that are no rows, and are left out: in a sentence, and as a file that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.formats.converted.blocks import conversion_of, indexed
from engine.formats.converted.records import Reader
from engine.formats.converted.sifting import sifted
from engine.formats.lines.encodings import encoding_of, text_of
from engine.formats.lines.pieces import dialect_of
from engine.formats.lines.reading import line_of, opened
from engine.model import SourceFile
from engine.storage.base import redacted
from engine.wording import counted, shown


def sentences(files: Sequence[SourceFile]) -> Iterator[str]:
    """Yield, of each file that has some, how many records are left out, and the first."""
    for file in files:
        blocks = [block for block in indexed(file).blocks if block.num_bad]
        if blocks and (bad := blocks[0].first_bad) is not None:
            with opened(file) as source:
                line = line_of(source, blocks[0].offset + bad.offset)
            column = f", column {shown(bad.column)}" if bad.column else ""
            num_bad = sum(block.num_bad for block in blocks)
            yield (
                f"{counted(num_bad, 'record')} of {redacted(file.path)} (--bad-rows "
                f"{conversion_of(file).bad_rows}); the first is line {line:,}{column}: {bad.reason}"
            )


def kept(files: Sequence[SourceFile]) -> Iterator[bytes]:
    """Yield a file of all records that are left out, as they are, with where and why.

    Blocks that have some are read anew, so that one block's are held.
    """
    yield b"file,line,column,reason,record\n"
    for file in files:
        line, position = 1, 0
        dialect = dialect_of(file)
        reader = Reader(dialect, conversion_of(file))
        with opened(file) as source:
            for block in indexed(file).blocks:
                if not block.num_bad:
                    continue
                between = source.chunks(position, block.offset - position)
                line += sum(data.count(b"\n") for data in between)
                text = text_of(source, dialect, block.offset, block.num_bytes)
                at = 0
                for bad in sifted(reader, text, block.num_rows).bad:
                    line += text.count(b"\n", at, bad.offset)
                    at = bad.offset
                    places = (redacted(file.path), str(line), bad.column, bad.reason)
                    record = text[at : at + bad.length].rstrip(b"\r\n")
                    record = encoding_of(dialect).back(record)  # as its bytes are
                    fields = [*(place.encode() for place in places), record]
                    yield b",".join(map(_quoted, fields)) + b"\n"
                line += text.count(b"\n", at)
                position = block.stop


def _quoted(field: bytes) -> bytes:
    return b'"%s"' % field.replace(b'"', b'""')
