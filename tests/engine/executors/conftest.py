"""The file that the suites here split, what a split on this machine makes of it, a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.executors.clusters import NUM_PARTS, Cluster
from tests.engine.running import parts_contents, run, write_source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("dask") / "source.parquet", num_rows=60_000)


@pytest.fixture(scope="module")
def reference(source: Path) -> dict[str, bytes]:
    dest = source.parent / "reference"
    assert run("split", source, dest, "--parts", str(NUM_PARTS)).code == 0
    return parts_contents(dest)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as made:
        yield made
