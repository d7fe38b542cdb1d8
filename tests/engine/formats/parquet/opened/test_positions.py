"""Page maps of many columns, read together: the same as those read one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import BadPage
from engine.formats.parquet.opened import open_file
from engine.sources import find_sources
from tests.engine.running import close_files

NUM_ROWS = 3_000


def wide_table() -> pa.Table:
    """Columns of every kind, many of each: of one page or of several, with a dictionary or not."""
    random = np.random.default_rng(3)
    kinds = {
        "lone": pa.array(np.arange(NUM_ROWS, dtype=np.int8)),
        "few": pa.array(random.integers(0, 5, NUM_ROWS)).cast(pa.string()),
        "paged": pa.array([f"some text {i}" for i in random.integers(0, NUM_ROWS, NUM_ROWS)]),
        "null": pa.nulls(NUM_ROWS, pa.float64()),
        "list": pa.array([[i] * (i % 3) for i in range(NUM_ROWS)]),
    }
    return pa.table({f"{kind}{n}": values for n in range(20) for kind, values in kinds.items()})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("write_page_index", [False, True])
def test_maps_read_together_are_those_read_one_by_one(tmp_path: Path, version, write_page_index):
    path = tmp_path / "a.parquet"
    pq.write_table(
        wide_table(),
        path,
        data_page_size=8_000,
        data_page_version=version,
        use_dictionary=[f"few{n}" for n in range(20)],
        write_page_index=write_page_index,
    )
    (described,) = find_sources([str(path)])
    group = open_file(described).row_group(0)
    alone = [group.finder.by_pages(leaf) for leaf in group.file.footer.leaves]
    together = group.page_maps
    for leaf, pages in zip(group.file.footer.leaves, together, strict=True):
        if leaf.max_repetition and write_page_index:  # an index does not count entries
            together[leaf.index] = replace(pages, num_values=alone[leaf.index].num_values)
    assert together == alone
    assert {1, 2} <= {min(pages.num_pages, 2) for pages in together}
    for pages, walk in zip(together, alone, strict=True):
        assert pages.headers in (None, walk.headers)
    close_files()


def test_a_damaged_page_among_many_columns_is_named(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(wide_table(), path, data_page_size=8_000)
    (described,) = find_sources([str(path)])
    chunk = open_file(described).row_group(0).chunk(45)
    where, name = chunk.place(0), chunk.leaf.name
    close_files()
    data = bytearray(path.read_bytes())
    data[where.offset : where.offset + 8] = b"\xff" * 8
    path.write_bytes(data)
    (described,) = find_sources([str(path)])
    with pytest.raises(BadPage, match=f"column {name}, row group 0"):
        _ = open_file(described).row_group(0).page_maps
    close_files()
