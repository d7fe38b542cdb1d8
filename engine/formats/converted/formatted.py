"""Dates and times that are written by a format of strptime. Pure.

The C library's strptime reads more than a format says: the 31st of February is a day of March,
``24`` the year 24, a weekday or PM beside 24 hours is passed over. So of a value its text is made
again, and has to be what was read; leading zeros, blanks, case and short names of months aside.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow.compute as pc

_MARK = re.compile(r"(?s)%(.?)")
_READ = frozenset("YymdebBhjaAHIMSpTRrDFnt%")
_WHOLE = {"F": "Ymd", "D": "ymd", "T": "HMS", "R": "HM", "r": "IMSp"}  # what stands for several
_OF_TIME = frozenset("HIMS")
_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
_LONE_DIGIT = r"(^|[^0-9])([0-9])($|[^0-9])"


def _marks(form: str) -> set[str]:
    return {letter for mark in _MARK.findall(form) for letter in _WHOLE.get(mark, mark)}


def kind_of_format(form: str) -> str:
    """Return the type that a format is for; empty if there is no format."""
    if not form:
        return ""
    return "timestamp" if _marks(form) & _OF_TIME else "date"


def fault_of_format(form: str) -> str:
    """Return why no value can be read by a format, or only a part of one; empty if it can."""
    marks = set(_MARK.findall(form))
    if unread := sorted(marks - _READ):
        return f"has %{unread[0]}, which is not read"
    has = _marks(form)
    needed = {
        "year": has & {"Y", "y"},
        "month": has & {*"mbBhj"},
        "day": has & {*"dej"},
        "hour": has & {"H", "I"} or not has & _OF_TIME,
        "%p beside %I": "p" in has or "I" not in has,
    }
    return next((f"has no {what}" for what, is_there in needed.items() if not is_there), "")


def times_of(texts: Any, form: str) -> Any:
    """Return fields as timestamps in seconds, null where they are none of a format.

    Args:
        texts: an Arrow array of strings.
        form: a format without fault.
    """
    coded = texts.dictionary_encode()  # days are often the same
    values = coded.dictionary
    made = pc.strptime(values, form, "s", error_is_null=True)
    again = pc.strftime(made, form, locale="C")
    if not again.equals(values):
        is_same = pc.equal(_plainly(again), _plainly(values))
        made = pc.if_else(is_same, made, None)
    return made.take(coded.indices)


def _plainly(texts: Any) -> Any:
    """Return texts in which what says the same is spelled the same."""
    texts = pc.replace_substring_regex(pc.utf8_lower(texts), f"({_NAMES})[a-z]*", r"\1")
    for _ in range(2):  # of neighbours the first time takes every other
        texts = pc.replace_substring_regex(texts, _LONE_DIGIT, r"\10\2\3")
    return pc.replace_substring_regex(texts, r"\s+", "")
