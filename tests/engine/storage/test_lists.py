"""Lists of sources: what is no list is refused in a sentence, whatever its bytes."""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EvensplitError
from engine.storage.lists import listed

REFUSED = {
    b"": "names no source",
    b"# only\n\n": "names no source",
    b"a.parquet\n@b.txt\n": "names another list, @b.txt",
    b"\xff\xfe": "is not UTF-8",
    b"source\n": "names no source",
    b"source,destination\n,out\n": "has a row without a source",
    b"destination,source\nout\n": "has a row without a source",
    b'source\n"a"b\n': "is no CSV",
    b"source,source\na.csv,b.csv": "several columns source",
    b"source\na,b.csv\n": "a row of 2 fields .a,b.csv. below a header of 1",
}
names = st.text(min_size=1).filter(
    lambda name: name.strip() and name[0] not in "@#\ufeff" and not {"\n", "\r"} & set(name)
)


@pytest.mark.parametrize(("data", "words"), REFUSED.items())
def test_what_is_no_list_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(EvensplitError, match=words):
        listed("l.txt", data)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_list_or_refused(data: bytes) -> None:
    with suppress(EvensplitError):
        assert all(listed("l.txt", data).sources)


@given(st.lists(names, min_size=1))
def test_a_plain_list_names_its_lines(lines: list[str]) -> None:
    data = "\n".join(["#", *lines]).encode(errors="replace")
    assert listed("l.txt", data).sources == tuple(data.decode().split("\n")[1:])


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1), st.booleans())
def test_a_control_file_names_its_fields(fields: list[str], has_mark: bool) -> None:
    """Also names with line ends, which stand in quotes."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([["source"], *([field] for field in fields)])
    data = text.getvalue().encode(errors="replace")
    wanted = tuple(field.encode(errors="replace").decode() for field in fields)
    if any(it.startswith("@") for it in wanted):
        with pytest.raises(EvensplitError, match="another list"):
            listed("l.csv", data)
    else:
        assert listed("l.csv", b"\xef\xbb\xbf" * has_mark + data).sources == wanted
