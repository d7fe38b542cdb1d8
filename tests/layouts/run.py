"""Make and judge files of odd layouts: ``python -m tests.layouts.run --seed 2 --most 1000``.

A file is named by the seed and its number, and is the same on every machine. One process: several
share the work by ``--begin``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.judge import Outcome, prepare
from tests.layouts.judge import CALLS, judge
from tests.layouts.make import random_file


def outcomes(folder: Path, seed: int, numbers: range) -> Iterator[tuple[int, Any, Outcome]]:
    """Yield of each file its number, how it was split, and what came of it."""
    prepare()
    for number in numbers:
        name = f"{seed}:{number}"
        call = Random(name).choice(CALLS)
        yield number, call, judge(random_file(name), name, folder / f"m{number}", call)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--begin", type=int, default=0, help="number of the first file")
    parser.add_argument("--show", action="store_true", help="print every outcome")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # readers' panics
    numbers = range(given.begin, given.begin + given.most)
    with tempfile.TemporaryDirectory() as folder:
        for number, call, outcome in outcomes(Path(folder), given.seed, numbers):
            counts[outcome.word] += 1
            if given.show or outcome.word == "fault":
                told = f"{given.seed}:{number}, {call}: {outcome.word}: {outcome.said}"
                print(told, flush=True)
    print(dict(counts))
    return 1 if counts["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
