"""Keeps what the matrix compared, and prints it as a table.

``EVENSPLIT_MATRIX=FILE make test`` keeps it, ``python -m tests.matrix.table FILE`` prints it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

from tests.sources import SOURCES
from tests.witness import Verdict


def record(source: str, witness: str, verdict: Verdict) -> None:
    """Append a verdict to the file that ``EVENSPLIT_MATRIX`` names, if it does."""
    path = os.environ.get("EVENSPLIT_MATRIX")
    if path:
        line = {
            "source": source,
            "witness": witness,
            "differences": len(verdict.differences),
            "not_compared": verdict.not_compared,
        }
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def table(lines: list[str]) -> str:
    """Return the table: a row a source, a column a reader; what was not compared, below it."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    reasons: dict[str, set[str]] = defaultdict(set)
    for line in map(json.loads, lines):
        skipped = line["not_compared"]
        text = "different" if line["differences"] else "equal"
        if skipped:
            text += f" ({len(skipped)})"
            reasons[line["witness"]] |= {words[:160].replace("|", "/") for words in skipped}
        cells[line["source"]][line["witness"]] = text
    readers = sorted({witness for row in cells.values() for witness in row})
    out = [f"| source | written by | {' | '.join(readers)} |", "|---" * (len(readers) + 2) + "|"]
    for name, case in SOURCES.items():
        if name in cells:
            row = " | ".join(cells[name].get(reader, "") for reader in readers)
            out.append(f"| {name}: {case.covers} | {case.writer} | {row} |")
    out.append("\nNot compared, because the reader cannot read or filter the source itself:\n")
    for reader in sorted(reasons):
        out += [f"- {words}" for words in sorted(reasons[reader])[:12]]
        if len(reasons[reader]) > 12:
            out.append(f"- {reader}: and {len(reasons[reader]) - 12} more of the kind")
    return "\n".join(out)


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines()))
