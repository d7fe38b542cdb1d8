"""Tables as a Parquet file: one row group a table, by pyarrow, with a part's codec and level."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.model import Recoding
from engine.settings import CODECS

_NAMES = {number: name for name, number in CODECS.items()}
_VERSIONS = {None: "1.0", 1: "1.0", 2: "2.0"}
_TAIL_BYTES = 8  # the footer's length, and the magic


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
    """

    def __init__(self, schema: Any, recoding: Recoding, take: Callable[[bytes], None]) -> None:
        self._out = _Out(take)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._out, mode="w"),
            schema,
            compression=_NAMES[CODECS["zstd"] if recoding.codec is None else recoding.codec],
            compression_level=recoding.level,
            data_page_version=_VERSIONS[recoding.page_version],
            use_dictionary=recoding.dictionary is not False,
            write_page_index=True,
            store_schema=False,
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


def file_bytes(table: Any, schema: Any, recoding: Recoding) -> int:
    """Return what those columns of a table that a schema has take as a file of one row group."""
    writer = FileWriter(schema, recoding, lambda data: None)
    writer.add(table)
    writer.finish({})
    return writer.num_bytes
