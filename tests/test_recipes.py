"""The recipes of an image and of a conda package say what ``pyproject.toml`` says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.version import __version__

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent  # of this environment, which need not be on the path
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "conf/conda/recipe.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# dask[distributed] is two packages there, and the first brings no more than Dask itself.
CONDA_NAMES = {
    "dask[distributed]": ("dask-core", "distributed"),
    "backports-zstd": ("backports.zstd",),
}


def under_conda_names(requirements: list[str]) -> set[str]:
    found = set()
    for requirement in requirements:
        needed = requirement.partition(";")[0]  # a package without a platform has no conditions
        name, bound = re.fullmatch(r"([\w\[\]-]+)(.*)", needed).groups()  # type: ignore[union-attr]
        found |= {f"{conda} {bound}" for conda in CONDA_NAMES.get(name, (name,))}
    return found


def test_conda_needs_what_pip_needs():
    run = RECIPE["requirements"]["run"]
    assert len(run) == len(set(run))
    python = f"python {PROJECT['requires-python']}"
    assert set(run) == under_conda_names(PROJECT["dependencies"]) | {python}
    assert python in RECIPE["requirements"]["host"]


def test_conda_bounds_what_is_optional_as_pip_does():
    extras = PROJECT["optional-dependencies"]
    named = [it for extra in ("report", "notebooks", "delta", "iceberg") for it in extras[extra]]
    optional = [it for it in named if "evensplit[" not in it]
    assert set(RECIPE["requirements"]["run_constraints"]) == under_conda_names(optional)


def test_conda_says_name_version_license_and_command_of_the_project():
    assert RECIPE["context"]["version"] == __version__
    assert RECIPE["package"]["name"] == PROJECT["name"]
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    scripts = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == scripts
    assert (ROOT / "conf/conda" / RECIPE["source"]["path"] / "pyproject.toml").samefile(
        ROOT / "pyproject.toml"
    )


def test_the_tests_of_the_conda_package_pass_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=os.pathsep)
    modules, scripts = RECIPE["tests"]
    for name in modules["python"]["imports"]:
        import_module(name)
    for script in scripts["script"]:
        subprocess.run(script, shell=True, check=True, capture_output=True, cwd=tmp_path)


def copied() -> list[str]:
    lines = re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_the_image_is_made_of_what_is_there_and_sent():
    assert all((ROOT / name).exists() for name in copied())
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert {line[1:] for line in ignore if line.startswith("!")} == set(copied())
    images = re.findall(r"^FROM python:(\d+)\.(\d+)-slim", DOCKERFILE, re.MULTILINE)
    assert len(set(images)) == 1
    assert tuple(map(int, images[0])) >= (3, 11)
    assert f"Python :: {images[0][0]}" in " ".join(PROJECT["classifiers"])
    extra = re.search(r"evensplit\[(\w+)\]", DOCKERFILE)
    assert extra is not None
    assert extra[1] in PROJECT["optional-dependencies"]


@pytest.mark.parametrize("name", ["Dockerfile", "conf/batch/Dockerfile"])
def test_recipes_of_images_are_sound(name: str):
    """By hadolint, which also sees to the shell inside."""
    ended = subprocess.run(
        [PROGRAMS / "hadolint", ROOT / name], check=False, capture_output=True, text=True
    )
    assert (ended.stdout, ended.returncode) == ("", 0)


@pytest.mark.slow
def test_what_the_image_copies_makes_the_whole_wheel(tmp_path: Path):
    source = tmp_path / "src"
    source.mkdir()
    for name in copied():
        place: Any = ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, source)
    pip = [sys.executable, "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    subprocess.run([*pip, "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("engine", "batchjobs"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert str(path.relative_to(ROOT)) in names
    assert {"evensplit.py", "evensplit_conf/constraints.txt"} <= names
