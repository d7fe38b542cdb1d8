"""Questions that are asked at once: in order they are answered, and one's error is told."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.at_once import answers
from engine.formats.parquet.opened import file as opened_file
from tests.engine.running import HANG_SECONDS

who: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.mark.parametrize("is_remote", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 100])
def test_answers_are_in_order(number: int, is_remote: bool):
    found = answers(lambda each: each * each, range(number), is_remote=is_remote)
    assert list(found) == [each * each for each in range(number)]


@pytest.mark.parametrize("is_remote", [False, True])
def test_the_first_error_in_order_is_told(is_remote: bool):
    second_has_failed = threading.Event()

    def ask(number: int) -> int:
        if number == 7:
            second_has_failed.set()
        if number == 3 and is_remote:
            assert second_has_failed.wait(HANG_SECONDS)
        if number in (3, 7):
            raise ValueError(number)
        return number

    found = answers(ask, range(20), is_remote=is_remote)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(found)


def test_each_is_asked_as_the_caller_would_ask():
    token = who.set("somebody")
    try:
        assert set(answers(lambda _: who.get(), range(5), is_remote=True)) == {"somebody"}
    finally:
        who.reset(token)


def test_footers_of_a_store_are_waited_for_together(monkeypatch: pytest.MonkeyPatch):
    """Each waits until another is read too, so that one after another none would be."""
    together, real = threading.Barrier(2), opened_file.read_footer

    def read_footer(source):
        together.wait(HANG_SECONDS)
        return real(source)

    store = fsspec.filesystem("memory")
    for number in range(4):
        with store.open(f"/at-once/{number}.parquet", "wb") as file:
            pq.write_table(pa.table({"a": [number] * 10}), file)
    try:
        monkeypatch.setattr(opened_file, "read_footer", read_footer)
        plan = engine.plan("memory://at-once", parts=2)
        assert [part.num_rows for part in plan.parts] == [20, 20]
    finally:
        store.rm("/at-once", recursive=True)
