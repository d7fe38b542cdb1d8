"""What a plan asks of lines that become Parquet: their schema, and estimates of bytes by row.

What a block will take is what its text takes, times what pyarrow makes of samples: blocks at many
places tell where text packs better, whole row groups at a few how much smaller they are than their
blocks, as these repeat dictionaries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, groupby, takewhile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine import memory, system
from engine.errors import BadRow, BadSetting
from engine.formats import Measures
from engine.formats.converted import types
from engine.formats.converted.blocks import (
    AT_ONCE_BYTES,
    Block,
    BlockReader,
    conversion_of,
    folder_row_bytes,
    forget_all,
    in_threads,
    indexed,
    most_utf8_bytes,
    parquet_schema,
)
from engine.formats.converted.formatted import fault_of_format
from engine.formats.converted.inferred import inferred
from engine.formats.converted.left_out import sentences
from engine.formats.converted.records import Reader
from engine.formats.converted.writing import file_bytes, plain_columns
from engine.formats.lines import measures as of_lines
from engine.formats.lines.compressed import FILE_BYTES, open_bytes
from engine.formats.lines.index import looks_bytes
from engine.formats.lines.pieces import dialect_of
from engine.formats.lines.reading import opened
from engine.formats.parquet.folder_columns import check_apart, with_taken
from engine.model import Conversion, PartPlan, SourceFile
from engine.part_names import PARQUET_SUFFIXES
from engine.planning.curves import Curve
from engine.planning.layout import GroupLayout, make_layout
from engine.planning.ruler import no_insides
from engine.settings import CODECS, SCHEMAS, Settings
from engine.storage.base import redacted
from engine.wording import shown

_CODEC = "zstd"
_GROUP_TEXT_BYTES, _GROUP_MEMORY_BYTES, _GROUP_ROWS = 64 << 20, 128 << 20, 1 << 20
# Blocks that are made on trial: fewer of many columns, which take time by themselves.
_NUM_BLOCKS, _LEAST_BLOCKS, _TRIED_CHUNKS = 48, 6, 20_000
# And runs of blocks: few to learn how large a row group will be, then some, or more of small ones.
_NUM_RUNS, _MOST_RUNS, _TRIED_BYTES = 3, (2, 64), 128 << 20
_ENOUGH_SHARE, _DIFFER_SHARE = 1 / 8, 0.03  # of a file; and by which the first runs may differ
_NEAR_SHARE = 1 / 16  # of a run, by which another one may lie elsewhere to be as good
_OVERLAPS = 3  # of runs, with others that follow
_ALIKE_SHARE = 0.1  # of the length of records
_UNCERTAIN_SHARE = 0.02
_TELLING_BYTES = 4 << 20  # of text, by which it is told which columns get dictionaries
_METADATA_BYTES = 300  # what a part says of its source
_HELD_PER_BLOCK_BYTES = 700
_PART_BYTES = 24 * memory.MIB
_COPIES = 1.6  # of a row group: as it grows, and a column of it encoded
_BLOCK_COPIES = 6  # text, fields, values of blocks that are read at once
_NESTED_COPIES = 3
# Settings that have no meaning here, and what they are without one.
_OTHERS = {
    "--cut row-group": ("cut", "row"),
    "--row-group-size auto": ("row_group_floor_bytes", None),
}
_OF_TEXT = ("nulls", "decimal", "timestamp_format")


def settled(
    files: Sequence[SourceFile], settings: Settings, /
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Settle dialect and schema; see :meth:`engine.formats.Format.settled`."""
    forget_all()
    for flag, (name, nothing) in _OTHERS.items():
        if getattr(settings, name) != nothing:
            raise BadSetting(
                f"{flag} is for Parquet sources, and with --to means nothing: leave it out"
            )
    if settings.codec is not None and CODECS[settings.codec] < 0:
        raise BadSetting(
            f"--codec {settings.codec} is for files of lines, and with --to parts are Parquet: say "
            "zstd, snappy, gzip, lz4, brotli or none"
        )
    if not settings.name.lower().endswith(PARQUET_SUFFIXES):
        raise BadSetting(f"--name {settings.name!r} is for another format: end it in .parquet")
    as_lines = Settings(
        header=settings.header,
        delimiter=settings.delimiter,
        quote=settings.quote,
        escape=settings.escape,
        codec="none",
        count_records=True,
        to=settings.to,
        encoding=settings.encoding,
    )
    files, columns = with_taken(files, settings.columns)
    files, _ = of_lines.settled(files, as_lines)
    given_marks = settings.given(_OF_TEXT)
    if given_marks and dialect_of(files[0]).kind == "ndjson":
        raise BadSetting(f"{given_marks[0]} is for delimited text, and JSON says it by itself")
    given = {} if settings.schema == SCHEMAS[0] else types.read_schema(settings.schema)
    _check_given(files[0], given)
    conversion = inferred(files, given, replace(_asked(settings), columns=columns or ()))
    own_names = conversion.columns or json.loads(conversion.schema)
    check_apart(redacted(files[0].path), own_names, files[0].constants)
    files = tuple(replace(file, conversion=conversion) for file in files)
    if settings.codec is None:
        settings = replace(settings, codec=_CODEC)
    if not settings.regroups:
        settings = replace(settings, row_group_rows=_group_rows(files))
    if (plain := _plain(files, settings)) != ():
        conversion = replace(conversion, plain=plain)
        files = tuple(replace(file, conversion=conversion) for file in files)
    return files, settings


