"""Compare every value of one column, bit for bit, in two streams that never meet in memory whole.

Both sides are read through :func:`.bytes.one_column.one_column_footer`: by physical type,
floats as integers, so that NaN payloads, -0.0 and timestamps out of range count as what they are.
Arrow's nested arrays keep null, empty and absent apart, so equal arrays mean equal levels too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from engine.errors import (
    BadPage,
    BadStructure,
    Different,
    StorageFailed,
    Unsupported,
)
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.created_by import chains_pages
from engine.formats.parquet.bytes.float_bits import bits_of, floats_of
from engine.formats.parquet.bytes.footer import (
    Codec,
    Encoding,
    Footer,
    Leaf,
    Type,
    value,
)
from engine.formats.parquet.bytes.one_column import holds_bits, one_column_footer
from engine.formats.parquet.opened import arrow_file, value_bytes, without_empty_pages
from engine.formats.parquet.verifier.footers import blaming, whole_groups
from engine.formats.parquet.verifier.groups import Seams
from engine.formats.parquet.verifier.opened import footer_of, name_of, opened, own_footer_of
from engine.formats.parquet.verifier.own_columns import OwnColumn, made_arrays, own_column
from engine.formats.parquet.verifier.sizes import table_of
from engine.formats.parquet.verifier.statistics import (
    ChunkStatistics,
    are_read_alike,
    is_repeated,
)
from engine.memory import VERIFY_BATCH_BYTES, VERIFY_BUFFER_BYTES
from engine.model import SourceFile
from engine.storage import Source
from engine.storage.base import naming

Progress = Callable[[int], None]

_MAX_BATCH_ROWS = 1 << 16
_SAMPLED_DICTIONARIES = 4
_DICTIONARIES = {Encoding.PLAIN_DICTIONARY, Encoding.RLE_DICTIONARY}
# What no version of Arrow decodes is told before it is tried: its own errors tell it in many ways.
_CODECS = set(Codec) - {Codec.LZO}
_ENCODINGS = set(Encoding)
_SHORT = 60  # characters of a value in a message


@dataclass(frozen=True)
class _Reading:
    """How both sides of a column are read.

    Attributes:
        passes_empty_pages: whether pages without entries are looked for, see :mod:`.opened`.
    """

    batch_rows: int
    as_bits: bool
    passes_empty_pages: bool = False


@dataclass(frozen=True)
class _Column:
    """A column of one file: rows and chunk of each row group, each decoded once.

    Row groups without rows have no chunk, nor have those of a column that the file lacks.

    Attributes:
        footer: the file's own; ``leaf``: the column as it is read.
        own: the column as the file has it, where it is read by another schema.
    """

    file: SourceFile
    footer: Footer
    leaf: Leaf
    rows: Sequence[int]
    chunks: Sequence[TableChunk | None]
    own: OwnColumn | None = None

    @classmethod
    def of(cls, file: SourceFile, index: int) -> _Column:
        """Read the chunks of a column from its file's own footer."""
        footer = held = footer_of(file)
        leaf, own, number = footer.leaves[index], None, index
        if file.is_adapted:
            held = own_footer_of(file)
            own = own_column(held, footer, leaf, file.constants)
            number = -1 if own.leaf is None else own.leaf.index
        table = table_of(held)
        rows: list[int] = table.num_rows.tolist()
        chunks: list[TableChunk | None] = [None] * len(rows)
        if number >= 0:
            every = zip(rows, table.column(number), strict=True)
            chunks = [chunk if num_rows else None for num_rows, chunk in every]
        return cls(file, held, leaf, rows, chunks, own)

    @property
    def num_values(self) -> int:
        """Values, nulls and empty lists included."""
        if self.own is not None and self.own.leaf is None:
            return sum(self.rows)
        return sum(chunk.num_values for chunk in self.filled())

    @property
    def name(self) -> str:
        """The file's, for messages."""
        return name_of(self.file)

    def filled(self) -> Iterator[TableChunk]:
        """Yield the chunks of row groups that have rows."""
        return (chunk for chunk in self.chunks if chunk is not None)

    def chunk(self, group: int) -> TableChunk:
        """Return the chunk of a row group that has rows."""
        found = self.chunks[group]
        assert found is not None
        return found


