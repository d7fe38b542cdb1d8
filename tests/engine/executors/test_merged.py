"""One result of many pieces, in threads and on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from operator import add

import pytest
from distributed import Client, LocalCluster

from engine.errors import SourceChanged
from engine.executors import Resources
from engine.executors.merged import run_merged
from engine.settings import Access


@pytest.fixture(scope="module", params=["threads", "cluster"])
def resources(request: pytest.FixtureRequest) -> Iterator[Resources]:
    if request.param == "threads":
        yield Resources("threads", 2, 0)
        return
    place = {"processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, **place) as cluster,
        Client(cluster) as client,
    ):
        yield Resources("cluster", 0, 0, client=client)


def even(number: int) -> int | None:
    return None if number % 2 else number


def fails(number: int) -> int | None:
    if number == 3:
        raise SourceChanged("another file")
    return number


@pytest.mark.parametrize("number", [1, 2, 3, 8, 101])
def test_every_piece_is_merged_once(resources: Resources, number: int):
    found = run_merged(range(number), even, add, resources, Access())
    assert found == sum(range(0, number, 2))


def test_pieces_without_a_result_are_none(resources: Resources):
    assert run_merged([], even, add, resources, Access()) is None
    assert run_merged([1, 3, 5], even, add, resources, Access()) is None


def test_an_error_of_a_piece_comes_through(resources: Resources):
    with pytest.raises(SourceChanged, match="another file"):
        run_merged(range(9), fails, add, resources, Access())
