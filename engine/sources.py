"""The files that sources stand for, in the order of a split, and what their folders say.

Where names of folders and columns of files could say two things, files are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Literal, NamedTuple

from engine import events
from engine.errors import BadSetting, NotPlainFolder
from engine.formats import LINES, format_of, load_format
from engine.model import SourceFile
from engine.part_names import kind_of
from engine.partition_values import WORDS, Kind, constants_of, pair_of
from engine.settings import Settings
from engine.storage import Found, describe_all, expand_all
from engine.storage.base import redacted
from engine.storage.folders import partitions_problem, partitions_refusal
from engine.wording import shown


def find_sources(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[SourceFile, ...]:
    """Describe the files that sources stand for, in order; what is passed over is logged.

    Raises:
        NoSource: nothing matches.
        NotPlainFolder: a folder holds more, or less, than its files say.
    """
    found = _found(patterns, include, exclude, partitions="refused")
    for note in found.notes:
        events.say("sources.note", note)
    return found.files


def find_each(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[tuple[SourceFile, str]]:
    """Describe files that are split each for itself, and their paths below the sources.

    Folders of hive partitions are plain here: the path of a file keeps what they say.

    Raises:
        NoSource, NotPlainFolder: as :func:`find_sources`.
    """
    found = _expanded(patterns, include, exclude)
    for note in found.notes:
        events.say("sources.note", note)
    return list(zip(describe_all(found.files), found.names, strict=True))


def _expanded(patterns: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> Found:
    if not patterns:
        raise BadSetting("no source given")
    found = expand_all(patterns, include, exclude)
    if found.problems:
        raise NotPlainFolder(found.problems[0])
    return found


class FoundSources(NamedTuple):
    """The files of a split, what is to be said about them, and the sources without lists."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...]
    patterns: tuple[str, ...]


def _found(
    patterns: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    partitions: Literal["apart", "columns", "refused"],
    is_relaxed: bool = False,
    partition_types: str | None = None,
) -> FoundSources:
    """Describe the files that sources stand for.

    ``partitions``: what becomes of hive folders whose files lack the columns of their names.
    ``is_relaxed``: files may lack columns that others have.
    ``partition_types``: of some columns of folders, as users write them.
    """
    found = _expanded(patterns, include, exclude)
    files = tuple(describe_all(found.files))
    notes = found.notes
    if found.partition_columns:
        # All files have one schema, which is seen to later: one footer says it.
        held = load_format(format_of(files)).top_columns(files[0])
        lost = [name for name in found.partition_columns if name not in held]
        if is_relaxed:
            _check_held_by_all(files, found.partition_columns, held)
        if lost and partitions == "refused":
            raise NotPlainFolder(partitions_refusal(redacted(files[0].path), lost))
        own = [name for name in found.partition_columns if name in held]
        is_same = True
        if own and partitions != "refused":  # else no footer is to be read for it
            needs_proof = partitions == "columns"
            is_same = _has_values_of_folders(files, found.partitions, own, needs_proof=needs_proof)
        if partitions == "columns":
            files = _flattened(files, found, own, partition_types)
        elif lost or not is_same:
            files = _in_partitions(files, found.partitions)
        if own:
            notes += (_said_of_own(own, is_same=is_same),)
    elif partitions == "columns":
        raise BadSetting(
            "--flatten makes columns of hive folders (year=2024/...), and no source lies in such: "
            "leave it out, or name the folder above them"
        )
    return FoundSources(files, notes, found.patterns)


def find_wanted(patterns: Sequence[str], settings: Settings) -> FoundSources:
    """Describe the files that settings take of sources; see :func:`find_sources`."""
    partitions: Literal["apart", "columns"] = "columns" if settings.flatten else "apart"
    return _found(
        patterns,
        settings.include,
        settings.exclude,
        partitions=partitions,
        is_relaxed=settings.schema == "relaxed",
        partition_types=settings.partition_types,
    )


def _check_held_by_all(
    files: Sequence[SourceFile], columns: Sequence[str], held: AbstractSet[str]
) -> None:
    """Refuse columns of folders that some files have and others lack, which would be null there.

    ``held``: columns of the first file.
    """
    top_columns = load_format(format_of(files)).top_columns
    for file in files[1:]:
        for name in held ^ top_columns(file):
            if name in columns:
                has, lacks = (files[0], file) if name in held else (file, files[0])
                raise _held_by_some(has, lacks, name)


