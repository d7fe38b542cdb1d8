"""No test of a fan-out sees this user's jobs, accounts, or settings of the machine it runs on."""

import pytest

from tests.azurite.fixtures import azurite, no_identity
from tests.batchjobs.fake_batch import ACCOUNT, KEY, serving

__all__ = ["azurite", "no_identity"]


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENSPLIT_BATCH_FOLDER", str(tmp_path / "jobs"))
    for name in (
        "AZ_BATCH_TASK_WORKING_DIR",
        "AZURE_BATCH_ACCESS_KEY",
        "AZURE_BATCH_ENDPOINT",
        "EVENSPLIT_BATCH_LOGIN",
        "EVENSPLIT_TARGET_SIZE",
        "EVENSPLIT_TASK_SPEC",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A Batch account that the environment names."""
    with serving(tmp_path / "azure") as server:
        monkeypatch.setenv("AZURE_BATCH_ENDPOINT", server.url)
        monkeypatch.setenv("AZURE_BATCH_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", KEY)
        yield server
