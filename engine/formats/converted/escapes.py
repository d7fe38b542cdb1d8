r"""What escape characters stand before in delimited text: null, or what readers differ in. Pure.

MySQL and PostgreSQL write null as an escape and a letter (``\N``); a reader that takes the letter
for plain makes a text of it. So such fields are found in the text as it lies. Of any other letter
or digit behind an escape nobody can tell what it is: ``\t`` is a tab for these two, ``t`` for
Python's csv module, pandas and Arrow, and both characters for Spark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from engine.formats.lines.scan import Marks, plain

_NULL = b"\x1a"  # as often as it takes to be nowhere in a text


def with_nulls(text: bytes, marks: Marks, nulls: Sequence[str]) -> tuple[bytes, list[str]]:
    """Return a text, and what stands for null in it, of which nothing has an escape in it.

    Args:
        text: whole records.
        marks: of their dialect, which has an escape.
        nulls: what stands for null.
    """
    escaped = [null.encode() for null in nulls if marks.escape.decode() in null]
    others = [null for null in nulls if null.encode() not in escaped]
    if not any(null in text for null in escaped):
        return text, others
    mark = _NULL
    while mark in text:
        mark += _NULL
    seen = plain(text, b"", marks)
    beside = b"[^%b\r\n]" % re.escape(marks.delimiter)
    forms = b"|".join(re.escape(plain(null, b"", marks)) for null in escaped)
    fields = re.compile(b"(?<!%b)(?:%b)(?!%b)" % (beside, forms, beside))
    spans = [it.span() for it in marks.quoted_field.finditer(seen)] if marks.quote else []
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    made, position = [], 0
    for found in fields.finditer(seen):
        start, stop = found.span()
        at = int(np.searchsorted(starts, start, side="right")) - 1
        is_quoted = at >= 0 and start < spans[at][1]
        if text[start:stop] in escaped and not is_quoted:
            made += [text[position:start], mark]
            position = stop
    return b"".join([*made, text[position:]]), [*others, mark.decode()]


def unclear(text: bytes, escape: bytes) -> bytes:
    """Return the first escape before a letter or digit, with that; empty if there is none."""
    letter = b"[0-9A-Za-z]"
    if not re.search(re.escape(escape) + letter, text):
        return b""
    pairs = re.compile(b"(?s)%b(?:(%b)|.)" % (re.escape(escape), letter))
    return next((it[0] for it in pairs.finditer(text) if it[1]), b"")
