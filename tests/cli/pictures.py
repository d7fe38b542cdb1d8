"""``python -m tests.cli.pictures`` draws what a terminal shows, as SVG, for docs/terminal.md.

Commands run on a terminal of their own, with the sample of ``evensplit demo``; an emulator keeps
what stays on its screen, so a progress bar that is gone is not in the picture. Not covered: what a
command shows while it runs.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from engine.demo import make_sample
from tests.cli.texts import PREFIX, SCRATCH, SETTING_VARIABLES, SHOWN_FOLDER
from tests.engine.running import REPOSITORY

FOLDER = REPOSITORY / "docs" / "images"
SAMPLE_BYTES = 60_000_000
WIDTHS = (60, 80)
CALLS = {
    "profile": "evensplit profile sample.parquet",
    "plan": "evensplit plan sample.parquet --target-size 15MB",
    "split": "evensplit split sample.parquet parts --target-size 15MB",
    "verify": "evensplit verify parts",
}
_NUM_LINES = 200  # more than any call prints
_UNWANTED = (*SETTING_VARIABLES, "NO_COLOR", "COLUMNS", "LINES")
_COLOURS = {"default": "", "brown": "yellow"}  # the emulator's names, and rich's
# A picture asks the network for no font.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}|Fira Code, ", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def sent_by(call: str, width: int, folder: Path) -> bytes:
    """Run a call in a folder, on a terminal of a width; return all that is sent to that."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", _NUM_LINES, width, 0, 0))
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_UNWANTED)}
    words = [sys.executable, "-m", "engine.cli", *shlex.split(call)[1:]]
    environment = kept | {"TERM": "xterm", "PYTHONPATH": str(REPOSITORY)}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with subprocess.Popen(words, cwd=folder, env=environment, **streams):
        os.close(theirs)
        sent = b"".join(_received(ours))
    os.close(ours)
    return sent.replace(bytes(folder), SHOWN_FOLDER.encode())


def _received(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that nobody writes there any more
            return


def shown_by(sent: bytes, width: int) -> list[list[tuple[str, str]]]:
    """Return what stays on the screen: lines of texts with their styles."""
    screen = pyte.Screen(width, _NUM_LINES)
    pyte.ByteStream(screen).feed(sent)
    return [_line(screen, row) for row in range(screen.cursor.y)]


def _line(screen: pyte.Screen, row: int) -> list[tuple[str, str]]:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    styled = groupby(cells, lambda cell: (cell.bold, _COLOURS.get(cell.fg, cell.fg)))
    return [
        ("".join(cell.data for cell in run), f"{'bold' if is_bold else ''} {colour}".strip())
        for (is_bold, colour), run in styled
    ]


def picture_of(call: str, lines: list[list[tuple[str, str]]], width: int) -> str:
    """Return a screen below its call as SVG."""
    with Path(os.devnull).open("w") as nothing:
        console = Console(record=True, width=width, file=nothing, force_terminal=True)
        for line in [[(f"$ {call}", "bold")], *lines, []]:
            text = Text.assemble(*line)
            text.rstrip()
            console.print(text, no_wrap=True)
        return console.export_svg(title="", code_format=_FORMAT, unique_id="terminal")


def draw(folder: Path, size_bytes: int = SAMPLE_BYTES) -> None:
    """Write the picture of every call at every width into a folder."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=SCRATCH) as name:
        scratch = Path(name)
        make_sample(str(scratch / "sample.parquet"), target_bytes=size_bytes)
        for width in WIDTHS:
            for command, call in CALLS.items():
                picture = picture_of(call, shown_by(sent_by(call, width, scratch), width), width)
                (folder / f"terminal-{command}-{width}.svg").write_text(picture)
            shutil.rmtree(scratch / "parts")  # or the next split finds them


if __name__ == "__main__":
    draw(FOLDER)
