"""The nouns that every layer shares, as frozen dataclasses: sources, parts, plans, receipts.

Data only. How a plan is found is the business of :mod:`engine.planning`, how it is kept on disk of
:mod:`engine.ledger`. Rows are counted from zero over all sources in their order; sizes are bytes of
files as they lie on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeVar

from engine.markup import Bar, Grid, card
from engine.wording import (
    amount,
    count_or_none,
    counted,
    memory_amount,
    percent,
    percent_apart,
    rows_of,
    shown,
)

Verb = Literal["splice", "page-cut", "re-encode"]
P = TypeVar("P", "PartPlan", "Receipt")
_COLUMNS_SHOWN = 12
Buffer = Any  # bytes in a row, with a length: bytes, memory views, Arrow's buffers


def as_plain(item: Any) -> Any:
    """Return what ``dataclasses.asdict`` does, in a fifth of the time: plans may have 10,000 files.

    Values that are no containers are not copied.
    """
    names = _field_names(type(item))  # type: ignore[arg-type] # types are hashable
    if names:
        values = map(item.__getattribute__, names)
        return {
            name: value if type(value) in _ATOMS else as_plain(value)
            for name, value in zip(names, values, strict=True)
        }
    if isinstance(item, tuple):
        every = map(as_plain, item)
        return type(item)(*every) if hasattr(item, "_fields") else tuple(every)
    if isinstance(item, list):
        return [*map(as_plain, item)]
    if isinstance(item, dict):
        return {as_plain(key): as_plain(value) for key, value in item.items()}
    return item


_ATOMS = frozenset({bool, int, float, str, type(None)})


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; none of another type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


class Range(NamedTuple):
    """Bytes ``[offset, offset + length)`` of a file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Position behind the last byte."""
        return self.offset + self.length


LineCodec = Literal["gzip", "zstd", "lz4", "bz2", "xz"]


@dataclass(frozen=True)
class Dialect:
    """How records are told apart in a file of lines; what it lacks is empty.

    Attributes:
        kind: delimited text, or a JSON value a line.
        delimiter, quote, escape: one character of ASCII each.
        mark_bytes: of a byte order mark at the begin.
        header_bytes: where the first record begins: behind mark and header.
        line_end: of its first line.
        encoding: of the text, by the name of Python's codec; empty for UTF-8. Of UTF-16 all
            positions are code units.
        codec: by which the file is compressed.
        num_bytes: of the text in a compressed file; all positions are in the text.
        decoder_bytes: memory that decompressing it takes.
        is_ended: whether the last record of a compressed file has its line end.
    """

    kind: Literal["csv", "ndjson"]
    delimiter: str = ""
    quote: str = ""
    escape: str = ""
    mark_bytes: int = 0
    header_bytes: int = 0
    line_end: str = "\n"
    codec: Literal["", LineCodec] = ""
    num_bytes: int = 0
    decoder_bytes: int = 0
    is_ended: bool = True
    encoding: str = ""


@dataclass(frozen=True)
class Constant:
    """A column that a file lacks, and that has one value in all of its rows; None for null.

    ``value`` is as a folder's name has it, decoded; ``kind`` says which type it stands for.
    """

    name: str
    kind: Literal["int32", "int64", "date", "string"]
    value: str | None


@dataclass(frozen=True)
class Conversion:
    """How records of lines become rows of Parquet; all of it is settled before a plan.

    Attributes:
        schema: names and types, as JSON; see :mod:`engine.formats.converted.types`.
        found: columns whose types were found in samples of the file.
        nulls: what stands for null in delimited text.
        decimal: the mark before a fraction.
        timestamp_format: of strptime; empty for ISO 8601.
        bad_rows: what is done with records that do not fit.
        columns: the only ones that parts get, in the file's order; none for all. Others of
            delimited text are read as text, whatever they hold.
        plain: columns of the parts, as Parquet names them, whose values get no dictionary unless
            one is asked for.
    """

    schema: str
    found: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("",)
    decimal: str = "."
    timestamp_format: str = ""
    bad_rows: Literal["fail", "skip", "file"] = "fail"
    columns: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The columns, in words; of many some."""
        words = json.loads(self.schema)
        columns = [
            f"{shown(name)} {word if isinstance(word, str) else shown(json.dumps(word))}"
            for name, word in words.items()
            if name in (self.columns or words)
        ]
        more = len(columns) - _COLUMNS_SHOWN
        text = ", ".join(columns[:_COLUMNS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        by_samples = f"; types of {counted(len(self.found), 'column')} found in samples"
        return f"as Parquet: {text}" + (by_samples if self.found else "")


@dataclass(frozen=True)
class SourceFile:
    """One file as it was when it was planned.

    ``path`` never holds a secret (no query string); ``version`` changes when the content does:
    modification time for a local file, the ETag for a blob. ``columns``: the only ones taken, by
    dotted path (a group stands for all below it); None for all. ``partition``: the hive
    folders whose columns the file lacks, ``year=2024/month=01``; parts lie in such folders too.
    ``dialect``: of a file of lines, once its begin was looked at; ``conversion``: of one whose
    parts are to be Parquet. ``schema``: as which the file is read, where its own is another; the
    format's own text. ``constants``: columns that are read behind all others, though the file lacks
    them.
    """

    path: str
    size_bytes: int
    version: str
    columns: tuple[str, ...] | None = None
    partition: str = ""
    dialect: Dialect | None = None
    conversion: Conversion | None = None
    schema: str = ""
    constants: tuple[Constant, ...] = ()

    @property
    def is_adapted(self) -> bool:
        """Whether it is read as another file than it is, besides columns that are left out."""
        return bool(self.schema or self.constants)


@dataclass(frozen=True)
class Recoding:
    """How pages are to be encoded, where not as in the source. None: as there.

    Attributes:
        codec: number of the compression codec (``CompressionCodec`` in parquet.thrift).
        level: of the codec; None for its library's default.
        page_version: 1 or 2.
        dictionary: whether values are dictionary-encoded.
    """

    codec: int | None = None
    level: int | None = None
    page_version: int | None = None
    dictionary: bool | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether pages stay as they are."""
        return self.codec is None and self.page_version is None and self.dictionary is None


@dataclass(frozen=True)
class RowGroupSlice:
    """Rows ``[start_row, stop_row)`` of one row group of one source file.

    ``joins``: they belong to the same row group of the part as the slice before.
    ``trimmed``: columns, by position in the schema, whose dictionaries keep only what these rows
    use.
    """

    file: int
    row_group: int
    start_row: int
    stop_row: int
    num_rows_in_group: int
    joins: bool = False
    trimmed: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether no cut passes through the row group."""
        return self.start_row == 0 and self.stop_row == self.num_rows_in_group

    @property
    def num_rows(self) -> int:
        """Rows of the slice."""
        return self.stop_row - self.start_row


@dataclass(frozen=True)
class FileRange:
    """Bytes ``[offset, offset + num_bytes)`` of one source file, in which no row was counted."""

    file: int
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class PartPlan:
    """One output file before it is written.

    Attributes:
        index: position among the parts, from zero.
        name: file name inside the destination; a path of folders before it for a partition.
        first_row: position of its first row in the source; None where rows before it are not
            counted.
        num_rows: rows; None where they are not counted.
        predicted_bytes: expected file size.
        spliced_bytes: bytes that will be copied as they are.
        reencoded_bytes: bytes that must be decoded and encoded (expected).
        memory_bytes: projected peak memory of the work.
        slices: what it is made of, in order.
        reasons: why anything is re-encoded, one sentence each; empty if nothing is.
        ranges: what it is made of instead of slices, where rows are not counted.
    """

    index: int
    name: str
    first_row: int | None
    num_rows: int | None
    predicted_bytes: int
    spliced_bytes: int
    reencoded_bytes: int
    memory_bytes: int
    slices: tuple[RowGroupSlice, ...]
    reasons: tuple[str, ...] = ()
    ranges: tuple[FileRange, ...] = ()

    def numbered(self, files_before: int) -> PartPlan:
        """Return it with its sources counted from others on; from later ones where negative."""
        if not files_before:
            return self
        return replace(
            self,
            slices=tuple(replace(it, file=it.file + files_before) for it in self.slices),
            ranges=tuple(replace(it, file=it.file + files_before) for it in self.ranges),
        )

    @property
    def is_spliced(self) -> bool:
        """Whether it is made of whole row groups, each one a row group of the part."""
        return all(piece.is_whole and not piece.joins for piece in self.slices)

    @property
    def row_groups(self) -> list[list[RowGroupSlice]]:
        """Its slices by the row groups of the part that they make."""
        found: list[list[RowGroupSlice]] = []
        for piece in self.slices:
            if piece.joins:
                found[-1].append(piece)
            else:
                found.append([piece])
        return found


@dataclass(frozen=True)
class Measured:
    """A part that came out over the target: its rows, and the bytes that it had."""

    first_row: int
    num_rows: int
    size_bytes: int


@dataclass(frozen=True)
class Growth:
    """From the bytes of the sources to those of the parts; what is saved is negative.

    Attributes:
        source_bytes: the sources as they are, as one part.
        remade_bytes: pages made anew, with another codec or dictionary.
        repeated_bytes: dictionaries and row group metadata, in every part or row group that is cut
            from another.
        metadata_bytes: schema and metadata of every part but the first.
    """

    source_bytes: int
    remade_bytes: int
    repeated_bytes: int
    metadata_bytes: int


@dataclass(frozen=True)
class SplitPlan:
    """What a split will do, complete: execution obeys it and adds nothing.

    ``num_rows`` is None where rows are not counted: files of lines are cut by looking around each
    cut alone, if that is enough.
    ``plan_id`` is a hash of the sources' identity and of every setting that shapes the parts.
    ``lost`` lists what of the source's metadata the parts cannot keep, with the reason.
    ``planning_memory_bytes`` is what footers, and looks into pages, take in the process that plans.
    ``revision`` counts the plans before this one, of the same id: each had a part that came out
    over the target. ``failed`` has the first such part of each; this plan starts from their sizes.
    ``growth`` says by how much the parts are larger than the sources, and why; empty if by little.
    ``growth_bytes``: the same in numbers; None if nobody asked for the bytes of the sources.
    ``advice``: another setting that would do as well with less work; empty if there is none.
    ``source_notes``: what of the sources' folders was passed over, or is taken more than once; a
    sentence each.
    """

    plan_id: str
    sources: tuple[SourceFile, ...]
    settings: Mapping[str, Any]
    num_rows: int | None
    parts: tuple[PartPlan, ...]
    lost: tuple[str, ...] = ()
    planning_memory_bytes: int = 0
    revision: int = 0
    failed: tuple[Measured, ...] = ()
    growth: str = ""
    source_notes: tuple[str, ...] = ()
    advice: str = ""
    growth_bytes: Growth | None = None

    def __repr__(self) -> str:
        """Return a line: a plan may have thousands of parts."""
        parts = f"{counted(len(self.parts), 'part')} of {rows_of(self.num_rows)}"
        return f"SplitPlan({self.plan_id}: {parts}, about {amount(self.predicted_bytes)})"

    def _repr_html_(self) -> str:
        """Return a table of the parts, for a notebook."""
        title = (
            f"Plan: {counted(len(self.parts), 'part')} of {rows_of(self.num_rows)}, about "
            f"{amount(self.predicted_bytes)}"
        )
        about = (
            f"{_of(self.sources)}; parts differ by {percent_apart(self.spread)}; "
            f"{percent(copied_share(self.parts))} of the bytes are copied"
        )
        return card(title, (about, *_notes(self)), _table(self.parts))

    @property
    def predicted_bytes(self) -> int:
        """Expected size of all parts together."""
        return sum(part.predicted_bytes for part in self.parts)

    @property
    def spread(self) -> float:
        """(largest - smallest) / mean of the predicted sizes, the most within one partition."""
        return most_spread((part.name, part.predicted_bytes) for part in self.parts)

    @property
    def memory_bytes(self) -> int:
        """Projected peak of the most demanding part."""
        return max((part.memory_bytes for part in self.parts), default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = as_plain(self)
        return found


@dataclass(frozen=True)
class Receipt:
    """Proof that one part is committed; written after the part itself.

    ``num_rows, first_row`` are as in :class:`PartPlan`.
    ``store_notes`` says what the store would not do; ``end_bytes, end_sha256`` are as in
    :class:`engine.formats.WrittenPart`, missing in records of older programs.
    """

    index: int
    name: str
    num_rows: int | None
    first_row: int | None
    size_bytes: int
    spliced_bytes: int
    reencoded_bytes: int
    footer_sha256: str
    store_notes: tuple[str, ...] = ()
    end_bytes: int = 0
    end_sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = as_plain(self)
        return found


@dataclass(frozen=True)
class Manifest:
    """All receipts of a finished plan; ``growth, advice`` as in :class:`SplitPlan`."""

    plan_id: str
    version: str
    sources: tuple[SourceFile, ...]
    settings: Mapping[str, Any]
    num_rows: int | None
    parts: tuple[Receipt, ...]
    lost: tuple[str, ...] = ()
    growth: str = ""
    source_notes: tuple[str, ...] = ()
    advice: str = ""

    def __repr__(self) -> str:
        """Return a line: there may be thousands of parts."""
        parts = f"{counted(len(self.parts), 'part')} of {rows_of(self.num_rows)}"
        return f"Manifest({self.plan_id}: {parts}, {amount(self.size_bytes)})"

    def _repr_html_(self) -> str:
        """Return a table of the parts, for a notebook."""
        return _written(self, ())

    @property
    def size_bytes(self) -> int:
        """Size of all parts together."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def spread(self) -> float:
        """(largest - smallest) / mean of the parts' sizes, the most within one partition."""
        return most_spread((part.name, part.size_bytes) for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = as_plain(self)
        return found


@dataclass(frozen=True)
class Run:
    """What the last run that wrote parts took: for people, and no part of the split's contract.

    ``num_parts`` counts those that it wrote; 0 for ``projected_memory_bytes`` (of the whole run on
    its machine) or ``peak_memory_bytes`` says that it is not known.
    """

    plan_id: str
    num_parts: int
    elapsed_seconds: float
    projected_memory_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class SplitResult:
    """What a call of split did.

    ``num_resumed`` counts parts that an earlier run had already committed; ``peak_memory_bytes``
    is what was measured over all processes of this run on this machine (0: not measured).
    ``verification`` is there if the parts were proved equal as well. ``loads`` are the files by
    which another system loads the parts, if one was named.
    """

    destination: str
    manifest: Manifest
    num_resumed: int
    elapsed_seconds: float
    peak_memory_bytes: int = 0
    verification: Verification | None = None
    loads: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a line: there may be thousands of parts."""
        found = self.manifest
        parts = f"{counted(len(found.parts), 'part')} of {rows_of(found.num_rows)}"
        proved = ", equal to the source" if self.verification else ""
        return (
            f"SplitResult({self.destination!r}: {parts}, {amount(found.size_bytes)}, in "
            f"{self.elapsed_seconds:.1f} s{proved})"
        )

    def _repr_html_(self) -> str:
        """Return a table of the parts, for a notebook."""
        took = f"{self.destination}: in {self.elapsed_seconds:.1f} s"
        if self.num_resumed:
            took += f", {self.num_resumed:,} of the parts were there already"
        if self.peak_memory_bytes:
            took += f"; peak memory {memory_amount(self.peak_memory_bytes)}"
        proof = (self.verification.sentence,) if self.verification else ()
        return _written(self.manifest, (took, *proof))


@dataclass(frozen=True)
class Verification:
    """What verify compared; a difference is an error and never a result.

    ``repaired`` names the parts that were found different, and written anew. Of lines all bytes are
    compared (``num_bytes``), of other formats values.
    """

    destination: str
    num_parts: int
    num_rows: int
    num_columns: int
    num_values: int
    elapsed_seconds: float
    repaired: tuple[str, ...] = ()
    num_bytes: int = 0

    def __repr__(self) -> str:
        """Return a line."""
        equal = f"{counted(self.num_parts, 'part')} of {counted(self.num_rows, 'row')} equal"
        mended = f", {counted(len(self.repaired), 'part')} repaired" if self.repaired else ""
        return f"Verification({self.destination!r}: {equal} the source{mended})"

    @property
    def compared(self) -> str:
        """What was compared, in words."""
        if not self.num_columns:
            return f"{amount(self.num_bytes)}, every byte,"
        values, columns = counted(self.num_values, "value"), counted(self.num_columns, "column")
        return f"{values} of {columns}, schema and metadata"

    @property
    def sentence(self) -> str:
        """What was proved, in words."""
        return (
            f"Equal: {counted(self.num_parts, 'part')} hold{'s' if self.num_parts == 1 else ''} "
            f"all {counted(self.num_rows, 'row')} of the source in order; {self.compared} compared "
            f"in {self.elapsed_seconds:.1f} s"
        )

    def _repr_html_(self) -> str:
        """Return what was proved, for a notebook."""
        anew = [f"{name} was missing or different, and is written anew" for name in self.repaired]
        return card(f"Verified: {self.destination}", (self.sentence, *anew))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = as_plain(self)
        return found


def folder_of(name: str) -> str:
    """Return the partition that a part lies in, by its name; empty for none."""
    return name.rpartition("/")[0]


def by_partition(
    sources: Sequence[SourceFile], parts: Sequence[P]
) -> list[tuple[tuple[SourceFile, ...], tuple[P, ...]]]:
    """Return sources and parts of each partition, in order; all together where there are none.

    Raises:
        ValueError: they are not of the same partitions.
    """
    ours = [(key, tuple(items)) for key, items in groupby(sources, attrgetter("partition"))]
    theirs = [
        (key, tuple(items)) for key, items in groupby(parts, lambda part: folder_of(part.name))
    ]
    if [key for key, _ in ours] != [key for key, _ in theirs]:
        raise ValueError("sources and parts are of different partitions")
    return [(files, made) for (_, files), (_, made) in zip(ours, theirs, strict=True)]


def copied_share(parts: Iterable[PartPlan | Receipt]) -> float:
    """Return how much of the bytes of values is copied as it lies; 1.0 where there are none.

    Footers and page indexes, which are made anew for each part, are neither.
    """
    copied = encoded = 0
    for part in parts:
        copied += part.spliced_bytes
        encoded += part.reencoded_bytes
    return copied / (copied + encoded) if copied or encoded else 1.0


def num_partitions(parts: Sequence[PartPlan | Receipt]) -> int:
    """Return in how many partitions parts lie; 1 where there are none."""
    return len({folder_of(part.name) for part in parts})


def most_spread(parts: Iterable[tuple[str, int]]) -> float:
    """Return the spread of the partition whose parts differ most, by their names and sizes."""
    sizes: dict[str, list[int]] = {}
    for name, size_bytes in parts:
        sizes.setdefault(folder_of(name), []).append(size_bytes)
    return max(map(spread, sizes.values()), default=0.0)


def spread(sizes: list[int]) -> float:
    """Return (largest - smallest) / mean; 0.0 for fewer than two sizes."""
    if len(sizes) < 2 or not sum(sizes):
        return 0.0
    return (max(sizes) - min(sizes)) * len(sizes) / sum(sizes)


def _of(sources: tuple[SourceFile, ...]) -> str:
    size = amount(sum(source.size_bytes for source in sources))
    if len(sources) == 1:
        return f"{sources[0].path}: {size}"
    return f"{counted(len(sources), 'file')}, first {sources[0].path}: {size}"


def _notes(what: SplitPlan | Manifest) -> list[str]:
    """Return what is to be said about parts beside their numbers."""
    lost = [f"not kept: {item}" for item in what.lost]
    return [*what.source_notes, *lost, *filter(None, (what.growth, what.advice))]


def _written(manifest: Manifest, about: tuple[str, ...]) -> str:
    title = (
        f"Split: {counted(len(manifest.parts), 'part')} of {rows_of(manifest.num_rows)}, "
        f"{amount(manifest.size_bytes)}"
    )
    notes = sorted({note for part in manifest.parts for note in part.store_notes})
    spread_text = f"{_of(manifest.sources)}; parts differ by {percent_apart(manifest.spread)}"
    about = (spread_text, *about, *notes, *_notes(manifest))
    return card(title, about, _table(manifest.parts))


def _table(parts: Sequence[PartPlan | Receipt]) -> Grid:
    sizes = [
        part.predicted_bytes if isinstance(part, PartPlan) else part.size_bytes for part in parts
    ]
    most = max(sizes, default=0) or 1
    rows = [
        (
            part.name,
            count_or_none(part.num_rows),
            amount(size),
            Bar(
                (size - part.reencoded_bytes) / most,
                f"{amount(part.reencoded_bytes)} re-encoded, the rest copied",
                part.reencoded_bytes / most,
            ),
            amount(part.reencoded_bytes),
        )
        for part, size in zip(parts, sizes, strict=True)
    ]
    return Grid(("<part", "rows", "bytes", "<copied, re-encoded", "re-encoded"), rows)
