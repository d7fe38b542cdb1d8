"""Whole splits within Azure storage: what is asked for, what passes, what is refused."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import BadSetting
from engine.storage import open_storage
from tests.azurite import Azurite
from tests.azurite.proxy import Seen, before
from tests.engine.running import run, write_source

NUM_PARTS = 5
NUM_ROW_GROUPS = 14


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """About 30 MB in row groups of 2 MB, whose dictionaries are too small to be trimmed."""
    path = tmp_path_factory.mktemp("azure") / "s.parquet"
    options = {"data_page_size": 256 << 10, "use_dictionary": ["few"]}
    return write_source(path, 1_400_000, row_group_size=100_000, **options).read_bytes()


@dataclass(frozen=True)
class Transfer:
    """A split within the store that was verified: what passed this machine, and its parts."""

    asked: list[Seen]
    client_bytes: int
    parts: list[bytes]


@pytest.fixture(scope="module")
def transfers(azurite: Azurite, source: bytes) -> dict[str, Transfer]:
    return {transfer: transferred(azurite, source, transfer) for transfer in ("server", "client")}


def transferred(azurite: Azurite, source: bytes, transfer: str) -> Transfer:
    container = azurite.new_container()
    blobs = azurite.client().get_container_client(container)
    blobs.upload_blob("in/s.parquet", source)
    with pytest.MonkeyPatch.context() as patch, before(azurite.port) as proxy:
        there = azurite.through(proxy.port).connection_string
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", there)
        words = [f"abfs://{container}/in/s.parquet", f"abfs://{container}/out"]
        ended = run("split", *words, "--parts", str(NUM_PARTS), "--transfer", transfer)
        assert ended.code == 0, ended.err
        asked, client_bytes = proxy.ours(), proxy.client_bytes()
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        assert run("verify", f"abfs://{container}/out").code == 0
    names = [item.name for item in blobs.list_blobs("out/part-")]
    parts = [blobs.download_blob(name).readall() for name in names]
    return Transfer(asked, client_bytes, parts)


def kind(seen: Seen) -> str:
    if "comp=block&" in seen.path:
        return "copy" if "x-ms-copy-source" in seen.headers else "stage"
    words = {"comp=blocklist": "blocks", "comp=list": "list", "_evensplit": "record"}
    what = next((name for word, name in words.items() if word in seen.path), "blob")
    return f"{seen.method} {what}"


def test_the_store_copies_and_little_passes_through(
    transfers: dict[str, Transfer], source: bytes
) -> None:
    it = transfers["server"]
    asked = Counter(map(kind, it.asked))
    # At most the row groups that a cut passes through; of the others, nothing but indexes.
    assert it.client_bytes < len(source) * NUM_PARTS / NUM_ROW_GROUPS, asked
    assert asked["PUT blocks"] == NUM_PARTS
    assert asked["GET blocks"] == NUM_PARTS
    assert asked["copy"] <= 8 * NUM_PARTS
    assert asked["stage"] <= asked["copy"] + NUM_PARTS
    assert sum(asked.values()) / NUM_PARTS < 80, asked
    assert max(seen.sent_bytes + seen.received_bytes for seen in it.asked) <= 3 << 20


def test_the_client_path_passes_each_byte_once_each_way(
    transfers: dict[str, Transfer], source: bytes
) -> None:
    it = transfers["client"]
    assert not [seen for seen in it.asked if kind(seen) == "copy"]
    assert it.client_bytes < 2.25 * len(source)
    assert max(seen.sent_bytes + seen.received_bytes for seen in it.asked) <= 8 << 20


def test_both_ways_give_the_same_bytes(transfers: dict[str, Transfer], source: bytes) -> None:
    parts = transfers["server"].parts
    assert len(parts) == NUM_PARTS
    assert parts == transfers["client"].parts
    tables = [pq.read_table(io.BytesIO(data)) for data in parts]
    assert pa.concat_tables(tables).equals(pq.read_table(io.BytesIO(source)))


def test_a_footer_takes_one_request_where_it_fits(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, source: bytes
) -> None:
    container = azurite.new_container()
    azurite.client().get_blob_client(container, "s.parquet").upload_blob(source)
    with before(azurite.port) as proxy:
        there = azurite.through(proxy.port).connection_string
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", there)
        engine.profile(f"abfs://{container}/s.parquet")
    reads = [seen.received_bytes for seen in proxy.ours() if kind(seen) == "GET blob"]
    # The magic at the beginning, then page indexes, near ones together.
    assert reads[:2] == [256 << 10, 4]
    assert len(reads) <= 4


def test_only_azure_copies_by_itself(blobs: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.parquet", 2_000)
    with pytest.raises(BadSetting, match="transfer server"):
        engine.split(str(source), f"{blobs}/out", transfer="server")
    assert open_storage(f"{blobs}/out")[0].files(f"{blobs}/out") == []


def test_a_part_larger_than_a_blob_may_be_is_refused_before_work(
    blobs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path / "s.parquet", 20_000)
    monkeypatch.setattr("engine.storage.azure.store.AzureStorage.largest_part_bytes", 10_000)
    with pytest.raises(BadSetting, match="smaller --target-size"):
        engine.split(str(source), f"{blobs}/out", parts=2)
    assert open_storage(f"{blobs}/out")[0].files(f"{blobs}/out") == []


def test_folders_of_a_hierarchical_namespace_are_no_files(azurite: Azurite, blobs: str) -> None:
    """There a folder is listed as an empty blob with this mark; Azurite has no such accounts."""
    container = azurite.client().get_container_client(blobs.split("/")[2])
    for name in ("lake", "lake/year=2024", "lake/odd.parquet"):
        container.upload_blob(name, b"", metadata={"hdi_isfolder": "true"})
    container.upload_blob("lake/year=2024/a.parquet", b"data")
    store, folder = open_storage(f"{blobs}/lake")
    assert [item.path for item in store.expand(folder).entries] == [f"{folder}/year=2024/a.parquet"]
    assert store.files(folder) == []
    assert store.folders(folder) == ["year=2024"]
    with pytest.raises(engine.EvensplitError, match="not a file"):
        store.stat(folder)
    with pytest.raises(engine.EvensplitError, match="folder"):
        store.create(folder, durable=True)


def test_a_missing_container_is_told(blobs: str) -> None:
    store, path = open_storage("abfs://no-such-container/a.parquet")
    with pytest.raises(engine.EvensplitError, match="no such container; create it first"):
        store.stat(path)
    with pytest.raises(engine.EvensplitError, match="no such container"):
        store.put(path, b"x")


def test_a_prefix_is_profiled_with_the_credential_that_holds(
    azurite: Azurite, blobs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = azurite.client().get_container_client(blobs.split("/")[2])
    for number in range(20):
        path = write_source(tmp_path / f"{number:02d}.parquet", 100 * number)
        container.upload_blob(f"in/{path.name}", path.read_bytes())
    found = engine.profile(f"{blobs}/in", credential="environment")
    here = engine.profile(str(tmp_path))
    assert [file.num_rows for file in found] == [100 * number for number in range(20)]
    assert [file.columns for file in found] == [file.columns for file in here]
    assert found.findings == here.findings


def test_lines_are_split_without_passing_through(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON lines need no more than a look around each cut; a header is staged in front."""
    json_line, row = b'{"id": 1234567890, "text": "some text"}\n', b"1234567890\tsome text\n"
    made = {"ndjson": (b"", json_line * 1_500_000), "tsv": (b"id\ttext\n", row * 1_500_000)}
    container = azurite.new_container()
    blobs = azurite.client().get_container_client(container)
    for ending, (header, records) in made.items():
        blobs.upload_blob(f"in.{ending}", header + records)
        with before(azurite.port) as proxy:
            there = azurite.through(proxy.port).connection_string
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", there)
            words = [f"abfs://{container}/in.{ending}", f"abfs://{container}/{ending}"]
            more = ["--quote", "none"] if ending == "tsv" else []
            ended = run("split", *words, *more, "--parts", "4", "--transfer", "server")
            assert ended.code == 0, ended.err
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        begin_bytes = 64 << 10 if ending == "ndjson" else 1 << 20
        assert proxy.client_bytes() < begin_bytes + (100 << 10), Counter(map(kind, proxy.ours()))
        names = sorted(item.name for item in blobs.list_blobs(f"{ending}/part-"))
        parts = [blobs.download_blob(name).readall() for name in names]
        assert len(parts) == 4
        assert b"".join(part.removeprefix(header) for part in parts) == records
