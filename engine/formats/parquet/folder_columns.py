"""Columns that files lack and the names of their folders say: which are taken, and how told.

Pure. Their values are made by whoever reads a file (:mod:`.opened.adapted`, and
:mod:`engine.formats.converted.blocks` of lines that become Parquet).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.errors import BadSetting, SchemaMismatch
from engine.formats.parquet.bytes.column_names import spelled
from engine.model import Constant, SourceFile
from engine.partition_values import WORDS


def with_taken(
    files: Sequence[SourceFile], columns: tuple[str, ...] | None
) -> tuple[Sequence[SourceFile], tuple[str, ...] | None]:
    """Return files with those columns of their folders that are taken, and what of the files is.

    Raises:
        BadSetting: nothing of the files is.
    """
    constants = {it.name: {it.name, spelled((it.name,))} for it in files[0].constants}
    if columns is None or not constants:
        return files, columns
    others = tuple(name for name in columns if not any(name in it for it in constants.values()))
    if not others:
        raise BadSetting(
            f"--columns {','.join(columns)} names columns of folders alone; name at least one that "
            "the files hold"
        )
    taken = {name for name, spellings in constants.items() if spellings & set(columns)}
    kept = [
        replace(file, constants=tuple(it for it in file.constants if it.name in taken))
        for file in files
    ]
    return kept, others


def check_apart(path: str, names: Iterable[str], constants: Sequence[Constant]) -> None:
    """See to it that columns of a file, by their names, and of its folders are not called alike.

    Raises:
        SchemaMismatch: two are, but for case.
    """
    folded = {name.casefold(): name for name in names}
    for constant in constants:
        if constant.name.casefold() in folded:
            raise SchemaMismatch(
                f"{path} lies in a folder of the column {constant.name}, and the files have a "
                f"column {folded[constant.name.casefold()]} as well, so that --flatten would make "
                "two of one name: leave --flatten out, or the column by --columns"
            )


def sentence(constants: Sequence[Constant]) -> str:
    """Return what is said about columns of folders."""
    words = {kind: word for word, kind in WORDS.items()}  # as --partition-types takes them
    shown = ", ".join(f"{constant.name} {words[constant.kind]}" for constant in constants)
    return f"columns behind all others, from the names of folders: {shown}"
