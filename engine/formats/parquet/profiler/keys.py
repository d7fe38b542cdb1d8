"""Skew of the values of one column: the heaviest, how many there are, what a hash partition gives.

Unlike the rest of a profile this decodes the column. A :class:`Sketch` takes bounded memory for any
number of values. Sketches of pieces merge in any order, so pieces can be counted side by side
(:mod:`engine.executors.merged`). It holds

* counts of the heaviest values (Misra-Gries): each is too small by at most ``missed_rows``, and
  exact while there are no more than :data:`MAX_VALUES` values, of 16 MiB at most;
* a HyperLogLog of 4,096 registers: the number of distinct values within about 3%;
* rows a hash partition, exact for the hash used here. Another hash moves rare values elsewhere; a
  heavy value stays as heavy.

pandas hashes, pyarrow counts; both are imported only where values are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine import memory
from engine.errors import BadPage, BadSetting, SchemaMismatch
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.chunk_table import Numbers, read_chunk_table
from engine.formats.parquet.bytes.column_names import resolve, some_of, spelled
from engine.formats.parquet.bytes.footer import MAGIC, Leaf, seal
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.bytes.schema_tree import path_of
from engine.formats.parquet.opened import (
    Decoding,
    OpenChunk,
    OpenFile,
    arrow_file,
    decoding_of,
)
from engine.markup import Bar, Grid, card
from engine.model import SourceFile
from engine.storage.base import naming, redacted
from engine.wording import counted, percent

if TYPE_CHECKING:
    import pyarrow as pa

MAX_VALUES = 16_384
_MAX_VALUES_BYTES = 16 << 20  # of values that a sketch keeps: fewer where they are large
_MAX_BATCH_ROWS = 1 << 16
_MOST_TASKS = 64  # of a file, which each reads the footer of
_BATCH_BYTES = 4 << 20
_MIN_OPENED_BYTES = 1 << 20  # a chunk of less takes little
_REGISTER_BITS = 12
_SHOWN_CHARACTERS = 200
_NULL_HASH = 0x9E37_79B9_7F4A_7C15


@dataclass(frozen=True)
class HeavyValue:
    """A value as text, the rows that have it, and their share of all."""

    value: str
    num_rows: int
    share: float


@dataclass(frozen=True)
class KeySkew:
    """How the rows spread over the values of a column.

    Attributes:
        column: its dotted path.
        num_rows: rows, nulls included.
        num_distinct: distinct values; an estimate unless ``is_exact``.
        heaviest: the values of most rows, in descending order.
        partitions: rows of each partition, if rows were hashed by the value.
        missed_rows: by how much counts of ``heaviest`` may be too small.
        is_exact: whether all values were counted one by one.
    """

    column: str
    num_rows: int
    num_distinct: int
    heaviest: tuple[HeavyValue, ...]
    partitions: tuple[int, ...]
    missed_rows: int
    is_exact: bool

    def __repr__(self) -> str:
        """Return a line: there may be many values and partitions."""
        about = "" if self.is_exact else "about "
        rows = counted(self.num_rows, "row")
        return f"KeySkew({self.column!r}: {about}{self.num_distinct:,} distinct values of {rows})"

    def _repr_html_(self) -> str:
        """Return a table of the heaviest values, for a notebook."""
        rows = [
            (
                item.value,
                f"{item.num_rows:,}",
                Bar(item.share, percent(item.share)),
                percent(item.share),
            )
            for item in self.heaviest
        ]
        distinct = f"{'' if self.is_exact else 'about '}{self.num_distinct:,} distinct values"
        largest = max(self.partitions, default=0)
        return card(
            f"Key {self.column}",
            (
                f"{counted(self.num_rows, 'row')}, {distinct}",
                f"hashed into {len(self.partitions):,} partitions, the largest has "
                f"{percent(largest / (self.num_rows or 1))} of the rows",
            ),
            Grid(("<value", "rows", "<of all rows", "share"), rows),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class KeyTask:
    """Row groups of one file to count, one behind the other.

    Attributes:
        file, row_groups: which.
        name: of the column, as :mod:`.bytes.column_names` has it.
        column: its path, as people read it.
        num_partitions: of the hash partition that is tried.
        memory_bytes: what any of the row groups takes.
    """

    file: SourceFile
    row_groups: tuple[int, ...]
    name: str
    column: str
    num_partitions: int
    memory_bytes: int


@dataclass(frozen=True)
class Sketch:
    """What some rows have taught; ``values`` and ``counts`` are of one length."""

    values: pa.Array
    counts: Numbers
    registers: npt.NDArray[np.uint8]
    partitions: Numbers
    missed_rows: int = 0


def key_tasks(files: Sequence[SourceFile], column: str, num_partitions: int) -> list[KeyTask]:
    """Return the pieces: a row group each, or some where a file has many.

    Args:
        files: the sources.
        column: as the user wrote it, see :mod:`.bytes.column_names`.
        num_partitions: of the hash partition that is tried.

    Raises:
        BadSetting: a file has no such column, or it holds lists.
    """
    if num_partitions < 1:
        raise BadSetting(f"{num_partitions} partitions; at least 1 is needed")
    tasks: list[KeyTask] = []
    first = None
    for file in files:
        opened = OpenFile(file)
        try:
            with naming(file.path):
                leaf = _key_leaf(opened, column)
                memory_bytes = _memory_bytes(opened, leaf)
        finally:
            opened.source.close()
        first = first or leaf
        if leaf.element != first.element:
            raise SchemaMismatch(
                f"column {leaf.name} of {redacted(file.path)} has another type than that of "
                f"{redacted(files[0].path)}; profile them one by one"
            )
        path, groups = ".".join(leaf.path), range(opened.footer.num_row_groups)
        each = -(-len(groups) // _MOST_TASKS) or 1
        tasks += [
            KeyTask(file, tuple(some), leaf.name, path, num_partitions, memory_bytes)
            for some in (groups[at : at + each] for at in range(0, len(groups), each))
        ]
    return tasks


def _memory_bytes(opened: OpenFile, leaf: Leaf) -> int:
    """Return what counting takes in the row group that has most of a column."""
    index = opened.footer.leaves.index(leaf)
    sizes = read_chunk_table(opened.footer).uncompressed_bytes[:, index]
    largest = int(sizes.max(initial=0))
    decoding = Decoding(largest, largest, largest_value_bytes=largest)
    if largest > _MIN_OPENED_BYTES:
        decoding = decoding_of(opened.row_group(int(sizes.argmax())).chunk(index))
    return memory.key_bytes(
        decoding_bytes=decoding.num_bytes(_BATCH_BYTES),
        dictionary_bytes=decoding.dictionary_bytes,
        value_bytes=min(MAX_VALUES * decoding.value_bytes, _MAX_VALUES_BYTES),
        footer_bytes=opened.footer.size_bytes,
    )


def _key_leaf(file: OpenFile, column: str) -> Leaf:
    nodes = file.footer.nodes
    node = resolve(nodes, column)
    path = path_of(nodes, node)
    leaves = [leaf for leaf in file.footer.leaves if leaf.path == path]
    if not leaves:
        inside = [leaf.path for leaf in file.footer.leaves if leaf.path[: len(path)] == path]
        raise BadSetting(
            f"{column!r} is a group; a key is one column in it: {some_of([*map(spelled, inside)])}"
        )
    if leaves[0].max_repetition:
        raise BadSetting(f"column {column!r} holds lists; a key has one value a row")
    return leaves[0]


def sketch(task: KeyTask) -> Sketch | None:
    """Count the values of a piece, batch by batch; None if it has no rows.

    Raises:
        BadPage: a page is damaged.
    """
    opened = OpenFile(task.file)
    found: Sketch | None = None
    try:
        for values in _batches(opened, task):
            this = _of_values(values, task.num_partitions)
            found = this if found is None else merged(found, this)
    finally:
        opened.source.close()
    return found


def _batches(opened: OpenFile, task: KeyTask) -> Iterator[Any]:
    """Yield the values of a task's column."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    whole, numbers = opened.footer, task.row_groups
    index = [leaf.name for leaf in whole.leaves].index(task.name)
    number = numbers[0]
    try:
        # As if the file had no other column, and only these row groups: Arrow's own way to choose
        # a column goes by dotted names.
        footer = project(whole.holding([whole.groups[number] for number in numbers]), [task.name])
        described = MAGIC + seal(thrift.encode(footer.struct))
        metadata = pq.read_metadata(pa.BufferReader(described))
        chunks, num_rows = [], []
        for number in numbers:
            chunk = opened.row_group(number).chunk(index)
            chunks.append(chunk.entry)
            num_rows.append(_batch_rows(chunk))
            opened.forget(number)  # which has all other columns too
        file = arrow_file(opened.source, chunks)
        reader = pq.ParquetFile(file, metadata=metadata, pre_buffer=False, buffer_size=1 << 20)
        for at, rows in enumerate(num_rows):
            number = numbers[at]
            for batch in reader.iter_batches(rows, row_groups=[at], use_threads=False):
                values = batch.column(0)
                for _ in whole.leaves[index].path[1:]:
                    values = pc.struct_field(values, [0])
                if len(values):
                    yield values
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        where = f"{redacted(task.file.path)}: column {task.column}, row group {number}"
        raise BadPage(f"{where}: {error}") from error


