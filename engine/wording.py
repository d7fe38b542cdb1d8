"""Figures as people read them: sizes, shares, ratios, counts; and text that is data. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

_UNCOUNTED = "rows not counted"
_MOST_CHOICES = 8  # a longer list is not read


def amount(num_bytes: float) -> str:
    """Return bytes in decimal units, as in ``--target-size 100MB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def amounts(least_bytes: float, most_bytes: float) -> str:
    """Return from where to where sizes go; one size where both read alike."""
    least, most = amount(least_bytes), amount(most_bytes)
    return least if least == most else f"{least} to {most}"


def memory_amount(num_bytes: float) -> str:
    """Return bytes in binary units, as memory is counted: ``1.50 GiB``."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("kiB", 1 << 10)):
        if num_bytes >= 0.9 * factor:
            return f"{num_bytes / factor:.2f} {unit}"
    return f"{num_bytes:.0f} B"


def percent(share: float) -> str:
    """Return a share in percent, to a tenth; nothing and all are said only where they are exact."""
    if share in {0, 1}:
        return f"{share:.0%}"
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def percent_apart(spread: float) -> str:
    """Return how far parts differ, which is mostly below a percent."""
    return f"{spread:.2%}"


def times(factor: float) -> str:
    """Return how many times: ``1,000``, ``12`` or ``2.5``."""
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.1f}"


def count(number: int) -> str:
    """Return a number of rows or values, large ones rounded: ``60 M``."""
    for unit, factor in ((" G", 10**9), (" M", 10**6)):
        if number >= 10 * factor:
            return f"{number / factor:.0f}{unit}"
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 part``, ``1,000 parts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rows_of(number: int | None) -> str:
    """Return how many rows there are: ``1,000 rows``, or that nobody counted them."""
    return _UNCOUNTED if number is None else counted(number, "row")


def sum_or_none(numbers: Iterable[int | None]) -> int | None:
    """Return a sum; None if any of its terms is not known."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None


def count_or_none(number: int | None) -> str:
    """Return a number of rows for a cell of a table; ``-`` where they are not counted."""
    return "-" if number is None else f"{number:,}"


def choice_hint(word: str, known: Collection[str]) -> str:
    """Return what to say to who wrote a word that is none of a few: the nearest, or all."""
    near = difflib.get_close_matches(word.lower(), known, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose one of {', '.join(known)}" if len(known) <= _MOST_CHOICES else "see --help"


def is_name(text: str) -> bool:
    """Whether a text may name a column: not with NUL, where readers end it, or half characters."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def shown(text: str) -> str:
    r"""Return names, values and messages as they may be printed: one line, and nothing but letters.

    They come from files and stores, so they may hold anything. What a terminal would obey or hide
    (control characters, escapes, marks that turn the direction of writing, halves of characters)
    is written as Python escapes it: ``\n``, ``\x1b``, ``\u202e``. For JSON nothing is changed.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
