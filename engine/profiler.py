"""Layout and skew of files, from footers alone: frozen data for people and machines.

Covers files, row groups and columns by bytes and rows. Not covered: pages, and the skew of values,
which would need decoding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.format.footer import Codec, Encoding
from engine.layout import OpenFile
from engine.model import SourceFile
from engine.storage import expand_all
from engine.storage.base import naming


@dataclass(frozen=True)
class ColumnProfile:
    """One column over all row groups of a file."""

    name: str
    physical_type: str
    codecs: tuple[str, ...]
    encodings: tuple[str, ...]
    compressed_bytes: int
    uncompressed_bytes: int
    share: float


@dataclass(frozen=True)
class RowGroupProfile:
    """One row group."""

    index: int
    num_rows: int
    compressed_bytes: int
    uncompressed_bytes: int


@dataclass(frozen=True)
class FileProfile:
    """One file; ``findings`` says in words what stands out, with the figure behind it."""

    path: str
    size_bytes: int
    num_rows: int
    num_columns: int
    created_by: str
    footer_bytes: int
    has_page_index: bool
    row_groups: tuple[RowGroupProfile, ...]
    columns: tuple[ColumnProfile, ...]
    findings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def profile_files(patterns: Sequence[str]) -> list[FileProfile]:
    """Profile every file that the patterns stand for, in order."""
    return [profile_file(store.stat(path)) for store, path in expand_all(patterns)]


def profile_file(file: SourceFile) -> FileProfile:
    """Profile one file.

    Raises:
        SourceError: it is no Parquet file, or is damaged or encrypted.
    """
    opened = OpenFile(file)
    try:
        with naming(file.path):
            return _profile(opened)
    finally:
        opened.source.close()


@dataclass
class _Column:
    compressed_bytes: int = 0
    uncompressed_bytes: int = 0

    def __post_init__(self) -> None:
        self.codecs: Counter[int] = Counter()
        self.encodings: Counter[int] = Counter()


def _profile(opened: OpenFile) -> FileProfile:
    footer = opened.footer
    columns = [_Column() for _ in footer.leaves]
    groups = []
    num_indexed = 0
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        for column, chunk in zip(columns, group.columns, strict=True):
            column.compressed_bytes += chunk.compressed_bytes
            column.uncompressed_bytes += chunk.uncompressed_bytes
            column.codecs[chunk.codec] += 1
            column.encodings.update(chunk.encodings)
            num_indexed += chunk.offset_index is not None
        uncompressed_bytes = sum(chunk.uncompressed_bytes for chunk in group.columns)
        groups.append(
            RowGroupProfile(index, group.num_rows, group.compressed_bytes, uncompressed_bytes)
        )
    all_bytes = sum(column.compressed_bytes for column in columns) or 1
    profiles = tuple(
        ColumnProfile(
            leaf.name,
            leaf.physical.name,
            tuple(_name(Codec, codec) for codec in sorted(column.codecs)),
            tuple(_name(Encoding, encoding) for encoding in sorted(column.encodings)),
            column.compressed_bytes,
            column.uncompressed_bytes,
            column.compressed_bytes / all_bytes,
        )
        for leaf, column in zip(footer.leaves, columns, strict=True)
    )
    return FileProfile(
        path=opened.file.path,
        size_bytes=opened.file.size_bytes,
        num_rows=footer.num_rows,
        num_columns=len(footer.leaves),
        created_by=footer.created_by,
        footer_bytes=footer.size_bytes,
        has_page_index=num_indexed == len(groups) * len(columns) > 0,
        row_groups=tuple(groups),
        columns=profiles,
        findings=tuple(_findings(groups, profiles)),
    )


def _findings(groups: list[RowGroupProfile], columns: tuple[ColumnProfile, ...]) -> list[str]:
    found = []
    all_bytes = sum(group.compressed_bytes for group in groups)
    if all_bytes and groups:
        largest = max(groups, key=lambda group: group.compressed_bytes)
        share = largest.compressed_bytes / all_bytes
        if share > 0.5:
            found.append(
                f"row group {largest.index} holds {share:.0%} of the bytes and "
                f"{largest.num_rows:,} rows: readers cannot share it out"
            )
        sizes = sorted(group.compressed_bytes for group in groups)
        median = sizes[len(sizes) // 2]
        if len(groups) > 2 and median and sizes[-1] > 4 * median:
            found.append(
                f"row groups differ: the largest has {sizes[-1] / median:.0f} times the bytes of "
                "the median"
            )
        if len(groups) > 100 and median < 1 << 20:
            found.append(f"{len(groups):,} row groups of {median:,} bytes (median) are very small")
    top = max(columns, key=lambda column: column.share, default=None)
    if top is not None and len(columns) > 2 and top.share > 0.3:
        found.append(f"column {top.name} is {top.share:.0%} of the bytes")
    return found


def _name(kind: type[Codec] | type[Encoding], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return f"unknown ({number})"
