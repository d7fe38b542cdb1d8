"""The rules by which pipelines are run here: expressions, and which activity runs after which."""

from __future__ import annotations

import threading

import pytest

from tests.adf.expressions import ExpressionError, Scope, evaluate, resolve
from tests.adf.runner import MAX_PAYLOAD_BYTES, ActivityFailed, Runner

NAME = "A b'$@{1}.parquet"
SCOPE = Scope(
    parameters={"p": "x*y", "e": "", "n": 3},
    globals={"g": "https://b"},
    system={"RunId": "r1"},
    variables={"some": ["a", "b"], "none": []},
    activities={
        "Get it": {
            "status": "Succeeded",
            "output": {"childItems": [{"name": NAME, "type": "File"}], "exists": True},
            "error": {},
        },
        "Bad one": {"status": "Failed", "output": {}, "error": {"message": "oops"}},
    },
    item={"name": NAME, "type": "File"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("@@x", "@x"),
        ("a @{item().name} b", f"a {NAME} b"),
        ("@contains(activity('Get it').output.childItems, item())", True),
        ("@contains('aBc','b')", False),
        ("@startswith(item().name, 'a')", True),
        ("@endswith('abc.PARQUET', '.parquet')", True),
        ("@endswith('abc', '')", True),
        ("@activity('Get it').output?.nothing", None),
        ("@coalesce(activity('Get it').output?.nothing, json('[]'))", []),
        ("@first(split(pipeline().parameters.p, '*'))", "x"),
        ("@last(split('abc','*'))", "abc"),
        ("@concat('it''s ', string(3), null, true)", "it's 3True"),
        ("@activity('Bad one').error.message", "oops"),
        ("@join(variables('some'),'; ')", "a; b"),
        ("@length(variables('none'))", 0),
        ("@pipeline().globalParameters.g", "https://b"),
        ("@pipeline().RunId", "r1"),
        ("@empty(item()?.missing)", True),
        ("@if(less(pipeline().parameters.n, 4), 'few', 'many')", "few"),
        ("@substring('abc', 0, min(length('abc'), 10))", "abc"),
        ("@and(not(empty(pipeline().parameters.e)), true)", False),
        ("@json('{\"a\":[1]}').a[0]", 1),
        ("@string(item())", '{"name":"A b\'$@{1}.parquet","type":"File"}'),
        ("@equals('File', 'file')", False),
        ("@skip(split('a/b/c', '/'), 1)", ["b", "c"]),
        ("@int('7')", 7),
    ],
)
def test_an_expression_has_its_value(text, value):
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text", ["@item().missing", "@nothing('a')", "@concat('a'", "@concat('a')b", "@variables('x')"]
)
def test_what_the_service_refuses_is_refused(text):
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


def test_only_what_is_marked_is_an_expression():
    value = {"a": "@item()", "b": [{"value": "@pipeline().RunId", "type": "Expression"}]}
    assert resolve(value, SCOPE) == {"a": "@item()", "b": ["r1"]}


class Scripted:
    """A world whose Custom activities do what their command says."""

    def __init__(self):
        self.done, self.together = [], threading.Barrier(3, timeout=240)

    def perform(self, kind, activity, scope):
        command = activity["typeProperties"]["command"]
        self.done.append(command)
        if command == "meet":
            self.together.wait()
        if command.startswith("fail"):
            raise ActivityFailed(command)
        return {"text": "x" * (MAX_PAYLOAD_BYTES if command == "talk" else 1)}


def step(name, command="ok", after=(), **more):
    waits = [{"activity": n, "dependencyConditions": [c]} for n, c in after]
    properties = {"command": command}
    return {"name": name, "type": "Custom", "dependsOn": waits, "typeProperties": properties} | more


def ran(*activities, parameters=None):
    properties = {"activities": list(activities), "parameters": parameters or {}}
    factory = {
        "factory": {"evensplit": {"properties": {"globalParameters": {}}}},
        "pipeline": {"p": {"properties": properties | {"variables": {"v": {"type": "Array"}}}}},
    }
    world = Scripted()
    run = Runner(factory, world).run("p")
    return run, world.done


def loop(kind, items, *activities, **more):
    properties = {"isSequential": kind == "in turn", "items": items, "activities": list(activities)}
    return step("Loop", type="ForEach", typeProperties=properties | more)


def test_a_run_is_as_good_as_its_leaves():
    """The cases of Microsoft's page on pipeline failure and error handling."""
    fails = step("A", "fail a")
    good, bad = step("B", after=[("A", "Succeeded")]), step("C", after=[("A", "Failed")])
    handled, _ = ran(fails, bad)
    assert handled.status == "Succeeded"
    if_else, done = ran(fails, good, bad)
    assert (if_else.status, if_else.message, done) == ("Failed", "fail a", ["fail a", "ok"])
    skip_else, done = ran(fails, good, step("D", after=[("B", "Skipped")]))
    assert (skip_else.status, done) == ("Succeeded", ["fail a", "ok"])
    anyway, _ = ran(fails, step("D", after=[("A", "Completed")]))
    assert anyway.status == "Succeeded"
    chained, done = ran(fails, good, step("D", after=[("B", "Completed")]))
    assert (chained.status, done) == ("Failed", ["fail a"])


def test_a_parallel_loop_is_parallel_and_all_rounds_are_run():
    together, done = ran(loop("at once", [1, 2, 3], step("A", "meet"), batchCount=3))
    assert (together.status, len(done)) == ("Succeeded", 3)
    for kind in ("in turn", "at once"):
        failing, done = ran(loop(kind, [1, 2], step("A", "fail")))
        assert (failing.status, len(done)) == ("Failed", 2)
        assert failing.message == "2 inner activities failed: fail"


def test_an_activity_is_repeated_by_its_policy():
    again, done = ran(step("A", "fail", policy={"retry": 2}))
    assert (again.status, len(done), again.of("A")[0].attempts) == ("Failed", 3, 3)


def test_an_activity_that_says_too_much_fails():
    run, _ = ran(step("A", "talk"))
    assert (run.status, "payload" in run.message) == ("Failed", True)


def test_conditions_filters_and_repetitions():
    expression = {"value": "@less(length(variables('v')), 2)", "type": "Expression"}
    append = {"variableName": "v", "value": "x"}
    until = {
        "expression": {"value": "@equals(length(variables('v')), 3)", "type": "Expression"},
        "activities": [step("More", type="AppendVariable", typeProperties=append)],
    }
    condition = {
        "expression": expression,
        "ifTrueActivities": [step("Few", "fail few")],
        "ifFalseActivities": [step("Many", "ok")],
    }
    keep = {
        "items": [1, 2, 3],
        "condition": {"value": "@not(equals(item(), 2))", "type": "Expression"},
    }
    run, done = ran(
        step("Again", type="Until", typeProperties=until),
        step("Choose", type="Filter", typeProperties=keep),
        step("If", type="IfCondition", typeProperties=condition, after=[("Again", "Succeeded")]),
    )
    assert (run.status, run.variables["v"], done) == ("Succeeded", ["x"] * 3, ["ok"])
    assert run.of("Choose")[0].output["value"] == [1, 3]
    early, _ = ran(step("If", type="IfCondition", typeProperties=condition))
    assert (early.status, early.message) == ("Failed", "fail few")


def test_parameters_must_be_there_and_of_their_type():
    wanted = {"n": {"type": "int"}}
    with pytest.raises(AssertionError, match="parameter n"):
        ran(step("A"), parameters=wanted)
