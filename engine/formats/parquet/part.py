"""Write one part: its row groups out of slices of the sources', its footer, its key values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from engine.errors import BadStructure, InternalError
from engine.formats import WrittenPart
from engine.formats.parquet.bytes.one_column import group_rows
from engine.formats.parquet.layout import named
from engine.formats.parquet.merging import Merged, merged
from engine.formats.parquet.merging.keys import KeyValues
from engine.formats.parquet.opened import OpenFile, open_file
from engine.formats.parquet.writers.chunk import ChunkMaker, NewChunk, Piece
from engine.formats.parquet.writers.key_values import part_key_values
from engine.formats.parquet.writers.splice import PartWriter
from engine.model import PartPlan, Recoding, RowGroupSlice, SourceFile
from engine.storage import PartSink
from engine.storage.base import naming


def write(
    part: PartPlan,
    sources: Sequence[SourceFile],
    sink: PartSink,
    /,
    *,
    recoding: Recoding,
    provenance: Mapping[str, str],
) -> WrittenPart:
    """Write a part; see :meth:`engine.formats.Format.write`."""
    numbers = {0, *(piece.file for piece in part.slices)}  # the first lends its schema
    files = {number: open_file(sources[number]) for number in numbers}
    try:
        written = _written(part, files, sink, recoding, provenance)
        _check_unchanged(part, files)
    except (BadStructure, InternalError):
        _check_unchanged(part, files)  # what looks like damage may be a file written anew
        raise
    return written


def _written(
    part: PartPlan,
    files: Mapping[int, OpenFile],
    sink: PartSink,
    recoding: Recoding,
    provenance: Mapping[str, str],
) -> WrittenPart:
    row_groups = part.row_groups
    writer = PartWriter(
        sink,
        _maker(part, recoding),
        has_many_groups=len(row_groups) > 1,
        keeps_chunks=recoding.is_nothing,
    )
    for slices in row_groups:
        pieces = [_opened(files, piece) for piece in slices]
        with ExitStack() as using:
            for piece in slices:
                if not piece.is_whole:  # else no other part has a share
                    using.enter_context(files[piece.file].in_use(piece.row_group))
            writer.add(pieces)
        _forget_ended(files, slices)
    taken = [files[piece.file] for piece in part.slices] or [files[0]]
    carried = merged([named(file) for file in dict.fromkeys(taken)])
    with naming(*(file.file.path for file in taken)):
        key_values = _key_values(part, files, carried, provenance)
        return writer.finish(files[0].footer, carried, key_values)


def _opened(files: Mapping[int, OpenFile], piece: RowGroupSlice) -> Piece:
    group = files[piece.file].row_group(piece.row_group)
    return Piece(group, piece.start_row, piece.stop_row, piece.is_whole, frozenset(piece.trimmed))


def _check_unchanged(part: PartPlan, files: Mapping[int, OpenFile]) -> None:
    for number in {piece.file for piece in part.slices}:
        files[number].source.check_unchanged()


def _key_values(
    part: PartPlan,
    files: Mapping[int, OpenFile],
    carried: Merged,
    provenance: Mapping[str, str],
) -> KeyValues:
    def first_row() -> int:
        if not part.slices:
            return 0
        first = part.slices[0]
        footer = files[first.file].footer
        return sum(group_rows(footer)[: first.row_group]) + first.start_row

    num_rows = sum(piece.num_rows for piece in part.slices)
    is_merged = any(len(slices) > 1 for slices in part.row_groups)
    return part_key_values(
        carried.key_values, first_row, num_rows, dict(provenance), is_merged=is_merged
    )


def _forget_ended(files: Mapping[int, OpenFile], slices: Sequence[RowGroupSlice]) -> None:
    """Drop what is kept of row groups that no later part needs, at once or a little later."""
    for piece in slices:
        if piece.stop_row == piece.num_rows_in_group:
            files[piece.file].forget(piece.row_group)
        else:
            files[piece.file].forget_soon(piece.row_group)


def _maker(part: PartPlan, recoding: Recoding) -> ChunkMaker:
    """Return what makes column chunks; only a part that needs it imports pyarrow."""
    if recoding.is_nothing and part.is_spliced:
        return _no_chunk
    from engine.formats.parquet.writers.make import make_chunk

    return partial(make_chunk, recoding=recoding)


def _no_chunk(*_: object, **__: object) -> NewChunk:
    raise InternalError("a part of whole row groups asked for a new chunk")
