"""Header sizes that are not read are worked out, and come to the same."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.formats.parquet.bytes import thrift
from engine.formats.parquet.bytes.footer import (
    MAGIC,
    TAIL_BYTES,
    Footer,
    part_footer,
    seal,
    with_fields,
)
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.thrift import I64, LIST, STRUCT
from engine.formats.parquet.opened import open_file
from engine.formats.parquet.opened.headers import Headers, read_headers
from engine.sources import find_sources
from engine.storage import Source
from tests.engine.running import close_files

NUM_ROWS = 240_000
NUM_GROUPS = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six row groups of pages that end anywhere; one column gives its dictionary up."""
    random = np.random.default_rng(7)
    table = pa.table(
        {
            "id": np.arange(NUM_ROWS),
            "few": pa.array(random.integers(0, 40, NUM_ROWS)).cast(pa.string()),
            "many": [f"value {i} of many" for i in random.integers(0, NUM_ROWS, NUM_ROWS)],
            "null": pa.array(np.arange(NUM_ROWS) / 3, mask=random.random(NUM_ROWS) < 0.3),
            "list": [[i] * (i % 3) for i in range(NUM_ROWS)],
        }
    )
    path = tmp_path_factory.mktemp("source") / "a.parquet"
    pq.write_table(
        table,
        path,
        row_group_size=NUM_ROWS // NUM_GROUPS,
        data_page_size=3_000,
        dictionary_pagesize_limit=30_000,
        write_page_index=True,
    )
    return path


@pytest.fixture
def read_of_column(monkeypatch: pytest.MonkeyPatch) -> dict[int, Counter[int]]:
    """Count the headers read of each chunk, by the place of its first page."""
    found: dict[int, Counter[int]] = defaultdict(Counter)

    def counted(source: Source, pages: PageMap, numbers: Sequence[int]) -> Headers:
        found[pages.offsets[0]].update(numbers)
        return read_headers(source, pages, numbers)

    monkeypatch.setattr("engine.formats.parquet.opened.whole_pages.read_headers", counted)
    return found


def lying(path: Path, out: Path) -> None:
    """Write a file of which the footer says wrong sizes before compression."""
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = Footer(data[-TAIL_BYTES - length : -TAIL_BYTES])
    groups = []
    for index in range(footer.num_row_groups):
        group = thrift.decode(footer.row_group_data(index))[0]
        for chunk in group[1][1].items:
            meta = chunk[3][1]
            chunk[3] = (STRUCT, with_fields(meta, {6: (I64, meta[6][1] - 1000)}))
        groups.append(with_fields(group, {1: (LIST, group[1][1])}))
    wrong = part_footer(footer.struct, groups, footer.num_rows, list(footer.key_values))
    out.write_bytes(data[: -TAIL_BYTES - length] + seal(wrong))
    assert out.read_bytes()[:4] == MAGIC


def digests(source: str, out: Path, **wish: object) -> list[str]:
    engine.split(source, str(out), parts=4, fsync=False, **wish)
    return [hashlib.sha256(part.read_bytes()).hexdigest() for part in sorted(out.glob("*.parquet"))]


def at_store(path: Path) -> str:
    url = f"memory://headers-{uuid.uuid4().hex}/a.parquet"
    with fsspec.open(url, "wb") as file:
        file.write(path.read_bytes())
    return url


@pytest.mark.parametrize("is_lying", [False, True])
def test_parts_of_a_store_are_those_of_a_disk(source, is_lying, tmp_path: Path):
    path = source
    if is_lying:
        path = tmp_path / "a.parquet"
        lying(source, path)
    url = at_store(path)
    far = digests(url, tmp_path / "far", workers=1)
    assert far == digests(str(path), tmp_path / "near", workers=1)
    assert far == digests(url, tmp_path / "both", workers=3)


@pytest.mark.parametrize("is_lying", [False, True])
def test_a_header_is_read_once_and_many_of_them_never(
    source, is_lying, read_of_column, tmp_path: Path
):
    path = source
    if is_lying:
        path = tmp_path / "a.parquet"
        lying(source, path)
    url = at_store(path)
    result = engine.split(url, str(tmp_path / "parts"), parts=NUM_GROUPS + 1, workers=1)
    engine.verify(str(tmp_path / "parts"))
    assert sum(part.reencoded_bytes > 0 for part in result.manifest.parts) == NUM_GROUPS + 1
    (described,) = find_sources([str(path)])
    file = open_file(described)
    few = [group.page_maps[1] for group in file.row_groups()]  # one encoding throughout
    assert all(pages.num_pages > 10 for pages in few)
    read = [read_of_column[pages.offsets[0]] for pages in few]
    assert all(set(counts.values()) == {1} for counts in read if counts)
    shares = [len(counts) / pages.num_pages for counts, pages in zip(read, few, strict=True)]
    assert shares[0] == 1  # the proof
    assert sum(shares[1:]) < (NUM_GROUPS - 1) / 2 or is_lying
    assert all(share > 0.9 for share in shares) == is_lying
    close_files()
