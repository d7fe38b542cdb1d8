"""The least format there is: records of one size, which copy as they lie and may be cut anywhere.

A file is ``RECS``, the bytes of a record, the records, and their number; both numbers have eight
bytes. It has neither columns nor pages, so no byte of a part is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path

from engine.errors import Different, NotParquet, SchemaMismatch
from engine.formats import Compared, Measures, WrittenPart
from engine.model import PartPlan, Recoding, SourceFile
from engine.planning.curves import rough_curve
from engine.planning.layout import GroupLayout, make_layout
from engine.planning.ruler import no_insides
from engine.settings import Settings
from engine.storage import PartSink, Source, open_storage
from engine.storage.base import naming

ENDING = ".records"
MAGIC = b"RECS"
HEAD_BYTES, TAIL_BYTES = 12, 8
PRELOAD: tuple[str, ...] = ()


def write_file(path: Path, records: Sequence[bytes]) -> Path:
    head = MAGIC + len(records[0]).to_bytes(8, "little")
    path.write_bytes(head + b"".join(records) + len(records).to_bytes(8, "little"))
    return path


def read_file(path: Path) -> list[bytes]:
    data = path.read_bytes()
    width = int.from_bytes(data[4:HEAD_BYTES], "little")
    body = data[HEAD_BYTES:-TAIL_BYTES]
    records = [body[at : at + width] for at in range(0, len(body), width)]
    assert len(records) == int.from_bytes(data[-TAIL_BYTES:], "little")
    return records


def _opened(file: SourceFile) -> Source:
    store, path = open_storage(file.path)
    return store.open(SourceFile(path, file.size_bytes, file.version))


def _width(file: SourceFile) -> int:
    source = _opened(file)
    try:
        with naming(file.path):
            head = source.read(0, HEAD_BYTES)
            if head[:4] != MAGIC:
                raise NotParquet("no file of records")
            return int.from_bytes(head[4:], "little")
    finally:
        source.close()


def _num_rows(file: SourceFile) -> int:
    return (file.size_bytes - HEAD_BYTES - TAIL_BYTES) // _width(file)


def settled(
    files: Sequence[SourceFile], settings: Settings, /
) -> tuple[tuple[SourceFile, ...], Settings]:
    return tuple(files), settings


def notes(_: Sequence[SourceFile], /) -> tuple[str, ...]:
    return ()


def top_columns(file: SourceFile, /) -> set[str]:
    return set()


def agreements(file: SourceFile, texts: Mapping[str, str | None], /) -> dict[str, bool | None]:
    return {}


def measure(files: Sequence[SourceFile], settings: Settings, /, *, revision: int) -> Measures:
    widths = [_width(file) for file in files]
    if len(set(widths)) > 1:
        raise SchemaMismatch(f"records of {widths} bytes")
    groups = [
        GroupLayout(number, 0, rows, rows * widths[number], 0, 0, 0)
        for number, rows in enumerate(map(_num_rows, files))
        if rows
    ]
    layout = make_layout(tuple(files), tuple(groups), HEAD_BYTES + TAIL_BYTES, 0)
    return Measures(
        layout=layout,
        curve_of=lambda position: rough_curve(layout.groups[position]),
        inside_of=no_insides,
        memory_of=lambda part: 1 << 20,
        copied_of=lambda pieces: sum(piece.num_rows * widths[piece.file] for piece in pieces),
        kept_bytes=lambda part_bytes, decodes: 0,
    )


def write(
    part: PartPlan,
    sources: Sequence[SourceFile],
    sink: PartSink,
    /,
    *,
    recoding: Recoding,
    provenance: Mapping[str, str],
) -> WrittenPart:
    width = _width(sources[0])
    sink.write(MAGIC + width.to_bytes(8, "little"))
    for piece in part.slices:
        source = _opened(sources[piece.file])
        try:
            sink.copy(source, HEAD_BYTES + piece.start_row * width, piece.num_rows * width)
            source.check_unchanged()
        finally:
            source.close()
    tail = part.num_rows.to_bytes(8, "little")
    sink.write(tail)
    return WrittenPart(
        part.num_rows, part.num_rows * width, 0, tail, len(tail), sha256(tail).hexdigest()
    )


def read_tail(source: Source, /) -> bytes:
    return source.read(source.file.size_bytes - TAIL_BYTES, TAIL_BYTES)


def verify(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    memory_bytes: int,
    workers: int,
    expected_rows: Sequence[int],
    settings: Mapping[str, object],
    progress: Callable[[int], None] | None,
) -> Compared:
    expected = b"".join(_body(file) for file in sources)
    at = 0
    for file in parts:
        found = _body(file)
        if found != expected[at : at + len(found)]:
            raise Different(f"{file.path.rpartition('/')[2]} has other records than the source")
        at += len(found)
    if at != len(expected):
        raise Different("there are fewer records than in the source")
    return Compared(sum(map(_num_rows, sources)), 1)


def _body(file: SourceFile) -> bytes:
    source = _opened(file)
    try:
        return source.read(HEAD_BYTES, file.size_bytes - HEAD_BYTES - TAIL_BYTES)
    finally:
        source.close()


def verify_memory_bytes(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    /,
    *,
    workers: int,
    memory_bytes: int,
) -> int:
    return 2 * sum(file.size_bytes for file in sources)


def holding_sources() -> AbstractContextManager[None]:
    """Files are closed as soon as they are read."""
    return nullcontext()
