"""What a part's footer says of the whole file: its writer, and key-value metadata.

Source: ``FileMetaData`` in parquet.thrift; the keys' own are told in :mod:`.merging.keys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.errors import SchemaMismatch
from engine.formats.parquet.bytes import spec
from engine.formats.parquet.bytes.footer import Footer, with_fields
from engine.formats.parquet.bytes.thrift import Struct
from engine.formats.parquet.merging.keys import KeyConflict, KeyValues, Named, merged_keys
from engine.formats.parquet.merging.writer import writer_of_part


class Merged(NamedTuple):
    """What a part of some sources carries.

    Attributes:
        created_by: the field as its source has it; None where that source has none.
        key_values: entries in their order, as they are before they are made true for a part's rows.
        keeps_bounds: whether bounds of row groups may stay as they are.
        lost: what is not carried of which source, one sentence each.
    """

    created_by: tuple[int, Any] | None
    key_values: KeyValues
    keeps_bounds: bool
    lost: tuple[str, ...]

    def fields(self, model: Footer) -> Struct:
        """Return the fields of a source's footer, with the writer that the part names."""
        field = spec.FileMetaData.CREATED_BY
        if self.created_by is not None:
            return with_fields(model.struct, {field: self.created_by})
        return {number: entry for number, entry in model.struct.items() if number != field}


def merged(sources: Sequence[Named]) -> Merged:
    """Return what a part made of these sources carries.

    Args:
        sources: those that the part has rows of, in order; of one source everything is kept.

    Raises:
        SchemaMismatch: they differ in what changes how values are read; the message names the key
            and both files.
    """
    if len({id(source.footer) for source in sources}) == 1:
        own = sources[0].footer
        return Merged(own.struct.get(spec.FileMetaData.CREATED_BY), own.key_values, True, ())
    try:
        key_values, lost = merged_keys(sources)
    except KeyConflict as conflict:
        raise SchemaMismatch(str(conflict)) from conflict
    name, keeps_bounds = writer_of_part([source.footer.created_by for source in sources])
    chosen = next(source for source in sources if source.footer.created_by == name)
    others = {
        other.footer.created_by: f"created_by {other.footer.created_by!r} of {other.name}: parts "
        f"that hold rows of both name {name!r}, as {chosen.name}"
        for other in sources
        if other.footer.created_by != name
    }
    created_by = chosen.footer.struct.get(spec.FileMetaData.CREATED_BY)
    return Merged(created_by, key_values, keeps_bounds, (*lost, *others.values()))


def check_mergeable(sources: Sequence[Named]) -> tuple[str, ...]:
    """Return what parts of several of these sources will not carry, one sentence each.

    Raises: as :func:`merged`.
    """
    return merged(sources).lost if len(sources) > 1 else ()
