"""Who wrote a file: ``created_by`` of a footer, and what is known to be wrong with whom.

Readers judge what stands in a file by this text. The rules here are theirs: parquet-java's
``VersionParser``, ``CorruptStatistics`` and ``CorruptDeltaByteArrays``, and ``ApplicationVersion``
of Arrow's C++ reader (``metadata.cc``). Versions of distributions, such as ``1.5.0-cdh5.4.7``,
count by their numbers, which is the careful way.

What is done about each is in :data:`DEFECTS`. Not covered: doing it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from engine.formats.parquet.bytes.chunk_table import TableChunk
from engine.formats.parquet.bytes.footer import ColumnChunk, Encoding

_FORM = re.compile(
    r"\s*(?P<name>.*?)(?:\s+version\s*v?(?P<numbers>\d+(?:\.\d+)*)?.*)?\s*", re.DOTALL
)


class Writer(NamedTuple):
    """A program that wrote a file: its name in lower case, and its version; empty if not told."""

    name: str
    version: tuple[int, ...]

    def is_before(self, name: str, *version: int) -> bool:
        """Whether it is the program of this name in an earlier version, or in none."""
        return self.name == name and self.version[: len(version)] < version


@lru_cache(1024)
def writer_of(created_by: str) -> Writer:
    """Return the writer that a footer's ``created_by`` names."""
    found = _FORM.fullmatch(created_by)
    assert found is not None
    numbers = tuple(int(number) for number in (found["numbers"] or "").split(".") if number)
    return Writer(found["name"].lower(), numbers)


class Defect(NamedTuple):
    """What a writer did wrong.

    Attributes:
        name, version: the program, and its first version without the defect.
        field: what is wrong.
        remedy: what is done here.
        source: where it is known from.
    """

    name: str
    version: tuple[int, ...]
    field: str
    remedy: str
    source: str


CHAINED_PAGES = Defect(
    "parquet-mr",
    (1, 8),
    "pages of DELTA_BYTE_ARRAY continue the page before",
    "pages are read in a row, a page at a cut is made to stand alone, a part keeps the name",
    "PARQUET-246",
)
FALSE_BOUNDS = Defect(
    "parquet-mr",
    (1, 8),
    "bounds of BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY are of other values",
    "a part keeps the name, so that readers go on ignoring them",
    "PARQUET-251",
)
SHORT_CHUNKS = Defect(
    "parquet-mr",
    (1, 2, 9),
    "total_compressed_size leaves out the header of the dictionary page",
    "the chunk is lengthened to the end of its last page",
    "PARQUET-816",
)
SIGNED_BOUNDS = (
    Defect(
        "parquet-mr",
        (1, 10),
        "bounds of unsigned and byte columns were compared as signed",
        "a part keeps the name, so that readers go on ignoring them",
        "PARQUET-686; ApplicationVersion::HasCorrectStatistics of Arrow",
    ),
    Defect(
        "parquet-cpp",
        (1, 3),
        "bounds of unsigned and byte columns were compared as signed",
        "a part keeps the name, so that readers go on ignoring them",
        "PARQUET-1025; ApplicationVersion::HasCorrectStatistics of Arrow",
    ),
)
UNFLAGGED_PAGES = Defect(
    "parquet-cpp",
    (2,),
    "V2 data pages say that they are not compressed, and are",
    "they are known by their size; a part of several sources names another writer, else it is "
    "refused, as readers take all V2 pages of this one to be compressed",
    "ARROW-17100; ApplicationVersion::PARQUET_CPP_10353_FIXED_VERSION of Arrow",
)
DEFECTS = (CHAINED_PAGES, FALSE_BOUNDS, SHORT_CHUNKS, *SIGNED_BOUNDS, UNFLAGGED_PAGES)


def has(created_by: str, *defects: Defect) -> bool:
    """Whether a file's writer is known for one of some defects."""
    writer = writer_of(created_by)
    return any(writer.is_before(defect.name, *defect.version) for defect in defects)


def chains_pages(created_by: str, chunk: ColumnChunk | TableChunk) -> bool:
    """Whether pages of a chunk continue the page before: DELTA_BYTE_ARRAY of parquet-mr before 1.8.

    Such a page can be read only after all before it (PARQUET-246).
    """
    return Encoding.DELTA_BYTE_ARRAY in chunk.encodings and has(created_by, CHAINED_PAGES)
