"""Keeps what the matrix compared, and writes it as the page ``docs/readers.md``.

``make matrix`` does both: ``EVENSPLIT_MATRIX=VERDICTS`` lets the tests ask every reader of every
source and keep the verdicts, then ``python -m tests.matrix.table VERDICTS PAGE``. A page with a gap
is not written.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.sources import SOURCES
from tests.witness import Verdict, all_witnesses

READERS = [witness.name for witness in all_witnesses()]
PACKAGES = ("pyarrow", "duckdb", "polars", "datafusion", "fastparquet", "pyspark")
KEEPS_VERDICTS = os.environ.get("EVENSPLIT_MATRIX")  # the file's path
_MAX_REASON_LETTERS = 110
_MAX_NAMES = 6

_PAGE = """# Which readers read the parts

`make matrix` writes this page, from what its tests compared. Each source is split into five parts
(less if it has fewer rows), so most cuts are within row groups. Each reader reads the source, then
the parts, and says the same of both, or the test fails:

- every value of every column, in order; types; the number of rows;
- min, max and count by query, which DuckDB, DataFusion and Spark answer from statistics;
- how many rows filters find, by values beside the cuts and bounds of pages there (pyarrow, DuckDB,
  Polars, DataFusion);
- which rows filters select that skip pages by the page index, where the parts have one (DataFusion,
  Spark).

The statistics of the parts' chunks are compared with the values besides.

**equal**: in all of this. **equal in part**: in all that this reader can read of the *source*; the
notes say what it cannot. **cannot read**: nothing of the source. Spark is parquet-mr, with Spark's
vectorized reader and with the reader by rows.

{counts}

| source | written by | {readers} |
|---|---|{rules}|
{rows}

## Not compared
The reader refuses or misreads these of the source itself:

{notes}

Run with {versions}.
"""


def record(source: str, witness: str, verdict: Verdict, not_asked: Sequence[str]) -> None:
    """Append a verdict to the file that ``EVENSPLIT_MATRIX`` names, if it does."""
    if KEEPS_VERDICTS:
        line = {
            "source": source,
            "reader": witness,
            "num_compared": verdict.num_compared,
            "differences": len(verdict.differences),
            "not_compared": [*not_asked, *verdict.not_compared],
        }
        with Path(KEEPS_VERDICTS).open("a") as file:
            file.write(json.dumps(line) + "\n")


def page(lines: Iterable[str]) -> str:
    """The page of these verdicts, one a source and reader."""
    verdicts = {(v["source"], v["reader"]): v for v in map(json.loads, lines)}
    wanted = [(source, reader) for source in SOURCES for reader in READERS]
    if missing := sorted(set(wanted) - set(verdicts)):
        raise SystemExit(f"no verdict of {missing}")
    notes: dict[tuple[str, str], set[str]] = defaultdict(set)
    cells = {key: _cell(verdicts[key], notes) for key in wanted}
    rows = [_row(source, [cells[source, reader] for reader in READERS]) for source in SOURCES]
    return _PAGE.format(
        counts=_counts([cell.split(" [")[0] for cell in cells.values()]),
        readers=" | ".join(READERS),
        rules="|".join("---" for _ in READERS),
        rows="\n".join(rows),
        notes="\n".join(_note(i, *key, names) for i, (key, names) in enumerate(notes.items(), 1)),
        versions=", ".join(f"{package} {version(package)}" for package in PACKAGES),
    )


def rows_of(page: str) -> list[list[str]]:
    """The cells of the page's table: its head, then a row a source."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def first_cells(source: str) -> list[str]:
    case = SOURCES[source]
    return [f"`{case.name}`: {case.covers}", case.writer]


def _row(source: str, cells: list[str]) -> str:
    return f"| {' | '.join([*first_cells(source), *cells])} |"


def _cell(verdict: dict[str, object], notes: dict[tuple[str, str], set[str]]) -> str:
    numbers = set()
    for words in verdict["not_compared"]:
        reader, subject, reason = words.split(": ", 2)
        key = (reader, _short(reason))
        notes[key].add(re.sub(r"^(rows )?where (\S+) .*", r"filter by \2", subject))
        numbers.add(list(notes).index(key) + 1)
    if verdict["differences"]:
        text = "**different**"
    elif not verdict["num_compared"]:
        text = "cannot read"
    else:
        text = "equal in part" if numbers else "equal"
    return text + (f" [{', '.join(map(str, sorted(numbers)))}]" if numbers else "")


def _short(reason: str) -> str:
    """Without what differs from file to file and column to column, so that like reasons are one."""
    text = re.sub(r"\[[^\]]*\]", "…", reason.replace("|", "/"))
    text = re.sub(r"file:/\S+|/\S+/\S+|\b\w*\.parquet\b|(?<!\w)'[^']*'|-?\d+", "…", text)
    return text[:_MAX_REASON_LETTERS].strip(" :")


def _note(number: int, reader: str, reason: str, names: set[str]) -> str:
    some = ", ".join(f"`{name}`" for name in sorted(names)[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{number}. {reader}: {some}{more}: {reason}"


def _counts(texts: list[str]) -> str:
    kinds = ("equal", "equal in part", "cannot read", "**different**")
    found = ", ".join(f"{texts.count(kind)} {kind}" for kind in kinds)
    return f"{len(SOURCES)} sources by {len(READERS)} readers: {found}."


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1]).read_text().splitlines()))
