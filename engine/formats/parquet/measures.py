"""What a plan asks of Parquet files: bytes of row groups and pages, in the parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine import memory
from engine.errors import OverBudget
from engine.formats import Measures
from engine.formats.parquet.curves import read_curve
from engine.formats.parquet.layout import read_layout
from engine.formats.parquet.opened import OpenRowGroup, open_file
from engine.formats.parquet.part_memory import part_memory_bytes
from engine.formats.parquet.sizes import Sizes
from engine.formats.parquet.small_chunks import spread_dictionaries
from engine.model import PartPlan, SourceFile
from engine.planning.curves import Curve, Inside
from engine.settings import Settings
from engine.storage.base import naming


def measured(
    files: Sequence[SourceFile],
    settings: Settings,
    revision: int,
    budget: memory.Budget | None,
) -> Measures:
    """Read footers now, and pages where the planner asks; see :class:`engine.formats.Measures`."""
    recoding = settings.recoding
    layout = read_layout(files)
    source_bytes = layout.num_bytes + layout.part_bytes
    sizes = Sizes(revision)
    with naming(*(file.path for file in files)):
        if not recoding.is_nothing and layout.groups:
            from engine.formats.parquet.sampling import new_sizes

            sizes = new_sizes(layout, recoding, revision)
        layout = sizes.resized(layout)

    def opened_at(position: int) -> OpenRowGroup:
        group = layout.groups[position]
        return open_file(files[group.file]).row_group(group.index)

    def curve_of(position: int) -> Curve:
        opened = opened_at(position)
        with naming(opened.file.file.path):
            spread = spread_dictionaries(opened, recoding)
            return read_curve(opened, layout.groups[position], sizes, spread)

    looks_bytes = [0]

    def inside_of(
        position: int, column: int, page: int, *, num_bytes: float, step_bytes: float
    ) -> Inside | None:
        from engine.formats.parquet.insides import look_inside, seen_bytes

        chunk = opened_at(position).chunk(column)
        with naming(chunk.file.file.path):
            looks_bytes.append(seen_bytes(chunk, page))
            _check_can_look(looks_bytes[-1], settings, budget, chunk.leaf.name)
            is_spread = column in spread_dictionaries(chunk.group, recoding)
            return look_inside(
                chunk,
                page,
                recoding=replace(recoding, dictionary=False) if is_spread else recoding,
                num_bytes=num_bytes,
                step_bytes=step_bytes,
            )

    def memory_of(part: PartPlan) -> int:
        return part_memory_bytes(part, [open_file(file) for file in files], recoding)

    def kept_bytes() -> int:
        tries = settings.regroups or not recoding.is_nothing
        return max(looks_bytes) + (memory.TRIED_PAGES_BYTES if tries else 0)

    return Measures(layout, source_bytes, curve_of, inside_of, memory_of, kept_bytes)


def _check_can_look(
    num_bytes: int, settings: Settings, budget: memory.Budget | None, column: str
) -> None:
    """Refuse where a page cannot be looked into: to pass over it would make another plan.

    To cut it takes more than that.
    """
    budget = budget or memory.budget(settings.memory_bytes)
    needed = memory.process_base_bytes(arrow=True, under="threads") + num_bytes
    if needed > budget.bytes:
        raise OverBudget(
            f"to plan a cut through a large page of column {column} needs about {needed >> 20} MiB "
            f"of memory, the budget is {budget.bytes >> 20} MiB ({budget.source}); free memory, "
            "raise --memory, or use --cut row-group"
        )
