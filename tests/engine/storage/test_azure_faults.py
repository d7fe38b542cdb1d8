"""What networks and services do wrong: each ends in the right bytes or in a clear error."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import Conflict, NoPermission, SourceChanged, StorageFailed
from engine.model import Range
from engine.settings import Access
from engine.storage import open_storage
from engine.storage.access import using
from engine.storage.azure import requests
from tests.azurite import Azurite
from tests.azurite.proxy import Fault, Proxy, Seen, before
from tests.engine.running import HANG_SECONDS, end, run, start, write_source

MIB = 1 << 20
DATA = random.Random(1).randbytes(20 * MIB)


@pytest.fixture
def proxy(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with before(azurite.port) as made:
        there = azurite.through(made.port)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", there.connection_string)
        monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
        yield made


@pytest.fixture
def folder(azurite: Azurite, proxy: Proxy) -> str:
    return f"abfs://{azurite.new_container()}/folder"


def uploaded(azurite: Azurite, folder: str, name: str, data: bytes = DATA) -> str:
    container = folder.split("/")[2]
    azurite.client().get_blob_client(container, f"folder/{name}").upload_blob(data, overwrite=True)
    return f"{folder}/{name}"


def opened(url: str) -> Any:
    store, path = open_storage(url)
    return store.open(store.stat(path))


def is_read(seen: Seen) -> bool:
    return seen.asks("GET") and "comp=" not in seen.path


def is_stage(seen: Seen) -> bool:
    return seen.asks("PUT", "comp=block&") and "x-ms-copy-source" not in seen.headers


def is_copy(seen: Seen) -> bool:
    return seen.asks("PUT", "comp=block&") and "x-ms-copy-source" in seen.headers


def is_commit(seen: Seen) -> bool:
    return seen.asks("PUT", "comp=blocklist")


PASSING = {
    "throttled": {"kind": "status", "status": 503},
    "too-many": {"kind": "status", "status": 429},
    "timed-out": {"kind": "status", "status": 408, "code": "OperationTimedOut"},
    "broken": {"kind": "status", "status": 500, "code": "InternalError"},
    "reset": {"kind": "reset"},
    "reset-in-body": {"kind": "reset-body"},
    "truncated": {"kind": "truncate"},
    "slow": {"kind": "slow"},
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_read_survives(azurite: Azurite, proxy: Proxy, folder: str, fault: str) -> None:
    source = opened(uploaded(azurite, folder, "a.parquet"))
    proxy.fail(Fault(when=is_read, times=1 if fault == "slow" else 2, **PASSING[fault]))
    assert source.read(5, 3 * MIB) == DATA[5 : 5 + 3 * MIB]
    assert proxy.faults[0].times == 0


@pytest.mark.parametrize("fault", ["throttled", "broken", "reset", "lost", "flipped"])
def test_a_write_survives(azurite: Azurite, proxy: Proxy, folder: str, fault: str) -> None:
    kinds = PASSING | {"lost": {"kind": "lost-answer"}, "flipped": {"kind": "flip"}}
    proxy.fail(Fault(when=is_stage, times=2, **kinds[fault]))
    store, path = open_storage(f"{folder}/part.parquet")
    sink = store.create(path, durable=True)
    sink.write(DATA)
    sink.commit()
    assert store.get(path) == DATA
    assert proxy.faults[0].times == 0


def test_retry_after_is_honoured(azurite: Azurite, proxy: Proxy, folder: str) -> None:
    source = opened(uploaded(azurite, folder, "a.parquet"))
    proxy.fail(Fault("status", is_read, headers={"Retry-After": "1"}))
    source.read(0, 10)
    first, second = [seen.seconds for seen in proxy.ours() if is_read(seen)]
    assert 1 <= second - first < 3


def test_waits_grow_with_jitter() -> None:
    from azure.core.exceptions import ServiceResponseError

    error = ServiceResponseError("")
    waits = [[requests.wait_seconds(error, tries) for _ in range(50)] for tries in range(1, 8)]
    for tries, some in enumerate(waits):
        most = min(requests.MAX_WAIT_SECONDS, requests.FIRST_WAIT_SECONDS * 2**tries)
        assert all(wait is not None and most / 2 <= wait <= most for wait in some)
        assert len(set(some)) > 10


def test_a_store_that_stays_away_is_a_clear_error(
    azurite: Azurite, proxy: Proxy, folder: str
) -> None:
    source = opened(uploaded(azurite, folder, "a.parquet"))
    proxy.fail(Fault("status", is_read, times=1000))
    with pytest.raises(StorageFailed, match=r"ServerBusy, 8 times in a row.*run the same command"):
        source.read(0, 10)
    assert len([seen for seen in proxy.ours() if is_read(seen)]) == requests.MAX_TRIES


def test_nobody_at_the_address_is_a_clear_error(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    with before(azurite.port) as proxy:
        pass
    gone = azurite.through(proxy.port).connection_string
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", gone)
    store, path = open_storage("abfs://container/a.parquet")
    with pytest.raises(StorageFailed, match="endpoint can be reached"):
        store.stat(path)


def test_a_source_that_changes_is_never_mixed(azurite: Azurite, proxy: Proxy, folder: str) -> None:
    source = opened(uploaded(azurite, folder, "a.parquet"))
    assert source.read(0, 10) == DATA[:10]
    uploaded(azurite, folder, "a.parquet", DATA[::-1])
    for action in (
        lambda: source.read(10, 10),
        lambda: source.read_many([Range(0, 5), Range(9 * MIB, 5)]),
        lambda: list(source.chunks(0, len(DATA))),
        source.check_unchanged,
    ):
        with pytest.raises(SourceChanged, match="split again"):
            action()


@pytest.mark.parametrize("transfer", ["server", "client"])
def test_a_source_that_changes_is_not_copied(
    azurite: Azurite, proxy: Proxy, folder: str, transfer: str
) -> None:
    url = uploaded(azurite, folder, "a.parquet")
    change = Fault(
        "slow",
        is_copy if transfer == "server" else is_read,
        before=lambda: uploaded(azurite, folder, "a.parquet", DATA[::-1]) and None,
    )
    with using(Access(transfer=transfer)):
        source = opened(url)
        proxy.fail(change)
        store, path = open_storage(f"{folder}/part.parquet")
        sink = store.create(path, durable=True)
        sink.copy(source, 0, 7 * MIB)
        with pytest.raises(SourceChanged):
            sink.commit()
        sink.abort()
    assert store.get(path) is None


# -- commits ------------------------------------------------------------------------------------


def test_a_commit_whose_answer_was_lost_is_no_conflict(proxy: Proxy, folder: str) -> None:
    proxy.fail(Fault("lost-answer", is_commit))
    store, path = open_storage(f"{folder}/part.parquet")
    sink = store.create(path, durable=True)
    sink.write(b"content")
    sink.commit()
    assert store.get(path) == b"content"
    assert [seen.status for seen in proxy.ours() if is_commit(seen)] == [201, 409]


def test_another_part_that_came_meanwhile_is_a_conflict(proxy: Proxy, folder: str) -> None:
    store, path = open_storage(f"{folder}/part.parquet")
    ours, theirs = store.create(path, durable=True), store.create(path, durable=True)
    ours.write(b"ours")
    theirs.write(b"theirs")
    theirs.commit()
    with pytest.raises(Conflict, match="somebody else"):
        ours.commit()
    ours.abort()
    assert store.get(path) == b"theirs"


def test_a_claim_whose_answer_was_lost_is_ours(proxy: Proxy, folder: str) -> None:
    proxy.fail(Fault("lost-answer", lambda seen: seen.asks("PUT", "plan.json")))
    store, path = open_storage(f"{folder}/plan.json")
    assert store.put_if_absent(path, b"ours")
    assert not store.put_if_absent(path, b"theirs")
    assert store.get(path) == b"ours"


def test_a_failed_commit_publishes_nothing(proxy: Proxy, folder: str) -> None:
    proxy.fail(Fault("status", is_commit, times=1000))
    store, path = open_storage(f"{folder}/part.parquet")
    sink = store.create(path, durable=True)
    sink.write(b"content")
    with pytest.raises(StorageFailed):
        sink.commit()
    sink.abort()
    assert store.get(path) is None
    assert store.files(folder) == []


def test_a_failing_block_publishes_nothing(proxy: Proxy, folder: str) -> None:
    proxy.fail(Fault("status", is_stage, times=1000, status=403, code="AuthorizationFailure"))
    store, path = open_storage(f"{folder}/part.parquet")
    sink = store.create(path, durable=True)
    sink.write(DATA)
    with pytest.raises(NoPermission, match="AuthorizationFailure"):
        sink.commit()
    sink.abort()
    assert store.files(folder) == []


def test_a_second_try_stages_the_same_blocks(proxy: Proxy, folder: str) -> None:
    proxy.fail(Fault("status", is_commit, times=1, status=403, code="AuthorizationFailure"))
    store, path = open_storage(f"{folder}/part.parquet")
    for fails in (True, False):
        sink = store.create(path, durable=True)
        sink.write(DATA)
        sink.write(b"tail")
        with pytest.raises(NoPermission) if fails else nullcontext():
            sink.commit()
        sink.abort()
    ids = [seen.path.split("blockid=")[1].split("&")[0] for seen in proxy.ours() if is_stage(seen)]
    assert len(ids) == 6
    assert len(set(ids)) == 3
    assert len({len(block) for block in ids}) == 1


# -- the store copies by itself ------------------------------------------------------------------


def copied(folder: str, url: str, transfer: str) -> Any:
    with using(Access(transfer=transfer)):
        source = opened(url)
        store, path = open_storage(f"{folder}/part.parquet")
        sink = store.create(path, durable=True)
        try:
            sink.write(b"head")
            sink.copy(source, 0, 10 * MIB)
            sink.copy(source, 12 * MIB, 100)
            sink.write(b"tail")
            sink.copy(source, 13 * MIB, 5 * MIB)
            sink.commit()
        finally:
            sink.abort()
        return sink, store.get(path)


EXPECTED = (
    b"head" + DATA[: 10 * MIB] + DATA[12 * MIB :][:100] + b"tail" + DATA[13 * MIB :][: 5 * MIB]
)


@pytest.fixture
def no_memory_of_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.storage.azure.sink._refused", {})


def test_the_store_copies_long_ranges(azurite: Azurite, proxy: Proxy, folder: str) -> None:
    sink, content = copied(folder, uploaded(azurite, folder, "a.parquet"), "auto")
    assert content == EXPECTED
    assert sink.notes == ()
    assert len([seen for seen in proxy.ours() if is_copy(seen)]) == 2
    staged = [seen for seen in proxy.ours() if is_stage(seen)]
    assert sum(seen.sent_bytes for seen in staged) == len(b"headtail") + 100


@pytest.mark.parametrize("fault", ["throttled", "broken", "reset", "lost"])
def test_a_copy_survives(azurite: Azurite, proxy: Proxy, folder: str, fault: str) -> None:
    kinds = PASSING | {"lost": {"kind": "lost-answer"}}
    proxy.fail(Fault(when=is_copy, times=2, **kinds[fault]))
    sink, content = copied(folder, uploaded(azurite, folder, "a.parquet"), "auto")
    assert content == EXPECTED
    assert sink.notes == ()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "CannotVerifyCopySource"),
        (404, "CannotVerifyCopySource"),
        (501, "NotImplemented"),
        (400, "UnsupportedHeader"),
    ],
)
@pytest.mark.usefixtures("no_memory_of_refusals")
def test_a_refused_copy_goes_through_this_machine_and_is_told(
    azurite: Azurite, proxy: Proxy, folder: str, status: int, code: str
) -> None:
    proxy.fail(Fault("status", is_copy, times=1000, status=status, code=code))
    url = uploaded(azurite, folder, "a.parquet")
    sink, content = copied(folder, url, "auto")
    assert content == EXPECTED
    assert code in sink.notes[0]
    num_tries = len([seen for seen in proxy.ours() if is_copy(seen)])
    sink, content = copied(folder, url, "auto")
    assert sink.notes
    assert len([seen for seen in proxy.ours() if is_copy(seen)]) == num_tries  # not asked again
    with pytest.raises(engine.EvensplitError, match=code):
        copied(folder, url, "server")


# -- killed ---------------------------------------------------------------------------------------


@pytest.mark.ways(1)
@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["server", "client"])
def test_killed_in_the_middle_of_an_upload_a_split_resumes(
    azurite: Azurite,
    proxy: Proxy,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfer: str,
) -> None:
    options = {"row_group_size": 50_000, "data_page_size": 64 << 10}
    table = write_source(tmp_path / "s.parquet", 400_000, **options)
    url = uploaded(azurite, folder, "source.parquet", table.read_bytes())
    words = ("split", url, f"{folder}/parts", "--parts", "6", "--transfer", transfer)
    stages: Callable[[], list[Seen]] = lambda: [  # noqa: E731 - it is used twice, here
        seen for seen in proxy.ours() if is_stage(seen) or is_copy(seen)
    ]
    store, parts = open_storage(f"{folder}/parts")
    proxy.fail(Fault("slow", is_commit, times=1000, before=lambda: time.sleep(0.3)))
    for least in (1, 6):
        process = start(*words)
        already, deadline = len(stages()), time.monotonic() + HANG_SECONDS
        while len(stages()) < already + least and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        end(process)
        sizes = {entry.name: entry.size_bytes for entry in store.files(parts)}
        assert all(size > 100_000 for size in sizes.values())  # whole ones, or none
    proxy.faults.clear()
    ended = run(*words, "--json")
    assert ended.code == 0, ended.err
    assert len(json.loads(ended.out)["parts"]) == 6
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    assert run("verify", f"{folder}/parts").code == 0
