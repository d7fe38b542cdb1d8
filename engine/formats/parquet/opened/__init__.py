"""Opened sources, asked once for everything: file, row group, column chunk, pages.

>>> chunk = open_file(source).row_group(2).chunk(0)
>>> chunk.entry.codec, chunk.pages.num_pages, chunk.header(0).num_values

Planner, sampler, writers, verifier and profiler all go this way; what is read on it is kept.
"""

from engine.formats.parquet.opened.adapted import constant_value, schema_from, schema_text
from engine.formats.parquet.opened.decoding import (
    Decoding,
    decoding_of,
    delta_bytes,
    is_array,
    value_bytes,
)
from engine.formats.parquet.opened.empty_pages import without_empty_pages
from engine.formats.parquet.opened.file import (
    CACHED_CHUNKS,
    OpenChunk,
    OpenFile,
    OpenRowGroup,
    files_held,
    open_ahead,
    open_file,
)
from engine.formats.parquet.opened.footer import (
    chosen_columns,
    lies_inside,
    read_footer,
    read_footer_bytes,
)
from engine.formats.parquet.opened.headers import headers_at, read_each_header, read_pages
from engine.formats.parquet.opened.paged_file import arrow_file
from engine.formats.parquet.opened.whole_pages import WholePages

__all__ = [
    "CACHED_CHUNKS",
    "Decoding",
    "OpenChunk",
    "OpenFile",
    "OpenRowGroup",
    "WholePages",
    "arrow_file",
    "chosen_columns",
    "constant_value",
    "decoding_of",
    "delta_bytes",
    "files_held",
    "headers_at",
    "is_array",
    "lies_inside",
    "open_ahead",
    "open_file",
    "read_each_header",
    "read_footer",
    "read_footer_bytes",
    "read_pages",
    "schema_from",
    "schema_text",
    "value_bytes",
    "without_empty_pages",
]
