"""A part from its plan: the rows of its slices, row group by row group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from engine.errors import InternalError
from engine.formats import WrittenPart
from engine.formats.converted.blocks import BlockReader, conversion_of, parquet_schema
from engine.formats.converted.writing import FileWriter
from engine.formats.lines.pieces import Opened, opened_all
from engine.formats.parquet.opened import read_footer_bytes
from engine.model import PartPlan, Recoding, RowGroupSlice, SourceFile
from engine.storage import PartSink, Source


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
    plain = conversion_of(sources[0]).plain
    writer = FileWriter(parquet_schema(sources[0]), recoding, sink.write, plain)
    with opened_all(sources) as get:
        rows = _Rows(sources, get)
        for slices in part.row_groups:
            writer.add(pa.concat_tables(rows.tables(slices)))
        for number in {piece.file for piece in part.slices}:
            get(number).check_unchanged()
    end = writer.finish(provenance)
    start = sink.size_bytes - len(end.data)
    written = sink.read_back([start], len(end.data))
    if sink.size_bytes != writer.num_bytes or (written is not None and written != [end.data]):
        raise InternalError(f"{part.name} does not end as it was written")
    digest = hashlib.sha256(end.data).hexdigest()
    return WrittenPart(writer.num_rows, 0, writer.num_bytes, end.footer, len(end.data), digest)


class _Rows:
    """The rows of slices of several sources, of which one block is kept."""

    def __init__(self, sources: Sequence[SourceFile], get: Opened) -> None:
        self._sources = sources
        self._get = get
        self._readers: dict[int, BlockReader] = {}

    def tables(self, slices: Sequence[RowGroupSlice]) -> Iterator[Any]:
        for number, group in groupby(slices, key=lambda piece: piece.file):
            if number not in self._readers:
                reader = BlockReader(self._sources[number], self._get(number))
                self._readers = {number: reader}
            self._get(number)  # a compressed file that is read takes the memory of others
            yield from self._readers[number].tables(list(group))


def read_tail(source: Source, /) -> bytes:
    """Return the footer of a part."""
    return read_footer_bytes(source)[0]
