"""Row groups that are moved in their bytes are what decoding, changing and encoding makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadStructure
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


@pytest.mark.parametrize("written", [1, 3, 5], ids=[-1, -2, -3])
def test_a_type_below_zero_is_none(written: int, tmp_path: Path) -> None:
    """Half of what is written would be the number of a type that there is."""
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"a": range(1000)}), source, row_group_size=500)
    data = bytearray(source.read_bytes())
    at = data.rindex(b"\x15\x04\x19")  # INT64, and the list of encodings behind it
    data[at + 1] = written
    source.write_bytes(data)
    with pytest.raises(BadStructure, match="column a of row group 1 has another type"):
        engine.split(source, tmp_path / "parts", parts=2)
