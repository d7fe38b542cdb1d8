"""Whole splits between stores, and what the command line says of stores that do not do as asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine
from engine.errors import SourceChanged
from engine.settings import Access
from engine.storage import open_storage
from engine.storage.access import using
from tests.engine.running import HANG_SECONDS, REPOSITORY, Ended, run, write_source
from tests.stores import S3, Asked, Google, Http, Sftp, running_http

CANARY = "c4n4ry-value"
TARGET = {"target_size": "300kB"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "s.parquet"
    return write_source(path, 60_000, row_group_size=20_000, data_page_size=32 << 10)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of it are more than a block, so that they go up in several."""
    path = tmp_path_factory.mktemp("source") / "l.parquet"
    return write_source(path, 900_000, row_group_size=300_000, data_page_size=1 << 20)


def put(url: str, file: Path) -> str:
    store, path = open_storage(url)
    store.put(path, file.read_bytes())
    return url


def parts_of(url: str) -> dict[str, bytes]:
    store, folder = open_storage(url)
    found = {name: store.get(store.join(folder, name)) for name, *_ in store.files(folder)}
    return {name: data for name, data in found.items() if data is not None}


def split_and_verify(source: str, dest: str) -> None:
    done = engine.split(source, dest, verify=True, **TARGET)
    assert done.verification is not None
    assert len(parts_of(dest)) == len(done.manifest.parts) > 2


# -- splits -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_split_of_some_megabytes_within_s3(s3: S3, large: Path):
    bucket = s3.new_bucket()
    s3.client.upload_file(str(large), bucket, "in/l.parquet")
    s3.recorder.asked.clear()
    done = engine.split(
        f"s3://{bucket}/in/l.parquet", f"s3://{bucket}/out", target_size="20MB", verify=True
    )
    assert done.verification is not None
    sent = [it for it in s3.recorder.asked if it.method == "PUT" and it.path.endswith(".parquet")]
    assert sum(it.size_bytes for it in sent) == done.manifest.size_bytes
    assert len(sent) > len(done.manifest.parts)
    assert not any(it.is_copy for it in s3.recorder.asked)
    assert s3.uploads(bucket) == []


def test_the_bytes_are_those_of_a_local_split(s3: S3, source: Path, tmp_path: Path):
    bucket = s3.new_bucket()
    put(f"s3://{bucket}/in/s.parquet", source)
    split_and_verify(f"s3://{bucket}/in", f"s3://{bucket}/out")
    engine.split(source, tmp_path / "out", **TARGET)
    assert parts_of(f"s3://{bucket}/out") == parts_of(str(tmp_path / "out"))


def test_a_split_from_google_to_sftp_and_back(
    google: Google, sftp: Sftp, source: Path, monkeypatch: pytest.MonkeyPatch
):
    options = (
        '{"gs": {"token": "env:GOOGLE_TOKEN"}, "sftp": {"password": "env:SFTP_PASSWORD", '
        '"look_for_keys": false, "allow_agent": false}}'
    )
    with using(Access(storage_options=options)):
        place = f"gs://{google.new_bucket()}"
        put(f"{place}/s.parquet", source)
    server = f"{sftp.url}/split-{place[-8:]}"
    for origin, dest in (
        (f"{place}/s.parquet", server),
        (f"{server}/part-00000.parquet", f"{place}/again"),
    ):
        done = engine.split(origin, dest, target_size="200kB", verify=True, storage_options=options)
        assert done.verification is not None