def verify_column(
    sources: Sequence[SourceFile],
    parts: Sequence[SourceFile],
    column_index: int,
    batch_bytes: int = VERIFY_BATCH_BYTES,
    progress: Progress | None = None,
) -> int:
    """Compare one column of the parts, in their order, with that of the sources.

    Statistics that do not repeat those of a source's row group are recomputed on the way, and where
    row groups claim to be sorted by the column, their ends are compared.

    Args:
        sources, parts: the files, in order.
        column_index: position of the leaf in the schema.
        batch_bytes: about how many decoded bytes to hold of each side.
        progress: called with numbers of rows as they are compared.

    Returns:
        Values compared: level entries, that is nulls and empty lists included.

    Raises:
        Different: names part, row and both values, or the wrong statistics.
        Unsupported, BadPage: the source itself cannot be decoded.
    """
    left, right = ([_Column.of(file, column_index) for file in side] for side in (sources, parts))
    for column in left:
        _check_decodable(column)
    reading = _Reading(
        _batch_rows(left, batch_bytes),
        all(holds_bits(column.filled()) for column in (*left, *right)),
    )
    try:
        try:
            _compare(left, right, reading, progress)
        except (Different, BadPage):
            # Arrow misreads chunks that have pages without entries. To look for them takes time.
            _compare(left, right, replace(reading, passes_empty_pages=True), None)
    except Different:
        for file in sources:  # a source that was replaced meanwhile is the better explanation
            with opened(file):
                pass
        raise
    finally:
        _give_back_memory()
    return sum(column.num_values for column in left)


def _compare(
    left: Sequence[_Column],
    right: Sequence[_Column],
    reading: _Reading,
    progress: Progress | None,
) -> None:
    ours = (array for column in left for array in _source_stream(column, reading))
    theirs = (
        piece
        for column, check in zip(right, _checks(left, right), strict=True)
        for piece in _part_stream(column, reading, check)
    )
    _Comparison(left[0].leaf, progress).run(ours, theirs)