def _batch_rows(chunk: OpenChunk) -> int:
    value_bytes = 1.0
    if chunk.entry.uncompressed_bytes:  # else it has no rows, and no pages
        value_bytes = max(1.0, decoding_of(chunk).value_bytes)
    return max(1, min(_MAX_BATCH_ROWS, int(_BATCH_BYTES / value_bytes)))


def merged(one: Sketch, other: Sketch) -> Sketch:
    """Return the sketch of the rows of both."""
    import pyarrow as pa

    table = pa.table(
        {
            "value": pa.concat_arrays([one.values, other.values]),
            "count": np.concatenate([one.counts, other.counts]),
        }
    )
    # In this thread: one of Arrow's own may let go of NumPy's memory as the interpreter ends, which
    # aborts the process (https://github.com/apache/arrow/issues/34314).
    table = table.group_by("value", use_threads=False).aggregate([("count", "sum")])
    counts = table["count_sum"].to_numpy()
    values = table["value"].combine_chunks()
    missed_rows = one.missed_rows + other.missed_rows
    most = MAX_VALUES
    if values.nbytes > _MAX_VALUES_BYTES:
        most = max(1, min(most, len(counts) * _MAX_VALUES_BYTES // values.nbytes))
    if len(counts) > most:
        # Misra-Gries: what the first value left out has is taken from all.
        least = int(np.partition(counts, -most - 1)[-most - 1])
        kept = counts > least
        values, counts = values.filter(pa.array(kept)), counts[kept] - least
        missed_rows += least
    return Sketch(
        values,
        counts,
        np.maximum(one.registers, other.registers),
        one.partitions + other.partitions,
        missed_rows,
    )


def key_skew(column: str, found: Sketch | None, num_partitions: int, most: int = 20) -> KeySkew:
    """Return what a sketch says."""
    if found is None:
        return KeySkew(column, 0, 0, (), (0,) * num_partitions, 0, True)
    num_rows = int(found.partitions.sum())
    order = np.argsort(-found.counts, kind="stable")[:most]
    heaviest = tuple(
        HeavyValue(_text(found.values[int(at)]), rows, rows / num_rows)
        for at, rows in zip(order, found.counts[order].tolist(), strict=True)
    )
    is_exact = not found.missed_rows
    distinct = len(found.counts) if is_exact else max(len(found.counts), _estimate(found.registers))
    return KeySkew(
        column,
        num_rows,
        distinct,
        heaviest,
        tuple(found.partitions.tolist()),
        found.missed_rows,
        is_exact,
    )


def _of_values(values: Any, num_partitions: int) -> Sketch:
    table = _countable(values).value_counts()
    unique, counts = table.field("values"), table.field("counts").to_numpy()
    hashes = _hashes(unique)
    registers = np.zeros(1 << _REGISTER_BITS, np.uint8)
    rest = hashes << np.uint64(_REGISTER_BITS)
    leading = 64 - np.frexp(rest.astype(np.float64))[1]
    ranks = np.clip(leading + 1, 1, 64 - _REGISTER_BITS + 1).astype(np.uint8)
    np.maximum.at(registers, hashes >> np.uint64(64 - _REGISTER_BITS), ranks)
    places = (hashes % np.uint64(num_partitions)).astype(np.int64)
    partitions = np.bincount(places, weights=counts, minlength=num_partitions).astype(np.int64)
    return Sketch(unique, counts, registers, partitions)


def _countable(values: Any) -> Any:
    """Return values in a type that Arrow can group by."""
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        return values.dictionary_decode()
    if pa.types.is_null(values.type):
        return values.cast(pa.int32())
    return values.cast(pa.float32()) if pa.types.is_float16(values.type) else values


def _hashes(values: Any) -> npt.NDArray[np.uint64]:
    """Return a hash of each value, the same in every piece."""
    import pandas as pd
    import pyarrow as pa

    kind = values.type
    if pa.types.is_temporal(kind):
        values = values.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_integer(values.type) or pa.types.is_boolean(kind):
        plain = values.cast(pa.int64(), safe=False).fill_null(0).to_numpy()
    elif pa.types.is_floating(kind):
        plain = values.cast(pa.float64()).fill_null(0.0).to_numpy()
    elif pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        plain = values.cast(pa.binary()).fill_null(b"").to_numpy(zero_copy_only=False)
    else:
        plain = values.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
    found: npt.NDArray[np.uint64] = pd.util.hash_array(plain, categorize=False)
    found[values.is_null().to_numpy(zero_copy_only=False)] = _NULL_HASH
    return found


def _estimate(registers: npt.NDArray[np.uint8]) -> int:
    """Return the number of distinct values by HyperLogLog; by linear counting where few."""
    size = len(registers)
    alpha = 0.7213 / (1 + 1.079 / size)
    found = alpha * size * size / np.sum(np.exp2(-registers.astype(np.float64)))
    empty = int(np.count_nonzero(registers == 0))
    if found <= 2.5 * size and empty:
        found = size * np.log(size / empty)
    return round(float(found))


def _text(scalar: Any) -> str:
    value = scalar.as_py()
    text = "null" if value is None else value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
