"""What is installed: every package of the folders, the files of ``conf/``, and the other names."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from batchjobs.pool import read_formula
from engine.conf import PACKAGE, conf_file
from engine.version import __version__

ROOT = Path(__file__).parents[1]


def test_all_packages_are_named():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("engine", "batchjobs")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert sorted(named) == sorted({*found, PACKAGE})


def test_the_files_of_conf_are_installed():
    installed = Path(str(files(PACKAGE)))
    for path in (ROOT / "conf").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            there = installed / path.relative_to(ROOT / "conf")
            assert there.read_bytes() == path.read_bytes()


def test_a_copy_in_the_current_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "@most_spot@" in read_formula("spot")
    mine = tmp_path / "conf" / "batch" / "autoscale" / "spot.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert read_formula("spot") == "mine"
    assert read_formula("pending") != "mine"
    assert conf_file("azure", "main.json") is not None


@pytest.mark.parametrize("module", ["evensplit", "engine"])
def test_the_program_runs_by_the_project_s_and_the_package_s_name(module: str, tmp_path: Path):
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", module, "--version"]
    ended = subprocess.run(
        words, check=False, capture_output=True, text=True, env=place, cwd=tmp_path
    )
    assert ended.stdout.strip() == f"evensplit, version {__version__}"


def test_the_project_s_name_is_the_facade(tmp_path: Path):
    code = "import evensplit, engine; assert evensplit is engine; evensplit.plan"
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=place, cwd=tmp_path)
