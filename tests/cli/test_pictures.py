"""Pictures of the terminal are what the terminal shows, and docs/terminal.md shows them all."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.pictures import CALLS, FOLDER, WIDTHS, draw, picture_of, sent_by, shown_by
from tests.engine.running import REPOSITORY

NAMES = {f"terminal-{command}-{width}.svg" for command in CALLS for width in WIDTHS}
SVG = "{http://www.w3.org/2000/svg}"


def lines_of(picture: str) -> list[str]:
    """Return what a picture has to read, by its lines."""
    lines: dict[float, str] = {}
    for text in ET.fromstring(picture).iter(f"{SVG}text"):
        place = float(text.attrib["y"])
        lines[place] = lines.get(place, "") + (text.text or "").rstrip("\n")
    return [lines[place].replace("\xa0", " ").rstrip() for place in sorted(lines)]


@pytest.mark.slow
def test_a_picture_of_every_call_at_every_width(tmp_path: Path):
    draw(tmp_path, size_bytes=2_000_000)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for name in NAMES:
        picture = (tmp_path / name).read_text()
        lines = lines_of(picture)
        width = int(name[-6:-4])
        assert lines[0].startswith("$ evensplit ")
        assert len(lines) > 2, "a command says something"
        assert max(map(len, lines)) <= width
        assert "/home/user/the-data" in picture or "verify" in name
        assert not re.search(r"━|planning|Traceback", picture), "what is gone is not shown"
        assert not re.search(r"url\((?!#)|href|@import", picture), "asks the network"


def test_what_is_drawn_is_what_was_sent(tmp_path: Path):
    call = "evensplit plan '[red]<x>&.parquet'"
    lines = shown_by(sent_by(call, 60, tmp_path), 60)
    sent = ["".join(text for text, _ in line).rstrip() for line in lines]
    assert "call.no-source" in sent[0]
    assert "[red]<x>&.parquet" in "".join(sent)
    assert lines_of(picture_of(call, lines, 60))[: len(sent) + 1] == [f"$ {call}", *sent]


def test_docs_show_every_picture():
    shown = (REPOSITORY / "docs" / "terminal.md").read_text()
    assert set(re.findall(r"\(images/([\w.-]+)\)", shown)) == NAMES
    assert {path.name for path in FOLDER.glob("terminal-*.svg")} == NAMES
