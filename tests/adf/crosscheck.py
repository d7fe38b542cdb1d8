"""Compare every evaluation that the tests made with what Microsoft's assemblies make of it.

    python -m tests.adf.crosscheck RECORD PYTHON

RECORD is what ``EVENSPLIT_ADF_RECORD`` named while the tests ran, PYTHON the interpreter of the
environment that has data-factory-testing-framework. ``make adf`` does both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.adf.factory import expressions, load

# The service makes "@x" of it, by its documentation; the framework drops both signs.
ESCAPED = "@@"


def main(record: Path, python: str) -> int:
    noted = list(dict.fromkeys(record.read_text().splitlines()))
    asked = [json.loads(line) for line in noted]
    asked = [item for item in asked if not item["expression"].startswith(ESCAPED)]
    factory = load()
    there = {text for kind in ("pipeline", "dataset") for text in expressions(factory[kind])}
    never = there - {item["expression"] for item in asked}
    # Arguments of one process are few; a line each goes in, and an answer each comes out.
    script = str(Path(__file__).with_name("framework.py"))
    ended = subprocess.run(
        [python, script],
        input="\n".join(map(json.dumps, asked)),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    differ = [
        (item, answer)
        for item, answer in zip(asked, answers, strict=True)
        if answer.get("value", answer) != item["value"]
    ]
    for item, answer in differ[:20]:
        print(f"{item['expression']}\n  here:      {item['value']!r}\n  framework: {answer}")
    for text in sorted(never):
        print(f"never evaluated: {text}")
    same, texts = len(asked) - len(differ), {item["expression"] for item in asked}
    print(f"{same} of {len(asked)} evaluations of {len(texts)} expressions agree")
    return 1 if differ or never or not asked else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
