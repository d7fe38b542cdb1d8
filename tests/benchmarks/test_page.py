"""The page of measurements: written from records, and the README's table is one of its tables."""

from pathlib import Path

from benchmarks.page import PAGE, README, SECTIONS, better, page, table_of, with_table
from benchmarks.record import Record

ROOT = Path(__file__).parents[2]


def _row(tool: str, wall_seconds: float | None) -> dict[str, str | float | None]:
    return {"file": "a", "tool": tool, "wall s": wall_seconds, "CPU s": 2.0, "peak MB": 100_000_000}


def test_the_table_of_the_readme_is_in_the_page():
    table = table_of((ROOT / README).read_text())
    assert table.count("\n") > 20
    assert table in (ROOT / PAGE).read_text()


def test_a_table_replaces_the_one_between_the_marks():
    readme = (ROOT / README).read_text()
    changed = with_table(readme, "| a |")
    assert table_of(changed) == "| a |"
    assert with_table(changed, table_of(readme)) == readme


def test_the_page_says_what_was_better():
    rows = [_row("cp", 0.1), _row("evensplit", 2.0), _row("DuckDB", 1.0), _row("Spark", None)]
    assert list(better([*rows, _row("Polars", 3.0)])) == [
        {"job": "a", "tool": "DuckDB", "wall ratio": 0.5, "CPU ratio": 1, "peak ratio": 1}
    ]


def test_every_section_has_its_words_command_and_table():
    rows = [_row("evensplit", 1.0), _row("DuckDB", 2.0)]
    records = {name: Record(name, 10, 5, rows, load=3.0) for name in SECTIONS}
    text = page(records)
    for name, title in SECTIONS.items():
        assert f"## {title}\n" in text
        assert f"`python -m benchmarks {name} --scale 10 --repeats 5`" in text
    assert text.count("| a | DuckDB | 2.00 | 2.00 | 100.0 |") == len(SECTIONS)
    assert "The machine was busy" in text
    assert "None." in text
