"""Prove Parquet parts of lines: the source is read again, and all values compared in order.

The schema is that of the plan. Rows of the source come by the reader that wrote the parts, so what
is proved is that the parts hold what it reads; that it reads what others do, the tests say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine import memory
from engine.errors import Different
from engine.formats import Compared
from engine.formats.converted.blocks import (
    AT_ONCE_BYTES,
    Block,
    BlockReader,
    folder_row_bytes,
    in_threads,
    indexed,
    most_utf8_bytes,
    parquet_schema,
)
from engine.formats.lines.compressed import KEPT_BYTES, open_bytes
from engine.formats.lines.reading import opened
from engine.formats.parquet.bytes.float_bits import bits_of
from engine.model import SourceFile
from engine.storage import open_storage
from engine.wording import counted, shown

_BATCH_ROWS = 1 << 14
_SHOWN_LETTERS = 60
_PROCESS_BYTES = 124 * memory.MIB
_WORKER_BYTES = 48 * memory.MIB
_COPIES = 8  # of a block: text, fields, values; and of a part, pages and values

_FOLDERS_COPIES = 3  # of values that folders say, with those of a part


def compare(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    expected_rows: Sequence[int],
    workers: int,
    progress: Callable[[int], None] | None,
) -> Compared:
    """Compare parts with their sources; see :meth:`engine.formats.Format.verify`."""
    schema = parquet_schema(sources[0])
    every = [(file, block) for file in sources for block in indexed(file).blocks]
    firsts = [0, *accumulate(block.num_rows for _, block in every)]
    starts = [0, *accumulate(expected_rows)]
    if starts[-1] != firsts[-1]:
        raise Different(
            f"the parts have {counted(starts[-1], 'row')}, and the source has {firsts[-1]:,}"
        )

    def compare_one(index: int) -> int:
        wanted = _Rows(every, firsts, starts[index])
        return _compare_part(parts[index], schema, wanted, expected_rows[index], progress)

    compared = in_threads(compare_one, range(len(parts)), max(1, workers))
    return Compared(sum(compared), len(schema))


class _Rows:
    """The rows of blocks from one on, as many as are asked for at a time."""

    def __init__(
        self, every: Sequence[tuple[SourceFile, Block]], firsts: Sequence[int], start: int
    ) -> None:
        self._tables = self._read(every, firsts, start)
        self._left: Any = None

    @staticmethod
    def _read(
        every: Sequence[tuple[SourceFile, Block]], firsts: Sequence[int], start: int
    ) -> Iterator[Any]:
        first = max(0, bisect_right(firsts, start) - 1)
        left_out = start - firsts[first]
        for file, places in groupby(every[first:], key=lambda place: place[0]):
            with opened(file) as source:
                blocks = [block for _, block in places if block.num_rows]
                for table in BlockReader(file, source).tables_of(blocks):
                    yield table.slice(left_out)
                    left_out = max(0, left_out - table.num_rows)

    def take(self, num_rows: int) -> Any:
        """Return the next rows."""
        found = []
        while num_rows:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._tables)
            found.append(self._left.slice(0, num_rows))
            self._left = self._left.slice(found[-1].num_rows)
            num_rows -= found[-1].num_rows
        return pa.concat_tables(found)


def _compare_part(
    part: SourceFile,
    schema: Any,
    wanted: _Rows,
    num_rows: int,
    progress: Callable[[int], None] | None,
) -> int:
    """Return how many values were compared."""
    name = part.path.rpartition("/")[2]
    store, path = open_storage(part.path)
    source = store.open(SourceFile(path, part.size_bytes, part.version))
    try:
        file = pq.ParquetFile(source.arrow_file(), pre_buffer=False)
        if not file.schema_arrow.equals(schema):
            raise Different(f"{name} has another schema than its plan says")
        if file.metadata.num_rows != num_rows:
            raise Different(
                f"{name} holds {counted(file.metadata.num_rows, 'row')}, its receipt says "
                f"{num_rows:,}"
            )
        row = 0
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            found = pa.table(batch)
            _check_same(name, row, found, wanted.take(batch.num_rows))
            row += batch.num_rows
            if progress is not None:
                progress(batch.num_rows * batch.num_columns)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Different(
            f"{name} cannot be read: {shown(str(error).partition(chr(10))[0])}"
        ) from error
    finally:
        source.close()
    return num_rows * len(schema)


def _check_same(name: str, row: int, found: Any, wanted: Any) -> None:
    for column in found.column_names:
        ours, others = _bits_of(found.column(column)), _bits_of(wanted.column(column))
        if ours.equals(others):
            continue
        for at in range(len(ours)):
            one, other = ours.slice(at, 1), others.slice(at, 1)
            if not one.equals(other):
                values = [repr(each.column(column)[at].as_py()) for each in (found, wanted)]
                said, read = (shown(value[:_SHOWN_LETTERS]) for value in values)
                raise Different(
                    f"{name} has {said} in row {row + at:,} of column {shown(column)}, and the "
                    f"source has {read}"
                )


def _bits_of(column: Any) -> Any:
    return pa.chunked_array(list(map(bits_of, column.chunks))) if column.num_chunks else column


def proof_bytes(sources: Sequence[SourceFile], workers: int) -> int:
    """Return the projected peak memory of :func:`compare`, the process included."""
    blocks = [block for file in sources for block in indexed(file).blocks]
    largest = max((block.num_bytes for block in blocks), default=0)
    decoding = max(map(open_bytes, sources), default=0)
    text_bytes = (workers + 1) * decoding + KEPT_BYTES if decoding else 0
    at_once = max(largest, AT_ONCE_BYTES)
    most_rows = at_once * max((it.num_rows / max(1, it.num_bytes) for it in blocks), default=0)
    block_bytes = _COPIES * most_utf8_bytes(sources[0], at_once)
    block_bytes += _FOLDERS_COPIES * most_rows * folder_row_bytes(sources)
    return _PROCESS_BYTES + workers * (_WORKER_BYTES + round(block_bytes)) + text_bytes
