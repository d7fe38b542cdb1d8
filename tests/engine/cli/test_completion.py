"""Bash, fish and zsh complete commands, options, choices and the names of files and folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.running import REPOSITORY

# What the script would tell bash's own completion, which only runs at a prompt.
PROGRAM = """
compopt() { printf 'names by %s\\n' "$2"; }
complete() { :; }
eval "$(_EVENSPLIT_COMPLETE=bash_source evensplit)"
COMP_WORDS=($LINE "$LAST")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_evensplit_completion evensplit
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It holds the command, and is where it is called."""
    place = tmp_path_factory.mktemp("completion")
    command = place / "evensplit"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m engine.cli "$@"\n')
    command.chmod(0o755)
    return place


def completed(folder: Path, line: str, last: str) -> list[str]:
    place = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    place |= {"LINE": line, "LAST": last}
    ended = subprocess.run(
        ["bash", "-c", PROGRAM], capture_output=True, text=True, env=place, cwd=folder, check=False
    )
    assert not ended.stderr
    return ended.stdout.split("\n")[:-1]


@pytest.mark.ways(8)
@pytest.mark.parametrize(
    ("line", "last", "expected"),
    [
        ("evensplit", "pl", ["plan"]),
        ("evensplit batch", "sim", ["simulate"]),
        ("evensplit split a.parquet", "--target", ["--target-size"]),
        ("evensplit plan --codec", "z", ["zstd"]),
        ("evensplit batch simulate --formula", "s", ["spot", "schedule"]),
        ("evensplit help", "sp", ["split"]),
        ("evensplit help batch", "sub", ["submit"]),
        ("evensplit help split", "s", [""]),
        ("evensplit plan --for", "s", ["snowflake", "synapse"]),
        ("evensplit verify --credential", "e", ["environment"]),
        ("evensplit plan --schema", "r", ["relaxed"]),
        ("evensplit plan", "x", ["names by default", ""]),
        ("evensplit split a.parquet", "x", ["names by default", ""]),
        ("evensplit --config", "x", ["names by default", ""]),
        ("evensplit verify", "x", ["names by dirnames", ""]),
        ("evensplit report parts --output", "x", ["names by default", ""]),
        ("evensplit batch submit", "x", ["names by default", ""]),
    ],
)
def test_bash_completes(folder: Path, line: str, last: str, expected: list[str]):
    assert completed(folder, line, last) == expected


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("evensplit pl", ["plan"]),
        ("evensplit plan --codec z", ["zstd"]),
        ("evensplit split a", ["a b.parquet"]),
        ("evensplit verify p", ["parts/"]),
        ("evensplit --config a", ["a b.parquet"]),
    ],
)
def test_fish_completes(folder: Path, line: str, expected: list[str]):
    (folder / "a b.parquet").touch()
    (folder / "parts").mkdir(exist_ok=True)
    program = "env _EVENSPLIT_COMPLETE=fish_source evensplit | source; complete -C $LINE"
    place = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    place |= {"LINE": line, "HOME": str(folder)}
    ended = subprocess.run(
        ["fish", "-c", program], capture_output=True, text=True, env=place, cwd=folder, check=False
    )
    assert [line.split("\t")[0] for line in ended.stdout.splitlines()] == expected


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_shells_that_show_what_commands_do_get_it_whole(folder: Path, shell: str):
    place = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    word = "simul" if shell == "fish" else "2"
    place |= {"COMP_WORDS": "evensplit batch simul", "COMP_CWORD": word}
    place |= {"_EVENSPLIT_COMPLETE": f"{shell}_complete"}
    ended = subprocess.run(["evensplit"], capture_output=True, text=True, env=place, check=False)
    assert "simulate" in ended.stdout
    assert "..." not in ended.stdout
