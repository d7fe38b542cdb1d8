"""Row groups that are moved in their bytes are what decoding, changing and encoding makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from engine.formats.parquet.bytes.group_bytes import Odd, Scanned, Scanner
from tests.engine.running import parts_of
from tests.sources import SOURCES

Files = Callable[[str], Path]


class Decodes(Scanner):
    """Finds nothing that it knows."""

    num_asked = 0

    def scan(self, data: bytes) -> Scanned:
        Decodes.num_asked += 1
        raise Odd


@pytest.mark.parametrize("name", SOURCES)
def test_parts_are_the_same_bytes_whether_row_groups_are_decoded(
    name: str, source_file: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, made = str(source_file(name)), []
    for scanner in (Scanner, Decodes):
        monkeypatch.setattr("engine.formats.parquet.writers.splice.Scanner", scanner)
        dest = tmp_path / scanner.__name__
        engine.split(source, str(dest), cut="row-group", parts=1, workers=1, fsync=False)
        made += [path.read_bytes() for path in parts_of(dest)]
    assert made[0] == made[1]
    assert Decodes.num_asked
