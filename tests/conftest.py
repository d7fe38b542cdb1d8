"""What holds for every test: Hypothesis has no clock; what was left out is said at the end."""

from __future__ import annotations

import os
import signal
from collections import defaultdict

import pytest
from hypothesis import settings

from tests.covering import IS_WHOLE, left_out

# No test asks this machine, its metadata address or the user's command lines who they are: without
# a word the chain of identities would. Commands that tests start inherit it.
os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"

# A shell starts what runs in the background with Ctrl-C ignored, and commands that tests stop by it
# would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine and in every run, and no example has a deadline: a machine that
# is busy with other work is no defect. What must be fast is counted (tests/counting.py).
settings.register_profile(
    "evensplit",
    deadline=None,
    derandomize=True,
    print_blob=True,
    max_examples=200 if IS_WHOLE else 60,
)
settings.load_profile("evensplit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is left to ``make ways``, most cases of tests that have very many; Spark first.

    Workers of a run begin with tests in a row: so one of them has all that ask Spark, and one Java
    machine is started instead of one a worker.
    """
    items.sort(key=lambda item: not _may_ask_spark(item.nodeid))
    every: dict[tuple[str, str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        for marker in item.iter_markers("ways"):
            name = getattr(item, "originalname", item.name)
            every[str(item.path), name, *marker.args].append(item)
    for (*_, few), cases in every.items():
        for item in left_out(cases, few):
            item.add_marker(pytest.mark.skip(reason="left to `make ways`"))


def _may_ask_spark(name: str) -> bool:
    return "spark" in name or "tests/matrix/" in name or "tests/witness/" in name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests wanted the folder beside this checkout and did not have it."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report for report in skipped if "shared" in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(
            f"left out: {len(left_out)} tests of files in ../shared, which is not there",
            yellow=True,
        )
