"""The simulation: exact where it can be said by hand, bounded elsewhere, and by the emulator."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjobs.client import connect
from batchjobs.fanout import submit
from batchjobs.simulate import Fleet, World, forecast
from batchjobs.spec import FileSplit, JobSpec, PoolSpec, TaskSpec
from engine import BadSetting
from tests.batchjobs.fake_batch import serving
from tests.batchjobs.packages import make_package
from tests.counting import counted
from tests.engine.running import HANG_SECONDS, run

# 10 bytes a second, 1 s a task, 100 s to boot.
SLOW = World(seconds_a_task=1, bytes_per_second=10, boot_seconds=100, part_bytes=50)


def test_what_can_be_said_by_hand():
    """Two slots: 101 to 112 and 101 to 107, then 107 to 110 on the second; 10 s of work in all."""
    found = forecast([100, 50, 20], Fleet(2, 1, 0), SLOW)
    assert found.makespan_seconds == 100 + 11
    assert found.work_seconds == 11 + 6 + 3
    assert found.dedicated_node_hours == pytest.approx(111 / 3600)
    assert found.slots_busy_share == pytest.approx(20 / 222)
    assert forecast([100, 50, 20], Fleet(1, 2, 0), SLOW).makespan_seconds == 111
    assert forecast([100, 50, 20], Fleet(1, 1, 0), SLOW).makespan_seconds == 120


def test_a_lost_node_costs_what_was_not_committed_and_its_way_back():
    """Lost after 8 of 11 s: 70 bytes copied, one part of 50 kept; back after 600 s and 100 s."""
    world = World(**vars(SLOW) | {"losses_at": (108,), "return_seconds": 600})
    found = forecast([100], Fleet(1, 0, 1), world)
    assert (found.num_lost_nodes, found.num_requeues) == (1, 1)
    assert found.repeated_seconds == 3
    assert found.makespan_seconds == 108 + 600 + 100 + 1 + 5
    assert found.spot_node_hours == pytest.approx((108 + 106) / 3600)


def test_formulas_scale_to_zero_and_cost_their_tail():
    pending = forecast([1000] * 40, Fleet(4, 5, 9, "pending"), SLOW)
    assert (pending.most_nodes, pending.spot_node_hours) == (5, 0)
    assert pending.makespan_seconds == 100 + 2 * 101
    assert pending.dedicated_node_hours == pytest.approx(5 * 600 / 3600)  # the next evaluation
    longer = forecast([10_000] * 40, Fleet(4, 5, 9, "pending"), SLOW)
    # The mean over 15 minutes keeps nodes a while after the end.
    tail_seconds = longer.dedicated_node_hours * 3600 - 5 * longer.makespan_seconds
    assert 5 * 300 < tail_seconds < 5 * 1200
    spot = forecast([1000] * 40, Fleet(4, 5, 9, "spot"), SLOW)
    assert (spot.most_nodes, spot.dedicated_node_hours) == (9, 0)
    world = World(**vars(SLOW) | {"begin_hour": 24 * 4 + 18.5})
    weekend = forecast([36_000] * 2, Fleet(1, 1, 0, "schedule"), world)
    assert weekend.makespan_seconds > 2.5 * 86400  # the second task waits from Friday to Monday


def test_a_store_that_all_slots_share_sets_their_rate():
    world = World(**vars(SLOW) | {"store_bytes_per_second": 20})
    assert forecast([100] * 8, Fleet(4, 2, 0), world).makespan_seconds == 100 + 1 + 40


@given(
    st.lists(st.integers(0, 10**4), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(["fixed", "pending", "spot", "schedule"]),
    st.sampled_from([0, 5.0]),
)
@settings(max_examples=60)
def test_no_forecast_beats_its_bounds(sizes, slots, dedicated, spot, formula, losses):
    fleet = Fleet(slots, max(dedicated, formula == "pending"), spot, formula)
    world = World(**vars(SLOW) | {"losses_per_node_hour": losses})
    found = forecast(sorted(sizes, reverse=True), fleet, world)
    assert found == forecast(sorted(sizes, reverse=True), fleet, world)
    nodes = fleet.most_dedicated + fleet.most_spot
    assert found.makespan_seconds >= 100 + found.longest_task_seconds - 1e-6
    assert found.makespan_seconds >= 100 + found.work_seconds / (nodes * slots) - 1e-6
    assert 0 <= found.slots_busy_share <= 1
    busy = found.work_seconds + found.repeated_seconds
    paid = (found.dedicated_node_hours + found.spot_node_hours) * 3600 * slots
    assert busy == pytest.approx(found.slots_busy_share * paid)
    if not losses:
        assert (found.num_lost_nodes, found.num_requeues) == (0, 0)


@pytest.mark.parametrize(
    ("fleet", "told"),
    [
        (Fleet(1, 0, 0), "--dedicated or --spot"),
        (Fleet(1, 0, 1, "pending"), "--dedicated"),
        (Fleet(1, 1, 0, "spot"), "--spot"),
        (Fleet(1, 1, 0, "schedule", 9, 9), "begins after"),
    ],
)
def test_a_fleet_that_would_never_come_is_refused(fleet, told):
    with pytest.raises(BadSetting, match=told):
        forecast([1], fleet, SLOW)


def test_the_command_plans_for_a_hundred_thousand_files(tmp_path):
    words = ("batch", "simulate", "--files", 100_000, "--median", "5GB", "--sigma", 1.5)
    words = (*words, "--slots", 4, "--spot", 200, "--dedicated", 20, "--formula", "spot")
    words = (*words, "--losses-per-hour", 0.05, "--price", 0.23, "--spot-price", 0.05)
    ended, num_calls = counted(lambda: run(*words, "--json"))
    found = json.loads(ended.out)
    assert num_calls < 8_000_000
    assert found["total_bytes"] > 10**15
    assert found["num_lost_nodes"] > 0
    assert found["cost"] == pytest.approx(
        found["dedicated_node_hours"] * 0.23 + found["spot_node_hours"] * 0.05
    )
    told = run("batch", "simulate", "--files", 10, "--spot", 1).out
    assert "makespan" in told
    assert "runs tasks 240 s after it was asked for" in told
    (tmp_path / "sizes").write_text("1GB\n\n2000\nlots\n")
    wrong = run("batch", "simulate", "--sizes", tmp_path / "sizes", "--spot", 1)
    assert (wrong.code, "line 4" in wrong.err) == (2, True)
    assert run("batch", "simulate", "--spot", 1).code == 2
    assert "mon to sun" in run("batch", "simulate", "--files", 1, "--begin", "x 1").err


# A package whose program takes as long as its source is large, and no processor; the start task
# runs it without a spec.
SLEEPER = (
    "import json, os, time; "
    "spec = json.loads(os.environ.get('EVENSPLIT_TASK_SPEC') or '{\"files\": []}'); "
    "time.sleep(0.2 + sum(f['size_bytes'] for f in spec['files']) / 1000)"
)
SIZES = [3000, 2500, 2000, 1500, *[700] * 12, *[100] * 10]


@pytest.mark.slow
def test_the_emulator_does_what_the_simulation_says(tmp_path, azurite):
    """Two Spot nodes of two slots, with start tasks; one is taken away in the middle."""
    (tmp_path / "package").mkdir()
    folder = make_package(tmp_path / "package", SLEEPER)
    storage = azurite.client()
    container = azurite.new_container()
    for path in folder.iterdir():
        storage.get_blob_client(container, f"p1/{path.name}").upload_blob(path.read_bytes())
    tasks = [
        TaskSpec((FileSplit(f"az://in/{i}", f"az://out/{i}", "", size),), package="p1")
        for i, size in enumerate(SIZES)
    ]
    job = JobSpec(("az://in",), "az://out", {}, "nodes")
    image = ("a", "b", "c", "1")
    pool = PoolSpec("standard_d2ds_v5", image, "agent", 2, 0, 2, "", "p1", container)
    with serving(tmp_path / "azure", storage) as fake:
        fake.environment["EVENSPLIT_PYTHON"] = sys.executable
        service = connect(fake.url, "key", os.environ | fake.login)
        service.create_pool("nodes", pool)
        with fake.working():
            wait_until(lambda: [node.state for node in nodes_of(fake)] == ["idle"] * 2)
            began = time.monotonic()
            submit(service, job, tasks)
            time.sleep(max(0, began + 2 - time.monotonic()))
            lost_tasks = fake.preempt_node(nodes_of(fake)[0].id)
            lost = time.monotonic()
            wait_until(lambda: fake.jobs[job.id]["state"] == "completed")
            took = time.monotonic() - began
            wait_until(lambda: nodes_of(fake)[-1].idle_at is not None)  # the others may end all
            boot_seconds = nodes_of(fake)[-1].idle_at - lost
        # What this machine takes to begin a process is its own business, now more, now less.
        begun_seconds = [fake.spans[task.id] - task.size_bytes / 1000 for task in tasks]
    world = World(
        seconds_a_task=sum(begun_seconds) / len(tasks),
        bytes_per_second=1000,
        boot_seconds=boot_seconds,
        return_seconds=0,
        part_bytes=10**9,
        losses_at=(boot_seconds + lost - began,),
    )
    found = forecast(SIZES, Fleet(2, 0, 2), world)
    expected = found.makespan_seconds - boot_seconds
    print(f"emulator {took:.2f} s, simulation {expected:.2f} s")
    # How near they are is for docs/batch.md: here other work may have the processors.
    assert (found.num_lost_nodes, found.num_requeues) == (1, len(lost_tasks))


def nodes_of(fake):
    with fake.lock:
        return list(fake.nodes.values())


def wait_until(happens):
    deadline = time.monotonic() + HANG_SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)
