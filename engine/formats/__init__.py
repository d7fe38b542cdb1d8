"""File formats that can be split: what one must tell the story of a split, and which a file has.

A format is a module with the functions of :class:`Format`; :data:`BY_ENDING` names those that a
file's name tells. Of a name that is no format's own, and of lines, the content decides: what begins
as Parquet is Parquet, what is text is lines. The story (:mod:`engine.splitter`), its
sources (:mod:`engine.sources`), the workers (:mod:`engine.executors`, :mod:`engine.work`) and the
proof (:mod:`engine.verification`) know formats by these functions only. ``DESIGN.md`` says what
they must keep to. Not covered: profiles, and the key counts of ``splitter.profile_key_of``, which
are Parquet's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from engine.errors import SchemaMismatch
from engine.model import PartPlan, Recoding, RowGroupSlice, SourceFile
from engine.part_names import CODEC_SUFFIXES, LINE_SUFFIXES, PARQUET_SUFFIXES
from engine.planning.layout import Layout
from engine.planning.ruler import CurveOf, InsideOf
from engine.settings import Settings
from engine.storage import PartSink, Source, open_storage
from engine.storage.base import redacted

PARQUET = "engine.formats.parquet.format"
LINES = "engine.formats.lines.format"
CONVERTED = "engine.formats.converted.format"  # of lines, whose parts are Parquet
# Modules by the end of a file's name.
BY_ENDING: dict[str, str] = {
    **dict.fromkeys(PARQUET_SUFFIXES, PARQUET),
    **dict.fromkeys(LINE_SUFFIXES, LINES),
    **dict.fromkeys(
        (end + more for end in LINE_SUFFIXES for more in CODEC_SUFFIXES.values()), LINES
    ),
}
_LOOK_BYTES = 4096


@dataclass(frozen=True)
class Measures:
    """What the planner asks of sources.

    Attributes:
        layout: the sources, in bytes that they have in the parts.
        curve_of: the inside of a row group, by its position in the layout.
        inside_of: the inside of a page.
        memory_of: projected peak memory of writing a part, in bytes.
        copied_of: bytes that are copied as they are into a row group of a part that is made of
            these slices, where it is no whole one of the source.
        kept_bytes: once the plan is made, what its looks take beside parts that take so much, and
            whether these decode anything.
        smoother: once a plan is made that is not even, the same with sizes that do not jump from a
            row to the next, at more work; None if they did not.
    """

    layout: Layout
    curve_of: CurveOf
    inside_of: InsideOf
    memory_of: Callable[[PartPlan], int]
    copied_of: Callable[[Sequence[RowGroupSlice]], int]
    kept_bytes: Callable[[int, bool], int]
    smoother: Callable[[], Measures | None] = lambda: None


class WrittenPart(NamedTuple):
    """What a part was made of.

    ``tail`` is the end of the file that tells it from every other one, as
    :meth:`Format.read_tail` reads it. ``end_bytes`` is how much of a part lies behind its values:
    readers skip values by it, and no comparison of values proves it; ``end_sha256`` does.
    ``num_rows`` is None where the plan has not counted them.
    """

    num_rows: int | None
    spliced_bytes: int
    reencoded_bytes: int
    tail: bytes
    end_bytes: int
    end_sha256: str


class Compared(NamedTuple):
    """What a proof has compared: values, over how many columns; or bytes, in how many rows."""

    num_values: int
    num_columns: int
    num_bytes: int = 0
    num_rows: int = 0

    def and_of(self, other: Compared) -> Compared:
        """Return what both have compared, of the same columns."""
        num_values, num_bytes = self.num_values + other.num_values, self.num_bytes + other.num_bytes
        num_rows = self.num_rows + other.num_rows
        return Compared(num_values, other.num_columns, num_bytes, num_rows)


class Format(Protocol):
    """A format. Its functions raise :class:`engine.errors.SourceError` of what a source is."""

    @property
    def PRELOAD(self) -> Sequence[str]:  # noqa: N802 - a constant of a module
        """Modules that worker processes import before there is a part."""

    def settled(
        self, files: Sequence[SourceFile], settings: Settings, /
    ) -> tuple[tuple[SourceFile, ...], Settings]:
        """Return files and settings with what the content of the files decides.

        Raises:
            BadSetting: a setting has no meaning for the format, or one that is needed is missing.
        """

    def notes(self, files: Sequence[SourceFile], /) -> tuple[str, ...]:
        """Return what of settled files is read otherwise than it lies there, a sentence each."""

    def top_columns(self, file: SourceFile, /) -> set[str]:
        """Return the names of the columns that a file itself holds."""

    def agreements(
        self, file: SourceFile, texts: Mapping[str, str | None], /
    ) -> dict[str, bool | None]:
        """Return of such columns whether all rows have a value, None where that is not known.

        Args:
            file: which one.
            texts: the value of each, as the name of a folder has it; None for null.
        """

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
        expected_rows: Sequence[int | None],
        settings: Mapping[str, object],
        progress: Callable[[int], None] | None,
    ) -> Compared:
        """Prove that the parts, in their order, hold what the sources hold.

        Args:
            sources, parts: the files, in order.
            memory_bytes: budget.
            workers: columns compared at once.
            expected_rows: of each part by its receipt; None where none were counted.
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

    def holding_sources(self) -> AbstractContextManager[None]:
        """Hold what is opened and read of sources meanwhile; in the end it is closed and dropped.

        Calls side by side, in threads of one process, leave each other what they still need.
        """


def load_format(name: str) -> Format:
    """Return a format by the name of its module, as :func:`format_of` gives it."""
    return cast(Format, import_module(name))


def format_of(files: Sequence[SourceFile]) -> str:
    """Return the name of the format that files have, by their names and content.

    Raises:
        SchemaMismatch: they have several.
    """
    found = {_format_of(file): file for file in reversed(files)}
    if len(found) > 1:
        one, other = (redacted(file.path) for file in list(found.values())[:2])
        raise SchemaMismatch(f"{one} and {other} have different formats; split them apart")
    return next(iter(found), PARQUET)


def settled(
    files: Sequence[SourceFile], settings: Settings
) -> tuple[tuple[SourceFile, ...], Settings]:
    """Return files and settings as their format settles them; :func:`format_of` knows it then."""
    name = format_of(files)
    chosen = CONVERTED if name == LINES and settings.to is not None else name
    return load_format(chosen).settled(files, settings)


def _format_of(file: SourceFile) -> str:
    if file.dialect is not None:
        return LINES if file.conversion is None else CONVERTED
    path = file.path.lower()
    named = next((name for end, name in BY_ENDING.items() if path.endswith(end)), None)
    if named is None or named == LINES:
        return _by_content(file, named or PARQUET)
    return named


@lru_cache(maxsize=1024)
def _by_content(file: SourceFile, otherwise: str) -> str:
    from engine.formats.lines.dialect import is_text  # imports numpy

    store, path = open_storage(file.path)
    source = store.open(SourceFile(path, file.size_bytes, file.version))
    try:
        head = source.read(0, min(file.size_bytes, _LOOK_BYTES))
    finally:
        source.close()
    if head.startswith(b"PAR1"):
        return PARQUET
    return LINES if head and is_text(head) else otherwise
