"""Plans and records as plain data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

import engine
from engine.model import as_plain
from tests.engine.running import write_source


def test_plain_data_is_what_dataclasses_makes_of_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dest = tmp_path_factory.mktemp("parts")
    write_source(tmp_path / "a.parquet", 500)
    write_source(tmp_path / "b.parquet", 500)
    (tmp_path / "lines.csv").write_text("id,name\n1,a\n2,b\n")
    plan = engine.plan(tmp_path, include="*.parquet", parts=3, columns="id")
    lines = engine.plan(tmp_path / "lines.csv", to="parquet", parts=1)
    result = engine.split(tmp_path, dest, include="*.parquet", parts=3)
    for item in (plan, lines, result.manifest, result):
        assert as_plain(item) == asdict(item)
        assert repr(as_plain(item)) == repr(asdict(item))
