"""What the drivers of fsspec are asked, by looking at the servers: S3, Google, HTTP, SFTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

import engine
from engine.errors import (
    BadSetting,
    EvensplitError,
    NoPermission,
    SourceChanged,
    StorageFailed,
)
from engine.executors.ending import dask_teardown
from engine.settings import Access
from engine.storage import (
    buffer_bytes,
    cancel_uploads,
    check_destination,
    open_storage,
    remote_sinks,
)
from engine.storage.access import using
from engine.storage.base import NEAR_BYTES
from engine.storage.remote_errors import told
from engine.storage.remote_sinks import BLOCK_BYTES
from tests.stores import S3, Asked, Google, Http, Sftp

CONTENT = bytes(range(256)) * 512
LARGE = 2 * BLOCK_BYTES + 4321
NOT_NEAR = 3 + NEAR_BYTES  # what a small read at 3 does not bring


@pytest.fixture
def asked(s3: S3) -> Iterator[list[Asked]]:
    s3.recorder.asked.clear()
    yield s3.recorder.asked
    s3.recorder.before = lambda asked: None


def test_what_keeps_a_driver_from_its_library_is_said():
    error = told(OSError("Unable to load libjvm\ndlopen(/x/libjvm.so) failed: ..."), "hdfs://h/x")
    assert isinstance(error, BadSetting)
    assert "JAVA_HOME" in str(error)
    assert "\n" not in str(error)


# -- parts are written once ---------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [1, BLOCK_BYTES, LARGE])
def test_an_s3_part_goes_up_once_and_is_copied_never(s3: S3, asked: list[Asked], size_bytes: int):
    bucket = s3.new_bucket()
    store, folder = open_storage(f"s3://{bucket}/parts")
    asked.clear()
    sink = store.create(f"{folder}/p.parquet", durable=True)
    data = bytes(size_bytes)
    for begin in range(0, size_bytes, 3_000_000):
        sink.write(data[begin : begin + 3_000_000])
    sink.commit()
    assert sum(it.size_bytes for it in asked if it.method == "PUT") == size_bytes
    assert not any(it.is_copy for it in asked)
    changed = {it.path for it in asked if it.method not in ("GET", "HEAD")}
    assert changed == {f"/{bucket}/parts/p.parquet"}
    assert not any(it.method == "DELETE" for it in asked)
    assert s3.uploads(bucket) == []
    found = s3.client.get_object(Bucket=bucket, Key="parts/p.parquet")["Body"].read()
    assert found == data


def test_an_s3_part_that_is_given_up_leaves_no_upload(s3: S3):
    bucket = s3.new_bucket()
    store, folder = open_storage(f"s3://{bucket}/parts")
    sink = store.create(f"{folder}/p.parquet", durable=True)
    sink.write(bytes(LARGE))
    assert s3.uploads(bucket) == ["parts/p.parquet"]
    sink.abort()
    assert s3.uploads(bucket) == []
    with pytest.raises(StorageFailed):
        sink.write(b"more")


def test_a_google_part_that_is_given_up_leaves_no_upload(google: Google):
    bucket = google.new_bucket()
    store, folder = open_storage(f"gs://{bucket}/parts")
    sink = store.create(f"{folder}/p.parquet", durable=True)
    sink.write(bytes(LARGE))
    assert google.uploads(bucket) == ["parts/p.parquet"]
    sink.abort()
    assert google.uploads(bucket) == []


@pytest.mark.parametrize("status", [403, 404, 500])
@pytest.mark.parametrize("sign", ["uploads", "partNumber", "uploadId"])
def test_a_failed_upload_is_told_and_cancelled(
    s3: S3, asked: list[Asked], sign: str, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket = s3.new_bucket()
    store, folder = open_storage(f"s3://{bucket}/parts-{sign}-{status}")

    def refuse(it: Asked) -> int | None:
        return status if sign in it.query and it.method in ("POST", "PUT") else None

    s3.recorder.before = refuse
    sink = store.create(f"{folder}/p.parquet", durable=True)

    def upload() -> None:
        sink.write(bytes(LARGE))
        sink.commit()

    with pytest.raises(EvensplitError):
        upload()
    sink.abort()
    assert s3.uploads(bucket) == []
    assert store.files(folder) == []


@pytest.mark.parametrize("end", [cancel_uploads, lambda: dask_teardown(None)])
def test_uploads_end_with_the_process(
    s3: S3, end: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_sinks, "_is_ending", False)
    bucket = s3.new_bucket()
    store, folder = open_storage(f"s3://{bucket}/parts")
    sinks = [store.create(f"{folder}/{n}.parquet", durable=True) for n in range(3)]
    for sink in sinks[:2]:
        sink.write(bytes(LARGE))
    end()
    assert s3.uploads(bucket) == []
    with pytest.raises(StorageFailed):
        store.create(f"{folder}/4.parquet", durable=True)
    with pytest.raises(StorageFailed):
        sinks[2].commit()
    assert store.files(folder) == []


def test_a_part_larger_than_an_upload_may_be_is_refused_before_any_work(s3: S3):
    store, _ = open_storage(f"s3://{s3.new_bucket()}/parts")
    assert store.largest_part_bytes == 10_000 * BLOCK_BYTES


# -- claims and buckets -------------------------------------------------------------------------


def test_a_claim_is_a_conditional_write(s3: S3, asked: list[Asked]):
    bucket = s3.new_bucket()
    store, folder = open_storage(f"s3://{bucket}/parts")
    asked.clear()
    assert store.put_if_absent(f"{folder}/plan.json", b"1")
    assert [(it.method, it.condition) for it in asked] == [("PUT", "*")]


@pytest.mark.parametrize(
    "write",
    [
        lambda store, path: store.put(path, b"x"),
        lambda store, path: store.put_if_absent(path, b"x"),
        lambda store, path: store.get(path),
        lambda store, path: store.files(path),
    ],
)
def test_a_bucket_is_missed_and_not_made(s3: S3, write: Callable[..., object]):
    store, folder = open_storage("s3://there-is-no-such-bucket/parts")
    with pytest.raises(BadSetting, match="no such bucket"):
        write(store, f"{folder}/x")
    names = [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]
    assert "there-is-no-such-bucket" not in names


# -- reads are of one version -------------------------------------------------------------------


def test_ranges_of_s3_are_of_one_etag(s3: S3, asked: list[Asked]):
    bucket = s3.new_bucket()
    s3.client.put_object(Bucket=bucket, Key="a.parquet", Body=CONTENT)
    store, path = open_storage(f"s3://{bucket}/a.parquet")
    source = store.open(store.stat(path))
    asked.clear()
    assert source.read(3, 4) == CONTENT[3:7]
    assert [it.method for it in asked] == ["GET"]
    assert asked[0].condition == source.file.version.partition(":")[2]
    s3.client.put_object(Bucket=bucket, Key="a.parquet", Body=CONTENT[::-1])
    with pytest.raises(SourceChanged):
        source.read(NOT_NEAR, 4)


def test_ranges_of_google_are_of_one_generation(google: Google):
    bucket = google.new_bucket()
    store, path = open_storage(f"gs://{bucket}/a.parquet")
    store.put(path, CONTENT)
    file = store.stat(path)
    assert file.version.startswith("generation:")
    source = store.open(file)
    assert source.read(3, 4) == CONTENT[3:7]
    store.put(path, CONTENT[::-1])
    with pytest.raises(SourceChanged):
        source.check_unchanged()


def test_ranges_of_http_are_of_one_etag(http: Http):
    (http.root / "a.parquet").write_bytes(CONTENT)
    store, path = open_storage(f"{http.url}/a.parquet")
    source = store.open(store.stat(path))
    http.asked.clear()
    assert source.read(3, 4) == CONTENT[3:7]
    assert http.asked == [("GET", "/a.parquet", f"bytes=3-{NOT_NEAR - 1}")]
    (http.root / "a.parquet").write_bytes(CONTENT[::-1])
    with pytest.raises(SourceChanged):
        source.read(NOT_NEAR, 4)


# -- HTTP ---------------------------------------------------------------------------------------


def test_a_server_without_ranges_is_refused_with_what_to_do(plain_http: Http):
    (plain_http.root / "a.parquet").write_bytes(CONTENT)
    store, path = open_storage(f"{plain_http.url}/a.parquet")
    source = store.open(store.stat(path))
    with pytest.raises(BadSetting, match="simplecache::"):
        source.read(3, 4)


def test_a_cache_before_a_url_downloads_once(plain_http: Http):
    (plain_http.root / "a.parquet").write_bytes(CONTENT)
    store, path = open_storage(f"simplecache::{plain_http.url}/a.parquet")
    file = store.stat(path)
    assert file.path.startswith("simplecache::http://")
    source = store.open(file)
    assert source.read(3, 4) == CONTENT[3:7]
    asked = list(plain_http.asked)
    for offset in (3, 70, len(CONTENT) - 4):
        assert source.read(offset, 4) == CONTENT[offset : offset + 4]
    assert plain_http.asked == asked
    (plain_http.root / "a.parquet").write_bytes(CONTENT[1:])
    with pytest.raises(SourceChanged):
        source.check_unchanged()


def test_a_cache_never_gives_an_older_file(plain_http: Http, tmp_path: Path):
    url = f"simplecache::{plain_http.url}/a.parquet"
    kept = json.dumps({"simplecache": {"cache_storage": str(tmp_path)}})
    with using(Access(storage_options=kept)), pytest.raises(BadSetting, match="cache_storage"):
        open_storage(url)
    with pytest.raises(BadSetting, match="goes only simplecache"):
        open_storage(f"filecache::{plain_http.url}/a.parquet")


@pytest.mark.parametrize("url", ["http://h/out", "https://h/out", "simplecache::s3://b/out"])
def test_what_can_only_be_read_is_no_destination(url: str):
    with pytest.raises(BadSetting, match="only be read"):
        check_destination(url)


# -- all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3:/b/k", "one slash too few"),
        ("S3://b/k", "did you mean s3://"),
        ("s4://b/k", "unknown kind"),
        ("adl://a.azuredatalakestore.net/k", "Gen1 has ended.* abfss://"),
        ("wasbs://c@a.blob.core.windows.net/k", "write abfss://CONTAINER@ACCOUNT"),
        ("s3:///k", "no bucket"),
        ("s3://", "no bucket"),
        ("https://[x/k", "no URL"),
        ("zip://a.parquet::s3://b/x.zip", "in front of a URL goes only"),
        ("simplecache::simplecache://x", "in front of a URL goes only"),
        ("s3://b/k?X-Amz-Signature=c4n4ry", "query"),
        ("https://h/k?sig=c4n4ry", "query"),
        ("simplecache::https://h/k?sig=c4n4ry", "query"),
        ("sftp://me:c4n4ry@h/k", "password"),
        ("simplecache::https://me:c4n4ry@h/k", "password"),
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url: str, words: str):
    with pytest.raises(BadSetting, match=words) as caught:
        open_storage(url)
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("AWS_ENDPOINT_URL_S3", "lake:9000", "the endpoint is no URL; write http://HOST:PORT"),
        ("AWS_CONFIG_FILE", "{folder}/config", "configuration of AWS here cannot be read"),
    ],
)
def test_what_no_later_run_finds_better_is_no_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str
):
    (tmp_path / "config").write_text("{{{")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "c4n4ry")
    monkeypatch.setenv(name, text.format(folder=tmp_path))
    monkeypatch.setattr("engine.storage.remote._file_systems", {})
    with pytest.raises(BadSetting, match=words):
        engine.plan("s3://bucket/x.parquet")


def test_a_file_system_is_opened_once_for_all_threads(s3: S3):
    bucket = s3.new_bucket()
    stores: list[object] = []

    def open_one() -> None:
        stores.append(open_storage(f"s3://{bucket}/x")[0].fs)  # type: ignore[attr-defined]

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, stores))) == 1


def test_another_endpoint_or_account_in_the_environment_is_another_file_system(
    s3: S3, monkeypatch: pytest.MonkeyPatch
):
    """A notebook goes on with another store: nothing of the first is read for it."""
    url = f"s3://{s3.new_bucket()}/x"
    first = open_storage(url)[0].fs  # type: ignore[attr-defined]
    assert open_storage(url)[0].fs is first  # type: ignore[attr-defined]
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
        with monkeypatch.context() as changed:
            changed.setenv(name, "http://127.0.0.1:9")
            assert open_storage(url)[0].fs is not first, name  # type: ignore[attr-defined]
    assert open_storage(url)[0].fs is first  # type: ignore[attr-defined]


ENDS: dict[str, Callable[[Any], None]] = {
    "client": lambda fs: fs.client.close(),
    "session": lambda fs: fs.ftp.close(),
    "transport": lambda fs: fs.client.get_transport().close(),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_lost_connection_to_an_sftp_server_is_made_again(sftp: Sftp, what: str):
    store, path = open_storage(f"{sftp.url}/lost.json")
    store.put(path, b"1")
    ENDS[what](store.fs)  # type: ignore[attr-defined]
    with pytest.raises(StorageFailed, match=r"lost\.json: the connection was lost; run the same"):
        store.get(path)
    store, path = open_storage(f"{sftp.url}/lost.json")
    assert store.get(path) == b"1"


def test_an_sftp_server_is_asked_one_thing_at_a_time(sftp: Sftp):
    """Paramiko's client mixes up the answers of threads that ask at once."""
    store, path = open_storage(f"{sftp.url}/threads/a.parquet")
    store.put(path, CONTENT)
    source = store.open(store.stat(path))

    def num_right(_: int) -> int:
        places = range(0, 30_000, 97)
        return sum(source.read(at, 9) == CONTENT[at : at + 9] for at in places)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(num_right, range(4))) == {len(range(0, 30_000, 97))}


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, NoPermission, "nothing to log in with"),
        ({"key_filename": "{folder}/bad"}, NoPermission, "is no private key"),
        ({"key_filename": "{folder}/none"}, BadSetting, "a storage option names is not there"),
        (
            {"password": "env:SFTP_PASSWORD", "host_key_policy": "reject"},
            *(NoPermission, "the host is not known here"),
        ),
    ],
)
def test_what_keeps_a_user_from_an_sftp_server_is_told(
    sftp_server: Sftp,
    options: dict[str, str],
    kind: type[EvensplitError],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HOME", str(tmp_path))  # with no known hosts
    monkeypatch.setenv("SFTP_PASSWORD", "c4n4ry")
    (tmp_path / "bad").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    given = {name: text.format(folder=tmp_path) for name, text in options.items()}
    given |= {"look_for_keys": False, "allow_agent": False}
    with pytest.raises(kind, match=words) as told:
        engine.plan(f"{sftp_server.url}/a.parquet", storage_options=given)
    assert "c4n4ry" not in str(told.value)


def test_stores_take_memory():
    assert buffer_bytes(["/a", "s3://b/k"]) > buffer_bytes(["/a", "b"]) == 0


def test_a_path_that_its_driver_cuts_off_is_refused(monkeypatch: pytest.MonkeyPatch):
    store, path = open_storage("memory://cut/in/k=a?b/x.parquet")
    store.put(path, b"kept")
    assert store.get(path) == b"kept"
    cut = classmethod(lambda cls, path: path.partition("://")[2].partition("?")[0])
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "_strip_protocol", cut)
    with pytest.raises(BadSetting, match=r"cut/in/k=a\?b/x.parquet is cut off at \? by its driver"):
        store.get(path)
