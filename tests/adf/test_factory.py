"""What lies in ``conf/adf``: the service's models, references, limits, and no secret."""

from __future__ import annotations

import copy
import json
import re

import pytest
from azure.mgmt.datafactory import models

from tests.adf.expressions import FUNCTIONS, MAX_CHARACTERS
from tests.adf.factory import activities, expressions, load, references, walk
from tests.adf.models import misfits

FACTORY = load()
MODELS = {
    "factory": models.Factory,
    "linkedService": models.LinkedServiceResource,
    "dataset": models.DatasetResource,
    "pipeline": models.PipelineResource,
    "trigger": models.TriggerResource,
}
FILES = [(kind, name) for kind in FACTORY for name in sorted(FACTORY[kind])]
PIPELINES = FACTORY["pipeline"]
# learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits
MAX_ACTIVITIES, MAX_PARAMETERS, MAX_BATCH, MAX_OBJECT_BYTES = 80, 50, 50, 200_000
LOOPS = ("ForEach", "Until")
TIMEOUT = re.compile(r"[0-7]\.([01]\d|2[0-3]):[0-5]\d:[0-5]\d")


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_file_is_what_the_model_describes(kind, name):
    data = FACTORY[kind][name]
    assert data["name"] == name
    assert misfits(MODELS[kind], data) == []


def test_the_models_find_what_is_wrong():
    """A check that cannot fail would prove nothing."""
    data = copy.deepcopy(PIPELINES["split_folder"])
    first, second = data["properties"]["activities"][1:3]
    first["typeProperties"]["fieldsList"] = first["typeProperties"].pop("fieldList")
    first["polcy"] = first.pop("policy")
    del first["typeProperties"]["dataset"]
    second["type"] = "GetMetaData"
    found = " ".join(misfits(models.PipelineResource, data))
    for wrong in ("fieldsList: unknown", "polcy: unknown", "dataset: missing", "activities[2]"):
        assert wrong in found


def test_every_reference_has_its_target_and_its_parameters():
    found = [item for kind, name in FILES for item in references(FACTORY[kind][name])]
    for pipeline in PIPELINES.values():
        for activity in activities(pipeline):
            if activity["type"] == "ExecutePipeline":
                (called,) = references(activity["typeProperties"]["pipeline"])
                found.append((*called[:2], activity["typeProperties"]["parameters"]))
    for trigger in FACTORY["trigger"].values():
        used = trigger["properties"]["pipelines"]
        names = [item["pipelineReference"]["referenceName"] for item in used]
        found += [("pipeline", n, i["parameters"]) for n, i in zip(names, used, strict=True)]
    assert len(found) > 30
    for kind, name, given in found:
        wanted = FACTORY[kind][name]["properties"].get("parameters", {})
        assert set(given) <= set(wanted), (kind, name)
        if kind == "dataset" or (kind == "pipeline" and given):
            needed = {key for key, value in wanted.items() if "defaultValue" not in value}
            assert needed <= set(given), (kind, name)
    pointed_at = {(kind, name) for kind, name, _ in found}
    for kind in ("linkedService", "dataset"):
        assert {name for k, name in pointed_at if k == kind} == set(FACTORY[kind])


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_keeps_the_limits_of_data_factory(name):
    pipeline = PIPELINES[name]
    properties, every = pipeline["properties"], activities(pipeline)
    assert len(json.dumps(pipeline)) < MAX_OBJECT_BYTES
    assert len(every) <= MAX_ACTIVITIES
    assert len(properties["parameters"]) <= MAX_PARAMETERS
    assert all(len(text) <= MAX_CHARACTERS for text in expressions(pipeline))
    names = [activity["name"] for activity in every]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z][\w ]{0,54}", text) for text in names)
    for activity in every:
        assert activity["description"]
        assert len(activity["userProperties"]) <= 5
        if "policy" in activity:
            assert TIMEOUT.fullmatch(activity["policy"]["timeout"]), activity["name"]
            assert 0 < activity["policy"]["retry"] <= 10
            assert 30 <= activity["policy"]["retryIntervalInSeconds"] <= 86_400
        inner = activities(activity["typeProperties"])
        if activity["type"] in LOOPS:
            assert not [item for item in inner if item["type"] in LOOPS], "no loop in a loop"
        if activity["type"] == "IfCondition":
            assert not [item for item in inner if item["type"] in ("IfCondition", "Switch", *LOOPS)]
        if activity["type"] == "ForEach" and not activity["typeProperties"]["isSequential"]:
            assert 1 <= activity["typeProperties"]["batchCount"] <= MAX_BATCH
            # Parallel rounds would overwrite each other's.
            assert not [item for item in inner if item["type"] == "SetVariable"]


@pytest.mark.parametrize("name", PIPELINES)
def test_an_expression_names_only_what_is_there(name):
    pipeline = PIPELINES[name]
    properties = pipeline["properties"]
    known = {
        r"pipeline\(\)\.parameters\.(\w+)": set(properties["parameters"]),
        r"pipeline\(\)\.globalParameters\.(\w+)": set(
            FACTORY["factory"]["evensplit"]["properties"]["globalParameters"]
        ),
        r"variables\('([^']+)'\)": set(properties.get("variables", {})),
        r"activity\('([^']+)'\)": {activity["name"] for activity in activities(pipeline)},
    }
    texts = expressions(pipeline)
    assert texts
    used = set()
    for text in texts:
        for pattern, names in known.items():
            assert set(re.findall(pattern, text)) <= names, text
        unquoted = re.sub(r"'(?:[^']|'')*'", "''", text)
        called = {word.lower() for word in re.findall(r"(\w+)\(", unquoted)}
        assert called <= {*FUNCTIONS, "pipeline", "variables", "activity", "item"}, text
        used |= set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", text))
    assert used == set(properties["parameters"]), "a parameter that nothing reads"
    for activity in activities(pipeline):
        variable = activity["typeProperties"].get("variableName", "pipelineReturnValue")
        assert variable in {*properties.get("variables", {}), "pipelineReturnValue"}


def test_dependencies_are_of_the_same_scope():
    def check(siblings):
        names = {activity["name"] for activity in siblings}
        for activity in siblings:
            assert {item["activity"] for item in activity["dependsOn"]} <= names - {
                activity["name"]
            }
            inner = activity["typeProperties"]
            for key in ("activities", "ifTrueActivities", "ifFalseActivities"):
                check(inner.get(key, []))

    for pipeline in PIPELINES.values():
        check(pipeline["properties"]["activities"])


def test_no_secret_and_no_name_of_a_file_can_reach_a_command_line():
    texts = [
        item for kind, name in FILES for item in walk(FACTORY[kind][name]) if isinstance(item, str)
    ]
    assert not [
        text
        for text in texts
        if re.search(r"AccountKey=|sig=|SecureString|[A-Za-z0-9+/]{60}", text)
    ]
    custom = [a for p in PIPELINES.values() for a in activities(p) if a["type"] == "Custom"]
    assert len(custom) == 4
    (command,) = {activity["typeProperties"]["command"] for activity in custom}
    assert command == command.strip()
    assert "@" not in command
    keys = [item for item in walk(FACTORY["linkedService"]) if isinstance(item, dict)]
    secrets = [item["secretName"] for item in keys if item.get("type") == "AzureKeyVaultSecret"]
    assert sorted(secrets) == ["batch-key", "work-key"]
