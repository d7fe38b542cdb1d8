"""File formats that can be split: what one must tell the story of a split, and which a file has.

A format is a module with the functions of :class:`Format`; :data:`BY_ENDING` names those that a
file's name tells, all else is Parquet. The story (:mod:`engine.splitter`), the workers
(:mod:`engine.work`) and the proof (:mod:`engine.verification`) know formats by these functions
only. ``DESIGN.md`` says what they must keep to. Not covered: profiles, and the key counts of
``splitter.profile_key_of``, which are Parquet's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from engine.errors import SchemaMismatch
from engine.model import PartPlan, Recoding, SourceFile
from engine.planning.layout import Layout
from engine.planning.ruler import CurveOf, InsideOf
from engine.settings import Settings
from engine.storage import PartSink, Source
from engine.storage.base import redacted

PARQUET = "engine.formats.parquet.format"
# Modules by the end of a file's name.
BY_ENDING: dict[str, str] = {}


@dataclass(frozen=True)
class Measures:
    """What the planner asks of sources.

    Attributes:
        layout: the sources, in bytes that they have in the parts.
        source_bytes: what they would take as one part, as they are.
        curve_of: the inside of a row group, by its position in the layout.
        inside_of: the inside of a page.
        memory_of: projected peak memory of writing a part, in bytes.
        kept_bytes: once the plan is made, what its looks take beside parts that take so much, and
            whether these decode anything.
    """

    layout: Layout
    source_bytes: int
    curve_of: CurveOf
    inside_of: InsideOf
    memory_of: Callable[[PartPlan], int]
    kept_bytes: Callable[[int, bool], int]


class WrittenPart(NamedTuple):
    """What a part was made of.

    ``tail`` is the end of the file that tells it from every other one, as
    :meth:`Format.read_tail` reads it.
    """

    num_rows: int
    spliced_bytes: int
    reencoded_bytes: int
    tail: bytes


class Compared(NamedTuple):
    """What a proof has compared: values, over how many columns."""

    num_values: int
    num_columns: int


class Format(Protocol):
    """A format. Its functions raise :class:`engine.errors.SourceError` of what a source is."""

    @property
    def PRELOAD(self) -> Sequence[str]:  # noqa: N802 - a constant of a module
        """Modules that worker processes import before there is a part."""

    def top_columns(self, file: SourceFile, /) -> set[str]:
        """Return the names of the columns that a file itself holds."""

    def measure(
        self,
        files: Sequence[SourceFile],
        settings: Settings,
        /,
        *,
        revision: int,
    ) -> Measures:
        """Read what a plan needs of the sources, and refuse those that are no one table.

        Args:
            files: the sources, in order.
            settings: of the split.
            revision: how many plans before this had parts that came out over the target.

        Raises:
            OverBudget: a look takes more memory than there is (:func:`engine.memory.ask`).
        """

    def write(
        self,
        part: PartPlan,
        sources: Sequence[SourceFile],
        sink: PartSink,
        /,
        *,
        recoding: Recoding,
        provenance: Mapping[str, str],
    ) -> WrittenPart:
        """Write a part, checked, into a sink, which the caller publishes.

        Args:
            part: its plan.
            sources: the files that its slices count.
            sink: takes the bytes, in order.
            recoding: how pages are encoded, where not as in the source.
            provenance: what the part's metadata is to say, as far as the format can hold it.

        Raises:
            SourceChanged: a source that was read is no longer what was planned.
        """

    def read_tail(self, source: Source, /) -> bytes:
        """Return the end of a part that tells it from every other one."""

    def verify(
        self,
        sources: Sequence[SourceFile],
        parts: Sequence[SourceFile],
        /,
        *,
        memory_bytes: int,
        workers: int,
        expected_rows: Sequence[int],
        settings: Mapping[str, object],
        progress: Callable[[int], None] | None,
    ) -> Compared:
        """Prove that the parts, in their order, hold what the sources hold.

        Args:
            sources, parts: the files, in order.
            memory_bytes: budget.
            workers: columns compared at once.
            expected_rows: of each part by its receipt.
            settings: that shaped the parts, as their plan keeps them.
            progress: is called with the number of values compared since the last call.

        Raises:
            Different: the first difference found; its message begins with the name of the part.
            OverBudget: it takes more memory than the budget that holds.
        """

    def verify_memory_bytes(
        self,
        sources: Sequence[SourceFile],
        parts: Sequence[SourceFile],
        /,
        *,
        workers: int,
        memory_bytes: int,
    ) -> int:
        """Return the projected peak memory of :meth:`verify`, the process included."""

    def close_sources(self) -> None:
        """Close every source that this process has open."""


def load_format(name: str) -> Format:
    """Return a format by the name of its module, as :func:`format_of` gives it."""
    return cast(Format, import_module(name))


def format_of(files: Sequence[SourceFile]) -> str:
    """Return the name of the format that files have, by their names.

    Raises:
        SchemaMismatch: they have several.
    """
    found = {_format_of(file): file for file in reversed(files)}
    if len(found) > 1:
        one, other = (redacted(file.path) for file in list(found.values())[:2])
        raise SchemaMismatch(f"{one} and {other} have different formats; split them apart")
    return next(iter(found), PARQUET)


def _format_of(file: SourceFile) -> str:
    return next((name for end, name in BY_ENDING.items() if file.path.endswith(end)), PARQUET)
