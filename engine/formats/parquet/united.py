"""Sources of several schemas, each to be read by the one that holds all (``--schema relaxed``).

Decided here, from footers alone: that schema, which columns of it are taken, Arrow's schema of it,
and which files need to be read by it, as their own is another. Not covered: the rules
(:mod:`.relaxed`), and how a file is made to fit (:mod:`.opened`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from engine.at_once import answers
from engine.errors import BadSetting, SchemaMismatch
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.described import ARROW_KEY
from engine.formats.parquet.bytes.footer import Footer, key_value_struct, value, with_fields
from engine.formats.parquet.bytes.projection import project
from engine.formats.parquet.bytes.schema_keys import arrow_content, arrow_schema
from engine.formats.parquet.bytes.thrift import LIST, STRUCT, Struct
from engine.formats.parquet.folder_columns import sentence
from engine.formats.parquet.merging.arrow_schemas import (
    arrow_types,
    meant_metadata,
    plain_schema,
)
from engine.formats.parquet.opened import OpenFile, open_file, schema_text
from engine.formats.parquet.relaxed import (
    Differs,
    Element,
    check_lacking,
    placed,
    schema_of,
    united,
)
from engine.model import SourceFile
from engine.storage.base import redacted
from engine.wording import counted

_FILE = spec.FileMetaData
_MAX_NAMED = 5
# file_path and pos of files that say which rows of others are deleted: the Iceberg table
# specification, "Reserved Field IDs". Equality deletes cannot be told from rows.
_POSITION_DELETES = frozenset({2147483546, 2147483545})


class _Own(NamedTuple):
    """A file as it is: its name, footer, and schema."""

    name: str
    footer: Footer
    schema: Element

    @property
    def arrow(self) -> bytes | None:
        """Arrow's schema, where it has one."""
        return dict(self.footer.key_values).get(ARROW_KEY)

    def arrow_field(self, name: str) -> Any:
        """Return Arrow's field of a column by it; None if it does not tell."""
        import pyarrow as pa

        try:
            return arrow_schema(self.arrow or b"").field(name)
        except MemoryError:
            raise
        except (ValueError, KeyError, OSError, pa.ArrowException):
            return None  # whoever merges the files tells what is wrong with it

    def kind(self, name: str, content: bytes | None) -> str | None:
        """Return the type of a column as Arrow reads it by a schema; None if there is none."""
        kinds = arrow_types(self.footer, content)
        return kinds.get(name) if isinstance(kinds, dict) else None


def united_sources(
    files: Sequence[SourceFile], columns: tuple[str, ...] | None
) -> tuple[SourceFile, ...]:
    """Return files with the schema that each is to be read by, where its own is another.

    Args:
        files: in their order.
        columns: names of those that are taken; None for all.

    Raises:
        SchemaMismatch: no schema holds all, or a file would have to be decoded for it.
        BadSetting: a column that is taken is in none.
    """
    is_remote = any("://" in file.path for file in files)
    owns = list(answers(_own, files, is_remote=is_remote))
    _check_no_deletes(owns)
    whole = united([own.schema for own in owns], [own.name for own in owns])
    _check_ids(whole, owns)
    schema = _footer(whole, owns)
    if columns is not None:
        schema = project(schema, columns)
    check_lacking(whole, schema)
    wanted, text = _identity(schema), schema_text(schema)
    found = []
    for file, own in zip(files, owns, strict=True):
        plain = own.footer
        if columns is not None:
            try:
                plain = project(plain, columns)
            except BadSetting:  # it lacks one of them
                found.append(replace(file, columns=columns, schema=text))
                continue
        is_it = _identity(plain) == wanted
        found.append(replace(file, columns=columns, schema="" if is_it else text))
    return tuple(found)


def _ids(schema: Element) -> dict[int, list[str]]:
    """Return the names of the elements that have a field id, by it."""
    found: dict[int, list[str]] = {}
    for element in schema.elements():
        number = value(element, spec.SchemaElement.FIELD_ID)
        if number is not None:
            name = bytes(element[spec.SchemaElement.NAME][1]).decode("utf-8", "replace")
            found.setdefault(number, []).append(name)
    return found


def _check_no_deletes(owns: Sequence[_Own]) -> None:
    """Refuse files that tell which rows of others are deleted, among others: they are no rows."""
    deletes = [own.name for own in owns if _ids(own.schema).keys() >= _POSITION_DELETES]
    if deletes and len(deletes) < len(owns):
        raise SchemaMismatch(
            f"{deletes[0]} says which rows of other files are deleted (position deletes of "
            "Iceberg), and has no rows itself; name the table's folder with its metadata, or "
            "leave such files out (--exclude) if the rows are wanted nevertheless"
        )


def _check_ids(whole: Element, owns: Sequence[_Own]) -> None:
    """Refuse a field id of two columns, which is one that was renamed, unless a file has it so."""
    known = [_ids(own.schema) for own in owns]
    for number, names in _ids(whole).items():
        if len(names) > max(len(ids.get(number, ())) for ids in known):
            has = [
                own.name
                for own, ids in zip(owns, known, strict=True)
                if names[-1] in ids.get(number, ())
            ]
            raise SchemaMismatch(
                f"columns {names[0]} and {names[-1]} have one field id, {number} ({names[-1]} in "
                f"{has[0]}): a column that was renamed, or another table; write the files anew "
                "with one name, or split them apart"
            )


