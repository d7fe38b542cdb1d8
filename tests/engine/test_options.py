"""One table of options: every door has those of the table, and says the same of a wrong value."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from batchjobs.cli.group import batch
from batchjobs.spec import checked_settings
from engine.cli import commands
from engine.cli.config import load_config
from engine.errors import BadSetting
from engine.hooks import find_each
from engine.options import (
    OPTIONS,
    Option,
    SourceOptions,
    SplitOptions,
    option_named,
    options_of,
    settings_from,
)
from tests.engine.running import run, write_source

ROOT = Path(__file__).parents[2]
# A value of each kind as users write it, and what the settings hold.
GOOD: dict[str, list[tuple[Any, Any]]] = {
    "size": [("100MB", 10**8), ("1 MiB", 1 << 20), (5, 5)],
    "count": [(3, 3), ("3", 3)],
    "number": [(1, 1), ("1", 1)],
    "text": [("a", "a")],
    "template": [("a{index}.parquet", "a{index}.parquet")],
    "switch": [(True, True), ("false", False)],
    "names": [("a,b", ("a", "b")), (["a", "b"], ("a", "b"))],
    "globs": [("*.a, 2024/**", ("*.a", "2024/**")), (["./x,y"], ("x,y",))],
    "row-group-size": [
        ("1MB", (10**6, None, None)),
        ("10 rows", (None, 10, None)),
        ("Auto", (None, None, 16 << 20)),
    ],
    "character": [("|", "|"), ("tab", "\t"), ("\t", "\t")],
    "pairs": [("anon=true", '{"anon": true}'), ('{"port": 1}', '{"port": 1}')],
}
BAD: dict[str, list[Any]] = {
    "size": ["0", "-1MB", "much", [], 1.5j, float("inf")],
    "count": [0, -1, "x", 1.5, True, float("nan"), float("inf")],
    "number": ["x", [], 0.5],
    "text": [3, b"x"],
    "template": [3, "a.parquet", "{index}", "{idx}.parquet", "a/{index}.parquet"],
    "switch": ["maybe", 7],
    "names": [3, [1]],
    "globs": [3, [1], "", "a,,b", "/a", "s3://b/*", [""]],
    "row-group-size": ["x rows", "0"],
    "character": ["", "ab", "é", "\n", 3],
    "pairs": [3, "anon", {"password": 1}, "secret=x"],
}
every_option = pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))


def params(command: click.Command) -> dict[str, click.Option]:
    return {p.name or "": p for p in command.params if isinstance(p, click.Option)}


@every_option
def test_every_door_has_the_option(option: Option):
    assert option.name in SplitOptions.__annotations__
    doors = {
        "plan": commands.plan,
        "split": commands.split,
        "report": commands.report,
        "batch": batch.commands["submit"],
    }
    for name, command in doors.items():
        found = params(command).get(option.name)
        assert (found is not None) == (name in option.commands)
        if found is not None:
            assert option.flag in found.opts
            assert found.envvar == option.variable


def test_no_door_has_others():
    assert set(SplitOptions.__annotations__) == set(OPTIONS)
    own = {"as_json", "dry_run", "resume", "verify", "help", "log_format", "quiet", "verbose"}
    assert set(params(commands.split)) - own == {option.name for option in options_of("split")}


def test_whatever_reads_folders_has_globs(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_source(tmp_path / "in" / f"{name}.parquet", 9)
        (tmp_path / "in" / f"{name}.csv").write_text("x,y\n1,2\n")
    folder = str(tmp_path / "in")
    files: SourceOptions = {"include": "*.parquet", "exclude": ["c.*"], "rehydrate": True}
    ours = [f"{folder}/{name}.parquet" for name in "ab"]
    assert [it.path for it in engine.find_sources(folder, **files)] == ours
    assert [it.path for it, _ in find_each([folder], **files)] == ours
    assert [it.path for it in engine.profile(folder, **files)] == ours
    assert engine.profile_key(folder, "id", workers=1, **files).num_rows == 18
    assert [it.path for it in engine.plan(folder, parts=1, **files).sources] == ours
    assert not engine.are_lines(folder, **files)
    lines: SourceOptions = {"include": "[ab].csv"}
    assert engine.are_lines(folder, **lines)
    assert len(engine.profile_lines(folder, **lines)) == 2
    for command in ("profile", "plan"):
        words = [command, folder, "--json", "--exclude", "*.csv,c.*"]
        told = json.loads(run(*words).out)
        assert [Path(it["path"]).name for it in told.get("files") or told["sources"]] == [
            "a.parquet",
            "b.parquet",
        ]
    run("report", folder, "--exclude", "*.csv,c.*", "--output", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert ("b.parquet" in page, "c.parquet" in page) == (True, False)
    with pytest.raises(BadSetting, match="has no option parts"):
        engine.find_sources(folder, parts=3)  # type: ignore[call-arg]


def test_the_sample_of_a_toml_file_names_options_only():
    text = (ROOT / "conf" / "evensplit.toml").read_text()
    shown = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    keys = tomllib.loads("\n".join(line for line in shown if " = " in line))
    assert set(keys) <= set(OPTIONS)
    assert set(OPTIONS) - set(keys) == {"parts", "rows_per_part", "overwrite"}


@every_option
def test_values_are_taken_as_users_write_them(option: Option):
    if option.choices:
        assert option.parse(option.choices[0].upper()) == option.choices[0]
        return
    for value, expected in GOOD[option.kind]:
        assert option.parse(value) == expected
    assert option.parse(None) == option.default


@every_option
def test_a_wrong_value_is_told_by_the_option_s_name(option: Option):
    for value in ["zebra"] if option.choices else BAD[option.kind]:
        with pytest.raises(BadSetting) as raised:
            option.parse(value)
        told = option.flag if option.kind != "pairs" else "storage.option"
        assert re.search(told, str(raised.value))
        assert "\n" not in str(raised.value)


def test_a_table_of_a_toml_file_is_an_option(tmp_path: Path):
    for text in (
        "[storage_options]\nanon = true\nport = 1\n",
        'storage_options = "anon=true"\n[split.storage_options]\nport = 1\nanon = true\n',
        """[split]\nstorage_options = '{"anon": true, "port": 1}'\n""",
    ):
        path = tmp_path / "e.toml"
        path.write_text(text)
        given = load_config(str(path))["split"]
        with commands.split.make_context("split", ["a", "b"], default_map=given) as context:
            found = settings_from({"storage_options": context.params["storage_options"]})
        assert found.access.storage_options == '{"anon": true, "port": 1}'


def test_options_of_stores_come_one_by_one_or_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    words = ["--storage-option", "anon=true", "--storage-option", "port=1", "a", "b"]
    with commands.split.make_context("split", words) as context:
        assert context.params["storage_options"] == ("anon=true", "port=1")
    monkeypatch.setenv("EVENSPLIT_STORAGE_OPTIONS", '{"anon": true, "port": 1}')
    with commands.split.make_context("split", ["a", "b"]) as context:
        assert context.params["storage_options"] == ('{"anon": true, "port": 1}',)


@given(st.text() | st.integers() | st.booleans() | st.floats() | st.lists(st.text()))
def test_any_value_is_taken_or_refused(value: object):
    for name in OPTIONS:
        with suppress(BadSetting):
            settings_from({name: value})


def test_an_option_that_there_is_not_gets_the_nearest():
    with pytest.raises(BadSetting, match="did you mean target_size"):
        engine.make_settings(tagret_size="100MB")  # type: ignore[call-arg]
    with pytest.raises(BadSetting, match="no option xyz; see --help"):
        option_named("xyz")


@every_option
def test_a_batch_s_settings_survive_a_command_line(option: Option):
    if "batch" not in option.commands:
        return
    good = option.choices or [value for value, _ in GOOD[option.kind]]
    submit = batch.commands["submit"]
    for value in good:
        if isinstance(value, list):  # in JSON, names are text
            continue
        (kept,) = checked_settings({option.name: value}).values()
        words = ["--dest", "x", *option.words(kept), "y"]
        with submit.make_context("submit", words, resilient_parsing=False) as context:
            told = context.params[option.name]
        assert checked_settings({option.name: told}) == {option.name: kept}


@pytest.mark.slow
def test_a_type_checker_finds_a_typing_error(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text('import engine\nengine.split("a", "b", tagret_size="100MB")\n')
    # As `make lint` does, which has kept what it found of our modules.
    words = [sys.executable, "-m", "mypy", str(program)]
    place = os.environ | {"MYPYPATH": "."}
    ended = subprocess.run(words, check=False, capture_output=True, text=True, env=place, cwd=ROOT)
    assert ended.returncode == 1
    assert 'Unexpected keyword argument "tagret_size"' in ended.stdout


def test_no_command_has_two_parameters_of_one_name():
    todo: list[click.Command] = [*commands.ALL, batch]
    while todo:
        command = todo.pop()
        flags = [p.name for p in command.params if isinstance(p, click.Option) and p.flag_value]
        names = [p.name for p in command.params if p.name not in flags]
        assert len(names) == len(set(names)), command.name
        todo += command.commands.values() if isinstance(command, click.Group) else []
