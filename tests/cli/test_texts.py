"""What commands print, to good calls and to wrong ones, is what somebody has read and approved."""

from __future__ import annotations

import re

import pytest

from tests.cli.texts import FOLDER, groups, text_of


@pytest.mark.parametrize("group", groups())
def test_commands_print_what_was_approved(group: str):
    approved = (FOLDER / f"{group}.txt").read_text()
    assert text_of(group) == approved, "read it, then: python -m tests.cli.approve"


def test_one_has_no_plural():
    nouns = (
        "bytes|columns|files|jobs|nodes|pages|partitions|parts|row groups|rows|slots|tasks|values"
    )
    for group in groups():
        text = (FOLDER / f"{group}.txt").read_text()
        assert not re.findall(rf".*(?<![\d,.])1 (?:{nouns})\b.*", text)


def test_no_text_is_left_without_calls():
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == groups()
