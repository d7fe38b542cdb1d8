"""Other systems, as far as this one can stand in for them: what they lack is taken away."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine import memory, system
from engine.errors import UnsupportedSystem
from tests.engine.running import REPOSITORY, parts_contents, run, write_source

# What macOS's Python has not: functions of os, files of /proc, sync_file_range of the C library.
MACOS = """
import os
for name in ("sched_getaffinity", "copy_file_range", "posix_fadvise", "posix_fallocate"):
    if hasattr(os, name):
        delattr(os, name)
from pathlib import Path
real = Path.read_text, Path.write_text
def away(self):
    if str(self).startswith(("/proc", "/sys")):
        raise FileNotFoundError(str(self))
Path.read_text = lambda self, *a, **k: away(self) or real[0](self, *a, **k)
Path.write_text = lambda self, *a, **k: away(self) or real[1](self, *a, **k)
from engine import system
system.start_write_back = None
"""
# A Python without fcntl, as on Windows, under its name.
WINDOWS = """
import sys
sys.modules["fcntl"] = None
from engine import system
real = system.check
system.check = lambda: real("win32")
"""


def evensplit(prelude: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    program = f"{prelude}\nfrom engine.cli.main import main\nmain({list(map(str, words))!r})"
    place = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=place)


def test_a_split_needs_nothing_that_macos_lacks(tmp_path: Path):
    source = write_source(tmp_path / "s.parquet")
    assert run("split", source, tmp_path / "here", "--parts", "3").code == 0
    ended = evensplit(MACOS, "split", source, tmp_path / "there", "--parts", "3", "--verify")
    assert (ended.returncode, "equal: " in ended.stdout) == (0, True), ended.stderr
    assert parts_contents(tmp_path / "there") == parts_contents(tmp_path / "here")


@pytest.mark.slow
def test_local_jobs_need_nothing_that_macos_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVENSPLIT_BATCH_FOLDER", str(tmp_path / "jobs"))
    write_source(tmp_path / "in/s.parquet")
    words = ("batch", "submit", "--local", tmp_path / "in", "--dest", tmp_path / "out")
    ended = evensplit(MACOS, *words, "--slots", "1", "--target-size", "200kB")
    assert (ended.returncode, "1 done, 0 failed" in ended.stdout) == (0, True), ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("split", "s.parquet", "parts"),
        ("plan", "s.parquet"),
        ("profile", "s.parquet"),
        ("verify", "parts"),
        ("report", "s.parquet"),
        ("batch", "submit", "--local", "s.parquet", "--dest", "out"),
    ],
    ids=lambda words: words[0],
)
def test_windows_is_refused_in_a_sentence(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENSPLIT_BATCH_FOLDER", str(tmp_path / "jobs"))
    write_source(tmp_path / "s.parquet")
    ended = evensplit(WINDOWS, *words)
    assert ended.returncode == 2
    # A busy machine makes it tell that it is still at it.
    (line,) = [it for it in ended.stderr.splitlines() if not re.fullmatch(r"drawing, \d+ s", it)]
    assert line.startswith("evensplit: call.system: ")
    assert "WSL" in line
    assert {path.name for path in tmp_path.iterdir()} <= {"s.parquet", "jobs"}


def test_only_windows_is_refused():
    for name in ("linux", "darwin", "freebsd14", None):
        system.check(name)
    for name in ("win32", "cygwin"):
        with pytest.raises(UnsupportedSystem):
            system.check(name)


def test_cores_are_those_of_the_process_else_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    assert system.num_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.num_cores() == os.cpu_count()


def test_a_peak_is_in_bytes_on_every_system(monkeypatch: pytest.MonkeyPatch):
    """Linux counts in KiB, macOS in bytes."""
    in_bytes = system.peak_resident_bytes()
    assert 10 << 20 < in_bytes < 1 << 40
    monkeypatch.setattr(sys, "platform", "darwin")
    assert abs(system.peak_resident_bytes() * 1024 - in_bytes) < in_bytes
    monkeypatch.setattr(memory, "_lines", lambda path: [])
    assert memory.own_peak_bytes() == system.peak_resident_bytes()
    assert list(memory.cgroups()) == []


@pytest.mark.parametrize("answers", [True, False])
def test_a_file_is_synced_through_the_cache_of_the_drive(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    full, asked = 51, []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", full, raising=False)

    def fcntl_call(descriptor: int, command: int) -> int:
        asked.append(command)
        if not answers:
            raise OSError(45, "Operation not supported")
        return 0

    monkeypatch.setattr(fcntl, "fcntl", fcntl_call)
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append("fsync"))
    with (tmp_path / "file").open("wb") as file:
        system.sync(file.fileno())
    assert asked == ([full] if answers else [full, "fsync"])


def test_no_other_module_asks_what_the_system_has():
    words = ("import fcntl", "sched_getaffinity", "getrusage", "sys.platform", "import resource\n")
    for folder in ("engine", "batchjobs"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            if path != REPOSITORY / "engine/system.py":
                text = path.read_text()
                assert not [word for word in words if word in text], path
