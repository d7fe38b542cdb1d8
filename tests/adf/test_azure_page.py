"""``docs/azure.md``, as somebody follows it: each command is run, or held against its parser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from batchjobs.cli import batch
from tests.adf.az import check, commands_in
from tests.adf.deploying import CONF, arm, package_in
from tests.adf.factory import ROOT, load
from tests.engine.running import run

__all__ = ["arm"]

HERE = ROOT.parents[1]
PAGE = HERE / "docs/azure.md"
SAYING_AZ = [PAGE, *sorted((HERE / "batchjobs").rglob("*.py"))]

# Every program of the page: it notes its words, and says what the page goes on with.
FAKE = """#!{python}
import json, sys
from pathlib import Path
words = [Path(sys.argv[0]).name, *sys.argv[1:]]
with open({log!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
answers = {{
    "ad signed-in-user": "me-id",
    "storage account list": "lake1",
    "datafactory list": "factory1",
    "storage account show": "/subscriptions/s/lake1",
}}
print(next((text for begin, text in answers.items() if " ".join(words[1:]).startswith(begin)), ""))
"""


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """The words of every program that the first section calls, in order."""
    folder = tmp_path_factory.mktemp("page")
    log = folder / "log"
    (folder / "bin").mkdir()
    for name in ("az", "pip", "make", "evensplit"):
        program = folder / "bin" / name
        program.write_text(FAKE.format(python=sys.executable, log=str(log)))
        program.chmod(0o755)
    section = PAGE.read_text().partition("## 1.")[2].partition("\n## 2.")[0]
    script = "\n".join(re.findall(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    environment = os.environ | {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", script], check=True, env=environment, cwd=folder)
    return [json.loads(line) for line in log.read_text().splitlines()]


def words_of(called, program):
    return [words for name, *words in called if name == program]


def test_az_takes_every_command_of_the_first_section_with_what_the_shell_puts_in(called):
    every = words_of(called, "az")
    assert len(every) >= 14
    for words in every:
        check(words)
        assert "" not in words
        assert "$" not in " ".join(words)
    (role,) = [words for words in every if words[:3] == ["role", "assignment", "create"]]
    assert role[role.index("--scope") + 1] == (
        "/subscriptions/s/lake1/blobServices/default/containers/lake"
    )
    (started,) = [words for words in every if "create-run" in words]
    pipeline = load()["pipeline"][started[started.index("--name") + 1]]["properties"]
    given = json.loads(started[started.index("--parameters") + 1])
    assert set(given) <= set(pipeline["parameters"])


def test_evensplit_and_make_take_theirs(called, arm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    (tmp_path / "build").mkdir()
    package_in(tmp_path).rename(tmp_path / "build/package")
    deploy, doctor = words_of(called, "evensplit")
    # The stand-in's group is called G; the rest is as it stands on the page.
    ended = run(*deploy, "--group", "G", "--conf", CONF)
    assert ended.code == 0, ended.err
    assert run(*doctor, "--group", "G").out.startswith("ok      login")
    (make,) = words_of(called, "make")
    subprocess.run(["make", "-n", *make], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    (pip,) = words_of(called, "pip")
    assert pip == ["install", ".[manage]"]


@pytest.mark.parametrize("path", SAYING_AZ, ids=lambda path: str(path.relative_to(HERE)))
def test_az_takes_what_pages_and_messages_say(path: Path):
    for words in commands_in(path):
        check(words)


@pytest.mark.parametrize(
    "words",
    [
        "group create --name a",
        "group create --name a --location b --size 3",
        "grp create",
        "storage blob list --container-name",
    ],
)
def test_the_check_finds_what_az_would_not_take(words):
    with pytest.raises(ValueError, match=r"\w"):
        check(words.split())


def test_every_test_that_the_table_of_flows_names_is_there():
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", PAGE.read_text())
    assert len(named) >= 18
    for path, name in named:
        assert f"def {name}(" in (HERE / "tests" / path).read_text(), (path, name)


def test_evensplit_has_every_command_and_option_that_the_page_names():
    text = re.sub(r"\\\n\s*", " ", PAGE.read_text())
    named = re.findall(r"^evensplit (batch .*)", text, re.MULTILINE)
    named += re.findall(r"`evensplit (batch [^`]+)`", text)
    assert len(named) >= 8
    for call in named:
        command, words = batch, call.split()[1:]
        while isinstance(command, click.Group) and words:
            command = command.commands[words.pop(0)]
        known = {option for item in command.params for option in item.opts}
        assert {word for word in words if word.startswith("--")} <= known, call
