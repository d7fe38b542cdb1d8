"""Calls with all that they print, as text that people read and approve.

``GROUP.calls`` becomes ``GROUP.txt``: a command after ``$``, its standard output at 80 columns, its
standard error with ``!`` in front, its exit code if it is not 0. ``cp`` and ``rm`` damage what the
next call finds. What differs from run to run (times, memory, ids, the folder) is replaced.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from engine.cli import progress
from engine.cli.main import main
from engine.cli.terminal import wrapped
from tests.cli.world import make_world

FOLDER = Path(__file__).parent
WIDTH = 80
_A_DAY = 86_400.0  # lines of progress come where a machine is busy
# Of one length, so that lines break at the same words wherever the calls are run.
SCRATCH, PREFIX, SHOWN_FOLDER = "/tmp", "calls-", "/home/user/the-data"
_DAMAGES: Mapping[str, Callable[..., object]] = {"cp": shutil.copyfile, "rm": os.remove}
SETTING_VARIABLES = ("EVENSPLIT_", "AZURE_", "XDG_", "FORCE_COLOR")
_VOLATILE = (
    (r"\d+\.\d+ s\b", "0.0 s"),
    (r"\d[\d.]* [kMG]?B/s", "0.0 MB/s"),
    (r"\d+\.\d\d MiB for the run", "0.00 MiB for the run"),
    (r"budget \d+\.\d\d [MG]iB \((available|cgroup)[^)]*\)", "budget 0.00 GiB (available memory)"),
    (r"peak memory \d+\.\d\d [MG]iB", "peak memory 0.00 MiB"),
    (r"needs about [\d.]+ [kMG]iB", "needs about 0.00 MiB"),
    (r"\b[0-9a-f]{32,40}\b", lambda found: "x" * len(found[0])),
)


class Screen(io.StringIO):
    """A terminal, as far as programs ask; it keeps what it was sent."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def groups() -> list[str]:
    """Return the names of all groups of calls."""
    return sorted(path.stem for path in FOLDER.glob("*.calls"))


def calls_of(group: str) -> list[str]:
    """Return the command lines of a group."""
    lines = (FOLDER / f"{group}.calls").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def text_of(group: str) -> str:
    """Run the calls of a group, one after another in one folder; return what they print."""
    with _scratch() as folder:
        return "\n".join(_told(call, folder) for call in calls_of(group))


@contextmanager
def _scratch() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=SCRATCH)
    assert len(folder) == len(SHOWN_FOLDER)
    kept = dict(os.environ)
    try:
        make_world(Path(folder))
        for name in filter(lambda name: name.startswith(SETTING_VARIABLES), kept):
            del os.environ[name]
        os.environ.update(COLUMNS=str(WIDTH), NO_COLOR="1", HOME=folder)
        with chdir(folder), patch.object(progress, "LOG_LINE_SECONDS", _A_DAY):
            yield folder
    finally:
        os.environ.clear()
        os.environ.update(kept)
        shutil.rmtree(folder)


def _told(call: str, folder: str) -> str:
    words = shlex.split(call)
    if words[0] in _DAMAGES:
        _DAMAGES[words[0]](*words[1:])
        return f"$ {call}\n"
    variables = dict(word.split("=", 1) for word in words[: words.index("evensplit")])
    code, out, err = _run(words[len(variables) + 1 :], variables)
    ending = f"exit {code}\n" if code else ""
    errors = "".join(f"! {line}\n" for line in _settled(err, folder).splitlines())
    return f"$ {call}\n{_settled(out, folder)}{errors}{ending}"


def _run(words: Sequence[str], variables: dict[str, str]) -> tuple[int, str, str]:
    out, err = Screen(), io.StringIO()
    code: object = None
    os.environ.update(variables)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    for name in variables:
        del os.environ[name]
    assert isinstance(code, int), "a command ends with an exit code"
    return code, out.getvalue(), err.getvalue()


def _settled(text: str, folder: str) -> str:
    text = text.replace(folder, SHOWN_FOLDER)
    return "".join(f"{line}\n" for sentence in _sentences(text) for line in sentence)


def _continues(line: str, following: str, indent: str) -> bool:
    """Whether a line was wrapped, and goes on in the following one."""
    found = re.match(indent + r"(\S+(?: [kMG]?i?B\S*)?)", following)  # units stay with numbers
    return found is not None and len(f"{line} {found[1]}") > WIDTH


def _sentences(text: str) -> Iterator[list[str]]:
    """Return lines; those of a sentence with something volatile in it together, wrapped anew."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        first, end = lines[at], at + 1
        indent = re.match(" *", first)[0] + "  "  # type: ignore[index]
        while end < len(lines) and _continues(lines[end - 1], lines[end], indent):
            end += 1
        whole = " ".join([first, *(line.strip() for line in lines[at + 1 : end])])
        settled = whole
        for pattern, shown in _VOLATILE:
            settled = re.sub(pattern, shown, settled)
        if settled == whole:
            yield [first]
            at += 1
        else:
            is_long = end > at + 1 or len(first) <= WIDTH
            yield wrapped(settled, WIDTH if is_long else None, Screen())
            at = end