def test_a_split_from_http(
    http: Http, plain_http: Http, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for server in (http, plain_http):
        (server.root / "s.parquet").write_bytes(source.read_bytes())
    split_and_verify(f"{http.url}/s.parquet", str(tmp_path / "ranges"))
    split_and_verify(f"simplecache::{plain_http.url}/s.parquet", str(tmp_path / "cached"))
    ended = run("split", f"{plain_http.url}/s.parquet", tmp_path / "whole")
    assert ended.code == 2
    assert "simplecache::" in ended.err


def test_a_source_that_is_replaced_while_it_is_split(s3: S3, source: Path, tmp_path: Path):
    bucket = s3.new_bucket()
    url = put(f"s3://{bucket}/s.parquet", source)
    other = write_source(tmp_path / "other.parquet", 60_000, seed=2)
    seen: list[Asked] = []

    def replace(it: Asked) -> None:
        seen.append(it)
        if "uploads" in it.query and it.path.endswith("part-00001.parquet"):
            s3.recorder.before = lambda asked: None
            s3.client.upload_file(str(other), bucket, "s.parquet")

    s3.recorder.before = replace
    try:
        with pytest.raises(SourceChanged):
            engine.split(url, f"s3://{bucket}/out", workers=1, **TARGET)
    finally:
        s3.recorder.before = lambda asked: None
    assert s3.uploads(bucket) == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--codec", "snappy", "--workers", "2")])
def test_ctrl_c_in_the_middle_leaves_no_upload(s3: S3, large: Path, words: tuple[str, ...]):
    bucket = s3.new_bucket()
    s3.client.upload_file(str(large), bucket, "l.parquet")
    begun, go_on = threading.Event(), threading.Event()

    def hold(it: Asked) -> None:
        if "partNumber=2" in it.query:
            begun.set()
            go_on.wait(HANG_SECONDS)

    s3.recorder.before = hold
    places = (f"s3://{bucket}/l.parquet", f"s3://{bucket}/out")
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "split", *places, "--target-size", "20MB", *words],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert begun.wait(HANG_SECONDS)
        assert s3.uploads(bucket)
        os.killpg(process.pid, signal.SIGINT)
        go_on.set()
        _, told = process.communicate(timeout=HANG_SECONDS)
    finally:
        s3.recorder.before = lambda asked: None
        go_on.set()
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert s3.uploads(bucket) == []
    names = [name for name in parts_of(f"s3://{bucket}/out") if not name.startswith("part-")]
    assert names == []


# -- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_in_no_file_and_no_output(
    s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MY_SECRET", CANARY)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    bucket = s3.new_bucket()
    s3.client.upload_file(str(source), bucket, "s.parquet")
    login = ["--storage-option", '{"s3": {"key": "env:MY_SECRET", "secret": "env:MY_SECRET"}}']
    out = f"s3://{bucket}/out"
    told = [
        run("split", f"s3://{bucket}/s.parquet", out, "--target-size", "300kB", "--verify", *login),
        run("split", f"s3://{bucket}/s.parquet", tmp_path / "out", *login),
        run("plan", f"s3://{bucket}/s.parquet", "--json", *login),
        run("verify", out, "--json", *login),
        run("profile", f"s3://{bucket}/s.parquet", *login),
        run("report", out, "--output", tmp_path / "report.html", *login),
    ]
    assert [it.code for it in told] == [0] * len(told), told
    kept = [it.out + it.err for it in told]
    kept += [path.read_bytes().decode("latin1") for path in tmp_path.rglob("*") if path.is_file()]
    for item in s3.client.list_objects_v2(Bucket=bucket)["Contents"]:
        body = s3.client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        kept.append(body.decode("latin1"))
    assert len(kept) > 15
    assert not any(CANARY in text for text in kept)
    assert not any("MY_SECRET" in text for text in kept)


@pytest.mark.parametrize(
    "words",
    [
        ["--storage-option", f"secret={CANARY}"],
        ["--storage-option", f'{{"client_kwargs": {{"aws_secret_access_key": "{CANARY}"}}}}'],
        ["--storage-option", f"endpoint_url=http://me:{CANARY}@127.0.0.1:1"],
        ["--storage-option", f"{CANARY}"],
        ["--storage-option", f"s3={CANARY}"],
    ],
)
def test_a_secret_that_is_given_is_refused_and_not_repeated(s3: S3, words: list[str]):
    ended = run("split", "s3://b/k", "s3://b/out", *words)
    assert_told(ended, 2, "call.setting")
    assert CANARY not in ended.err + ended.out


# -- errors -------------------------------------------------------------------------------------


def assert_told(ended: Ended, code: int, kind: str) -> None:
    """One line, ours, behind those of progress, and the exit code of the register."""
    assert ended.code == code, ended
    *before, line = ended.err.strip().splitlines()
    assert line.startswith(f"evensplit: {kind}: ")
    assert all(re.match("planning, |[0-9,]+/[0-9,]+ parts, ", other) for other in before)


