"""A power cut at any moment: what is found is right, or the same command makes it so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine import system
from engine.errors import EvensplitError
from tests.covering import IS_WHOLE
from tests.engine.power_loss import Log, after_a_power_cut, logged, restore
from tests.engine.running import parts_contents

pytestmark = pytest.mark.slow

RATES = (0.0, 1.0, 0.5, 0.3, 0.2, 0.2) if IS_WHOLE else (0.0, 1.0, 0.4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("power") / "source.parquet"
    table = pa.table({"id": range(3000), "text": [f"{row:06}" * 3 for row in range(3000)]})
    pq.write_table(table, path, row_group_size=300)
    return path


@pytest.fixture(scope="module")
def reference(source: Path) -> dict[str, bytes]:
    dest = source.parent / "reference"
    engine.split(str(source), str(dest), parts=3)
    return parts_contents(dest)


def split(source: Path, dest: Path, **options: Any) -> None:
    engine.split(str(source), str(dest), workers=2, **options)


def states(log: Log, folder: Path, first: int = 0) -> Iterator[tuple[Path, int]]:
    """Each state of the disk that is tried, made in a folder of its own, and its moment.

    Many moments and losses leave the same files: these are tried once, and again at the end, where
    more is asked of them.
    """
    tried: set[tuple[bool, frozenset[tuple[str, bytes | None]]]] = set()
    last = len(log.events)
    for moment in range(first, last + 1):
        for number, rate in enumerate(RATES):
            chance = random.Random(f"{moment}-{number}")
            tree = after_a_power_cut(log, moment, chance, rate).tree()
            state = (moment == last, frozenset(tree.items()))
            if state not in tried:
                tried.add(state)
                place = folder / f"{moment}-{number}"
                restore(tree, place)
                yield place, moment


@pytest.mark.ways(2)
@pytest.mark.parametrize("durable", [True, False], ids=["synced", "no-fsync"])
def test_the_same_command_makes_it_right(
    tmp_path: Path,
    source: Path,
    reference: dict[str, bytes],
    durable: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    dest = tmp_path / "parts"
    with logged(dest) as log:
        split(source, dest, parts=3, fsync=durable)
    monkeypatch.setattr(system, "boot_id", lambda: "the next")
    for place, moment in states(log, tmp_path / "cuts"):
        if durable:  # whoever reads the folder before
            seen = parts_contents(place) if place.is_dir() else {}
            assert seen.items() <= reference.items(), (place.name, log.events[:moment])
            assert moment < len(log.events) or seen == reference, place.name
        split(source, place, parts=3, fsync=durable)
        assert parts_contents(place) == reference, (place.name, log.events[:moment])


@pytest.mark.ways(1)
def test_a_plan_that_replaces_another_leaves_no_mixture(
    tmp_path: Path, source: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    dest = tmp_path / "parts"
    with logged(dest) as log:
        split(source, dest, parts=5)
        begun, before = len(log.events), parts_contents(dest)
        split(source, dest, parts=3, overwrite=True)
    monkeypatch.setattr(system, "boot_id", lambda: "the next")
    for place, moment in states(log, tmp_path / "cuts", begun):
        with suppress(EvensplitError):
            engine.verify(str(place))
            assert parts_contents(place) in (before, reference), place.name
        split(source, place, parts=3, overwrite=True)
        assert parts_contents(place) == reference, (place.name, log.events[:moment])
