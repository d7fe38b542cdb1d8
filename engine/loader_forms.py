"""What parts are made of, as systems that load them are told: Parquet, CSV or NDJSON.

Of lines also how records and fields are told apart. One row of :data:`READERS` a system says which
lines it reads; what it reads otherwise than they lie there is refused (:func:`form_problem`), and
:mod:`engine.loaders` writes the rest down. Pure.

Not covered: encodings, as bytes are copied: systems are told that it is UTF-8, or take it for that;
and what a table's own settings do to texts.

Sources: Amazon Redshift, "Data format parameters" (no ``ESCAPE`` with ``CSV``) and "File
compression parameters"; Snowflake, ``CREATE FILE FORMAT``; Transact-SQL, ``COPY INTO`` (a line feed
is written as ``0x0A``: otherwise it stands for both, carriage return in front); BigQuery,
``LOAD DATA`` and ``load_option_list``; DuckDB, ``read_csv`` and ``read_json``; Spark, "CSV Files"
and "JSON Files".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from engine.model import SourceFile
from engine.part_names import CODEC_SUFFIXES

Kind = Literal["Parquet", "CSV", "NDJSON"]


class Form(NamedTuple):
    """What all parts of a split are.

    Attributes:
        kind: of the parts.
        delimiter, quote, escape: of CSV, a character each; without an escape, quotes are doubled.
        has_header: the first record of each part names the columns.
        has_mark: the first part begins with a byte order mark.
        codec: that compresses whole parts; empty if none does.
        line_ends: of the first lines of all sources.
    """

    kind: Kind = "Parquet"
    delimiter: str = ""
    quote: str = ""
    escape: str = ""
    has_header: bool = False
    has_mark: bool = False
    codec: str = ""
    line_ends: frozenset[str] = frozenset()


class Reader(NamedTuple):
    """Which lines a system reads as they lie there.

    Attributes:
        kinds: of parts.
        codecs: by which parts are compressed.
        escape: characters may stand behind an escape.
        quotes: characters that may be the quote; empty for any.
        unquoted: fields may be without quotes, whatever characters they hold.
        one_line_end: it is told the line end, so that all lines need the same.
        codec_by_name: it is not told the codec, but finds it by the end of a part's name.
    """

    kinds: tuple[Kind, ...] = ("Parquet", "CSV", "NDJSON")
    codecs: tuple[str, ...] = ("gzip",)
    escape: bool = True
    quotes: str = ""
    unquoted: bool = True
    one_line_end: bool = False
    codec_by_name: bool = False


_TSQL = Reader(kinds=("Parquet", "CSV"), escape=False, unquoted=False, one_line_end=True)
READERS: Mapping[str, Reader] = {
    "redshift": Reader(codecs=("gzip", "bz2", "zstd"), escape=False),
    "snowflake": Reader(codecs=("gzip", "bz2", "zstd"), quotes="\"'"),
    "bigquery": Reader(escape=False, codec_by_name=True),
    "synapse": _TSQL,
    "fabric": _TSQL,
    "duckdb": Reader(codecs=("gzip", "zstd")),
    "spark": Reader(codecs=("gzip", "bz2"), codec_by_name=True),
}


def form_of(sources: Sequence[SourceFile], codec: str | None) -> Form:
    """Return what the parts of settled sources are.

    Args:
        sources: of one split.
        codec: that a split of lines was asked for; ``none`` takes one away.
    """
    dialect = sources[0].dialect
    if dialect is None or sources[0].conversion is not None:
        return Form()
    name = dialect.codec if codec is None else codec
    return Form(
        "NDJSON" if dialect.kind == "ndjson" else "CSV",
        dialect.delimiter,
        dialect.quote,
        dialect.escape,
        has_header=dialect.header_bytes > dialect.mark_bytes,
        has_mark=dialect.mark_bytes > 0,
        codec="" if name == "none" else name,
        line_ends=frozenset(it.dialect.line_end for it in sources if it.dialect is not None),
    )


def form_problem(name: str, form: Form, part_names: Sequence[str]) -> str:
    """Return what of the parts a system would read otherwise, and what to do; empty if nothing."""
    reader = READERS[name]
    if reader.codec_by_name and (problem := _codec_problem(form, part_names)):
        return problem
    way = "write Parquet by --to parquet, or leave --manifest out"
    if form.kind not in reader.kinds:
        return f"loads no {form.kind}: {way}"
    if form.codec and form.codec not in reader.codecs:
        known = " or ".join((*reader.codecs, "none"))
        return f"reads no {form.codec}: choose --codec {known}, or leave --manifest out"
    if form.kind != "CSV":
        return ""
    if form.escape and not reader.escape:
        return f"reads no escape ({form.escape}) in CSV: {way}"
    if form.quote and reader.quotes and form.quote not in reader.quotes:
        return f"takes no {form.quote} for a quote: {way}"
    if not form.quote and not reader.unquoted:
        return f"takes some character for a quote, and these fields have none: {way}"
    if form.has_mark and not form.has_header:
        return f"may take the byte order mark for a part of the first value: {way}"
    if reader.one_line_end and len(form.line_ends) > 1:
        return f"is told one line end, and sources have several: {way}"
    return ""


def _codec_problem(form: Form, part_names: Sequence[str]) -> str:
    ending = CODEC_SUFFIXES.get(form.codec, "")
    known = tuple(CODEC_SUFFIXES.values())
    for part in part_names:
        if not part.endswith(ending) or (not ending and part.endswith(known)):
            return (
                f"finds the codec of {part} by the end of its name, and it is "
                f"{form.codec or 'not compressed'}: choose a --name that ends in "
                f"{ending or 'none of ' + ' '.join(known)}, or leave --manifest out"
            )
    return ""
