"""What stands behind an escape: null where that is said, else plain, or told that nobody knows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadRow
from engine.formats.converted.escapes import unclear, with_nulls
from engine.formats.lines.scan import marks_of
from engine.model import Dialect

NULLS = ("\\N", "NULL", "\\-")
values = st.one_of(
    st.sampled_from([None, "N", "\\N", "NULL", ",\\N,", '"', "a,\n\\N\n", "\\", "\x1a", "", "-"]),
    st.text('\\N,"\n x\x1a', max_size=5),
)


def mysql(rows: list[list[str | None]], *, quoted: bool) -> bytes:
    """Records as SELECT INTO OUTFILE writes them; fields are quoted or not."""
    hidden = '\\"' if quoted else "\\,\n"
    fields = [
        [
            "\\N"
            if value is None
            else '"'[: int(quoted)]
            + "".join("\\" * (letter in hidden) + letter for letter in value)
            + '"'[: int(quoted)]
            for value in row
        ]
        for row in rows
    ]
    return b"".join(",".join(row).encode() + b"\n" for row in fields)


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(values, min_size=2, max_size=2), min_size=1, max_size=6),
    quoted=st.booleans(),
)
def test_null_is_told_from_every_text(rows: list[list[str | None]], *, quoted: bool) -> None:
    quote = '"' if quoted else ""
    marks = marks_of(Dialect("csv", ",", quote, "\\"))
    text = mysql(rows, quoted=quoted)
    made, nulls = with_nulls(text, marks, NULLS)
    assert all("\\" not in null for null in nulls)
    assert not unclear(made, b"\\")
    reader = csv.reader(
        io.StringIO(made.decode(), newline=""),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        escapechar="\\",
        doublequote=False,
        strict=True,
    )
    mark = next((null for null in nulls if null != "NULL"), None)
    found = [[None if field == mark else field for field in row] for row in reader]
    assert found == rows


def split(tmp_path: Path, data: bytes, **options: Any) -> list[dict[str, Any]]:
    (tmp_path / "a.csv").write_bytes(data)
    how = {"to": "parquet", "header": "no", "escape": "\\", "parts": 1, "verify": True, **options}
    engine.split(tmp_path / "a.csv", tmp_path / "out", **how)
    return pq.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()


def test_a_dump_of_mysql(tmp_path: Path) -> None:
    rows: list[list[str | None]] = [["1", 'a "b", c'], [None, "\\N"], ["3", None], ["4", "N"]]
    data = mysql(rows, quoted=True)
    found = split(tmp_path, data, nulls="\\N", schema="id bigint, note varchar")
    assert [[row["id"], row["note"]] for row in found] == [
        [None if number is None else int(number), note] for number, note in rows
    ]


@pytest.mark.parametrize("options", [{}, {"nulls": "\\N"}])
@pytest.mark.parametrize("field", [b"a\\tb", b"\\\\\\n", b"\\\\\\\\\\0", b'"c:\\dir"', b"\\Nx"])
def test_what_readers_differ_in_is_no_row(
    tmp_path: Path, field: bytes, options: dict[str, Any]
) -> None:
    data = b"1,x\n2,%b\n3,\\\\t\n" % field
    with pytest.raises(BadRow, match=r"line 2: readers differ in what \\[tn0dN] is: say --nulls"):
        split(tmp_path, data, **options)
    assert not (tmp_path / "out").exists()
    found = split(tmp_path, data, bad_rows="file", **options)
    assert [row["column1"] for row in found] == ["x", "\\t"]
    assert field.replace(b'"', b'""') in (tmp_path / "out/_evensplit/bad-rows.csv").read_bytes()


def test_a_text_that_is_spelled_as_null(tmp_path: Path) -> None:
    found = split(tmp_path, b"1,\\\\N\n2,x\n", nulls="\\N")
    assert [row["column1"] for row in found] == ["\\N", "x"]


def test_null_that_is_not_said_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=r"say --nulls '\\N' if it is null"):
        split(tmp_path, b"1,x\n2,\\N\n")
