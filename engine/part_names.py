"""How data files are named: the endings that readers know, and the template of parts' names.

A template is checked before any work: what it gives for all numbers must be names that differ, that
file systems and stores take, and that readers of a folder do not pass over.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
JSON_SUFFIXES = (".ndjson", ".jsonl", ".json")
LINE_SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt", *JSON_SUFFIXES)
DEFAULT_NAME = "part-{index:05d}.parquet"
# 255 is Linux's limit; a part that grows has `.` in front and `.TOKEN.tmp` behind its name.
MAX_NAME_BYTES = 255 - len("..12345678.tmp")
_MAX_WIDTH_DIGITS = 3
# Neighbours, where a format that drops digits gives one name twice.
_NUMBERS = sorted({0, *(10**power + more for power in range(7) for more in (0, 1))})


def template_problem(template: str, endings: Iterable[str] = ()) -> str:
    """Return what is wrong with a template of part names, and what to write; empty if nothing is.

    What it gives are names of files, of which no two are one. ``endings``: of formats beside
    Parquet.
    """
    try:
        fields = [(name, spec or "") for _, name, spec, _ in Formatter().parse(template)]
    except ValueError:
        return "has a brace without its other half; write {index}, and {{ for a brace itself"
    for name, spec in fields:
        if name is None:
            continue
        if name != "index":
            return f"has the unknown field {{{name}}}; the only one is {{index}}: {DEFAULT_NAME}"
        if sum(letter.isdecimal() for letter in spec) > _MAX_WIDTH_DIGITS:
            return f"asks for more than {10**_MAX_WIDTH_DIGITS - 1} digits; write {DEFAULT_NAME}"
    if not any(name for name, _ in fields):
        return f"gives every part one name; put {{index}} into it: {DEFAULT_NAME}"
    try:
        names = {template.format(index=number): number for number in _NUMBERS}
    except (ValueError, LookupError):
        return f"has a format that no whole number has; write {DEFAULT_NAME}"
    if len(names) < len(_NUMBERS):
        return f"gives several parts one name; write {DEFAULT_NAME}"
    known = (*PARQUET_SUFFIXES, *endings)
    return next(filter(None, (_problem_of_name(name, known) for name in names)), "")


def _problem_of_name(name: str, endings: tuple[str, ...]) -> str:
    if "/" in name or "\\" in name:
        return "holds a slash; parts lie in DEST itself, so leave folders to DEST"
    if not name.isprintable():
        return "holds a character that cannot be printed; take letters, digits, - and _"
    if name.startswith(("_", ".")):
        return "begins with _ or ., and readers ignore such files; begin with a letter"
    if not name.endswith(endings):
        return "lacks the ending by which readers know such files; end it in .parquet"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"gives names over {MAX_NAME_BYTES} bytes, which file systems refuse; shorten it"
    return ""
