"""Where parts are written: in threads, or in processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine import splitter
from engine.executors.choosing import choose_resources
from engine.memory import MIB, Budget
from engine.settings import Settings

BUDGET = Budget(64 << 30, "a large machine", ())


@pytest.mark.parametrize(
    ("num_cores", "reencoded_bytes", "kind", "num_workers"),
    [
        (2, 0, "threads", 3),
        (2, 8000 * MIB, "threads", 2),
        (8, 0, "threads", 9),
        (8, 100 * MIB, "threads", 8),
        (8, 8000 * MIB, "processes", 8),
    ],
)
def test_processes_are_for_many_cores_and_much_that_is_encoded_anew(
    num_cores: int,
    reencoded_bytes: int,
    kind: str,
    num_workers: int,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("engine.system.num_cores", lambda: num_cores)
    settings = Settings(num_parts=10)
    plan = splitter.plan_split([str(source)], settings)
    share = reencoded_bytes // len(plan.parts)
    parts = tuple(replace(part, reencoded_bytes=share) for part in plan.parts)
    chosen = choose_resources(replace(plan, parts=parts), settings, BUDGET)
    assert (chosen.kind, chosen.num_workers) == (kind, num_workers)
