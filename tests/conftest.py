"""What holds for every test: Hypothesis has no clock; what was left out is said at the end."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No test asks this machine, its metadata address or the user's command lines who they are: without
# a word the chain of identities would. Commands that tests start inherit it.
os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"

# The same examples on every machine and in every run, and no example has a deadline: a machine that
# is busy with other work is no defect. What must be fast is counted (tests/counting.py).
settings.register_profile("evensplit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("evensplit")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests wanted the folder beside this checkout and did not have it."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report for report in skipped if "shared" in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(
            f"left out: {len(left_out)} tests of files in ../shared, which is not there",
            yellow=True,
        )