def _held_by_some(has: SourceFile, lacks: SourceFile, name: str) -> NotPlainFolder:
    return NotPlainFolder(
        f"{redacted(has.path)} has the column {name}, which {redacted(lacks.path)} has in the name "
        f"of its folder alone ({name}=...), so that it would come as null: split the files that "
        "have it and those that lack it apart"
    )


def _said_of_own(columns: Sequence[str], *, is_same: bool) -> str:
    names = ", ".join(columns)
    if is_same:
        return f"taken from the files, not from names of their folders: {names}"
    return f"in the files and in names of their folders, which parts keep as well: {names}"


def _has_values_of_folders(
    files: Sequence[SourceFile],
    partitions: Sequence[str],
    columns: Sequence[str],
    *,
    needs_proof: bool,
) -> bool:
    """Whether footers prove that columns have in all files the value of the file's folder.

    Files with another value are refused: one of the two would be lost. Where footers do not tell,
    parts that lie in the same folders are read as the files are, whichever value a reader takes.
    ``needs_proof``: refuse these files as well.
    """
    is_same = True
    own = load_format(format_of(files))
    for file, partition in zip(files, partitions, strict=True):
        folders = {it.partition("=")[0]: it for it in partition.split("/")}
        texts = {name: pair_of(folders[name])[1] for name in columns if name in folders}
        for name, agrees in own.agreements(file, texts).items():
            where = f"{redacted(file.path)} lies in the folder {shown(folders[name])}"
            if agrees is False:
                raise NotPlainFolder(
                    f"{where}, and its column {shown(name)} has other values: some readers take "
                    "the folder's, some the file's, and parts would have those alone; rename the "
                    "folder, or name it itself, which takes the file's"
                )
            if agrees is None and needs_proof:
                if name not in own.top_columns(file):
                    raise _held_by_some(files[0], file, name)
                raise NotPlainFolder(
                    f"{where} and has a column {shown(name)} itself, of which its footer does not "
                    "tell that it has this value in all rows: leave --flatten out"
                )
            is_same = is_same and agrees is True
    return is_same


def _in_partitions(
    files: tuple[SourceFile, ...], partitions: Sequence[str]
) -> tuple[SourceFile, ...]:
    """Return files with their partitions, those of one partition together."""
    one_of_each = {
        partition: redacted(file.path)
        for file, partition in zip(files[::-1], partitions[::-1], strict=True)
    }
    if problem := partitions_problem(one_of_each):
        raise NotPlainFolder(problem)
    order = {partition: at for at, partition in enumerate(dict.fromkeys(partitions))}
    placed = [
        replace(file, partition=partition)
        for file, partition in zip(files, partitions, strict=True)
    ]
    return tuple(sorted(placed, key=lambda file: order[file.partition]))


def _flattened(
    files: tuple[SourceFile, ...], found: Found, own: Sequence[str], types: str | None
) -> tuple[SourceFile, ...]:
    """Return files of partitions with the values of their folders as columns, in their order.

    ``own``: columns that the files have themselves, with the same values.
    """
    placed = _in_partitions(files, found.partitions)
    given = _given_kinds(types) if types is not None else {}
    lacked = [
        "/".join(it for it in file.partition.split("/") if it.partition("=")[0] not in own)
        for file in placed
    ]
    every = constants_of(lacked, found.partition_kinds, given)
    return tuple(
        replace(file, partition="", constants=constants)
        for file, constants in zip(placed, every, strict=True)
    )


def _given_kinds(types: str) -> dict[str, Kind]:
    from engine.formats.converted.types import named_types  # imports Arrow

    flag = "--partition-types"
    words = named_types(types, flag, "")
    for name, word in words.items():
        if word not in WORDS:
            raise BadSetting(
                f"{flag}: {shown(name)} has the type {word}, and columns of folders have one of "
                f"{', '.join(WORDS)}"
            )
    return {name: WORDS[word] for name, word in words.items()}


def are_lines(
    patterns: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> bool:
    """Whether sources are files of lines, by the first of them; only names of lines are looked at.

    Raises:
        NoSource: nothing matches.
    """
    if all(kind_of(pattern) == "Parquet" for pattern in patterns):
        return False  # without a listing
    first = expand_all(patterns, include, exclude).files[:1]
    files = [store.stat(path) for store, path in first if kind_of(path) not in ("", "Parquet")]
    return bool(files) and format_of(files) == LINES
