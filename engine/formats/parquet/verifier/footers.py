"""What footers alone prove: schema, metadata, row counts, codecs, statistics of whole row groups.

Everything in a part's footer that is not row groups, row count or key-value metadata must be the
source's, byte for byte, fields unknown to us included. Not covered: whether the bytes behind the
footer are what it says (:mod:`.verifier.structure`, :mod:`.verifier.values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise

from engine.errors import Different, SourceChanged, SourceError
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import Codec, ColumnChunk, Footer, value
from engine.formats.parquet.bytes.one_column import group_rows, read_chunk
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.merging import Named, merged
from engine.formats.parquet.verifier.groups import check_side_by_side
from engine.formats.parquet.verifier.key_values import check_key_values
from engine.formats.parquet.verifier.statistics import facts_of

_FILE = spec.FileMetaData
_OWN_FIELDS = (_FILE.NUM_ROWS, _FILE.ROW_GROUPS, _FILE.KEY_VALUE_METADATA)
_FIELD_NAMES: dict[int, str] = {
    _FILE.VERSION: "format version",
    _FILE.SCHEMA: "schema",
    _FILE.CREATED_BY: "created_by",
    _FILE.COLUMN_ORDERS: "column orders",
}
_UNMOVED_STATISTICS = (
    spec.Statistics.MAX,
    spec.Statistics.MIN,
    spec.Statistics.NULL_COUNT,
    spec.Statistics.MAX_VALUE,
    spec.Statistics.MIN_VALUE,
)


def check_footers(
    sources: Sequence[Footer],
    parts: Sequence[Footer],
    names: Sequence[str],
    expected_rows: Sequence[int] | None = None,
    codec: int | None = None,
) -> None:
    """Compare the footers of parts with those of the sources.

    Args:
        sources: footers of the sources, in order; those that a part has rows of lend it metadata.
        parts: footers of the parts, in order.
        names: what to call each part.
        expected_rows: rows of each part by its receipt; None if there are none.
        codec: that the parts were given; None for the source's.

    Raises:
        Different: names the part and what differs.
    """
    _check_row_counts(sources, parts, names, expected_rows)
    codecs = _codecs(sources) if codec is None else [{codec}] * len(sources[0].leaves)
    whole = whole_groups(sources)
    starts = list(accumulate((sum(group_rows(source)) for source in sources), initial=0))
    first_row = 0
    for part, name in zip(parts, names, strict=True):
        taken = _taken(starts, first_row, part.num_rows)
        carried = merged([Named(f"source {number + 1}", sources[number]) for number in taken])
        with blaming(name):
            _check_carried(carried.fields(sources[0]), part, name)
            check_key_values(carried.key_values, part, first_row - starts[taken[0]], name)
            _check_groups(part, name, first_row, codecs, sources, whole)
            check_side_by_side(part, name)
        first_row += part.num_rows


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Turn damage that is found in a part into a difference from its source.

    Raises:
        Different: names the part, and what cannot be read.
    """
    try:
        yield
    except SourceChanged:
        raise
    except SourceError as error:
        raise Different(f"{name} cannot be read: {error}") from error


def _taken(starts: Sequence[int], first_row: int, num_rows: int) -> list[int]:
    """Return which sources a part has rows of: the first for a part without rows."""
    found = [
        number
        for number, (start, stop) in enumerate(pairwise(starts))
        if start < first_row + num_rows and first_row < stop and start < stop
    ]
    return found or [0]


