"""The part that all readers share: from Arrow tables, one a file, to a ``Reading``.

A reader supplies ``_read`` (values), ``_num_rows``, ``_aggregates`` and ``_count``. Columns that a
reader refuses are found by bisection, so one of them neither hides nor slows down the others.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from tests.witness.canonical import block_fingerprints, fingerprint, one_array
from tests.witness.model import (
    Aggregates,
    CannotRead,
    ColumnReading,
    Probe,
    Reading,
    Selection,
)

Values: TypeAlias = pa.ChunkedArray | CannotRead
T = TypeVar("T")


class TableWitness(ABC):
    """A reader that hands over Arrow tables. Subclasses say which pruning they switch on."""

    name: str
    compares_types: bool = True
    probes_per_column: int
    most_selections: int = 0

    def digest(self, paths: Sequence[str], columns: Sequence[str] | None = None) -> Reading:
        return self.digest_many([paths], columns)[0]

    def digest_many(
        self, groups: Sequence[Sequence[str]], columns: Sequence[str] | None = None
    ) -> list[Reading]:
        names = list(columns) if columns is not None else column_names(groups[0][0])
        return self._one_by_one(groups, names)

    def _one_by_one(self, groups: Sequence[Sequence[str]], names: list[str]) -> list[Reading]:
        """A column that is refused takes several questions: it is so in one group, once."""
        first = self._reading(groups[0], names, self._values(groups[0], names))
        refused = {n: c for n, c in first.columns.items() if isinstance(c, CannotRead)}
        readable = [n for n in names if n not in refused]
        readings = [first]
        for group in groups[1:]:
            found = self._reading(group, readable, self._values(group, readable))
            every = {**refused, **found.columns}
            readings.append(replace(found, columns={n: every[n] for n in names}))
        return readings

    def fetch(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, pa.Array | CannotRead]:
        by_file = self._values(list(dict.fromkeys(paths)), columns)
        joined = {name: _joined([by_file[path][name] for path in paths]) for name in columns}
        return {n: v if isinstance(v, CannotRead) else one_array(v) for n, v in joined.items()}

    def count_where(self, paths: Sequence[str], probes: Sequence[Probe]) -> list[int | CannotRead]:
        return [attempt(lambda p=p: self._count(paths, p)) for p in probes]  # type: ignore[misc]

    @abstractmethod
    def _read(self, path: str, columns: Sequence[str]) -> pa.Table:
        """Exactly these columns, rows in file order; raises whatever the reader raises."""

    @abstractmethod
    def _num_rows(self, paths: Sequence[str]) -> int: ...

    def _count(self, paths: Sequence[str], probe: Probe) -> int:
        """What ``count_where`` asks, unless a reader has a quicker way to answer many at once."""
        raise NotImplementedError

    def _aggregates(
        self, paths: Sequence[str], columns: Sequence[str]
    ) -> dict[str, Aggregates | CannotRead | None]:
        """Answers for orderable columns; a missing or None answer means: not asked."""
        return {}

    def _values(self, paths: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Values]]:
        return {path: self._columns_of(path, columns) for path in paths}

    def _columns_of(self, path: str, columns: Sequence[str]) -> dict[str, Values]:
        def read(names: Sequence[str]) -> dict[str, Values]:
            table = self._read(path, names)
            if table.column_names != list(names):
                raise ValueError(f"asked for {list(names)}, got {table.column_names}")
            if table.num_rows != (rows := pq.read_metadata(path).num_rows):
                raise ValueError(f"{table.num_rows} rows read, the footer says {rows}")
            return dict(zip(names, table.columns, strict=True))

        return bisect_failures(read, columns)

    def _reading(
        self, paths: Sequence[str], names: list[str], by_file: dict[str, dict[str, Values]]
    ) -> Reading:
        joined = {name: _joined([by_file[path][name] for path in paths]) for name in names}
        orderable = [n for n, v in joined.items() if not isinstance(v, CannotRead) and _orders(v)]
        aggregates = self._aggregates(paths, orderable) if orderable else {}
        columns = {n: self._column(v, aggregates.get(n)) for n, v in joined.items()}
        return Reading(self.name, attempt(lambda: self._num_rows(paths)), columns)

    def _column(
        self, values: Values, aggregates: Aggregates | CannotRead | None
    ) -> ColumnReading | CannotRead:
        if isinstance(values, CannotRead):
            return values
        kind = str(values.type) if self.compares_types else "-"
        blocks = block_fingerprints(values)
        return ColumnReading(kind, len(values), values.null_count, blocks, aggregates)


def column_names(path: str) -> list[str]:
    """Top-level names from the footer, so a reader that drops a column silently is noticed."""
    schema = pq.ParquetFile(path).schema
    roots = (schema.column(i).path.split(".")[0] for i in range(len(schema)))
    return list(dict.fromkeys(roots))


def attempt(action: Callable[[], T]) -> T | CannotRead:
    try:
        return action()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        text = " ".join(str(error).split())
        return CannotRead(_root_cause(str(error)) or f"{type(error).__name__}: {text[:300]}")


def _root_cause(text: str) -> str | None:
    """Java's last "Caused by", which says more than the exception that reached Python."""
    causes = re.findall(r"^Caused by: (?:[\w$]+\.)*(.*)$", text, re.MULTILINE)
    return causes[-1][:300] if causes else None


