"""What a plan asks of files of lines: their dialect, and bytes by record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from engine import memory
from engine.errors import BadSetting, InternalError, SchemaMismatch
from engine.formats import Measures
from engine.formats.lines.codecs import CODECS
from engine.formats.lines.compressed import (
    FILE_BYTES,
    CompressedSource,
    is_compressed,
    open_bytes,
)
from engine.formats.lines.dialect import read_begin
from engine.formats.lines.encodings import encoding_named, text_of
from engine.formats.lines.index import Block, knots, looks_bytes, read_blocks
from engine.formats.lines.ladder import Ladder
from engine.formats.lines.pieces import dialect_of, head_of, is_ended, text_bytes
from engine.formats.lines.reading import STEP_BYTES, opened
from engine.formats.lines.sampling import Sampler
from engine.formats.lines.scan import COPIES, marks_of
from engine.formats.lines.uncounted import LOOKS_BYTES, found_parts, needs_no_count
from engine.model import PartPlan, SourceFile
from engine.part_names import (
    CODEC_SUFFIXES,
    DEFAULT_NAME,
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
_FRAME_BYTES = 64  # header and trailer of a compressed part
_UNCERTAIN_SHARE = 0.005
_FIRST_BYTES = 64 << 10  # whose keys are looked at


# Settings that have a meaning for Parquet alone, and what they are without one.
_PARQUETS = {
    "--cut row-group": ("cut", "row"),
    "--row-group-size": ("row_group_bytes", None),
    "--row-group-size in rows": ("row_group_rows", None),
    "--columns": ("columns", None),
    "--schema relaxed": ("schema", "strict"),
    "--flatten": ("flatten", False),
    "--data-page-version": ("page_version", None),
    "--dictionary": ("dictionary", None),
}
_CONVERTED = {flag for flag in _PARQUETS if flag not in ("--cut row-group", "--schema relaxed")}
_OR_CONVERT = ", or add --to parquet"


class _Counted(NamedTuple):
    """The blocks of a file, and about the bytes of each in a part.

    ``ladder``: where records of a compressed file begin, which is not read again for it.
    """

    blocks: Sequence[Block]
    part_bytes: Sequence[int]
    ladder: Ladder | None = None


_kept: dict[SourceFile, _Counted] = {}  # of compressed files, which are read once


def settled(
    files: Sequence[SourceFile], settings: Settings
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Look at the begin of every file; see :meth:`engine.formats.Format.settled`."""
    _kept.clear()
    if settings.codec not in (None, "none", *CODECS):
        raise BadSetting(
            f"--codec {settings.codec} is for Parquet, and {redacted(files[0].path)} is a file of "
            f"lines: say {', '.join(CODECS)} or none, or leave it out"
        )
    for flag, (name, nothing) in _PARQUETS.items():
        if getattr(settings, name) != nothing:
            raise BadSetting(
                f"{flag} is for Parquet, and {redacted(files[0].path)} is a file of lines, whose "
                f"bytes are copied as they are: leave it out{_OR_CONVERT * (flag in _CONVERTED)}"
            )
    found = []
    for file in files:
        with opened(file, encoding_named(settings.encoding)) as source:
            dialect = read_begin(source, settings).dialect
            if isinstance(source, CompressedSource):
                dialect = replace(dialect, codec=source.codec.name)
            length = dialect.header_bytes - dialect.mark_bytes
            header = text_of(source, dialect, dialect.mark_bytes, length)
        file = replace(file, dialect=dialect)
        if dialect.codec:
            # How long the text is shows at its end; records are counted on the way there.
            file, counted = _count(file, settings, len(files))
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
    codec = settings.codec or dialect_of(settled_files[0]).codec or None
    if codec == "none" and not is_compressed(settled_files[0]):
        codec = None  # bytes are copied
    name = _part_name(settled_files[0], settings.name, codec)
    # A preset may ask for a floor of row groups, and there are none.
    return settled_files, replace(settings, name=name, codec=codec, row_group_floor_bytes=None)


def first_names(file: SourceFile) -> set[str]:
    """Return the columns that the header of a settled file names, or the keys of its first records.

    Not covered: keys that come later, and columns without names.
    """
    dialect = dialect_of(file)
    with opened(file) as source:
        start, stop = dialect.mark_bytes, dialect.header_bytes
        if dialect.kind == "ndjson":
            num_bytes = dialect.num_bytes if dialect.codec else source.file.size_bytes
            stop = min(num_bytes, start + _FIRST_BYTES)
        text = text_of(source, dialect, start, stop - start)
    if dialect.kind == "ndjson":
        return {key for record in _objects(text.splitlines()) for key in record}
    rows = csv.reader(
        io.StringIO(text.decode(errors="replace"), newline=""),
        delimiter=dialect.delimiter or ",",
        quotechar=dialect.quote or None,
        escapechar=dialect.escape or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
    )
    return set(next(rows, []))


def _objects(lines: Sequence[bytes]) -> Iterator[dict[str, object]]:
    for line in lines:
        with suppress(ValueError, RecursionError):  # the last one may be cut
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


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
    empty = [file.path for file, _ in (one, other) if not text_bytes(file)]
    if differing and empty:
        raise SchemaMismatch(
            f"{redacted(empty[0])} is empty, and other files are not: leave it out (--exclude)"
        )
    if differing:
        raise SchemaMismatch(
            f"{redacted(one[0].path)} and {redacted(other[0].path)} have different {differing[0]}; "
            "split them apart"
        )


