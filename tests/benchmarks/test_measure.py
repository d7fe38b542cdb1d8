"""The runner: what it counts, what it stops. No clock is judged."""

import sys
from pathlib import Path

import pytest

from benchmarks.measure import Limits, in_turn, run

MIB = 1 << 20
_HOLD = "held = bytearray({size}); import time; time.sleep({seconds})"


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def _child_of(script: str) -> list[str]:
    return _python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}])")


def test_processor_and_memory_of_children_count():
    work = "sum(i * i for i in range(3_000_000))"
    done = run(_child_of(f"{work}; {_HOLD.format(size=200 * MIB, seconds=1)}"))
    assert done.returncode == 0
    assert done.cpu_seconds > run(_python("")).cpu_seconds
    assert done.peak_bytes > 200 * MIB


def test_long_output_does_not_stop_a_command():
    assert len(run(_python("print('x' * 1_000_000)")).output) == 1_000_001


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(memory_bytes=100 * MIB), "stopped: over 0 GB of memory"),
        (Limits(seconds=1), "stopped: over 1 s"),
    ],
)
def test_what_goes_over_its_limits_is_stopped_with_its_children(limits, why, tmp_path: Path):
    command = _child_of(_HOLD.format(size=300 * MIB, seconds=60))
    found = in_turn({"greedy": command}, tmp_path / "out", repeats=3, limits=limits)["greedy"]
    assert len(found.runs) == 1
    assert found.part_cells(1)["over the cap"] == why
    assert found.cells()["wall s"] is None


def test_commands_take_turns_and_find_nothing_there(tmp_path: Path):
    out, log = tmp_path / "out", tmp_path / "log"
    script = "import os, sys; name = {name!r}; path = {path!r}; assert not os.path.exists(path)\n"
    script += "open({log!r}, 'a').write(name); open(path, 'w').write('x' * {size})"
    commands = {
        name: _python(
            script.format(name=name, path=str(out / "a.parquet"), log=str(log), size=size)
        )
        for name, size in (("a", 10), ("b", 30))
    }
    found = in_turn(commands, out, repeats=2)
    assert log.read_text() == "ababab"
    assert [len(measured.runs) for measured in found.values()] == [2, 2]
    cells = found["b"].part_cells(20)
    assert cells == {"parts": 1, "smallest MB": 30, "largest MB": 30, "over the cap": "1 of 1"}
    assert found["b"].ratio_cells(found["b"]) == {"wall ratio": 1, "CPU ratio": 1}


def test_a_failure_is_the_end(tmp_path: Path):
    with pytest.raises(SystemExit, match="broken failed"):
        in_turn({"broken": _python("raise ValueError")}, tmp_path / "out", repeats=1)