def _asked(settings: Settings) -> Conversion:
    """Return all of a conversion but its schema and columns."""
    decimal = settings.decimal or "."
    if decimal.isalnum() or decimal in ("-", "+", settings.delimiter):
        raise BadSetting(f"--decimal is {decimal!r}, which numbers or fields are written with")
    form = settings.timestamp_format or ""
    if form and (fault := fault_of_format(form)):
        raise BadSetting(
            f"--timestamp-format {form!r} {fault}; leave such columns text (--schema "
            "'NAME varchar')"
        )
    nulls = ("",) if settings.nulls is None else tuple(settings.nulls.split(","))
    return Conversion("{}", (), nulls, decimal, form, settings.bad_rows)


def _check_given(file: SourceFile, given: types.Schema) -> None:
    for constant in file.constants:
        if constant.name in given:
            raise BadSetting(
                f"--schema names {shown(constant.name)}, a column of folders: leave it out there, "
                "and say its type by --partition-types"
            )


def _group_rows(files: Sequence[SourceFile]) -> int:
    """Return how many rows a row group has, where nobody says it: as many as take some memory."""
    blocks = [block for file in files for block in indexed(file).blocks]
    num_rows = max(1, sum(block.num_rows for block in blocks))
    text_bytes = max(1, sum(block.num_bytes for block in blocks)) / num_rows
    each_bytes = _row_bytes(files)(text_bytes)
    most = min(_GROUP_TEXT_BYTES / text_bytes, _GROUP_MEMORY_BYTES / each_bytes, _GROUP_ROWS)
    return max(1, int(most))


def _row_bytes(files: Sequence[SourceFile]) -> Callable[[float], float]:
    """Return about the most memory that a row takes, by what its text takes."""
    file = files[0]
    schema = Reader(dialect_of(file), conversion_of(file)).schema
    copies = _NESTED_COPIES if any(map(pa.types.is_nested, schema.types)) else 1
    width = sum(map(_width, schema.types)) + folder_row_bytes(files)
    return lambda text_bytes: most_utf8_bytes(file, copies * text_bytes) + width


def _width(kind: Any) -> float:
    """Return the bytes of a value beside its text, with its validity."""
    if pa.types.is_decimal(kind):
        return 16.2
    return kind.bit_width / 8 + 0.2 if pa.types.is_primitive(kind) else 4.2


class _Places(NamedTuple):
    """All blocks of files that have rows, with where each is: its file, and its number there."""

    files: Sequence[SourceFile]
    numbers: Sequence[tuple[int, int]]
    blocks: Sequence[Block]

    def tables(self, first: int, stop: int) -> Any:
        """Return the rows of some blocks that follow each other."""
        found: list[Any] = []
        for number, places in groupby(range(first, stop), key=lambda at: self.numbers[at][0]):
            with opened(self.files[number]) as source:
                reader = BlockReader(self.files[number], source)
                found += reader.tables_of([self.blocks[at] for at in places])
        return pa.concat_tables(found)


def _places(files: Sequence[SourceFile]) -> _Places:
    every = [
        ((number, at), block)
        for number, file in enumerate(files)
        for at, block in enumerate(indexed(file).blocks)
        if block.num_rows
    ]
    return _Places(files, [place for place, _ in every], [block for _, block in every])


def _plain(files: Sequence[SourceFile], settings: Settings) -> tuple[str, ...]:
    """Return the columns without dictionaries, by rows from the middle of all."""
    places = _places(files)
    middle = len(places.blocks) // 2
    ends = accumulate(block.num_bytes for block in places.blocks[middle:])
    number = sum(1 for _ in takewhile(lambda end: end <= _TELLING_BYTES, ends))
    if not places.blocks:
        return ()
    try:
        table = places.tables(middle, middle + max(1, number))
    except BadRow:  # told, with the first one, where row groups are made on trial
        return ()
    names = parquet_schema(files[0]).names
    return plain_columns(table.select(names), settings.recoding)


