"""The beginning of ``make fuzz``: a minute of it, counted in mutants.

It runs in a process of its own: it forks, and threads of this one would be lost in the forks.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.fuzz.run import ROOT

MUTANTS = 600


@pytest.mark.slow
def test_damaged_files_are_refused_in_a_line_or_read_as_before():
    words = [sys.executable, "-m", "tests.fuzz.run", "--seed", "1", "--most", str(MUTANTS)]
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, check=False, cwd=ROOT, env=place, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    mutants, refused, equal, unread, faults = map(int, re.findall(r"\d+", ended.stdout))
    assert mutants == refused + equal + unread == MUTANTS
    assert not faults
    # Not all are caught by the first check, nor are all harmless.
    assert refused > MUTANTS / 5
    assert equal > MUTANTS / 5
