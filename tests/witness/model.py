"""What a witness says: readings of columns, the protocol of readers, and how readings compare.

Not here: how values become fingerprints (``canonical``), how readers are driven (``read_*``), and
the whole judgement over all readers (``judge``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from tests.witness.canonical import BLOCK_ROWS


@dataclass(frozen=True)
class CannotRead:
    """The reader refused: no comparison is possible, which must be listed and never be dropped."""

    reason: str


@dataclass(frozen=True)
class Aggregates:
    """min, max and count as the reader's *query* answers them, possibly from statistics alone."""

    minimum: str | None
    maximum: str | None
    num_values: int


@dataclass(frozen=True)
class ColumnReading:
    """One top-level column as one reader sees it, rows in order.

    ``blocks`` fingerprints every ``BLOCK_ROWS`` rows: a difference is found, and where, without
    values.
    ``aggregates`` is None where the reader has no pushdown that is worth asking.
    """

    type: str
    num_rows: int
    num_nulls: int
    blocks: tuple[str, ...] = field(repr=False)
    aggregates: Aggregates | CannotRead | None = None


@dataclass(frozen=True)
class Reading:
    """One logical table as one reader sees it. ``num_rows`` is the reader's own ``count(*)``."""

    witness: str
    num_rows: int | CannotRead
    columns: dict[str, ColumnReading | CannotRead]


@dataclass(frozen=True)
class Probe:
    """A filter whose row count must be the same over source and parts. ``op``: = or >=."""

    column: str
    op: str
    value: pa.Scalar

    def __str__(self) -> str:
        return f"{self.column} {self.op} {self.value}"


@dataclass(frozen=True)
class Selection:
    """The rows that a filter keeps, in order: how many, and a fingerprint of each column."""

    num_rows: int
    fingerprints: dict[str, str]


class Witness(Protocol):
    """A reader. ``paths`` in order are one table: rows of the first file, then of the second, …

    Every method reads the files anew, holds no state about them, and may be called in any order.
    """

    name: str
    probes_per_column: int
    most_selections: int

    def __hash__(self) -> int: ...

    def digest(self, paths: Sequence[str], columns: Sequence[str] | None = None) -> Reading:
        """Read ``columns`` (default: all of the first file) and fingerprint them in row order."""

    def digest_many(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str] | None = None
    ) -> list[Reading]:
        """``digest`` of each group, all in one query where that is faster.

        What a reader refuses in the first group it need not be asked in the others.
        """

    def fetch(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, pa.Array | CannotRead]:
        """The values themselves, for probes and for showing the first difference."""

    def count_where(self, paths: Sequence[str], probes: Sequence[Probe]) -> list[int | CannotRead]:
        """Row counts of each filter, with every pruning this reader has switched on."""

    def select_where(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str], probes: Sequence[Probe]
    ) -> list[list[Selection | CannotRead]]:
        """By group, the rows each filter keeps.

        Pages are skipped in every column by its offset index, so one wrong row number there puts
        the values of other rows into the answer. Asked where ``most_selections`` is not 0, which
        says that this reader uses page indexes, and how many filters it can afford.
        """


def compare(source: Reading, parts: Reading) -> list[str]:
    """Differences in words; empty means equal in everything that ``not_compared`` does not list."""
    out = []
    if isinstance(source.num_rows, int) and source.num_rows != parts.num_rows:
        out.append(f"rows: source {source.num_rows}, parts {parts.num_rows}")
    if list(source.columns) != list(parts.columns):
        out.append(f"columns: source {list(source.columns)}, parts {list(parts.columns)}")
    for name, expected in source.columns.items():
        found = parts.columns.get(name)
        if isinstance(expected, ColumnReading) and found is not None:
            out += [f"{name}: {words}" for words in _column_differences(expected, found)]
    return [f"{source.witness}: {words}" for words in out]


def not_compared(source: Reading) -> list[str]:
    """What this witness cannot say anything about, because it cannot read the source itself."""
    out = []
    if isinstance(source.num_rows, CannotRead):
        out.append(f"row count: {source.num_rows.reason}")
    for name, column in source.columns.items():
        if isinstance(column, CannotRead):
            out.append(f"{name}: {column.reason}")
        elif isinstance(column.aggregates, CannotRead):
            out.append(f"{name}: aggregates: {column.aggregates.reason}")
    return [f"{source.witness}: {words}" for words in out]


def _column_differences(source: ColumnReading, parts: ColumnReading | CannotRead) -> list[str]:
    if isinstance(parts, CannotRead):
        return [f"the source is readable, the parts are not: {parts.reason}"]
    out = []
    if source.type != parts.type:
        out.append(f"type: source {source.type}, parts {parts.type}")
    if source.num_rows != parts.num_rows:
        out.append(f"rows: source {source.num_rows}, parts {parts.num_rows}")
    if source.num_nulls != parts.num_nulls:
        out.append(f"nulls: source {source.num_nulls}, parts {parts.num_nulls}")
    if source.blocks != parts.blocks:
        out.append(f"values differ, first in rows {_first_block(source, parts)}")
    if isinstance(source.aggregates, Aggregates) and parts.aggregates not in (
        None,
        source.aggregates,
    ):
        out.append(f"aggregates: source {source.aggregates}, parts {parts.aggregates}")
    return out


def _first_block(source: ColumnReading, parts: ColumnReading) -> str:
    pairs = zip(source.blocks, parts.blocks, strict=False)
    shared = min(len(source.blocks), len(parts.blocks))
    block = next((i for i, (a, b) in enumerate(pairs) if a != b), shared)
    return f"{block * BLOCK_ROWS}..{(block + 1) * BLOCK_ROWS - 1}"
