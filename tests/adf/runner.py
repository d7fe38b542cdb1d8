"""Runs the pipelines of ``conf/adf`` here: the graph as Data Factory walks it.

Activities that only steer are done here; those that touch the world are a :class:`World`'s. Rules
are those of Microsoft's documentation: an activity runs when all its dependencies ended as asked,
else it is skipped; a pipeline (and a round of a loop) is as good as its leaves, and a leaf that was
skipped is as good as what it waited for. Not here: time, billing, and secure inputs.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import ChainMap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.adf.expressions import ExpressionError, Scope, evaluate, resolve

MAX_ITEMS, MAX_PAYLOAD_BYTES = 100_000, 896 << 10
DONE, FAILED, SKIPPED = "Succeeded", "Failed", "Skipped"


class ActivityFailed(Exception):
    """How an activity ends badly; ``output`` is what it may leave behind."""

    def __init__(self, message: str, code: str = "", output: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.code, self.output = code, dict(output or {})


class World(Protocol):
    """What activities act on."""

    def perform(self, kind: str, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        """Do an activity whose expressions are resolved; return its output."""


@dataclass
class Ran:
    """One run of one activity, as the monitor shows it."""

    name: str
    kind: str
    status: str
    output: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    attempts: int = 1


@dataclass
class PipelineRun:
    """A run of a pipeline, with those that it started."""

    pipeline: str
    parameters: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = ""
    message: str = ""
    returned: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    activities: list[Ran] = field(default_factory=list)
    children: list[PipelineRun] = field(default_factory=list)

    def of(self, name: str, status: str | None = None) -> list[Ran]:
        return [r for r in self.activities if r.name == name and status in (None, r.status)]


class Runner:
    """A factory, and the world that it works on."""

    def __init__(self, factory: Mapping[str, Any], world: World, **overrides: Any):
        self.factory, self.world = factory, world
        given = factory["factory"]["evensplit"]["properties"]["globalParameters"]
        self.globals = {name: item["value"] for name, item in given.items()} | overrides

    def run(self, name: str, **parameters: Any) -> PipelineRun:
        properties = self.factory["pipeline"][name]["properties"]
        run = PipelineRun(name, _filled(properties["parameters"], parameters))
        variables = properties.get("variables", {})
        run.variables = {key: _default(item) for key, item in variables.items()}
        _Walk(self, run).everything(properties["activities"])
        return run

    def trigger(self, name: str, body: Mapping[str, Any]) -> list[PipelineRun]:
        """Run what a trigger starts; its parameters are texts that are evaluated."""
        scope = Scope(trigger=body)
        runs = []
        for item in self.factory["trigger"][name]["properties"]["pipelines"]:
            given = item["parameters"].items()
            values = {k: evaluate(v, scope) if isinstance(v, str) else v for k, v in given}
            runs.append(self.run(item["pipelineReference"]["referenceName"], **values))
        return runs


def _filled(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    types = {"string": str, "int": int, "bool": bool}
    assert set(given) <= set(wanted), f"parameters that are not there: {set(given) - set(wanted)}"
    values = {name: given.get(name, item.get("defaultValue")) for name, item in wanted.items()}
    for name, item in wanted.items():
        assert isinstance(values[name], types[item["type"]]), f"parameter {name}"
    return values


def _default(variable: Mapping[str, Any]) -> Any:
    return list(variable.get("defaultValue", [])) if variable["type"] == "Array" else ""


class _Walk:
    """One run of one pipeline; rounds of a loop share all but item and results."""

    def __init__(self, runner: Runner, run: PipelineRun):
        self.runner, self.run = runner, run
        self.lock = threading.Lock()

    def everything(self, activities: list[dict[str, Any]]) -> None:
        results: dict[str, Any] = {}
        problem = self.graph(activities, results, item=None)
        self.run.status, self.run.message = (FAILED, problem) if problem else (DONE, "")

    def graph(self, activities: list[dict[str, Any]], results: Any, item: Any) -> str:
        """Run siblings; return what went wrong, by the rule of the leaves."""
        todo = list(activities)
        while todo:
            ready = [a for a in todo if all(d["activity"] in results for d in a["dependsOn"])]
            assert ready, "activities wait for each other"
            for activity in ready:
                todo.remove(activity)
                results[activity["name"]] = self.one(activity, results, item)
        by_name = {activity["name"]: activity for activity in activities}
        waited_for = {d["activity"] for a in activities for d in a["dependsOn"]}
        problems = [_problem(by_name, results, name) for name in by_name if name not in waited_for]
        return "; ".join(dict.fromkeys(filter(None, problems)))

    def one(self, activity: dict[str, Any], results: Any, item: Any) -> dict[str, Any]:
        for wanted in activity["dependsOn"]:
            status = results[wanted["activity"]]["status"]
            ended = {status, "Completed"} if status in (DONE, FAILED) else {status}
            if not ended & set(wanted["dependencyConditions"]):
                return self._tell(Ran(activity["name"], activity["type"], SKIPPED))
        attempts = 1 + activity.get("policy", {}).get("retry", 0)
        for attempt in range(1, attempts + 1):
            ran = self.attempt(activity, results, item)
            ran.attempts = attempt
            if ran.status == DONE:
                break
        return self._tell(ran)

    def attempt(self, activity: dict[str, Any], results: Any, item: Any) -> Ran:
        ran = Ran(activity["name"], activity["type"], DONE)
        scope = self.scope(results, item)
        try:
            users = activity.get("userProperties", [])
            ran.users = {user["name"]: resolve(user["value"], scope) for user in users}
            ran.output = self.perform(activity, scope)
            size_bytes = len(json.dumps([activity, ran.output]))
            if size_bytes > MAX_PAYLOAD_BYTES:
                raise ActivityFailed(f"a payload of {size_bytes} bytes")
        except (ActivityFailed, ExpressionError) as error:
            ran.status, ran.output = FAILED, getattr(error, "output", {})
            ran.error = {"message": str(error), "errorCode": getattr(error, "code", "")}
        return ran

    def _tell(self, ran: Ran) -> dict[str, Any]:
        with self.lock:
            self.run.activities.append(ran)
        return {"status": ran.status, "output": ran.output, "error": ran.error}

    def scope(self, results: Any, item: Any) -> Scope:
        system = {"RunId": self.run.id, "Pipeline": self.run.pipeline}
        with self.lock:
            pairs = self.run.variables.items()
            variables = {k: list(v) if isinstance(v, list) else v for k, v in pairs}
        parameters, shared = self.run.parameters, self.runner.globals
        return Scope(parameters, shared, system, variables, dict(results), item)

    def perform(self, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        steering = getattr(self, f"do_{activity['type'].lower()}", None)
        if steering is not None:
            return steering(activity, scope) or {}
        return self.runner.world.perform(activity["type"], resolve(activity, scope), scope)

    # -- activities that only steer

    def do_foreach(self, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        properties = activity["typeProperties"]
        items = resolve(properties["items"], scope)
        assert len(items) <= MAX_ITEMS
        at_once = 1 if properties["isSequential"] else properties.get("batchCount", 20)

        def one_round(item: Any) -> str:
            results: Any = ChainMap({}, dict(scope.activities))
            return self.graph(properties["activities"], results, item)

        with ThreadPoolExecutor(at_once) as rounds:
            problems = [problem for problem in rounds.map(one_round, items) if problem]
        if problems:
            raise ActivityFailed(f"{len(problems)} inner activities failed: {problems[0]}")
        return {"count": len(items)}

    def do_until(self, activity: dict[str, Any], scope: Scope) -> None:
        properties = activity["typeProperties"]
        while True:
            results: Any = ChainMap({}, dict(scope.activities))
            problem = self.graph(properties["activities"], results, scope.item)
            if problem:
                raise ActivityFailed(problem)
            if resolve(properties["expression"], self.scope(results, scope.item)):
                return

    def do_filter(self, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        properties = activity["typeProperties"]
        items, kept = resolve(properties["items"], scope), []
        for scope.item in items:
            if resolve(properties["condition"], scope):
                kept.append(scope.item)
        return {"ItemsCount": len(items), "FilteredItemsCount": len(kept), "value": kept}

    def do_ifcondition(self, activity: dict[str, Any], scope: Scope) -> None:
        properties = activity["typeProperties"]
        chosen = resolve(properties["expression"], scope)
        assert isinstance(chosen, bool)
        inner = properties.get("ifTrueActivities" if chosen else "ifFalseActivities", [])
        problem = self.graph(inner, ChainMap({}, dict(scope.activities)), scope.item)
        if problem:
            raise ActivityFailed(problem)

    def do_fail(self, activity: dict[str, Any], scope: Scope) -> None:
        properties = resolve(activity["typeProperties"], scope)
        assert isinstance(properties["message"], str)
        raise ActivityFailed(properties["message"], properties["errorCode"])

    def do_appendvariable(self, activity: dict[str, Any], scope: Scope) -> None:
        properties = activity["typeProperties"]
        value = resolve(properties["value"], scope)
        with self.lock:
            self.run.variables[properties["variableName"]].append(value)

    def do_setvariable(self, activity: dict[str, Any], scope: Scope) -> None:
        properties = activity["typeProperties"]
        if not properties.get("setSystemVariable"):
            self.run.variables[properties["variableName"]] = resolve(properties["value"], scope)
            return
        for item in properties["value"]:
            self.run.returned[item["key"]] = evaluate(item["value"]["content"], scope)

    def do_executepipeline(self, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        properties = resolve(activity["typeProperties"], scope)
        assert properties["waitOnCompletion"]
        name = properties["pipeline"]["referenceName"]
        child = self.runner.run(name, **properties["parameters"])
        with self.lock:
            self.run.children.append(child)
        if child.status != DONE:
            raise ActivityFailed(f"Operation on target {activity['name']} failed: {child.message}")
        return {"pipelineRunId": child.id, "pipelineReturnValue": child.returned}

    def do_wait(self, activity: dict[str, Any], scope: Scope) -> None:
        assert resolve(activity["typeProperties"]["waitTimeInSeconds"], scope) > 0


def _problem(activities: Mapping[str, Any], results: Any, name: str) -> str:
    result = results[name]
    if result["status"] == SKIPPED:
        before = [item["activity"] for item in activities[name]["dependsOn"]]
        told = (_problem(activities, results, item) for item in before)
        return "; ".join(dict.fromkeys(filter(None, told)))
    return str(result["error"].get("message")) if result["status"] == FAILED else ""
