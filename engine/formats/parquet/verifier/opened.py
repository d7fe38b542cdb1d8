"""Files under comparison: opened for a moment, their footers kept.

A comparison goes through all parts once a column; descriptors are not held meanwhile, because
parts may be more than a process may open, but footers are, because reading them again for every
column would cost more than the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

from engine.formats.parquet.bytes.footer import Footer
from engine.formats.parquet.opened import OpenFile, chosen_columns, read_footer
from engine.model import SourceFile
from engine.storage import Source, open_storage
from engine.storage.base import naming, redacted

_MAX_FOOTERS = 4096


@contextmanager
def opened(file: SourceFile) -> Iterator[Source]:
    """Open a file, and compare it with its description again at the end."""
    store, path = open_storage(file.path)
    source = store.open(SourceFile(path, file.size_bytes, file.version))
    try:
        yield source
        source.check_unchanged()
    finally:
        source.close()


@lru_cache(maxsize=_MAX_FOOTERS)
def footer_of(file: SourceFile) -> Footer:
    """Return a file's footer, of the columns taken, as it is read; errors name the file."""
    with naming(file.path):
        if file.is_adapted:
            adapted = OpenFile(file)
            adapted.source.close()
            return adapted.footer
        with opened(file) as source:
            return chosen_columns(read_footer(source)[0], file)


def own_footer_of(file: SourceFile) -> Footer:
    """Return a file's footer as it lies there."""
    return footer_of(replace(file, columns=None, schema="", constants=()))


def name_of(file: SourceFile) -> str:
    """Return the last component of a file's path, for messages."""
    return redacted(file.path).rstrip("/").rpartition("/")[2]
