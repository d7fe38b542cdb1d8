"""Ids: hashes of every field, so that no two specs ever share one."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from batchjobs.spec import FileSplit, JobSpec, PoolSpec, TaskSpec, checked_settings
from engine import BadSetting

FILE = FileSplit("a.parquet", "out/a", "v1", 10)
TASK = TaskSpec((FILE,), {"target_size": "1MB"}, 1, "p1")
JOB = JobSpec(("in/a", "in/b"), "out", {"cut": "row"}, "pool")
OTHER_FILES = {"source": "b", "destination": "c", "version": "v2", "size_bytes": 11}
OTHER_TASKS = {"files": (FILE, FILE), "settings": {}, "num_slots": 2, "package": "p2"}
OTHER_JOBS = {
    "sources": ("in/a",),
    "destination": "other",
    "settings": {},
    "pool_id": "other",
    "slots_per_node": 3,
    "max_retries": 0,
    "max_task_seconds": 1,
    "retention_seconds": 1,
    "max_job_seconds": 1,
    "client_id": "c",
    "labels": (("a", "b"),),
    "outputs_url": "https://x",
    "identity": "/subscriptions/x",
    "attempt": 1,
    "prefix": "local",
}
POOL = PoolSpec("standard_d2ds_v5", ("a", "b", "c", "1"), "agent")
OTHER_POOLS = {
    "vm_size": "standard_d4ds_v5",
    "image": ("a", "b", "c", "2"),
    "agent": "other",
    "slots_per_node": 2,
    "num_dedicated": 1,
    "num_spot": 1,
    "formula": "$TargetDedicatedNodes = 0;",
    "package": "p",
    "package_container": "c",
    "application": "evensplit:1",
    "container": "server/evensplit:1",
    "registry": "server",
    "identity": "/subscriptions/x",
}


@pytest.mark.parametrize(
    ("spec", "others"),
    [(TASK, OTHER_TASKS), (JOB, OTHER_JOBS), (POOL, OTHER_POOLS)],
    ids=["task", "job", "pool"],
)
def test_every_field_changes_the_id(spec, others):
    assert {item.name for item in fields(spec)} == set(others)
    ids = {spec.id} | {replace(spec, **{name: value}).id for name, value in others.items()}
    assert len(ids) == 1 + len(others)
    assert all(len(name) <= 64 and name.replace("-", "").isalnum() for name in ids)


def test_every_field_of_a_file_changes_the_id_of_its_task():
    assert {item.name for item in fields(FILE)} == set(OTHER_FILES)
    for name, value in OTHER_FILES.items():
        assert replace(TASK, files=(replace(FILE, **{name: value}),)).id != TASK.id


def test_the_order_of_sources_does_not_change_a_job():
    assert replace(JOB, sources=JOB.sources[::-1]).id == JOB.id


def test_a_task_travels_as_text():
    assert TaskSpec.from_json(TASK.to_json()) == TASK
    assert TaskSpec.from_json(TASK.to_json()).id == TASK.id


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": []}', '{"files": [{"source": "a"}]}', TASK.to_json()[:-1]]
)
def test_text_that_is_no_task_is_refused(text):
    with pytest.raises(BadSetting, match="spec"):
        TaskSpec.from_json(text)


def test_settings_get_their_types():
    found = checked_settings({"parts": "3", "dictionary": "False", "codec": None, "columns": "a,b"})
    assert found == {"parts": 3, "dictionary": False, "columns": "a,b"}


@pytest.mark.parametrize(
    "given", [{"parts": "three"}, {"partz": 3}, {"dictionary": "maybe"}, {"cut": {"a": 1}}]
)
def test_settings_of_another_type_or_name_are_refused(given):
    with pytest.raises(BadSetting, match=next(iter(given))):
        checked_settings(given)
