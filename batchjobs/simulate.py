"""How long a fan-out would take and cost, on paper: a discrete-event simulation, pure.

Tasks wait in a line, the largest first; nodes come, take what their slots hold, are lost, come
back, and leave. :data:`ASSUMPTIONS` says what is taken to be so; :class:`World` has the numbers. It
is checked against runs of the Batch emulator in ``tests/batchjobs/test_simulate.py``.

Not here: which files share a task (:mod:`batchjobs.pack`), and the network between regions.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchjobs.fanout import BYTES_PER_SECOND, SECONDS_A_TASK
from engine import BadSetting
from engine.hooks import amount

Formula = Literal["fixed", "pending", "spot", "schedule"]

ASSUMPTIONS = (
    "a task takes {seconds_a_task:g} s and 1 s for every {slot_rate} of its source, on "
    "one slot, whatever its neighbours do",
    "tasks begin in the order of their size, each on the node with most free slots",
    "a node is paid from when it is asked for until it leaves, and runs tasks "
    "{boot_seconds:g} s after it was asked for",
    "formulas are evaluated every {evaluation_seconds:g} s and average over "
    "{memory_seconds:g} s; nodes that leave end their tasks",
    "a fixed pool is deleted when the last task ends; a schedule's nodes stay until its hour",
    "a Spot node is lost {losses_per_node_hour:g} times an hour (Poisson) and comes back after "
    "{return_seconds:g} s; its tasks go to the head of the line",
    "a task that begins again has what it had in whole parts of {part_size}",
    "no task fails, no request is throttled, and quotas are what is asked for",
)
_WEEK_HOURS, _DAY_HOURS, _WORK_DAYS = 168, 24, 5
_HOUR = 3600.0


@dataclass(frozen=True)
class Fleet:
    """The nodes that there may be.

    Attributes:
        slots_per_node: tasks at once on a node.
        most_dedicated: nodes, or with a formula the most.
        most_spot: Spot nodes, or with a formula the most.
        formula: one of ``conf/batch/autoscale``, or ``fixed``.
        start_hour: UTC, of schedule.
        end_hour: UTC, of schedule.
    """

    slots_per_node: int
    most_dedicated: int
    most_spot: int
    formula: Formula = "fixed"
    start_hour: int = 7
    end_hour: int = 19


@dataclass(frozen=True)
class World:
    """What is assumed of everything that the fleet does not decide.

    Attributes:
        seconds_a_task: of every beginning of a task.
        bytes_per_second: of one slot.
        store_bytes_per_second: that the store takes from all slots together, 0 for any number; it
            is shared among all slots that there may be.
        boot_seconds: from asking for a node until it runs tasks.
        evaluation_seconds: between two evaluations of a formula.
        memory_seconds: that a formula averages over.
        losses_per_node_hour: of a Spot node.
        return_seconds: until a lost Spot node is back.
        part_bytes: what a task loses at most when it begins again.
        dedicated_price: of a node an hour.
        spot_price: of a Spot node an hour.
        begin_hour: of the week, from Monday 0:00 UTC.
        seed: of the losses.
        losses_at: seconds at which the oldest Spot node is lost, besides those by chance.
    """

    seconds_a_task: float = SECONDS_A_TASK
    bytes_per_second: float = BYTES_PER_SECOND
    store_bytes_per_second: float = 0
    boot_seconds: float = 240
    evaluation_seconds: float = 300
    memory_seconds: float = 900
    losses_per_node_hour: float = 0
    return_seconds: float = 600
    part_bytes: int = 100_000_000
    dedicated_price: float = 0
    spot_price: float = 0
    begin_hour: float = 7
    seed: int = 1
    losses_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """What came out: times in seconds from submission, costs in the unit of the prices."""

    num_tasks: int
    total_bytes: int
    makespan_seconds: float
    work_seconds: float
    longest_task_seconds: float
    dedicated_node_hours: float
    spot_node_hours: float
    cost: float
    slots_busy_share: float
    most_nodes: int
    num_lost_nodes: int
    num_requeues: int
    repeated_seconds: float


@dataclass
class _Task:
    size_bytes: int
    done_bytes: int = 0


@dataclass
class _Node:
    id: int
    is_spot: bool
    asked_at: float
    is_ready: bool = False
    is_leaving: bool = False
    running: dict[int, tuple[_Task, float]] = field(default_factory=dict)


def forecast(sizes_bytes: Sequence[int], fleet: Fleet, world: World) -> Forecast:
    """Return how it would go.

    Args:
        sizes_bytes: of the tasks, in the order in which they are submitted.
        fleet: the nodes.
        world: everything else.

    Raises:
        BadSetting: no node would ever come, or a rate is none.
    """
    if fleet.most_dedicated + fleet.most_spot < 1 or not sizes_bytes:
        raise BadSetting("a simulation needs a file and a node: --dedicated or --spot")
    if fleet.formula == "pending" and not fleet.most_dedicated:
        raise BadSetting("the formula pending asks for dedicated nodes only; say --dedicated")
    if fleet.formula == "spot" and not fleet.most_spot:
        raise BadSetting("the formula spot asks for Spot nodes first; say --spot")
    if fleet.formula == "schedule" and fleet.start_hour >= fleet.end_hour:
        raise BadSetting("the schedule begins after it ends")
    if world.bytes_per_second <= 0:
        raise BadSetting("a slot's rate must be more than 0 bytes a second")
    return _Simulation(sizes_bytes, fleet, world).run()


def slot_rate(fleet: Fleet, world: World) -> float:
    """Return bytes a second of one slot, when all that there may be share the store."""
    slots = fleet.slots_per_node * (fleet.most_dedicated + fleet.most_spot)
    if not world.store_bytes_per_second:
        return world.bytes_per_second
    return min(world.bytes_per_second, world.store_bytes_per_second / slots)


def assumptions(fleet: Fleet, world: World) -> list[str]:
    """Return what a forecast assumes, with its numbers, a sentence each."""
    sizes = {"slot_rate": slot_rate(fleet, world), "part_size": world.part_bytes}
    values = vars(world) | {name: amount(size) for name, size in sizes.items()}
    return [text.format(**values) for text in ASSUMPTIONS]


class _Simulation:
    """The state of one run; events are (seconds, number, kind, what)."""

    def __init__(self, sizes_bytes: Sequence[int], fleet: Fleet, world: World) -> None:
        self._fleet, self._world = fleet, world
        self._rate = slot_rate(fleet, world)
        self._chance = random.Random(world.seed)
        self._waiting = deque(_Task(size) for size in sizes_bytes)
        self._num_tasks = len(self._waiting)
        self._total_bytes = sum(sizes_bytes)
        self._work = [self._seconds(task) for task in self._waiting]
        self._num_done = self._num_running = 0
        self._now = self._makespan = 0.0
        self._events: list[tuple[float, int, str, int]] = []
        self._num_events = self._num_begun = self._num_nodes = 0
        self._nodes: dict[int, _Node] = {}
        self._runs: dict[int, _Node] = {}  # by the number of the beginning of a task
        # Nodes by free slots, the most first; entries that are out of date are skipped.
        self._free: list[tuple[int, int]] = []
        self._away = 0  # Spot nodes that were lost and are not back
        self._pending: deque[tuple[float, int]] = deque()
        self._hours = {True: 0.0, False: 0.0}
        self._most_nodes = self._num_lost = self._num_requeues = 0
        self._repeated = self._busy = 0.0

    def run(self) -> Forecast:
        for seconds in self._world.losses_at:
            self._at(seconds, "lose oldest", 0)
        self._evaluate()
        while self._events and (self._num_done < self._num_tasks or self._nodes):
            self._now, _, kind, what = heapq.heappop(self._events)
            self._happen(kind, what)
        cost = self._hours[False] * self._world.dedicated_price
        cost += self._hours[True] * self._world.spot_price
        paid_slots = sum(self._hours.values()) * _HOUR * self._fleet.slots_per_node
        return Forecast(
            num_tasks=self._num_tasks,
            total_bytes=self._total_bytes,
            makespan_seconds=self._makespan,
            work_seconds=sum(self._work),
            longest_task_seconds=max(self._work),
            dedicated_node_hours=self._hours[False],
            spot_node_hours=self._hours[True],
            cost=cost,
            slots_busy_share=self._busy / paid_slots if paid_slots else 0.0,
            most_nodes=self._most_nodes,
            num_lost_nodes=self._num_lost,
            num_requeues=self._num_requeues,
            repeated_seconds=self._repeated,
        )

    # -- events

    def _at(self, seconds: float, kind: str, what: int) -> None:
        self._num_events += 1
        heapq.heappush(self._events, (seconds, self._num_events, kind, what))

    def _happen(self, kind: str, what: int) -> None:
        if kind == "evaluate":
            self._evaluate()
        elif kind == "ready" and what in self._nodes:
            self._ready(self._nodes[what])
        elif kind == "lose" and what in self._nodes:
            self._lose(self._nodes[what])
        elif kind == "lose oldest":
            spots = [node for node in self._nodes.values() if node.is_spot]
            if spots:
                self._lose(spots[0])
        elif kind == "back":
            self._away -= 1
            if self._fleet.formula == "fixed" and self._num_done < self._num_tasks:
                self._ask(is_spot=True)
        elif kind == "done":
            self._end_task(what)

    def _ready(self, node: _Node) -> None:
        node.is_ready = True
        self._offer(node)
        self._begin_tasks()

    def _end_task(self, number: int) -> None:
        node = self._runs.pop(number, None)
        if node is None:  # it was lost with its node
            return
        _, began = node.running.pop(number)
        self._busy += self._now - began
        self._num_running -= 1
        self._num_done += 1
        self._makespan = self._now
        if node.is_leaving and not node.running:
            self._leave(node)
        else:
            self._offer(node)
            self._begin_tasks()
        if self._num_done == self._num_tasks and self._fleet.formula == "fixed":
            for left in list(self._nodes.values()):
                self._leave(left)

    def _lose(self, node: _Node) -> None:
        """A Spot node goes; its tasks keep the parts that are committed."""
        self._num_lost += 1
        for number, (task, began) in reversed(node.running.items()):
            del self._runs[number]
            spent = self._now - began
            copied = max(0.0, spent - self._world.seconds_a_task) * self._rate
            kept = int(copied // self._world.part_bytes) * self._world.part_bytes
            task.done_bytes += kept
            self._busy += spent
            self._repeated += spent - kept / self._rate
            self._num_running -= 1
            self._num_requeues += 1
            self._waiting.appendleft(task)
        node.running.clear()
        self._leave(node)
        self._away += 1
        self._at(self._now + self._world.return_seconds, "back", 0)
        self._begin_tasks()

    # -- tasks

    def _seconds(self, task: _Task) -> float:
        return self._world.seconds_a_task + (task.size_bytes - task.done_bytes) / self._rate

    def _begin_tasks(self) -> None:
        while self._waiting and (node := self._freest()) is not None:
            task = self._waiting.popleft()
            self._num_begun += 1
            node.running[self._num_begun] = (task, self._now)
            self._runs[self._num_begun] = node
            self._num_running += 1
            self._at(self._now + self._seconds(task), "done", self._num_begun)
            self._offer(node)

    def _offer(self, node: _Node) -> None:
        free = self._fleet.slots_per_node - len(node.running)
        if node.is_ready and not node.is_leaving and free:
            heapq.heappush(self._free, (-free, node.id))

    def _freest(self) -> _Node | None:
        while self._free:
            free, number = heapq.heappop(self._free)
            node = self._nodes.get(number)
            if node is None or node.is_leaving:
                continue
            if self._fleet.slots_per_node - len(node.running) == -free:
                return node
        return None

    # -- nodes

    def _ask(self, *, is_spot: bool) -> None:
        self._num_nodes += 1
        node = _Node(self._num_nodes, is_spot, self._now)
        self._nodes[node.id] = node
        self._most_nodes = max(self._most_nodes, len(self._nodes))
        self._at(self._now + self._world.boot_seconds, "ready", node.id)
        if is_spot and self._world.losses_per_node_hour:
            hours = self._chance.expovariate(self._world.losses_per_node_hour)
            self._at(self._now + self._world.boot_seconds + hours * _HOUR, "lose", node.id)

    def _leave(self, node: _Node) -> None:
        del self._nodes[node.id]
        self._hours[node.is_spot] += (self._now - node.asked_at) / _HOUR

    def _evaluate(self) -> None:
        """Do what the formula says; a fixed pool asks once."""
        dedicated, spot = self._targets()
        self._resize(dedicated, is_spot=False)
        self._resize(max(0, spot - self._away), is_spot=True)
        self._begin_tasks()
        if self._fleet.formula != "fixed":
            self._at(self._now + self._world.evaluation_seconds, "evaluate", 0)

    def _targets(self) -> tuple[int, int]:
        fleet = self._fleet
        if fleet.formula == "fixed":
            return fleet.most_dedicated, fleet.most_spot
        if fleet.formula == "schedule":
            is_on = self._is_on()
            return fleet.most_dedicated * is_on, fleet.most_spot * is_on
        nodes = math.ceil(self._pending_tasks() / fleet.slots_per_node)
        if fleet.formula == "pending":
            return min(fleet.most_dedicated, nodes), 0
        stand_ins = min(fleet.most_dedicated, nodes, self._away)
        return stand_ins, min(fleet.most_spot, nodes)

    def _is_on(self) -> bool:
        hour = (self._world.begin_hour + self._now / _HOUR) % _WEEK_HOURS
        day, hour = divmod(hour, _DAY_HOURS)
        return day < _WORK_DAYS and self._fleet.start_hour <= hour < self._fleet.end_hour

    def _pending_tasks(self) -> float:
        """Return what the formulas make of ``$PendingTasks``: the newest, or the mean if more."""
        newest = len(self._waiting) + self._num_running
        self._pending.append((self._now, newest))
        while self._pending[0][0] < self._now - self._world.memory_seconds:
            self._pending.popleft()
        if self._now < 0.7 * self._world.memory_seconds:
            return newest
        return max(newest, sum(count for _, count in self._pending) / len(self._pending))

    def _resize(self, wanted: int, *, is_spot: bool) -> None:
        here = [node for node in self._nodes.values() if node.is_spot == is_spot]
        staying = [node for node in here if not node.is_leaving]
        for node in here:  # who was about to leave may stay
            if node.is_leaving and len(staying) < wanted:
                node.is_leaving = False
                staying.append(node)
                self._offer(node)
        for _ in range(wanted - len(staying)):
            self._ask(is_spot=is_spot)
        idle_first = sorted(staying, key=lambda node: len(node.running))
        for node in idle_first[: max(0, len(staying) - wanted)]:
            node.is_leaving = True
            if not node.running:
                self._leave(node)
