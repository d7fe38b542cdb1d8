"""Tables as a Parquet file: one row group a table, by pyarrow, with a part's codec and level."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.model import Recoding
from engine.settings import CODECS

_NAMES = {number: name for name, number in CODECS.items()}
_VERSIONS = {None: "1.0", 1: "1.0", 2: "2.0"}
_TAIL_BYTES = 8  # the footer's length, and the magic
_NO_LIMIT = 1 << 30  # of a dictionary
_TELLING_ROWS = 1024  # fewer tell nothing of values that come again
# By how much a dictionary grows with twice the rows, where it is as large as they are in the end:
# of 16,000 rows one of 80,000 values, which takes what pyarrow allows, or what it saves.
_GROWS = 1.8


class End(NamedTuple):
    """What lies behind the values of a file: its bytes, and the footer's among them."""

    data: bytes
    footer: bytes


class _Out(io.RawIOBase):
    """A file that hands over what is written; it counts, and keeps what follows a mark."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.num_bytes = 0
        self.kept: list[bytes] | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._take(data)
        self.num_bytes += len(data)
        if self.kept is not None:
            self.kept.append(data)
        return len(data)

    def tell(self) -> int:
        return self.num_bytes


class FileWriter:
    """Writes a file of a schema.

    Args:
        schema: of all tables.
        recoding: codec, level, page version and dictionaries, where they are not pyarrow's.
        take: is handed the bytes, in order.
        plain: columns that get no dictionary unless one is asked for; see
            :attr:`engine.model.Conversion.plain`.
    """

    def __init__(
        self,
        schema: Any,
        recoding: Recoding,
        take: Callable[[bytes], None],
        plain: Sequence[str] = (),
    ) -> None:
        use: bool | list[str] = recoding.dictionary is not False
        if plain and recoding.dictionary is None:
            use = sorted({*_leaf_names(schema)} - {*plain})
        self._out = _Out(take)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._out, mode="w"),
            schema,
            write_page_index=True,
            use_dictionary=use,
            **_options(recoding),
        )
        self._names = schema.names
        self.num_rows = 0

    @property
    def num_bytes(self) -> int:
        """What was written so far."""
        return self._out.num_bytes

    def add(self, table: Any) -> None:
        """Write a row group of those columns that the schema has."""
        table = table.select(self._names)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.num_rows += table.num_rows

    def finish(self, key_values: Mapping[str, str]) -> End:
        """Write what lies behind the values, and return it."""
        self._writer.add_key_value_metadata(dict(key_values))
        self._out.kept = []
        self._writer.close()
        data = b"".join(self._out.kept)
        length = int.from_bytes(data[-_TAIL_BYTES:-4], "little")
        return End(data, data[-_TAIL_BYTES - length : -_TAIL_BYTES])


def _options(recoding: Recoding) -> dict[str, Any]:
    """Return what pyarrow calls a recoding, but for dictionaries."""
    return {
        "compression": _NAMES[CODECS["zstd"] if recoding.codec is None else recoding.codec],
        "compression_level": recoding.level,
        "data_page_version": _VERSIONS[recoding.page_version],
        "store_schema": False,
    }


def _leaf_names(fields: Iterable[Any], above: str = "") -> Iterator[str]:
    """Yield the names of columns as Parquet has them: ``a.list.element.b``."""
    for field in fields:
        name, kind = f"{above}{field.name}", field.type
        while pa.types.is_list(kind):
            name, kind = f"{name}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _leaf_names(kind, f"{name}.")
        else:
            yield name


def file_bytes(table: Any, schema: Any, recoding: Recoding, plain: Sequence[str] = ()) -> int:
    """Return what those columns of a table that a schema has take as a file of one row group."""
    writer = FileWriter(schema, recoding, lambda data: None, plain)
    writer.add(table)
    writer.finish({})
    return writer.num_bytes


def plain_columns(table: Any, recoding: Recoding) -> tuple[str, ...]:
    """Return the columns that take less without a dictionary, by a table with some of their rows.

    That is so of the table, and its second half has nearly as many new values as its first: of
    more rows the dictionary would grow with them.
    """
    if table.num_rows < _TELLING_ROWS or recoding.dictionary is not None:
        return ()
    half = table.slice(0, table.num_rows // 2)
    few, more = (_chunks_of(some, recoding, use_dictionary=True) for some in (half, table))
    plain = _chunks_of(table, recoding, use_dictionary=False)
    return tuple(
        column.path_in_schema
        for first, column, other in zip(few, more, plain, strict=True)
        if _dictionary_bytes(column) >= _GROWS * _dictionary_bytes(first) > 0
        and other.total_compressed_size < column.total_compressed_size
    )


def _chunks_of(table: Any, recoding: Recoding, *, use_dictionary: bool) -> list[Any]:
    """Return what the footer says of the columns of a table as a row group, however large."""
    found: list[Any] = []
    pq.write_table(
        table,
        pa.PythonFile(_Out(lambda data: None), mode="w"),
        row_group_size=table.num_rows,
        use_dictionary=use_dictionary,
        dictionary_pagesize_limit=_NO_LIMIT,
        metadata_collector=found,
        **_options(recoding),
    )
    group = found[0].row_group(0)
    return [group.column(at) for at in range(group.num_columns)]


def _dictionary_bytes(column: Any) -> int:
    if not column.has_dictionary_page:
        return 0
    return int(column.data_page_offset - column.dictionary_page_offset)
