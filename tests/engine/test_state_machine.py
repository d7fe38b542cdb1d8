"""Any sequence of what happens to a destination: splits, pauses, deaths, damage, other sources.

What must hold after each step: where ``verify`` says that a split equals its source, the folder
holds each row once; who was told that a split is complete has one source's rows, and that one's
equal, until another run replaces it or the source changes; what was begun is finished by the same
command, and ``--overwrite`` mends everything; no error is a defect of ours.

A run is stopped once, at one of its calls of the store, and goes on or dies there. Local disks are
taken without their lock, as where it does not reach the other machine. ``make states`` tries
thousands of sequences from a seed; here are the first. Not covered: power cuts
(``test_power_loss.py``) and deaths of a run that goes on after it was paused (decision 21).
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import engine
from engine.errors import DestinationInUse, EvensplitError, NoSource, OtherPlan, SourceChanged
from engine.storage import open_storage
from tests.engine.gate import Run
from tests.engine.storage.conftest import azurite, blobs, no_identity, s3, s3_server
from tests.engine.test_two_runs import Places, places, rows_in

__all__ = ["azurite", "blobs", "no_identity", "places", "s3", "s3_server"]

NUM_ROWS = 120
SEQUENCES = {True: 12, False: 6}  # of stores that are near, and of those a request away
STEPS = 14
DEFECT = 70

WISHES: tuple[dict[str, Any], ...] = (
    {"parts": 1},
    {"parts": 2},
    {"parts": 3},
    {"rows_per_part": 50},
    {"parts": 2, "codec": "zstd"},
)
wishes = st.sampled_from(WISHES)


class Destination(RuleBasedStateMachine):
    """One folder, one source whose content changes, and at most two runs that are paused.

    ``is_told``: a run said that the split is complete, of the source as it is now, and none has
    replaced it since. ``is_hurt``: its parts were damaged after that.
    """

    def __init__(self, places: Places, folder: Path, number: int, seen: Counter[str]) -> None:
        super().__init__()
        self.places, self.dest, self.seen = places, places.new(), seen
        self.source = folder / f"source-{number}.parquet"
        self.revision = -1
        self.paused: list[tuple[Run, int]] = []
        self.is_told = self.is_hurt = False

    # -- what is looked at ---------------------------------------------------------------------

    def rows(self, revision: int) -> Counter[int]:
        return Counter(range(revision * NUM_ROWS, (revision + 1) * NUM_ROWS))

    def refused(self, error: EvensplitError) -> None:
        assert error.exit_code != DEFECT, repr(error)
        assert "\n" not in str(error)
        self.seen[error.kind] += 1
        assert not isinstance(error, DestinationInUse | NoSource), repr(error)  # we put all there

    def is_proved(self) -> bool:
        """Whether verify says equal; then it is."""
        try:
            engine.verify(self.dest, workers=1)
        except EvensplitError as error:
            self.refused(error)
            return False
        assert rows_in(self.dest) == self.rows(self.revision)
        return True

    def is_begun(self, wish: dict[str, Any]) -> bool:
        """Whether the folder is claimed for the plan of these settings."""
        store, folder = open_storage(self.dest)
        found = store.get(store.join(folder, "_evensplit", "plan.json"))
        plan = engine.plan(str(self.source), **wish)
        return found is None or json.loads(found)["plan_id"] == plan.plan_id

    def ended(self, run: Run, revision: int) -> None:
        """Judge a run that came to its end; ``revision`` is of the source when it began."""
        is_same = revision == self.revision
        if run.done is not None:
            self.seen["complete"] += 1
            others = [other for other, _ in self.paused if other.overwrites]
            if others and not (is_same and self.is_proved()):
                # Replaced behind its last look at the claim, when nothing is left but to note the
                # run. Where the source changed as well, verify cannot tell.
                assert not is_same or set(run.calls[run.stops_at :]) <= {"put"}, run.calls
                self.is_told = False
            elif not self.is_hurt or run.overwrites:
                found = rows_in(self.dest)
                assert any(found == self.rows(it) for it in range(self.revision + 1)), found
                assert not is_same or self.is_proved()
                self.is_told, self.is_hurt = is_same, False
            return
        if run.error is not None:
            self.refused(run.error)
        if run.overwrites and isinstance(run.error, SourceChanged):
            # It looks at the source before it replaces a split, and was stopped behind that.
            self.is_told = self.is_told and self.is_proved()
            return
        self.look_again()

    def look_again(self) -> None:
        """What was told still holds, though a run failed."""
        if self.is_told and not self.is_hurt:
            self.is_told = self.is_proved()
            # The one limit of S3 that decision 21 names.
            assert self.is_told or self.places.kind == "s3"

    # -- what happens --------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.seen["sequences"] += 1
        self.change_source()

    @rule()
    def change_source(self) -> None:
        self.revision += 1
        first = self.revision * NUM_ROWS
        table = pa.table({"id": range(first, first + NUM_ROWS)})
        new = self.source.with_suffix(".new")
        pq.write_table(table, new, row_group_size=20)
        new.rename(self.source)
        self.is_told = False
        assert not self.is_proved()

    @rule(wish=wishes, overwrite=st.booleans())
    def split(self, wish: dict[str, Any], overwrite: bool) -> None:
        must_end = overwrite or self.is_begun(wish)
        run = Run(self.source, self.dest, None, overwrite=overwrite, **wish)
        run.until_stopped()
        run.go_on()
        assert run.done is not None or not must_end, repr(run.error)
        assert run.done is not None or isinstance(run.error, OtherPlan | SourceChanged), repr(
            run.error
        )
        self.ended(run, self.revision)

    @precondition(lambda self: len(self.paused) < 2)
    @rule(wish=wishes, overwrite=st.booleans(), at=st.integers(0, 60))
    def pause(self, wish: dict[str, Any], overwrite: bool, at: int) -> None:
        run = Run(self.source, self.dest, at, overwrite=overwrite, **wish)
        if not run.until_stopped():
            run.go_on()
            self.ended(run, self.revision)
            return
        self.seen["paused"] += 1
        self.paused.append((run, self.revision))
        if overwrite:  # it may have replaced what was told
            self.is_told = self.is_told and not self.is_hurt and self.is_proved()
        self.look_again()

    @precondition(lambda self: len(self.paused) < 2)
    @rule(wish=wishes, overwrite=st.booleans(), at=st.integers(0, 60))
    def crash(self, wish: dict[str, Any], overwrite: bool, at: int) -> None:
        num_paused = len(self.paused)
        self.pause(wish, overwrite, at)
        if len(self.paused) > num_paused:
            self.die(num_paused)

    @precondition(lambda self: self.paused)
    @rule(which=st.integers(0, 1))
    def go_on(self, which: int, *, dies: bool = False) -> None:
        run, revision = self.paused.pop(which % len(self.paused))
        run.go_on(dies=dies)
        self.ended(run, revision)

    @precondition(lambda self: self.paused)
    @rule(which=st.integers(0, 1))
    def die(self, which: int) -> None:
        self.seen["died"] += 1
        self.go_on(which, dies=True)

    @precondition(lambda self: self.is_told and not self.is_hurt and not self.paused)
    @rule(which=st.integers(0, 2), how=st.sampled_from(["lost", "cut short", "changed"]))
    def damage(self, which: int, how: str) -> None:
        store, folder = open_storage(self.dest)
        names = sorted(name for name, *_ in store.files(folder) if name.endswith(".parquet"))
        path = store.join(folder, names[which % len(names)])
        data = store.get(path)
        assert data is not None
        if how == "lost":
            store.remove(path)
        else:
            middle = len(data) // 2
            kept = data[middle + 1 :] if how == "changed" else b""
            store.put(path, data[:middle] + bytes([data[middle] ^ 255]) + kept)
        self.is_hurt = True
        assert not self.is_proved() or how == "changed"

    @rule()
    def repair(self) -> None:
        can, refusal = self.is_told, None
        try:
            engine.verify(self.dest, repair=True, workers=1)
        except EvensplitError as error:
            self.refused(error)
            refusal = repr(error)
        else:
            assert self.is_proved()
            self.is_hurt, can = False, False
        assert not can, refusal

    @rule()
    def verify(self) -> None:
        proved = self.is_proved()
        assert proved or self.is_hurt or not self.is_told

    def teardown(self) -> None:
        while self.paused:
            self.go_on(0)
        if self.revision >= 0:
            self.split(WISHES[0], True)


@pytest.mark.slow
def test_any_sequence_of_events(places: Places, tmp_path: Path):
    chosen = os.environ.get("EVENSPLIT_STATES", "").split(":")
    own_seed, number = chosen if len(chosen) > 1 else (None, SEQUENCES[places.is_near])
    seen: Counter[str] = Counter()
    numbers = itertools.count()

    def machine() -> RuleBasedStateMachine:
        return Destination(places, tmp_path, next(numbers), seen)

    run_state_machine_as_test(  # type: ignore[no-untyped-call] # any callable will do
        machine if own_seed is None else seed(int(own_seed))(machine),
        settings=settings(
            max_examples=int(number),
            stateful_step_count=STEPS,
            derandomize=own_seed is None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(places.kind, *(f"{count} {what}" for what, count in seen.most_common()), sep=", ")
    assert seen["complete"] > seen["sequences"] > 1
    assert seen["died"]
