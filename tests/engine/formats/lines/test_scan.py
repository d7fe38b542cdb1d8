"""Ends of records: by every way, in every piece, as the csv module reads them."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.formats.lines.scan import (
    FRESH,
    LOOKBACK_BYTES,
    Look,
    Marks,
    TextBehindQuote,
    plain,
    record_ends,
    walk,
)

COMMA = Marks(b",", b'"', b"")
ESCAPED = Marks(b",", b'"', b"\\")


def ends_in_pieces(data: bytes, cuts: list[int], marks: Marks, step=record_ends) -> list[int]:
    """The ends of a file's records, looked at in pieces."""
    bounds = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    state, found = FRESH, []
    for start, stop in pairwise(bounds):
        before = data[max(0, start - LOOKBACK_BYTES) : start]
        piece = plain(data[start : stop + 1], before, marks)
        piece, after = piece[: stop - start], piece[stop - start :]
        ends, state, _ = step(piece, state, after, marks)
        found += (ends + start).tolist()
    return found


def records_of(data: bytes, **how) -> list[list[str]]:
    """Read by the csv module; lone carriage returns are left out by the callers."""
    return list(csv.reader(io.StringIO(data.decode(), newline=""), **how))


def ends_by_csv(data: bytes, **how) -> list[int]:
    """A record ends at a line feed if the file up to there, and all behind, read as all of it."""
    whole = records_of(data, **how)
    feeds = [at + 1 for at, byte in enumerate(data) if byte == 10]
    return [
        at for at in feeds if records_of(data[:at], **how) + records_of(data[at:], **how) == whole
    ]


cells = st.text(alphabet='ab",\n é\\', max_size=6)
rows = st.lists(st.lists(cells, min_size=2, max_size=3), min_size=1, max_size=8)
pieces = st.lists(st.integers(0, 200), max_size=5)


@given(rows, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_ends_are_where_the_writer_ended_records(rows, line_end, quoting):
    out, expected = io.StringIO(newline=""), []
    writer = csv.writer(out, lineterminator=line_end, quoting=quoting)
    for row in rows:
        writer.writerow(row)
        expected.append(len(out.getvalue().encode()))
    data = out.getvalue().encode()
    assert ends_in_pieces(data, [], COMMA) == expected


@given(st.text(alphabet='ab",\n', max_size=40), pieces)
def test_any_text_is_read_as_the_csv_module_does_or_refused(text, cuts):
    data = text.encode()
    try:
        found = ends_in_pieces(data, cuts, COMMA)
    except TextBehindQuote:
        return
    assume(ends_in_pieces(data + b"\n", [], COMMA)[len(found) :] == [len(data) + 1])  # no open one
    readable = [at for at in ends_by_csv(data) if at in found]
    assert readable == found


@given(st.text(alphabet='ab",\n', max_size=40), pieces)
def test_pieces_and_ways_do_not_matter(text, cuts):
    data = text.encode()
    outcomes = []
    for bounds, step in [([], record_ends), (cuts, record_ends), ([], walk), (cuts, walk)]:
        try:
            outcomes.append(ends_in_pieces(data, bounds, COMMA, step))
        except TextBehindQuote:
            outcomes.append(None)
    assert all(outcome == outcomes[0] for outcome in outcomes)


@given(rows, pieces)
def test_escapes_hide_quotes_and_ends(rows, cuts):
    out, expected = io.StringIO(newline=""), []
    writer = csv.writer(out, lineterminator="\n", escapechar="\\", doublequote=False)
    for row in rows:
        writer.writerow(row)
        expected.append(len(out.getvalue().encode()))
    data = out.getvalue().encode()
    assert ends_in_pieces(data, cuts, ESCAPED) == expected


@given(st.text(alphabet='a",\n', min_size=1, max_size=40))
def test_both_states_are_looked_at_at_once(text):
    look = Look(text.encode(), b"\n", COMMA)
    if look.verdict.opened and look.verdict.closed:
        both = np.concatenate([look.ends(is_open=True), look.ends(is_open=False)])
        assert sorted(both) == [at + 1 for at, letter in enumerate(text) if letter == "\n"]


def test_inches_are_plain_text():
    data = b'id,size\n1,5" pipe\n2,"a\nb"\n3,7"\n'
    assert ends_in_pieces(data, [], COMMA) == [8, 18, 26, 31]


def test_without_quotes_every_line_feed_ends_a_record():
    assert ends_in_pieces(b'a,"b\nc"\n', [], Marks(b",", b"", b"")) == [5, 8]


@pytest.mark.parametrize(
    ("data", "opened", "position"), [(b'1,"a\n2,"b"\n', 2, 8), (b'"a" ,b\n', 0, 3)]
)
def test_text_behind_a_closing_quote_is_refused(data, opened, position):
    with pytest.raises(TextBehindQuote) as caught:
        record_ends(data, FRESH, b"", COMMA)
    assert (caught.value.opened, caught.value.position) == (opened, position)


def test_an_open_quote_is_told():
    assert record_ends(b'a\n"b\n', FRESH, b"", COMMA)[1:] == (b'"', 2)
