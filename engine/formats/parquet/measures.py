"""What a plan asks of Parquet files: bytes of row groups and pages, in the parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from engine import memory
from engine.formats import Measures
from engine.formats.parquet.carried import copied_bytes
from engine.formats.parquet.curves import read_curve, rows_by_dictionary
from engine.formats.parquet.layout import read_layout
from engine.formats.parquet.opened import OpenChunk, OpenRowGroup, open_file
from engine.formats.parquet.part_memory import part_memory_bytes
from engine.formats.parquet.sizes import Sizes, Used
from engine.formats.parquet.small_chunks import drawn_dictionaries
from engine.formats.parquet.trimmed import (
    PieceSize,
    expected_piece,
    trimmed_columns,
    used_bytes,
)
from engine.model import Recoding, SourceFile
from engine.planning.curves import Curve, Inside
from engine.planning.layout import Layout
from engine.planning.planner import check_holds_a_row
from engine.settings import Settings
from engine.storage.base import naming

# Dictionaries with as many entries a value are used alike in all row groups of a column.
_ENOUGH_ALIKE, _ALIKE_SHARE = 2, 0.05


def measured(
    files: Sequence[SourceFile],
    settings: Settings,
    revision: int,
) -> Measures:
    """Read footers now, and pages where the planner asks; see :class:`engine.formats.Measures`."""
    recoding = settings.recoding
    layout = _layout(files, settings)
    with naming(*(file.path for file in files)):
        sizes = _sizes(layout, recoding, revision)
        layout = sizes.resized(layout)
    looks = _Looks()
    used = _UsedEntries(recoding, looks, sees_all=bool(revision))
    return _measures(layout, settings, sizes, used, expected_piece(settings, layout))


def _measures(
    layout: Layout, settings: Settings, sizes: Sizes, used: _UsedEntries, piece_size: PieceSize
) -> Measures:
    """Return measures of row groups whose pieces are expected to have some size."""
    files, recoding, looks = layout.files, settings.recoding, used.looks
    repeated: set[int] = set()  # row groups of which a cut repeats a large dictionary

    def opened_at(position: int) -> OpenRowGroup:
        group = layout.groups[position]
        return open_file(files[group.file]).row_group(group.index)

    def curve_of(position: int) -> Curve:
        opened = opened_at(position)
        with naming(opened.file.file.path):
            drawn = drawn_dictionaries(opened, recoding)
            columns = trimmed_columns(opened, recoding, piece_size)
            if columns < trimmed_columns(opened, recoding, piece_size.trimmed_always):
                repeated.add(position)
            trimmed = {
                column: used.of(opened.chunk(column), piece_size.num_rows)
                for column in sorted(columns)
            }
            return read_curve(opened, layout.groups[position], sizes, drawn, trimmed)

    def inside_of(
        position: int, column: int, page: int, *, num_bytes: float, step_bytes: float
    ) -> Inside | None:
        from engine.formats.parquet.insides import look_inside, seen_bytes

        chunk = opened_at(position).chunk(column)
        with naming(chunk.file.file.path):
            looks.ask(seen_bytes(chunk, page, recoding), chunk.leaf.name)
            return look_inside(
                chunk,
                page,
                recoding=recoding,
                num_bytes=num_bytes,
                step_bytes=step_bytes,
            )

    opened = [open_file(file) for file in files]
    memory_of = partial(part_memory_bytes, files=opened, recoding=recoding)
    copied_of = partial(copied_bytes, files=opened, recoding=recoding)

    def kept_bytes(part_bytes: int, decodes: bool) -> int:
        tries = settings.regroups or not recoding.is_nothing
        kept = looks.kept_bytes(part_bytes, decodes=decodes)
        return kept + (memory.TRIED_PAGES_BYTES if tries else 0)

    def smoother() -> Measures | None:
        if not repeated:
            return None
        return _measures(layout, settings, sizes, used, piece_size.trimmed_always)

    return Measures(layout, curve_of, inside_of, memory_of, copied_of, kept_bytes, smoother)


def _layout(files: Sequence[SourceFile], settings: Settings) -> Layout:
    """Return what footers tell; a target that they alone exceed is refused before other work."""
    layout = read_layout(files)
    check_holds_a_row(layout, settings)
    return layout


def _sizes(layout: Layout, recoding: Recoding, revision: int) -> Sizes:
    if recoding.is_nothing or not layout.groups:
        return Sizes(revision)
    from engine.formats.parquet.sampling import new_sizes

    return new_sizes(layout, recoding, revision)


class _Looks:
    """Looks into pages, each asked for before; ``most_bytes``: what the largest has taken."""

    def __init__(self) -> None:
        self.most_bytes = 0

    def ask(self, num_bytes: int, column: str) -> None:
        """Raise OverBudget if there is no room: to pass over a look would make another plan."""
        self.most_bytes = max(self.most_bytes, num_bytes)
        purpose = f"to plan a cut through a large page of column {column}"
        memory.ask(num_bytes, purpose, arrow=True, cure="use --cut row-group")

    def kept_bytes(self, part_bytes: int, *, decodes: bool) -> int:
        """Return what they take beside parts; where parts decode nothing, the looks alone do."""
        kept = memory.kept_look_bytes(self.most_bytes, part_bytes)
        if not self.most_bytes or decodes:
            return kept
        with_arrow, without = (
            memory.process_base_bytes(arrow=arrow, under="threads") for arrow in (True, False)
        )
        return kept + with_arrow - without


class _UsedEntries:
    """What pieces use of dictionaries: counted for some row groups, which stand for those alike.

    Args:
        recoding: what is done to pages.
        sees_all: whether all are counted, because some were not like others.
        looks: asked before.
    """

    def __init__(self, recoding: Recoding, looks: _Looks, *, sees_all: bool) -> None:
        self._recoding = recoding
        self.looks = looks
        self._sees_all = sees_all
        self._known: dict[int, list[tuple[float, Used]]] = {}  # by column: entries a value

    def of(self, chunk: OpenChunk, piece_rows: int) -> Used:
        """Return what pieces, of about so many rows, use of a chunk's dictionary."""
        density = chunk.header(None).num_values / max(1, chunk.entry.num_values)
        known = self._known.setdefault(chunk.column, [])
        alike = [used for seen, used in known if abs(seen - density) <= _ALIKE_SHARE * seen]
        if len(alike) >= _ENOUGH_ALIKE and not self._sees_all:
            return alike[-1].stretched(rows_by_dictionary(chunk))
        from engine.formats.parquet.used import used_entries  # imports pyarrow

        self.looks.ask(used_bytes(chunk), chunk.leaf.name)
        found = used_entries(chunk, self._recoding.codec, piece_rows)
        known.append((density, found))
        return found
