"""A block of text is read as Python's csv module reads each of its records, or told not to fit."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.formats.converted.records import Reader
from engine.formats.converted.sifting import sifted
from engine.formats.lines.scan import FRESH, TextBehindQuote, marks_of, plain, record_ends
from engine.model import Conversion, Dialect

marks = st.sampled_from(["\n", "\r\n", "\r", ",", '"', '""', "\\", " ", "\ufeff", "é", "\0", "a"])
runs = st.sampled_from([",a\n", '"a,"', "a,b\n", '"\n"'])
texts = st.lists(marks | runs, min_size=1).map("".join)


def fields_of(record: str, dialect: Dialect) -> list[list[str]]:
    """Rows that the csv module makes of a record; it takes no NUL."""
    rows = csv.reader(
        io.StringIO(record.replace("\0", "N"), newline=""),
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
    )
    return [row or [""] for row in rows]


@settings(max_examples=600, deadline=None)
@given(texts, st.sampled_from(['"', ""]), st.sampled_from(["", "\\"]), st.integers(1, 3))
def test_any_text_is_read_as_it_is_or_does_not_fit(text: str, quote: str, escape: str, width: int):
    dialect = Dialect("csv", ",", quote, escape)
    data = (text + "\n").encode()
    known = marks_of(dialect)
    try:
        found = record_ends(plain(data, b"", known), FRESH, b"", known)
    except TextBehindQuote:
        found = None
    assume(found is not None and not known.is_open(found.state))  # the index refuses it
    assert found is not None
    ends = found.ends.tolist()
    ends += [len(data)] * (ends[-1:] != [len(data)])
    records = [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
    names = [f"c{number}" for number in range(width)]
    reader = Reader(dialect, Conversion(json.dumps(dict.fromkeys(names, "varchar"))))
    table, _, found_bad = sifted(reader, data, len(records))
    bad = list(found_bad)
    wrong = {one.offset for one in bad}
    starts = dict(zip([0, *ends], records, strict=False))
    assert all(one.reason and one.length == len(starts[one.offset].encode()) for one in bad)
    wanted = [fields_of(record, dialect) for start, record in starts.items() if start not in wrong]
    rows = [[value or "" for value in row.values()] for row in table.to_pylist()]
    assert [[[value.replace("\0", "N") for value in row]] for row in rows] == wanted
    for start in wrong:
        assert (
            [len(row) for row in fields_of(starts[start], dialect)] != [width]
            or not starts[start].strip("\r\n")
            or (escape and "\\a" in starts[start])  # nobody knows what that is
        )
