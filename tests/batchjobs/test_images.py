"""Which image nodes get: what the service supports, exactly, in its newest pinned version."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from batchjobs.images import UBUNTU, check_containers, check_python, choose_image, newest
from batchjobs.spec import SupportedImage
from engine import BadSetting
from tests.engine.running import run

DAILY = SupportedImage("canonical", "ubuntu-24_04-lts-daily", "server", UBUNTU.agent)
OLDER = SupportedImage("canonical", "ubuntu-24_04-lts", "server", "batch.node.ubuntu 22.04")
UNVERIFIED = SupportedImage(
    "canonical", "ubuntu-24_04-lts", "server", UBUNTU.agent, is_verified=False
)
IMAGE = ("canonical", "ubuntu", "server", "1.2")
HPC = SupportedImage("microsoft-dsvm", "ubuntu-hpc", "2404", UBUNTU.agent, runs_containers=True)


def test_an_image_is_taken_by_its_whole_name_its_agent_and_the_services_word():
    every = [DAILY, OLDER, UNVERIFIED, HPC, UBUNTU]
    assert choose_image(every, for_containers=False) == UBUNTU
    assert choose_image(every, for_containers=True) == HPC
    assert choose_image(None, for_containers=False) == UBUNTU
    older = replace(HPC, sku="2204", agent="batch.node.ubuntu 22.04")
    dry = replace(HPC, sku="2604", runs_containers=False)
    assert choose_image([HPC, older, dry], for_containers=True) == HPC
    assert choose_image(None, for_containers=True) == older
    for lacking in ([DAILY, OLDER, UNVERIFIED, HPC], []):
        with pytest.raises(BadSetting, match="evensplit batch images"):
            choose_image(lacking, for_containers=False)


def test_versions_are_compared_as_numbers():
    versions = ["24.04.202409120", "24.04.2024100", "24.4.9", "latest", "24.10.1"]
    assert newest(versions, "x") == "24.10.1"
    assert newest(versions[:3], "x") == "24.04.202409120"
    with pytest.raises(BadSetting, match="a:b:c has no version"):
        newest(["latest"], "a:b:c")


def test_containers_need_an_image_that_runs_them():
    every = [UBUNTU, HPC]
    check_containers(("Microsoft-dsvm", "ubuntu-hpc", "2404", "1"), every)
    check_containers(("mine", "own", "x", "1"), every)  # the service does not know it
    with pytest.raises(BadSetting, match="`containers`"):
        check_containers(("canonical", "ubuntu-24_04-lts", "server", "1"), every)


def test_a_package_for_another_python_than_the_nodes_is_refused():
    wheels = ["numpy-2.3-cp312-cp312-manylinux_2_28_x86_64.whl", "a-1-cp39-abi3-any.whl"]
    check_python(wheels, IMAGE, "batch.node.ubuntu 24.04")
    check_python(wheels, IMAGE, "batch.node.own 1")
    check_python(["evensplit-1-py3-none-any.whl"], IMAGE, "batch.node.debian 12")
    check_python(wheels, ("/subscriptions/x",), "batch.node.ubuntu 22.04")  # who knows
    with pytest.raises(BadSetting, match=r"NODE_PYTHON=3\.11"):
        check_python(wheels, IMAGE, "batch.node.debian 12")
    with pytest.raises(BadSetting, match=r"Python 3\.10, and evensplit needs 3\.11"):
        check_python([], IMAGE, "batch.node.ubuntu 22.04")


def test_the_command_lists_what_the_service_supports(fake):
    shown = run("batch", "images")
    assert shown.code == 0, shown.err
    rows = [line.split()[0] for line in shown.out.splitlines() if ":" in line]
    assert len(rows) == 4
    assert "canonical:ubuntu-24_04-lts:server" in rows
    assert "daily" not in shown.out
    every = json.loads(run("batch", "images", "--all", "--json").out)
    assert len(every) == 5
    (found,) = [item for item in every if item["runs_containers"]]
    assert (found["offer"], found["end_date"], found["version"]) == (
        "ubuntu-hpc",
        "2029-04-30",
        "",
    )
    wrong = run("batch", "images", "--location", "West Europe")
    assert (wrong.code, "--subscription" in wrong.err) == (2, True)
