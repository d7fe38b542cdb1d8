"""What stands out, in words: one sentence a finding, each with the figure behind it.

Pure. Limits are chosen for what hurts a parallel reader or a warehouse's load; a finding is said
where it is likely to matter, not wherever a number differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from engine.formats.parquet.profiler.model import FileProfile
from engine.wording import amount, count, counted, percent, times

_LARGE_SHARE = 0.5
_TOP_COLUMN_SHARE = 0.3
_UNEVEN = 4.0  # times the median, or the smallest
_WORTH_SPLITTING_BYTES = 64 << 20
_SMALL_ROW_GROUP_BYTES = 1 << 20
_MANY_ROW_GROUPS = 100
_LARGE_PAGE_BYTES = 8 << 20
_LARGE_FOOTER_SHARE = 0.02
_WIDE_ROWS = 3.0
_FEW_DICTIONARY_PAGES = 0.5
_MANY_FILES = 100


def file_findings(file: FileProfile) -> Iterator[str]:
    """Yield what stands out in one file."""
    if not file.num_rows:
        yield "the file has no rows"
        return
    yield from _about_row_groups(file)
    yield from _about_columns(file)
    yield from _about_pages(file)
    yield from _about_rows(file)
    if file.footer_bytes > _LARGE_FOOTER_SHARE * file.size_bytes and file.num_row_groups > 1:
        yield (
            f"the footer has {amount(file.footer_bytes)}, "
            f"{percent(file.footer_bytes / file.size_bytes)} of the file, which every reader reads"
        )


def _about_row_groups(file: FileProfile) -> Iterator[str]:
    skew = file.row_group_skew
    if skew is None or not skew.total:
        return
    largest = max(file.row_groups, key=lambda group: group.compressed_bytes)
    if skew.count == 1:
        if skew.total > _WORTH_SPLITTING_BYTES:
            yield (
                f"1 row group holds 100% of {count(file.num_rows)} rows: no reader can go parallel"
            )
        return
    if skew.top_share > _LARGE_SHARE:
        yield (
            f"row group {largest.index} holds {percent(skew.top_share)} of the bytes, "
            f"{count(largest.num_rows)} of {count(file.num_rows)} rows: readers cannot share it out"
        )
    elif skew.max_over_median is not None and skew.count > 2 and skew.max_over_median > _UNEVEN:
        yield (
            f"row groups differ: the largest has {times(skew.max_over_median)} times the bytes of "
            f"the median (Gini {skew.gini:.2f})"
        )
    if skew.count > _MANY_ROW_GROUPS and skew.median < _SMALL_ROW_GROUP_BYTES:
        yield f"{counted(skew.count, 'row group')} of {amount(skew.median)} (median) are very small"


def _about_columns(file: FileProfile) -> Iterator[str]:
    ordered = sorted(file.columns, key=lambda column: -column.compressed_bytes)
    if len(ordered) > 2 and ordered[0].share > _TOP_COLUMN_SHARE:
        top = ordered[0]
        size = amount(top.compressed_bytes)
        yield f"column {top.name} is {percent(top.share)} of the bytes ({size})"
    plain = sum(c.compressed_bytes for c in file.columns if c.codecs == ("UNCOMPRESSED",))
    if plain > _LARGE_SHARE * sum(column.compressed_bytes for column in file.columns):
        yield f"{amount(plain)} are not compressed"
    given_up = [
        column
        for column in ordered
        if column.dictionary_page_share is not None
        and 0 < column.dictionary_page_share < _FEW_DICTIONARY_PAGES
        and column.share > 0.1
    ]
    for column in given_up[:1]:
        assert column.dictionary_page_share is not None
        yield (
            f"column {column.spelling} fell back from dictionary to plain encoding: "
            f"{percent(column.dictionary_page_share)} of its pages use it"
        )
    sorted_by = [column.spelling for column in file.columns if column.order == "ascending"]
    if file.sorting_columns:
        yield f"declared to be sorted by {', '.join(file.sorting_columns)}"
    elif sorted_by and (file.num_row_groups > 1 or (file.num_pages or 0) > file.num_columns):
        names = ", ".join(sorted_by[:3])
        more = f" and {len(sorted_by) - 3} more" if len(sorted_by) > 3 else ""
        yield f"rows ascend by {names}{more}, as bounds of row groups and pages tell"


def _about_pages(file: FileProfile) -> Iterator[str]:
    if not file.has_page_index:
        if file.size_bytes > _WORTH_SPLITTING_BYTES:
            yield "no page index: readers cannot skip pages, and pages are not in this profile"
        return
    if file.largest_page_bytes is not None and file.largest_page_bytes > _LARGE_PAGE_BYTES:
        column = max(file.columns, key=lambda column: column.largest_page_bytes or 0)
        yield f"the largest page has {amount(file.largest_page_bytes)} (column {column.spelling})"


def _about_rows(file: FileProfile) -> Iterator[str]:
    rates = [piece.compressed_bytes / piece.num_rows for piece in file.stretches if piece.num_rows]
    # Tenths of the file: single stretches may hold a dictionary, or nothing but a few rows.
    tenth = max(1, len(rates) // 10)
    smooth = [
        sum(rates[i : i + tenth]) / len(rates[i : i + tenth]) for i in range(0, len(rates), tenth)
    ]
    low, high = min(smooth, default=0.0), max(smooth, default=0.0)
    if low > 0 and high > _WIDE_ROWS * low and file.size_bytes > _SMALL_ROW_GROUP_BYTES:
        yield (
            f"rows take from {amount(low)} to {amount(high)} along the file: parts of equal rows "
            f"would differ {times(high / low)} : 1"
        )


def folder_findings(files: Sequence[FileProfile]) -> Iterator[str]:
    """Yield what stands out among several files."""
    if len(files) < 2:
        return
    sizes = sorted(file.size_bytes for file in files)
    if sizes[-1] > _UNEVEN * sizes[0]:
        yield (
            f"files differ {times(sizes[-1] / sizes[0])} : 1 ({amount(sizes[-1])} to "
            f"{amount(sizes[0])})"
        )
    share = sizes[-1] / sum(sizes)
    if share > max(_LARGE_SHARE, 2 / len(files)):
        yield f"1 of {counted(len(files), 'file')} holds {percent(share)} of the bytes"
    median = sizes[len(sizes) // 2]
    if len(files) >= _MANY_FILES and median < _SMALL_ROW_GROUP_BYTES:
        yield f"{counted(len(files), 'file')} of {amount(median)} (median) are very small"
    schemas = Counter(
        tuple((column.spelling, column.physical_type) for column in file.columns) for file in files
    )
    if len(schemas) > 1:
        common = schemas.most_common(1)[0][1]
        sharing = f"{common:,} of {counted(len(files), 'file')} share the commonest"
        yield f"{counted(len(schemas), 'schema')}: {sharing}"
    writers = {file.created_by for file in files}
    if len(writers) > 1:
        yield f"{len(writers)} writers wrote the files"
    empty = sum(not file.num_rows for file in files)
    if empty:
        yield f"{empty:,} of {counted(len(files), 'file')} have no rows"
