"""Small reads of stores: the bytes of the file, whatever was read before, with few requests."""

from __future__ import annotations

import random
import threading

import pytest

from engine.storage.nearby import _MOST_KEPT, Nearby

DATA = random.Random(1).randbytes(100_000)


class Store:
    """A file, and what was asked of it."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        assert offset + length <= len(self.data)
        return self.data[offset : offset + length]


@pytest.mark.parametrize("block_bytes", [0, 1, 100, 4096, 1 << 20])
def test_any_reads_are_those_of_the_file(block_bytes: int):
    chance, store = random.Random(block_bytes), Store()
    near = Nearby(store.read, len(DATA), block_bytes)
    for _ in range(2_000):
        length = chance.choice([1, 7, 100, 5_000])
        offset = chance.randrange(len(DATA) - length + 1)
        assert near.read(offset, length) == DATA[offset : offset + length]
    assert len(store.asked) <= 2_000


def test_values_come_with_their_header():
    store = Store()
    near = Nearby(store.read, len(DATA), 4096)
    assert [near.read(10, 20), near.read(30, 1000)] == [DATA[10:30], DATA[30:1030]]
    assert store.asked == [(10, 4096)]


def test_a_large_read_brings_what_was_asked_for():
    store = Store()
    near = Nearby(store.read, len(DATA), 4096)
    near.read(0, 4096)
    near.read(len(DATA) - 50, 50)
    assert store.asked == [(0, 4096), (len(DATA) - 50, 50)]


def test_files_are_not_mixed_and_little_is_kept():
    stores = [Store(bytes([number]) * 1000) for number in range(_MOST_KEPT + 10)]
    nears = [Nearby(store.read, 1000, 100) for store in stores]
    for _ in range(2):
        for number, near in enumerate(nears):
            assert near.read(5, 10) == bytes([number]) * 10
    assert len(Nearby._kept) <= _MOST_KEPT
    for near in nears:
        near.forget()
    assert not any(kept[0] in nears for kept in Nearby._kept)


def test_threads_share_a_file():
    store = Store()
    near = Nearby(store.read, len(DATA), 512)
    wrong: list[int] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(500):
            offset = chance.randrange(len(DATA) - 64)
            if near.read(offset, 64) != DATA[offset : offset + 64]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
