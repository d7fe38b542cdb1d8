"""How data files are named: the endings that readers know, and the template of parts' names.

A template is checked before any work: what it gives for all numbers must be names that differ, that
file systems and stores take, and that readers of a folder do not pass over. What it gives with the
names of sources in it is checked again with the plan (:func:`names_problem`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from string import Formatter

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
JSON_SUFFIXES = (".ndjson", ".jsonl", ".json")
# What files of a folder hold, by the end of their names; and endings that notes and settings have
# as well, which beside Parquet are no data.
KINDS = {
    "Parquet": PARQUET_SUFFIXES,
    "delimited text": (".csv", ".tsv", ".tab", ".psv"),
    "NDJSON": JSON_SUFFIXES,
    "text": (".txt",),
}
# Of files of lines, by the codec that compresses them.
CODEC_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "lz4": ".lz4", "bz2": ".bz2", "xz": ".xz"}
VAGUE_SUFFIXES = (".txt", ".json")
LINE_SUFFIXES = tuple(end for kind, ends in KINDS.items() if kind != "Parquet" for end in ends)
_COMPRESSED = re.compile(f"({'|'.join(map(re.escape, CODEC_SUFFIXES.values()))})$")
DEFAULT_NAME = "part-{index:05d}.parquet"
# 255 is Linux's limit; a part that grows has `.` in front and `.TOKEN.tmp` behind its name.
MAX_NAME_BYTES = 255 - len("..12345678.tmp")
_MAX_WIDTH_DIGITS = 3


@dataclass(frozen=True)
class NameFields:
    """What a template may say of a part.

    Attributes:
        index: its number, from zero.
        total: how many parts there are.
        stem: name of the source file that it begins in, without the ending.
        first_row: position of its first row in the source.
        num_rows: its rows.
        partition: the hive folders that it lies in, with - between; empty if it does not.
    """

    index: int = 0
    total: int = 1
    stem: str = "source"
    first_row: int = 0
    num_rows: int = 1
    partition: str = ""


_DISTINCT = {"index", "first_row"}  # one of them tells parts apart
_OF_ROWS = {"first_row", "num_rows"}
_FIELDS = [field.name for field in fields(NameFields)]
_NUMBER_FIELDS = {field.name for field in fields(NameFields) if field.type == "int"}
_NUMBER = r"[-+ ,._0-9a-fA-FxX]+"  # in any format
_FIELDS_IN_WORDS = ", ".join(f"{{{name}}}" for name in _FIELDS)
# Neighbours, where a format that drops digits gives one name twice.
_NUMBERS = sorted({0, *(10**power + more for power in range(7) for more in (0, 1))})


def template_problem(template: str, endings: Iterable[str] = ()) -> str:
    """Return what is wrong with a template of part names, and what to write; empty if nothing is.

    What it gives are names of files, of which no two are one. ``endings``: of formats beside
    Parquet.
    """
    try:
        found = [(name, spec or "") for _, name, spec, _ in Formatter().parse(template)]
    except ValueError:
        return "has a brace without its other half; write {index}, and {{ for a brace itself"
    for name, spec in found:
        if name is None:
            continue
        if name not in _FIELDS:
            return f"has the unknown field {{{name}}}; there are {_FIELDS_IN_WORDS}"
        if sum(letter.isdecimal() for letter in spec) > _MAX_WIDTH_DIGITS:
            return f"asks for more than {10**_MAX_WIDTH_DIGITS - 1} digits; write {DEFAULT_NAME}"
    if not _DISTINCT.intersection(name for name, _ in found):
        return f"gives every part one name; put {{index}} into it: {DEFAULT_NAME}"
    try:
        names = {
            part_name(template, NameFields(index=number, first_row=number)): number
            for number in _NUMBERS
        }
    except (ValueError, LookupError):
        return f"has a format that its field cannot have; write {DEFAULT_NAME}"
    if len(names) < len(_NUMBERS):
        return f"gives several parts one name; write {DEFAULT_NAME}"
    known = (*PARQUET_SUFFIXES, *endings)
    return next(filter(None, (_problem_of_name(name, known) for name in names)), "")


def counts_rows(template: str) -> bool:
    """Whether a template says something of rows."""
    return any(name in _OF_ROWS for _, name, _, _ in Formatter().parse(template))


def kind_of(name: str) -> str:
    """Return which of :data:`KINDS` a data file is by its name; empty if the name does not say."""
    lines = _COMPRESSED.sub("", name.lower())  # Parquet is compressed inside
    for kind, endings in KINDS.items():
        if (name.lower() if kind == "Parquet" else lines).endswith(endings):
            return kind
    return ""


def is_vague(name: str) -> bool:
    """Whether files of such a name are often no data."""
    return _COMPRESSED.sub("", name.lower()).endswith(VAGUE_SUFFIXES)


def is_named_by(template: str, name: str) -> bool:
    """Whether a name is one that a template gives to some part."""
    pattern = ""
    for text, field, _, _ in Formatter().parse(template):
        pattern += re.escape(text)
        if field is not None:
            pattern += _NUMBER if field in _NUMBER_FIELDS else ".*"
    return re.fullmatch(pattern, name) is not None


def part_name(template: str, said: NameFields) -> str:
    """Return the name of a part."""
    return template.format(**asdict(said))


def stem_of(path: str) -> str:
    """Return the name of a file without its ending, and without that of its compression."""
    return PurePosixPath(_COMPRESSED.sub("", path.rpartition("/")[2])).stem


def names_problem(names: Sequence[str]) -> str:
    """Return what is wrong with the names of a plan's parts; empty if nothing is."""
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        return f"gives several parts one name, {twice[0]}; put {{index}} into it"
    told = ((name, _problem_of_name(name, ("",))) for name in names)
    return next((f"gives {name!r}: that {problem}" for name, problem in told if problem), "")


def _problem_of_name(name: str, endings: tuple[str, ...]) -> str:
    if "/" in name or "\\" in name:
        return "holds a slash; parts lie in DEST itself, so leave folders to DEST"
    if not name.isprintable():
        return "holds a character that cannot be printed; take letters, digits, - and _"
    if name.startswith(("_", ".")):
        return "begins with _ or ., and readers ignore such files; begin with a letter"
    if not name.endswith(endings):
        return (
            "lacks the ending by which readers know such files; end it in .parquet, or of lines "
            "in .csv or .ndjson"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"gives names over {MAX_NAME_BYTES} bytes, which file systems refuse; shorten it"
    return ""
