"""The beginning of ``make texts``: some hundreds of each parser, in a process that it may limit."""

import os
import re
import subprocess
import sys

import pytest

from tests.fuzz.run import ROOT

TEXTS = 3300  # eleven parsers by turns


@pytest.mark.slow
def test_damaged_texts_are_taken_or_refused_in_a_line():
    words = [sys.executable, "-m", "tests.fuzz.texts", "--most", str(TEXTS), "--seconds", "inf"]
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, check=False, cwd=ROOT, env=place, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    rows = re.findall(r"^(\S+) +(\d+) +(\d+) +0$", ended.stdout, re.MULTILINE)
    assert sum(int(taken) + int(refused) for _, taken, refused in rows) == TEXTS
    # Damage is neither all harmless nor all caught; what lacks its receipt is written again, and
    # checksums find what befalls compressed text.
    assert {name for name, taken, _ in rows if not int(taken)} <= {
        f"lines.csv.{codec}" for codec in ("gz", "zst", "lz4", "bz2", "xz")
    }
    assert {name for name, _, refused in rows if not int(refused)} == {
        "receipts/00000.json",
        "run.json",
    }