def measure(files: Sequence[SourceFile], settings: Settings, /, *, revision: int) -> Measures:
    """Estimate what rows take; see :meth:`engine.formats.Format.measure`."""
    places = _places(files)
    schema = parquet_schema(files[0])
    head_bytes = file_bytes(schema.empty_table(), schema, settings.recoding)
    sizes, tried_bytes = _sizes(places, settings, head_bytes)
    groups = tuple(
        GroupLayout(number, block.offset, block.num_rows, size, 0, 0, 0)
        for (number, _), block, size in zip(places.numbers, places.blocks, sizes, strict=True)
    )

    def curve_of(position: int) -> Curve:
        (number, at), block = places.numbers[position], places.blocks[position]
        curve = indexed(files[number]).curve_of(at)
        if block.num_bad:
            curve = replace(curve, rows=[0, block.num_rows], sums=[0.0, curve.sums[-1]])
        share = sizes[position] / curve.sums[-1]
        return replace(curve, sums=[share * each for each in curve.sums])

    texts = {
        (number, block.offset): block.num_bytes
        for (number, _), block in zip(places.numbers, places.blocks, strict=True)
    }
    layout = make_layout(tuple(files), groups, head_bytes + _METADATA_BYTES, len(schema))
    return Measures(
        layout=replace(
            layout,
            held_bytes=_HELD_PER_BLOCK_BYTES * len(groups),
            repeats="schema and metadata",
            lost=tuple(sentences(files)),
            uncertain_share=_UNCERTAIN_SHARE if groups else 0.0,
        ),
        curve_of=curve_of,
        inside_of=no_insides,
        memory_of=partial(_part_bytes, files, texts, _row_bytes(files)),
        copied_of=lambda pieces: 0,
        kept_bytes=lambda part_bytes, _: looks_bytes(files) + max(0, tried_bytes - part_bytes),
    )


def _part_bytes(
    files: Sequence[SourceFile],
    texts: Mapping[tuple[int, int], int],
    row_bytes: Callable[[float], float],
    part: PartPlan,
) -> int:
    """Return the projected memory of writing a part: its largest row group, and a block."""
    most = 0.0
    largest = max((texts[piece.file, piece.row_group] for piece in part.slices), default=0)
    for slices in part.row_groups:
        num_rows = sum(piece.num_rows for piece in slices)
        text_bytes = sum(
            texts[piece.file, piece.row_group] * piece.num_rows / piece.num_rows_in_group
            for piece in slices
        )
        most = max(most, num_rows * row_bytes(text_bytes / num_rows))
    needed = {piece.file for piece in part.slices}
    decoding = max((open_bytes(files[number]) for number in needed), default=0)
    if decoding:
        decoding += FILE_BYTES * len(needed)
    block_bytes = _BLOCK_COPIES * most_utf8_bytes(files[0], max(largest, AT_ONCE_BYTES))
    return round(_PART_BYTES + _COPIES * most + block_bytes + decoding)


# -- sizes ---------------------------------------------------------------------------------------


