"""Values of hive partitions as columns: what their folders' names say, and of which type they are.

A type is taken only if every value's text is the one that the type would be written as: so ``01``
or ``+1`` make a column of texts, and no value loses anything. Of all files together one of int32,
int64, date (``2024-01-31``) and string is taken, the first that has room for all; or the type that
a table's log has. A type that the user gives takes every spelling of its values (``01`` as an
int32): what it cannot hold is refused.

Sources: Hive's language manual ("Partitioned Tables"), ``HIVE_DEFAULT_PARTITION`` and
``FileUtils.escapePathName`` of Hive (``%`` and two digits). Pure.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal
from urllib.parse import unquote_to_bytes

from engine.errors import BadSetting, NotPlainFolder
from engine.model import Constant
from engine.wording import choice_hint, shown

NULL = "__HIVE_DEFAULT_PARTITION__"
Kind = Literal["int32", "int64", "date", "string"]
# Types as users write them.
WORDS: Mapping[str, Kind] = {
    "integer": "int32",
    "bigint": "int64",
    "date": "date",
    "varchar": "string",
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")


def _integer(bits: int) -> Callable[[str], bool]:
    limit = 1 << (bits - 1)

    def fits(text: str) -> bool:
        digits = text.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= bits
        return is_number and str(int(text)) == text and -limit <= int(text) < limit

    return fits


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_KINDS: Mapping[Kind, Callable[[str], bool]] = {
    "int32": _integer(32),
    "int64": _integer(64),
    "date": _is_date,
    "string": lambda _: True,
}


def constants_of(
    partitions: Sequence[str],
    known: Mapping[str, Kind] = MappingProxyType({}),
    given: Mapping[str, Kind] = MappingProxyType({}),
) -> list[tuple[Constant, ...]]:
    """Return the columns that each file gets.

    Args:
        partitions: of each file the folders, ``year=2024/month=01``, of the same columns in the
            same order; empty where all are in the files.
        known: types of columns, by name, which are taken instead of those that texts have.
        given: the same, by the user.

    Raises:
        NotPlainFolder: a name is no text once it is decoded, or two columns have one name.
        BadSetting: a type is given to what is no column, to one whose type is known, or to one of
            which it cannot hold a value.
    """
    if not partitions:
        return []
    every = [
        [pair_of(folder) for folder in partition.split("/") if folder] for partition in partitions
    ]
    names = [name for name, _ in every[0]]
    if len({name.casefold() for name in names}) < len(names):
        raise NotPlainFolder(
            f"the folders {partitions[0]} name a column twice (but for case), and no table has two "
            "of one name: rename one of them, or leave --flatten out"
        )
    _check_given(names, known, given)
    columns = zip(names, zip(*every, strict=True), strict=True)
    kinds = [
        given.get(name) or known.get(name) or _kind(value for _, value in column)
        for name, column in columns
    ]
    return [
        tuple(
            Constant(name, kind, _written(name, kind, value, folders) if name in given else value)
            for (name, value), kind in zip(pairs, kinds, strict=True)
        )
        for pairs, folders in zip(every, partitions, strict=True)
    ]


def _check_given(
    names: Sequence[str], known: Mapping[str, Kind], given: Mapping[str, Kind]
) -> None:
    for name, kind in given.items():
        if name not in names:
            raise BadSetting(
                f"--partition-types names {shown(name)}, which no folder does; "
                f"{choice_hint(name, names)}"
            )
        if known.get(name, kind) != kind:
            raise BadSetting(
                f"--partition-types says that {shown(name)} is {_word(kind)}, and the table's log "
                f"that it is {_word(known[name])}: leave it out"
            )


def _written(name: str, kind: Kind, text: str | None, folders: str) -> str | None:
    """Return the one text of a value of a type; of null None."""
    if text is None:
        return None
    if kind in ("int32", "int64") and _NUMBER.fullmatch(text):
        text = str(int(text))
    if not _KINDS[kind](text):
        raise BadSetting(
            f"--partition-types says that {shown(name)} is {_word(kind)}, which the folder "
            f"{shown(folders)} is not: its value is {text!r}; give another type (varchar is any "
            "text), or rename the folder"
        )
    return text


def _word(kind: Kind) -> str:
    return next(word for word, it in WORDS.items() if it == kind)


def pair_of(folder: str) -> tuple[str, str | None]:
    """Return the column and the value that a folder's name says; raises NotPlainFolder.

    Null is None.
    """
    name, _, value = folder.partition("=")
    return _decoded(name, folder), None if value == NULL else _decoded(value, folder)


def _decoded(text: str, folder: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise NotPlainFolder(
            f"the folder {folder!r} stands for bytes that are no text (UTF-8), so that its value "
            "cannot be a column: rename it, or leave --flatten out"
        ) from error


def _kind(values: Iterable[str | None]) -> Kind:
    """Return the first type that has room for all values that are not null."""
    texts = {value for value in values if value is not None}
    if not texts:
        return "string"
    return next(kind for kind, fits in _KINDS.items() if all(map(fits, texts)))
