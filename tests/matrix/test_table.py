"""The page in the docs is of the sources and readers that the matrix has today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.matrix.table import READERS, first_cells, page, rows_of
from tests.sources import SOURCES

PAGE = Path(__file__).parents[2] / "docs" / "readers.md"


def _lines(**changed: object) -> list[str]:
    verdict = {"num_compared": 3, "differences": 0, "not_compared": [], **changed}
    return [
        json.dumps({"source": source, "reader": reader, **verdict})
        for source in SOURCES
        for reader in READERS
    ]


def test_page_lists_what_the_tests_know():
    head, *rows = rows_of(PAGE.read_text())
    assert head == ["source", "written by", *READERS], "run `make matrix`"
    assert [row[:2] for row in rows] == [first_cells(s) for s in SOURCES], "run `make matrix`"


def test_page_knows_no_difference():
    cells = [cell for row in rows_of(PAGE.read_text())[1:] for cell in row[2:]]
    kinds = {cell.split(" [")[0] for cell in cells}
    assert kinds <= {"equal", "equal in part", "cannot read"}


def test_equal_cells():
    assert {cell for row in rows_of(page(_lines()))[1:] for cell in row[2:]} == {"equal"}


def test_a_difference_is_shown():
    text = page(_lines(differences=1))
    assert {cell for row in rows_of(text)[1:] for cell in row[2:]} == {"**different**"}


def test_reasons_are_grouped_into_notes():
    refused = [f"duckdb: {name}: Error: byte {i} of file" for i, name in enumerate("abcdefgh")]
    text = page(_lines(not_compared=[*refused, "duckdb: where a = 3: No"]))
    assert rows_of(text)[1][2] == "equal in part [1, 2]"
    assert "1. duckdb: `a`, `b`, `c`, `d`, `e`, `f` and 2 more: Error: byte … of file" in text
    assert "2. duckdb: `filter by a`: No" in text


def test_nothing_read_is_told():
    text = page(_lines(num_compared=0, not_compared=["polars: a: No"]))
    assert rows_of(text)[1][2] == "cannot read [1]"


def test_a_page_with_a_gap_is_not_written():
    with pytest.raises(SystemExit, match="no verdict of"):
        page(_lines()[:-1])
