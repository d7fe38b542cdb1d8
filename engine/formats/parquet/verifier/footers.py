"""What footers alone prove: schema, metadata, row counts, codecs, statistics of whole row groups.

Everything in a part's footer that is not row groups, row count or key-value metadata must be the
source's, byte for byte, fields unknown to us included. Not covered: whether the bytes behind the
footer are what it says (:mod:`.verifier.structure`, :mod:`.verifier.values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise

import numpy as np

from engine.errors import Different, SourceChanged, SourceError
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.chunk_table import ChunkTable
from engine.formats.parquet.bytes.footer import Codec, Footer, value
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.merging import Named, merged
from engine.formats.parquet.verifier.groups import check_side_by_side
from engine.formats.parquet.verifier.key_values import check_key_values
from engine.formats.parquet.verifier.sizes import table_of
from engine.formats.parquet.verifier.statistics import facts_in
from engine.wording import counted

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
    tables = [table_of(source) for source in sources]
    codecs = _codecs(tables) if codec is None else [{codec}] * len(sources[0].leaves)
    whole = whole_groups([table.num_rows.tolist() for table in tables])
    starts = list(accumulate((sum(table.num_rows.tolist()) for table in tables), initial=0))
    first_row = 0
    for part, name in zip(parts, names, strict=True):
        taken = _taken(starts, first_row, part.num_rows)
        carried = merged([Named(f"source {number + 1}", sources[number]) for number in taken])
        with blaming(name):
            _check_carried(carried.fields(sources[0]), part, name)
            check_key_values(carried.key_values, part, first_row - starts[taken[0]], name)
            table = table_of(part)
            _check_codecs(part, table, name, codecs)
            _check_copies(part, table, name, first_row, tables, whole)
            check_side_by_side(part, table, name)
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


def whole_groups(sources: Sequence[Sequence[int]]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return number of source and row group, by (first row, rows), of all that have rows.

    ``sources``: the rows of the row groups of each.
    """
    found = {}
    first_row = 0
    for number, source in enumerate(sources):
        for index, num_rows in enumerate(source):
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
            raise Different(
                f"{counted(len(parts), 'part')} are there, {len(expected_rows):,} were expected"
            )
        for part, name, expected in zip(parts, names, expected_rows, strict=True):
            if part.num_rows != expected:
                raise Different(
                    f"{name} holds {counted(part.num_rows, 'row')}, its receipt says {expected:,}"
                )
    for part, name in zip(parts, names, strict=True):
        with blaming(name):
            held = sum(table_of(part).num_rows.tolist())
        if held != part.num_rows:
            raise Different(
                f"{name} claims {counted(part.num_rows, 'row')}, its row groups hold {held:,}"
            )
    found, needed = sum(part.num_rows for part in parts), sum(s.num_rows for s in sources)
    if found != needed:
        raise Different(f"the parts hold {counted(found, 'row')} together, the source {needed:,}")


def _check_carried(carried: Struct, part: Footer, name: str) -> None:
    """Compare every field that a split carries over as it is."""
    # Of the row groups, which are many, nothing is asked here.
    no_groups: Struct = {_FILE.ROW_GROUPS: spec.entry(_FILE.ROW_GROUPS, [])}
    source = Footer(thrift.encode({**carried, **no_groups}))
    if source.struct[_FILE.SCHEMA] != part.struct[_FILE.SCHEMA]:
        _check_schemas(source, part, name)
    for field in sorted({*carried, *part.struct} - set(_OWN_FIELDS)):
        if carried.get(field) != part.struct.get(field):
            what = _FIELD_NAMES.get(field, f"footer field {field}")
            raise Different(f"{name}: {what} differs from the source's")


def _check_schemas(source: Footer, part: Footer, name: str) -> None:
    """Compare schemas element by element, whatever bytes they have."""
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


def _codecs(sources: Sequence[ChunkTable]) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(sources[0].codecs.shape[1])]
    for table in sources:
        for column, codecs in enumerate(table.codecs[table.num_rows > 0].T):
            found[column].update(np.unique(codecs).tolist())
    return found


def _check_codecs(part: Footer, table: ChunkTable, name: str, codecs: Sequence[set[int]]) -> None:
    for leaf, found in zip(part.leaves, _codecs([table]), strict=True):
        for codec in sorted(found - codecs[leaf.index]):
            raise Different(
                f"{name}: column {leaf.name} is compressed with {_codec_name(codec)}, "
                "which is neither the source's nor what was asked for"
            )


def _check_copies(
    part: Footer,
    table: ChunkTable,
    name: str,
    first_row: int,
    sources: Sequence[ChunkTable],
    whole: dict[tuple[int, int], tuple[int, int]],
) -> None:
    """Compare row groups that a source has too with what they are there."""
    for index, num_rows in enumerate(table.num_rows.tolist()):
        copied_from = whole.get((first_row, num_rows))
        first_row += num_rows
        if copied_from is None:
            continue
        number, group = copied_from
        kept = sources[number]
        for column in np.flatnonzero(table.num_values[index] != kept.num_values[group]).tolist():
            raise Different(
                f"{name}: column {part.leaves[column].name} of row group {index} claims "
                f"{counted(table.num_values[index, column], 'value')}, the source's "
                f"{kept.num_values[group, column]}"
            )
        for leaf in part.leaves:
            ours, theirs = kept.statistics[group][leaf.index], table.statistics[index][leaf.index]
            if ours != theirs:
                where = f"{name}: column {leaf.name}, row group {index}"
                _check_statistics(facts_in(ours), facts_in(theirs), where)


def _check_statistics(ours: Struct, theirs: Struct, where: str) -> None:
    """Statistics of a row group that the source has too: the same, or absent."""
    for field in _UNMOVED_STATISTICS:
        # A source without them proves nothing about statistics that a re-encode has added.
        if field in theirs and field in ours and theirs[field] != ours[field]:
            raise Different(f"{where}: the statistics differ from the source's")


def _codec_name(codec: int) -> str:
    return Codec(codec).name if codec in set(Codec) else f"codec {codec}"
