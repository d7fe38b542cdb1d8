"""What a profile says, as frozen data: files, row groups, columns, and the skew of each.

Sizes are bytes as they lie in the file unless a name says otherwise. What a footer or a page index
does not tell is None. Finding words for it is :mod:`.profiler.findings`' business; tables for
pandas are made by :mod:`.profiler.frames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, overload

from engine.formats.parquet.bytes.chunk_table import ChunkTable
from engine.formats.parquet.bytes.column_names import spelled
from engine.markup import Bar, Grid, card
from engine.wording import amount, counted, percent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Skew:
    """How unequal some sizes are.

    Attributes:
        count, total, smallest, median, mean, largest: of the sizes.
        max_over_median: 1 where all are equal; None where the median is 0.
        gini: Gini coefficient: 0 where all are equal, almost 1 where one has everything.
        coefficient_of_variation: standard deviation (of the population) over mean.
        top_share: what the largest has of the total.
    """

    count: int
    total: int
    smallest: int
    median: float
    mean: float
    largest: int
    max_over_median: float | None
    gini: float
    coefficient_of_variation: float
    top_share: float


@dataclass(frozen=True)
class RowGroupProfile:
    """One row group.

    ``num_pages`` counts data pages; ``largest_page_bytes`` is the largest of them, header included.
    """

    index: int
    num_rows: int
    compressed_bytes: int
    uncompressed_bytes: int
    bytes_per_row: float
    num_pages: int | None
    largest_page_bytes: int | None


@dataclass(frozen=True)
class ColumnProfile:
    """One column over all row groups of a file.

    Attributes:
        name: names of the path, with dots between.
        names: the same one by one, as a name may hold a dot.
        physical_type: of the values.
        codecs, encodings: names, of any chunk.
        num_values: level entries: nulls and empty lists included.
        compressed_bytes, uncompressed_bytes: page headers included.
        share: of the file's compressed bytes.
        bytes_per_row: compressed bytes a row of the file.
        compression_ratio: uncompressed over compressed bytes.
        dictionary_bytes: dictionary pages.
        dictionary_page_share: data pages that are encoded by the dictionary.
        num_pages, largest_page_bytes: data pages.
        order: ``ascending`` or ``descending``: bounds of successive row groups and pages never go
            back; ``ascending row groups``: of row groups only; ``unordered``.
    """

    name: str
    names: tuple[str, ...]
    physical_type: str
    codecs: tuple[str, ...]
    encodings: tuple[str, ...]
    num_values: int
    compressed_bytes: int
    uncompressed_bytes: int
    share: float
    bytes_per_row: float
    compression_ratio: float
    dictionary_bytes: int
    dictionary_page_share: float | None
    num_pages: int | None
    largest_page_bytes: int | None
    order: str | None

    @property
    def spelling(self) -> str:
        """What no other column is called: names that hold dots or the like are in quotes."""
        return spelled(self.names)


@dataclass(frozen=True)
class PageSizes:
    """Data pages of at least ``least_bytes`` and less than twice as many."""

    least_bytes: int
    num_pages: int
    sum_bytes: int


@dataclass(frozen=True)
class Stretch:
    """Some successive rows of a file, and the bytes that they take over all columns."""

    first_row: int
    num_rows: int
    compressed_bytes: int


@dataclass(frozen=True)
class FileProfile:
    """One file.

    Attributes:
        path, size_bytes, num_rows, num_columns, num_row_groups: of the file.
        created_by: the writer, as it names itself.
        footer_bytes: the footer's own size.
        has_page_index: whether every chunk has an offset index.
        sorting_columns: what the writer says that rows are sorted by: ``name`` or ``name
            descending``, where all row groups say the same.
        num_pages, largest_page_bytes: data pages, where every chunk has an offset index.
        row_group_skew, column_skew, page_skew: by compressed bytes; None where there are none.
        row_groups, columns: in the file's order.
        page_sizes: data pages by their size.
        stretches: the file from its first to its last row, in at most 240 pieces of equal rows.
        findings: what stands out, in words, with the figure behind it.
        chunks: every column chunk.
    """

    path: str
    size_bytes: int
    num_rows: int
    num_columns: int
    num_row_groups: int
    created_by: str
    footer_bytes: int
    has_page_index: bool
    sorting_columns: tuple[str, ...]
    num_pages: int | None
    largest_page_bytes: int | None
    row_group_skew: Skew | None
    column_skew: Skew | None
    page_skew: Skew | None
    row_groups: tuple[RowGroupProfile, ...]
    columns: tuple[ColumnProfile, ...]
    page_sizes: tuple[PageSizes, ...]
    stretches: tuple[Stretch, ...]
    chunks: ChunkTable = field(repr=False, compare=False)
    findings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a line: a file may have thousands of row groups and columns."""
        return f"FileProfile({self.path!r}: {self._sizes})"

    @property
    def _sizes(self) -> str:
        return (
            f"{amount(self.size_bytes)}, {counted(self.num_rows, 'row')}, "
            f"{counted(self.num_columns, 'column')}, {counted(self.num_row_groups, 'row group')}"
        )

    def _repr_html_(self) -> str:
        """Return tables of row groups and columns, for a notebook."""
        most = max((group.compressed_bytes for group in self.row_groups), default=0) or 1
        groups = [
            (
                f"{group.index:,}",
                f"{group.num_rows:,}",
                amount(group.compressed_bytes),
                Bar(group.compressed_bytes / most, amount(group.compressed_bytes)),
            )
            for group in self.row_groups
        ]
        ordered = sorted(self.columns, key=lambda column: -column.compressed_bytes)
        columns = [
            (
                column.spelling,
                column.physical_type,
                amount(column.compressed_bytes),
                Bar(column.share, percent(column.share)),
                percent(column.share),
                f"{column.compression_ratio:.1f}",
            )
            for column in ordered
        ]
        return card(
            self.path,
            (self._sizes, *self.findings),
            Grid(("row group", "rows", "bytes", "<of the largest"), groups),
            Grid(("<column", "<type", "bytes", "<of the file", "share", "ratio"), columns),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; chunks, of which there may be very many, are left out."""
        return {
            item.name: _plain(getattr(self, item.name))
            for item in fields(self)
            if item.name != "chunks"
        }


@dataclass(frozen=True)
class Profile(Sequence[FileProfile]):
    """All files that were asked for, in order; ``findings`` are about the files among each other.

    It is a sequence of its files.
    """

    files: tuple[FileProfile, ...]
    skew: Skew | None
    findings: tuple[str, ...]

    def __repr__(self) -> str:
        """Return a line: there may be thousands of files."""
        return f"Profile({self._sizes})"

    @property
    def _sizes(self) -> str:
        return (
            f"{counted(len(self.files), 'file')}, {amount(self.size_bytes)}, "
            f"{counted(self.num_rows, 'row')}"
        )

    def _repr_html_(self) -> str:
        """Return a table of the files, for a notebook; of one file, what is in it."""
        if len(self.files) == 1:
            return self.files[0]._repr_html_()
        ordered = sorted(self.files, key=lambda file: -file.size_bytes)
        most = max((file.size_bytes for file in ordered), default=0) or 1
        files = [
            (
                file.path,
                amount(file.size_bytes),
                Bar(file.size_bytes / most, amount(file.size_bytes)),
                f"{file.num_rows:,}",
                f"{file.num_row_groups:,}",
            )
            for file in ordered
        ]
        table = Grid(("<file", "bytes", "<of the largest", "rows", "row groups"), files)
        return card(self._sizes, self.findings, table)

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return sum(file.num_rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @overload
    def __getitem__(self, index: int) -> FileProfile: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileProfile]: ...
    def __getitem__(self, index: int | slice) -> FileProfile | Sequence[FileProfile]:
        return self.files[index]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[FileProfile]:
        return iter(self.files)

    def frame(self, what: str = "files") -> pd.DataFrame:
        """Return a table: ``files``, ``row_groups``, ``columns`` or ``chunks``, one a line.

        Raises:
            BadSetting: there is no such table.
        """
        from engine.formats.parquet.profiler.frames import make_frame

        return make_frame(self.files, what)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "num_rows": self.num_rows,
            "size_bytes": self.size_bytes,
            "skew": _plain(self.skew),
            "findings": list(self.findings),
            "files": [file.as_dict() for file in self.files],
        }


def _plain(item: Any) -> Any:
    if isinstance(item, Skew):
        return asdict(item)
    if isinstance(item, tuple):
        return [dict(vars(entry)) if hasattr(entry, "__dict__") else entry for entry in item]
    return item
