"""What a plan asks of files of lines: their dialect, and bytes by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from engine import memory
from engine.errors import BadSetting, InternalError, SchemaMismatch
from engine.formats import Measures
from engine.formats.lines.dialect import read_begin
from engine.formats.lines.gzipped import (
    FILE_BYTES,
    OPEN_BYTES,
    GzipSource,
    compressor,
    is_compressed,
)
from engine.formats.lines.index import Block, knots, looks_bytes, read_blocks
from engine.formats.lines.pieces import dialect_of, head_of, text_bytes
from engine.formats.lines.reading import STEP_BYTES, opened
from engine.formats.lines.scan import COPIES, marks_of
from engine.formats.lines.uncounted import LOOKS_BYTES, found_parts, needs_no_count
from engine.model import PartPlan, SourceFile
from engine.part_names import (
    DEFAULT_NAME,
    GZIP_SUFFIX,
    JSON_SUFFIXES,
    LINE_SUFFIXES,
    PARQUET_SUFFIXES,
)
from engine.planning.curves import Curve
from engine.planning.layout import FoundPart, GroupLayout, Layout, make_layout
from engine.planning.ruler import no_insides
from engine.settings import Settings
from engine.storage import Source
from engine.storage.base import redacted

_HELD_PER_BLOCK_BYTES = 400
_COPY_BYTES = 8 * memory.MIB
_PART_BYTES = _COPY_BYTES + COPIES * STEP_BYTES  # and blocks at the ends
_ENDINGS = {
    "csv": tuple(end for end in LINE_SUFFIXES if end not in JSON_SUFFIXES),
    "ndjson": (*JSON_SUFFIXES, ".txt"),
}
_CODECS = ("gzip", "none")
_MEMBER_BYTES = 64  # header and trailer of gzip
_UNCERTAIN_SHARE = 0.005
_NUM_SAMPLES, _SAMPLE_BYTES = 32, 1 << 20


# Settings that have a meaning for Parquet alone, and what they are without one.
_PARQUETS = {
    "--cut row-group": ("cut", "row"),
    "--codec": ("codec", None),
    "--row-group-size": ("row_group_bytes", None),
    "--row-group-size in rows": ("row_group_rows", None),
    "--columns": ("columns", None),
    "--data-page-version": ("page_version", None),
    "--dictionary": ("dictionary", None),
}


class _Counted(NamedTuple):
    """The blocks of a compressed file, and about the bytes of each in a part."""

    blocks: Sequence[Block]
    part_bytes: Sequence[int]


_kept: dict[SourceFile, _Counted] = {}  # of compressed files, which are read once


def settled(
    files: Sequence[SourceFile], settings: Settings
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Look at the begin of every file; see :meth:`engine.formats.Format.settled`."""
    _kept.clear()
    with opened(files[0]) as source:
        is_gzip = isinstance(source, GzipSource)
    if is_gzip and settings.codec not in (None, *_CODECS):
        raise BadSetting(
            f"--codec {settings.codec} is for Parquet, and {redacted(files[0].path)} is compressed "
            "text: say gzip or none, or leave it out"
        )
    for flag, (name, nothing) in _PARQUETS.items():
        if getattr(settings, name) != nothing and not (is_gzip and name == "codec"):
            raise BadSetting(
                f"{flag} is for Parquet, and {redacted(files[0].path)} is a file of lines, whose "
                "bytes are copied as they are: leave it out"
            )
    found = []
    for file in files:
        with opened(file) as source:
            dialect = read_begin(source, settings).dialect
            dialect = replace(dialect, codec="gzip" if isinstance(source, GzipSource) else "")
            header = source.read(dialect.mark_bytes, dialect.header_bytes - dialect.mark_bytes)
        file = replace(file, dialect=dialect)
        if dialect.codec:
            # How long the text is shows at its end; records are counted on the way there.
            file, counted = _count(file, settings)
            _kept[file] = counted
        found.append((file, header))
    for other in found[1:]:
        _check_alike(found[0], other)
        if found[0][1] and not found[0][1].endswith(b"\n"):
            raise SchemaMismatch(
                f"{redacted(files[0].path)} is a header alone, without a line end, so that records "
                "of other files would continue it: leave it out"
            )
    settled_files = tuple(file for file, _ in found)
    codec = settings.codec or ("gzip" if is_gzip else None)
    name = _part_name(settled_files[0], settings.name, codec)
    return settled_files, replace(settings, name=name, codec=codec)