def _own(file: SourceFile) -> _Own:
    opened = OpenFile(replace(file, columns=None, schema="", constants=()))
    opened.source.close()
    return _Own(redacted(file.path), opened.footer, schema_of(opened.footer))


def _identity(footer: Footer) -> tuple[list[bytes], list[bytes] | None]:
    """Return what tells schemas apart: elements below the root, orders of bounds."""
    orders = value(footer.struct, _FILE.COLUMN_ORDERS)
    return (
        [thrift.encode(element) for element in footer.schema[1:]],
        None if orders is None else [_encoded(item) for item in orders.items],
    )


def _encoded(item: Any) -> bytes:
    return thrift.encode(item) if isinstance(item, dict) else bytes(item)


def _footer(whole: Element, owns: Sequence[_Own]) -> Footer:
    """Return a footer of the schema that holds all, with orders of bounds and Arrow's schema."""
    first = owns[0].footer.struct
    struct: Struct = {_FILE.VERSION: first[_FILE.VERSION]}
    struct |= spec.struct_of(
        {_FILE.SCHEMA: list(whole.elements()), _FILE.NUM_ROWS: 0, _FILE.ROW_GROUPS: []}
    )
    orders = value(first, _FILE.COLUMN_ORDERS)
    if orders is not None:
        items = _orders(whole, owns)
        struct[_FILE.COLUMN_ORDERS] = (LIST, thrift.Sequence(orders.type, items))
    plain = Footer(thrift.encode(struct))
    if not any(own.arrow for own in owns):
        return plain
    pairs = [key_value_struct(ARROW_KEY, arrow_content(_arrow(plain, whole, owns)))]
    changes = spec.struct_of({_FILE.KEY_VALUE_METADATA: pairs})
    return Footer(thrift.encode(with_fields(struct, changes)))


def _orders(whole: Element, owns: Sequence[_Own]) -> list[Any]:
    """Return of each column the order that the first file has which has the column."""
    by_type: Struct = {1: (STRUCT, {})}
    found: list[Any] = []
    for own in owns:
        try:
            at = placed(whole, own.schema)
        except Differs as error:
            raise SchemaMismatch(
                f"{own.name} is not read by --schema relaxed: {error}; write it anew with the "
                "schema of the others, or split it by itself"
            ) from error
        found = found or [None] * len(at)
        listed = value(own.footer.struct, _FILE.COLUMN_ORDERS)
        for number, place in enumerate(at):
            if found[number] is None and place.leaf is not None and listed is not None:
                found[number] = listed.items[place.leaf]
    return [by_type if item is None else item for item in found]


def _arrow(plain: Footer, whole: Element, owns: Sequence[_Own]) -> Any:
    """Return Arrow's schema of all columns: each as the first file has it that tells."""
    import pyarrow as pa

    told = [own for own in owns if own.arrow]
    fields = []
    for field in plain_schema(plain):
        its = next(filter(None, (own.arrow_field(field.name) for own in told)), field)
        if pa.types.is_nested(field.type) and not _is_one_group(field.name, whole, owns):
            _check_plain(field.name, told)
            its = field
        its = its.with_nullable(field.nullable)
        fields.append(its.with_metadata(meant_metadata(its) or None))
    return pa.schema(fields)


def _is_one_group(name: str, whole: Element, owns: Sequence[_Own]) -> bool:
    """Whether all files have a group, with the same inside, and Arrow reads it alike."""
    shapes = {
        tuple(thrift.encode(it) for it in child.elements())
        for schema in (whole, *(own.schema for own in owns))
        for child in schema.children
        if child.name == name
    }
    kinds = {own.kind(name, own.arrow) for own in owns}
    return len(shapes) == 1 and len(kinds - {None}) <= 1


def _check_plain(name: str, told: Sequence[_Own]) -> None:
    """Refuse a group whose columns mean by Arrow's schema what Parquet's does not say."""
    for own in told:
        kinds = [own.kind(name, content) for content in (own.arrow, None)]
        if kinds[0] != kinds[1]:
            raise SchemaMismatch(
                f"{own.name}: column {name} is a group that differs from that of other files, and "
                f"Arrow's schema in the file reads it as {kinds[0]}, not {kinds[1]}, which could "
                "not be kept; write the files with one schema, or split them apart"
            )


def notes_of(files: Sequence[SourceFile]) -> tuple[str, ...]:
    """Return what is read otherwise than it lies in the files, a sentence each."""
    return tuple(_notes([open_file(file) for file in files if file.is_adapted], len(files)))


def _notes(opened: Sequence[OpenFile], num_files: int) -> Iterator[str]:
    total = counted(num_files, "file")
    by_schema = [file for file in opened if file.file.schema]
    if by_schema:
        yield f"read by the schema that holds the columns of all: {len(by_schema):,} of {total}"
    nulls = [file.nulls for file in opened if file.nulls]
    lifted = [file.lifted for file in opened if file.lifted]
    renumbered = [file.renumbered for file in opened if file.renumbered]
    for each, words in (
        (nulls, "nulls in place of {} missing in {}"),
        (lifted, "nulls allowed in {} required in {}"),
        (renumbered, "field ids of the first file for {} with others in {}"),
    ):
        names = list(dict.fromkeys(name for names in each for name in names))
        if names:
            shown = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
            its = words.format(counted(len(names), "column"), counted(len(each), "file"))
            yield f"{its}: {shown}"
    constants = opened[0].file.constants if opened else ()
    if constants:
        yield sentence(constants)