@pytest.fixture
def locked_s3(s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket that looks at credentials; in the environment are those of who may only read."""
    import boto3
    import requests

    bucket = s3.new_bucket()
    s3.client.upload_file(str(source), bucket, "s.parquet")
    login = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    iam = boto3.client("iam", "us-east-1", endpoint_url=s3.endpoint, **login)
    iam.create_user(UserName=bucket)
    found = iam.create_access_key(UserName=bucket)["AccessKey"]
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=bucket, PolicyName="p", PolicyDocument=policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
    requests.post(f"{s3.endpoint}/moto-api/reset-auth", data="0", timeout=60)
    try:
        yield bucket
    finally:
        requests.post(f"{s3.endpoint}/moto-api/reset-auth", data="inf", timeout=60)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAC4N4RYVALUE"}, "does not take the credentials"),
        ({"AWS_SECRET_ACCESS_KEY": CANARY}, "does not take the credentials"),
        ({}, "access is denied"),
    ],
)
def test_credentials_that_are_wrong_or_not_enough(
    locked_s3: str,
    source: Path,
    changed: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    for origin in (str(source), f"s3://{locked_s3}/s.parquet"):
        told = fresh("split", origin, f"s3://{locked_s3}/out")
        assert_told(told, 2, "call.no-permission")
        assert "C4N4RY" not in told.err.upper()
    assert words in fresh("split", str(source), f"s3://{locked_s3}/out").err


def fresh(*words: str, blocked: str = "") -> Ended:
    """Run a command in a new process: drivers keep credentials; ``blocked`` is not installed."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked.split()!r}))\n"
        "from engine.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("s3://b/k", "s3fs", "s3"),
        ("gs://b/k", "gcsfs gcsfs.core", "gcs"),
        ("sftp://h/k", "paramiko", "sftp"),
    ],
)
def test_a_package_that_is_missing_is_named(url: str, package: str, extra: str):
    told = fresh("plan", url, blocked=package)
    assert_told(told, 2, "call.setting")
    assert f"pip install 'evensplit[{extra}]'" in told.err


def test_no_credentials_at_all(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    told = fresh("plan", f"s3://{s3.new_bucket()}/k")
    assert_told(told, 2, "call.no-permission")
    assert "anon=true" in told.err


@pytest.mark.parametrize(
    "place", ["s3://b/k.parquet", "http://127.0.0.1:9/k", "sftp://127.0.0.1:9/k"]
)
def test_an_endpoint_that_refuses_connections(s3: S3, place: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    told = fresh("plan", place)
    assert_told(told, 5, "retry.storage")
    assert "cannot be reached" in told.err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("unknown=true", "does not take unknown"),
        ("profile=none", "the profile is in no configuration"),
        ('client_kwargs={"region_name": "../x"}', "region"),
        ("secret=env:IT_IS_NOT_SET", "IT_IS_NOT_SET"),
    ],
)
def test_options_that_cannot_be(s3: S3, option: str, words: str):
    told = run("plan", f"s3://{s3.new_bucket()}/k.parquet", "--storage-option", option)
    assert_told(told, 2, "call.setting")
    assert words in told.err


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, 2, "call.no-permission"),
        (403, 2, "call.no-permission"),
        (404, 2, "call.no-source"),
        (500, 5, "retry.storage"),
    ],
)
def test_what_http_servers_answer(tmp_path: Path, status: int, code: int, kind: str):
    with running_http(tmp_path, ranges=True, status=status) as server:
        assert_told(run("plan", f"{server.url}/s.parquet"), code, kind)


def test_a_password_that_is_wrong(sftp: Sftp, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SFTP_PASSWORD", CANARY)
    login = '{"password": "env:SFTP_PASSWORD", "look_for_keys": false, "allow_agent": false}'
    told = run("plan", f"{sftp.url}/s.parquet", "--storage-option", login)
    assert_told(told, 2, "call.no-permission")
    assert CANARY not in told.err


@pytest.mark.parametrize("query", ["?X-Amz-Signature=", "?sv=1&sig=", "#sig="])
@pytest.mark.parametrize("host", ["https://h", f"https://me:{CANARY}@h", "s3://b", "abfs://c"])
def test_secrets_of_urls_are_not_repeated(query: str, host: str):
    for words in (
        ("plan", f"{host}/s.parquet{query}{CANARY}"),
        ("split", "s.parquet", f"{host}/out{query}{CANARY}"),
    ):
        told = run(*words)
        assert_told(told, 2, "call.setting")
        assert CANARY not in told.err + told.out