def bisect_failures(
    read: Callable[[Sequence[str]], Mapping[str, T | CannotRead]], names: Sequence[str]
) -> dict[str, T | CannotRead]:
    """``read`` of as many names at once as it can bear; of one name alone, its refusal."""
    return _bisected(read, names, attempt(lambda: read(names))) if names else {}


def _bisected(
    read: Callable[[Sequence[str]], Mapping[str, T | CannotRead]],
    names: Sequence[str],
    answer: Mapping[str, T | CannotRead] | CannotRead,
) -> dict[str, T | CannotRead]:
    if not isinstance(answer, CannotRead):
        return dict(answer)
    if len(names) == 1:
        return {names[0]: answer}
    middle = len(names) // 2
    if _is_of_codec(answer) and len(names) > 2:
        ends = [attempt(lambda n=n: read([n])) for n in (names[0], names[-1])]  # type: ignore[misc]
        if all(_is_of_codec(end) for end in ends):
            return dict.fromkeys(names, answer)  # a file has one codec, and this reader lacks it
    pieces = [names[:middle], names[middle:]]
    answers = [attempt(lambda p=p: read(p)) for p in pieces]  # type: ignore[misc]
    if len(names) > 2 and all(isinstance(answer, CannotRead) for answer in answers):
        # Many are refused, as by a lacking codec all are: bisection would ask twice as often.
        pieces = [[name] for name in names]
        answers = [attempt(lambda p=p: read(p)) for p in pieces]  # type: ignore[misc]
    found = (_bisected(read, p, a) for p, a in zip(pieces, answers, strict=True))
    return {name: value for some in found for name, value in some.items()}


def _is_of_codec(answer: object) -> bool:
    """Whether a reader refuses for want of a codec's class, as Spark has none for Brotli."""
    return isinstance(answer, CannotRead) and "BrotliCodec" in answer.reason


def selection_of(rows: pa.Table) -> Selection:
    return Selection(len(rows), {n: fingerprint(rows[n]) for n in rows.column_names})


def aggregates_of(minimum: object, maximum: object, num_values: int) -> Aggregates:
    return Aggregates(_text(minimum), _text(maximum), num_values)


def _text(value: object) -> str | None:
    """-0.0 and 0.0 are one bound: the format lets a writer store either sign."""
    if value is None:
        return None
    return repr(value + 0.0 if isinstance(value, float) else value)


def _joined(values: Sequence[Values]) -> Values:
    read = [v for v in values if not isinstance(v, CannotRead)]
    if len(read) < len(values):
        return next(v for v in values if isinstance(v, CannotRead))
    typed = [v for v in read if not pt.is_null(v.type)] or read[:1]
    kind = typed[0].type
    if any(v.type != kind for v in typed):
        return CannotRead(f"type differs between files: {sorted({str(v.type) for v in typed})}")
    chunks = [c if c.type == kind else pa.nulls(len(c), kind) for v in read for c in v.chunks]
    return pa.chunked_array(chunks, kind)


def _orders(values: pa.ChunkedArray) -> bool:
    kind = values.type
    nested = pt.is_nested(kind) or isinstance(kind, pa.BaseExtensionType)
    return not nested and not pt.is_null(kind) and not pt.is_dictionary(kind)
