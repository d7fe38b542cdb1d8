"""Row groups that lie one behind another in a source are copied at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import BadPage, BadStructure, SourceError
from engine.storage.local import LocalSink
from tests.engine.running import write_source

copy = LocalSink.copy


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    names = ("a.parquet", "b.parquet")
    return [write_source(tmp_path / name, num_rows=2_000, row_group_size=100) for name in names]


def test_a_run_of_row_groups_is_one_copy_a_file(
    tmp_path: Path, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []

    def counted(sink: LocalSink, source: Any, offset: int, length: int) -> None:
        copied.append(Path(source.file.path).name)
        copy(sink, source, offset, length)

    monkeypatch.setattr(LocalSink, "copy", counted)
    engine.split(sources, tmp_path / "parts", parts=1, cut="row-group", workers=1)
    assert copied == ["a.parquet", "b.parquet"]
    assert engine.verify(tmp_path / "parts").num_rows == 4_000


@pytest.mark.parametrize("kind", [BadStructure, BadPage])
def test_an_error_names_the_file_that_is_copied_not_the_one_that_follows(
    tmp_path: Path,
    sources: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[SourceError],
) -> None:
    def failing(sink: LocalSink, source: Any, offset: int, length: int) -> None:
        if source.file.path.endswith("a.parquet"):
            raise kind("the file ends early")
        copy(sink, source, offset, length)

    monkeypatch.setattr(LocalSink, "copy", failing)
    with pytest.raises(kind, match="the file ends early") as caught:
        engine.split(sources, tmp_path / "parts", parts=1, cut="row-group", workers=1)
    assert str(caught.value).startswith(str(sources[0]))
