"""Pages of ``docs/`` that promise to be complete are."""

from __future__ import annotations

import re
from pathlib import Path

import batchjobs.errors  # noqa: F401 - registers its kinds
from engine.errors import register

ROOT = Path(__file__).parents[1]


def test_troubleshooting_has_an_entry_for_each_kind_below_its_exit_code():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    told = {
        kind: int(code)
        for code, section in re.findall(
            r"^## Exit (\d+).*?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
        )
        for kind in re.findall(r"^### (\S+)$", section, re.MULTILINE)
    }
    assert told == {kind: error.exit_code for kind, error in register().items()}


def test_every_test_that_a_page_names_is_there():
    named = {
        (page.name, *found)
        for page in (ROOT / "docs").glob("*.md")
        for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())
    }
    assert any(page == "security.md" for page, _, _ in named)
    for page, path, test in sorted(named):
        assert f"def {test}(" in (ROOT / path).read_text(), (page, path, test)
