"""A browser, and pages of a skewed folder, a file and its split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from tests.browser import running
from tests.engine.running import end, run, start, write_source

TARGET = "400kB"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module: while it is there, a loop of asyncio runs in this thread."""
    with running() as found:
        yield found


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A skewed folder, a file with one large row group, and its split; a page of each."""
    home = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(5)
    num_rows = 60_000
    width = 4 + (np.arange(num_rows) // 3000) ** 2 // 8
    text = [rng.bytes(size).hex() for size in width]
    table = pa.table(
        {"id": np.arange(num_rows), "<b>odd & wide</b>": text, "x": rng.random(num_rows)}
    )
    options: dict[str, Any] = {"use_dictionary": False, "data_page_size": 8 << 10}
    with pq.ParquetWriter(
        home / "s.parquet", table.schema, write_page_index=True, **options
    ) as out:
        for at, stop in ((0, 500), (500, 50_000), (50_000, 59_000), (59_000, 60_000)):
            out.write_table(table.slice(at, stop - at), row_group_size=stop - at)
    for number in range(12):
        write_source(home / f"in/{number}.parquet", 50 * 2**number)
    # In a process of its own: memory is measured.
    assert (
        end(start("split", home / "s.parquet", home / "parts", "--target-size", TARGET)).code == 0
    )
    for source, words in (
        ("s.parquet", ("--target-size", TARGET)),
        ("in", ("--target-size", TARGET)),
        ("parts", ("--verify",)),
    ):
        ended = run("report", home / source, "--output", home / f"{source}.html", *words)
        assert ended.code == 0, ended.err
        assert ended.out == f"{home / source}.html\n"
    return home