def forget_all() -> None:
    """Drop what was counted of compressed files."""
    _kept.clear()


def _check_alike(one: tuple[SourceFile, bytes], other: tuple[SourceFile, bytes]) -> None:
    ours, its = dialect_of(one[0]), dialect_of(other[0])
    differing = [
        what
        for what, values in {
            "kinds of records": (ours.kind, its.kind),
            "compressions": (ours.codec, its.codec),
            "headers": (one[1].rstrip(b"\r\n"), other[1].rstrip(b"\r\n")),
            "delimiters": (ours.delimiter or its.delimiter, its.delimiter or ours.delimiter),
        }.items()
        if values[0] != values[1]
    ]
    if differing:
        raise SchemaMismatch(
            f"{redacted(one[0].path)} and {redacted(other[0].path)} have different {differing[0]}; "
            "split them apart"
        )


def _part_name(file: SourceFile, name: str, codec: str | None) -> str:
    """Return the template of parts' names, which end as the source does where that is true."""
    dialect = dialect_of(file)
    more = GZIP_SUFFIX if codec == "gzip" else ""
    able = tuple(end + more for end in _ENDINGS[dialect.kind])
    usual = (".tsv" if dialect.delimiter == "\t" else _ENDINGS[dialect.kind][0]) + more
    path = file.path.lower().removesuffix(GZIP_SUFFIX) + more
    ending = next((end for end in able if path.endswith(end)), usual)
    if name == DEFAULT_NAME:
        return name.removesuffix(PARQUET_SUFFIXES[0]) + ending
    if not name.lower().endswith(able):
        raise BadSetting(f"--name {name!r} is for another format: end it in {ending}")
    return name


def _blocks(
    file: SourceFile, source: Source, settings: Settings
) -> tuple[Sequence[Block], Sequence[int]]:
    """Return a file's blocks, and the bytes of each in a part."""
    if is_compressed(file):
        return _kept.get(file) or _count(file, settings)[1]
    found = read_blocks(source, dialect_of(file))
    return found, [block.num_bytes for block in found]


def measured(files: Sequence[SourceFile], settings: Settings) -> Measures:
    """Look around cuts alone where that is enough, else at all records."""
    is_enough = all(needs_no_count(file, settings) for file in files)
    found = found_parts(files, settings) if is_enough else None
    return _of_found(files, found) if found else _of_counted(files, settings)