def _give_back_memory() -> None:
    """Return to the system what Arrow's allocator keeps: it grows from column to column."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _check_decodable(column: _Column) -> None:
    """Raise Unsupported for what Arrow does not decode, or takes for damage."""
    created_by = column.footer.created_by
    for chunk in column.filled():
        unknown = [f"codec {chunk.codec}"] if chunk.codec not in _CODECS else []
        unknown += [f"encoding {number}" for number in set(chunk.encodings) - _ENCODINGS]
        if chains_pages(created_by, chunk):
            unknown.append(f"pages that continue each other ({created_by})")
        if unknown:
            raise Unsupported(
                f"{column.name}: column {column.leaf.name} uses {', '.join(unknown)}, "
                "which pyarrow cannot decode, so its values cannot be compared"
            )


class _Checks(NamedTuple):
    """What of one part is checked while its values pass by.

    Attributes:
        alone: row groups whose statistics are recomputed, each read for itself.
        seams: where row groups meet, if they claim to be sorted by the column.
    """

    alone: set[int]
    seams: Seams | None


def _checks(sources: Sequence[_Column], parts: Sequence[_Column]) -> list[_Checks]:
    whole = whole_groups([source.rows for source in sources])
    starts = sorted(row for row, _ in whole)
    found = []
    first_row = row = 0
    for part in parts:
        alone, seams = set(), set()
        alike: dict[int, bool] = {}  # by source: there may be many row groups
        for index, num_rows in enumerate(part.rows):
            place = whole.get((row, num_rows))
            if num_rows and not _is_repeated(part, index, sources, place, alike):
                alone.add(index)
            seams.add(row - first_row)
            row += num_rows
        seams |= {start - first_row for start in starts if first_row < start < row}
        where = f"{part.name}: column {part.leaf.name}"
        found.append(_Checks(alone, Seams.of(part.footer, part.leaf, sorted(seams - {0}), where)))
        first_row = row
    return found


def _is_repeated(
    part: _Column,
    index: int,
    sources: Sequence[_Column],
    copied_from: tuple[int, int] | None,
    alike: dict[int, bool],
) -> bool:
    """Whether a row group is one of a source, and its statistics say what they say there."""
    if copied_from is None:
        return False
    number, row_group = copied_from
    source = sources[number]
    if source.own is not None:  # whatever it says of a column, it may say it otherwise
        return False
    if number not in alike:
        alike[number] = are_read_alike(part.footer, source.footer, part.leaf)
    return alike[number] and is_repeated(part.chunk(index), source.chunk(row_group))


# -- how many rows fit a batch -----------------------------------------------------------------


def _batch_rows(columns: Sequence[_Column], batch_bytes: int) -> int:
    """Return how many rows of a column decode to about ``batch_bytes``."""
    row_bytes = 1.0
    for column in columns:
        with naming(column.file.path):
            entry_bytes = 0.0
            if column.leaf.physical == Type.BYTE_ARRAY:
                entry_bytes = _dictionary_entry_bytes(column.file, list(column.filled()))
        for num_rows, chunk in zip(column.rows, column.chunks, strict=True):
            if chunk is not None:
                column_bytes = chunk.num_values * value_bytes(column.leaf, chunk, entry_bytes)
                row_bytes = max(row_bytes, column_bytes / num_rows)
    return max(1, min(_MAX_BATCH_ROWS, int(batch_bytes / row_bytes)))


def _dictionary_entry_bytes(file: SourceFile, chunks: Sequence[TableChunk]) -> float:
    """Return the mean length of an entry in the largest dictionaries, 0.0 without any.

    A repeated long value takes bits in the file and its full length in memory, so the chunk's own
    size says nothing about dictionary-encoded strings.
    """
    sizes = [
        (chunk.data_page_offset - chunk.range.offset, chunk.range)
        for chunk in chunks
        if _DICTIONARIES & set(chunk.encodings)
    ]
    largest, page = 0.0, spec.PageHeader
    with opened(file) as source:
        for _, place in sorted(sizes, reverse=True)[:_SAMPLED_DICTIONARIES]:
            try:
                header = spec.read(page, source.read(place.offset, min(256, place.length)))
            except BadStructure:  # decoding will say what is wrong with it
                continue
            dictionary = value(header, page.DICTIONARY_PAGE_HEADER)
            if dictionary is not None:
                entries = value(dictionary, spec.DictionaryPageHeader.NUM_VALUES)
                largest = max(largest, value(header, page.UNCOMPRESSED_PAGE_SIZE) / max(1, entries))
    return largest


# -- streams -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """Some rows of one part, in order."""

    part: str
    array: Any


def _source_stream(column: _Column, reading: _Reading) -> Iterator[Any]:
    with opened(column.file) as source, _reading_source(column.name, column.leaf.name):
        kind = None if column.own is None else _declared_type(column, reading)
        if column.own is not None and column.own.leaf is None:
            yield from made_arrays(column.own, kind, sum(column.rows), _MAX_BATCH_ROWS)
            return
        groups = [index for index, num_rows in enumerate(column.rows) if num_rows]
        for array in _arrays(source, column, groups, reading):
            yield array if kind is None or array.type == kind else array.cast(kind)


def _declared_type(column: _Column, reading: _Reading) -> Any:
    """Return the type that arrays of a column have in the parts."""
    import pyarrow
    import pyarrow.parquet

    tiny = one_column_footer(column.footer, column.leaf, [], as_bits=reading.as_bits)
    return pyarrow.parquet.read_schema(pyarrow.BufferReader(tiny)).field(0).type


def _part_stream(column: _Column, reading: _Reading, checks: _Checks) -> Iterator[_Piece]:
    name, footer, leaf = column.name, column.footer, column.leaf
    alone, seams = checks
    with opened(column.file) as source:
        for groups in _runs(column.rows, alone):
            check = None
            if groups[0] in alone:
                check = ChunkStatistics.of(footer, leaf, column.chunk(groups[0]))
            with _reading_part(name, leaf.name):
                for array in _arrays(source, column, groups, reading):
                    if check is not None:
                        check.add(array)
                    if seams is not None:
                        seams.add(array)
                    yield _Piece(name, array)
            if check is not None:
                check.finish(f"{name}: column {leaf.name}, row group {groups[0]}")


def _runs(rows: Sequence[int], alone: set[int]) -> Iterator[list[int]]:
    """Yield row groups to be read at once: some alone, all others together."""
    run: list[int] = []
    for index, num_rows in enumerate(rows):
        if index in alone and run:
            yield run
            run = []
        if num_rows:
            run.append(index)
        if index in alone:
            yield run
            run = []
    if run:
        yield run


def _arrays(
    source: Source, column: _Column, groups: Sequence[int], reading: _Reading
) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    chunks = [(column.rows[group], column.chunk(group)) for group in groups]
    leaf = column.leaf if column.own is None else column.own.leaf
    assert leaf is not None
    tiny = one_column_footer(column.footer, leaf, chunks, as_bits=reading.as_bits)
    needed = sum(num_rows for num_rows, _ in chunks)
    if reading.passes_empty_pages:
        source = without_empty_pages(source, [chunk.range for _, chunk in chunks])
    with arrow_file(source, [chunk for _, chunk in chunks]) as handle:
        file = pyarrow.parquet.ParquetFile(
            handle,
            metadata=pyarrow.parquet.read_metadata(pyarrow.BufferReader(tiny)),
            pre_buffer=False,
            buffer_size=VERIFY_BUFFER_BYTES,
            page_checksum_verification=True,  # where pages have checksums
        )
        for batch in file.iter_batches(batch_size=reading.batch_rows, use_threads=False):
            needed -= batch.num_rows
            yield batch.column(0)
    if needed:
        raise pyarrow.ArrowInvalid(f"{needed} rows fewer than the footer claims")


@contextmanager
def _reading_source(name: str, column: str) -> Iterator[None]:
    import pyarrow

    try:
        with naming(name):
            yield
    except pyarrow.ArrowNotImplementedError as error:
        raise Unsupported(
            f"{name}: pyarrow {pyarrow.__version__} cannot decode column {column}, so its values "
            f"cannot be compared ({error})"
        ) from error
    except _failures() as error:
        _raise_if_storage(error, name)
        raise BadPage(f"{name}: column {column} cannot be decoded ({_told(error)})") from error


@contextmanager
def _reading_part(name: str, column: str) -> Iterator[None]:
    try:
        with blaming(f"{name}: column {column}"):
            yield
    except _failures() as error:
        _raise_if_storage(error, name)
        raise Different(f"{name}: column {column} cannot be decoded ({_told(error)})") from error


def _failures() -> tuple[type[Exception], ...]:
    """What is raised for bytes that are not what they should be: Arrow's errors, and Python's."""
    import pyarrow

    return (pyarrow.ArrowException, OSError, ArithmeticError, LookupError, TypeError, ValueError)


def _raise_if_storage(error: Exception, name: str) -> None:
    if isinstance(error, OSError) and error.errno:
        raise StorageFailed(f"{name}: {error.strerror}; run the same command again") from error


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# -- comparison --------------------------------------------------------------------------------


class _Comparison:
    """Walks both streams of a column row by row, in steps as long as both have."""

    def __init__(self, leaf: Leaf, progress: Progress | None) -> None:
        self._leaf = leaf
        self._progress = progress
        self._row = 0

    def run(self, ours: Iterator[Any], theirs: Iterator[_Piece]) -> None:
        """Compare until both end."""
        left: Any = None
        right: _Piece | None = None
        at = [0, 0]
        while True:
            if left is None:
                left, at[0] = next(ours, None), 0
            if right is None:
                right, at[1] = next(theirs, None), 0
            if left is None or right is None:
                break
            num_rows = min(len(left) - at[0], len(right.array) - at[1])
            self._step(left.slice(at[0], num_rows), right.array.slice(at[1], num_rows), right.part)
            at = [at[0] + num_rows, at[1] + num_rows]
            left = None if at[0] == len(left) else left
            right = None if at[1] == len(right.array) else right
        if left is not None or right is not None:
            ended = "the parts end" if right is None else f"the source ends before {right.part}"
            raise Different(f"column {self._leaf.name}: {ended}, at row {self._row}")

    def _step(self, ours: Any, theirs: Any, part: str) -> None:
        if not _same(ours, theirs):
            position = _first_difference(ours, theirs)
            one, two = _shown(ours, theirs, position, self._leaf)
            raise Different(
                f"{part}: column {self._leaf.name} differs at row {self._row + position}: {one} in "
                f"the source, {two} in the part"
            )
        self._row += len(ours)
        if self._progress is not None:
            self._progress(len(ours))


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two arrays are equal bit for bit."""
    if ours.type != theirs.type:
        return False
    return bool(bits_of(ours).equals(bits_of(theirs)))


def _first_difference(ours: Any, theirs: Any) -> int:
    """Return the first position at which two unequal arrays of one length differ."""
    low, high = 0, len(ours)  # the difference lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _same(ours.slice(low, middle - low), theirs.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def _shown(ours: Any, theirs: Any, position: int, leaf: Leaf) -> tuple[str, str]:
    """Return both values as text: as floats where they are, as bits where those look the same."""
    raw = [_text(array, position) for array in (ours, theirs)]
    if leaf.physical in (Type.FLOAT, Type.DOUBLE):
        floats = [_text(floats_of(array), position) for array in (ours, theirs)]
        if floats[0] != floats[1]:
            return floats[0], floats[1]
        return f"{floats[0]} (bits {raw[0]})", f"{floats[1]} (bits {raw[1]})"
    return raw[0], raw[1]


def _text(array: Any, position: int) -> str:
    text = repr(array[position].as_py())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
