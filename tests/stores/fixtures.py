"""Fixtures for tests that need a store besides Azure's; each test takes a bucket of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.settings import Access
from engine.storage.access import using
from tests.stores import (
    PASSWORD,
    S3,
    Google,
    Http,
    Sftp,
    running_google,
    running_http,
    running_s3,
    running_sftp,
)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """S3, with credentials and endpoint in the environment, as users of AWS have them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return s3_server


@pytest.fixture(scope="session")
def google_server() -> Iterator[Google]:
    with running_google() as server:
        yield server


@pytest.fixture
def google(google_server: Google, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_server.endpoint)
    monkeypatch.setenv("GOOGLE_TOKEN", "anon")
    with using(Access(storage_options=json.dumps({"token": "env:GOOGLE_TOKEN"}))):
        yield google_server


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with running_sftp(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture
def sftp(sftp_server: Sftp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sftp]:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    options = {
        "password": "env:SFTP_PASSWORD",
        "look_for_keys": False,
        "allow_agent": False,
        "timeout": 60,
    }
    with using(Access(storage_options=json.dumps(options))):
        yield sftp_server


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Http]:
    """A server with ranges and ETags."""
    (tmp_path / "web").mkdir()
    with running_http(tmp_path / "web", ranges=True) as server:
        yield server


@pytest.fixture
def plain_http(tmp_path: Path) -> Iterator[Http]:
    """Python's server, which gives whole files only."""
    (tmp_path / "plain").mkdir()
    with running_http(tmp_path / "plain", ranges=False) as server:
        yield server