def _sizes(places: _Places, settings: Settings, head_bytes: int) -> tuple[list[int], int]:
    """Return about what each block takes in a part, and the memory that it took to learn that."""
    texts = np.array([block.num_bytes for block in places.blocks], dtype=float)
    if not len(texts):
        return [], 0
    tried_bytes = 0
    schema = parquet_schema(places.files[0])
    plain = conversion_of(places.files[0]).plain
    known: dict[tuple[int, int], int] = {}

    def made_bytes(run: tuple[int, int]) -> int:
        table = places.tables(*run)
        return file_bytes(table, schema, settings.recoding, plain) - head_bytes

    def tried(runs: Sequence[tuple[int, int]]) -> list[int]:
        nonlocal tried_bytes
        new = [run for run in runs if run not in known]
        num_threads, most_bytes = _threads(places, new)
        tried_bytes = max(tried_bytes, num_threads * most_bytes)
        known.update(zip(new, in_threads(made_bytes, new, num_threads), strict=True))
        return [known[run] for run in runs]

    number = min(_NUM_BLOCKS, max(_LEAST_BLOCKS, _TRIED_CHUNKS // len(schema)))
    at = np.unique(np.linspace(0, len(texts) - 1, number).round().astype(int))
    blocks = np.array(tried([(int(one), int(one) + 1) for one in at]))
    lengths = texts / np.array([block.num_rows for block in places.blocks])
    sizes = texts * _between(at, blocks / texts[at], lengths)
    for most in _MOST_RUNS:
        wanted = _runs(places, settings, sizes, head_bytes, most)
        runs = [_near(run, known) for run in wanted]
        factors = _factors(sizes, lengths, runs, tried(runs))
        sizes *= factors
        is_enough = sum(texts[slice(*run)].sum() for run in runs) > _ENOUGH_SHARE * texts.sum()
        if is_enough and factors.max() <= (1 + _DIFFER_SHARE) * factors.min():
            break
    return [max(1, round(size)) for size in sizes.tolist()], tried_bytes


def _near(run: tuple[int, int], known: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return a run that is known already and lies nearly there, or the run itself."""
    most = _NEAR_SHARE * (run[1] - run[0])
    away = ((abs(run[0] - first) + abs(run[1] - stop), (first, stop)) for first, stop in known)
    distance, nearest = min(away, default=(most + 1, run))
    return nearest if distance <= most else run


def _between(at: Any, values: Any, lengths: Any) -> Any:
    """Return values of all blocks, of which some are known.

    A block between two has more of that whose records are as long as its own, where these differ:
    so it shows where one kind of records ends and another begins.
    """
    every = np.arange(len(lengths))
    right = np.minimum(np.searchsorted(at, every), len(at) - 1)
    left = np.maximum(right - 1, 0)
    by_place = (every - at[left]) / np.maximum(at[right] - at[left], 1)
    differ = lengths[at[right]] - lengths[at[left]]
    is_alike = np.abs(differ) < _ALIKE_SHARE * lengths
    by_length = (lengths - lengths[at[left]]) / np.where(is_alike, 1.0, differ)
    share = np.clip(np.where(is_alike, by_place, by_length), 0, 1)
    return values[left] * (1 - share) + values[right] * share


def _factors(sizes: Any, lengths: Any, runs: Sequence[tuple[int, int]], made: Sequence[int]) -> Any:
    """Return by how much blocks are larger than was thought, as far as runs of them tell."""
    sums, numbers = np.zeros(len(sizes)), np.zeros(len(sizes))
    for (first, stop), num_bytes in zip(runs, made, strict=True):
        sums[first:stop] += num_bytes / sizes[first:stop].sum()
        numbers[first:stop] += 1
    seen = np.flatnonzero(numbers)
    return _between(seen, sums[seen] / numbers[seen], lengths)


def _runs(
    places: _Places, settings: Settings, sizes: Any, head_bytes: int, most: int
) -> list[tuple[int, int]]:
    """Return runs of blocks, spread evenly, each about as large as row groups will be.

    There are some, or ``most`` of small ones; a row group that is too small repeats dictionaries
    more often than the parts do.
    """
    rows = np.array([0, *accumulate(block.num_rows for block in places.blocks)])
    sums = np.array([0.0, *np.cumsum(sizes)])
    num_bytes = float(sums[-1])
    wanted = [
        num_bytes,
        num_bytes / (settings.num_parts or 1),
        settings.row_group_bytes or num_bytes,
        max(1, (settings.target_bytes or head_bytes + num_bytes) - head_bytes),
    ]
    most_rows = min(filter(None, (settings.row_group_rows, settings.rows_per_part, int(rows[-1]))))
    run_bytes = max(min(wanted), num_bytes / len(sizes))
    run_bytes = min(run_bytes, num_bytes * most_rows / rows[-1])
    most = min(most, 1 + int(_OVERLAPS * (num_bytes - run_bytes) / run_bytes))
    tried_bytes = sum(block.num_bytes for block in places.blocks) * run_bytes / num_bytes
    number = min(max(_NUM_RUNS, int(_TRIED_BYTES / tried_bytes)), most)
    starts = np.linspace(0, num_bytes - run_bytes, number)
    first = np.minimum(np.searchsorted(sums, starts, side="right") - 1, len(sizes) - 1)
    stop = np.minimum(
        np.searchsorted(sums, starts + run_bytes, side="left"),
        np.searchsorted(rows, rows[first] + most_rows, side="left"),
    )
    stop = np.clip(stop, first + 1, len(sizes))
    return list(zip(first.tolist(), stop.tolist(), strict=True))


def _threads(places: _Places, runs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return how many runs may be made at once, and the memory that each takes.

    Raises:
        OverBudget: there is no room for one.
    """
    most, row_bytes = 0.0, _row_bytes(places.files)
    for first, stop in runs:
        num_rows = sum(block.num_rows for block in places.blocks[first:stop])
        text_bytes = sum(block.num_bytes for block in places.blocks[first:stop])
        most = max(most, num_rows * row_bytes(text_bytes / num_rows))
    each = round(_PART_BYTES + _COPIES * most + _BLOCK_COPIES * AT_ONCE_BYTES)
    memory.ask(each, "to make a row group on trial", arrow=True)
    allowed = memory.kept_to()
    room = allowed.bytes - memory.process_base_bytes(arrow=True) if allowed else each
    return max(1, min(system.num_cores(), room // each)), each
