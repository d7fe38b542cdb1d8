"""The register of errors: stable kinds, one exit code a group, all of them in the README."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pyarrow.lib
import pytest

import batchjobs.errors  # noqa: F401 - its kinds are registered
from engine.errors import EvensplitError, register
from engine.formats.parquet.bytes import codecs
from tests.engine.running import run, write_source

README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"^\| *(\d+) *\|[^|]*\|(.*)\|$", re.MULTILINE)
KIND = re.compile(r"`([a-z.-]+)`")


def every_class() -> list[type[EvensplitError]]:
    todo, found = [EvensplitError], []
    while todo:
        error = todo.pop()
        found.append(error)
        todo += error.__subclasses__()
    return found


GROUPS = EvensplitError.__subclasses__()
LEAVES = [error for error in every_class() if error not in [EvensplitError, *GROUPS]]


def test_kinds_are_unique():
    kinds = [error.kind for error in every_class()]
    assert sorted(kinds) == sorted(set(kinds))
    assert set(register()) == set(kinds)


def test_memory_that_is_out_is_never_taken_for_damage():
    """Arrow's error of it is an ArrowException as well: rows were called bad, sources damaged."""
    for source in (README.parent / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            handlers = node.handlers if isinstance(node, ast.Try) else []
            kinds = [ast.unparse(it.type or it) for it in handlers]
            first = next((at for at, kind in enumerate(kinds) if "ArrowException" in kind), 0)
            assert not first or "MemoryError" in kinds[:first], f"{source}: {kinds}"
            assert not kinds or "ArrowException" not in kinds[0], f"{source}: {kinds}"


def test_out_of_memory_has_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_source(tmp_path / "s.parquet", row_group_size=20_000)

    def full(*_: object, **__: object) -> None:
        raise pyarrow.lib.ArrowMemoryError("realloc of size 262144 failed")

    monkeypatch.setattr(codecs, "_made", full)
    ended = run("split", source, tmp_path / "parts", "--parts", "2", "--workers", "1")
    assert ended.code == 4
    assert "space.memory: out of memory; lower --memory or --workers" in ended.err


def test_every_group_has_an_exit_code_of_its_own():
    codes = [group.exit_code for group in GROUPS]
    assert sorted(codes) == sorted(set(codes))
    assert not {0, 1, 126, 127, 130, 143} & set(codes)  # these mean something else to a shell


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_a_leaf_has_the_exit_code_of_its_group_and_a_kind_below_it(error: type[EvensplitError]):
    group = next(group for group in GROUPS if issubclass(error, group))
    assert error.exit_code == group.exit_code
    assert error.kind.startswith(f"{group.kind}.")
    assert re.fullmatch(r"[a-z]+\.[a-z-]+", error.kind)
    assert error.__doc__


def test_an_error_as_data_has_kind_code_and_message():
    for kind, error in register().items():
        expected = {"kind": kind, "exit_code": error.exit_code, "message": "found this"}
        assert error("found this").as_dict() == expected


def test_the_readme_lists_every_exit_code_with_all_its_kinds():
    listed = {
        int(code): set(KIND.findall(kinds))
        for code, kinds in ROW.findall(README.read_text(encoding="utf-8"))
    }
    assert {0, 130} <= set(listed)
    for code in {error.exit_code for error in every_class()}:
        kinds = {error.kind for error in every_class() if error.exit_code == code}
        assert listed.get(code) == kinds