def _of_counted(files: Sequence[SourceFile], settings: Settings) -> Measures:
    """Read all records' places now, and blocks where the planner asks.

    Of text that will be compressed again bytes are estimates: what each block takes in the source,
    times what our compression makes of some samples.
    """
    blocks: list[tuple[int, Block]] = []
    sizes: list[int] = []
    for number, file in enumerate(files):
        with opened(file) as source:
            found, taken = _blocks(file, source, settings)
            size = text_bytes(file)
            if found and number < len(files) - 1 and source.read(size - 1, 1) != b"\n":
                found, taken = [*found], [*taken]
                more = len(dialect_of(file).line_end)  # a line end, as another file follows
                found[-1] = found[-1]._replace(num_bytes=found[-1].num_bytes + more)
                taken[-1] += more
        blocks += [(number, block) for block in found]
        sizes += taken
    groups = tuple(
        GroupLayout(number, block.offset, block.num_records, size, 0, 0, 0)
        for (number, block), size in zip(blocks, sizes, strict=True)
    )
    head = head_of(files[0], is_first=True)
    is_gzip = settings.codec == "gzip"
    head_bytes = head.length + (_MEMBER_BYTES if is_gzip else 0)
    layout = make_layout(tuple(files), groups, head_bytes, 1)

    def curve_of(position: int) -> Curve:
        number, block = blocks[position]
        with opened(files[number]) as source:
            rows, sums = knots(source, block, marks_of(dialect_of(files[number])))
        share = sizes[position] / block.num_bytes
        return Curve(block.offset, rows, [share * each for each in sums], 0, (), ())

    return Measures(
        layout=replace(
            layout,
            source_bytes=layout.num_bytes + layout.part_bytes,
            held_bytes=_HELD_PER_BLOCK_BYTES * len(groups),
            repeats="header",
            uncertain_share=_UNCERTAIN_SHARE if is_gzip else 0.0,
        ),
        curve_of=curve_of,
        inside_of=no_insides,
        memory_of=lambda part: _PART_BYTES + (_inflating_bytes(part) if settings.codec else 0),
        copied_of=lambda pieces: 0 if settings.codec else layout.num_bytes,  # nothing, or all
        kept_bytes=lambda part_bytes, decodes: looks_bytes(files),
    )


def _of_found(files: Sequence[SourceFile], found: tuple[FoundPart, ...]) -> Measures:
    """Return measures of parts that were found without counting."""
    head_bytes = head_of(files[0], is_first=True).length
    num_bytes = sum(part.num_bytes for part in found)
    layout = Layout(
        files=tuple(files),
        groups=(),
        first_rows=(0,),
        offsets=(num_bytes,),
        part_bytes=head_bytes,
        num_columns=1,
        source_bytes=num_bytes + head_bytes,
        found=found,
    )

    def no_curve(position: int) -> Curve:
        raise InternalError("there are no row groups")

    return Measures(
        layout=layout,
        curve_of=no_curve,
        inside_of=no_insides,
        memory_of=lambda part: _COPY_BYTES,
        copied_of=lambda pieces: 0,
        kept_bytes=lambda part_bytes, decodes: LOOKS_BYTES,
    )


def _inflating_bytes(part: PartPlan) -> int:
    return OPEN_BYTES + FILE_BYTES * len({piece.file for piece in part.slices})


def _count(file: SourceFile, settings: Settings) -> tuple[SourceFile, _Counted]:
    """Read a compressed file; return it with the size of its text, and what is in it."""
    dialect = dialect_of(file)
    with opened(file) as source:
        assert isinstance(source, GzipSource)
        blocks = read_blocks(source, dialect)
        size, known = source.measure(), source.known
        sizes = [float(block.num_bytes) for block in blocks]
        if blocks and settings.codec != "none":
            offsets = [block.offset for block in blocks]
            taken = np.diff([*map(known.at, offsets), known.at(size)])
            # Members may be compressed otherwise than others.
            ratios = np.interp(offsets, *_ratios(source, size, settings.codec_level))
            sizes = (taken * ratios).tolist()
    file = replace(file, dialect=replace(dialect, num_bytes=size))
    return file, _Counted(blocks, [max(1, round(each)) for each in sizes])


def _ratios(source: GzipSource, size: int, level: int | None) -> tuple[list[int], list[float]]:
    """Return what our compression takes of the bytes that a file's own takes, at some places."""
    places, ratios = [], []
    num_samples = min(_NUM_SAMPLES, -(-size // _SAMPLE_BYTES))
    for number in range(num_samples):
        start = size * number // num_samples
        data = source.read(start, min(_SAMPLE_BYTES, size - start))
        made = compressor(level)
        num_bytes = len(made.compress(data)) + len(made.flush())
        places.append(start + len(data) // 2)
        ratios.append(num_bytes / (source.known.at(start + len(data)) - source.known.at(start)))
    return places, ratios
