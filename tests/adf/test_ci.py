"""The workflow files of ``conf/azure/ci``: by the vendors' schemas, no secret, their commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.adf.az import check
from tests.adf.deploying import CONF, arm, package_in
from tests.engine.running import run

__all__ = ["arm"]

FOLDER = CONF / "azure/ci"
SCHEMAS = {"github.yml": "github-workflows", "azure-pipelines.yml": "azure-pipelines"}


def problems_of(path, schema):
    words = [sys.executable, "-m", "check_jsonschema", "--regex-variant", "python"]
    words += ["--builtin-schema", f"vendor.{schema}", path]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_workflow_is_what_its_vendors_schema_describes(name, schema, tmp_path):
    assert problems_of(FOLDER / name, schema) == ""
    broken = tmp_path / name
    broken.write_text((FOLDER / name).read_text().replace("steps:", "stepps:"))
    assert "stepps" in problems_of(broken, schema)


def test_there_are_no_others():
    assert {path.name for path in FOLDER.iterdir()} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_logins_are_federated_and_no_secret_is_named(name):
    text = (FOLDER / name).read_text()
    plain = re.sub(r"#.*", "", text).lower()
    assert not re.search(r"secret|password|creds|_key|connection.?string|sas", plain)
    if name == "github.yml":
        assert yaml.safe_load(text)["permissions"] == {"contents": "read", "id-token": "write"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_az_takes_its_commands(name):
    (call,) = re.findall(r"^ *az (.*)", (FOLDER / name).read_text(), re.MULTILINE)
    check(shlex.split(call))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_commands_of_a_workflow_are_taken_and_deploy(name, arm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    package_in(tmp_path).rename(tmp_path / "build/package")
    arm.directory = {}
    arm.login.claims.pop("scp")  # an application's token has no scope
    calls = re.findall(r"evensplit (batch .*)", (FOLDER / name).read_text())
    what_if, apply, doctor = [shlex.split(call.replace("$GROUP", "G")) for call in calls]
    assert run(*what_if, "--conf", CONF).code == 0
    assert arm.resources == {}
    ended = run(*apply, "--conf", CONF)
    assert ended.code == 0, ended.err
    given = [item["properties"]["principalType"] for _, item in arm.of("roleAssignments")]
    assert set(given) == {"ServicePrincipal"}
    assert "login: ServicePrincipal" in run(*doctor).out