def _part_name(file: SourceFile, name: str, codec: str | None) -> str:
    """Return the template of parts' names, which end as the source does where that is true."""
    dialect = dialect_of(file)
    more = CODEC_SUFFIXES.get(codec or "", "")
    able = tuple(end + more for end in _ENDINGS[dialect.kind])
    usual = (".tsv" if dialect.delimiter == "\t" else _ENDINGS[dialect.kind][0]) + more
    path = file.path.lower().removesuffix(CODEC_SUFFIXES.get(dialect.codec, "")) + more
    ending = next((end for end in able if path.endswith(end)), usual)
    if name == DEFAULT_NAME:
        return name.removesuffix(PARQUET_SUFFIXES[0]) + ending
    if not name.lower().endswith(able):
        raise BadSetting(f"--name {name!r} is for another format: end it in {ending}")
    return name


def measured(files: Sequence[SourceFile], settings: Settings) -> Measures:
    """Look around cuts alone where that is enough, else at all records."""
    is_enough = all(needs_no_count(file, settings) for file in files)
    found = found_parts(files, settings) if is_enough else None
    return _of_found(files, found) if found else _of_counted(files, settings)


def _of_counted(files: Sequence[SourceFile], settings: Settings) -> Measures:
    """Read all records' places now, and blocks where the planner asks.

    Of text that will be compressed bytes are estimates (:mod:`.sampling`).
    """
    blocks: list[tuple[int, Block]] = []
    sizes: list[int] = []
    ladders: list[Ladder | None] = []
    first_records: list[int] = []
    for number, file in enumerate(files):
        found, taken, ladder = _kept.get(file) or _count(file, settings, len(files))[1]
        ladders.append(ladder)
        first_records += accumulate((block.num_records for block in found[:-1]), initial=0)
        if found and number < len(files) - 1:
            with opened(file) as source:
                if not is_ended(file, source):
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
    is_estimate = settings.codec in CODECS
    layout = make_layout(tuple(files), groups, head.length + _FRAME_BYTES * is_estimate, 1)

    def curve_of(position: int) -> Curve:
        number, block = blocks[position]
        ladder = ladders[number]
        if ladder is not None:
            first = first_records[position]
            rows, sums = ladder.knots(first, block.num_records, block.offset, block.num_bytes)
        else:
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
            uncertain_share=_UNCERTAIN_SHARE if is_estimate else 0.0,
        ),
        curve_of=curve_of,
        inside_of=no_insides,
        memory_of=lambda part: _part_bytes(part, files, settings),
        copied_of=lambda pieces: 0 if settings.codec else layout.num_bytes,  # nothing, or all
        kept_bytes=lambda part_bytes, decodes: max(0, looks_bytes(files) - part_bytes),
    )


def _part_bytes(part: PartPlan, files: Sequence[SourceFile], settings: Settings) -> int:
    """Return the memory that writing a part takes."""
    if not settings.codec:
        return _PART_BYTES
    needed = {piece.file for piece in part.slices}
    codec = CODECS.get(settings.codec or "")
    return (
        _PART_BYTES
        + FILE_BYTES * len(needed)
        + max((open_bytes(files[number]) for number in needed), default=0)
        + (codec.compressor_bytes(settings.codec_level) if codec else 0)
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


def _count(file: SourceFile, settings: Settings, num_files: int) -> tuple[SourceFile, _Counted]:
    """Read a file; return it with what its end tells of a compressed text, and what is in it."""
    dialect = dialect_of(file)
    codec = CODECS.get(settings.codec or dialect.codec)
    sampler = codec and Sampler(
        codec, settings.codec_level, file.size_bytes, _aim(file, settings), num_files
    )
    with opened(file) as source:
        if not isinstance(source, CompressedSource):
            blocks = read_blocks(source, dialect)
            return file, _Counted(blocks, _sampled(source, blocks, sampler))
        known, ladder = source.known, Ladder(num_files)
        if sampler:
            source.on_step = lambda offset, text: sampler.see(offset, text, known.at(offset))
        blocks = read_blocks(source, dialect, ladder)
        size = source.measure()
        is_ended = bool(size) and source.read(size - 1, 1) == b"\n"
    dialect = replace(dialect, num_bytes=size, decoder_bytes=known.decoder_bytes, is_ended=is_ended)
    taken: Sequence[float] = [block.num_bytes for block in blocks]
    if blocks and sampler:
        taken = sampler.sizes([*(block.offset for block in blocks), size], known.at)
    counted = _Counted(blocks, [max(1, round(each)) for each in taken], ladder)
    return replace(file, dialect=dialect), counted


def _aim(file: SourceFile, settings: Settings) -> int | None:
    """Return about how large a part is to be, of which a file may hold a piece."""
    if settings.num_parts is not None:
        return file.size_bytes // settings.num_parts
    return settings.target_bytes


def _sampled(source: Source, blocks: Sequence[Block], sampler: Sampler | None) -> list[int]:
    """Return the bytes of each block of a plain file in a part."""
    if sampler is None or not blocks:
        return [block.num_bytes for block in blocks]
    size = source.file.size_bytes
    num_samples = min(sampler.num_samples, -(-size // sampler.sample_bytes))
    for number in range(num_samples):
        start = size * number // num_samples
        sampler.see(start, source.read(start, min(sampler.sample_bytes, size - start)), start)
    bounds = [*(block.offset for block in blocks), size]
    return [max(1, round(each)) for each in sampler.sizes(bounds, float)]