def whole_groups(sources: Sequence[Footer]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return number of source and row group, by (first row, rows), of all that have rows."""
    found = {}
    first_row = 0
    for number, source in enumerate(sources):
        for index, num_rows in enumerate(group_rows(source)):
            if num_rows:
                found[first_row, num_rows] = (number, index)
            first_row += num_rows
    return found


def _check_row_counts(
    sources: Sequence[Footer],
    parts: Sequence[Footer],
    names: Sequence[str],
    expected_rows: Sequence[int] | None,
) -> None:
    if expected_rows is not None:
        if len(expected_rows) != len(parts):
            raise Different(f"{len(parts)} parts are there, {len(expected_rows)} were expected")
        for part, name, expected in zip(parts, names, expected_rows, strict=True):
            if part.num_rows != expected:
                raise Different(f"{name} holds {part.num_rows} rows, its receipt says {expected}")
    for part, name in zip(parts, names, strict=True):
        with blaming(name):
            held = sum(group_rows(part))
        if held != part.num_rows:
            raise Different(f"{name} claims {part.num_rows} rows, its row groups hold {held}")
    found, needed = sum(part.num_rows for part in parts), sum(s.num_rows for s in sources)
    if found != needed:
        raise Different(f"the parts hold {found} rows together, the source {needed}")


def _check_carried(carried: Struct, part: Footer, name: str) -> None:
    """Compare every field that a split carries over as it is."""
    source = Footer(thrift.encode(carried))
    if len(source.schema) != len(part.schema):
        raise Different(
            f"{name}: the schema has {len(part.schema)} elements, the source's {len(source.schema)}"
        )
    for ours, theirs in zip(source.schema, part.schema, strict=True):
        if thrift.encode(ours) != thrift.encode(theirs):
            column = bytes(value(ours, spec.SchemaElement.NAME, b"?")).decode("utf-8", "replace")
            raise Different(
                f"{name}: the schema of {column} differs (name, type, nullability or field id)"
            )
    for field in sorted({*carried, *part.struct} - set(_OWN_FIELDS)):
        if carried.get(field) != part.struct.get(field):
            what = _FIELD_NAMES.get(field, f"footer field {field}")
            raise Different(f"{name}: {what} differs from the source's")


def _codecs(sources: Sequence[Footer]) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in sources[0].leaves]
    for source in sources:
        for index, num_rows in enumerate(group_rows(source)):
            for column in range(len(found) if num_rows else 0):
                found[column].add(read_chunk(source, index, column)[1].codec)
    return found


def _check_groups(
    part: Footer,
    name: str,
    first_row: int,
    codecs: Sequence[set[int]],
    sources: Sequence[Footer],
    whole: dict[tuple[int, int], tuple[int, int]],
) -> None:
    for index, num_rows in enumerate(group_rows(part)):
        copied_from = whole.get((first_row, num_rows))
        first_row += num_rows
        for leaf in part.leaves:
            chunk = read_chunk(part, index, leaf.index)[1]
            if num_rows and chunk.codec not in codecs[leaf.index]:
                raise Different(
                    f"{name}: column {leaf.name} is compressed with {_codec_name(chunk.codec)}, "
                    "which is neither the source's nor what was asked for"
                )
            if copied_from is None:
                continue
            number, group = copied_from
            kept = read_chunk(sources[number], group, leaf.index)[1]
            if chunk.num_values != kept.num_values:
                raise Different(
                    f"{name}: column {leaf.name} of row group {index} claims {chunk.num_values} "
                    f"values, the source's {kept.num_values}"
                )
            _check_statistics(kept, chunk, f"{name}: column {leaf.name}, row group {index}")


def _check_statistics(source: ColumnChunk, part: ColumnChunk, where: str) -> None:
    """Statistics of a row group that the source has too: the same, or absent."""
    field = spec.ColumnMetaData.STATISTICS
    if source.meta.get(field) == part.meta.get(field):
        return
    ours, theirs = facts_of(source), facts_of(part)
    for field in _UNMOVED_STATISTICS:
        # A source without them proves nothing about statistics that a re-encode has added.
        if field in theirs and field in ours and theirs[field] != ours[field]:
            raise Different(f"{where}: the statistics differ from the source's")


def _codec_name(codec: int) -> str:
    return Codec(codec).name if codec in set(Codec) else f"codec {codec}"
