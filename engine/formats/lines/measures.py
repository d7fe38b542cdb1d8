"""What a plan asks of files of lines: their dialect, and bytes by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine import memory
from engine.errors import BadSetting, SchemaMismatch
from engine.formats import Measures
from engine.formats.lines.dialect import read_begin
from engine.formats.lines.index import Block, knots, looks_bytes, read_blocks
from engine.formats.lines.pieces import dialect_of, head_of
from engine.formats.lines.reading import STEP_BYTES, opened
from engine.formats.lines.scan import COPIES, marks_of
from engine.model import SourceFile
from engine.part_names import DEFAULT_NAME, JSON_SUFFIXES, LINE_SUFFIXES, PARQUET_SUFFIXES
from engine.planning.curves import Curve
from engine.planning.layout import GroupLayout, make_layout
from engine.planning.ruler import no_insides
from engine.settings import Settings
from engine.storage.base import redacted

_HELD_PER_BLOCK_BYTES = 400
_PART_BYTES = 8 * memory.MIB + COPIES * STEP_BYTES  # a copy's buffer, and blocks at the ends
_ENDINGS = {
    "csv": tuple(end for end in LINE_SUFFIXES if end not in JSON_SUFFIXES),
    "ndjson": (*JSON_SUFFIXES, ".txt"),
}
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


def settled(
    files: Sequence[SourceFile], settings: Settings
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Look at the begin of every file; see :meth:`engine.formats.Format.settled`."""
    for flag, (name, nothing) in _PARQUETS.items():
        if getattr(settings, name) != nothing:
            raise BadSetting(
                f"{flag} is for Parquet, and {redacted(files[0].path)} is a file of lines, whose "
                "bytes are copied as they are: leave it out"
            )
    found = []
    for file in files:
        with opened(file) as source:
            dialect = read_begin(source, settings).dialect
            header = source.read(dialect.mark_bytes, dialect.header_bytes - dialect.mark_bytes)
        found.append((replace(file, dialect=dialect), header))
    for other in found[1:]:
        _check_alike(found[0], other)
        if found[0][1] and not found[0][1].endswith(b"\n"):
            raise SchemaMismatch(
                f"{redacted(files[0].path)} is a header alone, without a line end, so that records "
                "of other files would continue it: leave it out"
            )
    settled_files = tuple(file for file, _ in found)
    return settled_files, replace(settings, name=_part_name(settled_files[0], settings.name))


def _check_alike(one: tuple[SourceFile, bytes], other: tuple[SourceFile, bytes]) -> None:
    ours, its = dialect_of(one[0]), dialect_of(other[0])
    differing = [
        what
        for what, values in {
            "kinds of records": (ours.kind, its.kind),
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


def _part_name(file: SourceFile, name: str) -> str:
    """Return the template of parts' names, which end as the source does where that is true."""
    dialect = dialect_of(file)
    able = _ENDINGS[dialect.kind]
    usual = ".tsv" if dialect.delimiter == "\t" else able[0]
    ending = next((end for end in able if file.path.lower().endswith(end)), usual)
    if name == DEFAULT_NAME:
        return name.removesuffix(PARQUET_SUFFIXES[0]) + ending
    if not name.lower().endswith(able):
        raise BadSetting(f"--name {name!r} is for another format: end it in {ending}")
    return name


def measured(files: Sequence[SourceFile]) -> Measures:
    """Read all records' places now, and blocks where the planner asks."""
    blocks: list[tuple[int, Block]] = []
    for number, file in enumerate(files):
        with opened(file) as source:
            found = read_blocks(source, dialect_of(file))
            if found and number < len(files) - 1 and source.read(file.size_bytes - 1, 1) != b"\n":
                more = len(dialect_of(file).line_end)  # a line end, as another file follows
                found[-1] = found[-1]._replace(num_bytes=found[-1].num_bytes + more)
        blocks += [(number, block) for block in found]
    groups = tuple(
        GroupLayout(number, block.offset, block.num_records, block.num_bytes, 0, 0, 0)
        for number, block in blocks
    )
    head = head_of(files[0], is_first=True)
    layout = make_layout(tuple(files), groups, head.length, 1)

    def curve_of(position: int) -> Curve:
        number, block = blocks[position]
        with opened(files[number]) as source:
            rows, sums = knots(source, block, marks_of(dialect_of(files[number])))
        return Curve(block.offset, rows, sums, 0, (), ())

    return Measures(
        layout=replace(
            layout,
            source_bytes=layout.num_bytes + layout.part_bytes,
            held_bytes=_HELD_PER_BLOCK_BYTES * len(groups),
            repeats="header",
        ),
        curve_of=curve_of,
        inside_of=no_insides,
        memory_of=lambda part: _PART_BYTES,
        copied_of=lambda pieces: layout.num_bytes,  # all is
        kept_bytes=lambda part_bytes, decodes: looks_bytes(files),
    )
